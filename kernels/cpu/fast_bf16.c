/* fast_bf16.c - products of bf16 matrices with fp32 sums, by AMX tiles or by AVX512-BF16 dot products.
 *
 * Both instructions multiply pairs of neighbours along the inner extent, so a pair of bf16 is one 32-bit word here. b
 * is packed into panels of 32 columns: [pairs][2][16] words; a into rows of pairs. Where an operand lies with the inner
 * extent outermost (b not swapped, a swapped), pairs are made by interleaving two rows; where the words then stand the
 * wrong way round they are turned in blocks of 16 x 16.
 *
 * Tasks are cut as in fast_matmul.c. The inner extent of a task is never cut again: 32 x 32 results stay in registers
 * over all of it. Extents are padded with zeros to 32, which changes no sum.
 */
#include <immintrin.h>
#include <string.h>

#include "fast_kernels.h"

#define BLOCK 32 /* rows and columns of one step */
#define WORDS 16 /* pairs in one row of a tile */
#define TASKS 16
#define PANEL_ELEMENTS 262144 /* of packed b: 512 KiB */

typedef uint32_t words __attribute__((vector_size(64), aligned(4), may_alias));

typedef struct product {
    const uint16_t *a, *b;
    const cpu_view *out;
    bool trans_a, trans_b, tiles, b_shared;
    int64_t m, n, k, batches;
    int64_t rows, columns, depth; /* of one task */
    int64_t row_tasks, column_tasks, splits;
    const uint32_t *packed; /* all of b, made by packed_fill; NULL: tasks pack */
    float *partial;         /* [splits][batches, m, n] where splits > 1 */
} product;

/* --- packing ------------------------------------------------------------------------------------------------------ */

/* Swaps blocks of step x step words across the diagonal of every block of twice the size. */
static inline __attribute__((always_inline)) void exchange(words x[16], const unsigned step) {
    words low, high;
#pragma GCC unroll 16
    for (unsigned l = 0; l < 16; l++) {
        low[l] = l & step ? 16 + l - step : l;
        high[l] = l & step ? 16 + l : l + step;
    }
#pragma GCC unroll 16
    for (unsigned r = 0; r < 16; r++) {
        if (r & step) continue;
        words upper = x[r], lower = x[r + step];
        x[r] = (words)_mm512_permutex2var_epi32((__m512i)upper, (__m512i)low, (__m512i)lower);
        x[r + step] = (words)_mm512_permutex2var_epi32((__m512i)upper, (__m512i)high, (__m512i)lower);
    }
}

/* 16 rows of 16 words, `from` apart by stride words, turned into 16 rows apart by to_stride words. */
static void turn(const uint32_t *from, int64_t stride, uint32_t *to, int64_t to_stride) {
    words x[16];
    for (int r = 0; r < 16; r++) x[r] = *(const words *)(from + r * stride);
    exchange(x, 1);
    exchange(x, 2);
    exchange(x, 4);
    exchange(x, 8);
    for (int r = 0; r < 16; r++) *(words *)(to + r * to_stride) = x[r];
}

/* words[e] = (first[e], second[e]), e < n; zeros up to room. second may be NULL: zeros. */
static void interleave(const uint16_t *first, const uint16_t *second, int64_t n, int64_t room, uint32_t *to) {
    if (second) {
        for (int64_t e = 0; e < n; e++) to[e] = (uint32_t)first[e] | (uint32_t)second[e] << 16;
    } else {
        for (int64_t e = 0; e < n; e++) to[e] = first[e];
    }
    for (int64_t e = n; e < room; e++) to[e] = 0;
}

/* b's columns n0 .. n0+width-1 over k0 .. k0+depth-1 as [pairs][2][16] words; pairs: a multiple of 16. */
static void pack_panel(const product *p, const uint16_t *b, int64_t k0, int64_t depth, int64_t pairs, int64_t n0,
                       int64_t width, uint32_t *to) {
    if (!p->trans_b) {
        for (int64_t r = 0; r < pairs; r++, to += BLOCK) {
            const uint16_t *row = b + (k0 + 2 * r) * p->n + n0;
            if (2 * r >= depth) {
                memset(to, 0, BLOCK * sizeof *to);
            } else {
                interleave(row, 2 * r + 1 < depth ? row + p->n : NULL, width, BLOCK, to);
            }
        }
        return;
    }
    uint32_t lines[BLOCK * WORDS];
    for (int64_t r = 0; r < pairs; r += WORDS) {
        int64_t some = depth - 2 * r < 2 * WORDS ? depth - 2 * r : 2 * WORDS;
        memset(lines, 0, sizeof lines);
        for (int64_t j = 0; j < width; j++) {
            memcpy(lines + j * WORDS, b + (n0 + j) * p->k + k0 + 2 * r, (size_t)some * sizeof *b);
        }
        turn(lines, WORDS, to + r * BLOCK, BLOCK);
        turn(lines + 16 * WORDS, WORDS, to + r * BLOCK + 16, BLOCK);
    }
}

/* Rows m0 .. m0+rows-1 of a over the task's depth as [BLOCK][pairs + WORDS] words. */
static void pack_rows(const product *p, const uint16_t *a, int64_t m0, int64_t rows, int64_t k0, int64_t depth,
                      int64_t pairs, uint32_t *to) {
    int64_t ld = pairs + WORDS;
    if (!p->trans_a) {
        for (int64_t r = 0; r < BLOCK; r++, to += ld) {
            memset(to, 0, (size_t)pairs * sizeof *to);
            if (r < rows) memcpy(to, a + (m0 + r) * p->k + k0, (size_t)depth * sizeof *a);
        }
        return;
    }
    uint32_t lines[WORDS * BLOCK];
    for (int64_t r = 0; r < pairs; r += WORDS) {
        for (int64_t q = 0; q < WORDS; q++) {
            const uint16_t *row = a + (k0 + 2 * (r + q)) * p->m + m0;
            if (2 * (r + q) >= depth) {
                memset(lines + q * BLOCK, 0, BLOCK * sizeof *lines);
            } else {
                interleave(row, 2 * (r + q) + 1 < depth ? row + p->m : NULL, rows, BLOCK, lines + q * BLOCK);
            }
        }
        turn(lines, BLOCK, to + r, ld);
        turn(lines + 16, BLOCK, to + r + 16 * ld, ld);
    }
}

/* --- 32 x 32 results ------------------------------------------------------------------------------------------------
 */

static void configure(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.column_bytes[t] = 64;
        config.rows[t] = 16;
    }
    _tile_loadconfig(&config);
}

static void by_tiles(int64_t pairs, const uint32_t *a, int64_t lda, const uint32_t *b, float *c, int64_t ldc) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < pairs; k += WORDS) {
        _tile_loadd(4, a + k, lda * 4);
        _tile_loadd(6, b + k * BLOCK, BLOCK * 4);
        _tile_loadd(5, a + 16 * lda + k, lda * 4);
        _tile_loadd(7, b + k * BLOCK + 16, BLOCK * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, ldc * 4);
    _tile_stored(1, c + 16, ldc * 4);
    _tile_stored(2, c + 16 * ldc, ldc * 4);
    _tile_stored(3, c + 16 * ldc + 16, ldc * 4);
}

#define DOT_ROWS 8

static void by_dots(int64_t pairs, const uint32_t *a, int64_t lda, const uint32_t *b, float *c, int64_t ldc) {
    for (int64_t r0 = 0; r0 < BLOCK; r0 += DOT_ROWS) {
        __m512 sum[DOT_ROWS][2];
#pragma GCC unroll 8
        for (int r = 0; r < DOT_ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
        for (int64_t k = 0; k < pairs; k++) {
            __m512bh b0 = (__m512bh)_mm512_loadu_si512(b + k * BLOCK);
            __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + k * BLOCK + 16);
#pragma GCC unroll 8
            for (int r = 0; r < DOT_ROWS; r++) {
                __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[(r0 + r) * lda + k]);
                sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, b0);
                sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, b1);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < DOT_ROWS; r++) {
            _mm512_storeu_ps(c + (r0 + r) * ldc, sum[r][0]);
            _mm512_storeu_ps(c + (r0 + r) * ldc + 16, sum[r][1]);
        }
    }
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

/* Results (r, j) .. of a task; `to` (fp32) or `half` is the task's row 0, column 0. */
static void block(const product *p, const uint32_t *a, int64_t lda, const uint32_t *b, int64_t pairs, int64_t rows,
                  int64_t width, float *to, uint16_t *half) {
    float buffer[BLOCK * BLOCK];
    bool direct = to && rows == BLOCK && width == BLOCK;
    (p->tiles ? by_tiles : by_dots)(pairs, a, lda, b, direct ? to : buffer, direct ? p->n : BLOCK);
    for (int64_t r = 0; !direct && r < rows; r++) {
        if (to) {
            memcpy(to + r * p->n, buffer + r * BLOCK, (size_t)width * sizeof *to);
        } else {
            FAST(cpu_to_bf16)(half + r * p->n, buffer + r * BLOCK, width);
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
    int64_t pairs = (depth + 2 * WORDS - 1) / (2 * WORDS) * WORDS, panels = (columns + BLOCK - 1) / BLOCK;
    const uint16_t *a = p->a + batch * p->m * p->k, *b = p->b + (p->b_shared ? 0 : batch * p->k * p->n);
    cpu_mark mark = cpu_scratch_mark(worker);
    uint32_t *own = cpu_alloc(worker, p->packed ? 1 : (size_t)(panels * pairs * BLOCK) * sizeof *own);
    uint32_t *lines = cpu_alloc(worker, (size_t)(BLOCK * (pairs + WORDS)) * sizeof *lines);
    if (own && lines) {
        float *to = p->splits > 1               ? p->partial + split * p->batches * p->m * p->n + at
                    : p->out->dtype == AIRA_F32 ? (float *)(void *)p->out->data + at
                                                : NULL;
        uint16_t *half = (uint16_t *)(void *)p->out->data + at;
        const uint32_t *packed = p->packed ? p->packed + n0 * pairs : own;
        for (int64_t j = 0; j < panels && !p->packed; j++) {
            int64_t width = columns - j * BLOCK < BLOCK ? columns - j * BLOCK : BLOCK;
            pack_panel(p, b, k0, depth, pairs, n0 + j * BLOCK, width, own + j * pairs * BLOCK);
        }
        if (p->tiles) configure();
        for (int64_t r = 0; r < rows; r += BLOCK) {
            int64_t some = rows - r < BLOCK ? rows - r : BLOCK;
            pack_rows(p, a, m0 + r, some, k0, depth, pairs, lines);
            for (int64_t j = 0; j < panels; j++) {
                int64_t width = columns - j * BLOCK < BLOCK ? columns - j * BLOCK : BLOCK, place = r * p->n + j * BLOCK;
                block(p, lines, pairs + WORDS, packed + j * pairs * BLOCK, pairs, some, width, to ? to + place : NULL,
                      half + place);
            }
        }
        if (p->tiles) _tile_release();
    }
    cpu_release(worker, mark);
}

static void add_partials(void *opaque, int64_t task, cpu_worker *worker) {
    const product *p = opaque;
    int64_t n = p->batches * p->m * p->n, start = task * 4096, count = n - start < 4096 ? n - start : 4096;
    float sums[4096];
    (void)worker;
    memcpy(sums, p->partial + start, (size_t)count * sizeof *sums);
    for (int64_t s = 1; s < p->splits; s++) {
        for (int64_t e = 0; e < count; e++) sums[e] += p->partial[s * n + start + e];
    }
    cpu_convert(p->out->data + (size_t)start * cpu_bytes_of(p->out->dtype), p->out->dtype, sums, AIRA_F32, count);
}

/* Tasks from shapes alone. */
static void plan_tasks(product *p, bool alone) {
    p->columns = PANEL_ELEMENTS / (p->k < 2048 ? p->k + 1 : 2048) / BLOCK * BLOCK;
    if (p->columns < BLOCK) p->columns = BLOCK;
    if (p->columns > 2048) p->columns = 2048;
    p->column_tasks = (p->n + p->columns - 1) / p->columns;
    p->rows = 1024;
    while (!alone && p->rows > 64 && p->k < 2048 && p->m > p->rows / 2 &&
           p->batches * ((p->m + p->rows - 1) / p->rows) * p->column_tasks < TASKS) {
        p->rows /= 2;
    }
    p->row_tasks = (p->m + p->rows - 1) / p->rows;
    int64_t tasks = p->batches * p->row_tasks * p->column_tasks;
    p->splits = 1;
    p->depth = p->k;
    if (!alone && tasks < TASKS && p->k >= 2048) {
        p->splits = TASKS / tasks < p->k / 1024 ? TASKS / tasks : p->k / 1024;
        p->depth = (p->k + p->splits - 1) / p->splits;
        p->splits = (p->k + p->depth - 1) / p->depth;
    }
}

static product product_of(const cpu_call *call) {
    const cpu_view *a = &call->in[0], *b = &call->in[1], *out = &call->out[0];
    product p = {.out = out, .trans_a = call->step->i[0] != 0, .trans_b = call->step->i[1] != 0};
    uint32_t rank = out->shape.rank;
    p.a = (const uint16_t *)(const void *)a->data;
    p.b = (const uint16_t *)(const void *)b->data;
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

static int64_t pairs_of(int64_t depth) { return (depth + 2 * WORDS - 1) / (2 * WORDS) * WORDS; }

static size_t packed_bytes(const cpu_call *call) {
    product p = product_of(call);
    return p.b_shared ? (size_t)((p.n + BLOCK - 1) / BLOCK * pairs_of(p.k) * BLOCK) * sizeof(uint32_t) : 0;
}

static void packed_fill(const cpu_call *call, void *to) {
    product p = product_of(call);
    int64_t pairs = pairs_of(p.k);
    for (int64_t n0 = 0; n0 < p.n; n0 += BLOCK) {
        int64_t width = p.n - n0 < BLOCK ? p.n - n0 : BLOCK;
        pack_panel(&p, p.b, 0, p.k, pairs, n0, width, (uint32_t *)to + n0 * pairs);
    }
}

const cpu_prepare cpu_bf16_prepare = {packed_bytes, packed_fill};

static void multiply(const cpu_call *call, bool tiles) {
    product p = product_of(call);
    const cpu_view *out = &call->out[0];
    p.tiles = tiles;
    if (out->n == 0) return;
    plan_tasks(&p, call->alone);
    if (p.splits > 1) {
        p.partial = cpu_alloc(call->worker, (size_t)(p.splits * out->n) * sizeof *p.partial);
        if (!p.partial) return;
    }
    cpu_parallel(call->worker, p.batches * p.row_tasks * p.column_tasks * p.splits, run_task, &p);
    if (p.splits > 1) cpu_parallel(call->worker, (out->n + 4095) / 4096, add_partials, &p);
}

void cpu_matmul_tiles(const cpu_call *call) { multiply(call, true); }
void cpu_matmul_dots(const cpu_call *call) { multiply(call, false); }
