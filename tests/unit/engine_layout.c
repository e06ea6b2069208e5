/* engine_layout.c - plans of random graphs keep every value intact until its last reader. */
#include <criterion/criterion.h>

#include "core/engine/plan.h"
#include "tests/support/engine.h"

static bool all_native(void *context, const aira__op *op) {
    (void)context;
    (void)op;
    return true;
}

static aira__plan *plan_of(aira_graph *graph, bool native, bool no_fusion, uint32_t copies,
                           aira__variable_table *variables) {
    static aira__variable_place places[64];
    uint64_t end = 0;
    aira_error error = {0};
    *variables = (aira__variable_table){places, graph->n_variables, 0};
    for (uint32_t k = 0; k < graph->n_variables; k++) {
        const aira__variable *v = graph->variables[k];
        uint64_t bytes = (uint64_t)aira__shape_elements(&v->shape) * aira__dtype_bytes(v->dtype);
        places[k] = (aira__variable_place){v->name, v->dtype, v->shape, end, bytes, graph, v};
        end += (bytes * copies + 63) & ~(uint64_t)63;
    }
    variables->bytes = end;
    aira__plan_options options = {copies, no_fusion, NULL};
    aira_graph *expanded = aira__graph_expand(graph, native ? all_native : NULL, NULL, &error);
    cr_assert_not_null(expanded, "%s", error.text);
    aira__plan *plan = NULL;
    cr_assert_eq(aira__plan_create(expanded, variables, &options, &plan, &error), AIRA_OK, "%s", error.text);
    return plan;
}

/* A tag per 4 bytes of arena and variables: the value that was written there last. */
typedef struct memory {
    uint32_t *tags[AIRA_N_BUFFERS];
} memory;

/* Was memory with this tag written by what v consists of? */
static bool belongs(const aira__plan *plan, uint32_t v, uint32_t tag) {
    const aira__step_node *node = plan->values[v].node == AIRA__NONE ? NULL : &plan->nodes[plan->values[v].node];
    if (node == NULL || !node->hidden) return tag == v + 1;
    for (uint32_t k = 0; k < node->n_in; k++) { /* a reshape, a slice, or a concatenation */
        if (belongs(plan, node->in[k], tag)) return true;
    }
    return false;
}

static void walk(const aira__plan *plan, memory *m, uint32_t v, bool write, uint32_t step) {
    uint64_t offset, bytes = aira__value_bytes(&plan->values[v]) * plan->values[v].copies;
    uint32_t root = aira__value_root(plan, v, &offset), storage = plan->values[root].storage;
    if (plan->values[v].storage == AIRA_STORE_CHAIN) return;
    cr_assert_leq(offset + bytes, plan->table.bytes[storage], "step %u leaves its buffer", step);
    for (uint64_t k = offset / 4; k < (offset + bytes) / 4; k++) {
        if (write)
            m->tags[storage][k] = v + 1;
        else if (storage == AIRA_STORE_ARENA)
            cr_assert(belongs(plan, v, m->tags[storage][k]), "step %u reads %u where %u lies", step, v,
                      m->tags[storage][k] - 1);
        else if (storage == AIRA_STORE_PERSISTENT)
            cr_assert_eq(m->tags[storage][k], 0, "step %u reads a variable after its assignment", step);
    }
}

/* Reads first, then writes; a result may take the place of an operand only if it is elementwise and dies here. */
static void check_group(const aira__plan *plan, memory *m, const aira__group *group, uint32_t step) {
    bool elementwise = aira__op_class(plan->nodes[group->nodes[0]].code) == AIRA_CLASS_ELEMENTWISE;
    for (int pass = 0; pass < 3; pass++) {
        for (uint32_t k = 0; k < group->n_nodes; k++) {
            const aira__step_node *node = &plan->nodes[group->nodes[k]];
            for (uint32_t j = 0; pass == 1 && j < node->n_out; j++) walk(plan, m, node->out[j], true, step);
            for (uint32_t j = 0; pass != 1 && j < node->n_in; j++) {
                uint64_t offset;
                uint32_t p = plan->values[node->in[j]].node, root = aira__value_root(plan, node->in[j], &offset);
                if (p != AIRA__NONE && plan->nodes[p].group == plan->nodes[group->nodes[0]].group) continue;
                if (pass == 0 || (!elementwise && plan->values[root].storage == AIRA_STORE_ARENA)) {
                    walk(plan, m, node->in[j], false, step);
                }
            }
        }
    }
}

static void check_plan(const aira__plan *plan) {
    memory m;
    for (int b = 0; b < (int)AIRA_N_BUFFERS; b++) m.tags[b] = calloc(plan->table.bytes[b] / 4 + 16, sizeof(uint32_t));
    for (uint32_t p = 0; p < plan->n_groups; p++) {
        const aira__group *group = &plan->groups[plan->order[p]];
        if (group->n_nodes > 0 && !plan->nodes[group->nodes[0]].hidden) check_group(plan, &m, group, p);
    }
    for (uint32_t k = 0; k < plan->n_outputs; k++) {
        uint64_t offset;
        uint32_t root = aira__value_root(plan, plan->outputs[k].value, &offset);
        cr_assert_eq(plan->values[root].storage, AIRA_STORE_IO);
    }
    for (int b = 0; b < (int)AIRA_N_BUFFERS; b++) free(m.tags[b]);
}

Test(engine_layout, live_values_do_not_overlap) {
    for (uint64_t seed = 1; seed <= 300; seed++) {
        aira_graph *graph = test_random_graph(AIRA_F32, seed, 10 + (int)(seed % 90));
        aira_error error = {0};
        cr_assert_eq(aira__graph_check(graph, &error), AIRA_OK, "seed %llu: %s", (unsigned long long)seed, error.text);
        for (int variant = 0; variant < 4; variant++) {
            aira__variable_table variables;
            aira__plan *plan = plan_of(graph, variant & 1, variant & 2, 1 + (uint32_t)(seed % 3), &variables);
            check_plan(plan);
            aira__plan_destroy(plan);
        }
        aira__graph_destroy(graph);
    }
}

/* Two results, dead code, duplicates, no-ops: what a plan is left with. */
Test(engine_layout, useless_work_disappears) {
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_shape shape = {{8, 6}, 2, 0}, flat = {{48}, 1, 0}, wide = {{4, 8, 6}, 3, 0};
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &shape);
    ops->exp(g, x);
    aira_tensor *a = ops->tanh(g, ops->reshape(g, x, &flat)), *b = ops->tanh(g, ops->reshape(g, x, &flat));
    aira_tensor *sum = ops->reshape(g, ops->add(g, a, b), &shape);
    aira__graph_output(g, "y", ops->add(g, ops->broadcast(g, sum, &wide), ops->constant(g, 1, &wide)));
    aira__variable_table variables;
    aira__plan *plan = plan_of(g, true, true, 1, &variables);
    char *text = aira__plan_describe(plan);
    cr_assert_null(strstr(text, "EXP"), "dead code stays:\n%s", text);
    char *first = strstr(text, "TANH");
    cr_assert(first != NULL && strstr(first + 1, "TANH") == NULL, "the duplicate stays:\n%s", text);
    cr_assert_null(strstr(text, "RESHAPE"), "a reshape moves data:\n%s", text);
    free(text);
    aira__plan_destroy(plan);
    aira__graph_destroy(g);
}

/* y = silu(z) x: silu(z) is in nobody's memory, and both gradients are made by one chain. */
Test(engine_layout, a_gate_keeps_no_activation) {
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_shape shape = {{8, 6}, 2, 0};
    aira_tensor *z = ops->tanh(g, aira__graph_input(g, "z", AIRA_F32, &shape));
    aira_tensor *x = ops->exp(g, aira__graph_input(g, "x", AIRA_F32, &shape));
    aira_tensor *wrt[2] = {z, x}, *grads[2],
                *loss = ops->sum(g, ops->exp(g, ops->mul(g, ops->silu(g, z), x)), (int32_t[]){0, 1}, 2, 0);
    aira_error error = {0};
    cr_assert_eq(aira__graph_gradients(g, loss, wrt, 2, grads, &error), AIRA_OK, "%s", error.text);
    aira__graph_output(g, "dz", grads[0]);
    aira__graph_output(g, "dx", grads[1]);
    aira__variable_table variables;
    aira__plan *plan = plan_of(g, true, true, 1, &variables);
    for (uint32_t s = 0; s < plan->table.n_steps; s++) {
        const aira_plan_step *step = &plan->table.steps[s];
        for (uint32_t k = 0; k < step->n_chain; k++) {
            if (step->chain[k].op != AIRA_OP_SILU) continue;
            const aira_plan_tensor *kept = &plan->table.tensors[step->chain[k].out[0]];
            cr_expect_eq(kept->storage, (uint32_t)AIRA_STORE_CHAIN, "silu(z) is kept");
        }
    }
    char *text = aira__plan_describe(plan);
    cr_expect_not_null(strstr(text, "SILU_BACKWARD"), "%s", text);
    free(text);
    aira__plan_destroy(plan);
    aira__graph_destroy(g);
}

/* x * s + b, tanh, times x, and an update of a variable: one chain, its inner values nowhere in memory. */
Test(engine_layout, elementwise_work_becomes_one_chain) {
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_shape shape = {{16, 6}, 2, 0};
    aira_param_info info = {.size = sizeof info, .init = "zeros"};
    aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &shape), *v = ops->param(g, "v", &shape, &info);
    aira_tensor *y = ops->mul(g, ops->tanh(g, ops->add(g, ops->scale(g, x, 3), v)), x);
    aira__graph_output(g, "y", y);
    aira__graph_assign(g, aira__graph_find_variable(g, "v"), ops->sub(g, v, y));
    aira__variable_table variables;
    aira__plan *plan = plan_of(g, true, false, 1, &variables);
    uint32_t chains = 0, inner = 0;
    for (uint32_t s = 0; s < plan->table.n_steps; s++) {
        chains += plan->table.steps[s].op == AIRA_OP_CHAIN;
        inner += plan->table.steps[s].n_chain;
        cr_assert(plan->table.steps[s].op == AIRA_OP_CHAIN || plan->table.steps[s].op == AIRA_OP_CONSTANT);
    }
    cr_assert_eq(chains, 1);
    cr_assert_eq(inner, 6, "mul, add, tanh, mul, sub, assign; got %u", inner);
    aira__plan_destroy(plan);
    aira__graph_destroy(g);
}

/* v is read again after the sum, so its assignment must wait. */
Test(engine_layout, assignment_waits_for_readers) {
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_ops *ops = aira__graph_ops();
    aira_shape shape = {{6, 6}, 2, 0};
    aira_param_info info = {.size = sizeof info, .init = "zeros"};
    aira_tensor *v = ops->param(g, "v", &shape, &info), *next = ops->tanh(g, v);
    aira__graph_assign(g, aira__graph_find_variable(g, "v"), next);
    aira__graph_output(g, "y", ops->matmul(g, next, v, 0, 0));
    aira__variable_table variables;
    aira__plan *plan = plan_of(g, true, false, 1, &variables);
    check_plan(plan);
    cr_assert_eq(plan->table.steps[plan->table.n_steps - 1].op, AIRA_OP_ASSIGN);
    aira__plan_destroy(plan);
    aira__graph_destroy(g);
}
