/* cuda_narrow.c - gradients of large weights on the cuda device: bf16 where only their sum of squares and an update
 * read them, else fp32.
 *
 *     gpu_cuda_narrow [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * A plan multiplies two bf16 matrices into an fp32 gradient, adds up its squares, and stores half of it. Three ways: a
 * device that merges steps, the gradient in the arena: what is stored must be half of a bf16 number near the sum in
 * fp64, the sum of squares that of these numbers, and a second run must give the same bits; the gradient is an output,
 * or the device does not merge: some of what is stored must be no bf16 number. Exit status 0: all is so; 1: not; 77: no
 * GPU here.
 */
#include "../unit/device_harness.h"

enum { ROWS = 4096, N = 2056, K = 4104, SAMPLES = 300 }; /* 69 GFLOP */
enum { A, B, HALF, GRADIENT, SQUARES, TOTAL, UPDATE, N_TENSORS };

static int failures;

static void expect(bool good, const char *what, const char *detail) {
    if (good) return;
    failures++;
    printf("FAILED %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
}

static const char *run(test_device *device, test_tensor *t) {
    static const uint32_t id[N_TENSORS] = {A, B, HALF, GRADIENT, SQUARES, TOTAL, UPDATE};
    static const uint32_t product[] = {A, B}, square[] = {GRADIENT, GRADIENT}, update[] = {GRADIENT, HALF};
    static const int64_t turned[] = {1, 0}, all[] = {3, 0};
    const aira_plan_step steps[4] = {
        {.op = AIRA_OP_MATMUL, .n_in = 2, .in = product, .out = &id[GRADIENT], .i = turned, .n_i = 2},
        {.op = AIRA_OP_MUL, .n_in = 2, .in = square, .out = &id[SQUARES]},
        {.op = AIRA_OP_SUM, .n_in = 1, .in = &id[SQUARES], .out = &id[TOTAL], .i = all, .n_i = 2},
        {.op = AIRA_OP_MUL, .n_in = 2, .in = update, .out = &id[UPDATE]}};
    aira_plan_step whole[4];
    for (int k = 0; k < 4; k++) {
        whole[k] = steps[k];
        whole[k].size = sizeof *whole;
        whole[k].copies = whole[k].n_out = 1;
    }
    return test_run(device, t, N_TENSORS, whole, 4, 0);
}

static bool is_bf16(double v) { return test_rounded(2 * v, AIRA_BF16) - 2 * v == 0; }

/* Is what was stored half of the product, as far as its type tells? */
static void compare(const test_tensor *t, const char *name, double limit) {
    double off = 0, size = 0, squares = 0;
    aira_rng rng = aira_rng_make(aira_key(5, "samples"), 0);
    for (int s = 0; s < SAMPLES; s++) {
        int64_t n = (int64_t)aira_rng_below(&rng, N), k = (int64_t)aira_rng_below(&rng, K);
        double sum = 0;
        for (int64_t r = 0; r < ROWS; r++) sum += t[A].v[r * N + n] * t[B].v[r * K + k];
        off += pow(2 * t[UPDATE].v[n * K + k] - sum, 2);
        size += sum * sum;
    }
    expect(sqrt(off) <= limit * sqrt(size), name, "the gradient is another");
    for (int64_t e = 0; e < (int64_t)N * K; e++) squares += 4 * t[UPDATE].v[e] * t[UPDATE].v[e];
    expect(fabs(t[TOTAL].v[0] - squares) <= 1e-5 * squares, name, "the sum of squares is not that of what is stored");
    printf("%s: error %.1e, sum of squares %.1e off\n", name, sqrt(off / size), fabs(t[TOTAL].v[0] / squares - 1));
}

int main(int argc, char **argv) {
    static test_tensor t[N_TENSORS];
    static const char *const names[] = {"narrow", "seen by others", "not merged"};
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    t[A] = (test_tensor){.shape = SHAPE(ROWS, N), .dtype = AIRA_BF16, .given = true};
    t[B] = (test_tensor){.shape = SHAPE(ROWS, K), .dtype = AIRA_BF16, .given = true};
    t[HALF] = (test_tensor){.shape = SCALAR_SHAPE, .dtype = AIRA_F32, .given = true};
    t[GRADIENT] = t[SQUARES] = t[UPDATE] = (test_tensor){.shape = SHAPE(N, K), .dtype = AIRA_F32};
    t[TOTAL] = (test_tensor){.shape = SCALAR_SHAPE, .dtype = AIRA_F32};
    t[SQUARES].inner = true;
    for (int k = 0; k < N_TENSORS; k++) {
        aira_rng rng = aira_rng_make(aira_key(4, "narrow"), (uint64_t)k);
        t[k].copies = 1;
        t[k].v = calloc((size_t)test_elements(&t[k]), sizeof(double));
        for (int64_t e = 0; k < HALF && e < test_elements(&t[k]); e++)
            t[k].v[e] = test_rounded(aira_rng_normal(&rng), AIRA_BF16);
    }
    t[HALF].v[0] = 0.5;
    for (int way = 0; way < 3; way++) {
        const test_key keys[] = {{"merge", way < 2}};
        test_device device;
        t[GRADIENT].inner = way != 1;
        if (!test_device_open_keys(&device, argc > 1 ? argv[1] : path, keys, 1)) {
            printf("skipped: %s\n", device.failure);
            return 77;
        }
        const char *why = run(&device, t);
        expect(!why, names[way], why);
        int64_t narrow = 0, n = test_elements(&t[UPDATE]);
        for (int64_t e = 0; e < n; e++) narrow += is_bf16(t[UPDATE].v[e]);
        if (way == 0) expect(narrow == n, names[way], "not all gradients are bf16");
        if (way > 0) expect(narrow < n / 2, names[way], "the gradients are bf16");
        if (!why) compare(t, names[way], way == 0 ? 4e-3 : 1e-4);
        double *first = malloc((size_t)n * sizeof *first), total = t[TOTAL].v[0];
        memcpy(first, t[UPDATE].v, (size_t)n * sizeof *first);
        why = run(&device, t);
        expect(!why && !memcmp(first, t[UPDATE].v, (size_t)n * sizeof *first) && !memcmp(&total, t[TOTAL].v, 8),
               names[way], "a second run gives other bits");
        free(first);
        test_device_close(&device);
    }
    for (int k = 0; k < N_TENSORS; k++) free(t[k].v);
    printf("%d failed\n", failures);
    return failures ? 1 : 0;
}
