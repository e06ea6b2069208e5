/* core/base/safetensors.c - see safetensors.h */
#include "core/base/safetensors.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "data is little-endian and used in place");

enum { max_header = 100000000 };

struct aira__safetensors {
    json_t *header; /* owns names */
    aira__safetensor *entries;
    int n;
    int *by_name; /* indices of entries in order of names */
    void *mapping;
    size_t mapping_size;
};

static const struct {
    char name[5];
    uint64_t bytes;
} dtypes[] = {{"F32", 4}, {"F64", 8}, {"BF16", 2}, {"F16", 2}, {"I32", 4}, {"I64", 8}};
enum { n_dtypes = sizeof dtypes / sizeof dtypes[0] };

static const char *dtype_name(const char *dtype) { /* the static copy, or NULL */
    for (int i = 0; dtype != NULL && i < n_dtypes; i++)
        if (strcmp(dtypes[i].name, dtype) == 0) return dtypes[i].name;
    return NULL;
}

uint64_t aira__safetensors_dtype_bytes(const char *dtype) {
    for (int i = 0; i < n_dtypes; i++)
        if (strcmp(dtypes[i].name, dtype) == 0) return dtypes[i].bytes;
    return 0;
}

static bool shape_bytes(const aira__safetensor *entry, uint64_t *bytes) {
    *bytes = aira__safetensors_dtype_bytes(entry->dtype);
    for (int d = 0; d < entry->rank; d++)
        if (entry->shape[d] < 0 || __builtin_mul_overflow(*bytes, (uint64_t)entry->shape[d], bytes)) return false;
    return true;
}

/* One "name": {"dtype", "shape", "data_offsets"}; data_size: bytes behind the header. */
static aira_status read_entry(const char *file, const char *name, json_t *value, const uint8_t *data,
                              uint64_t data_size, aira__safetensor *entry, aira_error *error) {
    json_t *shape = json_object_get(value, "shape"), *offsets = json_object_get(value, "data_offsets");
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (dtype == NULL || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2 ||
        json_object_size(value) != 3)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': tensor '%s' does not hold exactly dtype, shape, data_offsets",
                          file, name);
    *entry = (aira__safetensor){.name = name, .dtype = dtype_name(dtype)};
    if (entry->dtype == NULL)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "'%s': tensor '%s' has type %s; F32, F64, BF16, F16, I32, I64 are read", file, name, dtype);
    if (json_array_size(shape) > AIRA_SAFETENSORS_MAX_RANK)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': tensor '%s' has more than 8 axes", file, name);
    entry->rank = (int)json_array_size(shape);
    for (int d = 0; d < entry->rank; d++) {
        const json_t *size = json_array_get(shape, (size_t)d);
        entry->shape[d] = json_is_integer(size) ? json_integer_value(size) : -1;
    }
    uint64_t bytes;
    if (!shape_bytes(entry, &bytes))
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': tensor '%s' has a shape that is not of whole sizes in 64 bits",
                          file, name);
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    int64_t begin = json_is_integer(first) ? json_integer_value(first) : -1;
    int64_t end = json_is_integer(last) ? json_integer_value(last) : -1;
    if (begin < 0 || end < begin || (uint64_t)end > data_size)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': tensor '%s' lies outside the file's data", file, name);
    if ((uint64_t)(end - begin) != bytes)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': tensor '%s' has %lld bytes where its shape needs %llu", file,
                          name, (long long)(end - begin), (unsigned long long)bytes);
    entry->data = data + begin;
    entry->bytes = bytes;
    return AIRA_OK;
}

static int by_place(const void *a, const void *b) {
    const aira__safetensor *x = a, *y = b;
    const uint8_t *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty tensors first */
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b, void *entries) {
    const aira__safetensor *list = entries;
    return strcmp(list[*(const int *)a].name, list[*(const int *)b].name);
}

static aira_status check_metadata(const char *file, json_t *metadata, aira_error *error) {
    const char *key;
    json_t *value;
    if (metadata != NULL && !json_is_object(metadata))
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': __metadata__ is not an object", file);
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return aira__fail(error, AIRA_E_CORRUPT, "'%s': __metadata__ '%s' is not a string", file, key);
    }
    return AIRA_OK;
}

static aira_status read_entries(aira__safetensors *st, const char *file, const uint8_t *data, uint64_t data_size,
                                aira_error *error) {
    size_t n = json_object_size(st->header);
    st->entries = calloc(n + 1, sizeof *st->entries);
    st->by_name = calloc(n + 1, sizeof *st->by_name);
    if (st->entries == NULL || st->by_name == NULL)
        return aira__fail(error, AIRA_E_MEMORY, "no memory for the table of '%s'", file);
    aira_status status = check_metadata(file, json_object_get(st->header, "__metadata__"), error);
    const char *name;
    json_t *value;
    json_object_foreach(st->header, name, value) {
        if (status != AIRA_OK) return status;
        if (strcmp(name, "__metadata__") == 0) continue;
        status = read_entry(file, name, value, data, data_size, &st->entries[st->n], error);
        if (status == AIRA_OK) st->n++;
    }
    if (status != AIRA_OK) return status;
    qsort(st->entries, (size_t)st->n, sizeof *st->entries, by_place);
    const uint8_t *at = data;
    for (int i = 0; i < st->n; i++) {
        const aira__safetensor *entry = &st->entries[i];
        st->by_name[i] = i;
        if ((const uint8_t *)entry->data != at)
            return aira__fail(error, AIRA_E_CORRUPT, "'%s': tensor '%s' %s", file, entry->name,
                              (const uint8_t *)entry->data > at ? "leaves a hole before it" : "overlaps another one");
        at += entry->bytes;
    }
    if (at != data + data_size)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': %llu bytes at its end belong to no tensor", file,
                          (unsigned long long)(data + data_size - at));
    qsort_r(st->by_name, (size_t)st->n, sizeof *st->by_name, by_name, st->entries);
    return AIRA_OK;
}

aira_status aira__safetensors_parse(const void *bytes, size_t n, const char *name, aira__safetensors **out,
                                    aira_error *error) {
    *out = NULL;
    const uint8_t *b = bytes;
    uint64_t length = 0;
    for (int i = 7; i >= 0 && n >= 8; i--) length = length << 8 | b[i];
    if (n < 10 || length > n - 8 || b[8] != '{')
        return aira__fail(error, AIRA_E_CORRUPT, "'%s' is not a safetensors file, or is cut short", name);
    if (length > max_header)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': header of %llu bytes; at most %d are read", name,
                          (unsigned long long)length, max_header);
    aira__safetensors *st = calloc(1, sizeof *st);
    if (st == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory to read '%s'", name);
    st->header = aira__json_parse((const char *)b + 8, length, name, error);
    aira_status status = st->header == NULL ? AIRA_E_CORRUPT : AIRA_OK;
    if (status == AIRA_OK) status = read_entries(st, name, b + 8 + length, n - 8 - length, error);
    if (status != AIRA_OK) {
        aira__safetensors_close(st);
        return status;
    }
    *out = st;
    return AIRA_OK;
}

aira_status aira__safetensors_open(const char *path, aira__safetensors **out, aira_error *error) {
    *out = NULL;
    void *mapping;
    size_t size;
    aira_status status = aira__file_map(path, "a safetensors file, or is cut short", &mapping, &size, error);
    if (status != AIRA_OK) return status;
    status = aira__safetensors_parse(mapping, size, path, out, error);
    if (status != AIRA_OK) {
        munmap(mapping, size);
        return status;
    }
    (*out)->mapping = mapping;
    (*out)->mapping_size = size;
    return AIRA_OK;
}

void aira__safetensors_close(aira__safetensors *st) {
    if (st == NULL) return;
    if (st->mapping != NULL) munmap(st->mapping, st->mapping_size);
    json_decref(st->header);
    free(st->entries);
    free(st->by_name);
    free(st);
}

int aira__safetensors_count(const aira__safetensors *st) { return st->n; }

const aira__safetensor *aira__safetensors_entry(const aira__safetensors *st, int i) { return &st->entries[i]; }

const aira__safetensor *aira__safetensors_find(const aira__safetensors *st, const char *name) {
    int low = 0, high = st->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const aira__safetensor *entry = &st->entries[st->by_name[middle]];
        int order = strcmp(name, entry->name);
        if (order == 0) return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *aira__safetensors_metadata(const aira__safetensors *st, const char *key) {
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

/* The header as a JSON object in the order of the entries; NULL with a sentence. */
static json_t *make_header(const char *path, const aira__safetensor *entries, int n, const char *const *keys,
                           const char *const *values, int n_metadata, aira_error *error) {
    json_t *header = json_object();
    json_t *metadata = n_metadata > 0 ? json_object() : NULL;
    bool full = header == NULL || (n_metadata > 0 && metadata == NULL);
    for (int i = 0; i < n_metadata && !full; i++)
        full = json_object_set_new(metadata, keys[i], json_string(values[i])) != 0;
    if (metadata != NULL) full = json_object_set_new(header, "__metadata__", metadata) != 0 || full;
    uint64_t at = 0;
    for (int i = 0; i < n && !full; i++) {
        const aira__safetensor *entry = &entries[i];
        uint64_t bytes = 0;
        if (dtype_name(entry->dtype) == NULL || entry->rank < 0 || entry->rank > AIRA_SAFETENSORS_MAX_RANK ||
            !shape_bytes(entry, &bytes) || bytes != entry->bytes || at + bytes > INT64_MAX ||
            json_object_get(header, entry->name) != NULL) {
            aira__fail(error, AIRA_E_FAILED,
                       "cannot write '%s': tensor '%s' has a name that occurs twice, an unknown "
                       "type, or bytes that are not those of its shape",
                       path, entry->name);
            json_decref(header);
            return NULL;
        }
        json_t *shape = json_array();
        for (int d = 0; d < entry->rank; d++)
            full = json_array_append_new(shape, json_integer(entry->shape[d])) != 0 || full;
        json_t *value = json_pack("{s:s, s:o, s:[I, I]}", "dtype", entry->dtype, "shape", shape, "data_offsets",
                                  (json_int_t)at, (json_int_t)(at + bytes));
        full = value == NULL || json_object_set_new(header, entry->name, value) != 0 || full;
        at += bytes;
    }
    if (!full) return header;
    json_decref(header);
    aira__fail(error, AIRA_E_MEMORY, "cannot write '%s': no memory for its header, or a name that is not UTF-8", path);
    return NULL;
}

aira_status aira__safetensors_write(const char *path, const aira__safetensor *entries, int n, const char *const *keys,
                                    const char *const *values, int n_metadata, aira_error *error) {
    aira_error local = {0};
    if (error == NULL) error = &local; /* make_header tells its status through it */
    json_t *header = make_header(path, entries, n, keys, values, n_metadata, error);
    if (header == NULL) return error->status;
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (text == NULL) return aira__fail(error, AIRA_E_MEMORY, "no memory for the header of '%s'", path);
    static const char spaces[8] = "        ";
    uint64_t length = strlen(text), padding = (8 - length % 8) % 8, total = length + padding;
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (uint8_t)(total >> (8 * i));
    aira__file_writer *file = NULL;
    aira_status status = total > max_header
                             ? aira__fail(error, AIRA_E_FAILED, "cannot write '%s': too many tensors", path)
                             : aira__file_writer_open(path, &file, error);
    if (status == AIRA_OK) status = aira__file_writer_add(file, prefix, 8, error);
    if (status == AIRA_OK) status = aira__file_writer_add(file, text, length, error);
    if (status == AIRA_OK) status = aira__file_writer_add(file, spaces, padding, error);
    for (int i = 0; i < n && status == AIRA_OK; i++)
        status = aira__file_writer_add(file, entries[i].data, entries[i].bytes, error);
    free(text);
    if (status == AIRA_OK) return aira__file_writer_commit(file, error);
    aira__file_writer_abandon(file);
    return status;
}
