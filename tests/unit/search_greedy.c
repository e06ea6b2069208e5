/* tests/unit/search_greedy.c - the rules of greedy search on journals made by hand, both presets, and one_shot. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "aira/scaffold.h"
#include "core/plugin/registry.h"

typedef struct bench {
    aira__registry *registry;
    aira__instance *instance;
} bench;

static bench open_scaffold(const char *yaml) {
    bench b = {0};
    aira_error error = {0};
    cr_assert_eq(aira__registry_create(NULL, &b.registry, &error), AIRA_OK, "%s", error.text);
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, "test", d);
    cr_assert(document, "%s", aira__diagnostics_text(d));
    b.instance = aira__instance_create(b.registry, "scaffold", aira__document_root(document), NULL, d);
    cr_assert(b.instance, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return b;
}

static void close_scaffold(bench *b) {
    aira__instance_destroy(b->instance);
    aira__registry_destroy(b->registry);
}

static double coin, pick; /* what draw(0) and draw(1) give: set by each test */
static double draw(const aira_journal_view *view, uint32_t which) {
    (void)view;
    return which == 0 ? coin : pick;
}

/* "d" draft, "i" improve, "b" debug; then status g, b or p. */
static aira_node_view node(char operator_letter, char status, double score, int64_t parent, uint32_t children,
                           uint32_t depth) {
    return (aira_node_view){.size = sizeof(aira_node_view),
                            .operator_code = operator_letter == 'd'   ? AIRA_OPERATOR_DRAFT
                                             : operator_letter == 'i' ? AIRA_OPERATOR_IMPROVE
                                                                      : AIRA_OPERATOR_DEBUG,
                            .status = status == 'g'   ? AIRA_NODE_GOOD
                                      : status == 'b' ? AIRA_NODE_BUGGY
                                                      : AIRA_NODE_PENDING,
                            .score = status == 'g' ? score : NAN,
                            .parent = parent,
                            .other_parent = -1,
                            .n_children = children,
                            .debug_depth = depth};
}

static aira_action decide(const bench *b, const aira_node_view *nodes, uint32_t n, bool higher) {
    aira_journal_view view = {.size = sizeof view,
                              .higher_is_better = higher,
                              .n_nodes = n,
                              .node_stride = sizeof *nodes,
                              .nodes = nodes,
                              .seed = 1,
                              .draw = draw};
    aira_action action = {.size = sizeof action, .parent = -1, .other_parent = -1};
    const aira_scaffold *table = b->instance->plugin->table;
    cr_assert_eq(table->next(b->instance->self, &view, &action), AIRA_OK);
    return action;
}

static void expect(const bench *b, const aira_node_view *nodes, uint32_t n, uint32_t operator_code, int64_t parent) {
    aira_action a = decide(b, nodes, n, true);
    cr_assert_eq(a.act, AIRA_ACT_ASK);
    cr_assert_eq(a.operator_code, operator_code, "operator %u", a.operator_code);
    cr_assert_eq(a.parent, parent, "parent %lld", (long long)a.parent);
    cr_assert(a.reason && a.reason[0]);
}

Test(greedy, drafts_first_whatever_they_became) {
    bench b = open_scaffold("greedy");
    const aira_node_view nodes[] = {node('d', 'b', 0, -1, 0, 0), node('d', 'g', 0.9, -1, 0, 0),
                                    node('d', 'p', 0, -1, 0, 0), node('d', 'g', 0.5, -1, 0, 0),
                                    node('d', 'g', 0.1, -1, 0, 0)};
    coin = 0;
    for (uint32_t n = 0; n < 5; n++) expect(&b, nodes, n, AIRA_OPERATOR_DRAFT, -1);
    aira_action a = decide(&b, nodes, 5, true);
    cr_assert(a.operator_code != AIRA_OPERATOR_DRAFT, "a sixth draft");
    close_scaffold(&b);
}

Test(greedy, improves_the_best_ties_earliest) {
    bench b = open_scaffold("{use: greedy, drafts: 2}");
    const aira_node_view nodes[] = {node('d', 'g', 0.3, -1, 0, 0), node('d', 'g', 0.7, -1, 1, 0),
                                    node('i', 'g', 0.7, 1, 0, 0)};
    expect(&b, nodes, 3, AIRA_OPERATOR_IMPROVE, 1);
    aira_action lower = decide(&b, nodes, 3, false);
    cr_assert_eq(lower.parent, 0, "smaller is better there");
    close_scaffold(&b);
}

Test(greedy, preset_aira_repairs_every_leaf_to_depth_20) {
    bench b = open_scaffold("greedy");
    aira_node_view nodes[7];
    for (int i = 0; i < 5; i++) nodes[i] = node('d', 'g', 0.1 * i, -1, 0, 0);
    nodes[5] = node('i', 'b', 0, 4, 1, 0);
    nodes[6] = node('b', 'b', 0, 5, 0, 20);
    coin = 0.999999;
    pick = 0;
    expect(&b, nodes, 7, AIRA_OPERATOR_DEBUG, 6); /* <= 20, and the inner node 5 is no leaf */
    nodes[6].debug_depth = 21;
    expect(&b, nodes, 7, AIRA_OPERATOR_IMPROVE, 4);
    close_scaffold(&b);
}

Test(greedy, preset_aide_repairs_half_the_time_to_depth_3) {
    bench b = open_scaffold("{use: greedy, preset: aide}");
    aira_node_view nodes[6];
    for (int i = 0; i < 5; i++) nodes[i] = node('d', i == 2 ? 'b' : 'g', 0.1 * i, -1, 0, 0);
    coin = 0.49;
    pick = 0;
    expect(&b, nodes, 5, AIRA_OPERATOR_DEBUG, 2);
    coin = 0.5;
    expect(&b, nodes, 5, AIRA_OPERATOR_IMPROVE, 4);
    nodes[2].n_children = 1;
    nodes[5] = node('b', 'b', 0, 2, 0, 3);
    coin = 0;
    expect(&b, nodes, 6, AIRA_OPERATOR_DEBUG, 5);
    nodes[5].debug_depth = 4;
    expect(&b, nodes, 6, AIRA_OPERATOR_IMPROVE, 4);
    close_scaffold(&b);
}

Test(greedy, picks_leaves_uniformly) {
    bench b = open_scaffold("{use: greedy, drafts: 4}");
    const aira_node_view nodes[] = {node('d', 'b', 0, -1, 0, 0), node('d', 'g', 0.5, -1, 0, 0),
                                    node('d', 'b', 0, -1, 0, 0), node('d', 'b', 0, -1, 0, 0)};
    coin = 0;
    const struct {
        double u;
        int64_t leaf;
    } cases[] = {{0, 0}, {0.33, 0}, {0.34, 2}, {0.66, 2}, {0.67, 3}, {0.9999999, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pick = cases[i].u;
        expect(&b, nodes, 4, AIRA_OPERATOR_DEBUG, cases[i].leaf);
    }
    close_scaffold(&b);
}

Test(greedy, drafts_again_when_nothing_is_good) {
    bench b = open_scaffold("{use: greedy, preset: aide, drafts: 2}");
    const aira_node_view nodes[] = {node('d', 'b', 0, -1, 0, 0), node('d', 'b', 0, -1, 0, 0)};
    coin = 0.9;
    expect(&b, nodes, 2, AIRA_OPERATOR_DRAFT, -1);
    close_scaffold(&b);
}

Test(greedy, waits_only_for_drafts_and_for_hope) {
    bench b = open_scaffold("{use: greedy, drafts: 2}");
    aira_node_view nodes[] = {node('d', 'g', 0.3, -1, 0, 0), node('d', 'p', 0, -1, 0, 0), node('i', 'p', 0, 0, 0, 0)};
    coin = 0;
    cr_assert_eq(decide(&b, nodes, 2, true).act, AIRA_ACT_WAIT, "a pending draft may be the best node");
    nodes[1] = node('d', 'g', 0.2, -1, 0, 0);
    nodes[0].n_children = 1;
    expect(&b, nodes, 3, AIRA_OPERATOR_IMPROVE, 0); /* a pending improvement holds nothing up */
    nodes[0] = node('d', 'b', 0, -1, 1, 0);
    nodes[1] = node('d', 'b', 0, -1, 1, 21);
    nodes[2] = node('b', 'p', 0, 0, 0, 1);
    cr_assert_eq(decide(&b, nodes, 3, true).act, AIRA_ACT_WAIT, "the pending repair may be the first good node");
    close_scaffold(&b);
}

Test(one_shot, one_draft) {
    bench b = open_scaffold("one_shot");
    const aira_node_view nodes[] = {node('d', 'p', 0, -1, 0, 0)};
    expect(&b, nodes, 0, AIRA_OPERATOR_DRAFT, -1);
    cr_assert_eq(decide(&b, nodes, 1, true).act, AIRA_ACT_STOP);
    close_scaffold(&b);
}
