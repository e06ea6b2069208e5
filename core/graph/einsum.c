/* core/graph/einsum.c - "bthd,bshd->bhts" lowered to transposes, reshapes and one batched matrix product.
 *
 * Letters fall into four groups: batch (in a, b and out), contracted (in a and b only), free in a, free in b. Letters
 * of one operand alone that are missing in the result are summed first. a becomes [batch, free a, contracted], b
 * [batch, free b, contracted], their product is [batch, free a, free b].
 */
#include <string.h>

#include "core/graph/internal.h"

aira_tensor *aira__einsum(aira_graph *g, const char *equation, aira_tensor *a, aira_tensor *b);

typedef struct letters {
    char text[AIRA_MAX_RANK + 1];
    uint32_t n;
} letters;

static bool has(const letters *l, char c) { return memchr(l->text, c, l->n) != NULL; }
static void push(letters *l, char c) { l->text[l->n++] = c; }

static bool read_letters(const char **p, letters *out) {
    out->n = 0;
    while ((**p >= 'a' && **p <= 'z') || (**p >= 'A' && **p <= 'Z')) {
        if (out->n == AIRA_MAX_RANK || has(out, **p)) return false;
        push(out, *(*p)++);
    }
    return true;
}

/* Sums the axes of x whose letters appear in neither other nor result; updates names. */
static aira_tensor *sum_alone(aira_graph *g, aira_tensor *x, letters *names, const letters *other,
                              const letters *result) {
    uint32_t mask = 0;
    letters kept = {.n = 0};
    for (uint32_t k = 0; k < names->n; k++) {
        if (has(other, names->text[k]) || has(result, names->text[k]))
            push(&kept, names->text[k]);
        else
            mask |= 1u << k;
    }
    *names = kept;
    return aira__summed(g, x, mask, false, 0);
}

static int64_t extent(const letters *names, const aira_tensor *x, char c) {
    const char *at = memchr(names->text, c, names->n);
    return at ? x->shape.dims[at - names->text] : 0;
}

static int64_t product(const letters *group, const letters *names, const aira_tensor *x) {
    int64_t n = 1;
    for (uint32_t k = 0; k < group->n; k++) n *= extent(names, x, group->text[k]);
    return n;
}

/* x with its axes in the order of the three groups, as [P, M, K] */
static aira_tensor *arranged(aira_graph *g, aira_tensor *x, const letters *names, const letters *first,
                             const letters *second, const letters *third) {
    int64_t order[AIRA_MAX_RANK];
    uint32_t n = 0;
    const letters *groups[3] = {first, second, third};
    aira_shape flat = {.rank = 3};
    for (uint32_t s = 0; s < 3; s++) {
        for (uint32_t k = 0; k < groups[s]->n; k++)
            order[n++] = (const char *)memchr(names->text, groups[s]->text[k], names->n) - names->text;
        flat.dims[s] = product(groups[s], names, x);
    }
    return aira__reshaped(g, aira__permuted(g, x, order), &flat);
}

aira_tensor *aira__einsum(aira_graph *g, const char *equation, aira_tensor *a, aira_tensor *b) {
    if (a == NULL || b == NULL) return NULL;
    letters la, lb, lo;
    const char *p = equation;
    bool ok = read_letters(&p, &la) && *p++ == ',' && read_letters(&p, &lb) && strncmp(p, "->", 2) == 0;
    if (ok) p += 2;
    ok = ok && read_letters(&p, &lo) && *p == 0 && la.n == a->shape.rank && lb.n == b->shape.rank;
    if (!ok)
        return aira__graph_fail(g, AIRA_E_FAILED, "einsum: '%s' does not describe operands of rank %u and %u", equation,
                                a->shape.rank, b->shape.rank);
    for (uint32_t k = 0; k < la.n; k++)
        if (has(&lb, la.text[k]) && a->shape.dims[k] != extent(&lb, b, la.text[k]))
            return aira__graph_fail(g, AIRA_E_FAILED, "einsum: '%s': axis %c has two extents", equation, la.text[k]);
    a = sum_alone(g, a, &la, &lb, &lo);
    b = sum_alone(g, b, &lb, &la, &lo);
    if (a == NULL || b == NULL) return NULL;
    letters batch = {.n = 0}, contracted = {.n = 0}, free_a = {.n = 0}, free_b = {.n = 0}, natural = {.n = 0};
    for (uint32_t k = 0; k < la.n; k++) {
        char c = la.text[k];
        push(!has(&lb, c) ? &free_a : has(&lo, c) ? &batch : &contracted, c);
    }
    for (uint32_t k = 0; k < lb.n; k++)
        if (!has(&la, lb.text[k])) push(&free_b, lb.text[k]);
    if (batch.n + free_a.n + free_b.n != lo.n)
        return aira__graph_fail(g, AIRA_E_FAILED, "einsum: '%s': a letter of the result is in no operand", equation);
    aira_shape full = {.rank = 0};
    const letters *groups[3] = {&batch, &free_a, &free_b};
    for (uint32_t s = 0; s < 3; s++)
        for (uint32_t k = 0; k < groups[s]->n; k++) {
            char c = groups[s]->text[k];
            push(&natural, c);
            full.dims[full.rank++] = s == 2 ? extent(&lb, b, c) : extent(&la, a, c);
        }
    aira_tensor *y = aira__multiplied(g, arranged(g, a, &la, &batch, &free_a, &contracted),
                                      arranged(g, b, &lb, &batch, &free_b, &contracted), false, true, 0);
    y = aira__reshaped(g, y, &full);
    int64_t order[AIRA_MAX_RANK];
    for (uint32_t k = 0; k < lo.n; k++)
        order[k] = (const char *)memchr(natural.text, lo.text[k], natural.n) - natural.text;
    return aira__permuted(g, y, order);
}
