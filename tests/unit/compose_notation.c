/* compose_notation.c - architectures as text: what is read, what is refused and how, and the round trip. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/compose/notation.h"

static const char *const tokens[] = {"mA", "M", "Mb"};

static char *again(const char *text) {
    uint16_t layers[64];
    int n = 0;
    aira_error error = {0};
    cr_assert_eq(aira__notation_parse(text, tokens, 3, layers, 64, &n, &error), AIRA_OK, "%s: %s", text, error.text);
    char *out = aira__notation_format(layers, n, tokens);
    cr_assert_not_null(out);
    return out;
}

Test(notation, accepted_forms) {
    static const char *const cases[][2] = {
        {"2mA 4M", "2mA 4M"},       {"2mA4M", "2mA 4M"}, {"mA M", "mA M"},        {"MmAM", "M mA M"},  {"MbM", "Mb M"},
        {" \t1mA  M\nM ", "mA 2M"}, {"2 mA", "2mA"},     {"MMbMMb", "M Mb M Mb"}, {"mA mA mA", "3mA"}, {"02M", "2M"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {

        char *out = again(cases[i][0]);
        cr_expect_str_eq(out, cases[i][1], "%s gave %s", cases[i][0], out);
        free(out);
    }
}

Test(notation, longest_token_wins) {
    static const char *const names[] = {"A", "A2", "A2x"};
    uint16_t layers[8];
    int n = 0;
    cr_assert_eq(aira__notation_parse("A2x2A2A", names, 3, layers, 8, &n, NULL), AIRA_OK);
    cr_assert_eq(n, 4);
    const uint16_t want[] = {2, 1, 1, 0};
    cr_expect_eq(memcmp(layers, want, sizeof want), 0);
}

Test(notation, refusals_name_place_and_remedy) {
    static const char *const cases[][3] = {
        {"", "empty", "2mA"},
        {"   ", "empty", "2mA"},
        {"0M", "count 0 at position 1", "at least 1"},
        {"M 00M", "count 00 at position 3", "at least 1"},
        {"M 3", "count 3 at position 3", "no token after it"},
        {"2mA 4mX", "unknown token `mX` at position 6", "mA, M, Mb"},
        {"mB", "position 1", "did you mean"},
        {"M b", "unknown token `b` at position 3", "mA, M, Mb"},
        {"M,M", "unexpected character `,` at position 2", "2mA 4M"},
        {"M -1M", "unexpected character `-` at position 3", "2mA 4M"},
        {"M \xc3\xa9", "\\xc3 at position 3", "2mA 4M"},
        {"65M", "more than 64 layers", "position 1"},
        {"60M 5mA", "more than 64 layers", "position 5"},
        {"99999999999999999999999999M", "more than 64 layers", "position 1"},
        {"2 3M", "unexpected character `3` at position 3", "2mA 4M"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t layers[64];
        int n = 0;
        aira_error error = {0};
        cr_expect_eq(aira__notation_parse(cases[i][0], tokens, 3, layers, 64, &n, &error), AIRA_E_CONFIG, "%s",
                     cases[i][0]);
        cr_expect(strstr(error.text, cases[i][1]) && strstr(error.text, cases[i][2]), "`%s` gave: %s", cases[i][0],
                  error.text);
    }
}

Test(notation, limit_is_exact) {
    uint16_t layers[5] = {9, 9, 9, 9, 9};
    int n = 0;
    cr_expect_eq(aira__notation_parse("2mA 2M", tokens, 3, layers, 4, &n, NULL), AIRA_OK);
    cr_expect_eq(n, 4);
    cr_expect_eq(aira__notation_parse("2mA 3M", tokens, 3, layers, 4, &n, NULL), AIRA_E_CONFIG);
    cr_expect_eq(layers[4], 9, "wrote past the limit");
}

Test(notation, unknown_alphabet) {
    aira__notation any;
    aira_error error = {0};
    cr_assert_eq(aira__notation_parse_any("2mA 4M MoE 2mA", &any, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(any.n_tokens, 3);
    cr_expect_str_eq(any.tokens[2], "MoE");
    char *text = aira__notation_format(any.layers, any.n, (const char *const *)any.tokens);
    cr_expect_str_eq(text, "2mA 4M MoE 2mA");
    free(text);
    aira__notation_release(&any);
    cr_expect_eq(aira__notation_parse_any("4M 9999999M", &any, &error), AIRA_E_CONFIG);
    cr_expect_null(any.layers);
    cr_expect_eq(aira__notation_parse_any("?", &any, &error), AIRA_E_CONFIG);
}

Test(notation, token_names) {
    cr_expect(aira__token_valid("mA") && aira__token_valid("M") && aira__token_valid("A2x"));
    cr_expect(!aira__token_valid("") && !aira__token_valid("2A") && !aira__token_valid("m-A") &&
              !aira__token_valid("m A"));
}

Test(notation, random_round_trip) {
    aira_rng rng = aira_rng_make(aira_key(1, "notation"), 0);
    for (int round = 0; round < 500; round++) {
        uint16_t layers[64], back[64];
        int n = 1 + (int)aira_rng_below(&rng, 64), m = 0;
        for (int i = 0; i < n; i++) layers[i] = (uint16_t)aira_rng_below(&rng, 3);
        char *text = aira__notation_format(layers, n, tokens);
        cr_assert_eq(aira__notation_parse(text, tokens, 3, back, 64, &m, NULL), AIRA_OK);
        cr_assert(m == n && memcmp(layers, back, (size_t)n * sizeof *layers) == 0, "%s", text);
        free(text);
    }
}
