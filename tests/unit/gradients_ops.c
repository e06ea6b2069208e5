/* gradients_ops.c - every operation of the op table: its gradient against finite differences in fp64, relative error
 * below 1e-6; composites natively and as plain operations, and both alike.
 *
 * An operation of the table without a case fails the test. Backward operations are reached through the forward one: its
 * differentiated graph must contain them.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check/gradient.h"

typedef struct op_case {
    uint32_t code;
    const char *operands; /* "f2,3 i4": float [2,3], I32 [4] below range, m: 0 or 1 as float */
    int n_i, n_f;
    int64_t i[4];
    double f[1];
    const char *shape; /* where the operation wants one */
    int64_t range;
    double around, scale; /* of float operands */
} op_case;

#define ELEMENTWISE(name, operands) \
    { AIRA_OP_##name, operands, .n_i = 0 }
#define POSITIVE(name, operands) \
    { AIRA_OP_##name, operands, .around = 2, .scale = 0.3 }

static const op_case cases[] = {
    ELEMENTWISE(NEG, "f3,4"),
    ELEMENTWISE(EXP, "f3,4"),
    POSITIVE(LOG, "f3,4"),
    POSITIVE(SQRT, "f3,4"),
    POSITIVE(RSQRT, "f3,4"),
    ELEMENTWISE(SIGMOID, "f3,4"),
    ELEMENTWISE(TANH, "f3,4"),
    ELEMENTWISE(SILU, "f3,4"),
    {AIRA_OP_GELU, "f3,4", .n_i = 1, .i = {0}},
    {AIRA_OP_GELU, "f3,4", .n_i = 1, .i = {1}},
    ELEMENTWISE(RELU, "f3,4"),
    ELEMENTWISE(SOFTPLUS, "f3,4"),
    ELEMENTWISE(SIN, "f3,4"),
    ELEMENTWISE(COS, "f3,4"),
    ELEMENTWISE(ABS, "f3,4"),
    ELEMENTWISE(CAST, "f3,4"),
    ELEMENTWISE(ADD, "f2,3,4 f3,1"),
    ELEMENTWISE(SUB, "f4 f2,3,4"),
    ELEMENTWISE(MUL, "f2,1,4 f3,4"),
    POSITIVE(DIV, "f2,3,4 f3,1"),
    ELEMENTWISE(MIN, "f3,4 f4"),
    ELEMENTWISE(MAX, "f3,4 f3,1"),
    POSITIVE(POW, "f3,4 f4"),
    ELEMENTWISE(EQ, "f3,4 f4"),
    ELEMENTWISE(NE, "f3,4 f4"),
    ELEMENTWISE(LT, "f3,4 f4"),
    ELEMENTWISE(LE, "f3,4 f4"),
    ELEMENTWISE(GT, "f3,4 f4"),
    ELEMENTWISE(GE, "f3,4 f4"),
    {AIRA_OP_WHERE, "m3,4 f3,4 f4", .range = 2},
    {AIRA_OP_MATMUL, "f2,3,4 f4,5", .n_i = 2},
    {AIRA_OP_MATMUL, "f2,4,3 f2,5,4", .n_i = 2, .i = {1, 1}},
    {AIRA_OP_MATMUL, "f3,4 f5,4", .n_i = 2, .i = {0, 1}},
    {AIRA_OP_MATMUL, "f2,4,3 f4,5", .n_i = 2, .i = {1, 0}},
    {AIRA_OP_SUM, "f2,3,4", .n_i = 2, .i = {5, 0}},
    {AIRA_OP_SUM, "f2,3,4", .n_i = 2, .i = {2, 1}},
    {AIRA_OP_MAX_REDUCE, "f2,3,4", .n_i = 2, .i = {4, 0}},
    {AIRA_OP_MAX_REDUCE, "f2,3,4", .n_i = 2, .i = {3, 1}},
    {AIRA_OP_CUMSUM, "f2,5,3", .n_i = 3, .i = {1, 0, 0}},
    {AIRA_OP_CUMSUM, "f2,5", .n_i = 3, .i = {1, 1, 0}},
    {AIRA_OP_CUMSUM, "f5,2", .n_i = 3, .i = {0, 1, 1}},
    {AIRA_OP_RESHAPE, "f2,6", .shape = "f3,4"},
    {AIRA_OP_TRANSPOSE, "f2,3,4", .n_i = 3, .i = {2, 0, 1}},
    {AIRA_OP_SLICE, "f5,4", .n_i = 3, .i = {0, 1, 3}},
    {AIRA_OP_SLICE, "f5,4", .n_i = 3, .i = {1, 2, 2}},
    {AIRA_OP_CONCAT, "f2,3 f2,1 f2,2", .n_i = 1, .i = {1}},
    {AIRA_OP_PAD, "f2,3", .n_i = 3, .n_f = 1, .i = {1, 2, 1}, .f = {0.5}},
    {AIRA_OP_BROADCAST, "f3,1", .shape = "f2,3,4"},
    {AIRA_OP_GATHER, "f5,3 i2,4", .range = 6},
    {AIRA_OP_SCATTER_ADD, "i4 f4,3", .n_i = 1, .i = {5}, .range = 6},
    {AIRA_OP_GATHER_LAST, "f3,5 i3,4", .range = 6},
    {AIRA_OP_SCATTER_LAST, "i3,4 f3,4", .n_i = 1, .i = {5}, .range = 6},
    {AIRA_OP_TOP_K, "f3,6", .n_i = 1, .i = {2}},
    {AIRA_OP_ARGSORT, "f3,6", .n_i = 1, .i = {1}},
    {AIRA_OP_RMS_NORM, "f3,5 f5", .n_f = 1, .f = {1e-5}},
    {AIRA_OP_LAYER_NORM, "f3,5 f5 f5", .n_f = 1, .f = {1e-5}},
    ELEMENTWISE(SOFTMAX, "f3,5"),
    {AIRA_OP_ATTENTION, "f2,5,4,3 f2,5,2,3 f2,5,2,4", .n_i = 2, .n_f = 1, .i = {1, 0}, .f = {0.6}},
    {AIRA_OP_ATTENTION, "f2,5,2,3 f2,5,2,3 f2,5,2,3 m2,5", .n_i = 2, .n_f = 1, .i = {1, 3}, .f = {0.6}, .range = 2},
    {AIRA_OP_ATTENTION, "f2,4,2,3 f2,6,1,3 f2,6,1,3 m2,6", .n_i = 2, .n_f = 1, .i = {0, 0}, .f = {0.6}, .range = 2},
    {AIRA_OP_ATTENTION, "f2,5,2,3 f2,5,2,3 f2,5,2,3", .n_i = 2, .n_f = 1, .i = {0, 2}, .f = {0.6}},
    {AIRA_OP_ROPE, "f2,5,2,6", .n_i = 3, .n_f = 1, .i = {6, 0, 0}, .f = {100}},
    {AIRA_OP_ROPE, "f2,5,2,6 i2,5", .n_i = 3, .n_f = 1, .i = {4, 1, 0}, .f = {100}, .range = 9},
    ELEMENTWISE(CONV1D_CAUSAL, "f2,5,3 f3,4 f3"),
    ELEMENTWISE(SELECTIVE_SCAN, "f2,5,3 f2,5,3 f3,4 f2,5,4 f2,5,4 f3"),
    ELEMENTWISE(SSD, "f2,5,4,3 f2,5,4 f4 f2,5,2,3 f2,5,2,3 f4"),
    ELEMENTWISE(FFT_CONV, "f2,6,3 f3,6"),
    ELEMENTWISE(FFT_CONV, "f2,1,2 f2,1"),
    ELEMENTWISE(FFT_CONV, "f1,19,2 f2,19"),
    {AIRA_OP_GROUPED_MATMUL, "f7,3 f3,3,4 i3", .n_i = 1, .i = {0}, .range = 3},
    {AIRA_OP_GROUPED_MATMUL, "f7,3 f3,4,3 i3", .n_i = 1, .i = {1}, .range = 3},
    {AIRA_OP_CROSS_ENTROPY, "f3,4,5 i3,4", .range = 7},
    {AIRA_OP_HEAD_CROSS_ENTROPY, "f3,4,6 f5,6 i3,4", .range = 7},
};

/* Backward operations, and the forward one that leads to them. */
static const uint32_t backward[][2] = {
    {AIRA_OP_GELU_BACKWARD, AIRA_OP_GELU},
    {AIRA_OP_SILU_BACKWARD, AIRA_OP_SILU},
    {AIRA_OP_RMS_NORM_BACKWARD, AIRA_OP_RMS_NORM},
    {AIRA_OP_LAYER_NORM_BACKWARD, AIRA_OP_LAYER_NORM},
    {AIRA_OP_SOFTMAX_BACKWARD, AIRA_OP_SOFTMAX},
    {AIRA_OP_ATTENTION_BACKWARD, AIRA_OP_ATTENTION},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, AIRA_OP_CONV1D_CAUSAL},
    {AIRA_OP_SELECTIVE_SCAN_BACKWARD, AIRA_OP_SELECTIVE_SCAN},
    {AIRA_OP_SSD_BACKWARD, AIRA_OP_SSD},
    {AIRA_OP_FFT_CONV_BACKWARD, AIRA_OP_FFT_CONV},
    {AIRA_OP_GROUPED_WGRAD, AIRA_OP_GROUPED_MATMUL},
    {AIRA_OP_CROSS_ENTROPY_BACKWARD, AIRA_OP_CROSS_ENTROPY},
    {AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD, AIRA_OP_HEAD_CROSS_ENTROPY},
};

/* "f2,3 ..." -> shape; returns what follows */
static const char *read_shape(const char *text, aira_shape *shape) {
    char *end = (char *)text;
    *shape = (aira_shape){.rank = 0};
    do {
        shape->dims[shape->rank++] = strtoll(end + 1, &end, 10);
    } while (*end == ',');
    return *end == ' ' ? end + 1 : end;
}

static aira_graph *build(const op_case *c) {
    const aira_ops *o = aira__graph_ops();
    aira_graph *g = aira__graph_create(AIRA_F64, NULL);
    cr_assert(g);
    aira_tensor *in[8];
    uint32_t n = 0;
    for (const char *text = c->operands; *text; n++) {
        char kind = *text, name[16];
        aira_shape shape;
        text = read_shape(text, &shape);
        snprintf(name, sizeof name, "operand%u", n);
        in[n] = aira__graph_input(g, name, kind == 'f' ? AIRA_F64 : AIRA_I32, &shape);
        if (kind == 'm') in[n] = o->cast(g, in[n], AIRA_F64);
    }
    aira_shape shape;
    if (c->shape) read_shape(c->shape, &shape);
    aira_tensor *y = aira__graph_emit(g, c->code, in, n, c->i, (uint32_t)c->n_i, c->f, (uint32_t)c->n_f,
                                      c->shape ? &shape : NULL, c->code == AIRA_OP_CAST ? AIRA_F64 : 0);
    if (y && y->dtype == AIRA_I32) y = o->cast(g, y, AIRA_F64);
    aira__graph_output(g, "y", y);
    aira_error error = {0};
    cr_assert(aira__graph_check(g, &error) == AIRA_OK, "%s of %s: %s", aira__op_name(c->code), c->operands, error.text);
    return g;
}

static double check_case(const aira__lab *lab, const op_case *c) {
    aira__gradient_result result;
    aira_error error = {0};
    const aira__gradient_options options = {.seed = 3, .range = c->range, .around = c->around, .scale = c->scale};
    aira_status status = aira__gradient_check(lab, build(c), &options, &result, &error);
    cr_assert(status == AIRA_OK, "%s of %s: %s", aira__op_name(c->code), c->operands, error.text);
    cr_expect(result.error < 1e-6, "%s of %s%s: relative error %.2e for %s", aira__op_name(c->code), c->operands,
              lab->expand_all ? ", expanded" : "", result.error, result.where);
    return result.error;
}

/* Results and gradients of one case, natively or expanded, one after another in values. */
static int64_t results(aira__lab *lab, bool expand, const op_case *c, double *values, int64_t room) {
    aira_error error = {0};
    aira__trial *trial;
    int64_t n = 0;
    aira_graph *graph = build(c);
    lab->expand_all = expand;
    aira_status status = aira__gradient_append(graph, "y", &error);
    if (!status) status = aira__trial_create(lab, graph, 1, &trial, &error);
    if (!status) status = aira__trial_draw_inputs(trial, 4, c->range, &error);
    if (!status) status = aira__trial_run(trial, &error);
    for (uint32_t k = 0; k < graph->n_outputs && !status; k++) {
        int64_t each = aira__shape_elements(&graph->outputs[k].tensor->shape);
        cr_assert(n + each <= room);
        status = aira__trial_output(trial, graph->outputs[k].name, values + n, &error);
        n += each;
    }
    cr_assert(status == AIRA_OK, "%s of %s: %s", aira__op_name(c->code), c->operands, error.text);
    aira__trial_destroy(trial);
    lab->expand_all = false;
    return n;
}

static void check_expansion(aira__lab *lab, const op_case *c) {
    enum { ROOM = 4096 };
    static double native[ROOM], expanded[ROOM];
    int64_t n = results(lab, false, c, native, ROOM), m = results(lab, true, c, expanded, ROOM);
    cr_assert_eq(n, m);
    for (int64_t k = 0; k < n; k++)
        cr_assert(fabs(native[k] - expanded[k]) <= 1e-10 * (1 + fabs(native[k])),
                  "%s of %s: result %lld is %.12g natively, %.12g expanded", aira__op_name(c->code), c->operands,
                  (long long)k, native[k], expanded[k]);
}

static void open_lab(aira__registry **registry, aira__lab *lab) {
    aira_error error = {0};
    cr_assert(aira__registry_create(NULL, registry, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__lab_open(*registry, lab, &error) == AIRA_OK, "%s", error.text);
}

Test(gradients_ops, finite_differences) {
    aira__registry *registry;
    aira__lab lab;
    double worst = 0;
    open_lab(&registry, &lab);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        worst = fmax(worst, check_case(&lab, &cases[k]));
        if (aira__op_class(cases[k].code) != AIRA_CLASS_COMPOSITE) continue;
        lab.expand_all = true;
        worst = fmax(worst, check_case(&lab, &cases[k]));
        lab.expand_all = false;
        check_expansion(&lab, &cases[k]);
    }
    printf("largest relative error over %zu cases: %.1e\n", sizeof cases / sizeof *cases, worst);
    aira__lab_close(&lab);
    aira__registry_destroy(registry);
}

/* The check itself: x * stop_gradient(x) has derivative 2 x, and autograd is told x. */
Test(gradients_ops, a_wrong_gradient_is_found) {
    const aira_ops *o = aira__graph_ops();
    const aira_shape shape = {{3, 4}, 2, 0};
    const aira__gradient_options options = {.seed = 3};
    aira__gradient_result result;
    aira__registry *registry;
    aira__lab lab;
    aira_error error = {0};
    open_lab(&registry, &lab);
    aira_graph *g = aira__graph_create(AIRA_F64, NULL);
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F64, &shape);
    aira__graph_output(g, "y", o->mul(g, x, o->stop_gradient(g, x)));
    cr_assert(aira__gradient_check(&lab, g, &options, &result, &error) == AIRA_OK, "%s", error.text);
    cr_assert(result.error > 0.1, "error %g", result.error);
    aira__lab_close(&lab);
    aira__registry_destroy(registry);
}

static const op_case *case_of(uint32_t code) {
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        if (cases[k].code == code) return &cases[k];
    }
    return NULL;
}

static bool reached_backward(uint32_t code) {
    for (size_t k = 0; k < sizeof backward / sizeof *backward; k++) {
        if (backward[k][0] != code) continue;
        aira_error error = {0};
        bool found = false;
        aira_graph *graph = build(case_of(backward[k][1]));
        cr_assert(aira__gradient_append(graph, "y", &error) == AIRA_OK, "%s", error.text);
        for (uint32_t j = 0; j < graph->n_ops; j++) found = found || graph->ops[j]->code == code;
        aira__graph_destroy(graph);
        return found;
    }
    return false;
}

Test(gradients_ops, every_operation_has_a_case) {
    static const struct {
        uint32_t code, class;
    } table[] = {
#define ROW(name, code, cls, n_in, n_out, doc) {code, AIRA_CLASS_##cls},
        AIRA_OP_TABLE(ROW)
#undef ROW
    };
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        uint32_t code = table[k].code;
        if (table[k].class == AIRA_CLASS_LEAF || table[k].class == AIRA_CLASS_EFFECT || code == AIRA_OP_CHAIN) continue;
        cr_expect(case_of(code) || reached_backward(code), "%s has no gradient case", aira__op_name(code));
    }
}
