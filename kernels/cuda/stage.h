/* stage.h - copies between host and device that the host does not wait for.
 *
 * They go through pinned memory: bytes to upload are put there at once, downloaded ones are handed over when the stream
 * has been waited for. When the stage is full, it waits by itself.
 */
#ifndef AIRA_GPU_STAGE_H
#define AIRA_GPU_STAGE_H

#include <cuda_runtime_api.h>

typedef struct gpu_stage gpu_stage;

/* The stream outlives the stage. */
const char *gpu_stage_create(cudaStream_t stream, gpu_stage **out);
void gpu_stage_destroy(gpu_stage *stage);
const char *gpu_stage_upload(gpu_stage *stage, void *to, const void *from, size_t bytes);
/* to is filled by finish. */
const char *gpu_stage_download(gpu_stage *stage, void *to, const void *from, size_t bytes);
/* Waits for the stream, asleep, and hands over what was downloaded. */
const char *gpu_stage_finish(gpu_stage *stage);

#endif
