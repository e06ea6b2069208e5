/* plugins/agents/anthropic/anthropic.c - the messages dialect: Anthropic, and with `base_url` the servers that speak
 * it.
 *
 * Events are told apart by the type inside them. Usage is cumulative: message_start brings the question's tokens,
 * message_delta the answer's; tokens read from or written to the cache come in addition and are added here. An error
 * can come in the middle of a stream that began with status 200. An answer is whole at message_stop, or once it was
 * told why it ended.
 */
#include "../common/llm.h"

typedef struct config {
    llm_config common;
    const char *version;
    int64_t thinking_tokens;
    int32_t cache, thinking;
} config;

#define THINKING_UNSET 0
#define THINKING_ENABLED 2

static const char *const thinking_names[] = {"unset", "adaptive", "enabled", "disabled", NULL};
static const aira_field fields[] = {
    LLM_FIELDS(config, 8192, "tokens of an answer, thinking included; the protocol wants it"),
    AIRA_F_BOOL(config, cache, 1, "marks the system prompt, so that the server keeps it in its cache"),
    AIRA_F_CHOICE(config, thinking, thinking_names, THINKING_UNSET, "what `thinking` says; unset: not sent"),
    AIRA_F_INT(config, thinking_tokens, 4096, 1, 1e9, "budget of tokens where thinking is enabled"),
    AIRA_F_STR(config, version, "2023-06-01", "of the protocol, sent as anthropic-version"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);

typedef struct anthropic {
    llm_agent agent;
    const config *config;
} anthropic;

static aira_status create(const aira_host *host, const void *given, void **self) {
    const config *k = given;
    const char *base = k->common.base_url ? k->common.base_url : "https://api.anthropic.com";
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/') n--;
    int has_version = n > 3 && !strncmp(base + n - 3, "/v1", 3);
    anthropic *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent anthropic: out of memory");
    aira_status status = llm_create(host, &k->common, "agent anthropic", base,
                                    has_version ? "/messages" : "/v1/messages", &made->agent);
    if (status == AIRA_OK && k->common.max_tokens < 1)
        status = llm_fail(&made->agent, AIRA_E_CONFIG, "max_tokens must be at least 1");
    if (status == AIRA_OK && strspn(k->version, "0123456789abcdefghijklmnopqrstuvwxyz-.") != strlen(k->version))
        status = llm_fail(&made->agent, AIRA_E_CONFIG, "version is a date such as 2023-06-01");
    made->config = k;
    if (status == AIRA_OK)
        *self = made;
    else
        host->release(host, made);
    return status;
}

static void destroy(void *self) {
    anthropic *made = self;
    if (made) made->agent.host->release(made->agent.host, made);
}

/* ---- the question ---- */

/* All messages of the role "system" as parts of one, the last of them marked for the cache. */
static void put_system(const anthropic *a, llm_text *t, const aira_agent_request *request) {
    uint32_t n = 0, seen = 0;
    for (uint32_t i = 0; i < request->n_messages; i++) n += !strcmp(request->messages[i].role, "system");
    if (n == 0) return;
    llm_put(t, ",\"system\":[");
    for (uint32_t i = 0; i < request->n_messages; i++) {
        if (strcmp(request->messages[i].role, "system")) continue;
        llm_print(t, "%s{\"type\":\"text\",\"text\":", seen++ ? "," : "");
        llm_quote(t, a->agent.json, request->messages[i].content);
        if (seen == n && a->config->cache) llm_put(t, ",\"cache_control\":{\"type\":\"ephemeral\"}");
        llm_put(t, "}");
    }
    llm_put(t, "]");
}

static char *make_body(const anthropic *a, const aira_agent_request *request) {
    const llm_config *k = &a->config->common;
    llm_text t = {a->agent.host, NULL, 0, 0, 0};
    int first = 1;
    llm_put(&t, "{\"model\":");
    llm_quote(&t, a->agent.json, k->model);
    llm_print(&t, ",\"max_tokens\":%lld,\"stream\":true", (long long)k->max_tokens);
    put_system(a, &t, request);
    llm_put(&t, ",\"messages\":[");
    for (uint32_t i = 0; i < request->n_messages; i++) {
        const aira_message *m = &request->messages[i];
        if (!strcmp(m->role, "system")) continue;
        llm_print(&t, "%s{\"role\":\"%s\",\"content\":", first ? "" : ",",
                  !strcmp(m->role, "assistant") ? "assistant" : "user");
        llm_quote(&t, a->agent.json, m->content);
        llm_put(&t, "}");
        first = 0;
    }
    llm_put(&t, "]");
    if (k->temperature >= 0) llm_print(&t, ",\"temperature\":%.9g", k->temperature);
    if (k->top_p >= 0) llm_print(&t, ",\"top_p\":%.9g", k->top_p);
    if (k->reasoning_effort) {
        llm_put(&t, ",\"output_config\":{\"effort\":");
        llm_quote(&t, a->agent.json, k->reasoning_effort);
        llm_put(&t, "}");
    }
    if (a->config->thinking == THINKING_ENABLED)
        llm_print(&t, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":%lld}",
                  (long long)a->config->thinking_tokens);
    else if (a->config->thinking != THINKING_UNSET)
        llm_print(&t, ",\"thinking\":{\"type\":\"%s\"}", thinking_names[a->config->thinking]);
    llm_put(&t, "}");
    return llm_finish_body(&a->agent, &t);
}

/* ---- the answer ---- */

/* Every usage object replaces what came before it. */
static void take_usage(llm_call *c, const aira_json *value, const char *where) {
    const aira_json_service *json = c->agent->json;
    char path[96];
    const struct {
        const char *name;
        int64_t *to;
    } rows[] = {{"cache_read_input_tokens", &c->now.cached},
                {"cache_creation_input_tokens", &c->now.written},
                {"output_tokens", &c->now.output},
                {"output_tokens_details.thinking_tokens", &c->now.reasoning}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(path, sizeof path, "%s.%s", where, rows[i].name);
        *rows[i].to = json->integer(json, value, path, *rows[i].to);
    }
    snprintf(path, sizeof path, "%s.input_tokens", where);
    int64_t plain = json->integer(json, value, path, -1);
    if (plain >= 0)
        c->now.input = plain + (c->now.cached > 0 ? c->now.cached : 0) + (c->now.written > 0 ? c->now.written : 0);
}

static void take_text(llm_call *c, const aira_json *value, const char *path) {
    uint64_t n = 0;
    const char *text = c->agent->json->text(c->agent->json, value, path, &n);
    if (text) llm_say(c, text, n);
}

static int32_t on_event(void *context, const char *name, const char *data, uint64_t n) {
    llm_call *c = context;
    const aira_json_service *json = c->agent->json;
    aira_json *value = json->parse(json, data, n);
    const char *type = value ? json->text(json, value, "type", NULL) : NULL;
    if (!type) type = name;
    if (!value) {
        c->broken = 1;
    } else if (!strcmp(type, "message_start")) {
        (void)llm_copy(c, value, "message.model", c->model, sizeof c->model);
        take_usage(c, value, "message.usage");
    } else if (!strcmp(type, "content_block_start")) {
        take_text(c, value, "content_block.text");
    } else if (!strcmp(type, "content_block_delta")) {
        take_text(c, value, "delta.text"); /* thinking comes as delta.thinking and is no part of the answer */
    } else if (!strcmp(type, "message_delta")) {
        if (llm_copy(c, value, "delta.stop_reason", c->finish, sizeof c->finish)) c->complete = 1;
        take_usage(c, value, "usage");
    } else if (!strcmp(type, "message_stop")) {
        c->complete = 1;
    } else if (!strcmp(type, "error")) {
        (void)llm_take_error(c, value);
        if (!c->said[0]) snprintf(c->said, sizeof c->said, "an error without a message");
    }
    int32_t stop = c->broken || c->said[0] || c->sink_full || !strcmp(type, "message_stop");
    json->release(json, value);
    return stop;
}

/* A whole answer: from servers that do not stream. */
static void take_body(llm_call *c, const aira_http_try *t) {
    const aira_json_service *json = c->agent->json;
    aira_json *value = json->parse(json, t->body, t->n_body);
    char path[64];
    c->broken = !value;
    if (!value) return;
    if (json->count(json, value, "content") < 0) (void)llm_take_error(c, value);
    for (int64_t i = 0; i < json->count(json, value, "content"); i++) {
        snprintf(path, sizeof path, "content.%lld.text", (long long)i);
        take_text(c, value, path);
    }
    (void)llm_copy(c, value, "model", c->model, sizeof c->model);
    if (llm_copy(c, value, "stop_reason", c->finish, sizeof c->finish)) c->complete = 1;
    take_usage(c, value, "usage");
    json->release(json, value);
}

static int32_t on_end(void *context, aira_http_try *t, char *reason, uint64_t size) {
    llm_call *c = context;
    if (t->http_status != 200) return llm_judge_error(c, t, reason, size);
    if (t->n_body > 0) take_body(c, t);
    int32_t verdict = llm_judge_answer(c, t, reason, size);
    if (c->broken && t->n_body > 0)
        snprintf(reason, size, "the answer is %s and no JSON; is base_url right?",
                 t->content_type[0] ? t->content_type : "of no type");
    if (c->now.input >= 0 && c->now.output >= 0) t->tokens = c->now.input + c->now.output;
    return verdict;
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    static const char *const optional[] = {"temperature", "top_p", "thinking", "output_config", NULL};
    anthropic *a = self;
    const aira_host *host = a->agent.host;
    char version[64];
    const char *headers[] = {version};
    llm_call c = {
        .agent = &a->agent, .sink = sink, .now = llm_unknown, .before = llm_unknown, .reasoning = {.host = host}};
    aira_http_handler handler = {sizeof handler, 0,         &c, llm_begin, on_event, on_end, llm_waiting,
                                 llm_cancelled,  llm_ending};
    aira_http_result result = {.size = sizeof result}, all = {.size = sizeof all};
    aira_status status = AIRA_E_MEMORY;
    snprintf(version, sizeof version, "anthropic-version: %s", a->config->version);
    for (int again = 1; again;) {
        char *body = make_body(a, request);
        if (!body) {
            status = llm_fail(&a->agent, AIRA_E_MEMORY, "out of memory");
            break;
        }
        aira_http_request r = llm_request(&a->agent, request, body);
        r.key_header = "x-api-key: ";
        r.headers = headers;
        r.n_headers = 1;
        status = a->agent.http->exchange(a->agent.http, &r, &handler, &result);
        all.tries += result.tries;
        again = status == AIRA_E_FAILED && result.http_status == 400 && llm_drop_parameter(&c, body, optional);
        host->release(host, body);
    }
    if (status == AIRA_OK && c.finish[0] && strcmp(c.finish, "end_turn")) {
        char note[128];
        snprintf(note, sizeof note, "the answer ended because of: %s", c.finish);
        llm_note(&c, note);
    }
    llm_tell_usage(&c, &all);
    return status;
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "anthropic", "1.0.0",
                                                          "A model behind the messages protocol of Anthropic", &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "anthropic", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
