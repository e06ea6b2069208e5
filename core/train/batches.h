/* core/train/batches.h - which rows a training step reads: a pure function of (data set, seed, step).
 *
 * A finite split is read in epochs, each in its own order, keyed by (seed, epoch), unless the data set asks for the
 * order of its rows; the last batch of an epoch may be smaller. An endless split is read at running indices.
 */
#ifndef AIRA_TRAIN_BATCHES_H
#define AIRA_TRAIN_BATCHES_H

#include <stdbool.h>

#include "core/base/error.h"

typedef struct aira__batches {
    int64_t rows, batch; /* rows 0: endless */
    uint64_t seed;
    uint32_t *order; /* of the epoch below; malloc'ed */
    int64_t epoch;   /* -1: none yet */
    bool in_order;   /* set after the start: rows as they stand, no shuffling */
} aira__batches;

/* A batch of more than all rows is cut to the rows. AIRA_E_MEMORY, or AIRA_E_FAILED for more than 2^32 - 1 rows. */
aira_status aira__batches_start(aira__batches *, int64_t rows, int64_t batch, uint64_t seed, aira_error *);
void aira__batches_release(aira__batches *);
int64_t aira__batches_per_epoch(const aira__batches *); /* 0: endless */
int64_t aira__batches_partial(const aira__batches *);   /* rows of an epoch's last batch if it is smaller, else 0 */
/* Writes the row indices of a step (0-based) and returns their number. */
int64_t aira__batches_rows(aira__batches *, int64_t step, uint64_t *indices);

#endif
