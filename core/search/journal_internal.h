/* core/search/journal_internal.h - what the three journal files share: prepared statements and binding. */
#ifndef AIRA_SEARCH_JOURNAL_INTERNAL_H
#define AIRA_SEARCH_JOURNAL_INTERNAL_H

#include <sqlite3.h>

#include "core/search/journal.h"

#define AIRA__JOURNAL_STATEMENTS 24

struct aira__journal {
    sqlite3 *db;
    char *path;
    struct {
        const char *sql; /* a literal: its address is the key */
        sqlite3_stmt *statement;
    } prepared[AIRA__JOURNAL_STATEMENTS];
    bool in_transaction;
};

/* The sentence for what SQLite has just refused. */
aira_status aira__journal_fail(const aira__journal *, aira_error *);
/* A prepared statement, reset and bound. types: one letter per argument: i int64_t, I int64_t with negative as NULL,
   d double with NAN as NULL, D double with negative as NULL, s const char * with NULL as NULL. */
aira_status aira__journal_bind(aira__journal *, sqlite3_stmt **, aira_error *, const char *sql, const char *types, ...);
/* bind, run to the end, reset. */
aira_status aira__journal_do(aira__journal *, aira_error *, const char *sql, const char *types, ...);
/* Column i as text, or NULL. */
const char *aira__journal_text(sqlite3_stmt *, int column);

#endif
