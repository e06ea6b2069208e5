/* train_loop.c - whole small trainings: they learn, do not depend on threads, resume bit for bit, survive bad numbers.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "core/base/fs.h"
#include "tests/support/folder.h"
#include "tests/support/training.h"

static const char recipe[] = "batch: 8, steps: 40, eval_every: 15, clip: 1, optimizer: {use: adamw, lr: 3e-3}, "
                             "schedule: {kind: cosine, warmup: 4, final: 1e-4}";

Test(train_loop, threads_change_nothing_and_it_learns) {
    const char *const precisions[] = {"", ", precision: bf16", ", precision: fp64"};
    for (int p = 0; p < 3; p++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s", recipe, precisions[p]);
        small one = open_small(text, 1, 3), two = open_small(text, 2, 3), other = open_small(text, 1, 4);
        aira__curve a = run_small(&one, 0), b = run_small(&two, 0), c = run_small(&other, 0);
        cr_assert_eq(a.n, 40);
        cr_assert(same_curve(&a, &b), "curves of 1 and 2 threads differ%s", precisions[p]);
        cr_assert_not(same_curve(&a, &c), "the seed changes nothing");
        cr_assert_lt(a.points[39].loss, 0.8 * a.points[0].loss);
        cr_assert_not(isnan(a.points[14].score));
        cr_assert(isnan(a.points[15].score));
        free(a.points);
        free(b.points);
        free(c.points);
        close_small(&one);
        close_small(&two);
        close_small(&other);
    }
}

Test(train_loop, a_resumed_training_continues_bit_for_bit) {
    test_folder folder;
    test_folder_make(&folder);
    char *path = aira__path_join(folder.path, "checkpoint.safetensors");
    aira_error error = {0};
    for (int64_t at = 1; at < 40; at += 11) {
        small whole = open_small(recipe, 1, 3), first = open_small(recipe, 1, 3), second = open_small(recipe, 2, 3);
        aira__curve all = run_small(&whole, 0), start = run_small(&first, at);
        cr_assert_eq(aira__training_save_checkpoint(first.training, path, &error), AIRA_OK, "%s", error.text);
        cr_assert_eq(aira__training_load_checkpoint(second.training, path, &error), AIRA_OK, "%s", error.text);
        aira__curve rest = run_small(&second, 0);
        cr_assert_eq(start.n + rest.n, all.n);
        aira__curve joined = {0};
        for (int k = 0; k < start.n; k++) {
            aira__curve_add(&joined, start.points[k].step, start.points[k].loss, start.points[k].score);
        }
        for (int k = 0; k < rest.n; k++) {
            aira__curve_add(&joined, rest.points[k].step, rest.points[k].loss, rest.points[k].score);
        }
        cr_assert(same_curve(&all, &joined), "resumed at %lld", (long long)at);
        aira__scores a, b;
        cr_assert_eq(aira__training_evaluate(whole.training, AIRA_SPLIT_TEST, &a, &error), AIRA_OK);
        cr_assert_eq(aira__training_evaluate(second.training, AIRA_SPLIT_TEST, &b, &error), AIRA_OK);
        cr_assert_eq(a.score, b.score);
        cr_assert_eq(a.loss, b.loss);
        cr_assert_eq(a.rows, 40);
        cr_assert_eq(a.targets, 40 * 4);
        free(all.points);
        free(start.points);
        free(rest.points);
        free(joined.points);
        close_small(&whole);
        close_small(&first);
        close_small(&second);
    }
    small other = open_small("batch: 8, steps: 41", 1, 3), seed = open_small(recipe, 1, 5);
    cr_assert_eq(aira__training_load_checkpoint(other.training, path, &error), AIRA_E_CONFIG);
    cr_assert_eq(aira__training_load_checkpoint(seed.training, path, &error), AIRA_E_CONFIG);
    close_small(&other);
    close_small(&seed);
    free(path);
    test_folder_remove(&folder);
}

Test(train_loop, weights_survive_a_file) {
    test_folder folder;
    test_folder_make(&folder);
    char *path = aira__path_join(folder.path, "weights.safetensors");
    aira_error error = {0};
    small a = open_small(recipe, 1, 3), b = open_small(recipe, 1, 9);
    aira__curve curve = run_small(&a, 10);
    aira__scores x, y, z;
    cr_assert_eq(aira__training_save_weights(a.training, path, NULL, NULL, 0, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__training_evaluate(b.training, AIRA_SPLIT_SEARCH, &z, &error), AIRA_OK);
    cr_assert_eq(aira__training_load_weights(b.training, path, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__training_evaluate(a.training, AIRA_SPLIT_SEARCH, &x, &error), AIRA_OK);
    cr_assert_eq(aira__training_evaluate(b.training, AIRA_SPLIT_SEARCH, &y, &error), AIRA_OK);
    cr_assert_eq(x.loss, y.loss);
    cr_assert_neq(x.loss, z.loss);
    cr_assert_neq(aira__training_load_checkpoint(b.training, path, &error), AIRA_OK, "weights are no checkpoint");
    free(curve.points);
    close_small(&a);
    close_small(&b);
    free(path);
    test_folder_remove(&folder);
}

Test(train_loop, a_loss_that_is_not_finite_ends_it_and_keeps_the_curve) {
    small s = open_small("batch: 8, steps: 40, optimizer: {use: sgd, lr: 1000}", 1, 3);
    aira__curve curve = {0};
    aira_error error = {0};
    bool nan = false;
    cr_assert_eq(aira__training_run(s.training, 0, NULL, &curve, &nan, &error), AIRA_E_FAILED);
    cr_assert(nan);
    cr_assert_not_null(strstr(error.text, "not finite"));
    cr_assert_gt(curve.n, 1);
    cr_assert(isfinite(curve.points[0].loss));
    cr_assert_not(isfinite(curve.points[curve.n - 1].loss));
    free(curve.points);
    close_small(&s);
}

static int stop_at_five(void *context, const aira__step_result *r, int64_t steps) {
    (void)context;
    (void)steps;
    return r->step == 4;
}

Test(train_loop, it_stops_early_on_request_and_in_time) {
    aira_error error = {0};
    bool nan;
    small s = open_small("batch: 8, steps: 40, eval_every: 2, early_stop: 0.001", 1, 3);
    aira__curve curve = run_small(&s, 0);
    cr_assert_lt(aira__training_next_step(s.training), 40);
    aira__run_hooks asked = {.step = stop_at_five}, late = {.deadline = 1e-9};
    close_small(&s);
    s = open_small("batch: 8, steps: 40", 1, 3);
    cr_assert_eq(aira__training_run(s.training, 0, &asked, NULL, &nan, &error), AIRA_E_CANCELLED);
    cr_assert_eq(aira__training_next_step(s.training), 5);
    cr_assert_eq(aira__training_run(s.training, 0, &late, NULL, &nan, &error), AIRA_E_TIMEOUT);
    cr_assert_eq(aira__training_next_step(s.training), 6);
    free(curve.points);
    close_small(&s);
}
