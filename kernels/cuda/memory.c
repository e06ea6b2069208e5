/* memory.c - see memory.h */
#include "memory.h"

#include <stdint.h>
#include <stdio.h>

static cudaError_t current_pool(cudaMemPool_t *pool) {
    int gpu = 0;
    cudaError_t error = cudaGetDevice(&gpu);
    return error == cudaSuccess ? cudaDeviceGetDefaultMemPool(pool, gpu) : error;
}

/* What the pool keeps for later. */
static size_t kept_bytes(void) {
    cudaMemPool_t pool = NULL;
    uint64_t reserved = 0, used = 0;
    cudaError_t error = current_pool(&pool);
    if (error == cudaSuccess) error = cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
    if (error == cudaSuccess) error = cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used);
    return error == cudaSuccess && reserved > used ? (size_t)(reserved - used) : 0;
}

const char *gpu_memory_take(cudaStream_t stream, size_t bytes, const char *what, void **out, char *why, size_t size) {
    size_t free_bytes = 0, all = 0;
    cudaError_t error = cudaMallocAsync(out, bytes ? bytes : 1, stream);
    if (error == cudaSuccess) return NULL;
    *out = NULL;
    (void)cudaGetLastError(); /* told here; it must not be found again by a later launch */
    if (error != cudaErrorMemoryAllocation) {
        snprintf(why, size, "no memory: %s", cudaGetErrorString(error));
        return why;
    }
    (void)cudaMemGetInfo(&free_bytes, &all); /* figures that cannot be had stay 0 */
    snprintf(why, size, "out of memory: %zu bytes %s asked for, %zu of %zu are free", bytes, what,
             free_bytes + kept_bytes(), all);
    return why;
}

void gpu_memory_give(cudaStream_t stream, void *memory) {
    if (memory) (void)cudaFreeAsync(memory, stream); /* the memory goes with the process at the latest */
}

cudaError_t gpu_memory_keep(void) {
    cudaMemPool_t pool = NULL;
    size_t free_bytes = 0, all = 0;
    cudaError_t error = current_pool(&pool);
    if (error == cudaSuccess) error = cudaMemGetInfo(&free_bytes, &all);
    uint64_t kept = all / 8;
    return error == cudaSuccess ? cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept) : error;
}
