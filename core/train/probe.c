/* core/train/probe.c - do the rows of a batch see each other in the very graph that gives the scores? See training.h.
 *
 * A candidate that did could tell from the other rows what its own answer is likely to be. Where every row of a batch
 * is computed on its own and in a fixed order, what does not depend on the replaced row stays the same to the bit.
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

static aira_status copy_weights(const aira_graph *graph, aira__session *from, aira__session *to, aira_error *error) {
    aira_status status = AIRA_OK;
    for (uint32_t k = 0; k < graph->n_variables && status == AIRA_OK; k++) {
        const aira__variable *v = graph->variables[k];
        uint64_t bytes = (uint64_t)aira__shape_elements(&v->shape) * aira__dtype_bytes(v->dtype);
        void *values = malloc(bytes + 1);
        if (values == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a probe");
        status = aira__session_get_variable(from, v->name, 0, values, bytes, error);
        if (status == AIRA_OK) status = aira__session_set_variable(to, v->name, 0, values, bytes, error);
        free(values);
    }
    return status;
}

/* The scoring graph on another device, with the present weights. */
static aira_status open_elsewhere(aira__training *t, const aira_device *device, void *self, aira__session **out,
                                  aira_error *error) {
    aira_graph *graph = t->graphs[AIRA__GRAPH_EVALUATION];
    const aira__session_options options = {.seed = t->options.seed};
    *out = NULL;
    aira_status status = aira__session_create(device, self, t->options.host, &graph, 1, &options, out, error);
    if (status == AIRA_OK) status = copy_weights(graph, t->session, *out, error);
    if (status == AIRA_OK) return AIRA_OK;
    aira__session_destroy(*out);
    *out = NULL;
    return status;
}

static aira_status replace_and_compare(aira__training *t, int64_t rows, bool *leak, int64_t *row, aira_error *error) {
    const aira_dataset_info *info = t->options.info;
    int64_t n = t->eval_batch * info->target_length;
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

aira_status aira__training_probe(aira__training *t, const aira_device *reference, void *reference_self, bool *leak,
                                 int64_t *row, aira_error *error) {
    int64_t rows = t->options.info->n_rows[AIRA_SPLIT_SEARCH];
    aira__session *own = t->session, *elsewhere = NULL;
    *leak = false;
    if (rows <= 0 || rows > t->eval_batch) rows = t->eval_batch;
    if (t->eval_batch < 2 || rows < 2) return AIRA_OK;
    if (reference == NULL) return replace_and_compare(t, rows, leak, row, error);
    aira_status status = open_elsewhere(t, reference, reference_self, &elsewhere, error);
    if (status != AIRA_OK) return status;
    t->session = elsewhere;
    status = replace_and_compare(t, rows, leak, row, error);
    t->session = own;
    aira__session_destroy(elsewhere);
    return status;
}
