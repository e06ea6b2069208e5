/* own.c - see own.h */
#include "own.h"

#include <stdlib.h>
#include <string.h>

enum { GRANULE = 256 };

struct lease {
    uint32_t first, last;
    uint64_t begin, end;
};

bool gpu_mover_open(mover *m, gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t n) {
    *m = (mover){.f = {.plan = &layout->plan, .queue = queue, .steps = steps, .n = n}, .layout = layout};
    m->base = (layout->own_bytes + GRANULE - 1) / GRANULE * GRANULE;
    m->f.gone = calloc((size_t)n + 1, sizeof *m->f.gone);
    return m->f.gone != NULL;
}

bool gpu_mover_close(mover *m, uint32_t *n) {
    gpu_fuser_drop_gone(&m->f, n);
    free(m->f.gone);
    free(m->leases);
    return !m->out_of_memory;
}

void gpu_mover_uses(const fuser *f, uint32_t s, const gpu_range *range, bool *reads, bool *writes, bool *equal) {
    gpu_range ranges[GPU_MOST_RANGES];
    uint32_t n = gpu_step_ranges(f->plan, &f->steps[s], ranges);
    *reads = *writes = false;
    *equal = true;
    for (uint32_t k = 0; k < n; k++) {
        if (!gpu_ranges_meet(&ranges[k], range)) continue;
        *reads |= !ranges[k].writes;
        *writes |= ranges[k].writes != 0;
        *equal &= ranges[k].writes || gpu_ranges_equal(&ranges[k], range);
    }
}

uint64_t gpu_mover_lease(mover *m, uint32_t first, uint32_t last, uint64_t bytes) {
    uint64_t at = m->base;
    bytes = (bytes + GRANULE - 1) / GRANULE * GRANULE;
    for (bool free = false; !free;) {
        free = true;
        for (uint32_t k = 0; k < m->n_leases; k++) {
            const lease *l = &m->leases[k];
            if (l->last < first || last < l->first || l->end <= at || at + bytes <= l->begin) continue;
            at = l->end;
            free = false;
        }
    }
    if (m->n_leases == m->room) {
        uint32_t room = 2 * m->room + 16;
        lease *more = realloc(m->leases, room * sizeof *more);
        if (!more) {
            m->out_of_memory = true;
            return UINT64_MAX;
        }
        m->leases = more;
        m->room = room;
    }
    m->leases[m->n_leases++] = (lease){first, last, at, at + bytes};
    return at;
}

static bool is_in(const uint32_t *skip, uint32_t n, uint32_t s) {
    for (uint32_t k = 0; k < n; k++)
        if (skip[k] == s) return true;
    return false;
}

bool gpu_mover_may(const fuser *f, uint32_t s, const gpu_range *range, const uint32_t *skip, uint32_t n_skip,
                   uint32_t *last) {
    *last = s;
    if (range->storage != AIRA_STORE_ARENA) return false;
    for (uint32_t t = s + 1; t < f->n; t++) {
        const gpu_step *step = &f->steps[t];
        bool reads, writes, equal;
        if (f->gone[t] || is_in(skip, n_skip, t)) continue;
        gpu_mover_uses(f, t, range, &reads, &writes, &equal);
        if (reads && (!equal || (!step->chain && step->n_in + step->n_out > GPU_MERGED_TENSORS))) return false;
        if (reads) *last = t;
        if (writes) break;
    }
    return true;
}

uint32_t gpu_mover_tensor(mover *m, uint32_t like, uint64_t offset) {
    uint32_t id = gpu_layout_add(m->layout, like, offset);
    if (id == UINT32_MAX) m->out_of_memory = true;
    return id;
}

static void move_operands(mover *m, gpu_step *step, const gpu_range *range, uint64_t offset) {
    uint32_t ids[GPU_MERGED_TENSORS];
    if (step->chain) {
        gpu_chain *chain = step->chain;
        for (uint32_t k = 0; k < chain->program.n_loads; k++) {
            uint32_t *id = &chain->tensors[chain->program.loads[k].view];
            gpu_range read = gpu_range_of(m->f.plan, *id, 0);
            if (gpu_ranges_equal(&read, range)) *id = gpu_mover_tensor(m, *id, offset);
        }
        return;
    }
    memcpy(ids, gpu_step_in(step), step->n_in * sizeof *ids);
    memcpy(ids + step->n_in, gpu_step_out(step), step->n_out * sizeof *ids);
    for (uint32_t k = 0; k < step->n_in; k++) {
        gpu_range read = gpu_range_of(m->f.plan, ids[k], 0);
        if (gpu_ranges_equal(&read, range)) ids[k] = gpu_mover_tensor(m, ids[k], offset);
    }
    memcpy(step->own, ids, (step->n_in + step->n_out) * sizeof *ids);
    step->merged |= GPU_ELSEWHERE;
}

void gpu_mover_move(mover *m, uint32_t s, const gpu_range *range, const uint32_t *skip, uint32_t n_skip,
                    uint64_t offset) {
    const fuser *f = &m->f;
    for (uint32_t t = s + 1; t < f->n && !m->out_of_memory; t++) {
        bool reads, writes, equal;
        if (f->gone[t] || is_in(skip, n_skip, t)) continue;
        gpu_mover_uses(f, t, range, &reads, &writes, &equal);
        if (reads) move_operands(m, &f->steps[t], range, offset);
        if (writes) return;
    }
}
