/* test_mad.c - the six generators: check values at baseline, purity, disjoint splits, the whole grid, refusals. */
#include <criterion/criterion.h>

#include "tests/support/dataset.h"
#include "tests/support/mad_values.h"

#define N 1280

static const char *const names[6] = {
    "in-context-recall", "noisy-in-context-recall", "fuzzy-in-context-recall", "memorization",
    "compression",       "selective-copying"};

static void open_task(test_dataset *d, const char *task, const char *a, const char *b) {
    char text[64];
    snprintf(text, sizeof text, "task=%s", task);
    const char *keys[] = {text, a, a ? b : NULL, NULL};
    test_dataset_open(d, "mad", keys);
}

Test(mad, baseline_values) {
    for (int t = 0; t < 6; t++) {
        for (uint32_t split = 0; split < AIRA_N_SPLITS; split++) {
            test_dataset d;
            int32_t *x, *y;
            open_task(&d, names[t], NULL, NULL);
            cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
            uint32_t n = (uint32_t)(t == 3 && split == AIRA_SPLIT_TRAIN ? 256 : N);
            test_dataset_rows(&d, split, 7, 0, n, &x, &y);
            mad_rows rows = {names[t], split == AIRA_SPLIT_TRAIN, n, d.info.input_length, x, y, 0};
            cr_expect_eq(mad_values_check(&rows), 0, "%s, split %u", names[t], split);
            free(x);
            free(y);
            test_dataset_close(&d);
        }
    }
}

Test(mad, checker_can_fail) {
    for (int t = 0; t < 6; t++) {
        test_dataset d;
        int32_t *x, *y;
        open_task(&d, names[t], NULL, NULL);
        test_dataset_rows(&d, AIRA_SPLIT_TEST, 7, 0, N, &x, &y);
        int64_t last = d.info.target_length - 1;
        int32_t *answer = y + 300 * d.info.target_length + last; /* one wrong answer in one row is enough */
        *answer = *answer == 8 ? 9 : 8;
        fprintf(stderr, "expected complaint: ");
        mad_rows rows = {names[t], false, N, d.info.input_length, x, y, 0};
        cr_expect_gt(mad_values_check(&rows), 0, "%s", names[t]);
        free(x);
        free(y);
        test_dataset_close(&d);
    }
}

Test(mad, info) {
    static const double guess[6] = {0.125, 0.125, 0.125, 1 / 128.0, 1 / 16.0, 1 / 14.0};
    static const int64_t length[6] = {127, 127, 128, 32, 32, 256}, vocab[6] = {16, 32, 16, 256, 16, 16};
    for (int t = 0; t < 6; t++) {
        test_dataset d;
        open_task(&d, names[t], NULL, NULL);
        cr_expect_eq(d.info.metric, AIRA_METRIC_ACCURACY);
        cr_expect_eq(d.info.vocab, vocab[t]);
        cr_expect_eq(d.info.classes, vocab[t]);
        cr_expect_eq(d.info.input_length, length[t]);
        cr_expect_eq(d.info.target_length, length[t]);
        cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TRAIN], t == 3 ? 256 : 12800);
        cr_expect_eq(d.info.n_rows[AIRA_SPLIT_TEST], 1280);
        cr_expect_eq(d.info.batch, 128);
        cr_expect_eq(d.info.best, 1.0);
        cr_expect_float_eq(d.info.worst, guess[t], 1e-12);
        test_dataset_close(&d);
    }
}

/* A row does not depend on the call it is made in; seeds and splits give other rows. */
Test(mad, pure_and_disjoint) {
    for (int t = 0; t < 6; t++) {
        test_dataset d;
        int32_t *x, *y, *x1, *y1;
        open_task(&d, names[t], NULL, NULL);
        size_t length = (size_t)d.info.input_length, bytes = length * sizeof(int32_t);
        test_dataset_rows(&d, AIRA_SPLIT_TEST, 3, 0, 200, &x, &y);
        for (uint64_t i = 0; i < 200; i += 37) {
            test_dataset_rows(&d, AIRA_SPLIT_TEST, 3, i, 1, &x1, &y1);
            cr_expect_arr_eq(x1, x + i * length, bytes);
            cr_expect_arr_eq(y1, y + i * length, bytes);
            free(x1);
            free(y1);
        }
        for (int other = 0; other < 4; other++) { /* three splits under this seed, then this split under the next */
            uint32_t split = other < 3 ? (uint32_t)other : AIRA_SPLIT_TEST;
            test_dataset_rows(&d, split, other < 3 ? 3 : 4, 0, 200, &x1, &y1);
            for (size_t i = 0; i < 200; i++)
                for (size_t j = 0; j < 200; j++) cr_assert_neq(memcmp(x + i * length, x1 + j * length, bytes), 0);
            free(x1);
            free(y1);
        }
        free(x);
        free(y);
        test_dataset_close(&d);
    }
}

Test(mad, memorization_map_hangs_on_its_seed_alone) {
    int32_t value[3][127] = {{0}};
    const char *keys[3] = {"map_seed=12345", "map_seed=12345", "map_seed=1"};
    for (int k = 0; k < 3; k++) {
        test_dataset d;
        int32_t *x, *y;
        open_task(&d, "memorization", keys[k], NULL);
        test_dataset_rows(&d, k ? AIRA_SPLIT_SEARCH : AIRA_SPLIT_TRAIN, (uint64_t)k, 0, 256, &x, &y);
        for (int i = 0; i < 256 * 32; i += 2) value[k][x[i]] = y[i + 1];
        free(x);
        free(y);
        test_dataset_close(&d);
    }
    cr_expect_arr_eq(value[0], value[1], sizeof value[0]);
    int same = 0;
    for (int i = 0; i < 127; i++) same += value[0][i] == value[2][i];
    cr_expect_lt(same, 10, "%d facts are alike under another map_seed", same);
}

static int generate(const char *task, const char *a, const char *b) {
    test_dataset d;
    open_task(&d, task, a, b);
    cr_expect_eq(d.status, AIRA_OK, "%s %s: %s", task, a ? a : "", d.failure);
    for (uint32_t split = 0; split < AIRA_N_SPLITS && !d.status; split++) {
        int32_t *x, *y;
        test_dataset_rows(&d, split, 1, (uint64_t)d.info.n_rows[split] - 40, 40, &x, &y);
        int64_t counted = 0;
        for (int64_t i = 0; i < 40 * d.info.input_length; i++) {
            cr_assert(x[i] >= 0 && x[i] < d.info.vocab, "%s %s: input %d", task, a ? a : "", x[i]);
            cr_assert(y[i] == AIRA_IGNORE || (y[i] >= 0 && y[i] < d.info.classes));
            counted += y[i] != AIRA_IGNORE;
        }
        cr_expect_gt(counted, 0);
        free(x);
        free(y);
    }
    test_dataset_close(&d);
    return 1;
}

/* 66 settings: one key moved away from the baseline at a time. */
Test(mad, whole_grid_generates) {
    static const char *const moved[6][16] = {
        {"vocab=32", "vocab=64", "vocab=128", "length=256", "length=512", "length=1024", "train_rows=6400",
         "train_rows=3200", "train_rows=1600", "train_rows=800"},
        {"vocab=48", "vocab=80", "vocab=144", "length=256", "length=512", "length=1024", "train_rows=6400",
         "train_rows=3200", "train_rows=1600", "train_rows=800", "noise=0.4", "noise=0.6", "noise=0.8"},
        {"vocab=32", "vocab=64", "vocab=128", "length=256", "length=512", "length=1024", "train_rows=6400",
         "train_rows=3200", "train_rows=1600", "train_rows=800"},
        {"vocab=512", "vocab=1024", "vocab=2048", "vocab=4096", "vocab=8192"},
        {"vocab=32", "vocab=64", "vocab=128", "length=64", "length=128", "length=256", "train_rows=6400",
         "train_rows=3200", "train_rows=1600", "train_rows=800"},
        {"vocab=32", "vocab=64", "vocab=128", "length=512", "length=1024", "train_rows=6400", "train_rows=3200",
         "train_rows=1600", "train_rows=800", "copy_tokens=32", "copy_tokens=64", "copy_tokens=96"},
    };
    int settings = 0;
    for (int t = 0; t < 6; t++) {
        settings += generate(names[t], NULL, NULL);
        for (int i = 0; moved[t][i]; i++) settings += generate(names[t], moved[t][i], NULL);
    }
    cr_expect_eq(settings, 66);
}

/* Corners where a loop could run out of room. */
Test(mad, smallest_settings_generate) {
    generate("in-context-recall", "vocab=2", "length=4");
    generate("noisy-in-context-recall", "noise=1", "length=4");
    generate("noisy-in-context-recall", "vocab=18", "noise=1");
    generate("fuzzy-in-context-recall", "vocab=7", "length=18");
    generate("fuzzy-in-context-recall", "key_motif=7", "value_motif=8");
    generate("memorization", "vocab=3", "length=2");
    generate("compression", "vocab=2", "length=2");
    generate("selective-copying", "copy_tokens=1", "length=3");
    generate("selective-copying", "copy_tokens=127", "vocab=3");
}

Test(mad, impossible_settings_are_refused_with_the_range) {
    static const char *const bad[][4] = {
        {"in-context-recall", "length=5", NULL, "even"},
        {"in-context-recall", "length=2", NULL, "4 to"},
        {"in-context-recall", "vocab=1", NULL, "2 to"},
        {"in-context-recall", "noise=0.2", NULL, "noisy-in-context-recall"},
        {"in-context-recall", "map_seed=1", NULL, "memorization"},
        {"noisy-in-context-recall", "vocab=16", NULL, "18 to"},
        {"fuzzy-in-context-recall", "vocab=5", NULL, "1 to 2"},
        {"fuzzy-in-context-recall", "length=17", NULL, "18 to"},
        {"fuzzy-in-context-recall", "copy_tokens=4", NULL, "selective-copying"},
        {"memorization", "length=3", NULL, "even"},
        {"memorization", "vocab=2", NULL, "3 to"},
        {"memorization", "key_motif=2", NULL, "fuzzy"},
        {"compression", "vocab=1", NULL, "2 to"},
        {"selective-copying", "copy_tokens=128", NULL, "1 to 127"},
        {"selective-copying", "vocab=2", NULL, "3 to"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        test_dataset d;
        open_task(&d, bad[i][0], bad[i][1], bad[i][2]);
        cr_expect_eq(d.status, AIRA_E_CONFIG, "%s %s", bad[i][0], bad[i][1]);
        cr_expect(strstr(d.failure, bad[i][3]) != NULL, "%s %s: %s", bad[i][0], bad[i][1], d.failure);
        test_dataset_close(&d);
    }
}

Test(mad, rows_beyond_the_split_are_refused) {
    test_dataset d;
    open_task(&d, "compression", NULL, NULL);
    uint64_t index = 1280;
    int32_t x[32], y[32];
    cr_expect_eq(d.table->rows(d.self, AIRA_SPLIT_TEST, 1, &index, 1, x, y), AIRA_E_FAILED);
    cr_expect_eq(d.table->rows(d.self, AIRA_N_SPLITS, 1, &index, 1, x, y), AIRA_E_FAILED);
    cr_expect_eq(d.table->rows(d.self, AIRA_SPLIT_TRAIN, 1, &index, 1, x, y), AIRA_OK);
    test_dataset_close(&d);
}
