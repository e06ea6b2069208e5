/* memory.h - device memory of a stream's pool.
 *
 * It is taken and given back in the order of the stream's work, so that a training that begins or ends does not wait
 * for other streams.
 */
#ifndef AIRA_GPU_MEMORY_H
#define AIRA_GPU_MEMORY_H

#include <cuda_runtime_api.h>

/* NULL, or a sentence in why (size bytes); it begins with "out of memory" and says what was asked for and what is free
   where that is the reason. what: "of workspace". */
const char *gpu_memory_take(cudaStream_t stream, size_t bytes, const char *what, void **out, char *why, size_t size);
void gpu_memory_give(cudaStream_t stream, void *memory);
/* Memory that was given back is kept for the next one who asks, up to an eighth of the card: taking it from the driver
   costs more. For the GPU that is in use. */
cudaError_t gpu_memory_keep(void);

#endif
