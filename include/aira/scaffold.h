/* aira/scaffold.h - the search policy: a pure function from journal to next action.
 *
 * It owns no loop and keeps no state, so resume, replay, budgets and forking live once, in the core. Most scaffolds ask
 * the search's agent for nodes; one that knows by itself what to try next (random, exhaustive, Bayesian) proposes
 * architectures, and its searches name no agent.
 */
#ifndef AIRA_SCAFFOLD_H
#define AIRA_SCAFFOLD_H

#include "plugin.h"

/* status of a node */
#define AIRA_NODE_PENDING 0u /* asked for, not finished: score unknown */
#define AIRA_NODE_GOOD 1u
#define AIRA_NODE_BUGGY 2u /* no parsable answer, failed check or failed evaluation */

/* operators; names in aira_operator_names of the host are the same words in lower case */
#define AIRA_OPERATOR_DRAFT 0u
#define AIRA_OPERATOR_IMPROVE 1u
#define AIRA_OPERATOR_DEBUG 2u
#define AIRA_OPERATOR_CROSSOVER 3u

typedef struct aira_node_view {
    uint32_t size, status;
    uint32_t operator_code;
    uint32_t n_children;  /* pending ones included */
    int64_t parent;       /* -1: the root */
    int64_t other_parent; /* -1 */
    double score;         /* search score; NAN unless good */
    uint32_t debug_depth; /* consecutive debug ancestors, this node included */
    uint32_t duplicate;   /* 1: same candidate as an earlier node; its score was taken from the journal */
    /* view.n_layers token indices, or NULL while they are not known (no answer yet, or none that parsed). A proposed
       node's are known while it is pending. */
    const uint16_t *layers;
    uint32_t n_seeds;  /* trainings that score is the mean of; 0 unless good */
    uint32_t standing; /* AIRA_STANDING_x */
} aira_node_view;

/* standing of a good node */
#define AIRA_STANDING_NONE 0u        /* never the best so far */
#define AIRA_STANDING_PROVISIONAL 1u /* was the best when it ended, by a margin that noise may explain */
#define AIRA_STANDING_CONFIRMED 2u   /* was better than the best before it, beyond noise */

typedef struct aira_journal_view {
    uint32_t size, higher_is_better;
    uint32_t n_nodes;
    uint32_t node_stride;        /* bytes from node to node: use aira_view_node */
    const aira_node_view *nodes; /* in logical order; index = idx */
    uint64_t seed;               /* of the search */
    /* Uniform [0,1): hash(seed, n_nodes, which). Draws of one decision differ in which. */
    double (*draw)(const struct aira_journal_view *, uint32_t which);
    uint32_t n_layers, n_tokens; /* of an architecture; of the alphabet */
} aira_journal_view;

static inline const aira_node_view *aira_view_node(const aira_journal_view *v, uint32_t i) {
    return (const aira_node_view *)(const void *)((const char *)v->nodes + (uint64_t)i * v->node_stride);
}

#define AIRA_ACT_ASK 0u     /* ask the agent for a node */
#define AIRA_ACT_WAIT 1u    /* nothing to do before a pending node ends */
#define AIRA_ACT_STOP 2u    /* the search is complete */
#define AIRA_ACT_PROPOSE 3u /* this architecture: layers is filled. operator_code and parents as for ASK */
typedef struct aira_action {
    uint32_t size, act;
    uint32_t operator_code;
    uint32_t reserved;
    int64_t parent, other_parent; /* -1: none */
    const char *reason;           /* constant text for the journal */
    uint16_t *layers;             /* the host's room for view.n_layers token indices; read after PROPOSE */
} aira_action;

/* flags */
#define AIRA_SCAFFOLD_PROPOSES 1u /* never answers ASK, so its searches have no agent */

typedef struct aira_scaffold {
    uint32_t size, flags;
    /* [any thread], pure */
    aira_status (*next)(void *self, const aira_journal_view *view, aira_action *action);
} aira_scaffold;

#endif
