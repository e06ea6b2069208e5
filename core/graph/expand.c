/* core/graph/expand.c - copies a graph with composites replaced by plain operations.
 *
 * A forward composite is replaced by its expansion (expansions.c), computed in fp32 where the operands are bf16. A
 * backward composite is replaced by the derivative of the forward's expansion: the operands are renamed by casts to
 * their own type, so that the derivative is partial in each of them even if one was computed from another.
 */
#include "core/graph/internal.h"

static uint32_t working_type(const aira__op *op) {
    for (uint32_t k = 0; k < op->n_in; k++)
        if (op->in[k]->dtype == AIRA_F64) return AIRA_F64;
    return AIRA_F32;
}

/* For a backward composite: the forward's code, which operands are the forward's, which is the gradient. */
typedef struct backward_form {
    uint32_t code, forward, n_forward, gradient;
} backward_form;

static const backward_form backward_forms[] = {
    {AIRA_OP_RMS_NORM_BACKWARD, AIRA_OP_RMS_NORM, 2, 2},
    {AIRA_OP_LAYER_NORM_BACKWARD, AIRA_OP_LAYER_NORM, 3, 3},
    {AIRA_OP_ATTENTION_BACKWARD, AIRA_OP_ATTENTION, 3, 5},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, AIRA_OP_CONV1D_CAUSAL, 2, 2},
    {AIRA_OP_SELECTIVE_SCAN_BACKWARD, AIRA_OP_SELECTIVE_SCAN, 6, 6},
    {AIRA_OP_SSD_BACKWARD, AIRA_OP_SSD, 6, 6},
    {AIRA_OP_FFT_CONV_BACKWARD, AIRA_OP_FFT_CONV, 2, 2},
    {AIRA_OP_CROSS_ENTROPY_BACKWARD, AIRA_OP_CROSS_ENTROPY, 2, 2},
    {AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD, AIRA_OP_HEAD_CROSS_ENTROPY, 3, 3},
};

static const backward_form *backward_form_of(uint32_t code) {
    for (size_t k = 0; k < sizeof backward_forms / sizeof *backward_forms; k++)
        if (backward_forms[k].code == code) return &backward_forms[k];
    return NULL;
}

static aira_tensor *renamed(aira_graph *g, aira_tensor *x) {
    return aira__graph_emit(g, AIRA_OP_CAST, &x, 1, NULL, 0, NULL, 0, NULL, x ? x->dtype : 0);
}

static void expand_backward(aira_graph *g, const aira__op *op, const backward_form *form, aira_tensor **in,
                            aira_tensor **out, aira_error *error) {
    aira_tensor *fresh[8] = {NULL}, *wrt[8] = {NULL}, *y[2] = {NULL, NULL}, *grads[8] = {NULL};
    aira__op forward = *op;
    uint32_t n = form->n_forward, n_wrt = form->code == AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD ? 2 : op->n_out;
    for (uint32_t k = 0; k < n; k++) fresh[k] = renamed(g, in[k]);
    if (form->code == AIRA_OP_ATTENTION_BACKWARD && op->n_in == 7) fresh[n++] = in[6];
    if (form->code == AIRA_OP_CONV1D_CAUSAL_BACKWARD) { /* the bias is no operand of the backward */
        aira_shape bias = aira__shape_of(1, in[0] ? in[0]->shape.dims[2] : 1);
        fresh[n++] = aira__broadcasted(g, aira__scalar(g, 0, in[0] ? in[0]->dtype : AIRA_F32), &bias);
    }
    for (uint32_t k = 0; k < n_wrt; k++) wrt[k] = fresh[k];
    forward.code = form->forward;
    forward.n_in = n;
    aira__expander_of(form->forward)(g, &forward, fresh, y);
    if (y[0] == NULL || in[form->gradient] == NULL) return;
    if (aira__graph_pullback(g, y, &in[form->gradient], 1, wrt, n_wrt, grads, error) != AIRA_OK) return;
    for (uint32_t k = 0; k < n_wrt; k++) {
        aira_tensor *zero = aira__broadcasted(g, aira__scalar(g, 0, wrt[k]->dtype), &wrt[k]->shape);
        out[k] = grads[k] ? grads[k] : zero;
    }
    if (n_wrt < op->n_out) out[n_wrt] = y[0]; /* the head's: forward and gradients in one operation */
}

/* dx = y (g - sum(y g)) */
static void expand_softmax_backward(aira_graph *g, aira_tensor **in, aira_tensor **out) {
    if (in[0] == NULL) return;
    aira_tensor *yg = aira__binary(g, AIRA_OP_MUL, in[0], in[1]);
    aira_tensor *sum = aira__summed(g, yg, 1u << (in[0]->shape.rank - 1), true, 0);
    out[0] = aira__binary(g, AIRA_OP_MUL, in[0], aira__binary(g, AIRA_OP_SUB, in[1], sum));
}

static void expand_op(aira_graph *g, const aira__op *op, aira_tensor **mapped, aira_error *error) {
    uint32_t type = working_type(op), block = g->context->block, backward = g->context->backward;
    aira_tensor *in[16] = {NULL}, *out[8] = {NULL};
    g->context->block = op->block;
    g->context->backward = op->backward;
    for (uint32_t k = 0; k < op->n_in; k++) {
        in[k] = mapped[op->in[k]->id];
        if (in[k] && aira__is_float(in[k]->dtype)) in[k] = aira__to_type(g, in[k], type);
    }
    const backward_form *form = backward_form_of(op->code);
    aira__expander expander = aira__expander_of(op->code);
    if (form)
        expand_backward(g, op, form, in, out, error);
    else if (op->code == AIRA_OP_SOFTMAX_BACKWARD)
        expand_softmax_backward(g, in, out);
    else if (expander)
        expander(g, op, in, out);
    else
        aira__graph_fail(g, AIRA_E_FAILED, "%s has no expansion", aira__op_name(op->code));
    for (uint32_t k = 0; k < op->n_out; k++) {
        mapped[op->out[k]->id] = aira__to_type(g, out[k], op->out[k]->dtype);
        if (out[k] && !aira__shape_equal(&out[k]->shape, &op->out[k]->shape))
            aira__graph_fail(g, AIRA_E_FAILED, "the expansion of %s has another shape", aira__op_name(op->code));
    }
    g->context->block = block;
    g->context->backward = backward;
}

aira_graph *aira__graph_expand(const aira_graph *from, aira__native_fn native, void *context, aira_error *error) {
    aira__copier copier;
    if (aira__copy_start(&copier, from, error) != AIRA_OK) return NULL;
    for (uint32_t o = 0; o < from->n_ops && copier.to->status == AIRA_OK; o++) {
        const aira__op *op = from->ops[o];
        bool composite = aira__op_class(op->code) == AIRA_CLASS_COMPOSITE;
        if (composite && (native == NULL || !native(context, op)))
            expand_op(copier.to, op, copier.mapped, error);
        else
            aira__copy_op(&copier, op);
    }
    return aira__copy_finish(&copier, error);
}
