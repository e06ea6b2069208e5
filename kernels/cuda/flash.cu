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
#include "flash_tiles.cuh"
#include "groups.cuh"
#include "shared.cuh"

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
            float shrink = power_of_two(peak[m][half] * scale - base);
            peak[m][half] = best;
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int e = half * 2; e < half * 2 + 2; e++) {
                    s[m][n][e] = power_of_two(fmaf(s[m][n][e], scale, -base));
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
template <class T> __global__ void __launch_bounds__(T::THREADS) flash_forward(flash f, bf16 *o, float *lse) {
    constexpr int D = T::D, M = T::M, N = T::N, ROWS = T::ROWS;
    extern __shared__ __align__(1024) bf16 shared[];
    bf16 *queries = shared, *keys = queries + ROWS * T::PITCH, *values = keys + N * T::PITCH;
    int h = blockIdx.x % f.heads, b = blockIdx.x / f.heads, first = (gridDim.y - 1 - blockIdx.y) * ROWS, from, to;
    int mine = first + (threadIdx.x / 32) * 16 * M, lane = threadIdx.x & 31;
    int unit = first + (mine - first) / T::UNIT * T::UNIT;
    int64_t stride = (int64_t)f.heads * D, key_stride = (int64_t)f.groups * D;
    int64_t q_at = ((int64_t)b * f.t_n * f.heads + h) * D;
    int64_t k_at = ((int64_t)b * f.s_n * f.groups + (int64_t)h * f.groups / f.heads) * D;
    float sum[M][D / 8][4] = {}, s[M][N / 8][4], peak[M][2], total[M][2] = {}, scale = f.scale * LOG2_E;
    typename T::left left;
#pragma unroll
    for (int m = 0; m < M; m++) peak[m][0] = peak[m][1] = -INFINITY;
    flash_keys(f, first, min(f.t_n, first + ROWS) - 1, &from, &to);
    T::template fetch<ROWS>(queries, f.q + q_at, stride, first, f.t_n);
    T::template fetch<N>(keys, f.k + k_at, key_stride, from, f.s_n);
    copy_close();
    for (int at = from; at < to; at += N) {
        copy_wait<0>();
        T::arrived();
        __syncthreads(); /* keys are there, and nobody reads the last values any more */
        T::template fetch<N>(values, f.v + k_at, key_stride, at, f.s_n);
        copy_close();
        bool ahead = f.causal && at > unit + T::UNIT - 1; /* nothing to see for these rows */
        if (at == from) T::keep(left, queries, mine - first);
        if (!ahead) {
            T::product(s, left, queries, mine - first, keys);
            T::finish(s);
            if (!flash_sees_all(f, mine, mine + 16 * M - 1, at, at + N - 1)) hide<M, N>(s, f, mine, at);
            soften<D, M, N>(s, sum, peak, total, scale);
        }
        copy_wait<0>();
        T::arrived();
        __syncthreads(); /* values are there, and nobody reads these keys any more */
        if (at + N < to) T::template fetch<N>(keys, f.k + k_at, key_stride, at + N, f.s_n);
        copy_close();
        if (!ahead) {
            T::accumulate(sum, s, values);
            T::finish(sum);
        }
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
template <class T> __global__ void __launch_bounds__(T::THREADS) flash_dq(flash f, flash_slopes g, bf16 *dq) {
    constexpr int D = T::D, M = T::M, N = T::N, ROWS = T::ROWS, TILE = N * T::PITCH;
    extern __shared__ __align__(1024) bf16 shared[];
    bf16 *queries = shared, *slopes = queries + ROWS * T::PITCH, *tiles = slopes + ROWS * T::PITCH; /* k, v, k, v */
    int h = blockIdx.x % f.heads, b = blockIdx.x / f.heads, first = (gridDim.y - 1 - blockIdx.y) * ROWS, from, to;
    int mine = first + (threadIdx.x / 32) * 16 * M, lane = threadIdx.x & 31;
    int unit = first + (mine - first) / T::UNIT * T::UNIT;
    int64_t stride = (int64_t)f.heads * D, key_stride = (int64_t)f.groups * D;
    int64_t q_at = ((int64_t)b * f.t_n * f.heads + h) * D;
    int64_t k_at = ((int64_t)b * f.s_n * f.groups + (int64_t)h * f.groups / f.heads) * D;
    float sum[M][D / 8][4] = {}, s[M][N / 8][4], ds[M][N / 8][4], peak[M][2], pull[M][2];
    typename T::left left, left_slopes;
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
    T::template fetch<ROWS>(queries, f.q + q_at, stride, first, f.t_n);
    T::template fetch<ROWS>(slopes, g.g_o + q_at, stride, first, f.t_n);
    T::template fetch<N>(tiles, f.k + k_at, key_stride, from, f.s_n);
    T::template fetch<N>(tiles + TILE, f.v + k_at, key_stride, from, f.s_n);
    copy_close();
    for (int at = from, turn = 0; at < to; at += N, turn ^= 1) {
        bf16 *keys = tiles + turn * 2 * TILE, *values = keys + TILE, *next = tiles + (turn ^ 1) * 2 * TILE;
        if (at + N < to) {
            T::template fetch<N>(next, f.k + k_at, key_stride, at + N, f.s_n);
            T::template fetch<N>(next + TILE, f.v + k_at, key_stride, at + N, f.s_n);
        }
        copy_close();
        copy_wait<1>();
        T::arrived();
        __syncthreads();
        if (at == from) {
            T::keep(left, queries, mine - first);
            T::keep(left_slopes, slopes, mine - first);
        }
        if (!f.causal || at <= unit + T::UNIT - 1) {
            T::product(s, left, queries, mine - first, keys);
            T::product(ds, left_slopes, slopes, mine - first, values);
            T::finish(s);
            T::finish(ds);
            bool all = flash_sees_all(f, mine, mine + 16 * M - 1, at, at + N - 1);
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int n = 0; n < N / 8; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        float p = power_of_two(fmaf(s[m][n][e], f.scale * LOG2_E, -peak[m][e / 2]));
                        bool seen = all || flash_sees(f, mine + m * 16 + e / 2 * 8 + lane / 4,
                                                      at + n * 8 + lane % 4 * 2 + e % 2);
                        ds[m][n][e] = seen ? p * (ds[m][n][e] - pull[m][e / 2]) : 0;
                    }
            T::accumulate(sum, ds, keys);
            T::finish(sum);
        }
        __syncthreads(); /* before the next turn overwrites this one's tiles */
    }
    copy_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++) peak[m][0] = peak[m][1] = f.scale;
    flash_store<D, M>(dq + q_at, stride, mine, f.t_n, sum, peak);
}

/* Tile i of those that a block of keys walks through: the query tiles of one head of its group after the other's. */
template <class T>
__device__ __forceinline__ void fetch_queries(bf16 *tile, float *rows, const flash &f, const flash_slopes &g, int b,
                                              int h, int at) {
    constexpr int N = T::N;
    int64_t stride = (int64_t)f.heads * T::D, q_at = ((int64_t)b * f.t_n * f.heads + h) * T::D;
    int64_t row_at = ((int64_t)b * f.heads + h) * f.t_n + at;
    T::template fetch<N>(tile, f.q + q_at, stride, at, f.t_n);
    T::template fetch<N>(tile + N * T::PITCH, g.g_o + q_at, stride, at, f.t_n);
    for (int i = threadIdx.x; i < 2 * N; i += T::THREADS) {
        bool there = at + i % N < f.t_n;
        copy_4(rows + i, (i < N ? g.lse : g.delta) + (there ? row_at + i % N : 0), there);
    }
}

/* Block (batch and key head, rows of keys): dv = sum over queries of p do, dk = scale sum of ds q. Scores stand
   transposed, keys by queries, so that they are left operands as they are. */
template <class T>
__global__ void __launch_bounds__(T::THREADS) flash_dkv(flash f, flash_slopes g, bf16 *dk, bf16 *dv) {
    constexpr int D = T::D, M = T::M, N = T::N, ROWS = T::ROWS, TILE = N * T::PITCH;
    extern __shared__ __align__(1024) bf16 shared[];
    bf16 *keys = shared, *values = keys + ROWS * T::PITCH, *tiles = values + ROWS * T::PITCH; /* q, do, q, do */
    float *rows = (float *)(tiles + 4 * TILE); /* lse, delta, lse, delta */
    int group = blockIdx.x % f.groups, b = blockIdx.x / f.groups, first = blockIdx.y * ROWS, from, to;
    int mine = (threadIdx.x / 32) * 16 * M, lane = threadIdx.x & 31, per_group = f.heads / f.groups;
    int unit = mine / T::UNIT * T::UNIT;
    int64_t stride = (int64_t)f.groups * D, k_at = ((int64_t)b * f.s_n * f.groups + group) * D;
    float k_sum[M][D / 8][4] = {}, v_sum[M][D / 8][4] = {}, p[M][N / 8][4], ds[M][N / 8][4], scale[M][2];
    typename T::left none; /* registers hold the sums */
    flash_queries(f, first, min(f.s_n, first + ROWS) - 1, &from, &to);
    int per_head = to > from ? (to - from + N - 1) / N : 0, n_tiles = per_head * per_group;
    T::template fetch<ROWS>(keys, f.k + k_at, stride, first, f.s_n);
    T::template fetch<ROWS>(values, f.v + k_at, stride, first, f.s_n);
    if (n_tiles) fetch_queries<T>(tiles, rows, f, g, b, group * per_group, from);
    copy_close();
    for (int i = 0; i < n_tiles; i++) {
        bf16 *queries = tiles + i % 2 * 2 * TILE, *slopes = queries + TILE;
        const float *peak = rows + i % 2 * 2 * N, *pull = peak + N;
        int at = from + i % per_head * N, next = i + 1;
        if (next < n_tiles)
            fetch_queries<T>(tiles + next % 2 * 2 * TILE, rows + next % 2 * 2 * N, f, g, b,
                             group * per_group + next / per_head, from + next % per_head * N);
        copy_close();
        copy_wait<1>();
        T::arrived();
        __syncthreads();
        if (!f.causal || at + N - 1 >= first + unit) {
            T::product(p, none, keys, mine, queries);
            T::product(ds, none, values, mine, slopes);
            T::finish(p);
            T::finish(ds);
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
                        p[m][n][e] = seen ? power_of_two(fmaf(p[m][n][e], f.scale * LOG2_E, -base)) : 0;
                        ds[m][n][e] = seen ? p[m][n][e] * (ds[m][n][e] - less) : 0;
                    }
                }
            T::accumulate(v_sum, p, slopes);
            T::accumulate(k_sum, ds, queries);
            T::finish(v_sum);
            T::finish(k_sum);
        }
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

/* A block of T for every T::ROWS of n rows, times `count`; `tiled` rows of shared memory, and extra bytes. */
template <class T, class K, class... A>
static const char *launch(const gpu_call *call, K kernel, int64_t count, int n, int tiled, int extra, A... arguments) {
    int bytes = tiled * T::PITCH * (int)sizeof(bf16) + extra;
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    dim3 grid((unsigned)count, (unsigned)((n + T::ROWS - 1) / T::ROWS));
    kernel<<<grid, T::THREADS, (size_t)bytes, call->stream>>>(arguments...);
    return gpu_launched();
}

template <class T> static const char *forward(const gpu_call *call) {
    flash f = flash_of(call);
    return launch<T>(call, flash_forward<T>, call->in[0].shape.dims[0] * f.heads, f.t_n, T::ROWS + 2 * T::N, 0, f,
                     (bf16 *)call->out[0].data, (float *)call->out[1].data);
}

/* Q for the kernel that owns queries, K for the one that owns keys. */
template <class Q, class K> static const char *backward(const gpu_call *call) {
    flash f = flash_of(call);
    flash_slopes g = {(const bf16 *)call->in[5].data, (const float *)call->in[4].data, (const float *)call->workspace};
    bf16 *dq = (bf16 *)call->out[0].data, *dk = (bf16 *)call->out[1].data, *dv = (bf16 *)call->out[2].data;
    int64_t batch = call->in[0].shape.dims[0], n = batch * f.t_n * f.heads;
    flash_delta<Q::D><<<(unsigned)((n * 8 + 255) / 256), 256, 0, call->stream>>>(
        (float *)call->workspace, (const bf16 *)call->in[3].data, g.g_o, n, f.t_n, f.heads);
    const char *why = gpu_launched();
    if (!why) why = launch<Q>(call, flash_dq<Q>, batch * f.heads, f.t_n, 2 * Q::ROWS + 4 * Q::N, 0, f, g, dq);
    if (!why)
        why = launch<K>(call, flash_dkv<K>, batch * f.groups, f.s_n, 2 * K::ROWS + 4 * K::N,
                        4 * K::N * (int)sizeof(float), f, g, dk, dv);
    return why;
}

/* How many rows a warp owns: as many as its registers hold. */
extern "C" const char *gpu_flash(const gpu_call *call) {
    int64_t d = call->in[0].shape.dims[3];
    bool groups = has_groups();
    if (d == 96) return forward<warp_tiles<96, 2, 64, 4, false>>(call);
    if (d == 64) return groups ? forward<group_tiles<64, 12>>(call) : forward<warp_tiles<64, 2, 64, 4, true>>(call);
    return groups ? forward<group_tiles<128, 12>>(call) : forward<warp_tiles<128, 2, 64, 4, false>>(call);
}

extern "C" const char *gpu_flash_backward(const gpu_call *call) {
    int64_t d = call->in[0].shape.dims[3];
    bool groups = has_groups();
    if (d == 96) return backward<warp_tiles<96, 2, 32, 4, false>, warp_tiles<96, 1, 64, 8, false>>(call);
    if (d == 64)
        return groups ? backward<group_tiles<64, 12>, group_tiles<64, 12>>(call)
                      : backward<warp_tiles<64, 2, 32, 4, true>, warp_tiles<64, 2, 32, 4, false>>(call);
    return groups ? backward<group_tiles<128, 8>, group_tiles<128, 8>>(call)
                  : backward<warp_tiles<128, 2, 32, 4, false>, warp_tiles<128, 1, 64, 8, false>>(call);
}
