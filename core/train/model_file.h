/* core/train/model_file.h - a model to be trained at any scale, as `aira train` and `aira forward` take it.
 *
 *     model: small
 *     architecture: "2mA 4M"
 *     tokens: {mA: {use: attention}, M: {use: mlp}}
 *     backbone: {use: mad_lm}
 *     dataset: {use: text, path: corpus.txt}
 *     recipe: {steps: 1000}
 *
 * For `aira forward` data set and recipe may be missing if `vocab` is given.
 */
#ifndef AIRA_TRAIN_MODEL_FILE_H
#define AIRA_TRAIN_MODEL_FILE_H

#include "core/train/task.h"

typedef struct aira__model_file {
    char *name, *architecture; /* run-length form */
    aira__task_token *tokens;
    int n_tokens, n_layers;
    aira__layer *layers;                /* n_layers; strings belong to the tokens */
    aira__instance *backbone, *dataset; /* data set NULL: none given */
    aira_dataset_info info;             /* of the data set; zero without one */
    aira__recipe recipe;                /* of preset madlab where none is given */
    int64_t vocab, classes;             /* of the data set, or as written */
    json_t *canonical;
} aira__model_file;

/* check_data false: a data set that cannot be read is no error; then info holds what its keys `vocab` and `length` say,
   0 where they say nothing. NULL with diagnostics. */
aira__model_file *aira__model_file_load(aira__registry *, const char *path, const char *const *overrides,
                                        int n_overrides, bool check_data, aira__diagnostics *);
void aira__model_file_destroy(aira__model_file *);

#endif
