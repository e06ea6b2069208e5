/* core/train/step.c - builds the graphs of step.h.
 *
 * Variables of the optimizer are called "optimizer.<parameter>.<state>". Gradients, norms and updates are computed in
 * the storage type, whatever the activations are, and so is what is accumulated over the parts of a batch: with a
 * part's share n_i / n of the counted targets, the sum of share times gradient is the gradient of the whole batch's
 * mean. Clipping is PyTorch's: the factor is min(1, clip / (norm + 1e-6)).
 */
#include "core/train/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/optimizer.h"

#define ACCUMULATED "accumulated."

typedef struct trained {
    aira__variable **variables;
    aira_tensor **leaves, **gradients;
    uint32_t n;
} trained;

/* How a run adds to the runs before it; NULL, NULL: one run is a step. */
typedef struct parts {
    aira_tensor *share, *keep;
} parts;

bool aira__is_accumulated(const char *variable) { return strncmp(variable, ACCUMULATED, strlen(ACCUMULATED)) == 0; }

bool aira__graph_has_input(const aira_graph *graph, const char *name) {
    for (uint32_t k = 0; k < graph->n_inputs; k++) {
        if (strcmp(graph->inputs[k].name, name) == 0) return true;
    }
    return false;
}

/* A training step does not hand out its logits. */
static void drop_output(aira_graph *graph, const char *name) {
    uint32_t kept = 0;
    for (uint32_t k = 0; k < graph->n_outputs; k++) {
        if (strcmp(graph->outputs[k].name, name) != 0) graph->outputs[kept++] = graph->outputs[k];
    }
    graph->n_outputs = kept;
}

static void release(trained *t) {
    free(t->variables);
    free(t->leaves);
    free(t->gradients);
}

static aira_status differentiate(aira_graph *graph, trained *t, aira_tensor *share, aira_error *error) {
    size_t room = graph->n_variables + 1u;
    t->variables = calloc(room, sizeof(aira__variable *));
    t->leaves = calloc(room, sizeof(aira_tensor *));
    t->gradients = calloc(room, sizeof(aira_tensor *));
    if (t->variables == NULL || t->leaves == NULL || t->gradients == NULL) {
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while building a training step");
    }
    for (uint32_t k = 0; k < graph->n_variables; k++) {
        aira__variable *v = graph->variables[k];
        if (v->kind != AIRA_VARIABLE_PARAM || (v->flags & AIRA_PARAM_FROZEN)) continue;
        t->variables[t->n] = v;
        t->leaves[t->n++] = v->leaf;
    }
    aira_tensor *loss = aira__graph_find_output(graph, "loss");
    if (share != NULL && loss != NULL) loss = aira__graph_ops()->mul(graph, loss, share);
    return aira__graph_gradients(graph, loss, t->leaves, t->n, t->gradients, error);
}

/* value, plus what the runs before left in "accumulated.<name>"; stored there where more runs follow. */
static aira_tensor *accumulated(aira_graph *graph, const char *name, aira_tensor *value, aira_tensor *keep, bool more) {
    const aira_ops *ops = aira__graph_ops();
    char full[512];
    snprintf(full, sizeof full, ACCUMULATED "%s", name);
    aira__variable *before = aira__graph_state(graph, full, &value->shape);
    if (before == NULL) return NULL; /* recorded in the graph */
    aira_tensor *sum = ops->where(graph, keep, ops->add(graph, before->leaf, value), value);
    if (more) aira__graph_assign(graph, before, sum);
    return sum;
}

/* Losses and gradients become those of all runs so far. */
static void accumulate(aira_graph *graph, trained *t, const parts *p, bool more) {
    const aira_ops *ops = aira__graph_ops();
    for (uint32_t k = 0; k < graph->n_outputs; k++) {
        aira__output *output = &graph->outputs[k];
        if (strcmp(output->name, "loss") != 0 && strcmp(output->name, "task_loss") != 0) continue;
        output->tensor = accumulated(graph, output->name, ops->mul(graph, output->tensor, p->share), p->keep, more);
    }
    for (uint32_t k = 0; k < t->n; k++) {
        if (t->gradients[k] == NULL) continue;
        t->gradients[k] = accumulated(graph, t->variables[k]->name, t->gradients[k], p->keep, more);
    }
}

static parts add_parts(aira_graph *graph, const aira__recipe *recipe) {
    const aira_shape scalar = {{0}, 0, 0};
    parts p = {NULL, NULL};
    if (recipe->accumulate <= 1) return p;
    p.share = aira__graph_input(graph, "share", graph->storage_dtype, &scalar);
    p.keep = aira__graph_input(graph, "keep", graph->storage_dtype, &scalar);
    return p;
}

static aira_tensor *global_norm(aira_graph *graph, const trained *t) {
    const aira_ops *ops = aira__graph_ops();
    aira_tensor *sum = NULL;
    for (uint32_t k = 0; k < t->n; k++) {
        int32_t axes[AIRA_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
        aira_tensor *g = t->gradients[k];
        if (g == NULL) continue;
        aira_tensor *square = ops->sum(graph, ops->mul(graph, g, g), axes, g->shape.rank, 0);
        sum = sum == NULL ? square : ops->add(graph, sum, square);
    }
    return sum == NULL ? NULL : ops->sqrt(graph, sum);
}

static void clip(aira_graph *graph, trained *t, aira_tensor *norm, double limit) {
    const aira_ops *ops = aira__graph_ops();
    aira_tensor *one = ops->compare(graph, "==", norm, norm);
    aira_tensor *factor = ops->div(graph, ops->scale(graph, one, limit),
                                   ops->add(graph, norm, ops->scale(graph, one, 1e-6)));
    factor = ops->min(graph, factor, one);
    for (uint32_t k = 0; k < t->n; k++) {
        if (t->gradients[k] != NULL) t->gradients[k] = ops->mul(graph, t->gradients[k], factor);
    }
}

static aira_status update(aira_graph *graph, const aira__recipe *recipe, aira__variable *v, aira_tensor *gradient,
                          aira_tensor *lr, aira_tensor *step, aira_error *error) {
    const aira_ops *ops = aira__graph_ops();
    const aira_optimizer *optimizer = recipe->optimizer->plugin->table;
    aira__variable *states[AIRA_OPTIMIZER_MAX_STATES];
    double lr_mult = v->lr_mult != 0 ? v->lr_mult : 1, decay_mult = v->decay_mult != 0 ? v->decay_mult : 1;
    aira_update_in in = {.size = sizeof in,
                         .no_decay = (v->flags & AIRA_PARAM_NO_DECAY) != 0,
                         .name = v->name,
                         .role = v->role != NULL ? v->role : "other",
                         .lr_mult = lr_mult,
                         .decay_mult = decay_mult,
                         .param = v->leaf,
                         .grad = gradient,
                         .lr = lr_mult != 1 ? ops->scale(graph, lr, lr_mult) : lr,
                         .step = step};
    if (optimizer->n_states > AIRA_OPTIMIZER_MAX_STATES) {
        return aira__fail(error, AIRA_E_FAILED, "optimizer %s wants %u states; %d are possible",
                          recipe->optimizer->plugin->id, optimizer->n_states, AIRA_OPTIMIZER_MAX_STATES);
    }
    for (uint32_t s = 0; s < optimizer->n_states; s++) {
        char name[512];
        snprintf(name, sizeof name, "optimizer.%s.%s", v->name, optimizer->state_names[s]);
        states[s] = aira__graph_state(graph, name, &v->shape);
        if (states[s] == NULL) break; /* recorded in the graph */
        in.state[s] = states[s]->leaf;
    }
    aira_update_out out = {.size = sizeof out};
    if (aira__graph_check(graph, error) != AIRA_OK) return error != NULL ? error->status : AIRA_E_FAILED;
    aira_status status = optimizer->build(recipe->optimizer->self, ops, graph, &in, &out);
    if (aira__graph_check(graph, error) != AIRA_OK) return error != NULL ? error->status : AIRA_E_FAILED;
    if (status != AIRA_OK || out.param == NULL) {
        return aira__fail(error, AIRA_E_FAILED, "optimizer %s gave no update for %s", recipe->optimizer->plugin->id,
                          v->name);
    }
    aira__graph_assign(graph, v, out.param);
    for (uint32_t s = 0; s < optimizer->n_states; s++) {
        if (out.state[s] != NULL) aira__graph_assign(graph, states[s], out.state[s]);
    }
    return AIRA_OK;
}

static aira_status add_update(aira_graph *graph, const aira__recipe *recipe, aira_error *error) {
    const aira_shape scalar = {{0}, 0, 0};
    trained t = {NULL, NULL, NULL, 0};
    aira_tensor *lr = aira__graph_input(graph, "lr", graph->storage_dtype, &scalar);
    aira_tensor *step = aira__graph_input(graph, "step", graph->storage_dtype, &scalar);
    parts p = add_parts(graph, recipe);
    aira_status status = differentiate(graph, &t, p.share, error);
    if (status == AIRA_OK && p.share != NULL) accumulate(graph, &t, &p, false);
    if (status == AIRA_OK) status = aira__graph_check(graph, error);
    if (status == AIRA_OK) {
        aira_tensor *norm = global_norm(graph, &t);
        if (norm == NULL) {
            status = aira__fail(error, AIRA_E_FAILED, "the loss does not depend on any trained parameter");
        } else {
            aira__graph_output(graph, "grad_norm", norm);
            if (recipe->clip > 0) clip(graph, &t, norm, recipe->clip);
        }
    }
    for (uint32_t k = 0; k < t.n && status == AIRA_OK; k++) {
        if (t.gradients[k] != NULL) status = update(graph, recipe, t.variables[k], t.gradients[k], lr, step, error);
    }
    release(&t);
    return status == AIRA_OK ? aira__graph_check(graph, error) : status;
}

static aira_status add_sums(aira_graph *graph, const aira__recipe *recipe, aira_error *error) {
    trained t = {NULL, NULL, NULL, 0};
    parts p = add_parts(graph, recipe);
    aira_status status = differentiate(graph, &t, p.share, error);
    if (status == AIRA_OK) accumulate(graph, &t, &p, true);
    release(&t);
    return status == AIRA_OK ? aira__graph_check(graph, error) : status;
}

static aira_graph *build(const aira__model_spec *spec, const aira__recipe *recipe, bool last, aira_error *error) {
    aira__model_spec own = *spec;
    own.training = true;
    own.with_loss = true;
    aira_graph *graph = aira__model_build(&own, error);
    if (graph == NULL) return NULL;
    drop_output(graph, "logits");
    aira_status status = last ? add_update(graph, recipe, error) : add_sums(graph, recipe, error);
    aira_graph *made = status == AIRA_OK && recipe->recompute ? aira__graph_recompute(graph, error) : graph;
    if (status == AIRA_OK && made == graph) return graph;
    aira__graph_destroy(graph);
    return status == AIRA_OK ? made : NULL;
}

aira_graph *aira__step_build(const aira__model_spec *spec, const aira__recipe *recipe, aira_error *error) {
    return build(spec, recipe, true, error);
}

aira_graph *aira__part_build(const aira__model_spec *spec, const aira__recipe *recipe, aira_error *error) {
    return build(spec, recipe, false, error);
}

aira_graph *aira__evaluation_build(const aira__model_spec *spec, aira_error *error) {
    const aira_ops *ops = aira__graph_ops();
    aira__model_spec own = *spec;
    own.training = false;
    own.with_loss = false;
    aira_graph *graph = aira__model_build(&own, error);
    if (graph == NULL) return NULL;
    aira_tensor *logits = aira__graph_find_output(graph, "logits"), *best = NULL;
    aira_shape shape = logits->shape;
    shape.rank = 2;
    shape.dims[2] = 0;
    drop_output(graph, "logits");
    aira_tensor *pair[2] = {logits, aira__graph_input(graph, "targets", AIRA_I32, &shape)};
    aira_tensor *nll = aira__graph_emit(graph, AIRA_OP_CROSS_ENTROPY, pair, 2, NULL, 0, NULL, 0, NULL, 0);
    ops->top_k(graph, logits, 1, &best);
    aira__graph_output(graph, "prediction", best);
    aira__graph_output(graph, "nll", ops->cast(graph, nll, AIRA_F32));
    if (aira__graph_check(graph, error) == AIRA_OK) return graph;
    aira__graph_destroy(graph);
    return NULL;
}
