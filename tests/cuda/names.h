/* names.h - memory of names: bytes that tell which value they are a part of, for steps.c. */
#ifndef AIRA_TESTS_CUDA_NAMES_H
#define AIRA_TESTS_CUDA_NAMES_H

#include <stdlib.h>

#include "kernels/cuda/steps.h"

typedef struct piece { /* bytes begin..end hold bytes from `from` on of a value */
    uint32_t storage;
    uint64_t begin, end, value, from;
} piece;

typedef struct memory {
    piece *pieces;
    size_t n, room;
} memory;

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15ull;
    return h ^ (h >> 29);
}

static void add_piece(memory *m, piece p) {
    if (m->n == m->room) m->pieces = realloc(m->pieces, (m->room = 2 * m->room + 64) * sizeof *m->pieces);
    if (!m->pieces) exit(1);
    m->pieces[m->n++] = p;
}

static void write_range(memory *m, gpu_range r, uint64_t value) {
    for (size_t k = m->n; k-- > 0;) {
        piece p = m->pieces[k];
        if (p.storage != r.storage || p.begin >= r.end || r.begin >= p.end) continue;
        m->pieces[k] = m->pieces[--m->n];
        if (p.begin < r.begin) add_piece(m, (piece){p.storage, p.begin, r.begin, p.value, p.from});
        if (p.end > r.end) add_piece(m, (piece){p.storage, r.end, p.end, p.value, p.from + (r.end - p.begin)});
    }
    add_piece(m, (piece){r.storage, r.begin, r.end, value, 0});
}

/* The name of what lies there: of one value that fills the range, or of the parts. */
static uint64_t read_range(const memory *m, gpu_range r) {
    uint64_t parts = 0, covered = 0;
    for (size_t k = 0; k < m->n; k++) {
        const piece *p = &m->pieces[k];
        if (p->storage != r.storage || p->begin >= r.end || r.begin >= p->end) continue;
        if (p->begin == r.begin && p->end == r.end && p->from == 0) return p->value;
        uint64_t begin = p->begin > r.begin ? p->begin : r.begin, end = p->end < r.end ? p->end : r.end;
        parts += mix(mix(mix(p->value, p->from + (begin - p->begin)), begin - r.begin), end - begin);
        covered += end - begin;
    }
    /* bytes that nobody wrote: what the memory held before */
    return covered == r.end - r.begin ? parts : mix(mix(parts, r.storage), r.begin);
}

#endif
