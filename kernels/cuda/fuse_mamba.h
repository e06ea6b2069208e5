/* fuse_mamba.h - a part of gpu_fuse (steps.h) of its own: scans and convolutions with what stands around them. */
#ifndef AIRA_GPU_FUSE_MAMBA_H
#define AIRA_GPU_FUSE_MAMBA_H

#include "steps.h"

/* Merges steps in place; those that are no longer needed are marked in gone[n]. */
void gpu_fuse_mamba(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t n, bool *gone);
/* fuse_project.c: the last of it, for convolutions whose results are projected. */
void gpu_fuse_project(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t n, bool *gone);

#endif
