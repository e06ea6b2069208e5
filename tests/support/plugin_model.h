/* tests/support/plugin_model.h - for tests beside backbones: small models, names, initial values, logits.
 *
 * defines: model_shape, lab_model, lab_names, lab_initial, lab_logits
 */
#ifndef TESTS_SUPPORT_PLUGIN_MODEL_H
#define TESTS_SUPPORT_PLUGIN_MODEL_H

#include "tests/support/plugin_lab.h"

typedef struct model_shape {
    int64_t vocab, classes, T, T_out; /* classes 0: vocab */
} model_shape;

/* Two layers of the primitive in one sequence, without a loss; parameters of the graph outlive the plugins. */
static inline aira_graph *lab_model(const plugin_lab *l, const char *backbone, const char *primitive,
                                    const model_shape *shape, uint32_t dtype) {
    aira_error error = {0};
    aira__instance *outer = lab_make(l, "backbone", backbone), *inner = lab_make(l, "primitive", primitive);
    const aira__layer layers[2] = {lab_layer(inner), lab_layer(inner)};
    const aira__model_spec spec = {.backbone = outer->plugin->table,
                                   .backbone_self = outer->self,
                                   .layers = layers,
                                   .n_layers = 2,
                                   .vocab = shape->vocab,
                                   .classes = shape->classes,
                                   .batch = 1,
                                   .input_length = shape->T,
                                   .target_length = shape->T_out,
                                   .compute_dtype = dtype,
                                   .causal = true};
    aira_graph *graph = aira__model_build(&spec, &error);
    cr_assert(graph, "%s: %s", backbone, error.text);
    aira__instance_destroy(outer);
    aira__instance_destroy(inner);
    return graph;
}

/* The graph has these parameters, and, if all is set, no other. */
static inline void lab_names(const aira_graph *graph, const char *const *names, bool all) {
    uint32_t n = 0;
    for (; names[n]; n++) cr_expect(aira__graph_find_variable(graph, names[n]), "no parameter %s", names[n]);
    if (all) cr_expect_eq(graph->n_variables, n, "%u parameters, not %u", graph->n_variables, n);
}

static inline void lab_initial(const aira_graph *graph, const char *name, double *low, double *high, double *std) {
    aira_error error = {0};
    const aira__variable *v = aira__graph_find_variable(graph, name);
    cr_assert(v, "no parameter %s", name);
    int64_t n = aira__shape_elements(&v->shape);
    double *values = aira__doubles(n, &error), sum = 0;
    cr_assert(values && aira__variable_initial(graph, v, 1, values, &error) == AIRA_OK, "%s", error.text);
    *low = *high = values[0];
    for (int64_t k = 0; k < n; k++) {
        *low = fmin(*low, values[k]);
        *high = fmax(*high, values[k]);
        sum += values[k] * values[k];
    }
    *std = sqrt(sum / (double)n);
    free(values);
}

/* Logits of one sequence in fp64, parameters redrawn. */
static inline void lab_logits(const plugin_lab *l, const char *backbone, const char *primitive,
                              const model_shape *shape, const double *tokens, double *logits) {
    aira_error error = {0};
    aira__trial *trial;
    aira_graph *graph = lab_model(l, backbone, primitive, shape, AIRA_F64);
    aira_status status = aira__trial_create(&l->lab, graph, 1, &trial, &error);
    if (!status) status = aira__trial_redraw(trial, 2, false, &error);
    if (!status) status = aira__trial_set_input(trial, "tokens", tokens, &error);
    if (!status) status = aira__trial_run(trial, &error);
    if (!status) status = aira__trial_output(trial, "logits", logits, &error);
    cr_assert(status == AIRA_OK, "%s", error.text);
    aira__trial_destroy(trial);
}

#endif
