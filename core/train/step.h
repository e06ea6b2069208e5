/* core/train/step.h - the graphs of a training: a whole step as one program, and an evaluation. */
#ifndef AIRA_TRAIN_STEP_H
#define AIRA_TRAIN_STEP_H

#include "core/graph/model.h"
#include "core/train/recipe.h"

/* Forward, gradients, clipping, the optimizer's update of every trained parameter, assignments. Inputs: "tokens",
   "targets", scalars "lr" and "step" (1 at the first step) in the storage type, and "draw" where a primitive draws
   anew at each step. Outputs: "loss", "task_loss", "grad_norm", "aux.<name>", "metric.<name>". */
aira_graph *aira__step_build(const aira__model_spec *, const aira__recipe *, aira_error *);

/* Forward only, without training behaviour. Inputs "tokens", "targets"; outputs "prediction" I32 [B,T',1] (the most
   likely class) and "nll" F32 [B,T'] (0 where the target is ignored). */
aira_graph *aira__evaluation_build(const aira__model_spec *, aira_error *);

bool aira__graph_has_input(const aira_graph *, const char *name);

#endif
