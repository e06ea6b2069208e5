/* core/train/initial.c - see initial.h */
#include "core/train/initial.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/safetensors.h"

enum { MOST_KEYS = 16 };

static aira_status no_memory(const char *path, aira_error *error) {
    return aira__fail(error, AIRA_E_MEMORY, "out of memory for the weights of %s", path);
}

static aira_status draw(const aira_graph *graph, const aira__variable *v, uint64_t seed, const char *path,
                        aira__safetensor *entry, aira_error *error) {
    int64_t n = aira__shape_elements(&v->shape);
    double *wide = malloc((size_t)n * sizeof *wide + 1);
    float *narrow = malloc((size_t)n * sizeof *narrow + 1);
    aira_status status = wide != NULL && narrow != NULL ? aira__variable_initial(graph, v, seed, wide, error)
                                                        : no_memory(path, error);
    for (int64_t k = 0; k < n && status == AIRA_OK; k++) narrow[k] = (float)wide[k];
    free(wide);
    *entry = (aira__safetensor){.name = v->name,
                                .dtype = "F32",
                                .rank = (int)v->shape.rank,
                                .data = narrow,
                                .bytes = (uint64_t)n * sizeof *narrow};
    memcpy(entry->shape, v->shape.dims, sizeof entry->shape);
    return status;
}

static aira_status save(const aira_graph *graph, uint64_t seed, const char *path, const char *const *keys,
                        const char *const *values, int n_keys, aira_error *error) {
    aira__safetensor *entries = calloc(graph->n_variables + 1u, sizeof *entries);
    aira_status status = entries != NULL ? AIRA_OK : no_memory(path, error);
    int n = 0;
    for (uint32_t k = 0; k < graph->n_variables && status == AIRA_OK; k++) {
        if (graph->variables[k]->kind != AIRA_VARIABLE_PARAM) continue;
        status = draw(graph, graph->variables[k], seed, path, &entries[n++], error);
    }
    if (status == AIRA_OK) status = aira__safetensors_write(path, entries, n, keys, values, n_keys, error);
    for (int k = 0; k < n; k++) free((void *)(uintptr_t)entries[k].data);
    free(entries);
    return status;
}

aira_status aira__initial_save(const aira__model_spec *spec, uint64_t seed, const char *path, const char *const *keys,
                               const char *const *values, int n, int64_t *parameters, aira_error *error) {
    const char *all_keys[MOST_KEYS], *all_values[MOST_KEYS];
    aira_error local = {AIRA_OK, ""};
    if (error == NULL) error = &local;
    if (n >= MOST_KEYS) return aira__fail(error, AIRA_E_FAILED, "%s: at most %d metadata entries", path, MOST_KEYS - 1);
    for (int k = 0; k < n; k++) {
        all_keys[k] = keys[k];
        all_values[k] = values[k];
    }
    all_keys[n] = "step";
    all_values[n] = "0";
    error->status = AIRA_OK;
    aira_graph *graph = aira__model_build(spec, error);
    if (graph == NULL) return error->status != AIRA_OK ? error->status : AIRA_E_FAILED;
    aira_status status = save(graph, seed, path, all_keys, all_values, n + 1, error);
    aira__counts counts;
    aira__graph_count(graph, &counts);
    if (parameters != NULL) *parameters = counts.parameters;
    aira__graph_destroy(graph);
    return status;
}
