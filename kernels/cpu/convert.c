/* convert.c - element types into each other. bf16 is the upper half of an fp32 number, rounded to nearest even. */
#include "convert.h"

#include <string.h>

#include "cpu.h"

static double load(const void *from, uint32_t dtype, int64_t k) {
    switch (dtype) {
    case AIRA_F64:
        return ((const double *)from)[k];
    case AIRA_BF16:
        return (double)cpu_bf16_to_f32(((const uint16_t *)from)[k]);
    case AIRA_I32:
        return ((const int32_t *)from)[k];
    default:
        return (double)((const float *)from)[k];
    }
}

static void store(void *to, uint32_t dtype, int64_t k, double value) {
    switch (dtype) {
    case AIRA_F64:
        ((double *)to)[k] = value;
        break;
    case AIRA_BF16:
        ((uint16_t *)to)[k] = cpu_f32_to_bf16((float)value);
        break;
    case AIRA_I32:
        ((int32_t *)to)[k] = cpu_to_i32(value);
        break;
    default:
        ((float *)to)[k] = (float)value;
        break;
    }
}

void cpu_convert(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, int64_t n) {
    if (to_dtype == from_dtype) {
        memmove(to, from, (size_t)n * cpu_bytes_of(to_dtype));
    } else if (to_dtype == AIRA_F32 && from_dtype == AIRA_BF16) {
        for (int64_t k = 0; k < n; k++) ((float *)to)[k] = cpu_bf16_to_f32(((const uint16_t *)from)[k]);
    } else if (to_dtype == AIRA_BF16 && from_dtype == AIRA_F32) {
        for (int64_t k = 0; k < n; k++) ((uint16_t *)to)[k] = cpu_f32_to_bf16(((const float *)from)[k]);
    } else {
        for (int64_t k = 0; k < n; k++) store(to, to_dtype, k, load(from, from_dtype, k));
    }
}
