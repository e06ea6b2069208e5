/* tests/unit/search_standing.c - contenders, their tests by hand-worked numbers, and how often a search without any
 * difference confirms something. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "aira/rng.h"
#include "core/search/standing.h"

typedef struct scores { /* what the evaluations of a test give: of one node at a time */
    double further[AIRA__MAX_SEEDS];
    uint64_t seed;          /* of the search */
    uint32_t known, failed; /* how many are known; which one failed, 0: none */
    double sign;
} scores;

static bool find(void *context, const char *hash, uint64_t seed, aira__purpose purpose, aira__result *out) {
    const scores *s = context;
    cr_assert_eq(purpose, AIRA__FOR_CONFIRM);
    cr_assert(hash[0]);
    for (uint32_t k = 1; k <= s->known; k++) {
        if (seed != aira__confirm_seed(s->seed, k)) continue;
        bool ok = k != s->failed;
        double score = ok ? s->sign * s->further[k - 1] : NAN;
        *out = (aira__result){ok, score, score, NAN, ok ? NULL : "nan", ok ? NULL : "the loss is not finite"};
        return true;
    }
    return false;
}

/* Adds and commits a node; further: the scores of its further seeds should it contend. True if it did. */
static bool commit(aira__tree *tree, const char *hash, double first, const double *further, uint32_t failed,
                   double sign) {
    aira__outcome outcome = {AIRA_NODE_GOOD, hash, NULL, NULL, NULL, sign * first, sign * first};
    aira_error error = {0};
    int64_t idx = aira__tree_add(tree, AIRA_OPERATOR_DRAFT, -1, -1);
    cr_assert_eq(aira__tree_finish(tree, (uint32_t)idx, &outcome, &error), AIRA_OK);
    bool contends = aira__standing_contends(tree), complete = true;
    scores s = {.seed = tree->seed, .known = 0, .failed = failed, .sign = sign};
    if (contends) {
        cr_assert(further, "node %s contends", hash);
        memcpy(s.further, further, (tree->seeds - 1) * sizeof *further);
        cr_assert_eq(aira__standing_fill(tree, find, &s, &complete, &error), AIRA_OK);
        cr_assert(!complete && aira__standing_contends(tree), "it waits for all of its seeds");
        s.known = tree->seeds - 1;
        cr_assert_eq(aira__standing_fill(tree, find, &s, &complete, &error), AIRA_OK);
        cr_assert(complete && !aira__standing_contends(tree));
    }
    (void)aira__tree_commit(tree);
    return contends;
}

static void hand_worked(double sign) {
    aira__tree tree;
    aira__tree_init(&tree, 7, 1, sign > 0);
    aira__tree_confirm(&tree, 3, 0.05, 1);

    /* The first good node is the reference: all seeds, no test. */
    cr_assert(commit(&tree, "a", 0.50, (double[]){0.52, 0.48}, 0, sign));
    cr_assert_float_eq(tree.nodes[0].search_score, sign * 0.50, 1e-15);
    cr_assert_float_eq(tree.nodes[0].spread, 0.02, 1e-15);
    cr_assert_eq(tree.nodes[0].standing, AIRA_STANDING_PROVISIONAL);
    cr_assert_eq(tree.test.number, 0);

    cr_assert_not(commit(&tree, "b", 0.49, NULL, 0, sign), "not better: one seed is enough");
    cr_assert(tree.nodes[1].n_seeds == 1 && tree.nodes[1].standing == AIRA_STANDING_NONE);

    /* Gains 0.18 and 0.20: mean 0.19, standard error 0.01, t = 19 with one degree of freedom. */
    cr_assert(commit(&tree, "c", 0.60, (double[]){0.70, 0.68}, 0, sign));
    cr_assert_float_eq(tree.nodes[2].search_score, sign * 0.66, 1e-15);
    cr_assert_float_eq(tree.test.gain, 0.19, 1e-12);
    cr_assert_float_eq(tree.test.p, atan(1 / 19.0) / M_PI, 1e-9);
    cr_assert_float_eq(tree.test.level, 0.05 / 2, 1e-15);
    cr_assert_eq(tree.nodes[2].standing, AIRA_STANDING_CONFIRMED);

    cr_assert_not(commit(&tree, "d", 0.65, NULL, 0, sign), "the mean of the incumbent is to be beaten");

    /* Three rows: residual sum of squares 0.00093333 with two degrees of freedom, t = 0.01 / sqrt(0.00093333 / 2). */
    cr_assert(commit(&tree, "e", 0.67, (double[]){0.69, 0.71}, 0, sign));
    cr_assert_eq(tree.test.against, 2);
    cr_assert_eq(tree.test.df, 2);
    cr_assert_float_eq(tree.test.p, 0.34446, 1e-5);
    cr_assert_float_eq(tree.test.level, 0.05 / 6, 1e-15);
    cr_assert_eq(tree.nodes[4].standing, AIRA_STANDING_PROVISIONAL);
    cr_assert_eq(aira__tree_best(&tree, false), 4);

    cr_assert_not(commit(&tree, "c", 0.99, NULL, 0, sign), "a duplicate is answered, whatever its first score");
    cr_assert_float_eq(tree.nodes[5].search_score, sign * 0.66, 1e-15);
    cr_assert(tree.nodes[5].n_seeds == 3 && tree.nodes[5].standing == AIRA_STANDING_CONFIRMED);

    cr_assert(commit(&tree, "f", 0.80, (double[]){0.8, 0.8}, 2, sign), "a further seed fails");
    cr_assert_eq(tree.nodes[6].status, AIRA_NODE_BUGGY);
    cr_assert(strstr(tree.nodes[6].note, "training 3 of 3 on another seed failed: the loss is not finite"), "%s",
              tree.nodes[6].note);
    cr_assert_str_eq(tree.nodes[6].cause, "nan");
    cr_assert_eq(aira__tree_best(&tree, false), 4);
    cr_assert_eq(aira__tree_best(&tree, true), 4, "and what is submitted has all seeds");
    cr_assert_eq(aira__tree_evaluations(&tree), 3 + 1 + 3 + 1 + 3 + 0 + 3);
    cr_assert_eq(tree.n_tests, 2);
    aira__tree_release(&tree);
}

Test(standing, hand_worked_higher_is_better) { hand_worked(1); }
Test(standing, hand_worked_lower_is_better) { hand_worked(-1); }

Test(standing, off) {
    aira__tree tree;
    aira__tree_init(&tree, 7, 1, true);
    aira__tree_confirm(&tree, 1, 0.05, 1);
    cr_assert_not(commit(&tree, "a", 0.5, NULL, 0, 1));
    cr_assert_not(commit(&tree, "b", 0.6, NULL, 0, 1));
    cr_assert(tree.nodes[1].n_seeds == 1 && tree.nodes[1].standing == AIRA_STANDING_NONE);
    cr_assert_eq(aira__tree_best(&tree, true), 1);
    cr_assert_eq(aira__tree_evaluations(&tree), 2);
    aira__tree_release(&tree);
}

Test(standing, levels_are_shared_out) {
    aira__tree tree;
    aira__tree_init(&tree, 7, 1, true);
    aira__tree_confirm(&tree, 3, 0.05, 11);
    double sum = 0;
    for (uint32_t j = 1; j <= 100000; j++) sum += 11 * aira__standing_level(&tree, j);
    cr_assert(sum < 0.05 && sum > 0.04999, "all tests of all searches together: %g", sum);
}

Test(standing, seeds_are_those_of_the_search) {
    cr_assert_eq(aira__confirm_seed(42, 0), 42);
    for (uint32_t k = 1; k < 64; k++) {
        cr_assert_leq(aira__confirm_seed(42, k), INT64_MAX, "it goes through JSON and SQL");
        cr_assert_neq(aira__confirm_seed(42, k), aira__confirm_seed(43, k));
        cr_assert_neq(aira__confirm_seed(42, k), aira__confirm_seed(42, k - 1));
    }
}

/* Scores without any spread cannot say what noise is. */
Test(standing, equal_gains_prove_nothing) {
    aira__tree tree;
    aira__tree_init(&tree, 7, 1, true);
    aira__tree_confirm(&tree, 3, 0.5, 1);
    cr_assert(commit(&tree, "a", 0.5, (double[]){0.5, 0.5}, 0, 1));
    cr_assert(commit(&tree, "b", 0.75, (double[]){0.75, 0.75}, 0, 1));
    cr_assert(isnan(tree.test.p));
    cr_assert_eq(tree.nodes[1].standing, AIRA_STANDING_PROVISIONAL);
    aira__tree_release(&tree);
}

/* The best score of a tree always has all seeds behind it. */
static void check_invariant(const aira__tree *tree) {
    int64_t best = aira__tree_best(tree, false);
    if (best >= 0) cr_assert_eq(tree->nodes[best].n_seeds, tree->seeds);
}

/* kind 0: normal noise; 1: of a strength of its own in every node; 2: accuracies of few answers. All nodes are equally
   good. */
static double draw(aira_rng *rng, int kind, double strength) {
    if (kind == 0) return aira_rng_normal(rng);
    if (kind == 1) return strength * aira_rng_normal(rng);
    int right = 0;
    for (int i = 0; i < 64; i++) right += aira_rng_uniform(rng) < 0.25;
    return right / 64.0;
}

static double false_confirmations(int kind, uint32_t seeds, double alpha, int searches) {
    int confirmed = 0;
    for (int run = 0; run < searches; run++) {
        aira_rng rng = aira_rng_make(aira_key((uint64_t)run, "null"), (uint64_t)kind);
        aira__tree tree;
        bool any = false;
        aira__tree_init(&tree, (uint64_t)run, 1, true);
        aira__tree_confirm(&tree, seeds, alpha, 1);
        for (int i = 0; i < 24; i++) {
            double further[AIRA__MAX_SEEDS], strength = exp(aira_rng_normal(&rng)), first = draw(&rng, kind, strength);
            char hash[16];
            snprintf(hash, sizeof hash, "%d", i);
            for (uint32_t k = 0; k + 1 < seeds; k++) further[k] = draw(&rng, kind, strength);
            commit(&tree, hash, first, further, 0, 1);
            check_invariant(&tree);
            any = any || tree.nodes[i].standing == AIRA_STANDING_CONFIRMED;
        }
        confirmed += any;
        aira__tree_release(&tree);
    }
    return (double)confirmed / searches;
}

Test(standing, luck_is_confirmed_at_most_as_often_as_alpha_says, .timeout = 60) {
    static const char *const kinds[] = {"normal noise", "noise of changing strength", "coarse accuracies"};
    for (int kind = 0; kind < 3; kind++)
        for (uint32_t seeds = 3; seeds <= 5; seeds += 2) {
            double rate = false_confirmations(kind, seeds, 0.05, 4000);
            fprintf(stderr, "%s, %u seeds: %.4f of searches confirm something\n", kinds[kind], seeds, rate);
            cr_assert_leq(rate, 0.05, "%s, %u seeds: %g", kinds[kind], seeds, rate);
        }
}
