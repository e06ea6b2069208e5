/* core/cli/cmd_check.c - `aira check`: the conformance run of one plugin, a verdict per line. */
#include <stdio.h>
#include <stdlib.h>

#include "core/check/check.h"
#include "core/cli/cli.h"

int aira__cmd_check(aira__cli *cli, int argc, char **argv);

static json_t *report_json(const aira__check_report *report) {
    json_t *checks = json_array();
    for (int k = 0; k < report->n && checks; k++) {
        const aira__check_line *line = &report->lines[k];
        json_t *one = json_pack("{s:s, s:s, s:s}", "name", line->name, "verdict", aira__verdict_name(line->verdict),
                                "text", line->text);
        if (!one || json_array_append_new(checks, one)) {
            json_decref(checks);
            return NULL;
        }
    }
    return json_pack("{s:s, s:b, s:o}", "path", report->path, "passed", report->passed, "checks", checks);
}

static void print_report(const aira__check_report *report) {
    int failed = 0;
    for (int k = 0; k < report->n; k++) {
        const aira__check_line *line = &report->lines[k];
        printf("%-4s  %-12s  %s\n", aira__verdict_name(line->verdict), line->name, line->text);
        failed += line->verdict == AIRA_CHECK_FAIL;
    }
    if (failed)
        printf("%s: %d of %d checks failed\n", report->path, failed, report->n);
    else
        printf("%s: passed\n", report->path);
}

static int check(aira__cli *cli, const aira__check_options *options, aira__check_report *report) {
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (!registry || aira__check_isolated(registry, options, report, &error)) return aira__cli_fail(cli, &error);
    if (cli->json) {
        int status = aira__cli_print_json(cli, report_json(report));
        if (status) return status;
    } else {
        print_report(report);
    }
    return report->passed ? 0 : 1;
}

int aira__cmd_check(aira__cli *cli, int argc, char **argv) {
    aira__check_options options = {0};
    const aira__cli_option table[] = {
        {"config", "YAML", "the plugin's keys, in place (\"{heads: 4}\") or the name of a file", AIRA__CLI_TEXT,
         &options.config, false},
        {"width", "N", "width at which a primitive is checked", AIRA__CLI_INT, &options.width, false},
        {"unconfined", NULL, "builds a source also where this machine cannot confine it: only if you trust it",
         AIRA__CLI_SWITCH, &options.unconfined, false},
        {"seconds", "S", "limit on the whole run, 120 where not given", AIRA__CLI_REAL, &options.seconds, false},
    };
    const aira__cli_spec spec = {
        .arguments = "P.so|SOURCE.c|ID|KIND/ID",
        .summary = "Loads a plugin in a process of its own, configures it and measures what it "
                   "promises; one verdict per line.\nA C source is compiled and built in the sandbox. "
                   "Exit status 1 if any check failed.",
        .options = table,
        .n_options = (int)(sizeof table / sizeof *table),
        .min_names = 1,
        .max_names = 1};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    options.target = arguments.names[0];
    aira__check_report *report = calloc(1, sizeof *report);
    if (!report) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory for a report");
    status = check(cli, &options, report);
    free(report);
    return status;
}
