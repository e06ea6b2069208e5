/* cache.c - see cache.h. A pack's file: "<bytes of text>\n<text><binary>"; a kernel's: the pack's name. */
#include "cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1100 };

static void hash_text(const char *text, uint64_t hash[2]) {
    uint64_t a = hash[0], b = hash[1];
    for (const char *s = text; *s; s++) {
        a = (a ^ (uint8_t)*s) * 0x100000001b3ull;
        b = (b ^ (uint8_t)*s) * 0xff51afd7ed558ccdull;
        b ^= b >> 29;
    }
    hash[0] = a;
    hash[1] = b;
}

void gpu_cache_open(gpu_cache *cache, const char *prefix, const char *suffix) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    *cache = (gpu_cache){.hash = {0xcbf29ce484222325ull, 0x9e3779b97f4a7c15ull}};
    size_t size = sizeof cache->folder;
    int n = base && base[0] == '/'   ? snprintf(cache->folder, size, "%s/aira/cuda", base)
            : home && home[0] == '/' ? snprintf(cache->folder, size, "%s/.cache/aira/cuda", home)
                                     : 0;
    if (n < 0 || (size_t)n >= size) cache->folder[0] = 0;
    snprintf(cache->suffix, sizeof cache->suffix, "%s", suffix);
    hash_text(prefix, cache->hash);
}

static void name_of(const gpu_cache *cache, const char *text, char name[GPU_PACK_NAME]) {
    uint64_t hash[2] = {cache->hash[0], cache->hash[1]};
    hash_text(text, hash);
    snprintf(name, GPU_PACK_NAME, "%016llx%016llx", (unsigned long long)hash[0], (unsigned long long)hash[1]);
}

static bool path_of(const gpu_cache *cache, const char *name, const char *kind, char path[PATH]) {
    int n = snprintf(path, PATH, "%s/%s-%s.%s", cache->folder, name, cache->suffix, kind);
    return cache->folder[0] && n > 0 && n < PATH;
}

bool gpu_cache_find(const gpu_cache *cache, const char *source, char name[GPU_PACK_NAME]) {
    char path[PATH], own[GPU_PACK_NAME];
    name_of(cache, source, own);
    if (!path_of(cache, own, "kernel", path)) return false;
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(name, 1, GPU_PACK_NAME - 1, file) : 0;
    name[n] = 0;
    if (file) fclose(file);
    return n > 0 && strspn(name, "0123456789abcdef") == n;
}

bool gpu_cache_read(const gpu_cache *cache, const char *name, char **text, const void **binary) {
    char path[PATH], *memory = NULL;
    size_t length = 0;
    struct stat info;
    if (!path_of(cache, name, "pack", path)) return false;
    FILE *file = fopen(path, "rb");
    bool good = file && !fstat(fileno(file), &info) && fscanf(file, "%zu", &length) == 1 && fgetc(file) == '\n';
    long at = good ? ftell(file) : -1;
    good = good && at > 0 && info.st_size > at && length < (size_t)(info.st_size - at);
    if (good) {
        /* the binary begins at a multiple of 16, behind the text and its 0 */
        size_t bytes = (size_t)(info.st_size - at) - length, begin = (length + 16) & ~(size_t)15;
        memory = malloc(begin + bytes);
        good = memory && fread(memory, 1, length, file) == length && fread(memory + begin, 1, bytes, file) == bytes;
        if (good) {
            memory[length] = 0;
            *text = memory;
            *binary = memory + begin;
        }
    }
    if (file) fclose(file);
    if (!good) free(memory);
    return good;
}

static void make_folders(const char *path) {
    char part[1000];
    for (size_t k = 1; path[k] && k < sizeof part; k++) {
        if (path[k] != '/' && path[k + 1]) continue;
        memcpy(part, path, k + 1);
        part[path[k] == '/' ? k : k + 1] = 0;
        if (mkdir(part, 0700) && errno != EEXIST) return; /* writing will say why */
    }
}

/* A whole file or none; head and body one after the other. */
static bool put(const char *path, const char *head, const void *body, size_t bytes) {
    char temporary[PATH + 32];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    FILE *file = fopen(temporary, "wb");
    bool good = file && fputs(head, file) >= 0 && fwrite(body, 1, bytes, file) == bytes;
    if (file && fclose(file)) good = false;
    if (good && !rename(temporary, path)) return true;
    int why = errno;
    (void)unlink(temporary); /* it may not exist */
    errno = why;
    return false;
}

bool gpu_cache_write(const gpu_cache *cache, const char *text, const char *const *sources, uint32_t n,
                     const void *binary, size_t bytes, char name[GPU_PACK_NAME]) {
    char path[PATH], own[GPU_PACK_NAME], count[32];
    name_of(cache, text, name);
    if (!cache->folder[0]) return true; /* nobody wants one */
    make_folders(cache->folder);
    snprintf(count, sizeof count, "%zu\n", strlen(text));
    char *head = malloc(strlen(count) + strlen(text) + 1);
    bool good = head && path_of(cache, name, "pack", path) &&
                put(path, strcat(strcpy(head, count), text), binary, bytes);
    for (uint32_t k = 0; k < n && good; k++) { /* after the pack is there */
        name_of(cache, sources[k], own);
        good = path_of(cache, own, "kernel", path) && put(path, "", name, strlen(name));
    }
    free(head);
    return good;
}
