/* aira/scaffold.h - the search policy: a pure function from journal to next action.
 *
 * It owns no loop and keeps no state, so resume, replay, budgets and forking live once, in the core.
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
} aira_node_view;

typedef struct aira_journal_view {
    uint32_t size, higher_is_better;
    uint32_t n_nodes;
    uint32_t node_stride;        /* bytes from node to node: use aira_view_node */
    const aira_node_view *nodes; /* in logical order; index = idx */
    uint64_t seed;               /* of the search */
    /* Uniform [0,1): hash(seed, n_nodes, which). Draws of one decision differ in which. */
    double (*draw)(const struct aira_journal_view *, uint32_t which);
} aira_journal_view;

static inline const aira_node_view *aira_view_node(const aira_journal_view *v, uint32_t i) {
    return (const aira_node_view *)(const void *)((const char *)v->nodes + (uint64_t)i * v->node_stride);
}

#define AIRA_ACT_ASK 0u  /* ask the agent for a node */
#define AIRA_ACT_WAIT 1u /* nothing to do before a pending node ends */
#define AIRA_ACT_STOP 2u /* the search is complete */
typedef struct aira_action {
    uint32_t size, act;
    uint32_t operator_code;
    uint32_t reserved;
    int64_t parent, other_parent; /* -1: none */
    const char *reason;           /* constant text for the journal */
} aira_action;

typedef struct aira_scaffold {
    uint32_t size, flags;
    /* [any thread], pure */
    aira_status (*next)(void *self, const aira_journal_view *view, aira_action *action);
} aira_scaffold;

#endif
