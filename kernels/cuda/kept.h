/* kept.h - bf16 copies of weights that stay from run to run.
 *
 * A training step that computes in bf16 casts its fp32 weights first and updates them last. Where the update writes the
 * copy as well, into the program's own memory, the next run finds it there: 2 bytes a weight instead of 6. The casts
 * remain for runs before which somebody else wrote the weights (watch.h).
 */
#ifndef AIRA_GPU_KEPT_H
#define AIRA_GPU_KEPT_H

#include "steps.h"

#define GPU_KEEP_LEAST (16ull << 20) /* bytes of all copies below which the casts are too short to matter */

/* Bytes of the copies that could stay, or a little more. */
uint64_t gpu_kept_bytes(const aira_plan *plan, const gpu_step *steps, uint32_t n);
/* Lets copies stay: the casts that make them come to the front, *kept of them, and are no part of other runs. After all
   that merges, before batch.c. False: out of memory. */
bool gpu_keep_copies(gpu_layout *layout, const gpu_queue *queue, gpu_step *steps, uint32_t n, uint32_t *kept);
/* gpu_batch_steps for the two parts; lowers *kept and *n. */
bool gpu_batch_parts(const aira_plan *plan, gpu_step *steps, uint32_t *n, uint32_t *kept);

#endif
