/* cuda_ops.c - every operation of the cuda device on odd shapes, with poisoned results: floating-point ops against the
 * naive text of device_naive.h, ops that move, reduce or order elements against the cpu device's plain loops.
 *
 *     gpu_cuda_ops [CUDA.so [CPU.so]]     (default: the plugins of AIRA_BUILD_DIR)
 *
 * Exit status 0: all within their limits; 1: not; 77: no GPU here.
 */
#include "../unit/device_cases.h"

static int failures, checks, skipped;

static void complain(const char *name, const char *type, double error, double limit, const char *why) {
    checks++;
    if (error < limit) return;
    failures++;
    printf("FAILED %-28s %-5s error %.3g, limit %.3g %s\n", name, type, error, limit, why ? why : "");
}

static bool supported(const test_device *device, uint32_t op) {
    aira_plan_tensor any[8];
    for (int k = 0; k < 8; k++) any[k] = (aira_plan_tensor){.size = sizeof any[k], .dtype = AIRA_F32, .copies = 1};
    return device->table->supports(device->self, op, any, 1, 1, NULL, 0) != 0;
}

static void floating(test_device *device) {
    static const struct {
        uint32_t dtype;
        const char *name;
        double forward, backward;
    } types[] = {{AIRA_F64, "f64", 1e-9, 1e-6}, {AIRA_F32, "f32", 2e-5, 2e-4}, {AIRA_BF16, "bf16", 1.2e-2, 6e-2}};
    for (size_t k = 0; k < N_DEVICE_CASES; k++) {
        const device_case *c = &device_cases[k];
        if (!supported(device, c->op)) {
            skipped++;
            continue;
        }
        for (size_t t = 0; t < 3; t++) {
            const char *why = NULL;
            /* the naive text's slopes of GELU and SiLU are differences */
            double limit = types[t].forward;
            if (c->op == AIRA_OP_GELU_BACKWARD || c->op == AIRA_OP_SILU_BACKWARD) limit += 1e-7;
            complain(c->name, types[t].name, check_forward(device, c, types[t].dtype, 11, &why), limit, why);
            if (!c->backward || !supported(device, c->backward)) continue;
            double error = check_backward(device, c, types[t].dtype, 12, &why);
            char name[64];
            snprintf(name, sizeof name, "%s backward", c->name);
            complain(name, types[t].name, error, types[t].backward, why);
        }
    }
}

/* --- beside the cpu device -----------------------------------------------------------------------------------------
 */

typedef struct twin {
    const char *name;
    uint32_t op, n_in, n_out;
    aira_shape x[5];   /* operands, then results */
    uint32_t integers; /* bit k: x[k] is I32; bit 8 + k: it is F32 where the others are BF16 */
    int64_t i[4], n_i;
    double f, limit,
        most; /* f: only attribute; limit 0: the same bits; most: operands are integers below it, 0: reals */
} twin;

static double twin_error(test_device *gpu, test_device *cpu, const twin *c, uint32_t dtype, const char **why) {
    uint32_t in[4] = {0, 1, 2, 3}, out[2] = {c->n_in, c->n_in + 1}, n = c->n_in + c->n_out;
    test_tensor a[5], b[5];
    aira_rng rng = aira_rng_make(aira_key(5, c->name), dtype);
    double worst = 0;
    for (uint32_t k = 0; k < n; k++) {
        a[k] = (test_tensor){.shape = c->x[k], .copies = 1, .given = k < c->n_in};
        a[k].dtype = c->integers >> k & 1                               ? AIRA_I32
                     : c->integers >> (8 + k) & 1 && dtype == AIRA_BF16 ? AIRA_F32
                                                                        : dtype;
        a[k].v = calloc((size_t)test_elements(&a[k]) + 1, sizeof(double));
        uint32_t names = c->op == AIRA_OP_SCATTER_ADD ? (uint32_t)c->x[2].dims[0] + 2 : 9; /* two of no row */
        for (int64_t e = 0; a[k].given && e < test_elements(&a[k]); e++) {
            double value = a[k].dtype == AIRA_I32 ? (double)aira_rng_below(&rng, names) - 1 : aira_rng_normal(&rng);
            if (c->most && a[k].dtype != AIRA_I32) value = floor(value * c->most);
            a[k].v[e] = test_rounded(value, a[k].dtype);
        }
        b[k] = a[k];
        b[k].v = calloc((size_t)test_elements(&a[k]) + 1, sizeof(double));
        memcpy(b[k].v, a[k].v, (size_t)test_elements(&a[k]) * sizeof(double));
    }
    aira_plan_step step = {.size = sizeof step, .op = c->op, .n_in = c->n_in, .n_out = c->n_out, .copies = 1};
    step.n_i = (uint32_t)c->n_i;
    step.n_f = 1;
    step.in = in;
    step.out = out;
    step.i = c->i;
    step.f = &c->f;
    *why = test_run(cpu, a, n, &step, 1, 7);
    if (!*why) *why = test_run(gpu, b, n, &step, 1, 7);
    for (uint32_t k = c->n_in; k < n && !*why; k++) {
        double error = case_error(b[k].v, a[k].v, test_elements(&a[k]));
        if (!(error <= worst)) worst = error;
    }
    case_free(a, n);
    case_free(b, n);
    return *why ? INFINITY : worst;
}

#define S SHAPE
static void twins(test_device *gpu, test_device *cpu) {
    const twin cases[] = {
        {"transpose 021", AIRA_OP_TRANSPOSE, 1, 1, {S(5, 34, 37), S(5, 37, 34)}, 0, {0, 2, 1}, 3, 0, 0, 0},
        {"transpose 3102", AIRA_OP_TRANSPOSE, 1, 1, {S(2, 3, 7, 9), S(9, 3, 2, 7)}, 0, {3, 1, 0, 2}, 4, 0, 0, 0},
        {"slice", AIRA_OP_SLICE, 1, 1, {S(3, 11, 5), S(3, 4, 5)}, 0, {1, 6, 4}, 3, 0, 0, 0},
        {"concat", AIRA_OP_CONCAT, 2, 1, {S(3, 2, 5), S(3, 6, 5), S(3, 8, 5)}, 0, {1}, 1, 0, 0, 0},
        {"pad", AIRA_OP_PAD, 1, 1, {S(3, 4, 5), S(3, 9, 5)}, 0, {1, 2, 3}, 3, -1.5, 0, 0},
        {"reshape", AIRA_OP_RESHAPE, 1, 1, {S(6, 35), S(2, 105)}, 0, {0}, 0, 0, 0, 0},
        {"broadcast", AIRA_OP_BROADCAST, 1, 1, {S(3, 1, 5), S(2, 3, 4, 5)}, 0, {0}, 0, 0, 0, 0},
        {"constant", AIRA_OP_CONSTANT, 0, 1, {S(3, 77)}, 0, {0}, 0, 2.75, 0, 0},
        {"iota", AIRA_OP_IOTA, 0, 1, {S(3, 7, 5)}, 0, {1}, 1, 0, 0, 0},
        {"random uniform", AIRA_OP_RANDOM, 0, 1, {S(1037)}, 0, {0, 12345}, 2, 0, 0, 0},
        {"random normal", AIRA_OP_RANDOM, 0, 1, {S(1037)}, 0, {1, 12345}, 2, 0, 1e-6, 0},
        {"gather", AIRA_OP_GATHER, 2, 1, {S(6, 13), S(5, 7), S(5, 7, 13)}, 2, {0}, 0, 0, 0, 0},
        {"gather rows", AIRA_OP_GATHER, 2, 1, {S(6, 3, 40), S(5, 70), S(5, 70, 3, 40)}, 2, {0}, 0, 0, 0, 0},
        {"gather_last", AIRA_OP_GATHER_LAST, 2, 1, {S(9, 6), S(9, 4), S(9, 4)}, 2, {0}, 0, 0, 0, 0},
        {"scatter_add", AIRA_OP_SCATTER_ADD, 2, 1, {S(1234), S(1234, 37), S(7, 37)}, 1, {7}, 1, 0, 2e-6, 0},
        {"scatter_add 16", AIRA_OP_SCATTER_ADD, 2, 1, {S(5003), S(5003, 128), S(16, 128)}, 1, {16}, 1, 0, 2e-6, 0},
        {"scatter_add 32", AIRA_OP_SCATTER_ADD, 2, 1, {S(4096), S(4096, 132), S(29, 132)}, 1, {29}, 1, 0, 2e-6, 0},
        {"scatter_add 64", AIRA_OP_SCATTER_ADD, 2, 1, {S(2049), S(2049, 70), S(64, 70)}, 1, {64}, 1, 0, 2e-6, 0},
        {"scatter_add lists",
         AIRA_OP_SCATTER_ADD,
         2,
         1,
         {S(1234), S(1234, 36), S(79, 36)},
         1 | 1 << 10,
         {79},
         1,
         0,
         2e-6,
         0},
        {"scatter_add long",
         AIRA_OP_SCATTER_ADD,
         2,
         1,
         {S(30007), S(30007, 8), S(77, 8)},
         1 | 1 << 10,
         {77},
         1,
         0,
         2e-6,
         0},
        {"scatter_add few",
         AIRA_OP_SCATTER_ADD,
         2,
         1,
         {S(299), S(299, 1028), S(66, 1028)},
         1 | 1 << 10,
         {66},
         1,
         0,
         2e-6,
         0},
        {"scatter_last", AIRA_OP_SCATTER_LAST, 2, 1, {S(9, 14), S(9, 14), S(9, 6)}, 1, {6}, 1, 0, 2e-6, 0},
        {"top_k", AIRA_OP_TOP_K, 1, 2, {S(9, 21), S(9, 5), S(9, 5)}, 4, {5}, 1, 0, 0, 3},
        {"argsort", AIRA_OP_ARGSORT, 1, 1, {S(9, 40), S(9, 40)}, 2, {0}, 1, 0, 0, 4},
        {"argsort down", AIRA_OP_ARGSORT, 1, 1, {S(9, 40), S(9, 40)}, 2, {1}, 1, 0, 0, 4},
        {"sum all", AIRA_OP_SUM, 1, 1, {S(7, 9, 30), SCALAR_SHAPE}, 0, {7, 0}, 2, 0, 2e-6, 0},
        {"sum all to fp32", AIRA_OP_SUM, 1, 1, {S(21, 33, 132), SCALAR_SHAPE}, 2 << 8, {7, 0}, 2, 0, 2e-5, 0},
        {"sum last", AIRA_OP_SUM, 1, 1, {S(33, 301), S(33)}, 0, {2, 0}, 2, 0, 2e-6, 0},
        {"sum rows", AIRA_OP_SUM, 1, 1, {S(1030, 45), S(45)}, 0, {1, 0}, 2, 0, 2e-6, 0},
        {"sum rows, fours", AIRA_OP_SUM, 1, 1, {S(5, 211, 132), S(132)}, 0, {3, 0}, 2, 0, 2e-6, 0},
        {"norm 128", AIRA_OP_RMS_NORM, 2, 1, {S(37, 128), S(128), S(37, 128)}, 1 << 9, {0}, 0, 1e-5, 1e-5, 0},
        {"norm 1500", AIRA_OP_RMS_NORM, 2, 1, {S(5, 1500), S(1500), S(5, 1500)}, 1 << 9, {0}, 0, 1e-5, 1e-5, 0},
        {"norm 2048", AIRA_OP_RMS_NORM, 2, 1, {S(5, 2048), S(2048), S(5, 2048)}, 1 << 9, {0}, 0, 1e-5, 1e-5, 0},
        {"sum two, keep", AIRA_OP_SUM, 1, 1, {S(6, 70, 11, 3), S(1, 70, 1, 3)}, 0, {5, 1}, 2, 0, 2e-6, 0},
        {"sum short", AIRA_OP_SUM, 1, 1, {S(700, 5), S(700)}, 0, {2, 0}, 2, 0, 2e-6, 0},
        {"max last", AIRA_OP_MAX_REDUCE, 1, 1, {S(33, 301), S(33)}, 0, {2, 0}, 2, 0, 0, 0},
        {"max rows", AIRA_OP_MAX_REDUCE, 1, 1, {S(1030, 45), S(45)}, 0, {1, 0}, 2, 0, 0, 0},
        {"cumsum", AIRA_OP_CUMSUM, 1, 1, {S(3, 40, 7), S(3, 40, 7)}, 0, {1, 0, 0}, 3, 0, 1e-5, 0},
        {"cumsum back, exclusive", AIRA_OP_CUMSUM, 1, 1, {S(3, 40, 7), S(3, 40, 7)}, 0, {1, 1, 1}, 3, 0, 1e-5, 0},
        {"norm wide", AIRA_OP_RMS_NORM, 2, 1, {S(3, 2500), S(2500), S(3, 2500)}, 0, {0}, 0, 1e-5, 1e-5, 0},
        {"rope 16", AIRA_OP_ROPE, 1, 1, {S(3, 21, 3, 16), S(3, 21, 3, 16)}, 0, {16, 0, 0}, 3, 10000, 1e-6, 0},
        {"rope 128 back", AIRA_OP_ROPE, 1, 1, {S(17, 5, 2, 128), S(17, 5, 2, 128)}, 0, {0, 0, 1}, 3, 500, 1e-6, 0},
        {"norm slopes 132",
         AIRA_OP_RMS_NORM_BACKWARD,
         3,
         2,
         {S(71, 132), S(132), S(71, 132), S(71, 132), S(132)},
         1 << 9 | 1 << 12,
         {0},
         0,
         1e-5,
         1e-5,
         0},
        {"norm slopes 2052",
         AIRA_OP_RMS_NORM_BACKWARD,
         3,
         2,
         {S(35, 2052), S(2052), S(35, 2052), S(35, 2052), S(2052)},
         1 << 9 | 1 << 12,
         {0},
         0,
         1e-5,
         1e-5,
         0},
        {"softmax wide", AIRA_OP_SOFTMAX, 1, 1, {S(3, 2500), S(3, 2500)}, 0, {0}, 0, 0, 1e-5, 0},
    };
    static const struct {
        uint32_t dtype;
        const char *name;
        double least; /* limit of ops that compute: one unit in the last place of a result */
    } types[] = {{AIRA_F64, "f64", 1e-9}, {AIRA_F32, "f32", 0}, {AIRA_BF16, "bf16", 8e-3}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (size_t t = 0; t < 3; t++) {
            const char *why = NULL;
            double error = twin_error(gpu, cpu, &cases[k], types[t].dtype, &why);
            double limit = cases[k].limit;
            if (limit > 0 && types[t].least > limit) limit = types[t].least;
            complain(cases[k].name, types[t].name, error, limit > 0 ? limit : 1e-300, why);
        }
    }
}

/* --- the head: product and cross-entropy in one --------------------------------------------------------------------
 */

/* x[0..3] are x, w, targets, g; writes nll, dx and dw as they follow from the definition. */
static void naive_head(const test_tensor *x, double *nll, double *dx, double *dw) {
    int64_t rows = x[0].shape.dims[0], depth = x[0].shape.dims[1], width = x[1].shape.dims[0];
    double *logits = calloc((size_t)width, sizeof *logits);
    memset(dw, 0, (size_t)(width * depth) * sizeof *dw);
    for (int64_t r = 0; r < rows; r++) {
        const double *in = x[0].v + r * depth;
        double sum = 0;
        int64_t target = (int64_t)x[2].v[r];
        bool counts = target >= 0 && target < width;
        for (int64_t v = 0; v < width; v++) {
            logits[v] = 0;
            for (int64_t d = 0; d < depth; d++) logits[v] += in[d] * x[1].v[v * depth + d];
            sum += exp(logits[v]);
        }
        nll[r] = counts ? log(sum) - logits[target] : 0;
        for (int64_t d = 0; d < depth; d++) dx[r * depth + d] = 0;
        for (int64_t v = 0; v < width && counts; v++) {
            double slope = x[3].v[r] * (exp(logits[v]) / sum - (v == target));
            for (int64_t d = 0; d < depth; d++) {
                dx[r * depth + d] += slope * x[1].v[v * depth + d];
                dw[v * depth + d] += slope * in[d];
            }
        }
    }
    free(logits);
}

/* Largest error over the results of the one operation (backward: dx, dw, nll; else nll). */
static double head_error(test_device *gpu, const int64_t *size, uint32_t dtype, bool backward, const char **why) {
    int64_t rows = size[0], depth = size[1], width = size[2];
    uint32_t in[4] = {0, 1, 2, 3}, out[3] = {4, 5, 6}, wide = dtype == AIRA_F64 ? AIRA_F64 : AIRA_F32;
    test_tensor x[7] = {{.shape = SHAPE(rows, depth), .dtype = dtype}, {.shape = SHAPE(width, depth), .dtype = dtype},
                        {.shape = SHAPE(rows), .dtype = AIRA_I32},     {.shape = SHAPE(rows), .dtype = wide},
                        {.shape = SHAPE(rows, depth), .dtype = dtype}, {.shape = SHAPE(width, depth), .dtype = wide},
                        {.shape = SHAPE(rows), .dtype = wide}};
    aira_rng rng = aira_rng_make(aira_key(7, "head"), (uint64_t)rows);
    double *want[3], worst = 0;
    for (int k = 0; k < 7; k++) {
        x[k].copies = 1;
        x[k].given = k < 4;
        x[k].v = calloc((size_t)test_elements(&x[k]), sizeof(double));
        for (int64_t e = 0; k < 4 && e < test_elements(&x[k]); e++) {
            double value = k == 2 ? (double)aira_rng_below(&rng, (uint32_t)width + 2) - 1 : aira_rng_normal(&rng);
            if (k == 1) value /= sqrt((double)depth); /* logits of about 1 */
            x[k].v[e] = test_rounded(value, x[k].dtype);
        }
    }
    for (int k = 0; k < 3; k++) want[k] = calloc((size_t)test_elements(&x[4 + k]), sizeof(double));
    naive_head(x, want[2], want[0], want[1]);
    aira_plan_step step = {.size = sizeof step, .op = AIRA_OP_HEAD_CROSS_ENTROPY, .n_in = 3, .n_out = 1, .copies = 1};
    step.in = in;
    step.out = &in[3];
    if (backward) {
        step.op = AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD;
        step.n_in = 4;
        step.n_out = 3;
        step.out = out;
    } else { /* the loss stands where the gradient stood */
        x[3].given = false;
    }
    *why = test_run(gpu, x, backward ? 7 : 4, &step, 1, 0);
    for (int k = 0; k < 3 && !*why; k++) {
        double error = backward ? case_error(x[4 + k].v, want[k], test_elements(&x[4 + k]))
                                : case_error(x[3].v, want[2], rows);
        if (!(error <= worst)) worst = error;
    }
    for (int k = 0; k < 3; k++) free(want[k]);
    case_free(x, 7);
    return *why ? INFINITY : worst;
}

static void heads(test_device *gpu) {
    static const struct {
        const char *name;
        int64_t size[3]; /* rows, depth, width */
    } cases[] = {{"head", {21, 12, 5}},
                 {"head wide", {37, 40, 1032}},
                 {"head odd", {130, 24, 3001}},
                 {"head chunks", {70000, 8, 24}}};
    static const struct {
        uint32_t dtype;
        const char *name;
        double forward, backward;
    } types[] = {{AIRA_F64, "f64", 1e-9, 1e-9}, {AIRA_F32, "f32", 2e-5, 2e-4}, {AIRA_BF16, "bf16", 1.2e-2, 6e-2}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (size_t t = 0; t < 3; t++) {
            const char *why = NULL;
            double error = head_error(gpu, cases[k].size, types[t].dtype, false, &why);
            complain(cases[k].name, types[t].name, error, types[t].forward, why);
            error = head_error(gpu, cases[k].size, types[t].dtype, true, &why);
            complain("and its gradients", types[t].name, error, types[t].backward, why);
        }
    }
}

int main(int argc, char **argv) {
    test_device gpu, cpu;
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    if (!test_device_open(&gpu, argc > 1 ? argv[1] : path, 1, 0)) {
        printf("skipped: %s\n", gpu.failure);
        return 77;
    }
    bool twin_open = argc > 2 ? test_device_open(&cpu, argv[2], 1, 1) : test_cpu_open(&cpu, 1, 1);
    if (!twin_open) {
        printf("no cpu device to compare with: %s\n", cpu.failure);
        return 1;
    }
    aira_device_info info = {.size = sizeof info};
    if (gpu.table->info(gpu.self, &info)) printf("info: %s\n", gpu.failure);
    printf("%s, %s\n", info.name, info.isa);
    floating(&gpu);
    twins(&gpu, &cpu);
    heads(&gpu);
    printf("%d checks, %d failed; %d cases are left to the host's expansions\n", checks, failures, skipped);
    test_device_close(&gpu);
    test_device_close(&cpu);
    return failures ? 1 : 0;
}
