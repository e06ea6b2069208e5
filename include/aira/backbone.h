/* aira/backbone.h - what turns a sequence of primitives into a model: embedding, residual branches, head, loss.
 *
 * A backbone calls blocks->block once per layer; the host adds the layer's primitive inside and records the whole
 * (norm + primitive + residual) as one block of the graph, so that a device may own a kernel for it.
 */
#ifndef AIRA_BACKBONE_H
#define AIRA_BACKBONE_H

#include "graph.h"
#include "plugin.h"

#define AIRA_NORM_NONE 0u
#define AIRA_NORM_RMS 1u
#define AIRA_NORM_LAYER 2u

typedef struct aira_block_style {
    uint32_t size;
    uint32_t norm; /* AIRA_NORM_x, applied to the branch's input (pre-norm) */
    double norm_eps;
    double residual_scale; /* y = x + residual_scale * primitive(norm(x)); 0 means 1 */
} aira_block_style;

typedef struct aira_blocks {
    uint32_t size, n_layers;
    void *core;
    /* y = x + scale * primitive_of_layer(norm(x)); parameters under "layers.<layer>." */
    aira_tensor *(*block)(const struct aira_blocks *, aira_graph *, uint32_t layer, aira_tensor *x,
                          const aira_block_style *);
    /* Redraws the initial value of every parameter with this role, declared so far or later, e.g. mad-lab's
       auto-encoder: ("linear.weight", "normal", 0.02). force != 0 ignores AIRA_PARAM_NO_REINIT. */
    void (*reinit)(const struct aira_blocks *, aira_graph *, const char *role, const char *init, double a, double b,
                   int32_t force);
    /* Sets the prefix of parameter names declared by the backbone itself ("" at first). */
    void (*scope)(const struct aira_blocks *, aira_graph *, const char *prefix);
    /* What ctx_tensor(name) gives to the primitives of later blocks: "mask", "positions"; NULL takes it away. */
    void (*place)(const struct aira_blocks *, aira_graph *, const char *name, aira_tensor *);
} aira_blocks;

typedef struct aira_model_in {
    uint32_t size, reserved;
    aira_tensor *tokens;  /* I32 [B,T] */
    aira_tensor *targets; /* I32 [B,T'], ignored where outside 0..vocab-1; NULL when only logits are wanted */
    int64_t vocab;        /* classes of the head */
} aira_model_in;

typedef struct aira_model_out {
    uint32_t size, reserved;
    aira_tensor *logits; /* [B,T',vocab] */
    aira_tensor *loss;   /* F32 scalar; NULL where targets is NULL */
} aira_model_out;

/* Flags of the table. BIDIRECTIONAL: every position may see every other; ctx_int("causal") is 0 for the blocks. */
#define AIRA_BACKBONE_BIDIRECTIONAL 1u

typedef struct aira_backbone {
    uint32_t size, flags; /* AIRA_BACKBONE_x */
    /* [any thread], pure */
    aira_status (*build)(void *self, const aira_ops *ops, aira_graph *graph, const aira_blocks *blocks,
                         const aira_model_in *in, aira_model_out *out);
    int64_t (*width)(void *self); /* C, the width of the residual stream */
} aira_backbone;

#endif
