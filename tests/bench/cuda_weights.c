/* cuda_weights.c - microseconds of the gradients of a layer's weights and biases on the cuda device.
 *
 *     bench_cuda_weights [--device PATH/device_cuda.so] [--only TEXT]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * A program holds the products of a layer many times over, on operands of several sets in turn, so that nothing stays
 * in the cache; it is one captured graph. A line gives the median of 21 runs divided by the repetitions: with the
 * products of a layer as one launch, and each as a step of its own (cuBLASLt and sums over rows), which is what a plan
 * of several copies gets; then the bytes of operands and results, and what they take at 4.3 TB/s.
 */

#include "timed_plan.h"

#define SETS 4     /* of operands */
#define RUNS 21    /* an odd number */
#define REPEAT 40  /* of the list in a program */
#define PRODUCTS 6 /* of a list at most */

typedef struct layer {
    const char *name;
    int64_t rows;
    int n;
    struct {
        int64_t n, k;
        bool bias, shares; /* shares: X with the product before */
    } products[PRODUCTS];
} layer;

enum { DY, X, DW, DB, EACH };

/* Tensors of all sets; results are the same memory in every set, so that no two repetitions share a launch. */
static uint64_t describe(const layer *l, aira_plan_tensor *t, uint64_t *moved) {
    uint64_t at = 0;
    *moved = 0;
    for (int set = 0; set < SETS; set++)
        for (int p = 0; p < l->n; p++)
            for (int k = 0; k < EACH; k++) {
                aira_plan_tensor *mine = &t[(set * PRODUCTS + p) * EACH + k];
                *mine = (aira_plan_tensor){.size = sizeof *mine, .copies = 1, .storage = AIRA_STORE_IO};
                mine->dtype = k < DW ? AIRA_BF16 : AIRA_F32;
                int64_t n = l->products[p].n, width = l->products[p].k;
                mine->shape = k == DY   ? SHAPE(l->rows, n)
                              : k == X  ? SHAPE(l->rows, width)
                              : k == DW ? SHAPE(n, width)
                                        : SHAPE(n);
                bool old = (k == X && l->products[p].shares) || (k >= DW && set > 0);
                if (old) {
                    mine->offset = k == X ? (mine - EACH)->offset : t[p * EACH + k].offset;
                    continue;
                }
                mine->offset = at;
                at += (bytes_of(mine) + 255) / 256 * 256;
                if (set == 0) *moved += bytes_of(mine);
            }
    return at;
}

static aira_status fill(test_device *device, void *buffer, const void *of, const aira_plan_tensor *t) {
    const layer *l = of;
    static char image[1 << 20];
    aira_rng rng = aira_rng_make(aira_key(1, l->name), 0);
    aira_status status = AIRA_OK;
    for (size_t e = 0; e < sizeof image / 2; e++) test_store(image + 2 * e, AIRA_BF16, aira_rng_normal(&rng));
    for (int k = 0; k < SETS * PRODUCTS * EACH && !status; k++) {
        if (k % EACH >= DW || k / EACH % PRODUCTS >= l->n) continue;
        uint64_t bytes = bytes_of(&t[k]);
        for (uint64_t at = 0; at < bytes && !status; at += sizeof image)
            status = device->table->upload(device->self, buffer, t[k].offset + at, image,
                                           bytes - at < sizeof image ? bytes - at : sizeof image);
    }
    return status;
}

/* Seconds of the list once, or a negative number with device->failure set. apart: every step by itself. */
static double measure(test_device *device, const layer *l, bool apart, uint64_t *moved) {
    static const int64_t turned[2] = {1, 0};
    aira_plan_tensor t[SETS * PRODUCTS * EACH] = {{0}};
    uint32_t ids[SETS * PRODUCTS * EACH];
    aira_plan_step *steps = calloc(REPEAT * 2 * PRODUCTS, sizeof *steps);
    uint64_t bytes = describe(l, t, moved);
    for (uint32_t k = 0; k < SETS * PRODUCTS * EACH; k++) ids[k] = k;
    aira_plan plan = {.size = sizeof plan, .copies = apart ? 2 : 1, .n_tensors = SETS * PRODUCTS * EACH, .tensors = t};
    for (int r = 0; r < REPEAT; r++)
        for (int p = 0; p < l->n; p++) {
            const uint32_t *mine = &ids[(r % SETS * PRODUCTS + p) * EACH];
            aira_plan_step step = {.size = sizeof step, .op = AIRA_OP_MATMUL, .n_in = 2, .n_out = 1, .copies = 1};
            step.in = &mine[DY];
            step.out = &mine[DW];
            step.i = turned;
            step.n_i = 2;
            steps[plan.n_steps++] = step;
            step.op = AIRA_OP_SUM;
            step.n_in = 1;
            step.out = &mine[DB];
            if (l->products[p].bias) steps[plan.n_steps++] = step; /* axis 0 goes: the same attributes */
        }
    plan.steps = steps;
    double result = timed_plan(device, plan, bytes, fill, l, RUNS) / REPEAT;
    free(steps);
    return result;
}

#define ATTENTION(text, r, d)                                                                  \
    {                                                                                          \
        text, r, 4, {                                                                          \
            {d, d, true, false}, {d, d, true, false}, {d, d, true, true}, { d, d, true, true } \
        }                                                                                      \
    }
#define MLP(text, r, d)                                          \
    {                                                            \
        text, r, 2, {                                            \
            {d, 4 * d, false, false}, { 4 * d, d, false, false } \
        }                                                        \
    }

static const layer layers[] = {
    ATTENTION("attention 128, 16384 rows", 16384, 128),
    ATTENTION("attention 128, 4096 rows", 4096, 128),
    ATTENTION("attention 256, 16384 rows", 16384, 256),
    ATTENTION("attention 256, 4096 rows", 4096, 256),
    MLP("mlp 128, 16384 rows", 16384, 128),
    MLP("mlp 128, 4096 rows", 4096, 128),
    MLP("mlp 256, 4096 rows", 4096, 256),
    {"attention and mlp 128, 16384 rows",
     16384,
     6,
     {{128, 128, true, false},
      {128, 128, true, false},
      {128, 128, true, true},
      {128, 128, true, true},
      {128, 512, false, false},
      {512, 128, false, false}}},
    {"mlp 128 and half, 16384 rows",
     16384,
     3,
     {{128, 512, false, false}, {512, 128, false, false}, {128, 512, false, false}}},
    {"mamba 128, 16384 rows", 16384, 3, {{256, 128, false, false}, {256, 128, false, true}, {128, 256, false, false}}},
    {"mamba 128, 4096 rows", 4096, 3, {{256, 128, false, false}, {256, 128, false, true}, {128, 256, false, false}}},
    {"mamba's steps 128, 16384 rows", 16384, 2, {{16, 256, false, false}, {256, 8, false, false}}},
    {"mamba-2 128, 16384 rows",
     16384,
     5,
     {{256, 128, false, false},
      {256, 128, false, true},
      {128, 128, false, true},
      {128, 128, false, true},
      {4, 128, false, true}}},
    {"two of 128 x 128, 16384 rows", 16384, 2, {{128, 128, false, false}, {128, 128, false, false}}},
    {"128 x 128, 16384 rows", 16384, 1, {{128, 128, false, false}}},
    {"128 x 256, 16384 rows", 16384, 1, {{128, 256, false, false}}},
    {"128 x 512, 16384 rows", 16384, 1, {{128, 512, false, false}}},
    {"128 x 128 and bias, 16384 rows", 16384, 1, {{128, 128, true, false}}},
    {"128 x 512 and bias, 16384 rows", 16384, 1, {{128, 512, true, false}}},
    {"512 x 128 and bias, 4096 rows", 4096, 1, {{512, 128, true, false}}},
    {"256 x 512 and bias, 16384 rows", 16384, 1, {{256, 512, true, false}}},
    {"772 x 128 and bias, 16384 rows", 16384, 1, {{772, 128, true, false}}},
    {"16 x 128 and bias, 4096 rows", 4096, 1, {{16, 128, true, false}}},
    {"16 x 128 and bias, 16384 rows", 16384, 1, {{16, 128, true, false}}},
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
        return 77;
    }
    printf("%-34s %10s %10s %8s %10s\n", "gradients of weights, bf16", "us", "apart us", "MB", "floor us");
    int failed = 0;
    for (size_t k = 0; k < sizeof layers / sizeof *layers; k++) {
        uint64_t moved = 0;
        if (only && !strstr(layers[k].name, only)) continue;
        double together = measure(&device, &layers[k], false, &moved);
        double apart = measure(&device, &layers[k], true, &moved);
        failed |= together < 0 || apart < 0;
        if (together < 0 || apart < 0)
            printf("%-34s failed: %s\n", layers[k].name, device.failure);
        else
            printf("%-34s %10.1f %10.1f %8.1f %10.1f\n", layers[k].name, together * 1e6, apart * 1e6,
                   (double)moved * 1e-6, (double)moved / 4.3e6);
        fflush(stdout);
    }
    test_device_close(&device);
    return failed;
}
