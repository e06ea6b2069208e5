/* stream.h - many files read as one long sequence of ids, and where in it each row of a split lies.
 *
 * A stream is a list of pieces (mapped files of 1-, 2- or 4-byte ids) laid end to end. A split is a contiguous span of
 * a stream; spans never overlap, and a window never reaches over the end of its span, so no id that a model was trained
 * on is asked for in an evaluation.
 *
 * Rows of `length` inputs take length + 1 ids; targets are the inputs shifted by one.
 *   crop      training: a uniform start within the span, drawn from (seed, index). Evaluation: windows in order, each
 *             starting at the last target of the one before, so that every id is asked for once.
 *   contexts  the files were cut into contexts of length + 1 ids beforehand; row i is context i, in all splits.
 */
#ifndef AIRA_DATASETS_STREAM_H
#define AIRA_DATASETS_STREAM_H

#include "aira/rng.h"
#include "files.h"

typedef struct piece {
    mapped file;
    const uint8_t *data;
    uint32_t width;    /* bytes of an id */
    uint64_t first, n; /* place in the stream, ids */
    char *path;
} piece;

typedef struct stream {
    piece *pieces;
    uint64_t n_pieces, room, n; /* n: ids of all pieces */
} stream;

typedef struct span {
    const stream *from;
    uint64_t first, n; /* ids */
} span;

typedef struct windows {
    const aira_host *host;
    const char *name; /* of the random streams */
    int64_t length;   /* inputs of a row */
    int64_t vocab;    /* ids are below it */
    int64_t pad;      /* contexts: this id is no text; -1: none */
    bool contexts;
    span splits[AIRA_N_SPLITS];
    uint64_t available[AIRA_N_SPLITS]; /* windows or contexts of the span; 0: endless crops */
    uint64_t rows[AIRA_N_SPLITS];      /* of them used, spread evenly; 0: endless */
} windows;

static inline void stream_release(const aira_host *host, stream *s) {
    for (uint64_t i = 0; i < s->n_pieces; i++) {
        data_unmap(&s->pieces[i].file);
        host->release(host, s->pieces[i].path);
    }
    host->release(host, s->pieces);
    *s = (stream){0};
}

/* Takes over p->file, also when it fails; copies path. A piece without ids is dropped. */
static inline aira_status stream_add(const aira_host *host, stream *s, piece *p, const char *path) {
    bool keep = p->n > 0;
    if (keep && s->n_pieces == s->room) {
        uint64_t room = s->room ? 2 * s->room : 16;
        piece *more = host->alloc(host, room * sizeof *more);
        if (!more) {
            data_unmap(&p->file);
            return host->fail(host, AIRA_E_MEMORY, "out of memory for the list of data files");
        }
        if (s->n_pieces) memcpy(more, s->pieces, s->n_pieces * sizeof *more);
        host->release(host, s->pieces);
        s->pieces = more;
        s->room = room;
    }
    p->path = keep ? data_copy_text(host, path) : NULL;
    if (!p->path) data_unmap(&p->file);
    if (!keep) return AIRA_OK;
    if (!p->path) return host->fail(host, AIRA_E_MEMORY, "out of memory for the list of data files");
    p->first = s->n;
    s->n += p->n;
    s->pieces[s->n_pieces++] = *p;
    return AIRA_OK;
}

/* The piece that holds id `at` of the stream; at < s->n. */
static inline const piece *stream_find(const stream *s, uint64_t at) {
    uint64_t low = 0, high = s->n_pieces;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (s->pieces[middle].first <= at)
            low = middle;
        else
            high = middle;
    }
    return s->pieces + low;
}

/* Ids at .. at+n-1. Ids beyond int32 come out negative. */
static inline void stream_read(const stream *s, uint64_t at, uint64_t n, int32_t *out) {
    for (const piece *p = stream_find(s, at); n > 0; p++) {
        uint64_t from = at - p->first, here = p->n - from < n ? p->n - from : n;
        const uint8_t *bytes = p->data + from * p->width;
        if (p->width == 4) {
            memcpy(out, bytes, here * 4);
        } else if (p->width == 2) {
            for (uint64_t i = 0; i < here; i++) out[i] = bytes[2 * i] | bytes[2 * i + 1] << 8;
        } else {
            for (uint64_t i = 0; i < here; i++) out[i] = bytes[i];
        }
        out += here;
        at += here;
        n -= here;
    }
}

/* Divides ids [first, first + n) of a stream in order among splits, by weight; every part is a multiple of unit. */
static inline void span_divide(const stream *s, uint64_t unit, const double weight[AIRA_N_SPLITS],
                               span out[AIRA_N_SPLITS]) {
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < AIRA_N_SPLITS; i++) total += weight[i];
    uint64_t units = s->n / unit, from = 0;
    for (uint32_t i = 0; i < AIRA_N_SPLITS; i++) {
        if (weight[i] <= 0) continue;
        sum += weight[i];
        uint64_t to = (uint64_t)((double)units * (sum / total) + 0.5);
        if (to > units || sum >= total) to = units;
        out[i] = (span){s, from * unit, (to - from) * unit};
        from = to;
    }
}

/* Rows of every split; asked: most rows wanted, 0 all (of training crops: endless). A split without one is refused. */
static inline aira_status windows_count(windows *w, int64_t train_rows, int64_t evaluation_rows) {
    static const char *const names[AIRA_N_SPLITS] = {"train", "search", "selection", "test"};
    uint64_t length = (uint64_t)w->length;
    for (uint32_t i = 0; i < AIRA_N_SPLITS; i++) {
        uint64_t n = w->splits[i].n, count = 0;
        uint64_t asked = (uint64_t)(i == AIRA_SPLIT_TRAIN ? train_rows : evaluation_rows);
        if (w->contexts)
            count = n / (length + 1);
        else if (n > length)
            count = (n - 1) / length;
        if (count == 0)
            return data_fail(w->host, AIRA_E_CONFIG,
                             "the %s split has %llu ids, but a row of length %llu takes %llu; give more data, a larger "
                             "share or a smaller length",
                             names[i], (unsigned long long)n, (unsigned long long)length,
                             (unsigned long long)length + 1);
        bool crops = i == AIRA_SPLIT_TRAIN && !w->contexts;
        w->available[i] = crops ? 0 : count;
        w->rows[i] = crops || (asked && asked < count) ? asked : count;
    }
    return AIRA_OK;
}

static inline uint64_t draw_below(aira_rng *r, uint64_t n) {
    uint64_t mask = UINT64_MAX >> __builtin_clzll(n | 1), x;
    do x = aira_rng_u64(r) & mask;
    while (x >= n);
    return x;
}

static inline uint64_t windows_start(const windows *w, uint32_t split, uint64_t key, uint64_t index) {
    const span *s = &w->splits[split];
    uint64_t length = (uint64_t)w->length;
    if (w->available[split] == 0) {
        aira_rng r = aira_rng_make(key, (uint64_t)split << 60 | (index & (UINT64_MAX >> 4)));
        return s->first + draw_below(&r, s->n - length);
    }
    if (w->rows[split] < w->available[split]) /* spread evenly */
        index = (uint64_t)((double)index * ((double)w->available[split] / (double)w->rows[split]));
    return s->first + index * (w->contexts ? length + 1 : length);
}

/* Checks one row and turns pads into ignored targets. */
static inline aira_status windows_check(const windows *w, const span *s, uint64_t start, int32_t last, int32_t *inputs,
                                        int32_t *targets) {
    for (int64_t i = 0; i <= w->length; i++) {
        int64_t id = i < w->length ? inputs[i] : last;
        bool pad = w->pad >= 0 && id == w->pad;
        if ((id < 0 || id >= w->vocab) && !pad) {
            const piece *p = stream_find(s->from, start + (uint64_t)i);
            return data_fail(w->host, AIRA_E_CORRUPT,
                             "'%s' holds id %llu at position %llu, but vocab is %lld; is it the right tokenizer, "
                             "or the wrong dtype?",
                             p->path, (unsigned long long)(uint32_t)id,
                             (unsigned long long)(start + (uint64_t)i - p->first), (long long)w->vocab);
        }
        if (i > 0) targets[i - 1] = pad ? AIRA_IGNORE : (int32_t)id;
        if (i < w->length && pad) inputs[i] = 0;
    }
    return AIRA_OK;
}

static inline aira_status windows_rows(const windows *w, uint32_t split, uint64_t seed, const uint64_t *indices,
                                       uint32_t n, int32_t *inputs, int32_t *targets) {
    if (split >= AIRA_N_SPLITS) return data_fail(w->host, AIRA_E_FAILED, "there is no split %u", split);
    const span *s = &w->splits[split];
    uint64_t key = aira_key(seed, w->name);
    for (uint32_t i = 0; i < n; i++) {
        if (w->rows[split] && indices[i] >= w->rows[split])
            return data_fail(w->host, AIRA_E_FAILED, "row %llu is beyond the %llu rows of its split",
                             (unsigned long long)indices[i], (unsigned long long)w->rows[split]);
        uint64_t start = windows_start(w, split, key, indices[i]);
        int32_t *x = inputs + (int64_t)i * w->length, last;
        stream_read(s->from, start, (uint64_t)w->length, x);
        stream_read(s->from, start + (uint64_t)w->length, 1, &last);
        aira_status status = windows_check(w, s, start, last, x, targets + (int64_t)i * w->length);
        if (status) return status;
    }
    return AIRA_OK;
}

#endif
