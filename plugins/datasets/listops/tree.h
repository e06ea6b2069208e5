/* tree.h - ListOps expressions: drawing one at random, and its value.
 *
 * An expression is a digit, or an operator with 2 .. max_args expressions (Nangia and Bowman, arXiv 1804.06028; the
 * lengths are Long Range Arena's, arXiv 2011.04006). Written in tokens it is the operator, its arguments, an end:
 * [MAX 2 9 X. Static inline: the tests read the same text.
 */
#ifndef AIRA_LISTOPS_TREE_H
#define AIRA_LISTOPS_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "aira/rng.h"

/* Ids of tokens; digit d is LISTOPS_DIGIT + d, 0 is padding. */
enum { LISTOPS_PAD, LISTOPS_DIGIT, LISTOPS_MIN = 11, LISTOPS_MAX, LISTOPS_MED, LISTOPS_SM, LISTOPS_END, LISTOPS_VOCAB };
#define LISTOPS_DEPTH 64  /* deepest expression */
#define LISTOPS_ARGS 1024 /* most arguments of an operator */

typedef struct listops_shape {
    int64_t min_length, max_length; /* tokens, both exclusive */
    int64_t max_depth, max_args;
} listops_shape;

/* Appends a node at this depth (the root has 1); false: the expression has max_length tokens or more. */
static inline bool listops_node(const listops_shape *s, aira_rng *r, int64_t depth, int32_t *out, int64_t *n) {
    if (*n + 1 >= s->max_length) return false;
    if (depth >= s->max_depth || aira_rng_uniform(r) > 0.25) {
        out[(*n)++] = LISTOPS_DIGIT + (int32_t)aira_rng_below(r, 10);
        return true;
    }
    int64_t place = (*n)++, arguments = 2 + (int64_t)aira_rng_below(r, (uint32_t)(s->max_args - 1));
    for (int64_t k = 0; k < arguments; k++) {
        if (!listops_node(s, r, depth + 1, out, n)) return false;
    }
    if (*n + 1 >= s->max_length) return false;
    out[place] = LISTOPS_MIN + (int32_t)aira_rng_below(r, 4);
    out[(*n)++] = LISTOPS_END;
    return true;
}

/* Draws one expression into out (max_length ids); its length, or 0 where it is too short or too long. */
static inline int64_t listops_draw(const listops_shape *s, aira_rng *r, int32_t *out) {
    int64_t n = 0;
    return listops_node(s, r, 1, out, &n) && n > s->min_length ? n : 0;
}

static inline int32_t listops_apply(int32_t op, const int32_t *values, int64_t n) {
    int64_t count[10] = {0}, sum = 0, low = 9, high = 0;
    for (int64_t k = 0; k < n; k++) {
        count[values[k]]++;
        sum += values[k];
        if (values[k] < low) low = values[k];
        if (values[k] > high) high = values[k];
    }
    if (op == LISTOPS_MIN) return (int32_t)low;
    if (op == LISTOPS_MAX) return (int32_t)high;
    if (op == LISTOPS_SM) return (int32_t)(sum % 10);
    /* median: of an even number the mean of the two in the middle, cut to an integer */
    int64_t below = 0, middle[2] = {-1, -1};
    for (int32_t value = 0; value < 10; value++) {
        below += count[value];
        if (middle[0] < 0 && below > (n - 1) / 2) middle[0] = value;
        if (middle[1] < 0 && below > n / 2) middle[1] = value;
    }
    return (int32_t)((middle[0] + middle[1]) / 2);
}

/* Value of n tokens, 0 .. 9; -1 where they are no expression. */
static inline int32_t listops_value(const int32_t *tokens, int64_t n) {
    int32_t values[LISTOPS_DEPTH * LISTOPS_ARGS / 8]; /* open arguments of all levels */
    struct {
        int32_t op;
        int64_t first;
    } open[LISTOPS_DEPTH];
    int64_t depth = 0, used = 0, room = (int64_t)(sizeof values / sizeof *values);
    for (int64_t k = 0; k < n; k++) {
        int32_t token = tokens[k];
        if (k > 0 && depth == 0) return -1; /* something after the end */
        if (token >= LISTOPS_MIN && token <= LISTOPS_SM) {
            if (depth == LISTOPS_DEPTH) return -1;
            open[depth].op = token;
            open[depth++].first = used;
        } else if (token == LISTOPS_END) {
            if (depth == 0 || used == open[depth - 1].first) return -1;
            depth--;
            int64_t first = open[depth].first;
            values[first] = listops_apply(open[depth].op, values + first, used - first);
            used = first + 1;
        } else if (token >= LISTOPS_DIGIT && token < LISTOPS_MIN && used < room) {
            values[used++] = token - LISTOPS_DIGIT;
        } else {
            return -1;
        }
    }
    return depth == 0 && used == 1 ? values[0] : -1;
}

#endif
