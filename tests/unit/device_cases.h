/* device_cases.h - the conformance cases of devices: every floating-point op on odd shapes, random operands.
 *
 * check_case runs a case on a device in one element type and compares with device_naive.h: forward directly, backward
 * ops with finite differences of the forward. Other ops (moves, indices, orders) have closed forms in cpu_moves.c.
 */
#ifndef AIRA_TESTS_DEVICE_CASES_H
#define AIRA_TESTS_DEVICE_CASES_H

#include "device_naive.h"

typedef struct device_case {
    const char *name;
    uint32_t op, backward; /* backward: the op that gives the gradients of op's operands, 0: none */
    uint32_t n_in, n_out;
    aira_shape in[7];
    int index; /* operand that is I32, -1: none */
    int64_t i[3];
    uint32_t n_i;
    double f[1];
    uint32_t n_f;
    double low, high; /* range of operands */
    int gradients;    /* operands that backward gives gradients for */
    int extra;        /* results of forward that backward takes: 2 for attention (o, lse), 1 for softmax (y alone) */
} device_case;

#define D(...) \
    { (int64_t[]){__VA_ARGS__}, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)) }

static inline aira_shape case_out(const device_case *c, uint32_t k) {
    aira_shape s = c->in[0];
    uint32_t r = s.rank;
    switch (c->op) {
    case AIRA_OP_MATMUL:
        s.dims[r - 2] = c->in[0].dims[r - (c->i[0] ? 1 : 2)];
        s.dims[r - 1] = c->in[1].dims[c->in[1].rank - (c->i[1] ? 2 : 1)];
        return s;
    case AIRA_OP_ATTENTION:
        if (k == 0) s.dims[3] = c->in[2].dims[3];
        return k == 0 ? s : SHAPE(s.dims[0], s.dims[2], s.dims[1]);
    case AIRA_OP_CROSS_ENTROPY:
        s.rank--;
        return s;
    case AIRA_OP_GROUPED_MATMUL:
        return SHAPE(s.dims[0], c->in[1].dims[c->i[0] ? 1 : 2]);
    default:
        break;
    }
    for (uint32_t j = 1; j < c->n_in && c->op < AIRA_OP_MATMUL; j++) {
        aira_shape o = c->in[j];
        uint32_t rank = o.rank > s.rank ? o.rank : s.rank;
        aira_shape sum = {.rank = rank};
        for (uint32_t d = 0; d < rank; d++) {
            int64_t a = d + s.rank >= rank ? s.dims[d + s.rank - rank] : 1;
            int64_t b = d + o.rank >= rank ? o.dims[d + o.rank - rank] : 1;
            sum.dims[d] = a > b ? a : b;
        }
        s = sum;
    }
    return s;
}

static inline double case_draw(aira_rng *rng, double low, double high) {
    return low + (high - low) * aira_rng_uniform(rng);
}

/* Operands, rounded to the element type that they will have. */
static inline void case_operands(const device_case *c, test_tensor *x, uint32_t dtype, uint64_t seed) {
    aira_rng rng = aira_rng_make(aira_key(seed, c->name), 0);
    for (uint32_t k = 0; k < c->n_in; k++) {
        x[k] = (test_tensor){
            .shape = c->in[k], .dtype = (int)k == c->index ? AIRA_I32 : dtype, .copies = 1, .given = true};
        x[k].v = calloc((size_t)test_elements(&x[k]) + 1, sizeof(double));
        for (int64_t e = 0; e < test_elements(&x[k]); e++) {
            double value = case_draw(&rng, c->low, c->high);
            if ((int)k == c->index) value = (double)aira_rng_below(&rng, 6) - (c->op == AIRA_OP_CROSS_ENTROPY);
            if (c->op == AIRA_OP_ATTENTION && k == 3) value = (e % 5) != 3 && e != 0;
            if ((c->op == AIRA_OP_SELECTIVE_SCAN || c->op == AIRA_OP_SSD) && k == 1) value = 0.05 + 0.4 * fabs(value);
            if ((c->op == AIRA_OP_SELECTIVE_SCAN || c->op == AIRA_OP_SSD) && k == 2) value = -0.1 - fabs(value);
            if (c->op >= AIRA_OP_EQ && c->op <= AIRA_OP_GE) value = floor(2 * value);
            if (c->op == AIRA_OP_WHERE && k == 0) value = e % 3 == 1;
            x[k].v[e] = test_rounded(value, x[k].dtype);
        }
    }
    for (uint32_t k = 0; k < c->n_out; k++) {
        test_tensor *o = &x[c->n_in + k];
        *o = (test_tensor){.shape = case_out(c, k), .dtype = dtype, .copies = 1};
        if ((c->op == AIRA_OP_ATTENTION && k == 1) || c->op == AIRA_OP_CROSS_ENTROPY) {
            o->dtype = dtype == AIRA_BF16 ? AIRA_F32 : dtype;
        }
        o->v = calloc((size_t)test_elements(o) + 1, sizeof(double));
    }
}

static inline void case_free(test_tensor *x, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) free(x[k].v);
}

/* Largest |got - want| / (|want| + scale of the tensor); infinite where one is NaN or infinite and the other is not. */
static inline double case_error(const double *got, const double *want, int64_t n) {
    double scale = 0, worst = 0;
    for (int64_t e = 0; e < n; e++) {
        if (isfinite(want[e])) scale += want[e] * want[e] / (double)n;
    }
    scale = sqrt(scale) + 1e-30;
    for (int64_t e = 0; e < n; e++) {
        if (!isfinite(want[e]) && got[e] == want[e]) continue;
        double error = fabs(got[e] - want[e]) / (fabs(want[e]) + scale);
        if (!(error <= worst)) worst = isnan(error) ? INFINITY : error;
    }
    return worst;
}

/* Runs forward on the device; the results stay in x. Returns the largest error, or INFINITY with *why set. */
static inline double check_forward(test_device *device, const device_case *c, uint32_t dtype, uint64_t seed,
                                   const char **why) {
    test_tensor x[10];
    uint32_t in[7] = {0, 1, 2, 3, 4, 5, 6}, out[2] = {c->n_in, c->n_in + 1};
    double worst = 0, *got[2];
    case_operands(c, x, dtype, seed);
    aira_plan_step step = {.size = sizeof step, .op = c->op, .n_in = c->n_in, .n_out = c->n_out, .n_i = c->n_i};
    step.n_f = c->n_f;
    step.copies = 1;
    step.in = in;
    step.out = out;
    step.i = c->i;
    step.f = c->f;
    *why = test_run(device, x, c->n_in + c->n_out, &step, 1, 0);
    for (uint32_t k = 0; k < c->n_out; k++) {
        got[k] = x[out[k]].v;
        x[out[k]].v = calloc((size_t)test_elements(&x[out[k]]) + 1, sizeof(double));
    }
    naive_forward(c->op, x, c->n_in, c->i, c->f);
    for (uint32_t k = 0; k < c->n_out; k++) {
        double error = case_error(got[k], x[out[k]].v, test_elements(&x[out[k]]));
        if (error > worst) worst = error;
        free(got[k]);
    }
    case_free(x, c->n_in + c->n_out);
    return *why ? INFINITY : worst;
}

/* d(sum g y)/d operand k by central differences of the naive forward. */
static inline void case_differences(const device_case *c, test_tensor *x, uint32_t k, const double *g, double *d) {
    test_tensor *y = &x[c->n_in];
    for (int64_t e = 0; e < test_elements(&x[k]); e++) {
        double h = 1e-5, keep = x[k].v[e], sum = 0;
        for (int sign = 1; sign >= -1; sign -= 2) {
            x[k].v[e] = keep + sign * h;
            naive_forward(c->op, x, c->n_in, c->i, c->f);
            for (int64_t j = 0; j < test_elements(y); j++) sum += sign * g[j] * y->v[j];
        }
        x[k].v[e] = keep;
        d[e] = sum / (2 * h);
    }
}

/* The backward op of a case against finite differences. */
static inline double check_backward(test_device *device, const device_case *c, uint32_t dtype, uint64_t seed,
                                    const char **why) {
    test_tensor x[10], all[20];
    uint32_t in[12], out[6], n = 0, n_tensors = 0;
    double worst = 0;
    case_operands(c, x, dtype, seed);
    naive_forward(c->op, x, c->n_in, c->i, c->f);
    uint32_t operands = c->op == AIRA_OP_ATTENTION ? 3 : c->op == AIRA_OP_CONV1D_CAUSAL ? 2 : c->n_in;
    test_tensor g = x[c->n_in];
    aira_rng rng = aira_rng_make(aira_key(seed, "gradient"), 0);
    g.v = calloc((size_t)test_elements(&g) + 1, sizeof(double));
    g.given = true;
    for (int64_t e = 0; e < test_elements(&g); e++) g.v[e] = test_rounded(case_draw(&rng, -1, 1), g.dtype);
    if (c->extra != 1) {
        for (uint32_t k = 0; k < operands; k++) in[n] = n, all[n++] = x[k];
    }
    for (int k = 0; k < c->extra; k++) {
        test_tensor *y = &x[c->n_in + (uint32_t)k];
        y->given = true;
        for (int64_t e = 0; e < test_elements(y); e++) y->v[e] = test_rounded(y->v[e], y->dtype);
        in[n] = n, all[n++] = *y;
    }
    in[n] = n, all[n++] = g;
    if (c->op == AIRA_OP_ATTENTION && c->n_in == 4) in[n] = n, all[n++] = x[3];
    n_tensors = n;
    for (int k = 0; k < c->gradients; k++) {
        all[n_tensors] = x[k];
        all[n_tensors].given = false;
        all[n_tensors].v = calloc((size_t)test_elements(&x[k]) + 1, sizeof(double));
        out[k] = n_tensors++;
    }
    aira_plan_step step = {.size = sizeof step, .op = c->backward, .n_in = n, .n_out = (uint32_t)c->gradients};
    step.n_i = c->n_i;
    step.n_f = c->n_f;
    step.copies = 1;
    step.in = in;
    step.out = out;
    step.i = c->i;
    step.f = c->f;
    *why = test_run(device, all, n_tensors, &step, 1, 0);
    for (int k = 0; k < c->gradients; k++) {
        double *want = calloc((size_t)test_elements(&x[k]) + 1, sizeof(double));
        case_differences(c, x, (uint32_t)k, g.v, want);
        double error = case_error(all[out[k]].v, want, test_elements(&x[k]));
        if (error > worst) worst = error;
        free(want);
        free(all[out[k]].v);
    }
    free(g.v);
    case_free(x, c->n_in + c->n_out);
    return *why ? INFINITY : worst;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

#define S1(a)                    \
    {                            \
        .rank = 1, .dims = { a } \
    }
#define S2(a, b)                    \
    {                               \
        .rank = 2, .dims = { a, b } \
    }
#define S3(a, b, c)                    \
    {                                  \
        .rank = 3, .dims = { a, b, c } \
    }
#define S4(a, b, c, d)                    \
    {                                     \
        .rank = 4, .dims = { a, b, c, d } \
    }
#define UNARY(op_, low_, high_)                                                                                    \
    {                                                                                                              \
        .name = #op_, .op = AIRA_OP_##op_, .n_in = 1, .n_out = 1, .in = {S3(3, 17, 43)}, .index = -1, .low = low_, \
        .high = high_                                                                                              \
    }
#define BINARY(op_, a_, b_) \
    { .name = #op_, .op = AIRA_OP_##op_, .n_in = 2, .n_out = 1, .in = {a_, b_}, .index = -1, .low = -3, .high = 3 }
#define PRODUCT(name_, a_, b_, ta_, tb_)                                                                          \
    {                                                                                                             \
        .name = name_, .op = AIRA_OP_MATMUL, .n_in = 2, .n_out = 1, .in = {a_, b_}, .index = -1, .i = {ta_, tb_}, \
        .n_i = 2, .low = -1, .high = 1                                                                            \
    }
#define CROSS_ENTROPY(name_, classes)                                                                                  \
    {                                                                                                                  \
        .name = name_, .op = AIRA_OP_CROSS_ENTROPY, .backward = AIRA_OP_CROSS_ENTROPY_BACKWARD, .n_in = 2, .n_out = 1, \
        .in = {S3(3, 7, classes), S2(3, 7)}, .index = 1, .low = -4, .high = 4, .gradients = 1                          \
    }
#define ATTENTION(name_, b_, t_, s_, h_, g_, d_, e_, causal_, window_, n_)                                        \
    {                                                                                                             \
        .name = name_, .op = AIRA_OP_ATTENTION, .backward = AIRA_OP_ATTENTION_BACKWARD, .n_in = n_, .n_out = 2,   \
        .in = {S4(b_, t_, h_, d_), S4(b_, s_, g_, d_), S4(b_, s_, g_, e_), S2(b_, s_)}, .index = -1,              \
        .i = {causal_, window_}, .n_i = 2, .f = {0.3}, .n_f = 1, .low = -2, .high = 2, .gradients = 3, .extra = 2 \
    }
#define ROPE(name_, n_, rot_, inter_, inv_)                                                                       \
    {                                                                                                             \
        .name = name_, .op = AIRA_OP_ROPE, .n_in = n_, .n_out = 1, .in = {S4(2, 5, 3, 12), S2(2, 5)}, .index = 1, \
        .i = {rot_, inter_, inv_}, .n_i = 3, .f = {10000}, .n_f = 1, .low = -1, .high = 1                         \
    }

static const device_case device_cases[] = {
    UNARY(NEG, -3, 3),
    UNARY(EXP, -9, 9),
    UNARY(LOG, 0.01, 9),
    UNARY(SQRT, 0, 9),
    UNARY(RSQRT, 0.01, 9),
    UNARY(SIGMOID, -12, 12),
    UNARY(TANH, -5, 5),
    UNARY(SILU, -9, 9),
    UNARY(GELU, -6, 6),
    UNARY(RELU, -3, 3),
    UNARY(SOFTPLUS, -20, 40),
    UNARY(SIN, -9, 9),
    UNARY(COS, -9, 9),
    UNARY(SIN, -60000, 60000), /* phases of long state-space kernels */
    UNARY(COS, -300000, 300000),
    UNARY(ABS, -3, 3),
    UNARY(CAST, -3, 3),
    {.name = "GELU exact",
     .op = AIRA_OP_GELU,
     .n_in = 1,
     .n_out = 1,
     .in = {S2(7, 301)},
     .index = -1,
     .i = {1},
     .n_i = 1,
     .low = -6,
     .high = 6},
    BINARY(ADD, S2(37, 53), S2(37, 53)),
    BINARY(SUB, S3(5, 1, 7), S3(1, 6, 7)),
    BINARY(MUL, S3(9, 31, 13), S1(13)),
    BINARY(DIV, S2(3, 5), {.rank = 0}),
    BINARY(MIN, S2(1, 1300), S2(3, 1)),
    BINARY(MAX, S4(2, 3, 1, 5), S3(3, 4, 1)),
    {.name = "POW",
     .op = AIRA_OP_POW,
     .n_in = 2,
     .n_out = 1,
     .in = {S2(37, 53), S1(53)},
     .index = -1,
     .low = 0.1,
     .high = 3},
    BINARY(EQ, S2(9, 50), S2(9, 50)),
    BINARY(NE, S2(9, 50), S2(9, 50)),
    BINARY(LT, S2(9, 50), S1(50)),
    BINARY(LE, S2(9, 50), S1(50)),
    BINARY(GT, S2(9, 50), S1(1)),
    BINARY(GE, S2(9, 50), S2(9, 1)),
    BINARY(GELU_BACKWARD, S2(41, 70), S2(41, 70)),
    BINARY(SILU_BACKWARD, S2(41, 70), S2(41, 70)),
    {.name = "GELU_BACKWARD exact",
     .op = AIRA_OP_GELU_BACKWARD,
     .n_in = 2,
     .n_out = 1,
     .in = {S2(7, 301), S2(7, 301)},
     .index = -1,
     .i = {1},
     .n_i = 1,
     .low = -4,
     .high = 4},
    {.name = "WHERE",
     .op = AIRA_OP_WHERE,
     .n_in = 3,
     .n_out = 1,
     .in = {S3(4, 9, 1), S3(4, 9, 33), S1(33)},
     .index = -1,
     .low = -2,
     .high = 2},
    PRODUCT("matmul", S2(37, 29), S2(29, 53), 0, 0),
    PRODUCT("matmul nt", S2(70, 33), S2(45, 33), 0, 1),
    PRODUCT("matmul tn", S2(131, 19), S2(131, 35), 1, 0),
    PRODUCT("matmul tt", S2(31, 26), S2(18, 31), 1, 1),
    PRODUCT("matmul shared", S3(3, 37, 64), S2(48, 64), 0, 1),
    PRODUCT("matmul batched", S3(4, 7, 5), S3(4, 5, 9), 0, 0),
    PRODUCT("matmul batched tn", S4(2, 2, 17, 6), S4(2, 2, 17, 11), 1, 0),
    PRODUCT("matmul dot", S2(1, 200), S2(200, 1), 0, 0),
    PRODUCT("matmul outer", S2(65, 1), S2(1, 97), 0, 0),
    PRODUCT("matmul long", S2(700, 5), S2(700, 7), 1, 0),
    PRODUCT("matmul shared t", S3(2, 20, 30), S2(20, 12), 1, 0),
    {.name = "RMS_NORM",
     .op = AIRA_OP_RMS_NORM,
     .backward = AIRA_OP_RMS_NORM_BACKWARD,
     .n_in = 2,
     .n_out = 1,
     .in = {S3(3, 5, 21), S1(21)},
     .index = -1,
     .f = {1e-5},
     .n_f = 1,
     .low = -2,
     .high = 2,
     .gradients = 2},
    {.name = "LAYER_NORM",
     .op = AIRA_OP_LAYER_NORM,
     .backward = AIRA_OP_LAYER_NORM_BACKWARD,
     .n_in = 3,
     .n_out = 1,
     .in = {S3(3, 5, 21), S1(21), S1(21)},
     .index = -1,
     .f = {1e-5},
     .n_f = 1,
     .low = -2,
     .high = 2,
     .gradients = 3},
    {.name = "SOFTMAX",
     .op = AIRA_OP_SOFTMAX,
     .backward = AIRA_OP_SOFTMAX_BACKWARD,
     .n_in = 1,
     .n_out = 1,
     .in = {S2(7, 29)},
     .index = -1,
     .low = -4,
     .high = 4,
     .gradients = 1,
     .extra = 1},
    CROSS_ENTROPY("CROSS_ENTROPY", 5),
    CROSS_ENTROPY("CROSS_ENTROPY of 8", 8),
    CROSS_ENTROPY("CROSS_ENTROPY of 16", 16),
    CROSS_ENTROPY("CROSS_ENTROPY of 24", 24),
    CROSS_ENTROPY("CROSS_ENTROPY of 32", 32),
    ATTENTION("attention", 2, 6, 6, 4, 4, 5, 5, 0, 0, 3),
    ATTENTION("attention causal gqa", 2, 7, 7, 6, 2, 8, 8, 1, 0, 3),
    ATTENTION("attention window", 1, 9, 9, 2, 1, 16, 16, 1, 3, 3),
    ATTENTION("attention cross", 2, 5, 9, 2, 2, 4, 6, 0, 0, 3),
    ATTENTION("attention band mask", 2, 8, 8, 2, 2, 3, 4, 0, 2, 4),
    ATTENTION("attention mask", 2, 8, 8, 2, 2, 8, 8, 1, 0, 4),
    ATTENTION("attention mask d8", 2, 21, 21, 4, 4, 8, 8, 1, 0, 4),
    ATTENTION("attention mask d16", 1, 18, 18, 2, 2, 16, 16, 0, 7, 4),
    ATTENTION("attention d8", 1, 19, 19, 3, 3, 8, 8, 1, 0, 3),
    ATTENTION("attention d32", 1, 11, 11, 2, 1, 32, 32, 1, 0, 3),
    ROPE("rope halves", 1, 12, 0, 0),
    ROPE("rope pairs", 2, 12, 1, 0),
    ROPE("rope partial inverse", 2, 8, 0, 1),
    {.name = "CONV1D",
     .op = AIRA_OP_CONV1D_CAUSAL,
     .backward = AIRA_OP_CONV1D_CAUSAL_BACKWARD,
     .n_in = 3,
     .n_out = 1,
     .in = {S3(2, 9, 19), S2(19, 4), S1(19)},
     .index = -1,
     .low = -1,
     .high = 1,
     .gradients = 3},
    {.name = "SELECTIVE_SCAN",
     .op = AIRA_OP_SELECTIVE_SCAN,
     .backward = AIRA_OP_SELECTIVE_SCAN_BACKWARD,
     .n_in = 6,
     .n_out = 1,
     .in = {S3(2, 9, 11), S3(2, 9, 11), S2(11, 4), S3(2, 9, 4), S3(2, 9, 4), S1(11)},
     .index = -1,
     .low = -1,
     .high = 1,
     .gradients = 6},
    {.name = "SSD",
     .op = AIRA_OP_SSD,
     .backward = AIRA_OP_SSD_BACKWARD,
     .n_in = 6,
     .n_out = 1,
     .in = {S4(2, 7, 4, 5), S3(2, 7, 4), S1(4), S4(2, 7, 2, 3), S4(2, 7, 2, 3), S1(4)},
     .index = -1,
     .low = -1,
     .high = 1,
     .gradients = 6},
    {.name = "FFT_CONV",
     .op = AIRA_OP_FFT_CONV,
     .backward = AIRA_OP_FFT_CONV_BACKWARD,
     .n_in = 2,
     .n_out = 1,
     .in = {S3(2, 9, 3), S2(3, 9)},
     .index = -1,
     .low = -1,
     .high = 1,
     .gradients = 2},
    {.name = "FFT_CONV one",
     .op = AIRA_OP_FFT_CONV,
     .backward = AIRA_OP_FFT_CONV_BACKWARD,
     .n_in = 2,
     .n_out = 1,
     .in = {S3(2, 1, 5), S2(5, 1)},
     .index = -1,
     .low = -1,
     .high = 1,
     .gradients = 2},
    {.name = "FFT_CONV odd",
     .op = AIRA_OP_FFT_CONV,
     .backward = AIRA_OP_FFT_CONV_BACKWARD,
     .n_in = 2,
     .n_out = 1,
     .in = {S3(2, 21, 19), S2(19, 21)},
     .index = -1,
     .low = -1,
     .high = 1,
     .gradients = 2},
    {.name = "GROUPED_MATMUL",
     .op = AIRA_OP_GROUPED_MATMUL,
     .n_in = 3,
     .n_out = 1,
     .in = {S2(20, 7), S3(5, 7, 9), S1(5)},
     .index = 2,
     .i = {0},
     .n_i = 1,
     .low = -1,
     .high = 1},
    {.name = "GROUPED_MATMUL t",
     .op = AIRA_OP_GROUPED_MATMUL,
     .n_in = 3,
     .n_out = 1,
     .in = {S2(20, 7), S3(5, 9, 7), S1(5)},
     .index = 2,
     .i = {1},
     .n_i = 1,
     .low = -1,
     .high = 1},
};
#define N_DEVICE_CASES (sizeof device_cases / sizeof *device_cases)

#endif
