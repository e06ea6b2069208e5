/* timed_plan.h - how long a device takes for a plan whose tensors all lie in the buffer for input and output. */
#ifndef AIRA_BENCH_TIMED_PLAN_H
#define AIRA_BENCH_TIMED_PLAN_H

#include <time.h>

#include "../unit/device_harness.h"

/* Writes the operands; of: the case in hand, t: the plan's tensors. */
typedef aira_status timed_fill(test_device *device, void *buffer, const void *of, const aira_plan_tensor *t);

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static uint64_t bytes_of(const aira_plan_tensor *t) {
    uint64_t n = test_bytes(t->dtype);
    for (uint32_t d = 0; d < t->shape.rank; d++) n *= (uint64_t)t->shape.dims[d];
    return n;
}

/* Seconds of one run, the median of `runs` (odd, at most 64) after two that capture and warm up; negative, with
   device->failure set, where something failed. plan: its tensors, steps and their numbers; bytes: of its buffer. */
static double timed_plan(test_device *device, aira_plan plan, uint64_t bytes, timed_fill *fill, const void *of,
                         int runs) {
    void *buffers[AIRA_N_BUFFERS] = {NULL, NULL, NULL}, *program = NULL;
    double times[64], result = -1;
    plan.tensor_stride = sizeof(aira_plan_tensor);
    plan.step_stride = sizeof(aira_plan_step);
    plan.block_stride = sizeof(aira_plan_block);
    plan.bytes[AIRA_STORE_IO] = bytes;
    aira_status status = device->table->buffer_create(device->self, 64, &buffers[AIRA_STORE_ARENA]);
    if (!status) status = device->table->buffer_create(device->self, 64, &buffers[AIRA_STORE_PERSISTENT]);
    if (!status) status = device->table->buffer_create(device->self, bytes, &buffers[AIRA_STORE_IO]);
    if (!status) status = fill(device, buffers[AIRA_STORE_IO], of, plan.tensors);
    if (!status) status = device->table->compile(device->self, &plan, &program);
    for (int run = -2; run < runs && !status; run++) {
        double begin = seconds_now();
        status = device->table->run(device->self, program, buffers, 0);
        if (run >= 0) times[run] = seconds_now() - begin;
    }
    if (!status) {
        qsort(times, (size_t)runs, sizeof *times, by_size);
        result = times[runs / 2];
    }
    if (program) device->table->program_destroy(device->self, program);
    for (uint32_t k = 0; k < AIRA_N_BUFFERS; k++) device->table->buffer_destroy(device->self, buffers[k]);
    return result;
}

#endif
