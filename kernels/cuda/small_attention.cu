/* small_attention.cu - attention and its gradient for bf16 heads of 8, 16 or 32 elements, on tensor cores.
 *
 * q, k, v, o[B,T,H,D]. A block owns ROWS positions of one sequence and as many heads as fill 64 bytes of a row (4, 2 or
 * 1), so that global memory is read in whole sectors. Causal attention of short sequences: short_attention.cu.
 *
 * Forward, a warp holds 16 queries of a head and walks over the keys, 32 at a time. Backward, where a sequence has at
 * most ROWS positions and heads are of 8 or 16 elements, a warp owns a whole head: keys outside, queries inside, dq of
 * all of them in registers, every score computed once. Elsewhere, in one launch: first the warp's 16 rows are queries
 * and walk over the keys (dq), then they are keys and walk over the queries (dk, dv). No sum leaves its warp, so
 * nothing is added in an order that timing decides.
 *
 * Merged with rotary positions (one block per sequence): rows are turned in shared memory, and turned q and k go to
 * memory for the gradient; dq and dk are turned back before they leave.
 *
 * Warps take tile w of even heads and tile 7 - w of odd ones: causal work evens out.
 */
#include "short_attention.h"
#include "small_attention.cuh"
#include "tables.h"

/* Turns the rows of all heads in place, each pair by its position's angle times sign. */
template <int D>
__device__ __forceinline__ void turn_rows(half_t *slabs, const float2 *turns, int first, int t_n, float sign) {
    constexpr int K = D / 8, HEADS = SEGMENTS / K, HALF = D / 2;
    for (int i = threadIdx.x; i < ROWS * HEADS * HALF / 2; i += blockDim.x) {
        int pair = i % (HALF / 2) * 2, row = i / (HALF / 2) % ROWS, head = i / (HALF / 2 * ROWS);
        if (first + row >= t_n) continue;
        uint32_t *low = (uint32_t *)(slabs + (head * K + pair / 8) * SLAB + row * 8 + pair % 8);
        uint32_t *high = (uint32_t *)(slabs + (head * K + (pair + HALF) / 8) * SLAB + row * 8 + (pair + HALF) % 8);
        float4 turn = *(const float4 *)(turns + (int64_t)(first + row) * HALF + pair); /* of two neighbours */
        float l0 = __uint_as_float(*low << 16), l1 = __uint_as_float(*low & 0xffff0000u);
        float h0 = __uint_as_float(*high << 16), h1 = __uint_as_float(*high & 0xffff0000u);
        float s0 = turn.y * sign, s1 = turn.w * sign;
        *low = pack2(l0 * turn.x - h0 * s0, l1 * turn.z - h1 * s1);
        *high = pack2(h0 * turn.x + l0 * s0, h1 * turn.z + l1 * s1);
    }
}

__device__ __forceinline__ bool sees(const small_heads &a, const float *visible, int t, int s) {
    bool good = s < a.t_n && t < a.t_n;
    if (a.causal)
        good = good && s <= t && (a.window == 0 || s > t - a.window);
    else
        good = good && (a.window == 0 || (t > s ? t - s : s - t) < a.window);
    return good && (!visible || visible[s % ROWS] != 0);
}

/* Where causality alone hides keys, one comparison tells: rows beyond T are not stored, keys beyond T come later. */
__device__ __forceinline__ bool is_causal_only(const small_heads &a) { return a.causal && !a.window && !a.visible; }

/* May any of these queries see any of these keys? Do all see all? */
__device__ __forceinline__ bool any_seen(const small_heads &a, int t0, int t1, int s0, int s1) {
    if (s0 >= a.t_n || t0 >= a.t_n) return false;
    if (a.causal && s0 > t1) return false;
    if (a.window && s1 <= t0 - a.window) return false;
    return a.causal || !a.window || s0 < t1 + a.window;
}
__device__ __forceinline__ bool all_seen(const small_heads &a, int t0, int t1, int s0, int s1) {
    return s1 < a.t_n && t1 < a.t_n && !a.window && !a.visible && (!a.causal || s1 <= t0);
}

__device__ __forceinline__ int tile_of(int warp, int head) { return head & 1 ? ROWS / 16 - 1 - warp : warp; }

__device__ __forceinline__ const float *load_visible(float *to, const small_heads &a, int b, int first) {
    if (!a.visible) return NULL;
    for (int i = threadIdx.x; i < ROWS; i += blockDim.x)
        to[i] = first + i < a.t_n ? a.visible[(int64_t)b * a.t_n + first + i] : 0.0f;
    return to;
}

/* --- forward --- */

/* What 16 queries of a head have seen so far. */
template <int K> struct seen {
    float sum[K][4], peak[2], total[2];
    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int k = 0; k < K; k++) sum[k][0] = sum[k][1] = sum[k][2] = sum[k][3] = 0;
        peak[0] = peak[1] = -INFINITY;
        total[0] = total[1] = 0;
    }
};

/* 32 more keys: weights, and the values that they weigh. */
template <int K>
__device__ __forceinline__ void see(seen<K> &own, float (*s)[4], const half_t *values, int j, float turn) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float best = -INFINITY;
#pragma unroll
        for (int n = 0; n < 4; n++) best = fmaxf(best, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
        best = fmaxf(own.peak[r], quad_max(best) * turn);
        float origin = best == -INFINITY ? 0.0f : best, shrink = power_of_two(own.peak[r] - origin), part = 0;
#pragma unroll
        for (int n = 0; n < 4; n++) {
            s[n][2 * r] = power_of_two(fmaf(s[n][2 * r], turn, -origin));
            s[n][2 * r + 1] = power_of_two(fmaf(s[n][2 * r + 1], turn, -origin));
            part += s[n][2 * r] + s[n][2 * r + 1];
        }
        own.peak[r] = best;
        own.total[r] = own.total[r] * shrink + part;
#pragma unroll
        for (int k = 0; k < K; k++) {
            own.sum[k][2 * r] *= shrink;
            own.sum[k][2 * r + 1] *= shrink;
        }
    }
    uint32_t p[4];
    pack_left(p, s[0], s[1]);
    add_product<K>(own.sum, p, values, j);
    pack_left(p, s[2], s[3]);
    add_product<K>(own.sum, p, values, j + 16);
}

/* Queries row.. of the block (position first + row) over a chunk of keys. */
template <int K>
__device__ __forceinline__ void walk(seen<K> &own, const small_heads &a, const half_t *q, const half_t *k,
                                     const half_t *v, const float *visible, int first, int row, int chunk) {
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, t0 = first + row;
    float turn = a.scale * LOG2E;
    uint32_t left[K][2];
    load_left<K>(left, q, row);
    for (int j = 0; j < ROWS; j += 32) {
        int s0 = chunk + j;
        if (!any_seen(a, t0, t0 + 15, s0, s0 + 31)) continue;
        float s[4][4];
        scores<K, 4>(s, left, k, j);
        if (!all_seen(a, t0, t0 + 15, s0, s0 + 31)) {
            bool simple = is_causal_only(a);
#pragma unroll
            for (int n = 0; n < 4; n++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    int query = t0 + g + (c >> 1) * 8, key = s0 + n * 8 + 2 * t + (c & 1);
                    if (simple ? key > query : !sees(a, visible, query, key)) s[n][c] = -INFINITY;
                }
        }
        see<K>(own, s, v, j, turn);
    }
}

/* Result rows into the queries' own place, which nobody else reads; lse ([T] of this head) to memory. */
template <int K>
__device__ __forceinline__ void finish(const seen<K> &own, const small_heads &a, half_t *q, float *lse, int first,
                                       int row) {
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4;
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        float whole = quad_sum(own.total[r]);
        factor[r] = whole > 0 || whole != whole ? 1.0f / whole : 0.0f;
        int at = first + row + g + 8 * r;
        if (t == 0 && at < a.t_n) lse[at] = own.peak[r] == -INFINITY ? -INFINITY : (own.peak[r] + log2f(whole)) * LN2;
    }
    put_rows<K>(q, row, own.sum, factor[0], factor[1]);
}

/* Sequences of at most ROWS positions: head by head, little in registers, many blocks at once. */
template <int D> __global__ void __launch_bounds__(THREADS, 4) short_forward(small_heads a, half_t *o, float *lse) {
    constexpr int K = small<D>::K, HEADS = small<D>::HEADS;
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB], k[SEGMENTS * SLAB], v[SEGMENTS * SLAB];
    __shared__ float visible_rows[ROWS];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, warp = threadIdx.x / 32, stride = a.h_n * D;
    int64_t base = (int64_t)b * a.t_n * stride + h0 * D;
    load_rows(q, a.q, base, stride, 0, a.t_n);
    load_rows(k, a.k, base, stride, 0, a.t_n);
    load_rows(v, a.v, base, stride, 0, a.t_n);
    const float *visible = load_visible(visible_rows, a, b, 0);
    __syncthreads();
    if (a.turns) {
        turn_rows<D>(q, a.turns, 0, a.t_n, 1);
        turn_rows<D>(k, a.turns, 0, a.t_n, 1);
        __syncthreads();
        store_rows(a.q_turned, q, base, stride, 0, a.t_n);
        store_rows(a.k_turned, k, base, stride, 0, a.t_n);
        __syncthreads(); /* results will take the place of queries */
    }
    for (int h = 0; h < HEADS; h++) {
        int row = tile_of(warp, h) * 16;
        if (row >= a.t_n) continue;
        seen<K> own;
        own.clear();
        walk<K>(own, a, q + h * K * SLAB, k + h * K * SLAB, v + h * K * SLAB, visible, 0, row, 0);
        finish<K>(own, a, q + h * K * SLAB, lse + ((int64_t)b * a.h_n + h0 + h) * a.t_n, 0, row);
    }
    __syncthreads();
    store_rows(o, q, base, stride, 0, a.t_n);
}

template <int D> __global__ void __launch_bounds__(THREADS) small_forward(small_heads a, half_t *o, float *lse) {
    constexpr int K = small<D>::K, HEADS = small<D>::HEADS;
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB], k[SEGMENTS * SLAB], v[SEGMENTS * SLAB];
    __shared__ float visible_rows[ROWS];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, first = blockIdx.x * ROWS, warp = threadIdx.x / 32, stride = a.h_n * D;
    int64_t base = (int64_t)b * a.t_n * stride + h0 * D;
    seen<K> own[HEADS];
#pragma unroll
    for (int h = 0; h < HEADS; h++) own[h].clear();
    load_rows(q, a.q, base, stride, first, a.t_n);
    for (int chunk = 0; chunk < a.t_n; chunk += ROWS) {
        if (!any_seen(a, first, min(first + ROWS, a.t_n) - 1, chunk, chunk + ROWS - 1)) continue;
        __syncthreads();
        load_rows(k, a.k, base, stride, chunk, a.t_n);
        load_rows(v, a.v, base, stride, chunk, a.t_n);
        const float *visible = load_visible(visible_rows, a, b, chunk);
        __syncthreads();
#pragma unroll
        for (int h = 0; h < HEADS; h++) {
            int row = tile_of(warp, h) * 16;
            if (first + row < a.t_n)
                walk<K>(own[h], a, q + h * K * SLAB, k + h * K * SLAB, v + h * K * SLAB, visible, first, row, chunk);
        }
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < HEADS; h++)
        finish<K>(own[h], a, q + h * K * SLAB, lse + ((int64_t)b * a.h_n + h0 + h) * a.t_n, first,
                  tile_of(warp, h) * 16);
    __syncthreads();
    store_rows(o, q, base, stride, first, a.t_n);
}

/* --- backward -------------------------------------------------------------------------------------------------------
 */

/* Queries of a chunk: q, do and per row lse (base 2) and delta = sum over the head of o do. */
template <int D>
__device__ __forceinline__ void load_queries(const small_heads &a, const half_t *o, const half_t *g_o, const float *lse,
                                             int64_t base, int stride, int64_t stat, int first, half_t *q,
                                             half_t *slope, float (*peak)[ROWS], float (*delta)[ROWS]) {
    constexpr int K = small<D>::K;
    load_rows(q, a.q, base, stride, first, a.t_n);
#pragma unroll 2
    for (int i = threadIdx.x; i < ROWS * SEGMENTS; i += blockDim.x) {
        int row = i / SEGMENTS, segment = i % SEGMENTS;
        uint4 x = make_uint4(0, 0, 0, 0), y = x;
        if (first + row < a.t_n) {
            x = *(const uint4 *)(g_o + base + (int64_t)(first + row) * stride + segment * 8);
            y = *(const uint4 *)(o + base + (int64_t)(first + row) * stride + segment * 8);
        }
        *(uint4 *)(slope + segment * SLAB + row * 8) = x;
        const half_t *u = (const half_t *)&x, *w = (const half_t *)&y;
        float dot = 0;
#pragma unroll
        for (int c = 0; c < 8; c++) dot += __bfloat162float(u[c]) * __bfloat162float(w[c]);
#pragma unroll
        for (int step = 1; step < K; step *= 2) dot += __shfl_xor_sync(0xffffffffu, dot, step);
        if (segment % K == 0) {
            delta[segment / K][row] = dot;
            peak[segment / K][row] = first + row < a.t_n
                                         ? lse[stat + (int64_t)(segment / K) * a.t_n + first + row] * LOG2E
                                         : 0.0f;
        }
    }
}

/* Sequences of at most ROWS positions, heads of 8 or 16: a warp per head. With p and ds of 16 keys x 16 queries in
   registers: dv += p do, dk += ds q, and, transposed, dq += ds' k. */
template <int D>
__global__ void __launch_bounds__(32 * SEGMENTS * 8 / D, D == 8 ? 4 : 6)
    short_backward(small_heads a, const half_t *o, const half_t *g_o, const float *lse, half_t *dq, half_t *dk,
                   half_t *dv) {
    constexpr int K = small<D>::K, HEADS = small<D>::HEADS, TILES = ROWS / 16;
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB], k[SEGMENTS * SLAB], v[SEGMENTS * SLAB], slope[SEGMENTS * SLAB];
    __shared__ __align__(16) float peak[HEADS][ROWS], delta[HEADS][ROWS], visible_rows[ROWS];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, h = threadIdx.x / 32, lane = threadIdx.x & 31, g = lane / 4,
        t = lane % 4, stride = a.h_n * D;
    int64_t base = (int64_t)b * a.t_n * stride + h0 * D, stat = ((int64_t)b * a.h_n + h0) * a.t_n;
    float turn = a.scale * LOG2E, dq_sum[TILES][K][4] = {};
    half_t *my_q = q + h * K * SLAB, *my_k = k + h * K * SLAB, *my_v = v + h * K * SLAB,
           *my_slope = slope + h * K * SLAB;
    load_queries<D>(a, o, g_o, lse, base, stride, stat, 0, q, slope, peak, delta);
    load_rows(k, a.k, base, stride, 0, a.t_n);
    load_rows(v, a.v, base, stride, 0, a.t_n);
    const float *visible = load_visible(visible_rows, a, b, 0);
    bool simple = is_causal_only(a);
    __syncthreads();
    for (int s0 = 0; s0 < a.t_n; s0 += 16) {
        uint32_t keys[K][2], values[K][2];
        float dk_sum[K][4] = {}, dv_sum[K][4] = {};
        load_left<K>(keys, my_k, s0);
        load_left<K>(values, my_v, s0);
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            int t0 = tile * 16;
            if (!any_seen(a, t0, t0 + 15, s0, s0 + 15)) continue;
            float s[2][4], ds[2][4];
            scores<K, 2>(s, keys, my_q, t0);
            scores<K, 2>(ds, values, my_slope, t0);
            bool whole = all_seen(a, t0, t0 + 15, s0, s0 + 15);
#pragma unroll
            for (int n = 0; n < 2; n++) {
                float2 top = *(const float2 *)&peak[h][t0 + n * 8 + 2 * t];
                float2 pull = *(const float2 *)&delta[h][t0 + n * 8 + 2 * t];
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    float p = power_of_two(fmaf(s[n][c], turn, -(c & 1 ? top.y : top.x)));
                    int query = t0 + n * 8 + 2 * t + (c & 1), key = s0 + g + 8 * (c >> 1);
                    if (!whole && (simple ? key > query : !sees(a, visible, query, key))) p = 0;
                    s[n][c] = p;
                    ds[n][c] = p * (ds[n][c] - (c & 1 ? pull.y : pull.x)) * a.scale;
                }
            }
            uint32_t p[4], turned[4];
            pack_left(p, s[0], s[1]);
            add_product<K>(dv_sum, p, my_slope, t0);
            pack_left(p, ds[0], ds[1]);
            add_product<K>(dk_sum, p, my_q, t0);
            /* p: keys 0-7 and 8-15 of queries 0-7, then of queries 8-15; by rows of queries: */
            turned[0] = transposed(p[0]);
            turned[1] = transposed(p[2]);
            turned[2] = transposed(p[1]);
            turned[3] = transposed(p[3]);
            add_product<K>(dq_sum[tile], turned, my_k, s0);
        }
        __syncwarp(); /* nobody reads k and v of these keys any more: their gradients take the place */
        put_rows<K>(my_v, s0, dv_sum, 1, 1);
        put_rows<K>(my_k, s0, dk_sum, 1, 1);
    }
    __syncthreads();
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) put_rows<K>(my_q, tile * 16, dq_sum[tile], 1, 1);
    __syncthreads();
    if (a.turns) {
        turn_rows<D>(q, a.turns, 0, a.t_n, -1);
        turn_rows<D>(k, a.turns, 0, a.t_n, -1);
        __syncthreads();
    }
    store_rows(dq, q, base, stride, 0, a.t_n);
    store_rows(dk, k, base, stride, 0, a.t_n);
    store_rows(dv, v, base, stride, 0, a.t_n);
}

template <int D>
__global__ void __launch_bounds__(THREADS) small_backward(small_heads a, const half_t *o, const half_t *g_o,
                                                          const float *lse, half_t *dq, half_t *dk, half_t *dv) {
    constexpr int K = small<D>::K, HEADS = small<D>::HEADS;
    __shared__ __align__(16) half_t q[SEGMENTS * SLAB], k[SEGMENTS * SLAB], v[SEGMENTS * SLAB], slope[SEGMENTS * SLAB];
    __shared__ __align__(16) float peak[HEADS][ROWS], delta[HEADS][ROWS], visible_rows[ROWS];
    int b = blockIdx.z, h0 = blockIdx.y * HEADS, first = blockIdx.x * ROWS, warp = threadIdx.x / 32;
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4, stride = a.h_n * D;
    int64_t base = (int64_t)b * a.t_n * stride + h0 * D, stat = ((int64_t)b * a.h_n + h0) * a.t_n;
    float dq_sum[HEADS][K][4] = {}, dk_sum[HEADS][K][4] = {}, dv_sum[HEADS][K][4] = {}, turn = a.scale * LOG2E;
    int last = min(first + ROWS, a.t_n) - 1;
    load_queries<D>(a, o, g_o, lse, base, stride, stat, first, q, slope, peak, delta);
    const float *visible = NULL;
    /* the block's own rows as queries; its own chunk of keys comes last and stays */
    for (int c = 1; c <= gridDim.x; c++) {
        int chunk = ((blockIdx.x + c) % gridDim.x) * ROWS;
        if (!any_seen(a, first, last, chunk, chunk + ROWS - 1) && chunk != first) continue;
        __syncthreads();
        load_rows(k, a.k, base, stride, chunk, a.t_n);
        load_rows(v, a.v, base, stride, chunk, a.t_n);
        visible = load_visible(visible_rows, a, b, chunk);
        __syncthreads();
#pragma unroll
        for (int h = 0; h < HEADS; h++) {
            int row = tile_of(warp, h) * 16, t0 = first + row;
            uint32_t left[K][2], out[K][2];
            if (t0 >= a.t_n) continue;
            load_left<K>(left, q + h * K * SLAB, row);
            load_left<K>(out, slope + h * K * SLAB, row);
            float top[2] = {peak[h][row + g], peak[h][row + g + 8]};
            float pull[2] = {delta[h][row + g], delta[h][row + g + 8]};
            for (int j = 0; j < ROWS; j += 16) {
                int s0 = chunk + j;
                if (!any_seen(a, t0, t0 + 15, s0, s0 + 15)) continue;
                float s[2][4], ds[2][4];
                scores<K, 2>(s, left, k + h * K * SLAB, j);
                scores<K, 2>(ds, out, v + h * K * SLAB, j);
                bool whole = all_seen(a, t0, t0 + 15, s0, s0 + 15);
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int c4 = 0; c4 < 4; c4++) {
                        int r = c4 >> 1;
                        float p = power_of_two(fmaf(s[n][c4], turn, -top[r])) * (ds[n][c4] - pull[r]) * a.scale;
                        if (!whole && !sees(a, visible, t0 + g + 8 * r, s0 + n * 8 + 2 * t + (c4 & 1))) p = 0;
                        ds[n][c4] = p;
                    }
                uint32_t p[4];
                pack_left(p, ds[0], ds[1]);
                add_product<K>(dq_sum[h], p, k + h * K * SLAB, j);
            }
        }
    }
    /* the block's own rows as keys: k, v of its own chunk are held */
    for (int c = 0; c < gridDim.x; c++) {
        int chunk = ((blockIdx.x + c) % gridDim.x) * ROWS;
        if (!any_seen(a, chunk, min(chunk + ROWS, a.t_n) - 1, first, last)) continue;
        if (chunk != first) {
            __syncthreads();
            load_queries<D>(a, o, g_o, lse, base, stride, stat, chunk, q, slope, peak, delta);
            __syncthreads();
        }
#pragma unroll
        for (int h = 0; h < HEADS; h++) {
            int row = tile_of(warp, h) * 16, s0 = first + row;
            uint32_t keys[K][2], values[K][2];
            if (s0 >= a.t_n) continue;
            load_left<K>(keys, k + h * K * SLAB, row);
            load_left<K>(values, v + h * K * SLAB, row);
            for (int j = 0; j < ROWS; j += 16) {
                int t0 = chunk + j;
                if (!any_seen(a, t0, t0 + 15, s0, s0 + 15)) continue;
                float s[2][4], ds[2][4];
                scores<K, 2>(s, keys, q + h * K * SLAB, j);
                scores<K, 2>(ds, values, slope + h * K * SLAB, j);
                bool whole = all_seen(a, t0, t0 + 15, s0, s0 + 15);
#pragma unroll
                for (int n = 0; n < 2; n++) {
                    float2 top = *(const float2 *)&peak[h][j + n * 8 + 2 * t];
                    float2 pull = *(const float2 *)&delta[h][j + n * 8 + 2 * t];
#pragma unroll
                    for (int c4 = 0; c4 < 4; c4++) {
                        float p = power_of_two(fmaf(s[n][c4], turn, -(c4 & 1 ? top.y : top.x)));
                        if (!whole && !sees(a, visible, t0 + n * 8 + 2 * t + (c4 & 1), s0 + g + 8 * (c4 >> 1))) p = 0;
                        s[n][c4] = p;
                        ds[n][c4] = p * (ds[n][c4] - (c4 & 1 ? pull.y : pull.x)) * a.scale;
                    }
                }
                uint32_t p[4];
                pack_left(p, s[0], s[1]);
                add_product<K>(dv_sum[h], p, slope + h * K * SLAB, j);
                pack_left(p, ds[0], ds[1]);
                add_product<K>(dk_sum[h], p, q + h * K * SLAB, j);
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
        int row = tile_of(warp, h) * 16;
        put_rows<K>(q + h * K * SLAB, row, dq_sum[h], 1, 1);
        put_rows<K>(k + h * K * SLAB, row, dk_sum[h], 1, 1);
        put_rows<K>(v + h * K * SLAB, row, dv_sum[h], 1, 1);
    }
    __syncthreads();
    store_rows(dq, q, base, stride, first, a.t_n);
    store_rows(dk, k, base, stride, first, a.t_n);
    store_rows(dv, v, base, stride, first, a.t_n);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static bool is_aligned(const gpu_view *v) { return (uintptr_t)v->data % 16 == 0; }

/* (q, k, v[, mask]) -> o, lse; (q, k, v, o, lse, do[, mask]) -> dq, dk, dv */
bool gpu_small_attention_takes(const gpu_call *call) {
    const aira_shape *q = &call->in[0].shape, *k = &call->in[1].shape, *v = &call->in[2].shape;
    bool backward = call->step->op == AIRA_OP_ATTENTION_BACKWARD;
    int64_t d_n = q->dims[3];
    uint32_t mask = backward ? 6 : 3;
    if (d_n != 8 && d_n != 16 && d_n != 32) return false;
    for (int axis = 0; axis < 4; axis++)
        if (k->dims[axis] != q->dims[axis] || v->dims[axis] != q->dims[axis]) return false;
    if (!(call->step->f[0] > 0)) return false;
    if (q->dims[2] * d_n % (SEGMENTS * 8) || q->dims[0] > 65535 || call->in[0].n == 0) return false;
    if (call->n_in > mask && call->in[mask].dtype != AIRA_F32) return false;
    for (uint32_t j = 0; j < call->n_in; j++)
        if (j != mask && j != 4 && (call->in[j].dtype != AIRA_BF16 || !is_aligned(&call->in[j]))) return false;
    if (backward && call->in[4].dtype != AIRA_F32) return false;
    if (call->merged & GPU_ROPE) {
        if (q->dims[1] > ROWS || (backward && d_n > 16)) return false;
        if (!gpu_tables_rope(call->tables, q->dims[1], d_n, call->also->f[0], 1)) return false;
    }
    for (uint32_t j = 0; j < call->n_out; j++) {
        bool stat = !backward && j == 1;
        if (call->out[j].dtype != (stat ? AIRA_F32 : AIRA_BF16) || !is_aligned(&call->out[j])) return false;
    }
    return true;
}

static small_heads heads_of(const gpu_call *call, uint32_t mask) {
    small_heads a = {};
    a.q = (const half_t *)call->in[0].data;
    a.k = (const half_t *)call->in[1].data;
    a.v = (const half_t *)call->in[2].data;
    a.visible = call->n_in > mask ? (const float *)call->in[mask].data : NULL;
    a.t_n = (int)call->in[0].shape.dims[1];
    a.h_n = (int)call->in[0].shape.dims[2];
    a.causal = call->step->i[0] != 0;
    a.window = (int)call->step->i[1];
    a.scale = (float)call->step->f[0];
    if (call->merged & GPU_ROPE) {
        const aira_shape *q = &call->in[0].shape;
        a.turns = (const float2 *)gpu_tables_rope(call->tables, q->dims[1], q->dims[3], call->also->f[0], 0);
        a.q_turned = call->n_out > 3 ? (half_t *)call->out[2].data : NULL;
        a.k_turned = call->n_out > 3 ? (half_t *)call->out[3].data : NULL;
    }
    return a;
}

static dim3 grid_of(const gpu_call *call) {
    const aira_shape *q = &call->in[0].shape;
    return dim3((unsigned)((q->dims[1] + ROWS - 1) / ROWS), (unsigned)(q->dims[2] * q->dims[3] / (SEGMENTS * 8)),
                (unsigned)q->dims[0]);
}

#define PER_SIZE(D_, launch) \
    switch (D_) {            \
    case 8:                  \
        launch(8);           \
        break;               \
    case 16:                 \
        launch(16);          \
        break;               \
    default:                 \
        launch(32);          \
        break;               \
    }

const char *gpu_small_attention(const gpu_call *call) {
    small_heads a = heads_of(call, 3);
    half_t *o = (half_t *)call->out[0].data;
    float *lse = (float *)call->out[1].data;
    dim3 grid = grid_of(call);
    int64_t d_n = call->in[0].shape.dims[3];
#define SHORT_FORWARD(D) short_forward<D><<<grid, THREADS, 0, call->stream>>>(a, o, lse)
#define FORWARD(D) small_forward<D><<<grid, THREADS, 0, call->stream>>>(a, o, lse)
    if (gpu_short_attention_takes(a, d_n, false)) {
        gpu_short_attention(a, d_n, grid, o, lse, call->stream);
    } else if (a.t_n <= ROWS) {
        PER_SIZE(d_n, SHORT_FORWARD)
    } else {
        PER_SIZE(d_n, FORWARD)
    }
    return gpu_launched();
}

const char *gpu_small_attention_backward(const gpu_call *call) {
    small_heads a = heads_of(call, 6);
    const half_t *o = (const half_t *)call->in[3].data, *g_o = (const half_t *)call->in[5].data;
    const float *lse = (const float *)call->in[4].data;
    half_t *dq = (half_t *)call->out[0].data, *dk = (half_t *)call->out[1].data, *dv = (half_t *)call->out[2].data;
    dim3 grid = grid_of(call);
    int64_t d_n = call->in[0].shape.dims[3];
#define BACKWARD(D) small_backward<D><<<grid, THREADS, 0, call->stream>>>(a, o, g_o, lse, dq, dk, dv)
    if (gpu_short_attention_takes(a, d_n, true)) {
        gpu_short_attention_backward(a, d_n, grid, o, g_o, lse, dq, dk, dv, call->stream);
    } else if (a.t_n <= ROWS && d_n == 8) {
        short_backward<8><<<grid, 128, 0, call->stream>>>(a, o, g_o, lse, dq, dk, dv);
    } else if (a.t_n <= ROWS && d_n == 16) {
        short_backward<16><<<grid, 64, 0, call->stream>>>(a, o, g_o, lse, dq, dk, dv);
    } else {
        PER_SIZE(d_n, BACKWARD)
    }
    return gpu_launched();
}
