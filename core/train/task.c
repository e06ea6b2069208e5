/* core/train/task.c - reading tasks from YAML and from their canonical JSON; see task.h. */
#include "core/train/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/train/task_design.h"

#define MAX_LAYERS 4096

static const char *const task_keys[] = {"task", "candidate", "tokens", "proxies", "limits", "scale", NULL};
static const char *const candidate_keys[] = {"kind", "layers", "backbone", NULL};
static const char *const design_keys[] = {"kind", "layers", "backbone", "pattern", "configurable", NULL};
static const char *const proxy_keys[] = {"name", "dataset", "recipe", "backbone", "weight", NULL};
static const char *const limit_keys[] = {"seconds", "memory", "parameters", "flops_per_token", "cost_exponent", NULL};

const char *aira__metric_name(uint32_t metric) {
    return metric == AIRA_METRIC_ACCURACY          ? "accuracy"
           : metric == AIRA_METRIC_LOSS            ? "loss"
           : metric == AIRA_METRIC_BITS_PER_BYTE   ? "bits_per_byte"
           : metric == AIRA_METRIC_ACCURACY_POOLED ? "accuracy_pooled"
                                                   : "?";
}

aira_status aira__dataset_describe(aira__registry *registry, const aira__instance *dataset, aira_dataset_info *info,
                                   aira_error *error) {
    const aira_host *host = aira__registry_host(registry);
    const aira_dataset *table = dataset->plugin->table;
    *info = (aira_dataset_info){.size = sizeof *info};
    aira__host_clear_failure(host);
    aira_status status = table->describe(dataset->self, info);
    const char *id = dataset->plugin->id;
    if (status != AIRA_OK) {
        const char *why = aira__host_last_failure(host);
        return aira__fail(error, status, "data set %s: %s", id, why[0] != 0 ? why : "it gave no reason");
    }
    if (info->vocab < 1 || info->classes < 1 || info->input_length < 1 || info->target_length < 1 ||
        aira__metric_name(info->metric)[0] == '?') {
        return aira__fail(error, AIRA_E_FAILED, "data set %s describes itself wrongly (vocabulary, lengths or metric)",
                          id);
    }
    return AIRA_OK;
}

/* --- parts --- */

static char *proxy_name(const aira__instance *dataset) {
    const char *of = aira__json_string(dataset->canonical, "task", NULL);
    char name[160];
    snprintf(name, sizeof name, "%s%s%s", dataset->plugin->id, of != NULL ? " " : "", of != NULL ? of : "");
    return strdup(name);
}

static void check_dataset(aira__registry *registry, aira__proxy *proxy, const aira__node *node, bool check_data,
                          aira__diagnostics *d) {
    aira_error error = {AIRA_OK, ""};
    if (aira__dataset_describe(registry, proxy->dataset, &proxy->info, &error) == AIRA_OK) return;
    if (check_data) aira__diagnose(d, node, "%s", error.text);
    proxy->info = (aira_dataset_info){.size = sizeof proxy->info};
}

static void read_proxy(aira__registry *registry, aira__node *node, bool check_data, aira__proxy *proxy,
                       aira__diagnostics *d) {
    node->used = true;
    if (node->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, node,
                       "a proxy is a mapping such as {dataset: {use: mad, task: memorization}, recipe: {...}}");
        return;
    }
    aira__node *dataset = aira__map_get(node, "dataset"), *backbone = aira__map_get(node, "backbone");
    aira__node *name = aira__map_get(node, "name");
    proxy->weight = aira__node_real(aira__map_get(node, "weight"), 1, d);
    if (!(proxy->weight > 0)) aira__diagnose(d, node, "the weight of a proxy must be above 0");
    proxy->dataset = aira__instance_create(registry, "dataset", dataset, NULL, d);
    if (proxy->dataset != NULL) check_dataset(registry, proxy, dataset, check_data, d);
    if (backbone != NULL) proxy->backbone = aira__instance_create(registry, "backbone", backbone, NULL, d);
    aira__recipe_read(registry, aira__map_get(node, "recipe"), &proxy->recipe, d);
    if (name != NULL) {
        proxy->name = strdup(aira__node_string(name, "", d));
    } else if (proxy->dataset != NULL) {
        proxy->name = proxy_name(proxy->dataset);
    }
    aira__map_finish(node, proxy_keys, d);
}

static void read_proxies(aira__registry *registry, aira__node *list, const aira__node *root, bool check_data,
                         aira__task *task, aira__diagnostics *d) {
    if (list == NULL || list->kind != AIRA_NODE_LIST || list->n_items == 0) {
        aira__diagnose(d, list != NULL ? list : root, "a task needs 'proxies', a list of {dataset: ..., recipe: ...}");
        if (list != NULL) aira__node_mark_used(list);
        return;
    }
    task->proxies = calloc((size_t)list->n_items, sizeof *task->proxies);
    if (task->proxies == NULL) {
        aira__diagnose(d, list, "out of memory while reading proxies");
        return;
    }
    for (; task->n_proxies < list->n_items; task->n_proxies++) {
        read_proxy(registry, list->items[task->n_proxies], check_data, &task->proxies[task->n_proxies], d);
    }
}

static void read_candidate(aira__registry *registry, aira__node *map, const aira__node *root, aira__task *task,
                           aira__diagnostics *d) {
    if (map == NULL || map->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, map != NULL ? map : root,
                       "a task needs 'candidate', e.g. {kind: compose, layers: 4, backbone: {use: mad_lm}}");
        if (map != NULL) aira__node_mark_used(map);
        return;
    }
    aira__node *kind = aira__map_get(map, "kind");
    const char *name = aira__node_string(kind, "compose", d);
    task->design = strcmp(name, "design") == 0;
    if (!task->design && strcmp(name, "compose") != 0)
        aira__diagnose(d, kind, "unknown kind of candidate '%s'; there are compose (architectures) and design (source)",
                       name);
    task->layers = (int)aira__node_int(aira__map_get(map, "layers"), 0, 0, MAX_LAYERS, d);
    if (task->design) aira__design_read(map, &task->pattern, &task->configurable, d);
    if (task->design && task->layers < 1)
        aira__diagnose(d, map, "a design needs `layers`, the depth of the model that the mechanism is tried in");
    aira__node *backbone = aira__map_get(map, "backbone");
    if (backbone == NULL) {
        aira__diagnose(d, map, "a candidate needs a backbone, e.g. backbone: {use: mad_lm}");
    } else {
        task->backbone = aira__instance_create(registry, "backbone", backbone, NULL, d);
    }
    aira__map_finish(map, task->design ? design_keys : candidate_keys, d);
}

static void read_limits(aira__node *map, aira__task *task, aira__diagnostics *d) {
    if (map == NULL) return;
    task->limit_seconds = aira__node_duration(aira__map_get(map, "seconds"), 0, d);
    task->limit_memory = aira__node_bytes(aira__map_get(map, "memory"), 0, d);
    task->limit_parameters = aira__node_count(aira__map_get(map, "parameters"), 0, d);
    task->limit_flops = (double)aira__node_count(aira__map_get(map, "flops_per_token"), 0, d);
    aira__node *exponent = aira__map_get(map, "cost_exponent");
    task->limit_exponent = aira__node_real(exponent, 0, d);
    if (exponent != NULL && !task->design)
        aira__diagnose(d, exponent, "cost_exponent bounds what an agent writes; only tasks of kind design have that");
    else if (exponent != NULL && !(task->limit_exponent >= 1))
        aira__diagnose(d, exponent, "cost_exponent is at least 1: every position costs something");
    aira__map_finish(map, limit_keys, d);
}

/* --- whole --- */

static json_t *proxy_json(const aira__proxy *p) {
    return json_pack("{s:s, s:O, s:O, s:O?, s:f}", "name", p->name, "dataset", p->dataset->canonical, "recipe",
                     p->recipe.canonical, "backbone", p->backbone != NULL ? p->backbone->canonical : NULL, "weight",
                     p->weight);
}

static json_t *canonical_json(const aira__task *task) {
    json_t *proxies = json_array();
    for (int k = 0; proxies != NULL && k < task->n_proxies; k++) {
        if (json_array_append_new(proxies, proxy_json(&task->proxies[k])) != 0) {
            json_decref(proxies);
            return NULL;
        }
    }
    json_t *json = json_pack("{s:s, s:{s:s, s:i, s:O}, s:o, s:o, s:{s:f, s:I}}", "task", task->name, "candidate",
                             "kind", task->design ? "design" : "compose", "layers", task->layers, "backbone",
                             task->backbone->canonical, "tokens", aira__tokens_json(task->tokens, task->n_tokens),
                             "proxies", proxies, "limits", "seconds", task->limit_seconds, "memory",
                             (json_int_t)task->limit_memory);
    json_t *candidate = json_object_get(json, "candidate"), *limits = json_object_get(json, "limits");
    bool failed = json == NULL;
    if (task->design && !failed) failed = json_object_set(candidate, "pattern", task->pattern) != 0;
    if (task->limit_parameters > 0 && !failed) /* absent where unused: older tasks keep their hash */
        failed = json_object_set_new(limits, "parameters", json_integer(task->limit_parameters)) != 0;
    if (task->limit_flops > 0 && !failed)
        failed = json_object_set_new(limits, "flops_per_token", json_real(task->limit_flops)) != 0;
    if (task->limit_exponent > 0 && !failed)
        failed = json_object_set_new(limits, "cost_exponent", json_real(task->limit_exponent)) != 0;
    if (!failed) return json;
    json_decref(json);
    return NULL;
}

bool aira__metric_is_loss(uint32_t metric) { return metric == AIRA_METRIC_LOSS || metric == AIRA_METRIC_BITS_PER_BYTE; }

/* Direction, names of tokens, canonical form, hash. */
/* The pattern's tokens, and the options against what they set. */
static aira_status finish_design(aira__task *task, aira_error *error) {
    json_t *complete = NULL;
    aira_status status = aira__design_pattern(task->pattern, task, &task->pattern_layers, &task->n_pattern, error);
    if (status == AIRA_OK) status = aira__design_options(task->canonical, task->configurable, &complete, error);
    if (status == AIRA_OK && json_object_size(complete) > 0 &&
        json_object_set(json_object_get(task->canonical, "candidate"), "configurable", complete) != 0)
        status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reading task %s", task->name);
    if (complete != NULL) {
        json_decref(task->configurable);
        task->configurable = complete;
    }
    return status;
}

static aira_status finish(aira__task *task, aira_error *error) {
    uint32_t first = 0;
    for (int k = 0; k < task->n_proxies; k++) {
        uint32_t metric = task->proxies[k].info.metric;
        if (metric == 0) continue;
        if (first == 0) first = metric;
        if (aira__metric_is_loss(first) != aira__metric_is_loss(metric)) {
            return aira__fail(error, AIRA_E_CONFIG,
                              "task %s mixes proxies scored by %s and by %s; a mean of them has no meaning", task->name,
                              aira__metric_name(first), aira__metric_name(metric));
        }
    }
    task->higher_is_better = !aira__metric_is_loss(first);
    task->metric = aira__metric_name(first == 0 ? AIRA_METRIC_ACCURACY : first);
    task->token_names = calloc((size_t)task->n_tokens + 1, sizeof *task->token_names);
    task->canonical = canonical_json(task);
    if (task->token_names == NULL || task->canonical == NULL) {
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading task %s", task->name);
    }
    for (int k = 0; k < task->n_tokens; k++) task->token_names[k] = task->tokens[k].token;
    aira_status status = task->design ? finish_design(task, error) : AIRA_OK;
    if (status != AIRA_OK) return status;
    return aira__json_hash(task->canonical, task->hash, error);
}

/* What a guessing model scores on one proxy; NAN where the data set was not there to say. */
static double guess_of(const aira_dataset_info *info) {
    if (info->metric == 0) return NAN;
    if (!isnan(info->worst)) return info->worst;
    if (!aira__metric_is_loss(info->metric)) return 1.0 / (double)info->classes;
    return info->metric == AIRA_METRIC_LOSS ? log((double)info->classes) : 8;
}

static void complete_scale(aira__task *task, const aira__node *place, aira__diagnostics *d) {
    double sum = 0, weights = 0;
    for (int k = 0; k < task->n_proxies; k++) {
        sum += task->proxies[k].weight * guess_of(&task->proxies[k].info);
        weights += task->proxies[k].weight;
    }
    aira__score_scale_complete(&task->scale, task->higher_is_better, sum / weights, place, d);
}

aira__task *aira__task_load(aira__registry *registry, aira__node *root, bool check_data, aira__diagnostics *d) {
    int before = aira__diagnostics_count(d);
    if (root == NULL || root->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, root, "a task is a mapping with the keys task, candidate, tokens, proxies");
        return NULL;
    }
    aira__task *task = calloc(1, sizeof *task);
    if (task == NULL) {
        aira__diagnose(d, root, "out of memory while reading a task");
        return NULL;
    }
    task->name = strdup(aira__node_string(aira__map_get(root, "task"), "task", d));
    read_candidate(registry, aira__map_get(root, "candidate"), root, task, d);
    aira__node *tokens = aira__map_get(root, "tokens");
    if (tokens != NULL || !task->design) aira__tokens_read(registry, tokens, &task->tokens, &task->n_tokens, d);
    read_proxies(registry, aira__map_get(root, "proxies"), root, check_data, task, d);
    read_limits(aira__map_get(root, "limits"), task, d);
    aira__node *scale = aira__map_get(root, "scale");
    aira__score_scale_read(scale, &task->scale, d);
    aira__map_finish(root, task_keys, d);
    aira_error error = {AIRA_OK, ""};
    if (aira__diagnostics_count(d) == before && finish(task, &error) != AIRA_OK)
        aira__diagnose(d, root, "%s", error.text);
    if (aira__diagnostics_count(d) == before) complete_scale(task, scale != NULL ? scale : root, d);
    if (aira__diagnostics_count(d) == before) return task;
    aira__task_destroy(task);
    return NULL;
}

aira__task *aira__task_load_file(aira__registry *registry, const char *path, const char *const *overrides,
                                 int n_overrides, bool check_data, aira__diagnostics *d) {
    aira__document *document = aira__document_load(path, overrides, n_overrides, d);
    if (document == NULL) return NULL;
    aira__task *task = aira__task_load(registry, aira__document_root(document), check_data, d);
    aira__document_destroy(document);
    return task;
}

/* --- from JSON --- */

static aira_status proxy_from_json(aira__registry *registry, const json_t *json, aira__proxy *proxy,
                                   aira_error *error) {
    const json_t *backbone = json_object_get(json, "backbone");
    aira_status status = aira__instance_create_json(registry, "dataset", json_object_get(json, "dataset"),
                                                    &proxy->dataset, error);
    if (status == AIRA_OK) status = aira__dataset_describe(registry, proxy->dataset, &proxy->info, error);
    if (status == AIRA_OK) {
        status = aira__recipe_read_json(registry, json_object_get(json, "recipe"), &proxy->recipe, error);
    }
    if (status == AIRA_OK && json_is_object(backbone)) {
        status = aira__instance_create_json(registry, "backbone", backbone, &proxy->backbone, error);
    }
    if (status != AIRA_OK) return status;
    const char *name = aira__json_string(json, "name", NULL);
    proxy->weight = aira__json_real(json, "weight", 1);
    proxy->name = name != NULL ? strdup(name) : proxy_name(proxy->dataset);
    return proxy->name != NULL ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory while reading a proxy");
}

static aira_status fill_from_json(aira__registry *registry, const json_t *json, aira__task *task, aira_error *error) {
    const json_t *candidate = json_object_get(json, "candidate"), *limits = json_object_get(json, "limits");
    const json_t *proxies = json_object_get(json, "proxies");
    task->name = strdup(aira__json_string(json, "task", "task"));
    task->scale = (aira__score_scale){NAN, NAN, NAN};
    task->layers = (int)aira__json_int(candidate, "layers", 0);
    task->limit_seconds = aira__json_real(limits, "seconds", 0);
    task->limit_memory = aira__json_int(limits, "memory", 0);
    task->limit_parameters = aira__json_int(limits, "parameters", 0);
    task->limit_flops = aira__json_real(limits, "flops_per_token", 0);
    task->limit_exponent = aira__json_real(limits, "cost_exponent", 0);
    task->design = strcmp(aira__json_string(candidate, "kind", ""), "design") == 0;
    task->pattern = json_incref(json_object_get(candidate, "pattern"));
    task->configurable = json_incref(json_object_get(candidate, "configurable"));
    task->proxies = calloc(json_array_size(proxies) + 1, sizeof *task->proxies);
    if (task->name == NULL || task->proxies == NULL)
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for a task");
    if (json_array_size(proxies) == 0) return aira__fail(error, AIRA_E_CONFIG, "a canonical task without proxies");
    aira_status status = aira__instance_create_json(registry, "backbone", json_object_get(candidate, "backbone"),
                                                    &task->backbone, error);
    if (status == AIRA_OK) {
        status = aira__tokens_read_json(registry, json_object_get(json, "tokens"), &task->tokens, &task->n_tokens,
                                        error);
    }
    for (size_t k = 0; k < json_array_size(proxies) && status == AIRA_OK; k++) {
        task->n_proxies++;
        status = proxy_from_json(registry, json_array_get(proxies, k), &task->proxies[k], error);
    }
    return status == AIRA_OK ? finish(task, error) : status;
}

aira_status aira__task_load_json(aira__registry *registry, const json_t *canonical, aira__task **out,
                                 aira_error *error) {
    *out = NULL;
    if (!json_is_object(canonical)) return aira__fail(error, AIRA_E_CONFIG, "a canonical task must be a JSON object");
    aira__task *task = calloc(1, sizeof *task);
    if (task == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a task");
    aira_status status = fill_from_json(registry, canonical, task, error);
    if (status != AIRA_OK) {
        aira__task_destroy(task);
        return status;
    }
    *out = task;
    return AIRA_OK;
}

void aira__task_destroy(aira__task *task) {
    if (task == NULL) return;
    for (int k = 0; k < task->n_proxies; k++) {
        aira__proxy *p = &task->proxies[k];
        free(p->name);
        aira__instance_destroy(p->dataset);
        aira__instance_destroy(p->backbone);
        aira__recipe_release(&p->recipe);
    }
    aira__tokens_release(task->tokens, task->n_tokens);
    aira__instance_destroy(task->backbone);
    json_decref(task->canonical);
    json_decref(task->pattern);
    json_decref(task->configurable);
    free(task->pattern_layers);
    free(task->token_names);
    free(task->proxies);
    free(task->name);
    free(task);
}

int aira__task_token_find(const aira__task *task, const char *token) {
    for (int k = 0; k < task->n_tokens; k++) {
        if (strcmp(task->tokens[k].token, token) == 0) return k;
    }
    return -1;
}

aira__layer *aira__task_layers(const aira__task *task, const uint16_t *layers, int n) {
    aira__layer *out = calloc((size_t)n + 1, sizeof *out);
    for (int k = 0; out != NULL && k < n; k++) {
        const aira__task_token *t = &task->tokens[layers[k]];
        out[k] = (aira__layer){t->token, t->primitive->plugin->id, t->config, t->primitive->plugin->table,
                               t->primitive->self};
    }
    return out;
}

aira__layer *aira__task_design_layers(const aira__task *task, const aira__layer *mechanism) {
    aira__layer *out = calloc((size_t)task->layers + 1, sizeof *out);
    for (int k = 0; out != NULL && k < task->layers; k++) {
        int token = task->pattern_layers[k % task->n_pattern];
        uint16_t index = (uint16_t)token;
        aira__layer *one = token >= 0 ? aira__task_layers(task, &index, 1) : NULL;
        if (token >= 0 && one == NULL) {
            free(out);
            return NULL;
        }
        out[k] = token >= 0 ? *one : *mechanism;
        free(one);
    }
    return out;
}
