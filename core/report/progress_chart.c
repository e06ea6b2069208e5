/* core/report/progress_chart.c - best score so far against what it took: trainings, time, money.
 *
 * Searches that differ in their seed alone share a colour: a line for each of them while they are few, and where there
 * are two or more the median of them over the band from the worst to the best. Searches that do not learn from scores
 * are baselines, dashed.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/report/internal.h"

#define GRID 160       /* points of a median and its band */
#define FEW_LINES 3    /* single searches drawn beside the median */
#define MANY_LINES 200 /* no more single lines in all */

typedef struct series { /* steps: from x[i] on the best is best[i] */
    double *x, *best, end;
    int n;
} series;

static void series_free(series *all, int n) {
    for (int i = 0; all && i < n; i++) {
        free(all[i].x);
        free(all[i].best);
    }
    free(all);
}

/* Best search score so far of one search. false: out of memory. */
static bool walk(const report_data *d, int search, report_axis axis, series *out) {
    const report_search *s = &d->searches[search];
    double best = NAN, x = 0, money = 0;
    int64_t trainings = 0;
    *out = (series){0};
    for (int i = s->first; i < s->first + s->n; i++) {
        const report_node *n = &d->nodes[i];
        if (strcmp(n->status, "pending") == 0) continue;
        if (n->duplicate_of < 0 && *n->hash) trainings += n->seeds > 1 ? n->seeds : 1;
        if (!isnan(n->money_usd)) money += n->money_usd;
        double at = axis == REPORT_BY_TIME    ? n->finished - d->began
                    : axis == REPORT_BY_MONEY ? money
                                              : (double)trainings;
        if (!isnan(at)) x = fmax(x, at);
        out->end = x;
        if (strcmp(n->status, "good") != 0 || !report_better(d, n->search_score, best)) continue;
        best = n->search_score;
        if (!report_grow(&out->x, out->n, sizeof *out->x) || !report_grow(&out->best, out->n, sizeof *out->best))
            return false;
        out->x[out->n] = x;
        out->best[out->n++] = best;
    }
    return true;
}

static double at_x(const series *s, double x) {
    double best = NAN;
    for (int i = 0; i < s->n && s->x[i] <= x; i++) best = s->best[i];
    return best;
}

/* Height of a score; what is worse than the axis reaches lies on its edge. */
static double height_of(const report_plot *p, double score) {
    return report_plot_y(p, fmin(fmax(score, p->y0), p->y1));
}

static void draw_line(aira__buf *b, const report_plot *p, const series *s, int colour, bool thin, bool dashed) {
    if (s->n == 0) return;
    aira__buf_printf(b, "<path class=\"line c%d%s%s\" d=\"", colour, thin ? " thin" : "", dashed ? " dashed" : "");
    for (int i = 0; i < s->n; i++)
        aira__buf_printf(b, i ? "H%.1fV%.1f" : "M%.1f %.1f", report_plot_x(p, s->x[i]), height_of(p, s->best[i]));
    aira__buf_printf(b, "H%.1f\"/>", report_plot_x(p, s->end));
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median over the band from the worst to the best, from where every search of the group has a score. */
static void draw_band(aira__buf *b, const report_data *d, const report_plot *p, const series *all, int group) {
    double *values = malloc(((size_t)d->n_searches + 1) * sizeof *values), low[GRID + 1], high[GRID + 1],
           middle[GRID + 1], end = 0;
    int first = -1, last = -1;
    for (int s = 0; s < d->n_searches; s++)
        if (d->searches[s].group == group && all[s].end > end) end = all[s].end;
    for (int k = 0; values && k <= GRID; k++) {
        int n = 0, missing = 0;
        for (int s = 0; s < d->n_searches; s++) {
            if (d->searches[s].group != group || all[s].n == 0) continue;
            values[n] = at_x(&all[s], end * k / GRID);
            missing += isnan(values[n]);
            n++;
        }
        if (n == 0 || missing) continue;
        qsort(values, (size_t)n, sizeof *values, rising);
        low[k] = values[0];
        high[k] = values[n - 1];
        middle[k] = (values[(n - 1) / 2] + values[n / 2]) / 2;
        if (first < 0) first = k;
        last = k;
    }
    free(values);
    if (first < 0) return;
    int colour = group % REPORT_COLOURS;
    aira__buf_printf(b, "<path class=\"band f%d\" d=\"", colour);
    for (int k = first; k <= last; k++)
        aira__buf_printf(b, "%s%.1f %.1f", k > first ? "L" : "M", report_plot_x(p, end * k / GRID),
                         height_of(p, high[k]));
    for (int k = last; k >= first; k--)
        aira__buf_printf(b, "L%.1f %.1f", report_plot_x(p, end * k / GRID), height_of(p, low[k]));
    aira__buf_printf(b, "Z\"/><path class=\"line c%d%s\" d=\"", colour, d->groups[group].baseline ? " dashed" : "");
    for (int k = first; k <= last; k++)
        aira__buf_printf(b, "%s%.1f %.1f", k > first ? "L" : "M", report_plot_x(p, end * k / GRID),
                         height_of(p, middle[k]));
    aira__buf_text(b, "\"/>");
}

/* The unit that a range of seconds is read in. */
static double time_unit(double seconds, const char **name) {
    *name = seconds > 2 * 86400 ? "days" : seconds > 2 * 3600 ? "hours" : seconds > 120 ? "minutes" : "seconds";
    return seconds > 2 * 86400 ? 86400 : seconds > 2 * 3600 ? 3600 : seconds > 120 ? 60 : 1;
}

static void draw(aira__buf *b, const report_data *d, const report_plot *p, const series *all) {
    int lines = 0;
    double median = report_median_score(d);
    if (!isnan(median) && median > p->y0 && median < p->y1)
        aira__buf_printf(b,
                         "<path class=\"median\" d=\"M%d %.1fh%d\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                         "text-anchor=\"end\">median candidate</text>",
                         p->left, report_plot_y(p, median), p->width, p->left + p->width, report_plot_y(p, median) - 4);
    for (int g = 0; g < d->n_groups; g++) {
        bool few = d->groups[g].n <= FEW_LINES;
        if (d->groups[g].n > 1) draw_band(b, d, p, all, g);
        for (int s = 0; s < d->n_searches; s++)
            if (d->searches[s].group == g && few && lines++ < MANY_LINES)
                draw_line(b, p, &all[s], g % REPORT_COLOURS, d->groups[g].n > 1, d->groups[g].baseline);
    }
}

bool report_progress_chart(aira__buf *b, const report_data *d, report_axis axis, int width, int height) {
    report_plot p = {.x0 = 0, .x1 = 0, .y0 = NAN, .y1 = NAN, .left = 56, .top = 26, .width = width, .height = height};
    series *all = calloc((size_t)d->n_searches + 1, sizeof *all);
    const char *names[] = {"trainings of each search", "", "USD spent by each search"}, *unit;
    char name[64];
    for (int s = 0; all && s < d->n_searches; s++) {
        if (!walk(d, s, axis, &all[s])) b->failed = true;
        p.x1 = fmax(p.x1, all[s].end);
    }
    /* The first few trainings may be far worse than all that follow: the axis begins where they are behind. */
    for (int s = 0; all && s < d->n_searches; s++) {
        for (int i = 0; i < all[s].n; i++)
            if (i + 1 == all[s].n || all[s].x[i + 1] >= 0.04 * p.x1 || all[s].n < 12)
                report_widen(&p.y0, &p.y1, all[s].best[i]);
    }
    double median = report_median_score(d);
    if (!isnan(p.y0)) report_widen(&p.y0, &p.y1, median);
    bool any = all && p.x1 > 0 && !isnan(p.y0);
    if (any && axis == REPORT_BY_TIME) {
        double scale = time_unit(p.x1, &unit);
        for (int s = 0; s < d->n_searches; s++) {
            for (int i = 0; i < all[s].n; i++) all[s].x[i] /= scale;
            all[s].end /= scale;
        }
        p.x1 /= scale;
        snprintf(name, sizeof name, "%s since the start", unit);
        names[REPORT_BY_TIME] = name;
    }
    if (any) {
        report_plot_open(b, &p, "progress", names[axis], d->metric);
        draw(b, d, &p, all);
        report_plot_close(b);
    }
    series_free(all, d->n_searches);
    return any;
}

void report_group_legend(aira__buf *b, const report_data *d) {
    aira__buf_text(b, "<p class=\"legend\">");
    for (int g = 0; g < d->n_groups && g < 24; g++) {
        aira__buf_printf(b, "<span><svg width=\"22\" height=\"10\"><path class=\"line c%d%s\" d=\"M1 5h20\"/></svg>",
                         g % REPORT_COLOURS, d->groups[g].baseline ? " dashed" : "");
        report_escape(b, d->groups[g].name);
        if (d->groups[g].n > 1) aira__buf_printf(b, " (%d searches: median, worst to best)", d->groups[g].n);
        if (d->groups[g].baseline) aira__buf_text(b, ", learns nothing from scores");
        aira__buf_text(b, "</span>");
    }
    if (d->n_groups > 24) aira__buf_printf(b, "<span>and %d more</span>", d->n_groups - 24);
    aira__buf_text(b, "</p>");
}
