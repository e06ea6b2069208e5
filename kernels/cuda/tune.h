/* tune.h - which of the algorithms that cuBLASLt offers for a large product is the fastest on this card, among those
 * that give the bits of its first answer.
 *
 * The choice depends on timing, so no result may depend on the choice: a candidate is admitted only if all words of its
 * result on pseudo-random operands are those of the first one's. Orders of sums that differ show: hundreds of thousands
 * of outputs, each of a thousand and more products whose exponents spread over 16 octaves.
 */
#ifndef AIRA_GPU_TUNE_H
#define AIRA_GPU_TUNE_H

#include <cublasLt.h>

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GPU_OFFERS 16     /* that cuBLASLt is asked for, behind the answer in use */
#define GPU_VARIED 4      /* of these, the first, with other clusters and another order of blocks */
#define GPU_CANDIDATES 56 /* all of them; further variants are left out */

typedef struct gpu_contest {
    /* The product as cuBLASLt is asked for it, fp32 scales; pointers of its epilogue (bias, GELU's second result) are
       set to scratch memory and are the caller's to set again. */
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t how;
    cublasLtMatrixLayout_t a, b, c;
    size_t bytes_a, bytes_b, bytes_c; /* of all matrices of a batch */
    size_t bytes_bias;                /* 0: none */
    size_t workspace;                 /* bytes that the algorithms may use */
    uint32_t dtype, out_dtype;        /* F32 or BF16 */
    int adds, gelu;                   /* + a tensor like the result; a second result */
    uint32_t seed;                    /* of the operands */
    int all;                          /* times also those that are not admitted, or look slow */
    int any_bits; /* bf16 results: admits also what gives other bits in up to half of all words: other orders of sums */
    int lasting_ms; /* > 0: each runs as long without a break, twice, so that the card's clock and power settle */
    cublasLtMatmulAlgo_t candidates[GPU_CANDIDATES]; /* [0]: the first answer */
    int n;
    /* outcome */
    int64_t differing[GPU_CANDIDATES]; /* words that are not the first one's; -1: it did not run */
    double us[GPU_CANDIDATES]; /* median of five runs, or of a run that lasts; of the second run where it was not timed;
                                  or -1 */
    int timed[GPU_CANDIDATES];
    int chosen;
} gpu_contest;

/* Adds variants of the first GPU_VARIED candidates that cuBLASLt says it takes: clusters of other shapes, blocks in
   another order (which tiles are in the second-level cache together). */
void gpu_contest_vary(gpu_contest *contest);
/* Holds the contest on a stream of its own and waits for it; may be called while another stream of the thread is being
   captured. Memory comes from the device's pool and is given back. NULL, or a sentence on why it could not be held: no
   memory, or an error of the device; then chosen is 0. */
const char *gpu_contest_hold(gpu_contest *contest);

/* same_bits.cu. Device memory, multiples of 16 bytes. */
const char *gpu_fill_random(void *to, size_t bytes, uint32_t dtype, uint32_t seed, cudaStream_t stream);
/* *differing (device memory) += 32-bit words that differ. */
const char *gpu_count_differing(const void *a, const void *b, size_t bytes, unsigned long long *differing,
                                cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
