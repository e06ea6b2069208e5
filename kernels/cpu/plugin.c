/* plugin.c - the device plugin `cpu`: what the host sees.
 *
 * One self is one pool of threads and one choice of instructions. A self runs one program at a time; several selves in
 * one process do not disturb each other.
 */
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

typedef struct cpu_config {
    int64_t threads;
    int32_t isa;
} cpu_config;

static const char *const isa_names[] = {"auto", "reference", "avx2", "avx512", "amx", NULL};
static const aira_field fields[] = {
    AIRA_F_INT(cpu_config, threads, 1, 0, 1024, "threads that run a program, the caller's included; 0: one per core"),
    AIRA_F_CHOICE(cpu_config, isa, isa_names, 0, "instructions: auto takes the best that this processor has"),
};
static const aira_schema schema = AIRA_SCHEMA(cpu_config, fields);

typedef struct cpu_device {
    const aira_host *host;
    cpu_pool *pool;
    cpu_isa isa;
} cpu_device;

static aira_status fail(const cpu_device *device, aira_status status, const char *text) {
    return device->host->fail(device->host, status, text);
}

/* --- create ------------------------------------------------------------------------------------------------------- */

static void cpu_destroy(void *self) {
    cpu_device *device = self;
    if (!device) return;
    cpu_pool_destroy(device->pool);
    device->host->release(device->host, device);
}

static aira_status cpu_create(const aira_host *host, const void *config_pointer, void **self) {
    const cpu_config *config = config_pointer;
    cpu_device *device = host->alloc(host, sizeof *device);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!device) return host->fail(host, AIRA_E_MEMORY, "cpu device: out of memory");
    device->host = host;
    cpu_isa best = cpu_isa_best();
    device->isa = config->isa == 0 ? best : (cpu_isa)(config->isa - 1);
    if (device->isa > best) {
        char text[160];
        snprintf(text, sizeof text, "cpu device: this processor has no %s; set isa to auto, or to %s or less",
                 isa_names[config->isa], isa_names[best + 1]);
        cpu_destroy(device);
        return host->fail(host, AIRA_E_UNSUPPORTED, text);
    }
    device->pool = cpu_pool_create(config->threads > 0 ? (unsigned)config->threads : cores > 0 ? (unsigned)cores : 1u);
    if (!device->pool) {
        cpu_destroy(device);
        return host->fail(host, AIRA_E_MEMORY, "cpu device: its threads could not be started; set threads lower");
    }
    *self = device;
    return AIRA_OK;
}

/* --- what it is --------------------------------------------------------------------------------------------------- */

static const char *cpu_unavailable(void) { return NULL; }

static void processor_name(char *text, size_t size) {
    unsigned words[12];
    text[0] = 0;
    for (unsigned k = 0; k < 3; k++) {
        if (!__get_cpuid(0x80000002u + k, &words[4 * k], &words[4 * k + 1], &words[4 * k + 2], &words[4 * k + 3]))
            return;
    }
    char name[49];
    memcpy(name, words, 48);
    name[48] = 0;
    const char *start = name;
    while (*start == ' ') start++;
    snprintf(text, size, "%s", start);
}

static aira_status cpu_info(void *self, aira_device_info *info) {
    const cpu_device *device = self;
    aira_device_info full = {.size = (uint32_t)sizeof full, .threads = cpu_pool_threads(device->pool)};
    char name[49];
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    processor_name(name, sizeof name);
    snprintf(full.name, sizeof full.name, "%.40s, %u thread%s", name[0] ? name : "CPU", full.threads,
             full.threads == 1 ? "" : "s");
    snprintf(full.isa, sizeof full.isa, "%s", isa_names[device->isa + 1]);
    if (pages > 0 && page > 0) full.memory_bytes = (uint64_t)pages * (uint64_t)page;
    uint32_t size = info->size < full.size ? info->size : full.size;
    full.size = size;
    memcpy(info, &full, size);
    return AIRA_OK;
}

static int32_t cpu_supports(void *self, uint32_t op, const aira_plan_tensor *tensors, uint32_t n_in, uint32_t n_out,
                            const int64_t *i, uint32_t n_i) {
    (void)self;
    (void)i;
    (void)n_i;
    for (uint32_t k = 0; k < n_in + n_out; k++) {
        /* a host with newer headers has longer elements: their size says how long */
        const aira_plan_tensor *t = (const void *)((const char *)tensors + (size_t)k * tensors->size);
        if (t->dtype < AIRA_F32 || t->dtype > AIRA_I32) return 0;
    }
    return cpu_program_kernel(op) != NULL;
}

/* --- buffers ------------------------------------------------------------------------------------------------------ */

static aira_status cpu_buffer_create(void *self, uint64_t bytes, void **buffer) {
    cpu_device *device = self;
    char text[96];
    *buffer = NULL;
    /* calloc gives large blocks as untouched zero pages; the block's own address lies in front of the aligned buffer */
    char *block = bytes < SIZE_MAX - 128 ? calloc(1, (size_t)bytes + 128) : NULL;
    if (!block) {
        snprintf(text, sizeof text, "cpu device: out of memory for a buffer of %llu bytes", (unsigned long long)bytes);
        return fail(device, AIRA_E_MEMORY, text);
    }
    void **aligned = (void **)(void *)(block + 128 - ((uintptr_t)block & 63));
    aligned[-1] = block;
    *buffer = aligned;
    return AIRA_OK;
}

static void cpu_buffer_destroy(void *self, void *buffer) {
    (void)self;
    if (buffer) free(((void **)buffer)[-1]);
}

static aira_status cpu_upload(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes) {
    (void)self;
    memcpy((char *)buffer + offset, from, (size_t)bytes);
    return AIRA_OK;
}

static aira_status cpu_download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    (void)self;
    memcpy(to, (const char *)buffer + offset, (size_t)bytes);
    return AIRA_OK;
}

/* --- programs ----------------------------------------------------------------------------------------------------- */

static aira_status cpu_compile(void *self, const aira_plan *plan, void **program) {
    cpu_device *device = self;
    const char *why;
    char text[160];
    *program = cpu_program_create(plan, device->isa, &why);
    if (*program) return AIRA_OK;
    if (!why) return fail(device, AIRA_E_MEMORY, "cpu device: out of memory while compiling a program");
    snprintf(text, sizeof text, "cpu device: %s", why);
    return fail(device, AIRA_E_FAILED, text);
}

static void cpu_program_release(void *self, void *program) {
    (void)self;
    cpu_program_destroy(program);
}

static aira_status cpu_run(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed) {
    cpu_device *device = self;
    if (cpu_program_run(program, device->pool, buffers, seed)) return AIRA_OK;
    return fail(device, AIRA_E_MEMORY,
                "cpu device: out of memory while running a program; reduce the batch or the model");
}

static const aira_device table = {
    .size = sizeof(aira_device),
    .unavailable = cpu_unavailable,
    .info = cpu_info,
    .supports = cpu_supports,
    .buffer_create = cpu_buffer_create,
    .buffer_destroy = cpu_buffer_destroy,
    .upload = cpu_upload,
    .download = cpu_download,
    .compile = cpu_compile,
    .program_destroy = cpu_program_release,
    .run = cpu_run,
};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("device", aira_device, &table, "cpu", "1.0.0", "x86-64 processors, any number of threads",
                           &schema),
    .create = cpu_create,
    .destroy = cpu_destroy,
};
AIRA_MANIFEST("device", "cpu", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
