/* fast_select.c - the largest few of every row, and products group by group. */
#include <math.h>
#include <string.h>

#include "fast_kernels.h"

#define FEW 16         /* more than this are sorted by the reference kernel */
#define ROWS_COST 8192 /* elements that one task looks at, about */

typedef struct select_job {
    const cpu_call *call;
    int64_t rows, width, keep, per_task;
} select_job;

/* NaN counts as larger than every number; among equals the first wins. */
static bool precedes(float a, float b) { return a > b || (isnan(a) && !isnan(b)); }

static void select_row(const float *x, int64_t n, int64_t keep, float *values, int32_t *indices) {
    int64_t have = 0;
    for (int64_t k = 0; k < n; k++) {
        if (have == keep && !precedes(x[k], values[have - 1])) continue;
        int64_t at = have < keep ? have++ : have - 1;
        for (; at > 0 && precedes(x[k], values[at - 1]); at--) {
            values[at] = values[at - 1];
            indices[at] = indices[at - 1];
        }
        values[at] = x[k];
        indices[at] = (int32_t)k;
    }
}

static void select_task(void *opaque, int64_t task, cpu_worker *worker) {
    const select_job *job = opaque;
    const cpu_view *x = &job->call->in[0], *values = &job->call->out[0], *indices = &job->call->out[1];
    int64_t end = (task + 1) * job->per_task < job->rows ? (task + 1) * job->per_task : job->rows;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, (size_t)job->width * sizeof *spare), best[FEW];
    int32_t at[FEW];
    for (int64_t r = task * job->per_task; spare && r < end; r++) {
        select_row(fast_in(x, r * job->width, job->width, spare), job->width, job->keep, best, at);
        cpu_convert(values->data + (size_t)(r * job->keep) * cpu_bytes_of(values->dtype), values->dtype, best, AIRA_F32,
                    job->keep);
        memcpy(indices->data + (size_t)(r * job->keep) * sizeof *at, at, (size_t)job->keep * sizeof *at);
    }
    cpu_release(worker, mark);
}

void FAST(fast_top_k)(const cpu_call *call) {
    select_job job = {.call = call, .width = cpu_last(&call->in[0].shape), .keep = call->step->i[0]};
    if (job.keep > FEW || call->in[0].dtype == AIRA_I32) {
        cpu_reference_kernel(AIRA_OP_TOP_K)(call);
        return;
    }
    job.rows = call->in[0].n / job.width;
    job.per_task = ROWS_COST / job.width + 1;
    cpu_parallel(call->worker, (job.rows + job.per_task - 1) / job.per_task, select_task, &job);
}

/* --- groups: each is one matrix product over its rows ---------------------------------------------------------------
 */

static cpu_view part(const cpu_view *view, int64_t start, int64_t rows, int64_t columns) {
    cpu_view result = {.data = view->data + (size_t)start * cpu_bytes_of(view->dtype), .dtype = view->dtype};
    result.n = rows * columns;
    result.shape = (aira_shape){.dims = {rows, columns}, .rank = 2};
    return result;
}

/* out = a b, each operand a matrix, swapped in memory where trans. */
static void multiply(const cpu_call *call, cpu_view a, cpu_view b, cpu_view out, bool trans_a, bool trans_b) {
    const int64_t i[2] = {trans_a, trans_b};
    aira_plan_step step = {.size = sizeof step, .op = AIRA_OP_MATMUL, .n_in = 2, .n_out = 1, .n_i = 2, .i = i};
    cpu_view in[2] = {a, b};
    cpu_call inner = {.worker = call->worker, .step = &step, .in = in, .out = &out, .n_in = 2, .n_out = 1};
    cpu_mark mark = cpu_scratch_mark(call->worker);
    if (out.n > 0) FAST(fast_matmul)(&inner);
    cpu_release(call->worker, mark);
}

static int64_t group_rows(const cpu_view *counts, int64_t e, int64_t start, int64_t rows) {
    int64_t count = ((const int32_t *)(const void *)counts->data)[e];
    if (count < 0) count = 0;
    return start + count > rows ? rows - start : count;
}

void FAST(fast_grouped_matmul)(const cpu_call *call) {
    const cpu_view *x = &call->in[0], *w = &call->in[1], *out = &call->out[0];
    int64_t rows = x->shape.dims[0], k = x->shape.dims[1], m = out->shape.dims[1], start = 0;
    bool trans = call->step->i[0] != 0;
    for (int64_t e = 0; e < w->shape.dims[0]; e++) {
        int64_t n = group_rows(&call->in[2], e, start, rows);
        cpu_view weight = part(w, e * k * m, trans ? m : k, trans ? k : m);
        multiply(call, part(x, start * k, n, k), weight, part(out, start * m, n, m), false, trans);
        start += n;
    }
    memset(out->data + (size_t)(start * m) * cpu_bytes_of(out->dtype), 0,
           (size_t)((rows - start) * m) * cpu_bytes_of(out->dtype));
}

void FAST(fast_grouped_wgrad)(const cpu_call *call) {
    const cpu_view *x = &call->in[0], *g = &call->in[1], *out = &call->out[0];
    int64_t rows = x->shape.dims[0], k = x->shape.dims[1], m = g->shape.dims[1], start = 0;
    for (int64_t e = 0; e < out->shape.dims[0]; e++) {
        int64_t n = group_rows(&call->in[2], e, start, rows);
        cpu_view dw = part(out, e * k * m, k, m);
        if (n > 0) {
            multiply(call, part(x, start * k, n, k), part(g, start * m, n, m), dw, true, false);
        } else {
            memset(dw.data, 0, (size_t)(k * m) * cpu_bytes_of(dw.dtype));
        }
        start += n;
    }
}
