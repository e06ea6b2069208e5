/* stage.c - pinned memory that is filled from its start and empty again after each finish. See stage.h. */
#include "stage.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_BYTES ((size_t)8 << 20) /* about 60 batches of 128 rows of 128 tokens */

typedef struct wanted { /* a download that finish hands over */
    void *to;
    const char *from; /* in the stage */
    size_t bytes;
} wanted;

struct gpu_stage {
    cudaStream_t stream;
    cudaEvent_t done;
    char *memory; /* pinned; allocated when it is needed */
    size_t used;
    wanted *list;
    size_t n, capacity;
};

static const char *sentence(cudaError_t error) { return error == cudaSuccess ? NULL : cudaGetErrorString(error); }

const char *gpu_stage_create(cudaStream_t stream, gpu_stage **out) {
    gpu_stage *stage = calloc(1, sizeof *stage);
    *out = stage;
    if (!stage) return "out of memory";
    stage->stream = stream;
    /* a thread that waits must not take a core from those that have work to hand over */
    return sentence(cudaEventCreateWithFlags(&stage->done, cudaEventBlockingSync | cudaEventDisableTiming));
}

void gpu_stage_destroy(gpu_stage *stage) {
    if (!stage) return;
    /* what cannot be released now is released with the process */
    if (stage->done) (void)cudaEventDestroy(stage->done);
    if (stage->memory) (void)cudaFreeHost(stage->memory);
    free(stage->list);
    free(stage);
}

/* Room for so many bytes, which fit; waits when the rest of the stage is too small. */
static const char *take(gpu_stage *stage, size_t bytes, char **place) {
    const char *why = NULL;
    if (!stage->memory) why = sentence(cudaMallocHost((void **)&stage->memory, STAGE_BYTES));
    if (!why && stage->used + bytes > STAGE_BYTES) why = gpu_stage_finish(stage);
    if (why) return why;
    *place = stage->memory + stage->used;
    stage->used += (bytes + 63) & ~(size_t)63;
    return NULL;
}

const char *gpu_stage_upload(gpu_stage *stage, void *to, const void *from, size_t bytes) {
    char *place = NULL;
    if (bytes > STAGE_BYTES) { /* from may change when this returns */
        const char *why = sentence(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stage->stream));
        return why ? why : gpu_stage_finish(stage);
    }
    const char *why = take(stage, bytes, &place);
    if (why) return why;
    memcpy(place, from, bytes);
    return sentence(cudaMemcpyAsync(to, place, bytes, cudaMemcpyHostToDevice, stage->stream));
}

static const char *remember(gpu_stage *stage, void *to, const char *from, size_t bytes) {
    if (stage->n == stage->capacity) {
        size_t capacity = stage->capacity ? 2 * stage->capacity : 64;
        wanted *list = realloc(stage->list, capacity * sizeof *list);
        if (!list) return "out of memory";
        stage->list = list;
        stage->capacity = capacity;
    }
    stage->list[stage->n++] = (wanted){to, from, bytes};
    return NULL;
}

const char *gpu_stage_download(gpu_stage *stage, void *to, const void *from, size_t bytes) {
    char *place = NULL;
    if (bytes > STAGE_BYTES) {
        const char *why = sentence(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stage->stream));
        return why ? why : gpu_stage_finish(stage);
    }
    const char *why = take(stage, bytes, &place);
    if (!why) why = sentence(cudaMemcpyAsync(place, from, bytes, cudaMemcpyDeviceToHost, stage->stream));
    return why ? why : remember(stage, to, place, bytes);
}

const char *gpu_stage_finish(gpu_stage *stage) {
    const char *why = sentence(cudaEventRecord(stage->done, stage->stream));
    if (!why) why = sentence(cudaEventSynchronize(stage->done));
    for (size_t k = 0; k < stage->n && !why; k++) memcpy(stage->list[k].to, stage->list[k].from, stage->list[k].bytes);
    stage->n = stage->used = 0;
    return why;
}
