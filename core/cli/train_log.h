/* core/cli/train_log.h - the log of `aira train`: one JSON object per line and step (docs/contract.md 3). */
#ifndef AIRA_CLI_TRAIN_LOG_H
#define AIRA_CLI_TRAIN_LOG_H

#include <stdio.h>

#include "core/train/training.h"

/* How fast a training is, against what it could be. */
typedef struct aira__train_pace {
    double flops_per_token; /* useful ones: aira__training_flops_per_token */
    double peak_tflops;     /* 0: unknown */
    int64_t steps;          /* since the last line */
    double tokens, seconds;
} aira__train_pace;

double aira__train_mfu(const aira__train_pace *); /* NAN where the peak is unknown */

/* Opens the log to go on before step `next`: lines of later steps, which a killed run wrote after its last checkpoint,
   and a torn last line are dropped. next 0: an empty log. */
aira_status aira__train_log_open(const char *path, int64_t next, FILE **, aira_error *);
aira_status aira__train_log_write(FILE *, const char *path, const aira__step_result *, const aira__train_pace *,
                                  aira_error *);

#endif
