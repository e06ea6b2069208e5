/* weight_gradient.h - gradients of small weights, a list of them in one launch (weight_gradient.cu).
 *
 * dW[N,K] = dY[R,N]' X[R,K] and db[N] = sum over rows of dY: bf16 operands, fp32 sums, results in fp32 or bf16. Long
 * and thin: the rows are cut into slices, a block adds up one tile of one slice, and the slices are then added in a
 * fixed order. The cut follows from the product's shape alone, so its bits do not depend on who shares the launch.
 */
#ifndef AIRA_GPU_WEIGHT_GRADIENT_H
#define AIRA_GPU_WEIGHT_GRADIENT_H

#include "sums.h"

#define GPU_WEIGHT_TILE 128  /* rows and columns of dW that a block owns */
#define GPU_WEIGHT_CLUSTER 8 /* slices that are added within a cluster of blocks: 2, 4 or 8 */
/* How rows are cut. A block costs the time of some 500 rows before the first and after the last of them, and as much
   again for its sums where a tile has more slices than a cluster. Other work fills what a list leaves idle, so few
   blocks of many rows are best for a busy GPU; alone, a list waits for its longest block. Slices are therefore
   GPU_WEIGHT_FEW, and twice as many while a block has more than GPU_WEIGHT_ROWS rows (half of that where a tile is
   narrow and a row cheap). Once the product has GPU_WEIGHT_BLOCKS blocks, more do not stream faster, since a layer's
   list has several products, and a block may have twice the rows. */
#define GPU_WEIGHT_FEW 8     /* slices at least, */
#define GPU_WEIGHT_SLICES 32 /* and at most */
#define GPU_WEIGHT_ROWS 2048
#define GPU_WEIGHT_BLOCKS 32
/* Sums that a block of a cluster adds up: its part of a tile of dW and of as many sums over rows. */
#define GPU_WEIGHT_SHARE (GPU_WEIGHT_TILE * (GPU_WEIGHT_TILE + 1) / GPU_WEIGHT_CLUSTER)
#define GPU_WEIGHT_JOIN 1024  /* results that a block of the second kernel adds up, where there is one */
#define GPU_WEIGHT_LEAST 2048 /* rows below which cuBLASLt is left to it */

/* One product of a list; lies in device memory. Operands and results begin at multiples of 16 bytes. */
typedef struct gpu_weight {
    const void *dy, *x; /* x: NULL with k == 0, where only the sum over rows is wanted */
    void *dw, *db;
    uint32_t dw_dtype, db_dtype;
    int64_t rows, slice; /* rows of all and of a slice; the last slices may have fewer, or none */
    uint32_t n, k;       /* multiples of 4 */
    uint32_t tiles_n, tiles_k;
    uint32_t slices;          /* a multiple of the cluster */
    uint32_t sums;            /* 1: db is wanted */
    uint32_t count, reserved; /* its first counter */
    uint64_t partial;         /* floats of the workspace before its own, as gpu_weight_partials says */
} gpu_weight;

/* What a block needs to know of its tile and slice, in one place; lies in device memory. */
typedef struct gpu_weight_part {
    const void *dy, *x;     /* the slice's first row, the tile's first column */
    void *dw, *db;          /* of the product; db: NULL where sums over rows are not this tile's */
    uint64_t partial, step; /* floats of the workspace before its share and, in clusters, from one group to the next */
    uint32_t n, k, n0, k0;  /* of the product; where the tile begins */
    uint32_t height, width; /* rows and columns of the tile that exist */
    uint32_t rows;          /* of the slice, perhaps none */
    uint32_t dw_dtype, db_dtype;
    uint32_t group, groups, rank; /* of clusters; of the block in its cluster */
    uint32_t count, reserved;     /* its counter */
} gpu_weight_part;

/* What a launch needs, all in device memory: counts are 0 before the first launch and after each. */
typedef struct gpu_weights {
    const gpu_weight *list;
    const gpu_weight_part *parts;
    const gpu_block *joins;
    uint32_t *counts;
    float *partial;
    uint32_t n_blocks, n_joins;
} gpu_weights;

/* Sets slice, tiles and slices from rows, n and k. */
static inline void gpu_weight_cut(gpu_weight *w) {
    w->tiles_n = (w->n + GPU_WEIGHT_TILE - 1) / GPU_WEIGHT_TILE;
    w->tiles_k = w->k ? (w->k + GPU_WEIGHT_TILE - 1) / GPU_WEIGHT_TILE : 1;
    uint32_t tiles = w->tiles_n * w->tiles_k, narrow = w->n <= GPU_WEIGHT_TILE / 2 || w->k <= GPU_WEIGHT_TILE / 2;
    int64_t most = narrow ? GPU_WEIGHT_ROWS / 2 : GPU_WEIGHT_ROWS;
    w->slices = GPU_WEIGHT_FEW;
    while (w->slices < GPU_WEIGHT_SLICES &&
           w->rows > w->slices * (2 * w->slices * tiles > GPU_WEIGHT_BLOCKS ? 2 * most : most))
        w->slices *= 2;
    w->slice = ((w->rows + w->slices - 1) / w->slices + 15) / 16 * 16;
}
/* What a block reads: bytes. */
static inline int64_t gpu_weight_reads(const gpu_weight *w) {
    uint32_t n = w->n < GPU_WEIGHT_TILE ? w->n : GPU_WEIGHT_TILE, k = w->k < GPU_WEIGHT_TILE ? w->k : GPU_WEIGHT_TILE;
    return w->slice * (n + k) * 2;
}
static inline uint32_t gpu_weight_counts(const gpu_weight *w) { return w->tiles_n * w->tiles_k * GPU_WEIGHT_CLUSTER; }
static inline uint32_t gpu_weight_blocks(const gpu_weight *w) { return w->tiles_n * w->tiles_k * w->slices; }
static inline uint32_t gpu_weight_joins(const gpu_weight *w) {
    return (w->n * w->k + w->n + GPU_WEIGHT_JOIN - 1) / GPU_WEIGHT_JOIN;
}
/* Floats of workspace: [groups][tiles][cluster][share] in clusters, else [slices][n k + n]. */
static inline uint64_t gpu_weight_partials(const gpu_weight *w, int clusters) {
    if (clusters) return (uint64_t)w->slices * w->tiles_n * w->tiles_k * GPU_WEIGHT_SHARE;
    return (uint64_t)w->slices * (w->n * w->k + w->n);
}

#ifdef __cplusplus
extern "C" {
#endif

/* 1: the current GPU adds slices in clusters. */
int gpu_weights_in_clusters(void);
const char *gpu_weights_run(const gpu_weights *run, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
