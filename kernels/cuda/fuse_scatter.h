/* fuse_scatter.h - the two gradients of an embedding that is the head's weights too are one tensor. */
#ifndef AIRA_GPU_FUSE_SCATTER_H
#define AIRA_GPU_FUSE_SCATTER_H

#include "steps.h"

/* A SCATTER_ADD whose result is only added to another tensor adds to that in its place: rows that no index names are
   neither written nor read. Lowers *n. False: out of memory. */
bool gpu_fuse_scatter(const aira_plan *plan, const gpu_queue *queue, gpu_step *steps, uint32_t *n);

#endif
