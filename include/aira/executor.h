/* aira/executor.h - where evaluations run. Submits, polls and cancels leases.
 *
 * A lease is a set of evaluations for one worker that owns one device, written by the host as a folder; the executor
 * only starts `argv` somewhere that sees the folder. Results come back as files in it.
 */
#ifndef AIRA_EXECUTOR_H
#define AIRA_EXECUTOR_H

#include "plugin.h"

typedef struct aira_lease {
    uint32_t size, n_argv;
    const char *id;          /* unique in the run */
    const char *folder;      /* absolute; holds lease.json */
    const char *const *argv; /* worker's command line; argv[0] is absolute */
    uint64_t memory_bytes;   /* limit for the worker's process group; 0: none */
    double seconds;          /* wall limit; 0: none */
} aira_lease;

#define AIRA_LEASE_RUNNING 0u
#define AIRA_LEASE_DONE 1u   /* the worker exited with status 0 */
#define AIRA_LEASE_FAILED 2u /* it crashed, exited otherwise, or was killed */
typedef struct aira_lease_state {
    uint32_t size, state;
    int32_t exit_status; /* -1 if none */
    int32_t signal;      /* 0 if none */
    char text[256];      /* why it failed */
} aira_lease_state;

/* flags */
#define AIRA_EXECUTOR_ANSWERS 1u /* writes results itself, from what it knows, and starts no workers */

typedef struct aira_executor {
    uint32_t size, flags;
    /* Leases that may run at once. [main] */
    uint32_t (*capacity)(void *self);
    aira_status (*submit)(void *self, const aira_lease *lease, uint64_t *handle); /* [main] */
    aira_status (*poll)(void *self, uint64_t handle, aira_lease_state *state);    /* [main], does not block */
    /* Kills the whole process group; the lease then polls as FAILED. [main] */
    aira_status (*cancel)(void *self, uint64_t handle);
    void (*forget)(void *self, uint64_t handle); /* releases what a finished lease holds. [main] */
} aira_executor;

#endif
