/* aira/rng.h - counter-based random numbers (Philox4x32-10; Salmon et al., SC 2011), the only generator in aira.
 *
 * A draw is a pure function of (key, counter), so nothing depends on call order. Static inline: no symbol crosses.
 */
#ifndef AIRA_RNG_H
#define AIRA_RNG_H

#include <math.h>
#include <stdint.h>

#ifndef AIRA_RNG_FUNCTION /* a device compiler may add its own qualifiers */
#define AIRA_RNG_FUNCTION static inline
#endif

typedef struct aira_rng {
    uint64_t key;     /* stream: hash of seed and name */
    uint64_t stream;  /* second half of the counter: split, row, ... */
    uint64_t counter; /* blocks used */
    uint32_t buffer[4];
    uint32_t left, reserved; /* unused words in buffer */
} aira_rng;

/* One Philox4x32-10 block. */
AIRA_RNG_FUNCTION void aira_philox(uint64_t key, uint64_t hi, uint64_t lo, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)lo, c1 = (uint32_t)(lo >> 32), c2 = (uint32_t)hi, c3 = (uint32_t)(hi >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* 64-bit hash of a name under a seed (FNV-1a, then a finaliser): the key of a stream. */
AIRA_RNG_FUNCTION uint64_t aira_key(uint64_t seed, const char *name) {
    uint64_t h = 0xcbf29ce484222325ull ^ (seed * 0x9e3779b97f4a7c15ull);
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001b3ull;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ull;
    return h ^ (h >> 33);
}

AIRA_RNG_FUNCTION aira_rng aira_rng_make(uint64_t key, uint64_t stream) {
    aira_rng r = {key, stream, 0, {0, 0, 0, 0}, 0, 0};
    return r;
}

AIRA_RNG_FUNCTION uint32_t aira_rng_u32(aira_rng *r) {
    if (r->left == 0) {
        aira_philox(r->key, r->stream, r->counter++, r->buffer);
        r->left = 4;
    }
    return r->buffer[--r->left];
}

AIRA_RNG_FUNCTION uint64_t aira_rng_u64(aira_rng *r) {
    uint64_t hi = aira_rng_u32(r);
    return hi << 32 | aira_rng_u32(r);
}

/* Uniform in [0, 1), 53 bits. */
AIRA_RNG_FUNCTION double aira_rng_uniform(aira_rng *r) {
    return (double)(aira_rng_u64(r) >> 11) * 1.1102230246251565e-16;
}

/* Uniform integer in 0 .. n-1, without bias (Lemire's rejection). n >= 1. */
AIRA_RNG_FUNCTION uint32_t aira_rng_below(aira_rng *r, uint32_t n) {
    uint64_t m = (uint64_t)aira_rng_u32(r) * n;
    if ((uint32_t)m < n) {
        uint32_t threshold = (0u - n) % n;
        while ((uint32_t)m < threshold) m = (uint64_t)aira_rng_u32(r) * n;
    }
    return (uint32_t)(m >> 32);
}

/* Standard normal (Box-Muller, one of the pair). */
AIRA_RNG_FUNCTION double aira_rng_normal(aira_rng *r) {
    double u = 1.0 - aira_rng_uniform(r), v = aira_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925286766559 * v);
}

/* The element-th value of a RANDOM op: pure in (key, draw, element), the same on every device. Uniform in [0,1). */
AIRA_RNG_FUNCTION float aira_element_uniform(uint64_t key, uint64_t draw, uint64_t element) {
    uint32_t w[4];
    aira_philox(key, draw, element >> 2, w);
    return (float)(w[element & 3] >> 8) * 5.9604644775390625e-8f;
}

AIRA_RNG_FUNCTION float aira_element_normal(uint64_t key, uint64_t draw, uint64_t element) {
    uint32_t w[4];
    aira_philox(key, draw, element >> 1, w);
    const uint32_t *pair = w + 2 * (element & 1);
    double u = ((double)pair[0] + 0.5) * 2.3283064365386963e-10, v = (double)pair[1] * 2.3283064365386963e-10;
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586476925286766559 * v));
}

#endif
