/* core/compare/rescore.h - the candidates of a run scored on another task, and how far the two orders agree.
 *
 * Nobody is asked: the distinct good candidates of the old run become the list of agent `list` in a study of the other
 * task, whose run directory is like any other (it can be killed and resumed, it has a report). What is special lies in
 * its journal as result('rescore', 'from'): where the candidates came from and what they had scored.
 *
 * Scores are selection scores (search scores where there are none), means over the trainings of a candidate.
 */
#ifndef AIRA_COMPARE_RESCORE_H
#define AIRA_COMPARE_RESCORE_H

#include <jansson.h>

#include "core/config/config.h"
#include "core/plugin/registry.h"

typedef struct aira__rescore_options {
    const char *from, *task, *dir; /* run directory, task file, new run directory */
    int64_t top;                   /* so many of the best; 0: all */
    uint64_t seed;
    const char *const *overrides; /* of the new study: "executor.workers=4", "task.proxies.0.recipe.steps=100" */
    int n_overrides;
} aira__rescore_options;

/* Makes the new run directory. One that a rescoring of the same run has made is left as it is, to be continued.
   Mistakes in task and overrides go to diagnostics (status AIRA_E_CONFIG, error empty). */
aira_status aira__rescore_prepare(aira__registry *, const aira__rescore_options *, aira__diagnostics *, aira_error *);

/* After the run: writes <dir>/rescore.csv and gives the object of docs/contract.md 2, a new reference. */
aira_status aira__rescore_finish(const char *dir, json_t **result, aira_error *);

#endif
