/* core/cli/cmd_fork.c - `aira fork`: a new run directory that goes on from a node of another run. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/search/fork.h"

int aira__cmd_fork(aira__cli *cli, int argc, char **argv);

/* "1:7" */
static bool parse_node(const char *text, int64_t *search, int64_t *idx) {
    int used = 0;
    return sscanf(text, "%9" SCNd64 ":%9" SCNd64 "%n", search, idx, &used) == 2 && text[used] == 0 && *search >= 1 &&
           *idx >= 0;
}

int aira__cmd_fork(aira__cli *cli, int argc, char **argv) {
    aira__fork_options o = {0};
    const char *node = NULL;
    const aira__cli_option options[] = {
        {"node", "SEARCH:IDX", "the last node that is kept", AIRA__CLI_TEXT, &node, true},
        {"run-dir", "DIR", "the new run directory; must not exist", AIRA__CLI_TEXT, &o.dir, true},
        {"all", NULL, "keep the other searches, as they are", AIRA__CLI_SWITCH, &o.all, false}};
    const aira__cli_spec spec = {.arguments = "DIR --node SEARCH:IDX --run-dir NEW [key=value...]",
                                 .summary = "makes a new run directory whose search goes on after a node of another "
                                            "run; `aira resume` continues it.\nkey=value changes searches and budget, "
                                            "e.g. searches.0.agent='{use: mutate}' budget.candidates=50.",
                                 .options = options,
                                 .n_options = 3,
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
    if (!parse_node(node, &o.search, &o.idx))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "--node is SEARCH:IDX, for instance 1:7, not '%s'", node);
    if (!aira__is_dir(o.from))
        return aira__cli_fail_text(cli, AIRA_E_CONFIG, "%s: there is no such run directory", o.from);
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (!registry) return aira__cli_fail(cli, &error);
    aira__diagnostics *d = aira__diagnostics_create();
    if (!d) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    aira_status status = aira__fork(registry, &o, d, &error);
    if (aira__diagnostics_count(d) > 0)
        code = aira__cli_fail_diagnostics(cli, d);
    else if (status != AIRA_OK)
        code = aira__cli_fail(cli, &error);
    else if (cli->json)
        code = aira__cli_print_json(cli, json_pack("{s:s, s:s, s:I, s:I, s:I}", "run_dir", o.dir, "from", o.from,
                                                   "search", (json_int_t)(o.all ? o.search : 1), "node",
                                                   (json_int_t)o.idx, "nodes", (json_int_t)o.idx + 1));
    else
        code = printf("%s: search %" PRId64 " of %s up to node %" PRId64 "; continue with `aira resume %s`\n", o.dir,
                      o.search, o.from, o.idx, o.dir) < 0
                   ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written")
                   : 0;
    aira__diagnostics_destroy(d);
    return code;
}
