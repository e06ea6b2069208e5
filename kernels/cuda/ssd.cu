/* ssd.cu - Mamba-2's recurrence and its gradient, any shape of up to 256 states and any element type.
 *
 * h[p,n] = exp(dt A) h[p,n] + dt B[n] x[p]; y[p] = sum_n C[n] h[p,n] + D x[p], as it is written, along time: one warp
 * owns one p of one head, its lanes own n = lane + 32 k. The backward pass keeps the states before every SEGMENT times,
 * recomputes those of a segment, and walks back. Sums over p, heads and sequences go through partial sums (join.cuh).
 */
#include "join.cuh"
#include "ssd.cuh"

#define ROWS 16    /* warps of a block: values of p */
#define SEGMENT 16 /* times between two kept states */
#define STATES 256 /* largest N */

__device__ static float exponential(float x) { return expf(x); }
__device__ static double exponential(double x) { return exp(x); }

/* Where a warp stands. */
struct place {
    int lane, warp, p, h, b;
    bool live; /* p is one of P; else the warp only takes part in sums over the block, with zeros */
};

__device__ static place here(const ssd &s) {
    place w;
    w.lane = threadIdx.x & 31;
    w.warp = threadIdx.x >> 5;
    w.p = blockIdx.x * ROWS + w.warp;
    w.h = blockIdx.y;
    w.b = blockIdx.z;
    w.live = w.p < s.p_n;
    return w;
}

/* What the recurrence reads at one time. */
template <class R, int K> struct moment {
    R dt, x, decay, B[K];
};

template <class R, int K> __device__ __forceinline__ moment<R, K> moment_of(const ssd &s, const place &w, int t, R a) {
    moment<R, K> m;
    int64_t row = ((int64_t)w.b * s.t_n + t) * s.h_n + w.h;
    int64_t state = (((int64_t)w.b * s.t_n + t) * s.g_n + (int64_t)w.h * s.g_n / s.h_n) * s.n_n;
    m.dt = load<R>(s.dt, row);
    m.x = w.live ? load<R>(s.x, row * s.p_n + w.p) : (R)0;
    m.decay = exponential(m.dt * a);
#pragma unroll
    for (int k = 0; k < K; k++) {
        int n = w.lane + 32 * k;
        m.B[k] = n < s.n_n ? load<R>(s.B, state + n) : (R)0;
    }
    return m;
}

template <class R, int K> __device__ __forceinline__ void advance(R *h, const moment<R, K> &m) {
    R push = m.dt * m.x;
#pragma unroll
    for (int k = 0; k < K; k++) h[k] = m.decay * h[k] + push * m.B[k];
}

template <class R, int K> __device__ __forceinline__ void load_C(R *c, const ssd &s, const place &w, int t) {
    int64_t state = (((int64_t)w.b * s.t_n + t) * s.g_n + (int64_t)w.h * s.g_n / s.h_n) * s.n_n;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int n = w.lane + 32 * k;
        c[k] = n < s.n_n ? load<R>(s.C, state + n) : (R)0;
    }
}

template <class R, int K> __global__ void __launch_bounds__(ROWS * 32) ssd_kernel(ssd s, elements y) {
    place w = here(s);
    if (!w.live) return;
    R a = load<R>(s.A, w.h), skip = load<R>(s.D, w.h), h[K] = {}, c[K];
    for (int t = 0; t < s.t_n; t++) {
        moment<R, K> m = moment_of<R, K>(s, w, t, a);
        R sum = 0;
        advance<R, K>(h, m);
        load_C<R, K>(c, s, w, t);
#pragma unroll
        for (int k = 0; k < K; k++) sum += c[k] * h[k];
        sum = warp_sum(sum);
        if (w.lane == 0) store<R>(y, (((int64_t)w.b * s.t_n + t) * s.h_n + w.h) * s.p_n + w.p, sum + skip * m.x);
    }
}

/* Partial results of the backward pass. */
template <class R> struct ssd_sums {
    R *kept;   /* [b][h][p][segment][n]: states before each segment */
    R *dt;     /* [b][t][h][p] */
    R *dB, *dC; /* [tile of p][b][t][h][n] */
    R *dA, *dD; /* [b][h][p] */
};

/* to[n] = sum over the block's warps of mine[k], n = lane + 32 k. All threads of the block take part. */
template <class R, int K> __device__ void put_rows(R *to, const R *mine, int n_n, R (*spare)[32 * K]) {
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
#pragma unroll
    for (int k = 0; k < K; k++) spare[warp][lane + 32 * k] = mine[k];
    __syncthreads();
    for (int n = threadIdx.x; n < n_n; n += ROWS * 32) {
        R sum = 0;
        for (int row = 0; row < ROWS; row++) sum += spare[row][n];
        to[n] = sum;
    }
    __syncthreads();
}

/* The states before every segment. */
template <class R, int K> __device__ void keep_states(const ssd &s, const place &w, R a, R *kept) {
    R h[K] = {};
    for (int t = 0; t < s.t_n; t++) {
        if (t % SEGMENT == 0) {
#pragma unroll
            for (int k = 0; k < K; k++)
                if (w.lane + 32 * k < s.n_n) kept[(int64_t)(t / SEGMENT) * s.n_n + w.lane + 32 * k] = h[k];
        }
        advance<R, K>(h, moment_of<R, K>(s, w, t, a));
    }
}

/* What runs backward along time. */
template <class R, int K> struct backward {
    R dh[K], dA, dD;
};

/* One time backward; before: the states before it. */
template <class R, int K>
__device__ void step_back(const ssd &s, const place &w, int t, elements g, elements dx, const ssd_sums<R> &to,
                          const R *before, R a, R skip, backward<R, K> &run, R (*spare)[32 * K]) {
    moment<R, K> m = moment_of<R, K>(s, w, t, a);
    int64_t row = ((int64_t)w.b * s.t_n + t) * s.h_n + w.h, rows = (int64_t)s.batch * s.t_n * s.h_n;
    R slope = w.live ? load<R>(g, row * s.p_n + w.p) : (R)0, c[K], dB[K], dC[K], along_B = 0, along_h = 0;
    load_C<R, K>(c, s, w, t);
#pragma unroll
    for (int k = 0; k < K; k++) {
        R old = m.decay * before[k], pull = run.dh[k] + slope * c[k];
        dC[k] = slope * (old + m.dt * m.x * m.B[k]);
        dB[k] = pull * m.dt * m.x;
        along_B += pull * m.B[k];
        along_h += pull * old;
        run.dh[k] = pull * m.decay;
    }
    along_B = warp_sum(along_B);
    along_h = warp_sum(along_h);
    run.dA += m.dt * along_h;
    run.dD += slope * m.x;
    if (w.live && w.lane == 0) {
        store<R>(dx, row * s.p_n + w.p, m.dt * along_B + skip * slope);
        to.dt[row * s.p_n + w.p] = m.x * along_B + a * along_h;
    }
    put_rows<R, K>(to.dB + (blockIdx.x * rows + row) * s.n_n, dB, s.n_n, spare);
    put_rows<R, K>(to.dC + (blockIdx.x * rows + row) * s.n_n, dC, s.n_n, spare);
}

template <class R, int K>
__global__ void __launch_bounds__(ROWS * 32) ssd_backward_kernel(ssd s, elements g, elements dx, ssd_sums<R> to) {
    __shared__ R spare[ROWS][32 * K];
    place w = here(s);
    int segments = (s.t_n + SEGMENT - 1) / SEGMENT;
    int64_t line = ((int64_t)w.b * s.h_n + w.h) * s.p_n + w.p;
    R a = load<R>(s.A, w.h), skip = load<R>(s.D, w.h), *kept = to.kept + line * segments * s.n_n;
    R states[SEGMENT][K];
    backward<R, K> run = {};
    if (w.live) keep_states<R, K>(s, w, a, kept);
    for (int segment = segments - 1; segment >= 0; segment--) {
        int from = segment * SEGMENT, n = min(SEGMENT, s.t_n - from);
        R h[K];
#pragma unroll
        for (int k = 0; k < K; k++) /* a lane reads what it wrote itself */
            h[k] = w.live && w.lane + 32 * k < s.n_n ? kept[(int64_t)segment * s.n_n + w.lane + 32 * k] : (R)0;
#pragma unroll
        for (int i = 0; i < SEGMENT; i++) {
#pragma unroll
            for (int k = 0; k < K; k++) states[i][k] = h[k];
            if (i < n) advance<R, K>(h, moment_of<R, K>(s, w, from + i, a));
        }
#pragma unroll
        for (int i = SEGMENT - 1; i >= 0; i--)
            if (i < n) step_back<R, K>(s, w, from + i, g, dx, to, states[i], a, skip, run, spare);
    }
    if (!w.live || w.lane != 0) return;
    to.dA[line] = run.dA;
    to.dD[line] = run.dD;
}

/* --- calls ----------------------------------------------------------------------------------------------------------- */

static int64_t tiles_of(const ssd &s) { return (s.p_n + ROWS - 1) / ROWS; }
static dim3 grid_of(const ssd &s) { return dim3((unsigned)tiles_of(s), (unsigned)s.h_n, (unsigned)s.batch); }

#define TOO_MANY "an SSD of more than 256 states is not supported on the cuda device"

template <class R> static const char *forward_as(const gpu_call *call) {
    ssd s = ssd_of(call);
    elements y = of(call->out[0]);
    if (s.n_n <= 32)
        ssd_kernel<R, 1><<<grid_of(s), ROWS * 32, 0, call->stream>>>(s, y);
    else if (s.n_n <= 64)
        ssd_kernel<R, 2><<<grid_of(s), ROWS * 32, 0, call->stream>>>(s, y);
    else if (s.n_n <= 128)
        ssd_kernel<R, 4><<<grid_of(s), ROWS * 32, 0, call->stream>>>(s, y);
    else
        ssd_kernel<R, 8><<<grid_of(s), ROWS * 32, 0, call->stream>>>(s, y);
    return gpu_launched();
}

static const char *forward(const gpu_call *call) {
    if (call->out[0].n == 0) return NULL;
    if (call->in[3].shape.dims[3] > STATES) return TOO_MANY;
    if (ssd_tensor_takes(call)) return ssd_tensor_forward(call);
    return gpu_is_wide(call) ? forward_as<double>(call) : forward_as<float>(call);
}

static size_t forward_bytes(const gpu_call *call) { return ssd_tensor_takes(call) ? ssd_tensor_forward_bytes(call) : 0; }

/* Lays the partial results into the workspace; returns their number of values. */
template <class R> static size_t lay(const ssd &s, R *at, ssd_sums<R> *to) {
    size_t lines = (size_t)s.batch * s.h_n * s.p_n, segments = (s.t_n + SEGMENT - 1) / SEGMENT;
    size_t states = (size_t)tiles_of(s) * s.batch * s.t_n * s.h_n * s.n_n, kept = lines * segments * s.n_n;
    *to = {at, at + kept, at + kept + lines * s.t_n, NULL, NULL, NULL};
    to->dC = to->dB + states;
    to->dA = to->dC + states;
    to->dD = to->dA + lines;
    return kept + lines * s.t_n + 2 * states + 2 * lines;
}

static size_t backward_bytes(const gpu_call *call) {
    ssd s = ssd_of(call);
    ssd_sums<float> to;
    if (ssd_tensor_takes(call)) return ssd_tensor_backward_bytes(call);
    return lay<float>(s, NULL, &to) * (gpu_is_wide(call) ? sizeof(double) : sizeof(float));
}

template <class R, int K> static const char *backward_as(const gpu_call *call) {
    ssd s = ssd_of(call);
    ssd_sums<R> to;
    (void)lay<R>(s, (R *)call->workspace, &to);
    if (call->in[0].n > 0)
        ssd_backward_kernel<R, K><<<grid_of(s), ROWS * 32, 0, call->stream>>>(s, of(call->in[6]), of(call->out[0]), to);
    int64_t rows = (int64_t)s.batch * s.t_n, P = s.p_n, H = s.h_n, N = s.n_n, per = H / s.g_n;
    join_plan steps = {rows * H, 1, P, 1, 0, P, 1};
    join_plan states = {rows * s.g_n * N, N, per * N, tiles_of(s), rows * H * N, per, N};
    join_plan heads = {H, 1, P, s.batch, H * P, P, 1};
    join<R>(of(call->out[1]), to.dt, steps, call->stream);
    join<R>(of(call->out[2]), to.dA, heads, call->stream);
    join<R>(of(call->out[3]), to.dB, states, call->stream);
    join<R>(of(call->out[4]), to.dC, states, call->stream);
    join<R>(of(call->out[5]), to.dD, heads, call->stream);
    return gpu_launched();
}

template <class R> static const char *backward_any(const gpu_call *call) {
    int64_t n = call->in[3].shape.dims[3];
    if (n <= 32) return backward_as<R, 1>(call);
    if (n <= 64) return backward_as<R, 2>(call);
    return n <= 128 ? backward_as<R, 4>(call) : backward_as<R, 8>(call);
}

static const char *backward_call(const gpu_call *call) {
    if (call->in[3].shape.dims[3] > STATES) return TOO_MANY;
    if (ssd_tensor_takes(call)) return ssd_tensor_backward(call);
    return gpu_is_wide(call) ? backward_any<double>(call) : backward_any<float>(call);
}

extern "C" const gpu_kernel gpu_ssd_kernels[] = {{AIRA_OP_SSD, forward, forward_bytes},
                                                 {AIRA_OP_SSD_BACKWARD, backward_call, backward_bytes},
                                                 {0, NULL, NULL}};
