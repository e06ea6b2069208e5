/* flash.cuh - what the kernels of flash attention share: operands, what a query sees, results. */
#ifndef AIRA_GPU_FLASH_CUH
#define AIRA_GPU_FLASH_CUH

#include "vector.cuh"

typedef __nv_bfloat16 bf16;

#define LOG2_E 1.4426950408889634f

/* q[B,T,H,D], k[B,S,G,D], v[B,S,G,D]; head h reads key head h*G/H. */
struct flash {
    const bf16 *q, *k, *v;
    int t_n, s_n, heads, groups, window;
    bool causal;
    float scale;
};

__device__ __forceinline__ bool flash_sees(const flash &f, int t, int s) {
    if (t >= f.t_n || s >= f.s_n) return false;
    if (f.causal) return s <= t && (f.window == 0 || s > t - f.window);
    return f.window == 0 || (t > s ? t - s : s - t) < f.window;
}

/* Every query of t..t_last sees every key of s..s_last. */
__device__ __forceinline__ bool flash_sees_all(const flash &f, int t, int t_last, int s, int s_last) {
    if (t_last >= f.t_n || s_last >= f.s_n || (f.causal && s_last > t)) return false;
    return f.window == 0 || (t_last - s < f.window && (f.causal || s_last - t < f.window));
}

/* Keys that queries t..t_last may see, queries that may see keys s..s_last: [*from, *to). */
__device__ __forceinline__ void flash_keys(const flash &f, int t, int t_last, int *from, int *to) {
    *from = f.window ? max(0, t - f.window + 1) : 0;
    *to = f.causal ? min(f.s_n, t_last + 1) : f.window ? min(f.s_n, t_last + f.window) : f.s_n;
}
__device__ __forceinline__ void flash_queries(const flash &f, int s, int s_last, int *from, int *to) {
    *from = f.causal ? s : f.window ? max(0, s - f.window + 1) : 0;
    *to = f.window ? min(f.t_n, s_last + f.window) : f.t_n;
}

/* --- results -------------------------------------------------------------------------------------------------------
 */

/* Rows first.. (this warp's 16 M) of y, which has n rows `stride` elements apart, times scale[m][upper or lower half]
 */
template <int D, int M>
__device__ __forceinline__ void flash_store(bf16 *y, int64_t stride, int first, int n, const float (*x)[D / 8][4],
                                            const float (*scale)[2]) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = first + m * 16 + half * 8 + lane / 4;
            if (row >= n) continue;
            bf16 *to = y + (int64_t)row * stride + lane % 4 * 2;
#pragma unroll
            for (int d = 0; d < D / 8; d++)
                *(uint32_t *)(to + d * 8) = pack2(x[m][d][half * 2] * scale[m][half],
                                                  x[m][d][half * 2 + 1] * scale[m][half]);
        }
}

#endif
