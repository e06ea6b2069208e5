/* scan_chunks.cu - Mamba-1's scan in bf16 with up to four states: four times of two channels a thread, all chunks of a
 * tile at once.
 *
 * A chunk of four times maps the state before it to the one after it: h' = p h + x, where p is the product of its
 * decays and x its result from zeros; backward, dh = p dh' + e. A thread has the decays of two neighbouring channels'
 * chunk in registers, so that the exponentials are taken once; a warp has 16 channels of four chunks, four lanes eight
 * channels of one; a block has 16 channels of up to 32 chunks (a tile of 128 times), whose maps are then applied in
 * order by a thread per channel and state. A block takes channels 16 by 16, the next operands on their way meanwhile:
 * a warp's own, so that warps wait for each other twice, for the maps and for the states.
 * Sums over channels are products with a matrix of ones and zeros on tensor cores (tf32, sums in fp32), which stay in
 * registers from channels to channels. Longer sequences: tile after tile; backward, the states before every tile first.
 *
 * Besides the scan (fuse_mamba.c): GPU_GATE, y silu(z) instead of y, and backward dz; GPU_STEPS, the gradient of what
 * softplus made delta of, 1 - exp(-delta) times as large, and its sums over sequences and times.
 */
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
#define STATES (N * WIDTH + 8)     /* the same of states */
#define WARPS 2112                 /* so many are wanted backward: two blocks of eight on a multiprocessor */
#define WARPS_FORWARD 3168         /* three */
#define SUMS 6                     /* per sequence and channel: dA[N], dD, sum of the time steps' gradients */
#define LOG2E 1.4426950408889634f

struct chunk_scan {
    int batch, t_n, c_n, n_n;
    int spans, tiles;                /* of a tile of times; of a sequence */
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

/* Operands of a tile. K: tensors; SPANS: of a tile. */
template <int K, int SPANS> struct scan_operands { half16 x[K][SPANS * 8][CHUNK]; /* chunk: time, then channel */ };
/* Of 16 channels. */
struct scan_rates {
    float A[WIDTH][N], D[WIDTH];
};
/* Those at work and the next ones (rates: and those after them), and what chunks hand on. */
template <int K, int SPANS> struct scan_tiles {
    scan_operands<K, SPANS> in[2];
    scan_rates rates[3];
    float B[SPANS * SPAN * N], C[SPANS * SPAN * N];   /* time, then state */
    float p[SPANS * 8][STATES], h[SPANS * 8][STATES]; /* h: results from zeros, then states before the chunks */
};
template <int K, int SPANS> struct scan_back_tiles {
    scan_tiles<K, SPANS> forward;
    float dh[SPANS * 8][STATES], before[SPANS < MOST_SPANS ? 1 : MOST_TILES][N * WIDTH];
    float sums[SPANS * 8][SUMS * WIDTH + 8]; /* of a thread, its even channel's before its odd one's: (sum, channel) */
    /* here: dBC[][2N] of all times of the sequence */
};

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* 0 and 1 far out. */
__device__ __forceinline__ float sigmoid(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + power_of_two(-LOG2E * x)));
    return y;
}
/* Channel c of a pair. */
__device__ __forceinline__ float one_of(uint32_t pair, int c) {
    return __uint_as_float(c ? pair & 0xffff0000u : pair << 16);
}

/* Where a thread works in a tile: its chunk, and the first of its two channels. */
struct place {
    int chunk, channel;
};
__device__ __forceinline__ place place_of() {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    return {warp * 4 + (lane >> 2 & 3), (lane >> 4) * 8 + lane % 4 * 2};
}

/* The 16 bytes of a tile's tensors that a thread brings from memory and puts there: its warp's rows. */
struct piece {
    uint32_t at; /* in the tensors */
    int row, half;
    bool there;
};
/* first: that of the sequence's first tile and channels, as of first_of. */
__device__ __forceinline__ uint32_t first_of(const chunk_scan &s, int b) {
    return ((uint32_t)b * s.t_n + threadIdx.x / 2) * s.c_n + threadIdx.x % 2 * 8;
}
__device__ __forceinline__ piece piece_of(const chunk_scan &s, uint32_t first, int t0, int column) {
    int row = threadIdx.x / 2, half = threadIdx.x % 2 * 8;
    bool there = t0 + row < s.t_n && column * WIDTH + half < s.c_n;
    return {first + (uint32_t)t0 * s.c_n + column * WIDTH, row, half, there};
}
__device__ __forceinline__ int place_in(const piece &r) { return r.row % TIMES * WIDTH + r.half; }

/* Sends for 16 channels of a tile of times: what a warp sends for, only that warp takes. */
template <int K, int SPANS>
__device__ __forceinline__ void fetch(scan_operands<K, SPANS> &to, const half16 *const *from, const chunk_scan &s,
                                      const piece &r) {
    uint32_t at = r.there ? r.at : 0;
#pragma unroll
    for (int k = 0; k < K; k++) copy_16(&to.x[k][r.row / TIMES][place_in(r)], from[k] + at, r.there);
}
/* Sends for the rates of 16 channels: two warps for all. */
__device__ __forceinline__ void fetch_rates(scan_rates &to, const chunk_scan &s, int column) {
    int n = threadIdx.x % N, channel = threadIdx.x / N, c = column * WIDTH + channel;
    if (channel >= WIDTH) return;
    bool there = c < s.c_n && n < s.n_n;
    copy_4(&to.A[channel][n], s.A + (there ? c * s.n_n + n : 0), there);
    if (n == 0) copy_4(&to.D[channel], s.D + (there ? c : 0), there);
}
template <int K, int SPANS>
__device__ __forceinline__ void put_piece(half16 *to, const scan_operands<K, SPANS> &in, int k, const piece &r) {
    uint4 v = *(const uint4 *)&in.x[k][r.row / TIMES][place_in(r)];
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
__device__ __forceinline__ void take(uint32_t *v, const half16 (*x)[CHUNK]) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    load_matrices(v, &x[warp * 4 + (lane & 3)][(lane >> 3) * WIDTH + (lane >> 2 & 1) * 8]);
}
__device__ __forceinline__ void put(half16 (*x)[CHUNK], const place &at, int i, float first, float second) {
    *(uint32_t *)&x[at.chunk][i * WIDTH + at.channel] = pack2(first, second);
}
__device__ __forceinline__ float4_of states_at(const float *x, const place &at, int i) {
    return load4(x + (at.chunk * TIMES + i) * N);
}
__device__ __forceinline__ void put_states(float (*x)[STATES], const place &at, const float (*v)[N]) {
#pragma unroll
    for (int n = 0; n < N; n++) *(float2 *)&x[at.chunk][n * WIDTH + at.channel] = make_float2(v[0][n], v[1][n]);
}

/* A thread's chunk: its decays, and the state after it from zeros; puts both parts of its map into shared memory. */
template <int K, int SPANS>
__device__ __forceinline__ void map_chunk(scan_tiles<K, SPANS> &m, const scan_operands<K, SPANS> &in,
                                          const scan_rates &rates, const place &at, float (*decay)[TIMES][N]) {
    float rate[2][N], h[2][N], p[2][N], all[2];
    uint32_t u[TIMES], d[TIMES];
    take(u, in.x[0]);
    take(d, in.x[1]);
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
            float step = one_of(d[i], c), push = step * one_of(u[i], c);
            all[c] = i ? all[c] + step : step;
#pragma unroll
            for (int n = 0; n < N; n++) {
                decay[c][i][n] = power_of_two(step * rate[c][n]);
                h[c][n] = i ? decay[c][i][n] * h[c][n] + push * B.v[n] : push * B.v[n];
            }
        }
    }
#pragma unroll
    for (int c = 0; c < 2; c++)
#pragma unroll
        for (int n = 0; n < N; n++) p[c][n] = power_of_two(all[c] * rate[c][n]);
    put_states(m.p, at, p);
    put_states(m.h, at, h);
}

/* One thread per state and channel, number i: from maps to states before every chunk; returns the state after all. The
   next eight maps are on their way meanwhile. */
template <int CHUNKS>
__device__ __forceinline__ float follow(const float (*p)[STATES], float (*h)[STATES], int i, float state) {
    float by[2][8], add[2][8];
#pragma unroll
    for (int first = -8; first < CHUNKS; first += 8) {
        int now = first / 8 & 1;
#pragma unroll
        for (int k = 0; k < 8 && first + 8 < CHUNKS; k++) {
            by[now ^ 1][k] = p[first + 8 + k][i];
            add[now ^ 1][k] = h[first + 8 + k][i];
        }
#pragma unroll
        for (int k = 0; k < 8 && first >= 0; k++) {
            h[first + k][i] = state;
            state = by[now][k] * state + add[now][k];
        }
    }
    return state;
}

/* The same backward: from e to the gradient of the state after every chunk; returns that of the state before all. */
template <int CHUNKS>
__device__ __forceinline__ float follow_back(const float (*p)[STATES], float (*dh)[STATES], int i, float slope) {
    float by[2][8], add[2][8];
#pragma unroll
    for (int first = CHUNKS; first >= 0; first -= 8) {
        int now = first / 8 & 1;
#pragma unroll
        for (int k = 7; k >= 0 && first > 0; k--) {
            by[now ^ 1][k] = p[first - 8 + k][i];
            add[now ^ 1][k] = dh[first - 8 + k][i];
        }
#pragma unroll
        for (int k = 7; k >= 0 && first < CHUNKS; k--) {
            dh[first + k][i] = slope;
            slope = by[now][k] * slope + add[now][k];
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

/* --- forward ----------------------------------------------------------------------------------------------------- */

/* The chunk's times from the state before it; y takes u's place. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void walk_forward(const scan_tiles<K, SPANS> &m, scan_operands<K, SPANS> &in,
                                             const scan_rates &rates, const place &at, const float (*decay)[TIMES][N]) {
    float h[2][N];
    float2 skip = *(const float2 *)&rates.D[at.channel];
    uint32_t u[TIMES], d[TIMES], z[TIMES] = {};
    take(u, in.x[0]);
    take(d, in.x[1]);
    if (GATE) take(z, in.x[K - 1]);
    __syncwarp(); /* all lanes have taken u before results take its place */
#pragma unroll
    for (int n = 0; n < N; n++) {
        float2 v = *(const float2 *)&m.h[at.chunk][n * WIDTH + at.channel];
        h[0][n] = v.x;
        h[1][n] = v.y;
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float4_of B = states_at(m.B, at, i), C = states_at(m.C, at, i);
        float y[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float from = one_of(u[i], c), push = from * one_of(d[i], c), gate = one_of(z[i], c);
            y[c] = from * (c ? skip.y : skip.x);
#pragma unroll
            for (int n = 0; n < N; n++) {
                h[c][n] = decay[c][i][n] * h[c][n] + push * B.v[n];
                y[c] += C.v[n] * h[c][n];
            }
            if (GATE) y[c] *= gate * sigmoid(gate);
        }
        put(in.x[0], at, i, y[0], y[1]);
    }
}

template <bool GATE, bool MANY, int SPANS>
__global__ void __launch_bounds__(SPANS * 64, 12 / SPANS) scan_chunks_kernel(chunk_scan s, half16 *y) {
    constexpr int K = GATE ? 3 : 2;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_tiles<K, SPANS> &m = *(scan_tiles<K, SPANS> *)memory;
    const bool half = s.B.dtype == AIRA_BF16 && s.C.dtype == AIRA_BF16;
    const half16 *from[3] = {s.u, s.delta, s.z};
    int b = blockIdx.y, column = blockIdx.x * s.per_group, end = min(s.columns, column + s.per_group), tile = 0;
    const place at = place_of();
    const uint32_t own = first_of(s, b);
    float state = 0; /* of one thread per state and channel */
    int slot = 0;    /* of rates */
    fetch(m.in[0], from, s, piece_of(s, own, 0, column));
    fetch_rates(m.rates[0], s, column);
    fetch_rates(m.rates[1], s, column + (s.tiles == 1));
    if (!MANY) half ? fetch_half_states(m, s, b, 0) : fetch_states(m, s, b, 0);
    for (int k = 0; column < end; k++) {
        int next_tile = !MANY || tile + 1 == s.tiles ? 0 : tile + 1, next_column = column + (next_tile == 0);
        scan_operands<K, SPANS> &in = m.in[k & 1];
        float decay[2][TIMES][N];
        if (MANY) __syncthreads(); /* B and C of the tile before have been read */
        if (MANY) fetch_states(m, s, b, tile);
        copy_wait_all();
        arrive<MANY>(k);
        if (next_column < end) fetch(m.in[~k & 1], from, s, piece_of(s, own, next_tile * SPANS * SPAN, next_column));
        map_chunk(m, in, m.rates[slot], at, decay);
        __syncthreads();
        int later = next_column + (!MANY || next_tile + 1 == s.tiles);
        if (later < end) fetch_rates(m.rates[slot ? slot - 1 : 2], s, later);
        if (tile == 0) state = 0;
        if (threadIdx.x < N * WIDTH) state = follow<SPANS * 8>(m.p, m.h, threadIdx.x, state);
        __syncthreads();
        walk_forward<GATE>(m, in, m.rates[slot], at, decay);
        __syncwarp();
        put_piece(y, in, 0, piece_of(s, own, tile * SPANS * SPAN, column));
        tile = next_tile;
        column = next_column;
        slot = slot == 2 ? 0 : slot + 1;
    }
}

/* --- backward ---------------------------------------------------------------------------------------------------- */

/* What a chunk adds to the gradient of the state before it, given none of the state after it. With GATE, g becomes the
   gradient of y, and dz that of z, but for the factor y. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void map_back(scan_back_tiles<K, SPANS> &m, const scan_operands<K, SPANS> &in,
                                         const place &at, const float (*decay)[TIMES][N], uint32_t *g, uint32_t *dz) {
    float e[2][N];
    take(g, in.x[2]);
    if (GATE) take(dz, in.x[K - 1]);
#pragma unroll
    for (int i = TIMES - 1; i >= 0; i--) {
        float4_of C = states_at(m.forward.C, at, i);
        float slope[2], by[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            slope[c] = one_of(g[i], c);
            if (GATE) {
                float gate = one_of(dz[i], c), open = sigmoid(gate), silu = gate * open;
                by[c] = slope[c] * (open + silu - silu * open);
                slope[c] *= silu;
            }
#pragma unroll
            for (int n = 0; n < N; n++)
                e[c][n] = decay[c][i][n] * (i < TIMES - 1 ? e[c][n] + slope[c] * C.v[n] : slope[c] * C.v[n]);
        }
        if (GATE) {
            g[i] = pack2(slope[0], slope[1]);
            dz[i] = pack2(by[0], by[1]);
        }
    }
    put_states(m.dh, at, e);
}

/* A thread's part of its chunk's gradients of B and C over channels: values 2 (lane % 4), and the next, of an even time
   and the one after it. */
struct state_sums {
    float of[TIMES / 2][4];
};

/* Adds N values of each of two times, over a chunk's four lanes: values become columns, the first one column `to`. */
__device__ __forceinline__ void add_lanes(float *sums, const float *early, const float *late, int to) {
    int row = ((threadIdx.x & 31) >> 2) - to;
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        float even = row == n ? 1.0f : 0.0f, odd = row == n + 1 ? 1.0f : 0.0f;
        multiply_tf32(sums, early[n], late[n], early[n + 1], late[n + 1], even, odd);
    }
}

/* Both channels of the chunk, states forward: what is left of the state before every time, y's part of dz, and C's
   gradient. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void walk_states(const scan_tiles<K, SPANS> &m, scan_operands<K, SPANS> &in,
                                            const scan_rates &rates, const place &at, const float (*decay)[TIMES][N],
                                            const uint32_t *u, const uint32_t *d, const uint32_t *g, const uint32_t *dz,
                                            float (*left)[TIMES][N], state_sums &dBC) {
    float h[2][N], seen[2][N]; /* seen: of an even time and the one after it */
    float2 skip = *(const float2 *)&rates.D[at.channel];
#pragma unroll
    for (int n = 0; n < N; n++) {
        float2 v = *(const float2 *)&m.h[at.chunk][n * WIDTH + at.channel];
        h[0][n] = v.x;
        h[1][n] = v.y;
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float4_of B = states_at(m.B, at, i), C = states_at(m.C, at, i);
        float y[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float from = one_of(u[i], c), push = from * one_of(d[i], c), slope = one_of(g[i], c);
            y[c] = from * (c ? skip.y : skip.x);
#pragma unroll
            for (int n = 0; n < N; n++) {
                left[c][i][n] = decay[c][i][n] * h[c][n];
                h[c][n] = push * B.v[n] + left[c][i][n];
                y[c] += C.v[n] * h[c][n];
                seen[i & 1][n] = c ? seen[i & 1][n] + slope * h[c][n] : slope * h[c][n];
            }
        }
        if (i & 1) add_lanes(dBC.of[i / 2], seen[0], seen[1], N);
        if (GATE) put(in.x[K - 1], at, i, y[0] * one_of(dz[i], 0), y[1] * one_of(dz[i], 1));
    }
}

/* The same, gradients backward. fresh: sums over times begin here. Results take the operands' places. */
template <int K, int SPANS>
__device__ __forceinline__ void walk_slopes(scan_back_tiles<K, SPANS> &m, scan_operands<K, SPANS> &in,
                                            const scan_rates &rates, const place &at, const float (*decay)[TIMES][N],
                                            const uint32_t *u, const uint32_t *d, const uint32_t *g,
                                            const float (*left)[TIMES][N], bool steps, bool fresh, state_sums &dBC) {
    float dh[2][N], A[2][N], seen[2][N], run[2][SUMS];
    float2 skip = *(const float2 *)&rates.D[at.channel];
#pragma unroll
    for (int n = 0; n < N; n++) {
        float2 v = *(const float2 *)&m.dh[at.chunk][n * WIDTH + at.channel];
        dh[0][n] = v.x;
        dh[1][n] = v.y;
        A[0][n] = rates.A[at.channel][n];
        A[1][n] = rates.A[at.channel + 1][n];
    }
#pragma unroll
    for (int i = TIMES - 1; i >= 0; i--) {
        float4_of B = states_at(m.forward.B, at, i), C = states_at(m.forward.C, at, i);
        bool more = i < TIMES - 1;
        float du[2], dstep[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float from = one_of(u[i], c), step = one_of(d[i], c), slope = one_of(g[i], c), push = from * step;
            float along_B, along_h;
#pragma unroll
            for (int n = 0; n < N; n++) {
                float pull = dh[c][n] + slope * C.v[n], old = pull * left[c][i][n];
                seen[i & 1][n] = c ? seen[i & 1][n] + pull * push : pull * push;
                dh[c][n] = pull * decay[c][i][n];
                run[c][n] = more ? run[c][n] + step * old : step * old;
                along_B = n ? along_B + pull * B.v[n] : pull * B.v[n];
                along_h = n ? along_h + A[c][n] * old : A[c][n] * old;
            }
            du[c] = slope * (c ? skip.y : skip.x) + step * along_B;
            dstep[c] = from * along_B + along_h;
            if (steps) dstep[c] -= dstep[c] * power_of_two(-LOG2E * step);
            run[c][N] = more ? run[c][N] + slope * from : slope * from;
            run[c][N + 1] = more ? run[c][N + 1] + dstep[c] : dstep[c];
        }
        if (i % 2 == 0) add_lanes(dBC.of[i / 2], seen[0], seen[1], 0);
        put(in.x[0], at, i, du[0], du[1]);
        put(in.x[1], at, i, dstep[0], dstep[1]);
    }
#pragma unroll
    for (int k = 0; k < SUMS; k++)
#pragma unroll
        for (int c = 0; c < 2; c++) { /* lanes side by side */
            float *sum = &m.sums[at.chunk][k * WIDTH + at.channel / 2 + c * (WIDTH / 2)];
            *sum = fresh ? run[c][k] : *sum + run[c][k];
        }
}

/* A thread per sum and channel, from the third warp on, which has no states to follow: over the block's chunks, to
   memory. */
template <int K, int SPANS>
__device__ __forceinline__ void put_sums(const scan_back_tiles<K, SPANS> &m, const chunk_scan &s, const scan_to &to,
                                         int b, int column) {
    constexpr int CHUNKS = SPANS * 8, THREADS = SPANS * 64;
    int i = (int)threadIdx.x - N * WIDTH;
#pragma unroll
    for (i += i < 0 ? THREADS : 0; i < SUMS * WIDTH; i += THREADS) {
        int c = column * WIDTH + i % (WIDTH / 2) * 2 + i % WIDTH / (WIDTH / 2);
        float sum[4];
#pragma unroll
        for (int n = 0; n < CHUNKS; n++) sum[n % 4] = n < 4 ? m.sums[n][i] : sum[n % 4] + m.sums[n][i];
        if (c < s.c_n) to.sums[((size_t)b * SUMS + i / WIDTH) * s.c_n + c] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

/* Adds the tile's gradients of B and C to their rows: of eight channels here, of the other eight 16 lanes away. */
__device__ __forceinline__ void add_states(float *rows, const place &at, state_sums &dBC) {
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float *to = &rows[(at.chunk * TIMES + i) * 2 * N + (threadIdx.x & 3) * 2];
        float first = dBC.of[i / 2][i % 2 * 2], second = dBC.of[i / 2][i % 2 * 2 + 1];
        first += __shfl_xor_sync(0xffffffffu, first, 16);
        second += __shfl_xor_sync(0xffffffffu, second, 16);
        if (at.channel >= 8) continue;
        to[0] += first;
        to[1] += second;
    }
    dBC = {};
}

/* With many tiles of times: forward over all but the last, then backward over all; then the next 16 channels. */
struct scan_place {
    int column, tile;
    bool back;
};
template <bool MANY> __device__ __forceinline__ scan_place after(const chunk_scan &s, scan_place p) {
    if (!MANY) return {p.column + 1, 0, true};
    if (p.back && p.tile == 0) return {p.column + 1, 0, false};
    if (p.back) return {p.column, p.tile - 1, true};
    return {p.column, p.tile + 1, p.tile + 2 == s.tiles};
}

template <bool GATE, bool MANY, int SPANS>
__global__ void __launch_bounds__(SPANS * 64, 8 / SPANS) scan_chunks_backward_kernel(chunk_scan s, scan_to to) {
    constexpr int K = GATE ? 4 : 3;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_back_tiles<K, SPANS> &m = *(scan_back_tiles<K, SPANS> *)memory;
    const bool half = s.B.dtype == AIRA_BF16 && s.C.dtype == AIRA_BF16;
    const half16 *from[4] = {s.u, s.delta, s.g, s.z};
    float *dBC = (float *)(memory + sizeof m);
    int b = blockIdx.y, first = blockIdx.x * s.per_group, end = min(s.columns, first + s.per_group);
    int last = (int)threadIdx.x - (SPANS * 64 - N * WIDTH);
    int slot = 0;    /* of rates */
    int summed = -1; /* the column whose sums lie in shared memory */
    const place at = place_of();
    const uint32_t own = first_of(s, b);
    float state = 0, slope = 0; /* of one thread per state and channel: the first ones, the last ones */
    state_sums sums = {};
    for (int i = threadIdx.x; i < s.tiles * SPANS * SPAN * 2 * N; i += SPANS * 64) dBC[i] = 0;
    scan_place p = {first, 0, !MANY};
    fetch(m.forward.in[0], from, s, piece_of(s, own, 0, first));
    fetch_rates(m.forward.rates[0], s, first);
    fetch_rates(m.forward.rates[1], s, first + !MANY);
    if (!MANY) half ? fetch_half_states(m.forward, s, b, 0) : fetch_states(m.forward, s, b, 0);
    for (int k = 0; p.column < end; k++) {
        scan_place next = after<MANY>(s, p);
        scan_operands<K, SPANS> &in = m.forward.in[k & 1];
        const scan_rates &rates = m.forward.rates[slot];
        float decay[2][TIMES][N];
        uint32_t g[TIMES], dz[TIMES];
        if (MANY) __syncthreads(); /* B and C of the tile before have been read */
        if (MANY) fetch_states(m.forward, s, b, p.tile);
        copy_wait_all();
        arrive<MANY>(k);
        if (next.column < end)
            fetch(m.forward.in[~k & 1], from, s, piece_of(s, own, next.tile * SPANS * SPAN, next.column));
        map_chunk(m.forward, in, rates, at, decay);
        if (p.back) map_back<GATE>(m, in, at, decay, g, dz);
        __syncthreads();
        int later = after<MANY>(s, next).column;
        if (later < end) fetch_rates(m.forward.rates[slot ? slot - 1 : 2], s, later);
        if (threadIdx.x < N * WIDTH) {
            if (p.tile == 0) state = 0;
            if (p.back && p.tile) state = m.before[p.tile][threadIdx.x];
            state = follow<SPANS * 8>(m.forward.p, m.forward.h, threadIdx.x, state);
            if (!p.back) m.before[p.tile + 1][threadIdx.x] = state;
        }
        if (!MANY || p.tile == s.tiles - 1) slope = 0;
        if (p.back && last >= 0) slope = follow_back<SPANS * 8>(m.forward.p, m.dh, last, slope);
        if (summed >= 0) put_sums(m, s, to, b, summed);
        summed = -1;
        __syncthreads();
        if (p.back) {
            float left[2][TIMES][N];
            uint32_t u[TIMES], d[TIMES];
            take(u, in.x[0]);
            take(d, in.x[1]);
            __syncwarp(); /* all lanes have taken them before results take their places */
            walk_states<GATE>(m.forward, in, rates, at, decay, u, d, g, dz, left, sums);
            walk_slopes(m, in, rates, at, decay, u, d, g, left, to.steps, !MANY || p.tile == s.tiles - 1, sums);
            __syncwarp();
            const piece here = piece_of(s, own, p.tile * SPANS * SPAN, p.column);
            put_piece(to.du, in, 0, here);
            put_piece(to.ddelta, in, 1, here);
            if (GATE) put_piece(to.dz, in, K - 1, here);
            if (MANY) add_states(dBC + p.tile * SPANS * SPAN * 2 * N, at, sums);
            if (p.tile == 0) summed = p.column;
        }
        p = next;
        slot = slot == 2 ? 0 : slot + 1;
    }
    float *out = to.dBC + ((int64_t)blockIdx.x * s.batch + b) * s.t_n * 2 * N;
    if (!MANY) add_states(dBC, at, sums);
    __syncthreads();
    put_sums(m, s, to, b, summed);
    for (int i = threadIdx.x; i < s.t_n * 2 * N; i += SPANS * 64) out[i] = dBC[i];
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
    takes = takes && call->in[0].n < (int64_t)1 << 32 && x->dims[2] < 1 << 28;
    return takes && call->in[2].shape.dims[1] <= N && x->dims[0] <= 65535 && x->dims[2] % 8 == 0 &&
           x->dims[1] <= MOST_TILES * MOST_SPANS * SPAN;
}

static chunk_scan scan_of(const gpu_call *call) {
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
    int wanted = (back ? WARPS : WARPS_FORWARD) / (2 * s.spans);
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

template <int SPANS, bool MANY> static const char *scan_forward(const gpu_call *call, const chunk_scan &s) {
    half16 *y = (half16 *)call->out[0].data;
    return s.z ? launch(scan_chunks_kernel<true, MANY, SPANS>, s, (int)sizeof(scan_tiles<3, SPANS>), call->stream, y)
               : launch(scan_chunks_kernel<false, MANY, SPANS>, s, (int)sizeof(scan_tiles<2, SPANS>), call->stream, y);
}

const char *gpu_scan_chunks(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    return s.tiles > 1    ? scan_forward<4, true>(call, s)
           : s.spans == 1 ? scan_forward<1, false>(call, s)
           : s.spans == 2 ? scan_forward<2, false>(call, s)
           : s.spans == 3 ? scan_forward<3, false>(call, s)
                          : scan_forward<4, false>(call, s);
}

static size_t states_of(const chunk_scan &s) { return (size_t)s.groups * s.batch * s.t_n * 2 * N; }

size_t gpu_scan_chunks_backward_workspace(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    return (states_of(s) + (size_t)s.batch * SUMS * s.c_n) * sizeof(float);
}

template <int SPANS, bool MANY>
static const char *scan_back(const chunk_scan &s, const scan_to &to, cudaStream_t stream) {
    int rows = s.tiles * s.spans * SPAN * (int)sizeof(float[2 * N]);
    return s.z ? launch(scan_chunks_backward_kernel<true, MANY, SPANS>, s,
                        (int)sizeof(scan_back_tiles<4, SPANS>) + rows, stream, to)
               : launch(scan_chunks_backward_kernel<false, MANY, SPANS>, s,
                        (int)sizeof(scan_back_tiles<3, SPANS>) + rows, stream, to);
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
    const char *why = s.tiles > 1    ? scan_back<4, true>(s, to, call->stream)
                      : s.spans == 1 ? scan_back<1, false>(s, to, call->stream)
                      : s.spans == 2 ? scan_back<2, false>(s, to, call->stream)
                      : s.spans == 3 ? scan_back<3, false>(s, to, call->stream)
                                     : scan_back<4, false>(s, to, call->stream);
    if (why) return why;
    int sums = (SUMS * s.c_n + 31) / 32;
    int64_t states = ((int64_t)s.batch * s.t_n * 2 * N + 1023) / 1024;
    scan_chunks_end_kernel<<<(unsigned)(sums + states), 1024, 0, call->stream>>>(s, to, ends, sums);
    return gpu_launched();
}
