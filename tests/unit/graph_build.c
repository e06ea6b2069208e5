/* Graphs without a device: rules of shapes, sticky errors, names, blocks, serialising, expansion, counting. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/graph/internal.h"

static aira_shape shape(uint32_t rank, int64_t a, int64_t b, int64_t c, int64_t d) {
    return (aira_shape){.rank = rank, .dims = {a, b, c, d}};
}

static aira_graph *graph_f32(void) { return aira__graph_create(AIRA_F32, NULL); }

static aira_tensor *input(aira_graph *g, const char *name, aira_shape s) {
    return aira__graph_input(g, name, g->compute_dtype, &s);
}

Test(graph, errors_are_sticky_and_name_the_place) {
    aira_graph *g = graph_f32();
    const aira_ops *ops = aira__graph_ops();
    aira__graph_push_scope(g, "layers.2");
    aira_tensor *a = input(g, "a", shape(2, 3, 4, 0, 0)), *b = input(g, "b", shape(2, 5, 4, 0, 0));
    cr_assert_null(ops->matmul(g, a, b, 0, 0));
    cr_assert_null(ops->exp(g, NULL));
    cr_assert_null(ops->add(g, a, a), "nothing is added after an error");
    aira_error error;
    cr_assert_eq(aira__graph_check(g, &error), AIRA_E_FAILED);
    cr_assert_not_null(strstr(error.text, "layers.2: MATMUL of f32[3,4] f32[5,4]: the inner extents differ"), "%s",
                       error.text);
    aira__graph_destroy(g);
}

Test(graph, names_are_unique_and_scoped) {
    aira_graph *g = graph_f32();
    const aira_ops *ops = aira__graph_ops();
    aira_shape s = shape(1, 4, 0, 0, 0);
    aira__graph_push_scope(g, "layers.0");
    aira__graph_push_scope(g, "mA");
    ops->param(g, "qkv.weight", &s, NULL);
    cr_assert_not_null(aira__graph_find_variable(g, "layers.0.mA.qkv.weight"));
    ops->param(g, "qkv.weight", &s, NULL);
    cr_assert(strstr(g->error, "used twice"), "%s", g->error);
    aira__graph_destroy(g);
}

Test(graph, einsum_shapes) {
    static const struct {
        const char *equation;
        aira_shape a, b, out;
    } cases[] = {
        {"ij,jk->ik", {{3, 4}, 2, 0}, {{4, 5}, 2, 0}, {{3, 5}, 2, 0}},
        {"bthd,bshd->bhts", {{2, 3, 4, 5}, 4, 0}, {{2, 6, 4, 5}, 4, 0}, {{2, 4, 3, 6}, 4, 0}},
        {"ij,kl->i", {{3, 4}, 2, 0}, {{5, 6}, 2, 0}, {{3}, 1, 0}},
        {"i,i->", {{7}, 1, 0}, {{7}, 1, 0}, {{0}, 0, 0}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        aira_graph *g = graph_f32();
        aira_tensor *y = aira__graph_ops()->einsum(g, cases[k].equation, input(g, "a", cases[k].a),
                                                   input(g, "b", cases[k].b));
        cr_assert_not_null(y, "%s: %s", cases[k].equation, g->error);
        cr_assert(aira__shape_equal(&y->shape, &cases[k].out), "%s", cases[k].equation);
        aira__graph_destroy(g);
    }
    aira_graph *g = graph_f32();
    cr_assert_null(aira__graph_ops()->einsum(g, "ij,jk->iz", input(g, "a", shape(2, 2, 3, 0, 0)),
                                             input(g, "b", shape(2, 3, 2, 0, 0))));
    cr_assert(strstr(g->error, "einsum"));
    aira__graph_destroy(g);
}

/* a small net with most operations in it, its gradients appended */
static aira_graph *busy_graph(uint32_t dtype) {
    aira_graph *g = aira__graph_create(dtype, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_shape xs = shape(3, 2, 6, 8, 0), ws = shape(2, 24, 8, 0, 0), n8 = shape(1, 8, 0, 0, 0),
               q4 = {.rank = 4, .dims = {2, 6, 2, 4}};
    aira_shape cs = shape(2, 8, 3, 0, 0), an = shape(2, 8, 3, 0, 0), bn = shape(3, 2, 6, 3, 0),
               targets = shape(2, 2, 6, 0, 0);
    aira_tensor *x = aira__graph_input(g, "x", dtype, &xs);
    aira_tensor *t = aira__graph_input(g, "targets", AIRA_I32, &targets);
    aira_param_info init = {.size = sizeof init, .init = "fan_in"};
    aira__block block = {.layer = 0, .token = "mA", .primitive = "attention", .config = "{}"};
    g->context->block = aira__graph_add_block(g, &block);
    aira_tensor *w = ops->param(g, "qkv.weight", &ws, &init);
    aira_tensor *h = ops->rms_norm(g, x, ops->param(g, "norm", &n8, &init), 1e-5), *qkv[3];
    for (int k = 0; k < 3; k++) qkv[k] = ops->reshape(g, ops->linear(g, h, ops->slice(g, w, 0, 8 * k, 8), NULL), &q4);
    aira_tensor *o = ops->attention(g, ops->rope(g, qkv[0], NULL, 1e4, 0, 0), ops->rope(g, qkv[1], NULL, 1e4, 0, 1),
                                    qkv[2], NULL, 1, 0, 0);
    x = ops->add(g, x, ops->reshape(g, o, &xs));
    g->context->block = 0;
    x = ops->add(g, x, ops->conv1d_causal(g, x, ops->param(g, "conv", &cs, &init), NULL));
    aira_tensor *B = ops->linear(g, x,
                                 ops->param(g, "B", &an, &init) ? ops->reshape(g, ops->slice(g, w, 0, 0, 3),
                                                                               &(aira_shape){.rank = 2, .dims = {3, 8}})
                                                                : NULL,
                                 NULL);
    cr_assert(aira__shape_equal(&B->shape, &bn));
    x = ops->selective_scan(g, x, ops->softplus(g, x), ops->neg(g, ops->exp(g, ops->param(g, "A", &an, &init))), B, B,
                            ops->param(g, "D", &n8, &init));
    aira_tensor *loss = ops->cross_entropy(g, ops->layer_norm(g, ops->gelu(g, x, 0), NULL, NULL, 1e-5), t);
    aira__graph_output(g, "loss", loss);
    cr_assert_eq(g->status, AIRA_OK, "%s", g->error);
    aira_tensor *wrt[16], *grads[16];
    for (uint32_t k = 0; k < g->n_variables; k++) wrt[k] = g->variables[k]->leaf;
    aira_error error;
    cr_assert_eq(aira__graph_gradients(g, loss, wrt, g->n_variables, grads, &error), AIRA_OK, "%s", error.text);
    for (uint32_t k = 0; k < g->n_variables; k++) {
        if (strcmp(g->variables[k]->name, "B") == 0) {
            cr_assert_null(grads[k], "an unused parameter has no gradient");
            continue;
        }
        cr_assert_not_null(grads[k], "%s", g->variables[k]->name);
        cr_assert(aira__shape_equal(&grads[k]->shape, &wrt[k]->shape));
        cr_assert_eq(grads[k]->dtype, wrt[k]->dtype);
        aira__graph_assign(g, g->variables[k], grads[k]);
    }
    return g;
}

Test(graph, slices_of_one_weight_give_one_concatenation) {
    aira_graph *g = graph_f32();
    const aira_ops *ops = aira__graph_ops();
    aira_shape ws = shape(2, 12, 8, 0, 0), xs = shape(2, 5, 8, 0, 0);
    aira_tensor *w = ops->param(g, "w", &ws, NULL), *x = aira__graph_input(g, "x", AIRA_F32, &xs), *sum = NULL, *grad;
    for (int k = 0; k < 3; k++) {
        aira_tensor *y = ops->sum(g, ops->linear(g, x, ops->slice(g, w, 0, 4 * k, 4), NULL), NULL, 0, 0);
        sum = sum ? ops->add(g, sum, y) : y;
    }
    uint32_t before = g->n_ops;
    cr_assert_eq(aira__graph_gradients(g, sum, &w, 1, &grad, NULL), AIRA_OK);
    cr_assert_eq(g->ops[grad->op]->code, AIRA_OP_CONCAT);
    for (uint32_t o = before; o < g->n_ops; o++) cr_assert_neq(g->ops[o]->code, AIRA_OP_PAD);
    aira__graph_destroy(g);
}

Test(graph, backward_of_a_block_is_one_run) {
    aira_graph *g = busy_graph(AIRA_F32);
    int runs = 0;
    for (uint32_t o = 1; o < g->n_ops; o++)
        if (g->ops[o]->backward && !g->ops[o - 1]->backward) runs++;
    cr_assert_eq(runs, 1);
    aira__graph_destroy(g);
}

Test(graph, survives_serialising) {
    const uint32_t types[] = {AIRA_F32, AIRA_BF16, AIRA_F64};
    for (int k = 0; k < 3; k++) {
        aira_graph *g = busy_graph(types[k]), *copy = NULL;
        aira__bytes one, two;
        aira_error error;
        cr_assert_eq(aira__graph_write(g, &one, &error), AIRA_OK);
        cr_assert_eq(aira__graph_read(one.data, one.size, NULL, &copy, &error), AIRA_OK, "%s", error.text);
        cr_assert_eq(aira__graph_write(copy, &two, &error), AIRA_OK);
        cr_assert(one.size == two.size && memcmp(one.data, two.data, one.size) == 0);
        free(one.data);
        free(two.data);
        aira__graph_destroy(copy);
        aira__graph_destroy(g);
    }
}

Test(graph, refuses_damaged_bytes) {
    aira_graph *g = busy_graph(AIRA_F32);
    aira__bytes good;
    cr_assert_eq(aira__graph_write(g, &good, NULL), AIRA_OK);
    aira_rng rng = aira_rng_make(aira_key(1, "damage"), 0);
    uint8_t *bad = malloc(good.size);
    int refused = 0;
    for (int round = 0; round < 2000; round++) {
        memcpy(bad, good.data, good.size);
        size_t size = good.size;
        for (uint32_t k = 0, n = 1 + aira_rng_below(&rng, 4); k < n; k++)
            bad[aira_rng_below(&rng, (uint32_t)size)] = (uint8_t)aira_rng_u32(&rng);
        if (round % 5 == 0) size = aira_rng_below(&rng, (uint32_t)size);
        aira_graph *read = NULL;
        aira__graph_limits limits = {.max_ops = 10000, .max_elements = 1 << 20};
        if (aira__graph_read(bad, size, &limits, &read, NULL) != AIRA_OK) refused++;
        aira__graph_destroy(read);
    }
    cr_assert_gt(refused, 1000);
    free(bad);
    free(good.data);
    aira__graph_destroy(g);
}

Test(graph, every_composite_expands_to_plain_operations) {
    const uint32_t types[] = {AIRA_F32, AIRA_BF16, AIRA_F64};
    for (int k = 0; k < 3; k++) {
        aira_graph *g = busy_graph(types[k]);
        aira_error error;
        aira_graph *plain = aira__graph_expand(g, NULL, NULL, &error);
        cr_assert_not_null(plain, "%s", error.text);
        for (uint32_t o = 0; o < plain->n_ops; o++)
            cr_assert_neq(aira__op_class(plain->ops[o]->code), AIRA_CLASS_COMPOSITE, "%s",
                          aira__op_name(plain->ops[o]->code));
        cr_assert_eq(plain->n_variables, g->n_variables);
        cr_assert_eq(aira__graph_validate(plain, &error), AIRA_OK, "%s", error.text);
        aira__graph_destroy(plain);
        aira__graph_destroy(g);
    }
}

Test(graph, counts_attention_at_its_visible_half) {
    aira_graph *g = graph_f32();
    const aira_ops *ops = aira__graph_ops();
    aira_shape s = {.rank = 4, .dims = {2, 16, 4, 8}};
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &s);
    ops->attention(g, x, x, x, NULL, 1, 0, 0);
    aira__counts counts;
    aira__graph_count(g, &counts);
    cr_assert_float_eq(counts.flops, 2.0 * 2 * 4 * (16 * 17 / 2) * 16, 0);
    aira__graph_destroy(g);
}

Test(graph, initial_values_depend_on_name_and_seed_alone) {
    aira_graph *g = graph_f32();
    const aira_ops *ops = aira__graph_ops();
    aira_shape s = shape(2, 3, 16, 0, 0);
    aira_param_info linear = {.size = sizeof linear, .init = "fan_in"};
    aira_param_info expression = {.size = sizeof expression, .init_mult = 2};
    expression.value = ops->log(g, ops->add(g, ops->iota(g, &s, -1), ops->constant(g, 1, NULL)));
    ops->param(g, "a", &s, &linear);
    ops->param(g, "b", &s, &linear);
    ops->param(g, "c", &s, &expression);
    double a[48], b[48], c[48], again[48];
    cr_assert_eq(aira__variable_initial(g, g->variables[0], 7, a, NULL), AIRA_OK);
    cr_assert_eq(aira__variable_initial(g, g->variables[1], 7, b, NULL), AIRA_OK);
    cr_assert_eq(aira__variable_initial(g, g->variables[2], 7, c, NULL), AIRA_OK);
    cr_assert_eq(aira__variable_initial(g, g->variables[0], 7, again, NULL), AIRA_OK);
    cr_assert(memcmp(a, again, sizeof a) == 0);
    cr_assert(memcmp(a, b, sizeof a) != 0);
    for (int k = 0; k < 48; k++) {
        cr_assert(a[k] >= -0.25 && a[k] < 0.25);
        cr_assert_float_eq(c[k], 2 * log(k % 16 + 1), 1e-12);
    }
    cr_assert_eq(aira__variable_initial(g, g->variables[0], 8, again, NULL), AIRA_OK);
    cr_assert(memcmp(a, again, sizeof a) != 0);
    aira__graph_destroy(g);
}
