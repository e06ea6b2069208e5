/* Chains, copies and threads of the cpu device. */
#include <criterion/criterion.h>

#include "device_harness.h"

#define N (37 * 1031)

static test_tensor filled(aira_shape shape, uint32_t dtype, uint32_t storage, uint32_t copies, double phase) {
    test_tensor t = {.shape = shape, .dtype = dtype, .storage = storage, .copies = copies, .given = phase != 0};
    t.v = calloc((size_t)test_elements(&t) + 1, sizeof(double));
    for (int64_t e = 0; t.given && e < test_elements(&t); e++)
        t.v[e] = test_rounded(sin(phase * (double)(e + 1)), dtype);
    return t;
}

static void release(test_tensor *x, int n) {
    for (int k = 0; k < n; k++) free(x[k].v);
}

#define STEP(op_, n_in_, in_, out_)                                                                  \
    {                                                                                                \
        .size = sizeof(aira_plan_step), .op = AIRA_OP_##op_, .n_in = n_in_, .n_out = 1, .copies = 1, \
        .in = (uint32_t[])in_, .out = (uint32_t[]) {                                                 \
            out_                                                                                     \
        }                                                                                            \
    }
#define IDS(...) \
    { __VA_ARGS__ }

/* t = a * row + scale; u = exp(t); out = u - column (written), w = t / u (written), variable b = out + a (assigned). */
static void run_chain(uint32_t dtype, int64_t threads, test_tensor *x) {
    test_device device;
    cr_assert(test_cpu_open(&device, threads, 0), "%s", device.failure);
    aira_shape whole = SHAPE(37, 1031);
    x[0] = filled(whole, dtype, 0, 1, 0.1);
    x[1] = filled(SHAPE(1031), dtype, 0, 1, 0.3);
    x[2] = filled(SCALAR_SHAPE, dtype, 0, 1, 0.7);
    x[3] = filled(SHAPE(37, 1), dtype, 0, 1, 0.9);
    x[4] = filled(whole, dtype, AIRA_STORE_CHAIN, 1, 0);
    x[5] = filled(whole, dtype, AIRA_STORE_CHAIN, 1, 0);
    x[6] = filled(whole, dtype, AIRA_STORE_CHAIN, 1, 0);
    for (int k = 7; k < 10; k++) x[k] = filled(whole, dtype, 0, 1, 0);
    x[10] = filled(whole, dtype, AIRA_STORE_CHAIN, 1, 0);
    const aira_plan_step inner[] = {
        STEP(MUL, 2, IDS(0, 1), 4),  STEP(ADD, 2, IDS(4, 2), 5), STEP(EXP, 1, IDS(5), 6),
        STEP(SUB, 2, IDS(6, 3), 7),  STEP(DIV, 2, IDS(5, 6), 8), STEP(ADD, 2, IDS(7, 0), 10),
        STEP(ASSIGN, 1, IDS(10), 9),
    };
    aira_plan_step chain = {.size = sizeof chain, .op = AIRA_OP_CHAIN, .copies = 1, .n_chain = 7, .chain = inner};
    uint32_t in[] = {0, 1, 2, 3}, out[] = {7, 8, 9};
    chain.n_in = 4;
    chain.n_out = 3;
    chain.in = in;
    chain.out = out;
    const char *why = test_run(&device, x, 11, &chain, 1, 0);
    cr_assert_null(why, "%s", why);
    test_device_close(&device);
}

Test(cpu_chain, values) {
    const uint32_t types[] = {AIRA_F32, AIRA_F64, AIRA_BF16};
    const double limits[] = {3e-6, 1e-12, 2e-2};
    for (int t = 0; t < 3; t++) {
        test_tensor x[11];
        run_chain(types[t], 1, x);
        for (int e = 0; e < N; e++) {
            double sum = x[0].v[e] * x[1].v[e % 1031] + x[2].v[0], u = exp(sum), out = u - x[3].v[e / 1031];
            cr_assert(fabs(x[7].v[e] - out) < limits[t] * 4, "out %d: %g, not %g", e, x[7].v[e], out);
            cr_assert(fabs(x[8].v[e] - sum / u) < limits[t] * 4, "w %d", e);
            cr_assert(fabs(x[9].v[e] - out - x[0].v[e]) < limits[t] * 8, "assigned %d", e);
        }
        release(x, 11);
    }
}

Test(cpu_chain, threads_do_not_matter) {
    const uint32_t types[] = {AIRA_F32, AIRA_BF16};
    for (int t = 0; t < 2; t++) {
        test_tensor x[11], y[11];
        run_chain(types[t], 1, x);
        run_chain(types[t], 3, y);
        for (int k = 7; k < 10; k++) cr_assert_arr_eq(x[k].v, y[k].v, N * sizeof(double));
        release(x, 11);
        release(y, 11);
    }
}

/* out[c] = (a[c] @ shared) twice over: copies run alone and stacked must agree bitwise. */
static void run_copies(uint32_t copies, int64_t threads, uint32_t dtype, test_tensor *x, double *a, double *shared) {
    test_device device;
    cr_assert(test_cpu_open(&device, threads, 0), "%s", device.failure);
    x[0] = (test_tensor){.shape = SHAPE(33, 40), .dtype = dtype, .copies = copies, .given = true, .v = a};
    x[1] = (test_tensor){.shape = SHAPE(40, 27), .dtype = dtype, .copies = 1, .given = true, .v = shared};
    x[2] = filled(SHAPE(33, 27), dtype, 0, copies, 0);
    x[3] = filled(SHAPE(33, 27), dtype, 0, copies, 0);
    aira_plan_step steps[] = {STEP(MATMUL, 2, IDS(0, 1), 2), STEP(SOFTMAX, 1, IDS(2), 3)};
    const int64_t trans[2] = {0, 0};
    steps[0].i = trans;
    steps[0].n_i = 2;
    steps[0].copies = steps[1].copies = copies;
    const char *why = test_run(&device, x, 4, steps, 2, 0);
    cr_assert_null(why, "%s", why);
    test_device_close(&device);
}

Test(cpu_chain, copies_are_independent) {
    const uint32_t types[] = {AIRA_F32, AIRA_F64, AIRA_BF16};
    for (int t = 0; t < 3; t++) {
        test_tensor a = filled(SHAPE(33, 40), types[t], 0, 5, 0.2), s = filled(SHAPE(40, 27), types[t], 0, 1, 0.3);
        test_tensor all[4], one[4];
        run_copies(5, 2, types[t], all, a.v, s.v);
        for (int c = 0; c < 5; c++) {
            run_copies(1, 1, types[t], one, a.v + c * 33 * 40, s.v);
            cr_assert_arr_eq(one[3].v, all[3].v + c * 33 * 27, 33 * 27 * sizeof(double));
            release(one + 2, 2);
        }
        release(all + 2, 2);
        release(&a, 1);
        release(&s, 1);
    }
}

Test(cpu_chain, refuses_bad_chains) {
    test_device device;
    cr_assert(test_cpu_open(&device, 1, 0), "%s", device.failure);
    test_tensor x[2] = {filled(SHAPE(5), AIRA_F32, 0, 1, 0.1), filled(SHAPE(4), AIRA_F32, 0, 1, 0)};
    const aira_plan_step inner[] = {STEP(NEG, 1, IDS(0), 1)};
    uint32_t in[] = {0}, out[] = {1};
    aira_plan_step chain = {.size = sizeof chain, .op = AIRA_OP_CHAIN, .copies = 1, .n_chain = 1, .chain = inner};
    chain.n_in = chain.n_out = 1;
    chain.in = in;
    chain.out = out;
    const char *why = test_run(&device, x, 2, &chain, 1, 0);
    cr_assert(why && strstr(why, "broadcast"), "%s", why ? why : "accepted");
    release(x, 2);
    test_device_close(&device);
}

Test(cpu_chain, info_and_refused_isa) {
    test_device device;
    cr_assert(test_cpu_open(&device, 2, 0), "%s", device.failure);
    aira_device_info info = {.size = sizeof info};
    cr_assert_eq(device.table->info(device.self, &info), AIRA_OK);
    cr_assert_eq(info.threads, 2);
    cr_assert(strstr(info.name, "2 threads") && info.isa[0] && info.memory_bytes > 0);
    cr_assert_null(device.table->unavailable());
    test_device_close(&device);
}
