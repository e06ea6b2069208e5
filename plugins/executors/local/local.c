/* plugins/executors/local/local.c - leases as child processes of this machine.
 *
 * The host's process service (aira.process/1) starts each worker in its own process group, limits its memory and
 * time, and kills the whole group; this plugin only counts slots and turns how a process ended into a sentence.
 * Standard error of a worker goes to <folder>/worker.log, which stays with the lease until it is ingested.
 *
 * Workers inherit what tells a GPU's driver and libraries where they are and which GPUs to use. With `gpus` each of the
 * workers that run at once sees one of them; the device's own key `gpu` then counts from there and stays 0.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/executor.h"
#include "aira/ext/process.h"

typedef struct local {
    int64_t workers;
    int64_t memory;
    aira_list gpus; /* const char * */
} local;

static const aira_field fields[] = {
    AIRA_F_INT(local, workers, 1, 1, 4096, "worker processes at once"),
    {"memory", "bytes that one worker may use; 0: what the task says", AIRA_T_BYTES, 0,
     (uint32_t)offsetof(local, memory), 0, 0, 0, 0, NULL, NULL},
    {"gpus", "GPUs for workers, one each in turn: numbers or identifiers of the driver; absent: all workers see all",
     AIRA_T_LIST | AIRA_T_STR, 0, (uint32_t)offsetof(local, gpus), 0, 0, 0, 0, NULL, NULL},
};
static const aira_schema schema = AIRA_SCHEMA(local, fields);

enum { INHERITED = 5 };

typedef struct instance {
    const aira_host *host;
    const aira_process_service *process;
    local config;
    bool *busy;                        /* by place; config.workers places */
    uint64_t *handles;                 /* of the worker at a busy place */
    char environment[INHERITED][4096]; /* "NAME=value"; "": not set here */
} instance;

/* Without the last one the driver has eight queues for all streams of a process. */
static void inherit(instance *made) {
    static const char *const names[INHERITED][2] = {{"CUDA_VISIBLE_DEVICES", NULL},
                                                    {"LD_LIBRARY_PATH", NULL},
                                                    {"XDG_CACHE_HOME", NULL},
                                                    {"CUDA_CACHE_PATH", NULL},
                                                    {"CUDA_DEVICE_MAX_CONNECTIONS", "32"}};
    for (int k = 0; k < INHERITED; k++) {
        const char *value = getenv(names[k][0]);
        if (!value) value = names[k][1];
        int n = value ? snprintf(made->environment[k], sizeof made->environment[k], "%s=%s", names[k][0], value) : 0;
        if (n < 0 || (size_t)n >= sizeof made->environment[k]) made->environment[k][0] = 0;
    }
}

static void destroy(void *self) {
    instance *made = self;
    if (!made) return;
    made->host->release(made->host, made->busy);
    made->host->release(made->host, made->handles);
    made->host->release(made->host, made);
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    const aira_process_service *process = host->service(host, AIRA_SERVICE_PROCESS);
    if (!process)
        return host->fail(host, AIRA_E_UNSUPPORTED,
                          "executor local: this host starts no programs (no " AIRA_SERVICE_PROCESS "); use `aira run`");
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "executor local: out of memory");
    made->host = host;
    made->process = process;
    made->config = *(const local *)config;
    size_t places = (size_t)made->config.workers;
    made->busy = host->alloc(host, places * sizeof *made->busy);
    made->handles = host->alloc(host, places * sizeof *made->handles);
    inherit(made);
    *self = made;
    if (made->busy && made->handles) return AIRA_OK;
    destroy(made);
    *self = NULL;
    return host->fail(host, AIRA_E_MEMORY, "executor local: out of memory");
}

static uint32_t capacity(void *self) { return (uint32_t)((instance *)self)->config.workers; }

/* A place that no worker has; the host keeps to the capacity, so there is one. */
static int64_t free_place(const instance *made) {
    int64_t place = 0;
    while (place < made->config.workers - 1 && made->busy[place]) place++;
    return place;
}

static aira_status submit(void *self, const aira_lease *lease, uint64_t *handle) {
    instance *made = self;
    char log[4096];
    int n = snprintf(log, sizeof log, "%s/worker.log", lease->folder);
    if (n < 0 || (size_t)n >= sizeof log)
        return made->host->fail(made->host, AIRA_E_IO, "executor local: the path of the run directory is too long");
    uint64_t memory = (uint64_t)made->config.memory;
    if (memory == 0 || (lease->memory_bytes && lease->memory_bytes < memory)) memory = lease->memory_bytes;
    const char *environment[INHERITED + 1];
    char gpu[256];
    int64_t place = free_place(made);
    aira_process_limits limits = {.size = sizeof limits,
                                  .env = environment,
                                  .stderr_path = log,
                                  .seconds = lease->seconds,
                                  .memory_bytes = memory};
    for (int k = 0; k < INHERITED; k++)
        if (made->environment[k][0]) environment[limits.n_env++] = made->environment[k];
    if (made->config.gpus.n) {
        const char *const *gpus = made->config.gpus.items;
        snprintf(gpu, sizeof gpu, "CUDA_VISIBLE_DEVICES=%s", gpus[(uint64_t)place % made->config.gpus.n]);
        environment[limits.n_env++] = gpu; /* the later one counts */
    }
    aira_status status = made->process->spawn(made->process, lease->argv, lease->n_argv, &limits, handle);
    made->busy[place] = status == AIRA_OK;
    if (status == AIRA_OK) made->handles[place] = *handle;
    return status;
}

static aira_status poll_lease(void *self, uint64_t handle, aira_lease_state *out) {
    instance *made = self;
    aira_process_state state = {.size = sizeof state};
    aira_status status = made->process->poll(made->process, handle, &state);
    if (status != AIRA_OK) return status;
    out->text[0] = 0;
    out->signal = 0;
    out->exit_status = -1;
    if (state.running) {
        out->state = AIRA_LEASE_RUNNING;
        return AIRA_OK;
    }
    out->exit_status = state.exit_status;
    out->signal = state.signal;
    out->state = state.exit_status == 0 && !state.signal && !state.timed_out ? AIRA_LEASE_DONE : AIRA_LEASE_FAILED;
    if (state.timed_out)
        snprintf(out->text, sizeof out->text, "the worker ran past its time limit and was killed");
    else if (state.signal)
        snprintf(out->text, sizeof out->text, "the worker was ended by signal %d (%s)", (int)state.signal,
                 strsignal((int)state.signal));
    else if (state.exit_status)
        snprintf(out->text, sizeof out->text, "the worker ended with exit status %d", (int)state.exit_status);
    return AIRA_OK;
}

static aira_status cancel(void *self, uint64_t handle) {
    instance *made = self;
    return made->process->kill(made->process, handle);
}

static void forget(void *self, uint64_t handle) {
    instance *made = self;
    for (int64_t k = 0; k < made->config.workers; k++)
        if (made->busy[k] && made->handles[k] == handle) made->busy[k] = false;
    made->process->forget(made->process, handle);
}

static const aira_executor table = {sizeof(aira_executor), 0, capacity, submit, poll_lease, cancel, forget};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("executor", aira_executor, &table, "local", "1.0.0",
                                                          "Worker processes on this machine", &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("executor", "local", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
