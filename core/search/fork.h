/* core/search/fork.h - a new run directory whose search goes on from a node of another run.
 *
 * The new journal holds the search's nodes 0..idx as they were committed, with their candidates, evaluations, calls and
 * decisions; nothing that was decided later, and none of what became of the old run (submissions, aggregates, tests).
 * The seed stays, so a fork without any change decides what a run would have decided that had stopped there; with
 * `parallel: 1` that is the old run itself. Time starts at 0, everything else that the kept nodes have cost counts.
 * Texts (prompts, answers) are kept whole, since nodes share them.
 *
 * The old run is only read, and may be running.
 */
#ifndef AIRA_SEARCH_FORK_H
#define AIRA_SEARCH_FORK_H

#include "core/config/config.h"
#include "core/plugin/registry.h"

typedef struct aira__fork_options {
    const char *from, *dir; /* run directories; dir must not exist */
    int64_t search, idx;    /* the last node that is kept */
    bool all;               /* the other searches stay, as they are; else they are dropped and this one becomes 1 */
    /* "searches.0.agent={use: mutate}", "searches.0.scaffold.drafts=2", "budget.candidates=50": as in the study that
       the new directory will hold, one search or all of them */
    const char *const *overrides;
    int n_overrides;
} aira__fork_options;

/* Mistakes in overrides go to diagnostics (then the status is AIRA_E_CONFIG and error is empty). */
aira_status aira__fork(aira__registry *, const aira__fork_options *, aira__diagnostics *, aira_error *);

#endif
