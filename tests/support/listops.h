/* tests/support/listops.h - ListOps counted and evaluated by a second text: expressions are written out and read again
 * by recursive descent, values are sorted, not counted. Used by the test beside the plugin and by bench_listops.
 */
#ifndef AIRA_TESTS_SUPPORT_LISTOPS_H
#define AIRA_TESTS_SUPPORT_LISTOPS_H

#include <stdbool.h>

#include "tests/support/dataset.h"

/* --- evaluator ---------------------------------------------------------------------------------------------------- */

static const char *const listops_words[] = {"",  "0", "1", "2",    "3",    "4",    "5",   "6",
                                            "7", "8", "9", "[MIN", "[MAX", "[MED", "[SM", "]"};

static inline int listops_compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* The next word of *text into word (16 bytes), parentheses skipped as the published files' readers do. */
static inline bool listops_word(const char **text, char *word) {
    while (**text == ' ' || **text == '(' || **text == ')') ++*text;
    int n = 0;
    while (**text && **text != ' ' && n < 15) word[n++] = *(*text)++;
    word[n] = 0;
    return n > 0;
}

/* Value of the expression at *text: "[MAX 2 9 ]", with or without the parentheses of the published files; -1: none. */
static inline int listops_read(const char **text) {
    char word[16];
    if (!listops_word(text, word)) return -1;
    if (word[0] != '[') return word[0] >= '0' && word[0] <= '9' && !word[1] ? word[0] - '0' : -1;
    char op = word[1] == 'S' ? 'S' : word[3]; /* N X D S */
    int values[4096], n = 0, sum = 0;
    for (;;) {
        const char *before = *text;
        if (!listops_word(text, word)) return -1;
        if (strcmp(word, "]") == 0) break;
        *text = before;
        int value = listops_read(text);
        if (value < 0 || n == 4096) return -1;
        values[n++] = value;
        sum += value;
    }
    if (n == 0) return -1;
    qsort(values, (size_t)n, sizeof *values, listops_compare);
    if (op == 'S') return sum % 10;
    return op == 'N' ? values[0] : op == 'X' ? values[n - 1] : (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* Writes tokens up to the padding as text; their number. */
static inline int64_t listops_text(const int32_t *tokens, int64_t length, char *text) {
    int64_t n = 0;
    for (; n < length && tokens[n]; n++) text += sprintf(text, "%s ", listops_words[tokens[n]]);
    *text = 0;
    return n;
}

/* --- counts ------------------------------------------------------------------------------------------------------- */

typedef struct listops_counts {
    int64_t n, wrong, *lengths; /* lengths: n, malloc'ed */
    int64_t by_root[2][5][10];  /* half of the rows, root (MIN MAX MED SM, a digit), label */
} listops_counts;

static inline void listops_count(listops_counts *c, test_dataset *d, uint32_t split, int64_t n) {
    memset(c, 0, sizeof *c);
    c->n = n;
    c->lengths = calloc((size_t)n, sizeof *c->lengths);
    int64_t T = d->info.input_length;
    char *text = malloc((size_t)T * 8 + 1);
    for (int64_t first = 0; first < n; first += 1000) {
        uint32_t rows = (uint32_t)(n - first < 1000 ? n - first : 1000);
        int32_t *x, *y;
        test_dataset_rows(d, split, 0, (uint64_t)first, rows, &x, &y);
        for (uint32_t i = 0; i < rows; i++) {
            const char *at = text;
            c->lengths[first + i] = listops_text(x + i * T, T, text);
            c->wrong += listops_read(&at) != y[i] || strspn(at, " ") != strlen(at);
            int root = x[i * T] > 10 ? x[i * T] - 11 : 4;
            if (y[i] >= 0 && y[i] < 10) c->by_root[i % 2][root][y[i]]++;
        }
        free(x);
        free(y);
    }
    free(text);
}

static inline double listops_share(const listops_counts *c, int label) {
    int64_t n = 0;
    for (int half = 0; half < 2; half++)
        for (int root = 0; root < 5; root++) n += c->by_root[half][root][label];
    return (double)n / (double)c->n;
}

static inline double listops_root_share(const listops_counts *c, int root) {
    int64_t n = 0;
    for (int half = 0; half < 2; half++)
        for (int label = 0; label < 10; label++) n += c->by_root[half][root][label];
    return (double)n / (double)c->n;
}

static inline double listops_majority(const listops_counts *c) {
    double best = 0;
    for (int label = 0; label < 10; label++) best = listops_share(c, label) > best ? listops_share(c, label) : best;
    return best;
}

/* Learnt on the even rows, scored on the odd ones. */
static inline double listops_root_baseline(const listops_counts *c) {
    int64_t right = 0, all = 0;
    for (int root = 0; root < 5; root++) {
        int best = 0;
        for (int label = 0; label < 10; label++) {
            if (c->by_root[0][root][label] > c->by_root[0][root][best]) best = label;
            all += c->by_root[1][root][label];
        }
        right += c->by_root[1][root][best];
    }
    return (double)right / (double)all;
}

#endif
