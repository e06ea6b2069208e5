/* tune.c - see tune.h.
 *
 * Every candidate runs twice and is compared. Those whose bits agree and whose second run came close to the best one,
 * and the first answer, then run in turns, five times each, so that a clock that drifts meets all alike. An algorithm
 * replaces the first answer if its median is smaller by at least 1.5 %.
 */
#include "tune.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 5
#define LONG_ROUNDS 2
#define MOST_TIMES 1000
#define EVENTS (ROUNDS * GPU_CANDIDATES * 2)
#define CLOSE 1.04
#define WORTH_IT 1.015

/* Scratch memory of a contest: offsets into one block. */
typedef struct scratch {
    size_t a, b, added, bias, result[2], gelu[2], counts, workspace, all; /* [0]: of the first answer; [1]: in hand */
} scratch;

typedef struct ring {
    gpu_contest *contest;
    scratch at;
    char *memory;
    cudaStream_t stream;
    cudaEvent_t events[EVENTS];
} ring;

static const char *sentence(cudaError_t error) { return error == cudaSuccess ? NULL : cudaGetErrorString(error); }

/* The two events around a run. */
static cudaEvent_t *around(ring *r, int round, int k) { return &r->events[(round * GPU_CANDIDATES + k) * 2]; }

static size_t place(size_t *all, size_t bytes) {
    size_t at = *all;
    *all += (bytes + 255) & ~(size_t)255;
    return at;
}

static scratch layout_of(const gpu_contest *c) {
    scratch s = {0};
    s.a = place(&s.all, c->bytes_a);
    s.b = place(&s.all, c->bytes_b);
    s.added = place(&s.all, c->adds ? c->bytes_c : 0);
    s.bias = place(&s.all, c->bytes_bias);
    for (int k = 0; k < 2; k++) s.result[k] = place(&s.all, c->bytes_c);
    for (int k = 0; k < 2; k++) s.gelu[k] = place(&s.all, c->gelu ? c->bytes_c : 0);
    s.counts = place(&s.all, GPU_CANDIDATES * sizeof(unsigned long long));
    s.workspace = place(&s.all, c->workspace);
    return s;
}

/* Is there twice as much memory? The other half is for what other streams may ask for meanwhile. */
static bool has_room(size_t bytes) {
    size_t free_bytes = 0, all = 0;
    uint64_t reserved = 0, used = 0;
    cudaMemPool_t pool = NULL;
    int gpu = 0;
    if (cudaMemGetInfo(&free_bytes, &all) != cudaSuccess || cudaGetDevice(&gpu) != cudaSuccess ||
        cudaDeviceGetDefaultMemPool(&pool, gpu) != cudaSuccess ||
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved) != cudaSuccess ||
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used) != cudaSuccess)
        return false;
    return (free_bytes + (reserved > used ? reserved - used : 0)) / 2 >= bytes;
}

static const char *fill_operands(const ring *r) {
    const gpu_contest *c = r->contest;
    const struct {
        size_t at, end;
        uint32_t dtype;
    } parts[] = {{r->at.a, r->at.b, c->dtype},
                 {r->at.b, r->at.added, c->dtype},
                 {r->at.added, r->at.bias, c->out_dtype},
                 {r->at.bias, r->at.result[0], c->out_dtype}};
    const char *why = NULL;
    for (uint32_t k = 0; k < sizeof parts / sizeof *parts && !why; k++)
        if (parts[k].end > parts[k].at)
            why = gpu_fill_random(r->memory + parts[k].at, parts[k].end - parts[k].at, parts[k].dtype, c->seed * 4 + k,
                                  r->stream);
    return why;
}

/* Poisons a result: what an algorithm does not write must not pass for the first one's. */
static const char *poison(const ring *r, int which) {
    size_t bytes = r->at.gelu[0] - r->at.result[1], gelu = r->at.counts - r->at.gelu[1];
    cudaError_t error = cudaMemsetAsync(r->memory + r->at.result[which], 0xff, bytes, r->stream);
    if (error == cudaSuccess && gelu) error = cudaMemsetAsync(r->memory + r->at.gelu[which], 0xff, gelu, r->stream);
    return sentence(error);
}

/* Puts candidate k between two events, some times. False: cuBLASLt does not take it after all. */
static bool run(ring *r, int k, int which, cudaEvent_t *events, int times) {
    gpu_contest *c = r->contest;
    const float one = 1, share = c->adds ? 1 : 0;
    void *bias = r->memory + r->at.bias, *gelu = r->memory + r->at.gelu[which], *to = r->memory + r->at.result[which];
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    if (c->bytes_bias)
        s = cublasLtMatmulDescSetAttribute(c->how, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    if (!s && c->gelu)
        s = cublasLtMatmulDescSetAttribute(c->how, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &gelu, sizeof gelu);
    if (cudaEventRecord(events[0], r->stream) != cudaSuccess) return false;
    for (int t = 0; t < times && !s; t++) /* cuBLASLt's A is our b: see matmul.c */
        s = cublasLtMatmul(c->handle, c->how, &one, r->memory + r->at.b, c->a, r->memory + r->at.a, c->b, &share,
                           c->adds ? r->memory + r->at.added : to, c->c, to, c->c, &c->candidates[k],
                           r->memory + r->at.workspace, c->workspace, r->stream);
    return s == CUBLAS_STATUS_SUCCESS && cudaEventRecord(events[1], r->stream) == cudaSuccess;
}

/* Every candidate twice; differing[] and the microseconds of the second run. */
static const char *compare(ring *r) {
    gpu_contest *c = r->contest;
    unsigned long long counts[GPU_CANDIDATES], *there = (unsigned long long *)(void *)(r->memory + r->at.counts);
    bool ran[GPU_CANDIDATES] = {false};
    const char *why = sentence(cudaMemsetAsync(there, 0, sizeof counts, r->stream));
    for (int k = 0; k < c->n && !why; k++) {
        int which = k > 0;
        why = poison(r, which);
        ran[k] = !why && run(r, k, which, around(r, 0, k), 1) && run(r, k, which, around(r, 0, k), 1);
        if (!ran[k]) (void)cudaGetLastError(); /* it is out; what it left must not be found by a later launch */
        if (!ran[k] && k == 0 && !why) why = "cuBLASLt does not run its first answer";
        if (ran[k] && which && !why)
            why = gpu_count_differing(r->memory + r->at.result[0], r->memory + r->at.result[1],
                                      r->at.result[1] - r->at.result[0], &there[k], r->stream);
        if (ran[k] && which && !why && c->gelu)
            why = gpu_count_differing(r->memory + r->at.gelu[0], r->memory + r->at.gelu[1],
                                      r->at.gelu[1] - r->at.gelu[0], &there[k], r->stream);
    }
    if (!why) why = sentence(cudaMemcpyAsync(counts, there, sizeof counts, cudaMemcpyDeviceToHost, r->stream));
    if (!why) why = sentence(cudaStreamSynchronize(r->stream));
    for (int k = 0; k < c->n && !why; k++) {
        float ms = 0;
        if (!ran[k]) continue;
        why = sentence(cudaEventElapsedTime(&ms, around(r, 0, k)[0], around(r, 0, k)[1]));
        c->differing[k] = (int64_t)counts[k];
        c->us[k] = 1e3 * (double)ms;
    }
    return why;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* May candidate k replace the first answer? Wrong results would differ nearly everywhere, orders of sums in the last
   bit of some. */
static bool is_admitted(const gpu_contest *c, int k) {
    int64_t words = (int64_t)(c->bytes_c / 4);
    if (c->differing[k] <= 0) return c->differing[k] == 0;
    return c->any_bits && !c->gelu && c->out_dtype == AIRA_BF16 && c->differing[k] <= words / 2;
}

/* Those that are left, in turns. */
static const char *time_them(ring *r) {
    gpu_contest *c = r->contest;
    const char *why = NULL;
    double best = c->us[0];
    int n = 0;
    for (int k = 1; k < c->n; k++)
        if (is_admitted(c, k) && c->us[k] < best) best = c->us[k];
    for (int k = 0; k < c->n; k++) {
        bool good = is_admitted(c, k) && c->us[k] <= CLOSE * best;
        c->timed[k] = k == 0 || good || (c->all && c->differing[k] >= 0);
        n += c->timed[k];
    }
    if (n == 1) return NULL; /* nothing to choose from */
    int rounds = c->lasting_ms > 0 ? LONG_ROUNDS : ROUNDS, times[GPU_CANDIDATES];
    for (int k = 0; k < c->n; k++) {
        double fit = c->lasting_ms > 0 && c->us[k] > 0 ? 1e3 * c->lasting_ms / c->us[k] : 1;
        times[k] = fit < 1 ? 1 : fit > MOST_TIMES ? MOST_TIMES : (int)fit;
    }
    for (int round = 0; round < rounds && !why; round++)
        for (int k = 0; k < c->n && !why; k++)
            if (c->timed[k] && !run(r, k, 1, around(r, round, k), times[k]))
                why = "cuBLASLt does not run what it ran before";
    if (!why) why = sentence(cudaStreamSynchronize(r->stream));
    for (int k = 0; k < c->n && !why; k++) {
        float ms[ROUNDS];
        for (int round = 0; round < rounds && c->timed[k] && !why; round++)
            why = sentence(cudaEventElapsedTime(&ms[round], around(r, round, k)[0], around(r, round, k)[1]));
        if (!c->timed[k] || why) continue;
        qsort(ms, (size_t)rounds, sizeof *ms, by_size);
        c->us[k] = 1e3 * (double)ms[rounds / 2] / times[k];
    }
    return why;
}

static void choose(gpu_contest *c) {
    int best = 0;
    for (int k = 1; k < c->n; k++)
        if (c->timed[k] && is_admitted(c, k) && c->us[k] < c->us[best]) best = k;
    if (best && WORTH_IT * c->us[best] <= c->us[0]) c->chosen = best;
}

static const char *hold(ring *r) {
    const char *why = sentence(cudaStreamCreateWithFlags(&r->stream, cudaStreamNonBlocking));
    if (!why) why = sentence(cudaMallocAsync((void **)&r->memory, r->at.all, r->stream));
    for (int k = 0; k < EVENTS && !why; k++) why = sentence(cudaEventCreate(&r->events[k]));
    if (!why) why = fill_operands(r);
    if (!why) why = compare(r);
    if (!why) why = time_them(r);
    if (!why) choose(r->contest);
    return why;
}

/* What cannot be released now is released with the process. */
static void release(ring *r) {
    for (int k = 0; k < EVENTS; k++)
        if (r->events[k]) (void)cudaEventDestroy(r->events[k]);
    if (r->memory) (void)cudaFreeAsync(r->memory, r->stream);
    if (!r->stream) return;
    (void)cudaStreamSynchronize(r->stream);
    (void)cudaStreamDestroy(r->stream);
}

/* --- variants --- */

static bool is_known(const gpu_contest *c, const cublasLtMatmulAlgo_t *algorithm) {
    for (int k = 0; k < c->n; k++)
        if (!memcmp(&c->candidates[k], algorithm, sizeof *algorithm)) return true;
    return false;
}

/* With a cluster of this shape; order: of the blocks. False: cuBLASLt does not take it. */
static bool change(const gpu_contest *c, cublasLtMatmulAlgo_t *algorithm, uint16_t cluster, uint32_t order) {
    cublasLtMatmulHeuristicResult_t result;
    cublasStatus_t s = cublasLtMatmulAlgoConfigSetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, &cluster,
                                                            sizeof cluster);
    if (!s)
        s = cublasLtMatmulAlgoConfigSetAttribute(algorithm, CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, &order, sizeof order);
    memset(&result, 0, sizeof result);
    if (!s) s = cublasLtMatmulAlgoCheck(c->handle, c->how, c->a, c->b, c->c, c->c, algorithm, &result);
    return s == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= c->workspace;
}

void gpu_contest_vary(gpu_contest *c) {
    static const uint16_t shapes[] = {CUBLASLT_CLUSTER_SHAPE_2x1x1, CUBLASLT_CLUSTER_SHAPE_1x2x1,
                                      CUBLASLT_CLUSTER_SHAPE_1x1x1, CUBLASLT_CLUSTER_SHAPE_2x2x1,
                                      CUBLASLT_CLUSTER_SHAPE_4x1x1, CUBLASLT_CLUSTER_SHAPE_1x4x1};
    int n = c->n < GPU_VARIED ? c->n : GPU_VARIED;
    for (int k = 0; k < n; k++)
        for (uint32_t v = 0; v < 2 * sizeof shapes / sizeof *shapes && c->n < GPU_CANDIDATES; v++) {
            cublasLtMatmulAlgo_t variant = c->candidates[k];
            if (change(c, &variant, shapes[v / 2], v % 2) && !is_known(c, &variant)) c->candidates[c->n++] = variant;
        }
}

const char *gpu_contest_hold(gpu_contest *contest) {
    ring r = {.contest = contest, .at = layout_of(contest)};
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    contest->chosen = 0;
    for (int k = 0; k < GPU_CANDIDATES; k++) {
        contest->differing[k] = -1;
        contest->us[k] = -1;
        contest->timed[k] = 0;
    }
    /* a thread that captures may otherwise neither take memory nor wait, on whatever stream */
    const char *why = sentence(cudaThreadExchangeStreamCaptureMode(&mode));
    if (why) return why;
    why = has_room(r.at.all) ? hold(&r) : "there is too little memory";
    release(&r);
    if (why) (void)cudaGetLastError();                /* told here; it must not be found again by a later launch */
    (void)cudaThreadExchangeStreamCaptureMode(&mode); /* back to what it was; it went the other way */
    return why;
}
