/* core/engine/pool.h - memory that dies together: what a plan consists of. One thread per pool. */
#ifndef AIRA_ENGINE_POOL_H
#define AIRA_ENGINE_POOL_H

#include <stddef.h>

typedef struct aira__pool {
    void *chunks; /* newest first */
    size_t used, size;
} aira__pool;

/* Zeroed memory for n items of the given size, 16-byte aligned, valid until aira__pool_release; n 0 is fine.
   NULL when memory is exhausted. */
void *aira__pool_take(aira__pool *, size_t n, size_t size);
void aira__pool_release(aira__pool *); /* leaves an empty pool */

#endif
