/* core/base/npy.c - see npy.h
 *
 * The header is a Python dictionary literal; what NumPy writes is always
 *     {'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }
 * with the keys in any order. A small cursor reads exactly that grammar and nothing more of Python.
 */
#include "core/base/npy.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/fs.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and read in place");

typedef struct {
    aira__npy_type type;
    char code[4]; /* descr after the byte order */
    const char *name;
    size_t bytes;
} type_row;

static const type_row types[] = {{AIRA_NPY_U8, "u1", "uint8", 1},   {AIRA_NPY_U16, "u2", "uint16", 2},
                                 {AIRA_NPY_U32, "u4", "uint32", 4}, {AIRA_NPY_I32, "i4", "int32", 4},
                                 {AIRA_NPY_I64, "i8", "int64", 8},  {AIRA_NPY_F32, "f4", "float32", 4}};
enum { n_types = sizeof types / sizeof types[0] };

static const type_row *find_type(aira__npy_type type) {
    for (int i = 0; i < n_types; i++)
        if (types[i].type == type) return &types[i];
    return NULL;
}

const char *aira__npy_type_name(aira__npy_type type) {
    const type_row *row = find_type(type);
    return row != NULL ? row->name : "?";
}

typedef struct {
    const char *at, *end;
} cursor;

static void skip_spaces(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
}

static bool take(cursor *c, char wanted) {
    skip_spaces(c);
    if (c->at >= c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word) {
    skip_spaces(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

static bool take_string(cursor *c, char *out, size_t size) {
    skip_spaces(c);
    if (c->at >= c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    size_t n = 0;
    for (; c->at < c->end && *c->at != quote; c->at++) {
        if (n + 1 >= size || *c->at == '\\') return false;
        out[n++] = *c->at;
    }
    out[n] = 0;
    return take(c, quote);
}

static bool take_int(cursor *c, int64_t *out) {
    skip_spaces(c);
    const char *start = c->at;
    int64_t value = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (value > (INT64_MAX - 9) / 10) return false;
        value = value * 10 + (*c->at - '0');
    }
    *out = value;
    return c->at > start;
}

static bool take_shape(cursor *c, aira__npy *array) {
    if (!take(c, '(')) return false;
    array->rank = 0;
    array->elements = 1;
    while (!take(c, ')')) {
        int64_t n;
        if (array->rank == AIRA_NPY_MAX_RANK || !take_int(c, &n)) return false;
        if (__builtin_mul_overflow(array->elements, n, &array->elements)) return false;
        array->shape[array->rank++] = n;
        if (!take(c, ',')) return take(c, ')');
    }
    return true;
}

/* The dictionary; sentence gets what is wrong. */
static bool parse_header(cursor c, aira__npy *array, char *descr, size_t descr_size, const char **sentence) {
    bool seen_descr = false, seen_order = false, seen_shape = false;
    *sentence = "its header is not the dictionary that NumPy writes";
    if (!take(&c, '{')) return false;
    while (!take(&c, '}')) {
        char key[16];
        if (!take_string(&c, key, sizeof key) || !take(&c, ':')) return false;
        if (strcmp(key, "descr") == 0 && !seen_descr) {
            seen_descr = take_string(&c, descr, descr_size);
            *sentence = seen_descr ? *sentence : "its element type is not a plain one";
            if (!seen_descr) return false;
        } else if (strcmp(key, "fortran_order") == 0 && !seen_order) {
            seen_order = true;
            if (take_word(&c, "True")) {
                *sentence = "it is stored in Fortran order; save numpy.ascontiguousarray(a) instead";
                return false;
            }
            if (!take_word(&c, "False")) return false;
        } else if (strcmp(key, "shape") == 0 && !seen_shape) {
            seen_shape = take_shape(&c, array);
            if (!seen_shape) {
                *sentence = "its shape is not one of at most 8 sizes that fit in 64 bits";
                return false;
            }
        } else {
            return false;
        }
        if (!take(&c, ',')) {
            if (!take(&c, '}')) return false;
            break;
        }
    }
    skip_spaces(&c);
    return c.at == c.end && seen_descr && seen_order && seen_shape;
}

aira_status aira__npy_parse(const void *bytes, size_t n, const char *name, aira__npy *array, aira_error *error) {
    const uint8_t *b = bytes;
    *array = (aira__npy){0};
    if (n < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s' is not an .npy file", name);
    if (b[6] != 1 && b[6] != 2)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': .npy format version %d is not read (1 and 2 are)", name, b[6]);
    size_t start = b[6] == 1 ? 10 : 12, header;
    if (n < start) return aira__fail(error, AIRA_E_CORRUPT, "'%s' ends within its header", name);
    header = b[8] | (size_t)b[9] << 8;
    if (b[6] == 2) header |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (header > n - start) return aira__fail(error, AIRA_E_CORRUPT, "'%s' ends within its header", name);
    cursor c = {(const char *)b + start, (const char *)b + start + header};
    char descr[16];
    const char *sentence;
    if (!parse_header(c, array, descr, sizeof descr, &sentence))
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': %s", name, sentence);
    const type_row *row = NULL;
    for (int i = 0; i < n_types; i++)
        if ((descr[0] == '<' || (descr[0] == '|' && types[i].bytes == 1)) && strcmp(descr + 1, types[i].code) == 0)
            row = &types[i];
    if (row == NULL)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "'%s': element type '%s' is not read; uint8, uint16, uint32, int32, int64 and float32, "
                          "little-endian, are",
                          name, descr);
    size_t body = n - start - header;
    if ((uint64_t)array->elements > body / row->bytes || (uint64_t)array->elements * row->bytes != body)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "'%s' holds %zu bytes of data where its shape needs %lld elements of %zu", name, body,
                          (long long)array->elements, row->bytes);
    if ((uintptr_t)(b + start + header) % row->bytes != 0)
        return aira__fail(error, AIRA_E_CORRUPT, "'%s': its data is not aligned; write it again with NumPy", name);
    array->type = row->type;
    array->data = b + start + header;
    return AIRA_OK;
}

aira_status aira__npy_open(const char *path, aira__npy *array, aira_error *error) {
    *array = (aira__npy){0};
    void *mapping;
    size_t size;
    aira_status status = aira__file_map(path, "an .npy file", &mapping, &size, error);
    if (status != AIRA_OK) return status;
    status = aira__npy_parse(mapping, size, path, array, error);
    if (status != AIRA_OK) {
        munmap(mapping, size);
        return status;
    }
    array->mapping = mapping;
    array->mapping_size = size;
    return AIRA_OK;
}

void aira__npy_close(aira__npy *array) {
    if (array->mapping != NULL) munmap(array->mapping, array->mapping_size);
    *array = (aira__npy){0};
}

int64_t aira__npy_int(const aira__npy *array, int64_t i) {
    switch (array->type) {
    case AIRA_NPY_U8:
        return ((const uint8_t *)array->data)[i];
    case AIRA_NPY_U16:
        return ((const uint16_t *)array->data)[i];
    case AIRA_NPY_U32:
        return ((const uint32_t *)array->data)[i];
    case AIRA_NPY_I32:
        return ((const int32_t *)array->data)[i];
    case AIRA_NPY_I64:
        return ((const int64_t *)array->data)[i];
    case AIRA_NPY_F32: {
        double value = (double)((const float *)array->data)[i]; /* NaN and what does not fit give 0 */
        return value > -9e18 && value < 9e18 ? (int64_t)value : 0;
    }
    }
    return 0;
}

struct aira__npy_writer {
    aira__file_writer *file;
    char *path;
    size_t element_bytes;
    int64_t elements, added;
};

aira_status aira__npy_writer_open(const char *path, aira__npy_type type, const int64_t *shape, int rank,
                                  aira__npy_writer **out, aira_error *error) {
    *out = NULL;
    const type_row *row = find_type(type);
    if (row == NULL || (type != AIRA_NPY_I32 && type != AIRA_NPY_F32))
        return aira__fail(error, AIRA_E_UNSUPPORTED, "'%s': only int32 and float32 are written", path);
    if (rank < 0 || rank > AIRA_NPY_MAX_RANK)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "'%s': rank %d is not within 0 to 8", path, rank);
    char sizes[200] = "";
    int64_t elements = 1;
    for (int d = 0, used = 0; d < rank; d++) {
        if (shape[d] < 0 || __builtin_mul_overflow(elements, shape[d], &elements))
            return aira__fail(error, AIRA_E_UNSUPPORTED, "'%s': the shape does not fit in 64 bits", path);
        used += snprintf(sizes + used, sizeof sizes - (size_t)used, d == 0 ? "%lld," : " %lld,", (long long)shape[d]);
    }
    if (rank > 1) sizes[strlen(sizes) - 1] = 0; /* (3,) keeps its comma, (2, 3) has none */
    char header[384];
    int text = snprintf(header + 10, sizeof header - 10, "{'descr': '<%s', 'fortran_order': False, 'shape': (%s), }",
                        row->code, sizes);
    size_t total = ((size_t)text + 10 + 1 + 63) / 64 * 64; /* data begins at a multiple of 64 */
    memset(header + 10 + text, ' ', total - 10 - (size_t)text);
    header[total - 1] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((total - 10) & 255);
    header[9] = (char)((total - 10) >> 8);
    aira__npy_writer *writer = calloc(1, sizeof *writer);
    char *copy = strdup(path);
    if (writer == NULL || copy == NULL) {
        free(writer);
        free(copy);
        return aira__fail(error, AIRA_E_MEMORY, "no memory to write '%s'", path);
    }
    *writer = (aira__npy_writer){.path = copy, .element_bytes = row->bytes, .elements = elements};
    aira_status status = aira__file_writer_open(path, &writer->file, error);
    if (status == AIRA_OK) status = aira__file_writer_add(writer->file, header, total, error);
    if (status == AIRA_OK)
        *out = writer;
    else
        aira__npy_writer_abandon(writer);
    return status;
}

aira_status aira__npy_writer_add(aira__npy_writer *writer, const void *data, int64_t elements, aira_error *error) {
    if (elements < 0 || elements > writer->elements - writer->added)
        return aira__fail(error, AIRA_E_FAILED, "'%s': more elements than its shape holds", writer->path);
    writer->added += elements;
    return aira__file_writer_add(writer->file, data, (size_t)elements * writer->element_bytes, error);
}

aira_status aira__npy_writer_commit(aira__npy_writer *writer, aira_error *error) {
    aira_status status = AIRA_OK;
    if (writer->added != writer->elements)
        status = aira__fail(error, AIRA_E_FAILED, "'%s': %lld elements were written, its shape holds %lld",
                            writer->path, (long long)writer->added, (long long)writer->elements);
    if (status == AIRA_OK) {
        status = aira__file_writer_commit(writer->file, error);
        writer->file = NULL;
    }
    aira__npy_writer_abandon(writer);
    return status;
}

void aira__npy_writer_abandon(aira__npy_writer *writer) {
    if (writer == NULL) return;
    aira__file_writer_abandon(writer->file);
    free(writer->path);
    free(writer);
}

aira_status aira__npy_write(const char *path, aira__npy_type type, const void *data, const int64_t *shape, int rank,
                            aira_error *error) {
    aira__npy_writer *writer;
    aira_status status = aira__npy_writer_open(path, type, shape, rank, &writer, error);
    if (status != AIRA_OK) return status;
    status = aira__npy_writer_add(writer, data, writer->elements, error);
    if (status == AIRA_OK) return aira__npy_writer_commit(writer, error);
    aira__npy_writer_abandon(writer);
    return status;
}
