/* core/search/queue_internal.h - shared by queue.c (policy), order.c (who is next) and lease.c (files of a lease). */
#ifndef AIRA_SEARCH_QUEUE_INTERNAL_H
#define AIRA_SEARCH_QUEUE_INTERNAL_H

#include "core/search/queue.h"

/* DROPPED: it was wanted by a search that has been stopped. */
typedef enum { AIRA__ITEM_WAITING, AIRA__ITEM_RUNNING, AIRA__ITEM_DONE, AIRA__ITEM_DROPPED } aira__item_state;

typedef struct aira__item { /* one wanted or known evaluation */
    char hash[65];
    uint64_t seed, order;
    aira__purpose purpose;
    int64_t search;
    json_t *canonical; /* NULL where the result came from the journal */
    aira__item_state state;
    bool alone; /* it was in a lease that crashed: it runs by itself from now on */
    bool ok;
    double search_score, selection_score, test_score;
    char *cause, *error;
} aira__item;

typedef struct aira__running { /* a lease in the executor's hands */
    char id[32];
    char *folder;
    uint64_t handle;
    int *items; /* indices into the queue's items */
    int n_items;
    int more;    /* files of further evaluations that were handed over; -1: it takes no more */
    bool lonely; /* its evaluation runs by itself */
    double started;
} aira__running;

/* What waits for one search: a binary heap of item indices, smallest order first. */
typedef struct aira__lane {
    int *items;
    int n, capacity;
    int running;
} aira__lane;

struct aira__queue {
    aira__queue_options o;
    char *leases; /* folder */
    const char *task_hash;
    double limit_seconds;
    uint64_t limit_memory;
    int batch, at_once;
    aira__item *items;
    int n_items, capacity;
    int *buckets; /* 1 + index of an item, by its key; 0: free */
    uint32_t n_buckets;
    aira__lane *lanes; /* by search; 0: the study's own */
    int n_lanes;
    int n_waiting, n_busy; /* items */
    bool held;
    aira__running *running;
    int n_running, running_capacity;
    char **ended; /* folders whose results are rows that may not be durable yet */
    int n_ended, ended_capacity;
    int64_t next_lease;
};

/* order.c. put: a waiting item into its search's lane; false when out of memory. */
bool aira__lanes_put(aira__queue *, int item);
/* The waiting item that goes next, -1: none. ahead[search]: evaluations chosen a moment ago. */
int aira__lanes_next(const aira__queue *, const int *ahead);
void aira__lanes_take(aira__queue *, int item); /* the next one of its lane leaves it */

/* lease.c */
/* Writes leases/<id>/lease.json for these items. */
aira_status aira__lease_write(const aira__queue *, const aira__running *, aira_error *);
/* Hands n further items to the worker of a lease: leases/<id>/more-<k>.json. *taken false: the worker had closed the
   lease before. */
aira_status aira__lease_add(const aira__queue *, const aira__running *, const int *items, int n, bool *taken,
                            aira_error *);
/* The result of an item in a lease's folder: *found false if there is none yet. A file that cannot be understood is a
   result too: a failed one. Goes to item and journal. */
aira_status aira__lease_take_result(aira__queue *, const char *folder, aira__item *, bool *found, aira_error *);
/* An item that ended without a result: whatever <id>.part.json holds of its curve is kept. */
aira_status aira__lease_fail(aira__queue *, const char *folder, aira__item *, const char *cause, const char *sentence,
                             aira_error *);
/* The end of what the worker of a lease wrote to <folder>/worker.log, "" if it wrote nothing. */
void aira__lease_last_words(const char *folder, char *text, size_t size);
/* Results in folders of an earlier session, then removes them. */
aira_status aira__lease_recover(aira__queue *, aira_error *);

/* queue.c: the item of this key, added as dropped (known, wanted by nobody) if new; NULL when out of memory. Valid
   until the next one is added. */
aira__item *aira__queue_item(aira__queue *, const char *hash, uint64_t seed, aira__purpose, int64_t search);

#endif
