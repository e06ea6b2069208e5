/* core/train/worker.c - the worker's side of a lease (docs/contract.md 4).
 *
 * Every evaluation ends in a result file of its own, failed ones with status and cause; a file is written before the
 * next evaluation starts, so a crash loses the one in flight and nothing else. Evaluations that already have a result
 * file are not repeated. The part file is refreshed about once a second.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/sandbox/foreign.h"
#include "core/train/design.h"
#include "core/train/evaluate.h"

#define PART_SECONDS 1.0

typedef struct worker {
    const char *folder;
    json_t *lease;
    aira__registry *registry;
    aira__instance *device;
    char program[65];
    const char *id; /* of the evaluation in flight */
    const aira__task *task;
    double last_part;
} worker;

static aira_status write_json(const worker *w, const char *suffix, json_t *value, aira_error *error) {
    char name[512];
    snprintf(name, sizeof name, "%s%s", w->id, suffix);
    char *path = aira__path_join(w->folder, name);
    aira_status status = path != NULL && value != NULL ? aira__json_write_file(path, value, error)
                                                       : aira__fail(error, AIRA_E_MEMORY, "out of memory for a result");
    free(path);
    json_decref(value);
    return status;
}

static int on_progress(void *context, const aira__evaluation *so_far, int proxy, int64_t step, int64_t steps) {
    worker *w = context;
    double now = aira__now();
    if (now - w->last_part < PART_SECONDS) return 0;
    w->last_part = now;
    json_t *part = json_pack("{s:i, s:s, s:s, s:i, s:I, s:I, s:f, s:o}", "version", 1, "id", w->id, "status", "running",
                             "proxy", proxy, "step", (json_int_t)step, "steps", (json_int_t)steps, "seconds",
                             so_far->seconds, "proxies", aira__evaluation_proxies(so_far, w->task, AIRA_SPLIT_SEARCH));
    aira_error error;
    if (write_json(w, ".part.json", part, &error) != AIRA_OK) fprintf(stderr, "aira worker: %s\n", error.text);
    return 0;
}

/* --- results --- */

static void add_plugin(const worker *w, json_t *plugins, const aira__instance *instance) {
    if (instance == NULL) return;
    for (int k = 0; k < aira__registry_count(w->registry); k++) {
        const aira__plugin_entry *entry = aira__registry_entry(w->registry, k);
        if (entry->plugin != instance->plugin) continue;
        char name[80];
        snprintf(name, sizeof name, "%s:%s", entry->kind, entry->id);
        json_object_set_new(plugins, name, json_string(entry->sha256));
    }
}

static json_t *plugin_hashes(const worker *w, const aira__task *task) {
    json_t *plugins = json_object();
    if (plugins == NULL || task == NULL) return plugins;
    add_plugin(w, plugins, task->backbone);
    add_plugin(w, plugins, w->device);
    for (int k = 0; k < task->n_tokens; k++) add_plugin(w, plugins, task->tokens[k].primitive);
    for (int k = 0; k < task->n_proxies; k++) {
        add_plugin(w, plugins, task->proxies[k].dataset);
        add_plugin(w, plugins, task->proxies[k].backbone);
        add_plugin(w, plugins, task->proxies[k].recipe.optimizer);
    }
    return plugins;
}

static uint32_t split_named(const char *name) {
    static const char *const names[] = {"train", "search", "selection", "test"};
    for (uint32_t k = 1; k < AIRA_N_SPLITS; k++) {
        if (name != NULL && strcmp(names[k], name) == 0) return k;
    }
    return AIRA_N_SPLITS;
}

/* Weighted means of the metrics over proxies, for the journal. */
static json_t *metrics_json(const aira__evaluation *e, const aira__task *task, uint32_t split) {
    double accuracy = 0, pooled = 0, loss = 0, weight = 0;
    for (int k = 0; task != NULL && k < e->n_proxies; k++) {
        double w = task->proxies[k].weight;
        const aira__scores *s = &e->proxies[k].scores[split];
        bool known = s->rows > 0;
        accuracy += w * (known ? s->accuracy : NAN);
        pooled += w * (known ? s->accuracy_pooled : NAN);
        loss += w * (known ? s->loss : NAN);
        weight += w;
    }
    return json_pack("{s:o, s:o, s:o}", "accuracy", aira__json_number(accuracy / weight), "accuracy_pooled",
                     aira__json_number(pooled / weight), "loss", aira__json_number(loss / weight));
}

static json_t *scores_json(const aira__evaluation *e, const json_t *splits) {
    json_t *scores = json_object();
    size_t k;
    json_t *name;
    json_array_foreach((json_t *)(uintptr_t)splits, k, name) {
        uint32_t split = split_named(json_string_value(name));
        if (split < AIRA_N_SPLITS) {
            json_object_set_new(scores, json_string_value(name), aira__json_number(e->score[split]));
        }
    }
    return scores;
}

static json_t *plain_result(const worker *w, const aira__evaluation *e, const aira__task *task, const json_t *splits) {
    uint32_t shown = split_named(json_string_value(json_array_get(splits, 0)));
    if (shown == AIRA_N_SPLITS) shown = AIRA_SPLIT_SEARCH;
    bool good = e->status == AIRA_OK;
    return json_pack(
        "{s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:o, s:{s:s, s:o, s:s, s:o}}", "version", 1, "id",
        w->id, "status", good ? "ok" : "failed", "error", good ? json_null() : json_string(e->error), "cause",
        good ? json_null() : json_string(e->cause != NULL ? e->cause : "build"), "scores", scores_json(e, splits),
        "metrics", metrics_json(e, task, shown), "proxies",
        task != NULL ? aira__evaluation_proxies(e, task, shown) : json_array(), "parameters",
        e->parameters > 0 ? json_integer(e->parameters) : json_null(), "flops", e->flops, "seconds", e->seconds,
        "steps", json_integer(e->steps), "hashes", "program", w->program, "task",
        task != NULL ? json_string(task->hash) : json_null(), "data", e->data_hash, "plugins", plugin_hashes(w, task));
}

/* checks: of a design; NULL: none. */
static json_t *result_json(const worker *w, const aira__evaluation *e, const aira__task *task, const json_t *splits,
                           json_t *checks) {
    json_t *result = plain_result(w, e, task, splits);
    if (result != NULL && checks != NULL) json_object_set(result, "checks", checks);
    return result;
}

/* --- one evaluation --- */

static aira_status read_layers(const aira__task *task, const json_t *names, uint16_t **layers, int *n,
                               aira_error *error) {
    *n = (int)json_array_size(names);
    *layers = malloc((size_t)(*n + 1) * sizeof **layers);
    if (*layers == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for an architecture");
    for (int k = 0; k < *n; k++) {
        const char *name = json_string_value(json_array_get(names, (size_t)k));
        int token = name != NULL ? aira__task_token_find(task, name) : -1;
        if (token < 0) {
            return aira__fail(error, AIRA_E_CONFIG, "layer %d: task %s has no token '%s'", k, task->name,
                              name != NULL ? name : "?");
        }
        (*layers)[k] = (uint16_t)token;
    }
    return AIRA_OK;
}

static void run_evaluation(worker *w, const json_t *request, const aira__task *task, aira__evaluation *result,
                           json_t **checks) {
    aira_error error = {AIRA_OK, ""};
    uint16_t *layers = NULL;
    const char *source = aira__json_string(request, "source", NULL);
    int n = 0;
    bool baseline = source == NULL && json_array_size(json_object_get(request, "layers")) > 0; /* tokens in its place */
    if (task->design ? source == NULL && !baseline : source != NULL) {
        result->status = AIRA_E_CORRUPT;
        result->cause = "build";
        snprintf(result->error, sizeof result->error, "task %s asks for %s", task->name,
                 task->design ? "the source of a mechanism, and the evaluation has none"
                              : "an architecture, not a source");
        return;
    }
    if (source == NULL && read_layers(task, json_object_get(request, "layers"), &layers, &n, &error) != AIRA_OK) {
        result->status = error.status;
        result->cause = "build";
        snprintf(result->error, sizeof result->error, "%s", error.text);
        free(layers);
        return;
    }
    aira__evaluate_options options = {.task = task,
                                      .layers = layers,
                                      .n_layers = n,
                                      .seed = (uint64_t)aira__json_int(request, "seed", 0),
                                      .device = w->device->plugin->table,
                                      .device_self = w->device->self,
                                      .host = aira__registry_host(w->registry),
                                      .seconds = task->limit_seconds,
                                      .progress = on_progress,
                                      .context = w};
    size_t k;
    json_t *name;
    json_array_foreach(json_object_get(request, "splits"), k, name) {
        uint32_t split = split_named(json_string_value(name));
        if (split < AIRA_N_SPLITS) options.splits[split] = true;
    }
    if (source != NULL)
        aira__design_evaluate(w->registry, &options, source, json_object_get(request, "options"), result, checks,
                              &error);
    else
        aira__evaluate(&options, result, &error);
    free(layers);
}

/* The test split is opened for one purpose; whatever else a lease says, this program does not touch it. */
static aira_status check_splits(const json_t *request, aira_error *error) {
    const char *purpose = aira__json_string(request, "purpose", "none");
    size_t k;
    json_t *name;
    json_array_foreach(json_object_get(request, "splits"), k, name) {
        if (split_named(json_string_value(name)) == AIRA_SPLIT_TEST && strcmp(purpose, "final") != 0) {
            return aira__fail(error, AIRA_E_FAILED,
                              "the test split is refused: it is opened for final scoring alone, and this evaluation is "
                              "for purpose '%s'",
                              purpose);
        }
    }
    return AIRA_OK;
}

static aira_status work(worker *w, const json_t *request, aira_error *error) {
    char name[512];
    w->id = aira__json_string(request, "id", "");
    if (w->id[0] == 0 || strchr(w->id, '/') != NULL) {
        return aira__fail(error, AIRA_E_CORRUPT, "lease.json holds an evaluation without a usable id");
    }
    snprintf(name, sizeof name, "%s.json", w->id);
    char *path = aira__path_join(w->folder, name);
    if (path == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    bool done = aira__file_exists(path);
    free(path);
    if (done) return AIRA_OK;
    aira__evaluation result = {.status = AIRA_OK};
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) result.score[s] = NAN;
    aira__task *task = NULL;
    json_t *checks = NULL;
    aira_error why = {AIRA_OK, ""};
    w->last_part = 0;
    if (check_splits(request, &why) != AIRA_OK) {
        result.status = why.status;
        result.cause = "data";
        snprintf(result.error, sizeof result.error, "%s", why.text);
    } else if (aira__task_load_json(w->registry, json_object_get(request, "task"), &task, &why) == AIRA_OK) {
        w->task = task;
        run_evaluation(w, request, task, &result, &checks);
    } else {
        result.status = why.status;
        result.cause = why.status == AIRA_E_MEMORY ? "memory" : why.status == AIRA_E_IO ? "data" : "build";
        snprintf(result.error, sizeof result.error, "%s", why.text);
    }
    aira_status status = write_json(w, ".json",
                                    result_json(w, &result, task, json_object_get(request, "splits"), checks), error);
    aira__evaluation_release(&result);
    aira__task_destroy(task);
    json_decref(checks);
    return status;
}

/* --- the lease --- */

static aira_status open_registry(worker *w, aira_error *error) {
    json_t *list = json_object_get(w->lease, "plugin_paths");
    size_t n = json_array_size(list);
    const char **paths = calloc(n + 1, sizeof *paths);
    if (paths == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    aira__registry_options options = {.paths = paths};
    for (size_t k = 0; k < n; k++) {
        const char *path = json_string_value(json_array_get(list, k));
        if (path != NULL) paths[options.n_paths++] = path;
    }
    aira_status status = aira__registry_create(&options, &w->registry, error);
    if (status == AIRA_OK) status = aira__foreign_offer(w->registry, error);
    free(paths);
    return status;
}

static aira_status open_device(worker *w, aira_error *error) {
    const json_t *device = json_object_get(w->lease, "device");
    if (!json_is_object(device)) return aira__fail(error, AIRA_E_CORRUPT, "lease.json names no device");
    aira_status status = aira__instance_create_json(w->registry, "device", device, &w->device, error);
    if (status != AIRA_OK) return status;
    const aira_device *table = w->device->plugin->table;
    const char *why = table->unavailable != NULL ? table->unavailable() : NULL;
    return why == NULL ? AIRA_OK : aira__fail(error, AIRA_E_UNSUPPORTED, "device %s: %s", w->device->plugin->id, why);
}

aira_status aira__worker_run(const char *folder, aira_error *error) {
    worker w = {.folder = folder};
    char *path = aira__path_join(folder, "lease.json");
    if (path == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    w.lease = aira__json_load_file(path, error);
    free(path);
    if (w.lease == NULL) return error != NULL && error->status != AIRA_OK ? error->status : AIRA_E_IO;
    aira_status status = AIRA_OK;
    if (aira__json_int(w.lease, "version", 0) != 1) {
        status = aira__fail(error, AIRA_E_CORRUPT, "%s/lease.json is not of version 1", folder);
    }
    if (status == AIRA_OK) status = aira__sha256_file("/proc/self/exe", w.program, error);
    if (status == AIRA_OK) status = open_registry(&w, error);
    if (status == AIRA_OK) status = open_device(&w, error);
    json_t *list = json_object_get(w.lease, "evaluations");
    for (size_t k = 0; k < json_array_size(list) && status == AIRA_OK; k++) {
        status = work(&w, json_array_get(list, k), error);
    }
    aira__instance_destroy(w.device);
    if (w.registry != NULL) aira__registry_destroy(w.registry);
    json_decref(w.lease);
    return status;
}
