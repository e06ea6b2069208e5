/* move.cu - leaves, and ops that move elements without looking at them.
 *
 * Every move is one walk: element i of an iteration space goes from one strided place to another, as raw 2, 4 or 8
 * bytes, so one text serves every element type.
 */
#define AIRA_RNG_FUNCTION static __host__ __device__ inline
#include "aira/rng.h"
#include "convert.h"
#include "element.cuh"

struct walk {
    int64_t n, in_base, out_base;
    uint32_t rank;
    int64_t extents[AIRA_MAX_RANK], in_strides[AIRA_MAX_RANK], out_strides[AIRA_MAX_RANK];
};

template <class T> __global__ void walk_kernel(walk w, T *to, const T *from) {
    EACH(i, w.n) {
        int64_t rest = i, in = w.in_base, out = w.out_base;
        for (int d = (int)w.rank - 1; d >= 0; d--) {
            int64_t at = rest % w.extents[d];
            rest /= w.extents[d];
            in += at * w.in_strides[d];
            out += at * w.out_strides[d];
        }
        to[out] = from[in];
    }
}

/* Drops axes of one element and merges neighbours that are contiguous on both sides. */
static void simplify(walk *w) {
    uint32_t rank = 0;
    for (uint32_t d = 0; d < w->rank; d++) {
        if (w->extents[d] == 1) continue;
        if (rank > 0 && w->in_strides[rank - 1] == w->in_strides[d] * w->extents[d] &&
            w->out_strides[rank - 1] == w->out_strides[d] * w->extents[d]) {
            w->extents[rank - 1] *= w->extents[d];
            w->in_strides[rank - 1] = w->in_strides[d];
            w->out_strides[rank - 1] = w->out_strides[d];
            continue;
        }
        w->extents[rank] = w->extents[d];
        w->in_strides[rank] = w->in_strides[d];
        w->out_strides[rank++] = w->out_strides[d];
    }
    w->rank = rank;
}

static const char *run_walk(const gpu_call *call, walk w, const gpu_view *from, const gpu_view *to) {
    if (w.n == 0) return NULL;
    simplify(&w);
    unsigned blocks = blocks_for(w.n, 256);
    switch (gpu_bytes_of(to->dtype)) {
    case 2:
        walk_kernel<<<blocks, 256, 0, call->stream>>>(w, (uint16_t *)to->data, (const uint16_t *)from->data);
        break;
    case 4:
        walk_kernel<<<blocks, 256, 0, call->stream>>>(w, (uint32_t *)to->data, (const uint32_t *)from->data);
        break;
    default:
        walk_kernel<<<blocks, 256, 0, call->stream>>>(w, (uint64_t *)to->data, (const uint64_t *)from->data);
        break;
    }
    return gpu_launched();
}

/* Strides of a dense tensor. */
static void dense(const aira_shape *shape, int64_t *strides) {
    int64_t stride = 1;
    for (int d = (int)shape->rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= shape->dims[d];
    }
}

static walk over(const aira_shape *shape) {
    walk w = {};
    w.n = gpu_elements(shape);
    w.rank = shape->rank;
    for (uint32_t d = 0; d < shape->rank; d++) w.extents[d] = shape->dims[d];
    return w;
}

static const char *nothing(const gpu_call *) { return NULL; }

static const char *reshape(const gpu_call *call) {
    if (call->out[0].data == call->in[0].data || call->out[0].n == 0) return NULL; /* the planner made it an alias */
    cudaError_t error = cudaMemcpyAsync(call->out[0].data, call->in[0].data,
                                        (size_t)call->out[0].n * gpu_bytes_of(call->out[0].dtype),
                                        cudaMemcpyDeviceToDevice, call->stream);
    return error == cudaSuccess ? NULL : cudaGetErrorString(error);
}

static const char *transpose(const gpu_call *call) {
    walk w = over(&call->out[0].shape);
    int64_t strides[AIRA_MAX_RANK];
    dense(&call->in[0].shape, strides);
    dense(&call->out[0].shape, w.out_strides);
    for (uint32_t d = 0; d < w.rank; d++) w.in_strides[d] = strides[call->step->i[d]];
    return run_walk(call, w, &call->in[0], &call->out[0]);
}

static const char *slice(const gpu_call *call) {
    walk w = over(&call->out[0].shape);
    dense(&call->in[0].shape, w.in_strides);
    dense(&call->out[0].shape, w.out_strides);
    w.in_base = call->step->i[1] * w.in_strides[call->step->i[0]];
    if (w.n == 0 || call->out[0].data == call->in[0].data + w.in_base * (int64_t)gpu_bytes_of(call->out[0].dtype))
        return NULL; /* empty, or an alias */
    return run_walk(call, w, &call->in[0], &call->out[0]);
}

static const char *concat(const gpu_call *call) {
    const char *why = NULL;
    int64_t at = 0;
    uint32_t axis = (uint32_t)call->step->i[0];
    for (uint32_t k = 0; k < call->n_in && !why; k++) {
        walk w = over(&call->in[k].shape);
        dense(&call->in[k].shape, w.in_strides);
        dense(&call->out[0].shape, w.out_strides);
        w.out_base = at * w.out_strides[axis];
        at += call->in[k].shape.dims[axis];
        why = run_walk(call, w, &call->in[k], &call->out[0]);
    }
    return why;
}

__global__ void fill_kernel(elements to, int64_t n, double value) { EACH(i, n) store<double>(to, i, value); }

static const char *fill(const gpu_call *call, double value) {
    if (call->out[0].n == 0) return NULL;
    fill_kernel<<<blocks_for(call->out[0].n, 256), 256, 0, call->stream>>>(of(call->out[0]), call->out[0].n, value);
    return gpu_launched();
}

static const char *constant(const gpu_call *call) { return fill(call, call->step->f[0]); }

static const char *pad(const gpu_call *call) {
    walk w = over(&call->in[0].shape);
    dense(&call->in[0].shape, w.in_strides);
    dense(&call->out[0].shape, w.out_strides);
    w.out_base = call->step->i[1] * w.out_strides[call->step->i[0]];
    const char *why = fill(call, call->step->f[0]);
    return why ? why : run_walk(call, w, &call->in[0], &call->out[0]);
}

__global__ void iota_kernel(elements to, int64_t n, int64_t extent, int64_t after) {
    EACH(i, n) store<double>(to, i, (double)(i / after % extent));
}

static const char *iota(const gpu_call *call) {
    const aira_shape *shape = &call->out[0].shape;
    uint32_t axis = (uint32_t)call->step->i[0];
    int64_t extent = shape->rank ? shape->dims[axis] : 1;
    int64_t after = shape->rank ? gpu_extent(shape, axis + 1, shape->rank) : 1;
    if (call->out[0].n == 0) return NULL;
    iota_kernel<<<blocks_for(call->out[0].n, 256), 256, 0, call->stream>>>(of(call->out[0]), call->out[0].n, extent,
                                                                           after);
    return gpu_launched();
}

__global__ void random_kernel(elements to, int64_t n, uint64_t key, const uint64_t *seed, const int32_t *draw,
                              bool normal) {
    uint64_t stream = key ^ *seed, number = draw ? (uint64_t)(int64_t)*draw : 0;
    EACH(i, n)
    store<float>(to, i,
                 normal ? aira_element_normal(stream, number, (uint64_t)i)
                        : aira_element_uniform(stream, number, (uint64_t)i));
}

static const char *random_values(const gpu_call *call) {
    if (call->out[0].n == 0) return NULL;
    random_kernel<<<blocks_for(call->out[0].n, 256), 256, 0, call->stream>>>(
        of(call->out[0]), call->out[0].n, (uint64_t)call->step->i[1], call->seed,
        call->n_in ? (const int32_t *)call->in[0].data : NULL, call->step->i[0] == 1);
    return gpu_launched();
}

__global__ void convert_kernel(elements to, elements from, int64_t n) {
    EACH(i, n) store<double>(to, i, load<double>(from, i));
}

extern "C" const char *gpu_convert(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, int64_t n,
                                   cudaStream_t stream) {
    if (n == 0) return NULL;
    convert_kernel<<<blocks_for(n, 256), 256, 0, stream>>>(elements{(char *)to, to_dtype},
                                                           elements{(char *)(uintptr_t)from, from_dtype}, n);
    return gpu_launched();
}

/* --- indices -------------------------------------------------------------------------------------------------------
 */

/* out[k, c] = x[idx[k], c], 0 where the index is out of range */
__global__ void gather_kernel(elements to, elements x, const int32_t *index, int64_t n, int64_t width, int64_t rows) {
    EACH(i, n * width) {
        int64_t row = index[i / width];
        store<double>(to, i, row < 0 || row >= rows ? 0.0 : load<double>(x, row * width + i % width));
    }
}

/* Rows of `parts` times 16 bytes; all counts fit into 32 bits. */
__global__ void __launch_bounds__(256)
    gather_rows(uint4 *to, const uint4 *x, const int32_t *index, uint32_t n, uint32_t parts, int64_t rows) {
    uint32_t i = blockIdx.x * 256u + threadIdx.x;
    if (i >= n) return;
    int64_t row = index[i / parts];
    to[i] = row < 0 || row >= rows ? make_uint4(0, 0, 0, 0) : x[row * parts + i % parts];
}

static const char *gather(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    int64_t width = gpu_extent(x, 1, x->rank);
    if (call->out[0].n == 0) return NULL;
    int64_t bytes = width * gpu_bytes_of(call->in[0].dtype), parts = bytes / 16 * call->in[1].n;
    if (call->out[0].dtype == call->in[0].dtype && bytes % 16 == 0 && parts < INT32_MAX &&
        ((uintptr_t)call->in[0].data | (uintptr_t)call->out[0].data) % 16 == 0) {
        gather_rows<<<(unsigned)((parts + 255) / 256), 256, 0, call->stream>>>(
            (uint4 *)call->out[0].data, (const uint4 *)call->in[0].data, (const int32_t *)call->in[1].data,
            (uint32_t)parts, (uint32_t)(bytes / 16), x->dims[0]);
        return gpu_launched();
    }
    gather_kernel<<<blocks_for(call->out[0].n, 256), 256, 0, call->stream>>>(
        of(call->out[0]), of(call->in[0]), (const int32_t *)call->in[1].data, call->in[1].n, width, x->dims[0]);
    return gpu_launched();
}

__global__ void gather_last_kernel(elements to, elements x, const int32_t *index, int64_t n, int64_t k_n,
                                   int64_t width) {
    EACH(i, n) {
        int64_t at = index[i];
        store<double>(to, i, at < 0 || at >= width ? 0.0 : load<double>(x, i / k_n * width + at));
    }
}

static const char *gather_last(const gpu_call *call) {
    if (call->out[0].n == 0) return NULL;
    gather_last_kernel<<<blocks_for(call->out[0].n, 256), 256, 0, call->stream>>>(
        of(call->out[0]), of(call->in[0]), (const int32_t *)call->in[1].data, call->out[0].n,
        gpu_last(&call->in[1].shape), gpu_last(&call->in[0].shape));
    return gpu_launched();
}

extern "C" const gpu_kernel gpu_move_kernels[] = {{AIRA_OP_PARAM, nothing, NULL},
                                                  {AIRA_OP_INPUT, nothing, NULL},
                                                  {AIRA_OP_CONSTANT, constant, NULL},
                                                  {AIRA_OP_IOTA, iota, NULL},
                                                  {AIRA_OP_RANDOM, random_values, NULL},
                                                  {AIRA_OP_RESHAPE, reshape, NULL},
                                                  {AIRA_OP_TRANSPOSE, transpose, NULL},
                                                  {AIRA_OP_SLICE, slice, NULL},
                                                  {AIRA_OP_CONCAT, concat, NULL},
                                                  {AIRA_OP_PAD, pad, NULL},
                                                  {AIRA_OP_GATHER, gather, NULL},
                                                  {AIRA_OP_GATHER_LAST, gather_last, NULL},
                                                  {0, NULL, NULL}};
