/* matmul.c - matrix products through cuBLASLt.
 *
 * cuBLASLt thinks in columns: the row-major product a[M,K] b[K,N] is, to it, b'[N,K] a'[K,M]. Operands that are no
 * F32/F32, BF16/BF16 or F64/F64 pair are converted into the workspace first. Sums over split K go through the workspace
 * in a fixed order (no reduction in place), so a product's bits depend on shape, types and card alone: queues of one
 * device share cuBLASLt's answers, and it does not matter who asked first. Of large products the fastest algorithm that
 * gives the bits of cuBLASLt's first answer is found by trying (tune.h), once per device.
 */
#include <cublasLt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "convert.h"
#include "tune.h"

#define LARGE 30e9 /* floating-point operations of a product that is worth trying algorithms for: some 50 us */
#define SCRATCH (32ull << 20) /* bytes of cuBLASLt's own workspace */

/* What an algorithm depends on. All bytes are set, so that two can be compared at once. */
typedef struct question {
    int64_t m, n, k, batch, a_step, b_step;
    uint32_t trans_a, trans_b, dtype, out_dtype, merged, aligned[4];
    uint32_t reserved;
} question;

typedef struct answer {
    question asked;
    int found, tried; /* tried: others were, or are being, compared with the first */
    cublasLtMatmulAlgo_t algorithm;
} answer;

/* Asking cuBLASLt takes tens of microseconds and more: once per kind of product on a device. */
typedef struct answers {
    pthread_mutex_t lock;
    answer *list;
    size_t n, room;
    double ms; /* that asking took, in all */
    size_t n_tried, n_changed;
    double tried_ms;
} answers;

struct gpu_matmul {
    cublasLtHandle_t handle;
    void *scratch;
    answers *answers;
    int beside; /* the answers are another's */
    int tf32, tune;
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

const char *gpu_matmul_create(int tf32, int tune, const gpu_matmul *beside, gpu_matmul **out) {
    gpu_matmul *made = calloc(1, sizeof *made);
    *out = NULL;
    if (!made) return "out of memory";
    made->tf32 = tf32;
    made->tune = tune;
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
    if (call->merged & GPU_TURNED) p.trans_b = !p.trans_b;
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
    p.merged = call->merged & ~(GPU_ELSEWHERE | GPU_TURNED); /* where tensors lie is no other question */
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

static cublasStatus_t align(const question *q, descriptors *d) {
    /* cuBLASLt's A is our b: see above */
    uint32_t for_a = q->aligned[1], for_b = q->aligned[0], for_c = q->aligned[2];
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

/* What is to be found for a product. */
static answer answer_to(const product *p, const void *a, const void *b, const void *c) {
    answer empty;
    memset(&empty, 0, sizeof empty);
    question q = empty.asked;
    q.m = p->m, q.n = p->n, q.k = p->k, q.batch = p->batch, q.a_step = p->a_step, q.b_step = p->b_step;
    q.trans_a = p->trans_a != 0, q.trans_b = p->trans_b != 0, q.dtype = p->dtype, q.out_dtype = p->out_dtype;
    q.merged = p->merged;
    q.aligned[0] = alignment(a, p->a_step, p->dtype), q.aligned[1] = alignment(b, p->b_step, p->dtype);
    q.aligned[2] = alignment(c, p->batch > 1 ? p->m * p->n : 0, p->out_dtype);
    q.aligned[3] = p->added ? alignment(p->added, 0, p->out_dtype) : 16u;
    empty.asked = q;
    return empty;
}

/* Up to n answers; none is no error. */
static cublasStatus_t ask_for(const gpu_matmul *made, const product *p, const question *asked, descriptors *d, int n,
                              cublasLtMatmulHeuristicResult_t *offers, int *found) {
    *found = 0;
    cublasStatus_t s = align(asked, d);
    if (!s && p->added)
        s = cublasLtMatmulPreferenceSetAttribute(d->wish, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                                 &asked->aligned[3], 4);
    if (!s) s = cublasLtMatmulAlgoGetHeuristic(made->handle, d->how, d->b, d->a, d->c, d->c, d->wish, n, offers, found);
    if (s != CUBLAS_STATUS_SUCCESS) *found = 0;
    return s == CUBLAS_STATUS_NOT_SUPPORTED ? CUBLAS_STATUS_SUCCESS : s;
}

static cublasStatus_t ask(const gpu_matmul *made, const product *p, descriptors *d, answer *given) {
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    memset(&best, 0, sizeof best);
    cublasStatus_t s = ask_for(made, p, &given->asked, d, 1, &best, &found);
    given->found = found > 0;
    given->algorithm = best.algo;
    return s;
}

static double now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* it exists wherever CUDA does */
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static answer *find(const answers *all, const question *asked) {
    for (size_t k = 0; k < all->n; k++)
        if (!memcmp(&all->list[k].asked, asked, sizeof *asked)) return &all->list[k];
    return NULL;
}

static cublasStatus_t find_or_ask(const gpu_matmul *made, const product *p, descriptors *d, answer *given) {
    answers *all = made->answers;
    const answer *known = find(all, &given->asked);
    if (known) {
        *given = *known;
        return CUBLAS_STATUS_SUCCESS;
    }
    double start = now_ms();
    cublasStatus_t s = ask(made, p, d, given);
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
static cublasStatus_t choose(const gpu_matmul *made, const product *p, descriptors *d, answer *given) {
    (void)pthread_mutex_lock(&made->answers->lock); /* a plain mutex that is initialised: it cannot fail */
    cublasStatus_t s = find_or_ask(made, p, d, given);
    (void)pthread_mutex_unlock(&made->answers->lock);
    return s == CUBLAS_STATUS_SUCCESS && !given->found ? CUBLAS_STATUS_NOT_SUPPORTED : s;
}

/* --- trying --- */

static int is_large(const product *p) {
    return p->dtype == AIRA_BF16 && 2.0 * (double)p->m * (double)p->n * (double)p->k * (double)p->batch >= LARGE;
}

/* The first answer and, behind it, what else cuBLASLt offers, and variants. */
static cublasStatus_t find_candidates(const gpu_matmul *made, const product *p, const answer *first, descriptors *d,
                                      gpu_contest *contest) {
    cublasLtMatmulHeuristicResult_t offers[GPU_OFFERS];
    int n = 0;
    memset(offers, 0, sizeof offers);
    cublasStatus_t s = ask_for(made, p, &first->asked, d, GPU_OFFERS, offers, &n);
    contest->candidates[contest->n++] = first->algorithm;
    for (int k = 0; k < n; k++)
        if (offers[k].state == CUBLAS_STATUS_SUCCESS &&
            memcmp(&offers[k].algo, &first->algorithm, sizeof first->algorithm))
            contest->candidates[contest->n++] = offers[k].algo;
    bool aligned = true; /* a variant says nothing of the alignment that it needs */
    for (int k = 0; k < 4; k++) aligned = aligned && first->asked.aligned[k] == 16;
    if (s == CUBLAS_STATUS_SUCCESS && aligned) gpu_contest_vary(contest);
    return s;
}

/* Compares what cuBLASLt offers for a product; contest->chosen is the one to use. NULL, or why nothing was tried. */
static const char *try_offers(const gpu_matmul *made, const product *p, const answer *first, descriptors *d,
                              gpu_contest *contest) {
    size_t in = gpu_bytes_of(p->dtype), out = gpu_bytes_of(p->out_dtype);
    contest->handle = made->handle;
    contest->how = d->how;
    contest->a = d->b; /* as cuBLASLt names them */
    contest->b = d->a;
    contest->c = d->c;
    contest->bytes_a = (size_t)((p->a_step ? p->batch : 1) * p->m * p->k) * in;
    contest->bytes_b = (size_t)((p->b_step ? p->batch : 1) * p->k * p->n) * in;
    contest->bytes_c = (size_t)(p->batch * p->m * p->n) * out;
    contest->bytes_bias = p->bias ? (size_t)p->n * out : 0;
    contest->workspace = SCRATCH;
    contest->dtype = p->dtype;
    contest->out_dtype = p->out_dtype;
    contest->adds = p->added != NULL;
    contest->gelu = p->shape != NULL;
    const char *why = sentence(find_candidates(made, p, first, d, contest));
    return why || contest->n < 2 ? why : gpu_contest_hold(contest);
}

/* Tries what is large and was not tried: given becomes the fastest. Who comes meanwhile takes the first answer, which
   gives the same bits. Where trying fails, for want of memory, the first answer stays. */
static void improve(const gpu_matmul *made, const product *p, descriptors *d, answer *given) {
    answers *all = made->answers;
    double start = now_ms();
    (void)pthread_mutex_lock(&all->lock); /* as above */
    answer *mine = find(all, &given->asked);
    int tries = mine && !mine->tried;
    if (tries) mine->tried = 1;
    (void)pthread_mutex_unlock(&all->lock);
    if (!tries) return;
    gpu_contest contest = {.seed = 1, .any_bits = made->tune == GPU_TUNE_ANY_BITS};
    const char *why = try_offers(made, p, given, d, &contest);
    if (!why) given->algorithm = contest.candidates[contest.chosen];
    (void)pthread_mutex_lock(&all->lock); /* as above */
    mine = find(all, &given->asked);      /* the list may have moved */
    if (mine) mine->algorithm = given->algorithm;
    all->n_tried += !why;
    all->n_changed += !why && contest.chosen;
    all->tried_ms += now_ms() - start;
    (void)pthread_mutex_unlock(&all->lock);
}

static const char *multiply(gpu_matmul *made, const product *p, const void *a, const void *b, void *c,
                            cudaStream_t stream) {
    float one = 1, share = p->added ? 1 : 0;
    double wide_one = 1, wide_share = p->added ? 1 : 0;
    int wide = p->dtype == AIRA_F64;
    descriptors d = {0};
    answer given = answer_to(p, a, b, c);
    cublasStatus_t s = describe_all(made, p, &d);
    if (!s) s = describe_merged(p, &d);
    if (!s) s = choose(made, p, &d, &given);
    if (!s && made->tune && !given.tried && is_large(p)) {
        improve(made, p, &d, &given);
        s = describe_merged(p, &d); /* trying used other pointers */
    }
    if (!s)
        s = cublasLtMatmul(made->handle, d.how, wide ? (void *)&wide_one : (void *)&one, b, d.b, a, d.a,
                           wide ? (void *)&wide_share : (void *)&share, p->added ? p->added : c, d.c, c, d.c,
                           &given.algorithm, made->scratch, SCRATCH, stream);
    release(&d);
    return sentence(s);
}

gpu_matmul_figures gpu_matmul_figures_of(const gpu_matmul *made) {
    answers *all = made->answers;
    (void)pthread_mutex_lock(&all->lock); /* as above */
    gpu_matmul_figures f = {.asked_ms = all->ms, .tried_ms = all->tried_ms, .asked = (uint32_t)all->n};
    f.tried = (uint32_t)all->n_tried;
    f.changed = (uint32_t)all->n_changed;
    (void)pthread_mutex_unlock(&all->lock);
    return f;
}

int gpu_matmul_merges(const gpu_call *call) {
    product p = product_of(call);
    layout l = layout_of(call, &p);
    descriptors d = {0};
    if (l.all || p.k == 0 || call->out[0].n == 0 || (p.merged && p.batch > 1)) return 0;
    answer given = answer_to(&p, call->in[0].data, call->in[1].data, call->out[0].data);
    cublasStatus_t s = describe_all(call->matmul, &p, &d);
    if (!s) s = describe_merged(&p, &d);
    if (!s) s = choose(call->matmul, &p, &d, &given);
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

static product product_as(const gpu_product *wanted, const void *c) {
    product p = {.m = wanted->m, .n = wanted->n, .k = wanted->k, .batch = 1};
    p.trans_a = wanted->trans_a;
    p.trans_b = wanted->trans_b;
    p.dtype = wanted->dtype;
    p.out_dtype = wanted->out_dtype;
    p.added = wanted->add ? c : NULL;
    return p;
}

const char *gpu_multiply(gpu_matmul *matmul, const gpu_product *wanted, const void *a, const void *b, void *c,
                         cudaStream_t stream) {
    product p = product_as(wanted, c);
    return multiply(matmul, &p, a, b, c, stream);
}

const char *gpu_product_contest(gpu_matmul *matmul, const gpu_product *wanted, gpu_contest *contest) {
    const void *aligned = (const void *)(uintptr_t)256; /* no address, but aligned as one */
    product p = product_as(wanted, aligned);
    descriptors d = {0};
    answer given = answer_to(&p, aligned, aligned, aligned);
    contest->n = 0;
    cublasStatus_t s = describe_all(matmul, &p, &d);
    if (!s) s = choose(matmul, &p, &d, &given);
    const char *why = s ? sentence(s) : try_offers(matmul, &p, &given, &d, contest);
    release(&d);
    return why;
}

const gpu_kernel gpu_matmul_kernels[] = {{AIRA_OP_MATMUL, run, workspace}, {0, NULL, NULL}};
