/* weights.h - which planned steps are gradients of small weights, and the list that weight_gradient.cu reads. */
#ifndef AIRA_GPU_WEIGHTS_H
#define AIRA_GPU_WEIGHTS_H

#include "steps.h"
#include "weight_gradient.h"

/* A product dY' X that the kernel is for: types, shapes and alignment alone decide. */
bool gpu_is_weight_product(const aira_plan *plan, const gpu_step *step);
/* The sum over all rows of what this product has as dY, if dY is the same when both run. */
bool gpu_is_weight_sum(const aira_plan *plan, const gpu_step *sum, const gpu_step *product);
/* Fills list, room for n: an entry per product with its sum, and one per sum whose product is not here. Addresses are
   set where buffers are given. Returns the number of entries; *workspace: bytes. */
uint32_t gpu_weights_list(const aira_plan *plan, const gpu_step *members, uint32_t n, void *const *buffers,
                          gpu_weight *list, size_t *workspace);
/* Block `part` of the entry's gpu_weight_blocks: (group * tiles + tile) * GPU_WEIGHT_CLUSTER + rank. clusters: as
   gpu_weights_in_clusters says. */
gpu_weight_part gpu_weight_part_of(const gpu_weight *w, uint32_t part, int clusters);

#endif
