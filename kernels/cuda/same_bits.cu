/* same_bits.cu - pseudo-random operands, and how many words of two results differ. See tune.h. */
#include <stdint.h>

#include "tune.h"

#define BLOCKS 1056 /* enough for any card; memory is walked in strides of the grid */

__device__ __forceinline__ uint32_t mix(uint64_t x) {
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(x >> 32);
}

/* Any sign and mantissa; magnitudes from 1/8 to 32, all octaves alike, so that sums round at nearly every step. */
template <int HALVES> __device__ __forceinline__ uint32_t number(uint32_t random) {
    if (HALVES) return (random & 0x83ff83ffu) + 0x3e003e00u;
    return (random & 0x83ffffffu) + 0x3e000000u;
}

template <int HALVES> __global__ void __launch_bounds__(256) fill(uint4 *to, int64_t n, uint64_t seed) {
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < n; i += (int64_t)gridDim.x * 256) {
        uint64_t at = seed << 40 ^ (uint64_t)i * 4;
        to[i] = make_uint4(number<HALVES>(mix(at)), number<HALVES>(mix(at + 1)), number<HALVES>(mix(at + 2)),
                           number<HALVES>(mix(at + 3)));
    }
}

/* Counts are whole numbers: their order does not matter. */
__global__ void __launch_bounds__(256)
    count_differing(const uint4 *a, const uint4 *b, int64_t n, unsigned long long *differing) {
    int mine = 0;
    for (int64_t i = (int64_t)blockIdx.x * 256 + threadIdx.x; i < n; i += (int64_t)gridDim.x * 256) {
        uint4 x = a[i], y = b[i];
        mine += (x.x != y.x) + (x.y != y.y) + (x.z != y.z) + (x.w != y.w);
    }
    mine = __reduce_add_sync(0xffffffffu, mine);
    if ((threadIdx.x & 31) == 0 && mine) atomicAdd(differing, (unsigned long long)mine);
}

extern "C" const char *gpu_fill_random(void *to, size_t bytes, uint32_t dtype, uint32_t seed, cudaStream_t stream) {
    if (dtype == AIRA_BF16)
        fill<1><<<BLOCKS, 256, 0, stream>>>((uint4 *)to, (int64_t)(bytes / 16), seed);
    else
        fill<0><<<BLOCKS, 256, 0, stream>>>((uint4 *)to, (int64_t)(bytes / 16), seed);
    return gpu_launched();
}

extern "C" const char *gpu_count_differing(const void *a, const void *b, size_t bytes, unsigned long long *differing,
                                           cudaStream_t stream) {
    count_differing<<<BLOCKS, 256, 0, stream>>>((const uint4 *)a, (const uint4 *)b, (int64_t)(bytes / 16), differing);
    return gpu_launched();
}
