/* Ops of the cpu device that move, reduce or order elements, against closed forms; leaves; refusals. */
#include <criterion/criterion.h>

#include "device_harness.h"

static test_device device;
static void open_device(void) { cr_assert(test_cpu_open(&device, 2, 0), "%s", device.failure); }
static void close_device(void) { test_device_close(&device); }
TestSuite(cpu_moves, .init = open_device, .fini = close_device);

static const uint32_t float_types[] = {AIRA_F32, AIRA_F64, AIRA_BF16};

/* A tensor whose element e is e (mod 251: exact in bf16). */
static test_tensor counting(aira_shape shape, uint32_t dtype, bool given) {
    test_tensor t = {.shape = shape, .dtype = dtype, .copies = 1, .given = given};
    t.v = calloc((size_t)test_elements(&t) + 1, sizeof(double));
    for (int64_t e = 0; given && e < test_elements(&t); e++) t.v[e] = (double)(e % 251);
    return t;
}

static test_tensor listed(aira_shape shape, uint32_t dtype, const double *values) {
    test_tensor t = counting(shape, dtype, true);
    memcpy(t.v, values, (size_t)test_elements(&t) * sizeof(double));
    return t;
}
#define LISTED(dtype, shape, ...) listed(shape, dtype, (double[]){__VA_ARGS__})

/* One op: n_in operands first, then n_out results. */
static void run(uint32_t op, test_tensor *x, uint32_t n_in, uint32_t n_out, const int64_t *i, uint32_t n_i,
                const double *f, uint32_t n_f) {
    uint32_t in[8] = {0, 1, 2, 3, 4, 5, 6, 7}, out[2] = {n_in, n_in + 1};
    aira_plan_step step = {.size = sizeof step, .op = op, .n_in = n_in, .n_out = n_out, .n_i = n_i, .n_f = n_f};
    step.copies = 1;
    step.in = in;
    step.out = out;
    step.i = i;
    step.f = f;
    const char *why = test_run(&device, x, n_in + n_out, &step, 1, 0);
    cr_assert_null(why, "op %u: %s", op, why);
}
#define I(...) (int64_t[]){__VA_ARGS__}, (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void release(test_tensor *x, int n) {
    for (int k = 0; k < n; k++) free(x[k].v);
}

static void expect(const test_tensor *t, const double *want, const char *what) {
    for (int64_t e = 0; e < test_elements(t); e++) {
        cr_assert_float_eq(t->v[e], want[e], 1e-6, "%s: element %d is %g, not %g", what, (int)e, t->v[e], want[e]);
    }
}

Test(cpu_moves, transpose) {
    const int64_t orders[][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}, {0, 1, 3, 2}};
    for (size_t o = 0; o < 6; o++) {
        for (size_t type = 0; type < 3; type++) {
            aira_shape from = SHAPE(3, 5, 34, 37), to = from;
            for (int d = 0; d < 4; d++) to.dims[d] = from.dims[orders[o][d]];
            test_tensor x[2] = {counting(from, float_types[type], true), counting(to, float_types[type], false)};
            run(AIRA_OP_TRANSPOSE, x, 1, 1, orders[o], 4, NULL, 0);
            for (int64_t e = 0; e < test_elements(&x[1]); e++) {
                int64_t index[4], rest = e, source = 0;
                for (int d = 3; d >= 0; d--) {
                    index[orders[o][d]] = rest % to.dims[d];
                    rest /= to.dims[d];
                }
                for (int d = 0; d < 4; d++) source = source * from.dims[d] + index[d];
                cr_assert_eq(x[1].v[e], (double)(source % 251), "order %d element %d", (int)o, (int)e);
            }
            release(x, 2);
        }
    }
}

Test(cpu_moves, slice_concat_pad_reshape) {
    for (size_t type = 0; type < 3; type++) {
        uint32_t t = float_types[type];
        test_tensor s[2] = {counting(SHAPE(2, 5, 3), t, true), counting(SHAPE(2, 2, 3), t, false)};
        run(AIRA_OP_SLICE, s, 1, 1, I(1, 2, 2), NULL, 0);
        expect(&s[1], (double[]){6, 7, 8, 9, 10, 11, 21, 22, 23, 24, 25, 26}, "slice");
        test_tensor c[3] = {counting(SHAPE(2, 1, 2), t, true), counting(SHAPE(2, 2, 2), t, true),
                            counting(SHAPE(2, 3, 2), t, false)};
        run(AIRA_OP_CONCAT, c, 2, 1, I(1), NULL, 0);
        expect(&c[2], (double[]){0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 6, 7}, "concat");
        test_tensor p[2] = {counting(SHAPE(2, 2), t, true), counting(SHAPE(2, 5), t, false)};
        run(AIRA_OP_PAD, p, 1, 1, I(1, 1, 2), (double[]){-2.5}, 1);
        expect(&p[1], (double[]){-2.5, 0, 1, -2.5, -2.5, -2.5, 2, 3, -2.5, -2.5}, "pad");
        test_tensor r[2] = {counting(SHAPE(4, 6), t, true), counting(SHAPE(3, 8), t, false)};
        run(AIRA_OP_RESHAPE, r, 1, 1, NULL, 0, NULL, 0);
        expect(&r[1], r[0].v, "reshape");
        test_tensor b[2] = {LISTED(t, SHAPE(2, 1), 3, 4), counting(SHAPE(3, 2, 2), t, false)};
        run(AIRA_OP_BROADCAST, b, 1, 1, NULL, 0, NULL, 0);
        expect(&b[1], (double[]){3, 3, 4, 4, 3, 3, 4, 4, 3, 3, 4, 4}, "broadcast");
        release(s, 2);
        release(c, 3);
        release(p, 2);
        release(r, 2);
        release(b, 2);
    }
}

Test(cpu_moves, gather_scatter) {
    for (size_t type = 0; type < 3; type++) {
        uint32_t t = float_types[type];
        test_tensor g[3] = {counting(SHAPE(3, 2), t, true), LISTED(AIRA_I32, SHAPE(2, 2), 2, -1, 3, 0),
                            counting(SHAPE(2, 2, 2), t, false)};
        run(AIRA_OP_GATHER, g, 2, 1, NULL, 0, NULL, 0);
        expect(&g[2], (double[]){4, 5, 0, 0, 0, 0, 0, 1}, "gather");
        test_tensor s[3] = {LISTED(AIRA_I32, SHAPE(4), 1, 5, 1, 0), counting(SHAPE(4, 2), t, true),
                            counting(SHAPE(3, 2), t, false)};
        run(AIRA_OP_SCATTER_ADD, s, 2, 1, I(3), NULL, 0);
        expect(&s[2], (double[]){6, 7, 4, 6, 0, 0}, "scatter_add");
        test_tensor l[3] = {counting(SHAPE(2, 4), t, true), LISTED(AIRA_I32, SHAPE(2, 2), 3, 0, 4, 1),
                            counting(SHAPE(2, 2), t, false)};
        run(AIRA_OP_GATHER_LAST, l, 2, 1, NULL, 0, NULL, 0);
        expect(&l[2], (double[]){3, 0, 0, 5}, "gather_last");
        test_tensor k[3] = {LISTED(AIRA_I32, SHAPE(2, 3), 0, 2, 0, -1, 1, 3), counting(SHAPE(2, 3), t, true),
                            counting(SHAPE(2, 3), t, false)};
        run(AIRA_OP_SCATTER_LAST, k, 2, 1, I(3), NULL, 0);
        expect(&k[2], (double[]){2, 0, 1, 0, 4, 0}, "scatter_last");
        release(g, 3);
        release(s, 3);
        release(l, 3);
        release(k, 3);
    }
}

Test(cpu_moves, big_scatter_is_in_order) {
    test_tensor s[3] = {counting(SHAPE(5000), AIRA_I32, true), counting(SHAPE(5000, 33), AIRA_F32, true),
                        counting(SHAPE(7, 33), AIRA_F32, false)};
    float want[7 * 33] = {0};
    for (int e = 0; e < 5000; e++) s[0].v[e] = (e * 13) % 7;
    for (int e = 0; e < 5000 * 33; e++) s[1].v[e] = test_rounded(sin(e), AIRA_F32);
    for (int e = 0; e < 5000 * 33; e++) want[(int)s[0].v[e / 33] * 33 + e % 33] += (float)s[1].v[e];
    run(AIRA_OP_SCATTER_ADD, s, 2, 1, I(7), NULL, 0);
    for (int e = 0; e < 7 * 33; e++) cr_assert_float_eq(s[2].v[e], (double)want[e], 1e-3, "element %d", e);
    release(s, 3);
}

Test(cpu_moves, sum_and_max) {
    for (size_t type = 0; type < 3; type++) {
        uint32_t t = float_types[type];
        const aira_shape from = SHAPE(3, 4, 5, 6);
        for (int64_t mask = 1; mask < 16; mask++) {
            for (int keep = 0; keep < 2; keep++) {
                aira_shape to = {.rank = 0};
                for (int d = 0; d < 4; d++) {
                    if (!(mask >> d & 1)) to.dims[to.rank++] = from.dims[d];
                    if ((mask >> d & 1) && keep) to.dims[to.rank++] = 1;
                }
                test_tensor x[2] = {counting(from, t, true), counting(to, t, false)};
                for (int e = 0; e < 360; e++) x[0].v[e] = (double)(e % 7) - 3;
                double sums[360] = {0}, peaks[360];
                for (int e = 0; e < 360; e++) peaks[e] = -1e9;
                for (int e = 0; e < 360; e++) {
                    int64_t index[4] = {e / 120, e / 30 % 4, e / 6 % 5, e % 6}, at = 0;
                    for (int d = 0; d < 4; d++) {
                        if (!(mask >> d & 1)) at = at * from.dims[d] + index[d];
                    }
                    sums[at] += x[0].v[e];
                    peaks[at] = fmax(peaks[at], x[0].v[e]);
                }
                run(AIRA_OP_SUM, x, 1, 1, I(mask, keep), NULL, 0);
                for (int64_t e = 0; e < test_elements(&x[1]); e++) {
                    cr_assert_eq(x[1].v[e], test_rounded(sums[e], t), "sum mask %d element %d", (int)mask, (int)e);
                }
                run(AIRA_OP_MAX_REDUCE, x, 1, 1, I(mask, keep), NULL, 0);
                expect(&x[1], peaks, "max");
                release(x, 2);
            }
        }
    }
}

Test(cpu_moves, large_sums) {
    const int64_t masks[] = {1, 2, 3};
    for (int m = 0; m < 3; m++) {
        aira_shape to = m == 2 ? (aira_shape){.rank = 0} : m == 1 ? SHAPE(3001) : SHAPE(131);
        test_tensor x[2] = {counting(SHAPE(3001, 131), AIRA_F32, true), counting(to, AIRA_F32, false)};
        double want[3001] = {0};
        for (int e = 0; e < 3001 * 131; e++) {
            x[0].v[e] = test_rounded(cos(e) + 0.1, AIRA_F32);
            want[m == 2 ? 0 : m == 1 ? e / 131 : e % 131] += x[0].v[e];
        }
        run(AIRA_OP_SUM, x, 1, 1, I(masks[m], 0), NULL, 0);
        for (int64_t e = 0; e < test_elements(&x[1]); e++) {
            cr_assert(fabs(x[1].v[e] - want[e]) < 1e-4 * (fabs(want[e]) + 1), "mask %d: %g, not %g", m, x[1].v[e],
                      want[e]);
        }
        release(x, 2);
    }
}

Test(cpu_moves, integer_sum_is_exact) {
    test_tensor x[2] = {LISTED(AIRA_I32, SHAPE(3), 2000000000, 7, -1999999999),
                        counting(SCALAR_SHAPE, AIRA_I32, false)};
    run(AIRA_OP_SUM, x, 1, 1, I(1, 0), NULL, 0);
    cr_assert_eq(x[1].v[0], 8);
    release(x, 2);
}

Test(cpu_moves, cumsum) {

    const double along[6] = {1, 3, 6, 4, 9, 15};
    for (size_t type = 0; type < 3; type++) {
        for (int mode = 0; mode < 4; mode++) {
            test_tensor x[2] = {LISTED(float_types[type], SHAPE(2, 3), 0, 1, 2, 4, 5, 6),
                                counting(SHAPE(2, 3), float_types[type], false)};
            x[0].v[3] = 4, x[0].v[4] = 5, x[0].v[5] = 6;
            double sums[6];
            for (int c = 0; c < 3; c++) {
                double a = x[0].v[c], b = x[0].v[3 + c];
                sums[c] = mode == 0 ? a : mode == 1 ? 0 : mode == 2 ? a + b : b;
                sums[3 + c] = mode == 0 ? a + b : mode == 1 ? a : mode == 2 ? b : 0;
            }
            run(AIRA_OP_CUMSUM, x, 1, 1, I(0, mode >= 2, mode & 1), NULL, 0);
            expect(&x[1], sums, "cumsum along the first axis");

            release(x, 2);
        }
        test_tensor x[2] = {LISTED(float_types[type], SHAPE(2, 3), 1, 2, 3, 4, 5, 6),
                            counting(SHAPE(2, 3), float_types[type], false)};
        run(AIRA_OP_CUMSUM, x, 1, 1, I(1, 0, 0), NULL, 0);
        expect(&x[1], along, "cumsum along rows");
        release(x, 2);
    }
}

Test(cpu_moves, orders) {
    for (size_t type = 0; type < 3; type++) {
        uint32_t t = float_types[type];
        test_tensor x[3] = {LISTED(t, SHAPE(2, 5), 3, 1, 3, -2, 7, 0, 0, 0, 0, 5), counting(SHAPE(2, 3), t, false),
                            counting(SHAPE(2, 3), AIRA_I32, false)};
        run(AIRA_OP_TOP_K, x, 1, 2, I(3), NULL, 0);
        expect(&x[1], (double[]){7, 3, 3, 5, 0, 0}, "top_k values");
        expect(&x[2], (double[]){4, 0, 2, 4, 0, 1}, "top_k indices");
        test_tensor a[2] = {LISTED(t, SHAPE(2, 5), 3, 1, 3, -2, 7, 0, 0, 0, 0, 5),
                            counting(SHAPE(2, 5), AIRA_I32, false)};
        run(AIRA_OP_ARGSORT, a, 1, 1, I(0), NULL, 0);
        expect(&a[1], (double[]){3, 1, 0, 2, 4, 0, 1, 2, 3, 4}, "argsort");
        run(AIRA_OP_ARGSORT, a, 1, 1, I(1), NULL, 0);
        expect(&a[1], (double[]){4, 0, 2, 1, 3, 4, 0, 1, 2, 3}, "argsort descending");
        release(x, 3);
        release(a, 2);
    }
}

Test(cpu_moves, a_nan_is_the_largest) {
    for (size_t type = 0; type < 3; type++) {
        test_tensor x[3] = {LISTED(float_types[type], SHAPE(1, 4), 1, NAN, 9, NAN),
                            counting(SHAPE(1, 2), float_types[type], false), counting(SHAPE(1, 2), AIRA_I32, false)};
        run(AIRA_OP_TOP_K, x, 1, 2, I(2), NULL, 0);
        cr_assert(isnan(x[1].v[0]) && isnan(x[1].v[1]));
        cr_assert(x[2].v[0] == 1 && x[2].v[1] == 3);
        release(x, 3);
    }
}

Test(cpu_moves, leaves) {
    test_tensor c = counting(SHAPE(3, 5), AIRA_BF16, false), i = counting(SHAPE(2, 3, 2), AIRA_I32, false);
    run(AIRA_OP_CONSTANT, &c, 0, 1, NULL, 0, (double[]){-1.5}, 1);
    for (int e = 0; e < 15; e++) cr_assert_eq(c.v[e], -1.5);
    run(AIRA_OP_IOTA, &i, 0, 1, I(1), NULL, 0);
    expect(&i, (double[]){0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}, "iota");
    for (int distribution = 0; distribution < 2; distribution++) {
        test_tensor r[2] = {LISTED(AIRA_I32, SCALAR_SHAPE, 5), counting(SHAPE(41, 101), AIRA_F32, false)};
        run(AIRA_OP_RANDOM, r, 1, 1, I(distribution, 12345), NULL, 0);
        for (uint64_t e = 0; e < 41 * 101; e++) {
            float want = distribution ? aira_element_normal(12345, 5, e) : aira_element_uniform(12345, 5, e);
            cr_assert_eq(r[1].v[e], (double)want, "element %d", (int)e);
        }
        release(r, 2);
    }
    release(&c, 1);
    release(&i, 1);
}

Test(cpu_moves, grouped_weight_gradients) {
    for (size_t type = 0; type < 3; type++) {
        uint32_t t = float_types[type];
        test_tensor x[4] = {counting(SHAPE(7, 3), t, true), counting(SHAPE(7, 5), t, true),
                            LISTED(AIRA_I32, SHAPE(4), 2, 0, 4, 9), counting(SHAPE(4, 3, 5), t, false)};
        const int first[] = {0, 2, 2, 6}, last[] = {2, 2, 6, 7};
        run(AIRA_OP_GROUPED_WGRAD, x, 3, 1, NULL, 0, NULL, 0);
        for (int e = 0; e < 60; e++) {
            double want = 0;
            for (int r = first[e / 15]; r < last[e / 15]; r++)
                want += x[0].v[r * 3 + e / 5 % 3] * x[1].v[r * 5 + e % 5];
            cr_assert_float_eq(x[3].v[e], want, 4e-3 * want + 1e-6, "element %d: %g, not %g", e, x[3].v[e], want);
        }
        release(x, 4);
    }
}

Test(cpu_moves, integers) {
    test_tensor d[3] = {LISTED(AIRA_I32, SHAPE(4), 7, -7, 9, 2147483647), LISTED(AIRA_I32, SHAPE(4), 2, 2, -4, 1),
                        counting(SHAPE(4), AIRA_I32, false)};
    run(AIRA_OP_DIV, d, 2, 1, NULL, 0, NULL, 0);
    expect(&d[2], (double[]){3, -3, -2, 2147483647}, "integer division");
    test_tensor c[2] = {LISTED(AIRA_F32, SHAPE(5), 2.9, -2.9, 1e20, -1e20, 0.5), counting(SHAPE(5), AIRA_I32, false)};
    run(AIRA_OP_CAST, c, 1, 1, NULL, 0, NULL, 0);
    expect(&c[1], (double[]){2, -2, 2147483647, -2147483648.0, 0}, "cast truncates and saturates");
    release(d, 3);
    release(c, 2);
}

Test(cpu_moves, extremes) {
    test_tensor m[3] = {LISTED(AIRA_F32, SHAPE(3), NAN, 1, INFINITY), LISTED(AIRA_F32, SHAPE(3), 1, NAN, 2),
                        counting(SHAPE(3), AIRA_F32, false)};
    run(AIRA_OP_MAX, m, 2, 1, NULL, 0, NULL, 0);
    cr_assert(isnan(m[2].v[0]) && isnan(m[2].v[1]) && isinf(m[2].v[2]));
    const uint32_t ops[] = {AIRA_OP_SIGMOID, AIRA_OP_TANH, AIRA_OP_SILU, AIRA_OP_GELU, AIRA_OP_SOFTPLUS, AIRA_OP_EXP};
    const double want[6][2] = {{0, 1}, {-1, 1}, {0, 200}, {0, 200}, {0, 200}, {0, INFINITY}};
    for (int o = 0; o < 6; o++) {
        test_tensor x[2] = {LISTED(AIRA_F32, SHAPE(3), -200, 200, NAN), counting(SHAPE(3), AIRA_F32, false)};
        run(ops[o], x, 1, 1, I(0), NULL, 0);
        cr_assert(fabs(x[1].v[0] - want[o][0]) < 1e-30 && (x[1].v[1] == want[o][1] || ops[o] == AIRA_OP_EXP),
                  "op %u: %g %g", ops[o], x[1].v[0], x[1].v[1]);
        cr_assert(isnan(x[1].v[2]), "op %u loses a NaN", ops[o]);
        release(x, 2);
    }
    release(m, 3);
}

Test(cpu_moves, refuses_what_it_does_not_know) {
    test_tensor x = counting(SHAPE(3), AIRA_F32, false);
    uint32_t out[1] = {0};
    aira_plan_step step = {.size = sizeof step, .op = 77, .n_out = 1, .copies = 1, .out = out};
    const char *why = test_run(&device, &x, 1, &step, 1, 0);
    cr_assert(why && strstr(why, "does not know"), "%s", why ? why : "accepted");
    aira_plan_tensor t = {.size = sizeof t, .dtype = AIRA_F32, .copies = 1};
    cr_assert_eq(device.table->supports(device.self, 77, &t, 1, 0, NULL, 0), 0);
    cr_assert_eq(device.table->supports(device.self, AIRA_OP_SSD, &t, 1, 0, NULL, 0), 1);
    release(&x, 1);
}
