/* core/train/design.h - one evaluation of a design: from source and options to scores, with everything that is checked.
 *
 * In order: compile and trace (core/sandbox), the checks of core/check on the mechanism alone, training with the task's
 * recipe and the candidate's options, the checks of the trained weights, scores. The first failure ends it; a failed
 * check of trained weights voids the scores.
 *
 * Causes beyond those of evaluate.h: "compile" (also what the manifest or the configuration says), "sandbox" (this
 * machine cannot confine foreign code), "refused" (the sandbox ended it for a system call, or it uses a function that
 * is not available), "stopped" (the sandbox ended it for a limit while compiling or building), "trace" (build failed or
 * gave what no graph can hold), "limit" (what the task allows), "check:NAME" (a check of core/check; of trained weights
 * as well).
 */
#ifndef AIRA_TRAIN_DESIGN_H
#define AIRA_TRAIN_DESIGN_H

#include "core/train/evaluate.h"

/* options: {name: number} of what the task declares, complete or in part. evaluation: as for aira__evaluate, its task
   is the study's; layers, n_layers, mechanism and trained are set here. *checks: [{"name", "verdict", "text"}] in
   order, a new reference also on failure. */
aira_status aira__design_evaluate(aira__registry *, const aira__evaluate_options *evaluation, const char *source,
                                  const json_t *options, aira__evaluation *out, json_t **checks, aira_error *);

#endif
