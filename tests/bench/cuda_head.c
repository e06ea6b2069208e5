/* cuda_head.c - milliseconds of the head with its cross-entropy on the cuda device, at the shapes of large models.
 *
 *     bench_cuda_head [--device PATH/device_cuda.so] [--only TEXT]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * A program holds the operation REPEAT times and is one captured graph; a line gives the median of 9 runs divided by
 * the repetitions, the rate of the products (forward one, backward three), and the rate that they would have to have if
 * the pass over the logits took what its bytes take at 4.3 TB/s.
 */

#include "timed_plan.h"

#define RUNS 9
#define REPEAT 4

typedef struct head_case {
    const char *name;
    int64_t rows, depth, width;
    bool backward;
} head_case;

/* x, w, targets, g; dx, dw, losses. Returns the bytes of all. */
static uint64_t describe(const head_case *c, aira_plan_tensor *t) {
    const aira_shape x = SHAPE(c->rows, c->depth), w = SHAPE(c->width, c->depth), row = SHAPE(c->rows);
    const aira_shape shapes[7] = {x, w, row, row, x, w, row};
    const uint32_t types[7] = {AIRA_BF16, AIRA_BF16, AIRA_I32, AIRA_F32, AIRA_BF16, AIRA_F32, AIRA_F32};
    uint64_t at = 0;
    for (int k = 0; k < 7; k++) {
        t[k] = (aira_plan_tensor){.size = sizeof *t, .copies = 1, .storage = AIRA_STORE_IO, .shape = shapes[k]};
        t[k].dtype = types[k];
        t[k].offset = at;
        at += (bytes_of(&t[k]) + 255) / 256 * 256;
    }
    return at;
}

static aira_status fill(test_device *device, void *buffer, const void *of, const aira_plan_tensor *t) {
    const head_case *c = of;
    aira_status status = AIRA_OK;
    for (int k = 0; k < 4 && !status; k++) {
        uint64_t size = test_bytes(t[k].dtype), n = bytes_of(&t[k]) / size;
        char *image = malloc(n * size);
        aira_rng rng = aira_rng_make(aira_key(1, c->name), (uint64_t)k);
        for (uint64_t e = 0; e < n; e++) { /* values that repeat, but not row by row */
            double value = k == 2 ? (double)aira_rng_below(&rng, (uint32_t)c->width) : aira_rng_normal(&rng);
            if (k == 1) value /= sqrt((double)c->depth);
            if (k == 3) value = 1.0 / (double)c->rows;
            if (e < 1000003)
                test_store(image + e * size, t[k].dtype, value);
            else
                memcpy(image + e * size, image + e % 1000003 * size, size);
        }
        status = device->table->upload(device->self, buffer, t[k].offset, image, n * size);
        free(image);
    }
    return status;
}

/* Seconds of one operation, or a negative number with device->failure set. */
static double measure(test_device *device, const head_case *c) {
    static const uint32_t ids[7] = {0, 1, 2, 3, 4, 5, 6};
    aira_plan_tensor t[7];
    aira_plan_step steps[REPEAT];
    uint64_t bytes = describe(c, t);
    for (int r = 0; r < REPEAT; r++) {
        steps[r] = (aira_plan_step){.size = sizeof *steps, .copies = 1, .in = ids, .out = &ids[c->backward ? 4 : 6]};
        steps[r].op = c->backward ? AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD : AIRA_OP_HEAD_CROSS_ENTROPY;
        steps[r].n_in = c->backward ? 4 : 3;
        steps[r].n_out = c->backward ? 3 : 1;
    }
    aira_plan plan = {
        .size = sizeof plan, .copies = 1, .n_tensors = 7, .n_steps = REPEAT, .tensors = t, .steps = steps};
    double result = timed_plan(device, plan, bytes, fill, c, RUNS) / REPEAT;
    return result;
}

int main(int argc, char **argv) {
    static const head_case cases[] = {
        {"350m", 32768, 1536, 32000, true},          {"1b", 16384, 2048, 32000, true},
        {"1b 128k", 16384, 2048, 128256, true},      {"3b 128k", 8192, 3072, 128256, true},
        {"1b, the loss", 16384, 2048, 32000, false},
    };
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
    printf("%-16s %10s %10s %12s\n", "head, bf16", "ms", "TFLOP/s", "of products");
    int failed = 0;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const head_case *c = &cases[k];
        if (only && !strstr(c->name, only)) continue;
        double seconds = measure(&device, c), logits = (double)c->rows * (double)c->width;
        double work = (c->backward ? 6 : 2) * logits * (double)c->depth, pass = (c->backward ? 4 : 2) * logits / 4.3e12;
        failed |= seconds < 0;
        if (seconds < 0)
            printf("%-16s failed: %s\n", c->name, device.failure);
        else
            printf("%-16s %10.3f %10.0f %12.0f\n", c->name, seconds * 1e3, work * 1e-12 / seconds,
                   work * 1e-12 / (seconds - pass));
        fflush(stdout);
    }
    test_device_close(&device);
    return failed;
}
