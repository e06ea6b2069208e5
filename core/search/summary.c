/* core/search/summary.c - where a run stands, as the JSON of docs/contract.md 2. Reads the journal and nothing else,
 * so it serves a running study, a killed one and a complete one alike. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/ledger.h"
#include "core/search/lock.h"
#include "core/search/run.h"

/* {"architecture", "score", "node", "search"} of the best good node by that column, or null. */
static json_t *best_json(aira__journal *j, const char *column, bool higher) {
    char *sql = sqlite3_mprintf(
        "SELECT architecture, %s, idx, search FROM node WHERE status = 'good' AND %s IS NOT NULL "
        "ORDER BY %s %s, search, idx LIMIT 1",
        column, column, column, higher ? "DESC" : "ASC");
    sqlite3_stmt *s = NULL;
    json_t *best = json_null();
    if (sql && sqlite3_prepare_v2(aira__journal_db(j), sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        best = json_pack("{s:s?, s:f, s:I, s:I}", "architecture", (const char *)sqlite3_column_text(s, 0), "score",
                         sqlite3_column_double(s, 1), "node", (json_int_t)sqlite3_column_int64(s, 2), "search",
                         (json_int_t)sqlite3_column_int64(s, 3));
    sqlite3_finalize(s);
    sqlite3_free(sql);
    return best;
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
    state_of(j, dir, state, sizeof state);
    json_t *summary = json_pack(
        "{s:o, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "report",
        report && aira__file_exists(report) ? json_string(report) : json_null(), "run_dir", dir, "state", state,
        "nodes", (json_int_t)aira__journal_number(j, "SELECT count(*) FROM node_row", 0), "evaluations",
        (json_int_t)aira__journal_number(j, "SELECT count(*) FROM evaluation", 0), "best",
        best_json(j, "search_score", higher), "submitted", best_json(j, "selection_score", higher), "aggregated",
        results_json(j, "aggregate"), "extrapolated", results_json(j, "extrapolate"), "budget",
        aira__run_budget(j, study, error));
    free(report);
    json_decref(study);
    if (!summary) (void)aira__fail(error, AIRA_E_MEMORY, "out of memory");
    return summary;
}
