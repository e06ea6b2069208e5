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
    aira_tensor **again;      /* by tensor of from: its second image */
    uint32_t *stack, *cursor; /* operations under way; by operation: operands that were looked at */
} recomputing;

/* Is the operation computed again for the backward of `block`? */
static bool is_repeated(const aira__op *op, uint32_t block) {
    bool constant = op->n_in == 0 && op->code != AIRA_OP_RANDOM;
    return op->block == block && op->backward == AIRA__FORWARD && !constant;
}

/* The image of t for a reader in the backward of `block`. */
static aira_tensor *image_in(const recomputing *r, uint32_t block, const aira_tensor *t) {
    bool repeated = is_repeated(r->copier.from->ops[t->op], block);
    return repeated ? r->again[t->id] : r->copier.mapped[t->id];
}

static aira__op *copy_in(recomputing *r, const aira__op *op, uint32_t backward) {
    aira_tensor **in = aira__graph_alloc(r->copier.to, (op->n_in + 1) * sizeof(aira_tensor *));
    if (in == NULL) return NULL;
    for (uint32_t k = 0; k < op->n_in; k++) in[k] = image_in(r, op->block, op->in[k]);
    return aira__copy_op_on(&r->copier, op, in, backward);
}

/* The next operand of op that has to be computed again and was not yet, or NULL. */
static const aira_tensor *next_missing(recomputing *r, const aira__op *op, uint32_t o, uint32_t block) {
    while (r->cursor[o] < op->n_in) {
        const aira_tensor *t = op->in[r->cursor[o]++];
        if (r->again[t->id] == NULL && is_repeated(r->copier.from->ops[t->op], block)) return t;
    }
    return NULL;
}

/* Computes what op, of the backward of a block, reads of the block's forward. */
static void repeat_operands(recomputing *r, uint32_t o) {
    const aira_graph *from = r->copier.from;
    uint32_t depth = 0, block = from->ops[o]->block;
    r->stack[depth++] = o;
    while (depth > 0 && r->copier.to->status == AIRA_OK) {
        uint32_t top = r->stack[depth - 1];
        const aira__op *op = from->ops[top];
        const aira_tensor *missing = next_missing(r, op, top, block);
        if (missing != NULL) {
            r->stack[depth++] = missing->op;
            continue;
        }
        depth--;
        if (top == o) continue;
        const aira__op *made = copy_in(r, op, AIRA__RECOMPUTED);
        for (uint32_t k = 0; k < op->n_out && made; k++) r->again[op->out[k]->id] = made->out[k];
    }
}

static aira_graph *repeat_all(recomputing *r, aira_error *error) {
    const aira_graph *from = r->copier.from;
    for (uint32_t o = 0; o < from->n_ops && r->copier.to->status == AIRA_OK; o++) {
        const aira__op *op = from->ops[o];
        if (op->block == 0 || op->backward == AIRA__FORWARD) {
            aira__copy_op(&r->copier, op);
            continue;
        }
        repeat_operands(r, o);
        const aira__op *made = copy_in(r, op, op->backward);
        for (uint32_t k = 0; k < op->n_out && made; k++) r->copier.mapped[op->out[k]->id] = made->out[k];
    }
    return aira__copy_finish(&r->copier, error);
}

aira_graph *aira__graph_recompute(const aira_graph *from, aira_error *error) {
    recomputing r = {.again = calloc(from->n_tensors + 1u, sizeof(aira_tensor *)),
                     .stack = calloc(from->n_ops + 1u, sizeof *r.stack),
                     .cursor = calloc(from->n_ops + 1u, sizeof *r.cursor)};
    aira_graph *made = NULL;
    if (r.again == NULL || r.stack == NULL || r.cursor == NULL)
        aira__fail(error, AIRA_E_MEMORY, "out of memory while copying a graph of %u operations", from->n_ops);
    else if (aira__copy_start(&r.copier, from, error) == AIRA_OK)
        made = repeat_all(&r, error);
    free(r.again);
    free(r.stack);
    free(r.cursor);
    return made;
}
