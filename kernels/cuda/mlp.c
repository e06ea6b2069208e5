/* mlp.c - which merged MLP layers have a kernel, and its call. See mlp_forward.cu, mlp_backward.cu, fuse_mlp.c. */
#include "fast.h"

#define CHUNK 64 /* the hidden columns are a multiple of it */

static bool is_rows(const gpu_view *v, int64_t rows, int64_t width) {
    return v->dtype == AIRA_BF16 && v->n == rows * width && gpu_last(&v->shape) == width &&
           (uintptr_t)v->data % 16 == 0;
}

static bool is_weight(const gpu_view *v, int64_t rows, int64_t columns) {
    return v->shape.rank == 2 && v->shape.dims[0] == rows && is_rows(v, rows, columns);
}

static bool is_vector(const gpu_view *v, int64_t width) {
    return v->dtype == AIRA_F32 && v->n == width && (uintptr_t)v->data % 8 == 0;
}

bool gpu_mlp_takes(const gpu_call *call) {
    const gpu_view *in = call->in, *out = call->out;
    bool back = (call->merged & GPU_MLP_BACKWARD) != 0;
    uint32_t up = 2, down = back ? 1 : 3, x = back ? 3 : 0, w = back ? 4 : 1, residual = back ? 5 : 4;
    int64_t d_n = gpu_last(&in[0].shape), f_n = gpu_last(&in[down].shape), rows = d_n ? in[0].n / d_n : 0;
    if ((d_n != 64 && d_n != 128) || f_n % CHUNK || f_n == 0 || rows == 0) return false;
    if (rows > INT32_MAX / 2 / (f_n > d_n ? f_n : d_n)) return false; /* the kernels count elements in 31 bits */
    bool good = is_rows(&in[0], rows, d_n) && is_rows(&in[x], rows, d_n) && is_vector(&in[w], d_n) &&
                is_weight(&in[up], f_n, d_n) && is_weight(&in[down], d_n, f_n) && is_rows(&out[0], rows, d_n);
    if (call->n_in > residual) good = good && is_rows(&in[residual], rows, d_n);
    if (back) return good && is_rows(&out[1], rows, f_n) && is_rows(&out[2], rows, f_n) && is_vector(&out[3], d_n);
    return good && (call->n_out < 2 || is_rows(&out[1], rows, d_n));
}

static const char *run(const gpu_call *call) {
    return call->merged & GPU_MLP_BACKWARD ? gpu_mlp_backward(call) : gpu_mlp_forward(call);
}

static size_t workspace(const gpu_call *call) {
    return call->merged & GPU_MLP_BACKWARD ? gpu_mlp_backward_workspace(call) : 0;
}

const gpu_kernel gpu_mlp_kernel = {AIRA_OP_MATMUL, run, workspace};
