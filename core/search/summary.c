/* core/search/summary.c - where a run stands, as the JSON of docs/contract.md 2. Reads the journal and nothing else,
 * so it serves a running study, a killed one and a complete one alike. */
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/ledger.h"
#include "core/search/lock.h"
#include "core/search/run.h"
#include "core/search/standing.h"
#include "core/search/student.h"

/* The selection scores of a node's trainings, in the order of its seeds; how many there are. */
static int selection_scores(aira__journal *j, const char *hash, uint64_t seed, int seeds, double *scores) {
    const char *sql = "SELECT selection_score FROM evaluation WHERE hash = ? AND seed = ? AND purpose = ? AND status = "
                      "'ok' AND task_hash = (SELECT value FROM study WHERE key = 'task_hash')";
    sqlite3_stmt *s = NULL;
    int n = 0;
    if (sqlite3_prepare_v2(aira__journal_db(j), sql, -1, &s, NULL) != SQLITE_OK) return 0;
    for (int k = 0; k < seeds && k < AIRA__MAX_SEEDS; k++) {
        sqlite3_reset(s);
        sqlite3_bind_text(s, 1, hash, -1, SQLITE_STATIC);
        sqlite3_bind_int64(s, 2, (int64_t)aira__confirm_seed(seed, (uint32_t)k));
        sqlite3_bind_text(s, 3, k ? "confirm" : "search", -1, SQLITE_STATIC);
        if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_type(s, 0) != SQLITE_NULL)
            scores[n++] = sqlite3_column_double(s, 0);
    }
    sqlite3_finalize(s);
    return n;
}

/* "best" and "submitted" of docs/contract.md 2, from the row of best_json. */
static json_t *node_json(aira__journal *j, sqlite3_stmt *s, bool selection) {
    double score = sqlite3_column_double(s, 1), scores[AIRA__MAX_SEEDS], margin = NAN;
    double spread = sqlite3_column_type(s, 5) == SQLITE_NULL ? NAN : sqlite3_column_double(s, 5);
    int seeds = sqlite3_column_int(s, 4);
    if (selection) {
        int n = selection_scores(j, (const char *)sqlite3_column_text(s, 7), (uint64_t)sqlite3_column_int64(s, 8),
                                 seeds, scores);
        spread = n == seeds ? aira__spread(scores, n) : NAN;
    }
    if (seeds > 1 && !isnan(spread)) margin = aira__student_quantile(0.025, seeds - 1) * spread / sqrt(seeds);
    return json_pack(
        "{s:s?, s:f, s:I, s:I, s:s?, s:i, s:o, s:o}", "architecture", (const char *)sqlite3_column_text(s, 0), "score",
        score, "node", (json_int_t)sqlite3_column_int64(s, 2), "search", (json_int_t)sqlite3_column_int64(s, 3),
        "standing", (const char *)sqlite3_column_text(s, 6), "seeds", seeds, "spread", aira__json_number(spread),
        "interval", isnan(margin) ? json_null() : json_pack("[f, f]", score - margin, score + margin));
}

/* The best good node by search score, or by selection score among those with all seeds; null where there is none. */
static json_t *best_json(aira__journal *j, bool selection, bool higher, int64_t all_seeds) {
    const char *column = selection ? "selection_score" : "search_score";
    char *sql = sqlite3_mprintf(
        "SELECT c.architecture, n.%s, n.idx, n.search, ifnull(n.seeds, 1), n.spread, n.standing, n.hash, n.seed FROM "
        "node_row n LEFT JOIN candidate c ON c.hash = n.hash WHERE n.status = 'good' AND n.%s IS NOT NULL AND "
        "ifnull(n.seeds, 1) >= %lld ORDER BY n.%s %s, n.search, n.idx LIMIT 1",
        column, column, selection ? (long long)all_seeds : 1LL, column, higher ? "DESC" : "ASC");
    sqlite3_stmt *s = NULL;
    json_t *best = NULL;
    if (sql && sqlite3_prepare_v2(aira__journal_db(j), sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        best = node_json(j, s, selection);
    sqlite3_finalize(s);
    sqlite3_free(sql);
    return best ? best : json_null();
}

/* What the final scoring has shown, or null. */
static json_t *final_json(aira__journal *j) {
    char *text = aira__journal_get_result(j, "final", "summary", NULL);
    json_t *value = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return value ? value : json_null();
}

/* The values of one kind of result, in the order they were made. */
static json_t *results_json(aira__journal *j, const char *kind) {
    json_t *list = json_array();
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(aira__journal_db(j), "SELECT value FROM result WHERE kind = ? ORDER BY rowid", -1, &s,
                           NULL) == SQLITE_OK &&
        sqlite3_bind_text(s, 1, kind, -1, SQLITE_STATIC) == SQLITE_OK)
        while (sqlite3_step(s) == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(s, 0);
            json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
            if (value && !strcmp(kind, "aggregate")) json_object_del(value, "notes"); /* `aira aggregate` shows them */
            if (value) json_array_append_new(list, value);
        }
    sqlite3_finalize(s);
    return list;
}

/* How many nodes failed, by cause: {"compile": 3}, the most frequent one first. */
static json_t *failed_json(aira__journal *j) {
    json_t *causes = json_object();
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(aira__journal_db(j),
                           "SELECT ifnull(cause, 'unknown'), count(*) FROM node_row WHERE status = 'buggy' GROUP BY 1 "
                           "ORDER BY 2 DESC, 1",
                           -1, &s, NULL) == SQLITE_OK)
        while (sqlite3_step(s) == SQLITE_ROW)
            json_object_set_new(causes, (const char *)sqlite3_column_text(s, 0),
                                json_integer(sqlite3_column_int64(s, 1)));
    sqlite3_finalize(s);
    return causes;
}

/* One element of budget.searches. */
static json_t *search_usage(const json_t *search, const aira__usage *usage, int64_t id, const char *state) {
    aira__budget budget;
    aira__budget_from_json(json_object_get(search, "budget"), &budget);
    json_t *one = aira__usage_json(usage, &budget);
    if (one && (json_object_set_new(one, "search", json_integer(id)) ||
                json_object_set_new(one, "label", json_string(aira__json_string(search, "label", ""))) ||
                json_object_set_new(one, "state", json_string(state)))) {
        json_decref(one);
        return NULL;
    }
    return one;
}

typedef struct budget_reading {
    const json_t *searches;
    aira__ledger ledger;
    json_t *list;
} budget_reading;

static aira_status add_search(void *context, const aira__journal_search *row, aira_error *error) {
    budget_reading *r = context;
    if (row->id < 1 || row->id > r->ledger.n) return AIRA_OK;
    aira__usage *usage = &r->ledger.searches[row->id - 1];
    usage->seconds = r->ledger.study.seconds;
    json_t *one = search_usage(json_array_get(r->searches, (size_t)row->id - 1), usage, row->id, row->state);
    return one && !json_array_append_new(r->list, one) ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
}

json_t *aira__run_budget(aira__journal *j, const json_t *study, aira_error *error) {
    budget_reading r = {.searches = json_object_get(study, "searches"), .list = json_array()};
    char *seconds = aira__journal_get_study(j, "seconds", NULL);
    aira__budget budget;
    json_t *whole = NULL;
    aira__budget_from_json(json_object_get(study, "budget"), &budget);
    aira_status status = aira__ledger_open(j, (int)json_array_size(r.searches), &r.ledger, error);
    r.ledger.study.seconds = seconds ? strtod(seconds, NULL) : 0;
    if (status == AIRA_OK) status = aira__journal_each_search(j, add_search, &r, error);
    if (status == AIRA_OK) whole = aira__usage_json(&r.ledger.study, &budget);
    if (whole && json_object_set(whole, "searches", r.list)) {
        json_decref(whole);
        whole = NULL;
    }
    json_decref(r.list);
    aira__ledger_close(&r.ledger);
    free(seconds);
    return whole;
}

/* The journal's state, corrected by whether anybody is at work. */
static void state_of(aira__journal *j, const char *dir, char *state, size_t size) {
    char *written = aira__journal_get_study(j, "state", NULL), *holder = aira__lock_holder(dir);
    const char *text = written ? written : "unknown";
    if (!strcmp(text, "running") && !holder) text = "interrupted";
    snprintf(state, size, "%s", text);
    free(written);
    free(holder);
}

json_t *aira__run_summary(aira__journal *j, const char *dir, aira_error *error) {
    char *config = aira__journal_get_study(j, "config", error), state[32];
    json_t *study = config ? aira__json_parse(config, strlen(config), "the journal's study", error) : NULL;
    free(config);
    if (!study) {
        (void)aira__fail(error, AIRA_E_CORRUPT, "%s: the journal holds no study", dir);
        return NULL;
    }
    bool higher = json_is_true(json_object_get(study, "higher_is_better"));
    char *report = aira__path_join(dir, "report.html");
    int64_t seeds = aira__json_int(json_object_get(study, "confirm"), "seeds", 1);
    state_of(j, dir, state, sizeof state);
    json_t *summary = json_pack(
        "{s:o, s:s, s:s, s:I, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "report",
        report && aira__file_exists(report) ? json_string(report) : json_null(), "run_dir", dir, "state", state,
        "nodes", (json_int_t)aira__journal_number(j, "SELECT count(*) FROM node_row", 0), "failed", failed_json(j),
        "evaluations", (json_int_t)aira__journal_number(j, "SELECT count(*) FROM evaluation", 0), "best",
        best_json(j, false, higher, seeds), "submitted", best_json(j, true, higher, seeds), "final", final_json(j),
        "aggregated", results_json(j, "aggregate"), "extrapolated", results_json(j, "extrapolate"), "budget",
        aira__run_budget(j, study, error));
    free(report);
    json_decref(study);
    if (!summary) (void)aira__fail(error, AIRA_E_MEMORY, "out of memory");
    return summary;
}
