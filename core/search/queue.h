/* core/search/queue.h - one evaluation queue for all searches of a run.
 *
 * A candidate under a seed is evaluated once, whoever asks and however often. Waiting evaluations are packed into
 * leases (folders, docs/contract.md 4) and given to the executor up to its capacity; results come back as files and go
 * to the journal at once. A worker that crashes with several evaluations in its lease has them repeated one by one, so
 * that only the culprit fails. Threads: the coordinator's alone.
 */
#ifndef AIRA_SEARCH_QUEUE_H
#define AIRA_SEARCH_QUEUE_H

#include <jansson.h>
#include <stdbool.h>

#include "aira/executor.h"
#include "core/search/journal.h"

typedef struct aira__queue aira__queue;

typedef struct aira__queue_options {
    aira__journal *journal;
    const aira_executor *executor;
    void *executor_self;
    const aira_host *host; /* for the executor's sentences */
    const char *run_dir;   /* absolute */
    const char *worker;    /* absolute path of the program that is started as `worker FOLDER` */
    const json_t *study;   /* canonical: task, task_hash, device, batch, limits */
    const char *const *plugin_paths;
    int n_plugin_paths;
} aira__queue_options;

/* Takes the results that the journal holds and those that an earlier session left in leases/, which it empties. */
aira_status aira__queue_create(const aira__queue_options *, aira__queue **, aira_error *);
void aira__queue_destroy(aira__queue *); /* cancels what runs. NULL is fine */

typedef struct aira__result {
    bool ok;
    double search_score, selection_score;
    const char *cause, *error; /* where not ok; the queue's */
} aira__result;

/* Wants an evaluation; nothing happens if it is known or wanted already. canonical: of the candidate. */
aira_status aira__queue_add(aira__queue *, const char *hash, const json_t *canonical, uint64_t seed, aira_error *);
/* False while it is not known. */
bool aira__queue_find(const aira__queue *, const char *hash, uint64_t seed, aira__result *);
/* Takes in results, starts leases. *news: something came in. An executor that cannot start a worker is an error. */
aira_status aira__queue_pump(aira__queue *, bool *news, aira_error *);
/* Running evaluations, and those that wait for a worker. */
void aira__queue_counts(const aira__queue *, int *running, int *waiting);

#endif
