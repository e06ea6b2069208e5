/* reference_reduce.c - sums, maxima, running sums, scatters and orders, plain. */
#include <string.h>

#include "real.h"
#include "reference.h"

/* Where element `index` of the operand goes once the masked axes are gone. */
static int64_t kept_index(const aira_shape *shape, int64_t index, int64_t mask) {
    int64_t kept = 0, stride = 1;
    for (int d = (int)shape->rank - 1; d >= 0; d--) {
        if (!(mask >> d & 1)) {
            kept += index % shape->dims[d] * stride;
            stride *= shape->dims[d];
        }
        index /= shape->dims[d];
    }
    return kept;
}

void NAME(ref_sum)(const ref_call *call) {
    const real *x = call->in[0];
    real *out = call->out[0];
    int64_t n = cpu_elements(call->in_shape[0]), kept = cpu_elements(call->out_shape[0]);
    double *sums = cpu_alloc(call->worker, (size_t)kept * sizeof *sums);
    if (!sums) return;
    memset(sums, 0, (size_t)kept * sizeof *sums);
    for (int64_t k = 0; k < n; k++) sums[kept_index(call->in_shape[0], k, call->i[0])] += (double)x[k];
    for (int64_t k = 0; k < kept; k++) out[k] = (real)sums[k];
}

void NAME(ref_max)(const ref_call *call) {
    const real *x = call->in[0];
    real *out = call->out[0];
    int64_t n = cpu_elements(call->in_shape[0]), kept = cpu_elements(call->out_shape[0]);
    for (int64_t k = 0; k < kept; k++) out[k] = -(real)INFINITY;
    for (int64_t k = 0; k < n; k++) {
        real *best = &out[kept_index(call->in_shape[0], k, call->i[0])];
        if (x[k] > *best || isnan(x[k])) *best = x[k]; /* a NaN stays: nothing is greater than it */
    }
}

void NAME(ref_cumsum)(const ref_call *call) {
    const real *x = call->in[0];
    real *out = call->out[0];
    const aira_shape *shape = call->in_shape[0];
    uint32_t axis = (uint32_t)call->i[0];
    bool reverse = call->i[1] != 0, exclusive = call->i[2] != 0;
    int64_t before = cpu_extent(shape, 0, axis), extent = shape->dims[axis];
    int64_t after = cpu_extent(shape, axis + 1, shape->rank);
    for (int64_t b = 0; b < before; b++) {
        for (int64_t a = 0; a < after; a++) {
            double sum = 0;
            for (int64_t t = 0; t < extent; t++) {
                int64_t k = (b * extent + (reverse ? extent - 1 - t : t)) * after + a;
                double old = sum;
                sum += (double)x[k];
                out[k] = (real)(exclusive ? old : sum);
            }
        }
    }
}

void NAME(ref_scatter_add)(const ref_call *call) {
    const int32_t *index = call->index[0];
    const real *rows = call->in[1];
    real *out = call->out[0];
    int64_t n = cpu_elements(call->in_shape[0]), n_rows = call->out_shape[0]->dims[0];
    int64_t width = cpu_extent(call->out_shape[0], 1, call->out_shape[0]->rank);
    memset(out, 0, (size_t)(n_rows * width) * sizeof *out);
    for (int64_t k = 0; k < n; k++) {
        if (index[k] < 0 || index[k] >= n_rows) continue;
        for (int64_t c = 0; c < width; c++) out[index[k] * width + c] += rows[k * width + c];
    }
}

void NAME(ref_scatter_last)(const ref_call *call) {
    const int32_t *index = call->index[0];
    const real *values = call->in[1];
    real *out = call->out[0];
    int64_t n = cpu_last(call->in_shape[0]), extent = cpu_last(call->out_shape[0]);
    int64_t rows = n > 0 ? cpu_elements(call->in_shape[0]) / n : 0;
    memset(out, 0, (size_t)cpu_elements(call->out_shape[0]) * sizeof *out);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t k = 0; k < n; k++) {
            int32_t at = index[r * n + k];
            if (at >= 0 && at < extent) out[r * extent + at] += values[r * n + k];
        }
    }
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

/* NaN counts as larger than every number. */
static bool precedes(real a, real b, bool descending) {
    if (descending) return (isnan(a) && !isnan(b)) || a > b;
    return (isnan(b) && !isnan(a)) || a < b;
}

/* Stable merge sort of order[0..n-1] by x; spare holds n entries. */
static void sort(const real *x, int64_t *order, int64_t *spare, int64_t n, bool descending) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t start = 0; start < n; start += 2 * width) {
            int64_t middle = start + width < n ? start + width : n, end = start + 2 * width < n ? start + 2 * width : n;
            int64_t left = start, right = middle;
            for (int64_t k = start; k < end; k++) {
                bool take_right = left == middle ||
                                  (right < end && precedes(x[order[right]], x[order[left]], descending));
                spare[k] = order[take_right ? right++ : left++];
            }
        }
        memcpy(order, spare, (size_t)n * sizeof *order);
    }
}

static void order_rows(const ref_call *call, int64_t keep, bool descending, real *values, real *indices) {
    const real *x = call->in[0];
    int64_t n = cpu_last(call->in_shape[0]), rows = n > 0 ? cpu_elements(call->in_shape[0]) / n : 0;
    int64_t *order = cpu_alloc(call->worker, 2 * (size_t)n * sizeof *order);
    if (!order) return;
    for (int64_t r = 0; r < rows; r++, x += n) {
        for (int64_t k = 0; k < n; k++) order[k] = k;
        sort(x, order, order + n, n, descending);
        for (int64_t k = 0; k < keep; k++) {
            if (values) values[r * keep + k] = x[order[k]];
            indices[r * keep + k] = (real)order[k];
        }
    }
}

void NAME(ref_top_k)(const ref_call *call) { order_rows(call, call->i[0], true, call->out[0], call->out[1]); }

void NAME(ref_argsort)(const ref_call *call) {
    order_rows(call, cpu_last(call->in_shape[0]), call->i[0] != 0, NULL, call->out[0]);
}
