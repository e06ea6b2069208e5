/* aira/ext/active.h - extension "aira.active_parameters/1" of a primitive: how many of its parameters a token meets.
 *
 * Asked of aira_plugin.extension. A primitive without it is dense: every parameter takes part in every token. A mixture
 * of experts, of which a token meets a few, has it; sizes are then given in total and in active parameters.
 */
#ifndef AIRA_EXT_ACTIVE_H
#define AIRA_EXT_ACTIVE_H

#include "../abi.h"

#define AIRA_EXT_ACTIVE_PARAMETERS "aira.active_parameters/1"

typedef struct aira_active_parameters {
    uint32_t size, reserved;
    /* Elements of the parameters of one layer at this width that take part in one token. self: of the primitive.
       [any thread], pure */
    int64_t (*active)(void *self, int64_t width);
} aira_active_parameters;

#endif
