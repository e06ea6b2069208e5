/* core/train/worker.c - the worker's side of a lease (docs/contract.md 4).
 *
 * Every evaluation ends in a result file of its own, failed ones with status and cause; a file is written before its
 * lane takes the next evaluation, so a crash loses those in flight and nothing else. Evaluations that already have a
 * result file are not repeated. The part file is refreshed about once a second.
 *
 * `at_once` lanes work at the lease, each with a thread and a queue of the device (or a device of its own, where the
 * device has no queues); whoever is done takes the next evaluation. Nothing that an evaluation computes depends on
 * its lane or its neighbours. What is to be done again alone follows when all lanes but one have gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/train/worker_internal.h"

#define MOST_AT_ONCE 256

/* --- what a worker has --- */

static aira_status open_registry(aira__worker *w, aira_error *error) {
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
    free(paths);
    return status;
}

static aira_status open_device(aira__worker *w, aira_error *error) {
    const json_t *device = json_object_get(w->lease, "device");
    if (!json_is_object(device)) return aira__fail(error, AIRA_E_CORRUPT, "lease.json names no device");
    aira_status status = aira__instance_create_json(w->registry, "device", device, &w->device, error);
    if (status != AIRA_OK) return status;
    const aira_device *table = w->device->plugin->table;
    const char *why = table->unavailable != NULL ? table->unavailable() : NULL;
    w->queue = aira__instance_extension(w->device, AIRA_EXT_DEVICE_QUEUE);
    return why == NULL ? AIRA_OK : aira__fail(error, AIRA_E_UNSUPPORTED, "device %s: %s", w->device->plugin->id, why);
}

static size_t count(const aira__worker *w) { return json_array_size(json_object_get(w->lease, "evaluations")); }

static aira_status open_worker(aira__worker *w, aira_error *error) {
    char *path = aira__path_join(w->folder, "lease.json");
    if (path == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    w->lease = aira__json_load_file(path, error);
    free(path);
    if (w->lease == NULL) return error->status != AIRA_OK ? error->status : AIRA_E_IO;
    if (aira__json_int(w->lease, "version", 0) != 1) {
        return aira__fail(error, AIRA_E_CORRUPT, "%s/lease.json is not of version 1", w->folder);
    }
    int64_t at_once = aira__json_int(w->lease, "at_once", 1), n = (int64_t)count(w);
    at_once = at_once < 1 ? 1 : at_once > MOST_AT_ONCE ? MOST_AT_ONCE : at_once;
    w->at_once = (int)(n > 0 && n < at_once ? n : at_once);
    w->again = calloc(count(w) + 1, sizeof *w->again);
    if (w->again == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    aira_status status = aira__sha256_file("/proc/self/exe", w->program, error);
    if (status == AIRA_OK) status = open_registry(w, error);
    return status == AIRA_OK ? open_device(w, error) : status;
}

static void close_worker(aira__worker *w) {
    while (w->tasks != NULL) {
        aira__worker_task *next = w->tasks->next;
        aira__task_destroy(w->tasks->task);
        free(w->tasks);
        w->tasks = next;
    }
    aira__instance_destroy(w->device);
    if (w->registry != NULL) aira__registry_destroy(w->registry);
    json_decref(w->lease);
    free(w->again);
}

/* --- lanes --- */

/* A queue or a device for a lane beside the first, which has the worker's own. */
static aira_status open_lane(aira__worker *w, aira__lane *lane, aira_error *error) {
    const aira_host *host = aira__registry_host(w->registry);
    lane->worker = w;
    lane->beside = true;
    if (w->queue == NULL) {
        aira_status status = aira__instance_create_json(w->registry, "device", w->device->canonical, &lane->own, error);
        lane->self = status == AIRA_OK ? lane->own->self : NULL;
        return status;
    }
    aira__host_clear_failure(host);
    aira_status status = w->queue->open(w->device->self, &lane->self);
    return status == AIRA_OK ? AIRA_OK : aira__fail(error, status, "%s", aira__host_last_failure(host));
}

static void close_lane(const aira__worker *w, aira__lane *lane) {
    if (w->queue != NULL && lane->self != NULL) w->queue->close(lane->self);
    aira__instance_destroy(lane->own);
}

/* The next evaluation; false: there is none, or a result could not be written. */
static bool take(aira__worker *w, size_t *index) {
    (void)pthread_mutex_lock(&w->lock); /* a plain mutex that is initialised: it cannot fail */
    bool taken = w->error.status == AIRA_OK && w->next < count(w);
    if (taken) *index = w->next++;
    (void)pthread_mutex_unlock(&w->lock);
    return taken;
}

static void *run_lane(void *context) {
    aira__lane *lane = context;
    aira__worker *w = lane->worker;
    size_t index;
    while (take(w, &index)) {
        aira_error error = {AIRA_OK, ""};
        bool again = false;
        aira_status status = aira__lane_work(lane, index, &again, &error);
        (void)pthread_mutex_lock(&w->lock);
        w->again[index] = again;
        if (status != AIRA_OK && w->error.status == AIRA_OK) w->error = error;
        (void)pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

/* Everything, on all lanes. A lane that cannot be had is one lane less. */
static void run_beside(aira__worker *w, aira__lane *lanes) {
    for (int k = 1; k < w->at_once; k++) {
        aira_error error = {AIRA_OK, ""};
        aira_status status = open_lane(w, &lanes[k], &error);
        lanes[k].running = status == AIRA_OK && pthread_create(&lanes[k].thread, NULL, run_lane, &lanes[k]) == 0;
        if (lanes[k].running) continue;
        fprintf(stderr, "aira worker: only %d evaluations at once: %s\n", k,
                status != AIRA_OK ? error.text : "no further thread");
        break;
    }
    lanes[0].beside = w->at_once > 1;
    run_lane(&lanes[0]);
    for (int k = 1; k < w->at_once; k++) {
        if (lanes[k].running) pthread_join(lanes[k].thread, NULL);
        if (lanes[k].worker != NULL) close_lane(w, &lanes[k]);
    }
}

static aira_status run_lanes(aira__worker *w, aira_error *error) {
    aira__lane *lanes = calloc((size_t)w->at_once, sizeof *lanes);
    if (lanes == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    lanes[0].worker = w;
    lanes[0].self = w->device->self;
    run_beside(w, lanes);
    lanes[0].beside = false;
    aira_status status = w->error.status != AIRA_OK ? aira__fail(error, w->error.status, "%s", w->error.text) : AIRA_OK;
    for (size_t k = 0; k < count(w) && status == AIRA_OK; k++) {
        bool again = false;
        if (w->again[k]) status = aira__lane_work(&lanes[0], k, &again, error);
    }
    free(lanes);
    return status;
}

aira_status aira__worker_run(const char *folder, aira_error *error) {
    aira__worker w = {.folder = folder};
    aira_error local = {AIRA_OK, ""};
    if (error == NULL) error = &local;
    error->status = AIRA_OK;
    if (pthread_mutex_init(&w.lock, NULL) != 0) return aira__fail(error, AIRA_E_MEMORY, "no mutex for a worker");
    aira_status status = open_worker(&w, error);
    if (status == AIRA_OK) status = run_lanes(&w, error);
    close_worker(&w);
    (void)pthread_mutex_destroy(&w.lock); /* nobody holds it */
    return status;
}
