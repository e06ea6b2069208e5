/* scatter.cu - SCATTER_ADD into many rows, as the gradient of an embedding is: the indices are sorted, then every run
 * of equal ones is added up by a block.
 *
 * CUB's radix sort keeps equal keys in order, so a row of the result is the sum of its rows in the order they came, as
 * in the plain kernel. Rows that no index names are zeroed by the copy engine first.
 */
#include <cub/device/device_radix_sort.cuh>

#include "element.cuh"
#include "fast.h"
#include "vector.cuh"

#define THREADS 256
#define AHEAD 8 /* rows under way */
#define ALIGNED(bytes) (((bytes) + 255) & ~(size_t)255)

/* What is sorted: an index that names no row of the result becomes v_n, behind all that do. */
__global__ void number(int32_t *keys, int32_t *rows, const int32_t *index, int n, int v_n) {
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    rows[k] = k;
    keys[k] = index[k] >= 0 && index[k] < v_n ? index[k] : v_n;
}

/* A block whose position begins a run owns 1,024 columns of that run's row. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    add_runs(float *to, const int32_t *index, const int32_t *order, const T *rows, int n, int v_n, int width) {
    int first = blockIdx.x, c = (blockIdx.y * THREADS + threadIdx.x) * 4;
    int32_t v = index[first];
    if (v >= v_n || (first > 0 && index[first - 1] == v) || c >= width) return;
    float4_of sum = {};
    for (int k = first; k < n; k += AHEAD) {
        float4_of x[AHEAD];
        bool mine[AHEAD];
#pragma unroll
        for (int j = 0; j < AHEAD; j++) {
            mine[j] = k + j < n && index[k + j] == v;
            x[j] = mine[j] ? load4(rows + (int64_t)order[k + j] * width + c) : float4_of{};
        }
#pragma unroll
        for (int j = 0; j < AHEAD; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum.v[i] += x[j].v[i];
        if (!mine[AHEAD - 1]) break;
    }
    store4(to + (int64_t)v * width + c, sum);
}

/* Bits of the largest key, v_n. */
static int bits_of(int64_t v_n) {
    int bits = 1;
    while (bits < 31 && (int64_t)1 << bits <= v_n) bits++;
    return bits;
}

static int64_t width_of(const gpu_call *call) { return call->out[0].n / call->out[0].shape.dims[0]; }

bool gpu_sorted_scatter_takes(const gpu_call *call) {
    const gpu_view *x = &call->in[1], *to = &call->out[0];
    int64_t n = call->in[0].n, width = to->n ? width_of(call) : 0;
    return to->dtype == AIRA_F32 && (x->dtype == AIRA_F32 || x->dtype == AIRA_BF16) && n >= THREADS && n <= 1 << 24 &&
           width > 0 && width % 4 == 0 && width <= 65535 * 4 * THREADS && to->shape.dims[0] < INT32_MAX &&
           aligned4(x->data, (uint32_t)gpu_bytes_of(x->dtype)) && aligned4(to->data, 4);
}

/* Keys, row numbers, both in order, CUB's own. */
typedef struct lists {
    int32_t *keys, *rows, *sorted, *order;
    void *own;
    size_t own_bytes, bytes;
} lists;

static cudaError_t sort(const lists *at, size_t *own_bytes, int n, int64_t v_n, cudaStream_t stream) {
    return cub::DeviceRadixSort::SortPairs(at->own, *own_bytes, (const int32_t *)at->keys, at->sorted,
                                           (const int32_t *)at->rows, at->order, n, 0, bits_of(v_n), stream);
}

static cudaError_t lay_out(const gpu_call *call, lists *at) {
    size_t list = ALIGNED((size_t)call->in[0].n * sizeof(int32_t));
    char *from = (char *)call->workspace;
    *at = lists{(int32_t *)from, (int32_t *)(from + list), (int32_t *)(from + 2 * list), (int32_t *)(from + 3 * list)};
    cudaError_t error = sort(at, &at->own_bytes, (int)call->in[0].n, call->out[0].shape.dims[0], call->stream);
    at->own = from + 4 * list; /* after the call that only asks how much: that one wants NULL here */
    at->bytes = 4 * list + ALIGNED(at->own_bytes);
    return error;
}

size_t gpu_sorted_scatter_workspace(const gpu_call *call) {
    lists at;
    return lay_out(call, &at) == cudaSuccess ? at.bytes : 0;
}

const char *gpu_sorted_scatter(const gpu_call *call) {
    lists at;
    const gpu_view *to = &call->out[0];
    int n = (int)call->in[0].n, v_n = (int)to->shape.dims[0], width = (int)width_of(call);
    cudaError_t error = lay_out(call, &at);
    if (error == cudaSuccess) error = cudaMemsetAsync(to->data, 0, (size_t)to->n * sizeof(float), call->stream);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    number<<<(n + THREADS - 1) / THREADS, THREADS, 0, call->stream>>>(at.keys, at.rows,
                                                                      (const int32_t *)call->in[0].data, n, v_n);
    error = sort(&at, &at.own_bytes, n, v_n, call->stream);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    dim3 grid((unsigned)n, (unsigned)((width + 4 * THREADS - 1) / (4 * THREADS)));
    if (call->in[1].dtype == AIRA_BF16)
        add_runs<<<grid, THREADS, 0, call->stream>>>((float *)to->data, at.sorted, at.order,
                                                     (const __nv_bfloat16 *)call->in[1].data, n, v_n, width);
    else
        add_runs<<<grid, THREADS, 0, call->stream>>>((float *)to->data, at.sorted, at.order,
                                                     (const float *)call->in[1].data, n, v_n, width);
    return gpu_launched();
}
