/* plugin_examples.c - the YAML beside every primitive, backbone and optimizer holds all of its keys with their
 * defaults. */
#include <glob.h>

#include "tests/support/plugin_lab.h"

static void check_kind(const plugin_lab *l, const char *folder, const char *kind) {
    char pattern[1024];
    glob_t files;
    snprintf(pattern, sizeof pattern, "%s/plugins/%s/*/*.yaml", getenv("AIRA_SOURCE_DIR"), folder);
    cr_assert(glob(pattern, 0, NULL, &files) == 0 && files.gl_pathc >= 2, "%s", pattern);
    for (size_t k = 0; k < files.gl_pathc; k++) {
        aira__diagnostics *diagnostics = aira__diagnostics_create();
        aira__document *document = aira__document_load(files.gl_pathv[k], NULL, 0, diagnostics);
        cr_assert(document, "%s", aira__diagnostics_text(diagnostics));
        aira__node *root = aira__document_root(document);
        aira__instance *written = aira__instance_create(l->registry, kind, root, NULL, diagnostics);
        cr_assert(written, "%s", aira__diagnostics_text(diagnostics));
        char defaults[128];
        snprintf(defaults, sizeof defaults, "{use: %s}", written->plugin->id);
        aira__instance *plain = lab_make(l, kind, defaults);
        cr_expect(json_equal(written->canonical, plain->canonical), "%s differs from the defaults", files.gl_pathv[k]);
        cr_expect_eq(root->n_items, (int)written->plugin->config->n_fields + 1, "%s: %d keys", files.gl_pathv[k],
                     root->n_items);
        aira__instance_destroy(written);
        aira__instance_destroy(plain);
        aira__document_destroy(document);
        aira__diagnostics_destroy(diagnostics);
    }
    globfree(&files);
}

Test(plugin_examples, are_the_defaults) {
    plugin_lab l;
    lab_open(&l);
    check_kind(&l, "primitives", "primitive");
    check_kind(&l, "backbones", "backbone");
    check_kind(&l, "optimizers", "optimizer");
    lab_close(&l);
}
