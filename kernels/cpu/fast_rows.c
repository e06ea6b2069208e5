/* fast_rows.c - norms, softmax and cross-entropy over rows, on vectors.
 *
 * A task is a block of rows whose number follows from the shape. What is summed over rows (gradients of weights) is
 * summed per block first, and the blocks' sums in order.
 */
#include <string.h>

#include "fast_kernels.h"

#define MAX_BLOCKS 64

typedef struct rows_job {
    const cpu_call *call;
    int64_t rows, width, per_block, blocks;
    float eps;
    const float *w, *bias; /* as floats */
    float *partial;        /* [blocks][sums of width each] */
    void (*row)(const struct rows_job *job, int64_t row, float *spare, float *partial);
    int n_sums;
} rows_job;

/* Vector k of a row of n floats, zeros beyond. */
static inline vf at(const float *x, int64_t k, int64_t n) {
    return k + VL <= n ? vload(x + k) : vload_part(x + k, n - k);
}
static inline void put(float *x, int64_t k, int64_t n, vf value) {
    if (k + VL <= n) {
        vstore(x + k, value);
    } else {
        vstore_part(x + k, value, n - k);
    }
}

static void block_task(void *opaque, int64_t block, cpu_worker *worker) {
    const rows_job *job = opaque;
    int64_t end = (block + 1) * job->per_block < job->rows ? (block + 1) * job->per_block : job->rows;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, 4 * (size_t)job->width * sizeof *spare);
    float *partial = job->partial ? job->partial + block * job->n_sums * job->width : NULL;
    if (partial) memset(partial, 0, (size_t)(job->n_sums * job->width) * sizeof *partial);
    for (int64_t row = block * job->per_block; spare && row < end; row++) job->row(job, row, spare, partial);
    cpu_release(worker, mark);
}

/* Runs row over all rows; results first_sum, .. get the sums. */
static void run_rows(const cpu_call *call, rows_job *job, int n_sums, uint32_t first_sum) {
    const cpu_view *x = &call->in[0];
    job->call = call;
    job->width = cpu_last(&x->shape);
    job->rows = job->width > 0 ? x->n / job->width : 0;
    if (job->rows == 0) return;
    job->per_block = 16384 / job->width + 1;
    if (n_sums > 0 && job->per_block < (job->rows + MAX_BLOCKS - 1) / MAX_BLOCKS) {
        job->per_block = (job->rows + MAX_BLOCKS - 1) / MAX_BLOCKS;
    }
    job->blocks = (job->rows + job->per_block - 1) / job->per_block;
    job->n_sums = n_sums;
    if (n_sums > 0) {
        job->partial = cpu_alloc(call->worker, (size_t)(job->blocks * n_sums * job->width) * sizeof(float));
        if (!job->partial) return;
    }
    cpu_parallel(call->worker, job->blocks, block_task, job);
    for (int s = 0; s < n_sums; s++) {
        float *sum = job->partial + s * job->width;
        for (int64_t b = 1; b < job->blocks; b++) {
            const float *more = job->partial + (b * n_sums + s) * job->width;
            for (int64_t c = 0; c < job->width; c++) sum[c] += more[c];
        }
        const cpu_view *out = &call->out[first_sum + (uint32_t)s];
        cpu_convert(out->data, out->dtype, sum, AIRA_F32, job->width);
    }
}

/* Operand k, a vector of the row's width, as floats; NULL: out of memory. */
static const float *weights(const cpu_call *call, uint32_t k) {
    float *spare = cpu_alloc(call->worker, (size_t)call->in[k].n * sizeof *spare + sizeof(vf));
    return spare ? fast_in(&call->in[k], 0, call->in[k].n, spare) : NULL;
}

/* --- norms -------------------------------------------------------------------------------------------------------- */

static float mean_square(const float *x, int64_t n, float mean) {
    vf sum = vset(0.0f), m = vset(mean);
    int64_t k = 0;
    for (; k + VL <= n; k += VL) {
        vf d = vload(x + k) - m;
        sum += d * d;
    }
    float tail = 0;
    for (; k < n; k++) tail += (x[k] - mean) * (x[k] - mean);
    return (vsum(sum) + tail) / (float)n;
}

static float mean_of(const float *x, int64_t n) {
    vf sum = vset(0.0f);
    for (int64_t k = 0; k < n; k += VL) sum += at(x, k, n);
    return vsum(sum) / (float)n;
}

static void rms_norm_row(const rows_job *job, int64_t row, float *spare, float *partial) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    const float *x = fast_in(&call->in[0], row * n, n, spare);
    float *y = fast_out(&call->out[0], row * n, spare + n);
    vf s = vset(1.0f / __builtin_sqrtf(mean_square(x, n, 0) + job->eps));
    (void)partial;
    for (int64_t k = 0; k < n; k += VL) put(y, k, n, at(x, k, n) * s * at(job->w, k, n));
    fast_give(&call->out[0], row * n, n, y);
}

void FAST(fast_rms_norm)(const cpu_call *call) {
    rows_job job = {.row = rms_norm_row, .w = weights(call, 1), .eps = (float)call->step->f[0]};
    if (job.w) run_rows(call, &job, 0, 0);
}

/* dx = s (w g) - x s^3 mean(w g x); dw += g x s */
static void rms_norm_backward_row(const rows_job *job, int64_t row, float *spare, float *dw) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    const float *x = fast_in(&call->in[0], row * n, n, spare), *g = fast_in(&call->in[2], row * n, n, spare + n);
    float *dx = fast_out(&call->out[0], row * n, spare + 2 * n);
    vf dot = vset(0.0f);
    float s = 1.0f / __builtin_sqrtf(mean_square(x, n, 0) + job->eps);
    for (int64_t k = 0; k < n; k += VL) dot += at(job->w, k, n) * at(g, k, n) * at(x, k, n);
    vf scale = vset(s), pull = vset(s * s * s * vsum(dot) / (float)n);
    for (int64_t k = 0; k < n; k += VL) {
        vf xk = at(x, k, n), gk = at(g, k, n);
        put(dw, k, n, at(dw, k, n) + gk * xk * scale);
        put(dx, k, n, scale * at(job->w, k, n) * gk - pull * xk);
    }
    fast_give(&call->out[0], row * n, n, dx);
}

void FAST(fast_rms_norm_backward)(const cpu_call *call) {
    rows_job job = {.row = rms_norm_backward_row, .w = weights(call, 1), .eps = (float)call->step->f[0]};
    if (job.w) run_rows(call, &job, 1, 1);
}

static void layer_norm_row(const rows_job *job, int64_t row, float *spare, float *partial) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    const float *x = fast_in(&call->in[0], row * n, n, spare);
    float *y = fast_out(&call->out[0], row * n, spare + n);
    float mean = mean_of(x, n);
    vf m = vset(mean), s = vset(1.0f / __builtin_sqrtf(mean_square(x, n, mean) + job->eps));
    (void)partial;
    for (int64_t k = 0; k < n; k += VL) put(y, k, n, (at(x, k, n) - m) * s * at(job->w, k, n) + at(job->bias, k, n));
    fast_give(&call->out[0], row * n, n, y);
}

void FAST(fast_layer_norm)(const cpu_call *call) {
    rows_job job = {.row = layer_norm_row, .w = weights(call, 1), .bias = weights(call, 2)};
    job.eps = (float)call->step->f[0];
    if (job.w && job.bias) run_rows(call, &job, 0, 0);
}

/* With z = (x - mean) s, h = w g: dx = s (h - mean h - z mean(h z)); dw += g z; db += g */
static void layer_norm_backward_row(const rows_job *job, int64_t row, float *spare, float *sums) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    const float *x = fast_in(&call->in[0], row * n, n, spare), *g = fast_in(&call->in[3], row * n, n, spare + n);
    float *dx = fast_out(&call->out[0], row * n, spare + 2 * n), *dw = sums, *db = sums + n;
    float mean = mean_of(x, n);
    vf m = vset(mean), s = vset(1.0f / __builtin_sqrtf(mean_square(x, n, mean) + job->eps));
    vf sum = vset(0.0f), dot = vset(0.0f);
    for (int64_t k = 0; k < n; k += VL) {
        vf h = at(job->w, k, n) * at(g, k, n);
        sum += h;
        dot += h * (at(x, k, n) - m) * s;
    }
    vf mean_h = vset(vsum(sum) / (float)n), mean_hz = vset(vsum(dot) / (float)n);
    for (int64_t k = 0; k < n; k += VL) {
        vf gk = at(g, k, n), z = (at(x, k, n) - m) * s;
        put(dw, k, n, at(dw, k, n) + gk * z);
        put(db, k, n, at(db, k, n) + gk);
        put(dx, k, n, s * (at(job->w, k, n) * gk - mean_h - z * mean_hz));
    }
    fast_give(&call->out[0], row * n, n, dx);
}

void FAST(fast_layer_norm_backward)(const cpu_call *call) {
    rows_job job = {.row = layer_norm_backward_row, .w = weights(call, 1), .eps = (float)call->step->f[0]};
    if (job.w) run_rows(call, &job, 2, 1);
}

/* --- softmax ------------------------------------------------------------------------------------------------------ */

static float peak_of(const float *x, int64_t n) {
    vf best = vset(-__builtin_inff());
    int64_t k = 0;
    for (; k + VL <= n; k += VL) {
        vf v = vload(x + k);
        best = vselect((v > best) | (v != v), v, best);
    }
    float peak = vpeak(best);
    for (int l = 0; l < VL; l++) {
        if (best[l] != best[l]) peak = best[l];
    }
    for (; k < n; k++) {
        if (x[k] > peak || x[k] != x[k]) peak = x[k];
    }
    return peak;
}

/* y = exp(x - peak); returns the sum. */
static float exponentials(const float *x, int64_t n, float peak, float *y) {
    vf sum = vset(0.0f), p = vset(peak);
    int64_t k = 0;
    for (; k + VL <= n; k += VL) {
        vf e = vexp(vload(x + k) - p);
        vstore(y + k, e);
        sum += e;
    }
    float tail = 0;
    if (k < n) {
        vf e = vexp(vload_part(x + k, n - k) - p);
        vstore_part(y + k, e, n - k);
        for (int64_t l = 0; l < n - k; l++) tail += e[l];
    }
    return vsum(sum) + tail;
}

static void softmax_row(const rows_job *job, int64_t row, float *spare, float *partial) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    const float *x = fast_in(&call->in[0], row * n, n, spare);
    float *y = fast_out(&call->out[0], row * n, spare + n);
    vf share = vset(1.0f / exponentials(x, n, peak_of(x, n), y));
    (void)partial;
    for (int64_t k = 0; k < n; k += VL) put(y, k, n, at(y, k, n) * share);
    fast_give(&call->out[0], row * n, n, y);
}

void FAST(fast_softmax)(const cpu_call *call) {
    rows_job job = {.row = softmax_row};
    run_rows(call, &job, 0, 0);
}

static void softmax_backward_row(const rows_job *job, int64_t row, float *spare, float *partial) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    const float *y = fast_in(&call->in[0], row * n, n, spare), *g = fast_in(&call->in[1], row * n, n, spare + n);
    float *dx = fast_out(&call->out[0], row * n, spare + 2 * n);
    vf dot = vset(0.0f);
    (void)partial;
    for (int64_t k = 0; k < n; k += VL) dot += at(y, k, n) * at(g, k, n);
    vf d = vset(vsum(dot));
    for (int64_t k = 0; k < n; k += VL) put(dx, k, n, at(y, k, n) * (at(g, k, n) - d));
    fast_give(&call->out[0], row * n, n, dx);
}

void FAST(fast_softmax_backward)(const cpu_call *call) {
    rows_job job = {.row = softmax_backward_row};
    run_rows(call, &job, 0, 0);
}

/* --- cross-entropy ------------------------------------------------------------------------------------------------ */

static void store_one(const cpu_view *view, int64_t k, float value) {
    cpu_convert(view->data + (size_t)k * cpu_bytes_of(view->dtype), view->dtype, &value, AIRA_F32, 1);
}

static void cross_entropy_row(const rows_job *job, int64_t row, float *spare, float *partial) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    int32_t target = ((const int32_t *)(const void *)call->in[1].data)[row];
    float loss = 0;
    (void)partial;
    if (target >= 0 && target < n) {
        const float *x = fast_in(&call->in[0], row * n, n, spare);
        float peak = peak_of(x, n), sum = exponentials(x, n, peak, spare + n);
        loss = peak - x[target] + vlog(vset(sum))[0];
    }
    store_one(&call->out[0], row, loss);
}

void FAST(fast_cross_entropy)(const cpu_call *call) {
    rows_job job = {.row = cross_entropy_row};
    run_rows(call, &job, 0, 0);
}

static void cross_entropy_backward_row(const rows_job *job, int64_t row, float *spare, float *partial) {
    const cpu_call *call = job->call;
    int64_t n = job->width;
    int32_t target = ((const int32_t *)(const void *)call->in[1].data)[row];
    float *dx = fast_out(&call->out[0], row * n, spare + n), g = 0;
    (void)partial;
    if (target < 0 || target >= n) {
        memset(dx, 0, (size_t)n * sizeof *dx);
    } else {
        const float *x = fast_in(&call->in[0], row * n, n, spare);
        const cpu_view *gs = &call->in[2];
        cpu_convert(&g, AIRA_F32, gs->data + (size_t)row * cpu_bytes_of(gs->dtype), gs->dtype, 1);
        vf scale = vset(g / exponentials(x, n, peak_of(x, n), dx));
        for (int64_t k = 0; k < n; k += VL) put(dx, k, n, at(dx, k, n) * scale);
        dx[target] -= g;
    }
    fast_give(&call->out[0], row * n, n, dx);
}

void FAST(fast_cross_entropy_backward)(const cpu_call *call) {
    rows_job job = {.row = cross_entropy_backward_row};
    run_rows(call, &job, 0, 0);
}
