/* head.cu - a language model's head and its cross-entropy without the logits in memory.
 *
 * A chunk of tokens at a time: one product gives the chunk's logits in the workspace; one kernel turns each row into
 * its loss and, where gradients are wanted, into the gradient of the logits in place (bf16: head_rows.cu); two products
 * carry that on to dx and dw. Chunks follow one another and add into dw in fp32, so that every sum has one order.
 * Forward and backward together cost 6 FLOPs per token and weight; the largest tensor is one chunk.
 */
#include "head_rows.h"

#define CHUNK_BYTES (512ll << 20) /* of logits */
#define CHUNK_MORE (1100ll << 20) /* where dw is added to and a chunk would have fewer rows than CHUNK_ENOUGH */
#define CHUNK_ENOUGH 4096         /* all 16,384 of 1B at V = 32,000 in one: 9.7 ms; in two: 8.7 */
#define CHUNK_ROWS 65536
#define CHUNK_STEP 128    /* chunks of more rows are multiples of this */
#define WARP_ROWS 4       /* rows, thus warps, of a block */
#define WARP_WIDTH 1024   /* longest row of one warp */
#define BLOCK_THREADS 512 /* of a longer row */

typedef __nv_bfloat16 bf16;

__device__ static float exponential(bf16, float x) { return __expf(x); }
__device__ static float exponential(float, float x) { return expf(x); }
__device__ static double exponential(double, double x) { return exp(x); }
__device__ static float logarithm(float x) { return logf(x); }
__device__ static double logarithm(double x) { return log(x); }
__device__ static float widen(bf16 x) { return __bfloat162float(x); }
__device__ static float widen(float x) { return x; }
__device__ static double widen(double x) { return x; }
__device__ static void narrow(bf16 *to, float x) { *to = __float2bfloat16_rn(x); }
__device__ static void narrow(float *to, float x) { *to = x; }
__device__ static void narrow(double *to, double x) { *to = x; }

/* VEC neighbours, moved at once. */
template <class T, int VEC> struct alignas(sizeof(T) * VEC) group { T v[VEC]; };

/* One row of logits by a warp, or by a block (BLOCK). g.data NULL: the loss alone, the logits stay. */
template <class T, class R, int VEC, bool BLOCK>
__global__ void head_rows_kernel(T *logits, const int32_t *targets, elements g, elements nll, int64_t first,
                                 int64_t rows, int64_t width) {
    __shared__ R spare[32];
    typedef group<T, VEC> pack;
    int64_t row = BLOCK ? (int64_t)blockIdx.x : (int64_t)blockIdx.x * WARP_ROWS + (threadIdx.x >> 5);
    int lane = BLOCK ? threadIdx.x : threadIdx.x & 31, lanes = BLOCK ? BLOCK_THREADS : 32;
    if (row >= rows) return;
    T *at = logits + row * width;
    pack *packs = (pack *)at;
    int64_t target = targets[first + row], n_packs = width / VEC;
    bool counts = target >= 0 && target < width;
    R hit = counts ? (R)widen(at[target]) : (R)0, best = (R)-INFINITY, sum = 0;
    __syncwarp(); /* a lane must not overwrite the target's logit before the others have read it */
    for (int64_t p = lane; p < n_packs; p += lanes) {
        pack x = packs[p];
        R peak = (R)widen(x.v[0]);
#pragma unroll
        for (int k = 1; k < VEC; k++) peak = peak > (R)widen(x.v[k]) ? peak : (R)widen(x.v[k]);
        if (peak > best) {
            sum *= exponential(T(), best - peak);
            best = peak;
        }
#pragma unroll
        for (int k = 0; k < VEC; k++) sum += exponential(T(), (R)widen(x.v[k]) - best);
    }
    R peak = BLOCK ? block_reduce<R, true>(best, spare) : warp_max(best);
    sum *= exponential(T(), best - peak); /* a lane without elements: 0 */
    sum = BLOCK ? block_reduce<R, false>(sum, spare) : warp_sum(sum);
    if (lane == 0) store<R>(nll, first + row, counts ? peak - hit + logarithm(sum) : (R)0);
    if (g.data == NULL) return;
    R slope = counts ? load<R>(g, first + row) : (R)0, share = 1 / sum;
    for (int64_t p = lane; p < n_packs; p += lanes) {
        pack x = packs[p];
#pragma unroll
        for (int k = 0; k < VEC; k++) {
            R probability = exponential(T(), (R)widen(x.v[k]) - peak) * share;
            R value = slope * (probability - (p * VEC + k == target ? (R)1 : (R)0));
            narrow(&x.v[k], counts ? value : (R)0);
        }
        packs[p] = x;
    }
}

template <class T, class R, int VEC>
static void launch_as(const gpu_call *call, void *logits, elements g, elements nll, int64_t first, int64_t rows,
                      int64_t width) {
    const int32_t *targets = (const int32_t *)call->in[2].data;
    if (width > WARP_WIDTH)
        head_rows_kernel<T, R, VEC, true>
            <<<(unsigned)rows, BLOCK_THREADS, 0, call->stream>>>((T *)logits, targets, g, nll, first, rows, width);
    else
        head_rows_kernel<T, R, VEC, false>
            <<<(unsigned)((rows + WARP_ROWS - 1) / WARP_ROWS), 32 * WARP_ROWS, 0, call->stream>>>(
                (T *)logits, targets, g, nll, first, rows, width);
}

/* Loss of `rows` rows from `first` on; their logits become their gradients where g is given. */
static const char *rows_of_head(const gpu_call *call, void *logits, elements g, elements nll, int64_t first,
                                int64_t rows, int64_t width) {
    switch (call->in[0].dtype) {
    case AIRA_BF16:
        if (width > WARP_WIDTH && gpu_holds_head_row(width)) {
            const head_rows held = {(bf16 *)logits, (const int32_t *)call->in[2].data, g, nll, first, rows, width};
            return gpu_run_held_rows(&held, call->stream);
        }
        if (width % 8 == 0)
            launch_as<bf16, float, 8>(call, logits, g, nll, first, rows, width);
        else
            launch_as<bf16, float, 1>(call, logits, g, nll, first, rows, width);
        break;
    case AIRA_F32:
        if (width % 4 == 0)
            launch_as<float, float, 4>(call, logits, g, nll, first, rows, width);
        else
            launch_as<float, float, 1>(call, logits, g, nll, first, rows, width);
        break;
    default:
        launch_as<double, double, 1>(call, logits, g, nll, first, rows, width);
    }
    return gpu_launched();
}

/* Rows of a chunk: as even as the limits allow. Every chunk but the first reads dw and writes it again, 8 bytes for
   2 x rows operations: at 16,384 rows memory takes a twentieth of the product's time, at 2,048 rows a third. */
static int64_t chunk_of(const gpu_call *call) {
    int64_t width = call->in[1].shape.dims[0], rows = call->in[2].n;
    int64_t row = width * (int64_t)gpu_bytes_of(call->in[0].dtype), most = CHUNK_BYTES / row;
    if (call->n_in > 3 && most < CHUNK_ENOUGH) most = CHUNK_MORE / row < CHUNK_ENOUGH ? CHUNK_MORE / row : CHUNK_ENOUGH;
    most = most > CHUNK_ROWS ? CHUNK_ROWS : most < CHUNK_STEP ? CHUNK_STEP : most / CHUNK_STEP * CHUNK_STEP;
    int64_t chunks = (rows + most - 1) / most, even = (rows + chunks - 1) / chunks;
    return chunks == 1 ? rows : (even + CHUNK_STEP - 1) / CHUNK_STEP * CHUNK_STEP;
}

static size_t head_workspace(const gpu_call *call) {
    return (size_t)(chunk_of(call) * call->in[1].shape.dims[0]) * gpu_bytes_of(call->in[0].dtype);
}

/* dx of the chunk, and dw, which later chunks add to. */
static const char *carry_on(const gpu_call *call, int64_t first, int64_t rows) {
    const gpu_view *x = &call->in[0], *w = &call->in[1], *dx = &call->out[0], *dw = &call->out[1];
    int64_t depth = w->shape.dims[1], width = w->shape.dims[0];
    int64_t offset = first * depth * (int64_t)gpu_bytes_of(x->dtype);
    gpu_product to_x = {rows, depth, width, 0, 0, 0, x->dtype, x->dtype};
    gpu_product to_w = {width, depth, rows, 1, 0, first > 0, x->dtype, dw->dtype};
    const char *why = gpu_multiply(call->matmul, &to_x, call->workspace, w->data, dx->data + offset, call->stream);
    if (!why) why = gpu_multiply(call->matmul, &to_w, call->workspace, x->data + offset, dw->data, call->stream);
    return why;
}

static const char *head(const gpu_call *call) {
    bool backward = call->n_in > 3;
    const gpu_view *x = &call->in[0], *w = &call->in[1];
    int64_t depth = w->shape.dims[1], width = w->shape.dims[0], rows = call->in[2].n, chunk = chunk_of(call);
    elements g = backward ? of(call->in[3]) : elements{NULL, 0}, nll = of(call->out[backward ? 2 : 0]);
    const char *why = NULL;
    for (int64_t first = 0; first < rows && !why; first += chunk) {
        int64_t n = rows - first < chunk ? rows - first : chunk;
        gpu_product to_logits = {n, width, depth, 0, 1, 0, x->dtype, x->dtype};
        const char *from = x->data + first * depth * (int64_t)gpu_bytes_of(x->dtype);
        why = gpu_multiply(call->matmul, &to_logits, from, w->data, call->workspace, call->stream);
        if (!why) why = rows_of_head(call, call->workspace, g, nll, first, n, width);
        if (!why && backward) why = carry_on(call, first, n);
    }
    return why;
}

extern "C" const gpu_kernel gpu_head_kernels[] = {{AIRA_OP_HEAD_CROSS_ENTROPY, head, head_workspace},
                                                  {AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD, head, head_workspace},
                                                  {0, NULL, NULL}};
