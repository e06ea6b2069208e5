/* core/train/training_internal.h - what training.c, steps.c, checkpoint.c and loop.c share. */
#ifndef AIRA_TRAIN_TRAINING_INTERNAL_H
#define AIRA_TRAIN_TRAINING_INTERNAL_H

#include "core/engine/session.h"
#include "core/train/batches.h"
#include "core/train/training.h"

enum { AIRA__GRAPH_EVALUATION, AIRA__GRAPH_STEP, AIRA__MOST_GRAPHS = 4 };

struct aira__training {
    aira__training_options options;
    aira_graph *graphs[AIRA__MOST_GRAPHS];
    uint32_t n_graphs, partial, part; /* partial: a step whose batch is smaller; part: not the last run of a step;
                                         0: none needed */
    int64_t run_batch;                /* rows of one run: the batch, or its equal parts */
    aira__session *session;
    aira__footprint need; /* predicted */
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

/* steps.c: what steps and evaluations share. Rows of t->indices into the batch buffers; those from `first` on into the
   graph's inputs; the number that primitives draw by, where one does. */
aira_status aira__training_read_rows(aira__training *, uint32_t split, uint64_t seed, uint32_t n, aira_error *);
aira_status aira__training_set_batch(aira__training *, uint32_t graph, int64_t first, int64_t rows, aira_error *);
aira_status aira__training_set_draw(aira__training *, uint32_t graph, int64_t draw, aira_error *);
/* training.c: the scoring graph on the eval_batch rows of the batch buffers: prediction and nll. */
aira_status aira__training_forward(aira__training *, aira_error *);

#endif
