/* elementwise.h - elementwise arithmetic on short arrays: the inner loops of chains.
 *
 * Every function computes out[k] = op(a[k], b[k], c[k]) for k in 0 .. n-1. out may be one of the operands. Comparisons
 * give 0 or 1. mode is the op's attribute (GELU: 0 tanh approximation, 1 exact). truncate: results are I32, so that
 * division truncates towards zero.
 */
#ifndef AIRA_CPU_ELEMENTWISE_H
#define AIRA_CPU_ELEMENTWISE_H

#include <stdbool.h>
#include <stdint.h>

/* elementwise.c, compiled for float and for double: plain loops over libm. */
void cpu_elementwise_f32(uint32_t op, int64_t mode, bool truncate, int64_t n, float *out, const float *a,
                         const float *b, const float *c);
void cpu_elementwise_f64(uint32_t op, int64_t mode, bool truncate, int64_t n, double *out, const double *a,
                         const double *b, const double *c);

#endif
