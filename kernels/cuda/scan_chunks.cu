/* scan_chunks.cu - Mamba-1's scan in bf16 with up to four states: eight times a thread, all chunks of a tile at once.
 *
 * A chunk of eight times maps the state before it to the one after it: h' = p h + x, where p is the product of its
 * decays and x its result from zeros; backward, dh = p dh' + e. A thread has the decays of one channel's chunk in
 * registers, so that the exponentials are taken once; a warp has 32 channels of a chunk, a block up to 16 chunks (a
 * tile of 128 times), whose maps are then applied in order by a thread per channel and state. A block takes channels 32
 * by 32, the next operands on their way meanwhile. Sums over channels are products with a matrix of ones and zeros on
 * tensor cores (tf32, sums in fp32). Longer sequences: tile after tile; backward, the states before every tile first.
 *
 * Besides the scan (fuse_mamba.c): GPU_GATE, y silu(z) instead of y, and backward dz; GPU_STEPS, the gradient of what
 * softplus made delta of, 1 - exp(-delta) times as large, and its sums over sequences and times.
 */
#include "copy.cuh"
#include "element.cuh"
#include "fast.h"
#include "mma.cuh"
#include "shared.cuh"

#define TIMES 8  /* of a thread */
#define WIDTH 32 /* channels of a tile */
#define N 4      /* most states */
#define MOST_WARPS 16
#define MOST_TILES 16
#define BLOCKS 128 /* so many are wanted backward, twice as many forward, where two fit on a multiprocessor */
#define SUMS 6     /* per sequence and channel: dA[N], dD, sum of the time steps' gradients */
#define LOG2E 1.4426950408889634f

struct chunk_scan {
    int batch, t_n, c_n, n_n;
    int warps, tiles;                /* chunks of a tile of times, tiles of a sequence */
    int columns, per_group, groups;  /* tiles of channels; of a block; blocks of a sequence */
    const half16 *u, *delta, *z, *g; /* z: with GPU_GATE */
    const float *A, *D;
    elements B, C;
};

/* What the backward kernel writes. Sums over channels or sequences are partial. */
struct scan_to {
    half16 *du, *ddelta, *dz;
    bool steps;  /* GPU_STEPS */
    float *dBC;  /* [group][b][t][2N] */
    float *sums; /* [b][c][SUMS] */
};

/* Operands of a tile, and what chunks hand on. K: tensors. */
template <int K> struct scan_tiles {
    half16 x[2][K][MOST_WARPS * TIMES][WIDTH];
    float B[MOST_WARPS * TIMES][N], C[MOST_WARPS * TIMES][N];
    float p[MOST_WARPS][N][WIDTH], h[MOST_WARPS][N][WIDTH]; /* h: results from zeros, then states before the chunks */
};
template <int K> struct scan_back_tiles {
    scan_tiles<K> forward;
    float dh[MOST_WARPS][N][WIDTH], before[MOST_TILES][N][WIDTH], sums[MOST_WARPS][SUMS][WIDTH];
    float dBC[1][2 * N]; /* of all times of the sequence: as many rows as those */
};

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + power_of_two(-LOG2E * x)); }
__device__ __forceinline__ float value(const half16 &x) { return __bfloat162float(x); }

/* Sends for 32 channels of a tile of times: every thread 16 bytes of each tensor. */
template <int K>
__device__ __forceinline__ void fetch(half16 (*to)[MOST_WARPS * TIMES][WIDTH], const half16 *const *from,
                                      const chunk_scan &s, int b, int tile, int column) {
    int row = threadIdx.x / 4, piece = threadIdx.x % 4 * 8, t = tile * s.warps * TIMES + row;
    int c = column * WIDTH + piece;
    bool there = t < s.t_n && c < s.c_n;
    int64_t at = there ? ((int64_t)b * s.t_n + t) * s.c_n + c : 0;
#pragma unroll
    for (int k = 0; k < K; k++) copy_16(&to[k][row][piece], from[k] + at, there);
}

/* B and C of a tile; zeros beyond the sequence and the states. */
template <int K> __device__ __forceinline__ void fetch_states(scan_tiles<K> &m, const chunk_scan &s, int b, int tile) {
    for (int i = threadIdx.x; i < s.warps * TIMES * N; i += blockDim.x) {
        int row = i / N, n = i % N, t = tile * s.warps * TIMES + row;
        bool there = t < s.t_n && n < s.n_n;
        int64_t at = ((int64_t)b * s.t_n + t) * s.n_n + n;
        m.B[row][n] = there ? load<float>(s.B, at) : 0.0f;
        m.C[row][n] = there ? load<float>(s.C, at) : 0.0f;
    }
}

/* The channel of a lane: its decay rates in powers of two. Beyond the last one: the last, with operands 0. */
struct channel {
    float rate[N], skip;
};
__device__ __forceinline__ channel channel_of(const chunk_scan &s, int column) {
    channel v;
    int c = min(column * WIDTH + (int)(threadIdx.x & 31), s.c_n - 1);
#pragma unroll
    for (int n = 0; n < N; n++) v.rate[n] = s.A[c * s.n_n + min(n, s.n_n - 1)] * (n < s.n_n ? LOG2E : 0.0f);
    v.skip = s.D[c];
    return v;
}

/* A thread's chunk: its decays, and the state after it from zeros; puts both parts of its map into shared memory. */
template <int K>
__device__ __forceinline__ void map_chunk(scan_tiles<K> &m, float (*decay)[N], const half16 (*u)[WIDTH],
                                          const half16 (*delta)[WIDTH], const channel &v) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float h[N] = {}, all = 0;
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        int row = warp * TIMES + i;
        float d = value(delta[row][lane]), push = d * value(u[row][lane]);
        all += d;
#pragma unroll
        for (int n = 0; n < N; n++) {
            decay[i][n] = power_of_two(d * v.rate[n]);
            h[n] = decay[i][n] * h[n] + push * m.B[row][n];
        }
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        m.p[warp][n][lane] = power_of_two(all * v.rate[n]);
        m.h[warp][n][lane] = h[n];
    }
}

/* One thread per state and channel: from maps to states before every chunk; returns the state after all. FULL: all
   warps are there, and the loads come before the sums. */
template <bool FULL, int K> __device__ __forceinline__ float follow(scan_tiles<K> &m, int warps, float state) {
    int n = threadIdx.x >> 5, lane = threadIdx.x & 31;
    constexpr int COPIES = FULL ? MOST_WARPS : 1;
    if (FULL) warps = MOST_WARPS;
#pragma unroll COPIES
    for (int w = 0; w < warps; w++) {
        float p = m.p[w][n][lane], x = m.h[w][n][lane];
        m.h[w][n][lane] = state;
        state = p * state + x;
    }
    return state;
}

/* The same backward: from e to the gradient of the state after every chunk; returns that of the state before all. */
template <bool FULL>
__device__ __forceinline__ float follow_back(const float (*maps)[N][WIDTH], float (*dh)[N][WIDTH], int n, int warps,
                                             float slope) {
    int lane = threadIdx.x & 31;
    constexpr int COPIES = FULL ? MOST_WARPS : 1;
    if (FULL) warps = MOST_WARPS;
#pragma unroll COPIES
    for (int w = warps - 1; w >= 0; w--) {
        float p = maps[w][n][lane], e = dh[w][n][lane];
        dh[w][n][lane] = slope;
        slope = p * slope + e;
    }
    return slope;
}

/* A warp's eight rows of 32 channels, from shared memory to row t0 of a sequence on, 16 bytes a lane. */
__device__ __forceinline__ void put_rows(half16 *to, const half16 (*rows)[WIDTH], const chunk_scan &s, int b, int t0,
                                         int column) {
    int lane = threadIdx.x & 31, t = t0 + lane / 4, c = column * WIDTH + lane % 4 * 8;
    uint4 v = *(const uint4 *)&rows[lane / 4][lane % 4 * 8];
    if (t < s.t_n && c < s.c_n) *(uint4 *)&to[((int64_t)b * s.t_n + t) * s.c_n + c] = v;
}

/* --- forward ----------------------------------------------------------------------------------------------------- */

template <bool GATE> __global__ void __launch_bounds__(MOST_WARPS * 32) scan_chunks_kernel(chunk_scan s, half16 *y) {
    constexpr int K = GATE ? 3 : 2;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_tiles<K> &m = *(scan_tiles<K> *)memory;
    const half16 *from[3] = {s.u, s.delta, s.z};
    int b = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    int column = blockIdx.x * s.per_group, end = min(s.columns, column + s.per_group), tile = 0;
    float state = 0;
    channel v = channel_of(s, column);
    fetch<K>(m.x[0], from, s, b, tile, column);
    for (int k = 0; column < end; k++) {
        int t0 = (tile * s.warps + warp) * TIMES, next_tile = tile + 1 == s.tiles ? 0 : tile + 1;
        int next_column = column + (next_tile == 0);
        half16(*x)[MOST_WARPS * TIMES][WIDTH] = m.x[k & 1];
        float decay[TIMES][N], h[N];
        channel next = channel_of(s, next_column);
        if (s.tiles > 1) __syncthreads(); /* B and C of the tile before have been read */
        if (s.tiles > 1 || k == 0) fetch_states(m, s, b, tile);
        copy_wait_all();
        __syncthreads();
        if (next_column < end) fetch<K>(m.x[(k + 1) & 1], from, s, b, next_tile, next_column);
        map_chunk(m, decay, x[0], x[1], v);
        __syncthreads();
        if (warp < N && tile == 0) state = 0;
        if (warp < N)
            state = s.warps == MOST_WARPS ? follow<true>(m, s.warps, state) : follow<false>(m, s.warps, state);
        __syncthreads();
#pragma unroll
        for (int n = 0; n < N; n++) h[n] = m.h[warp][n][lane];
#pragma unroll
        for (int i = 0; i < TIMES; i++) {
            int row = warp * TIMES + i;
            float in = value(x[0][row][lane]), push = in * value(x[1][row][lane]), sum = v.skip * in;
#pragma unroll
            for (int n = 0; n < N; n++) {
                h[n] = decay[i][n] * h[n] + push * m.B[row][n];
                sum += m.C[row][n] * h[n];
            }
            if (GATE) {
                float z = value(x[K - 1][row][lane]);
                sum *= z * sigmoid(z);
            }
            x[0][row][lane] = __float2bfloat16_rn(sum);
        }
        __syncwarp();
        put_rows(y, x[0] + warp * TIMES, s, b, t0, column);
        v = next;
        tile = next_tile;
        column = next_column;
    }
}

/* --- backward ---------------------------------------------------------------------------------------------------- */

/* Turns g and z, where they lie, into the gradients of y and, but for the factor y, of z. */
__device__ __forceinline__ float open_gate(half16 &g, half16 &z) {
    float of = value(z), slope = value(g), open = sigmoid(of), silu = of * open;
    z = __float2bfloat16_rn(slope * (open + silu * (1.0f - open)));
    g = __float2bfloat16_rn(slope * silu);
    return value(g);
}

/* What a chunk adds to the gradient of the state before it, given none of the state after it. */
template <bool GATE, int K>
__device__ __forceinline__ void map_back(scan_back_tiles<K> &m, const float (*decay)[N],
                                         half16 (*x)[MOST_WARPS * TIMES][WIDTH]) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float e[N] = {};
#pragma unroll
    for (int i = TIMES - 1; i >= 0; i--) {
        int row = warp * TIMES + i;
        float slope = GATE ? open_gate(x[2][row][lane], x[K - 1][row][lane]) : value(x[2][row][lane]);
#pragma unroll
        for (int n = 0; n < N; n++) e[n] = decay[i][n] * (e[n] + slope * m.forward.C[row][n]);
    }
#pragma unroll
    for (int n = 0; n < N; n++) m.dh[warp][n][lane] = e[n];
}

/* The sums over lanes of 2N values of each of two times, added to rows[early, late]: four lanes by a product with ones
   in the columns of the values, those of the eight groups by exchanges. */
__device__ __forceinline__ void add_lanes(float (*rows)[2 * N], const float *early, const float *late) {
    int lane = threadIdx.x & 31, upper = lane & 16, odd = lane & 8;
    float c[4] = {};
#pragma unroll
    for (int j = 0; j < N; j++) {
        float in_even = lane >> 2 == 2 * j ? 1.0f : 0.0f, in_odd = lane >> 2 == 2 * j + 1 ? 1.0f : 0.0f;
        multiply_tf32(c, early[2 * j], late[2 * j], early[2 * j + 1], late[2 * j + 1], in_even, in_odd);
    }
    float first = (upper ? c[2] : c[0]) + __shfl_xor_sync(0xffffffffu, upper ? c[0] : c[2], 16);
    float second = (upper ? c[3] : c[1]) + __shfl_xor_sync(0xffffffffu, upper ? c[1] : c[3], 16);
    float sum = (odd ? second : first) + __shfl_xor_sync(0xffffffffu, odd ? first : second, 8);
    sum += __shfl_xor_sync(0xffffffffu, sum, 4);
    if ((lane & 4) == 0) rows[lane >> 4][lane % 4 * 2 + (odd != 0)] += sum;
}

/* A thread's own sums. */
struct scan_run {
    float dA[N], dD, steps;
};

/* The chunk's times: states forward, then gradients backward. Results take the operands' places. */
template <bool GATE, int K>
__device__ __forceinline__ void walk(scan_back_tiles<K> &m, const float (*decay)[N],
                                     half16 (*x)[MOST_WARPS * TIMES][WIDTH], const channel &v, bool steps,
                                     float (*rows)[2 * N], scan_run &run) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    float h[TIMES + 1][N], dh[N], seen[2][2 * N]; /* seen: of an even time and the one after it */
#pragma unroll
    for (int n = 0; n < N; n++) {
        h[0][n] = m.forward.h[warp][n][lane];
        dh[n] = m.dh[warp][n][lane];
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        int row = warp * TIMES + i;
        float u = value(x[0][row][lane]), push = u * value(x[1][row][lane]), y = v.skip * u;
#pragma unroll
        for (int n = 0; n < N; n++) {
            h[i + 1][n] = decay[i][n] * h[i][n] + push * m.forward.B[row][n];
            y += m.forward.C[row][n] * h[i + 1][n];
        }
        if (GATE) x[K - 1][row][lane] = __float2bfloat16_rn(y * value(x[K - 1][row][lane]));
    }
#pragma unroll
    for (int i = TIMES - 1; i >= 0; i--) {
        int row = warp * TIMES + i;
        float u = value(x[0][row][lane]), d = value(x[1][row][lane]), slope = value(x[2][row][lane]), push = u * d;
        float along_B = 0, along_h = 0;
#pragma unroll
        for (int n = 0; n < N; n++) {
            float pull = dh[n] + slope * m.forward.C[row][n];
            seen[i & 1][n] = pull * push;
            seen[i & 1][N + n] = slope * h[i + 1][n];
            dh[n] = pull * decay[i][n];
            float old = dh[n] * h[i][n];
            run.dA[n] += d * old;
            along_B += pull * m.forward.B[row][n];
            along_h += v.rate[n] * old;
        }
        if (i % 2 == 0) add_lanes(rows + i, seen[0], seen[1]);
        float step = u * along_B + along_h * (1 / LOG2E);
        if (steps) step *= 1.0f - power_of_two(-LOG2E * d);
        run.dD += slope * u;
        run.steps += step;
        x[0][row][lane] = __float2bfloat16_rn(slope * v.skip + d * along_B);
        x[1][row][lane] = __float2bfloat16_rn(step);
    }
}

/* All warps: a channel's sums over the block's chunks, to memory. */
template <int K>
__device__ __forceinline__ void put_sums(scan_back_tiles<K> &m, const chunk_scan &s, const scan_to &to,
                                         const scan_run &run, int b, int column) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
#pragma unroll
    for (int n = 0; n < N; n++) m.sums[warp][n][lane] = run.dA[n];
    m.sums[warp][N][lane] = run.dD;
    m.sums[warp][N + 1][lane] = run.steps;
    __syncthreads();
    for (int i = threadIdx.x; i < SUMS * WIDTH; i += blockDim.x) {
        int c = column * WIDTH + i % WIDTH;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < MOST_WARPS; w++) sum += m.sums[w][i / WIDTH][i % WIDTH]; /* zeros beyond the warps */
        if (c < s.c_n) to.sums[((int64_t)b * SUMS + i / WIDTH) * s.c_n + c] = sum;
    }
}

/* With many tiles of times: forward over all but the last, then backward over all; then the next 32 channels. */
struct scan_place {
    int column, tile;
    bool back;
};
__device__ __forceinline__ scan_place after(const chunk_scan &s, scan_place p) {
    if (p.back && p.tile == 0) return {p.column + 1, 0, s.tiles == 1};
    if (p.back) return {p.column, p.tile - 1, true};
    return {p.column, p.tile + 1, p.tile + 2 == s.tiles};
}

template <bool GATE>
__global__ void __launch_bounds__(MOST_WARPS * 32) scan_chunks_backward_kernel(chunk_scan s, scan_to to) {
    constexpr int K = GATE ? 4 : 3;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_back_tiles<K> &m = *(scan_back_tiles<K> *)memory;
    const half16 *from[4] = {s.u, s.delta, s.g, s.z};
    int b = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, first = blockIdx.x * s.per_group;
    int end = min(s.columns, first + s.per_group);
    float state = 0, slope = 0; /* of one thread per state and channel (lane) */
    channel v = channel_of(s, first);
    scan_run run = {};
    for (int i = threadIdx.x; i < s.tiles * s.warps * TIMES * 2 * N; i += blockDim.x) m.dBC[0][i] = 0;
    for (int i = threadIdx.x; i < MOST_WARPS * SUMS * WIDTH; i += blockDim.x) m.sums[0][0][i] = 0;
    fetch<K>(m.forward.x[0], from, s, b, 0, first);
    scan_place p = {first, 0, s.tiles == 1};
    bool full = s.warps == MOST_WARPS;
    for (int k = 0; p.column < end; k++) {
        scan_place next = after(s, p);
        half16(*x)[MOST_WARPS * TIMES][WIDTH] = m.forward.x[k & 1];
        float decay[TIMES][N];
        channel next_channel = channel_of(s, next.column);
        if (s.tiles > 1) __syncthreads(); /* B and C of the tile before have been read */
        if (s.tiles > 1 || k == 0) fetch_states(m.forward, s, b, p.tile);
        copy_wait_all();
        __syncthreads();
        if (next.column < end) fetch<K>(m.forward.x[(k + 1) & 1], from, s, b, next.tile, next.column);
        map_chunk(m.forward, decay, x[0], x[1], v);
        if (p.back) map_back<GATE, K>(m, decay, x);
        __syncthreads();
        if (warp < N && p.tile == 0) state = 0;
        if (warp < N && p.back && p.tile) state = m.before[p.tile][warp][lane];
        if (warp < N) state = full ? follow<true>(m.forward, s.warps, state) : follow<false>(m.forward, s.warps, state);
        if (warp < N && !p.back) m.before[p.tile + 1][warp][lane] = state;
        int n = warp - (s.warps - N); /* the last warps: not the first, where there are as many */
        if (p.tile == s.tiles - 1) slope = 0;
        if (p.back && n >= 0)
            slope = full ? follow_back<true>(m.forward.p, m.dh, n, s.warps, slope)
                         : follow_back<false>(m.forward.p, m.dh, n, s.warps, slope);
        __syncthreads();
        if (p.back) {
            int row = warp * TIMES, t0 = p.tile * s.warps * TIMES + row;
            walk<GATE, K>(m, decay, x, v, to.steps, m.dBC + t0, run);
            __syncwarp();
            put_rows(to.du, x[0] + row, s, b, t0, p.column);
            put_rows(to.ddelta, x[1] + row, s, b, t0, p.column);
            if (GATE) put_rows(to.dz, x[K - 1] + row, s, b, t0, p.column);
        }
        if (p.back && p.tile == 0) {
            put_sums(m, s, to, run, b, p.column);
            run = {};
        }
        v = next_channel;
        p = next;
    }
    float *at = to.dBC + ((int64_t)blockIdx.x * s.batch + b) * s.t_n * 2 * N;
    __syncthreads();
    for (int i = threadIdx.x; i < s.t_n * 2 * N; i += blockDim.x) at[i] = m.dBC[0][i];
}

/* A block per 32 columns of to.sums, added over sequences; then 1,024 gradients of B and C a block, over groups. */
struct scan_ends {
    elements dA, dB, dC, dD, steps;
};
__global__ void __launch_bounds__(1024) scan_chunks_end_kernel(chunk_scan s, scan_to to, scan_ends ends, int blocks) {
    __shared__ float part[32][33];
    int row = threadIdx.x >> 5, lane = threadIdx.x & 31, columns = SUMS * s.c_n;
    if ((int)blockIdx.x >= blocks) {
        int64_t i = (int64_t)(blockIdx.x - blocks) * 1024 + threadIdx.x, all = (int64_t)s.batch * s.t_n * 2 * N;
        int n = (int)(i % N);
        float sum = 0;
        if (i >= all || n >= s.n_n) return;
        for (int group = 0; group < s.groups; group++) sum += to.dBC[group * all + i];
        store<float>(i / N % 2 ? ends.dC : ends.dB, i / (2 * N) * s.n_n + n, sum);
        return;
    }
    int i = blockIdx.x * 32 + lane;
    float sum = 0;
    if (i < columns)
        for (int b = row; b < s.batch; b += 32) sum += to.sums[(int64_t)b * columns + i];
    part[row][lane] = sum;
    __syncthreads();
    sum = warp_sum(part[lane][row]);
    i = blockIdx.x * 32 + row;
    if (lane != 0 || i >= columns) return;
    int k = i / s.c_n, c = i % s.c_n;
    if (k < s.n_n) store<float>(ends.dA, (int64_t)c * s.n_n + k, sum);
    if (k == N) store<float>(ends.dD, c, sum);
    if (k == N + 1 && to.steps) store<float>(ends.steps, c, sum);
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static bool is_half(const gpu_view *view) { return view->dtype == AIRA_BF16 && (uintptr_t)view->data % 16 == 0; }

bool gpu_scan_chunks_takes(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    bool back = call->step->op == AIRA_OP_SELECTIVE_SCAN_BACKWARD;
    bool takes = is_half(&call->in[0]) && is_half(&call->in[1]) && is_half(&call->out[0]) && call->in[0].n > 0;
    for (uint32_t k = 6; k < call->n_in; k++) takes = takes && is_half(&call->in[k]); /* g, z */
    if (back) takes = takes && is_half(&call->out[1]);
    if (back && call->merged & GPU_GATE) takes = takes && is_half(&call->out[6]);
    takes = takes && call->in[2].dtype == AIRA_F32 && call->in[5].dtype == AIRA_F32;
    return takes && call->in[2].shape.dims[1] <= N && x->dims[0] <= 65535 && x->dims[2] % 8 == 0 &&
           x->dims[1] <= MOST_TILES * MOST_WARPS * TIMES;
}

static chunk_scan scan_of(const gpu_call *call) {
    chunk_scan s = {};
    s.batch = (int)call->in[0].shape.dims[0];
    s.t_n = (int)call->in[0].shape.dims[1];
    s.c_n = (int)call->in[0].shape.dims[2];
    s.n_n = (int)call->in[2].shape.dims[1];
    int chunks = (s.t_n + TIMES - 1) / TIMES;
    s.warps = chunks < N ? N : chunks < MOST_WARPS ? chunks : MOST_WARPS;
    s.tiles = (chunks + s.warps - 1) / s.warps;
    s.columns = (s.c_n + WIDTH - 1) / WIDTH;
    bool back = call->step->op == AIRA_OP_SELECTIVE_SCAN_BACKWARD;
    int wanted = back ? BLOCKS : 2 * BLOCKS;
    s.groups = s.batch >= wanted ? 1 : (wanted + s.batch - 1) / s.batch;
    if (s.groups > s.columns) s.groups = s.columns;
    s.per_group = (s.columns + s.groups - 1) / s.groups;
    s.groups = (s.columns + s.per_group - 1) / s.per_group;
    s.u = (const half16 *)call->in[0].data;
    s.delta = (const half16 *)call->in[1].data;
    s.A = (const float *)call->in[2].data;
    s.B = of(call->in[3]);
    s.C = of(call->in[4]);
    s.D = (const float *)call->in[5].data;
    if (back) s.g = (const half16 *)call->in[6].data;
    if (call->merged & GPU_GATE) s.z = (const half16 *)call->in[call->n_in - 1].data;
    return s;
}

template <class F, class... A>
static const char *launch(F kernel, const chunk_scan &s, int bytes, cudaStream_t stream, A... a) {
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<dim3((unsigned)s.groups, (unsigned)s.batch), s.warps * 32, bytes, stream>>>(s, a...);
    return gpu_launched();
}

const char *gpu_scan_chunks(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    half16 *y = (half16 *)call->out[0].data;
    return s.z ? launch(scan_chunks_kernel<true>, s, (int)sizeof(scan_tiles<3>), call->stream, y)
               : launch(scan_chunks_kernel<false>, s, (int)sizeof(scan_tiles<2>), call->stream, y);
}

static size_t states_of(const chunk_scan &s) { return (size_t)s.groups * s.batch * s.t_n * 2 * N; }

size_t gpu_scan_chunks_backward_workspace(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    return (states_of(s) + (size_t)s.batch * SUMS * s.c_n) * sizeof(float);
}

const char *gpu_scan_chunks_backward(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    scan_to to = {(half16 *)call->out[0].data, (half16 *)call->out[1].data, NULL};
    scan_ends ends = {of(call->out[2]), of(call->out[3]), of(call->out[4]), of(call->out[5]), {NULL, 0}};
    uint32_t next = 6;
    if (call->merged & GPU_GATE) to.dz = (half16 *)call->out[next++].data;
    to.steps = (call->merged & GPU_STEPS) != 0;
    if (to.steps) ends.steps = of(call->out[next]);
    to.dBC = (float *)call->workspace;
    to.sums = to.dBC + states_of(s);
    int rows = s.tiles * s.warps * TIMES * (int)sizeof(float[2 * N]);
    const char *why = s.z ? launch(scan_chunks_backward_kernel<true>, s, (int)sizeof(scan_back_tiles<4>) + rows,
                                   call->stream, to)
                          : launch(scan_chunks_backward_kernel<false>, s, (int)sizeof(scan_back_tiles<3>) + rows,
                                   call->stream, to);
    if (why) return why;
    int sums = (SUMS * s.c_n + 31) / 32;
    int64_t states = ((int64_t)s.batch * s.t_n * 2 * N + 1023) / 1024;
    scan_chunks_end_kernel<<<(unsigned)(sums + states), 1024, 0, call->stream>>>(s, to, ends, sums);
    return gpu_launched();
}
