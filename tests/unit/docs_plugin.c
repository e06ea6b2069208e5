/* tests/unit/docs_plugin.c - the plugin printed in docs/writing-a-plugin.md is compiled, loaded and traced as it
 * stands. */
#include <criterion/criterion.h>
#include <string.h>

#include "aira/primitive.h"
#include "core/graph/model.h"
#include "core/plugin/registry.h"
#include "tests/support/compile.h"

static char folder[64];

/* The first fenced C block, into attn.c of the folder. */
static void extract(char source[128]) {
    char path[1024];
    size_t n;
    snprintf(path, sizeof path, "%s/docs/writing-a-plugin.md", test_source_dir());
    char *text = (char *)test_read(path, &n);
    text[n] = 0;
    char *begin = strstr(text, "```c\n"), *end = begin != NULL ? strstr(begin + 5, "```\n") : NULL;
    cr_assert_not_null(end, "docs/writing-a-plugin.md has no C block");
    int lines = 0;
    for (char *c = begin + 5; c < end; c++) lines += *c == '\n';
    cr_assert_lt(lines, 56, "the example has grown to %d lines", lines);
    snprintf(source, 128, "%s/attn.c", folder);
    test_write(source, begin + 5, (size_t)(end - begin - 5));
    free(text);
}

Test(docs, the_attention_of_the_page_works, .timeout = 60) {
    char source[128], library[128];
    aira_error error = {0};
    test_folder(folder);
    extract(source);
    snprintf(library, sizeof library, "%s/attn.so", folder);
    test_compile(source, NULL, "-O2 -Wpedantic -Wl,-z,defs", library);
    aira__registry_options options = {.no_builtin = true};
    aira__registry *registry;
    cr_assert_eq(aira__registry_create(&options, &registry, &error), AIRA_OK, "%s", error.text);
    const aira_plugin *plugin = aira__registry_load_file(registry, library, &error);
    cr_assert_not_null(plugin, "%s", error.text);
    cr_assert_str_eq(plugin->id, "attn");

    struct {
        int64_t heads;
        int32_t rope;
    } config = {4, 1};
    cr_assert_eq(plugin->config->config_size, sizeof config);
    const aira_primitive *table = plugin->table;
    aira__layer layer = {table->token, plugin->id, "{}", table, &config};
    int64_t B = 2, T = 16, C = 64;
    aira_graph *graph = aira__primitive_build(&layer, B, T, C, AIRA_F32, true, &error);
    cr_assert_not_null(graph, "%s", error.text);
    aira_tensor *y = aira__graph_find_output(graph, "y");
    cr_assert_not_null(y);
    cr_assert(y->shape.rank == 3 && y->shape.dims[0] == B && y->shape.dims[1] == T && y->shape.dims[2] == C);
    aira__counts counts;
    aira__graph_count(graph, &counts);
    cr_assert_eq(counts.parameters, 4 * C * C);
    double linear = (double)(8 * B * T * C * C), attention = (double)(4 * B * T * T * C);
    cr_assert(counts.flops_forward > linear + attention / 2 && counts.flops_forward < linear + 2 * attention, "%g",
              counts.flops_forward);
    aira__graph_destroy(graph);

    config.heads = 5;
    cr_assert_null(aira__primitive_build(&layer, B, T, C, AIRA_F32, true, &error));
    cr_assert_not_null(strstr(error.text, "heads must divide the width"), "%s", error.text);
    aira__registry_destroy(registry);
    test_folder_remove(folder);
}
