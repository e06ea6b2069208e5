/* convolution.cu - causal convolution of every channel with a few taps, forward and backward.
 *
 * Two texts. `strip`: four taps, four neighbouring channels of a strip of times per thread, bf16 or fp32; with GPU_SILU
 * it applies SiLU, and backward its slope, for which the convolution is computed again: x is read anyway. Bytes are all
 * that counts, so that what is on its way is kept as it lies in memory. The other: any number of taps and any types,
 * one element per thread. Gradients of taps and biases are sums over times and sequences: partial sums of blocks, which
 * the last of them adds (strip), or a second kernel.
 */
#include "fast.h"
#include "join.cuh"
#include "tables.h"
#include "vector.cuh"

/* --- four taps ------------------------------------------------------------------------------------------------------
 */

#define SHORT 8  /* times of a thread */
#define STRIP 16 /* backward, where a strip needs the three slopes behind it */
#define SIDES 4  /* most convolutions of a launch */
#define THREADS 256
#define COLUMNS 20 /* sums of four channels: [tap][channel], then [channel] of biases */

struct strips {
    int batch, t_n, quads, n; /* quads: groups of four channels; n: strips of a sequence */
    int wide, tall, deep;     /* quads, strips and sequences of a block, backward */
    elements w, bias;
};

/* Convolutions side by side: blockIdx.x from first[k] on is member k's. All but quads, w and bias of their strips
   agree. */
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

/* Four elements as they lie in memory. */
template <class T> struct packed { typedef float4 type; };
template <> struct packed<__nv_bfloat16> { typedef uint2 type; };

/* Four elements, zeros where they are not `there`. */
template <class T> __device__ __forceinline__ typename packed<T>::type fetch_if(const T *from, bool there) {
    return there ? fetch4(from) : typename packed<T>::type{};
}

/* Four neighbours, fp32 or bf16. */
__device__ __forceinline__ float4_of load_any(elements e, int64_t at) {
    return e.dtype == AIRA_BF16 ? load4((const __nv_bfloat16 *)e.data + at) : load4((const float *)e.data + at);
}

/* w[k].v[j]: tap k of channel j. */
__device__ __forceinline__ void load_taps(float4_of *w, const strips &s, int channel) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float4_of taps = load_any(s.w, (int64_t)(channel + j) * 4);
#pragma unroll
        for (int k = 0; k < 4; k++) w[k].v[j] = taps.v[k];
    }
}

/* 1 / (1 + exp(-x)): 0 and 1 far out. */
__device__ __forceinline__ float sigmoid(float x) {
    float e, y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(-1.4426950408889634f * x));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(1.0f + e));
    return y;
}

/* What a strip's results become: themselves, SiLU of them, or SiLU of them and themselves. */
enum after { AS_IT_IS, SILU, SILU_KEPT };

/* c: what SiLU is applied to, with SILU_KEPT. */
template <class T> struct forward_side {
    T *y, *c;
    const T *x;
};

/* The strip's results at times 0 .. left - 1; FULL: at all of them. */
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
        for (int j = 0; j < 4; j++) open.v[j] = AFTER == AS_IT_IS ? sum.v[j] : sum.v[j] * sigmoid(sum.v[j]);
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
    uint32_t i = (blockIdx.x - list.first[side]) * THREADS + threadIdx.x, row = i / (uint32_t)s.quads;
    uint32_t b = row / (uint32_t)s.n;
    if (b >= (uint32_t)s.batch) return;
    int channel = (int)(i - row * s.quads) * 4, t0 = (int)(row - b * s.n) * SHORT, left = s.t_n - t0;
    int64_t step = s.quads * 4, at = ((int64_t)b * s.t_n + t0) * step + channel;
    const T *__restrict__ from = list.member[side].x + at;
    typename packed<T>::type window[SHORT + 3];
#pragma unroll
    for (int t = 0; t < 3; t++) window[t] = fetch_if(from + (t - 3) * step, t0 > 0);
#pragma unroll
    for (int t = 3; t < SHORT + 3; t++) window[t] = fetch_if(from + (t - 3) * step, t - 3 < left);
    float4_of w[4], bias = load_any(s.bias, channel);
    load_taps(w, s, channel);
    T *y = list.member[side].y + at, *c = AFTER == SILU_KEPT ? list.member[side].c + at : NULL;
    if (left >= SHORT)
        put_strip<T, AFTER, true>(y, c, window, w, bias, step, left);
    else
        put_strip<T, AFTER, false>(y, c, window, w, bias, step, left);
}

/* g, more: gradients of the results that are added; more: or NULL. sums: [group of quads][row][quad of it][COLUMNS], a
   row per block of the group. */
template <class T> struct backward_side {
    T *dx;
    const T *x, *g, *more;
    float *sums;
    elements dw, db;
};

/* What a thread has of its strip, walking backward: time t lies at t % 4, and what was sent for as well. Times are
   given as i + k, where i is a multiple of four and k known when compiling, so that all of it stays in registers. */
template <class T> struct strip_walk {
    typename packed<T>::type next_x[4], next_g[4], next_more[4]; /* next_x: of three times before the other two's */
    float4_of x[4], slope[4], w[4], bias, taps[4], dbias;
    const T *x_at, *g_at, *more_at; /* what is sent for next */
    int64_t step;
    uint32_t end; /* times of the sequence, or 0 */
};

/* Sends for what time t of the sequence needs, which is k in its four; then time t - 1 is the next. */
template <class T, int OPENED> __device__ __forceinline__ void send(strip_walk<T> &v, int t, int k, uint32_t end) {
    v.next_x[k] = fetch_if(v.x_at, (uint32_t)(t - 3) < end);
    v.next_g[k] = fetch_if(v.g_at, (uint32_t)t < end);
    if (OPENED == 2) v.next_more[k] = fetch_if(v.more_at, (uint32_t)t < end);
    v.x_at -= v.step;
    v.g_at -= v.step;
    if (OPENED == 2) v.more_at -= v.step;
}

/* The gradient of the convolution's result at time t from what has come; sends for time t - 4 if that is below end. */
template <class T, int OPENED>
__device__ __forceinline__ float4_of slope_at(strip_walk<T> &v, int t, int k, uint32_t end) {
    v.x[(k + 1) & 3] = open4(v.next_x[k]);
    float4_of g = open4(v.next_g[k]), c = v.bias;
    if (OPENED == 2) {
        float4_of more = open4(v.next_more[k]);
#pragma unroll
        for (int j = 0; j < 4; j++) g.v[j] += more.v[j];
    }
    send<T, OPENED>(v, t - 4, k, end);
#pragma unroll
    for (int j = 0; j < 4 && OPENED; j++) {
#pragma unroll
        for (int tap = 0; tap < 4; tap++) c.v[j] += v.w[tap].v[j] * v.x[(k + 1 + tap) & 3].v[j];
        float open = sigmoid(c.v[j]);
        g.v[j] *= open + open * (c.v[j] - c.v[j] * open);
    }
    return g;
}

/* Gradients at time t, given the slopes of the three after it. */
template <class T, int OPENED>
__device__ __forceinline__ void walk(strip_walk<T> &v, T *dx, int t, int k, uint32_t end) {
    float4_of slope = slope_at<T, OPENED>(v, t, k, end), sum = {};
    v.slope[k] = slope;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        v.dbias.v[j] += slope.v[j];
#pragma unroll
        for (int tap = 0; tap < 4; tap++) {
            v.taps[tap].v[j] += slope.v[j] * v.x[(k + 1 + tap) & 3].v[j];
            sum.v[j] += v.w[3 - tap].v[j] * v.slope[(k + tap) & 3].v[j];
        }
    }
    if ((uint32_t)t < v.end) store4(dx, sum);
}

/* The last block of a group adds the rows of its sums: a thread four columns of every SLICES-th row, then the slices.
 */
__device__ __forceinline__ void end_sums(float (*part)[4], const float *sums, int rows, const strips &s, int first,
                                         elements dw, elements db) {
    int columns = s.wide * (COLUMNS / 4), slices = (int)blockDim.x / columns, slice = threadIdx.x / columns;
    float4_of sum = {};
    if (slice < slices) {
        const float *from = sums + (int64_t)threadIdx.x % columns * 4;
#pragma unroll 8
        for (int r = slice; r < rows; r += slices) {
            float4 v = __ldcg((const float4 *)(from + (int64_t)r * columns * 4));
            sum.v[0] += v.x, sum.v[1] += v.y, sum.v[2] += v.z, sum.v[3] += v.w;
        }
    }
#pragma unroll
    for (int k = 0; k < 4; k++) part[threadIdx.x][k] = sum.v[k];
    __syncthreads();
    for (int i = threadIdx.x; i < columns * 4; i += blockDim.x) {
        float all = 0;
        for (int n = 0; n < slices; n++) all += part[n * columns + i / 4][i % 4];
        int k = i % COLUMNS, quad = first + i / COLUMNS, c = quad * 4 + k % 4;
        if (quad >= s.quads) continue;
        if (k < 16)
            store<float>(dw, (int64_t)c * 4 + k / 4, all);
        else
            store<float>(db, c, all);
    }
}

/* OPENED: 0: g is the gradient of the convolution's results; 1, 2: of SiLU of them, and so many are added.
   blockIdx: group of `wide` quads, group of `tall` strips, `deep` sequences; thread: quad, strip, sequence. A thread
   goes from the last time to the first. The slopes behind a strip are computed before any dx is written, so that dx may
   lie on gradients where a block holds the sequence. */
template <class T, int OPENED>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 2 ? 2 : 1)
    strip_backward_kernel(const __grid_constant__ side_list<backward_side<T>> list, uint32_t *counters) {
    __shared__ float part[THREADS][COLUMNS + 1];
    __shared__ bool last;
    int side = side_of(list), group = (int)(blockIdx.x - list.first[side]);
    const strips &s = list.s[side];
    const backward_side<T> &to = list.member[side];
    int place = threadIdx.x / s.wide, strip = blockIdx.y * s.tall + place % s.tall;
    int quad = group * s.wide + threadIdx.x % s.wide, b = blockIdx.z * s.deep + place / s.tall;
    bool live = quad < s.quads && strip < s.n && b < s.batch && place < s.tall * s.deep;
    int channel = live ? quad * 4 : 0, t0 = live ? strip * STRIP : 0;
    strip_walk<T> v;
    v.step = s.quads * 4;
    v.end = live ? s.t_n : 0;
    int64_t at = (live ? (int64_t)b * s.t_n + t0 + STRIP - 1 : STRIP - 1) * v.step +
                 channel; /* the strip's last time */
    T *dx = to.dx + at;
    v.x_at = to.x + at;
    v.g_at = to.g + at + 3 * v.step;
    v.more_at = OPENED == 2 ? to.more + at + 3 * v.step : NULL;
#pragma unroll
    for (int k = 2; k >= 0; k--)
        v.x[k] = open4(fetch_if(v.x_at + (k + 1) * v.step, (uint32_t)(t0 + STRIP + k) < v.end));
#pragma unroll
    for (int k = 2; k >= 0; k--) send<T, OPENED>(v, t0 + STRIP + k, k, v.end);
    send<T, OPENED>(v, t0 + STRIP - 1, 3, v.end);
    load_taps(v.w, s, channel);
    v.bias = OPENED ? load_any(s.bias, channel) : float4_of{};
    v.dbias = {};
#pragma unroll
    for (int k = 0; k < 4; k++) v.taps[k] = {};
#pragma unroll
    for (int k = 2; k >= 0; k--) v.slope[k] = slope_at<T, OPENED>(v, t0 + STRIP + k, k, v.end);
    __syncthreads();
#pragma unroll 1
    for (int t = t0 + STRIP - 4; t >= t0; t -= 4) {
        uint32_t end = t > t0 ? v.end : 0;
#pragma unroll
        for (int k = 3; k >= 0; k--) {
            walk<T, OPENED>(v, dx, t + k, k, end);
            dx -= v.step;
        }
    }
#pragma unroll
    for (int k = 0; k < COLUMNS; k++) part[threadIdx.x][k] = k < 16 ? v.taps[k / 4].v[k % 4] : v.dbias.v[k % 4];
    __syncthreads();
    int rows = gridDim.y * gridDim.z, columns = s.wide * COLUMNS, places = s.tall * s.deep;
    float *sums = to.sums + (int64_t)group * rows * columns;
    float *row = sums + (int64_t)(blockIdx.z * gridDim.y + blockIdx.y) * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) {
        float sum = 0;
        for (int n = 0; n < places; n++) sum += part[n * s.wide + i / COLUMNS][i % COLUMNS];
        row[i] = sum;
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(counters + blockIdx.x, 1u) == (uint32_t)rows - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    end_sums((float(*)[4])part, sums, rows, s, group * s.wide, to.dw, to.db);
    if (threadIdx.x == 0) counters[blockIdx.x] = 0;
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

/* backward: 256 threads a block, fewer where that gives too few blocks. */
static strips strips_of(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    bool back = call->step->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD;
    int length = back ? STRIP : SHORT;
    strips s = {(int)x->dims[0], (int)x->dims[1], (int)(x->dims[2] / 4), (int)((x->dims[1] + length - 1) / length)};
    s.tall = s.n < 64 ? s.n : 64;
    s.wide = s.tall <= 16 ? 16 : s.tall <= 32 ? 8 : 4;
    s.deep = THREADS / (s.tall * s.wide);
    while (s.deep > 1 && (s.batch + s.deep - 1) / s.deep < 32) s.deep /= 2;
    s.w = of(call->in[1]);
    if (!back || call->merged & GPU_SILU) s.bias = of(call->in[2]);
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
    return dim3((unsigned)((s.quads + s.wide - 1) / s.wide), (unsigned)((s.n + s.tall - 1) / s.tall),
                (unsigned)((s.batch + s.deep - 1) / s.deep));
}

static bool backward_strips(const gpu_call *call) {
    bool silu = call->merged & GPU_SILU;
    const gpu_view *big[4] = {&call->in[0], &call->in[silu ? 3 : 2], &call->out[0], &call->in[call->n_in - 1]};
    if (!strips_take(call, big, 4) || (silu && !aligned_to_quads(&call->in[2]))) return false;
    dim3 grid = backward_grid(strips_of(call));
    return grid.x <= GPU_COUNTERS / SIDES && grid.y <= 65535 && grid.z <= 65535;
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

static unsigned strip_blocks(const strips &s) {
    return (unsigned)(((int64_t)s.batch * s.n * s.quads + THREADS - 1) / THREADS);
}

template <class T, after AFTER> static const char *strip_conv(const gpu_call *call) {
    side_list<forward_side<T>> list = {};
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        list.s[k] = strips_of(&one);
        list.member[k] = {(T *)one.out[0].data, (T *)one.out[one.n_out - 1].data, (const T *)one.in[0].data};
        list.first[k + 1] = list.first[k] + strip_blocks(list.s[k]);
    }
    strip_kernel<T, AFTER><<<list.first[list.n], THREADS, 0, call->stream>>>(list);
    return gpu_launched();
}

template <class T, int OPENED> static const char *strip_conv_backward(const gpu_call *call) {
    side_list<backward_side<T>> list = {};
    uint32_t *counters = (uint32_t *)gpu_tables_counter(call->tables, 0);
    float *sums = (float *)call->workspace;
    dim3 grid;
    if (!counters) return "no memory for counters";
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        strips s = list.s[k] = strips_of(&one);
        backward_side<T> &to = list.member[k];
        to.dx = (T *)one.out[0].data;
        to.x = (const T *)one.in[0].data;
        to.g = (const T *)one.in[OPENED ? 3 : 2].data;
        to.more = OPENED == 2 ? (const T *)one.in[4].data : NULL;
        to.sums = sums;
        to.dw = of(one.out[1]);
        to.db = of(one.out[2]);
        grid = backward_grid(s);
        list.first[k + 1] = list.first[k] + grid.x;
        sums += (size_t)grid.x * grid.y * grid.z * s.wide * COLUMNS;
    }
    const strips &s = list.s[0];
    unsigned threads = (unsigned)(s.wide * s.tall * s.deep), least = (unsigned)s.wide * (COLUMNS / 4);
    threads = ((threads > least ? threads : least) + 31) / 32 * 32;
    grid.x = list.first[list.n];
    strip_backward_kernel<T, OPENED><<<grid, threads, 0, call->stream>>>(list, counters);
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
        for (uint32_t k = 0; k < sides_of(call); k++) {
            gpu_call one = side_call(call, k);
            strips s = strips_of(&one);
            dim3 grid = backward_grid(s);
            bytes += (size_t)grid.x * grid.y * grid.z * s.wide * COLUMNS * sizeof(float);
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
