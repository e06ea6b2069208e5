/* compiler.c - NVRTC, loaded when it is needed, and the cache of what it compiled. See generate.h. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

typedef struct kept {
    struct kept *next; /* of its bucket */
    cudaLibrary_t library;
    cudaKernel_t kernel; /* NULL: it does not compile; interpret */
    size_t n;
    uint64_t key[]; /* n words */
} kept;

struct gpu_compiler {
    const aira_host *host;
    pthread_mutex_t lock; /* around gpu_compiler_kernel, which queues of one device share */
    int major, minor;
    bool looked, warned;
    nvrtc calls;
    kept *kernels[BUCKETS];  /* by hash of their keys */
    uint64_t scalar_hash[2]; /* of gpu_scalar_text */
    char folder[900];        /* "" : none */
};

static void warn(gpu_compiler *c, const char *what, const char *why) {
    char line[1200];
    if (c->warned) return;
    c->warned = true;
    snprintf(line, sizeof line, "cuda device: %s%s%s", what, why ? ": " : "", why ? why : "");
    c->host->log(c->host, AIRA_LOG_INFO, line);
}

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

gpu_compiler *gpu_compiler_create(const aira_host *host, int major, int minor) {
    gpu_compiler *c = calloc(1, sizeof *c);
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (!c) return NULL;
    if (pthread_mutex_init(&c->lock, NULL)) {
        free(c);
        return NULL;
    }
    c->host = host;
    c->major = major;
    c->minor = minor;
    int n = cache && cache[0] == '/' ? snprintf(c->folder, sizeof c->folder, "%s/aira/cuda", cache)
            : home && home[0] == '/' ? snprintf(c->folder, sizeof c->folder, "%s/.cache/aira/cuda", home)
                                     : 0;
    if (n < 0 || (size_t)n >= sizeof c->folder) c->folder[0] = 0;
    c->scalar_hash[0] = 0xcbf29ce484222325ull;
    c->scalar_hash[1] = 0x9e3779b97f4a7c15ull;
    hash_text(gpu_scalar_text, c->scalar_hash);
    return c;
}

void gpu_compiler_destroy(gpu_compiler *c) {
    if (!c) return;
    for (uint32_t b = 0; b < BUCKETS; b++)
        while (c->kernels[b]) {
            kept *k = c->kernels[b];
            c->kernels[b] = k->next;
            if (k->library) (void)cudaLibraryUnload(k->library); /* goes with the process at the latest */
            free(k);
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

/* --- the cache on disk: "<bytes of source>\n<source><cubin>" --------------------------------------------------------
 */

static bool cache_path(const gpu_compiler *c, const char *source, char *path, size_t size) {
    int major = 0, minor = 0;
    uint64_t hash[2] = {c->scalar_hash[0], c->scalar_hash[1]};
    if (!c->folder[0] || c->calls.version(&major, &minor)) return false;
    hash_text(source, hash);
    int n = snprintf(path, size, "%s/%016llx%016llx-sm%d%d-%d.%d.bin", c->folder, (unsigned long long)hash[0],
                     (unsigned long long)hash[1], c->major, c->minor, major, minor);
    return n > 0 && (size_t)n < size;
}

static char *read_cached(const gpu_compiler *c, const char *source, size_t *size) {
    char path[1100], *cubin = NULL;
    size_t n = 0, length = strlen(source);
    long end = 0;
    if (!cache_path(c, source, path, sizeof path)) return NULL;
    FILE *file = fopen(path, "rb");
    char *same = malloc(length + 1);
    if (file && same && fscanf(file, "%zu", &n) == 1 && n == length && fgetc(file) == '\n' &&
        fread(same, 1, length, file) == length && !memcmp(same, source, length)) {
        long at = ftell(file);
        if (at > 0 && !fseek(file, 0, SEEK_END) && (end = ftell(file)) > at && !fseek(file, at, SEEK_SET)) {
            *size = (size_t)(end - at);
            cubin = malloc(*size);
            if (cubin && fread(cubin, 1, *size, file) != *size) {
                free(cubin);
                cubin = NULL;
            }
        }
    }
    if (file) fclose(file);
    free(same);
    return cubin;
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

static void write_cached(gpu_compiler *c, const char *source, const char *cubin, size_t size) {
    char path[1100], temporary[1200];
    if (!cache_path(c, source, path, sizeof path)) return;
    make_folders(c->folder);
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    FILE *file = fopen(temporary, "wb");
    bool good = file && fprintf(file, "%zu\n", strlen(source)) > 0 && fputs(source, file) >= 0 &&
                fwrite(cubin, 1, size, file) == size;
    if (file && fclose(file)) good = false;
    if (good && rename(temporary, path)) good = false;
    if (good) return;
    warn(c, "compiled kernels cannot be kept on disk", strerror(errno));
    (void)unlink(temporary); /* it may not exist */
}

/* --- compiling ------------------------------------------------------------------------------------------------------
 */

static char *compile(gpu_compiler *c, const char *source, size_t *size) {
    char arch[32], *cubin = NULL, *whole = malloc(strlen(gpu_scalar_text) + strlen(source) + 1);
    const char *options[] = {arch, "-std=c++17", "-default-device"};
    void *program = NULL;
    if (!whole) return NULL;
    strcat(strcpy(whole, gpu_scalar_text), source);
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

static cudaKernel_t make(gpu_compiler *c, const char *source, kept *entry) {
    size_t size = 0;
    char *cubin = read_cached(c, source, &size);
    bool fresh = !cubin;
    cudaKernel_t kernel = NULL;
    if (fresh) cubin = compile(c, source, &size);
    if (!cubin) {
        warn(c, "NVRTC did not compile a chain; it is interpreted", NULL);
        return NULL;
    }
    if (fresh) write_cached(c, source, cubin, size);
    cudaError_t error = cudaLibraryLoadData(&entry->library, cubin, NULL, NULL, 0, NULL, NULL, 0);
    if (error == cudaSuccess) error = cudaLibraryGetKernel(&kernel, entry->library, "chain");
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); /* told here; it must not be found again by a later launch */
        warn(c, "a compiled chain cannot be loaded; it is interpreted", cudaGetErrorString(error));
        kernel = NULL;
    }
    free(cubin);
    return kernel;
}

static cudaKernel_t find_or_make(gpu_compiler *c, const gpu_chain_program *program, int vector, int batched) {
    uint64_t key[GPU_CHAIN_KEY], hash = 0;
    if (!look(c)) return NULL;
    size_t n = gpu_chain_key(program, vector, batched, key);
    for (size_t k = 0; k < n; k++) hash = (hash ^ key[k]) * 0xff51afd7ed558ccdull, hash ^= hash >> 32;
    kept **bucket = &c->kernels[hash % BUCKETS];
    for (const kept *k = *bucket; k; k = k->next)
        if (k->n == n && !memcmp(k->key, key, n * sizeof *key)) return k->kernel;
    kept *entry = calloc(1, sizeof *entry + n * sizeof *key);
    char *source = gpu_chain_source(program, vector, batched);
    if (!entry || !source) {
        free(entry);
        free(source);
        return NULL;
    }
    memcpy(entry->key, key, n * sizeof *key);
    entry->n = n;
    entry->kernel = make(c, source, entry);
    entry->next = *bucket;
    *bucket = entry;
    free(source);
    return entry->kernel;
}

cudaKernel_t gpu_compiler_kernel(gpu_compiler *c, const gpu_chain_program *program, int vector, int batched) {
    (void)pthread_mutex_lock(&c->lock); /* a plain mutex that is initialised: it cannot fail */
    cudaKernel_t kernel = find_or_make(c, program, vector, batched);
    (void)pthread_mutex_unlock(&c->lock);
    return kernel;
}
