/* core/report/html.c - the page: verdict first, then what was found, how, and what it cost.
 *
 * A section without data says so in a sentence or is left out; it never shows an empty table.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/report/internal.h"

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

void report_section(aira__buf *b, const char *id, const char *title, const char *note) {
    aira__buf_printf(b, "<section id=\"%s\"><h2>%s</h2>", id, title);
    if (note) aira__buf_printf(b, "<p class=\"note\">%s</p>", note);
}

static void state_line(aira__buf *b, const report_data *d) {
    int running = 0, pending = 0;
    char *end;
    double created = strtod(report_study_text(d, "created", "0"), &end);
    for (int i = 0; i < d->n_searches; i++) running += strcmp(d->searches[i].state, "running") == 0;
    for (int i = 0; i < d->n_nodes; i++) pending += strcmp(d->nodes[i].status, "pending") == 0;
    text(b, "<p class=\"dim\">");
    if (created > 0 && !*end) {
        report_date(b, created);
        text(b, " · ");
    }
    aira__buf_printf(b, "%d %s of ", d->n_searches, d->n_searches == 1 ? "search" : "searches");
    report_grouped(b, d->n_nodes);
    text(b, d->n_nodes == 1 ? " node, " : " nodes, ");
    report_grouped(b, d->n_evaluations);
    text(b, d->n_evaluations == 1 ? " training · <code>" : " trainings · <code>");
    report_escape(b, d->run_dir);
    text(b, "</code></p>");
    if (running)
        aira__buf_printf(b,
                         "<p class=\"alert\">%d of the searches still going on, %d nodes pending: the figures are of "
                         "the moment when this was written.</p>",
                         running, pending);
    const char *state = report_study_text(d, "state", "");
    if (strcmp(state, "stopped") == 0)
        text(b, "<p class=\"alert\">A budget ended the study before its searches were done.</p>");
}

static void head(aira__buf *b, const report_data *d) {
    static const char *const links[][2] = {{"progress", "Progress"},
                                           {"candidates", "Candidates"},
                                           {"layers", "Layers"},
                                           {"models", "Models"},
                                           {"trust", "Trust"},
                                           {"searches", "Searches"},
                                           {"trees", "Trees"},
                                           {"cost", "Cost"},
                                           {"environment", "Environment"}};
    text(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
            "content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" "
            "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><title>");
    report_escape(b, report_study_text(d, "name", "aira"));
    text(b, " – aira report</title><style>\n");
    text(b, report_page_css);
    text(b, "</style></head><body>\n<header><h1>");
    report_escape(b, report_study_text(d, "name", "aira study"));
    text(b, "</h1>");
    state_line(b, d);
    text(b, "</header><nav aria-label=\"sections\">");
    for (size_t i = 0; d->n_nodes > 0 && i < sizeof links / sizeof *links; i++) {
        if (strcmp(links[i][0], "layers") == 0 && !report_has_layers(d)) continue;
        aira__buf_printf(b, "<a href=\"#%s\">%s</a>", links[i][0], links[i][1]);
    }
    text(b, "</nav><main>\n");
}

static bool data_and_script(aira__buf *b, report_data *d) {
    json_t *data = report_node_data(d);
    text(b,
         "</main><footer>The same figures: <code>report.json</code>. Every node: <code>nodes.csv</code>, every call: "
         "<code>calls.csv</code>. Everything: <code>journal.db</code>, an SQLite database (docs/contract.md, section "
         "6).</footer><script type=\"application/json\" id=\"data\">");
    bool fine = data && report_json_in_html(b, data);
    json_decref(data);
    text(b, "</script>\n<script>\n");
    text(b, report_page_js);
    text(b, "</script>");
    return fine;
}

bool report_html(report_data *d, const json_t *facts, aira__buf *b) {
    head(b, d);
    report_verdict_section(b, d, facts);
    report_result_sections(b, d);
    report_model_sections(b, d);
    report_search_sections(b, d, facts);
    report_cost_sections(b, d);
    bool fine = data_and_script(b, d);
    text(b, "</body></html>\n");
    return fine && !b->failed;
}
