/* core/cli/cmd_aggregate.c - `aira aggregate`: merges the top cluster of one or more runs into one architecture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/compose/aggregate.h"
#include "core/search/journal.h"

int aira__cmd_aggregate(aira__cli *cli, int argc, char **argv);

typedef struct aggregate_options {
    const char *by, *agents;
} aggregate_options;

/* The aggregator with the `key=value` arguments as its keys. */
static aira__instance *configure(aira__registry *registry, const char *by, const aira__cli_arguments *arguments,
                                 aira__diagnostics *diagnostics) {
    aira__buf text = {0};
    aira__buf_printf(&text, "use: %s\n", by);
    for (int i = 0; i < arguments->n_overrides; i++) {
        const char *equals = strchr(arguments->overrides[i], '=');
        aira__buf_printf(&text, "%.*s: %s\n", (int)(equals - arguments->overrides[i]), arguments->overrides[i],
                         equals + 1);
    }
    aira__instance *made = NULL;
    aira__document *document = text.failed ? NULL : aira__document_parse(text.data, "command line", diagnostics);
    if (document != NULL)
        made = aira__instance_create(registry, "aggregator", aira__document_root(document), NULL, diagnostics);
    else if (aira__diagnostics_count(diagnostics) == 0)
        aira__diagnose(diagnostics, NULL, "out of memory");
    aira__document_destroy(document);
    aira__buf_free(&text);
    return made;
}

static aira_status open_runs(const aira__cli_arguments *arguments, aira__journal **journals,
                             aira__journal_source *sources, aira_error *error) {
    const aira__journal_options options = {.read_only = true};
    for (int i = 0; i < arguments->n_names; i++) {
        char *path = aira__path_join(arguments->names[i], "journal.db");
        aira_status status = path != NULL ? aira__journal_open(path, &options, &journals[i], error)
                                          : aira__fail(error, AIRA_E_MEMORY, "out of memory");
        free(path);
        if (status != AIRA_OK) return status;
        sources[i] = (aira__journal_source){arguments->names[i], aira__journal_db(journals[i])};
    }
    return AIRA_OK;
}

/* "a,b" cut at commas; *text is a copy that the names point into. */
static const char **split_names(const char *list, char **text, int *n) {
    *n = 0;
    *text = strdup(list);
    const char **names = calloc(strlen(list) / 2 + 1, sizeof *names);
    char *rest = *text;
    for (char *name; names != NULL && (name = strtok_r(rest, ",", &rest)) != NULL;) names[(*n)++] = name;
    return names;
}

static aira_status aggregate(aira__cli *cli, const aira__instance *aggregator, const aggregate_options *o,
                             const aira__cli_arguments *arguments, json_t **result, aira_error *error) {
    size_t n_runs = (size_t)arguments->n_names;
    aira__journal **journals = calloc(n_runs, sizeof *journals);
    aira__journal_source *sources = calloc(n_runs, sizeof *sources);
    char *text = NULL;
    int n_agents = 0;
    const char **agents = split_names(o->agents, &text, &n_agents);
    aira__candidates candidates = {0};
    aira_status status = journals != NULL && sources != NULL && agents != NULL && text != NULL
                             ? open_runs(arguments, journals, sources, error)
                             : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    if (status == AIRA_OK)
        status = aira__candidates_read(sources, arguments->n_names, agents, n_agents, &candidates, error);
    if (status == AIRA_OK) status = aira__aggregate(cli->registry, aggregator, &candidates, result, error);
    aira__candidates_release(&candidates);
    for (size_t i = 0; journals != NULL && i < n_runs; i++) aira__journal_close(journals[i]);
    free(journals);
    free(sources);
    free(agents);
    free(text);
    return status;
}

static int print_text(aira__cli *cli, const json_t *result) {
    const json_t *notes = json_object_get(result, "notes"), *value;
    size_t i;
    printf("%s\n", json_string_value(json_object_get(result, "architecture")));
    printf("by %s, from a top cluster of %lld candidates; support of each layer:",
           json_string_value(json_object_get(result, "by")),
           (long long)json_integer_value(json_object_get(result, "cluster_size")));
    json_array_foreach(json_object_get(result, "support"), i, value) printf(" %.2f", json_number_value(value));
    printf("\n");
    json_array_foreach(notes, i, value) printf("note: %s\n", json_string_value(value));
    return fflush(stdout) != 0 ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written") : 0;
}

int aira__cmd_aggregate(aira__cli *cli, int argc, char **argv) {
    aggregate_options o = {.by = "n0", .agents = ""};
    const aira__cli_option options[] = {
        {"by", "PLUGIN", "aggregator: n0 (the default), n1, n2, n_all or another", AIRA__CLI_TEXT, &o.by, false},
        {"agents", "A,B", "only candidates of these agents (plugin, model or label); default: all", AIRA__CLI_TEXT,
         &o.agents, false}};
    const aira__cli_spec spec = {"DIR... [--by n0] [key=value...]",
                                 "merges the best candidates of runs of one task into one architecture.\n"
                                 "key=value sets a key of the aggregator, e.g. clusters=5 weights=rank.",
                                 options,
                                 2,
                                 .min_names = 1,
                                 .max_names = -1,
                                 .overrides = true};
    aira__cli_arguments arguments;
    aira_error error = {AIRA_OK, ""};
    int code = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (code >= 0) return code;
    aira__registry *registry = aira__cli_registry(cli, &error);
    if (registry == NULL) return aira__cli_fail(cli, &error);
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    if (diagnostics == NULL) return aira__cli_fail_text(cli, AIRA_E_MEMORY, "out of memory");
    aira__instance *aggregator = configure(registry, o.by, &arguments, diagnostics);
    json_t *result = NULL;
    if (aggregator == NULL)
        code = aira__cli_fail_diagnostics(cli, diagnostics);
    else if (aggregate(cli, aggregator, &o, &arguments, &result, &error) != AIRA_OK)
        code = aira__cli_fail(cli, &error);
    else
        code = cli->json ? aira__cli_print_json(cli, json_incref(result)) : print_text(cli, result);
    json_decref(result);
    aira__instance_destroy(aggregator);
    aira__diagnostics_destroy(diagnostics);
    return code;
}
