/* core/report/query.c - rows of the journal, with their texts cleaned; see internal.h. */
#include <math.h>
#include <stdlib.h>

#include "core/report/internal.h"

aira_status report_query_open(report_data *d, const char *sql, report_query *q, aira_error *error) {
    *q = (report_query){.d = d, .step = SQLITE_DONE};
    if (sqlite3_prepare_v2(d->db, sql, -1, &q->statement, NULL) == SQLITE_OK) return AIRA_OK;
    return aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db cannot be read: %s", d->run_dir, sqlite3_errmsg(d->db));
}

bool report_query_next(report_query *q) { return !q->memory && (q->step = sqlite3_step(q->statement)) == SQLITE_ROW; }

aira_status report_query_close(report_query *q, aira_error *error) {
    aira_status status = AIRA_OK;
    if (q->memory)
        status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reading %s/journal.db", q->d->run_dir);
    else if (q->step != SQLITE_DONE)
        status = aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db cannot be read: %s", q->d->run_dir,
                            sqlite3_errmsg(q->d->db));
    sqlite3_finalize(q->statement);
    return status;
}

const char *report_query_text(report_query *q, int column) {
    if (sqlite3_column_type(q->statement, column) == SQLITE_NULL) return "";
    const char *kept = report_keep(q->d, (const char *)sqlite3_column_text(q->statement, column));
    if (!kept) q->memory = true;
    return kept ? kept : "";
}

int64_t report_query_int(report_query *q, int column, int64_t otherwise) {
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL ? otherwise
                                                                    : sqlite3_column_int64(q->statement, column);
}

double report_query_real(report_query *q, int column) {
    double value = sqlite3_column_double(q->statement, column);
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL || !isfinite(value) ? NAN : value;
}

bool report_grow(void *array, int n, size_t element) {
    if (n & (n - 1)) return true;
    void **at = array, *bigger = realloc(*at, (n ? 2 * (size_t)n : 1) * element);
    if (bigger) *at = bigger;
    return bigger != NULL;
}
