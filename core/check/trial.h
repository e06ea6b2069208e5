/* core/check/trial.h - one graph on the CPU, spoken to in doubles: what conformance checks and gradient tests run on.
 *
 * A lab is a device to work on; a trial is a graph made runnable on it. Values go in and out as doubles whatever the
 * element type, so that a check reads the same in fp64, fp32 and bf16.
 */
#ifndef AIRA_CHECK_TRIAL_H
#define AIRA_CHECK_TRIAL_H

#include "core/engine/session.h"
#include "core/plugin/registry.h"

typedef struct aira__lab {
    aira__registry *registry; /* not owned */
    aira__instance *device;   /* owned; NULL where self belongs to somebody else */
    const aira_device *table;
    void *self;
    bool expand_all; /* composites as plain operations */
    bool no_fusion;  /* every result is rounded to its element type, also inside elementwise chains */
} aira__lab;

/* On plugin "cpu" of kind device; isa: its key, "auto" or "reference" among others. */
aira_status aira__lab_open(aira__registry *, aira__lab *, aira_error *);
aira_status aira__lab_open_isa(aira__registry *, const char *isa, aira__lab *, aira_error *);
void aira__lab_close(aira__lab *);

typedef struct aira__trial {
    aira_graph *graph; /* owned */
    aira__session *session;
    void *scratch; /* room for the largest tensor that goes in or out */
} aira__trial;

/* Takes the graph, also when it fails. Variables have their initial values under seed. */
aira_status aira__trial_create(const aira__lab *, aira_graph *, uint64_t seed, aira__trial **, aira_error *);
void aira__trial_destroy(aira__trial *);

/* Redraws every variable: normal, of size about 1/sqrt(last extent) for matrices and 0.5 for vectors, no element nearer
   to zero than a fifth of that. around_initial: the initial value plus a third of such a draw instead. */
aira_status aira__trial_redraw(aira__trial *, uint64_t seed, bool around_initial, aira_error *);
/* Draws every input: normal, or below `range` for I32. */
aira_status aira__trial_draw_inputs(aira__trial *, uint64_t seed, int64_t range, aira_error *);

aira_status aira__trial_set_input(aira__trial *, const char *name, const double *values, aira_error *);
aira_status aira__trial_set_variable(aira__trial *, const aira__variable *, const double *values, aira_error *);
aira_status aira__trial_get_variable(aira__trial *, const aira__variable *, double *values, aira_error *);
aira_status aira__trial_run(aira__trial *, aira_error *);
aira_status aira__trial_output(aira__trial *, const char *name, double *values, aira_error *);

/* The input values that draw_inputs gives: for checks that then change some of them. */
void aira__draw_values(uint64_t seed, const char *name, uint32_t dtype, int64_t range, double *values, int64_t n);
/* n doubles, or NULL with a sentence */
double *aira__doubles(int64_t n, aira_error *);

#endif
