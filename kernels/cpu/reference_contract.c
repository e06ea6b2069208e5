/* reference_contract.c - products of matrices, plain. Rows of the result are spread over the workers. */
#include <string.h>

#include "real.h"
#include "reference.h"

typedef struct product {
    const real *a, *b; /* one batch: a as stored, b as [K,N] */
    real *out;
    int64_t m, k, n;
    bool trans_a;
} product;

static void product_rows(void *opaque, int64_t tile, cpu_worker *worker) {
    const product *p = opaque;
    (void)worker;
    int64_t end = (tile + 1) * 32 < p->m ? (tile + 1) * 32 : p->m;
    for (int64_t i = tile * 32; i < end; i++) {
        real *out = p->out + i * p->n;
        memset(out, 0, (size_t)p->n * sizeof *out);
        for (int64_t k = 0; k < p->k; k++) {
            real x = p->trans_a ? p->a[k * p->m + i] : p->a[i * p->k + k];
            const real *b = p->b + k * p->n;
            for (int64_t j = 0; j < p->n; j++) out[j] += x * b[j];
        }
    }
}

/* a[.., M, K] b[.., K, N]; where trans_x, the last two axes are swapped in memory. */
void NAME(ref_matmul)(const ref_call *call) {
    const aira_shape *as = call->in_shape[0], *bs = call->in_shape[1], *os = call->out_shape[0];
    bool trans_a = call->i[0] != 0, trans_b = call->i[1] != 0;
    product p = {.trans_a = trans_a};
    p.m = as->dims[as->rank - (trans_a ? 1 : 2)];
    p.k = as->dims[as->rank - (trans_a ? 2 : 1)];
    p.n = bs->dims[bs->rank - (trans_b ? 2 : 1)];
    int64_t batches = cpu_extent(os, 0, os->rank - 2);
    real *turned = trans_b ? cpu_alloc(call->worker, (size_t)(p.k * p.n) * sizeof *turned) : NULL;
    if (trans_b && !turned) return;
    for (int64_t batch = 0; batch < batches; batch++) {
        p.a = (const real *)call->in[0] + (as->rank > 2 ? batch * p.m * p.k : 0);
        p.b = (const real *)call->in[1] + (bs->rank > 2 ? batch * p.k * p.n : 0);
        p.out = (real *)call->out[0] + batch * p.m * p.n;
        if (trans_b) {
            for (int64_t j = 0; j < p.n; j++) {
                for (int64_t k = 0; k < p.k; k++) turned[k * p.n + j] = p.b[j * p.k + k];
            }
            p.b = turned;
        }
        cpu_parallel(call->worker, (p.m + 31) / 32, product_rows, &p);
    }
}

/* Rows of group e: start .. start + count, clamped to the rows that there are. */
static int64_t group_rows(const int32_t *counts, int64_t e, int64_t start, int64_t rows) {
    int64_t count = counts[e] > 0 ? counts[e] : 0;
    return start + count > rows ? rows - start : count;
}

void NAME(ref_grouped_matmul)(const ref_call *call) {
    const real *x = call->in[0], *w = call->in[1];
    real *out = call->out[0];
    bool trans_w = call->i[0] != 0;
    int64_t rows = call->in_shape[0]->dims[0], k_n = call->in_shape[0]->dims[1], m_n = call->out_shape[0]->dims[1];
    int64_t groups = call->in_shape[1]->dims[0], start = 0;
    memset(out, 0, (size_t)(rows * m_n) * sizeof *out);
    for (int64_t e = 0; e < groups; e++, w += k_n * m_n) {
        int64_t count = group_rows(call->index[2], e, start, rows);
        for (int64_t r = start; r < start + count; r++) {
            for (int64_t k = 0; k < k_n; k++) {
                for (int64_t m = 0; m < m_n; m++) {
                    out[r * m_n + m] += x[r * k_n + k] * (trans_w ? w[m * k_n + k] : w[k * m_n + m]);
                }
            }
        }
        start += count;
    }
}

void NAME(ref_grouped_wgrad)(const ref_call *call) {
    const real *x = call->in[0], *g = call->in[1];
    real *dw = call->out[0];
    int64_t rows = call->in_shape[0]->dims[0], k_n = call->in_shape[0]->dims[1], m_n = call->in_shape[1]->dims[1];
    int64_t groups = call->out_shape[0]->dims[0], start = 0;
    memset(dw, 0, (size_t)(groups * k_n * m_n) * sizeof *dw);
    for (int64_t e = 0; e < groups; e++, dw += k_n * m_n) {
        int64_t count = group_rows(call->index[2], e, start, rows);
        for (int64_t r = start; r < start + count; r++) {
            for (int64_t k = 0; k < k_n; k++) {
                for (int64_t m = 0; m < m_n; m++) dw[k * m_n + m] += x[r * k_n + k] * g[r * m_n + m];
            }
        }
        start += count;
    }
}
