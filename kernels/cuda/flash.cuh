/* flash.cuh - what the forward and backward kernels of flash attention share: tiles, products, what a query sees. */
#ifndef AIRA_GPU_FLASH_CUH
#define AIRA_GPU_FLASH_CUH

#include "copy.cuh"
#include "mma.cuh"
#include "vector.cuh"

typedef __nv_bfloat16 bf16;

#define LOG2_E 1.4426950408889634f

/* 2^x; tiny results are 0 */
__device__ __forceinline__ float power_of_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

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

/* --- tiles: rows of D in shared memory ------------------------------------------------------------------------------
 */

/* Elements from row to row: 16 bytes more than a row, so that eight rows lie in different banks. */
template <int D> constexpr int PITCH = D + 8;

/* Rows first.. of x, which has n rows `stride` elements apart; zeros beyond. Closes no group of copies. */
template <int D, int ROWS, int THREADS>
__device__ __forceinline__ void flash_fetch(bf16 *to, const bf16 *x, int64_t stride, int first, int n) {
    constexpr int PARTS = D / 8;
#pragma unroll
    for (int i = threadIdx.x; i < ROWS * PARTS; i += THREADS) {
        int row = i / PARTS, part = i % PARTS * 8;
        bool there = first + row < n;
        copy_16(to + row * PITCH<D> + part, x + (there ? (int64_t)(first + row) * stride : 0) + part, there);
    }
}

/* Left operands of a tile a[16 M x D]: step d / 16 of a product over D. */
template <int D, int M> __device__ __forceinline__ void flash_left(uint32_t (*left)[4], const bf16 *a, int d) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++) load_matrices(left[m], a + (m * 16 + lane % 16) * PITCH<D> + d + lane / 16 * 8);
}

/* c[16 M x N] = a b' of tiles a[16 M x D], b[N x D]; c as M x N/8 fragments. kept: all left operands of a, which costs
   4 M D / 16 registers and saves shared memory's time; NULL: they are loaded here. */
template <int D, int M, int N>
__device__ __forceinline__ void flash_product(float (*c)[N / 8][4], const bf16 *a, const uint32_t (*kept)[M][4],
                                              const bf16 *b) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) c[m][n][e] = 0;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
        uint32_t loaded[M][4], right[4];
        if (!kept) flash_left<D, M>(loaded, a, d);
#pragma unroll
        for (int n = 0; n < N; n += 16) {
            load_matrices(right, b + (n + lane / 16 * 8 + lane % 8) * PITCH<D> + d + lane / 8 % 2 * 8);
#pragma unroll
            for (int m = 0; m < M; m++) {
                const uint32_t *left = kept ? kept[d / 16][m] : loaded[m];
                multiply_k16(c[m][n / 8], left, right[0], right[1]);
                multiply_k16(c[m][n / 8 + 1], left, right[2], right[3]);
            }
        }
    }
}

/* out[16 M x D] += p b of fragments p[16 M x N], rounded to bf16, and a tile b[N x D] */
template <int D, int M, int N>
__device__ __forceinline__ void flash_accumulate(float (*out)[D / 8][4], const float (*p)[N / 8][4], const bf16 *b) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int n = 0; n < N; n += 16) {
        uint32_t left[M][4], right[4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                left[m][e] = pack2(p[m][n / 8 + e / 2][e % 2 * 2], p[m][n / 8 + e / 2][e % 2 * 2 + 1]);
#pragma unroll
        for (int d = 0; d < D; d += 16) {
            load_transposed(right, b + (n + lane % 16) * PITCH<D> + d + lane / 16 * 8);
#pragma unroll
            for (int m = 0; m < M; m++) {
                multiply_k16(out[m][d / 8], left[m], right[0], right[1]);
                multiply_k16(out[m][d / 8 + 1], left[m], right[2], right[3]);
            }
        }
    }
}

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
