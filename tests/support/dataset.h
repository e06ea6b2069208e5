/* tests/support/dataset.h - one data set plugin, opened for a test without the registry: dlopen, a minimal host, a
 * configuration struct filled from the plugin's own schema with "key=value" texts on top of the defaults.
 *
 * Nothing is checked against bounds here: what a test passes reaches the plugin, so that its own checks are seen.
 */
#ifndef AIRA_TESTS_SUPPORT_DATASET_H
#define AIRA_TESTS_SUPPORT_DATASET_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/dataset.h"

typedef struct test_dataset {
    void *library;
    const aira_plugin *plugin;
    const aira_dataset *table;
    void *self, *config;
    aira_host host;
    aira_dataset_info info;
    aira_status status; /* of create, then describe */
    char failure[512];  /* the last sentence given to host.fail */
    char *texts[64];    /* strings and list items that config points to */
    int n_texts;
} test_dataset;

static inline void *test_dataset_alloc(const aira_host *host, uint64_t bytes) {
    (void)host;
    return bytes > PTRDIFF_MAX ? NULL : calloc(1, (size_t)bytes);
}

static inline void test_dataset_release(const aira_host *host, void *memory) {
    (void)host;
    free(memory);
}

static inline void test_dataset_log(const aira_host *host, int32_t level, const char *text) {
    (void)host;
    fprintf(stderr, "log %d: %s\n", level, text);
}

static inline aira_status test_dataset_fail(const aira_host *host, aira_status status, const char *text) {
    test_dataset *d = host->core;
    snprintf(d->failure, sizeof d->failure, "%s", text);
    return status;
}

static inline const void *test_dataset_service(const aira_host *host, const char *id) {
    (void)host;
    (void)id;
    return NULL;
}

static inline const char *test_dataset_keep(test_dataset *d, const char *text) {
    if (d->n_texts == 64) abort();
    return d->texts[d->n_texts++] = strdup(text);
}

/* A list of texts, separated by blanks. */
static inline void test_dataset_list(test_dataset *d, aira_list *list, const char *text) {
    const char **items = calloc(16, sizeof *items);
    char *copy = strdup(text), *rest = copy;
    for (char *item = strtok_r(copy, " ", &rest); item && list->n < 16; item = strtok_r(NULL, " ", &rest))
        items[list->n++] = test_dataset_keep(d, item);
    free(copy);
    list->items = items;
    if (d->n_texts == 64) abort();
    d->texts[d->n_texts++] = (char *)items;
}

static inline void test_dataset_store(test_dataset *d, const aira_field *f, const char *text, double def) {
    char *at = (char *)d->config + f->offset;
    switch (f->type) {
    case AIRA_T_REAL:
        *(double *)at = text ? strtod(text, NULL) : def;
        break;
    case AIRA_T_SEED:
        *(uint64_t *)at = text ? strtoull(text, NULL, 10) : (uint64_t)def;
        break;
    case AIRA_T_INT:
    case AIRA_T_COUNT:
    case AIRA_T_BYTES:
        *(int64_t *)at = text ? strtoll(text, NULL, 10) : (int64_t)def;
        break;
    case AIRA_T_BOOL:
        *(int32_t *)at = text ? strcmp(text, "true") == 0 : def != 0;
        break;
    case AIRA_T_CHOICE:
        *(int32_t *)at = (int32_t)def;
        for (int i = 0; text && f->choices[i]; i++)
            if (strcmp(f->choices[i], text) == 0) *(int32_t *)at = i;
        break;
    case AIRA_T_STR:
    case AIRA_T_PATH:
        *(const char **)at = text ? test_dataset_keep(d, text) : f->sdef;
        break;
    case AIRA_T_LIST | AIRA_T_STR:
    case AIRA_T_LIST | AIRA_T_PATH:
        if (text) test_dataset_list(d, (aira_list *)at, text);
        break;
    default:
        fprintf(stderr, "the test cannot fill key %s\n", f->key);
        abort();
    }
}

/* keys: "task=compression", "vocab=64", NULL. A key that the schema does not know aborts the test. */
static inline void test_dataset_open(test_dataset *d, const char *id, const char *const *keys) {
    memset(d, 0, sizeof *d);
    const char *build = getenv("AIRA_BUILD_DIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/lib/aira/plugins/dataset_%s.so", build ? build : ".", id);
    d->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!d->library) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    const aira_plugin *(*entry)(void);
    *(void **)&entry = dlsym(d->library, "aira_plugin_v1");
    d->plugin = entry();
    d->table = d->plugin->table;
    d->host = (aira_host){.size = sizeof d->host,
                          .core = d,
                          .alloc = test_dataset_alloc,
                          .release = test_dataset_release,
                          .log = test_dataset_log,
                          .fail = test_dataset_fail,
                          .service = test_dataset_service};
    d->config = calloc(1, d->plugin->config->config_size);
    const aira_schema *schema = d->plugin->config;
    for (uint32_t i = 0; i < schema->n_fields; i++)
        test_dataset_store(d, schema->fields + i, NULL, schema->fields[i].def);
    for (; *keys; keys++) {
        const char *equals = strchr(*keys, '=');
        const aira_field *field = NULL;
        for (uint32_t i = 0; i < schema->n_fields; i++) {
            const char *key = schema->fields[i].key;
            if (strlen(key) == (size_t)(equals - *keys) && strncmp(key, *keys, strlen(key)) == 0)
                field = schema->fields + i;
        }
        if (!field) {
            fprintf(stderr, "%s has no key %s\n", id, *keys);
            abort();
        }
        test_dataset_store(d, field, equals + 1, field->def);
    }
    d->info.size = sizeof d->info;
    d->status = d->plugin->create(&d->host, d->config, &d->self);
    if (!d->status) d->status = d->table->describe(d->self, &d->info);
}

static inline void test_dataset_close(test_dataset *d) {
    if (d->self) d->plugin->destroy(d->self);
    free(d->config);
    for (int i = 0; i < d->n_texts; i++) free(d->texts[i]);
    dlclose(d->library);
}

/* Rows first .. first+n-1, malloc'ed; aborts on an error. */
static inline void test_dataset_rows(test_dataset *d, uint32_t split, uint64_t seed, uint64_t first, uint32_t n,
                                     int32_t **inputs, int32_t **targets) {
    uint64_t *indices = malloc(n * sizeof *indices);
    for (uint32_t i = 0; i < n; i++) indices[i] = first + i;
    *inputs = malloc(sizeof(int32_t) * n * (size_t)d->info.input_length);
    *targets = malloc(sizeof(int32_t) * n * (size_t)d->info.target_length);
    if (d->table->rows(d->self, split, seed, indices, n, *inputs, *targets)) {
        fprintf(stderr, "rows: %s\n", d->failure);
        abort();
    }
    free(indices);
}

#endif
