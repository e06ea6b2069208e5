/* matmul.c - matrix products through cuBLASLt.
 *
 * cuBLASLt thinks in columns: the row-major product a[M,K] b[K,N] is, to it, b'[N,K] a'[K,M]. Operands that are no
 * F32/F32, BF16/BF16 or F64/F64 pair are converted into the workspace first. Sums over split K go through the workspace
 * in a fixed order (no reduction in place), so a product's bits depend on shape, types and card alone: queues of one
 * device share cuBLASLt's answers, and it does not matter who asked first.
 */
#include <cublasLt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "convert.h"

#define SCRATCH (32ull << 20) /* bytes of cuBLASLt's own workspace */

/* What an algorithm depends on. All bytes are set, so that two can be compared at once. */
typedef struct question {
    int64_t m, n, k, batch, a_step, b_step;
    uint32_t trans_a, trans_b, dtype, out_dtype, merged, aligned[4];
    uint32_t reserved;
} question;

typedef struct answer {
    question asked;
    int found;
    cublasLtMatmulAlgo_t algorithm;
} answer;

/* Asking cuBLASLt takes tens of microseconds and more: once per kind of product on a device. */
typedef struct answers {
    pthread_mutex_t lock;
    answer *list;
    size_t n, room;
    double ms; /* that asking took, in all */
} answers;

struct gpu_matmul {
    cublasLtHandle_t handle;
    void *scratch;
    answers *answers;
    int beside; /* the answers are another's */
    int tf32;
};

static const char *sentence(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS ? NULL : cublasLtGetStatusString(status);
}

static answers *make_answers(void) {
    answers *made = calloc(1, sizeof *made);
    if (made && !pthread_mutex_init(&made->lock, NULL)) return made;
    free(made);
    return NULL;
}

const char *gpu_matmul_create(int tf32, const gpu_matmul *beside, gpu_matmul **out) {
    gpu_matmul *made = calloc(1, sizeof *made);
    *out = NULL;
    if (!made) return "out of memory";
    made->tf32 = tf32;
    made->beside = beside != NULL;
    made->answers = beside ? beside->answers : make_answers();
    const char *why = made->answers ? sentence(cublasLtCreate(&made->handle)) : "out of memory";
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
    if (made->answers && !made->beside) {
        (void)pthread_mutex_destroy(&made->answers->lock); /* nobody holds it */
        free(made->answers->list);
        free(made->answers);
    }
    free(made);
}

typedef struct product {
    int64_t m, n, k, batch;
    int64_t a_step, b_step; /* elements from matrix to matrix; 0: one serves all */
    int trans_a, trans_b;
    uint32_t dtype, out_dtype; /* of the operands as multiplied, of the result as written by cuBLASLt */
    uint32_t merged;           /* GPU_ADD_BIAS ...; what follows is set accordingly */
    const void *bias, *added;
    void *shape; /* what GELU is applied to, written by GPU_GELU */
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
    uint32_t next = 2;
    p.merged = call->merged;
    if (p.merged & GPU_ADD_BIAS) p.bias = call->in[next++].data;
    if (p.merged & GPU_ADD_TENSOR) p.added = call->in[next++].data;
    if (p.merged & GPU_GELU) p.shape = call->out[1].data;
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

/* The power of two that an address and the steps between its matrices are multiples of; 16 where it is more, as the
   widest access needs: where the planner put a tensor must neither change the answer nor ask again. */
static uint32_t alignment(const void *data, int64_t step, uint32_t dtype) {
    uint64_t bits = (uint64_t)(uintptr_t)data | (uint64_t)step * gpu_bytes_of(dtype) | 16u;
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

static cublasLtEpilogue_t epilogue_of(const product *p) {
    if (p->merged & GPU_GELU) return CUBLASLT_EPILOGUE_GELU_AUX;
    return p->merged & GPU_ADD_BIAS ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

static cublasStatus_t describe_merged(const product *p, descriptors *d) {
    cublasLtEpilogue_t epilogue = epilogue_of(p);
    int64_t columns = p->n;
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    if (epilogue != CUBLASLT_EPILOGUE_DEFAULT)
        s = cublasLtMatmulDescSetAttribute(d->how, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (!s && p->bias)
        s = cublasLtMatmulDescSetAttribute(d->how, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias);
    if (!s && p->shape)
        s = cublasLtMatmulDescSetAttribute(d->how, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &p->shape,
                                           sizeof p->shape);
    if (!s && p->shape)
        s = cublasLtMatmulDescSetAttribute(d->how, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &columns, sizeof columns);
    return s;
}

static question question_of(const product *p, const void *a, const void *b, const void *c) {
    question q;
    memset(&q, 0, sizeof q);
    q.m = p->m, q.n = p->n, q.k = p->k, q.batch = p->batch, q.a_step = p->a_step, q.b_step = p->b_step;
    q.trans_a = p->trans_a != 0, q.trans_b = p->trans_b != 0, q.dtype = p->dtype, q.out_dtype = p->out_dtype;
    q.merged = p->merged;
    q.aligned[0] = alignment(a, p->a_step, p->dtype), q.aligned[1] = alignment(b, p->b_step, p->dtype);
    q.aligned[2] = alignment(c, p->batch > 1 ? p->m * p->n : 0, p->out_dtype);
    q.aligned[3] = p->added ? alignment(p->added, 0, p->out_dtype) : 16u;
    return q;
}

static cublasStatus_t ask(const gpu_matmul *made, const product *p, const void *a, const void *b, const void *c,
                          descriptors *d, answer *given) {
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    memset(&best, 0, sizeof best);
    cublasStatus_t s = align(p, a, b, c, d);
    if (!s && p->added)
        s = cublasLtMatmulPreferenceSetAttribute(d->wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                                 &given->asked.aligned[3], 4);
    if (!s) s = cublasLtMatmulAlgoGetHeuristic(made->handle, d->how, d->b, d->a, d->c, d->c, d->wish, 1, &best, &found);
    if (s != CUBLAS_STATUS_SUCCESS && s != CUBLAS_STATUS_NOT_SUPPORTED) return s;
    given->found = !s && found > 0;
    given->algorithm = best.algo;
    return CUBLAS_STATUS_SUCCESS;
}

static double now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* it exists wherever CUDA does */
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static cublasStatus_t find_or_ask(const gpu_matmul *made, const product *p, const void *a, const void *b, const void *c,
                                  descriptors *d, answer *given) {
    answers *all = made->answers;
    for (size_t k = 0; k < all->n; k++) {
        if (memcmp(&all->list[k].asked, &given->asked, sizeof given->asked)) continue;
        *given = all->list[k];
        return CUBLAS_STATUS_SUCCESS;
    }
    double start = now_ms();
    cublasStatus_t s = ask(made, p, a, b, c, d, given);
    all->ms += now_ms() - start;
    if (s != CUBLAS_STATUS_SUCCESS) return s;
    if (all->n == all->room) {
        size_t room = 2 * all->room + 64;
        answer *more = realloc(all->list, room * sizeof *more);
        if (!more) return CUBLAS_STATUS_ALLOC_FAILED;
        all->list = more;
        all->room = room;
    }
    all->list[all->n++] = *given;
    return CUBLAS_STATUS_SUCCESS;
}

/* The algorithm for a product, from what was answered before or from cuBLASLt. */
static cublasStatus_t choose(const gpu_matmul *made, const product *p, const void *a, const void *b, const void *c,
                             descriptors *d, cublasLtMatmulAlgo_t *algorithm) {
    answer given;
    memset(&given, 0, sizeof given);
    given.asked = question_of(p, a, b, c);
    (void)pthread_mutex_lock(&made->answers->lock); /* a plain mutex that is initialised: it cannot fail */
    cublasStatus_t s = find_or_ask(made, p, a, b, c, d, &given);
    (void)pthread_mutex_unlock(&made->answers->lock);
    if (s != CUBLAS_STATUS_SUCCESS) return s;
    *algorithm = given.algorithm;
    return given.found ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

static const char *multiply(gpu_matmul *made, const product *p, const void *a, const void *b, void *c,
                            cudaStream_t stream) {
    float one = 1, share = p->added ? 1 : 0;
    double wide_one = 1, wide_share = p->added ? 1 : 0;
    int wide = p->dtype == AIRA_F64;
    descriptors d = {0};
    cublasLtMatmulAlgo_t algorithm;
    cublasStatus_t s = describe_all(made, p, &d);
    if (!s) s = describe_merged(p, &d);
    if (!s) s = choose(made, p, a, b, c, &d, &algorithm);
    if (!s)
        s = cublasLtMatmul(made->handle, d.how, wide ? (void *)&wide_one : (void *)&one, b, d.b, a, d.a,
                           wide ? (void *)&wide_share : (void *)&share, p->added ? p->added : c, d.c, c, d.c,
                           &algorithm, made->scratch, SCRATCH, stream);
    release(&d);
    return sentence(s);
}

double gpu_matmul_asked(const gpu_matmul *made, uint32_t *n) {
    (void)pthread_mutex_lock(&made->answers->lock); /* as above */
    double ms = made->answers->ms;
    *n = (uint32_t)made->answers->n;
    (void)pthread_mutex_unlock(&made->answers->lock);
    return ms;
}

int gpu_matmul_merges(const gpu_call *call) {
    product p = product_of(call);
    layout l = layout_of(call, &p);
    descriptors d = {0};
    cublasLtMatmulAlgo_t algorithm;
    if (l.all || p.k == 0 || call->out[0].n == 0 || (p.merged && p.batch > 1)) return 0;
    cublasStatus_t s = describe_all(call->matmul, &p, &d);
    if (!s) s = describe_merged(&p, &d);
    if (!s) s = choose(call->matmul, &p, call->in[0].data, call->in[1].data, call->out[0].data, &d, &algorithm);
    release(&d);
    return s == CUBLAS_STATUS_SUCCESS;
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

const char *gpu_multiply(gpu_matmul *matmul, const gpu_product *wanted, const void *a, const void *b, void *c,
                         cudaStream_t stream) {
    product p = {.m = wanted->m, .n = wanted->n, .k = wanted->k, .batch = 1};
    p.trans_a = wanted->trans_a;
    p.trans_b = wanted->trans_b;
    p.dtype = wanted->dtype;
    p.out_dtype = wanted->out_dtype;
    p.added = wanted->add ? c : NULL;
    return multiply(matmul, &p, a, b, c, stream);
}

const gpu_kernel gpu_matmul_kernels[] = {{AIRA_OP_MATMUL, run, workspace}, {0, NULL, NULL}};
