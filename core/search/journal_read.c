/* core/search/journal_read.c - rows back out of the journal. See journal.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/search/journal_internal.h"

/* The one text that a bound statement gives, malloc'ed, or NULL. */
static char *one_text(aira__journal *j, sqlite3_stmt *statement, aira_error *error) {
    char *copy = NULL;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *text = aira__journal_text(statement, 0);
        copy = strdup(text ? text : "");
        if (!copy) (void)aira__fail(error, AIRA_E_MEMORY, "out of memory");
    } else if (code != SQLITE_DONE) {
        (void)aira__journal_fail(j, error);
    }
    sqlite3_reset(statement);
    return copy;
}

char *aira__journal_get_study(aira__journal *j, const char *key, aira_error *error) {
    sqlite3_stmt *s = NULL;
    if (aira__journal_bind(j, &s, error, "SELECT value FROM study WHERE key = ?", "s", key) != AIRA_OK) return NULL;
    return one_text(j, s, error);
}

char *aira__journal_get_result(aira__journal *j, const char *kind, const char *name, aira_error *error) {
    sqlite3_stmt *s = NULL;
    if (aira__journal_bind(j, &s, error, "SELECT value FROM result WHERE kind = ? AND name = ?", "ss", kind, name) !=
        AIRA_OK)
        return NULL;
    return one_text(j, s, error);
}

char *aira__journal_get_text(aira__journal *j, const char *hash, aira_error *error) {
    sqlite3_stmt *s = NULL;
    if (aira__journal_bind(j, &s, error, "SELECT body FROM text WHERE hash = ?", "s", hash) != AIRA_OK) return NULL;
    return one_text(j, s, error);
}

char *aira__journal_get_candidate(aira__journal *j, const char *hash, aira_error *error) {
    sqlite3_stmt *s = NULL;
    if (aira__journal_bind(j, &s, error, "SELECT canonical FROM candidate WHERE hash = ?", "s", hash) != AIRA_OK)
        return NULL;
    return one_text(j, s, error);
}

static int64_t integer_or(sqlite3_stmt *s, int column, int64_t fallback) {
    return sqlite3_column_type(s, column) == SQLITE_NULL ? fallback : sqlite3_column_int64(s, column);
}

static double real_or(sqlite3_stmt *s, int column, double fallback) {
    return sqlite3_column_type(s, column) == SQLITE_NULL ? fallback : sqlite3_column_double(s, column);
}

/* Ends a reading: a callback's own failure, SQLite's, or none. */
static aira_status end_reading(aira__journal *j, sqlite3_stmt *s, aira_status told, int code, aira_error *error) {
    if (told == AIRA_OK && code != SQLITE_DONE) told = aira__journal_fail(j, error);
    sqlite3_reset(s);
    return told;
}

aira_status aira__journal_each_search(aira__journal *j, aira__journal_search_fn fn, void *context, aira_error *error) {
    sqlite3_stmt *s = NULL;
    aira_status status = aira__journal_bind(
        j, &s, error,
        "SELECT id, agent, scaffold, seed, task_hash, parallel, label, state, reason, origin FROM search ORDER BY id",
        "");
    if (status != AIRA_OK) return status;
    int code = SQLITE_DONE;
    while (status == AIRA_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        aira__journal_search row = {sqlite3_column_int64(s, 0), aira__journal_text(s, 1),
                                    aira__journal_text(s, 2),   (uint64_t)sqlite3_column_int64(s, 3),
                                    aira__journal_text(s, 4),   sqlite3_column_int64(s, 5),
                                    aira__journal_text(s, 6),   aira__journal_text(s, 7),
                                    aira__journal_text(s, 8),   aira__journal_text(s, 9)};
        status = fn(context, &row, error);
    }
    return end_reading(j, s, status, code, error);
}

aira_status aira__journal_each_node(aira__journal *j, int64_t search, aira__journal_node_fn fn, void *context,
                                    aira_error *error) {
    sqlite3_stmt *s = NULL;
    aira_status status = aira__journal_bind(
        j, &s, error,
        "SELECT n.search, n.idx, n.operator, n.parent, n.other_parent, n.seed, n.hash, c.architecture, n.duplicate_of, "
        "n.status, n.note, n.cause, n.search_score, n.selection_score, n.created, n.finished, n.view, n.seeds, "
        "n.spread, "
        "n.standing, n.plan, n.analysis FROM node_row n LEFT JOIN "
        "candidate c ON c.hash = n.hash WHERE ?1 IS NULL OR n.search = ?1 ORDER BY n.search, n.idx",
        "I", search);
    if (status != AIRA_OK) return status;
    int code = SQLITE_DONE;
    while (status == AIRA_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        aira__journal_node row = {.search = sqlite3_column_int64(s, 0),
                                  .idx = sqlite3_column_int64(s, 1),
                                  .operator_name = aira__journal_text(s, 2),
                                  .parent = integer_or(s, 3, -1),
                                  .other_parent = integer_or(s, 4, -1),
                                  .seed = (uint64_t)sqlite3_column_int64(s, 5),
                                  .hash = aira__journal_text(s, 6),
                                  .architecture = aira__journal_text(s, 7),
                                  .duplicate_of = integer_or(s, 8, -1),
                                  .status = aira__journal_text(s, 9),
                                  .note = aira__journal_text(s, 10),
                                  .cause = aira__journal_text(s, 11),
                                  .search_score = real_or(s, 12, NAN),
                                  .selection_score = real_or(s, 13, NAN),
                                  .created = real_or(s, 14, 0),
                                  .finished = real_or(s, 15, 0),
                                  .view = integer_or(s, 16, -1),
                                  .seeds = integer_or(s, 17, 0),
                                  .spread = real_or(s, 18, NAN),
                                  .standing = aira__journal_text(s, 19),
                                  .plan = aira__journal_text(s, 20),
                                  .analysis = aira__journal_text(s, 21)};
        status = fn(context, &row, error);
    }
    return end_reading(j, s, status, code, error);
}

#define CALL                                                                                                       \
    "SELECT search, idx, attempt, request_hash, prompt, answer, state, error, input_tokens, cached_tokens, "       \
    "output_tokens, reasoning_tokens, money_usd, started, seconds, operator, cache_write_tokens, tries, partial, " \
    "model, notes FROM call "
#define CALL_ORDER "ORDER BY search, idx, operator = 'analyse', attempt"

static aira_status each_call(aira__journal *j, sqlite3_stmt *s, aira__journal_call_fn fn, void *context,
                             aira_error *error) {
    aira_status status = AIRA_OK;
    int code = SQLITE_DONE;
    while (status == AIRA_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        aira__journal_call row = {.search = sqlite3_column_int64(s, 0),
                                  .idx = sqlite3_column_int64(s, 1),
                                  .attempt = sqlite3_column_int64(s, 2),
                                  .request_hash = aira__journal_text(s, 3),
                                  .prompt = aira__journal_text(s, 4),
                                  .answer = aira__journal_text(s, 5),
                                  .state = aira__journal_text(s, 6),
                                  .error = aira__journal_text(s, 7),
                                  .input_tokens = integer_or(s, 8, -1),
                                  .cached_tokens = integer_or(s, 9, -1),
                                  .output_tokens = integer_or(s, 10, -1),
                                  .reasoning_tokens = integer_or(s, 11, -1),
                                  .money_usd = real_or(s, 12, -1),
                                  .started = real_or(s, 13, 0),
                                  .seconds = real_or(s, 14, -1),
                                  .operator_name = aira__journal_text(s, 15),
                                  .cache_write_tokens = integer_or(s, 16, -1),
                                  .tries = integer_or(s, 17, 0),
                                  .partial = aira__journal_text(s, 18),
                                  .model = aira__journal_text(s, 19),
                                  .notes = aira__journal_text(s, 20)};
        status = fn(context, &row, error);
    }
    return end_reading(j, s, status, code, error);
}

aira_status aira__journal_each_call(aira__journal *j, int64_t search, aira__journal_call_fn fn, void *context,
                                    aira_error *error) {
    sqlite3_stmt *s = NULL;
    aira_status status = aira__journal_bind(j, &s, error, CALL "WHERE ?1 IS NULL OR search = ?1 " CALL_ORDER, "I",
                                            search);
    return status == AIRA_OK ? each_call(j, s, fn, context, error) : status;
}

aira_status aira__journal_calls_of(aira__journal *j, int64_t search, int64_t idx, aira__journal_call_fn fn,
                                   void *context, aira_error *error) {
    sqlite3_stmt *s = NULL;
    aira_status status = aira__journal_bind(j, &s, error, CALL "WHERE search = ? AND idx = ? " CALL_ORDER, "ii", search,
                                            idx);
    return status == AIRA_OK ? each_call(j, s, fn, context, error) : status;
}

#define EVALUATION                                                                                             \
    "SELECT hash, task_hash, seed, purpose, status, cause, error, search_score, selection_score, test_score, " \
    "metrics, curve, parameters, flops, seconds, hashes, search FROM evaluation "

static aira_status each_evaluation(aira__journal *j, sqlite3_stmt *s, aira__journal_evaluation_fn fn, void *context,
                                   aira_error *error) {
    aira_status status = AIRA_OK;
    int code = SQLITE_DONE;
    while (status == AIRA_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
        aira__journal_evaluation row = {.hash = aira__journal_text(s, 0),
                                        .task_hash = aira__journal_text(s, 1),
                                        .seed = (uint64_t)sqlite3_column_int64(s, 2),
                                        .purpose = aira__journal_text(s, 3),
                                        .status = aira__journal_text(s, 4),
                                        .cause = aira__journal_text(s, 5),
                                        .error = aira__journal_text(s, 6),
                                        .search_score = real_or(s, 7, NAN),
                                        .selection_score = real_or(s, 8, NAN),
                                        .test_score = real_or(s, 9, NAN),
                                        .metrics = aira__journal_text(s, 10),
                                        .curve = aira__journal_text(s, 11),
                                        .parameters = integer_or(s, 12, -1),
                                        .flops = real_or(s, 13, NAN),
                                        .seconds = real_or(s, 14, NAN),
                                        .hashes = aira__journal_text(s, 15),
                                        .search = integer_or(s, 16, 0)};
        status = fn(context, &row, error);
    }
    return end_reading(j, s, status, code, error);
}

aira_status aira__journal_each_evaluation(aira__journal *j, aira__journal_evaluation_fn fn, void *context,
                                          aira_error *error) {
    sqlite3_stmt *s = NULL;
    aira_status status = aira__journal_bind(j, &s, error, EVALUATION "ORDER BY id", "");
    return status == AIRA_OK ? each_evaluation(j, s, fn, context, error) : status;
}

aira_status aira__journal_find_evaluation(aira__journal *j, const char *hash, const char *task_hash, uint64_t seed,
                                          aira__journal_evaluation_fn fn, void *context, aira_error *error) {
    sqlite3_stmt *s = NULL;
    aira_status status = aira__journal_bind(
        j, &s, error, EVALUATION "WHERE hash = ? AND task_hash = ? AND seed = ? AND purpose = 'search'", "ssi", hash,
        task_hash, (int64_t)seed);
    return status == AIRA_OK ? each_evaluation(j, s, fn, context, error) : status;
}

double aira__journal_number(aira__journal *j, const char *sql, double fallback) {
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(j->db, sql, -1, &s, NULL) != SQLITE_OK) return fallback;
    double value = sqlite3_step(s) == SQLITE_ROW ? real_or(s, 0, fallback) : fallback;
    sqlite3_finalize(s);
    return value;
}
