/* core/graph/ops.c - the table of operations that plugins get (include/aira/graph.h), each a thin call of emit.
 *
 * What the header offers beyond the op table (linear, mean, einsum, scale, stop_gradient) is lowered here, so that
 * autograd, expansion and devices know only the operations of the table.
 */
#include <math.h>
#include <string.h>

#include "aira/rng.h"
#include "core/graph/internal.h"

typedef aira_graph graph_t;
typedef aira_tensor tensor_t;

static int64_t ctx_int(graph_t *g, const char *name, int64_t fallback) {
    aira__asked answer = {name, false, false, 0};
    aira__graph_place(g, &answer);
    aira__graph_remember_asked(g, &answer);
    return answer.known ? answer.value : fallback;
}

static tensor_t *ctx_tensor(graph_t *g, const char *name) {
    aira__asked answer = {name, true, false, 0};
    tensor_t *tensor = aira__graph_place(g, &answer);
    aira__graph_remember_asked(g, &answer);
    return tensor;
}

static void shape(graph_t *g, const tensor_t *t, aira_shape *out) {
    (void)g;
    static const aira_shape none = {.rank = 0};
    *out = t ? t->shape : none;
}

/* -1 and a sticky error where axis is out of range */
static int64_t axis_of(graph_t *g, const tensor_t *t, int32_t axis, const char *what) {
    int64_t rank = t->shape.rank, k = axis < 0 ? axis + rank : axis;
    if (k >= 0 && k < rank) return k;
    aira__graph_fail(g, AIRA_E_FAILED, "%s: axis %d is out of range for rank %lld", what, axis, (long long)rank);
    return -1;
}

static int64_t dim(graph_t *g, const tensor_t *t, int32_t axis) {
    if (t == NULL) return 0;
    int64_t k = axis_of(g, t, axis, "dim");
    return k < 0 ? 0 : t->shape.dims[k];
}

static tensor_t *fail(graph_t *g, const char *text) { return aira__graph_fail(g, AIRA_E_FAILED, "%s", text); }

static tensor_t *param(graph_t *g, const char *name, const aira_shape *s, const aira_param_info *info) {
    if (g->status != AIRA_OK) return NULL;
    if (name == NULL || s == NULL) return fail(g, "param needs a name and a shape");
    if (info && info->size != 0 && info->size < offsetof(aira_param_info, value))
        return fail(g, "param: the info's size is too small; set it to sizeof(aira_param_info)");
    aira__variable *v = aira__graph_add_variable(g, aira__graph_full_name(g, name), AIRA_VARIABLE_PARAM, s, info);
    if (v == NULL) return NULL;
    if (!(v->flags & AIRA_PARAM_FP32)) v->tensor = aira__to_type(g, v->leaf, g->compute_dtype);
    return v->tensor;
}

static tensor_t *constant(graph_t *g, double value, const aira_shape *s) {
    aira_shape scalar = {.rank = 0};
    return aira__graph_emit(g, AIRA_OP_CONSTANT, NULL, 0, NULL, 0, &value, 1, s ? s : &scalar, g->compute_dtype);
}

static tensor_t *iota(graph_t *g, const aira_shape *s, int32_t axis) {
    int64_t k = axis < 0 ? axis + (int64_t)s->rank : axis;
    return aira__graph_emit(g, AIRA_OP_IOTA, NULL, 0, &k, 1, NULL, 0, s, g->compute_dtype);
}

aira_tensor *aira__graph_draw_number(graph_t *g) {
    for (uint32_t k = 0; k < g->n_inputs; k++)
        if (strcmp(g->inputs[k].name, "draw") == 0) return g->inputs[k].tensor;
    aira_shape scalar = {.rank = 0};
    return aira__graph_input(g, "draw", AIRA_I32, &scalar);
}

static tensor_t *random_values(graph_t *g, const char *name, const aira_shape *s, const char *distribution,
                               int32_t each_step) {
    if (g->status != AIRA_OK) return NULL;
    bool normal = strcmp(distribution, "normal") == 0;
    if (!normal && strcmp(distribution, "uniform") != 0) return fail(g, "random: distribution is uniform or normal");
    char *full = aira__graph_full_name(g, name);
    if (full == NULL) return NULL;
    int64_t i[2] = {normal, (int64_t)aira_key(0, full)};
    tensor_t *draw = each_step ? aira__graph_draw_number(g) : NULL;
    /* drawn in storage precision, so that initial values do not depend on the compute type */
    tensor_t *t = aira__graph_emit(g, AIRA_OP_RANDOM, &draw, draw ? 1 : 0, i, 2, NULL, 0, s, g->storage_dtype);
    if (t != NULL) aira__graph_remember_drawn(g, t->op, name);
    return each_step ? aira__to_type(g, t, g->compute_dtype) : t;
}

static void aux_loss(graph_t *g, const char *name, tensor_t *scalar, double weight) {
    if (scalar == NULL) return;
    if (aira__shape_elements(&scalar->shape) != 1) {
        aira__graph_fail(g, AIRA_E_FAILED, "the auxiliary loss '%s' must be a scalar", name);
        return;
    }
    if (!aira__graph_grow(g, (void **)&g->aux_losses, &g->context->cap_aux, g->n_aux_losses, sizeof *g->aux_losses))
        return;
    aira_shape none = {.rank = 0};
    uint32_t wide = g->storage_dtype;
    g->aux_losses[g->n_aux_losses++] = (aira__aux){aira__graph_full_name(g, name),
                                                   aira__reshaped(g, aira__to_type(g, scalar, wide), &none), weight};
}

static void metric(graph_t *g, const char *name, tensor_t *scalar) {
    if (scalar == NULL) return;
    if (aira__shape_elements(&scalar->shape) != 1) {
        aira__graph_fail(g, AIRA_E_FAILED, "the metric '%s' must be a scalar", name);
        return;
    }
    char *full = aira__graph_full_name(g, name);
    aira_shape none = {.rank = 0};
    if (full == NULL) return;
    char output[560] = "metric.";
    strncat(output, full, sizeof output - 8);
    aira__graph_output(g, output, aira__reshaped(g, aira__to_type(g, scalar, g->storage_dtype), &none));
}

#define UNARY(slot, code) \
    static tensor_t *slot(graph_t *g, tensor_t *x) { return aira__unary(g, code, x); }
UNARY(op_neg, AIRA_OP_NEG)
UNARY(op_exp, AIRA_OP_EXP)
UNARY(op_log, AIRA_OP_LOG)
UNARY(op_sqrt, AIRA_OP_SQRT)
UNARY(op_rsqrt, AIRA_OP_RSQRT)
UNARY(op_sigmoid, AIRA_OP_SIGMOID)
UNARY(op_tanh, AIRA_OP_TANH)
UNARY(op_silu, AIRA_OP_SILU)
UNARY(op_relu, AIRA_OP_RELU)
UNARY(op_softplus, AIRA_OP_SOFTPLUS)
UNARY(op_sin, AIRA_OP_SIN)
UNARY(op_cos, AIRA_OP_COS)
UNARY(op_abs, AIRA_OP_ABS)
UNARY(op_softmax, AIRA_OP_SOFTMAX)
#define BINARY(slot, code) \
    static tensor_t *slot(graph_t *g, tensor_t *a, tensor_t *b) { return aira__binary(g, code, a, b); }
BINARY(op_add, AIRA_OP_ADD)
BINARY(op_sub, AIRA_OP_SUB)
BINARY(op_mul, AIRA_OP_MUL)
BINARY(op_div, AIRA_OP_DIV)
BINARY(op_min, AIRA_OP_MIN)
BINARY(op_max, AIRA_OP_MAX)
BINARY(op_pow, AIRA_OP_POW)
BINARY(op_gather_last, AIRA_OP_GATHER_LAST)
BINARY(op_fft_conv, AIRA_OP_FFT_CONV)

static tensor_t *gelu(graph_t *g, tensor_t *x, int32_t exact) {
    int64_t i = exact != 0;
    return aira__graph_emit(g, AIRA_OP_GELU, &x, 1, &i, 1, NULL, 0, NULL, 0);
}

static tensor_t *compare(graph_t *g, const char *relation, tensor_t *a, tensor_t *b) {
    static const struct {
        const char *text;
        uint32_t code;
    } relations[] = {{"==", AIRA_OP_EQ}, {"!=", AIRA_OP_NE}, {"<", AIRA_OP_LT},
                     {"<=", AIRA_OP_LE}, {">", AIRA_OP_GT},  {">=", AIRA_OP_GE}};
    for (size_t k = 0; k < sizeof relations / sizeof *relations; k++)
        if (strcmp(relation, relations[k].text) == 0) return aira__binary(g, relations[k].code, a, b);
    return aira__graph_fail(g, AIRA_E_FAILED, "compare: unknown relation '%s' (== != < <= > >=)", relation);
}

static tensor_t *where(graph_t *g, tensor_t *c, tensor_t *a, tensor_t *b) {
    if (c == NULL || a == NULL || b == NULL) return NULL;
    if ((c->dtype == AIRA_I32) != (a->dtype == AIRA_I32)) c = aira__to_type(g, c, a->dtype);
    tensor_t *in[3] = {c, a, b};
    return aira__graph_emit(g, AIRA_OP_WHERE, in, 3, NULL, 0, NULL, 0, NULL, 0);
}

static tensor_t *cast(graph_t *g, tensor_t *x, uint32_t dtype) {
    return aira__to_type(g, x, dtype ? dtype : g->compute_dtype);
}

static tensor_t *stop_gradient(graph_t *g, tensor_t *x) {
    if (x == NULL) return NULL;
    int64_t stop = 1; /* a cast to its own type that gradients.c does not pass */
    return aira__graph_emit(g, AIRA_OP_CAST, &x, 1, &stop, 1, NULL, 0, NULL, x->dtype);
}

static tensor_t *matmul(graph_t *g, tensor_t *a, tensor_t *b, int32_t ta, int32_t tb) {
    return aira__multiplied(g, a, b, ta != 0, tb != 0, 0);
}

static tensor_t *linear(graph_t *g, tensor_t *x, tensor_t *w, tensor_t *bias) {
    if (x == NULL || w == NULL) return NULL;
    if (w->shape.rank != 2) return fail(g, "linear: the weight must be [out, in]");
    bool vector = x->shape.rank == 1;
    aira_shape row = aira__shape_of(2, (int64_t)1, aira__shape_elements(&x->shape));
    tensor_t *y = aira__multiplied(g, vector ? aira__reshaped(g, x, &row) : x, w, false, true, 0);
    if (vector) {
        aira_shape flat = aira__shape_of(1, w->shape.dims[0]);
        y = aira__reshaped(g, y, &flat);
    }
    return bias ? aira__binary(g, AIRA_OP_ADD, y, bias) : y;
}

/* Bit mask of axes; all of them where n is 0. */
static bool axes_mask(graph_t *g, const tensor_t *x, const int32_t *axes, uint32_t n, int64_t *mask) {
    *mask = n == 0 ? ((int64_t)1 << x->shape.rank) - 1 : 0;
    for (uint32_t k = 0; k < n; k++) {
        int64_t axis = axis_of(g, x, axes[k], "reduction");
        if (axis < 0) return false;
        *mask |= (int64_t)1 << axis;
    }
    return true;
}

static tensor_t *reduced(graph_t *g, uint32_t code, tensor_t *x, const int32_t *axes, uint32_t n, int32_t keep) {
    int64_t i[2] = {0, keep != 0};
    if (x == NULL || !axes_mask(g, x, axes, n, &i[0])) return NULL;
    if (i[0] == 0) return x; /* a scalar reduced over nothing */
    return aira__graph_emit(g, code, &x, 1, i, 2, NULL, 0, NULL, 0);
}

static tensor_t *sum(graph_t *g, tensor_t *x, const int32_t *axes, uint32_t n, int32_t keep) {
    return reduced(g, AIRA_OP_SUM, x, axes, n, keep);
}

static tensor_t *max_along(graph_t *g, tensor_t *x, const int32_t *axes, uint32_t n, int32_t keep) {
    return reduced(g, AIRA_OP_MAX_REDUCE, x, axes, n, keep);
}

static tensor_t *mean(graph_t *g, tensor_t *x, const int32_t *axes, uint32_t n, int32_t keep) {
    tensor_t *total = sum(g, x, axes, n, keep);
    if (total == NULL) return NULL;
    double count = (double)aira__shape_elements(&x->shape) / (double)aira__shape_elements(&total->shape);
    return aira__scaled(g, total, 1 / count);
}

static tensor_t *cumsum(graph_t *g, tensor_t *x, int32_t axis, int32_t reverse, int32_t exclusive) {
    if (x == NULL) return NULL;
    int64_t i[3] = {axis_of(g, x, axis, "cumsum"), reverse != 0, exclusive != 0};
    return aira__graph_emit(g, AIRA_OP_CUMSUM, &x, 1, i, 3, NULL, 0, NULL, 0);
}

static tensor_t *reshape(graph_t *g, tensor_t *x, const aira_shape *s) {
    if (x == NULL || s == NULL) return NULL;
    aira_shape full = *s;
    int64_t known = 1, unknown = -1;
    for (uint32_t k = 0; k < full.rank && k < AIRA_MAX_RANK; k++) {
        if (full.dims[k] == -1 && unknown < 0)
            unknown = k;
        else if (full.dims[k] < 1 || known > aira__shape_elements(&x->shape))
            return fail(g, "reshape: extents must be positive, one of them may be -1");
        else
            known *= full.dims[k];
    }
    if (unknown >= 0) full.dims[unknown] = aira__shape_elements(&x->shape) / known;
    for (uint32_t k = full.rank; k < AIRA_MAX_RANK; k++) full.dims[k] = 0;
    if (unknown >= 0 && full.dims[unknown] < 1) return fail(g, "reshape: the number of elements changes");
    return aira__reshaped(g, x, &full);
}

static tensor_t *transpose(graph_t *g, tensor_t *x, const int32_t *order, uint32_t n) {
    if (x == NULL) return NULL;
    if (n != x->shape.rank) return fail(g, "transpose: the order must name every axis");
    int64_t wide[AIRA_MAX_RANK];
    for (uint32_t k = 0; k < n; k++) {
        wide[k] = axis_of(g, x, order[k], "transpose");
        if (wide[k] < 0) return NULL;
    }
    return aira__permuted(g, x, wide);
}

static tensor_t *slice(graph_t *g, tensor_t *x, int32_t axis, int64_t start, int64_t length) {
    return x ? aira__sliced(g, x, axis_of(g, x, axis, "slice"), start, length) : NULL;
}

static tensor_t *concat(graph_t *g, tensor_t *const *x, uint32_t n, int32_t axis) {
    if (n == 0 || x[0] == NULL) return NULL;
    return aira__concatenated(g, x, n, axis_of(g, x[0], axis, "concat"));
}

static tensor_t *pad(graph_t *g, tensor_t *x, int32_t axis, int64_t before, int64_t after, double value) {
    return x ? aira__padded(g, x, axis_of(g, x, axis, "pad"), before, after, value) : NULL;
}

static tensor_t *broadcast(graph_t *g, tensor_t *x, const aira_shape *s) { return aira__broadcasted(g, x, s); }

static tensor_t *gather(graph_t *g, tensor_t *x, tensor_t *indices) {
    if (x == NULL || indices == NULL) return NULL;
    /* rows of a parameter are taken in storage precision and cast after: the whole table is never cast */
    const aira__op *made = g->ops[x->op];
    if (made->code == AIRA_OP_CAST && made->n_i == 0 && g->ops[made->in[0]->op]->code == AIRA_OP_PARAM)
        return aira__to_type(g, aira__binary(g, AIRA_OP_GATHER, made->in[0], indices), x->dtype);
    return aira__binary(g, AIRA_OP_GATHER, x, indices);
}

static tensor_t *scatter_add(graph_t *g, tensor_t *indices, tensor_t *rows, int64_t n_rows) {
    tensor_t *in[2] = {indices, rows};
    return aira__graph_emit(g, AIRA_OP_SCATTER_ADD, in, 2, &n_rows, 1, NULL, 0, NULL, 0);
}

static tensor_t *scatter_last(graph_t *g, tensor_t *indices, tensor_t *values, int64_t extent) {
    tensor_t *in[2] = {indices, values};
    return aira__graph_emit(g, AIRA_OP_SCATTER_LAST, in, 2, &extent, 1, NULL, 0, NULL, 0);
}

static tensor_t *top_k(graph_t *g, tensor_t *x, int64_t k, tensor_t **indices) {
    tensor_t *values = aira__graph_emit(g, AIRA_OP_TOP_K, &x, 1, &k, 1, NULL, 0, NULL, 0);
    if (indices) *indices = values ? g->ops[values->op]->out[1] : NULL;
    return values;
}

static tensor_t *argsort(graph_t *g, tensor_t *x, int32_t descending) {
    int64_t i = descending != 0;
    return aira__graph_emit(g, AIRA_OP_ARGSORT, &x, 1, &i, 1, NULL, 0, NULL, 0);
}

static tensor_t *filled_vector(graph_t *g, const tensor_t *x, double value) {
    if (x->shape.rank < 1) return fail(g, "norm: x needs at least one axis");
    aira_shape s = aira__shape_of(1, x->shape.dims[x->shape.rank - 1]);
    return aira__graph_emit(g, AIRA_OP_CONSTANT, NULL, 0, NULL, 0, &value, 1, &s, g->storage_dtype);
}

static tensor_t *rms_norm(graph_t *g, tensor_t *x, tensor_t *w, double eps) {
    if (x == NULL) return NULL;
    tensor_t *in[2] = {x, w ? w : filled_vector(g, x, 1)};
    return aira__graph_emit(g, AIRA_OP_RMS_NORM, in, 2, NULL, 0, &eps, 1, NULL, 0);
}

static tensor_t *layer_norm(graph_t *g, tensor_t *x, tensor_t *w, tensor_t *b, double eps) {
    if (x == NULL) return NULL;
    tensor_t *in[3] = {x, w ? w : filled_vector(g, x, 1), b ? b : filled_vector(g, x, 0)};
    return aira__graph_emit(g, AIRA_OP_LAYER_NORM, in, 3, NULL, 0, &eps, 1, NULL, 0);
}

static tensor_t *attention(graph_t *g, tensor_t *q, tensor_t *k, tensor_t *v, tensor_t *mask, int32_t causal,
                           int64_t window, double scale) {
    if (q == NULL || k == NULL || v == NULL) return NULL;
    tensor_t *in[4] = {q, k, v, mask};
    int64_t i[2] = {causal != 0, window};
    double f = scale != 0 ? scale : 1 / sqrt((double)(q->shape.rank ? q->shape.dims[q->shape.rank - 1] : 1));
    return aira__graph_emit(g, AIRA_OP_ATTENTION, in, mask ? 4 : 3, i, 2, &f, 1, NULL, 0);
}

static tensor_t *rope(graph_t *g, tensor_t *x, tensor_t *positions, double base, int64_t n_rot, int32_t interleaved) {
    if (x == NULL) return NULL;
    if (n_rot == 0 && x->shape.rank) n_rot = x->shape.dims[x->shape.rank - 1];
    tensor_t *in[2] = {x, positions};
    int64_t i[3] = {n_rot, interleaved != 0, 0};
    return aira__graph_emit(g, AIRA_OP_ROPE, in, positions ? 2 : 1, i, 3, &base, 1, NULL, 0);
}

static tensor_t *conv1d_causal(graph_t *g, tensor_t *x, tensor_t *w, tensor_t *b) {
    if (x == NULL) return NULL;
    tensor_t *in[3] = {x, w, b ? b : filled_vector(g, x, 0)};
    return aira__graph_emit(g, AIRA_OP_CONV1D_CAUSAL, in, 3, NULL, 0, NULL, 0, NULL, 0);
}

static tensor_t *selective_scan(graph_t *g, tensor_t *u, tensor_t *delta, tensor_t *A, tensor_t *B, tensor_t *C,
                                tensor_t *D) {
    tensor_t *in[6] = {u, delta, A, B, C, D};
    return aira__graph_emit(g, AIRA_OP_SELECTIVE_SCAN, in, 6, NULL, 0, NULL, 0, NULL, 0);
}

static tensor_t *ssd(graph_t *g, tensor_t *x, tensor_t *dt, tensor_t *A, tensor_t *B, tensor_t *C, tensor_t *D) {
    tensor_t *in[6] = {x, dt, A, B, C, D};
    return aira__graph_emit(g, AIRA_OP_SSD, in, 6, NULL, 0, NULL, 0, NULL, 0);
}

static tensor_t *grouped_matmul(graph_t *g, tensor_t *x, tensor_t *w, tensor_t *counts) {
    tensor_t *in[3] = {x, w, counts};
    int64_t i = 0;
    return aira__graph_emit(g, AIRA_OP_GROUPED_MATMUL, in, 3, &i, 1, NULL, 0, NULL, 0);
}

/* sum of nll over counted targets / their number (at least 1) */
static tensor_t *cross_entropy(graph_t *g, tensor_t *logits, tensor_t *targets) {
    tensor_t *nll = aira__binary(g, AIRA_OP_CROSS_ENTROPY, logits, targets);
    if (nll == NULL) return NULL;
    tensor_t *zero = aira__scalar(g, 0, AIRA_I32);
    tensor_t *vocab = aira__scalar(g, (double)logits->shape.dims[logits->shape.rank - 1], AIRA_I32);
    tensor_t *counted = aira__binary(g, AIRA_OP_MUL, aira__binary(g, AIRA_OP_GE, targets, zero),
                                     aira__binary(g, AIRA_OP_LT, targets, vocab));
    uint32_t mask = (1u << nll->shape.rank) - 1;
    tensor_t *n = aira__summed(g, aira__to_type(g, counted, nll->dtype), mask, false, 0);
    n = aira__binary(g, AIRA_OP_MAX, n, aira__scalar(g, 1, nll->dtype));
    return aira__binary(g, AIRA_OP_DIV, aira__summed(g, nll, mask, false, 0), n);
}

tensor_t *aira__einsum(graph_t *g, const char *equation, tensor_t *a, tensor_t *b); /* einsum.c */

const aira_ops *aira__graph_ops(void) {
    static const aira_ops table = {.size = sizeof(aira_ops),
                                   .minor = 0,
                                   .ctx_int = ctx_int,
                                   .ctx_tensor = ctx_tensor,
                                   .shape = shape,
                                   .dim = dim,
                                   .error = fail,
                                   .param = param,
                                   .constant = constant,
                                   .iota = iota,
                                   .random = random_values,
                                   .aux_loss = aux_loss,
                                   .metric = metric,
                                   .neg = op_neg,
                                   .exp = op_exp,
                                   .log = op_log,
                                   .sqrt = op_sqrt,
                                   .rsqrt = op_rsqrt,
                                   .sigmoid = op_sigmoid,
                                   .tanh = op_tanh,
                                   .silu = op_silu,
                                   .gelu = gelu,
                                   .relu = op_relu,
                                   .softplus = op_softplus,
                                   .sin = op_sin,
                                   .cos = op_cos,
                                   .abs = op_abs,
                                   .add = op_add,
                                   .sub = op_sub,
                                   .mul = op_mul,
                                   .div = op_div,
                                   .min = op_min,
                                   .max = op_max,
                                   .pow = op_pow,
                                   .compare = compare,
                                   .where = where,
                                   .scale = aira__scaled,
                                   .cast = cast,
                                   .stop_gradient = stop_gradient,
                                   .matmul = matmul,
                                   .linear = linear,
                                   .einsum = aira__einsum,
                                   .sum = sum,
                                   .mean = mean,
                                   .max_along = max_along,
                                   .cumsum = cumsum,
                                   .reshape = reshape,
                                   .transpose = transpose,
                                   .slice = slice,
                                   .concat = concat,
                                   .pad = pad,
                                   .broadcast = broadcast,
                                   .gather = gather,
                                   .scatter_add = scatter_add,
                                   .gather_last = op_gather_last,
                                   .scatter_last = scatter_last,
                                   .top_k = top_k,
                                   .argsort = argsort,
                                   .rms_norm = rms_norm,
                                   .layer_norm = layer_norm,
                                   .softmax = op_softmax,
                                   .attention = attention,
                                   .rope = rope,
                                   .conv1d_causal = conv1d_causal,
                                   .selective_scan = selective_scan,
                                   .ssd = ssd,
                                   .fft_conv = op_fft_conv,
                                   .grouped_matmul = grouped_matmul,
                                   .cross_entropy = cross_entropy};
    return &table;
}
