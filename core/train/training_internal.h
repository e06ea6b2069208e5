/* core/train/training_internal.h - what training.c, checkpoint.c and loop.c share. */
#ifndef AIRA_TRAIN_TRAINING_INTERNAL_H
#define AIRA_TRAIN_TRAINING_INTERNAL_H

#include "core/engine/session.h"
#include "core/train/batches.h"
#include "core/train/training.h"

enum { AIRA__GRAPH_EVALUATION, AIRA__GRAPH_STEP, AIRA__GRAPH_PARTIAL, AIRA__N_GRAPHS };

struct aira__training {
    aira__training_options options;
    aira_graph *graphs[AIRA__N_GRAPHS]; /* PARTIAL NULL: none needed */
    aira__session *session;
    aira__batches batches;
    int64_t total, next, eval_every, eval_batch;
    double base_rate;
    uint64_t *indices;         /* of a batch */
    int32_t *inputs, *targets; /* of a batch, the larger of the two sizes */
    int32_t *prediction;       /* evaluation */
    float *nll;
    int64_t *counts;     /* 3 * classes */
    aira__scores search; /* of split search after `search_step` steps */
    int64_t search_step; /* -1: none yet */
    double elapsed;      /* seconds spent in steps, for recipes bounded in seconds */
};

/* Reads rows t->indices of a split into the batch buffers. */
aira_status aira__training_read_rows(aira__training *, uint32_t split, uint64_t seed, uint32_t n, aira_error *);
/* The scoring graph on the eval_batch rows of the batch buffers: prediction and nll. */
aira_status aira__training_forward(aira__training *, aira_error *);

#endif
