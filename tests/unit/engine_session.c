/* engine_session.c - graphs run through the planner and the cpu device: values, fusion, expansion, copies, sharing. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/engine/session.h"
#include "tests/support/engine.h"

static size_t bytes_of(const aira_tensor *t) {
    return (size_t)aira__shape_elements(&t->shape) * aira__dtype_bytes(t->dtype);
}

static void set_random_inputs(aira__session *s, const aira_graph *g, uint32_t copy, uint64_t seed) {
    aira_error error = {0};
    for (uint32_t k = 0; k < g->n_inputs; k++) {
        const aira_tensor *t = g->inputs[k].tensor;
        int64_t n = aira__shape_elements(&t->shape);
        aira_rng r = aira_rng_make(aira_key(seed, g->inputs[k].name), 0);
        double *wide = malloc((size_t)n * sizeof *wide);
        float *narrow = malloc((size_t)n * sizeof *narrow);
        for (int64_t j = 0; j < n; j++) narrow[j] = (float)(wide[j] = aira_rng_normal(&r));
        const void *data = t->dtype == AIRA_F64 ? (const void *)wide : narrow;
        cr_assert_eq(aira__session_set_input(s, 0, g->inputs[k].name, copy, data, bytes_of(t), &error), AIRA_OK, "%s",
                     error.text);
        free(wide);
        free(narrow);
    }
}

/* All outputs, then all variables, of one copy after `runs` runs. */
static double *run_graph(const test_engine *e, aira_graph *g, const aira__session_options *options, uint32_t copy,
                         const uint64_t *seeds, int runs, int64_t *n) {
    aira_error error = {0};
    aira__session *s = NULL;
    uint32_t copies = options->copies > 1 ? options->copies : 1;
    cr_assert_eq(aira__session_create(e->device, e->self, e->host, &g, 1, options, &s, &error), AIRA_OK, "%s",
                 error.text);
    cr_assert_eq(aira__session_initialise(s, seeds, &error), AIRA_OK, "%s", error.text);
    for (uint32_t c = 0; c < copies; c++) set_random_inputs(s, g, c, seeds[c]);
    for (int k = 0; k < runs; k++) cr_assert_eq(aira__session_run(s, 0, &error), AIRA_OK, "%s", error.text);
    double *all = malloc(1 << 20), *block = malloc(1 << 20);
    *n = 0;
    for (uint32_t k = 0; k < g->n_outputs + g->n_variables; k++) {
        bool output = k < g->n_outputs;
        const aira_tensor *t = output ? g->outputs[k].tensor : g->variables[k - g->n_outputs]->leaf;
        const char *name = output ? g->outputs[k].name : g->variables[k - g->n_outputs]->name;
        aira_status status = output ? aira__session_get_output(s, 0, name, copy, block, bytes_of(t), &error)
                                    : aira__session_get_variable(s, name, copy, block, bytes_of(t), &error);
        cr_assert_eq(status, AIRA_OK, "%s", error.text);
        for (int64_t j = 0; j < aira__shape_elements(&t->shape); j++) {
            all[(*n)++] = t->dtype == AIRA_F64 ? block[j] : (double)((float *)(void *)block)[j];
        }
    }
    free(block);
    aira__session_destroy(s);
    return all;
}

static double largest_difference(const double *a, const double *b, int64_t n) {
    double worst = 0;
    for (int64_t k = 0; k < n; k++) {
        if (isnan(a[k]) != isnan(b[k])) return INFINITY;
        double d = fabs(a[k] - b[k]) / (1 + fabs(a[k]));
        if (d > worst) worst = d;
    }
    return worst;
}

Test(engine_session, values_of_a_small_graph) {
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_shape shape = {{2, 3}, 2, 0}, square = {{3, 3}, 2, 0};
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &shape), *w = aira__graph_input(g, "w", AIRA_F32, &square);
    aira__variable *count = aira__graph_state(g, "count", &shape);
    aira__graph_assign(g, count, ops->add(g, count->leaf, x));
    aira__graph_output(g, "y", ops->relu(g, ops->matmul(g, x, w, 0, 0)));
    aira__graph_output(g, "row", ops->slice(g, x, 0, 1, 1));
    float xs[] = {1, 2, 3, 4, 5, 6}, ws[] = {1, 0, -1, 0, 1, 0, 0, 0, 1}, y[6], row[3], sum[6];
    uint64_t seed = 0;
    aira__session *s = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__session_create(e.device, e.self, e.host, &g, 1, NULL, &s, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_initialise(s, &seed, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_set_input(s, 0, "x", 0, xs, sizeof xs, &error), AIRA_OK);
    cr_assert_eq(aira__session_set_input(s, 0, "w", 0, ws, sizeof ws, &error), AIRA_OK);
    for (int k = 0; k < 3; k++) cr_assert_eq(aira__session_run(s, 0, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_get_output(s, 0, "y", 0, y, sizeof y, &error), AIRA_OK);
    cr_assert_eq(aira__session_get_output(s, 0, "row", 0, row, sizeof row, &error), AIRA_OK);
    cr_assert_eq(aira__session_get_variable(s, "count", 0, sum, sizeof sum, &error), AIRA_OK);
    float wanted[] = {1, 2, 2, 4, 5, 2};
    for (int k = 0; k < 6; k++) cr_assert_float_eq(y[k], wanted[k], 0);
    for (int k = 0; k < 3; k++) cr_assert_float_eq(row[k], xs[3 + k], 0);
    for (int k = 0; k < 6; k++) cr_assert_float_eq(sum[k], 3 * xs[k], 0);
    cr_assert_neq(aira__session_set_input(s, 0, "z", 0, xs, sizeof xs, &error), AIRA_OK);
    cr_assert_neq(aira__session_set_input(s, 0, "x", 0, xs, 4, &error), AIRA_OK);
    cr_assert_neq(aira__session_get_output(s, 1, "y", 0, y, sizeof y, &error), AIRA_OK);
    aira__session_destroy(s);
    aira__graph_destroy(g);
    test_engine_close(&e);
}

/* In F64 a chain does what its steps do one by one; in F32 the same up to rounding. */
Test(engine_session, fusion_and_expansion_change_nothing) {
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    const uint64_t seeds[] = {5};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (int wide = 0; wide < 2; wide++) {
            aira_graph *g = test_random_graph(wide ? AIRA_F64 : AIRA_F32, seed, 30);
            aira__session_options fused = {0}, plain = {.no_fusion = true}, expanded = {.expand_all = true};
            int64_t n = 0;
            double *a = run_graph(&e, g, &fused, 0, seeds, 2, &n), *b = run_graph(&e, g, &plain, 0, seeds, 2, &n);
            double *c = run_graph(&e, g, &expanded, 0, seeds, 2, &n);
            if (wide) {
                cr_assert_eq(memcmp(a, b, (size_t)n * sizeof *a), 0, "seed %llu: fusion changes an F64 result by %g",
                             (unsigned long long)seed, largest_difference(a, b, n));
            } else {
                cr_assert_leq(largest_difference(a, b, n), 1e-5, "seed %llu: fused", (unsigned long long)seed);
            }
            cr_assert_leq(largest_difference(a, c, n), wide ? 1e-12 : 2e-4, "seed %llu: expanded by %g",
                          (unsigned long long)seed, largest_difference(a, c, n));
            free(a);
            free(b);
            free(c);
            aira__graph_destroy(g);
        }
    }
    test_engine_close(&e);
}

/* Copy c of a stack of three is what it would be alone. */
Test(engine_session, copies_are_independent) {
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 2}");
    const uint64_t seeds[] = {11, 12, 13};
    for (uint64_t seed = 1; seed <= 30; seed++) {
        aira_graph *g = test_random_graph(AIRA_F32, seed, 30);
        aira__session_options three = {.copies = 3}, one = {0};
        for (uint32_t c = 0; c < 3; c++) {
            int64_t n = 0;
            double *stacked = run_graph(&e, g, &three, c, seeds, 2, &n),
                   *alone = run_graph(&e, g, &one, 0, &seeds[c], 2, &n);
            cr_assert_eq(memcmp(stacked, alone, (size_t)n * sizeof *alone), 0, "graph %llu, copy %u differs",
                         (unsigned long long)seed, c);
            free(stacked);
            free(alone);
        }
        aira__graph_destroy(g);
    }
    test_engine_close(&e);
}

/* Two graphs see one variable; a prediction of memory holds. */
Test(engine_session, variables_are_shared_between_graphs) {
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    const aira_ops *ops = aira__graph_ops();
    aira_shape shape = {{4}, 1, 0};
    aira_param_info info = {.size = sizeof info, .init = "ones"};
    aira_graph *graphs[2];
    for (int k = 0; k < 2; k++) {
        graphs[k] = aira__graph_create(AIRA_F32, NULL);
        aira_tensor *v = ops->param(graphs[k], "v", &shape, &info);
        if (k == 0)
            aira__graph_assign(graphs[k], aira__graph_find_variable(graphs[k], "v"), ops->scale(graphs[k], v, 2));
        else
            aira__graph_output(graphs[k], "y", v);
    }
    aira__session *s = NULL;
    aira_error error = {0};
    aira__footprint need;
    uint64_t seed = 0;
    float y[4];
    cr_assert_eq(aira__session_plan(e.device, e.self, e.host, graphs, 2, NULL, &s, &error), AIRA_OK, "%s", error.text);
    aira__session_footprint(s, &need);
    cr_assert_eq(need.variables, 64);
    cr_assert_eq(aira__session_start(s, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_initialise(s, &seed, &error), AIRA_OK);
    for (int k = 0; k < 3; k++) cr_assert_eq(aira__session_run(s, 0, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_run(s, 1, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_get_output(s, 1, "y", 0, y, sizeof y, &error), AIRA_OK);
    for (int k = 0; k < 4; k++) cr_assert_float_eq(y[k], 8, 0);
    aira__session_destroy(s);
    for (int k = 0; k < 2; k++) aira__graph_destroy(graphs[k]);
    test_engine_close(&e);
}
