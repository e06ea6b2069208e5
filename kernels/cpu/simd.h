/* simd.h - vectors of floats for the fast kernels: one text, compiled once per instruction set.
 *
 * A file that includes this is compiled with the flags of its set (CMakeLists.txt) and with AIRA_CPU_ISA naming it, so
 * that FAST(x) is x_avx2 or x_avx512. VL is the number of floats in a vector. Arithmetic is GCC's vector extension;
 * intrinsics appear where the compiler has no word for it.
 */
#ifndef AIRA_CPU_SIMD_H
#define AIRA_CPU_SIMD_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "convert.h"

#define FAST_JOIN2(a, b) a##_##b
#define FAST_JOIN(a, b) FAST_JOIN2(a, b)
#define FAST(name) FAST_JOIN(name, AIRA_CPU_ISA)

#ifdef __AVX512F__
#define VL 16
#else
#define VL 8
#endif

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));
typedef uint32_t vu __attribute__((vector_size(4 * VL)));
typedef uint16_t vh __attribute__((vector_size(2 * VL)));
typedef float vf_any __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef uint16_t vh_any __attribute__((vector_size(2 * VL), aligned(2), may_alias));

static inline vf vload(const float *from) { return *(const vf_any *)from; }
static inline void vstore(float *to, vf x) { *(vf_any *)to = x; }
static inline vf vset(float x) {
#ifdef __AVX512F__
    return (vf)_mm512_set1_ps(x);
#else
    return (vf)_mm256_set1_ps(x);
#endif
}
static inline vf vselect(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
static inline vf vmax(vf a, vf b) { return vselect(a > b, a, b); } /* b where either is NaN */
static inline vf vmin(vf a, vf b) { return vselect(a < b, a, b); }
/* x within low .. high; NaN stays. */
static inline vf vclip(vf x, float low, float high) {
#ifdef __AVX512F__
    return (vf)_mm512_max_ps((__m512)vset(low), _mm512_min_ps((__m512)vset(high), (__m512)x));
#else
    return (vf)_mm256_max_ps((__m256)vset(low), _mm256_min_ps((__m256)vset(high), (__m256)x));
#endif
}
static inline vf vabs(vf x) { return (vf)((vi)x & 0x7fffffff); }

/* First n (1 .. VL-1) elements; the rest is 0. */
static inline vf vload_part(const float *from, int64_t n) {
    vf x = {0};
    memcpy(&x, from, (size_t)n * sizeof(float));
    return x;
}
static inline void vstore_part(float *to, vf x, int64_t n) { memcpy(to, &x, (size_t)n * sizeof(float)); }

static inline vf vload_bf16(const uint16_t *from) {
#ifdef __AVX512F__
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from));
    return (vf)_mm512_slli_epi32(wide, 16);
#else
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)from));
    return (vf)_mm256_slli_epi32(wide, 16);
#endif
}

/* To nearest even; NaN stays NaN. */
static inline void vstore_bf16(uint16_t *to, vf x) {
    vu bits = (vu)x, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16, quiet = (bits >> 16) | 0x40;
    vi nan = x != x;
    vu half = ((vu)nan & quiet) | (~(vu)nan & rounded);
#ifdef __AVX512F__
    _mm256_storeu_si256((void *)to, _mm512_cvtepi32_epi16((__m512i)half));
#else
    __m256i packed = _mm256_packus_epi32((__m256i)half, (__m256i)half);
    _mm_storeu_si128((void *)to, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0xd8)));
#endif
}

/* Sums and maxima over lanes, always in the same order: halves, then quarters, .. */
static inline float vsum(vf x) {
    float lanes[VL];
    vstore(lanes, x);
    for (int width = VL / 2; width > 0; width /= 2) {
        for (int k = 0; k < width; k++) lanes[k] += lanes[k + width];
    }
    return lanes[0];
}
static inline float vpeak(vf x) {
    float lanes[VL];
    vstore(lanes, x);
    for (int width = VL / 2; width > 0; width /= 2) {
        for (int k = 0; k < width; k++) lanes[k] = lanes[k] > lanes[k + width] ? lanes[k] : lanes[k + width];
    }
    return lanes[0];
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

/* exp x = 2^n exp r with |r| <= log(2)/2: 1 + r + r^2 P(r), fitted for least relative error (6e-9 before rounding). */
static inline vf vexp(vf x) {
    x = vclip(x, -88.0f, 88.8f);          /* below: 2^-127 is written as 0; above: 2^128 as infinity */
    vf n = x * 1.44269504f + 12582912.0f; /* rounds to an integer in the low bits */
    vi k = (vi)n - (0x4b400000 - 127);
    n -= 12582912.0f;
    vf r = x - n * 0.693145752f;
    r -= n * 1.42860677e-6f;
    vf p = vset(0.0013941412f);
    p = p * r + 0.0083633484f;
    p = p * r + 0.0416663736f;
    p = p * r + 0.1666657627f;
    p = p * r + 0.5f;
    return (p * r * r + r + 1.0f) * (vf)(k << 23);
}

/* log x = k log 2 + log(1 + f), f in sqrt(1/2) - 1 .. sqrt(2) - 1. 0 gives -infinity, negative numbers NaN. */
static inline vf vlog(vf x) {
    vi tiny = x < 1.17549435e-38f;
    vf y = vselect(tiny, x * 8388608.0f, x);
    vi k = (((vi)y - 0x3f3504f3) >> 23);
    vf f = (vf)((vi)y - (k << 23)) - 1.0f;
    vf n = __builtin_convertvector(k, vf) - vselect(tiny, vset(23.0f), vset(0.0f));
    vf p = vset(-0.0787285343f);
    p = p * f + 0.1290014237f;
    p = p * f - 0.1313223094f;
    p = p * f + 0.1417882890f;
    p = p * f - 0.1662399769f;
    p = p * f + 0.2000237405f;
    p = p * f - 0.2500082553f;
    p = p * f + 0.3333331645f;
    vf s = f * f;
    vf result = p * f * s + n * 1.42860677e-6f - 0.5f * s + f + n * 0.693145752f;
    result = vselect(x == 0.0f, vset(-__builtin_inff()), result);
    result = vselect(x < 0.0f, vset(__builtin_nanf("")), result);
    return vselect((x == __builtin_inff()) | (x != x), x, result);
}

static inline vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

static inline vf vtanh(vf x) {
    vf a = vabs(x), s = x * x;
    vf p = vset(-0.0056607802f);
    p = p * s + 0.0206019990f;
    p = p * s - 0.0537292287f;
    p = p * s + 0.1333132833f;
    p = p * s - 0.3333327770f;
    vf small = x + x * s * p;
    vf large = 1.0f - 2.0f / (vexp(2.0f * a) + 1.0f);
    large = (vf)((vi)large | ((vi)x & (vi)vset(-0.0f)));
    return vselect(a < 0.62f, small, large);
}

/* log(1 + exp x) = max(x, 0) + log1p(exp -|x|); log1p y = log u + (y - (u - 1)) / u with u = 1 + y rounded. */
static inline vf vsoftplus(vf x) {
    vf y = vexp(-vabs(x)), u = 1.0f + y;
    vf large = vselect(x > 0.0f, x, vset(0.0f));
    vf sum = large + (vlog(u) + (y - (u - 1.0f)) / u);
    return vselect(x != x, x, sum);
}

/* erf z = z P(z^2) / Q(z^2) for |z| < 3.92, fitted for least relative error (2e-8 before rounding); +-1 beyond. */
static inline vf verf(vf z) {
    vf s = z * z;
    vf p = vset(2.0500720e-06f);
    p = p * s + 2.8488459e-04f;
    p = p * s + 3.7657011e-03f;
    p = p * s + 5.2748986e-02f;
    p = p * s + 1.9040842e-01f;
    p = p * s + 1.1283791f;
    vf q = vset(3.8091654e-05f);
    q = q * s + 1.1625558e-03f;
    q = q * s + 1.4969386e-02f;
    q = q * s + 1.1410993e-01f;
    q = q * s + 5.0207782e-01f;
    q = q * s + 1.0f;
    vf one = (vf)(((vi)z & (vi)vset(-0.0f)) | (vi)vset(1.0f));
    return vselect(vabs(z) >= 3.92f, one, z * p / q);
}

/* a - b c, rounded once */
static inline vf vfnma(vf a, vf b, vf c) {
#ifdef __AVX512F__
    return (vf)_mm512_fnmadd_ps((__m512)b, (__m512)c, (__m512)a);
#else
    return (vf)_mm256_fnmadd_ps((__m256)b, (__m256)c, (__m256)a);
#endif
}
static inline int vany(vi mask) {
#ifdef __AVX512F__
    return _mm512_movepi32_mask((__m512i)mask) != 0;
#else
    return _mm256_movemask_ps((__m256)mask) != 0;
#endif
}

/* y, but what the library says in the lanes where x is beyond 2^17 or no number. */
static inline vf vcircle_far(vf x, vf y, int32_t quarter) {
    float from[VL], to[VL];
    vstore(from, x);
    vstore(to, y);
    for (int k = 0; k < VL; k++) {
        if (!(__builtin_fabsf(from[k]) < 131072.0f))
            to[k] = quarter ? __builtin_cosf(from[k]) : __builtin_sinf(from[k]);
    }
    return vload(to);
}

/* sin (quarter 0) or cos (quarter 1) of x = k pi/2 + r: r + r^3 P(r^2) or 1 - r^2/2 + r^4 Q(r^2) with |r| <= pi/4,
   interpolated at Chebyshev's points (1.2e-8 before rounding). pi/2 is taken away in two parts, each rounded once, so
   that r is right to fp32's last bits; beyond 2^17 it would not be, and NaN needs no care: there the library answers.
 */
static inline vf vcircle(vf x, int32_t quarter) {
    vf n = x * 0.636619772f + 12582912.0f; /* rounds to an integer in the low bits */
    vi k = (vi)n + quarter;
    n -= 12582912.0f;
    vf r = vfnma(vfnma(x, n, vset(1.57079637f)), n, vset(-4.37113901e-8f)), s = r * r;
    vf p = vset(-0.000195876393f), q = vset(2.45476897e-05f);
    p = p * s + 0.0083327471f;
    p = p * s - 0.166666647f;
    q = q * s - 0.00138883019f;
    q = q * s + 0.0416666647f;
    vf y = vselect((k & 1) != 0, 1.0f - 0.5f * s + s * s * q, r + r * s * p);
    y = (vf)((vi)y ^ ((k & 2) << 30));
    return vany(~(vabs(x) < 131072.0f)) ? vcircle_far(x, y, quarter) : y;
}

/* Normal distribution: the share below x. */
static inline vf vnormal_below(vf x) { return 0.5f + 0.5f * verf(x * 0.70710678f); }

/* tanh form: x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3). */
static inline vf vgelu_tanh(vf x) {
    vf u = x * (1.59576912f + 0.0713548163f * x * x);
    return x * vsigmoid(u);
}
static inline vf vgelu_tanh_slope(vf x) {
    vf s = vsigmoid(x * (1.59576912f + 0.0713548163f * x * x));
    return s + x * s * (1.0f - s) * (1.59576912f + 0.2140644488f * x * x);
}
static inline vf vgelu_exact(vf x) { return x * vnormal_below(x); }
static inline vf vgelu_exact_slope(vf x) { return vnormal_below(x) + 0.39894228f * x * vexp(-0.5f * x * x); }
static inline vf vsilu_slope(vf x) {
    vf s = vsigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

#endif
