/* core/report/section_results.c - what was found: progress, the best candidates, the layers they share. */
#include <math.h>
#include <string.h>

#include "core/report/internal.h"

#define TOP_ROWS 15

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static void progress(aira__buf *b, const report_data *d) {
    report_section(b, "progress", "Best so far",
                   "The best score on the search split, which steers; a search cannot know the others.");
    report_group_legend(b, d);
    report_progress_chart(b, d, REPORT_BY_EVALUATIONS, 860, 240);
    text(b, "<div class=\"pair\">");
    report_progress_chart(b, d, REPORT_BY_TIME, 390, 180);
    if (!report_progress_chart(b, d, REPORT_BY_MONEY, 390, 180))
        text(b, isnan(d->calls.money_usd) ? "<p class=\"dim empty\">Money: unknown. The agents told no price.</p>"
                                          : "<p class=\"dim empty\">Money: none was spent on agents.</p>");
    text(b, "</div></section>\n");
}

static void top_candidates(aira__buf *b, const report_data *d) {
    report_section(b, "candidates", "Best candidates",
                   "By their score on the selection split, the mean over searches that found them. A row opens its "
                   "training, prompt and answer.");
    text(b, "<div class=\"scroll\"><table class=\"rows\"><thead><tr><th class=\"l\">architecture</th><th></th>"
            "<th>selection</th><th>search</th><th>seeds</th><th>± seed</th><th>parameters</th><th>FLOPs</th><th "
            "class=\"l\">standing</th><th>node</th></tr></thead><tbody>\n");
    for (int i = 0; i < d->n_ranked && i < TOP_ROWS; i++) {
        const report_node *n = &d->nodes[d->ranked[i]];
        const report_evaluation *e = n->evaluation < 0 ? NULL : &d->evaluations[n->evaluation];
        report_seeds s = report_seeds_of(d, n->hash);
        aira__buf_printf(b, "<tr data-node=\"%d\" tabindex=\"0\"%s><td class=\"l arch\">", d->ranked[i],
                         d->submitted >= 0 && strcmp(n->hash, d->nodes[d->submitted].hash) == 0 ? " class=\"won\""
                                                                                                : "");
        report_escape(b, n->architecture);
        text(b, "</td><td class=\"l\">");
        if (n->n_layers && n->n_layers <= 64) report_mini_strip(b, n->layers, n->n_layers);
        text(b, "</td><td>");
        report_fixed(b, d->ranked_scores[i], 4, false);
        text(b, "</td><td>");
        report_fixed(b, n->search_score, 4, false);
        aira__buf_printf(b, "</td><td>%d</td><td>", s.n);
        report_number(b, s.deviation, 2);
        text(b, "</td><td>");
        report_grouped(b, e && e->parameters >= 0 ? (double)e->parameters : NAN);
        text(b, "</td><td>");
        report_short(b, e ? e->flops : NAN);
        text(b, "</td><td class=\"l\">");
        report_escape(b, *n->standing ? n->standing : "–");
        aira__buf_printf(b, "</td><td>%lld/%lld</td></tr>\n", (long long)d->searches[n->search].id, (long long)n->idx);
    }
    text(b, "</tbody></table></div></section>\n");
}

static void notes_of(aira__buf *b, const json_t *aggregate) {
    const json_t *notes = json_object_get(aggregate, "notes"), *note;
    size_t k;
    if (json_array_size(notes) == 0) return;
    aira__buf_printf(b, "<details><summary>%zu note%s</summary><ul>", json_array_size(notes),
                     json_array_size(notes) == 1 ? "" : "s");
    json_array_foreach(notes, k, note) {
        text(b, "<li>");
        report_escape(b, json_is_string(note) ? json_string_value(note) : "");
        text(b, "</li>");
    }
    text(b, "</ul></details>");
}

bool report_has_layers(const report_data *d) { return d->n_cluster == 0 || d->nodes[d->cluster[0]].n_layers > 0; }

static void layers(aira__buf *b, const report_data *d) {
    size_t i;
    const json_t *a;
    char note[320];
    if (!report_has_layers(d)) return;
    snprintf(note, sizeof note,
             "How often each token stands at each layer, in percent of the %d best distinct candidates%s", d->n_cluster,
             json_array_size(d->aggregated) ? "; below, what the aggregators made of them, with the share of the "
                                              "cluster's weight that chose each token."
                                            : ".");
    report_section(b, "layers", "Layers of the top cluster", note);
    report_cluster_map(b, d);
    if (json_array_size(d->aggregated)) text(b, "<dl class=\"aggregates\">");
    json_array_foreach(d->aggregated, i, a) {
        text(b, "<dt>");
        report_escape(b, report_string_in(a, "by"));
        text(b, "</dt><dd><span class=\"arch\">");
        report_escape(b, report_string_in(a, "architecture"));
        aira__buf_printf(b, "</span> <span class=\"dim\">from %.0f candidates</span>",
                         report_number_in(a, "cluster_size"));
        notes_of(b, a);
        text(b, "</dd>");
    }
    if (json_array_size(d->aggregated)) text(b, "</dl>");
    text(b, "</section>\n");
}

/* What a rescored run says of the one that it was made from. */
static void rescored(aira__buf *b, const report_data *d) {
    const json_t *entry, *from = NULL;
    size_t i;
    json_array_foreach(d->results, i, entry) {
        if (strcmp(report_string_in(entry, "kind"), "rescore") == 0) from = json_object_get(entry, "value");
    }
    if (!json_is_object(from)) return;
    report_section(b, "rescored", "Scored again with another task",
                   "No agent was asked: these are another run's candidates, with their scores there and here.");
    text(b, "<p>From <code>");
    report_escape(b, report_string_in(from, "run_dir"));
    bool there = json_is_true(json_object_get(from, "higher_is_better"));
    aira__buf_printf(b, "</code>, %zu candidates%s. Pairs and ranks: <code>rescore.csv</code>.</p>",
                     json_array_size(json_object_get(from, "candidates")),
                     there == d->higher_is_better ? ""
                     : there                      ? "; there more was better, here less is"
                                                  : "; there less was better, here more is");
    report_rescore_chart(b, d, from);
    text(b, "</section>\n");
}

void report_result_sections(aira__buf *b, const report_data *d) {
    rescored(b, d);
    if (d->best >= 0) progress(b, d);
    if (d->n_ranked > 0) top_candidates(b, d);
    if (d->n_cluster > 0) layers(b, d);
}
