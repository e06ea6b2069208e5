/* core/base/npy.h - NumPy's .npy files: the arrays that go in and out of the program.
 *
 * Read: format versions 1 and 2, C order, little-endian u1 u2 u4 i4 i8 f4; anything else is refused with what was
 * found. The header is not trusted: sizes are checked against the file before anything is allocated for them. Written:
 * version 1, i4 and f4, whole under its final name or not at all.
 */
#ifndef AIRA_BASE_NPY_H
#define AIRA_BASE_NPY_H

#include <stdint.h>

#include "core/base/error.h"

typedef enum { AIRA_NPY_U8 = 1, AIRA_NPY_U16, AIRA_NPY_U32, AIRA_NPY_I32, AIRA_NPY_I64, AIRA_NPY_F32 } aira__npy_type;

#define AIRA_NPY_MAX_RANK 8

typedef struct aira__npy {
    aira__npy_type type;
    int rank; /* 0: one element */
    int64_t shape[AIRA_NPY_MAX_RANK];
    int64_t elements;
    const void *data; /* aligned for its type; valid until close */
    void *mapping;    /* the file in memory; private */
    size_t mapping_size;
} aira__npy;

/* Maps the file into memory (read only). Parsing alone is aira__npy_parse. */
aira_status aira__npy_open(const char *path, aira__npy *, aira_error *);
void aira__npy_close(aira__npy *);
/* From memory: array->data points into bytes; no close needed. name stands for the file in sentences. */
aira_status aira__npy_parse(const void *bytes, size_t n, const char *name, aira__npy *array, aira_error *);

/* Element i as an integer (F32 truncated). 0 <= i < elements. */
int64_t aira__npy_int(const aira__npy *, int64_t i);
const char *aira__npy_type_name(aira__npy_type); /* "uint16" */

/* type: AIRA_NPY_I32 or AIRA_NPY_F32; data dense, product(shape) elements. */
aira_status aira__npy_write(const char *path, aira__npy_type type, const void *data, const int64_t *shape, int rank,
                            aira_error *);

/* The same in pieces along the first axis: the shape is given at the start, then rows, then commit. */
typedef struct aira__npy_writer aira__npy_writer;
aira_status aira__npy_writer_open(const char *path, aira__npy_type type, const int64_t *shape, int rank,
                                  aira__npy_writer **, aira_error *);
aira_status aira__npy_writer_add(aira__npy_writer *, const void *data, int64_t elements, aira_error *);
/* Fails if the elements added are not those of the shape. Frees the writer, as abandon does. */
aira_status aira__npy_writer_commit(aira__npy_writer *, aira_error *);
void aira__npy_writer_abandon(aira__npy_writer *);

#endif
