/* plugins/scaffolds/exhaustive/exhaustive.c - every architecture once, then stop: for spaces that can be known wholly.
 *
 * The k-th node gets the k-th architecture of the order: lexicographic in the task's order of tokens, or shuffled by
 * the search's seed (so that a search that is cut short has a fair sample). The shuffle is a Feistel network over the
 * next even number of bits, walked until it lands inside the space: no list is kept, however large the space.
 */
#include "../common/space.h"
#include "aira/rng.h"

typedef struct exhaustive {
    int32_t order;
    int64_t nodes;
} exhaustive;

enum { LEXICOGRAPHIC, SHUFFLED };
static const char *const orders[] = {"lexicographic", "shuffled", NULL};

static const aira_field fields[] = {
    AIRA_F_CHOICE(exhaustive, order, orders, LEXICOGRAPHIC, "lexicographic, or shuffled by the search's seed"),
    AIRA_F_INT(exhaustive, nodes, 0, 0, 1000000000, "stops after this many nodes; 0: at the end of the space"),
};
static const aira_schema schema = AIRA_SCHEMA(exhaustive, fields);

/* A permutation of 0 .. 2^(2 half) - 1. */
static uint64_t feistel(uint64_t key, uint32_t half, uint64_t x) {
    uint64_t mask = ((uint64_t)1 << half) - 1, left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < 12; round++) {
        uint32_t words[4];
        aira_philox(key, round, right, words);
        uint64_t mixed = left ^ (((uint64_t)words[0] << 32 | words[1]) & mask);
        left = right;
        right = mixed;
    }
    return left << half | right;
}

static uint64_t shuffled(const aira_journal_view *view, uint64_t size, uint64_t at) {
    uint64_t key = aira_key(view->seed, "exhaustive");
    uint32_t half = 1;
    while (half < 32 && (size - 1) >> (2 * half)) half++;
    do {
        at = feistel(key, half, at);
    } while (at >= size);
    return at;
}

static aira_status next(void *config, const aira_journal_view *view, aira_action *action) {
    const exhaustive *self = config;
    uint64_t size = space_size(view), at = view->n_nodes;
    action->act = AIRA_ACT_STOP;
    if (at >= size || (self->nodes > 0 && at >= (uint64_t)self->nodes)) {
        action->reason = at >= size ? "every architecture was tried" : "as many nodes as asked for";
        return AIRA_OK;
    }
    space_layers(view, self->order == SHUFFLED ? shuffled(view, size, at) : at, action->layers);
    action->act = AIRA_ACT_PROPOSE;
    action->operator_code = AIRA_OPERATOR_DRAFT;
    action->parent = action->other_parent = -1;
    action->reason = "the next architecture";
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), AIRA_SCAFFOLD_PROPOSES, next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "exhaustive", "1.0.0",
                                                          "Every architecture once; needs no agent", &schema)};
AIRA_MANIFEST("scaffold", "exhaustive", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
