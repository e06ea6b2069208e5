/* cuda_mamba.c - what sequence models and mixtures of experts run on the cuda device, at the sizes for which it has
 * kernels of their own, beside the cpu device's plain loops in fp64 on the same rounded operands.
 *
 *     gpu_cuda_mamba [CUDA.so [CPU.so [TEXT]]]     (default: the plugins of AIRA_BUILD_DIR; TEXT: cases that hold it)
 *
 * The error of a result is its relative L2 distance. Every case runs twice and must give the same bits. Exit status 0:
 * all within their limits; 1: not; 77: no GPU here.
 */
#include "../support/part.h"
#include "../unit/device_harness.h"

#define MOST 13 /* operands and results of an op */

typedef struct mamba_case {
    const char *name;
    uint32_t op, n_in, n_out;
    aira_shape x[7]; /* operands; a result of a backward op has the shape of its operand */
    aira_shape y;    /* of the result of a forward op */
    uint32_t full;   /* bit k: operand k is F32 where the others are bf16 */
    int64_t i[1];
    uint32_t n_i;
} mamba_case;

static int failures, checks;

static bool is_backward(const mamba_case *c) { return c->n_out > 1; }

/* Decays between exp(-3) and 1; counts of groups that leave some rows over, one of them 0. */
static double draw(const mamba_case *c, uint32_t k, int64_t e, aira_rng *rng) {
    bool states = c->op >= AIRA_OP_SELECTIVE_SCAN && c->op <= AIRA_OP_SSD_BACKWARD;
    bool grouped = c->op == AIRA_OP_GROUPED_MATMUL || c->op == AIRA_OP_GROUPED_WGRAD;
    if (states && k == 1) return 0.01 + 0.2 * aira_rng_uniform(rng);
    if (states && k == 2) return -0.1 - 3 * aira_rng_uniform(rng);
    if (grouped && k == 2)
        return e == 2 ? 0 : (double)aira_rng_below(rng, (uint64_t)(2 * c->x[0].dims[0] / c->x[2].dims[0]));
    return aira_rng_normal(rng);
}

static void prepare(const mamba_case *c, uint32_t dtype, test_tensor *x) {
    aira_rng rng = aira_rng_make(aira_key(3, c->name), dtype);
    for (uint32_t k = 0; k < c->n_in + c->n_out; k++) {
        uint32_t of = k < c->n_in ? k : is_backward(c) ? k - c->n_in : 0;
        x[k] = (test_tensor){.shape = c->x[of], .dtype = dtype, .copies = 1, .given = k < c->n_in};
        if (k >= c->n_in && !is_backward(c)) x[k].shape = c->y;
        if (c->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD && k == 5) x[k].shape = SHAPE(c->x[0].dims[2]); /* the bias */
        if (dtype == AIRA_BF16 && (c->full >> of & 1)) x[k].dtype = AIRA_F32;
        bool counts = k == 2 && (c->op == AIRA_OP_GROUPED_MATMUL || c->op == AIRA_OP_GROUPED_WGRAD);
        if (counts) x[k].dtype = AIRA_I32;
        x[k].v = calloc((size_t)test_elements(&x[k]) + 1, sizeof(double));
        for (int64_t e = 0; k < c->n_in && e < test_elements(&x[k]); e++)
            x[k].v[e] = test_rounded(draw(c, k, e, &rng), x[k].dtype);
    }
}

static const char *run(test_device *device, const mamba_case *c, test_tensor *x) {
    uint32_t in[7] = {0, 1, 2, 3, 4, 5, 6}, out[6];
    for (uint32_t k = 0; k < 6; k++) out[k] = c->n_in + k;
    aira_plan_step step = {.size = sizeof step, .op = c->op, .n_in = c->n_in, .n_out = c->n_out, .copies = 1};
    step.in = in;
    step.out = out;
    step.i = c->i;
    step.n_i = c->n_i;
    return test_run(device, x, c->n_in + c->n_out, &step, 1, 0);
}

static void compare(test_device *gpu, test_device *cpu, const mamba_case *c, uint32_t dtype, const char *type,
                    double limit) {
    test_tensor got[MOST], again[MOST], want[MOST];
    uint32_t n = c->n_in + c->n_out;
    prepare(c, dtype, got);
    for (uint32_t k = 0; k < n; k++) {
        again[k] = want[k] = got[k];
        if (want[k].dtype != AIRA_I32) want[k].dtype = AIRA_F64;
        again[k].v = calloc((size_t)test_elements(&got[k]) + 1, sizeof(double));
        want[k].v = calloc((size_t)test_elements(&got[k]) + 1, sizeof(double));
        memcpy(again[k].v, got[k].v, (size_t)test_elements(&got[k]) * sizeof(double));
        memcpy(want[k].v, got[k].v, (size_t)test_elements(&got[k]) * sizeof(double));
    }
    const char *why = run(gpu, c, got);
    if (!why) why = run(gpu, c, again);
    if (!why) why = run(cpu, c, want);
    for (uint32_t k = c->n_in; k < n; k++) {
        double error = why ? INFINITY : test_distance(got[k].v, want[k].v, test_elements(&want[k]));
        checks++;
        bool same = !why && !memcmp(got[k].v, again[k].v, (size_t)test_elements(&got[k]) * sizeof(double));
        if (error < limit && same) continue;
        failures++;
        printf("FAILED %-30s %-4s result %u: error %.3g, limit %.3g%s %s\n", c->name, type, k - c->n_in, error, limit,
               same || why ? "" : ", the second run differs", why ? why : "");
    }
    for (uint32_t k = 0; k < n; k++) {
        free(got[k].v);
        free(again[k].v);
        free(want[k].v);
    }
}

#define V(...) \
    { {__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), 0 }
#define SSD_IN(b, t, h, p, g, n) V(b, t, h, p), V(b, t, h), V(h), V(b, t, g, n), V(b, t, g, n), V(h), V(b, t, h, p)
#define SSD(text, ...)                                                                                              \
    {text, AIRA_OP_SSD, 6, 1, {SSD_IN(__VA_ARGS__)}, SSD_Y(__VA_ARGS__), 1u << 2 | 1u << 5, {0}, 0}, {              \
        text " backward", AIRA_OP_SSD_BACKWARD, 7, 6, {SSD_IN(__VA_ARGS__)}, {{0}, 0, 0}, 1u << 2 | 1u << 5, {0}, 0 \
    }
#define SSD_Y(b, t, h, p, g, n) V(b, t, h, p)
#define SCAN_IN(b, t, c, n) V(b, t, c), V(b, t, c), V(c, n), V(b, t, n), V(b, t, n), V(c), V(b, t, c)
#define SCAN(text, b, t, c, n)                                                                            \
    {text, AIRA_OP_SELECTIVE_SCAN, 6, 1, {SCAN_IN(b, t, c, n)}, V(b, t, c), 1u << 2 | 1u << 5, {0}, 0}, { \
        text " backward", AIRA_OP_SELECTIVE_SCAN_BACKWARD, 7, 6, {SCAN_IN(b, t, c, n)}, {{0}, 0, 0},      \
            1u << 2 | 1u << 5, {0}, 0                                                                     \
    }
#define CONV(text, b, t, c, k)                                                                                     \
    {text, AIRA_OP_CONV1D_CAUSAL, 3, 1, {V(b, t, c), V(c, k), V(c)}, V(b, t, c), 0, {0}, 0}, {                     \
        text " backward", AIRA_OP_CONV1D_CAUSAL_BACKWARD, 3, 3, {V(b, t, c), V(c, k), V(b, t, c)}, {{0}, 0, 0}, 0, \
            {0}, 0                                                                                                 \
    }
#define FFT(text, b, t, c)                                                                                          \
    {text, AIRA_OP_FFT_CONV, 2, 1, {V(b, t, c), V(c, t)}, V(b, t, c), 1u << 1, {0}, 0}, {                           \
        text " backward", AIRA_OP_FFT_CONV_BACKWARD, 3, 2, {V(b, t, c), V(c, t), V(b, t, c)}, {{0}, 0, 0}, 1u << 1, \
            {0}, 0                                                                                                  \
    }
#define GROUPED(text, n, k, m, e)                                                                          \
    {text, AIRA_OP_GROUPED_MATMUL, 3, 1, {V(n, k), V(e, k, m), V(e)}, V(n, m), 0, {0}, 1},                 \
        {text " turned", AIRA_OP_GROUPED_MATMUL, 3, 1, {V(n, k), V(e, m, k), V(e)}, V(n, m), 0, {1}, 1}, { \
        text " weights", AIRA_OP_GROUPED_WGRAD, 3, 1, {V(n, k), V(n, m), V(e)}, V(e, k, m), 0, {0}, 0      \
    }

static const mamba_case cases[] = {
    SSD("ssd 1 chunk n128", 2, 128, 3, 64, 1, 128),
    SSD("ssd 1 chunk n64", 1, 77, 4, 64, 2, 64),
    SSD("ssd 1 chunk n16", 2, 32, 2, 64, 1, 16),
    SSD("ssd 1 time", 1, 1, 2, 64, 1, 64),
    SSD("ssd many heads", 1, 50, 18, 64, 2, 16),
    SSD("ssd 40 heads", 1, 30, 40, 64, 1, 16),
    SSD("ssd 19 heads", 1, 100, 19, 64, 1, 16),
    SSD("ssd 3 chunks n128", 1, 300, 2, 64, 1, 128),
    SSD("ssd 2 chunks n64", 2, 256, 4, 64, 2, 64),
    SSD("ssd 2 chunks n16", 1, 129, 2, 64, 1, 16),
    SSD("ssd 3 chunks p128 n128", 2, 300, 3, 128, 1, 128),
    SSD("ssd 2 chunks p128 n64", 1, 256, 6, 128, 3, 64),
    SSD("ssd 1 chunk p128 n16", 2, 33, 2, 128, 1, 16),
    SSD("ssd wide head", 1, 140, 2, 128, 1, 128),
    SSD("ssd odd", 2, 37, 3, 21, 3, 70),
    SSD("ssd 200 states", 1, 20, 2, 5, 1, 200),
    SCAN("scan n4", 2, 70, 256, 4),
    SCAN("scan n4 odd", 3, 37, 75, 4),
    SCAN("scan n4 tiles", 1, 300, 96, 4),
    SCAN("scan n4 many sequences", 150, 9, 40, 4),
    SCAN("scan n3", 1, 33, 130, 3),
    SCAN("scan n3 odd tiles", 2, 401, 72, 3),
    SCAN("scan n2 3 spans", 3, 83, 24, 2),
    SCAN("scan n1 64 times", 40, 63, 136, 1),
    SCAN("scan n16", 2, 65, 96, 16),
    SCAN("scan n8", 1, 40, 64, 7),
    SCAN("scan n40", 1, 18, 33, 40),
    SCAN("scan 1 time", 2, 1, 40, 4),
    CONV("conv k4", 2, 70, 256, 4),
    CONV("conv k4 odd", 3, 37, 77, 4),
    CONV("conv k4 short", 2, 2, 64, 4),
    CONV("conv k3", 2, 40, 64, 3),
    CONV("conv k7", 1, 20, 12, 7),
    FFT("fft 100", 3, 100, 5),
    FFT("fft 1", 2, 1, 3),
    FFT("fft 1024", 2, 1024, 2),
    GROUPED("grouped small", 20, 7, 9, 5),
    GROUPED("grouped", 300, 70, 130, 6),
};

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
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        if (!test_in_part(k) || (argc > 3 && !strstr(cases[k].name, argv[3]))) continue;
        compare(&gpu, &cpu, &cases[k], AIRA_F64, "f64", 1e-10);
        compare(&gpu, &cpu, &cases[k], AIRA_F32, "f32", 1e-5);
        compare(&gpu, &cpu, &cases[k], AIRA_BF16, "bf16", 1e-2);
    }
    printf("%d results compared, %d failed\n", checks, failures);
    test_device_close(&gpu);
    test_device_close(&cpu);
    return failures ? 1 : 0;
}
