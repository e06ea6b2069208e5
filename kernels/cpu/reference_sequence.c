/* reference_sequence.c - causal convolutions and state-space scans along time, forward and backward, plain.
 *
 * Sums and states are kept in double. The backward scans keep the states of all times of one (batch, channel).
 */
#include <string.h>

#include "real.h"
#include "reference.h"

/* A zeroed array of n doubles, or NULL. */
static double *zeroed(const ref_call *call, int64_t n) {
    double *sums = cpu_alloc(call->worker, (size_t)n * sizeof *sums);
    if (sums) memset(sums, 0, (size_t)n * sizeof *sums);
    return sums;
}

static void give(real *to, const double *from, int64_t n) {
    for (int64_t k = 0; k < n; k++) to[k] = (real)from[k];
}

/* x[B,T,C], w[C,K], b[C]: y[t] = b + sum_k w[k] x[t - (K-1) + k] */
void NAME(ref_conv1d)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1], *bias = call->in[2];
    real *y = call->out[0];
    int64_t batch = call->in_shape[0]->dims[0], t_n = call->in_shape[0]->dims[1], c_n = call->in_shape[0]->dims[2];
    int64_t taps = call->in_shape[1]->dims[1];
    for (int64_t b = 0; b < batch; b++, x += t_n * c_n, y += t_n * c_n) {
        for (int64_t t = 0; t < t_n; t++) {
            for (int64_t c = 0; c < c_n; c++) {
                double sum = (double)bias[c];
                for (int64_t k = 0; k < taps; k++) {
                    int64_t s = t - (taps - 1) + k;
                    if (s >= 0) sum += (double)w[c * taps + k] * (double)x[s * c_n + c];
                }
                y[t * c_n + c] = (real)sum;
            }
        }
    }
}

void NAME(ref_conv1d_backward)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1], *g = call->in[2];
    real *dx = call->out[0];
    int64_t batch = call->in_shape[0]->dims[0], t_n = call->in_shape[0]->dims[1], c_n = call->in_shape[0]->dims[2];
    int64_t taps = call->in_shape[1]->dims[1];
    double *dw = zeroed(call, c_n * taps), *db = zeroed(call, c_n);
    if (!dw || !db) return;
    for (int64_t b = 0; b < batch; b++, x += t_n * c_n, g += t_n * c_n, dx += t_n * c_n) {
        for (int64_t t = 0; t < t_n; t++) {
            for (int64_t c = 0; c < c_n; c++) {
                double sum = 0;
                db[c] += (double)g[t * c_n + c];
                for (int64_t k = 0; k < taps; k++) {
                    int64_t later = t + (taps - 1) - k, earlier = t - (taps - 1) + k;
                    if (later < t_n) sum += (double)w[c * taps + k] * (double)g[later * c_n + c];
                    if (earlier >= 0) dw[c * taps + k] += (double)g[t * c_n + c] * (double)x[earlier * c_n + c];
                }
                dx[t * c_n + c] = (real)sum;
            }
        }
    }
    give(call->out[1], dw, c_n * taps);
    give(call->out[2], db, c_n);
}

/* u[B,T,C], k[C,T]: y[t] = sum_s k[s] u[t-s] */
void NAME(ref_fft_conv)(const ref_call *call) {
    const real *u = call->in[0], *kernel = call->in[1];
    real *y = call->out[0];
    int64_t batch = call->in_shape[0]->dims[0], t_n = call->in_shape[0]->dims[1], c_n = call->in_shape[0]->dims[2];
    double *by_time = zeroed(call, t_n * c_n), *sums = zeroed(call, c_n); /* the kernel as [T,C]: read in order */
    if (!by_time || !sums) return;
    for (int64_t k = 0; k < t_n * c_n; k++) by_time[k % t_n * c_n + k / t_n] = (double)kernel[k];
    for (int64_t b = 0; b < batch; b++, u += t_n * c_n, y += t_n * c_n) {
        for (int64_t t = 0; t < t_n; t++) {
            memset(sums, 0, (size_t)c_n * sizeof *sums);
            for (int64_t s = 0; s <= t; s++) {
                for (int64_t c = 0; c < c_n; c++) sums[c] += by_time[s * c_n + c] * (double)u[(t - s) * c_n + c];
            }
            give(y + t * c_n, sums, c_n);
        }
    }
}

void NAME(ref_fft_conv_backward)(const ref_call *call) {
    const real *u = call->in[0], *kernel = call->in[1], *g = call->in[2];
    real *du = call->out[0];
    int64_t batch = call->in_shape[0]->dims[0], t_n = call->in_shape[0]->dims[1], c_n = call->in_shape[0]->dims[2];
    double *dk = zeroed(call, c_n * t_n);
    if (!dk) return;
    for (int64_t b = 0; b < batch; b++, u += t_n * c_n, g += t_n * c_n, du += t_n * c_n) {
        for (int64_t t = 0; t < t_n; t++) {
            for (int64_t c = 0; c < c_n; c++) {
                double sum = 0;
                for (int64_t s = 0; s < t_n - t; s++) {
                    sum += (double)kernel[c * t_n + s] * (double)g[(t + s) * c_n + c];
                    dk[c * t_n + s] += (double)g[(t + s) * c_n + c] * (double)u[t * c_n + c];
                }
                du[t * c_n + c] = (real)sum;
            }
        }
    }
    give(call->out[1], dk, c_n * t_n);
}

/* --- Mamba-1 ------------------------------------------------------------------------------------------------------ */

/* u[B,T,C], delta[B,T,C], A[C,N], B[B,T,N], C[B,T,N], D[C]: h = exp(delta A) h + delta B u; y = C h + D u */
void NAME(ref_scan)(const ref_call *call) {
    const real *u = call->in[0], *delta = call->in[1], *A = call->in[2], *B = call->in[3], *C = call->in[4];
    const real *D = call->in[5];
    real *y = call->out[0];
    int64_t batch = call->in_shape[0]->dims[0], t_n = call->in_shape[0]->dims[1], c_n = call->in_shape[0]->dims[2];
    int64_t n_n = call->in_shape[2]->dims[1];
    double *h = zeroed(call, n_n);
    if (!h) return;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t c = 0; c < c_n; c++) {
            memset(h, 0, (size_t)n_n * sizeof *h);
            for (int64_t t = 0; t < t_n; t++) {
                int64_t at = (b * t_n + t) * c_n + c, state = (b * t_n + t) * n_n;
                double sum = (double)D[c] * (double)u[at], d = (double)delta[at];
                for (int64_t n = 0; n < n_n; n++) {
                    h[n] = exp(d * (double)A[c * n_n + n]) * h[n] + d * (double)B[state + n] * (double)u[at];
                    sum += (double)C[state + n] * h[n];
                }
                y[at] = (real)sum;
            }
        }
    }
}

/* One channel of one batch: h holds states after each time, dh runs backward. */
typedef struct channel {
    const real *u, *delta, *g; /* [T] with stride c_n */
    const real *A, *B, *C;     /* A[N], B[T,N], C[T,N] */
    double D;
    int64_t t_n, c_n, n_n;
    real *du, *ddelta;
    double *dA, *dB, *dC, *dD, *h, *dh; /* h[T+1,N], h[0] = 0 */
} channel;

static void scan_channel_backward(const channel *s) {
    int64_t n_n = s->n_n;
    memset(s->h, 0, (size_t)n_n * sizeof *s->h);
    memset(s->dh, 0, (size_t)n_n * sizeof *s->dh);
    for (int64_t t = 0; t < s->t_n; t++) {
        double d = (double)s->delta[t * s->c_n], u = (double)s->u[t * s->c_n];
        for (int64_t n = 0; n < n_n; n++) {
            s->h[(t + 1) * n_n + n] = exp(d * (double)s->A[n]) * s->h[t * n_n + n] + d * (double)s->B[t * n_n + n] * u;
        }
    }
    for (int64_t t = s->t_n - 1; t >= 0; t--) {
        double d = (double)s->delta[t * s->c_n], u = (double)s->u[t * s->c_n], g = (double)s->g[t * s->c_n];
        double du = g * s->D, dd = 0;
        *s->dD += g * u;
        for (int64_t n = 0; n < n_n; n++) {
            double a = (double)s->A[n], decay = exp(d * a), before = s->h[t * n_n + n];
            double dh = s->dh[n] + g * (double)s->C[t * n_n + n];
            s->dC[t * n_n + n] += g * s->h[(t + 1) * n_n + n];
            s->dB[t * n_n + n] += dh * d * u;
            s->dA[n] += dh * d * decay * before;
            du += dh * d * (double)s->B[t * n_n + n];
            dd += dh * ((double)s->B[t * n_n + n] * u + a * decay * before);
            s->dh[n] = dh * decay;
        }
        s->du[t * s->c_n] = (real)du;
        s->ddelta[t * s->c_n] = (real)dd;
    }
}

/* (u, delta, A, B, C, D, g): du, ddelta, dA, dB, dC, dD */
void NAME(ref_scan_backward)(const ref_call *call) {
    int64_t batch = call->in_shape[0]->dims[0], t_n = call->in_shape[0]->dims[1], c_n = call->in_shape[0]->dims[2];
    int64_t n_n = call->in_shape[2]->dims[1], states = batch * t_n * n_n;
    double *dA = zeroed(call, c_n * n_n), *dB = zeroed(call, states), *dC = zeroed(call, states);
    double *dD = zeroed(call, c_n), *h = zeroed(call, (t_n + 1) * n_n), *dh = zeroed(call, n_n);
    if (!dA || !dB || !dC || !dD || !h || !dh) return;
    for (int64_t b = 0; b < batch; b++) {
        for (int64_t c = 0; c < c_n; c++) {
            int64_t at = b * t_n * c_n + c, state = b * t_n * n_n;
            channel s = {.t_n = t_n, .c_n = c_n, .n_n = n_n, .h = h, .dh = dh};
            s.u = (const real *)call->in[0] + at;
            s.delta = (const real *)call->in[1] + at;
            s.A = (const real *)call->in[2] + c * n_n;
            s.B = (const real *)call->in[3] + state;
            s.C = (const real *)call->in[4] + state;
            s.D = (double)((const real *)call->in[5])[c];
            s.g = (const real *)call->in[6] + at;
            s.du = (real *)call->out[0] + at;
            s.ddelta = (real *)call->out[1] + at;
            s.dA = dA + c * n_n;
            s.dB = dB + state;
            s.dC = dC + state;
            s.dD = dD + c;
            scan_channel_backward(&s);
        }
    }
    give(call->out[2], dA, c_n * n_n);
    give(call->out[3], dB, states);
    give(call->out[4], dC, states);
    give(call->out[5], dD, c_n);
}
