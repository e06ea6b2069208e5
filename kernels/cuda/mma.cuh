/* mma.cuh - tensor-core products of bf16 tiles by one warp, and copies into shared memory that run beside them.
 *
 * A fragment is a warp's 32 shares of a small matrix, as the PTX manual lays them out for mma.m16n8k16 (sm_80 on): a
 * thread with q = lane / 4 and r = lane % 4 holds of the 16 x 8 result c: c[0], c[1]: row q, columns 2r, 2r+1; c[2],
 * c[3]: row q+8. Two results side by side, rounded to bf16, are the 16 x 16 left operand of a further product.
 */
#ifndef AIRA_GPU_MMA_CUH
#define AIRA_GPU_MMA_CUH

#include <cuda_bf16.h>
#include <stdint.h>

/* c[16 x 8] += a[16 x 16] b[16 x 8] */
__device__ __forceinline__ void mma_add(float *c, const uint32_t *a, const uint32_t *b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices from shared memory; lane 8 i + j names the start (16 bytes, aligned) of row j of matrix i. */
__device__ __forceinline__ void mma_load(uint32_t *four, const __nv_bfloat16 *row) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(four[0]), "=r"(four[1]), "=r"(four[2]), "=r"(four[3])
                 : "r"(at)
                 : "memory");
}

/* The same, each matrix transposed. */
__device__ __forceinline__ void mma_load_transposed(uint32_t *four, const __nv_bfloat16 *row) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(four[0]), "=r"(four[1]), "=r"(four[2]), "=r"(four[3])
                 : "r"(at)
                 : "memory");
}

__device__ __forceinline__ uint32_t mma_pack(float low, float high) {
    __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *(uint32_t *)&both;
}

/* BYTES (4, 8 or 16) from global to shared memory, asynchronously; zeros, and nothing read, where it is not there. */
template <int BYTES> __device__ __forceinline__ void copy_async(void *to, const void *from, bool there) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(at), "l"(from), "n"(BYTES),
                 "r"(there ? BYTES : 0)
                 : "memory");
}
__device__ __forceinline__ void copy_close() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most NEWEST of this thread's closed groups of copies are under way. */
template <int NEWEST> __device__ __forceinline__ void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(NEWEST) : "memory");
}

#endif
