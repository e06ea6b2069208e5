/* core/engine/lower.c - pass 1: what has to be computed at all.
 *
 * Walks the graph once, in its order. Dead operations are skipped; operations that change nothing (a cast to the same
 * type, a reshape to the same shape, a transpose that only moves extents of 1) disappear or become reshapes; equal
 * operations on equal operands are computed once (but for a gate's activation: activation_again); an elementwise
 * operation reads a broadcast operand as it was before the broadcast, and a constant as a scalar, because devices
 * broadcast for nothing.
 *
 * Invariants afterwards: nodes are in topological order, assignments last; every node is needed; no output and no
 * assigned value is the memory of a variable or an input (a copy is put in between).
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine/plan.h"

typedef struct lowering {
    aira__plan *plan;
    uint32_t *map;   /* graph tensor -> value */
    uint32_t *table; /* open addressing: node index + 1 by hash */
    uint32_t mask;
    uint32_t *assigned; /* per variable: 1 once assigned */
    uint32_t *last_use; /* per graph tensor: the last live operation that reads it */
} lowering;

static bool is_shared_input(const aira__plan *plan, const char *name) {
    const char *const *list = plan->options.shared_inputs;
    for (; list != NULL && *list != NULL; list++) {
        if (strcmp(*list, name) == 0) return true;
    }
    return false;
}

/* --- nodes --- */

static uint64_t mix(uint64_t h, uint64_t x) { return (h ^ x) * 0x100000001b3ull; }

static uint64_t node_hash(const aira__step_node *n, uint32_t dtype, const aira_shape *shape) {
    uint64_t h = mix(mix(0xcbf29ce484222325ull, n->code + 256u * n->again + 512u * n->repeat), dtype);
    for (uint32_t k = 0; k < n->n_in; k++) h = mix(h, n->in[k]);
    for (uint32_t k = 0; k < n->n_i; k++) h = mix(h, (uint64_t)n->i[k]);
    for (uint32_t k = 0; k < n->n_f; k++) {
        uint64_t bits;
        memcpy(&bits, &n->f[k], sizeof bits);
        h = mix(h, bits);
    }
    for (uint32_t k = 0; k < shape->rank; k++) h = mix(h, (uint64_t)shape->dims[k]);
    return h ^ (h >> 32);
}

static bool node_equal(const aira__plan *plan, const aira__step_node *a, const aira__step_node *b, uint32_t dtype,
                       const aira_shape *shape) {
    const aira__value *out = &plan->values[a->out[0]];
    return a->code == b->code && a->again == b->again && a->repeat == b->repeat && a->n_in == b->n_in &&
           a->n_out == b->n_out && a->n_i == b->n_i && a->n_f == b->n_f && !a->copy &&
           (a->n_in == 0 || memcmp(a->in, b->in, a->n_in * sizeof *a->in) == 0) &&
           (a->n_i == 0 || memcmp(a->i, b->i, a->n_i * sizeof *a->i) == 0) &&
           (a->n_f == 0 || memcmp(a->f, b->f, a->n_f * sizeof *a->f) == 0) && out->dtype == dtype &&
           aira__same_shape(&out->shape, shape);
}

static uint32_t copies_of(const aira__plan *plan, const uint32_t *in, uint32_t n) {
    uint32_t copies = 1;
    for (uint32_t k = 0; k < n; k++) {
        if (plan->values[in[k]].copies > copies) copies = plan->values[in[k]].copies;
    }
    return copies;
}

/* Appends a node (or finds an equal one) whose results have the given types and shapes. draft.in may be temporary,
   attributes are kept by pointer. Returns the node's index or NONE. */
static uint32_t add_node(lowering *l, const aira__step_node *draft, const uint32_t *dtypes, const aira_shape *shapes) {
    aira__plan *plan = l->plan;
    bool shareable = draft->code != AIRA_OP_ASSIGN && !draft->copy;
    uint32_t slot = 0;
    if (shareable) {
        slot = (uint32_t)node_hash(draft, dtypes[0], &shapes[0]) & l->mask;
        for (; l->table[slot] != 0; slot = (slot + 1) & l->mask) {
            uint32_t other = l->table[slot] - 1;
            if (node_equal(plan, &plan->nodes[other], draft, dtypes[0], &shapes[0])) return other;
        }
    }
    uint32_t index = plan->n_nodes;
    aira__step_node *node = &plan->nodes[index];
    *node = *draft;
    node->group = AIRA__NONE;
    node->in = aira__pool_take(&plan->pool, draft->n_in, sizeof *node->in);
    node->out = aira__pool_take(&plan->pool, draft->n_out, sizeof *node->out);
    if (node->in == NULL || node->out == NULL) return AIRA__NONE;
    if (draft->n_in > 0) memcpy(node->in, draft->in, draft->n_in * sizeof *node->in);
    node->copies = copies_of(plan, draft->in, draft->n_in);
    for (uint32_t k = 0; k < draft->n_out; k++) {
        uint32_t v = aira__plan_value(plan, dtypes[k], &shapes[k]);
        if (v == AIRA__NONE) return AIRA__NONE;
        plan->values[v].node = index;
        plan->values[v].copies = node->copies;
        node->out[k] = v;
    }
    if (shareable) l->table[slot] = index + 1;
    plan->n_nodes++;
    return index;
}

static uint32_t add_reshape(lowering *l, uint32_t in, const aira_shape *shape, bool copy, const aira__op *op) {
    const aira__plan *plan = l->plan;
    const aira__value *value = &plan->values[in];
    if (!copy) {
        if (aira__same_shape(&value->shape, shape)) return in;
        if (value->node != AIRA__NONE && plan->nodes[value->node].code == AIRA_OP_RESHAPE) {
            return add_reshape(l, plan->nodes[value->node].in[0], shape, false, op);
        }
    }
    aira__step_node draft = {.code = AIRA_OP_RESHAPE, .n_in = 1, .n_out = 1, .in = &in, .copy = copy};
    if (op != NULL) draft.block = op->block, draft.backward = op->backward != AIRA__FORWARD;
    uint32_t dtype = value->dtype;
    uint32_t node = add_node(l, &draft, &dtype, shape);
    return node == AIRA__NONE ? AIRA__NONE : plan->nodes[node].out[0];
}

/* --- operations that do nothing ------------------------------------------------------------------------------------
 */

static bool moves_only_ones(const aira__op *op) {
    const aira_shape *in = &op->in[0]->shape;
    int64_t last = -1;
    for (uint32_t k = 0; k < op->n_i; k++) {
        if (in->dims[op->i[k]] == 1) continue;
        if (op->i[k] < last) return false;
        last = op->i[k];
    }
    return true;
}

/* True when the first result holds the first operand's elements in the same order. */
static bool keeps_elements(const aira__op *op) {
    if (op->n_in == 0 || op->n_out != 1 || op->in[0]->dtype != op->out[0]->dtype) return false;
    if (aira__shape_elements(&op->in[0]->shape) != aira__shape_elements(&op->out[0]->shape)) return false;
    switch (op->code) {
    case AIRA_OP_CAST:
    case AIRA_OP_RESHAPE:
    case AIRA_OP_BROADCAST:
    case AIRA_OP_SLICE:
    case AIRA_OP_PAD:
    case AIRA_OP_SUM:
    case AIRA_OP_MAX_REDUCE:
        return true;
    case AIRA_OP_CONCAT:
        return op->n_in == 1;
    case AIRA_OP_TRANSPOSE:
        return moves_only_ones(op);
    default:
        return false;
    }
}

/* --- elementwise operands -------------------------------------------------------------------------------------------
 */

/* The value before a broadcast, or a constant as a scalar; v itself where there is nothing to gain. */
static uint32_t narrow(lowering *l, uint32_t v) {
    aira__plan *plan = l->plan;
    while (plan->values[v].node != AIRA__NONE) {
        const aira__step_node *node = &plan->nodes[plan->values[v].node];
        if (node->code == AIRA_OP_BROADCAST) {
            v = node->in[0];
        } else if (node->code == AIRA_OP_CONSTANT && plan->values[v].shape.rank > 0) {
            aira_shape scalar = {{0}, 0, 0};
            aira__step_node draft = *node;
            uint32_t dtype = plan->values[v].dtype;
            uint32_t index = add_node(l, &draft, &dtype, &scalar);
            return index == AIRA__NONE ? v : plan->nodes[index].out[0];
        } else {
            break;
        }
    }
    return v;
}

static bool broadcast_gives(const aira__plan *plan, const uint32_t *in, uint32_t n, const aira_shape *want) {
    aira_shape got = {{0}, 0, 0};
    for (uint32_t k = 0; k < n; k++) {
        if (plan->values[in[k]].shape.rank > got.rank) got.rank = plan->values[in[k]].shape.rank;
    }
    for (uint32_t a = 0; a < got.rank; a++) {
        int64_t extent = 1;
        for (uint32_t k = 0; k < n; k++) {
            const aira_shape *s = &plan->values[in[k]].shape;
            if (s->rank < got.rank - a) continue;
            int64_t d = s->dims[s->rank - (got.rank - a)];
            if (d != 1) extent = d;
        }
        got.dims[a] = extent;
    }
    return aira__same_shape(&got, want);
}

static void narrow_operands(lowering *l, const aira__op *op, uint32_t *in) {
    uint32_t narrowed[4];
    if (aira__op_class(op->code) != AIRA_CLASS_ELEMENTWISE || op->n_in < 2 || op->n_in > 4) return;
    for (uint32_t k = 0; k < op->n_in; k++) narrowed[k] = narrow(l, in[k]);
    if (broadcast_gives(l->plan, narrowed, op->n_in, &op->out[0]->shape)) memcpy(in, narrowed, op->n_in * sizeof *in);
}

/* --- the walk --- */

static uint32_t variable_value(lowering *l, uint32_t variable) {
    aira__plan *plan = l->plan;
    if (plan->variable_values[variable] != AIRA__NONE) return plan->variable_values[variable];
    const aira__variable *declared = plan->graph->variables[variable];
    uint32_t v = aira__plan_value(plan, declared->dtype, &declared->shape);
    if (v == AIRA__NONE) return v;
    plan->values[v].storage = AIRA_STORE_PERSISTENT;
    plan->values[v].source = variable;
    plan->values[v].copies = plan->options.copies;
    plan->values[v].offset = plan->variables->places[plan->variable_index[variable]].offset;
    return plan->variable_values[variable] = v;
}

static uint32_t input_value(lowering *l, uint32_t input) {
    aira__plan *plan = l->plan;
    const aira__input *declared = &plan->graph->inputs[input];
    uint32_t v = l->map[declared->tensor->id];
    if (v != AIRA__NONE) return v;
    v = aira__plan_value(plan, declared->tensor->dtype, &declared->tensor->shape);
    if (v == AIRA__NONE) return v;
    plan->values[v].storage = AIRA_STORE_IO;
    plan->values[v].source = input;
    plan->values[v].copies = is_shared_input(plan, declared->name) ? 1 : plan->options.copies;
    return l->map[declared->tensor->id] = v;
}

/* Does v lie in the memory of a variable or an input? */
static bool is_leaf_memory(const aira__plan *plan, uint32_t v) {
    while (plan->values[v].node != AIRA__NONE) {
        const aira__step_node *node = &plan->nodes[plan->values[v].node];
        if ((node->code != AIRA_OP_RESHAPE && node->code != AIRA_OP_SLICE) || node->copy) return false;
        v = node->in[0];
    }
    return true;
}

static uint32_t own_memory(lowering *l, uint32_t v) {
    return is_leaf_memory(l->plan, v) ? add_reshape(l, v, &l->plan->values[v].shape, true, NULL) : v;
}

/* A gate's activation in the backward of its product: y = silu(z) x needs silu(z) again for dx, and dz needs z anyway.
   Computing silu(z) beside dx is cheaper than keeping it. Returns the value to read for operand k of the operation. */
static uint32_t activation_again(lowering *l, const aira__op *op, uint32_t k, uint32_t o) {
    const aira_graph *graph = l->plan->graph;
    const aira_tensor *t = op->in[k];
    const aira__op *made = graph->ops[t->op];
    uint32_t v = l->map[t->id];
    bool cheap = made->code == AIRA_OP_SILU || made->code == AIRA_OP_GELU || made->code == AIRA_OP_RELU;
    if (!cheap || op->code != AIRA_OP_MUL || op->backward != AIRA__BACKWARD || made->backward != AIRA__FORWARD)
        return v;
    if (!aira__same_shape(&t->shape, &op->out[0]->shape) || l->last_use[made->in[0]->id] <= o) return v;
    uint32_t in = l->map[made->in[0]->id];
    aira__step_node draft = {.code = made->code,
                             .n_in = 1,
                             .n_out = 1,
                             .n_i = made->n_i,
                             .n_f = made->n_f,
                             .block = op->block,
                             .backward = 1,
                             .repeat = true,
                             .in = &in,
                             .i = made->i,
                             .f = made->f};
    uint32_t node = add_node(l, &draft, &t->dtype, &t->shape);
    return node == AIRA__NONE ? AIRA__NONE : l->plan->nodes[node].out[0];
}

static aira_status lower_op(lowering *l, uint32_t o, aira_error *error) {
    const aira__op *op = l->plan->graph->ops[o];
    aira__plan *plan = l->plan;
    if (op->code == AIRA_OP_PARAM || op->code == AIRA_OP_INPUT) {
        uint32_t v = op->code == AIRA_OP_PARAM ? variable_value(l, (uint32_t)op->i[0])
                                               : input_value(l, (uint32_t)op->i[0]);
        if (v == AIRA__NONE) return aira__plan_memory(error);
        l->map[op->out[0]->id] = v;
        return AIRA_OK;
    }
    uint32_t few[16], *in = few;
    if (op->n_in > 16 && (in = aira__pool_take(&plan->pool, op->n_in, sizeof *in)) == NULL) {
        return aira__plan_memory(error);
    }
    for (uint32_t k = 0; k < op->n_in; k++) {
        in[k] = activation_again(l, op, k, o);
        if (in[k] == AIRA__NONE) return aira__plan_memory(error);
    }
    if (keeps_elements(op)) {
        uint32_t v = add_reshape(l, in[0], &op->out[0]->shape, false, op);
        if (v == AIRA__NONE) return aira__plan_memory(error);
        l->map[op->out[0]->id] = v;
        return AIRA_OK;
    }
    narrow_operands(l, op, in);
    uint32_t dtypes[8];
    aira_shape shapes[8];
    if (op->n_out > 8)
        return aira__fail(error, AIRA_E_FAILED, "operation %s has %u results; the planner takes 8",
                          aira__op_name(op->code), op->n_out);
    for (uint32_t k = 0; k < op->n_out; k++) {
        dtypes[k] = op->out[k]->dtype;
        shapes[k] = op->out[k]->shape;
    }
    aira__step_node draft = {.code = op->code,
                             .n_in = op->n_in,
                             .n_out = op->n_out,
                             .n_i = op->n_i,
                             .n_f = op->n_f,
                             .block = op->block,
                             .backward = op->backward != AIRA__FORWARD,
                             .again = op->backward == AIRA__RECOMPUTED,
                             .in = in,
                             .i = op->i,
                             .f = op->f};
    uint32_t node = add_node(l, &draft, dtypes, shapes);
    if (node == AIRA__NONE) return aira__plan_memory(error);
    for (uint32_t k = 0; k < op->n_out; k++) l->map[op->out[k]->id] = plan->nodes[node].out[k];
    return AIRA_OK;
}

static aira_status lower_assign(lowering *l, const aira__op *op, aira_error *error) {
    aira__plan *plan = l->plan;
    uint32_t variable = (uint32_t)op->i[0];
    if (l->assigned[variable]) {
        return aira__fail(error, AIRA_E_FAILED, "variable %s is assigned twice in one graph",
                          plan->graph->variables[variable]->name);
    }
    l->assigned[variable] = 1;
    uint32_t in = own_memory(l, l->map[op->in[0]->id]), target = variable_value(l, variable);
    if (in == AIRA__NONE || target == AIRA__NONE) return aira__plan_memory(error);
    aira__step_node draft = {.code = AIRA_OP_ASSIGN, .n_in = 1, .n_i = op->n_i, .in = &in, .i = op->i};
    uint32_t index = add_node(l, &draft, NULL, NULL);
    if (index == AIRA__NONE) return aira__plan_memory(error);
    aira__step_node *node = &plan->nodes[index];
    if ((node->out = aira__pool_take(&plan->pool, 1, sizeof *node->out)) == NULL) return aira__plan_memory(error);
    node->out[0] = target;
    node->n_out = 1;
    node->copies = plan->options.copies;
    return AIRA_OK;
}

/* Marks what outputs and assignments need, and who reads a tensor last. */
static void mark_live(const aira_graph *graph, uint8_t *live_op, uint8_t *live_tensor, uint32_t *last_use) {
    for (uint32_t k = 0; k < graph->n_outputs; k++) live_tensor[graph->outputs[k].tensor->id] = 1;
    for (uint32_t o = graph->n_ops; o-- > 0;) {
        const aira__op *op = graph->ops[o];
        bool live = op->code == AIRA_OP_ASSIGN;
        for (uint32_t k = 0; k < op->n_out && !live; k++) live = live_tensor[op->out[k]->id];
        live_op[o] = live;
        for (uint32_t k = 0; live && k < op->n_in; k++) {
            if (last_use[op->in[k]->id] == 0) last_use[op->in[k]->id] = o;
            live_tensor[op->in[k]->id] = 1;
        }
    }
}

/* Counts uses and drops nodes that nobody reads any more (broadcasts, wide constants). */
static void drop_unused(aira__plan *plan) {
    uint32_t kept = 0;
    for (uint32_t k = 0; k < plan->n_outputs; k++) plan->values[plan->outputs[k].value].uses++;
    for (uint32_t n = plan->n_nodes; n-- > 0;) {
        aira__step_node *node = &plan->nodes[n];
        bool live = node->code == AIRA_OP_ASSIGN;
        for (uint32_t k = 0; k < node->n_out && !live; k++) live = plan->values[node->out[k]].uses > 0;
        node->hidden = !live;
        for (uint32_t k = 0; !live && k < node->n_out; k++) plan->values[node->out[k]].node = AIRA__NONE;
        for (uint32_t k = 0; live && k < node->n_in; k++) plan->values[node->in[k]].uses++;
    }
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        if (plan->nodes[n].hidden) continue;
        plan->nodes[kept] = plan->nodes[n];
        const aira__step_node *node = &plan->nodes[kept];
        for (uint32_t k = 0; k < node->n_out && node->code != AIRA_OP_ASSIGN; k++) {
            plan->values[node->out[k]].node = kept;
        }
        kept++;
    }
    plan->n_nodes = kept;
}

static aira_status name_outputs(lowering *l, aira_error *error) {
    aira__plan *plan = l->plan;
    const aira_graph *graph = plan->graph;
    plan->outputs = aira__pool_take(&plan->pool, graph->n_outputs, sizeof *plan->outputs);
    plan->inputs = aira__pool_take(&plan->pool, graph->n_inputs, sizeof *plan->inputs);
    if (plan->outputs == NULL || plan->inputs == NULL) return aira__plan_memory(error);
    for (uint32_t k = 0; k < graph->n_outputs; k++) {
        uint32_t v = own_memory(l, l->map[graph->outputs[k].tensor->id]);
        if (v == AIRA__NONE) return aira__plan_memory(error);
        plan->values[v].output = true;
        plan->outputs[plan->n_outputs++] = (aira__named_value){graph->outputs[k].name, v};
    }
    for (uint32_t k = 0; k < graph->n_inputs; k++) { /* inputs that nobody reads can still be set */
        uint32_t v = input_value(l, k);
        if (v == AIRA__NONE) return aira__plan_memory(error);
        plan->inputs[plan->n_inputs++] = (aira__named_value){graph->inputs[k].name, v};
    }
    return AIRA_OK;
}

aira_status aira__plan_lower(aira__plan *plan, aira_error *error) {
    const aira_graph *graph = plan->graph;
    uint32_t slots = 64;
    plan->max_nodes = 2 * graph->n_ops + graph->n_outputs + 1;
    plan->max_values = graph->n_tensors + 2 * graph->n_ops + graph->n_outputs + graph->n_variables + graph->n_inputs +
                       1;
    while (slots < 2 * plan->max_nodes) slots *= 2;
    /* megabytes, most of them never used: what is taken is filled then */
    plan->nodes = malloc(plan->max_nodes * sizeof *plan->nodes);
    plan->values = malloc(plan->max_values * sizeof *plan->values);
    plan->variable_values = aira__pool_take(&plan->pool, graph->n_variables, sizeof *plan->variable_values);
    lowering l = {.plan = plan, .mask = slots - 1};
    aira__pool scratch = {NULL, 0, 0};
    l.map = aira__pool_take(&scratch, graph->n_tensors, sizeof *l.map);
    l.table = aira__pool_take(&scratch, slots, sizeof *l.table);
    l.assigned = aira__pool_take(&scratch, graph->n_variables, sizeof *l.assigned);
    l.last_use = aira__pool_take(&scratch, graph->n_tensors, sizeof *l.last_use);
    uint8_t *live_op = aira__pool_take(&scratch, graph->n_ops, 1);
    uint8_t *live_tensor = aira__pool_take(&scratch, graph->n_tensors, 1);
    aira_status status = AIRA_OK;
    if (plan->nodes == NULL || plan->values == NULL || plan->variable_values == NULL || l.map == NULL ||
        l.table == NULL || l.assigned == NULL || l.last_use == NULL || live_op == NULL || live_tensor == NULL) {
        status = aira__plan_memory(error);
    } else {
        memset(l.map, 0xff, graph->n_tensors * sizeof *l.map);
        memset(plan->variable_values, 0xff, graph->n_variables * sizeof *plan->variable_values);
        mark_live(graph, live_op, live_tensor, l.last_use);
        for (uint32_t o = 0; o < graph->n_ops && status == AIRA_OK; o++) {
            if (live_op[o] && graph->ops[o]->code != AIRA_OP_ASSIGN) status = lower_op(&l, o, error);
        }
        if (status == AIRA_OK) status = name_outputs(&l, error);
        for (uint32_t o = 0; o < graph->n_ops && status == AIRA_OK; o++) {
            if (graph->ops[o]->code == AIRA_OP_ASSIGN) status = lower_assign(&l, graph->ops[o], error);
        }
    }
    aira__pool_release(&scratch);
    if (status == AIRA_OK) drop_unused(plan);
    return status;
}
