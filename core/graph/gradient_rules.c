/* core/graph/gradient_rules.c - one rule per operation, written in operations.
 *
 * A rule gets the results' gradients and appends the operands' gradients; `needed` says which operands matter. SLICE
 * and CONCAT are handled by the tape itself (gradients.c).
 */
#include "core/graph/internal.h"

#define RULE(name) static void name(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx)
#define UNUSED_NEEDED (void)needed

static aira_tensor *mul(aira_graph *g, aira_tensor *a, aira_tensor *b) { return aira__binary(g, AIRA_OP_MUL, a, b); }
static aira_tensor *sub(aira_graph *g, aira_tensor *a, aira_tensor *b) { return aira__binary(g, AIRA_OP_SUB, a, b); }
static aira_tensor *num(aira_graph *g, double v, const aira_tensor *like) { return aira__scalar(g, v, like->dtype); }

/* The type in which a gradient of x is best produced: fp32 where x is a copy of an fp32 parameter. */
static uint32_t gradient_type(aira_graph *g, const aira_tensor *x) {
    const aira__op *made = g->ops[x->op];
    return made->code == AIRA_OP_CAST && made->n_i == 0 ? made->in[0]->dtype : x->dtype;
}

static aira_tensor *back_to(aira_graph *g, aira_tensor *grad, const aira_tensor *operand) {
    return aira__reduced_to(g, grad, &operand->shape, gradient_type(g, operand));
}

RULE(rule_add) {
    for (int k = 0; k < 2; k++)
        if (needed[k]) dx[k] = back_to(g, dy[0], op->in[k]);
}
RULE(rule_sub) {
    if (needed[0]) dx[0] = back_to(g, dy[0], op->in[0]);
    if (needed[1]) dx[1] = back_to(g, aira__unary(g, AIRA_OP_NEG, dy[0]), op->in[1]);
}
RULE(rule_mul) {
    if (needed[0]) dx[0] = back_to(g, mul(g, dy[0], op->in[1]), op->in[0]);
    if (needed[1]) dx[1] = back_to(g, mul(g, dy[0], op->in[0]), op->in[1]);
}
RULE(rule_div) {
    aira_tensor *q = aira__binary(g, AIRA_OP_DIV, dy[0], op->in[1]);
    if (needed[0]) dx[0] = back_to(g, q, op->in[0]);
    if (needed[1]) dx[1] = back_to(g, aira__unary(g, AIRA_OP_NEG, mul(g, q, op->out[0])), op->in[1]);
}
/* min, max: the chosen operand takes the gradient, a tie halves it */
RULE(rule_min_max) {
    aira_tensor *tie = aira__binary(g, AIRA_OP_EQ, op->in[0], op->in[1]);
    tie = aira__scaled(g, tie, 0.5);
    uint32_t strict = op->code == AIRA_OP_MIN ? AIRA_OP_LT : AIRA_OP_GT;
    for (int k = 0; k < 2; k++) {
        if (!needed[k]) continue;
        aira_tensor *won = aira__binary(g, strict, op->in[k], op->in[1 - k]);
        aira_tensor *share = aira__to_type(g, aira__binary(g, AIRA_OP_ADD, won, tie), dy[0]->dtype);
        dx[k] = back_to(g, mul(g, dy[0], share), op->in[k]);
    }
}
RULE(rule_pow) {
    aira_tensor *a = op->in[0], *b = op->in[1];
    if (needed[0]) {
        aira_tensor *p = aira__binary(g, AIRA_OP_POW, a, sub(g, b, num(g, 1, b)));
        dx[0] = back_to(g, mul(g, mul(g, dy[0], b), p), a);
    }
    if (needed[1]) {
        aira_tensor *zero = num(g, 0, a);
        aira_tensor *in[3] = {aira__binary(g, AIRA_OP_GT, a, zero), aira__unary(g, AIRA_OP_LOG, a), zero};
        aira_tensor *log_a = aira__graph_emit(g, AIRA_OP_WHERE, in, 3, NULL, 0, NULL, 0, NULL, 0);
        dx[1] = back_to(g, mul(g, mul(g, dy[0], op->out[0]), log_a), b);
    }
}
RULE(rule_where) {
    aira_tensor *zero = num(g, 0, dy[0]);
    for (int k = 1; k < 3; k++) {
        if (!needed[k]) continue;
        aira_tensor *in[3] = {op->in[0], k == 1 ? dy[0] : zero, k == 1 ? zero : dy[0]};
        dx[k] = back_to(g, aira__graph_emit(g, AIRA_OP_WHERE, in, 3, NULL, 0, NULL, 0, NULL, 0), op->in[k]);
    }
}
RULE(rule_none) {
    (void)g, (void)op, (void)dy, (void)dx;
    UNUSED_NEEDED;
}
RULE(rule_cast) {
    UNUSED_NEEDED;
    dx[0] = aira__to_type(g, dy[0], op->in[0]->dtype);
}

RULE(rule_unary) {
    UNUSED_NEEDED;
    aira_tensor *x = op->in[0], *y = op->out[0], *d = dy[0];
    aira_tensor *one = num(g, 1, y);
    switch (op->code) {
    case AIRA_OP_NEG:
        dx[0] = aira__unary(g, AIRA_OP_NEG, d);
        break;
    case AIRA_OP_EXP:
        dx[0] = mul(g, d, y);
        break;
    case AIRA_OP_LOG:
        dx[0] = aira__binary(g, AIRA_OP_DIV, d, x);
        break;
    case AIRA_OP_SQRT:
        dx[0] = aira__binary(g, AIRA_OP_DIV, aira__scaled(g, d, 0.5), y);
        break;
    case AIRA_OP_RSQRT:
        dx[0] = mul(g, aira__scaled(g, d, -0.5), mul(g, y, mul(g, y, y)));
        break;
    case AIRA_OP_SIGMOID:
        dx[0] = mul(g, d, mul(g, y, sub(g, one, y)));
        break;
    case AIRA_OP_TANH:
        dx[0] = mul(g, d, sub(g, one, mul(g, y, y)));
        break;
    case AIRA_OP_RELU:
        dx[0] = mul(g, d, aira__binary(g, AIRA_OP_GT, x, num(g, 0, x)));
        break;
    case AIRA_OP_SOFTPLUS:
        dx[0] = mul(g, d, aira__unary(g, AIRA_OP_SIGMOID, x));
        break;
    case AIRA_OP_SIN:
        dx[0] = mul(g, d, aira__unary(g, AIRA_OP_COS, x));
        break;
    case AIRA_OP_COS:
        dx[0] = aira__unary(g, AIRA_OP_NEG, mul(g, d, aira__unary(g, AIRA_OP_SIN, x)));
        break;
    default: { /* ABS */
        aira_tensor *zero = num(g, 0, x);
        dx[0] = mul(g, d, sub(g, aira__binary(g, AIRA_OP_GT, x, zero), aira__binary(g, AIRA_OP_LT, x, zero)));
    }
    }
}
RULE(rule_activation) { /* SILU, GELU: own backward operation */
    UNUSED_NEEDED;
    aira_tensor *in[2] = {op->in[0], dy[0]};
    uint32_t code = op->code == AIRA_OP_SILU ? AIRA_OP_SILU_BACKWARD : AIRA_OP_GELU_BACKWARD;
    dx[0] = aira__graph_emit(g, code, in, 2, op->i, op->n_i, NULL, 0, NULL, 0);
}

/* y = A B, A and B possibly swapped in memory; b of rank 2 serves every batch and sums over it. */
RULE(rule_matmul) {
    aira_tensor *a = op->in[0], *b = op->in[1], *d = dy[0];
    bool ta = op->i[0] != 0, tb = op->i[1] != 0;
    uint32_t wide = gradient_type(g, b);
    if (needed[0]) {
        uint32_t type = gradient_type(g, a);
        if (!ta)
            dx[0] = aira__multiplied(g, d, b, false, !tb, type);
        else if (b->shape.rank == 2 && a->shape.rank > 2) { /* dA = (B dY^T), with B repeated */
            aira_shape s = a->shape;
            s.dims[s.rank - 2] = b->shape.dims[0];
            s.dims[s.rank - 1] = b->shape.dims[1];
            dx[0] = aira__multiplied(g, aira__broadcasted(g, b, &s), d, tb, true, type);
        } else
            dx[0] = aira__multiplied(g, b, d, tb, true, type);
    }
    if (!needed[1]) return;
    if (b->shape.rank == 2 && a->shape.rank > 2) {
        int64_t last = a->shape.rank - 1, N = d->shape.dims[last];
        if (ta) { /* bring A into [rows, K] order first */
            int64_t order[AIRA_MAX_RANK];
            for (int64_t k = 0; k <= last; k++) order[k] = k;
            order[last] = last - 1;
            order[last - 1] = last;
            a = aira__permuted(g, a, order);
            if (a == NULL) return;
        }
        int64_t K = a->shape.dims[last], rows = aira__shape_elements(&a->shape) / K;
        aira_shape flat_a = aira__shape_of(2, rows, K), flat_d = aira__shape_of(2, rows, N);
        a = aira__reshaped(g, a, &flat_a);
        d = aira__reshaped(g, d, &flat_d);
        ta = false;
    }
    dx[1] = tb ? aira__multiplied(g, d, a, true, ta, wide) : aira__multiplied(g, a, d, !ta, false, wide);
}

/* the shape of x with reduced axes of extent 1 */
static aira_shape kept_shape(const aira_tensor *x, int64_t mask) {
    aira_shape s = x->shape;
    for (uint32_t k = 0; k < s.rank; k++)
        if (mask >> k & 1) s.dims[k] = 1;
    return s;
}
RULE(rule_sum) {
    UNUSED_NEEDED;
    aira_shape kept = kept_shape(op->in[0], op->i[0]);
    dx[0] = aira__broadcasted(g, aira__reshaped(g, dy[0], &kept), &op->in[0]->shape);
    dx[0] = aira__to_type(g, dx[0], op->in[0]->dtype);
}
RULE(rule_max_reduce) { /* ties share */
    UNUSED_NEEDED;
    aira_tensor *x = op->in[0];
    aira_shape kept = kept_shape(x, op->i[0]);
    aira_tensor *hit = aira__binary(g, AIRA_OP_EQ, x, aira__reshaped(g, op->out[0], &kept));
    aira_tensor *count = aira__summed(g, hit, (uint32_t)op->i[0], true, 0);
    dx[0] = mul(g, hit, aira__binary(g, AIRA_OP_DIV, aira__reshaped(g, dy[0], &kept), count));
}
RULE(rule_cumsum) {
    UNUSED_NEEDED;
    int64_t i[3] = {op->i[0], !op->i[1], op->i[2]};
    dx[0] = aira__graph_emit(g, AIRA_OP_CUMSUM, dy, 1, i, 3, NULL, 0, NULL, 0);
}
RULE(rule_reshape) {
    UNUSED_NEEDED;
    dx[0] = aira__reshaped(g, dy[0], &op->in[0]->shape);
}
RULE(rule_transpose) {
    UNUSED_NEEDED;
    int64_t inverse[AIRA_MAX_RANK];
    for (uint32_t k = 0; k < op->n_i; k++) inverse[op->i[k]] = k;
    dx[0] = aira__permuted(g, dy[0], inverse);
}
RULE(rule_pad) {
    UNUSED_NEEDED;
    dx[0] = aira__sliced(g, dy[0], op->i[0], op->i[1], op->in[0]->shape.dims[op->i[0]]);
}
RULE(rule_broadcast) {
    UNUSED_NEEDED;
    dx[0] = back_to(g, dy[0], op->in[0]);
}
RULE(rule_gather) {
    UNUSED_NEEDED;
    aira_tensor *in[2] = {op->in[1], dy[0]};
    int64_t rows = op->in[0]->shape.dims[0];
    dx[0] = aira__graph_emit(g, AIRA_OP_SCATTER_ADD, in, 2, &rows, 1, NULL, 0, NULL, gradient_type(g, op->in[0]));
}
RULE(rule_scatter_add) {
    if (needed[1]) dx[1] = aira__to_type(g, aira__binary(g, AIRA_OP_GATHER, dy[0], op->in[0]), op->in[1]->dtype);
}
static aira_tensor *scatter_last(aira_graph *g, aira_tensor *indices, aira_tensor *values, int64_t extent) {
    aira_tensor *in[2] = {indices, values};
    return aira__graph_emit(g, AIRA_OP_SCATTER_LAST, in, 2, &extent, 1, NULL, 0, NULL, 0);
}
RULE(rule_gather_last) {
    UNUSED_NEEDED;
    dx[0] = scatter_last(g, op->in[1], dy[0], op->in[0]->shape.dims[op->in[0]->shape.rank - 1]);
}
RULE(rule_scatter_last) {
    if (needed[1]) dx[1] = aira__binary(g, AIRA_OP_GATHER_LAST, dy[0], op->in[0]);
}
RULE(rule_top_k) {
    UNUSED_NEEDED;
    if (dy[0]) dx[0] = scatter_last(g, op->out[1], dy[0], op->in[0]->shape.dims[op->in[0]->shape.rank - 1]);
}

aira__gradient_rule aira__gradient_rule_of(uint32_t code) {
    switch (code) {
    case AIRA_OP_ADD:
        return rule_add;
    case AIRA_OP_SUB:
        return rule_sub;
    case AIRA_OP_MUL:
        return rule_mul;
    case AIRA_OP_DIV:
        return rule_div;
    case AIRA_OP_MIN:
    case AIRA_OP_MAX:
        return rule_min_max;
    case AIRA_OP_POW:
        return rule_pow;
    case AIRA_OP_WHERE:
        return rule_where;
    case AIRA_OP_EQ:
    case AIRA_OP_NE:
    case AIRA_OP_LT:
    case AIRA_OP_LE:
    case AIRA_OP_GT:
    case AIRA_OP_GE:
    case AIRA_OP_ARGSORT:
        return rule_none; /* constant almost everywhere */
    case AIRA_OP_CAST:
        return rule_cast;
    case AIRA_OP_NEG:
    case AIRA_OP_EXP:
    case AIRA_OP_LOG:
    case AIRA_OP_SQRT:
    case AIRA_OP_RSQRT:
    case AIRA_OP_SIGMOID:
    case AIRA_OP_TANH:
    case AIRA_OP_RELU:
    case AIRA_OP_SOFTPLUS:
    case AIRA_OP_SIN:
    case AIRA_OP_COS:
    case AIRA_OP_ABS:
        return rule_unary;
    case AIRA_OP_SILU:
    case AIRA_OP_GELU:
        return rule_activation;
    case AIRA_OP_MATMUL:
        return rule_matmul;
    case AIRA_OP_SUM:
        return rule_sum;
    case AIRA_OP_MAX_REDUCE:
        return rule_max_reduce;
    case AIRA_OP_CUMSUM:
        return rule_cumsum;
    case AIRA_OP_RESHAPE:
        return rule_reshape;
    case AIRA_OP_TRANSPOSE:
        return rule_transpose;
    case AIRA_OP_PAD:
        return rule_pad;
    case AIRA_OP_BROADCAST:
        return rule_broadcast;
    case AIRA_OP_GATHER:
        return rule_gather;
    case AIRA_OP_SCATTER_ADD:
        return rule_scatter_add;
    case AIRA_OP_GATHER_LAST:
        return rule_gather_last;
    case AIRA_OP_SCATTER_LAST:
        return rule_scatter_last;
    case AIRA_OP_TOP_K:
        return rule_top_k;
    default:
        return aira__composite_rule_of(code);
    }
}
