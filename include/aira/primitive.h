/* aira/primitive.h - a kind of layer. One function: x [B,T,C] in, y [B,T,C] out.
 *
 * The host puts normalisation and residual around it (see backbone.h), names its parameters by place, differentiates
 * it, counts it and runs it on any device. See docs/writing-a-plugin.md for a complete attention.
 */
#ifndef AIRA_PRIMITIVE_H
#define AIRA_PRIMITIVE_H

#include "graph.h"
#include "plugin.h"

#define AIRA_PRIMITIVE_MIXES_TIME 1u /* reads other positions (attention, SSM); 0: position by position */

typedef struct aira_primitive {
    uint32_t size, flags;
    const char *token; /* suggested token, "mA": a letter, then letters or digits */
    /* [any thread], pure. Returns y with the shape of x, or NULL after ops->error. */
    aira_tensor *(*build)(void *self, const aira_ops *ops, aira_graph *graph, aira_tensor *x);
    /* Elements of cache that one more token costs at inference, per layer (attention: 2 G D; 0 where the state does
       not grow with length). NULL: 0. width is C. */
    int64_t (*kv_elements_per_token)(void *self, int64_t width);
} aira_primitive;

#endif
