/* test_listops.c - the evaluator on the published files' conventions, labels against a second evaluator, the
 * distribution of lengths and labels, splits that share nothing, refusals.
 */
#include <criterion/criterion.h>

#include "plugins/datasets/listops/tree.h"
#include "tests/support/listops.h"

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Tokens of a text in either notation; their number. */
static int64_t tokens_of(const char *text, int32_t *tokens) {
    char word[16];
    int64_t n = 0;
    while (listops_word(&text, word)) {
        for (int32_t id = 1; id < LISTOPS_VOCAB; id++) {
            if (strcmp(word, listops_words[id]) == 0) tokens[n++] = id;
        }
    }
    return n;
}

/* Lines as the published files have them: label, tree in left-nested pairs. The values were worked out by hand. */
Test(listops, evaluator_on_published_conventions) {
    static const struct {
        int value;
        const char *text;
    } cases[] = {
        {7, "7"},
        {9, "( ( ( [MAX 2 ) 9 ) ] )"},
        {2, "( ( ( [MIN 2 ) 9 ) ] )"},
        {1, "( ( ( [SM 2 ) 9 ) ] )"},
        {5, "( ( ( [MED 2 ) 9 ) ] )"},                           /* mean 5.5 is cut */
        {3, "( ( ( ( [MED 1 ) 3 ) 9 ) ] )"},                     /* odd number */
        {4, "( ( ( ( ( [MED 9 ) 1 ) 6 ) 3 ) ] )"},               /* mean of 3 and 6 is cut */
        {0, "( ( ( ( [SM 5 ) 4 ) 1 ) ] )"},                      /* sum modulo 10 */
        {8, "( ( ( ( [MAX 4 ) ( ( ( [SM 9 ) 9 ) ] ) ) 3 ) ] )"}, /* nested */
        {5, "( ( ( ( [MED ( ( ( [MIN 5 ) 6 ) ] ) ) ( ( ( [MAX 7 ) 8 ) ] ) ) 0 ) ] )"},
        {6, "[SM [MAX 1 2 [MED 3 4 ] ] [MIN 3 9 ] ]"}, /* without parentheses */
        {0, "( ( ( ( ( ( [MIN 0 ) 0 ) 9 ) 9 ) 0 ) ] )"},
        {9, "( ( ( ( ( [MED 9 ) 9 ) 9 ) 0 ) ] )"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int32_t tokens[64];
        const char *text = cases[k].text;
        cr_expect_eq(listops_value(tokens, tokens_of(text, tokens)), cases[k].value, "%s", cases[k].text);
        cr_expect_eq(listops_read(&text), cases[k].value, "second evaluator: %s", cases[k].text);
    }
}

Test(listops, evaluator_refuses_what_is_no_expression) {
    static const char *const cases[] = {"", "]", "[MAX", "[MAX ]", "[MAX 1 2", "1 2", "[MAX 1 2 ] 3", "[MAX 1 2 ] ]"};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        int32_t tokens[64];
        cr_expect_eq(listops_value(tokens, tokens_of(cases[k], tokens)), -1, "%s", cases[k]);
    }
    const int32_t padded[] = {LISTOPS_MIN, 3, 4, LISTOPS_END, LISTOPS_PAD};
    cr_expect_eq(listops_value(padded, 5), -1);
    cr_expect_eq(listops_value(padded, 4), 2);
}

/* An independent generator gives a mean length of 1,037, 16.9 % and 9 to 10 % for labels 0, 9 and the next ones. The
   limits are five standard errors of this many rows; bench_listops prints the figures of 100,000. */
Test(listops, distribution) {
    enum { ROWS = 4000 };
    test_dataset d;
    listops_counts c;
    test_dataset_open(&d, "listops", KEYS("train_rows=4000"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    cr_expect(d.info.input_length == 2000 && d.info.target_length == 1 && d.info.classes == 10);
    cr_expect_eq(d.info.metric, AIRA_METRIC_ACCURACY_POOLED);
    listops_count(&c, &d, AIRA_SPLIT_TRAIN, ROWS);
    double sum = 0;
    for (int k = 0; k < ROWS; k++) {
        sum += (double)c.lengths[k];
        cr_assert(c.lengths[k] > 500 && c.lengths[k] < 2000);
    }
    cr_expect_eq(c.wrong, 0, "%d labels differ from the second evaluator's", (int)c.wrong);
    cr_expect_float_eq(sum / ROWS, 1037, 33, "mean length %g", sum / ROWS);
    cr_expect_float_eq(listops_share(&c, 0), 0.168, 0.03, "label 0: %g", listops_share(&c, 0));
    cr_expect_float_eq(listops_share(&c, 9), 0.168, 0.03, "label 9: %g", listops_share(&c, 9));
    for (int label = 1; label < 9; label++) {
        double share = listops_share(&c, label);
        cr_expect(share > 0.05 && share < 0.12, "label %d: %g", label, share);
    }
    for (int root = 0; root < 4; root++) cr_expect_float_eq(listops_root_share(&c, root), 0.25, 0.035);
    cr_expect_float_eq(listops_majority(&c), 0.168, 0.03, "majority %g", listops_majority(&c));
    cr_expect_float_eq(listops_root_baseline(&c), 0.363, 0.054, "root operator %g", listops_root_baseline(&c));
    free(c.lengths);
    test_dataset_close(&d);
}

static int compare_rows(const void *a, const void *b) { return memcmp(a, b, 24 * sizeof(int32_t)); }

/* Expressions so short that they come again: under any seeds no split has one of another's. */
Test(listops, splits_share_nothing) {
    enum { N = 3000, T = 24 };
    test_dataset d;
    test_dataset_open(&d, "listops",
                      KEYS("min_length=0", "max_length=24", "max_depth=3", "max_args=2", "train_rows=3000",
                           "search_rows=3000", "selection_rows=3000", "test_rows=3000"));
    cr_assert_eq(d.status, AIRA_OK, "%s", d.failure);
    int32_t *x[AIRA_N_SPLITS], *y;
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) {
        test_dataset_rows(&d, s, s * 7, 0, N, &x[s], &y);
        free(y);
        qsort(x[s], N, T * sizeof(int32_t), compare_rows);
    }
    int64_t shared = 0, again = 0;
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) {
        for (int k = 0; k < N; k++) {
            again += k > 0 && compare_rows(x[s] + k * T, x[s] + (k - 1) * T) == 0;
            for (uint32_t other = s + 1; other < AIRA_N_SPLITS; other++)
                shared += bsearch(x[s] + k * T, x[other], N, T * sizeof(int32_t), compare_rows) != NULL;
        }
    }
    cr_expect_eq(shared, 0, "%d rows are in two splits", (int)shared);
    cr_expect(again > N, "too few repetitions (%d) for this test to say anything", (int)again);
    for (uint32_t s = 0; s < AIRA_N_SPLITS; s++) free(x[s]);
    test_dataset_close(&d);
}

Test(listops, refusals) {
    test_dataset d;
    test_dataset_open(&d, "listops", KEYS("min_length=499", "max_length=500"));
    cr_expect(d.status && strstr(d.failure, "leave no length between"), "%s", d.failure);
    test_dataset_close(&d);
    test_dataset_open(&d, "listops", KEYS("min_length=500", "max_length=2000", "max_depth=2"));
    cr_expect(d.status && strstr(d.failure, "lower min_length"), "%s", d.failure);
    test_dataset_close(&d);
}
