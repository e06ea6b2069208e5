/* core/report/section_search.c - how it was searched: scaffolds side by side, validity and failures, the trees. */
#include <math.h>
#include <string.h>

#include "core/report/internal.h"

#define MAX_CAUSES 16

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static void percent(aira__buf *b, double share) {
    if (isnan(share))
        text(b, "–");
    else
        aira__buf_printf(b, "%.0f %%", 100 * share);
}

static void mean_and_spread(aira__buf *b, double mean, double spread) {
    report_fixed(b, mean, 4, false);
    if (isnan(spread)) return;
    text(b, " <small>± ");
    report_number(b, spread, 2);
    text(b, "</small>");
}

static void group_row(aira__buf *b, const report_data *d, int group, const json_t *fact) {
    report_calls calls = {.input = NAN, .output = NAN, .money_usd = NAN};
    double seconds = NAN; /* who wanted a training first: journals of old versions do not tell */
    for (int i = 0; i < d->n_searches; i++) {
        const report_search *s = &d->searches[i];
        if (s->group != group) continue;
        if (s->trainings > 0) seconds = isnan(seconds) ? s->device_seconds : seconds + s->device_seconds;
        calls.calls += s->calls.calls;
        calls.unpriced += s->calls.unpriced;
        if (!isnan(s->calls.money_usd))
            calls.money_usd = isnan(calls.money_usd) ? s->calls.money_usd : calls.money_usd + s->calls.money_usd;
    }
    text(b, "<tr><td class=\"l\">");
    report_escape(b, d->groups[group].name);
    aira__buf_printf(b, "</td><td>%d</td><td>", d->groups[group].n);
    report_grouped(b, report_number_in(fact, "nodes"));
    text(b, "</td><td>");
    percent(b, report_number_in(fact, "valid"));
    text(b, "</td><td>");
    percent(b, report_number_in(fact, "duplicates"));
    text(b, "</td><td>");
    mean_and_spread(b, report_number_in(fact, "best_mean"), report_number_in(fact, "best_spread"));
    text(b, "</td><td>");
    mean_and_spread(b, report_number_in(fact, "submitted_mean"), report_number_in(fact, "submitted_spread"));
    text(b, "</td><td>");
    report_duration(b, seconds);
    text(b, "</td><td>");
    report_money(b, &calls);
    text(b, "</td></tr>\n");
}

static void groups(aira__buf *b, const report_data *d, const json_t *facts) {
    report_section(b, "searches", "Agents and scaffolds side by side",
                   "Searches that differ in their seed alone are one row: means over them, ± their standard deviation. "
                   "Found: best on the search split. Submitted: best on the selection split.");
    text(b, "<div class=\"scroll\"><table><thead><tr><th class=\"l\">agent and scaffold</th><th>searches</th><th>nodes"
            "</th><th>valid</th><th>duplicates</th><th>found</th><th>submitted</th><th>device time</th><th>cost</th>"
            "</tr></thead><tbody>\n");
    const json_t *list = json_object_get(facts, "groups");
    for (int g = 0; g < d->n_groups; g++) group_row(b, d, g, json_array_get(list, (size_t)g));
    text(b, "</tbody></table></div>");
}

/* ---------------------------------------------------------------- failures */

typedef struct cause {
    const char *name;
    int n, example;
} cause;

static int find_causes(const report_data *d, cause *causes) {
    int n = 0;
    for (int i = 0; i < d->n_nodes; i++) {
        const report_node *node = &d->nodes[i];
        if (strcmp(node->status, "buggy") != 0) continue;
        int k = 0;
        while (k < n && strcmp(causes[k].name, node->cause) != 0) k++;
        if (k == MAX_CAUSES) continue;
        if (k == n) causes[n++] = (cause){node->cause, 0, i};
        causes[k].n++;
    }
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && causes[k].n > causes[k - 1].n; k--) {
            cause swap = causes[k];
            causes[k] = causes[k - 1];
            causes[k - 1] = swap;
        }
    return n;
}

static void failures(aira__buf *b, const report_data *d) {
    cause causes[MAX_CAUSES];
    int n = find_causes(d, causes), good = 0, duplicates = 0, pending = 0, buggy = 0;
    for (int i = 0; i < d->n_nodes; i++) {
        good += strcmp(d->nodes[i].status, "good") == 0;
        buggy += strcmp(d->nodes[i].status, "buggy") == 0;
        pending += strcmp(d->nodes[i].status, "pending") == 0;
        duplicates += d->nodes[i].duplicate_of >= 0;
    }
    text(b, "<h3>Failures, duplicates</h3><p>");
    report_grouped(b, good);
    text(b, " of ");
    report_grouped(b, d->n_nodes);
    text(b, " nodes are valid, ");
    report_grouped(b, duplicates);
    text(b, duplicates == 1 ? " is a duplicate" : " are duplicates");
    text(b, " (answered from the journal, nothing was trained), ");
    report_grouped(b, buggy);
    text(b, " failed");
    if (pending) aira__buf_printf(b, ", %d are pending", pending);
    text(b, ".</p>");
    if (n == 0) return;
    text(b, "<div class=\"scroll\"><table class=\"rows\"><thead><tr><th class=\"l\">cause</th><th>nodes</th><th "
            "class=\"l\">an example</th></tr></thead><tbody>");
    for (int i = 0; i < n; i++) {
        char note[200];
        size_t size = strlen(d->nodes[causes[i].example].note);
        if (size > 180)
            for (size = 180; size > 0 && ((unsigned char)d->nodes[causes[i].example].note[size] & 0xc0) == 0x80;)
                size--;
        snprintf(note, sizeof note, "%.*s", (int)size, d->nodes[causes[i].example].note);
        aira__buf_printf(b, "<tr data-node=\"%d\" tabindex=\"0\"><td class=\"l\">", causes[i].example);
        report_escape(b, *causes[i].name ? causes[i].name : "no cause recorded");
        aira__buf_printf(b, "</td><td>%d</td><td class=\"l wrap\">", causes[i].n);
        report_escape(b, note);
        text(b, "</td></tr>");
    }
    text(b, "</tbody></table></div>");
}

/* -------------------------------------------------------------------- trees */

static void trees(aira__buf *b, const report_data *d) {
    static const char *const kinds[][2] = {
        {"good", "scored"}, {"again", "duplicate"}, {"buggy", "failed"}, {"pending", "pending"}};
    int shown = d->submitted >= 0 ? d->submitted : d->best >= 0 ? d->best : 0;
    report_section(b, "trees", "Search trees",
                   "Each node by its order and its score on the search split, joined to its parent; nodes without a "
                   "score lie at the bottom. Click one to see its prompt, answer, training and what it changed.");
    text(b, "<p class=\"legend\" id=\"kinds\">");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        aira__buf_printf(b,
                         "<label><input type=\"checkbox\" checked data-kind=\"%s\"><svg width=\"12\" height=\"12\">"
                         "<circle class=\"%s\" cx=\"6\" cy=\"6\" r=\"5\"/></svg>%s</label>",
                         kinds[i][0], kinds[i][0], kinds[i][1]);
    text(b, "<span><svg width=\"14\" height=\"14\"><circle class=\"won\" cx=\"7\" cy=\"7\" "
            "r=\"5\"/></svg>submitted</span><label class=\"screen\"><input type=\"checkbox\" id=\"ancestry\">by "
            "ancestry</label><label class=\"screen\"><input type=\"checkbox\" id=\"wide\">wide, to scroll</label></p>");
    for (int s = 0; s < d->n_searches; s++) {
        const report_search *search = &d->searches[s];
        if (search->n == 0) continue;
        aira__buf_printf(b, "<details class=\"tree\" data-search=\"%d\"%s><summary><b>Search %lld</b> ", s,
                         d->nodes[shown].search == s ? " open" : "", (long long)search->id);
        report_escape(b, d->groups[search->group].name);
        aira__buf_printf(b, " <span class=\"dim\">seed %lld, ", (long long)search->seed);
        report_grouped(b, search->n);
        text(b, " nodes, ");
        report_escape(b, search->state);
        if (*search->reason) {
            text(b, ": ");
            report_escape(b, search->reason);
        }
        if (*search->origin) {
            text(b, "; forked from ");
            report_escape(b, search->origin);
        }
        text(b, "</span></summary></details>\n");
    }
    aira__buf_printf(
        b,
        "<div id=\"node\" data-node=\"%d\"><noscript>Trees and details of nodes need JavaScript; all of it "
        "is in nodes.csv and journal.db.</noscript></div></section>\n",
        shown);
}

void report_search_sections(aira__buf *b, const report_data *d, const json_t *facts) {
    if (d->n_nodes == 0) return;
    groups(b, d, facts);
    failures(b, d);
    text(b, "</section>\n");
    trees(b, d);
}
