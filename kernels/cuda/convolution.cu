/* convolution.cu - causal convolution of every channel with a few taps, forward and backward.
 *
 * Two texts. `strip`: four taps, four neighbouring channels of a strip of times per thread, bf16 or fp32: every operand
 * is read once, in full lines; with GPU_SILU it applies SiLU, and backward its slope. The other: any number of taps and
 * any types, one element per thread. Gradients of taps and biases are sums over times and sequences: partial sums of
 * strips or blocks, then a second kernel.
 */
#include "fast.h"
#include "join.cuh"
#include "vector.cuh"

/* --- four taps ------------------------------------------------------------------------------------------------------
 */

#define STRIP 16 /* times of a thread */
#define SIDES 4  /* most convolutions of a launch */

struct strips {
    int batch, t_n, quads, n; /* quads: groups of four channels; n: strips of a sequence */
    int wide, tall;           /* quads and strips of a block, backward */
    elements w;
};

/* Convolutions side by side: blockIdx.x from first[k] on is member k's. All but quads and w of their strips agree. */
template <class MEMBER> struct side_list {
    MEMBER member[SIDES];
    strips s[SIDES];
    uint32_t first[SIDES + 1];
    int n;
};

template <class MEMBER> __device__ __forceinline__ int side_of(const side_list<MEMBER> &list) {
    int k = 0;
    while (k + 1 < list.n && blockIdx.x >= list.first[k + 1]) k++;
    return k;
}

/* Four channels at time t, zeros outside of the sequence. */
template <class T> __device__ __forceinline__ float4_of load_time(const T *x, int64_t base, int t, const strips &s) {
    return t >= 0 && t < s.t_n ? load4(x + base + (int64_t)t * s.quads * 4) : float4_of{};
}

__device__ __forceinline__ void load_taps(float (*w)[4], const strips &s, int channel) {
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) w[k][j] = load<float>(s.w, (int64_t)(channel + j) * 4 + k);
}

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

/* c: what SiLU is applied to, or NULL; SILU: y is SiLU of it. */
template <class T> struct forward_side {
    T *y, *c;
    const T *x;
    elements bias;
};

template <class T, bool SILU>
__global__ void __launch_bounds__(128) strip_kernel(const __grid_constant__ side_list<forward_side<T>> list) {
    int side = side_of(list);
    const strips s = list.s[side];
    T *y = list.member[side].y, *c = list.member[side].c;
    const T *__restrict__ x = list.member[side].x;
    elements bias = list.member[side].bias;
    int64_t i = (int64_t)(blockIdx.x - list.first[side]) * 128 + threadIdx.x, b = i / s.quads / s.n;
    if (i >= (int64_t)s.batch * s.n * s.quads) return;
    int channel = (int)(i % s.quads) * 4, t0 = (int)(i / s.quads % s.n) * STRIP;
    int64_t base = b * s.t_n * s.quads * 4 + channel;
    float w[4][4], first[4];
    float4_of window[STRIP + 3];
    load_taps(w, s, channel);
#pragma unroll
    for (int j = 0; j < 4; j++) first[j] = load<float>(bias, channel + j);
#pragma unroll
    for (int t = 0; t < STRIP + 3; t++) window[t] = load_time<T>(x, base, t0 + t - 3, s);
#pragma unroll
    for (int t = 0; t < STRIP; t++) {
        float4_of sum, open;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sum.v[j] = first[j];
#pragma unroll
            for (int k = 0; k < 4; k++) sum.v[j] += w[k][j] * window[t + k].v[j];
            open.v[j] = SILU ? sum.v[j] * sigmoid(sum.v[j]) : sum.v[j];
        }
        int64_t at = base + (int64_t)(t0 + t) * s.quads * 4;
        if (t0 + t >= s.t_n) continue;
        store4(y + at, open);
        if (SILU && c) store4(c + at, sum);
    }
}

/* What the gradient reads: g; or c, what SiLU was applied to, and one or two gradients of SiLU's results. */
template <class T> struct slopes { const T *g, *c, *more; };

/* The gradient of the convolution's results at a time, in T. */
template <class T, bool SILU>
__device__ __forceinline__ float4_of slope_at(const slopes<T> &from, int64_t base, int t, const strips &s) {
    float4_of g = load_time<T>(from.g, base, t, s);
    if (!SILU) return g;
    float4_of c = load_time<T>(from.c, base, t, s), more = {};
    if (from.more) more = load_time<T>(from.more, base, t, s);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float open = sigmoid(c.v[j]);
        g.v[j] = (g.v[j] + more.v[j]) * open * (1.0f + c.v[j] * (1.0f - open));
    }
    return g;
}

__device__ __forceinline__ float4_of widened(float4_of x) { return x; }
__device__ __forceinline__ float4_of widened(uint2 x) {
    return {{__uint_as_float(x.x << 16), __uint_as_float(x.x & 0xffff0000u), __uint_as_float(x.y << 16),
             __uint_as_float(x.y & 0xffff0000u)}};
}
__device__ __forceinline__ void narrow(float4_of &to, float4_of x) { to = x; }
__device__ __forceinline__ void narrow(uint2 &to, float4_of x) {
    to = make_uint2(pack2(x.v[0], x.v[1]), pack2(x.v[2], x.v[3]));
}
template <class T> struct kept { typedef float4_of type; };
template <> struct kept<__nv_bfloat16> { typedef uint2 type; };

template <class T> struct backward_side {
    T *dx;
    const T *x;
    slopes<T> from;
    float *sums;
};

/* blockIdx: group of `wide` quads, group of `tall` strips, sequence; thread: quad, then strip. All gradients are read
   before dx is written, so that dx may lie on them where a block holds the sequence. Partial sums: row (sequence, group
   of strips) of sums has [C][4] of the taps, then [C] of the bias. */
template <class T, bool SILU>
__global__ void __launch_bounds__(256, 2)
    strip_backward_kernel(const __grid_constant__ side_list<backward_side<T>> list) {
    __shared__ float part[256][21]; /* taps and bias of every thread's channels: [k][j], then bias[j] */
    typedef typename kept<T>::type K;
    int side = side_of(list), group = (int)(blockIdx.x - list.first[side]);
    const strips s = list.s[side];
    T *dx = list.member[side].dx;
    const T *__restrict__ x = list.member[side].x;
    const slopes<T> from = list.member[side].from;
    int quad = group * s.wide + threadIdx.x % s.wide, strip = blockIdx.y * s.tall + threadIdx.x / s.wide;
    int channel = quad * 4, t0 = strip * STRIP;
    bool live = quad < s.quads && strip < s.n && (int)threadIdx.x < s.wide * s.tall;
    int64_t base = (int64_t)blockIdx.z * s.t_n * s.quads * 4 + channel;
    float w[4][4];
    float4_of xs[4]; /* time t lies at t % 4 */
    K gs[STRIP + 3];
    if (live) {
        load_taps(w, s, channel);
#pragma unroll
        for (int t = 0; t < STRIP + 3; t++) narrow(gs[t], slope_at<T, SILU>(from, base, t0 + t, s));
#pragma unroll
        for (int t = 0; t < 3; t++) xs[(t + 1) % 4] = load_time<T>(x, base, t0 + t - 3, s);
    }
    __syncthreads();
    float taps[4][4] = {}, bias[4] = {};
#pragma unroll
    for (int t = 0; t < STRIP && live; t++) {
        float4_of sum = {}, slope = widened(gs[t]);
        xs[t % 4] = load_time<T>(x, base, t0 + t, s);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            bias[j] += slope.v[j];
#pragma unroll
            for (int k = 0; k < 4; k++) taps[k][j] += slope.v[j] * xs[(t + 1 + k) % 4].v[j];
        }
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float4_of later = widened(gs[t + 3 - k]);
#pragma unroll
            for (int j = 0; j < 4; j++) sum.v[j] += w[k][j] * later.v[j];
        }
        if (t0 + t < s.t_n) store4(dx + base + (int64_t)(t0 + t) * s.quads * 4, sum);
    }
#pragma unroll
    for (int k = 0; k < 20; k++) part[threadIdx.x][k] = k < 16 ? taps[k / 4][k % 4] : bias[k % 4];
    __syncthreads();
    float *row = list.member[side].sums + ((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * s.quads * 20;
    for (int i = threadIdx.x; i < s.wide * 20; i += blockDim.x) {
        int q = group * s.wide + i / 20, k = i % 20, c = q * 4 + k % 4;
        float sum = 0;
        for (int n = 0; n < s.tall; n++) sum += part[n * s.wide + i / 20][k];
        if (q < s.quads) row[k < 16 ? c * 4 + k / 4 : s.quads * 16 + c] = sum;
    }
}

struct end_side {
    elements dw, db;
    const float *sums;
};

/* 32 columns of the partial sums a block. */
__global__ void __launch_bounds__(1024) strip_end_kernel(const __grid_constant__ side_list<end_side> list, int rows) {
    __shared__ float part[32][33];
    int side = side_of(list), c_n = list.s[side].quads * 4, block = (int)(blockIdx.x - list.first[side]);
    const float *sums = list.member[side].sums;
    int lane = threadIdx.x & 31, row = threadIdx.x >> 5, i = block * 32 + lane, columns = c_n * 5;
    float sum = 0;
    if (i < columns)
        for (int r = row; r < rows; r += 32) sum += sums[(int64_t)r * columns + i];
    part[row][lane] = sum;
    __syncthreads();
    sum = warp_sum(part[lane][row]);
    i = block * 32 + row;
    if (lane != 0 || i >= columns) return;
    if (i < c_n * 4)
        store<float>(list.member[side].dw, i, sum);
    else
        store<float>(list.member[side].db, i - c_n * 4, sum);
}

/* How many convolutions the call is, and call number k of them. */
static uint32_t sides_of(const gpu_call *call) {
    if (!(call->merged & GPU_SIDES)) return 1;
    return call->step->op == AIRA_OP_CONV1D_CAUSAL ? call->n_in / 3 : call->n_out / 3;
}
static gpu_call side_call(const gpu_call *call, uint32_t k) {
    gpu_call one = *call;
    one.n_in /= sides_of(call);
    one.n_out /= sides_of(call);
    one.in += k * one.n_in;
    one.out += k * one.n_out;
    one.merged &= ~GPU_SIDES;
    return one;
}

static strips strips_of(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    strips s = {(int)x->dims[0], (int)x->dims[1], (int)(x->dims[2] / 4), (int)((x->dims[1] + STRIP - 1) / STRIP)};
    s.tall = s.n < 64 ? s.n : 64;
    s.wide = 128 / s.tall < 4 ? 4 : 128 / s.tall < 16 ? 128 / s.tall : 16;
    s.w = of(call->in[1]);
    return s;
}

/* big: operands and results of x's shape, which must be of one type and lie on whole quads. */
static bool strips_take(const gpu_call *call, const gpu_view *const *big, int n) {
    const aira_shape *x = &call->in[0].shape;
    bool takes = x->dims[2] % 4 == 0 && call->in[1].shape.dims[1] == 4 && call->in[0].n > 0 && !gpu_is_wide(call);
    for (int k = 0; k < n; k++) {
        takes = takes && big[k]->dtype == big[0]->dtype && (big[k]->dtype == AIRA_F32 || big[k]->dtype == AIRA_BF16);
        takes = takes && aligned4(big[k]->data, (uint32_t)gpu_bytes_of(big[k]->dtype));
    }
    return takes;
}

static bool forward_strips(const gpu_call *call) {
    const gpu_view *big[3] = {&call->in[0], &call->out[0], &call->out[call->n_out - 1]};
    return strips_take(call, big, 3);
}
static bool backward_strips(const gpu_call *call) {
    const gpu_view *big[5] = {&call->in[0], &call->in[2], &call->out[0], &call->in[call->n_in - 1], &call->in[2]};
    if (call->merged & GPU_SILU) big[4] = &call->in[3];
    return call->in[0].shape.dims[0] <= 65535 && strips_take(call, big, 5);
}

static bool takes_side(const gpu_call *call) {
    bool half = call->in[0].dtype == AIRA_BF16;
    if (call->step->op == AIRA_OP_CONV1D_CAUSAL) return half && forward_strips(call);
    strips s = strips_of(call);
    bool replaces = false;
    for (uint32_t k = 2; k < call->n_in; k++) replaces = replaces || call->in[k].data == call->out[0].data;
    return half && backward_strips(call) && (!replaces || s.tall == s.n);
}

bool gpu_conv_takes(const gpu_call *call) {
    uint32_t n = sides_of(call);
    const int64_t *x = call->in[0].shape.dims;
    bool takes = n <= SIDES;
    for (uint32_t k = 0; k < n && takes; k++) {
        gpu_call one = side_call(call, k);
        takes = takes_side(&one) && one.in[0].shape.dims[0] == x[0] && one.in[0].shape.dims[1] == x[1];
    }
    return takes;
}

static unsigned strip_blocks(const strips &s) { return (unsigned)(((int64_t)s.batch * s.n * s.quads + 127) / 128); }

template <class T, bool SILU> static const char *strip_conv(const gpu_call *call) {
    side_list<forward_side<T>> list = {};
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        T *c = one.n_out > 1 ? (T *)one.out[1].data : NULL;
        list.s[k] = strips_of(&one);
        list.member[k] = {(T *)one.out[0].data, c, (const T *)one.in[0].data, of(one.in[2])};
        list.first[k + 1] = list.first[k] + strip_blocks(list.s[k]);
    }
    strip_kernel<T, SILU><<<list.first[list.n], 128, 0, call->stream>>>(list);
    return gpu_launched();
}

static dim3 backward_grid(const strips &s) {
    return dim3((unsigned)((s.quads + s.wide - 1) / s.wide), (unsigned)((s.n + s.tall - 1) / s.tall),
                (unsigned)s.batch);
}

template <class T, bool SILU> static const char *strip_conv_backward(const gpu_call *call) {
    side_list<backward_side<T>> list = {};
    side_list<end_side> ends = {};
    float *sums = (float *)call->workspace;
    dim3 grid;
    list.n = ends.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        strips s = list.s[k] = ends.s[k] = strips_of(&one);
        slopes<T> from = {(const T *)one.in[SILU ? 3 : 2].data};
        if (SILU) from.c = (const T *)one.in[2].data;
        if (one.n_in > 4) from.more = (const T *)one.in[4].data;
        list.member[k] = {(T *)one.out[0].data, (const T *)one.in[0].data, from, sums};
        ends.member[k] = {of(one.out[1]), of(one.out[2]), sums};
        grid = backward_grid(s);
        list.first[k + 1] = list.first[k] + grid.x;
        ends.first[k + 1] = ends.first[k] + (unsigned)(s.quads * 20 + 31) / 32;
        sums += (size_t)grid.y * grid.z * s.quads * 20;
    }
    const strips &s = list.s[0];
    int rows = (int)(grid.y * grid.z);
    grid.x = list.first[list.n];
    strip_backward_kernel<T, SILU><<<grid, (unsigned)(s.wide * s.tall + 31) / 32 * 32, 0, call->stream>>>(list);
    strip_end_kernel<<<ends.first[ends.n], 1024, 0, call->stream>>>(ends, rows);
    return gpu_launched();
}

/* --- any number of taps ---------------------------------------------------------------------------------------------
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
    if (call->merged & GPU_SILU) return strip_conv<__nv_bfloat16, true>(call);
    if (forward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv<float, false>(call) : strip_conv<__nv_bfloat16, false>(call);
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
    if (call->merged & GPU_SILU || backward_strips(call)) {
        size_t bytes = 0;
        for (uint32_t k = 0; k < sides_of(call); k++) {
            gpu_call one = side_call(call, k);
            strips s = strips_of(&one);
            dim3 grid = backward_grid(s);
            bytes += (size_t)grid.y * grid.z * s.quads * 20 * sizeof(float);
        }
        return bytes;
    }
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
    if (call->merged & GPU_SILU) return strip_conv_backward<__nv_bfloat16, true>(call);
    if (backward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv_backward<float, false>(call)
                                             : strip_conv_backward<__nv_bfloat16, false>(call);
    return gpu_is_wide(call) ? conv_backward_as<double>(call) : conv_backward_as<float>(call);
}

extern "C" const gpu_kernel gpu_convolution_kernels[] = {
    {AIRA_OP_CONV1D_CAUSAL, conv, NULL},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, conv_backward, conv_backward_workspace},
    {0, NULL, NULL}};
