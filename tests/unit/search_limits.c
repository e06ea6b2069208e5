/* tests/unit/search_limits.c - who is next, what is spent and by whom, and what limits do; most of it with whole runs
 * whose worker scores without training. */
#include "tests/support/fake_run.h"

#include <math.h>

#include "core/search/queue_internal.h"

TestSuite(limits, .init = make_folder, .fini = remove_folder, .timeout = 120);

/* ---- whose turn it is ---- */

static int take_next(aira__queue *q, const int *ahead) {
    int next = aira__lanes_next(q, ahead);
    if (next >= 0) aira__lanes_take(q, next);
    return next;
}

Test(limits, least_used_search_first_and_logical_order_within) {
    aira__usage usage[3] = {{.device_seconds = 10}, {.device_seconds = 2}, {.device_seconds = 2}};
    aira__ledger ledger = {.study = {.device_seconds = 14, .trainings = 14}, .searches = usage, .n = 3};
    aira__lane lanes[4] = {{0}};
    /* search, order: mixed on purpose */
    static const struct {
        int64_t search;
        uint64_t order;
    } wants[] = {{1, 5}, {2, 9}, {1, 4}, {3, 7}, {2, 3}, {2, 6}, {3, 8}};
    aira__item items[7];
    memset(items, 0, sizeof items);
    aira__queue q = {.o = {.ledger = &ledger}, .items = items, .n_items = 7, .lanes = lanes, .n_lanes = 4};
    int ahead[4] = {0};
    for (int i = 0; i < 7; i++) {
        items[i].search = wants[i].search;
        items[i].order = wants[i].order;
        cr_assert(aira__lanes_put(&q, i));
    }
    /* Of 2 and 3, equally used, the smaller number; in it the smallest order. One that was chosen counts as the mean.
     */
    static const int expected[] = {4, 3, 5, 6, 1, 2, 0};
    for (int i = 0; i < 7; i++) {
        int next = take_next(&q, ahead);
        cr_assert_eq(next, expected[i], "turn %d: %d instead of %d", i, next, expected[i]);
        ahead[items[next].search]++;
    }
    cr_assert_eq(take_next(&q, ahead), -1);
    cr_assert_eq(q.n_waiting, 0);
    for (int i = 0; i < 4; i++) free(lanes[i].items);
}

/* ---- accounts ---- */

static double used(const json_t *account, const char *key) {
    return json_number_value(json_object_get(json_object_get(account, key), "used"));
}

Test(limits, accounts_add_up_and_are_what_the_journal_says) {
    /* Two searches with one seed share evaluations: the one that wanted first pays. */
    static const char *const shared[] = {
        "searches=[{agent: {use: mutate}, scaffold: {use: greedy}, seeds: [1], parallel: 2, label: a}, {agent: {use: "
        "mutate}, scaffold: {use: greedy, drafts: 3}, seeds: [1], label: b}]",
        "aggregate=[{use: n0}]", "budget.candidates=20", "final.seeds=2", "executor.batch=4"};
    outcome o = run_study("shared", "", shared, 5);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    const json_t *budget = json_object_get(o.summary, "budget"), *searches = json_object_get(budget, "searches");
    double evaluations = 0, candidates = 0, seconds = 0;
    cr_assert_eq(json_array_size(searches), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *one = json_array_get(searches, i);
        evaluations += used(one, "evaluations");
        candidates += used(one, "candidates");
        seconds += json_number_value(json_object_get(one, "device_seconds"));
        cr_assert_gt(used(one, "evaluations"), 0);
    }
    double all = count(&o, "SELECT count(*) FROM evaluation"),
           final = count(&o, "SELECT count(*) FROM evaluation WHERE purpose = 'final'");
    cr_assert_gt(final, 0);
    cr_assert_eq(evaluations, used(budget, "evaluations"));
    cr_assert_eq(evaluations, all - final, "final scoring is on nobody's account");
    cr_assert_eq(candidates, 20);
    cr_assert_float_eq(seconds, 0.5 * (all - final), 1e-9);
    cr_assert_float_eq(json_number_value(json_object_get(budget, "device_seconds")), 0.5 * all, 1e-9);
    cr_assert_eq(json_integer_value(json_object_get(o.summary, "evaluations")), all);
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation WHERE purpose != 'final' AND search IS NULL"), 0);
    cr_assert_eq(count(&o, "SELECT count(*) FROM study WHERE key = 'usage' AND value LIKE '%device_seconds%'"), 1);
    release(&o);
}

/* ---- limits ---- */

Test(limits, a_search_that_spends_its_own_stops_alone) {
    static const char *const own[] = {"searches.0.budget.device_seconds=3", "budget.candidates=18"};
    outcome o = run_study("own", "", own, 2);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    for (int search = 1; search <= 2; search++) { /* seeds 1 and 2 of the first entry */
        char sql[200];
        snprintf(
            sql, sizeof sql,
            "SELECT count(*) FROM event WHERE kind = 'budget' AND search = %d AND text LIKE '%%device seconds%%3%%'",
            search);
        cr_assert_eq(count(&o, sql), 1);
        snprintf(sql, sizeof sql, "SELECT sum(seconds) FROM evaluation WHERE search = %d", search);
        double spent = count(&o, sql);
        cr_assert(spent >= 3 && spent <= 3 + 0.5 * 2 + 0.5 * 4, "search %d spent %g", search, spent);
    }
    cr_assert_eq(count(&o, "SELECT count(*) FROM search WHERE state = 'stopped' AND id <= 2"), 2);
    cr_assert_eq(count(&o, "SELECT count(*) FROM search WHERE state = 'done' AND id = 3"), 1);
    cr_assert_eq(count(&o, "SELECT count(*) FROM study WHERE key = 'state' AND value = 'done'"), 1);
    double nodes = count(&o, "SELECT count(*) FROM node_row");
    char dir[128];
    strcpy(dir, o.dir);
    release(&o);
    /* Resumed, they stay as they are. */
    aira__registry *registry = NULL;
    aira_error error = {0};
    aira__run_end end;
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK);
    aira__run_options options = {
        .registry = registry, .worker = source_file("tests/support/fake_worker.py"), .quiet = true};
    json_t *summary = NULL;
    cr_assert_eq(aira__run_execute(dir, &options, &end, &summary, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(json_integer_value(json_object_get(summary, "nodes")), nodes);
    json_decref(summary);
    aira__registry_destroy(registry);
}

Test(limits, the_study_ends_after_what_is_under_way) {
    static const char *const flops[] = {"budget.flops=1000", "budget.candidates=40", "executor.workers=3"};
    outcome o = run_study("flops", "slow", flops, 3);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    double evaluations = count(&o, "SELECT count(*) FROM evaluation");
    /* Nothing starts from 1,000 FLOPs on; before, at most 9 had ended and 3 were under way. */
    cr_assert(evaluations >= 10 && evaluations <= 12, "%g evaluations of 100 FLOPs each", evaluations);
    cr_assert_eq(
        count(&o, "SELECT count(*) FROM event WHERE kind = 'budget' AND search IS NULL AND text LIKE '%FLOPs%'"), 1);
    cr_assert_eq(count(&o, "SELECT count(*) FROM study WHERE key = 'state' AND value = 'stopped'"), 1);
    release(&o);
}

Test(limits, a_training_that_is_too_dear_is_said_as_soon_as_it_is_known) {
    static const char *const dear[] = {"budget.device_seconds=1"};
    outcome o = run_study("dear", "", dear, 1);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    cr_assert_eq(count(&o,
                       "SELECT count(*) FROM event WHERE kind = 'budget' AND text LIKE 'a first candidate needs 1.5 of "
                       "device seconds (measured), more than the study''s 1:%'"),
                 1, "three seeds of half a second");
    release(&o);
}

Test(limits, a_stalled_agent_idles_nobody) {
    static const char *const stalled[] = {
        "searches=[{agent: {use: command, command: [sleep, '60']}, scaffold: {use: greedy}, seeds: [1], parallel: 3, "
        "label: stalled}, {agent: {use: mutate}, scaffold: {use: greedy}, seeds: [2], label: quick}]",
        "aggregate=[{use: n0}]",
        "budget.candidates=16",
        "budget.wall=12s",
        "executor.batch=4",
        "final.seeds=0"};
    outcome o = run_study("stalled", "", stalled, 6);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE search = 2 AND status != 'pending'"), 8,
                 "the quick search has all of its share");
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE search = 1 AND status != 'pending'"), 0);
    release(&o);
}

Test(limits, a_hundred_searches) {
    char seeds[1024] = "searches.0.seeds=[";
    for (int i = 1; i <= 110; i++)
        snprintf(seeds + strlen(seeds), sizeof seeds - strlen(seeds), i > 1 ? ", %d" : "%d", i);
    strcat(seeds, "]");
    const char *many[] = {seeds, "budget.candidates=333", "executor.batch=50", "aggregate=[{use: n0}]"};
    outcome o = run_study("many", "", many, 4);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE status != 'pending'"), 333);
    cr_assert_eq(count(&o, "SELECT count(*) FROM search WHERE state = 'done'"), 111);
    release(&o);
}

/* ---- budgets that cannot be met ---- */

static void refused(const char *const *overrides, int n, const char *sentence) {
    aira__registry *registry = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK);
    aira__diagnostics *d = aira__diagnostics_create();
    json_t *study = aira__study_load(registry, source_file("tests/cli/studies/tiny.yaml"), overrides, n, NULL, true, d);
    cr_assert_null(study, "%s is accepted", overrides[0]);
    cr_assert(strstr(aira__diagnostics_text(d), sentence), "%s", aira__diagnostics_text(d));
    aira__diagnostics_destroy(d);
    aira__registry_destroy(registry);
}

Test(limits, what_cannot_be_met_is_said_before) {
    refused((const char *[]){"budget.candidates=0"}, 1, "must be at least 1");
    refused((const char *[]){"budget.candidates=2"}, 1, "leaves nothing for some of 3 searches");
    refused((const char *[]){"budget.evaluations=8"}, 1, "give at least 9");
    refused((const char *[]){"searches.0.budget.evaluations=2"}, 1, "trained on 3 seeds");
    refused((const char *[]){"budget.wall=0s"}, 1, "above 0");
    refused((const char *[]){"confirm.seeds=0"}, 1, "seeds");
    refused((const char *[]){"confirm.alpha=0"}, 1, "above 0, at most 0.5");
    refused((const char *[]){"final.of=best"}, 1, "`winner`");
    refused((const char *[]){"final.baselines=[llama]"}, 1, "no baseline `llama`");
    refused((const char *[]){"baselines={llama: mA M}"}, 1, "has 2 layers, the task asks for 3");
    refused((const char *[]){"baselines={llama: mA 2X}"}, 1, "X");
}

/* ---- the final scoring ---- */

Test(limits, final_scoring_of_submissions_over_baselines) {
    static const char *const final[] = {"final.seeds=3", "final.of=submissions", "baselines={good: 2M mA, bad: 2mA Mb}",
                                        "executor.batch=8"};
    outcome o = run_study("final", "", final, 4);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    const json_t *result = json_object_get(o.summary, "final"), *one;
    size_t i;
    int gains = 0;
    cr_assert_eq(json_array_size(json_object_get(result, "test")), 3 + 2);
    json_array_foreach(json_object_get(result, "gain"), i, one) {
        /* The worker's test score is the share of M less 0.1, for every seed: no spread. */
        cr_assert_float_eq(json_number_value(json_object_get(one, "level")), 1 - 0.05 / 6, 1e-12);
        gains++;
    }
    cr_assert_eq(gains, 6, "three submissions over two baselines");
    json_array_foreach(json_object_get(result, "test"), i, one) {
        if (strcmp(aira__json_string(one, "name", ""), "good") != 0) continue;
        cr_assert_float_eq(aira__json_real(json_object_get(one, "test"), "mean", 0), 2.0 / 3 - 0.1, 1e-12);
        cr_assert(json_is_null(json_object_get(one, "searched")));
    }
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation WHERE purpose = 'final' AND test_score IS NULL"), 0);
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation WHERE purpose != 'final' AND test_score IS NOT NULL"), 0);
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation f JOIN evaluation s ON s.seed = f.seed WHERE f.purpose = "
                           "'final' AND s.purpose != 'final'"),
                 0, "fresh seeds");
    cr_assert_eq(count(&o, "SELECT count(*) FROM event WHERE kind = 'test_opened'"), 1);
    release(&o);
}

Test(limits, first_nodes_beside_baselines) {
    static const char *const final[] = {"final.seeds=2", "final.of=submissions", "final.first=true",
                                        "baselines={good: 2M mA}", "executor.batch=8"};
    outcome o = run_study("first", "", final, 5);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    const json_t *result = json_object_get(o.summary, "final");
    cr_assert_eq(json_array_size(json_object_get(result, "test")), 3 + 3 + 1);
    cr_assert_eq(json_array_size(json_object_get(result, "gain")), 3 + 3,
                 "each over its own first node and the baseline");
    release(&o);
}
