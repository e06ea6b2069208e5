/* core/base/uniform.c - see uniform.h
 *
 * Philox blocks are independent, so with AVX2 four of them go through the rounds side by side, one in each 64-bit lane:
 * products need the low halves only, so what the high halves hold never matters. The numbers are the same either way.
 */
#include "core/base/uniform.h"

#include "aira/rng.h"

static void draw_singly(uint64_t key, uint64_t from, int64_t n, const aira__uniform_map *map, double *out) {
    uint32_t w[4] = {0};
    for (int64_t k = 0; k < n; k++) {
        uint64_t element = from + (uint64_t)k;
        if (k == 0 || element % 4 == 0) aira_philox(key, 0, element >> 2, w);
        double u = (float)(w[element & 3] >> 8) * 5.9604644775390625e-8f;
        out[k] = (map->shift + map->scale * u) * map->bound * map->mult;
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#include <stdbool.h>

enum { TOGETHER = 4 }; /* vectors under way, so that one's multiplications hide another's */

/* The map of the 24 high bits of the low halves as numbers in [0, 1). */
__attribute__((target("avx2"))) static inline __m256d number_of(__m256i word, const aira__uniform_map *map) {
    const __m256d power = _mm256_set1_pd(4503599627370496.0); /* 2^52: its last bits count ones */
    __m256i bits = _mm256_and_si256(_mm256_srli_epi64(word, 8), _mm256_set1_epi64x(0xffffff));
    __m256d whole = _mm256_castsi256_pd(_mm256_or_si256(bits, _mm256_castpd_si256(power)));
    __m256d u = _mm256_mul_pd(_mm256_sub_pd(whole, power), _mm256_set1_pd(5.9604644775390625e-8));
    u = _mm256_add_pd(_mm256_set1_pd(map->shift), _mm256_mul_pd(_mm256_set1_pd(map->scale), u));
    return _mm256_mul_pd(_mm256_mul_pd(u, _mm256_set1_pd(map->bound)), _mm256_set1_pd(map->mult));
}

/* Sixteen numbers: block l's four from lane l of the words. */
__attribute__((target("avx2"))) static inline void store_blocks(const __m256i word[4], const aira__uniform_map *map,
                                                                double *out) {
    __m256d a = number_of(word[0], map), b = number_of(word[1], map);
    __m256d c = number_of(word[2], map), d = number_of(word[3], map);
    __m256d ab_even = _mm256_unpacklo_pd(a, b), ab_odd = _mm256_unpackhi_pd(a, b);
    __m256d cd_even = _mm256_unpacklo_pd(c, d), cd_odd = _mm256_unpackhi_pd(c, d);
    _mm256_storeu_pd(out, _mm256_permute2f128_pd(ab_even, cd_even, 0x20));
    _mm256_storeu_pd(out + 4, _mm256_permute2f128_pd(ab_odd, cd_odd, 0x20));
    _mm256_storeu_pd(out + 8, _mm256_permute2f128_pd(ab_even, cd_even, 0x31));
    _mm256_storeu_pd(out + 12, _mm256_permute2f128_pd(ab_odd, cd_odd, 0x31));
}

/* The numbers of blocks first .. first + 4 * TOGETHER - 1. */
__attribute__((target("avx2"))) static void draw_blocks(uint64_t key, uint64_t first, const aira__uniform_map *map,
                                                        double *out) {
    const __m256i m0 = _mm256_set1_epi64x(0xD2511F53), m1 = _mm256_set1_epi64x(0xCD9E8D57);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    __m256i c[TOGETHER][4];
#pragma GCC unroll 4
    for (int v = 0; v < TOGETHER; v++) {
        __m256i block = _mm256_add_epi64(_mm256_set1_epi64x((long long)(first + 4 * (uint64_t)v)),
                                         _mm256_set_epi64x(3, 2, 1, 0));
        c[v][0] = block;
        c[v][1] = _mm256_srli_epi64(block, 32);
        c[v][2] = c[v][3] = _mm256_setzero_si256();
    }
    for (int round = 0; round < 10; round++) {
        const __m256i key0 = _mm256_set1_epi64x(k0), key1 = _mm256_set1_epi64x(k1);
#pragma GCC unroll 4
        for (int v = 0; v < TOGETHER; v++) {
            __m256i p0 = _mm256_mul_epu32(m0, c[v][0]), p1 = _mm256_mul_epu32(m1, c[v][2]);
            c[v][0] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c[v][1]), key0);
            c[v][2] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c[v][3]), key1);
            c[v][1] = p1;
            c[v][3] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
#pragma GCC unroll 4
    for (int v = 0; v < TOGETHER; v++) store_blocks(c[v], map, out + 16 * v);
}

static int64_t draw_together(uint64_t key, uint64_t from, int64_t n, const aira__uniform_map *map, double *out) {
    const int64_t most = 16 * TOGETHER;
    int64_t k = 0;
    if (!__builtin_cpu_supports("avx2")) return 0;
    for (; k + most <= n; k += most) draw_blocks(key, (from + (uint64_t)k) >> 2, map, out + k);
    return k;
}
#else
static int64_t draw_together(uint64_t key, uint64_t from, int64_t n, const aira__uniform_map *map, double *out) {
    (void)key, (void)from, (void)n, (void)map, (void)out;
    return 0;
}
#endif

void aira__uniforms(uint64_t key, uint64_t from, int64_t n, const aira__uniform_map *map, double *out) {
    int64_t k = (int64_t)(-from & 3); /* up to a whole block */
    if (k > n) k = n;
    draw_singly(key, from, k, map, out);
    k += draw_together(key, from + (uint64_t)k, n - k, map, out + k);
    draw_singly(key, from + (uint64_t)k, n - k, map, out + k);
}
