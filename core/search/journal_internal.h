/* core/search/journal_internal.h - what the journal files share: prepared statements and binding. */
#ifndef AIRA_SEARCH_JOURNAL_INTERNAL_H
#define AIRA_SEARCH_JOURNAL_INTERNAL_H

#include <sqlite3.h>

#include "core/search/journal.h"

#define AIRA__JOURNAL_STATEMENTS 64

typedef struct aira__known_text { /* a row of `text`; id 0: none */
    uint8_t hash[32];
    int64_t id;
} aira__known_text;

struct aira__journal {
    sqlite3 *db;
    char *path;
    struct {
        const char *sql; /* a literal: its address is the key */
        sqlite3_stmt *statement;
    } prepared[AIRA__JOURNAL_STATEMENTS];
    bool in_transaction, grouped;
    aira__known_text *texts; /* a table with open addressing; journal_text.c */
    size_t n_texts, texts_capacity;
};

/* The sentence for what SQLite has just refused. */
aira_status aira__journal_fail(const aira__journal *, aira_error *);
/* A prepared statement, reset and bound. types: one letter per argument: i int64_t, I int64_t with negative as NULL,
   d double with NAN as NULL, D double with negative as NULL, s const char * with NULL as NULL, S const char * and its
   length as int64_t. */
aira_status aira__journal_bind(aira__journal *, sqlite3_stmt **, aira_error *, const char *sql, const char *types, ...);
/* bind, run to the end, reset. */
aira_status aira__journal_do(aira__journal *, aira_error *, const char *sql, const char *types, ...);
/* Empties what journal_text.c knows: its rows may be gone. */
void aira__journal_forget_texts(aira__journal *);
/* Column i as text, or NULL. */
const char *aira__journal_text(sqlite3_stmt *, int column);

#endif
