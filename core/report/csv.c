/* core/report/csv.c - every node as a row of RFC 4180 text, for spreadsheets and pandas.
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

bool report_csv(const report_data *d, aira__buf *b) {
    aira__buf_text(b,
                   "search,agent,scaffold,seed,idx,operator,parent,other_parent,status,cause,duplicate_of,architecture,"
                   "layers,search_score,selection_score,test_score,parameters,flops,seconds,hash,note\n");
    for (int i = 0; i < d->n_nodes; i++) {
        const report_node *n = &d->nodes[i];
        const report_search *s = &d->searches[n->search];
        char agent[128], scaffold[128];
        report_plugin_name(s->agent, agent, sizeof agent);
        report_plugin_name(s->scaffold, scaffold, sizeof scaffold);
        int many;
        const report_evaluation *e = report_find_evaluations(d, n->hash, &many);
        aira__buf_printf(b, "%lld,", (long long)s->id);
        cell(b, agent, ',');
        cell(b, scaffold, ',');
        aira__buf_printf(b, "%lld,%lld,", (long long)s->seed, (long long)n->idx);
        cell(b, n->operator_name, ',');
        integer(b, n->parent, ',');
        integer(b, n->other_parent, ',');
        cell(b, n->status, ',');
        cell(b, n->cause, ',');
        integer(b, n->duplicate_of, ',');
        cell(b, n->architecture, ',');
        integer(b, n->n_layers ? n->n_layers : -1, ',');
        number(b, n->search_score, ',');
        number(b, n->selection_score, ',');
        double test = NAN;
        for (int k = 0; k < many; k++)
            if (!isnan(e[k].test_score)) test = e[k].test_score;
        number(b, test, ',');
        integer(b, many ? e->parameters : -1, ',');
        number(b, many ? e->flops : NAN, ',');
        number(b, many ? e->seconds : NAN, ',');
        cell(b, n->hash, ',');
        cell(b, n->note, '\n');
    }
    return !b->failed;
}
