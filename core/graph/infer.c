/* core/graph/infer.c - shape and type rules of every operation, in one switch over small functions.
 *
 * Everything that reaches a device went through these rules, whether it was built by a plugin, by autograd, by an
 * expansion, or read from another process; so a device may trust shapes.
 */
#include <string.h>

#include "core/graph/internal.h"

typedef struct rule {
    aira_graph *graph;
    aira__op *op;
    const aira_shape *asked;
    uint32_t asked_type;
    aira_shape *shapes;
    uint32_t *types;
    const char *name;
} rule;

static bool refuse(rule *r, const char *why) {
    char text[512];
    size_t used = 0;
    text[0] = 0;
    for (uint32_t k = 0; k < r->op->n_in && k < 4 && used + 160 < sizeof text; k++) {
        char shape[128];
        aira__shape_text(&r->op->in[k]->shape, shape, sizeof shape);
        const char *type = aira__dtype_name(r->op->in[k]->dtype);
        size_t n = strlen(shape) + strlen(type) + 3;
        if (used + n >= sizeof text) break;
        if (k) text[used++] = ' ';
        memcpy(text + used, type, strlen(type));
        used += strlen(type);
        memcpy(text + used, shape, strlen(shape) + 1);
        used += strlen(shape);
    }
    aira__graph_fail(r->graph, AIRA_E_FAILED, "%s%s%s: %s", r->name, text[0] ? " of " : "", text, why);
    return false;
}

static bool result(rule *r, uint32_t k, const aira_shape *shape, uint32_t type) {
    r->shapes[k] = *shape;
    for (uint32_t d = shape->rank; d < AIRA_MAX_RANK; d++) r->shapes[k].dims[d] = 0;
    r->shapes[k].reserved = 0;
    r->types[k] = type;
    return true;
}

static const aira_shape *shape_in(const rule *r, uint32_t k) { return &r->op->in[k]->shape; }
static uint32_t type_in(const rule *r, uint32_t k) { return r->op->in[k]->dtype; }
static uint32_t accumulator(uint32_t type) { return type == AIRA_F64 ? AIRA_F64 : AIRA_F32; }

static bool want_attributes(rule *r, uint32_t n_i, uint32_t n_f) {
    if (r->op->n_i == n_i && r->op->n_f == n_f) return true;
    return refuse(r, "it carries the wrong number of attributes");
}

static bool axis_ok(rule *r, int64_t axis, const aira_shape *shape) {
    return (axis >= 0 && axis < shape->rank) || refuse(r, "an axis is out of range");
}

static bool leaf(rule *r) {
    if (r->asked == NULL || aira__dtype_bytes(r->asked_type) == 0) return refuse(r, "a leaf needs a shape and a type");
    switch (r->op->code) {
    case AIRA_OP_CONSTANT:
        if (!want_attributes(r, 0, 1)) return false;
        break;
    case AIRA_OP_IOTA:
        if (!want_attributes(r, 1, 0) || !axis_ok(r, r->op->i[0], r->asked)) return false;
        break;
    case AIRA_OP_RANDOM:
        if (!want_attributes(r, 2, 0)) return false;
        if (r->op->i[0] < 0 || r->op->i[0] > 1) return refuse(r, "the distribution is uniform (0) or normal (1)");
        if (!aira__is_float(r->asked_type)) return refuse(r, "random values need a float type");
        if (r->op->n_in > 1 || (r->op->n_in == 1 && (type_in(r, 0) != AIRA_I32 || shape_in(r, 0)->rank != 0)))
            return refuse(r, "the draw number is one I32 scalar");
        break;
    default:
        if (!want_attributes(r, 1, 0)) return false;
    }
    return result(r, 0, r->asked, r->asked_type);
}

static bool broadcast_shapes(const aira_shape *a, const aira_shape *b, aira_shape *out) {
    uint32_t rank = a->rank > b->rank ? a->rank : b->rank;
    aira_shape shape = {.rank = rank}; /* out may be a or b */
    for (uint32_t k = 0; k < rank; k++) {
        int64_t da = k < a->rank ? a->dims[a->rank - 1 - k] : 1, db = k < b->rank ? b->dims[b->rank - 1 - k] : 1;
        if (da != db && da != 1 && db != 1) return false;
        shape.dims[rank - 1 - k] = da > db ? da : db;
    }
    *out = shape;
    return true;
}

static bool elementwise(rule *r) {
    uint32_t code = r->op->code, n = r->op->n_in;
    if (code == AIRA_OP_CAST) {
        if (aira__dtype_bytes(r->asked_type) == 0) return refuse(r, "cast needs an element type");
        if (r->op->n_i > 1 || r->op->n_f) return refuse(r, "it carries the wrong number of attributes");
        return result(r, 0, shape_in(r, 0), r->asked_type);
    }
    bool has_kind = code == AIRA_OP_GELU || code == AIRA_OP_GELU_BACKWARD;
    if (!want_attributes(r, has_kind ? 1 : 0, 0)) return false;
    aira_shape shape = *shape_in(r, 0);
    uint32_t type = type_in(r, code == AIRA_OP_WHERE ? 1 : 0);
    for (uint32_t k = 1; k < n; k++) {
        if (!broadcast_shapes(&shape, shape_in(r, k), &shape)) return refuse(r, "the shapes do not broadcast");
        if ((type == AIRA_I32) != (type_in(r, k) == AIRA_I32))
            return refuse(r, "I32 and float operands do not mix; cast one of them");
        type = aira__promote(type, type_in(r, k));
    }
    bool float_only = n == 1 && code != AIRA_OP_NEG && code != AIRA_OP_ABS && code != AIRA_OP_RELU;
    if (float_only && !aira__is_float(type)) return refuse(r, "it needs a float operand; cast it");
    return result(r, 0, &shape, type);
}

static bool matmul(rule *r) {
    if (!want_attributes(r, 2, 0)) return false;
    const aira_shape *a = shape_in(r, 0), *b = shape_in(r, 1);
    if (a->rank < 2 || b->rank < 2) return refuse(r, "both operands need at least two axes");
    if (!aira__is_float(type_in(r, 0)) || !aira__is_float(type_in(r, 1))) return refuse(r, "it needs float operands");
    bool ta = r->op->i[0] != 0, tb = r->op->i[1] != 0;
    int64_t M = a->dims[a->rank - (ta ? 1 : 2)], K = a->dims[a->rank - (ta ? 2 : 1)];
    int64_t K2 = b->dims[b->rank - (tb ? 1 : 2)], N = b->dims[b->rank - (tb ? 2 : 1)];
    if (K != K2) return refuse(r, "the inner extents differ");
    if (b->rank != 2) {
        if (a->rank != b->rank) return refuse(r, "b must have rank 2 or the rank of a");
        for (uint32_t k = 0; k + 2 < a->rank; k++)
            if (a->dims[k] != b->dims[k]) return refuse(r, "the batch extents differ");
    }
    aira_shape out = *a;
    out.dims[a->rank - 2] = M;
    out.dims[a->rank - 1] = N;
    uint32_t type = r->asked_type ? r->asked_type : aira__promote(type_in(r, 0), type_in(r, 1));
    if (!aira__is_float(type)) return refuse(r, "the result's type must be a float type");
    return result(r, 0, &out, type);
}

static bool reduce(rule *r) {
    const aira_shape *x = shape_in(r, 0);
    if (r->op->code == AIRA_OP_CUMSUM)
        return want_attributes(r, 3, 0) && axis_ok(r, r->op->i[0], x) && result(r, 0, x, type_in(r, 0));
    if (!want_attributes(r, 2, 0)) return false;
    int64_t mask = r->op->i[0];
    if (mask <= 0 || mask >= (int64_t)1 << x->rank) return refuse(r, "the axes are out of range");
    aira_shape out = {.rank = 0};
    for (uint32_t k = 0; k < x->rank; k++) {
        if (!(mask >> k & 1))
            out.dims[out.rank++] = x->dims[k];
        else if (r->op->i[1])
            out.dims[out.rank++] = 1;
    }
    uint32_t type = type_in(r, 0);
    if (r->asked_type && r->op->code == AIRA_OP_SUM && aira__is_float(type) && aira__is_float(r->asked_type))
        type = r->asked_type;
    return result(r, 0, &out, type);
}

static bool concat(rule *r) {
    if (!want_attributes(r, 1, 0)) return false;
    if (r->op->n_in == 0) return refuse(r, "it needs operands");
    aira_shape out = *shape_in(r, 0);
    int64_t axis = r->op->i[0];
    if (!axis_ok(r, axis, &out)) return false;
    for (uint32_t k = 1; k < r->op->n_in; k++) {
        const aira_shape *x = shape_in(r, k);
        if (x->rank != out.rank || type_in(r, k) != type_in(r, 0)) return refuse(r, "ranks or types differ");
        for (uint32_t d = 0; d < out.rank; d++)
            if (d != (uint32_t)axis && x->dims[d] != out.dims[d]) return refuse(r, "extents differ off the axis");
        out.dims[axis] += x->dims[axis];
    }
    return result(r, 0, &out, type_in(r, 0));
}

static bool shape_op(rule *r) {
    if (r->op->code == AIRA_OP_CONCAT) return concat(r);
    const aira_shape *x = shape_in(r, 0);
    const int64_t *i = r->op->i;
    aira_shape out = *x;
    switch (r->op->code) {
    case AIRA_OP_RESHAPE:
        if (r->asked == NULL) return refuse(r, "a shape is missing");
        for (uint32_t k = 0; k < r->asked->rank && k < AIRA_MAX_RANK; k++)
            if (r->asked->dims[k] < 1) return refuse(r, "an extent is below 1");
        if (r->asked->rank > AIRA_MAX_RANK || aira__shape_elements(r->asked) != aira__shape_elements(x))
            return refuse(r, "the number of elements changes");
        out = *r->asked;
        break;
    case AIRA_OP_TRANSPOSE: {
        uint32_t seen = 0;
        if (!want_attributes(r, x->rank, 0)) return false;
        for (uint32_t k = 0; k < x->rank; k++) {
            if (!axis_ok(r, i[k], x)) return false;
            seen |= 1u << i[k];
            out.dims[k] = x->dims[i[k]];
        }
        if (seen != (1u << x->rank) - 1) return refuse(r, "the order is not a permutation");
        break;
    }
    case AIRA_OP_SLICE:
        if (!want_attributes(r, 3, 0) || !axis_ok(r, i[0], x)) return false;
        if (i[1] < 0 || i[2] < 1 || i[1] > x->dims[i[0]] - i[2]) return refuse(r, "the slice leaves the tensor");
        out.dims[i[0]] = i[2];
        break;
    case AIRA_OP_PAD:
        if (!want_attributes(r, 3, 1) || !axis_ok(r, i[0], x)) return false;
        if (i[1] < 0 || i[2] < 0 || i[1] > INT32_MAX || i[2] > INT32_MAX) return refuse(r, "padding is out of range");
        out.dims[i[0]] += i[1] + i[2];
        break;
    default: /* BROADCAST */
        if (r->asked == NULL || !broadcast_shapes(x, r->asked, &out) || !aira__shape_equal(&out, r->asked))
            return refuse(r, "it does not broadcast to the wanted shape");
    }
    return result(r, 0, &out, type_in(r, 0));
}

static bool index_op(rule *r) {
    const aira_shape *x = shape_in(r, 0), *y = r->op->n_in > 1 ? shape_in(r, 1) : NULL;
    aira_shape out = {.rank = 0};
    switch (r->op->code) {
    case AIRA_OP_GATHER:
        if (type_in(r, 1) != AIRA_I32) return refuse(r, "indices must be I32");
        if (x->rank < 1 || y->rank + x->rank - 1 > AIRA_MAX_RANK) return refuse(r, "the rank is out of range");
        out = *y;
        for (uint32_t k = 1; k < x->rank; k++) out.dims[out.rank++] = x->dims[k];
        return result(r, 0, &out, type_in(r, 0));
    case AIRA_OP_SCATTER_ADD:
        if (type_in(r, 0) != AIRA_I32) return refuse(r, "indices must be I32");
        if (!want_attributes(r, 1, 0) || r->op->i[0] < 1) return refuse(r, "the number of rows must be positive");
        if (y->rank < x->rank) return refuse(r, "the rows have fewer axes than the indices");
        for (uint32_t k = 0; k < x->rank; k++)
            if (x->dims[k] != y->dims[k]) return refuse(r, "rows and indices differ in their leading extents");
        out.dims[out.rank++] = r->op->i[0];
        for (uint32_t k = x->rank; k < y->rank; k++) out.dims[out.rank++] = y->dims[k];
        return result(r, 0, &out, r->asked_type ? r->asked_type : type_in(r, 1));
    case AIRA_OP_GATHER_LAST:
    case AIRA_OP_SCATTER_LAST: {
        bool gather = r->op->code == AIRA_OP_GATHER_LAST;
        const aira_shape *index = gather ? y : x;
        if (type_in(r, gather ? 1 : 0) != AIRA_I32) return refuse(r, "indices must be I32");
        if (x->rank < 1 || x->rank != y->rank) return refuse(r, "the ranks differ");
        for (uint32_t k = 0; k + 1 < x->rank; k++)
            if (x->dims[k] != y->dims[k]) return refuse(r, "the rows differ");
        out = *index;
        if (gather) return want_attributes(r, 0, 0) && result(r, 0, &out, type_in(r, 0));
        if (!want_attributes(r, 1, 0) || r->op->i[0] < 1) return refuse(r, "the extent must be positive");
        if (x->dims[x->rank - 1] != y->dims[x->rank - 1]) return refuse(r, "indices and values differ in extent");
        out.dims[out.rank - 1] = r->op->i[0];
        return result(r, 0, &out, type_in(r, 1));
    }
    case AIRA_OP_TOP_K:
        if (!want_attributes(r, 1, 0)) return false;
        if (x->rank < 1 || r->op->i[0] < 1 || r->op->i[0] > x->dims[x->rank - 1])
            return refuse(r, "k must be between 1 and the last extent");
        out = *x;
        out.dims[out.rank - 1] = r->op->i[0];
        return result(r, 0, &out, type_in(r, 0)) && result(r, 1, &out, AIRA_I32);
    default: /* ARGSORT */
        if (!want_attributes(r, 1, 0) || x->rank < 1) return refuse(r, "it needs at least one axis");
        return result(r, 0, x, AIRA_I32);
    }
}

/* --- composites
 * ---------------------------------------------------------------------------------------------------------- */

static bool is_vector(const aira_shape *s, int64_t n) { return s->rank == 1 && s->dims[0] == n; }
static int64_t last(const aira_shape *s) { return s->rank ? s->dims[s->rank - 1] : 0; }

static bool all_float(rule *r, uint32_t from, uint32_t to) {
    for (uint32_t k = from; k < to; k++)
        if (!aira__is_float(type_in(r, k))) return refuse(r, "it needs float operands");
    return true;
}

static bool norm(rule *r) {
    uint32_t code = r->op->code;
    bool layer = code == AIRA_OP_LAYER_NORM || code == AIRA_OP_LAYER_NORM_BACKWARD;
    bool backward = code == AIRA_OP_RMS_NORM_BACKWARD || code == AIRA_OP_LAYER_NORM_BACKWARD;
    const aira_shape *x = shape_in(r, 0);
    if (!want_attributes(r, 0, 1) || !all_float(r, 0, r->op->n_in)) return false;
    if (x->rank < 1 || !is_vector(shape_in(r, 1), last(x)) || (layer && !is_vector(shape_in(r, 2), last(x))))
        return refuse(r, "weight and bias must have the extent of the last axis");
    if (!backward) return result(r, 0, x, type_in(r, 0));
    if (!aira__shape_equal(shape_in(r, r->op->n_in - 1), x)) return refuse(r, "the gradient's shape differs");
    result(r, 0, x, type_in(r, 0));
    result(r, 1, shape_in(r, 1), type_in(r, 1));
    if (layer) result(r, 2, shape_in(r, 2), type_in(r, 2));
    return true;
}

static bool attention(rule *r) {
    bool backward = r->op->code == AIRA_OP_ATTENTION_BACKWARD;
    uint32_t plain = backward ? 6 : 3;
    if (r->op->n_in != plain && r->op->n_in != plain + 1) return refuse(r, "it takes q, k, v and an optional mask");
    if (!want_attributes(r, 2, 1) || !all_float(r, 0, r->op->n_in)) return false;
    const aira_shape *q = shape_in(r, 0), *k = shape_in(r, 1), *v = shape_in(r, 2);
    if (q->rank != 4 || k->rank != 4 || v->rank != 4) return refuse(r, "q, k, v must be [batch, time, heads, dim]");
    if (q->dims[0] != k->dims[0] || q->dims[0] != v->dims[0] || k->dims[1] != v->dims[1] || k->dims[2] != v->dims[2] ||
        q->dims[3] != k->dims[3] || q->dims[2] % k->dims[2] != 0)
        return refuse(r, "q, k, v do not fit together (heads of q must be a multiple of heads of k)");
    if (r->op->i[0] && q->dims[1] != k->dims[1]) return refuse(r, "causal attention needs as many keys as queries");
    if (r->op->i[1] < 0) return refuse(r, "the window must not be negative");
    if (r->op->n_in == plain + 1) {
        const aira_shape *mask = shape_in(r, plain);
        if (mask->rank != 2 || mask->dims[0] != k->dims[0] || mask->dims[1] != k->dims[1])
            return refuse(r, "the mask must be [batch, keys]");
    }
    aira_shape o = *q, lse = aira__shape_of(3, q->dims[0], q->dims[2], q->dims[1]);
    o.dims[3] = v->dims[3];
    if (!backward) return result(r, 0, &o, type_in(r, 0)) && result(r, 1, &lse, accumulator(type_in(r, 0)));
    if (!aira__shape_equal(shape_in(r, 3), &o) || !aira__shape_equal(shape_in(r, 5), &o) ||
        !aira__shape_equal(shape_in(r, 4), &lse))
        return refuse(r, "o, lse or the gradient do not fit");
    return result(r, 0, q, type_in(r, 0)) && result(r, 1, k, type_in(r, 1)) && result(r, 2, v, type_in(r, 2));
}

static bool rope(rule *r) {
    if (r->op->n_in != 1 && r->op->n_in != 2) return refuse(r, "it takes x and optional positions");
    const aira_shape *x = shape_in(r, 0);
    if (!want_attributes(r, 3, 1) || !all_float(r, 0, 1)) return false;
    if (x->rank != 4) return refuse(r, "x must be [batch, time, heads, dim]");
    if (r->op->i[0] < 2 || r->op->i[0] > x->dims[3] || r->op->i[0] % 2) return refuse(r, "n_rot must be even and fit");
    if (r->op->n_in == 2) {
        const aira_shape *p = shape_in(r, 1);
        if (type_in(r, 1) != AIRA_I32 || p->rank != 2 || p->dims[0] != x->dims[0] || p->dims[1] != x->dims[1])
            return refuse(r, "positions must be I32 [batch, time]");
    }
    if (!(r->op->f[0] > 0)) return refuse(r, "the base must be positive");
    return result(r, 0, x, type_in(r, 0));
}

static bool conv(rule *r) {
    const aira_shape *x = shape_in(r, 0), *w = shape_in(r, 1), *third = shape_in(r, 2);
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, 3)) return false;
    if (x->rank != 3 || w->rank != 2 || w->dims[0] != x->dims[2]) return refuse(r, "it takes x[B,T,C] and w[C,K]");
    if (r->op->code == AIRA_OP_CONV1D_CAUSAL)
        return is_vector(third, x->dims[2]) ? result(r, 0, x, type_in(r, 0)) : refuse(r, "the bias must be [C]");
    if (!aira__shape_equal(third, x)) return refuse(r, "the gradient's shape differs");
    aira_shape bias = aira__shape_of(1, x->dims[2]);
    return result(r, 0, x, type_in(r, 0)) && result(r, 1, w, type_in(r, 1)) && result(r, 2, &bias, type_in(r, 1));
}

static bool scan(rule *r) {
    const aira_shape *u = shape_in(r, 0), *A = shape_in(r, 2), *B = shape_in(r, 3), *C = shape_in(r, 4);
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, r->op->n_in)) return false;
    bool ok = u->rank == 3 && aira__shape_equal(u, shape_in(r, 1)) && A->rank == 2 && A->dims[0] == u->dims[2] &&
              B->rank == 3 && B->dims[0] == u->dims[0] && B->dims[1] == u->dims[1] && B->dims[2] == A->dims[1] &&
              aira__shape_equal(B, C) && is_vector(shape_in(r, 5), u->dims[2]);
    if (!ok) return refuse(r, "it takes u[B,T,C] delta[B,T,C] A[C,N] B[B,T,N] C[B,T,N] D[C]");
    if (r->op->code == AIRA_OP_SELECTIVE_SCAN) return result(r, 0, u, type_in(r, 0));
    if (!aira__shape_equal(shape_in(r, 6), u)) return refuse(r, "the gradient's shape differs");
    for (uint32_t k = 0; k < 6; k++) result(r, k, shape_in(r, k), type_in(r, k));
    return true;
}

static bool ssd(rule *r) {
    const aira_shape *x = shape_in(r, 0), *dt = shape_in(r, 1), *B = shape_in(r, 3);
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, r->op->n_in)) return false;
    bool ok = x->rank == 4 && dt->rank == 3 && dt->dims[0] == x->dims[0] && dt->dims[1] == x->dims[1] &&
              dt->dims[2] == x->dims[2] && is_vector(shape_in(r, 2), x->dims[2]) && B->rank == 4 &&
              B->dims[0] == x->dims[0] && B->dims[1] == x->dims[1] && x->dims[2] % B->dims[2] == 0 &&
              aira__shape_equal(B, shape_in(r, 4)) && is_vector(shape_in(r, 5), x->dims[2]);
    if (!ok) return refuse(r, "it takes x[B,T,H,P] dt[B,T,H] A[H] B[B,T,G,N] C[B,T,G,N] D[H], H a multiple of G");
    if (r->op->code == AIRA_OP_SSD) return result(r, 0, x, type_in(r, 0));
    if (!aira__shape_equal(shape_in(r, 6), x)) return refuse(r, "the gradient's shape differs");
    for (uint32_t k = 0; k < 6; k++) result(r, k, shape_in(r, k), type_in(r, k));
    return true;
}

static bool fft_conv(rule *r) {
    const aira_shape *u = shape_in(r, 0), *k = shape_in(r, 1);
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, r->op->n_in)) return false;
    if (u->rank != 3 || k->rank != 2 || k->dims[0] != u->dims[2] || k->dims[1] != u->dims[1])
        return refuse(r, "it takes u[B,T,C] and k[C,T]");
    if (r->op->code == AIRA_OP_FFT_CONV) return result(r, 0, u, type_in(r, 0));
    if (!aira__shape_equal(shape_in(r, 2), u)) return refuse(r, "the gradient's shape differs");
    return result(r, 0, u, type_in(r, 0)) && result(r, 1, k, type_in(r, 1));
}

static bool grouped(rule *r) {
    const aira_shape *x = shape_in(r, 0), *w = shape_in(r, 1), *counts = shape_in(r, 2);
    if (!all_float(r, 0, 2)) return false;
    if (type_in(r, 2) != AIRA_I32 || counts->rank != 1) return refuse(r, "counts must be I32 [groups]");
    if (r->op->code == AIRA_OP_GROUPED_WGRAD) {
        if (!want_attributes(r, 0, 0)) return false;
        if (x->rank != 2 || w->rank != 2 || x->dims[0] != w->dims[0]) return refuse(r, "it takes x[N,K] and g[N,M]");
        aira_shape dw = aira__shape_of(3, counts->dims[0], x->dims[1], w->dims[1]);
        return result(r, 0, &dw, r->asked_type ? r->asked_type : type_in(r, 0));
    }
    if (!want_attributes(r, 1, 0)) return false;
    if (x->rank != 2 || w->rank != 3 || w->dims[0] != counts->dims[0] || w->dims[r->op->i[0] ? 2 : 1] != x->dims[1])
        return refuse(r, "it takes x[N,K], w[E,K,M] and counts[E]");
    aira_shape y = aira__shape_of(2, x->dims[0], w->dims[r->op->i[0] ? 1 : 2]);
    return result(r, 0, &y, aira__promote(type_in(r, 0), type_in(r, 1)));
}

static bool cross_entropy(rule *r) {
    const aira_shape *logits = shape_in(r, 0), *targets = shape_in(r, 1);
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, 1)) return false;
    bool ok = type_in(r, 1) == AIRA_I32 && targets->rank + 1 == logits->rank;
    for (uint32_t k = 0; ok && k < targets->rank; k++) ok = targets->dims[k] == logits->dims[k];
    if (!ok) return refuse(r, "it takes logits[.., V] and I32 targets[..]");
    if (r->op->code == AIRA_OP_CROSS_ENTROPY) return result(r, 0, targets, accumulator(type_in(r, 0)));
    if (!aira__shape_equal(shape_in(r, 2), targets)) return refuse(r, "the gradient's shape differs");
    return result(r, 0, logits, type_in(r, 0));
}

static bool head(rule *r) {
    const aira_shape *x = shape_in(r, 0), *w = shape_in(r, 1), *targets = shape_in(r, 2);
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, 2)) return false;
    bool ok = type_in(r, 0) == type_in(r, 1) && type_in(r, 2) == AIRA_I32 && w->rank == 2 && x->rank >= 1 &&
              x->dims[x->rank - 1] == w->dims[1] && targets->rank + 1 == x->rank;
    for (uint32_t k = 0; ok && k < targets->rank; k++) ok = targets->dims[k] == x->dims[k];
    if (!ok) return refuse(r, "it takes x[.., D], w[V,D] of the same type and I32 targets[..]");
    uint32_t wide = accumulator(type_in(r, 0));
    if (r->op->code == AIRA_OP_HEAD_CROSS_ENTROPY) return result(r, 0, targets, wide);
    if (!all_float(r, 3, 1)) return false;
    if (!aira__shape_equal(shape_in(r, 3), targets)) return refuse(r, "the gradient's shape differs");
    return result(r, 0, x, type_in(r, 0)) && result(r, 1, w, wide) && result(r, 2, targets, wide);
}

static bool softmax(rule *r) {
    if (!want_attributes(r, 0, 0) || !all_float(r, 0, r->op->n_in)) return false;
    if (shape_in(r, 0)->rank < 1) return refuse(r, "it needs at least one axis");
    if (r->op->n_in == 2 && !aira__shape_equal(shape_in(r, 0), shape_in(r, 1)))
        return refuse(r, "the gradient's shape differs");
    return result(r, 0, shape_in(r, 0), type_in(r, 0));
}

static bool composite(rule *r) {
    switch (r->op->code) {
    case AIRA_OP_RMS_NORM:
    case AIRA_OP_RMS_NORM_BACKWARD:
    case AIRA_OP_LAYER_NORM:
    case AIRA_OP_LAYER_NORM_BACKWARD:
        return norm(r);
    case AIRA_OP_SOFTMAX:
    case AIRA_OP_SOFTMAX_BACKWARD:
        return softmax(r);
    case AIRA_OP_ATTENTION:
    case AIRA_OP_ATTENTION_BACKWARD:
        return attention(r);
    case AIRA_OP_ROPE:
        return rope(r);
    case AIRA_OP_CONV1D_CAUSAL:
    case AIRA_OP_CONV1D_CAUSAL_BACKWARD:
        return conv(r);
    case AIRA_OP_SELECTIVE_SCAN:
    case AIRA_OP_SELECTIVE_SCAN_BACKWARD:
        return scan(r);
    case AIRA_OP_SSD:
    case AIRA_OP_SSD_BACKWARD:
        return ssd(r);
    case AIRA_OP_FFT_CONV:
    case AIRA_OP_FFT_CONV_BACKWARD:
        return fft_conv(r);
    case AIRA_OP_GROUPED_MATMUL:
    case AIRA_OP_GROUPED_WGRAD:
        return grouped(r);
    case AIRA_OP_CROSS_ENTROPY:
    case AIRA_OP_CROSS_ENTROPY_BACKWARD:
        return cross_entropy(r);
    case AIRA_OP_HEAD_CROSS_ENTROPY:
    case AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD:
        return head(r);
    default:
        return refuse(r, "it has no shape rule");
    }
}

bool aira__infer(aira_graph *graph, aira__op *op, const aira_shape *shape, uint32_t dtype, aira_shape *shapes,
                 uint32_t *types) {
    rule r = {graph, op, shape, dtype, shapes, types, aira__op_name(op->code)};
    switch (aira__op_class(op->code)) {
    case AIRA_CLASS_LEAF:
        return leaf(&r);
    case AIRA_CLASS_ELEMENTWISE:
        return elementwise(&r);
    case AIRA_CLASS_CONTRACT:
        return matmul(&r);
    case AIRA_CLASS_REDUCE:
        return reduce(&r);
    case AIRA_CLASS_SHAPE:
        return shape_op(&r);
    case AIRA_CLASS_INDEX:
        return index_op(&r);
    case AIRA_CLASS_COMPOSITE:
        return composite(&r);
    case AIRA_CLASS_EFFECT:
        return want_attributes(&r, 1, 0);
    default:
        return refuse(&r, "it is not known");
    }
}
