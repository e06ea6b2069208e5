/* tests/unit/scaffold_evolution_table.c - evolution against cases worked out by hand; see tests/support/policy.h.
 *
 * aira: five drafts worth 0.1 .. 0.5 have fitness 0, 1/4, 1/2, 3/4, 1 and weights 1, 1.284, 1.649, 2.117, 2.718, which
 * add up to 1, 2.284, 3.933, 6.050, 8.768. A draw u chooses the first whose sum exceeds 8.768 u.
 */
#include "tests/support/policy.h"

#define FIVE "d=0.1 d=0.2 d=0.3 d=0.4 d=0.5 "
#define EIGHT FIVE "d=0.6 d=0.7 d=0.8 "

typedef struct worked {
    int config;                     /* of the list in the test */
    double island, coin, parent;    /* draws: of the island, for crossover, of parents */
    const char *journal, *expected; /* coin < 0: lower is better, and no crossover */
    const char *why;
} worked;

enum { AIRA, REGULARISED, ISLANDS, MIGRATING, NO_DEBUG, N_CONFIGS };
static const char *const configs[] = {
    "evolution", "{use: evolution, preset: regularised}", "{use: evolution, islands: 2}",
    "{use: evolution, islands: 2, migration: 1, crossover: 1}", "{use: evolution, debug_depth: 0}"};

static const worked cases[] = {
    {AIRA, 0, 0, 0, "", "draft", "the first generation"},
    {AIRA, 0, 0, 0, "d=0.9 d=0.1 d=0.1 d=0.1", "draft", "five of them"},
    {AIRA, 0, 0, 0.00, FIVE, "improve 0", "the worst has its chance"},
    {AIRA, 0, 0, 0.11, FIVE, "improve 0", "0.965 < 1"},
    {AIRA, 0, 0, 0.12, FIVE, "improve 1", "1.052 > 1"},
    {AIRA, 0, 0, 0.44, FIVE, "improve 2", "3.858 < 3.933"},
    {AIRA, 0, 0, 0.45, FIVE, "improve 3", "3.946 > 3.933"},
    {AIRA, 0, 0, 0.70, FIVE, "improve 4", "6.138 > 6.050"},
    {AIRA, 0, -1, 0.30, FIVE, "improve 0", "downwards the first weighs 2.718 > 2.630"},
    {AIRA, 0, -1, 0.32, FIVE, "improve 1", "2.806 > 2.718"},
    {AIRA, 0, 0, 0.999, FIVE "i0=0.2", "improve 4", "a child below the mean of 0.3 does not live"},
    {AIRA, 0, 0, 0.999, FIVE "i0=0.3", "improve 5", "one that is as good does"},
    {AIRA, 0, 0, 0.999, FIVE "i0=0.3 i0=0.3", "improve 6", "and leaves the mean at 0.3"},
    {AIRA, 0, 0, 0.0, FIVE "4i0=0.1", "improve 0", "no crossover among the first five children"},
    {AIRA, 0, 0, 0.0, FIVE "5i0=0.1", "cross 0 1", "then by the coin; the second parent is another one"},
    {AIRA, 0, 0, 0.999, FIVE "5i0=0.1", "cross 4 3", "both by softmax"},
    {AIRA, 0, 0.49, 0.0, FIVE "5i0=0.1", "cross 0 1", "0.49 < 0.5"},
    {AIRA, 0, 0.5, 0.0, FIVE "5i0=0.1", "improve 0", "0.5 is not"},
    {AIRA, 0, 0, 0.0, "d=0.1 4d=? i0=0.01 i0=0.01 i0=0.01 i0=0.01 i0=0.01", "improve 0",
     "one alone cannot cross, and nothing breaks"},
    {AIRA, 0, 0, 0.0, "5d=?", "wait", "nobody lives yet"},
    {AIRA, 0, 0, 0.0, "d=x", "debug 0", "what broke is repaired first"},
    {AIRA, 0, 0, 0.0, "d=x f<=x", "debug 1", "again"},
    {AIRA, 0, 0, 0.0, "d=x 9f<=x", "debug 9", "up to ten times in a row"},
    {AIRA, 0, 0, 0.0, "d=x 10f<=x", "draft", "then it is given up"},
    {AIRA, 0, 0, 0.0, "d=x f<=0.05 d=0.1 d=0.2 d=0.3 d=0.4", "improve 1", "a repaired draft lives, however bad"},
    {AIRA, 0, 0, 0.999, FIVE "i4=x f<=0.1", "improve 4", "a repaired child does only where it is good enough"},
    {AIRA, 0, 0, 0.999, FIVE "i4=x f<=0.4", "improve 6", "as this one is"},
    {NO_DEBUG, 0, 0, 0.999, "d=x d=0.1 d=0.2 d=0.3 d=0.4", "improve 4", "no repairs at all"},
    {NO_DEBUG, 0, 0, 0.0, "d=x d=x d=x d=x d=x", "draft", "nobody lives, nothing is pending: draft again"},
    {REGULARISED, 0, 0, 0.0, FIVE "d=0.6 d=0.7", "draft", "eight drafts"},
    {REGULARISED, 0, 0, 0.0, EIGHT, "improve 0", "three draws of the first"},
    {REGULARISED, 0, 0, 0.99, EIGHT, "improve 7", "of the last"},
    {REGULARISED, 0, 0, 0.0, EIGHT "i0=0.01", "improve 1", "the ninth lives, and the oldest dies"},
    {REGULARISED, 0, 0, 0.99, EIGHT "i0=0.01", "improve 8", "however bad it is"},
    {REGULARISED, 0, 0, 0.0, EIGHT "9i0=0.9", "improve 9", "no crossover; the drafts have died out, and one more"},
    {ISLANDS, 0.0, 0, 0.999, EIGHT "d=0.9", "draft", "five drafts for each of two islands"},
    {ISLANDS, 0.0, 0, 0.999, EIGHT "d=0.9 d=1", "improve 8", "the even ones live on the first"},
    {ISLANDS, 0.999, 0, 0.999, EIGHT "d=0.9 d=1", "improve 9", "the odd ones on the second"},
    {ISLANDS, 0.999, 0, 0.999, EIGHT "d=0.9 d=1 i9=1", "improve 10", "a child lives with its parent"},
    {ISLANDS, 0.0, 0, 0.999, EIGHT "d=0.9 d=1 i9=1", "improve 8", "not on the other island"},
    {MIGRATING, 0.0, 0, 0.0, EIGHT "d=0.9 d=1 5i9=0.1", "cross 0 1", "the second parent from the other island"},
};

Test(evolution_table, decides_as_worked_out_by_hand) {
    policy p[N_CONFIGS];
    for (int i = 0; i < N_CONFIGS; i++) p[i] = policy_open(configs[i]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const worked *c = &cases[i];
        const double draws[] = {0, c->island, c->coin < 0 ? 1 : c->coin, 0, c->parent};
        char said[64];
        policy_decide(&p[c->config], c->journal, c->coin >= 0, draws, 5, said);
        cr_expect_str_eq(said, c->expected, "case %zu (%s): %s: `%s` gave %s, not %s", i, configs[c->config], c->why,
                         c->journal, said, c->expected);
    }
    for (int i = 0; i < N_CONFIGS; i++) policy_close(&p[i]);
}

/* Above capacity the worst dies: of drafts worth 0.1, 0.2, 0.3 with room for two, the first. */
Test(evolution_table, evicts_the_worst) {
    policy p = policy_open("{use: evolution, capacity: 2, individuals: 3}");
    static const double first[] = {0}, last[] = {0, 0, 0, 0, 0.999};
    char said[64];
    policy_decide(&p, "d=0.2 d=0.1 d=0.3", true, first, 1, said);
    cr_assert_str_eq(said, "improve 0");
    policy_decide(&p, "d=0.3 d=0.2 d=0.1", true, last, 5, said);
    cr_assert_str_eq(said, "improve 1", "the newcomer itself dies where it is the worst: %s", said);
    policy_decide(&p, "d=0.1 d=0.2 d=0.3", false, last, 5, said);
    cr_assert_str_eq(said, "improve 1", "%s", said);
    policy_close(&p);
}
