/* core/train/probe.c - do the rows of a batch see each other in the very graph that gives the scores? See training.h.
 *
 * A candidate that did could tell from the other rows what its own answer is likely to be. The host computes every row
 * of a batch on its own and in a fixed order, so what does not depend on the replaced row stays the same to the bit.
 */
#include <stdlib.h>
#include <string.h>

#include "core/train/training_internal.h"

/* Fills the batch with the first rows of the search split, repeated where there are fewer. Every answer counts: where
   the data set asks for none, any class will do to see the logits move. */
static aira_status fill(aira__training *t, int64_t rows, aira_error *error) {
    const aira_dataset_info *info = t->options.info;
    int64_t answers = t->eval_batch * info->target_length;
    for (int64_t k = 0; k < t->eval_batch; k++) t->indices[k] = (uint64_t)(k % rows);
    aira_status status = aira__training_read_rows(t, AIRA_SPLIT_SEARCH, 0, (uint32_t)t->eval_batch, error);
    for (int64_t k = 0; k < answers && status == AIRA_OK; k++) {
        if (t->targets[k] < 0 || t->targets[k] >= info->classes) t->targets[k] = (int32_t)(k % info->classes);
    }
    return status;
}

/* The first row gets what another one reads, backwards, so that it changes even where all rows are alike. */
static void replace_first(aira__training *t) {
    int64_t n = t->options.info->input_length, other = t->eval_batch - 1;
    for (int64_t k = 0; k < n; k++) {
        int32_t token = t->inputs[other * n + (n - 1 - k)];
        t->inputs[k] = token == t->inputs[k] ? (int32_t)((token + 1) % t->options.info->vocab) : token;
    }
}

aira_status aira__training_probe(aira__training *t, bool *leak, int64_t *row, aira_error *error) {
    const aira_dataset_info *info = t->options.info;
    int64_t rows = info->n_rows[AIRA_SPLIT_SEARCH], n = t->eval_batch * info->target_length;
    *leak = false;
    if (rows <= 0 || rows > t->eval_batch) rows = t->eval_batch;
    if (t->eval_batch < 2 || rows < 2) return AIRA_OK;
    float *before = malloc((size_t)n * sizeof *before);
    if (before == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a probe");
    aira_status status = fill(t, rows, error);
    if (status == AIRA_OK) status = aira__training_forward(t, error);
    if (status == AIRA_OK) {
        memcpy(before, t->nll, (size_t)n * sizeof *before);
        replace_first(t);
        status = aira__training_forward(t, error);
    }
    for (int64_t k = info->target_length; k < n && status == AIRA_OK && !*leak; k++) {
        *leak = memcmp(&before[k], &t->nll[k], sizeof *before) != 0;
        *row = k / info->target_length;
    }
    free(before);
    return status;
}
