/* scan.cu - Mamba-1's selective scan along time, forward and backward.
 *
 * One thread owns one channel of one sequence, its states in registers, and walks along time; neighbouring threads own
 * neighbouring channels, so every step of a warp reads memory in full lines. B and C of a tile of times lie in shared
 * memory. The backward pass keeps the states before every segment, recomputes those of a segment with their decays, and
 * walks back. Sums over channels: every warp adds its lanes' values in a tree and stores; join.cuh adds the warps, and
 * the sequences of dA and dD. The search models' sizes have kernels of their own (scan_chunks.cu).
 */
#include "fast.h"
#include "join.cuh"

#define STATES 64   /* most states per channel */
#define CHANNELS 64 /* threads of a block */
#define TILE 32     /* times whose B and C lie in shared memory */
#define AHEAD 8     /* times that are read before they are needed */

struct scan {
    int batch, t_n, c_n, n_n;
    elements u, delta, A, B, C, D;
};

static scan scan_of(const gpu_call *call) {
    scan s = {};
    s.batch = (int)call->in[0].shape.dims[0];
    s.t_n = (int)call->in[0].shape.dims[1];
    s.c_n = (int)call->in[0].shape.dims[2];
    s.n_n = (int)call->in[2].shape.dims[1];
    s.u = of(call->in[0]);
    s.delta = of(call->in[1]);
    s.A = of(call->in[2]);
    s.B = of(call->in[3]);
    s.C = of(call->in[4]);
    s.D = of(call->in[5]);
    return s;
}

/* How u, delta, g, y and their gradients lie: all bf16, all fp32, or any types. */
struct any_type {
    template <class R> static __device__ __forceinline__ R get(elements e, int64_t i) { return load<R>(e, i); }
    template <class R> static __device__ __forceinline__ void put(elements e, int64_t i, R v) { store<R>(e, i, v); }
};
struct half_type {
    template <class R> static __device__ __forceinline__ R get(elements e, int64_t i) {
        return __bfloat162float(((const __nv_bfloat16 *)e.data)[i]);
    }
    template <class R> static __device__ __forceinline__ void put(elements e, int64_t i, R v) {
        ((__nv_bfloat16 *)e.data)[i] = __float2bfloat16_rn(v);
    }
};
struct single_type {
    template <class R> static __device__ __forceinline__ R get(elements e, int64_t i) {
        return ((const float *)e.data)[i];
    }
    template <class R> static __device__ __forceinline__ void put(elements e, int64_t i, R v) {
        ((float *)e.data)[i] = v;
    }
};

#define LOG2E 1.4426950408889634
__device__ static float power_of_two(float x) { return exp2f(x); }
__device__ static double power_of_two(double x) { return exp2(x); }

/* Where a thread works. A thread beyond the channels takes part in barriers and sums, with zeros. */
struct lane_place {
    int b, c;
    bool live;
    int64_t base; /* of its channel at time 0 */
};
__device__ static lane_place here(const scan &s) {
    lane_place p = {(int)blockIdx.y, (int)(blockIdx.x * CHANNELS + threadIdx.x), false, 0};
    p.live = p.c < s.c_n;
    p.base = (int64_t)p.b * s.t_n * s.c_n + p.c;
    return p;
}

/* rate[n] = A in powers of two, zeros beyond the states. */
template <class R, int N> __device__ __forceinline__ void load_rates(R *rate, const scan &s, const lane_place &p) {
#pragma unroll
    for (int n = 0; n < N; n++)
        rate[n] = p.live && n < s.n_n ? load<R>(s.A, (int64_t)p.c * s.n_n + n) * (R)LOG2E : (R)0;
}

/* B (or C) of times t0 .. t0 + TILE - 1; zeros beyond. */
template <class R, int N>
__device__ __forceinline__ void load_tile(R (*to)[N], elements from, const scan &s, int b, int t0) {
    for (int i = threadIdx.x; i < TILE * N; i += CHANNELS) {
        int t = t0 + i / N, n = i % N;
        to[i / N][n] = t < s.t_n && n < s.n_n ? load<R>(from, ((int64_t)b * s.t_n + t) * s.n_n + n) : (R)0;
    }
}

/* K values from time t on; zeros beyond. */
template <class R, class IO, int K>
__device__ __forceinline__ void load_times(R *to, elements from, const scan &s, const lane_place &p, int t) {
#pragma unroll
    for (int i = 0; i < K; i++)
        to[i] = p.live && t + i < s.t_n ? IO::template get<R>(from, p.base + (int64_t)(t + i) * s.c_n) : (R)0;
}

/* Times between two kept states: as many as fit into registers. Divides TILE. */
template <int N> __host__ __device__ constexpr int segment_of() { return N <= 4 ? 8 : 4; }
/* Copies of a loop over a segment's times: more states do not stay in registers anyway. */
template <int N> __host__ __device__ constexpr int copies_of() { return N <= 16 ? segment_of<N>() : 1; }

template <class R, class IO, int N> __global__ void __launch_bounds__(CHANNELS) scan_kernel(scan s, elements y) {
    constexpr int COPIES = N <= 16 ? AHEAD : 1;
    __shared__ __align__(16) R B[TILE][N], C[TILE][N];
    lane_place p = here(s);
    R rate[N], h[N] = {}, u[AHEAD], d[AHEAD], skip = p.live ? load<R>(s.D, p.c) : (R)0;
    load_rates<R, N>(rate, s, p);
    load_times<R, IO, AHEAD>(u, s.u, s, p, 0);
    load_times<R, IO, AHEAD>(d, s.delta, s, p, 0);
    for (int t0 = 0; t0 < s.t_n; t0 += TILE) {
        __syncthreads();
        load_tile<R, N>(B, s.B, s, p.b, t0);
        load_tile<R, N>(C, s.C, s, p.b, t0);
        __syncthreads();
#pragma unroll 1
        for (int first = 0; first < TILE && t0 + first < s.t_n; first += AHEAD) {
            R next_u[AHEAD], next_d[AHEAD];
            load_times<R, IO, AHEAD>(next_u, s.u, s, p, t0 + first + AHEAD);
            load_times<R, IO, AHEAD>(next_d, s.delta, s, p, t0 + first + AHEAD);
#pragma unroll COPIES
            for (int i = 0; i < AHEAD; i++) { /* times beyond the end have delta = 0 and are not stored */
                R sum = skip * u[i], push = d[i] * u[i];
#pragma unroll
                for (int n = 0; n < N; n++) {
                    h[n] = power_of_two(d[i] * rate[n]) * h[n] + push * B[first + i][n];
                    sum += C[first + i][n] * h[n];
                }
                int t = t0 + first + i;
                if (p.live && t < s.t_n) IO::template put<R>(y, p.base + (int64_t)t * s.c_n, sum);
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                u[i] = next_u[i];
                d[i] = next_d[i];
            }
        }
    }
}

/* Partial results of the backward pass, and kept states. */
template <class R> struct scan_sums {
    R *kept;    /* [b][segment][n][c]: states before each segment; a thread reads what it wrote itself */
    R *dB, *dC; /* [warp of channels][b][t][n] */
    R *dA, *dD; /* [b][c][n], [b][c] */
};

template <class R, class IO, int N>
__device__ void keep_states(const scan &s, const lane_place &p, const R *rate, R (*B)[N], R *kept) {
    constexpr int SEGMENT = segment_of<N>(), COPIES = copies_of<N>();
    R h[N] = {}, u[SEGMENT], d[SEGMENT];
    int segments = (s.t_n + SEGMENT - 1) / SEGMENT;
    load_times<R, IO, SEGMENT>(u, s.u, s, p, 0);
    load_times<R, IO, SEGMENT>(d, s.delta, s, p, 0);
    for (int t0 = 0; t0 < s.t_n; t0 += TILE) {
        __syncthreads();
        load_tile<R, N>(B, s.B, s, p.b, t0);
        __syncthreads();
#pragma unroll 1
        for (int first = 0; first < TILE && t0 + first < s.t_n; first += SEGMENT) {
            R next_u[SEGMENT], next_d[SEGMENT];
            int64_t at = ((int64_t)p.b * segments + (t0 + first) / SEGMENT) * s.n_n;
            load_times<R, IO, SEGMENT>(next_u, s.u, s, p, t0 + first + SEGMENT);
            load_times<R, IO, SEGMENT>(next_d, s.delta, s, p, t0 + first + SEGMENT);
#pragma unroll
            for (int n = 0; n < N; n++)
                if (p.live && n < s.n_n) kept[(at + n) * s.c_n + p.c] = h[n];
#pragma unroll COPIES
            for (int i = 0; i < SEGMENT; i++) {
#pragma unroll
                for (int n = 0; n < N; n++) h[n] = power_of_two(d[i] * rate[n]) * h[n] + d[i] * u[i] * B[first + i][n];
                u[i] = next_u[i];
                d[i] = next_d[i];
            }
        }
    }
}

/* What the backward pass reads of a segment. */
template <class R, int N, int K> struct scan_segment { R u[K], d[K], slope[K], h[N]; /* h: before it */ };

/* The segment from time t on; zeros where t is negative. */
template <class R, class IO, int N, int K>
__device__ __forceinline__ void load_segment(scan_segment<R, N, K> &to, const scan &s, const lane_place &p, elements g,
                                             const R *kept, int t) {
    int from = t < 0 ? s.t_n : t, segments = (s.t_n + K - 1) / K;
    int64_t at = ((int64_t)p.b * segments + t / K) * s.n_n;
    load_times<R, IO, K>(to.u, s.u, s, p, from);
    load_times<R, IO, K>(to.d, s.delta, s, p, from);
    load_times<R, IO, K>(to.slope, g, s, p, from);
#pragma unroll
    for (int n = 0; n < N; n++) to.h[n] = p.live && t >= 0 && n < s.n_n ? kept[(at + n) * s.c_n + p.c] : (R)0;
}

/* The sum over the warp's lanes of each of V values (a power of two of at most 32): lane l returns that of value
   l / (32 / V). Every exchange, with the lane STEP away, halves the values that a lane still carries. */
template <class R, int V, int STEP = 16> __device__ __forceinline__ R spread_sum(R *v) {
    if constexpr (STEP == 0) {
        return v[0];
    } else if constexpr (V == 1) {
        v[0] += __shfl_xor_sync(0xffffffffu, v[0], STEP);
        return spread_sum<R, 1, STEP / 2>(v);
    } else {
        bool upper = threadIdx.x & STEP;
#pragma unroll
        for (int i = 0; i < V / 2; i++) {
            R keep = upper ? v[i + V / 2] : v[i], give = upper ? v[i] : v[i + V / 2];
            v[i] = keep + __shfl_xor_sync(0xffffffffu, give, STEP);
        }
        return spread_sum<R, V / 2, STEP / 2>(v);
    }
}

/* What runs backward along time. */
template <class R, int N> struct scan_run { R rate[N], dh[N], dA[N], dD, skip; };

/* One time backward, given the state before it and the decays. All lanes of the warp take part. */
template <class R, class IO, int N>
__device__ __forceinline__ void step_back(const scan &s, const lane_place &p, int t, R u, R d, R slope, const R *before,
                                          const R *decay, const R *B, const R *C, elements du, elements dd,
                                          const scan_sums<R> &to, scan_run<R, N> &run) {
    constexpr int GROUP = N < 16 ? N : 16; /* states whose sums are taken together */
    int64_t rows = (int64_t)s.batch * s.t_n, row = (int64_t)p.b * s.t_n + t, warp = p.c / 32;
    R along_B = 0, along_h = 0, push = d * u;
    run.dD += slope * u;
#pragma unroll
    for (int n0 = 0; n0 < N; n0 += GROUP) {
        R v[2 * GROUP];
#pragma unroll
        for (int k = 0; k < GROUP; k++) {
            int n = n0 + k;
            R old = decay[n] * before[n], pull = run.dh[n] + slope * C[n];
            v[k] = pull * push;
            v[GROUP + k] = slope * (old + push * B[n]);
            run.dA[n] += pull * d * old;
            along_B += pull * B[n];
            along_h += pull * run.rate[n] * old;
            run.dh[n] = pull * decay[n];
        }
        R sum = spread_sum<R, 2 * GROUP>(v);
        int share = 32 / (2 * GROUP), value = (threadIdx.x & 31) / share, n = n0 + value % GROUP;
        R *at = value < GROUP ? to.dB : to.dC;
        if (threadIdx.x % share == 0 && n < s.n_n && warp * 32 < s.c_n) at[(warp * rows + row) * s.n_n + n] = sum;
    }
    if (!p.live) return;
    IO::template put<R>(du, p.base + (int64_t)t * s.c_n, slope * run.skip + d * along_B);
    IO::template put<R>(dd, p.base + (int64_t)t * s.c_n, u * along_B + along_h * (R)(1 / LOG2E));
}

template <class R, class IO, int N>
__global__ void __launch_bounds__(CHANNELS)
    scan_backward_kernel(scan s, elements g, elements du, elements dd, scan_sums<R> to) {
    constexpr int SEGMENT = segment_of<N>(), COPIES = copies_of<N>();
    __shared__ __align__(16) R B[TILE][N], C[TILE][N];
    lane_place p = here(s);
    scan_run<R, N> run = {};
    scan_segment<R, N, SEGMENT> next;
    load_rates<R, N>(run.rate, s, p);
    run.skip = p.live ? load<R>(s.D, p.c) : (R)0;
    keep_states<R, IO, N>(s, p, run.rate, B, to.kept);
    load_segment<R, IO, N, SEGMENT>(next, s, p, g, to.kept, (s.t_n - 1) / SEGMENT * SEGMENT);
    for (int t0 = (s.t_n - 1) / TILE * TILE; t0 >= 0; t0 -= TILE) {
        __syncthreads();
        load_tile<R, N>(B, s.B, s, p.b, t0);
        load_tile<R, N>(C, s.C, s, p.b, t0);
        __syncthreads();
#pragma unroll 1
        for (int first = TILE - SEGMENT; first >= 0; first -= SEGMENT) {
            R states[SEGMENT][N], decay[SEGMENT][N];
            if (t0 + first >= s.t_n) continue;
            scan_segment<R, N, SEGMENT> now = next;
            load_segment<R, IO, N, SEGMENT>(next, s, p, g, to.kept, t0 + first - SEGMENT);
#pragma unroll COPIES
            for (int i = 0; i < SEGMENT; i++)
#pragma unroll
                for (int n = 0; n < N; n++) {
                    states[i][n] = now.h[n];
                    decay[i][n] = power_of_two(now.d[i] * run.rate[n]);
                    now.h[n] = decay[i][n] * now.h[n] + now.d[i] * now.u[i] * B[first + i][n];
                }
#pragma unroll COPIES
            for (int i = SEGMENT - 1; i >= 0; i--)
                if (t0 + first + i < s.t_n)
                    step_back<R, IO, N>(s, p, t0 + first + i, now.u[i], now.d[i], now.slope[i], states[i], decay[i],
                                        B[first + i], C[first + i], du, dd, to, run);
        }
    }
    if (!p.live) return;
#pragma unroll
    for (int n = 0; n < N; n++)
        if (n < s.n_n) to.dA[((int64_t)p.b * s.c_n + p.c) * s.n_n + n] = run.dA[n];
    to.dD[(int64_t)p.b * s.c_n + p.c] = run.dD;
}

/* --- calls -----------------------------------------------------------------------------------------------------------
 */

#define TOO_MANY "a selective scan of more than 64 states per channel is not supported on the cuda device"

static dim3 grid_of(const scan &s) { return dim3((unsigned)((s.c_n + CHANNELS - 1) / CHANNELS), (unsigned)s.batch); }

/* The type of u, delta, the gradients and y where it is one, else 0. */
static uint32_t common_type(const gpu_call *call) {
    uint32_t type = call->in[0].dtype;
    bool same = call->in[1].dtype == type && call->out[0].dtype == type;
    if (call->n_out > 1) same = same && call->in[6].dtype == type && call->out[1].dtype == type;
    return same && !gpu_is_wide(call) && (type == AIRA_F32 || type == AIRA_BF16) ? type : 0;
}

template <class R, class IO, int N> static const char *forward_as(const gpu_call *call) {
    scan s = scan_of(call);
    scan_kernel<R, IO, N><<<grid_of(s), CHANNELS, 0, call->stream>>>(s, of(call->out[0]));
    return gpu_launched();
}

static const char *selective_scan(const gpu_call *call) {
    int64_t n = call->in[2].shape.dims[1];
    uint32_t type = common_type(call);
    if (call->out[0].n == 0) return NULL;
    if (n > STATES) return TOO_MANY;
    if (gpu_scan_chunks_takes(call)) return gpu_scan_chunks(call);
    if (gpu_is_wide(call)) return forward_as<double, any_type, STATES>(call);
    if (n > 16) return forward_as<float, any_type, STATES>(call);
    if (type == AIRA_BF16) return forward_as<float, half_type, 16>(call);
    if (type == AIRA_F32)
        return n <= 4 ? forward_as<float, single_type, 4>(call) : forward_as<float, single_type, 16>(call);
    return forward_as<float, any_type, 16>(call);
}

static int64_t warps_of(const scan &s) { return (s.c_n + 31) / 32; }

/* Lays the partial results into the workspace; returns their number of values. segment: at least 4 times. */
template <class R> static size_t lay(const scan &s, R *at, scan_sums<R> *to) {
    size_t kept = (size_t)s.batch * ((s.t_n + 3) / 4) * s.n_n * s.c_n;
    size_t states = (size_t)warps_of(s) * s.batch * s.t_n * s.n_n, rates = (size_t)s.batch * s.c_n * s.n_n;
    *to = {at, at + kept, at + kept + states, at + kept + 2 * states, at + kept + 2 * states + rates};
    return kept + 2 * states + rates + (size_t)s.batch * s.c_n;
}

static size_t backward_bytes(const gpu_call *call) {
    scan_sums<float> to;
    if (gpu_scan_chunks_takes(call)) return gpu_scan_chunks_backward_workspace(call);
    return lay<float>(scan_of(call), NULL, &to) * (gpu_is_wide(call) ? sizeof(double) : sizeof(float));
}

template <class R, class IO, int N> static const char *backward_as(const gpu_call *call) {
    scan s = scan_of(call);
    scan_sums<R> to;
    (void)lay<R>(s, (R *)call->workspace, &to);
    if (call->in[0].n > 0)
        scan_backward_kernel<R, IO, N>
            <<<grid_of(s), CHANNELS, 0, call->stream>>>(s, of(call->in[6]), of(call->out[0]), of(call->out[1]), to);
    int64_t states = (int64_t)s.batch * s.t_n * s.n_n, rates = (int64_t)s.c_n * s.n_n;
    join_plan channels = {states, states, 0, warps_of(s), states, 1, 0};
    join_plan rate = {rates, rates, 0, s.t_n > 0 ? s.batch : 0, rates, 1, 0};
    join_plan skip = {s.c_n, s.c_n, 0, s.t_n > 0 ? s.batch : 0, s.c_n, 1, 0};
    join<R>(of(call->out[2]), to.dA, rate, call->stream);
    join<R>(of(call->out[3]), to.dB, channels, call->stream);
    join<R>(of(call->out[4]), to.dC, channels, call->stream);
    join<R>(of(call->out[5]), to.dD, skip, call->stream);
    return gpu_launched();
}

static const char *scan_backward(const gpu_call *call) {
    int64_t n = call->in[2].shape.dims[1];
    uint32_t type = common_type(call);
    if (n > STATES) return TOO_MANY;
    if (gpu_scan_chunks_takes(call)) return gpu_scan_chunks_backward(call);
    if (gpu_is_wide(call)) return backward_as<double, any_type, STATES>(call);
    if (n > 16) return backward_as<float, any_type, STATES>(call);
    if (type == AIRA_BF16) return backward_as<float, half_type, 16>(call);
    if (type == AIRA_F32)
        return n <= 4 ? backward_as<float, single_type, 4>(call) : backward_as<float, single_type, 16>(call);
    return backward_as<float, any_type, 16>(call);
}

extern "C" const gpu_kernel gpu_scan_kernels[] = {{AIRA_OP_SELECTIVE_SCAN, selective_scan, NULL},
                                                  {AIRA_OP_SELECTIVE_SCAN_BACKWARD, scan_backward, backward_bytes},
                                                  {0, NULL, NULL}};
