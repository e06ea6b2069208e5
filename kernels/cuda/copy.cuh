/* copy.cuh - copies from global to shared memory that run beside the arithmetic (cp.async, sm_80 on). */
#ifndef AIRA_GPU_COPY_CUH
#define AIRA_GPU_COPY_CUH

#include <stdint.h>

/* 4, 8 or 16 bytes, both addresses multiples of that; zeros, and nothing is read, where it is not `there`. */
__device__ __forceinline__ void copy_4(void *to, const void *from, bool there) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(there ? 4 : 0) : "memory");
}
__device__ __forceinline__ void copy_8(void *to, const void *from, bool there) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(at), "l"(from), "r"(there ? 8 : 0) : "memory");
}
__device__ __forceinline__ void copy_16(void *to, const void *from, bool there) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(there ? 16 : 0) : "memory");
}

/* Ends a group of copies. */
__device__ __forceinline__ void copy_close() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most NEWEST of this thread's groups are under way. Others' copies are there after a barrier. */
template <int NEWEST> __device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(NEWEST) : "memory");
}

/* Waits for all of this thread's copies, closed or not. */
__device__ __forceinline__ void copy_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#endif
