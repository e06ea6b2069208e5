/* core/cli/main.h - what main.c needs of cli.c and no command does. */
#ifndef AIRA_CLI_MAIN_H
#define AIRA_CLI_MAIN_H

#include "core/cli/cli.h"

/* The global option at argv[*i], before a command; moves *i to its last word. 0, or the exit status. */
int aira__cli_globals(aira__cli *, int argc, char **argv, int *i, bool *help);

#endif
