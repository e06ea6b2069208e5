/* core/cli/cmd_rescore.c - `aira rescore`: a run's candidates scored on another task, without asking anyone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/cli/execute.h"
#include "core/compare/rescore.h"

int aira__cmd_rescore(aira__cli *cli, int argc, char **argv);

static int print_text(aira__cli *cli, const json_t *result) {
    const json_t *row, *best = json_object_get(result, "best"), *value = json_object_get(result, "rank_correlation");
    size_t i;
    printf("%-32s %12s %12s\n", "architecture", "old", "new");
    json_array_foreach(json_object_get(result, "scores"), i, row) {
        const json_t *now = json_object_get(row, "new_score");
        printf("%-32s %12.6g ", aira__json_string(row, "architecture", "?"), aira__json_real(row, "old_score", 0));
        if (json_is_number(now))
            printf("%12.6g\n", json_number_value(now));
        else
            printf("%12s\n", "-");
    }
    printf("%lld of %lld candidates scored on task %s", (long long)aira__json_int(result, "valid", 0),
           (long long)aira__json_int(result, "candidates", 0), aira__json_string(result, "task", "?"));
    if (json_is_number(value)) printf("; rank correlation of old and new %.3f", json_number_value(value));
    printf("\n");
    if (json_is_object(best))
        printf("best there: %s  %.6g\n", aira__json_string(best, "architecture", "?"),
               aira__json_real(best, "new_score", 0));
    printf("table: %s\n", aira__json_string(result, "csv", "?"));
    return fflush(stdout) != 0 ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written") : 0;
}

static int run(aira__cli *cli, const aira__rescore_options *o) {
    aira_error error = {AIRA_OK, ""};
    json_t *summary = NULL, *result = NULL;
    int code = aira__cli_execute(cli, o->dir, &summary);
    if (summary == NULL) return code;
    json_decref(summary);
    if (code != 0) return code;
    if (aira__rescore_finish(o->dir, &result, &error) != AIRA_OK) return aira__cli_fail(cli, &error);
    code = cli->json ? aira__cli_print_json(cli, json_incref(result)) : print_text(cli, result);
    json_decref(result);
    return code;
}

int aira__cmd_rescore(aira__cli *cli, int argc, char **argv) {
    aira__rescore_options o = {.seed = 1};
    const aira__cli_option options[] = {
        {"task", "FILE", "the other task", AIRA__CLI_TEXT, &o.task, true},
        {"run-dir", "DIR", "the new run directory; one that was interrupted is continued", AIRA__CLI_TEXT, &o.dir,
         true},
        {"top", "N", "only the N best candidates (default: all)", AIRA__CLI_INT, &o.top, false},
        {"seed", "N", "of the new trainings (default 1)", AIRA__CLI_SEED, &o.seed, false}};
    const aira__cli_spec spec = {.arguments = "DIR --task FILE --run-dir NEW [key=value...]",
                                 .summary = "trains the distinct good candidates of a run on another task, asking no "
                                            "agent, and compares the two orders.\nkey=value sets a key of the new "
                                            "study, e.g. executor.workers=4 task.proxies.0.recipe.steps=100.",
                                 .options = options,
                                 .n_options = 4,
                                 .min_names = 1,
                                 .max_names = 1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    int code = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (code >= 0) return code;
    aira_error error = {AIRA_OK, ""};
    o.from = arguments.names[0];
    o.overrides = arguments.overrides;
    o.n_overrides = arguments.n_overrides;
    if (o.top < 0) return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--top must be at least 1");
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (!registry) return aira__cli_fail(cli, &error);
    aira__diagnostics *d = aira__diagnostics_create();
    if (!d) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    aira_status status = aira__rescore_prepare(registry, &o, d, &error);
    if (aira__diagnostics_count(d) > 0)
        code = aira__cli_fail_diagnostics(cli, d);
    else if (status != AIRA_OK)
        code = aira__cli_fail(cli, &error);
    else
        code = run(cli, &o);
    aira__diagnostics_destroy(d);
    return code;
}
