/* report_browser.c - the page in a real browser: no error, no request, every node can be shown, also where every text
 * is hostile, and at ten thousand nodes. Skips where there is no Chromium. Times are printed, not judged: a busy
 * machine is no mistake of the page.
 */
#include "tests/support/synthetic_journal.h"

#include <jansson.h>

#include "core/report/report.h"

/* What tests/support/browser.py says about the report of a run. */
static json_t *browse(const char *folder, const char *arguments) {
    aira_error error = {0};
    char command[4096], said[1 << 16];
    cr_assert_eq(aira__report_write(folder, &error), AIRA_OK, "%s", error.text);
    snprintf(command, sizeof command, "timeout 120 python3 '%s/tests/support/browser.py' '%s/report.html' %s",
             getenv("AIRA_SOURCE_DIR") ? getenv("AIRA_SOURCE_DIR") : ".", folder, arguments);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    size_t n = fread(said, 1, sizeof said - 1, pipe);
    said[n] = 0;
    int status = pclose(pipe);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK);
        cr_skip_test("there is no Chromium");
    }
    cr_assert_eq(status, 0, "%s", said);
    json_t *told = json_loads(said, 0, NULL);
    cr_assert_not_null(told, "%s", said);
    char *errors = json_dumps(json_object_get(told, "errors"), 0),
         *requests = json_dumps(json_object_get(told, "requests"), 0);
    cr_expect_str_eq(errors, "[]", "%s", errors);
    cr_expect_str_eq(requests, "[]", "%s", requests);
    free(errors);
    free(requests);
    return told;
}

static json_int_t value(const json_t *told, size_t i) {
    const json_t *v = json_array_get(json_object_get(told, "values"), i);
    cr_assert(json_is_integer(v), "value %zu", i);
    return json_integer_value(v);
}

static void finish(char *folder, json_t *told) {
    json_decref(told);
    cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK);
    free(folder);
}

/* Opens every tree, shows every node of the first one by its button, and counts what was shown. */
static const char walk[] =
    "--offline "
    "--eval \"document.querySelectorAll('details.tree').forEach(d => d.open = true); "
    "document.querySelectorAll('svg.tree').length\" "
    "--eval \"document.querySelectorAll('tr[data-node]')[1].click(); document.getElementById('node').innerText.length "
    "> "
    "200 ? 1 : 0\" "
    "--eval \"(() => { const press = t => { const b = [...document.querySelectorAll('#node button')].find(b => "
    "b.textContent.includes(t) && !b.disabled); if (b) b.click(); return !!b; }; let n = 1; while (press('previous')); "
    "while (press('next')) n++; return n; })()\" "
    "--eval \"document.querySelectorAll('#node pre').length + document.querySelectorAll('img, iframe, link, "
    "object').length * 1000\"";

/* Runs everywhere, so that a machine without a browser has a test that passes beside those that skip. */
Test(report_browser, no_browser_is_told) {
    char command[4096];
    snprintf(command, sizeof command,
             "AIRA_CHROMIUM=/nowhere/chromium python3 '%s/tests/support/browser.py' nothing.html 2>/dev/null",
             getenv("AIRA_SOURCE_DIR") ? getenv("AIRA_SOURCE_DIR") : ".");
    int status = system(command);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 77, "%d", status);
}

Test(report_browser, every_node_can_be_shown, .timeout = 280) {
    char *folder = synthetic_run(100, 2, 16, false);
    json_t *told = browse(folder, walk);
    cr_expect_eq(value(told, 1), 1);
    cr_expect_eq(value(told, 2), 50);
    cr_expect(value(told, 3) >= 2, "an answer and a prompt");
    printf("100 nodes: load %.2f s\n", json_number_value(json_object_get(told, "load")));
    finish(folder, told);
}

Test(report_browser, hostile_text_stays_text, .timeout = 280) {
    char *folder = synthetic_run(40, 2, 4, true);
    json_t *told = browse(folder, walk);
    cr_expect_eq(value(told, 2), 20);
    cr_expect(value(told, 3) >= 2 && value(told, 3) < 1000, "and no element came of it");
    finish(folder, told);
}

Test(report_browser, ten_thousand_nodes, .timeout = 280) {
    char *folder = synthetic_run(10000, 10, 16, false);
    json_t *told = browse(
        folder, "--eval \"document.querySelectorAll('details.tree').forEach(d => d.open = true), 1\" "
                "--eval \"document.querySelectorAll('svg.tree').length\" "
                "--eval \"document.querySelector('tr[data-node]').click(), 1\" "
                "--eval \"document.getElementById('wide').click(), document.getElementById('ancestry').click(), 1\" "
                "--eval \"document.getElementById('ancestry').click(), 1\" "
                "--eval \"document.querySelectorAll('*').length\"");
    cr_expect_eq(value(told, 1), 10);
    cr_expect_lt(value(told, 4), 20000, "elements do not grow with nodes");
    const json_t *seconds = json_object_get(told, "seconds");
    printf("10,000 nodes: load %.2f s, ten trees %.2f s, a node %.2f s\n",
           json_number_value(json_object_get(told, "load")), json_number_value(json_array_get(seconds, 0)),
           json_number_value(json_array_get(seconds, 2)));
    finish(folder, told);
}

Test(report_browser, nothing_happened_yet, .timeout = 280) {
    char *folder = synthetic_run(0, 1, 4, false);
    json_t *told = browse(folder, "");
    finish(folder, told);
}
