/* layout.c - see layout.h */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

void gpu_layout_open(gpu_layout *layout, const aira_plan *plan) { *layout = (gpu_layout){.plan = *plan}; }

void gpu_layout_close(gpu_layout *layout) {
    free(layout->tensors);
    layout->tensors = NULL;
}

static bool make_room(gpu_layout *layout) {
    aira_plan *plan = &layout->plan;
    size_t stride = plan->tensor_stride;
    if (layout->tensors && plan->n_tensors < layout->room) return true;
    uint32_t room = plan->n_tensors + plan->n_tensors / 2 + 64;
    char *more = realloc(layout->tensors, room * stride);
    if (!more) return false;
    if (!layout->tensors) memcpy(more, plan->tensors, plan->n_tensors * stride);
    layout->tensors = more;
    layout->room = room;
    plan->tensors = (const aira_plan_tensor *)(const void *)more;
    return true;
}

uint32_t gpu_layout_add(gpu_layout *layout, uint32_t like, uint64_t offset) {
    aira_plan *plan = &layout->plan;
    if (!make_room(layout)) return UINT32_MAX;
    size_t stride = plan->tensor_stride;
    aira_plan_tensor *made = (aira_plan_tensor *)(void *)(layout->tensors + plan->n_tensors * stride);
    memcpy(made, layout->tensors + like * stride, stride);
    made->storage = GPU_STORE_OWN;
    made->offset = offset;
    uint64_t end = offset + (uint64_t)gpu_elements(&made->shape) * gpu_bytes_of(made->dtype);
    if (end > layout->own_bytes) layout->own_bytes = end;
    return plan->n_tensors++;
}
