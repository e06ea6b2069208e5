/* grouped.cu - products of groups of rows with a matrix per group (mixtures of experts), and their weight gradients.
 *
 * Rows lie group by group; the counts are read where they are, in device memory, so that one captured graph serves every
 * routing. One block owns a tile of the result. Tiles of rows may touch several groups: each group in turn is multiplied
 * with the other groups' rows as zeros. Sums run along K (or along a group's rows) in order, in float or double.
 */
#include "element.cuh"

#define TILE 64 /* rows and columns of a block's tile */
#define DEPTH 16 /* of a step along the sum */
#define SIDE 4  /* rows and columns of a thread's part: threads are 16 x 16 */

/* Rows [from, to) of a group that lie in [0, n). */
struct span {
    int64_t from, to;
};

__device__ __forceinline__ span clipped(int64_t from, int64_t count, int64_t n) {
    span r = {from < n ? from : n, from + count < n ? from + count : n};
    return r;
}

template <class R> __device__ __forceinline__ void add_product(R (*sum)[SIDE], R (*a)[TILE + 1], R (*b)[TILE + 1]) {
    int row = threadIdx.x / 16 * SIDE, column = threadIdx.x % 16;
#pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        R x[SIDE], y[SIDE];
#pragma unroll
        for (int i = 0; i < SIDE; i++) {
            x[i] = a[k][row + i];
            y[i] = b[k][column + 16 * i];
        }
#pragma unroll
        for (int i = 0; i < SIDE; i++)
#pragma unroll
            for (int j = 0; j < SIDE; j++) sum[i][j] += x[i] * y[j];
    }
}

struct grouped {
    int64_t n, k, m, groups; /* rows, and extents of a group's matrix [k, m] */
    bool transposed;         /* w is [E, m, k] */
    elements x, w, counts;   /* of the weight gradient: w is g[n, m] */
};

/* y[n, m]: blockIdx.x: tile of columns, blockIdx.y and z: tile of rows. */
template <class R> __global__ void __launch_bounds__(256) grouped_kernel(grouped p, elements y) {
    __shared__ R a[DEPTH][TILE + 1], b[DEPTH][TILE + 1];
    int64_t row0 = ((int64_t)blockIdx.z * gridDim.y + blockIdx.y) * TILE, column0 = (int64_t)blockIdx.x * TILE, at = 0;
    R sum[SIDE][SIDE] = {};
    for (int64_t e = 0; e < p.groups && at < row0 + TILE && at < p.n; e++) {
        int64_t count = load<int64_t>(p.counts, e);
        span rows = clipped(at, count, p.n);
        at += count;
        if (rows.to <= row0 || rows.from >= row0 + TILE || rows.from == rows.to) continue;
        for (int64_t k0 = 0; k0 < p.k; k0 += DEPTH) {
            __syncthreads();
            for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
                int64_t row = row0 + i / DEPTH, k = k0 + i % DEPTH;
                bool in = row >= rows.from && row < rows.to && k < p.k;
                a[i % DEPTH][i / DEPTH] = in ? load<R>(p.x, row * p.k + k) : (R)0;
                int64_t column = column0 + (p.transposed ? i / DEPTH : i % TILE);
                int depth = p.transposed ? i % DEPTH : i / TILE;
                in = column < p.m && k0 + depth < p.k;
                int64_t from = p.transposed ? (e * p.m + column) * p.k + k0 + depth : (e * p.k + k0 + depth) * p.m + column;
                b[depth][column - column0] = in ? load<R>(p.w, from) : (R)0;
            }
            __syncthreads();
            add_product<R>(sum, a, b);
        }
    }
    for (int i = 0; i < SIDE; i++) {
        int64_t row = row0 + threadIdx.x / 16 * SIDE + i;
        for (int j = 0; j < SIDE; j++) {
            int64_t column = column0 + threadIdx.x % 16 + 16 * j;
            if (row < p.n && column < p.m) store<R>(y, row * p.m + column, sum[i][j]);
        }
    }
}

/* dw[e, k, m] = sum over the group's rows of x[row, k] g[row, m]: blockIdx.x, y: tile of m, of k; z: group. */
template <class R> __global__ void __launch_bounds__(256) grouped_wgrad_kernel(grouped p, elements dw) {
    __shared__ R a[DEPTH][TILE + 1], b[DEPTH][TILE + 1];
    int64_t k0 = (int64_t)blockIdx.y * TILE, m0 = (int64_t)blockIdx.x * TILE, at = 0;
    R sum[SIDE][SIDE] = {};
    for (int64_t e = 0; e < blockIdx.z; e++) at += load<int64_t>(p.counts, e);
    span rows = clipped(at, load<int64_t>(p.counts, blockIdx.z), p.n);
    for (int64_t row0 = rows.from; row0 < rows.to; row0 += DEPTH) {
        __syncthreads();
        for (int i = threadIdx.x; i < TILE * DEPTH; i += 256) {
            int64_t row = row0 + i / TILE, k = k0 + i % TILE, m = m0 + i % TILE;
            a[i / TILE][i % TILE] = row < rows.to && k < p.k ? load<R>(p.x, row * p.k + k) : (R)0;
            b[i / TILE][i % TILE] = row < rows.to && m < p.m ? load<R>(p.w, row * p.m + m) : (R)0;
        }
        __syncthreads();
        add_product<R>(sum, a, b);
    }
    for (int i = 0; i < SIDE; i++) {
        int64_t k = k0 + threadIdx.x / 16 * SIDE + i;
        for (int j = 0; j < SIDE; j++) {
            int64_t m = m0 + threadIdx.x % 16 + 16 * j;
            if (k < p.k && m < p.m) store<R>(dw, (blockIdx.z * p.k + k) * p.m + m, sum[i][j]);
        }
    }
}

static int64_t tiles(int64_t n) { return (n + TILE - 1) / TILE; }

/* Wide: the counts are I32, which does not count. */
static bool is_wide(const gpu_call *call) {
    return call->in[0].dtype == AIRA_F64 || call->in[1].dtype == AIRA_F64 || call->out[0].dtype == AIRA_F64;
}

static const char *grouped_matmul(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    int64_t m = call->out[0].shape.dims[1], rows = tiles(x->dims[0]), most = 32768;
    grouped p = {x->dims[0], x->dims[1], m, call->in[2].n, call->step->i[0] != 0};
    p.x = of(call->in[0]);
    p.w = of(call->in[1]);
    p.counts = of(call->in[2]);
    if (call->out[0].n == 0) return NULL;
    int64_t y = rows < most ? rows : most;
    dim3 grid((unsigned)tiles(m), (unsigned)y, (unsigned)((rows + y - 1) / y));
    if (is_wide(call))
        grouped_kernel<double><<<grid, 256, 0, call->stream>>>(p, of(call->out[0]));
    else
        grouped_kernel<float><<<grid, 256, 0, call->stream>>>(p, of(call->out[0]));
    return gpu_launched();
}

static const char *grouped_wgrad(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape, *g = &call->in[1].shape;
    grouped p = {x->dims[0], x->dims[1], g->dims[1], call->in[2].n, false};
    p.x = of(call->in[0]);
    p.w = of(call->in[1]);
    p.counts = of(call->in[2]);
    if (call->out[0].n == 0) return NULL;
    dim3 grid((unsigned)tiles(p.m), (unsigned)tiles(p.k), (unsigned)p.groups);
    if (is_wide(call))
        grouped_wgrad_kernel<double><<<grid, 256, 0, call->stream>>>(p, of(call->out[0]));
    else
        grouped_wgrad_kernel<float><<<grid, 256, 0, call->stream>>>(p, of(call->out[0]));
    return gpu_launched();
}

extern "C" const gpu_kernel gpu_grouped_kernels[] = {{AIRA_OP_GROUPED_MATMUL, grouped_matmul, NULL},
                                                     {AIRA_OP_GROUPED_WGRAD, grouped_wgrad, NULL},
                                                     {0, NULL, NULL}};
