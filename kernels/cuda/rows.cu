/* rows.cu - norms, softmax and cross-entropy over the rows of [.., C], forward and backward.
 *
 * A warp owns a row where rows are short, a block where they are long, a thread where classes are few. Gradients of
 * norm weights are sums over rows: every block adds a fixed chunk of rows into its partial sums, and a second kernel
 * adds the chunks in order.
 */
#include <type_traits>

#include "element.cuh"
#include "fast.h"
#include "vector.cuh"

#define WARP_ROWS 4     /* rows, thus warps, of a block */
#define WARP_WIDTH 1024 /* longest row of one warp */
#define CHUNK 128       /* rows whose weight gradients one block adds */

static int64_t rows_of(const gpu_view &x, int64_t width) { return width ? x.n / width : 0; }

/* A row's threads: a warp, or a block of 256. */
template <class R, bool BLOCK> struct team {
    R *spare;
    __device__ int first() const { return BLOCK ? threadIdx.x : threadIdx.x & 31; }
    __device__ int size() const { return BLOCK ? blockDim.x : 32; }
    __device__ R sum(R v) const { return BLOCK ? block_reduce<R, false>(v, spare) : warp_sum(v); }
    __device__ R max(R v) const { return BLOCK ? block_reduce<R, true>(v, spare) : warp_max(v); }
    __device__ int64_t row() const {
        return BLOCK ? (int64_t)blockIdx.x : (int64_t)blockIdx.x * WARP_ROWS + (threadIdx.x >> 5);
    }
};

#define TEAM(R, BLOCK)       \
    __shared__ R spare_[32]; \
    team<R, BLOCK> all = {spare_}

/* Launches kernel<R, BLOCK> over rows of this width; both type and team are chosen here. */
#define LAUNCH_ROWS(kernel, wide, rows, width, ...)                                                     \
    do {                                                                                                \
        bool long_ = (width) > WARP_WIDTH;                                                              \
        unsigned blocks_ = long_ ? (unsigned)(rows) : (unsigned)(((rows) + WARP_ROWS - 1) / WARP_ROWS); \
        unsigned threads_ = long_ ? 256 : 32 * WARP_ROWS;                                               \
        if (wide && long_)                                                                              \
            kernel<double, true><<<blocks_, threads_, 0, call->stream>>>(__VA_ARGS__);                  \
        else if (wide)                                                                                  \
            kernel<double, false><<<blocks_, threads_, 0, call->stream>>>(__VA_ARGS__);                 \
        else if (long_)                                                                                 \
            kernel<float, true><<<blocks_, threads_, 0, call->stream>>>(__VA_ARGS__);                   \
        else                                                                                            \
            kernel<float, false><<<blocks_, threads_, 0, call->stream>>>(__VA_ARGS__);                  \
    } while (0)

__device__ static float inverse_root(float x) { return 1.0f / sqrtf(x); }
__device__ static double inverse_root(double x) { return 1.0 / sqrt(x); }
__device__ static float exponential(float x) { return expf(x); }
__device__ static double exponential(double x) { return exp(x); }
__device__ static float logarithm(float x) { return logf(x); }
__device__ static double logarithm(double x) { return log(x); }

/* --- norms ---------------------------------------------------------------------------------------------------------
 */

/* Mean (0 for the RMS norm) and 1 / sqrt(variance + eps) of a row. */
template <class R, bool BLOCK>
__device__ void mean_and_scale(const team<R, BLOCK> &all, elements x, int64_t base, int64_t width, R eps, bool centre,
                               R *mean, R *scale) {
    R sum = 0, squares = 0;
    if (centre) {
        for (int64_t c = all.first(); c < width; c += all.size()) sum += load<R>(x, base + c);
        sum = all.sum(sum) / (R)width;
    }
    for (int64_t c = all.first(); c < width; c += all.size()) {
        R v = load<R>(x, base + c) - sum;
        squares += v * v;
    }
    *mean = sum;
    *scale = inverse_root(all.sum(squares) / (R)width + eps);
}

template <class R, bool BLOCK>
__global__ void norm_kernel(elements y, elements x, elements w, elements b, int64_t rows, int64_t width, double eps) {
    TEAM(R, BLOCK);
    int64_t row = all.row(), base = row * width;
    if (row >= rows) return;
    R mean, scale;
    mean_and_scale<R, BLOCK>(all, x, base, width, (R)eps, b.data != NULL, &mean, &scale);
    for (int64_t c = all.first(); c < width; c += all.size()) {
        R v = (load<R>(x, base + c) - mean) * scale * load<R>(w, c);
        store<R>(y, base + c, b.data ? v + load<R>(b, c) : v);
    }
}

static const char *norm(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    bool wide = gpu_is_wide(call);
    elements b = call->n_in > 2 ? of(call->in[2]) : elements{NULL, 0};
    if (rows == 0) return NULL;
    if (call->merged & GPU_GATE) return gpu_gated_norm(call);
    if (!b.data && gpu_norm_takes(call)) return gpu_norm_forward(call);
    LAUNCH_ROWS(norm_kernel, wide, rows, width, of(call->out[0]), of(call->in[0]), of(call->in[1]), b, rows, width,
                call->step->f[0]);
    return gpu_launched();
}

/* With n = (x - mean) s and h = w g: dx = s (h - [mean h] - n mean(h n)); the bracket only where rows are centred.
   Leaves mean and s of each row for the weights' gradients. */
template <class R, bool BLOCK>
__global__ void norm_backward_kernel(elements dx, elements x, elements w, elements g, R *stats, int64_t rows,
                                     int64_t width, double eps, bool centre) {
    TEAM(R, BLOCK);
    int64_t row = all.row(), base = row * width;
    if (row >= rows) return;
    R mean, s, sum = 0, dot = 0;
    mean_and_scale<R, BLOCK>(all, x, base, width, (R)eps, centre, &mean, &s);
    for (int64_t c = all.first(); c < width; c += all.size()) {
        R h = load<R>(w, c) * load<R>(g, base + c);
        sum += h;
        dot += h * (load<R>(x, base + c) - mean) * s;
    }
    sum = centre ? all.sum(sum) / (R)width : (R)0;
    dot = all.sum(dot) / (R)width;
    for (int64_t c = all.first(); c < width; c += all.size()) {
        R n = (load<R>(x, base + c) - mean) * s;
        store<R>(dx, base + c, s * (load<R>(w, c) * load<R>(g, base + c) - sum - n * dot));
    }
    if (all.first() == 0) {
        stats[2 * row] = mean;
        stats[2 * row + 1] = s;
    }
}

/* partial[chunk][2][width]: sums of g n and of g over the rows of a chunk */
template <class R>
__global__ void norm_weights_kernel(R *partial, const R *stats, elements x, elements g, int64_t rows, int64_t width) {
    int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, first = (int64_t)blockIdx.y * CHUNK;
    int64_t end = first + CHUNK < rows ? first + CHUNK : rows;
    if (c >= width) return;
    R scaled = 0, plain = 0;
    for (int64_t r = first; r < end; r++) {
        R slope = load<R>(g, r * width + c);
        plain += slope;
        scaled += slope * (load<R>(x, r * width + c) - stats[2 * r]) * stats[2 * r + 1];
    }
    partial[(2 * (int64_t)blockIdx.y) * width + c] = scaled;
    partial[(2 * (int64_t)blockIdx.y + 1) * width + c] = plain;
}

template <class R>
__global__ void norm_join_kernel(elements dw, elements db, const R *partial, int64_t chunks, int64_t width) {
    EACH(c, width) {
        R scaled = 0, plain = 0;
        for (int64_t k = 0; k < chunks; k++) {
            scaled += partial[2 * k * width + c];
            plain += partial[(2 * k + 1) * width + c];
        }
        store<R>(dw, c, scaled);
        if (db.data) store<R>(db, c, plain);
    }
}

static size_t norm_backward_workspace(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    if (call->merged & GPU_GATE) return gpu_gated_norm_backward_workspace(call);
    if (call->step->op == AIRA_OP_RMS_NORM_BACKWARD && gpu_norm_takes(call)) return gpu_norm_backward_workspace(call);
    return (size_t)(2 * rows + (rows + CHUNK - 1) / CHUNK * 2 * width) * sizeof(double);
}

template <class R> static const char *norm_backward_as(const gpu_call *call, bool centre) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    int64_t chunks = (rows + CHUNK - 1) / CHUNK;
    elements x = of(call->in[0]), w = of(call->in[1]), g = of(call->in[centre ? 3 : 2]);
    elements db = centre ? of(call->out[2]) : elements{NULL, 0};
    R *stats = (R *)call->workspace, *partial = stats + 2 * rows;
    if (rows > 0) {
        bool is_long = width > WARP_WIDTH;
        unsigned blocks = is_long ? (unsigned)rows : (unsigned)((rows + WARP_ROWS - 1) / WARP_ROWS);
        if (is_long)
            norm_backward_kernel<R, true><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), x, w, g, stats, rows,
                                                                            width, call->step->f[0], centre);
        else
            norm_backward_kernel<R, false><<<blocks, 32 * WARP_ROWS, 0, call->stream>>>(
                of(call->out[0]), x, w, g, stats, rows, width, call->step->f[0], centre);
        dim3 grid((unsigned)((width + 63) / 64), (unsigned)chunks);
        norm_weights_kernel<R><<<grid, 64, 0, call->stream>>>(partial, stats, x, g, rows, width);
    }
    norm_join_kernel<R><<<blocks_for(width, 128), 128, 0, call->stream>>>(of(call->out[1]), db, partial, chunks, width);
    return gpu_launched();
}

static const char *rms_norm_backward(const gpu_call *call) {
    if (call->merged & GPU_GATE) return gpu_gated_norm_backward(call);
    if (gpu_norm_takes(call)) return gpu_norm_backward(call);
    return gpu_is_wide(call) ? norm_backward_as<double>(call, false) : norm_backward_as<float>(call, false);
}

static const char *layer_norm_backward(const gpu_call *call) {
    return gpu_is_wide(call) ? norm_backward_as<double>(call, true) : norm_backward_as<float>(call, true);
}

/* --- softmax and cross-entropy -------------------------------------------------------------------------------------
 */

template <class R, bool BLOCK>
__device__ void peak_and_sum(const team<R, BLOCK> &all, elements x, int64_t base, int64_t width, R *peak, R *sum) {
    R best = (R)-INFINITY, total = 0;
    for (int64_t c = all.first(); c < width; c += all.size()) best = larger(best, load<R>(x, base + c));
    best = all.max(best);
    for (int64_t c = all.first(); c < width; c += all.size()) total += exponential(load<R>(x, base + c) - best);
    *peak = best;
    *sum = all.sum(total);
}

template <class R, bool BLOCK> __global__ void softmax_kernel(elements y, elements x, int64_t rows, int64_t width) {
    TEAM(R, BLOCK);
    int64_t row = all.row(), base = row * width;
    if (row >= rows) return;
    R peak, sum;
    peak_and_sum<R, BLOCK>(all, x, base, width, &peak, &sum);
    for (int64_t c = all.first(); c < width; c += all.size())
        store<R>(y, base + c, exponential(load<R>(x, base + c) - peak) / sum);
}

static const char *softmax(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    bool wide = gpu_is_wide(call);
    if (rows == 0) return NULL;
    LAUNCH_ROWS(softmax_kernel, wide, rows, width, of(call->out[0]), of(call->in[0]), rows, width);
    return gpu_launched();
}

template <class R, bool BLOCK>
__global__ void softmax_backward_kernel(elements dx, elements y, elements g, int64_t rows, int64_t width) {
    TEAM(R, BLOCK);
    int64_t row = all.row(), base = row * width;
    if (row >= rows) return;
    R dot = 0;
    for (int64_t c = all.first(); c < width; c += all.size()) dot += load<R>(y, base + c) * load<R>(g, base + c);
    dot = all.sum(dot);
    for (int64_t c = all.first(); c < width; c += all.size())
        store<R>(dx, base + c, load<R>(y, base + c) * (load<R>(g, base + c) - dot));
}

static const char *softmax_backward(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    bool wide = gpu_is_wide(call);
    if (rows == 0) return NULL;
    LAUNCH_ROWS(softmax_backward_kernel, wide, rows, width, of(call->out[0]), of(call->in[0]), of(call->in[1]), rows,
                width);
    return gpu_launched();
}

template <class R, bool BLOCK>
__global__ void cross_entropy_kernel(elements loss, elements x, const int32_t *targets, int64_t rows, int64_t width) {
    TEAM(R, BLOCK);
    int64_t row = all.row(), base = row * width;
    if (row >= rows) return;
    int64_t target = targets[row];
    R peak, sum, value = 0;
    if (target >= 0 && target < width) {
        peak_and_sum<R, BLOCK>(all, x, base, width, &peak, &sum);
        value = peak - load<R>(x, base + target) + logarithm(sum);
    }
    if (all.first() == 0) store<R>(loss, row, value);
}

/* Few classes, bf16: a thread has the row of 8 N classes in registers. x: two classes a word. */
template <int N> struct few_classes {
    uint32_t x[4 * N];
    __device__ __forceinline__ void load(const __nv_bfloat16 *rows, int64_t row) {
#pragma unroll
        for (int k = 0; k < N; k++) *(uint4 *)(x + 4 * k) = *(const uint4 *)(rows + (row * N + k) * 8);
    }
    __device__ __forceinline__ float at(int c) const {
        return __uint_as_float(c % 2 ? x[c / 2] & 0xffff0000u : x[c / 2] << 16);
    }
    __device__ __forceinline__ void peak_and_sum(float *peak, float *sum) const {
        float best = at(0), total = 0;
#pragma unroll
        for (int c = 1; c < 8 * N; c++) best = fmaxf(best, at(c));
#pragma unroll
        for (int c = 0; c < 8 * N; c++) total += __expf(at(c) - best);
        *peak = best;
        *sum = total;
    }
};

template <int N>
__global__ void few_loss_kernel(float *loss, const __nv_bfloat16 *x, const int32_t *targets, int64_t rows) {
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    few_classes<N> all;
    int target = targets[row];
    float peak, sum, hit = 0;
    all.load(x, row);
    all.peak_and_sum(&peak, &sum);
#pragma unroll
    for (int c = 0; c < 8 * N; c++)
        if (c == target) hit = all.at(c);
    loss[row] = target >= 0 && target < 8 * N ? peak - hit + logf(sum) : 0.0f;
}

template <int N>
__global__ void few_slopes_kernel(__nv_bfloat16 *dx, const __nv_bfloat16 *x, const int32_t *targets, const float *g,
                                  int64_t rows) {
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    few_classes<N> all;
    int target = targets[row];
    float peak, sum, slope = target >= 0 && target < 8 * N ? g[row] : 0.0f;
    all.load(x, row);
    all.peak_and_sum(&peak, &sum);
#pragma unroll
    for (int c = 0; c < 8 * N; c += 2) {
        float low = __expf(all.at(c) - peak) / sum - (c == target ? 1.0f : 0.0f);
        float high = __expf(all.at(c + 1) - peak) / sum - (c + 1 == target ? 1.0f : 0.0f);
        all.x[c / 2] = slope == 0 ? 0u : pack2(slope * low, slope * high);
    }
#pragma unroll
    for (int k = 0; k < N; k++) *(uint4 *)(dx + (row * N + k) * 8) = *(const uint4 *)(all.x + 4 * k);
}

/* Eighths of classes that a thread takes, 0: another kernel's. */
static int few_eighths(const gpu_call *call, const gpu_view *floats, const gpu_view *halves) {
    int64_t width = gpu_last(&call->in[0].shape);
    if (call->in[0].dtype != AIRA_BF16 || halves->dtype != AIRA_BF16 || floats->dtype != AIRA_F32) return 0;
    if (width % 8 || width > 32 || ((uintptr_t)call->in[0].data | (uintptr_t)halves->data) % 16) return 0;
    return (int)(width / 8);
}

/* Calls f with the eighths as a constant. */
template <class F> static void with_eighths(int eighths, F f) {
    switch (eighths) {
    case 1:
        f(std::integral_constant<int, 1>());
        break;
    case 2:
        f(std::integral_constant<int, 2>());
        break;
    case 3:
        f(std::integral_constant<int, 3>());
        break;
    default:
        f(std::integral_constant<int, 4>());
        break;
    }
}

static const char *cross_entropy(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    bool wide = gpu_is_wide(call);
    if (rows == 0) return NULL;
    int eighths = few_eighths(call, &call->out[0], &call->in[0]);
    if (eighths) {
        with_eighths(eighths, [&](auto n) {
            few_loss_kernel<n()><<<blocks_for(rows, 128), 128, 0, call->stream>>>(
                (float *)call->out[0].data, (const __nv_bfloat16 *)call->in[0].data, (const int32_t *)call->in[1].data,
                rows);
        });
        return gpu_launched();
    }
    LAUNCH_ROWS(cross_entropy_kernel, wide, rows, width, of(call->out[0]), of(call->in[0]),
                (const int32_t *)call->in[1].data, rows, width);
    return gpu_launched();
}

/* g (softmax - one at the target) */
template <class R, bool BLOCK>
__global__ void cross_entropy_backward_kernel(elements dx, elements x, const int32_t *targets, elements g, int64_t rows,
                                              int64_t width) {
    TEAM(R, BLOCK);
    int64_t row = all.row(), base = row * width;
    if (row >= rows) return;
    int64_t target = targets[row];
    bool counts = target >= 0 && target < width;
    R peak = 0, sum = 1, slope = counts ? load<R>(g, row) : (R)0;
    if (counts) peak_and_sum<R, BLOCK>(all, x, base, width, &peak, &sum);
    for (int64_t c = all.first(); c < width; c += all.size()) {
        R p = counts ? exponential(load<R>(x, base + c) - peak) / sum : (R)0;
        store<R>(dx, base + c, counts ? slope * (p - (c == target ? (R)1 : (R)0)) : (R)0);
    }
}

static const char *cross_entropy_backward(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = rows_of(call->in[0], width);
    bool wide = gpu_is_wide(call);
    if (rows == 0) return NULL;
    int eighths = few_eighths(call, &call->in[2], &call->out[0]);
    if (eighths) {
        with_eighths(eighths, [&](auto n) {
            few_slopes_kernel<n()><<<blocks_for(rows, 128), 128, 0, call->stream>>>(
                (__nv_bfloat16 *)call->out[0].data, (const __nv_bfloat16 *)call->in[0].data,
                (const int32_t *)call->in[1].data, (const float *)call->in[2].data, rows);
        });
        return gpu_launched();
    }
    LAUNCH_ROWS(cross_entropy_backward_kernel, wide, rows, width, of(call->out[0]), of(call->in[0]),
                (const int32_t *)call->in[1].data, of(call->in[2]), rows, width);
    return gpu_launched();
}

extern "C" const gpu_kernel gpu_row_kernels[] = {
    {AIRA_OP_RMS_NORM, norm, NULL},
    {AIRA_OP_RMS_NORM_BACKWARD, rms_norm_backward, norm_backward_workspace},
    {AIRA_OP_LAYER_NORM, norm, NULL},
    {AIRA_OP_LAYER_NORM_BACKWARD, layer_norm_backward, norm_backward_workspace},
    {AIRA_OP_SOFTMAX, softmax, NULL},
    {AIRA_OP_SOFTMAX_BACKWARD, softmax_backward, NULL},
    {AIRA_OP_CROSS_ENTROPY, cross_entropy, NULL},
    {AIRA_OP_CROSS_ENTROPY_BACKWARD, cross_entropy_backward, NULL},
    {0, NULL, NULL}};
