/* core/search/salvage.c - see salvage.h. */
#include "core/search/salvage.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/search/journal.h"
#include "core/search/lock.h"

static const char *const tables[] = {"study", "search",     "candidate", "node_row", "text",
                                     "call",  "evaluation", "event",     "result"};
#define N_TABLES ((int)(sizeof tables / sizeof tables[0]))

typedef struct salvage {
    sqlite3 *from, *to;
    int64_t rows[N_TABLES], dropped[N_TABLES]; /* copied; left out because their hash is another one */
    bool damaged[N_TABLES];                    /* reading met an error */
} salvage;

/* The columns that both journals have, "a, b, c", malloc'ed by SQLite; *n of them, 0 where nothing can be read. */
static char *common_columns(const salvage *s, const char *table, int *n) {
    sqlite3_str *list = sqlite3_str_new(s->to);
    sqlite3_stmt *wanted = NULL, *had = NULL;
    *n = 0;
    if (sqlite3_prepare_v2(s->to, "SELECT name FROM pragma_table_info(?)", -1, &wanted, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(s->from, "SELECT 1 FROM pragma_table_info(?) WHERE name = ?", -1, &had, NULL) == SQLITE_OK) {
        sqlite3_bind_text(wanted, 1, table, -1, SQLITE_STATIC);
        while (sqlite3_step(wanted) == SQLITE_ROW) {
            sqlite3_reset(had);
            sqlite3_bind_text(had, 1, table, -1, SQLITE_STATIC);
            sqlite3_bind_value(had, 2, sqlite3_column_value(wanted, 0));
            if (sqlite3_step(had) != SQLITE_ROW) continue;
            sqlite3_str_appendf(list, "%s%s", *n ? ", " : "", (const char *)sqlite3_column_text(wanted, 0));
            ++*n;
        }
    }
    sqlite3_finalize(wanted);
    sqlite3_finalize(had);
    return sqlite3_str_finish(list);
}

/* A row whose text no longer has its hash was hit: its hash and text are columns 1 + at and 1 + at_text of the select.
 */
static bool has_its_hash(sqlite3_stmt *row, const char *table, const char *columns) {
    char hash[65];
    bool text = !strcmp(table, "text"), candidate = !strcmp(table, "candidate");
    if (!text && !candidate) return true;
    int at = !strncmp(columns, "hash", 4) ? 1 : 2, body = candidate ? 4 : at + 1;
    const char *value = (const char *)sqlite3_column_text(row, body),
               *claimed = (const char *)sqlite3_column_text(row, at);
    if (!value || !claimed) return false;
    aira__sha256_hex(value, (size_t)sqlite3_column_bytes(row, body), hash);
    return !strcmp(hash, claimed);
}

/* Copies rows in one direction until the end, an error, or the row where the other direction stopped. */
static int copy_rows(salvage *s, int table, const char *columns, int n, bool backwards, int64_t *last) {
    char *select = sqlite3_mprintf("SELECT rowid, %s FROM %s ORDER BY rowid %s", columns, tables[table],
                                   backwards ? "DESC" : "ASC");
    sqlite3_str *marks = sqlite3_str_new(s->to);
    for (int i = 0; i < n; i++) sqlite3_str_appendall(marks, i ? ", ?" : "?");
    char *places = sqlite3_str_finish(marks);
    char *insert = sqlite3_mprintf("INSERT OR IGNORE INTO %s(%s) VALUES(%s)", tables[table], columns, places);
    sqlite3_stmt *row = NULL, *put = NULL;
    int code = SQLITE_NOMEM;
    if (select && insert && (code = sqlite3_prepare_v2(s->from, select, -1, &row, NULL)) == SQLITE_OK &&
        (code = sqlite3_prepare_v2(s->to, insert, -1, &put, NULL)) == SQLITE_OK)
        while ((code = sqlite3_step(row)) == SQLITE_ROW) {
            int64_t id = sqlite3_column_int64(row, 0);
            if (backwards && id <= *last) break;
            if (!backwards) *last = id;
            if (!has_its_hash(row, tables[table], columns)) {
                s->dropped[table]++;
                continue;
            }
            sqlite3_reset(put);
            for (int i = 0; i < n; i++) sqlite3_bind_value(put, i + 1, sqlite3_column_value(row, i + 1));
            if (sqlite3_step(put) == SQLITE_DONE) s->rows[table] += sqlite3_changes(s->to);
        }
    sqlite3_finalize(row);
    sqlite3_finalize(put);
    sqlite3_free(select);
    sqlite3_free(insert);
    sqlite3_free(places);
    return code;
}

static void copy_table(salvage *s, int table) {
    int n = 0;
    int64_t last = INT64_MIN;
    char *columns = common_columns(s, tables[table], &n);
    if (!columns || n == 0) {
        s->damaged[table] = true;
    } else if (copy_rows(s, table, columns, n, false, &last) != SQLITE_DONE) {
        s->damaged[table] = true;
        (void)copy_rows(s, table, columns, n, true, &last);
    }
    sqlite3_free(columns);
}

/* All tables; from: a journal's path; to: an empty journal. */
static aira_status copy_all(salvage *s, const char *from, aira__journal *to, aira_error *error) {
    s->to = aira__journal_db(to);
    if (sqlite3_open_v2(from, &s->from, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return aira__fail(error, AIRA_E_IO, "%s: %s", from, s->from ? sqlite3_errmsg(s->from) : "out of memory");
    aira_status status = aira__journal_begin(to, error);
    for (int i = 0; status == AIRA_OK && i < N_TABLES; i++) copy_table(s, i);
    return status == AIRA_OK ? aira__journal_commit(to, error) : status;
}

/* True where SQLite finds nothing wrong and every text has its hash. */
static bool is_whole(const salvage *s) {
    sqlite3_stmt *check = NULL;
    bool whole = sqlite3_prepare_v2(s->from, "PRAGMA integrity_check(1)", -1, &check, NULL) == SQLITE_OK &&
                 sqlite3_step(check) == SQLITE_ROW && !strcmp((const char *)sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);
    for (int i = 0; i < N_TABLES; i++) whole = whole && !s->damaged[i] && !s->dropped[i];
    return whole;
}

static int64_t rows_of(const salvage *s, const char *table) {
    for (int i = 0; i < N_TABLES; i++)
        if (!strcmp(tables[i], table)) return s->rows[i];
    return 0;
}

static void close_salvage(salvage *s) { sqlite3_close(s->from); }

void aira__salvage_explain(const char *dir, aira_error *error) {
    char folder[] = "/tmp/aira-salvage-XXXXXX", scratch[64], why[sizeof error->text];
    salvage s = {0};
    aira__journal *to = NULL;
    aira__journal_options options = {.create = true};
    if (!error || error->status != AIRA_E_CORRUPT || !mkdtemp(folder)) return;
    char *path = aira__path_join(dir, "journal.db");
    snprintf(scratch, sizeof scratch, "%s/journal.db", folder);
    memcpy(why, error->text, sizeof why);
    if (path && aira__file_exists(path) && aira__journal_open(scratch, &options, &to, NULL) == AIRA_OK &&
        copy_all(&s, path, to, NULL) == AIRA_OK) {
        if (rows_of(&s, "study") == 0)
            (void)aira__fail(error, AIRA_E_CORRUPT, "%s; nothing of it can be read: restore it from a copy", why);
        else
            (void)aira__fail(error, AIRA_E_CORRUPT,
                             "%s; %" PRId64 " nodes, %" PRId64 " calls and %" PRId64
                             " evaluations can be read: `aira resume --salvage %s` saves them and goes on from there",
                             why, rows_of(&s, "node_row"), rows_of(&s, "call"), rows_of(&s, "evaluation"), dir);
    }
    close_salvage(&s);
    aira__journal_close(to);
    (void)aira__remove_tree(folder, NULL);
    free(path);
}

/* From here on a search is as if it had been killed right after its last whole node. */
static aira_status cut_to_whole(aira__journal *to, aira_error *error) {
    static const char *const steps[] = {
        ("WITH bad AS (SELECT search, min(idx) AS at FROM ("
         "  SELECT n.search, n.idx FROM node_row n WHERE n.idx > 0 AND NOT EXISTS"
         "    (SELECT 1 FROM node_row p WHERE p.search = n.search AND p.idx = n.idx - 1)"
         "  UNION ALL SELECT search, idx FROM node_row WHERE status = 'pending'"
         "  UNION ALL SELECT n.search, n.idx FROM node_row n WHERE n.hash IS NOT NULL AND NOT EXISTS"
         "    (SELECT 1 FROM candidate c WHERE c.hash = n.hash)) GROUP BY search) "
         "DELETE FROM node_row WHERE EXISTS"
         "  (SELECT 1 FROM bad b WHERE b.search = node_row.search AND node_row.idx >= b.at)"),
        ("DELETE FROM call WHERE NOT EXISTS"
         "  (SELECT 1 FROM node_row n WHERE n.search = call.search AND n.idx = call.idx)"),
        "UPDATE node_row SET plan = NULL WHERE plan NOT IN (SELECT hash FROM text)",
        "UPDATE node_row SET analysis = NULL WHERE analysis NOT IN (SELECT hash FROM text)",
        "DELETE FROM study WHERE key = 'concluded'",
        "UPDATE study SET value = 'running' WHERE key = 'state'",
        "UPDATE search SET state = 'running', reason = NULL"};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        if (sqlite3_exec(aira__journal_db(to), steps[i], NULL, NULL, NULL) != SQLITE_OK)
            return aira__fail(error, AIRA_E_IO, "the saved journal cannot be put in order: %s",
                              sqlite3_errmsg(aira__journal_db(to)));
    return AIRA_OK;
}

/* journal.db becomes journal.damaged.db, with its log; journal.saved.db becomes journal.db. */
static aira_status change_places(const char *dir, aira_error *error) {
    static const char *const names[][2] = {{"journal.db", "journal.damaged.db"},
                                           {"journal.db-wal", "journal.damaged.db-wal"},
                                           {"journal.db-shm", "journal.damaged.db-shm"},
                                           {"journal.saved.db", "journal.db"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *from = aira__path_join(dir, names[i][0]), *to = aira__path_join(dir, names[i][1]);
        bool moved = from && to && (rename(from, to) == 0 || errno == ENOENT);
        aira_status status = moved ? AIRA_OK
                                   : aira__fail(error, AIRA_E_IO, "%s: cannot be renamed (%s)", from ? from : dir,
                                                strerror(errno));
        free(from);
        free(to);
        if (status != AIRA_OK) return status;
    }
    return AIRA_OK;
}

/* Fills to, an open journal.saved.db; *whole: the old one has no damage. */
static aira_status save(const char *path, const char *dir, aira__journal *to, bool *whole, char *sentence, size_t size,
                        aira_error *error) {
    salvage s = {0};
    aira_status status = copy_all(&s, path, to, error);
    *whole = status == AIRA_OK && is_whole(&s);
    if (status == AIRA_OK && !*whole) {
        char *config = aira__journal_get_study(to, "config", NULL);
        if (!config)
            status = aira__fail(
                error, AIRA_E_CORRUPT,
                "%s: the study itself cannot be read any more, so nothing can go on from here; restore the "
                "journal from a copy, or start the study again",
                path);
        free(config);
    }
    if (status == AIRA_OK && !*whole) status = cut_to_whole(to, error);
    if (status == AIRA_OK && !*whole) {
        int64_t kept = (int64_t)aira__journal_number(to, "SELECT count(*) FROM node_row", 0);
        snprintf(sentence, size,
                 "%s: saved %" PRId64 " nodes (of %" PRId64 " readable ones), %" PRId64 " calls and %" PRId64
                 " evaluations; the damaged journal is kept as journal.damaged.db",
                 dir, kept, rows_of(&s, "node_row"), rows_of(&s, "call"), rows_of(&s, "evaluation"));
        status = aira__journal_event(to, "salvage", -1, -1, sentence, error);
    }
    close_salvage(&s);
    return status;
}

aira_status aira__salvage(const char *dir, char *sentence, size_t size, aira_error *error) {
    char *path = aira__path_join(dir, "journal.db"), *saved = aira__path_join(dir, "journal.saved.db");
    char *damaged = aira__path_join(dir, "journal.damaged.db");
    aira__journal_options options = {.create = true};
    aira__journal *to = NULL;
    aira__lock *lock = NULL;
    bool whole = false;
    aira_status status = path && saved && damaged ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    if (status == AIRA_OK && !aira__file_exists(path))
        status = aira__fail(error, AIRA_E_CONFIG, "%s: there is no journal; is this a run directory?", path);
    if (status == AIRA_OK && aira__file_exists(damaged))
        status = aira__fail(error, AIRA_E_CONFIG, "%s: is of an earlier rescue; move it away first", damaged);
    if (status == AIRA_OK) status = aira__lock_take(dir, &lock, error);
    if (status == AIRA_OK) {
        (void)unlink(saved); /* of a rescue that was interrupted */
        status = aira__journal_open(saved, &options, &to, error);
    }
    if (status == AIRA_OK) status = save(path, dir, to, &whole, sentence, size, error);
    aira__journal_close(to);
    if (status == AIRA_OK && !whole) status = change_places(dir, error);
    if (status == AIRA_OK && whole)
        snprintf(sentence, size, "%s: the journal is whole; there is nothing to rescue", dir);
    if (status != AIRA_OK || whole) (void)unlink(saved ? saved : "");
    aira__lock_release(lock);
    free(path);
    free(saved);
    free(damaged);
    return status;
}
