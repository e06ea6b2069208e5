/* plugins/executors/local/local.c - leases as child processes of this machine.
 *
 * The host's process service (aira.process/1) starts each worker in its own process group, limits its memory and
 * time, and kills the whole group; this plugin only counts slots and turns how a process ended into a sentence.
 * Standard error of a worker goes to <folder>/worker.log, which stays with the lease until it is ingested.
 */
#include <stdio.h>
#include <string.h>

#include "aira/executor.h"
#include "aira/ext/process.h"

typedef struct local {
    int64_t workers;
    int64_t memory;
} local;

static const aira_field fields[] = {
    AIRA_F_INT(local, workers, 1, 1, 4096, "worker processes at once"),
    {"memory", "bytes that one worker may use; 0: what the task says", AIRA_T_BYTES, 0,
     (uint32_t)offsetof(local, memory), 0, 0, 0, 0, NULL, NULL},
};
static const aira_schema schema = AIRA_SCHEMA(local, fields);

typedef struct instance {
    const aira_host *host;
    const aira_process_service *process;
    local config;
} instance;

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
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

static uint32_t capacity(void *self) { return (uint32_t)((instance *)self)->config.workers; }

static aira_status submit(void *self, const aira_lease *lease, uint64_t *handle) {
    instance *made = self;
    char log[4096];
    int n = snprintf(log, sizeof log, "%s/worker.log", lease->folder);
    if (n < 0 || (size_t)n >= sizeof log)
        return made->host->fail(made->host, AIRA_E_IO, "executor local: the path of the run directory is too long");
    uint64_t memory = (uint64_t)made->config.memory;
    if (memory == 0 || (lease->memory_bytes && lease->memory_bytes < memory)) memory = lease->memory_bytes;
    aira_process_limits limits = {
        .size = sizeof limits, .stderr_path = log, .seconds = lease->seconds, .memory_bytes = memory};
    return made->process->spawn(made->process, lease->argv, lease->n_argv, &limits, handle);
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
    made->process->forget(made->process, handle);
}

static const aira_executor table = {sizeof(aira_executor), 0, capacity, submit, poll_lease, cancel, forget};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("executor", aira_executor, &table, "local", "1.0.0",
                                                          "Worker processes on this machine", &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("executor", "local", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
