/* program.h - a plan made runnable: its steps' kernels, captured as one CUDA graph. */
#ifndef AIRA_GPU_PROGRAM_H
#define AIRA_GPU_PROGRAM_H

#include <stdio.h>

#include "gpu.h"

typedef struct gpu_program gpu_program;
struct gpu_watch; /* watch.h */

/* Device memory of the stream's pool: taken and given back in the order of the stream's work, without waiting for other
   streams. NULL, or a sentence in why (size bytes) that says what was asked for and what is free. */
const char *gpu_memory_take(cudaStream_t stream, size_t bytes, const char *what, void **out, char *why, size_t size);
/* Bytes that are taken so on this GPU, by all streams of the process; 0 where that cannot be had. */
size_t gpu_memory_taken(void);
void gpu_memory_give(cudaStream_t stream, void *memory);

/* The plan, the queue, on which all runs are, and the watch of its buffers stay valid until destroy. NULL with a
   sentence in why. */
gpu_program *gpu_program_create(const aira_plan *plan, const gpu_queue *queue, struct gpu_watch *watch, char *why,
                                size_t size);
void gpu_program_destroy(gpu_program *program);
/* Puts one run on the stream. The first run with these buffers captures the graph. */
const char *gpu_program_start(gpu_program *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed);

/* 1 until the first run. */
int gpu_program_is_new(const gpu_program *program);
/* Writes a line per step: number, op, microseconds, operands > results. Runs every step many times with no regard to
   what that does to the numbers: for measuring only. */
const char *gpu_program_trace(gpu_program *program, void *const buffers[AIRA_N_BUFFERS], FILE *to);

/* Host milliseconds that a program took until its first launch: when it was created, and when it was captured. */
typedef struct gpu_program_times {
    double chains, merging, kernels, memory, tables, capture, instantiate, upload;
} gpu_program_times;
gpu_program_times gpu_program_time(const gpu_program *program, uint32_t *n_steps);

#endif
