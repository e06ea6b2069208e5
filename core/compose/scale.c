/* core/compose/scale.c - sizes, and the two rules that make a sequence longer; see extrapolate.h.
 *
 * Exact: everything is integers. h M stays far inside 64 bits (h <= 4096 layers, M < 10^13 parameters).
 */
#include <string.h>

#include "core/compose/extrapolate.h"
#include "core/compose/notation.h"

static const aira__size sizes[] = {
    /* name, width, hidden, heads, kv_heads, Llama layers, vocabulary, learning rate */
    {"350M", 1536, 4096, 24, 8, 14, 128256, 3e-3},
    {"1B", 2048, 8192, 32, 8, 16, 128256, 6e-4},
    {"3B", 3072, 8192, 24, 8, 28, 128256, 3e-4},
    {"8B", 4096, 14336, 32, 8, 32, 128256, 3e-4},
};

const aira__size *aira__size_list(int *n) {
    *n = (int)(sizeof sizes / sizeof *sizes);
    return sizes;
}

aira_status aira__size_find(const char *name, const aira__size **size, aira_error *error) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(sizes[i].name, name) == 0) {
            *size = &sizes[i];
            return AIRA_OK;
        }
    return aira__fail(error, AIRA_E_CONFIG, "unknown size `%s` to extrapolate to; the sizes are 350M, 1B, 3B, 8B",
                      name);
}

aira_status aira__scale_rule_find(const char *name, aira__scale_rule *rule, aira_error *error) {
    *rule = strcmp(name, "stack") == 0 ? AIRA__STACK : AIRA__STRETCH;
    if (*rule == AIRA__STACK || strcmp(name, "stretch") == 0) return AIRA_OK;
    return aira__fail(error, AIRA_E_CONFIG, "unknown way to extrapolate `%s`; the ways are stretch and stack", name);
}

typedef struct writer {
    uint16_t *out;
    int max, n;
} writer;

static aira_status repeat(writer *w, uint16_t token, int64_t times, aira_error *error) {
    if (times > w->max - w->n)
        return aira__fail(error, AIRA_E_FAILED, "the extrapolated architecture would have more than %d layers", w->max);
    for (int64_t i = 0; i < times; i++) w->out[w->n++] = token;
    return AIRA_OK;
}

/* Every run of h layers becomes ceil(h top / bottom). */
static aira_status stretch(writer *w, const uint16_t *layers, int n, int64_t top, int64_t bottom, aira_error *error) {
    aira_status status = AIRA_OK;
    for (int i = 0; !status && i < n;) {
        int run = 1;
        while (i + run < n && layers[i + run] == layers[i]) run++;
        status = repeat(w, layers[i], (run * top + bottom - 1) / bottom, error);
        i += run;
    }
    return status;
}

aira_status aira__scale_layers(const uint16_t *layers, int n, const int64_t *cost, int64_t target,
                               aira__scale_rule rule, uint16_t *out, int max, int *n_out, aira_error *error) {
    writer w = {out, max, 0};
    int64_t m = 0;
    for (int i = 0; i < n; i++) m += cost[layers[i]];
    if (m <= 0)
        return aira__fail(error, AIRA_E_FAILED,
                          "the architecture has no parameters, so there is nothing to measure its size by");
    aira_status status = AIRA_OK;
    if (rule == AIRA__STRETCH) {
        status = stretch(&w, layers, n, target, m, error);
    } else {
        for (int64_t copy = 0; !status && copy < target / m; copy++)
            for (int i = 0; !status && i < n; i++) status = repeat(&w, layers[i], 1, error);
        if (!status) status = stretch(&w, layers, n, target % m, m, error);
    }
    *n_out = w.n;
    return status;
}
