/* cudart.c - a CUDA runtime without a GPU: memory is the host's, kernels and graphs do nothing, every call succeeds.
 *
 * With it in LD_LIBRARY_PATH the device plugin plans, merges, fills tables and "captures" as on an H200, so that what
 * its host code does to its own memory is tested where there is no GPU (tests/cli/cuda_host.sh). No number that comes
 * back means anything.
 */
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int something; /* what handles point to */
#define HANDLE(out) (*(void **)(out) = &something, cudaSuccess)

/* --- what nvcc's registration calls --- */

void **__cudaRegisterFatBinary(void *binary) {
    static void *handle[4];
    return binary ? handle : NULL;
}
void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }
void __cudaUnregisterFatBinary(void **handle) { (void)handle; }
void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int limit, void *thread,
                            void *block, void *block_size, void *grid_size, int *warp) {
    (void)handle, (void)host, (void)device, (void)name, (void)limit, (void)thread, (void)block, (void)block_size;
    (void)grid_size, (void)warp;
}
cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function) {
    (void)function;
    return HANDLE(kernel);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
    return cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
    (void)grid, (void)block, (void)shared, (void)stream;
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    *grid = *block = (dim3){1, 1, 1};
    *shared = 0;
    *(void **)stream = NULL;
    return cudaSuccess;
}

/* --- the card --- */

cudaError_t cudaGetDeviceCount(int *n) { return *n = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int *gpu) { return *gpu = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int gpu) { return gpu ? cudaErrorInvalidDevice : cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int gpu) {
    memset(p, 0, sizeof *p);
    strcpy(p->name, "no GPU");
    p->major = 9;
    p->totalGlobalMem = 100ull << 30;
    p->multiProcessorCount = 132;
    p->sharedMemPerBlockOptin = 232448;
    return gpu ? cudaErrorInvalidDevice : cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int gpu) {
    *value = which == cudaDevAttrComputeCapabilityMajor         ? 9
             : which == cudaDevAttrComputeCapabilityMinor       ? 0
             : which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 232448
                                                                : 132;
    return gpu ? cudaErrorInvalidDevice : cudaSuccess;
}
const char *cudaGetErrorString(cudaError_t error) { return error ? "an error" : "no error"; }
cudaError_t cudaGetLastError(void) { return cudaSuccess; }

/* --- memory --- */

cudaError_t cudaMalloc(void **to, size_t bytes) {
    *to = aligned_alloc(256, (bytes + 511) & ~(size_t)255);
    return *to ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaMallocHost(void **to, size_t bytes) { return cudaMalloc(to, bytes); }
cudaError_t cudaMallocAsync(void **to, size_t bytes, cudaStream_t stream) {
    (void)stream;
    return cudaMalloc(to, bytes);
}
cudaError_t cudaFree(void *memory) { return free(memory), cudaSuccess; }
cudaError_t cudaFreeHost(void *memory) { return free(memory), cudaSuccess; }
cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
    (void)stream;
    return free(memory), cudaSuccess;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    (void)kind;
    return memcpy(to, from, bytes), cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream) {
    (void)stream;
    return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemset(void *to, int value, size_t bytes) { return memset(to, value, bytes), cudaSuccess; }
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream) {
    (void)stream;
    return cudaMemset(to, value, bytes);
}
cudaError_t cudaMemGetInfo(size_t *left, size_t *all) { return *left = *all = (size_t)100 << 30, cudaSuccess; }
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int gpu) {
    (void)gpu;
    return HANDLE(pool);
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr which, void *value) {
    (void)pool, (void)which;
    return *(uint64_t *)value = 0, cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr which, void *value) {
    (void)pool, (void)which, (void)value;
    return cudaSuccess;
}

/* --- streams, events, graphs, kernels: nothing happens --- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    (void)flags;
    return HANDLE(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return (void)stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return (void)stream, cudaSuccess; }
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    (void)stream, (void)mode;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    (void)stream;
    return HANDLE(graph);
}
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) { return (void)mode, cudaSuccess; }
cudaError_t cudaEventCreate(cudaEvent_t *event) { return HANDLE(event); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    (void)flags;
    return HANDLE(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return (void)event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return (void)event, (void)stream, cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return (void)event, cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    (void)from, (void)to;
    return *ms = 1, cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags) {
    (void)graph, (void)flags;
    return HANDLE(exec);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) { return (void)exec, (void)stream, cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) { return (void)exec, (void)stream, cudaSuccess; }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return (void)graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return (void)exec, cudaSuccess; }
cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
    (void)kernel, (void)grid, (void)block, (void)arguments, (void)shared, (void)stream;
    return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *kernel, void **arguments) {
    (void)how, (void)kernel, (void)arguments;
    return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute which, int value) {
    (void)kernel, (void)which, (void)value;
    return cudaSuccess;
}
cudaError_t cudaLibraryLoadData(cudaLibrary_t *library, const void *code, enum cudaJitOption *options, void **values,
                                unsigned n, enum cudaLibraryOption *more, void **more_values, unsigned n_more) {
    (void)code, (void)options, (void)values, (void)n, (void)more, (void)more_values, (void)n_more;
    return HANDLE(library);
}
cudaError_t cudaLibraryGetKernel(cudaKernel_t *kernel, cudaLibrary_t library, const char *name) {
    (void)library, (void)name;
    return HANDLE(kernel);
}
cudaError_t cudaLibraryUnload(cudaLibrary_t library) { return (void)library, cudaSuccess; }
