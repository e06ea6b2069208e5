/* layout.h - a plan's tensors, and further ones in memory that a program holds itself.
 *
 * The planner reuses the arena so closely that a merged step may find no room for a result at the time it runs. Such a
 * result moves into the program's own memory (storage GPU_STORE_OWN), and its readers are told.
 */
#ifndef AIRA_GPU_LAYOUT_H
#define AIRA_GPU_LAYOUT_H

#include <stdbool.h>

#include "gpu.h"

#define GPU_STORE_OWN 4u /* beyond AIRA_STORE_CHAIN */
#define GPU_N_BUFFERS 5u

typedef struct gpu_layout {
    aira_plan plan; /* as it was planned; its table of tensors may be continued */
    char *tensors;  /* the continued table; NULL: nothing was added */
    uint32_t room;
    uint64_t own_bytes;
} gpu_layout;

void gpu_layout_open(gpu_layout *layout, const aira_plan *plan);
void gpu_layout_close(gpu_layout *layout);
/* Tensor id lies at this offset of the own memory, which grows to hold it. False: out of memory. */
bool gpu_layout_move(gpu_layout *layout, uint32_t id, uint64_t offset);
/* A matrix of floats in own memory behind all that is there. UINT32_MAX: out of memory. */
uint32_t gpu_layout_make(gpu_layout *layout, int64_t rows, int64_t columns);
/* A tensor like another, at this offset of the own memory, which grows to hold it. UINT32_MAX: out of memory. */
uint32_t gpu_layout_add(gpu_layout *layout, uint32_t like, uint64_t offset);
/* A matrix like another, transposed, in own memory behind all that is there. UINT32_MAX: out of memory. */
uint32_t gpu_layout_turned(gpu_layout *layout, uint32_t like);
/* A tensor like another, at the same place, but bf16. UINT32_MAX: out of memory. */
uint32_t gpu_layout_narrow(gpu_layout *layout, uint32_t like);

#endif
