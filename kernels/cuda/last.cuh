/* last.cuh - which of several blocks ends last? */
#ifndef AIRA_GPU_LAST_CUH
#define AIRA_GPU_LAST_CUH

#include <stdint.h>

/* Whether all other of n blocks have come here; one thread of each asks, after a barrier of those that wrote. What the
   blocks wrote before, the last one's threads may read with __ldcg after another barrier. The order that __threadfence
   demands costs more. */
__device__ __forceinline__ bool is_last(uint32_t *counter, uint32_t n) {
    uint32_t before;
    asm volatile("atom.add.release.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
    if (before == n - 1) asm volatile("fence.acq_rel.gpu;" ::: "memory");
    return before == n - 1;
}

#endif
