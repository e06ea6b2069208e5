/* plugins/scaffolds/one_shot/one_shot.c - one draft and nothing else: what an agent does without search.
 *
 * Run it with many seeds; every seed is a search of one node.
 */
#include "aira/scaffold.h"

typedef struct one_shot {
    int64_t drafts;
} one_shot;

static const aira_field fields[] = {
    AIRA_F_INT(one_shot, drafts, 1, 1, 1000000, "independent drafts; none sees a score"),
};
static const aira_schema schema = AIRA_SCHEMA(one_shot, fields);

static aira_status next(void *config, const aira_journal_view *view, aira_action *action) {
    const one_shot *self = config;
    if ((int64_t)view->n_nodes >= self->drafts) {
        action->act = AIRA_ACT_STOP;
        action->reason = "every draft was made";
        return AIRA_OK;
    }
    action->act = AIRA_ACT_ASK;
    action->operator_code = AIRA_OPERATOR_DRAFT;
    action->parent = action->other_parent = -1;
    action->reason = "one shot";
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), 0, next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "one_shot", "1.0.0",
                                                          "One draft per search, never improved", &schema)};
AIRA_MANIFEST("scaffold", "one_shot", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
