/* narrow.h - gradients of large weights that stay in bf16 between the product that makes them and their update.
 *
 * Weights are fp32, their copies for products bf16, and a plan has the products of weight gradients write fp32: 4 bytes
 * a weight written, read by the sum of squares for clipping, and read by the update. Where nobody else reads them, the
 * product writes bf16 onto the first half of the planned place, and its readers open it: half the bytes, three times.
 * One rounding of a sum that was kept in fp32, as where PyTorch casts a weight to bf16 (its gradient is bf16 too).
 */
#ifndef AIRA_GPU_NARROW_H
#define AIRA_GPU_NARROW_H

#include "steps.h"

/* Floating-point operations of a product from which on its result is narrowed: smaller ones are no matter of bytes. */
#define GPU_NARROW_LEAST 50e9

/* Products of that many operations and more, whose results only sums of everything and chains read. After all that
   merges, before kept.c and batch.c. Their number goes to *narrowed. False: out of memory. */
bool gpu_narrow_gradients(gpu_layout *layout, gpu_step *steps, uint32_t n, double least, uint32_t *narrowed);

/* What step s wrote there, fp32, ends before the step that is returned, which writes there next, or n; s itself where
   somebody reads it otherwise than whole, by a sum of everything or element by element in a chain. */
uint32_t gpu_value_end(const aira_plan *plan, const gpu_step *steps, uint32_t n, uint32_t s, const gpu_range *range);
/* Its readers before `end` read tensor id in its stead. */
void gpu_value_replace(const aira_plan *plan, gpu_step *steps, uint32_t s, uint32_t end, const gpu_range *range,
                       uint32_t id);

#endif
