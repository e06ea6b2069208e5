/* reference_attention.c - attention with its gradient, and rotary positions, plain. Sums are kept in double.
 *
 * q[B,T,H,D], k[B,S,G,D], v[B,S,G,E], mask[B,S] -> o[B,T,H,E], lse[B,H,T]. Head h reads key head h*G/H. A row that sees
 * no key gives 0 and lse -infinity.
 */
#include <string.h>

#include "real.h"
#include "reference.h"

typedef struct heads {
    int64_t batch, t_n, s_n, heads, groups, d_n, e_n, window;
    bool causal;
    double scale;
    const real *q, *k, *v, *mask;
} heads;

static heads heads_of(const ref_call *call, uint32_t mask) {
    const aira_shape *q = call->in_shape[0], *k = call->in_shape[1], *v = call->in_shape[2];
    heads a = {.batch = q->dims[0], .t_n = q->dims[1], .heads = q->dims[2], .d_n = q->dims[3]};
    a.s_n = k->dims[1];
    a.groups = k->dims[2];
    a.e_n = v->dims[3];
    a.causal = call->i[0] != 0;
    a.window = call->i[1];
    a.scale = call->f[0];
    a.q = call->in[0];
    a.k = call->in[1];
    a.v = call->in[2];
    a.mask = call->n_in > mask ? call->in[mask] : NULL;
    return a;
}

static bool visible(const heads *a, int64_t b, int64_t t, int64_t s) {
    if (a->mask && a->mask[b * a->s_n + s] == 0) return false;
    if (a->causal) return s <= t && (a->window == 0 || s > t - a->window);
    return a->window == 0 || (t > s ? t - s : s - t) < a->window;
}

static const real *row(const real *x, int64_t b, int64_t t, int64_t h, int64_t t_n, int64_t h_n, int64_t width) {
    return x + ((b * t_n + t) * h_n + h) * width;
}

/* Scores of one query row: p[s] = exp(score - lse), 0 where hidden; returns lse. */
static double probabilities(const heads *a, int64_t b, int64_t t, int64_t h, double *p) {
    const real *q = row(a->q, b, t, h, a->t_n, a->heads, a->d_n);
    double peak = -INFINITY, sum = 0;
    for (int64_t s = 0; s < a->s_n; s++) {
        p[s] = -INFINITY;
        if (!visible(a, b, t, s)) continue;
        const real *k = row(a->k, b, s, h * a->groups / a->heads, a->s_n, a->groups, a->d_n);
        double dot = 0;
        for (int64_t d = 0; d < a->d_n; d++) dot += (double)q[d] * (double)k[d];
        p[s] = dot * a->scale;
        if (p[s] > peak || isnan(p[s])) peak = p[s];
    }
    if (peak == -INFINITY) {
        memset(p, 0, (size_t)a->s_n * sizeof *p);
        return peak;
    }
    for (int64_t s = 0; s < a->s_n; s++) sum += p[s] = exp(p[s] - peak);
    for (int64_t s = 0; s < a->s_n; s++) p[s] /= sum;
    return peak + log(sum);
}

void NAME(ref_attention)(const ref_call *call) {
    heads a = heads_of(call, 3);
    real *o = call->out[0], *lse = call->out[1];
    double *p = cpu_alloc(call->worker, (size_t)(a.s_n + a.e_n) * sizeof *p), *sum = p ? p + a.s_n : NULL;
    if (!p) return;
    for (int64_t b = 0; b < a.batch; b++) {
        for (int64_t h = 0; h < a.heads; h++) {
            for (int64_t t = 0; t < a.t_n; t++) {
                lse[(b * a.heads + h) * a.t_n + t] = (real)probabilities(&a, b, t, h, p);
                memset(sum, 0, (size_t)a.e_n * sizeof *sum);
                for (int64_t s = 0; s < a.s_n; s++) {
                    const real *v = row(a.v, b, s, h * a.groups / a.heads, a.s_n, a.groups, a.e_n);
                    if (p[s] == 0) continue;
                    for (int64_t e = 0; e < a.e_n; e++) sum[e] += p[s] * (double)v[e];
                }
                for (int64_t e = 0; e < a.e_n; e++) o[((b * a.t_n + t) * a.heads + h) * a.e_n + e] = (real)sum[e];
            }
        }
    }
}

/* ds = p (do v - do o); dq = scale ds k; dk += scale ds q; dv += p do. The probabilities are computed afresh. */
static void backward_row(const heads *a, int64_t b, int64_t t, int64_t h, const real *o, const real *g, double *p,
                         double *dq, double *dk, double *dv) {
    int64_t group = h * a->groups / a->heads;
    const real *q = row(a->q, b, t, h, a->t_n, a->heads, a->d_n);
    double dot = 0;
    probabilities(a, b, t, h, p);
    for (int64_t e = 0; e < a->e_n; e++) dot += (double)o[e] * (double)g[e];
    for (int64_t s = 0; s < a->s_n; s++) {
        const real *k = row(a->k, b, s, group, a->s_n, a->groups, a->d_n);
        const real *v = row(a->v, b, s, group, a->s_n, a->groups, a->e_n);
        double dp = 0;
        if (p[s] == 0) continue;
        for (int64_t e = 0; e < a->e_n; e++) {
            dp += (double)g[e] * (double)v[e];
            dv[((b * a->s_n + s) * a->groups + group) * a->e_n + e] += p[s] * (double)g[e];
        }
        double ds = p[s] * (dp - dot) * a->scale;
        for (int64_t d = 0; d < a->d_n; d++) {
            dq[d] += ds * (double)k[d];
            dk[((b * a->s_n + s) * a->groups + group) * a->d_n + d] += ds * (double)q[d];
        }
    }
}

/* (q, k, v, o, lse, do, mask) */
void NAME(ref_attention_backward)(const ref_call *call) {
    heads a = heads_of(call, 6);
    real *dq = call->out[0], *dk = call->out[1], *dv = call->out[2];
    size_t k_n = (size_t)(a.batch * a.s_n * a.groups * a.d_n), v_n = (size_t)(a.batch * a.s_n * a.groups * a.e_n);
    double *p = cpu_alloc(call->worker, (size_t)(a.s_n + a.d_n) * sizeof *p), *q_sum = p ? p + a.s_n : NULL;
    double *k_sum = cpu_alloc(call->worker, (k_n + v_n) * sizeof *k_sum), *v_sum = k_sum ? k_sum + k_n : NULL;
    if (!p || !k_sum) return;
    memset(k_sum, 0, (k_n + v_n) * sizeof *k_sum);
    for (int64_t b = 0; b < a.batch; b++) {
        for (int64_t t = 0; t < a.t_n; t++) {
            for (int64_t h = 0; h < a.heads; h++) {
                const real *o = row(call->in[3], b, t, h, a.t_n, a.heads, a.e_n);
                const real *g = row(call->in[5], b, t, h, a.t_n, a.heads, a.e_n);
                memset(q_sum, 0, (size_t)a.d_n * sizeof *q_sum);
                backward_row(&a, b, t, h, o, g, p, q_sum, k_sum, v_sum);
                for (int64_t d = 0; d < a.d_n; d++) dq[((b * a.t_n + t) * a.heads + h) * a.d_n + d] = (real)q_sum[d];
            }
        }
    }
    for (size_t k = 0; k < k_n; k++) dk[k] = (real)k_sum[k];
    for (size_t k = 0; k < v_n; k++) dv[k] = (real)v_sum[k];
}

/* x[B,T,H,D]: pairs (x1, x2) turn by position * base^(-2 j / n_rot), j = 0 .. n_rot/2 - 1. Attributes: n_rot (0: D),
   interleaved (pairs are neighbours; else the halves of the first n_rot), inverse. */
void NAME(ref_rope)(const ref_call *call) {
    const aira_shape *shape = call->in_shape[0];
    const real *x = call->in[0];
    real *y = call->out[0];
    int64_t t_n = shape->dims[1], h_n = shape->dims[2], d_n = shape->dims[3];
    int64_t n_rot = call->i[0] ? call->i[0] : d_n, half = n_rot / 2;
    bool interleaved = call->i[1] != 0, inverse = call->i[2] != 0;
    for (int64_t r = 0; r < shape->dims[0] * t_n; r++) {
        double position = call->n_in > 1 ? (double)call->index[1][r] : (double)(r % t_n);
        for (int64_t h = 0; h < h_n; h++, x += d_n, y += d_n) {
            for (int64_t j = 0; j < half; j++) {
                double angle = position * pow(call->f[0], -2.0 * (double)j / (double)n_rot);
                int64_t first = interleaved ? 2 * j : j, second = interleaved ? 2 * j + 1 : j + half;
                real c = (real)cos(angle), s = (real)(inverse ? -sin(angle) : sin(angle));
                real a = x[first], b = x[second];
                y[first] = a * c - b * s;
                y[second] = b * c + a * s;
            }
            for (int64_t d = 2 * half; d < d_n; d++) y[d] = x[d];
        }
    }
}
