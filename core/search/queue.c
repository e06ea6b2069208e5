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

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static int find(const aira__queue *q, const char *hash, uint64_t seed) {
    for (int i = 0; i < q->n_items; i++)
        if (q->items[i].seed == seed && !strcmp(q->items[i].hash, hash)) return i;
    return -1;
}

aira__item *aira__queue_item(aira__queue *q, const char *hash, uint64_t seed) {
    int at = find(q, hash, seed);
    if (at >= 0) return &q->items[at];
    if (q->n_items == q->capacity) {
        int capacity = q->capacity ? q->capacity * 2 : 64;
        aira__item *more = realloc(q->items, (size_t)capacity * sizeof *more);
        if (!more) return NULL;
        q->items = more;
        q->capacity = capacity;
    }
    aira__item *item = &q->items[q->n_items++];
    *item = (aira__item){.seed = seed, .search_score = NAN, .selection_score = NAN};
    strncat(item->hash, hash, sizeof item->hash - 1);
    return item;
}

static aira_status load_known(void *context, const aira__journal_evaluation *row, aira_error *error) {
    aira__queue *q = context;
    if (strcmp(row->task_hash, q->task_hash) || strcmp(row->purpose, "search")) return AIRA_OK;
    aira__item *item = aira__queue_item(q, row->hash, row->seed);
    if (!item) return no_memory(error);
    item->state = AIRA__ITEM_DONE;
    item->ok = !strcmp(row->status, "ok");
    item->search_score = row->search_score;
    item->selection_score = row->selection_score;
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
    q->limit_seconds = aira__json_real(limits, "seconds", 0);
    q->limit_memory = (uint64_t)aira__json_int(limits, "memory", 0);
    q->leases = aira__path_join(options->run_dir, "leases");
    aira_status status = q->leases ? AIRA_OK : no_memory(error);
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
    free(q->items);
    free(q->running);
    free(q->leases);
    free(q);
}

aira_status aira__queue_add(aira__queue *q, const char *hash, const json_t *canonical, uint64_t seed,
                            aira_error *error) {
    aira__item *item = aira__queue_item(q, hash, seed);
    if (!item) return no_memory(error);
    if (item->state == AIRA__ITEM_WAITING && !item->canonical && !(item->canonical = json_deep_copy(canonical)))
        return no_memory(error);
    return AIRA_OK;
}

bool aira__queue_find(const aira__queue *q, const char *hash, uint64_t seed, aira__result *out) {
    int at = find(q, hash, seed);
    if (at < 0 || q->items[at].state != AIRA__ITEM_DONE) return false;
    const aira__item *item = &q->items[at];
    *out = (aira__result){item->ok, item->search_score, item->selection_score, item->cause, item->error};
    return true;
}

void aira__queue_counts(const aira__queue *q, int *running, int *waiting) {
    *running = *waiting = 0;
    for (int i = 0; i < q->n_items; i++) {
        *running += q->items[i].state == AIRA__ITEM_RUNNING;
        *waiting += q->items[i].state == AIRA__ITEM_WAITING;
    }
}

/* The executor's own sentence, or a general one. */
static aira_status executor_failed(const aira__queue *q, aira_status status, const char *what, aira_error *error) {
    const char *sentence = q->o.host ? aira__host_last_failure(q->o.host) : "";
    return aira__fail(error, status, "the executor cannot %s a worker: %s", what,
                      sentence[0] ? sentence : "it gave no reason");
}

static aira_status submit(aira__queue *q, aira__running *lease, aira_error *error) {
    const char *argv[] = {q->o.worker, "worker", lease->folder};
    /* The worker limits every evaluation; the lease's limit is the net below it, for a worker that hangs. */
    double seconds = q->limit_seconds > 0 ? q->limit_seconds * lease->n_items * 1.1 + 30 : 0;
    aira_lease given = {.size = sizeof given,
                        .n_argv = 3,
                        .id = lease->id,
                        .folder = lease->folder,
                        .argv = argv,
                        .memory_bytes = q->limit_memory,
                        .seconds = seconds};
    aira_status status = aira__lease_write(q, lease, error);
    if (status != AIRA_OK) return status;
    if (q->o.host) aira__host_clear_failure(q->o.host);
    status = q->o.executor->submit(q->o.executor_self, &given, &lease->handle);
    lease->started = aira__now();
    return status == AIRA_OK ? AIRA_OK : executor_failed(q, status, "start", error);
}

/* Indices of up to batch waiting items; one that must run alone makes a lease of its own. */
static int choose(const aira__queue *q, int *chosen) {
    int n = 0;
    for (int i = 0; i < q->n_items && n < q->batch; i++) {
        const aira__item *item = &q->items[i];
        if (item->state != AIRA__ITEM_WAITING || !item->canonical) continue;
        if (item->alone && n) continue;
        chosen[n++] = i;
        if (item->alone) break;
    }
    return n;
}

static aira_status start_one(aira__queue *q, bool *started, aira_error *error) {
    *started = false;
    int *chosen = calloc((size_t)q->batch, sizeof *chosen);
    if (!chosen) return no_memory(error);
    int n = choose(q, chosen);
    if (n == 0) {
        free(chosen);
        return AIRA_OK;
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
    *lease = (aira__running){.items = chosen, .n_items = n};
    snprintf(lease->id, sizeof lease->id, "%" PRId64, ++q->next_lease);
    lease->folder = aira__path_join(q->leases, lease->id);
    aira_status status = lease->folder ? submit(q, lease, error) : no_memory(error);
    if (status != AIRA_OK) {
        drop_running(q, q->n_running - 1);
        return status;
    }
    for (int i = 0; i < n; i++) q->items[chosen[i]].state = AIRA__ITEM_RUNNING;
    *started = true;
    return AIRA_OK;
}

static aira_status take_results(aira__queue *q, const aira__running *lease, bool *news, aira_error *error) {
    aira_status status = AIRA_OK;
    for (int i = 0; status == AIRA_OK && i < lease->n_items; i++) {
        aira__item *item = &q->items[lease->items[i]];
        bool found = false;
        if (item->state != AIRA__ITEM_RUNNING) continue;
        status = aira__lease_take_result(q, lease->folder, item, &found, error);
        *news = *news || found;
    }
    return status;
}

/* A lease that has ended: what has no result is repeated alone, or has failed if it was alone already. */
static aira_status end_lease(aira__queue *q, aira__running *lease, const aira_lease_state *state, bool *news,
                             aira_error *error) {
    aira_status status = AIRA_OK;
    int missing = 0;
    for (int i = 0; i < lease->n_items; i++) missing += q->items[lease->items[i]].state == AIRA__ITEM_RUNNING;
    for (int i = 0; status == AIRA_OK && missing && i < lease->n_items; i++) {
        aira__item *item = &q->items[lease->items[i]];
        if (item->state != AIRA__ITEM_RUNNING) continue;
        if (lease->n_items > 1) {
            item->state = AIRA__ITEM_WAITING;
            item->alone = true;
            continue;
        }
        double net = q->limit_seconds > 0 ? q->limit_seconds * 1.1 + 30 : INFINITY;
        bool late = aira__now() - lease->started >= net;
        char words[400], sentence[800];
        aira__lease_last_words(lease->folder, words, sizeof words);
        snprintf(sentence, sizeof sentence, "%s%s%s",
                 state->text[0] ? state->text : "the worker ended without a result", words[0] ? "; it said: " : "",
                 words);
        status = aira__lease_fail(q, lease->folder, item, late ? "timeout" : "crash", sentence, error);
        *news = true;
    }
    if (status == AIRA_OK && missing && lease->n_items > 1)
        status = aira__journal_event(q->o.journal, "lease", -1, -1,
                                     "a worker crashed; what it had left is repeated one by one", error);
    if (status == AIRA_OK) status = aira__remove_tree(lease->folder, error);
    return status;
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
    bool started = true;
    while (status == AIRA_OK && started && (uint32_t)q->n_running < q->o.executor->capacity(q->o.executor_self))
        status = start_one(q, &started, error);
    return status;
}
