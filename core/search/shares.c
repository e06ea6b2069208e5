/* core/search/shares.c - candidates and evaluations of a study, shared out among its searches; what limits in time,
 * money, tokens and FLOPs do, to the study and to a single search. See budget.h for why these are two kinds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/search/run_internal.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* Appends what is in force to the history. The history is kept because reaching a share commits what is pending: a
   resumed or replayed run must reach the very same ones. */
static aira_status save_quotas(aira__run *run, aira_error *error) {
    json_t *stage = json_array();
    for (int i = 0; i < run->n_searches; i++)
        json_array_append_new(stage, json_pack("[I, I]", (json_int_t)run->searches[i].quota_candidates,
                                               (json_int_t)run->searches[i].quota_evaluations));
    if (json_array_append_new(run->quotas, stage)) return no_memory(error);
    char *text = aira__json_canonical(run->quotas);
    aira_status status = text ? aira__journal_set_study(run->journal, "quotas", text, error) : no_memory(error);
    free(text);
    return status;
}

aira_status aira__shares_open(aira__run *run, aira_error *error) {
    char *text = aira__journal_get_study(run->journal, "quotas", NULL);
    int n = run->n_searches;
    int64_t *share = calloc(2 * (size_t)n + 1, sizeof *share);
    run->quotas = text ? aira__json_parse(text, strlen(text), "the journal's quotas", error) : json_array();
    free(text);
    if (!run->quotas || !share) {
        free(share);
        return run->quotas ? no_memory(error) : AIRA_E_CORRUPT;
    }
    size_t stages = json_array_size(run->quotas);
    const json_t *last = stages ? json_array_get(run->quotas, stages - 1) : NULL;
    aira__budget_share(run->budget.candidates, n, share);
    aira__budget_share(run->budget.evaluations, n, share + n);
    for (int i = 0; i < n; i++) {
        const json_t *saved = json_array_get(last, (size_t)i);
        run->searches[i].quota_candidates = saved ? json_integer_value(json_array_get(saved, 0)) : share[i];
        run->searches[i].quota_evaluations = saved ? json_integer_value(json_array_get(saved, 1)) : share[n + i];
    }
    free(share);
    return last ? AIRA_OK : save_quotas(run, error);
}

static bool own_left(const aira__search *s) {
    return (s->own_candidates < 0 || s->tree.n < s->own_candidates) &&
           (s->own_evaluations < 0 || aira__tree_evaluations(&s->tree) + s->tree.seeds <= s->own_evaluations);
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

aira_status aira__shares_leftovers(aira__run *run, bool *revived, aira_error *error) {
    int64_t candidates = run->budget.candidates, evaluations = run->budget.evaluations, n = 0, given = 0;
    int64_t seeds = run->n_searches ? run->searches[0].tree.seeds : 1;
    *revived = false;
    for (int i = 0; i < run->n_searches; i++) {
        const aira__search *s = &run->searches[i];
        if (run->budget.candidates >= 0) candidates -= s->tree.n;
        if (run->budget.evaluations >= 0) evaluations -= aira__tree_evaluations(&s->tree);
        n += s->quota && own_left(s);
    }
    /* As many as can do something with a part: a node may cost all seeds. */
    if (run->budget.candidates >= 0) n = smaller(n, candidates);
    if (run->budget.evaluations >= 0) n = smaller(n, evaluations / seeds);
    for (int i = 0; i < run->n_searches && given < n; i++) {
        aira__search *s = &run->searches[i];
        if (!s->quota || !own_left(s)) continue;
        if (run->budget.candidates >= 0) s->quota_candidates = s->tree.n + candidates / n + (given < candidates % n);
        if (run->budget.evaluations >= 0)
            s->quota_evaluations = aira__tree_evaluations(&s->tree) + evaluations / n + (given < evaluations % n);
        given++;
        s->quota = s->stopping = s->done = false;
        s->moved = *revived = true;
    }
    return *revived ? save_quotas(run, error) : AIRA_OK;
}

/* ---- limits that end something where it stands ---- */

/* The others may wait for what the search would have paid for. */
static aira_status want_again(aira__run *run, aira_error *error) {
    aira_status status = AIRA_OK;
    for (int i = 0; status == AIRA_OK && i < run->n_searches; i++) {
        aira__search *s = &run->searches[i];
        s->moved = true;
        for (uint32_t k = 0; status == AIRA_OK && !s->done && k < s->tree.parallel; k++)
            if (s->slots[k].phase == AIRA__SLOT_EVALUATING)
                status = aira__search_want(run, s, s->slots[k].idx, 0, &s->slots[k].candidate, error);
    }
    return status;
}

static aira_status cut(aira__run *run, aira__search *s, const char *reason, aira_error *error) {
    aira_status status = aira__journal_begin(run->journal, error);
    if (status != AIRA_OK) return status;
    status = aira__journal_event(run->journal, "budget", s->id, -1, reason, error);
    if (status == AIRA_OK) status = aira__journal_search_state(run->journal, s->id, "stopped", reason, error);
    if (status == AIRA_OK)
        status = aira__journal_commit(run->journal, error);
    else
        aira__journal_rollback(run->journal);
    if (status != AIRA_OK) return status;
    aira__log(AIRA_LOG_INFO, "search %" PRId64 " (%s) is stopped: %s", s->id, s->label, reason);
    s->done = s->cut = true;
    s->quota = false;
    aira__queue_drop(run->queue, s->id);
    return want_again(run, error);
}

/* Once it is known what a training costs: is there room for one candidate? Said as soon as it can be. */
static aira_status look_at_cost(aira__run *run, aira_error *error) {
    const aira__usage *u = &run->ledger.study;
    if (run->cost_told || !u->trainings || !(u->device_seconds > 0)) return AIRA_OK;
    double seeds = run->n_searches ? run->searches[0].tree.seeds : 1;
    double one = u->device_seconds / (double)u->trainings, flops = u->flops / (double)u->trainings;
    const struct {
        const char *name;
        double needed, limit;
    } rows[] = {{"wall time (s)", one, run->budget.wall},
                {"device seconds", one * seeds, run->budget.device_seconds},
                {"FLOPs", flops * seeds, run->budget.flops}};
    run->cost_told = true;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sentence[256];
        if (rows[i].limit < 0 || !(rows[i].needed > rows[i].limit)) continue;
        snprintf(sentence, sizeof sentence,
                 "a first candidate needs %.3g of %s (measured), more than the study's %.3g: nothing can be compared; "
                 "give more, or make the task smaller",
                 rows[i].needed, rows[i].name, rows[i].limit);
        aira__log(AIRA_LOG_WARN, "%s", sentence);
        return aira__journal_event(run->journal, "budget", -1, -1, sentence, error);
    }
    return AIRA_OK;
}

aira_status aira__limits_look(aira__run *run, aira__limit *limit, char *sentence, size_t size, aira_error *error) {
    double seconds = aira__run_seconds(run);
    aira_status status = look_at_cost(run, error);
    run->ledger.study.seconds = seconds;
    *limit = aira__budget_reached(&run->budget, &run->ledger.study, sentence, size);
    for (int i = 0; status == AIRA_OK && *limit == AIRA__LIMIT_NONE && i < run->n_searches; i++) {
        aira__search *s = &run->searches[i];
        char reason[256];
        run->ledger.searches[i].seconds = seconds;
        if (!s->done && aira__budget_reached(&s->own, &run->ledger.searches[i], reason, sizeof reason))
            status = cut(run, s, reason, error);
    }
    return status;
}
