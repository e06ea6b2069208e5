/* core/cli/execute.h - runs a run directory to its end, for every command that does. In cmd_run.c. */
#ifndef AIRA_CLI_EXECUTE_H
#define AIRA_CLI_EXECUTE_H

#include "core/cli/cli.h"

/* The exit status; Ctrl-C stops resumably. summary: NULL prints it (docs/contract.md 2, `run`), else it is a new
   reference, NULL where the run did not come to an end. */
int aira__cli_execute(aira__cli *, const char *dir, json_t **summary);

#endif
