/* tests/unit/plugin_instance.c - configured plugins from YAML and from their canonical form; a cache that many fill at
 * once. */
#include <criterion/criterion.h>
#include <sys/wait.h>

#include "core/base/json.h"
#include "core/plugin/registry.h"
#include "tests/support/compile.h"

static char folder[64];
static aira__registry *registry;
static aira__diagnostics *diagnostics;

static void setup(void) {
    char path[128];
    aira_error error;
    test_folder(folder);
    snprintf(path, sizeof path, "%s/stateful.so", folder);
    test_compile("tests/abi/good/stateful.c", NULL, "", path);
    snprintf(path, sizeof path, "%s/plain.so", folder);
    test_compile("tests/abi/bad/good.c", NULL, "", path);
    const char *paths[] = {folder};
    aira__registry_options options = {.paths = paths, .n_paths = 1, .no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &registry, &error), AIRA_OK, "%s", error.text);
    diagnostics = aira__diagnostics_create();
}

static void teardown(void) {
    aira__diagnostics_destroy(diagnostics);
    aira__registry_destroy(registry);
    test_folder_remove(folder);
}

TestSuite(instance, .init = setup, .fini = teardown, .timeout = 60);

static aira__instance *make(const char *yaml, const char *const *skip, aira__document **document) {
    *document = aira__document_parse(yaml, "test.yaml", diagnostics);
    cr_assert_not_null(*document, "%s", aira__diagnostics_text(diagnostics));
    return aira__instance_create(registry, "primitive", aira__document_root(*document), skip, diagnostics);
}

static void expect_canonical(const aira__instance *i, const char *text) {
    char *canonical = aira__json_canonical(i->canonical);
    cr_assert_str_eq(canonical, text);
    free(canonical);
}

Test(instance, from_yaml_and_back) {
    aira__document *document;
    aira_error error = {0};
    aira__instance *i = make("{use: stateful, size: 7, kind: round}", NULL, &document), *again;
    cr_assert_not_null(i, "%s", aira__diagnostics_text(diagnostics));
    expect_canonical(i, "{\"kind\":\"round\",\"rate\":0.5,\"size\":7,\"text\":\"none\",\"use\":\"stateful\"}");
    cr_assert_str_eq(json_object_iter_key(json_object_iter(i->canonical)), "use", "the plugin is named first");
    cr_assert_neq(i->self, i->config);
    aira_status status = aira__instance_create_json(registry, "primitive", i->canonical, &again, &error);
    cr_assert_eq(status, AIRA_OK, "%s", error.text);
    cr_assert(json_equal(again->canonical, i->canonical));
    aira__instance_destroy(again);
    aira__instance_destroy(i);
    aira__document_destroy(document);
}

Test(instance, a_name_alone_takes_the_defaults) {
    aira__document *document;
    aira__instance *i = make("sample", NULL, &document);
    cr_assert_not_null(i, "%s", aira__diagnostics_text(diagnostics));
    cr_assert_eq(i->self, i->config, "without create, self is the configuration");
    cr_assert_eq(*(const int64_t *)i->config, 64);
    expect_canonical(i, "{\"hidden\":64,\"use\":\"sample\"}");
    aira__instance_destroy(i);
    aira__document_destroy(document);
}

Test(instance, keys_of_the_caller_are_skipped) {
    const char *const skip[] = {"at_scale", NULL};
    aira__document *document;
    aira__instance *i = make("{use: sample, at_scale: {use: other}}", skip, &document);
    cr_assert_not_null(i, "%s", aira__diagnostics_text(diagnostics));
    cr_assert_null(json_object_get(i->canonical, "at_scale"));
    aira__instance_destroy(i);
    aira__document_destroy(document);
}

Test(instance, mistakes_have_a_place) {
    static const struct {
        const char *yaml, *words;
    } bad[] = {
        {"{size: 7}", "test.yaml:1:1: error: missing key 'use'"},
        {"{use: statful}", "test.yaml:1:7: error: unknown primitive 'statful', did you mean 'stateful'?"},
        {"{use: [a]}", "expected the name of a primitive plugin"},
        {"[stateful]", "expected the name of a primitive plugin"},
        {"{use: stateful, siz: 7}", "test.yaml:1:17: error: unknown key 'siz', did you mean 'size'"},
        {"{use: stateful, size: 700}", "test.yaml:1:23: error"},
        {"{use: stateful, size: 13}", "test.yaml:1:7: error: primitive 'stateful': size 13 is not possible here"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
        aira__document *document;
        int before = aira__diagnostics_count(diagnostics);
        cr_expect_null(make(bad[k].yaml, NULL, &document), "%s", bad[k].yaml);
        cr_expect_eq(aira__diagnostics_count(diagnostics), before + 1, "%s", bad[k].yaml);
        cr_expect_not_null(strstr(aira__diagnostics_text(diagnostics), bad[k].words), "%s: %s", bad[k].words,
                           aira__diagnostics_text(diagnostics));
        aira__document_destroy(document);
    }
    aira_error error = {0};
    aira__instance *i;
    json_t *nameless = json_object(), *wrong = json_pack("{s:s, s:i}", "use", "stateful", "siz", 7);
    cr_assert_eq(aira__instance_create_json(registry, "primitive", nameless, &i, &error), AIRA_E_CONFIG);
    cr_assert_neq(aira__instance_create_json(registry, "primitive", wrong, &i, &error), AIRA_OK);
    cr_assert_null(i);
    cr_assert_not_null(strstr(error.text, "siz"), "%s", error.text);
    json_decref(nameless);
    json_decref(wrong);
}

/* Processes that start together on an empty cache all succeed, and leave no half-written file. */
Test(instance, many_processes_fill_one_cache) {
    enum { n = 8 };
    pid_t children[n];
    char command[128];
    for (int k = 0; k < n; k++) {
        children[k] = fork();
        if (children[k] == 0) {
            aira_error error;
            bool good = aira__registry_find(registry, "primitive", "sample", &error) != NULL &&
                        aira__registry_find(registry, "primitive", "stateful", &error) != NULL;
            _exit(good ? 0 : 1);
        }
    }
    for (int k = 0; k < n; k++) {
        int status;
        cr_assert_eq(waitpid(children[k], &status, 0), children[k]);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %d", k);
    }
    snprintf(command, sizeof command, "test $(ls -A %s/aira/plugins | wc -l) = 4", folder);
    cr_assert_eq(system(command), 0, "two copies and two verdicts, nothing else");
}
