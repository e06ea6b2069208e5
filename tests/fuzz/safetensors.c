/* tests/fuzz/safetensors.c - any bytes as safetensors: every accepted tensor lies within the bytes and is found again.
 */
#include <stdlib.h>

#include "core/base/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned seen; /* keeps the reads of every byte */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    aira__safetensors *st;
    if (aira__safetensors_parse(data, size, "fuzz", &st, NULL) != AIRA_OK) return 0;
    unsigned sum = 0;
    for (int i = 0; i < aira__safetensors_count(st); i++) {
        const aira__safetensor *entry = aira__safetensors_entry(st, i);
        const uint8_t *bytes = entry->data;
        for (uint64_t k = 0; k < entry->bytes; k++) sum += bytes[k];
        if (aira__safetensors_find(st, entry->name) != entry) abort();
    }
    seen = sum;
    (void)aira__safetensors_metadata(st, "step");
    aira__safetensors_close(st);
    return 0;
}
