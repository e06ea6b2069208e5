/* core/cli/cmd_run.c - `aira run STUDY.yaml` and `aira resume DIR`: the same execution, begun or continued.
 *
 * Ctrl-C (or SIGTERM) once stops cleanly and leaves a directory for `aira resume`; twice ends the program at once,
 * which the journal survives as well.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/cli/cli.h"
#include "core/cli/execute.h"
#include "core/cli/final_text.h"
#include "core/search/recording.h"
#include "core/search/run.h"
#include "core/search/salvage.h"
#include "core/search/study.h"

static volatile sig_atomic_t interrupts; /* a signal handler can reach nothing else */

static void on_signal(int number) {
    interrupts = 1;
    signal(number, SIG_DFL); /* the next one ends the program */
}

static void print_summary(const json_t *summary) {
    const json_t *aggregated = json_object_get(summary, "aggregated"), *item;
    size_t i;
    printf("%s: %lld nodes, %lld evaluations\n", aira__json_string(summary, "state", "?"),
           (long long)aira__json_int(summary, "nodes", 0), (long long)aira__json_int(summary, "evaluations", 0));
    aira__print_scores(summary);
    json_array_foreach(aggregated, i, item)
        printf("%-11s %s\n", aira__json_string(item, "by", "?"), aira__json_string(item, "architecture", "?"));
    json_array_foreach(json_object_get(summary, "extrapolated"), i, item)
        printf("%s to %s by %s: %lld layers, %.1f M parameters in the body, %s\n", aira__json_string(item, "from", "?"),
               aira__json_string(item, "to", "?"), aira__json_string(item, "by", "?"),
               (long long)aira__json_int(item, "layers", 0), aira__json_real(item, "parameters_body", 0) / 1e6,
               aira__json_string(item, "model", "-"));
    const char *report = aira__json_string(summary, "report", NULL);
    if (report) printf("report: %s\n", report);
}

/* Standard output: one JSON object, or what a human wants to know. Takes summary over. */
static int print_result(aira__cli *cli, json_t *summary) {
    if (cli->json) return aira__cli_print_json(cli, summary);
    print_summary(summary);
    json_decref(summary);
    return 0;
}

int aira__cli_execute(aira__cli *cli, const char *dir, json_t **out) {
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    aira__recording *recording = NULL;
    aira__run_end end = AIRA__RUN_DONE;
    json_t *summary = NULL;
    if (out) *out = NULL;
    if (!registry || aira__recording_offer(registry, &recording, &error) != AIRA_OK) return aira__cli_fail(cli, &error);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    aira__run_options options = {.registry = registry, .interrupts = &interrupts, .quiet = cli->quiet};
    aira_status status = aira__run_execute(dir, &options, &end, &summary, &error);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    int exit_status;
    if (status != AIRA_OK) {
        aira__salvage_explain(dir, &error);
        exit_status = aira__cli_fail(cli, &error);
    } else if (end == AIRA__RUN_HELD) {
        exit_status = aira__cli_fail_text(cli, AIRA_E_FAILED, "%s; repair that and continue with `aira resume %s`",
                                          error.text, dir);
    } else if (end == AIRA__RUN_INTERRUPTED) {
        exit_status = aira__cli_fail_text(cli, AIRA_E_FAILED, "stopped on request; continue with `aira resume %s`",
                                          dir);
    } else {
        if (out) *out = json_incref(summary);
        exit_status = out ? 0 : print_result(cli, json_incref(summary));
        json_decref(summary);
        if (end == AIRA__RUN_NOTHING) exit_status = aira__cli_fail(cli, &error);
    }
    aira__registry_offer(registry, AIRA_SERVICE_RECORDING, NULL);
    aira__recording_destroy(recording);
    return exit_status;
}

/* runs/<study>-<date>-<time>, malloc'ed. */
static char *default_dir(const json_t *study) {
    char stamp[32], *dir = malloc(256);
    time_t now = time(NULL);
    struct tm parts;
    if (!dir || !gmtime_r(&now, &parts)) {
        free(dir);
        return NULL;
    }
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &parts);
    snprintf(dir, 256, "runs/%.120s-%s", aira__json_string(study, "study", "study"), stamp);
    return dir;
}

int aira__cmd_run(aira__cli *cli, int argc, char **argv);

int aira__cmd_run(aira__cli *cli, int argc, char **argv) {
    const char *run_dir = NULL;
    const aira__cli_option options[] = {{"run-dir", "DIR",
                                         "where everything goes; must not exist (default: runs/<study>-<time>)",
                                         AIRA__CLI_TEXT, &run_dir, false}};
    const aira__cli_spec spec = {.arguments = "STUDY.yaml [key=value...]",
                                 .summary = "runs a study: searches, aggregation, extrapolation, report",
                                 .options = options,
                                 .n_options = 1,
                                 .min_names = 1,
                                 .max_names = 1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    aira_error error = {0};
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (!registry) return aira__cli_fail(cli, &error);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (!diagnostics) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    json_t *study = aira__study_load(registry, arguments.names[0], arguments.overrides, arguments.n_overrides, NULL,
                                     true, diagnostics);
    if (!study) {
        status = aira__cli_fail_diagnostics(cli, diagnostics);
        aira__diagnostics_destroy(diagnostics);
        return status;
    }
    aira__diagnostics_destroy(diagnostics);
    char *made_up = run_dir ? NULL : default_dir(study);
    const char *dir = run_dir ? run_dir : made_up;
    if (!dir)
        status = aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    else if (aira__run_create(registry, study, dir, &error) != AIRA_OK)
        status = aira__cli_fail(cli, &error);
    else
        status = aira__cli_execute(cli, dir, NULL);
    json_decref(study);
    free(made_up);
    return status;
}

int aira__cmd_resume(aira__cli *cli, int argc, char **argv);

int aira__cmd_resume(aira__cli *cli, int argc, char **argv) {
    bool salvage = false;
    const aira__cli_option options[] = {
        {"salvage", NULL, "first saves what can be read of a damaged journal", AIRA__CLI_SWITCH, &salvage, false}};
    const aira__cli_spec spec = {.arguments = "DIR",
                                 .summary = "continues a run where it stopped, however it stopped",
                                 .options = options,
                                 .n_options = 1,
                                 .min_names = 1,
                                 .max_names = 1};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    char sentence[1024];
    aira_error error = {0};
    if (salvage && aira__salvage(arguments.names[0], sentence, sizeof sentence, &error) != AIRA_OK)
        return aira__cli_fail(cli, &error);
    if (salvage) aira__log(AIRA_LOG_INFO, "%s", sentence);
    return aira__cli_execute(cli, arguments.names[0], NULL);
}
