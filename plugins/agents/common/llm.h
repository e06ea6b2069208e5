/* llm.h - what the agents that talk to model servers share: keys, the request, the record of a call, errors.
 *
 * Static inline, so that every plugin stays one self-contained object. A dialect adds the body of the request and the
 * reading of events; the host's services do HTTP, retries, keys and JSON. Quirks of models and servers are
 * configuration (`drop`, `extra`, ...); no model is known by name here.
 */
#ifndef AIRA_AGENTS_LLM_H
#define AIRA_AGENTS_LLM_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "aira/agent.h"
#include "aira/ext/http.h"
#include "aira/ext/json.h"

/* ---- configuration ---- */

typedef struct llm_config {
    const char *model, *base_url, *api_key_env, *api_key_file, *reasoning_effort, *proxy, *ca_file, *extra;
    double temperature, top_p, connect_timeout, stall_timeout, timeout, retry_for, retry_delay;
    double requests_per_minute, tokens_per_minute;
    int64_t max_tokens, retries, concurrency;
    aira_list drop;
} llm_config;

#define LLM_ROW(S, key, type, flags, def, min, max, sdef, doc) \
    { #key, doc, type, flags, (uint32_t)offsetof(S, common.key), 0, def, min, max, sdef, NULL }

/* Rows of a schema whose struct S has a member `llm_config common`. */
#define LLM_FIELDS(S, max_tokens_default, max_tokens_doc)                                                              \
    LLM_ROW(S, model, AIRA_T_STR, AIRA_REQUIRED, 0, 0, 0, NULL, "name of the model, as the server knows it"),          \
        LLM_ROW(S, base_url, AIRA_T_STR, 0, 0, 0, 0, NULL, "address of the server; the vendor's own where absent"),    \
        LLM_ROW(S, api_key_env, AIRA_T_STR, 0, 0, 0, 0, NULL, "name of the environment variable that holds the key"),  \
        LLM_ROW(S, api_key_file, AIRA_T_PATH, 0, 0, 0, 0, NULL, "file of mode 0600 that holds the key"),               \
        LLM_ROW(S, temperature, AIRA_T_REAL, 0, -1, -1, 5, NULL, "sampling temperature; -1: not sent"),                \
        LLM_ROW(S, top_p, AIRA_T_REAL, 0, -1, -1, 1, NULL, "nucleus sampling; -1: not sent"),                          \
        LLM_ROW(S, max_tokens, AIRA_T_COUNT, 0, max_tokens_default, 0, 1e9, NULL, max_tokens_doc),                     \
        LLM_ROW(S, reasoning_effort, AIRA_T_STR, 0, 0, 0, 0, NULL,                                                     \
                "none, low, medium, high, ..., as the model knows"),                                                   \
        LLM_ROW(S, connect_timeout, AIRA_T_DURATION, 0, 10, 0.1, 600, NULL, "until there is a connection"),            \
        LLM_ROW(S, stall_timeout, AIRA_T_DURATION, 0, 300, 0.1, 86400, NULL, "silence after which a try has failed"),  \
        LLM_ROW(S, timeout, AIRA_T_DURATION, 0, 1800, 0.1, 604800, NULL, "of one try, however lively"),                \
        LLM_ROW(S, retries, AIRA_T_INT, 0, 100, 0, 1e6, NULL, "tries after the first, at most"),                       \
        LLM_ROW(S, retry_for, AIRA_T_DURATION, 0, 1800, 0, 604800, NULL, "how long a failing call is tried again"),    \
        LLM_ROW(S, retry_delay, AIRA_T_DURATION, 0, 60, 0.01, 3600, NULL,                                              \
                "longest pause between tries that the server did not ask for"),                                        \
        LLM_ROW(S, concurrency, AIRA_T_INT, 0, 16, 0, 10000, NULL, "requests to this host at once; 0: any number"),    \
        LLM_ROW(S, requests_per_minute, AIRA_T_REAL, 0, 0, 0, 1e9, NULL, "0: no limit of our own"),                    \
        LLM_ROW(S, tokens_per_minute, AIRA_T_REAL, 0, 0, 0, 1e12, NULL, "0: no limit of our own"),                     \
        LLM_ROW(S, proxy, AIRA_T_STR, 0, 0, 0, 0, NULL, "address of a proxy; else https_proxy and its relatives"),     \
        LLM_ROW(S, ca_file, AIRA_T_PATH, 0, 0, 0, 0, NULL, "certificates to trust; else SSL_CERT_FILE, the system's"), \
        LLM_ROW(S, drop, AIRA_T_LIST | AIRA_T_STR, 0, 0, 0, 0, NULL,                                                   \
                "parameters that the server does not know: not sent"),                                                 \
        LLM_ROW(S, extra, AIRA_T_STR, 0, 0, 0, 0, NULL, "JSON object whose members are put into the request")

/* ---- texts ---- */

/* A growing text. A failed allocation sets failed and later appends do nothing. */
typedef struct llm_text {
    const aira_host *host;
    char *bytes;
    uint64_t n, room;
    int failed;
} llm_text;

static inline void llm_add(llm_text *t, const char *bytes, uint64_t n) {
    if (t->failed) return;
    if (t->n + n + 1 > t->room) {
        uint64_t room = (t->n + n) * 2 + 4096;
        char *more = t->host->alloc(t->host, room);
        if (!more) {
            t->failed = 1;
            return;
        }
        if (t->n) memcpy(more, t->bytes, t->n);
        t->host->release(t->host, t->bytes);
        t->bytes = more;
        t->room = room;
    }
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = 0;
}

static inline void llm_put(llm_text *t, const char *text) { llm_add(t, text, strlen(text)); }

__attribute__((format(printf, 2, 3))) static inline void llm_print(llm_text *t, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    llm_put(t, text);
}

/* "text", escaped */
static inline void llm_quote(llm_text *t, const aira_json_service *json, const char *text) {
    char *quoted = json->quote(json, text, strlen(text));
    if (quoted)
        llm_put(t, quoted);
    else
        t->failed = 1;
    t->host->release(t->host, quoted);
}

/* ---- an agent and a call ---- */

#define LLM_MAX_DROPPED 8

typedef struct llm_agent {
    const aira_host *host;
    const aira_http_service *http;
    const aira_json_service *json;
    const llm_config *config;
    const char *name; /* "agent openai" */
    char url[1024];
    char dropped[LLM_MAX_DROPPED][64]; /* parameters that the server refused, for all later calls */
    int n_dropped;
} llm_agent;

typedef struct llm_counts {
    int64_t input, cached, written, output, reasoning; /* -1: unknown */
} llm_counts;

typedef struct llm_call {
    llm_agent *agent;
    const aira_sink *sink;
    llm_counts now, before;          /* of this try, of all void ones */
    char model[128], finish[64];     /* that answered, why it ended */
    uint64_t n_text;                 /* bytes given to the sink by this try */
    int complete, broken, sink_full; /* all was there; an event could not be read; the sink takes no more */
    char kind[64], parameter[64];    /* of the server's error: type or code, and what it complains about */
    char said[400];                  /* its message; "" if there was no error */
    llm_text reasoning;
} llm_call;

static const llm_counts llm_unknown = {-1, -1, -1, -1, -1};

__attribute__((format(printf, 3, 4))) static inline aira_status llm_fail(const llm_agent *a, aira_status status,
                                                                         const char *format, ...) {
    char text[1500], whole[1600];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(whole, sizeof whole, "%s: %s", a->name, text);
    return a->host->fail(a->host, status, whole);
}

static inline int64_t llm_sum(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : a + b; }

static inline void llm_note(const llm_call *c, const char *text) {
    if (AIRA_HAS(aira_sink, c->sink, note)) c->sink->note(c->sink, text);
}

/* Text of the answer. */
static inline void llm_say(llm_call *c, const char *text, uint64_t n) {
    if (n == 0) return;
    if (c->sink->text(c->sink, text, n) != AIRA_OK) c->sink_full = 1;
    c->n_text += n;
}

/* ---- the handler's common parts ---- */

static inline void llm_begin(void *context, uint32_t number) {
    llm_call *c = context;
    (void)number;
    if (c->n_text > 0 && AIRA_HAS(aira_sink, c->sink, restart)) c->sink->restart(c->sink, "the answer broke off");
    c->before.input = llm_sum(c->before.input, c->now.input);
    c->before.cached = llm_sum(c->before.cached, c->now.cached);
    c->before.written = llm_sum(c->before.written, c->now.written);
    c->before.output = llm_sum(c->before.output, c->now.output);
    c->before.reasoning = llm_sum(c->before.reasoning, c->now.reasoning);
    c->now = llm_unknown;
    c->n_text = 0;
    c->complete = c->broken = c->sink_full = 0;
    c->finish[0] = c->kind[0] = c->parameter[0] = c->said[0] = 0;
    c->reasoning.n = 0;
}

static inline void llm_waiting(void *context, const char *sentence) { llm_note(context, sentence); }

static inline int32_t llm_cancelled(void *context) {
    const llm_call *c = context;
    return AIRA_HAS(aira_sink, c->sink, cancelled) ? c->sink->cancelled(c->sink) : 0;
}

static inline int32_t llm_ending(void *context) {
    const llm_call *c = context;
    return AIRA_HAS(aira_sink, c->sink, ending) ? c->sink->ending(c->sink) : 0;
}

/* Copies a text of value, without line ends, cut to fit. True if it is there. */
static inline int llm_copy(const llm_call *c, const aira_json *value, const char *path, char *out, size_t size) {
    const char *text = c->agent->json->text(c->agent->json, value, path, NULL);
    if (!text || !*text) return 0;
    snprintf(out, size, "%s", text);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20) *p = ' ';
    return 1;
}

/* Takes the server's error from {"error": {"message", "type", "code", "param"}} or what resembles it. */
static inline int llm_take_error(llm_call *c, const aira_json *value) {
    const aira_json_service *json = c->agent->json;
    int32_t type = json->type(json, value, "error");
    if (type == AIRA_JSON_TEXT) return llm_copy(c, value, "error", c->said, sizeof c->said);
    if (type != AIRA_JSON_OBJECT) {
        (void)(llm_copy(c, value, "message", c->said, sizeof c->said) ||
               llm_copy(c, value, "detail", c->said, sizeof c->said));
        return c->said[0] != 0;
    }
    if (!llm_copy(c, value, "error.message", c->said, sizeof c->said))
        snprintf(c->said, sizeof c->said, "an error without a message");
    /* the code is the more exact one: insufficient_quota comes under several types */
    if (!llm_copy(c, value, "error.code", c->kind, sizeof c->kind))
        (void)llm_copy(c, value, "error.type", c->kind, sizeof c->kind);
    (void)llm_copy(c, value, "error.param", c->parameter, sizeof c->parameter);
    return 1;
}

/* What a server's own words mean, where they say more than the status. */
static inline int32_t llm_error_verdict(const llm_call *c, int32_t by_status) {
    static const struct {
        const char *word;
        int32_t verdict;
    } kinds[] = {{"insufficient_quota", AIRA_HTTP_DENIED}, {"billing_", AIRA_HTTP_DENIED},
                 {"invalid_api_key", AIRA_HTTP_DENIED},    {"authentication_error", AIRA_HTTP_DENIED},
                 {"permission_error", AIRA_HTTP_DENIED},   {"model_not_found", AIRA_HTTP_DENIED},
                 {"not_found_error", AIRA_HTTP_DENIED},    {"overloaded", AIRA_HTTP_OVERLOADED},
                 {"rate_limit", AIRA_HTTP_LIMITED},        {"invalid_request", AIRA_HTTP_REFUSED},
                 {"api_error", AIRA_HTTP_RETRY},           {"server_error", AIRA_HTTP_RETRY}};
    if (strstr(c->said, "credit balance is too low")) return AIRA_HTTP_DENIED;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (!strstr(c->kind, kinds[i].word)) continue;
        /* a status that is final stays so; one that is not may become final */
        return by_status == AIRA_HTTP_DENIED || (by_status == AIRA_HTTP_REFUSED && kinds[i].verdict < AIRA_HTTP_REFUSED)
                   ? by_status
                   : kinds[i].verdict;
    }
    return by_status;
}

/* An answer of another status than 200: its error, if it is one of this dialect. */
static inline int32_t llm_judge_error(llm_call *c, const aira_http_try *t, char *reason, uint64_t size) {
    const aira_json_service *json = c->agent->json;
    aira_json *value = json->parse(json, t->body, t->n_body);
    int found = value && llm_take_error(c, value);
    json->release(json, value);
    if (t->problem[0])
        snprintf(reason, size, "%s", t->problem);
    else if (t->http_status >= 300 && t->http_status < 400)
        snprintf(reason, size, "status %d: it sends elsewhere, which is not followed; correct base_url",
                 (int)t->http_status);
    else if (found)
        snprintf(reason, size, "status %d: %s", (int)t->http_status, c->said);
    else
        snprintf(reason, size, "status %d: %.200s", (int)t->http_status, t->n_body ? t->body : "no explanation");
    return found ? llm_error_verdict(c, t->verdict) : t->verdict;
}

/* What remains to be judged of an answer with status 200, once events or body are read. */
static inline int32_t llm_judge_answer(llm_call *c, const aira_http_try *t, char *reason, uint64_t size) {
    if (c->sink_full) {
        snprintf(reason, size, "the answer is longer than is taken");
        return AIRA_HTTP_REFUSED;
    }
    if (c->said[0]) {
        snprintf(reason, size, "error in the answer: %s", c->said);
        return llm_error_verdict(c, AIRA_HTTP_RETRY);
    }
    if (c->broken) {
        snprintf(reason, size, "the answer holds what is not valid JSON");
        return AIRA_HTTP_RETRY;
    }
    if (c->complete) return AIRA_HTTP_ACCEPT;
    if (t->verdict >= AIRA_HTTP_REFUSED) {
        snprintf(reason, size, "%s", t->problem);
        return t->verdict;
    }
    snprintf(reason, size, "the answer broke off after %llu bytes%s%s", (unsigned long long)c->n_text,
             t->problem[0] ? ": " : "", t->problem);
    return AIRA_HTTP_RETRY;
}

static inline void llm_tell_usage(const llm_call *c, const aira_http_result *result) {
    aira_usage usage = {.size = sizeof usage, .money_usd = -1};
    usage.input_tokens = llm_sum(c->now.input, c->before.input);
    usage.cached_input_tokens = llm_sum(c->now.cached, c->before.cached);
    usage.cache_write_tokens = llm_sum(c->now.written, c->before.written);
    usage.output_tokens = llm_sum(c->now.output, c->before.output);
    usage.reasoning_tokens = llm_sum(c->now.reasoning, c->before.reasoning);
    usage.tries = result->tries;
    usage.model = c->model[0] ? c->model : NULL;
    c->sink->usage(c->sink, &usage);
}

/* ---- the request ---- */

/* Checks what all dialects share. url: base and path. */
static inline aira_status llm_create(const aira_host *host, const llm_config *config, const char *name,
                                     const char *base, const char *path, llm_agent *a) {
    *a = (llm_agent){.host = host, .config = config, .name = name};
    a->http = host->service(host, AIRA_SERVICE_HTTP);
    a->json = host->service(host, AIRA_SERVICE_JSON);
    if (!a->http || !a->json)
        return llm_fail(a, AIRA_E_UNSUPPORTED, "this host has no " AIRA_SERVICE_HTTP " or no " AIRA_SERVICE_JSON);
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/') n--;
    if (strncmp(base, "http://", 7) && strncmp(base, "https://", 8))
        return llm_fail(a, AIRA_E_CONFIG, "base_url begins with https:// or http://");
    if (memchr(base, '@', n))
        return llm_fail(a, AIRA_E_CONFIG,
                        "base_url holds no user and no key; name the key's variable with api_key_env");
    if (config->proxy && strchr(config->proxy, '@'))
        return llm_fail(a, AIRA_E_CONFIG,
                        "proxy holds no user and password; give those to the environment, as https_proxy");
    if (n + strlen(path) >= sizeof a->url) return llm_fail(a, AIRA_E_CONFIG, "base_url is too long");
    snprintf(a->url, sizeof a->url, "%.*s%s", (int)n, base, path);
    if (!config->base_url && !config->api_key_env && !config->api_key_file)
        return llm_fail(a, AIRA_E_CONFIG, "%s wants a key: add `api_key_env: NAME_OF_THE_VARIABLE` or api_key_file",
                        base);
    if (config->extra) {
        char *merged = a->json->edit(a->json, "{}", config->extra, NULL, 0);
        if (!merged) return llm_fail(a, AIRA_E_CONFIG, "`extra` is no JSON object, such as '{\"seed\": 1}'");
        host->release(host, merged);
    }
    return AIRA_OK;
}

/* `body` with `extra` in and what is not wanted out; takes body over. NULL: out of memory. */
static inline char *llm_finish_body(const llm_agent *a, llm_text *body) {
    const char *drop[LLM_MAX_DROPPED + 64];
    uint64_t n = 0;
    const char *const *given = a->config->drop.items;
    for (uint64_t i = 0; i < a->config->drop.n && i < 64; i++) drop[n++] = given[i];
    for (int i = 0; i < a->n_dropped; i++) drop[n++] = a->dropped[i];
    char *text = body->failed ? NULL : a->json->edit(a->json, body->bytes, a->config->extra, drop, n);
    a->host->release(a->host, body->bytes);
    return text;
}

static inline int llm_is_word(const char *text, const char *word) {
    size_t n = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
        if ((at == text || !strchr(letters, at[-1])) && (at[n] == 0 || !strchr(letters, at[n]))) return 1;
    }
    return 0;
}

/* After status 400: a parameter that the server complains about and that can be done without is left out from now on.
   optional: NULL-terminated. True: ask again. */
static inline int llm_drop_parameter(llm_call *c, const char *body, const char *const *optional) {
    llm_agent *a = c->agent;
    const char *found = NULL;
    char note[600];
    c->parameter[strcspn(c->parameter, ".[")] = 0;
    aira_json *sent = a->json->parse(a->json, body, strlen(body));
    for (int i = 0; sent && optional[i] && !found; i++)
        if (a->json->type(a->json, sent, optional[i]) != AIRA_JSON_NONE &&
            (c->parameter[0] ? !strcmp(c->parameter, optional[i]) : llm_is_word(c->said, optional[i])))
            found = optional[i];
    a->json->release(a->json, sent);
    if (!found || a->n_dropped == LLM_MAX_DROPPED) return 0;
    snprintf(a->dropped[a->n_dropped++], sizeof a->dropped[0], "%s", found);
    snprintf(note, sizeof note, "parameter %s left out: %s", found, c->said);
    llm_note(c, note);
    return 1;
}

static inline aira_http_request llm_request(const llm_agent *a, const aira_agent_request *asked, const char *body) {
    const llm_config *k = a->config;
    aira_http_request r = {.size = sizeof r,
                           .url = a->url,
                           .body = body,
                           .n_body = strlen(body),
                           .bucket = k->model,
                           .key_env = k->api_key_env,
                           .key_file = k->api_key_file,
                           .proxy = k->proxy,
                           .ca_file = k->ca_file,
                           .connect_seconds = k->connect_timeout,
                           .stall_seconds = k->stall_timeout,
                           .total_seconds = k->timeout,
                           .retry_seconds = k->retry_for,
                           .delay_seconds = k->retry_delay,
                           .retries = (uint32_t)k->retries,
                           .concurrency = (uint32_t)k->concurrency,
                           .requests_per_minute = k->requests_per_minute,
                           .tokens_per_minute = k->tokens_per_minute,
                           .seed = asked->seed};
    r.tokens = (int64_t)(r.n_body / 4) + (k->max_tokens > 0 && k->max_tokens < 1000 ? k->max_tokens : 1000);
    return r;
}

#endif
