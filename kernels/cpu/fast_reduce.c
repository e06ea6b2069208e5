/* fast_reduce.c - sums over neighbouring axes, rows added by index, rotary positions.
 *
 * A sum over neighbouring axes sees its operand as [outer, middle, inner] and sums the middle. Where it is long it is
 * cut into pieces of fixed length whose sums are added in order.
 */
#include <math.h>
#include <string.h>

#include "fast_kernels.h"

#define PIECES 64

typedef struct sum_job {
    const cpu_view *x, *out;
    int64_t outer, middle, inner, pieces, per_piece;
    float *partial; /* [outer, pieces, inner] */
} sum_job;

/* inner 1: a row's elements. */
static float sum_row(const cpu_view *x, int64_t start, int64_t n) {
    float spare[1024], total = 0;
    for (int64_t done = 0; done < n; done += 1024) {
        int64_t some = n - done < 1024 ? n - done : 1024, k = 0;
        const float *from = fast_in(x, start + done, some, spare);
        vf a = vset(0.0f), b = a;
        for (; k + 2 * VL <= some; k += 2 * VL) {
            a += vload(from + k);
            b += vload(from + k + VL);
        }
        float tail = 0;
        for (; k < some; k++) tail += from[k];
        total += vsum(a + b) + tail;
    }
    return total;
}

static void sum_columns(const cpu_view *x, int64_t start, int64_t rows, int64_t inner, float *spare, float *sums) {
    memset(sums, 0, (size_t)inner * sizeof *sums);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = fast_in(x, start + r * inner, inner, spare);
        for (int64_t c = 0; c < inner; c++) sums[c] += from[c];
    }
}

static void sum_task(void *opaque, int64_t task, cpu_worker *worker) {
    const sum_job *job = opaque;
    int64_t o = task / job->pieces, first = task % job->pieces * job->per_piece;
    int64_t n = job->middle - first < job->per_piece ? job->middle - first : job->per_piece;
    int64_t start = (o * job->middle + first) * job->inner;
    float *to = job->partial + task * job->inner;
    if (job->inner == 1) {
        *to = sum_row(job->x, start, n);
        return;
    }
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, (size_t)job->inner * sizeof *spare);
    if (spare) sum_columns(job->x, start, n, job->inner, spare, to);
    cpu_release(worker, mark);
}

/* Axes of the mask side by side, ignoring extents of 1; false if not. */
static bool neighbours(const aira_shape *shape, int64_t mask, sum_job *job) {
    int state = 0;
    job->outer = job->middle = job->inner = 1;
    for (uint32_t d = 0; d < shape->rank; d++) {
        if (shape->dims[d] == 1) continue;
        bool summed = mask >> d & 1;
        if (summed && state == 2) return false;
        if (summed) state = 1;
        if (!summed && state == 1) state = 2;
        *(state == 0 ? &job->outer : state == 1 ? &job->middle : &job->inner) *= shape->dims[d];
    }
    return true;
}

void FAST(fast_sum)(const cpu_call *call) {
    sum_job job = {.x = &call->in[0], .out = &call->out[0]};
    if (!neighbours(&call->in[0].shape, call->step->i[0], &job)) {
        cpu_reference_kernel(AIRA_OP_SUM)(call);
        return;
    }
    int64_t least = job.inner >= 4096 ? 1 : 4096 / job.inner; /* rows worth a piece of their own */
    job.pieces = (job.middle + least - 1) / least;
    if (job.pieces > PIECES) job.pieces = PIECES;
    if (job.pieces < 1) job.pieces = 1;
    job.per_piece = (job.middle + job.pieces - 1) / job.pieces;
    if (job.per_piece > 0) job.pieces = (job.middle + job.per_piece - 1) / job.per_piece;
    job.partial = cpu_alloc(call->worker, (size_t)(job.outer * job.pieces * job.inner + 1) * sizeof(float));
    if (!job.partial) return;
    cpu_parallel(call->worker, job.outer * job.pieces, sum_task, &job);
    for (int64_t o = 0; o < job.outer; o++) {
        float *sums = job.partial + o * job.pieces * job.inner;
        for (int64_t p = 1; p < job.pieces; p++) {
            for (int64_t c = 0; c < job.inner; c++) sums[c] += sums[p * job.inner + c];
        }
        char *to = job.out->data + (size_t)(o * job.inner) * cpu_bytes_of(job.out->dtype);
        cpu_convert(to, job.out->dtype, sums, AIRA_F32, job.inner);
    }
}

/* --- scatter: a task owns a range of target rows and reads all indices ---------------------------------------------
 */

typedef struct scatter_job {
    const cpu_call *call;
    int64_t n, n_rows, width, per_task;
} scatter_job;

static void scatter_task(void *opaque, int64_t task, cpu_worker *worker) {
    const scatter_job *job = opaque;
    const cpu_view *out = &job->call->out[0];
    const int32_t *index = (const int32_t *)(const void *)job->call->in[0].data;
    int64_t first = task * job->per_task,
            rows = job->n_rows - first < job->per_task ? job->n_rows - first : job->per_task;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, (size_t)job->width * sizeof *spare);
    float *sums = out->dtype == AIRA_F32 ? (float *)(void *)out->data + first * job->width
                                         : cpu_alloc(worker, (size_t)(rows * job->width) * sizeof *sums);
    if (spare && sums) {
        memset(sums, 0, (size_t)(rows * job->width) * sizeof *sums);
        for (int64_t k = 0; k < job->n; k++) {
            int64_t row = index[k] - first;
            if (row < 0 || row >= rows) continue;
            const float *from = fast_in(&job->call->in[1], k * job->width, job->width, spare);
            float *to = sums + row * job->width;
            for (int64_t c = 0; c < job->width; c++) to[c] += from[c];
        }
        fast_give(out, first * job->width, rows * job->width, sums);
    }
    cpu_release(worker, mark);
}

void FAST(fast_scatter_add)(const cpu_call *call) {
    const cpu_view *out = &call->out[0];
    scatter_job job = {.call = call, .n = call->in[0].n, .n_rows = out->shape.dims[0]};
    job.width = cpu_extent(&out->shape, 1, out->shape.rank);
    job.per_task = (job.n_rows + 15) / 16;
    if (job.per_task * job.width < 1024) job.per_task = 1024 / job.width + 1;
    cpu_parallel(call->worker, (job.n_rows + job.per_task - 1) / job.per_task, scatter_task, &job);
}

/* --- rotary positions ----------------------------------------------------------------------------------------------
 */

typedef struct rope_job {
    const cpu_call *call;
    float *table;        /* being made */
    const float *angles; /* [T][n_rot/2][cos, sin], positions 0 .. T-1; NULL: positions are an operand */
    int64_t t_n, width, heads, half, n_rot;
    bool interleaved;
    double base, sign;
} rope_job;

static void rope_angles(const rope_job *job, double position, float *to) {
    for (int64_t j = 0; j < job->half; j++) {
        double angle = position * pow(job->base, -2.0 * (double)j / (double)job->n_rot);
        to[j] = (float)cos(angle);
        to[job->half + j] = (float)(job->sign * sin(angle));
    }
}

static void rope_table_task(void *opaque, int64_t t, cpu_worker *worker) {
    const rope_job *job = opaque;
    (void)worker;
    rope_angles(job, (double)t, job->table + 2 * t * job->half);
}

static void rotate(const rope_job *job, const float *x, const float *angles, float *y) {
    const float *c = angles, *s = angles + job->half;
    for (int64_t h = 0; h < job->heads; h++, x += job->width, y += job->width) {
        if (job->interleaved) {
            for (int64_t j = 0; j < job->half; j++) {
                y[2 * j] = x[2 * j] * c[j] - x[2 * j + 1] * s[j];
                y[2 * j + 1] = x[2 * j + 1] * c[j] + x[2 * j] * s[j];
            }
        } else {
            for (int64_t j = 0; j < job->half; j++) {
                y[j] = x[j] * c[j] - x[j + job->half] * s[j];
                y[j + job->half] = x[j + job->half] * c[j] + x[j] * s[j];
            }
        }
        for (int64_t d = job->n_rot; d < job->width; d++) y[d] = x[d];
    }
}

#define ROPE_ROWS 16

static void rope_task(void *opaque, int64_t task, cpu_worker *worker) {
    const rope_job *job = opaque;
    const cpu_view *x = &job->call->in[0], *out = &job->call->out[0];
    int64_t n = job->heads * job->width, rows = x->shape.dims[0] * job->t_n;
    cpu_mark mark = cpu_scratch_mark(worker);
    float *spare = cpu_alloc(worker, (size_t)(2 * n + 2 * job->half) * sizeof *spare), *own = spare + 2 * n;
    for (int64_t r = task * ROPE_ROWS; spare && r < (task + 1) * ROPE_ROWS && r < rows; r++) {
        const float *from = fast_in(x, r * n, n, spare);
        float *to = fast_out(out, r * n, spare + n);
        if (!job->angles) rope_angles(job, (double)((const int32_t *)(const void *)job->call->in[1].data)[r], own);
        rotate(job, from, job->angles ? job->angles + 2 * (r % job->t_n) * job->half : own, to);
        fast_give(out, r * n, n, to);
    }
    cpu_release(worker, mark);
}

static rope_job rope_of(const cpu_call *call) {
    const aira_shape *shape = &call->in[0].shape;
    rope_job job = {.call = call, .t_n = shape->dims[1], .heads = shape->dims[2], .width = shape->dims[3]};
    job.n_rot = call->step->i[0] ? call->step->i[0] : job.width;
    job.half = job.n_rot / 2;
    job.interleaved = call->step->i[1] != 0;
    job.sign = call->step->i[2] ? -1 : 1;
    job.base = call->step->f[0];
    return job;
}

static size_t rope_bytes(const cpu_call *call) {
    rope_job job = rope_of(call);
    return call->n_in < 2 ? (size_t)(2 * job.t_n * job.half + 1) * sizeof(float) : 0;
}

static void rope_fill(const cpu_call *call, void *to) {
    rope_job job = rope_of(call);
    job.table = to;
    cpu_parallel(call->worker, job.t_n, rope_table_task, &job);
}

const cpu_prepare FAST(fast_rope_prepare) = {rope_bytes, rope_fill};

void FAST(fast_rope)(const cpu_call *call) {
    rope_job job = rope_of(call);
    job.angles = call->prepared;
    if (call->n_in < 2 && !job.angles) {
        job.angles = job.table = cpu_alloc(call->worker, rope_bytes(call));
        if (!job.table) return;
        rope_fill(call, job.table);
    }
    cpu_parallel(call->worker, (call->in[0].shape.dims[0] * job.t_n + ROPE_ROWS - 1) / ROPE_ROWS, rope_task, &job);
}
