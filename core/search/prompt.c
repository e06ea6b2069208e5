/* core/search/prompt.c - the variables of prompt templates. See question.h and docs/prompts.md.
 *
 * All templates know the same names. What a name stands for follows from study, tree and journal alone, so a question
 * can be made again from them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/search/literature.h"
#include "core/search/prompt_design.h"
#include "core/search/question.h"
#include "core/search/template.h"

#define CURVE_POINTS 8 /* of a curve as a prompt shows it */

const char *const aira__prompt_variables[] = {"alphabet",
                                              "analysing",
                                              "best",
                                              "complexity",
                                              "data",
                                              "direction",
                                              "example",
                                              "example_source",
                                              "fixed",
                                              "header",
                                              "kind",
                                              "layers",
                                              "limits",
                                              "literature",
                                              "memory",
                                              "memory_omitted",
                                              "memory_sources",
                                              "metric",
                                              "node",
                                              "node_architecture",
                                              "node_cause",
                                              "node_checks",
                                              "node_curve",
                                              "node_note",
                                              "node_options",
                                              "node_output",
                                              "node_plan",
                                              "node_score",
                                              "node_source",
                                              "nodes",
                                              "operations",
                                              "operator",
                                              "options",
                                              "other_parent_analysis",
                                              "other_parent_architecture",
                                              "other_parent_cause",
                                              "other_parent_checks",
                                              "other_parent_curve",
                                              "other_parent_note",
                                              "other_parent_options",
                                              "other_parent_output",
                                              "other_parent_plan",
                                              "other_parent_score",
                                              "other_parent_source",
                                              "parent_analysis",
                                              "parent_architecture",
                                              "parent_cause",
                                              "parent_checks",
                                              "parent_curve",
                                              "parent_note",
                                              "parent_options",
                                              "parent_output",
                                              "parent_plan",
                                              "parent_score",
                                              "parent_source",
                                              "pattern",
                                              "proxies",
                                              "reason",
                                              "source_max",
                                              "task",
                                              "tokens",
                                              NULL};

static size_t utf8_back(const char *text, size_t at) {
    while (at && ((unsigned char)text[at] & 0xC0) == 0x80) at--;
    return at;
}

char *aira__shorten(const char *text, size_t head, size_t tail) {
    size_t n = strlen(text);
    aira__buf out = {0};
    if (n <= head + tail) {
        aira__buf_text(&out, text);
        return aira__buf_take(&out);
    }
    size_t from = utf8_back(text, head), to = n - tail;
    while (((unsigned char)text[to] & 0xC0) == 0x80) to++;
    aira__buf_add(&out, text, from);
    aira__buf_printf(&out, "\n[... %zu characters left out ...]\n", to - from);
    aira__buf_text(&out, text + to);
    return aira__buf_take(&out);
}

/* ---- what never changes within a search ---- */

/* [{token, primitive}] */
static json_t *alphabet_json(const aira__asking *asking) {
    json_t *list = json_array(), *token;
    size_t i;
    json_array_foreach(asking->tokens, i, token) {
        const json_t *made_of = json_object_get(json_object_get(asking->task, "tokens"), json_string_value(token));
        json_array_append_new(
            list, json_pack("{s:O, s:s}", "token", token, "primitive", aira__json_string(made_of, "use", "?")));
    }
    return list;
}

static json_t *proxies_json(const aira__asking *asking) {
    json_t *list = json_array(), *proxy;
    size_t i;
    json_array_foreach(json_object_get(asking->task, "proxies"), i, proxy) {
        const json_t *dataset = json_object_get(proxy, "dataset");
        char *settings = json_dumps(dataset, JSON_SORT_KEYS);
        json_array_append_new(list, json_pack("{s:s, s:s}", "dataset", aira__json_string(dataset, "use", "?"),
                                              "settings", settings ? settings : ""));
        free(settings);
    }
    return list;
}

/* The tokens cycled through the layers, as an example of the notation. */
static json_t *example_json(const aira__asking *asking) {
    aira__buf text = {0};
    size_t n = json_array_size(asking->tokens);
    aira__buf_text(&text, "\"");
    for (int i = 0; i < asking->n_layers && n && text.size < 400; i++)
        aira__buf_printf(&text, "%s%s", i ? " " : "", json_string_value(json_array_get(asking->tokens, (size_t)i % n)));
    aira__buf_text(&text, "\"");
    json_t *value = text.data ? json_string(text.data) : NULL;
    aira__buf_free(&text);
    return value;
}

static json_t *compose_json(const aira__asking *asking) {
    return json_pack("{s:s, s:O, s:i, s:o, s:o, s:o, s:s, s:s, s:s, s:s}", "task",
                     aira__json_string(asking->task, "task", ""), "tokens", asking->tokens, "layers", asking->n_layers,
                     "alphabet", alphabet_json(asking), "proxies", proxies_json(asking), "example",
                     example_json(asking), "direction", asking->higher_is_better ? "higher" : "lower", "metric",
                     asking->metric, "data", asking->data, "reason", "");
}

static json_t *common_json(const aira__asking *asking) {
    json_t *values = compose_json(asking);
    if (aira__prompt_add_design(asking, values)) return values;
    json_decref(values);
    return NULL;
}

aira_status aira__asking_open(const json_t *study, const json_t *search, const aira__tree *tree, aira__memory *memory,
                              aira__journal *journal, aira__asking *out, aira_error *error) {
    const json_t *kinds = json_object_get(search, "memory");
    *out = (aira__asking){.prompts = json_object_get(study, "prompts"),
                          .task = json_object_get(study, "task"),
                          .tokens = json_object_get(study, "tokens"),
                          .n_layers = (int)aira__json_int(study, "layers", 0),
                          .higher_is_better = json_is_true(json_object_get(study, "higher_is_better")),
                          .metric = aira__json_string(study, "metric", "score"),
                          .data = aira__json_string(study, "data", ""),
                          .task_hash = aira__json_string(study, "task_hash", ""),
                          .tree = tree,
                          .memory = memory,
                          .journal = journal,
                          .memory_tokens = aira__json_int(search, "memory_tokens", AIRA__MEMORY_TOKENS),
                          .complexity = json_is_true(json_object_get(search, "complexity"))};
    const json_t *candidate = json_object_get(out->task, "candidate");
    const char *notes = aira__json_string(search, "literature", NULL);
    out->design = !strcmp(aira__json_string(candidate, "kind", "compose"), "design");
    out->declared = json_object_get(candidate, "configurable");
    out->literature = notes ? json_object_get(json_object_get(study, "literature"), notes) : NULL;
    out->literature_tokens = aira__json_int(search, "literature_tokens", AIRA__LITERATURE_TOKENS);
    static const char *const fallback[] = {"simple", "simple", "ancestral", "none"}; /* journals of version 1 */
    for (uint32_t code = 0; code < 4; code++) {
        int kind = aira__memory_find(aira__json_string(kinds, aira__operator_name(code), fallback[code]));
        out->kinds[code] = kind < 0 ? AIRA__MEMORY_NONE : (aira__memory_kind)kind;
    }
    const char *name;
    json_t *text;
    json_object_foreach((json_t *)(uintptr_t)out->prompts, name, text)
        out->uses_nodes = out->uses_nodes || (json_is_string(text) && strstr(json_string_value(text), "nodes"));
    out->common = common_json(out);
    out->cache = aira__template_cache_create();
    return out->common ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
}

void aira__asking_release(aira__asking *asking) {
    json_decref(asking->common);
    aira__template_cache_destroy(asking->cache);
    asking->common = NULL;
    asking->cache = NULL;
}

/* ---- evaluations ---- */

/* "- mad: 2.81 at step 0, 1.93 (score 0.41) at step 40, ..." per data set. */
static char *curve_text(const char *json) {
    json_t *all = json ? json_loads(json, 0, NULL) : NULL, *one;
    aira__buf out = {0};
    size_t i;
    json_array_foreach(all, i, one) {
        const json_t *curve = json_object_get(one, "curve");
        size_t n = json_array_size(curve), points = n < CURVE_POINTS ? n : CURVE_POINTS;
        aira__buf_printf(&out, "%s- %s: loss", i ? "\n" : "", aira__json_string(one, "dataset", "?"));
        for (size_t k = 0; k < points; k++) {
            const json_t *p = json_array_get(curve, points > 1 ? k * (n - 1) / (points - 1) : 0);
            const json_t *loss = json_array_get(p, 1), *score = json_array_get(p, 2);
            aira__buf_printf(&out, "%s %.4g", k ? "," : "", json_number_value(loss));
            if (json_is_number(score)) aira__buf_printf(&out, " (score %.4g)", json_number_value(score));
            aira__buf_printf(&out, " at step %lld", (long long)json_number_value(json_array_get(p, 0)));
        }
    }
    json_decref(all);
    return aira__buf_take(&out);
}

typedef struct evaluated {
    char *curve, *output, *checks, *cause;
    double score;
    bool ok;
} evaluated;

static aira_status take_evaluation(void *context, const aira__journal_evaluation *row, aira_error *error) {
    evaluated *e = context;
    free(e->curve);
    free(e->output);
    free(e->checks);
    free(e->cause);
    e->checks = aira__prompt_checks(row->metrics);
    e->cause = strdup(row->cause ? row->cause : "");
    e->curve = curve_text(row->curve);
    e->output = aira__shorten(row->error ? row->error : "", AIRA__OUTPUT_HEAD, AIRA__OUTPUT_TAIL);
    e->score = row->search_score;
    e->ok = !strcmp(row->status, "ok");
    return e->curve && e->output && e->checks && e->cause ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
}

static aira_status look_up(const aira__asking *asking, const char *hash, evaluated *out, aira_error *error) {
    *out = (evaluated){.score = NAN};
    if (!asking->journal || !hash || !hash[0]) return AIRA_OK;
    return aira__journal_find_evaluation(asking->journal, hash, asking->task_hash, asking->tree->seed, take_evaluation,
                                         out, error);
}

static json_t *text_or_null(const char *text) { return text && *text ? json_string(text) : json_null(); }

/* ---- of one node ---- */

static bool set(json_t *values, const char *prefix, const char *member, json_t *value) {
    char name[64];
    snprintf(name, sizeof name, "%s_%s", prefix, member);
    return !json_object_set_new(values, name, value);
}

/* parent_architecture, parent_score, ...: flat, so that templates stay flat. hash: of its candidate. */
static aira_status set_node(const aira__asking *asking, json_t *values, const char *prefix, const json_t *entry,
                            const char *hash, aira_error *error) {
    static const char *const members[] = {"architecture", "score", "note", "plan", "analysis"};
    evaluated e;
    aira_status status = look_up(asking, hash, &e, error);
    bool ok = true;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *value = json_object_get(entry, members[i]);
        ok = set(values, prefix, members[i], value ? json_incref(value) : json_null()) && ok;
    }
    ok = set(values, prefix, "curve", text_or_null(e.curve)) && ok;
    ok = set(values, prefix, "output", text_or_null(e.output)) && ok;
    ok = set(values, prefix, "checks", text_or_null(e.checks)) && ok;
    ok = set(values, prefix, "cause", text_or_null(e.cause)) && ok;
    free(e.curve);
    free(e.output);
    free(e.checks);
    free(e.cause);
    if (status == AIRA_OK) status = aira__prompt_set_source(asking, values, prefix, hash, error);
    return status == AIRA_OK && !ok ? aira__fail(error, AIRA_E_MEMORY, "out of memory") : status;
}

static aira_status set_parent(const aira__asking *asking, json_t *values, const char *prefix, int64_t parent,
                              uint32_t view, aira_error *error) {
    json_t *entry = parent < 0 ? NULL : aira__memory_entry(asking->memory, (uint32_t)parent, view);
    const char *hash = parent < 0 ? NULL : asking->tree->nodes[parent].hash;
    aira_status status = set_node(asking, values, prefix, entry, hash, error);
    json_decref(entry);
    return status;
}

/* "simple" while a node has fewer than two children (a search fewer than two drafts), then "normal", from four on
   "complex". */
static const char *complexity_of(const aira__asking *asking, uint32_t idx) {
    const aira__tree_node *nodes = asking->tree->nodes;
    uint32_t n = 0;
    for (uint32_t i = 0; i < idx; i++) n += nodes[i].parent == nodes[idx].parent;
    return n < 2 ? "simple" : n < 4 ? "normal" : "complex";
}

json_t *aira__prompt_values(const aira__asking *asking, uint32_t idx, uint32_t view, const json_t *result,
                            aira_error *error) {
    const aira__tree_node *node = &asking->tree->nodes[idx];
    json_t *values = json_copy(asking->common), *nodes = NULL;
    int64_t omitted = 0;
    json_t *memory = aira__memory_recall(asking->memory, asking->kinds[node->operator_code & 3], idx, view,
                                         node->parent, asking->memory_tokens, &omitted);
    bool ok = values && memory;
    if (ok && asking->uses_nodes)
        ok = aira__memory_nodes(asking->memory, idx, view, asking->memory_tokens, &nodes, NULL);
    else
        nodes = json_array();
    ok = ok && !json_object_set(values, "memory", memory) && !json_object_set(values, "nodes", nodes) &&
         !json_object_set_new(values, "memory_omitted", omitted ? json_integer(omitted) : json_null()) &&
         !json_object_set_new(values, "best", aira__memory_best(asking->memory, view)) &&
         !json_object_set_new(values, "node", json_integer(idx)) &&
         !json_object_set_new(values, "operator", json_string(aira__operator_name(node->operator_code))) &&
         !json_object_set_new(values, "analysing", json_boolean(result != NULL)) &&
         !json_object_set_new(values, "complexity",
                              asking->complexity ? json_string(complexity_of(asking, idx)) : json_null());
    json_t *sources = ok ? aira__prompt_sources(asking, asking->kinds[node->operator_code & 3], memory, error) : NULL;
    ok = ok && sources && !json_object_set(values, "memory_sources", sources) &&
         !json_object_set_new(values, "literature", aira__prompt_literature(asking, node, view));
    json_decref(sources);
    json_decref(memory);
    json_decref(nodes);
    aira_status status = ok ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    if (status == AIRA_OK) status = set_parent(asking, values, "parent", node->parent, view, error);
    if (status == AIRA_OK) status = set_parent(asking, values, "other_parent", node->other_parent, view, error);
    if (status == AIRA_OK)
        status = set_node(asking, values, "node", result, aira__json_string(result, "hash", NULL), error);
    (void)json_object_del(values, "node_analysis"); /* it is what is being asked for */
    if (status == AIRA_OK) return values;
    json_decref(values);
    return NULL;
}
