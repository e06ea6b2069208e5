/* test_ncluster.c - N_c clustering: k-means against every possible assignment, merges worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "plugins/aggregators/common/kmeans.c"
#include "plugins/aggregators/common/ncluster.c"

static char failure[256];
static void *host_alloc(const aira_host *host, uint64_t bytes) { return (void)host, calloc(1, bytes); }
static void host_release(const aira_host *host, void *memory) {
    (void)host;
    free(memory);
}
static aira_status host_fail(const aira_host *host, aira_status status, const char *text) {
    (void)host;
    snprintf(failure, sizeof failure, "%s", text);
    return status;
}
static const aira_host host = {.size = sizeof host, .alloc = host_alloc, .release = host_release, .fail = host_fail};

/* ------------------------------------------------------------------ k-means */

/* Least cost over all assignments of n scores to k clusters; *split: the same with {scores >= threshold} as one. */
static double exhaustive(const double *s, uint32_t n, uint32_t k, double threshold, double *split) {
    double best = INFINITY;
    uint32_t assignments = 1;
    for (uint32_t i = 0; i < n; i++) assignments *= k;
    *split = INFINITY;
    for (uint32_t a = 0; a < assignments; a++) {
        double sum[8] = {0}, square[8] = {0}, count[8] = {0}, all = 0;
        uint32_t code = a, top = 0;
        int whole = 1;
        for (uint32_t i = 0; i < n; i++, code /= k) {
            uint32_t c = code % k;
            sum[c] += s[i];
            square[c] += s[i] * s[i];
            count[c]++;
        }
        for (uint32_t c = 0; c < k; c++) {
            if (count[c] == 0) continue;
            all += square[c] - sum[c] * sum[c] / count[c];
            if (count[top] == 0 || sum[c] / count[c] > sum[top] / count[top]) top = c;
        }
        code = a;
        for (uint32_t i = 0; i < n; i++, code /= k) whole &= (code % k == top) == (s[i] >= threshold);
        if (all < best) best = all;
        if (whole && all < *split) *split = all;
    }
    return best;
}

Test(kmeans, equals_exhaustive_search) {
    aira_rng rng = aira_rng_make(aira_key(3, "kmeans"), 0);
    for (int round = 0; round < 60; round++) {
        double s[8];
        uint32_t n = 1 + aira_rng_below(&rng, 8), k = 1 + aira_rng_below(&rng, 4), used = k;
        for (uint32_t i = 0; i < n; i++)
            s[i] = round % 2 ? aira_rng_uniform(&rng) : (double)aira_rng_below(&rng, 5) / 4; /* with and without ties */
        double threshold = NAN, split;
        cr_assert_eq(ncluster_threshold(s, n, &used, &threshold), AIRA_OK);
        double best = exhaustive(s, n, used, threshold, &split);
        cr_expect(fabs(best - split) < 1e-12, "round %d: n %u k %u: %g, exhaustive %g", round, n, used, split, best);
    }
}

Test(kmeans, worked_by_hand) {
    static const struct {
        double s[6];
        uint32_t n, k, used;
        double threshold;
    } cases[] = {
        {{0.1, 0.9, 0.11, 0.92, 0.5}, 5, 3, 3, 0.9}, /* three obvious groups */
        {{0.5, 0.5, 0.5}, 3, 5, 1, 0.5},             /* one distinct score: one cluster */
        {{0.2, 0.8, 0.2}, 3, 5, 2, 0.8},             /* two distinct scores */
        {{0, 1, 2}, 3, 2, 2, 1},                     /* {0},{1,2} costs what {0,1},{2} does: the larger top wins */
        {{7}, 1, 5, 1, 7},
        {{0, 10, 11, 12}, 4, 1, 1, 0},                    /* k = 1: everybody */
        {{-3.0, -2.9, -1.0, -1.1, -1.05}, 5, 2, 2, -1.1}, /* losses, flipped */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t used = cases[i].k;
        double threshold = NAN;
        cr_assert_eq(ncluster_threshold(cases[i].s, cases[i].n, &used, &threshold), AIRA_OK);
        cr_expect(threshold == cases[i].threshold && used == cases[i].used, "case %zu: %g with %u", i, threshold, used);
    }
}

Test(kmeans, far_from_zero) { /* prefix sums of squares must not drown small differences */
    double s[40], threshold;
    uint32_t used = 2;
    for (int i = 0; i < 40; i++) s[i] = 1e6 + 1e-4 * i + (i >= 30 ? 1e-2 : 0);
    cr_assert_eq(ncluster_threshold(s, 40, &used, &threshold), AIRA_OK);
    cr_expect_eq(threshold, s[30]);
}

/* ------------------------------------------------------------------ merging */

static const char *const tokens[] = {"mA", "M", "Mb"};
typedef struct merged {
    char text[32], notes[2048];
    double support[16];
    uint32_t size;
} merged;

static void keep_note(void *core, const char *text) {
    merged *m = core;
    size_t used = strlen(m->notes);
    snprintf(m->notes + used, sizeof m->notes - used, "%s\n", text);
}

/* architectures: digits of tokens, "0112" */
static int64_t least_members = 1;
static merged run(uint32_t order, int64_t clusters, int32_t weights, const char *const *architectures,
                  const double *scores, uint32_t n) {
    merged m = {0};
    uint16_t layers[16][16], out_layers[16] = {0};
    aira_scored scored[16];
    uint32_t depth = (uint32_t)strlen(architectures[0]);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t l = 0; l < depth; l++) layers[i][l] = (uint16_t)(architectures[i][l] - '0');
        scored[i] = (aira_scored){layers[i], scores[i]};
    }
    ncluster_config config = {clusters, least_members, weights};
    void *self = NULL;
    cr_assert_eq(ncluster_create(&host, &config, order, &self), AIRA_OK);
    aira_aggregate_in in = {sizeof in, depth, 3, n, tokens, scored};
    aira_aggregate_out out = {sizeof out, 0, out_layers, m.support, &m, keep_note};
    cr_assert_eq(ncluster_table.combine(self, &in, &out), AIRA_OK, "%s", failure);
    ncluster_destroy(self);
    m.size = out.cluster_size;
    for (uint32_t l = 0; l < depth; l++) m.text[l] = (char)('0' + out_layers[l]);
    return m;
}

/* Votes per layer: mA 3 of 4, M 3 of 4, mA 2 and M 2. N0 must not care which members agree with which. */
static const char *const four[] = {"010", "011", "001", "110"};
static const double level[] = {0.9, 0.9, 0.9, 0.9};

Test(merge, n0_takes_each_layer_by_itself) {
    merged m = run(0, 1, NCLUSTER_MODE, four, level, 4);
    cr_expect_str_eq(m.text, "010", "%s", m.text);
    cr_expect_eq(m.size, 4);
    cr_expect(m.support[0] == 0.75 && m.support[1] == 0.75 && m.support[2] == 0.5);
    cr_expect_str_eq(m.notes, "layer 3: mA and M tie with weight 2 each; mA by the order of tokens\n", "%s", m.notes);
}

Test(merge, tie_goes_to_the_higher_summed_score) {
    static const double scores[] = {0.90, 0.95, 0.93, 0.92}; /* layer 3: mA .90 + .92, M .95 + .93 */
    merged m = run(0, 1, NCLUSTER_MODE, four, scores, 4);
    cr_expect_str_eq(m.text, "011", "%s", m.text);
    cr_expect(strstr(m.notes, "M by the higher summed score"), "%s", m.notes);
}

Test(merge, n1_conditions_on_the_layer_before) {
    /* Layer 1: M 3 of 5. Layer 2 among those: mA 2 of 3, though all five prefer M (3 of 5). */
    static const char *const set[] = {"10", "10", "11", "01", "01"};
    static const double scores[] = {1, 1, 1, 1, 1};
    merged m = run(1, 1, NCLUSTER_MODE, set, scores, 5);
    cr_expect_str_eq(m.text, "10", "%s", m.text);
    cr_expect(fabs(m.support[1] - 2.0 / 3) < 1e-15);
    m = run(0, 1, NCLUSTER_MODE, set, scores, 5);
    cr_expect_str_eq(m.text, "11", "%s", m.text);
}

/* layer 1: 0 (3 of 5); layer 2 | 0: 1 (3 of 3); layer 3 | 01: 0, 2, 1 once each */
static const char *const five[] = {"0100", "0122", "2112", "2112", "0112"};
static const double flat[] = {1, 1, 1, 1, 1};

Test(merge, n2_conditions_on_two_layers) {
    merged m = run(2, 1, NCLUSTER_MODE, five, flat, 5);
    cr_expect_str_eq(m.text, "0100", "%s", m.text); /* layer 3: order of tokens; layer 4 | 10: 0 */
    m = run(1, 1, NCLUSTER_MODE, five, flat, 5);
    cr_expect_str_eq(m.text, "0112", "%s", m.text); /* layer 3 | 1: 1 (3 of 5); layer 4 | 1: 2 */
}

Test(merge, back_off_until_enough_members_agree) {
    least_members = 4;
    merged m = run(2, 1, NCLUSTER_MODE, five, flat, 5);
    least_members = 1;
    /* layer 2: only 3 begin with 0, so all 5 vote: 1. Layer 3: 3 have 0 1, all 5 have the 1: 1 (3 of 5).
       Layer 4: 3 have 1 1 and 3 have the last 1, so all 5 vote: 2 (4 of 5). */
    cr_expect_str_eq(m.text, "0112", "%s", m.text);
    cr_expect_str_eq(m.notes,
                     "layer 2: fewer than 4 members have the 1 tokens chosen before it; backed off to 0\n"
                     "layer 3: fewer than 4 members have the 2 tokens chosen before it; backed off to 1\n"
                     "layer 4: fewer than 4 members have the 2 tokens chosen before it; backed off to 0\n",
                     "%s", m.notes);
    cr_expect(m.support[3] == 0.8);
}

Test(merge, n_all_follows_whole_prefixes) {
    static const char *const set[] = {"0111", "0111", "0100", "1100", "1100"};
    static const double scores[] = {1, 1, 1, 1, 1};
    merged m = run(NCLUSTER_ALL, 1, NCLUSTER_MODE, set, scores, 5);
    cr_expect_str_eq(m.text, "0111", "%s", m.text); /* | 01: 1 (2 of 3); N1 would see | 1: 0 (3 of 5) */
    m = run(1, 1, NCLUSTER_MODE, set, scores, 5);
    cr_expect_str_eq(m.text, "0100", "%s", m.text);
}

Test(merge, only_the_top_cluster_votes) {
    static const char *const set[] = {"00", "00", "11", "11", "11", "11"};
    static const double scores[] = {0.95, 0.94, 0.3, 0.31, 0.32, 0.29};
    merged m = run(0, 2, NCLUSTER_MODE, set, scores, 6);
    cr_expect_str_eq(m.text, "00");
    cr_expect_eq(m.size, 2);
    m = run(0, 1, NCLUSTER_MODE, set, scores, 6);
    cr_expect_str_eq(m.text, "11");
}

Test(merge, weights) {
    static const char *const set[] = {"0", "1", "1"};
    static const double scores[] = {3, 2, 1};
    merged m = run(0, 1, NCLUSTER_RANK, set, scores, 3); /* 1 against 1/2 + 1/3 */
    cr_expect_str_eq(m.text, "0");
    cr_expect(fabs(m.support[0] - 6.0 / 11) < 1e-15);
    m = run(0, 1, NCLUSTER_SCORE, set, scores, 3); /* 2 against 1 + 0 */
    cr_expect_str_eq(m.text, "0");
    cr_expect(fabs(m.support[0] - 2.0 / 3) < 1e-15);
    static const double equal[] = {2, 2, 2};
    m = run(0, 1, NCLUSTER_SCORE, set, equal, 3); /* weights say nothing: mode */
    cr_expect_str_eq(m.text, "1");
    static const double tied[] = {3, 3, 1}; /* ranks 1, 1, 3 */
    m = run(0, 1, NCLUSTER_RANK, set, tied, 3);
    cr_expect_str_eq(m.text, "1");
    cr_expect(fabs(m.support[0] - (4.0 / 3) / (7.0 / 3)) < 1e-15);
}

Test(merge, few_distinct_scores_are_said) {
    merged m = run(0, 5, NCLUSTER_MODE, four, level, 4);
    cr_expect_eq(m.size, 4);
    cr_expect(strstr(m.notes, "only 1 distinct scores: 1 clusters instead of 5"), "%s", m.notes);
}

Test(merge, refuses_what_cannot_be_merged) {
    uint16_t layers[1] = {7}, chosen[1];
    double support[1];
    aira_scored scored = {layers, 1};
    ncluster self = {&host, {5, 1, NCLUSTER_MODE}, 0};
    aira_aggregate_in in = {sizeof in, 1, 3, 0, tokens, &scored};
    aira_aggregate_out out = {sizeof out, 0, chosen, support, NULL, NULL};
    cr_expect_eq(ncluster_table.combine(&self, &in, &out), AIRA_E_FAILED);
    cr_expect(strstr(failure, "nothing to aggregate"));
    in.n_candidates = 1;
    cr_expect_eq(ncluster_table.combine(&self, &in, &out), AIRA_E_FAILED);
    cr_expect(strstr(failure, "token 7"));
    layers[0] = 1;
    scored.score = NAN;
    cr_expect_eq(ncluster_table.combine(&self, &in, &out), AIRA_E_FAILED);
    cr_expect(strstr(failure, "no finite score"));
}
