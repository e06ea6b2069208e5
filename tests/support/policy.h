/* tests/support/policy.h - journals written by hand, and what a scaffold decides from them.
 *
 * A journal is text, one word per node: operator, parent, outcome.
 *     d=0.3        a draft that scored 0.3
 *     i0=x         an improvement of node 0 that broke
 *     f1=?         a repair ("fix") of node 1 that is pending
 *     c0,2=0.5     a crossover of nodes 0 and 2
 *     f<=x         parent `<`: the node before; 20f<=x is twenty of them, one below the other
 * What was decided is text too: "draft", "improve 3", "debug 1", "cross 0 2", "wait", "stop".
 */
#ifndef AIRA_TESTS_SUPPORT_POLICY_H
#define AIRA_TESTS_SUPPORT_POLICY_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/scaffold.h"
#include "core/plugin/registry.h"
#include "core/search/tree.h"

enum { POLICY_NODES = 256 };

typedef struct policy {
    aira__registry *registry;
    aira__instance *instance;
} policy;

static inline policy policy_open(const char *yaml) {
    policy p = {0};
    aira_error error = {0};
    cr_assert_eq(aira__registry_create(NULL, &p.registry, &error), AIRA_OK, "%s", error.text);
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, "test", d);
    cr_assert(document, "%s", aira__diagnostics_text(d));
    p.instance = aira__instance_create(p.registry, "scaffold", aira__document_root(document), NULL, d);
    cr_assert(p.instance, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return p;
}

static inline void policy_close(policy *p) {
    aira__instance_destroy(p->instance);
    aira__registry_destroy(p->registry);
}

/* Number of nodes. Children and depths are counted here, not taken from the code under test. */
static inline uint32_t policy_read(const char *text, aira_node_view nodes[POLICY_NODES]) {
    static const char letters[] = "difc"; /* as AIRA_OPERATOR_x */
    uint32_t n = 0;
    char copy[4096], *state = NULL;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        char *at = word;
        long times = strtol(at, &at, 10);
        for (long k = 0; k < (times ? times : 1); k++) {
            char *p = at + 1;
            aira_node_view v = {.size = sizeof v, .parent = -1, .other_parent = -1, .score = NAN};
            cr_assert(n < POLICY_NODES && strchr(letters, *at), "%s", word);
            v.operator_code = (uint32_t)(strchr(letters, *at) - letters);
            if (*p == '<') {
                v.parent = (int64_t)n - 1;
                p++;
            } else if (*p != '=') {
                v.parent = strtol(p, &p, 10);
            }
            if (*p == ',') v.other_parent = strtol(p + 1, &p, 10);
            cr_assert(*p == '=' && v.parent < (int64_t)n && v.other_parent < (int64_t)n, "%s", word);
            v.status = p[1] == '?' ? AIRA_NODE_PENDING : p[1] == 'x' ? AIRA_NODE_BUGGY : AIRA_NODE_GOOD;
            if (v.status == AIRA_NODE_GOOD) v.score = strtod(p + 1, NULL);
            v.n_seeds = v.status == AIRA_NODE_GOOD;
            if (v.parent >= 0) nodes[v.parent].n_children++;
            if (v.other_parent >= 0 && v.other_parent != v.parent) nodes[v.other_parent].n_children++;
            if (v.operator_code == AIRA_OPERATOR_DEBUG) v.debug_depth = nodes[v.parent].debug_depth + 1;
            nodes[n++] = v;
        }
    }
    return n;
}

static inline void policy_say(const aira_action *a, char text[64]) {
    static const char *const names[] = {"draft", "improve", "debug", "cross"};
    if (a->act == AIRA_ACT_WAIT || a->act == AIRA_ACT_STOP)
        snprintf(text, 64, "%s", a->act == AIRA_ACT_WAIT ? "wait" : "stop");
    else if (a->operator_code == AIRA_OPERATOR_DRAFT)
        snprintf(text, 64, "draft");
    else if (a->operator_code == AIRA_OPERATOR_CROSSOVER)
        snprintf(text, 64, "cross %lld %lld", (long long)a->parent, (long long)a->other_parent);
    else
        snprintf(text, 64, "%s %lld", names[a->operator_code], (long long)a->parent);
}

/* draws: what draw(0), draw(1), ... give; the last one for all further. */
typedef struct policy_view {
    aira_journal_view view; /* first */
    const double *draws;
    uint32_t n_draws;
} policy_view;

static inline double policy_draw(const aira_journal_view *view, uint32_t which) {
    const policy_view *v = (const policy_view *)(const void *)view;
    return v->draws[which < v->n_draws ? which : v->n_draws - 1];
}

static inline void policy_decide(const policy *p, const char *journal, bool higher, const double *draws,
                                 uint32_t n_draws, char said[64]) {
    aira_node_view nodes[POLICY_NODES];
    uint32_t n = policy_read(journal, nodes);
    policy_view v = {{.size = sizeof v.view,
                      .higher_is_better = higher,
                      .n_nodes = n,
                      .node_stride = sizeof *nodes,
                      .nodes = nodes,
                      .seed = 1,
                      .draw = policy_draw},
                     draws,
                     n_draws};
    aira_action action = {.size = sizeof action, .parent = -1, .other_parent = -1};
    const aira_scaffold *table = p->instance->plugin->table;
    cr_assert_eq(table->next(p->instance->self, &v.view, &action), AIRA_OK);
    cr_assert(action.reason && action.reason[0], "an action without a reason: %s", journal);
    policy_say(&action, said);
}

/* The same decided by the search's own code, with the draws of a seed. All nodes must have ended. */
static inline void policy_decide_seeded(const policy *p, const char *journal, bool higher, uint64_t seed,
                                        char said[64]) {
    aira_node_view nodes[POLICY_NODES];
    uint32_t n = policy_read(journal, nodes);
    aira__tree tree;
    aira__step step;
    aira_error error = {0};
    aira__tree_init(&tree, seed, 1, higher);
    for (uint32_t i = 0; i < n; i++) {
        char hash[16];
        snprintf(hash, sizeof hash, "%u", i);
        aira__outcome outcome = {nodes[i].status, hash, NULL, NULL, NULL, nodes[i].score, nodes[i].score};
        cr_assert_eq(aira__tree_add(&tree, nodes[i].operator_code, nodes[i].parent, nodes[i].other_parent), i);
        cr_assert_eq(aira__tree_finish(&tree, i, &outcome, &error), AIRA_OK);
        aira__tree_commit(&tree);
    }
    cr_assert_eq(aira__tree_step(&tree, p->instance->plugin->table, p->instance->self, -1, -1, &step, &error), AIRA_OK,
                 "%s", error.text);
    policy_say(&step.action, said);
    aira__tree_release(&tree);
}

#endif
