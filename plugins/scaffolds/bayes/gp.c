/* plugins/scaffolds/bayes/gp.c - see gp.h. */
#include "gp.h"

#include <math.h>
#include <string.h>

static double correlation(const gp *g, const uint16_t *a, const uint16_t *b) {
    uint32_t differ = 0;
    for (uint32_t i = 0; i < g->n_layers; i++) differ += a[i] != b[i];
    return exp(-(double)differ / g->length);
}

/* In place, the lower triangle; 0 where the matrix is not positive definite. */
static int cholesky(double *m, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k <= i; k++) {
            double sum = m[i * n + k];
            for (uint32_t j = 0; j < k; j++) sum -= m[i * n + j] * m[k * n + j];
            if (k == i && !(sum > 0)) return 0;
            m[i * n + k] = k == i ? sqrt(sum) : sum / m[k * n + k];
        }
    return 1;
}

static void solve_lower(const double *factor, uint32_t n, const double *b, double *x) {
    for (uint32_t i = 0; i < n; i++) {
        double sum = b[i];
        for (uint32_t k = 0; k < i; k++) sum -= factor[i * n + k] * x[k];
        x[i] = sum / factor[i * n + i];
    }
}

/* x may be b. */
static void solve_upper(const double *factor, uint32_t n, const double *b, double *x) {
    for (uint32_t i = n; i-- > 0;) {
        double sum = b[i];
        for (uint32_t k = i + 1; k < n; k++) sum -= factor[k * n + i] * x[k];
        x[i] = sum / factor[i * n + i];
    }
}

uint64_t gp_doubles(uint32_t n) { return 2 * (uint64_t)n * n + 4 * (uint64_t)n; }

void gp_init(gp *g, uint32_t n, uint32_t n_layers, const uint16_t *const *x, const double *y, const double *weight,
             double *memory) {
    uint64_t square = (uint64_t)n * n;
    *g = (gp){.n = n,
              .n_layers = n_layers,
              .x = x,
              .y = y,
              .weight = weight,
              .factor = memory,
              .prior = memory + square,
              .alpha = memory + 2 * square,
              .spare = memory + 2 * square + n};
}

static void correlations(const gp *g, double *m) {
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k <= i; k++) m[i * g->n + k] = correlation(g, g->x[i], g->x[k]);
}

int gp_fit(gp *g, double length, double noise) {
    double fit = 0, determinant = 0;
    g->length = length;
    g->noise = noise;
    correlations(g, g->factor);
    for (uint32_t i = 0; i < g->n; i++) g->factor[i * g->n + i] += noise * g->weight[i] + 1e-9;
    if (!cholesky(g->factor, g->n)) return 0;
    solve_lower(g->factor, g->n, g->y, g->alpha);
    for (uint32_t i = 0; i < g->n; i++) {
        fit += g->alpha[i] * g->alpha[i];
        determinant += 2 * log(g->factor[i * g->n + i]);
    }
    solve_upper(g->factor, g->n, g->alpha, g->alpha);
    g->variance = fmax(fit / g->n, 1e-12);
    g->log_likelihood = -0.5 * (g->n * log(2 * 3.14159265358979323846 * g->variance) + determinant + fit / g->variance);
    return 1;
}

int gp_fit_grid(gp *g) {
    static const double lengths[] = {0.05, 0.15, 0.4, 1, 3}, noises[] = {0.01, 0.1, 0.3, 1, 3}; /* lengths: of layers */
    double length = 0, noise = 0, best = -INFINITY;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++) {
            if (!gp_fit(g, lengths[i] * g->n_layers, noises[k]) || !(g->log_likelihood > best)) continue;
            best = g->log_likelihood;
            length = g->length;
            noise = g->noise;
        }
    return length > 0 && gp_fit(g, length, noise);
}

void gp_posterior(const gp *g, const uint16_t *x, double *mean, double *variance) {
    double *k = g->spare, *v = g->spare + g->n, explained = 0;
    *mean = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        k[i] = correlation(g, g->x[i], x);
        *mean += k[i] * g->alpha[i];
    }
    solve_lower(g->factor, g->n, k, v);
    for (uint32_t i = 0; i < g->n; i++) explained += v[i] * v[i];
    *variance = g->variance * fmax(1 - explained, 0);
}

/* ---- noisy expected improvement ---- */

/* One draw of the posterior at the observed architectures, by Matheron's rule: a draw of the prior, corrected by what
   the observations say against it. */
static void draw_scores(const gp *g, double (*normal)(void *, uint32_t), void *context, uint32_t first, double *f) {
    uint32_t n = g->n;
    double *z = g->spare, *r = g->spare + n, *a = g->spare + 2 * n, scale = sqrt(g->variance);
    for (uint32_t i = 0; i < n; i++) z[i] = normal(context, first + i);
    for (uint32_t i = 0; i < n; i++) {
        f[i] = 0;
        for (uint32_t k = 0; k <= i; k++) f[i] += scale * g->prior[i * n + k] * z[k];
        r[i] = g->y[i] - f[i] - scale * sqrt(g->noise * g->weight[i]) * normal(context, first + n + i);
    }
    solve_lower(g->factor, n, r, a);
    solve_upper(g->factor, n, a, a);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) f[i] += correlation(g, g->x[i], g->x[k]) * a[k];
}

int gp_improvement_init(gp_improvement *out, gp *g, double (*normal)(void *, uint32_t), void *context, double *memory) {
    uint32_t n = g->n;
    out->model = g;
    out->solved = memory;
    correlations(g, g->prior);
    for (uint32_t i = 0; i < n; i++) g->prior[i * n + i] += 1e-6;
    if (!cholesky(g->prior, n)) return 0;
    for (uint32_t s = 0; s < GP_DRAWS; s++) {
        double *f = memory + (uint64_t)s * n;
        draw_scores(g, normal, context, 2 * n * s, f);
        out->best[s] = f[0];
        for (uint32_t i = 1; i < n; i++) out->best[s] = fmax(out->best[s], f[i]);
        memcpy(g->spare, f, n * sizeof *f);
        solve_lower(g->prior, n, g->spare, f);
    }
    return 1;
}

double gp_improvement_of(const gp_improvement *e, const uint16_t *x) {
    const gp *g = e->model;
    double *k = g->spare, *v = g->spare + g->n, explained = 0, sum = 0;
    for (uint32_t i = 0; i < g->n; i++) k[i] = correlation(g, g->x[i], x);
    solve_lower(g->prior, g->n, k, v);
    for (uint32_t i = 0; i < g->n; i++) explained += v[i] * v[i];
    double deviation = sqrt(g->variance * fmax(1 - explained, 0));
    for (uint32_t s = 0; s < GP_DRAWS; s++) {
        double mean = 0;
        for (uint32_t i = 0; i < g->n; i++) mean += v[i] * e->solved[(uint64_t)s * g->n + i];
        double gain = mean - e->best[s], z = deviation > 1e-12 ? gain / deviation : 0;
        sum += deviation > 1e-12
                   ? gain * 0.5 * erfc(-z * 0.70710678118654752) + deviation * 0.3989422804014327 * exp(-0.5 * z * z)
                   : fmax(gain, 0);
    }
    return sum / GP_DRAWS;
}
