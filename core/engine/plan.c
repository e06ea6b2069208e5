/* core/engine/plan.c - runs the passes, orders the groups, places assignments, fills the device's tables.
 *
 * Order: each group right before it is first needed, else where its last operation stood in the graph. An assignment
 * joins the chain that computes its value when nobody reads the old value later; all others run at the end.
 */
#include "core/engine/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

aira_status aira__plan_memory(aira_error *error) {
    return aira__fail(error, AIRA_E_MEMORY, "out of memory while planning a graph; use a smaller model or batch");
}

uint32_t aira__plan_value(aira__plan *plan, uint32_t dtype, const aira_shape *shape) {
    if (plan->n_values == plan->max_values) return AIRA__NONE;
    plan->values[plan->n_values] = (aira__value){.dtype = dtype,
                                                 .copies = 1,
                                                 .shape = *shape,
                                                 .node = AIRA__NONE,
                                                 .source = AIRA__NONE,
                                                 .parent = AIRA__NONE,
                                                 .id = AIRA__NONE};
    return plan->n_values++;
}

bool aira__same_shape(const aira_shape *a, const aira_shape *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t k = 0; k < a->rank; k++) {
        if (a->dims[k] != b->dims[k]) return false;
    }
    return true;
}

uint64_t aira__value_bytes(const aira__value *value) {
    return (uint64_t)aira__shape_elements(&value->shape) * aira__dtype_bytes(value->dtype);
}

uint32_t aira__value_root(const aira__plan *plan, uint32_t v, uint64_t *offset) {
    *offset = 0;
    while (plan->values[v].parent != AIRA__NONE) {
        *offset += plan->values[v].parent_offset;
        v = plan->values[v].parent;
    }
    *offset += plan->values[v].offset;
    return v;
}

/* --- order --- */

typedef struct ordering {
    uint32_t *stack, *member, *operand; /* open groups; per group: how far its operands were visited */
    uint8_t *done;
} ordering;

/* The next producer of group g that has not run yet, or NONE. */
static uint32_t next_needed(const aira__plan *plan, ordering *o, uint32_t g) {
    const aira__group *group = &plan->groups[g];
    for (; o->member[g] < group->n_nodes; o->member[g]++, o->operand[g] = 0) {
        const aira__step_node *node = &plan->nodes[group->nodes[o->member[g]]];
        while (o->operand[g] < node->n_in) {
            uint32_t producer = plan->values[node->in[o->operand[g]++]].node;
            if (producer == AIRA__NONE) continue;
            uint32_t needed = plan->nodes[producer].group;
            if (needed != g && !o->done[needed]) return needed;
        }
    }
    return AIRA__NONE;
}

static void schedule(aira__plan *plan, ordering *o, uint32_t g, uint32_t *n) {
    uint32_t depth = 0;
    if (o->done[g]) return;
    o->stack[depth++] = g;
    while (depth > 0) {
        uint32_t top = o->stack[depth - 1], needed = next_needed(plan, o, top);
        if (needed != AIRA__NONE) {
            o->stack[depth++] = needed;
            continue;
        }
        depth--;
        o->done[top] = 1;
        plan->groups[top].position = *n;
        plan->order[(*n)++] = top;
    }
}

static aira_status order_groups(aira__plan *plan, aira_error *error) {
    aira__pool scratch = {NULL, 0, 0};
    ordering o = {aira__pool_take(&scratch, plan->n_groups, sizeof *o.stack),
                  aira__pool_take(&scratch, plan->n_groups, sizeof *o.member),
                  aira__pool_take(&scratch, plan->n_groups, sizeof *o.operand),
                  aira__pool_take(&scratch, plan->n_groups, sizeof *o.done)};
    plan->order = aira__pool_take(&plan->pool, plan->n_groups, sizeof *plan->order);
    aira_status status = AIRA_OK;
    if (o.stack == NULL || o.member == NULL || o.operand == NULL || o.done == NULL || plan->order == NULL) {
        status = aira__plan_memory(error);
    } else {
        uint32_t ordered = 0;
        for (uint32_t n = 0; n < plan->n_nodes; n++) {
            uint32_t g = plan->nodes[n].group;
            if (plan->groups[g].last == n) schedule(plan, &o, g, &ordered);
        }
    }
    aira__pool_release(&scratch);
    return status;
}

/* --- assignments --- */

/* origin[v]: the variable whose memory v may lie in, or NONE. */
static void find_origins(const aira__plan *plan, uint32_t *origin) {
    for (uint32_t v = 0; v < plan->n_values; v++) {
        origin[v] = plan->values[v].storage == AIRA_STORE_PERSISTENT ? v : AIRA__NONE;
    }
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        const aira__step_node *node = &plan->nodes[n];
        if (node->code == AIRA_OP_RESHAPE || node->code == AIRA_OP_SLICE) origin[node->out[0]] = origin[node->in[0]];
    }
}

/* Does a member of the group read the variable otherwise than whole and element by element? */
static bool reads_crosswise(const aira__plan *plan, const aira__group *group, const uint32_t *origin,
                            uint32_t variable) {
    for (uint32_t m = 0; m < group->n_nodes; m++) {
        const aira__step_node *node = &plan->nodes[group->nodes[m]];
        for (uint32_t k = 0; k < node->n_in; k++) {
            if (origin[node->in[k]] == variable && node->in[k] != variable) return true;
        }
    }
    return false;
}

static void join_assignment(aira__plan *plan, uint32_t n, const uint32_t *origin, const uint32_t *last_reader) {
    aira__step_node *node = &plan->nodes[n];
    const aira__value *from = &plan->values[node->in[0]], *to = &plan->values[node->out[0]];
    if (from->node == AIRA__NONE || from->dtype != to->dtype || !aira__same_shape(&from->shape, &to->shape)) return;
    const aira__step_node *producer = &plan->nodes[from->node];
    aira__group *group = &plan->groups[producer->group];
    if (aira__op_class(producer->code) != AIRA_CLASS_ELEMENTWISE || producer->copies != node->copies) return;
    for (uint32_t m = 0; m < group->n_nodes; m++) { /* chains hold floating point only */
        const aira__step_node *member = &plan->nodes[group->nodes[m]];
        for (uint32_t k = 0; k < member->n_in; k++) {
            if (plan->values[member->in[k]].dtype == AIRA_I32) return;
        }
    }
    uint32_t last = last_reader[node->out[0]];
    if (group->n_nodes >= AIRA__CHAIN_STEPS || group->n_nodes >= group->room) return;
    if (last != AIRA__NONE && last > group->position) return;
    if (last == group->position && reads_crosswise(plan, group, origin, node->out[0])) return;
    plan->groups[node->group].n_nodes = 0;
    group->nodes[group->n_nodes++] = n;
    node->group = producer->group;
}

static aira_status join_assignments(aira__plan *plan, aira_error *error) {
    if (plan->options.no_fusion) return AIRA_OK;
    uint32_t *origin = malloc((plan->n_values + 1) * sizeof *origin);
    uint32_t *last_reader = malloc((plan->n_values + 1) * sizeof *last_reader);
    if (origin == NULL || last_reader == NULL) {
        free(origin);
        free(last_reader);
        return aira__plan_memory(error);
    }
    find_origins(plan, origin);
    memset(last_reader, 0xff, (plan->n_values + 1) * sizeof *last_reader);
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        uint32_t position = plan->groups[plan->nodes[n].group].position;
        for (uint32_t k = 0; k < plan->nodes[n].n_in; k++) {
            uint32_t v = origin[plan->nodes[n].in[k]];
            if (v != AIRA__NONE && (last_reader[v] == AIRA__NONE || last_reader[v] < position))
                last_reader[v] = position;
        }
    }
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        if (plan->nodes[n].code == AIRA_OP_ASSIGN) join_assignment(plan, n, origin, last_reader);
    }
    free(origin);
    free(last_reader);
    return AIRA_OK;
}

/* --- the device's tables --- */

static uint32_t *take_ids(aira__plan *plan, const uint32_t *values, uint32_t n) {
    uint32_t *ids = aira__pool_take(&plan->pool, n, sizeof *ids);
    for (uint32_t k = 0; ids != NULL && k < n; k++) ids[k] = plan->values[values[k]].id;
    return ids;
}

static bool fill_step(aira__plan *plan, const aira__step_node *node, aira_plan_step *step) {
    *step = (aira_plan_step){.size = sizeof *step,
                             .op = node->code,
                             .n_in = node->n_in,
                             .n_out = node->n_out,
                             .n_i = node->n_i,
                             .n_f = node->n_f,
                             .copies = node->copies,
                             .block = node->block,
                             .backward = node->backward,
                             .i = node->i,
                             .f = node->f};
    step->in = take_ids(plan, node->in, node->n_in);
    step->out = take_ids(plan, node->out, node->n_out);
    return step->in != NULL && step->out != NULL;
}

/* What a chain reads and writes, each tensor once, in order of appearance. */
static bool fill_chain(aira__plan *plan, const aira__group *group, aira_plan_step *step) {
    aira_plan_step *inner = aira__pool_take(&plan->pool, group->n_nodes, sizeof *inner);
    uint32_t *in = aira__pool_take(&plan->pool, 3 * (size_t)group->n_nodes, sizeof *in), n_in = 0;
    uint32_t *out = aira__pool_take(&plan->pool, group->n_nodes, sizeof *out), n_out = 0;
    if (inner == NULL || in == NULL || out == NULL) return false;
    uint32_t g = plan->nodes[group->first].group;
    const aira__step_node *head = &plan->nodes[group->first];
    bool one_block = true;
    for (uint32_t m = 0; m < group->n_nodes; m++) {
        const aira__step_node *node = &plan->nodes[group->nodes[m]];
        if (!fill_step(plan, node, &inner[m])) return false;
        one_block = one_block && node->block == head->block && node->backward == head->backward;
        for (uint32_t k = 0; k < node->n_in; k++) {
            const aira__value *value = &plan->values[node->in[k]];
            uint32_t j = 0;
            if (value->node != AIRA__NONE && plan->nodes[value->node].group == g) continue;
            while (j < n_in && in[j] != value->id) j++;
            if (j == n_in) in[n_in++] = value->id;
        }
        const aira__value *result = &plan->values[node->out[0]];
        if (result->storage != AIRA_STORE_CHAIN) out[n_out++] = result->id;
    }
    *step = (aira_plan_step){.size = sizeof *step,
                             .op = AIRA_OP_CHAIN,
                             .n_in = n_in,
                             .n_out = n_out,
                             .copies = head->copies,
                             .n_chain = group->n_nodes,
                             .block = one_block ? head->block : 0,
                             .backward = one_block ? head->backward : 0,
                             .in = in,
                             .out = out,
                             .chain = inner};
    return true;
}

static void mark_used(aira__plan *plan, uint32_t v) {
    if (plan->values[v].id == AIRA__NONE) plan->values[v].id = plan->table.n_tensors++;
}

static aira_status fill_tensors(aira__plan *plan, aira_error *error) {
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        const aira__step_node *node = &plan->nodes[n];
        if (node->hidden) continue;
        for (uint32_t k = 0; k < node->n_in; k++) mark_used(plan, node->in[k]);
        for (uint32_t k = 0; k < node->n_out; k++) mark_used(plan, node->out[k]);
    }
    aira_plan_tensor *tensors = aira__pool_take(&plan->pool, plan->table.n_tensors, sizeof *tensors);
    if (tensors == NULL) return aira__plan_memory(error);
    for (uint32_t v = 0; v < plan->n_values; v++) {
        const aira__value *value = &plan->values[v];
        if (value->id == AIRA__NONE) continue;
        uint64_t offset;
        uint32_t root = aira__value_root(plan, v, &offset);
        tensors[value->id] = (aira_plan_tensor){.size = sizeof *tensors,
                                                .dtype = value->dtype,
                                                .storage = plan->values[root].storage,
                                                .copies = value->copies,
                                                .offset = offset,
                                                .shape = value->shape};
    }
    plan->table.tensors = tensors;
    return AIRA_OK;
}

static aira_status fill_tables(aira__plan *plan, aira_error *error) {
    const aira_graph *graph = plan->graph;
    aira_status status = fill_tensors(plan, error);
    if (status != AIRA_OK) return status;
    aira_plan_step *steps = aira__pool_take(&plan->pool, plan->n_groups, sizeof *steps);
    aira_plan_block *blocks = aira__pool_take(&plan->pool, graph->n_blocks, sizeof *blocks);
    if (steps == NULL || blocks == NULL) return aira__plan_memory(error);
    uint32_t n = 0;
    for (uint32_t p = 0; p < plan->n_groups; p++) {
        const aira__group *group = &plan->groups[plan->order[p]];
        if (group->n_nodes == 0 || plan->nodes[group->nodes[0]].hidden) continue;
        bool filled = group->n_nodes > 1 ? fill_chain(plan, group, &steps[n])
                                         : fill_step(plan, &plan->nodes[group->nodes[0]], &steps[n]);
        if (!filled) return aira__plan_memory(error);
        n++;
    }
    for (uint32_t b = 0; b < graph->n_blocks; b++) {
        blocks[b] = (aira_plan_block){sizeof *blocks,          graph->blocks[b].layer, graph->blocks[b].primitive,
                                      graph->blocks[b].config, graph->blocks[b].norm,  0};
    }
    plan->table.size = sizeof plan->table;
    plan->table.copies = plan->options.copies;
    plan->table.n_steps = n;
    plan->table.n_blocks = graph->n_blocks;
    plan->table.tensor_stride = sizeof(aira_plan_tensor);
    plan->table.step_stride = sizeof(aira_plan_step);
    plan->table.block_stride = sizeof(aira_plan_block);
    plan->table.steps = steps;
    plan->table.blocks = blocks;
    return AIRA_OK;
}

/* --- whole --- */

static aira_status index_variables(aira__plan *plan, aira_error *error) {
    const aira_graph *graph = plan->graph;
    plan->variable_index = aira__pool_take(&plan->pool, graph->n_variables, sizeof *plan->variable_index);
    if (plan->variable_index == NULL) return aira__plan_memory(error);
    uint32_t n = plan->variables->n, j = 0; /* the session's variables stand in much the same order */
    for (uint32_t k = 0; k < graph->n_variables; k++, j++) {
        uint32_t tried = 0;
        for (; tried < n; tried++, j++) {
            if (j >= n) j = 0;
            if (strcmp(plan->variables->places[j].name, graph->variables[k]->name) == 0) break;
        }
        if (tried == n) {
            return aira__fail(error, AIRA_E_FAILED, "variable %s is unknown to the session", graph->variables[k]->name);
        }
        plan->variable_index[k] = j;
    }
    return AIRA_OK;
}

aira_status aira__plan_create(aira_graph *graph, const aira__variable_table *variables,
                              const aira__plan_options *options, aira__plan **out, aira_error *error) {
    *out = NULL;
    aira__plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        aira__graph_destroy(graph);
        return aira__plan_memory(error);
    }
    plan->graph = graph;
    plan->variables = variables;
    plan->options = *options;
    aira_status status = index_variables(plan, error);
    if (status == AIRA_OK) status = aira__plan_lower(plan, error);
    if (status == AIRA_OK) status = aira__plan_fuse(plan, error);
    if (status == AIRA_OK) status = order_groups(plan, error);
    if (status == AIRA_OK) status = join_assignments(plan, error);
    if (status == AIRA_OK) status = aira__plan_layout(plan, error);
    if (status == AIRA_OK) status = fill_tables(plan, error);
    if (status != AIRA_OK) {
        aira__plan_destroy(plan);
        return status;
    }
    *out = plan;
    return AIRA_OK;
}

void aira__plan_destroy(aira__plan *plan) {
    if (plan == NULL) return;
    aira__graph_destroy(plan->graph);
    aira__pool_release(&plan->pool);
    free(plan->values);
    free(plan->nodes);
    free(plan);
}
