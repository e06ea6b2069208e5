/* shared.cuh - more than 48 KiB of shared memory for a block. */
#ifndef AIRA_GPU_SHARED_CUH
#define AIRA_GPU_SHARED_CUH

#include <cuda_runtime.h>

/* From now on every launch of the kernel may have what the card can give a block. The most, and not what one launch
   needs: the attribute is the kernel's, and several threads put launches of different sizes on their streams. */
template <class K> static inline cudaError_t allow_shared(K kernel) {
    cudaFuncAttributes own;
    int gpu = 0, most = 0;
    cudaError_t error = cudaFuncGetAttributes(&own, kernel);
    if (error == cudaSuccess) error = cudaGetDevice(&gpu);
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu);
    if (error != cudaSuccess) return error;
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most - (int)own.sharedSizeBytes);
}

#endif
