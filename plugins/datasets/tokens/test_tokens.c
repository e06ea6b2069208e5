/* test_tokens.c - every shard format, both samplers, splits, bits per byte, damaged files. Ids are places, so that a
 * row says by itself where it comes from. */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/support/dataset.h"
#include "tests/support/folder.h"

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* n ids counting from first, in the format that the ending of the name says. */
static void write_shard(const test_folder *f, const char *name, uint32_t first, uint32_t n) {
    uint32_t *wide = malloc(1024 + 4 * n);
    uint16_t *narrow = malloc(1024 + 2 * n);
    for (uint32_t i = 0; i < n; i++) {
        wide[256 + i] = first + i;
        narrow[512 + i] = (uint16_t)(first + i);
    }
    memset(wide, 0, 1024);
    memset(narrow, 0, 1024);
    const uint32_t old[3] = {20240520, 1, n}, llama[3] = {20240801, 7, n};
    memcpy(narrow, old, sizeof old);
    memcpy(wide, llama, sizeof llama);
    if (strstr(name, ".llmc2"))
        test_folder_write(f, name, narrow, 1024 + 2 * n);
    else if (strstr(name, ".llmc4"))
        test_folder_write(f, name, wide, 1024 + 4 * n);
    else if (strstr(name, ".npy2"))
        test_folder_npy(f, name, "<u2", narrow + 512, 2 * n, 0, n);
    else if (strstr(name, ".npy4"))
        test_folder_npy(f, name, "<u4", wide + 256, 4 * n, 0, n);
    else if (strstr(name, ".raw2"))
        test_folder_write(f, name, narrow + 512, 2 * n);
    else
        test_folder_write(f, name, wide + 256, 4 * n);
    free(wide);
    free(narrow);
}

static void expect_rows(test_dataset *d, uint32_t split, uint64_t first, uint32_t n, int32_t id, int32_t stride) {
    int32_t *x, *y;
    int64_t length = d->info.input_length;
    test_dataset_rows(d, split, 1, first, n, &x, &y);
    for (uint32_t r = 0; r < n; r++)
        for (int64_t i = 0; i < length; i++) {
            cr_assert_eq(x[r * length + i], id + (int32_t)r * stride + i, "split %u row %u place %d is %d", split, r,
                         (int)i, x[r * length + i]);
            cr_assert_eq(y[r * length + i], x[r * length + i] + 1);
        }
    free(x);
    free(y);
}

Test(tokens, every_format_gives_the_same_rows) {
    static const char *const endings[] = {"llmc2", "llmc4", "npy2", "npy4", "raw2", "raw4"};
    for (int i = 0; i < 6; i++) {
        test_folder f;
        test_dataset d;
        char train[32], valid[32];
        snprintf(train, sizeof train, "train.%s", endings[i]);
        snprintf(valid, sizeof valid, "valid.%s", endings[i]);
        test_folder_make(&f);
        write_shard(&f, train, 0, 500);
        write_shard(&f, valid, 1000, 1000);
        test_dataset_open(&d, "tokens",
                          KEYS(test_folder_key(&f, "train", train), test_folder_key(&f, "validation", valid),
                               "vocab=2000", "length=10",
                               i < 4    ? "dtype=auto"
                               : i == 4 ? "dtype=uint16"
                                        : "dtype=uint32"));
        cr_assert_eq(d.status, AIRA_OK, "%s: %s", endings[i], d.failure);
        cr_expect_eq(d.info.metric, AIRA_METRIC_LOSS);
        cr_expect_float_eq(d.info.worst, log(2000), 1e-12);
        cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TRAIN], 0);
        cr_expect_eq(d.info.n_rows[AIRA_SPLIT_SEARCH], 39);
        expect_rows(&d, AIRA_SPLIT_SEARCH, 0, 39, 1000, 10);
        expect_rows(&d, AIRA_SPLIT_SELECTION, 0, 29, 1400, 10);
        expect_rows(&d, AIRA_SPLIT_TEST, 0, 29, 1700, 10);
        int32_t *x, *y;
        bool low = false, high = false;
        test_dataset_rows(&d, AIRA_SPLIT_TRAIN, 1, 0, 5000, &x, &y);
        for (int r = 0; r < 5000; r++) {
            cr_assert(x[10 * r] >= 0 && y[10 * r + 9] == x[10 * r] + 10 && y[10 * r + 9] < 500);
            low |= x[10 * r] == 0;
            high |= y[10 * r + 9] == 499;
        }
        cr_expect(low && high, "crops do not reach both ends");
        free(x);
        free(y);
        test_dataset_close(&d);
        test_folder_remove(&f);
    }
}

Test(tokens, wildcards_and_lists_are_one_stream) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_shard(&f, "v_02.llmc4", 40, 60);
    write_shard(&f, "v_01.llmc2", 0, 40);
    write_shard(&f, "w.npy2", 100, 100);
    write_shard(&f, "t.npy2", 300, 50);
    char list[1400];
    snprintf(list, sizeof list, "validation=%s/v_*.llmc? %s/w.npy2", f.path, f.path);
    test_dataset_open(&d, "tokens",
                      KEYS(test_folder_key(&f, "train", "t.npy2"), test_folder_key(&f, "test", "t.npy2"), list,
                           "vocab=400", "length=9", "search_share=1", "selection_share=1"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    expect_rows(&d, AIRA_SPLIT_SEARCH, 0, 11, 0, 9); /* over the seam at 40 */
    expect_rows(&d, AIRA_SPLIT_SELECTION, 0, 11, 100, 9);
    expect_rows(&d, AIRA_SPLIT_TEST, 0, 5, 300, 9);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TEST], 5);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

Test(tokens, contexts_keep_their_cuts_and_skip_pads) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_shard(&f, "a.npy2", 0, 47); /* 4 contexts of 10 + 1, 3 left over */
    write_shard(&f, "b.npy2", 100, 22);
    write_shard(&f, "v.npy2", 200, 90); /* 8 contexts; its ids 277.. are "padding" in the last */
    char list[1400];
    snprintf(list, sizeof list, "train=%s/a.npy2 %s/b.npy2", f.path, f.path);
    test_dataset_open(&d, "tokens",
                      KEYS(list, test_folder_key(&f, "validation", "v.npy2"), "vocab=280", "length=10",
                           "sampler=contexts", "pad=285"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TRAIN], 6);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_SEARCH], 3);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_SELECTION], 3);
    cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TEST], 2);
    expect_rows(&d, AIRA_SPLIT_TRAIN, 0, 4, 0, 11);
    expect_rows(&d, AIRA_SPLIT_TRAIN, 4, 2, 100, 11);
    expect_rows(&d, AIRA_SPLIT_SELECTION, 0, 3, 233, 11);
    uint64_t index = 1;
    int32_t x[10], y[10];
    cr_expect_eq(d.table->rows(d.self, AIRA_SPLIT_TEST, 1, &index, 1, x, y), AIRA_E_CORRUPT, "ids 280.. are no ids");
    cr_expect(strstr(d.failure, "v.npy2' holds id 280 at position 80, but vocab is 280") != NULL, "%s", d.failure);
    test_dataset_close(&d);
    test_dataset_open(&d, "tokens",
                      KEYS(list, test_folder_key(&f, "validation", "v.npy2"), "vocab=288", "length=10",
                           "sampler=contexts", "pad=285"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_assert_eq(d.table->rows(d.self, AIRA_SPLIT_TEST, 1, &index, 1, x, y), AIRA_OK, "%s", d.failure);
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(x[i], i == 8 ? 0 : 277 + i, "input %d is %d", i, x[i]);
        cr_expect_eq(y[i], i == 7 ? AIRA_IGNORE : 278 + i, "target %d is %d", i, y[i]);
    }
    test_dataset_close(&d);
    test_folder_remove(&f);
}

Test(tokens, bits_per_byte_from_a_table) {
    test_folder f;
    test_dataset d;
    test_folder_make(&f);
    write_shard(&f, "t.npy2", 0, 50);
    int32_t lengths[50];
    for (int i = 0; i < 50; i++) lengths[i] = i % 7;
    test_folder_npy(&f, "bytes.npy", "<i4", lengths, sizeof lengths, 0, 50);
    const char *train = test_folder_key(&f, "train", "t.npy2"), *valid = test_folder_key(&f, "validation", "t.npy2");
    const char *table = test_folder_key(&f, "token_bytes", "bytes.npy");
    test_dataset_open(&d, "tokens", KEYS(train, valid, table, "vocab=50", "length=4"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect_eq(d.info.metric, AIRA_METRIC_BITS_PER_BYTE);
    for (int i = 0; i < 50; i++) cr_expect_eq(d.table->token_bytes(d.self, i), i % 7);
    cr_expect_eq(d.table->token_bytes(d.self, -100), 0);
    cr_expect_eq(d.table->token_bytes(d.self, 50), 0);
    test_dataset_close(&d);
    test_dataset_open(&d, "tokens", KEYS(train, valid, table, "vocab=51", "length=4"));
    cr_expect_eq(d.status, AIRA_E_CONFIG);
    cr_expect(strstr(d.failure, "50 lengths, but vocab is 51") != NULL, "%s", d.failure);
    test_dataset_close(&d);
    lengths[3] = -1;
    test_folder_npy(&f, "bytes.npy", "<i4", lengths, sizeof lengths, 0, 50);
    test_dataset_open(&d, "tokens", KEYS(train, valid, table, "vocab=50", "length=4"));
    cr_expect_eq(d.status, AIRA_E_CORRUPT);
    test_dataset_close(&d);
    test_folder_remove(&f);
}

static void expect_refused(test_folder *f, const char *train, const char *extra, aira_status status, const char *says) {
    test_dataset d;
    test_dataset_open(&d, "tokens",
                      KEYS(test_folder_key(f, "train", train), test_folder_key(f, "validation", "v.npy2"), "vocab=1000",
                           "length=4", extra));
    cr_expect_eq(d.status, status, "%s: %s", train, d.failure);
    cr_expect(strstr(d.failure, says) != NULL, "%s: %s", train, d.failure);
    test_dataset_close(&d);
}

Test(tokens, mistakes_are_told) {
    test_folder f;
    test_folder_make(&f);
    write_shard(&f, "v.npy2", 0, 100);
    write_shard(&f, "a.raw2", 0, 100);
    const uint32_t version[256] = {20240520, 2, 0}, count[260] = {20240801, 7, 5}, stump[4] = {20240520, 1, 9};
    test_folder_write(&f, "version.bin", version, sizeof version);
    test_folder_write(&f, "count.bin", count, sizeof count);
    test_folder_write(&f, "stump.bin", stump, sizeof stump);
    test_folder_write(&f, "odd.bin", "abcdefghijklm", 13);
    test_folder_npy(&f, "float.npy", "<f4", count, 400, 0, 100);
    test_folder_npy(&f, "long.npy", "<i8", count, 800, 0, 100);
    test_folder_npy(&f, "cut.npy", "<u2", count, 100, 0, 100);
    expect_refused(&f, "missing_*.bin", "pad=-1", AIRA_E_IO, "missing_*.bin'; put token files there");
    expect_refused(&f, "missing.bin", "advice=see the readme of the corpus", AIRA_E_IO, "see the readme of the corpus");
    expect_refused(&f, "a.raw2", "dtype=auto", AIRA_E_CORRUPT, "say dtype: uint16");
    expect_refused(&f, "version.bin", "dtype=auto", AIRA_E_CORRUPT, "unknown version");
    expect_refused(&f, "count.bin", "dtype=auto", AIRA_E_CORRUPT, "another number of tokens");
    expect_refused(&f, "stump.bin", "dtype=auto", AIRA_E_CORRUPT, "ends within its header");
    expect_refused(&f, "odd.bin", "dtype=uint16", AIRA_E_CORRUPT, "no multiple");
    expect_refused(&f, "v.npy2", "dtype=uint32", AIRA_E_CORRUPT, "another dtype");
    expect_refused(&f, "float.npy", "dtype=auto", AIRA_E_CORRUPT, "little-endian integers");
    expect_refused(&f, "long.npy", "dtype=auto", AIRA_E_CORRUPT, "not uint16, uint32 or int32");
    expect_refused(&f, "cut.npy", "dtype=auto", AIRA_E_CORRUPT, "another number of bytes");
    test_folder_npy(&f, "rows.npy", "<u2", count, 1000, 50, 10);
    expect_refused(&f, "rows.npy", "sampler=contexts", AIRA_E_CONFIG, "length must be 9");
    expect_refused(&f, "v.npy2", "pad=3", AIRA_E_CONFIG, "sampler crop");
    expect_refused(&f, "v.npy2", "length=200", AIRA_E_CONFIG, "train split has 100 ids");
    test_folder_remove(&f);
}
