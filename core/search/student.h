/* core/search/student.h - Student's t distribution, and intervals for means of a few numbers. */
#ifndef AIRA_SEARCH_STUDENT_H
#define AIRA_SEARCH_STUDENT_H

/* P(T > t) with that many degrees of freedom (> 0, need not be whole). NAN where df is not positive or t is NAN. */
double aira__student_tail(double t, double df);
/* t with P(T > t) = tail, 0 < tail < 1. */
double aira__student_quantile(double tail, double df);

double aira__mean(const double *values, int n);   /* NAN for n < 1 */
double aira__spread(const double *values, int n); /* standard deviation with n - 1; NAN for n < 2 */
/* Half of the width of the interval that holds the mean with that probability; NAN for n < 2. */
double aira__mean_margin(const double *values, int n, double level);

#endif
