/* core/cli/cli.h - what every sub-command shares: global options, an option table, results, exit status.
 *
 * A command is one file, cmd_<name>.c, with
 *     int aira__cmd_<name>(aira__cli *cli, int argc, char **argv)      argv[0] is the command's own name
 * that returns the exit status: 0 done, 1 failed, 2 bad usage or configuration. main.c knows the names; adding the file
 * adds the command. Results go to standard output, everything else to standard error.
 *
 *     int64_t seed = 0;
 *     const char *task = NULL;
 *     const aira__cli_option options[] = {{"task", "FILE", "task to evaluate on", AIRA__CLI_TEXT, &task, true},
 *                                         {"seed", "N", "of initial values and data", AIRA__CLI_INT, &seed, false}};
 *     const aira__cli_spec spec = {"--arch A --task FILE", "trains one candidate and prints its score", options, 2,
 *                                  .overrides = true};
 *     aira__cli_arguments arguments;
 *     int status = aira__cli_parse(cli, &spec, argc, argv, &arguments);
 *     if (status >= 0) return status;
 */
#ifndef AIRA_CLI_CLI_H
#define AIRA_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/error.h"
#include "core/config/config.h"
#include "core/plugin/registry.h"

typedef struct aira__cli {
    const char *command;       /* name of the running command */
    bool json;                 /* --json: one JSON value on standard output and nothing else there */
    bool quiet;                /* --quiet: no progress on standard error */
    const char **plugin_paths; /* --plugin-path, in order */
    int n_plugin_paths;
    aira__registry *registry; /* use aira__cli_registry */
    void **memory;            /* released by main */
    int n_memory;
} aira__cli;

typedef enum {
    AIRA__CLI_SWITCH, /* bool *: set to true where given */
    AIRA__CLI_TEXT,   /* const char **: of argv */
    AIRA__CLI_INT,    /* int64_t *; also 2K, 1.5M */
    AIRA__CLI_SEED,   /* uint64_t * */
    AIRA__CLI_REAL,   /* double * */
    AIRA__CLI_LIST    /* aira__cli_list *: every occurrence; the texts are of argv, the array is main's */
} aira__cli_type;

typedef struct aira__cli_list {
    const char **items;
    int n;
} aira__cli_list;

typedef struct aira__cli_option {
    const char *name;  /* "seed" for --seed N and --seed=N */
    const char *value; /* shown in --help, NULL for a switch */
    const char *doc;
    aira__cli_type type;
    void *out; /* left alone where the option is not given */
    bool required;
} aira__cli_option;

typedef struct aira__cli_spec {
    const char *arguments; /* for the usage line: "STUDY.yaml [key=value...]" */
    const char *summary;   /* one sentence; more may follow after a newline */
    const aira__cli_option *options;
    int n_options;
    int min_names, max_names; /* arguments that are neither options nor overrides; max -1: any number */
    bool overrides;           /* key.key=value arguments are accepted and kept apart */
} aira__cli_spec;

typedef struct aira__cli_arguments { /* texts of argv; arrays released by main */
    const char **names;
    int n_names;
    const char **overrides;
    int n_overrides;
} aira__cli_arguments;

/* -1: go on. Otherwise the exit status to return: --help was given, or a sentence was printed. "--" ends the options.
 */
int aira__cli_parse(aira__cli *, const aira__cli_spec *, int argc, char **argv, aira__cli_arguments *);

/* Made on first use from --plugin-path and the usual folders; belongs to main. NULL with a sentence. */
aira__registry *aira__cli_registry(aira__cli *, aira_error *);

/* Print what went wrong to standard error and return the exit status for it: 2 for AIRA_E_CONFIG, else 1. */
int aira__cli_fail(const aira__cli *, const aira_error *);
int aira__cli_fail_text(const aira__cli *, aira_status, const char *format, ...) __attribute__((format(printf, 3, 4)));
int aira__cli_fail_diagnostics(const aira__cli *, const aira__diagnostics *); /* 2 */

/* Prints the value and a newline to standard output, releases it, returns the exit status. NULL: out of memory. */
int aira__cli_print_json(aira__cli *, json_t *);

#endif
