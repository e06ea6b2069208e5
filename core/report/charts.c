/* core/report/charts.c - inline SVG: strips of layers, curves, trees, maps. Colours come from the page's style sheet by
 * class, so that light, dark and print differ there alone.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/compose/notation.h"
#include "core/report/internal.h"
#include "core/report/plot.h"

#define COLOURS 8 /* classes t0 .. t7 and c0 .. c7 */

/* ------------------------------------------------------------------- strips */

void report_strip(aira__buf *b, const report_data *d, const uint16_t *layers, int n, const double *support) {
    int cell = n <= 20 ? 30 : n <= 48 ? 22 : n <= 200 ? 10 : 4, height = support ? 34 : 24;
    aira__buf_printf(b, "<svg class=\"strip\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">", n * cell,
                     height, n * cell, height);
    for (int i = 0; i < n; i++) {
        const char *token = layers[i] < d->n_tokens ? d->tokens[layers[i]] : "?";
        aira__buf_printf(b, "<rect class=\"t%d\" x=\"%d\" y=\"0\" width=\"%d\" height=\"22\" rx=\"3\"/>",
                         layers[i] % COLOURS, i * cell + 1, cell - 1);
        if (cell >= 22 && strlen(token) <= (cell >= 30 ? 3u : 2u)) {
            aira__buf_printf(b, "<text class=\"k%d\" x=\"%d\" y=\"16\">", layers[i] % COLOURS, i * cell + cell / 2);
            report_escape(b, token);
            aira__buf_text(b, "</text>");
        }
        if (support)
            aira__buf_printf(
                b,
                "<rect class=\"track\" x=\"%d\" y=\"26\" width=\"%d\" height=\"5\"/><rect class=\"support\" "
                "x=\"%d\" y=\"26\" width=\"%.1f\" height=\"5\"/>",
                i * cell + 1, cell - 1, i * cell + 1, (cell - 1) * fmin(fmax(support[i], 0), 1));
    }
    aira__buf_text(b, "</svg>");
}

void report_strip_text(aira__buf *b, const report_data *d, const char *architecture, const json_t *support) {
    uint16_t *layers = malloc(AIRA__NOTATION_MAX * sizeof *layers);
    double *shares = malloc(AIRA__NOTATION_MAX * sizeof *shares);
    int n = 0;
    bool drawn = layers && shares && d->n_tokens > 0 &&
                 aira__notation_parse(architecture, (const char *const *)d->tokens, d->n_tokens, layers,
                                      AIRA__NOTATION_MAX, &n, NULL) == AIRA_OK;
    if (drawn) {
        for (int i = 0; i < n; i++) shares[i] = json_number_value(json_array_get(support, (size_t)i));
        report_strip(b, d, layers, n, support ? shares : NULL);
    }
    free(layers);
    free(shares);
}

static void legend_entry(aira__buf *b, const report_data *d, int search) {
    char agent[128], scaffold[128];
    report_plugin_name(d->searches[search].agent, agent, sizeof agent);
    report_plugin_name(d->searches[search].scaffold, scaffold, sizeof scaffold);
    aira__buf_printf(b, "<span><i class=\"c%d\"></i>%lld: ", search % COLOURS, (long long)d->searches[search].id);
    report_escape(b, agent);
    aira__buf_text(b, ", ");
    report_escape(b, scaffold);
    aira__buf_printf(b, ", seed %lld</span>", (long long)d->searches[search].seed);
}

/* ------------------------------------------------------------------ progress */

/* Calls point(context, evaluations so far, best so far) at each improvement and at the end. */
static int walk_progress(const report_data *d, int search, void (*point)(void *, int, double), void *context) {
    const report_search *s = &d->searches[search];
    double best = NAN;
    int evaluations = 0;
    for (int i = s->first; i < s->first + s->n; i++) {
        const report_node *n = &d->nodes[i];
        if (strcmp(n->status, "pending") == 0) continue;
        evaluations += n->duplicate_of < 0 && *n->hash;
        if (strcmp(n->status, "good") != 0 || !report_better(d, n->search_score, best)) continue;
        best = n->search_score;
        point(context, evaluations, best);
    }
    if (!isnan(best)) point(context, evaluations, best);
    return evaluations;
}

static void widen_plot(void *context, int evaluations, double best) {
    report_plot *p = context;
    p->x1 = fmax(p->x1, evaluations);
    report_widen(&p->y0, &p->y1, best);
}

typedef struct line {
    aira__buf *b;
    const report_plot *p;
    bool begun;
} line;

static void draw_step(void *context, int evaluations, double best) {
    line *l = context;
    aira__buf_printf(l->b, l->begun ? "H%.1fV%.1f" : "M%.1f %.1f", report_plot_x(l->p, evaluations),
                     report_plot_y(l->p, best));
    l->begun = true;
}

void report_progress_chart(aira__buf *b, const report_data *d) {
    report_plot p = {.x0 = 0, .x1 = 1, .y0 = NAN, .y1 = NAN, .left = 62, .top = 26, .width = 820, .height = 260};
    for (int s = 0; s < d->n_searches; s++) walk_progress(d, s, widen_plot, &p);
    report_plot_open(b, &p, "progress", "evaluations", d->metric);
    for (int s = 0; s < d->n_searches; s++) {
        line l = {b, &p, false};
        aira__buf_printf(b, "<path class=\"line c%d\" d=\"", s % COLOURS);
        walk_progress(d, s, draw_step, &l);
        aira__buf_text(b, "\"/>");
    }
    report_plot_close(b);
    aira__buf_text(b, "<p class=\"legend\">");
    for (int s = 0; s < d->n_searches && s < 24; s++) legend_entry(b, d, s);
    if (d->n_searches > 24) aira__buf_printf(b, "<span>and %d more</span>", d->n_searches - 24);
    aira__buf_text(b, "</p>");
}

/* --------------------------------------------------------------------- tree */

void report_tree_chart(aira__buf *b, const report_data *d, int search) {
    const report_search *s = &d->searches[search];
    int width = s->n * 6 < 820 ? 820 : s->n * 6 > 6000 ? 6000 : s->n * 6;
    report_plot p = {.x0 = 0,
                     .x1 = s->n > 1 ? s->n - 1 : 1,
                     .y0 = NAN,
                     .y1 = NAN,
                     .left = 62,
                     .top = 26,
                     .width = width,
                     .height = 300};
    for (int i = s->first; i < s->first + s->n; i++) report_widen(&p.y0, &p.y1, d->nodes[i].search_score);
    if (isnan(p.y0)) p.y0 = 0, p.y1 = 1;
    p.y0 -= 0.12 * (p.y1 - p.y0); /* a lane below the scores for nodes without one */
    double lane = p.y0;
    report_plot_open(b, &p, "tree", "node", d->metric);
    aira__buf_text(b, "<path class=\"link\" d=\"");
    for (int i = 0; i < s->n; i++) {
        const report_node *n = &d->nodes[s->first + i];
        if (n->parent < 0 || n->parent >= s->n) continue;
        const report_node *from = &d->nodes[s->first + n->parent];
        aira__buf_printf(b, "M%.1f %.1fL%.1f %.1f", report_plot_x(&p, (double)n->parent),
                         report_plot_y(&p, isnan(from->search_score) ? lane : from->search_score), report_plot_x(&p, i),
                         report_plot_y(&p, isnan(n->search_score) ? lane : n->search_score));
    }
    aira__buf_printf(b, "\"/><path class=\"trail\"/><g data-first=\"%d\">", s->first);
    for (int i = 0; i < s->n; i++) {
        int at = s->first + i;
        const report_node *n = &d->nodes[at];
        const char *kind = strcmp(n->status, "pending") == 0 ? "pending"
                           : strcmp(n->status, "good") != 0  ? "buggy"
                           : n->duplicate_of >= 0            ? "again"
                                                             : "good";
        aira__buf_printf(b, "<circle class=\"%s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>", kind,
                         at == d->submitted ? " won" : "", report_plot_x(&p, i),
                         report_plot_y(&p, isnan(n->search_score) ? lane : n->search_score),
                         at == d->submitted ? 7
                         : s->n > 400       ? 3
                                            : 5);
    }
    aira__buf_text(b, "</g>");
    report_plot_close(b);
}

/* ------------------------------------------------------- cluster and scatter */

void report_cluster_map(aira__buf *b, const report_data *d) {
    int depth = d->n_cluster ? d->nodes[d->cluster[0]].n_layers : 0, cell = depth <= 20 ? 38 : depth <= 40 ? 22 : 12;
    if (depth == 0 || depth > 400) return;
    aira__buf_printf(b,
                     "<div class=\"scroll\"><svg class=\"plot map\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">",
                     70 + depth * cell, 24 + 26 * d->n_tokens, 70 + depth * cell, 24 + 26 * d->n_tokens);
    for (int t = 0; t < d->n_tokens; t++) {
        aira__buf_printf(b, "<text class=\"name\" x=\"58\" y=\"%d\" text-anchor=\"end\">", 26 * t + 17);
        report_escape(b, d->tokens[t]);
        aira__buf_text(b, "</text>");
        for (int l = 0; l < depth; l++) {
            int with = 0;
            for (int m = 0; m < d->n_cluster; m++) {
                const report_node *n = &d->nodes[d->cluster[m]];
                with += l < n->n_layers && n->layers[l] == t;
            }
            double share = (double)with / d->n_cluster;
            aira__buf_printf(
                b,
                "<rect class=\"track\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"24\"/><rect class=\"t%d\" x=\"%d\" "
                "y=\"%d\" width=\"%d\" height=\"24\" opacity=\"%.3f\"/>",
                66 + l * cell, 26 * t, cell - 2, t % COLOURS, 66 + l * cell, 26 * t, cell - 2, share);
            if (cell >= 38 && with)
                aira__buf_printf(b, "<text class=\"share%s%d\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%.0f</text>",
                                 share > 0.55 ? " k" : " light", t % COLOURS, 66 + l * cell + cell / 2 - 1, 26 * t + 17,
                                 100 * share);
        }
    }
    for (int l = 0; l < depth; l += cell >= 22 ? 1 : 5)
        aira__buf_printf(b, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>",
                         66 + l * cell + cell / 2 - 1, 26 * d->n_tokens + 14, l + 1);
    report_plot_close(b);
}

void report_optimism_chart(aira__buf *b, const report_data *d) {
    report_plot p = {.x0 = NAN, .x1 = NAN, .y0 = NAN, .y1 = NAN, .left = 62, .top = 26, .width = 400, .height = 300};
    int points = 0;
    for (int i = 0; i < d->n_ranked; i++) {
        const report_node *n = &d->nodes[d->ranked[i]];
        if (isnan(n->search_score) || isnan(n->selection_score)) continue;
        report_widen(&p.x0, &p.x1, n->search_score);
        report_widen(&p.y0, &p.y1, n->selection_score);
        points++;
    }
    if (points < 2) {
        aira__buf_text(b, "<p>Not enough candidates with both scores to compare them.</p>");
        return;
    }
    report_plot_open(b, &p, "scatter", "search split", "selection split");
    double low = fmax(p.x0, p.y0), high = fmin(p.x1, p.y1);
    if (low < high)
        aira__buf_printf(b, "<path class=\"diagonal\" d=\"M%.1f %.1fL%.1f %.1f\"/>", report_plot_x(&p, low),
                         report_plot_y(&p, low), report_plot_x(&p, high), report_plot_y(&p, high));
    aira__buf_text(b, "<path class=\"dots\" d=\""); /* one element, however many candidates */
    for (int i = 0; i < d->n_ranked; i++) {
        const report_node *n = &d->nodes[d->ranked[i]];
        if (!isnan(n->search_score) && !isnan(n->selection_score))
            aira__buf_printf(b, "M%.1f %.1fh0", report_plot_x(&p, n->search_score),
                             report_plot_y(&p, n->selection_score));
    }
    aira__buf_text(b, "\"/>");
    const report_node *won = d->submitted < 0 ? NULL : &d->nodes[d->submitted];
    if (won && !isnan(won->search_score))
        aira__buf_printf(b, "<circle class=\"won\" cx=\"%.1f\" cy=\"%.1f\" r=\"7\"/>",
                         report_plot_x(&p, won->search_score), report_plot_y(&p, won->selection_score));
    report_plot_close(b);
}
