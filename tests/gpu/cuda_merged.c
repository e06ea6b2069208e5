/* cuda_merged.c - steps that the cuda device does as one (kernels/cuda/fuse_mamba.c) beside the cpu device, which does
 * them one by one, in fp64 on the same rounded operands: gated scans, gated norms, convolutions with SiLU, and their
 * gradients, and the products around a scan's operands, at odd shapes. Some also beside the same device with
 * `merge: false`.
 *
 *     gpu_cuda_merged [CUDA.so [CPU.so]]     (default: the plugins of AIRA_BUILD_DIR)
 *
 * What lies between steps is in the arena, so that nobody but the next step may read it. The error of a result is its
 * relative L2 distance, below 1e-2; every plan runs twice and must give the same bits. Exit status 0: all right; 1:
 * not; 77: no GPU here. That steps are merged at all is tests/cuda/steps.c's to say.
 */
#include "../support/part.h"
#include "../unit/device_harness.h"

#define STEPS 16
#define IDS 8
#define INNERS 4 /* operations of a chain */

/* A plan in the making. */
typedef struct sketch {
    test_tensor t[TEST_MAX_TENSORS];
    uint32_t n, n_steps, n_inner, ids[STEPS][2][IDS], inner_ids[STEPS][INNERS][2][IDS];
    aira_plan_step steps[STEPS], inner[STEPS][INNERS];
    int64_t i[STEPS][3];
    double f[STEPS];
    bool wide; /* fp64 instead of bf16 and fp32 */
    aira_rng rng;
} sketch;

typedef enum role { GIVEN, SMALL, RATES, TIMES, INNER, TEMPORARY, RESULT } role;

/* full: fp32 where others are bf16. */
static uint32_t tensor(sketch *s, role r, aira_shape shape, bool full) {
    test_tensor *t = &s->t[s->n];
    uint32_t narrow = full ? AIRA_F32 : AIRA_BF16;
    *t = (test_tensor){.shape = shape, .dtype = s->wide ? AIRA_F64 : narrow, .copies = 1, .given = r <= TIMES};
    t->inner = r == INNER;
    if (r == TEMPORARY) t->storage = AIRA_STORE_CHAIN;
    t->v = calloc((size_t)test_elements(t) + 1, sizeof *t->v);
    for (int64_t e = 0; t->given && e < test_elements(t); e++) {
        double v = aira_rng_normal(&s->rng);
        if (r == SMALL) v *= 0.1;
        if (r == RATES) v = -0.1 - 3 * aira_rng_uniform(&s->rng);
        if (r == TIMES) v = v - 2; /* before softplus */
        t->v[e] = test_rounded(v, narrow);
    }
    return s->n++;
}

static void fill(aira_plan_step *step, uint32_t ids[2][IDS], uint32_t op, uint32_t n_in, const uint32_t *in,
                 uint32_t n_out, const uint32_t *out) {
    memcpy(ids[0], in, n_in * sizeof *in);
    memcpy(ids[1], out, n_out * sizeof *out);
    *step = (aira_plan_step){.size = sizeof *step, .op = op, .n_in = n_in, .n_out = n_out, .copies = 1};
    step->in = ids[0];
    step->out = ids[1];
}

#define IN(...) \
    (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)), (uint32_t[]) { __VA_ARGS__ }
static aira_plan_step *add(sketch *s, uint32_t op, uint32_t n_in, const uint32_t *in, uint32_t n_out,
                           const uint32_t *out) {
    uint32_t k = s->n_steps++;
    fill(&s->steps[k], s->ids[k], op, n_in, in, n_out, out);
    s->steps[k].i = s->i[k];
    s->steps[k].f = &s->f[k];
    return &s->steps[k];
}

/* One more operation of the chain that comes next. */
static void add_inner(sketch *s, uint32_t op, uint32_t n_in, const uint32_t *in, uint32_t out) {
    uint32_t k = s->n_steps, j = s->n_inner++;
    fill(&s->inner[k][j], s->inner_ids[k][j], op, n_in, in, IN(out));
}
static void close_chain(sketch *s, uint32_t n_in, const uint32_t *in, uint32_t n_out, const uint32_t *out) {
    aira_plan_step *chain = add(s, AIRA_OP_CHAIN, n_in, in, n_out, out);
    chain->chain = s->inner[s->n_steps - 1];
    chain->n_chain = s->n_inner;
    s->n_inner = 0;
}

/* softplus(x) and sigmoid(x) */
static void add_softplus(sketch *s, uint32_t x, uint32_t plus, uint32_t slope) {
    add_inner(s, AIRA_OP_SOFTPLUS, IN(x), plus);
    add_inner(s, AIRA_OP_SIGMOID, IN(x), slope);
    close_chain(s, IN(x), IN(plus, slope));
}

/* out = y silu(z) */
static void add_gate(sketch *s, uint32_t y, uint32_t z, uint32_t out) {
    uint32_t open = tensor(s, TEMPORARY, s->t[z].shape, false);
    add_inner(s, AIRA_OP_SILU, IN(z), open);
    add_inner(s, AIRA_OP_MUL, IN(y, open), out);
    close_chain(s, IN(z, y), IN(out));
}

/* Its gradients given that of out. */
static void add_gate_slopes(sketch *s, uint32_t g, uint32_t y, uint32_t z, uint32_t dy, uint32_t dz) {
    uint32_t open = tensor(s, TEMPORARY, s->t[z].shape, false), product = tensor(s, TEMPORARY, s->t[z].shape, false);
    add_inner(s, AIRA_OP_MUL, IN(g, y), product);
    add_inner(s, AIRA_OP_SILU, IN(z), open);
    add_inner(s, AIRA_OP_MUL, IN(g, open), dy);
    add_inner(s, AIRA_OP_SILU_BACKWARD, IN(z, product), dz);
    close_chain(s, IN(g, y, z), IN(dy, dz));
}

/* --- plans --- */

/* size: sequences, times, channels, states */
static void gated_scan(sketch *s, const int64_t *size) {
    aira_shape big = SHAPE(size[0], size[1], size[2]), states = SHAPE(size[0], size[1], size[3]);
    aira_shape rates = SHAPE(size[2], size[3]), one = SHAPE(size[2]);
    uint32_t u = tensor(s, GIVEN, big, false), x = tensor(s, TIMES, big, false), A = tensor(s, RATES, rates, true);
    uint32_t B = tensor(s, GIVEN, states, false), C = tensor(s, GIVEN, states, false), D = tensor(s, GIVEN, one, true);
    uint32_t z = tensor(s, GIVEN, big, false), g = tensor(s, GIVEN, big, false);
    uint32_t delta = tensor(s, INNER, big, false), slope = tensor(s, INNER, big, false),
             y = tensor(s, INNER, big, false);
    uint32_t out = tensor(s, RESULT, big, false), dy = tensor(s, INNER, big, false);
    uint32_t dz = tensor(s, RESULT, big, false), du = tensor(s, RESULT, big, false), dd = tensor(s, INNER, big, false);
    uint32_t dA = tensor(s, RESULT, rates, true), dB = tensor(s, RESULT, states, false);
    uint32_t dC = tensor(s, RESULT, states, false), dD = tensor(s, RESULT, one, true);
    uint32_t dx = tensor(s, RESULT, big, false), dbias = tensor(s, RESULT, one, true);
    add_softplus(s, x, delta, slope);
    add(s, AIRA_OP_SELECTIVE_SCAN, IN(u, delta, A, B, C, D), IN(y));
    add_gate(s, y, z, out);
    add_gate_slopes(s, g, y, z, dy, dz);
    add(s, AIRA_OP_SELECTIVE_SCAN_BACKWARD, IN(u, delta, A, B, C, D, dy), IN(du, dd, dA, dB, dC, dD));
    add(s, AIRA_OP_MUL, IN(dd, slope), IN(dx));
    aira_plan_step *sum = add(s, AIRA_OP_SUM, IN(dx), IN(dbias));
    sum->n_i = 2;
    s->i[s->n_steps - 1][0] = 3; /* axes 0 and 1 */
}

/* The gradient of an SSD's steps. size: sequences, times, heads, states, groups (0: one); heads of 64 */
static void ssd_steps(sketch *s, const int64_t *size) {
    aira_shape big = SHAPE(size[0], size[1], size[2], 64), steps = SHAPE(size[0], size[1], size[2]);
    aira_shape states = SHAPE(size[0], size[1], size[4] ? size[4] : 1, size[3]), one = SHAPE(size[2]);
    uint32_t x = tensor(s, GIVEN, big, false), t = tensor(s, TIMES, steps, false), A = tensor(s, RATES, one, true);
    uint32_t B = tensor(s, GIVEN, states, false), C = tensor(s, GIVEN, states, false), D = tensor(s, GIVEN, one, true);
    uint32_t g = tensor(s, GIVEN, big, false), dt = tensor(s, INNER, steps, false),
             slope = tensor(s, INNER, steps, false);
    uint32_t dx = tensor(s, RESULT, big, false), ddt = tensor(s, INNER, steps, false),
             dA = tensor(s, RESULT, one, true);
    uint32_t dB = tensor(s, RESULT, states, false), dC = tensor(s, RESULT, states, false);
    uint32_t dD = tensor(s, RESULT, one, true), d = tensor(s, RESULT, steps, false),
             dbias = tensor(s, RESULT, one, true);
    add_softplus(s, t, dt, slope);
    add(s, AIRA_OP_SSD_BACKWARD, IN(x, dt, A, B, C, D, g), IN(dx, ddt, dA, dB, dC, dD));
    add(s, AIRA_OP_MUL, IN(ddt, slope), IN(d));
    add(s, AIRA_OP_SUM, IN(d), IN(dbias))->n_i = 2;
    s->i[s->n_steps - 1][0] = 3; /* axes 0 and 1 */
}

/* The same shapes forward. */
static void ssd(sketch *s, const int64_t *size) {
    aira_shape big = SHAPE(size[0], size[1], size[2], 64), steps = SHAPE(size[0], size[1], size[2]);
    aira_shape states = SHAPE(size[0], size[1], size[4] ? size[4] : 1, size[3]), one = SHAPE(size[2]);
    uint32_t x = tensor(s, GIVEN, big, false), t = tensor(s, TIMES, steps, false), A = tensor(s, RATES, one, true);
    uint32_t B = tensor(s, GIVEN, states, false), C = tensor(s, GIVEN, states, false), D = tensor(s, GIVEN, one, true);
    uint32_t dt = tensor(s, INNER, steps, false), y = tensor(s, RESULT, big, false);
    add(s, AIRA_OP_SOFTPLUS, IN(t), IN(dt));
    add(s, AIRA_OP_SSD, IN(x, dt, A, B, C, D), IN(y));
}

/* size: rows, columns */
static void gated_norm(sketch *s, const int64_t *size) {
    aira_shape big = SHAPE(size[0], size[1]), one = SHAPE(size[1]);
    uint32_t y = tensor(s, GIVEN, big, false), z = tensor(s, GIVEN, big, false), w = tensor(s, GIVEN, one, true);
    uint32_t g = tensor(s, GIVEN, big, false), p = tensor(s, INNER, big, false);
    uint32_t out = tensor(s, RESULT, big, false), dp = tensor(s, INNER, big, false), dw = tensor(s, RESULT, one, true);
    uint32_t dy = tensor(s, RESULT, big, false), dz = tensor(s, RESULT, big, false);
    add_gate(s, y, z, p);
    aira_plan_step *norm = add(s, AIRA_OP_RMS_NORM, IN(p, w), IN(out));
    aira_plan_step *back = add(s, AIRA_OP_RMS_NORM_BACKWARD, IN(p, w, g), IN(dp, dw));
    norm->n_f = back->n_f = 1;
    s->f[s->n_steps - 1] = s->f[s->n_steps - 2] = 1e-5;
    add_gate_slopes(s, dp, y, z, dy, dz);
}

/* size: sequences, times, channels; one: SiLU's results have one gradient, or else two that are added */
static void convolution_of(sketch *s, const int64_t *size, bool one_gradient) {
    aira_shape big = SHAPE(size[0], size[1], size[2]), taps = SHAPE(size[2], 4), one = SHAPE(size[2]);
    uint32_t x = tensor(s, GIVEN, big, false), w = tensor(s, GIVEN, taps, false), b = tensor(s, GIVEN, one, false);
    uint32_t g = tensor(s, GIVEN, big, false), more = tensor(s, GIVEN, big, false), c = tensor(s, INNER, big, false);
    uint32_t out = tensor(s, RESULT, big, false), dc = tensor(s, INNER, big, false), dx = tensor(s, RESULT, big, false);
    uint32_t dw = tensor(s, RESULT, taps, false), db = tensor(s, RESULT, one, false);
    add(s, AIRA_OP_CONV1D_CAUSAL, IN(x, w, b), IN(c));
    add(s, AIRA_OP_SILU, IN(c), IN(out));
    if (one_gradient) {
        add(s, AIRA_OP_SILU_BACKWARD, IN(c, g), IN(dc));
    } else {
        uint32_t sum = tensor(s, TEMPORARY, big, false);
        add_inner(s, AIRA_OP_ADD, IN(g, more), sum);
        add_inner(s, AIRA_OP_SILU_BACKWARD, IN(c, sum), dc);
        close_chain(s, IN(g, more, c), IN(dc));
    }
    add(s, AIRA_OP_CONV1D_CAUSAL_BACKWARD, IN(x, w, dc), IN(dx, dw, db));
}
static void convolution(sketch *s, const int64_t *size) { convolution_of(s, size, false); }
static void convolution_once(sketch *s, const int64_t *size) { convolution_of(s, size, true); }

/* Several that do not need each other. size: sequences, times, channels of the first, second, third; 0 ends */
static void convolutions(sketch *s, const int64_t *size) {
    for (int k = 2; k < 5 && size[k]; k++) convolution(s, (int64_t[]){size[0], size[1], size[k]});
}

static aira_plan_step *add_product(sketch *s, uint32_t a, uint32_t b, bool turned, uint32_t out) {
    aira_plan_step *step = add(s, AIRA_OP_MATMUL, IN(a, b), IN(out));
    step->n_i = 2;
    s->i[s->n_steps - 1][1] = turned;
    return step;
}
static void add_cut(sketch *s, uint32_t p, int64_t from, uint32_t out) {
    add(s, AIRA_OP_SLICE, IN(p), IN(out))->n_i = 3;
    s->i[s->n_steps - 1][0] = 2;
    s->i[s->n_steps - 1][1] = from;
    s->i[s->n_steps - 1][2] = s->t[out].shape.dims[2];
}

/* A scan of u with what stands around its operands, and the gradients: du of u as the scan's operand, more (a tensor)
   of u as what is projected. size: sequences, times, channels, states, rank */
static uint32_t add_projection(sketch *s, const int64_t *size, uint32_t u, uint32_t more) {
    int64_t rank = size[4], n = size[3];
    aira_shape big = SHAPE(size[0], size[1], size[2]), states = SHAPE(size[0], size[1], n);
    aira_shape all = SHAPE(size[0], size[1], rank + 2 * n), low = SHAPE(size[0], size[1], rank);
    aira_shape one = SHAPE(size[2]), rates = SHAPE(size[2], n);
    uint32_t Wx = tensor(s, SMALL, SHAPE(rank + 2 * n, size[2]), false);
    uint32_t Wt = tensor(s, SMALL, SHAPE(size[2], rank), false), bias = tensor(s, TIMES, one, false);
    uint32_t A = tensor(s, RATES, rates, true), D = tensor(s, GIVEN, one, true), g = tensor(s, GIVEN, big, false);
    uint32_t p = tensor(s, INNER, all, false), r = tensor(s, RESULT, low, false), B = tensor(s, RESULT, states, false);
    uint32_t C = tensor(s, RESULT, states, false), dt = tensor(s, INNER, big, false);
    uint32_t delta = tensor(s, RESULT, big, false), y = tensor(s, RESULT, big, false);
    uint32_t du = tensor(s, RESULT, big, false), d = tensor(s, RESULT, big, false), dA = tensor(s, RESULT, rates, true);
    uint32_t dB = tensor(s, RESULT, states, false), dC = tensor(s, RESULT, states, false);
    uint32_t dD = tensor(s, RESULT, one, true), dr = tensor(s, INNER, low, false), dp = tensor(s, RESULT, all, false);
    add_product(s, u, Wx, true, p);
    add_cut(s, p, 0, r);
    add_product(s, r, Wt, true, dt);
    add_cut(s, p, rank + n, C);
    add_cut(s, p, rank, B);
    uint32_t raw = tensor(s, TEMPORARY, big, false);
    add_inner(s, AIRA_OP_ADD, IN(dt, bias), raw);
    add_inner(s, AIRA_OP_SOFTPLUS, IN(raw), delta);
    close_chain(s, IN(dt, bias), IN(delta));
    add(s, AIRA_OP_SELECTIVE_SCAN, IN(u, delta, A, B, C, D), IN(y));
    add(s, AIRA_OP_SELECTIVE_SCAN_BACKWARD, IN(u, delta, A, B, C, D, g), IN(du, d, dA, dB, dC, dD));
    add_product(s, d, Wt, false, dr);
    aira_plan_step *concat = add(s, AIRA_OP_CONCAT, IN(dr, dB, dC), IN(dp));
    concat->n_i = 1;
    s->i[s->n_steps - 1][0] = 2;
    add_product(s, dp, Wx, false, more);
    return du;
}

static void projection(sketch *s, const int64_t *size) {
    aira_shape big = SHAPE(size[0], size[1], size[2]);
    uint32_t u = tensor(s, GIVEN, big, false), more = tensor(s, RESULT, big, false);
    add_projection(s, size, u, more);
}

/* u is SiLU of a convolution, whose gradient adds the two. */
static void mixer(sketch *s, const int64_t *size) {
    aira_shape big = SHAPE(size[0], size[1], size[2]), taps = SHAPE(size[2], 4), one = SHAPE(size[2]);
    uint32_t x = tensor(s, GIVEN, big, false), w = tensor(s, GIVEN, taps, false), b = tensor(s, GIVEN, one, false);
    uint32_t c = tensor(s, INNER, big, false), u = tensor(s, RESULT, big, false), more = tensor(s, INNER, big, false);
    uint32_t sum = tensor(s, TEMPORARY, big, false), dc = tensor(s, INNER, big, false);
    uint32_t dx = tensor(s, RESULT, big, false), dw = tensor(s, RESULT, taps, false),
             db = tensor(s, RESULT, one, false);
    add(s, AIRA_OP_CONV1D_CAUSAL, IN(x, w, b), IN(c));
    add(s, AIRA_OP_SILU, IN(c), IN(u));
    uint32_t du = add_projection(s, size, u, more);
    add_inner(s, AIRA_OP_ADD, IN(du, more), sum);
    add_inner(s, AIRA_OP_SILU_BACKWARD, IN(c, sum), dc);
    close_chain(s, IN(du, more, c), IN(dc));
    add(s, AIRA_OP_CONV1D_CAUSAL_BACKWARD, IN(x, w, dc), IN(dx, dw, db));
}

typedef struct merged_case {
    const char *name;
    void (*draw)(sketch *s, const int64_t *size);
    int64_t size[5];
} merged_case;

static const merged_case cases[] = {
    {"gated scan", gated_scan, {2, 128, 256, 4}},
    {"gated scan, odd", gated_scan, {3, 37, 72, 4}},
    {"gated scan, 3 states", gated_scan, {1, 70, 40, 3}},
    {"gated scan, 1 time", gated_scan, {2, 1, 64, 4}},
    {"gated scan, 3 tiles", gated_scan, {1, 300, 96, 4}},
    {"gated scan, many sequences", gated_scan, {150, 9, 40, 4}},
    {"gated scan, 3 spans", gated_scan, {2, 90, 56, 4}},
    {"gated scan, 64 times", gated_scan, {3, 64, 136, 2}},
    {"gated scan, 8 tiles", gated_scan, {1, 1000, 24, 1}},
    {"gated scan, 2 tiles", gated_scan, {3, 200, 264, 4}},
    {"gated scan, many groups", gated_scan, {40, 128, 600, 4}},
    {"gated scan, channels odd", gated_scan, {2, 20, 77, 4}},
    {"gated scan, 7 states", gated_scan, {1, 40, 64, 7}},
    {"ssd steps", ssd_steps, {2, 128, 4, 128}},
    {"ssd steps, odd", ssd_steps, {3, 37, 9, 64}},
    {"ssd steps, long", ssd_steps, {1, 150, 2, 16}},
    {"ssd steps, a head", ssd_steps, {2, 64, 1, 16}},
    {"ssd steps, 65 times", ssd_steps, {2, 65, 5, 128}},
    {"ssd steps, 32 heads", ssd_steps, {2, 127, 32, 64}},
    {"ssd steps, many sequences", ssd_steps, {150, 20, 3, 16}},
    {"ssd steps, 3 groups", ssd_steps, {2, 70, 9, 64, 3}},
    {"ssd steps, a block a sequence", ssd_steps, {64, 128, 4, 128}},
    {"ssd steps, a block, 3 groups", ssd_steps, {22, 70, 9, 64, 3}},
    {"ssd steps, a block, 8 heads", ssd_steps, {65, 61, 8, 16}},
    {"ssd", ssd, {2, 128, 4, 128}},
    {"ssd, odd", ssd, {3, 37, 9, 64}},
    {"ssd, a head", ssd, {2, 64, 1, 16}},
    {"ssd, 65 times", ssd, {2, 65, 5, 128}},
    {"ssd, 32 heads", ssd, {1, 127, 32, 64}},
    {"ssd, 3 groups", ssd, {2, 70, 9, 64, 3}},
    {"ssd, a block a sequence", ssd, {64, 128, 5, 128}},
    {"ssd, a block, 3 groups", ssd, {22, 70, 24, 16, 3}},
    {"gated norm", gated_norm, {70, 256}},
    {"gated norm, 100 columns", gated_norm, {33, 100}},
    {"gated norm, 388 columns", gated_norm, {50, 388}},
    {"gated norm, 700 columns", gated_norm, {9, 700}},
    {"gated norm, a row", gated_norm, {1, 4}},
    {"gated norm, odd", gated_norm, {20, 77}},
    {"gated norm, 128 columns", gated_norm, {40, 128}},
    {"gated norm, 512 columns", gated_norm, {65, 512}},
    {"gated norm, 1,024 columns", gated_norm, {31, 1024}},
    {"convolution", convolution, {2, 128, 256}},
    {"convolution, odd", convolution, {3, 37, 76}},
    {"convolution, 2 times", convolution, {2, 2, 64}},
    {"convolution, 300 times", convolution, {1, 300, 72}},
    {"convolution, channels odd", convolution, {2, 20, 77}},
    {"convolution, many sequences", convolution, {130, 33, 20}},
    {"convolution, 1,100 times", convolution, {1, 1100, 40}},
    {"convolution, one gradient", convolution_once, {65, 37, 64}},
    {"convolution, 1 time", convolution_once, {3, 1, 8}},
    {"convolution, 17 times", convolution_once, {40, 17, 64}},
    {"convolution, 600 times", convolution, {1, 600, 36}},
    {"convolution, 1,023 times", convolution, {2, 1023, 24}},
    {"convolution, two turns", convolution, {1100, 100, 8}},
    {"convolutions", convolutions, {2, 128, 256, 128, 128}},
    {"convolutions, odd", convolutions, {3, 37, 76, 4, 36}},
    {"convolutions, two", convolutions, {1, 130, 8, 72}},
    {"convolutions, 530 times", convolutions, {3, 530, 8, 72}},
    {"projection", projection, {2, 128, 256, 4, 8}},
    {"projection, odd", projection, {3, 37, 96, 3, 10}},
    {"projection, 8 states", projection, {1, 33, 64, 8, 16}},
    {"projection, rank odd", projection, {1, 20, 64, 4, 5}},
    {"mixer", mixer, {2, 128, 256, 4, 8}},
    {"mixer, odd", mixer, {3, 37, 96, 3, 10}},
    {"mixer, 32 channels", mixer, {70, 9, 32, 4, 8}},
    {"mixer, 3 tiles", mixer, {1, 300, 160, 1, 4}},
    {"mixer, 5 tiles", mixer, {2, 530, 64, 4, 2}},
    {"mixer, a time", mixer, {50, 1, 64, 4, 4}},
    {"mixer, 64 sequences", mixer, {64, 128, 64, 4, 8}},
    {"mixer, 17 times", mixer, {600, 17, 64, 4, 8}},
    {"mixer, 18 columns", mixer, {2, 40, 64, 4, 10}},
    {"mixer, rank odd", mixer, {1, 20, 64, 4, 5}},
};

static int failures, checks;

static const char *run(test_device *device, const merged_case *c, bool wide, sketch *s) {
    *s = (sketch){.wide = wide, .rng = aira_rng_make(aira_key(5, c->name), 0)};
    c->draw(s, c->size);
    return test_run(device, s->t, s->n, s->steps, s->n_steps, 0);
}

/* Both rounded: they may differ by twice as much. */
static void compare_apart(test_device *apart, const merged_case *c, const sketch *got) {
    static sketch want;
    const char *why = run(apart, c, false, &want);
    for (uint32_t k = 0; k < want.n; k++) {
        const test_tensor *t = &want.t[k];
        double error = test_distance(got->t[k].v, t->v, test_elements(t));
        bool counts = !t->given && !t->inner && t->storage != AIRA_STORE_CHAIN;
        checks += counts;
        if (counts && (why || !(error < 2e-2))) {
            failures++;
            printf("FAILED %-28s tensor %u: %.3g from merge: false %s\n", c->name, k, error, why ? why : "");
        }
        free(want.t[k].v);
    }
}

static void compare(test_device *gpu, test_device *apart, test_device *cpu, const merged_case *c) {
    static sketch got, again, want;
    const char *why = run(gpu, c, false, &got), *second = run(gpu, c, false, &again), *third = run(cpu, c, true, &want);
    if (!why) why = second ? second : third;
    if (c->draw == mixer) compare_apart(apart, c, &got);
    for (uint32_t k = 0; k < got.n; k++) {
        test_tensor *t = &got.t[k];
        double error = test_distance(t->v, want.t[k].v, test_elements(t));
        bool same = memcmp(t->v, again.t[k].v, (size_t)test_elements(t) * sizeof *t->v) == 0;
        bool counts = !t->given && !t->inner && t->storage != AIRA_STORE_CHAIN;
        checks += counts;
        if (counts && (why || !(error < 1e-2) || !same)) {
            failures++;
            printf("FAILED %-28s tensor %u: error %.3g%s %s\n", c->name, k, error,
                   same ? "" : ", the second run differs", why ? why : "");
        }
        free(got.t[k].v);
        free(again.t[k].v);
        free(want.t[k].v);
    }
}

int main(int argc, char **argv) {
    test_device gpu, apart, cpu;
    const test_key one_by_one = {"merge", 0};
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    if (!test_device_open(&gpu, argc > 1 ? argv[1] : path, 1, 0) ||
        !test_device_open_keys(&apart, argc > 1 ? argv[1] : path, &one_by_one, 1)) {
        printf("skipped: %s\n", gpu.failure);
        return 77;
    }
    bool twin_open = argc > 2 ? test_device_open(&cpu, argv[2], 1, 1) : test_cpu_open(&cpu, 1, 1);
    if (!twin_open) {
        printf("no cpu device to compare with: %s\n", cpu.failure);
        return 1;
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        if (test_in_part(k)) compare(&gpu, &apart, &cpu, &cases[k]);
    printf("%d results compared, %d failed\n", checks, failures);
    test_device_close(&gpu);
    test_device_close(&apart);
    test_device_close(&cpu);
    return failures ? 1 : 0;
}
