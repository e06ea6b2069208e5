/* core/report/plot.c - axes of a chart as inline SVG; see plot.h. */
#include "core/report/plot.h"

#include <math.h>

#include "core/report/internal.h"

#define MAX_TICKS 12

double report_plot_x(const report_plot *p, double x) {
    return p->left + (p->x1 > p->x0 ? (x - p->x0) / (p->x1 - p->x0) : 0.5) * p->width;
}
double report_plot_y(const report_plot *p, double y) {
    return p->top + p->height - (p->y1 > p->y0 ? (y - p->y0) / (p->y1 - p->y0) : 0.5) * p->height;
}

/* 1, 2 or 5 times a power of ten: about five steps in the range */
static double nice_step(double range) {
    if (!(range > 0)) return 1;
    double step = pow(10, floor(log10(range / 5)));
    double rest = range / 5 / step;
    return step * (rest > 5 ? 10 : rest > 2 ? 5 : rest > 1 ? 2 : 1);
}

void report_widen(double *low, double *high, double value) {
    if (isnan(value)) return;
    if (isnan(*low) || value < *low) *low = value;
    if (isnan(*high) || value > *high) *high = value;
}

static double clean_zero(double value, double step) { return fabs(value) < step / 1e6 ? 0.0 : value; }

/* Decimals that tell the ticks of a step apart. */
static int decimals_of(double step) {
    int n = (int)ceil(-log10(step) - 1e-9);
    return n < 0 ? 0 : n > 9 ? 9 : n;
}

static void tick_text(aira__buf *b, double value, double step) {
    if (fabs(value) >= 1e6 || step < 1e-6)
        aira__buf_printf(b, "%.4g</text>", value);
    else
        aira__buf_printf(b, "%.*f</text>", decimals_of(step), value);
}

static void begin(aira__buf *b, const report_plot *p, const char *class_name) {
    int w = p->left + p->width + 14, h = p->top + p->height + 40;
    aira__buf_printf(
        b,
        "<div class=\"scroll\"><svg class=\"plot %s\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">",
        class_name, w, h, w, h);
}

static void x_axis(aira__buf *b, const report_plot *p, const char *x_name, bool grid) {
    double step = nice_step(p->x1 - p->x0), first = ceil(p->x0 / step) * step, x;
    for (int k = 0; k < MAX_TICKS && (x = first + k * step) <= p->x1; k++) {
        if (grid)
            aira__buf_printf(b, "<path class=\"grid\" d=\"M%.1f %dv%d\"/>", report_plot_x(p, x), p->top, p->height);
        aira__buf_printf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", report_plot_x(p, x),
                         p->top + p->height + 16);
        tick_text(b, clean_zero(x, step), step);
    }
    aira__buf_printf(b, "<text class=\"name\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", p->left + p->width,
                     p->top + p->height + 33);
    report_escape(b, x_name);
    aira__buf_text(b, "</text>");
}

void report_plot_open(aira__buf *b, report_plot *p, const char *class_name, const char *x_name, const char *y_name) {
    if (isnan(p->y0)) p->y0 = p->y1 = 0;
    double margin = p->y1 > p->y0 ? 0.06 * (p->y1 - p->y0) : fmax(fabs(p->y0) * 0.05, 1e-3), y;
    p->y0 -= margin;
    p->y1 += margin;
    begin(b, p, class_name);
    double step = nice_step(p->y1 - p->y0), first = ceil(p->y0 / step) * step;
    for (int k = 0; k < MAX_TICKS && (y = first + k * step) <= p->y1; k++) {
        aira__buf_printf(b,
                         "<path class=\"grid\" d=\"M%d %.1fh%d\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                         "text-anchor=\"end\">",
                         p->left, report_plot_y(p, y), p->width, p->left - 6, report_plot_y(p, y) + 4);
        tick_text(b, clean_zero(y, step), step);
    }
    x_axis(b, p, x_name, false);
    aira__buf_printf(b, "<path class=\"axis\" d=\"M%d %dh%d\"/><text class=\"name\" x=\"%d\" y=\"%d\">", p->left,
                     p->top + p->height, p->width, 4, p->top - 10);
    report_escape(b, y_name);
    aira__buf_text(b, "</text>");
}

void report_plot_open_rows(aira__buf *b, report_plot *p, const char *x_name) {
    begin(b, p, "rows");
    x_axis(b, p, x_name, true);
}

void report_plot_close(aira__buf *b) { aira__buf_text(b, "</svg></div>"); }
