/* wgmma.cuh - products by a group of four warps (sm_90a): operands in shared memory, sums in registers, run
 * asynchronously. For other GPUs these are empty, and nothing that uses them may be launched there.
 *
 * A 64 x 64 sum: warp w of the group has rows 16 w.., in each of 8 tiles of 8 columns as mma.cuh says: c[4 tile + e].
 */
#ifndef AIRA_GPU_WGMMA_CUH
#define AIRA_GPU_WGMMA_CUH

#include <cuda_bf16.h>
#include <stdint.h>

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define GROUP_ASM(...) asm volatile(__VA_ARGS__)
#else
#define GROUP_ASM(...) (void)0
#endif

/* Descriptor of rows of 64 elements in the 128-byte swizzle: eight rows are 1024 bytes, the step to the next eight. */
__device__ __forceinline__ uint64_t group_tile(const __nv_bfloat16 *at) {
    uint64_t address = (uint64_t)__cvta_generic_to_shared(at), step = 1024 >> 4, swizzle = 1;
    return (address & 0x3ffff) >> 4 | step << 16 | step << 32 | swizzle << 62;
}

/* The same of rows of 32 elements in the 64-byte swizzle: parts of 16 bytes swapped by row / 2 % 4, eight rows are 512
   bytes. */
__device__ __forceinline__ uint64_t group_narrow_tile(const __nv_bfloat16 *at) {
    uint64_t address = (uint64_t)__cvta_generic_to_shared(at), step = 512 >> 4, swizzle = 2;
    return (address & 0x3ffff) >> 4 | step << 16 | step << 32 | swizzle << 62;
}

/* Copies of this thread that have arrived become visible to products. */
__device__ __forceinline__ void group_sees_copies() { GROUP_ASM("fence.proxy.async.shared::cta;" ::: "memory"); }
/* Before the first product that reads or adds to registers which were written otherwise. */
__device__ __forceinline__ void group_fence() { GROUP_ASM("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void group_close() { GROUP_ASM("wgmma.commit_group.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void group_wait() { GROUP_ASM("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
/* Waits until at most the newest closed group of products is under way. */
__device__ __forceinline__ void group_wait_for_older() { GROUP_ASM("wgmma.wait_group.sync.aligned 1;" ::: "memory"); }
/* Keeps the compiler from moving uses of a sum before the wait. */
__device__ __forceinline__ void group_settle(float &c) { asm volatile("" : "+f"(c)::"memory"); }

/* c[64 x 64] = [c +] a[64 x 16] b[64 x 16]': 16 columns of both, which begin at their descriptors */
__device__ __forceinline__ void group_multiply(float *c, uint64_t a, uint64_t b, int add) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, %34, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
              "%32, %33, add, 1, 1, 0, 0; }"
              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
                "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
                "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]),
                "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
              : "l"(a), "l"(b), "r"(add));
}

/* c[64 x 64] += a[64 x 16] b[16 x 64]: a in registers (16 rows a warp), b 16 rows of 64 */
__device__ __forceinline__ void group_multiply(float *c, const uint32_t *a, uint64_t b) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, 1, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
              "{%32, %33, %34, %35}, %36, add, 1, 1, 1; }"
              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
                "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
                "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]),
                "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
              : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* The same with b' in place of b: 16 columns of 64 rows, which begin at the descriptor. */
__device__ __forceinline__ void group_multiply_rows(float *c, const uint32_t *a, uint64_t b) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, 1, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
              "{%32, %33, %34, %35}, %36, add, 1, 1, 0; }"
              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
                "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
                "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]),
                "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
              : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

/* c[64 x 64] = [c +] a[64 x 16] b[64 x 16]': a in registers */
__device__ __forceinline__ void group_multiply_rows(float *c, const uint32_t *a, uint64_t b, int add) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, %37, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
              "{%32, %33, %34, %35}, %36, add, 1, 1, 0; }"
              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
                "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
                "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]),
                "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
              : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

/* c[64 x 64] = [c +] a[64 x 16] b[16 x 64]: both in shared memory, b 16 rows of 64 */
__device__ __forceinline__ void group_multiply_turned(float *c, uint64_t a, uint64_t b, int add) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, %34, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
              "%32, %33, add, 1, 1, 0, 1; }"
              : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]),
                "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]),
                "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]),
                "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
              : "l"(a), "l"(b), "r"(add));
}

/* Four words of a sum, of an instruction's operands. */
#define GROUP_SUM_4(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])

/* c[64 x 32] = [c +] a[64 x 16] b[32 x 16]': both in shared memory; TURNED: b[16 x 32], 16 rows of 32 */
template <int TURNED> __device__ __forceinline__ void group_multiply_32(float *c, uint64_t a, uint64_t b, int add) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, %18, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15}, %16, %17, add, 1, 1, 0, %19; }"
              : GROUP_SUM_4(c, 0), GROUP_SUM_4(c, 4), GROUP_SUM_4(c, 8), GROUP_SUM_4(c, 12)
              : "l"(a), "l"(b), "r"(add), "n"(TURNED));
}
/* c[64 x 16] = [c +] a[64 x 16] b[16 x 16]' */
__device__ __forceinline__ void group_multiply_16(float *c, uint64_t a, uint64_t b, int add) {
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, %10, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, %8, %9, add, 1, "
              "1, 0, 0; }"
              : GROUP_SUM_4(c, 0), GROUP_SUM_4(c, 4)
              : "l"(a), "l"(b), "r"(add));
}

#endif
