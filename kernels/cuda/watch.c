/* watch.c - see watch.h. Numbers are never used twice, so that a buffer at an old address is another one. */
#include "watch.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct watched {
    const void *buffer;
    uint64_t number;
} watched;

struct gpu_watch {
    pthread_mutex_t lock;
    watched *list; /* a few: one for every session of a large model */
    uint32_t n, room;
    uint64_t last; /* number given out */
};

gpu_watch *gpu_watch_create(void) {
    gpu_watch *watch = calloc(1, sizeof *watch);
    if (watch && pthread_mutex_init(&watch->lock, NULL)) {
        free(watch);
        return NULL;
    }
    return watch;
}

void gpu_watch_destroy(gpu_watch *watch) {
    if (!watch) return;
    (void)pthread_mutex_destroy(&watch->lock);
    free(watch->list);
    free(watch);
}

static watched *find(gpu_watch *watch, const void *buffer) {
    for (uint32_t k = 0; k < watch->n; k++)
        if (watch->list[k].buffer == buffer) return &watch->list[k];
    return NULL;
}

static watched *add(gpu_watch *watch, const void *buffer) {
    if (watch->n == watch->room) {
        uint32_t room = 2 * watch->room + 4;
        watched *more = realloc(watch->list, room * sizeof *more);
        if (!more) return NULL;
        watch->list = more;
        watch->room = room;
    }
    watch->list[watch->n] = (watched){buffer, ++watch->last};
    return &watch->list[watch->n++];
}

uint64_t gpu_watch_number(gpu_watch *watch, const void *buffer) {
    if (!watch) return 0;
    (void)pthread_mutex_lock(&watch->lock);
    const watched *w = find(watch, buffer);
    if (!w) w = add(watch, buffer);
    uint64_t number = w ? w->number : 0;
    (void)pthread_mutex_unlock(&watch->lock);
    return number;
}

uint64_t gpu_watch_wrote(gpu_watch *watch, const void *buffer) {
    if (!watch) return 0;
    (void)pthread_mutex_lock(&watch->lock);
    watched *w = find(watch, buffer);
    uint64_t number = w ? w->number = ++watch->last : 0;
    (void)pthread_mutex_unlock(&watch->lock);
    return number;
}

void gpu_watch_forget(gpu_watch *watch, const void *buffer) {
    if (!watch) return;
    (void)pthread_mutex_lock(&watch->lock);
    watched *w = find(watch, buffer);
    if (w) *w = watch->list[--watch->n];
    (void)pthread_mutex_unlock(&watch->lock);
}
