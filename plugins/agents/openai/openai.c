/* plugins/agents/openai/openai.c - the chat completions dialect: OpenAI, and with `base_url` vLLM, llama.cpp, Ollama,
 * OpenRouter and whoever else speaks it.
 *
 * An answer is whole when it was told why it ended (finish_reason) or when [DONE] came; a stream that ends before is
 * cut, and the whole answer is asked for again. Reasoning comes as `reasoning` or `reasoning_content`; it is no part of
 * the answer, except where a server puts everything there and says nothing else.
 */
#include "../common/llm.h"

#define ROLE_SYSTEM 0
#define ROLE_DEVELOPER 1
#define ROLE_USER 2

typedef struct config {
    llm_config common;
    const char *length_field;
    int32_t system_role, stream;
} config;

static const char *const roles[] = {"system", "developer", "user", NULL};
static const aira_field fields[] = {
    LLM_FIELDS(config, 0, "tokens of an answer, reasoning included; 0: not sent, the server decides"),
    AIRA_F_CHOICE(config, system_role, roles, ROLE_SYSTEM,
                  "role of the system prompt; user: put in front of the first question"),
    AIRA_F_STR(config, length_field, NULL,
               "name of the parameter for max_tokens; max_completion_tokens, or max_tokens where base_url is given"),
    AIRA_F_BOOL(config, stream, 1, "answers come as they are written; false: whole, for servers that cannot stream"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);

typedef struct openai {
    llm_agent agent;
    const config *config;
} openai;

static aira_status create(const aira_host *host, const void *given, void **self) {
    const config *k = given;
    openai *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent openai: out of memory");
    aira_status status = llm_create(host, &k->common, "agent openai",
                                    k->common.base_url ? k->common.base_url : "https://api.openai.com/v1",
                                    "/chat/completions", &made->agent);
    made->config = k;
    if (status == AIRA_OK)
        *self = made;
    else
        host->release(host, made);
    return status;
}

static void destroy(void *self) {
    openai *made = self;
    if (made) made->agent.host->release(made->agent.host, made);
}

/* ---- the question ---- */

static void put_messages(const openai *o, llm_text *t, const aira_agent_request *request) {
    const aira_json_service *json = o->agent.json;
    int fold = o->config->system_role == ROLE_USER, first = 1;
    llm_text system = {t->host, NULL, 0, 0, 0};
    llm_put(t, "\"messages\":[");
    for (uint32_t i = 0; i < request->n_messages; i++) {
        const aira_message *m = &request->messages[i];
        int is_system = !strcmp(m->role, "system");
        if (is_system && fold) {
            llm_put(&system, m->content);
            llm_put(&system, "\n\n");
            continue;
        }
        llm_print(t, "%s{\"role\":\"%s\",\"content\":", first ? "" : ",",
                  is_system                       ? roles[o->config->system_role]
                  : !strcmp(m->role, "assistant") ? "assistant"
                                                  : "user");
        first = 0;
        if (system.n > 0) {
            llm_put(&system, m->content);
            llm_quote(t, json, system.failed ? "" : system.bytes);
            t->failed = t->failed || system.failed;
            system.n = 0;
        } else {
            llm_quote(t, json, m->content);
        }
        llm_put(t, "}");
    }
    llm_put(t, "]");
    t->host->release(t->host, system.bytes);
}

static char *make_body(const openai *o, const aira_agent_request *request) {
    const llm_config *k = &o->config->common;
    const char *length = o->config->length_field ? o->config->length_field
                         : k->base_url           ? "max_tokens"
                                                 : "max_completion_tokens";
    llm_text t = {o->agent.host, NULL, 0, 0, 0};
    llm_put(&t, "{\"model\":");
    llm_quote(&t, o->agent.json, k->model);
    llm_put(&t, ",");
    put_messages(o, &t, request);
    if (o->config->stream) llm_put(&t, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    if (k->temperature >= 0) llm_print(&t, ",\"temperature\":%.9g", k->temperature);
    if (k->top_p >= 0) llm_print(&t, ",\"top_p\":%.9g", k->top_p);
    if (k->max_tokens > 0) {
        llm_put(&t, ",");
        llm_quote(&t, o->agent.json, length);
        llm_print(&t, ":%lld", (long long)k->max_tokens);
    }
    if (k->reasoning_effort) {
        llm_put(&t, ",\"reasoning_effort\":");
        llm_quote(&t, o->agent.json, k->reasoning_effort);
    }
    llm_put(&t, "}");
    return llm_finish_body(&o->agent, &t);
}

/* ---- the answer ---- */

static void take_usage(llm_call *c, const aira_json *value) {
    const aira_json_service *json = c->agent->json;
    if (json->type(json, value, "usage") != AIRA_JSON_OBJECT) return;
    c->now.input = json->integer(json, value, "usage.prompt_tokens", c->now.input);
    c->now.output = json->integer(json, value, "usage.completion_tokens", c->now.output);
    c->now.cached = json->integer(json, value, "usage.prompt_tokens_details.cached_tokens", c->now.cached);
    c->now.written = json->integer(json, value, "usage.prompt_tokens_details.cache_write_tokens", c->now.written);
    c->now.reasoning = json->integer(json, value, "usage.completion_tokens_details.reasoning_tokens", c->now.reasoning);
}

/* A chunk, or a whole answer. where: "choices.0.delta" or "choices.0.message". */
static void take_chunk(llm_call *c, const aira_json *value, const char *where) {
    static const char *const reasons[] = {"reasoning", "reasoning_content"};
    const aira_json_service *json = c->agent->json;
    char path[64];
    uint64_t n = 0;
    (void)llm_copy(c, value, "model", c->model, sizeof c->model);
    snprintf(path, sizeof path, "%s.content", where);
    const char *text = json->text(json, value, path, &n);
    if (text) llm_say(c, text, n);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s.%s", where, reasons[i]);
        text = json->text(json, value, path, &n);
        if (text) llm_add(&c->reasoning, text, n);
        if (text && n > 0) break; /* servers that send both send the same twice */
    }
    if (llm_copy(c, value, "choices.0.finish_reason", c->finish, sizeof c->finish)) c->complete = 1;
    take_usage(c, value);
}

static int32_t on_event(void *context, const char *name, const char *data, uint64_t n) {
    llm_call *c = context;
    const aira_json_service *json = c->agent->json;
    (void)name;
    if (n == 6 && !memcmp(data, "[DONE]", 6)) {
        c->complete = 1;
        return 1;
    }
    aira_json *value = json->parse(json, data, n);
    if (!value)
        c->broken = 1;
    else if (json->type(json, value, "error") != AIRA_JSON_NONE && json->type(json, value, "error") != AIRA_JSON_NULL)
        (void)llm_take_error(c, value);
    else
        take_chunk(c, value, "choices.0.delta");
    json->release(json, value);
    return c->broken || c->said[0] || c->sink_full;
}

static void take_body(llm_call *c, const aira_http_try *t) {
    const aira_json_service *json = c->agent->json;
    aira_json *value = json->parse(json, t->body, t->n_body);
    c->broken = !value;
    if (!value) return;
    if (json->count(json, value, "choices") < 1 && llm_take_error(c, value))
        c->complete = 0;
    else
        take_chunk(c, value, "choices.0.message");
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
    if (verdict == AIRA_HTTP_ACCEPT && c->n_text == 0 && c->reasoning.n > 0) {
        llm_note(c, "the answer came as reasoning only and is taken from there");
        llm_say(c, c->reasoning.bytes, c->reasoning.n);
    }
    if (c->now.input >= 0 && c->now.output >= 0) t->tokens = c->now.input + c->now.output;
    return verdict;
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    static const char *const optional[] = {
        "temperature", "top_p", "max_completion_tokens", "max_tokens", "stream_options", "reasoning_effort", NULL};
    openai *o = self;
    const aira_host *host = o->agent.host;
    llm_call c = {
        .agent = &o->agent, .sink = sink, .now = llm_unknown, .before = llm_unknown, .reasoning = {.host = host}};
    aira_http_handler handler = {sizeof handler, 0,         &c, llm_begin, on_event, on_end, llm_waiting,
                                 llm_cancelled,  llm_ending};
    aira_http_result result = {.size = sizeof result}, all = {.size = sizeof all};
    aira_status status = AIRA_E_MEMORY;
    for (int again = 1; again;) {
        char *body = make_body(o, request);
        if (!body) {
            status = llm_fail(&o->agent, AIRA_E_MEMORY, "out of memory");
            break;
        }
        aira_http_request r = llm_request(&o->agent, request, body);
        r.key_header = "Authorization: Bearer ";
        status = o->agent.http->exchange(o->agent.http, &r, &handler, &result);
        all.tries += result.tries;
        again = status == AIRA_E_FAILED && result.http_status == 400 && llm_drop_parameter(&c, body, optional);
        host->release(host, body);
    }
    if (status == AIRA_OK && c.finish[0] && strcmp(c.finish, "stop")) {
        char note[128];
        snprintf(note, sizeof note, "the answer ended because of: %s", c.finish);
        llm_note(&c, note);
    }
    llm_tell_usage(&c, &all);
    host->release(host, c.reasoning.bytes);
    return status;
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "openai", "1.0.0",
                           "A model behind the chat completions protocol: OpenAI, vLLM, llama.cpp, Ollama, ...",
                           &schema),
    .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "openai", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
