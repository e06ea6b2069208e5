/* mma.cuh - products of 16 x 16 pieces of bf16 matrices on tensor cores, and asynchronous copies that feed them.
 *
 * A fragment of a left operand is 16 rows x 16 of the sum, one of a right operand 16 of the sum x 16 columns (two mma
 * instructions wide), a result 16 rows x 8 columns in fp32. With row = lane / 4 and column = 2 (lane % 4), a lane's
 * c[0], c[1] lie at (row, column), (row, column + 1), and c[2], c[3] eight rows below.
 */
#ifndef AIRA_GPU_MMA_CUH
#define AIRA_GPU_MMA_CUH

#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 half16;

__device__ __forceinline__ uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void mma(float *c, const uint32_t *a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void load_matrices(uint32_t *f, const half16 *p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(shared_address(p))
                 : "memory");
}
__device__ __forceinline__ void load_matrices_turned(uint32_t *f, const half16 *p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(shared_address(p))
                 : "memory");
}

/* 16 bytes into shared memory, zeros where not `in` (the address must be one that could be read). */
__device__ __forceinline__ void fetch16(void *to, const void *from, bool in) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from), "r"(in ? 16 : 0)
                 : "memory");
}
/* All that this thread fetched has arrived; others see it after a barrier. */
__device__ __forceinline__ void fetch_wait() { asm volatile("cp.async.wait_all;\n" ::: "memory"); }

#endif
