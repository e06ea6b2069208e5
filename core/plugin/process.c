/* core/plugin/process.c - see process.h. Running and collecting output is in process_run.c. */
#include "core/plugin/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/plugin/helper.h"
#include "core/plugin/process_child.h"

typedef struct child {
    uint64_t handle;
    pid_t pid;  /* of the supervisor, 0 when reaped */
    int socket; /* -1 once the end is known */
    aira_process_state state;
    bool forgotten;
} child;

struct aira__process {
    aira_process_service table; /* table.core is this struct */
    const aira_host *host;
    pthread_mutex_t lock;
    child *children;
    int n_children, capacity;
    uint64_t next_handle;
};

static aira_status fail(const aira__process *p, const aira_error *error) {
    return p->host->fail(p->host, error->status, error->text);
}

/* Takes news from the socket without waiting. */
static void update(child *c) {
    aira__supervise_note note;
    if (c->socket >= 0) {
        ssize_t n = recv(c->socket, &note, sizeof note, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        aira__child_ended(&c->state, n == (ssize_t)sizeof note ? &note : NULL);
        close(c->socket);
        c->socket = -1;
    }
    if (c->pid > 0 && waitpid(c->pid, NULL, WNOHANG) != 0) c->pid = 0;
}

/* Reaps what has ended and drops what is forgotten. The lock is held. */
static void sweep(aira__process *p) {
    int kept = 0;
    for (int i = 0; i < p->n_children; i++) {
        child *c = &p->children[i];
        if (c->forgotten || c->socket < 0) update(c);
        if (c->forgotten && c->socket < 0 && c->pid == 0) continue;
        p->children[kept++] = *c;
    }
    p->n_children = kept;
}

static child *find(aira__process *p, uint64_t handle) {
    for (int i = 0; i < p->n_children; i++)
        if (p->children[i].handle == handle && !p->children[i].forgotten) return &p->children[i];
    return NULL;
}

static aira_status process_spawn(const aira_process_service *service, const char *const *argv, uint32_t n_argv,
                                 const aira_process_limits *limits, uint64_t *handle) {
    aira__process *p = service->core;
    aira_error error = {0};
    aira__child_files files = {-1, -1};
    aira__child started;
    aira_status status = aira__child_start(argv, n_argv, limits, files, &started, &error);
    if (status != AIRA_OK) return fail(p, &error);
    pthread_mutex_lock(&p->lock);
    sweep(p);
    if (p->n_children == p->capacity) {
        int capacity = p->capacity > 0 ? 2 * p->capacity : 16;
        child *grown = realloc(p->children, (size_t)capacity * sizeof *grown);
        if (grown != NULL) {
            p->children = grown;
            p->capacity = capacity;
        }
    }
    if (p->n_children < p->capacity) {
        *handle = p->next_handle++;
        p->children[p->n_children++] = (child){.handle = *handle,
                                               .pid = started.pid,
                                               .socket = started.socket,
                                               .state = {.size = sizeof(aira_process_state), .running = 1}};
    } else {
        status = aira__fail(&error, AIRA_E_MEMORY, "out of memory while starting %s", argv[0]);
    }
    pthread_mutex_unlock(&p->lock);
    if (status == AIRA_OK) return AIRA_OK;
    aira__child_stop(&started);
    return fail(p, &error);
}

static aira_status unknown(const aira__process *p, uint64_t handle) {
    aira_error error;
    aira__fail(&error, AIRA_E_FAILED, "there is no child process with handle %llu", (unsigned long long)handle);
    return fail(p, &error);
}

static aira_status process_poll(const aira_process_service *service, uint64_t handle, aira_process_state *state) {
    aira__process *p = service->core;
    pthread_mutex_lock(&p->lock);
    sweep(p);
    child *c = find(p, handle);
    if (c != NULL) {
        update(c);
        uint32_t room = state->size;
        aira_process_state now = c->state;
        if (room == 0 || room > sizeof now) room = sizeof now;
        now.size = room;
        memcpy(state, &now, room);
    }
    pthread_mutex_unlock(&p->lock);
    return c != NULL ? AIRA_OK : unknown(p, handle);
}

/* Any packet tells the supervisor to kill. The lock is held. */
static void order_kill(const child *c) {
    if (c->socket < 0) return;
    if (send(c->socket, "k", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EAGAIN) kill(c->pid, SIGKILL);
}

static aira_status process_kill(const aira_process_service *service, uint64_t handle) {
    aira__process *p = service->core;
    pthread_mutex_lock(&p->lock);
    child *c = find(p, handle);
    if (c != NULL) order_kill(c);
    pthread_mutex_unlock(&p->lock);
    return c != NULL ? AIRA_OK : unknown(p, handle);
}

static void process_forget(const aira_process_service *service, uint64_t handle) {
    aira__process *p = service->core;
    pthread_mutex_lock(&p->lock);
    child *c = find(p, handle);
    if (c != NULL) {
        order_kill(c);
        c->forgotten = true;
    }
    sweep(p);
    pthread_mutex_unlock(&p->lock);
}

static aira_status process_run(const aira_process_service *service, const char *const *argv, uint32_t n_argv,
                               const void *input, uint64_t n_input, const aira_process_limits *limits, char **output,
                               uint64_t *n_output, aira_process_state *state, int32_t (*cancelled)(void *),
                               void *context) {
    aira__process *p = service->core;
    aira_error error = {0};
    aira__child_io io = {.input = input, .n_input = n_input, .cancelled = cancelled, .context = context};
    aira_status status = aira__child_run(argv, n_argv, limits, &io, &error);
    if (output != NULL) *output = NULL;
    if (n_output != NULL) *n_output = 0;
    if (state != NULL) {
        uint32_t room = state->size;
        if (room == 0 || room > sizeof io.state) room = sizeof io.state;
        io.state.size = room;
        memcpy(state, &io.state, room);
    }
    if (status == AIRA_OK && output != NULL) {
        *output = p->host->alloc(p->host, io.n_output + 1);
        if (*output == NULL) {
            status = aira__fail(&error, AIRA_E_MEMORY, "out of memory for %zu bytes of output", io.n_output);
        } else {
            if (io.n_output > 0) memcpy(*output, io.output, io.n_output);
            if (n_output != NULL) *n_output = io.n_output;
        }
    }
    free(io.output);
    return status == AIRA_OK ? AIRA_OK : fail(p, &error);
}

aira_status aira__process_create(const aira_host *host, aira__process **out, aira_error *error) {
    aira__process *p = calloc(1, sizeof *p);
    *out = NULL;
    if (p == NULL || pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for the process service");
    }
    p->host = host;
    p->next_handle = 1;
    p->table = (aira_process_service){.size = sizeof(aira_process_service),
                                      .core = p,
                                      .run = process_run,
                                      .spawn = process_spawn,
                                      .poll = process_poll,
                                      .kill = process_kill,
                                      .forget = process_forget};
    *out = p;
    return AIRA_OK;
}

void aira__process_destroy(aira__process *p) {
    if (p == NULL) return;
    double deadline = aira__now() + 2;
    for (int i = 0; i < p->n_children; i++) {
        order_kill(&p->children[i]);
        p->children[i].forgotten = true;
    }
    for (sweep(p); p->n_children > 0 && aira__now() < deadline; sweep(p))
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    for (int i = 0; i < p->n_children; i++) /* a command that cannot be killed: its supervisor sees the socket close */
        if (p->children[i].socket >= 0) close(p->children[i].socket);
    free(p->children);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const aira_process_service *aira__process_table(const aira__process *p) { return &p->table; }
