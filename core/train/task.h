/* core/train/task.h - a task: what candidates are made of, what they are trained on, and how they are scored.
 *
 *     task: quickstart
 *     candidate: {kind: compose, layers: 4, backbone: {use: mad_lm, width: 64}}
 *     tokens:
 *       mA: {use: attention, heads: 8, at_scale: {use: attention, kv_heads: 8}}
 *       M:  {use: mlp, at_scale: {use: swiglu}}
 *     proxies:
 *       - {dataset: {use: mad, task: memorization}, recipe: {steps: 100, batch: 32}, weight: 1}
 *       - {dataset: {use: mad, task: compression}, recipe: {steps: 100}, backbone: {use: mad_autoencoder}}
 *     limits: {seconds: 10m, memory: 8GiB, parameters: 2M, flops_per_token: 12M, cost_exponent: 1.5}
 *     scale: {worst: 0.1, best: 0.999, optimum: 1}     # see score_scale.h
 *
 * A candidate is an architecture (compose) or the source of a mechanism (design, task_design.h).
 *
 * A proxy is one training; the score of a candidate is the weighted mean of its proxies' scores. All proxies of a task
 * have one direction: accuracies, or losses.
 * The canonical task (docs/contract.md 4) has every default filled in; its SHA-256 is the task's identity.
 */
#ifndef AIRA_TRAIN_TASK_H
#define AIRA_TRAIN_TASK_H

#include "aira/dataset.h"
#include "core/graph/model.h"
#include "core/train/recipe.h"
#include "core/train/score_scale.h"

typedef struct aira__proxy {
    char *name;              /* for results and messages: "mad memorization" */
    aira__instance *dataset; /* described once: info */
    aira_dataset_info info;
    aira__recipe recipe;
    aira__instance *backbone; /* NULL: the candidate's */
    double weight;
} aira__proxy;

typedef struct aira__task_token {
    char *token;
    aira__instance *primitive;
    char *config;     /* canonical JSON of the primitive's configuration, without at_scale */
    json_t *at_scale; /* {"use": ..., keys as written}, or NULL */
} aira__task_token;

typedef struct aira__task {
    char *name;
    bool design;                    /* candidates are sources; then: */
    json_t *pattern, *configurable; /* as in the canonical form */
    int *pattern_layers, n_pattern; /* token indices, -1: the mechanism; cycled over the layers */
    int layers;                     /* of a candidate; 0: any number */
    aira__instance *backbone;
    aira__task_token *tokens; /* in the order of the file */
    int n_tokens;
    const char **token_names; /* n_tokens; as notation and agents want them */
    aira__proxy *proxies;
    int n_proxies;
    bool higher_is_better;
    const char *metric;       /* aira__metric_name of the first proxy */
    double limit_seconds;     /* per evaluation; 0: none */
    int64_t limit_memory;     /* bytes; 0: none */
    int64_t limit_parameters; /* of a model; 0: none */
    double limit_flops;       /* of a model, per token of input: as aira__training_flops_per_token counts; 0: none */
    double limit_exponent;    /* a mechanism's FLOPs and memory may grow with length to this power; 0: none */
    aira__score_scale scale;  /* no part of the canonical task; all NAN where loaded from it */
    json_t *canonical;
    char hash[65];
} aira__task;

/* root: the map with the keys above (all of it is taken). NULL with diagnostics. A file that a data set needs and does
   not find is an error here, unless check_data is false. */
aira__task *aira__task_load(aira__registry *, aira__node *root, bool check_data, aira__diagnostics *);
/* overrides: "proxies.0.recipe.steps=50" */
aira__task *aira__task_load_file(aira__registry *, const char *path, const char *const *overrides, int n_overrides,
                                 bool check_data, aira__diagnostics *);
/* From the canonical task, e.g. in a worker. */
aira_status aira__task_load_json(aira__registry *, const json_t *canonical, aira__task **, aira_error *);
void aira__task_destroy(aira__task *);
/* A task file (YAML) that reads as this canonical task, with its tokens in the order of the object; malloc'ed, NULL:
   out of memory. */
char *aira__task_text(const json_t *canonical);

/* The map of tokens, `at_scale` included; *tokens is malloc'ed, also on failure. false with diagnostics. */
bool aira__tokens_read(aira__registry *, aira__node *map, aira__task_token **tokens, int *n, aira__diagnostics *);
aira_status aira__tokens_read_json(aira__registry *, const json_t *map, aira__task_token **tokens, int *n,
                                   aira_error *);
json_t *aira__tokens_json(const aira__task_token *, int n);
void aira__tokens_release(aira__task_token *, int n);

/* Asks a data set what it holds. The sentence names the data set. */
aira_status aira__dataset_describe(aira__registry *, const aira__instance *, aira_dataset_info *, aira_error *);
const char *aira__metric_name(uint32_t metric); /* "accuracy", "accuracy_pooled", "loss", "bits_per_byte"; "?" */
bool aira__metric_is_loss(uint32_t metric);     /* lower is better */

/* Index of a token, -1 if the task has none of that name. */
int aira__task_token_find(const aira__task *, const char *token);
/* The layers of a candidate as the model builder wants them: n entries, malloc'ed; strings belong to the task. */
aira__layer *aira__task_layers(const aira__task *, const uint16_t *layers, int n);
/* Of a design: task->layers entries, the mechanism in its places. */
aira__layer *aira__task_design_layers(const aira__task *, const aira__layer *mechanism);

#endif
