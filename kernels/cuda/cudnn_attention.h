/* cudnn_attention.h - attention by cuDNN: which calls it takes, plans kept by shape, and running them.
 *
 * Everything here may say no: without cuDNN, for a shape that it refuses, or where it is switched off, attention.cu
 * runs kernels of its own. A plan is made (0.04 to 0.9 s) when a program is compiled, never while a stream is captured.
 */
#ifndef AIRA_GPU_CUDNN_ATTENTION_H
#define AIRA_GPU_CUDNN_ATTENTION_H

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* use: 0: never cuDNN. deterministic: only engines that give the same bits on every run. NULL: out of memory.
   One thread at a time. */
gpu_cudnn *gpu_cudnn_create(const aira_host *host, int use, int deterministic);
void gpu_cudnn_destroy(gpu_cudnn *cudnn);

/* Makes the plan of an ATTENTION or ATTENTION_BACKWARD call if cuDNN takes it. True: run may be called with a workspace
   of *bytes. */
int gpu_cudnn_prepare(const gpu_call *call, size_t *bytes);
/* False: not prepared, use another kernel. True: it is on the call's stream, or *why says what did not work. */
int gpu_cudnn_run(const gpu_call *call, const char **why);

#ifdef __cplusplus
}
#endif
#endif
