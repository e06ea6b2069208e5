/* short_attention.cu - causal attention of at most 128 positions, heads of 8 or 16, and its gradient.
 *
 * What small_attention.cu computes, without anything that a search model's attention never needs: no key is asked
 * whether it is seen but those of the tile on the diagonal, where two comparisons tell, the same for every tile.
 *
 * Forward, a warp holds 16 queries of a head and walks over their keys, 32 at a time; a product with ones adds the
 * weights. Backward, a warp owns a head: keys outside, two tiles of queries at a time inside, dq of all of them in
 * registers. Sums begin where they would be subtracted from: at minus delta; the scale comes in at the end. dq and dk
 * are turned back by their positions (turns) before they leave.
 */
#include <type_traits>

#include "copy.cuh"
#include "short_attention.h"
#include "small_attention.cuh"

#define ONES 0x3f803f80u          /* two bf16 */
#define STEP_OF(rows) ((rows)*16) /* bytes between rows of a slab */
#define FEW 32                    /* positions, for which blocks are smaller: more of them on a multiprocessor */

/* A block's shape: R positions, heads of D. */
template <int D, int R> struct block {
    static constexpr int K = D / 8, HEADS = SEGMENTS / K, TILES = R / 16;
    static constexpr int SLAB_SIZE = (R + 2) * 8, NEXT = SLAB_SIZE * 2;         /* elements, bytes */
    static constexpr int FORWARD = R == FEW ? 128 : 256, BACKWARD = 32 * HEADS; /* threads */
};

/* 2 or 4 matrices of 8 rows from `at` on, the lane's own row included (rows_from); of two, lanes 16.. are not asked. */
template <int N> __device__ __forceinline__ void load_rows_of(uint32_t *r, uint32_t at) {
    if (N == 4)
        load_matrices_at(r, at);
    else
        load_matrices_at(r[0], r[1], at);
}
template <int N> __device__ __forceinline__ void load_columns_of(uint32_t *r, uint32_t at) {
    if (N == 4)
        load_transposed_at(r, at);
    else
        load_transposed_at(r[0], r[1], at);
}
/* Shared address of the lane's row of a slab. */
__device__ __forceinline__ uint32_t rows_from(const half_t *slab) {
    return shared_address(slab) + STEP_OF(threadIdx.x & 31);
}
/* s[n] += left times N tiles of 8 rows from `at` on */
template <class B, int N>
__device__ __forceinline__ void products(float (*s)[4], const uint32_t (*left)[2], uint32_t at) {
#pragma unroll
    for (int d = 0; d < B::K; d++) {
        uint32_t b[4];
        load_rows_of<N>(b, at + d * B::NEXT);
#pragma unroll
        for (int n = 0; n < N; n++) multiply_k8(s[n], left[d][0], left[d][1], b[n]);
    }
}
/* sum[k] += packed tiles (16 columns each) times N tiles of 8 rows from `at` on */
template <class B, int N>
__device__ __forceinline__ void add_tiles(float (*sum)[4], const uint32_t (*p)[4], uint32_t at) {
#pragma unroll
    for (int d = 0; d < B::K; d++) {
        uint32_t b[4];
        load_columns_of<N>(b, at + d * B::NEXT);
#pragma unroll
        for (int n = 0; n < N; n += 2) multiply_k16(sum[d], p[n / 2], b[n], b[n + 1]);
    }
}

/* What a thread moves: 16 bytes of every STEP-th row from its own on. at: in a tensor; in: in slabs. */
template <class B, int N> struct mover {
    static constexpr int STEP = N / SEGMENTS, COUNT = 16 * B::TILES / STEP;
    int row, in, step;
    int64_t at;
    __device__ __forceinline__ mover(int64_t base, int stride)
        : row(threadIdx.x / SEGMENTS), in(threadIdx.x % SEGMENTS * B::SLAB_SIZE + row * 8), step(STEP * stride),
          at(base + (int64_t)row * stride + threadIdx.x % SEGMENTS * 8) {}
};

/* Begins the copies of `rows` rows into slabs, zeros beyond T. */
template <class B, int N>
__device__ __forceinline__ void fetch_rows(half_t *slabs, const half_t *x, const mover<B, N> &m, int rows, int t_n) {
    const half_t *from = x + m.at;
#pragma unroll
    for (int k = 0; k < mover<B, N>::COUNT; k++, from += m.step) {
        int row = m.row + k * mover<B, N>::STEP;
        if (row < rows) copy_16(slabs + m.in + k * mover<B, N>::STEP * 8, row < t_n ? from : x, row < t_n);
    }
}
template <class B, int N>
__device__ __forceinline__ void put_back(half_t *x, const half_t *slabs, const mover<B, N> &m, int t_n) {
    half_t *to = x + m.at;
#pragma unroll
    for (int k = 0; k < mover<B, N>::COUNT; k++, to += m.step)
        if (m.row + k * mover<B, N>::STEP < t_n)
            *(uint4 *)to = *(const uint4 *)(slabs + m.in + k * mover<B, N>::STEP * 8);
}

/* 16 x 8 K sums times f0 (rows g) and f1 (rows g + 8) into slabs, rows from `row` on */
template <class B>
__device__ __forceinline__ void put_tile(half_t *slab, int row, const float (*sum)[4], float f0, float f1) {
    uint32_t *at = (uint32_t *)(slab + (row + (threadIdx.x & 31) / 4) * 8) + (threadIdx.x & 3);
#pragma unroll
    for (int d = 0; d < B::K; d++) {
        at[d * B::SLAB_SIZE / 2] = pack2(sum[d][0] * f0, sum[d][1] * f0);
        at[d * B::SLAB_SIZE / 2 + 32] = pack2(sum[d][2] * f1, sum[d][3] * f1);
    }
}

/* --- forward --- */

/* What 16 queries of a head have seen so far. total: every column the same. */
template <int K> struct sums { float sum[K][4], total[4], peak[2]; };

/* N tiles of 8 more keys, from row j on; DIAGONAL: the last two are the queries' own positions. */
template <class B, int N, bool DIAGONAL>
__device__ __forceinline__ void see_keys(sums<B::K> &own, const uint32_t (*left)[2], uint32_t k, uint32_t v, int j,
                                         float turn) {
    int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    float s[N][4] = {};
    products<B, N>(s, left, k + STEP_OF(j));
    if (DIAGONAL) {
        bool even = 2 * t <= g, odd = 2 * t + 1 <= g; /* keys of eight are seen by queries of the same eight */
        float(*low)[4] = s + N - 2, (*high)[4] = s + N - 1;
        low[0][0] = even ? low[0][0] : -INFINITY;
        low[0][1] = odd ? low[0][1] : -INFINITY;
        high[0][0] = high[0][1] = -INFINITY;
        high[0][2] = even ? high[0][2] : -INFINITY;
        high[0][3] = odd ? high[0][3] : -INFINITY;
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float best = fmaxf(s[0][2 * r], s[0][2 * r + 1]);
#pragma unroll
        for (int n = 1; n < N; n++) best = fmaxf(best, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
        best = fmaxf(own.peak[r], quad_max(best) * turn);
        float shrink = power_of_two(own.peak[r] - best);
        own.peak[r] = best;
#pragma unroll
        for (int n = 0; n < N; n++) {
            s[n][2 * r] = power_of_two(fmaf(s[n][2 * r], turn, -best));
            s[n][2 * r + 1] = power_of_two(fmaf(s[n][2 * r + 1], turn, -best));
        }
        own.total[2 * r] *= shrink;
#pragma unroll
        for (int d = 0; d < B::K; d++) own.sum[d][2 * r] *= shrink, own.sum[d][2 * r + 1] *= shrink;
    }
    uint32_t p[N / 2][4];
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        pack_left(p[n / 2], s[n], s[n + 1]);
        multiply_k16(own.total, p[n / 2], ONES, ONES);
    }
    add_tiles<B, N>(own.sum, p, v + STEP_OF(j));
}

/* Queries row.. of a head: results take their place in q, which nobody else reads. */
template <class B>
__device__ __forceinline__ void attend(half_t *q, uint32_t k, uint32_t v, float *lse, int row, int t_n, float turn) {
    sums<B::K> own = {};
    uint32_t left[B::K][2], queries = rows_from(q) + STEP_OF(row);
    own.peak[0] = own.peak[1] = -INFINITY;
#pragma unroll
    for (int d = 0; d < B::K; d++) load_rows_of<2>(left[d], queries + d * B::NEXT);
    for (int j = 0; j + 32 <= row; j += 32) see_keys<B, 4, false>(own, left, k, v, j, turn);
    if (row & 16)
        see_keys<B, 4, true>(own, left, k, v, row - 16, turn);
    else
        see_keys<B, 2, true>(own, left, k, v, row, turn);
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int at = row + lane / 4 + 8 * r;
        if (lane % 4 == 0 && at < t_n) lse[at] = (own.peak[r] + __log2f(own.total[2 * r])) * LN2; /* 1 to 128 */
    }
    put_tile<B>(q, row, own.sum, inverse(own.total[0]), inverse(own.total[2]));
}

template <class B, int D>
__global__ void __launch_bounds__(B::FORWARD, 1024 / B::FORWARD) causal_forward(small_heads a, half_t *o, float *lse) {
    __shared__ __align__(16) half_t q[SEGMENTS * B::SLAB_SIZE], k[SEGMENTS * B::SLAB_SIZE], v[SEGMENTS * B::SLAB_SIZE];
    int b = blockIdx.z, h0 = blockIdx.y * B::HEADS, stride = a.h_n * D, tiles = (a.t_n + 15) / 16;
    const mover<B, B::FORWARD> m((int64_t)b * a.t_n * stride + h0 * D, stride);
    fetch_rows(q, a.q, m, 16 * tiles, a.t_n);
    fetch_rows(k, a.k, m, 16 * tiles, a.t_n);
    fetch_rows(v, a.v, m, 16 * tiles, a.t_n);
    lse += ((int64_t)b * a.h_n + h0) * a.t_n;
    copy_wait_all();
    __syncthreads();
    uint32_t keys = rows_from(k), values = rows_from(v);
    int tile = threadIdx.x / 32, h = 0;
    for (;; tile += B::FORWARD / 32) {
        for (; tile >= tiles; h++) tile -= tiles;
        if (h >= B::HEADS) break;
        int row = 16 * (h & 1 ? tiles - 1 - tile : tile), at = h * B::K * B::SLAB_SIZE; /* causal work evens out */
        attend<B>(q + at, keys + 2 * at, values + 2 * at, lse + h * a.t_n, row, a.t_n, a.scale * LOG2E);
    }
    __syncthreads();
    put_back(o, q, m, a.t_n);
}

/* --- backward -------------------------------------------------------------------------------------------------------
 */

/* do of all rows into slabs; per row minus lse (base 2), and minus delta, the sum over the head of o do. */
template <class B, int N>
__device__ __forceinline__ void load_slopes(const half_t *o, const half_t *g_o, const float *lse, const mover<B, N> &m,
                                            int rows, int t_n, half_t *slope, float2 (*minus)[16 * B::TILES]) {
    constexpr int K = B::K, COUNT = mover<B, N>::COUNT, STEP = mover<B, N>::STEP;
    int segment = threadIdx.x % SEGMENTS;
    uint4 x[COUNT], y[COUNT];
    const half_t *from = g_o + m.at, *results = o + m.at;
#pragma unroll
    for (int k = 0; k < COUNT; k++, from += m.step, results += m.step) {
        x[k] = y[k] = make_uint4(0, 0, 0, 0);
        if (m.row + k * STEP < t_n) x[k] = *(const uint4 *)from, y[k] = *(const uint4 *)results;
    }
#pragma unroll
    for (int k = 0; k < COUNT; k++) { /* all lanes or none: rows come in thirty-twos */
        int row = m.row + k * STEP;
        if (row >= rows) break;
        *(uint4 *)(slope + m.in + k * STEP * 8) = x[k];
        const uint32_t *u = (const uint32_t *)&x[k], *w = (const uint32_t *)&y[k];
        float dot = 0;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            dot = fmaf(__uint_as_float(u[c] << 16), __uint_as_float(w[c] << 16), dot);
            dot = fmaf(__uint_as_float(u[c] & 0xffff0000u), __uint_as_float(w[c] & 0xffff0000u), dot);
        }
#pragma unroll
        for (int step = 1; step < K; step *= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
        if (segment % K == 0)
            minus[segment / K][row] = make_float2(row < t_n ? lse[segment / K * t_n + row] * -LOG2E : 0.0f, -dot);
    }
}

/* What a warp knows of its head. */
struct head_rows {
    uint32_t q, slope;   /* rows_from */
    const float2 *minus; /* [rows] minus lse (base 2), minus delta; from the lane's column on */
    float turn;
};

/* 16 keys, as they serve every tile of queries. */
template <int K> struct key_rows {
    uint32_t k[K][2], v[K][2], k_turned[K][2];
    float dk[K][4], dv[K][4];
};

/* For N tiles of 8 queries: p and ds of their products with 16 keys, packed as left operands; queries from t0 on.
   DIAGONAL: the first 16 are the keys' own positions. */
template <class B, int N, bool DIAGONAL>
__device__ __forceinline__ void weigh(const head_rows &a, const key_rows<B::K> &own, int t0, uint32_t (*p)[4],
                                      uint32_t (*pull)[4]) {
    int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    float s[N][4] = {}, ds[N][4];
    float4 minus[N]; /* of two neighbours */
    products<B, N>(s, own.k, a.q + STEP_OF(t0));
#pragma unroll
    for (int n = 0; n < N; n++) {
        minus[n] = *(const float4 *)(a.minus + t0 + n * 8);
        ds[n][0] = ds[n][2] = minus[n].y;
        ds[n][1] = ds[n][3] = minus[n].w;
    }
    products<B, N>(ds, own.v, a.slope + STEP_OF(t0));
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) s[n][c] = power_of_two(fmaf(s[n][c], a.turn, c & 1 ? minus[n].z : minus[n].x));
    if (DIAGONAL) { /* rows are keys: g of the first eight, g + 8 of the second */
        bool even = g <= 2 * t, odd = g <= 2 * t + 1;
        s[0][0] = even ? s[0][0] : 0.0f;
        s[0][1] = odd ? s[0][1] : 0.0f;
        s[0][2] = s[0][3] = 0;
        s[1][2] = even ? s[1][2] : 0.0f;
        s[1][3] = odd ? s[1][3] : 0.0f;
    }
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) ds[n][c] *= s[n][c];
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        pack_left(p[n / 2], s[n], s[n + 1]);
        pack_left(pull[n / 2], ds[n], ds[n + 1]);
    }
}

/* 16 keys and N / 2 tiles of 16 queries: dv += p do, dk += ds q, and, transposed, dq += ds' k; dk, dq without scale. */
template <class B, int N, bool DIAGONAL>
__device__ __forceinline__ void pull_tiles(const head_rows &a, key_rows<B::K> &own, int t0, float (*dq)[B::K][4]) {
    uint32_t p[N / 2][4], pull[N / 2][4];
    weigh<B, N, DIAGONAL>(a, own, t0, p, pull);
    add_tiles<B, N>(own.dv, p, a.slope + STEP_OF(t0));
    add_tiles<B, N>(own.dk, pull, a.q + STEP_OF(t0));
#pragma unroll
    for (int tile = 0; tile < N / 2; tile++) {
        /* keys 0-7 and 8-15 of queries 0-7, then of queries 8-15; by rows of queries: */
        uint32_t turned[4] = {transposed(pull[tile][0]), transposed(pull[tile][2]), transposed(pull[tile][1]),
                              transposed(pull[tile][3])};
#pragma unroll
        for (int d = 0; d < B::K; d++) multiply_k16(dq[tile][d], turned, own.k_turned[d][0], own.k_turned[d][1]);
    }
}

/* Rows g and g + 8 of a head turned back: by minus their position's angle. turns: [T][4 K]. */
template <int K> __device__ __forceinline__ void turn_back(float (*sum)[4], const float2 *turns, int row, int t_n) {
    int lane = threadIdx.x & 31, t = lane % 4;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int at = min(row + lane / 4 + 8 * r, t_n - 1); /* rows beyond the last are not stored */
        if (K == 1) {                                  /* columns 2t, 2t + 1; the other half is two lanes away */
            float4 turn = *(const float4 *)(turns + (int64_t)at * 4 + 2 * (t & 1));
            float x = sum[0][2 * r], y = sum[0][2 * r + 1];
            float other_x = __shfl_xor_sync(0xffffffffu, x, 2), other_y = __shfl_xor_sync(0xffffffffu, y, 2);
            sum[0][2 * r] = fmaf(x, turn.x, other_x * (t & 2 ? -turn.y : turn.y));
            sum[0][2 * r + 1] = fmaf(y, turn.z, other_y * (t & 2 ? -turn.w : turn.w));
        } else {
            float4 turn = *(const float4 *)(turns + (int64_t)at * 8 + 2 * t);
            float *low = sum[0] + 2 * r, *high = sum[K - 1] + 2 * r, l0 = low[0], l1 = low[1];
            low[0] = fmaf(l0, turn.x, high[0] * turn.y);
            low[1] = fmaf(l1, turn.z, high[1] * turn.w);
            high[0] = fmaf(high[0], turn.x, -l0 * turn.y);
            high[1] = fmaf(high[1], turn.z, -l1 * turn.w);
        }
    }
}

template <class B, int D>
__global__ void __launch_bounds__(B::BACKWARD, (B::TILES == 2 ? 768
                                                : D == 8      ? 512
                                                              : 384) /
                                                   B::BACKWARD)
    causal_backward(small_heads a, const half_t *o, const half_t *g_o, const float *lse, half_t *dq, half_t *dk,
                    half_t *dv) {
    constexpr int K = B::K, HEADS = B::HEADS, TILES = B::TILES, SLAB_SIZE = B::SLAB_SIZE;
    static_assert(K <= 2, "turn_back knows halves of one or two tiles");
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB_SIZE], k[SEGMENTS * SLAB_SIZE], v[SEGMENTS * SLAB_SIZE],
        slope[SEGMENTS * SLAB_SIZE];
    __shared__ __align__(16) float2 minus[HEADS][16 * TILES];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, h = threadIdx.x / 32, lane = threadIdx.x & 31, stride = a.h_n * D,
        n_s = (a.t_n + 15) / 16;
    const mover<B, B::BACKWARD> m((int64_t)b * a.t_n * stride + h0 * D, stride);
    int rows = (n_s + 1) / 2 * 32; /* tiles of queries go in pairs */
    half_t *my_q = q + h * K * SLAB_SIZE, *my_k = k + h * K * SLAB_SIZE, *my_v = v + h * K * SLAB_SIZE;
    float dq_sum[TILES][K][4] = {};
    fetch_rows(q, a.q, m, rows, a.t_n);
    fetch_rows(k, a.k, m, 16 * n_s, a.t_n);
    fetch_rows(v, a.v, m, 16 * n_s, a.t_n);
    load_slopes(o, g_o, lse + ((int64_t)b * a.h_n + h0) * a.t_n, m, rows, a.t_n, slope, minus);
    copy_wait_all();
    __syncthreads();
    const head_rows mine = {rows_from(my_q), rows_from(slope + h * K * SLAB_SIZE), minus[h] + 2 * (lane & 3),
                            a.scale * LOG2E};
    uint32_t keys = rows_from(my_k), values = rows_from(my_v);
    for (int s = 0; s < n_s; s++) {
        key_rows<K> own = {};
#pragma unroll
        for (int d = 0; d < K; d++) {
            load_rows_of<2>(own.k[d], keys + STEP_OF(16 * s) + d * B::NEXT);
            load_rows_of<2>(own.v[d], values + STEP_OF(16 * s) + d * B::NEXT);
            load_columns_of<2>(own.k_turned[d], keys + STEP_OF(16 * s) + d * B::NEXT);
        }
#pragma unroll
        for (int i = 0; i < TILES; i += 2) {
            if (i + 1 < s || i >= n_s) continue;
            if (i > s)
                pull_tiles<B, 4, false>(mine, own, 16 * i, dq_sum + i);
            else if (i == s)
                pull_tiles<B, 4, true>(mine, own, 16 * i, dq_sum + i);
            else
                pull_tiles<B, 2, true>(mine, own, 16 * i + 16, dq_sum + i + 1);
        }
        if (a.turns) turn_back<K>(own.dk, a.turns, 16 * s, a.t_n);
        __syncwarp(); /* nobody reads k and v of these keys any more: their gradients take the place */
        put_tile<B>(my_v, 16 * s, own.dv, 1, 1);
        put_tile<B>(my_k, 16 * s, own.dk, a.scale, a.scale);
    }
    __syncwarp(); /* nor q */
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        if (tile >= n_s) continue;
        if (a.turns) turn_back<K>(dq_sum[tile], a.turns, tile * 16, a.t_n);
        put_tile<B>(my_q, tile * 16, dq_sum[tile], a.scale, a.scale);
    }
    __syncthreads();
    put_back(dq, q, m, a.t_n);
    put_back(dk, k, m, a.t_n);
    put_back(dv, v, m, a.t_n);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

bool gpu_short_attention_takes(const small_heads &a, int64_t d_n, bool backward) {
    return a.causal && !a.window && !a.visible && a.t_n <= ROWS && (d_n == 8 || d_n == 16) && (backward || !a.turns);
}

/* Calls f with the block that fits. */
template <class F> static void with_block(int64_t d_n, int t_n, F f) {
    if (d_n == 8 && t_n <= FEW)
        f(block<8, FEW>(), std::integral_constant<int, 8>());
    else if (d_n == 8)
        f(block<8, ROWS>(), std::integral_constant<int, 8>());
    else if (t_n <= FEW)
        f(block<16, FEW>(), std::integral_constant<int, 16>());
    else
        f(block<16, ROWS>(), std::integral_constant<int, 16>());
}

void gpu_short_attention(const small_heads &a, int64_t d_n, dim3 grid, half_t *o, float *lse, cudaStream_t stream) {
    with_block(d_n, a.t_n, [&](auto shape, auto d) {
        using B = decltype(shape);
        causal_forward<B, d()><<<grid, B::FORWARD, 0, stream>>>(a, o, lse);
    });
}

void gpu_short_attention_backward(const small_heads &a, int64_t d_n, dim3 grid, const half_t *o, const half_t *g_o,
                                  const float *lse, half_t *dq, half_t *dk, half_t *dv, cudaStream_t stream) {
    with_block(d_n, a.t_n, [&](auto shape, auto d) {
        using B = decltype(shape);
        causal_backward<B, d()><<<grid, B::BACKWARD, 0, stream>>>(a, o, g_o, lse, dq, dk, dv);
    });
}
