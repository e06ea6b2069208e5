/* core/graph/copy.c - copies a graph operation by operation, so that a pass can leave out, replace or repeat some.
 *
 * Every operation is emitted anew through the shape rules. Variables, inputs, outputs and blocks are copied at the end,
 * when every tensor has its image.
 */
#include <stdlib.h>
#include <string.h>

#include "core/graph/internal.h"

aira_status aira__copy_start(aira__copier *c, const aira_graph *from, aira_error *error) {
    *c = (aira__copier){.from = from};
    if (aira__graph_check(from, error) != AIRA_OK) return from->status;
    c->to = aira__graph_create(from->compute_dtype, &from->context->limits);
    c->mapped = calloc(from->n_tensors ? from->n_tensors : 1, sizeof(aira_tensor *));
    if (c->to != NULL && c->mapped != NULL) return AIRA_OK;
    aira__graph_destroy(c->to);
    free(c->mapped);
    return aira__fail(error, AIRA_E_MEMORY, "out of memory while copying a graph of %u operations", from->n_ops);
}

aira__op *aira__copy_op_on(aira__copier *c, const aira__op *op, aira_tensor *const *in, uint32_t backward) {
    aira_graph *g = c->to;
    const aira_tensor *first = op->n_out ? op->out[0] : NULL;
    g->context->block = op->block;
    g->context->backward = backward;
    aira_tensor *made = aira__graph_emit(g, op->code, in, op->n_in, op->i, op->n_i, op->f, op->n_f,
                                         first ? &first->shape : NULL, first ? first->dtype : 0);
    g->context->block = g->context->backward = 0;
    return made ? g->ops[made->op] : NULL;
}

void aira__copy_op(aira__copier *c, const aira__op *op) {
    aira_tensor *small[16], **in = op->n_in <= 16 ? small : aira__graph_alloc(c->to, op->n_in * sizeof(aira_tensor *));
    if (in == NULL) return;
    for (uint32_t k = 0; k < op->n_in; k++) in[k] = c->mapped[op->in[k]->id];
    const aira__op *made = aira__copy_op_on(c, op, in, op->backward);
    for (uint32_t k = 0; k < op->n_out && made; k++) c->mapped[op->out[k]->id] = made->out[k];
}

static aira_tensor *image(const aira__copier *c, const aira_tensor *t) { return t ? c->mapped[t->id] : NULL; }

static void copy_variables(const aira__copier *c) {
    aira_graph *to = c->to;
    for (uint32_t k = 0; k < c->from->n_variables; k++) {
        aira__variable *v = aira__graph_alloc(to, sizeof *v);
        if (v == NULL || !aira__graph_grow(to, (void **)&to->variables, &to->context->cap_variables, to->n_variables,
                                           sizeof *to->variables))
            return;
        *v = *c->from->variables[k];
        v->name = aira__graph_copy_text(to, v->name);
        v->role = aira__graph_copy_text(to, v->role);
        v->init = aira__graph_copy_text(to, v->init);
        v->value = image(c, v->value);
        v->leaf = image(c, v->leaf);
        v->tensor = image(c, v->tensor);
        to->variables[to->n_variables++] = v;
    }
}

static void copy_tables(const aira__copier *c) {
    aira_graph *to = c->to;
    const aira_graph *from = c->from;
    copy_variables(c);
    for (uint32_t k = 0; k < from->n_inputs; k++) {
        if (!aira__graph_grow(to, (void **)&to->inputs, &to->context->cap_inputs, to->n_inputs, sizeof *to->inputs))
            return;
        to->inputs[to->n_inputs++] = (aira__input){aira__graph_copy_text(to, from->inputs[k].name),
                                                   image(c, from->inputs[k].tensor)};
    }
    for (uint32_t k = 0; k < from->n_outputs; k++)
        aira__graph_output(to, from->outputs[k].name, image(c, from->outputs[k].tensor));
    for (uint32_t k = 0; k < from->n_blocks; k++) aira__graph_add_block(to, &from->blocks[k]);
}

aira_graph *aira__copy_finish(aira__copier *c, aira_error *error) {
    aira_graph *to = c->to;
    copy_tables(c);
    free(c->mapped);
    if (aira__graph_check(to, error) == AIRA_OK) return to;
    aira__graph_destroy(to);
    return NULL;
}
