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

static aira_plan_tensor *entry(gpu_layout *layout, uint32_t id) {
    return (aira_plan_tensor *)(void *)(layout->tensors + (size_t)id * layout->plan.tensor_stride);
}

static void put(gpu_layout *layout, aira_plan_tensor *t, uint64_t offset) {
    uint64_t end = offset + (uint64_t)gpu_elements(&t->shape) * gpu_bytes_of(t->dtype);
    t->storage = GPU_STORE_OWN;
    t->offset = offset;
    if (end > layout->own_bytes) layout->own_bytes = end;
}

bool gpu_layout_move(gpu_layout *layout, uint32_t id, uint64_t offset) {
    if (!make_room(layout)) return false;
    put(layout, entry(layout, id), offset);
    return true;
}

uint32_t gpu_layout_make(gpu_layout *layout, int64_t rows, int64_t columns) {
    if (!make_room(layout)) return UINT32_MAX;
    aira_plan_tensor *made = entry(layout, layout->plan.n_tensors);
    memset(made, 0, layout->plan.tensor_stride);
    made->size = layout->plan.tensor_stride;
    made->dtype = AIRA_F32;
    made->copies = 1;
    made->shape = (aira_shape){.dims = {rows, columns}, .rank = 2};
    put(layout, made, (layout->own_bytes + 255) & ~255ull);
    return layout->plan.n_tensors++;
}

uint32_t gpu_layout_add(gpu_layout *layout, uint32_t like, uint64_t offset) {
    if (!make_room(layout)) return UINT32_MAX;
    aira_plan_tensor *made = entry(layout, layout->plan.n_tensors);
    memcpy(made, entry(layout, like), layout->plan.tensor_stride);
    put(layout, made, offset);
    return layout->plan.n_tensors++;
}

uint32_t gpu_layout_narrow(gpu_layout *layout, uint32_t like) {
    if (!make_room(layout)) return UINT32_MAX;
    aira_plan_tensor *made = entry(layout, layout->plan.n_tensors);
    memcpy(made, entry(layout, like), layout->plan.tensor_stride);
    made->dtype = AIRA_BF16;
    return layout->plan.n_tensors++;
}

uint32_t gpu_layout_turned(gpu_layout *layout, uint32_t like) {
    if (!make_room(layout)) return UINT32_MAX;
    aira_plan_tensor *made = entry(layout, layout->plan.n_tensors);
    const aira_shape *shape = &entry(layout, like)->shape;
    const int64_t rows = shape->dims[0], columns = shape->dims[1];
    memcpy(made, entry(layout, like), layout->plan.tensor_stride);
    made->shape = (aira_shape){.dims = {columns, rows}, .rank = 2};
    put(layout, made, (layout->own_bytes + 255) & ~255ull);
    return layout->plan.n_tensors++;
}
