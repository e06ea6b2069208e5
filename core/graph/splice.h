/* core/graph/splice.h - a primitive that was built elsewhere, put into the graph at hand as if it had been built there.
 *
 * The part is a graph of its own: inputs "x", "ctx.NAME" for tensors of its place and perhaps "draw", parameters named
 * relative to the place, outputs "y", "aux.NAME" and "metric.NAME". Every operation is emitted anew, so what does not
 * fit is refused by the same rules that hold for a build in this process, and the result is the same, byte for byte.
 *
 * A part that was built for bf16 tells apart what has the compute type and what has the storage type, and so fits a
 * graph of any compute type: a build that is only ever shown bf16 cannot behave otherwise where it is checked in fp64.
 *
 * While it builds, a graph remembers what its place was asked for (a part fits another place that gives the same
 * answers) and how random values are called (their keys hold the name of the place, which differs).
 */
#ifndef AIRA_GRAPH_SPLICE_H
#define AIRA_GRAPH_SPLICE_H

#include "core/graph/graph.h"

typedef struct aira__asked {
    const char *name;
    bool tensor; /* by ctx_tensor, else ctx_int */
    bool known;  /* the place had an answer */
    int64_t value;
} aira__asked;

typedef struct aira__drawn {
    uint32_t op; /* index of the RANDOM operation */
    const char *name;
} aira__drawn;

const aira__asked *aira__graph_asked(const aira_graph *, uint32_t *n);
const aira__drawn *aira__graph_drawn(const aira_graph *, uint32_t *n);
/* What the place at hand would answer: fills known and value; returns the tensor, NULL if there is none. */
aira_tensor *aira__graph_place(const aira_graph *, aira__asked *);
/* The k-th value that the place offers; false beyond the last. tensor: NULL for an integer. */
bool aira__graph_offered(const aira_graph *, uint32_t k, const char **name, int64_t *value, aira_tensor **tensor);

void aira__graph_remember_asked(aira_graph *, const aira__asked *); /* once per name; copies it */
void aira__graph_remember_drawn(aira_graph *, uint32_t op, const char *name);

typedef struct aira__part {
    const aira_graph *graph; /* of the same compute type, or of bf16, which fits all; read by aira__graph_read */
    const aira__drawn *drawn;
    uint32_t n_drawn;
    const char *const *aux; /* names of auxiliary losses, in order */
    const double *weights;
    uint32_t n_aux;
} aira__part;

/* May this part be spliced at all? Only what a build function can make: parameters, no state, no assignment, no
   derivative, initial values that cost at most some 2^28 evaluations, plain names, finite numbers. Never believes the
   part. A sentence if not. */
aira_status aira__part_check(const aira__part *, const aira_shape *x, aira_error *);

/* y, or NULL after a sticky error. The part must have been checked. */
aira_tensor *aira__graph_splice(aira_graph *, const aira__part *, aira_tensor *x);

#endif
