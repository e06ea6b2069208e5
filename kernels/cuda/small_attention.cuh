/* small_attention.cuh - what attention with small heads shares: see small_attention.cu, short_attention.cu.
 *
 * In shared memory a tensor lies in slabs of 8 elements: slab [row][8], 16 bytes a row, which is what ldmatrix wants
 * and what never meets a bank conflict.
 */
#ifndef AIRA_GPU_SMALL_ATTENTION_CUH
#define AIRA_GPU_SMALL_ATTENTION_CUH

#include "approx.cuh"
#include "fast.h"
#include "mma.cuh"
#include "vector.cuh"

#define ROWS 128
#define THREADS 256
#define SEGMENTS 4            /* slabs of a block: heads times D / 8 */
#define SLAB ((ROWS + 2) * 8) /* elements; two rows more, so that slabs begin on other banks */
#define LN2 0.69314718055994530942f

typedef __nv_bfloat16 half_t;

struct small_heads {
    const half_t *q, *k, *v;
    const float *visible; /* [B,T], 0 hides a key; NULL: all count */
    int t_n, h_n, window;
    bool causal;
    float scale;
    const float2 *turns; /* [T][D / 2] cosine and sine; NULL: q and k come turned */
    half_t *q_turned, *k_turned;
};

template <int D> struct small {
    static constexpr int K = D / 8;            /* slabs of a head */
    static constexpr int HEADS = SEGMENTS / K; /* heads of a block */
};

/* slabs <- rows first.. of x (block's heads), zeros beyond T */
__device__ __forceinline__ void load_rows(half_t *slabs, const half_t *x, int64_t base, int stride, int first,
                                          int t_n) {
#pragma unroll 2
    for (int i = threadIdx.x; i < ROWS * SEGMENTS; i += blockDim.x) {
        int row = i / SEGMENTS, segment = i % SEGMENTS;
        uint4 v = make_uint4(0, 0, 0, 0);
        if (first + row < t_n) v = *(const uint4 *)(x + base + (int64_t)(first + row) * stride + segment * 8);
        *(uint4 *)(slabs + segment * SLAB + row * 8) = v;
    }
}

__device__ __forceinline__ void store_rows(half_t *x, const half_t *slabs, int64_t base, int stride, int first,
                                           int t_n) {
#pragma unroll 2
    for (int i = threadIdx.x; i < ROWS * SEGMENTS; i += blockDim.x) {
        int row = i / SEGMENTS, segment = i % SEGMENTS;
        if (first + row < t_n)
            *(uint4 *)(x + base + (int64_t)(first + row) * stride +
                       segment * 8) = *(const uint4 *)(slabs + segment * SLAB + row * 8);
    }
}

/* left operand: 16 rows from `row` on, k8 step by k8 step */
template <int K> __device__ __forceinline__ void load_left(uint32_t (*a)[2], const half_t *slab, int row) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int k = 0; k < K; k++) load_matrices(a[k][0], a[k][1], slab + k * SLAB + (row + (lane & 15)) * 8);
}

/* s[n][..] = left times the rows `row`.. of `slab`, N tiles of 8 rows (N = 2 or 4) */
template <int K, int N>
__device__ __forceinline__ void scores(float (*s)[4], const uint32_t (*left)[2], const half_t *slab, int row) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int n = 0; n < N; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
    for (int k = 0; k < K; k++) {
        uint32_t b[4];
        if (N == 4)
            load_matrices(b, slab + k * SLAB + (row + lane) * 8);
        else
            load_matrices(b[0], b[1], slab + k * SLAB + (row + (lane & 15)) * 8);
#pragma unroll
        for (int n = 0; n < N; n++) multiply_k8(s[n], left[k][0], left[k][1], b[n]);
    }
}

/* sum[k] += p (16 x 16, packed) times 16 rows of slab from `row` on */
template <int K>
__device__ __forceinline__ void add_product(float (*sum)[4], const uint32_t *p, const half_t *slab, int row) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int k = 0; k < K; k++) {
        uint32_t b0, b1;
        load_transposed(b0, b1, slab + k * SLAB + (row + (lane & 15)) * 8);
        multiply_k16(sum[k], p, b0, b1);
    }
}

/* accumulator tile pairs as left operand */
__device__ __forceinline__ void pack_left(uint32_t *p, const float *first, const float *second) {
    p[0] = pack2(first[0], first[1]);
    p[1] = pack2(first[2], first[3]);
    p[2] = pack2(second[0], second[1]);
    p[3] = pack2(second[2], second[3]);
}

/* 16 x 8 K accumulators into slabs, rows from `row` on */
template <int K>
__device__ __forceinline__ void put_rows(half_t *slab, int row, const float (*sum)[4], float f0, float f1) {
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int k = 0; k < K; k++) {
        *(uint32_t *)(slab + k * SLAB + (row + g) * 8 + 2 * t) = pack2(sum[k][0] * f0, sum[k][1] * f0);
        *(uint32_t *)(slab + k * SLAB + (row + g + 8) * 8 + 2 * t) = pack2(sum[k][2] * f1, sum[k][3] * f1);
    }
}

__device__ __forceinline__ float quad_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

/* An 8 x 8 matrix of bf16 across the warp, transposed. */
__device__ __forceinline__ uint32_t transposed(uint32_t x) {
    uint32_t y;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
    return y;
}

#endif
