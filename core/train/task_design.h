/* core/train/task_design.h - candidates that are source code: `candidate: {kind: design, ...}` of a task.
 *
 *     candidate:
 *       kind: design
 *       layers: 4
 *       pattern: "X M"            # X is the mechanism, the others are tokens of the task; cycled. "X" where absent
 *       backbone: {use: mad_lm, width: 64}
 *       configurable:             # absent: fixed, the candidate is the mechanism alone
 *         lr:    {sets: recipe.optimizer.lr, from: 1e-4, to: 1e-2}
 *         width: {sets: backbone.width, choices: [32, 64, 128]}
 *         depth: {sets: layers, from: 1, to: 8}
 *
 * The candidate is the source of one primitive, the mechanism. What a task declares as configurable a candidate may
 * also set; `sets` names the number that it changes: `layers`, a key of the backbone, or a key of every proxy's recipe.
 * Its default is the task's own value. All else (depth, width, recipe, data, head) is the task's.
 *
 * Canonical form: candidate {"kind": "design", "layers", "pattern": [tokens], "backbone", "configurable": {name:
 * {"sets", "default", "from", "to"} or {"sets", "default", "choices"}}}; integers where the number is one.
 */
#ifndef AIRA_TRAIN_TASK_DESIGN_H
#define AIRA_TRAIN_TASK_DESIGN_H

#include <jansson.h>
#include <stdbool.h>

#include "core/config/config.h"

#define AIRA__MECHANISM "X" /* the token that stands for the mechanism */

struct aira__task;

/* Takes `pattern` and `configurable` of the candidate's map; a pattern is checked against the tokens later. *pattern is
   a list of tokens, *configurable an object, as written; both new references, NULL where absent or wrong. */
void aira__design_read(aira__node *candidate, json_t **pattern, json_t **configurable, aira__diagnostics *);

/* The index of every layer of the pattern: that of the task's token, or -1 for the mechanism; malloc'ed, *n of them.
   AIRA_E_CONFIG where a token is unknown, or the mechanism is not among them. */
aira_status aira__design_pattern(const json_t *pattern, const struct aira__task *, int **indices, int *n, aira_error *);

/* Checks every configurable option against the canonical task, completes it (default, type of the numbers) and returns
   the object of the canonical form: a new reference. */
aira_status aira__design_options(const json_t *canonical_task, const json_t *written, json_t **complete, aira_error *);

/* A copy of a canonical task with these options ({name: number}, checked before) put in their places. New reference;
   NULL with an error. */
json_t *aira__design_apply(const json_t *canonical_task, const json_t *options, aira_error *);

/* Is this a value that the declared option takes? The sentence says what it takes. *stored: as the candidate keeps it,
   a new reference. */
aira_status aira__design_option_value(const char *name, const json_t *declared, const json_t *value, json_t **stored,
                                      aira_error *);
/* {name: default} of all that is declared; a new reference. */
json_t *aira__design_defaults(const json_t *declared);

#endif
