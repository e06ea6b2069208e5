/* tests/unit/plugin_refusals.c - bad plugin files: each is refused with its reason and the host is unharmed.
 *
 * Sources are in tests/abi/bad; files that no compiler writes are made by editing the bytes of a good one.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <sys/stat.h>

#include "aira/primitive.h"
#include "core/base/clock.h"
#include "core/plugin/registry.h"
#include "tests/support/compile.h"

static char folder[64];
static aira__registry *registry;

static void open_registry(void) {
    aira_error error;
    aira__registry_options options = {.no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &registry, &error), AIRA_OK, "%s", error.text);
}

static void setup(void) {
    test_folder(folder);
    open_registry();
}

static void teardown(void) {
    aira__registry_destroy(registry);
    test_folder_remove(folder);
}

TestSuite(refusals, .init = setup, .fini = teardown, .timeout = 120);

static char *in_folder(char path[128], const char *name) {
    snprintf(path, 128, "%s/%s.so", folder, name);
    return path;
}

/* Loads a file and expects a refusal that names the file and holds the words. */
static void refuse(const char *path, const char *words) {
    aira_error error = {0};
    cr_expect_null(aira__registry_load_file(registry, path, &error), "%s was accepted", path);
    cr_expect(strncmp(error.text, path, strlen(path)) == 0, "the file is not named: %s", error.text);
    cr_expect_not_null(strstr(error.text, words), "%s: expected '%s' in '%s'", path, words, error.text);
}

static void accept(const char *path) {
    aira_error error = {0};
    const aira_plugin *plugin = aira__registry_load_file(registry, path, &error);
    cr_assert_not_null(plugin, "%s", error.text);
    cr_assert_str_eq(plugin->id, "sample");
    cr_assert_eq(plugin->size, sizeof(aira_plugin));
}

static const struct {
    const char *source, *words, *flags;
} compiled[] = {
    {"library", "without an aira manifest", ""},
    {"no_manifest", "without an aira manifest", ""},
    {"two_manifests", "2 manifests", ""},
    {"abi_major_2", "built for plugin ABI 2.0, this program speaks ABI 1", ""},
    {"missing_symbol", "does not export the function aira_plugin_v1", ""},
    {"undefined_symbol", "undefined symbol: nobody_has_this", "-Wl,-z,lazy"},
    {"host_too_old", "needs a host of ABI 1.99", ""},
    {"descriptor_short", "its descriptor has 40 bytes, expected 96 or more", ""},
    {"kind_size", "table has 32 bytes, the table itself says 24", ""},
    {"table_short", "its primitive table has 24 bytes, expected 32 or more", ""},
    {"missing_slot", "lacks the mandatory slot 'build'", ""},
    {"create_alone", "it has create without destroy", ""},
    {"manifest_differs", "id is 'sample' in the manifest and 'simple' in the descriptor", ""},
    {"unknown_kind", "its kind 'soothsayer' is unknown; this program knows primitive", ""},
    {"bad_token", "its token '2m'", ""},
    {"newer_descriptor", "its descriptor sets a field that this program does not know", ""},
    {"newer_table", "sets a slot that this program does not know", ""},
    {"default_outside", "the default 0 of key 'hidden' is outside 1 .. 1e+06", ""},
    {"field_outside", "key 'hidden' lies outside its configuration struct", ""},
    {"fields_overlap", "keys 'hidden' and 'eps' share the same place", ""},
    {"key_twice", "declares the key 'hidden' twice", ""},
    {"key_use", "the key 'use', which belongs to the host", ""},
    {"no_choices", "key 'bias' is a choice without choices", ""},
    {"constructor_crash", "loading it crashes: Segmentation fault", ""},
    {"constructor_exit", "it left the probe early", ""},
    {"entry_crash", "loading it crashes: Segmentation fault", ""},
    {"entry_null", "aira_plugin_v1 returned NULL", ""},
    {"entry_changes", "returns another descriptor at its second call", ""},
};

static void compile_bad(const char *name, const char *flags, char path[128]) {
    char source[128];
    snprintf(source, sizeof source, "tests/abi/bad/%s.c", name);
    test_compile(source, NULL, flags, in_folder(path, name));
}

Test(refusals, compiled_files) {
    char path[128];
    for (size_t i = 0; i < sizeof compiled / sizeof compiled[0]; i++) {
        compile_bad(compiled[i].source, compiled[i].flags, path);
        refuse(path, compiled[i].words);
    }
    compile_bad("good", "", path);
    accept(path);
    compile_bad("newer_unused", "", path);
    accept(path);
}

Test(refusals, endless_loop_costs_its_limit_once) {
    char path[128];
    compile_bad("endless_loop", "", path);
    double start = aira__now();
    refuse(path, "more than 2 seconds of CPU time");
    cr_assert_gt(aira__now() - start, 1.5);
    aira__registry_destroy(registry);
    open_registry();
    start = aira__now();
    refuse(path, "more than 2 seconds of CPU time");
    cr_assert_lt(aira__now() - start, 1.0, "the verdict was not remembered");
}

Test(refusals, edited_files) {
    char good[128], path[128];
    size_t n;
    compile_bad("good", "", good);
    unsigned char *bytes = test_read(good, &n), noise[4096];
    Elf64_Ehdr *header = (Elf64_Ehdr *)bytes, kept = *header;
    Elf64_Phdr *segments = (Elf64_Phdr *)(bytes + header->e_phoff), load = segments[0];

    in_folder(path, "edited");
    refuse(path, "No such file");
    test_write(path, "", 0);
    refuse(path, "the file is empty");
    test_write(path, "just some text\n", 15);
    refuse(path, "not a shared object");
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (unsigned char)(i * 197 + (i >> 3) * 31 + 5);
    test_write(path, noise, sizeof noise);
    refuse(path, "not a shared object");
    test_write(path, bytes, 40);
    refuse(path, "truncated");
    test_write(path, bytes, 100);
    refuse(path, "truncated or damaged");
    test_write(path, bytes, n / 2);
    refuse(path, "truncated or damaged");
    header->e_phoff = n - 8;
    test_write(path, bytes, n);
    refuse(path, "its program headers lie outside the file");
    header->e_phoff = ~(uint64_t)0;
    test_write(path, bytes, n);
    refuse(path, "its program headers lie outside the file");
    *header = kept;
    header->e_machine = EM_MIPS;
    test_write(path, bytes, n);
    refuse(path, "built for another machine (ELF number 8)");
    *header = kept;
    header->e_type = ET_EXEC;
    test_write(path, bytes, n);
    refuse(path, "not a shared object: link it with -shared");
    *header = kept;
    segments[0].p_filesz = n * 2;
    test_write(path, bytes, n);
    refuse(path, "segment 0 lies outside the file");
    segments[0] = load;
    segments[0].p_memsz = ~(uint64_t)0;
    test_write(path, bytes, n);
    refuse(path, "impossible place in memory");
    segments[0] = load;
    test_write(path, bytes, n);
    accept(path);
    free(bytes);
}

/* Copies with a few random bytes changed where the loader of the system looks first. Most are refused, some are
   harmless; the point is to be alive afterwards and to have a sentence for every refusal. */
Test(refusals, corrupted_copies_never_harm_the_host) {
    char good[128], path[128];
    size_t n;
    compile_bad("good", "", good);
    unsigned char *bytes = test_read(good, &n), *copy = malloc(n);
    uint64_t state = 88172645463325252u;
    int refused = 0;
    in_folder(path, "corrupted");
    for (int round = 0; round < 300; round++) {
        memcpy(copy, bytes, n);
        int changes = 1 + round % 8;
        for (int i = 0; i < changes; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            copy[(state >> 8) % 1024] ^= (unsigned char)(1 + (state >> 40) % 255);
        }
        test_write(path, copy, n);
        aira_error error = {0};
        if (aira__registry_load_file(registry, path, &error) != NULL) continue;
        refused++;
        cr_assert_gt(strlen(error.text), strlen(path) + 10, "no reason: %s", error.text);
    }
    cr_assert_gt(refused, 30);
    accept(good);
    free(copy);
    free(bytes);
}

/* One bad file in a folder is listed with its reason and disturbs nothing; the first of two namesakes wins, and the
   second takes over when the first turns out to be bad. */
Test(refusals, folders) {
    char path[256], first[128], second[128];
    aira_error error = {0};
    snprintf(first, sizeof first, "%s/one", folder);
    snprintf(second, sizeof second, "%s/two", folder);
    cr_assert_eq(mkdir(first, 0700) | mkdir(second, 0700), 0);
    snprintf(path, sizeof path, "%s/a.so", first);
    test_compile("tests/abi/bad/constructor_exit.c", NULL, "", path);
    snprintf(path, sizeof path, "%s/b.so", first);
    test_compile("tests/abi/bad/library.c", NULL, "", path);
    snprintf(path, sizeof path, "%s/c.so", second);
    test_compile("tests/abi/bad/good.c", NULL, "", path);
    snprintf(path, sizeof path, "%s/other.so", second);
    test_compile("tests/abi/bad/good.c", NULL, "-DID='\"other\"'", path);

    aira__registry *r;
    const char *paths[] = {first, second};
    aira__registry_options options = {.paths = paths, .n_paths = 2, .no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &r, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__registry_count(r), 4);
    cr_assert_str_eq(aira__registry_entry(r, 0)->state, "available");
    cr_assert_str_eq(aira__registry_entry(r, 1)->state, "refused");
    cr_assert_str_eq(aira__registry_entry(r, 2)->state, "shadowed");
    cr_assert_not_null(strstr(aira__registry_entry(r, 2)->reason, "one/a.so comes first"));

    cr_assert_null(aira__registry_find(r, "primitive", "othr", &error));
    cr_assert_not_null(strstr(error.text, "did you mean 'other'"), "%s", error.text);
    const aira_plugin *found = aira__registry_find(r, "primitive", "sample", &error);
    cr_assert_not_null(found, "%s", error.text);
    cr_assert_eq(aira__registry_entry(r, 2)->plugin, found);
    cr_assert_eq(aira__registry_find(r, "primitive", "sample", &error), found, "loaded twice");
    cr_assert_str_eq(aira__registry_entry(r, 0)->state, "refused");
    cr_assert_not_null(strstr(aira__registry_entry(r, 0)->reason, "left the probe early"));
    cr_assert_null(aira__registry_find(r, "fortune", "sample", &error));
    cr_assert_not_null(strstr(error.text, "the kinds are primitive, backbone"), "%s", error.text);
    cr_assert_null(aira__registry_find(r, "agent", "sample", &error));
    aira__registry_destroy(r);

    options.n_paths = 1; /* only the bad ones */
    cr_assert_eq(aira__registry_create(&options, &r, &error), AIRA_OK, "%s", error.text);
    cr_assert_null(aira__registry_find(r, "primitive", "sample", &error));
    cr_assert_null(aira__registry_find(r, "primitive", "sample", &error));
    cr_assert_not_null(strstr(error.text, "one/a.so: it left the probe early"), "%s", error.text);
    aira__registry_destroy(r);

    paths[0] = "/no/such/folder";
    cr_assert_eq(aira__registry_create(&options, &r, &error), AIRA_E_CONFIG);
    cr_assert_not_null(strstr(error.text, "/no/such/folder"));
}

/* Overwriting the original does not touch what is loaded, and the new content is a new question. */
Test(refusals, replaced_file) {
    char path[128], good[128];
    aira_error error = {0};
    size_t n;
    compile_bad("good", "", good);
    unsigned char *bytes = test_read(good, &n);
    test_write(in_folder(path, "replaced"), bytes, n);
    const aira_plugin *first = aira__registry_load_file(registry, path, &error);
    cr_assert_not_null(first, "%s", error.text);
    test_write(path, "gone", 4);
    cr_assert_str_eq(first->summary, "A plugin for the tests of the loader.");
    refuse(path, "not a shared object");
    test_compile("tests/abi/bad/good.c", NULL, "-DTOKEN='\"T\"'", path);
    const aira_plugin *second = aira__registry_load_file(registry, path, &error);
    cr_assert_not_null(second, "%s", error.text);
    cr_assert_str_eq(((const aira_primitive *)first->table)->token, "S");
    cr_assert_str_eq(((const aira_primitive *)second->table)->token, "T");
    free(bytes);
}

/* The environment's folders: absolute ones only, and their problems are listed. */
Test(refusals, plugin_path_of_the_environment) {
    char value[256];
    aira_error error = {0};
    snprintf(value, sizeof value, ":relative/folder::%s:/no/such/place:", folder);
    char path[128];
    compile_bad("good", "", path);
    setenv("AIRA_PLUGIN_PATH", value, 1);
    setenv("HOME", folder, 1);
    aira__registry *r;
    cr_assert_eq(aira__registry_create(NULL, &r, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(aira__registry_entry(r, 0)->path, "relative/folder");
    cr_assert_not_null(strstr(aira__registry_entry(r, 0)->reason, "must be an absolute path"));
    cr_assert_str_eq(aira__registry_entry(r, 1)->id, "sample");
    cr_assert_str_eq(aira__registry_entry(r, 2)->state, "refused");
    cr_assert_not_null(strstr(aira__registry_entry(r, 2)->reason, "No such file"));
    aira__registry_destroy(r);
}
