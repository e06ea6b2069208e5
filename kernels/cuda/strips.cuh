/* strips.cuh - what convolutions with four taps share forward and backward: strips of times, side by side in a launch.
 */
#ifndef AIRA_GPU_STRIPS_CUH
#define AIRA_GPU_STRIPS_CUH

#include "approx.cuh"
#include "element.cuh"
#include "vector.cuh"

#define SHORT 8 /* times of a thread */
#define SIDES 4 /* most convolutions of a launch */
#define THREADS 256
#define PARTS 5    /* sums per channel: of four taps and the bias */
#define STRIP 32   /* backward: most times of a thread */
#define TALL 4     /* most strips of a block */
#define PAIRS 32   /* channel pairs of a block: a warp's */
#define TURNS 2    /* most sequences of a thread, if there are still this many blocks: */
#define BLOCKS 256 /* about two for every multiprocessor, and the rest for others */

struct strips {
    int batch, t_n, groups, n;                    /* groups: of the channels of a thread; n: strips of a sequence */
    int length, tall, deep, turns, tiles_n, span; /* backward, see strip_backward_kernel */
    bool quads;                                   /* backward: 16 bytes lie on multiples of 16 */
    elements w, bias;
};

/* Convolutions side by side: blockIdx.x from first[k] on is member k's. All but groups, w and bias of their strips
   agree. */
template <class MEMBER> struct side_list {
    MEMBER member[SIDES];
    strips s[SIDES];
    uint32_t first[SIDES + 1];
    int n;
};

template <class MEMBER> __device__ __forceinline__ int side_of(const side_list<MEMBER> &list) {
    int k = 0;
    while (k + 1 < list.n && blockIdx.x >= list.first[k + 1]) k++;
    return k;
}

/* Four neighbours, fp32 or bf16. */
__device__ __forceinline__ float4_of load_any(elements e, int64_t at) {
    return e.dtype == AIRA_BF16 ? load4((const __nv_bfloat16 *)e.data + at) : load4((const float *)e.data + at);
}

#endif
