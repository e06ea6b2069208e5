/* tests/unit/search_template.c - prompt templates: rendering, and errors with their line. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/search/template.h"

static json_t *values(void) {
    return json_pack("{s:s, s:i, s:f, s:n, s:s, s:[{s:s, s:f},{s:s, s:n}], s:[], s:b}", "name", "Ada", "n", 3, "x",
                     0.25, "nothing", "empty", "", "rows", "name", "one", "score", 0.5, "name", "two", "score", "none",
                     "yes", 1);
}

static void renders(const char *text, const char *expected) {
    json_t *v = values();
    char *out = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__template_render(text, "t.md", v, NULL, &out, &error), AIRA_OK, "%s: %s", text, error.text);
    cr_assert_str_eq(out, expected, "%s gave %s", text, out);
    free(out);
    json_decref(v);
}

static void refuses(const char *text, const char *reason) {
    json_t *v = values();
    char *out = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__template_render(text, "t.md", v, NULL, &out, &error), AIRA_E_CONFIG, "%s was accepted", text);
    cr_assert(strstr(error.text, reason), "%s: %s", text, error.text);
    cr_assert_null(out);
    json_decref(v);
}

Test(template, renders) {
    renders("", "");
    renders("plain { text }", "plain { text }");
    renders("{{name}} has {{ n }} and {{x}} {{yes}}", "Ada has 3 and 0.25 true");
    renders("{{#if nothing}}a{{else}}b{{/if}}{{#if empty}}a{{else}}c{{/if}}{{#if none}}a{{else}}d{{/if}}", "bcd");
    renders("{{#if n}}{{#if yes}}both{{/if}}{{/if}}", "both");
    renders("{{#each rows}}{{name}}{{#if score}}={{score}}{{/if}},{{/each}}{{name}}", "one=0.5,two,Ada");
    renders("{{#each none}}{{anything}}{{/each}}.", ".");
    renders("a\n{{! a comment }}\nb\n", "a\nb\n");
    renders("list:\n{{#each rows}}\n- {{name}}\n{{/each}}\nend\n", "list:\n- one\n- two\nend\n");
    renders("  {{#if yes}}  \nin\n  {{/if}}\nout", "in\nout");
    renders("{{#if nothing}}{{nothing}}{{/if}}ok", "ok"); /* guarded */
}

Test(template, refuses_with_line) {
    refuses("a\nb {{unknown}}\n", "t.md:2: error: undefined variable unknown");
    refuses("{{#if nothing}}\n\n{{unknown}}{{/if}}", "t.md:3: error: undefined variable unknown");
    refuses("{{#each rows}}\n{{unknown}}{{/each}}", "t.md:2: error: undefined variable unknown");
    refuses("{{#if unknown}}{{/if}}", "undefined variable unknown");
    refuses("{{#each name}}{{/each}}", "#each needs a list");
    refuses("{{rows}}", "neither text nor number");
    refuses("{{nothing}}", "neither text nor number");
    refuses("x {{name", "{{ without }}");
    refuses("{{}}", "needs a name");
    refuses("{{Name}}", "lower-case");
    refuses("{{#if n}}", "#if without");
    refuses("{{#each rows}}{{/if}}", "#each without");
    refuses("{{#each rows}}", "#each without");
    refuses("{{/if}}", "not open");
    refuses("a{{else}}b", "not open");
}

Test(template, nests_only_so_deep) {
    char text[2000] = "";
    for (int i = 0; i < 15; i++) strcat(text, "{{#if n}}");
    strcat(text, "x");
    for (int i = 0; i < 15; i++) strcat(text, "{{/if}}");
    renders(text, "x");
    text[0] = 0;
    for (int i = 0; i < 20; i++) strcat(text, "{{#if n}}");
    for (int i = 0; i < 20; i++) strcat(text, "{{/if}}");
    refuses(text, "16 deep");
}

Test(template, remembers_elements_that_depend_on_nothing_else) {
    static const char *const texts[] = {
        "{{#each memory}}<{{idx}}{{#if note}} {{note}}{{/if}}>{{/each}}.", /* the element alone */
        "{{#each memory}}<{{idx}} of {{of}}>{{/each}}.",                   /* an outer name */
        "{{#each memory}}{{#each of_all}}{{idx}}{{/each}}{{/each}}.",      /* an outer list */
        "{{#each memory}}{{#each parts}}{{idx}}-{{part}} {{/each}}{{/each}}.",
    };
    aira__template_cache *cache = aira__template_cache_create();
    json_t *memory = json_array(), *all = json_pack("[{s:i}]", "x", 1);
    cr_assert_not_null(cache);
    for (int round = 0; round < 200; round++) {
        json_array_append_new(memory, json_pack("{s:i, s:s, s:[{s:i}]}", "idx", round, "note", round % 3 ? "n" : "",
                                                "parts", "part", round + 7));
        json_t *v = json_pack("{s:O, s:i, s:O}", "memory", memory, "of", round, "of_all", all);
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
            char *fresh = NULL, *again = NULL;
            aira_error error = {0};
            cr_assert_eq(aira__template_render(texts[t], "t.md", v, NULL, &fresh, &error), AIRA_OK, "%s", error.text);
            cr_assert_eq(aira__template_render(texts[t], "t.md", v, cache, &again, &error), AIRA_OK, "%s", error.text);
            cr_assert_str_eq(fresh, again, "round %d, %s", round, texts[t]);
            free(fresh);
            free(again);
        }
        json_decref(v);
    }
    json_decref(memory);
    json_decref(all);
    aira__template_cache_destroy(cache);
}
