/* search_progress.c - the frame that a terminal shows: its words, its size, what strange text may do to it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/search/progress.h"

static aira__progress_view view_of(const aira__progress_counts *counts, const aira__budget *budget,
                                   const aira__usage *usage, const aira__usage *before) {
    return (aira__progress_view){.study = "quickstart",
                                 .counts = counts,
                                 .budget = budget,
                                 .usage = usage,
                                 .before = before,
                                 .seconds = 3725,
                                 .session = 100,
                                 .best_age = 65,
                                 .running = 2,
                                 .waiting = 3,
                                 .asking = 1,
                                 .n_searches = 2,
                                 .n_done = 1,
                                 .n_shown = 2,
                                 .searches = {{.label = "mutate/greedy",
                                               .id = 1,
                                               .seed = 7,
                                               .nodes = 12,
                                               .limit = 12,
                                               .best = 0.5,
                                               .architecture = "2mA M",
                                               .state = "done"},
                                              {.label = "gpt \033[2J\n\xc3\x28",
                                               .id = 2,
                                               .seed = 8,
                                               .nodes = 3,
                                               .limit = -1,
                                               .best = NAN,
                                               .state = "running"}}};
}

static const aira__budget no_budget = {
    .candidates = -1, .evaluations = -1, .wall = -1, .device_seconds = -1, .flops = -1, .money_usd = -1, .tokens = -1};

Test(progress, a_frame_word_for_word) {
    aira__progress_counts counts = {.higher_is_better = true};
    const double scores[] = {0.25, 0.5, 0.375, 0.5, 0.75};
    for (int i = 0; i < 5; i++)
        aira__progress_count(&counts, i < 2 ? 0 : 1, i != 2, i == 3, scores[i], 1, i, "2mA M", 10);
    aira__budget budget = no_budget;
    budget.candidates = 20;
    budget.money_usd = 4;
    const aira__usage usage = {.candidates = 5,
                               .trainings = 9,
                               .flops = 1.5e12,
                               .tokens = 41000,
                               .money_usd = 0.5,
                               .unpriced = 2},
                      before = {.tokens = 1000};
    aira__progress_view v = view_of(&counts, &budget, &usage, &before);
    aira__buf b = {0};
    int n = aira__progress_frame(&v, 99, 24, false, &b);
    static const char expected[] =
        "quickstart  01:02:05  searches 1 of 2 done\n"
        "best   0.75, +0.25, 00:01:05 ago  2mA M  (search 1, node 4)\n"
        "       _---'\n"
        "nodes  5/20  draft 2 improve 3  duplicates 1 (20 %)  failed 1 (20 %)\n"
        "work   2 training, 3 waiting  9 trained  1.5T FLOPs  calls in flight 1\n"
        "spent  tokens 41.0K, 24.0K/min  money 0.50 of 4.00 USD  (2 answers without a price)\n"
        "budget #####...............  25 % of candidates  about 00:05:00 left\n"
        "    1  mutate/greedy            seed 7        12/12    best 0.5        done     2mA M\n"
        "    2  gpt ?[2J?"
        "?(              seed 8         3       best -          running  \n";
    cr_expect_str_eq(b.data, expected, "%s", b.data);
    cr_expect_eq(n, 9);
    aira__buf_free(&b);
}

Test(progress, a_frame_fits_the_window) {
    aira__progress_counts counts = {.higher_is_better = true};
    for (int i = 0; i < 3000; i++)
        aira__progress_count(&counts, i % 3, true, false, i, 1, i, "16mA 16M 16Mb 16mA 16M 16Mb 16mA 16M 16Mb", 10);
    cr_expect(counts.n_history <= AIRA__PROGRESS_HISTORY && counts.n_history >= AIRA__PROGRESS_HISTORY / 4);
    const aira__usage usage = {.tokens = NAN, .money_usd = NAN}, before = {0};
    aira__progress_view v = view_of(&counts, &no_budget, &usage, &before);
    v.n_searches = 1000;
    for (int i = 2; i < AIRA__PROGRESS_SEARCHES; i++) v.searches[i] = v.searches[0];
    v.n_shown = AIRA__PROGRESS_SEARCHES;
    for (int columns = 1; columns < 130; columns += 8)
        for (int rows = 1; rows < 40; rows += 5) {
            aira__buf b = {0};
            int n = aira__progress_frame(&v, columns, rows, true, &b), lines = 0, width = 0;
            for (const char *at = b.data; *at; at++) {
                width += ((unsigned char)*at & 0xc0) != 0x80 && *at != '\n';
                cr_assert_leq(width, columns);
                if (*at == '\n') lines++, width = 0;
            }
            cr_assert_eq(lines, n);
            cr_assert(n <= rows && n <= AIRA__FRAME_LINES);
            aira__buf_free(&b);
        }
}

Test(progress, the_nearest_limit_decides_what_is_left) {
    aira__progress_counts counts = {0};
    aira__budget budget = no_budget;
    const aira__usage usage = {.candidates = 30, .money_usd = 3, .tokens = NAN},
                      before = {.candidates = 20, .money_usd = 1};
    aira__progress_view v = view_of(&counts, &budget, &usage, &before);
    cr_expect(isnan(aira__progress_eta(&v)), "no limit, no end");
    budget.candidates = 50; /* 10 in 100 s: 200 s for 20 more */
    cr_expect_float_eq(aira__progress_eta(&v), 200, 1e-9);
    budget.money_usd = 4; /* 2 in 100 s: 50 s for 1 more */
    cr_expect_float_eq(aira__progress_eta(&v), 50, 1e-9);
    budget.wall = 3725 + 10;
    cr_expect_float_eq(aira__progress_eta(&v), 10, 1e-9);
    budget.tokens = 1000; /* unknown use says nothing */
    cr_expect_float_eq(aira__progress_eta(&v), 10, 1e-9);
}

Test(progress, lower_can_be_better) {
    aira__progress_counts counts = {.higher_is_better = false};
    aira__progress_count(&counts, 0, true, false, 3, 1, 0, "M", 1);
    aira__progress_count(&counts, 0, true, false, 4, 1, 1, "M", 2);
    aira__progress_count(&counts, 0, false, false, NAN, 1, 2, NULL, 3);
    aira__progress_count(&counts, 0, true, false, 2, 1, 3, "mA", 4);
    cr_expect_float_eq(counts.best, 2, 0);
    cr_expect_float_eq(counts.before, 3, 0);
    cr_expect_eq(counts.best_node, 3);
    cr_expect_eq(counts.failed, 1);
}
