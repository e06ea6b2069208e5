/* plugins/scaffolds/bayes/gp.h - a Gaussian process on architectures, and noisy expected improvement.
 *
 * Layers are one-hot, the kernel is RBF, so the covariance of two architectures depends on the number h of layers in
 * which they differ alone: variance * exp(-h / length). Observation i has noise variance * noise * weight[i]. The mean
 * is zero: scores come standardised, the higher the better.
 */
#ifndef AIRA_BAYES_GP_H
#define AIRA_BAYES_GP_H

#include <stdint.h>

typedef struct gp {
    uint32_t n, n_layers;
    const uint16_t *const *x; /* n architectures */
    const double *y, *weight; /* n each */
    double length, noise, variance;
    double log_likelihood;
    double *factor; /* Cholesky of the correlations with noise, n x n, lower, row by row */
    double *alpha;  /* factor^-T factor^-1 y */
    double *prior;  /* Cholesky of the correlations alone (and 1e-6 on the diagonal) */
    double *spare;  /* 3 n */
} gp;

/* What gp_init needs. */
uint64_t gp_doubles(uint32_t n);
void gp_init(gp *, uint32_t n, uint32_t n_layers, const uint16_t *const *x, const double *y, const double *weight,
             double *memory);
/* With this length and noise; the variance of highest likelihood. 0 where the matrix is not positive definite. */
int gp_fit(gp *, double length, double noise);
/* The length and noise of highest marginal likelihood on a fixed grid of 5 x 5. 0 as above, for all of them. */
int gp_fit_grid(gp *);
/* Posterior of the noiseless score. */
void gp_posterior(const gp *, const uint16_t *x, double *mean, double *variance);

/* Noisy expected improvement (Letham et al. 2019): the mean, over draws of what the noiseless scores of the observed
   architectures may be, of the expected improvement on the best of them. */
#define GP_DRAWS 16u
typedef struct gp_improvement {
    const gp *model;
    double *solved;        /* prior^-1 of each draw: GP_DRAWS x n */
    double best[GP_DRAWS]; /* of each draw */
} gp_improvement;
/* normal(context, i): standard normal numbers, i < 2 n GP_DRAWS. memory: GP_DRAWS n doubles. After gp_fit; 0 where the
   prior's matrix is not positive definite. */
int gp_improvement_init(gp_improvement *, gp *, double (*normal)(void *, uint32_t), void *context, double *memory);
double gp_improvement_of(const gp_improvement *, const uint16_t *x);

#endif
