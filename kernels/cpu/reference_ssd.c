/* reference_ssd.c - the Mamba-2 recurrence as it is written, step by step in time.
 *
 * x[B,T,H,P], dt[B,T,H], A[H], B[B,T,G,N], C[B,T,G,N], D[H]: h[p,n] = exp(dt A) h[p,n] + dt B[n] x[p];
 * y[p] = sum_n C[n] h[p,n] + D x[p]. Head h reads B, C of group h*G/H. States are kept in double.
 */
#include <string.h>

#include "real.h"
#include "reference.h"

typedef struct ssd_shape {
    int64_t batch, t_n, h_n, p_n, g_n, n_n;
} ssd_shape;

static ssd_shape shape_of(const ref_call *call) {
    const aira_shape *x = call->in_shape[0], *b = call->in_shape[3];
    return (ssd_shape){x->dims[0], x->dims[1], x->dims[2], x->dims[3], b->dims[2], b->dims[3]};
}

static double *zeroed(const ref_call *call, int64_t n) {
    double *sums = cpu_alloc(call->worker, (size_t)n * sizeof *sums);
    if (sums) memset(sums, 0, (size_t)n * sizeof *sums);
    return sums;
}

/* after = exp(dt A) before + dt B x, for one head at one time. */
static void advance(const ref_call *call, const ssd_shape *s, int64_t row, int64_t head, const double *before,
                    double *after) {
    const real *x = (const real *)call->in[0] + (row * s->h_n + head) * s->p_n;
    const real *B = (const real *)call->in[3] + (row * s->g_n + head * s->g_n / s->h_n) * s->n_n;
    double dt = (double)((const real *)call->in[1])[row * s->h_n + head];
    double decay = exp(dt * (double)((const real *)call->in[2])[head]);
    for (int64_t p = 0; p < s->p_n; p++) {
        for (int64_t n = 0; n < s->n_n; n++) {
            after[p * s->n_n + n] = decay * before[p * s->n_n + n] + dt * (double)B[n] * (double)x[p];
        }
    }
}

void NAME(ref_ssd)(const ref_call *call) {
    ssd_shape s = shape_of(call);
    const real *D = call->in[5];
    double *h = zeroed(call, s.p_n * s.n_n);
    if (!h) return;
    for (int64_t b = 0; b < s.batch; b++) {
        for (int64_t head = 0; head < s.h_n; head++) {
            memset(h, 0, (size_t)(s.p_n * s.n_n) * sizeof *h);
            for (int64_t t = 0; t < s.t_n; t++) {
                int64_t row = b * s.t_n + t, at = (row * s.h_n + head) * s.p_n;
                const real *C = (const real *)call->in[4] + (row * s.g_n + head * s.g_n / s.h_n) * s.n_n;
                advance(call, &s, row, head, h, h);
                for (int64_t p = 0; p < s.p_n; p++) {
                    double sum = (double)D[head] * (double)((const real *)call->in[0])[at + p];
                    for (int64_t n = 0; n < s.n_n; n++) sum += (double)C[n] * h[p * s.n_n + n];
                    ((real *)call->out[0])[at + p] = (real)sum;
                }
            }
        }
    }
}

typedef struct ssd_sums {
    double *dA, *dB, *dC, *dD;
    double *h;  /* [T+1,P,N]: states before and after every time */
    double *dh; /* [P,N]: gradient of the state, running backward */
} ssd_sums;

static void backward_step(const ref_call *call, const ssd_shape *s, const ssd_sums *sums, int64_t b, int64_t t,
                          int64_t head) {
    int64_t row = b * s->t_n + t, at = row * s->h_n + head, state = (row * s->g_n + head * s->g_n / s->h_n) * s->n_n;
    const real *x = (const real *)call->in[0] + at * s->p_n, *g = (const real *)call->in[6] + at * s->p_n;
    const real *B = (const real *)call->in[3] + state, *C = (const real *)call->in[4] + state;
    real *dx = (real *)call->out[0] + at * s->p_n;
    double dt = (double)((const real *)call->in[1])[at], a = (double)((const real *)call->in[2])[head];
    double D = (double)((const real *)call->in[5])[head], decay = exp(dt * a), ddt = 0;
    const double *before = sums->h + t * s->p_n * s->n_n, *after = before + s->p_n * s->n_n;
    for (int64_t p = 0; p < s->p_n; p++) {
        double sum = D * (double)g[p];
        sums->dD[head] += (double)g[p] * (double)x[p];
        for (int64_t n = 0; n < s->n_n; n++) {
            int64_t k = p * s->n_n + n;
            double dh = sums->dh[k] + (double)g[p] * (double)C[n];
            sums->dC[state + n] += (double)g[p] * after[k];
            sums->dB[state + n] += dh * dt * (double)x[p];
            sums->dA[head] += dh * dt * decay * before[k];
            sum += dh * dt * (double)B[n];
            ddt += dh * ((double)B[n] * (double)x[p] + a * decay * before[k]);
            sums->dh[k] = dh * decay;
        }
        dx[p] = (real)sum;
    }
    ((real *)call->out[1])[at] = (real)ddt;
}

/* (x, dt, A, B, C, D, g): dx, ddt, dA, dB, dC, dD */
void NAME(ref_ssd_backward)(const ref_call *call) {
    ssd_shape s = shape_of(call);
    int64_t states = s.batch * s.t_n * s.g_n * s.n_n, cells = s.p_n * s.n_n;
    ssd_sums sums = {zeroed(call, s.h_n), zeroed(call, states), zeroed(call, states), zeroed(call, s.h_n), NULL, NULL};
    sums.h = zeroed(call, (s.t_n + 1) * cells);
    sums.dh = zeroed(call, cells);
    if (!sums.dA || !sums.dB || !sums.dC || !sums.dD || !sums.h || !sums.dh) return;
    for (int64_t b = 0; b < s.batch; b++) {
        for (int64_t head = 0; head < s.h_n; head++) {
            for (int64_t t = 0; t < s.t_n; t++) {
                advance(call, &s, b * s.t_n + t, head, sums.h + t * cells, sums.h + (t + 1) * cells);
            }
            memset(sums.dh, 0, (size_t)cells * sizeof *sums.dh);
            for (int64_t t = s.t_n - 1; t >= 0; t--) backward_step(call, &s, &sums, b, t, head);
        }
    }
    for (int64_t k = 0; k < s.h_n; k++) {
        ((real *)call->out[2])[k] = (real)sums.dA[k];
        ((real *)call->out[5])[k] = (real)sums.dD[k];
    }
    for (int64_t k = 0; k < states; k++) {
        ((real *)call->out[3])[k] = (real)sums.dB[k];
        ((real *)call->out[4])[k] = (real)sums.dC[k];
    }
}
