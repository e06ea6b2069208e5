/* tests/support/mad_values.h - what rows of the six tasks must show, whoever wrote them.
 *
 * mad_values_check() looks at whole sets of rows at baseline settings: structure row by row (answers agree with the
 * bindings before them, order of copies, fixed map ...) and the statistics of the set. It is independent of the
 * generators: it reads the rows alone. Returns the number of complaints, each printed on standard error.
 */
#ifndef AIRA_TESTS_SUPPORT_MAD_VALUES_H
#define AIRA_TESTS_SUPPORT_MAD_VALUES_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct mad_rows {
    const char *task;
    bool train; /* training rows: every position of recall counts */
    int64_t n, length;
    const int32_t *inputs, *targets; /* [n, length] */
    int complaints;
} mad_rows;

__attribute__((format(printf, 2, 3))) static inline void mad_complain(mad_rows *s, const char *format, ...) {
    if (s->complaints++ > 20) return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s %s: ", s->task, s->train ? "train" : "evaluation");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

#define MAD_EXPECT(S, CONDITION, ...)                   \
    do {                                                \
        if (!(CONDITION)) mad_complain(S, __VA_ARGS__); \
    } while (0)

static inline int64_t mad_counted(const int32_t *targets, int64_t length) {
    int64_t n = 0;
    for (int64_t i = 0; i < length; i++) n += targets[i] != -100;
    return n;
}

/* Plain and noisy recall: keys 0-7, values 8-15, noise 16-31. Returns the noise tokens of the row. */
static inline int64_t mad_check_recall_row(mad_rows *s, const int32_t *x, const int32_t *y, int64_t *counted) {
    int32_t value_of[8] = {0};
    int64_t noise = 0, known = 0;
    for (int64_t i = 0; i < s->length; i++) {
        noise += x[i] >= 16;
        if (i + 1 < s->length && s->train) MAD_EXPECT(s, y[i] == x[i + 1], "target %d is not the next token", (int)i);
        if (i % 2) { /* a value or a noise token: what follows is never asked */
            if (!s->train) MAD_EXPECT(s, y[i] == -100, "a target stands behind a value");
            continue;
        }
        if (x[i] >= 16) {
            if (!s->train) MAD_EXPECT(s, y[i] == -100, "a target stands in noise");
            continue;
        }
        MAD_EXPECT(s, x[i] >= 0 && x[i] < 8, "%d is no key", x[i]);
        int32_t next = i + 1 < s->length ? x[i + 1] : y[i];
        bool shown = value_of[x[i] & 7] != 0;
        MAD_EXPECT(s, next >= 8 && next < 16, "%d is no value", next);
        if (shown) MAD_EXPECT(s, next == value_of[x[i]], "key %d changed its value", x[i]);
        if (i + 1 == s->length) MAD_EXPECT(s, shown && y[i] == next, "the probe was never shown");
        if (!s->train) MAD_EXPECT(s, y[i] == (shown ? next : -100), "the target of a key is wrong");
        value_of[x[i] & 7] = next;
        known += shown;
    }
    *counted = s->train ? mad_counted(y, s->length) : known;
    if (!s->train) MAD_EXPECT(s, mad_counted(y, s->length) == known, "counted targets differ from known keys");
    return noise;
}

static inline void mad_check_recall(mad_rows *s, bool noisy) {
    double sum = 0, squares = 0, noise = 0;
    int64_t row_min = INT64_MAX, row_max = 0, seen[8] = {0};
    MAD_EXPECT(s, s->length == 127, "length is %d, not 127", (int)s->length);
    for (int64_t r = 0; r < s->n; r++) {
        const int32_t *x = s->inputs + r * s->length, *y = s->targets + r * s->length;
        int64_t counted, tokens = mad_check_recall_row(s, x, y, &counted);
        noise += (double)tokens;
        sum += (double)counted;
        squares += (double)(counted * counted);
        row_min = counted < row_min ? counted : row_min;
        row_max = counted > row_max ? counted : row_max;
        seen[x[s->length - 1] & 7]++;
    }
    double mean = sum / (double)s->n, sd = sqrt(squares / (double)s->n - mean * mean), each = (double)s->n / 8;
    noise /= (double)(s->n * s->length);
    for (int k = 0; k < 8; k++)
        MAD_EXPECT(s, fabs((double)seen[k] - each) < 5.5 * sqrt(each), "probe key %d came %d times", k, (int)seen[k]);
    if (s->train) {
        MAD_EXPECT(s, row_min == 127 && row_max == 127, "not every position counts");
    } else if (!noisy) { /* 64 pairs less the first showings: 8, or 7 in the 1.5 rows of 1,000 that lack a key */
        MAD_EXPECT(s, row_min >= 56 && row_max <= 58 && mean < 56.02, "%d to %d targets, not 56", (int)row_min,
                   (int)row_max);
    } else {
        MAD_EXPECT(s, fabs(mean - 43.6) < 0.35, "mean of targets is %.2f, not 43.6", mean);
        MAD_EXPECT(s, fabs(sd - 3.2) < 0.25, "deviation of targets is %.2f, not 3.2", sd);
    }
    MAD_EXPECT(s, fabs(noise - (noisy ? 0.195 : 0)) < 0.004, "share of noise is %.4f", noise);
}

/* Fuzzy recall: keys 0-6, values 7-14, pad 15. */
typedef struct mad_motif {
    int32_t token[8];
    int n;
} mad_motif;

static inline mad_motif mad_read_motif(mad_rows *s, const int32_t *tokens, int64_t length, int64_t *at, bool key) {
    mad_motif m = {{0}, 0};
    while (*at < length && (key ? tokens[*at] < 7 : tokens[*at] >= 7)) {
        MAD_EXPECT(s, tokens[*at] < 15, "a pad stands inside the row");
        if (m.n < 8) m.token[m.n] = tokens[*at];
        m.n++;
        (*at)++;
    }
    MAD_EXPECT(s, m.n >= 1 && m.n <= 3, "a motif of %d tokens", m.n);
    for (int i = 0; i < m.n && i < 8; i++)
        for (int j = 0; j < i; j++) MAD_EXPECT(s, m.token[i] != m.token[j], "a motif repeats a token");
    return m;
}

static inline bool mad_same(const mad_motif *a, const mad_motif *b) {
    return a->n == b->n && memcmp(a->token, b->token, sizeof(int32_t) * (size_t)(a->n < 8 ? a->n : 8)) == 0;
}

typedef struct mad_fuzzy_sums {
    double pairs, counted, squares, unknown_probe;
    int64_t pads_min, pads_max, counted_min, counted_max;
} mad_fuzzy_sums;

static inline void mad_check_fuzzy_row(mad_rows *s, const int32_t *x, const int32_t *y, mad_fuzzy_sums *sums) {
    int32_t tokens[129];
    mad_motif keys[129], values[129];
    memcpy(tokens, x, 128 * sizeof(int32_t));
    tokens[128] = y[127];
    int64_t at = 0, counted = 0, n = 0;
    while (at < 128 && tokens[at] == 15) at++;
    sums->pads_min = at < sums->pads_min ? at : sums->pads_min;
    sums->pads_max = at > sums->pads_max ? at : sums->pads_max;
    for (int64_t i = 0; i + 1 < at && !s->train; i++) MAD_EXPECT(s, y[i] == -100, "a target stands before a pad");
    while (at < 129) {
        int64_t from = at;
        keys[n] = mad_read_motif(s, tokens, 129, &at, true);
        if (!s->train) MAD_EXPECT(s, keys[n].n == 3, "a key of %d tokens", keys[n].n);
        for (int64_t i = from; i < at && i > 0 && !s->train; i++) MAD_EXPECT(s, y[i - 1] == -100, "a key is a target");
        from = at;
        values[n] = mad_read_motif(s, tokens, 129, &at, false);
        int64_t k = 0;
        while (k < n && !mad_same(&keys[k], &keys[n])) k++;
        if (k < n) MAD_EXPECT(s, mad_same(&values[k], &values[n]), "a key changed its value");
        bool asked = k < n || at == 129;
        if (at == 129) sums->unknown_probe += k == n;
        for (int64_t i = from; i < at; i++) {
            counted += asked;
            if (!s->train) MAD_EXPECT(s, y[i - 1] == (asked ? tokens[i] : -100), "the target of a value is wrong");
        }
        n++;
    }
    for (int64_t i = 0; i < 128 && s->train; i++) MAD_EXPECT(s, y[i] == tokens[i + 1], "target is not the next token");
    MAD_EXPECT(s, mad_counted(y, 128) == (s->train ? 128 : counted), "counted targets are wrong");
    sums->pairs += (double)(n - 1);
    sums->counted += (double)counted;
    sums->squares += (double)(counted * counted);
    sums->counted_min = counted < sums->counted_min ? counted : sums->counted_min;
    sums->counted_max = counted > sums->counted_max ? counted : sums->counted_max;
}

static inline void mad_check_fuzzy(mad_rows *s) {
    MAD_EXPECT(s, s->length == 128, "length is %d, not 128", (int)s->length);
    if (s->complaints) return;
    mad_fuzzy_sums sums = {.pads_min = INT64_MAX, .counted_min = INT64_MAX};
    for (int64_t r = 0; r < s->n; r++) mad_check_fuzzy_row(s, s->inputs + r * 128, s->targets + r * 128, &sums);
    double n = (double)s->n, mean = sums.counted / n, sd = sqrt(sums.squares / n - mean * mean);
    double pairs = sums.pairs / n, unknown = sums.unknown_probe / n;
    MAD_EXPECT(s, sums.pads_min >= 2 && sums.pads_max <= 7, "%d to %d pads, not 2 to 7", (int)sums.pads_min,
               (int)sums.pads_max);
    MAD_EXPECT(s, fabs(pairs - (s->train ? 29 : 23)) < 1, "%.2f pairs before the probe", pairs);
    MAD_EXPECT(s, fabs(unknown - (s->train ? 0.019 : 0.023)) < 0.0145, "%.4f of the probes were never shown", unknown);
    if (s->train) return;
    MAD_EXPECT(s, fabs(mean - 4.4) < 0.25, "mean of targets is %.2f, not 4.4", mean);
    MAD_EXPECT(s, fabs(sd - 2.3) < 0.2, "deviation of targets is %.2f, not 2.3", sd);
    MAD_EXPECT(s, sums.counted_min >= 1 && sums.counted_max >= 10 && sums.counted_max <= 18, "%d to %d targets",
               (int)sums.counted_min, (int)sums.counted_max);
}

/* Content 0-13, blank 14, copy 15. */
static inline void mad_check_copying(mad_rows *s) {
    MAD_EXPECT(s, s->length == 256, "length is %d, not 256", (int)s->length);
    if (s->complaints) return;
    double leading = 0, last_gap = 0;
    for (int64_t r = 0; r < s->n; r++) {
        const int32_t *x = s->inputs + r * 256, *y = s->targets + r * 256;
        int64_t copied = 0, first = 0, gap = 0;
        while (first < 256 && x[first] == 14) first++;
        for (int64_t i = 0; i < 239; i++) {
            MAD_EXPECT(s, x[i] >= 0 && x[i] <= 14, "%d in the body", x[i]);
            gap = x[i] == 14 ? gap + 1 : copied == 15 ? gap : 0;
            if (x[i] == 14) continue;
            MAD_EXPECT(s, copied < 16 && y[240 + copied] == x[i], "copies out of order");
            copied++;
        }
        MAD_EXPECT(s, copied == 16 && x[238] < 14 && x[239] == 15, "the body does not end with content and copy");
        for (int64_t i = 240; i < 256; i++) MAD_EXPECT(s, x[i] == 14, "no blank to write on");
        MAD_EXPECT(s, mad_counted(y, 256) == 16 && mad_counted(y, 240) == 0, "counted targets are wrong");
        leading += (double)first;
        last_gap += (double)gap;
    }
    leading /= (double)s->n;
    last_gap /= (double)s->n;
    MAD_EXPECT(s, fabs(leading - 13.94) < 0.5, "mean of leading blanks is %.2f, not 13.94", leading);
    MAD_EXPECT(s, fabs(last_gap - 13.94) < 0.5, "mean of blanks before the last token is %.2f, not 13.94", last_gap);
}

static inline void mad_check_compression(mad_rows *s) {
    MAD_EXPECT(s, s->length == 32, "length is %d, not 32", (int)s->length);
    int64_t seen[16] = {0};
    for (int64_t r = 0; r < s->n; r++) {
        const int32_t *x = s->inputs + r * s->length, *y = s->targets + r * s->length;
        for (int64_t i = 0; i < s->length; i++) {
            MAD_EXPECT(s, x[i] == y[i], "target differs from input");
            MAD_EXPECT(s, x[i] >= 0 && (x[i] == 15) == (i == s->length - 1), "%d at %d", x[i], (int)i);
            seen[x[i] & 15]++;
        }
    }
    double each = (double)(s->n * (s->length - 1)) / 15;
    for (int c = 0; c < 15; c++)
        MAD_EXPECT(s, fabs((double)seen[c] - each) < 5.5 * sqrt(each), "token %d came %d times", c, (int)seen[c]);
}

/* Keys 0-126, values 127-254, insert 255. */
static inline void mad_check_memorization(mad_rows *s) {
    MAD_EXPECT(s, s->length == 32, "length is %d, not 32", (int)s->length);
    int32_t value_of[127] = {0}, key_of[255] = {0};
    for (int64_t r = 0; r < s->n; r++) {
        const int32_t *x = s->inputs + r * s->length, *y = s->targets + r * s->length;
        for (int64_t i = 0; i + 1 < s->length; i += 2) {
            bool good = x[i] >= 0 && x[i] < 127 && x[i + 1] == 255 && y[i] == -100 && y[i + 1] >= 127 && y[i + 1] < 255;
            MAD_EXPECT(s, good, "%d %d with targets %d %d", x[i], x[i + 1], y[i], y[i + 1]);
            if (!good) continue;
            int32_t key = x[i], value = y[i + 1];
            MAD_EXPECT(s, value_of[key] == 0 || value_of[key] == value, "key %d changed its value", key);
            MAD_EXPECT(s, key_of[value] == 0 || key_of[value] == key + 1, "value %d belongs to two keys", value);
            value_of[key] = value;
            key_of[value] = key + 1;
        }
    }
    for (int k = 0; k < 127; k++) MAD_EXPECT(s, s->n < 200 || value_of[k], "key %d never came", k);
}

static inline int mad_values_check(mad_rows *s) {
    if (strcmp(s->task, "in-context-recall") == 0)
        mad_check_recall(s, false);
    else if (strcmp(s->task, "noisy-in-context-recall") == 0)
        mad_check_recall(s, true);
    else if (strcmp(s->task, "fuzzy-in-context-recall") == 0)
        mad_check_fuzzy(s);
    else if (strcmp(s->task, "selective-copying") == 0)
        mad_check_copying(s);
    else if (strcmp(s->task, "compression") == 0)
        mad_check_compression(s);
    else if (strcmp(s->task, "memorization") == 0)
        mad_check_memorization(s);
    else
        mad_complain(s, "no such task");
    return s->complaints;
}

#endif
