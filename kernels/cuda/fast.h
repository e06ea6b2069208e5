/* fast.h - kernels for the shapes that models have, beside the plain ones that take everything.
 *
 * Each pair: `takes` says whether the fast text takes this call; the plain one is the oracle (tests/gpu) and the
 * fallback. What a call is taken by depends on its types and shapes alone.
 */
#ifndef AIRA_GPU_FAST_H
#define AIRA_GPU_FAST_H

#include <stdbool.h>

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* norm.cu: RMS norms of fp32 or bf16 rows of up to 8,192 elements, a multiple of 4; fp32 weights.
   Backward: (x, w, g[, residual]): dx = gradient [+ residual], dw. */
bool gpu_norm_takes(const gpu_call *call);
const char *gpu_norm_forward(const gpu_call *call);
const char *gpu_norm_backward(const gpu_call *call);
size_t gpu_norm_backward_workspace(const gpu_call *call);

/* linear.cu: rows of 64 or 128 bf16 elements through what call->linear says. Extents of K are multiples of 8 where
   weights are transposed, else even; of N the other way round. Asked before sums over rows are split into two steps
   (linear.h). */
bool gpu_linear_takes(const gpu_call *call);

/* rope.cu: positions 0..T-1, fp32 or bf16, D a multiple of 8, all of it turned in halves. prepare, when a program is
   compiled, makes the table that it reads. */
void gpu_rope_prepare(const gpu_call *call);
bool gpu_rope_takes(const gpu_call *call);
const char *gpu_rope(const gpu_call *call);

/* small_attention.cu: bf16 heads of 8, 16 or 32, as many keys as queries, one key head per query head. With GPU_ROPE
   where one block holds the whole sequence. */
bool gpu_small_attention_takes(const gpu_call *call);
const char *gpu_small_attention(const gpu_call *call);
const char *gpu_small_attention_backward(const gpu_call *call);

/* mlp_forward.cu, mlp_backward.cu: norm, product, GELU, product and residual as one step, and their gradient (GPU_MLP,
   GPU_MLP_BACKWARD): bf16, rows of 64 or 128, hidden columns a multiple of 64. takes: mlp.c */
bool gpu_mlp_takes(const gpu_call *call);
const char *gpu_mlp_forward(const gpu_call *call);
const char *gpu_mlp_backward(const gpu_call *call);
size_t gpu_mlp_backward_workspace(const gpu_call *call);

/* flash.cu: bf16 heads of 64, 96 or 128, any lengths and groups, no mask. Backward: a workspace of B H T floats. */
bool gpu_flash_takes(const gpu_call *call);
const char *gpu_flash(const gpu_call *call);
const char *gpu_flash_backward(const gpu_call *call);

/* sums.cu: SUM over the leading axes of fp32 or bf16 tensors with 128 rows or more, columns a multiple of 4. */
bool gpu_columns_takes(const gpu_call *call);
const char *gpu_columns(const gpu_call *call);
size_t gpu_columns_workspace(const gpu_call *call);
/* sums.cu: SCATTER_ADD of 512 rows or more into at most 64. */
bool gpu_scatter_takes(const gpu_call *call);
const char *gpu_scatter(const gpu_call *call);
size_t gpu_scatter_workspace(const gpu_call *call);

/* scatter.cu: SCATTER_ADD of 256 rows or more into fp32 rows, columns a multiple of 4: the gradient of an embedding. */
bool gpu_listed_scatter_takes(const gpu_call *call);
const char *gpu_listed_scatter(const gpu_call *call);
size_t gpu_listed_scatter_workspace(const gpu_call *call);

/* gated_norm.cu: RMS_NORM and its gradient with GPU_GATE: bf16 rows of up to 1,024 elements, a multiple of 4; fp32
   weights. Results may lie on y, g or z, where they lie there whole. */
bool gpu_gated_norm_takes(const gpu_call *call);
const char *gpu_gated_norm(const gpu_call *call);
const char *gpu_gated_norm_backward(const gpu_call *call);
size_t gpu_gated_norm_backward_workspace(const gpu_call *call);

/* convolution.cu: CONV1D_CAUSAL with four taps and its gradient, channels a multiple of 4, fp32 or bf16; GPU_SILU in
   bf16, then dx may lie where a gradient lies, if one block holds a sequence; GPU_PRODUCT: channels a multiple of 8,
   p's columns even and up to 16; GPU_SIDES: up to four, and no result lies on another's operand. */
bool gpu_conv_takes(const gpu_call *call);

/* project.cu: MATMUL with GPU_PROJECT: bf16, channels a multiple of 32, up to 1,024; rank even, up to 16, and up to 32
   with twice the states. The step's kernel is this one. */
bool gpu_project_takes(const gpu_call *call);
extern const gpu_kernel gpu_project_kernel;

/* ssd_short_backward.cu: SSD_BACKWARD with GPU_STEPS: bf16 heads of 64, 16, 64 or 128 states, up to 128 times. */
bool gpu_ssd_steps_takes(const gpu_call *call);

/* scan_chunks.cu: SELECTIVE_SCAN and its gradient in bf16 with up to 4 states and 2,048 times, channels a multiple of
   8; GPU_GATE, GPU_STEPS. Results may lie on u, delta, z or the gradient of y, where they lie there whole. */
bool gpu_scan_chunks_takes(const gpu_call *call);
const char *gpu_scan_chunks(const gpu_call *call);
const char *gpu_scan_chunks_backward(const gpu_call *call);
size_t gpu_scan_chunks_backward_workspace(const gpu_call *call);

#ifdef __cplusplus
}
#endif
#endif
