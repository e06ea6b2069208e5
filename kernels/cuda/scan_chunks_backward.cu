/* scan_chunks_backward.cu - gradients of Mamba-1's scan by chunks (scan_chunks.cuh).
 *
 * A thread walks its four times forward, from the state before them, then backward. Sums over channels are products
 * with a matrix of ones and zeros on tensor cores (tf32, sums in fp32), which stay in registers from channels to
 * channels. Many tiles: the last one first.
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

/* States before the chunks. With many tiles from memory, those at work and those on their way: channel, thread. Else
   found here, from what a chunk makes of zeros. */
template <bool MANY, int SPANS> struct scan_before { float4 of[2][2][SPANS * 64]; };
template <int SPANS> struct scan_before<false, SPANS> { scan_maps<SPANS> maps; };

template <bool MANY, int K, int SPANS> struct scan_back_tiles {
    scan_tiles<K, SPANS> tile;
    scan_before<MANY, SPANS> before;
    float sums[SPANS * 8][SUMS * WIDTH + 8]; /* (sum, channel) */
    /* here, with many tiles: dBC[][2N] of all times of the sequence */
};

/* Sends for a thread's states, which only that thread takes; step: of the block. */
template <int SPANS>
__device__ __forceinline__ void fetch_before(scan_before<true, SPANS> &to, const chunk_scan &s, int b, int tile,
                                             int column, int step) {
    const float4 *from = states_of<SPANS>(s, b, tile, column);
#pragma unroll
    for (int c = 0; c < 2; c++) copy_16(&to.of[step & 1][c][threadIdx.x], from + c * SPANS * 64, true);
}
template <int SPANS>
__device__ __forceinline__ void take_before(float (*h)[N], const scan_before<true, SPANS> &from, int step) {
#pragma unroll
    for (int c = 0; c < 2; c++) {
        float4_of before = load4((const float *)&from.of[step & 1][c][threadIdx.x]);
#pragma unroll
        for (int n = 0; n < N; n++) h[c][n] = before.v[n];
    }
}

/* A chunk's state from zeros. */
template <int K, int SPANS>
__device__ __forceinline__ void map_states(scan_maps<SPANS> &to, const scan_tiles<K, SPANS> &m,
                                           const scan_operands<K, SPANS> &in, const place &at,
                                           const float (*decay)[TIMES][N]) {
    float h[2][N];
    uint32_t u[TIMES], d[TIMES];
    take(u, in.x[0], at);
    take(d, in.x[1], at);
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float4_of B = states_at(m.B, at, i);
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float push = one_of(u[i], c) * one_of(d[i], c);
#pragma unroll
            for (int n = 0; n < N; n++) h[c][n] = i ? fmaf(decay[c][i][n], h[c][n], push * B.v[n]) : push * B.v[n];
        }
    }
    put_states(to, at, h);
}

/* What a chunk adds to the gradient of the state before it, given none of the state after it. With GATE, g becomes the
   gradient of y, and dz that of z, but for the factor y. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void map_back(scan_tiles<K, SPANS> &m, const scan_operands<K, SPANS> &in,
                                         const scan_rates &rates, const place &at, float (*decay)[TIMES][N],
                                         uint32_t *g, uint32_t *dz) {
    float e[2][N];
    uint32_t d[TIMES];
    take(d, in.x[1], at);
    take(g, in.x[2], at);
    if (GATE) take(dz, in.x[K - 1], at);
    take_decays(m, d, rates, at, decay);
#pragma unroll
    for (int i = TIMES - 1; i >= 0; i--) {
        float4_of C = states_at(m.C, at, i);
        float slope[2], by[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            slope[c] = one_of(g[i], c);
            if (GATE) {
                float gate = one_of(dz[i], c), open = sigmoid_near(gate), part = slope[c] * open;
                slope[c] = part * gate;
                by[c] = part + slope[c] - slope[c] * open;
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
    put_states(m.x, at, e);
}

/* A thread's part of its chunk's gradients of B and C over channels: values 2 (lane % 4), and the next, of an even time
   and the one after it. */
struct state_sums {
    float of[TIMES / 2][4];
    uint32_t twos[2]; /* of B's gradients, of C's */
};

/* Adds N values of each of two times, over a chunk's four lanes: values become columns. twos: byte n is the upper one
   of 2.0 in the lanes of value n's column, else 0, so that sums are twice as large (put_state_sums). */
__device__ __forceinline__ void add_lanes(float *sums, const float *early, const float *late, uint32_t twos) {
#pragma unroll
    for (int n = 0; n < N; n += 2) {
        float even = __uint_as_float(__byte_perm(twos, 0, 0x444 | n << 12));
        float odd = __uint_as_float(__byte_perm(twos, 0, 0x444 | (n + 1) << 12));
        multiply_tf32(sums, early[n], late[n], early[n + 1], late[n + 1], even, odd);
    }
}
/* The values' columns: to, to + 1 .. */
__device__ __forceinline__ uint32_t twos_of(int to) {
    int n = ((threadIdx.x & 31) >> 2) - to;
    return (uint32_t)kept(n >= 0 && n < N ? 0x40 << 8 * n : 0);
}

/* Both channels of the chunk, states forward from h, those before it: what is kept of the state before every time, y's
   part of dz, and C's gradient. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void walk_states(const scan_tiles<K, SPANS> &m, scan_operands<K, SPANS> &in,
                                            const scan_rates &rates, float (*h)[N], const place &at,
                                            const float (*decay)[TIMES][N], const uint32_t *g, uint32_t *dz,
                                            float (*decayed)[2][N], state_sums &dBC) {
    float seen[2][N]; /* of an even time and the one after it */
    uint32_t u[TIMES], d[TIMES];
    forget(dBC.twos[1]);
    take(u, in.x[0], at);
    take(d, in.x[1], at);
    float2 skip = *(const float2 *)&rates.D[at.channel];
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
                decayed[i][c][n] = decay[c][i][n] * h[c][n];
                h[c][n] = push * B.v[n] + decayed[i][c][n];
                y[c] += C.v[n] * h[c][n];
                seen[i & 1][n] = c ? seen[i & 1][n] + slope * h[c][n] : slope * h[c][n];
            }
        }
        if (i & 1) add_lanes(dBC.of[i / 2], seen[0], seen[1], dBC.twos[1]);
        if (GATE) dz[i] = pack2(y[0] * one_of(dz[i], 0), y[1] * one_of(dz[i], 1));
    }
    if (GATE) put(in.x[K - 1], at, dz);
}

/* The same, gradients backward. decayed: walk_states'. fresh: sums over times begin here. Results take the operands'
 * places. */
template <bool MANY, int K, int SPANS>
__device__ __forceinline__ void walk_slopes(scan_back_tiles<MANY, K, SPANS> &m, scan_operands<K, SPANS> &in,
                                            const scan_rates &rates, const place &at, const float (*decay)[TIMES][N],
                                            const uint32_t *g, const float (*decayed)[2][N], bool steps, bool fresh,
                                            state_sums &dBC) {
    uint32_t u[TIMES], d[TIMES];
    take(u, in.x[0], at); /* again, so that the walk before need not keep them */
    take(d, in.x[1], at);
    __syncwarp(); /* all lanes have taken them before results take their places */
    float dh[2][N], A[2][N], seen[2][N], run[2][SUMS];
    forget(dBC.twos[0]);
    float2 skip = *(const float2 *)&rates.D[at.channel];
    take_states(dh, m.tile.x, at);
#pragma unroll
    for (int n = 0; n < N; n++) {
        A[0][n] = rates.A[at.channel][n];
        A[1][n] = rates.A[at.channel + 1][n];
    }
#pragma unroll
    for (int i = TIMES - 1; i >= 0; i--) {
        float4_of B = states_at(m.tile.B, at, i), C = states_at(m.tile.C, at, i);
        bool more = i < TIMES - 1;
        float du[2], dstep[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float from = one_of(u[i], c), step = one_of(d[i], c), slope = one_of(g[i], c), push = from * step;
            float along_B, along_h;
#pragma unroll
            for (int n = 0; n < N; n++) {
                float pull = dh[c][n] + slope * C.v[n];
                seen[i & 1][n] = c ? seen[i & 1][n] + pull * push : pull * push;
                if (i > 0) dh[c][n] = pull * decay[c][i][n];
                float old = pull * decayed[i][c][n];
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
        if (i % 2 == 0) add_lanes(dBC.of[i / 2], seen[0], seen[1], dBC.twos[0]);
        u[i] = pack2(du[0], du[1]);
        d[i] = pack2(dstep[0], dstep[1]);
    }
    put(in.x[0], at, u);
    put(in.x[1], at, d);
#pragma unroll
    for (int k = 0; k < SUMS; k++) {
        float2 *sum = (float2 *)&m.sums[at.chunk][k * WIDTH + at.channel];
        *sum = fresh ? make_float2(run[0][k], run[1][k]) : make_float2(sum->x + run[0][k], sum->y + run[1][k]);
    }
}

template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void put_pieces(const scan_to &to, const scan_operands<K, SPANS> &in, const place &at,
                                           const piece &here) {
    put_piece(to.du, in, 0, at, here);
    put_piece(to.ddelta, in, 1, at, here);
    if (GATE) put_piece(to.dz, in, K - 1, at, here);
}

/* A thread per sum and channel: over the block's chunks, to memory. */
template <bool MANY, int K, int SPANS>
__device__ __forceinline__ void put_sums(const scan_back_tiles<MANY, K, SPANS> &m, const chunk_scan &s,
                                         const scan_to &to, int b, int column) {
    constexpr int CHUNKS = SPANS * 8, THREADS = SPANS * 64;
#pragma unroll
    for (int more = 0; more < SUMS * WIDTH; more += THREADS) {
        uint32_t i = more + threadIdx.x;
        forget(i);
        if (i >= SUMS * WIDTH) break;
        int c = column * WIDTH + i % WIDTH;
        float sum[4];
#pragma unroll
        for (int n = 0; n < CHUNKS; n++) sum[n % 4] = n < 4 ? m.sums[n][i] : sum[n % 4] + m.sums[n][i];
        if (c < s.c_n) to.sums[((size_t)b * SUMS + i / WIDTH) * s.c_n + c] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    }
}

/* The tile's gradients of B and C, to their rows: of eight channels here, of the other eight 16 lanes away. ADDS: to
   what is there; rows: so many are. */
template <bool ADDS>
__device__ __forceinline__ void put_state_sums(float *to, const place &at, state_sums &dBC, int rows) {
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        int row = at.chunk * TIMES + i;
        float2 *sum = (float2 *)&to[row * 2 * N + (threadIdx.x & 3) * 2];
        float first = dBC.of[i / 2][i % 2 * 2], second = dBC.of[i / 2][i % 2 * 2 + 1];
        first += __shfl_xor_sync(0xffffffffu, first, 16);
        second += __shfl_xor_sync(0xffffffffu, second, 16);
        if (at.channel >= 8 || row >= rows) continue;
        float2 before = ADDS ? *sum : make_float2(0.0f, 0.0f);
        *sum = make_float2(before.x + 0.5f * first, before.y + 0.5f * second);
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) dBC.of[i / 2][i % 2 * 2] = dBC.of[i / 2][i % 2 * 2 + 1] = 0.0f;
}

/* With many tiles of times: from the last to the first, then the next 16 channels. */
struct scan_place {
    int column, tile;
};
template <bool MANY> __device__ __forceinline__ scan_place after(const chunk_scan &s, scan_place p) {
    if (!MANY) return {p.column + 1, 0};
    if (p.tile == 0) return {p.column + 1, s.tiles - 1};
    return {p.column, p.tile - 1};
}

template <bool GATE, bool MANY, int SPANS>
__global__ void __launch_bounds__(SPANS * 64, 8 / SPANS) scan_chunks_backward_kernel(chunk_scan s, scan_to to) {
    constexpr int K = GATE ? 4 : 3;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_back_tiles<MANY, K, SPANS> &m = *(scan_back_tiles<MANY, K, SPANS> *)memory;
    const bool half = s.B.dtype == AIRA_BF16 && s.C.dtype == AIRA_BF16;
    const half16 *from[4] = {s.u, s.delta, s.g, s.z};
    float *dBC = (float *)(memory + sizeof m);
    int b = blockIdx.y, first = blockIdx.x * s.per_group, end = min(s.columns, first + s.per_group);
    int slot = 0; /* of rates */
    const place at = place_of<MANY>(s, b);
    float slope = 0; /* from the tile behind, of a thread's row of maps */
    state_sums sums = {{}, {twos_of(0), twos_of(N)}};
    scan_place p = {first, MANY ? s.tiles - 1 : 0};
    fetch(m.tile.in[0], from, s, at, piece_of<MANY>(s, at, p.tile * SPANS * SPAN, first));
    if constexpr (MANY) fetch_before(m.before, s, b, p.tile, first, 0);
    fetch_rates(m.tile.rates[0], s, first);
    fetch_rates(m.tile.rates[1], s, first + !MANY);
    for (int i = threadIdx.x; MANY && i < s.tiles * SPANS * SPAN * 2 * N; i += SPANS * 64) dBC[i] = 0;
    if (!MANY) half ? fetch_half_states(m.tile, s, b, 0) : fetch_states(m.tile, s, b, 0);
    for (int k = 0; p.column < end; k++) {
        scan_place next = after<MANY>(s, p);
        scan_operands<K, SPANS> &in = m.tile.in[k & 1];
        const scan_rates &rates = m.tile.rates[slot];
        const bool fresh = !MANY || p.tile == s.tiles - 1; /* nothing lies behind */
        float decay[2][TIMES][N], decayed[TIMES][2][N], h[2][N];
        uint32_t g[TIMES], dz[TIMES];
        if (MANY) __syncthreads(); /* B and C of the tile before have been read */
        if (MANY) fetch_states(m.tile, s, b, p.tile);
        copy_wait_all();
        arrive<MANY>(k);
        if (next.column < end) {
            fetch(m.tile.in[~k & 1], from, s, at, piece_of<MANY>(s, at, next.tile * SPANS * SPAN, next.column));
            if constexpr (MANY) fetch_before(m.before, s, b, next.tile, next.column, k + 1);
        }
        map_back<GATE>(m.tile, in, rates, at, decay, g, dz);
        if constexpr (!MANY) map_states(m.before.maps, m.tile, in, at, decay);
        __syncthreads();
        slope = follow<true>(m.tile.p, m.tile.x, fresh ? 0.0f : slope);
        if constexpr (!MANY) follow<false>(m.tile.p, m.before.maps, 0.0f);
        if (fresh && p.column > first) put_sums(m, s, to, b, p.column - 1);
        __syncthreads();
        int later = after<MANY>(s, next).column; /* after the barrier that others wait at: rates are long in coming */
        if (later < end) fetch_rates(m.tile.rates[slot ? slot - 1 : 2], s, later);
        if constexpr (MANY)
            take_before(h, m.before, k);
        else
            take_states(h, m.before.maps, at);
        walk_states<GATE>(m.tile, in, rates, h, at, decay, g, dz, decayed, sums);
        walk_slopes(m, in, rates, at, decay, g, decayed, to.steps, fresh, sums);
        __syncwarp();
        put_pieces<GATE>(to, in, at, piece_of<MANY>(s, at, p.tile * SPANS * SPAN, p.column));
        if (MANY) put_state_sums<true>(dBC + p.tile * SPANS * SPAN * 2 * N, at, sums, SPANS * SPAN);
        p = next;
        slot = slot == 2 ? 0 : slot + 1;
    }
    float *out = to.dBC + ((int64_t)blockIdx.x * s.batch + b) * s.t_n * 2 * N;
    if (!MANY) put_state_sums<false>(out, at, sums, s.t_n);
    __syncthreads();
    put_sums(m, s, to, b, end - 1);
    for (int i = threadIdx.x; MANY && i < s.t_n * 2 * N; i += SPANS * 64) out[i] = dBC[i];
}

/* A block per 32 columns of to.sums, added over sequences; then 1,024 rows of gradients of B or C a block, over groups.
 */
struct scan_ends {
    elements dA, dB, dC, dD, steps;
};
__global__ void __launch_bounds__(1024) scan_chunks_end_kernel(chunk_scan s, scan_to to, scan_ends ends, int blocks) {
    __shared__ float part[32][33];
    int row = threadIdx.x >> 5, lane = threadIdx.x & 31, columns = SUMS * s.c_n;
    if ((int)blockIdx.x >= blocks) {
        int64_t i = (int64_t)(blockIdx.x - blocks) * 1024 + threadIdx.x, all = (int64_t)s.batch * s.t_n * 2;
        elements of = i % 2 ? ends.dC : ends.dB;
        float sum[N] = {};
        if (i >= all) return;
        for (int group = 0; group < s.groups; group++) {
            float4_of more = load4(to.dBC + (group * all + i) * N);
#pragma unroll
            for (int n = 0; n < N; n++) sum[n] += more.v[n];
        }
#pragma unroll
        for (int n = 0; n < N; n++)
            if (n < s.n_n) store<float>(of, i / 2 * s.n_n + n, sum[n]);
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

static size_t gradients_of(const chunk_scan &s) { return (size_t)s.groups * s.batch * s.t_n * 2 * N; }

size_t gpu_scan_chunks_backward_workspace(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    size_t states = s.tiles > 1 ? states_count(s) : 0;
    return (states + gradients_of(s) + (size_t)s.batch * SUMS * s.c_n) * sizeof(float);
}

template <bool GATE, int SPANS, bool MANY>
static const char *scan_back(const chunk_scan &s, const scan_to &to, cudaStream_t stream) {
    int rows = MANY ? s.tiles * s.spans * SPAN * (int)sizeof(float[2 * N]) : 0;
    return launch(scan_chunks_backward_kernel<GATE, MANY, SPANS>, s,
                  (int)sizeof(scan_back_tiles < MANY, GATE ? 4 : 3, SPANS >) + rows, stream, to);
}
template <bool GATE> static const char *scan_back(const chunk_scan &s, const scan_to &to, cudaStream_t stream) {
    return s.tiles > 1    ? scan_back<GATE, MOST_SPANS, true>(s, to, stream)
           : s.spans == 1 ? scan_back<GATE, 1, false>(s, to, stream)
           : s.spans == 2 ? scan_back<GATE, 2, false>(s, to, stream)
                          : scan_back<GATE, MOST_SPANS, false>(s, to, stream);
}

const char *gpu_scan_chunks_backward(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    scan_to to = {(half16 *)call->out[0].data, (half16 *)call->out[1].data, NULL};
    scan_ends ends = {of(call->out[2]), of(call->out[3]), of(call->out[4]), of(call->out[5]), {NULL, 0}};
    const char *why = NULL;
    uint32_t next = 6;
    if (call->merged & GPU_GATE) to.dz = (half16 *)call->out[next++].data;
    to.steps = (call->merged & GPU_STEPS) != 0;
    if (to.steps) ends.steps = of(call->out[next]);
    to.dBC = (float *)call->workspace;
    if (s.tiles > 1) {
        s.states = (float4 *)call->workspace;
        to.dBC += states_count(s);
        why = gpu_scan_chunks_before(s, call->stream);
    }
    to.sums = to.dBC + gradients_of(s);
    if (!why) why = s.z ? scan_back<true>(s, to, call->stream) : scan_back<false>(s, to, call->stream);
    if (why) return why;
    int sums = (SUMS * s.c_n + 31) / 32;
    int64_t states = ((int64_t)s.batch * s.t_n * 2 + 1023) / 1024;
    scan_chunks_end_kernel<<<(unsigned)(sums + states), 1024, 0, call->stream>>>(s, to, ends, sums);
    return gpu_launched();
}
