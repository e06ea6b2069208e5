/* tests/unit/search_tree.c - the logical state of a search: what is decided must not depend on when results arrive. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/search/budget.h"
#include "core/search/tree.h"

/* Drafts three times, then improves or debugs what draw() says among the known nodes; waits when there are none. */
static aira_status next(void *self, const aira_journal_view *view, aira_action *action) {
    (void)self;
    uint32_t known = 0, drafts = 0;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        known += aira_view_node(view, i)->status != AIRA_NODE_PENDING;
        drafts += aira_view_node(view, i)->operator_code == AIRA_OPERATOR_DRAFT;
    }
    if (drafts < 3) {
        action->act = AIRA_ACT_ASK;
        return AIRA_OK;
    }
    if (known == 0) {
        action->act = AIRA_ACT_WAIT;
        return AIRA_OK;
    }
    action->act = AIRA_ACT_ASK;
    uint32_t pick = (uint32_t)(view->draw(view, 0) * known);
    const aira_node_view *node = aira_view_node(view, pick);
    action->operator_code = node->status == AIRA_NODE_BUGGY ? AIRA_OPERATOR_DEBUG : AIRA_OPERATOR_IMPROVE;
    action->parent = pick;
    return AIRA_OK;
}

static const aira_scaffold scaffold = {sizeof scaffold, 0, next};

/* Runs 40 nodes with results that arrive in an order drawn from `order`; what was decided, as text. */
static char *grow(uint32_t parallel, uint64_t order) {
    aira__tree tree;
    char *text = calloc(1, 1 << 16);
    aira_rng rng = aira_rng_make(order, 0);
    aira_error error = {0};
    aira__tree_init(&tree, 7, parallel, true);
    while (tree.committed < 40) {
        aira__step step;
        cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, 40, -1, &step, &error), AIRA_OK, "%s", error.text);
        if (step.kind == AIRA__STEP_ASK) {
            int64_t idx = aira__tree_add(&tree, step.action.operator_code, step.action.parent,
                                         step.action.other_parent);
            sprintf(text + strlen(text), "%lld:%u<-%lld ", (long long)idx, step.action.operator_code,
                    (long long)step.action.parent);
            continue;
        }
        if (step.kind == AIRA__STEP_COMMIT || step.kind == AIRA__STEP_STOP) {
            while (!tree.nodes[tree.committed].finished) { /* some pending node ends */
                uint32_t i = tree.committed + aira_rng_below(&rng, tree.n - tree.committed);
                char hash[32];
                snprintf(hash, sizeof hash, "h%u", i % 11);
                aira__outcome outcome = {
                    i % 5 == 3 ? AIRA_NODE_BUGGY : AIRA_NODE_GOOD, hash, "M", NULL, NULL, i % 11, i % 11};
                cr_assert_eq(aira__tree_finish(&tree, i, &outcome, &error), AIRA_OK);
            }
            const aira__tree_node *node = aira__tree_commit(&tree);
            sprintf(text + strlen(text), "[%lld] ", (long long)node->duplicate_of);
        }
    }
    cr_assert_eq(aira__tree_evaluations(&tree), 11);
    cr_assert_eq(aira__tree_best(&tree, true), 10);
    aira__tree_release(&tree);
    return text;
}

Test(tree, does_not_depend_on_the_order_of_results) {
    for (uint32_t parallel = 1; parallel <= 5; parallel++) {
        char *first = grow(parallel, 1);
        for (uint64_t order = 2; order < 20; order++) {
            char *other = grow(parallel, order);
            cr_assert_str_eq(first, other, "parallel %u, order %llu", parallel, (unsigned long long)order);
            free(other);
        }
        free(first);
    }
}

Test(tree, shows_later_nodes_as_pending) {
    aira__tree tree;
    aira_error error = {0};
    aira__step step;
    aira__tree_init(&tree, 1, 2, true);
    for (int i = 0; i < 2; i++) cr_assert_eq(aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1), i);
    aira__outcome good = {AIRA_NODE_GOOD, "h", "M", NULL, NULL, 1, 1};
    cr_assert_eq(aira__tree_finish(&tree, 1, &good, &error), AIRA_OK);
    cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, -1, -1, &step, &error), AIRA_OK);
    cr_assert_eq(step.kind, AIRA__STEP_COMMIT, "two are pending, so node 0 must end first though node 1 has");
    aira__tree_release(&tree);
}

static aira_action forced;
static aira_status forced_next(void *self, const aira_journal_view *view, aira_action *action) {
    (void)self;
    (void)view;
    uint32_t size = action->size;
    *action = forced;
    action->size = size;
    return AIRA_OK;
}

Test(tree, refuses_what_a_scaffold_may_not_do) {
    static const aira_scaffold bad = {sizeof bad, 0, forced_next};
    static const struct {
        aira_action action;
        const char *words;
    } cases[] = {
        {{.act = 9}, "unknown action"},
        {{.act = AIRA_ACT_ASK, .operator_code = 99, .parent = 0}, "unknown operator"},
        {{.act = AIRA_ACT_ASK, .operator_code = AIRA_OPERATOR_IMPROVE, .parent = -1}, "no parent"},
        {{.act = AIRA_ACT_ASK, .operator_code = AIRA_OPERATOR_IMPROVE, .parent = 1}, "still pending"},
        {{.act = AIRA_ACT_ASK, .operator_code = AIRA_OPERATOR_DEBUG, .parent = 7}, "does not exist"},
        {{.act = AIRA_ACT_ASK, .operator_code = AIRA_OPERATOR_CROSSOVER, .parent = 0, .other_parent = -1}, "no parent"},
    };
    aira__tree tree;
    aira__step step;
    aira_error error = {0};
    aira__outcome good = {AIRA_NODE_GOOD, "h", "M", NULL, NULL, 1, 1};
    aira__tree_init(&tree, 1, 4, true);
    aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1);
    forced = (aira_action){.act = AIRA_ACT_WAIT};
    cr_assert_eq(aira__tree_step(&tree, &bad, NULL, -1, -1, &step, &error), AIRA_OK);
    cr_assert_eq(aira__tree_finish(&tree, 0, &good, &error), AIRA_OK);
    aira__tree_commit(&tree);
    cr_assert_neq(aira__tree_step(&tree, &bad, NULL, -1, -1, &step, &error), AIRA_OK, "waiting for nothing");
    aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forced = cases[i].action;
        cr_assert_neq(aira__tree_step(&tree, &bad, NULL, -1, -1, &step, &error), AIRA_OK, "%zu", i);
        cr_assert(strstr(error.text, cases[i].words), "%zu: %s", i, error.text);
    }
    aira__tree_release(&tree);
}

Test(tree, quotas) {
    aira__tree tree;
    aira__step step;
    aira_error error = {0};
    aira__outcome good = {AIRA_NODE_GOOD, "h", "M", NULL, NULL, 1, 1};
    aira__tree_init(&tree, 1, 4, true);
    aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1);
    cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, 1, -1, &step, &error), AIRA_OK);
    cr_assert(step.kind == AIRA__STEP_STOP && step.quota && step.action.reason);
    cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, -1, 1, &step, &error), AIRA_OK);
    cr_assert_eq(step.kind, AIRA__STEP_COMMIT, "the pending node may turn out to be free");
    aira__tree_finish(&tree, 0, &good, &error);
    aira__tree_commit(&tree);
    cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, -1, 1, &step, &error), AIRA_OK);
    cr_assert(step.kind == AIRA__STEP_STOP && step.quota);
    cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, -1, 2, &step, &error), AIRA_OK);
    cr_assert_eq(step.kind, AIRA__STEP_ASK);
    aira__tree_release(&tree);
}

Test(tree, stops_when_nothing_new_comes) {
    aira__tree tree;
    aira__step step = {.kind = AIRA__STEP_ASK};
    aira_error error = {0};
    aira__outcome same = {AIRA_NODE_GOOD, "h", "M", NULL, NULL, 1, 1};
    aira__tree_init(&tree, 1, 1, true);
    while (step.kind != AIRA__STEP_STOP && tree.n < 1000) {
        cr_assert_eq(aira__tree_step(&tree, &scaffold, NULL, -1, 5, &step, &error), AIRA_OK);
        if (step.kind == AIRA__STEP_ASK)
            aira__tree_add(&tree, step.action.operator_code, step.action.parent, step.action.other_parent);
        if (step.kind != AIRA__STEP_COMMIT) continue;
        cr_assert_eq(aira__tree_finish(&tree, tree.committed, &same, &error), AIRA_OK);
        aira__tree_commit(&tree);
    }
    cr_assert_eq(tree.n, AIRA__BARREN_NODES + 1);
    cr_assert_not(step.quota);
    aira__tree_release(&tree);
}

Test(budget, shares_add_up) {
    int64_t share[7];
    for (int64_t total = 0; total < 30; total++)
        for (int n = 1; n <= 7; n++) {
            int64_t sum = 0;
            aira__budget_share(total, n, share);
            for (int i = 0; i < n; i++) {
                sum += share[i];
                cr_assert(share[i] == total / n || share[i] == total / n + 1);
            }
            cr_assert_eq(sum, total);
        }
    aira__budget_share(-1, 3, share);
    cr_assert(share[0] == -1 && share[2] == -1);
}

Test(budget, reads_and_reaches) {
    static const char *const text = "{candidates: 2K, wall: 2m, money: 20 USD, flops: 4e19, tokens: 1.5M}";
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "b", d);
    aira__budget b;
    aira__budget_read(aira__document_root(document), &b, d);
    cr_assert_eq(aira__diagnostics_count(d), 0, "%s", aira__diagnostics_text(d));
    cr_assert(b.candidates == 2000 && b.evaluations == -1 && b.wall == 120 && b.money_usd == 20 && b.flops == 4e19 &&
              b.tokens == 1500000 && b.device_seconds < 0);
    json_t *object = aira__budget_json(&b);
    aira__budget back;
    aira__budget_from_json(object, &back);
    cr_assert_eq(memcmp(&b, &back, sizeof b), 0);
    json_decref(object);
    char sentence[200];
    aira__usage u = {
        .candidates = 5000, .seconds = 119, .device_seconds = NAN, .flops = NAN, .tokens = NAN, .money_usd = NAN};
    cr_assert_not(aira__budget_reached(&b, &u, sentence, sizeof sentence), "candidates are shares, not a stop");
    u.seconds = 120;
    cr_assert(aira__budget_reached(&b, &u, sentence, sizeof sentence));
    cr_assert(strstr(sentence, "wall time"), "%s", sentence);
    u.seconds = 0;
    u.money_usd = 20.5;
    cr_assert(aira__budget_reached(&b, &u, sentence, sizeof sentence));
    cr_assert(strstr(sentence, "money"), "%s", sentence);
    u.money_usd = NAN;
    cr_assert_not(aira__budget_reached(&b, &u, sentence, sizeof sentence));
    u.unpriced = 1;
    cr_assert(aira__budget_reached(&b, &u, sentence, sizeof sentence), "a limit that cannot be kept is no limit");
    cr_assert(strstr(sentence, "cannot be kept"), "%s", sentence);
    aira__document_destroy(document);
    document = aira__document_parse("{candidates: 0, wall: 0s, money: 3 EUR, walll: 1}", "b", d);
    aira__budget_read(aira__document_root(document), &b, d);
    cr_assert_eq(aira__diagnostics_count(d), 4, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

/* ---- proposals ---- */

static const uint16_t *to_propose;
static aira_action said;
static uint32_t seen_layers; /* sum over nodes of what the view shows of their layers, -1 as 99 */

/* Proposes to_propose (as many as it may), and looks at what it is shown. */
static aira_status propose_next(void *self, const aira_journal_view *view, aira_action *action) {
    (void)self;
    seen_layers = 0;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(view, i);
        seen_layers = seen_layers * 1000 + (node->layers ? node->layers[0] * 10u + node->layers[1] : 999u);
    }
    cr_assert(view->n_layers == 2 && view->n_tokens == 3);
    *action = (aira_action){.size = action->size,
                            .act = said.act,
                            .operator_code = said.operator_code,
                            .parent = said.parent,
                            .other_parent = said.other_parent,
                            .layers = action->layers};
    for (int i = 0; to_propose && i < 2; i++) action->layers[i] = to_propose[i];
    return AIRA_OK;
}

static const char *const alphabet[] = {"mA", "M", "Mb"};

Test(tree, shows_layers_of_proposals_at_once_and_of_answers_when_committed) {
    static const aira_scaffold proposing = {sizeof proposing, 0, propose_next};
    static const uint16_t layers[] = {2, 1};
    aira__tree tree;
    aira__step step;
    aira_error error = {0};
    aira__tree_init(&tree, 1, 3, true);
    cr_assert_eq(aira__tree_shape(&tree, 2, alphabet, 3, &error), AIRA_OK);
    to_propose = layers;
    said = (aira_action){.act = AIRA_ACT_PROPOSE, .parent = -1, .other_parent = -1};
    cr_assert_eq(aira__tree_step(&tree, &proposing, NULL, -1, -1, &step, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(step.kind, AIRA__STEP_PROPOSE);
    cr_assert_eq(memcmp(step.action.layers, layers, sizeof layers), 0);
    cr_assert_eq(aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1), 0);
    cr_assert_eq(aira__tree_propose(&tree, 0, step.action.layers, &error), AIRA_OK);
    cr_assert_eq(aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1), 1);
    aira__outcome good = {AIRA_NODE_GOOD, "h", "M mA", NULL, NULL, 1, 1};
    cr_assert_eq(aira__tree_finish(&tree, 1, &good, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__tree_step(&tree, &proposing, NULL, -1, -1, &step, &error), AIRA_OK);
    cr_assert_eq(seen_layers, 21999u, "a finished answer is not shown before it is committed");
    aira__outcome first = {AIRA_NODE_GOOD, "g", "Mb M", NULL, NULL, 1, 1};
    cr_assert_eq(aira__tree_finish(&tree, 0, &first, &error), AIRA_OK);
    aira__tree_commit(&tree);
    aira__tree_commit(&tree);
    cr_assert_eq(aira__tree_step(&tree, &proposing, NULL, -1, -1, &step, &error), AIRA_OK);
    cr_assert_eq(seen_layers, 21010u);
    cr_assert(tree.nodes[1].n_seeds == 1 && tree.nodes[1].standing == AIRA_STANDING_NONE);
    aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1);
    good.architecture = "M mA M";
    cr_assert_eq(aira__tree_finish(&tree, 2, &good, &error), AIRA_E_CORRUPT, "three layers where there are two");
    aira__tree_release(&tree);
}

Test(tree, refuses_bad_proposals) {
    static const aira_scaffold proposing = {sizeof proposing, AIRA_SCAFFOLD_PROPOSES, propose_next};
    static const uint16_t wrong[] = {2, 3};
    aira__tree tree;
    aira__step step;
    aira_error error = {0};
    aira__tree_init(&tree, 1, 1, true);
    cr_assert_eq(aira__tree_shape(&tree, 2, alphabet, 3, &error), AIRA_OK);
    to_propose = wrong;
    said = (aira_action){.act = AIRA_ACT_PROPOSE, .parent = -1, .other_parent = -1};
    cr_assert_neq(aira__tree_step(&tree, &proposing, NULL, -1, -1, &step, &error), AIRA_OK);
    cr_assert(strstr(error.text, "proposed token 3 for layer 1"), "%s", error.text);
    to_propose = NULL;
    cr_assert_neq(aira__tree_step(&tree, &proposing, NULL, -1, -1, &step, &error), AIRA_OK, "nothing filled in");
    said.act = AIRA_ACT_ASK;
    cr_assert_neq(aira__tree_step(&tree, &proposing, NULL, -1, -1, &step, &error), AIRA_OK);
    cr_assert(strstr(error.text, "never does"), "%s", error.text);
    aira__tree_release(&tree);
}

Test(tree, counts_and_finds_duplicates_among_many) {
    aira__tree tree;
    aira_error error = {0};
    aira__tree_init(&tree, 1, 1, false);
    int64_t distinct = 0, best = -1, first[5000];
    for (int i = 0; i < 5000; i++) first[i] = -1;
    for (int i = 0; i < 5000; i++) {
        int which = (i * 7919) % 3001;
        char hash[32];
        snprintf(hash, sizeof hash, "%d", which);
        aira__outcome outcome = {i % 3 ? AIRA_NODE_GOOD : AIRA_NODE_BUGGY,
                                 i % 10 ? hash : NULL,
                                 NULL,
                                 NULL,
                                 NULL,
                                 (which * 31) % 997,
                                 which};
        cr_assert_eq(aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1), i);
        cr_assert_eq(aira__tree_finish(&tree, (uint32_t)i, &outcome, &error), AIRA_OK);
        cr_assert_eq(aira__tree_commit(&tree)->duplicate_of, i % 10 ? first[which] : -1, "node %d", i);
        if (i % 10 && first[which] < 0) {
            first[which] = i;
            distinct++;
        }
        if (i % 3 && (best < 0 || outcome.search_score < tree.nodes[best].search_score)) best = i;
        cr_assert_eq(aira__tree_evaluations(&tree), distinct);
        cr_assert_eq(aira__tree_best(&tree, false), best);
    }
    aira__tree_release(&tree);
}
