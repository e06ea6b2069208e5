/* core/report/csv.c - every node, and every call, as a row of RFC 4180 text, for spreadsheets and pandas.
 *
 * A cell that a spreadsheet would take for a formula (an answer may begin with `=`) gets a blank before it.
 */
#include <math.h>
#include <string.h>

#include "core/report/internal.h"

static void cell(aira__buf *b, const char *text, char end) {
    bool formula = *text && strchr("=+-@\t", *text);
    if (formula || strpbrk(text, ",\"\n")) {
        aira__buf_text(b, formula ? "\" " : "\"");
        for (; *text; text++) {
            if (*text == '"') aira__buf_text(b, "\"");
            aira__buf_add(b, text, 1);
        }
        aira__buf_text(b, "\"");
    } else {
        aira__buf_text(b, text);
    }
    aira__buf_add(b, &end, 1);
}

static void number(aira__buf *b, double value, char end) {
    if (!isnan(value)) aira__buf_printf(b, "%.17g", value);
    aira__buf_add(b, &end, 1);
}

static void integer(aira__buf *b, int64_t value, char end) { /* negative: absent */
    if (value >= 0) aira__buf_printf(b, "%lld", (long long)value);
    aira__buf_add(b, &end, 1);
}

bool report_nodes_csv(const report_data *d, aira__buf *b) {
    aira__buf_text(b,
                   "search,label,agent,scaffold,seed,idx,operator,parent,other_parent,status,cause,standing,"
                   "duplicate_of,architecture,layers,search_score,selection_score,test_score,seeds,spread,parameters,"
                   "flops,seconds,money_usd,created,finished,hash,note\n");
    for (int i = 0; i < d->n_nodes; i++) {
        const report_node *n = &d->nodes[i];
        const report_search *s = &d->searches[n->search];
        const report_evaluation *e = n->evaluation < 0 ? NULL : &d->evaluations[n->evaluation];
        char agent[128], scaffold[128];
        report_plugin_name(s->agent, agent, sizeof agent);
        report_plugin_name(s->scaffold, scaffold, sizeof scaffold);
        aira__buf_printf(b, "%lld,", (long long)s->id);
        cell(b, d->groups[s->group].name, ',');
        cell(b, agent, ',');
        cell(b, scaffold, ',');
        aira__buf_printf(b, "%lld,%lld,", (long long)s->seed, (long long)n->idx);
        cell(b, n->operator_name, ',');
        integer(b, n->parent < 0 ? -1 : d->nodes[n->parent].idx, ',');
        integer(b, n->other_parent < 0 ? -1 : d->nodes[n->other_parent].idx, ',');
        cell(b, n->status, ',');
        cell(b, n->cause, ',');
        cell(b, n->standing, ',');
        integer(b, n->duplicate_of < 0 ? -1 : d->nodes[n->duplicate_of].idx, ',');
        cell(b, n->architecture, ',');
        integer(b, n->n_layers ? n->n_layers : -1, ',');
        number(b, n->search_score, ',');
        number(b, n->selection_score, ',');
        number(b, report_test_score(d, n->hash), ',');
        integer(b, n->seeds, ',');
        number(b, n->spread, ',');
        integer(b, e ? e->parameters : -1, ',');
        number(b, e ? e->flops : NAN, ',');
        number(b, e ? e->seconds : NAN, ',');
        number(b, n->money_usd, ',');
        number(b, n->created, ',');
        number(b, n->finished, ',');
        cell(b, n->hash, ',');
        cell(b, n->note, '\n');
    }
    return !b->failed;
}

/* A number is written as SQLite has it; anything else as text. */
static void column(report_query *q, aira__buf *b, int at, char end) {
    int type = sqlite3_column_type(q->statement, at);
    if (type == SQLITE_INTEGER)
        aira__buf_printf(b, "%lld%c", (long long)sqlite3_column_int64(q->statement, at), end);
    else if (type == SQLITE_FLOAT)
        number(b, sqlite3_column_double(q->statement, at), end);
    else
        cell(b, report_query_text(q, at), end);
}

aira_status report_calls_csv(report_data *d, aira__buf *b, aira_error *error) {
    static const char columns[] = "search,idx,operator,attempt,state,model,tries,input_tokens,cached_tokens,"
                                  "cache_write_tokens,output_tokens,reasoning_tokens,money_usd,started,seconds,error,"
                                  "notes,prompt,answer";
    char sql[512];
    report_query q;
    snprintf(sql, sizeof sql, "SELECT %s FROM call ORDER BY search, idx, id", columns);
    aira_status status = report_query_open(d, sql, &q, error);
    if (status) return status;
    aira__buf_printf(b, "%s\n", columns);
    int n = sqlite3_column_count(q.statement);
    while (report_query_next(&q))
        for (int i = 0; i < n; i++) column(&q, b, i, i + 1 < n ? ',' : '\n');
    return report_query_close(&q, error);
}
