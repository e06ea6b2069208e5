/* device_naive.h - what operations mean, written a second time: doubles, element by element, no shared code with any
 * device. Gradients are not written at all: tests take finite differences of these.
 */
#ifndef AIRA_TESTS_DEVICE_NAIVE_H
#define AIRA_TESTS_DEVICE_NAIVE_H

#include "device_harness.h"

static inline double naive_erf_gelu(double x) { return 0.5 * x * erfc(-x / sqrt(2.0)); }
static inline double naive_tanh_gelu(double x) {
    return x / (1 + exp(-2 * sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * pow(x, 3))));
}

/* One element of an elementwise op. */
static inline double naive_element(uint32_t op, int64_t mode, double a, double b, double c) {
    double h = 1e-6;
    switch (op) {
    case AIRA_OP_NEG:
        return -a;
    case AIRA_OP_EXP:
        return exp(a);
    case AIRA_OP_LOG:
        return log(a);
    case AIRA_OP_SQRT:
        return sqrt(a);
    case AIRA_OP_RSQRT:
        return pow(a, -0.5);
    case AIRA_OP_SIGMOID:
        return 0.5 * (1 + tanh(a / 2));
    case AIRA_OP_TANH:
        return tanh(a);
    case AIRA_OP_SILU:
        return a / (1 + exp(-a));
    case AIRA_OP_GELU:
        return mode ? naive_erf_gelu(a) : naive_tanh_gelu(a);
    case AIRA_OP_RELU:
        return fmax(a, 0);
    case AIRA_OP_SOFTPLUS:
        return a > 30 ? a : log1p(exp(a));
    case AIRA_OP_SIN:
        return sin(a);
    case AIRA_OP_COS:
        return cos(a);
    case AIRA_OP_ABS:
        return fabs(a);
    case AIRA_OP_ADD:
        return a + b;
    case AIRA_OP_SUB:
        return a - b;
    case AIRA_OP_MUL:
        return a * b;
    case AIRA_OP_DIV:
        return a / b;
    case AIRA_OP_MIN:
        return a < b ? a : b;
    case AIRA_OP_MAX:
        return a > b ? a : b;
    case AIRA_OP_POW:
        return pow(a, b);
    case AIRA_OP_EQ:
        return a == b;
    case AIRA_OP_NE:
        return a != b;
    case AIRA_OP_LT:
        return a < b;
    case AIRA_OP_LE:
        return a <= b;
    case AIRA_OP_GT:
        return a > b;
    case AIRA_OP_GE:
        return a >= b;
    case AIRA_OP_GELU_BACKWARD:
        return b * (naive_element(AIRA_OP_GELU, mode, a + h, 0, 0) - naive_element(AIRA_OP_GELU, mode, a - h, 0, 0)) /
               (2 * h);
    case AIRA_OP_SILU_BACKWARD:
        return b * (naive_element(AIRA_OP_SILU, 0, a + h, 0, 0) - naive_element(AIRA_OP_SILU, 0, a - h, 0, 0)) /
               (2 * h);
    case AIRA_OP_WHERE:
        return a != 0 ? b : c;
    default:
        return a;
    }
}

/* Element of t at a multi-index of an output of rank `rank` (right-aligned, extent 1 stretches). */
static inline double naive_at(const test_tensor *t, const int64_t *index, uint32_t rank) {
    int64_t offset = 0;
    for (uint32_t d = 0; d < t->shape.rank; d++) {
        int64_t i = index[rank - t->shape.rank + d];
        offset = offset * t->shape.dims[d] + (t->shape.dims[d] == 1 ? 0 : i);
    }
    return t->v[offset];
}

static inline void naive_index(const aira_shape *shape, int64_t e, int64_t *index) {
    for (int d = (int)shape->rank - 1; d >= 0; d--) {
        index[d] = e % shape->dims[d];
        e /= shape->dims[d];
    }
}

#define DIM(t, d) ((t).shape.dims[d])
#define AT4(t, a, b, c, d) ((t).v[(((a)*DIM(t, 1) + (b)) * DIM(t, 2) + (c)) * DIM(t, 3) + (d)])
#define AT3(t, a, b, c) ((t).v[((a)*DIM(t, 1) + (b)) * DIM(t, 2) + (c)])
#define AT2(t, a, b) ((t).v[(a)*DIM(t, 1) + (b)])

static inline void naive_matmul(test_tensor *x, const int64_t *i) {
    test_tensor a = x[0], b = x[1], *o = &x[2];
    uint32_t r = o->shape.rank;
    int64_t M = DIM(*o, r - 2), N = DIM(*o, r - 1), K = DIM(a, a.shape.rank - (i[0] ? 2 : 1));
    for (int64_t e = 0; e < test_elements(o); e++) {
        int64_t n = e % N, m = e / N % M, batch = e / (M * N);
        double sum = 0;
        for (int64_t k = 0; k < K; k++) {
            double p = a.v[batch * M * K + (i[0] ? k * M + m : m * K + k)];
            double q = b.v[(b.shape.rank > 2 ? batch * N * K : 0) + (i[1] ? n * K + k : k * N + n)];
            sum += p * q;
        }
        o->v[e] = sum;
    }
}

static inline void naive_attention(test_tensor *x, uint32_t n_in, const int64_t *i, const double *f) {
    test_tensor q = x[0], k = x[1], v = x[2], *o = &x[n_in], *lse = &x[n_in + 1];
    int64_t T = DIM(q, 1), S = DIM(k, 1), H = DIM(q, 2), per = H / DIM(k, 2);
    for (int64_t e = 0; e < DIM(q, 0) * H * T; e++) {
        int64_t b = e / (H * T), h = e / T % H, t = e % T;
        double sum = 0;
        for (int64_t d = 0; d < DIM(v, 3); d++) AT4(*o, b, t, h, d) = 0;
        for (int64_t s = 0; s < S; s++) {
            double dot = 0;
            bool seen = n_in < 4 || AT2(x[3], b, s) != 0;
            if (i[0] && s > t) seen = false;
            if (i[1] && llabs(t - s) >= i[1]) seen = false;
            if (!seen) continue;
            for (int64_t d = 0; d < DIM(q, 3); d++) dot += AT4(q, b, t, h, d) * AT4(k, b, s, h / per, d);
            sum += exp(f[0] * dot);
            for (int64_t d = 0; d < DIM(v, 3); d++) AT4(*o, b, t, h, d) += exp(f[0] * dot) * AT4(v, b, s, h / per, d);
        }
        lse->v[e] = log(sum);
        for (int64_t d = 0; d < DIM(v, 3) && sum > 0; d++) AT4(*o, b, t, h, d) /= sum;
    }
}

static inline void naive_rope(test_tensor *x, uint32_t n_in, const int64_t *i, const double *f) {
    test_tensor in = x[0], *o = &x[n_in];
    for (int64_t e = 0; e < test_elements(o); e++) {
        int64_t d = e % DIM(in, 3), t = e / (DIM(in, 3) * DIM(in, 2)) % DIM(in, 1), row = e / (DIM(in, 3) * DIM(in, 2));
        double position = n_in > 1 ? x[1].v[row] : (double)t;
        int64_t half = i[0] / 2, j = i[1] ? d / 2 : d % half;
        bool second = i[1] ? d % 2 : d >= half;
        int64_t other = i[1] ? (second ? e - 1 : e + 1) : (second ? e - half : e + half);
        double angle = (i[2] ? -1 : 1) * position / pow(f[0], 2.0 * (double)j / (double)i[0]);
        o->v[e] = d >= i[0] ? in.v[e] : in.v[e] * cos(angle) + (second ? 1 : -1) * in.v[other] * sin(angle);
    }
}

static inline void naive_scan(test_tensor *x) {
    test_tensor u = x[0], delta = x[1], A = x[2], B = x[3], C = x[4], D = x[5], *y = &x[6];
    for (int64_t b = 0; b < DIM(u, 0); b++) {
        for (int64_t c = 0; c < DIM(u, 2); c++) {
            for (int64_t t = 0; t < DIM(u, 1); t++) AT3(*y, b, t, c) = D.v[c] * AT3(u, b, t, c);
            for (int64_t n = 0; n < DIM(A, 1); n++) {
                double h = 0;
                for (int64_t t = 0; t < DIM(u, 1); t++) {
                    double d = AT3(delta, b, t, c);
                    h = h * exp(d * AT2(A, c, n)) + d * AT3(B, b, t, n) * AT3(u, b, t, c);
                    AT3(*y, b, t, c) += AT3(C, b, t, n) * h;
                }
            }
        }
    }
}

/* The quadratic form: y[t] = sum over s <= t of C[t].B[s] exp(A sum of dt over s+1..t) dt[s] x[s], and D x[t]. */
static inline void naive_ssd(test_tensor *x) {
    test_tensor u = x[0], dt = x[1], A = x[2], B = x[3], C = x[4], D = x[5], *y = &x[6];
    int64_t T = DIM(u, 1), per = DIM(u, 2) / DIM(B, 2);
    for (int64_t e = 0; e < test_elements(y); e++) {
        int64_t p = e % DIM(u, 3), h = e / DIM(u, 3) % DIM(u, 2), t = e / (DIM(u, 3) * DIM(u, 2)) % T;
        int64_t b = e / (DIM(u, 3) * DIM(u, 2) * T);
        double sum = D.v[h] * u.v[e], time = 0;
        for (int64_t s = t; s >= 0; s--) {
            double dot = 0;
            for (int64_t n = 0; n < DIM(B, 3); n++) dot += AT4(C, b, t, h / per, n) * AT4(B, b, s, h / per, n);
            sum += dot * exp(A.v[h] * time) * AT3(dt, b, s, h) * AT4(u, b, s, h, p);
            time += AT3(dt, b, s, h);
        }
        y->v[e] = sum;
    }
}

static inline void naive_convolutions(uint32_t op, test_tensor *x) {
    test_tensor u = x[0], w = x[1], *y = &x[op == AIRA_OP_FFT_CONV ? 2 : 3];
    int64_t taps = DIM(w, 1);
    for (int64_t e = 0; e < test_elements(y); e++) {
        int64_t c = e % DIM(u, 2), t = e / DIM(u, 2) % DIM(u, 1), b = e / (DIM(u, 2) * DIM(u, 1));
        y->v[e] = op == AIRA_OP_FFT_CONV ? 0 : x[2].v[c];
        for (int64_t k = 0; k < taps; k++) {
            int64_t s = op == AIRA_OP_FFT_CONV ? t - k : t - (taps - 1) + k;
            if (s >= 0 && s < DIM(u, 1)) y->v[e] += AT2(w, c, k) * AT3(u, b, s, c);
        }
    }
}

static inline void naive_rows(uint32_t op, test_tensor *x, const double *f) {
    uint32_t rank = x[0].shape.rank;
    int64_t C = DIM(x[0], rank - 1), rows = test_elements(&x[0]) / C;
    for (int64_t r = 0; r < rows; r++) {
        const double *in = x[0].v + r * C;
        double sum = 0, squares = 0, exps = 0;
        for (int64_t c = 0; c < C; c++) {
            sum += in[c];
            squares += in[c] * in[c];
            exps += exp(in[c]);
        }
        double mean = sum / (double)C, variance = squares / (double)C - mean * mean;
        for (int64_t c = 0; c < C; c++) {
            int64_t e = r * C + c;
            if (op == AIRA_OP_RMS_NORM) x[2].v[e] = in[c] / sqrt(squares / (double)C + f[0]) * x[1].v[c];
            if (op == AIRA_OP_LAYER_NORM) x[3].v[e] = (in[c] - mean) / sqrt(variance + f[0]) * x[1].v[c] + x[2].v[c];
            if (op == AIRA_OP_SOFTMAX) x[1].v[e] = exp(in[c]) / exps;
        }
        if (op == AIRA_OP_CROSS_ENTROPY) {
            int64_t target = (int64_t)x[1].v[r];
            x[2].v[r] = target < 0 || target >= C ? 0 : log(exps) - in[target];
        }
    }
}

static inline void naive_grouped(test_tensor *x, const int64_t *i) {
    test_tensor a = x[0], w = x[1], *y = &x[3];
    int64_t e = 0, left = (int64_t)x[2].v[0];
    for (int64_t r = 0; r < DIM(a, 0); r++) {
        while (e < DIM(w, 0) && left == 0) left = ++e < DIM(w, 0) ? (int64_t)x[2].v[e] : 0;
        for (int64_t m = 0; m < DIM(*y, 1); m++) {
            AT2(*y, r, m) = 0;
            for (int64_t k = 0; k < DIM(a, 1) && e < DIM(w, 0); k++) {
                AT2(*y, r, m) += AT2(a, r, k) * (i[0] ? AT3(w, e, m, k) : AT3(w, e, k, m));
            }
        }
        left--;
    }
}

/* Forward meaning of a floating-point op: operands x[0..n_in-1], results after them. */
static inline void naive_forward(uint32_t op, test_tensor *x, uint32_t n_in, const int64_t *i, const double *f) {
    switch (op) {
    case AIRA_OP_MATMUL:
        naive_matmul(x, i);
        break;
    case AIRA_OP_ATTENTION:
        naive_attention(x, n_in, i, f);
        break;
    case AIRA_OP_ROPE:
        naive_rope(x, n_in, i, f);
        break;
    case AIRA_OP_SELECTIVE_SCAN:
        naive_scan(x);
        break;
    case AIRA_OP_SSD:
        naive_ssd(x);
        break;
    case AIRA_OP_CONV1D_CAUSAL:
    case AIRA_OP_FFT_CONV:
        naive_convolutions(op, x);
        break;
    case AIRA_OP_GROUPED_MATMUL:
        naive_grouped(x, i);
        break;
    case AIRA_OP_RMS_NORM:
    case AIRA_OP_LAYER_NORM:
    case AIRA_OP_SOFTMAX:
    case AIRA_OP_CROSS_ENTROPY:
        naive_rows(op, x, f);
        break;
    default: { /* elementwise */
        test_tensor *o = &x[n_in];
        for (int64_t e = 0; e < test_elements(o); e++) {
            int64_t index[AIRA_MAX_RANK];
            double in[3] = {0, 0, 0};
            naive_index(&o->shape, e, index);
            for (uint32_t k = 0; k < n_in; k++) in[k] = naive_at(&x[k], index, o->shape.rank);
            o->v[e] = naive_element(op, i ? i[0] : 0, in[0], in[1], in[2]);
        }
    }
    }
}

#endif
