/* fast.h - what one instruction set offers: the same kernels, compiled for it.
 *
 * Fast kernels take F32 and BF16 tensors (I32 where the op has indices) and compute in fp32; program.c uses the
 * reference kernels for everything else.
 */
#ifndef AIRA_CPU_FAST_H
#define AIRA_CPU_FAST_H

#include "cpu.h"

typedef struct cpu_fast {
    /* As cpu_elementwise_f32. */
    void (*elementwise)(uint32_t op, int64_t mode, bool truncate, int64_t n, float *out, const float *a, const float *b,
                        const float *c);
    void (*from_bf16)(float *to, const uint16_t *from, int64_t n);
    void (*to_bf16)(uint16_t *to, const float *from, int64_t n);
    /* The kernel of an op, NULL: none. */
    cpu_kernel (*kernel)(uint32_t op);
    const cpu_prepare *(*prepare)(uint32_t op); /* NULL: the op's kernel has nothing to prepare */
} cpu_fast;

/* NULL for CPU_ISA_REFERENCE. */
const cpu_fast *cpu_fast_of(cpu_isa isa);

/* The kernel for products of two bf16 matrices (fast_bf16.c) where the set and this processor have one, else NULL. */
cpu_kernel cpu_bf16_matmul(cpu_isa isa);
extern const cpu_prepare cpu_bf16_prepare;   /* for both */
void cpu_matmul_tiles(const cpu_call *call); /* AMX */
void cpu_matmul_dots(const cpu_call *call);  /* AVX512-BF16 */

extern const cpu_fast cpu_fast_avx2, cpu_fast_avx512;

#endif
