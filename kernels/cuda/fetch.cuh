/* fetch.cuh - asynchronous copies from global to shared memory, 16 bytes at a time. */
#ifndef AIRA_GPU_FETCH_CUH
#define AIRA_GPU_FETCH_CUH

#include <stdint.h>

/* 16 bytes, or zeros where not `in` (from must then still be an address that could be read). */
__device__ __forceinline__ void fetch16(void *to, const void *from, bool in) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(in ? 16 : 0)
                 : "memory");
}
/* All that this thread fetched has arrived; others see it after a barrier. */
__device__ __forceinline__ void fetch_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#endif
