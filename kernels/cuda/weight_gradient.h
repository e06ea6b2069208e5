/* weight_gradient.h - gradients of small weights, a list of them in one launch (weight_gradient.cu).
 *
 * dW[N,K] = dY[R,N]' X[R,K] and db[N] = sum over rows of dY: bf16 operands, fp32 sums, results in fp32 or bf16. Long
 * and thin: the rows are cut into slices, a block adds up one tile of one slice, and the slices are then added in
 * order. The cut follows from the product's shape alone, so its bits do not depend on who shares the launch.
 */
#ifndef AIRA_GPU_WEIGHT_GRADIENT_H
#define AIRA_GPU_WEIGHT_GRADIENT_H

#include "sums.h"

#define GPU_WEIGHT_TILE 128   /* rows and columns of dW that a block owns */
#define GPU_WEIGHT_DEEP 64    /* rows of the operands in one stage of shared memory */
#define GPU_WEIGHT_JOIN 1024  /* results that a block of the second stage adds up */
#define GPU_WEIGHT_LEAST 2048 /* rows below which cuBLASLt is left to it */

/* One product of a list; lies in device memory. Operands and dW begin at multiples of 16 bytes. */
typedef struct gpu_weight {
    const void *dy, *x; /* x: NULL with k == 0, where only the sum over rows is wanted */
    void *dw, *db;
    uint32_t dw_dtype, db_dtype;
    int64_t rows, slice;                     /* rows of all and of a slice */
    uint32_t n, k;                           /* multiples of 8 */
    uint32_t tiles_n, tiles_k, slices, sums; /* sums: 1 where db is wanted */
    uint64_t partial; /* floats of the workspace before its own: [slices][n,k], then [slices][n] */
} gpu_weight;

/* Sets slice, tiles and slices from rows, n and k. As many blocks as fill about a quarter of a large GPU (a half, where
   there are four tiles), since a layer has several products; but slices of 256 rows at least, whose sums are then a
   quarter of what they read. */
static inline void gpu_weight_cut(gpu_weight *w) {
    w->tiles_n = (w->n + GPU_WEIGHT_TILE - 1) / GPU_WEIGHT_TILE;
    w->tiles_k = w->k ? (w->k + GPU_WEIGHT_TILE - 1) / GPU_WEIGHT_TILE : 1;
    uint32_t tiles = w->tiles_n * w->tiles_k;
    int64_t wanted = tiles == 1 ? 32 : tiles == 2 ? 24 : tiles <= 4 ? 16 : 8;
    int64_t most = (w->rows + 4 * GPU_WEIGHT_DEEP - 1) / (4 * GPU_WEIGHT_DEEP);
    if (wanted > most) wanted = most;
    w->slice = (w->rows + wanted - 1) / wanted;
    w->slice = (w->slice + GPU_WEIGHT_DEEP - 1) / GPU_WEIGHT_DEEP * GPU_WEIGHT_DEEP;
    w->slices = (uint32_t)((w->rows + w->slice - 1) / w->slice);
}
static inline uint32_t gpu_weight_blocks(const gpu_weight *w) { return w->tiles_n * w->tiles_k * w->slices; }
static inline uint32_t gpu_weight_joins(const gpu_weight *w) {
    return (w->n * w->k + w->n + GPU_WEIGHT_JOIN - 1) / GPU_WEIGHT_JOIN;
}
/* Floats of workspace. */
static inline uint64_t gpu_weight_partials(const gpu_weight *w) { return (uint64_t)w->slices * (w->n * w->k + w->n); }

#ifdef __cplusplus
extern "C" {
#endif

/* list, blocks[n_blocks] (part = slice * tiles + tile) and joins[n_joins] in device memory; partial: the workspace. */
const char *gpu_weights_run(const gpu_weight *list, const gpu_block *blocks, uint32_t n_blocks, const gpu_block *joins,
                            uint32_t n_joins, float *partial, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
