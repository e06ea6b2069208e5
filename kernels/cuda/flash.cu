/* flash.cu - attention and its gradient on tensor cores, for heads of 64, 96 or 128 in bf16.
 *
 * Each block owns some rows (queries, or keys) and streams tiles of the other side through shared memory. Scores live
 * in registers alone: forward with a running softmax, backward computed afresh from lse. The gradient takes two kernels
 * that compute the scores twice: one owns queries and gives dq, one owns keys and gives dk and dv, summing over the
 * query heads of its group. So no sum crosses blocks, and every sum's order follows from the shape.
 *
 * Work in powers of two: p = 2^(score * scale * log2 e - peak).
 */
#include "fast.h"
#include "flash.cuh"

/* --- forward --------------------------------------------------------------------------------------------------------
 */

/* One step of the running softmax over the scores s of a tile; they become probabilities relative to the new peak.
   total stays a share of this thread; sum is rescaled. */
template <int D, int M, int N>
__device__ __forceinline__ void soften(float (*s)[N / 8][4], float (*sum)[D / 8][4], float (*peak)[2],
                                       float (*total)[2], float scale) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float best = peak[m][half], part = 0;
#pragma unroll
            for (int n = 0; n < N / 8; n++) best = fmaxf(best, fmaxf(s[m][n][half * 2], s[m][n][half * 2 + 1]));
            best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, 1));
            best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, 2));
            float base = best == -INFINITY ? 0 : best * scale; /* a row that has seen nothing yet */
            float shrink = power_of_2(peak[m][half] * scale - base);
            peak[m][half] = best;
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int e = half * 2; e < half * 2 + 2; e++) {
                    s[m][n][e] = power_of_2(fmaf(s[m][n][e], scale, -base));
                    part += s[m][n][e];
                }
            total[m][half] = total[m][half] * shrink + part;
#pragma unroll
            for (int d = 0; d < D / 8; d++) {
                sum[m][d][half * 2] *= shrink;
                sum[m][d][half * 2 + 1] *= shrink;
            }
        }
}

/* Hidden scores become -infinity. Rows are queries from t on, columns keys from s on. */
template <int M, int N> __device__ __forceinline__ void hide(float (*c)[N / 8][4], const flash &f, int t, int s) {
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (!flash_sees(f, t + m * 16 + e / 2 * 8 + lane / 4, s + n * 8 + lane % 4 * 2 + e % 2))
                    c[m][n][e] = -INFINITY;
}

/* Block (batch and head, rows of queries): the longest rows first. */
template <int D, int M, int N, int WARPS, bool KEEP>
__global__ void __launch_bounds__(WARPS * 32) flash_forward(flash f, bf16 *o, float *lse) {
    constexpr int ROWS = 16 * M * WARPS, THREADS = WARPS * 32;
    extern __shared__ __align__(16) bf16 shared[];
    bf16 *queries = shared, *keys = queries + ROWS * PITCH<D>, *values = keys + N * PITCH<D>;
    int h = blockIdx.x % f.heads, b = blockIdx.x / f.heads, first = (gridDim.y - 1 - blockIdx.y) * ROWS, from, to;
    int mine = first + (threadIdx.x / 32) * 16 * M, lane = threadIdx.x & 31;
    int64_t stride = (int64_t)f.heads * D, key_stride = (int64_t)f.groups * D;
    int64_t q_at = ((int64_t)b * f.t_n * f.heads + h) * D;
    int64_t k_at = ((int64_t)b * f.s_n * f.groups + (int64_t)h * f.groups / f.heads) * D;
    float sum[M][D / 8][4] = {}, s[M][N / 8][4], peak[M][2], total[M][2] = {}, scale = f.scale * LOG2_E;
    uint32_t left[D / 16][M][4];
#pragma unroll
    for (int m = 0; m < M; m++) peak[m][0] = peak[m][1] = -INFINITY;
    flash_keys(f, first, min(f.t_n, first + ROWS) - 1, &from, &to);
    flash_fetch<D, ROWS, THREADS>(queries, f.q + q_at, stride, first, f.t_n);
    flash_fetch<D, N, THREADS>(keys, f.k + k_at, key_stride, from, f.s_n);
    copy_close();
    for (int at = from; at < to; at += N) {
        copy_wait<0>();
        __syncthreads(); /* keys are there, and nobody reads the last values any more */
        flash_fetch<D, N, THREADS>(values, f.v + k_at, key_stride, at, f.s_n);
        copy_close();
        if (KEEP && at == from)
#pragma unroll
            for (int d = 0; d < D; d += 16) flash_left<D, M>(left[d / 16], queries + (mine - first) * PITCH<D>, d);
        flash_product<D, M, N>(s, queries + (mine - first) * PITCH<D>, KEEP ? left : NULL, keys);
        if (!flash_sees_all(f, mine, mine + 16 * M - 1, at, at + N - 1)) hide<M, N>(s, f, mine, at);
        soften<D, M, N>(s, sum, peak, total, scale);
        copy_wait<0>();
        __syncthreads(); /* values are there, and nobody reads these keys any more */
        if (at + N < to) flash_fetch<D, N, THREADS>(keys, f.k + k_at, key_stride, at + N, f.s_n);
        copy_close();
        flash_accumulate<D, M, N>(sum, s, values);
    }
    copy_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = total[m][half];
            all += __shfl_xor_sync(0xffffffffu, all, 1);
            all += __shfl_xor_sync(0xffffffffu, all, 2);
            int t = mine + m * 16 + half * 8 + lane / 4;
            if (lane % 4 == 0 && t < f.t_n)
                lse[((int64_t)b * f.heads + h) * f.t_n + t] = all == 0 ? -INFINITY
                                                                       : peak[m][half] * f.scale + logf(all);
            total[m][half] = all == 0 ? 0 : 1 / all; /* a row that sees no key gives 0 */
        }
    flash_store<D, M>(o + q_at, stride, mine, f.t_n, sum, total);
}

/* --- backward -------------------------------------------------------------------------------------------------------
 */

/* delta[b, h, t] = sum over d of o do; eight threads a row */
template <int D>
__global__ void flash_delta(float *delta, const bf16 *o, const bf16 *g_o, int64_t n, int t_n, int heads) {
    int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / 8; /* row of o: (b, t, h) */
    int part = threadIdx.x % 8;
    float sum = 0;
    if (i < n) {
#pragma unroll
        for (int d = part * 2; d < D; d += 16) {
            __nv_bfloat162 x = *(const __nv_bfloat162 *)(o + i * D + d), y = *(const __nv_bfloat162 *)(g_o + i * D + d);
            sum += __low2float(x) * __low2float(y) + __high2float(x) * __high2float(y);
        }
    }
    for (int step = 4; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (i < n && part == 0) delta[(i / heads / t_n * heads + i % heads) * t_n + i / heads % t_n] = sum;
}

struct flash_slopes {
    const bf16 *g_o;
    const float *lse, *delta; /* [B,H,T] */
};

/* Block (batch and head, rows of queries): dq = scale sum over keys of ds k. */
template <int D, int M, int N, int WARPS, bool KEEP>
__global__ void __launch_bounds__(WARPS * 32) flash_dq(flash f, flash_slopes g, bf16 *dq) {
    constexpr int ROWS = 16 * M * WARPS, THREADS = WARPS * 32, TILE = N * PITCH<D>;
    extern __shared__ __align__(16) bf16 shared[];
    bf16 *queries = shared, *slopes = queries + ROWS * PITCH<D>, *tiles = slopes + ROWS * PITCH<D>; /* k, v, k, v */
    int h = blockIdx.x % f.heads, b = blockIdx.x / f.heads, first = (gridDim.y - 1 - blockIdx.y) * ROWS, from, to;
    int mine = first + (threadIdx.x / 32) * 16 * M, lane = threadIdx.x & 31;
    int64_t stride = (int64_t)f.heads * D, key_stride = (int64_t)f.groups * D;
    int64_t q_at = ((int64_t)b * f.t_n * f.heads + h) * D;
    int64_t k_at = ((int64_t)b * f.s_n * f.groups + (int64_t)h * f.groups / f.heads) * D;
    float sum[M][D / 8][4] = {}, s[M][N / 8][4], ds[M][N / 8][4], peak[M][2], pull[M][2];
    uint32_t left[D / 16][M][4], left_slopes[D / 16][M][4];
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int t = mine + m * 16 + half * 8 + lane / 4;
            int64_t at = ((int64_t)b * f.heads + h) * f.t_n + t;
            peak[m][half] = t < f.t_n ? g.lse[at] * LOG2_E : 0;
            pull[m][half] = t < f.t_n ? g.delta[at] : 0;
        }
    flash_keys(f, first, min(f.t_n, first + ROWS) - 1, &from, &to);
    flash_fetch<D, ROWS, THREADS>(queries, f.q + q_at, stride, first, f.t_n);
    flash_fetch<D, ROWS, THREADS>(slopes, g.g_o + q_at, stride, first, f.t_n);
    flash_fetch<D, N, THREADS>(tiles, f.k + k_at, key_stride, from, f.s_n);
    flash_fetch<D, N, THREADS>(tiles + TILE, f.v + k_at, key_stride, from, f.s_n);
    copy_close();
    for (int at = from, turn = 0; at < to; at += N, turn ^= 1) {
        bf16 *keys = tiles + turn * 2 * TILE, *values = keys + TILE, *next = tiles + (turn ^ 1) * 2 * TILE;
        if (at + N < to) {
            flash_fetch<D, N, THREADS>(next, f.k + k_at, key_stride, at + N, f.s_n);
            flash_fetch<D, N, THREADS>(next + TILE, f.v + k_at, key_stride, at + N, f.s_n);
        }
        copy_close();
        copy_wait<1>();
        __syncthreads();
        if (KEEP && at == from)
#pragma unroll
            for (int d = 0; d < D; d += 16) {
                flash_left<D, M>(left[d / 16], queries + (mine - first) * PITCH<D>, d);
                flash_left<D, M>(left_slopes[d / 16], slopes + (mine - first) * PITCH<D>, d);
            }
        flash_product<D, M, N>(s, queries + (mine - first) * PITCH<D>, KEEP ? left : NULL, keys);
        flash_product<D, M, N>(ds, slopes + (mine - first) * PITCH<D>, KEEP ? left_slopes : NULL, values);
        bool all = flash_sees_all(f, mine, mine + 16 * M - 1, at, at + N - 1);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float p = power_of_2(fmaf(s[m][n][e], f.scale * LOG2_E, -peak[m][e / 2]));
                    bool seen = all ||
                                flash_sees(f, mine + m * 16 + e / 2 * 8 + lane / 4, at + n * 8 + lane % 4 * 2 + e % 2);
                    ds[m][n][e] = seen ? p * (ds[m][n][e] - pull[m][e / 2]) : 0;
                }
        flash_accumulate<D, M, N>(sum, ds, keys);
        __syncthreads(); /* before the next turn overwrites this one's tiles */
    }
    copy_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++) peak[m][0] = peak[m][1] = f.scale;
    flash_store<D, M>(dq + q_at, stride, mine, f.t_n, sum, peak);
}

/* Tile i of those that a block of keys walks through: the query tiles of one head of its group after the other's. */
template <int D, int N, int THREADS>
__device__ __forceinline__ void fetch_queries(bf16 *tile, float *rows, const flash &f, const flash_slopes &g, int b,
                                              int h, int at) {
    int64_t stride = (int64_t)f.heads * D, q_at = ((int64_t)b * f.t_n * f.heads + h) * D;
    int64_t row_at = ((int64_t)b * f.heads + h) * f.t_n + at;
    flash_fetch<D, N, THREADS>(tile, f.q + q_at, stride, at, f.t_n);
    flash_fetch<D, N, THREADS>(tile + N * PITCH<D>, g.g_o + q_at, stride, at, f.t_n);
    for (int i = threadIdx.x; i < 2 * N; i += THREADS) {
        bool there = at + i % N < f.t_n;
        copy_4(rows + i, (i < N ? g.lse : g.delta) + (there ? row_at + i % N : 0), there);
    }
}

/* Block (batch and key head, rows of keys): dv = sum over queries of p do, dk = scale sum of ds q. Scores stand
   transposed, keys by queries, so that they are left operands as they are. */
template <int D, int M, int N, int WARPS>
__global__ void __launch_bounds__(WARPS * 32) flash_dkv(flash f, flash_slopes g, bf16 *dk, bf16 *dv) {
    constexpr int ROWS = 16 * M * WARPS, THREADS = WARPS * 32, TILE = N * PITCH<D>;
    extern __shared__ __align__(16) bf16 shared[];
    bf16 *keys = shared, *values = keys + ROWS * PITCH<D>, *tiles = values + ROWS * PITCH<D>; /* q, do, q, do */
    float *rows = (float *)(tiles + 4 * TILE); /* lse, delta, lse, delta */
    int group = blockIdx.x % f.groups, b = blockIdx.x / f.groups, first = blockIdx.y * ROWS, from, to;
    int mine = (threadIdx.x / 32) * 16 * M, lane = threadIdx.x & 31, per_group = f.heads / f.groups;
    int64_t stride = (int64_t)f.groups * D, k_at = ((int64_t)b * f.s_n * f.groups + group) * D;
    float k_sum[M][D / 8][4] = {}, v_sum[M][D / 8][4] = {}, p[M][N / 8][4], ds[M][N / 8][4], scale[M][2];
    flash_queries(f, first, min(f.s_n, first + ROWS) - 1, &from, &to);
    int per_head = to > from ? (to - from + N - 1) / N : 0, n_tiles = per_head * per_group;
    flash_fetch<D, ROWS, THREADS>(keys, f.k + k_at, stride, first, f.s_n);
    flash_fetch<D, ROWS, THREADS>(values, f.v + k_at, stride, first, f.s_n);
    if (n_tiles) fetch_queries<D, N, THREADS>(tiles, rows, f, g, b, group * per_group, from);
    copy_close();
    for (int i = 0; i < n_tiles; i++) {
        bf16 *queries = tiles + i % 2 * 2 * TILE, *slopes = queries + TILE;
        const float *peak = rows + i % 2 * 2 * N, *pull = peak + N;
        int at = from + i % per_head * N, next = i + 1;
        if (next < n_tiles)
            fetch_queries<D, N, THREADS>(tiles + next % 2 * 2 * TILE, rows + next % 2 * 2 * N, f, g, b,
                                         group * per_group + next / per_head, from + next % per_head * N);
        copy_close();
        copy_wait<1>();
        __syncthreads();
        flash_product<D, M, N>(p, keys + mine * PITCH<D>, NULL, queries);
        flash_product<D, M, N>(ds, values + mine * PITCH<D>, NULL, slopes);
        bool all = flash_sees_all(f, at, at + N - 1, first + mine, first + mine + 16 * M - 1);
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int column = n * 8 + lane % 4 * 2 + e % 2;
                float base = peak[column] * LOG2_E, less = pull[column];
#pragma unroll
                for (int m = 0; m < M; m++) {
                    bool seen = all || flash_sees(f, at + column, first + mine + m * 16 + e / 2 * 8 + lane / 4);
                    p[m][n][e] = seen ? power_of_2(fmaf(p[m][n][e], f.scale * LOG2_E, -base)) : 0;
                    ds[m][n][e] = seen ? p[m][n][e] * (ds[m][n][e] - less) : 0;
                }
            }
        flash_accumulate<D, M, N>(v_sum, p, slopes);
        flash_accumulate<D, M, N>(k_sum, ds, queries);
        __syncthreads(); /* before the next turn overwrites this one's tiles */
    }
    copy_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++) scale[m][0] = scale[m][1] = 1;
    flash_store<D, M>(dv + k_at, stride, first + mine, f.s_n, v_sum, scale);
#pragma unroll
    for (int m = 0; m < M; m++) scale[m][0] = scale[m][1] = f.scale;
    flash_store<D, M>(dk + k_at, stride, first + mine, f.s_n, k_sum, scale);
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static flash flash_of(const gpu_call *call) {
    const aira_shape *q = &call->in[0].shape, *k = &call->in[1].shape;
    flash f = {};
    f.q = (const bf16 *)call->in[0].data;
    f.k = (const bf16 *)call->in[1].data;
    f.v = (const bf16 *)call->in[2].data;
    f.t_n = (int)q->dims[1];
    f.s_n = (int)k->dims[1];
    f.heads = (int)q->dims[2];
    f.groups = (int)k->dims[2];
    f.causal = call->step->i[0] != 0;
    f.window = (int)call->step->i[1];
    f.scale = (float)call->step->f[0];
    return f;
}

/* Bytes of shared memory that a block needs with heads of d, in the largest of the kernels. */
static int most_shared(int64_t d) { return d == 64 ? 512 * 72 * 2 : 512 * ((int)d + 8) * 2 + 1024; }

extern "C" bool gpu_flash_takes(const gpu_call *call) {
    const aira_shape *q = &call->in[0].shape, *v = &call->in[2].shape;
    bool backward = call->step->op == AIRA_OP_ATTENTION_BACKWARD;
    int64_t d = q->dims[3];
    if (call->n_in != (backward ? 6u : 3u) || d != v->dims[3] || (d != 64 && d != 96 && d != 128)) return false;
    for (uint32_t n = 0; n < call->n_in + call->n_out; n++) {
        const gpu_view *view = n < call->n_in ? &call->in[n] : &call->out[n - call->n_in];
        if (view->n == 0 || (uintptr_t)view->data % 16) return false;
        if (view->dtype != (n == 4 /* lse, both ways */ ? AIRA_F32 : AIRA_BF16)) return false;
    }
    int gpu = 0, shared_bytes = 0;
    if (cudaGetDevice(&gpu) != cudaSuccess) return false;
    if (cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu) != cudaSuccess)
        return false;
    /* peaks are sought before scaling; a grid has at most 65,535 blocks along y */
    return shared_bytes >= most_shared(d) && call->step->f[0] > 0 && q->dims[1] < 4000000 &&
           call->in[1].shape.dims[1] < 4000000;
}

/* A block for every `rows` of n, times `count`; `tiled` rows of D in shared memory, and extra bytes. */
template <class K, class... A>
static const char *launch(const gpu_call *call, K kernel, int64_t count, int n, int rows, int warps, int tiled, int d,
                          int extra, A... arguments) {
    int bytes = tiled * (d + 8) * (int)sizeof(bf16) + extra;
    cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    dim3 grid((unsigned)count, (unsigned)((n + rows - 1) / rows));
    kernel<<<grid, warps * 32, (size_t)bytes, call->stream>>>(arguments...);
    return gpu_launched();
}

template <int D, int M, int N, bool KEEP> static const char *forward(const gpu_call *call, const flash &f) {
    constexpr int WARPS = 4, ROWS = 16 * M * WARPS;
    return launch(call, flash_forward<D, M, N, WARPS, KEEP>, call->in[0].shape.dims[0] * f.heads, f.t_n, ROWS, WARPS,
                  ROWS + 2 * N, D, 0, f, (bf16 *)call->out[0].data, (float *)call->out[1].data);
}

extern "C" const char *gpu_flash(const gpu_call *call) {
    flash f = flash_of(call);
    switch (call->in[0].shape.dims[3]) {
    case 64:
        return forward<64, 2, 64, true>(call, f);
    case 96:
        return forward<96, 2, 64, false>(call, f);
    default:
        return forward<128, 2, 64, false>(call, f);
    }
}

template <int D, int M, int N, bool KEEP>
static const char *queries_backward(const gpu_call *call, const flash &f, const flash_slopes &g) {
    constexpr int WARPS = 4, ROWS = 16 * M * WARPS;
    return launch(call, flash_dq<D, M, N, WARPS, KEEP>, call->in[0].shape.dims[0] * f.heads, f.t_n, ROWS, WARPS,
                  2 * ROWS + 4 * N, D, 0, f, g, (bf16 *)call->out[0].data);
}

template <int D, int M, int N, int WARPS>
static const char *keys_backward(const gpu_call *call, const flash &f, const flash_slopes &g) {
    constexpr int ROWS = 16 * M * WARPS;
    return launch(call, flash_dkv<D, M, N, WARPS>, call->in[0].shape.dims[0] * f.groups, f.s_n, ROWS, WARPS,
                  2 * ROWS + 4 * N, D, 4 * N * (int)sizeof(float), f, g, (bf16 *)call->out[1].data,
                  (bf16 *)call->out[2].data);
}

template <int D> static const char *deltas(const gpu_call *call, const flash &f, const flash_slopes &g) {
    int64_t n = call->in[0].shape.dims[0] * f.t_n * f.heads;
    flash_delta<D><<<(unsigned)((n * 8 + 255) / 256), 256, 0, call->stream>>>(
        (float *)call->workspace, (const bf16 *)call->in[3].data, g.g_o, n, f.t_n, f.heads);
    return gpu_launched();
}

extern "C" const char *gpu_flash_backward(const gpu_call *call) {
    flash f = flash_of(call);
    flash_slopes g = {(const bf16 *)call->in[5].data, (const float *)call->in[4].data, (const float *)call->workspace};
    int64_t d = call->in[0].shape.dims[3];
    const char *why = d == 64 ? deltas<64>(call, f, g) : d == 96 ? deltas<96>(call, f, g) : deltas<128>(call, f, g);
    /* as many rows of a warp as registers hold */
    if (!why)
        why = d == 64   ? queries_backward<64, 2, 32, true>(call, f, g)
              : d == 96 ? queries_backward<96, 2, 32, false>(call, f, g)
                        : queries_backward<128, 2, 32, false>(call, f, g);
    if (!why)
        why = d == 64   ? keys_backward<64, 2, 32, 4>(call, f, g)
              : d == 96 ? keys_backward<96, 1, 64, 8>(call, f, g)
                        : keys_backward<128, 1, 64, 8>(call, f, g);
    return why;
}
