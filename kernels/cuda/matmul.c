/* matmul.c - matrix products through cuBLASLt.
 *
 * cuBLASLt thinks in columns: the row-major product a[M,K] b[K,N] is, to it, b'[N,K] a'[K,M]. Operands that are no
 * F32/F32, BF16/BF16 or F64/F64 pair are converted into the workspace first. Sums over split K go through the workspace
 * in a fixed order (no reduction in place), so a product's bits depend on shape, types and card alone.
 */
#include <cublasLt.h>
#include <stdlib.h>

#include "convert.h"

#define SCRATCH (32ull << 20) /* bytes of cuBLASLt's own workspace */

struct gpu_matmul {
    cublasLtHandle_t handle;
    void *scratch;
    int tf32;
};

static const char *sentence(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? NULL : cublasLtGetStatusString(status);
}

const char *gpu_matmul_create(int tf32, gpu_matmul **out) {
    gpu_matmul *made = calloc(1, sizeof *made);
    *out = NULL;
    if (!made) return "out of memory";
    made->tf32 = tf32;
    const char *why = sentence(cublasLtCreate(&made->handle));
    if (!why) {
        cudaError_t error = cudaMalloc(&made->scratch, SCRATCH);
        if (error != cudaSuccess) why = cudaGetErrorString(error);
    }
    if (why)
        gpu_matmul_destroy(made);
    else
        *out = made;
    return why;
}

void gpu_matmul_destroy(gpu_matmul *made) {
    if (!made) return;
    /* what cannot be released when a device goes away is released with the process */
    if (made->handle) (void)cublasLtDestroy(made->handle);
    if (made->scratch) (void)cudaFree(made->scratch);
    free(made);
}

typedef struct product {
    int64_t m, n, k, batch;
    int64_t a_step, b_step;    /* elements from matrix to matrix; 0: one serves all */
    int trans_a, trans_b, add; /* add: to what the result holds */
    uint32_t dtype, out_dtype; /* of the operands as multiplied, of the result as written by cuBLASLt */
} product;

static product product_of(const gpu_call *call) {
    const aira_shape *a = &call->in[0].shape, *b = &call->in[1].shape, *c = &call->out[0].shape;
    product p = {.trans_a = call->step->i[0] != 0, .trans_b = call->step->i[1] != 0};
    p.m = c->dims[c->rank - 2];
    p.n = c->dims[c->rank - 1];
    p.k = a->dims[a->rank - (p.trans_a ? 2 : 1)];
    p.batch = gpu_extent(c, 0, c->rank - 2);
    p.a_step = a->rank > 2 ? p.m * p.k : 0;
    p.b_step = b->rank > 2 ? p.k * p.n : 0;
    if (!p.trans_a && b->rank == 2) { /* one tall matrix */
        p.m *= p.batch;
        p.batch = 1;
    }
    int halves = call->in[0].dtype == AIRA_BF16 && call->in[1].dtype == AIRA_BF16;
    p.dtype = gpu_is_wide(call) ? AIRA_F64 : halves ? AIRA_BF16 : AIRA_F32;
    p.out_dtype = p.dtype == AIRA_BF16 && call->out[0].dtype != AIRA_BF16 ? AIRA_F32 : p.dtype;
    return p;
}

/* Operands in the product's type: the given memory, or a converted copy. */
typedef struct layout {
    size_t a, b, c, all; /* bytes into the workspace; SIZE_MAX: the tensor itself */
} layout;

static size_t place(size_t *all, const gpu_view *view, uint32_t dtype) {
    size_t at = *all;
    if (view->dtype == dtype) return SIZE_MAX;
    *all += ((size_t)view->n * gpu_bytes_of(dtype) + 255) & ~(size_t)255;
    return at;
}

static layout layout_of(const gpu_call *call, const product *p) {
    layout l = {0};
    l.a = place(&l.all, &call->in[0], p->dtype);
    l.b = place(&l.all, &call->in[1], p->dtype);
    l.c = place(&l.all, &call->out[0], p->out_dtype);
    return l;
}

static size_t workspace(const gpu_call *call) {
    product p = product_of(call);
    return layout_of(call, &p).all;
}

static cudaDataType_t type_of(uint32_t dtype) {
    return dtype == AIRA_F64 ? CUDA_R_64F : dtype == AIRA_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* A row-major rows x columns matrix, as cuBLASLt sees it: columns x rows. */
static cublasStatus_t describe(cublasLtMatrixLayout_t *out, uint32_t dtype, int64_t rows, int64_t columns,
                               int64_t batch, int64_t step) {
    int32_t n = (int32_t)batch;
    cublasStatus_t status = cublasLtMatrixLayoutCreate(out, type_of(dtype), (uint64_t)columns, (uint64_t)rows, columns);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n, sizeof n);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step,
                                                  sizeof step);
    return status;
}

typedef struct descriptors {
    cublasLtMatmulDesc_t how;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulPreference_t wish;
} descriptors;

/* The power of two that an address and the steps between its matrices are multiples of. */
static uint32_t alignment(const void *data, int64_t step, uint32_t dtype) {
    uint64_t bits = (uint64_t)(uintptr_t)data | (uint64_t)step * gpu_bytes_of(dtype) | 256u;
    return (uint32_t)(bits & (~bits + 1));
}

static cublasStatus_t align(const product *p, const void *a, const void *b, const void *c, descriptors *d) {
    /* cuBLASLt's A is our b: see above */
    uint32_t for_a = alignment(b, p->b_step, p->dtype), for_b = alignment(a, p->a_step, p->dtype);
    uint32_t for_c = alignment(c, p->batch > 1 ? p->m * p->n : 0, p->out_dtype);
    cublasLtMatmulPreference_t w = d->wish;
    cublasStatus_t s = cublasLtMatmulPreferenceSetAttribute(w, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &for_a, 4);
    if (!s) s = cublasLtMatmulPreferenceSetAttribute(w, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &for_b, 4);
    if (!s) s = cublasLtMatmulPreferenceSetAttribute(w, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &for_c, 4);
    if (!s) s = cublasLtMatmulPreferenceSetAttribute(w, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &for_c, 4);
    return s;
}

static cublasStatus_t describe_all(const gpu_matmul *made, const product *p, descriptors *d) {
    cublasComputeType_t compute = p->dtype == AIRA_F64                 ? CUBLAS_COMPUTE_64F
                                  : p->dtype == AIRA_F32 && made->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                       : CUBLAS_COMPUTE_32F;
    cublasOperation_t a = p->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, b = p->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    size_t scratch = SCRATCH;
    cublasStatus_t s = cublasLtMatmulDescCreate(&d->how, compute, p->dtype == AIRA_F64 ? CUDA_R_64F : CUDA_R_32F);
    if (!s) s = cublasLtMatmulDescSetAttribute(d->how, CUBLASLT_MATMUL_DESC_TRANSA, &b, sizeof b);
    if (!s) s = cublasLtMatmulDescSetAttribute(d->how, CUBLASLT_MATMUL_DESC_TRANSB, &a, sizeof a);
    if (!s) s = describe(&d->a, p->dtype, p->trans_a ? p->k : p->m, p->trans_a ? p->m : p->k, p->batch, p->a_step);
    if (!s) s = describe(&d->b, p->dtype, p->trans_b ? p->n : p->k, p->trans_b ? p->k : p->n, p->batch, p->b_step);
    if (!s) s = describe(&d->c, p->out_dtype, p->m, p->n, p->batch, p->m * p->n);
    if (!s) s = cublasLtMatmulPreferenceCreate(&d->wish);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(d->wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &scratch,
                                                 sizeof scratch);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(d->wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                                 sizeof reductions);
    return s;
}

static void release(descriptors *d) {
    /* descriptors are plain host memory: releasing them cannot fail in a way that matters */
    if (d->wish) (void)cublasLtMatmulPreferenceDestroy(d->wish);
    if (d->a) (void)cublasLtMatrixLayoutDestroy(d->a);
    if (d->b) (void)cublasLtMatrixLayoutDestroy(d->b);
    if (d->c) (void)cublasLtMatrixLayoutDestroy(d->c);
    if (d->how) (void)cublasLtMatmulDescDestroy(d->how);
}

static const char *multiply(const gpu_matmul *made, const product *p, const void *a, const void *b, void *c,
                            cudaStream_t stream) {
    float one = 1, keep = (float)p->add;
    double wide_one = 1, wide_keep = p->add;
    int wide = p->dtype == AIRA_F64, found = 0;
    descriptors d = {0};
    cublasLtMatmulHeuristicResult_t best;
    cublasStatus_t s = describe_all(made, p, &d);
    if (!s) s = align(p, a, b, c, &d);
    if (!s) s = cublasLtMatmulAlgoGetHeuristic(made->handle, d.how, d.b, d.a, d.c, d.c, d.wish, 1, &best, &found);
    if (!s && found == 0) s = CUBLAS_STATUS_NOT_SUPPORTED;
    if (!s)
        s = cublasLtMatmul(made->handle, d.how, wide ? (void *)&wide_one : (void *)&one, b, d.b, a, d.a,
                           wide ? (void *)&wide_keep : (void *)&keep, c, d.c, c, d.c, &best.algo, made->scratch,
                           SCRATCH, stream);
    release(&d);
    return sentence(s);
}

static const char *run(const gpu_call *call) {
    product p = product_of(call);
    layout l = layout_of(call, &p);
    char *w = call->workspace;
    const gpu_view *a = &call->in[0], *b = &call->in[1], *c = &call->out[0];
    if (c->n == 0) return NULL;
    if (p.k == 0) {
        cudaError_t error = cudaMemsetAsync(c->data, 0, (size_t)c->n * gpu_bytes_of(c->dtype), call->stream);
        return error == cudaSuccess ? NULL : cudaGetErrorString(error);
    }
    const char *why = NULL;
    if (l.a != SIZE_MAX) why = gpu_convert(w + l.a, p.dtype, a->data, a->dtype, a->n, call->stream);
    if (!why && l.b != SIZE_MAX) why = gpu_convert(w + l.b, p.dtype, b->data, b->dtype, b->n, call->stream);
    if (!why)
        why = multiply(call->matmul, &p, l.a == SIZE_MAX ? a->data : w + l.a, l.b == SIZE_MAX ? b->data : w + l.b,
                       l.c == SIZE_MAX ? c->data : w + l.c, call->stream);
    if (!why && l.c != SIZE_MAX) why = gpu_convert(c->data, c->dtype, w + l.c, p.out_dtype, c->n, call->stream);
    return why;
}

const char *gpu_multiply(const gpu_matmul *matmul, const gpu_product *wanted, const void *a, const void *b, void *c,
                         cudaStream_t stream) {
    product p = {.m = wanted->m, .n = wanted->n, .k = wanted->k, .batch = 1};
    p.trans_a = wanted->trans_a;
    p.trans_b = wanted->trans_b;
    p.add = wanted->add;
    p.dtype = wanted->dtype;
    p.out_dtype = wanted->out_dtype;
    return multiply(matmul, &p, a, b, c, stream);
}

const gpu_kernel gpu_matmul_kernels[] = {{AIRA_OP_MATMUL, run, workspace}, {0, NULL, NULL}};
