/* generate.h - a kernel of its own for every chain: source text written from the chain, compiled by NVRTC at run time.
 *
 * NVRTC is looked for when a chain has to be compiled; without it, or when a compilation fails, chains are
 * interpreted. What a program lacks is compiled at once, a text of several kernels for every processor; machine code
 * does not depend on what else is in a text. Compiled kernels are kept in memory by the compiler and on disk (cache.h).
 */
#ifndef AIRA_GPU_GENERATE_H
#define AIRA_GPU_GENERATE_H

#include "chain.h"

typedef struct gpu_compiler gpu_compiler;

/* For the GPU of compute capability major.minor. NULL: out of memory. */
gpu_compiler *gpu_compiler_create(const aira_host *host, int major, int minor);
void gpu_compiler_destroy(gpu_compiler *compiler);

/* A kernel of a chain that moves `vector` elements per thread (1, 2, 4 or 8), 256 threads a block. Its one argument is
   a gpu_chain_pointers; batched: a table of gpu_chain_member and a table of gpu_block in device memory (batch.c), one
   block each. */
typedef struct gpu_chain_wish {
    const gpu_chain_program *program;
    int vector, batched;
} gpu_chain_wish;

/* Makes kernels that will be asked for; what cannot be made is interpreted. [any thread] */
void gpu_compiler_prepare(gpu_compiler *compiler, const gpu_chain_wish *wishes, uint32_t n);
/* The kernel, or NULL: interpret the chain. [any thread] */
cudaKernel_t gpu_compiler_kernel(gpu_compiler *compiler, const gpu_chain_program *program, int vector, int batched);

/* The largest vector that shapes and addresses allow. */
int gpu_chain_vector(const gpu_chain_program *program, const gpu_chain_pointers *pointers);

/* What a chain's kernel depends on, and nothing else: equal keys, equal sources. Words; at most GPU_CHAIN_KEY. */
#define GPU_CHAIN_KEY (8u + GPU_CHAIN_LOADS * (1u + 2u * AIRA_MAX_RANK) + 2u * GPU_CHAIN_CODE)
size_t gpu_chain_key(const gpu_chain_program *program, int vector, int batched, uint64_t *key);

/* The source text of a chain's kernel of that name, malloc'ed; NULL when out of memory. It wants scalar.cuh and the
   prelude before it. (generate.c) */
extern const char gpu_chain_prelude[];
char *gpu_chain_source(const gpu_chain_program *program, int vector, int batched, const char *name);

#endif
