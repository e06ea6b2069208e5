/* cache.h - compiled kernels on disk, under $XDG_CACHE_HOME/aira/cuda or ~/.cache/aira/cuda.
 *
 * A *pack* is what was compiled at once: the text of its kernels and the binary. Its file is named by a hash of all
 * that the binary depends on. Every kernel has a file beside it, named by a hash of its own text, that says which pack
 * holds it. Files appear whole (they are renamed into place); what is read is verified against the text by the caller.
 * Without a folder, and where files cannot be read or written, there is no cache and all goes on.
 */
#ifndef AIRA_GPU_CACHE_H
#define AIRA_GPU_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gpu_cache {
    char folder[900]; /* "": none */
    char suffix[64];  /* of file names: for which card and by which compiler */
    uint64_t hash[2]; /* of the text before all kernels */
} gpu_cache;

#define GPU_PACK_NAME 40 /* bytes of a pack's name, 0 included */

/* prefix: the text before all kernels; not kept. */
void gpu_cache_open(gpu_cache *cache, const char *prefix, const char *suffix);

/* The name of the pack that holds the kernel of this text. */
bool gpu_cache_find(const gpu_cache *cache, const char *source, char name[GPU_PACK_NAME]);
/* A pack: its text, ended by 0, and its binary, both in one piece of memory that `*text` begins (to be freed). */
bool gpu_cache_read(const gpu_cache *cache, const char *name, char **text, const void **binary);
/* Keeps a pack of n kernels; text is theirs, one after the other. Fills in its name. False with errno: not kept. */
bool gpu_cache_write(const gpu_cache *cache, const char *text, const char *const *sources, uint32_t n,
                     const void *binary, size_t bytes, char name[GPU_PACK_NAME]);

#endif
