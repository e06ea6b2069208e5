/* plugins/scaffolds/greedy/greedy.c - greedy tree search: a few drafts, then repair what broke, else improve the best.
 *
 * One decision, in this order:
 *   1. fewer drafts than `drafts` (buggy and pending ones count): draft;
 *   2. with probability debug_prob: one of the buggy leaves whose debug_depth <= the limit, uniformly: debug;
 *   3. no good node: draft again;
 *   4. improve the single best node of the journal (ties: the earliest).
 * There is no artificial root: drafts have no parent and cost exactly one node each.
 *
 * Pending nodes (parallel > 1) never make it guess. A pending child makes its parent no leaf. Rules 3 and 4 wait while
 * a draft is pending, since that draft may become the best node; a pending improvement does not hold others up, which
 * is what running in parallel means. With parallel: 1 nothing is ever pending and the rules above are the whole story.
 *
 * Pure: every draw comes from the view, so the same journal always gives the same action.
 */
#include <math.h>

#include "aira/scaffold.h"

typedef struct greedy {
    int32_t preset;
    int64_t drafts, debug_depth;
    double debug_prob;
} greedy;

typedef struct preset_values {
    int64_t drafts, debug_depth;
    double debug_prob;
} preset_values;

static const char *const preset_names[] = {"aira", "aide", NULL};
static const preset_values presets[] = {{5, 20, 1.0}, {5, 3, 0.5}};

static const aira_field fields[] = {
    AIRA_F_CHOICE(greedy, preset, preset_names, 0, "where unset keys come from: aira (5, 1.0, 20) or aide (5, 0.5, 3)"),
    AIRA_F_INT(greedy, drafts, 0, 0, 1000000, "drafts made first; 0: the preset's"),
    AIRA_F_REAL(greedy, debug_prob, -1, -1, 1, "chance of repairing a buggy leaf before improving; -1: the preset's"),
    AIRA_F_INT(greedy, debug_depth, -1, -1, 1000000,
               "a leaf after more repairs in a row than this is given up; -1: the "
               "preset's"),
};
static const aira_schema schema = AIRA_SCHEMA(greedy, fields);

static preset_values values_of(const greedy *self) {
    preset_values v = presets[self->preset == 1];
    if (self->drafts > 0) v.drafts = self->drafts;
    if (self->debug_prob >= 0) v.debug_prob = self->debug_prob;
    if (self->debug_depth >= 0) v.debug_depth = self->debug_depth;
    return v;
}

static void act(aira_action *action, uint32_t operator_code, int64_t parent, const char *reason) {
    action->act = AIRA_ACT_ASK;
    action->operator_code = operator_code;
    action->parent = parent;
    action->other_parent = -1;
    action->reason = reason;
}

static int debuggable(const aira_node_view *node, int64_t depth) {
    return node->status == AIRA_NODE_BUGGY && node->n_children == 0 && (int64_t)node->debug_depth <= depth;
}

/* The leaf to repair, or -1. */
static int64_t choose_leaf(const aira_journal_view *view, int64_t depth) {
    uint32_t n = 0, i;
    for (i = 0; i < view->n_nodes; i++) n += (uint32_t)debuggable(aira_view_node(view, i), depth);
    if (n == 0) return -1;
    uint32_t pick = (uint32_t)(view->draw(view, 1) * n);
    if (pick >= n) pick = n - 1;
    for (i = 0; i < view->n_nodes; i++)
        if (debuggable(aira_view_node(view, i), depth) && pick-- == 0) break;
    return i;
}

static int64_t best_node(const aira_journal_view *view) {
    int64_t best = -1;
    double score = 0;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(view, i);
        if (node->status != AIRA_NODE_GOOD || isnan(node->score)) continue;
        if (best < 0 || (view->higher_is_better ? node->score > score : node->score < score)) {
            best = i;
            score = node->score;
        }
    }
    return best;
}

static aira_status next(void *config, const aira_journal_view *view, aira_action *action) {
    preset_values v = values_of(config);
    int64_t drafts = 0;
    int pending_draft = 0;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(view, i);
        if (node->operator_code != AIRA_OPERATOR_DRAFT) continue;
        drafts++;
        pending_draft |= node->status == AIRA_NODE_PENDING;
    }
    if (drafts < v.drafts) {
        act(action, AIRA_OPERATOR_DRAFT, -1, "fewer drafts than asked for");
        return AIRA_OK;
    }
    if (view->draw(view, 0) < v.debug_prob) {
        int64_t leaf = choose_leaf(view, v.debug_depth);
        if (leaf >= 0) {
            act(action, AIRA_OPERATOR_DEBUG, leaf, "a buggy leaf may be repaired");
            return AIRA_OK;
        }
    }
    if (pending_draft) {
        action->act = AIRA_ACT_WAIT;
        action->reason = "a draft is pending";
        return AIRA_OK;
    }
    int64_t best = best_node(view);
    if (best >= 0) {
        act(action, AIRA_OPERATOR_IMPROVE, best, "the best node so far");
        return AIRA_OK;
    }
    for (uint32_t i = 0; i < view->n_nodes; i++)
        if (aira_view_node(view, i)->status == AIRA_NODE_PENDING) {
            action->act = AIRA_ACT_WAIT;
            action->reason = "nothing good yet, and a repair is pending";
            return AIRA_OK;
        }
    act(action, AIRA_OPERATOR_DRAFT, -1, "no good node");
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), 0, next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "greedy", "1.0.0",
                                                          "Greedy tree search: draft, debug, improve the best",
                                                          &schema)};
AIRA_MANIFEST("scaffold", "greedy", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
