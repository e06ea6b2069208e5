/* gated_norm.cu - the norm of y silu(z) and its gradient (GPU_GATE, fuse_mamba.c): bf16, one pass over memory each.
 *
 * A row lies in the registers of a warp. With p = y silu(z), n = p s and h = w g: dp = s (h - n mean(h n)),
 * dy = dp silu(z), dz = dp y silu'(z), dw = sum over rows of g n. Backward, a block owns consecutive rows, adds their
 * weight gradients in registers and its warps' sums in order; a second kernel adds the blocks.
 */
#include "approx.cuh"
#include "element.cuh"
#include "fast.h"
#include "sums.h"
#include "vector.cuh"

#define WARPS 8
#define ROWS 32 /* of a block, backward */
#define MOST_WIDTH 1024

typedef __nv_bfloat16 half16;

/* 1 / (1 + e^-x) as (1 + tanh(x / 2)) / 2: one instruction of the slow unit; within 2^-12, which bf16 does not show */

/* Are there the columns of this lane's vector k? FULL: rows have N * 128. */
template <bool FULL> static __device__ __forceinline__ bool has(int k, int width) {
    return FULL || (k * 32 + (int)(threadIdx.x & 31)) * 4 < width;
}

/* A row as it lies in memory: N vectors of four per lane, columns (k * 32 + lane) * 4; zeros beyond the last. from: the
   lane's first. */
template <int N, bool FULL>
static __device__ __forceinline__ void fetch_lane(uint2 *to, const half16 *from, int width) {
#pragma unroll
    for (int k = 0; k < N; k++) to[k] = has<FULL>(k, width) ? fetch4(from + k * 128) : make_uint2(0, 0);
}
template <int N> static __device__ __forceinline__ void fetch_row(uint2 *to, const half16 *from, int width) {
    fetch_lane<N, false>(to, from + (threadIdx.x & 31) * 4, width);
}
template <int N> static __device__ __forceinline__ void fetch_weights(float4_of *to, const float *from, int width) {
#pragma unroll
    for (int k = 0; k < N; k++) {
        int c = (k * 32 + (int)(threadIdx.x & 31)) * 4;
        to[k] = c < width ? load4(from + c) : float4_of{};
    }
}

template <int N>
__global__ void __launch_bounds__(WARPS * 32) gated_norm_kernel(half16 *out, const half16 *y, const half16 *z,
                                                                const float *w, int64_t rows, int width, float eps) {
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= rows) return;
    uint2 packed_y[N], packed_z[N];
    float4_of weight[N], p[N];
    float squares = 0;
    fetch_row<N>(packed_y, y + row * width, width);
    fetch_row<N>(packed_z, z + row * width, width);
    fetch_weights<N>(weight, w, width);
#pragma unroll
    for (int k = 0; k < N; k++) {
        float4_of value = open4(packed_y[k]), gate = open4(packed_z[k]);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            p[k].v[j] = value.v[j] * gate.v[j] * sigmoid_near(gate.v[j]);
            squares += p[k].v[j] * p[k].v[j];
        }
    }
    float scale = rsqrtf(warp_sum(squares) / (float)width + eps);
#pragma unroll
    for (int k = 0; k < N; k++) {
        int c = (k * 32 + (int)(threadIdx.x & 31)) * 4;
        if (c >= width) continue;
#pragma unroll
        for (int j = 0; j < 4; j++) weight[k].v[j] *= p[k].v[j] * scale;
        store4(out + row * width + c, weight[k]);
    }
}

/* What a lane reads of a row before it computes. */
template <int N> struct gated_row { uint2 y[N], z[N], g[N]; };
template <int N, bool FULL>
static __device__ __forceinline__ void fetch_rows(gated_row<N> &r, const half16 *y, const half16 *z, const half16 *g,
                                                  int at, int width) {
    fetch_lane<N, FULL>(r.y, y + at, width);
    fetch_lane<N, FULL>(r.z, z + at, width);
    fetch_lane<N, FULL>(r.g, g + at, width);
}

/* Four floats of shared memory, which the compiler does not keep from the time before: they would take registers. */
static __device__ __forceinline__ float4_of read_again(const float *from) {
    float4_of x;
    asm volatile("ld.volatile.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(x.v[0]), "=f"(x.v[1]), "=f"(x.v[2]), "=f"(x.v[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(from)));
    return x;
}

/* dy and dz of a row, and its part of dw. Both sums over the row are taken at once: that of h p needs no norm.
   dy, dz, w: at the lane's first column; inverse: 1 / width. */
template <int N, bool FULL>
static __device__ __forceinline__ void row_back(half16 *dy, half16 *dz, float4_of *dw, gated_row<N> r, const float *w,
                                                int width, float inverse, float eps) {
    float4_of silu[N], q[N]; /* q: y times the slope of silu at z */
    float squares = 0, dot = 0;
#pragma unroll
    for (int k = 0; k < N; k++) {
        float4_of y = open4(r.y[k]), z = open4(r.z[k]), g = open4(r.g[k]), weight = load4(w + k * 128);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float open = sigmoid_near(z.v[j]), s = z.v[j] * open;
            float p = y.v[j] * s;
            silu[k].v[j] = s;
            q[k].v[j] = y.v[j] * (open + (s - s * open));
            squares += p * p;
            dot += weight.v[j] * g.v[j] * p;
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        squares += __shfl_xor_sync(0xffffffffu, squares, step);
        dot += __shfl_xor_sync(0xffffffffu, dot, step);
    }
    float scale = rsqrtf(squares * inverse + eps), pull = dot * scale * scale * scale * inverse;
#pragma unroll
    for (int k = 0; k < N; k++) {
        if (!has<FULL>(k, width)) continue;
        asm volatile("" : "+r"(r.y[k].x), "+r"(r.y[k].y)); /* p is computed again: it would take registers */
        float4_of y = open4(r.y[k]), g = open4(r.g[k]), weight = read_again(w + k * 128), to_y, to_z;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float p = y.v[j] * silu[k].v[j], slope = g.v[j] * scale, dp = weight.v[j] * slope - p * pull;
            dw[k].v[j] += slope * p;
            to_y.v[j] = dp * silu[k].v[j];
            to_z.v[j] = dp * q[k].v[j];
        }
        store4(dy + k * 128, to_y);
        store4(dz + k * 128, to_z);
    }
}

/* Blocks on a multiprocessor: up to 256 columns 16,384 rows are one wave of four. */
static constexpr int blocks_of(int vectors) { return vectors <= 2 ? 4 : vectors == 4 ? 2 : 1; }

/* partial[block][width] */
template <int N, bool FULL>
__global__ void __launch_bounds__(WARPS * 32, blocks_of(N))
    gated_norm_backward_kernel(half16 *dy, half16 *dz, float *partial, const half16 *y, const half16 *z, const float *w,
                               const half16 *g, int rows, int width, float inverse, float eps) {
    __shared__ __align__(16) float sums[WARPS][N * 128], weights[N * 128];
    int lane = threadIdx.x & 31, warp = threadIdx.x / 32, step = WARPS * width;
    int first = (int)blockIdx.x * ROWS, end = min(rows, first + ROWS);
    int at = (first + warp) * width + lane * 4; /* of the lane's first column */
    float4_of dw[N] = {};
    gated_row<N> next;
    if (first + warp < end) fetch_rows<N, FULL>(next, y, z, g, at, width);
    for (int c = threadIdx.x; c < N * 128; c += WARPS * 32) weights[c] = c < width ? w[c] : 0.0f;
    __syncthreads();
#pragma unroll 1
    for (int left = end - first - warp; left > 0; left -= WARPS, at += step) {
        gated_row<N> r = next;
        if (left > WARPS) fetch_rows<N, FULL>(next, y, z, g, at + step, width);
        row_back<N, FULL>(dy + at, dz + at, dw, r, weights + lane * 4, width, inverse, eps);
    }
#pragma unroll
    for (int k = 0; k < N; k++)
        if (has<FULL>(k, width)) store4(&sums[warp][(k * 32 + lane) * 4], dw[k]);
    __syncthreads();
#pragma unroll 1
    for (int c = threadIdx.x; c < width; c += WARPS * 32) {
        float sum = 0;
#pragma unroll
        for (int k = 0; k < WARPS; k++) sum += sums[k][c];
        partial[(int64_t)blockIdx.x * width + c] = sum;
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

bool gpu_gated_norm_takes(const gpu_call *call) {
    const gpu_view *w = &call->in[1];
    int64_t width = gpu_last(&call->in[0].shape);
    bool takes = width % 4 == 0 && width <= MOST_WIDTH && call->in[0].n > 0 && call->in[0].n < INT32_MAX / 2 &&
                 w->dtype == AIRA_F32 && aligned4(w->data, 4) && aligned4(call->out[0].data, 2) &&
                 call->out[0].dtype == AIRA_BF16;
    for (uint32_t k = 0; k < call->n_in; k++)
        if (k != 1) takes = takes && call->in[k].dtype == AIRA_BF16 && aligned4(call->in[k].data, 2);
    if (call->n_out > 1) takes = takes && call->out[2].dtype == AIRA_BF16 && aligned4(call->out[2].data, 2);
    return takes;
}

template <int N> static const char *forward_as(const gpu_call *call) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width;
    gated_norm_kernel<N><<<(unsigned)((rows + WARPS - 1) / WARPS), WARPS * 32, 0, call->stream>>>(
        (half16 *)call->out[0].data, (const half16 *)call->in[0].data, (const half16 *)call->in[2].data,
        (const float *)call->in[1].data, rows, width, (float)call->step->f[0]);
    return gpu_launched();
}

const char *gpu_gated_norm(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape);
    if (width <= 128) return forward_as<1>(call);
    if (width <= 256) return forward_as<2>(call);
    return width <= 512 ? forward_as<4>(call) : forward_as<8>(call);
}

size_t gpu_gated_norm_backward_workspace(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape), rows = call->in[0].n / width;
    return (size_t)((rows + ROWS - 1) / ROWS * width) * sizeof(float);
}

template <int N, bool FULL> static const char *backward_as(const gpu_call *call) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width, blocks = (rows + ROWS - 1) / ROWS;
    float *partial = (float *)call->workspace;
    gated_norm_backward_kernel<N, FULL><<<(unsigned)blocks, WARPS * 32, 0, call->stream>>>(
        (half16 *)call->out[0].data, (half16 *)call->out[2].data, partial, (const half16 *)call->in[0].data,
        (const half16 *)call->in[3].data, (const float *)call->in[1].data, (const half16 *)call->in[2].data, (int)rows,
        width, 1.0f / (float)width, (float)call->step->f[0]);
    return gpu_join_partials(&call->out[1], partial, blocks, width, call->stream);
}
template <int N> static const char *backward_with(const gpu_call *call) {
    return gpu_last(&call->in[0].shape) == N * 128 ? backward_as<N, true>(call) : backward_as<N, false>(call);
}

const char *gpu_gated_norm_backward(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape);
    if (width <= 128) return backward_with<1>(call);
    if (width <= 256) return backward_with<2>(call);
    return width <= 512 ? backward_with<4>(call) : backward_with<8>(call);
}
