/* aira/optimizer.h - builds the update of one parameter, as a graph. The host clips, schedules and stores. */
#ifndef AIRA_OPTIMIZER_H
#define AIRA_OPTIMIZER_H

#include "graph.h"
#include "plugin.h"

#define AIRA_OPTIMIZER_MAX_STATES 8

typedef struct aira_update_in {
    uint32_t size;
    uint32_t no_decay; /* the parameter asked for no weight decay */
    const char *name, *role;
    double lr_mult, decay_mult;
    aira_tensor *param, *grad;                     /* F32, shape of the parameter */
    aira_tensor *state[AIRA_OPTIMIZER_MAX_STATES]; /* F32, shape of the parameter, zero before the first step */
    aira_tensor *lr;                               /* F32 scalar: scheduled learning rate, lr_mult applied */
    aira_tensor *step;                             /* F32 scalar: 1 at the first step */
} aira_update_in;

typedef struct aira_update_out {
    uint32_t size, reserved;
    aira_tensor *param;
    aira_tensor *state[AIRA_OPTIMIZER_MAX_STATES];
} aira_update_out;

typedef struct aira_optimizer {
    uint32_t size, flags;
    uint32_t n_states, reserved;
    const char *const *state_names;      /* n_states names: checkpoint keys are "<param>.<state>" */
    double (*learning_rate)(void *self); /* base learning rate, before the schedule */
    /* [any thread], pure */
    aira_status (*build)(void *self, const aira_ops *ops, aira_graph *graph, const aira_update_in *in,
                         aira_update_out *out);
} aira_optimizer;

#endif
