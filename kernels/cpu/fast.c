/* fast.c - the table of one instruction set. */
#include "fast_kernels.h"

static cpu_kernel kernel(uint32_t op) {
    switch (op) {
#define FAST_CASE(name, function) \
    case AIRA_OP_##name:          \
        return FAST(function);
        FAST_TABLE(FAST_CASE)
#undef FAST_CASE
    default:
        return NULL;
    }
}

static const cpu_prepare *prepare(uint32_t op) {
    return op == AIRA_OP_MATMUL ? &FAST(fast_matmul_prepare) : op == AIRA_OP_ROPE ? &FAST(fast_rope_prepare) : NULL;
}

const cpu_fast FAST(cpu_fast) = {
    .elementwise = FAST(cpu_elementwise),
    .from_bf16 = FAST(cpu_from_bf16),
    .to_bf16 = FAST(cpu_to_bf16),
    .kernel = kernel,
    .prepare = prepare,
};
