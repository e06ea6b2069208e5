/* core/search/question.c - building questions and turning them into what agents take; see question.h. */
#include "core/search/question.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/template.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

uint64_t aira__request_seed(uint64_t search_seed, int64_t node, int64_t attempt) {
    char name[64];
    snprintf(name, sizeof name, "node/%" PRId64 "/attempt/%" PRId64, node, attempt);
    return aira_key(search_seed, name);
}

/* A node as the state shows it. full: with its note, as a parent. */
static json_t *node_json(const aira__tree *tree, uint32_t i, bool known) {
    const aira__tree_node *node = &tree->nodes[i];
    const char *status = !known ? "pending" : node->duplicate_of >= 0 ? "duplicate" : aira__status_name(node->status);
    json_t *object = json_object();
    bool good = known && node->status == AIRA_NODE_GOOD;
    int bad = !object;
    bad |= json_object_set_new(object, "idx", json_integer(i));
    bad |= json_object_set_new(object, "operator", json_string(aira__operator_name(node->operator_code)));
    bad |= json_object_set_new(object, "parent", node->parent < 0 ? json_null() : json_integer(node->parent));
    bad |= json_object_set_new(object, "architecture",
                               known && node->architecture ? json_string(node->architecture) : json_null());
    bad |= json_object_set_new(object, "score", good ? aira__json_number(node->search_score) : json_null());
    bad |= json_object_set_new(object, "status", json_string(status));
    bad |= json_object_set_new(object, "note", known && node->note ? json_string(node->note) : json_null());
    if (!bad) return object;
    json_decref(object);
    return NULL;
}

static json_t *state_json(const aira__asking *asking, const aira__tree *tree, uint32_t idx) {
    const aira__tree_node *node = &tree->nodes[idx];
    json_t *nodes = json_array();
    int bad = !nodes;
    for (uint32_t i = 0; i < idx; i++) bad |= json_array_append_new(nodes, node_json(tree, i, i < tree->committed));
    json_t *parent = node->parent < 0 ? json_null() : node_json(tree, (uint32_t)node->parent, true);
    json_t *other = node->other_parent < 0 ? json_null() : node_json(tree, (uint32_t)node->other_parent, true);
    const char *task = aira__json_string(asking->task, "task", "");
    json_t *state = bad ? NULL
                        : json_pack("{s:s, s:s, s:O, s:i, s:b, s:i, s:i, s:O?, s:O?, s:O}", "operator",
                                    aira__operator_name(node->operator_code), "task", task, "tokens", asking->tokens,
                                    "layers", asking->n_layers, "higher_is_better", (int)asking->higher_is_better,
                                    "node", (int)idx, "attempt", 0, "parent", parent, "other_parent", other, "nodes",
                                    nodes);
    json_decref(nodes);
    json_decref(parent);
    json_decref(other);
    return state;
}

/* "[{token, use}]" for the prompt. */
static json_t *alphabet_json(const aira__asking *asking) {
    json_t *list = json_array();
    size_t i;
    json_t *token;
    json_array_foreach(asking->tokens, i, token) {
        const json_t *made_of = json_object_get(json_object_get(asking->task, "tokens"), json_string_value(token));
        json_t *row = json_pack("{s:O, s:s}", "token", token, "primitive", aira__json_string(made_of, "use", "?"));
        if (!list || json_array_append_new(list, row)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *proxies_json(const aira__asking *asking) {
    json_t *list = json_array(), *proxy;
    size_t i;
    json_array_foreach(json_object_get(asking->task, "proxies"), i, proxy) {
        const json_t *dataset = json_object_get(proxy, "dataset");
        char *settings = json_dumps(dataset, JSON_SORT_KEYS);
        json_t *row = json_pack("{s:s, s:s}", "dataset", aira__json_string(dataset, "use", "?"), "settings",
                                settings ? settings : "");
        free(settings);
        if (!list || json_array_append_new(list, row)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* The first 12 tokens cycled through the layers, as an example of the notation. */
static json_t *example_json(const aira__asking *asking) {
    char text[512] = "\"";
    size_t n = json_array_size(asking->tokens);
    for (int i = 0; i < asking->n_layers && n; i++) {
        const char *token = json_string_value(json_array_get(asking->tokens, (size_t)i % n));
        if (strlen(text) + strlen(token) + 8 > sizeof text) return json_string("");
        if (i) strcat(text, " ");
        strcat(text, token);
    }
    strcat(text, "\"");
    return json_string(text);
}

/* Good nodes, best first (ties: earliest), at most 10, for the prompt. */
static json_t *best_json(const aira__asking *asking, const json_t *nodes) {
    json_t *list = json_array(), *node;
    bool *taken = calloc(json_array_size(nodes) + 1, sizeof *taken);
    for (int rank = 0; list && taken && rank < 10; rank++) {
        size_t i, best = SIZE_MAX;
        double best_score = 0;
        json_array_foreach(nodes, i, node) {
            const json_t *score = json_object_get(node, "score");
            if (taken[i] || !json_is_number(score) || strcmp(aira__json_string(node, "status", ""), "good")) continue;
            double s = json_number_value(score);
            if (best == SIZE_MAX || (asking->higher_is_better ? s > best_score : s < best_score)) {
                best = i;
                best_score = s;
            }
        }
        if (best == SIZE_MAX) break;
        taken[best] = true;
        json_array_append(list, json_array_get(nodes, best));
    }
    free(taken);
    return list;
}

/* Everything that a template may name. */
static json_t *prompt_values(const aira__asking *asking, const json_t *state) {
    json_t *values = json_copy((json_t *)(uintptr_t)state);
    int bad = !values;
    bad |= json_object_set_new(values, "alphabet", alphabet_json(asking));
    bad |= json_object_set_new(values, "proxies", proxies_json(asking));
    bad |= json_object_set_new(values, "best", best_json(asking, json_object_get(state, "nodes")));
    bad |= json_object_set_new(values, "example", example_json(asking));
    bad |= json_object_set_new(values, "direction", json_string(asking->higher_is_better ? "higher" : "lower"));
    static const char *const which[] = {"parent", "other_parent"};
    static const char *const member[] = {"architecture", "score", "note"};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++) { /* parent_architecture, ..., so that templates stay flat */
            char name[40];
            snprintf(name, sizeof name, "%s_%s", which[i], member[k]);
            json_t *value = json_object_get(json_object_get(state, which[i]), member[k]);
            bad |= json_object_set_new(values, name, value ? json_incref(value) : json_null());
        }
    if (!bad) return values;
    json_decref(values);
    return NULL;
}

static aira_status add_message(const aira__asking *asking, const char *template_name, const char *role,
                               const json_t *values, json_t *messages, aira_error *error) {
    char file[64], *text = NULL;
    snprintf(file, sizeof file, "%s.md", template_name);
    const char *template_text = json_string_value(json_object_get(asking->prompts, template_name));
    if (!template_text) return aira__fail(error, AIRA_E_CONFIG, "there is no prompt template %s", file);
    aira_status status = aira__template_render(template_text, file, values, &text, error);
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

aira_status aira__question_make(const aira__asking *asking, const aira__tree *tree, uint32_t idx, json_t **question,
                                aira_error *error) {
    const char *operator_name = aira__operator_name(tree->nodes[idx].operator_code);
    json_t *state = state_json(asking, tree, idx), *messages = json_array();
    json_t *values = state ? prompt_values(asking, state) : NULL;
    char seed[32];
    aira_status status = values && messages ? AIRA_OK : no_memory(error);
    *question = NULL;
    if (status == AIRA_OK) status = add_message(asking, "system", "system", values, messages, error);
    if (status == AIRA_OK) status = add_message(asking, operator_name, "user", values, messages, error);
    snprintf(seed, sizeof seed, "%" PRIu64, aira__request_seed(tree->seed, idx, 0));
    if (status == AIRA_OK) {
        *question = json_pack("{s:O, s:s, s:s, s:O}", "messages", messages, "operator", operator_name, "seed", seed,
                              "state", state);
        if (!*question) status = no_memory(error);
    }
    json_decref(state);
    json_decref(values);
    json_decref(messages);
    return status;
}

aira_status aira__question_retry(const aira__asking *asking, const json_t *question, uint64_t search_seed,
                                 const char *answer, const char *reason, json_t **again, aira_error *error) {
    *again = json_deep_copy(question);
    json_t *state = json_object_get(*again, "state"), *messages = json_object_get(*again, "messages");
    int64_t attempt = aira__json_int(state, "attempt", 0) + 1, node = aira__json_int(state, "node", 0);
    char seed[32];
    snprintf(seed, sizeof seed, "%" PRIu64, aira__request_seed(search_seed, node, attempt));
    int bad = !*again || json_object_set_new(state, "attempt", json_integer(attempt)) ||
              json_object_set_new(*again, "seed", json_string(seed));
    json_t *values = bad ? NULL : prompt_values(asking, state);
    bad |= !values || json_object_set_new(values, "reason", json_string(reason ? reason : ""));
    aira_status status = bad ? no_memory(error) : AIRA_OK;
    if (status == AIRA_OK && reason && answer && *answer) {
        json_t *said = json_pack("{s:s, s:s}", "role", "assistant", "content", answer);
        if (!said || json_array_append_new(messages, said)) status = no_memory(error);
    }
    if (status == AIRA_OK && reason) status = add_message(asking, "retry", "user", values, messages, error);
    json_decref(values);
    if (status != AIRA_OK) {
        json_decref(*again);
        *again = NULL;
    }
    return status;
}

/* A question with every field in use, to try templates on. */
static aira_status try_prompts(const json_t *prompts, aira_error *error) {
    aira__tree tree;
    aira__tree_init(&tree, 1, 1, true);
    json_t *tokens = json_pack("[s, s]", "mA", "M"), *question = NULL, *again = NULL;
    json_t *task = json_pack("{s:s, s:{s:{s:s}}, s:[{s:{s:s}}]}", "task", "example", "tokens", "mA", "use", "attention",
                             "proxies", "dataset", "use", "mad");
    aira__asking asking = {prompts, task, tokens, 2, true};
    aira__outcome good = {AIRA_NODE_GOOD, "0", "mA M", NULL, NULL, 0.5, 0.5};
    aira_status status = tokens && task ? AIRA_OK : no_memory(error);
    for (int i = 0; status == AIRA_OK && i < 2; i++) {
        if (aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1) < 0) status = no_memory(error);
        if (status == AIRA_OK) status = aira__tree_finish(&tree, (uint32_t)i, &good, error);
        if (status == AIRA_OK) (void)aira__tree_commit(&tree);
    }
    for (uint32_t code = 0; status == AIRA_OK && code <= AIRA_OPERATOR_CROSSOVER; code++) {
        int64_t idx = aira__tree_add(&tree, code, code == AIRA_OPERATOR_DRAFT ? -1 : 0,
                                     code == AIRA_OPERATOR_CROSSOVER ? 1 : -1);
        status = idx < 0 ? no_memory(error) : aira__question_make(&asking, &tree, (uint32_t)idx, &question, error);
        if (status == AIRA_OK)
            status = aira__question_retry(&asking, question, 1, "an answer", "a reason", &again, error);
        json_decref(question);
        json_decref(again);
        question = again = NULL;
        if (status == AIRA_OK) status = aira__tree_finish(&tree, (uint32_t)idx, &good, error);
        if (status == AIRA_OK) (void)aira__tree_commit(&tree);
    }
    json_decref(task);
    json_decref(tokens);
    aira__tree_release(&tree);
    return status;
}

aira_status aira__prompts_load(const char *folder, json_t **prompts, aira_error *error) {
    static const char *const names[] = {"system", "draft", "improve", "debug", "crossover", "retry"};
    aira_status status = (*prompts = json_object()) ? AIRA_OK : no_memory(error);
    for (size_t i = 0; status == AIRA_OK && i < sizeof names / sizeof names[0]; i++) {
        char file[32], *text = NULL;
        snprintf(file, sizeof file, "%s.md", names[i]);
        char *path = aira__path_join(folder, file);
        status = path ? aira__file_read(path, (size_t)1 << 20, &text, NULL, error) : no_memory(error);
        if (status == AIRA_OK && json_object_set_new(*prompts, names[i], json_string(text)))
            status = aira__fail(error, AIRA_E_CONFIG, "%s: not valid UTF-8", path);
        free(path);
        free(text);
    }
    if (status == AIRA_OK) status = try_prompts(*prompts, error);
    if (status == AIRA_OK) return AIRA_OK;
    if (error) error->status = AIRA_E_CONFIG;
    (void)aira__fail_in(error, "prompts in %s", folder);
    json_decref(*prompts);
    *prompts = NULL;
    return AIRA_E_CONFIG;
}

char *aira__prompts_folder(aira_error *error) {
    char program[4096];
    if (aira__program_dir(program, sizeof program, error) != AIRA_OK) return NULL;
    char *path = aira__path_join(program, "../share/aira/configs/prompts");
    if (!path) {
        (void)no_memory(error);
    } else if (!aira__is_dir(path)) {
        (void)aira__fail(error, AIRA_E_IO, "%s: the prompt templates are not there; install aira whole", path);
        free(path);
        path = NULL;
    }
    return path;
}

static aira_status fill_nodes(aira__request *out, const json_t *state, aira_error *error) {
    const json_t *nodes = json_object_get(state, "nodes");
    json_t *node;
    size_t i;
    out->nodes = calloc(json_array_size(nodes) + 1, sizeof *out->nodes);
    if (!out->nodes) return no_memory(error);
    json_array_foreach(nodes, i, node) {
        out->nodes[i] = (aira_seen_node){.idx = aira__json_int(node, "idx", (int64_t)i),
                                         .parent = aira__json_int(node, "parent", -1),
                                         .operator_name = aira__json_string(node, "operator", "?"),
                                         .architecture = aira__json_string(node, "architecture", NULL),
                                         .status = aira__json_string(node, "status", "pending"),
                                         .score = aira__json_real(node, "score", NAN),
                                         .note = aira__json_string(node, "note", NULL)};
    }
    out->request.nodes = out->nodes;
    out->request.n_nodes = (uint32_t)json_array_size(nodes);
    return AIRA_OK;
}

static aira_status fill_lists(aira__request *out, const json_t *state, aira_error *error) {
    const json_t *messages = json_object_get(out->question, "messages"), *tokens = json_object_get(state, "tokens");
    json_t *item;
    size_t i;
    out->messages = calloc(json_array_size(messages) + 1, sizeof *out->messages);
    out->tokens = calloc(json_array_size(tokens) + 1, sizeof *out->tokens);
    if (!out->messages || !out->tokens) return no_memory(error);
    json_array_foreach(messages, i, item) {
        out->messages[i].role = aira__json_string(item, "role", "user");
        out->messages[i].content = aira__json_string(item, "content", "");
    }
    out->request.messages = out->messages;
    out->request.n_messages = (uint32_t)i;
    json_array_foreach(tokens, i, item) {
        if (!(out->tokens[i] = json_string_value(item)))
            return aira__fail(error, AIRA_E_CORRUPT, "a stored question names a token that is no text");
    }
    out->request.tokens = out->tokens;
    out->request.n_tokens = (uint32_t)i;
    return AIRA_OK;
}

aira_status aira__request_make(json_t *question, aira__request *out, aira_error *error) {
    *out = (aira__request){.question = json_incref(question)};
    const json_t *state = json_object_get(question, "state");
    const char *seed = aira__json_string(question, "seed", NULL);
    if (!json_is_object(state) || !seed) return aira__fail(error, AIRA_E_CORRUPT, "a stored question is not complete");
    aira_status status = aira__json_hash(question, out->hash, error);
    out->state_text = aira__json_canonical(state);
    if (status == AIRA_OK && !out->state_text) status = no_memory(error);
    aira_agent_request *r = &out->request;
    r->size = sizeof *r;
    r->operator_name = aira__json_string(question, "operator", "draft");
    r->state_json = out->state_text;
    r->seed = strtoull(seed, NULL, 10);
    r->n_layers = (uint32_t)aira__json_int(state, "layers", 0);
    r->parent = aira__json_int(json_object_get(state, "parent"), "idx", -1);
    r->other_parent = aira__json_int(json_object_get(state, "other_parent"), "idx", -1);
    r->higher_is_better = json_is_true(json_object_get(state, "higher_is_better"));
    r->node = aira__json_int(state, "node", 0);
    r->attempt = aira__json_int(state, "attempt", 0);
    r->request_hash = out->hash;
    if (status == AIRA_OK) status = fill_lists(out, state, error);
    if (status == AIRA_OK) status = fill_nodes(out, state, error);
    return status;
}

void aira__request_release(aira__request *request) {
    json_decref(request->question);
    free(request->messages);
    free(request->nodes);
    free(request->tokens);
    free(request->state_text);
    *request = (aira__request){0};
}
