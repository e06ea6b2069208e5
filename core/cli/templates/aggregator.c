/* @NAME@.c - an aggregator: the most frequent token of each layer among the best candidates.
 *
 * Candidates come distinct and best first; the answer is one architecture and, per layer, the share of votes behind it.
 * A tie goes to the token that the task names first.
 *
 * Build it: cc -O2 -fPIC -shared -fvisibility=hidden -I @INCLUDE@ @NAME@.c -lm -o @NAME@.so
 * Check it: aira check ./@NAME@.so
 */
#include "aira/aggregator.h"

typedef struct config {
    int64_t top;
} config;

static aira_status combine(void *self, const aira_aggregate_in *in, aira_aggregate_out *out) {
    const config *c = self;
    if (in->n_candidates == 0) return AIRA_E_FAILED;
    uint32_t n = in->n_candidates < c->top ? in->n_candidates : (uint32_t)c->top;
    for (uint32_t layer = 0; layer < in->n_layers; layer++) {
        uint32_t best = 0, most = 0;
        for (uint32_t token = 0; token < in->n_tokens; token++) {
            uint32_t votes = 0;
            for (uint32_t i = 0; i < n; i++) votes += in->candidates[i].layers[layer] == token;
            if (votes <= most) continue;
            best = token;
            most = votes;
        }
        out->layers[layer] = (uint16_t)best;
        out->support[layer] = (double)most / n;
    }
    out->cluster_size = n;
    return AIRA_OK;
}

static const aira_field fields[] = {
    AIRA_F_INT(config, top, 10, 1, 1000000, "candidates that vote"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_aggregator table = {.size = sizeof table, .combine = combine};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("aggregator", aira_aggregator, &table, "@NAME@", "0.1.0",
                                                          "votes of the best candidates, layer by layer", &schema)};
AIRA_MANIFEST("aggregator", "@NAME@", "0.1.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
