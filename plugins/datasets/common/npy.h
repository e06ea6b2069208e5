/* npy.h - the header of a NumPy .npy file, read without trusting it.
 *
 * Format versions 1 to 3, C order, little-endian integers. The header is the literal of a Python dictionary with the
 * keys descr, fortran_order and shape in any order; a cursor reads that grammar and nothing more of Python. On success
 * data .. data + elements * width lies inside the file.
 */
#ifndef AIRA_DATASETS_NPY_H
#define AIRA_DATASETS_NPY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DATA_NPY_RANK 4

typedef struct data_npy {
    char kind;      /* 'u' or 'i' */
    uint32_t width; /* bytes of an element: 1, 2, 4, 8 */
    uint32_t rank;
    uint64_t shape[DATA_NPY_RANK], elements;
    const uint8_t *data; /* not aligned in general */
} data_npy;

typedef struct npy_cursor {
    const char *at, *end;
} npy_cursor;

static inline void npy_blanks(npy_cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
}

static inline bool npy_take(npy_cursor *c, const char *word) {
    npy_blanks(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

static inline bool npy_quoted(npy_cursor *c, const char *word) {
    npy_cursor start = *c;
    if (npy_take(c, "'") && npy_take(c, word) && npy_take(c, "'")) return true;
    *c = start;
    return false;
}

static inline bool npy_shape(npy_cursor *c, data_npy *out) {
    if (!npy_take(c, "(")) return false;
    out->rank = 0;
    out->elements = 1;
    while (!npy_take(c, ")")) {
        npy_blanks(c);
        uint64_t size = 0;
        const char *start = c->at;
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
            if (__builtin_mul_overflow(size, 10u, &size) ||
                __builtin_add_overflow(size, (uint64_t)(*c->at - '0'), &size))
                return false;
        if (c->at == start || out->rank == DATA_NPY_RANK) return false;
        out->shape[out->rank++] = size;
        if (__builtin_mul_overflow(out->elements, size, &out->elements)) return false;
        if (!npy_take(c, ",")) return npy_take(c, ")");
    }
    return true;
}

static inline bool npy_type(npy_cursor *c, data_npy *out, const char **wrong) {
    static const char *const codes[] = {"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8"};
    for (int i = 0; i < 8; i++) {
        if (!npy_quoted(c, codes[i])) continue;
        out->kind = codes[i][1];
        out->width = (uint32_t)(codes[i][2] - '0');
        return true;
    }
    *wrong = "its elements are not little-endian integers";
    return false;
}

static inline bool npy_dictionary(npy_cursor *c, data_npy *out, const char **wrong) {
    bool type = false, order = false, shape = false;
    *wrong = "its header is not the dictionary that NumPy writes";
    if (!npy_take(c, "{")) return false;
    while (!npy_take(c, "}")) {
        if (!type && npy_quoted(c, "descr") && npy_take(c, ":")) {
            if (!npy_type(c, out, wrong)) return false;
            type = true;
        } else if (!order && npy_quoted(c, "fortran_order") && npy_take(c, ":")) {
            if (npy_take(c, "True")) {
                *wrong = "it is in Fortran order; save numpy.ascontiguousarray(a) instead";
                return false;
            }
            if (!npy_take(c, "False")) return false;
            order = true;
        } else if (!shape && npy_quoted(c, "shape") && npy_take(c, ":")) {
            if (!npy_shape(c, out)) {
                *wrong = "its shape is not one of at most 4 sizes";
                return false;
            }
            shape = true;
        } else {
            return false;
        }
        if (!npy_take(c, ",")) {
            if (!npy_take(c, "}")) return false;
            break;
        }
    }
    npy_blanks(c);
    return type && order && shape && c->at == c->end;
}

static inline bool data_npy_is(const uint8_t *bytes, uint64_t n) {
    return n >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
}

/* wrong: the reason, as "its header ...", when false is returned. */
static inline bool data_npy_parse(const uint8_t *bytes, uint64_t n, data_npy *out, const char **wrong) {
    memset(out, 0, sizeof *out);
    *wrong = "it is not an .npy file";
    if (!data_npy_is(bytes, n)) return false;
    *wrong = "it ends within its header";
    if (n < 12) return false;
    uint64_t start = bytes[6] == 1 ? 10 : 12;
    uint64_t header = (uint64_t)bytes[8] | (uint64_t)bytes[9] << 8;
    if (bytes[6] > 1) header |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
    if (header > n - start) return false;
    *wrong = "its format version is not 1, 2 or 3";
    if (bytes[6] < 1 || bytes[6] > 3) return false;
    npy_cursor c = {(const char *)bytes + start, (const char *)bytes + start + header};
    if (!npy_dictionary(&c, out, wrong)) return false;
    *wrong = "its header promises another number of bytes than follow";
    uint64_t promised;
    if (__builtin_mul_overflow(out->elements, (uint64_t)out->width, &promised)) return false;
    out->data = bytes + start + header;
    return promised == n - start - header;
}

/* Element i as an integer; values that do not fit int64 wrap to negative ones, which no reader accepts. */
static inline int64_t data_npy_int(const data_npy *a, uint64_t i) {
    const uint8_t *at = a->data + i * a->width;
    uint64_t value = 0;
    memcpy(&value, at, a->width);
    uint32_t unused = 64 - 8 * a->width;
    return a->kind == 'i' ? (int64_t)(value << unused) >> unused : (int64_t)value;
}

#endif
