/* tests/unit/http_json.c - the service aira.json/1: paths, caps, quoting and editing. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/json_service.h"
#include "core/plugin/registry.h"

static aira__registry *registry;
static const aira_json_service *json;
static const aira_host *host;

static void begin(void) {
    aira_error error = {0};
    aira__registry_options options = {.no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &registry, &error), AIRA_OK, "%s", error.text);
    host = aira__registry_host(registry);
    json = host->service(host, AIRA_SERVICE_JSON);
    cr_assert_not_null(json);
    cr_assert_not_null(host->service(host, "aira.http/1"));
}
static void end(void) { aira__registry_destroy(registry); }
TestSuite(json, .init = begin, .fini = end);

static aira_json *parse(const char *text) { return json->parse(json, text, strlen(text)); }

Test(json, follows_paths) {
    aira_json *v = parse("{\"a\": [{\"b\": \"x\\u0000y\"}, 7, 1.5, true, null], \"n\": 9007199254740993, \"o\": {}}");
    uint64_t n = 0;
    cr_assert_not_null(v);
    cr_assert_str_eq(json->text(json, v, "a.0.b", &n), "x");
    cr_assert_eq(n, 3); /* the zero byte is counted */
    cr_assert_eq(json->integer(json, v, "n", -1), 9007199254740993);
    cr_assert_eq(json->integer(json, v, "a.1", -1), 7);
    cr_assert_eq(json->integer(json, v, "a.2", -1), -1); /* no integer */
    cr_assert_eq(json->number(json, v, "a.2", -1), 1.5);
    cr_assert_eq(json->number(json, v, "a.1", -1), 7);
    cr_assert_eq(json->count(json, v, "a"), 5);
    cr_assert_eq(json->count(json, v, "o"), 0);
    cr_assert_eq(json->count(json, v, "n"), -1);
    cr_assert_eq(json->type(json, v, ""), AIRA_JSON_OBJECT);
    cr_assert_eq(json->type(json, v, "a"), AIRA_JSON_LIST);
    cr_assert_eq(json->type(json, v, "a.3"), AIRA_JSON_BOOL);
    cr_assert_eq(json->type(json, v, "a.4"), AIRA_JSON_NULL);
    static const char *const nowhere[] = {"b",   "a.5",  "a.-1", "a.x", "a.0.b.c", "a.99999999999",
                                          "n.0", "a.0.", ".",    "a..0"};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        if (!strcmp(nowhere[i], "a.0.")) continue; /* a dot at the end is no step */
        cr_assert_eq(json->type(json, v, nowhere[i]), AIRA_JSON_NONE, "%s", nowhere[i]);
        cr_assert_null(json->text(json, v, nowhere[i], &n));
        cr_assert_eq(json->integer(json, v, nowhere[i], -3), -3);
    }
    json->release(json, v);
    json->release(json, NULL);
}

Test(json, refuses_with_a_sentence) {
    static const char *const bad[] = {"",      "{",       "{\"a\": 1, \"a\": 2}", "{\"a\": \"\xff\"}",
                                      "[1] x", "[1e999]", "{\"a\": \"\\ud800\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        aira__host_clear_failure(host);
        cr_assert_null(parse(bad[i]), "%s was accepted", bad[i]);
        cr_assert(aira__host_last_failure(host)[0] != 0);
    }
    char deep[200];
    for (int n = 64; n <= 65; n++) {
        memset(deep, '[', (size_t)n);
        memset(deep + n, ']', (size_t)n);
        deep[2 * n] = 0;
        aira_json *v = parse(deep);
        cr_assert_eq(v != NULL, n == 64);
        json->release(json, v);
    }
    aira_json *brackets = parse(
        "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]");
    cr_assert_not_null(brackets); /* inside a text they nest nothing */
    json->release(json, brackets);
    size_t size = ((size_t)16 << 20) + 1;
    char *large = malloc(size);
    cr_assert_not_null(large);
    memset(large, ' ', size);
    cr_assert_null(json->parse(json, large, size));
    free(large);
}

Test(json, quotes_anything) {
    static const char raw[] = "a\"b\\c\n\t\x01\0\xC3\xBC\xff\xC3(\xED\xA0\x80";
    char *quoted = json->quote(json, raw, sizeof raw - 1);
    cr_assert_str_eq(
        quoted,
        "\"a\\\"b\\\\c\\n\\u0009\\u0001\\u0000\xC3\xBC\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    aira_json *back = json->parse(json, quoted, strlen(quoted));
    cr_assert_eq(json->type(json, back, ""), AIRA_JSON_TEXT);
    json->release(json, back);
    host->release(host, quoted);
}

Test(json, edits_objects) {
    static const char *const drop[] = {"x", "o.q", "missing.path", "a.0", "a.1.k"};
    char *text = json->edit(json, "{\"x\": 1, \"o\": {\"p\": 1, \"q\": 2}, \"a\": [1, {\"k\": 2}]}",
                            "{\"o\": {\"r\": [3]}, \"n\": null}", drop, 5);
    cr_assert_str_eq(text, "{\"a\":[1,{}],\"n\":null,\"o\":{\"p\":1,\"r\":[3]}}");
    host->release(host, text);
    cr_assert_null(json->edit(json, "[1]", NULL, NULL, 0));
    cr_assert_null(json->edit(json, "{}", "[1]", NULL, 0));
    cr_assert_null(json->edit(json, "{}", "{", NULL, 0));
    cr_assert_null(json->edit(json, "{", NULL, NULL, 0));
}
