/* batch.h - many small steps of one kind as one launch: updates of parameters, casts of weights, sums to one number,
 * gradients of small weights and of the biases beside them.
 *
 * Every member does what it would do alone, bit by bit (a bias: alone beside its weight); blocks find their member in a
 * table in device memory, which is written when addresses are known.
 */
#ifndef AIRA_GPU_BATCH_H
#define AIRA_GPU_BATCH_H

#include "generate.h"
#include "steps.h"

/* May the step be one of many? */
bool gpu_batch_takes(const aira_plan *plan, const gpu_step *step);
void gpu_batch_destroy(gpu_batch *batch);
/* Device memory that the tables need. */
size_t gpu_batch_bytes(const gpu_batch *batch);
/* Device memory that a run needs besides; others may use it before and after. */
size_t gpu_batch_workspace(const gpu_batch *batch);
/* Writes the tables for these buffers into `memory` and waits. */
const char *gpu_batch_place(gpu_batch *batch, const aira_plan *plan, void *const *buffers, void *memory,
                            cudaStream_t stream);
const char *gpu_batch_run(const gpu_batch *batch, const aira_plan *plan, void *const *buffers, const gpu_queue *queue,
                          void *workspace);
uint32_t gpu_batch_count(const gpu_batch *batch);
/* The kernel that the launch of a batch of chains will ask for; false: of sums, which need none. */
bool gpu_batch_wish(const gpu_batch *batch, gpu_chain_wish *wish);
/* Member k as it was before it joined. */
const gpu_step *gpu_batch_member(const gpu_batch *batch, uint32_t k);

#endif
