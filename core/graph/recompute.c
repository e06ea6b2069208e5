/* core/graph/recompute.c - memory for time: a block's backward computes the block's forward again from its input.
 *
 * What the backward of a block reads of its own forward is taken from copies of those operations, made on demand just
 * before, so that between forward and backward only the blocks' inputs stay alive. Operations that the backward does
 * not need (often the last product) are not repeated. Copies are stamped, which keeps the planner from recognising
 * them as what was computed before. They are the same operations on the same operands: the same bits.
 */
#include <stdlib.h>

#include "core/graph/internal.h"

typedef struct recomputing {
    aira__copier copier;
    aira_tensor **again; /* by tensor of from: its second image */
} recomputing;

/* The image of t for a reader in the backward of `block`. */
static aira_tensor *image_in(recomputing *r, uint32_t block, const aira_tensor *t) {
    const aira_graph *from = r->copier.from;
    const aira__op *op = from->ops[t->op];
    bool constant = op->n_in == 0 && op->code != AIRA_OP_RANDOM;
    if (op->block != block || op->backward != AIRA__FORWARD || constant) return r->copier.mapped[t->id];
    if (r->again[t->id] != NULL) return r->again[t->id];
    aira_tensor **in = aira__graph_alloc(r->copier.to, (op->n_in + 1) * sizeof(aira_tensor *));
    if (in == NULL) return NULL;
    for (uint32_t k = 0; k < op->n_in; k++) in[k] = image_in(r, block, op->in[k]);
    const aira__op *made = aira__copy_op_on(&r->copier, op, in, AIRA__RECOMPUTED);
    for (uint32_t k = 0; k < op->n_out && made; k++) r->again[op->out[k]->id] = made->out[k];
    return r->again[t->id];
}

static void copy_backward(recomputing *r, const aira__op *op) {
    aira_tensor **in = aira__graph_alloc(r->copier.to, (op->n_in + 1) * sizeof(aira_tensor *));
    if (in == NULL) return;
    for (uint32_t k = 0; k < op->n_in; k++) in[k] = image_in(r, op->block, op->in[k]);
    const aira__op *made = aira__copy_op_on(&r->copier, op, in, op->backward);
    for (uint32_t k = 0; k < op->n_out && made; k++) r->copier.mapped[op->out[k]->id] = made->out[k];
}

aira_graph *aira__graph_recompute(const aira_graph *from, aira_error *error) {
    recomputing r = {.again = calloc(from->n_tensors + 1u, sizeof(aira_tensor *))};
    aira_graph *made = NULL;
    if (r.again == NULL) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory while copying a graph of %u operations", from->n_ops);
    } else if (aira__copy_start(&r.copier, from, error) == AIRA_OK) {
        for (uint32_t o = 0; o < from->n_ops && r.copier.to->status == AIRA_OK; o++) {
            const aira__op *op = from->ops[o];
            if (op->block && op->backward)
                copy_backward(&r, op);
            else
                aira__copy_op(&r.copier, op);
        }
        made = aira__copy_finish(&r.copier, error);
    }
    free(r.again);
    return made;
}
