/* tests/unit/search_price.c - prices: reading, which row counts, and that unknown stays unknown. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/search/price.h"
#include "tests/support/folder.h"

#define DAY_2026_03_01 1772323200.0

static json_t *study_of(const char *yaml, const char *mistake) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, "prices.yaml", d);
    cr_assert_not_null(document, "%s", aira__diagnostics_text(d));
    json_t *rows = aira__prices_read(aira__map_get(aira__document_root(document), "prices"), d);
    if (mistake)
        cr_assert(strstr(aira__diagnostics_text(d), mistake), "no '%s' in: %s", mistake, aira__diagnostics_text(d));
    else
        cr_assert_eq(aira__diagnostics_count(d), 0, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return json_pack("{s:o}", "prices", rows);
}

static aira_usage usage(int64_t in, int64_t cached, int64_t written, int64_t out) {
    return (aira_usage){.size = sizeof(aira_usage),
                        .input_tokens = in,
                        .cached_input_tokens = cached,
                        .cache_write_tokens = written,
                        .output_tokens = out,
                        .reasoning_tokens = -1};
}

static double money(const json_t *study, const char *model, double when, aira_usage u) {
    return aira__price_money(aira__price_find(study, model, when), &u);
}

Test(price, counts_every_kind_of_token) {
    json_t *s = study_of("prices: [{model: m, input: 2, cached_input: 0.5, cache_write: 3, output: 10}]", NULL);
    cr_assert_float_eq(money(s, "m", 0, usage(1000, 300, 200, 50)), (500 * 2 + 300 * 0.5 + 200 * 3 + 50 * 10) / 1e6,
                       1e-15);
    cr_assert_float_eq(money(s, "m", 0, usage(1000, -1, -1, 50)), (1000 * 2 + 50 * 10) / 1e6, 1e-15);
    cr_assert_eq(money(s, "m", 0, usage(-1, 0, 0, 50)), -1);
    cr_assert_eq(money(s, "m", 0, usage(1000, 0, 0, -1)), -1);
    cr_assert_eq(money(s, "other", 0, usage(1, 0, 0, 1)), -1);
    cr_assert_eq(money(s, NULL, 0, usage(1, 0, 0, 1)), -1);
    json_decref(s);
}

Test(price, what_is_left_out_is_not_free) {
    json_t *s = study_of("prices: [{model: m, input: 2, output: 10}, {model: free, input: 0, output: 0}]", NULL);
    cr_assert_float_eq(money(s, "m", 0, usage(1000, 300, 0, 0)), 1000 * 2 / 1e6, 1e-15); /* cached as input */
    cr_assert_eq(money(s, "m", 0, usage(1000, 0, 200, 0)), -1);                          /* writing costs more */
    cr_assert_eq(money(s, "free", 0, usage(1000, 0, 0, 9)), 0);
    json_decref(s);
}

Test(price, youngest_valid_row_counts) {
    json_t *s = study_of("prices:\n"
                         "  - {model: \"big-*\", input: 1, output: 1}\n"
                         "  - {model: \"big-*\", input: 2, output: 1, valid_from: 2026-03-01}\n"
                         "  - {model: \"big-*\", input: 3, output: 1, valid_from: 2026-03-02}\n"
                         "  - {model: \"*\", input: 9, output: 9, currency: USD, source: \"https://example.com\"}\n",
                         NULL);
    cr_assert_float_eq(money(s, "big-1", DAY_2026_03_01 - 1, usage(1000000, 0, 0, 0)), 1, 1e-12);
    cr_assert_float_eq(money(s, "big-1", DAY_2026_03_01, usage(1000000, 0, 0, 0)), 2, 1e-12);
    cr_assert_float_eq(money(s, "big-1", DAY_2026_03_01 + 86400, usage(1000000, 0, 0, 0)), 3, 1e-12);
    cr_assert_float_eq(money(s, "small", DAY_2026_03_01, usage(1000000, 0, 0, 0)), 9, 1e-12);
    json_decref(s);
}

Test(price, mistakes_are_told) {
    static const struct {
        const char *yaml, *mistake;
    } rows[] = {{"prices: [{model: m, input: 1}]", "prices.yaml:1:10: error: a price needs `output`"},
                {"prices: [{input: 1, output: 1}]", "names its `model`"},
                {"prices: [{model: m, input: -1, output: 1}]", "0 or more"},
                {"prices: [{model: m, input: .nan, output: 1}]", "input"},
                {"prices: [{model: m, input: 1, output: 1, currency: EUR}]", "USD"},
                {"prices: [{model: m, input: 1, output: 1, valid_from: yesterday}]", "2026-01-31"},
                {"prices: [{model: m, inptu: 1, input: 1, output: 1}]", "did you mean 'input'"},
                {"prices: [m]", "a price is a mapping"},
                {"prices: {model: m}", "prices is a list"},
                {"prices: no-such-file.yaml", "no-such-file.yaml"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) json_decref(study_of(rows[i].yaml, rows[i].mistake));
}

Test(price, come_from_a_file) {
    test_folder folder;
    char path[1024];
    test_folder_make(&folder);
    const char *text = "prices: [{model: m, input: 1, output: 2}]\n";
    test_folder_write(&folder, "p.yaml", text, strlen(text));
    snprintf(path, sizeof path, "prices: %s/p.yaml", folder.path);
    json_t *s = study_of(path, NULL);
    cr_assert_not_null(aira__price_find(s, "m", 0));
    json_decref(s);
    test_folder_remove(&folder);
}
