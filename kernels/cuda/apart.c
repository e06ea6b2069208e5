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

#define MOST_BYTES (8ull << 20) /* of one value */
#define ALL_BYTES (64ull << 20)
#define MOST_VIEWS 64u

typedef struct mover {
    gpu_layout *layout;
    const aira_plan *plan; /* the layout's */
    const gpu_step *steps;
    uint32_t n;
    uint32_t *first, *last; /* of a tensor: the steps that use it; first > last: none */
    uint64_t bytes;         /* moved so far */
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

static void move_value(apart *m, uint32_t s, uint32_t id) {
    gpu_range range = gpu_range_of(m->plan, id, 1);
    uint64_t bytes = range.end - range.begin, size = (bytes + 255) & ~255ull;
    uint32_t views[MOST_VIEWS] = {id}, n_views = 1;
    if (range.storage != AIRA_STORE_ARENA || bytes > MOST_BYTES || m->bytes + size > ALL_BYTES) return;
    if (!find_views(m, s, &range, views, &n_views)) return;
    uint64_t to = (m->layout->own_bytes + 255) & ~255ull;
    for (uint32_t k = 0; k < n_views && !m->out_of_memory; k++) {
        uint64_t within = gpu_tensor_of(m->plan, views[k])->offset - range.begin;
        m->out_of_memory = !gpu_layout_move(m->layout, views[k], to + within);
    }
    m->bytes += size;
}

/* Would a norm's gradient lie on what the product before it reads, so that the two cannot be one step? */
static bool lies_on_operand(const apart *m, uint32_t c) {
    const gpu_step *step = &m->steps[c];
    if (step->step->op != AIRA_OP_RMS_NORM_BACKWARD || step->n_in < 3) return false;
    gpu_range slope = gpu_range_of(m->plan, gpu_step_in(step)[2], 0),
              to = gpu_range_of(m->plan, gpu_step_out(step)[0], 1);
    uint32_t s = c;
    while (s > 0 && !gpu_step_touches(m->plan, &m->steps[s - 1], &slope, true)) s--;
    if (s == 0 || m->steps[s - 1].step->op != AIRA_OP_MATMUL) return false;
    for (uint32_t k = 0; k < m->steps[s - 1].n_in; k++) {
        gpu_range from = gpu_range_of(m->plan, gpu_step_in(&m->steps[s - 1])[k], 0);
        if (gpu_ranges_meet(&from, &to) && !gpu_ranges_equal(&from, &to)) return true;
    }
    return false;
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
    if (good) find_uses(&m);
    /* in their order: what is found behind a value has not been moved yet */
    for (uint32_t s = 0; s < n && good; s++) {
        use uses[GPU_MOST_RANGES];
        if (lies_on_operand(&m, s)) move_value(&m, s, gpu_step_out(&steps[s])[0]);
        if (!gpu_batch_takes(plan, &steps[s]) && !is_constant(&steps[s])) continue;
        uint32_t n_uses = uses_of(&steps[s], uses);
        for (uint32_t k = 0; k < n_uses; k++)
            if (uses[k].writes) move_value(&m, s, uses[k].id);
        good = !m.out_of_memory;
    }
    free(m.first);
    free(m.last);
    return good && constants_first(plan, steps, n, once);
}
