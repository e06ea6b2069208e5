/* plugins/scaffolds/bayes/test_bayes.c - the Gaussian process against formulas worked out another way, and that the
 * policy finds what there is to find. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/plugin/registry.h"
#include "core/search/tree.h"
#include "gp.c"

static const uint16_t A[] = {0, 0}, B[] = {0, 1}, C[] = {1, 1}, D[] = {1, 0};

/* Two observations. With r = exp(-1/l), v = 1 + noise: (K + S)^-1 = [v -r; -r v] / (v^2 - r^2), written out. */
Test(bayes, posterior_of_two_points) {
    static const uint16_t *const x[] = {A, B};
    static const double y[] = {1.0, -0.5}, weight[] = {1, 1};
    double memory[64], mean, variance;
    gp g;
    cr_assert_leq(gp_doubles(2), 64);
    gp_init(&g, 2, 2, x, y, weight, memory);
    const double l = 1.7, noise = 0.3;
    cr_assert(gp_fit(&g, l, noise));
    double r = exp(-1 / l), v = 1 + noise, det = v * v - r * r;
    double fit = (v * y[0] * y[0] - 2 * r * y[0] * y[1] + v * y[1] * y[1]) / det, scale = fit / 2;
    cr_assert_float_eq(g.variance, scale, 1e-7);
    cr_assert_float_eq(g.log_likelihood, -0.5 * (2 * log(2 * M_PI * scale) + log(det) + 2), 1e-7);
    const uint16_t *const asked[] = {A, B, C, D};
    const double ka[] = {1, r, r * r, r}, kb[] = {r, 1, r, r * r}; /* r^2: two layers differ */
    for (int i = 0; i < 4; i++) {
        gp_posterior(&g, asked[i], &mean, &variance);
        double a = (v * y[0] - r * y[1]) / det, b = (v * y[1] - r * y[0]) / det;
        double explained = (v * ka[i] * ka[i] - 2 * r * ka[i] * kb[i] + v * kb[i] * kb[i]) / det;
        cr_assert_float_eq(mean, ka[i] * a + kb[i] * b, 1e-7, "mean of %d: %g", i, mean);
        cr_assert_float_eq(variance, scale * (1 - explained), 1e-7, "variance of %d: %g", i, variance);
    }
}

/* Three observations with unequal noise, solved by Cramer's rule. */
static double det3(double m[3][3]) {
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

Test(bayes, posterior_of_three_points) {
    static const uint16_t *const x[] = {A, B, C};
    static const double y[] = {0.7, -1.1, 0.4}, weight[] = {1, 0.5, 0.25};
    double memory[64], mean, variance, l = 0.9, noise = 0.2, r = exp(-1 / l), solved[3];
    gp g;
    gp_init(&g, 3, 2, x, y, weight, memory);
    cr_assert(gp_fit(&g, l, noise));
    double k[3][3] = {{1 + noise, r, r * r}, {r, 1 + noise / 2, r}, {r * r, r, 1 + noise / 4}},
           asked[3] = {r, r * r, r};
    for (int c = 0; c < 3; c++) {
        double m[3][3];
        memcpy(m, k, sizeof m);
        for (int i = 0; i < 3; i++) m[i][c] = y[i];
        solved[c] = det3(m) / det3(k);
    }
    gp_posterior(&g, D, &mean, &variance);
    cr_assert_float_eq(mean, asked[0] * solved[0] + asked[1] * solved[1] + asked[2] * solved[2], 1e-7);
    double fit = y[0] * solved[0] + y[1] * solved[1] + y[2] * solved[2];
    cr_assert_float_eq(g.variance, fit / 3, 1e-7);
}

/* With almost no noise the draws all pass through the observations, and the value is that of plain expected improvement
   on the best of them. */
static double numbers(void *context, uint32_t i) {
    (void)context;
    return sin(12.9898 * (i + 1)) * 1.4; /* anything */
}

Test(bayes, noisy_expected_improvement_without_noise_is_the_plain_one) {
    static const uint16_t *const x[] = {A, B};
    static const double y[] = {0.8, -0.6}, weight[] = {1, 1};
    double memory[64], draws[2 * GP_DRAWS], mean, variance;
    gp g;
    gp_improvement e;
    gp_init(&g, 2, 2, x, y, weight, memory);
    cr_assert(gp_fit(&g, 1.2, 1e-12));
    cr_assert(gp_improvement_init(&e, &g, numbers, NULL, draws));
    gp_posterior(&g, D, &mean, &variance);
    double s = sqrt(variance), z = (mean - 0.8) / s;
    double plain = (mean - 0.8) * 0.5 * erfc(-z / sqrt(2)) + s * exp(-z * z / 2) / sqrt(2 * M_PI);
    cr_assert_float_eq(gp_improvement_of(&e, D), plain, 1e-3, "%g, not %g", gp_improvement_of(&e, D), plain);
    cr_assert_lt(gp_improvement_of(&e, A), 1e-2, "the best itself promises nothing");
}

/* Layers add up, so the best of 3^7 architectures (no list: the pool is the space) is all of token 2. */
Test(bayes, climbs_an_additive_score) {
    static const char *const tokens[] = {"a", "b", "c"};
    aira__registry *registry = NULL;
    aira__instance *scaffold = NULL;
    aira__tree tree;
    aira__step step = {.kind = AIRA__STEP_ASK};
    aira_error error = {0};
    json_t *config = json_pack("{s:s}", "use", "bayes");
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__instance_create_json(registry, "scaffold", config, &scaffold, &error), AIRA_OK, "%s",
                 error.text);
    json_decref(config);
    aira__tree_init(&tree, 3, 2, false);
    cr_assert_eq(aira__tree_shape(&tree, 7, tokens, 3, &error), AIRA_OK);
    while (step.kind != AIRA__STEP_STOP) {
        cr_assert_eq(aira__tree_step(&tree, scaffold->plugin->table, scaffold->self, 45, -1, &step, &error), AIRA_OK,
                     "%s", error.text);
        if (step.kind == AIRA__STEP_PROPOSE) {
            int64_t idx = aira__tree_add(&tree, AIRA_OPERATOR_DRAFT, -1, -1);
            cr_assert_eq(aira__tree_propose(&tree, (uint32_t)idx, step.action.layers, &error), AIRA_OK);
        } else if (tree.committed < tree.n) {
            const uint16_t *layers = tree.nodes[tree.committed].layers;
            double score = 0; /* lower is better */
            char hash[16] = "";
            for (int i = 0; i < 7; i++) {
                score -= layers[i] * (i % 3 + 1);
                hash[i] = (char)('a' + layers[i]);
            }
            aira__outcome outcome = {
                tree.committed == 5 ? AIRA_NODE_BUGGY : AIRA_NODE_GOOD, hash, NULL, NULL, NULL, score, score};
            cr_assert_eq(aira__tree_finish(&tree, tree.committed, &outcome, &error), AIRA_OK);
            cr_assert_lt(aira__tree_commit(&tree)->duplicate_of, 0, "proposed twice");
        }
    }
    double best = tree.nodes[aira__tree_best(&tree, false)].search_score;
    cr_assert_leq(best, -25, "the best of 45 is %g; the best of all is -26", best);
    aira__tree_release(&tree);
    aira__instance_destroy(scaffold);
    aira__registry_destroy(registry);
}
