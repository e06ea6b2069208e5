/* rearrange.c - the order in which a program's steps are merged and batched. */
#include "apart.h"
#include "batch.h"
#include "fuse_scatter.h"
#include "kept.h"
#include "narrow.h"
#include "turned.h"

/* Where copies of weights stay, their casts come first, keeping->n of them, and what turns the copies. */
static bool keep_copies(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n, uint32_t room,
                        gpu_keeping *keeping) {
    uint64_t bytes = gpu_kept_bytes(&layout->plan, steps, *n);
    if (bytes < keeping->least || bytes > keeping->most) return true;
    if (!gpu_keep_copies(layout, queue, steps, *n, &keeping->n)) return false;
    if (!queue->turn) return true;
    return gpu_turn_weights(layout, steps, n, room, &keeping->n, 1e9 * queue->turn, keeping->most - bytes);
}

bool gpu_rearrange(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n, uint32_t *once,
                   gpu_keeping *keeping) {
    const aira_plan *plan = &layout->plan;
    *once = keeping->n = 0;
    if (queue->apart) return gpu_batch_steps(plan, steps, n);
    if (!gpu_fuse_mlp(layout, queue, steps, n) || !gpu_set_apart(layout, steps, *n, once)) return false;
    gpu_step *rest = steps + *once;
    uint32_t left = *n - *once, room = layout->plan.n_steps - *once, narrowed = 0;
    bool good = gpu_fuse(plan, queue, rest, &left) && gpu_fuse_linear(layout, queue, rest, &left) &&
                gpu_fuse_turns(plan, queue, rest, &left) && gpu_fuse_sides(plan, rest, &left) &&
                gpu_fuse_scatter(plan, queue, rest, &left) && gpu_fuse_chains(plan, rest, &left) &&
                gpu_narrow_gradients(layout, rest, left, GPU_NARROW_LEAST, &narrowed) &&
                keep_copies(layout, queue, rest, &left, room, keeping) &&
                gpu_batch_parts(plan, rest, &left, &keeping->n);
    *n = *once + left;
    return good;
}
