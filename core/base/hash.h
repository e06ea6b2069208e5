/* core/base/hash.h - SHA-256 (identities of configurations, plugins, data, candidates) and CRC-32C (hand-over files).
 *
 * Both are plain portable code with published check values in tests/unit/base_hash.c. Hex is lower case.
 */
#ifndef AIRA_BASE_HASH_H
#define AIRA_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

typedef struct aira__sha256_ctx {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} aira__sha256_ctx;

void aira__sha256_start(aira__sha256_ctx *);
void aira__sha256_add(aira__sha256_ctx *, const void *data, size_t n);
void aira__sha256_finish(aira__sha256_ctx *, uint8_t out[32]);
void aira__sha256_finish_hex(aira__sha256_ctx *, char out[65]);

void aira__sha256(const void *data, size_t n, uint8_t out[32]);
void aira__sha256_hex(const void *data, size_t n, char out[65]);
aira_status aira__sha256_file(const char *path, char out[65], aira_error *);

/* CRC-32C (Castagnoli). Continue with the value so far; start with 0. */
uint32_t aira__crc32c(uint32_t crc, const void *data, size_t n);

#endif
