/* reference_norm.c - norms, softmax and cross-entropy over rows, forward and backward, plain. Sums are kept in double.
 */
#include <string.h>

#include "real.h"
#include "reference.h"

static int64_t rows_of(const aira_shape *shape, int64_t width) { return width > 0 ? cpu_elements(shape) / width : 0; }

/* x[.., C], w[C]: y = x / sqrt(mean x^2 + eps) * w */
void NAME(ref_rms_norm)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1];
    real *y = call->out[0];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        double squares = 0;
        for (int64_t c = 0; c < width; c++) squares += (double)x[c] * (double)x[c];
        real scale = (real)(1 / sqrt(squares / (double)width + call->f[0]));
        for (int64_t c = 0; c < width; c++) y[c] = x[c] * scale * w[c];
    }
}

/* With s = 1 / sqrt(..): dx = s (w g) - x s^3 mean(w g x); dw = sum over rows of g x s. */
void NAME(ref_rms_norm_backward)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1], *g = call->in[2];
    real *dx = call->out[0], *dw = call->out[1];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    double *sums = cpu_alloc(call->worker, (size_t)width * sizeof *sums);
    if (!sums) return;
    memset(sums, 0, (size_t)width * sizeof *sums);
    for (int64_t r = 0; r < rows; r++, x += width, g += width, dx += width) {
        double squares = 0, dot = 0;
        for (int64_t c = 0; c < width; c++) {
            squares += (double)x[c] * (double)x[c];
            dot += (double)w[c] * (double)g[c] * (double)x[c];
        }
        double s = 1 / sqrt(squares / (double)width + call->f[0]), pull = s * s * s * dot / (double)width;
        for (int64_t c = 0; c < width; c++) {
            sums[c] += (double)g[c] * (double)x[c] * s;
            dx[c] = (real)(s * (double)w[c] * (double)g[c] - pull * (double)x[c]);
        }
    }
    for (int64_t c = 0; c < width; c++) dw[c] = (real)sums[c];
}

static void mean_and_scale(const real *x, int64_t width, double eps, double *mean, double *scale) {
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < width; c++) sum += (double)x[c];
    *mean = sum / (double)width;
    for (int64_t c = 0; c < width; c++) squares += ((double)x[c] - *mean) * ((double)x[c] - *mean);
    *scale = 1 / sqrt(squares / (double)width + eps);
}

/* x[.., C], w[C], b[C] */
void NAME(ref_layer_norm)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1], *b = call->in[2];
    real *y = call->out[0];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        double mean, scale;
        mean_and_scale(x, width, call->f[0], &mean, &scale);
        for (int64_t c = 0; c < width; c++) y[c] = (real)(((double)x[c] - mean) * scale * (double)w[c] + (double)b[c]);
    }
}

/* With n = (x - mean) s and h = w g: dx = s (h - mean h - n mean(h n)); dw = sum g n; db = sum g. */
void NAME(ref_layer_norm_backward)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1], *g = call->in[3];
    real *dx = call->out[0], *dw = call->out[1], *db = call->out[2];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    double *sums = cpu_alloc(call->worker, 2 * (size_t)width * sizeof *sums);
    if (!sums) return;
    memset(sums, 0, 2 * (size_t)width * sizeof *sums);
    for (int64_t r = 0; r < rows; r++, x += width, g += width, dx += width) {
        double mean, s, sum = 0, dot = 0;
        mean_and_scale(x, width, call->f[0], &mean, &s);
        for (int64_t c = 0; c < width; c++) {
            double h = (double)w[c] * (double)g[c];
            sum += h;
            dot += h * ((double)x[c] - mean) * s;
        }
        sum /= (double)width;
        dot /= (double)width;
        for (int64_t c = 0; c < width; c++) {
            double n = ((double)x[c] - mean) * s;
            sums[c] += (double)g[c] * n;
            sums[width + c] += (double)g[c];
            dx[c] = (real)(s * ((double)w[c] * (double)g[c] - sum - n * dot));
        }
    }
    for (int64_t c = 0; c < width; c++) {
        dw[c] = (real)sums[c];
        db[c] = (real)sums[width + c];
    }
}

/* Largest element and sum of exp(x - largest). */
static void peak_and_sum(const real *x, int64_t width, real *peak, double *sum) {
    *peak = -(real)INFINITY;
    for (int64_t c = 0; c < width; c++) {
        if (x[c] > *peak || isnan(x[c])) *peak = x[c];
    }
    *sum = 0;
    for (int64_t c = 0; c < width; c++) *sum += (double)R(exp)(x[c] - *peak);
}

void NAME(ref_softmax)(const ref_call *call) {
    const real *x = call->in[0];
    real *y = call->out[0];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        real peak;
        double sum;
        peak_and_sum(x, width, &peak, &sum);
        for (int64_t c = 0; c < width; c++) y[c] = (real)((double)R(exp)(x[c] - peak) / sum);
    }
}

/* (y, g): dx = y (g - sum(g y)) */
void NAME(ref_softmax_backward)(const ref_call *call) {
    const real *y = call->in[0], *g = call->in[1];
    real *dx = call->out[0];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    for (int64_t r = 0; r < rows; r++, y += width, g += width, dx += width) {
        double dot = 0;
        for (int64_t c = 0; c < width; c++) dot += (double)y[c] * (double)g[c];
        for (int64_t c = 0; c < width; c++) dx[c] = (real)((double)y[c] * ((double)g[c] - dot));
    }
}

/* (logits[.., V], targets[..]): log sum exp - logit of the target; 0 where the target is none of 0..V-1 */
void NAME(ref_cross_entropy)(const ref_call *call) {
    const real *x = call->in[0];
    real *loss = call->out[0];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    for (int64_t r = 0; r < rows; r++, x += width) {
        int32_t target = call->index[1][r];
        real peak;
        double sum;
        loss[r] = 0;
        if (target < 0 || target >= width) continue;
        peak_and_sum(x, width, &peak, &sum);
        loss[r] = (real)((double)peak - (double)x[target] + log(sum));
    }
}

/* (logits, targets, g[..]): g (softmax - one at the target) */
void NAME(ref_cross_entropy_backward)(const ref_call *call) {
    const real *x = call->in[0], *g = call->in[2];
    real *dx = call->out[0];
    int64_t width = cpu_last(call->in_shape[0]), rows = rows_of(call->in_shape[0], width);
    for (int64_t r = 0; r < rows; r++, x += width, dx += width) {
        int32_t target = call->index[1][r];
        real peak;
        double sum;
        memset(dx, 0, (size_t)width * sizeof *dx);
        if (target < 0 || target >= width) continue;
        peak_and_sum(x, width, &peak, &sum);
        for (int64_t c = 0; c < width; c++) {
            double p = (double)R(exp)(x[c] - peak) / sum;
            dx[c] = (real)((double)g[r] * (p - (c == target)));
        }
    }
}
