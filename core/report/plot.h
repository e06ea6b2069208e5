/* core/report/plot.h - the frame that all charts are drawn in: ranges, pixels, ticks, names of the axes.
 *
 * Use: a report_plot with a range and a place, widened by every value that is to be seen; open, draw with report_plot_x
 * and report_plot_y, close. Colours are classes of the page's style sheet.
 */
#ifndef AIRA_REPORT_PLOT_H
#define AIRA_REPORT_PLOT_H

#include "core/base/buf.h"

typedef struct report_plot { /* data range and pixels of the frame */
    double x0, x1, y0, y1;
    int left, top, width, height;
} report_plot;

double report_plot_x(const report_plot *, double x); /* pixels */
double report_plot_y(const report_plot *, double y);
void report_widen(double *low, double *high, double value); /* NAN changes nothing; low, high may begin as NAN */
/* Begins an <svg class="plot CLASS"> with grid, ticks and axes; gives the y range a margin. */
void report_plot_open(aira__buf *, report_plot *, const char *class_name, const char *x_name, const char *y_name);
/* The same for values along x in rows of the caller's: no y axis. */
void report_plot_open_rows(aira__buf *, report_plot *, const char *x_name);
void report_plot_close(aira__buf *);

#endif
