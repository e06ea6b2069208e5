/* core/train/worker.c - the worker's side of a lease (docs/contract.md 4).
 *
 * Every evaluation ends in a result file of its own, failed ones with status and cause; a file is written before its
 * lane takes the next evaluation, so a crash loses those in flight and nothing else. Evaluations that already have a
 * result file are not repeated. The part file is refreshed about once a second.
 *
 * `at_once` lanes work at the lease, each with a thread and a queue of the device (or a device of its own, where the
 * device has no queues); whoever is done takes the next evaluation. Such a lease may grow: the coordinator adds files
 * more-0.json, more-1.json, ... until the worker, idle for a moment, takes the next of these names for itself, which
 * closes the lease. Nothing that an evaluation computes depends on its lane or its neighbours. What is to be done again
 * alone follows when all lanes but one have gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/sandbox/foreign.h"
#include "core/train/worker_internal.h"

#define MOST_AT_ONCE 256
#define LINGER_SECONDS 0.25 /* idle, before the lease is closed: a search may be about to ask for more */

/* --- what a worker has --- */

aira_status aira__worker_registry(const aira__worker *w, aira__registry **out, aira_error *error) {
    json_t *list = json_object_get(w->lease, "plugin_paths");
    size_t n = json_array_size(list);
    const char **paths = calloc(n + 1, sizeof *paths);
    if (paths == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    aira__registry_options options = {.paths = paths};
    for (size_t k = 0; k < n; k++) {
        const char *path = json_string_value(json_array_get(list, k));
        if (path != NULL) paths[options.n_paths++] = path;
    }
    aira_status status = aira__registry_create(&options, out, error);
    if (status == AIRA_OK) status = aira__foreign_offer(*out, error);
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

static aira_status open_worker(aira__worker *w, aira_error *error) {
    char *path = aira__path_join(w->folder, "lease.json");
    if (path == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    w->lease = aira__json_load_file(path, error);
    free(path);
    if (w->lease == NULL) return error->status != AIRA_OK ? error->status : AIRA_E_IO;
    if (aira__json_int(w->lease, "version", 0) != 1) {
        return aira__fail(error, AIRA_E_CORRUPT, "%s/lease.json is not of version 1", w->folder);
    }
    int64_t at_once = aira__json_int(w->lease, "at_once", 1);
    w->at_once = (int)(at_once < 1 ? 1 : at_once > MOST_AT_ONCE ? MOST_AT_ONCE : at_once);
    w->closed = w->at_once == 1;
    w->evaluations = json_object_get(w->lease, "evaluations");
    w->again = json_array();
    if (!json_is_array(w->evaluations)) {
        return aira__fail(error, AIRA_E_CORRUPT, "%s/lease.json holds no evaluations", w->folder);
    }
    if (w->again == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    aira_status status = aira__sha256_file("/proc/self/exe", w->program, error);
    if (status == AIRA_OK) status = aira__worker_registry(w, &w->registry, error);
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
    json_decref(w->again);
    json_decref(w->lease);
}

/* --- what comes later --- */

static char *more_path(const aira__worker *w) {
    char name[32];
    snprintf(name, sizeof name, "more-%d.json", w->more);
    return aira__path_join(w->folder, name);
}

/* Takes in the next file of further evaluations. False: there is none. */
static bool read_more(aira__worker *w) {
    aira_error error = {AIRA_OK, ""};
    char *path = more_path(w);
    bool there = path != NULL && aira__file_exists(path);
    json_t *more = there ? aira__json_load_file(path, &error) : NULL;
    json_t *list = json_object_get(more, "evaluations");
    if (there && (!json_is_array(list) || json_array_extend(w->evaluations, list) != 0) && w->error.status == AIRA_OK) {
        aira__fail(&w->error, AIRA_E_CORRUPT, "%s holds no evaluations", path);
    }
    json_decref(more);
    free(path);
    w->more += there;
    return there;
}

/* From here on the coordinator's files find their name taken. False: it was quicker, and there is more. */
static bool close_lease(aira__worker *w) {
    char *path = more_path(w);
    int file = path != NULL ? open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666) : -1;
    bool lost = path != NULL && file < 0 && errno == EEXIST;
    if (file >= 0) (void)close(file); /* nothing was written to it */
    free(path);
    w->closed = !lost;
    return !lost;
}

/* The next evaluation, waiting for it while the lease is open; NULL: there is none, or everything ends. */
static const json_t *take(aira__worker *w) {
    const struct timespec pause = {0, 20000000};
    const json_t *taken = NULL;
    (void)pthread_mutex_lock(&w->lock); /* a plain mutex that is initialised: it cannot fail */
    while (w->error.status == AIRA_OK && taken == NULL) {
        if (w->next < json_array_size(w->evaluations)) {
            taken = json_array_get(w->evaluations, w->next++);
            w->busy++;
        } else if (w->closed) {
            break;
        } else if (!read_more(w) && (w->busy > 0 || aira__now() < w->idle + LINGER_SECONDS || !close_lease(w))) {
            (void)pthread_mutex_unlock(&w->lock);
            nanosleep(&pause, NULL);
            (void)pthread_mutex_lock(&w->lock);
        }
    }
    (void)pthread_mutex_unlock(&w->lock);
    return taken;
}

static void give_back(aira__worker *w, const json_t *request, bool again, const aira_error *error) {
    (void)pthread_mutex_lock(&w->lock);
    if (again && json_array_append(w->again, (json_t *)(uintptr_t)request) != 0 && w->error.status == AIRA_OK) {
        aira__fail(&w->error, AIRA_E_MEMORY, "out of memory in a worker");
    }
    if (error->status != AIRA_OK && w->error.status == AIRA_OK) w->error = *error;
    if (--w->busy == 0) w->idle = aira__now();
    (void)pthread_mutex_unlock(&w->lock);
}

/* --- lanes --- */

/* A queue or a device for a lane beside the first, which has the worker's own. */
static aira_status open_lane(aira__lane *lane, aira_error *error) {
    aira__worker *w = lane->worker;
    const aira_host *host = aira__registry_host(w->registry);
    aira_status status;
    if (w->queue != NULL) {
        aira__host_clear_failure(host);
        status = w->queue->open(w->device->self, &lane->self);
        return status == AIRA_OK ? AIRA_OK : aira__fail(error, status, "%s", aira__host_last_failure(host));
    }
    (void)pthread_mutex_lock(&w->lock);
    status = aira__instance_create_json(w->registry, "device", w->device->canonical, &lane->own, error);
    (void)pthread_mutex_unlock(&w->lock);
    lane->self = status == AIRA_OK ? lane->own->self : NULL;
    return status;
}

static void close_lane(aira__lane *lane) {
    const aira__worker *w = lane->worker;
    if (w->queue != NULL && lane->self != NULL) w->queue->close(lane->self);
    aira__instance_destroy(lane->own);
    if (lane->registry != NULL) aira__registry_destroy(lane->registry);
}

/* A lane that cannot be opened leaves its first evaluation to the end, and the work to the others. */
static void *run_lane(void *context) {
    aira__lane *lane = context;
    const json_t *request;
    while ((request = take(lane->worker)) != NULL) {
        aira_error error = {AIRA_OK, ""}, none = {AIRA_OK, ""};
        bool again = false, open = lane->self != NULL || open_lane(lane, &error) == AIRA_OK;
        if (!open) {
            fprintf(stderr, "aira worker: one evaluation less at once: %s\n", error.text);
            give_back(lane->worker, request, true, &none);
            break;
        }
        if (aira__lane_work(lane, request, &again, &error) == AIRA_OK) error.status = AIRA_OK;
        give_back(lane->worker, request, again, &error);
    }
    return NULL;
}

/* Everything, on all lanes. */
static void run_beside(aira__worker *w, aira__lane *lanes) {
    int n = 1;
    for (; n < w->at_once; n++) {
        lanes[n] = (aira__lane){.worker = w, .beside = true};
        if (pthread_create(&lanes[n].thread, NULL, run_lane, &lanes[n]) != 0) break;
    }
    if (n < w->at_once) fprintf(stderr, "aira worker: only %d evaluations at once: no further thread\n", n);
    lanes[0].beside = w->at_once > 1;
    run_lane(&lanes[0]);
    for (int k = 1; k < n; k++) {
        pthread_join(lanes[k].thread, NULL);
        close_lane(&lanes[k]);
    }
}

static aira_status run_lanes(aira__worker *w, aira_error *error) {
    aira__lane *lanes = calloc((size_t)w->at_once, sizeof *lanes);
    if (lanes == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory in a worker");
    lanes[0] = (aira__lane){.worker = w, .self = w->device->self};
    w->idle = aira__now();
    run_beside(w, lanes);
    lanes[0].beside = false;
    if (lanes[0].registry != NULL) aira__registry_destroy(lanes[0].registry);
    lanes[0].registry = NULL; /* alone it has the worker's */
    aira_status status = w->error.status != AIRA_OK ? aira__fail(error, w->error.status, "%s", w->error.text) : AIRA_OK;
    for (size_t k = 0; k < json_array_size(w->again) && status == AIRA_OK; k++) {
        bool again = false;
        status = aira__lane_work(&lanes[0], json_array_get(w->again, k), &again, error);
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
