/* models.c - conformance of backbones and optimizers: a small model is built and differentiated, a quadratic is
 * minimised.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/optimizer.h"
#include "core/check/check.h"
#include "core/check/gradient.h"

/* --- backbones ------------------------------------------------------------------------------------------------------
 */

enum { VOCAB = 11, BATCH = 2, LENGTH = 6 };

static aira_graph *small_model(const aira__subject *s, const aira__layer *layers, uint32_t dtype, bool loss,
                               aira_error *error) {
    const aira__model_spec spec = {
        .backbone = s->plugin->table,
        .backbone_self = s->self,
        .layers = layers,
        .n_layers = 2,
        .vocab = VOCAB,
        .batch = BATCH,
        .input_length = LENGTH,
        .target_length = LENGTH,
        .compute_dtype = dtype,
        .training = true,
        .causal = true,
        .with_loss = loss,
    };
    return aira__model_build(&spec, error);
}

static void check_build(const aira__subject *s, const aira__layer *layers) {
    const char *name = aira__start(s, "builds");
    aira_error error = {0};
    aira_graph *with = small_model(s, layers, AIRA_F32, true, &error);
    aira_graph *without = with ? small_model(s, layers, AIRA_F32, false, &error) : NULL;
    aira_tensor *loss = with ? aira__graph_find_output(with, "loss") : NULL;
    if (!with || !without) {
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    } else if (!loss || loss->shape.rank != 0) {
        aira__say(s, name, AIRA_CHECK_FAIL, "the loss is no scalar");
    } else if (with->n_variables != without->n_variables) {
        aira__say(s, name, AIRA_CHECK_FAIL, "%u parameters with targets, %u without; they must be the same",
                  with->n_variables, without->n_variables);
    } else {
        aira__counts counts;
        aira__graph_count(with, &counts);
        aira__say(s, name, AIRA_CHECK_PASS, "two mlp layers, %d ids: logits [%d,%d,%d], %lld parameters", VOCAB, BATCH,
                  LENGTH, VOCAB, (long long)counts.parameters);
    }
    aira__graph_destroy(with);
    aira__graph_destroy(without);
}

static void check_first_loss(const aira__subject *s, const aira__layer *layers) {
    const char *name = aira__start(s, "first loss");
    aira_error error = {0};
    aira__trial *trial = NULL;
    double loss = NAN;
    aira_graph *graph = small_model(s, layers, AIRA_F32, true, &error);
    aira_status status = graph ? aira__trial_create(&s->lab, graph, 1, &trial, &error) : AIRA_E_FAILED;
    if (!status) status = aira__trial_draw_inputs(trial, 1, VOCAB, &error);
    if (!status) status = aira__trial_run(trial, &error);
    if (!status) status = aira__trial_output(trial, "loss", &loss, &error);
    aira__trial_destroy(trial);
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else
        aira__say(s, name, isfinite(loss) ? AIRA_CHECK_PASS : AIRA_CHECK_FAIL,
                  "loss %.4f at initial values; a uniform guess has %.4f", loss, log(VOCAB));
}

static void check_model_gradient(const aira__subject *s, const aira__layer *layers) {
    const char *name = aira__start(s, "gradient");
    aira_error error = {0};
    aira__gradient_result result = {0};
    const aira__gradient_options options = {.output = "loss", .range = VOCAB, .seed = 5};
    aira_graph *graph = small_model(s, layers, AIRA_F64, true, &error);
    aira_status status = graph ? aira__gradient_check(&s->lab, graph, &options, &result, &error) : AIRA_E_FAILED;
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else
        aira__say(s, name, result.error < 1e-6 ? AIRA_CHECK_PASS : AIRA_CHECK_FAIL,
                  "relative error %.1e, largest for %s, over %u parameters (fp64 finite differences)", result.error,
                  result.where, result.n);
}

void aira__check_backbone(aira__subject *s) {
    aira_error error = {0};
    const char *name = aira__start(s, "builds");
    json_t *canonical = json_pack("{s:s}", "use", "mlp");
    aira__instance *mlp = NULL;
    aira_status status = canonical ? aira__instance_create_json(s->registry, "primitive", canonical, &mlp, &error)
                                   : aira__fail(&error, AIRA_E_MEMORY, "out of memory");
    json_decref(canonical);
    if (status) {
        aira__say(s, name, AIRA_CHECK_SKIP, "needs primitive mlp as a layer: %.400s", error.text);
        return;
    }
    const aira__layer layer = {"M", "mlp", "{}", mlp->plugin->table, mlp->self};
    const aira__layer layers[2] = {layer, layer};
    check_build(s, layers);
    check_first_loss(s, layers);
    check_model_gradient(s, layers);
    aira__instance_destroy(mlp);
}

/* --- optimizers -----------------------------------------------------------------------------------------------------
 */

enum { UNKNOWNS = 8, STEPS = 100 };

/* loss = sum (k+1)/16 p_k^2, its gradient, and the update of p under inputs "lr" and "step". */
static aira_graph *quadratic(const aira__subject *s, aira_error *error) {
    const aira_optimizer *table = s->plugin->table;
    const aira_ops *o = aira__graph_ops();
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    if (!g) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory for a graph");
        return NULL;
    }
    const aira_shape shape = {{UNKNOWNS}, 1, 0}, scalar = {{0}, 0, 0};
    const aira_param_info normal = {.size = sizeof normal, .init = "normal", .a = 1};
    aira_update_in in = {.size = sizeof in, .name = "p", .role = "other", .lr_mult = 1, .decay_mult = 1};
    aira_update_out out = {.size = sizeof out};
    in.param = o->param(g, "p", &shape, &normal);
    in.lr = aira__graph_input(g, "lr", AIRA_F32, &scalar);
    in.step = aira__graph_input(g, "step", AIRA_F32, &scalar);
    aira_tensor *curve = o->scale(g, o->add(g, o->iota(g, &shape, 0), o->constant(g, 1, NULL)), 0.125);
    in.grad = o->mul(g, curve, in.param);
    const int32_t axis = 0;
    aira__graph_output(g, "loss", o->sum(g, o->scale(g, o->mul(g, in.grad, in.param), 0.5), &axis, 1, 0));
    aira__variable *states[AIRA_OPTIMIZER_MAX_STATES] = {0};
    for (uint32_t k = 0; k < table->n_states; k++) {
        char name[64];
        snprintf(name, sizeof name, "optimizer.p.%s", table->state_names[k]);
        states[k] = aira__graph_state(g, name, &shape);
        in.state[k] = states[k] ? states[k]->tensor : NULL;
    }
    aira_status status = table->build(s->self, o, g, &in, &out);
    if (status) aira__fail(error, status, "build() failed (%d)", (int)status);
    if (!status && out.param) aira__graph_assign(g, aira__graph_find_variable(g, "p"), out.param);
    for (uint32_t k = 0; k < table->n_states && !status; k++) {
        if (out.state[k]) aira__graph_assign(g, states[k], out.state[k]);
    }
    if (!status && !out.param) status = aira__fail(error, AIRA_E_FAILED, "build() returned no parameter");
    if (!status || g->status) status = aira__graph_check(g, error);
    if (!status) return g;
    aira__graph_destroy(g);
    return NULL;
}

/* Loss before the first and after the last step. */
static aira_status minimise(const aira__subject *s, double lr, double *first, double *last, aira_error *error) {
    aira__trial *trial = NULL;
    aira_graph *graph = quadratic(s, error);
    aira_status status = graph ? aira__trial_create(&s->lab, graph, 3, &trial, error) : AIRA_E_FAILED;
    for (int step = 0; step <= STEPS && !status; step++) {
        double number = step + 1;
        status = aira__trial_set_input(trial, "lr", &lr, error);
        if (!status) status = aira__trial_set_input(trial, "step", &number, error);
        if (!status) status = aira__trial_run(trial, error);
        if (!status) status = aira__trial_output(trial, "loss", step ? last : first, error);
    }
    aira__trial_destroy(trial);
    return status;
}

static bool check_states(const aira__subject *s, const aira_optimizer *table) {
    const char *name = aira__start(s, "table");
    bool named = table->n_states <= AIRA_OPTIMIZER_MAX_STATES;
    for (uint32_t k = 0; named && k < table->n_states; k++) {
        named = table->state_names && table->state_names[k] && table->state_names[k][0];
        for (uint32_t j = 0; named && j < k; j++) named = strcmp(table->state_names[j], table->state_names[k]) != 0;
    }
    if (!table->build || !table->learning_rate)
        aira__say(s, name, AIRA_CHECK_FAIL, "build and learning_rate must be set");
    else if (!named)
        aira__say(s, name, AIRA_CHECK_FAIL, "at most %d states, each with a name of its own",
                  AIRA_OPTIMIZER_MAX_STATES);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "%u states per parameter, learning rate %g", table->n_states,
                  table->learning_rate(s->self));
    return table->build && table->learning_rate && named;
}

void aira__check_optimizer(aira__subject *s) {
    const aira_optimizer *table = s->plugin->table;
    if (!check_states(s, table)) return;
    const char *name = aira__start(s, "quadratic");
    double lr = table->learning_rate(s->self), first = NAN, last = NAN, again = NAN;
    aira_error error = {0};
    aira_status status = minimise(s, lr, &first, &last, &error);
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else
        aira__say(s, name, last < first ? AIRA_CHECK_PASS : AIRA_CHECK_FAIL, "loss %.6f, after %d steps %.6f", first,
                  STEPS, last);
    if (status) return;
    name = aira__start(s, "repeatable");
    status = minimise(s, lr, &first, &again, &error);
    bool same = !status && memcmp(&last, &again, sizeof last) == 0;
    aira__say(s, name, same ? AIRA_CHECK_PASS : AIRA_CHECK_FAIL,
              same ? "run twice, the same bits" : "run twice, loss %.9g and %.9g", last, again);
}
