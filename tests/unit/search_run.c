/* tests/unit/search_run.c - whole runs with a worker that scores without training (tests/support/fake_worker.py):
 * order of arrival, crashes, NaN, garbage, budgets, and that the tree does not notice. */
#include "tests/support/fake_run.h"

TestSuite(run, .init = make_folder, .fini = remove_folder, .timeout = 120);

static aira_status add_node_text(void *context, const aira__journal_node *n, aira_error *error) {
    (void)error;
    char *text = context;
    size_t used = strlen(text);
    snprintf(text + used, 8192 - used, "%lld/%lld %s %lld %s %s %lld %.17g\n", (long long)n->search, (long long)n->idx,
             n->operator_name, (long long)n->parent, n->status, n->architecture ? n->architecture : "-",
             (long long)n->duplicate_of, n->search_score);
    return AIRA_OK;
}

static char *tree_text(const outcome *o) {
    char *text = calloc(1, 8192);
    cr_assert_eq(aira__journal_each_node(o->journal, -1, add_node_text, text, NULL), AIRA_OK);
    return text;
}

Test(run, order_of_arrival_does_not_matter) {
    static const char *const one[] = {"executor.workers=1", "searches.0.parallel=4"};
    static const char *const many[] = {"executor.workers=5", "searches.0.parallel=4"};
    static const char *const packed[] = {"executor.workers=2", "executor.batch=3", "searches.0.parallel=4"};
    outcome a = run_study("a", "", one, 2), b = run_study("b", "slow", many, 2), c = run_study("c", "slow", packed, 3);
    cr_assert_eq(a.status, AIRA_OK, "%s", a.error.text);
    cr_assert_eq(a.end, AIRA__RUN_DONE);
    char *trees[] = {tree_text(&a), tree_text(&b), tree_text(&c)};
    cr_assert_str_eq(trees[0], trees[1]);
    cr_assert_str_eq(trees[0], trees[2]);
    for (int i = 0; i < 3; i++) free(trees[i]);
    cr_assert_eq(count(&a, "SELECT count(*) FROM node_row"), 14,
                 "the budget is used up, leftovers of one_shot included");
    cr_assert_eq(count(&a, "SELECT count(*) FROM node_row WHERE status = 'pending'"), 0);
    cr_assert_eq(count(&a, "SELECT count(*) FROM node_row n JOIN node_row e ON e.search = n.search AND e.idx = "
                           "n.duplicate_of WHERE e.hash != n.hash OR e.search_score != n.search_score"),
                 0, "a duplicate has its original's score");
    cr_assert_eq(count(&a, "SELECT count(*) FROM evaluation WHERE purpose = 'search'"),
                 count(&a, "SELECT count(DISTINCT hash || '/' || seed) FROM node_row"),
                 "every candidate is trained once");
    cr_assert_eq(count(&a, "SELECT count(*) FROM evaluation WHERE purpose = 'confirm'"),
                 count(&a, "SELECT 2 * count(DISTINCT hash || '/' || seed) FROM node_row WHERE seeds = 3"),
                 "and contenders on two further seeds");
    release(&a);
    release(&b);
    release(&c);
}

Test(run, a_crash_fails_the_culprit_alone) {
    static const char *const packed[] = {"executor.workers=1", "executor.batch=4", "searches.0.parallel=4"};
    outcome o = run_study("crash", "crash", packed, 3);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    cr_assert_gt(count(&o, "SELECT count(*) FROM node WHERE architecture LIKE 'Mb%' OR architecture LIKE '_Mb%'"), 0,
                 "no candidate of this test crashes");
    cr_assert_eq(count(&o, "SELECT count(*) FROM node WHERE (architecture LIKE 'Mb%' OR architecture LIKE '_Mb%') AND "
                           "status != 'buggy'"),
                 0);
    cr_assert_eq(count(&o,
                       "SELECT count(*) FROM node WHERE NOT (architecture LIKE 'Mb%' OR architecture LIKE '_Mb%') AND "
                       "status != 'good'"),
                 0, "an innocent candidate failed");
    cr_assert_gt(count(&o, "SELECT count(*) FROM event WHERE kind = 'lease'"), 0);
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation WHERE status = 'failed' AND (cause != 'crash' OR error NOT "
                           "LIKE '%signal 9%' OR curve IS NULL)"),
                 0, "cause, sentence and the curve so far are kept");
    release(&o);
}

Test(run, nothing_valid) {
    outcome o = run_study("nan", "nan", NULL, 0);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    cr_assert_eq(o.end, AIRA__RUN_NOTHING);
    cr_assert(strstr(o.error.text, "none of 14 candidates was valid") && strstr(o.error.text, "not finite at step 1"),
              "%s", o.error.text);
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE status = 'buggy' AND cause = 'nan'"), 14);
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation WHERE curve LIKE '%2.5%'"),
                 count(&o, "SELECT count(*) FROM evaluation"), "the curve is kept");
    cr_assert(json_is_null(json_object_get(o.summary, "best")));
    char report[256];
    snprintf(report, sizeof report, "%s/report.html", o.dir);
    cr_assert(aira__file_exists(report));
    release(&o);
}

Test(run, a_garbled_result_is_a_failed_one) {
    outcome o = run_study("garble", "garble", NULL, 0);
    cr_assert_eq(o.end, AIRA__RUN_NOTHING);
    cr_assert_eq(count(&o, "SELECT count(*) FROM evaluation WHERE cause = 'crash'"),
                 count(&o, "SELECT count(*) FROM evaluation"));
    release(&o);
}

Test(run, budgets) {
    static const char *const evaluations[] = {"budget.evaluations=15"};
    static const char *const own[] = {"searches.0.budget.candidates=2"};
    static const char *const wall[] = {"budget.wall=1s", "executor.workers=1"};
    outcome o = run_study("evaluations", "", evaluations, 1);
    double used = count(&o, "SELECT count(*) FROM evaluation");
    cr_assert(used <= 15 && used >= 13, "%g evaluations of 15: a node is begun only where all its seeds fit", used);
    release(&o);
    o = run_study("own", "", own, 1);
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE search = 1"), 2);
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE search = 2"), 2);
    cr_assert_eq(count(&o, "SELECT count(*) FROM node_row WHERE search = 3"), 1);
    release(&o);
    o = run_study("wall", "slow", wall, 2);
    cr_assert_eq(o.status, AIRA_OK, "%s", o.error.text);
    cr_assert_lt(count(&o, "SELECT count(*) FROM node_row"), 14);
    cr_assert_eq(count(&o, "SELECT count(*) FROM event WHERE kind = 'budget' AND text LIKE '%wall time%'"), 1);
    cr_assert_eq(count(&o, "SELECT count(*) FROM study WHERE key = 'state' AND value IN ('stopped', 'failed')"), 1);
    release(&o);
}

Test(run, refuses_a_folder_that_is_there) {
    static const char *const few[] = {"budget.candidates=3"};
    outcome o = run_study("twice", "", few, 1);
    aira__registry *registry = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK);
    json_t *study = json_object();
    cr_assert_eq(aira__run_create(registry, study, o.dir, &error), AIRA_E_CONFIG);
    cr_assert(strstr(error.text, "exists already") && strstr(error.text, "aira resume"), "%s", error.text);
    json_decref(study);
    aira__registry_destroy(registry);
    release(&o);
}
