/* core/engine/fuse.c - pass 2: elementwise operations that run as one chain, tile by tile.
 *
 * Two elementwise nodes may share a chain if one reads the other's result whole (same shape, no broadcast). Chaining
 * must not create a cycle between groups; a *level* per node guarantees that without any search: a node's level is at
 * least that of its producers, strictly greater across every edge that leaves a group. So an edge between two groups
 * always climbs, and the groups form an acyclic graph however they were merged. A node that would have to join a
 * chain that is full starts a new one, a level higher. A group whose results nobody else reads may be lifted to its
 * reader's level: an update of optimizer state waits for the gradient instead of running on its own.
 *
 * Index tensors stay out of chains, so that a device's chains know floating point only.
 */
#include <stdlib.h>

#include "core/engine/plan.h"

typedef struct fusion {
    aira__plan *plan;
    uint32_t *parent, *next, *tail, *count; /* union-find with member lists, by node; the root is the first member */
    uint32_t *level;                        /* by node */
} fusion;

static uint32_t find(const fusion *f, uint32_t n) {
    while (f->parent[n] != n) n = f->parent[n];
    return n;
}

static bool is_float(uint32_t dtype) { return dtype == AIRA_F32 || dtype == AIRA_F64 || dtype == AIRA_BF16; }

static bool can_chain(const aira__plan *plan, const aira__step_node *node) {
    if (plan->options.no_fusion || aira__op_class(node->code) != AIRA_CLASS_ELEMENTWISE || node->n_out != 1)
        return false;
    if (!is_float(plan->values[node->out[0]].dtype)) return false;
    for (uint32_t k = 0; k < node->n_in; k++) {
        if (!is_float(plan->values[node->in[k]].dtype)) return false;
    }
    return true;
}

static bool edge_chains(const aira__plan *plan, const aira__step_node *from, uint32_t v, const aira__step_node *to) {
    return can_chain(plan, from) && can_chain(plan, to) && from->copies == to->copies && from->again == to->again &&
           aira__same_shape(&plan->values[v].shape, &plan->values[to->out[0]].shape);
}

/* Distinct values that the node (NONE: nothing besides) and the listed groups together read from outside. */
static uint32_t count_inputs(const fusion *f, uint32_t node, const uint32_t *roots, uint32_t n_roots) {
    const aira__plan *plan = f->plan;
    uint32_t seen[3 * (AIRA__CHAIN_STEPS + 1)], n = 0;
    for (uint32_t r = 0; r < n_roots + (node != AIRA__NONE); r++) {
        for (uint32_t m = r < n_roots ? roots[r] : node; m != AIRA__NONE; m = r < n_roots ? f->next[m] : AIRA__NONE) {
            for (uint32_t k = 0; k < plan->nodes[m].n_in; k++) {
                uint32_t v = plan->nodes[m].in[k], p = plan->values[v].node, j = 0;
                uint32_t root = p == AIRA__NONE ? AIRA__NONE : find(f, p);
                for (j = 0; j < n_roots && roots[j] != root; j++) continue;
                if (p == node || (p != AIRA__NONE && j < n_roots)) continue;
                for (j = 0; j < n && seen[j] != v; j++) continue;
                if (j == n) seen[n++] = v;
            }
        }
    }
    return n;
}

static uint32_t reads(const aira__plan *plan, uint32_t node, uint32_t v) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < plan->nodes[node].n_in; k++) n += plan->nodes[node].in[k] == v;
    return n;
}

static void join(fusion *f, uint32_t a, uint32_t b) { /* roots; the result's root is the smaller */
    uint32_t root = a < b ? a : b, other = a < b ? b : a;
    f->parent[other] = root;
    f->next[f->tail[root]] = other;
    f->tail[root] = f->tail[other];
    f->count[root] += f->count[other];
}

/* May the group of root run as late as node n: does nobody else read its results? */
static bool can_wait(const fusion *f, uint32_t root, uint32_t n) {
    const aira__plan *plan = f->plan;
    for (uint32_t m = root; m != AIRA__NONE; m = f->next[m]) {
        uint32_t v = plan->nodes[m].out[0], uses = 0;
        for (uint32_t other = root; other != AIRA__NONE; other = f->next[other]) uses += reads(plan, other, v);
        if (uses + reads(plan, n, v) != plan->values[v].uses) return false;
    }
    return true;
}

static void raise(fusion *f, uint32_t root, uint32_t level) {
    for (uint32_t m = root; m != AIRA__NONE; m = f->next[m]) f->level[m] = level;
}

static bool fits(const fusion *f, uint32_t n, const uint32_t *roots, uint32_t n_roots) {
    uint32_t steps = n != AIRA__NONE;
    for (uint32_t r = 0; r < n_roots; r++) steps += f->count[roots[r]];
    return steps <= AIRA__CHAIN_STEPS && count_inputs(f, n, roots, n_roots) <= AIRA__CHAIN_INPUTS;
}

/* Places one node: into the groups of its producers where it fits, else alone. */
static void place(fusion *f, uint32_t n) {
    const aira__plan *plan = f->plan;
    const aira__step_node *node = &plan->nodes[n];
    uint32_t level = 0, roots[3], n_roots = 0;
    for (uint32_t k = 0; k < node->n_in; k++) {
        uint32_t p = plan->values[node->in[k]].node;
        if (p == AIRA__NONE) continue;
        uint32_t least = f->level[p] + !edge_chains(plan, &plan->nodes[p], node->in[k], node);
        if (least > level) level = least;
    }
    for (uint32_t k = 0; k < node->n_in && k < 3; k++) {
        uint32_t p = plan->values[node->in[k]].node, j;
        if (p == AIRA__NONE || !edge_chains(plan, &plan->nodes[p], node->in[k], node)) continue;
        uint32_t root = find(f, p);
        if (f->level[p] != level && !can_wait(f, root, n)) continue;
        for (j = 0; j < n_roots && roots[j] != root; j++) continue;
        if (j < n_roots) continue;
        roots[n_roots++] = root;
    }
    f->level[n] = level;
    if (n_roots == 0) return;
    if (!fits(f, n, roots, n_roots)) { /* leave those out that would have to be lifted */
        uint32_t kept = 0;
        for (uint32_t r = 0; r < n_roots; r++) {
            if (f->level[roots[r]] == level) roots[kept++] = roots[r];
        }
        n_roots = kept;
        if (!fits(f, n, roots, n_roots)) {
            f->level[n] = level + 1;
            return;
        }
    }
    for (uint32_t r = 0; r < n_roots; r++) {
        raise(f, roots[r], level);
        join(f, find(f, n), find(f, roots[r]));
    }
}

/* The two gradients of a product y = a x, da = dy x and dx = dy a, both read dy: one chain reads it once. Groups of one
   level do not depend on each other, so that joining them is free. multiplied: by value, the last node that did. */
static void join_gradients(fusion *f, uint32_t *multiplied) {
    const aira__plan *plan = f->plan;
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        const aira__step_node *node = &plan->nodes[n];
        if (node->code != AIRA_OP_MUL || !node->backward || !can_chain(plan, node)) continue;
        for (uint32_t k = 0; k < node->n_in; k++) {
            uint32_t v = node->in[k], other = multiplied[v];
            if (!aira__same_shape(&plan->values[v].shape, &plan->values[node->out[0]].shape)) continue;
            multiplied[v] = n + 1;
            if (other-- == 0 || f->level[other] != f->level[n]) continue;
            const aira__step_node *sibling = &plan->nodes[other];
            uint32_t roots[2] = {find(f, other), find(f, n)};
            bool alike = sibling->copies == node->copies && sibling->again == node->again &&
                         sibling->block == node->block && roots[0] != roots[1];
            if (alike && fits(f, AIRA__NONE, roots, 2)) join(f, roots[0], roots[1]);
        }
    }
}

static int by_index(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static aira_status collect(fusion *f, aira_error *error) {
    aira__plan *plan = f->plan;
    for (uint32_t n = 0; n < plan->n_nodes; n++) plan->n_groups += f->parent[n] == n;
    plan->groups = aira__pool_take(&plan->pool, plan->n_groups, sizeof *plan->groups);
    if (plan->groups == NULL) return aira__plan_memory(error);
    uint32_t g = 0;
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        if (f->parent[n] != n) continue;
        aira__group *group = &plan->groups[g];
        group->room = 2 * f->count[n]; /* assignments may join */
        group->nodes = aira__pool_take(&plan->pool, group->room, sizeof *group->nodes);
        if (group->nodes == NULL) return aira__plan_memory(error);
        for (uint32_t m = n; m != AIRA__NONE; m = f->next[m]) {
            group->nodes[group->n_nodes++] = m;
            plan->nodes[m].group = g;
        }
        qsort(group->nodes, group->n_nodes, sizeof *group->nodes, by_index);
        group->first = group->nodes[0];
        group->last = group->nodes[group->n_nodes - 1];
        group->level = f->level[n];
        g++;
    }
    return AIRA_OK;
}

aira_status aira__plan_fuse(aira__plan *plan, aira_error *error) {
    uint32_t n = plan->n_nodes;
    aira__pool scratch = {NULL, 0, 0};
    fusion f = {.plan = plan};
    f.parent = aira__pool_take(&scratch, n, sizeof *f.parent);
    f.next = aira__pool_take(&scratch, n, sizeof *f.next);
    f.tail = aira__pool_take(&scratch, n, sizeof *f.tail);
    f.count = aira__pool_take(&scratch, n, sizeof *f.count);
    f.level = aira__pool_take(&scratch, n, sizeof *f.level);
    uint32_t *multiplied = aira__pool_take(&scratch, plan->n_values, sizeof *multiplied); /* zeroed */
    aira_status status = AIRA_OK;
    if (f.parent == NULL || f.next == NULL || f.tail == NULL || f.count == NULL || f.level == NULL ||
        multiplied == NULL) {
        status = aira__plan_memory(error);
    } else {
        for (uint32_t k = 0; k < n; k++) {
            f.parent[k] = f.tail[k] = k;
            f.next[k] = AIRA__NONE;
            f.count[k] = 1;
        }
        for (uint32_t k = 0; k < n; k++) place(&f, k);
        join_gradients(&f, multiplied);
        status = collect(&f, error);
    }
    aira__pool_release(&scratch);
    return status;
}
