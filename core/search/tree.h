/* core/search/tree.h - the logical state of one search, and the only place where it advances.
 *
 * A search is a sequence of nodes. `committed` of them, always a prefix, have ended as far as the search knows; the
 * others are pending, even if their results have long arrived. Node i is decided from exactly that view, and a result
 * is committed only when the next decision needs it: when `parallel` nodes are pending, when the scaffold waits, or
 * when it has stopped. So the tree is a function of the answers and the scores alone: speed, number of workers, kills
 * and resumptions cannot change it.
 *
 * Pure: no clock, no file, no thread. Running and replaying use the same functions.
 *
 * What a scaffold sees of the nodes is kept in the tree and changed as they are added and committed, duplicates are
 * found by a table of hashes, counts and best nodes are carried along: a step costs what the scaffold costs.
 */
#ifndef AIRA_SEARCH_TREE_H
#define AIRA_SEARCH_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "aira/scaffold.h"
#include "core/base/error.h"

typedef struct aira__tree_node {
    uint32_t operator_code;
    int64_t parent, other_parent;         /* -1 */
    bool finished;                        /* its outcome is known; it may not be committed yet */
    uint32_t status;                      /* AIRA_NODE_x; the outcome's once finished */
    char hash[65];                        /* "" if no answer parsed */
    char *architecture;                   /* NULL as hash */
    char *note, *cause;                   /* NULL or what went wrong */
    double search_score, selection_score; /* NAN */
    int64_t duplicate_of;                 /* -1; known once committed */
    uint16_t *layers;                     /* token indices; NULL: not known, or of no interest */
    uint32_t n_seeds, standing;           /* as in aira_node_view; shown as they are when the node is committed */
    double spread;                        /* standard deviation of the search score over n_seeds; NAN */
    double *scores;                       /* search score of every seed where it has all, else NULL */
    bool kept;                            /* scores are means whose parts are not known */
    bool voided;                          /* it was a contender, and a further seed failed */
} aira__tree_node;

typedef struct aira__tree_test { /* of the last node that was committed with all seeds (standing.h) */
    int64_t against;             /* the incumbent; -1: it was the first */
    uint32_t number;             /* of the test within the search, from 1 */
    double gain, p, level, df;   /* gain on the further seeds, positive: better; NAN: no test was possible */
} aira__tree_test;

typedef struct aira__tree {
    aira__tree_node *nodes;
    uint32_t n, capacity, committed;
    uint64_t seed;
    uint32_t parallel; /* >= 1 */
    bool higher_is_better;
    const char *const *tokens; /* the caller's; may be NULL where no architecture is ever named */
    uint32_t n_tokens, n_layers;
    uint32_t seeds; /* that a contender is trained on; 1: there are no contenders */
    uint32_t n_searches, n_tests;
    double alpha;
    aira__tree_test test;
    /* tree.c's own */
    aira_node_view *views; /* of nodes */
    uint16_t *room;        /* n_layers, for a proposal */
    uint32_t *buckets;     /* by hash: 1 + the first committed node that has it, or 0 */
    uint32_t n_buckets;    /* a power of two */
    uint32_t last_new;     /* 1 + the last committed node that brought a new candidate */
    int64_t n_trainings, best[2];
} aira__tree;

void aira__tree_init(aira__tree *, uint64_t seed, uint32_t parallel, bool higher_is_better);
/* What architectures look like; before the first node. A tree that is not told shows no layers to its scaffold. */
aira_status aira__tree_shape(aira__tree *, uint32_t n_layers, const char *const *tokens, uint32_t n_tokens,
                             aira_error *);
/* Contenders need that many seeds; alpha is shared by that many searches (standing.h). Before the first node; a tree
   that is not told has no contenders. */
void aira__tree_confirm(aira__tree *, uint32_t seeds, double alpha, uint32_t n_searches);
void aira__tree_release(aira__tree *);

typedef enum {
    AIRA__STEP_ASK,     /* action says for what; call aira__tree_add */
    AIRA__STEP_PROPOSE, /* the same, and action.layers is the candidate; call aira__tree_add and aira__tree_propose */
    AIRA__STEP_COMMIT,  /* nothing can be decided before node `committed` ends */
    AIRA__STEP_STOP,    /* complete, or a quota is used up; commit what is pending, in order */
} aira__step_kind;
typedef struct aira__step {
    aira__step_kind kind;
    aira_action action; /* its layers are the tree's, until the next step */
    bool quota;         /* STOP because of a quota; more of it would let the search go on */
} aira__step;
#define AIRA__BARREN_NODES 100
/* max_nodes, max_evaluations: the search's share of the budget; negative: none. A node is asked for only where it and
   those pending could all become contenders within the evaluations. Where nothing limits the nodes, a
   search whose last AIRA__BARREN_NODES ones brought no new candidate stops: the space is exhausted, or the agent is
   broken. */
aira_status aira__tree_step(const aira__tree *, const aira_scaffold *, void *self, int64_t max_nodes,
                            int64_t max_evaluations, aira__step *, aira_error *);

/* Index of the new pending node, or -1 when out of memory. */
int64_t aira__tree_add(aira__tree *, uint32_t operator_code, int64_t parent, int64_t other_parent);
/* The candidate of a pending node whose scaffold proposed it: copies the layers, which the scaffold sees at once. */
aira_status aira__tree_propose(aira__tree *, uint32_t idx, const uint16_t *layers, aira_error *);
/* Outcome of a pending node: copies the strings; a good one has one seed and no standing. An architecture that does not
 * fit the shape: AIRA_E_CORRUPT. */
typedef struct aira__outcome {
    uint32_t status; /* AIRA_NODE_GOOD or BUGGY */
    const char *hash, *architecture, *note, *cause;
    double search_score, selection_score;
} aira__outcome;
aira_status aira__tree_finish(aira__tree *, uint32_t idx, const aira__outcome *, aira_error *);
/* Commits the next node, which must be finished and not wait for further seeds (standing.h). A duplicate takes over
   all that is known of its original. */
const aira__tree_node *aira__tree_commit(aira__tree *);

/* The first committed node of this candidate, -1: none. */
int64_t aira__tree_first(const aira__tree *, const char *hash);
/* Trainings of committed nodes: one per distinct candidate, and the further ones of contenders. */
int64_t aira__tree_evaluations(const aira__tree *);
/* Best committed good node by search score, or by selection score among those with all seeds; ties: the earliest; -1 if
   there is none. */
int64_t aira__tree_best(const aira__tree *, bool selection);
const char *aira__operator_name(uint32_t operator_code); /* "draft", ...; "?" if unknown */
int64_t aira__operator_code(const char *name);           /* -1 if unknown */
const char *aira__status_name(uint32_t status);          /* "pending", "good", "buggy" */

#endif
