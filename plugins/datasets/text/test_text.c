/* test_text.c - bytes stay bytes, splits are disjoint and complete, windows tile, mistakes are told. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/dataset.h"
#include "tests/support/folder.h"

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Byte i of the test's text: byte-order mark, CRLF, every byte value, no short period. */
static uint8_t byte_at(size_t i) {
    static const uint8_t start[] = {0xef, 0xbb, 0xbf, 'A', '\r', '\n', 0xff, 0, '\r', 'B'};
    return i < sizeof start ? start[i] : (uint8_t)((i * 2654435761u) >> 13 ^ i);
}

static uint8_t *make_text(size_t n) {
    uint8_t *bytes = malloc(n);
    for (size_t i = 0; i < n; i++) bytes[i] = byte_at(i);
    return bytes;
}

/* Every window of the split equals the bytes at from + i * length. */
static void expect_windows(test_dataset *d, uint32_t split, size_t from, size_t n, size_t base) {
    int32_t *x, *y;
    size_t length = (size_t)d->info.input_length, windows = (n - 1) / length;
    cr_assert_eq((size_t)d->info.n_rows[split], windows);
    test_dataset_rows(d, split, 5, 0, (uint32_t)windows, &x, &y);
    for (size_t i = 0; i < windows * length; i++) {
        cr_assert_eq(x[i], byte_at(from - base + i), "split %u, byte %zu", split, i);
        cr_assert_eq(y[i], byte_at(from - base + i + 1), "split %u, byte %zu", split, i);
    }
    free(x);
    free(y);
}

Test(text, one_file_is_cut_into_disjoint_splits) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    uint8_t *bytes = make_text(10000);
    test_folder_write(&f, "a.txt", bytes, 10000);
    test_dataset_open(&d, "text", KEYS(test_folder_key(&f, "path", "a.txt"), "length=16"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.metric, AIRA_METRIC_BITS_PER_BYTE);
    cr_expect_eq(d.info.vocab, 256);
    cr_expect_eq(d.info.worst, 8);
    cr_expect(isnan(d.info.best));
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TRAIN], 0, "training crops are endless");
    expect_windows(&d, AIRA_SPLIT_SEARCH, 9000, 400, 0);
    expect_windows(&d, AIRA_SPLIT_SELECTION, 9400, 300, 0);
    expect_windows(&d, AIRA_SPLIT_TEST, 9700, 300, 0);
    test_dataset_close(&d);
    test_folder_remove(&f);
    free(bytes);
}

Test(text, training_crops_are_pure_and_stay_inside) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    uint8_t text[1000]; /* the place of a byte can be read off the two digits around it */
    for (int i = 0; i < 1000; i++) text[i] = (uint8_t)(i < 900 ? i % 250 : 255);
    test_folder_write(&f, "a.txt", text, sizeof text);
    test_dataset_open(&d, "text", KEYS(test_folder_key(&f, "path", "a.txt"), "length=20"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    int32_t *x, *y, *x1, *y1;
    test_dataset_rows(&d, AIRA_SPLIT_TRAIN, 1, 0, 4000, &x, &y);
    int first = 0, last = 0;
    for (int r = 0; r < 4000; r++) {
        cr_assert_neq(y[r * 20 + 19], 255, "a crop reaches into the search split");
        first += x[r * 20] == 0;
        last += y[r * 20 + 19] == 899 % 250;
        for (int i = 0; i < 19; i++) cr_assert_eq(y[r * 20 + i], x[r * 20 + i + 1]);
    }
    cr_expect_gt(first, 0, "the first byte is never the start");
    cr_expect_gt(last, 0, "the last byte is never a target");
    test_dataset_rows(&d, AIRA_SPLIT_TRAIN, 1, 77, 1, &x1, &y1);
    cr_expect_arr_eq(x1, x + 77 * 20, 20 * sizeof(int32_t));
    free(x1);
    free(y1);
    test_dataset_rows(&d, AIRA_SPLIT_TRAIN, 2, 0, 50, &x1, &y1);
    int same = 0;
    for (int r = 0; r < 50; r++) same += x1[r * 20] == x[r * 20];
    cr_expect_lt(same, 10, "another seed gives other crops");
    free(x1);
    free(y1);
    free(x);
    free(y);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

Test(text, folder_is_read_in_order_of_name_and_raw) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    uint8_t *bytes = make_text(3000);
    test_folder_write(&f, "c.txt", bytes + 1001, 1999);
    test_folder_write(&f, "a.txt", bytes, 1000);
    test_folder_write(&f, "b.txt", bytes + 1000, 1);
    test_folder_write(&f, "aa.txt", bytes, 0);
    test_folder_write(&f, "b.md", "not read", 8);
    char path[600];
    snprintf(path, sizeof path, "path=%s", f.path);
    test_dataset_open(&d, "text",
                      KEYS(path, "length=7", "search_share=0.85", "selection_share=0.05", "test_share=0.04"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    expect_windows(&d, AIRA_SPLIT_SEARCH, 180, 2550, 0); /* reaches over both seams */
    test_dataset_close(&d);
    test_folder_remove(&f);
    free(bytes);
}

Test(text, files_of_their_own_for_the_splits) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    uint8_t *bytes = make_text(1000);
    test_folder_write(&f, "train", bytes, 1000);
    test_folder_write(&f, "valid", bytes, 700);
    test_folder_write(&f, "test", bytes, 500);
    const char *train = test_folder_key(&f, "train_file", "train"),
               *valid = test_folder_key(&f, "validation_file", "valid");
    test_dataset_open(&d, "text", KEYS(train, valid, test_folder_key(&f, "test_file", "test"), "length=9"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    expect_windows(&d, AIRA_SPLIT_SEARCH, 0, 400, 0); /* 0.04 to 0.03 of the validation file */
    expect_windows(&d, AIRA_SPLIT_SELECTION, 400, 300, 0);
    expect_windows(&d, AIRA_SPLIT_TEST, 0, 500, 0);
    test_dataset_close(&d);
    test_dataset_open(&d, "text", KEYS(train, valid, "length=9"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    expect_windows(&d, AIRA_SPLIT_SEARCH, 0, 280, 0);
    expect_windows(&d, AIRA_SPLIT_SELECTION, 280, 210, 0);
    expect_windows(&d, AIRA_SPLIT_TEST, 490, 210, 0);
    test_dataset_close(&d);
    test_folder_remove(&f);
    free(bytes);
}

Test(text, fewer_evaluation_rows_are_spread) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    uint8_t *bytes = make_text(100000);
    test_folder_write(&f, "a.txt", bytes, 100000);
    test_dataset_open(&d, "text",
                      KEYS(test_folder_key(&f, "path", "a.txt"), "length=10", "evaluation_rows=10", "train_rows=33"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TRAIN], 33);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_SEARCH], 10);
    int32_t *x, *y; /* search: 4,000 bytes, 399 windows; row 9 is window 359 */
    test_dataset_rows(&d, AIRA_SPLIT_SEARCH, 1, 9, 1, &x, &y);
    for (size_t i = 0; i < 10; i++) cr_expect_eq(x[i], byte_at(90000 + 3590 + i));
    free(x);
    free(y);
    test_dataset_close(&d);
    test_folder_remove(&f);
    free(bytes);
}

Test(text, mistakes_are_told) {
    test_folder f;
    test_folder_make(&f);
    test_folder_write(&f, "short.txt", "abc", 3);
    test_folder_write(&f, "empty/none.md", "", 0);
    const char *missing = test_folder_key(&f, "path", "missing.txt"), *empty = test_folder_key(&f, "path", "empty");
    const char *brief = test_folder_key(&f, "path", "short.txt"),
               *train = test_folder_key(&f, "train_file", "short.txt");
    const struct {
        const char *keys[4];
        aira_status status;
        const char *says;
    } cases[] = {
        {{missing}, AIRA_E_IO, "missing.txt'; put a plain text file there"},
        {{missing, "advice=run the download first"}, AIRA_E_IO, "run the download first"},
        {{empty}, AIRA_E_IO, "holds no .txt file"},
        {{brief, "length=10"}, AIRA_E_CONFIG, "train split has"},
        {{NULL}, AIRA_E_CONFIG, "give path"},
        {{brief, train}, AIRA_E_CONFIG, "not both"},
        {{train}, AIRA_E_CONFIG, "validation_file"},
        {{brief, "search_share=0.9", "test_share=0.1"}, AIRA_E_CONFIG, "less than 0.05"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_dataset d;
        test_dataset_open(&d, "text", cases[i].keys);
        cr_expect_eq(d.status, cases[i].status, "case %zu: %s", i, d.failure);
        cr_expect(strstr(d.failure, cases[i].says) != NULL, "case %zu: %s", i, d.failure);
        test_dataset_close(&d);
    }
    test_folder_remove(&f);
}

Test(text, a_novel_with_byte_order_mark_and_crlf) {
    const char *folder = getenv("AIRA_TEST_DATA");
    if (!folder) cr_skip_test("AIRA_TEST_DATA is not set");
    char path[1024], key[1100];
    snprintf(path, sizeof path, "%s/war-and-peace.txt", folder);
    snprintf(key, sizeof key, "path=%s", path);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    uint8_t *bytes = malloc(3359542);
    cr_assert_eq(fread(bytes, 1, 3359542, file), 3359542);
    fclose(file);
    test_dataset d;
    test_dataset_open(&d, "text", KEYS(key, "length=512"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    size_t from = (size_t)(3359542 * 0.97 + 0.5), n = (size_t)d.info.n_rows[AIRA_SPLIT_TEST];
    cr_expect_eq(n, (3359542 - from - 1) / 512);
    int32_t *x, *y;
    test_dataset_rows(&d, AIRA_SPLIT_TEST, 1, 0, (uint32_t)n, &x, &y);
    for (size_t i = 0; i < n * 512; i++)
        cr_assert(x[i] == bytes[from + i] && y[i] == bytes[from + i + 1], "byte %zu", i);
    free(x);
    free(y);
    test_dataset_rows(&d, AIRA_SPLIT_TRAIN, 1, 0, 1000, &x, &y);
    for (size_t r = 0; r < 1000; r++) {
        uint8_t row[513];
        for (size_t i = 0; i < 512; i++) row[i] = (uint8_t)x[r * 512 + i];
        row[512] = (uint8_t)y[r * 512 + 511];
        cr_assert_not_null(memmem(bytes, (size_t)(3359542 * 0.9), row, 513), "row %zu is no part of the text", r);
    }
    free(x);
    free(y);
    free(bytes);
    test_dataset_close(&d);
}
