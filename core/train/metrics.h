/* core/train/metrics.h - what predictions are worth. Pure. */
#ifndef AIRA_TRAIN_METRICS_H
#define AIRA_TRAIN_METRICS_H

#include <stdint.h>

/* mad-lab's accuracy of one batch: mean over classes of tp / (tp + fn), over the classes that occur among targets or
   predictions; a class that is only predicted counts 0. Positions whose target is outside 0 .. classes-1 are left out.
   counts: scratch, 3 * classes. Adds to *right and *answers. NAN where no position counts. */
double aira__macro_accuracy(const int32_t *prediction, const int32_t *target, int64_t n, int64_t classes,
                            int64_t *counts, int64_t *right, int64_t *answers);

#endif
