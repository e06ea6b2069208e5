/* core/train/initial.h - the initial weights of a model, without a device: what `aira train --steps 0 --save` writes.
 */
#ifndef AIRA_TRAIN_INITIAL_H
#define AIRA_TRAIN_INITIAL_H

#include "core/graph/model.h"

/* Writes what a training with this seed starts from, as F32, atomically, with the given metadata and step 0.
 *parameters (may be NULL) gets their number. Memory: the weights once. */
aira_status aira__initial_save(const aira__model_spec *, uint64_t seed, const char *path, const char *const *keys,
                               const char *const *values, int n, int64_t *parameters, aira_error *);

#endif
