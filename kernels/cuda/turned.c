/* turned.c - see turned.h */
#include "turned.h"

#include <stdlib.h>
#include <string.h>

#include "fuse.h"

#define MERGED (GPU_ELSEWHERE | GPU_ADD_BIAS | GPU_ADD_TENSOR | GPU_GELU) /* what such a product may do besides */

static const int64_t axes[] = {1, 0};
static const aira_plan_step turning = {
    .size = sizeof turning, .op = AIRA_OP_TRANSPOSE, .copies = 1, .n_in = 1, .n_out = 1, .n_i = 2, .i = axes};

/* A turned copy: of what, and where. */
typedef struct copy {
    uint32_t from, to;
} copy;

static bool is_by_transpose(const aira_plan *plan, const gpu_step *step, double least) {
    if (step->step->op != AIRA_OP_MATMUL || step->chain || step->batch || step->step->copies > 1) return false;
    if (step->step->i[0] || !step->step->i[1] || (step->merged & ~MERGED) || step->n_in + step->n_out > 8) return false;
    const aira_plan_tensor *b = gpu_tensor_of(plan, gpu_step_in(step)[1]),
                           *c = gpu_tensor_of(plan, gpu_step_out(step)[0]);
    if (b->dtype != AIRA_BF16 || b->shape.rank != 2 || b->storage != GPU_STORE_OWN || b->copies > 1) return false;
    return 2.0 * (double)gpu_elements(&c->shape) * (double)b->shape.dims[1] >= least;
}

/* Does a step that makes copies write all of the range? */
static bool is_kept(const aira_plan *plan, const gpu_step *steps, uint32_t kept, const gpu_range *range) {
    for (uint32_t s = 0; s < kept; s++) {
        const gpu_chain *chain = steps[s].chain;
        if (!chain) continue;
        gpu_range made = gpu_range_of(plan, chain->tensors[chain->program.code[0].view], 1);
        if (made.storage == range->storage && made.begin <= range->begin && range->end <= made.end) return true;
    }
    return false;
}

/* The turned copy of tensor `from`, which may be new. NULL: out of memory, or of `most`. */
static const copy *copy_of(gpu_layout *layout, copy *copies, uint32_t *n, uint32_t from, uint64_t *most) {
    gpu_range range = gpu_range_of(&layout->plan, from, 0);
    for (uint32_t k = 0; k < *n; k++) {
        gpu_range other = gpu_range_of(&layout->plan, copies[k].from, 0);
        const aira_shape *a = &gpu_tensor_of(&layout->plan, from)->shape,
                         *b = &gpu_tensor_of(&layout->plan, copies[k].from)->shape;
        if (gpu_ranges_equal(&range, &other) && a->dims[1] == b->dims[1]) return &copies[k];
    }
    uint64_t bytes = range.end - range.begin;
    if (bytes > *most) return NULL;
    copies[*n] = (copy){from, gpu_layout_turned(layout, from)};
    if (copies[*n].to == UINT32_MAX) return NULL;
    *most -= bytes;
    return &copies[(*n)++];
}

static void read_turned(gpu_step *step, uint32_t id) {
    uint32_t ids[8], n = step->n_in + step->n_out;
    memcpy(ids, gpu_step_in(step), step->n_in * sizeof *ids);
    memcpy(ids + step->n_in, gpu_step_out(step), step->n_out * sizeof *ids);
    memcpy(step->own, ids, n * sizeof *ids);
    step->own[1] = id;
    step->merged |= GPU_ELSEWHERE | GPU_TURNED;
}

static gpu_step step_of(const copy *c) {
    gpu_step step = {.step = &turning, .kernel = &gpu_turn_kernel, .n_in = 1, .n_out = 1};
    step.merged = GPU_ELSEWHERE | GPU_TURNED;
    step.own[0] = c->from;
    step.own[1] = c->to;
    return step;
}

bool gpu_turn_weights(gpu_layout *layout, gpu_step *steps, uint32_t *n, uint32_t room, uint32_t *kept, double least,
                      uint64_t most) {
    const aira_plan *plan = &layout->plan;
    copy *copies = *kept ? calloc((size_t)*n + 1, sizeof *copies) : NULL;
    uint32_t n_copies = 0;
    if (!*kept) return true;
    if (!copies) return false;
    for (uint32_t s = *kept; s < *n; s++) {
        if (!is_by_transpose(plan, &steps[s], least) || *n + 2 * (n_copies + 1) > room) continue;
        uint32_t b = gpu_step_in(&steps[s])[1];
        gpu_range range = gpu_range_of(plan, b, 0);
        if (!is_kept(plan, steps, *kept, &range)) continue;
        const copy *c = copy_of(layout, copies, &n_copies, b, &most);
        if (c) read_turned(&steps[s], c->to);
    }
    memmove(steps + *kept + n_copies, steps + *kept, (*n - *kept) * sizeof *steps);
    for (uint32_t k = 0; k < n_copies; k++) {
        steps[*kept + k] = step_of(&copies[k]);
        steps[*n + n_copies + k] = step_of(&copies[k]);
    }
    *n += 2 * n_copies;
    *kept += n_copies;
    free(copies);
    return true;
}
