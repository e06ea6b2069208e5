/* program.h - a plan made runnable: its steps' kernels, captured as one CUDA graph. */
#ifndef AIRA_GPU_PROGRAM_H
#define AIRA_GPU_PROGRAM_H

#include "gpu.h"

typedef struct gpu_program gpu_program;

/* Device memory of the stream's pool: taken and given back in the order of the stream's work, without waiting for other
   streams. NULL, or a sentence in why (size bytes) that says what was asked for and what is free. */
const char *gpu_memory_take(cudaStream_t stream, size_t bytes, const char *what, void **out, char *why, size_t size);
void gpu_memory_give(cudaStream_t stream, void *memory);

/* The plan stays valid until destroy, and so does the stream, which all runs are on. NULL with a sentence in why. */
gpu_program *gpu_program_create(const aira_plan *plan, cudaStream_t stream, char *why, size_t size);
void gpu_program_destroy(gpu_program *program);
/* Puts one run on the stream. The first run with these buffers captures the graph. */
const char *gpu_program_start(gpu_program *program, gpu_matmul *matmul, struct gpu_compiler *compiler,
                              void *const buffers[AIRA_N_BUFFERS], uint64_t seed);

#endif
