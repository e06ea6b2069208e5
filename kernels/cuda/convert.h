/* convert.h - n elements of device memory from one element type to another. */
#ifndef AIRA_GPU_CONVERT_H
#define AIRA_GPU_CONVERT_H

#include "gpu.h"

#ifdef __cplusplus
extern "C"
#endif
    const char *
    gpu_convert(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, int64_t n,
                cudaStream_t stream); /* move.cu */

#endif
