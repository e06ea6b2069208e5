/* core/train/batches.c - see batches.h */
#include "core/train/batches.h"

#include <stdlib.h>

#include "aira/rng.h"

aira_status aira__batches_start(aira__batches *b, int64_t rows, int64_t batch, uint64_t seed, aira_error *error) {
    *b = (aira__batches){rows, batch, seed, NULL, -1, false};
    if (rows == 0) return AIRA_OK;
    if (rows > UINT32_MAX) {
        return aira__fail(error, AIRA_E_FAILED,
                          "a finite data set of %lld rows is too large to be shuffled; at most %u", (long long)rows,
                          UINT32_MAX);
    }
    if (batch > rows) b->batch = rows;
    b->order = malloc((size_t)rows * sizeof *b->order);
    return b->order != NULL
               ? AIRA_OK
               : aira__fail(error, AIRA_E_MEMORY, "out of memory for the order of %lld rows", (long long)rows);
}

void aira__batches_release(aira__batches *b) {
    free(b->order);
    b->order = NULL;
}

int64_t aira__batches_per_epoch(const aira__batches *b) {
    return b->rows > 0 ? (b->rows + b->batch - 1) / b->batch : 0;
}

int64_t aira__batches_partial(const aira__batches *b) { return b->rows > 0 ? b->rows % b->batch : 0; }

/* Fisher-Yates */
static void shuffle(aira__batches *b, int64_t epoch) {
    aira_rng rng = aira_rng_make(aira_key(b->seed, "order"), (uint64_t)epoch);
    for (int64_t k = 0; k < b->rows; k++) b->order[k] = (uint32_t)k;
    for (int64_t k = b->rows - 1; k > 0 && !b->in_order; k--) {
        uint32_t other = aira_rng_below(&rng, (uint32_t)(k + 1)), held = b->order[k];
        b->order[k] = b->order[other];
        b->order[other] = held;
    }
    b->epoch = epoch;
}

int64_t aira__batches_rows(aira__batches *b, int64_t step, uint64_t *indices) {
    if (b->rows == 0) {
        for (int64_t k = 0; k < b->batch; k++) indices[k] = (uint64_t)(step * b->batch + k);
        return b->batch;
    }
    int64_t per_epoch = aira__batches_per_epoch(b), first = step % per_epoch * b->batch, n = b->rows - first;
    if (b->epoch != step / per_epoch) shuffle(b, step / per_epoch);
    if (n > b->batch) n = b->batch;
    for (int64_t k = 0; k < n; k++) indices[k] = b->order[first + k];
    return n;
}
