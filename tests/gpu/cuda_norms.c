/* cuda_norms.c - norms of wide bf16 rows on the cuda device against sums in double.
 *
 *     gpu_cuda_norms [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * RMS norms forward, their gradient, and that with a residual added behind it, for widths around those at which another
 * kernel begins, and few and many rows; results are poisoned, and tensors lie at multiples of 16 bytes or of 8 alone,
 * which must give the same bits. Exit status 0: all within bounds; 1: not; 77: no GPU here.
 */
#include "../unit/device_harness.h"

enum { X, W, G, RESIDUAL, Y, DX, DW, SUM, N_TENSORS };

static int failures, checks;

typedef struct rows {
    int64_t n, width;
    double *v[N_TENSORS]; /* given, and results as computed in double */
    int64_t count[N_TENSORS];
} rows;

static uint32_t type_of(int k) { return k == W || k == DW ? AIRA_F32 : AIRA_BF16; }

static void compute(rows *r) {
    memset(r->v[DW], 0, (size_t)r->width * sizeof(double));
    for (int64_t row = 0; row < r->n; row++) {
        const double *x = r->v[X] + row * r->width, *g = r->v[G] + row * r->width;
        double squares = 0, dot = 0;
        for (int64_t c = 0; c < r->width; c++) squares += x[c] * x[c], dot += r->v[W][c] * g[c] * x[c];
        double s = 1 / sqrt(squares / (double)r->width + 1e-5), pull = dot * s * s / (double)r->width;
        for (int64_t c = 0; c < r->width; c++) {
            int64_t at = row * r->width + c;
            r->v[Y][at] = x[c] * s * r->v[W][c];
            r->v[DX][at] = s * (r->v[W][c] * g[c] - x[c] * pull);
            r->v[SUM][at] = r->v[DX][at] + r->v[RESIDUAL][at];
            r->v[DW][c] += g[c] * x[c] * s;
        }
    }
}

/* The three calls over one buffer; shift: bytes that tensors lie behind a multiple of 64. NULL, or what went wrong. */
static const char *run(test_device *device, const rows *r, uint64_t shift, bool adds, char *image, uint64_t *offsets,
                       uint64_t bytes) {
    aira_plan_tensor table[N_TENSORS];
    static const uint32_t id[N_TENSORS] = {X, W, G, RESIDUAL, Y, DX, DW, SUM};
    const uint32_t forward_in[] = {X, W}, back_in[] = {X, W, G}, back_out[] = {DX, DW}, add_in[] = {DX, RESIDUAL};
    const double eps[] = {1e-5};
    aira_plan_step steps[3] = {
        {.op = AIRA_OP_RMS_NORM, .n_in = 2, .n_out = 1, .in = forward_in, .out = &id[Y], .f = eps, .n_f = 1},
        {.op = AIRA_OP_RMS_NORM_BACKWARD, .n_in = 3, .n_out = 2, .in = back_in, .out = back_out, .f = eps, .n_f = 1},
        {.op = AIRA_OP_ADD, .n_in = 2, .n_out = 1, .in = add_in, .out = &id[SUM]}};
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = N_TENSORS, .tensors = table, .steps = steps};
    for (int k = 0; k < 3; k++) steps[k].size = sizeof *steps, steps[k].copies = 1;
    for (int k = 0; k < N_TENSORS; k++) {
        bool row = k == W || k == DW;
        table[k] = (aira_plan_tensor){.size = sizeof *table, .dtype = type_of(k), .copies = 1, .offset = offsets[k]};
        table[k].shape = row ? SHAPE(r->width) : SHAPE(r->n, r->width);
        table[k].storage = AIRA_STORE_IO;
        if (k == DX && adds) table[k].storage = AIRA_STORE_ARENA, table[k].offset = shift;
    }
    plan.n_steps = adds ? 3 : 2;
    plan.tensor_stride = sizeof *table;
    plan.step_stride = sizeof *steps;
    plan.block_stride = sizeof(aira_plan_block);
    plan.bytes[AIRA_STORE_IO] = bytes;
    plan.bytes[AIRA_STORE_ARENA] = (uint64_t)r->count[DX] * 2 + 64;
    void *buffers[AIRA_N_BUFFERS] = {NULL, NULL, NULL}, *program = NULL;
    const aira_device *t = device->table;
    const char *why = NULL;
    if (t->buffer_create(device->self, bytes, &buffers[AIRA_STORE_IO]) != AIRA_OK ||
        t->buffer_create(device->self, plan.bytes[AIRA_STORE_ARENA], &buffers[AIRA_STORE_ARENA]) != AIRA_OK ||
        t->buffer_create(device->self, 64, &buffers[AIRA_STORE_PERSISTENT]) != AIRA_OK ||
        t->upload(device->self, buffers[AIRA_STORE_IO], 0, image, bytes) != AIRA_OK ||
        t->compile(device->self, &plan, &program) != AIRA_OK || t->run(device->self, program, buffers, 0) != AIRA_OK ||
        t->download(device->self, buffers[AIRA_STORE_IO], 0, image, bytes) != AIRA_OK)
        why = device->failure;
    if (program) t->program_destroy(device->self, program);
    for (uint32_t b = 0; b < AIRA_N_BUFFERS; b++) t->buffer_destroy(device->self, buffers[b]);
    return why;
}

static void check(const rows *r, int k, const char *image, const char *what) {
    double off = 0, all = 0, limit = type_of(k) == AIRA_F32 ? 1e-5 : 1e-2;
    for (int64_t e = 0; e < r->count[k]; e++) {
        double is = test_load(image + (size_t)e * test_bytes(type_of(k)), type_of(k)), be = r->v[k][e];
        off += (is - be) * (is - be);
        all += be * be;
    }
    checks++;
    if (sqrt(off) <= limit * sqrt(all)) return; /* NaN is not */
    failures++;
    printf("FAILED %lld rows of %lld, %s: error %.2e\n", (long long)r->n, (long long)r->width, what, sqrt(off / all));
}

static void try_rows(test_device *device, int64_t n, int64_t width) {
    static const char *const names[] = {"x", "w", "g", "residual", "forward", "dx", "dw", "dx + residual"};
    rows r = {.n = n, .width = width};
    aira_rng rng = aira_rng_make(aira_key((uint64_t)(n * 8192 + width), "norms"), 0);
    for (int k = 0; k < N_TENSORS; k++) {
        r.count[k] = k == W || k == DW ? width : n * width;
        r.v[k] = calloc((size_t)r.count[k], sizeof(double));
        for (int64_t e = 0; k <= RESIDUAL && e < r.count[k]; e++)
            r.v[k][e] = test_rounded((k == W) + (k == W ? 0.3 : 1) * aira_rng_normal(&rng), type_of(k));
    }
    compute(&r);
    char *first[2] = {NULL, NULL}; /* results of aligned tensors, by `adds` */
    for (int pass = 0; pass < 4; pass++) {
        uint64_t shift = pass < 2 ? 0 : 8, at = 0, offsets[N_TENSORS];
        bool adds = pass % 2;
        for (int k = 0; k < N_TENSORS; k++) { /* w and dw in fours of fp32, always */
            offsets[k] = at + (type_of(k) == AIRA_F32 ? 0 : shift);
            at += ((uint64_t)r.count[k] * test_bytes(type_of(k)) + 127) / 64 * 64;
        }
        char *image = malloc(at);
        memset(image, 0xff, at);
        for (int k = 0; k <= RESIDUAL; k++)
            for (int64_t e = 0; e < r.count[k]; e++)
                test_store(image + offsets[k] + (size_t)e * test_bytes(type_of(k)), type_of(k), r.v[k][e]);
        const char *why = run(device, &r, shift, adds, image, offsets, at);
        if (why) {
            failures++;
            printf("FAILED %lld rows of %lld: %s\n", (long long)n, (long long)width, why);
            free(image);
            continue;
        }
        for (int k = Y; k < N_TENSORS; k++) {
            if (k == (adds ? DX : SUM)) continue;
            check(&r, k, image + offsets[k], names[k]);
            uint64_t own = (uint64_t)r.count[k] * test_bytes(type_of(k));
            if (shift && first[adds] &&
                memcmp(first[adds] + offsets[k] - (type_of(k) == AIRA_F32 ? 0 : shift), image + offsets[k], own)) {
                failures++;
                printf("FAILED %lld rows of %lld, %s: other bits at another place\n", (long long)n, (long long)width,
                       names[k]);
            }
        }
        if (!shift)
            first[adds] = image;
        else
            free(image);
    }
    free(first[0]);
    free(first[1]);
    for (int k = 0; k < N_TENSORS; k++) free(r.v[k]);
}

int main(int argc, char **argv) {
    static const int64_t widths[] = {1016, 1028, 1032, 1536, 2040, 2048, 2056, 3072, 4096, 4104, 8184, 8192};
    static const int64_t counts[] = {1, 5, 16, 17, 163, 16391}; /* many rows: narrow ones alone */
    test_device device;
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    if (!test_device_open(&device, argc > 1 ? argv[1] : path, 1, 0)) {
        printf("skipped: %s\n", device.failure);
        return 77;
    }
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
            if (counts[k] < 1000 || widths[w] == 1032 || widths[w] == 3072) try_rows(&device, counts[k], widths[w]);
    printf("%d results compared, %d failed\n", checks, failures);
    test_device_close(&device);
    return failures ? 1 : 0;
}
