/* tests/support/plugin_lab.h - for tests beside primitives, backbones and optimizers: a registry, the CPU, instances
 * from YAML, and a primitive run in fp64 in a place of the test's choice.
 *
 * defines: plugin_lab, lab_open, lab_close, lab_make, lab_place, lab_run, lab_run_with, lab_refusal
 */
#ifndef TESTS_SUPPORT_PLUGIN_LAB_H
#define TESTS_SUPPORT_PLUGIN_LAB_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check/trial.h"
#include "core/graph/model.h"

typedef struct plugin_lab {
    aira__registry *registry;
    aira__lab lab;
} plugin_lab;

static inline void lab_open(plugin_lab *l) {
    aira_error error = {0};
    cr_assert(aira__registry_create(NULL, &l->registry, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__lab_open(l->registry, &l->lab, &error) == AIRA_OK, "%s", error.text);
}

static inline void lab_close(plugin_lab *l) {
    aira__lab_close(&l->lab);
    aira__registry_destroy(l->registry);
}

/* yaml: "{use: attention, heads: 4}" */
static inline aira__instance *lab_make(const plugin_lab *l, const char *kind, const char *yaml) {
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, yaml, diagnostics);
    cr_assert(document, "%s", aira__diagnostics_text(diagnostics));
    aira__instance *made = aira__instance_create(l->registry, kind, aira__document_root(document), NULL, diagnostics);
    cr_assert(made, "%s", aira__diagnostics_text(diagnostics));
    aira__document_destroy(document);
    aira__diagnostics_destroy(diagnostics);
    return made;
}

static inline aira__layer lab_layer(const aira__instance *instance) {
    const aira_primitive *table = instance->plugin->table;
    return (aira__layer){table->token, instance->plugin->id, "{}", table, instance->self};
}

typedef struct lab_place {
    int64_t B, T, C;
    bool bidirectional;
    const double *mask, *positions; /* B*T each, or NULL */
} lab_place;

/* y of the primitive for x, parameters redrawn under seed 5; the caller frees. names: NULL, or parameters (NULL ends)
   whose values are wanted in values[k], which the caller frees. */
static inline double *lab_run_with(const plugin_lab *l, const char *yaml, const lab_place *p, const double *x,
                                   const char *const *names, double **values) {
    aira__instance *instance = lab_make(l, "primitive", yaml);
    const aira_primitive *table = instance->plugin->table;
    const aira_shape places = {{p->B, p->T}, 2, 0}, shape = {{p->B, p->T, p->C}, 3, 0};
    aira_error error = {0};
    aira__trial *trial;
    aira_graph *g = aira__graph_create(AIRA_F64, NULL);
    cr_assert(g);
    aira__graph_set_int(g, "causal", !p->bidirectional);
    if (p->mask) aira__graph_set_tensor(g, "mask", aira__graph_input(g, "mask", AIRA_F64, &places));
    if (p->positions) aira__graph_set_tensor(g, "positions", aira__graph_input(g, "positions", AIRA_I32, &places));
    aira_tensor *in = aira__graph_input(g, "x", AIRA_F64, &shape);
    aira__graph_output(g, "y", table->build(instance->self, aira__graph_ops(), g, in));
    aira_status status = aira__trial_create(&l->lab, g, 1, &trial, &error);
    if (!status) status = aira__trial_redraw(trial, 5, false, &error);
    for (int k = 0; !status && names && names[k]; k++) {
        const aira__variable *v = aira__graph_find_variable(trial->graph, names[k]);
        cr_assert(v, "no parameter %s", names[k]);
        values[k] = aira__doubles(aira__shape_elements(&v->shape), &error);
        status = aira__trial_get_variable(trial, v, values[k], &error);
    }
    if (!status && p->mask) status = aira__trial_set_input(trial, "mask", p->mask, &error);
    if (!status && p->positions) status = aira__trial_set_input(trial, "positions", p->positions, &error);
    if (!status) status = aira__trial_set_input(trial, "x", x, &error);
    if (!status) status = aira__trial_run(trial, &error);
    double *y = aira__doubles(p->B * p->T * p->C, &error);
    if (!status) status = aira__trial_output(trial, "y", y, &error);
    cr_assert(status == AIRA_OK, "%s: %s", yaml, error.text);
    aira__trial_destroy(trial);
    aira__instance_destroy(instance);
    return y;
}

static inline double *lab_run(const plugin_lab *l, const char *yaml, const lab_place *p, const double *x) {
    return lab_run_with(l, yaml, p, x, NULL, NULL);
}

/* Normal values, and the same with position t of every sequence replaced; the caller frees. */
static inline double *lab_input(const lab_place *p, int64_t t) {
    aira_error error = {0};
    int64_t n = p->B * p->T * p->C;
    double *x = aira__doubles(n, &error), *other = aira__doubles(n, &error);
    cr_assert(x && other);
    aira__draw_values(1, "x", AIRA_F64, 0, x, n);
    aira__draw_values(2, "x", AIRA_F64, 0, other, n);
    for (int64_t b = 0; b < p->B && t >= 0; b++) {
        int64_t at = (b * p->T + t) * p->C;
        memcpy(x + at, other + at, (size_t)p->C * sizeof *x);
    }
    free(other);
    return x;
}

/* moved[t]: does output t (of any sequence) move when position `changed` is replaced? */
static inline void lab_moves(const plugin_lab *l, const char *yaml, const lab_place *p, int64_t changed, bool *moved) {
    double *x = lab_input(p, -1), *other = lab_input(p, changed);
    double *y = lab_run(l, yaml, p, x), *z = lab_run(l, yaml, p, other);
    memset(moved, 0, (size_t)p->T * sizeof *moved);
    for (int64_t k = 0; k < p->B * p->T * p->C; k++) {
        if (fabs(y[k] - z[k]) > 1e-9) moved[k / p->C % p->T] = true;
    }
    free(x);
    free(other);
    free(y);
    free(z);
}

/* Building at this width is refused with a sentence that holds `text`. */
static inline void lab_refusal(const plugin_lab *l, const char *yaml, int64_t width, const char *text) {
    aira_error error = {0};
    aira__instance *instance = lab_make(l, "primitive", yaml);
    const aira__layer layer = lab_layer(instance);
    aira_graph *graph = aira__primitive_build(&layer, 1, 4, width, AIRA_F32, true, &error);
    cr_expect(graph == NULL && strstr(error.text, text), "%s at width %lld: \"%s\" does not hold \"%s\"", yaml,
              (long long)width, error.text, text);
    aira__graph_destroy(graph);
    aira__instance_destroy(instance);
}

/* Parameters of the primitive at this width. */
static inline int64_t lab_parameters(const plugin_lab *l, const char *yaml, int64_t width) {
    aira_error error = {0};
    aira__counts counts;
    aira__instance *instance = lab_make(l, "primitive", yaml);
    const aira__layer layer = lab_layer(instance);
    aira_graph *graph = aira__primitive_build(&layer, 1, 4, width, AIRA_F32, true, &error);
    cr_assert(graph, "%s: %s", yaml, error.text);
    aira__graph_count(graph, &counts);
    aira__graph_destroy(graph);
    aira__instance_destroy(instance);
    return counts.parameters;
}

#endif
