/* watched_device.h - a device that hands every call on to another and adds up where the time goes, from graphs to the
 * first finished step. One training at a time.
 *
 * Milliseconds of the parts, in the order in which they happen: `graphs` until the first buffer is made (graphs built,
 * differentiated, planned); `buffers`; `programs` (the device's compile); `initial` values, drawn and uploaded; `rows`
 * of data, drawn and uploaded; `run`, until the call returns (capture and launch); `wait`, until the results are there.
 */
#ifndef AIRA_TESTS_WATCHED_DEVICE_H
#define AIRA_TESTS_WATCHED_DEVICE_H

#include "aira/ext/queue.h"
#include "core/base/clock.h"
#include "core/base/json.h"

enum { WATCH_GRAPHS, WATCH_BUFFERS, WATCH_PROGRAMS, WATCH_INITIAL, WATCH_ROWS, WATCH_RUN, WATCH_WAIT, WATCH_PARTS };

typedef struct watched {
    const aira_device *device;
    const aira_device_queue *queue; /* NULL: it has none */
    void *self;
    aira_device table; /* the training's device is this one, its self the watched */
    aira_device_queue queues;
    double mark, seconds[WATCH_PARTS];
} watched;

/* What has passed since the last mark belongs to `part`. */
static inline void watch(watched *w, int part) {
    double now = aira__now();
    w->seconds[part] += now - w->mark;
    w->mark = now;
}

static inline aira_status watched_info(void *self, aira_device_info *info) {
    const watched *w = self;
    return w->device->info(w->self, info);
}
static inline int32_t watched_supports(void *self, uint32_t op, const aira_plan_tensor *tensors, uint32_t n_in,
                                       uint32_t n_out, const int64_t *i, uint32_t n_i) {
    const watched *w = self;
    return w->device->supports(w->self, op, tensors, n_in, n_out, i, n_i);
}
static inline aira_status watched_buffer_create(void *self, uint64_t bytes, void **buffer) {
    watched *w = self;
    watch(w, w->seconds[WATCH_BUFFERS] > 0 ? WATCH_BUFFERS : WATCH_GRAPHS);
    aira_status status = w->device->buffer_create(w->self, bytes, buffer);
    watch(w, WATCH_BUFFERS);
    return status;
}
static inline void watched_buffer_destroy(void *self, void *buffer) {
    watched *w = self;
    w->device->buffer_destroy(w->self, buffer);
}
static inline aira_status watched_upload(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes) {
    const watched *w = self;
    return w->device->upload(w->self, buffer, offset, from, bytes);
}
static inline aira_status watched_download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    const watched *w = self;
    return w->device->download(w->self, buffer, offset, to, bytes);
}
static inline aira_status watched_compile(void *self, const aira_plan *plan, void **program) {
    watched *w = self;
    watch(w, WATCH_BUFFERS);
    aira_status status = w->device->compile(w->self, plan, program);
    watch(w, WATCH_PROGRAMS);
    return status;
}
static inline void watched_program_destroy(void *self, void *program) {
    watched *w = self;
    w->device->program_destroy(w->self, program);
}
static inline aira_status watched_run(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    watched *w = self;
    watch(w, WATCH_ROWS);
    aira_status status = w->device->run(w->self, program, buffers, seed);
    watch(w, WATCH_RUN);
    return status;
}

static inline aira_status watched_queue_upload(void *self, void *buffer, uint64_t offset, const void *from,
                                               uint64_t bytes) {
    const watched *w = self;
    return w->queue->upload(w->self, buffer, offset, from, bytes);
}
static inline aira_status watched_queue_download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    const watched *w = self;
    return w->queue->download(w->self, buffer, offset, to, bytes);
}
static inline aira_status watched_queue_run(void *self, void *program, void *const buffers[AIRA_N_BUFFERS],
                                            uint64_t seed) {
    watched *w = self;
    watch(w, WATCH_ROWS);
    aira_status status = w->queue->run(w->self, program, buffers, seed);
    watch(w, WATCH_RUN);
    return status;
}
static inline aira_status watched_queue_finish(void *self) {
    const watched *w = self;
    return w->queue->finish(w->self);
}

/* w stays where it is while a training uses it; the first part begins now. queue may be NULL. */
static inline void watch_begin(watched *w, const aira_device *device, const aira_device_queue *queue, void *self) {
    *w = (watched){.device = device, .queue = queue, .self = self, .mark = aira__now()};
    w->table = (aira_device){.size = sizeof w->table,
                             .flags = device->flags,
                             .unavailable = device->unavailable,
                             .info = watched_info,
                             .supports = watched_supports,
                             .buffer_create = watched_buffer_create,
                             .buffer_destroy = watched_buffer_destroy,
                             .upload = watched_upload,
                             .download = watched_download,
                             .compile = watched_compile,
                             .program_destroy = watched_program_destroy,
                             .run = watched_run};
    w->queues = (aira_device_queue){.size = sizeof w->queues,
                                    .upload = watched_queue_upload,
                                    .download = watched_queue_download,
                                    .run = watched_queue_run,
                                    .finish = watched_queue_finish};
}

static inline double watch_total(const watched *w) { /* ms */
    double all = 0;
    for (int k = 0; k < WATCH_PARTS; k++) all += w->seconds[k];
    return 1000 * all;
}

static inline json_t *watch_json(const watched *w) { /* ms */
    const double *s = w->seconds;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "graphs", 1000 * s[WATCH_GRAPHS], "buffers",
                     1000 * s[WATCH_BUFFERS], "programs", 1000 * s[WATCH_PROGRAMS], "initial", 1000 * s[WATCH_INITIAL],
                     "rows", 1000 * s[WATCH_ROWS], "run", 1000 * s[WATCH_RUN], "wait", 1000 * s[WATCH_WAIT]);
}

#endif
