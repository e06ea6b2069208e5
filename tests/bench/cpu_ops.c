/* cpu_ops.c - speed of the cpu device's kernels beside its reference, in the same run; and a self-check that can
 * be carried to another machine.
 *
 *     bench_cpu_ops [--device PATH/device_cpu.so] [--threads N] [--isa NAME] [--only TEXT] [--no-reference]
 *     bench_cpu_ops --check
 *
 * Each line: op, element type, instruction set, milliseconds, GFLOP/s (elementwise and moves: G elements/s), the
 * reference's milliseconds, the ratio, and the largest error relative to the reference. --check runs every conformance
 * case and every small case of this table on every instruction set that the processor offers, on 1 and 3 threads, and
 * exits with 1 if a result is off or depends on the number of threads.
 */
#include <time.h>

#include "../unit/device_cases.h"

static const char *const isa_names[] = {"auto", "reference", "avx2", "avx512", "amx"};

typedef struct bench_case {
    device_case c;
    bool run_backward;
    double work; /* floating-point operations of one run; 0: elements of the first result */
} bench_case;

#define GEMM(name_, a_, b_, ta_, tb_, work_) \
    {                                        \
        {.name = name_,                      \
         .op = AIRA_OP_MATMUL,               \
         .n_in = 2,                          \
         .n_out = 1,                         \
         .in = {a_, b_},                     \
         .index = -1,                        \
         .i = {ta_, tb_},                    \
         .n_i = 2,                           \
         .low = -1,                          \
         .high = 1},                         \
            false, work_                     \
    }
#define BATCH 16384
#define ATTEND(name_, b_, t_, h_, g_, d_, back_) \
    { ATTENTION(name_, b_, t_, t_, h_, g_, d_, d_, 1, 0, 3), back_, (back_ ? 5.0 : 2.0) * b_ *h_ *t_ *t_ *d_ }

static const bench_case big[] = {
    GEMM("fc1 forward 16384x512x128", S2(BATCH, 128), S2(512, 128), 0, 1, 2.0 * BATCH * 512 * 128),
    GEMM("fc2 forward 16384x128x512", S2(BATCH, 512), S2(128, 512), 0, 1, 2.0 * BATCH * 512 * 128),
    GEMM("fc1 dx 16384x128x512", S2(BATCH, 512), S2(512, 128), 0, 0, 2.0 * BATCH * 512 * 128),
    GEMM("fc1 dw 512x128x16384", S2(BATCH, 512), S2(BATCH, 128), 1, 0, 2.0 * BATCH * 512 * 128),
    GEMM("qkv forward 16384x384x128", S2(BATCH, 128), S2(384, 128), 0, 1, 2.0 * BATCH * 384 * 128),
    GEMM("out dw 128x128x16384", S2(BATCH, 128), S2(BATCH, 128), 1, 0, 2.0 * BATCH * 128 * 128),
    GEMM("square 1024", S2(1024, 1024), S2(1024, 1024), 0, 0, 2.0 * 1024 * 1024 * 1024),
    GEMM("batched 256x128x128x8", S3(256, 128, 8), S3(256, 128, 8), 0, 1, 2.0 * 256 * 128 * 128 * 8),
    ATTEND("attention 64x128 16 heads of 8", 64, 128, 16, 16, 8, false),
    ATTEND("attention backward 64x128 16 heads of 8", 64, 128, 16, 16, 8, true),
    ATTEND("attention 4x512 8/2 heads of 64", 4, 512, 8, 2, 64, false),
    ATTEND("attention backward 4x512 8/2 heads of 64", 4, 512, 8, 2, 64, true),
    {UNARY(EXP, -9, 9), false, 0},
    {{.name = "GELU 16384x512",
      .op = AIRA_OP_GELU,
      .n_in = 1,
      .n_out = 1,
      .in = {S2(BATCH, 512)},
      .index = -1,
      .i = {1},
      .n_i = 1,
      .low = -3,
      .high = 3},
     false,
     0},
    {{.name = "GELU tanh 16384x512",
      .op = AIRA_OP_GELU,
      .n_in = 1,
      .n_out = 1,
      .in = {S2(BATCH, 512)},
      .index = -1,
      .i = {0},
      .n_i = 1,
      .low = -3,
      .high = 3},
     false,
     0},
    {{.name = "GELU_BACKWARD 16384x512",
      .op = AIRA_OP_GELU_BACKWARD,
      .n_in = 2,
      .n_out = 1,
      .in = {S2(BATCH, 512), S2(BATCH, 512)},
      .index = -1,
      .i = {1},
      .n_i = 1,
      .low = -3,
      .high = 3},
     false,
     0},
    {{.name = "ADD bias 16384x512",
      .op = AIRA_OP_ADD,
      .n_in = 2,
      .n_out = 1,
      .in = {S2(BATCH, 512), S1(512)},
      .index = -1,
      .low = -3,
      .high = 3},
     false,
     0},
    {{.name = "RMS_NORM 16384x128",
      .op = AIRA_OP_RMS_NORM,
      .backward = AIRA_OP_RMS_NORM_BACKWARD,
      .n_in = 2,
      .n_out = 1,
      .in = {S2(BATCH, 128), S1(128)},
      .index = -1,
      .f = {1e-5},
      .n_f = 1,
      .low = -2,
      .high = 2,
      .gradients = 2},
     false,
     0},
    {{.name = "RMS_NORM_BACKWARD 16384x128",
      .op = AIRA_OP_RMS_NORM,
      .backward = AIRA_OP_RMS_NORM_BACKWARD,
      .n_in = 2,
      .n_out = 1,
      .in = {S2(BATCH, 128), S1(128)},
      .index = -1,
      .f = {1e-5},
      .n_f = 1,
      .low = -2,
      .high = 2,
      .gradients = 2},
     true,
     0},
    {{.name = "LAYER_NORM 16384x128",
      .op = AIRA_OP_LAYER_NORM,
      .backward = AIRA_OP_LAYER_NORM_BACKWARD,
      .n_in = 3,
      .n_out = 1,
      .in = {S2(BATCH, 128), S1(128), S1(128)},
      .index = -1,
      .f = {1e-5},
      .n_f = 1,
      .low = -2,
      .high = 2,
      .gradients = 3},
     false,
     0},
    {{.name = "LAYER_NORM_BACKWARD 16384x128",
      .op = AIRA_OP_LAYER_NORM,
      .backward = AIRA_OP_LAYER_NORM_BACKWARD,
      .n_in = 3,
      .n_out = 1,
      .in = {S2(BATCH, 128), S1(128), S1(128)},
      .index = -1,
      .f = {1e-5},
      .n_f = 1,
      .low = -2,
      .high = 2,
      .gradients = 3},
     true,
     0},
    {{.name = "SOFTMAX 16384x128",
      .op = AIRA_OP_SOFTMAX,
      .n_in = 1,
      .n_out = 1,
      .in = {S2(BATCH, 128)},
      .index = -1,
      .low = -4,
      .high = 4},
     false,
     0},
    {{.name = "CROSS_ENTROPY 16384x64",
      .op = AIRA_OP_CROSS_ENTROPY,
      .backward = AIRA_OP_CROSS_ENTROPY_BACKWARD,
      .n_in = 2,
      .n_out = 1,
      .in = {S2(BATCH, 64), S1(BATCH)},
      .index = 1,
      .low = -4,
      .high = 4,
      .gradients = 1},
     false,
     0},
    {{.name = "ROPE 64x128 16 heads of 8",
      .op = AIRA_OP_ROPE,
      .n_in = 1,
      .n_out = 1,
      .in = {S4(64, 128, 16, 8)},
      .index = -1,
      .i = {8, 0, 0},
      .n_i = 3,
      .f = {10000},
      .n_f = 1,
      .low = -1,
      .high = 1},
     false,
     0},
    {{.name = "CONV1D 32x128x256",
      .op = AIRA_OP_CONV1D_CAUSAL,
      .backward = AIRA_OP_CONV1D_CAUSAL_BACKWARD,
      .n_in = 3,
      .n_out = 1,
      .in = {S3(32, 128, 256), S2(256, 4), S1(256)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 3},
     false,
     0},
    {{.name = "CONV1D_BACKWARD 32x128x256",
      .op = AIRA_OP_CONV1D_CAUSAL,
      .backward = AIRA_OP_CONV1D_CAUSAL_BACKWARD,
      .n_in = 3,
      .n_out = 1,
      .in = {S3(32, 128, 256), S2(256, 4), S1(256)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 3},
     true,
     0},
    {{.name = "SCAN 32x128x256x4",
      .op = AIRA_OP_SELECTIVE_SCAN,
      .backward = AIRA_OP_SELECTIVE_SCAN_BACKWARD,
      .n_in = 6,
      .n_out = 1,
      .in = {S3(32, 128, 256), S3(32, 128, 256), S2(256, 4), S3(32, 128, 4), S3(32, 128, 4), S1(256)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 6},
     false,
     0},
    {{.name = "SCAN_BACKWARD 32x128x256x4",
      .op = AIRA_OP_SELECTIVE_SCAN,
      .backward = AIRA_OP_SELECTIVE_SCAN_BACKWARD,
      .n_in = 6,
      .n_out = 1,
      .in = {S3(32, 128, 256), S3(32, 128, 256), S2(256, 4), S3(32, 128, 4), S3(32, 128, 4), S1(256)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 6},
     true,
     0},
    {{.name = "SSD 8x128 8 heads of 32, state 16",
      .op = AIRA_OP_SSD,
      .backward = AIRA_OP_SSD_BACKWARD,
      .n_in = 6,
      .n_out = 1,
      .in = {S4(8, 128, 8, 32), S3(8, 128, 8), S1(8), S4(8, 128, 1, 16), S4(8, 128, 1, 16), S1(8)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 6},
     false,
     0},
    {{.name = "SSD_BACKWARD 8x128 8 heads of 32, state 16",
      .op = AIRA_OP_SSD,
      .backward = AIRA_OP_SSD_BACKWARD,
      .n_in = 6,
      .n_out = 1,
      .in = {S4(8, 128, 8, 32), S3(8, 128, 8), S1(8), S4(8, 128, 1, 16), S4(8, 128, 1, 16), S1(8)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 6},
     true,
     0},
    {{.name = "FFT_CONV 4x2000x64",
      .op = AIRA_OP_FFT_CONV,
      .backward = AIRA_OP_FFT_CONV_BACKWARD,
      .n_in = 2,
      .n_out = 1,
      .in = {S3(4, 2000, 64), S2(64, 2000)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 2},
     false,
     0},
    {{.name = "FFT_CONV_BACKWARD 4x2000x64",
      .op = AIRA_OP_FFT_CONV,
      .backward = AIRA_OP_FFT_CONV_BACKWARD,
      .n_in = 2,
      .n_out = 1,
      .in = {S3(4, 2000, 64), S2(64, 2000)},
      .index = -1,
      .low = -1,
      .high = 1,
      .gradients = 2},
     true,
     0},
};

/* With one thread the process's own time, so that a busy machine disturbs less; with more, the time that passes. */
static double now(bool alone) {
    struct timespec t;
    clock_gettime(alone ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct problem {
    test_tensor x[24];
    uint32_t in[12], out[8], n_in, n_out, n;
    aira_plan_step step;
} problem;

static void add(problem *p, test_tensor t, bool given) {
    p->x[p->n] = t;
    p->x[p->n].given = given;
    p->x[p->n].v = calloc((size_t)test_elements(&t) + 1, sizeof(double));
    if (given) memcpy(p->x[p->n].v, t.v, (size_t)test_elements(&t) * sizeof(double));
    if (given) {
        p->in[p->n_in++] = p->n++;
    } else {
        p->out[p->n_out++] = p->n++;
    }
}

/* Operands, results and step of a case; o and lse of attention and y of softmax come from the device itself. */
static void make(problem *p, const bench_case *b, uint32_t dtype, test_device *oracle) {
    const device_case *c = &b->c;
    test_tensor x[10];
    memset(p, 0, sizeof *p);
    case_operands(c, x, dtype, 7);
    p->step = (aira_plan_step){.size = sizeof p->step, .op = b->run_backward ? c->backward : c->op, .copies = 1};
    p->step.n_i = c->n_i;
    p->step.n_f = c->n_f;
    p->step.i = c->i;
    p->step.f = c->f;
    uint32_t operands = !b->run_backward ? c->n_in : c->op == AIRA_OP_CONV1D_CAUSAL ? 2 : c->n_in;
    if (b->run_backward && c->extra) {
        problem forward;
        bench_case f = *b;
        f.run_backward = false;
        make(&forward, &f, dtype, oracle);
        const char *why = test_run(oracle, forward.x, forward.n, &forward.step, 1, 0);
        if (why) fprintf(stderr, "%s: %s\n", c->name, why);
        for (uint32_t k = 0; k < c->n_out; k++) {
            memcpy(x[c->n_in + k].v, forward.x[forward.out[k]].v,
                   (size_t)test_elements(&x[c->n_in + k]) * sizeof(double));
        }
        case_free(forward.x, forward.n);
    }
    for (uint32_t k = 0; k < operands; k++) add(p, x[k], true);
    if (b->run_backward) {
        for (int k = 0; k < c->extra; k++) add(p, x[c->n_in + (uint32_t)k], true);
        test_tensor g = x[c->n_in];
        for (int64_t e = 0; e < test_elements(&g); e++) g.v[e] = test_rounded(sin((double)e), g.dtype);
        add(p, g, true);
        for (int k = 0; k < c->gradients; k++) add(p, x[k], false);
    } else {
        for (uint32_t k = 0; k < c->n_out; k++) add(p, x[c->n_in + k], false);
    }
    p->step.n_in = p->n_in;
    p->step.n_out = p->n_out;
    p->step.in = p->in;
    p->step.out = p->out;
    case_free(x, c->n_in + c->n_out);
}

/* Seconds of one run: best of several, about 0.3 s in all. */
static double time_run(test_device *device, const problem *p) {
    static aira_plan_tensor table[TEST_MAX_TENSORS];
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = p->n, .n_steps = 1, .tensors = table};
    plan.tensor_stride = sizeof(aira_plan_tensor);
    plan.step_stride = sizeof(aira_plan_step);
    uint64_t at = 0;
    for (uint32_t k = 0; k < p->n; k++) {
        table[k] = (aira_plan_tensor){.size = sizeof table[k], .dtype = p->x[k].dtype, .copies = 1, .offset = at};
        table[k].shape = p->x[k].shape;
        table[k].storage = AIRA_STORE_IO;
        at += ((uint64_t)test_elements(&p->x[k]) * test_bytes(p->x[k].dtype) + 63) / 64 * 64;
    }
    plan.steps = &p->step;
    char *image = calloc(1, at + 64);
    void *buffers[AIRA_N_BUFFERS] = {NULL, NULL, NULL}, *program = NULL;
    for (uint32_t k = 0; k < p->n; k++) {
        for (int64_t e = 0; p->x[k].given && e < test_elements(&p->x[k]); e++) {
            test_store(image + table[k].offset + (size_t)e * test_bytes(p->x[k].dtype), p->x[k].dtype, p->x[k].v[e]);
        }
    }
    aira_device_info info = {.size = sizeof info};
    device->table->info(device->self, &info);
    bool alone = info.threads == 1;
    double best = INFINITY, start = now(alone);
    if (device->table->buffer_create(device->self, at, &buffers[AIRA_STORE_IO]) == AIRA_OK &&
        device->table->upload(device->self, buffers[AIRA_STORE_IO], 0, image, at) == AIRA_OK &&
        device->table->compile(device->self, &plan, &program) == AIRA_OK) {
        for (int k = 0; k < 200 && (k < 2 || now(alone) - start < 0.3); k++) {
            double t = now(alone);
            if (device->table->run(device->self, program, buffers, 0) != AIRA_OK) break;
            t = now(alone) - t;
            if (t < best) best = t;
        }
        device->table->program_destroy(device->self, program);
    }
    device->table->buffer_destroy(device->self, buffers[AIRA_STORE_IO]);
    free(image);
    return best;
}

static void run_case(const bench_case *b, uint32_t dtype, test_device *fast, test_device *reference,
                     bool with_reference) {
    problem p;
    aira_device_info info = {.size = sizeof info};
    double error = 0, slow = NAN, work = b->work;
    fast->table->info(fast->self, &info);
    make(&p, b, dtype, fast);
    if (work == 0) work = (double)test_elements(&p.x[p.out[0]]);
    double quick = time_run(fast, &p);
    if (with_reference) {
        problem r;
        make(&r, b, dtype, fast);
        slow = time_run(reference, &p);
        const char *why = test_run(fast, p.x, p.n, &p.step, 1, 0), *bad = test_run(reference, r.x, r.n, &r.step, 1, 0);
        if (why || bad) printf("%s: %s\n", b->c.name, why ? why : bad);
        for (uint32_t k = 0; k < p.n_out; k++) {
            error = fmax(error, case_error(p.x[p.out[k]].v, r.x[r.out[k]].v, test_elements(&p.x[p.out[k]])));
        }
        case_free(r.x, r.n);
    }
    printf("%-44s %-5s %-10s %9.3f ms %8.1f G/s", b->c.name, dtype == AIRA_BF16 ? "bf16" : "f32", info.isa, quick * 1e3,
           work / quick * 1e-9);
    if (with_reference) printf("   reference %10.3f ms  x%-7.1f error %.2g", slow * 1e3, slow / quick, error);
    printf("\n");
    fflush(stdout);
    case_free(p.x, p.n);
}

/* --- check -------------------------------------------------------------------------------------------------------- */

/* The cases of the table, smaller, against the reference and between numbers of threads. */
static int check_shapes(test_device *one, test_device *three, test_device *reference, const char *isa) {
    int failures = 0;
    for (size_t k = 0; k < sizeof big / sizeof *big; k++) {
        for (int type = 0; type < 2; type++) {
            bench_case b = big[k];
            problem p, q, r;
            uint32_t dtype = type ? AIRA_BF16 : AIRA_F32;
            for (uint32_t t = 0; t < b.c.n_in; t++) {
                for (uint32_t d = 0; d < b.c.in[t].rank; d++) {
                    int64_t *extent = &b.c.in[t].dims[d];
                    if (*extent >= 1024) *extent = b.c.op == AIRA_OP_MATMUL ? *extent / 4 + 3 : *extent / 64 + 5;
                    if (*extent == 512) *extent = 131;
                    if (*extent == 64 && d == 0) *extent = 3;
                    if (*extent == 32 && d == 0) *extent = 3;
                }
            }
            make(&p, &b, dtype, reference);
            make(&q, &b, dtype, reference);
            make(&r, &b, dtype, reference);
            const char *why = test_run(one, p.x, p.n, &p.step, 1, 0);
            if (!why) why = test_run(three, q.x, q.n, &q.step, 1, 0);
            if (!why) why = test_run(reference, r.x, r.n, &r.step, 1, 0);
            double error = 0;
            bool same = true;
            for (uint32_t o = 0; o < p.n_out; o++) {
                int64_t n = test_elements(&p.x[p.out[o]]);
                error = fmax(error, case_error(p.x[p.out[o]].v, r.x[r.out[o]].v, n));
                same = same && memcmp(p.x[p.out[o]].v, q.x[q.out[o]].v, (size_t)n * sizeof(double)) == 0;
            }
            if (why || !same || error > (type ? 3e-2 : 2e-4)) {
                printf("FAIL %s %s %s: error %.3g%s %s\n", isa, b.c.name, type ? "bf16" : "f32", error,
                       same ? "" : ", differs between 1 and 3 threads", why ? why : "");
                failures++;
            }
            case_free(p.x, p.n);
            case_free(q.x, q.n);
            case_free(r.x, r.n);
        }
    }
    return failures;
}

static int check_cases(test_device *device, const char *isa) {
    static const struct {
        uint32_t dtype;
        double forward, backward;
    } types[] = {{AIRA_F64, 1e-7, 1e-6}, {AIRA_F32, 2e-5, 2e-4}, {AIRA_BF16, 1.2e-2, 6e-2}};
    int failures = 0;
    for (size_t k = 0; k < N_DEVICE_CASES; k++) {
        for (size_t t = 0; t < 3; t++) {
            const device_case *c = &device_cases[k];
            const char *why = NULL;
            double error = check_forward(device, c, types[t].dtype, 1, &why), back = 0;
            if (c->backward && !why) back = check_backward(device, c, types[t].dtype, 2, &why);
            if (error < types[t].forward && back < types[t].backward) continue;
            printf("FAIL %s %s type %u: error %.3g, backward %.3g %s\n", isa, c->name, types[t].dtype, error, back,
                   why ? why : "");
            failures++;
        }
    }
    return failures;
}

static int check(const char *path) {
    int failures = 0;
    test_device reference;
    if (!test_device_open(&reference, path, 1, 1)) return fprintf(stderr, "%s\n", reference.failure), 1;
    for (int isa = 1; isa <= 4; isa++) {
        test_device one, three;
        if (!test_device_open(&one, path, 1, isa)) {
            printf("skip %s: %s\n", isa_names[isa], one.failure);
            continue;
        }
        if (!test_device_open(&three, path, 3, isa)) return fprintf(stderr, "%s\n", three.failure), 1;
        int bad = check_cases(&one, isa_names[isa]) + check_shapes(&one, &three, &reference, isa_names[isa]);
        printf("%s %s: %d mismatches\n", bad ? "FAIL" : "ok  ", isa_names[isa], bad);
        failures += bad;
        test_device_close(&one);
        test_device_close(&three);
    }
    test_device_close(&reference);
    return failures ? 1 : 0;
}

int main(int argc, char **argv) {
    char path[4096];
    const char *only = "", *wanted = NULL;
    int threads = 1;
    bool with_reference = true, checking = false;
    snprintf(path, sizeof path, "%s", argv[0]);
    char *slash = strrchr(path, '/');
    snprintf(slash ? slash : path, 64, "%slib/aira/plugins/device_cpu.so", slash ? "/../" : "");
    for (int k = 1; k < argc; k++) {
        bool more = k + 1 < argc;
        if (strcmp(argv[k], "--check") == 0) {
            checking = true;
        } else if (strcmp(argv[k], "--no-reference") == 0) {
            with_reference = false;
        } else if (strcmp(argv[k], "--device") == 0 && more) {
            snprintf(path, sizeof path, "%s", argv[++k]);
        } else if (strcmp(argv[k], "--threads") == 0 && more) {
            threads = atoi(argv[++k]);
        } else if (strcmp(argv[k], "--isa") == 0 && more) {
            wanted = argv[++k];
        } else if (strcmp(argv[k], "--only") == 0 && more) {
            only = argv[++k];
        } else {
            fprintf(stderr, "unknown argument %s; the head of tests/bench/cpu_ops.c says what there is\n", argv[k]);
            return 2;
        }
    }
    if (checking) return check(path);
    test_device reference;
    if (!test_device_open(&reference, path, threads, 1)) return fprintf(stderr, "%s\n", reference.failure), 1;
    for (int isa = 2; isa <= 4; isa++) {
        test_device fast;
        if (wanted && strcmp(wanted, isa_names[isa]) != 0) continue;
        if (!test_device_open(&fast, path, threads, isa)) {
            printf("skip %s: %s\n", isa_names[isa], fast.failure);
            continue;
        }
        for (size_t k = 0; k < sizeof big / sizeof *big; k++) {
            if (!strstr(big[k].c.name, only)) continue;
            run_case(&big[k], AIRA_F32, &fast, &reference, with_reference);
            run_case(&big[k], AIRA_BF16, &fast, &reference, with_reference);
        }
        test_device_close(&fast);
    }
    test_device_close(&reference);
    return 0;
}
