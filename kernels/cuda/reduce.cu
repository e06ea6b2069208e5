/* reduce.cu - sums and maxima over axes, running sums, scatter-adds, orders.
 *
 * Every sum has one order, whatever the launch: one thread or one block per result, and where few results have many
 * elements, partial sums of fixed chunks of rows that are then added chunk by chunk.
 */
#include "element.cuh"
#include "fast.h"

/* --- over axes -----------------------------------------------------------------------------------------------------
 */

/* Kept axes and reduced axes of an operand, each as a little strided space. */
struct space {
    uint32_t rank;
    int64_t n, extents[AIRA_MAX_RANK], strides[AIRA_MAX_RANK];
};

__device__ static int64_t offset_of(const space &s, int64_t i) {
    int64_t offset = 0;
    for (int d = (int)s.rank - 1; d >= 0; d--) {
        offset += i % s.extents[d] * s.strides[d];
        i /= s.extents[d];
    }
    return offset;
}

static void add_axis(space *s, int64_t extent, int64_t stride) {
    if (extent == 1) return;
    if (s->rank > 0 && s->strides[s->rank - 1] == stride * extent) {
        s->extents[s->rank - 1] *= extent;
        s->strides[s->rank - 1] = stride;
        return;
    }
    s->extents[s->rank] = extent;
    s->strides[s->rank++] = stride;
}

static void split(const aira_shape *shape, int64_t mask, space *kept, space *reduced) {
    int64_t strides[AIRA_MAX_RANK], stride = 1;
    for (int d = (int)shape->rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= shape->dims[d];
    }
    *kept = *reduced = space{0, 1, {}, {}};
    for (uint32_t d = 0; d < shape->rank; d++) {
        space *s = mask >> d & 1 ? reduced : kept;
        s->n *= shape->dims[d];
        add_axis(s, shape->dims[d], strides[d]);
    }
}

template <class R, bool MAX> __device__ __forceinline__ R join(R a, R b) { return MAX ? larger(a, b) : a + b; }

/* One thread per result. */
template <class R, bool MAX> __global__ void reduce_threads(elements to, elements x, space kept, space reduced) {
    EACH(i, kept.n) {
        int64_t base = offset_of(kept, i);
        R value = MAX ? (R)-INFINITY : (R)0;
        for (int64_t k = 0; k < reduced.n; k++) value = join<R, MAX>(value, load<R>(x, base + offset_of(reduced, k)));
        store<R>(to, i, value);
    }
}

/* One block per result. */
template <class R, bool MAX> __global__ void reduce_blocks(elements to, elements x, space kept, space reduced) {
    __shared__ R spare[32];
    for (int64_t i = blockIdx.x; i < kept.n; i += gridDim.x) {
        int64_t base = offset_of(kept, i);
        R value = MAX ? (R)-INFINITY : (R)0;
        for (int64_t k = threadIdx.x; k < reduced.n; k += blockDim.x)
            value = join<R, MAX>(value, load<R>(x, base + offset_of(reduced, k)));
        value = block_reduce<R, MAX>(value, spare);
        if (threadIdx.x == 0) store<R>(to, i, value);
    }
}

/* Columns of [rows, n]: every block adds CHUNK rows of 32 columns into partial[chunk][n]. */
#define CHUNK 256
template <class R, bool MAX> __global__ void reduce_columns(R *partial, elements x, int64_t rows, int64_t n) {
    __shared__ R spare[8][33];
    int64_t column = (int64_t)blockIdx.x * 32 + threadIdx.x, first = (int64_t)blockIdx.y * CHUNK;
    int64_t end = first + CHUNK < rows ? first + CHUNK : rows;
    R value = MAX ? (R)-INFINITY : (R)0;
    if (column < n)
        for (int64_t r = first + threadIdx.y; r < end; r += 8) value = join<R, MAX>(value, load<R>(x, r * n + column));
    spare[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.y || column >= n) return;
    for (int k = 1; k < 8; k++) value = join<R, MAX>(value, spare[k][threadIdx.x]);
    partial[(int64_t)blockIdx.y * n + column] = value;
}

template <class R, bool MAX> __global__ void join_columns(elements to, const R *partial, int64_t chunks, int64_t n) {
    EACH(i, n) {
        R value = partial[i];
        for (int64_t c = 1; c < chunks; c++) value = join<R, MAX>(value, partial[c * n + i]);
        store<R>(to, i, value);
    }
}

/* Leading axes of a tensor with enough rows, so that reading along columns would waste the memory's width. */
static bool by_columns(const space &kept, const space &reduced) {
    return kept.rank == 1 && kept.strides[0] == 1 && reduced.rank == 1 && reduced.strides[0] == kept.n &&
           reduced.n >= CHUNK / 2 && reduced.n <= 65535ll * CHUNK;
}

static size_t reduce_workspace(const gpu_call *call) {
    space kept, reduced;
    if (call->step->op == AIRA_OP_SUM && gpu_columns_takes(call)) return gpu_columns_workspace(call);
    split(&call->in[0].shape, call->step->i[0], &kept, &reduced);
    if (!by_columns(kept, reduced)) return 0;
    return (size_t)((reduced.n + CHUNK - 1) / CHUNK * kept.n) * sizeof(double);
}

template <class R, bool MAX> static const char *reduce(const gpu_call *call) {
    space kept, reduced;
    split(&call->in[0].shape, call->step->i[0], &kept, &reduced);
    if (kept.n == 0) return NULL;
    elements to = of(call->out[0]), x = of(call->in[0]);
    if (by_columns(kept, reduced)) {
        int64_t chunks = (reduced.n + CHUNK - 1) / CHUNK;
        dim3 grid((unsigned)((kept.n + 31) / 32), (unsigned)chunks), block(32, 8);
        reduce_columns<R, MAX><<<grid, block, 0, call->stream>>>((R *)call->workspace, x, reduced.n, kept.n);
        join_columns<R, MAX>
            <<<blocks_for(kept.n, 128), 128, 0, call->stream>>>(to, (const R *)call->workspace, chunks, kept.n);
    } else if (reduced.n >= 128) {
        reduce_blocks<R, MAX><<<blocks_for(kept.n, 1), 128, 0, call->stream>>>(to, x, kept, reduced);
    } else {
        reduce_threads<R, MAX><<<blocks_for(kept.n, 128), 128, 0, call->stream>>>(to, x, kept, reduced);
    }
    return gpu_launched();
}

static const char *sum(const gpu_call *call) {
    if (gpu_columns_takes(call)) return gpu_columns(call);
    return gpu_is_wide(call) ? reduce<double, false>(call) : reduce<float, false>(call);
}

static const char *largest(const gpu_call *call) {
    return gpu_is_wide(call) ? reduce<double, true>(call) : reduce<float, true>(call);
}

/* --- running sums --------------------------------------------------------------------------------------------------
 */

template <class R>
__global__ void cumsum_kernel(elements to, elements x, int64_t lines, int64_t extent, int64_t after, bool reverse,
                              bool exclusive) {
    EACH(i, lines) {
        int64_t base = i / after * extent * after + i % after;
        R value = 0;
        for (int64_t t = 0; t < extent; t++) {
            int64_t at = base + (reverse ? extent - 1 - t : t) * after;
            R before = value;
            value += load<R>(x, at);
            store<R>(to, at, exclusive ? before : value);
        }
    }
}

template <class R> static const char *cumsum_as(const gpu_call *call) {
    const aira_shape *shape = &call->in[0].shape;
    uint32_t axis = (uint32_t)call->step->i[0];
    int64_t extent = shape->dims[axis], after = gpu_extent(shape, axis + 1, shape->rank);
    int64_t lines = gpu_extent(shape, 0, axis) * after;
    if (lines == 0 || extent == 0) return NULL;
    cumsum_kernel<R><<<blocks_for(lines, 64), 64, 0, call->stream>>>(
        of(call->out[0]), of(call->in[0]), lines, extent, after, call->step->i[1] != 0, call->step->i[2] != 0);
    return gpu_launched();
}

static const char *cumsum(const gpu_call *call) {
    return gpu_is_wide(call) ? cumsum_as<double>(call) : cumsum_as<float>(call);
}

/* --- scatter -------------------------------------------------------------------------------------------------------
 */

/* out[v, c] adds the rows k with index[k] == v, in order of k. A block owns one v and a stretch of columns; its threads
   look through the indices together, then add the rows that were found. */
#define FOUND 256
template <class R>
__global__ void scatter_add_kernel(elements to, const int32_t *index, elements rows, int64_t n, int64_t width) {
    __shared__ int64_t found[FOUND];
    __shared__ unsigned counts[8], n_found;
    int64_t v = blockIdx.x, column = (int64_t)blockIdx.y * blockDim.x + threadIdx.x;
    unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    R value = 0;
    for (int64_t first = 0; first < n; first += FOUND) {
        int64_t k = first + threadIdx.x;
        bool mine = k < n && index[k] == v;
        unsigned votes = __ballot_sync(0xffffffffu, mine);
        if (lane == 0) counts[warp] = __popc(votes);
        __syncthreads();
        unsigned before = 0;
        for (unsigned w = 0; w < warp; w++) before += counts[w];
        if (mine) found[before + __popc(votes & ((1u << lane) - 1))] = k;
        if (threadIdx.x == FOUND - 1) n_found = before + __popc(votes);
        __syncthreads();
        if (column < width)
            for (unsigned f = 0; f < n_found; f++) value += load<R>(rows, found[f] * width + column);
        __syncthreads();
    }
    if (column < width) store<R>(to, v * width + column, value);
}

template <class R> static const char *scatter_add_as(const gpu_call *call) {
    const aira_shape *shape = &call->out[0].shape;
    int64_t width = gpu_extent(shape, 1, shape->rank);
    if (call->out[0].n == 0) return NULL;
    dim3 grid((unsigned)shape->dims[0], (unsigned)((width + FOUND - 1) / FOUND));
    scatter_add_kernel<R><<<grid, FOUND, 0, call->stream>>>(of(call->out[0]), (const int32_t *)call->in[0].data,
                                                            of(call->in[1]), call->in[0].n, width);
    return gpu_launched();
}

static size_t scatter_add_workspace(const gpu_call *call) {
    if (gpu_scatter_takes(call)) return gpu_scatter_workspace(call);
    return gpu_listed_scatter_takes(call) ? gpu_listed_scatter_workspace(call) : 0;
}

static const char *scatter_add(const gpu_call *call) {
    if (gpu_scatter_takes(call)) return gpu_scatter(call);
    if (gpu_listed_scatter_takes(call)) return gpu_listed_scatter(call);
    return call->out[0].dtype == AIRA_F64 || call->out[0].dtype == AIRA_I32 ? scatter_add_as<double>(call)
                                                                            : scatter_add_as<float>(call);
}

/* out[r, v] adds src[r, k] with idx[r, k] == v, in order of k: one thread per result. */
template <class R>
__global__ void scatter_last_kernel(elements to, const int32_t *index, elements src, int64_t rows, int64_t k_n,
                                    int64_t width) {
    EACH(i, rows * width) {
        int64_t row = i / width, v = i % width;
        R value = 0;
        for (int64_t k = 0; k < k_n; k++)
            if (index[row * k_n + k] == v) value += load<R>(src, row * k_n + k);
        store<R>(to, i, value);
    }
}

static const char *scatter_last(const gpu_call *call) {
    int64_t width = gpu_last(&call->out[0].shape), rows = width ? call->out[0].n / width : 0;
    if (rows == 0) return NULL;
    bool wide = call->out[0].dtype == AIRA_F64 || call->out[0].dtype == AIRA_I32;
    const int32_t *index = (const int32_t *)call->in[0].data;
    int64_t k_n = gpu_last(&call->in[0].shape);
    unsigned blocks = blocks_for(rows * width, 128);
    if (wide)
        scatter_last_kernel<double>
            <<<blocks, 128, 0, call->stream>>>(of(call->out[0]), index, of(call->in[1]), rows, k_n, width);
    else
        scatter_last_kernel<float>
            <<<blocks, 128, 0, call->stream>>>(of(call->out[0]), index, of(call->in[1]), rows, k_n, width);
    return gpu_launched();
}

/* --- orders --------------------------------------------------------------------------------------------------------
 */

/* NaN counts as larger than every number. */
template <class R> __device__ bool precedes(R a, R b, bool descending) {
    if (descending) return (a != a && b == b) || a > b;
    return (b != b && a == a) || a < b;
}

/* The place of an element is the number of those that come before it, ties by index: stable, without a sort. */
template <class R>
__global__ void order_kernel(elements values, elements indices, elements x, int64_t rows, int64_t n, int64_t keep,
                             bool descending) {
    EACH(i, rows * n) {
        int64_t row = i / n, at = i % n, place = 0;
        R mine = load<R>(x, i);
        for (int64_t k = 0; k < n; k++) {
            R other = load<R>(x, row * n + k);
            place += precedes(other, mine, descending) || (k < at && !precedes(mine, other, descending));
        }
        if (place >= keep) continue;
        if (values.data) store<R>(values, row * keep + place, mine);
        store<double>(indices, row * keep + place, (double)at);
    }
}

static const char *order(const gpu_call *call, elements values, elements indices, int64_t keep, bool descending) {
    int64_t n = gpu_last(&call->in[0].shape), rows = n ? call->in[0].n / n : 0;
    bool wide = call->in[0].dtype == AIRA_F64 || call->in[0].dtype == AIRA_I32;
    unsigned blocks = blocks_for(rows * n, 128);
    if (rows == 0) return NULL;
    if (wide)
        order_kernel<double>
            <<<blocks, 128, 0, call->stream>>>(values, indices, of(call->in[0]), rows, n, keep, descending);
    else
        order_kernel<float>
            <<<blocks, 128, 0, call->stream>>>(values, indices, of(call->in[0]), rows, n, keep, descending);
    return gpu_launched();
}

static const char *top_k(const gpu_call *call) {
    return order(call, of(call->out[0]), of(call->out[1]), call->step->i[0], true);
}

static const char *argsort(const gpu_call *call) {
    return order(call, elements{NULL, 0}, of(call->out[0]), gpu_last(&call->in[0].shape), call->step->i[0] != 0);
}

extern "C" const gpu_kernel gpu_reduce_kernels[] = {{AIRA_OP_SUM, sum, reduce_workspace},
                                                    {AIRA_OP_MAX_REDUCE, largest, reduce_workspace},
                                                    {AIRA_OP_CUMSUM, cumsum, NULL},
                                                    {AIRA_OP_SCATTER_ADD, scatter_add, scatter_add_workspace},
                                                    {AIRA_OP_SCATTER_LAST, scatter_last, NULL},
                                                    {AIRA_OP_TOP_K, top_k, NULL},
                                                    {AIRA_OP_ARGSORT, argsort, NULL},
                                                    {0, NULL, NULL}};
