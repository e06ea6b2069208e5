/* core/compare/statistics.c - see statistics.h */
#include "core/compare/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STEPS 200

static double phi(const aira__score_scale *s, double score) { return -log10(fabs(score - s->optimum)); }

double aira__normalised_log(const aira__score_scale *s, bool higher_is_better, double score) {
    double sign = higher_is_better ? 1 : -1;
    if (isnan(s->worst) || isnan(s->best) || isnan(s->optimum)) return NAN;
    if (isnan(score)) return 0;
    if (sign * score >= sign * s->optimum) return AIRA__NORMALISED_MOST;
    double value = (phi(s, score) - phi(s, s->worst)) / (phi(s, s->best) - phi(s, s->worst));
    return fmin(fmax(value, 0), AIRA__NORMALISED_MOST);
}

double aira__normalised_linear(const aira__score_scale *s, double score) {
    if (isnan(s->worst) || isnan(s->best)) return NAN;
    return isnan(score) ? 0 : fmax((score - s->worst) / (s->best - s->worst), 0);
}

double aira__pairing(double a, double b, bool higher_is_better) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0.5 : isnan(b) ? 1 : 0;
    if (fabs(a - b) <= AIRA__TIE) return 0.5;
    return (a > b) == higher_is_better ? 1 : 0;
}

/* ---- ratings ---- */

/* log(1 + exp(x)) without overflow */
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

static double objective(const double *wins, int n, const double *w) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += 0.5 * w[i] * w[i];
        for (int j = 0; j < n; j++) sum += wins[i * n + j] * softplus(-M_LN10 * (w[i] - w[j]));
    }
    return sum;
}

/* Gradient of the objective, and its second derivatives in h (n x n). Returns the largest part of the gradient. */
static double derive(const double *wins, int n, const double *w, double *gradient, double *h) {
    double most = 0;
    memset(h, 0, (size_t)n * (size_t)n * sizeof *h);
    for (int i = 0; i < n; i++) {
        gradient[i] = w[i];
        h[i * n + i] += 1;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            if (i == j || wins[i * n + j] == 0) continue;
            double lost = 1 / (1 + exp(M_LN10 * (w[i] - w[j]))), weight = wins[i * n + j];
            double slope = weight * M_LN10 * lost, bend = weight * M_LN10 * M_LN10 * lost * (1 - lost);
            gradient[i] -= slope;
            gradient[j] += slope;
            h[i * n + i] += bend;
            h[j * n + j] += bend;
            h[i * n + j] -= bend;
            h[j * n + i] -= bend;
        }
    for (int i = 0; i < n; i++) most = fmax(most, fabs(gradient[i]));
    return most;
}

/* Solves h x = b in place of b; h, symmetric and positive, is replaced by its Cholesky factor. */
static void solve(double *h, int n, double *b) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double sum = h[i * n + j];
            for (int k = 0; k < j; k++) sum -= h[i * n + k] * h[j * n + k];
            h[i * n + j] = i == j ? sqrt(sum) : sum / h[j * n + j];
        }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) b[i] -= h[i * n + k] * b[k];
        b[i] /= h[i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) b[i] -= h[k * n + i] * b[k];
        b[i] /= h[i * n + i];
    }
}

aira_status aira__bradley_terry(const double *wins, int n, double *ratings, aira_error *error) {
    double *memory = calloc((size_t)n * ((size_t)n + 3) + 1, sizeof *memory);
    if (memory == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for the ratings");
    double *w = memory, *next = w + n, *step = next + n, *h = step + n;
    double now = objective(wins, n, w);
    for (int round = 0; round < MOST_STEPS && derive(wins, n, w, step, h) > 1e-11; round++) {
        solve(h, n, step);
        double length = 1, then = INFINITY;
        for (int half = 0; half < 40; half++, length /= 2) {
            for (int i = 0; i < n; i++) next[i] = w[i] - length * step[i];
            then = objective(wins, n, next);
            if (then <= now) break;
        }
        if (!(then <= now)) break; /* no better number exists in this precision */
        memcpy(w, next, (size_t)n * sizeof *w);
        if (then == now) break;
        now = then;
    }
    for (int i = 0; i < n; i++) ratings[i] = AIRA__ELO_START + AIRA__ELO_SCALE * w[i];
    free(memory);
    return AIRA_OK;
}

/* ---- percentiles ---- */

double aira__percentile(const double *sorted, int n, double p) {
    double at = p / 100 * (n - 1);
    int low = (int)floor(at);
    if (low < 0) return sorted[0];
    if (low >= n - 1) return sorted[n - 1];
    return sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]);
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void aira__sort_reals(double *values, int n) {
    if (n > 1) qsort(values, (size_t)n, sizeof *values, rising);
}

/* ranks[i]: 1 + how many are below, plus half of the others that tie. */
static void rank(const double *values, int n, double *ranks) {
    for (int i = 0; i < n; i++) {
        ranks[i] = 1;
        for (int k = 0; k < n; k++) ranks[i] += values[k] < values[i] ? 1 : k != i && values[k] == values[i] ? 0.5 : 0;
    }
}

aira_status aira__rank_correlation(const double *a, const double *b, int n, double *out, aira_error *error) {
    double *ranks = calloc(2 * (size_t)n + 1, sizeof *ranks), mean = (n + 1) / 2.0, sums[3] = {0, 0, 0};
    *out = NAN;
    if (ranks == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for ranks");
    rank(a, n, ranks);
    rank(b, n, ranks + n);
    for (int i = 0; i < n; i++) {
        double x = ranks[i] - mean, y = ranks[n + i] - mean;
        sums[0] += x * y;
        sums[1] += x * x;
        sums[2] += y * y;
    }
    if (sums[1] > 0 && sums[2] > 0) *out = sums[0] / sqrt(sums[1] * sums[2]);
    free(ranks);
    return AIRA_OK;
}
