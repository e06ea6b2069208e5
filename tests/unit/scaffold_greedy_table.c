/* tests/unit/scaffold_greedy_table.c - greedy search against cases worked out by hand from its rules:
 *
 *   1. fewer drafts than 5 (buggy and pending ones count): draft;
 *   2. u < debug_prob: one of the buggy leaves with debug_depth <= the limit, uniformly: debug;
 *   3. no good node: draft;
 *   4. improve the best node of the whole journal, ties to the earliest.
 *
 * Presets: aira (5, 1.0, 20), aide (5, 0.5, 3). tests/support/policy.h says how journals are written.
 */
#include "tests/support/policy.h"

#define GOOD4 "d=0.1 d=0.2 d=0.3 d=0.4 "
#define GOOD5 GOOD4 "d=0.5 "
#define BAD5 "d=x d=x d=x d=x d=x "

typedef struct worked {
    const char *preset;
    bool higher;
    double coin, pick; /* u of rule 2, and of the choice among leaves */
    const char *journal, *expected, *why;
} worked;

static const worked cases[] = {
    /* 1: drafts */
    {"aira", true, 0.0, 0.0, "", "draft", "nothing yet"},
    {"aira", true, 0.0, 0.0, "d=0.9", "draft", "one draft, however good"},
    {"aira", true, 0.0, 0.0, GOOD4, "draft", "four of five"},
    {"aira", true, 0.0, 0.0, "d=x", "draft", "a buggy draft is not repaired before there are five"},
    {"aira", true, 0.0, 0.0, "d=x d=x d=x d=x", "draft", "buggy drafts count: this is the fifth"},
    {"aira", true, 0.0, 0.0, BAD5, "debug 0", "five buggy drafts are five drafts"},
    {"aira", true, 0.0, 0.0, "d=0.1 d=? d=? d=?", "draft", "pending drafts count: this is the fifth"},
    {"aira", true, 0.0, 0.0, "d=0.1 d=? d=? d=? d=?", "wait", "and no sixth; one of them may be the best"},
    {"aira", true, 0.0, 0.0, GOOD4 "i3=0.9", "draft", "an improvement is no draft"},
    {"aira", true, 0.0, 0.0, "d=x f0=0.9 d=0.1 d=0.1 d=0.1", "draft", "nor is a repair of one"},
    {"aide", true, 0.9, 0.0, "d=x d=0.2 d=0.3 d=0.4", "draft", "the same under the other preset"},
    {"aide", true, 0.0, 0.0, "d=0.1 d=x d=x d=x", "draft", "whatever the coin says"},
    /* 4: the best */
    {"aira", true, 0.0, 0.0, GOOD5, "improve 4", "the highest of the drafts"},
    {"aira", false, 0.0, 0.0, GOOD5, "improve 0", "the lowest where lower is better"},
    {"aira", true, 0.0, 0.0, GOOD5 "i4=0.7", "improve 5", "an improvement that is better"},
    {"aira", true, 0.0, 0.0, GOOD5 "i4=0.3", "improve 4", "one that is worse"},
    {"aira", true, 0.0, 0.0, GOOD5 "i4=0.5", "improve 4", "a tie: the earliest"},
    {"aira", true, 0.0, 0.0, "d=0.5 d=0.5 d=0.5 d=0.5 d=0.5", "improve 0", "five of them: the first"},
    {"aira", false, 0.0, 0.0, "d=0.5 d=0.2 d=0.2 d=0.5 d=0.3", "improve 1", "the same downwards"},
    {"aira", true, 0.0, 0.0, GOOD5 "i4=0.6 i5=0.55 i5=0.58 i5=0.4", "improve 5", "no patience, no limit of children"},
    {"aira", true, 0.0, 0.0, "d=-3 d=-1 d=-2 d=-9 d=-5", "improve 1", "scores may be negative"},
    {"aide", true, 0.9, 0.0, GOOD5, "improve 4", "the same under the other preset"},
    {"aide", true, 0.1, 0.0, GOOD5, "improve 4", "a coin for repair, and nothing to repair"},
    /* 2: leaves */
    {"aira", true, 0.999, 0.0, GOOD4 "d=x", "debug 4", "debug_prob 1: always"},
    {"aira", true, 0.0, 0.0, GOOD5 "i4=x", "debug 5", "a broken improvement is repaired before the next"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x f4=0.05", "improve 3", "repaired: its draft is no leaf any more"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x f4=x", "debug 5", "a repair that failed is the leaf now"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x f4=?", "improve 3", "a pending repair: its parent is no leaf"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x f4=x f5=0.9", "improve 6", "a chain with a good end; the end is the best"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x 20f<=x", "debug 24", "debug_depth 20 is within the limit of 20"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x 21f<=x", "improve 3", "21 is not: a chain has 21 repairs at most"},
    {"aide", true, 0.0, 0.0, GOOD4 "d=x 3f<=x", "debug 7", "3 is within the limit of 3"},
    {"aide", true, 0.0, 0.0, GOOD4 "d=x 4f<=x", "improve 3", "4 is not"},
    {"aide", true, 0.0, 0.99, "d=0.4 d=0.3 d=x d=0.1 d=x 4f<=x", "debug 2", "one chain given up, one leaf left"},
    {"aide", true, 0.49, 0.0, GOOD4 "d=x", "debug 4", "u < 0.5"},
    {"aide", true, 0.5, 0.0, GOOD4 "d=x", "improve 3", "u = 0.5 is not below it"},
    {"aide", true, 0.51, 0.0, GOOD4 "d=x", "improve 3", "u > 0.5"},
    {"aira", true, 0.0, 0.0, "d=x d=x d=0.1 d=x d=0.2", "debug 0", "three leaves, the first third of the draw"},
    {"aira", true, 0.0, 0.34, "d=x d=x d=0.1 d=x d=0.2", "debug 1", "the second third"},
    {"aira", true, 0.0, 0.999, "d=x d=x d=0.1 d=x d=0.2", "debug 3", "the last third"},
    {"aira", true, 0.0, 0.5, "d=x d=x d=0.1 d=x d=0.2 f1=0.1", "debug 3", "two leaves are left"},
    {"aira", true, 0.0, 0.0, GOOD4 "d=x i3=x f5=0.2 i3=x", "debug 4", "leaves of any age: 4 and 7"},
    /* the depth counts repairs in a row, not levels */
    {"aide", true, 0.0, 0.0, GOOD4 "d=x 3f<=x f<=0.45 i<=x", "debug 9", "an improvement begins at depth 0"},
    /* 3: nothing good */
    {"aide", true, 0.9, 0.0, BAD5, "draft", "no repair by the coin, and no good node"},
    {"aide", true, 0.9, 0.0, BAD5 "d=x", "draft", "again, without limit"},
    {"aide", true, 0.1, 0.0, "d=x 4f<=x d=x 4f<=x d=x 4f<=x d=x 4f<=x d=x 4f<=x", "draft",
     "every chain is given up: nothing to repair"},
    {"aide", true, 0.1, 0.0, BAD5 "f0=0.1", "debug 1", "repairs come before improving"},
    {"aide", true, 0.9, 0.0, BAD5 "f0=0.1", "improve 5", "a repaired node is good"},
    {"aira", true, 0.0, 0.0, "d=x 21f<=x d=? d=? d=? d=?", "wait", "a pending draft may be good"},
    {"aide", true, 0.9, 0.0, BAD5 "f0=?", "wait", "a pending repair may be good"},
};

Test(greedy_table, decides_as_worked_out_by_hand) {
    policy aira = policy_open("{use: greedy, preset: aira}"), aide = policy_open("{use: greedy, preset: aide}");
    cr_assert_geq(sizeof cases / sizeof cases[0], 30);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const worked *c = &cases[i];
        const double draws[] = {c->coin, c->pick};
        char said[64];
        policy_decide(strcmp(c->preset, "aide") ? &aira : &aide, c->journal, c->higher, draws, 2, said);
        cr_expect_str_eq(said, c->expected, "case %zu (%s): %s: `%s` gave %s, not %s", i, c->preset, c->why, c->journal,
                         said, c->expected);
    }
    policy_close(&aira);
    policy_close(&aide);
}

Test(greedy_table, default_is_the_preset_aira) {
    policy plain = policy_open("greedy");
    static const double draws[] = {0.999, 0};
    char said[64];
    policy_decide(&plain, GOOD4 "d=x 20f<=x", true, draws, 2, said);
    cr_assert_str_eq(said, "debug 24");
    policy_close(&plain);
}

/* 3,000 seeds over four leaves: 750 each, standard deviation 24. And the coin of `aide`: 1,500, 27. */
Test(greedy_table, chooses_leaves_uniformly_and_repairs_half_the_time) {
    policy aira = policy_open("greedy"), aide = policy_open("{use: greedy, preset: aide}");
    int count[8] = {0}, repaired = 0;
    char said[64];
    for (uint64_t seed = 0; seed < 3000; seed++) {
        policy_decide_seeded(&aira, "d=x d=x d=0.5 d=x d=0.1 i2=x", true, seed, said);
        int leaf = -1;
        cr_assert(sscanf(said, "debug %d", &leaf) == 1 && leaf >= 0 && leaf < 8, "%s", said);
        count[leaf]++;
        policy_decide_seeded(&aide, GOOD4 "d=x", true, seed, said);
        repaired += !strcmp(said, "debug 4");
    }
    for (int i = 0; i < 8; i++) {
        bool leaf = i == 0 || i == 1 || i == 3 || i == 5;
        cr_expect(leaf ? abs(count[i] - 750) < 120 : count[i] == 0, "leaf %d was chosen %d times", i, count[i]);
    }
    cr_expect_lt(abs(repaired - 1500), 135, "%d of 3000 repaired", repaired);
    policy_close(&aira);
    policy_close(&aide);
}
