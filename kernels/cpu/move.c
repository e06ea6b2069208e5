/* move.c - ops that move elements without looking at them, and the leaves that make them.
 *
 * Elements move as raw 2, 4 or 8 bytes, so one text serves every element type. Work is split by output rows.
 */
#include <string.h>

#include "aira/rng.h"
#include "convert.h"
#include "cpu.h"

#define GRAIN 16384 /* elements that one task moves, about */

typedef struct move_job {
    const cpu_call *call;
    int64_t rows, per_task; /* rows of work; rows that one task does */
    void (*row)(const cpu_call *call, int64_t row);
} move_job;

static void move_task(void *opaque, int64_t task, cpu_worker *worker) {
    const move_job *job = opaque;
    (void)worker;
    int64_t end = (task + 1) * job->per_task;
    if (end > job->rows) end = job->rows;
    for (int64_t row = task * job->per_task; row < end; row++) job->row(job->call, row);
}

static void move_rows(const cpu_call *call, int64_t rows, int64_t elements_per_row,
                      void (*row)(const cpu_call *call, int64_t row)) {
    int64_t per_task = elements_per_row > 0 ? GRAIN / elements_per_row : GRAIN;
    if (per_task < 1) per_task = 1;
    move_job job = {call, rows, per_task, row};
    cpu_parallel(call->worker, (rows + per_task - 1) / per_task, move_task, &job);
}

static void nothing(const cpu_call *call) { (void)call; }

static void reshape(const cpu_call *call) {
    if (call->out[0].data == call->in[0].data) return; /* the planner made it an alias */
    memmove(call->out[0].data, call->in[0].data, (size_t)call->out[0].n * cpu_bytes_of(call->out[0].dtype));
}

/* --- transpose ---------------------------------------------------------------------------------------------------- */

static void copy_strided(char *to, const char *from, int64_t n, int64_t stride, size_t bytes) {
    if (stride == 1) {
        memcpy(to, from, (size_t)n * bytes);
    } else if (bytes == 4) {
        for (int64_t k = 0; k < n; k++) memcpy(to + 4 * k, from + 4 * k * stride, 4);
    } else if (bytes == 2) {
        for (int64_t k = 0; k < n; k++) memcpy(to + 2 * k, from + 2 * k * stride, 2);
    } else {
        for (int64_t k = 0; k < n; k++) memcpy(to + 8 * k, from + 8 * k * stride, 8);
    }
}

/* Row of the result: its last axis, at one place of all the others. */
static void transpose_row(const cpu_call *call, int64_t row) {
    const aira_shape *from = &call->in[0].shape, *to = &call->out[0].shape;
    const int64_t *order = call->step->i;
    size_t bytes = cpu_bytes_of(call->out[0].dtype);
    int64_t strides[AIRA_MAX_RANK], offset = 0, rest = row, stride = 1;
    for (int d = (int)from->rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= from->dims[d];
    }
    for (int d = (int)to->rank - 2; d >= 0; d--) {
        offset += rest % to->dims[d] * strides[order[d]];
        rest /= to->dims[d];
    }
    int64_t n = cpu_last(to), inner = to->rank ? strides[order[to->rank - 1]] : 1;
    copy_strided(call->out[0].data + (size_t)(row * n) * bytes, call->in[0].data + (size_t)offset * bytes, n, inner,
                 bytes);
}

static void transpose(const cpu_call *call) {
    int64_t n = cpu_last(&call->out[0].shape);
    if (n > 0) move_rows(call, call->out[0].n / n, n, transpose_row);
}

/* --- along one axis: [before, axis, after] ------------------------------------------------------------------------ */

static void slice_row(const cpu_call *call, int64_t row) {
    const aira_shape *from = &call->in[0].shape, *to = &call->out[0].shape;
    uint32_t axis = (uint32_t)call->step->i[0];
    size_t after = (size_t)cpu_extent(from, axis + 1, from->rank) * cpu_bytes_of(call->in[0].dtype);
    const char *source = call->in[0].data + (size_t)(row * from->dims[axis] + call->step->i[1]) * after;
    size_t n = (size_t)to->dims[axis] * after;
    char *target = call->out[0].data + (size_t)row * n;
    if (target != source) memmove(target, source, n);
}

static void slice(const cpu_call *call) {
    uint32_t axis = (uint32_t)call->step->i[0];
    int64_t before = cpu_extent(&call->out[0].shape, 0, axis);
    if (before > 0) move_rows(call, before, call->out[0].n / before, slice_row);
}

static void concat_row(const cpu_call *call, int64_t row) {
    const aira_shape *to = &call->out[0].shape;
    uint32_t axis = (uint32_t)call->step->i[0];
    size_t after = (size_t)cpu_extent(to, axis + 1, to->rank) * cpu_bytes_of(call->out[0].dtype);
    char *target = call->out[0].data + (size_t)(row * to->dims[axis]) * after;
    for (uint32_t k = 0; k < call->n_in; k++) {
        size_t n = (size_t)call->in[k].shape.dims[axis] * after;
        memcpy(target, call->in[k].data + (size_t)row * n, n);
        target += n;
    }
}

static void concat(const cpu_call *call) {
    uint32_t axis = (uint32_t)call->step->i[0];
    int64_t before = cpu_extent(&call->out[0].shape, 0, axis);
    if (before > 0) move_rows(call, before, call->out[0].n / before, concat_row);
}

static void fill_constant(char *to, uint32_t dtype, int64_t n, double value) {
    size_t bytes = cpu_bytes_of(dtype);
    if (n <= 0) return;
    cpu_convert(to, dtype, &value, AIRA_F64, 1);
    for (int64_t k = 1; k < n; k++) memcpy(to + (size_t)k * bytes, to, bytes);
}

static void pad_row(const cpu_call *call, int64_t row) {
    const aira_shape *from = &call->in[0].shape, *to = &call->out[0].shape;
    uint32_t axis = (uint32_t)call->step->i[0], dtype = call->out[0].dtype;
    int64_t after = cpu_extent(to, axis + 1, to->rank);
    size_t bytes = cpu_bytes_of(dtype);
    int64_t head = call->step->i[1] * after, body = from->dims[axis] * after, tail = call->step->i[2] * after;
    char *target = call->out[0].data + (size_t)(row * (head + body + tail)) * bytes;
    fill_constant(target, dtype, head, call->step->f[0]);
    memcpy(target + (size_t)head * bytes, call->in[0].data + (size_t)(row * body) * bytes, (size_t)body * bytes);
    fill_constant(target + (size_t)(head + body) * bytes, dtype, tail, call->step->f[0]);
}

static void pad(const cpu_call *call) {
    uint32_t axis = (uint32_t)call->step->i[0];
    int64_t before = cpu_extent(&call->out[0].shape, 0, axis);
    if (before > 0) move_rows(call, before, call->out[0].n / before, pad_row);
}

/* --- indices ------------------------------------------------------------------------------------------------------ */

static void gather_row(const cpu_call *call, int64_t row) {
    int64_t n_rows = call->in[0].shape.dims[0];
    size_t n = (size_t)cpu_extent(&call->in[0].shape, 1, call->in[0].shape.rank) * cpu_bytes_of(call->in[0].dtype);
    int32_t index = ((const int32_t *)call->in[1].data)[row];
    char *target = call->out[0].data + (size_t)row * n;
    if (index < 0 || index >= n_rows) {
        memset(target, 0, n);
    } else {
        memcpy(target, call->in[0].data + (size_t)index * n, n);
    }
}

static void gather(const cpu_call *call) {
    move_rows(call, call->in[1].n, cpu_extent(&call->in[0].shape, 1, call->in[0].shape.rank), gather_row);
}

static void gather_last_row(const cpu_call *call, int64_t row) {
    int64_t n = cpu_last(&call->in[0].shape), k_n = cpu_last(&call->in[1].shape);
    size_t bytes = cpu_bytes_of(call->in[0].dtype);
    const int32_t *index = (const int32_t *)call->in[1].data + row * k_n;
    const char *source = call->in[0].data + (size_t)(row * n) * bytes;
    char *target = call->out[0].data + (size_t)(row * k_n) * bytes;
    for (int64_t k = 0; k < k_n; k++, target += bytes) {
        if (index[k] < 0 || index[k] >= n) {
            memset(target, 0, bytes);
        } else {
            memcpy(target, source + (size_t)index[k] * bytes, bytes);
        }
    }
}

static void gather_last(const cpu_call *call) {
    int64_t k_n = cpu_last(&call->in[1].shape);
    if (k_n > 0) move_rows(call, call->in[1].n / k_n, k_n, gather_last_row);
}

/* --- leaves ------------------------------------------------------------------------------------------------------- */

static void constant(const cpu_call *call) {
    fill_constant(call->out[0].data, call->out[0].dtype, call->out[0].n, call->step->f[0]);
}

static void iota(const cpu_call *call) {
    const aira_shape *to = &call->out[0].shape;
    uint32_t axis = (uint32_t)call->step->i[0];
    int64_t before = cpu_extent(to, 0, axis), extent = to->rank ? to->dims[axis] : 1;
    int64_t after = to->rank ? cpu_extent(to, axis + 1, to->rank) : 1;
    size_t bytes = cpu_bytes_of(call->out[0].dtype);
    char *target = call->out[0].data;
    for (int64_t b = 0; b < before; b++) {
        for (int64_t k = 0; k < extent; k++, target += (size_t)after * bytes) {
            fill_constant(target, call->out[0].dtype, after, (double)k);
        }
    }
}

/* The stream is the op's key under the program's seed; seed 0 leaves the key as it is. */
static void random_row(const cpu_call *call, int64_t row) {
    uint64_t key = (uint64_t)call->step->i[1] ^ call->seed;
    uint64_t draw = call->n_in > 0 ? (uint64_t)(int64_t) * (const int32_t *)call->in[0].data : 0;
    size_t bytes = cpu_bytes_of(call->out[0].dtype);
    int64_t start = row * 1024, end = start + 1024 < call->out[0].n ? start + 1024 : call->out[0].n;
    for (int64_t k = start; k < end; k++) {
        float value = call->step->i[0] == 1 ? aira_element_normal(key, draw, (uint64_t)k)
                                            : aira_element_uniform(key, draw, (uint64_t)k);
        cpu_convert(call->out[0].data + (size_t)k * bytes, call->out[0].dtype, &value, AIRA_F32, 1);
    }
}

static void random_values(const cpu_call *call) { move_rows(call, (call->out[0].n + 1023) / 1024, 4096, random_row); }

cpu_kernel cpu_move_kernel(uint32_t op) {
    switch (op) {
    case AIRA_OP_PARAM:
    case AIRA_OP_INPUT:
        return nothing;
    case AIRA_OP_CONSTANT:
        return constant;
    case AIRA_OP_IOTA:
        return iota;
    case AIRA_OP_RANDOM:
        return random_values;
    case AIRA_OP_RESHAPE:
        return reshape;
    case AIRA_OP_TRANSPOSE:
        return transpose;
    case AIRA_OP_SLICE:
        return slice;
    case AIRA_OP_CONCAT:
        return concat;
    case AIRA_OP_PAD:
        return pad;
    case AIRA_OP_GATHER:
        return gather;
    case AIRA_OP_GATHER_LAST:
        return gather_last;
    default:
        return NULL;
    }
}
