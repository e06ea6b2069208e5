/* compiler.c - NVRTC, loaded when it is needed, and the kernels that it made. See generate.h. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "generate.h"

extern const char gpu_scalar_text[]; /* scalar.cuh, made by CMake */

/* The six calls that are used, as in nvrtc.h; 0 is success. */
typedef struct nvrtc {
    void *library;
    int (*version)(int *major, int *minor);
    int (*create)(void **program, const char *source, const char *name, int n, const char *const *headers,
                  const char *const *names);
    int (*compile)(void *program, int n, const char *const *options);
    int (*cubin_size)(void *program, size_t *size);
    int (*cubin)(void *program, char *to);
    int (*destroy)(void **program);
} nvrtc;

#define BUCKETS 256u
#define MOST_PARTS 8u /* compiled beside each other */

/* Kernels that were compiled at once. */
typedef struct pack {
    struct pack *next;
    cudaLibrary_t library;
    char *text; /* of the kernels */
    char name[GPU_PACK_NAME];
} pack;

typedef struct kept {
    struct kept *next;   /* of its bucket */
    cudaKernel_t kernel; /* NULL: it does not compile; interpret */
    uint64_t hash;       /* of the key, which is also in the kernel's name */
    size_t n;
    uint64_t key[]; /* n words */
} kept;

/* A kernel to be compiled. */
typedef struct missing {
    kept *entry;
    char *source;
} missing;

struct gpu_compiler {
    const aira_host *host;
    pthread_mutex_t lock; /* around all that follows, which queues of one device share */
    int major, minor;
    bool looked, warned;
    nvrtc calls;
    kept *kernels[BUCKETS]; /* by hash */
    pack *packs;
    gpu_cache cache;
};

static void warn(gpu_compiler *c, const char *what, const char *why) {
    char line[1200];
    if (c->warned) return;
    c->warned = true;
    snprintf(line, sizeof line, "cuda device: %s%s%s", what, why ? ": " : "", why ? why : "");
    c->host->log(c->host, AIRA_LOG_INFO, line);
}

/* Loading NVRTC to ask for its version takes longer than all that is read here: the runtime that it came with stands
   for it. */
static void open_cache(gpu_compiler *c) {
    int runtime = 0;
    char suffix[64], *prefix = malloc(strlen(gpu_scalar_text) + strlen(gpu_chain_prelude) + 1);
    if (!prefix || cudaRuntimeGetVersion(&runtime) != cudaSuccess) {
        free(prefix);
        return; /* the cache stays without a folder */
    }
    strcat(strcpy(prefix, gpu_scalar_text), gpu_chain_prelude);
    snprintf(suffix, sizeof suffix, "sm%d%d-%d", c->major, c->minor, runtime);
    gpu_cache_open(&c->cache, prefix, suffix);
    free(prefix);
}

gpu_compiler *gpu_compiler_create(const aira_host *host, int major, int minor) {
    gpu_compiler *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    if (pthread_mutex_init(&c->lock, NULL)) {
        free(c);
        return NULL;
    }
    c->host = host;
    c->major = major;
    c->minor = minor;
    open_cache(c);
    return c;
}

void gpu_compiler_destroy(gpu_compiler *c) {
    if (!c) return;
    for (uint32_t b = 0; b < BUCKETS; b++)
        while (c->kernels[b]) {
            kept *k = c->kernels[b];
            c->kernels[b] = k->next;
            free(k);
        }
    while (c->packs) {
        pack *p = c->packs;
        c->packs = p->next;
        (void)cudaLibraryUnload(p->library); /* goes with the process at the latest */
        free(p->text);
        free(p);
    }
    if (c->calls.library) dlclose(c->calls.library);
    (void)pthread_mutex_destroy(&c->lock); /* nobody holds it */
    free(c);
}

static bool find(nvrtc *n, const char *name, void *slot) {
    void *found = dlsym(n->library, name);
    memcpy(slot, &found, sizeof found);
    return found != NULL;
}

static bool look(gpu_compiler *c) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
    nvrtc *n = &c->calls;
    if (c->looked) return n->library != NULL;
    c->looked = true;
    for (size_t k = 0; k < sizeof names / sizeof *names && !n->library; k++)
        n->library = dlopen(names[k], RTLD_NOW | RTLD_LOCAL);
    if (!n->library) {
        warn(c, "no NVRTC here; fused elementwise chains are interpreted, which is slower", NULL);
        return false;
    }
    if (find(n, "nvrtcVersion", &n->version) && find(n, "nvrtcCreateProgram", &n->create) &&
        find(n, "nvrtcCompileProgram", &n->compile) && find(n, "nvrtcGetCUBINSize", &n->cubin_size) &&
        find(n, "nvrtcGetCUBIN", &n->cubin) && find(n, "nvrtcDestroyProgram", &n->destroy))
        return true;
    warn(c, "this NVRTC lacks a call that is needed; fused elementwise chains are interpreted", NULL);
    dlclose(n->library);
    n->library = NULL;
    return false;
}

/* --- packs --- */

/* Takes the text, also when the binary cannot be loaded. */
static const pack *load_pack(gpu_compiler *c, const char *name, char *text, const void *binary) {
    pack *made = calloc(1, sizeof *made);
    cudaError_t error = made ? cudaLibraryLoadData(&made->library, binary, NULL, NULL, 0, NULL, NULL, 0)
                             : cudaErrorMemoryAllocation;
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); /* told here; it must not be found again by a later launch */
        warn(c, "compiled chains cannot be loaded; they are interpreted", cudaGetErrorString(error));
        free(made);
        free(text);
        return NULL;
    }
    made->text = text;
    snprintf(made->name, sizeof made->name, "%s", name);
    made->next = c->packs;
    c->packs = made;
    return made;
}

static void name_kernel(const kept *entry, char name[32]) {
    snprintf(name, 32, "chain_%016llx", (unsigned long long)entry->hash);
}

/* Finds the entry's kernel in a pack that is loaded. */
static bool take_kernel(gpu_compiler *c, const pack *from, kept *entry) {
    char name[32];
    name_kernel(entry, name);
    cudaError_t error = cudaLibraryGetKernel(&entry->kernel, from->library, name);
    if (error == cudaSuccess) return true;
    (void)cudaGetLastError(); /* as above */
    warn(c, "a compiled chain is not where it should be; it is interpreted", cudaGetErrorString(error));
    entry->kernel = NULL;
    return false;
}

static bool from_disk(gpu_compiler *c, const missing *m) {
    char name[GPU_PACK_NAME], *text = NULL;
    const void *binary = NULL;
    if (!gpu_cache_find(&c->cache, m->source, name)) return false;
    const pack *p = c->packs;
    while (p && strcmp(p->name, name)) p = p->next;
    if (!p && gpu_cache_read(&c->cache, name, &text, &binary)) p = load_pack(c, name, text, binary);
    return p && strstr(p->text, m->source) && take_kernel(c, p, m->entry);
}

/* --- compiling --- */

static char *compile(gpu_compiler *c, const char *text, size_t *size) {
    char arch[32], *cubin = NULL;
    char *whole = malloc(strlen(gpu_scalar_text) + strlen(gpu_chain_prelude) + strlen(text) + 1);
    const char *options[] = {arch, "-std=c++17", "-default-device"};
    void *program = NULL;
    if (!whole) return NULL;
    strcat(strcat(strcpy(whole, gpu_scalar_text), gpu_chain_prelude), text);
    snprintf(arch, sizeof arch, "-arch=sm_%d%d", c->major, c->minor);
    int code = c->calls.create(&program, whole, "chain.cu", 0, NULL, NULL);
    if (!code) code = c->calls.compile(program, 3, options);
    if (!code) code = c->calls.cubin_size(program, size);
    if (!code) cubin = malloc(*size);
    if (cubin && c->calls.cubin(program, cubin)) {
        free(cubin);
        cubin = NULL;
    }
    if (program) (void)c->calls.destroy(&program);
    free(whole);
    return cubin;
}

static char *join_sources(const missing *list, uint32_t n) {
    size_t length = 1, at = 0;
    for (uint32_t k = 0; k < n; k++) length += strlen(list[k].source);
    char *text = malloc(length);
    for (uint32_t k = 0; text && k < n; k++) {
        size_t own = strlen(list[k].source);
        memcpy(text + at, list[k].source, own);
        at += own;
    }
    if (text) text[at] = 0;
    return text;
}

static void keep(gpu_compiler *c, const missing *list, uint32_t n, const char *text, const void *cubin, size_t size,
                 char name[GPU_PACK_NAME]) {
    const char **sources = calloc(n, sizeof *sources);
    for (uint32_t k = 0; sources && k < n; k++) sources[k] = list[k].source;
    if (sources && !gpu_cache_write(&c->cache, text, sources, n, cubin, size, name))
        warn(c, "compiled kernels cannot be kept on disk", strerror(errno));
    free(sources);
}

/* Kernels that one thread compiles, as one text. */
typedef struct part {
    gpu_compiler *compiler;
    const missing *list;
    uint32_t n;
    char *text, *cubin; /* cubin: NULL where it does not compile */
    size_t size;
} part;

static void *compile_part(void *part_pointer) {
    part *p = part_pointer;
    p->text = join_sources(p->list, p->n);
    p->cubin = p->text ? compile(p->compiler, p->text, &p->size) : NULL;
    return NULL;
}

/* Keeps and loads what came of a part. What did not compile together is tried one by one, so that only those who are to
   blame are interpreted. */
static void take_part(gpu_compiler *c, part *p) {
    char name[GPU_PACK_NAME] = "";
    if (!p->cubin) {
        free(p->text);
        for (uint32_t k = 0; p->n > 1 && k < p->n; k++) {
            part one = {.compiler = c, .list = &p->list[k], .n = 1};
            (void)compile_part(&one);
            take_part(c, &one);
        }
        if (p->n == 1) warn(c, "NVRTC did not compile a chain; it is interpreted", NULL);
        return;
    }
    keep(c, p->list, p->n, p->text, p->cubin, p->size, name);
    const pack *made = load_pack(c, name, p->text, p->cubin);
    for (uint32_t k = 0; made && k < p->n; k++) (void)take_kernel(c, made, p->list[k].entry);
    free(p->cubin);
}

/* A part for every processor, of two kernels at least: the first costs as much again as the others. */
static void make_all(gpu_compiler *c, const missing *list, uint32_t n) {
    part parts[MOST_PARTS];
    pthread_t threads[MOST_PARTS];
    bool started[MOST_PARTS] = {false};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t n_parts = n < 4 ? 1 : n / 2 < MOST_PARTS ? n / 2 : MOST_PARTS;
    if (processors < 1) processors = 1;
    if (processors < (long)n_parts) n_parts = (uint32_t)processors;
    for (uint32_t k = 0; k < n_parts; k++) {
        uint32_t from = (uint32_t)((uint64_t)n * k / n_parts), to = (uint32_t)((uint64_t)n * (k + 1) / n_parts);
        parts[k] = (part){.compiler = c, .list = list + from, .n = to - from};
        if (k > 0) started[k] = pthread_create(&threads[k], NULL, compile_part, &parts[k]) == 0;
    }
    for (uint32_t k = 0; k < n_parts; k++)
        if (!started[k]) (void)compile_part(&parts[k]);
    for (uint32_t k = 0; k < n_parts; k++) {
        if (started[k]) (void)pthread_join(threads[k], NULL); /* a thread that is there */
        take_part(c, &parts[k]);
    }
}

/* --- kernels by key --- */

static const kept *find_kernel(const gpu_compiler *c, const uint64_t *key, size_t n, uint64_t hash) {
    for (const kept *k = c->kernels[hash % BUCKETS]; k; k = k->next)
        if (k->n == n && !memcmp(k->key, key, n * sizeof *key)) return k;
    return NULL;
}

static size_t key_of(const gpu_chain_wish *wish, uint64_t *key, uint64_t *hash) {
    uint64_t h = 0x9e3779b97f4a7c15ull;
    size_t n = gpu_chain_key(wish->program, wish->vector, wish->batched, key);
    for (size_t k = 0; k < n; k++) {
        h = (h ^ key[k]) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
    }
    *hash = h;
    return n;
}

/* A new entry with its source. */
static bool add_kernel(gpu_compiler *c, const gpu_chain_wish *wish, const uint64_t *key, size_t n, uint64_t hash,
                       missing *made) {
    char name[32];
    made->entry = calloc(1, sizeof *made->entry + n * sizeof *key);
    if (!made->entry) return false;
    memcpy(made->entry->key, key, n * sizeof *key);
    made->entry->n = n;
    made->entry->hash = hash;
    name_kernel(made->entry, name);
    made->source = gpu_chain_source(wish->program, wish->vector, wish->batched, name);
    if (!made->source) {
        free(made->entry);
        return false;
    }
    kept **bucket = &c->kernels[hash % BUCKETS];
    made->entry->next = *bucket;
    *bucket = made->entry;
    return true;
}

static void prepare(gpu_compiler *c, const gpu_chain_wish *wishes, uint32_t n) {
    uint64_t key[GPU_CHAIN_KEY], hash;
    missing *list = calloc((size_t)n + 1, sizeof *list);
    uint32_t lacking = 0;
    for (uint32_t k = 0; list && k < n; k++) {
        size_t words = key_of(&wishes[k], key, &hash);
        if (find_kernel(c, key, words, hash) || !add_kernel(c, &wishes[k], key, words, hash, &list[lacking])) continue;
        if (from_disk(c, &list[lacking]))
            free(list[lacking].source);
        else
            lacking++;
    }
    if (lacking && look(c)) make_all(c, list, lacking);
    for (uint32_t k = 0; k < lacking; k++) free(list[k].source);
    free(list);
}

void gpu_compiler_prepare(gpu_compiler *c, const gpu_chain_wish *wishes, uint32_t n) {
    (void)pthread_mutex_lock(&c->lock); /* a plain mutex that is initialised: it cannot fail */
    if (n > 0) prepare(c, wishes, n);
    (void)pthread_mutex_unlock(&c->lock);
}

cudaKernel_t gpu_compiler_kernel(gpu_compiler *c, const gpu_chain_program *program, int vector, int batched) {
    gpu_chain_wish wish = {program, vector, batched};
    uint64_t key[GPU_CHAIN_KEY], hash;
    size_t n = key_of(&wish, key, &hash);
    (void)pthread_mutex_lock(&c->lock); /* as above */
    const kept *found = find_kernel(c, key, n, hash);
    if (!found) {
        prepare(c, &wish, 1);
        found = find_kernel(c, key, n, hash);
    }
    cudaKernel_t kernel = found ? found->kernel : NULL;
    (void)pthread_mutex_unlock(&c->lock);
    return kernel;
}
