/* convolution.cu - causal convolution of every channel with a few taps, forward and backward.
 *
 * Two texts. `strip`: four taps, neighbouring channels of a strip of times per thread (forward four, bound by bytes;
 * backward two, bound by instructions: strips_backward.cuh), bf16 or fp32; with GPU_SILU it applies SiLU, and backward
 * its slope, for which the convolution is computed again: x is read anyway. What is on its way is kept as it lies in
 * memory. The other: any number of taps and any types, one element per thread. Gradients of taps and biases are sums
 * over times and sequences: partial sums of blocks, which the last of them adds (strip), or a second kernel.
 */
#include "fast.h"
#include "join.cuh"
#include "shared.cuh"
#include "strips_backward.cuh"
#include "tables.h"

/* --- four taps --- */

/* Four elements as they lie in memory. */
template <class T> struct packed { typedef float4 type; };
template <> struct packed<__nv_bfloat16> { typedef uint2 type; };

/* Four elements, zeros where they are not `there`. */
template <class T> __device__ __forceinline__ typename packed<T>::type fetch_if(const T *from, bool there) {
    return there ? fetch4(from) : typename packed<T>::type{};
}

/* w[k].v[j]: tap k of channel j, times scale. */
__device__ __forceinline__ void load_taps(float4_of *w, const strips &s, int channel, float scale) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float4_of taps = load_any(s.w, (int64_t)(channel + j) * 4);
#pragma unroll
        for (int k = 0; k < 4; k++) w[k].v[j] = taps.v[k] * scale;
    }
}

/* What a strip's results become: themselves, SiLU of them, or SiLU of them and themselves. */
enum after { AS_IT_IS, SILU, SILU_KEPT };

/* c: what SiLU is applied to, with SILU_KEPT. */
template <class T> struct forward_side {
    T *y, *c;
    const T *x;
};

/* The strip's results at times 0 .. left - 1; FULL: at all of them. SiLU of c is h (1 + tanh(h)) with h = c / 2, which
   halved taps and bias give. */
template <class T, after AFTER, bool FULL>
__device__ __forceinline__ void put_strip(T *y, T *c, const typename packed<T>::type *window, const float4_of *w,
                                          const float4_of &bias, int64_t step, int left) {
#pragma unroll
    for (int t = 0; t < SHORT; t++) {
        float4_of sum = bias, open;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float4_of x = open4(window[t + k]);
#pragma unroll
            for (int j = 0; j < 4; j++) sum.v[j] += w[k].v[j] * x.v[j];
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float h = sum.v[j];
            open.v[j] = AFTER == AS_IT_IS ? h : h + h * tanh_near(h);
            if (AFTER == SILU_KEPT) sum.v[j] = 2 * h;
        }
        if (FULL || t < left) store4(y, open);
        if (AFTER == SILU_KEPT && (FULL || t < left)) store4(c, sum);
        y += step;
        if (AFTER == SILU_KEPT) c += step;
    }
}

template <class T, after AFTER>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 2 ? 4 : 2)
    strip_kernel(const __grid_constant__ side_list<forward_side<T>> list) {
    int side = side_of(list);
    const strips &s = list.s[side];
    uint32_t i = (blockIdx.x - list.first[side]) * THREADS + threadIdx.x, row = i / (uint32_t)s.groups;
    uint32_t b = row / (uint32_t)s.n;
    if (b >= (uint32_t)s.batch) return;
    int channel = (int)(i - row * s.groups) * 4, t0 = (int)(row - b * s.n) * SHORT, left = s.t_n - t0;
    int64_t step = s.groups * 4, at = ((int64_t)b * s.t_n + t0) * step + channel;
    const T *__restrict__ from = list.member[side].x + at;
    typename packed<T>::type window[SHORT + 3];
#pragma unroll
    for (int t = 0; t < 3; t++) window[t] = fetch_if(from + (t - 3) * step, t0 > 0);
#pragma unroll
    for (int t = 3; t < SHORT + 3; t++) window[t] = fetch_if(from + (t - 3) * step, t - 3 < left);
    const float scale = AFTER == AS_IT_IS ? 1.0f : 0.5f;
    float4_of w[4], bias = load_any(s.bias, channel);
    load_taps(w, s, channel, scale);
#pragma unroll
    for (int j = 0; j < 4; j++) bias.v[j] *= scale;
    T *y = list.member[side].y + at, *c = AFTER == SILU_KEPT ? list.member[side].c + at : NULL;
    if (left >= SHORT)
        put_strip<T, AFTER, true>(y, c, window, w, bias, step, left);
    else
        put_strip<T, AFTER, false>(y, c, window, w, bias, step, left);
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

/* Whether some dx lies on an operand. */
static bool replaces(const gpu_call *call) {
    for (uint32_t j = 0; j < sides_of(call); j++) {
        gpu_call one = side_call(call, j);
        for (uint32_t k = 0; k < one.n_in; k++)
            if (one.in[k].data == one.out[0].data) return true;
    }
    return false;
}

/* Lays out the blocks of a gradient; `whole`: each has all of its sequences' times. */
static void plan_blocks(strips *s, const gpu_call *call, bool whole) {
    int64_t groups = 0, blocks;
    for (uint32_t j = 0; j < sides_of(call); j++)
        groups += (side_call(call, j).in[0].shape.dims[2] + PAIRS * 2 - 1) / (PAIRS * 2);
    s->n = (s->t_n + STRIP - 1) / STRIP;
    s->tiles_n = (s->n + TALL - 1) / TALL;
    s->tall = (s->n + s->tiles_n - 1) / s->tiles_n;
    s->n = s->tall * s->tiles_n;
    s->length = (s->t_n + s->n - 1) / s->n;
    s->length += -s->length & 3;
    s->deep = TALL / s->tall;
    blocks = groups * ((s->batch + s->deep - 1) / s->deep);
    for (s->turns = 1; s->turns < TURNS && blocks >= 2 * BLOCKS; blocks /= 2) s->turns *= 2;
    int64_t parts = whole || blocks >= BLOCKS ? 1 : BLOCKS / blocks;
    s->span = (int)((s->tiles_n + parts - 1) / parts);
}

/* Convolution k of the call. Backward: `whole`: a block has all of its sequences' times. */
static strips strips_of(const gpu_call *call, uint32_t k, bool whole) {
    gpu_call one = side_call(call, k);
    const int64_t *x = one.in[0].shape.dims;
    bool back = call->step->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD;
    strips s = {};
    s.batch = (int)x[0];
    s.t_n = (int)x[1];
    s.groups = (int)(x[2] / (back ? 2 : 4));
    s.n = (s.t_n + SHORT - 1) / SHORT;
    if (back) plan_blocks(&s, call, whole);
    s.w = of(one.in[1]);
    if (!back || call->merged & GPU_SILU) s.bias = of(one.in[2]);
    return s;
}

static bool aligned_to_quads(const gpu_view *view) {
    bool real = view->dtype == AIRA_F32 || view->dtype == AIRA_BF16;
    return real && aligned4(view->data, (uint32_t)gpu_bytes_of(view->dtype));
}

/* big: operands and results of x's shape, which must be of one type and lie on whole quads, as taps and biases do. */
static bool strips_take(const gpu_call *call, const gpu_view *const *big, int n) {
    const aira_shape *x = &call->in[0].shape;
    bool takes = x->dims[2] % 4 == 0 && call->in[1].shape.dims[1] == 4 && call->in[0].n > 0 && !gpu_is_wide(call);
    for (int k = 0; k < n; k++) takes = takes && big[k]->dtype == big[0]->dtype && aligned_to_quads(big[k]);
    return takes && aligned_to_quads(&call->in[1]);
}

static bool forward_strips(const gpu_call *call) {
    const gpu_view *big[3] = {&call->in[0], &call->out[0], &call->out[call->n_out - 1]};
    return aligned_to_quads(&call->in[2]) && strips_take(call, big, 3);
}

static dim3 backward_grid(const strips &s) {
    int side_by_side = s.deep * s.turns;
    return dim3((unsigned)((s.groups + PAIRS - 1) / PAIRS), (unsigned)((s.tiles_n + s.span - 1) / s.span),
                (unsigned)((s.batch + side_by_side - 1) / side_by_side));
}

static bool backward_strips(const gpu_call *call) {
    bool silu = call->merged & GPU_SILU;
    bool product = call->merged & GPU_PRODUCT;
    const gpu_view *big[4] = {&call->in[0], &call->in[silu ? 3 : 2], &call->out[0],
                              &call->in[product ? 3 : call->n_in - 1]};
    if (!strips_take(call, big, 4) || (silu && !aligned_to_quads(&call->in[2]))) return false;
    if (product && !takes_product(call)) return false;
    const int64_t *x = call->in[0].shape.dims;
    dim3 grid = backward_grid(strips_of(call, 0, false));
    return x[1] < INT32_MAX / 2 && grid.x <= GPU_COUNTERS / SIDES && grid.y <= 65535 && grid.z <= 65535;
}

static bool takes_side(const gpu_call *call) {
    bool half = call->in[0].dtype == AIRA_BF16;
    return half && (call->step->op == AIRA_OP_CONV1D_CAUSAL ? forward_strips(call) : backward_strips(call));
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

static unsigned strip_blocks(const strips &s) {
    return (unsigned)(((int64_t)s.batch * s.n * s.groups + THREADS - 1) / THREADS);
}

template <class T, after AFTER> static const char *strip_conv(const gpu_call *call) {
    side_list<forward_side<T>> list = {};
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        list.s[k] = strips_of(call, (uint32_t)k, false);
        list.member[k] = {(T *)one.out[0].data, (T *)one.out[one.n_out - 1].data, (const T *)one.in[0].data};
        list.first[k + 1] = list.first[k] + strip_blocks(list.s[k]);
    }
    strip_kernel<T, AFTER><<<list.first[list.n], THREADS, 0, call->stream>>>(list);
    return gpu_launched();
}

/* Whether all that is copied lies on 16 bytes. */
template <class T> static bool on_quads(const strips &s, const backward_side<T> &to, bool two) {
    uintptr_t all = (uintptr_t)to.x | (uintptr_t)to.g | (two ? (uintptr_t)to.more : 0);
    return (all | s.groups * 2 * sizeof(T)) % 16 == 0;
}

/* Partial sums of a convolution's blocks. */
static size_t sums_of(dim3 grid) { return (size_t)grid.x * grid.y * grid.z * PAIRS * 2 * PARTS; }

template <class T, int OPENED> static const char *strip_conv_backward(const gpu_call *call) {
    side_list<backward_side<T>> list = {};
    uint32_t *counters = (uint32_t *)gpu_tables_counter(call->tables, 0);
    float *sums = (float *)call->workspace;
    bool whole = replaces(call);
    dim3 grid;
    if (!counters) return "no memory for counters";
    if (allow_shared(strip_backward_kernel<T, OPENED>) != cudaSuccess) return "no shared memory for the convolution";
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        backward_side<T> &to = list.member[k];
        to.dx = (T *)one.out[0].data;
        to.x = (const T *)one.in[0].data;
        to.g = (const T *)one.in[OPENED ? 3 : 2].data;
        to.more = OPENED == 2 ? (const T *)one.in[4].data : NULL;
        if (OPENED == 3) to.product = product_of(&one);
        to.sums = sums;
        to.dw = of(one.out[1]);
        to.db = of(one.out[2]);
        list.s[k] = strips_of(call, (uint32_t)k, whole);
        list.s[k].quads = on_quads<T>(list.s[k], to, OPENED == 2);
        grid = backward_grid(list.s[k]);
        list.first[k + 1] = list.first[k] + grid.x;
        sums += sums_of(grid);
    }
    const strips &s = list.s[0];
    dim3 block(PAIRS, (unsigned)s.tall, (unsigned)s.deep);
    size_t shared = (size_t)tile_pairs(s.tall * s.length, OPENED) * s.deep * 2 * sizeof(T);
    grid.x = list.first[list.n];
    strip_backward_kernel<T, OPENED><<<grid, block, shared, call->stream>>>(list, counters);
    return gpu_launched();
}

/* --- any number of taps --- */

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
    if (call->merged & GPU_SILU)
        return call->n_out > sides_of(call) ? strip_conv<__nv_bfloat16, SILU_KEPT>(call)
                                            : strip_conv<__nv_bfloat16, SILU>(call);
    if (forward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv<float, AS_IT_IS>(call)
                                             : strip_conv<__nv_bfloat16, AS_IT_IS>(call);
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
        (void)gpu_tables_counter(call->tables, 1); /* where there are none, running says so */
        for (uint32_t k = 0; k < sides_of(call); k++)
            bytes += sums_of(backward_grid(strips_of(call, k, false))) * sizeof(float);
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
    if (call->merged & GPU_PRODUCT) return strip_conv_backward<__nv_bfloat16, 3>(call);
    if (call->merged & GPU_SILU)
        return call->n_in > 4 * sides_of(call) ? strip_conv_backward<__nv_bfloat16, 2>(call)
                                               : strip_conv_backward<__nv_bfloat16, 1>(call);
    if (backward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv_backward<float, 0>(call)
                                             : strip_conv_backward<__nv_bfloat16, 0>(call);
    return gpu_is_wide(call) ? conv_backward_as<double>(call) : conv_backward_as<float>(call);
}

extern "C" const gpu_kernel gpu_convolution_kernels[] = {
    {AIRA_OP_CONV1D_CAUSAL, conv, NULL},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, conv_backward, conv_backward_workspace},
    {0, NULL, NULL}};
