/* core/search/ledger.c - see ledger.h. */
#include "core/search/ledger.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static void add(double *total, double value) {
    if (!isnan(value)) *total = isnan(*total) ? value : *total + value;
}

static aira__usage *account(aira__ledger *l, int64_t search) {
    return search >= 1 && search <= l->n ? &l->searches[search - 1] : NULL;
}

void aira__ledger_add_node(aira__ledger *l, int64_t search) {
    aira__usage *of[] = {&l->study, account(l, search)};
    for (int i = 0; i < 2; i++)
        if (of[i]) of[i]->candidates++;
}

static void add_evaluations(aira__ledger *l, int64_t search, bool counts, int64_t n, double seconds, double flops) {
    aira__usage *of[] = {&l->study, account(l, search)};
    for (int i = 0; i < 2; i++) {
        if (!of[i]) continue;
        of[i]->trainings += n;
        of[i]->evaluations += counts ? n : 0;
        add(&of[i]->device_seconds, seconds);
        add(&of[i]->flops, flops);
    }
}

void aira__ledger_add_evaluation(aira__ledger *l, int64_t search, bool counts, double seconds, double flops) {
    add_evaluations(l, search, counts, 1, seconds, flops);
}

static void add_calls(aira__ledger *l, int64_t search, double tokens, double money, int64_t unpriced,
                      int64_t uncounted) {
    aira__usage *of[] = {&l->study, account(l, search)};
    for (int i = 0; i < 2; i++) {
        if (!of[i]) continue;
        add(&of[i]->tokens, tokens);
        add(&of[i]->money_usd, money);
        of[i]->unpriced += unpriced;
        of[i]->uncounted += uncounted;
    }
}

void aira__ledger_add_call(aira__ledger *l, const aira__journal_call *c) {
    bool answered = !strcmp(c->state, "answered"), counted = c->input_tokens >= 0 && c->output_tokens >= 0;
    double tokens = NAN;
    if (c->input_tokens >= 0) add(&tokens, (double)c->input_tokens);
    if (c->output_tokens >= 0) add(&tokens, (double)c->output_tokens);
    add_calls(l, c->search, tokens, c->money_usd < 0 ? NAN : c->money_usd, answered && c->money_usd < 0,
              answered && !counted);
}

static double real_or_nan(sqlite3_stmt *s, int column) {
    return sqlite3_column_type(s, column) == SQLITE_NULL ? NAN : sqlite3_column_double(s, column);
}

static void take_nodes(aira__ledger *l, sqlite3_stmt *s) {
    int64_t n = sqlite3_column_int64(s, 1);
    aira__usage *own = account(l, sqlite3_column_int64(s, 0));
    l->study.candidates += n;
    if (own) own->candidates += n;
}

static void take_evaluations(aira__ledger *l, sqlite3_stmt *s) {
    add_evaluations(l, sqlite3_column_int64(s, 0), sqlite3_column_int(s, 1), sqlite3_column_int64(s, 2),
                    real_or_nan(s, 3), real_or_nan(s, 4));
}

static void take_calls(aira__ledger *l, sqlite3_stmt *s) {
    add_calls(l, sqlite3_column_int64(s, 0), real_or_nan(s, 1), real_or_nan(s, 2), sqlite3_column_int64(s, 3),
              sqlite3_column_int64(s, 4));
}

aira_status aira__ledger_open(aira__journal *j, int n_searches, aira__ledger *l, aira_error *error) {
    static const struct {
        const char *sql;
        void (*take)(aira__ledger *, sqlite3_stmt *);
    } tables[] = {
        {"SELECT search, count(*) FROM node_row GROUP BY search", take_nodes},
        {"SELECT search, purpose IN ('search', 'confirm'), count(*), sum(seconds), sum(flops) FROM evaluation "
         "GROUP BY 1, 2",
         take_evaluations},
        {"SELECT search, sum(CASE WHEN input_tokens IS NULL AND output_tokens IS NULL THEN NULL ELSE "
         "ifnull(input_tokens, 0) + ifnull(output_tokens, 0) END), sum(money_usd), "
         "sum(state = 'answered' AND money_usd IS NULL), "
         "sum(state = 'answered' AND (input_tokens IS NULL OR output_tokens IS NULL)) FROM call GROUP BY search",
         take_calls},
    };
    const aira__usage nothing = {.flops = NAN, .tokens = NAN, .money_usd = NAN};
    *l = (aira__ledger){nothing, calloc((size_t)n_searches + 1, sizeof *l->searches), n_searches};
    if (!l->searches) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    for (int i = 0; i < n_searches; i++) l->searches[i] = nothing;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        sqlite3_stmt *s = NULL;
        int code = sqlite3_prepare_v2(aira__journal_db(j), tables[i].sql, -1, &s, NULL);
        while (code == SQLITE_OK || code == SQLITE_ROW) {
            code = sqlite3_step(s);
            if (code == SQLITE_ROW) tables[i].take(l, s);
        }
        sqlite3_finalize(s);
        if (code != SQLITE_DONE)
            return aira__fail(error, AIRA_E_CORRUPT, "what the run has used up cannot be read from its journal");
    }
    return AIRA_OK;
}

void aira__ledger_close(aira__ledger *l) {
    free(l->searches);
    *l = (aira__ledger){0};
}
