/* core/search/student.c - see student.h. The tail is half a regularised incomplete beta function, I(df / (df + t^2);
 * df/2, 1/2), whose continued fraction (Abramowitz and Stegun 26.5.8) is evaluated by Lentz's method. */
#include "core/search/student.h"

#include <math.h>

static double not_zero(double x) { return fabs(x) < 1e-300 ? 1e-300 : x; }

/* Converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b) {
    double c = 1, d = 1 / not_zero(1 - (a + b) * x / (a + 1)), value = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 / not_zero(1 + even * d);
        c = not_zero(1 + even / c);
        value *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / not_zero(1 + odd * d);
        c = not_zero(1 + odd / c);
        value *= d * c;
        if (fabs(d * c - 1) < 1e-15) break;
    }
    return value;
}

/* I(x; a, b), with y = 1 - x given because it may be tiny. */
static double incomplete_beta(double x, double y, double a, double b) {
    if (x <= 0) return 0;
    if (y <= 0) return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(x, a, b) / a;
    return 1 - front * beta_fraction(y, b, a) / b;
}

double aira__student_tail(double t, double df) {
    if (isnan(t) || !(df > 0)) return NAN;
    if (isinf(t)) return t > 0 ? 0 : 1;
    double half = 0.5 * incomplete_beta(df / (df + t * t), t * t / (df + t * t), df / 2, 0.5);
    return t > 0 ? half : 1 - half;
}

double aira__student_quantile(double tail, double df) {
    if (!(tail > 0 && tail < 1) || !(df > 0)) return NAN;
    if (tail > 0.5) return -aira__student_quantile(1 - tail, df);
    double low = 0, high = 1;
    while (aira__student_tail(high, df) > tail && high < 1e300) high *= 2;
    for (int i = 0; i < 200 && high - low > 1e-15 * high; i++) {
        double middle = low + (high - low) / 2;
        if (aira__student_tail(middle, df) > tail)
            low = middle;
        else
            high = middle;
    }
    return low + (high - low) / 2;
}

double aira__mean(const double *values, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += values[i];
    return n < 1 ? NAN : sum / n;
}

double aira__spread(const double *values, int n) {
    double mean = aira__mean(values, n), sum = 0;
    if (n < 2) return NAN;
    for (int i = 0; i < n; i++) sum += (values[i] - mean) * (values[i] - mean);
    return sqrt(sum / (n - 1));
}

double aira__mean_margin(const double *values, int n, double level) {
    if (n < 2) return NAN;
    return aira__student_quantile((1 - level) / 2, n - 1) * aira__spread(values, n) / sqrt(n);
}
