/* core/train/checkpoint.c - weights and checkpoints as safetensors.
 *
 * Weights hold the parameters as F32. A checkpoint holds parameters and optimizer state in their own type, so that a
 * training continues bit for bit, and in its metadata the number of steps done, the seed, and the identity of model and
 * recipe, which must be the same on resume. Files appear whole or not at all (core/base/safetensors.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/safetensors.h"
#include "core/train/step.h"
#include "core/train/training_internal.h"

static const aira_graph *step_graph(const aira__training *t) { return t->graphs[AIRA__GRAPH_STEP]; }

static bool left_out(const aira__variable *v, bool weights_only) {
    return weights_only ? v->kind != AIRA_VARIABLE_PARAM : aira__is_accumulated(v->name);
}

static aira_status no_memory(const char *path, aira_error *error) {
    return aira__fail(error, AIRA_E_MEMORY, "out of memory for the tensors of %s", path);
}

/* --- writing --- */

static void narrow(void *data, int64_t n) { /* F64 to F32 in place */
    for (int64_t k = 0; k < n; k++) {
        double wide;
        memcpy(&wide, (char *)data + k * 8, sizeof wide);
        float value = (float)wide;
        memcpy((char *)data + k * 4, &value, sizeof value);
    }
}

static aira_status fetch(aira__training *t, const aira__variable *v, bool as_f32, aira__safetensor *entry,
                         aira_error *error) {
    int64_t n = aira__shape_elements(&v->shape);
    uint64_t bytes = (uint64_t)n * aira__dtype_bytes(v->dtype);
    void *data = malloc(bytes > 0 ? bytes : 1);
    if (data == NULL) return no_memory(v->name, error);
    bool wide = v->dtype == AIRA_F64;
    *entry = (aira__safetensor){.name = v->name, .rank = (int)v->shape.rank, .data = data, .bytes = bytes};
    memcpy(entry->shape, v->shape.dims, sizeof entry->shape);
    aira_status status = aira__session_get_variable(t->session, v->name, 0, data, bytes, error);
    if (wide && as_f32) {
        narrow(data, n);
        entry->bytes = (uint64_t)n * 4;
    }
    entry->dtype = wide && !as_f32 ? "F64" : "F32";
    return status;
}

bool aira__training_parameter(aira__training *t, const char *name, double *values, int64_t n) {
    const aira_graph *graph = step_graph(t);
    for (uint32_t k = 0; k < graph->n_variables; k++) {
        const aira__variable *v = graph->variables[k];
        if (v->kind != AIRA_VARIABLE_PARAM || strcmp(v->name, name) != 0) continue;
        aira__safetensor entry;
        if (aira__shape_elements(&v->shape) != n) return false;
        bool read = fetch(t, v, true, &entry, NULL) == AIRA_OK;
        for (int64_t e = 0; e < n && read; e++) {
            float value;
            memcpy(&value, (const char *)entry.data + e * 4, sizeof value);
            values[e] = (double)value;
        }
        free((void *)(uintptr_t)entry.data);
        return read;
    }
    return false;
}

static aira_status save(aira__training *t, const char *path, bool weights_only, const char *const *keys,
                        const char *const *values, int n_keys, aira_error *error) {
    const aira_graph *graph = step_graph(t);
    aira__safetensor *entries = calloc(graph->n_variables + 1u, sizeof *entries);
    if (entries == NULL) return no_memory(path, error);
    aira_status status = AIRA_OK;
    int n = 0;
    for (uint32_t k = 0; k < graph->n_variables && status == AIRA_OK; k++) {
        if (left_out(graph->variables[k], weights_only)) continue;
        status = fetch(t, graph->variables[k], weights_only, &entries[n], error);
        n += entries[n].data != NULL;
    }
    if (status == AIRA_OK) status = aira__safetensors_write(path, entries, n, keys, values, n_keys, error);
    for (int k = 0; k < n; k++) free((void *)(uintptr_t)entries[k].data);
    free(entries);
    return status;
}

aira_status aira__training_save_weights(aira__training *t, const char *path, const char *const *keys,
                                        const char *const *values, int n, aira_error *error) {
    enum { most = 16 };
    const char *all_keys[most], *all_values[most];
    char step[32];
    if (n >= most) return aira__fail(error, AIRA_E_FAILED, "%s: at most %d metadata entries", path, most - 1);
    for (int k = 0; k < n; k++) {
        all_keys[k] = keys[k];
        all_values[k] = values[k];
    }
    snprintf(step, sizeof step, "%lld", (long long)t->next);
    all_keys[n] = "step";
    all_values[n] = step;
    return save(t, path, true, all_keys, all_values, n + 1, error);
}

aira_status aira__training_save_checkpoint(aira__training *t, const char *path, aira_error *error) {
    char step[32], seed[32], elapsed[40];
    snprintf(step, sizeof step, "%lld", (long long)t->next);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)t->options.seed);
    snprintf(elapsed, sizeof elapsed, "%.17g", t->elapsed);
    const char *keys[] = {"step", "seed", "recipe", "elapsed"};
    const char *values[] = {step, seed, t->options.identity != NULL ? t->options.identity : "", elapsed};
    return save(t, path, false, keys, values, 4, error);
}

/* --- reading --- */

static double element(const aira__safetensor *entry, int64_t k) {
    const char *data = entry->data;
    if (strcmp(entry->dtype, "F64") == 0) {
        double x;
        memcpy(&x, data + 8 * k, sizeof x);
        return x;
    }
    float x;
    uint32_t bits;
    if (strcmp(entry->dtype, "BF16") == 0) {
        uint16_t half;
        memcpy(&half, data + 2 * k, sizeof half);
        bits = (uint32_t)half << 16;
    } else {
        memcpy(&bits, data + 4 * k, sizeof bits);
    }
    memcpy(&x, &bits, sizeof x);
    return x;
}

static aira_status same_shape(const char *path, const aira__safetensor *entry, const aira__variable *v,
                              aira_error *error) {
    bool same = entry->rank == (int)v->shape.rank;
    for (int k = 0; same && k < entry->rank; k++) same = entry->shape[k] == v->shape.dims[k];
    if (same) return AIRA_OK;
    aira_shape found = {{0}, (uint32_t)entry->rank, 0};
    for (int k = 0; k < entry->rank && k < AIRA_MAX_RANK; k++) found.dims[k] = entry->shape[k];
    char a[128], b[128];
    aira__shape_text(&found, a, sizeof a);
    aira__shape_text(&v->shape, b, sizeof b);
    return aira__fail(error, AIRA_E_FAILED, "%s: tensor %s has shape %s, the model needs %s", path, entry->name, a, b);
}

static aira_status load_one(aira__training *t, const char *path, const aira__safetensors *file, const aira__variable *v,
                            aira_error *error) {
    const aira__safetensor *entry = aira__safetensors_find(file, v->name);
    if (entry == NULL) {
        return aira__fail(error, AIRA_E_FAILED, "%s has no tensor %s; it belongs to another model", path, v->name);
    }
    if (strcmp(entry->dtype, "F32") != 0 && strcmp(entry->dtype, "F64") != 0 && strcmp(entry->dtype, "BF16") != 0) {
        return aira__fail(error, AIRA_E_FAILED, "%s: tensor %s is %s; F32, F64 and BF16 can be read", path, v->name,
                          entry->dtype);
    }
    aira_status status = same_shape(path, entry, v, error);
    if (status != AIRA_OK) return status;
    if (strcmp(entry->dtype, v->dtype == AIRA_F64 ? "F64" : "F32") == 0) {
        return aira__session_set_variable(t->session, v->name, 0, entry->data, entry->bytes, error);
    }
    int64_t n = aira__shape_elements(&v->shape);
    uint64_t bytes = (uint64_t)n * aira__dtype_bytes(v->dtype);
    char *data = malloc(bytes > 0 ? bytes : 1);
    if (data == NULL) return no_memory(path, error);
    for (int64_t k = 0; k < n; k++) {
        double x = element(entry, k);
        float f = (float)x;
        if (v->dtype == AIRA_F64) {
            memcpy(data + 8 * k, &x, sizeof x);
        } else {
            memcpy(data + 4 * k, &f, sizeof f);
        }
    }
    status = aira__session_set_variable(t->session, v->name, 0, data, bytes, error);
    free(data);
    return status;
}

/* Every tensor of the file must belong to the model; optimizer state may be left over. */
static aira_status check_names(const aira__training *t, const char *path, const aira__safetensors *file,
                               aira_error *error) {
    for (int k = 0; k < aira__safetensors_count(file); k++) {
        const char *name = aira__safetensors_entry(file, k)->name;
        if (strncmp(name, "optimizer.", 10) == 0 || aira__graph_find_variable(step_graph(t), name) != NULL) continue;
        return aira__fail(error, AIRA_E_FAILED, "%s holds a tensor %s that the model does not have", path, name);
    }
    return AIRA_OK;
}

static aira_status load(aira__training *t, const char *path, const aira__safetensors *file, bool weights_only,
                        aira_error *error) {
    const aira_graph *graph = step_graph(t);
    aira_status status = check_names(t, path, file, error);
    for (uint32_t k = 0; k < graph->n_variables && status == AIRA_OK; k++) {
        if (left_out(graph->variables[k], weights_only)) continue;
        status = load_one(t, path, file, graph->variables[k], error);
    }
    t->search_step = -1;
    return status;
}

aira_status aira__training_load_weights(aira__training *t, const char *path, aira_error *error) {
    aira__safetensors *file = NULL;
    aira_status status = aira__safetensors_open(path, &file, error);
    if (status == AIRA_OK) status = load(t, path, file, true, error);
    aira__safetensors_close(file);
    return status;
}

/* A decimal number from the metadata; false if it is none. */
static bool read_number(const aira__safetensors *file, const char *key, unsigned long long *value) {
    const char *text = aira__safetensors_metadata(file, key);
    char *end = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

aira_status aira__training_load_checkpoint(aira__training *t, const char *path, aira_error *error) {
    aira__safetensors *file = NULL;
    aira_status status = aira__safetensors_open(path, &file, error);
    if (status != AIRA_OK) return status;
    const char *identity = aira__safetensors_metadata(file, "recipe"),
               *elapsed = aira__safetensors_metadata(file, "elapsed");
    unsigned long long step = 0, seed = 0;
    if (identity == NULL || !read_number(file, "step", &step) || !read_number(file, "seed", &seed) ||
        step > INT64_MAX) {
        status = aira__fail(error, AIRA_E_CORRUPT, "%s is not a checkpoint of a training (use --weights for weights)",
                            path);
    } else if (seed != t->options.seed) {
        status = aira__fail(error, AIRA_E_CONFIG, "%s was trained with seed %llu, not %llu; give --seed %llu", path,
                            seed, (unsigned long long)t->options.seed, seed);
    } else if (t->options.identity != NULL && strcmp(identity, t->options.identity) != 0) {
        status = aira__fail(error, AIRA_E_CONFIG,
                            "%s belongs to another model or recipe; resume with the configuration it was made by",
                            path);
    } else {
        status = load(t, path, file, false, error);
    }
    if (status == AIRA_OK) {
        t->next = (int64_t)step;
        t->elapsed = elapsed != NULL ? strtod(elapsed, NULL) : 0;
    }
    aira__safetensors_close(file);
    return status;
}
