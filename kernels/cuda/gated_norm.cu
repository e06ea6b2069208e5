/* gated_norm.cu - the norm of y silu(z) and its gradient (GPU_GATE, fuse_mamba.c): bf16, one pass over memory each.
 *
 * A row lies in the registers of a warp. With p = y silu(z), n = p s and h = w g: dp = s (h - n mean(h n)),
 * dy = dp silu(z), dz = dp y silu'(z), dw = sum over rows of g n. Backward, a block owns consecutive rows, adds their
 * weight gradients in registers and its warps' sums in order; a second kernel adds the blocks.
 */
#include "element.cuh"
#include "fast.h"
#include "sums.h"
#include "vector.cuh"

#define WARPS 8
#define ROWS 32 /* of a block, backward */
#define MOST_WIDTH 1024

typedef __nv_bfloat16 half16;

/* What of a row does not depend on its norm. N vectors of four per lane; columns (k * 32 + lane) * 4. */
template <int N> struct gated_row {
    float4_of y[N], silu[N], slope[N]; /* slope: of silu at z */
    float scale;                       /* s */
};

template <int N, bool SLOPE>
__device__ __forceinline__ void open_row(gated_row<N> &r, const half16 *y, const half16 *z, int width, float eps) {
    int lane = threadIdx.x & 31;
    float squares = 0;
#pragma unroll
    for (int k = 0; k < N; k++) {
        int c = (k * 32 + lane) * 4;
        float4_of gate = c < width ? load4(z + c) : float4_of{};
        r.y[k] = c < width ? load4(y + c) : float4_of{};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float open = __fdividef(1.0f, 1.0f + __expf(-gate.v[j]));
            r.silu[k].v[j] = gate.v[j] * open;
            if (SLOPE) r.slope[k].v[j] = open + r.silu[k].v[j] * (1.0f - open);
            float p = r.y[k].v[j] * r.silu[k].v[j];
            squares += p * p;
        }
    }
    r.scale = rsqrtf(warp_sum(squares) / (float)width + eps);
}

template <int N>
__global__ void __launch_bounds__(WARPS * 32) gated_norm_kernel(half16 *out, const half16 *y, const half16 *z,
                                                                const float *w, int64_t rows, int width, float eps) {
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= rows) return;
    gated_row<N> r;
    open_row<N, false>(r, y + row * width, z + row * width, width, eps);
#pragma unroll
    for (int k = 0; k < N; k++) {
        int c = (k * 32 + (int)(threadIdx.x & 31)) * 4;
        if (c >= width) continue;
        float4_of weight = load4(w + c);
#pragma unroll
        for (int j = 0; j < 4; j++) weight.v[j] *= r.y[k].v[j] * r.silu[k].v[j] * r.scale;
        store4(out + row * width + c, weight);
    }
}

/* partial[block][width] */
template <int N>
__global__ void __launch_bounds__(WARPS * 32)
    gated_norm_backward_kernel(half16 *dy, half16 *dz, float *partial, const half16 *y, const half16 *z, const float *w,
                               const half16 *g, int64_t rows, int width, float eps) {
    __shared__ float sums[WARPS][MOST_WIDTH];
    int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    int64_t first = (int64_t)blockIdx.x * ROWS, end = min(rows, first + ROWS);
    float4_of dw[N] = {};
    for (int64_t row = first + warp; row < end; row += WARPS) {
        gated_row<N> r;
        float4_of slope[N];
        float dot = 0;
#pragma unroll
        for (int k = 0; k < N; k++) {
            int c = (k * 32 + lane) * 4;
            slope[k] = c < width ? load4(g + row * width + c) : float4_of{};
        }
        open_row<N, true>(r, y + row * width, z + row * width, width, eps);
#pragma unroll
        for (int k = 0; k < N; k++) {
            int c = (k * 32 + lane) * 4;
            float4_of weight = c < width ? load4(w + c) : float4_of{};
#pragma unroll
            for (int j = 0; j < 4; j++) dot += weight.v[j] * slope[k].v[j] * r.y[k].v[j] * r.silu[k].v[j];
        }
        float pull = warp_sum(dot) * r.scale * r.scale / (float)width;
#pragma unroll
        for (int k = 0; k < N; k++) {
            int c = (k * 32 + lane) * 4;
            if (c >= width) continue;
            float4_of weight = load4(w + c), to_y, to_z;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float p = r.y[k].v[j] * r.silu[k].v[j];
                float dp = r.scale * (weight.v[j] * slope[k].v[j] - p * pull);
                dw[k].v[j] += slope[k].v[j] * p * r.scale;
                to_y.v[j] = dp * r.silu[k].v[j];
                to_z.v[j] = dp * r.y[k].v[j] * r.slope[k].v[j];
            }
            store4(dy + row * width + c, to_y);
            store4(dz + row * width + c, to_z);
        }
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        int c = (k * 32 + lane) * 4;
        if (c < width) store4(&sums[warp][c], dw[k]);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < width; c += WARPS * 32) {
        float sum = 0;
        for (int k = 0; k < WARPS; k++) sum += sums[k][c];
        partial[(int64_t)blockIdx.x * width + c] = sum;
    }
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

bool gpu_gated_norm_takes(const gpu_call *call) {
    const gpu_view *w = &call->in[1];
    int64_t width = gpu_last(&call->in[0].shape);
    bool takes = width % 4 == 0 && width <= MOST_WIDTH && call->in[0].n > 0 && w->dtype == AIRA_F32 &&
                 aligned4(w->data, 4) && aligned4(call->out[0].data, 2) && call->out[0].dtype == AIRA_BF16;
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

template <int N> static const char *backward_as(const gpu_call *call) {
    int width = (int)gpu_last(&call->in[0].shape);
    int64_t rows = call->in[0].n / width, blocks = (rows + ROWS - 1) / ROWS;
    float *partial = (float *)call->workspace;
    gated_norm_backward_kernel<N><<<(unsigned)blocks, WARPS * 32, 0, call->stream>>>(
        (half16 *)call->out[0].data, (half16 *)call->out[2].data, partial, (const half16 *)call->in[0].data,
        (const half16 *)call->in[3].data, (const float *)call->in[1].data, (const half16 *)call->in[2].data, rows,
        width, (float)call->step->f[0]);
    return gpu_join_partials(&call->out[1], partial, blocks, width, call->stream);
}

const char *gpu_gated_norm_backward(const gpu_call *call) {
    int64_t width = gpu_last(&call->in[0].shape);
    if (width <= 128) return backward_as<1>(call);
    if (width <= 256) return backward_as<2>(call);
    return width <= 512 ? backward_as<4>(call) : backward_as<8>(call);
}
