/* tests/bench/tree_rate.c - what a node costs the coordinator: the tree alone, and the shipped scaffolds on it.
 *
 *     build/bench/bench_tree_rate [NODES]
 *
 * One search of NODES (default 10,000) nodes in memory; every candidate is new and scores at random, no agent and no
 * journal take part. Prints milliseconds per node.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/base/clock.h"
#include "core/compose/notation.h"
#include "core/plugin/registry.h"
#include "core/search/tree.h"

enum { LAYERS = 16, TOKENS = 3 };
static const char *const tokens[TOKENS] = {"mA", "M", "Mb"};

static void need(aira_status status, const aira_error *error) {
    if (status == AIRA_OK) return;
    fprintf(stderr, "%s\n", error->text);
    exit(1);
}

/* Decides in no time: drafts. */
static aira_status draft(void *self, const aira_journal_view *view, aira_action *action) {
    (void)self;
    (void)view;
    action->act = AIRA_ACT_ASK;
    return AIRA_OK;
}
static const aira_scaffold nothing = {sizeof nothing, 0, draft};

static double rate(const aira_scaffold *scaffold, void *self, uint32_t n) {
    aira__tree tree;
    aira_error error = {0};
    aira_rng rng = aira_rng_make(aira_key(1, "tree_rate"), 0);
    double begin = aira__now();
    aira__tree_init(&tree, 1, 1, true);
    need(aira__tree_shape(&tree, LAYERS, tokens, TOKENS, &error), &error);
    for (uint32_t i = 0; i < n; i++) {
        aira__step step;
        uint16_t layers[LAYERS];
        char hash[65];
        need(aira__tree_step(&tree, scaffold, self, n, -1, &step, &error), &error);
        (void)aira__tree_add(&tree, step.action.operator_code, step.action.parent, step.action.other_parent);
        for (int k = 0; k < LAYERS; k++) layers[k] = (uint16_t)aira_rng_below(&rng, TOKENS);
        if (step.kind == AIRA__STEP_PROPOSE) memcpy(layers, step.action.layers, sizeof layers);
        char *architecture = aira__notation_format(layers, LAYERS, tokens);
        snprintf(hash, sizeof hash, "%064u", i);
        double score = aira_rng_uniform(&rng);
        aira__outcome outcome = {AIRA_NODE_GOOD, hash, architecture, NULL, NULL, score, score};
        need(aira__tree_finish(&tree, i, &outcome, &error), &error);
        free(architecture);
        aira__tree_commit(&tree);
    }
    aira__tree_release(&tree);
    return 1000 * (aira__now() - begin) / n;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"random", "exhaustive", "greedy", "evolution", "mcts"};
    aira__registry *registry = NULL;
    aira_error error = {0};
    uint32_t n = argc > 1 ? (uint32_t)atoi(argv[1]) : 10000;
    need(aira__registry_create(NULL, &registry, &error), &error);
    printf("%-12s %.4f ms per node\n", "tree alone", rate(&nothing, NULL, n));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        aira__instance *scaffold = NULL;
        json_t *config = json_pack("{s:s}", "use", names[i]);
        need(aira__instance_create_json(registry, "scaffold", config, &scaffold, &error), &error);
        printf("%-12s %.4f ms per node\n", names[i], rate(scaffold->plugin->table, scaffold->self, n));
        aira__instance_destroy(scaffold);
        json_decref(config);
    }
    aira__registry_destroy(registry);
    return 0;
}
