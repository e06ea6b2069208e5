/* elementwise.c - reference arithmetic of elementwise ops: one plain loop per op. Compiled for float and for double. */
#include "elementwise.h"

#include <string.h>

#include "aira/op_table.h"
#include "real.h"

static real gelu(real x, int64_t exact) {
    if (exact) return (real)0.5 * x * (1 + R(erf)(x * (real)0.70710678118654752440));
    real u = (real)0.79788456080286535588 * (x + (real)0.044715 * x * x * x);
    return (real)0.5 * x * (1 + R(tanh)(u));
}

static real gelu_slope(real x, int64_t exact) {
    if (exact) {
        real density = (real)0.39894228040143267794 * R(exp)((real)-0.5 * x * x);
        return (real)0.5 * (1 + R(erf)(x * (real)0.70710678118654752440)) + x * density;
    }
    real u = (real)0.79788456080286535588 * (x + (real)0.044715 * x * x * x);
    real t = R(tanh)(u), du = (real)0.79788456080286535588 * (1 + (real)0.134145 * x * x);
    return (real)0.5 * (1 + t) + (real)0.5 * x * (1 - t * t) * du;
}

static real sigmoid(real x) {
    if (x >= 0) return 1 / (1 + R(exp)(-x));
    real e = R(exp)(x);
    return e / (1 + e);
}

static real silu_slope(real x) {
    real s = sigmoid(x);
    return s * (1 + x * (1 - s));
}

static real softplus(real x) { return x > 0 ? x + R(log1p)(R(exp)(-x)) : R(log1p)(R(exp)(x)); }
static real smaller(real a, real b) { return isnan(a) || isnan(b) ? a + b : a < b ? a : b; }
static real larger(real a, real b) { return isnan(a) || isnan(b) ? a + b : a > b ? a : b; }

#define LOOP(expression)                                 \
    for (int64_t k = 0; k < n; k++) out[k] = expression; \
    break

void NAME(cpu_elementwise)(uint32_t op, int64_t mode, bool truncate, int64_t n, real *out, const real *a, const real *b,
                           const real *c) {
    switch (op) {
    case AIRA_OP_NEG:
        LOOP(-a[k]);
    case AIRA_OP_EXP:
        LOOP(R(exp)(a[k]));
    case AIRA_OP_LOG:
        LOOP(R(log)(a[k]));
    case AIRA_OP_SQRT:
        LOOP(R(sqrt)(a[k]));
    case AIRA_OP_RSQRT:
        LOOP(1 / R(sqrt)(a[k]));
    case AIRA_OP_SIGMOID:
        LOOP(sigmoid(a[k]));
    case AIRA_OP_TANH:
        LOOP(R(tanh)(a[k]));
    case AIRA_OP_SILU:
        LOOP(a[k] * sigmoid(a[k]));
    case AIRA_OP_GELU:
        LOOP(gelu(a[k], mode));
    case AIRA_OP_RELU:
        LOOP(a[k] < 0 ? 0 : a[k]);
    case AIRA_OP_SOFTPLUS:
        LOOP(softplus(a[k]));
    case AIRA_OP_SIN:
        LOOP(R(sin)(a[k]));
    case AIRA_OP_COS:
        LOOP(R(cos)(a[k]));
    case AIRA_OP_ABS:
        LOOP(R(fabs)(a[k]));
    case AIRA_OP_ADD:
        LOOP(a[k] + b[k]);
    case AIRA_OP_SUB:
        LOOP(a[k] - b[k]);
    case AIRA_OP_MUL:
        LOOP(a[k] * b[k]);
    case AIRA_OP_DIV:
        if (truncate) {
            LOOP(R(trunc)(a[k] / b[k]));
        }
        LOOP(a[k] / b[k]);
    case AIRA_OP_MIN:
        LOOP(smaller(a[k], b[k]));
    case AIRA_OP_MAX:
        LOOP(larger(a[k], b[k]));
    case AIRA_OP_POW:
        LOOP(R(pow)(a[k], b[k]));
    case AIRA_OP_EQ:
        LOOP(a[k] == b[k]);
    case AIRA_OP_NE:
        LOOP(a[k] != b[k]);
    case AIRA_OP_LT:
        LOOP(a[k] < b[k]);
    case AIRA_OP_LE:
        LOOP(a[k] <= b[k]);
    case AIRA_OP_GT:
        LOOP(a[k] > b[k]);
    case AIRA_OP_GE:
        LOOP(a[k] >= b[k]);
    case AIRA_OP_GELU_BACKWARD:
        LOOP(b[k] * gelu_slope(a[k], mode));
    case AIRA_OP_SILU_BACKWARD:
        LOOP(b[k] * silu_slope(a[k]));
    case AIRA_OP_WHERE:
        LOOP(a[k] != 0 ? b[k] : c[k]);
    default: /* CAST, BROADCAST, ASSIGN: loading and storing do the work */
        if (out != a) memmove(out, a, (size_t)n * sizeof *out);
        break;
    }
}
