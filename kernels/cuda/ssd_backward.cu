/* ssd_backward.cu - Mamba-2 backward on tensor cores (ssd_tensor.cuh), sequences of many chunks.
 *
 * With g the gradient of y, G[j,i] = x_j . g_i, K[j,i] = B_j . C_i, L[j,i] = exp(a_i - a_j) for j <= i, dS the gradient
 * of the state after the chunk, and u = G K L:
 *
 *     dx_j = sum_i K L dt_j g_i + exp(a_last - a_j) dt_j dS B_j + D g_j
 *     dK   = sum over heads of G L dt_j;  dB_j = sum_i dK[j,i] C_i + ..,  dC_i = sum_j dK[j,i] B_j + ..
 *     ddt_j = sum_i u[j,i] + exp(a_last - a_j) x_j . dS B_j + A r_j
 *     r_j  = gradient of dt_j A: all that passes over j, from before j to j or later. It is the sum over i >= j of
 *            (sum_k u[k,i] dt_k - sum_k u[i,k] dt_i, k apart from i; exp(a_i) g_i . S C_i), over k < j of
 *            exp(a_last - a_k) dt_k x_k . dS B_k, and exp(a_last) dS . S.
 *
 * A warp owns 16 rows j: K and dK stay in its registers while heads pass by, and their results are the left operands of
 * the next products as they lie. Only dC needs dK turned, through shared memory, once.
 */
#include "join.cuh"
#include "ssd_tensor.cuh"

template <int P, int N> struct backward_tiles {
    half16 C[Q][N + 8], B[Q][N + 8];
    union {
        struct {
            half16 x[2][Q][P + 8], g[2][Q][P + 8];
        };
        half16 dK[Q][Q + 8];
    };
    half16 S[P][N + 8], dS[P][N + 8]; /* before the chunk; gradient after it */
    float log[SLOTS][Q], dt[SLOTS][Q];
    /* of the head in turn and the one before: sums by strip over rows k of u[k,i] dt_k, k < i; sums over i > j, and
       i >= j, of u[j,i]; exp(a_i) g_i . S C_i; exp(a_last - a_j) x_j . dS B_j */
    float passed[2][8][Q], beyond[2][Q], whole[2][Q], late[2][Q], early[2][Q];
    float diagonal[2][8], edge[2][8]; /* by strip: sum of x_j . g_j; by warp: part of dS . S */
};

/* What the kernel writes, but for sums over heads and chunks. */
struct backward_to {
    const half16 *g, *S, *dS;
    half16 *dx, *dB, *dC;
    elements ddt;   /* of the heads that the kernel knows: of halves in fp32, to be added up */
    float *dA, *dD; /* [B][chunks][H] */
};

template <int P, int N>
__device__ void fetch_head(backward_tiles<P, N> &m, const ssd &s, const chunk &c, const half16 *g, int n) {
    int64_t at = x_at(s, c, c.first + n), step = (int64_t)s.h_n * P;
    fetch<P>(m.x[n & 1], (const half16 *)s.x.data + at, step, c.rows, Q);
    fetch<P>(m.g[n & 1], g + at, step, c.rows, Q);
}

template <int P, int N>
__device__ void fetch_states(backward_tiles<P, N> &m, const ssd &s, const chunk &c, const backward_to &to, int n) {
    int64_t at = piece_of(s, c, c.first + n) * P * N;
    fetch<N>(m.S, to.S + at, N, P, P);
    fetch<N>(m.dS, to.dS + at, N, P, P);
}

/* sum[rows of the strip][P] = C or B (times x N) . S or dS (P x N) */
template <int P, int N>
__device__ __forceinline__ void times_state(float (*sum)[4], const half16 (*rows)[N + 8],
                                            const half16 (*state)[N + 8]) {
#pragma unroll
    for (int k = 0; k < N; k += 16) {
        uint32_t a[4], b[4];
        left(a, &rows[0][k], N + 8);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right_turned(b, &state[p * 16][k], N + 8);
            multiply(sum + 2 * p, a, b);
        }
    }
}

/* upper, lower: sum over p of sum[p] other[row][p], times by */
template <int P>
__device__ __forceinline__ void along_rows(float *to, const float (*sum)[4], const half16 (*other)[P + 8], int upper,
                                           float by_upper, float by_lower) {
    int lane = threadIdx.x & 31, column = lane % 4 * 2;
    float above = 0, below = 0;
#pragma unroll
    for (int p = 0; p < P / 8; p++) {
        float2 v = two_at(&other[upper][p * 8 + column]), w = two_at(&other[upper + 8][p * 8 + column]);
        above += sum[p][0] * v.x + sum[p][1] * v.y;
        below += sum[p][2] * w.x + sum[p][3] * w.y;
    }
    above = quad_sum(above) * by_upper;
    below = quad_sum(below) * by_lower;
    if (lane % 4 != 0) return;
    to[upper] = above;
    to[upper + 8] = below;
}

/* The state's part of one head: dx begins with it. */
template <int P, int N> __device__ void strip_states(backward_tiles<P, N> &m, float (*dx)[4], int n, int strip) {
    const float *log = m.log[n % SLOTS], *dt = m.dt[n % SLOTS];
    int upper = strip * 16 + (threadIdx.x & 31) / 4, lower = upper + 8;
    float late[P / 8][4] = {};
    times_state<P, N>(late, m.C + strip * 16, m.S);
    along_rows<P>(m.late[n & 1], late, m.g[n & 1], upper, exp2f(log[upper]), exp2f(log[lower]));
    times_state<P, N>(dx, m.B + strip * 16, m.dS);
    float fade_upper = exp2f(log[Q - 1] - log[upper]), fade_lower = exp2f(log[Q - 1] - log[lower]);
    along_rows<P>(m.early[n & 1], dx, m.x[n & 1], upper, fade_upper, fade_lower);
#pragma unroll
    for (int p = 0; p < P / 8; p++)
#pragma unroll
        for (int e = 0; e < 4; e++) dx[p][e] *= e < 2 ? fade_upper * dt[upper] : fade_lower * dt[lower];
}

/* Sums of one warp's rows that pass through the pairs (j, i). */
struct pair_sums {
    float whole[2], beyond[2], diagonal; /* [upper, lower] */
};

/* 16 rows j by 16 columns i of one head: M' for dx, dK, and the sums. */
__device__ __forceinline__ void pairs(float (*M)[4], float (*dK)[4], const float (*K)[4], const float (*G)[4],
                                      const float *log, const float *dt, int upper, int i0, float *passed,
                                      pair_sums &sums) {
    int lane = threadIdx.x & 31;
    float column[4] = {};
#pragma unroll
    for (int e = 0; e < 8; e++) {
        int tile = e / 4, low = e % 4 / 2, j = upper + low * 8, i = i0 + tile * 8 + lane % 4 * 2 + e % 2;
        float decay = i >= j ? exp2f(log[i] - log[j]) : 0.0f, pull = G[tile][e % 4] * decay;
        float u = pull * K[tile][e % 4];
        M[tile][e % 4] = K[tile][e % 4] * decay * dt[j];
        dK[tile][e % 4] += pull * dt[j];
        sums.whole[low] += u;
        if (i > j) {
            sums.beyond[low] += u;
            column[tile * 2 + e % 2] += u * dt[j];
        }
        if (i == j) sums.diagonal += G[tile][e % 4];
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        for (int step = 4; step < 32; step *= 2) column[k] += __shfl_xor_sync(0xffffffffu, column[k], step);
        if (lane < 4) passed[i0 + k / 2 * 8 + lane * 2 + k % 2] = column[k];
    }
}

/* One head: dx of the strip's times, dK, and the sums that finish_head takes. */
template <int P, int N>
__device__ void strip_backward(backward_tiles<P, N> &m, const float (*K)[4], float (*dK)[4], const ssd &s,
                               const chunk &c, int n, int strip, half16 *to) {
    const float *log = m.log[n % SLOTS], *dt = m.dt[n % SLOTS];
    const half16(*x)[P + 8] = m.x[n & 1], (*g)[P + 8] = m.g[n & 1];
    int lane = threadIdx.x & 31, column = lane % 4 * 2, upper = strip * 16 + lane / 4, lower = upper + 8;
    float dx[P / 8][4] = {};
    uint32_t rows[P / 16][4], b[4];
    pair_sums sums = {};
    strip_states(m, dx, n, strip);
#pragma unroll
    for (int p = 0; p < P / 16; p++) left(rows[p], &x[strip * 16][p * 16], P + 8);
#pragma unroll
    for (int i = 0; i < Q / 16; i++) {
        float G[2][4] = {}, M[2][4];
        uint32_t a[4];
        if (i < strip || i * 16 >= c.rows) continue;
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right_turned(b, &g[i * 16][p * 16], P + 8);
            multiply(G, rows[p], b);
        }
        pairs(M, dK + 2 * i, K + 2 * i, G, log, dt, upper, i * 16, m.passed[n & 1][strip], sums);
        as_left(a, M);
#pragma unroll
        for (int p = 0; p < P / 16; p++) {
            right(b, &g[i * 16][p * 16], P + 8);
            multiply(dx + 2 * p, a, b);
        }
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        float whole = quad_sum(sums.whole[k]), beyond = quad_sum(sums.beyond[k]);
        if (lane % 4 == 0) {
            m.whole[n & 1][upper + 8 * k] = whole;
            m.beyond[n & 1][upper + 8 * k] = beyond;
        }
    }
    float diagonal = warp_sum(sums.diagonal), skip = load<float>(s.D, (c.first + n) >> s.cut);
    if (lane == 0) m.diagonal[n & 1][strip] = diagonal;
    int64_t step = (int64_t)s.h_n * P;
    to += x_at(s, c, c.first + n);
#pragma unroll
    for (int p = 0; p < P / 8; p++) {
        float2 v = two_at(&g[upper][p * 8 + column]), w = two_at(&g[lower][p * 8 + column]);
        int64_t at = p * 8 + column;
        if (upper < c.rows) put_two(to + upper * step + at, dx[p][0] + skip * v.x, dx[p][1] + skip * v.y);
        if (lower < c.rows) put_two(to + lower * step + at, dx[p][2] + skip * w.x, dx[p][3] + skip * w.y);
    }
}

/* All warps: parts of dS . S, by warp. */
template <int P, int N> __device__ void edge_product(backward_tiles<P, N> &m, int n) {
    float sum = 0;
    for (int i = threadIdx.x; i < P * N / 2; i += THREADS) {
        float2 v = two_at(&m.S[i / (N / 2)][i % (N / 2) * 2]), w = two_at(&m.dS[i / (N / 2)][i % (N / 2) * 2]);
        sum += v.x * w.x + v.y * w.y;
    }
    sum = warp_sum(sum);
    if ((threadIdx.x & 31) == 0) m.edge[n & 1][threadIdx.x >> 5] = sum;
}

/* One warp, after all have done head n: ddt, and this chunk's parts of dA and dD. A lane owns four times. */
template <int P, int N>
__device__ void finish_head(const backward_tiles<P, N> &m, const ssd &s, const chunk &c, int n, const backward_to &to) {
    const float *log = m.log[n % SLOTS], *dt = m.dt[n % SLOTS];
    int lane = threadIdx.x & 31, h = c.first + n, odd = n & 1;
    float r[4], before[4], suffix = 0, prefix = 0, edge = 0, dA = 0, dD = 0, a = load<float>(s.A, h >> s.cut);
#pragma unroll
    for (int k = 3; k >= 0; k--) {
        int i = 4 * lane + k;
        if (i < c.rows) {
            for (int strip = 0; strip <= i / 16; strip++) suffix += m.passed[odd][strip][i];
            suffix -= dt[i] * m.beyond[odd][i];
            suffix += m.late[odd][i];
        }
        r[k] = suffix;
    }
    float after = sum_of_later_lanes(suffix);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int i = 4 * lane + k;
        before[k] = prefix;
        if (i < c.rows) prefix += dt[i] * m.early[odd][i];
    }
    float all = prefix;
    for (int step = 1; step < 32; step *= 2) {
        float other = __shfl_up_sync(0xffffffffu, all, step);
        if (lane >= step) all += other;
    }
    float sooner = __shfl_up_sync(0xffffffffu, all, 1);
    for (int warp = 0; warp < THREADS / 32; warp++) edge += m.edge[odd][warp];
    edge = edge * exp2f(log[Q - 1]) + (lane == 0 ? 0.0f : sooner);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        int i = 4 * lane + k;
        if (i >= c.rows) continue;
        float over = r[k] + after, direct = m.whole[odd][i];
        over += before[k] + edge;
        direct += m.early[odd][i];
        dA += dt[i] * over;
        store<float>(to.ddt, ((int64_t)c.b * s.t_n + c.t0 + i) * s.h_n + h, direct + a * over);
    }
    dA = warp_sum(dA);
    for (int strip = 0; strip * 16 < c.rows; strip++) dD += m.diagonal[odd][strip];
    if (lane != 0) return;
    to.dA[piece_of(s, c, h)] = dA;
    to.dD[piece_of(s, c, h)] = dD;
}

/* dB or dC of the strip's times. */
template <int N>
__device__ __forceinline__ void put_strip(half16 *to, const float (*sum)[4], int64_t step, int strip, int rows) {
    int lane = threadIdx.x & 31, upper = strip * 16 + lane / 4, lower = upper + 8;
#pragma unroll
    for (int k = 0; k < N / 8; k++) {
        int64_t at = k * 8 + lane % 4 * 2;
        if (upper < rows) put_two(to + upper * step + at, sum[k][0], sum[k][1]);
        if (lower < rows) put_two(to + lower * step + at, sum[k][2], sum[k][3]);
    }
}

/* The states' parts of dB and dC, head after head. */
template <int P, int N>
__device__ void add_states(backward_tiles<P, N> &m, float (*dB)[4], float (*dC)[4], const ssd &s, const chunk &c,
                           const backward_to &to, int strip) {
    int warp = threadIdx.x >> 5, upper = strip * 16 + (threadIdx.x & 31) / 4, lower = upper + 8;
    for (int n = 0; n < c.per; n++) {
        const float *log = m.log[n % SLOTS], *dt = m.dt[n % SLOTS];
        __syncthreads();
        if (n % 8 == 0 && n + warp < c.per)
            running_sums(m.log[(n + warp) % SLOTS], m.dt[(n + warp) % SLOTS], s, c, c.first + n + warp);
        fetch_head(m, s, c, to.g, n);
        fetch_states(m, s, c, to, n);
        copy_wait_all();
        __syncthreads();
        if (strip * 16 >= c.rows) continue;
#pragma unroll
        for (int p = 0; p < P; p += 16) {
            uint32_t x[4], g[4], b[4];
            left(x, &m.x[n & 1][strip * 16][p], P + 8);
            left(g, &m.g[n & 1][strip * 16][p], P + 8);
            scale_rows(x, exp2f(log[Q - 1] - log[upper]) * dt[upper], exp2f(log[Q - 1] - log[lower]) * dt[lower]);
            scale_rows(g, exp2f(log[upper]), exp2f(log[lower]));
#pragma unroll
            for (int k = 0; k < N / 16; k++) {
                right(b, &m.dS[p][k * 16], N + 8);
                multiply(dB + 2 * k, x, b);
                right(b, &m.S[p][k * 16], N + 8);
                multiply(dC + 2 * k, g, b);
            }
        }
    }
}

/* dB and dC from dK, summed over heads. All warps take part in the barriers. */
template <int P, int N>
__device__ void finish_group(backward_tiles<P, N> &m, const float (*dK)[4], const ssd &s, const chunk &c,
                             const backward_to &to, int strip) {
    bool busy = strip * 16 < c.rows;
    int64_t step = (int64_t)s.g_n * N, at = state_at(s, c, c.group);
    int lane = threadIdx.x & 31, column = lane % 4 * 2, upper = strip * 16 + lane / 4;
    float dB[N / 8][4] = {}, dC[N / 8][4] = {};
    uint32_t a[4], b[4];
#pragma unroll
    for (int i = 0; i < Q / 16; i++) {
        if (i < strip || i * 16 >= c.rows) continue;
        as_left(a, dK + 2 * i);
        for (int k = 0; k < 4; k++) memcpy(&m.dK[upper + k % 2 * 8][i * 16 + k / 2 * 8 + column], &a[k], sizeof a[k]);
#pragma unroll
        for (int k = 0; k < N / 16; k++) {
            right(b, &m.C[i * 16][k * 16], N + 8);
            multiply(dB + 2 * k, a, b);
        }
    }
    __syncthreads();
    for (int j = 0; j <= strip && busy; j++) {
        left_turned(a, &m.dK[j * 16][strip * 16], Q + 8);
#pragma unroll
        for (int k = 0; k < N / 16; k++) {
            right(b, &m.B[j * 16][k * 16], N + 8);
            multiply(dC + 2 * k, a, b);
        }
    }
    add_states(m, dB, dC, s, c, to, strip);
    if (!busy) return;
    put_strip<N>(to.dB + at, dB, step, strip, c.rows);
    put_strip<N>(to.dC + at, dC, step, strip, c.rows);
}

/* blockIdx.x: chunk, y: group, z: sequence */
template <int P, int N> __global__ void __launch_bounds__(THREADS, 1) backward_kernel(ssd s, backward_to to) {
    extern __shared__ __align__(16) unsigned char memory[];
    backward_tiles<P, N> &m = *(backward_tiles<P, N> *)memory;
    chunk c = chunk_of(s, blockIdx.x, blockIdx.y, blockIdx.z);
    int warp = threadIdx.x >> 5, strip = strip_of(warp);
    bool busy = strip * 16 < c.rows;
    float K[Q / 8][4] = {}, dK[Q / 8][4] = {};
    fetch<N>(m.C, (const half16 *)s.C.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch<N>(m.B, (const half16 *)s.B.data + state_at(s, c, c.group), (int64_t)s.g_n * N, c.rows, Q);
    fetch_head(m, s, c, to.g, 0);
    for (int n = 0; n < c.per; n++) {
        /* slots of eight heads that were last read eight heads ago */
        if (n % 8 == 0 && n + warp < c.per)
            running_sums(m.log[(n + warp) % SLOTS], m.dt[(n + warp) % SLOTS], s, c, c.first + n + warp);
        __syncthreads(); /* the head before has been done */
        fetch_states(m, s, c, to, n);
        copy_wait_all();
        __syncthreads();
        if (n + 1 < c.per) fetch_head(m, s, c, to.g, n + 1);
        if (n > 0 && warp == n % 8) finish_head(m, s, c, n - 1, to);
        if (n == 0 && busy) {
#pragma unroll
            for (int k = 0; k < N; k += 16) {
                uint32_t a[4], b[4];
                left(a, &m.B[strip * 16][k], N + 8);
#pragma unroll
                for (int i = 0; i < Q / 16; i++) {
                    if (i < strip || i * 16 >= c.rows) continue;
                    right_turned(b, &m.C[i * 16][k], N + 8);
                    multiply(K + 2 * i, a, b);
                }
            }
        }
        edge_product(m, n);
        if (busy) strip_backward(m, K, dK, s, c, n, strip, to.dx);
    }
    __syncthreads();
    if (warp == 0) finish_head(m, s, c, c.per - 1, to);
    finish_group(m, dK, s, c, to, strip);
}

/* --- calls --- */

/* Bytes into the workspace. */
struct backward_space {
    size_t dA, dD, ddt, S, dS, local, all;
};

static backward_space space_of(const ssd &s) {
    size_t chunks = (s.t_n + Q - 1) / Q, pieces = (size_t)s.batch * chunks * s.h_n;
    size_t sums = (pieces * sizeof(float) + 255) / 256 * 256, states = pieces * s.p_n * s.n_n * sizeof(half16);
    backward_space w = {0, sums, 2 * sums, 0, 0, 0, 0};
    w.S = w.ddt + (s.cut ? ((size_t)s.batch * s.t_n * s.h_n * sizeof(float) + 255) / 256 * 256 : 0);
    w.dS = w.S + states;
    w.local = w.dS + states;
    w.all = w.local + ssd_states_bytes(s);
    return w;
}

size_t ssd_tensor_backward_bytes(const gpu_call *call) {
    ssd s = ssd_halves_of(call);
    return ssd_short_takes(s) ? ssd_short_backward_bytes(call) : space_of(s).all;
}

template <int P, int N> static const char *launch(const ssd &s, const backward_to &to, cudaStream_t stream) {
    int bytes = (int)sizeof(backward_tiles<P, N>);
    cudaError_t error = cudaFuncSetAttribute(backward_kernel<P, N>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    dim3 grid((unsigned)((s.t_n + Q - 1) / Q), (unsigned)s.g_n, (unsigned)s.batch);
    backward_kernel<P, N><<<grid, THREADS, bytes, stream>>>(s, to);
    return gpu_launched();
}

template <int N> static const char *backward_as(const gpu_call *call) {
    ssd s = ssd_halves_of(call);
    backward_space w = space_of(s);
    char *space = (char *)call->workspace;
    backward_to to = {(const half16 *)call->in[6].data, (const half16 *)(space + w.S), (const half16 *)(space + w.dS)};
    to.dx = (half16 *)call->out[0].data;
    to.dB = (half16 *)call->out[3].data;
    to.dC = (half16 *)call->out[4].data;
    to.ddt = s.cut ? elements{space + w.ddt, AIRA_F32} : of(call->out[1]);
    to.dA = (float *)(space + w.dA);
    to.dD = (float *)(space + w.dD);
    int64_t chunks = (s.t_n + Q - 1) / Q;
    const char *why = ssd_states(s, false, (const half16 *)s.x.data, space + w.local, (half16 *)(space + w.S),
                                 call->stream);
    if (!why) why = ssd_states(s, true, to.g, space + w.local, (half16 *)(space + w.dS), call->stream);
    if (!why) why = launch<64, N>(s, to, call->stream);
    if (why) return why;
    int64_t parts = 1 + s.cut, real = s.h_n / parts, rows = (int64_t)s.batch * s.t_n;
    join_plan heads = {real, 1, parts, s.batch * chunks, s.h_n, parts, 1}, steps = {rows * real, 1, 2, 1, 0, 2, 1};
    if (s.cut) join<float>(of(call->out[1]), (const float *)(space + w.ddt), steps, call->stream);
    join<float>(of(call->out[2]), to.dA, heads, call->stream);
    join<float>(of(call->out[5]), to.dD, heads, call->stream);
    return gpu_launched();
}

const char *ssd_tensor_backward(const gpu_call *call) {
    if (ssd_short_takes(ssd_halves_of(call))) return ssd_short_backward(call);
    int64_t n = call->in[3].shape.dims[3];
    return n == 16 ? backward_as<16>(call) : n == 64 ? backward_as<64>(call) : backward_as<128>(call);
}
