/* core/train/training.h - one training of one model: steps, evaluations, checkpoints.
 *
 * A training is a session with up to four graphs (an evaluation; a step; a step for the last partial batch of an epoch;
 * a part of a step that others follow) plus the order of the data. Everything follows from recipe, seed and step
 * number, so that a training resumed from a checkpoint continues bit for bit, on any number of threads.
 */
#ifndef AIRA_TRAIN_TRAINING_H
#define AIRA_TRAIN_TRAINING_H

#include "aira/dataset.h"
#include "aira/device.h"
#include "aira/ext/queue.h"
#include "core/engine/session.h"
#include "core/graph/model.h"
#include "core/train/recipe.h"

typedef struct aira__point {
    int64_t step;
    double loss, score; /* score NAN: not evaluated at this step; loss of the step's batch before the update */
} aira__point;

typedef struct aira__curve {
    aira__point *points; /* malloc'ed */
    int n, capacity;
} aira__curve;
bool aira__curve_add(aira__curve *, int64_t step, double loss, double score); /* false: out of memory */
json_t *aira__curve_json(const aira__curve *);                                /* [[step, loss, score or null]] */

typedef struct aira__scores {
    double score;           /* in the data set's metric */
    double accuracy;        /* macro over classes per batch of 128, mean over batches weighted by rows */
    double accuracy_pooled; /* right answers over all answers */
    double loss;            /* nats per counted target */
    double bits_per_byte;   /* NAN where no target stands for bytes */
    int64_t rows, targets;
} aira__scores;

typedef struct aira__step_result {
    int64_t step;   /* 0-based */
    int64_t tokens; /* read by it */
    bool measured;  /* else loss and grad_norm were not asked for: NAN (recipe.metrics_every) */
    double loss, lr, grad_norm, seconds;
} aira__step_result;

typedef struct aira__training aira__training;

typedef struct aira__training_options {
    const aira_device *device;
    void *device_self;
    const aira_device_queue *queue; /* of the device, whose self is a queue; NULL: it has none */
    const aira_host *host;
    const aira_backbone *backbone;
    void *backbone_self;
    const aira__layer *layers;
    uint32_t n_layers;
    aira__instance *dataset;
    const aira_dataset_info *info;
    const aira__recipe *recipe;
    uint64_t seed;
    bool causal;
    uint64_t memory_limit; /* predicted bytes above this are refused; 0: the device's memory */
    const char *identity;  /* canonical JSON of model and recipe, stored in checkpoints and compared on resume */
} aira__training_options;

/* Rows of the graph that takes a step (of a part of it, where the recipe accumulates), or of the one that scores. */
int64_t aira__training_rows(const aira__recipe *, const aira_dataset_info *, bool scored);

/* Builds, predicts, compiles, initialises. Everything in options outlives the training. */
aira_status aira__training_create(const aira__training_options *, aira__training **, aira_error *);
void aira__training_destroy(aira__training *);

int64_t aira__training_step_count(const aira__training *); /* of the whole training; 0: bounded in seconds */
int64_t aira__training_batch(const aira__training *);      /* rows of a full step */
int64_t aira__training_parameters(const aira__training *);
double aira__training_flops_per_step(const aira__training *); /* without what recomputation repeats */
/* Three times the forward's contractions per input token, attention at the pairs that are visible: what a step cannot
   do without, in whatever way it is computed. */
double aira__training_flops_per_token(const aira__training *);
void aira__training_memory(const aira__training *, aira__footprint *); /* predicted before anything was allocated */
int64_t aira__training_next_step(const aira__training *);
int64_t aira__training_eval_every(const aira__training *); /* 0: only at the end */

/* One step. AIRA_E_FAILED with *nan set when the loss is not finite (result is filled, parameters are spoilt). */
aira_status aira__training_step(aira__training *, double progress, aira__step_result *, bool *nan, aira_error *);
/* n steps, at most AIRA__STEPS_AHEAD, handed to the device without waiting between them where it has queues; the same
   bits as n single ones. Of those that are not measured nothing comes back. results: n; *done: those that are filled,
   the one whose loss is not finite included. */
enum { AIRA__STEPS_AHEAD = 32 };
aira_status aira__training_steps(aira__training *, int n, double progress, aira__step_result *results, int *done,
                                 bool *nan, aira_error *);
aira_status aira__training_evaluate(aira__training *, uint32_t split, aira__scores *, aira_error *);

/* A parameter's present values by its name in the model ("layers.3.X.qkv.weight"), as n doubles; false: there is none
   of that name and size. */
bool aira__training_parameter(aira__training *, const char *name, double *values, int64_t n);

/* The scoring graph itself, with the present weights, on rows of the search split: one row is replaced by another, and
   nothing may change for the others, to the bit. *leak: it did, *row is one that moved. One row alone, or a split that
   is smaller than a batch of two: *leak false. Kernels that put several rows into one calculation share its rounding
   among them (a GPU's long convolution transforms two real sequences as one complex one), so a leak that is seen on the
   training's own device may be such a rounding. Therefore `reference`, if not NULL, a device whose kernels compute
   every row on its own (cpu), runs the graph in the place of the training's own. */
aira_status aira__training_probe(aira__training *, const aira_device *reference, void *reference_self, bool *leak,
                                 int64_t *row, aira_error *);

/* Names and order of weights as docs/contract.md 3; written atomically. keys/values: further metadata. */
aira_status aira__training_save_weights(aira__training *, const char *path, const char *const *keys,
                                        const char *const *values, int n, aira_error *);
aira_status aira__training_load_weights(aira__training *, const char *path, aira_error *);
/* Weights, optimizer state, step: what a training continues from. */
aira_status aira__training_save_checkpoint(aira__training *, const char *path, aira_error *);
aira_status aira__training_load_checkpoint(aira__training *, const char *path, aira_error *);

/* On a device with queues, steps that are not measured are told together with the next one that is, or 32 at a time. */
typedef struct aira__run_hooks {                                          /* all may be NULL */
    int (*step)(void *context, const aira__step_result *, int64_t steps); /* non-zero stops: AIRA_E_CANCELLED */
    void *context;
    double deadline; /* aira__now() when time is up: AIRA_E_TIMEOUT; 0: none */
    bool ahead;      /* step() may be called some steps late, about a quarter of a second, if that is quicker */
} aira__run_hooks;

/* The whole loop from the next step on: steps, curve, evaluations on split search, early stop. steps_left 0: to the
   recipe's end. */
aira_status aira__training_run(aira__training *, int64_t steps_left, const aira__run_hooks *, aira__curve *, bool *nan,
                               aira_error *);

#endif
