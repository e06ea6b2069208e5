/* plugin.c - the device plugin `cuda`: what the host sees.
 *
 * One self is a queue: one stream, one cuBLASLt workspace and one stage on one GPU, used by one thread at a time; any
 * thread may be the next, so every call says which GPU it means. Queues beside each other share what was compiled and
 * nothing that a running program touches.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "aira/ext/queue.h"
#include "cudnn_attention.h"
#include "generate.h"
#include "program.h"
#include "stage.h"
#include "tables.h"
#include "watch.h"

#define TURN_GFLOP 50 /* from which on products gain from a turned weight more than turning costs */

typedef struct cuda_config {
    int64_t gpu, turn;
    int32_t matmul, chains, attention, deterministic, merge, tune;
    const char *trace;
} cuda_config;

static const char *const matmul_names[] = {"fp32", "tf32", NULL};
static const char *const chain_names[] = {"compiled", "interpreted", NULL};
static const char *const attention_names[] = {"cudnn", "own", NULL};
static const aira_field fields[] = {
    AIRA_F_INT(cuda_config, gpu, 0, 0, 1023, "which GPU, counted as the driver counts those that are visible"),
    AIRA_F_CHOICE(cuda_config, matmul, matmul_names, 0,
                  "products of fp32 tensors: fp32, or tf32 (faster, three digits)"),
    AIRA_F_CHOICE(cuda_config, chains, chain_names, 0,
                  "fused elementwise operations: compiled by NVRTC where there is one, or interpreted"),
    AIRA_F_CHOICE(cuda_config, attention, attention_names, 0,
                  "attention with bf16 heads of 64 to 256: by cuDNN where there is one, or by own kernels"),
    AIRA_F_BOOL(
        cuda_config, deterministic, 1,
        "the same bits on every run; false: cuDNN's gradient of attention may add in any order, and large products in "
        "the order that is fastest (faster)"),
    AIRA_F_BOOL(cuda_config, merge, 1,
                "kernels do several steps at once where they can; false: every step by itself, for comparing"),
    AIRA_F_BOOL(cuda_config, tune, 1,
                "large bf16 products: the fastest algorithm that gives the same bits, found by trying when one is met "
                "first; false: the one that cuBLASLt names first"),
    AIRA_F_INT(cuda_config, turn, -1, -1, 1000000,
               "training: bf16 products of so many GFLOP and more have the weights' transpose in memory as well, which "
               "takes 2 bytes a weight; 0: none; -1: 50 with `deterministic: false`, else 0"),
    AIRA_F_STR(
        cuda_config, trace, NULL,
        "for measuring only: a file that gets the microseconds of every step, repeated at each program's first run"),
};
static const aira_schema schema = AIRA_SCHEMA(cuda_config, fields);

typedef struct cuda_device {
    const aira_host *host;
    int gpu, tf32, tune, use_cudnn, deterministic;
    bool beside; /* made by open(): the compiler, the watch and cuBLASLt's answers are another's */
    gpu_queue queue;
    gpu_watch *watch; /* of buffers, which queues beside each other share */
    gpu_stage *stage;
    FILE *trace; /* NULL: none is wanted */
    aira_device_info info;
} cuda_device;

static aira_status fail(const cuda_device *device, aira_status status, const char *what, const char *why) {
    char text[400];
    snprintf(text, sizeof text, "cuda device: %s%s%s", what, why ? ": " : "", why ? why : "");
    return device->host->fail(device->host, status, text);
}

static aira_status check(const cuda_device *device, cudaError_t error, const char *what) {
    return error == cudaSuccess ? AIRA_OK : fail(device, AIRA_E_FAILED, what, cudaGetErrorString(error));
}

/* --- create ------------------------------------------------------------------------------------------------------- */

static const char *cuda_unavailable(void) {
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice)
        return "no NVIDIA driver that fits, or no GPU, on this machine";
    if (error != cudaSuccess) return cudaGetErrorString(error);
    return n > 0 ? NULL : "no GPU on this machine";
}

/* Every call begins so: threads come and go, and the driver keeps the chosen GPU per thread. */
static aira_status enter(const cuda_device *device) {
    return check(device, cudaSetDevice(device->gpu), "that GPU cannot be used");
}

static void cuda_destroy(void *self) {
    cuda_device *device = self;
    if (!device) return;
    gpu_matmul_destroy(device->queue.matmul);
    gpu_cudnn_destroy(device->queue.cudnn);
    gpu_tables_destroy(device->queue.tables);
    gpu_stage_destroy(device->stage);
    if (!device->beside) gpu_compiler_destroy(device->queue.compiler);
    if (!device->beside) gpu_watch_destroy(device->watch);
    if (device->queue.stream) (void)cudaStreamDestroy(device->queue.stream); /* what is left on it is worked off */
    if (device->trace) (void)fclose(device->trace);                          /* every program's lines were flushed */
    device->host->release(device->host, device);
}

/* Asked once: the driver takes milliseconds to answer. */
static aira_status describe(cuda_device *device, int *major, int *minor) {
    struct cudaDeviceProp properties;
    aira_status status = check(device, cudaGetDeviceProperties(&properties, device->gpu), "no properties");
    if (status) return status;
    *major = properties.major;
    *minor = properties.minor;
    device->info = (aira_device_info){.size = sizeof device->info, .threads = 1};
    snprintf(device->info.name, sizeof device->info.name, "%.60s", properties.name);
    snprintf(device->info.isa, sizeof device->info.isa, "sm_%d%d", properties.major, properties.minor);
    device->info.memory_bytes = properties.totalGlobalMem;
    return AIRA_OK;
}

/* Memory that a training gave back is kept for the next one, up to an eighth of the card: taking it from the driver
   would wait for every stream. */
static aira_status keep_memory(const cuda_device *device) {
    cudaMemPool_t pool = NULL;
    size_t free_bytes = 0, all = 0;
    cudaError_t error = cudaDeviceGetDefaultMemPool(&pool, device->gpu);
    if (error == cudaSuccess) error = cudaMemGetInfo(&free_bytes, &all);
    uint64_t kept = all / 8;
    if (error == cudaSuccess) error = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept);
    return check(device, error, "no memory pool");
}

/* Stream, stage and cuBLASLt of a queue; beside: the device that it is a queue of, NULL: it is the device. */
static aira_status open_queue(cuda_device *device, const cuda_device *beside) {
    aira_status status = enter(device);
    if (!status)
        status = check(device, cudaStreamCreateWithFlags(&device->queue.stream, cudaStreamNonBlocking), "no stream");
    if (status) return status;
    const char *why = gpu_stage_create(device->queue.stream, &device->stage);
    if (why) return fail(device, AIRA_E_FAILED, "no stage for copies", why);
    why = gpu_matmul_create(device->tf32, device->tune, beside ? beside->queue.matmul : NULL, &device->queue.matmul);
    if (why) return fail(device, AIRA_E_FAILED, "cuBLASLt does not start", why);
    device->queue.cudnn = gpu_cudnn_create(device->host, device->use_cudnn, device->deterministic);
    device->queue.tables = gpu_tables_create();
    return device->queue.cudnn && device->queue.tables ? AIRA_OK : fail(device, AIRA_E_MEMORY, "out of memory", NULL);
}

static aira_status cuda_create(const aira_host *host, const void *config_pointer, void **self) {
    const cuda_config *config = config_pointer;
    const char *why = cuda_unavailable();
    cuda_device *device = host->alloc(host, sizeof *device);
    if (!device) return host->fail(host, AIRA_E_MEMORY, "cuda device: out of memory");
    device->host = host;
    device->gpu = (int)config->gpu;
    device->tf32 = config->matmul == 1;
    device->tune = config->tune == 0 ? 0 : config->deterministic != 0 ? GPU_TUNE : GPU_TUNE_ANY_BITS;
    device->use_cudnn = config->attention == 0;
    device->deterministic = config->deterministic != 0;
    device->queue.apart = config->merge == 0;
    device->queue.turn = config->turn >= 0 ? (int)config->turn : config->deterministic != 0 ? 0 : TURN_GFLOP;
    device->watch = gpu_watch_create();
    aira_status status = why ? fail(device, AIRA_E_UNSUPPORTED, why, NULL) : AIRA_OK;
    if (!status && !device->watch) status = fail(device, AIRA_E_MEMORY, "out of memory", NULL);
    if (!status) status = open_queue(device, NULL);
    if (!status) status = keep_memory(device);
    int major = 0, minor = 0;
    if (!status) status = describe(device, &major, &minor);
    if (!status && config->chains == 0) {
        device->queue.compiler = gpu_compiler_create(host, major, minor);
        if (!device->queue.compiler) status = fail(device, AIRA_E_MEMORY, "out of memory", NULL);
    }
    if (!status && config->trace && config->trace[0] && !(device->trace = fopen(config->trace, "a")))
        status = fail(device, AIRA_E_FAILED, "the file of `trace` cannot be written", config->trace);
    if (status)
        cuda_destroy(device);
    else
        *self = device;
    return status;
}

static aira_status queue_open(void *self, void **queue) {
    const cuda_device *first = self;
    cuda_device *device = first->host->alloc(first->host, sizeof *device);
    *queue = NULL;
    if (!device) return fail(first, AIRA_E_MEMORY, "out of memory", NULL);
    *device = (cuda_device){.host = first->host, .gpu = first->gpu, .tf32 = first->tf32, .beside = true};
    device->tune = first->tune;
    device->use_cudnn = first->use_cudnn;
    device->deterministic = first->deterministic;
    device->queue.compiler = first->queue.compiler;
    device->queue.apart = first->queue.apart;
    device->queue.turn = first->queue.turn;
    device->watch = first->watch;
    device->info = first->info;
    aira_status status = open_queue(device, first);
    if (status)
        cuda_destroy(device);
    else
        *queue = device;
    return status;
}

/* --- what it is --------------------------------------------------------------------------------------------------- */

static aira_status cuda_info(void *self, aira_device_info *info) {
    const cuda_device *device = self;
    aira_device_info full = device->info;
    aira_status status = enter(device);
    if (status) return status;
    full.memory_taken = gpu_memory_taken();
    uint32_t size = info->size < full.size ? info->size : full.size;
    full.size = size;
    memcpy(info, &full, size);
    return AIRA_OK;
}

static int32_t cuda_supports(void *self, uint32_t op, const aira_plan_tensor *tensors, uint32_t n_in, uint32_t n_out,
                             const int64_t *i, uint32_t n_i) {
    (void)self;
    (void)i;
    (void)n_i;
    for (uint32_t k = 0; k < n_in + n_out; k++) {
        /* a host with newer headers has longer elements: their size says how long */
        const aira_plan_tensor *t = (const void *)((const char *)tensors + (size_t)k * tensors->size);
        if (t->dtype < AIRA_F32 || t->dtype > AIRA_I32) return 0;
    }
    return gpu_kernel_of(op) != NULL && gpu_kernel_holds(op, tensors);
}

/* --- buffers ------------------------------------------------------------------------------------------------------ */

static aira_status cuda_buffer_create(void *self, uint64_t bytes, void **buffer) {
    cuda_device *device = self;
    char text[200];
    *buffer = NULL;
    aira_status status = enter(device);
    if (status) return status;
    const char *why = gpu_memory_take(device->queue.stream, bytes, "of a buffer", buffer, text, sizeof text);
    if (why) return fail(device, strncmp(why, "out of memory", 13) ? AIRA_E_FAILED : AIRA_E_MEMORY, why, NULL);
    status = check(device, cudaMemsetAsync(*buffer, 0, bytes ? bytes : 1, device->queue.stream),
                   "a buffer is not cleared");
    if (!status) return AIRA_OK;
    gpu_memory_give(device->queue.stream, *buffer);
    *buffer = NULL;
    return status;
}

static void cuda_buffer_destroy(void *self, void *buffer) {
    const cuda_device *device = self;
    gpu_watch_forget(device->watch, buffer);
    if (!enter(device))
        gpu_memory_give(device->queue.stream, buffer); /* the memory goes with the process at the latest */
}

static aira_status queue_upload(void *queue, void *buffer, uint64_t offset, const void *from, uint64_t bytes) {
    cuda_device *device = queue;
    aira_status status = enter(device);
    if (status) return status;
    (void)gpu_watch_wrote(device->watch, buffer);
    const char *why = gpu_stage_upload(device->stage, (char *)buffer + offset, from, bytes);
    return why ? fail(device, AIRA_E_FAILED, "upload failed", why) : AIRA_OK;
}

static aira_status queue_download(void *queue, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    cuda_device *device = queue;
    aira_status status = enter(device);
    if (status) return status;
    const char *why = gpu_stage_download(device->stage, to, (const char *)buffer + offset, bytes);
    return why ? fail(device, AIRA_E_FAILED, "download failed", why) : AIRA_OK;
}

static aira_status queue_finish(void *queue) {
    cuda_device *device = queue;
    aira_status status = enter(device);
    if (status) return status;
    const char *why = gpu_stage_finish(device->stage);
    return why ? fail(device, AIRA_E_FAILED, "the work on the GPU failed", why) : AIRA_OK;
}

static aira_status cuda_upload(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes) {
    aira_status status = queue_upload(self, buffer, offset, from, bytes);
    return status ? status : queue_finish(self);
}

static aira_status cuda_download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    aira_status status = queue_download(self, buffer, offset, to, bytes);
    return status ? status : queue_finish(self);
}

/* --- programs ----------------------------------------------------------------------------------------------------- */

static aira_status cuda_compile(void *self, const aira_plan *plan, void **program) {
    cuda_device *device = self;
    char why[256] = "";
    *program = NULL;
    aira_status status = enter(device);
    if (status) return status;
    *program = gpu_program_create(plan, &device->queue, device->watch, why, sizeof why);
    if (*program) return AIRA_OK;
    return fail(device, strncmp(why, "out of memory", 13) ? AIRA_E_FAILED : AIRA_E_MEMORY, why, NULL);
}

static void cuda_program_destroy(void *self, void *program) {
    if (!enter(self)) gpu_program_destroy(program); /* without its GPU everything is gone anyway */
}

/* What a program cost until its first launch, for those who look for where time goes (AIRA_LOG=debug). */
static void tell_times(const cuda_device *device, const gpu_program *program) {
    char line[500];
    uint32_t n = 0;
    gpu_matmul_figures m = gpu_matmul_figures_of(device->queue.matmul);
    gpu_program_times t = gpu_program_time(program, &n);
    snprintf(
        line, sizeof line,
        "cuda device: a program of %u steps, ms: chains %.2f, merging %.2f, kernels %.2f, memory %.2f, tables %.2f, "
        "capture %.2f, instantiate %.2f, upload %.2f; so far cuBLASLt was asked %u times, %.2f; algorithms of %u "
        "products were tried, %.2f, and %u changed",
        n, t.chains, t.merging, t.kernels, t.memory, t.tables, t.capture, t.instantiate, t.upload, m.asked, m.asked_ms,
        m.tried, m.tried_ms, m.changed);
    device->host->log(device->host, AIRA_LOG_DEBUG, line);
}

static aira_status queue_run(void *queue, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    cuda_device *device = queue;
    aira_status status = enter(device);
    if (status) return status;
    bool first = gpu_program_is_new(program);
    const char *why = gpu_program_start(program, buffers, seed);
    if (!why && first) tell_times(device, program);
    if (!why && first && device->trace) {
        why = gpu_program_trace(program, buffers, device->trace);
        if (!why && fflush(device->trace)) why = "the file of `trace` cannot be written";
    }
    return why ? fail(device, AIRA_E_FAILED, why, NULL) : AIRA_OK;
}

static aira_status cuda_run(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    aira_status status = queue_run(self, program, buffers, seed);
    return status ? status : queue_finish(self);
}

static const aira_device_queue queue_table = {
    .size = sizeof(aira_device_queue),
    .open = queue_open,
    .close = cuda_destroy,
    .upload = queue_upload,
    .download = queue_download,
    .run = queue_run,
    .finish = queue_finish,
};

static const void *extension(const char *id) { return id && !strcmp(id, AIRA_EXT_DEVICE_QUEUE) ? &queue_table : NULL; }

static const aira_device table = {
    .size = sizeof(aira_device),
    .unavailable = cuda_unavailable,
    .info = cuda_info,
    .supports = cuda_supports,
    .buffer_create = cuda_buffer_create,
    .buffer_destroy = cuda_buffer_destroy,
    .upload = cuda_upload,
    .download = cuda_download,
    .compile = cuda_compile,
    .program_destroy = cuda_program_destroy,
    .run = cuda_run,
};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("device", aira_device, &table, "cuda", "1.0.0", "NVIDIA GPUs from sm_80 on", &schema),
    .create = cuda_create,
    .destroy = cuda_destroy,
    .extension = extension,
};
AIRA_MANIFEST("device", "cuda", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
