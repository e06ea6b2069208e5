/* plugins/aggregators/common/ncluster.h - N_c clustering, shared by the aggregators n0, n1, n2 and n_all.
 *
 * 1. The scores of all candidates are split by exact one-dimensional k-means; the best-mean cluster is the top cluster.
 * 2. Layer by layer, the token with the most weight among the members of the top cluster that agree with the c tokens
 *    already chosen before it (c = 0, 1, 2 or all). Where fewer than `least_members` agree, c shrinks by one until
 *    enough do. (One always agrees: each token was chosen from a member that agreed with those before it. So the
 * back-off needs least_members > 1, which keeps n2 and n_all from copying a single candidate.)
 * 3. Equal weights: the higher summed score of the token's members, then the task's order of tokens.
 *
 * Weights of a member: `mode` 1; `rank` 1/rank, rank = 1 + candidates with a higher score; `score` its score minus the
 * cluster's lowest. Where these sum to nothing (a cluster of equal scores), every member counts 1.
 */
#ifndef AIRA_PLUGINS_NCLUSTER_H
#define AIRA_PLUGINS_NCLUSTER_H

#include "aira/aggregator.h"

#define NCLUSTER_ALL UINT32_MAX /* order of n_all: the whole prefix */

typedef struct ncluster_config {
    int64_t clusters, least_members;
    int32_t weights; /* index into ncluster_weights */
} ncluster_config;

enum { NCLUSTER_MODE, NCLUSTER_RANK, NCLUSTER_SCORE };

extern const aira_schema ncluster_schema;
extern const aira_aggregator ncluster_table;

aira_status ncluster_create(const aira_host *host, const ncluster_config *config, uint32_t order, void **self);
void ncluster_destroy(void *self);

/* Lowest score of the best cluster of an exact 1-D k-means (dynamic programming) over n >= 1 finite scores in any
   order. *clusters is cut to the number of distinct scores. Splits of equal cost: the larger best cluster.
   AIRA_E_MEMORY without memory. */
aira_status ncluster_threshold(const double *scores, uint32_t n, uint32_t *clusters, double *threshold);

#endif
