/* tests/fuzz/data_npy.c - the .npy header parser of the data sets: what it accepts lies inside the bytes it was given.
 */
#include <stdlib.h>

#include "plugins/datasets/common/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile int64_t seen; /* keeps the reads of every byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    data_npy a;
    const char *wrong = NULL;
    if (!data_npy_parse(data, size, &a, &wrong)) {
        if (wrong == NULL) abort();
        return 0;
    }
    uint64_t product = 1;
    for (uint32_t i = 0; i < a.rank; i++) product *= a.shape[i];
    if (product != a.elements || a.data < data || a.elements * a.width != (uint64_t)(data + size - a.data)) abort();
    for (uint64_t i = 0; i < a.elements; i++) seen = data_npy_int(&a, i);
    return 0;
}
