/* core/search/trust.c - see trust.h. */
#include "core/search/trust.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/compose/notation.h"
#include "core/search/budget.h"
#include "core/search/standing.h"

static void put(json_t *object, const char *key, json_t *value, aira__diagnostics *d) {
    if (json_object_set_new(object, key, value)) aira__diagnose(d, NULL, "out of memory");
}

/* The node if it is a mapping; NULL, with a diagnostic, if it is something else. */
static aira__node *mapping(aira__node *node, const char *example, aira__diagnostics *d) {
    if (!node || node->kind == AIRA_NODE_MAP) return node;
    aira__diagnose(d, node, "%s is a mapping, e.g. %s", node->key, example);
    aira__node_mark_used(node);
    return NULL;
}

static void read_confirm(aira__node *node, json_t *study, aira__diagnostics *d) {
    static const char *const accepted[] = {"seeds", "alpha", NULL};
    int64_t seeds = 3;
    double alpha = 0.05;
    if ((node = mapping(node, "{seeds: 3, alpha: 0.05}", d))) {
        aira__node *item = aira__map_get(node, "alpha");
        seeds = aira__node_int(aira__map_get(node, "seeds"), seeds, 1, AIRA__MAX_SEEDS, d);
        alpha = aira__node_real(item, alpha, d);
        if (!(alpha > 0 && alpha <= 0.5))
            aira__diagnose(d, item,
                           "alpha is the chance to confirm something in a study without any difference: "
                           "above 0, at most 0.5");
        aira__map_finish(node, accepted, d);
    }
    /* A fork has fewer searches, and goes on with the levels that its nodes were tested at. */
    put(study, "confirm",
        json_pack("{s:I, s:f, s:I}", "seeds", (json_int_t)seeds, "alpha", alpha, "searches",
                  (json_int_t)json_array_size(json_object_get(study, "searches"))),
        d);
}

const char **aira__baseline_tokens(const json_t *study, int *n) {
    const json_t *task = json_object_get(study, "task"), *tokens = json_object_get(study, "tokens");
    bool design = !strcmp(aira__json_string(json_object_get(task, "candidate"), "kind", "compose"), "design");
    json_t *made_of = json_object_get(task, "tokens"), *ignored;
    const char **names = calloc(json_array_size(tokens) + json_object_size(made_of) + 1, sizeof *names), *name;
    *n = 0;
    for (size_t i = 0; names && i < json_array_size(tokens); i++)
        names[(*n)++] = json_string_value(json_array_get(tokens, i));
    if (names && design) {
        json_object_foreach(made_of, name, ignored) names[(*n)++] = name;
    }
    return names;
}

/* The run-length form of an architecture of this task, malloc'ed; NULL with a diagnostic. */
static char *read_architecture(aira__node *node, const json_t *study, aira__diagnostics *d) {
    int n_tokens = 0, n_layers = (int)aira__json_int(study, "layers", 0), n = 0;
    const char **names = aira__baseline_tokens(study, &n_tokens);
    uint16_t *layers = calloc((size_t)n_layers + 1, sizeof *layers);
    const char *text = aira__node_string(node, "", d);
    aira_error error = {0};
    char *form = NULL;
    if (!names || !layers)
        aira__diagnose(d, node, "out of memory");
    else if (n_layers && aira__notation_parse(text, names, n_tokens, layers, n_layers, &n, &error) != AIRA_OK)
        aira__diagnose(d, node, "%s", error.text);
    else if (n_layers && n != n_layers)
        aira__diagnose(d, node, "baseline `%s` has %d layers, the task asks for %d", node->key, n, n_layers);
    else if (n_layers)
        form = aira__notation_format(layers, n, names);
    free(layers);
    free(names);
    return form;
}

static void read_baselines(aira__node *node, json_t *study, aira__diagnostics *d) {
    json_t *baselines = json_object();
    node = mapping(node, "{llama: \"2mA 2M\"}", d);
    for (int i = 0; node && i < node->n_items; i++) {
        aira__node *item = node->items[i];
        char *form = read_architecture(item, study, d);
        if (strlen(item->key) > 60 || !strcmp(item->key, "winner") || !strncmp(item->key, "search ", 7) ||
            !strncmp(item->key, "first of ", 9))
            aira__diagnose(d, item,
                           "a baseline's name has at most 60 characters and is not the name of a result: `winner`, "
                           "`search 1`, `first of search 1`");
        aira__node_mark_used(item);
        if (form) put(baselines, item->key, json_string(form), d);
        free(form);
    }
    if (node) aira__node_mark_used(node);
    put(study, "baselines", baselines, d);
}

/* All names, or those that the list gives. */
static json_t *chosen_baselines(aira__node *list, const json_t *baselines, aira__diagnostics *d) {
    json_t *names = json_array(), *value;
    const char *name;
    if (list && list->kind != AIRA_NODE_LIST) {
        aira__diagnose(d, list, "baselines is a list of names of the study's `baselines`");
        aira__node_mark_used(list);
        return names;
    }
    json_object_foreach((json_t *)(uintptr_t)baselines, name, value) if (!list)
        json_array_append_new(names, json_string(name));
    for (int i = 0; list && i < list->n_items; i++) {
        name = aira__node_string(list->items[i], "", d);
        if (!json_object_get(baselines, name))
            aira__diagnose(d, list->items[i], "the study has no baseline `%s`; add `baselines: {%s: \"...\"}`", name,
                           name);
        json_array_append_new(names, json_string(name));
    }
    return names;
}

static void read_final(aira__node *node, json_t *study, aira__diagnostics *d) {
    static const char *const accepted[] = {"seeds", "of", "first", "baselines", NULL};
    int64_t seeds = 3;
    const char *of = "winner";
    aira__node *list = NULL, *first = NULL;
    if ((node = mapping(node, "{seeds: 3, of: winner}", d))) {
        aira__node *item = aira__map_get(node, "of");
        seeds = aira__node_int(aira__map_get(node, "seeds"), seeds, 0, AIRA__MAX_SEEDS, d);
        of = aira__node_string(item, of, d);
        if (strcmp(of, "winner") != 0 && strcmp(of, "submissions") != 0)
            aira__diagnose(d, item, "of is `winner` (the study's) or `submissions` (one per search)");
        list = aira__map_get(node, "baselines");
        first = aira__map_get(node, "first");
        aira__map_finish(node, accepted, d);
    }
    json_t *baselines = chosen_baselines(list, json_object_get(study, "baselines"), d);
    bool alone = json_array_size(baselines) == 0;
    put(study, "final",
        json_pack("{s:I, s:s, s:b, s:o}", "seeds", (json_int_t)seeds, "of", of, "first",
                  aira__node_bool(first, alone, d), "baselines", baselines),
        d);
}

void aira__trust_read(aira__node *root, json_t *study, aira__diagnostics *d) {
    read_confirm(aira__map_get(root, "confirm"), study, d);
    read_baselines(aira__map_get(root, "baselines"), study, d);
    read_final(aira__map_get(root, "final"), study, d);
}

void aira__trust_check_budgets(aira__node *place, const json_t *study, aira__diagnostics *d) {
    const json_t *searches = json_object_get(study, "searches"), *search;
    int64_t n = (int64_t)json_array_size(searches);
    int64_t seeds = aira__json_int(json_object_get(study, "confirm"), "seeds", 1);
    aira__budget budget, own;
    size_t i;
    aira__budget_from_json(json_object_get(study, "budget"), &budget);
    if (budget.candidates >= 0 && budget.candidates < n)
        aira__diagnose(d, place,
                       "the budget of %lld candidates leaves nothing for some of %lld searches: give at least one each",
                       (long long)budget.candidates, (long long)n);
    if (budget.evaluations >= 0 && budget.evaluations < n * seeds)
        aira__diagnose(d, place,
                       "the budget of %lld evaluations is not enough for one candidate of each of %lld searches: the "
                       "best so far is trained on %lld seeds (`confirm: {seeds: 1}` turns that off), so give at least "
                       "%lld",
                       (long long)budget.evaluations, (long long)n, (long long)seeds, (long long)(n * seeds));
    json_array_foreach((json_t *)(uintptr_t)searches, i, search) {
        aira__budget_from_json(json_object_get(search, "budget"), &own);
        if (own.evaluations < 0 || own.evaluations >= seeds) continue;
        aira__diagnose(d, place,
                       "search %zu may train %lld times, and its first candidate alone is trained on %lld seeds; give "
                       "it more, or turn that off with `confirm: {seeds: 1}`",
                       i + 1, (long long)own.evaluations, (long long)seeds);
        return;
    }
}
