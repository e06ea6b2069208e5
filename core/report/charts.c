/* core/report/charts.c - scatter charts and the dots of seeds, as inline SVG. Many points are one path element, so that
 * ten thousand of them cost a browser as little as ten.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/report/internal.h"

#define SEED_ROWS 18 /* candidates in the chart of seeds */

static void nothing(aira__buf *b, const char *sentence) { aira__buf_printf(b, "<p class=\"dim\">%s</p>", sentence); }

/* ----------------------------------------------------------------- scatters */

typedef struct point {
    double x, y;
} point;

static point optimism_point(const report_data *d, const report_node *n, bool test) {
    if (test) return (point){n->selection_score, report_test_score(d, n->hash)};
    return (point){n->search_score, n->selection_score};
}

static void diagonal(aira__buf *b, const report_plot *p) {
    double low = fmax(p->x0, p->y0), high = fmin(p->x1, p->y1);
    if (low < high)
        aira__buf_printf(b, "<path class=\"diagonal\" d=\"M%.1f %.1fL%.1f %.1f\"/>", report_plot_x(p, low),
                         report_plot_y(p, low), report_plot_x(p, high), report_plot_y(p, high));
}

static void dot(aira__buf *b, const report_plot *p, double x, double y, const char *name) {
    if (isnan(x) || isnan(y)) return;
    aira__buf_printf(b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5.5\"/>", name, report_plot_x(p, x),
                     report_plot_y(p, y));
}

void report_optimism_chart(aira__buf *b, const report_data *d, bool test) {
    report_plot p = {.x0 = NAN, .x1 = NAN, .y0 = NAN, .y1 = NAN, .left = 56, .top = 26, .width = 340, .height = 260};
    int points = 0;
    for (int i = 0; i < d->n_ranked; i++) {
        point at = optimism_point(d, &d->nodes[d->ranked[i]], test);
        if (isnan(at.x) || isnan(at.y)) continue;
        report_widen(&p.x0, &p.x1, at.x);
        report_widen(&p.y0, &p.y1, at.y);
        points++;
    }
    if (points < 2) {
        nothing(b, test ? "Fewer than two candidates were scored on the test split."
                        : "Not enough candidates with both scores to compare them.");
        return;
    }
    double margin = 0.04 * (p.x1 - p.x0);
    p.x0 -= margin;
    p.x1 += margin;
    report_plot_open(b, &p, "scatter", test ? "selection split, as searched" : "search split",
                     test ? "test split, fresh seeds" : "selection split");
    diagonal(b, &p);
    aira__buf_text(b, "<path class=\"dots\" d=\"");
    for (int i = 0; i < d->n_ranked; i++) {
        point at = optimism_point(d, &d->nodes[d->ranked[i]], test);
        if (!isnan(at.x) && !isnan(at.y))
            aira__buf_printf(b, "M%.1f %.1fh0", report_plot_x(&p, at.x), report_plot_y(&p, at.y));
    }
    aira__buf_text(b, "\"/>");
    if (d->submitted >= 0) {
        point at = optimism_point(d, &d->nodes[d->submitted], test);
        dot(b, &p, at.x, at.y, "won");
    }
    report_plot_close(b);
}

/* Score against training FLOPs (or parameters, where FLOPs are one number). */
void report_size_chart(aira__buf *b, const report_data *d) {
    report_plot p = {.x0 = NAN, .x1 = NAN, .y0 = NAN, .y1 = NAN, .left = 56, .top = 26, .width = 340, .height = 260};
    int points = 0;
    for (int i = 0; i < d->n_ranked; i++) {
        const report_node *n = &d->nodes[d->ranked[i]];
        if (n->evaluation < 0 || d->evaluations[n->evaluation].parameters <= 0) continue;
        report_widen(&p.x0, &p.x1, (double)d->evaluations[n->evaluation].parameters / 1e3);
        report_widen(&p.y0, &p.y1, d->ranked_scores[i]);
        points++;
    }
    if (points < 2 || !(p.x1 > p.x0)) {
        nothing(b, "All candidates have the same number of parameters, so size explains nothing.");
        return;
    }
    double margin = 0.04 * (p.x1 - p.x0);
    p.x0 -= margin;
    p.x1 += margin;
    report_plot_open(b, &p, "scatter", "parameters, thousands", d->metric);
    aira__buf_text(b, "<path class=\"dots\" d=\"");
    for (int i = 0; i < d->n_ranked; i++) {
        const report_node *n = &d->nodes[d->ranked[i]];
        if (n->evaluation < 0 || d->evaluations[n->evaluation].parameters <= 0) continue;
        aira__buf_printf(b, "M%.1f %.1fh0", report_plot_x(&p, (double)d->evaluations[n->evaluation].parameters / 1e3),
                         report_plot_y(&p, d->ranked_scores[i]));
    }
    aira__buf_text(b, "\"/>");
    const report_node *won = d->submitted < 0 ? NULL : &d->nodes[d->submitted];
    if (won && won->evaluation >= 0)
        dot(b, &p, (double)d->evaluations[won->evaluation].parameters / 1e3, report_rank_score(won), "won");
    report_plot_close(b);
}

/* -------------------------------------------------------------------- rows */

typedef struct rows { /* values along x, one row per name */
    report_plot p;
    int y;
} rows;

static void rows_open(aira__buf *b, rows *r, int n, const char *name) {
    double margin = r->p.x1 > r->p.x0 ? 0.05 * (r->p.x1 - r->p.x0) : fmax(fabs(r->p.x0) * 0.02, 1e-3);
    r->p.x0 -= margin;
    r->p.x1 += margin;
    r->p.top = 6;
    r->p.height = 24 * n;
    r->y = 18;
    report_plot_open_rows(b, &r->p, name);
}

static void row_label(aira__buf *b, const rows *r, const char *text) {
    aira__buf_printf(b, "<text class=\"rowname\" x=\"%d\" y=\"%d\">", r->p.left - 10, r->y + 4);
    size_t n = strlen(text);
    if (n > 34) { /* cut between characters */
        char cut[40];
        n = 32;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
        snprintf(cut, sizeof cut, "%.*s…", (int)n, text);
        report_escape(b, cut);
    } else {
        report_escape(b, text);
    }
    aira__buf_text(b, "</text>");
}

static void row_mark(aira__buf *b, const rows *r, const char *name, double value, const char *title) {
    if (isnan(value)) return;
    aira__buf_printf(b, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%d\" r=\"4.5\"><title>%s %.5g</title></circle>", name,
                     report_plot_x(&r->p, value), r->y, title, value);
}

static void row_bar(aira__buf *b, const rows *r, const char *name, double low, double high) {
    if (isnan(low) || isnan(high)) return;
    aira__buf_printf(b, "<path class=\"%s\" d=\"M%.1f %dH%.1f\"/>", name, report_plot_x(&r->p, low), r->y,
                     report_plot_x(&r->p, high));
}

/* Candidates that were trained with several seeds, best first: each seed a dot, the mean a bar of one deviation. */
void report_seeds_chart(aira__buf *b, const report_data *d) {
    rows r = {.p = {.x0 = NAN, .x1 = NAN, .left = 250, .width = 560}};
    int shown[SEED_ROWS], n = 0;
    for (int i = 0; i < d->n_ranked && n < SEED_ROWS; i++) {
        const char *hash = d->nodes[d->ranked[i]].hash;
        report_seeds s = report_seeds_of(d, hash);
        if (s.n < 2) continue;
        int many;
        const report_evaluation *e = report_find_evaluations(d, hash, &many);
        for (int k = 0; k < many; k++) report_widen(&r.p.x0, &r.p.x1, e[k].selection_score);
        report_widen(&r.p.x0, &r.p.x1, s.mean - s.deviation);
        report_widen(&r.p.x0, &r.p.x1, s.mean + s.deviation);
        shown[n++] = d->ranked[i];
    }
    if (n == 0) {
        nothing(b, "No candidate was trained with more than one seed, so the noise between seeds is not known.");
        return;
    }
    rows_open(b, &r, n, "selection split");
    for (int i = 0; i < n; i++, r.y += 24) {
        const report_node *node = &d->nodes[shown[i]];
        report_seeds s = report_seeds_of(d, node->hash);
        int many;
        const report_evaluation *e = report_find_evaluations(d, node->hash, &many);
        row_label(b, &r, node->architecture);
        row_bar(b, &r, "whisker", s.mean - s.deviation, s.mean + s.deviation);
        for (int k = 0; k < many; k++)
            if (strcmp(e[k].purpose, "search") == 0 || strcmp(e[k].purpose, "confirm") == 0)
                row_mark(b, &r, "seed", e[k].selection_score, e[k].purpose);
    }
    report_plot_close(b);
}

/* -------------------------------------------------------------------- final */

static double bound(const json_t *entry, const char *split, size_t side) {
    const json_t *value = json_array_get(json_object_get(json_object_get(entry, split), "interval"), side);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* What was submitted and the baselines on fresh seeds: mean of the test split with its interval, beside the selection
 * score as searched. */
void report_final_chart(aira__buf *b, const report_data *d) {
    const json_t *list = json_object_get(d->final, "test"), *entry;
    rows r = {.p = {.x0 = NAN, .x1 = NAN, .left = 250, .width = 560}};
    size_t i;
    json_array_foreach(list, i, entry) {
        report_widen(&r.p.x0, &r.p.x1, report_number_in(json_object_get(entry, "searched"), "selection"));
        report_widen(&r.p.x0, &r.p.x1, report_number_in(json_object_get(entry, "test"), "mean"));
        report_widen(&r.p.x0, &r.p.x1, bound(entry, "test", 0));
        report_widen(&r.p.x0, &r.p.x1, bound(entry, "test", 1));
    }
    if (isnan(r.p.x0)) return;
    rows_open(b, &r, (int)json_array_size(list), d->metric);
    json_array_foreach(list, i, entry) {
        char label[256];
        snprintf(label, sizeof label, "%.80s: %.120s", report_string_in(entry, "name"),
                 report_string_in(entry, "architecture"));
        row_label(b, &r, label);
        row_bar(b, &r, "whisker", bound(entry, "test", 0), bound(entry, "test", 1));
        row_mark(b, &r, "searched", report_number_in(json_object_get(entry, "searched"), "selection"), "as searched");
        row_mark(b, &r, "fresh", report_number_in(json_object_get(entry, "test"), "mean"), "fresh seeds");
        r.y += 24;
    }
    report_plot_close(b);
}

/* ----------------------------------------------------------------- rescored */

static point rescored(const report_data *d, const json_t *candidate) {
    return (point){report_number_in(candidate, "score"), report_seeds_of(d, report_string_in(candidate, "hash")).mean};
}

void report_rescore_chart(aira__buf *b, const report_data *d, const json_t *from) {
    report_plot p = {.x0 = NAN, .x1 = NAN, .y0 = NAN, .y1 = NAN, .left = 56, .top = 26, .width = 340, .height = 260};
    const json_t *list = json_object_get(from, "candidates"), *candidate;
    char x_name[128], y_name[128];
    size_t i;
    int points = 0;
    json_array_foreach(list, i, candidate) {
        point at = rescored(d, candidate);
        if (isnan(at.x) || isnan(at.y)) continue;
        report_widen(&p.x0, &p.x1, at.x);
        report_widen(&p.y0, &p.y1, at.y);
        points++;
    }
    if (points < 2) {
        nothing(b, "Fewer than two candidates have both scores.");
        return;
    }
    double margin = 0.04 * (p.x1 - p.x0);
    p.x0 -= margin;
    p.x1 += margin;
    snprintf(x_name, sizeof x_name, "%.100s there", report_string_in(from, "metric"));
    snprintf(y_name, sizeof y_name, "%.100s here", d->metric);
    report_plot_open(b, &p, "scatter", x_name, y_name);
    aira__buf_text(b, "<path class=\"dots\" d=\"");
    json_array_foreach(list, i, candidate) {
        point at = rescored(d, candidate);
        if (!isnan(at.x) && !isnan(at.y))
            aira__buf_printf(b, "M%.1f %.1fh0", report_plot_x(&p, at.x), report_plot_y(&p, at.y));
    }
    aira__buf_text(b, "\"/>");
    report_plot_close(b);
}
