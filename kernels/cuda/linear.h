/* linear.h - what one launch of linear.cu does to rows: products summed into rows, a norm, products fanned out of rows.
 *
 *     rows r[R,D] = sum over j < sums of a_j[R,K_j] w_j [+ bias] ; with `slope` it is what follows instead of the sum:
 *                   s (h - n mean(h n)), h = sum * w, the gradient of an RMS norm of x[R,D] [+ residual]
 *     n[R,D]      = RMS norm of r, if `norm`
 *     y_j[R,N_j]  = (n or r) w_j [+ bias_j] [turned: heads of columns by rotary positions row % times] for j < fans
 *
 * Without sums, r is an operand. Sums over rows on the way: of every a_j that bit j of `columns` names, of r (bit
 * GPU_LINEAR_MOST), and of the norm's weights if `slope`. They take two stages: a step that is `split` leaves a matrix
 * of sums over GPU_LINEAR_ROWS rows, [blocks][columns], and a later step (GPU_JOIN) adds up the blocks, for many such
 * steps in one launch.
 *
 * Operands and results of the merged step lie in the order of gpu_linear_slots.
 */
#ifndef AIRA_GPU_LINEAR_H
#define AIRA_GPU_LINEAR_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#define GPU_LINEAR_MOST 5u
#define GPU_LINEAR_ROWS 64 /* rows whose sums are left together */

typedef struct gpu_linear {
    uint8_t sums, fans; /* products in and out */
    uint8_t transposed; /* weights lie [N][K] */
    uint8_t bias;       /* 1: of the sum */
    uint8_t slope;      /* 1: gradient of a norm */
    uint8_t residual;   /* 1: added to r */
    uint8_t norm;       /* 1: of r */
    uint8_t keeps;      /* 1: n is a result */
    uint8_t biases;     /* bit j: fanned product j has one */
    uint8_t columns;
    uint8_t split;
    uint8_t turns; /* bit j: y_j is turned, as the step's `also`, a ROPE of halves, tells */
    uint32_t head; /* columns of a head */
    int64_t times;
    double slope_eps, norm_eps;
} gpu_linear;

/* Which operand and which result is what; meaningless where the description has none. */
typedef struct gpu_linear_slots {
    uint32_t a[GPU_LINEAR_MOST], w[GPU_LINEAR_MOST], bias, x, slope_w, residual, r; /* operands; r: without sums */
    uint32_t norm_w, fan_w[GPU_LINEAR_MOST], fan_bias[GPU_LINEAR_MOST], n_in;
    /* results; partial: of a split step in place of dw and columns */
    uint32_t to_r, dw, columns[GPU_LINEAR_MOST + 1], partial, n, y[GPU_LINEAR_MOST], n_out;
} gpu_linear_slots;

static inline gpu_linear_slots gpu_linear_slots_of(const gpu_linear *l) {
    gpu_linear_slots s = {{0}, {0}, 0, 0, 0, 0, 0, 0, {0}, {0}, 0, 0, 0, {0}, 0, 0, {0}, 0};
    uint32_t in = 0, out = 0;
    for (uint32_t j = 0; j < l->sums; j++) s.a[j] = in++, s.w[j] = in++;
    if (!l->sums) s.r = in++;
    if (l->bias) s.bias = in++;
    if (l->slope) s.x = in++, s.slope_w = in++;
    if (l->residual) s.residual = in++;
    if (l->norm) s.norm_w = in++;
    for (uint32_t j = 0; j < l->fans; j++) {
        s.fan_w[j] = in++;
        if (l->biases >> j & 1) s.fan_bias[j] = in++;
    }
    if (l->sums) s.to_r = out++;
    if (l->split) s.partial = out++;
    if (l->slope && !l->split) s.dw = out++;
    for (uint32_t j = 0; j <= GPU_LINEAR_MOST; j++)
        if ((l->columns >> j & 1) && !l->split) s.columns[j] = out++;
    if (l->keeps) s.n = out++;
    for (uint32_t j = 0; j < l->fans; j++) s.y[j] = out++;
    s.n_in = in;
    s.n_out = out;
    return s;
}

/* The second stage of one step; lies in device memory. */
#define GPU_JOIN_MOST (2u + GPU_LINEAR_MOST)
#define GPU_JOIN_COLUMNS 32 /* of a block */

typedef struct gpu_join_result {
    char *to;
    uint32_t dtype, begin, end; /* columns */
} gpu_join_result;

typedef struct gpu_join {
    const float *partial;
    int64_t blocks;
    uint32_t width, n;
    gpu_join_result results[GPU_JOIN_MOST];
} gpu_join;

struct gpu_block; /* sums.h */

#ifdef __cplusplus
extern "C"
#endif
    /* joins[], blocks[n_blocks] in device memory: which member, which of its GPU_JOIN_COLUMNS. (linear.cu) */
    const char *
    gpu_joins_run(const gpu_join *joins, const struct gpu_block *blocks, uint32_t n_blocks, cudaStream_t stream);

#endif
