/* test_text_pairs.c - two texts make a row, labels in both spellings, splits, and which line of which file is wrong. */
#include <criterion/criterion.h>

#include "tests/support/dataset.h"
#include "tests/support/folder.h"

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void write_text(const test_folder *f, const char *name, const char *text) {
    test_folder_write(f, name, text, strlen(text));
}

static void write_pairs(const test_folder *f) {
    write_text(f, "new_aan_pairs.train.tsv",
               "1.0\ta\tb\tfirst text\tsecond\r\n0\tc\td\t\"quoted\" one\ttwo\n1\te\tf\tx\ty");
    write_text(f, "new_aan_pairs.eval.tsv", "0\t1\t2\te0\tE0\n1\t1\t2\te1\tE1\n0\t1\t2\te2\tE2\n");
    write_text(f, "new_aan_pairs.test.tsv", "1\t1\t2\tt0\tT0\n0.0\t1\t2\tt1\tT1\n");
}

static void expect_row(test_dataset *d, uint32_t split, uint64_t row, int32_t label, const char *a, const char *b) {
    int32_t *x, *y, T = (int32_t)d->info.input_length / 2;
    char text[2][64] = {"", ""};
    test_dataset_rows(d, split, 0, row, 1, &x, &y);
    for (int32_t t = 0; t < 2 * T; t++) {
        if (x[t]) text[t / T][t % T] = (char)(x[t] - 1);
    }
    cr_expect(y[0] == label && strcmp(text[0], a) == 0 && strcmp(text[1], b) == 0, "%d \"%s\" \"%s\"", y[0], text[0],
              text[1]);
    free(x);
    free(y);
}

Test(text_pairs, rows) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_pairs(&f);
    test_dataset_open(&d, "text_pairs", KEYS(test_folder_key(&f, "path", "."), "length=8"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect(d.info.input_length == 16 && d.info.target_length == 1 && d.info.classes == 2 && d.info.vocab == 257);
    static const int64_t n_rows[] = {3, 2, 1, 2};
    for (int s = 0; s < 4; s++) cr_expect_eq(d.info.n_rows[s], n_rows[s]);
    expect_row(&d, AIRA_SPLIT_TRAIN, 0, 1, "first te", "second");
    expect_row(&d, AIRA_SPLIT_TRAIN, 1, 0, "\"quoted\"", "two");
    expect_row(&d, AIRA_SPLIT_TRAIN, 2, 1, "x", "y");
    expect_row(&d, AIRA_SPLIT_SEARCH, 0, 0, "e0", "E0");
    expect_row(&d, AIRA_SPLIT_SEARCH, 1, 0, "e2", "E2");
    expect_row(&d, AIRA_SPLIT_SELECTION, 0, 1, "e1", "E1");
    expect_row(&d, AIRA_SPLIT_TEST, 1, 0, "t1", "T1");
    uint64_t beyond = 1;
    int32_t x[16], y;
    cr_expect_neq(d.table->rows(d.self, AIRA_SPLIT_SELECTION, 0, &beyond, 1, x, &y), AIRA_OK);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

static void expect_failure(test_dataset *d, uint64_t row, const char *words) {
    int32_t x[4096 * 2], y;
    cr_expect(d->table->rows(d->self, AIRA_SPLIT_TRAIN, 0, &row, 1, x, &y) && strstr(d->failure, words), "%s",
              d->failure);
}

Test(text_pairs, says_what_is_wrong) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    test_dataset_open(&d, "text_pairs", KEYS("length=8"));
    cr_expect(d.status && strstr(d.failure, "give path, or train_file"), "%s", d.failure);
    test_dataset_close(&d);
    write_pairs(&f);
    char path[1024];
    snprintf(path, sizeof path, "%s/new_aan_pairs.eval.tsv", f.path);
    remove(path);
    test_dataset_open(&d, "text_pairs", KEYS(test_folder_key(&f, "path", "."), "length=8", "advice=get it there"));
    cr_expect(d.status && strstr(d.failure, "new_aan_pairs.eval.tsv'; get it there"), "%s", d.failure);
    test_dataset_close(&d);
    write_pairs(&f);
    write_text(&f, "bad.tsv", "1\ta\tb\tfirst\tsecond\n2\ta\tb\tfirst\tsecond\n1\ta\tb\tfirst\n");
    test_dataset_open(&d, "text_pairs",
                      KEYS(test_folder_key(&f, "path", "."), test_folder_key(&f, "train_file", "bad.tsv"), "length=8"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure); /* labels are looked at when rows are asked for */
    expect_failure(&d, 1, "bad.tsv:2: the label must be 0 or 1");
    expect_failure(&d, 2, "bad.tsv:3: a line of pairs is");
    test_dataset_close(&d);
    test_folder_remove(&f);
}
