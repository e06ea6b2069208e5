/* shard.h - what kind of token file a block of bytes is, and where its tokens lie.
 *
 * Known by their first bytes: .npy of uint16, uint32 or int32 (any shape, read in C order), and llm.c's shards, 256
 * int32 of header (magic, version, number of tokens) and then uint16 (20240520, version 1) or uint32 (20240801,
 * version 7) tokens. Everything else is raw: tokens from the first byte to the last, of the width that the user names.
 * Nothing in the file is trusted: on success data .. data + n * width lies inside it.
 */
#ifndef AIRA_TOKENS_SHARD_H
#define AIRA_TOKENS_SHARD_H

#include "../common/npy.h"

#define SHARD_HEADER 1024u
#define SHARD_MAGIC_U16 20240520u /* version 1 */
#define SHARD_MAGIC_U32 20240801u /* version 7 */

typedef struct shard {
    uint32_t width; /* 2 or 4 */
    uint64_t n;     /* tokens */
    uint64_t row;   /* tokens of a row, where the file says so (.npy of two axes); else 0 */
    const uint8_t *data;
} shard;

static inline uint32_t shard_word(const uint8_t *bytes, uint32_t i) {
    uint32_t word;
    memcpy(&word, bytes + 4 * i, sizeof word);
    return word;
}

static inline bool shard_npy(const uint8_t *bytes, uint64_t n, shard *out, const char **wrong) {
    data_npy a;
    if (!data_npy_parse(bytes, n, &a, wrong)) return false;
    *wrong = "its elements are not uint16, uint32 or int32";
    if (!(a.width == 4 || (a.width == 2 && a.kind == 'u'))) return false;
    *out = (shard){a.width, a.elements, a.rank == 2 ? a.shape[1] : 0, a.data};
    return true;
}

static inline bool shard_llmc(const uint8_t *bytes, uint64_t n, shard *out, const char **wrong) {
    uint32_t magic = shard_word(bytes, 0), version = shard_word(bytes, 1), count = shard_word(bytes, 2);
    uint32_t width = magic == SHARD_MAGIC_U16 ? 2 : 4;
    *wrong = "its header has an unknown version (known: 1 with 16-bit, 7 with 32-bit tokens)";
    if (version != (width == 2 ? 1u : 7u)) return false;
    *wrong = "it ends within its header of 1,024 bytes";
    if (n < SHARD_HEADER) return false;
    *wrong = "its header promises another number of tokens than follow";
    if ((uint64_t)count * width != n - SHARD_HEADER) return false;
    *out = (shard){width, count, 0, bytes + SHARD_HEADER};
    return true;
}

/* width: 2 or 4 as the user says, 0 for "see the header". wrong: the reason, as "it ends ...", when false. */
static inline bool shard_parse(const uint8_t *bytes, uint64_t n, uint32_t width, shard *out, const char **wrong) {
    memset(out, 0, sizeof *out);
    uint32_t magic = n >= 12 ? shard_word(bytes, 0) : 0;
    if (data_npy_is(bytes, n)) {
        if (!shard_npy(bytes, n, out, wrong)) return false;
    } else if (magic == SHARD_MAGIC_U16 || magic == SHARD_MAGIC_U32) {
        if (!shard_llmc(bytes, n, out, wrong)) return false;
    } else {
        *wrong = "it has no header that is known, so its tokens are raw: say dtype: uint16 or dtype: uint32";
        if (width == 0) return false;
        *wrong = "its size is no multiple of a token's bytes";
        if (n % width) return false;
        *out = (shard){width, n / width, 0, bytes};
    }
    *wrong = "its header names another dtype than the configuration";
    return width == 0 || width == out->width;
}

#endif
