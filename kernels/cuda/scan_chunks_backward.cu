/* scan_chunks_backward.cu - gradients of Mamba-1's scan by chunks (scan_chunks.cuh).
 *
 * A thread walks its four times forward, for the states, then backward. Sums over channels are products with a matrix
 * of ones and zeros on tensor cores (tf32, sums in fp32), which stay in registers from channels to channels. Many
 * tiles: the states before every tile first.
 */
#include "scan_chunks.cuh"

#define SUMS 6 /* per sequence and channel: dA[N], dD, sum of the time steps' gradients */

/* What the backward kernel writes. Sums over channels or sequences are partial. */
struct scan_to {
    half16 *du, *ddelta, *dz;
    bool steps;  /* GPU_STEPS */
    float *dBC;  /* [group][b][t][2N] */
    float *sums; /* [b][c][SUMS] */
};

template <int K, int SPANS> struct scan_back_tiles {
    scan_tiles<K, SPANS> forward;
    float dh[SPANS * 8][STATES], before[SPANS < MOST_SPANS ? 1 : MOST_TILES][N * WIDTH];
    float sums[SPANS * 8][SUMS * WIDTH + 8]; /* of a thread, its even channel's before its odd one's: (sum, channel) */
    /* here: dBC[][2N] of all times of the sequence */
};

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
