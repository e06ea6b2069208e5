/* tests/unit/search_answer.c - what counts as an answer, and that every refusal says why. */
#include <criterion/criterion.h>
#include <string.h>

#include "core/search/answer.h"

static const char *const tokens[] = {"mA", "M", "Mb"};

static aira_status parse(const char *text, uint16_t layers[4], aira_error *error) {
    memset(error, 0, sizeof *error);
    return aira__answer_parse(text, tokens, 3, 4, layers, error);
}

Test(answer, accepts) {
    static const char *const good[] = {
        "I change one layer.\n\n```yaml\nlayers: \"mA M 2Mb\"\n```\n",
        "```yaml\nlayers: mA M 2Mb\n```",
        "```yml\nlayers: [mA, M, Mb, Mb]\n```",
        "~~~YAML\nlayers: mAM2Mb\n~~~\nDone.",
        "<think>```yaml\nlayers: \"4M\"\n```</think>\n```yaml\nlayers: \"mA M 2Mb\"\n```",
        "reasoning without its first tag ```yaml\nlayers: 4M\n```</think>\n```yaml\nlayers: mA M 2Mb\n```",
        "```python\nlayers = 3\n```\n```yaml\nlayers: mA M 2Mb\n```",
        "```yaml\nnote: no layers here\n```\n```yaml\nlayers: mA M 2Mb\n```",
        "   ````yaml\nlayers: mA M 2Mb\n````",
        "```yaml\r\nlayers: mA M 2Mb\r\n```\r\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint16_t layers[4];
        aira_error error;
        cr_assert_eq(parse(good[i], layers, &error), AIRA_OK, "%zu: %s", i, error.text);
        cr_assert(layers[0] == 0 && layers[1] == 1 && layers[2] == 2 && layers[3] == 2, "%zu", i);
    }
}

Test(answer, refuses_with_a_reason) {
    static const char *const bad[][2] = {
        {"", "no fenced block"},
        {"layers: mA M 2Mb", "no fenced block"},
        {"```\nlayers: mA M 2Mb\n```", "no fenced block"},
        {"```yaml\nlayer: mA\n```", "no key `layers`"},
        {"```yaml\nlayers: mA M\n```", "2 layers and the task asks for 4"},
        {"```yaml\nlayers: 5M\n```", "5 layers and the task asks for 4"},
        {"```yaml\nlayers: mA M X Mb\n```", "X"},
        {"```yaml\nlayers: mA M 2Mb\n", "not closed"},
        {"```yaml\nlayers: mA M 2Mb\n```\n```yaml\nlayers: 4M\n```", "2 fenced yaml blocks"},
        {"```yaml\nlayers: mA M 2Mb\nheads: 3\n```", "heads"},
        {"```yaml\nlayers: [mA, [M]]\n```", ""},
        {"<think>\n```yaml\nlayers: mA M 2Mb\n```", "no fenced block"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint16_t layers[4];
        aira_error error;
        cr_assert_eq(parse(bad[i][0], layers, &error), AIRA_E_FAILED, "%zu was accepted", i);
        cr_assert(error.text[0] && strstr(error.text, bad[i][1]), "%zu: %s", i, error.text);
    }
}

Test(answer, candidate_identity) {
    aira__candidate a, b, c;
    aira_error error = {0};
    const uint16_t one[] = {0, 1, 1, 2}, two[] = {0, 1, 2, 2};
    cr_assert_eq(aira__candidate_make(one, 4, tokens, &a, &error), AIRA_OK);
    cr_assert_eq(aira__candidate_make(one, 4, tokens, &b, &error), AIRA_OK);
    cr_assert_eq(aira__candidate_make(two, 4, tokens, &c, &error), AIRA_OK);
    cr_assert_str_eq(a.text, "{\"kind\":\"compose\",\"layers\":[\"mA\",\"M\",\"M\",\"Mb\"]}");
    cr_assert_str_eq(a.architecture, "mA 2M Mb");
    cr_assert_str_eq(a.hash, b.hash);
    cr_assert_str_neq(a.hash, c.hash);
    aira__candidate_release(&a);
    aira__candidate_release(&b);
    aira__candidate_release(&c);
}
