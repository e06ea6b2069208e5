/* core/train/worker_internal.h - what worker.c (the lease, its lanes) and worker_evaluation.c (one evaluation) share.
 */
#ifndef AIRA_TRAIN_WORKER_INTERNAL_H
#define AIRA_TRAIN_WORKER_INTERNAL_H

#include <pthread.h>

#include "core/train/evaluate.h"

/* Tasks that were loaded; the evaluations of a lease have one, as a rule. Data sets, backbones and primitives are used
   by all lanes at once. */
typedef struct aira__worker_task {
    const json_t *json; /* the lease's */
    aira__task *task;
    struct aira__worker_task *next;
} aira__worker_task;

typedef struct aira__worker {
    const char *folder;
    json_t *lease;
    aira__registry *registry;
    aira__instance *device;
    const aira_device_queue *queue; /* NULL: the device has none */
    char program[65];
    int at_once;
    pthread_mutex_t lock;     /* over what follows, and around the registry */
    json_t *evaluations;      /* of the lease and of what came later */
    size_t next;              /* evaluation that is taken next */
    json_t *again;            /* those that are to be done once more, alone */
    int more, busy;           /* files of further evaluations that were read; lanes at work */
    bool closed;              /* nothing comes any more */
    double idle;              /* aira__now() when the last lane fell idle */
    aira_error error;         /* of a result that could not be written: everything ends */
    aira__worker_task *tasks; /* owned */
} aira__worker;

/* What runs evaluations one after another, beside the other lanes; one thread. */
typedef struct aira__lane {
    aira__worker *worker;
    aira__instance *own;      /* a device of its own, where the worker's has no queues */
    aira__registry *registry; /* of its own, for designs beside others; NULL: none needed yet */
    void *self;               /* of the device; NULL: not yet opened */
    pthread_t thread;
    bool beside;    /* other lanes run too */
    const char *id; /* of the evaluation in flight */
    const aira__task *task;
    double last_part;
} aira__lane;

/* All plugins of the lease, in a registry of their own: one serves one thread at a time. */
aira_status aira__worker_registry(const aira__worker *, aira__registry **, aira_error *);

/* Does an evaluation of the lease and writes its result; *again: it is to be done once more without neighbours, and
   nothing was written. */
aira_status aira__lane_work(aira__lane *, const json_t *request, bool *again, aira_error *);

#endif
