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
    expect_row(&d, AIRA_SPLIT_TEST, 1, 0, "t1", "T1");
    uint64_t beyond = 1;
    int32_t x[16], y;
    cr_expect_neq(d.table->rows(d.self, AIRA_SPLIT_SELECTION, 0, &beyond, 1, x, &y), AIRA_OK);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

/* Lines that take turns are dealt so that both splits have both labels, and every line is in one of them. */
Test(text_pairs, eval_lines_are_dealt) {
    enum { LINES = 201 };
    test_folder f;
    test_dataset d;
    char *text = calloc(LINES, 32), *end = text;
    int seen[LINES] = {0}, positive[2] = {0};
    test_folder_make(&f);
    write_pairs(&f);
    for (int k = 0; k < LINES; k++) end += sprintf(end, "%d\ta\tb\t%d\tc\n", k % 2, k);
    write_text(&f, "new_aan_pairs.eval.tsv", text);
    test_dataset_open(&d, "text_pairs", KEYS(test_folder_key(&f, "path", "."), "length=4"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    for (uint32_t s = AIRA_SPLIT_SEARCH; s <= AIRA_SPLIT_SELECTION; s++) {
        uint32_t n = s == AIRA_SPLIT_SEARCH ? 101 : 100;
        int32_t *x, *y;
        cr_assert_eq(d.info.n_rows[s], n);
        test_dataset_rows(&d, s, 0, 0, n, &x, &y);
        for (uint32_t k = 0; k < n; k++) {
            char number[8] = "";
            for (int t = 0; t < 4 && x[k * 8 + (uint32_t)t]; t++) number[t] = (char)(x[k * 8 + (uint32_t)t] - 1);
            cr_assert(atoi(number) < LINES && atoi(number) % 2 == y[k]);
            seen[atoi(number)]++;
            positive[s - 1] += y[k];
        }
        free(x);
        free(y);
    }
    for (int k = 0; k < LINES; k++) cr_expect_eq(seen[k], 1, "line %d", k);
    for (int s = 0; s < 2; s++) cr_expect(positive[s] > 30 && positive[s] < 70, "%d of 100", positive[s]);
    free(text);
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
