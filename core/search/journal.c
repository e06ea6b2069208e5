/* core/search/journal.c - opening, checking and migrating a journal; prepared statements. See journal.h. */
#include "core/search/journal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "core/base/fs.h"
#include "core/search/journal_internal.h"

/* migrations[v] leads from version v to v + 1. Released entries never change. */
static const char *const migrations[AIRA__JOURNAL_VERSION] = {
    "CREATE TABLE study(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE search(id INTEGER PRIMARY KEY, agent TEXT NOT NULL, scaffold TEXT NOT NULL, seed INTEGER NOT NULL,"
    "  task_hash TEXT NOT NULL, parallel INTEGER NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL, reason TEXT);"
    "CREATE TABLE candidate(hash TEXT PRIMARY KEY, kind TEXT NOT NULL, architecture TEXT, canonical TEXT NOT NULL);"
    "CREATE TABLE node_row(search INTEGER NOT NULL, idx INTEGER NOT NULL, operator TEXT NOT NULL, parent INTEGER,"
    "  other_parent INTEGER, seed INTEGER NOT NULL, hash TEXT, duplicate_of INTEGER, status TEXT NOT NULL, note TEXT,"
    "  cause TEXT, search_score REAL, selection_score REAL, created REAL NOT NULL, finished REAL,"
    "  PRIMARY KEY(search, idx));"
    "CREATE TABLE text(hash TEXT PRIMARY KEY, body TEXT NOT NULL);"
    "CREATE TABLE call(id INTEGER PRIMARY KEY, search INTEGER NOT NULL, idx INTEGER NOT NULL,"
    "  attempt INTEGER NOT NULL, request_hash TEXT NOT NULL, prompt TEXT NOT NULL, answer TEXT, state TEXT NOT NULL,"
    "  error TEXT, input_tokens INTEGER, cached_tokens INTEGER, output_tokens INTEGER, reasoning_tokens INTEGER,"
    "  money_usd REAL, started REAL, seconds REAL, UNIQUE(search, idx, attempt));"
    "CREATE TABLE evaluation(id INTEGER PRIMARY KEY, hash TEXT NOT NULL, task_hash TEXT NOT NULL,"
    "  seed INTEGER NOT NULL, status TEXT NOT NULL, cause TEXT, error TEXT, search_score REAL, selection_score REAL,"
    "  test_score REAL, metrics TEXT, curve TEXT, parameters INTEGER, flops REAL, seconds REAL, hashes TEXT,"
    "  purpose TEXT NOT NULL, UNIQUE(hash, task_hash, seed, purpose));"
    "CREATE TABLE event(id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, search INTEGER, idx INTEGER,"
    "  text TEXT);"
    "CREATE TABLE result(kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(kind, name));"
    "CREATE VIEW node AS SELECT n.search, n.idx, n.operator, n.parent, c.architecture, n.hash, n.status,"
    "  n.search_score, n.selection_score FROM node_row n LEFT JOIN candidate c ON c.hash = n.hash"
    "  ORDER BY n.search, n.idx;",

    "ALTER TABLE search ADD COLUMN origin TEXT;"
    "ALTER TABLE node_row ADD COLUMN view INTEGER;"
    "ALTER TABLE node_row ADD COLUMN seeds INTEGER;"
    "UPDATE node_row SET seeds = 1 WHERE status = 'good';"
    "ALTER TABLE node_row ADD COLUMN spread REAL;"
    "ALTER TABLE node_row ADD COLUMN standing TEXT;"
    "ALTER TABLE node_row ADD COLUMN plan TEXT;"
    "ALTER TABLE node_row ADD COLUMN analysis TEXT;"
    "ALTER TABLE evaluation ADD COLUMN search INTEGER;"
    "CREATE TABLE call_2(id INTEGER PRIMARY KEY, search INTEGER NOT NULL, idx INTEGER NOT NULL,"
    "  operator TEXT NOT NULL, attempt INTEGER NOT NULL, request_hash TEXT NOT NULL, prompt TEXT NOT NULL,"
    "  answer TEXT, partial TEXT, state TEXT NOT NULL, error TEXT, notes TEXT, model TEXT, tries INTEGER,"
    "  input_tokens INTEGER, cached_tokens INTEGER, cache_write_tokens INTEGER, output_tokens INTEGER,"
    "  reasoning_tokens INTEGER, money_usd REAL, started REAL, seconds REAL,"
    "  UNIQUE(search, idx, operator, attempt));"
    "INSERT INTO call_2(id, search, idx, operator, attempt, request_hash, prompt, answer, state, error, input_tokens,"
    "  cached_tokens, output_tokens, reasoning_tokens, money_usd, started, seconds)"
    "  SELECT c.id, c.search, c.idx, n.operator, c.attempt, c.request_hash, c.prompt, c.answer, c.state, c.error,"
    "  c.input_tokens, c.cached_tokens, c.output_tokens, c.reasoning_tokens, c.money_usd, c.started, c.seconds"
    "  FROM call c JOIN node_row n ON n.search = c.search AND n.idx = c.idx;"
    "DROP TABLE call;"
    "ALTER TABLE call_2 RENAME TO call;"
    "CREATE TABLE text_2(id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, body TEXT NOT NULL);"
    "INSERT INTO text_2(hash, body) SELECT hash, body FROM text;"
    "DROP TABLE text;"
    "ALTER TABLE text_2 RENAME TO text;",
};

aira_status aira__journal_fail(const aira__journal *j, aira_error *error) {
    int code = sqlite3_errcode(j->db);
    if (code == SQLITE_FULL)
        return aira__fail(error, AIRA_E_IO, "%s: the disk is full; free some space, then continue with `aira resume`",
                          j->path);
    if (code == SQLITE_NOMEM) return aira__fail(error, AIRA_E_MEMORY, "%s: out of memory", j->path);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return aira__fail(error, AIRA_E_FAILED,
                          "%s: another process keeps the journal to itself; try again when it has "
                          "ended",
                          j->path);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
        return aira__fail(error, AIRA_E_CORRUPT, "%s: the journal is damaged (%s)", j->path, sqlite3_errmsg(j->db));
    return aira__fail(error, AIRA_E_IO, "%s: %s", j->path, sqlite3_errmsg(j->db));
}

bool aira__journal_on_network(const char *folder) {
    /* NFS, SMB (three kinds), Lustre, GPFS, Ceph, AFS, FUSE (sshfs and friends), 9p, BeeGFS, PanFS, OrangeFS */
    static const unsigned long network[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42, 0x0BD00BD0,
                                            0x47504653, 0x00C36400, 0x5346414F, 0x65735546, 0x01021997,
                                            0x19830326, 0xAAD7AAEA, 0x20030528};
    struct statfs info;
    if (statfs(folder, &info) != 0) return false;
    for (size_t i = 0; i < sizeof network / sizeof network[0]; i++)
        if (((unsigned long)info.f_type & 0xFFFFFFFFul) == network[i]) return true;
    return false;
}

static aira_status execute(aira__journal *j, const char *sql, aira_error *error) {
    return sqlite3_exec(j->db, sql, NULL, NULL, NULL) == SQLITE_OK ? AIRA_OK : aira__journal_fail(j, error);
}

/* The integer that a pragma gives. */
static aira_status pragma(aira__journal *j, const char *sql, int64_t *value, aira_error *error) {
    sqlite3_stmt *statement = NULL;
    *value = 0;
    if (sqlite3_prepare_v2(j->db, sql, -1, &statement, NULL) != SQLITE_OK) return aira__journal_fail(j, error);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) *value = sqlite3_column_int64(statement, 0);
    aira_status status = code == SQLITE_ROW || code == SQLITE_DONE ? AIRA_OK : aira__journal_fail(j, error);
    sqlite3_finalize(statement);
    return status;
}

static aira_status migrate(aira__journal *j, int64_t from, aira_error *error) {
    aira_status status = execute(j, "BEGIN IMMEDIATE", error);
    for (int64_t v = from; status == AIRA_OK && v < AIRA__JOURNAL_VERSION; v++)
        status = execute(j, migrations[v], error);
    if (status == AIRA_OK) {
        char *sql = sqlite3_mprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
                                    AIRA__JOURNAL_APPLICATION_ID, AIRA__JOURNAL_VERSION);
        status = sql ? execute(j, sql, error) : aira__fail(error, AIRA_E_MEMORY, "out of memory");
        sqlite3_free(sql);
    }
    /* Nothing to roll back is fine: the failed statement may have ended the transaction itself. */
    if (status != AIRA_OK) (void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* Whose file is it, and how old? */
static aira_status check_version(aira__journal *j, const aira__journal_options *options, aira_error *error) {
    int64_t application = 0, version = 0, objects = 0;
    aira_status status = pragma(j, "PRAGMA application_id", &application, error);
    if (status == AIRA_OK) status = pragma(j, "PRAGMA user_version", &version, error);
    if (status == AIRA_OK) status = pragma(j, "SELECT count(*) FROM sqlite_master", &objects, error);
    if (status != AIRA_OK) return status;
    bool empty = application == 0 && version == 0 && objects == 0;
    if (empty && !options->create)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "%s: the journal is empty; the run was ended before it began: start it "
                          "again in another folder",
                          j->path);
    if (!empty && application != AIRA__JOURNAL_APPLICATION_ID)
        return aira__fail(error, AIRA_E_CORRUPT, "%s: a database, but not a journal of aira", j->path);
    if (version > AIRA__JOURNAL_VERSION)
        return aira__fail(
            error, AIRA_E_UNSUPPORTED,
            "%s: written by a newer aira (journal version %lld, this program knows up to %d); use that one", j->path,
            (long long)version, AIRA__JOURNAL_VERSION);
    if (version == AIRA__JOURNAL_VERSION) return AIRA_OK;
    if (options->read_only)
        return aira__fail(error, AIRA_E_UNSUPPORTED,
                          "%s: journal version %lld is older than %d; `aira resume` brings it "
                          "up to date",
                          j->path, (long long)version, AIRA__JOURNAL_VERSION);
    return migrate(j, version, error);
}

/* Nothing is written into a journal that is damaged: that would spread it. */
static aira_status check_whole(aira__journal *j, aira_error *error) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(j->db, "PRAGMA quick_check(1)", -1, &statement, NULL) != SQLITE_OK)
        return aira__journal_fail(j, error);
    int code = sqlite3_step(statement);
    const char *found = code == SQLITE_ROW ? aira__journal_text(statement, 0) : NULL;
    aira_status status = !found ? aira__journal_fail(j, error) : AIRA_OK;
    const char *line = found ? strrchr(found, '\n') : NULL; /* the first line names the database, not the damage */
    if (found && strcmp(found, "ok") != 0)
        status = aira__fail(error, AIRA_E_CORRUPT, "%s: the journal is damaged (%.300s)", j->path,
                            line ? line + 1 : found);
    sqlite3_finalize(statement);
    return status;
}

static aira_status configure(aira__journal *j, bool network, aira_error *error) {
    aira_status status = AIRA_OK;
    if (network)
        status = execute(j, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE", error);
    else
        status = execute(j, "PRAGMA journal_mode = WAL", error);
    if (status == AIRA_OK) status = execute(j, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF", error);
    return status;
}

aira_status aira__journal_open(const char *path, const aira__journal_options *options, aira__journal **out,
                               aira_error *error) {
    *out = NULL;
    if (options->create && aira__file_exists(path)) return aira__fail(error, AIRA_E_CONFIG, "%s: exists already", path);
    if (!options->create && !aira__file_exists(path))
        return aira__fail(error, AIRA_E_CONFIG, "%s: there is no journal; is this a run directory?", path);
    aira__journal *j = calloc(1, sizeof *j);
    char *folder = aira__path_folder(path);
    aira_status status = AIRA_OK;
    if (!j || !folder || !(j->path = strdup(path))) {
        status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
        goto done;
    }
    int flags = options->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(path, &j->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        status = j->db ? aira__journal_fail(j, error) : aira__fail(error, AIRA_E_MEMORY, "out of memory");
        goto done;
    }
    sqlite3_extended_result_codes(j->db, 0);
    sqlite3_busy_timeout(j->db, 5000);
    if (options->read_only ? options->check : !options->create) status = check_whole(j, error);
    if (status == AIRA_OK && !options->read_only)
        status = configure(j, options->network_forced || aira__journal_on_network(folder), error);
    if (status == AIRA_OK) status = check_version(j, options, error);
done:
    free(folder);
    if (status != AIRA_OK) {
        aira__journal_close(j);
        return status;
    }
    *out = j;
    return AIRA_OK;
}

void aira__journal_close(aira__journal *j) {
    if (!j) return;
    for (int i = 0; i < AIRA__JOURNAL_STATEMENTS; i++) sqlite3_finalize(j->prepared[i].statement);
    if (j->in_transaction) aira__journal_rollback(j);
    sqlite3_close(j->db);
    aira__journal_forget_texts(j);
    free(j->path);
    free(j);
}

struct sqlite3 *aira__journal_db(aira__journal *j) {
    return j->db;
}

/* Within a group one transaction takes everything, whoever begins and commits inside it. */
aira_status aira__journal_begin(aira__journal *j, aira_error *error) {
    if (j->grouped && j->in_transaction) return AIRA_OK;
    aira_status status = execute(j, "BEGIN IMMEDIATE", error);
    j->in_transaction = status == AIRA_OK;
    return status;
}

static aira_status end_transaction(aira__journal *j, aira_error *error) {
    aira_status status = execute(j, "COMMIT", error);
    if (status != AIRA_OK) aira__journal_rollback(j);
    j->in_transaction = false;
    return status;
}

aira_status aira__journal_commit(aira__journal *j, aira_error *error) {
    return j->grouped ? AIRA_OK : end_transaction(j, error);
}

void aira__journal_group(aira__journal *j) { j->grouped = true; }

aira_status aira__journal_flush(aira__journal *j, aira_error *error) {
    j->grouped = false;
    return j->in_transaction ? end_transaction(j, error) : AIRA_OK;
}

void aira__journal_rollback(aira__journal *j) {
    /* SQLite may have rolled back by itself (disk full); then there is nothing to do. */
    if (!sqlite3_get_autocommit(j->db)) (void)sqlite3_exec(j->db, "ROLLBACK", NULL, NULL, NULL);
    aira__journal_forget_texts(j);
    j->in_transaction = j->grouped = false;
}

static aira_status prepare(aira__journal *j, const char *sql, sqlite3_stmt **out, aira_error *error) {
    int i = 0;
    while (i < AIRA__JOURNAL_STATEMENTS - 1 && j->prepared[i].sql && j->prepared[i].sql != sql) i++;
    if (j->prepared[i].sql != sql) { /* a free slot, or the last one, which is then given up */
        sqlite3_finalize(j->prepared[i].statement);
        j->prepared[i].statement = NULL;
        j->prepared[i].sql = NULL;
        if (sqlite3_prepare_v3(j->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &j->prepared[i].statement, NULL) != SQLITE_OK)
            return aira__journal_fail(j, error);
        j->prepared[i].sql = sql;
    }
    *out = j->prepared[i].statement;
    sqlite3_reset(*out);
    return AIRA_OK;
}

static int bind_one(sqlite3_stmt *statement, int at, char type, va_list *values) {
    switch (type) {
    case 'i':
        return sqlite3_bind_int64(statement, at, va_arg(*values, int64_t));
    case 'I': {
        int64_t value = va_arg(*values, int64_t);
        return value < 0 ? sqlite3_bind_null(statement, at) : sqlite3_bind_int64(statement, at, value);
    }
    case 'd':
    case 'D': {
        double value = va_arg(*values, double);
        bool null = isnan(value) || (type == 'D' && value < 0);
        return null ? sqlite3_bind_null(statement, at) : sqlite3_bind_double(statement, at, value);
    }
    case 'S': {
        const char *value = va_arg(*values, const char *);
        return sqlite3_bind_text64(statement, at, value, (sqlite3_uint64)va_arg(*values, int64_t), SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    }
    default: {
        const char *value = va_arg(*values, const char *);
        return value ? sqlite3_bind_text(statement, at, value, -1, SQLITE_TRANSIENT) : sqlite3_bind_null(statement, at);
    }
    }
}

static aira_status bind_all(aira__journal *j, sqlite3_stmt **out, aira_error *error, const char *sql, const char *types,
                            va_list *values) {
    aira_status status = prepare(j, sql, out, error);
    if (status != AIRA_OK) return status;
    for (int i = 0; types[i]; i++) /* 'S' takes two arguments and fills one place */
        if (bind_one(*out, i + 1, types[i], values) != SQLITE_OK) return aira__journal_fail(j, error);
    return AIRA_OK;
}

aira_status aira__journal_bind(aira__journal *j, sqlite3_stmt **out, aira_error *error, const char *sql,
                               const char *types, ...) {
    va_list values;
    va_start(values, types);
    aira_status status = bind_all(j, out, error, sql, types, &values);
    va_end(values);
    return status;
}

aira_status aira__journal_do(aira__journal *j, aira_error *error, const char *sql, const char *types, ...) {
    va_list values;
    sqlite3_stmt *statement = NULL;
    va_start(values, types);
    aira_status status = bind_all(j, &statement, error, sql, types, &values);
    va_end(values);
    if (status == AIRA_OK && j->grouped && !j->in_transaction) status = aira__journal_begin(j, error);
    if (status != AIRA_OK) return status;
    if (sqlite3_step(statement) != SQLITE_DONE) status = aira__journal_fail(j, error);
    sqlite3_reset(statement);
    return status;
}

const char *aira__journal_text(sqlite3_stmt *statement, int column) {
    return (const char *)sqlite3_column_text(statement, column);
}
