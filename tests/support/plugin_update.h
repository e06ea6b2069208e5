/* tests/support/plugin_update.h - for tests beside optimizers: one parameter, gradients given from outside.
 *
 * defines: update_run
 */
#ifndef TESTS_SUPPORT_PLUGIN_UPDATE_H
#define TESTS_SUPPORT_PLUGIN_UPDATE_H

#include "aira/optimizer.h"
#include "tests/support/plugin_lab.h"

/* Applies `steps` updates with gradients[step] to p (n numbers), in the element type. */
static inline void update_run(const plugin_lab *l, const char *yaml, uint32_t dtype, bool no_decay, double lr,
                              double *p, const double *gradients, int64_t n, int steps) {
    aira_error error = {0};
    aira__trial *trial;
    aira__instance *instance = lab_make(l, "optimizer", yaml);
    const aira_optimizer *table = instance->plugin->table;
    const aira_ops *o = aira__graph_ops();
    const aira_shape shape = {{n}, 1, 0}, scalar = {{0}, 0, 0};
    aira_graph *g = aira__graph_create(dtype, NULL);
    cr_assert(g);
    aira_update_in in = {
        .size = sizeof in, .no_decay = no_decay, .name = "p", .role = "other", .lr_mult = 1, .decay_mult = 1};
    aira_update_out out = {.size = sizeof out};
    in.param = o->param(g, "p", &shape, NULL);
    in.grad = aira__graph_input(g, "grad", dtype, &shape);
    in.lr = aira__graph_input(g, "lr", dtype, &scalar);
    in.step = aira__graph_input(g, "step", dtype, &scalar);
    aira__variable *states[AIRA_OPTIMIZER_MAX_STATES];
    for (uint32_t k = 0; k < table->n_states; k++) {
        states[k] = aira__graph_state(g, table->state_names[k], &shape);
        in.state[k] = states[k]->leaf;
    }
    cr_assert(table->build(instance->self, o, g, &in, &out) == AIRA_OK, "%s", g->error);
    aira__graph_assign(g, aira__graph_find_variable(g, "p"), out.param);
    for (uint32_t k = 0; k < table->n_states; k++) aira__graph_assign(g, states[k], out.state[k]);
    const aira__variable *v = aira__graph_find_variable(g, "p");
    aira_status status = aira__trial_create(&l->lab, g, 1, &trial, &error);
    if (!status) status = aira__trial_set_variable(trial, v, p, &error);
    for (int step = 0; step < steps && !status; step++) {
        double number = step + 1;
        status = aira__trial_set_input(trial, "grad", gradients + step * n, &error);
        if (!status) status = aira__trial_set_input(trial, "lr", &lr, &error);
        if (!status) status = aira__trial_set_input(trial, "step", &number, &error);
        if (!status) status = aira__trial_run(trial, &error);
    }
    if (!status) status = aira__trial_get_variable(trial, v, p, &error);
    cr_assert(status == AIRA_OK, "%s", error.text);
    aira__trial_destroy(trial);
    aira__instance_destroy(instance);
}

#endif
