/* aira/ext/queue.h - extension "aira.device.queue/1" of a device: several queues of work on one device, each of which
 * takes work without waiting for it to be done.
 *
 * A queue is a self of the device: every call of the device's table takes one. The self that plugin.create makes is a
 * queue; open() makes more, which have what a running program must not share (stream, workspace) for themselves and
 * share the rest (compiled kernels). Work of one queue is done in the order of its calls, those of the device's table
 * included; queues do not wait for each other, and what a program computes does not depend on what other queues do.
 *
 * Threads: one queue is used by one thread at a time; different queues by different threads at once. Buffers and
 * programs belong to the queue that made them.
 */
#ifndef AIRA_EXT_QUEUE_H
#define AIRA_EXT_QUEUE_H

#include "../device.h"

#define AIRA_EXT_DEVICE_QUEUE "aira.device.queue/1"

typedef struct aira_device_queue {
    uint32_t size, reserved;
    /* Another queue beside self, which outlives it. [any thread] */
    aira_status (*open)(void *self, void **queue);
    /* Ends a queue that open() made; its buffers and programs are gone before. */
    void (*close)(void *queue);
    /* As the device's calls of these names, but they may return before it is done. upload: the bytes of `from` are
       taken when it returns. download: `to` is filled once finish() has returned. */
    aira_status (*upload)(void *queue, void *buffer, uint64_t offset, const void *from, uint64_t bytes);
    aira_status (*download)(void *queue, void *buffer, uint64_t offset, void *to, uint64_t bytes);
    aira_status (*run)(void *queue, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed);
    /* Waits for all of the queue's work; what failed meanwhile is told here. */
    aira_status (*finish)(void *queue);
} aira_device_queue;

#endif
