/* fast_attention.c - attention with its gradient, VL queries at a time, one in each lane.
 *
 * For a block of VL queries of one head the scores with key s are one vector: sum over d of (queries' d) * K[s][d], so
 * that nothing needs a sum over lanes: softmax runs lane by lane, and o[e] += p[s] * V[s][e] again broadcasts V. All
 * scores of the block stay in scratch ([S][VL], a few hundred KiB at S = 4096), so softmax takes its plain form.
 *
 * Backward computes the probabilities from lse, keeps p and ds of the block, and adds p^T do and ds^T q to dV and dK
 * with vectors along the head's width. A task is one (batch, key head); its query heads and blocks come in order.
 */
#include <string.h>

#include "fast_kernels.h"

typedef struct attention {
    const cpu_view *q, *k, *v, *o, *lse, *g, *mask; /* o, lse: results of forward, operands of backward */
    const cpu_view *dq, *dk, *dv;
    int64_t t_n, s_n, heads, groups, d_n, e_n, window;
    int64_t d_pad, e_pad; /* whole vectors */
    bool causal;
    float scale;
} attention;

static int64_t padded(int64_t n) { return (n + VL - 1) / VL * VL; }

static attention attention_of(const cpu_call *call) {
    const cpu_view *in = call->in;
    attention a = {.q = &in[0], .k = &in[1], .v = &in[2]};
    a.t_n = in[0].shape.dims[1];
    a.heads = in[0].shape.dims[2];
    a.d_n = in[0].shape.dims[3];
    a.s_n = in[1].shape.dims[1];
    a.groups = in[1].shape.dims[2];
    a.e_n = in[2].shape.dims[3];
    a.d_pad = padded(a.d_n);
    a.e_pad = padded(a.e_n);
    a.causal = call->step->i[0] != 0;
    a.window = call->step->i[1];
    a.scale = (float)call->step->f[0];
    return a;
}

/* Rows of one head, [n][pad] with zeros beyond width; x is [B, n, heads, width]. */
static void head_rows(const cpu_view *x, int64_t b, int64_t head, int64_t start, int64_t n, int64_t pad, float *to) {
    int64_t rows = x->shape.dims[1], heads = x->shape.dims[2], width = x->shape.dims[3];
    for (int64_t r = 0; r < n; r++, to += pad) {
        const float *from = fast_in(x, ((b * rows + start + r) * heads + head) * width, width, to);
        if (from != to) memcpy(to, from, (size_t)width * sizeof *to);
        for (int64_t c = width; c < pad; c++) to[c] = 0;
    }
}

/* rows[VL][pad] times factor, as columns [width][VL]. */
static void turn(const float *rows, int64_t pad, int64_t width, float factor, float *to) {
    for (int64_t c = 0; c < width; c++) {
        for (int64_t l = 0; l < VL; l++) to[c * VL + l] = rows[l * pad + c] * factor;
    }
}

/* One row of a result [B, n, heads, width]. */
static void give_row(const cpu_view *x, int64_t b, int64_t head, int64_t row, const float *from) {
    int64_t width = x->shape.dims[3], at = ((b * x->shape.dims[1] + row) * x->shape.dims[2] + head) * width;
    if (x->dtype == AIRA_F32) {
        memcpy((float *)(void *)x->data + at, from, (size_t)width * sizeof *from);
    } else {
        fast_give(x, at, width, from);
    }
}

/* --- the two loops over keys -------------------------------------------------------------------------------------- */

/* p[s] = sum over c of x[c] * rows[s][c], s in s0 .. s1-1; x[width][VL], rows[..][pad]. */
static inline __attribute__((always_inline)) void products(const float *x, const float *rows, int64_t pad,
                                                           int64_t width, int64_t s0, int64_t s1, float *p) {
    int64_t s = s0;
    for (; s + 4 <= s1; s += 4) {
        const float *row = rows + s * pad;
        vf sum[4] = {vset(0.0f), vset(0.0f), vset(0.0f), vset(0.0f)};
        for (int64_t c = 0; c < width; c++) {
            vf y = vload(x + c * VL);
            for (int j = 0; j < 4; j++) sum[j] += y * vset(row[j * pad + c]);
        }
        for (int j = 0; j < 4; j++) vstore(p + (s + j) * VL, sum[j]);
    }
    for (; s < s1; s++) {
        vf sum = vset(0.0f);
        for (int64_t c = 0; c < width; c++) sum += vload(x + c * VL) * vset(rows[s * pad + c]);
        vstore(p + s * VL, sum);
    }
}

/* out[c] = sum over s of p[s] * rows[s][c]; out[width][VL]. */
static inline __attribute__((always_inline)) void mixture(const float *p, const float *rows, int64_t pad, int64_t width,
                                                          int64_t s0, int64_t s1, float *out) {
    int64_t c = 0;
    for (; c + 8 <= width; c += 8) {
        vf sum[8];
        for (int j = 0; j < 8; j++) sum[j] = vset(0.0f);
        for (int64_t s = s0; s < s1; s++) {
            vf y = vload(p + s * VL);
            for (int j = 0; j < 8; j++) sum[j] += y * vset(rows[s * pad + c + j]);
        }
        for (int j = 0; j < 8; j++) vstore(out + (c + j) * VL, sum[j]);
    }
    for (; c < width; c++) {
        vf sum = vset(0.0f);
        for (int64_t s = s0; s < s1; s++) sum += vload(p + s * VL) * vset(rows[s * pad + c]);
        vstore(out + c * VL, sum);
    }
}

/* sums[s][pad] += sum over lanes l of p[s][l] * rows[l][pad]. */
static inline __attribute__((always_inline)) void outer_sum(const float *p, const float *rows, int64_t pad, int64_t s0,
                                                            int64_t s1, float *sums) {
    for (int64_t c = 0; c < pad; c += VL) {
        int64_t s = s0;
        for (; s + 4 <= s1; s += 4) {
            vf sum[4];
            for (int j = 0; j < 4; j++) sum[j] = vload(sums + (s + j) * pad + c);
            for (int l = 0; l < VL; l++) {
                vf y = vload(rows + l * pad + c);
                for (int j = 0; j < 4; j++) sum[j] += y * vset(p[(s + j) * VL + l]);
            }
            for (int j = 0; j < 4; j++) vstore(sums + (s + j) * pad + c, sum[j]);
        }
        for (; s < s1; s++) {
            vf sum = vload(sums + s * pad + c);
            for (int l = 0; l < VL; l++) sum += vload(rows + l * pad + c) * vset(p[s * VL + l]);
            vstore(sums + s * pad + c, sum);
        }
    }
}

/* Narrow heads get loops of constant length. */
#define BY_WIDTH(width, call)    \
    switch (width) {             \
    case 8: {                    \
        enum { W = 8 };          \
        call;                    \
        break;                   \
    }                            \
    case 16: {                   \
        enum { W = 16 };         \
        call;                    \
        break;                   \
    }                            \
    default: {                   \
        const int64_t W = width; \
        call;                    \
    }                            \
    }

static void key_products(const float *x, const float *rows, int64_t width, int64_t s0, int64_t s1, float *p) {
    BY_WIDTH(width, products(x, rows, padded(W), W, s0, s1, p))
}
static void key_mixture(const float *p, const float *rows, int64_t width, int64_t s0, int64_t s1, float *out) {
    BY_WIDTH(width, mixture(p, rows, padded(W), W, s0, s1, out))
}
static void key_sums(const float *p, const float *rows, int64_t width, int64_t s0, int64_t s1, float *sums) {
    BY_WIDTH(width, outer_sum(p, rows, padded(W), s0, s1, sums))
}

/* --- which keys a block sees -------------------------------------------------------------------------------------- */

static void key_range(const attention *a, int64_t t0, int64_t *s0, int64_t *s1) {
    int64_t end = t0 + VL;
    *s0 = a->window && t0 - a->window + 1 > 0 ? t0 - a->window + 1 : 0;
    *s1 = a->causal ? end : a->window ? end + a->window - 1 : a->s_n;
    if (*s1 > a->s_n) *s1 = a->s_n;
    if (*s0 > *s1) *s0 = *s1;
}

static vi lanes_from(int64_t first) {
    vi lanes;
    for (int l = 0; l < VL; l++) lanes[l] = (int32_t)first + l;
    return lanes;
}

/* Lanes (queries t) that see key s: all bits set. */
static vi visible(const attention *a, vi t, int64_t s, const float *mask) {
    int32_t key = (int32_t)s, window = (int32_t)a->window;
    vi see = t >= (int32_t)INT32_MIN;
    if (a->causal) see &= t >= key;
    if (window) see &= (t < key + window) & (t > key - window);
    if (mask && mask[s] == 0.0f) see &= 0;
    return see;
}

/* Must lanes be hidden one by one for key s? */
static bool partly_hidden(const attention *a, int64_t t0, int64_t s, const float *mask) {
    return mask || a->window || (a->causal && s > t0);
}

static const float *mask_of(const attention *a, int64_t b, float *spare) {
    return a->mask ? fast_in(a->mask, b * a->s_n, a->s_n, spare) : NULL;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* Scores in p become exp(score - peak); returns peak (0 where nothing is seen) and the sum. */
static void soften(const attention *a, int64_t t0, int64_t s0, int64_t s1, const float *mask, float *p, vf *peak,
                   vf *total) {
    vi t = lanes_from(t0);
    vf best = vset(-__builtin_inff()), sum = vset(0.0f);
    for (int64_t s = s0; s < s1; s++) {
        vf x = vload(p + s * VL);
        if (partly_hidden(a, t0, s, mask)) {
            x = vselect(visible(a, t, s, mask), x, vset(-__builtin_inff()));
            vstore(p + s * VL, x);
        }
        best = vselect((x > best) | (x != x), x, best);
    }
    best = vselect(best == -__builtin_inff(), vset(0.0f), best);
    for (int64_t s = s0; s < s1; s++) {
        vf x = vexp(vload(p + s * VL) - best);
        vstore(p + s * VL, x);
        sum += x;
    }
    *peak = best;
    *total = sum;
}

static void forward_task(void *opaque, int64_t task, cpu_worker *worker) {
    const attention *a = opaque;
    int64_t b = task / a->heads, h = task % a->heads, group = h * a->groups / a->heads;
    cpu_mark mark = cpu_scratch_mark(worker);
    int64_t floats = a->s_n * (a->d_pad + a->e_pad + VL + 1) + 2 * VL * (a->d_pad + a->e_pad);
    float *k = cpu_alloc(worker, (size_t)floats * sizeof *k);
    if (!k) return;
    float *v = k + a->s_n * a->d_pad, *p = v + a->s_n * a->e_pad, *rows = p + a->s_n * VL, *q = rows + VL * a->d_pad;
    float *o = q + VL * a->d_pad, *row = o + VL * a->e_pad, *spare = row + VL * a->e_pad;
    const float *mask = mask_of(a, b, spare);
    head_rows(a->k, b, group, 0, a->s_n, a->d_pad, k);
    head_rows(a->v, b, group, 0, a->s_n, a->e_pad, v);
    for (int64_t t0 = 0; t0 < a->t_n; t0 += VL) {
        int64_t n = a->t_n - t0 < VL ? a->t_n - t0 : VL, s0, s1;
        vf peak, sum;
        if (n < VL) memset(rows, 0, (size_t)(VL * a->d_pad) * sizeof *rows);
        head_rows(a->q, b, h, t0, n, a->d_pad, rows);
        turn(rows, a->d_pad, a->d_n, a->scale, q);
        key_range(a, t0, &s0, &s1);
        key_products(q, k, a->d_n, s0, s1, p);
        soften(a, t0, s0, s1, mask, p, &peak, &sum);
        key_mixture(p, v, a->e_n, s0, s1, o);
        vf share = vselect(sum == 0.0f, vset(0.0f), 1.0f / sum), lse = peak + vlog(sum);
        for (int64_t l = 0; l < n; l++) {
            for (int64_t e = 0; e < a->e_n; e++) row[e] = o[e * VL + l] * share[l];
            give_row(a->o, b, h, t0 + l, row);
            ((float *)(void *)a->lse->data)[(b * a->heads + h) * a->t_n + t0 + l] = lse[l];
        }
    }
    cpu_release(worker, mark);
}

void FAST(fast_attention)(const cpu_call *call) {
    attention a = attention_of(call);
    a.o = &call->out[0];
    a.lse = &call->out[1];
    a.mask = call->n_in > 3 ? &call->in[3] : NULL;
    cpu_parallel(call->worker, call->in[0].shape.dims[0] * a.heads, forward_task, &a);
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

typedef struct scratch {
    float *k, *v, *dk, *dv;                       /* [S][pad] */
    float *p, *ds;                                /* [S][VL] */
    float *q_rows, *g_rows, *o_rows, *q, *g, *dq; /* a block: [VL][pad] and [width][VL] */
    float *mask;
} scratch;

static bool take(const attention *a, cpu_worker *worker, scratch *s) {
    int64_t keys = a->s_n * (2 * a->d_pad + 2 * a->e_pad + 2 * VL + 1), block = VL * (3 * a->d_pad + 3 * a->e_pad);
    float *at = cpu_alloc(worker, (size_t)(keys + block) * sizeof *at);
    if (!at) return false;
    s->k = at;
    s->v = s->k + a->s_n * a->d_pad;
    s->dk = s->v + a->s_n * a->e_pad;
    s->dv = s->dk + a->s_n * a->d_pad;
    s->p = s->dv + a->s_n * a->e_pad;
    s->ds = s->p + a->s_n * VL;
    s->q_rows = s->ds + a->s_n * VL;
    s->q = s->q_rows + VL * a->d_pad;
    s->dq = s->q + VL * a->d_pad;
    s->g_rows = s->dq + VL * a->d_pad;
    s->o_rows = s->g_rows + VL * a->e_pad;
    s->g = s->o_rows + VL * a->e_pad;
    s->mask = s->g + VL * a->e_pad;
    memset(s->dk, 0, (size_t)(a->s_n * (a->d_pad + a->e_pad)) * sizeof *s->dk);
    return true;
}

/* p = exp(score - lse), ds = p (dp - delta) scale; lanes beyond the last query get 0. */
static void slopes(const attention *a, const scratch *s, int64_t t0, int64_t s0, int64_t s1, const float *mask,
                   const float *lse, const float *delta, int64_t n) {
    vi t = lanes_from(t0), real = lanes_from(0) < (int32_t)n;
    vf top = vload(lse), d = vload(delta);
    top = vselect(top == -__builtin_inff(), vset(0.0f), top);
    for (int64_t key = s0; key < s1; key++) {
        vf p = vexp(vload(s->p + key * VL) - top);
        if (n < VL || partly_hidden(a, t0, key, mask)) p = vselect(visible(a, t, key, mask) & real, p, vset(0.0f));
        vstore(s->p + key * VL, p);
        vstore(s->ds + key * VL, p * (vload(s->ds + key * VL) - d) * a->scale);
    }
}

static void backward_block(const attention *a, const scratch *s, int64_t b, int64_t h, int64_t t0, const float *mask) {
    int64_t n = a->t_n - t0 < VL ? a->t_n - t0 : VL, s0, s1, at = (b * a->heads + h) * a->t_n + t0;
    float lse[VL] = {0}, delta[VL] = {0};
    if (n < VL) {
        memset(s->q_rows, 0, (size_t)(VL * a->d_pad) * sizeof *s->q_rows);
        memset(s->g_rows, 0, (size_t)(VL * a->e_pad) * sizeof *s->g_rows);
    }
    head_rows(a->q, b, h, t0, n, a->d_pad, s->q_rows);
    head_rows(a->g, b, h, t0, n, a->e_pad, s->g_rows);
    head_rows(a->o, b, h, t0, n, a->e_pad, s->o_rows);
    turn(s->q_rows, a->d_pad, a->d_n, a->scale, s->q);
    turn(s->g_rows, a->e_pad, a->e_n, 1.0f, s->g);
    memcpy(lse, (const float *)(const void *)a->lse->data + at, (size_t)n * sizeof *lse);
    for (int64_t l = 0; l < n; l++) {
        vf sum = vset(0.0f);
        for (int64_t e = 0; e < a->e_pad; e += VL) {
            sum += vload(s->o_rows + l * a->e_pad + e) * vload(s->g_rows + l * a->e_pad + e);
        }
        delta[l] = vsum(sum);
    }
    key_range(a, t0, &s0, &s1);
    key_products(s->q, s->k, a->d_n, s0, s1, s->p);
    key_products(s->g, s->v, a->e_n, s0, s1, s->ds);
    slopes(a, s, t0, s0, s1, mask, lse, delta, n);
    key_mixture(s->ds, s->k, a->d_n, s0, s1, s->dq);
    key_sums(s->p, s->g_rows, a->e_n, s0, s1, s->dv);
    key_sums(s->ds, s->q_rows, a->d_n, s0, s1, s->dk);
    for (int64_t l = 0; l < n; l++) { /* q_rows has served: it holds the row that goes out */
        for (int64_t d = 0; d < a->d_n; d++) s->q_rows[d] = s->dq[d * VL + l];
        give_row(a->dq, b, h, t0 + l, s->q_rows);
    }
}

static void backward_task(void *opaque, int64_t task, cpu_worker *worker) {
    const attention *a = opaque;
    int64_t b = task / a->groups, group = task % a->groups, per = a->heads / a->groups;
    cpu_mark mark = cpu_scratch_mark(worker);
    scratch s;
    if (take(a, worker, &s)) {
        const float *mask = mask_of(a, b, s.mask);
        head_rows(a->k, b, group, 0, a->s_n, a->d_pad, s.k);
        head_rows(a->v, b, group, 0, a->s_n, a->e_pad, s.v);
        for (int64_t h = group * per; h < (group + 1) * per; h++) {
            for (int64_t t0 = 0; t0 < a->t_n; t0 += VL) backward_block(a, &s, b, h, t0, mask);
        }
        for (int64_t key = 0; key < a->s_n; key++) {
            give_row(a->dk, b, group, key, s.dk + key * a->d_pad);
            give_row(a->dv, b, group, key, s.dv + key * a->e_pad);
        }
    }
    cpu_release(worker, mark);
}

/* (q, k, v, o, lse, do, mask): dq, dk, dv */
void FAST(fast_attention_backward)(const cpu_call *call) {
    attention a = attention_of(call);
    a.o = &call->in[3];
    a.lse = &call->in[4];
    a.g = &call->in[5];
    a.mask = call->n_in > 6 ? &call->in[6] : NULL;
    a.dq = &call->out[0];
    a.dk = &call->out[1];
    a.dv = &call->out[2];
    cpu_parallel(call->worker, call->in[0].shape.dims[0] * a.groups, backward_task, &a);
}
