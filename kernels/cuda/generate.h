/* generate.h - a kernel of its own for every chain: source text written from the chain, compiled by NVRTC at run time.
 *
 * NVRTC is looked for when the first chain is compiled; without it, or when a compilation fails, chains are
 * interpreted. Compiled kernels are kept in memory by the compiler and on disk under $XDG_CACHE_HOME/aira/cuda (or
 * ~/.cache/aira/cuda), named by a hash of their source and verified against it.
 */
#ifndef AIRA_GPU_GENERATE_H
#define AIRA_GPU_GENERATE_H

#include "chain.h"

typedef struct gpu_compiler gpu_compiler;

/* For the GPU of compute capability major.minor. NULL: out of memory. */
gpu_compiler *gpu_compiler_create(const aira_host *host, int major, int minor);
void gpu_compiler_destroy(gpu_compiler *compiler);

/* The kernel of a chain that moves `vector` elements per thread (1, 2 or 4), or NULL: interpret it. Its one argument
   is a gpu_chain_pointers; 256 threads a block. batched: its arguments are a table of gpu_chain_member and a table of
   gpu_block in device memory (batch.c), one block each. [any thread] */
cudaKernel_t gpu_compiler_kernel(gpu_compiler *compiler, const gpu_chain_program *program, int vector, int batched);

/* The largest vector that shapes and addresses allow. */
int gpu_chain_vector(const gpu_chain_program *program, const gpu_chain_pointers *pointers);

/* What a chain's kernel depends on, and nothing else: equal keys, equal sources. Words; at most GPU_CHAIN_KEY. */
#define GPU_CHAIN_KEY (8u + GPU_CHAIN_LOADS * (1u + 2u * AIRA_MAX_RANK) + 2u * GPU_CHAIN_CODE)
size_t gpu_chain_key(const gpu_chain_program *program, int vector, int batched, uint64_t *key);

/* The source text of a chain's kernel, malloc'ed; NULL when out of memory. (generate.c; for tests) */
char *gpu_chain_source(const gpu_chain_program *program, int vector, int batched);

#endif
