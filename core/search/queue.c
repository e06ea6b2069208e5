/* core/search/queue.c - what waits, what runs, what is known; see queue.h. */
#include "core/search/queue.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/plugin/registry.h"
#include "core/search/queue_internal.h"

#define MOST_IN_LEASE 512 /* evaluations of a lease that grows while it runs */

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static const char *const purposes[AIRA__N_PURPOSES] = {"search", "confirm", "final"};

const char *aira__purpose_name(aira__purpose purpose) { return purposes[purpose]; }

bool aira__purpose_find(const char *name, aira__purpose *purpose) {
    for (int i = 0; i < AIRA__N_PURPOSES; i++)
        if (!strcmp(purposes[i], name)) {
            *purpose = (aira__purpose)i;
            return true;
        }
    return false;
}

/* ---- items by key ---- */

/* Where the item of this key is, or would go. */
static uint32_t bucket_of(const aira__queue *q, const char *hash, uint64_t seed, aira__purpose purpose) {
    uint64_t h = 0xcbf29ce484222325u ^ seed * 0x9e3779b97f4a7c15u ^ purpose; /* FNV-1a */
    for (const char *p = hash; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001b3u;
    uint32_t at = (uint32_t)(h ^ h >> 32) & (q->n_buckets - 1);
    for (; q->buckets[at]; at = (at + 1) & (q->n_buckets - 1)) {
        const aira__item *item = &q->items[q->buckets[at] - 1];
        if (item->seed == seed && item->purpose == purpose && !strcmp(item->hash, hash)) break;
    }
    return at;
}

static int find(const aira__queue *q, const char *hash, uint64_t seed, aira__purpose purpose) {
    return q->n_items ? q->buckets[bucket_of(q, hash, seed, purpose)] - 1 : -1;
}

static bool grow(aira__queue *q) {
    if (q->n_items < q->capacity) return true;
    int capacity = q->capacity ? q->capacity * 2 : 64;
    aira__item *items = realloc(q->items, (size_t)capacity * sizeof *items);
    if (items) q->items = items;
    int *buckets = calloc((size_t)capacity * 2, sizeof *buckets);
    if (!items || !buckets) {
        free(buckets);
        return false;
    }
    free(q->buckets);
    q->buckets = buckets;
    q->n_buckets = (uint32_t)capacity * 2;
    q->capacity = capacity;
    for (int i = 0; i < q->n_items; i++) buckets[bucket_of(q, items[i].hash, items[i].seed, items[i].purpose)] = i + 1;
    return true;
}

aira__item *aira__queue_item(aira__queue *q, const char *hash, uint64_t seed, aira__purpose purpose, int64_t search) {
    int at = find(q, hash, seed, purpose);
    if (at >= 0) return &q->items[at];
    if (!grow(q)) return NULL;
    q->buckets[bucket_of(q, hash, seed, purpose)] = ++q->n_items;
    aira__item *item = &q->items[q->n_items - 1];
    *item = (aira__item){.seed = seed,
                         .purpose = purpose,
                         .search = search > 0 && search < q->n_lanes ? search : 0,
                         .state = AIRA__ITEM_DROPPED,
                         .search_score = NAN,
                         .selection_score = NAN,
                         .test_score = NAN};
    strncat(item->hash, hash, sizeof item->hash - 1);
    return item;
}

static aira_status load_known(void *context, const aira__journal_evaluation *row, aira_error *error) {
    aira__queue *q = context;
    aira__purpose purpose;
    if (strcmp(row->task_hash, q->task_hash) || !aira__purpose_find(row->purpose, &purpose)) return AIRA_OK;
    aira__item *item = aira__queue_item(q, row->hash, row->seed, purpose, row->search);
    if (!item) return no_memory(error);
    item->state = AIRA__ITEM_DONE;
    item->ok = !strcmp(row->status, "ok");
    item->search_score = row->search_score;
    item->selection_score = row->selection_score;
    item->test_score = row->test_score;
    if (item->ok) return AIRA_OK;
    item->cause = strdup(row->cause ? row->cause : "crash");
    item->error = strdup(row->error ? row->error : "the evaluation failed");
    return item->cause && item->error ? AIRA_OK : no_memory(error);
}

aira_status aira__queue_create(const aira__queue_options *options, aira__queue **out, aira_error *error) {
    aira__queue *q = calloc(1, sizeof *q);
    *out = NULL;
    if (!q) return no_memory(error);
    const json_t *limits = json_object_get(options->study, "limits");
    q->o = *options;
    q->task_hash = aira__json_string(options->study, "task_hash", "");
    q->batch = (int)aira__json_int(options->study, "batch", 1);
    q->at_once = (int)aira__json_int(options->study, "at_once", 1);
    q->limit_seconds = aira__json_real(limits, "seconds", 0);
    q->limit_memory = (uint64_t)aira__json_int(limits, "memory", 0);
    q->leases = aira__path_join(options->run_dir, "leases");
    q->n_lanes = options->ledger->n + 1;
    q->lanes = calloc((size_t)q->n_lanes, sizeof *q->lanes);
    aira_status status = q->leases && q->lanes ? AIRA_OK : no_memory(error);
    if (status == AIRA_OK) status = aira__journal_each_evaluation(options->journal, load_known, q, error);
    if (status == AIRA_OK) status = aira__lease_recover(q, error);
    if (status != AIRA_OK) {
        aira__queue_destroy(q);
        return status;
    }
    *out = q;
    return AIRA_OK;
}

static void drop_running(aira__queue *q, int at) {
    free(q->running[at].folder);
    free(q->running[at].items);
    q->running[at] = q->running[--q->n_running];
}

void aira__queue_destroy(aira__queue *q) {
    if (!q) return;
    while (q->n_running) {
        /* A worker that cannot be killed has ended; its folder is taken in by the next session. */
        (void)q->o.executor->cancel(q->o.executor_self, q->running[0].handle);
        q->o.executor->forget(q->o.executor_self, q->running[0].handle);
        drop_running(q, 0);
    }
    for (int i = 0; i < q->n_items; i++) {
        json_decref(q->items[i].canonical);
        free(q->items[i].cause);
        free(q->items[i].error);
    }
    for (int i = 0; q->lanes && i < q->n_lanes; i++) free(q->lanes[i].items);
    free(q->lanes);
    free(q->buckets);
    while (q->n_ended) free(q->ended[--q->n_ended]); /* the next session finds them and takes nothing twice */
    free(q->ended);
    free(q->items);
    free(q->running);
    free(q->leases);
    free(q);
}

aira_status aira__queue_add(aira__queue *q, const aira__want *want, aira_error *error) {
    aira__item *item = aira__queue_item(q, want->hash, want->seed, want->purpose, want->search);
    if (!item) return no_memory(error);
    if (item->state != AIRA__ITEM_DROPPED) return AIRA_OK;
    if (!item->canonical && !(item->canonical = json_deep_copy(want->canonical))) return no_memory(error);
    item->search = want->search > 0 && want->search < q->n_lanes ? want->search : 0;
    item->order = want->order;
    item->state = AIRA__ITEM_WAITING;
    return aira__lanes_put(q, (int)(item - q->items)) ? AIRA_OK : no_memory(error);
}

bool aira__queue_find(const aira__queue *q, const char *hash, uint64_t seed, aira__purpose purpose, aira__result *out) {
    int at = find(q, hash, seed, purpose);
    if (at < 0 || q->items[at].state != AIRA__ITEM_DONE) return false;
    const aira__item *item = &q->items[at];
    *out = (aira__result){item->ok,         item->search_score, item->selection_score,
                          item->test_score, item->cause,        item->error};
    return true;
}

void aira__queue_hold(aira__queue *q, bool held) { q->held = held; }

void aira__queue_drop(aira__queue *q, int64_t search) {
    aira__lane *lane = &q->lanes[search];
    for (int i = 0; i < lane->n; i++) q->items[lane->items[i]].state = AIRA__ITEM_DROPPED;
    q->n_waiting -= lane->n;
    lane->n = 0;
}

void aira__queue_counts(const aira__queue *q, int *running, int *waiting) {
    *running = q->n_busy;
    *waiting = q->n_waiting;
}

/* The executor's own sentence, or a general one. */
static aira_status executor_failed(const aira__queue *q, aira_status status, const char *what, aira_error *error) {
    const char *sentence = q->o.host ? aira__host_last_failure(q->o.host) : "";
    return aira__fail(error, status, "the executor cannot %s a worker: %s", what,
                      sentence[0] ? sentence : "it gave no reason");
}

/* A worker that trains several at once is kept busy: it gets more while it works. */
static bool may_grow(const aira__queue *q, const aira__running *lease) {
    return q->at_once > 1 && !lease->lonely && lease->more >= 0 && lease->n_items < MOST_IN_LEASE &&
           !(q->o.executor->flags & AIRA_EXECUTOR_ANSWERS);
}

static aira_status submit(aira__queue *q, aira__running *lease, aira_error *error) {
    const char *argv[] = {q->o.worker, "worker", lease->folder};
    /* The worker limits every evaluation; the lease's limit is the net below it, for a worker that hangs. */
    int most = may_grow(q, lease) ? MOST_IN_LEASE : lease->n_items;
    double seconds = q->limit_seconds > 0 ? q->limit_seconds * most * 1.1 + 30 : 0;
    aira_lease given = {.size = sizeof given,
                        .n_argv = 3,
                        .id = lease->id,
                        .folder = lease->folder,
                        .argv = argv,
                        .memory_bytes = q->limit_memory * (uint64_t)q->at_once,
                        .seconds = seconds};
    aira_status status = aira__lease_write(q, lease, error);
    if (status != AIRA_OK) return status;
    if (q->o.host) aira__host_clear_failure(q->o.host);
    status = q->o.executor->submit(q->o.executor_self, &given, &lease->handle);
    lease->started = aira__now();
    return status == AIRA_OK ? AIRA_OK : executor_failed(q, status, "start", error);
}

/* Takes up to `most` waiting items, whose indices go to chosen; one that must run alone makes a lease of its own, if a
   lease is what is wanted. */
static aira_status choose(aira__queue *q, int most, bool lease, int *chosen, int *n, aira_error *error) {
    int *ahead = calloc((size_t)q->n_lanes, sizeof *ahead), next;
    *n = 0;
    if (!ahead) return no_memory(error);
    while (*n < most && (next = aira__lanes_next(q, ahead)) >= 0) {
        const aira__item *item = &q->items[next];
        if (item->alone && (*n || !lease)) break;
        aira__lanes_take(q, next);
        ahead[item->search]++;
        chosen[(*n)++] = next;
        if (item->alone) break;
    }
    free(ahead);
    return AIRA_OK;
}

static void items_run(aira__queue *q, const int *items, int n) {
    for (int i = 0; i < n; i++) {
        aira__item *item = &q->items[items[i]];
        item->state = AIRA__ITEM_RUNNING;
        q->lanes[item->search].running++;
        q->n_busy++;
    }
}

static aira_status start_one(aira__queue *q, bool *started, aira_error *error) {
    *started = false;
    if (!q->n_waiting || q->held) return AIRA_OK;
    int n = 0, *chosen = calloc((size_t)q->batch, sizeof *chosen);
    aira_status status = chosen ? choose(q, q->batch, true, chosen, &n, error) : no_memory(error);
    if (status != AIRA_OK) {
        free(chosen);
        return status;
    }
    if (q->n_running == q->running_capacity) {
        int capacity = q->running_capacity ? q->running_capacity * 2 : 8;
        aira__running *more = realloc(q->running, (size_t)capacity * sizeof *more);
        if (!more) {
            free(chosen);
            return no_memory(error);
        }
        q->running = more;
        q->running_capacity = capacity;
    }
    aira__running *lease = &q->running[q->n_running++];
    *lease = (aira__running){.items = chosen, .n_items = n, .lonely = n > 0 && q->items[chosen[0]].alone};
    snprintf(lease->id, sizeof lease->id, "%" PRId64, ++q->next_lease);
    lease->folder = aira__path_join(q->leases, lease->id);
    status = lease->folder ? submit(q, lease, error) : no_memory(error);
    if (status != AIRA_OK) {
        drop_running(q, q->n_running - 1);
        return status;
    }
    items_run(q, chosen, n);
    *started = true;
    return AIRA_OK;
}

/* Gives a running lease what waits, up to a batch of unfinished ones. */
static aira_status top_up(aira__queue *q, aira__running *lease, aira_error *error) {
    int unfinished = 0, n = 0;
    for (int i = 0; i < lease->n_items; i++) unfinished += q->items[lease->items[i]].state == AIRA__ITEM_RUNNING;
    int most = q->batch - unfinished;
    if (most > MOST_IN_LEASE - lease->n_items) most = MOST_IN_LEASE - lease->n_items;
    if (!q->n_waiting || q->held || most < 1 || !may_grow(q, lease)) return AIRA_OK;
    int *items = realloc(lease->items, (size_t)(lease->n_items + most) * sizeof *items);
    if (!items) return no_memory(error);
    lease->items = items;
    bool taken = false;
    aira_status status = choose(q, most, false, items + lease->n_items, &n, error);
    if (status == AIRA_OK && n) status = aira__lease_add(q, lease, items + lease->n_items, n, &taken, error);
    if (taken) {
        items_run(q, items + lease->n_items, n);
        lease->n_items += n;
        lease->more++;
        return AIRA_OK;
    }
    if (n) lease->more = -1;
    for (int i = 0; i < n; i++)
        if (!aira__lanes_put(q, items[lease->n_items + i]) && status == AIRA_OK) status = no_memory(error);
    return status;
}

/* It has left its worker. */
static void item_left(aira__queue *q, const aira__item *item) {
    q->lanes[item->search].running--;
    q->n_busy--;
}

static aira_status take_results(aira__queue *q, const aira__running *lease, bool *news, aira_error *error) {
    aira_status status = AIRA_OK;
    for (int i = 0; status == AIRA_OK && i < lease->n_items; i++) {
        aira__item *item = &q->items[lease->items[i]];
        bool found = false;
        if (item->state != AIRA__ITEM_RUNNING) continue;
        status = aira__lease_take_result(q, lease->folder, item, &found, error);
        if (item->state != AIRA__ITEM_RUNNING) item_left(q, item);
        *news = *news || found;
    }
    return status;
}

/* A folder goes when the rows made of it are durable. */
static aira_status keep_folder(aira__queue *q, const char *folder, aira_error *error) {
    if (q->n_ended == q->ended_capacity) {
        int capacity = q->ended_capacity ? q->ended_capacity * 2 : 8;
        char **more = realloc(q->ended, (size_t)capacity * sizeof *more);
        if (!more) return no_memory(error);
        q->ended = more;
        q->ended_capacity = capacity;
    }
    char *copy = strdup(folder);
    if (!copy) return no_memory(error);
    q->ended[q->n_ended++] = copy;
    return AIRA_OK;
}

/* A lease that has ended: what has no result is repeated alone, or has failed if it was repeated already. */
static aira_status end_lease(aira__queue *q, aira__running *lease, const aira_lease_state *state, bool *news,
                             aira_error *error) {
    aira_status status = AIRA_OK;
    int missing = 0, repeated = 0;
    for (int i = 0; i < lease->n_items; i++) missing += q->items[lease->items[i]].state == AIRA__ITEM_RUNNING;
    for (int i = 0; status == AIRA_OK && missing && i < lease->n_items; i++) {
        aira__item *item = &q->items[lease->items[i]];
        if (item->state != AIRA__ITEM_RUNNING) continue;
        double net = q->limit_seconds > 0 ? q->limit_seconds * 1.1 + 30 : INFINITY;
        bool late = lease->n_items == 1 && aira__now() - lease->started >= net;
        if (!item->alone && !late) { /* whoever killed the worker may have meant something else */
            item->state = AIRA__ITEM_WAITING;
            item->alone = true;
            item_left(q, item);
            repeated++;
            if (!aira__lanes_put(q, lease->items[i])) status = no_memory(error);
            continue;
        }
        char words[400], sentence[800];
        aira__lease_last_words(lease->folder, words, sizeof words);
        snprintf(sentence, sizeof sentence, "%s%s%s",
                 state->text[0] ? state->text : "the worker ended without a result", words[0] ? "; it said: " : "",
                 words);
        status = aira__lease_fail(q, lease->folder, item, late ? "timeout" : "crash", sentence, error);
        item_left(q, item);
        *news = true;
    }
    if (status == AIRA_OK && repeated)
        status = aira__journal_event(q->o.journal, "lease", -1, -1,
                                     "a worker crashed; what it had left is repeated one by one", error);
    return status == AIRA_OK ? keep_folder(q, lease->folder, error) : status;
}

aira_status aira__queue_pump(aira__queue *q, bool *news, aira_error *error) {
    aira_status status = AIRA_OK;
    *news = false;
    for (int i = 0; status == AIRA_OK && i < q->n_running; i++) {
        aira_lease_state state = {.size = sizeof state, .exit_status = -1};
        if (q->o.host) aira__host_clear_failure(q->o.host);
        status = q->o.executor->poll(q->o.executor_self, q->running[i].handle, &state);
        if (status != AIRA_OK) return executor_failed(q, status, "watch", error);
        /* Asked first, read second: a worker that has ended has written all it will write. */
        status = take_results(q, &q->running[i], news, error);
        if (status != AIRA_OK || state.state == AIRA_LEASE_RUNNING) continue;
        q->o.executor->forget(q->o.executor_self, q->running[i].handle);
        status = end_lease(q, &q->running[i], &state, news, error);
        drop_running(q, i--);
    }
    return status;
}

aira_status aira__queue_start(aira__queue *q, aira_error *error) {
    aira_status status = AIRA_OK;
    while (status == AIRA_OK && q->n_ended) {
        status = aira__remove_tree(q->ended[q->n_ended - 1], error);
        free(q->ended[--q->n_ended]);
    }
    bool started = true;
    while (status == AIRA_OK && started && (uint32_t)q->n_running < q->o.executor->capacity(q->o.executor_self))
        status = start_one(q, &started, error);
    for (int i = 0; status == AIRA_OK && i < q->n_running; i++) status = top_up(q, &q->running[i], error);
    return status;
}
