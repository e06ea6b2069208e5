/* turned.h - second copies of large weights that lie transposed, for products that would read the first one so.
 *
 * A layer multiplies by W' forward and by W backward. cuBLASLt's products of both operands along their rows (by W') are
 * slower than those by W; where copies of weights stay from run to run (kept.h), a transposed one can stay beside each:
 * the update's result is turned once a step, 4 bytes a weight.
 */
#ifndef AIRA_GPU_TURNED_H
#define AIRA_GPU_TURNED_H

#include "steps.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Products by the transpose of a copy that stays, or of whole rows of it, of `least` floating-point operations and more
   read a turned copy. steps[0 .. *kept) make the copies that stay, and make the turned ones afterwards; steps at the
   end do so after the updates. *n grows, up to `room`; most: bytes that turned copies may take. Before batch.c. False:
   out of memory. */
bool gpu_turn_weights(gpu_layout *layout, gpu_step *steps, uint32_t *n, uint32_t room, uint32_t *kept, double least,
                      uint64_t most);

/* turn.cu: a bf16 matrix of rows and columns, transposed. */
extern const gpu_kernel gpu_turn_kernel;

#ifdef __cplusplus
}
#endif

#endif
