/* core/search/queue.h - one evaluation queue for all searches of a run.
 *
 * A candidate under a seed is evaluated once per purpose, whoever asks and however often; who wanted it first pays.
 * Waiting evaluations are packed into leases (folders, docs/contract.md 4) and given to the executor up to its
 * capacity; results come back as files and go to the journal at once. A worker that crashes with several evaluations in
 * its lease has them repeated one by one, so that only the culprit fails.
 *
 * Fair sharing: the next evaluation is one of the search that has had the fewest device seconds (those that run now
 * count as long as the mean one), ties: the smaller id; within a search in logical order. So a search that waits for a
 * slow model leaves the workers to the others and has them first when it comes back.
 *
 * Costs: finding and adding do not depend on how many evaluations there are; starting one depends on the number of
 * searches. Threads: the coordinator's alone.
 */
#ifndef AIRA_SEARCH_QUEUE_H
#define AIRA_SEARCH_QUEUE_H

#include <jansson.h>
#include <stdbool.h>

#include "aira/executor.h"
#include "core/search/journal.h"
#include "core/search/ledger.h"

typedef struct aira__queue aira__queue;

typedef struct aira__queue_options {
    aira__journal *journal;
    aira__ledger *ledger; /* what evaluations cost is entered there */
    const aira_executor *executor;
    void *executor_self;
    const aira_host *host; /* for the executor's sentences */
    const char *run_dir;   /* absolute */
    const char *worker;    /* absolute path of the program that is started as `worker FOLDER` */
    const json_t *study;   /* canonical: task, task_hash, device, batch, at_once, limits */
    const char *const *plugin_paths;
    int n_plugin_paths;
} aira__queue_options;

/* Takes the results that the journal holds and those that an earlier session left in leases/, which it empties. */
aira_status aira__queue_create(const aira__queue_options *, aira__queue **, aira_error *);
void aira__queue_destroy(aira__queue *); /* cancels what runs. NULL is fine */

/* What an evaluation is for; it decides which splits are opened. */
typedef enum {
    AIRA__FOR_SEARCH,  /* search and selection */
    AIRA__FOR_CONFIRM, /* the same, of a contender's further seeds */
    AIRA__FOR_FINAL,   /* selection and test */
    AIRA__N_PURPOSES
} aira__purpose;
const char *aira__purpose_name(aira__purpose);              /* "search", "confirm", "final" */
bool aira__purpose_find(const char *name, aira__purpose *); /* false: there is none of that name */

typedef struct aira__want {
    const char *hash;
    const json_t *canonical; /* of the candidate */
    uint64_t seed;
    aira__purpose purpose;
    int64_t search; /* that wants and pays; 0: the study */
    uint64_t order; /* its place within the search: smaller ones first */
} aira__want;

typedef struct aira__result {
    bool ok;
    double search_score, selection_score, test_score; /* NAN where the purpose does not open that split */
    const char *cause, *error;                        /* where not ok; the queue's */
} aira__result;

/* Nothing happens if it is known or wanted already. */
aira_status aira__queue_add(aira__queue *, const aira__want *, aira_error *);
/* False while it is not known. */
bool aira__queue_find(const aira__queue *, const char *hash, uint64_t seed, aira__purpose, aira__result *);
/* Takes in results, as rows. *news: something came in. */
aira_status aira__queue_pump(aira__queue *, bool *news, aira_error *);
/* Starts leases for what waits, after the rows so far are durable, and removes the folders that pump has read. An
   executor that cannot start a worker is an error. */
aira_status aira__queue_start(aira__queue *, aira_error *);
/* Held, nothing is started; what runs goes on. */
void aira__queue_hold(aira__queue *, bool);
/* What waits on behalf of this search is not started, unless another one adds it again. */
void aira__queue_drop(aira__queue *, int64_t search);
/* Running evaluations, and those that wait for a worker. */
void aira__queue_counts(const aira__queue *, int *running, int *waiting);

#endif
