/* core/base/safetensors.h - named tensors in one file: weights and checkpoints.
 *
 * The file: 8 bytes little-endian header length, that much JSON (starts with '{', at most 100,000,000 bytes, padded
 * with spaces so that the data begins at a multiple of 8), raw data. Enforced on reading, each with its own sentence:
 * no duplicate names, `__metadata__` from strings to strings, offsets relative to the data, begin <= end, no hole, no
 * overlap, no byte left over, and bytes = product(shape) * size of the type. Little-endian hosts only.
 */
#ifndef AIRA_BASE_SAFETENSORS_H
#define AIRA_BASE_SAFETENSORS_H

#include <stdint.h>

#include "core/base/error.h"

#define AIRA_SAFETENSORS_MAX_RANK 8

typedef struct aira__safetensor {
    const char *name;
    const char *dtype; /* "F32", "F64", "BF16", "F16", "I32", "I64" */
    int rank;          /* 0: a scalar */
    int64_t shape[AIRA_SAFETENSORS_MAX_RANK];
    const void *data; /* read: may be aligned to less than the element (foreign writers); memcpy it */
    uint64_t bytes;
} aira__safetensor;

typedef struct aira__safetensors aira__safetensors;

/* Maps the file; names and data stay valid until close. */
aira_status aira__safetensors_open(const char *path, aira__safetensors **, aira_error *);
/* From memory that outlives the object; name stands for the file in sentences. */
aira_status aira__safetensors_parse(const void *bytes, size_t n, const char *name, aira__safetensors **, aira_error *);
void aira__safetensors_close(aira__safetensors *); /* NULL is fine */
int aira__safetensors_count(const aira__safetensors *);
const aira__safetensor *aira__safetensors_entry(const aira__safetensors *, int i); /* in the order of the data */
const aira__safetensor *aira__safetensors_find(const aira__safetensors *, const char *name); /* NULL if none */
const char *aira__safetensors_metadata(const aira__safetensors *, const char *key);          /* NULL if none */

/* Writes atomically. keys[i] -> values[i] become `__metadata__`. Data in the given order. Names must differ. */
aira_status aira__safetensors_write(const char *path, const aira__safetensor *entries, int n, const char *const *keys,
                                    const char *const *values, int n_metadata, aira_error *);

uint64_t aira__safetensors_dtype_bytes(const char *dtype); /* 0: not one of the types above */

#endif
