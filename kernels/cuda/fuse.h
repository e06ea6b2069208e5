/* fuse.h - what those who merge steps ask about the order of steps: who reads what, and may it be moved. (fuse.c) */
#ifndef AIRA_GPU_FUSE_H
#define AIRA_GPU_FUSE_H

#include "steps.h"
#include "sum_chain.h"

#define NONE UINT32_MAX

typedef struct fuser {
    const aira_plan *plan;
    const gpu_queue *queue;
    gpu_step *steps;
    uint32_t n;
    bool *gone;
} fuser;

/* Does step s touch the range; only by writing, if `writes`? */
bool gpu_fuser_touched(const fuser *f, uint32_t s, const gpu_range *range, bool writes);
/* The last step before `before` that writes into the range, or NONE. */
uint32_t gpu_fuser_last_writer(const fuser *f, uint32_t before, const gpu_range *range);
/* The one step after s that reads these bytes before they are written again, or NONE. */
uint32_t gpu_fuser_only_reader(const fuser *f, uint32_t s, const gpu_range *range);
/* A product of bf16 tensors that does nothing besides. */
bool gpu_fuser_is_product(const fuser *f, uint32_t s);
/* A call of the step at the planner's offsets, for asking whether a kernel takes it. views: GPU_MERGED_TENSORS. */
gpu_call gpu_fuser_shadow(const fuser *f, const gpu_step *step, gpu_view *views);
/* Drops the steps that are gone and lowers *n. */
void gpu_fuser_drop_gone(fuser *f, uint32_t *n);

#endif
