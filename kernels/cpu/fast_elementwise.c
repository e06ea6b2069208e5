/* fast_elementwise.c - elementwise ops on vectors; what is rare (pow, roots) is left to the plain loops. */
#include "aira/op_table.h"
#include "elementwise.h"
#include "fast_kernels.h"
#include "simd.h"

/* One loop: whole vectors, then the rest through buffers of one vector, so that both take the same instructions. */
#define LOOP(expression)                                                                             \
    for (; k + VL <= n; k += VL) {                                                                   \
        vf x = vload(a + k), y = vload(b + k), z = vload(c + k);                                     \
        (void)y, (void)z;                                                                            \
        vstore(out + k, expression);                                                                 \
    }                                                                                                \
    if (k < n) {                                                                                     \
        vf x = vload_part(a + k, n - k), y = vload_part(b + k, n - k), z = vload_part(c + k, n - k); \
        (void)y, (void)z;                                                                            \
        vstore_part(out + k, expression, n - k);                                                     \
    }                                                                                                \
    break
#define ONE(mask) ((vf)((mask) & (vi)vset(1.0f)))

void FAST(cpu_elementwise)(uint32_t op, int64_t mode, bool truncate, int64_t n, float *out, const float *a,
                           const float *b, const float *c) {
    int64_t k = 0;
    const float *b_given = b, *c_given = c;
    if (!b) b = a;
    if (!c) c = a;
    switch (op) {
    case AIRA_OP_NEG:
        LOOP(-x);
    case AIRA_OP_EXP:
        LOOP(vexp(x));
    case AIRA_OP_LOG:
        LOOP(vlog(x));
    case AIRA_OP_SIGMOID:
        LOOP(vsigmoid(x));
    case AIRA_OP_TANH:
        LOOP(vtanh(x));
    case AIRA_OP_SILU:
        LOOP(vselect(x < -100.0f, vset(0.0f), x * vsigmoid(x)));
    case AIRA_OP_GELU:
        if (mode) {
            LOOP(vgelu_exact(x));
        }
        LOOP(vgelu_tanh(x));
    case AIRA_OP_RELU:
        LOOP(vselect(x < 0.0f, vset(0.0f), x));
    case AIRA_OP_SOFTPLUS:
        LOOP(vsoftplus(x));
    case AIRA_OP_SIN:
        LOOP(vcircle(x, 0));
    case AIRA_OP_COS:
        LOOP(vcircle(x, 1));
    case AIRA_OP_ABS:
        LOOP(vabs(x));
    case AIRA_OP_ADD:
        LOOP(x + y);
    case AIRA_OP_SUB:
        LOOP(x - y);
    case AIRA_OP_MUL:
        LOOP(x * y);
    case AIRA_OP_MIN:
        LOOP(vselect(x != x, x, vselect(x < y, x, y)));
    case AIRA_OP_MAX:
        LOOP(vselect(x != x, x, vselect(x > y, x, y)));
    case AIRA_OP_EQ:
        LOOP(ONE(x == y));
    case AIRA_OP_NE:
        LOOP(ONE(x != y));
    case AIRA_OP_LT:
        LOOP(ONE(x < y));
    case AIRA_OP_LE:
        LOOP(ONE(x <= y));
    case AIRA_OP_GT:
        LOOP(ONE(x > y));
    case AIRA_OP_GE:
        LOOP(ONE(x >= y));
    case AIRA_OP_GELU_BACKWARD:
        if (mode) {
            LOOP(y * vgelu_exact_slope(x));
        }
        LOOP(y * vgelu_tanh_slope(x));
    case AIRA_OP_SILU_BACKWARD:
        LOOP(y * vsilu_slope(x));
    case AIRA_OP_WHERE:
        LOOP(vselect(x != 0.0f, y, z));
    case AIRA_OP_DIV:
        if (!truncate) {
            LOOP(x / y);
        }
        cpu_elementwise_f32(op, mode, truncate, n, out, a, b_given, c_given);
        break;
    default:
        cpu_elementwise_f32(op, mode, truncate, n, out, a, b_given, c_given);
    }
}

void FAST(cpu_from_bf16)(float *to, const uint16_t *from, int64_t n) {
    int64_t k = 0;
    for (; k + VL <= n; k += VL) vstore(to + k, vload_bf16(from + k));
    for (; k < n; k++) to[k] = cpu_bf16_to_f32(from[k]);
}

void FAST(cpu_to_bf16)(uint16_t *to, const float *from, int64_t n) {
    int64_t k = 0;
    for (; k + VL <= n; k += VL) vstore_bf16(to + k, vload(from + k));
    for (; k < n; k++) to[k] = cpu_f32_to_bf16(from[k]);
}
