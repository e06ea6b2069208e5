/* cuda_head.c - the head with its cross-entropy on the cuda device, beside fp64 sums of the same rounded operands.
 *
 *     gpu_cuda_head [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * Rows of a warp, of a block, of two, four and eight blocks, and too long for those; odd numbers of rows; one chunk of
 * rows and two; one row in eight without a target. The error of a result is its relative L2 distance. Everything runs
 * twice and must give the same bits. Exit status 0: all within their limits; 1: not; 77: no GPU here.
 */
#include "../unit/device_harness.h"

#define MOST_WORK (1 << 28) /* multiplications of a product in fp32: the test does three of them in fp64 */

typedef struct head_case {
    int64_t rows, depth, width;
    double steep; /* 1: logits of about 1; where they are larger, the reference rounds them as the device does */
} head_case;

enum { X, W, TARGETS, G, DX, DW, NLL, N_TENSORS };

static int failures, checks;

static void prepare(const head_case *c, uint32_t dtype, test_tensor *t) {
    int64_t rows = c->rows, depth = c->depth, width = c->width;
    t[X] = (test_tensor){.shape = SHAPE(rows, depth), .dtype = dtype};
    t[W] = (test_tensor){.shape = SHAPE(width, depth), .dtype = dtype};
    t[TARGETS] = (test_tensor){.shape = SHAPE(rows), .dtype = AIRA_I32};
    t[G] = (test_tensor){.shape = SHAPE(rows), .dtype = AIRA_F32};
    t[DX] = (test_tensor){.shape = SHAPE(rows, depth), .dtype = dtype};
    t[DW] = (test_tensor){.shape = SHAPE(width, depth), .dtype = AIRA_F32};
    t[NLL] = (test_tensor){.shape = SHAPE(rows), .dtype = AIRA_F32};
    for (int k = 0; k < N_TENSORS; k++) {
        aira_rng rng = aira_rng_make(aira_key((uint64_t)(rows * 31 + width), "head"), (uint64_t)k);
        int64_t n = (t[k].copies = 1, test_elements(&t[k]));
        t[k].given = k <= G;
        t[k].v = calloc((size_t)n, sizeof(double));
        for (int64_t e = 0; e < n && k <= G; e++) {
            double value = aira_rng_normal(&rng);
            if (k == W) value *= c->steep / sqrt((double)depth);
            if (k == TARGETS) {
                const int64_t none[3] = {-1, width, INT32_MAX};
                value = (double)(aira_rng_below(&rng, 8) ? (int64_t)aira_rng_below(&rng, (uint32_t)width)
                                                         : none[aira_rng_below(&rng, 3)]);
            }
            t[k].v[e] = test_rounded(value, t[k].dtype);
        }
    }
}

/* What the definition gives: into nll, dx and dw. */
static void expect(const head_case *c, const test_tensor *t, double *nll, double *dx, double *dw) {
    double *p = calloc((size_t)c->width, sizeof *p);
    for (int64_t r = 0; r < c->rows; r++) {
        const double *x = t[X].v + r * c->depth;
        int64_t target = (int64_t)t[TARGETS].v[r];
        double peak = -INFINITY, sum = 0;
        if (target < 0 || target >= c->width) continue;
        for (int64_t v = 0; v < c->width; v++) {
            const double *w = t[W].v + v * c->depth;
            p[v] = 0;
            for (int64_t d = 0; d < c->depth; d++) p[v] += x[d] * w[d];
            if (c->steep > 1) p[v] = test_rounded(p[v], t[X].dtype);
            if (p[v] > peak) peak = p[v];
        }
        double hit = p[target];
        for (int64_t v = 0; v < c->width; v++) sum += p[v] = exp(p[v] - peak);
        nll[r] = log(sum) + peak - hit;
        for (int64_t v = 0; v < c->width; v++) {
            double slope = t[G].v[r] * (p[v] / sum - (v == target));
            const double *w = t[W].v + v * c->depth;
            for (int64_t d = 0; d < c->depth; d++) {
                dx[r * c->depth + d] += slope * w[d];
                dw[v * c->depth + d] += slope * x[d];
            }
        }
    }
    free(p);
}

static const char *run(test_device *device, test_tensor *t, bool backward) {
    static const uint32_t in[4] = {X, W, TARGETS, G}, out[3] = {DX, DW, NLL};
    aira_plan_step step = {.size = sizeof step, .copies = 1, .in = in};
    step.op = backward ? AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD : AIRA_OP_HEAD_CROSS_ENTROPY;
    step.n_in = backward ? 4 : 3;
    step.n_out = backward ? 3 : 1;
    step.out = backward ? out : &out[2];
    return test_run(device, t, N_TENSORS, &step, 1, 0);
}

/* Runs the case twice, forward (errors[0]: of the losses) or backward (of DX, DW, NLL). */
static const char *try_direction(test_device *device, test_tensor *t, bool backward, double *const *want,
                                 double *errors) {
    const char *why = run(device, t, backward);
    double *before[3] = {NULL};
    for (int k = 0; k < 3 && !why; k++) {
        int64_t n = test_elements(&t[DX + k]);
        before[k] = malloc((size_t)n * sizeof(double));
        memcpy(before[k], t[DX + k].v, (size_t)n * sizeof(double));
    }
    if (!why) why = run(device, t, backward);
    for (int k = backward ? 0 : 2; k < 3 && !why; k++) {
        int64_t n = test_elements(&t[DX + k]);
        if (memcmp(before[k], t[DX + k].v, (size_t)n * sizeof(double))) why = "the second run differs";
        errors[backward ? k : 0] = test_distance(t[DX + k].v, want[k], n);
    }
    for (int k = 0; k < 3; k++) free(before[k]);
    return why;
}

static void try_case(test_device *device, const head_case *c, uint32_t dtype) {
    test_tensor t[N_TENSORS];
    double *want[3], errors[4] = {INFINITY, INFINITY, INFINITY, INFINITY}, limit = dtype == AIRA_BF16 ? 1e-2 : 1e-5;
    prepare(c, dtype, t);
    for (int k = 0; k < 3; k++) want[k] = calloc((size_t)test_elements(&t[DX + k]), sizeof(double));
    expect(c, t, want[2], want[0], want[1]);
    const char *why = try_direction(device, t, true, want, errors);
    if (!why) why = try_direction(device, t, false, want, errors + 3);
    bool good = !why;
    for (int k = 0; k < 4; k++) good &= errors[k] < limit;
    checks++;
    failures += !good;
    printf("%s %6lld rows %4lld x %6lld %-4s: dx %.2g, dw %.2g, losses %.2g, of the loss alone %.2g%s%s\n",
           good ? "      " : "FAILED", (long long)c->rows, (long long)c->depth, (long long)c->width,
           dtype == AIRA_BF16 ? "bf16" : "fp32", errors[0], errors[1], errors[2], errors[3], why ? ": " : "",
           why ? why : "");
    fflush(stdout);
    for (int k = 0; k < 3; k++) free(want[k]);
    for (int k = 0; k < N_TENSORS; k++) free(t[k].v);
}

int main(int argc, char **argv) {
    static const head_case cases[] = {
        {1000, 48, 1000, 1},  {4097, 32, 1000, 1},  {1000, 40, 1032, 1}, {997, 24, 3001, 1},  {257, 64, 8200, 1},
        {1000, 16, 32000, 1}, {257, 24, 32000, 12}, {129, 24, 32768, 1}, {65, 24, 32776, 1},  {65, 24, 128256, 1},
        {33, 24, 128256, 12}, {17, 16, 262144, 1},  {17, 16, 262152, 1}, {16400, 8, 16392, 1}};
    test_device gpu;
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    if (!test_device_open(&gpu, argc > 1 ? argv[1] : path, 1, 0)) {
        printf("skipped: %s\n", gpu.failure);
        return 77;
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        try_case(&gpu, &cases[k], AIRA_BF16);
        const head_case *c = &cases[k];
        if (c->steep <= 1 && c->rows * c->depth * c->width < MOST_WORK) try_case(&gpu, c, AIRA_F32);
    }
    printf("%d cases, %d failed\n", checks, failures);
    test_device_close(&gpu);
    return failures ? 1 : 0;
}
