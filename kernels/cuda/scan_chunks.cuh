/* scan_chunks.cuh - Mamba-1's scan in bf16 with up to four states, what both directions share: four times of two
 * channels a thread, all chunks of a tile at once.
 *
 * A chunk of four times maps the state before it to the one after it: h' = p h + x, where p is the product of its
 * decays and x its result from zeros; backward, dh = p dh' + x. A thread has the decays of two neighbouring channels'
 * chunk in registers, so that the exponentials are taken once; a warp has 16 channels of four chunks, four lanes eight
 * channels of one; a block has 16 channels of up to 32 chunks (a tile of 128 times), whose maps are then applied in
 * order, eight of them by a lane, per channel and state. A block takes channels 16 by 16, the next operands on their
 * way meanwhile: a warp's own, so that warps wait for each other twice, for the maps and for what follows from them.
 * Longer sequences: tile after tile.
 *
 * The gradient needs the state before every chunk: with one tile it finds them beside its own maps, with many a pass
 * before it does, the scan without results.
 *
 * Besides the scan (fuse_mamba.c): GPU_GATE, y silu(z) instead of y, and backward dz; GPU_STEPS, the gradient of what
 * softplus made delta of, 1 - exp(-delta) times as large, and its sums over sequences and times.
 */
#ifndef AIRA_GPU_SCAN_CHUNKS_CUH
#define AIRA_GPU_SCAN_CHUNKS_CUH

#include "approx.cuh"
#include "copy.cuh"
#include "element.cuh"
#include "fast.h"
#include "mma.cuh"
#include "shared.cuh"
#include "vector.cuh"

#define TIMES 4  /* of a thread */
#define SPAN 32  /* times of two warps */
#define WIDTH 16 /* channels of a tile */
#define N 4      /* most states */
#define MOST_SPANS 4
#define MOST_TILES 16
#define CHUNK (TIMES * WIDTH + 16) /* elements from a chunk to the next: four chunks' rows lie in different banks */
#define STATES (TIMES * N + 4)     /* floats from a chunk's B to the next's: so do four chunks' */
#define WARPS 2112                 /* so many are wanted: two blocks of eight on a multiprocessor */

struct chunk_scan {
    int batch, t_n, c_n, n_n;
    int spans, tiles;                /* of a tile of times: 1, 2 or 4; of a sequence */
    bool whole;                      /* N states, and A and D lie on 16 bytes */
    int columns, per_group, groups;  /* tiles of channels; of a block; blocks of a sequence */
    const half16 *u, *delta, *z, *g; /* z: with GPU_GATE */
    const float *A, *D;
    elements B, C;
    float4 *states; /* before the chunks, or NULL: [b][tile of channels][tile of times][channel of two][thread] */
};

/* A value per state and channel of every chunk: a row has its chunks side by side, so that one thread takes four at a
   time; rows follow one another in other banks. Rows: states, then even channels before odd ones (row_of). */
template <int SPANS> struct scan_maps { float of[N * WIDTH][SPANS * 8 + 4]; };
__device__ __forceinline__ constexpr int row_of(int n, int odd) { return n * WIDTH + odd * (WIDTH / 2); }

/* Operands of a tile. K: tensors; SPANS: of a tile. */
template <int K, int SPANS> struct scan_operands { half16 x[K][SPANS * 8][CHUNK]; /* chunk: time, then channel */ };
/* Of 16 channels. */
struct scan_rates {
    float A[WIDTH][N], D[WIDTH]; /* side by side (fetch_rates) */
};
/* Those at work and the next ones (rates: and those after them), and what chunks hand on. */
template <int K, int SPANS> struct scan_tiles {
    scan_operands<K, SPANS> in[2];
    scan_rates rates[3];
    float B[SPANS * 8][STATES], C[SPANS * 8][STATES]; /* chunk: time, then state */
    /* x: forward, results from zeros, then states before the chunks; backward, gradients of states after them */
    scan_maps<SPANS> p, x;
};
/* Channel c of a pair. */
__device__ __forceinline__ float one_of(uint32_t pair, int c) {
    return __uint_as_float(c ? pair & 0xffff0000u : pair << 16);
}

/* What follows from x is computed again from here on, instead of being held in registers. */
__device__ __forceinline__ void forget(uint32_t &x) { asm volatile("" : "+r"(x)); }

/* x, which the compiler cannot compute again wherever it is used. */
__device__ __forceinline__ int kept(int x) { return __shfl_sync(0xffffffffu, x, threadIdx.x & 31); }

/* Where a thread works in a tile: its chunk, and the first of its two channels. row: the eight channels of a time that
   it names when its warp loads and stores matrices, in elements of a tensor's tile; these it also brings from memory
   and puts there, where they lie from `first` on in the sequence's first tile and channels, as long as channels stay
   below `limit`. */
struct place {
    int chunk, channel, row, limit;
    uint32_t first;
};
/* The time of that row. */
__device__ __forceinline__ int time_of() {
    return (threadIdx.x >> 5) * 16 + (threadIdx.x & 3) * TIMES + (threadIdx.x >> 3 & 3);
}
template <bool MANY> __device__ __forceinline__ place place_of(const chunk_scan &s, int b) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, half = (lane >> 2 & 1) * 8;
    int row = (warp * 4 + (lane & 3)) * CHUNK + (lane >> 3) * WIDTH + half;
    int limit = MANY || time_of() < s.t_n ? s.c_n - half : 0;
    uint32_t first = ((uint32_t)b * s.t_n + time_of()) * s.c_n + half;
    return {warp * 4 + (lane >> 2 & 3), kept((lane >> 4) * 8 + lane % 4 * 2), kept(row), kept(limit),
            (uint32_t)kept((int)first)};
}

/* The 16 bytes of a tile's tensors that a thread brings. */
struct piece {
    uint32_t at; /* in the tensors */
    bool there;
};
template <bool MANY>
__device__ __forceinline__ piece piece_of(const chunk_scan &s, const place &at, int t0, int column) {
    bool there = column * WIDTH < at.limit && (!MANY || t0 + time_of() < s.t_n);
    return {at.first + (uint32_t)t0 * s.c_n + column * WIDTH, there};
}

/* Sends for 16 channels of a tile of times: what a warp sends for, only that warp takes. */
template <int K, int SPANS>
__device__ __forceinline__ void fetch(scan_operands<K, SPANS> &to, const half16 *const *from, const chunk_scan &s,
                                      const place &at, const piece &r) {
    uint32_t from_at = r.there ? r.at : 0;
#pragma unroll
    for (int k = 0; k < K; k++) copy_16(&to.x[k][0][at.row], from[k] + from_at, r.there);
}
/* Sends for the rates of 16 channels: part of a warp for all where rows of A are whole, else two warps. */
__device__ __forceinline__ void fetch_rates(scan_rates &to, const chunk_scan &s, int column) {
    if (s.whole) {
        int i = threadIdx.x, c = column * WIDTH + (i < WIDTH ? i : (i - WIDTH) * 4);
        if (i >= WIDTH + WIDTH / 4) return;
        const float *from = i < WIDTH ? s.A + c * N : s.D + c;
        copy_16(&to.A[0][0] + i * N, c < s.c_n ? from : s.A, c < s.c_n);
        return;
    }
    int n = threadIdx.x % N, channel = threadIdx.x / N, c = column * WIDTH + channel;
    if (channel >= WIDTH) return;
    bool there = c < s.c_n && n < s.n_n;
    copy_4(&to.A[channel][n], s.A + (there ? c * s.n_n + n : 0), there);
    if (n == 0) copy_4(&to.D[channel], s.D + (there ? c : 0), there);
}
template <int K, int SPANS>
__device__ __forceinline__ void put_piece(half16 *to, const scan_operands<K, SPANS> &in, int k, const place &at,
                                          const piece &r) {
    uint4 v = *(const uint4 *)&in.x[k][0][at.row];
    if (r.there) *(uint4 *)&to[r.at] = v;
}

/* B and C of a tile; zeros beyond the sequence and the states. A thread has two elements of each. */
template <int K, int SPANS>
__device__ __forceinline__ void fetch_states(scan_tiles<K, SPANS> &m, const chunk_scan &s, int b, int tile) {
#pragma unroll 1
    for (int i = threadIdx.x; i < SPANS * SPAN * N; i += SPANS * 64) {
        int n = i % N, t = tile * SPANS * SPAN + i / N;
        bool there = t < s.t_n && n < s.n_n;
        int64_t at = ((int64_t)b * s.t_n + t) * s.n_n + n;
        m.B[i / (TIMES * N)][i % (TIMES * N)] = there ? load<float>(s.B, at) : 0.0f;
        m.C[i / (TIMES * N)][i % (TIMES * N)] = there ? load<float>(s.C, at) : 0.0f;
    }
}
/* The same of bf16, all on their way at once. */
template <int K, int SPANS>
__device__ __forceinline__ void fetch_half_states(scan_tiles<K, SPANS> &m, const chunk_scan &s, int b, int tile) {
    half16 v[2][2];
#pragma unroll
    for (int k = 0; k < 2; k++) {
        int i = k * SPANS * 64 + threadIdx.x, n = i % N, t = tile * SPANS * SPAN + i / N;
        bool there = t < s.t_n && n < s.n_n;
        size_t at = ((size_t)b * s.t_n + t) * s.n_n + n;
        v[k][0] = there ? ((const half16 *)s.B.data)[at] : __float2bfloat16_rn(0.0f);
        v[k][1] = there ? ((const half16 *)s.C.data)[at] : __float2bfloat16_rn(0.0f);
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        int i = k * SPANS * 64 + threadIdx.x;
        m.B[i / (TIMES * N)][i % (TIMES * N)] = __bfloat162float(v[k][0]);
        m.C[i / (TIMES * N)][i % (TIMES * N)] = __bfloat162float(v[k][1]);
    }
}

/* A thread's four times of two channels. */
__device__ __forceinline__ void take(uint32_t *v, const half16 (*x)[CHUNK], const place &at) {
    load_matrices(v, &x[0][at.row]);
}
/* The other way. */
__device__ __forceinline__ void put(half16 (*x)[CHUNK], const place &at, const uint32_t *v) {
#if __CUDA_ARCH__ >= 900
    store_matrices(&x[0][at.row], v);
#else
#pragma unroll
    for (int i = 0; i < TIMES; i++) *(uint32_t *)&x[at.chunk][i * WIDTH + at.channel] = v[i];
#endif
}
__device__ __forceinline__ float4_of states_at(const float (*x)[STATES], const place &at, int i) {
    return load4(&x[at.chunk][i * N]);
}
template <int SPANS>
__device__ __forceinline__ void put_states(scan_maps<SPANS> &x, const place &at, const float (*v)[N]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) x.of[at.channel / 2 + row_of(n, c)][at.chunk] = v[c][n];
}
template <int SPANS>
__device__ __forceinline__ void take_states(float (*v)[N], const scan_maps<SPANS> &x, const place &at) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int c = 0; c < 2; c++) v[c][n] = x.of[at.channel / 2 + row_of(n, c)][at.chunk];
}

/* A thread's chunk: the decays of its times, and their products. d: its steps. */
template <int K, int SPANS>
__device__ __forceinline__ void take_decays(scan_tiles<K, SPANS> &m, const uint32_t *d, const scan_rates &rates,
                                            const place &at, float (*decay)[TIMES][N]) {
    float p[2][N]; /* products: the special functions' unit has enough to do */
#pragma unroll
    for (int c = 0; c < 2; c++) {
        float4_of A = load4(rates.A[at.channel + c]);
#pragma unroll
        for (int n = 0; n < N; n++) {
            float rate = A.v[n] * LOG2E;
#pragma unroll
            for (int i = 0; i < TIMES; i++) {
                decay[c][i][n] = power_of_two(one_of(d[i], c) * rate);
                p[c][n] = i ? p[c][n] * decay[c][i][n] : decay[c][i][n];
            }
        }
    }
    put_states(m.p, at, p);
}

/* All threads, SPANS side by side for a row of maps, eight chunks each: from maps to the states before the chunks, from
 * the state before the tile; returns the one after it. BACK: from what chunks add to gradients to the gradients of the
 * states after them, and the other way round. */
template <bool BACK, int SPANS>
__device__ __forceinline__ float follow(const scan_maps<SPANS> &p, scan_maps<SPANS> &x, float state) {
    const int row = threadIdx.x / SPANS, lane = threadIdx.x % SPANS, turn = BACK ? SPANS - 1 - lane : lane;
    float4_of by[2], add[2];
#pragma unroll
    for (int k = 0; k < 2; k++) {
        by[k] = load4(&p.of[row][lane * 8 + k * 4]);
        add[k] = load4(&x.of[row][lane * 8 + k * 4]);
    }
    float all = 1, sum = turn ? 0 : state; /* the map of eight chunks, and what it makes of its beginning */
#pragma unroll
    for (int k = 0; k < 8; k++) {
        int chunk = BACK ? 7 - k : k;
        sum = fmaf(by[chunk / 4].v[chunk % 4], sum, add[chunk / 4].v[chunk % 4]);
        all = k ? all * by[chunk / 4].v[chunk % 4] : by[chunk / 4].v[chunk % 4];
    }
#pragma unroll
    for (int away = 1; away < SPANS; away *= 2) {
        int from = (int)(threadIdx.x & 31) +
                   (BACK ? away : -away); /* whoever is there: it counts in the same row only */
        float before = __shfl_sync(0xffffffffu, sum, from), part = __shfl_sync(0xffffffffu, all, from);
        if (turn >= away) {
            sum = fmaf(all, before, sum);
            all *= part;
        }
    }
    float begin = SPANS > 1 ? __shfl_sync(0xffffffffu, sum, (int)(threadIdx.x & 31) + (BACK ? 1 : -1)) : state;
    begin = turn ? begin : state;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        int chunk = BACK ? 7 - k : k;
        float next = fmaf(by[chunk / 4].v[chunk % 4], begin, add[chunk / 4].v[chunk % 4]);
        add[chunk / 4].v[chunk % 4] = begin;
        begin = next;
    }
#pragma unroll
    for (int k = 0; k < 2; k++) store4(&x.of[row][lane * 8 + k * 4], add[k]);
    int last = (int)(threadIdx.x & 31) / SPANS * SPANS + (BACK ? 0 : SPANS - 1);
    return SPANS > 1 ? __shfl_sync(0xffffffffu, begin, last) : begin;
}

/* Where a thread's two channels' states before its chunk lie. */
template <int SPANS> __device__ __forceinline__ float4 *states_of(const chunk_scan &s, int b, int tile, int column) {
    return s.states + (((size_t)b * s.columns + column) * s.tiles + tile) * (SPANS * 128) + threadIdx.x;
}

/* What has been sent for is there: at first and with many tiles, B, C and rates for all; else a warp's own operands,
   and rates since the barriers that were between. */
template <bool MANY> __device__ __forceinline__ void arrive(int k) {
    if (MANY || k == 0)
        __syncthreads();
    else
        __syncwarp();
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static inline chunk_scan scan_of(const gpu_call *call) {
    chunk_scan s = {};
    s.batch = (int)call->in[0].shape.dims[0];
    s.t_n = (int)call->in[0].shape.dims[1];
    s.c_n = (int)call->in[0].shape.dims[2];
    s.n_n = (int)call->in[2].shape.dims[1];
    int spans = (s.t_n + SPAN - 1) / SPAN;
    s.spans = spans > 2 ? MOST_SPANS : spans;
    s.tiles = (spans + s.spans - 1) / s.spans;
    s.columns = (s.c_n + WIDTH - 1) / WIDTH;
    bool back = call->step->op == AIRA_OP_SELECTIVE_SCAN_BACKWARD;
    int wanted = WARPS / (2 * s.spans);
    s.groups = s.batch > wanted ? 1 : wanted / s.batch;
    if (s.groups > s.columns) s.groups = s.columns;
    s.per_group = (s.columns + s.groups - 1) / s.groups;
    s.groups = (s.columns + s.per_group - 1) / s.per_group;
    s.u = (const half16 *)call->in[0].data;
    s.delta = (const half16 *)call->in[1].data;
    s.A = (const float *)call->in[2].data;
    s.B = of(call->in[3]);
    s.C = of(call->in[4]);
    s.D = (const float *)call->in[5].data;
    s.whole = s.n_n == N && ((uintptr_t)s.A | (uintptr_t)s.D) % 16 == 0;
    if (back) s.g = (const half16 *)call->in[6].data;
    if (call->merged & GPU_GATE) s.z = (const half16 *)call->in[back ? 7 : 6].data;
    return s;
}
static inline size_t states_count(const chunk_scan &s) {
    return (size_t)s.batch * s.columns * s.tiles * s.spans * 8 * N * WIDTH;
}

/* scan_chunks.cu: writes s.states, and nothing else. */
const char *gpu_scan_chunks_before(chunk_scan s, cudaStream_t stream);

template <class F, class... A>
static const char *launch(F kernel, const chunk_scan &s, int bytes, cudaStream_t stream, A... a) {
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<dim3((unsigned)s.groups, (unsigned)s.batch), s.spans * 64, bytes, stream>>>(s, a...);
    return gpu_launched();
}

#endif
