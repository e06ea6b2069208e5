/* core/search/queue_internal.h - shared by queue.c (policy) and lease.c (files of a lease). */
#ifndef AIRA_SEARCH_QUEUE_INTERNAL_H
#define AIRA_SEARCH_QUEUE_INTERNAL_H

#include "core/search/queue.h"

typedef enum { AIRA__ITEM_WAITING, AIRA__ITEM_RUNNING, AIRA__ITEM_DONE } aira__item_state;

typedef struct aira__item { /* one wanted or known evaluation */
    char hash[65];
    uint64_t seed;
    json_t *canonical; /* NULL where the result came from the journal */
    aira__item_state state;
    bool alone; /* it was in a lease that crashed: it runs by itself from now on */
    bool ok;
    double search_score, selection_score;
    char *cause, *error;
} aira__item;

typedef struct aira__running { /* a lease in the executor's hands */
    char id[32];
    char *folder;
    uint64_t handle;
    int *items; /* indices into the queue's items */
    int n_items;
    double started;
} aira__running;

struct aira__queue {
    aira__queue_options o;
    char *leases; /* folder */
    const char *task_hash;
    double limit_seconds;
    uint64_t limit_memory;
    int batch;
    aira__item *items;
    int n_items, capacity;
    aira__running *running;
    int n_running, running_capacity;
    int64_t next_lease;
};

/* Writes leases/<id>/lease.json for these items. */
aira_status aira__lease_write(const aira__queue *, const aira__running *, aira_error *);
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
/* The item of this key, added as waiting if new; NULL when out of memory. */
aira__item *aira__queue_item(aira__queue *, const char *hash, uint64_t seed);
void aira__evaluation_id(const char *hash, uint64_t seed, char id[100]);

#endif
