/* bytes.h - texts as ids for classification: byte + 1, cut to a length, padded with 0. Long Range Arena's encoding. */
#ifndef AIRA_DATASETS_BYTES_H
#define AIRA_DATASETS_BYTES_H

#include <stdint.h>

#define BYTES_VOCAB 257

static inline void bytes_encode(const uint8_t *text, uint64_t n, int64_t length, int32_t *out) {
    for (int64_t k = 0; k < length; k++) out[k] = (uint64_t)k < n ? text[k] + 1 : 0;
}

#endif
