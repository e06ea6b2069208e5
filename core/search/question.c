/* core/search/question.c - questions: messages, state and hash, as agents take them; see question.h. */
#include "core/search/question.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/search/candidate.h"
#include "core/search/template.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

uint64_t aira__request_seed(uint64_t search_seed, int64_t node, int64_t attempt) {
    char name[64];
    snprintf(name, sizeof name, "node/%" PRId64 "/attempt/%" PRId64, node, attempt);
    return aira_key(search_seed, name);
}

void aira__request_release(aira__request *r) {
    json_decref(r->messages);
    free(r->list);
    free(r->nodes);
    free(r->tokens);
    free(r->state);
    free(r->parent_source);
    free(r->other_source);
    *r = (aira__request){0};
}

/* ---- state ---- */

static void add_json(aira__buf *out, json_t *value) {
    char *text = aira__json_canonical(value);
    if (!text) out->failed = true;
    aira__buf_text(out, text ? text : "");
    free(text);
    json_decref(value);
}

/* *source: of its candidate, NULL where it has none. */
static aira_status add_node(const aira__asking *asking, aira__buf *out, const char *key, int64_t idx, uint32_t view,
                            char **source, aira_error *error) {
    json_t *options = NULL;
    free(*source);
    *source = NULL;
    aira__buf_printf(out, ",\"%s\":", key);
    if (idx < 0) {
        aira__buf_text(out, "null");
        return AIRA_OK;
    }
    json_t *entry = aira__memory_entry(asking->memory, (uint32_t)idx, view);
    aira_status status = aira__candidate_source(asking, asking->tree->nodes[idx].hash, source, &options, error);
    if (*source && entry) { /* the memory's entry is shared */
        json_t *own = json_copy(entry);
        json_decref(entry);
        entry = own && !json_object_set_new(own, "source", json_string(*source)) &&
                        !json_object_set(own, "options", options)
                    ? own
                    : NULL;
    }
    json_decref(options);
    add_json(out, entry);
    return status;
}

/* Canonical JSON, written out: sorted keys, and most of it is lent by the memory. result: for analyse, or NULL. */
static char *state_text(const aira__asking *asking, aira__request *r, int64_t attempt, const json_t *result,
                        aira_error *error) {
    const aira__tree_node *node = &asking->tree->nodes[r->idx];
    aira__buf out = {0};
    aira__buf_printf(&out, "{\"attempt\":%" PRId64, attempt);
    if (asking->design) {
        aira__buf_text(&out, ",\"configurable\":");
        add_json(&out, asking->declared ? json_incref((json_t *)(uintptr_t)asking->declared) : json_object());
    }
    aira__buf_printf(&out, ",\"higher_is_better\":%s%s,\"layers\":%d,\"node\":%u,\"nodes\":",
                     asking->higher_is_better ? "true" : "false", asking->design ? ",\"kind\":\"design\"" : "",
                     asking->n_layers, r->idx);
    if (!aira__memory_nodes(asking->memory, r->idx, r->view, asking->memory_tokens, NULL, &out)) out.failed = true;
    aira__buf_printf(&out, ",\"nodes_total\":%u,\"operator\":\"%s\"", r->idx,
                     r->analyse ? AIRA__OPERATOR_ANALYSE : aira__operator_name(node->operator_code));
    if (add_node(asking, &out, "other_parent", node->other_parent, r->view, &r->other_source, error) != AIRA_OK ||
        add_node(asking, &out, "parent", node->parent, r->view, &r->parent_source, error) != AIRA_OK)
        out.failed = true;
    if (result) {
        aira__buf_text(&out, ",\"result\":");
        add_json(&out, json_incref((json_t *)(uintptr_t)result));
    }
    aira__buf_text(&out, ",\"task\":");
    add_json(&out, json_string(aira__json_string(asking->task, "task", "")));
    aira__buf_text(&out, ",\"tokens\":");
    add_json(&out, json_incref((json_t *)(uintptr_t)asking->tokens));
    aira__buf_text(&out, "}");
    return aira__buf_take(&out);
}

/* ---- hash ---- */

/* As jansson writes strings, many times as fast: a prompt is a few thousand lines of them. */
static void add_string(aira__buf *out, const char *text) {
    aira__buf_add(out, "\"", 1);
    while (*text) {
        size_t n = 0;
        while ((unsigned char)text[n] >= 0x20 && text[n] != '"' && text[n] != '\\') n++;
        aira__buf_add(out, text, n);
        text += n;
        if (!*text) break;
        static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
        const char *known = strchr(from, *text);
        if (known)
            aira__buf_add(out, (const char[]){'\\', to[known - from]}, 2);
        else
            aira__buf_printf(out, "\\u%04X", (unsigned)(unsigned char)*text);
        text++;
    }
    aira__buf_add(out, "\"", 1);
}

/* The canonical JSON of the messages. */
static char *messages_text(const json_t *messages) {
    aira__buf out = {0};
    const json_t *message;
    size_t i;
    aira__buf_text(&out, "[");
    json_array_foreach(messages, i, message) {
        aira__buf_text(&out, i ? ",{\"content\":" : "{\"content\":");
        add_string(&out, aira__json_string(message, "content", ""));
        aira__buf_text(&out, ",\"role\":");
        add_string(&out, aira__json_string(message, "role", ""));
        aira__buf_text(&out, "}");
    }
    aira__buf_text(&out, "]");
    return aira__buf_take(&out);
}

/* ---- the agent's form ---- */

/* Entries of committed nodes stay right, so only what is new since the slot's last question is filled in. */
static bool fill_nodes(const aira__asking *asking, aira__request *r) {
    const aira__tree_node *nodes = asking->tree->nodes;
    if (r->idx > r->nodes_capacity) {
        uint32_t capacity = r->nodes_capacity ? r->nodes_capacity : 64;
        while (capacity < r->idx) capacity *= 2;
        aira_seen_node *more = realloc(r->nodes, capacity * sizeof *more);
        if (!more) return false;
        r->nodes = more;
        r->nodes_capacity = capacity;
    }
    if (r->nodes_known > r->view) r->nodes_known = r->view;
    for (uint32_t i = r->nodes_known; i < r->idx; i++) {
        const aira__tree_node *node = &nodes[i];
        bool known = i < r->view, good = known && node->status == AIRA_NODE_GOOD;
        r->nodes[i] = (aira_seen_node){.idx = i,
                                       .parent = node->parent,
                                       .operator_name = aira__operator_name(node->operator_code),
                                       .architecture = known ? node->architecture : NULL,
                                       .status = !known                    ? "pending"
                                                 : node->duplicate_of >= 0 ? "duplicate"
                                                                           : aira__status_name(node->status),
                                       .score = good ? node->search_score : NAN,
                                       .note = known ? node->note : NULL};
    }
    r->nodes_known = r->view;
    return true;
}

static bool fill_lists(const aira__asking *asking, aira__request *r) {
    size_t n = json_array_size(r->messages), n_tokens = json_array_size(asking->tokens);
    free(r->list);
    r->list = calloc(n + 1, sizeof *r->list);
    if (!r->tokens) r->tokens = calloc(n_tokens + 1, sizeof *r->tokens);
    if (!r->list || !r->tokens) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(r->messages, i);
        r->list[i] = (aira_message){aira__json_string(message, "role", "user"),
                                    aira__json_string(message, "content", "")};
    }
    for (size_t i = 0; i < n_tokens; i++) r->tokens[i] = json_string_value(json_array_get(asking->tokens, i));
    return true;
}

/* Everything that follows from messages, idx, view and attempt. */
static aira_status finish(const aira__asking *asking, aira__request *r, int64_t attempt, const json_t *result,
                          aira_error *error) {
    const aira__tree_node *node = &asking->tree->nodes[r->idx];
    const char *operator_name = r->analyse ? AIRA__OPERATOR_ANALYSE : aira__operator_name(node->operator_code);
    uint64_t seed = aira__request_seed(asking->tree->seed, r->idx, attempt);
    aira_error lost = {AIRA_OK, ""};
    free(r->state);
    r->state = state_text(asking, r, attempt, result, &lost);
    if (lost.status != AIRA_OK) return aira__fail(error, lost.status, "%s", lost.text);
    if (!r->state || !fill_nodes(asking, r) || !fill_lists(asking, r)) return no_memory(error);
    char *messages = messages_text(r->messages), text[96];
    if (!messages) return no_memory(error);
    aira__sha256_ctx hash;
    aira__sha256_start(&hash);
    aira__sha256_add(&hash, "{\"messages\":", 12);
    aira__sha256_add(&hash, messages, strlen(messages));
    snprintf(text, sizeof text, ",\"operator\":\"%s\",\"seed\":\"%" PRIu64 "\",\"state\":", operator_name, seed);
    aira__sha256_add(&hash, text, strlen(text));
    aira__sha256_add(&hash, r->state, strlen(r->state));
    aira__sha256_add(&hash, "}", 1);
    aira__sha256_finish_hex(&hash, r->hash);
    free(messages);
    r->request = (aira_agent_request){.size = sizeof r->request,
                                      .n_messages = (uint32_t)json_array_size(r->messages),
                                      .messages = r->list,
                                      .operator_name = operator_name,
                                      .state_json = r->state,
                                      .seed = seed,
                                      .n_layers = (uint32_t)asking->n_layers,
                                      .n_tokens = (uint32_t)json_array_size(asking->tokens),
                                      .tokens = r->tokens,
                                      .parent = node->parent,
                                      .other_parent = node->other_parent,
                                      .n_nodes = r->idx,
                                      .higher_is_better = asking->higher_is_better,
                                      .nodes = r->nodes,
                                      .node = r->idx,
                                      .attempt = attempt,
                                      .request_hash = r->hash,
                                      .kind = asking->design ? "design" : "compose",
                                      .parent_source = r->parent_source,
                                      .other_parent_source = r->other_source};
    return AIRA_OK;
}

/* ---- messages ---- */

static aira_status add_message(const aira__asking *asking, const char *template_name, const char *role,
                               const json_t *values, json_t *messages, aira_error *error) {
    char file[64], *text = NULL;
    snprintf(file, sizeof file, "%s.md", template_name);
    const char *template_text = json_string_value(json_object_get(asking->prompts, template_name));
    if (!template_text) return aira__fail(error, AIRA_E_CONFIG, "there is no prompt template %s", file);
    aira_status status = aira__template_render(template_text, file, values, asking->cache, &text, error);
    if (status == AIRA_OK) {
        json_t *message = json_pack("{s:s, s:s}", "role", role, "content", text);
        if (!message)
            status = aira__fail(error, AIRA_E_CONFIG, "%s: the rendered prompt is not valid UTF-8", file);
        else if (json_array_append_new(messages, message))
            status = no_memory(error);
    }
    free(text);
    return status;
}

/* A request for this node; its messages are system.md and one template. */
static aira_status begin(const aira__asking *asking, const char *template_name, uint32_t idx, uint32_t view,
                         const json_t *result, aira__request *r, aira_error *error) {
    r->idx = idx;
    r->view = view;
    r->analyse = result != NULL;
    json_decref(r->messages);
    r->messages = json_array();
    json_t *values = aira__prompt_values(asking, idx, view, result, error);
    aira_status status = !values ? AIRA_E_MEMORY : r->messages ? AIRA_OK : no_memory(error);
    if (status == AIRA_OK) status = add_message(asking, "system", "system", values, r->messages, error);
    if (status == AIRA_OK) status = add_message(asking, template_name, "user", values, r->messages, error);
    if (status == AIRA_OK) status = finish(asking, r, 0, result, error);
    json_decref(values);
    return status;
}

aira_status aira__request_first(const aira__asking *asking, uint32_t idx, uint32_t view, aira__request *r,
                                aira_error *error) {
    return begin(asking, aira__operator_name(asking->tree->nodes[idx].operator_code), idx, view, NULL, r, error);
}

/* {"architecture", "hash", "score", "status", "note", "plan"}: the outcome of a node that is not committed yet, taken
   from its evaluation, which is the same whenever it is looked at. */
static aira_status take_result(void *context, const aira__journal_evaluation *row, aira_error *error) {
    json_t *result = context;
    bool ok = !strcmp(row->status, "ok");
    if (json_object_set_new(result, "score", ok ? aira__json_number(row->search_score) : json_null()) ||
        json_object_set_new(result, "status", json_string(ok ? "good" : "buggy")) ||
        json_object_set_new(result, "note", row->error ? json_string(row->error) : json_null()))
        return no_memory(error);
    return AIRA_OK;
}

static json_t *result_json(const aira__asking *asking, uint32_t idx, const char *hash, const char *architecture,
                           aira_error *error) {
    const char *plan = aira__memory_plan(asking->memory, idx);
    json_t *result = json_pack("{s:s, s:s, s:n, s:s, s:n, s:o}", "architecture", architecture, "hash", hash, "score",
                               "status", "pending", "note", "plan", plan ? json_string(plan) : json_null());
    aira_status status = result ? AIRA_OK : no_memory(error);
    if (status == AIRA_OK && asking->journal)
        status = aira__journal_find_evaluation(asking->journal, hash, asking->task_hash, asking->tree->seed,
                                               take_result, result, error);
    if (status == AIRA_OK) return result;
    json_decref(result);
    return NULL;
}

aira_status aira__request_analyse(const aira__asking *asking, uint32_t idx, uint32_t view, const char *hash,
                                  const char *architecture, aira__request *r, aira_error *error) {
    json_t *result = result_json(asking, idx, hash, architecture, error);
    if (!result) return AIRA_E_MEMORY;
    aira_status status = begin(asking, AIRA__OPERATOR_ANALYSE, idx, view, result, r, error);
    json_decref(result);
    return status;
}

aira_status aira__request_again(const aira__asking *asking, const char *answer, const char *reason, aira__request *r,
                                aira_error *error) {
    json_t *values = reason ? aira__prompt_values(asking, r->idx, r->view, NULL, error) : NULL;
    aira_status status = reason && !values ? AIRA_E_MEMORY : AIRA_OK;
    if (values && json_object_set_new(values, "reason", json_string(reason))) status = no_memory(error);
    if (status == AIRA_OK && reason && answer && *answer) {
        json_t *said = json_pack("{s:s, s:s}", "role", "assistant", "content", answer);
        if (!said || json_array_append_new(r->messages, said)) status = no_memory(error);
    }
    if (status == AIRA_OK && reason) status = add_message(asking, "retry", "user", values, r->messages, error);
    if (status == AIRA_OK) status = finish(asking, r, r->request.attempt + 1, NULL, error);
    json_decref(values);
    return status;
}

aira_status aira__request_restore(const aira__asking *asking, uint32_t idx, uint32_t view, int64_t attempt,
                                  json_t *messages, aira__request *r, aira_error *error) {
    json_decref(r->messages);
    r->messages = messages;
    r->idx = idx;
    r->view = view;
    r->analyse = false;
    return finish(asking, r, attempt, NULL, error);
}
