/* plugins/scaffolds/common/space.h - all architectures of a search as numbers, and which of them its nodes have.
 *
 * An architecture is a number in base n_tokens, the first layer its most significant digit; so numbers are in
 * lexicographic order. Static inline, pure, no memory of its own.
 */
#ifndef AIRA_SCAFFOLDS_SPACE_H
#define AIRA_SCAFFOLDS_SPACE_H

#include <string.h>

#include "aira/scaffold.h"

#define SPACE_LISTED 65536u /* a space up to this size is looked at as a whole */

/* n_tokens ^ n_layers, or UINT64_MAX where that does not fit. */
static inline uint64_t space_size(const aira_journal_view *view) {
    uint64_t size = 1;
    for (uint32_t i = 0; i < view->n_layers; i++) {
        if (view->n_tokens && size > UINT64_MAX / view->n_tokens) return UINT64_MAX;
        size *= view->n_tokens;
    }
    return size;
}

static inline void space_layers(const aira_journal_view *view, uint64_t number, uint16_t *layers) {
    for (uint32_t i = view->n_layers; i-- > 0; number /= view->n_tokens)
        layers[i] = (uint16_t)(number % view->n_tokens);
}

static inline uint64_t space_number(const aira_journal_view *view, const uint16_t *layers) {
    uint64_t number = 0;
    for (uint32_t i = 0; i < view->n_layers; i++) number = number * view->n_tokens + layers[i];
    return number;
}

/* Is this the architecture of some node, pending ones included? */
static inline int space_taken(const aira_journal_view *view, const uint16_t *layers) {
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const uint16_t *other = aira_view_node(view, i)->layers;
        if (other && !memcmp(layers, other, view->n_layers * sizeof *layers)) return 1;
    }
    return 0;
}

/* The taken architectures of a listed space. */
typedef struct space_set {
    uint8_t bits[SPACE_LISTED / 8];
    uint32_t n;
} space_set;

static inline int space_has(const space_set *set, uint64_t number) { return set->bits[number / 8] >> number % 8 & 1; }

static inline void space_mark(const aira_journal_view *view, space_set *set) {
    memset(set, 0, sizeof *set);
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const uint16_t *layers = aira_view_node(view, i)->layers;
        if (!layers) continue;
        uint64_t number = space_number(view, layers);
        set->n += !space_has(set, number);
        set->bits[number / 8] = (uint8_t)(set->bits[number / 8] | 1u << number % 8);
    }
}

/* The which-th draw of this decision as an integer below n. */
static inline uint64_t space_below(const aira_journal_view *view, uint32_t which, uint64_t n) {
    uint64_t value = (uint64_t)(view->draw(view, which) * (double)n);
    return value < n ? value : n - 1;
}

#define SPACE_TRIES 1000u

/* An architecture that no node has, uniformly; uses draws from `which` on. 0: there is none (in a space too large to
   be listed: it was not found, and layers is one that was drawn before). */
static inline int space_draw_free(const aira_journal_view *view, uint32_t which, uint16_t *layers) {
    uint64_t size = space_size(view);
    if (size > SPACE_LISTED) {
        for (uint32_t i = 0; i < SPACE_TRIES; i++) {
            for (uint32_t k = 0; k < view->n_layers; k++)
                layers[k] = (uint16_t)space_below(view, which + i * view->n_layers + k, view->n_tokens);
            if (!space_taken(view, layers)) return 1;
        }
        return 0;
    }
    space_set set;
    space_mark(view, &set);
    if (set.n >= size) return 0;
    uint64_t pick = space_below(view, which, size - set.n), number = 0;
    while (space_has(&set, number) || pick--) number++;
    space_layers(view, number, layers);
    return 1;
}

#endif
