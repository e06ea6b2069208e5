/* sums.cu - sums that training steps are full of: columns of [rows, n], and whole tensors to one number.
 *
 * Both in two stages whose order only shapes decide: blocks of fixed size, then their partial sums.
 */
#include "element.cuh"
#include "fast.h"
#include "join.cuh"
#include "sums.h"
#include "vector.cuh"

/* --- columns ---------------------------------------------------------------------------------------------------------
 */

#define FEW 8192 /* results at most, of which a thread each would read part after part on an idle GPU */
#define CHUNK 64 /* rows of a block: 8 warps, 8 rows each; a warp reads 128 columns of a row */

template <class T>
__global__ void __launch_bounds__(256) column_chunks(float *partial, const T *x, int64_t rows, int n) {
    __shared__ float4 sums[8][32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, c = (blockIdx.y * 32 + lane) * 4;
    int64_t first = (int64_t)blockIdx.x * CHUNK + warp * (CHUNK / 8);
    float4_of sum = {};
    if (c < n) {
#pragma unroll
        for (int r = 0; r < CHUNK / 8; r++) {
            float4_of v = first + r < rows ? load4(x + (first + r) * n + c) : float4_of{};
#pragma unroll
            for (int k = 0; k < 4; k++) sum.v[k] += v.v[k];
        }
    }
    sums[warp][lane] = make_float4(sum.v[0], sum.v[1], sum.v[2], sum.v[3]);
    __syncthreads();
    if (warp || c >= n) return;
    for (int w = 1; w < 8; w++) {
        float4 v = sums[w][lane];
        sum.v[0] += v.x, sum.v[1] += v.y, sum.v[2] += v.z, sum.v[3] += v.w;
    }
    store4(partial + (int64_t)blockIdx.x * n + c, sum);
}

/* SUM over the leading axes of a contiguous fp32 or bf16 tensor. */
static bool columns_of(const gpu_call *call, int64_t *rows, int64_t *n) {
    const aira_shape *s = &call->in[0].shape;
    uint32_t axis = 0;
    int64_t mask = call->step->i[0];
    while (axis < s->rank && mask >> axis & 1) axis++;
    if (axis == 0 || axis == s->rank || mask >> axis) return false;
    *rows = gpu_extent(s, 0, axis);
    *n = gpu_extent(s, axis, s->rank);
    return true;
}

bool gpu_columns_takes(const gpu_call *call) {
    int64_t rows, n;
    const gpu_view *x = &call->in[0];
    uint32_t bytes = (uint32_t)gpu_bytes_of(x->dtype);
    return columns_of(call, &rows, &n) && (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16) && rows >= 2 * CHUNK &&
           n % 4 == 0 && n > 0 && n <= 65535 * 128 && rows <= (int64_t)CHUNK * INT32_MAX && aligned4(x->data, bytes) &&
           call->out[0].dtype != AIRA_F64;
}

size_t gpu_columns_workspace(const gpu_call *call) {
    int64_t rows = 0, n = 0;
    (void)columns_of(call, &rows, &n);
    return (size_t)((rows + CHUNK - 1) / CHUNK * n) * sizeof(float);
}

const char *gpu_columns(const gpu_call *call) {
    int64_t rows = 0, n = 0;
    (void)columns_of(call, &rows, &n);
    int64_t chunks = (rows + CHUNK - 1) / CHUNK;
    dim3 grid((unsigned)chunks, (unsigned)((n + 127) / 128));
    float *partial = (float *)call->workspace;
    if (call->in[0].dtype == AIRA_BF16)
        column_chunks<<<grid, 256, 0, call->stream>>>(partial, (const __nv_bfloat16 *)call->in[0].data, rows, (int)n);
    else
        column_chunks<<<grid, 256, 0, call->stream>>>(partial, (const float *)call->in[0].data, rows, (int)n);
    return gpu_join_partials(&call->out[0], partial, chunks, n, call->stream);
}

const char *gpu_join_partials(const gpu_view *to, const float *partial, int64_t chunks, int64_t width,
                              cudaStream_t stream) {
    join_plan plan = {.n = width, .inner = width, .step = 0, .outer = chunks, .outer_step = width, .parts = 1};
    if (width > 0 && width <= FEW && chunks > 4 && chunks <= 32)
        join_columns_kernel<float><<<(unsigned)((width + 31) / 32), 1024, 0, stream>>>(of(*to), partial, plan);
    else
        join<float>(of(*to), partial, plan, stream);
    return gpu_launched();
}

/* --- rows by index -------------------------------------------------------------------------------------------------
 */

#define ROWS 128              /* of a block */
#define AHEAD 16              /* rows that a warp has on their way */
#define MOST_ROWS 64          /* of the result */
#define MOST_BYTES (64 << 10) /* of a block's sums: three blocks on a multiprocessor */

/* `columns` of four neighbours; FOURS: all or none of them exist, and they are one access. */
template <class T, bool FOURS> __device__ __forceinline__ float4_of columns_at(const T *from, int columns) {
    float4_of x = {};
    if constexpr (FOURS) {
        if (columns > 0) x = load4(from);
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (k < columns) x.v[k] = (float)from[k];
    }
    return x;
}

/* partial[chunk][v, c] = sum over the chunk's rows k with index[k] == v. A block owns 128 columns; a warp adds its
   share of the rows in order into sums of its own, and those are added in order. */
template <class T, int WARPS, bool FOURS>
__global__ void __launch_bounds__(WARPS * 32)
    scatter_chunks(float *partial, const int32_t *index, const T *rows, int64_t n, int v_n, int width) {
    extern __shared__ float4 sums[]; /* [WARPS][v_n][32] */
    constexpr int EACH = ROWS / WARPS;
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, c = (blockIdx.y * 32 + lane) * 4;
    float4 *mine = sums + warp * v_n * 32 + lane;
    int64_t first = (int64_t)blockIdx.x * ROWS + warp * EACH;
    for (int done = 0; done < EACH; done += AHEAD, first += AHEAD) {
        int left = (int)max((int64_t)0, min((int64_t)AHEAD, n - first));
        int32_t to = lane < left ? index[first + lane] : -1;
        const T *from = rows + first * width + c;
        float4_of x[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            x[j] = columns_at<T, FOURS>(from + (int64_t)j * width, j < left ? width - c : 0);
        for (int v = 0; v < v_n && done == 0; v++) mine[v * 32] = make_float4(0, 0, 0, 0); /* while rows arrive */
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            int v = __shfl_sync(0xffffffffu, to, j);
            if (v < 0 || v >= v_n) continue;
            float4 sum = mine[v * 32];
            mine[v * 32] = make_float4(sum.x + x[j].v[0], sum.y + x[j].v[1], sum.z + x[j].v[2], sum.w + x[j].v[3]);
        }
    }
    __syncthreads();
    for (int v = warp; v < v_n; v += WARPS) {
        float4_of sum = {};
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            float4 x = sums[(w * v_n + v) * 32 + lane];
            sum.v[0] += x.x, sum.v[1] += x.y, sum.v[2] += x.z, sum.v[3] += x.w;
        }
        float *at = partial + ((int64_t)blockIdx.x * v_n + v) * width + c;
        if constexpr (FOURS) {
            if (c < width) store4(at, sum);
        } else {
#pragma unroll
            for (int k = 0; k < 4; k++)
                if (c + k < width) at[k] = sum.v[k];
        }
    }
}

bool gpu_scatter_takes(const gpu_call *call) {
    const aira_shape *s = &call->out[0].shape;
    const gpu_view *x = &call->in[1];
    return s->dims[0] <= MOST_ROWS && call->in[0].n >= 4 * ROWS && call->in[0].n <= (int64_t)ROWS * INT32_MAX &&
           (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16) && call->out[0].n > 0 && call->out[0].n < INT32_MAX &&
           (call->out[0].dtype == AIRA_F32 || call->out[0].dtype == AIRA_BF16);
}

size_t gpu_scatter_workspace(const gpu_call *call) {
    return (size_t)((call->in[0].n + ROWS - 1) / ROWS * call->out[0].n) * sizeof(float);
}

template <class T, int WARPS, bool FOURS> static const char *run_scatter(const gpu_call *call) {
    int64_t n = call->in[0].n, width = call->out[0].n / call->out[0].shape.dims[0];
    int v_n = (int)call->out[0].shape.dims[0], bytes = WARPS * v_n * 32 * (int)sizeof(float4);
    dim3 grid((unsigned)((n + ROWS - 1) / ROWS), (unsigned)((width + 127) / 128));
    cudaError_t error = cudaFuncSetAttribute(scatter_chunks<T, WARPS, FOURS>,
                                             cudaFuncAttributeMaxDynamicSharedMemorySize, MOST_BYTES);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    scatter_chunks<T, WARPS, FOURS><<<grid, WARPS * 32, bytes, call->stream>>>(
        (float *)call->workspace, (const int32_t *)call->in[0].data, (const T *)call->in[1].data, n, v_n, (int)width);
    return gpu_launched();
}

/* As many warps as their sums have room for. */
template <class T, bool FOURS> static const char *run_scatter(const gpu_call *call) {
    int v_n = (int)call->out[0].shape.dims[0];
    static_assert(2 * MOST_ROWS * 32 * sizeof(float4) == MOST_BYTES, "");
    return v_n <= MOST_ROWS / 4   ? run_scatter<T, 8, FOURS>(call)
           : v_n <= MOST_ROWS / 2 ? run_scatter<T, 4, FOURS>(call)
                                  : run_scatter<T, 2, FOURS>(call);
}
template <class T> static const char *run_scatter(const gpu_call *call) {
    bool fours = call->out[0].n / call->out[0].shape.dims[0] % 4 == 0 && aligned4(call->in[1].data, sizeof(T));
    return fours ? run_scatter<T, true>(call) : run_scatter<T, false>(call);
}

const char *gpu_scatter(const gpu_call *call) {
    int64_t chunks = (call->in[0].n + ROWS - 1) / ROWS;
    const char *why = call->in[1].dtype == AIRA_BF16 ? run_scatter<__nv_bfloat16>(call) : run_scatter<float>(call);
    if (why) return why;
    return gpu_join_partials(&call->out[0], (const float *)call->workspace, chunks, call->out[0].n, call->stream);
}

/* --- whole tensors, many at once --- */

/* This thread's share of first..end, four neighbours at a time. */
template <class T> __device__ __forceinline__ float fours(const T *from, int64_t first, int64_t end, uint32_t squares) {
    float sum = 0;
#pragma unroll 4
    for (int64_t i = first + 4 * threadIdx.x; i < end; i += 1024) {
        float4_of v = load4(from + i);
#pragma unroll
        for (int k = 0; k < 4; k++) v.v[k] = squares ? __fmul_rn(v.v[k], v.v[k]) : v.v[k];
        sum += (v.v[0] + v.v[1]) + (v.v[2] + v.v[3]);
    }
    return sum;
}

__global__ void __launch_bounds__(256) scalar_chunks(float *partial, const gpu_sum *sums, const gpu_block *blocks) {
    __shared__ float spare[32];
    gpu_block block = blocks[blockIdx.x];
    gpu_sum s = sums[block.member];
    int64_t first = (int64_t)block.part * GPU_SUM_CHUNK, end = min(s.n, first + GPU_SUM_CHUNK);
    elements x = {s.from, s.dtype};
    float sum = 0;
    if (s.dtype == AIRA_F32 && s.n % 4 == 0) {
        sum = fours((const float *)s.from, first, end, s.squares);
    } else if (s.dtype == AIRA_BF16 && s.n % 4 == 0 && (uintptr_t)s.from % 8 == 0) {
        sum = fours((const __nv_bfloat16 *)s.from, first, end, s.squares);
    } else if (s.dtype == AIRA_BF16 && s.n % 4 == 0) { /* the same order: bits do not depend on the place */
        for (int64_t i = first + 4 * threadIdx.x; i < end; i += 1024) {
            float v[4];
#pragma unroll
            for (int k = 0; k < 4; k++) {
                v[k] = load<float>(x, i + k);
                v[k] = s.squares ? __fmul_rn(v[k], v[k]) : v[k];
            }
            sum += (v[0] + v[1]) + (v[2] + v[3]);
        }
    } else {
        for (int64_t i = first + threadIdx.x; i < end; i += 256) {
            float v = load<float>(x, i);
            sum += s.squares ? __fmul_rn(v, v) : v;
        }
    }
    sum = block_reduce<float, false>(sum, spare);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/* One warp per tensor; its partial sums lie from `first` on. */
__global__ void __launch_bounds__(32) scalar_join(const gpu_sum *sums, const float *partial) {
    gpu_sum s = sums[blockIdx.x];
    int64_t parts = (s.n + GPU_SUM_CHUNK - 1) / GPU_SUM_CHUNK;
    float sum = 0;
    for (int64_t k = threadIdx.x; k < parts; k += 32) sum += partial[s.first + k];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) store<float>(elements{s.to, s.to_dtype}, 0, sum);
}

const char *gpu_sums_run(const gpu_sum *sums, uint32_t n, const gpu_block *blocks, uint32_t n_blocks, float *partial,
                         cudaStream_t stream) {
    if (n_blocks) scalar_chunks<<<n_blocks, 256, 0, stream>>>(partial, sums, blocks);
    scalar_join<<<n, 32, 0, stream>>>(sums, partial);
    return gpu_launched();
}
