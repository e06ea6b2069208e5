/* graph_head.c - the head's product and its cross-entropy as one operation: where the pass finds them, and that nothing
 * changes but the order of rounding. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/check/trial.h"
#include "core/graph/graph.h"
#include "core/train/model_file.h"
#include "core/train/step.h"

enum { ROOM = 4096 };

typedef enum { MEAN, SQUARED, LOGITS_READ, FIXED_WEIGHT, TIMES_ANOTHER, PLUS_ANOTHER } variant;

/* x[B,T,D] through a head of V classes; loss and gradients are outputs. */
static aira_graph *build(variant v) {
    const aira_ops *o = aira__graph_ops();
    const aira_shape xs = {{2, 3, 6}, 3, 0}, ws = {{5, 6}, 2, 0}, ts = {{2, 3}, 2, 0};
    aira_graph *g = aira__graph_create(AIRA_F64, NULL);
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F64, &xs), *w = aira__graph_input(g, "w", AIRA_F64, &ws);
    aira_tensor *targets = aira__graph_input(g, "targets", AIRA_I32, &ts), *gradients[2] = {NULL, NULL};
    aira_tensor *logits = o->linear(g, o->tanh(g, x), w, NULL);
    if (v == LOGITS_READ) aira__graph_output(g, "logits", logits);
    if (v == FIXED_WEIGHT) logits = o->linear(g, logits, o->constant(g, 0.3, &(aira_shape){{5, 5}, 2, 0}), NULL);
    aira_tensor *loss = o->cross_entropy(g, logits, targets), *wrt[2] = {x, w};
    if (v >= TIMES_ANOTHER) { /* a second head on the first one's input */
        aira_tensor *other = o->cross_entropy(g, o->linear(g, o->sin(g, x), w, NULL), targets);
        loss = v == TIMES_ANOTHER ? o->mul(g, loss, other) : o->add(g, loss, other);
    }
    if (v == SQUARED) loss = o->mul(g, loss, loss); /* the gradient of nll depends on nll */
    aira_error error = {0};
    cr_assert(aira__graph_gradients(g, loss, wrt, 2, gradients, &error) == AIRA_OK, "%s", error.text);
    aira__graph_output(g, "loss", loss);
    aira__graph_output(g, "dx", gradients[0]);
    aira__graph_output(g, "dw", gradients[1]);
    return g;
}

static bool takes_all(void *context, const aira__op *op) {
    *(uint32_t *)context = op->code;
    return true;
}
static bool takes_none(void *context, const aira__op *op) {
    (void)context;
    (void)op;
    return false;
}

static uint32_t count_of(const aira_graph *g, uint32_t code) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < g->n_ops; k++) n += g->ops[k]->code == code;
    return n;
}

/* Takes the graph. */
static int64_t run(aira_graph *graph, double *values) {
    aira_error error = {0};
    aira__registry *registry;
    aira__lab lab;
    aira__trial *trial;
    int64_t n = 0;
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__lab_open(registry, &lab, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__trial_create(&lab, graph, 1, &trial, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__trial_draw_inputs(trial, 4, 7, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__trial_run(trial, &error) == AIRA_OK, "%s", error.text);
    for (uint32_t k = 0; k < graph->n_outputs; k++) {
        int64_t each = aira__shape_elements(&graph->outputs[k].tensor->shape);
        cr_assert(n + each <= ROOM);
        cr_assert(aira__trial_output(trial, graph->outputs[k].name, values + n, &error) == AIRA_OK, "%s", error.text);
        n += each;
    }
    aira__trial_destroy(trial);
    aira__lab_close(&lab);
    aira__registry_destroy(registry);
    return n;
}

static aira_graph *rewritten(const aira_graph *g, aira__native_fn native, uint32_t *code) {
    aira_error error = {0};
    aira_graph *made = NULL;
    cr_assert(aira__graph_fuse_head(g, native, code, &made, &error) == AIRA_OK, "%s", error.text);
    if (made != NULL) cr_assert(aira__graph_validate(made, &error) == AIRA_OK, "%s", error.text);
    return made;
}

Test(graph_head, a_differentiated_head_is_one_operation) {
    static double plain[ROOM], fused[ROOM];
    aira_graph *g = build(MEAN);
    uint32_t code = 0;
    aira_graph *made = rewritten(g, takes_all, &code);
    cr_assert(made != NULL);
    cr_expect_eq(code, AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD);
    cr_expect_eq(count_of(made, AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD), 1);
    cr_expect_eq(count_of(made, AIRA_OP_MATMUL), 0);
    cr_expect_eq(count_of(made, AIRA_OP_CROSS_ENTROPY) + count_of(made, AIRA_OP_CROSS_ENTROPY_BACKWARD), 0);
    aira__counts before, after;
    aira__graph_count(g, &before);
    aira__graph_count(made, &after);
    cr_expect_eq(before.flops, after.flops);
    int64_t n = run(g, plain), m = run(made, fused);
    cr_assert_eq(n, m);
    for (int64_t k = 0; k < n; k++) cr_expect(fabs(plain[k] - fused[k]) <= 1e-13, "%lld", (long long)k);
}

Test(graph_head, a_loss_alone_has_no_gradients) {
    const aira_ops *o = aira__graph_ops();
    const aira_shape xs = {{4, 6}, 2, 0}, ws = {{5, 6}, 2, 0}, ts = {{4}, 1, 0};
    uint32_t code = 0;
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &xs), *w = aira__graph_input(g, "w", AIRA_F32, &ws);
    aira_tensor *targets = aira__graph_input(g, "targets", AIRA_I32, &ts);
    aira__graph_output(g, "loss", o->cross_entropy(g, o->linear(g, x, w, NULL), targets));
    aira_graph *made = rewritten(g, takes_all, &code);
    cr_assert(made != NULL);
    cr_expect_eq(code, AIRA_OP_HEAD_CROSS_ENTROPY);
    cr_expect_eq(count_of(made, AIRA_OP_MATMUL), 0);
    aira__graph_destroy(made);
    aira__graph_destroy(g);
}

/* In a product of two losses each gradient waits for the other loss: one head alone can be one operation. */
Test(graph_head, two_heads) {
    static double plain[ROOM], fused[ROOM];
    for (variant v = TIMES_ANOTHER; v <= PLUS_ANOTHER; v++) {
        aira_graph *g = build(v);
        uint32_t code = 0;
        aira_graph *made = rewritten(g, takes_all, &code);
        cr_assert(made != NULL);
        cr_expect_eq(count_of(made, AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD), v == TIMES_ANOTHER ? 1 : 2);
        int64_t n = run(g, plain), m = run(made, fused);
        cr_assert_eq(n, m);
        for (int64_t k = 0; k < n; k++) cr_expect(fabs(plain[k] - fused[k]) <= 1e-12, "%d: %lld", (int)v, (long long)k);
    }
}

static bool takes_heads(void *context, const aira__op *op) {
    *(uint32_t *)context = op->code;
    return op->code == AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD;
}

/* Tensors whose last extent is the vocabulary and that have as many rows as there are tokens. */
static uint32_t logits_in(const aira_graph *g, int64_t tokens, int64_t vocab) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < g->n_tensors; k++) {
        const aira_shape *s = &g->tensors[k]->shape;
        n += s->rank > 0 && s->dims[s->rank - 1] == vocab && aira__shape_elements(s) == tokens * vocab;
    }
    return n;
}

/* A whole training step of the Llama-like model, head tied to the embedding or not, in parts and with recomputed
   blocks: its logits are gone. */
Test(graph_head, a_training_step_has_no_logits) {
    static const char *const overrides[][4] = {
        {"recipe.precision=bf16", "backbone.tied=true", "recipe.accumulate=1", "dataset.vocab=26"},
        {"recipe.precision=fp32", "backbone.tied=false", "recipe.accumulate=2", "dataset.vocab=26"},
        {"recipe.precision=bf16", "recipe.recompute=block", "recipe.accumulate=2", "dataset.vocab=26"}};
    aira_error error = {0};
    aira__registry *registry;
    char path[1024];
    snprintf(path, sizeof path, "%s/configs/models/tiny-llama.yaml", getenv("AIRA_SOURCE_DIR"));
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    for (int k = 0; k < 3; k++) {
        uint32_t code = 0;
        aira__diagnostics *d = aira__diagnostics_create();
        aira__model_file *model = aira__model_file_load(registry, path, overrides[k], 4, true, d);
        cr_assert_not_null(model, "%s", aira__diagnostics_text(d));
        const aira__model_spec spec = {.backbone = model->backbone->plugin->table,
                                       .backbone_self = model->backbone->self,
                                       .layers = model->layers,
                                       .n_layers = (uint32_t)model->n_layers,
                                       .vocab = model->vocab,
                                       .batch = 3,
                                       .input_length = 40,
                                       .target_length = 40,
                                       .compute_dtype = model->recipe.precision,
                                       .causal = true};
        aira_graph *step = aira__step_build(&spec, &model->recipe, &error);
        cr_assert_not_null(step, "%s", error.text);
        cr_expect_geq(logits_in(step, 3 * 40, model->vocab), 2);
        aira_graph *made = rewritten(step, takes_heads, &code);
        cr_assert_not_null(made, "%s", overrides[k][1]);
        cr_expect_eq(logits_in(made, 3 * 40, model->vocab), 0, "%s", overrides[k][1]);
        cr_expect_eq(count_of(made, AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD), 1);
        aira__graph_destroy(made);
        aira__graph_destroy(step);
        aira__model_file_destroy(model);
        aira__diagnostics_destroy(d);
    }
    aira__registry_destroy(registry);
}

Test(graph_head, elsewhere_the_graph_stays_as_it_is) {
    uint32_t code = 0;
    aira_graph *g = build(MEAN);
    cr_expect(rewritten(g, takes_none, &code) == NULL, "a device that does not take it");
    aira__graph_destroy(g);
    const variant others[] = {SQUARED, LOGITS_READ, FIXED_WEIGHT};
    for (int k = 0; k < 3; k++) {
        g = build(others[k]);
        cr_expect(rewritten(g, takes_all, &code) == NULL, "variant %d", (int)others[k]);
        aira__graph_destroy(g);
    }
}
