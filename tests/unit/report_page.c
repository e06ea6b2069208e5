/* report_page.c - the report's three files from synthetic journals: complete, self-contained, and deaf to hostile text.
 */
#include "tests/support/synthetic_journal.h"

#include <jansson.h>

#include "core/report/internal.h"

static char *slurp(const char *folder, const char *name, size_t *n) {
    char path[128], *text = NULL;
    aira_error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(aira__file_read(path, 64 << 20, &text, n, &error), AIRA_OK, "%s", error.text);
    return text;
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

static const json_t *column(const json_t *data, const char *name) {
    return json_object_get(json_object_get(data, "nodes"), name);
}

static void report(const char *folder) {
    aira_error error = {0};
    cr_assert_eq(aira__report_write(folder, &error), AIRA_OK, "%s", error.text);
}

static void finish(char *folder) {
    cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK);
    free(folder);
}

/* The page's JSON, as its script reads it. */
static json_t *page_data(const char *html) {
    static const char open[] = "<script type=\"application/json\" id=\"data\">";
    const char *from = strstr(html, open);
    cr_assert_not_null(from);
    from += sizeof open - 1;
    const char *to = strstr(from, "</script>");
    cr_assert_not_null(to);
    json_error_t error;
    json_t *data = json_loadb(from, (size_t)(to - from), 0, &error);
    cr_assert_not_null(data, "%s", error.text);
    return data;
}

Test(report, a_small_study) {
    char *folder = synthetic_run(24, 2, 4, false);
    report(folder);
    char *html = slurp(folder, "report.html", NULL), *csv = slurp(folder, "nodes.csv", NULL);
    static const char *const parts[] = {"Best architecture",
                                        "Best so far",
                                        "Best candidates",
                                        ">n0<",
                                        "top cluster",
                                        "Extrapolated models",
                                        "best found",
                                        "Search trees",
                                        "Failures",
                                        "Budget",
                                        "Environment",
                                        "1,000.3 M",
                                        "Llama 3.2",
                                        "aira replay",
                                        "provisional",
                                        "No final scoring",
                                        "Never opened",
                                        "side by side",
                                        "Noise between seeds",
                                        "one_shot"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) cr_expect(strstr(html, parts[i]), "no %s", parts[i]);
    cr_expect_eq(count(html, "http"), 2, "the name space of SVG and http-equiv, nothing else");
    cr_expect_eq(count(html, "src="), 0);
    cr_expect_eq(count(html, "url("), 0);
    cr_expect_eq(count(html, "@import"), 0);
    cr_expect_eq(count(csv, "\n"), 25);
    char *text = slurp(folder, "report.json", NULL);
    json_t *data = page_data(html), *facts = json_loads(text, 0, NULL);
    cr_expect_eq(json_array_size(column(data, "idx")), 24);
    cr_expect_eq(json_object_size(json_object_get(json_object_get(data, "texts"), "nodes")), 24);
    cr_expect_eq(json_array_size(json_object_get(facts, "searches")), 2);
    cr_expect_eq(json_integer_value(json_object_get(facts, "cluster_size")), 7);
    const json_t *submitted = json_object_get(facts, "submitted");
    cr_expect(json_number_value(json_object_get(submitted, "selection_score")) > 0);
    cr_expect(json_is_null(json_object_get(submitted, "deviation")), "one seed has no deviation");
    json_decref(data);
    json_decref(facts);
    free(text);
    free(html);
    free(csv);
    finish(folder);
}

/* A final scoring of the winner against a baseline, as docs/contract.md 2 has it. */
static void put_final(const char *folder, double gain, double low, double high, bool covers) {
    char path[128], value[2048];
    aira_error error = {0};
    aira__journal *j = NULL;
    const aira__journal_options options = {0};
    snprintf(path, sizeof path, "%s/journal.db", folder);
    snprintf(
        value, sizeof value,
        "{\"seeds\":[11,12,13],\"of\":\"winner\",\"opened\":null,\"test\":[{\"role\":\"winner\",\"name\":\"winner\","
        "\"architecture\":\"2mA 2M\",\"search\":1,\"node\":3,\"searched\":{\"search\":0.6,\"selection\":0.5833},"
        "\"selection\":{\"mean\":0.57,\"spread\":0.01,\"interval\":[0.55,0.59]},\"test\":{\"mean\":0.5678,\"spread\":"
        "0.01,\"interval\":[0.5432,0.5765]},\"seeds\":3,\"scores\":[],\"error\":null},{\"role\":\"baseline\",\"name\":"
        "\"<llama>\",\"architecture\":\"4mA\",\"search\":null,\"node\":null,\"searched\":null,\"selection\":null,"
        "\"test\":{\"mean\":0.5,\"spread\":0.01,\"interval\":[0.48,0.52]},\"seeds\":3,\"scores\":[],\"error\":null}],"
        "\"gain\":[{\"of\":\"winner\",\"over\":\"<llama>\",\"searched\":null,\"gain\":%g,\"interval\":[%g,%g],"
        "\"level\":"
        "0.95,\"covers_zero\":%s,\"seeds\":3}]}",
        gain, low, high, covers ? "true" : "false");
    synthetic_ok(aira__journal_open(path, &options, &j, &error), &error);
    synthetic_ok(aira__journal_set_result(j, "final", "summary", value, &error), &error);
    synthetic_ok(aira__journal_event(j, "test_opened", -1, -1, "opened once, by name", &error), &error);
    aira__journal_close(j);
}

Test(report, claims_follow_the_final_scoring) {
    static const struct {
        double gain, low, high;
        bool covers;
        const char *claim, *says;
    } cases[] = {{0.0678, 0.02, 0.11, false, "better", "✓ better than &lt;llama&gt;, on fresh seeds"},
                 {0.0678, -0.02, 0.15, true, "not shown", "<b>covers zero</b>"},
                 {-0.0678, -0.11, -0.02, false, "not shown", "not shown to be better than &lt;llama&gt;"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = synthetic_run(24, 2, 4, false);
        put_final(folder, cases[i].gain, cases[i].low, cases[i].high, cases[i].covers);
        report(folder);
        char *html = slurp(folder, "report.html", NULL), *text = slurp(folder, "report.json", NULL);
        json_t *facts = json_loads(text, 0, NULL), *verdict = json_object_get(facts, "verdict");
        cr_expect_str_eq(json_string_value(json_object_get(verdict, "claim")), cases[i].claim);
        cr_expect_eq(json_integer_value(json_object_get(json_object_get(verdict, "winner"), "node")), 3);
        cr_expect(strstr(html, cases[i].says), "no %s", cases[i].says);
        cr_expect(strstr(html, "[0.5432, 0.5765]"), "the interval of the test score");
        cr_expect(strstr(html, "opened once, by name"));
        cr_expect_null(strstr(html, "No final scoring"));
        cr_expect_null(strstr(html, "<llama>"));
        json_decref(facts);
        free(text);
        free(html);
        finish(folder);
    }
}

Test(report, script_is_small) { cr_expect_lt(strlen(report_page_js), 40000); }

/* A message of the page's pool, put together. */
static char *message_of(const json_t *data, const char *node, size_t message) {
    const json_t *texts = json_object_get(data, "texts"), *pool = json_object_get(texts, "pool"), *piece;
    const json_t *call = json_array_get(
        json_object_get(json_object_get(json_object_get(texts, "nodes"), node), "calls"), 0);
    const json_t *pieces = json_array_get(json_array_get(json_array_get(call, 14), message), 1);
    aira__buf b = {0};
    size_t i;
    json_array_foreach(pieces, i, piece)
        aira__buf_text(&b, json_string_value(json_array_get(pool, (size_t)json_integer_value(piece))));
    cr_assert_gt(json_array_size(pieces), 0);
    return aira__buf_take(&b);
}

Test(report, prompts_come_back_whole_and_are_stored_once) {
    char *folder = synthetic_run(24, 1, 4, false);
    report(folder);
    char *html = slurp(folder, "report.html", NULL);
    json_t *data = page_data(html);
    char *system = message_of(data, "0", 0), *user = message_of(data, "7", 1);
    cr_expect_str_eq(system, "You design networks.\n\nAnswer with one block:\n- `mA`: attention\n- `M`: mlp\n");
    cr_expect_str_eq(user, "Propose 4 layers from mA, M, Mb.\nNode 7 of search 1.\nBest so far: see below.");
    cr_expect_eq(count(html, "You design networks"), 1);
    free(system);
    free(user);
    json_decref(data);
    free(html);
    finish(folder);
}

Test(report, hostile_text_stays_text) {
    char *folder = synthetic_run(24, 2, 4, true);
    report(folder);
    char *html = slurp(folder, "report.html", NULL), *csv = slurp(folder, "nodes.csv", NULL);
    cr_expect_eq(count(html, "<script"), 2);
    cr_expect_eq(count(html, "</script"), 2);
    cr_expect_eq(count(html, "<img"), 0);
    cr_expect_eq(count(html, "<!--"), 0);
    cr_expect_eq(count(html, "\x1b"), 0);
    cr_expect_eq(count(html, "\xff"), 0);
    cr_expect(strstr(html, "&lt;/script&gt;&lt;script&gt;alert(1)"), "the text itself is shown");
    json_t *data = page_data(html);
    const json_t *texts = json_object_get(data, "texts"), *node = json_object_get(json_object_get(texts, "nodes"), "0");
    const json_t *call = json_array_get(json_object_get(node, "calls"), 0);
    const char *answer = json_string_value(
        json_array_get(json_object_get(texts, "pool"), (size_t)json_integer_value(json_array_get(call, 12))));
    cr_expect(answer && strstr(answer, "</script><script>alert(1)"), "and reaches the script as text");
    cr_expect_eq(count(csv, "\n="), 0);
    json_decref(data);
    free(html);
    free(csv);
    finish(folder);
}

Test(report, formulas_in_cells_are_disarmed) {
    report_search search = {.agent = "a", .scaffold = "b"};
    report_group group = {.name = "+cmd|' /C calc'!A0"};
    report_node node = {.operator_name = "draft",
                        .status = "buggy",
                        .hash = "",
                        .architecture = "",
                        .cause = "@x",
                        .standing = "",
                        .note = "=HYPERLINK(\"x\")",
                        .search_score = NAN,
                        .selection_score = NAN,
                        .parent = -1,
                        .other_parent = -1,
                        .duplicate_of = -1,
                        .evaluation = -1};
    report_data d = {.searches = &search, .groups = &group, .nodes = &node, .n_searches = 1, .n_nodes = 1};
    aira__buf b = {0};
    cr_assert(report_nodes_csv(&d, &b));
    cr_expect(strstr(b.data, ",\" @x\",") && strstr(b.data, ",\" +cmd|") &&
                  strstr(b.data, ",\" =HYPERLINK(\"\"x\"\")\"\n"),
              "%s", b.data);
    aira__buf_free(&b);
}

Test(report, nothing_happened_yet) {
    char *folder = synthetic_run(0, 1, 4, false);
    report(folder);
    char *html = slurp(folder, "report.html", NULL);
    cr_expect(strstr(html, "No candidate finished"));
    cr_expect_null(strstr(html, "Best candidates"));
    free(html);
    finish(folder);
}

Test(report, ten_thousand_nodes) {
    char *folder = synthetic_run(10000, 10, 16, false);
    report(folder);
    size_t n;
    char *html = slurp(folder, "report.html", &n);
    cr_expect_lt(n, 12 << 20);
    json_t *data = page_data(html);
    cr_expect_eq(json_array_size(column(data, "idx")), 10000);
    json_decref(data);
    free(html);
    finish(folder);
}

Test(report, no_journal_is_a_sentence) {
    aira_error error = {0};
    cr_expect_neq(aira__report_write("/tmp/there-is-no-such-run", &error), AIRA_OK);
    cr_expect(strstr(error.text, "/tmp/there-is-no-such-run"), "%s", error.text);
}

Test(report, figures) {
    static const struct {
        void (*write)(aira__buf *, double);
        double value;
        const char *text;
    } cases[] = {{report_grouped, 1234567, "1,234,567"},
                 {report_grouped, 999, "999"},
                 {report_grouped, NAN, "–"},
                 {report_millions, 1000341504, "1,000.3 M"},
                 {report_millions, 1e6 - 1, "1.0 M"},
                 {report_duration, 12.34, "12.3 s"},
                 {report_duration, 3700, "1 h 1 min"},
                 {report_duration, 125, "2 min 5 s"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aira__buf b = {0};
        cases[i].write(&b, cases[i].value);
        cr_expect_str_eq(b.data, cases[i].text, "%s", b.data);
        aira__buf_free(&b);
    }
    aira__buf b = {0};
    report_escape(&b, "a<b>&\"'c");
    cr_expect_str_eq(b.data, "a&lt;b&gt;&amp;&quot;&#39;c");
    aira__buf_free(&b);
}
