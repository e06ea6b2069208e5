/* cudart.c - a CUDA runtime without a GPU: memory is the host's, kernels and graphs do nothing.
 *
 * Launches are refused for sizes and shared memory that an H200 refuses. With it in LD_LIBRARY_PATH the device plugin
 * plans, merges, fills tables and "captures" as on an H200, so that what its host code does to its own memory is tested
 * where there is no GPU (tests/cli/cuda_host.sh). No number that comes back means anything.
 */
#include <cuda_runtime_api.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int something;          /* what handles point to */
static _Atomic(size_t) pooled; /* bytes that lie in the pool's memory */
static _Thread_local cudaError_t last;

#define MOST_SHARED 232448u /* bytes that a block may have on an H200, if it was asked for; 48 KiB else */

/* Kernels that asked for more shared memory. */
static struct {
    const void *kernel;
    size_t bytes;
} allowed[4096];
static pthread_mutex_t allowing = PTHREAD_MUTEX_INITIALIZER;

static size_t shared_of(const void *kernel, size_t bytes) { /* bytes > 0: from now on */
    size_t found = 48u << 10, k = 0;
    pthread_mutex_lock(&allowing);
    while (allowed[k].kernel && allowed[k].kernel != kernel && k + 1 < sizeof allowed / sizeof *allowed) k++;
    if (bytes) allowed[k].kernel = kernel, allowed[k].bytes = bytes;
    if (allowed[k].kernel == kernel && allowed[k].bytes > found) found = allowed[k].bytes;
    pthread_mutex_unlock(&allowing);
    return found;
}

/* What a launch is refused for. */
static cudaError_t check_launch(const void *kernel, dim3 grid, dim3 block, size_t shared) {
    bool sizes = grid.x && grid.y && grid.z && block.x && block.y && block.z && grid.x <= 0x7fffffffu &&
                 grid.y <= 65535 && grid.z <= 65535 && block.x * block.y * block.z <= 1024;
    last = !sizes ? cudaErrorInvalidConfiguration : shared > shared_of(kernel, 0) ? cudaErrorInvalidValue : cudaSuccess;
    return last;
}
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
    *kernel = (cudaKernel_t)(uintptr_t)function;
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
    return cudaLaunchKernel((const void *)kernel, grid, block, arguments, shared, stream);
}
static _Thread_local struct {
    dim3 grid, block;
    size_t shared;
    void *stream;
} pushed;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream) {
    pushed.grid = grid, pushed.block = block, pushed.shared = shared, pushed.stream = stream;
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared;
    *(void **)stream = pushed.stream;
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
    p->sharedMemPerBlockOptin = MOST_SHARED;
    return gpu ? cudaErrorInvalidDevice : cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int gpu) {
    *value = which == cudaDevAttrComputeCapabilityMajor         ? 9
             : which == cudaDevAttrComputeCapabilityMinor       ? 0
             : which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? (int)MOST_SHARED
                                                                : 132;
    return gpu ? cudaErrorInvalidDevice : cudaSuccess;
}
const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorInvalidValue ? "invalid argument" : error ? "an error" : "no error";
}
cudaError_t cudaGetLastError(void) {
    cudaError_t error = last;
    last = cudaSuccess;
    return error;
}

/* --- memory --- */

cudaError_t cudaMalloc(void **to, size_t bytes) {
    *to = aligned_alloc(256, (bytes + 511) & ~(size_t)255);
    return *to ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaMallocHost(void **to, size_t bytes) { return cudaMalloc(to, bytes); }
cudaError_t cudaMallocAsync(void **to, size_t bytes, cudaStream_t stream) {
    (void)stream;
    cudaError_t error = cudaMalloc(to, bytes);
    if (error == cudaSuccess) atomic_fetch_add(&pooled, malloc_usable_size(*to));
    return error;
}
cudaError_t cudaFree(void *memory) { return free(memory), cudaSuccess; }
cudaError_t cudaFreeHost(void *memory) { return free(memory), cudaSuccess; }
cudaError_t cudaFreeAsync(void *memory, cudaStream_t stream) {
    (void)stream;
    atomic_fetch_sub(&pooled, malloc_usable_size(memory));
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
    return *(uint64_t *)value = atomic_load(&pooled), cudaSuccess;
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
    (void)arguments, (void)stream;
    return check_launch(kernel, grid, block, shared);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *how, const void *kernel, void **arguments) {
    (void)arguments;
    return check_launch(kernel, how->gridDim, how->blockDim, how->dynamicSmemBytes);
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *own, const void *kernel) {
    (void)kernel;
    return memset(own, 0, sizeof *own), cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute which, int value) {
    if (which != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || (unsigned)value > MOST_SHARED) return last = cudaErrorInvalidValue;
    /* less than before: another thread's launch between this call and its own would be refused on a card */
    if ((size_t)value < shared_of(kernel, 0)) return last = cudaErrorInvalidValue;
    return (void)shared_of(kernel, (size_t)value), cudaSuccess;
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
