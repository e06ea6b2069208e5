/* plugins/scaffolds/random/random.c - random search: every architecture that was not tried yet is equally likely.
 *
 * The baseline of baselines. It needs no agent, never repeats itself, looks at no score, and stops when the space is
 * exhausted. In spaces of more than 65,536 architectures a draw that was had before is drawn again, up to 1,000 times.
 *
 * Pure: every draw comes from the view.
 */
#include "../common/space.h"

typedef struct random_search {
    int64_t nodes;
} random_search;

static const aira_field fields[] = {
    AIRA_F_INT(random_search, nodes, 0, 0, 1000000000, "stops after this many nodes; 0: when the space is exhausted"),
};
static const aira_schema schema = AIRA_SCHEMA(random_search, fields);

static aira_status next(void *config, const aira_journal_view *view, aira_action *action) {
    const random_search *self = config;
    action->act = AIRA_ACT_STOP;
    if (self->nodes > 0 && (int64_t)view->n_nodes >= self->nodes) {
        action->reason = "as many nodes as asked for";
        return AIRA_OK;
    }
    if (!space_draw_free(view, 0, action->layers) && space_size(view) <= SPACE_LISTED) {
        action->reason = "every architecture was tried";
        return AIRA_OK;
    }
    action->act = AIRA_ACT_PROPOSE;
    action->operator_code = AIRA_OPERATOR_DRAFT;
    action->parent = action->other_parent = -1;
    action->reason = "drawn at random";
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), AIRA_SCAFFOLD_PROPOSES, next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "random", "1.0.0",
                                                          "Random search without repetition; needs no agent", &schema)};
AIRA_MANIFEST("scaffold", "random", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
