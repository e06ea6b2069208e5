/* core/base/hash.c - see hash.h; FIPS 180-4 written out plainly. */
#include "core/base/hash.h"

#include <errno.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t early = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t late = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + early + w[i - 7] + late;
    }
    /* Eight variables instead of an array: they stay in registers. */
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

/* --- the same by the processor's own instructions, six times as fast: plugins are hashed at every start
 * ---------------- */

#if defined(__x86_64__)
static bool has_sha_instructions(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0;
}

/* The state is held as two vectors, (a b e f) and (c d g h), which is how the instructions want it; w is the message
   schedule, four words at a time. */
__attribute__((target("sha,sse4.1"))) static void compress_by_instructions(uint32_t state[8], const uint8_t *p,
                                                                           size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(void *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; blocks > 0; blocks--, p += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[16];
        for (int i = 0; i < 16; i++) {
            if (i < 4)
                w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), swap);
            else
                w[i] = _mm_sha256msg2_epu32(
                    _mm_add_epi32(_mm_sha256msg1_epu32(w[i - 4], w[i - 3]), _mm_alignr_epi8(w[i - 1], w[i - 2], 4)),
                    w[i - 1]);
            __m128i k = _mm_loadu_si128((const __m128i *)(const void *)(round_constants + 4 * i));
            __m128i m = _mm_add_epi32(w[i], k);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, m);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(m, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}
#endif

static void compress_all(uint32_t state[8], const uint8_t *p, size_t blocks) {
#if defined(__x86_64__)
    static atomic_int known; /* 1 no, 2 yes: a virtual machine asks its host for every CPUID, which is slow */
    int has = atomic_load_explicit(&known, memory_order_relaxed);
    if (!has) atomic_store_explicit(&known, has = 1 + has_sha_instructions(), memory_order_relaxed);
    if (has == 2) {
        compress_by_instructions(state, p, blocks);
        return;
    }
#endif
    for (; blocks > 0; blocks--, p += 64) compress(state, p);
}

void aira__sha256_start(aira__sha256_ctx *ctx) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(ctx->state, initial, sizeof initial);
    ctx->bytes = 0;
}

void aira__sha256_add(aira__sha256_ctx *ctx, const void *data, size_t n) {
    const uint8_t *p = data;
    size_t used = ctx->bytes % 64;
    ctx->bytes += n;
    if (used > 0) {
        size_t take = n < 64 - used ? n : 64 - used;
        if (take > 0) memcpy(ctx->block + used, p, take);
        if (used + take < 64) return;
        compress_all(ctx->state, ctx->block, 1);
        p += take;
        n -= take;
    }
    compress_all(ctx->state, p, n / 64);
    p += n / 64 * 64;
    n %= 64;
    if (n > 0) memcpy(ctx->block, p, n);
}

void aira__sha256_finish(aira__sha256_ctx *ctx, uint8_t out[32]) {
    uint64_t bits = ctx->bytes * 8;
    uint8_t tail[72] = {0x80};
    size_t used = ctx->bytes % 64, zeros = used < 56 ? 56 - used : 120 - used;
    for (int i = 0; i < 8; i++) tail[zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    aira__sha256_add(ctx, tail, zeros + 8);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(ctx->state[i / 4] >> (24 - 8 * (i % 4)));
}

void aira__sha256_finish_hex(aira__sha256_ctx *ctx, char out[65]) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[32];
    aira__sha256_finish(ctx, digest);
    for (int i = 0; i < 32; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[64] = 0;
}

void aira__sha256(const void *data, size_t n, uint8_t out[32]) {
    aira__sha256_ctx ctx;
    aira__sha256_start(&ctx);
    aira__sha256_add(&ctx, data, n);
    aira__sha256_finish(&ctx, out);
}

void aira__sha256_hex(const void *data, size_t n, char out[65]) {
    aira__sha256_ctx ctx;
    aira__sha256_start(&ctx);
    aira__sha256_add(&ctx, data, n);
    aira__sha256_finish_hex(&ctx, out);
}

aira_status aira__sha256_file(const char *path, char out[65], aira_error *error) {
    FILE *file = fopen(path, "rbe");
    if (file == NULL) return aira__fail(error, AIRA_E_IO, "cannot open '%s': %s", path, strerror(errno));
    aira__sha256_ctx ctx;
    aira__sha256_start(&ctx);
    char buffer[16384];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0) aira__sha256_add(&ctx, buffer, n);
    bool bad = ferror(file) != 0;
    int reason = errno;
    fclose(file);
    if (bad) return aira__fail(error, AIRA_E_IO, "cannot read '%s': %s", path, strerror(reason));
    aira__sha256_finish_hex(&ctx, out);
    return AIRA_OK;
}

uint32_t aira__crc32c(uint32_t crc, const void *data, size_t n) {
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}
