/* convert.h - one element at a time: bf16 and I32 from and to floating point. */
#ifndef AIRA_CPU_CONVERT_H
#define AIRA_CPU_CONVERT_H

#include <stdint.h>
#include <string.h>

static inline float cpu_bf16_to_f32(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* To nearest, ties to even; a NaN stays a (quiet) NaN. */
static inline uint16_t cpu_f32_to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* Towards zero; out of range saturates, NaN gives 0. */
static inline int32_t cpu_to_i32(double value) {
    if (!(value > -2147483649.0)) return value < 0 ? INT32_MIN : 0;
    return value < 2147483648.0 ? (int32_t)value : INT32_MAX;
}

#endif
