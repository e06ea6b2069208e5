/* sum_chain.h - chains that only add. (fuse.c) */
#ifndef AIRA_GPU_SUM_CHAIN_H
#define AIRA_GPU_SUM_CHAIN_H

#include "steps.h"

#define TERMS 5

/* A chain that adds bf16 tensors of one shape, and at most one vector to every row. */
typedef struct sum_chain {
    uint32_t terms[TERMS], n_terms, bias, out; /* tensors; bias: UINT32_MAX where there is none */
} sum_chain;

/* False where the chain is no such sum. */
bool read_sum(const aira_plan *plan, const gpu_chain *chain, sum_chain *sum);

#endif
