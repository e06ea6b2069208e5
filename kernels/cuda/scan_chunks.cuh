/* scan_chunks.cuh - Mamba-1's scan in bf16 with up to four states, what both directions share: four times of two
 * channels a thread, all chunks of a tile at once.
 *
 * A chunk of four times maps the state before it to the one after it: h' = p h + x, where p is the product of its
 * decays and x its result from zeros; backward, dh = p dh' + e. A thread has the decays of two neighbouring channels'
 * chunk in registers, so that the exponentials are taken once; a warp has 16 channels of four chunks, four lanes eight
 * channels of one; a block has 16 channels of up to 32 chunks (a tile of 128 times), whose maps are then applied in
 * order by a thread per channel and state. A block takes channels 16 by 16, the next operands on their way meanwhile: a
 * warp's own, so that warps wait for each other twice, for the maps and for the states. Longer sequences: tile after
 * tile.
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
#define WARPS 2112                 /* so many are wanted: two blocks of eight on a multiprocessor */
#define LOG2E 1.4426950408889634f

struct chunk_scan {
    int batch, t_n, c_n, n_n;
    int spans, tiles;                /* of a tile of times; of a sequence */
    bool whole;                      /* N states, and A and D lie on 16 bytes */
    int columns, per_group, groups;  /* tiles of channels; of a block; blocks of a sequence */
    const half16 *u, *delta, *z, *g; /* z: with GPU_GATE */
    const float *A, *D;
    elements B, C;
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
    float B[SPANS * SPAN * N], C[SPANS * SPAN * N]; /* time, then state */
    scan_maps<SPANS> p, h;                          /* h: results from zeros, then states before the chunks */
};
/* Channel c of a pair. */
__device__ __forceinline__ float one_of(uint32_t pair, int c) {
    return __uint_as_float(c ? pair & 0xffff0000u : pair << 16);
}

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
    return {kept(warp * 4 + (lane >> 2 & 3)), kept((lane >> 4) * 8 + lane % 4 * 2), kept(row), kept(limit),
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
        m.B[i] = there ? load<float>(s.B, at) : 0.0f;
        m.C[i] = there ? load<float>(s.C, at) : 0.0f;
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
        m.B[i] = __bfloat162float(v[k][0]);
        m.C[i] = __bfloat162float(v[k][1]);
    }
}

/* A thread's four times of two channels. */
__device__ __forceinline__ void take(uint32_t *v, const half16 (*x)[CHUNK], const place &at) {
    load_matrices(v, &x[0][at.row]);
}
/* The other way. */
__device__ __forceinline__ void put(half16 (*x)[CHUNK], const place &at, const uint32_t *v) {
#if __CUDA_ARCH__ >= 900
    const half16 *row = &x[0][at.row];
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
                 "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3])
                 : "memory");
#else
#pragma unroll
    for (int i = 0; i < TIMES; i++) *(uint32_t *)&x[at.chunk][i * WIDTH + at.channel] = v[i];
#endif
}
__device__ __forceinline__ float4_of states_at(const float *x, const place &at, int i) {
    return load4(x + (at.chunk * TIMES + i) * N);
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

/* A thread's chunk: its decays, what B pushes into the states, and the state after it from zeros; puts both parts of
 * its map into shared memory. */
template <int K, int SPANS>
__device__ __forceinline__ void map_chunk(scan_tiles<K, SPANS> &m, const scan_operands<K, SPANS> &in,
                                          const scan_rates &rates, const place &at, float (*decay)[TIMES][N],
                                          float (*push)[TIMES]) {
    float rate[2][N], h[2][N], p[2][N]; /* p: products, the special functions' unit has enough to do */
    uint32_t u[TIMES], d[TIMES];
    take(u, in.x[0], at);
    take(d, in.x[1], at);
#pragma unroll
    for (int c = 0; c < 2; c++) {
        float4_of A = load4(rates.A[at.channel + c]);
#pragma unroll
        for (int n = 0; n < N; n++) rate[c][n] = A.v[n] * LOG2E;
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float4_of B = states_at(m.B, at, i);
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float step = one_of(d[i], c);
            push[c][i] = step * one_of(u[i], c);
#pragma unroll
            for (int n = 0; n < N; n++) {
                decay[c][i][n] = power_of_two(step * rate[c][n]);
                p[c][n] = i ? p[c][n] * decay[c][i][n] : decay[c][i][n];
                h[c][n] = i ? decay[c][i][n] * h[c][n] + push[c][i] * B.v[n] : push[c][i] * B.v[n];
            }
        }
    }
    put_states(m.p, at, p);
    put_states(m.h, at, h);
}

/* One thread per state and channel, that of row i: from maps to states before every chunk; returns the state after all.
   The next eight maps are on their way meanwhile. */
template <int SPANS>
__device__ __forceinline__ float follow(const scan_maps<SPANS> &p, scan_maps<SPANS> &h, int i, float state) {
    constexpr int CHUNKS = SPANS * 8;
    float4_of by[2][2], add[2][2];
#pragma unroll
    for (int first = -8; first < CHUNKS; first += 8) {
        int now = first / 8 & 1;
#pragma unroll
        for (int k = 0; k < 2 && first + 8 < CHUNKS; k++) {
            by[now ^ 1][k] = load4(&p.of[i][first + 8 + k * 4]);
            add[now ^ 1][k] = load4(&h.of[i][first + 8 + k * 4]);
        }
#pragma unroll
        for (int k = 0; k < 2 && first >= 0; k++) {
            float4_of before;
#pragma unroll
            for (int chunk = 0; chunk < 4; chunk++) {
                before.v[chunk] = state;
                state = by[now][k].v[chunk] * state + add[now][k].v[chunk];
            }
            store4(&h.of[i][first + k * 4], before);
        }
    }
    return state;
}

/* The same backward: from e to the gradient of the state after every chunk; returns that of the state before all. */
template <int SPANS>
__device__ __forceinline__ float follow_back(const scan_maps<SPANS> &p, scan_maps<SPANS> &dh, int i, float slope) {
    constexpr int CHUNKS = SPANS * 8;
    float4_of by[2][2], add[2][2];
#pragma unroll
    for (int first = CHUNKS; first >= 0; first -= 8) {
        int now = first / 8 & 1;
#pragma unroll
        for (int k = 1; k >= 0 && first > 0; k--) {
            by[now ^ 1][k] = load4(&p.of[i][first - 8 + k * 4]);
            add[now ^ 1][k] = load4(&dh.of[i][first - 8 + k * 4]);
        }
#pragma unroll
        for (int k = 1; k >= 0 && first < CHUNKS; k--) {
            float4_of after;
#pragma unroll
            for (int chunk = 3; chunk >= 0; chunk--) {
                after.v[chunk] = slope;
                slope = by[now][k].v[chunk] * slope + add[now][k].v[chunk];
            }
            store4(&dh.of[i][first + k * 4], after);
        }
    }
    return slope;
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
    s.spans = spans < MOST_SPANS ? spans : MOST_SPANS;
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
    if (call->merged & GPU_GATE) s.z = (const half16 *)call->in[call->n_in - 1].data;
    return s;
}

template <class F, class... A>
static const char *launch(F kernel, const chunk_scan &s, int bytes, cudaStream_t stream, A... a) {
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<dim3((unsigned)s.groups, (unsigned)s.batch), s.spans * 64, bytes, stream>>>(s, a...);
    return gpu_launched();
}

#endif
