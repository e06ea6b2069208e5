/* plugins/agents/command/command.c - any program as an agent: one JSON object on its standard input, its standard
 * output is the answer.
 *
 * The input is {"messages": [{"role", "content"}], "operator", "state": {...}} (docs/contract.md 7). The program is
 * started for every question, without a shell, in its own process group, with PATH, HOME, LANG, TMPDIR and the
 * variables named in `env` and nothing else. Its standard error goes to the host's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/agent.h"
#include "aira/ext/process.h"

typedef struct command {
    aira_list command;
    aira_list env;
    double timeout;
} command;

static const aira_field fields[] = {
    {"command", "program and arguments; the program is searched on PATH, relative to the current directory",
     AIRA_T_LIST | AIRA_T_STR, AIRA_REQUIRED, (uint32_t)offsetof(command, command), 0, 0, 0, 0, NULL, NULL},
    {"env", "names of environment variables that the program gets, e.g. the one that holds its key",
     AIRA_T_LIST | AIRA_T_STR, 0, (uint32_t)offsetof(command, env), 0, 0, 0, 0, NULL, NULL},
    {"timeout", "seconds until the program and its children are killed", AIRA_T_DURATION, 0,
     (uint32_t)offsetof(command, timeout), 0, 600, 0.001, 1e7, NULL, NULL},
};
static const aira_schema schema = AIRA_SCHEMA(command, fields);

typedef struct instance {
    const aira_host *host;
    command config;
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    const command *given = config;
    if (given->command.n == 0)
        return host->fail(host, AIRA_E_CONFIG, "agent command: `command` is empty; give a program and its arguments");
    const char *const *names = given->env.items;
    for (uint64_t i = 0; i < given->env.n; i++)
        if (names[i][0] == 0 || strchr(names[i], '='))
            return host->fail(host, AIRA_E_CONFIG,
                              "agent command: `env` holds names of variables (MY_KEY), not values (MY_KEY=...)");
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "agent command: out of memory");
    made->host = host;
    made->config = *given;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

/* A growing text. A failed allocation sets failed and later appends do nothing. */
typedef struct text {
    const aira_host *host;
    char *bytes;
    uint64_t n, room;
    int failed;
} text;

static void append(text *t, const char *bytes, uint64_t n) {
    if (t->failed) return;
    if (t->n + n > t->room) {
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
}

static void append_string(text *t, const char *value) {
    append(t, "\"", 1);
    for (const char *p = value; *p; p++) {
        unsigned char c = (unsigned char)*p;
        char escape[8];
        if (c == '"' || c == '\\')
            append(t, (const char[]){'\\', (char)c}, 2);
        else if (c < 0x20)
            append(t, escape, (uint64_t)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c));
        else
            append(t, p, 1);
    }
    append(t, "\"", 1);
}

static void literal(text *t, const char *value) { append(t, value, strlen(value)); }

static void write_request(text *t, const aira_agent_request *request) {
    literal(t, "{\"messages\": [");
    for (uint32_t i = 0; i < request->n_messages; i++) {
        literal(t, i ? ", {\"role\": " : "{\"role\": ");
        append_string(t, request->messages[i].role);
        literal(t, ", \"content\": ");
        append_string(t, request->messages[i].content);
        literal(t, "}");
    }
    literal(t, "], \"operator\": ");
    append_string(t, request->operator_name);
    literal(t, ", \"state\": ");
    literal(t, request->state_json && *request->state_json ? request->state_json : "null");
    literal(t, "}\n");
}

/* "NAME=value" of every named variable that is set, as one block with its pointers in front; *n of them. */
static const char **make_env(const instance *made, uint32_t *n) {
    const char *const *names = made->config.env.items;
    uint64_t bytes = (made->config.env.n + 1) * sizeof(char *);
    for (uint64_t i = 0; i < made->config.env.n; i++) {
        const char *value = getenv(names[i]);
        if (value) bytes += strlen(names[i]) + strlen(value) + 2;
    }
    const char **env = made->host->alloc(made->host, bytes);
    if (!env) return NULL;
    char *next = (char *)(env + made->config.env.n + 1);
    *n = 0;
    for (uint64_t i = 0; i < made->config.env.n; i++) {
        const char *value = getenv(names[i]);
        if (!value) continue;
        env[(*n)++] = next;
        next += sprintf(next, "%s=%s", names[i], value) + 1;
    }
    return env;
}

static int32_t cancelled(void *context) {
    const aira_sink *sink = context;
    return AIRA_HAS(aira_sink, sink, cancelled) ? sink->cancelled(sink) : 0;
}

static aira_status explain(const instance *made, const aira_process_state *state) {
    char sentence[512];
    const char *program = ((const char *const *)made->config.command.items)[0];
    if (state->timed_out)
        snprintf(sentence, sizeof sentence, "agent command: %s gave no answer within %g s and was killed", program,
                 made->config.timeout);
    else if (state->signal)
        snprintf(sentence, sizeof sentence, "agent command: %s was ended by signal %d", program, (int)state->signal);
    else
        snprintf(sentence, sizeof sentence, "agent command: %s ended with exit status %d", program,
                 (int)state->exit_status);
    return made->host->fail(made->host, state->timed_out ? AIRA_E_TIMEOUT : AIRA_E_FAILED, sentence);
}

static aira_status complete(void *self, const aira_agent_request *request, const aira_sink *sink) {
    const instance *made = self;
    const aira_host *host = made->host;
    const aira_process_service *process = host->service(host, AIRA_SERVICE_PROCESS);
    if (!process)
        return host->fail(host, AIRA_E_UNSUPPORTED,
                          "agent command: this host starts no programs (no " AIRA_SERVICE_PROCESS "); use `aira run`");
    text input = {host, NULL, 0, 0, 0};
    uint32_t n_env = 0;
    const char **env = make_env(made, &n_env);
    char *output = NULL;
    uint64_t n_output = 0;
    aira_status status = AIRA_E_MEMORY;
    write_request(&input, request);
    if (input.failed || !env) {
        status = host->fail(host, AIRA_E_MEMORY, "agent command: out of memory");
        goto done;
    }
    aira_process_limits limits = {.size = sizeof limits, .n_env = n_env, .env = env, .seconds = made->config.timeout};
    aira_process_state state = {.size = sizeof state};
    status = process->run(process, made->config.command.items, (uint32_t)made->config.command.n, input.bytes, input.n,
                          &limits, &output, &n_output, &state, cancelled, (void *)(uintptr_t)sink);
    /* What was said before a failure is kept: it goes to the journal. */
    if (output && n_output) {
        aira_status told = sink->text(sink, output, n_output);
        if (status == AIRA_OK) status = told;
    }
    if (status == AIRA_OK && (state.timed_out || state.signal || state.exit_status)) status = explain(made, &state);
done:
    host->release(host, output);
    host->release(host, input.bytes);
    host->release(host, (void *)(uintptr_t)env);
    return status;
}

static const aira_agent table = {sizeof(aira_agent), 0, complete};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("agent", aira_agent, &table, "command", "1.0.0",
                           "Any program: JSON on standard input, answer on standard output", &schema),
    .create = create, .destroy = destroy};
AIRA_MANIFEST("agent", "command", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
