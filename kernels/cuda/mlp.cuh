/* mlp.cuh - what the kernels of an MLP layer share: see mlp_forward.cu and mlp_backward.cu, and mlp_group.cuh for those
 * of sm_90a.
 *
 * A warp owns 32 whole rows, a block 128; the hidden columns pass by in chunks that stay in registers. Weights come
 * chunk by chunk through two stages of shared memory, and each of their operands serves both tiles of 16 rows of a
 * warp. Left operands that last lie in slots of shared memory, each read by the thread that wrote it.
 *
 * Which column of a tile is which column of a tensor is free as long as both operands agree. A quad (the four threads
 * t of a row) reads and writes rows in segments of 8 neighbours a thread, 32 columns a quad: as word j of thread t is
 * pair 8 t + 2 j, it is taken for columns 2 t, 2 t + 1 of tile j. So tensors move 16 bytes at a time. Where tiles have
 * 8 neighbours as columns (word j is pair 8 j + 2 t), a quad turns its 4 x 4 words from one order into the other.
 */
#ifndef AIRA_GPU_MLP_CUH
#define AIRA_GPU_MLP_CUH

#include "approx.cuh"
#include "copy.cuh"
#include "fast.h"
#include "groups.cuh"
#include "mma.cuh"
#include "shared.cuh"
#include "vector.cuh"

#define WARPS 4
#define THREADS (32 * WARPS)
#define TILES 2                /* of 16 rows, that a warp owns */
#define OWN (2 * TILES)        /* rows of a thread, 8 apart */
#define ROWS (8 * OWN * WARPS) /* of a block */

/* 2 sqrt(2 / pi) log2 e, and 0.044715 of it: gelu(x) = x / (1 + 2^-(LINEAR x + CUBIC x^3)) */
#define LINEAR 2.3022081985f
#define CUBIC 0.1029432396f

/* What the kernels of both ways compute, here and in mlp_group.cuh. */
struct mlp_forward_call {
    const half16 *x, *up, *down, *residual; /* residual: NULL, or added */
    const float *w;
    half16 *y, *normed; /* normed: NULL, or gets n */
    int64_t rows;
    int f_n;
    float eps;
};
struct mlp_backward_call {
    const half16 *dy, *up, *down, *x, *residual; /* residual: NULL, or added */
    const float *w;
    half16 *dx, *dp, *g;
    float *dw, *partial; /* partial: [blocks][D] */
    uint32_t *counter;   /* 0 before and after */
    int64_t rows;
    int f_n;
    float eps;
};

__device__ __forceinline__ float low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

/* Four matrices of 8 x 8, as load_matrices and load_transposed, from an address of shared memory. */
__device__ __forceinline__ uint4 load_straight(uint32_t row) {
    uint32_t r[4];
    load_matrices_at(r, row);
    return make_uint4(r[0], r[1], r[2], r[3]);
}
__device__ __forceinline__ uint4 load_turned(uint32_t row) {
    uint32_t r[4];
    load_transposed_at(r, row);
    return make_uint4(r[0], r[1], r[2], r[3]);
}

/* (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
__device__ __forceinline__ float gate(float x) {
    return inverse(1.0f + power_of_two(x * fmaf(-CUBIC, x * x, -LINEAR)));
}

/* Starts the copies of a chunk of C hidden columns: up[C][D], then down[D][C]. Place says where 16 bytes of a row lie.
 */
template <int D, int C, class Place>
__device__ __forceinline__ void fetch(half16 *stage, const half16 *up, const half16 *down, int f_n, int chunk) {
    constexpr int COUNT = C * D / 8 / THREADS, UP = D / 8, DOWN = C / 8; /* UP, DOWN: copies of a row */
    int row = threadIdx.x / UP, segment = threadIdx.x % UP;
    const half16 *from = up + (int64_t)chunk * C * D + threadIdx.x * 8;
#pragma unroll
    for (int k = 0; k < COUNT; k++, row += THREADS / UP)
        copy_16(stage + (row * UP + Place::up(row, segment)) * 8, from + k * THREADS * 8, true);
    stage += C * D;
    row = threadIdx.x / DOWN, segment = threadIdx.x % DOWN;
    from = down + (int64_t)row * f_n + chunk * C + segment * 8;
#pragma unroll
    for (int k = 0; k < COUNT; k++, row += THREADS / DOWN, from += (int64_t)(THREADS / DOWN) * f_n)
        copy_16(stage + (row * DOWN + Place::down(row, segment)) * 8, from, true);
    copy_close();
}

/* Left operands (16 rows x 16) of two steps: what 32 columns of a thread's rows make. */
struct left {
    uint4 a[TILES][2];
};
__device__ __forceinline__ left left_of(const uint4 *rows) {
    left l;
#pragma unroll
    for (int m = 0; m < TILES; m++) {
        uint4 upper = rows[2 * m], lower = rows[2 * m + 1];
        l.a[m][0] = make_uint4(upper.x, lower.x, upper.y, lower.y);
        l.a[m][1] = make_uint4(upper.z, lower.z, upper.w, lower.w);
    }
    return l;
}

/* Slots hold D / 32 of them; a slot is read by the thread that wrote it. */
__device__ __forceinline__ void put_slots(uint4 *slots, int q, const left &l) {
#pragma unroll
    for (int k = 0; k < 2 * TILES; k++) slots[(2 * TILES * q + k) * THREADS + threadIdx.x] = l.a[k / 2][k % 2];
}
__device__ __forceinline__ left left_of_slots(const uint4 *slots, int q) {
    left l;
#pragma unroll
    for (int k = 0; k < 2 * TILES; k++) l.a[k / 2][k % 2] = slots[(2 * TILES * q + k) * THREADS + threadIdx.x];
    return l;
}

/* c[m][first + n] = [c +] left times b[n], 4 tiles of 8 columns: what needs the same sum comes 8 products apart. */
template <bool ADD, int N>
__device__ __forceinline__ void multiply(float (*c)[N][4], int first, const left &l, const uint4 *b) {
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < 4; n++) {
            if (ADD)
                multiply_k16(c[m][first + n], &l.a[m][0].x, b[n].x, b[n].y);
            else
                begin_k16(c[m][first + n], &l.a[m][0].x, b[n].x, b[n].y);
        }
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int n = 0; n < 4; n++) multiply_k16(c[m][first + n], &l.a[m][1].x, b[n].z, b[n].w);
}

/* Rows beyond the last are read as the last, and not stored. */
__device__ __forceinline__ int64_t row_to_read(int64_t row, int64_t rows) { return row < rows ? row : rows - 1; }

/* A thread's part of a row of D columns. */
template <int D> __device__ __forceinline__ void load_row(uint4 *v, const half16 *x, int64_t row, int64_t rows, int t) {
    x += row_to_read(row, rows) * D + 8 * t;
#pragma unroll
    for (int q = 0; q < D / 32; q++) v[q] = *(const uint4 *)(x + 32 * q);
}

/* K rows of a thread, from `first` on. */
template <int D, int K = OWN>
__device__ __forceinline__ void store_rows(half16 *to, const uint4 (*v)[D / 32], int64_t first, int64_t rows, int t) {
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int q = 0; q < D / 32; q++)
            if (first + 8 * k < rows) *(uint4 *)(to + (first + 8 * k) * D + 32 * q + 8 * t) = v[k][q];
}

/* A thread's rows into its slots. */
template <int D> __device__ __forceinline__ void fill_slots(uint4 *slots, const uint4 (*v)[D / 32]) {
#pragma unroll
    for (int q = 0; q < D / 32; q++) {
        uint4 rows[OWN];
#pragma unroll
        for (int k = 0; k < OWN; k++) rows[k] = v[k][q];
        put_slots(slots, q, left_of(rows));
    }
}

/* v = K rows of the thread of x, from row `first` on. */
template <int D, int K = OWN>
__device__ __forceinline__ void load_rows(uint4 (*v)[D / 32], const half16 *x, int64_t first, int64_t rows, int t) {
#pragma unroll
    for (int k = 0; k < K; k++) load_row<D>(v[k], x, first + 8 * k, rows, t);
}

/* v = RMS norm of K rows; scales: NULL, or gets what each was multiplied by before w. */
template <int D, int K = OWN>
__device__ __forceinline__ void norm_rows(uint4 (*v)[D / 32], const float *w, float eps, int t, float *scales = NULL) {
#pragma unroll
    for (int k = 0; k < K; k++) {
        float squares = 0;
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            const uint32_t *pairs = (const uint32_t *)&v[k][q];
#pragma unroll
            for (int j = 0; j < 4; j++) squares += low(pairs[j]) * low(pairs[j]) + high(pairs[j]) * high(pairs[j]);
        }
        float scale = rsqrtf(quad_sum(squares) / (float)D + eps);
        if (scales) scales[k] = scale;
#pragma unroll
        for (int q = 0; q < D / 32; q++) {
            uint32_t *pairs = (uint32_t *)&v[k][q];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float2 weight = *(const float2 *)(w + 32 * q + 8 * t + 2 * j);
                pairs[j] = pack2(low(pairs[j]) * (scale * weight.x), high(pairs[j]) * (scale * weight.y));
            }
        }
    }
}

/* Words of a row, in the order of tiles, to memory. */
__device__ __forceinline__ void store_words(half16 *to, uint32_t *words, bool inside) {
    quad_transpose(words);
    if (inside) *(uint4 *)to = make_uint4(words[0], words[1], words[2], words[3]);
}

/* --- sums of the norm's weights over rows --------------------------------------------------------------------------
 */

/* Adds lanes that differ in bit `mask`, each value in one order; of 2 N values a lane keeps the N of its half. */
template <int N> __device__ __forceinline__ void fold(float *v, int mask) {
    bool upper = threadIdx.x & mask;
#pragma unroll
    for (int k = 0; k < N; k++) {
        float give = upper ? v[k] : v[k + N], keep = upper ? v[k + N] : v[k];
        v[k] = keep + __shfl_xor_sync(0xffffffffu, give, mask);
    }
}

/* A block of N threads: its part of dw from its warps' sums; the last block adds all parts: each group of D / 4 threads
   every GROUPS-th part, then the groups. */
template <int D, int N> __device__ __forceinline__ void add_parts(const mlp_backward_call &a, float *sums) {
    constexpr int GROUPS = N / (D / 4);
    static_assert(D <= N, "a thread a column");
    if (threadIdx.x < D) {
        float sum = sums[threadIdx.x];
#pragma unroll
        for (int w = 1; w < N / 32; w++) sum += sums[w * D + threadIdx.x];
        a.partial[(int64_t)blockIdx.x * D + threadIdx.x] = sum;
    }
    __threadfence();
    __syncthreads();
    if (!__syncthreads_or(threadIdx.x == 0 && atomicAdd(a.counter, 1u) == gridDim.x - 1)) return;
    __threadfence();
    int c = threadIdx.x % (D / 4) * 4, group = threadIdx.x / (D / 4);
    float4_of sum = {};
#pragma unroll 8
    for (unsigned b = group; b < gridDim.x; b += GROUPS) {
        float4_of v = load4(a.partial + (int64_t)b * D + c);
#pragma unroll
        for (int k = 0; k < 4; k++) sum.v[k] += v.v[k];
    }
    store4(sums + group * D + c, sum);
    __syncthreads();
    if (threadIdx.x < D) {
        float all = sums[threadIdx.x];
#pragma unroll
        for (int j = 1; j < GROUPS; j++) all += sums[j * D + threadIdx.x];
        a.dw[threadIdx.x] = all;
    }
    if (threadIdx.x == 0) *a.counter = 0;
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

/* The kernels of sm_90a. */
const char *mlp_group_forward(int d_n, const mlp_forward_call &a, cudaStream_t stream);
const char *mlp_group_backward(int d_n, const mlp_backward_call &a, cudaStream_t stream);

/* A block for every ROWS rows. */
template <class A>
static const char *launch(void (*kernel)(A), int threads, int bytes, const A &arguments, cudaStream_t stream) {
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<(unsigned)((arguments.rows + ROWS - 1) / ROWS), threads, (size_t)bytes, stream>>>(arguments);
    return gpu_launched();
}

#endif
