/* core/train/recipe.h - how a model is trained: optimizer, schedule, batch, length, evaluation, seeds.
 *
 *     recipe: {preset: madlab, optimizer: {use: adamw, lr: 1e-3}, steps: 400, schedule: {kind: cosine, warmup: 20}}
 *
 * Exactly one of steps, epochs, tokens, seconds bounds the training. A preset fills defaults; keys that are written
 * win. madlab  AdamW 5e-4 (0.9, 0.999, 1e-8), no weight decay, constant rate, batch 128, 200 epochs, stop at 0.999
 *   paper   the same with betas 0.9 and 0.98 and a cosine to 1e-6
 */
#ifndef AIRA_TRAIN_RECIPE_H
#define AIRA_TRAIN_RECIPE_H

#include "core/plugin/registry.h"

typedef enum { AIRA_SCHEDULE_CONSTANT, AIRA_SCHEDULE_COSINE, AIRA_SCHEDULE_TRAPEZOID } aira__schedule_kind;

typedef struct aira__schedule {
    int32_t kind;   /* aira__schedule_kind */
    int64_t warmup; /* steps of linear rise from lr / warmup */
    double final;   /* learning rate at the end (cosine, trapezoid); absolute */
    double decay;   /* trapezoid: share of the training spent falling to final */
} aira__schedule;

typedef struct aira__recipe {
    aira__instance *optimizer; /* owned */
    aira__schedule schedule;
    int64_t batch;                 /* sequences per step; 0: the data set's suggestion */
    int64_t steps, epochs, tokens; /* one of these or seconds is not 0 */
    double seconds;
    double clip;           /* largest norm of the whole gradient; 0: no clipping */
    uint32_t precision;    /* AIRA_F32, AIRA_BF16, AIRA_F64: type of activations */
    int64_t eval_every;    /* steps; 0: each epoch of a finite data set but 100 steps at least, else at the end */
    int64_t eval_rows;     /* rows of a split that are evaluated; 0: all of a finite one, 1,280 of an endless one */
    double early_stop;     /* stop when the search score is at least (accuracy) or at most (losses) this; 0: never */
    int64_t accumulate;    /* equal parts of a batch that run one after another, their gradients added; at least 1 */
    bool recompute;        /* a block's backward computes the block's forward again */
    int64_t metrics_every; /* steps between readings of loss and gradient norm; at least 1 */
    int64_t log_every;     /* steps between points of the curve; 0: about 200 points */
    json_t *canonical;     /* every key that was set, and defaults; owned */
} aira__recipe;

/* map NULL: all defaults of the preset "madlab". false with diagnostics. Release in any case. */
bool aira__recipe_read(aira__registry *, aira__node *map, aira__recipe *, aira__diagnostics *);
aira_status aira__recipe_read_json(aira__registry *, const json_t *canonical, aira__recipe *, aira_error *);
void aira__recipe_release(aira__recipe *);

/* Factor times base: the learning rate at a step (0-based) of total, or, for recipes bounded in seconds, at the
   fraction `progress` of the time (then total is 0 and step only counts the warm-up). */
double aira__schedule_rate(const aira__schedule *, double base, int64_t step, int64_t total, double progress);

/* Steps of the training for a data set with this many training rows (0: endless); 0: bounded in seconds. */
int64_t aira__recipe_steps(const aira__recipe *, int64_t batch, int64_t rows, int64_t length);

#endif
