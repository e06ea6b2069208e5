/* fast_matmul.c - products of matrices in fp32, operands and results F32 or BF16.
 *
 * A task is a block of rows, a range of columns and a range of the inner extent; which ones exist follows from shapes.
 * It packs its part of b into panels of NR columns, copies MR rows of a at a time into a buffer with a constant row
 * length, and lets the micro-kernel sum MR x NR results in registers over the whole inner block (KB at most), so that
 * the panels of b stream from L2 and results are written once.
 *
 * Where there are few blocks and a long inner extent (weight gradients), the inner extent is split; the partial
 * results are summed in order afterwards.
 */
#include <string.h>

#include "fast_kernels.h"

#ifdef __AVX512F__
#define MR 14
#else
#define MR 6
#endif
#define NV 2
#define NR (NV * VL)
#define KB 1024             /* longest inner block */
#define ROW (KB + 16)       /* row length of the copy of a; not a power of two, so that rows do not share cache sets */
#define PANEL_FLOATS 131072 /* of packed b: half of L2 */
#define TASKS 16            /* as many as several threads can share evenly */

typedef struct product {
    const cpu_view *a, *b, *out;
    bool trans_a, trans_b;
    int64_t m, n, k, batches;
    bool b_shared;
    int64_t rows, columns, depth; /* of one task */
    int64_t row_tasks, column_tasks, splits;
    const float *packed; /* all of b, made by pack_whole; NULL: tasks pack */
    float *partial;      /* [splits][batches, m, n] where splits > 1 */
} product;

/* --- packing ------------------------------------------------------------------------------------------------------ */

static void copy_row(float *to, const cpu_view *view, int64_t start, int64_t n) {
    const float *from = fast_in(view, start, n, to);
    if (from != to) memcpy(to, from, (size_t)n * sizeof *to);
}

/* b[k0 .. k0+kn-1, n0 .. n0+nn-1] into panels [nn / NR][kn][NR], zeros beyond nn. */
static void pack_b(const product *p, int64_t base, int64_t k0, int64_t kn, int64_t n0, int64_t nn, float *to) {
    float line[KB];
    for (int64_t j0 = 0; j0 < nn; j0 += NR, to += kn * NR) {
        int64_t width = nn - j0 < NR ? nn - j0 : NR;
        if (width < NR) memset(to, 0, (size_t)(kn * NR) * sizeof *to);
        if (p->trans_b) {
            for (int64_t j = 0; j < width; j++) {
                const float *from = fast_in(p->b, base + (n0 + j0 + j) * p->k + k0, kn, line);
                for (int64_t k = 0; k < kn; k++) to[k * NR + j] = from[k];
            }
        } else if (width == NR && p->b->dtype == AIRA_F32) {
            const float *from = (const float *)(const void *)p->b->data + base + k0 * p->n + n0 + j0;
            for (int64_t k = 0; k < kn; k++, from += p->n) {
                for (int v = 0; v < NV; v++) vstore(to + k * NR + v * VL, vload(from + v * VL));
            }
        } else {
            for (int64_t k = 0; k < kn; k++) copy_row(to + k * NR, p->b, base + (k0 + k) * p->n + n0 + j0, width);
        }
    }
}

static int64_t padded(int64_t n) { return (n + NR - 1) / NR * NR; }

/* All of a shared b: inner blocks of KB one after the other, each as panels. */
static void pack_whole(const product *p, float *to) {
    for (int64_t k0 = 0; k0 < p->k; k0 += KB) {
        pack_b(p, 0, k0, p->k - k0 < KB ? p->k - k0 : KB, 0, p->n, to + k0 * padded(p->n));
    }
}

/* Rows m0 .. of a over the inner block: [MR][ROW] as stored, or [kn][MR] where a is swapped. Missing rows are 0. */
static void copy_a(const product *p, int64_t base, int64_t m0, int64_t rows, int64_t k0, int64_t kn, float *to) {
    if (!p->trans_a) {
        for (int64_t r = 0; r < MR; r++) {
            if (r < rows) {
                copy_row(to + r * ROW, p->a, base + (m0 + r) * p->k + k0, kn);
            } else {
                memset(to + r * ROW, 0, (size_t)kn * sizeof *to);
            }
        }
    } else if (rows == MR && p->a->dtype == AIRA_F32) {
        const float *from = (const float *)(const void *)p->a->data + base + k0 * p->m + m0;
        for (int64_t k = 0; k < kn; k++, from += p->m, to += MR) memcpy(to, from, MR * sizeof *to);
    } else {
        for (int64_t k = 0; k < kn; k++, to += MR) {
            memset(to, 0, MR * sizeof *to);
            copy_row(to, p->a, base + (k0 + k) * p->m + m0, rows);
        }
    }
}

/* --- micro-kernel ------------------------------------------------------------------------------------------------- */

/* c[MR][NR] (+)= a times one panel; a's element (r, k) lies at r * rs + k * cs. */
static inline __attribute__((always_inline)) void multiply(int64_t kn, const float *a, const int64_t rs,
                                                           const int64_t cs, const float *b, float *c, int64_t ldc,
                                                           bool add) {
    vf sum[MR][NV];
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) sum[r][v] = vset(0.0f);
    }
    for (int64_t k = 0; k < kn; k++, a += cs, b += NR) {
        vf b0 = vload(b), b1 = vload(b + VL);
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            vf x = vset(a[r * rs]);
            sum[r][0] += x * b0;
            sum[r][1] += x * b1;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            float *to = c + r * ldc + v * VL;
            vstore(to, add ? vload(to) + sum[r][v] : sum[r][v]);
        }
    }
}

static __attribute__((noinline)) void multiply_rows(int64_t kn, const float *a, const float *b, float *c, int64_t ldc,
                                                    bool add) {
    multiply(kn, a, ROW, 1, b, c, ldc, add);
}
static __attribute__((noinline)) void multiply_columns(int64_t kn, const float *a, const float *b, float *c,
                                                       int64_t ldc, bool add) {
    multiply(kn, a, 1, MR, b, c, ldc, add);
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

typedef struct block { /* where one task's results go */
    float *to;         /* fp32 target of row 0, column 0 of the task; NULL: bf16 */
    int64_t ld;
    uint16_t *half; /* bf16 target */
} block;

/* One MR x NR tile: straight to its place if it is whole and fp32, else through a small buffer. */
static void tile(const product *p, const float *a, const float *b, int64_t kn, const block *out, int64_t r, int64_t j,
                 int64_t rows, int64_t width, bool add) {
    float buffer[MR * NR];
    bool direct = out->to && rows == MR && width == NR;
    float *c = direct ? out->to + r * out->ld + j : buffer;
    int64_t ldc = direct ? out->ld : NR;
    (p->trans_a ? multiply_columns : multiply_rows)(kn, a, b, c, ldc, add && direct);
    if (direct) return;
    for (int64_t k = 0; k < rows; k++) {
        if (!out->to) {
            FAST(cpu_to_bf16)(out->half + (r + k) * out->ld + j, buffer + k * NR, width);
            continue;
        }
        float *to = out->to + (r + k) * out->ld + j;
        for (int64_t e = 0; e < width; e++) to[e] = add ? to[e] + buffer[k * NR + e] : buffer[k * NR + e];
    }
}

/* The task's results over its inner range, block by block. */
static void multiply_block(const product *p, int64_t batch, int64_t m0, int64_t rows, int64_t n0, int64_t columns,
                           int64_t k0, int64_t depth, const block *out, float *a, float *b) {
    int64_t a_base = batch * p->m * p->k, b_base = p->b_shared ? 0 : batch * p->k * p->n;
    for (int64_t done = 0; done < depth; done += KB) {
        int64_t kn = depth - done < KB ? depth - done : KB;
        const float *panels = b;
        if (p->packed) {
            panels = p->packed + (k0 + done) * padded(p->n) + n0 * kn;
        } else {
            pack_b(p, b_base, k0 + done, kn, n0, columns, b);
        }
        for (int64_t r = 0; r < rows; r += MR) {
            int64_t some = rows - r < MR ? rows - r : MR;
            copy_a(p, a_base, m0 + r, some, k0 + done, kn, a);
            for (int64_t j = 0; j < columns; j += NR) {
                int64_t width = columns - j < NR ? columns - j : NR;
                tile(p, a, panels + j * kn, kn, out, r, j, some, width, done > 0);
            }
        }
    }
}

static void run_task(void *opaque, int64_t task, cpu_worker *worker) {
    const product *p = opaque;
    int64_t split = task % p->splits, column = task / p->splits % p->column_tasks;
    int64_t row = task / (p->splits * p->column_tasks) % p->row_tasks;
    int64_t batch = task / (p->splits * p->column_tasks * p->row_tasks);
    int64_t m0 = row * p->rows, n0 = column * p->columns, k0 = split * p->depth;
    int64_t rows = p->m - m0 < p->rows ? p->m - m0 : p->rows, columns = p->n - n0 < p->columns ? p->n - n0 : p->columns;
    int64_t depth = p->k - k0 < p->depth ? p->k - k0 : p->depth, at = (batch * p->m + m0) * p->n + n0;
    cpu_mark mark = cpu_scratch_mark(worker);
    int64_t kn = depth < KB ? depth : KB, panels = (columns + NR - 1) / NR;
    float *a = cpu_alloc(worker, MR * ROW * sizeof *a),
          *b = cpu_alloc(worker, p->packed ? 1 : (size_t)(panels * NR * kn) * sizeof *b);
    bool half = p->out->dtype == AIRA_BF16 && p->splits == 1;
    bool gather = half && depth > KB; /* several inner blocks: summed in fp32 first */
    float *sums = gather ? cpu_alloc(worker, (size_t)(rows * columns) * sizeof *sums) : NULL;
    if (a && b && (sums || !gather)) {
        block out = {NULL, p->n, (uint16_t *)(void *)p->out->data + at};
        if (gather) {
            out.to = sums;
            out.ld = columns;
        } else if (!half) {
            out.to = p->splits > 1 ? p->partial + split * p->batches * p->m * p->n + at
                                   : (float *)(void *)p->out->data + at;
        }
        multiply_block(p, batch, m0, rows, n0, columns, k0, depth, &out, a, b);
        for (int64_t r = 0; gather && r < rows; r++) {
            FAST(cpu_to_bf16)(out.half + r * p->n, sums + r * columns, columns);
        }
    }
    cpu_release(worker, mark);
}

/* Partial results in order; a task is a range of elements. */
static void add_partials(void *opaque, int64_t task, cpu_worker *worker) {
    const product *p = opaque;
    int64_t n = p->batches * p->m * p->n, start = task * 4096, count = n - start < 4096 ? n - start : 4096;
    float sums[4096];
    (void)worker;
    memcpy(sums, p->partial + start, (size_t)count * sizeof *sums);
    for (int64_t s = 1; s < p->splits; s++) {
        const float *from = p->partial + s * n + start;
        for (int64_t e = 0; e < count; e++) sums[e] += from[e];
    }
    if (p->out->dtype == AIRA_F32) {
        memcpy((float *)(void *)p->out->data + start, sums, (size_t)count * sizeof *sums);
    } else {
        FAST(cpu_to_bf16)((uint16_t *)(void *)p->out->data + start, sums, count);
    }
}

/* Tasks from shapes alone. */
static void plan_tasks(product *p, bool alone) {
    int64_t kn = p->k < KB ? p->k : KB, tasks;
    p->columns = PANEL_FLOATS / (kn > 0 ? kn : 1) / NR * NR;
    if (p->columns < NR) p->columns = NR;
    if (p->columns > 2048) p->columns = 2048;
    p->column_tasks = (p->n + p->columns - 1) / p->columns;
    p->rows = 1024 / MR * MR;
    while (!alone && p->rows > 64 && p->batches * ((p->m + p->rows - 1) / p->rows) * p->column_tasks < TASKS &&
           p->m > p->rows / 2 && p->k < 2048) {
        p->rows = p->rows / 2 / MR * MR;
    }
    p->row_tasks = (p->m + p->rows - 1) / p->rows;
    tasks = p->batches * p->row_tasks * p->column_tasks;
    p->splits = 1;
    p->depth = p->k;
    if (!alone && tasks < TASKS && p->k >= 2048) {
        p->splits = TASKS / tasks;
        if (p->splits > p->k / 1024) p->splits = p->k / 1024;
        p->depth = (p->k + p->splits - 1) / p->splits;
        p->splits = (p->k + p->depth - 1) / p->depth;
    }
}

static product product_of(const cpu_call *call) {
    const cpu_view *a = &call->in[0], *b = &call->in[1], *out = &call->out[0];
    product p = {.a = a, .b = b, .out = out, .trans_a = call->step->i[0] != 0, .trans_b = call->step->i[1] != 0};
    uint32_t rank = out->shape.rank;
    p.m = out->shape.dims[rank - 2];
    p.n = out->shape.dims[rank - 1];
    p.k = a->shape.dims[a->shape.rank - (p.trans_a ? 2 : 1)];
    p.b_shared = b->shape.rank == 2;
    p.batches = cpu_extent(&out->shape, 0, rank - 2);
    if (p.b_shared && !p.trans_a) { /* rows of all batches are one matrix */
        p.m *= p.batches;
        p.batches = 1;
    }
    p.packed = call->prepared;
    return p;
}

static size_t packed_bytes(const cpu_call *call) {
    product p = product_of(call);
    return p.b_shared ? (size_t)(p.k * padded(p.n)) * sizeof(float) : 0;
}

static void packed_fill(const cpu_call *call, void *to) {
    product p = product_of(call);
    pack_whole(&p, to);
}

const cpu_prepare FAST(fast_matmul_prepare) = {packed_bytes, packed_fill};

void FAST(fast_matmul)(const cpu_call *call) {
    product p = product_of(call);
    const cpu_view *out = &call->out[0];
    if (out->n == 0) return;
    plan_tasks(&p, call->alone);
    if (p.splits > 1) {
        p.partial = cpu_alloc(call->worker, (size_t)(p.splits * out->n) * sizeof *p.partial);
        if (!p.partial) return;
    }
    cpu_parallel(call->worker, p.batches * p.row_tasks * p.column_tasks * p.splits, run_task, &p);
    if (p.splits > 1) cpu_parallel(call->worker, (out->n + 4095) / 4096, add_partials, &p);
}
