/* core/search/run.h - a run: a study in its directory, from the first question to the report.
 *
 * create() lays the directory out and writes everything the run will ever need to know into its journal; execute()
 * works on a directory, whether it was created a moment ago or killed last week. There is no other difference between
 * `aira run` and `aira resume`.
 *
 *   scaffold decides -> question is built and journaled -> agent answers (a thread waits) -> answer is parsed or asked
 *   again -> candidate is hashed and wanted from the queue -> result is committed in logical order -> scaffold decides
 *
 * Threads: the coordinator is the caller's thread and does all of it but waiting for agents.
 */
#ifndef AIRA_SEARCH_RUN_H
#define AIRA_SEARCH_RUN_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

#include "core/plugin/registry.h"
#include "core/search/journal.h"

typedef struct aira__run_options {
    aira__registry *registry;
    const char *worker; /* absolute path of a program that takes `worker FOLDER`; NULL: the running one */
    const volatile sig_atomic_t *interrupts; /* non-zero: stop soon, resumably. May be NULL */
    bool quiet;                              /* no progress on standard error */
} aira__run_options;

typedef enum {
    AIRA__RUN_DONE,        /* everything up to the report is there */
    AIRA__RUN_INTERRUPTED, /* resumable */
    AIRA__RUN_HELD,        /* resumable; a model server refuses, the error says which and why */
    AIRA__RUN_NOTHING,     /* complete, but no candidate was valid; the error says why */
} aira__run_end;

/* A new run directory for a canonical study. AIRA_E_CONFIG if it exists. registry: for the plugins' identities. */
aira_status aira__run_create(aira__registry *, const json_t *study, const char *dir, aira_error *);
/* Runs to the end. Everything that fails leaves a directory that can be resumed. *summary (may be NULL): as
   aira__run_summary, a new reference, where the run came to an end; else NULL. */
aira_status aira__run_execute(const char *dir, const aira__run_options *, aira__run_end *, json_t **summary,
                              aira_error *);
/* The object of docs/contract.md 2 for run, resume and status. */
json_t *aira__run_summary(aira__journal *, const char *dir, aira_error *);

/* Its "budget": what the run and each of its searches have used up, and the limits. */
json_t *aira__run_budget(aira__journal *, const json_t *study, aira_error *);

#endif
