/* program.h - a plan made runnable: its steps' kernels, captured as one CUDA graph. */
#ifndef AIRA_GPU_PROGRAM_H
#define AIRA_GPU_PROGRAM_H

#include <stdio.h>

#include "gpu.h"

typedef struct gpu_program gpu_program;

/* The plan and cudnn stay valid until destroy. NULL with a sentence in why. */
gpu_program *gpu_program_create(const aira_plan *plan, gpu_cudnn *cudnn, char *why, size_t size);
void gpu_program_destroy(gpu_program *program);
/* Runs it once and waits. The first run with these buffers captures the graph. */
const char *gpu_program_run(gpu_program *program, gpu_matmul *matmul, struct gpu_compiler *compiler,
                            cudaStream_t stream, void *const buffers[AIRA_N_BUFFERS], uint64_t seed);
/* 1 until the first run. */
int gpu_program_is_new(const gpu_program *program);
/* Writes a line per step: number, op, microseconds, operands > results. Runs every step many times with no regard to
   what that does to the numbers: for measuring only. */
const char *gpu_program_trace(gpu_program *program, gpu_matmul *matmul, struct gpu_compiler *compiler,
                              cudaStream_t stream, void *const buffers[AIRA_N_BUFFERS], FILE *to);

#endif
