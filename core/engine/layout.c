/* core/engine/layout.c - pass 3: memory.
 *
 * Values that are parts of others (a reshape, a slice or concatenation along the leading axis) share their memory and
 * cost no step. What is used only inside a chain needs none. An elementwise result may take the place of an operand of
 * the same type and size that dies with it (a device loads what a chain reads before it stores). The rest lives in one
 * of three buffers; temporaries are packed into the arena by lifetime: largest first, each into the tightest gap
 * between those alive at the same time.
 *
 * Invariant (checked by tests/unit/engine_layout.c): two arena values whose lifetimes overlap do not overlap in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine/plan.h"

#define ALIGNMENT ((uint64_t)64)

static uint64_t align_up(uint64_t bytes) { return (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1); }

/* --- parts --- */

static bool leads(const aira_shape *shape, int64_t axis) {
    for (int64_t k = 0; k < axis; k++) {
        if (shape->dims[k] != 1) return false;
    }
    return true;
}

static void make_part(aira__plan *plan, uint32_t v, uint32_t whole, uint64_t offset) {
    plan->values[v].parent = whole;
    plan->values[v].parent_offset = offset;
}

/* Bytes of one index step along axis. */
static uint64_t axis_bytes(const aira__value *value, int64_t axis) {
    uint64_t bytes = aira__dtype_bytes(value->dtype);
    for (int64_t k = axis + 1; k < (int64_t)value->shape.rank; k++) bytes *= (uint64_t)value->shape.dims[k];
    return bytes;
}

static bool fits_in_concat(const aira__plan *plan, const aira__step_node *concat, uint32_t k, uint64_t offset) {
    const aira__value *value = &plan->values[concat->in[k]];
    if (offset % ALIGNMENT != 0 || value->node == AIRA__NONE || value->parent != AIRA__NONE || value->output)
        return false;
    if (plan->nodes[value->node].hidden || value->copies != concat->copies) return false;
    for (uint32_t j = 0; j < k; j++) {
        if (concat->in[j] == concat->in[k]) return false;
    }
    return true;
}

/* The inputs of a concatenation along the leading axis are computed in place. */
static bool concat_in_place(aira__plan *plan, const aira__step_node *node) {
    const aira__value *out = &plan->values[node->out[0]];
    int64_t axis = node->i[0];
    uint64_t offset = 0;
    if (node->copies != 1 || !leads(&out->shape, axis)) return false;
    for (uint32_t k = 0; k < node->n_in; k++) {
        if (!fits_in_concat(plan, node, k, offset)) return false;
        offset += aira__value_bytes(&plan->values[node->in[k]]);
    }
    offset = 0;
    for (uint32_t k = 0; k < node->n_in; k++) {
        make_part(plan, node->in[k], node->out[0], offset);
        offset += aira__value_bytes(&plan->values[node->in[k]]);
    }
    return true;
}

static void find_parts(aira__plan *plan) {
    for (uint32_t p = 0; p < plan->n_groups; p++) {
        aira__step_node *node = &plan->nodes[plan->groups[plan->order[p]].first];
        if (node->copy) continue;
        if (node->code == AIRA_OP_RESHAPE) {
            make_part(plan, node->out[0], node->in[0], 0);
            node->hidden = true;
        } else if (node->code == AIRA_OP_SLICE && node->copies == 1) {
            const aira__value *whole = &plan->values[node->in[0]];
            if (!leads(&whole->shape, node->i[0])) continue;
            make_part(plan, node->out[0], node->in[0], (uint64_t)node->i[1] * axis_bytes(whole, node->i[0]));
            node->hidden = true;
        }
    }
    for (uint32_t p = 0; p < plan->n_groups; p++) {
        aira__step_node *node = &plan->nodes[plan->groups[plan->order[p]].first];
        if (node->code == AIRA_OP_CONCAT && concat_in_place(plan, node)) node->hidden = true;
    }
}

/* --- storage and lifetimes -------------------------------------------------------------------------------------------
 */

static void choose_storage(aira__plan *plan) {
    for (uint32_t v = 0; v < plan->n_values; v++) {
        aira__value *value = &plan->values[v];
        if (value->node == AIRA__NONE) continue;
        value->storage = plan->groups[plan->nodes[value->node].group].n_nodes > 1 ? AIRA_STORE_CHAIN : AIRA_STORE_ARENA;
    }
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        for (uint32_t k = 0; k < plan->nodes[n].n_in; k++) {
            aira__value *value = &plan->values[plan->nodes[n].in[k]];
            if (value->storage != AIRA_STORE_CHAIN) continue;
            if (plan->nodes[value->node].group != plan->nodes[n].group) value->storage = AIRA_STORE_ARENA;
        }
    }
    for (uint32_t v = 0; v < plan->n_values; v++) {
        uint64_t offset;
        if (plan->values[v].output) plan->values[aira__value_root(plan, v, &offset)].storage = AIRA_STORE_IO;
    }
}

static void touch(aira__plan *plan, uint32_t v, uint32_t position) {
    uint64_t offset;
    aira__value *root = &plan->values[aira__value_root(plan, v, &offset)];
    if (root->first == AIRA__NONE || position < root->first) root->first = position;
    if (root->last == AIRA__NONE || position > root->last) root->last = position;
}

static void find_lifetimes(aira__plan *plan) {
    for (uint32_t v = 0; v < plan->n_values; v++) plan->values[v].first = plan->values[v].last = AIRA__NONE;
    for (uint32_t p = 0; p < plan->n_groups; p++) {
        const aira__group *group = &plan->groups[plan->order[p]];
        for (uint32_t m = 0; m < group->n_nodes; m++) {
            const aira__step_node *node = &plan->nodes[group->nodes[m]];
            if (node->hidden) continue;
            for (uint32_t k = 0; k < node->n_in; k++) touch(plan, node->in[k], p);
            for (uint32_t k = 0; k < node->n_out; k++) touch(plan, node->out[k], p);
        }
    }
}

/* --- in place --- */

/* Does the group read memory `root`, whole wherever it reads it, and is it the last to do so? */
static bool dies_whole(const aira__plan *plan, const aira__group *group, uint32_t root, const aira__value *out) {
    const aira__value *whole = &plan->values[root];
    if (whole->storage != AIRA_STORE_ARENA || whole->last != group->position || whole->first >= group->position ||
        whole->copies != out->copies || aira__value_bytes(whole) != aira__value_bytes(out)) {
        return false;
    }
    for (uint32_t m = 0; m < group->n_nodes; m++) {
        const aira__step_node *node = &plan->nodes[group->nodes[m]];
        for (uint32_t k = 0; k < node->n_in; k++) {
            const aira__value *value = &plan->values[node->in[k]];
            uint64_t offset;
            if (aira__value_root(plan, node->in[k], &offset) != root) continue;
            if (offset != 0 || value->dtype != out->dtype ||
                aira__shape_elements(&value->shape) != aira__shape_elements(&out->shape)) {
                return false;
            }
        }
    }
    return true;
}

/* Memory that may be overwritten by result `out` of the group, or NONE. Of several operands of a single operation the
   one that was made last: it is still in the caches, and a device may let its maker write the result at once. */
static uint32_t dying_operand(const aira__plan *plan, const aira__group *group, const aira__value *out) {
    uint32_t latest = AIRA__NONE;
    for (uint32_t m = 0; m < group->n_nodes; m++) {
        const aira__step_node *node = &plan->nodes[group->nodes[m]];
        for (uint32_t k = 0; k < node->n_in; k++) {
            uint64_t offset;
            uint32_t root = aira__value_root(plan, node->in[k], &offset);
            if (!dies_whole(plan, group, root, out)) continue;
            if (group->n_nodes > 1) return root;
            if (latest == AIRA__NONE || plan->values[root].first > plan->values[latest].first) latest = root;
        }
    }
    return latest;
}

/* Elementwise results take the place of an operand that nobody needs afterwards: half the memory traffic of a sum. */
static void reuse_operands(aira__plan *plan) {
    for (uint32_t p = 0; p < plan->n_groups; p++) {
        const aira__group *group = &plan->groups[plan->order[p]];
        for (uint32_t m = 0; m < group->n_nodes; m++) {
            const aira__step_node *node = &plan->nodes[group->nodes[m]];
            if (aira__op_class(node->code) != AIRA_CLASS_ELEMENTWISE) continue;
            uint32_t v = node->out[0];
            const aira__value *out = &plan->values[v];
            if (out->storage != AIRA_STORE_ARENA || out->parent != AIRA__NONE) continue;
            uint32_t root = dying_operand(plan, group, out);
            if (root == AIRA__NONE) continue;
            make_part(plan, v, root, 0);
            if (out->last > plan->values[root].last) plan->values[root].last = out->last;
        }
    }
}

/* --- placing --- */

typedef struct item {
    uint64_t bytes;
    uint32_t value, first;
} item;

static int larger_first(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x->value < y->value ? -1 : 1;
}

/* Memory that is taken, apart from the values because every item looks at all of it. */
typedef struct place {
    uint64_t begin, end;
    uint32_t first, last; /* steps */
} place;

/* placed: in ascending begin. Returns the number of places that lie before the gap found. */
static uint32_t tightest_gap(const place *placed, uint32_t n, const aira__value *value, uint64_t bytes,
                             uint64_t *offset) {
    uint64_t end = 0, best = UINT64_MAX;
    for (uint32_t k = 0; k < n; k++) {
        const place *other = &placed[k];
        if (other->last < value->first || value->last < other->first) continue;
        if (other->begin >= end + bytes && other->begin - end < best) {
            best = other->begin - end;
            *offset = end;
        }
        if (other->end > end) end = other->end;
    }
    if (best == UINT64_MAX) *offset = end;
    uint32_t at = 0, beyond = n; /* the first place that begins further on */
    while (at < beyond) {
        uint32_t middle = at + (beyond - at) / 2;
        if (placed[middle].begin <= *offset)
            at = middle + 1;
        else
            beyond = middle;
    }
    return at;
}

static aira_status pack_arena(aira__plan *plan, aira_error *error) {
    item *items = malloc((plan->n_values + 1) * sizeof *items);
    place *placed = malloc((plan->n_values + 1) * sizeof *placed);
    uint32_t n = 0;
    if (items == NULL || placed == NULL) {
        free(items);
        free(placed);
        return aira__plan_memory(error);
    }
    for (uint32_t v = 0; v < plan->n_values; v++) {
        const aira__value *value = &plan->values[v];
        if (value->storage != AIRA_STORE_ARENA || value->parent != AIRA__NONE || value->first == AIRA__NONE) continue;
        items[n++] = (item){align_up(value->copies * aira__value_bytes(value)), v, value->first};
    }
    qsort(items, n, sizeof *items, larger_first);
    for (uint32_t k = 0; k < n; k++) {
        aira__value *value = &plan->values[items[k].value];
        uint32_t at = tightest_gap(placed, k, value, items[k].bytes, &value->offset);
        uint64_t end = value->offset + items[k].bytes;
        memmove(placed + at + 1, placed + at, (k - at) * sizeof *placed);
        placed[at] = (place){value->offset, end, value->first, value->last};
        if (end > plan->table.bytes[AIRA_STORE_ARENA]) plan->table.bytes[AIRA_STORE_ARENA] = end;
    }
    free(items);
    free(placed);
    return AIRA_OK;
}

aira_status aira__plan_layout(aira__plan *plan, aira_error *error) {
    find_parts(plan);
    choose_storage(plan);
    find_lifetimes(plan);
    if (!plan->options.no_fusion) reuse_operands(plan);
    uint64_t io = 0;
    for (uint32_t v = 0; v < plan->n_values; v++) {
        aira__value *value = &plan->values[v];
        if (value->storage != AIRA_STORE_IO || value->parent != AIRA__NONE) continue;
        value->offset = io;
        io += align_up(value->copies * aira__value_bytes(value));
    }
    plan->table.bytes[AIRA_STORE_IO] = io;
    plan->table.bytes[AIRA_STORE_PERSISTENT] = plan->variables->bytes;
    return pack_arena(plan, error);
}
