/* core/train/score_scale.h - the frozen scale of a task: what counts as nothing, as solved, as perfect.
 *
 *     scale: {worst: 0.125, best: 0.999, optimum: 1}
 *
 * Scores of different tasks can only be averaged on a scale, and a scale that is taken from the runs at hand moves as
 * soon as somebody submits a worse one. So a task says its own, and a study keeps it from its first moment.
 *   worst    a guessing model's score: 0 on the scale
 *   best     the score to beat, of a published or own reference: 1 on the scale
 *   optimum  what no model can be better than; best must fall short of it
 * What the task leaves out follows from its metric. worst: the mean of what its data sets say a guess scores; where one
 * does not say: 1/classes, ln(classes) or 8 bits. Accuracies: best 0.999 (MAD's reference code stops there), optimum 1.
 * Losses and bits: best a tenth of worst, optimum 0.
 * The scale says how scores are read, not how they come about: it is no part of the task's hash.
 */
#ifndef AIRA_TRAIN_SCORE_SCALE_H
#define AIRA_TRAIN_SCORE_SCALE_H

#include <jansson.h>
#include <stdbool.h>

#include "core/config/config.h"

typedef struct aira__score_scale {
    double worst, best, optimum; /* NAN: not known */
} aira__score_scale;

/* map NULL: all NAN. */
void aira__score_scale_read(aira__node *map, aira__score_scale *, aira__diagnostics *);
/* Fills in what is NAN. guess: a guessing model's score, NAN where unknown (then worst, and best with it, stay so).
   place: for the sentence when the three are not in order. */
void aira__score_scale_complete(aira__score_scale *, bool higher_is_better, double guess, const aira__node *place,
                                aira__diagnostics *);
/* {"worst", "best", "optimum"}, null where unknown; NULL when out of memory. */
json_t *aira__score_scale_json(const aira__score_scale *);
void aira__score_scale_from_json(const json_t *, aira__score_scale *);

#endif
