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

void report_plot_open(aira__buf *b, report_plot *p, const char *class_name, const char *x_name, const char *y_name) {
    if (isnan(p->y0)) p->y0 = p->y1 = 0;
    double margin = p->y1 > p->y0 ? 0.06 * (p->y1 - p->y0) : fmax(fabs(p->y0) * 0.05, 1e-3);
    p->y0 -= margin;
    p->y1 += margin;
    int w = p->left + p->width + 14, h = p->top + p->height + 40;
    aira__buf_printf(b,
                     "<div class=\"scroll\"><svg class=\"plot %s\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">",
                     class_name, w, h, w, h);
    double step = nice_step(p->y1 - p->y0);
    double first = ceil(p->y0 / step) * step, y;
    for (int k = 0; k < MAX_TICKS && (y = first + k * step) <= p->y1; k++)
        aira__buf_printf(b,
                         "<path class=\"grid\" d=\"M%d %.1fh%d\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                         "text-anchor=\"end\">%.4g</text>",
                         p->left, report_plot_y(p, y), p->width, p->left - 6, report_plot_y(p, y) + 4,
                         fabs(y) < step / 1e6 ? 0.0 : y);
    step = nice_step(p->x1 - p->x0);
    double x;
    first = ceil(p->x0 / step) * step;
    for (int k = 0; k < MAX_TICKS && (x = first + k * step) <= p->x1; k++)
        aira__buf_printf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>",
                         report_plot_x(p, x), p->top + p->height + 16, fabs(x) < step / 1e6 ? 0.0 : x);
    aira__buf_printf(b, "<path class=\"axis\" d=\"M%d %dv%dh%d\"/>", p->left, p->top, p->height, p->width);
    aira__buf_printf(b, "<text class=\"name\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", p->left + p->width, h - 8);
    report_escape(b, x_name);
    aira__buf_printf(b, "</text><text class=\"name\" x=\"%d\" y=\"%d\">", 4, p->top - 8);
    report_escape(b, y_name);
    aira__buf_text(b, "</text>");
}

void report_plot_close(aira__buf *b) { aira__buf_text(b, "</svg></div>"); }
