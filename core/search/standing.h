/* core/search/standing.h - when a node counts as better, and not as lucky (docs/trust.md).
 *
 * A node whose first score beats the search's best so far, the incumbent, is a contender: it is trained on the further
 * seeds, which are the same for all nodes of a search, before it is committed; its scores are then the means over all
 * seeds. So the best visible score always belongs to a node with all seeds. Its standing says whether the difference to
 * the incumbent is beyond noise.
 *
 * The test uses the further seeds alone: the first one chose the contender, so it cannot speak for it. Noise is the
 * residual of seed and node effects over all nodes of the search that have all seeds, or that of the pair where it is
 * larger; with two nodes this is the paired t-test, and it gets sharper with every contender. The j-th contender of a
 * search is tested at alpha / (searches * j * (j + 1)), which sums up to alpha over all tests of a study.
 *
 * Pure, as the tree.
 */
#ifndef AIRA_SEARCH_STANDING_H
#define AIRA_SEARCH_STANDING_H

#include "core/search/queue.h"
#include "core/search/tree.h"

#define AIRA__MAX_SEEDS 64

/* Seed k of a search: 0 is its own, the others follow from it; below 2^63. */
uint64_t aira__confirm_seed(uint64_t search_seed, uint32_t k);

const char *aira__standing_name(uint32_t standing);          /* "provisional", "confirmed", NULL */
uint32_t aira__standing_code(const char *name);              /* NULL, or an unknown one: AIRA_STANDING_NONE */
double aira__standing_level(const aira__tree *, uint32_t j); /* of the j-th test, j >= 1 */

/* Is the next node to commit, which must be finished, a contender whose further seeds are missing? */
bool aira__standing_contends(const aira__tree *);

/* Where results are. The strings of *out live until the next call. */
typedef bool (*aira__score_fn)(void *context, const char *hash, uint64_t seed, aira__purpose, aira__result *out);
/* Gives the contender its further seeds, if all of them are known; *complete tells. If one failed, the node is void:
   buggy, and its note says which. */
aira_status aira__standing_fill(aira__tree *, aira__score_fn, void *context, bool *complete, aira_error *);
/* The outcome of a recorded node's first training, or, where there is none (false), what is recorded. Strings are those
   of recorded or of the result. */
bool aira__standing_first(const aira__tree *, const aira__outcome *recorded, aira__score_fn, void *context,
                          aira__outcome *out);
/* Takes over what is recorded of a finished node whose further seeds cannot be found. */
void aira__standing_keep(aira__tree *, uint32_t idx, const aira__outcome *recorded, uint32_t n_seeds, double spread,
                         uint32_t standing);

/* Called by aira__tree_commit for a good node with all seeds: compares it with the incumbent (-1: none), sets its
   standing and tree->test. */
void aira__standing_judge(aira__tree *, uint32_t idx, int64_t incumbent);

#endif
