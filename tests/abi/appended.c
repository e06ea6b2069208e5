/* tests/abi/appended.c - AIRA-ABI-5 from the plugin's side: a host whose every table has grown by a slot loads and uses
 * the plugins that were built against today's headers.
 *
 * Compiled, like the host sources it is linked with, against a copy of the headers with the slot
 * (tests/CMakeLists.txt).
 */
#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

#include "aira/primitive.h"
#include "core/engine/session.h"
#include "core/graph/model.h"
#include "core/plugin/registry.h"

static aira__registry *registry;
static aira_error error;

static void setup(void) {
    setenv("AIRA_PLUGIN_PATH", "", 1);
    setenv("HOME", "/nonexistent", 1); /* only this build's plugins */
    char folder[] = "/tmp/aira-test-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    setenv("XDG_CACHE_HOME", folder, 1);
    cr_assert_eq(aira__registry_create(NULL, &registry, &error), AIRA_OK, "%s", error.text);
}

static void teardown(void) {
    char command[256];
    aira__registry_destroy(registry);
    snprintf(command, sizeof command, "rm -rf '%s'", getenv("XDG_CACHE_HOME"));
    cr_assert_eq(system(command), 0);
}

TestSuite(appended, .init = setup, .fini = teardown, .timeout = 120);

Test(appended, the_headers_have_really_grown) {
    aira_host host = {0};
    aira_ops ops = {0};
    aira_plugin plugin = {0};
    aira_primitive primitive = {0};
    cr_assert_null(host.appended_by_test);
    cr_assert_null(ops.appended_by_test);
    cr_assert_null(plugin.appended_by_test);
    cr_assert_null(primitive.appended_by_test);
    cr_assert_eq(sizeof primitive, 40u);
}

Test(appended, every_plugin_loads) {
    int n = aira__registry_count(registry);
    cr_assert_gt(n, 15, "the plugins of this build were not found");
    for (int i = 0; i < n; i++) {
        const aira__plugin_entry *e = aira__registry_entry(registry, i);
        const aira_plugin *plugin = aira__registry_find(registry, e->kind, e->id, &error);
        cr_expect_not_null(plugin, "%s: %s", e->path, error.text);
        if (plugin != NULL) cr_expect_null(plugin->appended_by_test);
    }
}

static aira__instance *make(const char *kind, const char *text) {
    aira__instance *instance;
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "test", d);
    instance = aira__instance_create(registry, kind, aira__document_root(document), NULL, d);
    cr_assert_not_null(instance, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return instance;
}

/* A model of several primitives in a backbone, traced through the grown tables and run on the real device. */
Test(appended, a_model_is_built_and_run) {
    aira__instance *backbone = make("backbone", "{use: mad_lm, width: 32}");
    aira__instance *made[3] = {make("primitive", "{use: attention, heads: 4}"), make("primitive", "{use: mlp}"),
                               make("primitive", "{use: mamba}")};
    aira__instance *device = make("device", "{use: cpu}");
    aira__layer layers[3];
    for (int i = 0; i < 3; i++)
        layers[i] = (aira__layer){((const aira_primitive *)made[i]->plugin->table)->token, made[i]->plugin->id, "{}",
                                  made[i]->plugin->table, made[i]->self};
    aira__model_spec spec = {.backbone = backbone->plugin->table,
                             .backbone_self = backbone->self,
                             .layers = layers,
                             .n_layers = 3,
                             .vocab = 11,
                             .batch = 2,
                             .input_length = 8,
                             .target_length = 8,
                             .compute_dtype = AIRA_F32,
                             .causal = true,
                             .with_loss = true};
    aira_graph *graph = aira__model_build(&spec, &error);
    cr_assert_not_null(graph, "%s", error.text);
    aira__session_options options = {.copies = 1};
    aira__session *session;
    cr_assert_eq(aira__session_create(device->plugin->table, device->self, aira__registry_host(registry), &graph, 1,
                                      &options, &session, &error),
                 AIRA_OK, "%s", error.text);
    uint64_t seed = 1;
    int32_t tokens[16];
    float loss = -1;
    for (int i = 0; i < 16; i++) tokens[i] = i % 11;
    cr_assert_eq(aira__session_initialise(session, &seed, &error), AIRA_OK, "%s", error.text);
    aira_status status = aira__session_set_input(session, 0, "tokens", 0, tokens, sizeof tokens, &error);
    cr_assert_eq(status, AIRA_OK, "%s", error.text);
    status = aira__session_set_input(session, 0, "targets", 0, tokens, sizeof tokens, &error);
    cr_assert_eq(status, AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_run(session, 0, &error), AIRA_OK, "%s", error.text);
    status = aira__session_get_output(session, 0, "loss", 0, &loss, sizeof loss, &error);
    cr_assert_eq(status, AIRA_OK, "%s", error.text);
    cr_assert(loss > 0.5f && loss < 20.0f, "loss %g", (double)loss);
    aira__session_destroy(session);
    aira__graph_destroy(graph);
    for (int i = 0; i < 3; i++) aira__instance_destroy(made[i]);
    aira__instance_destroy(device);
    aira__instance_destroy(backbone);
}
