/* scatter.cu - SCATTER_ADD into many rows, as the gradient of an embedding is: a list of its rows for every index, then
 * a block per row of the result.
 *
 * With GPU_ADD_TENSOR the rows are added to what is in the result's place already, the gradient that tied weights get
 * as a head: rows that no index names are left alone, and a block belongs to the first index that names its row.
 *
 * A row of the result is the sum of its rows in the order they came, as in the plain kernel. Lists are filled in any
 * order: a block sorts its list, and where that is long, it looks for its rows among all indices instead.
 */
#include "element.cuh"
#include "fast.h"
#include "vector.cuh"

#define THREADS 256
#define SCANNERS 1024
#define AHEAD 8 /* rows under way */

/* All in the workspace, of v_n, v_n, v_n, v_n and n. firsts: the first index that names a row. */
typedef struct lists {
    int32_t *counts, *cursors, *firsts, *starts, *rows;
    size_t bytes;
} lists;

__global__ void count(int32_t *counts, int32_t *firsts, const int32_t *index, int n, int v_n) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n || index[k] < 0 || index[k] >= v_n) return;
    atomicAdd(&counts[index[k]], 1);
    atomicMin(&firsts[index[k]], k);
}

/* starts[v] = counts[0] + .. + counts[v - 1]; one block, a stretch of v for each thread. */
__global__ void __launch_bounds__(SCANNERS) begin_lists(int32_t *starts, const int32_t *counts, int v_n) {
    __shared__ int32_t sums[SCANNERS];
    int each = (v_n + SCANNERS - 1) / SCANNERS, first = threadIdx.x * each, end = min(v_n, first + each);
    int32_t mine = 0;
    for (int v = first; v < end; v++) mine += counts[v];
    sums[threadIdx.x] = mine;
    __syncthreads();
    for (int step = 1; step < SCANNERS; step *= 2) {
        int32_t before = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
        __syncthreads();
        sums[threadIdx.x] += before;
        __syncthreads();
    }
    int32_t at = sums[threadIdx.x] - mine;
    for (int v = first; v < end; v++) {
        starts[v] = at;
        at += counts[v];
    }
}

__global__ void fill_lists(int32_t *rows, int32_t *cursors, const int32_t *starts, const int32_t *index, int n,
                           int v_n) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n || index[k] < 0 || index[k] >= v_n) return;
    rows[starts[index[k]] + atomicAdd(&cursors[index[k]], 1)] = k;
}

/* sum += the listed rows' four columns from c on, in the list's order */
template <class T>
__device__ __forceinline__ void add_rows(float4_of *sum, const T *rows, const int32_t *list, int n, int width, int c) {
    for (int k = 0; k < n; k += AHEAD) {
        float4_of x[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
            x[j] = k + j < n && c < width ? load4(rows + (int64_t)list[k + j] * width + c) : float4_of{};
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum->v[i] += x[j].v[i];
    }
}

/* Which of the THREADS indices from `first` on are v, in order: into found, their number is returned. */
static __device__ __forceinline__ int find_rows(int32_t *found, unsigned *votes, const int32_t *index, int first, int n,
                                                int v) {
    unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5, before = 0, all = 0;
    int k = first + threadIdx.x;
    bool mine = k < n && index[k] == v;
    unsigned vote = __ballot_sync(0xffffffffu, mine);
    if (lane == 0) votes[warp] = vote;
    __syncthreads();
    for (unsigned w = 0; w < THREADS / 32; w++) {
        if (w < warp) before += __popc(votes[w]);
        all += __popc(votes[w]);
    }
    if (mine) found[before + __popc(vote & ((1u << lane) - 1))] = k;
    __syncthreads();
    return (int)all;
}

/* A block owns 1,024 columns of one row of the result; adds: the row that index blockIdx.x names first. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    add_lists(float *to, lists at, const int32_t *index, const T *rows, int n, int v_n, int width, bool adds) {
    __shared__ int32_t given[THREADS], sorted[THREADS];
    __shared__ unsigned votes[THREADS / 32];
    int v = adds ? index[blockIdx.x] : (int)blockIdx.x, c = (blockIdx.y * THREADS + threadIdx.x) * 4;
    if (v < 0 || v >= v_n || (adds && at.firsts[v] != (int)blockIdx.x)) return; /* whole blocks */
    int n_mine = at.counts[v];
    float4_of sum = {}, there = adds && c < width ? load4(to + (int64_t)v * width + c) : float4_of{};
    if (n_mine > THREADS) {
        for (int first = 0; first < n; first += THREADS) {
            int found = find_rows(sorted, votes, index, first, n, v);
            add_rows(&sum, rows, sorted, found, width, c);
            __syncthreads(); /* sorted is written again */
        }
    } else if (n_mine > 0) {
        int32_t mine = threadIdx.x < n_mine ? at.rows[at.starts[v] + threadIdx.x] : 0, rank = 0;
        if (threadIdx.x < n_mine) given[threadIdx.x] = mine;
        __syncthreads();
        for (int k = 0; k < n_mine; k++) rank += given[k] < mine;
        if (threadIdx.x < n_mine) sorted[rank] = mine;
        __syncthreads();
        add_rows(&sum, rows, sorted, n_mine, width, c);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sum.v[i] += there.v[i];
    if (c < width) store4(to + (int64_t)v * width + c, sum);
}

static int64_t width_of(const gpu_call *call) { return call->out[0].n / call->out[0].shape.dims[0]; }

bool gpu_listed_scatter_takes(const gpu_call *call) {
    const gpu_view *x = &call->in[1], *to = &call->out[0];
    int64_t n = call->in[0].n, width = to->n ? width_of(call) : 0;
    return to->dtype == AIRA_F32 && (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16) && n >= THREADS && n <= 1 << 24 &&
           width > 0 && width % 4 == 0 && width <= 65535 * 4 * THREADS && to->shape.dims[0] <= 1 << 24 &&
           aligned4(x->data, (uint32_t)gpu_bytes_of(x->dtype)) && aligned4(to->data, 4);
}

static lists lay_out(const gpu_call *call) {
    size_t v_n = (size_t)call->out[0].shape.dims[0], n = (size_t)call->in[0].n;
    int32_t *at = (int32_t *)call->workspace;
    return lists{at, at + v_n, at + 2 * v_n, at + 3 * v_n, at + 4 * v_n, (4 * v_n + n) * sizeof *at};
}

size_t gpu_listed_scatter_workspace(const gpu_call *call) { return lay_out(call).bytes; }

const char *gpu_listed_scatter(const gpu_call *call) {
    lists at = lay_out(call);
    int n = (int)call->in[0].n, v_n = (int)call->out[0].shape.dims[0], width = (int)width_of(call);
    const int32_t *index = (const int32_t *)call->in[0].data;
    float *to = (float *)call->out[0].data;
    cudaError_t error = cudaMemsetAsync(at.counts, 0, 2 * (size_t)v_n * sizeof *at.counts, call->stream);
    if (error == cudaSuccess) error = cudaMemsetAsync(at.firsts, 0x7f, (size_t)v_n * sizeof *at.firsts, call->stream);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    bool adds = (call->merged & GPU_ADD_TENSOR) != 0;
    unsigned blocks = (unsigned)((n + THREADS - 1) / THREADS);
    count<<<blocks, THREADS, 0, call->stream>>>(at.counts, at.firsts, index, n, v_n);
    begin_lists<<<1, SCANNERS, 0, call->stream>>>(at.starts, at.counts, v_n);
    fill_lists<<<blocks, THREADS, 0, call->stream>>>(at.rows, at.cursors, at.starts, index, n, v_n);
    dim3 grid((unsigned)(adds ? n : v_n), (unsigned)((width + 4 * THREADS - 1) / (4 * THREADS)));
    if (call->in[1].dtype == AIRA_BF16)
        add_lists<<<grid, THREADS, 0, call->stream>>>(to, at, index, (const __nv_bfloat16 *)call->in[1].data, n, v_n,
                                                      width, adds);
    else
        add_lists<<<grid, THREADS, 0, call->stream>>>(to, at, index, (const float *)call->in[1].data, n, v_n, width,
                                                      adds);
    return gpu_launched();
}
