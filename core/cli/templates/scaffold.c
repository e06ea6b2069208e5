/* @NAME@.c - a scaffold: some drafts, then improvements of the best node so far.
 *
 * next() sees the journal and names the next action; it keeps nothing between calls. Nodes in flight are pending: they
 * count, but have no score yet.
 *
 * Build it: cc -O2 -fPIC -shared -fvisibility=hidden -I @INCLUDE@ @NAME@.c -lm -o @NAME@.so
 * Check it: aira check ./@NAME@.so
 */
#include "aira/scaffold.h"

typedef struct config {
    int64_t drafts, nodes;
} config;

static int64_t best_node(const aira_journal_view *view) {
    int64_t best = -1;
    double top = 0;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(view, i);
        if (node->status != AIRA_NODE_GOOD) continue;
        double score = view->higher_is_better ? node->score : -node->score;
        if (best >= 0 && score <= top) continue;
        best = i;
        top = score;
    }
    return best;
}

static aira_status next(void *self, const aira_journal_view *view, aira_action *action) {
    const config *c = self;
    action->parent = action->other_parent = -1;
    if ((int64_t)view->n_nodes >= c->nodes) {
        action->act = AIRA_ACT_STOP;
        action->reason = "all nodes were made";
        return AIRA_OK;
    }
    int64_t best = best_node(view);
    action->act = AIRA_ACT_ASK;
    if ((int64_t)view->n_nodes < c->drafts || best < 0) {
        action->operator_code = AIRA_OPERATOR_DRAFT;
        action->reason = best < 0 ? "nothing to improve yet" : "more drafts are wanted";
    } else {
        action->operator_code = AIRA_OPERATOR_IMPROVE;
        action->parent = best;
        action->reason = "the best node so far";
    }
    return AIRA_OK;
}

static const aira_field fields[] = {
    AIRA_F_INT(config, drafts, 4, 1, 1000000, "nodes that are drafted first"),
    AIRA_F_INT(config, nodes, 1000, 1, 1000000, "nodes after which the search is complete"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_scaffold table = {.size = sizeof table, .next = next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "@NAME@", "0.1.0",
                                                          "drafts, then improvements of the best node", &schema)};
AIRA_MANIFEST("scaffold", "@NAME@", "0.1.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
