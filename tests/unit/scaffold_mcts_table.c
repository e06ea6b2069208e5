/* tests/unit/scaffold_mcts_table.c - mcts against cases worked out by hand; see tests/support/policy.h.
 *
 * aira (5 children, c 0.25): with five drafts worth 0.1 .. 0.5 every one has n = 1, the root N = 5, so that the bound's
 * second term is 0.25 sqrt(ln 5) = 0.317 for all and the best draft is expanded. After its five children at 0.5 (the
 * draft itself) and, say, 0.1 x 5 its mean is (0.5 + 5 * 0.1) / 6 = 1/6, scaled (1/6 - 0.1) / 0.4 = 0.167 with
 * n = 6, N = 10: 0.167 + 0.25 sqrt(ln 10 / 6) = 0.322; the draft at 0.4 has 0.75 + 0.25 sqrt(ln 10) = 1.129.
 */
#include "tests/support/policy.h"

#define DRAFTS "d=0.1 d=0.2 d=0.3 d=0.4 d=0.5 "

typedef struct worked {
    const char *preset;
    bool higher;
    const char *journal, *expected, *why;
} worked;

static const worked cases[] = {
    {"aira", true, "", "draft", "the root is expanded first"},
    {"aira", true, "d=0.1 d=0.2 d=0.3 d=0.4", "draft", "by five"},
    {"aira", true, DRAFTS, "improve 4", "equal visits: the best mean"},
    {"aira", false, DRAFTS, "improve 0", "the lowest, where lower is better"},
    {"aira", true, "d=0.2 d=0.5 d=0.5 d=0.1 d=0.3", "improve 1", "a tie: the earliest"},
    {"aira", true, DRAFTS "i4=0.1", "improve 4", "an expansion goes on, whatever it found"},
    {"aira", true, DRAFTS "4i4=0.1", "improve 4", "up to five"},
    {"aira", true, DRAFTS "5i4=0.1", "improve 3", "0.322 against 1.129: the next draft"},
    {"aira", true, DRAFTS "4i4=0.5 i4=0.6", "improve 9", "a good subtree: its best child (the root's N is 10)"},
    {"aira", true, DRAFTS "5i4=0.1 i3=0.1", "improve 3", "that one's expansion goes on"},
    {"aira", true, DRAFTS "i4=x", "debug 5", "a broken child is repaired at once"},
    {"aira", true, DRAFTS "i4=x f5=x", "debug 6", "again and again"},
    {"aira", true, DRAFTS "i4=x f5=0.9", "improve 4", "then the expansion goes on"},
    {"aira", true, DRAFTS "i4=x 19f<=x", "debug 24", "19 repairs: one more"},
    {"aira", true, DRAFTS "i4=x 20f<=x", "improve 4", "20 in a row: given up"},
    {"aira", true, DRAFTS "i4=x f5=0.9 4i4=0.1", "improve 3", "one lucky repair: 0.405 against 0.754"},
    {"aira", true, DRAFTS "i4=x f5=0.9 4i4=0.85", "improve 6",
     "1.030 against 0.754; then by the broken node to its repair"},
    {"aira", true, "4d=x d=0.5", "debug 0", "drafts are repaired too"},
    {"aira", true, "d=x 20f<=x d=0.5 d=0.2 d=0.3 d=0.4", "improve 21", "a draft that was given up is avoided"},
    {"aira", true, "d=x 20f<=x d=x 20f<=x d=x 20f<=x d=x 20f<=x d=x 20f<=x", "draft", "nothing works: more drafts"},
    {"aira", true, "d=0.1 d=0.2 d=?", "draft", "pending ones are children"},
    {"aira", true, "d=0.1 d=0.2 d=0.3 d=0.4 d=?", "wait", "all five must be known before a path is chosen"},
    {"textbook", true, "d=0.1 d=0.2", "draft", "three drafts"},
    {"textbook", true, "d=0.1 d=0.2 d=0.3", "improve 2", "equal visits: the best; it has no child yet"},
    {"textbook", true, "d=0.1 d=0.2 d=0.3 i2=0.3", "improve 2", "1 + 1.414 sqrt(ln 4 / 2) = 2.177 against 2.165"},
    {"textbook", true, "d=0.1 d=0.2 d=0.3 i2=0.1", "improve 1", "0.5 + 1.177 = 1.677 against 2.165"},
    {"textbook", true, "d=0.1 d=0.2 d=0.3 i2=x 20f<=x", "improve 1", "what broke for good counts as the lowest value"},
    {"textbook", true, "d=0.1 d=0.2 d=0.3 3i2=0.3", "improve 1", "1 + 1.414 sqrt(ln 6 / 4) = 1.947 against 2.393"},
};

Test(mcts_table, decides_as_worked_out_by_hand) {
    policy aira = policy_open("mcts"), textbook = policy_open("{use: mcts, preset: textbook}");
    static const double draws[] = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const worked *c = &cases[i];
        char said[64];
        policy_decide(strcmp(c->preset, "aira") ? &textbook : &aira, c->journal, c->higher, draws, 1, said);
        cr_expect_str_eq(said, c->expected, "case %zu (%s): %s: `%s` gave %s, not %s", i, c->preset, c->why, c->journal,
                         said, c->expected);
    }
    policy_close(&aira);
    policy_close(&textbook);
}
