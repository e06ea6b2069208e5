/* core/graph/gradients.c - reverse-mode differentiation, graph to graph.
 *
 * Walks the operations backwards from y. An operation takes part if its result depends on some wrt (marked forwards)
 * and some dy has reached it. Its rule appends the operands' gradients to the same graph, stamped with the block of
 * the operation, so that a block's backward is a contiguous run of operations.
 *
 * Several contributions to one tensor are added in a fixed order. Contributions that are slices of it are kept apart
 * until all are known: slices that tile an axis become one concatenation instead of padded sums.
 *
 * A gradient may be wider than its tensor: what flows into a bf16 copy of an fp32 parameter is produced in fp32.
 */
#include <stdlib.h>
#include <string.h>

#include "core/graph/internal.h"

typedef struct piece {
    aira_tensor *value;
    int64_t axis, start; /* axis -1: whole */
    struct piece *next;
} piece;

typedef struct tape {
    aira_graph *graph;
    piece **pieces; /* per tensor id, newest first */
    bool *depends;  /* per tensor id: on some wrt */
    uint32_t n;     /* tensors at the start */
} tape;

static void contribute(tape *t, aira_tensor *to, aira_tensor *value, int64_t axis, int64_t start) {
    if (value == NULL || to->id >= t->n || !t->depends[to->id]) return;
    piece *p = aira__graph_alloc(t->graph, sizeof *p);
    if (p == NULL) return;
    *p = (piece){value, axis, start, t->pieces[to->id]};
    t->pieces[to->id] = p;
}

/* One concatenation if the sliced pieces tile one axis of the tensor exactly, else NULL. */
static aira_tensor *tiled(tape *t, const aira_tensor *to, piece *list) {
    int64_t axis = list->axis, covered = 0;
    uint32_t n = 0;
    aira_tensor *parts[64];
    for (piece *p = list; p; p = p->next, n++)
        if (p->axis != axis || axis < 0 || n >= 64 || p->value->dtype != list->value->dtype) return NULL;
    for (uint32_t k = 0; k < n; k++) {
        piece *found = NULL;
        for (piece *p = list; p; p = p->next)
            if (p->start == covered && (found == NULL || p->value->id < found->value->id)) found = p;
        if (found == NULL) return NULL;
        parts[k] = found->value;
        covered += found->value->shape.dims[axis];
    }
    return covered == to->shape.dims[axis] && n > 1 ? aira__concatenated(t->graph, parts, n, axis) : NULL;
}

static aira_tensor *whole_of(tape *t, const aira_tensor *to, const piece *p) {
    if (p->axis < 0) return p->value;
    int64_t after = to->shape.dims[p->axis] - p->start - p->value->shape.dims[p->axis];
    return aira__padded(t->graph, p->value, p->axis, p->start, after, 0);
}

/* The sum of all contributions to a tensor, or NULL. */
static aira_tensor *gradient_of(tape *t, const aira_tensor *to) {
    piece *list = to->id < t->n ? t->pieces[to->id] : NULL;
    if (list == NULL) return NULL;
    aira_tensor *sum = list->next ? tiled(t, to, list) : NULL;
    if (sum == NULL) {
        piece *reversed = NULL; /* oldest first */
        while (list) {
            piece *next = list->next;
            list->next = reversed;
            reversed = list;
            list = next;
        }
        for (piece *p = reversed; p; p = p->next) {
            aira_tensor *whole = whole_of(t, to, p);
            sum = sum ? aira__binary(t->graph, AIRA_OP_ADD, sum, whole) : whole;
        }
    }
    if (sum) {
        piece *only = aira__graph_alloc(t->graph, sizeof *only);
        if (only) *only = (piece){sum, -1, 0, NULL};
        t->pieces[to->id] = only;
    }
    return sum;
}

static void mark_dependence(tape *t, aira_tensor *const *wrt, uint32_t n_wrt) {
    for (uint32_t k = 0; k < n_wrt; k++) t->depends[wrt[k]->id] = true;
    for (uint32_t o = 0; o < t->graph->n_ops; o++) {
        const aira__op *op = t->graph->ops[o];
        if (op->code == AIRA_OP_CAST && op->n_i == 1) continue; /* stop_gradient */
        bool any = false;
        for (uint32_t k = 0; k < op->n_in; k++) any = any || t->depends[op->in[k]->id];
        for (uint32_t k = 0; k < op->n_out && any; k++)
            if (aira__is_float(op->out[k]->dtype)) t->depends[op->out[k]->id] = true;
    }
}

static bool differentiate(tape *t, aira__op *op) {
    aira_graph *g = t->graph;
    aira_tensor *dy[8] = {NULL}, *dx[16] = {NULL};
    bool needed[16] = {false}, any_dy = false, any_needed = false;
    if (op->code == AIRA_OP_CAST && op->n_i == 1) return true;
    for (uint32_t k = 0; k < op->n_in && k < 16; k++) {
        needed[k] = t->depends[op->in[k]->id];
        any_needed = any_needed || needed[k];
    }
    if (op->code == AIRA_OP_CONCAT)
        for (uint32_t k = 0; k < op->n_in; k++) any_needed = any_needed || t->depends[op->in[k]->id];
    if (!any_needed) return true;
    g->context->block = op->block;
    g->context->backward = op->block != 0;
    for (uint32_t k = 0; k < op->n_out; k++) {
        dy[k] = gradient_of(t, op->out[k]);
        any_dy = any_dy || dy[k];
    }
    if (!any_dy) return true;
    if (op->code == AIRA_OP_SLICE) {
        contribute(t, op->in[0], dy[0], op->i[0], op->i[1]);
        return true;
    }
    if (op->code == AIRA_OP_CONCAT) { /* any number of operands */
        int64_t at = 0;
        for (uint32_t k = 0; k < op->n_in; k++) {
            int64_t extent = op->in[k]->shape.dims[op->i[0]];
            if (t->depends[op->in[k]->id])
                contribute(t, op->in[k], aira__sliced(g, dy[0], op->i[0], at, extent), -1, 0);
            at += extent;
        }
        return true;
    }
    aira__gradient_rule rule = aira__gradient_rule_of(op->code);
    if (rule == NULL) {
        aira__graph_fail(g, AIRA_E_FAILED, "%s has no gradient; wrap its operand in stop_gradient if none is wanted",
                         aira__op_name(op->code));
        return false;
    }
    rule(g, op, dy, needed, dx);
    for (uint32_t k = 0; k < op->n_in; k++)
        if (needed[k]) contribute(t, op->in[k], dx[k], -1, 0);
    return g->status == AIRA_OK;
}

/* Adds up what a block's backward contributed to tensors from outside, while it is still that block's turn. */
static void close_block(tape *t, uint32_t block, uint32_t first, uint32_t last) {
    t->graph->context->block = block;
    t->graph->context->backward = 1;
    for (uint32_t o = last + 1; o-- > first;) {
        const aira__op *op = t->graph->ops[o];
        for (uint32_t k = 0; k < op->n_in; k++)
            if (t->graph->ops[op->in[k]->op]->block != block) gradient_of(t, op->in[k]);
    }
}

aira_status aira__graph_pullback(aira_graph *graph, aira_tensor *const *y, aira_tensor *const *dy, uint32_t n_y,
                                 aira_tensor *const *wrt, uint32_t n, aira_tensor **grads, aira_error *error) {
    if (graph->status != AIRA_OK) return aira__graph_check(graph, error);
    tape t = {.graph = graph, .n = graph->n_tensors};
    uint32_t n_ops = graph->n_ops, block = graph->context->block, backward = graph->context->backward;
    t.pieces = calloc(t.n ? t.n : 1, sizeof *t.pieces);
    t.depends = calloc(t.n ? t.n : 1, sizeof *t.depends);
    if (t.pieces == NULL || t.depends == NULL) {
        free(t.pieces);
        free(t.depends);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while differentiating %u operations", n_ops);
    }
    mark_dependence(&t, wrt, n);
    for (uint32_t k = 0; k < n_y; k++)
        if (y[k] && dy[k]) contribute(&t, y[k], dy[k], -1, 0);
    for (uint32_t o = n_ops, last = 0; o-- > 0;) {
        uint32_t current = graph->ops[o]->block;
        if (o + 1 == n_ops || graph->ops[o + 1]->block != current) last = o;
        if (!differentiate(&t, graph->ops[o])) break;
        if (current && (o == 0 || graph->ops[o - 1]->block != current)) close_block(&t, current, o, last);
    }
    graph->context->block = block;
    graph->context->backward = backward;
    for (uint32_t k = 0; k < n; k++) grads[k] = aira__to_type(graph, gradient_of(&t, wrt[k]), wrt[k]->dtype);
    free(t.pieces);
    free(t.depends);
    return aira__graph_check(graph, error);
}

aira_status aira__graph_gradients(aira_graph *graph, aira_tensor *loss, aira_tensor *const *wrt, uint32_t n,
                                  aira_tensor **grads, aira_error *error) {
    if (loss == NULL) return aira__fail(error, AIRA_E_FAILED, "there is no loss to differentiate");
    if (aira__shape_elements(&loss->shape) != 1) return aira__fail(error, AIRA_E_FAILED, "the loss must be a scalar");
    double one = 1;
    aira_tensor *dy = aira__graph_emit(graph, AIRA_OP_CONSTANT, NULL, 0, NULL, 0, &one, 1, &loss->shape, loss->dtype);
    return aira__graph_pullback(graph, &loss, &dy, 1, wrt, n, grads, error);
}
