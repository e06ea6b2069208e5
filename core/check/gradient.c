/* gradient.c - see gradient.h. */
#include "core/check/gradient.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"

#define STEP 1e-5
#define WEIGHT "check.weight"

typedef struct target {             /* what is differentiated by */
    const aira__variable *variable; /* or an input: */
    const char *input;
    int64_t n;
} target;

typedef struct work {
    aira__trial *trial;
    target *targets;
    uint32_t n;
    const aira__gradient_options *options;
} work;

/* sum(output * weight), and the auxiliary losses, as output "check.sum" */
static aira_tensor *weighted_sum(aira_graph *graph, const char *output) {
    const aira_ops *o = aira__graph_ops();
    aira_tensor *y = aira__graph_find_output(graph, output);
    if (!y) return o->error(graph, "gradient check: the graph has no such output");
    aira_tensor *weight = aira__graph_input(graph, WEIGHT, y->dtype, &y->shape);
    aira_tensor *sum = o->mul(graph, y, weight);
    int32_t axes[AIRA_MAX_RANK];
    uint32_t rank = sum ? sum->shape.rank : 0;
    for (uint32_t k = 0; k < rank; k++) axes[k] = (int32_t)k;
    if (rank) sum = o->sum(graph, sum, axes, rank, 0);
    bool included = strcmp(output, "loss") == 0; /* a model's loss has them already */
    for (uint32_t k = 0; k < graph->n_aux_losses && !included; k++) {
        aira_tensor *aux = o->scale(graph, graph->aux_losses[k].scalar, graph->aux_losses[k].weight);
        sum = o->add(graph, sum, o->cast(graph, aux, y->dtype));
    }
    aira__graph_output(graph, "check.sum", sum);
    return sum;
}

static bool is_trained(const aira__variable *v) {
    return v->kind == AIRA_VARIABLE_PARAM && !(v->flags & AIRA_PARAM_FROZEN);
}

aira_status aira__gradient_append(aira_graph *graph, const char *output, aira_error *error) {
    uint32_t most = graph->n_variables + graph->n_inputs, n = 0;
    aira_tensor **wrt = calloc(most + 1, sizeof(aira_tensor *)), **grads = calloc(most + 1, sizeof(aira_tensor *));
    const char **names = calloc(most + 1, sizeof(char *));
    aira_status status = AIRA_OK;
    if (!wrt || !grads || !names) status = aira__fail(error, AIRA_E_MEMORY, "out of memory for a gradient check");
    for (uint32_t k = 0; !status && k < graph->n_variables; k++) {
        if (!is_trained(graph->variables[k])) continue;
        names[n] = graph->variables[k]->name;
        wrt[n++] = graph->variables[k]->leaf;
    }
    for (uint32_t k = 0; !status && k < graph->n_inputs; k++) {
        if (graph->inputs[k].tensor->dtype == AIRA_I32) continue;
        names[n] = graph->inputs[k].name;
        wrt[n++] = graph->inputs[k].tensor;
    }
    aira_tensor *sum = status ? NULL : weighted_sum(graph, output);
    if (!status) status = aira__graph_check(graph, error);
    if (!status) status = aira__graph_gradients(graph, sum, wrt, n, grads, error);
    for (uint32_t k = 0; !status && k < n; k++) {
        char name[192];
        if (!grads[k]) continue;
        snprintf(name, sizeof name, "check.grad.%s", names[k]);
        aira__graph_output(graph, name, grads[k]);
    }
    if (!status) status = aira__graph_check(graph, error);
    free(wrt);
    free(grads);
    free(names);
    return status;
}

static aira_status collect(work *w, aira_error *error) {
    const aira_graph *graph = w->trial->graph;
    w->targets = calloc(graph->n_variables + graph->n_inputs + 1, sizeof *w->targets);
    if (!w->targets) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a gradient check");
    for (uint32_t k = 0; k < graph->n_variables; k++) {
        const aira__variable *v = graph->variables[k];
        if (is_trained(v)) w->targets[w->n++] = (target){v, NULL, aira__shape_elements(&v->shape)};
    }
    for (uint32_t k = 0; k < graph->n_inputs; k++) {
        const aira__input *input = &graph->inputs[k];
        if (input->tensor->dtype == AIRA_I32 || strcmp(input->name, WEIGHT) == 0) continue;
        w->targets[w->n++] = (target){NULL, input->name, aira__shape_elements(&input->tensor->shape)};
    }
    return AIRA_OK;
}

static aira_status put(const work *w, const target *t, const double *values, aira_error *error) {
    if (t->variable) return aira__trial_set_variable(w->trial, t->variable, values, error);
    return aira__trial_set_input(w->trial, t->input, values, error);
}

static void input_values(const work *w, const char *name, uint32_t dtype, double *values, int64_t n) {
    const aira__gradient_options *options = w->options;
    aira__draw_values(options->seed, name, dtype, options->range, values, n);
    if (dtype == AIRA_I32 || strcmp(name, WEIGHT) == 0) return;
    double scale = options->scale != 0 ? options->scale : 1;
    for (int64_t k = 0; k < n; k++) values[k] = values[k] * scale + options->around;
}

static aira_status draw(const work *w, aira_error *error) {
    aira_status status = aira__trial_redraw(w->trial, w->options->seed, w->options->around_initial, error);
    const aira_graph *graph = w->trial->graph;
    for (uint32_t k = 0; k < graph->n_inputs && !status; k++) {
        int64_t n = aira__shape_elements(&graph->inputs[k].tensor->shape);
        double *values = aira__doubles(n, error);
        if (!values) return AIRA_E_MEMORY;
        input_values(w, graph->inputs[k].name, graph->inputs[k].tensor->dtype, values, n);
        status = aira__trial_set_input(w->trial, graph->inputs[k].name, values, error);
        free(values);
    }
    return status;
}

static aira_status sum_at(const work *w, const target *t, const double *base, const double *direction, double step,
                          double *moved, double *sum, aira_error *error) {
    for (int64_t k = 0; k < t->n; k++) moved[k] = base[k] + step * direction[k];
    aira_status status = put(w, t, moved, error);
    if (!status) status = aira__trial_run(w->trial, error);
    if (!status) status = aira__trial_output(w->trial, "check.sum", sum, error);
    return status;
}

/* One tensor along one direction: buffers hold base, gradient, direction, scratch of t->n each. */
static aira_status one_direction(const work *w, const target *t, double *buffers, uint64_t attempt, double at,
                                 double *out, aira_error *error) {
    double *base = buffers, *gradient = base + t->n, *direction = gradient + t->n, *moved = direction + t->n;
    double sums[4] = {0}, along = 0, norm = 0, step = STEP / (attempt ? 7 : 1);
    aira_rng rng = aira_rng_make(aira_key(w->options->seed + attempt, "check.direction"), (uint64_t)(t - w->targets));
    for (int64_t k = 0; k < t->n; k++) {
        direction[k] = aira_rng_normal(&rng);
        along += gradient[k] * direction[k];
        norm += gradient[k] * gradient[k];
    }
    static const double stencil[4] = {-2, -1, 1, 2};
    aira_status status = AIRA_OK;
    for (int k = 0; k < 4 && !status; k++)
        status = sum_at(w, t, base, direction, stencil[k] * step, moved, &sums[k], error);
    if (!status) status = put(w, t, base, error);
    if (status) return status;
    double difference = (8 * (sums[2] - sums[1]) - (sums[3] - sums[0])) / (12 * step);
    double scale = fmax(fmax(fabs(difference), fabs(along)), fmax(sqrt(norm), 1e-6 * (1 + fabs(at))));
    *out = fabs(difference - along) / scale;
    if (!isfinite(*out)) *out = INFINITY;
    return AIRA_OK;
}

static aira_status check_target(const work *w, const target *t, double at, double *worst, aira_error *error) {
    double *buffers = aira__doubles(4 * t->n, error);
    if (!buffers) return AIRA_E_MEMORY;
    aira_status status = AIRA_OK;
    if (t->variable) {
        status = aira__trial_get_variable(w->trial, t->variable, buffers, error);
    } else {
        input_values(w, t->input, AIRA_F64, buffers, t->n);
    }
    if (!status) status = aira__trial_run(w->trial, error);
    char output[192];
    snprintf(output, sizeof output, "check.grad.%s", t->input ? t->input : t->variable->name);
    if (!status && aira__graph_find_output(w->trial->graph, output))
        status = aira__trial_output(w->trial, output, buffers + t->n, error);
    *worst = INFINITY;
    for (uint64_t attempt = 0; attempt < 3 && !status && *worst > 1e-7; attempt++) {
        double one = INFINITY;
        status = one_direction(w, t, buffers, attempt, at, &one, error);
        if (one < *worst) *worst = one;
    }
    free(buffers);
    return status;
}

static aira_status check_all(work *w, aira__gradient_result *result, aira_error *error) {
    double at = 0;
    aira_status status = draw(w, error);
    if (!status) status = aira__trial_run(w->trial, error);
    if (!status) status = aira__trial_output(w->trial, "check.sum", &at, error);
    for (uint32_t k = 0; k < w->n && !status; k++) {
        double one = INFINITY;
        status = check_target(w, &w->targets[k], at, &one, error);
        if (status || (k > 0 && one <= result->error)) continue;
        result->error = one;
        snprintf(result->where, sizeof result->where, "%s",
                 w->targets[k].variable ? w->targets[k].variable->name : w->targets[k].input);
    }
    result->n = w->n;
    return status;
}

aira_status aira__gradient_check(const aira__lab *lab, aira_graph *graph, const aira__gradient_options *options,
                                 aira__gradient_result *result, aira_error *error) {
    work w = {.options = options};
    memset(result, 0, sizeof *result);
    aira_status status = aira__gradient_append(graph, options->output ? options->output : "y", error);
    if (status) {
        aira__graph_destroy(graph);
    } else {
        status = aira__trial_create(lab, graph, options->seed, &w.trial, error);
    }
    if (!status) status = collect(&w, error);
    if (!status) status = check_all(&w, result, error);
    aira__trial_destroy(w.trial);
    free(w.targets);
    return status;
}
