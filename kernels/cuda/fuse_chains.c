/* fuse_chains.c - elementwise steps that follow each other become one: the planner's chains end at integers and at a
 * number of operands, and steps on single numbers need not even depend on each other.
 *
 * The earlier chain runs where the later one stood, if its operands are still there and nobody between touches its
 * results. Values stay in registers; what is stored and dies in the later chain's own result is not stored any more.
 */
#include <stdlib.h>
#include <string.h>

#include "batch.h"

#define REACH 64u /* steps that a chain looks back */
#define NONE UINT16_MAX

/* --- two chains as one --- */

static gpu_range range_of(const aira_plan *plan, const gpu_chain *chain, uint32_t view, uint32_t writes) {
    return gpu_range_of(plan, chain->tensors[view], writes);
}

/* The value of `first` that lies in memory at the range; NONE: none. False: only part of it, or memory rounds it. */
static bool find_stored(const aira_plan *plan, const gpu_chain *first, const gpu_range *range, uint32_t dtype,
                        uint16_t *value) {
    const gpu_chain_program *p = &first->program;
    *value = NONE;
    for (uint32_t k = 0; k < p->n_code; k++) {
        if (!p->code[k].stored) continue;
        gpu_range stored = range_of(plan, first, p->code[k].view, 1);
        if (!gpu_ranges_meet(&stored, range)) continue;
        if (!gpu_ranges_equal(&stored, range) || p->code[k].dtype != dtype || dtype == AIRA_BF16) return false;
        *value = (uint16_t)k;
    }
    return true;
}

static bool same_load(const aira_plan *plan, const gpu_chain *a, const gpu_chain_load *x, const gpu_chain *b,
                      const gpu_chain_load *y) {
    gpu_range r = range_of(plan, a, x->view, 0), s = range_of(plan, b, y->view, 0);
    if (!gpu_ranges_equal(&r, &s) || x->dtype != y->dtype || x->access != y->access || x->n_dims != y->n_dims)
        return false;
    for (uint32_t d = 0; d < x->n_dims; d++)
        if (x->extents[d] != y->extents[d] || x->strides[d] != y->strides[d]) return false;
    return true;
}

/* May what the second stores be stored when the first's operands were loaded by this thread alone? */
static bool stores_well(const aira_plan *plan, const gpu_chain *first, const gpu_chain *second) {
    const gpu_chain_program *p = &first->program, *q = &second->program;
    for (uint32_t k = 0; k < q->n_code; k++) {
        if (!q->code[k].stored) continue;
        gpu_range to = range_of(plan, second, q->code[k].view, 1);
        for (uint32_t j = 0; j < p->n_loads; j++) {
            gpu_range from = range_of(plan, first, p->loads[j].view, 0);
            bool whole = p->n == 1 || p->loads[j].access == GPU_WHOLE;
            if (gpu_ranges_meet(&to, &from) && !(whole && gpu_ranges_equal(&to, &from))) return false;
        }
        for (uint32_t j = 0; j < p->n_code; j++) {
            gpu_range other = range_of(plan, first, p->code[j].view, 1);
            if (p->code[j].stored && gpu_ranges_meet(&to, &other) && !gpu_ranges_equal(&to, &other)) return false;
        }
    }
    return true;
}

static uint16_t view_in(gpu_chain *chain, uint32_t id) {
    for (uint32_t k = 0; k < chain->n_tensors; k++)
        if (chain->tensors[k] == id) return (uint16_t)k;
    chain->tensors[chain->n_tensors] = id;
    return (uint16_t)chain->n_tensors++;
}

/* Where each operand of the second is found: a load, or NONE - 1 - k: instruction k of the first. Returns the number of
   loads; more than there may be: none. */
static uint32_t map_loads(const aira_plan *plan, const gpu_chain *first, const gpu_chain *second, uint16_t *found) {
    const gpu_chain_program *p = &first->program, *q = &second->program;
    uint32_t n = p->n_loads;
    for (uint32_t k = 0; k < q->n_loads; k++) {
        gpu_range range = range_of(plan, second, q->loads[k].view, 0);
        uint16_t value = NONE;
        if (!find_stored(plan, first, &range, q->loads[k].dtype, &value)) return GPU_CHAIN_LOADS + 1;
        uint32_t j = 0;
        while (j < p->n_loads && !same_load(plan, first, &p->loads[j], second, &q->loads[k])) j++;
        found[k] = (uint16_t)(value != NONE ? NONE - 1 - value : j < p->n_loads ? j : n++);
    }
    return n;
}

gpu_chain *gpu_chain_join(const aira_plan *plan, const gpu_chain *first, const gpu_chain *second) {
    const gpu_chain_program *p = &first->program, *q = &second->program;
    uint16_t found[GPU_CHAIN_LOADS];
    uint32_t n_code = p->n_code + q->n_code;
    if (p->n != q->n || !first->wide != !second->wide || n_code > GPU_CHAIN_CODE) return NULL;
    uint32_t n_loads = map_loads(plan, first, second, found);
    if (n_loads > GPU_CHAIN_LOADS || !stores_well(plan, first, second)) return NULL;
    gpu_chain *made = gpu_chain_make(n_loads, n_code);
    if (!made) return NULL;
    gpu_chain_program *r = &made->program;
    r->n = p->n;
    r->n_loads = n_loads;
    r->n_code = n_code;
    made->wide = first->wide;
    for (uint32_t k = 0; k < p->n_loads; k++) {
        r->loads[k] = p->loads[k];
        r->loads[k].view = view_in(made, first->tensors[p->loads[k].view]);
    }
    for (uint32_t k = 0; k < q->n_loads; k++) {
        if (found[k] < p->n_loads || found[k] >= n_loads) continue;
        r->loads[found[k]] = q->loads[k];
        r->loads[found[k]].view = view_in(made, second->tensors[q->loads[k].view]);
    }
    for (uint32_t k = 0; k < n_code; k++) {
        bool mine = k < p->n_code;
        const gpu_chain *of = mine ? first : second;
        gpu_chain_instruction *c = &r->code[k];
        *c = mine ? p->code[k] : q->code[k - p->n_code];
        for (uint32_t j = 0; j < c->n_in; j++) {
            uint32_t v = c->in[j];
            if (mine)
                v = v < p->n_loads ? v : n_loads + (v - p->n_loads);
            else if (v >= q->n_loads)
                v = n_loads + p->n_code + (v - q->n_loads);
            else
                v = found[v] < n_loads ? found[v] : n_loads + (NONE - 1u - found[v]);
            c->in[j] = (uint16_t)v;
        }
        gpu_range to = c->stored ? range_of(plan, of, c->view, 1) : (gpu_range){0};
        for (uint32_t j = 0; j < q->n_code && mine && c->stored; j++) { /* it dies in the second's result */
            gpu_range over = range_of(plan, second, q->code[j].view, 1);
            if (q->code[j].stored && gpu_ranges_equal(&to, &over)) c->stored = 0;
        }
        c->view = c->stored ? view_in(made, of->tensors[c->view]) : 0;
    }
    return made;
}

/* --- which --- */

/* Not an update, a cast of a variable or an assignment, which batch.c wants as they are. */
static bool is_free_chain(const aira_plan *plan, const gpu_step *step) {
    if (!step->chain || step->batch || step->step->copies > 1 || gpu_batch_takes(plan, step)) return false;
    for (uint32_t k = 0; k < step->chain->program.n_code; k++)
        if (step->chain->program.code[k].op == AIRA_OP_ASSIGN) return false;
    return step->chain->program.n > 0;
}

/* A cast alone, which an update may take in: the wider values are not needed in memory then. Batches move four elements
   at once, and ask no addresses. */
static bool is_cast(const aira_plan *plan, const gpu_step *step) {
    if (!is_free_chain(plan, step) || step->chain->program.n_code != 1) return false;
    const gpu_chain_program *p = &step->chain->program;
    uint32_t from = step->chain->tensors[p->loads[0].view];
    return p->code[0].op == AIRA_OP_CAST && p->loads[0].access == GPU_WHOLE &&
           gpu_tensor_of(plan, from)->offset % 16 == 0;
}
static bool is_update(const aira_plan *plan, const gpu_step *step) {
    return step->chain && !step->batch && gpu_batch_takes(plan, step);
}

/* Results of the joined chain that nobody reads after step c are not stored, unless they are an update's. */
static void forget_unread(const aira_plan *plan, const gpu_step *steps, uint32_t n, const bool *gone, uint32_t c,
                          gpu_chain *joined, uint32_t n_first) {
    for (uint32_t k = 0; k < n_first; k++) {
        gpu_range range = range_of(plan, joined, joined->program.code[k].view, 1);
        bool is_read = !joined->program.code[k].stored || gpu_is_seen(&range), over = false;
        for (uint32_t t = c + 1; t < n && !is_read && !over; t++) {
            gpu_range ranges[GPU_MOST_RANGES];
            uint32_t m = gone[t] ? 0 : gpu_step_ranges(plan, &steps[t], ranges);
            for (uint32_t j = 0; j < m; j++) {
                bool meets = gpu_ranges_meet(&ranges[j], &range);
                is_read |= meets && !ranges[j].writes;
                over |= meets && ranges[j].writes;
            }
        }
        if (!is_read) joined->program.code[k].stored = 0;
    }
}

/* Does `second` read what `first` stores, so that a pass over memory is saved? */
static bool reads_from(const aira_plan *plan, const gpu_step *second, const gpu_step *first) {
    gpu_range x[GPU_MOST_RANGES], y[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(plan, first, x), m = gpu_step_ranges(plan, second, y);
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t j = 0; j < m; j++)
            if (x[k].writes && !y[j].writes && gpu_ranges_equal(&x[k], &y[j])) return true;
    return false;
}

static bool may_run_late(const aira_plan *plan, const gpu_step *steps, const bool *gone, uint32_t s, uint32_t c) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(plan, &steps[s], ranges);
    for (uint32_t t = s + 1; t < c; t++)
        for (uint32_t k = 0; k < n && !gone[t]; k++)
            if (gpu_step_touches(plan, &steps[t], &ranges[k], !ranges[k].writes)) return false;
    return true;
}

/* Joins chains before it into chain c. Returns whether there were any. */
static bool join_earlier(const aira_plan *plan, gpu_step *steps, uint32_t n, bool *gone, uint32_t c) {
    bool update = is_update(plan, &steps[c]), any = false;
    if (!update && !is_free_chain(plan, &steps[c])) return false;
    for (uint32_t s = c; s-- > 0 && (update || c - s <= REACH);) {
        if (gone[s] || !(update ? is_cast(plan, &steps[s]) : is_free_chain(plan, &steps[s]))) continue;
        bool numbers = !update && steps[c].chain->program.n == 1 && steps[s].chain->program.n == 1;
        if (!numbers && !reads_from(plan, &steps[c], &steps[s])) continue;
        if (!may_run_late(plan, steps, gone, s, c)) continue;
        gpu_chain *joined = gpu_chain_join(plan, steps[s].chain, steps[c].chain);
        if (!joined) continue;
        if (update) forget_unread(plan, steps, n, gone, c, joined, 1);
        any = gone[s] = true;
        gpu_chain_destroy(steps[s].chain);
        gpu_chain_destroy(steps[c].chain);
        steps[s].chain = NULL;
        steps[c].chain = joined;
        steps[c].planned_in = gpu_chain_tensors(joined, &steps[c].n_in);
    }
    return any;
}

bool gpu_fuse_chains(const aira_plan *plan, gpu_step *steps, uint32_t *n) {
    bool *gone = calloc((size_t)*n + 1, sizeof *gone);
    uint32_t kept = 0;
    if (!gone) return false;
    /* again, as casts that are gone do not write over what others read any more */
    for (bool any = plan->copies <= 1; any;) {
        any = false;
        for (uint32_t c = 0; c < *n; c++) any |= !gone[c] && join_earlier(plan, steps, *n, gone, c);
    }
    for (uint32_t s = 0; s < *n; s++)
        if (!gone[s]) steps[kept++] = steps[s];
    *n = kept;
    free(gone);
    return true;
}
