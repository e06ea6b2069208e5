/* short_attention.h - attention with small heads where nothing but causality hides keys: for small_attention.cu. */
#ifndef AIRA_GPU_SHORT_ATTENTION_H
#define AIRA_GPU_SHORT_ATTENTION_H

#include <cuda_bf16.h>

#include "gpu.h"

struct small_heads;

/* Causal, at most 128 positions, heads of 8 or 16, no window, no mask; forward: q and k come turned. */
bool gpu_short_attention_takes(const small_heads &a, int64_t d_n, bool backward);
/* q, k, v of `a`, o and the gradients: [B,T,H,D] bf16 with D = d_n; lse[B,H,T] fp32, natural. grid: 1, 32 columns of
   H D each, B. Launched on the stream; an error of the launch is the caller's to ask for (gpu_launched). */
void gpu_short_attention(const small_heads &a, int64_t d_n, dim3 grid, __nv_bfloat16 *o, float *lse,
                         cudaStream_t stream);
void gpu_short_attention_backward(const small_heads &a, int64_t d_n, dim3 grid, const __nv_bfloat16 *o,
                                  const __nv_bfloat16 *g_o, const float *lse, __nv_bfloat16 *dq, __nv_bfloat16 *dk,
                                  __nv_bfloat16 *dv, cudaStream_t stream);

#endif
