/* core/search/gain.c - what the final scoring shows: scores on fresh seeds, and gains over references with intervals.
 *
 * A gain is the mean of paired differences, seed by seed. Its interval is Student's at a level of 1 - 0.05 / gains, so
 * that all of a study's intervals hold together with 95 %. It covers what another seed would change (initial weights,
 * order of the data), given the rows of the test split.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/search/run_internal.h"
#include "core/search/student.h"

#define LEVEL 0.95

typedef struct scored { /* one entry on all fresh seeds */
    const json_t *entry;
    const char *role, *name, *hash, *error; /* error NULL: all trainings succeeded */
    double selection[AIRA__MAX_SEEDS], test[AIRA__MAX_SEEDS];
} scored;

static json_t *interval_json(double mean, double margin) {
    return isnan(mean) || isnan(margin) ? json_null() : json_pack("[f, f]", mean - margin, mean + margin);
}

static json_t *score_json(const scored *s, const double *values, int n) {
    double mean = s->error ? NAN : aira__mean(values, n), margin = s->error ? NAN : aira__mean_margin(values, n, LEVEL);
    return json_pack("{s:o, s:o, s:o}", "mean", aira__json_number(mean), "spread",
                     aira__json_number(s->error ? NAN : aira__spread(values, n)), "interval",
                     interval_json(mean, margin));
}

static json_t *member(const json_t *object, const char *key) {
    json_t *value = json_object_get(object, key);
    return value ? json_incref(value) : json_null();
}

static json_t *test_json(const scored *s, const json_t *seeds) {
    int n = (int)json_array_size(seeds);
    json_t *scores = json_array();
    for (int k = 0; k < n; k++)
        json_array_append_new(scores, json_pack("[O, o, o]", json_array_get(seeds, (size_t)k),
                                                aira__json_number(s->selection[k]), aira__json_number(s->test[k])));
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o}", "role", s->role, "name", s->name,
                     "architecture", member(s->entry, "architecture"), "search", member(s->entry, "search"), "node",
                     member(s->entry, "node"), "searched", member(s->entry, "searched"), "selection",
                     score_json(s, s->selection, n), "test", score_json(s, s->test, n), "seeds", n, "scores", scores,
                     "error", s->error ? json_string(s->error) : json_null());
}

static double searched(const scored *s) {
    return aira__json_real(json_object_get(s->entry, "searched"), "selection", NAN);
}

static json_t *gain_json(const scored *of, const scored *over, int n, bool higher, double level) {
    double sign = higher ? 1 : -1, difference[AIRA__MAX_SEEDS], mean = NAN, margin = NAN;
    bool same = !strcmp(of->hash, over->hash);
    for (int k = 0; k < n; k++) difference[k] = sign * (of->test[k] - over->test[k]);
    if (!of->error && !over->error) {
        mean = aira__mean(difference, n);
        margin = aira__mean_margin(difference, n, level);
        /* Differences without any spread are too coarse to show noise; only of one and the same they are certain. */
        if (margin == 0) margin = same ? 0 : NAN;
    }
    if (same && !of->error) mean = margin = 0;
    bool known = !isnan(mean) && !isnan(margin);
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:f, s:o, s:i}", "of", of->name, "over", over->name, "searched",
                     aira__json_number(sign * (searched(of) - searched(over))), "gain", aira__json_number(mean),
                     "interval", interval_json(mean, margin), "level", level, "covers_zero",
                     known ? json_boolean(mean - margin <= 0 && mean + margin >= 0) : json_null(), "seeds", n);
}

static bool is_chosen(const scored *s) { return !strcmp(s->role, "winner") || !strcmp(s->role, "submission"); }

/* Baselines are compared with every chosen one, a search's first node with that search's. */
static bool compared(const scored *of, const scored *over) {
    if (!is_chosen(of) || is_chosen(over)) return false;
    return !strcmp(over->role, "baseline") ||
           aira__json_int(of->entry, "search", -1) == aira__json_int(over->entry, "search", -2);
}

static void take_scores(const aira__queue *queue, const json_t *seeds, scored *s) {
    for (size_t k = 0; k < json_array_size(seeds); k++) {
        aira__result r = {.error = "it was not trained", .test_score = NAN, .selection_score = NAN};
        (void)aira__queue_find(queue, s->hash, (uint64_t)json_integer_value(json_array_get(seeds, k)), AIRA__FOR_FINAL,
                               &r);
        s->selection[k] = r.ok ? r.selection_score : NAN;
        s->test[k] = r.ok ? r.test_score : NAN;
        if (!r.ok && !s->error) s->error = r.error;
    }
}

json_t *aira__final_summary(const aira__queue *queue, const json_t *plan, bool higher, aira_error *error) {
    const json_t *entries = json_object_get(plan, "entries"), *seeds = json_object_get(plan, "seeds");
    size_t n = json_array_size(entries), n_gains = 0;
    scored *all = calloc(n + 1, sizeof *all);
    json_t *tests = json_array(), *gains = json_array(), *summary = NULL;
    for (size_t i = 0; all && i < n; i++) {
        const json_t *e = json_array_get(entries, i);
        all[i] = (scored){.entry = e,
                          .role = aira__json_string(e, "role", ""),
                          .name = aira__json_string(e, "name", ""),
                          .hash = aira__json_string(e, "hash", "")};
        take_scores(queue, seeds, &all[i]);
        json_array_append_new(tests, test_json(&all[i], seeds));
    }
    for (size_t i = 0; all && i < n; i++)
        for (size_t k = 0; k < n; k++) n_gains += compared(&all[i], &all[k]);
    for (size_t i = 0; all && i < n; i++)
        for (size_t k = 0; k < n; k++)
            if (compared(&all[i], &all[k]))
                json_array_append_new(gains, gain_json(&all[i], &all[k], (int)json_array_size(seeds), higher,
                                                       1 - (1 - LEVEL) / (double)n_gains));
    if (all)
        summary = json_pack("{s:o, s:o, s:o, s:O, s:O}", "seeds", member(plan, "seeds"), "of", member(plan, "of"),
                            "opened", member(plan, "opened"), "test", tests, "gain", gains);
    if (!summary) (void)aira__fail(error, AIRA_E_MEMORY, "out of memory");
    json_decref(tests);
    json_decref(gains);
    free(all);
    return summary;
}
