/* train_metrics.c - macro accuracy against cases worked out by hand; order of rows. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "core/train/batches.h"
#include "core/train/metrics.h"

typedef struct accuracy {
    double macro;
    int64_t right, answers;
} accuracy;

static accuracy of(const int32_t *prediction, const int32_t *target, int64_t n, int64_t classes) {
    int64_t counts[64];
    accuracy a = {0, 0, 0};
    a.macro = aira__macro_accuracy(prediction, target, n, classes, counts, &a.right, &a.answers);
    return a;
}

Test(train_metrics, macro_accuracy) {
    /* class 0: 2 of 3; class 1: 1 of 1; class 2: only predicted, counts 0; class 3: absent */
    const int32_t target[] = {0, 0, 0, 1, -100, 9}, prediction[] = {0, 0, 2, 1, 3, 3};
    accuracy a = of(prediction, target, 6, 4);
    cr_assert_float_eq(a.macro, (2.0 / 3 + 1 + 0) / 3, 1e-15);
    cr_assert_eq(a.right, 3);
    cr_assert_eq(a.answers, 4);
    const int32_t all[] = {3, 1, 2}, none[] = {1, 2, 3}, ignored[] = {-100, -1, 4};
    cr_assert_float_eq(of(all, all, 3, 4).macro, 1, 0);
    cr_assert_float_eq(of(none, all, 3, 4).macro, 0, 0);
    cr_assert(isnan(of(all, ignored, 3, 4).macro));
    cr_assert_eq(of(all, ignored, 3, 4).answers, 0);
    /* nine of class 0 right, one of class 1 wrong: pooled 0.9, macro 0.5 */
    const int32_t many[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, zeros[10] = {0};
    cr_assert_float_eq(of(zeros, many, 10, 2).macro, 0.5, 1e-15);
    cr_assert_eq(of(zeros, many, 10, 2).right, 9);
}

Test(train_metrics, an_epoch_holds_every_row_once) {
    aira__batches b, again;
    aira_error error = {0};
    uint64_t rows[8], other[8], first[8];
    cr_assert_eq(aira__batches_start(&b, 30, 8, 7, &error), AIRA_OK);
    cr_assert_eq(aira__batches_start(&again, 30, 8, 7, &error), AIRA_OK);
    cr_assert_eq(aira__batches_per_epoch(&b), 4);
    cr_assert_eq(aira__batches_partial(&b), 6);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int seen[30] = {0};
        for (int64_t step = 0; step < 4; step++) {
            int64_t n = aira__batches_rows(&b, 4 * epoch + step, rows);
            cr_assert_eq(n, step < 3 ? 8 : 6);
            for (int64_t k = 0; k < n; k++) seen[rows[k]]++;
        }
        for (int k = 0; k < 30; k++) cr_assert_eq(seen[k], 1, "row %d came %d times", k, seen[k]);
    }
    /* any step, in any order, gives the same rows */
    aira__batches_rows(&b, 9, rows);
    aira__batches_rows(&again, 1, first);
    aira__batches_rows(&again, 9, other);
    int differ = 0;
    for (int k = 0; k < 8; k++) {
        cr_assert_eq(rows[k], other[k]);
        differ += rows[k] != first[k];
    }
    cr_assert_gt(differ, 0, "two epochs have the same order");
    aira__batches_release(&b);
    aira__batches_release(&again);
    cr_assert_eq(aira__batches_start(&b, 10, 4, 7, &error), AIRA_OK); /* a data set that asks for its own order */
    b.in_order = true;
    cr_assert_eq(aira__batches_rows(&b, 5, rows), 2);
    cr_assert_eq(aira__batches_rows(&b, 4, rows), 4);
    for (uint64_t k = 0; k < 4; k++) cr_assert_eq(rows[k], 4 + k);
    aira__batches_release(&b);
    cr_assert_eq(aira__batches_start(&b, 0, 5, 7, &error), AIRA_OK);
    cr_assert_eq(aira__batches_rows(&b, 3, rows), 5);
    for (uint64_t k = 0; k < 5; k++) cr_assert_eq(rows[k], 15 + k);
    aira__batches_release(&b);
    cr_assert_eq(aira__batches_start(&b, 3, 5, 7, &error), AIRA_OK);
    cr_assert_eq(aira__batches_rows(&b, 3, rows), 3);
    cr_assert_eq(aira__batches_partial(&b), 0);
    aira__batches_release(&b);
}
