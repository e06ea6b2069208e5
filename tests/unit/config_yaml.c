/* tests/unit/config_yaml.c - the YAML reader: every message with its exact place, extends, overrides. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/config/config.h"

/* Parses text; compares all that was reported. */
static void expect_errors(const char *text, const char *wanted) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "t.yaml", d);
    cr_assert_str_eq(aira__diagnostics_text(d), wanted, "of %.40s...: got %s", text, aira__diagnostics_text(d));
    cr_assert_eq(document == NULL, wanted[0] != 0);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

/* Canonical JSON of a document, or its errors; malloc'ed. */
static char *to_json(aira__document *document, const aira__diagnostics *d) {
    if (document == NULL) return strdup(aira__diagnostics_text(d));
    json_t *json = aira__node_to_json(aira__document_root(document));
    char *text = aira__json_canonical(json);
    json_decref(json);
    return text;
}

static void expect_json(const char *text, const char *wanted) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "t.yaml", d);
    char *got = to_json(document, d);
    cr_assert_str_eq(got, wanted, "got %s", got);
    free(got);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_yaml, types_of_scalars) {
    expect_json("[true, False, yes, null, ~, 12, -3, +4, 012, 0x1F, 0o17, 1.5, .5, 1e3, 1., abc, '12', \"true\", 2K]",
                "[true,false,\"yes\",null,null,12,-3,4,12,31,15,1.5,0.5,1000.0,1.0,\"abc\",\"12\",\"true\",\"2K\"]");
    expect_json("a: {b: [1, {c: d}]}\n", "{\"a\":{\"b\":[1,{\"c\":\"d\"}]}}");
    expect_json("[9223372036854775807, 18446744073709551615, .inf, .nan]",
                "[9223372036854775807,\"18446744073709551615\",\".inf\",\".nan\"]");
    expect_json("--- \na: |\n  two\n  lines\n...\n", "{\"a\":\"two\\nlines\\n\"}");
}

Test(config_yaml, marks) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse("a: 1\nb:\n  - x\n  - {c: 'é', d: 2}\n", "t.yaml", d);
    aira__node *list = aira__map_get(aira__document_root(document), "b");
    aira__node *item = aira__map_get(list->items[1], "d");
    cr_assert_str_eq(item->file, "t.yaml");
    cr_assert_eq(item->line, 4);
    cr_assert_eq(item->column, 17, "columns count characters, got %d", item->column);
    cr_assert_eq(item->key_line, 4);
    cr_assert_eq(item->key_column, 14);
    cr_assert_eq(list->line, 3);
    cr_assert_eq(list->key_column, 1);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_yaml, refusals) {
    expect_errors("", "t.yaml:1:1: error: nothing is in here\n");
    expect_errors("# only a comment\n", "t.yaml:1:1: error: nothing is in here\n");
    expect_errors("a: 1\nb: 2\na: 3\n", "t.yaml:3:1: error: key 'a' is given twice, first at 1:1\n");
    expect_errors("x: {b: 1, b: [2, 3]}\n", "t.yaml:1:11: error: key 'b' is given twice, first at 1:5\n");
    expect_errors("a: &n 1\nb: !!int 2\n",
                  "t.yaml:1:4: error: anchors (&name) are not accepted; write the value out, or use extends:\n"
                  "t.yaml:2:4: error: tags (!name) are not accepted; the key's meaning decides the type\n");
    expect_errors("a: *n\n",
                  "t.yaml:1:4: error: aliases (*name) are not accepted; write the value out, or use extends:\n");
    expect_errors("a: 1\n---\nb: 2\n",
                  "t.yaml:2:1: error: a second document begins here; only one per file is accepted\n");
    expect_errors("? [a, b]\n: 1\n", "t.yaml:1:3: error: a key must be a single word, not a list or a mapping\n");
    expect_errors(
        "<<: {a: 1}\n",
        "t.yaml:1:1: error: '<<' is not accepted; use extends: at the top of the file, or write the keys out\n");
    expect_errors("a: \"x\\0y\"\n", "t.yaml:1:4: error: a text with a zero byte\n");
    expect_errors(
        "a: [1, 2\nb: 3\n",
        "t.yaml:2:2: error: did not find expected ',' or ']' (while parsing a flow sequence that began at 1:4)\n");
    expect_errors("a: 'x\n",
                  "t.yaml:2:1: error: found unexpected end of stream (while scanning a quoted scalar that began at "
                  "1:4)\n");
    expect_errors("a: 1\n\tb: 2\n", "t.yaml:2:1: error: found a tab character that violates indentation (while "
                                    "scanning a plain scalar that began at 1:4)\n");
    expect_errors("a: 1\nb: \xff\n", "t.yaml:2:4: error: invalid leading UTF-8 octet\n");
}

Test(config_yaml, bombs_end_quickly) {
    aira__buf deep = {0}, wide = {0}, keys = {0}, scalar = {0};
    for (int i = 0; i < 200000; i++) aira__buf_text(&deep, "[");
    expect_errors(deep.data, "t.yaml:1:65: error: nested deeper than 64 levels\n");
    aira__buf_text(&wide, "[");
    for (int i = 0; i < 200000; i++) aira__buf_text(&wide, "1,");
    expect_errors(wide.data, "t.yaml:1:200000: error: more than 50,000 values\n");
    for (int i = 0; i < 5000; i++) aira__buf_printf(&keys, "k%d: 1\n", i);
    expect_errors(keys.data, "t.yaml:4097:8: error: a mapping of more than 4096 keys\n");
    for (int i = 0; i < (1 << 20) + 1; i++) aira__buf_text(&scalar, "x");
    expect_errors(scalar.data, "t.yaml:1:1: error: a text of more than 1 MiB\n");
    aira__buf_free(&deep);
    aira__buf_free(&wide);
    aira__buf_free(&keys);
    aira__buf_free(&scalar);
}

static char folder[64];
static void put(const char *name, const char *text) {
    char *path = aira__path_join(folder, name);
    cr_assert_eq(aira__file_write_atomic(path, text, strlen(text), NULL), AIRA_OK);
    free(path);
}

static void in_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/aira-config-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}

static void remove_folder(void) { cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK); }

static void expect_load(const char *path, const char *const *overrides, int n, const char *wanted) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_load(path, overrides, n, d);
    char *got = to_json(document, d);
    cr_assert_str_eq(got, wanted, "got %s", got);
    free(got);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

TestSuite(config_load, .init = in_folder, .fini = remove_folder);

Test(config_load, extends_merges) {
    cr_assert_eq(aira__make_dirs("sub/deep", NULL), AIRA_OK);
    put("base.yaml", "a: 1\nm: {x: 1, y: 2}\nl: [1, 2]\ns: {use: greedy, drafts: 4}\n");
    put("sub/mid.yaml", "extends: ../base.yaml\nm: {y: 3}\n");
    put("sub/deep/top.yaml", "extends: ../mid.yaml\nm: {z: 5}\nl: [9]\ns: {use: one_shot}\nn: 7\n");
    expect_load("sub/deep/top.yaml", NULL, 0,
                "{\"a\":1,\"l\":[9],\"m\":{\"x\":1,\"y\":3,\"z\":5},\"n\":7,\"s\":{\"use\":\"one_shot\"}}");
    put("same.yaml", "extends: base.yaml\ns: {use: greedy, depth: 2}\n");
    expect_load("same.yaml", NULL, 0,
                "{\"a\":1,\"l\":[1,2],\"m\":{\"x\":1,\"y\":2},\"s\":{\"depth\":2,\"drafts\":4,\"use\":\"greedy\"}}");
}

Test(config_load, every_key_remembers_its_origin) {
    cr_assert_eq(aira__make_dirs("sub", NULL), AIRA_OK);
    put("sub/base.yaml", "m:\n  x: 1\n  y: 2\n");
    put("top.yaml", "extends: sub/base.yaml\nm:\n  y: 3\n");
    aira__diagnostics *d = aira__diagnostics_create();
    const char *overrides[] = {"m.w=5"};
    aira__document *document = aira__document_load("top.yaml", overrides, 1, d);
    aira__node *m = aira__map_get(aira__document_root(document), "m");
    static const char *const accepted[] = {"z", NULL};
    aira__map_finish(m, accepted, d);
    cr_assert_str_eq(aira__diagnostics_text(d), "sub/base.yaml:2:3: error: unknown key 'x', did you mean 'z'?\n"
                                                "    accepted keys: z\n"
                                                "top.yaml:3:3: error: unknown key 'y', did you mean 'z'?\n"
                                                "    accepted keys: z\n"
                                                "command line: error: unknown key 'w', did you mean 'z'?\n"
                                                "    accepted keys: z\n");
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_load, paths_are_seen_from_their_file) {
    cr_assert_eq(aira__make_dirs("sub", NULL), AIRA_OK);
    put("sub/base.yaml", "p: ../data/a.txt\nq: b.txt\n");
    put("top.yaml", "extends: sub/base.yaml\nr: c.txt\ns: /etc/hosts\nt: ''\n");
    aira__diagnostics *d = aira__diagnostics_create();
    const char *overrides[] = {"u=x/y"};
    aira__document *document = aira__document_load("top.yaml", overrides, 1, d);
    static const char *const wanted[][2] = {
        {"p", "data/a.txt"}, {"q", "sub/b.txt"}, {"r", "c.txt"}, {"s", "/etc/hosts"}, {"u", "x/y"}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char *path = aira__node_path(aira__map_get(aira__document_root(document), wanted[i][0]), d);
        cr_assert_str_eq(path, wanted[i][1]);
        free(path);
    }
    cr_assert_null(aira__node_path(aira__map_get(aira__document_root(document), "t"), d));
    cr_assert_str_eq(aira__diagnostics_text(d), "top.yaml:4:4: error: 't' must be a path, not ''\n");
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_load, extends_mistakes) {
    put("loop1.yaml", "extends: loop2.yaml\n");
    put("loop2.yaml", "a: 1\nextends: loop1.yaml\n");
    expect_load("loop1.yaml", NULL, 0,
                "loop2.yaml:2:10: error: extends: leads back to 'loop1.yaml', which is being read\n");
    put("self.yaml", "extends: ./self.yaml\n");
    expect_load("self.yaml", NULL, 0,
                "self.yaml:1:10: error: extends: leads back to 'self.yaml', which is being read\n");
    put("gone.yaml", "extends: nowhere.yaml\n");
    expect_load("gone.yaml", NULL, 0, "gone.yaml:1:10: error: cannot open 'nowhere.yaml': No such file or directory\n");
    put("bad.yaml", "extends: [a]\n");
    expect_load("bad.yaml", NULL, 0, "bad.yaml:1:10: error: 'extends' must be a text, not a list\n");
    put("list.yaml", "[1, 2]\n");
    expect_load("list.yaml", NULL, 0, "list.yaml:1:1: error: the file must be a mapping (key: value), not a list\n");
    expect_load(".", NULL, 0, "error: cannot read '.': it is a folder\n");
    expect_load("none.yaml", NULL, 0, "error: cannot open 'none.yaml': No such file or directory\n");
}

Test(config_load, overrides) {
    put("s.yaml", "a: 1\nl: [{x: 1}, {x: 2}]\nm: {n: {o: 1}}\nu: greedy\n");
    const char *good[] = {"a=2h", "l.1.x=7", "m.n={p: [1, 2]}", "new.deep.key=true", "l.2=9", "text=a=b", "e="};
    expect_load("s.yaml", good, 7,
                "{\"a\":\"2h\",\"e\":null,\"l\":[{\"x\":1},{\"x\":7},9],\"m\":{\"n\":{\"p\":[1,2]}},"
                "\"new\":{\"deep\":{\"key\":true}},\"text\":\"a=b\",\"u\":\"greedy\"}");
    const char *bad[] = {"a", "=1", "l.5=1", "l.x=1", "a..b=1", "u.drafts=4", "a=[1"};
    expect_load(
        "s.yaml", bad, 7,
        "command line: error: 'a' is not an override; write key.key=value\n"
        "command line: error: '=1' is not an override; write key.key=value\n"
        "command line: error: override 'l.5=1': '5' is no index of a list of 2 (0 to 2)\n"
        "command line: error: override 'l.x=1': 'x' is no index of a list of 2 (0 to 2)\n"
        "command line: error: override 'a..b=1': a key is empty\n"
        "command line: error: override 'u.drafts=4': 'u' has nothing below it, it is the single value 'greedy'; set it "
        "whole, as key={use: ...}\n"
        "command line: error: override 'a=[1': did not find expected ',' or ']' (while parsing a flow sequence that "
        "began at "
        "1:1)\n");
}

Test(config_yaml, readers) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(
        "s: text\ni: 12\nr: 1e-3\nb: true\nc: 1.5M\nd: 2h\nz: 2GiB\n"
        "bs: [x]\nbi: '12'\nbr: abc\nbb: yes\nbc: 0.5\nbd: 2 weeks\nbz: -1\nbe:\n"
        "big: 99\nlow: 0\n",
        "t.yaml", d);
    aira__node *m = aira__document_root(document);
    cr_assert_str_eq(aira__node_string(aira__map_get(m, "s"), "x", d), "text");
    cr_assert_eq(aira__node_int(aira__map_get(m, "i"), 0, 0, 100, d), 12);
    cr_assert_eq(aira__node_real(aira__map_get(m, "r"), 0, d), 1e-3);
    cr_assert(aira__node_bool(aira__map_get(m, "b"), false, d));
    cr_assert_eq(aira__node_count(aira__map_get(m, "c"), 0, d), 1500000);
    cr_assert_eq(aira__node_duration(aira__map_get(m, "d"), 0, d), 7200.0);
    cr_assert_eq(aira__node_bytes(aira__map_get(m, "z"), 0, d), 2147483648);
    cr_assert_eq(aira__node_int(NULL, 5, 0, 1, d), 5);
    cr_assert_eq(aira__diagnostics_count(d), 0);
    cr_assert_str_eq(aira__node_string(aira__map_get(m, "bs"), "fall", d), "fall");
    cr_assert_eq(aira__node_int(aira__map_get(m, "bi"), 3, 0, 100, d), 3);
    cr_assert_eq(aira__node_real(aira__map_get(m, "br"), 4, d), 4);
    cr_assert(!aira__node_bool(aira__map_get(m, "bb"), false, d));
    cr_assert_eq(aira__node_count(aira__map_get(m, "bc"), 6, d), 6);
    cr_assert_eq(aira__node_duration(aira__map_get(m, "bd"), 7, d), 7);
    cr_assert_eq(aira__node_bytes(aira__map_get(m, "bz"), 8, d), 8);
    cr_assert_null(aira__node_string(aira__map_get(m, "be"), NULL, d));
    cr_assert_eq(aira__node_int(aira__map_get(m, "big"), 1, 1, 64, d), 1);
    cr_assert_eq(aira__node_int(aira__map_get(m, "low"), 1, 1, INT64_MAX, d), 1);
    cr_assert_str_eq(aira__diagnostics_text(d),
                     "t.yaml:8:5: error: 'bs' must be a text, not a list\n"
                     "t.yaml:9:5: error: 'bi' must be a whole number, not '12'\n"
                     "t.yaml:10:5: error: 'br' must be a number, not 'abc'\n"
                     "t.yaml:11:5: error: 'bb' must be true or false, not 'yes'\n"
                     "t.yaml:12:5: error: 'bc' must be a count (128, 2K, 1.5M, 3B), not '0.5'\n"
                     "t.yaml:13:5: error: 'bd' must be a duration (90s, 5m, 2h, 1d), not '2 weeks'\n"
                     "t.yaml:14:5: error: 'bz' must be a size in bytes (100, 64MiB, 2GiB), not '-1'\n"
                     "t.yaml:15:4: error: 'be' must be a text, not empty\n"
                     "t.yaml:16:6: error: 'big' must be within 1 to 64, not '99'\n"
                     "t.yaml:17:6: error: 'low' must be at least 1, not '0'\n");
    const char *file, *sentence;
    int line, column;
    aira__diagnostics_get(d, 1, &file, &line, &column, &sentence);
    cr_assert_str_eq(file, "t.yaml");
    cr_assert_eq(line, 9);
    cr_assert_eq(column, 5);
    cr_assert_str_eq(sentence, "'bi' must be a whole number, not '12'");
    aira_error error = {0};
    cr_assert_eq(aira__diagnostics_status(d, &error), AIRA_E_CONFIG);
    cr_assert_eq(strncmp(error.text, "t.yaml:8:5: error:", 18), 0);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_yaml, useless_keys) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse("used: 1\nidle: 2\nidel: 3\n", "t.yaml", d);
    static const char *const accepted[] = {"used", "idle", NULL};
    aira__map_get(aira__document_root(document), "used");
    aira__map_finish(aira__document_root(document), accepted, d);
    aira__map_finish(aira__document_root(document), accepted, d); /* says everything once */
    cr_assert_str_eq(aira__diagnostics_text(d), "t.yaml:2:1: error: key 'idle' has no effect here; remove it\n"
                                                "t.yaml:3:1: error: unknown key 'idel', did you mean 'idle'?\n"
                                                "    accepted keys: used idle\n");
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
}

Test(config_yaml, nearest) {
    static const char *const names[] = {"d_model", "scale", "norm", "causal"};
    cr_assert_str_eq(aira__nearest("d_modl", names, 4), "d_model");
    cr_assert_str_eq(aira__nearest("nrom", names, 4), "norm");
    cr_assert_str_eq(aira__nearest("cuasal", names, 4), "causal");
    cr_assert_null(aira__nearest("banana", names, 4));
    cr_assert_null(aira__nearest("", names, 4));
}
