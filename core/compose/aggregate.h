/* core/compose/aggregate.h - many scored candidates of one or more runs, merged into one architecture.
 *
 * Candidates come from journals: distinct by hash, with their selection score, from all agents or from named ones. A
 * candidate met several times (by several searches or runs) counts once, with the mean of its scores. Runs may be put
 * together when they share the task; a candidate without a selection score is left out.
 */
#ifndef AIRA_COMPOSE_AGGREGATE_H
#define AIRA_COMPOSE_AGGREGATE_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/error.h"
#include "core/plugin/registry.h"

struct sqlite3;

typedef struct aira__candidates {
    char **tokens;    /* in the task's order */
    uint16_t *layers; /* n rows of n_layers */
    double *scores;   /* larger is better (losses are negated); best first, ties by hash */
    char (*hashes)[65];
    int n_tokens, n_layers, n;
    bool higher_is_better; /* of the task; false: scores are negated */
} aira__candidates;

typedef struct aira__journal_source {
    const char *name; /* for sentences: the run directory */
    struct sqlite3 *db;
} aira__journal_source;

/* agents: names as `use:` or a search's label gives them; n_agents 0: all. AIRA_E_CONFIG where a name is unknown or
   runs do not belong together, AIRA_E_FAILED where no candidate is left. Released with aira__candidates_release, also
   after an error. */
aira_status aira__candidates_read(const aira__journal_source *sources, int n_sources, const char *const *agents,
                                  int n_agents, aira__candidates *out, aira_error *);
void aira__candidates_release(aira__candidates *);

/* {"by", "architecture", "support", "cluster_size", "notes"} of docs/contract.md 2, a new reference. */
aira_status aira__aggregate(aira__registry *, const aira__instance *aggregator, const aira__candidates *,
                            json_t **result, aira_error *);

#endif
