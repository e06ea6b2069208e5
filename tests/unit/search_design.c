/* tests/unit/search_design.c - answers that are source: blocks, options, diffs, normal form, hash, and the notes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/answer.h"
#include "core/search/design.h"
#include "core/search/literature.h"
#include "core/search/sdk.h"
#include "core/train/task_design.h"

static const char declared_text[] =
    "{\"lr\": {\"sets\": \"recipe.optimizer.lr\", \"default\": 0.001, \"from\": 0.0001, "
    "\"to\": 0.01}, \"width\": {\"sets\": \"backbone.width\", \"default\": 64, "
    "\"choices\": [32, 64, 128]}}";
#define FENCE(tag, text) "```" tag "\n" text "```\n"

static json_t *declared(void) { return json_loads(declared_text, 0, NULL); }

/* The reason why an answer is refused; "" if it is not. Static. */
static const char *refused(const char *answer, const char *parent, const json_t *options) {
    static aira_error error;
    char *source = NULL;
    json_t *chosen = NULL;
    error = (aira_error){AIRA_OK, ""};
    aira_status status = aira__design_parse(answer, parent, NULL, options, &source, &chosen, &error);
    cr_assert_eq(status == AIRA_OK, source != NULL);
    cr_assert_eq(status == AIRA_OK, chosen != NULL);
    cr_assert(status == AIRA_OK || status == AIRA_E_FAILED);
    free(source);
    json_decref(chosen);
    return status == AIRA_OK ? "" : error.text;
}

Test(design, one_block_is_the_source) {
    char *source = NULL;
    json_t *options = NULL;
    aira_error error = {AIRA_OK, ""};
    const char answer[] =
        "<think>```c\nno\n```</think>An idea.\n\n```C\n\n  int x;  \r\n\n\tint y;\t\n\n\n```\nAnd more.\n";
    cr_assert_eq(aira__design_parse(answer, NULL, NULL, NULL, &source, &options, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(source, "  int x;\n\n\tint y;\n");
    cr_assert_eq(json_object_size(options), 0);
    free(source);
    json_decref(options);
}

Test(design, other_answers_are_refused_with_a_reason) {
    json_t *options = declared();
    struct {
        const char *answer, *parent, *words;
    } cases[] = {
        {"No code today.", NULL, "no fenced block tagged c"},
        {"", NULL, "no fenced block tagged c"},
        {FENCE("python", "def f(): pass\n"), NULL, "tagged `python`; the mechanism must be C"},
        {FENCE("", "int x;\n"), NULL, "has no tag"},
        {FENCE("c", "int x;\n") FENCE("c", "int y;\n"), NULL, "holds 2 fenced blocks tagged c"},
        {"```c\nint x;\n", NULL, "not closed"},
        {FENCE("c", "\n  \n"), NULL, "the source is empty"},
        {FENCE("diff", "@@ -1 +1 @@\n-a\n+b\n"), NULL, "no earlier source"},
        {FENCE("c", "int x;\n") FENCE("diff", "@@ -1 +1 @@\n-a\n+b\n"), "a\n", "give one of them"},
        {FENCE("c", "int x;\n") FENCE("yaml", "depth: 3\n"), NULL, "no option `depth`; there are lr, width"},
        {FENCE("c", "int x;\n") FENCE("yaml", "width: 65\n"), NULL, "`width` is one of [32, 64, 128]"},
        {FENCE("c", "int x;\n") FENCE("yaml", "lr: 1\n"), NULL, "`lr` is a number from 0.0001 to 0.01"},
        {FENCE("c", "int x;\n") FENCE("yaml", "lr: high\n"), NULL, "`lr` is a number"},
        {FENCE("c", "int x;\n") FENCE("yaml", "- 1\n"), NULL, "must be a mapping"},
        {FENCE("c", "int x;\n") FENCE("yaml", "lr: 1e-3\n") FENCE("yml", "lr: 1e-3\n"), NULL, "2 blocks tagged yaml"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *reason = refused(cases[i].answer, cases[i].parent, options);
        cr_assert(strstr(reason, cases[i].words), "case %zu: '%s' lacks '%s'", i, reason, cases[i].words);
    }
    cr_assert(strstr(refused(FENCE("c", "int x;\n") FENCE("yaml", "lr: 1e-3\n"), NULL, NULL), "no options to set"));
    char *large = malloc(AIRA__SOURCE_MAX + 100);
    strcpy(large, "```c\n");
    memset(large + 5, 'x', AIRA__SOURCE_MAX + 1);
    strcpy(large + 6 + AIRA__SOURCE_MAX, "\n```\n");
    cr_assert(strstr(refused(large, NULL, NULL), "more than the 65536"));
    free(large);
    json_decref(options);
}

/* Options as the answer leaves them: canonical JSON, static. */
static const char *options_of(const char *yaml, const char *parent_options) {
    static char text[200];
    json_t *known = declared(), *parent = parent_options ? json_loads(parent_options, 0, NULL) : NULL, *options = NULL;
    char answer[300], *source = NULL, *canonical;
    snprintf(answer, sizeof answer, FENCE("c", "int x;\n") "%s", yaml);
    cr_assert_eq(aira__design_parse(answer, parent ? "a\n" : NULL, parent, known, &source, &options, NULL), AIRA_OK);
    canonical = aira__json_canonical(options);
    snprintf(text, sizeof text, "%s", canonical);
    free(canonical);
    free(source);
    json_decref(options);
    json_decref(parent);
    json_decref(known);
    return text;
}

Test(design, options_are_complete) {
    cr_assert_str_eq(options_of("", NULL), "{\"lr\":0.001,\"width\":64}");
    cr_assert_str_eq(options_of(FENCE("yaml", "width: 128\n"), NULL), "{\"lr\":0.001,\"width\":128}");
    cr_assert_str_eq(options_of(FENCE("yaml", "lr: 0.01\n"), "{\"width\": 32, \"lr\": 0.002}"),
                     "{\"lr\":0.01,\"width\":32}");
}

static char *applied(const char *source, const char *diff, aira_error *error) {
    char *out = NULL;
    *error = (aira_error){AIRA_OK, ""};
    aira_status status = aira__diff_apply(source, diff, strlen(diff), &out, error);
    cr_assert_eq(status == AIRA_OK, out != NULL);
    return out;
}

Test(design, diffs_go_where_their_lines_are) {
    static const char source[] = "a\nb\nc\nd\ne\nb\nc\nf\n";
    struct {
        const char *diff, *wanted;
    } cases[] = {
        {"--- a/x.c\n+++ b/x.c\n@@ -2,2 +2,2 @@\n b\n-c\n+C\n", "a\nb\nC\nd\ne\nb\nc\nf\n"},
        {"@@ -6,2 +6,2 @@\n b\n-c\n+C\n", "a\nb\nc\nd\ne\nb\nC\nf\n"},
        {"@@ -60,2 +60,2 @@\n b\n-c\n+C\n", "a\nb\nc\nd\ne\nb\nC\nf\n"}, /* the nearest place */
        {"@@\n-d\n", "a\nb\nc\ne\nb\nc\nf\n"},                           /* no numbers */
        {"@@ -8 +8,2 @@\n f\n+g\n\\ No newline at end of file\n", "a\nb\nc\nd\ne\nb\nc\nf\ng\n"},
        {"@@ -1 +1 @@\n-a\n+A\n@@ -5 +5 @@\n-e\n+E\n", "A\nb\nc\nd\nE\nb\nc\nf\n"},
        {"@@ -1 +1,2 @@\n+0\n a  \n", "0\na\nb\nc\nd\ne\nb\nc\nf\n"}, /* blanks at ends do not count */
    };
    aira_error error;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *out = applied(source, cases[i].diff, &error);
        cr_assert_not_null(out, "case %zu: %s", i, error.text);
        cr_assert_str_eq(out, cases[i].wanted, "case %zu:\n%s", i, out);
        free(out);
    }
    struct {
        const char *diff, *words;
    } bad[] = {
        {"nothing\n", "has no hunk"},
        {"@@ -1 +1 @@\n-x\n+y\n", "hunk 1 of the diff does not fit: its old lines, from `x` on"},
        {"@@ -5 +5 @@\n-e\n+E\n@@ -1 +1 @@\n-a\n+A\n", "hunk 2 of the diff does not fit"}, /* hunks come in order */
        {"@@ -1 +1 @@\n a\n", "changes nothing"},
        {"@@ -1 +1 @@\n-a\n+A\nand so on\n", "holds the line `and so on`"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_null(applied(source, bad[i].diff, &error), "case %zu", i);
        cr_assert(strstr(error.text, bad[i].words), "case %zu: %s", i, error.text);
    }
}

Test(design, a_made_diff_leads_from_one_to_the_other) {
    uint64_t state = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        char texts[2][400] = {"", ""};
        for (int t = 0; t < 2; t++)
            for (int i = 0; i < 40; i++) {
                state ^= state << 13, state ^= state >> 7, state ^= state << 17;
                if (t == 1 && state % 5) continue; /* the second text: mostly the first one's lines */
                sprintf(texts[t] + strlen(texts[t]), "line %d\n", (int)(state >> 20) % (round % 2 ? 7 : 1000));
            }
        if (round % 3) { /* a common middle */
            char all[800];
            snprintf(all, sizeof all, "%.150s%s", texts[0], texts[1]);
            snprintf(texts[1], sizeof texts[1], "%.390s\n", all);
        }
        char *from = aira__source_normalise(texts[0], strlen(texts[0])),
             *to = aira__source_normalise(texts[1], strlen(texts[1]));
        char *diff = aira__diff_make(from, to);
        aira_error error;
        cr_assert_not_null(diff);
        if (!strcmp(from, to)) {
            cr_assert_str_eq(diff, "");
        } else {
            char *out = applied(from, diff, &error);
            cr_assert_not_null(out, "%s\n%s", error.text, diff);
            cr_assert_str_eq(out, to, "from\n%sdiff\n%sgave\n%s", from, diff, out);
            free(out);
        }
        free(diff);
        free(from);
        free(to);
    }
}

Test(design, identity_is_source_and_options) {
    aira__candidate a = {0}, b = {0}, c = {0};
    json_t *none = json_object(), *some = json_pack("{s:i}", "width", 64);
    static const char source[] = "AIRA_MANIFEST(\"primitive\", \"gated_conv\", \"1.0.0\")\n";
    cr_assert_eq(aira__candidate_design(source, none, &a, NULL), AIRA_OK);
    cr_assert_eq(aira__candidate_design(source, some, &b, NULL), AIRA_OK);
    cr_assert_eq(aira__candidate_design("int x;\n", none, &c, NULL), AIRA_OK);
    cr_assert_str_neq(a.hash, b.hash);
    cr_assert_str_neq(a.hash, c.hash);
    cr_assert(!strncmp(a.architecture, "gated_conv-", 11) && !strncmp(a.architecture + 11, a.hash, 8));
    cr_assert(!strncmp(c.architecture, "mechanism-", 10));
    cr_assert_str_eq(a.text, "{\"kind\":\"design\",\"options\":{},\"source\":\"AIRA_MANIFEST(\\\"primitive\\\", "
                             "\\\"gated_conv\\\", \\\"1.0.0\\\")\\n\"}");
    aira__candidate_release(&a);
    aira__candidate_release(&b);
    aira__candidate_release(&c);
    json_decref(none);
    json_decref(some);
}

Test(design, the_prompt_shows_the_headers_of_today) {
    char *header = aira__sdk_header(), *operations = aira__sdk_operations();
    cr_assert_not_null(header);
    cr_assert_not_null(operations);
    static const char *const shown[] = {"typedef struct aira_shape", "typedef struct aira_param_info", "(*attention)",
                                        "(*cross_entropy)", "(*build)"};
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) cr_assert(strstr(header, shown[i]), "%s", shown[i]);
    cr_assert(strstr(operations, "- `ssd`: Mamba-2") && strstr(operations, "- `softmax`: along the last axis"));
    cr_assert(!strstr(operations, "backward") && !strstr(operations, "`chain`") && !strstr(operations, "`param`"));
    free(header);
    free(operations);
}

static void write_note(const char *folder, const char *name, const char *text) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(aira__file_write_atomic(path, text, strlen(text), NULL), AIRA_OK);
}

Test(design, notes_are_chosen_by_words_within_a_limit) {
    char folder[] = "/tmp/aira-notes-XXXXXX", inner[64];
    json_t *notes = NULL;
    aira_error error = {AIRA_OK, ""};
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(aira__literature_load(folder, &notes, &error), AIRA_E_CONFIG);
    cr_assert(strstr(error.text, "no notes in it"));
    snprintf(inner, sizeof inner, "%s/attention", folder);
    mkdir(inner, 0777);
    write_note(inner, "window.md", "# Windows\n\nAttention within a window of recent positions.\n");
    write_note(inner, "linear.md", "# Linear attention\n\nFeature maps instead of softmax; recall suffers.\n");
    write_note(folder, "decay.md", "Decaying memory helps when old positions mislead.\n");
    cr_assert_eq(aira__literature_load(folder, &notes, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(json_array_size(notes), 3);

    json_t *all = aira__literature_choose(notes, "a softmax with recall", 1000);
    const json_t *first = json_array_get(all, 0), *second = json_array_get(all, 1);
    cr_assert_eq(json_array_size(all), 2);
    cr_assert_str_eq(aira__json_string(first, "topic", ""), "attention");
    const json_t *best = json_array_get(json_object_get(first, "notes"), 0);
    cr_assert_str_eq(aira__json_string(best, "title", ""), "Linear attention");
    cr_assert_str_eq(aira__json_string(second, "topic", ""), "general");
    cr_assert_str_eq(aira__json_string(json_array_get(json_object_get(second, "notes"), 0), "title", ""), "decay");
    json_decref(all);

    json_t *few = aira__literature_choose(notes, "old positions mislead", 25); /* 100 bytes: one note */
    cr_assert_eq(json_array_size(few), 1);
    cr_assert_str_eq(aira__json_string(json_array_get(few, 0), "topic", ""), "general");
    json_decref(few);
    json_decref(notes);
    cr_assert_eq(aira__remove_tree(folder, &error), AIRA_OK);
}
