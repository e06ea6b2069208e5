/* core/graph/initial.c - initial values of parameters, on the host, in double precision.
 *
 * A value is a pure function of (seed, parameter name, element), whatever the order of declarations, the compute type
 * or the device. Expressions given by plugins may use leaves, elementwise operations, sums along axes and shapes.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/base/parallel.h"
#include "core/base/uniform.h"
#include "core/graph/internal.h"

typedef struct evaluation {
    const aira_graph *graph;
    uint64_t seed; /* already mixed with nothing else: RANDOM keys carry the names */
    aira_error *error;
} evaluation;

static double *evaluate(evaluation *e, const aira_tensor *t, int depth);

static double unary(const aira__op *op, double x) {
    switch (op->code) {
    case AIRA_OP_NEG:
        return -x;
    case AIRA_OP_EXP:
        return exp(x);
    case AIRA_OP_LOG:
        return log(x);
    case AIRA_OP_SQRT:
        return sqrt(x);
    case AIRA_OP_RSQRT:
        return 1 / sqrt(x);
    case AIRA_OP_SIGMOID:
        return 1 / (1 + exp(-x));
    case AIRA_OP_TANH:
        return tanh(x);
    case AIRA_OP_SILU:
        return x / (1 + exp(-x));
    case AIRA_OP_RELU:
        return x > 0 ? x : 0;
    case AIRA_OP_SOFTPLUS:
        return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case AIRA_OP_SIN:
        return sin(x);
    case AIRA_OP_COS:
        return cos(x);
    case AIRA_OP_ABS:
        return fabs(x);
    case AIRA_OP_CAST:
        return op->out[0]->dtype == AIRA_I32 ? trunc(x) : x;
    default:
        return NAN;
    }
}

static double binary(uint32_t code, double a, double b) {
    switch (code) {
    case AIRA_OP_ADD:
        return a + b;
    case AIRA_OP_SUB:
        return a - b;
    case AIRA_OP_MUL:
        return a * b;
    case AIRA_OP_DIV:
        return a / b;
    case AIRA_OP_MIN:
        return a < b ? a : b;
    case AIRA_OP_MAX:
        return a > b ? a : b;
    case AIRA_OP_POW:
        return pow(a, b);
    case AIRA_OP_EQ:
        return a == b;
    case AIRA_OP_NE:
        return a != b;
    case AIRA_OP_LT:
        return a < b;
    case AIRA_OP_LE:
        return a <= b;
    case AIRA_OP_GT:
        return a > b;
    case AIRA_OP_GE:
        return a >= b;
    default:
        return NAN;
    }
}

static void unravel(const aira_shape *shape, int64_t flat, int64_t *at) {
    for (uint32_t k = shape->rank; k-- > 0;) {
        at[k] = flat % shape->dims[k];
        flat /= shape->dims[k];
    }
}

/* element of an operand that broadcasts to position `at` of a result of the given rank */
static int64_t broadcast_index(const aira_shape *operand, uint32_t rank, const int64_t *at) {
    int64_t flat = 0;
    for (uint32_t k = 0; k < operand->rank; k++)
        flat = flat * operand->dims[k] + (operand->dims[k] == 1 ? 0 : at[rank - operand->rank + k]);
    return flat;
}

static void fill_leaf(const evaluation *e, const aira__op *op, const aira_shape *shape, double *out) {
    int64_t n = aira__shape_elements(shape), at[AIRA_MAX_RANK];
    for (int64_t k = 0; k < n; k++) {
        if (op->code == AIRA_OP_CONSTANT)
            out[k] = op->f[0];
        else if (op->code == AIRA_OP_IOTA) {
            unravel(shape, k, at);
            out[k] = (double)at[op->i[0]];
        } else {
            uint64_t key = (uint64_t)op->i[1] ^ e->seed;
            out[k] = op->i[0] ? aira_element_normal(key, 0, (uint64_t)k) : aira_element_uniform(key, 0, (uint64_t)k);
        }
    }
}

/* Where element k of the result, which lies at `at`, comes from in the one operand; -1: the operation computes. */
static int64_t source_of(const aira__op *op, const aira_tensor *t, int64_t k, const int64_t *at) {
    int64_t source[AIRA_MAX_RANK];
    switch (op->code) {
    case AIRA_OP_RESHAPE:
        return k;
    case AIRA_OP_BROADCAST:
        return broadcast_index(&op->in[0]->shape, t->shape.rank, at);
    case AIRA_OP_TRANSPOSE:
    case AIRA_OP_SLICE:
        for (uint32_t d = 0; d < t->shape.rank; d++) {
            if (op->code == AIRA_OP_TRANSPOSE)
                source[op->i[d]] = at[d];
            else
                source[d] = at[d] + (d == (uint32_t)op->i[0] ? op->i[1] : 0);
        }
        return broadcast_index(&op->in[0]->shape, t->shape.rank, source);
    default:
        return -1;
    }
}

static bool moves(uint32_t code) {
    return code == AIRA_OP_RESHAPE || code == AIRA_OP_BROADCAST || code == AIRA_OP_TRANSPOSE || code == AIRA_OP_SLICE;
}

static bool fill(const aira__op *op, const aira_tensor *t, double *const *in, double *out) {
    int64_t n = aira__shape_elements(&t->shape), at[AIRA_MAX_RANK] = {0};
    if (!moves(op->code) && aira__op_class(op->code) != AIRA_CLASS_ELEMENTWISE) return false;
    bool plain = op->code == AIRA_OP_RESHAPE; /* every operand has the result's shape: element k is element k */
    if (!moves(op->code)) {
        plain = true;
        for (uint32_t j = 0; j < op->n_in; j++) plain = plain && aira__shape_equal(&op->in[j]->shape, &t->shape);
    }
    for (int64_t k = 0; k < n; k++) {
        if (!plain) unravel(&t->shape, k, at);
        if (moves(op->code)) {
            out[k] = in[0][source_of(op, t, k, at)];
        } else if (op->n_in == 1) {
            out[k] = unary(op, in[0][k]);
        } else {
            double v[3] = {0, 0, 0};
            for (uint32_t j = 0; j < op->n_in; j++)
                v[j] = in[j][plain ? k : broadcast_index(&op->in[j]->shape, t->shape.rank, at)];
            out[k] = op->n_in == 3 ? (v[0] != 0 ? v[1] : v[2]) : binary(op->code, v[0], v[1]);
        }
    }
    return true;
}

static double *evaluate(evaluation *e, const aira_tensor *t, int depth) {
    const aira__op *op = e->graph->ops[t->op];
    int64_t n = aira__shape_elements(&t->shape);
    double *in[3] = {NULL, NULL, NULL}, *out = malloc((size_t)n * sizeof *out);
    bool ok = out != NULL && depth < 64;
    if (!ok) aira__fail(e->error, AIRA_E_FAILED, "an initial value is nested too deeply or too large");
    bool is_leaf = op->code == AIRA_OP_CONSTANT || op->code == AIRA_OP_IOTA || op->code == AIRA_OP_RANDOM;
    if (ok && is_leaf)
        fill_leaf(e, op, &t->shape, out);
    else if (ok) {
        ok = op->n_in >= 1 && op->n_in <= 3;
        for (uint32_t k = 0; ok && k < op->n_in; k++) ok = (in[k] = evaluate(e, op->in[k], depth + 1)) != NULL;
        ok = ok && fill(op, t, in, out);
        if (!ok)
            aira__fail(e->error, AIRA_E_FAILED,
                       "%s cannot be part of an initial value; use constants, iota, random, elementwise operations and "
                       "shapes",
                       aira__op_name(op->code));
    }
    for (int k = 0; k < 3; k++) free(in[k]);
    if (ok) return out;
    free(out);
    return NULL;
}

/* --- named distributions --- */

#define GRAIN ((int64_t)1 << 18) /* elements that are worth a thread */

typedef enum { ZEROS, ONES, CONSTANT, NORMAL, UNIFORM, FAN_IN } distribution;

typedef struct drawing {
    const aira__variable *variable;
    distribution kind;
    uint64_t key;
    double *out;
} drawing;

static distribution distribution_of(const char *name) {
    static const char *const names[] = {"zeros", "ones", "constant", "normal", "uniform", "fan_in"};
    for (int k = ONES; k <= FAN_IN; k++)
        if (strcmp(name, names[k]) == 0) return (distribution)k;
    return ZEROS;
}

static void fill_same(double *out, int64_t n, double value) {
    for (int64_t k = 0; k < n; k++) out[k] = value;
}

/* Every element is a function of its own number, so threads change nothing. */
static void draw(void *context, int64_t from, int64_t to) {
    const drawing *d = context;
    const aira__variable *v = d->variable;
    double bound = v->shape.rank ? 1 / sqrt((double)v->shape.dims[v->shape.rank - 1]) : 1;
    double *out = d->out + from, mult = v->init_mult;
    int64_t n = to - from;
    switch (d->kind) {
    case ZEROS:
        fill_same(out, n, 0 * mult);
        break;
    case ONES:
        fill_same(out, n, mult);
        break;
    case CONSTANT:
        fill_same(out, n, v->a * mult);
        break;
    case NORMAL:
        for (int64_t k = 0; k < n; k++) out[k] = v->a * aira_element_normal(d->key, 0, (uint64_t)(from + k)) * mult;
        break;
    case UNIFORM:
        aira__uniforms(d->key, (uint64_t)from, n, &(aira__uniform_map){v->a, v->b - v->a, 1, mult}, out);
        break;
    case FAN_IN:
        aira__uniforms(d->key, (uint64_t)from, n, &(aira__uniform_map){-1, 2, bound, mult}, out);
        break;
    }
}

aira_status aira__variable_initial(const aira_graph *graph, const aira__variable *v, uint64_t seed, double *out,
                                   aira_error *error) {
    int64_t n = aira__shape_elements(&v->shape);
    if (v->value) {
        evaluation e = {graph, aira_key(seed, "initial value"), error};
        double *values = evaluate(&e, v->value, 0);
        if (values == NULL) return aira__fail_in(error, "parameter '%s'", v->name);
        for (int64_t k = 0; k < n; k++) out[k] = values[k] * v->init_mult;
        free(values);
        return AIRA_OK;
    }
    drawing d = {v, distribution_of(v->init), aira_key(seed, v->name), out};
    aira__parallel(n, GRAIN, draw, &d);
    return AIRA_OK;
}
