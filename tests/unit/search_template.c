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
    cr_assert_eq(aira__template_render(text, "t.md", v, &out, &error), AIRA_OK, "%s: %s", text, error.text);
    cr_assert_str_eq(out, expected, "%s gave %s", text, out);
    free(out);
    json_decref(v);
}

static void refuses(const char *text, const char *reason) {
    json_t *v = values();
    char *out = NULL;
    aira_error error = {0};
    cr_assert_eq(aira__template_render(text, "t.md", v, &out, &error), AIRA_E_CONFIG, "%s was accepted", text);
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
