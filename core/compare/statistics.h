/* core/compare/statistics.h - the arithmetic of comparing agents: normalised scores, pairings, ratings, percentiles.
 *
 * Pure: numbers in, numbers out; no files, no journals. Checked against values that other programs worked out
 * (tests/tools/compare_values.py).
 */
#ifndef AIRA_COMPARE_STATISTICS_H
#define AIRA_COMPARE_STATISTICS_H

#include <stdbool.h>

#include "core/base/error.h"
#include "core/train/score_scale.h"

#define AIRA__TIE 1e-6            /* scores that differ by no more are equal */
#define AIRA__NORMALISED_MOST 100 /* of a perfect score on the logarithmic scale, which would be infinite */
#define AIRA__ELO_START 1000
#define AIRA__ELO_SCALE 400 /* points for odds of ten to one */

/* (phi(s) - phi(worst)) / (phi(best) - phi(worst)) with phi(s) = -log10|s - optimum|: 0 for a guess (and below), 1 for
   the scale's best; halving the distance to the optimum is worth the same everywhere. A score that does not exist
   (NAN) is 0; NAN where the scale is not known. */
double aira__normalised_log(const aira__score_scale *, bool higher_is_better, double score);
/* (s - worst) / (best - worst), not below 0. */
double aira__normalised_linear(const aira__score_scale *, double score);

/* What a pairing is worth to a: 1 won, 0.5 tie, 0 lost. NAN scores are invalid: valid beats invalid, two invalid tie.
 */
double aira__pairing(double a, double b, bool higher_is_better);

/* Bradley-Terry ratings of n players. wins[i * n + j]: what i won against j (ties a half each), so wins[j * n + i] is
   what j won. Maximises sum wins[i,j] log p(i beats j) - 1/2 sum w^2, odds of i against j being 10^(w_i - w_j); the
   second term keeps the rating of a player that never lost finite. ratings[i] = 1000 + 400 w_i; their mean is 1000.
   Newton's method on a convex function: one answer, to about 1e-9 points. */
aira_status aira__bradley_terry(const double *wins, int n, double *ratings, aira_error *);

/* The p-th percentile (0..100) of n >= 1 values in rising order, linear between ranks (numpy's default). */
double aira__percentile(const double *sorted, int n, double p);
/* Spearman's: the correlation of ranks, ties sharing their mean rank. NAN for n < 2 or where all of one side tie. */
aira_status aira__rank_correlation(const double *a, const double *b, int n, double *out, aira_error *);

/* Sorts in rising order. */
void aira__sort_reals(double *values, int n);

#endif
