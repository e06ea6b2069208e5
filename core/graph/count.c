/* core/graph/count.c - FLOPs, parameters and bytes, from shapes alone.
 *
 * A multiply-add counts 2. Contractions count, elementwise work does not (the field's convention). Causal and windowed
 * attention count the pairs that are visible, so a causal score costs half of a full one.
 */
#include <math.h>

#include "core/graph/internal.h"

static double elements(const aira_tensor *t) { return (double)aira__shape_elements(&t->shape); }

/* (query, key) pairs that may see each other, per head and sequence */
static double visible_pairs(double T, double S, bool causal, double window) {
    if (!causal) {
        if (window == 0) return T * S;
        double pairs = 0;
        for (double t = 0; t < T; t++) pairs += fmin(S, t + window) - fmax(0, t - window + 1);
        return pairs;
    }
    if (window == 0 || window >= T) return T * (T + 1) / 2;
    return window * (window + 1) / 2 + (T - window) * window;
}

static double attention_flops(const aira__op *op) {
    const aira_shape *q = &op->in[0]->shape, *v = &op->in[2]->shape;
    double B = (double)q->dims[0], H = (double)q->dims[2], D = (double)q->dims[3], E = (double)v->dims[3];
    double pairs = visible_pairs((double)q->dims[1], (double)v->dims[1], op->i[0] != 0, (double)op->i[1]);
    double per_pair = op->code == AIRA_OP_ATTENTION ? D + E : 3 * D + 2 * E; /* backward recomputes the scores */
    return 2 * B * H * pairs * per_pair;
}

static double ssd_flops(const aira__op *op) { /* the recurrence: 3 per state element to update, 2 to read */
    const aira_shape *x = &op->in[0]->shape, *B = &op->in[3]->shape;
    return 5 * elements(op->in[0]) * (double)B->dims[3] + 2 * (double)(x->dims[0] * x->dims[1] * x->dims[2]);
}

static double scan_flops(const aira__op *op) {
    return elements(op->in[0]) * (6 * (double)op->in[2]->shape.dims[1] + 2);
}

static double fft_flops(const aira__op *op) { /* three transforms of twice the length, 5 n log2 n each */
    double n = 2 * (double)op->in[0]->shape.dims[1], rows = elements(op->in[0]) / (double)op->in[0]->shape.dims[1];
    return rows * 3 * 5 * n * log2(n);
}

double aira__op_flops(const aira__op *op) {
    switch (op->code) {
    case AIRA_OP_MATMUL: {
        const aira_shape *a = &op->in[0]->shape;
        return 2 * elements(op->out[0]) * (double)a->dims[a->rank - (op->i[0] ? 2 : 1)];
    }
    case AIRA_OP_ATTENTION:
    case AIRA_OP_ATTENTION_BACKWARD:
        return attention_flops(op);
    case AIRA_OP_CONV1D_CAUSAL:
        return 2 * elements(op->in[0]) * (double)op->in[1]->shape.dims[1];
    case AIRA_OP_CONV1D_CAUSAL_BACKWARD:
        return 4 * elements(op->in[0]) * (double)op->in[1]->shape.dims[1];
    case AIRA_OP_SELECTIVE_SCAN:
        return scan_flops(op);
    case AIRA_OP_SELECTIVE_SCAN_BACKWARD:
        return 2 * scan_flops(op);
    case AIRA_OP_SSD:
        return ssd_flops(op);
    case AIRA_OP_SSD_BACKWARD:
        return 2 * ssd_flops(op);
    case AIRA_OP_FFT_CONV:
        return fft_flops(op);
    case AIRA_OP_FFT_CONV_BACKWARD:
        return 2 * fft_flops(op);
    case AIRA_OP_HEAD_CROSS_ENTROPY:
        return 2 * elements(op->in[0]) * (double)op->in[1]->shape.dims[0];
    case AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD: /* logits, dx, dw */
        return 6 * elements(op->in[0]) * (double)op->in[1]->shape.dims[0];
    case AIRA_OP_GROUPED_MATMUL:
        return 2 * elements(op->out[0]) * (double)op->in[0]->shape.dims[1];
    case AIRA_OP_GROUPED_WGRAD:
        return 2 * elements(op->in[0]) * (double)op->in[1]->shape.dims[1];
    default:
        return 0;
    }
}

void aira__graph_count(const aira_graph *graph, aira__counts *counts) {
    *counts = (aira__counts){0, 0, 0, 0, 0};
    for (uint32_t o = 0; o < graph->n_ops; o++) {
        double flops = aira__op_flops(graph->ops[o]);
        counts->flops += flops;
        if (!graph->ops[o]->backward) counts->flops_forward += flops;
        if (graph->ops[o]->backward == AIRA__RECOMPUTED) counts->flops_again += flops;
    }
    for (uint32_t v = 0; v < graph->n_variables; v++) {
        const aira__variable *variable = graph->variables[v];
        int64_t n = aira__shape_elements(&variable->shape);
        if (variable->kind == AIRA_VARIABLE_PARAM) counts->parameters += n;
        counts->bytes_variables += n * (int64_t)aira__dtype_bytes(variable->dtype);
    }
}
