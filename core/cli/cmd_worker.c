/* core/cli/cmd_worker.c - `aira worker FOLDER`: runs the evaluations of a lease; started by executors. */
#include "core/cli/cli.h"
#include "core/train/evaluate.h"

int aira__cmd_worker(aira__cli *cli, int argc, char **argv);

int aira__cmd_worker(aira__cli *cli, int argc, char **argv) {
    const aira__cli_spec spec = {
        .arguments = "FOLDER", .summary = "runs the evaluations of a lease (internal)", .min_names = 1, .max_names = 1};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    aira_error error = {AIRA_OK, ""};
    return aira__worker_run(arguments.names[0], &error) == AIRA_OK ? 0 : aira__cli_fail(cli, &error);
}
