/* head_rows.h - rows of bf16 logits that are read once: each becomes its loss and, in place, its gradient.
 *
 *     nll[r]       = log(sum of exp(logits[r])) - logits[r][target]
 *     logits[r][v] = g[r] (exp(logits[r][v] - nll[r] - logits[r][target]) - (v == target))
 *
 * A row whose target lies outside of 0..width-1 has loss 0 and gradients 0. Sums are fp32, in an order that follows
 * from the width alone.
 */
#ifndef AIRA_GPU_HEAD_ROWS_H
#define AIRA_GPU_HEAD_ROWS_H

#include "element.cuh"

struct head_rows {
    __nv_bfloat16 *logits;  /* [rows, width] from row `first` on, at a multiple of 16 bytes; written where g is given */
    const int32_t *targets; /* of all rows, as g and nll are */
    elements g, nll;        /* g.data NULL: losses alone */
    int64_t first, rows, width;
};

/* Does a row of this width fit on the multiprocessors of this card? */
bool gpu_holds_head_row(int64_t width);
/* NULL, or a sentence; for widths that fit. */
const char *gpu_run_held_rows(const head_rows *rows, cudaStream_t stream);

#endif
