/* convolution.cu - causal convolution of every channel with a few taps, forward and backward.
 *
 * Two texts. `strip`: four taps, four neighbouring channels of a strip of times per thread, bf16 or fp32: every operand
 * is read once, in full lines. The other: any number of taps and any types, one element per thread. Gradients of taps
 * and biases are sums over times and sequences: partial sums of strips, then join.cuh.
 */
#include "join.cuh"

/* --- four taps ------------------------------------------------------------------------------------------------------ */

#define STRIP 16 /* times of a thread */

struct strips {
    int batch, t_n, quads, n; /* quads: groups of four channels; n: strips of a sequence */
    elements w;
};

template <class T> __device__ __forceinline__ void load_four(float *to, const T *from);
template <> __device__ __forceinline__ void load_four<float>(float *to, const float *from) {
    float4 v = *(const float4 *)from;
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
template <> __device__ __forceinline__ void load_four<__nv_bfloat16>(float *to, const __nv_bfloat16 *from) {
    uint2 bits = *(const uint2 *)from;
    to[0] = __uint_as_float(bits.x << 16), to[1] = __uint_as_float(bits.x & 0xffff0000u);
    to[2] = __uint_as_float(bits.y << 16), to[3] = __uint_as_float(bits.y & 0xffff0000u);
}
template <class T> __device__ __forceinline__ void store_four(T *to, const float *from);
template <> __device__ __forceinline__ void store_four<float>(float *to, const float *from) {
    *(float4 *)to = make_float4(from[0], from[1], from[2], from[3]);
}
template <> __device__ __forceinline__ void store_four<__nv_bfloat16>(__nv_bfloat16 *to, const float *from) {
    __nv_bfloat162 v[2] = {__floats2bfloat162_rn(from[0], from[1]), __floats2bfloat162_rn(from[2], from[3])};
    uint2 bits;
    memcpy(&bits, v, sizeof bits);
    *(uint2 *)to = bits;
}

/* Four channels at time t, zeros outside of the sequence. */
template <class T>
__device__ __forceinline__ void load_time(float *to, const T *x, int64_t base, int t, const strips &s) {
    if (t >= 0 && t < s.t_n) {
        load_four<T>(to, x + base + (int64_t)t * s.quads * 4);
    } else {
        to[0] = to[1] = to[2] = to[3] = 0;
    }
}

/* Where thread i works: four channels from `channel` on, times from t0 on. */
struct strip_place {
    int channel, t0;
    int64_t base; /* of the channels at time 0 */
};
__device__ __forceinline__ strip_place strip_of(int64_t i, const strips &s) {
    int64_t b = i / s.quads / s.n;
    strip_place p = {(int)(i % s.quads) * 4, (int)(i / s.quads % s.n) * STRIP, 0};
    p.base = b * s.t_n * s.quads * 4 + p.channel;
    return p;
}

__device__ __forceinline__ void load_taps(float (*w)[4], const strips &s, int channel) {
#pragma unroll
    for (int j = 0; j < 4; j++)
#pragma unroll
        for (int k = 0; k < 4; k++) w[k][j] = load<float>(s.w, (int64_t)(channel + j) * 4 + k);
}

template <class T>
__global__ void __launch_bounds__(128) strip_kernel(T *__restrict__ y, const T *__restrict__ x, elements bias, strips s) {
    int64_t i = (int64_t)blockIdx.x * 128 + threadIdx.x;
    if (i >= (int64_t)s.batch * s.n * s.quads) return;
    strip_place p = strip_of(i, s);
    float w[4][4], first[4], window[STRIP + 3][4];
    load_taps(w, s, p.channel);
#pragma unroll
    for (int j = 0; j < 4; j++) first[j] = load<float>(bias, p.channel + j);
#pragma unroll
    for (int t = 0; t < STRIP + 3; t++) load_time<T>(window[t], x, p.base, p.t0 + t - 3, s);
#pragma unroll
    for (int t = 0; t < STRIP; t++) {
        float sum[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sum[j] = first[j];
#pragma unroll
            for (int k = 0; k < 4; k++) sum[j] += w[k][j] * window[t + k][j];
        }
        if (p.t0 + t < s.t_n) store_four<T>(y + p.base + (int64_t)(p.t0 + t) * s.quads * 4, sum);
    }
}

/* Partial sums: dw[b, strip][c][4], db[b, strip][c]. */
template <class T>
__global__ void __launch_bounds__(128) strip_backward_kernel(T *__restrict__ dx, const T *__restrict__ x,
                                                             const T *__restrict__ g, float *dw, float *db, strips s) {
    int64_t i = (int64_t)blockIdx.x * 128 + threadIdx.x;
    if (i >= (int64_t)s.batch * s.n * s.quads) return;
    strip_place p = strip_of(i, s);
    float w[4][4], xs[4][4], gs[4][4], taps[4][4] = {}, bias[4] = {}; /* time t lies at t % 4 of xs and gs */
    load_taps(w, s, p.channel);
#pragma unroll
    for (int t = 0; t < 3; t++) {
        load_time<T>(xs[(t + 1) % 4], x, p.base, p.t0 + t - 3, s);
        load_time<T>(gs[t], g, p.base, p.t0 + t, s);
    }
#pragma unroll
    for (int t = 0; t < STRIP; t++) {
        float sum[4];
        load_time<T>(xs[t % 4], x, p.base, p.t0 + t, s);
        load_time<T>(gs[(t + 3) % 4], g, p.base, p.t0 + t + 3, s);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float slope = gs[t % 4][j];
            bias[j] += slope;
            sum[j] = 0;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                taps[j][k] += slope * xs[(t + 1 + k) % 4][j];
                sum[j] += w[k][j] * gs[(t + 3 - k) % 4][j];
            }
        }
        if (p.t0 + t < s.t_n) store_four<T>(dx + p.base + (int64_t)(p.t0 + t) * s.quads * 4, sum);
    }
    int64_t row = i / s.quads * s.quads * 4 + p.channel;
#pragma unroll
    for (int j = 0; j < 4; j++) store_four<float>(dw + (row + j) * 4, taps[j]);
    store_four<float>(db + row, bias);
}

static strips strips_of(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    strips s = {(int)x->dims[0], (int)x->dims[1], (int)(x->dims[2] / 4), (int)((x->dims[1] + STRIP - 1) / STRIP)};
    s.w = of(call->in[1]);
    return s;
}

/* big: operands and results of x's shape, which must be of one type and lie on whole quads. */
static bool strips_take(const gpu_call *call, const gpu_view *const *big, int n) {
    const aira_shape *x = &call->in[0].shape;
    bool takes = x->dims[2] % 4 == 0 && call->in[1].shape.dims[1] == 4 && call->in[0].n > 0 && !gpu_is_wide(call);
    for (int k = 0; k < n; k++) {
        takes = takes && big[k]->dtype == big[0]->dtype && (big[k]->dtype == AIRA_F32 || big[k]->dtype == AIRA_BF16);
        takes = takes && (uintptr_t)big[k]->data % (4 * gpu_bytes_of(big[k]->dtype)) == 0;
    }
    return takes;
}

static bool forward_strips(const gpu_call *call) {
    const gpu_view *big[2] = {&call->in[0], &call->out[0]};
    return strips_take(call, big, 2);
}
static bool backward_strips(const gpu_call *call) {
    const gpu_view *big[3] = {&call->in[0], &call->in[2], &call->out[0]};
    return strips_take(call, big, 3);
}

static unsigned strip_blocks(const strips &s) {
    return (unsigned)(((int64_t)s.batch * s.n * s.quads + 127) / 128);
}

template <class T> static const char *strip_conv(const gpu_call *call) {
    strips s = strips_of(call);
    strip_kernel<T><<<strip_blocks(s), 128, 0, call->stream>>>((T *)call->out[0].data, (const T *)call->in[0].data,
                                                               of(call->in[2]), s);
    return gpu_launched();
}

template <class T> static const char *strip_conv_backward(const gpu_call *call) {
    strips s = strips_of(call);
    int64_t rows = (int64_t)s.batch * s.n, c_n = s.quads * 4;
    float *dw = (float *)call->workspace, *db = dw + rows * c_n * 4;
    strip_backward_kernel<T><<<strip_blocks(s), 128, 0, call->stream>>>(
        (T *)call->out[0].data, (const T *)call->in[0].data, (const T *)call->in[2].data, dw, db, s);
    join_plan taps = {c_n * 4, c_n * 4, 0, rows, c_n * 4, 1, 0}, bias = {c_n, c_n, 0, rows, c_n, 1, 0};
    join<float>(of(call->out[1]), dw, taps, call->stream);
    join<float>(of(call->out[2]), db, bias, call->stream);
    return gpu_launched();
}

/* --- any number of taps --------------------------------------------------------------------------------------------- */

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
    if (forward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv<float>(call) : strip_conv<__nv_bfloat16>(call);
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
    if (backward_strips(call)) {
        strips s = strips_of(call);
        return (size_t)s.batch * s.n * s.quads * 4 * 5 * sizeof(float);
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
    if (backward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv_backward<float>(call)
                                             : strip_conv_backward<__nv_bfloat16>(call);
    return gpu_is_wide(call) ? conv_backward_as<double>(call) : conv_backward_as<float>(call);
}

extern "C" const gpu_kernel gpu_convolution_kernels[] = {
    {AIRA_OP_CONV1D_CAUSAL, conv, NULL},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, conv_backward, conv_backward_workspace},
    {0, NULL, NULL}};
