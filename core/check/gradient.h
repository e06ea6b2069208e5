/* core/check/gradient.h - gradients against finite differences, in fp64. */
#ifndef AIRA_CHECK_GRADIENT_H
#define AIRA_CHECK_GRADIENT_H

#include "core/check/trial.h"

typedef struct aira__gradient_options {
    const char *output; /* what is differentiated, weighted with random numbers; NULL: "y" */
    int64_t range;      /* I32 inputs are drawn below this */
    double around;      /* added to drawn float inputs ... */
    double scale;       /* ... after scaling; 0 means 1 */
    uint64_t seed;
    bool around_initial; /* see aira__trial_redraw */
} aira__gradient_options;

typedef struct aira__gradient_result {
    double
        error; /* largest relative error over all parameters and float inputs; INFINITY where a value is not finite */
    char where[128]; /* which one has it */
    uint32_t n;      /* how many were differentiated */
} aira__gradient_result;

/* Appends sum(output * w) + auxiliary losses, w a new input "check.weight", as output "check.sum", and its gradient by
   every trained parameter and every float input as outputs "check.grad.NAME"; absent where the sum does not depend on
   NAME. */
aira_status aira__gradient_append(aira_graph *, const char *output, aira_error *);

/* graph: fp64, taken. Differentiates sum(output * w), w random, by every trained parameter and every float input,
   along a random direction each, and compares with central differences. The error of one tensor is
   |difference - gradient . direction| / max(both, |gradient|, 1e-6 (1 + |sum|)); where it exceeds 1e-7 two further
   directions are tried and the least counts, because a direction may cross a kink (relu, max) but a wrong gradient
   agrees with none. */
aira_status aira__gradient_check(const aira__lab *, aira_graph *, const aira__gradient_options *,
                                 aira__gradient_result *, aira_error *);

#endif
