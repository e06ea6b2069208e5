/* listops.c - ListOps of Long Range Arena: the value, 0 to 9, of a long nested expression over lists of digits.
 *
 * Generated as the reference does it: expressions are drawn until one has more than min_length and fewer than
 * max_length tokens (8 % of them at the defaults). The reference then keeps distinct ones and cuts the set into splits.
 * Here a row stays a pure function of (seed, split, index): every expression belongs to the one split that its hash
 * says, and a row draws until an expression of its split comes. So no two splits ever share an expression, whatever the
 * seeds; within a split short expressions may come twice.
 */
#include <string.h>

#include "aira/dataset.h"
#include "tree.h"

#define MOST_DRAWS 1000000 /* of one row, before the settings are called impossible */

typedef struct listops_config {
    int64_t min_length, max_length, max_depth, max_args;
    int64_t train_rows, search_rows, selection_rows, test_rows;
} listops_config;

typedef struct listops {
    const aira_host *host;
    const listops_config *config;
    listops_shape shape;
} listops;

#define ROWS(key, def, doc) \
    { #key, doc, AIRA_T_COUNT, 0, (uint32_t)offsetof(listops_config, key), 0, def, 1, 1e9, NULL, NULL }
static const aira_field fields[] = {
    AIRA_F_INT(listops_config, min_length, 500, 0, 1 << 20, "tokens; an expression has more"),
    AIRA_F_INT(listops_config, max_length, 2000, 4, 1 << 20, "tokens; an expression has fewer, a row is padded to it"),
    AIRA_F_INT(listops_config, max_depth, 10, 1, LISTOPS_DEPTH, "nested levels, digits included"),
    AIRA_F_INT(listops_config, max_args, 10, 2, LISTOPS_ARGS / 8, "most arguments of an operator; the fewest are 2"),
    ROWS(train_rows, 96000, "training expressions, reused every epoch"),
    ROWS(search_rows, 1000, "expressions of the search split"),
    ROWS(selection_rows, 1000, "expressions of the selection split"),
    ROWS(test_rows, 2000, "expressions of the test split"),
};
static const aira_schema schema = AIRA_SCHEMA(listops_config, fields);

/* FNV-1a with a finaliser; the split that an expression belongs to: five eighths train. */
static uint32_t split_of(const int32_t *tokens, int64_t n) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (int64_t k = 0; k < n; k++) h = (h ^ (uint64_t)tokens[k]) * 0x100000001b3ull;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull;
    uint32_t eighth = (uint32_t)(h >> 61);
    return eighth < 5 ? AIRA_SPLIT_TRAIN : eighth - 4;
}

/* out: max_length ids, padded. */
static aira_status one_row(const listops *d, uint64_t key, uint32_t split, uint64_t index, int32_t *out,
                           int32_t *label) {
    aira_rng r = aira_rng_make(key, (uint64_t)split << 60 | index);
    for (int64_t draw = 0; draw < MOST_DRAWS; draw++) {
        int64_t n = listops_draw(&d->shape, &r, out);
        if (n == 0 || split_of(out, n) != split) continue;
        memset(out + n, 0, (size_t)(d->shape.max_length - n) * sizeof *out);
        *label = listops_value(out, n);
        return AIRA_OK;
    }
    return d->host->fail(d->host, AIRA_E_CONFIG,
                         "no expression of these lengths came up in 1,000,000 draws; lower min_length, or raise "
                         "max_length, max_depth or max_args");
}

static aira_status create(const aira_host *host, const void *config, void **self) {
    const listops_config *c = config;
    if (c->max_length - c->min_length < 2)
        return host->fail(host, AIRA_E_CONFIG, "min_length and max_length leave no length between them");
    listops *d = host->alloc(host, sizeof *d);
    if (!d) return host->fail(host, AIRA_E_MEMORY, "out of memory");
    *d = (listops){host, c, {c->min_length, c->max_length, c->max_depth, c->max_args}};
    *self = d;
    return AIRA_OK;
}

static void destroy(void *self) {
    listops *d = self;
    d->host->release(d->host, d);
}

static int64_t rows_of(const listops_config *c, uint32_t split) {
    return split == AIRA_SPLIT_TRAIN       ? c->train_rows
           : split == AIRA_SPLIT_SEARCH    ? c->search_rows
           : split == AIRA_SPLIT_SELECTION ? c->selection_rows
                                           : c->test_rows;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    const listops *d = self;
    if (split >= AIRA_N_SPLITS) return d->host->fail(d->host, AIRA_E_FAILED, "there is no such split");
    uint64_t key = aira_key(seed, "listops"), limit = (uint64_t)rows_of(d->config, split);
    aira_status status = AIRA_OK;
    for (uint32_t i = 0; i < n && !status; i++) {
        if (indices[i] >= limit)
            return d->host->fail(d->host, AIRA_E_FAILED, "a row index is beyond the rows of its split");
        status = one_row(d, key, split, indices[i], inputs + (int64_t)i * d->shape.max_length, targets + i);
    }
    return status;
}

static aira_status describe(void *self, aira_dataset_info *info) {
    const listops *d = self;
    info->metric = AIRA_METRIC_ACCURACY_POOLED;
    info->vocab = LISTOPS_VOCAB;
    info->classes = 10;
    info->input_length = d->shape.max_length;
    info->target_length = 1;
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) info->n_rows[s] = rows_of(d->config, s);
    info->batch = 32;
    info->best = 1;
    info->worst = 0.1;
    int32_t label, *out = d->host->alloc(d->host, (uint64_t)d->shape.max_length * sizeof *out);
    if (!out) return d->host->fail(d->host, AIRA_E_MEMORY, "out of memory for a row");
    aira_status status = one_row(d, aira_key(0, "listops"), AIRA_SPLIT_TRAIN, 0, out, &label); /* is it possible? */
    d->host->release(d->host, out);
    return status;
}

static const aira_dataset table = {.size = sizeof(aira_dataset), .describe = describe, .rows = rows};

static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "listops", "1.0.0",
                           "Long Range Arena's ListOps: the value of a long nested expression, 10 classes", &schema),
    .create = create,
    .destroy = destroy,
};

AIRA_MANIFEST("dataset", "listops", "1.0.0")

AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
