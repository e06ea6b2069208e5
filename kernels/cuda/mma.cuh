/* mma.cuh - the tensor-core instructions that kernels here use: bf16 operands, fp32 sums, one warp.
 *
 * With g = lane / 4 and t = lane % 4: an accumulator of 16 x 8 holds rows g (c[0], c[1]) and g + 8 (c[2], c[3]),
 * columns 2t and 2t + 1. Two accumulators side by side, packed to bf16, are the left operand of a product over their
 * 16 columns: that is how attention feeds its weights into the next product without leaving registers.
 */
#ifndef AIRA_GPU_MMA_CUH
#define AIRA_GPU_MMA_CUH

#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 half16;

__device__ __forceinline__ uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

/* 8 x 8 matrices of bf16, a row is 16 bytes in shared memory; lanes 8k..8k+7 name the rows of matrix k. _at: by
   shared_address. */
__device__ __forceinline__ void load_matrices(uint32_t &r0, const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(r0)
                 : "r"(shared_address(row))
                 : "memory");
}
__device__ __forceinline__ void load_matrices_at(uint32_t &r0, uint32_t &r1, uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r0), "=r"(r1) : "r"(row) : "memory");
}
__device__ __forceinline__ void load_matrices_at(uint32_t *r, uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void load_matrices(uint32_t &r0, uint32_t &r1, const void *row) {
    load_matrices_at(r0, r1, shared_address(row));
}
__device__ __forceinline__ void load_matrices(uint32_t *r, const void *row) {
    load_matrices_at(r, shared_address(row));
}
__device__ __forceinline__ void load_transposed_at(uint32_t &r0, uint32_t &r1, uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r0), "=r"(r1)
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void load_transposed_at(uint32_t *r, uint32_t row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row)
                 : "memory");
}
__device__ __forceinline__ void load_transposed(uint32_t &r0, uint32_t &r1, const void *row) {
    load_transposed_at(r0, r1, shared_address(row));
}
__device__ __forceinline__ void load_transposed(uint32_t *r, const void *row) {
    load_transposed_at(r, shared_address(row));
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
/* Four of them to where load_matrices finds them. */
__device__ __forceinline__ void store_matrices(void *row, const uint32_t *r) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}
#else
__device__ __forceinline__ void store_matrices(void *, const uint32_t *) {} /* whoever runs here has other ways */
#endif

/* Of the four lanes that hold a row: the sum, all get it. */
__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

/* Word j of lane t of such four becomes word t of lane j. */
__device__ __forceinline__ void quad_transpose(uint32_t *w) {
    bool odd = threadIdx.x & 1, upper = threadIdx.x & 2;
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        uint32_t got = __shfl_xor_sync(0xffffffffu, odd ? w[j] : w[j + 1], 1);
        w[j] = odd ? got : w[j];
        w[j + 1] = odd ? w[j + 1] : got;
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
        uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? w[j] : w[j + 2], 2);
        w[j] = upper ? got : w[j];
        w[j + 2] = upper ? w[j + 2] : got;
    }
}

/* c[16 x 8] += a[16 x 8] b[8 x 8] */
__device__ __forceinline__ void multiply_k8(float *c, uint32_t a0, uint32_t a1, uint32_t b0) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b0));
}
/* c[16 x 8] += a[16 x 16] b[16 x 8] */
__device__ __forceinline__ void multiply_k16(float *c, const uint32_t *a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/* c[16 x 8] = a[16 x 16] b[16 x 8] */
__device__ __forceinline__ void begin_k16(float *c, const uint32_t *a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%10, %10, %10, %10};"
                 : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}
/* c[16 x 8] += a[16 x 8] b[8 x 8] in tf32: of fp32 operands the upper 19 bits count. Lane: a of rows g and g + 8, then
   the same of column t + 4 instead of t; b of rows t and t + 4, column g. */
__device__ __forceinline__ void multiply_tf32(float *c, float a0, float a1, float a2, float a3, float b0, float b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(__float_as_uint(a0)), "r"(__float_as_uint(a1)), "r"(__float_as_uint(a2)),
                   "r"(__float_as_uint(a3)), "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}

#endif
