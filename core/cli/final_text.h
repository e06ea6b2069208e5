/* core/cli/final_text.h - failures, best, submission and final scoring of a run in words: run, resume, status. */
#ifndef AIRA_CLI_FINAL_TEXT_H
#define AIRA_CLI_FINAL_TEXT_H

#include <jansson.h>

/* summary: the object of docs/contract.md 2. Prints to standard output; what is not there yet is left out. */
void aira__print_scores(const json_t *summary);

#endif
