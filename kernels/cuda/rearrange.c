/* rearrange.c - the order in which a program's steps are merged and batched. */
#include "apart.h"
#include "batch.h"

bool gpu_rearrange(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n, uint32_t *once) {
    const aira_plan *plan = &layout->plan;
    *once = 0;
    if (queue->apart) return gpu_batch_steps(plan, steps, n);
    if (!gpu_fuse_mlp(layout, queue, steps, n) || !gpu_set_apart(layout, steps, *n, once)) return false;
    gpu_step *rest = steps + *once;
    uint32_t left = *n - *once;
    bool good = gpu_fuse(plan, queue, rest, &left) && gpu_fuse_linear(layout, queue, rest, &left) &&
                gpu_fuse_turns(plan, queue, rest, &left) && gpu_fuse_sides(plan, rest, &left) &&
                gpu_fuse_chains(plan, rest, &left) && gpu_batch_steps(plan, rest, &left);
    *n = *once + left;
    return good;
}
