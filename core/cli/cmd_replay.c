/* core/cli/cmd_replay.c - `aira replay DIR`: decides a recorded run again, without agent and without training. */
#include <stdio.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/cli/cli.h"
#include "core/search/replay.h"
#include "core/search/salvage.h"

int aira__cmd_replay(aira__cli *cli, int argc, char **argv);

int aira__cmd_replay(aira__cli *cli, int argc, char **argv) {
    const aira__cli_spec spec = {.arguments = "DIR",
                                 .summary = "decides a recorded run again from its journal and compares the trees",
                                 .min_names = 1,
                                 .max_names = 1};
    aira__cli_arguments arguments;
    int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (status >= 0) return status;
    aira_error error = {0};
    json_t *result = NULL;
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (!aira__is_dir(arguments.names[0]))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s: there is no such run directory", arguments.names[0]);
    if (!registry || aira__replay(registry, arguments.names[0], &result, &error) != AIRA_OK) {
        aira__salvage_explain(arguments.names[0], &error);
        return aira__cli_fail(cli, &error);
    }
    bool same = json_is_true(json_object_get(result, "same"));
    if (cli->json) {
        status = aira__cli_print_json(cli, result);
        return status ? status : !same;
    }
    const json_t *difference;
    size_t i;
    json_array_foreach(json_object_get(result, "differences"), i, difference)
        printf("%s\n", json_string_value(difference));
    printf("%lld nodes in %lld searches: %s\n", (long long)aira__json_int(result, "nodes", 0),
           (long long)aira__json_int(result, "searches", 0), same ? "the same tree" : "the tree differs");
    json_decref(result);
    return !same;
}
