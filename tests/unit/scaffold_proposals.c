/* tests/unit/scaffold_proposals.c - random and exhaustive search: everything once, then stop; evenly; by the seed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "core/plugin/registry.h"
#include "core/search/tree.h"

static const char *const tokens[] = {"a", "b", "c"};

typedef struct lab {
    aira__registry *registry;
    aira__instance *scaffold;
} lab;

static lab open_lab(const char *yaml) {
    lab l = {0};
    aira_error error = {0};
    cr_assert_eq(aira__registry_create(NULL, &l.registry, &error), AIRA_OK, "%s", error.text);
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, "test", d);
    l.scaffold = aira__instance_create(l.registry, "scaffold", aira__document_root(document), NULL, d);
    cr_assert(l.scaffold, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return l;
}

static void close_lab(lab *l) {
    aira__instance_destroy(l->scaffold);
    aira__registry_destroy(l->registry);
}

/* Runs to the end or `most` nodes; the architectures in order as numbers. Their count. */
static uint32_t run(const lab *l, uint32_t n_layers, uint64_t seed, uint32_t parallel, uint32_t most, uint64_t *order) {
    aira__tree tree;
    aira__step step = {.kind = AIRA__STEP_ASK};
    aira_error error = {0};
    aira__tree_init(&tree, seed, parallel, true);
    cr_assert_eq(aira__tree_shape(&tree, n_layers, tokens, 3, &error), AIRA_OK);
    while (tree.n < most) {
        cr_assert_eq(aira__tree_step(&tree, l->scaffold->plugin->table, l->scaffold->self, -1, -1, &step, &error),
                     AIRA_OK, "%s", error.text);
        if (step.kind == AIRA__STEP_STOP) break;
        if (step.kind == AIRA__STEP_PROPOSE) {
            uint64_t number = 0;
            for (uint32_t i = 0; i < n_layers; i++) number = 3 * number + step.action.layers[i];
            order[tree.n] = number;
            int64_t idx = aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1);
            cr_assert_eq(aira__tree_propose(&tree, (uint32_t)idx, step.action.layers, &error), AIRA_OK);
            continue;
        }
        char hash[32];
        snprintf(hash, sizeof hash, "%llu", (unsigned long long)order[tree.committed]);
        aira__outcome good = {AIRA_NODE_GOOD, hash, NULL, NULL, NULL, 1, 1};
        cr_assert_eq(aira__tree_finish(&tree, tree.committed, &good, &error), AIRA_OK);
        cr_assert_lt(aira__tree_commit(&tree)->duplicate_of, 0, "an architecture came twice");
    }
    uint32_t n = tree.n;
    aira__tree_release(&tree);
    return n;
}

Test(proposals, everything_once_and_stop) {
    static const char *const configs[] = {"random", "exhaustive", "{use: exhaustive, order: shuffled}", "bayes"};
    for (int c = 0; c < 4; c++) {
        lab l = open_lab(configs[c]);
        for (uint32_t parallel = 1; parallel <= 3; parallel += 2) {
            uint64_t order[100], seen[81] = {0};
            uint32_t n = run(&l, 4, 7, parallel, 100, order);
            cr_assert_eq(n, 81, "%s proposed %u of 81", configs[c], n);
            for (uint32_t i = 0; i < n; i++) cr_assert_eq(seen[order[i]]++, 0, "%s", configs[c]);
        }
        close_lab(&l);
    }
}

Test(proposals, orders_and_seeds) {
    uint64_t a[81], b[81];
    lab l = open_lab("exhaustive");
    run(&l, 4, 1, 1, 81, a);
    for (uint64_t i = 0; i < 81; i++) cr_assert_eq(a[i], i);
    close_lab(&l);
    static const char *const seeded[] = {"{use: exhaustive, order: shuffled}", "random"};
    for (int c = 0; c < 2; c++) {
        l = open_lab(seeded[c]);
        run(&l, 4, 1, 1, 81, a);
        run(&l, 4, 1, 3, 81, b);
        cr_assert_eq(memcmp(a, b, sizeof a), 0, "%s: parallel changes what looks at no score", seeded[c]);
        run(&l, 4, 2, 1, 81, b);
        cr_assert_neq(memcmp(a, b, sizeof a), 0, "%s: another seed, the same order", seeded[c]);
        close_lab(&l);
    }
    l = open_lab("{use: exhaustive, nodes: 5}");
    cr_assert_eq(run(&l, 4, 1, 1, 81, a), 5);
    close_lab(&l);
}

/* 4,000 seeds, the first and the last of nine: 444 times each, standard deviation 20. Also in a space of 3^20, where
   nothing is listed: the first token of the third node. */
Test(proposals, random_is_even) {
    static const char *const configs[] = {"random", "{use: exhaustive, order: shuffled}"};
    for (int c = 0; c < 2; c++) {
        lab l = open_lab(configs[c]);
        int first[9] = {0}, last[9] = {0}, large[3] = {0};
        for (uint64_t seed = 0; seed < 4000; seed++) {
            uint64_t order[9];
            cr_assert_eq(run(&l, 2, seed, 1, 20, order), 9);
            first[order[0]]++;
            last[order[8]]++;
            run(&l, 20, seed, 1, 3, order);
            large[order[2] / 1162261467]++; /* 3^19 */
        }
        for (int i = 0; i < 9; i++)
            cr_expect(abs(first[i] - 444) < 100 && abs(last[i] - 444) < 100, "%s: %d first %d times, last %d times",
                      configs[c], i, first[i], last[i]);
        for (int i = 0; i < 3; i++)
            cr_expect_lt(abs(large[i] - 1333), 150, "%s: token %d %d times", configs[c], i, large[i]);
        close_lab(&l);
    }
}
