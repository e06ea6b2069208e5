/* real.h - the type that one compilation of a reference file computes in: float, or double with AIRA_CPU_F64.
 *
 * Reference files are compiled twice. NAME(x) is x_f32 or x_f64; R(x) is the libm function x of the type.
 */
#ifndef AIRA_CPU_REAL_H
#define AIRA_CPU_REAL_H

#include <math.h>

#ifdef AIRA_CPU_F64
typedef double real;
#define NAME(name) name##_f64
#define R(function) function
#else
typedef float real;
#define NAME(name) name##_f32
#define R(function) function##f
#endif

#endif
