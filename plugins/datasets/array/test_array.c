/* test_array.c - rows come back as written, in order; splits; holdout; everything inconsistent is refused. */
#include <criterion/criterion.h>

#include "tests/support/dataset.h"
#include "tests/support/folder.h"

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* n rows of inputs r, r+1, r+2 (+ base) and targets -100, r. */
static void write_split(const test_folder *f, const char *split, const char *type, int n, int base) {
    char inputs[64], targets[64];
    int32_t x4[300], y[200];
    int64_t x8[300];
    uint16_t x2[300];
    snprintf(inputs, sizeof inputs, "%s/inputs.npy", split);
    snprintf(targets, sizeof targets, "%s/targets.npy", split);
    for (int i = 0; i < 3 * n; i++) x8[i] = x4[i] = x2[i] = (uint16_t)(base + i / 3 + i % 3);
    for (int i = 0; i < n; i++) {
        y[2 * i] = AIRA_IGNORE;
        y[2 * i + 1] = base + i;
    }
    const void *x = type[2] == '8' ? (void *)x8 : type[2] == '4' ? (void *)x4 : (void *)x2;
    test_folder_npy(f, inputs, type, x, (size_t)(3 * n * (type[2] - '0')), (size_t)n, 3);
    test_folder_npy(f, targets, "<i4", y, (size_t)(8 * n), (size_t)n, 2);
}

static void expect_rows(test_dataset *d, uint32_t split, int n, int base) {
    int32_t *x, *y;
    cr_assert_eq(d->info.n_rows[split], n);
    test_dataset_rows(d, split, 9, 0, (uint32_t)n, &x, &y);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++) cr_expect_eq(x[3 * i + k], base + i + k);
        cr_expect_eq(y[2 * i], AIRA_IGNORE);
        cr_expect_eq(y[2 * i + 1], base + i);
    }
    free(x);
    free(y);
}

static const char *whole(test_folder *f) { return test_folder_key(f, "path", ""); }

Test(array, four_folders_in_three_types) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_split(&f, "train", "<i4", 50, 0);
    write_split(&f, "search", "<u2", 10, 100);
    write_split(&f, "selection", "<i8", 20, 200);
    write_split(&f, "test", "<i4", 30, 300);
    test_dataset_open(&d, "array", KEYS(whole(&f)));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.vocab, 332);
    cr_expect_eq(d.info.classes, 332);
    cr_expect_eq(d.info.input_length, 3);
    cr_expect_eq(d.info.target_length, 2);
    cr_expect_eq(d.info.metric, AIRA_METRIC_ACCURACY);
    expect_rows(&d, AIRA_SPLIT_TRAIN, 50, 0);
    expect_rows(&d, AIRA_SPLIT_SEARCH, 10, 100);
    expect_rows(&d, AIRA_SPLIT_SELECTION, 20, 200);
    expect_rows(&d, AIRA_SPLIT_TEST, 30, 300);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

Test(array, holdout_comes_from_train) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_split(&f, "train", "<i4", 50, 0);
    write_split(&f, "test", "<i4", 30, 300);
    test_dataset_open(&d, "array", KEYS(whole(&f), "holdout=5", "vocab=400", "classes=500", "metric=loss"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.vocab, 400);
    cr_expect_eq(d.info.classes, 500);
    cr_expect_eq(d.info.metric, AIRA_METRIC_LOSS);
    expect_rows(&d, AIRA_SPLIT_TRAIN, 40, 0);
    expect_rows(&d, AIRA_SPLIT_SELECTION, 5, 40);
    expect_rows(&d, AIRA_SPLIT_SEARCH, 5, 45);
    expect_rows(&d, AIRA_SPLIT_TEST, 30, 300);
    uint64_t index = 40;
    int32_t x[3], y[2];
    cr_expect_eq(d.table->rows(d.self, AIRA_SPLIT_TRAIN, 1, &index, 1, x, y), AIRA_E_FAILED, "row 40 is held out");
    test_dataset_close(&d);
    test_folder_remove(&f);
}

static void expect_refused(test_folder *f, const char *extra, aira_status status, const char *says) {
    test_dataset d;
    test_dataset_open(&d, "array", KEYS(whole(f), extra));
    cr_expect_eq(d.status, status, "%s", d.failure);
    cr_expect(strstr(d.failure, says) != NULL, "expected '%s', got: %s", says, d.failure);
    test_dataset_close(&d);
}

Test(array, mistakes_are_told) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    test_dataset_open(&d, "array", KEYS("vocab=3"));
    cr_expect_eq(d.status, AIRA_E_CONFIG);
    test_dataset_close(&d);
    expect_refused(&f, "batch=1", AIRA_E_IO, "train/inputs.npy'; a split is a folder");
    write_split(&f, "train", "<i4", 50, 0);
    expect_refused(&f, "batch=1", AIRA_E_IO, "test/inputs.npy");
    write_split(&f, "test", "<i4", 30, 300);
    expect_refused(&f, "batch=1", AIRA_E_CONFIG, "no folder for the search split");
    expect_refused(&f, "holdout=50", AIRA_E_CONFIG, "leaves no rows");
    write_split(&f, "search", "<i4", 5, 0);
    write_split(&f, "selection", "<i4", 5, 0);
    expect_refused(&f, "holdout=1", AIRA_E_CONFIG, "no effect");
    expect_refused(&f, "vocab=300", AIRA_E_CORRUPT, "inputs.npy of the test split holds 300 in row 0");
    expect_refused(&f, "classes=310", AIRA_E_CORRUPT, "targets.npy of the test split holds 310 in row 10");
    int32_t numbers[60] = {1, 2, -1, 4};
    test_folder_npy(&f, "search/inputs.npy", "<i4", numbers, 60, 5, 3);
    expect_refused(&f, "batch=1", AIRA_E_CORRUPT, "inputs.npy of the search split holds -1 in row 0");
    test_folder_npy(&f, "search/inputs.npy", "<i4", numbers, 80, 5, 4);
    expect_refused(&f, "batch=1", AIRA_E_CORRUPT, "4 positions");
    test_folder_npy(&f, "search/inputs.npy", "<i4", numbers, 48, 4, 3);
    expect_refused(&f, "batch=1", AIRA_E_CORRUPT, "5 rows, but inputs.npy beside it has 4");
    test_folder_npy(&f, "search/inputs.npy", "<i4", numbers, 48, 0, 12);
    expect_refused(&f, "batch=1", AIRA_E_CORRUPT, "two axes");
    test_folder_npy(&f, "search/inputs.npy", "<f4", numbers, 60, 5, 3);
    expect_refused(&f, "batch=1", AIRA_E_CORRUPT, "little-endian integers");
    test_folder_remove(&f);
}
