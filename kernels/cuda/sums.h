/* sums.h - sums of whole tensors to one number each, many in one launch; and the second stage of sums over rows. */
#ifndef AIRA_GPU_SUMS_H
#define AIRA_GPU_SUMS_H

#include "gpu.h"

#define GPU_SUM_CHUNK 8192 /* elements that one block adds */

/* One tensor of a batch; lies in device memory. */
typedef struct gpu_sum {
    char *from, *to;
    int64_t n;
    uint32_t dtype, to_dtype;
    uint32_t first, squares; /* its first block; of the elements' squares? */
} gpu_sum;

/* What a block of a batched launch works at; lies in device memory. */
typedef struct gpu_block {
    uint32_t member, part;
} gpu_block;

#ifdef __cplusplus
extern "C" {
#endif

/* sums[n], blocks[n_blocks] in device memory; partial: n_blocks floats. */
const char *gpu_sums_run(const gpu_sum *sums, uint32_t n, const gpu_block *blocks, uint32_t n_blocks, float *partial,
                         cudaStream_t stream);
/* to[width] = sum over k of partial[k][width], in an order that `chunks` decides. */
const char *gpu_join_partials(const gpu_view *to, const float *partial, int64_t chunks, int64_t width,
                              cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
