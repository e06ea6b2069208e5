/* core/cli/cmd_status.c - `aira status DIR`: where a run stands, whether it runs, was killed or is complete. */
#include <stdio.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/cli/final_text.h"
#include "core/search/run.h"
#include "core/search/salvage.h"

static void print_used(const json_t *budget, const char *key) {
    const json_t *row = json_object_get(budget, key), *limit = json_object_get(row, "limit");
    printf("%-12s %lld", key, (long long)aira__json_int(row, "used", 0));
    if (json_is_number(limit)) printf(" of %lld", (long long)json_number_value(limit));
    printf("\n");
}

static void print_number(const json_t *budget, const char *key) {
    const json_t *value = json_object_get(budget, key);
    const json_t *limit = json_object_get(json_object_get(budget, "limits"), key);
    if (json_is_number(value)) printf("%-12s %.6g", key, json_number_value(value));
    if (json_is_number(value) && json_is_number(limit)) printf(" of %.6g", json_number_value(limit));
    if (json_is_number(value)) printf("\n");
}

int aira__cmd_status(aira__cli *cli, int argc, char **argv);

int aira__cmd_status(aira__cli *cli, int argc, char **argv) {
    const aira__cli_spec spec = {
        .arguments = "DIR", .summary = "tells where a run stands", .min_names = 1, .max_names = 1};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    const char *dir = arguments.names[0];
    if (!aira__is_dir(dir)) return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s: there is no such run directory", dir);
    aira__journal *j = NULL;
    aira__journal_options options = {.read_only = true, .check = true};
    aira_error error = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s/journal.db", dir);
    json_t *summary = NULL;
    if (aira__journal_open(path, &options, &j, &error) == AIRA_OK) summary = aira__run_summary(j, dir, &error);
    aira__journal_close(j);
    if (!summary) {
        aira__salvage_explain(dir, &error);
        return aira__cli_fail(cli, &error);
    }
    if (cli->json) return aira__cli_print_json(cli, summary);
    const json_t *budget = json_object_get(summary, "budget");
    printf("%-12s %s\n", "state", aira__json_string(summary, "state", "?"));
    print_used(budget, "candidates");
    print_used(budget, "evaluations");
    print_number(budget, "seconds");
    print_number(budget, "device_seconds");
    print_number(budget, "flops");
    print_number(budget, "tokens");
    print_number(budget, "money_usd");
    aira__print_scores(summary);
    if (json_is_string(json_object_get(summary, "report")))
        printf("%-12s %s\n", "report", aira__json_string(summary, "report", ""));
    json_decref(summary);
    return 0;
}
