/* core/check/mechanism.h - the checks that a mechanism passes before it is trained, and again with its trained weights
 * before its score is believed.
 *
 * They are those of `aira check` (docs/conformance.md), with what a task asks for: causality only where the task is
 * causal, its width and length, its limits on parameters and FLOPs. Nothing here runs foreign code in this process: a
 * source's build was traced elsewhere (core/sandbox/foreign.h).
 */
#ifndef AIRA_CHECK_MECHANISM_H
#define AIRA_CHECK_MECHANISM_H

#include "core/check/check.h"

struct aira__mechanism_options {
    const aira__layer *layer; /* token, id, configuration, table and self of the primitive */
    int64_t width;            /* C of the task's model; 0: the first usual one that is accepted */
    int64_t length;           /* T of the task, for the counts; 0: 128 */
    bool causal;              /* the place is causal: outputs must not depend on later positions */
    int layers;               /* of it that the model has, for the limits; 0: 1 */
    int64_t max_parameters;   /* of the model, so of all those layers at least; 0: no limit */
    double max_flops;         /* of the model, per token at `length`: three times its forward pass; 0: no limit */
    double max_exponent;      /* FLOPs and memory of a layer may grow with T to this power; 0: no limit */
    /* The places that the mechanism has in the task's models, each batch and length and layer, in training and out of
       it: the check "in place" looks for leaks in exactly these graphs, so that a build that behaves in the other
       checks and elsewhere does not is found. That takes two or three forward passes in fp32 for every distinct graph,
       and only where bits move that should not, as many in fp64 (places.c). Places whose graphs are equal are measured
       once; their compute type is ignored. NULL: not checked. */
    const aira__primitive_place *places;
    int n_places;
    /* Trained values of a parameter, by its name within the layer ("qkv.weight"), as n doubles; false: not known, and
       the parameter is redrawn. NULL: all parameters are redrawn non-zero. With weights only what depends on values is
       checked: causality, batch, repeatable, reach (of x). */
    bool (*weights)(void *context, const char *name, double *values, int64_t n);
    void *context;
};

/* One line per check: shapes, pure, gradient, causality, batch, repeatable, reach, bf16, cost, limits, in place.
   report->passed: nothing failed. An error only where nothing could be checked (no memory, no device cpu). */
aira_status aira__check_mechanism(aira__registry *, const aira__mechanism_options *, aira__check_report *,
                                  aira_error *);
/* The first failed line as one sentence for the agent ("causality: output 3 moves when ..."), "" if all passed. */
void aira__check_message(const aira__check_report *, char *text, size_t size);

#endif
