/* apart.c - see apart.h
 *
 * A value is the result of one step and lives until a step writes onto its place. All tensors that are read meanwhile
 * inside of the place are views of it and move along. A value with a view that is used at another time, or that is
 * larger than the place, stays.
 */
#include "apart.h"

#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "sum_chain.h"

#define MOST_BYTES (8ull << 20)   /* of one value */
#define MOST_LEASED (64ull << 20) /* of one that others follow at its place */
#define ALL_BYTES (64ull << 20)   /* of all that are not small */
#define SMALL 65536u              /* bytes of one value: there are thousands of numbers and vectors at most */
#define MOST_VIEWS 64u
#define GRANULE 256u
#define NONE UINT32_MAX
#define AFTER 8u /* steps behind a norm's gradient that may become one with it */

/* Own memory that steps first..last use. */
typedef struct lease {
    uint32_t first, last;
    uint64_t begin, end;
} lease;

typedef struct mover {
    gpu_layout *layout;
    const aira_plan *plan; /* the layout's */
    const gpu_step *steps;
    uint32_t n;
    uint32_t *first, *last; /* of a tensor: the steps that use it; first > last: none */
    lease *leases;
    uint32_t n_leases, room;
    uint64_t base, bytes; /* own memory below base is others'; moved so far, without what is small */
    bool out_of_memory;
} apart;

/* A tensor of a step. */
typedef struct use {
    uint32_t id;
    bool writes;
} use;

/* Room for GPU_MOST_RANGES. */
static uint32_t uses_of(const gpu_step *step, use *uses) {
    uint32_t n = 0;
    if (!step->chain) {
        for (uint32_t k = 0; k < step->n_in; k++) uses[n++] = (use){gpu_step_in(step)[k], false};
        for (uint32_t k = 0; k < step->n_out; k++) uses[n++] = (use){gpu_step_out(step)[k], true};
        return n;
    }
    const gpu_chain_program *p = &step->chain->program;
    for (uint32_t k = 0; k < p->n_loads; k++) uses[n++] = (use){step->chain->tensors[p->loads[k].view], false};
    for (uint32_t k = 0; k < p->n_code; k++)
        if (p->code[k].stored) uses[n++] = (use){step->chain->tensors[p->code[k].view], true};
    return n;
}

static void find_uses(apart *m) {
    use uses[GPU_MOST_RANGES];
    for (uint32_t id = 0; id < m->plan->n_tensors; id++) m->first[id] = UINT32_MAX;
    for (uint32_t s = 0; s < m->n; s++) {
        uint32_t n = uses_of(&m->steps[s], uses);
        for (uint32_t k = 0; k < n; k++) {
            if (m->first[uses[k].id] == UINT32_MAX) m->first[uses[k].id] = s;
            m->last[uses[k].id] = s;
        }
    }
}

/* The tensors that are read as views of what step s writes at the range; views[0] is given. False: it must stay. */
static bool find_views(const apart *m, uint32_t s, const gpu_range *range, uint32_t *views, uint32_t *n_views) {
    use uses[GPU_MOST_RANGES];
    uint32_t end = s + 1;
    for (bool over = false; end < m->n && !over; end++) {
        uint32_t n = uses_of(&m->steps[end], uses);
        for (uint32_t k = 0; k < n; k++) {
            const aira_plan_tensor *t = gpu_tensor_of(m->plan, uses[k].id);
            if (t->storage != range->storage || t->offset >= range->end) continue; /* most are: bytes are not counted */
            gpu_range used = gpu_range_of(m->plan, uses[k].id, 0);
            uint32_t known = 0;
            if (!gpu_ranges_meet(&used, range)) continue;
            over |= uses[k].writes;
            while (known < *n_views && views[known] != uses[k].id) known++;
            if (uses[k].writes && known < *n_views) return false; /* written twice */
            if (uses[k].writes || known < *n_views) continue;
            if (used.begin < range->begin || used.end > range->end || *n_views == MOST_VIEWS) return false;
            views[(*n_views)++] = uses[k].id;
        }
    }
    for (uint32_t k = 0; k < *n_views; k++)
        if (m->first[views[k]] < s + (k > 0) || m->last[views[k]] >= end) return false;
    return true;
}

/* Own memory for steps first..last, the lowest gap that others leave. Leases lie in order of their place. UINT64_MAX:
   out of memory. */
static uint64_t lease_memory(apart *m, uint32_t first, uint32_t last, uint64_t bytes) {
    uint64_t at = m->base;
    uint32_t k = 0;
    for (; k < m->n_leases && m->leases[k].begin < at + bytes; k++) {
        const lease *l = &m->leases[k];
        if (l->last >= first && last >= l->first && l->end > at) at = l->end;
    }
    if (m->n_leases == m->room) {
        uint32_t room = 2 * m->room + 64;
        lease *more = realloc(m->leases, room * sizeof *more);
        m->out_of_memory |= !more;
        if (!more) return UINT64_MAX;
        m->leases = more;
        m->room = room;
    }
    while (k > 0 && m->leases[k - 1].begin > at) k--;
    memmove(&m->leases[k + 1], &m->leases[k], (m->n_leases++ - k) * sizeof *m->leases);
    m->leases[k] = (lease){first, last, at, at + bytes};
    return at;
}

/* What step s writes to tensor id moves to a place that is its own for good, or (forever false) at least in steps
   first..last. */
static void move_value(apart *m, uint32_t s, uint32_t id, bool forever, uint32_t first, uint32_t last) {
    gpu_range range = gpu_range_of(m->plan, id, 1);
    uint64_t bytes = range.end - range.begin, size = (bytes + GRANULE - 1) / GRANULE * GRANULE;
    uint32_t views[MOST_VIEWS] = {id}, n_views = 1;
    if (range.storage != AIRA_STORE_ARENA || bytes > (forever ? MOST_BYTES : MOST_LEASED)) return;
    if (forever && bytes > SMALL && m->bytes + size > ALL_BYTES) return;
    if (!find_views(m, s, &range, views, &n_views)) return;
    for (uint32_t k = 0; k < n_views; k++) last = m->last[views[k]] > last ? m->last[views[k]] : last;
    uint64_t to = forever ? lease_memory(m, 0, NONE, size) : lease_memory(m, first, last, size);
    for (uint32_t k = 0; k < n_views && !m->out_of_memory; k++) {
        uint64_t within = gpu_tensor_of(m->plan, views[k])->offset - range.begin;
        m->out_of_memory = !gpu_layout_move(m->layout, views[k], to + within);
    }
    if (forever && bytes > SMALL) m->bytes += size;
}

/* --- sums of products before a norm's gradient --- */

static uint32_t writer_before(const apart *m, uint32_t before, const gpu_range *range) {
    for (uint32_t s = before; s-- > 0;)
        if (gpu_step_touches(m->plan, &m->steps[s], range, true)) return s;
    return NONE;
}

/* The products, and the chain that adds them, whose result step c reads as tensor id. Returns how many; 0: it is
   something else. */
static uint32_t find_members(const apart *m, uint32_t c, uint32_t id, uint32_t *members) {
    gpu_range range = gpu_range_of(m->plan, id, 0);
    uint32_t s = writer_before(m, c, &range), n = 0;
    sum_chain sum;
    if (s == NONE) return 0;
    members[n++] = s;
    if (m->steps[s].step->op == AIRA_OP_MATMUL) return n;
    if (!m->steps[s].chain || m->steps[s].chain->wide || !read_sum(m->plan, m->steps[s].chain, &sum)) return 0;
    for (uint32_t k = 0; k < sum.n_terms; k++) {
        range = gpu_range_of(m->plan, sum.terms[k], 0);
        members[n] = writer_before(m, s, &range);
        if (members[n] == NONE || m->steps[members[n]].step->op != AIRA_OP_MATMUL) return 0;
        n++;
    }
    return n;
}

/* The left operand of a product stays until step c, though the planner thought that it may be overwritten. */
static void keep_operand(apart *m, uint32_t product, uint32_t c, const uint32_t *members, uint32_t n) {
    gpu_range range = gpu_range_of(m->plan, gpu_step_in(&m->steps[product])[0], 0);
    bool overwritten = false;
    use uses[GPU_MOST_RANGES];
    for (uint32_t s = product + 1; s < c; s++) {
        bool is_member = false;
        for (uint32_t k = 0; k < n; k++) is_member |= members[k] == s;
        overwritten |= !is_member && gpu_step_touches(m->plan, &m->steps[s], &range, true);
    }
    uint32_t writer = overwritten ? writer_before(m, product, &range) : NONE;
    if (writer == NONE) return;
    uint32_t n_uses = uses_of(&m->steps[writer], uses);
    for (uint32_t k = 0; k < n_uses; k++) {
        gpu_range made = gpu_range_of(m->plan, uses[k].id, 0);
        if (uses[k].writes && gpu_ranges_equal(&made, &range))
            move_value(m, writer, uses[k].id, false, writer, c + AFTER);
    }
}

/* Does the range lie on a part of what one of the products reads? */
static bool lies_on_operand(const apart *m, const gpu_range *range, const uint32_t *members, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) {
        if (m->steps[members[k]].chain) continue;
        for (uint32_t j = 0; j < m->steps[members[k]].n_in; j++) {
            gpu_range from = gpu_range_of(m->plan, gpu_step_in(&m->steps[members[k]])[j], 0);
            if (gpu_ranges_meet(&from, range) && !gpu_ranges_equal(&from, range)) return true;
        }
    }
    return false;
}

/* Moves what would keep a norm's gradient from being one step with the products before it. */
static void free_slope(apart *m, uint32_t c) {
    const gpu_step *step = &m->steps[c];
    uint32_t members[1 + TERMS], n;
    if (step->step->op != AIRA_OP_RMS_NORM_BACKWARD || step->n_in < 3) return;
    n = find_members(m, c, gpu_step_in(step)[2], members);
    for (uint32_t k = 0; k < n; k++)
        if (!m->steps[members[k]].chain) keep_operand(m, members[k], c, members, n);
    uint32_t dx = gpu_step_out(step)[0];
    gpu_range range = gpu_range_of(m->plan, dx, 0);
    if (lies_on_operand(m, &range, members, n)) move_value(m, c, dx, false, c, c + AFTER);
    range = gpu_range_of(m->plan, dx, 0);
    for (uint32_t s = c + 1; s < m->n && s < c + AFTER && n; s++) { /* plus the residual's gradient */
        sum_chain sum;
        if (!gpu_step_touches(m->plan, &m->steps[s], &range, false)) continue;
        if (!m->steps[s].chain || m->steps[s].chain->wide || !read_sum(m->plan, m->steps[s].chain, &sum)) return;
        range = gpu_range_of(m->plan, sum.out, 0);
        if (lies_on_operand(m, &range, members, n)) move_value(m, s, sum.out, false, s, c + AFTER);
        return;
    }
}

/* Moves a concatenation that would keep the product of its first part from being one step with it. */
static void free_concatenation(apart *m, uint32_t c) {
    if (m->steps[c].step->op != AIRA_OP_CONCAT) return;
    uint32_t members[1 + TERMS], n = find_members(m, c, gpu_step_in(&m->steps[c])[0], members);
    gpu_range range = gpu_range_of(m->plan, gpu_step_out(&m->steps[c])[0], 0);
    if (lies_on_operand(m, &range, members, n)) move_value(m, c, gpu_step_out(&m->steps[c])[0], false, c, c + AFTER);
}

/* Moves a product that could run beside an earlier one of the same rows, if its place is in use in between. */
static void free_fan(apart *m, uint32_t t) {
    const gpu_step *step = &m->steps[t];
    if (step->chain || step->step->op != AIRA_OP_MATMUL || step->n_in != 2 || step->step->i[0] != 0) return;
    gpu_range rows = gpu_range_of(m->plan, gpu_step_in(step)[0], 0),
              out = gpu_range_of(m->plan, gpu_step_out(step)[0], 1);
    bool in_use = false;
    if (gpu_tensor_of(m->plan, gpu_step_in(step)[1])->shape.rank != 2) return;
    for (uint32_t s = t; s-- > 0 && t - s <= 2 * AFTER && !gpu_step_touches(m->plan, &m->steps[s], &rows, true);) {
        const gpu_step *other = &m->steps[s];
        if (!other->chain && other->step->op == AIRA_OP_MATMUL && other->step->i[0] == 0 &&
            other->step->i[1] == step->step->i[1]) {
            gpu_range same = gpu_range_of(m->plan, gpu_step_in(other)[0], 0);
            if (gpu_ranges_equal(&same, &rows)) {
                if (in_use) move_value(m, t, gpu_step_out(step)[0], false, s, t);
                return;
            }
        }
        in_use |= gpu_step_touches(m->plan, other, &out, false);
    }
}

static bool is_constant(const gpu_step *step) {
    return step->step->op == AIRA_OP_CONSTANT || step->step->op == AIRA_OP_IOTA;
}

/* Constants that lie apart come first, in their order; *first of them. False: out of memory. */
static bool constants_first(const aira_plan *plan, gpu_step *steps, uint32_t n, uint32_t *first) {
    gpu_step *sorted = calloc((size_t)n + 1, sizeof *sorted);
    uint32_t placed = 0;
    if (!sorted) return false;
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t s = 0; s < n; s++) {
            bool once = is_constant(&steps[s]) &&
                        gpu_tensor_of(plan, gpu_step_out(&steps[s])[0])->storage == GPU_STORE_OWN;
            if (once == (turn == 0)) sorted[placed++] = steps[s];
        }
        if (turn == 0) *first = placed;
    }
    memcpy(steps, sorted, n * sizeof *steps);
    free(sorted);
    return true;
}

bool gpu_set_apart(gpu_layout *layout, gpu_step *steps, uint32_t n, uint32_t *once) {
    const aira_plan *plan = &layout->plan;
    apart m = {.layout = layout, .plan = plan, .steps = steps, .n = n};
    *once = 0;
    if (plan->copies > 1) return true;
    m.first = calloc((size_t)plan->n_tensors + 1, sizeof *m.first);
    m.last = calloc((size_t)plan->n_tensors + 1, sizeof *m.last);
    bool good = m.first && m.last;
    m.base = (layout->own_bytes + GRANULE - 1) / GRANULE * GRANULE;
    if (good) find_uses(&m);
    /* in their order: what is found behind a value has not been moved yet */
    for (uint32_t s = 0; s < n && good; s++) {
        use uses[GPU_MOST_RANGES];
        free_slope(&m, s);
        free_concatenation(&m, s);
        free_fan(&m, s);
        if (!gpu_batch_takes(plan, &steps[s]) && !is_constant(&steps[s])) continue;
        uint32_t n_uses = uses_of(&steps[s], uses);
        for (uint32_t k = 0; k < n_uses; k++)
            if (uses[k].writes) move_value(&m, s, uses[k].id, true, 0, NONE);
        good = !m.out_of_memory;
    }
    free(m.first);
    free(m.last);
    free(m.leases);
    return good && constants_first(plan, steps, n, once);
}
