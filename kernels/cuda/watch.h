/* watch.h - has anybody written into a buffer since?
 *
 * A program whose copies of weights stay from run to run (kept.h) asks for a number that changes whenever the buffer of
 * variables is written: by the host, by another program, or by a new buffer at the same address. Queues beside each
 * other share one watch; any thread may call.
 */
#ifndef AIRA_GPU_WATCH_H
#define AIRA_GPU_WATCH_H

#include <stdint.h>

typedef struct gpu_watch gpu_watch;

gpu_watch *gpu_watch_create(void); /* NULL: out of memory */
void gpu_watch_destroy(gpu_watch *watch);
/* The number of what the buffer holds now; it is watched from here on. 0: out of memory. */
uint64_t gpu_watch_number(gpu_watch *watch, const void *buffer);
/* Somebody writes into the buffer: its new number, 0 where nobody asked for it yet. */
uint64_t gpu_watch_wrote(gpu_watch *watch, const void *buffer);
/* The buffer is given back. */
void gpu_watch_forget(gpu_watch *watch, const void *buffer);

#endif
