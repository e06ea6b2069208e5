/* flash.h - own tensor-core attention for heads of 64, 96 or 128 in bf16: flash.cu. */
#ifndef AIRA_GPU_FLASH_H
#define AIRA_GPU_FLASH_H

#include "gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* True: the call's shapes and types are for these kernels (ATTENTION or ATTENTION_BACKWARD, no mask). */
int gpu_flash_takes(const gpu_call *call);
const char *gpu_flash_forward(const gpu_call *call);
/* workspace: B H T floats */
const char *gpu_flash_backward(const gpu_call *call);

#ifdef __cplusplus
}
#endif

#endif
