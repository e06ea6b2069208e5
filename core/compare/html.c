/* core/compare/html.c - a comparison as one page that opens anywhere: the report's style and axes, no script. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/compare/compare.h"
#include "core/report/internal.h"
#include "core/report/plot.h"

#define COLOURS 8
#define CURVES_MOST 16 /* players drawn into one chart */
#define STEPS_MOST 200

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static void head(aira__buf *b, const compare_data *d) {
    text(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
            "content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" "
            "content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>aira comparison</title><style>\n");
    text(b, report_page_css);
    text(b, ".whisker { stroke: var(--fg); stroke-width: 1.4; }\n</style></head>"
            "<body>\n<h1>Comparison</h1><p class=\"dim\">");
    int references = 0, runs = 0;
    for (int p = 0; p < d->n_players; p++) references += d->players[p].reference;
    for (int t = 0; t < d->n_tasks; t++) runs += d->tasks[t].runs;
    aira__buf_printf(b, "%d player%s (agent and scaffold), %d reference%s, %d search%s on %d task%s</p>\n",
                     d->n_players - references, d->n_players - references == 1 ? "" : "s", references,
                     references == 1 ? "" : "s", runs, runs == 1 ? "" : "es", d->n_tasks, d->n_tasks == 1 ? "" : "s");
}

static void interval(aira__buf *b, const compare_interval *i, const char *format) {
    char line[160], value[32], low[32], high[32];
    text(b, "<td>");
    if (isnan(i->value)) {
        text(b, "-</td>");
        return;
    }
    snprintf(value, sizeof value, format, i->value);
    snprintf(low, sizeof low, format, i->low);
    snprintf(high, sizeof high, format, i->high);
    snprintf(line, sizeof line, isnan(i->low) ? "%s" : "%s <span class=\"dim\">[%s, %s]</span>", value, low, high);
    text(b, line);
    text(b, "</td>");
}

static void name_cell(aira__buf *b, const compare_player *p, int index) {
    aira__buf_printf(b,
                     "<td class=\"l\"><i class=\"c%d\" style=\"display:inline-block;width:.7em;height:.7em;"
                     "border-radius:3px;margin-right:.4em\"></i>",
                     index % COLOURS);
    report_escape(b, p->name);
    text(b, p->reference ? " <span class=\"dim\">(reference)</span></td>" : "</td>");
}

static void standings(aira__buf *b, const compare_data *d) {
    text(b, "<h2>Standings</h2><div class=\"scroll\"><table><tr><th class=\"l\">player</th><th>runs</th><th>valid</th>"
            "<th>Elo</th><th>normalised score</th><th>linear</th></tr>\n");
    for (int p = 0; p < d->n_players; p++) {
        const compare_player *x = &d->players[p];
        text(b, "<tr>");
        name_cell(b, x, p);
        aira__buf_printf(b, "<td>%d</td><td>%.0f %%</td>", x->runs, x->runs ? 100.0 * x->valid / x->runs : 0.0);
        interval(b, &x->rating, "%.0f");
        interval(b, &x->normalised, "%.3f");
        interval(b, &x->linear, "%.3f");
        text(b, "</tr>\n");
    }
    aira__buf_printf(
        b,
        "</table></div><p class=\"dim\">Elo: Bradley-Terry over all pairings of runs on the same task, 400 points for "
        "odds of 10, mean 1000; a valid run beats an invalid one, scores within 1e-6 tie; a reference plays as %d "
        "runs. "
        "Normalised: 0 is a guess, 1 the scale's best, every halving of the distance to the optimum is worth the same; "
        "invalid runs count 0. In brackets: 2.5th and 97.5th percentile over %d rounds in which the runs were drawn "
        "again.</p>\n",
        AIRA__REFERENCE_COPIES, AIRA__BOOTSTRAP_ROUNDS);
}

static void rating_chart(aira__buf *b, const compare_data *d) {
    report_plot p = {.x0 = NAN, .x1 = NAN, .y0 = 0.4, .y1 = d->n_players + 0.6, .left = 200, .top = 26, .width = 680};
    p.height = 26 * (d->n_players + 1);
    for (int i = 0; i < d->n_players; i++) {
        const compare_interval *r = &d->players[i].rating;
        report_widen(&p.x0, &p.x1, r->value);
        report_widen(&p.x0, &p.x1, r->low);
        report_widen(&p.x0, &p.x1, r->high);
    }
    aira__buf_printf(b, "<div class=\"scroll\"><svg class=\"plot\" viewBox=\"0 0 900 %d\" width=\"900\" height=\"%d\">",
                     p.height + 70, p.height + 70);
    double margin = fmax(0.05 * (p.x1 - p.x0), 10);
    p.x0 -= margin;
    p.x1 += margin;
    double step = p.x1 - p.x0 > 2500 ? 1000 : p.x1 - p.x0 > 900 ? 400 : p.x1 - p.x0 > 300 ? 100 : 20;
    for (double x = ceil(p.x0 / step) * step; x <= p.x1; x += step)
        aira__buf_printf(b,
                         "<path class=\"grid\" d=\"M%.1f %dv%d\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\" "
                         "text-anchor=\"middle\">%.0f</text>",
                         report_plot_x(&p, x), p.top, p.height, report_plot_x(&p, x), p.top + p.height + 16, x);
    for (int i = 0; i < d->n_players; i++) {
        const compare_interval *r = &d->players[i].rating;
        double y = p.top + 26 * (i + 1);
        aira__buf_printf(b, "<text x=\"190\" y=\"%.1f\" text-anchor=\"end\">", y + 4);
        report_escape(b, d->players[i].name);
        text(b, "</text>");
        if (!isnan(r->low))
            aira__buf_printf(b, "<path class=\"whisker\" d=\"M%.1f %.1fH%.1f\"/>", report_plot_x(&p, r->low), y,
                             report_plot_x(&p, r->high));
        aira__buf_printf(b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>",
                         d->players[i].reference ? "pending" : "good", report_plot_x(&p, r->value), y);
    }
    aira__buf_printf(b, "<text class=\"name\" x=\"880\" y=\"%d\" text-anchor=\"end\">Elo</text></svg></div>\n",
                     p.top + p.height + 34);
}

/* ---- one task ---- */

static void score_table(aira__buf *b, const compare_data *d, int task) {
    text(b, "<div class=\"scroll\"><table><tr><th class=\"l\">player</th><th>runs</th><th>valid</th><th>mean</th><th>"
            "deviation</th><th>best</th><th>normalised</th><th>linear</th></tr>\n");
    for (int p = 0; p < d->n_players; p++) {
        compare_cell c = aira__compare_cell(d, p, task);
        if (c.runs == 0) continue;
        const double values[] = {c.mean, c.deviation, c.best, c.normalised, c.linear};
        text(b, "<tr>");
        name_cell(b, &d->players[p], p);
        aira__buf_printf(b, "<td>%d</td><td>%d</td>", c.runs, c.valid);
        for (int k = 0; k < 5; k++) {
            text(b, "<td>");
            report_number(b, values[k], 4);
            text(b, "</td>");
        }
        text(b, "</tr>\n");
    }
    text(b, "</table></div>\n");
}

static double step_of(double most, int k, int n) { return round(most * k / n); }

/* One edge of the band, or the median, as a staircase of n steps over `most` evaluations; which: of the quartiles. A
   run that has ended keeps its best. back: from the end to the beginning. */
static bool draw_edge(aira__buf *b, const compare_data *d, const report_plot *plot, int player, int task, double most,
                      int which, bool back, bool begun) {
    int n = most < STEPS_MOST ? (int)most : STEPS_MOST;
    double q[3];
    for (int i = 1; i <= n; i++) {
        int k = back ? n + 1 - i : i;
        if (!aira__compare_anytime(d, player, task, step_of(most, k, n), q)) continue;
        double x0 = report_plot_x(plot, step_of(most, k, n)), x1 = report_plot_x(plot, step_of(most, k + 1, n));
        double y = report_plot_y(plot, q[which]);
        if (k == n) x1 = x0;
        aira__buf_printf(b, begun ? "L%.1f %.1fH%.1f" : "M%.1f %.1fH%.1f", back ? x1 : x0, y, back ? x0 : x1);
        begun = true;
    }
    return begun;
}

static void draw_player(aira__buf *b, const compare_data *d, const report_plot *plot, int player, int task) {
    double most = plot->x1, q[3];
    if (aira__compare_most_evaluations(d, player, task) < 1) return;
    if (aira__compare_anytime(d, player, task, most, q) > 1) {
        aira__buf_printf(b, "<path class=\"band f%d\" d=\"", player % COLOURS);
        (void)draw_edge(b, d, plot, player, task, most, 2, true,
                        draw_edge(b, d, plot, player, task, most, 0, false, false));
        text(b, "Z\"/>");
    }
    aira__buf_printf(b, "<path class=\"line c%d\" d=\"", player % COLOURS);
    (void)draw_edge(b, d, plot, player, task, most, 1, false, false);
    text(b, "\"/>");
}

static void anytime_chart(aira__buf *b, const compare_data *d, int task) {
    double most = aira__compare_most_evaluations(d, -1, task), q[3];
    report_plot plot = {
        .x0 = 0, .x1 = fmax(most, 1), .y0 = NAN, .y1 = NAN, .left = 62, .top = 26, .width = 820, .height = 280};
    if (most < 1) return;
    for (int p = 0; p < d->n_players; p++)
        for (int k = 1; k <= 50; k++)
            if (aira__compare_anytime(d, p, task, step_of(most, k, 50), q))
                for (int i = 0; i < 3; i++) report_widen(&plot.y0, &plot.y1, q[i]);
    for (int i = 0; i < d->n_runs; i++)
        if (d->runs[i].task == task && d->players[d->runs[i].player].reference)
            report_widen(&plot.y0, &plot.y1, d->runs[i].score);
    report_plot_open(b, &plot, "progress", "evaluations", d->tasks[task].metric);
    for (int i = 0; i < d->n_runs; i++)
        if (d->runs[i].task == task && d->players[d->runs[i].player].reference)
            aira__buf_printf(b, "<path class=\"diagonal\" d=\"M%d %.1fh%d\"/>", plot.left,
                             report_plot_y(&plot, d->runs[i].score), plot.width);
    for (int p = 0; p < d->n_players && p < CURVES_MOST; p++) draw_player(b, d, &plot, p, task);
    report_plot_close(b);
    text(b, "<p class=\"legend\">");
    for (int p = 0; p < d->n_players && p < CURVES_MOST; p++) {
        if (aira__compare_most_evaluations(d, p, task) < 1) continue;
        aira__buf_printf(b, "<span><i class=\"c%d\"></i>", p % COLOURS);
        report_escape(b, d->players[p].name);
        text(b, "</span>");
    }
    text(b,
         "</p><p class=\"dim\">Best search score so far: median over runs, band from the 25th to the 75th percentile; "
         "dashed: references.</p>\n");
}

static void one_task(aira__buf *b, const compare_data *d, int task) {
    const compare_task *t = &d->tasks[task];
    text(b, "<h2>Task ");
    report_escape(b, t->name);
    aira__buf_printf(b,
                     "</h2><p class=\"dim\">%s of %s scores, %s is better; %d of %d searches submitted a valid "
                     "candidate. Scale: ",
                     t->final ? "Final test" : "Selection", t->metric, t->higher_is_better ? "higher" : "lower",
                     t->valid, t->runs);
    if (isnan(t->scale.worst))
        text(b, "not known");
    else
        aira__buf_printf(b, "worst %.6g, best %.6g, optimum %.6g", t->scale.worst, t->scale.best, t->scale.optimum);
    text(b, ".</p>\n");
    score_table(b, d, task);
    anytime_chart(b, d, task);
}

static void costs(aira__buf *b, const compare_data *d) {
    text(b,
         "<h2>What it cost</h2><div class=\"scroll\"><table><tr><th class=\"l\">player</th><th>runs</th><th>nodes</th>"
         "<th>evaluations</th><th>device time</th><th>calls</th><th>tokens in</th><th>tokens out</th><th>USD</th>"
         "</tr>\n");
    for (int p = 0; p < d->n_players; p++) {
        const compare_player *x = &d->players[p];
        const compare_costs *c = &x->costs;
        if (x->reference) continue;
        text(b, "<tr>");
        name_cell(b, x, p);
        aira__buf_printf(b, "<td>%d</td>", x->runs);
        const double counts[] = {c->nodes, c->evaluations, NAN, c->calls, c->input_tokens, c->output_tokens};
        for (int k = 0; k < 6; k++) {
            text(b, "<td>");
            if (k == 2 && !isnan(c->device_seconds))
                report_duration(b, c->device_seconds);
            else if (isnan(counts[k]))
                text(b, "-");
            else
                report_grouped(b, counts[k]);
            text(b, "</td>");
        }
        if (isnan(c->money_usd))
            text(b, "<td>-</td></tr>\n");
        else
            aira__buf_printf(b, "<td>%.2f</td></tr>\n", c->money_usd);
    }
    text(b,
         "</table></div><p class=\"dim\">Sums over a player's runs. An evaluation that two searches of one study share "
         "counts for both: what each would have cost alone.</p>\n");
}

bool aira__compare_html(const compare_data *d, aira__buf *b) {
    head(b, d);
    standings(b, d);
    rating_chart(b, d);
    for (int t = 0; t < d->n_tasks; t++) one_task(b, d, t);
    costs(b, d);
    const json_t *note;
    size_t i;
    if (json_array_size(d->notes)) text(b, "<h2>Notes</h2>");
    json_array_foreach(d->notes, i, note) {
        text(b, "<p>");
        report_escape(b, json_string_value(note));
        text(b, "</p>");
    }
    text(b, "</body></html>\n");
    return !b->failed;
}
