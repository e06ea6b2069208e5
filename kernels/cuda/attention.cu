/* attention.cu - attention with its gradient, and rotary positions.
 *
 * q[B,T,H,D], k[B,S,G,D], v[B,S,G,E], mask[B,S] -> o[B,T,H,E], lse[B,H,T]; head h reads key head h*G/H. No scores reach
 * memory: the softmax is summed while keys pass by, and the backward pass computes them afresh from lse. A row that
 * sees no key gives 0 and lse -infinity.
 *
 * Large bf16 heads go to cuDNN or flash.cu, small ones to small_attention.cu. For all else there are two texts here.
 * `rows`: one thread keeps one query (or, for dk and dv, one key) in registers and the others pass by in shared memory.
 * `wide`: one block per row, any head size and element type. Both add in an order that only the shape decides.
 */
#include "cudnn_attention.h"
#include "element.cuh"
#include "fast.h"

struct heads {
    int batch, t_n, s_n, heads, groups, d_n, e_n, window;
    bool causal;
    double scale;
    elements q, k, v, mask;
};

static heads heads_of(const gpu_call *call, uint32_t mask) {
    const aira_shape *q = &call->in[0].shape, *k = &call->in[1].shape, *v = &call->in[2].shape;
    heads a = {};
    a.batch = (int)q->dims[0];
    a.t_n = (int)q->dims[1];
    a.heads = (int)q->dims[2];
    a.d_n = (int)q->dims[3];
    a.s_n = (int)k->dims[1];
    a.groups = (int)k->dims[2];
    a.e_n = (int)v->dims[3];
    a.causal = call->step->i[0] != 0;
    a.window = (int)call->step->i[1];
    a.scale = call->step->f[0];
    a.q = of(call->in[0]);
    a.k = of(call->in[1]);
    a.v = of(call->in[2]);
    a.mask = call->n_in > mask ? of(call->in[mask]) : elements{NULL, 0};
    return a;
}

__device__ __forceinline__ bool visible(const heads &a, int b, int t, int s) {
    if (s >= a.s_n || t >= a.t_n) return false;
    if (a.mask.data && load<float>(a.mask, (int64_t)b * a.s_n + s) == 0) return false;
    if (a.causal) return s <= t && (a.window == 0 || s > t - a.window);
    return a.window == 0 || (t > s ? t - s : s - t) < a.window;
}

/* Keys that queries first..last may see, queries that may see keys first..last: [*from, *to). */
__device__ __forceinline__ void keys_of(const heads &a, int first, int last, int *from, int *to) {
    *from = a.window ? max(0, first - a.window + 1) : 0;
    *to = a.causal ? min(a.s_n, last + 1) : a.window ? min(a.s_n, last + a.window) : a.s_n;
}
__device__ __forceinline__ void queries_of(const heads &a, int first, int last, int *from, int *to) {
    *from = a.causal ? first : a.window ? max(0, first - a.window + 1) : 0;
    *to = a.window ? min(a.t_n, last + a.window) : a.t_n;
}

__device__ __forceinline__ int64_t row_of(int b, int t, int h, int t_n, int h_n, int width) {
    return (((int64_t)b * t_n + t) * h_n + h) * width;
}

__device__ static float exponential(float x) { return __expf(x); }
__device__ static double exponential(double x) { return exp(x); }
__device__ static float logarithm(float x) { return logf(x); }
__device__ static double logarithm(double x) { return log(x); }

/* --- rows: D = E of at most 64, float -------------------------------------------------------------------------------
 */

#define ROWS 128 /* threads of a block: rows that it owns */
#define TILE 32  /* rows of the other side in shared memory */

template <int D> __device__ __forceinline__ float dot(const float *a, const float *b) {
    float sum = 0;
#pragma unroll
    for (int d = 0; d < D; d++) sum = fmaf(a[d], b[d], sum);
    return sum;
}

/* tile[j] = row first + j of x, zeros beyond n */
template <int D> __device__ void load_tile(float (*tile)[D], elements x, int b, int first, int h, int n, int h_n) {
    for (int i = threadIdx.x; i < TILE * D; i += ROWS) {
        int j = i / D, d = i % D;
        tile[j][d] = first + j < n ? load<float>(x, row_of(b, first + j, h, n, h_n, D) + d) : 0.0f;
    }
}

template <int D> __device__ void load_row(float *row, elements x, int b, int t, int h, int n, int h_n) {
    if (t < n) {
        load_many<D>(row, x, row_of(b, t, h, n, h_n, D));
    } else {
#pragma unroll
        for (int d = 0; d < D; d++) row[d] = 0;
    }
}

template <int D> __global__ void __launch_bounds__(ROWS) rows_forward(heads a, elements o, elements lse) {
    __shared__ float keys[TILE][D], values[TILE][D];
    int b = blockIdx.z, h = blockIdx.y, t = blockIdx.x * ROWS + threadIdx.x, g = h * a.groups / a.heads, from, to;
    float q[D], sum[D] = {}, peak = -INFINITY, total = 0;
    load_row<D>(q, a.q, b, t, h, a.t_n, a.heads);
    keys_of(a, blockIdx.x * ROWS, min(a.t_n, (int)(blockIdx.x + 1) * ROWS) - 1, &from, &to);
    for (int first = from; first < to; first += TILE) {
        __syncthreads();
        load_tile<D>(keys, a.k, b, first, g, a.s_n, a.groups);
        load_tile<D>(values, a.v, b, first, g, a.s_n, a.groups);
        __syncthreads();
#pragma unroll 1
        for (int j = 0; j < TILE; j++) {
            if (!visible(a, b, t, first + j)) continue;
            float score = dot<D>(q, keys[j]) * (float)a.scale;
            if (score > peak) { /* rare: about log T times a row */
                float shrink = __expf(peak - score);
                total *= shrink;
#pragma unroll
                for (int d = 0; d < D; d++) sum[d] *= shrink;
                peak = score;
            }
            float p = __expf(score - peak);
            total += p;
#pragma unroll
            for (int d = 0; d < D; d++) sum[d] = fmaf(p, values[j][d], sum[d]);
        }
    }
    if (t >= a.t_n) return;
    float scale = total > 0 || total != total ? 1 / total : 0.0f;
    int64_t at = row_of(b, t, h, a.t_n, a.heads, D);
    store_many<D>(o, at, sum, scale);
    store<float>(lse, ((int64_t)b * a.heads + h) * a.t_n + t, peak == -INFINITY ? peak : peak + logf(total));
}

template <int D>
__global__ void __launch_bounds__(ROWS) rows_dq(heads a, elements g_o, elements lse, const float *delta, elements dq) {
    __shared__ float keys[TILE][D], values[TILE][D];
    int b = blockIdx.z, h = blockIdx.y, t = blockIdx.x * ROWS + threadIdx.x, g = h * a.groups / a.heads, from, to;
    int64_t stat = ((int64_t)b * a.heads + h) * a.t_n + t;
    float q[D], go[D], sum[D] = {}, peak = 0, pull = 0;
    load_row<D>(q, a.q, b, t, h, a.t_n, a.heads);
    load_row<D>(go, g_o, b, t, h, a.t_n, a.heads);
    if (t < a.t_n) {
        peak = load<float>(lse, stat);
        pull = delta[stat];
    }
    keys_of(a, blockIdx.x * ROWS, min(a.t_n, (int)(blockIdx.x + 1) * ROWS) - 1, &from, &to);
    for (int first = from; first < to; first += TILE) {
        __syncthreads();
        load_tile<D>(keys, a.k, b, first, g, a.s_n, a.groups);
        load_tile<D>(values, a.v, b, first, g, a.s_n, a.groups);
        __syncthreads();
#pragma unroll 1
        for (int j = 0; j < TILE; j++) {
            if (!visible(a, b, t, first + j)) continue;
            float p = __expf(dot<D>(q, keys[j]) * (float)a.scale - peak);
            float ds = p * (dot<D>(go, values[j]) - pull) * (float)a.scale;
#pragma unroll
            for (int d = 0; d < D; d++) sum[d] = fmaf(ds, keys[j][d], sum[d]);
        }
    }
    if (t >= a.t_n) return;
    int64_t at = row_of(b, t, h, a.t_n, a.heads, D);
    store_many<D>(dq, at, sum, 1);
}

template <int D>
__global__ void __launch_bounds__(ROWS)
    rows_dkv(heads a, elements g_o, elements lse, const float *delta, elements dk, elements dv) {
    __shared__ float queries[TILE][D], slopes[TILE][D], peaks[TILE], pulls[TILE];
    int b = blockIdx.z, g = blockIdx.y, s = blockIdx.x * ROWS + threadIdx.x, from, to;
    int per_group = a.heads / a.groups;
    float k[D], v[D], k_sum[D] = {}, v_sum[D] = {};
    load_row<D>(k, a.k, b, s, g, a.s_n, a.groups);
    load_row<D>(v, a.v, b, s, g, a.s_n, a.groups);
    queries_of(a, blockIdx.x * ROWS, min(a.s_n, (int)(blockIdx.x + 1) * ROWS) - 1, &from, &to);
    for (int h = g * per_group; h < (g + 1) * per_group; h++) {
        for (int first = from; first < to; first += TILE) {
            __syncthreads();
            load_tile<D>(queries, a.q, b, first, h, a.t_n, a.heads);
            load_tile<D>(slopes, g_o, b, first, h, a.t_n, a.heads);
            if (threadIdx.x < TILE && first + (int)threadIdx.x < a.t_n) {
                int64_t stat = ((int64_t)b * a.heads + h) * a.t_n + first + threadIdx.x;
                peaks[threadIdx.x] = load<float>(lse, stat);
                pulls[threadIdx.x] = delta[stat];
            }
            __syncthreads();
#pragma unroll 1
            for (int j = 0; j < TILE; j++) {
                if (!visible(a, b, first + j, s)) continue;
                float p = __expf(dot<D>(queries[j], k) * (float)a.scale - peaks[j]);
                float ds = p * (dot<D>(slopes[j], v) - pulls[j]) * (float)a.scale;
#pragma unroll
                for (int d = 0; d < D; d++) {
                    k_sum[d] = fmaf(ds, queries[j][d], k_sum[d]);
                    v_sum[d] = fmaf(p, slopes[j][d], v_sum[d]);
                }
            }
        }
    }
    if (s >= a.s_n) return;
    int64_t at = row_of(b, s, g, a.s_n, a.groups, D);
    store_many<D>(dk, at, k_sum, 1);
    store_many<D>(dv, at, v_sum, 1);
}

/* --- wide: one block per row ----------------------------------------------------------------------------------------
 */

#define WIDE 128 /* threads, and rows of the other side at a time */
#define MOST 8   /* columns of a thread: heads of up to MOST * WIDE */

/* acc[c] += sum_j weights[j] * x[first + j][c], columns threadIdx.x + c * WIDE */
template <class R>
__device__ void add_rows(R *acc, const R *weights, elements x, int b, int first, int h, int n, int h_n, int width) {
    int rows = min(WIDE, n - first);
    for (int c = 0; c < MOST && (int)threadIdx.x + c * WIDE < width; c++)
        for (int j = 0; j < rows; j++)
            acc[c] += weights[j] * load<R>(x, row_of(b, first + j, h, n, h_n, width) + threadIdx.x + c * WIDE);
}

template <class R> __device__ void put_row(elements to, int64_t at, const R *acc, int width, R scale) {
    for (int c = 0; c < MOST && (int)threadIdx.x + c * WIDE < width; c++)
        store<R>(to, at + threadIdx.x + c * WIDE, acc[c] * scale);
}

template <class R> __device__ R dot_rows(elements x, int64_t x_at, elements y, int64_t y_at, int width) {
    R sum = 0;
    for (int d = 0; d < width; d++) sum += load<R>(x, x_at + d) * load<R>(y, y_at + d);
    return sum;
}

template <class R> __global__ void wide_forward(heads a, elements o, elements lse) {
    __shared__ R spare[32], weights[WIDE];
    int t = blockIdx.x, h = blockIdx.y, b = blockIdx.z, g = h * a.groups / a.heads, from, to;
    R acc[MOST] = {}, peak = (R)-INFINITY, total = 0;
    int64_t q_at = row_of(b, t, h, a.t_n, a.heads, a.d_n);
    keys_of(a, t, t, &from, &to);
    for (int first = from; first < to; first += WIDE) {
        int s = first + threadIdx.x;
        R score = (R)-INFINITY;
        if (visible(a, b, t, s))
            score = dot_rows<R>(a.q, q_at, a.k, row_of(b, s, g, a.s_n, a.groups, a.d_n), a.d_n) * (R)a.scale;
        R best = larger(peak, block_reduce<R, true>(score, spare));
        if (best == (R)-INFINITY) continue;
        R p = exponential(score - best), shrink = exponential(peak - best);
        weights[threadIdx.x] = p;
        total = total * shrink + block_reduce<R, false>(p, spare);
        for (int c = 0; c < MOST; c++) acc[c] *= shrink;
        add_rows<R>(acc, weights, a.v, b, first, g, a.s_n, a.groups, a.e_n);
        peak = best;
        __syncthreads();
    }
    R scale = total > 0 || total != total ? 1 / total : (R)0;
    put_row<R>(o, row_of(b, t, h, a.t_n, a.heads, a.e_n), acc, a.e_n, scale);
    if (threadIdx.x == 0)
        store<R>(lse, ((int64_t)b * a.heads + h) * a.t_n + t, peak == (R)-INFINITY ? peak : peak + logarithm(total));
}

/* p and ds of (t, s), 0 where s is hidden */
template <class R>
__device__ void slopes_of(const heads &a, elements g_o, elements lse, const R *delta, int b, int t, int h, int s, R *p,
                          R *ds) {
    int g = h * a.groups / a.heads;
    int64_t stat = ((int64_t)b * a.heads + h) * a.t_n + t;
    *p = *ds = 0;
    if (!visible(a, b, t, s)) return;
    R score = dot_rows<R>(a.q, row_of(b, t, h, a.t_n, a.heads, a.d_n), a.k, row_of(b, s, g, a.s_n, a.groups, a.d_n),
                          a.d_n) *
              (R)a.scale;
    R dp = dot_rows<R>(g_o, row_of(b, t, h, a.t_n, a.heads, a.e_n), a.v, row_of(b, s, g, a.s_n, a.groups, a.e_n),
                       a.e_n);
    *p = exponential(score - load<R>(lse, stat));
    *ds = *p * (dp - delta[stat]) * (R)a.scale;
}

template <class R> __global__ void wide_dq(heads a, elements g_o, elements lse, const R *delta, elements dq) {
    __shared__ R weights[WIDE];
    int t = blockIdx.x, h = blockIdx.y, b = blockIdx.z, g = h * a.groups / a.heads, from, to;
    R acc[MOST] = {}, p, ds;
    keys_of(a, t, t, &from, &to);
    for (int first = from; first < to; first += WIDE) {
        slopes_of<R>(a, g_o, lse, delta, b, t, h, first + threadIdx.x, &p, &ds);
        weights[threadIdx.x] = ds;
        __syncthreads();
        add_rows<R>(acc, weights, a.k, b, first, g, a.s_n, a.groups, a.d_n);
        __syncthreads();
    }
    put_row<R>(dq, row_of(b, t, h, a.t_n, a.heads, a.d_n), acc, a.d_n, (R)1);
}

template <class R>
__global__ void wide_dkv(heads a, elements g_o, elements lse, const R *delta, elements dk, elements dv) {
    __shared__ R weights[WIDE], slopes[WIDE];
    int s = blockIdx.x, g = blockIdx.y, b = blockIdx.z, per_group = a.heads / a.groups, from, to;
    R k_acc[MOST] = {}, v_acc[MOST] = {};
    queries_of(a, s, s, &from, &to);
    for (int h = g * per_group; h < (g + 1) * per_group; h++) {
        for (int first = from; first < to; first += WIDE) {
            slopes_of<R>(a, g_o, lse, delta, b, first + threadIdx.x, h, s, &weights[threadIdx.x], &slopes[threadIdx.x]);
            __syncthreads();
            add_rows<R>(k_acc, slopes, a.q, b, first, h, a.t_n, a.heads, a.d_n);
            add_rows<R>(v_acc, weights, g_o, b, first, h, a.t_n, a.heads, a.e_n);
            __syncthreads();
        }
    }
    put_row<R>(dk, row_of(b, s, g, a.s_n, a.groups, a.d_n), k_acc, a.d_n, (R)1);
    put_row<R>(dv, row_of(b, s, g, a.s_n, a.groups, a.e_n), v_acc, a.e_n, (R)1);
}

/* delta[b, h, t] = sum_e o do */
template <class R>
__global__ void delta_kernel(R *delta, elements o, elements g_o, int64_t n, int t_n, int h_n, int width) {
    EACH(i, n) {
        int64_t t = i % t_n, h = i / t_n % h_n, b = i / ((int64_t)t_n * h_n);
        int64_t at = row_of((int)b, (int)t, (int)h, t_n, h_n, width);
        delta[i] = dot_rows<R>(o, at, g_o, at, width);
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

static bool in_registers(const gpu_call *call, const heads &a) {
    for (int k = 0; k < 3; k++)
        if (call->in[k].dtype != AIRA_F32 && call->in[k].dtype != AIRA_BF16) return false;
    return !gpu_is_wide(call) && a.d_n == a.e_n && (a.d_n == 8 || a.d_n == 16 || a.d_n == 32 || a.d_n == 64);
}

#define TOO_WIDE "attention heads of more than 1024 elements are not supported on the cuda device"
#define PER_SIZE(D_, launch) \
    switch (D_) {            \
    case 8:                  \
        launch(8);           \
        break;               \
    case 16:                 \
        launch(16);          \
        break;               \
    case 32:                 \
        launch(32);          \
        break;               \
    default:                 \
        launch(64);          \
        break;               \
    }

static const char *attention(const gpu_call *call) {
    const char *why = NULL;
    if (gpu_cudnn_run(call, &why)) return why;
    heads a = heads_of(call, 3);
    elements o = of(call->out[0]), lse = of(call->out[1]);
    if (call->out[0].n == 0) return NULL;
    if (gpu_small_attention_takes(call)) return gpu_small_attention(call);
    if (gpu_flash_takes(call)) return gpu_flash(call);
    if (a.e_n > MOST * WIDE || a.d_n > MOST * WIDE) return TOO_WIDE;
    dim3 rows((unsigned)((a.t_n + ROWS - 1) / ROWS), (unsigned)a.heads, (unsigned)a.batch);
    dim3 wide((unsigned)a.t_n, (unsigned)a.heads, (unsigned)a.batch);
#define FORWARD(D) rows_forward<D><<<rows, ROWS, 0, call->stream>>>(a, o, lse)
    if (in_registers(call, a)) {
        PER_SIZE(a.d_n, FORWARD)
    } else if (gpu_is_wide(call)) {
        wide_forward<double><<<wide, WIDE, 0, call->stream>>>(a, o, lse);
    } else {
        wide_forward<float><<<wide, WIDE, 0, call->stream>>>(a, o, lse);
    }
    return gpu_launched();
}

static size_t attention_workspace(const gpu_call *call) {
    size_t bytes;
    return gpu_cudnn_prepare(call, &bytes) ? bytes : 0;
}

static size_t attention_backward_workspace(const gpu_call *call) {
    size_t bytes;
    if (gpu_cudnn_prepare(call, &bytes)) return bytes;
    heads a = heads_of(call, 6);
    return (size_t)a.batch * (size_t)a.heads * (size_t)a.t_n * sizeof(double);
}

template <class R> static void backward_wide(const gpu_call *call, const heads &a) {
    elements lse = of(call->in[4]), g_o = of(call->in[5]);
    R *delta = (R *)call->workspace;
    dim3 queries((unsigned)a.t_n, (unsigned)a.heads, (unsigned)a.batch);
    dim3 keys((unsigned)a.s_n, (unsigned)a.groups, (unsigned)a.batch);
    wide_dq<R><<<queries, WIDE, 0, call->stream>>>(a, g_o, lse, delta, of(call->out[0]));
    wide_dkv<R><<<keys, WIDE, 0, call->stream>>>(a, g_o, lse, delta, of(call->out[1]), of(call->out[2]));
}

/* (q, k, v, o, lse, do, mask) */
static const char *attention_backward(const gpu_call *call) {
    const char *why = NULL;
    if (gpu_cudnn_run(call, &why)) return why;
    heads a = heads_of(call, 6);
    elements o = of(call->in[3]), lse = of(call->in[4]), g_o = of(call->in[5]);
    int64_t n = (int64_t)a.batch * a.heads * a.t_n;
    if (n == 0) return NULL;
    if (gpu_small_attention_takes(call)) return gpu_small_attention_backward(call);
    if (gpu_flash_takes(call)) return gpu_flash_backward(call);
    if (a.e_n > MOST * WIDE || a.d_n > MOST * WIDE) return TOO_WIDE;
    if (gpu_is_wide(call)) {
        delta_kernel<double>
            <<<blocks_for(n, 128), 128, 0, call->stream>>>((double *)call->workspace, o, g_o, n, a.t_n, a.heads, a.e_n);
        backward_wide<double>(call, a);
        return gpu_launched();
    }
    float *delta = (float *)call->workspace;
    delta_kernel<float><<<blocks_for(n, 128), 128, 0, call->stream>>>(delta, o, g_o, n, a.t_n, a.heads, a.e_n);
    if (!in_registers(call, a)) {
        backward_wide<float>(call, a);
        return gpu_launched();
    }
    dim3 queries((unsigned)((a.t_n + ROWS - 1) / ROWS), (unsigned)a.heads, (unsigned)a.batch);
    dim3 keys((unsigned)((a.s_n + ROWS - 1) / ROWS), (unsigned)a.groups, (unsigned)a.batch);
    elements dq = of(call->out[0]), dk = of(call->out[1]), dv = of(call->out[2]);
#define BACKWARD(D)                                                         \
    rows_dq<D><<<queries, ROWS, 0, call->stream>>>(a, g_o, lse, delta, dq); \
    rows_dkv<D><<<keys, ROWS, 0, call->stream>>>(a, g_o, lse, delta, dk, dv)
    PER_SIZE(a.d_n, BACKWARD)
    return gpu_launched();
}

/* --- rotary positions -----------------------------------------------------------------------------------------------
 */

/* x[B,T,H,D]: pairs turn by position * base^(-2 j / n_rot); one thread per element. */
template <class R>
__global__ void rope_kernel(elements y, elements x, const int32_t *positions, int64_t n, int t_n, int h_n, int d_n,
                            int n_rot, bool interleaved, bool inverse, double base) {
    EACH(i, n) {
        int d = (int)(i % d_n), half = n_rot / 2;
        int64_t row = i / ((int64_t)d_n * h_n);
        if (d >= 2 * half) {
            store<R>(y, i, load<R>(x, i));
            continue;
        }
        int j = interleaved ? d / 2 : d % half;
        bool second = interleaved ? d & 1 : d >= half;
        int64_t other = i + (interleaved ? 1 : half) * (second ? -1 : 1);
        double position = positions ? (double)positions[row] : (double)(row % t_n), sine, cosine;
        sincos(position * pow(base, -2.0 * j / n_rot), &sine, &cosine);
        R s = (R)(inverse ? -sine : sine), mine = load<R>(x, i), theirs = load<R>(x, other);
        store<R>(y, i, mine * (R)cosine + (second ? theirs * s : -theirs * s));
    }
}

static const char *rope(const gpu_call *call) {
    const aira_shape *shape = &call->in[0].shape;
    int d_n = (int)shape->dims[3], n_rot = call->step->i[0] ? (int)call->step->i[0] : d_n;
    const int32_t *positions = call->n_in > 1 ? (const int32_t *)call->in[1].data : NULL;
    bool interleaved = call->step->i[1] != 0, inverse = call->step->i[2] != 0;
    int64_t n = call->in[0].n;
    unsigned blocks = blocks_for(n, 256);
    if (n == 0) return NULL;
    if (gpu_rope_takes(call)) return gpu_rope(call);
    if (call->in[0].dtype == AIRA_F64)
        rope_kernel<double><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), of(call->in[0]), positions, n,
                                                              (int)shape->dims[1], (int)shape->dims[2], d_n, n_rot,
                                                              interleaved, inverse, call->step->f[0]);
    else
        rope_kernel<float><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), of(call->in[0]), positions, n,
                                                             (int)shape->dims[1], (int)shape->dims[2], d_n, n_rot,
                                                             interleaved, inverse, call->step->f[0]);
    return gpu_launched();
}

static size_t rope_workspace(const gpu_call *call) {
    gpu_rope_prepare(call);
    return 0;
}

extern "C" const gpu_kernel gpu_attention_kernels[] = {
    {AIRA_OP_ATTENTION, attention, attention_workspace},
    {AIRA_OP_ATTENTION_BACKWARD, attention_backward, attention_backward_workspace},
    {AIRA_OP_ROPE, rope, rope_workspace},
    {0, NULL, NULL}};
