/* element.cuh - elements of any type as float or double, and reductions in a fixed order. */
#ifndef AIRA_GPU_ELEMENT_CUH
#define AIRA_GPU_ELEMENT_CUH

#include <cuda_bf16.h>

#include "gpu.h"

/* An operand as a kernel sees it. The switch is uniform over a launch. */
struct elements {
    char *data;
    uint32_t dtype;
};

static inline elements of(const gpu_view &view) { return {view.data, view.dtype}; }

template <class R> __device__ __forceinline__ R load(elements e, int64_t i) {
    switch (e.dtype) {
    case AIRA_F32:
        return (R)((const float *)e.data)[i];
    case AIRA_BF16:
        return (R)__bfloat162float(((const __nv_bfloat16 *)e.data)[i]);
    case AIRA_F64:
        return (R)((const double *)e.data)[i];
    default:
        return (R)((const int32_t *)e.data)[i];
    }
}

/* I32 truncates towards zero and saturates; NaN gives 0. */
template <class R> __device__ __forceinline__ int32_t to_int(R v) {
    if (v != v) return 0;
    if (v >= (R)2147483647.0) return 2147483647;
    if (v <= (R)-2147483648.0) return -2147483647 - 1;
    return (int32_t)v;
}

template <class R> __device__ __forceinline__ void store(elements e, int64_t i, R v) {
    switch (e.dtype) {
    case AIRA_F32:
        ((float *)e.data)[i] = (float)v;
        break;
    case AIRA_BF16:
        ((__nv_bfloat16 *)e.data)[i] = __float2bfloat16_rn((float)v);
        break;
    case AIRA_F64:
        ((double *)e.data)[i] = (double)v;
        break;
    default:
        ((int32_t *)e.data)[i] = to_int(v);
        break;
    }
}

/* N elements from `at` on, into registers or out of them. The switch stands outside of the loop, which unrolls. */
template <int N, class T> __device__ __forceinline__ void unpack(float *to, const T *from) {
#pragma unroll
    for (int d = 0; d < N; d++) to[d] = (float)from[d];
}
template <int N> __device__ __forceinline__ void load_many(float *to, elements e, int64_t at) {
    if (e.dtype == AIRA_BF16)
        unpack<N>(to, (const __nv_bfloat16 *)e.data + at);
    else
        unpack<N>(to, (const float *)e.data + at);
}
template <int N> __device__ __forceinline__ void store_many(elements e, int64_t at, const float *from, float scale) {
    if (e.dtype == AIRA_BF16) {
#pragma unroll
        for (int d = 0; d < N; d++) ((__nv_bfloat16 *)e.data)[at + d] = __float2bfloat16_rn(from[d] * scale);
    } else {
#pragma unroll
        for (int d = 0; d < N; d++) ((float *)e.data)[at + d] = from[d] * scale;
    }
}

/* --- reductions ----------------------------------------------------------------------------------------------------
 */

template <class R> __device__ __forceinline__ R warp_sum(R v) {
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

/* NaN wins. */
template <class R> __device__ __forceinline__ R larger(R a, R b) { return a != a ? a : b != b ? b : a > b ? a : b; }

template <class R> __device__ __forceinline__ R warp_max(R v) {
    for (int step = 16; step > 0; step /= 2) v = larger(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

/* Sum or largest over a block of at most 1024 threads (a multiple of 32); every thread gets it. spare: 32 values. */
template <class R, bool MAX> __device__ R block_reduce(R v, R *spare) {
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    v = MAX ? warp_max(v) : warp_sum(v);
    __syncthreads();
    if (lane == 0) spare[warp] = v;
    __syncthreads();
    v = lane < warps ? spare[lane] : MAX ? (R)-INFINITY : (R)0;
    return MAX ? warp_max(v) : warp_sum(v);
}

/* --- launches ------------------------------------------------------------------------------------------------------
 */

static inline unsigned blocks_for(int64_t n, int per_block) {
    int64_t blocks = (n + per_block - 1) / per_block;
    return (unsigned)(blocks < 1 ? 1 : blocks > 1048576 ? 1048576 : blocks);
}

/* for (int64_t i : the elements of this thread) */
#define EACH(i, n)                                                                                                     \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, step_ = (int64_t)gridDim.x * blockDim.x; i < (n); \
         i += step_)

#endif
