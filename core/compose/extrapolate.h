/* core/compose/extrapolate.h - a small architecture made large: by stretching or stacking it until it has the body of
 * a Llama 3.2 of the wanted size.
 *
 * Units. m and M are parameters of the primitives, counted at the target's width without norms, embedding and head: m
 * of the small sequence, M of Llama (its layers times attention + SwiGLU). With s = M/m, an exact fraction:
 *   stretch  every run of h equal layers becomes ceil(s h);
 *   stack    floor(s) whole copies, then the remainder r = M - floor(s) m as a stretched tail, runs of ceil(h r / m).
 * Both give the same number of each token. Rounding up makes the result a little larger than Llama. An architecture
 * that already has as many layers as Llama has (two per Llama layer) keeps them: only the width changes.
 *
 * Costs come from tracing one layer of each token's `at_scale` primitive at the target's width, so they hold for any
 * plugin. flops_per_token is of training: three times the forward FLOPs of the primitives (2 per multiply-add, causal
 * attention at its useful half) at a context of AIRA__SCALE_CONTEXT tokens, embedding and head not included; for
 * attention and SwiGLU this is 6 N + 6 d (T + 1) per attention layer. kv_bytes_per_token is of a bf16 cache.
 * parameters_active is what the primitives say that one token meets (aira/ext/active.h); one that says nothing is
 * dense.
 */
#ifndef AIRA_COMPOSE_EXTRAPOLATE_H
#define AIRA_COMPOSE_EXTRAPOLATE_H

#include <jansson.h>

#include "core/base/error.h"
#include "core/plugin/registry.h"

#define AIRA__SCALE_CONTEXT 8192 /* tokens of a training sequence */

typedef struct aira__size {
    const char *name; /* "350M", "1B", "3B", "8B" */
    int64_t width, hidden, heads, kv_heads, llama_layers, vocab;
    double learning_rate; /* starting point for a recipe */
} aira__size;
/* AIRA_E_CONFIG with the known sizes. */
aira_status aira__size_find(const char *name, const aira__size **, aira_error *);
const aira__size *aira__size_list(int *n);

typedef enum { AIRA__STRETCH, AIRA__STACK } aira__scale_rule;
aira_status aira__scale_rule_find(const char *name, aira__scale_rule *, aira_error *); /* "stretch", "stack" */

/* The rule alone. cost[token] > 0: parameters of one layer; target: M. Writes *n_out <= max layers. */
aira_status aira__scale_layers(const uint16_t *layers, int n, const int64_t *cost, int64_t target, aira__scale_rule,
                               uint16_t *out, int max, int *n_out, aira_error *);

typedef struct aira__extrapolation {
    json_t *result; /* E of docs/contract.md 2; "model" is null until the caller has put the file somewhere */
    char *model;    /* the model as YAML, which `aira train` takes */
} aira__extrapolation;
/* tokens: {"mA": {"use": ..., "at_scale": {"use": ..., keys as the user gave them}}}, as in the canonical task; NULL:
   mA attention, M swiglu, Mb mamba2. Keys of a size (heads, kv_heads, hidden) and Llama's habits (bias, rope_base) are
   filled in where the primitive has them and the user did not say. A token without at_scale: AIRA_E_CONFIG. */
aira_status aira__extrapolate(aira__registry *, const json_t *tokens, const char *architecture, const char *to,
                              const char *by, aira__extrapolation *out, aira_error *);
void aira__extrapolation_release(aira__extrapolation *);

#endif
