/* core/engine/pool.c - a bump allocator; see pool.h.
 *
 * Chunks of at least 64 KiB in a singly linked list; an item that is larger gets a chunk of its own.
 */
#include "core/engine/pool.h"

#include <stdint.h>
#include <stdlib.h>

#define CHUNK ((size_t)65536)

typedef struct chunk {
    struct chunk *next;
    size_t padding; /* keeps data 16-byte aligned */
    unsigned char data[];
} chunk;

void *aira__pool_take(aira__pool *pool, size_t n, size_t size) {
    if (size != 0 && n > (SIZE_MAX - 2 * CHUNK) / size) return NULL;
    size_t bytes = (n * size + 15) & ~(size_t)15;
    if (bytes == 0) bytes = 16;
    if (pool->chunks == NULL || pool->size - pool->used < bytes) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        chunk *fresh = calloc(1, sizeof *fresh + room);
        if (fresh == NULL) return NULL;
        fresh->next = pool->chunks;
        pool->chunks = fresh;
        pool->used = 0;
        pool->size = room;
    }
    void *item = ((chunk *)pool->chunks)->data + pool->used;
    pool->used += bytes;
    return item;
}

void aira__pool_release(aira__pool *pool) {
    for (chunk *c = pool->chunks; c != NULL;) {
        chunk *next = c->next;
        free(c);
        c = next;
    }
    *pool = (aira__pool){NULL, 0, 0};
}
