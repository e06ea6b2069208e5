/* ssd_short.cu - Mamba-2 on tensor cores where one chunk holds the sequence (ssd_tensor.cuh has the formulas).
 *
 * A block of 16 warps owns a group of one sequence; heads run beside each other: forward four, a warp two strips that
 * together have nine tiles of 16 x 16 below the diagonal; backward two, a warp one strip. C B' is computed once, and
 * lies in shared memory as bf16 in the order of accumulators, a tile a piece of 512 bytes. Backward, B and C leave
 * shared memory to heads and come back for dB and dC; the gradients of C B' are summed over a warp's heads in bf16.
 */
#include "shared.cuh"
#include "ssd_tensor.cuh"

#define WARPS 16
#define STRIPS (Q / 16)
#define TILES (STRIPS * (STRIPS + 1) / 2) /* on and below the diagonal */
#define AT_ONCE 4                         /* heads, forward */

/* Number of the tile of rows 16 row .. and columns 16 column .., column <= row. */
__device__ __forceinline__ int tile_at(int row, int column) { return row * (row + 1) / 2 + column; }

/* All warps: K[tile] = C_i . B_j for i of the tile's rows and j of its columns; turned: rows j, columns i. */
template <int N>
__device__ __forceinline__ void put_products(uint4 (*K)[32], const half16 (*C)[N + 8], const half16 (*B)[N + 8],
                                             bool turned) {
    for (int tile = threadIdx.x >> 5; tile < TILES; tile += WARPS) {
        int row = 0;
        while (tile_at(row + 1, 0) <= tile) row++;
        int column = tile - tile_at(row, 0);
        float c[2][4] = {};
        uint32_t a[4], b[4];
#pragma unroll
        for (int k = 0; k < N; k += 16) {
            left(a, turned ? &B[column * 16][k] : &C[row * 16][k], N + 8);
            right_turned(b, turned ? &C[row * 16][k] : &B[column * 16][k], N + 8);
            multiply(c, a, b);
        }
        as_left(a, c);
        K[tile][threadIdx.x & 31] = make_uint4(a[0], a[1], a[2], a[3]);
    }
}

/* A lane's eight values of a tile: rows lane / 4 and eight below, columns lane % 4 * 2 and the next, and eight on. */
__device__ __forceinline__ void spread(float (*v)[4], uint4 packed) {
    float2 a = unpacked(packed.x), b = unpacked(packed.y), c = unpacked(packed.z), d = unpacked(packed.w);
    v[0][0] = a.x, v[0][1] = a.y, v[0][2] = b.x, v[0][3] = b.y;
    v[1][0] = c.x, v[1][1] = c.y, v[1][2] = d.x, v[1][3] = d.y;
}

/* A warp's strip of 16 rows of P, from shared memory (rows P + 8 apart) to x-like memory, 16 bytes a lane. */
template <int P>
__device__ __forceinline__ void put_strip_rows(half16 *to, const half16 (*rows)[P + 8], int64_t step, int n) {
    __syncwarp();
#pragma unroll
    for (int i = threadIdx.x & 31; i < 16 * P / 8; i += 32) {
        int row = i / (P / 8), piece = i % (P / 8) * 8;
        uint4 v = *(const uint4 *)&rows[row][piece];
        if (row < n) *(uint4 *)&to[row * step + piece] = v;
    }
    __syncwarp();
}

/* --- forward ----------------------------------------------------------------------------------------------------- */

template <int P, int N> struct short_tiles {
    union {
        struct {
            half16 C[Q][N + 8], B[Q][N + 8];
        };
        half16 y[WARPS][16][P + 8]; /* after the products of C and B: results on their way */
    };
    half16 x[AT_ONCE][Q][P + 8];
    uint4 K[TILES][32];
    /* running sums of dt A as powers of two; the same less the logarithm of dt */
    float log[AT_ONCE][Q], late[AT_ONCE][Q];
};

template <int P, int N>
__device__ __forceinline__ void fetch_heads(short_tiles<P, N> &m, const ssd &s, const chunk &c, int first) {
    for (int k = 0; k < AT_ONCE && first + k < c.per; k++)
        fetch<P>(m.x[k], (const half16 *)s.x.data + x_at(s, c, c.first + first + k), (int64_t)s.h_n * P, c.rows, Q);
}

/* One warp a head: what decays take. */
template <int P, int N>
__device__ __forceinline__ void short_sums(short_tiles<P, N> &m, const ssd &s, const chunk &c, int first) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (warp >= AT_ONCE || first + warp >= c.per) return;
    running_sums(m.log[warp], m.late[warp], s, c, c.first + first + warp);
#pragma unroll
    for (int i = 4 * lane; i < 4 * lane + 4; i++) m.late[warp][i] = m.log[warp][i] - __log2f(m.late[warp][i]);
}

/* y of the strip's 16 times of the head in slot k. */
template <int P, int N>
__device__ __forceinline__ void short_strip(short_tiles<P, N> &m, const ssd &s, const chunk &c, int k, int h, int strip,
                                            half16 *y) {
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, column = lane % 4 * 2, upper = lane / 4;
    float sum[P / 8][4] = {}, from[2] = {m.log[k][strip * 16 + upper], m.log[k][strip * 16 + upper + 8]};
    for (int j = 0; j <= strip; j++) {
        float M[2][4];
        uint32_t a[4], b[4];
        spread(M, m.K[tile_at(strip, j)][lane]);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float2 late = *(const float2 *)&m.late[k][j * 16 + half * 8 + column];
#pragma unroll
            for (int e = 0; e < 4; e++) {
                M[half][e] *= power_of_two(from[e / 2] - (e % 2 ? late.y : late.x));
                if (j == strip && half * 8 + column + e % 2 > upper + e / 2 * 8) M[half][e] = 0;
            }
        }
        as_left(a, M);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right(b, &m.x[k][j * 16][p * 16], P + 8);
            multiply(sum + 2 * p, a, b);
        }
    }
    float skip = load<float>(s.D, h);
#pragma unroll
    for (int p = 0; p < P / 8; p++)
#pragma unroll
        for (int low = 0; low < 2; low++) {
            int row = upper + low * 8;
            float2 x = two_at(&m.x[k][strip * 16 + row][p * 8 + column]);
            put_two(&m.y[warp][row][p * 8 + column], sum[p][2 * low] + skip * x.x, sum[p][2 * low + 1] + skip * x.y);
        }
    int64_t step = (int64_t)s.h_n * P;
    put_strip_rows<P>(y + x_at(s, c, h) + strip * 16 * step, m.y[warp], step, c.rows - strip * 16);
}

/* blockIdx.x: group, y: sequence */
template <int P, int N> __global__ void __launch_bounds__(WARPS * 32, 1) short_kernel(ssd s, half16 *y) {
    extern __shared__ __align__(16) unsigned char memory[];
    short_tiles<P, N> &m = *(short_tiles<P, N> *)memory;
    chunk c = chunk_of(s, 0, blockIdx.x, blockIdx.y);
    int warp = threadIdx.x >> 5, slot = warp / 4, strip = warp % 4;
    fetch<N>(m.C, (const half16 *)s.C.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch<N>(m.B, (const half16 *)s.B.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    copy_close();
    fetch_heads(m, s, c, 0);
    copy_close();
    short_sums(m, s, c, 0);
    copy_wait<1>();
    __syncthreads();
    put_products<N>(m.K, m.C, m.B, false);
    for (int n = 0; n < c.per; n += AT_ONCE) {
        if (n > 0) {
            __syncthreads(); /* the heads before have been done */
            fetch_heads(m, s, c, n);
            short_sums(m, s, c, n);
        }
        copy_wait_all();
        __syncthreads();
        if (n + slot >= c.per) continue;
        for (int k = 0; k < 2; k++) {
            int at = k ? STRIPS - 1 - strip : strip;
            if (at * 16 < c.rows) short_strip(m, s, c, slot, c.first + n + slot, at, y);
        }
    }
}

/* --- backward ---------------------------------------------------------------------------------------------------- */

template <int P> struct head_tiles { half16 x[Q][P + 8], g[Q][P + 8]; };
template <int N> struct group_tiles { half16 C[Q][N + 8], B[Q][N + 8]; };

template <int P, int N> struct short_back_tiles {
    union {
        head_tiles<P> heads[2];
        group_tiles<N> states;
        half16 dK[Q][Q + 8];
    } space[2];
    uint4 K[TILES][32]; /* rows j, columns i; at last the gradients of the second head's warps */
    float log[SLOTS][Q], dt[SLOTS][Q];
    /* of the heads in turn and those before: sums by strip over rows k of u[k,i] dt_k, k < i; sums over i > j, and
       i >= j, of u[j,i]; sums of x_j . g_j */
    float passed[4][STRIPS][Q], beyond[4][Q], whole[4][Q], diagonal[4][STRIPS];
};

struct short_to {
    const half16 *g;
    half16 *dx, *dB, *dC;
    elements ddt;
    bool steps;             /* GPU_STEPS */
    float *dA, *dD, *dstep; /* [B][H] */
};

template <int P>
__device__ __forceinline__ void fetch_pair(head_tiles<P> *to, const ssd &s, const chunk &c, const half16 *g,
                                           int first) {
    for (int k = 0; k < 2 && first + k < c.per; k++) {
        int64_t at = x_at(s, c, c.first + first + k), step = (int64_t)s.h_n * P;
        fetch<P>(to[k].x, (const half16 *)s.x.data + at, step, c.rows, Q);
        fetch<P>(to[k].g, g + at, step, c.rows, Q);
    }
}
template <int N> __device__ __forceinline__ void fetch_states(group_tiles<N> &to, const ssd &s, const chunk &c) {
    fetch<N>(to.C, (const half16 *)s.C.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch<N>(to.B, (const half16 *)s.B.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
}

__device__ __forceinline__ float row_sum(float v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/* Sums over the lanes that share lane % 4 of the values of columns lane % 4 * 2, the next, and eight on; to[16]. */
__device__ __forceinline__ void put_column_sums(float *to, const float *v) {
    int lane = threadIdx.x & 31, upper = lane & 16, odd = lane & 8;
    float first = (upper ? v[2] : v[0]) + __shfl_xor_sync(0xffffffffu, upper ? v[0] : v[2], 16);
    float second = (upper ? v[3] : v[1]) + __shfl_xor_sync(0xffffffffu, upper ? v[1] : v[3], 16);
    float sum = (odd ? second : first) + __shfl_xor_sync(0xffffffffu, odd ? first : second, 8);
    sum += __shfl_xor_sync(0xffffffffu, sum, 4);
    if ((lane & 4) == 0) to[(upper ? 8 : 0) + lane % 4 * 2 + (odd ? 1 : 0)] = sum;
}

/* A strip's sums over i; [upper, lower] row. */
struct strip_sums {
    float whole[2], self[2], diagonal; /* self: u[j,j] */
};

/* A tile of one head: from K and G to M of dx (but for dt_j), dK, and sums. diagonal: only i >= j counts. */
__device__ __forceinline__ void pair_tile(float (*M)[4], uint32_t *dK, const float (*G)[4], const float *log_i,
                                          const float *log_j, const float *dt_j, bool diagonal, float *passed,
                                          strip_sums &sums) {
    int lane = threadIdx.x & 31, upper = lane / 4, column = lane % 4 * 2;
    float columns[4] = {}, slope[2][4];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float2 at = *(const float2 *)&log_i[half * 8 + column];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int low = e / 2, apart = half * 8 + column + e % 2 - upper - low * 8; /* i - j */
            float decay = power_of_two((e % 2 ? at.y : at.x) - log_j[low]);
            if (diagonal && apart < 0) decay = 0;
            float pull = G[half][e] * decay, K = M[half][e];
            M[half][e] = K * decay;
            slope[half][e] = pull * dt_j[low];
            sums.whole[low] += pull * K;
            if (!diagonal || apart > 0) columns[half * 2 + e % 2] += slope[half][e] * K;
            if (diagonal && apart == 0) {
                sums.self[low] += pull * K;
                sums.diagonal += pull;
            }
        }
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        float2 old = unpacked(dK[k]);
        dK[k] = pack(old.x + slope[k / 2][k % 2 * 2], old.y + slope[k / 2][k % 2 * 2 + 1]);
    }
    put_column_sums(passed, columns);
}

/* One head: dx of the strip's times, dK, and the sums that short_finish takes. at: where those lie. */
template <int P, int N>
__device__ __forceinline__ void short_strip_back(short_back_tiles<P, N> &m, head_tiles<P> &head, uint32_t (*dK)[4],
                                                 const ssd &s, const chunk &c, int n, int at, int strip, half16 *to) {
    const float *log = m.log[n % SLOTS], *dt = m.dt[n % SLOTS];
    int lane = threadIdx.x & 31, column = lane % 4 * 2, upper = strip * 16 + lane / 4, lower = upper + 8;
    float dx[P / 8][4] = {}, log_j[2] = {log[upper], log[lower]}, dt_j[2] = {dt[upper], dt[lower]};
    uint32_t rows[P / 16][4];
    strip_sums sums = {};
#pragma unroll
    for (int p = 0; p < P / 16; p++) left(rows[p], &head.x[strip * 16][p * 16], P + 8);
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
        float G[2][4] = {}, M[2][4];
        uint32_t a[4], b[4];
        if (i < strip || i * 16 >= c.rows) continue;
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right_turned(b, &head.g[i * 16][p * 16], P + 8);
            multiply(G, rows[p], b);
        }
        spread(M, m.K[tile_at(i, strip)][lane]);
        if (i == strip)
            pair_tile(M, dK[i], G, log + i * 16, log_j, dt_j, true, &m.passed[at][strip][i * 16], sums);
        else
            pair_tile(M, dK[i], G, log + i * 16, log_j, dt_j, false, &m.passed[at][strip][i * 16], sums);
        as_left(a, M);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right(b, &head.g[i * 16][p * 16], P + 8);
            multiply(dx + 2 * p, a, b);
        }
    }
#pragma unroll
    for (int low = 0; low < 2; low++) {
        float whole = row_sum(sums.whole[low]), self = row_sum(sums.self[low]);
        if (lane % 4 == 0) {
            m.whole[at][upper + 8 * low] = whole;
            m.beyond[at][upper + 8 * low] = whole - self;
        }
    }
    float diagonal = warp_sum(sums.diagonal), skip = load<float>(s.D, c.first + n);
    if (lane == 0) m.diagonal[at][strip] = diagonal;
    __syncwarp(); /* the strip's rows of x have been read, and by this warp alone */
#pragma unroll
    for (int p = 0; p < P / 8; p++) {
        float2 v = two_at(&head.g[upper][p * 8 + column]), w = two_at(&head.g[lower][p * 8 + column]);
        put_two(&head.x[upper][p * 8 + column], dt_j[0] * dx[p][0] + skip * v.x, dt_j[0] * dx[p][1] + skip * v.y);
        put_two(&head.x[lower][p * 8 + column], dt_j[1] * dx[p][2] + skip * w.x, dt_j[1] * dx[p][3] + skip * w.y);
    }
    int64_t step = (int64_t)s.h_n * P;
    put_strip_rows<P>(to + x_at(s, c, c.first + n) + strip * 16 * step, head.x + strip * 16, step, c.rows - strip * 16);
}

/* One warp, after all have done head n: ddt, and this sequence's parts of dA and dD. A lane owns four times. */
template <int P, int N>
__device__ __forceinline__ void short_finish(const short_back_tiles<P, N> &m, const ssd &s, const chunk &c, int n,
                                             int at, const short_to &to) {
    const float *dt = m.dt[n % SLOTS];
    int lane = threadIdx.x & 31, h = c.first + n;
    float r[4], suffix = 0, dA = 0, dD = 0, dstep = 0, a = load<float>(s.A, h);
#pragma unroll
    for (int k = 3; k >= 0; k--) {
        int i = 4 * lane + k;
        if (i < c.rows) {
            for (int strip = 0; strip <= i / 16; strip++) suffix += m.passed[at][strip][i];
            suffix -= dt[i] * m.beyond[at][i];
        }
        r[k] = suffix;
    }
    float all = suffix;
    for (int step = 1; step < 32; step *= 2) {
        float other = __shfl_down_sync(0xffffffffu, all, step);
        if (lane + step < 32) all += other;
    }
    float after = __shfl_down_sync(0xffffffffu, all, 1);
    if (lane == 31) after = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int i = 4 * lane + k;
        if (i >= c.rows) continue;
        float over = r[k] + after;
        dA += dt[i] * over;
        float step = m.whole[at][i] + a * over;
        if (to.steps) step *= 1.0f - power_of_two(-LOG2E * dt[i]);
        dstep += step;
        store<float>(to.ddt, ((int64_t)c.b * s.t_n + i) * s.h_n + h, step);
    }
    dA = warp_sum(dA);
    dstep = warp_sum(dstep);
    for (int strip = 0; strip * 16 < c.rows; strip++) dD += m.diagonal[at][strip];
    if (lane != 0) return;
    to.dA[(int64_t)c.b * s.h_n + h] = dA;
    to.dD[(int64_t)c.b * s.h_n + h] = dD;
    to.dstep[(int64_t)c.b * s.h_n + h] = dstep;
}

/* dB of the strip (turned: dC) from the gradients of C B'. */
template <int N>
__device__ __forceinline__ void short_states(half16 *to, const half16 (*dK)[Q + 8], const half16 (*other)[N + 8],
                                             bool turned, int strip, const ssd &s, const chunk &c) {
    int lane = threadIdx.x & 31, upper = strip * 16 + lane / 4, lower = upper + 8;
    int first = turned ? 0 : strip, last = turned ? strip : (c.rows - 1) / 16;
    float sum[N / 8][4] = {};
    uint32_t a[4], b[4];
    for (int i = first; i <= last; i++) {
        if (turned)
            left_turned(a, &dK[i * 16][strip * 16], Q + 8);
        else
            left(a, &dK[strip * 16][i * 16], Q + 8);
#pragma unroll
        for (int k = 0; k < N / 16; k++) {
            right(b, &other[i * 16][k * 16], N + 8);
            multiply(sum + 2 * k, a, b);
        }
    }
    int64_t step = (int64_t)s.g_n * N;
#pragma unroll
    for (int k = 0; k < N / 8; k++) {
        int64_t at = state_at(s, c, c.group) + k * 8 + lane % 4 * 2;
        if (upper < c.rows) put_two(to + at + upper * step, sum[k][0], sum[k][1]);
        if (lower < c.rows) put_two(to + at + lower * step, sum[k][2], sum[k][3]);
    }
}

/* All warps: dK of both heads' warps, added, as rows. */
template <int P, int N>
__device__ __forceinline__ void join_slopes(short_back_tiles<P, N> &m, half16 (*to)[Q + 8], const uint32_t (*dK)[4],
                                            int slot, int strip, int n) {
    int lane = threadIdx.x & 31, upper = strip * 16 + lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < STRIPS; i++)
        if (slot == 1 && i >= strip && i < n)
            m.K[tile_at(i, strip)][lane] = make_uint4(dK[i][0], dK[i][1], dK[i][2], dK[i][3]);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < STRIPS; i++) {
        if (slot == 1 || i < strip || i >= n) continue;
        uint4 other = m.K[tile_at(i, strip)][lane];
        const uint32_t more[4] = {other.x, other.y, other.z, other.w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float2 v = unpacked(dK[i][k]), w = unpacked(more[k]);
            put_two(&to[upper + k % 2 * 8][i * 16 + k / 2 * 8 + column], v.x + w.x, v.y + w.y);
        }
    }
}

/* blockIdx.x: group, y: sequence */
template <int P, int N> __global__ void __launch_bounds__(WARPS * 32, 1) short_backward_kernel(ssd s, short_to to) {
    extern __shared__ __align__(16) unsigned char memory[];
    short_back_tiles<P, N> &m = *(short_back_tiles<P, N> *)memory;
    chunk c = chunk_of(s, 0, blockIdx.x, blockIdx.y);
    int warp = threadIdx.x >> 5, slot = warp / 8, strip = strip_of(warp % 8), k = 0;
    bool busy = strip * 16 < c.rows;
    uint32_t dK[STRIPS][4] = {};
    fetch_states<N>(m.space[1].states, s, c);
    copy_close();
    fetch_pair<P>(m.space[0].heads, s, c, to.g, 0);
    copy_close();
    copy_wait<1>();
    __syncthreads();
    put_products<N>(m.K, m.space[1].states.C, m.space[1].states.B, true);
    for (int n = 0; n < c.per; n += 2, k++) {
        /* slots of eight heads that were last read eight heads ago */
        if (n % 8 == 0 && warp < 8 && n + warp < c.per)
            running_sums(m.log[(n + warp) % SLOTS], m.dt[(n + warp) % SLOTS], s, c, c.first + n + warp);
        copy_wait_all();
        __syncthreads();
        if (n + 2 < c.per)
            fetch_pair<P>(m.space[(k + 1) & 1].heads, s, c, to.g, n + 2);
        else
            fetch_states<N>(m.space[(k + 1) & 1].states, s, c);
        if (n > 0 && warp % 8 == 4) short_finish(m, s, c, n - 2 + slot, ((k + 1) & 1) * 2 + slot, to);
        if (busy && n + slot < c.per)
            short_strip_back(m, m.space[k & 1].heads[slot], dK, s, c, n + slot, (k & 1) * 2 + slot, strip, to.dx);
    }
    __syncthreads();
    int last = (k - 1) * 2 + slot; /* a head of the last pair */
    if (warp % 8 == 4 && last < c.per) short_finish(m, s, c, last, ((k - 1) & 1) * 2 + slot, to);
    half16(*slopes)[Q + 8] = m.space[(k - 1) & 1].dK;
    join_slopes(m, slopes, dK, slot, strip, (c.rows + 15) / 16);
    copy_wait_all();
    __syncthreads();
    const group_tiles<N> &states = m.space[k & 1].states;
    if (busy && slot == 0) short_states<N>(to.dB, slopes, states.C, false, strip, s, c);
    if (busy && slot == 1) short_states<N>(to.dC, slopes, states.B, true, strip, s, c);
}

/* A block a head and kind of sum: over sequences. */
struct short_ends {
    elements to[3];
};
__global__ void __launch_bounds__(128) short_end_kernel(short_ends ends, const float *sums, int batch, int h_n) {
    __shared__ float spare[32];
    const float *from = sums + (int64_t)blockIdx.y * batch * h_n;
    float sum = 0;
    for (int b = threadIdx.x; b < batch; b += 128) sum += from[(int64_t)b * h_n + blockIdx.x];
    sum = block_reduce<float, false>(sum, spare);
    if (threadIdx.x == 0) store<float>(ends.to[blockIdx.y], blockIdx.x, sum);
}

/* --- calls -----------------------------------------------------------------------------------------------------------
 */

template <class F, class... A>
static const char *launch(F kernel, const ssd &s, size_t bytes, cudaStream_t stream, A... a) {
    cudaError_t error = allow_shared(kernel);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    kernel<<<dim3((unsigned)s.g_n, (unsigned)s.batch), WARPS * 32, bytes, stream>>>(s, a...);
    return gpu_launched();
}

template <int N> static const char *forward_as(const gpu_call *call) {
    return launch(short_kernel<64, N>, ssd_of(call), sizeof(short_tiles<64, N>), call->stream,
                  (half16 *)call->out[0].data);
}

const char *ssd_short_forward(const gpu_call *call) {
    int64_t n = call->in[3].shape.dims[3];
    return n == 16 ? forward_as<16>(call) : n == 64 ? forward_as<64>(call) : forward_as<128>(call);
}

size_t ssd_short_backward_bytes(const gpu_call *call) {
    return (size_t)call->in[0].shape.dims[0] * (size_t)call->in[0].shape.dims[2] * 3 * sizeof(float);
}

template <int N> static const char *backward_as(const gpu_call *call) {
    ssd s = ssd_of(call);
    short_to to = {(const half16 *)call->in[6].data, (half16 *)call->out[0].data, (half16 *)call->out[3].data,
                   (half16 *)call->out[4].data, of(call->out[1])};
    size_t heads = (size_t)s.batch * s.h_n;
    to.dA = (float *)call->workspace;
    to.dD = to.dA + heads;
    to.dstep = to.dD + heads;
    to.steps = (call->merged & GPU_STEPS) != 0;
    const char *why = launch(short_backward_kernel<64, N>, s, sizeof(short_back_tiles<64, N>), call->stream, to);
    if (why) return why;
    short_ends ends = {{of(call->out[2]), of(call->out[5]), {NULL, 0}}};
    if (to.steps) ends.to[2] = of(call->out[6]);
    short_end_kernel<<<dim3((unsigned)s.h_n, to.steps ? 3 : 2), 128, 0, call->stream>>>(ends, to.dA, s.batch, s.h_n);
    return gpu_launched();
}

const char *ssd_short_backward(const gpu_call *call) {
    int64_t n = call->in[3].shape.dims[3];
    return n == 16 ? backward_as<16>(call) : n == 64 ? backward_as<64>(call) : backward_as<128>(call);
}
