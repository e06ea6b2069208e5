/* core/train/task_design.c - see task_design.h. */
#include "core/train/task_design.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/compose/notation.h"
#include "core/train/task.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory for a task"); }

/* ---- reading ---- */

/* "X M", or a list of tokens, as a list of tokens; counts as in architectures. */
static json_t *read_pattern(aira__node *node, aira__diagnostics *d) {
    aira__notation parsed = {0};
    aira_error error = {AIRA_OK, ""};
    json_t *list = json_array();
    for (int k = 0; node->kind == AIRA_NODE_LIST && k < node->n_items; k++)
        json_array_append_new(list, json_string(aira__node_string(node->items[k], "", d)));
    if (node->kind == AIRA_NODE_LIST) return list;
    if (aira__notation_parse_any(aira__node_string(node, "", d), &parsed, &error) != AIRA_OK)
        aira__diagnose(d, node, "pattern: %s", error.text);
    for (int k = 0; k < parsed.n; k++) json_array_append_new(list, json_string(parsed.tokens[parsed.layers[k]]));
    aira__notation_release(&parsed);
    return list;
}

static bool valid_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return name[n] == 0 && n > 0 && n < 48 && name[0] >= 'a' && name[0] <= 'z';
}

static void read_option(aira__node *node, json_t *out, aira__diagnostics *d) {
    static const char *const accepted[] = {"sets", "from", "to", "choices", NULL};
    node->used = true;
    if (node->kind != AIRA_NODE_MAP || !valid_name(node->key)) {
        aira__diagnose(d, node,
                       "an option is a lower-case name with a mapping such as {sets: recipe.optimizer.lr, "
                       "from: 1e-4, to: 1e-2}");
        aira__node_mark_used(node);
        return;
    }
    aira__node *sets = aira__map_get(node, "sets"), *from = aira__map_get(node, "from"),
               *to = aira__map_get(node, "to");
    aira__node *choices = aira__map_get(node, "choices");
    json_t *one = json_object();
    if (sets == NULL) aira__diagnose(d, node, "option %s needs `sets`, e.g. sets: recipe.optimizer.lr", node->key);
    json_object_set_new(one, "sets", json_string(aira__node_string(sets, "", d)));
    if (choices != NULL && choices->kind == AIRA_NODE_LIST && choices->n_items > 0 && from == NULL && to == NULL) {
        json_t *list = json_array();
        for (int k = 0; k < choices->n_items; k++)
            json_array_append_new(list, json_real(aira__node_real(choices->items[k], 0, d)));
        json_object_set_new(one, "choices", list);
    } else if (choices == NULL && from != NULL && to != NULL) {
        double low = aira__node_real(from, 0, d), high = aira__node_real(to, 0, d);
        if (!(low < high)) aira__diagnose(d, from, "option %s: `from` must be below `to`", node->key);
        json_object_set_new(one, "from", json_real(low));
        json_object_set_new(one, "to", json_real(high));
    } else {
        if (choices != NULL) aira__node_mark_used(choices);
        aira__diagnose(d, node, "option %s needs `from` and `to`, or `choices: [..]`", node->key);
    }
    aira__map_finish(node, accepted, d);
    json_object_set_new(out, node->key, one);
}

void aira__design_read(aira__node *candidate, json_t **pattern, json_t **configurable, aira__diagnostics *d) {
    aira__node *layout = aira__map_get(candidate, "pattern"), *options = aira__map_get(candidate, "configurable");
    *pattern = layout != NULL ? read_pattern(layout, d) : json_pack("[s]", AIRA__MECHANISM);
    *configurable = json_object();
    if (options != NULL && (options->kind != AIRA_NODE_MAP || options->n_items == 0)) {
        aira__diagnose(d, options,
                       "configurable is a mapping: {lr: {sets: recipe.optimizer.lr, from: 1e-4, to: 1e-2}}");
        aira__node_mark_used(options);
    } else if (options != NULL) {
        for (int k = 0; k < options->n_items; k++) read_option(options->items[k], *configurable, d);
    }
}

/* ---- pattern ---- */

aira_status aira__design_pattern(const json_t *pattern, const aira__task *task, int **indices, int *n,
                                 aira_error *error) {
    bool mechanism = false;
    *n = (int)json_array_size(pattern);
    *indices = malloc(((size_t)*n + 1) * sizeof **indices);
    if (*indices == NULL) return no_memory(error);
    if (aira__task_token_find(task, AIRA__MECHANISM) >= 0)
        return aira__fail(error, AIRA_E_CONFIG,
                          "token " AIRA__MECHANISM " stands for the mechanism; rename the task's");
    for (int k = 0; k < *n; k++) {
        const char *token = json_string_value(json_array_get(pattern, (size_t)k));
        bool is_mechanism = token != NULL && strcmp(token, AIRA__MECHANISM) == 0;
        (*indices)[k] = token != NULL && !is_mechanism ? aira__task_token_find(task, token) : -1;
        mechanism = mechanism || is_mechanism;
        if ((*indices)[k] < 0 && !is_mechanism)
            return aira__fail(error, AIRA_E_CONFIG,
                              "pattern: the task has no token `%s`; " AIRA__MECHANISM " stands for the mechanism",
                              token != NULL ? token : "?");
    }
    if (!mechanism)
        return aira__fail(error, AIRA_E_CONFIG,
                          "pattern: " AIRA__MECHANISM ", which stands for the mechanism, is not in it");
    if (task->layers > 0 && task->layers < *n)
        return aira__fail(error, AIRA_E_CONFIG, "pattern: it has %d layers, the candidate %d (candidate.layers)", *n,
                          task->layers);
    return AIRA_OK;
}

/* ---- options ---- */

static bool is_whole(double x) { return floor(x) == x && fabs(x) < 9e15; }

static json_t *number(double value, bool integer) {
    return integer ? json_integer((json_int_t)value) : json_real(value);
}

/* The object that holds the last key of a dotted path, *key: that key. NULL: there is no such object. */
static json_t *holder(json_t *from, const char *path, const char **key) {
    char part[64];
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
        size_t n = (size_t)(dot - path);
        if (n >= sizeof part) return NULL;
        memcpy(part, path, n);
        part[n] = 0;
        from = json_object_get(from, part);
    }
    *key = path;
    return json_is_object(from) ? from : NULL;
}

/* The object that holds what `sets` names, in the candidate or in one proxy, and the key there; NULL: no number there.
 */
static json_t *place(json_t *task, json_t *proxy, const char *sets, const char **key) {
    bool recipe = strncmp(sets, "recipe.", 7) == 0;
    if (!recipe && strcmp(sets, "layers") != 0 && strncmp(sets, "backbone.", 9) != 0) return NULL;
    json_t *at = holder(recipe ? proxy : json_object_get(task, "candidate"), sets, key);
    return at != NULL && json_is_number(json_object_get(at, *key)) ? at : NULL;
}

/* The number that `sets` names in the first proxy; every proxy has one. NULL: not all do. */
static const json_t *look(json_t *task, const char *sets) {
    json_t *proxies = json_object_get(task, "proxies"), *proxy, *at;
    const char *key = NULL;
    size_t k;
    json_array_foreach(proxies, k, proxy) {
        if (place(task, proxy, sets, &key) == NULL) return NULL;
    }
    at = place(task, json_array_get(proxies, 0), sets, &key);
    return at != NULL ? json_object_get(at, key) : NULL;
}

/* false: not everywhere is a number to be replaced. */
static bool put(json_t *task, const char *sets, json_t *value) {
    json_t *proxy;
    const char *key = NULL;
    size_t k;
    json_array_foreach(json_object_get(task, "proxies"), k, proxy) {
        json_t *at = place(task, proxy, sets, &key);
        if (at == NULL || json_object_set(at, key, value) != 0) return false;
    }
    return true;
}

static aira_status complete_option(const json_t *task, const char *name, const json_t *written, json_t *out,
                                   aira_error *error) {
    const char *sets = aira__json_string(written, "sets", "");
    const json_t *found = look((json_t *)(uintptr_t)task, sets), *choices = json_object_get(written, "choices"), *c;
    if (found == NULL)
        return aira__fail(error, AIRA_E_CONFIG,
                          "option %s: `sets: %s` names no number of this task; use layers, a key of the backbone "
                          "(backbone.width) or of every recipe (recipe.optimizer.lr)",
                          name, sets);
    bool integer = json_is_integer(found);
    double default_value = json_number_value(found);
    json_t *one = json_pack("{s:s, s:o}", "sets", sets, "default", number(default_value, integer));
    bool fits = false;
    if (choices != NULL) {
        json_t *list = json_array();
        size_t k;
        json_array_foreach(choices, k, c) {
            if (integer && !is_whole(json_number_value(c))) integer = false;
            fits = fits || json_number_value(c) == default_value;
            json_array_append_new(list, number(json_number_value(c), integer));
        }
        json_object_set_new(one, "choices", list);
    } else {
        double from = aira__json_real(written, "from", 0), to = aira__json_real(written, "to", 0);
        fits = default_value >= from && default_value <= to;
        json_object_set_new(one, "from", number(integer ? ceil(from) : from, integer));
        json_object_set_new(one, "to", number(integer ? floor(to) : to, integer));
    }
    json_object_set_new(out, name, one);
    if (fits) return AIRA_OK;
    return aira__fail(error, AIRA_E_CONFIG, "option %s: the task's own value of %s, %g, is not among what it allows",
                      name, sets, default_value);
}

aira_status aira__design_options(const json_t *task, const json_t *written, json_t **complete, aira_error *error) {
    const char *name;
    json_t *value;
    *complete = json_object();
    aira_status status = *complete != NULL ? AIRA_OK : no_memory(error);
    json_object_foreach((json_t *)(uintptr_t)written, name, value) {
        if (status == AIRA_OK) status = complete_option(task, name, value, *complete, error);
    }
    return status;
}

json_t *aira__design_apply(const json_t *task, const json_t *options, aira_error *error) {
    const json_t *declared = json_object_get(json_object_get(task, "candidate"), "configurable");
    json_t *copy = json_deep_copy(task), *value;
    const char *name;
    if (copy == NULL) {
        (void)no_memory(error);
        return NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)options, name, value) {
        const char *sets = aira__json_string(json_object_get(declared, name), "sets", "");
        if (put(copy, sets, value)) continue;
        (void)aira__fail(error, AIRA_E_CONFIG, "the task has no option `%s`", name);
        json_decref(copy);
        return NULL;
    }
    return copy;
}

static aira_status not_among(const char *name, const json_t *declared, aira_error *error) {
    const json_t *choices = json_object_get(declared, "choices");
    if (choices != NULL) {
        char *list = json_dumps(choices, JSON_REAL_PRECISION(6));
        (void)aira__fail(error, AIRA_E_FAILED, "option `%s` is one of %s", name, list != NULL ? list : "its choices");
        free(list);
        return AIRA_E_FAILED;
    }
    return aira__fail(error, AIRA_E_FAILED, "option `%s` is a %s from %g to %g", name,
                      json_is_integer(json_object_get(declared, "from")) ? "whole number" : "number",
                      aira__json_real(declared, "from", 0), aira__json_real(declared, "to", 0));
}

aira_status aira__design_option_value(const char *name, const json_t *declared, const json_t *value, json_t **stored,
                                      aira_error *error) {
    const json_t *choices = json_object_get(declared, "choices"), *c;
    bool integer = json_is_integer(json_object_get(declared, "default"));
    double x = json_number_value(value);
    size_t k;
    *stored = NULL;
    if (!json_is_number(value) || (integer && !is_whole(x))) return not_among(name, declared, error);
    bool fits = choices == NULL && x >= aira__json_real(declared, "from", 0) && x <= aira__json_real(declared, "to", 0);
    json_array_foreach(choices, k, c) fits = fits || json_number_value(c) == x;
    if (!fits) return not_among(name, declared, error);
    *stored = number(x, integer);
    return *stored != NULL ? AIRA_OK : no_memory(error);
}

json_t *aira__design_defaults(const json_t *declared) {
    json_t *out = json_object(), *value;
    const char *name;
    json_object_foreach((json_t *)(uintptr_t)declared, name, value) {
        if (out != NULL && json_object_set(out, name, json_object_get(value, "default")) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}
