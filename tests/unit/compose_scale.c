/* compose_scale.c - stretch and stack on exact integers: published expansions, and what must hold for any sequence. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/compose/extrapolate.h"
#include "core/compose/notation.h"

/* At the width of 1B: GQA attention, SwiGLU; Llama is 16 of each. */
#define A 10485760
#define M 50331648
static const char *const tokens[] = {"mA", "M"};
static const int64_t cost[] = {A, M};
static const int64_t llama = 16 * (int64_t)(A + M);

static int64_t scaled(const char *text, int64_t target, aira__scale_rule rule, char **out, int count[2]) {
    uint16_t small[64], large[AIRA__NOTATION_MAX];
    int n = 0, m = 0;
    aira_error error = {0};
    cr_assert_eq(aira__notation_parse(text, tokens, 2, small, 64, &n, NULL), AIRA_OK);
    cr_assert_eq(aira__scale_layers(small, n, cost, target, rule, large, AIRA__NOTATION_MAX, &m, &error), AIRA_OK, "%s",
                 error.text);
    int64_t body = 0;
    count[0] = count[1] = 0;
    for (int i = 0; i < m; i++) {
        body += cost[large[i]];
        count[large[i]]++;
    }
    *out = aira__notation_format(large, m, tokens);
    return body;
}

Test(scale, expansions_at_1B) {
    static const struct {
        const char *base, *stretched, *stacked;
        int attention, mlp;
        double millions;
    } cases[] = {
        {"2mA 4M", "9mA 18M", "2mA 4M 2mA 4M 2mA 4M 2mA 4M mA 2M", 9, 18, 1000.3},
        {"2mA 5M 2mA 3M 1mA 3M", "4mA 9M 4mA 5M 2mA 5M", "2mA 5M 2mA 3M mA 3M 2mA 4M 2mA 2M mA 2M", 10, 19, 1061.2},
        {"mA M", "16mA 16M", NULL, 16, 16, 973.1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *stretched, *stacked;
        int count[2];
        int64_t body = scaled(cases[i].base, llama, AIRA__STRETCH, &stretched, count);
        cr_expect_str_eq(stretched, cases[i].stretched, "%s", stretched);
        cr_expect(count[0] == cases[i].attention && count[1] == cases[i].mlp, "%s", stretched);
        cr_expect((double)body / 1e6 > cases[i].millions - 0.05 && (double)body / 1e6 < cases[i].millions + 0.05);
        cr_expect_eq(scaled(cases[i].base, llama, AIRA__STACK, &stacked, count), body);
        cr_expect(count[0] == cases[i].attention && count[1] == cases[i].mlp, "%s", stacked);
        if (cases[i].stacked) cr_expect_str_eq(stacked, cases[i].stacked, "%s", stacked);
        free(stretched);
        free(stacked);
    }
}

Test(scale, known_attention_to_mlp_ratios) {
    /* One run of each: 7:9 at s = 1.849, 11:5 at s = 2.651. */
    char *text;
    int count[2];
    scaled("7mA 9M", llama, AIRA__STRETCH, &text, count);
    cr_expect(count[0] == 13 && count[1] == 17, "%s", text);
    free(text);
    scaled("11mA 5M", llama, AIRA__STRETCH, &text, count);
    cr_expect(count[0] == 30 && count[1] == 14, "%s", text);
    free(text);
}

Test(scale, whole_factors_do_not_round_up) { /* a floating s of 3.0000000001 would add layers here */
    char *text;
    int count[2];
    for (int s = 1; s <= 60; s++) {
        int64_t target = s * (int64_t)(3 * A + 7 * (int64_t)M);
        cr_expect_eq(scaled("3mA 7M", target, AIRA__STRETCH, &text, count), target);
        cr_expect(count[0] == 3 * s && count[1] == 7 * s);
        free(text);
        cr_expect_eq(scaled("3mA 7M", target, AIRA__STACK, &text, count), target);
        free(text);
    }
}

Test(scale, larger_than_the_target) {
    char *text;
    int count[2];
    scaled("20mA 30M", llama, AIRA__STACK, &text, count); /* no whole copy: the stretched tail alone */
    cr_expect_str_eq(text, "12mA 17M", "%s", text);
    free(text);
}

Test(scale, stack_and_stretch_have_the_same_counts) {
    aira_rng rng = aira_rng_make(aira_key(5, "scale"), 0);
    for (int round = 0; round < 2000; round++) {
        uint16_t layers[16], stretched[4096], stacked[4096];
        int64_t price[3];
        int n = 1 + (int)aira_rng_below(&rng, 16), a = 0, b = 0, count[2][3] = {{0}};
        for (int i = 0; i < n; i++) layers[i] = (uint16_t)aira_rng_below(&rng, 3);
        for (int t = 0; t < 3; t++) price[t] = 1 + aira_rng_below(&rng, 60000000);
        int64_t target = 500000000 + aira_rng_below(&rng, 500000000), body = 0, m = 0;
        for (int i = 0; i < n; i++) m += price[layers[i]];
        if (target / m > 200) continue;
        cr_assert_eq(aira__scale_layers(layers, n, price, target, AIRA__STRETCH, stretched, 4096, &a, NULL), AIRA_OK);
        cr_assert_eq(aira__scale_layers(layers, n, price, target, AIRA__STACK, stacked, 4096, &b, NULL), AIRA_OK);
        for (int i = 0; i < a; i++) count[0][stretched[i]]++;
        for (int i = 0; i < b; i++) count[1][stacked[i]]++;
        cr_assert(a == b && memcmp(count[0], count[1], sizeof count[0]) == 0, "round %d", round);
        for (int i = 0; i < a; i++) body += price[stretched[i]];
        cr_assert(body >= target, "rounding up never falls short");
    }
}

Test(scale, refusals) {
    uint16_t layers[2] = {0, 1}, out[4];
    int n;
    static const int64_t nothing[] = {0, 0};
    aira_error error;
    cr_expect_eq(aira__scale_layers(layers, 2, nothing, 100, AIRA__STACK, out, 4, &n, &error), AIRA_E_FAILED);
    cr_expect(strstr(error.text, "no parameters"));
    cr_expect_eq(aira__scale_layers(layers, 2, cost, llama, AIRA__STRETCH, out, 4, &n, &error), AIRA_E_FAILED);
    cr_expect(strstr(error.text, "more than 4 layers"));
    const aira__size *size;
    aira__scale_rule rule;
    cr_expect_eq(aira__size_find("2B", &size, &error), AIRA_E_CONFIG);
    cr_expect(strstr(error.text, "`2B`") && strstr(error.text, "350M, 1B, 3B, 8B"));
    cr_expect_eq(aira__scale_rule_find("strech", &rule, &error), AIRA_E_CONFIG);
    cr_expect(strstr(error.text, "stretch and stack"));
}

Test(scale, sizes_are_llamas) {
    static const struct {
        const char *name;
        double millions;
    } cases[] = {{"350M", 352.3}, {"1B", 973.1}, {"3B", 2818.6}, {"8B", 6979.3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const aira__size *s;
        cr_assert_eq(aira__size_find(cases[i].name, &s, NULL), AIRA_OK);
        int64_t kv = s->width / s->heads * s->kv_heads;
        int64_t body = s->llama_layers * (2 * s->width * (s->width + kv) + 3 * s->width * s->hidden);
        cr_expect((double)body / 1e6 > cases[i].millions - 0.05 && (double)body / 1e6 < cases[i].millions + 0.05,
                  "%s: %lld", cases[i].name, (long long)body);
    }
}
