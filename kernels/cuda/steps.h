/* steps.h - what a program does, step by step, between program.c, which runs it, and those who rearrange it.
 *
 * A plan's steps become steps of the GPU one by one; then fuse.c lets a product do what follows it, and batch.c lets
 * many small steps of one kind be one launch. Both ask what a step reads and writes: the arena is reused, so order is
 * free only where no bytes meet.
 */
#ifndef AIRA_GPU_STEPS_H
#define AIRA_GPU_STEPS_H

#include <stdbool.h>

#include "chain.h"
#include "layout.h"
#include "linear.h"

#define GPU_MERGED_TENSORS 40u

typedef struct gpu_batch gpu_batch; /* batch.h */

typedef struct gpu_step {
    const aira_plan_step *step; /* the (first) planned step */
    const gpu_kernel *kernel;
    gpu_chain *chain;
    gpu_batch *batch;                         /* NULL: a step of its own */
    const uint32_t *planned_in, *planned_out; /* tensors; of a chain: all in planned_in */
    uint32_t n_in, n_out;
    uint32_t merged;                  /* GPU_ADD_BIAS ... */
    const aira_plan_step *also;       /* of a merged step: what it does besides, where attributes count */
    gpu_linear linear;                /* with GPU_LINEAR */
    uint32_t own[GPU_MERGED_TENSORS]; /* of a merged step: its operands, then its results */
    uint32_t number;                  /* where it stood before batch.c set to work */
} gpu_step;

static inline const uint32_t *gpu_step_in(const gpu_step *step) { return step->merged ? step->own : step->planned_in; }
static inline const uint32_t *gpu_step_out(const gpu_step *step) {
    return step->merged ? step->own + step->n_in : step->planned_out;
}

/* Bytes of a buffer. */
typedef struct gpu_range {
    uint32_t storage, writes;
    uint64_t begin, end;
} gpu_range;

#define GPU_MOST_RANGES (2u * GPU_CHAIN_VALUES)

static inline const aira_plan_tensor *gpu_tensor_of(const aira_plan *plan, uint32_t id) {
    return (const aira_plan_tensor *)(const void *)((const char *)plan->tensors + (size_t)id * plan->tensor_stride);
}
static inline gpu_range gpu_range_of(const aira_plan *plan, uint32_t id, uint32_t writes) {
    const aira_plan_tensor *t = gpu_tensor_of(plan, id);
    uint64_t bytes = (uint64_t)gpu_elements(&t->shape) * gpu_bytes_of(t->dtype) * (t->copies > 1 ? t->copies : 1);
    return (gpu_range){t->storage, writes, t->offset, t->offset + bytes};
}
static inline bool gpu_ranges_meet(const gpu_range *a, const gpu_range *b) {
    return a->storage == b->storage && a->begin < b->end && b->begin < a->end;
}
/* May somebody besides the program's steps read there? */
static inline bool gpu_is_seen(const gpu_range *a) {
    return a->storage != AIRA_STORE_ARENA && a->storage != GPU_STORE_OWN;
}
static inline bool gpu_ranges_equal(const gpu_range *a, const gpu_range *b) {
    return a->storage == b->storage && a->begin == b->begin && a->end == b->end;
}

/* What the step reads and writes; room for GPU_MOST_RANGES. (fuse.c) */
uint32_t gpu_step_ranges(const aira_plan *plan, const gpu_step *step, gpu_range *ranges);

/* fuse_mlp.c: MLP layers and their gradients become one step each; *n is lowered, the layout may get memory. Before
   gpu_fuse. False: out of memory. */
bool gpu_fuse_mlp(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n);
/* What the step does with bytes of the range: GPU_READS, GPU_WRITES or both; 0: it leaves them alone. (fuse.c) */
#define GPU_READS 1u
#define GPU_WRITES 2u
uint32_t gpu_step_uses(const aira_plan *plan, const gpu_step *step, const gpu_range *range);
/* Does the step touch the range; only by writing, if `writes`? (fuse.c) */
bool gpu_step_touches(const aira_plan *plan, const gpu_step *step, const gpu_range *range, bool writes);

/* fuse.c: merges steps in place and lowers *n. False: out of memory. */
bool gpu_fuse(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t *n);
/* fuse_linear.c: the same for products around norms that share rows; after what merges more. The layout gets memory. */
bool gpu_fuse_linear(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n);
/* fuse_sides.c: convolutions that do not need each other become one step. */
bool gpu_fuse_sides(const aira_plan *plan, gpu_step *steps, uint32_t *n);
/* fuse.c: attention turns what it reads by rotary positions, and its gradient turns back, where steps still do that.
   What is left of sums of products merges with the last of them. */
bool gpu_fuse_turns(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t *n);
/* fuse_chains.c: chains that follow each other become one. */
bool gpu_fuse_chains(const aira_plan *plan, gpu_step *steps, uint32_t *n);
/* batch.c: the same for small steps of one kind; batches are made, to be destroyed with the steps. */
bool gpu_batch_steps(const aira_plan *plan, gpu_step *steps, uint32_t *n);

/* Bytes of copies of weights that may stay from run to run (kept.h), and how many steps make those that do. */
typedef struct gpu_keeping {
    uint64_t least, most; /* fewer do not matter, more do not fit; least > most: none */
    uint32_t n;           /* set by gpu_rearrange */
} gpu_keeping;

/* rearrange.c: all of them, as the queue wants. The first *once steps need to run only before the first run, and the
   keeping->n behind them only where variables were written by others. False: out of memory. */
bool gpu_rearrange(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t *n, uint32_t *once,
                   gpu_keeping *keeping);

#endif
