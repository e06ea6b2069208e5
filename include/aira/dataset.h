/* aira/dataset.h - samples as a pure function of (split, seed, index).
 *
 * The host owns order, shuffling, batching, metrics and the clock. Splits are disjoint draws: TRAIN trains, SEARCH
 * steers a search, SELECTION chooses what is submitted, TEST is opened once, at the end.
 */
#ifndef AIRA_DATASET_H
#define AIRA_DATASET_H

#include "plugin.h"

#define AIRA_SPLIT_TRAIN 0u
#define AIRA_SPLIT_SEARCH 1u
#define AIRA_SPLIT_SELECTION 2u
#define AIRA_SPLIT_TEST 3u
#define AIRA_N_SPLITS 4u

#define AIRA_IGNORE (-100) /* a target that counts neither in loss nor in metric */

/* Metrics, computed by the host from the model's output */
#define AIRA_METRIC_ACCURACY                                                                                     \
    1u                      /* mad-lab: macro over classes per batch of 128, mean over batches; pooled beside it \
                             */
#define AIRA_METRIC_LOSS 2u /* mean nats per target; lower is better */
#define AIRA_METRIC_BITS_PER_BYTE 3u   /* sum nats / (ln 2 * sum bytes of targets); lower is better */
#define AIRA_METRIC_ACCURACY_POOLED 4u /* right answers over all answers, in batches of any size */

typedef struct aira_dataset_info {
    uint32_t size, metric;
    int64_t vocab;                 /* input ids are 0 .. vocab-1 */
    int64_t classes;               /* target ids are 0 .. classes-1 or AIRA_IGNORE */
    int64_t input_length;          /* T */
    int64_t target_length;         /* T' */
    int64_t n_rows[AIRA_N_SPLITS]; /* rows of a split; 0: endless */
    int64_t batch;                 /* suggested batch size; evaluation batches of accuracy are always 128 */
    double best, worst;            /* score of a perfect and of a guessing model, NAN where unknown */
} aira_dataset_info;

/* Flags of the table. IN_ORDER: training reads the rows as they stand, epoch after epoch; without it they are shuffled
   in each epoch. */
#define AIRA_DATASET_IN_ORDER 1u

typedef struct aira_dataset {
    uint32_t size, flags; /* AIRA_DATASET_x */
    /* Checks files and fills info (info->size is set by the host). [one call per self] */
    aira_status (*describe)(void *self, aira_dataset_info *info);
    /* Writes n rows: inputs I32 [n, input_length], targets I32 [n, target_length]. Pure in (split, seed, indices).
       A finite split's indices are below n_rows. [any thread] */
    aira_status (*rows)(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs,
                        int32_t *targets);
    /* Bytes of text that a target id stands for (0: not counted). NULL: 1 for every id. [any thread] */
    int64_t (*token_bytes)(void *self, int32_t token);
} aira_dataset;

#endif
