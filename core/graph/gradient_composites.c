/* core/graph/gradient_composites.c - composites hand their gradient to a backward operation, which a device may own and
 * which otherwise expands to the derivative of the forward's expansion (expand.c). */
#include "core/graph/internal.h"

/* Emits code on the forward's operands followed by dy and deals its results out to the first n operands. */
static void simple(aira_graph *g, aira__op *op, aira_tensor *dy, uint32_t code, uint32_t n, aira_tensor **dx) {
    aira_tensor *in[16];
    for (uint32_t k = 0; k < op->n_in; k++) in[k] = op->in[k];
    in[op->n_in] = dy;
    aira_tensor *first = aira__graph_emit(g, code, in, op->n_in + 1, op->i, op->n_i, op->f, op->n_f, NULL, 0);
    for (uint32_t k = 0; k < n && first; k++) dx[k] = g->ops[first->op]->out[k];
}

static void rule_simple(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx) {
    (void)needed;
    switch (op->code) {
    case AIRA_OP_RMS_NORM:
        simple(g, op, dy[0], AIRA_OP_RMS_NORM_BACKWARD, 2, dx);
        break;
    case AIRA_OP_LAYER_NORM:
        simple(g, op, dy[0], AIRA_OP_LAYER_NORM_BACKWARD, 3, dx);
        break;
    case AIRA_OP_SELECTIVE_SCAN:
        simple(g, op, dy[0], AIRA_OP_SELECTIVE_SCAN_BACKWARD, 6, dx);
        break;
    case AIRA_OP_SSD:
        simple(g, op, dy[0], AIRA_OP_SSD_BACKWARD, 6, dx);
        break;
    case AIRA_OP_FFT_CONV:
        simple(g, op, dy[0], AIRA_OP_FFT_CONV_BACKWARD, 2, dx);
        break;
    case AIRA_OP_HEAD_CROSS_ENTROPY:
        simple(g, op, dy[0], AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD, 2, dx);
        break;
    default:
        simple(g, op, dy[0], AIRA_OP_CROSS_ENTROPY_BACKWARD, 1, dx);
    }
}

static void rule_softmax(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx) {
    (void)needed;
    dx[0] = aira__binary(g, AIRA_OP_SOFTMAX_BACKWARD, op->out[0], dy[0]);
}

static void rule_conv(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx) {
    (void)needed;
    aira_tensor *in[3] = {op->in[0], op->in[1], dy[0]};
    aira_tensor *first = aira__graph_emit(g, AIRA_OP_CONV1D_CAUSAL_BACKWARD, in, 3, NULL, 0, NULL, 0, NULL, 0);
    for (uint32_t k = 0; k < 3 && first; k++) dx[k] = g->ops[first->op]->out[k];
}

static void rule_attention(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx) {
    if (dy[0] == NULL) return;
    if (op->n_in == 4 && needed[3]) {
        aira__graph_fail(g, AIRA_E_FAILED, "ATTENTION has no gradient with respect to its mask");
        return;
    }
    aira_tensor *in[7] = {op->in[0], op->in[1], op->in[2], op->out[0], op->out[1], dy[0], NULL};
    if (op->n_in == 4) in[6] = op->in[3];
    aira_tensor *first = aira__graph_emit(g, AIRA_OP_ATTENTION_BACKWARD, in, op->n_in == 4 ? 7 : 6, op->i, op->n_i,
                                          op->f, op->n_f, NULL, 0);
    for (uint32_t k = 0; k < 3 && first; k++) dx[k] = g->ops[first->op]->out[k];
}

static void rule_rope(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx) {
    (void)needed;
    aira_tensor *in[2] = {dy[0], op->n_in == 2 ? op->in[1] : NULL};
    int64_t i[3] = {op->i[0], op->i[1], !op->i[2]}; /* the transpose of a rotation is its inverse */
    dx[0] = aira__graph_emit(g, AIRA_OP_ROPE, in, op->n_in, i, 3, op->f, 1, NULL, 0);
}

static void rule_grouped(aira_graph *g, aira__op *op, aira_tensor **dy, const bool *needed, aira_tensor **dx) {
    aira_tensor *x = op->in[0], *w = op->in[1], *counts = op->in[2];
    bool trans = op->i[0] != 0;
    if (needed[0]) {
        aira_tensor *in[3] = {dy[0], w, counts};
        int64_t i = !trans;
        dx[0] = aira__graph_emit(g, AIRA_OP_GROUPED_MATMUL, in, 3, &i, 1, NULL, 0, NULL, 0);
    }
    if (needed[1]) {
        aira_tensor *in[3] = {trans ? dy[0] : x, trans ? x : dy[0], counts};
        dx[1] = aira__graph_emit(g, AIRA_OP_GROUPED_WGRAD, in, 3, NULL, 0, NULL, 0, NULL, g->storage_dtype);
    }
}

aira__gradient_rule aira__composite_rule_of(uint32_t code) {
    switch (code) {
    case AIRA_OP_RMS_NORM:
    case AIRA_OP_LAYER_NORM:
    case AIRA_OP_SELECTIVE_SCAN:
    case AIRA_OP_SSD:
    case AIRA_OP_FFT_CONV:
    case AIRA_OP_CROSS_ENTROPY:
    case AIRA_OP_HEAD_CROSS_ENTROPY:
        return rule_simple;
    case AIRA_OP_SOFTMAX:
        return rule_softmax;
    case AIRA_OP_CONV1D_CAUSAL:
        return rule_conv;
    case AIRA_OP_ATTENTION:
        return rule_attention;
    case AIRA_OP_ROPE:
        return rule_rope;
    case AIRA_OP_GROUPED_MATMUL:
        return rule_grouped;
    default:
        return NULL;
    }
}
