/* chain.h - a compiled chain, between chain.c, which makes it, and interpret.cu, which runs it.
 *
 * A chain is a short program over one iteration space. A thread computes one element: it loads all operands, runs the
 * instructions in registers, and stores the results that live outside the chain; loading first lets a result lie on an
 * operand that dies with it.
 *
 * The computing type is double if an F64 or I32 tensor takes part (I32 is exact in double), else float. Temporaries
 * keep its precision; only an explicit CAST to a narrower type rounds.
 */
#ifndef AIRA_GPU_CHAIN_H
#define AIRA_GPU_CHAIN_H

#include "gpu.h"

#define GPU_CHAIN_LOADS 64
#define GPU_CHAIN_CODE 64
#define GPU_CHAIN_VALUES (GPU_CHAIN_LOADS + GPU_CHAIN_CODE)

/* How an operand's element is found from the iteration space's. */
enum { GPU_WHOLE, GPU_SCALAR, GPU_WALK };

typedef struct gpu_chain_load {
    uint32_t dtype, view; /* index into the call's views */
    uint32_t access, n_dims;
    int64_t extents[AIRA_MAX_RANK], strides[AIRA_MAX_RANK]; /* WALK: outermost first, neighbours merged */
} gpu_chain_load;

typedef struct gpu_chain_instruction {
    uint16_t op, mode;     /* mode: the op's attribute */
    uint16_t in[3], n_in;  /* values: loads first, then results in order */
    uint16_t truncate;     /* results are I32: division truncates */
    uint16_t narrow;       /* element type that the result is rounded to; 0: none */
    uint16_t stored, view; /* where the result goes, if it lives outside */
    uint32_t dtype;
} gpu_chain_instruction;

typedef struct gpu_chain_program {
    int64_t n;
    uint32_t n_loads, n_code;
    gpu_chain_load *loads;
    gpu_chain_instruction *code;
} gpu_chain_program;

typedef struct gpu_chain_pointers {
    char *data[GPU_CHAIN_VALUES];
} gpu_chain_pointers;

/* One chain of a batch, as kernels see it. */
typedef struct gpu_chain_member {
    gpu_chain_pointers pointers;
    int64_t n;
} gpu_chain_member;

/* One piece of memory with all it points to: there are a thousand in a training step, most of them short. */
struct gpu_chain {
    gpu_chain_program program;
    uint32_t *tensors, *ids;
    uint32_t n_tensors;
    int wide;
};

/* Is there a kernel of its own for it, where there is a compiler? */
static inline int gpu_chain_is_compiled(const gpu_chain *chain) {
    return !chain->wide && chain->program.n > 0 && chain->program.n <= (int64_t)UINT32_MAX;
}

/* The chain with one more instruction, which stores into tensor id. NULL: out of memory. (chain.c) */
#ifdef __cplusplus
extern "C"
#endif
    gpu_chain *
    gpu_chain_extend(const gpu_chain *chain, const gpu_chain_instruction *code, uint32_t id);

#ifdef __cplusplus
extern "C"
#endif
    const char *
    gpu_chain_run(const gpu_chain *chain, const gpu_chain_pointers *pointers, struct gpu_compiler *compiler,
                  cudaStream_t stream);
#ifdef __cplusplus
extern "C"
#endif
    const char *
    gpu_chain_interpret(const gpu_chain *chain, const gpu_chain_pointers *pointers, cudaStream_t stream);

#ifdef __cplusplus
extern "C"
#endif
    /* One chain that does what `first` and then `second` do, where nobody else reads or writes in between; NULL where
       there is none: other extents or computing types, values that memory would round, too much. (fuse_chains.c) */
    gpu_chain *
    gpu_chain_join(const aira_plan *plan, const gpu_chain *first, const gpu_chain *second);
/* A chain with room for these. (chain.c) */
#ifdef __cplusplus
extern "C"
#endif
    gpu_chain *
    gpu_chain_make(uint32_t n_loads, uint32_t n_code);

#endif
