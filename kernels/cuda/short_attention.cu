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
#include "copy.cuh"
#include "short_attention.h"
#include "small_attention.cuh"

#define ONES 0x3f803f80u /* two bf16 */

/* Begins the copies of `rows` rows into slabs, zeros beyond T. */
__device__ __forceinline__ void fetch_rows(half_t *slabs, const half_t *x, int64_t base, int stride, int rows,
                                           int t_n) {
    for (int i = threadIdx.x; i < rows * SEGMENTS; i += blockDim.x) {
        int row = i / SEGMENTS, segment = i % SEGMENTS;
        bool there = row < t_n;
        copy_16(slabs + segment * SLAB + row * 8, there ? x + base + (int64_t)row * stride + segment * 8 : x, there);
    }
}

/* --- forward --- */

/* What 16 queries of a head have seen so far. total: every column the same. */
template <int K> struct sums { float sum[K][4], total[4], peak[2]; };

/* N tiles of 8 more keys, from row j on; DIAGONAL: the last two are the queries' own positions. */
template <int K, int N, bool DIAGONAL>
__device__ __forceinline__ void see_keys(sums<K> &own, const uint32_t (*left)[2], const half_t *k, const half_t *v,
                                         int j, float turn) {
    int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3;
    float s[N][4];
    scores<K, N>(s, left, k, j);
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
        float shrink = power2(own.peak[r] - best);
        own.peak[r] = best;
#pragma unroll
        for (int n = 0; n < N; n++) {
            s[n][2 * r] = power2(fmaf(s[n][2 * r], turn, -best));
            s[n][2 * r + 1] = power2(fmaf(s[n][2 * r + 1], turn, -best));
        }
        own.total[2 * r] *= shrink;
#pragma unroll
        for (int d = 0; d < K; d++) own.sum[d][2 * r] *= shrink, own.sum[d][2 * r + 1] *= shrink;
    }
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        uint32_t p[4];
        pack_left(p, s[n], s[n + 1]);
        add_product<K>(own.sum, p, v, j + 8 * n);
        multiply_k16(own.total, p, ONES, ONES);
    }
}

/* Queries row.. of a head: results take their place in q, which nobody else reads. */
template <int K>
__device__ __forceinline__ void attend(half_t *q, const half_t *k, const half_t *v, float *lse, int row, int t_n,
                                       float turn) {
    sums<K> own = {};
    uint32_t left[K][2];
    own.peak[0] = own.peak[1] = -INFINITY;
    load_left<K>(left, q, row);
    for (int j = 0; j + 32 <= row; j += 32) see_keys<K, 4, false>(own, left, k, v, j, turn);
    if (row & 16)
        see_keys<K, 4, true>(own, left, k, v, row - 16, turn);
    else
        see_keys<K, 2, true>(own, left, k, v, row, turn);
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int at = row + lane / 4 + 8 * r;
        if (lane % 4 == 0 && at < t_n) lse[at] = (own.peak[r] + log2f(own.total[2 * r])) * LN2;
    }
    put_rows<K>(q, row, own.sum, 1.0f / own.total[0], 1.0f / own.total[2]);
}

template <int D> __global__ void __launch_bounds__(THREADS, 4) causal_forward(small_heads a, half_t *o, float *lse) {
    constexpr int K = small<D>::K, HEADS = small<D>::HEADS;
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB], k[SEGMENTS * SLAB], v[SEGMENTS * SLAB];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, stride = a.h_n * D, tiles = (a.t_n + 15) / 16;
    int64_t base = (int64_t)b * a.t_n * stride + h0 * D;
    fetch_rows(q, a.q, base, stride, 16 * tiles, a.t_n);
    fetch_rows(k, a.k, base, stride, 16 * tiles, a.t_n);
    fetch_rows(v, a.v, base, stride, 16 * tiles, a.t_n);
    copy_wait_all();
    __syncthreads();
    for (int unit = threadIdx.x / 32; unit < HEADS * tiles; unit += THREADS / 32) {
        int h = unit / tiles, tile = unit % tiles;
        if (h & 1) tile = tiles - 1 - tile; /* causal work evens out */
        attend<K>(q + h * K * SLAB, k + h * K * SLAB, v + h * K * SLAB, lse + ((int64_t)b * a.h_n + h0 + h) * a.t_n,
                  tile * 16, a.t_n, a.scale * LOG2E);
    }
    __syncthreads();
    store_rows(o, q, base, stride, 0, a.t_n);
}

/* --- backward -------------------------------------------------------------------------------------------------------
 */

/* do of all rows into slabs; per row minus lse (base 2) and minus delta, the sum over the head of o do. */
template <int D>
__device__ __forceinline__ void load_slopes(const small_heads &a, const half_t *o, const half_t *g_o, const float *lse,
                                            int64_t base, int stride, int rows, half_t *slope, float (*peak)[ROWS],
                                            float (*delta)[ROWS]) {
    constexpr int K = small<D>::K;
    for (int i = threadIdx.x; i < rows * SEGMENTS; i += blockDim.x) { /* all lanes or none: rows come in sixteens */
        int row = i / SEGMENTS, segment = i % SEGMENTS;
        bool there = row < a.t_n;
        uint4 x = make_uint4(0, 0, 0, 0), y = x;
        if (there) {
            x = *(const uint4 *)(g_o + base + (int64_t)row * stride + segment * 8);
            y = *(const uint4 *)(o + base + (int64_t)row * stride + segment * 8);
        }
        *(uint4 *)(slope + segment * SLAB + row * 8) = x;
        const uint32_t *u = (const uint32_t *)&x, *w = (const uint32_t *)&y;
        float dot = 0;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            dot = fmaf(__uint_as_float(u[c] << 16), __uint_as_float(w[c] << 16), dot);
            dot = fmaf(__uint_as_float(u[c] & 0xffff0000u), __uint_as_float(w[c] & 0xffff0000u), dot);
        }
#pragma unroll
        for (int step = 1; step < K; step *= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
        if (segment % K == 0) {
            delta[segment / K][row] = -dot;
            peak[segment / K][row] = there ? lse[(int64_t)(segment / K) * a.t_n + row] * -LOG2E : 0.0f;
        }
    }
}

/* What a warp knows of its head. */
struct head_rows {
    const half_t *q, *slope, *k;
    const float *peak, *delta; /* [ROWS], minus */
    float turn;
};

/* 16 keys (from s0 on) and 16 queries (from t0 on), p and ds of which stay in registers: dv += p do, dk += ds q, and,
   transposed, dq += ds' k; dk and dq without the scale. DIAGONAL: s0 is t0. */
template <int K, bool DIAGONAL>
__device__ __forceinline__ void pull_tile(const head_rows &a, const uint32_t (*keys)[2], const uint32_t (*values)[2],
                                          int s0, int t0, float (*dq)[4], float (*dk)[4], float (*dv)[4]) {
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4;
    float s[2][4], ds[2][4];
    scores<K, 2>(s, keys, a.q, t0);
#pragma unroll
    for (int n = 0; n < 2; n++) {
        float2 pull = *(const float2 *)(a.delta + t0 + n * 8 + 2 * t);
        ds[n][0] = ds[n][2] = pull.x;
        ds[n][1] = ds[n][3] = pull.y;
    }
#pragma unroll
    for (int d = 0; d < K; d++) {
        uint32_t b[2];
        load_matrices(b[0], b[1], a.slope + d * SLAB + (t0 + (lane & 15)) * 8);
        multiply_k8(ds[0], values[d][0], values[d][1], b[0]);
        multiply_k8(ds[1], values[d][0], values[d][1], b[1]);
    }
#pragma unroll
    for (int n = 0; n < 2; n++) {
        float2 top = *(const float2 *)(a.peak + t0 + n * 8 + 2 * t);
#pragma unroll
        for (int c = 0; c < 4; c++) s[n][c] = power2(fmaf(s[n][c], a.turn, c & 1 ? top.y : top.x));
    }
    if (DIAGONAL) { /* rows are keys: g of the first eight, g + 8 of the second */
        bool even = g <= 2 * t, odd = g <= 2 * t + 1;
        s[0][0] = even ? s[0][0] : 0.0f;
        s[0][1] = odd ? s[0][1] : 0.0f;
        s[0][2] = s[0][3] = 0;
        s[1][2] = even ? s[1][2] : 0.0f;
        s[1][3] = odd ? s[1][3] : 0.0f;
    }
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int c = 0; c < 4; c++) ds[n][c] *= s[n][c];
    uint32_t p[4], turned[4];
    pack_left(p, s[0], s[1]);
    add_product<K>(dv, p, a.slope, t0);
    pack_left(p, ds[0], ds[1]);
    add_product<K>(dk, p, a.q, t0);
    /* p: keys 0-7 and 8-15 of queries 0-7, then of queries 8-15; by rows of queries: */
    turned[0] = transposed(p[0]);
    turned[1] = transposed(p[2]);
    turned[2] = transposed(p[1]);
    turned[3] = transposed(p[3]);
    add_product<K>(dq, turned, a.k, s0);
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

template <int D>
__global__ void __launch_bounds__(32 * SEGMENTS * 8 / D, D == 8 ? 4 : 6)
    causal_backward(small_heads a, const half_t *o, const half_t *g_o, const float *lse, half_t *dq, half_t *dk,
                    half_t *dv) {
    constexpr int K = small<D>::K, HEADS = small<D>::HEADS, TILES = ROWS / 16;
    static_assert(K <= 2, "turn_back knows halves of one or two tiles");
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB], k[SEGMENTS * SLAB], v[SEGMENTS * SLAB], slope[SEGMENTS * SLAB];
    __shared__ __align__(16) float peak[HEADS][ROWS], delta[HEADS][ROWS];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, h = threadIdx.x / 32, stride = a.h_n * D, n_s = (a.t_n + 15) / 16;
    int64_t base = (int64_t)b * a.t_n * stride + h0 * D, stat = ((int64_t)b * a.h_n + h0) * a.t_n;
    int rows = (n_s + 1) / 2 * 32; /* tiles of queries go in pairs */
    half_t *my_q = q + h * K * SLAB, *my_k = k + h * K * SLAB, *my_v = v + h * K * SLAB;
    float dq_sum[TILES][K][4] = {};
    fetch_rows(q, a.q, base, stride, rows, a.t_n);
    fetch_rows(k, a.k, base, stride, 16 * n_s, a.t_n);
    fetch_rows(v, a.v, base, stride, 16 * n_s, a.t_n);
    load_slopes<D>(a, o, g_o, lse + stat, base, stride, rows, slope, peak, delta);
    copy_wait_all();
    __syncthreads();
    const head_rows mine = {my_q, slope + h * K * SLAB, my_k, peak[h], delta[h], a.scale * LOG2E};
    for (int s = 0; s < n_s; s++) {
        uint32_t keys[K][2], values[K][2];
        float dk_sum[K][4] = {}, dv_sum[K][4] = {};
        load_left<K>(keys, my_k, 16 * s);
        load_left<K>(values, my_v, 16 * s);
#pragma unroll
        for (int i = 0; i < TILES; i += 2) {
            if (i + 1 < s || i >= n_s) continue;
            if (i > s) {
                pull_tile<K, false>(mine, keys, values, 16 * s, 16 * i, dq_sum[i], dk_sum, dv_sum);
                pull_tile<K, false>(mine, keys, values, 16 * s, 16 * i + 16, dq_sum[i + 1], dk_sum, dv_sum);
            } else if (i == s) {
                pull_tile<K, true>(mine, keys, values, 16 * s, 16 * i, dq_sum[i], dk_sum, dv_sum);
                pull_tile<K, false>(mine, keys, values, 16 * s, 16 * i + 16, dq_sum[i + 1], dk_sum, dv_sum);
            } else {
                pull_tile<K, true>(mine, keys, values, 16 * s, 16 * i + 16, dq_sum[i + 1], dk_sum, dv_sum);
            }
        }
        if (a.turns) turn_back<K>(dk_sum, a.turns, 16 * s, a.t_n);
        __syncwarp(); /* nobody reads k and v of these keys any more: their gradients take the place */
        put_rows<K>(my_v, 16 * s, dv_sum, 1, 1);
        put_rows<K>(my_k, 16 * s, dk_sum, a.scale, a.scale);
    }
    __syncwarp(); /* nor q */
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        if (tile >= n_s) continue;
        if (a.turns) turn_back<K>(dq_sum[tile], a.turns, tile * 16, a.t_n);
        put_rows<K>(my_q, tile * 16, dq_sum[tile], a.scale, a.scale);
    }
    __syncthreads();
    store_rows(dq, q, base, stride, 0, a.t_n);
    store_rows(dk, k, base, stride, 0, a.t_n);
    store_rows(dv, v, base, stride, 0, a.t_n);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

bool gpu_short_attention_takes(const small_heads &a, int64_t d_n, bool backward) {
    return a.causal && !a.window && !a.visible && a.t_n <= ROWS && (d_n == 8 || d_n == 16) && (backward || !a.turns);
}

void gpu_short_attention(const small_heads &a, int64_t d_n, dim3 grid, half_t *o, float *lse, cudaStream_t stream) {
    if (d_n == 8)
        causal_forward<8><<<grid, THREADS, 0, stream>>>(a, o, lse);
    else
        causal_forward<16><<<grid, THREADS, 0, stream>>>(a, o, lse);
}

void gpu_short_attention_backward(const small_heads &a, int64_t d_n, dim3 grid, const half_t *o, const half_t *g_o,
                                  const float *lse, half_t *dq, half_t *dk, half_t *dv, cudaStream_t stream) {
    if (d_n == 8)
        causal_backward<8><<<grid, 128, 0, stream>>>(a, o, g_o, lse, dq, dk, dv);
    else
        causal_backward<16><<<grid, 64, 0, stream>>>(a, o, g_o, lse, dq, dk, dv);
}
