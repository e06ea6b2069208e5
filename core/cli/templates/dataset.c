/* @NAME@.c - a data set: repeat a random word backwards.
 *
 * A row is  w1 .. wn | blank ... blank  and its targets are  ignored ... | wn .. w1. The last symbol of the vocabulary
 * is the blank. A row follows from (split, seed, index) alone.
 *
 * Build it: cc -O2 -fPIC -shared -fvisibility=hidden -I @INCLUDE@ @NAME@.c -lm -o @NAME@.so
 * Check it: aira check ./@NAME@.so
 */
#include "aira/dataset.h"
#include "aira/rng.h"

typedef struct config {
    int64_t symbols, length;
} config;

static aira_status describe(void *self, aira_dataset_info *info) {
    const config *c = self;
    info->metric = AIRA_METRIC_ACCURACY;
    info->vocab = c->symbols + 1;
    info->classes = c->symbols + 1;
    info->input_length = info->target_length = 2 * c->length;
    for (uint32_t split = 0; split < AIRA_N_SPLITS; split++) info->n_rows[split] = 0; /* endless */
    info->batch = 32;
    info->best = 1;
    info->worst = 1.0 / (double)c->symbols;
    return AIRA_OK;
}

static aira_status rows(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets) {
    static const char *const splits[] = {"train", "search", "selection", "test"};
    const config *c = self;
    for (uint32_t row = 0; row < n; row++) {
        aira_rng rng = aira_rng_make(aira_key(seed, splits[split]), indices[row]);
        int32_t *in = inputs + 2 * c->length * row, *out = targets + 2 * c->length * row;
        for (int64_t t = 0; t < c->length; t++) {
            in[t] = (int32_t)aira_rng_below(&rng, (uint32_t)c->symbols);
            in[c->length + t] = (int32_t)c->symbols;
            out[t] = AIRA_IGNORE;
            out[2 * c->length - 1 - t] = in[t];
        }
    }
    return AIRA_OK;
}

static const aira_field fields[] = {
    AIRA_F_INT(config, symbols, 16, 2, 65535, "different symbols in a word"),
    AIRA_F_INT(config, length, 16, 1, 65536, "symbols in a word; a row is twice as long"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_dataset table = {.size = sizeof table, .describe = describe, .rows = rows};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("dataset", aira_dataset, &table, "@NAME@", "0.1.0",
                                                          "repeat a random word backwards", &schema)};
AIRA_MANIFEST("dataset", "@NAME@", "0.1.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
