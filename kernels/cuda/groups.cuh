/* groups.cuh - may kernels of groups of four warps (wgmma.cuh) be launched? */
#ifndef AIRA_GPU_GROUPS_CUH
#define AIRA_GPU_GROUPS_CUH

#include <cuda_runtime.h>

/* Is there code for them, and is the current GPU one that runs it (sm_90)? */
static inline bool has_groups() {
#ifdef AIRA_CUDA_90A
    int gpu = 0, major = 0;
    return cudaGetDevice(&gpu) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, gpu) == cudaSuccess && major == 9;
#else
    return false;
#endif
}

#endif
