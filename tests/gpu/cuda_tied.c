/* cuda_tied.c - the gradient of an embedding that is the head's weights too, on the cuda device: rows are added to the
 * other gradient in its place, with the bits of a scatter and a sum.
 *
 *     gpu_cuda_tied [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * A plan makes a tensor, scatters rows, adds both, and stores half of the sum; on a device that merges steps and on one
 * that does not, for few and many rows and indices of which some name the same row. Exit status 0: all bits agree, and
 * they are near sums in double; 1: not; 77: no GPU here.
 */
#include "../unit/device_harness.h"

enum { INDEX, ROWS, GIVEN, HALF, HEAD, SCATTERED, SUM, OUT, N_TENSORS };

static int failures, checks;

static const char *run(test_device *device, test_tensor *t) {
    static const uint32_t id[N_TENSORS] = {INDEX, ROWS, GIVEN, HALF, HEAD, SCATTERED, SUM, OUT};
    static const uint32_t scatter[] = {INDEX, ROWS}, sum[] = {SCATTERED, HEAD}, half[] = {SUM, HALF};
    aira_plan_step steps[4] = {{.op = AIRA_OP_NEG, .n_in = 1, .in = &id[GIVEN], .out = &id[HEAD]},
                               {.op = AIRA_OP_SCATTER_ADD, .n_in = 2, .in = scatter, .out = &id[SCATTERED]},
                               {.op = AIRA_OP_ADD, .n_in = 2, .in = sum, .out = &id[SUM]},
                               {.op = AIRA_OP_MUL, .n_in = 2, .in = half, .out = &id[OUT]}};
    for (int k = 0; k < 4; k++) {
        steps[k].size = sizeof *steps;
        steps[k].copies = steps[k].n_out = 1;
    }
    return test_run(device, t, N_TENSORS, steps, 4, 0);
}

static void complain(const test_tensor *t, const char *what) {
    failures++;
    printf("FAILED %lld rows into %lld of %lld: %s\n", (long long)t[INDEX].shape.dims[0],
           (long long)t[OUT].shape.dims[0], (long long)t[OUT].shape.dims[1], what);
}

/* spread: how many rows the indices name at most. */
static void try_shape(test_device *devices, int64_t n, int64_t v_n, int64_t width, int64_t spread, uint32_t dtype) {
    test_tensor t[N_TENSORS];
    aira_rng rng = aira_rng_make(aira_key((uint64_t)(n + v_n * 3 + width), "tied"), dtype);
    for (int k = 0; k < N_TENSORS; k++) {
        t[k] = (test_tensor){.shape = SHAPE(v_n, width), .dtype = AIRA_F32, .copies = 1};
        if (k == INDEX) t[k].shape = SHAPE(n), t[k].dtype = AIRA_I32;
        if (k == ROWS) t[k].shape = SHAPE(n, width), t[k].dtype = dtype;
        if (k == HALF) t[k].shape = SCALAR_SHAPE;
        t[k].given = k < HEAD;
        t[k].inner = k >= HEAD && k < OUT;
        t[k].v = calloc((size_t)test_elements(&t[k]), sizeof(double));
        for (int64_t e = 0; k < HEAD && e < test_elements(&t[k]); e++)
            t[k].v[e] = k == HALF    ? 0.5
                        : k == INDEX ? (double)(aira_rng_below(&rng, (uint32_t)spread) * (uint64_t)(v_n / spread))
                                     : test_rounded(aira_rng_normal(&rng), t[k].dtype);
    }
    double *be = calloc((size_t)(v_n * width), sizeof *be), *first = calloc((size_t)(v_n * width), sizeof *first);
    for (int64_t e = 0; e < v_n * width; e++) be[e] = -t[GIVEN].v[e] / 2;
    for (int64_t k = 0; k < n; k++)
        for (int64_t c = 0; c < width; c++) be[(int64_t)t[INDEX].v[k] * width + c] += t[ROWS].v[k * width + c] / 2;
    for (int d = 0; d < 2; d++) {
        const char *why = run(&devices[d], t);
        double off = 0, all = 0;
        checks++;
        if (why) complain(t, why);
        for (int64_t e = 0; e < v_n * width; e++) off += pow(t[OUT].v[e] - be[e], 2), all += be[e] * be[e];
        if (!why && !(sqrt(off) <= 1e-5 * sqrt(all))) complain(t, d ? "not merged, it is another sum" : "another sum");
        if (d && memcmp(first, t[OUT].v, (size_t)(v_n * width) * sizeof *first)) complain(t, "other bits than apart");
        memcpy(first, t[OUT].v, (size_t)(v_n * width) * sizeof *first);
    }
    free(be);
    free(first);
    for (int k = 0; k < N_TENSORS; k++) free(t[k].v);
}

int main(int argc, char **argv) {
    static test_device devices[2];
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    for (int d = 0; d < 2; d++) {
        const test_key keys[] = {{"merge", d == 0}};
        if (test_device_open_keys(&devices[d], argc > 1 ? argv[1] : path, keys, 1)) continue;
        printf("skipped: %s\n", devices[d].failure);
        return 77;
    }
    for (int k = 0; k < 2; k++) {
        uint32_t dtype = k ? AIRA_BF16 : AIRA_F32;
        try_shape(devices, 256, 65, 4, 65, dtype);
        try_shape(devices, 257, 999, 36, 500, dtype);
        try_shape(devices, 1000, 300, 1028, 150, dtype);
        try_shape(devices, 1000, 300, 2048, 2, dtype); /* lists longer than a block sorts */
        try_shape(devices, 700, 128, 1024, 1, dtype);
        try_shape(devices, 4096, 8200, 520, 8200, dtype);
        try_shape(devices, 300, 33000, 12, 33000, dtype);
    }
    printf("%d runs, %d failed\n", checks, failures);
    for (int d = 0; d < 2; d++) test_device_close(&devices[d]);
    return failures ? 1 : 0;
}
