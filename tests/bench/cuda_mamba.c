/* cuda_mamba.c - microseconds of what Mamba, Mamba-2, long convolutions and mixtures of experts run on the cuda device.
 *
 *     bench_cuda_mamba [--device PATH/device_cuda.so] [--only TEXT]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * A program holds an operation many times over, on operands and results of several sets in turn, so that a launch is
 * negligible and nothing stays in the cache that a training step would not find there; it is one captured graph. A line
 * gives the median of 21 runs divided by the repetitions, the bytes of operands and results and the rate at which they
 * pass, and the rate of floating-point operations that the form for tensor cores (or the plain loop) does.
 */

#include "timed_plan.h"

#define SETS 3  /* of operands and results */
#define RUNS 21 /* an odd number */
#define MOST 13 /* operands and results of an op */

typedef struct bench_case {
    const char *name;
    uint32_t op, n_in, n_out;
    aira_shape x[7], y;
    uint32_t full;   /* bit k: operand k is F32, the others bf16 */
    uint32_t counts; /* operand that is I32 counts, 0: none */
    uint32_t repeat;
    double work; /* floating-point operations */
} bench_case;

/* Shapes and types of operands and results; a result of a backward op is like its operand. */
static void describe(const bench_case *c, aira_plan_tensor *t) {
    for (uint32_t k = 0; k < c->n_in + c->n_out; k++) {
        uint32_t of = k < c->n_in ? k : c->n_out > 1 ? k - c->n_in : 0;
        t[k] = (aira_plan_tensor){.size = sizeof *t, .copies = 1, .storage = AIRA_STORE_IO, .shape = c->x[of]};
        t[k].dtype = c->full >> of & 1 ? AIRA_F32 : AIRA_BF16;
        if (c->counts && k == c->counts) t[k].dtype = AIRA_I32;
        if (k >= c->n_in && c->n_out == 1) t[k].shape = c->y;
        if (c->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD && k == 5) t[k].shape = SHAPE(c->x[0].dims[2]);
    }
}

/* Steps of dt and rates of decay as layers have them; equal groups; else normal values. */
static double draw(const bench_case *c, uint32_t k, aira_rng *rng) {
    bool states = c->op >= AIRA_OP_SELECTIVE_SCAN && c->op <= AIRA_OP_SSD_BACKWARD;
    if (states && k == 1) return 0.001 + 0.1 * aira_rng_uniform(rng);
    if (states && k == 2) return -1 - 15 * aira_rng_uniform(rng);
    if (c->counts && k == c->counts) return (double)(c->x[0].dims[0] / c->x[c->counts].dims[0]);
    return aira_rng_normal(rng);
}

static aira_status fill(test_device *device, void *buffer, const void *of, const aira_plan_tensor *t) {
    const bench_case *c = of;
    aira_status status = AIRA_OK;
    for (uint32_t k = 0; k < c->n_in && status == AIRA_OK; k++) {
        uint64_t bytes = bytes_of(&t[k]), size = test_bytes(t[k].dtype);
        char *image = malloc(bytes ? bytes : 1);
        aira_rng rng = aira_rng_make(aira_key(1, c->name), k);
        for (uint64_t e = 0; e < bytes / size; e++) /* one line of values, again and again */
            if (e < 65536)
                test_store(image + e * size, t[k].dtype, draw(c, k, &rng));
            else
                memcpy(image + e * size, image + e % 65536 * size, size);
        for (uint32_t set = 0; set < SETS && status == AIRA_OK; set++) {
            uint64_t at = t[set * (c->n_in + c->n_out) + k].offset;
            status = device->table->upload(device->self, buffer, at, image, bytes);
        }
        free(image);
    }
    return status;
}

/* Seconds of one operation, or a negative number with device->failure set. */
static double measure(test_device *device, const bench_case *c, uint64_t *moved) {
    aira_plan_tensor t[SETS * MOST];
    uint32_t ids[SETS * MOST], n = c->n_in + c->n_out;
    uint64_t at = 0;
    aira_plan_step *steps = calloc(c->repeat, sizeof *steps);
    for (uint32_t set = 0; set < SETS; set++) {
        describe(c, t + set * n);
        for (uint32_t k = set * n; k < (set + 1) * n; k++) {
            ids[k] = k;
            t[k].offset = at;
            at += (bytes_of(&t[k]) + 255) / 256 * 256;
        }
    }
    *moved = 0;
    for (uint32_t k = 0; k < n; k++) *moved += bytes_of(&t[k]);
    static const int64_t zero[1] = {0};
    for (uint32_t r = 0; r < c->repeat; r++) {
        steps[r] = (aira_plan_step){
            .size = sizeof *steps, .op = c->op, .n_in = c->n_in, .n_out = c->n_out, .copies = 1};
        steps[r].in = ids + r % SETS * n;
        steps[r].out = steps[r].in + c->n_in;
        steps[r].i = zero;
        steps[r].n_i = c->op == AIRA_OP_GROUPED_MATMUL;
    }
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = SETS * n, .n_steps = c->repeat, .tensors = t};
    plan.steps = steps;
    double result = timed_plan(device, plan, at, fill, c, RUNS) / c->repeat;
    free(steps);
    return result;
}

#define V(...) \
    { {__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), 0 }
#define NONE \
    { {0}, 0, 0 }
#define RATES (1u << 2 | 1u << 5)
#define SCAN_IN(b, t, c, n) V(b, t, c), V(b, t, c), V(c, n), V(b, t, n), V(b, t, n), V(c), V(b, t, c)
#define SCAN(text, r, b, t, c, n)                                                                                \
    {text, AIRA_OP_SELECTIVE_SCAN, 6, 1, {SCAN_IN(b, t, c, n)}, V(b, t, c), RATES, 0, r, 6.0 * b * t * c * n}, { \
        text " backward", AIRA_OP_SELECTIVE_SCAN_BACKWARD, 7, 6, {SCAN_IN(b, t, c, n)}, NONE, RATES, 0, r,       \
            20.0 * b *t *c *n                                                                                    \
    }
#define SSD_IN(b, t, h, p, g, n) V(b, t, h, p), V(b, t, h), V(h), V(b, t, g, n), V(b, t, g, n), V(h), V(b, t, h, p)
/* half of the chunk's square, 128 times at most; per head and time */
#define HALF(t) ((t) < 128 ? (t) : 128)
#define SSD(text, r, b, t, h, p, g, n)                                                                           \
    {text,                                                                                                       \
     AIRA_OP_SSD,                                                                                                \
     6,                                                                                                          \
     1,                                                                                                          \
     {SSD_IN(b, t, h, p, g, n)},                                                                                 \
     V(b, t, h, p),                                                                                              \
     RATES,                                                                                                      \
     0,                                                                                                          \
     r,                                                                                                          \
     1.0 * b * t * HALF(t) * (g * n + h * 1.0 * p) + ((t) > 128 ? 4.0 * b * t * h * 1.0 * p * n : 0)},           \
    {                                                                                                            \
        text " backward", AIRA_OP_SSD_BACKWARD, 7, 6, {SSD_IN(b, t, h, p, g, n)}, NONE, RATES, 0, r,             \
            1.0 * b *t *HALF(t) * (3.0 * g * n + h * 2.0 * p) + ((t) > 128 ? 12.0 * b * t * h * 1.0 * p * n : 0) \
    }
#define CONV(text, r, b, t, c)                                                                                    \
    {text, AIRA_OP_CONV1D_CAUSAL, 3, 1, {V(b, t, c), V(c, 4), V(c)}, V(b, t, c), 0, 0, r, 8.0 * b * t * c}, {     \
        text " backward", AIRA_OP_CONV1D_CAUSAL_BACKWARD, 3, 3, {V(b, t, c), V(c, 4), V(b, t, c)}, NONE, 0, 0, r, \
            16.0 * b *t *c                                                                                        \
    }
#define FFT(text, r, b, t, c)                                                                                  \
    {text, AIRA_OP_FFT_CONV, 2, 1, {V(b, t, c), V(c, t)}, V(b, t, c), 0, 0, r, 0}, {                           \
        text " backward", AIRA_OP_FFT_CONV_BACKWARD, 3, 2, {V(b, t, c), V(c, t), V(b, t, c)}, NONE, 0, 0, r, 0 \
    }
#define GROUPED(text, r, n, k, m, e)                                                                               \
    {text, AIRA_OP_GROUPED_MATMUL, 3, 1, {V(n, k), V(e, k, m), V(e)}, V(n, m), 0, 2, r, 2.0 * n * k * m}, {        \
        text " weights", AIRA_OP_GROUPED_WGRAD, 3, 1, {V(n, k), V(n, m), V(e)}, V(e, k, m), 0, 2, r, 2.0 * n *k *m \
    }

static const bench_case cases[] = {
    CONV("conv 128x128x256", 60, 128, 128, 256),
    CONV("conv 128x128x128", 60, 128, 128, 128),
    CONV("conv 4x4096x4096", 6, 4, 4096, 4096),
    SCAN("scan 128x128x256 n4", 60, 128, 128, 256, 4),
    SCAN("scan 128x32x256 n4", 60, 128, 32, 256, 4),
    SCAN("scan 4x4096x4096 n16", 3, 4, 4096, 4096, 16),
    SSD("ssd 128x128 4 heads n128", 60, 128, 128, 4, 64, 1, 128),
    SSD("ssd 128x128 4 heads n64", 60, 128, 128, 4, 64, 1, 64),
    SSD("ssd 128x32 4 heads n128", 60, 128, 32, 4, 64, 1, 128),
    SSD("ssd 4x4096 64 heads n128", 6, 4, 4096, 64, 64, 1, 128),
    SSD("ssd 4x4096 32 heads p128 n128", 6, 4, 4096, 32, 128, 1, 128),
    FFT("fft 32x1024x256", 6, 32, 1024, 256),
    FFT("fft 8x4096x256", 6, 8, 4096, 256),
    GROUPED("grouped 16384x128x512 8", 30, 16384, 128, 512, 8),
};

int main(int argc, char **argv) {
    test_device device;
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR"), *only = NULL;
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : "build");
    for (int k = 1; k + 1 < argc; k += 2) {
        if (!strcmp(argv[k], "--device")) snprintf(path, sizeof path, "%s", argv[k + 1]);
        if (!strcmp(argv[k], "--only")) only = argv[k + 1];
    }
    if (!test_device_open(&device, path, 1, 0)) {
        printf("no cuda device: %s\n", device.failure);
        return 1;
    }
    printf("%-36s %10s %10s %8s %8s\n", "operation, bf16", "us", "MB", "GB/s", "TFLOP/s");
    int failed = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint64_t bytes = 0;
        if (only && !strstr(cases[k].name, only)) continue;
        double seconds = measure(&device, &cases[k], &bytes);
        failed |= seconds < 0;
        if (seconds < 0)
            printf("%-36s failed: %s\n", cases[k].name, device.failure);
        else
            printf("%-36s %10.1f %10.1f %8.0f %8.1f\n", cases[k].name, seconds * 1e6, (double)bytes * 1e-6,
                   (double)bytes * 1e-9 / seconds, cases[k].work * 1e-12 / seconds);
        fflush(stdout);
    }
    test_device_close(&device);
    return failed;
}
