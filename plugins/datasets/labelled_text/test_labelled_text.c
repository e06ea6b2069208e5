/* test_labelled_text.c - both layouts of folders, disjoint splits with every text once, encoding, what is said when
 * something is missing; a real set where AIRA_TEST_DATA has one.
 */
#include <criterion/criterion.h>

#include "tests/support/dataset.h"
#include "tests/support/folder.h"

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* n texts of each class below `part` ("train/", or ""): "<number> of <part><class>" */
static void write_texts(const test_folder *f, const char *part, int first, int n) {
    static const char *const classes[] = {"neg", "pos"};
    char name[64], text[64];
    if (part[0]) {
        snprintf(name, sizeof name, "%s.keep", part);
        test_folder_write(f, name, "", 0);
    }
    for (int c = 0; c < 2; c++) {
        for (int k = first; k < first + n; k++) {
            snprintf(name, sizeof name, "%s%s/%04d.txt", part, classes[c], k);
            snprintf(text, sizeof text, "%d %c", k, classes[c][0]);
            test_folder_write(f, name, text, strlen(text));
        }
    }
}

/* Counts how often each text (number, class) is in a split; the label must be its class. */
static void count(test_dataset *d, uint32_t split, int (*seen)[2]) {
    int32_t *x, *y, T = (int32_t)d->info.input_length;
    uint32_t n = (uint32_t)d->info.n_rows[split];
    test_dataset_rows(d, split, 3, 0, n, &x, &y);
    for (uint32_t k = 0; k < n; k++) {
        char text[32] = "";
        for (int t = 0; t < T && x[k * (uint32_t)T + (uint32_t)t]; t++)
            text[t] = (char)(x[k * (uint32_t)T + (uint32_t)t] - 1);
        int number = atoi(text);
        cr_assert(number >= 0 && number < 400);
        cr_expect_eq(y[k], text[strlen(text) - 1] == 'p', "%s has label %d", text, y[k]);
        seen[number][y[k]]++;
    }
    free(x);
    free(y);
}

Test(labelled_text, folds_hold_every_text_once) {
    test_folder f;
    test_folder_make(&f);
    write_texts(&f, "", 0, 100);
    int tested[400][2] = {{0}};
    for (int fold = 0; fold < 5; fold++) {
        char key[32];
        test_dataset d;
        snprintf(key, sizeof key, "fold=%d", fold);
        test_dataset_open(&d, "labelled_text",
                          KEYS(test_folder_key(&f, "path", "."), "length=16", "folds=5", key, "search_share=0.1",
                               "selection_share=0.05"));
        cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
        cr_expect(d.info.vocab == 257 && d.info.classes == 2 && d.info.metric == AIRA_METRIC_ACCURACY_POOLED);
        cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TEST], 40);
        cr_expect_eq(d.info.n_rows[AIRA_SPLIT_SEARCH] + d.info.n_rows[AIRA_SPLIT_SELECTION], 24);
        int seen[400][2] = {{0}};
        for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) count(&d, s, s == AIRA_SPLIT_TEST ? tested : seen);
        for (int k = 0; k < 100; k++)
            for (int c = 0; c < 2; c++) cr_expect_eq(seen[k][c], k % 5 != fold, "text %d %d", k, c);
        test_dataset_close(&d);
    }
    for (int k = 0; k < 100; k++) cr_expect(tested[k][0] == 1 && tested[k][1] == 1, "text %d", k);
    test_folder_remove(&f);
}

Test(labelled_text, train_and_test_folders) {
    test_folder f;
    test_folder_make(&f);
    write_texts(&f, "train/", 0, 60);
    write_texts(&f, "test/", 100, 30);
    test_folder_write(&f, "train/unsup.txt", "no class", 8);
    for (int val = 0; val < 2; val++) {
        test_dataset d;
        int seen[AIRA_N_SPLITS][400][2] = {{{0}}};
        if (val) write_texts(&f, "val/", 200, 10);
        test_dataset_open(&d, "labelled_text", KEYS(test_folder_key(&f, "path", "."), "length=16"));
        cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
        for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) count(&d, s, seen[s]);
        int held = 0;
        for (int k = 0; k < 400; k++) {
            for (int c = 0; c < 2; c++) {
                int other = seen[1][k][c] + seen[2][k][c];
                held += other;
                cr_expect_eq(seen[3][k][c], k >= 100 && k < 130);
                cr_expect_eq(seen[0][k][c] + other, k < 60 || (val && k >= 200 && k < 210), "text %d", k);
                if (val) cr_expect_eq(other, k >= 200 && k < 210);
            }
        }
        cr_expect_eq(held, val ? 20 : 12);
        test_dataset_close(&d);
    }
    test_folder_remove(&f);
}

Test(labelled_text, bytes_are_encoded_cut_and_padded) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_texts(&f, "", 0, 100);
    test_folder_write(&f, "neg/0000.txt", "\x00\xff<br />\xc3\xa9 and what is too long", 30);
    test_folder_write(&f, "neg/0010.txt", "", 0);
    test_dataset_open(&d, "labelled_text", KEYS(test_folder_key(&f, "path", "."), "length=10"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    static const int32_t expected[] = {1, 256, '<' + 1, 'b' + 1, 'r' + 1, ' ' + 1, '/' + 1, '>' + 1, 0xc4, 0xaa};
    int32_t *x, *y;
    test_dataset_rows(&d, AIRA_SPLIT_TEST, 0, 0, 4, &x, &y);
    cr_expect(memcmp(x, expected, sizeof expected) == 0);
    cr_expect(y[0] == 0 && y[1] == 1 && y[2] == 0 && y[3] == 1, "classes take turns");
    for (int t = 0; t < 10; t++) cr_expect_eq(x[20 + t], 0); /* an empty text is padding */
    free(x);
    free(y);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

static void expect_refusal(test_folder *f, const char *name, const char *words) {
    test_dataset d;
    test_dataset_open(&d, "labelled_text", KEYS(test_folder_key(f, "path", name), "advice=get it there"));
    cr_expect(d.status && strstr(d.failure, words), "%d \"%s\" does not hold \"%s\"", d.status, d.failure, words);
    cr_expect(!d.status || strstr(d.failure, "get it there"), "%s", d.failure);
    test_dataset_close(&d);
}

Test(labelled_text, says_what_is_missing) {
    test_folder f;
    test_folder_make(&f);
    expect_refusal(&f, "nowhere", "there is no folder");
    expect_refusal(&f, ".", "has 0 class folders, two are needed");
    write_texts(&f, "test/", 0, 20);
    expect_refusal(&f, ".", "but no");
    test_folder_write(&f, "train/.keep", "", 0);
    expect_refusal(&f, ".", "/train' has 0 class folders");
    write_texts(&f, "train/", 0, 20);
    char path[1024];
    snprintf(path, sizeof path, "%s/train/neutral", f.path);
    cr_assert_eq(mkdir(path, 0777), 0);
    expect_refusal(&f, ".", "train/neutral' holds no text");
    test_folder_write(&f, "train/neutral/1.txt", "so so", 5);
    expect_refusal(&f, ".", "do not have the same class folders");
    test_folder_remove(&f);
}

/* The folder movie_reviews of CC BY 4.0 texts (nltk_data), unpacked below AIRA_TEST_DATA: 1,000 texts of each class. */
Test(labelled_text, real_reviews) {
    const char *data = getenv("AIRA_TEST_DATA");
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    char command[2048];
    snprintf(command, sizeof command,
             "test -f '%s/movie_reviews.zip' && python3 -m zipfile -e '%s/movie_reviews.zip' '%s'", data ? data : "",
             data ? data : "", f.path);
    if (!data || system(command) != 0) {
        test_folder_remove(&f);
        cr_skip_test("no movie_reviews.zip in AIRA_TEST_DATA");
    }
    test_dataset_open(&d, "labelled_text", KEYS(test_folder_key(&f, "path", "movie_reviews"), "length=4096"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TEST], 200);
    cr_expect_eq(
        d.info.n_rows[AIRA_SPLIT_TRAIN] + d.info.n_rows[AIRA_SPLIT_SEARCH] + d.info.n_rows[AIRA_SPLIT_SELECTION], 1800);
    int32_t *x, *y;
    int64_t positive = 0, bytes = 0;
    test_dataset_rows(&d, AIRA_SPLIT_TEST, 0, 0, 200, &x, &y);
    for (int k = 0; k < 200; k++) positive += y[k];
    for (int k = 0; k < 200 * 4096; k++) bytes += x[k] != 0;
    cr_expect_eq(positive, 100);
    cr_expect(bytes > 200 * 2500, "texts have %lld bytes on average", (long long)bytes / 200);
    free(x);
    free(y);
    test_dataset_close(&d);
    test_folder_remove(&f);
}
