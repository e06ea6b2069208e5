/* core/graph/rewrite_head.c - the head's product and its cross-entropy as one operation.
 *
 * logits = x w', nll = CROSS_ENTROPY(logits), and, where the graph was differentiated, dlogits, dx = dlogits w and
 * dw = dlogits' x become HEAD_CROSS_ENTROPY or HEAD_CROSS_ENTROPY_BACKWARD: the logits, in a large model the largest
 * tensor by far, never exist. That holds where nobody else reads the logits or their gradient, and where the gradient
 * of nll does not itself depend on nll (it is 1 over the number of targets in a mean), so that one pass gives both.
 *
 * The new operation stands where the cross-entropy stood; what it needs from further down is copied first. Graphs may
 * be a stranger's: nothing here recurses along them.
 */
#include <stdlib.h>

#include "core/graph/internal.h"

typedef struct head {
    const aira__op *logits, *loss, *dlogits, *dx, *dw; /* dlogits, dx, dw: NULL where nothing was differentiated */
} head;

enum { MOST_HEADS = 16 }; /* cross-entropies of one graph that are looked at; more stay as they are */

typedef struct rewriting {
    const aira_graph *from;
    aira__copier copier;
    head heads[MOST_HEADS];
    uint32_t n_heads;
    bool *done; /* by operation of from */
} rewriting;

/* The tensor itself, where it is a reshaped view of another one. */
static const aira_tensor *unshaped(const aira_graph *g, const aira_tensor *t) {
    while (g->ops[t->op]->code == AIRA_OP_RESHAPE) t = g->ops[t->op]->in[0];
    return t;
}

static bool is_output(const aira_graph *g, const aira_tensor *t) {
    for (uint32_t k = 0; k < g->n_outputs; k++)
        if (g->outputs[k].tensor == t) return true;
    return false;
}

/* What reads t, looking through one reshape: up to `room` operations, or room + 1 where there are more or t is read
   otherwise. */
static uint32_t readers_of(const aira_graph *g, const aira_tensor *t, const aira__op **readers, uint32_t room,
                           bool through) {
    uint32_t n = is_output(g, t) ? room + 1 : 0;
    for (uint32_t o = t->op + 1; o < g->n_ops && n <= room; o++) {
        const aira__op *op = g->ops[o];
        bool reads = false;
        for (uint32_t k = 0; k < op->n_in && !reads; k++) reads = op->in[k] == t;
        if (!reads) continue;
        if (through && op->code == AIRA_OP_RESHAPE) {
            n += readers_of(g, op->out[0], readers + n, room - n, false);
        } else {
            if (n < room) readers[n] = op;
            n++;
        }
    }
    return n;
}

/* Marks the operations that t is computed by, where each of the heads is one operation. */
static void mark_needed(const aira_graph *g, const aira_tensor *t, const head *heads, uint32_t n_heads, bool *needed) {
    for (uint32_t o = 0; o < g->n_ops; o++) needed[o] = false;
    needed[t->op] = true;
    for (bool again = true; again;) {
        again = false;
        for (uint32_t o = g->n_ops; o-- > 0;) {
            const aira__op *op = g->ops[o];
            for (uint32_t k = 0; needed[o] && k < op->n_in; k++) needed[op->in[k]->op] = true;
        }
        for (uint32_t k = 0; k < n_heads; k++) {
            if (heads[k].dlogits == NULL) continue;
            uint32_t from = heads[k].dlogits->in[2]->op;
            if (!needed[heads[k].loss->out[0]->op] || needed[from]) continue;
            needed[from] = again = true;
        }
    }
}

static bool is_product(const aira__op *op, bool trans_a, bool trans_b) {
    return op->code == AIRA_OP_MATMUL && (op->i[0] != 0) == trans_a && (op->i[1] != 0) == trans_b;
}

/* dlogits is read by dx = dlogits w and dw = dlogits' x, and by nothing else. */
static bool match_products(const aira_graph *g, const aira_tensor *x, const aira_tensor *w, head *h) {
    const aira__op *readers[2] = {NULL, NULL};
    if (readers_of(g, h->dlogits->out[0], readers, 2, true) != 2) return false;
    for (int k = 0; k < 2; k++) {
        const aira__op *op = readers[k];
        if (is_product(op, false, false) && op->in[1] == w) h->dx = op;
        if (is_product(op, true, false) && unshaped(g, op->in[1]) == unshaped(g, x)) h->dw = op;
    }
    uint32_t wide = x->dtype == AIRA_F64 ? AIRA_F64 : AIRA_F32;
    return h->dx != NULL && h->dw != NULL && h->dx != h->dw && h->dx->out[0]->dtype == x->dtype &&
           h->dw->out[0]->dtype == wide;
}

static bool match(const aira_graph *g, const aira__op *loss, head *h) {
    const aira__op *readers[2] = {NULL, NULL};
    if (loss->code != AIRA_OP_CROSS_ENTROPY) return false;
    *h = (head){.loss = loss, .logits = g->ops[loss->in[0]->op]};
    if (!is_product(h->logits, false, true)) return false;
    const aira_tensor *x = h->logits->in[0], *w = h->logits->in[1];
    if (w->shape.rank != 2 || x->dtype != w->dtype || loss->in[0]->dtype != x->dtype) return false;
    uint32_t n = readers_of(g, loss->in[0], readers, 2, true);
    if (n == 1) return readers[0] == loss;
    const aira__op *other = readers[readers[0] == loss];
    if (n != 2 || other->code != AIRA_OP_CROSS_ENTROPY_BACKWARD || other->in[0] != loss->in[0] ||
        other->in[1] != loss->in[1])
        return false;
    h->dlogits = other;
    return match_products(g, x, w, h);
}

/* Does the gradient of the loss depend on the loss, be it by way of the heads that were found before? */
static bool waits_for_itself(const rewriting *r, const head *h) {
    if (h->dlogits == NULL) return false;
    mark_needed(r->from, h->dlogits->in[2], r->heads, r->n_heads, r->done);
    return r->done[h->loss->out[0]->op];
}

static bool device_has(const head *h, aira__native_fn native, void *context) {
    aira_tensor nll = *h->loss->out[0], *in[4] = {h->logits->in[0], h->logits->in[1], h->loss->in[1], NULL};
    aira_tensor *out[3] = {&nll, NULL, NULL};
    aira__op op = {.code = AIRA_OP_HEAD_CROSS_ENTROPY, .n_in = 3, .n_out = 1, .in = in, .out = out};
    if (h->dlogits != NULL) {
        op.code = AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD;
        op.n_in = 4;
        op.n_out = 3;
        in[3] = h->dlogits->in[2];
        out[0] = h->dx->out[0];
        out[1] = h->dw->out[0];
        out[2] = &nll;
    }
    return native(context, &op);
}

static void copy_once(rewriting *r, uint32_t o);

/* Copies what t is computed by, and t. */
static void copy_needed(rewriting *r, const aira_tensor *t) {
    if (r->done[t->op]) return;
    bool *needed = aira__graph_alloc(r->copier.to, r->from->n_ops * sizeof *needed);
    if (needed == NULL) return;
    mark_needed(r->from, t, NULL, 0, needed);
    for (uint32_t o = 0; o <= t->op; o++)
        if (needed[o]) copy_once(r, o);
}

static void emit_head(rewriting *r, const head *h) {
    aira__copier *c = &r->copier;
    const aira_tensor *from[4] = {h->logits->in[0], h->logits->in[1], h->loss->in[1],
                                  h->dlogits ? h->dlogits->in[2] : NULL};
    aira_tensor *in[4] = {NULL};
    uint32_t n = h->dlogits != NULL ? 4 : 3;
    uint32_t code = n == 4 ? AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD : AIRA_OP_HEAD_CROSS_ENTROPY;
    for (uint32_t k = 0; k < n; k++) {
        copy_needed(r, from[k]);
        in[k] = c->mapped[from[k]->id];
    }
    aira_tensor *first = aira__graph_emit(c->to, code, in, n, NULL, 0, NULL, 0, NULL, 0);
    if (first == NULL) return;
    aira__op *made = c->to->ops[first->op];
    c->mapped[h->loss->out[0]->id] = made->out[n == 4 ? 2 : 0];
    if (n < 4) return;
    c->mapped[h->dx->out[0]->id] = aira__reshaped(c->to, made->out[0], &h->dx->out[0]->shape);
    c->mapped[h->dw->out[0]->id] = made->out[1];
}

/* Copies an operation whose operands are copied; the members of a head are one operation. */
static void copy_once(rewriting *r, uint32_t o) {
    const aira__op *op = r->from->ops[o];
    if (r->done[o]) return;
    r->done[o] = true;
    for (uint32_t k = 0; k < r->n_heads; k++) {
        const head *h = &r->heads[k];
        if (op == h->logits || op == h->dlogits) return;
        if (op != h->loss && op != h->dx && op != h->dw) continue;
        uint32_t loss = h->loss->out[0]->op; /* a gradient may be asked for before its loss */
        if (op == h->loss || !r->done[loss]) emit_head(r, h);
        r->done[loss] = true;
        return;
    }
    aira__copy_op(&r->copier, op);
}

static void find_heads(rewriting *r, aira__native_fn native, void *context) {
    uint32_t seen = 0;
    for (uint32_t o = 0; o < r->from->n_ops && seen < MOST_HEADS; o++) {
        head *h = &r->heads[r->n_heads];
        seen += r->from->ops[o]->code == AIRA_OP_CROSS_ENTROPY;
        if (match(r->from, r->from->ops[o], h) && device_has(h, native, context) && !waits_for_itself(r, h))
            r->n_heads++;
    }
}

static aira_status rewrite(rewriting *r, aira_graph **out, aira_error *error) {
    aira_status status = aira__copy_start(&r->copier, r->from, error);
    if (status != AIRA_OK) return status;
    for (uint32_t o = 0; o < r->from->n_ops; o++) r->done[o] = false;
    for (uint32_t o = 0; o < r->from->n_ops && r->copier.to->status == AIRA_OK; o++) copy_once(r, o);
    *out = aira__copy_finish(&r->copier, error);
    return *out != NULL ? AIRA_OK : AIRA_E_FAILED;
}

aira_status aira__graph_fuse_head(const aira_graph *from, aira__native_fn native, void *context, aira_graph **out,
                                  aira_error *error) {
    *out = NULL;
    aira_status status = aira__graph_check(from, error);
    if (status != AIRA_OK) return status;
    rewriting r = {.from = from, .done = calloc(from->n_ops + 1u, sizeof *r.done)};
    if (r.done == NULL)
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while rewriting a graph of %u operations", from->n_ops);
    find_heads(&r, native, context);
    if (r.n_heads > 0) status = rewrite(&r, out, error);
    free(r.done);
    return status;
}
