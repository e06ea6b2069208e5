/* cuda_kept.c - copies of weights that stay from run to run on the cuda device: the same bits as with casts.
 *
 *     gpu_cuda_kept [CUDA.so]     (default: the plugin of AIRA_BUILD_DIR)
 *
 * One program is a training step in small: it casts W to bf16, multiplies by the copy, and assigns W times a factor.
 * Another program overwrites W. The two run in turn, with uploads of W, of other inputs and new buffers at old
 * addresses between them, on a device that merges steps, and so keeps copies, and on one that does not. Both must give
 * the same bits every time. A third keeps transposed copies as well: it must give the same W, and a product near the
 * others'. Exit status 0: they do; 1: not; 77: no GPU here.
 */
#include "../unit/device_harness.h"

enum { ROWS = 80, WIDTH = 4096 }; /* copies of more than 16 MiB, products of more than one GFLOP */
#define WEIGHTS ((uint64_t)(WIDTH * depth))

static int64_t depth;

enum { W, COPY, X, Y, FACTOR, NEXT, SOURCE, N_TENSORS };

static int failures, checks;

typedef struct bench { /* a device with the two programs */
    test_device device;
    aira_plan_tensor tensors[N_TENSORS];
    aira_plan plans[2];
    void *programs[2], *buffers[AIRA_N_BUFFERS];
    char *y, *w; /* as downloaded last */
} bench;

static const uint32_t id[N_TENSORS] = {W, COPY, X, Y, FACTOR, NEXT, SOURCE};
static const uint32_t product_in[2] = {X, COPY}, scale_in[2] = {W, FACTOR};
static const int64_t zero[1] = {0}, straight[2] = {0, 1}, to_bf16[1] = {AIRA_BF16};
#define STEP(...) ((aira_plan_step){.size = sizeof(aira_plan_step), .copies = 1, .n_out = 1, __VA_ARGS__})

static aira_plan_step inner[2], training[3], overwriting[1];

static void describe_steps(void) {
    inner[0] = STEP(.op = AIRA_OP_MUL, .n_in = 2, .in = scale_in, .out = &id[NEXT]);
    inner[1] = STEP(.op = AIRA_OP_ASSIGN, .n_in = 1, .n_i = 1, .i = zero, .in = &id[NEXT], .out = &id[W]);
    training[0] = STEP(.op = AIRA_OP_CAST, .n_in = 1, .n_i = 1, .i = to_bf16, .in = &id[W], .out = &id[COPY]);
    training[1] = STEP(.op = AIRA_OP_MATMUL, .n_in = 2, .n_i = 2, .i = straight, .in = product_in, .out = &id[Y]);
    training[2] = (aira_plan_step){.size = sizeof *inner, .op = AIRA_OP_CHAIN, .copies = 1};
    training[2].n_chain = 2;
    training[2].chain = inner;
    overwriting[0] = STEP(.op = AIRA_OP_ASSIGN, .n_in = 1, .n_i = 1, .i = zero, .in = &id[SOURCE], .out = &id[W]);
}

static uint64_t place(aira_plan_tensor *t, uint32_t storage, uint32_t dtype, aira_shape shape, uint64_t at) {
    *t = (aira_plan_tensor){.size = sizeof *t, .dtype = dtype, .storage = storage, .copies = 1, .offset = at};
    t->shape = shape;
    uint64_t bytes = test_bytes(dtype);
    for (uint32_t d = 0; d < shape.rank; d++) bytes *= (uint64_t)shape.dims[d];
    return at + (bytes + 255) / 256 * 256;
}

static bool make_buffer(bench *b, uint32_t storage) {
    uint64_t bytes = b->plans[0].bytes[storage];
    return b->device.table->buffer_create(b->device.self, bytes, &b->buffers[storage]) == AIRA_OK;
}

static bool bench_open(bench *b, const char *path, int64_t merge, int64_t turn) {
    const test_key keys[] = {{"merge", merge}, {"turn", turn}};
    *b = (bench){.y = malloc(ROWS * WIDTH * 2), .w = malloc(WEIGHTS * 4)};
    if (!test_device_open_keys(&b->device, path, keys, 2)) return false;
    uint64_t io = place(&b->tensors[X], AIRA_STORE_IO, AIRA_BF16, SHAPE(ROWS, depth), 0);
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = N_TENSORS, .tensors = b->tensors};
    plan.bytes[AIRA_STORE_PERSISTENT] = place(&b->tensors[W], AIRA_STORE_PERSISTENT, AIRA_F32, SHAPE(WIDTH, depth), 0);
    plan.bytes[AIRA_STORE_ARENA] = place(&b->tensors[COPY], AIRA_STORE_ARENA, AIRA_BF16, SHAPE(WIDTH, depth), 0);
    (void)place(&b->tensors[NEXT], AIRA_STORE_CHAIN, AIRA_F32, SHAPE(WIDTH, depth), 0);
    io = place(&b->tensors[Y], AIRA_STORE_IO, AIRA_BF16, SHAPE(ROWS, WIDTH), io);
    io = place(&b->tensors[FACTOR], AIRA_STORE_IO, AIRA_F32, SCALAR_SHAPE, io);
    plan.bytes[AIRA_STORE_IO] = place(&b->tensors[SOURCE], AIRA_STORE_IO, AIRA_F32, SHAPE(WIDTH, depth), io);
    plan.tensor_stride = sizeof(aira_plan_tensor);
    plan.step_stride = sizeof(aira_plan_step);
    plan.block_stride = sizeof(aira_plan_block);
    b->plans[0] = b->plans[1] = plan;
    b->plans[0].steps = training;
    b->plans[0].n_steps = 3;
    b->plans[1].steps = overwriting;
    b->plans[1].n_steps = 1;
    for (uint32_t s = 0; s < AIRA_N_BUFFERS; s++)
        if (!make_buffer(b, s)) return false;
    for (int p = 0; p < 2; p++)
        if (b->device.table->compile(b->device.self, &b->plans[p], &b->programs[p]) != AIRA_OK) return false;
    return true;
}

static void bench_close(bench *b) {
    for (int p = 0; p < 2; p++)
        if (b->programs[p]) b->device.table->program_destroy(b->device.self, b->programs[p]);
    for (uint32_t s = 0; s < AIRA_N_BUFFERS; s++)
        if (b->buffers[s]) b->device.table->buffer_destroy(b->device.self, b->buffers[s]);
    free(b->y);
    free(b->w);
    test_device_close(&b->device);
}

/* Normal values into a tensor. */
static bool upload(bench *b, uint32_t k, uint64_t seed) {
    const aira_plan_tensor *t = &b->tensors[k];
    aira_rng rng = aira_rng_make(aira_key(seed, "kept"), k);
    uint64_t n = 1, size = test_bytes(t->dtype);
    for (uint32_t d = 0; d < t->shape.rank; d++) n *= (uint64_t)t->shape.dims[d];
    char *image = malloc(n * size);
    for (uint64_t e = 0; e < n; e++)
        if (e < 65537)
            test_store(image + e * size, t->dtype, k == FACTOR ? 0.75 : aira_rng_normal(&rng));
        else
            memcpy(image + e * size, image + e % 65537 * size, size);
    aira_status status = b->device.table->upload(b->device.self, b->buffers[t->storage], t->offset, image, n * size);
    free(image);
    return status == AIRA_OK;
}

static bool run(bench *b, int program) {
    const aira_plan_tensor *y = &b->tensors[Y];
    const aira_device *table = b->device.table;
    return table->run(b->device.self, b->programs[program], b->buffers, 0) == AIRA_OK &&
           table->download(b->device.self, b->buffers[AIRA_STORE_IO], y->offset, b->y, ROWS * WIDTH * 2) == AIRA_OK &&
           table->download(b->device.self, b->buffers[AIRA_STORE_PERSISTENT], 0, b->w, WEIGHTS * 4) == AIRA_OK;
}

/* What may happen between runs: the host writes W or an input, the other program writes W, the buffer is another. */
static bool act(bench *b, char what, uint64_t seed) {
    switch (what) {
    case 'w':
        return upload(b, W, seed);
    case 'x':
        return upload(b, X, seed);
    case 's':
        return upload(b, SOURCE, seed);
    case 'o':
        return run(b, 1);
    case 'b':
        b->device.table->buffer_destroy(b->device.self, b->buffers[AIRA_STORE_PERSISTENT]);
        b->buffers[AIRA_STORE_PERSISTENT] = NULL;
        return make_buffer(b, AIRA_STORE_PERSISTENT);
    default:
        return run(b, 0);
    }
}

/* Relative distance of two results. In a new buffer W is zero, and with it both. */
static double distance(const char *a, const char *b) {
    double off = 0, all = 0;
    for (int64_t e = 0; e < ROWS * WIDTH; e++) {
        double x = test_load(a + 2 * e, AIRA_BF16), y = test_load(b + 2 * e, AIRA_BF16);
        off += (x - y) * (x - y);
        all += y * y;
    }
    return off == 0 ? 0 : sqrt(off / all);
}

/* Exit status, or 0. */
static int try_depth(const char *path) {
    static const char script[] = "tttxttwtttsottobtwttwbttott";
    static bench all[3]; /* keeps copies, does not, keeps turned ones too */
    for (int k = 0; k < 3; k++) {
        if (bench_open(&all[k], path, k != 1, k == 2)) continue;
        printf("%s: %s\n", all[k].device.self ? "failed" : "skipped", all[k].device.failure);
        return all[k].device.self ? 1 : 77;
    }
    for (uint32_t k = 0; k < N_TENSORS; k++)
        for (int d = 0; d < 3 && (k == W || k == X || k == FACTOR || k == SOURCE); d++)
            failures += !upload(&all[d], k, k);
    char *before = malloc(ROWS * WIDTH * 2);
    memset(before, 0, ROWS * WIDTH * 2);
    int different = 0; /* runs whose result is not that of the run before */
    double worst = 0;
    for (size_t k = 0; script[k]; k++) {
        for (int d = 0; d < 3; d++) {
            if (act(&all[d], script[k], 100 + k)) continue;
            failures++;
            printf("FAILED event %zu (%c): %s\n", k, script[k], all[d].device.failure);
        }
        if (script[k] != 't') continue;
        bool same = !memcmp(all[0].y, all[1].y, ROWS * WIDTH * 2) && !memcmp(all[0].w, all[1].w, WEIGHTS * 4);
        double far = distance(all[2].y, all[1].y);
        bool near = far <= 5e-3 && !memcmp(all[2].w, all[1].w, WEIGHTS * 4);
        checks += 2;
        failures += !same + !near;
        if (!same) printf("FAILED event %zu: with copies that stay the run gives something else\n", k);
        if (!near) printf("FAILED event %zu: with turned copies the run gives something else: %.1e off\n", k, far);
        if (far > worst) worst = far;
        different += memcmp(before, all[1].y, ROWS * WIDTH * 2) != 0;
        memcpy(before, all[1].y, ROWS * WIDTH * 2);
    }
    printf("depth %lld: %d different results, turned copies' %.1e off\n", (long long)depth, different, worst);
    free(before);
    for (int k = 0; k < 3; k++) bench_close(&all[k]);
    return 0;
}

int main(int argc, char **argv) {
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cuda.so", build ? build : ".");
    describe_steps();
    for (int k = 0; k < 2; k++) {
        depth = k ? 2053 : 2056;
        int status = try_depth(argc > 1 ? argv[1] : path);
        if (status) return status;
    }
    printf("%d runs compared, %d failures\n", checks, failures);
    return failures ? 1 : 0;
}
