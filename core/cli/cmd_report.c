/* core/cli/cmd_report.c - `aira report`: writes the report of a run, finished or not. */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/report/report.h"
#include "core/search/journal.h"
#include "core/search/salvage.h"

/* A report of a damaged journal would tell of what happens to be readable as if it were all. */
static aira_status check_journal(const char *dir, aira_error *error) {
    const aira__journal_options options = {.read_only = true, .check = true};
    char *path = aira__path_join(dir, "journal.db");
    aira__journal *j = NULL;
    aira_status status = path ? aira__journal_open(path, &options, &j, error)
                              : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira__journal_close(j);
    free(path);
    return status;
}

int aira__cmd_report(aira__cli *cli, int argc, char **argv);

int aira__cmd_report(aira__cli *cli, int argc, char **argv) {
    const aira__cli_spec spec = {
        "DIR",
        "writes report.html, nodes.csv, calls.csv and report.json into a run directory, from its "
        "journal.\nA run that is still going on is reported as it stands.",
        NULL,
        0,
        .min_names = 1,
        .max_names = 1};
    aira__cli_arguments arguments;
    aira_error error = {AIRA_OK, ""};
    int code = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (code >= 0) return code;
    if (check_journal(arguments.names[0], &error) != AIRA_OK ||
        aira__report_write(arguments.names[0], &error) != AIRA_OK) {
        aira__salvage_explain(arguments.names[0], &error);
        return aira__cli_fail(cli, &error);
    }
    char *path = aira__path_join(arguments.names[0], "report.html");
    if (path == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    if (cli->json)
        code = aira__cli_print_json(cli, json_pack("{s:s}", "report", path));
    else
        code = printf("%s\n", path) < 0 ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written") : 0;
    free(path);
    return code;
}
