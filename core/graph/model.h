/* core/graph/model.h - a model: a backbone around a sequence of primitives, built into a graph. */
#ifndef AIRA_GRAPH_MODEL_H
#define AIRA_GRAPH_MODEL_H

#include "aira/primitive.h"
#include "core/graph/graph.h"

typedef struct aira__layer {
    const char *token;     /* "mA" */
    const char *primitive; /* plugin id */
    const char *config;    /* canonical JSON */
    const aira_primitive *table;
    void *self;
} aira__layer;

typedef struct aira__model_spec {
    const aira_backbone *backbone;
    void *backbone_self;
    const aira__layer *layers;
    uint32_t n_layers;
    int64_t vocab;   /* input ids */
    int64_t classes; /* of the head; 0: vocab */
    int64_t batch, input_length, target_length;
    uint32_t compute_dtype;
    bool training, causal; /* causal: unless the backbone is bidirectional */
    bool with_loss;        /* adds input "targets" and output "loss" */
} aira__model_spec;

/* Adds inputs "tokens" I32 [B,T] (and "targets" I32 [B,T']), the blocks, and outputs "logits", "loss" (task loss plus
   weighted auxiliary losses), "task_loss", "aux.<name>", "metric.<name>". */
aira_graph *aira__model_build(const aira__model_spec *, aira_error *);

/* What a build function can learn of the place where it stands. */
typedef struct aira__primitive_place {
    int64_t batch, length, width; /* of x [B,T,C] */
    uint32_t compute_dtype;
    bool causal, training;
    bool masked;     /* offers "mask" [B,T]: input "mask" in the compute type */
    bool positioned; /* offers "positions" [B,T]: input "positions" I32 */
    int64_t layer, depth;
    int64_t vocab, classes, target_length; /* 0: the place does not say */
} aira__primitive_place;
/* One primitive alone at a place: input "x", output "y". */
aira_graph *aira__primitive_build_at(const aira__layer *, const aira__primitive_place *, aira_error *);

/* One primitive alone: input "x" [B,T,C] in the compute type, output "y". */
aira_graph *aira__primitive_build(const aira__layer *, int64_t B, int64_t T, int64_t C, uint32_t compute_dtype,
                                  bool causal, aira_error *);
#endif
