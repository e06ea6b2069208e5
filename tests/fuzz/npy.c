/* tests/fuzz/npy.c - any bytes as .npy: what is accepted lies within the bytes. */
#include <stdlib.h>
#include <string.h>

#include "core/base/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    void *bytes = aligned_alloc(64, (size + 64) / 64 * 64); /* as a mapped file is */
    if (bytes == NULL) abort();
    if (size > 0) memcpy(bytes, data, size);
    aira__npy array;
    if (aira__npy_parse(bytes, size, "fuzz.npy", &array, NULL) == AIRA_OK) {
        int64_t elements = 1, sum = 0;
        for (int d = 0; d < array.rank; d++) elements *= array.shape[d];
        if (elements != array.elements) abort();
        for (int64_t i = 0; i < elements; i++) sum ^= aira__npy_int(&array, i);
        if (elements == 0 && sum != 0) abort();
    }
    free(bytes);
    return 0;
}
