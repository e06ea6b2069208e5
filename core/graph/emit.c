/* core/graph/emit.c - the one way operations come into being, and short forms of it. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/graph/internal.h"

typedef struct op_row {
    uint32_t code, cls;
    int32_t n_in, n_out;
    const char *name;
} op_row;

static const op_row op_rows[] = {/* by code; codes that are not in use have no name */
#define ROW(name, code, cls, n_in, n_out, doc) [code] = {code, AIRA_CLASS_##cls, n_in, n_out, #name},
                                 AIRA_OP_TABLE(ROW)
#undef ROW
};

static const op_row *row_of(uint32_t code) {
    return code < sizeof op_rows / sizeof *op_rows && op_rows[code].name != NULL ? &op_rows[code] : NULL;
}

const char *aira__op_name(uint32_t code) {
    const op_row *row = row_of(code);
    return row ? row->name : "?";
}

uint32_t aira__op_class(uint32_t code) {
    const op_row *row = row_of(code);
    return row ? row->cls : 0;
}

uint32_t aira__op_arity_out(uint32_t code) {
    const op_row *row = row_of(code);
    return row && row->n_out > 0 ? (uint32_t)row->n_out : 0;
}

int64_t aira__shape_elements(const aira_shape *shape) {
    int64_t n = 1;
    for (uint32_t k = 0; k < shape->rank; k++)
        if (__builtin_mul_overflow(n, shape->dims[k], &n)) return INT64_MAX; /* a claim of untrusted bytes */
    return n;
}

uint64_t aira__dtype_bytes(uint32_t dtype) {
    switch (dtype) {
    case AIRA_F32:
        return 4;
    case AIRA_F64:
        return 8;
    case AIRA_BF16:
        return 2;
    case AIRA_I32:
        return 4;
    default:
        return 0;
    }
}

const char *aira__dtype_name(uint32_t dtype) {
    switch (dtype) {
    case AIRA_F32:
        return "f32";
    case AIRA_F64:
        return "f64";
    case AIRA_BF16:
        return "bf16";
    case AIRA_I32:
        return "i32";
    default:
        return "?";
    }
}

bool aira__is_float(uint32_t dtype) { return dtype == AIRA_F32 || dtype == AIRA_F64 || dtype == AIRA_BF16; }

uint32_t aira__promote(uint32_t a, uint32_t b) {
    if (a == b) return a;
    if (a == AIRA_F64 || b == AIRA_F64) return AIRA_F64;
    return AIRA_F32; /* bf16 with f32 */
}

bool aira__shape_equal(const aira_shape *a, const aira_shape *b) {
    if (a->rank != b->rank) return false;
    for (uint32_t k = 0; k < a->rank; k++)
        if (a->dims[k] != b->dims[k]) return false;
    return true;
}

aira_shape aira__shape_of(uint32_t rank, ...) {
    aira_shape shape = {.rank = rank};
    va_list arguments;
    va_start(arguments, rank);
    for (uint32_t k = 0; k < rank; k++) shape.dims[k] = va_arg(arguments, int64_t);
    va_end(arguments);
    return shape;
}

void aira__shape_text(const aira_shape *shape, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (uint32_t k = 0; k < shape->rank && used < size; k++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", k ? "," : "", (long long)shape->dims[k]);
    if (used < size) snprintf(text + used, size - used, "]");
}

static bool shape_is_sane(aira_graph *graph, const aira_shape *shape, const char *name) {
    if (shape->rank > AIRA_MAX_RANK) {
        aira__graph_fail(graph, AIRA_E_FAILED, "%s: rank %u is beyond %d", name, shape->rank, AIRA_MAX_RANK);
        return false;
    }
    int64_t n = 1, limit = graph->context->limits.max_elements;
    for (uint32_t k = 0; k < shape->rank; k++) {
        if (shape->dims[k] < 1 || shape->dims[k] > limit / n) {
            char text[128];
            aira__shape_text(shape, text, sizeof text);
            aira__graph_fail(graph, AIRA_E_FAILED, "%s: the shape %s is empty or holds more than %lld elements", name,
                             text, (long long)limit);
            return false;
        }
        n *= shape->dims[k];
    }
    return true;
}

static aira__op *new_op(aira_graph *graph, uint32_t code, aira_tensor *const *in, uint32_t n_in, const int64_t *i,
                        uint32_t n_i, const double *f, uint32_t n_f, uint32_t n_out) {
    aira__op *op = aira__graph_alloc(graph, sizeof *op);
    if (op == NULL) return NULL;
    *op = (aira__op){.code = code,
                     .n_in = n_in,
                     .n_out = n_out,
                     .n_i = n_i,
                     .n_f = n_f,
                     .block = graph->context->block,
                     .backward = graph->context->backward};
    op->in = aira__graph_alloc(graph, (n_in + 1) * sizeof *op->in);
    op->out = aira__graph_alloc(graph, (n_out + 1) * sizeof *op->out);
    op->i = aira__graph_alloc(graph, (n_i + 1) * sizeof *op->i);
    op->f = aira__graph_alloc(graph, (n_f + 1) * sizeof *op->f);
    if (!op->in || !op->out || !op->i || !op->f) return NULL;
    for (uint32_t k = 0; k < n_in; k++) op->in[k] = in[k];
    for (uint32_t k = 0; k < n_i; k++) op->i[k] = i[k];
    for (uint32_t k = 0; k < n_f; k++) op->f[k] = f[k];
    return op;
}

aira_tensor *aira__graph_emit(aira_graph *graph, uint32_t code, aira_tensor *const *in, uint32_t n_in, const int64_t *i,
                              uint32_t n_i, const double *f, uint32_t n_f, const aira_shape *shape, uint32_t dtype) {
    if (graph == NULL || graph->status != AIRA_OK) return NULL;
    const op_row *row = row_of(code);
    if (row == NULL || code == AIRA_OP_CHAIN)
        return aira__graph_fail(graph, AIRA_E_FAILED, "operation code %u is not one that a graph may hold", code);
    if (row->n_in >= 0 && (uint32_t)row->n_in != n_in)
        return aira__graph_fail(graph, AIRA_E_FAILED, "%s takes %d operands, got %u", row->name, row->n_in, n_in);
    for (uint32_t k = 0; k < n_in; k++) {
        if (in[k] == NULL) return NULL;
        if (in[k]->graph != graph)
            return aira__graph_fail(graph, AIRA_E_FAILED, "%s: an operand belongs to another graph", row->name);
    }
    if (graph->n_ops >= graph->context->limits.max_ops)
        return aira__graph_fail(graph, AIRA_E_FAILED, "the graph holds more than %u operations",
                                graph->context->limits.max_ops);
    uint32_t n_out = (uint32_t)row->n_out;
    aira__op *op = new_op(graph, code, in, n_in, i, n_i, f, n_f, n_out);
    aira_shape shapes[8] = {{{0}, 0, 0}};
    uint32_t types[8] = {0};
    if (op == NULL || !aira__infer(graph, op, shape, dtype, shapes, types)) return NULL;
    if (!aira__graph_grow(graph, (void **)&graph->ops, &graph->context->cap_ops, graph->n_ops, sizeof *graph->ops))
        return NULL;
    for (uint32_t k = 0; k < n_out; k++) {
        if (!shape_is_sane(graph, &shapes[k], row->name)) return NULL;
        aira_tensor *t = aira__graph_alloc(graph, sizeof *t);
        if (t == NULL || !aira__graph_grow(graph, (void **)&graph->tensors, &graph->context->cap_tensors,
                                           graph->n_tensors, sizeof *graph->tensors))
            return NULL;
        *t = (aira_tensor){graph, graph->n_tensors, graph->n_ops, k, types[k], shapes[k]};
        op->out[k] = t;
        graph->tensors[graph->n_tensors++] = t;
    }
    graph->ops[graph->n_ops++] = op;
    return n_out ? op->out[0] : NULL;
}

/* --- short forms
 * ------------------------------------------------------------------------------------------------------- */

aira_tensor *aira__unary(aira_graph *g, uint32_t code, aira_tensor *x) {
    return aira__graph_emit(g, code, &x, 1, NULL, 0, NULL, 0, NULL, 0);
}

aira_tensor *aira__binary(aira_graph *g, uint32_t code, aira_tensor *a, aira_tensor *b) {
    aira_tensor *in[2] = {a, b};
    return aira__graph_emit(g, code, in, 2, NULL, 0, NULL, 0, NULL, 0);
}

aira_tensor *aira__scalar(aira_graph *g, double value, uint32_t dtype) {
    aira_shape scalar = {.rank = 0};
    return aira__graph_emit(g, AIRA_OP_CONSTANT, NULL, 0, NULL, 0, &value, 1, &scalar, dtype);
}

aira_tensor *aira__scaled(aira_graph *g, aira_tensor *x, double factor) {
    if (x == NULL || factor == 1) return x;
    return aira__binary(g, AIRA_OP_MUL, x, aira__scalar(g, factor, x->dtype));
}

aira_tensor *aira__to_type(aira_graph *g, aira_tensor *x, uint32_t dtype) {
    if (x == NULL || x->dtype == dtype) return x;
    return aira__graph_emit(g, AIRA_OP_CAST, &x, 1, NULL, 0, NULL, 0, NULL, dtype);
}

aira_tensor *aira__reshaped(aira_graph *g, aira_tensor *x, const aira_shape *shape) {
    if (x == NULL || aira__shape_equal(&x->shape, shape)) return x;
    return aira__graph_emit(g, AIRA_OP_RESHAPE, &x, 1, NULL, 0, NULL, 0, shape, 0);
}

aira_tensor *aira__permuted(aira_graph *g, aira_tensor *x, const int64_t *order) {
    if (x == NULL) return NULL;
    bool identity = true;
    for (uint32_t k = 0; k < x->shape.rank; k++) identity = identity && order[k] == k;
    if (identity) return x;
    return aira__graph_emit(g, AIRA_OP_TRANSPOSE, &x, 1, order, x->shape.rank, NULL, 0, NULL, 0);
}

aira_tensor *aira__sliced(aira_graph *g, aira_tensor *x, int64_t axis, int64_t start, int64_t length) {
    if (x == NULL) return NULL;
    if (start == 0 && axis >= 0 && axis < x->shape.rank && length == x->shape.dims[axis]) return x;
    int64_t i[3] = {axis, start, length};
    return aira__graph_emit(g, AIRA_OP_SLICE, &x, 1, i, 3, NULL, 0, NULL, 0);
}

aira_tensor *aira__padded(aira_graph *g, aira_tensor *x, int64_t axis, int64_t before, int64_t after, double value) {
    if (before == 0 && after == 0) return x;
    int64_t i[3] = {axis, before, after};
    return aira__graph_emit(g, AIRA_OP_PAD, &x, 1, i, 3, &value, 1, NULL, 0);
}

aira_tensor *aira__broadcasted(aira_graph *g, aira_tensor *x, const aira_shape *shape) {
    if (x == NULL || aira__shape_equal(&x->shape, shape)) return x;
    return aira__graph_emit(g, AIRA_OP_BROADCAST, &x, 1, NULL, 0, NULL, 0, shape, 0);
}

aira_tensor *aira__summed(aira_graph *g, aira_tensor *x, uint32_t mask, bool keep, uint32_t dtype) {
    if (x == NULL) return NULL;
    if (mask == 0) return aira__to_type(g, x, dtype ? dtype : x->dtype);
    int64_t i[2] = {mask, keep};
    return aira__graph_emit(g, AIRA_OP_SUM, &x, 1, i, 2, NULL, 0, NULL, dtype);
}

aira_tensor *aira__concatenated(aira_graph *g, aira_tensor *const *in, uint32_t n, int64_t axis) {
    return n == 1 ? in[0] : aira__graph_emit(g, AIRA_OP_CONCAT, in, n, &axis, 1, NULL, 0, NULL, 0);
}

aira_tensor *aira__multiplied(aira_graph *g, aira_tensor *a, aira_tensor *b, bool trans_a, bool trans_b,
                              uint32_t dtype) {
    aira_tensor *in[2] = {a, b};
    int64_t i[2] = {trans_a, trans_b};
    return aira__graph_emit(g, AIRA_OP_MATMUL, in, 2, i, 2, NULL, 0, NULL, dtype);
}

aira_tensor *aira__reduced_to(aira_graph *g, aira_tensor *x, const aira_shape *shape, uint32_t dtype) {
    if (x == NULL) return NULL;
    uint32_t mask = 0, lead = x->shape.rank - shape->rank;
    for (uint32_t k = 0; k < x->shape.rank; k++)
        if (k < lead || (shape->dims[k - lead] == 1 && x->shape.dims[k] != 1)) mask |= 1u << k;
    if (mask == 0) return x;
    return aira__reshaped(g, aira__summed(g, x, mask, false, dtype), shape);
}

aira_tensor *aira__indices(aira_graph *g, const aira_shape *shape, uint32_t axis, uint32_t dtype) {
    int64_t i = axis;
    return aira__graph_emit(g, AIRA_OP_IOTA, NULL, 0, &i, 1, NULL, 0, shape, dtype);
}
