/* aira/aggregator.h - many scored architectures in, one out. */
#ifndef AIRA_AGGREGATOR_H
#define AIRA_AGGREGATOR_H

#include "plugin.h"

typedef struct aira_scored {
    const uint16_t *layers; /* n_layers token indices */
    double score;           /* selection score, larger is better (the host flips losses) */
} aira_scored;

typedef struct aira_aggregate_in {
    uint32_t size;
    uint32_t n_layers, n_tokens, n_candidates;
    const char *const *tokens;     /* in the task's order, which breaks last ties */
    const aira_scored *candidates; /* distinct architectures, best first */
} aira_aggregate_in;

typedef struct aira_aggregate_out {
    uint32_t size, cluster_size; /* members of the top cluster */
    uint16_t *layers;            /* host's, n_layers */
    double *support;             /* host's, n_layers: share of the weight that chose this token, 0..1 */
    void *core;
    void (*note)(void *core, const char *text); /* one line per back-off and tie; copies text */
} aira_aggregate_out;

typedef struct aira_aggregator {
    uint32_t size, flags;
    /* [any thread], pure */
    aira_status (*combine)(void *self, const aira_aggregate_in *in, aira_aggregate_out *out);
} aira_aggregator;

#endif
