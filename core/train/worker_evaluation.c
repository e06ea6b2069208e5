/* core/train/worker_evaluation.c - one evaluation of a lease: its training, its part file, its result file.
 *
 * Beside others an evaluation may lack memory that it has alone, and an error of the device may be a neighbour's. So
 * one that fails there for want of memory or in the device is done once more alone, and what it comes to then counts.
 * Recipes that are bounded in seconds always run alone.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/train/design.h"
#include "core/train/worker_internal.h"

#define PART_SECONDS 1.0

static aira_status write_json(const aira__lane *lane, const char *suffix, json_t *value, aira_error *error) {
    char name[512];
    snprintf(name, sizeof name, "%s%s", lane->id, suffix);
    char *path = aira__path_join(lane->worker->folder, name);
    aira_status status = path != NULL && value != NULL ? aira__json_write_file(path, value, error)
                                                       : aira__fail(error, AIRA_E_MEMORY, "out of memory for a result");
    free(path);
    json_decref(value);
    return status;
}

static int on_progress(void *context, const aira__evaluation *so_far, int proxy, int64_t step, int64_t steps) {
    aira__lane *lane = context;
    double now = aira__now();
    if (now - lane->last_part < PART_SECONDS) return 0;
    lane->last_part = now;
    json_t *part = json_pack("{s:i, s:s, s:s, s:i, s:I, s:I, s:f, s:o}", "version", 1, "id", lane->id, "status",
                             "running", "proxy", proxy, "step", (json_int_t)step, "steps", (json_int_t)steps, "seconds",
                             so_far->seconds, "proxies",
                             aira__evaluation_proxies(so_far, lane->task, AIRA_SPLIT_SEARCH));
    aira_error error;
    if (write_json(lane, ".part.json", part, &error) != AIRA_OK) fprintf(stderr, "aira worker: %s\n", error.text);
    return 0;
}

/* --- results --- */

static void add_plugin(const aira__lane *lane, json_t *plugins, const aira__instance *instance) {
    if (instance == NULL) return;
    for (int k = 0; k < aira__registry_count(lane->worker->registry); k++) {
        const aira__plugin_entry *entry = aira__registry_entry(lane->worker->registry, k);
        if (entry->plugin != instance->plugin) continue;
        char name[80];
        snprintf(name, sizeof name, "%s:%s", entry->kind, entry->id);
        json_object_set_new(plugins, name, json_string(entry->sha256));
    }
}

static json_t *plugin_hashes(const aira__lane *lane, const aira__task *task) {
    json_t *plugins = json_object();
    if (plugins == NULL || task == NULL) return plugins;
    (void)pthread_mutex_lock(&lane->worker->lock); /* another lane may be loading a plugin */
    add_plugin(lane, plugins, task->backbone);
    add_plugin(lane, plugins, lane->worker->device);
    for (int k = 0; k < task->n_tokens; k++) add_plugin(lane, plugins, task->tokens[k].primitive);
    for (int k = 0; k < task->n_proxies; k++) {
        add_plugin(lane, plugins, task->proxies[k].dataset);
        add_plugin(lane, plugins, task->proxies[k].backbone);
        add_plugin(lane, plugins, task->proxies[k].recipe.optimizer);
    }
    (void)pthread_mutex_unlock(&lane->worker->lock);
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

/* Beside others an evaluation has one part of so many of the device: its time is that part of what passes, and its
   limit so many times as long. */
static double parts_of_device(const aira__lane *lane) { return lane->beside ? lane->worker->at_once : 1; }

static json_t *plain_result(const aira__lane *lane, const aira__evaluation *e, const aira__task *task,
                            const json_t *splits) {
    uint32_t shown = split_named(json_string_value(json_array_get(splits, 0)));
    if (shown == AIRA_N_SPLITS) shown = AIRA_SPLIT_SEARCH;
    bool good = e->status == AIRA_OK;
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:o, s:{s:s, s:o, s:s, s:o}}", "version",
                     1, "id", lane->id, "status", good ? "ok" : "failed", "error",
                     good ? json_null() : json_string(e->error), "cause",
                     good ? json_null() : json_string(e->cause != NULL ? e->cause : "build"), "scores",
                     scores_json(e, splits), "metrics", metrics_json(e, task, shown), "proxies",
                     task != NULL ? aira__evaluation_proxies(e, task, shown) : json_array(), "parameters",
                     e->parameters > 0 ? json_integer(e->parameters) : json_null(), "flops", e->flops, "seconds",
                     e->seconds / parts_of_device(lane), "steps", json_integer(e->steps), "hashes", "program",
                     lane->worker->program, "task", task != NULL ? json_string(task->hash) : json_null(), "data",
                     e->data_hash, "plugins", plugin_hashes(lane, task));
}

/* checks: of a design; NULL: none. */
static json_t *result_json(const aira__lane *lane, const aira__evaluation *e, const aira__task *task,
                           const json_t *splits, json_t *checks) {
    json_t *result = plain_result(lane, e, task, splits);
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

static void refuse(aira__evaluation *result, const aira_error *why, const char *cause) {
    result->status = why->status;
    result->cause = cause;
    snprintf(result->error, sizeof result->error, "%s", why->text);
}

/* A design makes a task, a mechanism and checks of its own: beside others with plugins that no other lane uses. */
static void run_design(aira__lane *lane, const aira__evaluate_options *options, const char *source,
                       const json_t *request, aira__evaluation *result, json_t **checks) {
    aira__registry *registry = lane->worker->registry;
    aira_error error = {AIRA_OK, ""};
    if (lane->beside && lane->registry == NULL &&
        aira__worker_registry(lane->worker, &lane->registry, &error) != AIRA_OK) {
        refuse(result, &error, "build");
        return;
    }
    if (lane->beside) registry = lane->registry;
    aira__design_evaluate(registry, options, source, json_object_get(request, "options"), result, checks, &error);
}

static void run_evaluation(aira__lane *lane, const json_t *request, const aira__task *task, aira__evaluation *result,
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
        refuse(result, &error, "build");
        free(layers);
        return;
    }
    aira__evaluate_options options = {.task = task,
                                      .layers = layers,
                                      .n_layers = n,
                                      .seed = (uint64_t)aira__json_int(request, "seed", 0),
                                      .device = lane->worker->device->plugin->table,
                                      .device_self = lane->self,
                                      .queue = lane->worker->queue,
                                      .host = aira__registry_host(lane->worker->registry),
                                      .seconds = task->limit_seconds * parts_of_device(lane),
                                      .progress = on_progress,
                                      .context = lane};
    size_t k;
    json_t *name;
    json_array_foreach(json_object_get(request, "splits"), k, name) {
        uint32_t split = split_named(json_string_value(name));
        if (split < AIRA_N_SPLITS) options.splits[split] = true;
    }
    if (source != NULL)
        run_design(lane, &options, source, request, result, checks);
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

/* The task of a request, loaded once per lease. */
static aira_status task_of(aira__worker *w, const json_t *json, const aira__task **task, aira_error *error) {
    aira_status status = AIRA_OK;
    (void)pthread_mutex_lock(&w->lock); /* a plain mutex that is initialised: it cannot fail */
    aira__worker_task *known = w->tasks;
    while (known != NULL && !json_equal(known->json, json)) known = known->next;
    if (known == NULL) {
        known = calloc(1, sizeof *known);
        status = known == NULL ? aira__fail(error, AIRA_E_MEMORY, "out of memory for a task")
                               : aira__task_load_json(w->registry, json, &known->task, error);
        if (status == AIRA_OK) {
            known->json = json;
            known->next = w->tasks;
            w->tasks = known;
        } else {
            free(known);
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    *task = status == AIRA_OK ? known->task : NULL;
    return status;
}

static bool runs_alone(const aira__task *task) {
    for (int k = 0; k < task->n_proxies; k++) {
        if (task->proxies[k].recipe.seconds > 0) return true;
    }
    return false;
}

static aira_status has_result(const aira__lane *lane, bool *done, aira_error *error) {
    char name[512];
    if (lane->id[0] == 0 || strchr(lane->id, '/') != NULL) {
        return aira__fail(error, AIRA_E_CORRUPT, "lease.json holds an evaluation without a usable id");
    }
    snprintf(name, sizeof name, "%s.json", lane->id);
    char *path = aira__path_join(lane->worker->folder, name);
    if (path == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    *done = aira__file_exists(path);
    free(path);
    return AIRA_OK;
}

static bool may_be_the_device(const aira__evaluation *result) {
    const char *cause = result->status != AIRA_OK && result->cause != NULL ? result->cause : "";
    return strcmp(cause, "memory") == 0 || strcmp(cause, "build") == 0;
}

/* After some errors (a kernel that wrote where it must not) a GPU does nothing more for its process. Then no result may
   be written, for the next evaluations would fail too: the worker ends, and the coordinator has what is left repeated
   one by one. */
static aira_status check_device(const aira__lane *lane, aira_error *error) {
    const aira_device *device = lane->worker->device->plugin->table;
    const aira_host *host = aira__registry_host(lane->worker->registry);
    void *buffer = NULL;
    aira__host_clear_failure(host);
    aira_status status = device->buffer_create(lane->self, 64, &buffer);
    if (status == AIRA_OK) device->buffer_destroy(lane->self, buffer);
    if (status == AIRA_OK || status == AIRA_E_MEMORY) return AIRA_OK;
    return aira__fail(error, status, "the device works no more: %s", aira__host_last_failure(host));
}

/* Fills the result; true if the evaluation is to be done again, alone. */
static bool evaluate(aira__lane *lane, const json_t *request, aira__evaluation *result, json_t **checks) {
    aira_error why = {AIRA_OK, ""};
    if (check_splits(request, &why) != AIRA_OK) {
        refuse(result, &why, "data");
        return false;
    }
    if (task_of(lane->worker, json_object_get(request, "task"), &lane->task, &why) != AIRA_OK) {
        refuse(result, &why, why.status == AIRA_E_MEMORY ? "memory" : why.status == AIRA_E_IO ? "data" : "build");
        return false;
    }
    if (lane->beside && runs_alone(lane->task)) return true;
    run_evaluation(lane, request, lane->task, result, checks);
    return lane->beside && may_be_the_device(result);
}

aira_status aira__lane_work(aira__lane *lane, const json_t *request, bool *again, aira_error *error) {
    aira__evaluation result = {.status = AIRA_OK};
    bool done = false;
    json_t *checks = NULL;
    *again = false;
    lane->id = aira__json_string(request, "id", "");
    lane->task = NULL;
    lane->last_part = 0;
    aira_status status = has_result(lane, &done, error);
    if (status != AIRA_OK || done) return status;
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) result.score[s] = NAN;
    *again = evaluate(lane, request, &result, &checks);
    if (may_be_the_device(&result)) status = check_device(lane, error);
    if (!*again && status == AIRA_OK) {
        json_t *json = result_json(lane, &result, lane->task, json_object_get(request, "splits"), checks);
        status = write_json(lane, ".json", json, error);
    }
    aira__evaluation_release(&result);
    json_decref(checks);
    return status;
}
