/* cuda_pairs.c - two gradients of weights as one product on the cuda device give what the two products give.
 *
 *     gpu_cuda_pairs [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * Two products write dY in the order and the places that are given, two more multiply them by X into results side by
 * side, and one reads a dY besides. A device that merges steps and one that does not run the plan on the same numbers,
 * twice each, into poisoned results. Exit status 0: equal up to the order of sums, and both runs have the same bits; 1:
 * not; 77: no GPU here.
 */
#include "../unit/device_harness.h"

enum { ROWS = 16399, WIDTH = 512, DEPTH = 264, INNER = 256, FEW = 8 }; /* large enough for fuse_pairs.c */
enum { X, G, U, V, Q, N_GIVEN, A = N_GIVEN, B, DA, DB, Z, N_TENSORS };

static int failures, checks;

static const uint32_t id[N_TENSORS] = {X, G, U, V, Q, A, B, DA, DB, Z};
static const uint32_t a_in[2] = {G, U}, b_in[2] = {G, V}, da_in[2] = {A, X}, db_in[2] = {B, X}, z_in[2] = {B, Q};
static const int64_t straight[2] = {0, 1}, turned[2] = {1, 0}, plain[2] = {0, 0};
#define STEP(inputs, result, how)                                                                               \
    (aira_plan_step) {                                                                                          \
        .size = sizeof(aira_plan_step), .op = AIRA_OP_MATMUL, .copies = 1, .n_in = 2, .in = inputs, .n_out = 1, \
        .out = &id[result], .n_i = 2, .i = how                                                                  \
    }

static uint64_t place(aira_plan_tensor *t, uint32_t storage, uint32_t dtype, aira_shape shape, uint64_t at) {
    *t = (aira_plan_tensor){.size = sizeof *t, .dtype = dtype, .storage = storage, .copies = 1, .offset = at};
    t->shape = shape;
    return at + (uint64_t)(shape.dims[0] * shape.dims[1]) * test_bytes(dtype);
}

static uint64_t rounded(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

/* swapped: bit 0: dY lie the other way round, bit 1: the results do. */
static aira_plan make_plan(aira_plan_tensor *t, const aira_plan_step *steps, int swapped, uint32_t dtype) {
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = N_TENSORS, .tensors = t};
    uint64_t at = rounded(place(&t[X], AIRA_STORE_IO, AIRA_BF16, SHAPE(ROWS, DEPTH), 0));
    at = rounded(place(&t[G], AIRA_STORE_IO, AIRA_BF16, SHAPE(ROWS, INNER), at));
    at = rounded(place(&t[U], AIRA_STORE_IO, AIRA_BF16, SHAPE(WIDTH, INNER), at));
    at = rounded(place(&t[V], AIRA_STORE_IO, AIRA_BF16, SHAPE(WIDTH, INNER), at));
    at = rounded(place(&t[Q], AIRA_STORE_IO, AIRA_BF16, SHAPE(WIDTH, FEW), at));
    at = place(&t[swapped & 2 ? DB : DA], AIRA_STORE_IO, dtype, SHAPE(WIDTH, DEPTH), at);
    at = rounded(place(&t[swapped & 2 ? DA : DB], AIRA_STORE_IO, dtype, SHAPE(WIDTH, DEPTH), at));
    plan.bytes[AIRA_STORE_IO] = place(&t[Z], AIRA_STORE_IO, AIRA_BF16, SHAPE(ROWS, FEW), at);
    at = rounded(place(&t[swapped & 1 ? B : A], AIRA_STORE_ARENA, AIRA_BF16, SHAPE(ROWS, WIDTH), 0)) + 256;
    plan.bytes[AIRA_STORE_ARENA] = place(&t[swapped & 1 ? A : B], AIRA_STORE_ARENA, AIRA_BF16, SHAPE(ROWS, WIDTH), at);
    plan.bytes[AIRA_STORE_PERSISTENT] = 256;
    plan.tensor_stride = sizeof(aira_plan_tensor);
    plan.step_stride = sizeof(aira_plan_step);
    plan.block_stride = sizeof(aira_plan_block);
    plan.steps = steps;
    plan.n_steps = 5;
    return plan;
}

/* The results of one run: all bytes of the buffer for input and output. NULL: it failed. */
static char *run(test_device *d, const aira_plan *plan, void *program, void **buffers, const char *image) {
    uint64_t bytes = plan->bytes[AIRA_STORE_IO];
    char *after = malloc(bytes);
    bool good = d->table->upload(d->self, buffers[AIRA_STORE_IO], 0, image, bytes) == AIRA_OK &&
                d->table->run(d->self, program, buffers, 0) == AIRA_OK &&
                d->table->download(d->self, buffers[AIRA_STORE_IO], 0, after, bytes) == AIRA_OK;
    if (good) return after;
    free(after);
    return NULL;
}

/* Two runs; the second's results. */
static char *run_twice(test_device *d, const aira_plan *plan, const char *image) {
    void *buffers[AIRA_N_BUFFERS] = {NULL}, *program = NULL;
    char *results[2] = {NULL, NULL};
    bool good = d->table->compile(d->self, plan, &program) == AIRA_OK;
    for (uint32_t s = 0; s < AIRA_N_BUFFERS && good; s++)
        good = d->table->buffer_create(d->self, plan->bytes[s] + 256, &buffers[s]) == AIRA_OK;
    for (int k = 0; k < 2 && good; k++) good = (results[k] = run(d, plan, program, buffers, image)) != NULL;
    if (!good) printf("FAILED: %s\n", d->failure);
    if (good && memcmp(results[0], results[1], plan->bytes[AIRA_STORE_IO])) {
        printf("FAILED: the second run has other bits\n");
        good = false;
    }
    failures += !good;
    for (uint32_t s = 0; s < AIRA_N_BUFFERS; s++)
        if (buffers[s]) d->table->buffer_destroy(d->self, buffers[s]);
    if (program) d->table->program_destroy(d->self, program);
    free(results[0]);
    return results[1];
}

static double value(const char *image, const aira_plan_tensor *t, int64_t e) {
    return test_load(image + t->offset + (uint64_t)e * test_bytes(t->dtype), t->dtype);
}

static void compare(const aira_plan_tensor *t, const char *one, const char *two, const char *name) {
    double distance = 0, norm = 0, bound = t->dtype == AIRA_F32 ? 1e-5 : 1e-2;
    int64_t n = t->shape.dims[0] * t->shape.dims[1];
    for (int64_t e = 0; e < n; e++) {
        double x = value(one, t, e), y = value(two, t, e);
        distance += (x - y) * (x - y);
        norm += y * y;
    }
    double error = sqrt(distance / norm);
    bool good = error <= bound; /* false where a result is poison still */
    checks++;
    failures += !good;
    printf("%s %s: relative distance %.2e of %.0e\n", good ? "ok" : "FAILED", name, error, bound);
}

static void try_plan(test_device *devices, int swapped, uint32_t dtype) {
    const aira_plan_step steps[5] = {STEP(a_in, A, straight), STEP(b_in, B, straight), STEP(z_in, Z, plain),
                                     STEP(da_in, DA, turned), STEP(db_in, DB, turned)};
    aira_plan_tensor t[N_TENSORS];
    aira_plan plan = make_plan(t, steps, swapped, dtype);
    char *image = malloc(plan.bytes[AIRA_STORE_IO]), *results[2];
    memset(image, 0xff, plan.bytes[AIRA_STORE_IO]); /* not numbers */
    for (uint32_t k = 0; k < N_GIVEN; k++) {
        aira_rng rng = aira_rng_make(aira_key(7, "pairs"), k);
        int64_t n = t[k].shape.dims[0] * t[k].shape.dims[1];
        for (int64_t e = 0; e < n; e++) test_store(image + t[k].offset + 2 * e, AIRA_BF16, aira_rng_normal(&rng));
    }
    for (int d = 0; d < 2; d++) results[d] = run_twice(&devices[d], &plan, image);
    if (results[0] && results[1]) {
        compare(&t[DA], results[0], results[1], "first gradient");
        compare(&t[DB], results[0], results[1], "second gradient");
        compare(&t[Z], results[0], results[1], "other reader");
    }
    for (int d = 0; d < 2; d++) free(results[d]);
    free(image);
}

int main(int argc, char **argv) {
    static test_device devices[2];
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    for (int k = 0; k < 2; k++) {
        const test_key keys[] = {{"merge", k == 0}};
        if (test_device_open_keys(&devices[k], argc > 1 ? argv[1] : path, keys, 1)) continue;
        printf("%s: %s\n", devices[k].self ? "failed" : "skipped", devices[k].failure);
        return devices[k].self ? 1 : 77;
    }
    for (int swapped = 0; swapped < 4; swapped++) try_plan(devices, swapped, swapped % 2 ? AIRA_BF16 : AIRA_F32);
    printf("%d results compared, %d failures\n", checks, failures);
    for (int k = 0; k < 2; k++) test_device_close(&devices[k]);
    return failures != 0;
}
