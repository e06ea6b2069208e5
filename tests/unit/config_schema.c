/* tests/unit/config_schema.c - structs filled from declared tables: every type, every message, both ways in. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/config/config.h"

typedef struct {
    int64_t heads, tokens, memory;
    double lr, wall, flops;
    int32_t causal, norm;
    const char *name, *where;
    uint64_t seed;
    aira_list sizes, names;
} settings;

static const char *const norms[] = {"rms", "layer", NULL};
static const aira_field fields[] = {
    AIRA_F_INT(settings, heads, 8, 1, 64, "attention heads"),
    {"tokens", "training tokens", AIRA_T_COUNT, 0, offsetof(settings, tokens), 0, 1000, 0, 0, NULL, NULL},
    {"memory", "limit, bytes", AIRA_T_BYTES, 0, offsetof(settings, memory), 0, 1048576, 0, 0, NULL, NULL},
    AIRA_F_REAL(settings, lr, 0.001, 0, 1, "learning rate"),
    {"wall", "limit, seconds", AIRA_T_DURATION, 0, offsetof(settings, wall), 0, 60, 0, 0, NULL, NULL},
    {"flops", "budget", AIRA_T_FLOPS, 0, offsetof(settings, flops), 0, 1e9, 0, 0, NULL, NULL},
    AIRA_F_BOOL(settings, causal, 1, "hide the future"),
    AIRA_F_CHOICE(settings, norm, norms, 1, "kind of norm"),
    {"name", "its name", AIRA_T_STR, AIRA_REQUIRED, offsetof(settings, name), 0, 0, 0, 0, NULL, NULL},
    {"where", "data file", AIRA_T_PATH, 0, offsetof(settings, where), 0, 0, 0, 0, NULL, NULL},
    {"seed", "of the draws", AIRA_T_SEED, 0, offsetof(settings, seed), 0, 7, 0, 0, NULL, NULL},
    {"sizes", "of the layers", AIRA_T_LIST | AIRA_T_INT, 0, offsetof(settings, sizes), 0, 0, 1, 9, "2 3", NULL},
    {"names", "of the layers", AIRA_T_LIST | AIRA_T_STR, 0, offsetof(settings, names), 0, 0, 0, 0, NULL, NULL},
};
static const aira_schema schema = AIRA_SCHEMA(settings, fields);
static const char *const skip[] = {"use", NULL};

typedef struct {
    aira__diagnostics *d;
    aira__document *document;
    settings s;
    aira__filled *memory;
    json_t *canonical;
    bool good;
} filled;

static filled fill(const char *text) {
    filled f = {.d = aira__diagnostics_create()};
    f.document = aira__document_parse(text, "t.yaml", f.d);
    cr_assert_not_null(f.document);
    f.good = aira__schema_fill(&schema, aira__document_root(f.document), skip, &f.s, &f.memory, &f.canonical, f.d);
    return f;
}

static void drop(filled *f) {
    aira__filled_release(f->memory);
    json_decref(f->canonical);
    aira__document_destroy(f->document);
    aira__diagnostics_destroy(f->d);
}

Test(config_schema, defaults) {
    filled f = fill("{use: x, name: n}");
    cr_assert(f.good, "%s", aira__diagnostics_text(f.d));
    cr_assert_eq(f.s.heads, 8);
    cr_assert_eq(f.s.tokens, 1000);
    cr_assert_eq(f.s.memory, 1048576);
    cr_assert_eq(f.s.lr, 0.001);
    cr_assert_eq(f.s.wall, 60);
    cr_assert_eq(f.s.flops, 1e9);
    cr_assert_eq(f.s.causal, 1);
    cr_assert_eq(f.s.norm, 1);
    cr_assert_str_eq(f.s.name, "n");
    cr_assert_null(f.s.where);
    cr_assert_eq(f.s.seed, 7);
    cr_assert_eq(f.s.sizes.n, 2);
    cr_assert_eq(((const int64_t *)f.s.sizes.items)[1], 3);
    cr_assert_eq(f.s.names.n, 0);
    char *text = aira__json_canonical(f.canonical);
    cr_assert_str_eq(
        text,
        "{\"causal\":true,\"flops\":1000000000.0,\"heads\":8,\"lr\":0.001,\"memory\":1048576,\"name\":\"n\","
        "\"names\":null,\"norm\":\"layer\",\"seed\":7,\"sizes\":[2,3],\"tokens\":1000,\"wall\":60.0,"
        "\"where\":null}",
        "%s", text);
    free(text);
    drop(&f);
}

Test(config_schema, every_type_and_the_way_through_json) {
    filled f = fill(
        "{name: 12, heads: 0x10, tokens: 2.5K, memory: 64MiB, lr: 5e-4, wall: 90m, flops: 4e19, causal: false,\n"
        " norm: rms, where: /etc/../etc/hosts, seed: 18446744073709551615, sizes: [1, 9], names: [a, 'b c']}");
    cr_assert(f.good, "%s", aira__diagnostics_text(f.d));
    settings back;
    aira__filled *memory;
    aira_error error = {0};
    cr_assert_eq(json_object_set_new(f.canonical, "use", json_string("x")), 0);
    cr_assert_eq(aira__schema_fill_json(&schema, f.canonical, &back, &memory, NULL, &error), AIRA_OK, "%s", error.text);
    const settings *both[] = {&f.s, &back};
    for (int i = 0; i < 2; i++) {
        const settings *s = both[i];
        cr_assert_str_eq(s->name, "12");
        cr_assert_eq(s->heads, 16);
        cr_assert_eq(s->tokens, 2500);
        cr_assert_eq(s->memory, 67108864);
        cr_assert_eq(s->lr, 5e-4);
        cr_assert_eq(s->wall, 5400);
        cr_assert_eq(s->flops, 4e19);
        cr_assert_eq(s->causal, 0);
        cr_assert_eq(s->norm, 0);
        cr_assert_str_eq(s->where, "/etc/hosts");
        cr_assert_eq(s->seed, UINT64_MAX);
        cr_assert_eq(s->sizes.n, 2);
        cr_assert_eq(((const int64_t *)s->sizes.items)[0], 1);
        cr_assert_eq(s->names.n, 2);
        cr_assert_str_eq(((const char *const *)s->names.items)[1], "b c");
    }
    aira__filled_release(memory);
    drop(&f);
}

Test(config_schema, all_mistakes_at_once) {
    filled f = fill("heads: 99\n"
                    "tokens: 0.5\n"
                    "memory: 2Gib\n"
                    "lr: fast\n"
                    "wall: [1]\n"
                    "flops: -1\n"
                    "causal: yes\n"
                    "norm: layr\n"
                    "seed: -1\n"
                    "sizes: [1, 10, x]\n"
                    "names: a\n"
                    "hedas: 4\n");
    cr_assert(!f.good);
    cr_assert_null(f.canonical);
    const char *got = aira__diagnostics_text(f.d);
    cr_assert_str_eq(got,
                     "t.yaml:12:1: error: unknown key 'hedas', did you mean 'heads'?\n"
                     "    accepted keys: heads tokens memory lr wall flops causal norm name* where seed sizes names   "
                     "(* required)\n"
                     "t.yaml:1:8: error: 'heads' must be within 1 to 64, not 99\n"
                     "t.yaml:2:9: error: 'tokens' must be a count (128, 2K, 1.5M, 3B), not '0.5'\n"
                     "t.yaml:3:9: error: 'memory' must be a size in bytes (100, 64MiB, 2GiB), not '2Gib'\n"
                     "t.yaml:4:5: error: 'lr' must be a number, not 'fast'\n"
                     "t.yaml:5:7: error: 'wall' must be a duration (90s, 5m, 2h, 1d), not a list\n"
                     "t.yaml:6:8: error: 'flops' must be a number of operations (4e19), not '-1'\n"
                     "t.yaml:7:9: error: 'causal' must be true or false, not 'yes'\n"
                     "t.yaml:8:7: error: 'norm' cannot be 'layr', did you mean 'layer'?\n"
                     "    accepted values: rms layer\n"
                     "t.yaml:1:1: error: key 'name' is missing: its name\n"
                     "t.yaml:9:7: error: 'seed' must be a whole number from 0 to 18446744073709551615, not '-1'\n"
                     "t.yaml:10:12: error: an item of 'sizes' must be within 1 to 9, not 10\n"
                     "t.yaml:10:16: error: an item of 'sizes' must be a whole number, not 'x'\n"
                     "t.yaml:11:8: error: 'names' must be a list, not a single value; write names: [...]\n",
                     "%s", got);
    drop(&f);
}

Test(config_schema, quotes_and_emptiness) {
    filled f = fill("name:\nheads: '8'\nlr: .inf\nnorm: {a: b}\n");
    cr_assert_str_eq(aira__diagnostics_text(f.d),
                     "t.yaml:2:8: error: 'heads' must be a whole number, not '8' in quotes\n"
                     "t.yaml:3:5: error: 'lr' must be a number, not '.inf'\n"
                     "t.yaml:4:7: error: 'norm' cannot be a mapping\n"
                     "    accepted values: rms layer\n"
                     "t.yaml:1:6: error: 'name' must be a text, not empty\n");
    drop(&f);
}

Test(config_schema, short_form_and_no_map) {
    aira__diagnostics *d = aira__diagnostics_create();
    static const aira_schema nothing = {sizeof(aira_schema), 0, 0, sizeof(aira_field), NULL};
    aira__document *document = aira__document_parse("greedy", "t.yaml", d);
    aira__filled *memory;
    json_t *canonical;
    cr_assert(aira__schema_fill(&nothing, aira__document_root(document), skip, NULL, &memory, &canonical, d));
    aira__filled_release(memory);
    json_decref(canonical);
    cr_assert(aira__schema_fill(NULL, NULL, NULL, NULL, &memory, &canonical, d));
    aira__filled_release(memory);
    json_decref(canonical);
    cr_assert(!aira__schema_fill(&nothing, aira__document_root(document), NULL, NULL, &memory, &canonical, d));
    aira__filled_release(memory);
    cr_assert_str_eq(aira__diagnostics_text(d),
                     "t.yaml:1:1: error: a mapping (key: value) is expected here, not a single value\n");
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_schema, json_mistakes) {
    static const char *const rows[][2] = {
        {"[]", "a configuration must be a JSON object"},
        {"{}", "key 'name' is missing: its name"},
        {"{\"name\":null}", "'name' must be a text"},
        {"{\"name\":\"n\",\"heads\":\"8\"}", "'heads' must be a whole number within its range"},
        {"{\"name\":\"n\",\"heads\":65}", "'heads' must be a whole number within its range"},
        {"{\"name\":\"n\",\"norm\":\"x\"}", "'norm' must be one of the accepted values"},
        {"{\"name\":\"n\",\"sizes\":[1,99]}", "'sizes' must be a list, each a whole number within its range"},
        {"{\"name\":\"n\",\"names\":\"a\"}", "'names' must be a list, each a text"},
        {"{\"name\":\"n\",\"seed\":-1}", "'seed' must be a whole number from 0 to 18446744073709551615"},
        {"{\"name\":\"n\",\"other\":1}", "unknown key 'other'"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        aira_error error = {0};
        settings s;
        aira__filled *memory;
        json_t *object = aira__json_parse(rows[i][0], strlen(rows[i][0]), "t", &error);
        cr_assert_eq(aira__schema_fill_json(&schema, object, &s, &memory, NULL, &error), AIRA_E_CONFIG);
        cr_assert_str_eq(error.text, rows[i][1]);
        aira__filled_release(memory);
        json_decref(object);
    }
}

Test(config_schema, broken_schemas_are_refused) {
    aira_error error = {0};
    static const char *const none[] = {NULL};
    const struct {
        aira_field field;
        const char *sentence;
    } rows[] = {
        {{"a", "d", 99, 0, 0, 0, 0, 0, 0, NULL, NULL}, "key 'a' has type 99, which this program does not know"},
        {{"a", "d", AIRA_T_INT, 0, 12, 0, 0, 0, 0, NULL, NULL}, "key 'a' lies outside its configuration struct"},
        {{"a", "d", AIRA_T_INT, 0, 16, 0, 0, 0, 0, NULL, NULL}, "key 'a' lies outside its configuration struct"},
        {{"a", NULL, AIRA_T_INT, 0, 0, 0, 0, 0, 0, NULL, NULL}, "key 'a' of its schema has no doc"},
        {{"a", "d", AIRA_T_INT, 0, 0, 0, 5, 1, 4, NULL, NULL}, "the default 5 of key 'a' is outside 1 .. 4"},
        {{"a", "d", AIRA_T_INT, 0, 0, 0, 5, 9, 4, NULL, NULL}, "the bounds of key 'a' are no interval"},
        {{"a", "d", AIRA_T_CHOICE, 0, 0, 0, 0, 0, 0, NULL, none},
         "the choices of key 'a' are empty or not NULL-terminated"},
        {{"a", "d", AIRA_T_CHOICE, 0, 0, 0, 2, 0, 0, NULL, norms},
         "the default of key 'a' is no index of its 2 choices"},
        {{"a", "d", AIRA_T_LIST | AIRA_T_INT, 0, 0, 0, 0, 0, 0, "1 x", NULL},
         "the default of key 'a' is not of its type"},
        {{"use", "d", AIRA_T_STR, 0, 0, 0, 0, 0, 0, NULL, NULL},
         "its schema declares the key 'use', which belongs to the host"},
        {{NULL, "d", AIRA_T_STR, 0, 0, 0, 0, 0, 0, NULL, NULL},
         "key 0 of its schema is not of the form [a-z][a-z0-9_]*"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        aira_schema broken = {sizeof(aira_schema), 16, 1, sizeof(aira_field), &rows[i].field};
        cr_assert_neq(aira__schema_check(&broken, &error), AIRA_OK);
        cr_assert_str_eq(error.text, rows[i].sentence);
    }
    cr_assert_eq(aira__schema_check(&schema, &error), AIRA_OK);
}

Test(config_schema, printed) {
    char *text = NULL;
    size_t n;
    FILE *file = open_memstream(&text, &n);
    aira__schema_print(&schema, file);
    fclose(file);
    cr_assert_not_null(
        strstr(text, "  heads              int [1, 64], default 8\n                     attention heads\n"), "%s",
        text);
    cr_assert_not_null(strstr(text, "  name               text, required\n"), "%s", text);
    cr_assert_not_null(strstr(text, "                     values: rms layer\n"));
    cr_assert_not_null(strstr(text, "  sizes              list of int [1, 9], default [2, 3]\n"), "%s", text);
    free(text);
}
