/* pool.c - persistent worker threads, and scratch memory that grows to what the kernels need.
 *
 * A job is a number of tiles. Every worker starts with its own contiguous share (so that it finds in its cache what it
 * wrote in the step before) and then takes what is left of the others'. Who runs a tile is a matter of timing; what a
 * tile computes is not. Workers spin for a moment before they sleep, because steps follow each other closely.
 */
#include "cpu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPIN 2000
#define MAX_BLOCKS 40u
#define FIRST_BLOCK ((size_t)1 << 20)

struct cpu_worker {
    _Alignas(64) atomic_llong next; /* first tile of its share that nobody has taken */
    int64_t end;
    cpu_pool *pool;
    unsigned index;
    bool inside; /* running a body */
    char *blocks[MAX_BLOCKS];
    size_t sizes[MAX_BLOCKS];
    unsigned block; /* block in use */
    size_t used;    /* bytes used in it */
    pthread_t thread;
};

struct cpu_pool {
    unsigned threads, started;
    cpu_worker *workers;
    cpu_body body;
    void *job;
    atomic_uint generation; /* counts jobs; workers wait for it to move */
    atomic_uint running;    /* workers that have not finished the job */
    atomic_bool stop, exhausted;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void take_tiles(cpu_worker *self) {
    cpu_pool *pool = self->pool;
    self->inside = true;
    for (unsigned k = 0; k < pool->threads; k++) {
        cpu_worker *owner = &pool->workers[(self->index + k) % pool->threads];
        for (;;) {
            int64_t tile = atomic_fetch_add_explicit(&owner->next, 1, memory_order_relaxed);
            if (tile >= owner->end) break;
            pool->body(pool->job, tile, self);
        }
    }
    self->inside = false;
}

static void *worker_main(void *argument) {
    cpu_worker *self = argument;
    cpu_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPIN && atomic_load(&pool->generation) == seen; spin++) relax();
        if (atomic_load(&pool->generation) == seen) {
            pthread_mutex_lock(&pool->lock);
            while (atomic_load(&pool->generation) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
            pthread_mutex_unlock(&pool->lock);
        }
        seen = atomic_load(&pool->generation);
        if (atomic_load(&pool->stop)) return NULL;
        take_tiles(self);
        if (atomic_fetch_sub(&pool->running, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void publish(cpu_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void cpu_parallel(cpu_worker *self, int64_t tiles, cpu_body body, void *job) {
    cpu_pool *pool = self->pool;
    if (self->inside || pool->threads == 1 || tiles <= 1) {
        for (int64_t tile = 0; tile < tiles; tile++) body(job, tile, self);
        return;
    }
    for (unsigned k = 0; k < pool->threads; k++) {
        atomic_store(&pool->workers[k].next, tiles * k / pool->threads);
        pool->workers[k].end = tiles * (k + 1) / pool->threads;
    }
    pool->body = body;
    pool->job = job;
    atomic_store(&pool->running, pool->threads - 1);
    publish(pool);
    take_tiles(self);
    for (int spin = 0; spin < SPIN && atomic_load(&pool->running); spin++) relax();
    if (atomic_load(&pool->running)) {
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->running)) pthread_cond_wait(&pool->done, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
}

cpu_pool *cpu_pool_create(unsigned threads) {
    cpu_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->workers = aligned_alloc(64, threads * sizeof *pool->workers);
    if (!pool->workers) {
        free(pool);
        return NULL;
    }
    for (unsigned k = 0; k < threads; k++) pool->workers[k] = (cpu_worker){.pool = pool, .index = k};
    pool->threads = threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (unsigned k = 1; k < threads; k++) {
        if (pthread_create(&pool->workers[k].thread, NULL, worker_main, &pool->workers[k]) != 0) {
            cpu_pool_destroy(pool);
            return NULL;
        }
        pool->started = k;
    }
    return pool;
}

void cpu_pool_destroy(cpu_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    publish(pool);
    for (unsigned k = 1; k <= pool->started; k++) pthread_join(pool->workers[k].thread, NULL);
    for (unsigned k = 0; k < pool->threads; k++) {
        for (unsigned b = 0; b < MAX_BLOCKS; b++) free(pool->workers[k].blocks[b]);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    free(pool->workers);
    free(pool);
}

cpu_worker *cpu_pool_caller(cpu_pool *pool) { return &pool->workers[0]; }
unsigned cpu_pool_threads(const cpu_pool *pool) { return pool->threads; }
bool cpu_pool_exhausted(cpu_pool *pool) { return atomic_exchange(&pool->exhausted, false); }

cpu_mark cpu_scratch_mark(const cpu_worker *worker) { return (cpu_mark){worker->block, worker->used}; }

void cpu_release(cpu_worker *worker, cpu_mark mark) {
    worker->block = mark.block;
    worker->used = mark.used;
}

/* Blocks double in size, so that a handful serves any program; a block that is too small is skipped, and replaced when
   nothing of it is in use. */
void *cpu_alloc(cpu_worker *worker, size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    for (unsigned b = worker->block; b < MAX_BLOCKS; b++) {
        size_t used = b == worker->block ? worker->used : 0;
        if (used == 0 && worker->sizes[b] < bytes) {
            size_t size = FIRST_BLOCK << (b < 20 ? b : 20);
            while (size < bytes) size *= 2;
            free(worker->blocks[b]);
            worker->blocks[b] = aligned_alloc(64, size);
            worker->sizes[b] = worker->blocks[b] ? size : 0;
            if (!worker->blocks[b]) break;
        }
        if (worker->sizes[b] - used >= bytes) {
            worker->block = b;
            worker->used = used + bytes;
            return worker->blocks[b] + used;
        }
    }
    atomic_store(&worker->pool->exhausted, true);
    return NULL;
}
