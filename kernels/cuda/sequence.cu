/* sequence.cu - causal convolution and Mamba-1's scan along time, forward and backward.
 *
 * One thread owns one channel of one sequence and walks along time; neighbouring threads own neighbouring channels, so
 * every step of a warp reads memory in full lines. Gradients that are sums over channels or sequences go through
 * partial sums of fixed groups, which a second kernel adds in order.
 */
#include "element.cuh"

/* --- convolution -----------------------------------------------------------------------------------------------------
 */

template <class R>
__global__ void conv_kernel(elements y, elements x, elements w, elements bias, int64_t n, int t_n, int c_n, int taps) {
    EACH(i, n) {
        int c = (int)(i % c_n), t = (int)(i / c_n % t_n);
        R sum = load<R>(bias, c);
        for (int k = 0; k < taps; k++) {
            int back = taps - 1 - k;
            if (t >= back) sum += load<R>(w, (int64_t)c * taps + k) * load<R>(x, i - (int64_t)back * c_n);
        }
        store<R>(y, i, sum);
    }
}

static const char *conv(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    int64_t n = call->in[0].n;
    int t_n = (int)x->dims[1], c_n = (int)x->dims[2], taps = (int)call->in[1].shape.dims[1];
    unsigned blocks = blocks_for(n, 256);
    if (n == 0) return NULL;
    if (gpu_is_wide(call))
        conv_kernel<double><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), of(call->in[0]), of(call->in[1]),
                                                              of(call->in[2]), n, t_n, c_n, taps);
    else
        conv_kernel<float><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), of(call->in[0]), of(call->in[1]),
                                                             of(call->in[2]), n, t_n, c_n, taps);
    return gpu_launched();
}

template <class R>
__global__ void conv_dx_kernel(elements dx, elements w, elements g, int64_t n, int t_n, int c_n, int taps) {
    EACH(i, n) {
        int c = (int)(i % c_n), t = (int)(i / c_n % t_n);
        R sum = 0;
        for (int k = 0; k < taps; k++) {
            int ahead = taps - 1 - k;
            if (t + ahead < t_n) sum += load<R>(w, (int64_t)c * taps + k) * load<R>(g, i + (int64_t)ahead * c_n);
        }
        store<R>(dx, i, sum);
    }
}

/* partial[b][taps + 1][c]: sums over the times of one sequence; row `taps` is the bias */
template <class R> __global__ void conv_dw_kernel(R *partial, elements x, elements g, int t_n, int c_n, int taps) {
    int c = blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y, k = blockIdx.z;
    int64_t base = (int64_t)b * t_n * c_n + c;
    if (c >= c_n) return;
    R sum = 0;
    int back = taps - 1 - k;
    for (int t = k == taps ? 0 : back; t < t_n; t++) {
        R slope = load<R>(g, base + (int64_t)t * c_n);
        sum += k == taps ? slope : slope * load<R>(x, base + (int64_t)(t - back) * c_n);
    }
    partial[((int64_t)b * (taps + 1) + k) * c_n + c] = sum;
}

template <class R>
__global__ void conv_join_kernel(elements dw, elements db, const R *partial, int batch, int c_n, int taps) {
    EACH(i, (int64_t)(taps + 1) * c_n) {
        R sum = 0;
        for (int64_t b = 0; b < batch; b++) sum += partial[b * (taps + 1) * c_n + i];
        int64_t k = i / c_n, c = i % c_n;
        if (k == taps)
            store<R>(db, c, sum);
        else
            store<R>(dw, c * taps + k, sum);
    }
}

static size_t conv_backward_workspace(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    return (size_t)(x->dims[0] * (call->in[1].shape.dims[1] + 1) * x->dims[2]) * sizeof(double);
}

template <class R> static const char *conv_backward_as(const gpu_call *call) {
    const aira_shape *shape = &call->in[0].shape;
    int batch = (int)shape->dims[0], t_n = (int)shape->dims[1], c_n = (int)shape->dims[2];
    int taps = (int)call->in[1].shape.dims[1];
    int64_t n = call->in[0].n;
    elements x = of(call->in[0]), w = of(call->in[1]), g = of(call->in[2]);
    R *partial = (R *)call->workspace;
    if (n > 0) {
        conv_dx_kernel<R><<<blocks_for(n, 256), 256, 0, call->stream>>>(of(call->out[0]), w, g, n, t_n, c_n, taps);
        dim3 grid((unsigned)((c_n + 63) / 64), (unsigned)batch, (unsigned)(taps + 1));
        conv_dw_kernel<R><<<grid, 64, 0, call->stream>>>(partial, x, g, t_n, c_n, taps);
    }
    conv_join_kernel<R><<<blocks_for((int64_t)(taps + 1) * c_n, 128), 128, 0, call->stream>>>(
        of(call->out[1]), of(call->out[2]), partial, n > 0 ? batch : 0, c_n, taps);
    return gpu_launched();
}

static const char *conv_backward(const gpu_call *call) {
    return gpu_is_wide(call) ? conv_backward_as<double>(call) : conv_backward_as<float>(call);
}

/* --- Mamba-1's scan
 * --------------------------------------------------------------------------------------------------- */

#define STATES 64   /* most states per channel */
#define CHANNELS 64 /* threads of a block */
#define SEGMENT 16  /* times between two kept states in the backward pass */

struct scan {
    int t_n, c_n, n_n;
    elements u, delta, A, B, C, D;
};

static scan scan_of(const gpu_call *call) {
    scan s = {};
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

__device__ static float exponential(float x) { return expf(x); }
__device__ static double exponential(double x) { return exp(x); }

/* N: most states, so that they stay in registers where few. */
template <class R, int N> __global__ void scan_kernel(scan s, elements y) {
    int c = blockIdx.x * CHANNELS + threadIdx.x, b = blockIdx.y;
    R a[N], h[N];
    if (c >= s.c_n) return;
#pragma unroll
    for (int n = 0; n < N; n++) {
        a[n] = n < s.n_n ? load<R>(s.A, (int64_t)c * s.n_n + n) : (R)0;
        h[n] = 0;
    }
    R skip = load<R>(s.D, c);
    for (int t = 0; t < s.t_n; t++) {
        int64_t at = ((int64_t)b * s.t_n + t) * s.c_n + c, state = ((int64_t)b * s.t_n + t) * s.n_n;
        R u = load<R>(s.u, at), d = load<R>(s.delta, at), sum = skip * u;
#pragma unroll
        for (int n = 0; n < N; n++) {
            if (n >= s.n_n) break;
            h[n] = exponential(d * a[n]) * h[n] + d * load<R>(s.B, state + n) * u;
            sum += load<R>(s.C, state + n) * h[n];
        }
        store<R>(y, at, sum);
    }
}

#define TOO_MANY "a selective scan of more than 64 states per channel is not supported on the cuda device"

static const char *selective_scan(const gpu_call *call) {
    scan s = scan_of(call);
    dim3 grid((unsigned)((s.c_n + CHANNELS - 1) / CHANNELS), (unsigned)call->in[0].shape.dims[0]);
    elements y = of(call->out[0]);
    if (call->out[0].n == 0) return NULL;
    if (s.n_n > STATES) return TOO_MANY;
    if (gpu_is_wide(call))
        scan_kernel<double, STATES><<<grid, CHANNELS, 0, call->stream>>>(s, y);
    else if (s.n_n <= 4)
        scan_kernel<float, 4><<<grid, CHANNELS, 0, call->stream>>>(s, y);
    else if (s.n_n <= 16)
        scan_kernel<float, 16><<<grid, CHANNELS, 0, call->stream>>>(s, y);
    else
        scan_kernel<float, STATES><<<grid, CHANNELS, 0, call->stream>>>(s, y);
    return gpu_launched();
}

/* kept[b][segment][n][c]: the states before each segment */
template <class R, int N> __global__ void scan_keep_kernel(scan s, R *kept) {
    int c = blockIdx.x * CHANNELS + threadIdx.x, b = blockIdx.y, segments = (s.t_n + SEGMENT - 1) / SEGMENT;
    R a[N], h[N];
    if (c >= s.c_n) return;
#pragma unroll
    for (int n = 0; n < N; n++) {
        a[n] = n < s.n_n ? load<R>(s.A, (int64_t)c * s.n_n + n) : (R)0;
        h[n] = 0;
    }
    for (int t = 0; t < s.t_n; t++) {
        int64_t at = ((int64_t)b * s.t_n + t) * s.c_n + c, state = ((int64_t)b * s.t_n + t) * s.n_n;
        R u = load<R>(s.u, at), d = load<R>(s.delta, at);
#pragma unroll
        for (int n = 0; n < N; n++) {
            if (n >= s.n_n) break;
            if (t % SEGMENT == 0) kept[(((int64_t)b * segments + t / SEGMENT) * s.n_n + n) * s.c_n + c] = h[n];
            h[n] = exponential(d * a[n]) * h[n] + d * load<R>(s.B, state + n) * u;
        }
    }
}

/* Where a backward scan puts what is summed over channels (by blocks) or over sequences. */
template <class R> struct scan_sums {
    R *dB, *dC; /* [block of channels][b, t, n] */
    R *dA, *dD; /* [b][c, n], [b][c] */
};

/* Sum over the block's channels, in the order of the tree; thread 0 of the block stores. CHANNELS is two warps. */
template <class R> __device__ void put_channels(R *to, R v, R *spare) {
    v = warp_sum(v);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) spare[threadIdx.x >> 5] = v;
    __syncthreads();
    if (threadIdx.x == 0) *to = spare[0] + spare[1];
}

/* One segment backward; states holds those before each of its times. All threads of the block take part. */
template <class R, int N>
__device__ void scan_segment(const scan &s, elements g, elements du, elements ddelta, const scan_sums<R> &sums, int b,
                             int c, int from, int to, const R (*states)[N], const R *a, R *dh, R *dA, R *dD, R skip,
                             R *spare) {
    bool live = c < s.c_n;
    int64_t all = (int64_t)gridDim.y * s.t_n * s.n_n, block = blockIdx.x;
    for (int t = to - 1; t >= from; t--) {
        int64_t at = ((int64_t)b * s.t_n + t) * s.c_n + c, state = ((int64_t)b * s.t_n + t) * s.n_n;
        R d = live ? load<R>(s.delta, at) : (R)0, u = live ? load<R>(s.u, at) : (R)0;
        R slope = live ? load<R>(g, at) : (R)0, u_sum = slope * skip, d_sum = 0;
        *dD += slope * u;
        for (int n = 0; n < N && n < s.n_n; n++) {
            R b_n = load<R>(s.B, state + n), before = states[t - from][n], decay = exponential(d * a[n]);
            R now = decay * before + d * b_n * u, pull = dh[n] + slope * load<R>(s.C, state + n);
            put_channels<R>(sums.dC + block * all + state + n, slope * now, spare);
            put_channels<R>(sums.dB + block * all + state + n, pull * d * u, spare);
            dA[n] += pull * d * decay * before;
            u_sum += pull * d * b_n;
            d_sum += pull * (b_n * u + a[n] * decay * before);
            dh[n] = pull * decay;
        }
        if (live) {
            store<R>(du, at, u_sum);
            store<R>(ddelta, at, d_sum);
        }
    }
}

template <class R, int N>
__global__ void scan_backward_kernel(scan s, elements g, const R *kept, elements du, elements ddelta,
                                     scan_sums<R> sums) {
    __shared__ R spare[2];
    int c = blockIdx.x * CHANNELS + threadIdx.x, b = blockIdx.y, segments = (s.t_n + SEGMENT - 1) / SEGMENT;
    bool live = c < s.c_n;
    R a[N], dh[N], dA[N], dD = 0, skip = live ? load<R>(s.D, c) : (R)0;
    R states[SEGMENT][N];
    for (int n = 0; n < N; n++) {
        a[n] = live && n < s.n_n ? load<R>(s.A, (int64_t)c * s.n_n + n) : (R)0;
        dh[n] = dA[n] = 0;
    }
    for (int segment = segments - 1; segment >= 0; segment--) {
        int from = segment * SEGMENT, to = min(s.t_n, from + SEGMENT);
        for (int n = 0; n < N && n < s.n_n; n++) {
            R h = live ? kept[(((int64_t)b * segments + segment) * s.n_n + n) * s.c_n + c] : (R)0;
            for (int t = from; t < to; t++) {
                int64_t at = ((int64_t)b * s.t_n + t) * s.c_n + c, state = ((int64_t)b * s.t_n + t) * s.n_n;
                R d = live ? load<R>(s.delta, at) : (R)0, u = live ? load<R>(s.u, at) : (R)0;
                states[t - from][n] = h;
                h = exponential(d * a[n]) * h + d * load<R>(s.B, state + n) * u;
            }
        }
        scan_segment<R, N>(s, g, du, ddelta, sums, b, c, from, to, states, a, dh, dA, &dD, skip, spare);
    }
    if (!live) return;
    for (int n = 0; n < N && n < s.n_n; n++) sums.dA[((int64_t)b * s.c_n + c) * s.n_n + n] = dA[n];
    sums.dD[(int64_t)b * s.c_n + c] = dD;
}

/* to[i] = sum over k of partial[k][i], in order */
template <class R> __global__ void join_kernel(elements to, const R *partial, int64_t parts, int64_t n) {
    EACH(i, n) {
        R sum = 0;
        for (int64_t k = 0; k < parts; k++) sum += partial[k * n + i];
        store<R>(to, i, sum);
    }
}

static size_t scan_values(const gpu_call *call) {
    const aira_shape *u = &call->in[0].shape;
    int64_t n_n = call->in[2].shape.dims[1], blocks = (u->dims[2] + CHANNELS - 1) / CHANNELS;
    int64_t segments = (u->dims[1] + SEGMENT - 1) / SEGMENT;
    return (size_t)(u->dims[0] *
                    (segments * n_n * u->dims[2] + 2 * blocks * u->dims[1] * n_n + u->dims[2] * (n_n + 1)));
}

static size_t scan_backward_workspace(const gpu_call *call) {
    return scan_values(call) * (gpu_is_wide(call) ? sizeof(double) : sizeof(float));
}

template <class R, int N> static const char *scan_backward_as(const gpu_call *call) {
    scan s = scan_of(call);
    int64_t batch = call->in[0].shape.dims[0], blocks = (s.c_n + CHANNELS - 1) / CHANNELS;
    int64_t segments = (s.t_n + SEGMENT - 1) / SEGMENT, states = batch * s.t_n * s.n_n;
    R *kept = (R *)call->workspace;
    scan_sums<R> sums;
    sums.dB = kept + batch * segments * s.n_n * s.c_n;
    sums.dC = sums.dB + blocks * states;
    sums.dA = sums.dC + blocks * states;
    sums.dD = sums.dA + batch * s.c_n * s.n_n;
    dim3 grid((unsigned)blocks, (unsigned)batch);
    scan_keep_kernel<R, N><<<grid, CHANNELS, 0, call->stream>>>(s, kept);
    scan_backward_kernel<R, N>
        <<<grid, CHANNELS, 0, call->stream>>>(s, of(call->in[6]), kept, of(call->out[0]), of(call->out[1]), sums);
    int64_t a_n = (int64_t)s.c_n * s.n_n;
    join_kernel<R><<<blocks_for(a_n, 128), 128, 0, call->stream>>>(of(call->out[2]), sums.dA, batch, a_n);
    join_kernel<R><<<blocks_for(states, 128), 128, 0, call->stream>>>(of(call->out[3]), sums.dB, blocks, states);
    join_kernel<R><<<blocks_for(states, 128), 128, 0, call->stream>>>(of(call->out[4]), sums.dC, blocks, states);
    join_kernel<R><<<blocks_for(s.c_n, 128), 128, 0, call->stream>>>(of(call->out[5]), sums.dD, batch, s.c_n);
    return gpu_launched();
}

static const char *scan_backward(const gpu_call *call) {
    int64_t n_n = call->in[2].shape.dims[1];
    if (call->in[0].n == 0) return NULL;
    if (n_n > STATES) return TOO_MANY;
    if (gpu_is_wide(call)) return scan_backward_as<double, STATES>(call);
    if (n_n <= 4) return scan_backward_as<float, 4>(call);
    return n_n <= 16 ? scan_backward_as<float, 16>(call) : scan_backward_as<float, STATES>(call);
}

extern "C" const gpu_kernel gpu_sequence_kernels[] = {
    {AIRA_OP_CONV1D_CAUSAL, conv, NULL},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, conv_backward, conv_backward_workspace},
    {AIRA_OP_SELECTIVE_SCAN, selective_scan, NULL},
    {AIRA_OP_SELECTIVE_SCAN_BACKWARD, scan_backward, scan_backward_workspace},
    {0, NULL, NULL}};
