/* core/cli/main.c - the program: finds the sub-command, runs it, gives back its exit status.
 *
 * The table names every command there is. The functions are weak references: a build without a command's file still
 * links, does not list the command, and says so when it is asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cli/main.h"

#define COMMANDS(X)                                                     \
    X(run, "run a study: search, aggregate, extrapolate, report")       \
    X(resume, "continue a run where it stopped")                        \
    X(status, "where a run stands")                                     \
    X(replay, "run a recorded search again, without an agent")          \
    X(report, "write the report of a run")                              \
    X(compare, "agents and scaffolds of runs side by side")             \
    X(fork, "a new run that continues another one from a node")         \
    X(rescore, "score a run's candidates on another task")              \
    X(evaluate, "train one architecture on a task and print its score") \
    X(aggregate, "merge the top cluster of runs into one architecture") \
    X(extrapolate, "stretch or stack an architecture to a size")        \
    X(train, "train a model at any scale")                              \
    X(forward, "logits of a model for given tokens")                    \
    X(data, "write a data set's samples as .npy files")                 \
    X(export, "a node, a model or a mechanism, to be used elsewhere")   \
    X(plugins, "list plugins with their state and reason")              \
    X(describe, "the configuration keys of a plugin")                   \
    X(check, "the conformance run of a plugin file")                    \
    X(new, "write the template of a plugin")                            \
    X(validate, "report all mistakes in study, task and model files")   \
    X(doctor, "what this machine offers, what is off, and why")         \
    X(worker, NULL)

typedef int (*command_function)(aira__cli *, int, char **);
#define DECLARE(name, summary) int aira__cmd_##name(aira__cli *, int, char **) __attribute__((weak));
COMMANDS(DECLARE)

typedef struct {
    const char *name, *summary; /* summary NULL: internal, not listed */
    command_function run;
} command;

#define ROW(name, summary) {#name, summary, aira__cmd_##name},

static void print_usage(FILE *file, const command *commands, int n) {
    fprintf(file, "usage: aira COMMAND [arguments]\n\ncommands:\n");
    for (int i = 0; i < n; i++)
        if (commands[i].run != NULL && commands[i].summary != NULL)
            fprintf(file, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fprintf(file, "\n'aira COMMAND --help' tells more; 'aira --version' prints the version.\n");
}

static int run_command(aira__cli *cli, const command *commands, int n, int argc, char **argv) {
    const char *names[64];
    int n_names = 0;
    for (int i = 0; i < n; i++) {
        if (strcmp(commands[i].name, argv[0]) == 0 && commands[i].run != NULL) {
            cli->command = commands[i].name;
            return commands[i].run(cli, argc, argv);
        }
        if (strcmp(commands[i].name, argv[0]) == 0)
            return aira__cli_fail_text(cli, AIRA_E_CONFIG, "'%s' is not part of this build", argv[0]);
        if (commands[i].run != NULL && commands[i].summary != NULL) names[n_names++] = commands[i].name;
    }
    const char *nearest = aira__nearest(argv[0], names, n_names);
    return aira__cli_fail_text(cli, AIRA_E_CONFIG, "unknown command '%s'%s%s%s; 'aira' alone lists them", argv[0],
                               nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
                               nearest != NULL ? "'?" : "");
}

static void release(aira__cli *cli) {
    if (cli->registry != NULL) aira__registry_destroy(cli->registry);
    for (int i = 0; i < cli->n_memory; i++) free(cli->memory[i]);
    free(cli->memory);
}

int main(int argc, char **argv) {
    const command commands[] = {COMMANDS(ROW)};
    const int n = sizeof commands / sizeof commands[0];
    aira__cli cli = {.command = ""};
    int status = 0, i = 1;
    bool help = false, version = false;
    for (; i < argc && argv[i][0] == '-' && status == 0 && !version; i++) {
        if (strcmp(argv[i], "--version") == 0)
            version = true;
        else if (strcmp(argv[i], "-h") == 0)
            help = true;
        else
            status = aira__cli_globals(&cli, argc, argv, &i, &help);
    }
    if (status == 0 && version)
        printf("aira %s\n", AIRA_VERSION);
    else if (status == 0 && (help || i >= argc))
        print_usage(stdout, commands, n);
    else if (status == 0)
        status = run_command(&cli, commands, n, argc - i, argv + i);
    release(&cli);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "aira: error: standard output cannot be written (disk full, or closed)\n");
        if (status == 0) status = 1;
    }
    return status;
}
