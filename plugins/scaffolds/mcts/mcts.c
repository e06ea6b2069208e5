/* plugins/scaffolds/mcts/mcts.c - Monte-Carlo tree search without rollouts: the value of a node is its score.
 *
 * Below an artificial root hang the drafts, below a node its improvements and repairs. One decision:
 *   1. a node that broke is repaired, up to `debug_depth` times in a row, before anything else;
 *   2. an expansion that was begun goes on until its node has a multiple of `children` new ones (draft at the root,
 *      improve elsewhere);
 *   3. from the root follow the child of highest UCT to a node that is to be expanded, and begin there.
 * UCT = mean of the values at and below the child, scaled to 0..1 by the lowest and highest seen, + c sqrt(ln N / n),
 * where n and N count the values at and below the child and its parent. Ties: the earliest.
 *
 * The presets differ in two points beside c. `aira` (children 5, c 0.25) expands a node without children, by all of
 * them at once; what broke for good counts for nothing. `textbook` (children 3, c 1.414) expands, by one, the first
 * node on the way that has fewer than `children`; what broke for good counts as a visit of the lowest value. A child
 * without any value at or below it is avoided (UCT -1e8 in the reference): never chosen beside one that has. Nor is a
 * node improved that does not work: where all its children broke for good, their parent gets more.
 *
 * Pure: visits and values are counted anew from the journal. Rule 3 waits while any node is pending.
 */
#include <math.h>

#include "aira/scaffold.h"

enum { AIRA, TEXTBOOK };

typedef struct mcts {
    int32_t preset;
    int64_t children, debug_depth;
    double c;
} mcts;

static const char *const preset_names[] = {"aira", "textbook", NULL};

static const aira_field fields[] = {
    AIRA_F_CHOICE(mcts, preset, preset_names, AIRA,
                  "aira, or textbook: where unset keys come from, and how nodes are expanded"),
    AIRA_F_INT(mcts, children, 0, 0, 1000000, "new nodes below a node that is expanded; 0: the preset's"),
    AIRA_F_REAL(mcts, c, -1, -1, 1e6, "weight of exploring against the mean value in 0..1; -1: the preset's"),
    AIRA_F_INT(mcts, debug_depth, 20, 0, 1000000, "repairs in a row of a node that broke; 0: none"),
};
static const aira_schema schema = AIRA_SCHEMA(mcts, fields);

typedef struct instance {
    const aira_host *host;
    mcts set; /* without "the preset's" */
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "scaffold mcts: out of memory");
    mcts *s = &made->set;
    *s = *(const mcts *)config;
    made->host = host;
    if (s->children == 0) s->children = s->preset == TEXTBOOK ? 3 : 5;
    if (s->c < 0) s->c = s->preset == TEXTBOOK ? 1.4142135623730951 : 0.25;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

typedef struct branch { /* a node, or the root */
    double sum;         /* of the values at and below it */
    int64_t n;          /* how many */
    int64_t good;       /* nodes that work, at and below it */
    int64_t new_ones;   /* drafts or improvements directly below it */
    int64_t first;      /* child, -1 */
    int64_t next;       /* younger sibling, -1 */
    int64_t last;       /* child, -1 */
} branch;

typedef struct forest {
    const mcts *set;
    const aira_journal_view *view;
    branch *of; /* one per node, then the root */
    double low, high;
    int64_t pending;
} forest;

static branch *above(const forest *f, const aira_node_view *node) {
    return &f->of[node->parent >= 0 ? node->parent : (int64_t)f->view->n_nodes];
}

/* A good node's score, the higher the better. */
static double value_of(const forest *f, uint32_t i) {
    const aira_node_view *node = aira_view_node(f->view, i);
    if (node->status != AIRA_NODE_GOOD) return NAN;
    return f->view->higher_is_better ? node->score : -node->score;
}

static void grow(forest *f) {
    uint32_t n = f->view->n_nodes;
    f->low = INFINITY;
    f->high = -INFINITY;
    for (uint32_t i = 0; i <= n; i++) f->of[i] = (branch){.first = -1, .next = -1, .last = -1};
    for (uint32_t i = 0; i < n; i++) {
        const aira_node_view *node = aira_view_node(f->view, i);
        branch *parent = above(f, node);
        double value = value_of(f, i);
        *(parent->last >= 0 ? &f->of[parent->last].next : &parent->first) = i;
        parent->last = i;
        parent->new_ones += node->operator_code != AIRA_OPERATOR_DEBUG;
        f->pending += node->status == AIRA_NODE_PENDING;
        if (isnan(value)) continue;
        f->low = fmin(f->low, value);
        f->high = fmax(f->high, value);
        f->of[i].sum = value;
        f->of[i].n = f->of[i].good = 1;
    }
    for (uint32_t i = n; i-- > 0;) { /* children are younger than parents */
        const aira_node_view *node = aira_view_node(f->view, i);
        branch *here = &f->of[i], *parent = above(f, node);
        if (f->set->preset == TEXTBOOK && node->status == AIRA_NODE_BUGGY && here->first < 0) {
            here->sum = isfinite(f->low) ? f->low : 0;
            here->n = 1;
        }
        parent->sum += here->sum;
        parent->n += here->n;
        parent->good += here->good;
    }
}

static double uct(const forest *f, const branch *parent, const branch *child) {
    double n = (double)child->n, range = f->high > f->low ? f->high - f->low : 1;
    return (child->sum / n - f->low) / range + f->set->c * sqrt(log((double)parent->n) / n);
}

/* The branch to expand: an index, or -1 for the root. */
static int64_t select_node(const forest *f) {
    int64_t at = -1;
    for (;;) {
        const branch *here = &f->of[at >= 0 ? at : (int64_t)f->view->n_nodes];
        int works = at < 0 || !isnan(value_of(f, (uint32_t)at));
        int64_t best = -1;
        double highest = 0;
        if (works && f->set->preset == TEXTBOOK && here->new_ones < f->set->children) return at;
        for (int64_t k = here->first; k >= 0; k = f->of[k].next) {
            double score = f->of[k].good ? uct(f, here, &f->of[k]) : 0;
            if (!f->of[k].good || (best >= 0 && score <= highest)) continue;
            best = k;
            highest = score;
        }
        if (best < 0) return at;
        at = best;
    }
}

static void expand(aira_action *action, int64_t at, const char *reason) {
    action->act = AIRA_ACT_ASK;
    action->operator_code = at < 0 ? AIRA_OPERATOR_DRAFT : AIRA_OPERATOR_IMPROVE;
    action->parent = at;
    action->other_parent = -1;
    action->reason = reason;
}

/* The node whose expansion is under way; -1: the root; -2: none is. */
static int64_t begun(const forest *f) {
    for (uint32_t i = f->view->n_nodes; i-- > 0;) {
        const aira_node_view *node = aira_view_node(f->view, i);
        if (node->operator_code == AIRA_OPERATOR_DEBUG) continue;
        return above(f, node)->new_ones % f->set->children ? node->parent : -2;
    }
    return -2;
}

static void decide(const forest *f, aira_action *action) {
    const aira_journal_view *view = f->view;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(view, i);
        if (node->status != AIRA_NODE_BUGGY || node->n_children || node->debug_depth >= f->set->debug_depth) continue;
        expand(action, i, "a broken node is repaired");
        action->operator_code = AIRA_OPERATOR_DEBUG;
        return;
    }
    int64_t at = f->set->preset == AIRA ? begun(f) : -2;
    if (at >= -1) {
        expand(action, at, "the expansion goes on");
    } else if (f->pending) {
        action->act = AIRA_ACT_WAIT;
        action->reason = "a value is missing";
    } else {
        expand(action, select_node(f), "the highest upper confidence bound");
    }
}

static aira_status next(void *self, const aira_journal_view *view, aira_action *action) {
    const instance *made = self;
    const aira_host *host = made->host;
    forest f = {.set = &made->set, .view = view};
    f.of = host->alloc(host, ((uint64_t)view->n_nodes + 1) * sizeof *f.of);
    if (!f.of) return host->fail(host, AIRA_E_MEMORY, "scaffold mcts: out of memory");
    grow(&f);
    decide(&f, action);
    host->release(host, f.of);
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), 0, next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "mcts", "1.0.0",
                                                          "Monte-Carlo tree search; values are scores", &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("scaffold", "mcts", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
