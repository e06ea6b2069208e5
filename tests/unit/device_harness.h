/* device_harness.h - runs single operations and short plans on any device plugin, for tests and benchmarks.
 *
 * A test_tensor holds its values as doubles; running a plan converts them to the element type, poisons what the plan
 * writes with NaN, runs, and converts back. Guard bytes between tensors show writes out of bounds.
 */
#ifndef AIRA_TESTS_DEVICE_HARNESS_H
#define AIRA_TESTS_DEVICE_HARNESS_H

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/device.h"
#include "aira/rng.h"

#define TEST_MAX_TENSORS 64
#define TEST_GUARD 64

typedef struct test_tensor {
    aira_shape shape;
    uint32_t dtype, storage, copies;
    bool given; /* uploaded before the run; else poisoned and downloaded after it */
    bool inner; /* lies in the arena, where the device alone looks */
    double *v;  /* copies x elements */
} test_tensor;

typedef struct test_device {
    void *library, *self;
    const aira_plugin *plugin;
    const aira_device *table;
    aira_host host;
    char failure[512];
} test_device;

static inline int64_t test_elements(const test_tensor *t) {
    int64_t n = t->copies;
    for (uint32_t d = 0; d < t->shape.rank; d++) n *= t->shape.dims[d];
    return n;
}
static inline size_t test_bytes(uint32_t dtype) { return dtype == AIRA_F64 ? 8u : dtype == AIRA_BF16 ? 2u : 4u; }

static inline void *test_host_alloc(const aira_host *host, uint64_t bytes) {
    (void)host;
    return calloc(1, (size_t)bytes);
}
static inline void test_host_release(const aira_host *host, void *memory) {
    (void)host;
    free(memory);
}
static inline void test_host_log(const aira_host *host, int32_t level, const char *text) {
    (void)host;
    fprintf(stderr, "log %d: %s\n", (int)level, text);
}
static inline aira_status test_host_fail(const aira_host *host, aira_status status, const char *text) {
    test_device *device = host->core;
    snprintf(device->failure, sizeof device->failure, "%s", text);
    return status;
}
static inline const void *test_host_service(const aira_host *host, const char *id) {
    (void)host;
    (void)id;
    return NULL;
}

/* Sets key of a schema's config: INT, CHOICE and BOOL fields. */
static inline bool test_config_set(const aira_schema *schema, char *config, const char *key, int64_t value) {
    for (uint32_t k = 0; k < schema->n_fields; k++) {
        const aira_field *field = (const aira_field *)((const char *)schema->fields + k * schema->field_stride);
        if (strcmp(field->key, key) != 0) continue;
        if (field->type == AIRA_T_CHOICE || field->type == AIRA_T_BOOL) {
            *(int32_t *)(void *)(config + field->offset) = (int32_t)value;
        } else {
            *(int64_t *)(void *)(config + field->offset) = value;
        }
        return true;
    }
    return false;
}

/* What the host fills in where a configuration says nothing: numbers, choices and booleans. */
static inline void test_config_defaults(const aira_schema *schema, char *config) {
    for (uint32_t k = 0; k < schema->n_fields; k++) {
        const aira_field *field = (const aira_field *)((const char *)schema->fields + k * schema->field_stride);
        if (field->type == AIRA_T_CHOICE || field->type == AIRA_T_BOOL)
            *(int32_t *)(void *)(config + field->offset) = (int32_t)field->def;
        if (field->type == AIRA_T_INT) *(int64_t *)(void *)(config + field->offset) = (int64_t)field->def;
    }
}

typedef struct test_key {
    const char *key;
    int64_t value; /* of a choice: its index; of a boolean: 0 or 1 */
} test_key;

/* The device of a plugin file; keys that it does not have are passed over. False: failure holds the reason. */
static inline bool test_device_open_keys(test_device *device, const char *path, const test_key *keys, size_t n) {
    char config[256] = {0};
    *device = (test_device){.library = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!device->library) {
        snprintf(device->failure, sizeof device->failure, "%s", dlerror());
        return false;
    }
    const aira_plugin *(*entry)(void);
    *(void **)&entry = dlsym(device->library, "aira_plugin_v1");
    device->plugin = entry();
    device->table = device->plugin->table;
    device->host = (aira_host){.size = sizeof device->host,
                               .core = device,
                               .alloc = test_host_alloc,
                               .release = test_host_release,
                               .log = test_host_log,
                               .fail = test_host_fail,
                               .service = test_host_service};
    test_config_defaults(device->plugin->config, config);
    for (size_t k = 0; k < n; k++) test_config_set(device->plugin->config, config, keys[k].key, keys[k].value);
    return device->plugin->create(&device->host, config, &device->self) == AIRA_OK;
}

/* The same; isa: index into its choices (0: auto). */
static inline bool test_device_open(test_device *device, const char *path, int64_t threads, int64_t isa) {
    const test_key keys[] = {{"threads", threads}, {"isa", isa}};
    return test_device_open_keys(device, path, keys, 2);
}

static inline void test_device_close(test_device *device) {
    if (device->self) device->plugin->destroy(device->self);
    if (device->library) dlclose(device->library);
}

/* The cpu device of the build under test. */
static inline bool test_cpu_open(test_device *device, int64_t threads, int64_t isa) {
    char path[4096];
    const char *build = getenv("AIRA_BUILD_DIR");
    snprintf(path, sizeof path, "%s/lib/aira/plugins/device_cpu.so", build ? build : ".");
    return test_device_open(device, path, threads, isa);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static inline void test_store(char *to, uint32_t dtype, double value) {
    float f = (float)value;
    uint32_t bits;
    switch (dtype) {
    case AIRA_F64:
        memcpy(to, &value, 8);
        break;
    case AIRA_I32:
        memcpy(to, &(int32_t){(int32_t)value}, 4);
        break;
    case AIRA_BF16:
        memcpy(&bits, &f, 4);
        bits += 0x7fffu + ((bits >> 16) & 1u);
        memcpy(to, &(uint16_t){(uint16_t)(bits >> 16)}, 2);
        break;
    default:
        memcpy(to, &f, 4);
    }
}

static inline double test_load(const char *from, uint32_t dtype) {
    double d;
    float f;
    int32_t i;
    uint16_t h;
    switch (dtype) {
    case AIRA_F64:
        memcpy(&d, from, 8);
        return d;
    case AIRA_I32:
        memcpy(&i, from, 4);
        return i;
    case AIRA_BF16:
        memcpy(&h, from, 2);
        memcpy(&f, &(uint32_t){(uint32_t)h << 16}, 4);
        return (double)f;
    default:
        memcpy(&f, from, 4);
        return (double)f;
    }
}

/* What value becomes in an element type. */
static inline double test_rounded(double value, uint32_t dtype) {
    char bytes[8];
    test_store(bytes, dtype, value);
    return test_load(bytes, dtype);
}

/* Relative L2 distance of n values; infinite where one is no number. */
static inline double test_distance(const double *got, const double *want, int64_t n) {
    double error = 0, scale = 0;
    for (int64_t e = 0; e < n; e++) {
        double d = got[e] - want[e];
        error += d * d;
        scale += want[e] * want[e];
    }
    return isfinite(error) ? sqrt(error / (scale + 1e-300)) : INFINITY;
}

static inline aira_shape test_shape(int n, const int64_t *dims) {
    aira_shape shape = {.rank = (uint32_t)n};
    for (int d = 0; d < n; d++) shape.dims[d] = dims[d];
    return shape;
}
#define SHAPE(...) test_shape((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
#define SCALAR_SHAPE ((aira_shape){.rank = 0})

/* --- plans -------------------------------------------------------------------------------------------------------- */

/* Compiles and runs the steps once over the tensors; every tensor that is not CHAIN or inner lies in the IO
   buffer. Returns NULL, or a sentence. */
static inline const char *test_run(test_device *device, test_tensor *tensors, uint32_t n_tensors,
                                   const aira_plan_step *steps, uint32_t n_steps, uint64_t seed) {
    aira_plan_tensor table[TEST_MAX_TENSORS];
    aira_plan plan = {.size = sizeof plan, .copies = 1, .n_tensors = n_tensors, .n_steps = n_steps};
    uint64_t at = TEST_GUARD, inside = TEST_GUARD;
    for (uint32_t k = 0; k < n_tensors; k++) {
        test_tensor *t = &tensors[k];
        if (t->copies == 0) t->copies = 1;
        if (t->copies > plan.copies) plan.copies = t->copies;
        table[k] = (aira_plan_tensor){.size = sizeof table[k], .dtype = t->dtype, .copies = t->copies};
        table[k].shape = t->shape;
        table[k].storage = t->storage == AIRA_STORE_CHAIN ? AIRA_STORE_CHAIN : AIRA_STORE_IO;
        uint64_t *end = t->inner ? &inside : &at;
        if (t->inner) table[k].storage = AIRA_STORE_ARENA;
        table[k].offset = *end;
        if (t->storage != AIRA_STORE_CHAIN) {
            *end += ((uint64_t)test_elements(t) * test_bytes(t->dtype) + 63) / 64 * 64 + TEST_GUARD;
        }
    }
    plan.tensors = table;
    plan.steps = steps;
    plan.tensor_stride = sizeof(aira_plan_tensor);
    plan.step_stride = sizeof(aira_plan_step);
    plan.block_stride = sizeof(aira_plan_block);
    plan.bytes[AIRA_STORE_IO] = at;
    plan.bytes[AIRA_STORE_ARENA] = inside;
    char *image = malloc(at), *poison = malloc(at);
    void *buffers[AIRA_N_BUFFERS] = {NULL, NULL, NULL}, *program = NULL;
    const char *why = NULL;
    memset(image, 0xff, at); /* NaN in every float type */
    for (uint32_t k = 0; k < n_tensors; k++) {
        for (int64_t e = 0; tensors[k].given && e < test_elements(&tensors[k]); e++) {
            test_store(image + table[k].offset + (size_t)e * test_bytes(tensors[k].dtype), tensors[k].dtype,
                       tensors[k].v[e]);
        }
    }
    memcpy(poison, image, at);
    if (device->table->buffer_create(device->self, at, &buffers[AIRA_STORE_IO]) != AIRA_OK ||
        device->table->buffer_create(device->self, inside, &buffers[AIRA_STORE_ARENA]) != AIRA_OK ||
        device->table->buffer_create(device->self, 64, &buffers[AIRA_STORE_PERSISTENT]) != AIRA_OK ||
        device->table->upload(device->self, buffers[AIRA_STORE_IO], 0, image, at) != AIRA_OK ||
        device->table->compile(device->self, &plan, &program) != AIRA_OK ||
        device->table->run(device->self, program, buffers, seed) != AIRA_OK ||
        device->table->download(device->self, buffers[AIRA_STORE_IO], 0, image, at) != AIRA_OK) {
        why = device->failure;
    }
    if (program) device->table->program_destroy(device->self, program);
    for (int b = 0; b < (int)AIRA_N_BUFFERS; b++) device->table->buffer_destroy(device->self, buffers[b]);
    uint64_t end = 0;
    for (uint32_t k = 0; !why && k < n_tensors; k++) {
        if (table[k].storage != AIRA_STORE_IO) continue;
        if (memcmp(image + end, poison + end, table[k].offset - end) != 0) why = "wrote between tensors";
        end = table[k].offset + (uint64_t)test_elements(&tensors[k]) * test_bytes(tensors[k].dtype);
        for (int64_t e = 0; !tensors[k].given && e < test_elements(&tensors[k]); e++) {
            tensors[k].v[e] = test_load(image + table[k].offset + (size_t)e * test_bytes(tensors[k].dtype),
                                        tensors[k].dtype);
        }
        if (tensors[k].given && memcmp(image + table[k].offset, poison + table[k].offset, end - table[k].offset) != 0) {
            why = "wrote to an operand";
        }
    }
    free(image);
    free(poison);
    return why;
}

#endif
