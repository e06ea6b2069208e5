/* norm.cu - RMS norms for the rows that models have, and their gradient, one pass over memory each.
 *
 * A row lies in the registers of its team: a warp up to 1,024 elements, a block of 256 threads beyond. Wide rows of
 * bf16 are read eight elements at a time, forward by a warp each up to 4,096, so that no block waits for a sum.
 * Backward, a block owns ROWS_OF consecutive rows, adds their weight gradients in registers, its teams' sums in order,
 * and a second kernel adds the blocks' partial sums in chunks whose order only the number of rows decides.
 */
#include "eights.cuh"
#include "element.cuh"
#include "fast.h"
#include "sums.h"

#define THREADS 256
#define MOST_WIDTH 8192
#define ROWS_OF(TEAM) (TEAM == 32 ? 32 : 16)
#define MANY_ROWS 16384

template <int TEAM> __device__ __forceinline__ float team_sum(float v, float *spare) {
    return TEAM == 32 ? warp_sum(v) : block_reduce<float, false>(v, spare);
}

/* N vectors of four per thread; columns (n * TEAM + lane) * 4 */
template <class T, int TEAM, int N>
__global__ void __launch_bounds__(THREADS)
    rms_forward(T *y, const T *x, const float *w, int64_t rows, int width, float eps) {
    __shared__ float spare[32];
    int lane = threadIdx.x % TEAM;
    int64_t row = (int64_t)blockIdx.x * (THREADS / TEAM) + threadIdx.x / TEAM;
    if (row >= rows) return; /* whole teams: a block's own row always exists */
    float4_of v[N];
    float squares = 0;
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * TEAM + lane) * 4;
        v[n] = c < width ? load4(x + row * width + c) : float4_of{};
#pragma unroll
        for (int k = 0; k < 4; k++) squares += v[n].v[k] * v[n].v[k];
    }
    float scale = 1.0f / sqrtf(team_sum<TEAM>(squares, spare) / (float)width + eps);
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * TEAM + lane) * 4;
        if (c >= width) continue;
        float4_of weight = load4(w + c);
#pragma unroll
        for (int k = 0; k < 4; k++) v[n].v[k] *= scale * weight.v[k];
        store4(y + row * width + c, v[n]);
    }
}

/* Wide rows of bf16, width a multiple of 8: a warp per row, N vectors of eight per lane, all under way at once. */
template <int N, bool ONE>
__global__ void __launch_bounds__(THREADS)
    rms_forward_eights(__nv_bfloat16 *y, const __nv_bfloat16 *x, const float *__restrict__ w, int64_t rows, int width,
                       float eps) {
    int lane = threadIdx.x & 31;
    int64_t row = (int64_t)blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    uint4 held[N];
    float squares = 0;
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * 32 + lane) * 8;
        held[n] = c < width ? fetch8<ONE>(x + row * width + c) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        float8_of v = open8(held[n]);
        float sum = 0;
#pragma unroll
        for (int k = 0; k < 8; k++) sum += v.v[k] * v.v[k];
        squares += sum;
    }
    float scale = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * 32 + lane) * 8;
        if (c >= width) continue;
        float8_of weight = load8(w + c), v = open8(held[n]);
#pragma unroll
        for (int k = 0; k < 8; k++) v.v[k] *= scale * weight.v[k];
        store8<ONE>(y + row * width + c, v);
    }
}

/* s (w g - x pull) + more. Which of the two products is rounded is said here: the compiler would choose anew in every
   kernel, and operands that lie elsewhere, thus are read by another one, would give other bits. */
__device__ __forceinline__ float slope_of(float s, float w, float g, float x, float pull, float more) {
    return __fmaf_rn(s, __fmaf_rn(w, g, -__fmul_rn(x, pull)), more);
}

/* With n = x s and h = w g: dx = s (h - n mean(h n)) [+ residual], dw = sum over rows of g n. A warp per row. */
template <class T, int N>
__global__ void __launch_bounds__(THREADS) rms_backward(T *dx, float *partial, const T *x, const float *w, const T *g,
                                                        const T *residual, int64_t rows, int width, float eps) {
    extern __shared__ float sums[]; /* [8][width] */
    constexpr int TEAM = 32, TEAMS = THREADS / TEAM;
    int lane = threadIdx.x % TEAM, team = threadIdx.x / TEAM;
    int64_t first = (int64_t)blockIdx.x * ROWS_OF(TEAM), end = min(rows, first + ROWS_OF(TEAM));
    float4_of dw[N] = {};
#pragma unroll(N <= 2 ? 2 : 1) /* two rows under way where registers allow */
    for (int64_t row = first + team; row < end; row += TEAMS) {
        float4_of v[N], slope[N];
        float squares = 0, dot = 0;
#pragma unroll
        for (int n = 0; n < N; n++) {
            int c = (n * TEAM + lane) * 4;
            bool inside = c < width;
            v[n] = inside ? load4(x + row * width + c) : float4_of{};
            slope[n] = inside ? load4(g + row * width + c) : float4_of{};
            float4_of weight = inside ? load4(w + c) : float4_of{};
#pragma unroll
            for (int k = 0; k < 4; k++) {
                squares += v[n].v[k] * v[n].v[k];
                dot += weight.v[k] * slope[n].v[k] * v[n].v[k];
            }
        }
        squares = warp_sum(squares);
        dot = warp_sum(dot);
        float s = 1.0f / sqrtf(squares / (float)width + eps);
        float pull = dot * s * s / (float)width;
#pragma unroll
        for (int n = 0; n < N; n++) {
            int c = (n * TEAM + lane) * 4;
            if (c >= width) continue;
            float4_of weight = load4(w + c), out;
            float4_of more = residual ? load4(residual + row * width + c) : float4_of{};
#pragma unroll
            for (int k = 0; k < 4; k++) {
                dw[n].v[k] += slope[n].v[k] * v[n].v[k] * s;
                out.v[k] = slope_of(s, weight.v[k], slope[n].v[k], v[n].v[k], pull, more.v[k]);
            }
            store4(dx + row * width + c, out);
        }
    }
    float *mine = partial + (int64_t)blockIdx.x * width;
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * TEAM + lane) * 4;
        if (c < width) store4(sums + team * width + c, dw[n]);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < width; c += THREADS) {
        float sum = sums[c];
        for (int t = 1; t < TEAMS; t++) sum += sums[t * width + c];
        mine[c] = sum;
    }
}

/* Wide rows: a block takes R rows at a time, so that their loads are under way together and one barrier serves all
   their sums. Two sets of sums, so that no second barrier is needed before the next R rows write theirs. */
template <class T, int N, int R>
__global__ void __launch_bounds__(THREADS)
    rms_backward_wide(T *dx, float *partial, const T *x, const float *w, const T *g, const T *residual, int64_t rows,
                      int width, float eps) {
    __shared__ float spare[2][2 * R][THREADS / 32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, turn = 0;
    int64_t first = (int64_t)blockIdx.x * ROWS_OF(THREADS), end = min(rows, first + ROWS_OF(THREADS));
    float4_of dw[N] = {}, weight[N];
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * THREADS + threadIdx.x) * 4;
        weight[n] = c < width ? load4(w + c) : float4_of{};
    }
    for (int64_t row = first; row < end; row += R, turn ^= 1) {
        decltype(fetch4(x)) xs[R][N] = {}, gs[R][N] = {},
                            more[R][N] = {}; /* dx may lie on any of them: all before it */
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int n = 0; n < N; n++) {
                int c = (n * THREADS + threadIdx.x) * 4;
                if (c >= width || row + r >= end) continue;
                xs[r][n] = fetch4(x + (row + r) * width + c);
                gs[r][n] = fetch4(g + (row + r) * width + c);
                if (residual) more[r][n] = fetch4(residual + (row + r) * width + c);
            }
#pragma unroll
        for (int r = 0; r < R; r++) {
            float squares = 0, dot = 0;
#pragma unroll
            for (int n = 0; n < N; n++) {
                float4_of v = open4(xs[r][n]), slope = open4(gs[r][n]);
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    squares += v.v[k] * v.v[k];
                    dot += weight[n].v[k] * slope.v[k] * v.v[k];
                }
            }
            squares = warp_sum(squares);
            dot = warp_sum(dot);
            if (lane == 0) spare[turn][2 * r][warp] = squares, spare[turn][2 * r + 1][warp] = dot;
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < R; r++) {
            float squares = 0, dot = 0;
#pragma unroll
            for (int k = 0; k < THREADS / 32; k++) squares += spare[turn][2 * r][k], dot += spare[turn][2 * r + 1][k];
            float s = 1.0f / sqrtf(squares / (float)width + eps), pull = dot * s * s / (float)width;
#pragma unroll
            for (int n = 0; n < N; n++) {
                int c = (n * THREADS + threadIdx.x) * 4;
                if (c >= width || row + r >= end) continue;
                float4_of v = open4(xs[r][n]), slope = open4(gs[r][n]), add = open4(more[r][n]), out;
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    dw[n].v[k] += slope.v[k] * v.v[k] * s;
                    out.v[k] = slope_of(s, weight[n].v[k], slope.v[k], v.v[k], pull, add.v[k]);
                }
                store4(dx + (row + r) * width + c, out);
            }
        }
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * THREADS + threadIdx.x) * 4;
        if (c < width) store4(partial + (int64_t)blockIdx.x * width + c, dw[n]);
    }
}

/* R rows of the three operands, as they lie in memory: this thread's columns. */
template <int N, int R, bool ONE> struct held_rows {
    uint4 x[R][N], g[R][N], more[R][N];
    __device__ __forceinline__ void fetch(const __nv_bfloat16 *xs, const __nv_bfloat16 *gs,
                                          const __nv_bfloat16 *residual, int64_t row, int64_t end, int width) {
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int n = 0; n < N; n++) {
                int c = (n * THREADS + threadIdx.x) * 8;
                bool inside = c < width && row + r < end;
                int64_t at = (row + r) * width + c;
                x[r][n] = inside ? fetch8<ONE>(xs + at) : make_uint4(0, 0, 0, 0);
                g[r][n] = inside ? fetch8<ONE>(gs + at) : make_uint4(0, 0, 0, 0);
                more[r][n] = inside && residual ? fetch8<ONE>(residual + at) : make_uint4(0, 0, 0, 0);
            }
    }
};

/* The same for wide rows of bf16 whose width is a multiple of 8. While R rows are computed the next are under way; dx
   may lie on an operand, as a thread writes no element that another, or itself later, reads. */
template <int N, int R, bool ONE>
__global__ void __launch_bounds__(THREADS)
    rms_backward_eights(__nv_bfloat16 *dx, float *partial, const __nv_bfloat16 *x, const float *w,
                        const __nv_bfloat16 *g, const __nv_bfloat16 *residual, int64_t rows, int each, int width,
                        float eps) {
    __shared__ float spare[2][2 * R][THREADS / 32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, turn = 0;
    int64_t first = (int64_t)blockIdx.x * each, end = min(rows, first + each);
    float8_of dw[N] = {}, weight[N];
    held_rows<N, R, ONE> held, next;
    held.fetch(x, g, residual, first, end, width);
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * THREADS + threadIdx.x) * 8;
        weight[n] = c < width ? load8(w + c) : float8_of{};
    }
    for (int64_t row = first; row < end; row += R, turn ^= 1) {
        next.fetch(x, g, residual, row + R, end, width);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float squares = 0, dot = 0;
#pragma unroll
            for (int n = 0; n < N; n++) {
                float8_of v = open8(held.x[r][n]), slope = open8(held.g[r][n]);
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    squares += v.v[k] * v.v[k];
                    dot += weight[n].v[k] * slope.v[k] * v.v[k];
                }
            }
            squares = warp_sum(squares);
            dot = warp_sum(dot);
            if (lane == 0) spare[turn][2 * r][warp] = squares, spare[turn][2 * r + 1][warp] = dot;
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < R; r++) {
            float squares = 0, dot = 0;
#pragma unroll
            for (int k = 0; k < THREADS / 32; k++) squares += spare[turn][2 * r][k], dot += spare[turn][2 * r + 1][k];
            float s = 1.0f / sqrtf(squares / (float)width + eps), pull = dot * s * s / (float)width;
#pragma unroll
            for (int n = 0; n < N; n++) {
                int c = (n * THREADS + threadIdx.x) * 8;
                if (c >= width || row + r >= end) continue;
                float8_of v = open8(held.x[r][n]), slope = open8(held.g[r][n]), add = open8(held.more[r][n]), out;
#pragma unroll
                for (int k = 0; k < 8; k++) {
                    dw[n].v[k] += slope.v[k] * v.v[k] * s;
                    out.v[k] = slope_of(s, weight[n].v[k], slope.v[k], v.v[k], pull, add.v[k]);
                }
                store8<ONE>(dx + (row + r) * width + c, out);
            }
        }
        held = next;
    }
#pragma unroll
    for (int n = 0; n < N; n++) {
        int c = (n * THREADS + threadIdx.x) * 8;
        if (c >= width) continue;
        float *mine = partial + (int64_t)blockIdx.x * width + c;
        store4(mine, {{dw[n].v[0], dw[n].v[1], dw[n].v[2], dw[n].v[3]}});
        store4(mine + 4, {{dw[n].v[4], dw[n].v[5], dw[n].v[6], dw[n].v[7]}});
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

bool gpu_norm_takes(const gpu_call *call) {
    const gpu_view *x = &call->in[0], *w = &call->in[1];
    int64_t width = gpu_last(&x->shape);
    if (width % 4 || width > MOST_WIDTH || width == 0 || x->n == 0 || w->dtype != AIRA_F32) return false;
    if (x->dtype != AIRA_F32 && x->dtype != AIRA_BF16) return false;
    uint32_t bytes = (uint32_t)gpu_bytes_of(x->dtype);
    bool good = call->out[0].dtype == x->dtype && aligned4(w->data, 4) && aligned4(call->out[0].data, bytes);
    for (uint32_t k = 0; k < call->n_in; k++)
        if (k != 1) good = good && call->in[k].dtype == x->dtype && aligned4(call->in[k].data, bytes);
    return good;
}

/* launch(TEAM, N) by width */
#define BY_WIDTH(width, launch)   \
    do {                          \
        if ((width) <= 128)       \
            launch(32, 1);        \
        else if ((width) <= 256)  \
            launch(32, 2);        \
        else if ((width) <= 512)  \
            launch(32, 4);        \
        else if ((width) <= 1024) \
            launch(32, 8);        \
        else if ((width) <= 2048) \
            launch(256, 2);       \
        else if ((width) <= 4096) \
            launch(256, 4);       \
        else                      \
            launch(256, 8);       \
    } while (0)

/* Rows for kernels that read eight bf16 at once; in one access each, if `one`. */
static bool are_eights(const gpu_call *call, bool *one) {
    int64_t width = gpu_last(&call->in[0].shape);
    uintptr_t all = (uintptr_t)call->out[0].data;
    for (uint32_t k = 0; k < call->n_in; k++)
        if (k != 1) all |= (uintptr_t)call->in[k].data;
    *one = all % 16 == 0;
    return call->in[0].dtype == AIRA_BF16 && width > 1024 && width % 8 == 0;
}

static const char *forward_eights(const gpu_call *call, bool one) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width;
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)call->in[0].data;
#define EIGHTS(N, ONE)                                                                                                \
    rms_forward_eights<N, ONE><<<(unsigned)((rows + THREADS / 32 - 1) / (THREADS / 32)), THREADS, 0, call->stream>>>( \
        (__nv_bfloat16 *)call->out[0].data, x, (const float *)call->in[1].data, rows, width, (float)call->step->f[0])
    if (width <= 2048 && one)
        EIGHTS(8, true);
    else if (width <= 2048)
        EIGHTS(8, false);
    else if (one)
        EIGHTS(16, true);
    else
        EIGHTS(16, false);
    return gpu_launched();
}

template <class T> static const char *forward_as(const gpu_call *call) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width;
#define FORWARD(TEAM, N)                                                                                               \
    rms_forward<T, TEAM, N><<<(unsigned)((rows + THREADS / TEAM - 1) / (THREADS / TEAM)), THREADS, 0, call->stream>>>( \
        (T *)call->out[0].data, (const T *)call->in[0].data, (const float *)call->in[1].data, rows, width,             \
        (float)call->step->f[0])
    BY_WIDTH(width, FORWARD);
    return gpu_launched();
}

const char *gpu_norm_forward(const gpu_call *call) {
    bool one;
    if (are_eights(call, &one) && gpu_last(&call->in[0].shape) <= 4096) return forward_eights(call, one);
    return call->in[0].dtype == AIRA_BF16 ? forward_as<__nv_bfloat16>(call) : forward_as<float>(call);
}

/* Rows of a block of the gradient: more where there are blocks for every multiprocessor all the same, as each leaves a
   row of sums. */
static int64_t rows_of_block(const gpu_call *call) {
    bool one;
    int64_t width = gpu_last(&call->in[0].shape);
    if (width <= 1024) return ROWS_OF(32);
    return are_eights(call, &one) && call->in[0].n / width >= MANY_ROWS ? 2 * ROWS_OF(256) : ROWS_OF(256);
}
static int64_t blocks_of(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = width ? call->in[0].n / width : 0, per = rows_of_block(call);
    return (rows + per - 1) / per;
}

size_t gpu_norm_backward_workspace(const gpu_call *call) {
    return (size_t)(blocks_of(call) * gpu_last(&call->in[0].shape)) * sizeof(float);
}

static const char *backward_eights(const gpu_call *call, bool one) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width, blocks = blocks_of(call);
    const __nv_bfloat16 *x = (const __nv_bfloat16 *)call->in[0].data, *g = (const __nv_bfloat16 *)call->in[2].data;
    const __nv_bfloat16 *residual = call->n_in > 3 ? (const __nv_bfloat16 *)call->in[3].data : NULL;
    float *partial = (float *)call->workspace;
#define BACK_EIGHTS(N, R, ONE)                                                                              \
    rms_backward_eights<N, R, ONE><<<(unsigned)blocks, THREADS, 0, call->stream>>>(                         \
        (__nv_bfloat16 *)call->out[0].data, partial, x, (const float *)call->in[1].data, g, residual, rows, \
        (int)rows_of_block(call), width, (float)call->step->f[0])
    if (width <= 2048 && one)
        BACK_EIGHTS(1, 2, true);
    else if (width <= 2048)
        BACK_EIGHTS(1, 2, false);
    else if (width <= 4096 && one)
        BACK_EIGHTS(2, 1, true);
    else if (width <= 4096)
        BACK_EIGHTS(2, 1, false);
    else if (one)
        BACK_EIGHTS(4, 1, true);
    else
        BACK_EIGHTS(4, 1, false);
    return gpu_join_partials(&call->out[1], partial, blocks, width, call->stream);
}

template <class T> static const char *backward_as(const gpu_call *call) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width, blocks = blocks_of(call);
    const T *residual = call->n_in > 3 ? (const T *)call->in[3].data : NULL;
    T *dx = (T *)call->out[0].data;
    float *partial = (float *)call->workspace, eps = (float)call->step->f[0];
    const T *x = (const T *)call->in[0].data, *g = (const T *)call->in[2].data;
    const float *w = (const float *)call->in[1].data;
#define NARROW(N)                                                                                       \
    rms_backward<T, N><<<(unsigned)blocks, THREADS, (size_t)width * 8 * sizeof(float), call->stream>>>( \
        dx, partial, x, w, g, residual, rows, width, eps)
#define WIDE(N, R)             \
    rms_backward_wide<T, N, R> \
        <<<(unsigned)blocks, THREADS, 0, call->stream>>>(dx, partial, x, w, g, residual, rows, width, eps)
    if (width <= 128)
        NARROW(1);
    else if (width <= 256)
        NARROW(2);
    else if (width <= 512)
        NARROW(4);
    else if (width <= 1024)
        NARROW(8);
    else if (width <= 2048)
        WIDE(2, 4);
    else if (width <= 4096)
        WIDE(4, 2);
    else
        WIDE(8, 1);
    return gpu_join_partials(&call->out[1], (const float *)call->workspace, blocks, width, call->stream);
}

const char *gpu_norm_backward(const gpu_call *call) {
    bool one;
    if (are_eights(call, &one)) return backward_eights(call, one);
    return call->in[0].dtype == AIRA_BF16 ? backward_as<__nv_bfloat16>(call) : backward_as<float>(call);
}
