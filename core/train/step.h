/* core/train/step.h - the graphs of a training: a whole step as one program, and an evaluation. */
#ifndef AIRA_TRAIN_STEP_H
#define AIRA_TRAIN_STEP_H

#include "core/graph/model.h"
#include "core/train/recipe.h"

/* Forward, gradients, clipping, the optimizer's update of every trained parameter, assignments. Inputs: "tokens",
   "targets", scalars "lr" and "step" (1 at the first step) in the storage type, and "draw" where a primitive draws
   anew at each step. Outputs: "loss", "task_loss", "grad_norm", "aux.<name>", "metric.<name>".

   With recipe->accumulate > 1 a step is several runs, each on a part of the batch: all but the last are runs of
   aira__part_build's graph, which adds gradients and losses to the variables "accumulated.<name>"; the last is a run of
   this one, which takes them in. Both have the scalars "share" (the part's share of the step's counted targets) and
   "keep" (0 in the first run of a step: what was accumulated before is forgotten); "loss" and "task_loss" are then
   those of the whole batch, auxiliary losses and metrics those of the last part. */
aira_graph *aira__step_build(const aira__model_spec *, const aira__recipe *, aira_error *);
aira_graph *aira__part_build(const aira__model_spec *, const aira__recipe *, aira_error *);

/* Is it worth nothing between steps? Then it is no part of a checkpoint. */
bool aira__is_accumulated(const char *variable);

/* Forward only, without training behaviour. Inputs "tokens", "targets"; outputs "prediction" I32 [B,T',1] (the most
   likely class) and "nll" F32 [B,T'] (0 where the target is ignored). */
aira_graph *aira__evaluation_build(const aira__model_spec *, aira_error *);

bool aira__graph_has_input(const aira_graph *, const char *name);

#endif
