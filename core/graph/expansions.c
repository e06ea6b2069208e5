/* core/graph/expansions.c - every composite in plain operations: oracle for kernels, fallback for devices without one.
 *
 * Written for clarity, not for speed; the scan is unrolled over time. Operands arrive in fp32 or fp64.
 */
#include <math.h>

#include "core/graph/internal.h"

#define EXPAND(name) static void name(aira_graph *g, const aira__op *op, aira_tensor **in, aira_tensor **out)

static aira_tensor *mul(aira_graph *g, aira_tensor *a, aira_tensor *b) { return aira__binary(g, AIRA_OP_MUL, a, b); }
static aira_tensor *add(aira_graph *g, aira_tensor *a, aira_tensor *b) { return aira__binary(g, AIRA_OP_ADD, a, b); }
static aira_tensor *sub(aira_graph *g, aira_tensor *a, aira_tensor *b) { return aira__binary(g, AIRA_OP_SUB, a, b); }
static aira_tensor *num(aira_graph *g, double v, const aira_tensor *like) {
    return aira__scalar(g, v, like ? like->dtype : AIRA_F32);
}
static aira_tensor *where(aira_graph *g, aira_tensor *c, aira_tensor *a, aira_tensor *b) {
    aira_tensor *in[3] = {c, a, b};
    return aira__graph_emit(g, AIRA_OP_WHERE, in, 3, NULL, 0, NULL, 0, NULL, 0);
}
static aira_tensor *permuted(aira_graph *g, aira_tensor *x, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e) {
    int64_t order[5] = {a, b, c, d, e};
    return aira__permuted(g, x, order);
}
static aira_tensor *shaped(aira_graph *g, aira_tensor *x, aira_shape s) { return aira__reshaped(g, x, &s); }
static uint32_t last_axis(const aira_tensor *x) { return 1u << (x->shape.rank - 1); }

static aira_tensor *mean_last(aira_graph *g, aira_tensor *x) {
    if (x == NULL) return NULL;
    double n = (double)x->shape.dims[x->shape.rank - 1];
    return aira__scaled(g, aira__summed(g, x, last_axis(x), true, 0), 1 / n);
}

static aira_tensor *normalised(aira_graph *g, aira_tensor *x, double eps) { /* x / sqrt(mean x^2 + eps) */
    aira_tensor *ms = add(g, mean_last(g, mul(g, x, x)), num(g, eps, x));
    return mul(g, x, aira__unary(g, AIRA_OP_RSQRT, ms));
}

EXPAND(rms_norm) { out[0] = mul(g, normalised(g, in[0], op->f[0]), in[1]); }

EXPAND(layer_norm) {
    aira_tensor *centred = sub(g, in[0], mean_last(g, in[0]));
    out[0] = add(g, mul(g, normalised(g, centred, op->f[0]), in[1]), in[2]);
}

static aira_tensor *max_last(aira_graph *g, aira_tensor *x) {
    int64_t i[2] = {last_axis(x), 1}, stop = 1;
    aira_tensor *m = aira__graph_emit(g, AIRA_OP_MAX_REDUCE, &x, 1, i, 2, NULL, 0, NULL, 0);
    /* the maximum only guards against overflow: its gradient cancels */
    return aira__graph_emit(g, AIRA_OP_CAST, &m, 1, &stop, 1, NULL, 0, NULL, x->dtype);
}

EXPAND(softmax) {
    (void)op;
    if (in[0] == NULL) return;
    aira_tensor *e = aira__unary(g, AIRA_OP_EXP, sub(g, in[0], max_last(g, in[0])));
    if (e) out[0] = aira__binary(g, AIRA_OP_DIV, e, aira__summed(g, e, last_axis(e), true, 0));
}

/* 1 where query t may see key s, as [T,S]; NULL if every one may */
static aira_tensor *visible(aira_graph *g, const aira__op *op, int64_t T, int64_t S, uint32_t type) {
    bool causal = op->i[0] != 0;
    int64_t window = op->i[1];
    if (!causal && window == 0) return NULL;
    aira_shape rows = aira__shape_of(2, T, (int64_t)1), columns = aira__shape_of(2, (int64_t)1, S);
    aira_tensor *distance = sub(g, aira__indices(g, &rows, 0, type), aira__indices(g, &columns, 1, type)); /* t - s */
    aira_tensor *seen = causal ? aira__binary(g, AIRA_OP_GE, distance, aira__scalar(g, 0, type)) : NULL;
    if (window == 0) return seen;
    aira_tensor *far = causal ? distance : aira__unary(g, AIRA_OP_ABS, distance);
    aira_tensor *near = aira__binary(g, AIRA_OP_LT, far, aira__scalar(g, (double)window, type));
    return seen ? mul(g, seen, near) : near;
}

EXPAND(attention) {
    aira_tensor *q = in[0], *k = in[1], *v = in[2];
    if (!q || !k || !v) return;
    int64_t B = q->shape.dims[0], T = q->shape.dims[1], H = q->shape.dims[2], D = q->shape.dims[3];
    int64_t S = k->shape.dims[1], G = k->shape.dims[2], E = v->shape.dims[3], R = H / G;
    /* [B,G,R*T,D] against [B,G,S,D]: heads of a group stand above each other */
    q = shaped(g, q, aira__shape_of(5, B, T, G, R, D));
    q = shaped(g, permuted(g, q, 0, 2, 3, 1, 4), aira__shape_of(4, B, G, R * T, D));
    k = permuted(g, k, 0, 2, 1, 3, 0);
    v = permuted(g, v, 0, 2, 1, 3, 0);
    aira_tensor *s = aira__scaled(g, aira__multiplied(g, q, k, false, true, 0), op->f[0]);
    s = shaped(g, s, aira__shape_of(5, B, G, R, T, S));
    if (s == NULL) return;
    aira_tensor *seen = visible(g, op, T, S, s->dtype);
    if (op->n_in == 4 && in[3]) {
        aira_tensor *keys = aira__binary(g, AIRA_OP_NE,
                                         shaped(g, in[3], aira__shape_of(5, B, (int64_t)1, (int64_t)1, (int64_t)1, S)),
                                         num(g, 0, in[3]));
        seen = seen ? mul(g, seen, keys) : keys;
    }
    if (seen) s = where(g, seen, s, num(g, -1e30, s));
    aira_tensor *m = max_last(g, s), *e = aira__unary(g, AIRA_OP_EXP, sub(g, s, m));
    if (seen) e = mul(g, e, seen);
    if (e == NULL) return;
    aira_tensor *sum = aira__summed(g, e, last_axis(e), true, 0);
    aira_tensor *safe = where(g, sum, sum, num(g, 1, sum)); /* no visible key: 0 */
    aira_tensor *p = shaped(g, aira__binary(g, AIRA_OP_DIV, e, safe), aira__shape_of(4, B, G, R * T, S));
    aira_tensor *o = shaped(g, aira__multiplied(g, p, v, false, false, 0), aira__shape_of(5, B, G, R, T, E));
    out[0] = shaped(g, permuted(g, o, 0, 3, 1, 2, 4), aira__shape_of(4, B, T, H, E));
    out[1] = shaped(g, add(g, m, aira__unary(g, AIRA_OP_LOG, safe)), aira__shape_of(3, B, H, T));
}

EXPAND(rope) {
    aira_tensor *x = in[0];
    if (x == NULL) return;
    int64_t B = x->shape.dims[0], T = x->shape.dims[1], H = x->shape.dims[2], D = x->shape.dims[3], n = op->i[0];
    aira_shape half = aira__shape_of(1, n / 2), at = aira__shape_of(4, (int64_t)1, T, (int64_t)1, (int64_t)1);
    aira_tensor *frequency = aira__indices(g, &half, 0, x->dtype);
    frequency = aira__unary(g, AIRA_OP_EXP, aira__scaled(g, frequency, -2 * log(op->f[0]) / (double)n));
    aira_tensor *position = aira__indices(g, &at, 1, x->dtype);
    if (op->n_in == 2)
        position = shaped(g, aira__to_type(g, in[1], x->dtype), aira__shape_of(4, B, T, (int64_t)1, (int64_t)1));
    aira_tensor *angle = mul(g, position, frequency);
    aira_tensor *c = aira__unary(g, AIRA_OP_COS, angle), *s = aira__unary(g, AIRA_OP_SIN, angle);
    if (op->i[2]) s = aira__unary(g, AIRA_OP_NEG, s);
    aira_tensor *part = aira__sliced(g, x, 3, 0, n), *a, *b;
    if (op->i[1]) { /* pairs (0,1), (2,3), .. */
        part = shaped(g, part, aira__shape_of(5, B, T, H, n / 2, (int64_t)2));
        a = shaped(g, aira__sliced(g, part, 4, 0, 1), aira__shape_of(4, B, T, H, n / 2));
        b = shaped(g, aira__sliced(g, part, 4, 1, 1), aira__shape_of(4, B, T, H, n / 2));
    } else {
        a = aira__sliced(g, part, 3, 0, n / 2);
        b = aira__sliced(g, part, 3, n / 2, n / 2);
    }
    aira_tensor *turned[2] = {sub(g, mul(g, a, c), mul(g, b, s)), add(g, mul(g, b, c), mul(g, a, s))};
    if (op->i[1])
        for (int k = 0; k < 2; k++) turned[k] = shaped(g, turned[k], aira__shape_of(5, B, T, H, n / 2, (int64_t)1));
    aira_tensor *y = aira__concatenated(g, turned, 2, op->i[1] ? 4 : 3);
    aira_tensor *both[2] = {shaped(g, y, aira__shape_of(4, B, T, H, n)), NULL};
    if (n < D) both[1] = aira__sliced(g, x, 3, n, D - n);
    out[0] = n < D ? aira__concatenated(g, both, 2, 3) : both[0];
}

/* x[B,T,..] delayed by n steps, zeros before */
static aira_tensor *delayed(aira_graph *g, aira_tensor *x, int64_t n) {
    if (x == NULL) return NULL;
    int64_t T = x->shape.dims[1];
    if (n >= T) return mul(g, x, num(g, 0, x));
    return aira__padded(g, aira__sliced(g, x, 1, 0, T - n), 1, n, 0, 0);
}

EXPAND(conv1d_causal) {
    (void)op;
    if (in[0] == NULL || in[1] == NULL) return;
    int64_t C = in[1]->shape.dims[0], K = in[1]->shape.dims[1];
    aira_tensor *y = in[2];
    for (int64_t k = 0; k < K; k++) {
        aira_tensor *w = shaped(g, aira__sliced(g, in[1], 1, k, 1), aira__shape_of(1, C));
        y = add(g, mul(g, delayed(g, in[0], K - 1 - k), w), y);
    }
    out[0] = y;
}

EXPAND(selective_scan) {
    (void)op;
    aira_tensor *u = in[0], *delta = in[1], *A = in[2];
    if (!u || !delta || !A || !in[3] || !in[4]) return;
    int64_t B = u->shape.dims[0], T = u->shape.dims[1], C = u->shape.dims[2];
    aira_tensor *h = NULL, **y = aira__graph_alloc(g, (size_t)T * sizeof *y);
    if (y == NULL) return;
    for (int64_t t = 0; t < T; t++) {
        aira_tensor *dt = shaped(g, aira__sliced(g, delta, 1, t, 1), aira__shape_of(3, B, C, (int64_t)1));
        aira_tensor *ut = shaped(g, aira__sliced(g, u, 1, t, 1), aira__shape_of(3, B, C, (int64_t)1));
        aira_tensor *Bt = aira__sliced(g, in[3], 1, t, 1), *Ct = aira__sliced(g, in[4], 1, t, 1); /* [B,1,N] */
        aira_tensor *grown = mul(g, mul(g, dt, ut), Bt);
        h = h ? add(g, mul(g, aira__unary(g, AIRA_OP_EXP, mul(g, dt, A)), h), grown) : grown;
        aira_tensor *seen = mul(g, h, Ct);
        y[t] = shaped(g, aira__summed(g, seen, 1u << 2, false, 0), aira__shape_of(3, B, (int64_t)1, C));
        if (y[t] == NULL) return;
    }
    out[0] = add(g, aira__concatenated(g, y, (uint32_t)T, 1), mul(g, u, in[5]));
}

/* The quadratic form: y[t] = sum_{s<=t} (C_t . B_s) exp(a_t - a_s) dt_s x_s, with a the running sum of dt A. */
EXPAND(ssd) {
    (void)op;
    aira_tensor *x = in[0], *dt = in[1];
    if (!x || !dt || !in[3] || !in[4]) return;
    int64_t B = x->shape.dims[0], T = x->shape.dims[1], H = x->shape.dims[2], P = x->shape.dims[3];
    int64_t G = in[3]->shape.dims[2], R = H / G, one = 1;
    int64_t along[3] = {1, 0, 0};
    aira_tensor *steps = mul(g, dt, in[2]);
    aira_tensor *a = aira__graph_emit(g, AIRA_OP_CUMSUM, &steps, 1, along, 3, NULL, 0, NULL, 0); /* [B,T,H] */
    a = permuted(g, a, 0, 2, 1, 0, 0);                                                           /* [B,H,T] */
    aira_tensor *decay = sub(g, shaped(g, a, aira__shape_of(4, B, H, T, one)),
                             shaped(g, a, aira__shape_of(4, B, H, one, T)));
    aira_shape rows = aira__shape_of(2, T, one), columns = aira__shape_of(2, one, T);
    aira_tensor *seen = aira__binary(g, AIRA_OP_GE, aira__indices(g, &rows, 0, x->dtype),
                                     aira__indices(g, &columns, 1, x->dtype));
    decay = aira__unary(g, AIRA_OP_EXP, where(g, seen, decay, num(g, -1e30, x)));
    aira_tensor *Bt = permuted(g, in[3], 0, 2, 1, 3, 0), *Ct = permuted(g, in[4], 0, 2, 1, 3, 0); /* [B,G,T,N] */
    aira_tensor *cb = shaped(g, aira__multiplied(g, Ct, Bt, false, true, 0), aira__shape_of(5, B, G, one, T, T));
    aira_tensor *m = mul(g, cb, shaped(g, decay, aira__shape_of(5, B, G, R, T, T)));
    aira_tensor *xdt = mul(g, x, shaped(g, dt, aira__shape_of(4, B, T, H, one)));
    xdt = permuted(g, xdt, 0, 2, 1, 3, 0); /* [B,H,T,P] */
    aira_tensor *y = aira__multiplied(g, shaped(g, m, aira__shape_of(4, B, H, T, T)), xdt, false, false, 0);
    y = permuted(g, y, 0, 2, 1, 3, 0);
    out[0] = shaped(g, add(g, y, mul(g, x, shaped(g, in[5], aira__shape_of(2, H, one)))),
                    aira__shape_of(4, B, T, H, P));
}

typedef struct complex_pair {
    aira_tensor *re, *im;
} complex_pair;

/* exp(sign 2 pi i jk / n) as [rows, columns], j and k the indices. jk is reduced to 0 .. n-1 in integers. */
static complex_pair roots(aira_graph *g, int64_t rows, int64_t columns, int64_t n, double sign, uint32_t type) {
    aira_shape column = aira__shape_of(2, rows, (int64_t)1), row = aira__shape_of(2, (int64_t)1, columns);
    aira_tensor *jk = mul(g, aira__indices(g, &column, 0, AIRA_I32), aira__indices(g, &row, 1, AIRA_I32));
    int64_t step = n;
    while (step < rows * columns) step *= 2;
    for (; step >= n; step /= 2) {
        aira_tensor *limit = aira__scalar(g, (double)step, AIRA_I32);
        jk = sub(g, jk, mul(g, limit, aira__binary(g, AIRA_OP_GE, jk, limit)));
    }
    aira_tensor *angle = aira__scaled(g, aira__to_type(g, jk, type), sign * 2 * acos(-1) / (double)n);
    return (complex_pair){aira__unary(g, AIRA_OP_COS, angle), aira__unary(g, AIRA_OP_SIN, angle)};
}

static complex_pair product(aira_graph *g, complex_pair a, complex_pair b) {
    return (complex_pair){sub(g, mul(g, a.re, b.re), mul(g, a.im, b.im)),
                          add(g, mul(g, a.re, b.im), mul(g, a.im, b.re))};
}

/* a^T b or a b over the last two axes; a.im NULL: a is real */
static complex_pair matrix_product(aira_graph *g, complex_pair a, complex_pair b, bool turned) {
    complex_pair y = {aira__multiplied(g, a.re, b.re, turned, false, 0),
                      aira__multiplied(g, a.re, b.im, turned, false, 0)};
    if (a.im == NULL) return y;
    return (complex_pair){sub(g, y.re, aira__multiplied(g, a.im, b.im, turned, false, 0)),
                          add(g, y.im, aira__multiplied(g, a.im, b.re, turned, false, 0))};
}

/* Fourier transform of x [.., N1, N2], time t = N2 t1 + t2, as two matrix products: frequency k1 + N1 k2 is [k1, k2].
 */
static complex_pair fourier(aira_graph *g, aira_tensor *x, int64_t N1, int64_t N2) {
    if (x == NULL) return (complex_pair){NULL, NULL};
    complex_pair y = matrix_product(g, (complex_pair){x, NULL}, roots(g, N1, N1, N1, -1, x->dtype), true);
    y = product(g, y, roots(g, N2, N1, N1 * N2, -1, x->dtype)); /* [.., t2, k1] */
    return matrix_product(g, y, roots(g, N2, N2, N2, -1, x->dtype), true);
}

/* Products of spectra, in O(T^1.5): transforms of length N1 N2 >= 2T - 1 are matrix products of about sqrt(2T). */
EXPAND(fft_conv) {
    (void)op;
    if (in[0] == NULL || in[1] == NULL) return;
    int64_t B = in[0]->shape.dims[0], T = in[0]->shape.dims[1], C = in[0]->shape.dims[2], N1 = 1;
    while (N1 * N1 < 2 * T - 1) N1 = N1 < 8 ? N1 + 1 : N1 + 8;
    int64_t N2 = (2 * T - 1 + N1 - 1) / N1;
    aira_tensor *u = aira__padded(g, in[0], 1, 0, N1 * N2 - T, 0), *k = aira__padded(g, in[1], 1, 0, N1 * N2 - T, 0);
    u = permuted(g, shaped(g, u, aira__shape_of(4, B, N1, N2, C)), 0, 3, 1, 2, 0);
    complex_pair U = fourier(g, u, N1, N2), K = fourier(g, shaped(g, k, aira__shape_of(3, C, N1, N2)), N1, N2);
    if (U.re == NULL || K.re == NULL) return;
    complex_pair Y = matrix_product(g, product(g, U, K), roots(g, N2, N2, N2, 1, in[0]->dtype), false);
    Y = product(g, Y, roots(g, N1, N2, N1 * N2, 1, in[0]->dtype)); /* [B, C, k1, t2] */
    complex_pair back = roots(g, N1, N1, N1, 1, in[0]->dtype);
    aira_tensor *y = sub(g, aira__multiplied(g, Y.re, back.re, true, false, 0),
                         aira__multiplied(g, Y.im, back.im, true, false, 0)); /* [B, C, t2, t1] */
    y = permuted(g, aira__scaled(g, y, 1 / (double)(N1 * N2)), 0, 3, 2, 1, 0);
    out[0] = aira__sliced(g, shaped(g, y, aira__shape_of(3, B, N1 * N2, C)), 1, 0, T);
}

/* 1 where row n belongs to group e, as [E,N,1] */
static aira_tensor *membership(aira_graph *g, aira_tensor *counts, int64_t N, uint32_t type) {
    if (counts == NULL) return NULL;
    int64_t E = counts->shape.dims[0], inclusive[3] = {0, 0, 0}, exclusive[3] = {0, 0, 1};
    aira_tensor *end = aira__graph_emit(g, AIRA_OP_CUMSUM, &counts, 1, inclusive, 3, NULL, 0, NULL, 0);
    aira_tensor *begin = aira__graph_emit(g, AIRA_OP_CUMSUM, &counts, 1, exclusive, 3, NULL, 0, NULL, 0);
    aira_shape row = aira__shape_of(2, (int64_t)1, N), group = aira__shape_of(2, E, (int64_t)1);
    aira_tensor *n = aira__indices(g, &row, 1, AIRA_I32);
    aira_tensor *in_it = mul(g, aira__binary(g, AIRA_OP_GE, n, aira__reshaped(g, begin, &group)),
                             aira__binary(g, AIRA_OP_LT, n, aira__reshaped(g, end, &group)));
    return shaped(g, aira__to_type(g, in_it, type), aira__shape_of(3, E, N, (int64_t)1));
}

EXPAND(grouped_matmul) {
    aira_tensor *x = in[0], *w = in[1];
    if (x == NULL || w == NULL) return;
    int64_t N = x->shape.dims[0], K = x->shape.dims[1], E = w->shape.dims[0];
    aira_shape every = aira__shape_of(3, E, N, K);
    aira_tensor *mine = mul(g, aira__broadcasted(g, x, &every), membership(g, in[2], N, x->dtype));
    out[0] = aira__summed(g, aira__multiplied(g, mine, w, false, op->i[0] != 0, 0), 1u << 0, false, 0);
}

EXPAND(grouped_wgrad) {
    (void)op;
    aira_tensor *x = in[0], *d = in[1];
    if (x == NULL || d == NULL || in[2] == NULL) return;
    int64_t N = x->shape.dims[0], E = in[2]->shape.dims[0];
    aira_shape every_x = aira__shape_of(3, E, N, x->shape.dims[1]), every_d = aira__shape_of(3, E, N, d->shape.dims[1]);
    aira_tensor *mine = mul(g, aira__broadcasted(g, x, &every_x), membership(g, in[2], N, x->dtype));
    out[0] = aira__multiplied(g, mine, aira__broadcasted(g, d, &every_d), true, false, 0);
}

EXPAND(cross_entropy) {
    (void)op;
    aira_tensor *logits = in[0], *targets = in[1];
    if (logits == NULL || targets == NULL) return;
    aira_shape column = targets->shape;
    column.dims[column.rank++] = 1;
    aira_tensor *m = max_last(g, logits), *e = aira__unary(g, AIRA_OP_EXP, sub(g, logits, m));
    if (e == NULL) return;
    aira_tensor *lse = add(g, aira__unary(g, AIRA_OP_LOG, aira__summed(g, e, last_axis(e), true, 0)), m);
    aira_tensor *index = aira__reshaped(g, targets, &column);
    aira_tensor *hit = aira__binary(g, AIRA_OP_GATHER_LAST, logits, index);
    aira_tensor *zero = aira__scalar(g, 0, AIRA_I32);
    aira_tensor *V = aira__scalar(g, (double)logits->shape.dims[logits->shape.rank - 1], AIRA_I32);
    aira_tensor *counted = mul(g, aira__binary(g, AIRA_OP_GE, index, zero), aira__binary(g, AIRA_OP_LT, index, V));
    aira_tensor *nll = mul(g, sub(g, lse, hit), aira__to_type(g, counted, logits->dtype));
    out[0] = aira__reshaped(g, nll, &targets->shape);
}

EXPAND(head_cross_entropy) {
    if (in[0] == NULL || in[1] == NULL) return;
    aira_tensor *pair[2] = {aira__multiplied(g, in[0], in[1], false, true, 0), in[2]};
    cross_entropy(g, op, pair, out);
}

aira__expander aira__expander_of(uint32_t code) {
    switch (code) {
    case AIRA_OP_RMS_NORM:
        return rms_norm;
    case AIRA_OP_LAYER_NORM:
        return layer_norm;
    case AIRA_OP_SOFTMAX:
        return softmax;
    case AIRA_OP_ATTENTION:
        return attention;
    case AIRA_OP_ROPE:
        return rope;
    case AIRA_OP_CONV1D_CAUSAL:
        return conv1d_causal;
    case AIRA_OP_SELECTIVE_SCAN:
        return selective_scan;
    case AIRA_OP_SSD:
        return ssd;
    case AIRA_OP_FFT_CONV:
        return fft_conv;
    case AIRA_OP_GROUPED_MATMUL:
        return grouped_matmul;
    case AIRA_OP_GROUPED_WGRAD:
        return grouped_wgrad;
    case AIRA_OP_CROSS_ENTROPY:
        return cross_entropy;
    case AIRA_OP_HEAD_CROSS_ENTROPY:
        return head_cross_entropy;
    default:
        return NULL;
    }
}
