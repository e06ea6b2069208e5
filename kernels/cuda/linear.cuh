/* linear.cuh - rows through small products in one kernel: sum of products, norm or its gradient, products fanned out.
 *
 * A block owns GPU_LINEAR_ROWS rows, a warp 16 of them, whole, from end to end: what one part leaves in accumulators is
 * the left operand of the next (mma.cuh), and norms need no other warp. Weights pass by the whole block in tiles that
 * are copied one ahead: 64 of K times D columns of a sum, D times 64 columns of a fanned product. Rows beyond the last
 * are zeros and are not stored. See linear.h for what is computed.
 *
 * Products are mma.sync of a warp; linear_groups.cuh does the same on sm_90a by wgmma.
 *
 * Rounding: the sum stays in fp32 until bias, residual or the norm's gradient are done; r and n are rounded to bf16
 * before products take them, as they are when they go through memory.
 */
#ifndef AIRA_GPU_LINEAR_CUH
#define AIRA_GPU_LINEAR_CUH

#include "copy.cuh"
#include "linear.h"
#include "mma.cuh"
#include "vector.cuh"

#define LINEAR_WARPS 4
#define LINEAR_THREADS (32 * LINEAR_WARPS)
#define LINEAR_CHUNK 64

static_assert(GPU_LINEAR_ROWS == 16 * LINEAR_WARPS && LINEAR_WARPS == 4, "a warp owns 16 rows, a group of four 64");

struct linear_rows {
    int64_t rows;
    int sums, fans, k[GPU_LINEAR_MOST], n[GPU_LINEAR_MOST];
    const half16 *a[GPU_LINEAR_MOST], *w[GPU_LINEAR_MOST], *fan_w[GPU_LINEAR_MOST], *fan_bias[GPU_LINEAR_MOST];
    const half16 *bias, *x, *residual, *r; /* NULL where there is none */
    const float *slope_w, *norm_w;
    half16 *to_r, *to_n, *y[GPU_LINEAR_MOST];
    const float2 *turns; /* [times][head / 2] cosine and sine */
    int head, times;
    unsigned turned; /* bit j: y_j */
    float slope_eps, norm_eps;
    float *partial;                             /* [blocks][width]: sums over the block's rows */
    int width, columns_at[GPU_LINEAR_MOST + 1]; /* where in it; the norm's weights at 0; -1: none */
};

/* What lies in shared memory: stages of weights, of each warp x, (with sums) the residual and chunks, then sums over
   rows. */
template <int D, bool SUMS> struct linear_size {
    static constexpr int CHUNK = LINEAR_CHUNK, PITCH = D + 8, CHUNK_PITCH = CHUNK + 8; /* of a warp's rows */
    static constexpr int STAGES = SUMS ? 2 : 3;
    static constexpr int TILE = CHUNK * PITCH > D *CHUNK_PITCH ? CHUNK *PITCH : D *CHUNK_PITCH;
    static constexpr int ROWS = 16 * PITCH, CHUNK_ROWS = 16 * CHUNK_PITCH;
    static constexpr int OWN = SUMS ? STAGES * CHUNK_ROWS + 2 * ROWS : ROWS;
    static constexpr int ALL = STAGES * TILE + LINEAR_WARPS * OWN;
    static constexpr size_t bytes(int width) {
        return ALL * sizeof(half16) + (size_t)LINEAR_WARPS * width * sizeof(float);
    }
};

/* --- memory --- */

/* ROWS x COLUMNS elements from memory, `pitch` apart, by THREADS threads; zeros beyond what is there. to_pitch 0:
   panels of 64 columns, rows of 128 bytes whose 16-byte parts are swapped by row % 8. */
template <int ROWS, int COLUMNS, int THREADS>
__device__ __forceinline__ void copy_tile(half16 *to, int to_pitch, const half16 *from, int64_t pitch, int rows,
                                          int columns, int thread) {
    constexpr int EIGHTS = COLUMNS / 8;
#pragma unroll
    for (int i = 0; i < ROWS * EIGHTS / THREADS; i++) {
        int row = (i * THREADS + thread) / EIGHTS, part = (i * THREADS + thread) % EIGHTS, column = 8 * part;
        bool there = row < rows && column < columns;
        int at = to_pitch ? row * to_pitch + column : (part / 8 * ROWS + row) * 64 + (part % 8 ^ row % 8) * 8;
        copy_16(to + at, there ? from + row * pitch + column : from, there);
    }
}

/* A warp's 16 rows of at most LINEAR_CHUNK columns, an even number that is no multiple of 8, as copy_tile does. */
__device__ __forceinline__ void copy_pairs(half16 *to, int to_pitch, const half16 *from, int64_t pitch, int rows,
                                           int columns) {
    int column = 2 * (threadIdx.x & 31);
#pragma unroll 4
    for (int row = 0; row < 16; row++) {
        bool there = row < rows && column < columns;
        copy_4(to + row * to_pitch + column, there ? from + row * pitch + column : from, there);
    }
}

/* A warp's 16 rows to memory, 16 bytes a lane. */
template <int COLUMNS>
__device__ __forceinline__ void store_tile(half16 *to, int64_t pitch, const half16 *from, int from_pitch, int rows,
                                           int columns) {
    constexpr int EIGHTS = COLUMNS / 8;
#pragma unroll
    for (int i = 0; i < 16 * EIGHTS / 32; i++) {
        int at = i * 32 + (threadIdx.x & 31), row = at / EIGHTS, column = at % EIGHTS * 8;
        if (row < rows && column < columns)
            *(uint4 *)(to + row * pitch + column) = *(const uint4 *)(from + row * from_pitch + column);
    }
}

/* Which product, and which 64 of its extent, tile t is. */
struct linear_place {
    int product, at;
};
__device__ __forceinline__ linear_place place_of(const int *extents, int tile) {
    int product = 0;
    for (; tile * LINEAR_CHUNK >= extents[product]; product++)
        tile -= (extents[product] + LINEAR_CHUNK - 1) / LINEAR_CHUNK;
    return {product, tile * LINEAR_CHUNK};
}

__device__ __forceinline__ int tiles_of(const int *extents, int n) {
    int tiles = 0;
    for (int j = 0; j < n; j++) tiles += (extents[j] + LINEAR_CHUNK - 1) / LINEAR_CHUNK;
    return tiles;
}

/* Copies tile t of all: weights by the block, and of a sum the warp's own rows of its left operand. */
template <int D, bool SUMS, bool TRANS>
__device__ __forceinline__ void copy_weights(const linear_rows &p, half16 *tile, half16 *chunk, int t, int sum_tiles,
                                             int64_t first, int there) {
    using size = linear_size<D, SUMS>;
    constexpr int LONG = size::PITCH, SHORT = size::CHUNK_PITCH;
    if (SUMS && t < sum_tiles) {
        linear_place at = place_of(p.k, t);
        int k = p.k[at.product], left = k - at.at;
        const half16 *w = p.w[at.product];
        if (TRANS)
            copy_tile<D, size::CHUNK, LINEAR_THREADS>(tile, SHORT, w + at.at, k, D, left, threadIdx.x);
        else
            copy_tile<size::CHUNK, D, LINEAR_THREADS>(tile, LONG, w + (int64_t)at.at * D, D, left, D, threadIdx.x);
        const half16 *a = p.a[at.product] + first * k + at.at;
        if (k % 8)
            copy_pairs(chunk, size::CHUNK_PITCH, a, k, there, left);
        else
            copy_tile<16, size::CHUNK, 32>(chunk, size::CHUNK_PITCH, a, k, there, left, threadIdx.x & 31);
        return;
    }
    linear_place at = place_of(p.n, t - sum_tiles);
    int n = p.n[at.product], left = n - at.at;
    const half16 *w = p.fan_w[at.product];
    if (TRANS)
        copy_tile<size::CHUNK, D, LINEAR_THREADS>(tile, LONG, w + (int64_t)at.at * D, D, left, D, threadIdx.x);
    else
        copy_tile<D, size::CHUNK, LINEAR_THREADS>(tile, SHORT, w + at.at, n, D, left, threadIdx.x);
}

/* --- products --- */

/* Right operand of 16 of K times 16 columns: r[0], r[1] of the first eight columns. TRANS: the tile's rows are columns
   of the operand. */
template <bool TRANS>
__device__ __forceinline__ void load_right(uint32_t *r, const half16 *tile, int pitch, int k, int n) {
    int matrix = (threadIdx.x & 31) / 8, row = threadIdx.x & 7;
    if (TRANS)
        load_matrices(r, tile + (n + (matrix >> 1) * 8 + row) * pitch + k + (matrix & 1) * 8);
    else
        load_transposed(r, tile + (k + (matrix & 1) * 8 + row) * pitch + n + (matrix >> 1) * 8);
}

__device__ __forceinline__ void load_left(uint32_t *r, const half16 *rows, int pitch, int k) {
    int lane = threadIdx.x & 31;
    load_matrices(r, rows + (lane & 15) * pitch + k + (lane >> 4) * 8);
}

/* sum[16 x D] += the warp's chunk times the tile */
template <int D, bool TRANS>
__device__ __forceinline__ void add_chunk(float (*sum)[4], const half16 *chunk, const half16 *tile) {
    constexpr int CHUNK = LINEAR_CHUNK, CHUNK_PITCH = CHUNK + 8, PITCH = D + 8;
    uint32_t left[CHUNK / 16][4];
#pragma unroll
    for (int k = 0; k < CHUNK / 16; k++) load_left(left[k], chunk, CHUNK_PITCH, 16 * k);
#pragma unroll
    for (int k = 0; k < CHUNK; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 16) {
            uint32_t right[4];
            load_right<TRANS>(right, tile, TRANS ? CHUNK_PITCH : PITCH, k, n);
            multiply_k16(sum[n / 8], left[k / 16], right[0], right[1]);
            multiply_k16(sum[n / 8 + 1], left[k / 16], right[2], right[3]);
        }
}

/* y[16 x 64] = the warp's rows, packed, times the tile */
template <int D, bool TRANS>
__device__ __forceinline__ void fan_chunk(float (*y)[4], const uint32_t (*rows)[4], const half16 *tile) {
    constexpr int CHUNK = LINEAR_CHUNK, CHUNK_PITCH = CHUNK + 8, PITCH = D + 8;
#pragma unroll
    for (int n = 0; n < CHUNK / 8; n++) y[n][0] = y[n][1] = y[n][2] = y[n][3] = 0;
#pragma unroll
    for (int k = 0; k < D; k += 16)
#pragma unroll
        for (int n = 0; n < CHUNK; n += 16) {
            uint32_t right[4];
            load_right<TRANS>(right, tile, TRANS ? PITCH : CHUNK_PITCH, k, n);
            multiply_k16(y[n / 8], rows[k / 16], right[0], right[1]);
            multiply_k16(y[n / 8 + 1], rows[k / 16], right[2], right[3]);
        }
}

/* --- rows in registers: packed as left operand; pair (n, r) holds columns 8n + 2t, + 1 of row g + 8r --- */

__device__ __forceinline__ uint32_t &pair_of(uint32_t (*rows)[4], int n, int r) { return rows[n / 2][n % 2 * 2 + r]; }
__device__ __forceinline__ float low_of(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_of(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
__device__ __forceinline__ uint32_t *pair_at(half16 *rows, int pitch, int n, int r) {
    int lane = threadIdx.x & 31;
    return (uint32_t *)(rows + (lane / 4 + 8 * r) * pitch + 8 * n + 2 * (lane % 4));
}

/* RMS norm in place. */
template <int D> __device__ __forceinline__ void norm_rows(uint32_t (*rows)[4], const float *w, float eps) {
    float squares[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float low = low_of(pair_of(rows, n, r)), high = high_of(pair_of(rows, n, r));
            squares[r] += low * low + high * high;
        }
#pragma unroll
    for (int r = 0; r < 2; r++) squares[r] = rsqrtf(quad_sum(squares[r]) / (float)D + eps);
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        float2 weight = *(const float2 *)(w + 8 * n + 2 * (threadIdx.x & 3));
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t &pair = pair_of(rows, n, r);
            pair = pack2(low_of(pair) * (squares[r] * weight.x), high_of(pair) * (squares[r] * weight.y));
        }
    }
}

/* The halves of v[0 .. 2 HALF) of two lanes whose numbers differ by STEP: one keeps the upper sums, one the lower. */
template <int STEP, int HALF> __device__ __forceinline__ int share(float *v) {
    bool upper = (threadIdx.x & STEP) != 0;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
        float give = upper ? v[i] : v[i + HALF], keep = upper ? v[i + HALF] : v[i];
        v[i] = keep + __shfl_xor_sync(0xffffffffu, give, STEP);
    }
    return upper ? HALF : 0;
}

/* Sums over the warp's rows of v[D / 4], which belong to rows g and g + 8 already: each of the eight lanes that hold
   other rows of the same columns ends with an eighth of them, v[0 .. D / 32). Returns the index of v[0]. */
template <int D> __device__ __forceinline__ int add_rows(float *v) {
    int at = share<16, D / 8>(v);
    at += share<8, D / 16>(v);
    return at + share<4, D / 32>(v);
}

/* to[0..columns) = sums over the 16 rows of 64 columns; all lanes see the rows already */
__device__ __forceinline__ void sum_columns(float *to, const half16 *rows, int pitch, int columns) {
    int column = 2 * (threadIdx.x & 31);
    float low = 0, high = 0;
#pragma unroll
    for (int row = 0; row < 16; row++) {
        uint32_t pair = *(const uint32_t *)(rows + row * pitch + column);
        low += low_of(pair);
        high += high_of(pair);
    }
    if (column < columns) *(float2 *)(to + column) = make_float2(low, high);
}

/* What follows a sum without a norm's gradient: [bias, residual], rounded, into `out`, which held the residual. */
template <int D>
__device__ __forceinline__ void finish_sum(const linear_rows &p, uint32_t (*rows)[4], const float (*sum)[4],
                                           half16 *out) {
    constexpr int PITCH = D + 8;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        uint32_t bias = p.bias ? *(const uint32_t *)(p.bias + 8 * n + 2 * (threadIdx.x & 3)) : 0;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t *at = pair_at(out, PITCH, n, r), more = p.residual ? *at : 0;
            float low = sum[n][2 * r] + low_of(bias) + low_of(more);
            float high = sum[n][2 * r + 1] + high_of(bias) + high_of(more);
            *at = pair_of(rows, n, r) = pack2(low, high);
        }
    }
}

/* With g the sum and n = x s: s (w g - n mean(w g n)) [+ residual], and the weights' sums over these rows. */
template <int D>
__device__ __forceinline__ void finish_slope(const linear_rows &p, uint32_t (*rows)[4], const float (*sum)[4],
                                             half16 *x, half16 *out, float *dw) {
    constexpr int PITCH = D + 8;
    float squares[2] = {0, 0}, dot[2] = {0, 0}, weights[D / 4];
    const float *w = p.slope_w + 2 * (threadIdx.x & 3);
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        float2 weight = *(const float2 *)(w + 8 * n);
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t pair = *pair_at(x, PITCH, n, r);
            float low = low_of(pair), high = high_of(pair);
            squares[r] += low * low + high * high;
            dot[r] += weight.x * sum[n][2 * r] * low + weight.y * sum[n][2 * r + 1] * high;
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        squares[r] = rsqrtf(quad_sum(squares[r]) / (float)D + p.slope_eps);
        dot[r] = quad_sum(dot[r]) * squares[r] * squares[r] / (float)D;
    }
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        float2 weight = *(const float2 *)(w + 8 * n);
        weights[2 * n] = weights[2 * n + 1] = 0;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t pair = *pair_at(x, PITCH, n, r), *at = pair_at(out, PITCH, n, r);
            uint32_t more = p.residual ? *at : 0;
            float low = low_of(pair), high = high_of(pair), g0 = sum[n][2 * r], g1 = sum[n][2 * r + 1];
            weights[2 * n] += g0 * low * squares[r];
            weights[2 * n + 1] += g1 * high * squares[r];
            low = squares[r] * (weight.x * g0 - low * dot[r]) + low_of(more);
            high = squares[r] * (weight.y * g1 - high * dot[r]) + high_of(more);
            *at = pair_of(rows, n, r) = pack2(low, high);
        }
    }
    int at = add_rows<D>(weights);
#pragma unroll
    for (int i = 0; i < D / 32; i++) dw[(at + i) / 2 * 8 + 2 * (threadIdx.x & 3) + (at + i) % 2] = weights[i];
}

/* Turns heads of HEAD columns among 64: each column of a head's first half with its partner in the second. turns: of
   the positions of rows g and g + 8. */
template <int HEAD> __device__ __forceinline__ void turn_heads(float (*y)[4], const float2 *const *turns) {
    constexpr int STEP = HEAD / 16; /* eights of columns between partners; 0: they are in other lanes */
    int t = threadIdx.x & 3;
    if constexpr (STEP == 0) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float4 turn = *(const float4 *)(turns[r] + 2 * (t & 1));
            if (t < 2) turn.y = -turn.y, turn.w = -turn.w;
#pragma unroll
            for (int c = 0; c < LINEAR_CHUNK / 8; c++) {
                float &a = y[c][2 * r], &b = y[c][2 * r + 1];
                float a_other = __shfl_xor_sync(0xffffffffu, a, 2), b_other = __shfl_xor_sync(0xffffffffu, b, 2);
                a = a * turn.x + a_other * turn.y;
                b = b * turn.z + b_other * turn.w;
            }
        }
    } else {
#pragma unroll
        for (int r = 0; r < 2; r++)
#pragma unroll
            for (int j = 0; j < STEP; j++) {
                float4 turn = *(const float4 *)(turns[r] + 8 * j + 2 * t);
#pragma unroll
                for (int c = j; c < LINEAR_CHUNK / 8; c += 2 * STEP) {
                    float low = y[c][2 * r], high = y[c + STEP][2 * r];
                    y[c][2 * r] = low * turn.x - high * turn.y;
                    y[c + STEP][2 * r] = high * turn.x + low * turn.y;
                    low = y[c][2 * r + 1], high = y[c + STEP][2 * r + 1];
                    y[c][2 * r + 1] = low * turn.z - high * turn.w;
                    y[c + STEP][2 * r + 1] = high * turn.z + low * turn.w;
                }
            }
    }
}

/* Bias and positions of 64 columns of a fanned product. */
__device__ __forceinline__ void finish_fan(const linear_rows &p, linear_place at, float (*y)[4], int64_t first) {
    int lane = threadIdx.x & 31, left = p.n[at.product] - at.at;
    const half16 *bias = p.fan_bias[at.product];
#pragma unroll
    for (int c = 0; c < LINEAR_CHUNK / 8 && bias; c++) {
        int column = 8 * c + 2 * (lane % 4);
        uint32_t more = column < left ? *(const uint32_t *)(bias + at.at + column) : 0;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            y[c][2 * r] += low_of(more);
            y[c][2 * r + 1] += high_of(more);
        }
    }
    if (!(p.turned >> at.product & 1)) return;
    const float2 *turns[2];
#pragma unroll
    for (int r = 0; r < 2; r++) turns[r] = p.turns + (int)((first + lane / 4 + 8 * r) % p.times) * (p.head / 2);
    switch (p.head) {
    case 8:
        return turn_heads<8>(y, turns);
    case 16:
        return turn_heads<16>(y, turns);
    case 32:
        return turn_heads<32>(y, turns);
    default:
        return turn_heads<64>(y, turns);
    }
}

/* 64 columns of a fanned product to memory, through the warp's rows in shared memory where they are whole eights. */
template <int D>
__device__ __forceinline__ void store_fan(const linear_rows &p, linear_place at, const float (*y)[4], half16 *rows,
                                          int64_t first, int there) {
    constexpr int CHUNK = LINEAR_CHUNK, PITCH = D + 8;
    int lane = threadIdx.x & 31, n = p.n[at.product], left = n - at.at;
    half16 *to = p.y[at.product] + first * n + at.at;
#pragma unroll
    for (int c = 0; c < CHUNK / 8; c++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t pair = pack2(y[c][2 * r], y[c][2 * r + 1]);
            int column = 8 * c + 2 * (lane % 4), row = lane / 4 + 8 * r;
            if (n % 8 == 0)
                *pair_at(rows, PITCH, c, r) = pair;
            else if (column < left && row < there)
                *(uint32_t *)(to + (int64_t)row * n + column) = pair;
        }
    if (n % 8) return;
    __syncwarp();
    store_tile<CHUNK>(to, n, rows, PITCH, there, left);
    __syncwarp();
}

/* --- the whole --- */

template <int D, bool SUMS, bool TRANS>
__global__ void __launch_bounds__(LINEAR_THREADS, SUMS ? 2 : 3) linear_kernel(const __grid_constant__ linear_rows p) {
    using size = linear_size<D, SUMS>;
    extern __shared__ __align__(1024) half16 linear_memory[];
    int warp = threadIdx.x / 32, lane = threadIdx.x & 31;
    int64_t first = (int64_t)blockIdx.x * GPU_LINEAR_ROWS + 16 * warp, beyond = p.rows - first;
    int there = beyond < 0 ? 0 : beyond < 16 ? (int)beyond : 16;
    half16 *own = linear_memory + size::STAGES * size::TILE + warp * size::OWN;
    half16 *x = own, *out = own + size::ROWS, *chunks = own + 2 * size::ROWS;
    float *columns = (float *)(linear_memory + size::ALL) + warp * p.width;
    int sum_tiles = SUMS ? tiles_of(p.k, p.sums) : 0, tiles = sum_tiles + tiles_of(p.n, p.fans);
    uint32_t rows[D / 16][4];

    auto begin = [&](int t) { /* copying of tile t */
                              if (t < tiles) {
                                  int stage = t % size::STAGES;
                                  copy_weights<D, SUMS, TRANS>(p, linear_memory + stage * size::TILE,
                                                               chunks + stage * size::CHUNK_ROWS, t, sum_tiles, first,
                                                               there);
                              }
                              copy_close();
    };
    auto turn_to = [&](int t) { /* tile t is there; nobody reads the one before */
                                copy_wait<size::STAGES - 2>();
                                __syncthreads();
                                begin(t + size::STAGES - 1);
                                return linear_memory + t % size::STAGES * size::TILE;
    };

    const half16 *given = SUMS ? p.x : p.r;
    if (given) copy_tile<16, D, 32>(x, size::PITCH, given + first * D, D, there, D, lane);
    if (SUMS && p.residual) copy_tile<16, D, 32>(out, size::PITCH, p.residual + first * D, D, there, D, lane);
    for (int t = 0; t < size::STAGES - 1; t++) begin(t);

    if (SUMS) {
        float sum[D / 8][4];
#pragma unroll
        for (int n = 0; n < D / 8; n++) sum[n][0] = sum[n][1] = sum[n][2] = sum[n][3] = 0;
        for (int t = 0; t < sum_tiles; t++) {
            half16 *tile = turn_to(t), *chunk = chunks + t % size::STAGES * size::CHUNK_ROWS;
            add_chunk<D, TRANS>(sum, chunk, tile);
            linear_place at = place_of(p.k, t);
            if (p.columns_at[at.product] >= 0)
                sum_columns(columns + p.columns_at[at.product] + at.at, chunk, size::CHUNK_PITCH,
                            p.k[at.product] - at.at);
        }
        if (p.slope_w)
            finish_slope<D>(p, rows, sum, x, out, columns);
        else
            finish_sum<D>(p, rows, sum, out);
        __syncwarp();
        store_tile<D>(p.to_r + first * D, D, out, size::PITCH, there, D);
        for (int c = 0; c < D && p.columns_at[GPU_LINEAR_MOST] >= 0; c += 64)
            sum_columns(columns + p.columns_at[GPU_LINEAR_MOST] + c, out + c, size::PITCH, 64);
    } else {
        copy_wait<size::STAGES - 2>();
        __syncwarp(); /* the warp's own rows: no other is waited for */
#pragma unroll
        for (int k = 0; k < D / 16; k++) load_left(rows[k], x, size::PITCH, 16 * k);
    }
    if (p.norm_w) norm_rows<D>(rows, p.norm_w, p.norm_eps);
    __syncwarp(); /* x has been read by all lanes: n and results take its place */
    if (p.to_n) {
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int r = 0; r < 2; r++) *pair_at(x, size::PITCH, n, r) = pair_of(rows, n, r);
        __syncwarp();
        store_tile<D>(p.to_n + first * D, D, x, size::PITCH, there, D);
        __syncwarp();
    }
    for (int t = sum_tiles; t < tiles; t++) {
        float y[size::CHUNK / 8][4];
        fan_chunk<D, TRANS>(y, rows, turn_to(t));
        linear_place at = place_of(p.n, t - sum_tiles);
        finish_fan(p, at, y, first);
        store_fan<D>(p, at, y, x, first, there);
    }
    if (!p.width) return;
    __syncthreads();
    const float *all = (const float *)(linear_memory + size::ALL);
    for (int c = threadIdx.x; c < p.width; c += LINEAR_THREADS) {
        float sum = all[c];
        for (int k = 1; k < LINEAR_WARPS; k++) sum += all[k * p.width + c];
        p.partial[(int64_t)blockIdx.x * p.width + c] = sum;
    }
}

#endif
