/* compare_statistics.c - ratings, pairings, percentiles and normalised scores against values that other programs worked
 * out (tests/golden/compare.json, made by make_compare.py), and whole comparisons of made-up runs.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/compare/compare.h"
#include "core/compare/statistics.h"

static json_t *golden(void) {
    const char *source = getenv("AIRA_SOURCE_DIR") ? getenv("AIRA_SOURCE_DIR") : ".";
    char *path = aira__path_join(source, "tests/golden/compare.json");
    aira_error error = {0};
    json_t *loaded = aira__json_load_file(path, &error);
    cr_assert_not_null(loaded, "%s", error.text);
    free(path);
    return loaded;
}

static double real_at(const json_t *list, size_t i) {
    const json_t *value = json_array_get(list, i);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

Test(compare, ratings_are_those_of_another_program) {
    json_t *g = golden(), *task, *xs, *ys;
    size_t t, i, k;
    double wins[25] = {0}, ratings[5], sum = 0;
    aira_error error = {0};
    json_array_foreach(json_object_get(g, "scores"), t, task) {
        bool higher = json_is_true(json_array_get(json_object_get(g, "higher"), t));
        json_array_foreach(task, i, xs)
            json_array_foreach(task, k, ys) for (size_t a = 0; i != k && a < json_array_size(xs);
                                                 a++) for (size_t b = 0; b < json_array_size(ys); b++) {
            double won = aira__pairing(real_at(xs, a), real_at(ys, b), higher);
            wins[i * 5 + k] += won;
            wins[k * 5 + i] += 1 - won;
        }
    }
    cr_assert_eq(aira__bradley_terry(wins, 5, ratings, &error), AIRA_OK, "%s", error.text);
    for (size_t p = 0; p < 5; p++) {
        double want = real_at(json_object_get(g, "ratings"), p);
        cr_expect_float_eq(ratings[p], want, 1e-5, "player %zu: %.9f, want %.9f", p, ratings[p], want);
        sum += ratings[p];
    }
    cr_expect_float_eq(sum, 5000, 1e-6, "the mean is 1000");
    json_decref(g);
}

Test(compare, two_players_by_hand) {
    /* One player that always wins: d/dw of the penalised likelihood is 0 where w = 2n ln10 / (1 + 10^(2w)). */
    double wins[4] = {0, 12, 0, 0}, ratings[2];
    cr_assert_eq(aira__bradley_terry(wins, 2, ratings, NULL), AIRA_OK);
    double w = (ratings[0] - 1000) / 400;
    cr_expect_float_eq(ratings[0] + ratings[1], 2000, 1e-9);
    cr_expect_float_eq(w, 12 * M_LN10 / (1 + pow(10, 2 * w)), 1e-9);
    double even[4] = {0, 3, 3, 0}, none[1] = {0};
    cr_assert_eq(aira__bradley_terry(even, 2, ratings, NULL), AIRA_OK);
    cr_expect_eq(ratings[0], 1000);
    cr_assert_eq(aira__bradley_terry(none, 1, ratings, NULL), AIRA_OK);
    cr_expect_eq(ratings[0], 1000, "a lone player");
}

Test(compare, many_one_sided_games_still_converge) {
    enum { n = 40 };
    static double wins[n * n], ratings[n];
    for (int i = 0; i < n; i++)
        for (int k = i + 1; k < n; k++) wins[i * n + k] = 800; /* nobody ever loses to a later one */
    cr_assert_eq(aira__bradley_terry(wins, n, ratings, NULL), AIRA_OK);
    for (int i = 1; i < n; i++) cr_expect(isfinite(ratings[i]) && ratings[i] < ratings[i - 1], "player %d", i);
}

Test(compare, pairings) {
    static const struct {
        double a, b;
        bool higher;
        double won;
    } cases[] = {{0.5, 0.4, true, 1}, {0.5, 0.4, false, 0}, {0.5, 0.5 + 9e-7, true, 0.5}, {0.5, 0.5 + 2e-6, true, 0},
                 {0.1, NAN, true, 1}, {NAN, 9, false, 0},   {NAN, NAN, true, 0.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(aira__pairing(cases[i].a, cases[i].b, cases[i].higher), cases[i].won, "case %zu", i);
}

Test(compare, percentiles_are_numpys) {
    json_t *g = golden(), *pair;
    double values[37];
    size_t i;
    for (i = 0; i < 37; i++) values[i] = real_at(json_object_get(g, "values"), i);
    aira__sort_reals(values, 37);
    json_array_foreach(json_object_get(g, "percentiles"), i, pair) cr_expect_float_eq(
        aira__percentile(values, 37, real_at(pair, 0)), real_at(pair, 1), 1e-12, "%g", real_at(pair, 0));
    double one = 3;
    cr_expect_eq(aira__percentile(&one, 1, 97.5), 3);
    json_decref(g);
}

Test(compare, rank_correlation_is_numpys) {
    json_t *g = golden();
    const json_t *ranked = json_object_get(g, "ranked");
    double a[25], b[25], same[3] = {2, 2, 2}, got;
    for (size_t i = 0; i < 25; i++) {
        a[i] = real_at(json_object_get(ranked, "a"), i);
        b[i] = real_at(json_object_get(ranked, "b"), i);
    }
    cr_assert_eq(aira__rank_correlation(a, b, 25, &got, NULL), AIRA_OK);
    cr_expect_float_eq(got, aira__json_real(ranked, "spearman", 9), 1e-12);
    cr_assert_eq(aira__rank_correlation(a, a, 25, &got, NULL), AIRA_OK);
    cr_expect_float_eq(got, 1, 1e-12);
    cr_assert_eq(aira__rank_correlation(same, a, 3, &got, NULL), AIRA_OK);
    cr_expect(isnan(got), "all tie");
    json_decref(g);
}

Test(compare, normalised_scores) {
    json_t *g = golden(), *row;
    size_t i;
    json_array_foreach(json_object_get(g, "normalised"), i, row) {
        aira__score_scale scale = {real_at(row, 1), real_at(row, 2), real_at(row, 3)};
        bool higher = json_is_true(json_array_get(row, 0));
        cr_expect_float_eq(aira__normalised_log(&scale, higher, real_at(row, 4)), real_at(row, 5), 1e-9, "row %zu", i);
        cr_expect_float_eq(aira__normalised_linear(&scale, real_at(row, 4)), real_at(row, 6), 1e-12, "row %zu", i);
    }
    json_decref(g);
    aira__score_scale scale = {0.125, 0.999, 1}, unknown = {NAN, NAN, 1};
    cr_expect_eq(aira__normalised_log(&scale, true, 1), AIRA__NORMALISED_MOST, "a perfect score is not infinite");
    cr_expect_eq(aira__normalised_log(&scale, true, NAN), 0, "an invalid run");
    cr_expect(isnan(aira__normalised_log(&unknown, true, 0.5)));
}

/* ---- whole comparisons ---- */

static compare_data made_up(int n_players, int n_tasks, int runs, double (*score)(int player, int task, int k)) {
    compare_data d = {.notes = json_array(), .n_players = n_players, .n_tasks = n_tasks};
    d.players = calloc((size_t)n_players, sizeof *d.players);
    d.tasks = calloc((size_t)n_tasks, sizeof *d.tasks);
    d.runs = calloc((size_t)(n_players * n_tasks * runs), sizeof *d.runs);
    cr_assert(d.players && d.tasks && d.runs && d.notes);
    for (int p = 0; p < n_players; p++) {
        char name[32];
        snprintf(name, sizeof name, "player %d", p);
        d.players[p] = (compare_player){.name = strdup(name), .agent = strdup("{}"), .scaffold = strdup("{}")};
    }
    for (int t = 0; t < n_tasks; t++)
        d.tasks[t] = (compare_task){.name = strdup("task"),
                                    .hash = strdup("hash"),
                                    .metric = strdup("accuracy"),
                                    .higher_is_better = true,
                                    .scale = {0.1, 0.9, 1}};
    for (int p = 0; p < n_players; p++)
        for (int t = 0; t < n_tasks; t++)
            for (int k = 0; k < runs; k++) {
                double s = score(p, t, k);
                d.runs[d.n_runs++] = (compare_run){.player = p,
                                                   .task = t,
                                                   .dir = "run",
                                                   .search = k + 1,
                                                   .seed = k,
                                                   .architecture = isnan(s) ? NULL : strdup("mA M"),
                                                   .selection = s,
                                                   .test = NAN,
                                                   .score = NAN,
                                                   .ended = true};
            }
    return d;
}

static double spread_scores(int player, int task, int k) { return 0.3 + 0.1 * player + 0.02 * k + 0.01 * task; }
static double some_invalid(int player, int task, int k) {
    return player == 0 && k % 2 ? NAN : spread_scores(player, task, k);
}

Test(compare, order_rates_and_intervals) {
    compare_data d = made_up(3, 2, 6, some_invalid);
    aira_error error = {0};
    cr_assert_eq(aira__compare_compute(&d, &error), AIRA_OK, "%s", error.text);
    cr_expect_str_eq(d.players[0].name, "player 2");
    cr_expect_str_eq(d.players[2].name, "player 0");
    cr_expect(d.players[2].runs == 12 && d.players[2].valid == 6);
    double sum = 0;
    for (int p = 0; p < 3; p++) {
        const compare_player *x = &d.players[p];
        sum += x->rating.value;
        cr_expect(x->rating.low <= x->rating.median && x->rating.median <= x->rating.high, "%s", x->name);
        cr_expect(x->normalised.low < x->normalised.value && x->normalised.value < x->normalised.high, "%s", x->name);
    }
    cr_expect_float_eq(sum, 3000, 1e-6);
    /* Mean over two tasks of means over six runs, by hand: player 2 has 0.5 + 0.02 k + 0.01 t, all linear. */
    cr_expect_float_eq(d.players[0].linear.value, (0.5 + 0.05 + 0.005 - 0.1) / 0.8, 1e-12);
    for (int i = 0; i < d.n_runs; i++) /* runs kept their player through the sorting */
        if (d.runs[i].player == 2) cr_expect(isnan(d.runs[i].score) == (d.runs[i].seed % 2 == 1));
    compare_cell c = aira__compare_cell(&d, 2, 0);
    cr_expect(c.runs == 6 && c.valid == 3);
    cr_expect_float_eq(c.mean, 0.3 + 0.02 * 2, 1e-12);
    cr_expect_float_eq(c.deviation, 0.04, 1e-12);
    aira__compare_release(&d);
}

Test(compare, seeds_make_it_repeatable) {
    double low[2];
    for (int i = 0; i < 2; i++) {
        compare_data d = made_up(2, 1, 5, spread_scores);
        cr_assert_eq(aira__compare_compute(&d, NULL), AIRA_OK);
        low[i] = d.players[0].normalised.low;
        aira__compare_release(&d);
    }
    cr_expect_eq(low[0], low[1]);
}

Test(compare, a_worse_run_moves_nobody_else) {
    compare_data d = made_up(2, 1, 4, spread_scores), e = made_up(2, 1, 4, spread_scores);
    e.runs[0].selection = 0.0001;
    cr_assert_eq(aira__compare_compute(&d, NULL), AIRA_OK);
    cr_assert_eq(aira__compare_compute(&e, NULL), AIRA_OK);
    cr_expect_str_eq(e.players[0].name, "player 1");
    cr_expect_eq(d.players[0].normalised.value, e.players[0].normalised.value, "the scale is frozen");
    cr_expect(d.players[1].normalised.value > e.players[1].normalised.value);
    aira__compare_release(&d);
    aira__compare_release(&e);
}

Test(compare, test_scores_count_only_where_all_have_one) {
    compare_data d = made_up(2, 1, 3, spread_scores), e = made_up(2, 1, 3, spread_scores);
    for (int i = 0; i < d.n_runs; i++) d.runs[i].test = e.runs[i].test = 0.9 - d.runs[i].selection;
    e.runs[4].test = NAN;
    cr_assert_eq(aira__compare_compute(&d, NULL), AIRA_OK);
    cr_assert_eq(aira__compare_compute(&e, NULL), AIRA_OK);
    cr_expect(d.tasks[0].final && !e.tasks[0].final);
    cr_expect_str_eq(d.players[0].name, "player 0", "by test scores");
    cr_expect_str_eq(e.players[0].name, "player 1", "by selection scores");
    cr_expect_eq(json_array_size(e.notes), 1);
    aira__compare_release(&d);
    aira__compare_release(&e);
}

Test(compare, anytime_quartiles) {
    compare_data d = made_up(1, 1, 3, spread_scores);
    static const compare_point points[3][3] = {
        {{1, 0.1}, {4, 0.5}, {9, 0.5}}, {{2, 0.3}, {6, 0.4}, {7, 0.4}}, {{3, 0.2}}};
    static const int counts[3] = {3, 3, 1};
    double q[3];
    for (int i = 0; i < 3; i++) {
        d.runs[i].points = malloc(sizeof points[i]);
        cr_assert_not_null(d.runs[i].points);
        memcpy(d.runs[i].points, points[i], sizeof points[i]);
        d.runs[i].n_points = counts[i];
    }
    cr_expect_eq(aira__compare_anytime(&d, 0, 0, 0, q), 0);
    cr_expect_eq(aira__compare_anytime(&d, 0, 0, 1, q), 1);
    cr_expect_eq(q[1], 0.1);
    cr_expect_eq(aira__compare_anytime(&d, 0, 0, 5, q), 3);
    cr_expect_float_eq(q[0], 0.25, 1e-12);
    cr_expect_float_eq(q[1], 0.3, 1e-12);
    cr_expect_float_eq(q[2], 0.4, 1e-12);
    cr_expect_eq(aira__compare_most_evaluations(&d, -1, 0), 9);
    aira__compare_release(&d);
}
