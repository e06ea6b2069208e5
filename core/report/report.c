/* core/report/report.c - reads a run once, writes its four files; see report.h. */
#include <stdlib.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/report/internal.h"
#include "core/search/journal.h"

static aira_status put(const char *run_dir, const char *name, aira__buf *b, aira_error *error) {
    char *path = aira__path_join(run_dir, name);
    aira_status status = path && !b->failed ? aira__file_write_atomic(path, b->data ? b->data : "", b->size, error)
                                            : aira__fail(error, AIRA_E_MEMORY, "out of memory while writing %s", name);
    free(path);
    aira__buf_free(b);
    return status;
}

static aira_status write_files(report_data *d, aira_error *error) {
    aira__buf b = {0};
    json_t *facts = report_facts(d);
    if (!facts || !report_html(d, facts, &b)) b.failed = true;
    aira_status status = put(d->run_dir, "report.html", &b, error);
    if (!status) {
        report_nodes_csv(d, &b);
        status = put(d->run_dir, "nodes.csv", &b, error);
    }
    if (!status) status = report_calls_csv(d, &b, error);
    if (!status) status = put(d->run_dir, "calls.csv", &b, error);
    if (!status) {
        char *text = json_dumps(facts, JSON_INDENT(1) | JSON_REAL_PRECISION(10));
        if (!text || !aira__buf_text(&b, text) || !aira__buf_text(&b, "\n")) b.failed = true;
        free(text);
        status = put(d->run_dir, "report.json", &b, error);
    }
    aira__buf_free(&b);
    json_decref(facts);
    return status;
}

aira_status aira__report_write_db(sqlite3 *db, const char *run_dir, aira_error *error) {
    report_data d;
    /* One transaction, so that a report of a running study is of one instant. */
    bool began = sqlite3_get_autocommit(db) && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    aira_status status = report_read(db, run_dir, &d, error);
    if (!status) status = write_files(&d, error);
    report_release(&d);
    if (began && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK && !status)
        status = aira__fail(error, AIRA_E_IO, "%s/journal.db: %s", run_dir, sqlite3_errmsg(db));
    return status;
}

aira_status aira__report_write(const char *run_dir, aira_error *error) {
    char *path = aira__path_join(run_dir, "journal.db");
    if (!path) return aira__fail(error, AIRA_E_MEMORY, "out of memory while reporting");
    aira__journal *journal = NULL;
    const aira__journal_options options = {.read_only = true};
    aira_status status = aira__journal_open(path, &options, &journal, error);
    free(path);
    if (status) return status;
    status = aira__report_write_db(aira__journal_db(journal), run_dir, error);
    aira__journal_close(journal);
    return status;
}
