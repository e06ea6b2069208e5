/* fuse_pairs.c - two gradients of weights over the same rows, too small to fill a card one after the other, as one
 * batch of two.
 *
 * Weights of keys and values are slices of one parameter, so that their gradients dY' X lie side by side; X is the
 * same. The two dY are written side by side in the program's own memory, and one product with a step from matrix to
 * matrix does both: that X has none is all that it needs to know.
 */
#include <stdlib.h>
#include <string.h>

#include "own.h"

#define MOST_CELLS (1 << 20)          /* of one result: 64 tiles of 128 x 128 */
#define LEAST_WORK ((int64_t)1 << 31) /* multiplications of one product: smaller ones share launches (weights.c) */
#define REACH 16u                     /* steps between the two */

/* A product, and the step that writes what it has as dY. */
typedef struct half {
    uint32_t product, writer, slot, last; /* slot: of the writer's results; last: who reads dY last */
    gpu_range dy;
} half;

static bool is_candidate(const fuser *f, uint32_t s) {
    const gpu_step *step = &f->steps[s];
    if (f->gone[s] || step->step->op != AIRA_OP_MATMUL || step->merged & ~GPU_ELSEWHERE || step->step->copies > 1)
        return false;
    if (step->chain || step->batch || step->step->i[0] == 0 || step->step->i[1] != 0) return false;
    const aira_plan_tensor *dy = gpu_tensor_of(f->plan, gpu_step_in(step)[0]),
                           *x = gpu_tensor_of(f->plan, gpu_step_in(step)[1]),
                           *dw = gpu_tensor_of(f->plan, gpu_step_out(step)[0]);
    if (dy->dtype != AIRA_BF16 || x->dtype != AIRA_BF16) return false;
    if (dy->shape.rank != 2 || x->shape.rank != 2 || dw->shape.rank != 2) return false;
    int64_t rows = dy->shape.dims[0], n = dy->shape.dims[1], k = x->shape.dims[1];
    if (n <= 0 || k <= 0 || n % 8 || k % 8 || n > MOST_CELLS || k > MOST_CELLS) return false;
    return n * k <= MOST_CELLS && rows > LEAST_WORK / (n * k);
}

static bool same_shape(const fuser *f, uint32_t a, uint32_t b) {
    const aira_plan_tensor *x = gpu_tensor_of(f->plan, a), *y = gpu_tensor_of(f->plan, b);
    if (x->dtype != y->dtype || x->shape.rank != y->shape.rank) return false;
    for (uint32_t d = 0; d < x->shape.rank; d++)
        if (x->shape.dims[d] != y->shape.dims[d]) return false;
    return true;
}

/* Can what the product reads as dY be written elsewhere? */
static bool find_half(const fuser *f, uint32_t product, half *h) {
    h->product = product;
    h->dy = gpu_range_of(f->plan, gpu_step_in(&f->steps[product])[0], 0);
    h->writer = last_writer(f, product, &h->dy);
    if (h->writer == NONE) return false;
    const gpu_step *writer = &f->steps[h->writer];
    if (writer->chain || writer->batch || writer->merged & ~GPU_ELSEWHERE || writer->step->copies > 1) return false;
    if (writer->n_in + writer->n_out > GPU_MERGED_TENSORS) return false;
    for (h->slot = 0; h->slot < writer->n_out; h->slot++) {
        gpu_range made = gpu_range_of(f->plan, gpu_step_out(writer)[h->slot], 0);
        if (gpu_ranges_equal(&made, &h->dy)) break;
    }
    return h->slot < writer->n_out && may_move(f, h->writer, &h->dy, NULL, 0, &h->last);
}

/* May product a run where the later b stands? */
static bool may_wait(const fuser *f, uint32_t a, uint32_t b) {
    gpu_range x = gpu_range_of(f->plan, gpu_step_in(&f->steps[a])[1], 0),
              to = gpu_range_of(f->plan, gpu_step_out(&f->steps[a])[0], 1);
    for (uint32_t s = a + 1; s < b; s++)
        if (touches(f, s, &x, true) || touches(f, s, &to, false)) return false;
    return true;
}

/* a runs before b; low is the one whose result comes first in memory. */
static bool is_pair(const fuser *f, uint32_t a, uint32_t b, half *low, half *high) {
    const uint32_t *in = gpu_step_in(&f->steps[a]), *others = gpu_step_in(&f->steps[b]);
    uint32_t to = gpu_step_out(&f->steps[a])[0], other = gpu_step_out(&f->steps[b])[0];
    gpu_range x = gpu_range_of(f->plan, in[1], 0), y = gpu_range_of(f->plan, others[1], 0),
              first = gpu_range_of(f->plan, to, 1), second = gpu_range_of(f->plan, other, 1);
    if (!gpu_ranges_equal(&x, &y) || !same_shape(f, in[0], others[0]) || !same_shape(f, in[1], others[1])) return false;
    if (!same_shape(f, to, other) || first.storage != second.storage || !may_wait(f, a, b)) return false;
    bool ascending = first.end == second.begin;
    if (!ascending && second.end != first.begin) return false;
    if (gpu_ranges_meet(&x, &first) || gpu_ranges_meet(&x, &second)) return false;
    if (!find_half(f, ascending ? a : b, low) || !find_half(f, ascending ? b : a, high)) return false;
    return !gpu_ranges_meet(&low->dy, &high->dy) && (low->writer != high->writer || low->slot != high->slot);
}

/* The writer and all readers of dY find it at the offset of the own memory. */
static void move_half(mover *m, const half *h, uint64_t offset) {
    gpu_step *writer = &m->f.steps[h->writer];
    uint32_t ids[GPU_MERGED_TENSORS], n = writer->n_in + writer->n_out;
    move_readers(m, h->writer, &h->dy, NULL, 0, offset);
    memcpy(ids, gpu_step_in(writer), writer->n_in * sizeof *ids);
    memcpy(ids + writer->n_in, gpu_step_out(writer), writer->n_out * sizeof *ids);
    if (!m->out_of_memory) ids[writer->n_in + h->slot] = moved(m, ids[writer->n_in + h->slot], offset);
    memcpy(writer->own, ids, n * sizeof *ids);
    writer->merged |= GPU_ELSEWHERE;
}

/* a runs where b stands, with it. */
static void join_pair(mover *m, uint32_t a, uint32_t b, const half *low, const half *high) {
    uint64_t bytes = low->dy.end - low->dy.begin;
    uint32_t first = low->writer < high->writer ? low->writer : high->writer, last = b;
    if (low->last > last) last = low->last;
    if (high->last > last) last = high->last;
    uint64_t offset = lease_memory(m, first, last, 2 * bytes);
    if (!m->out_of_memory) move_half(m, low, offset);
    if (!m->out_of_memory) move_half(m, high, offset + bytes);
    if (m->out_of_memory) return;
    const gpu_step *lower = &m->f.steps[low->product];
    uint32_t dy = gpu_layout_stack(m->layout, gpu_step_in(lower)[0], 2), x = gpu_step_in(lower)[1],
             dw = gpu_layout_stack(m->layout, gpu_step_out(lower)[0], 2);
    m->out_of_memory = dy == UINT32_MAX || dw == UINT32_MAX;
    gpu_step *step = &m->f.steps[b];
    step->own[0] = dy;
    step->own[1] = x;
    step->own[2] = dw;
    step->merged = GPU_ELSEWHERE;
    m->f.gone[a] = true;
}

bool gpu_fuse_pairs(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n) {
    mover m;
    if (layout->plan.copies > 1) return true;
    if (!mover_open(&m, layout, queue, steps, *n)) return false;
    for (uint32_t a = 0; a < m.f.n && !m.out_of_memory; a++) {
        if (!is_candidate(&m.f, a)) continue;
        for (uint32_t b = a + 1; b < m.f.n && b - a <= REACH; b++) {
            half low, high;
            if (!is_candidate(&m.f, b) || !is_pair(&m.f, a, b, &low, &high)) continue;
            join_pair(&m, a, b, &low, &high);
            break;
        }
    }
    return mover_close(&m, n);
}
