/* bag_of_bytes.c - what byte counts alone say about labelled texts: the baseline for byte-level classification.
 *
 *     bench_bag_of_bytes FOLDER [FOLDS [key=value...]]      keys of the data set labelled_text, e.g. length=4096
 *
 * Logistic regression (one weight vector per class) on the logarithms of 1 + how often each byte comes, standardised on
 * the training texts; full gradient descent with L2, whose strength is chosen on the search and selection splits.
 * Prints the test accuracy of every fold (FOLDS 1: of the folder's own test part), their mean and standard error.
 */
#include <math.h>

#include "tests/support/dataset.h"

enum { FEATURES = 257, CLASSES = 16, STEPS = 400 };

typedef struct sample {
    double *x; /* n x FEATURES; the last is 1 */
    int32_t *label;
    int64_t n;
} sample;

typedef struct model {
    double w[CLASSES][FEATURES];
    int classes;
} model;

static void append(sample *s, test_dataset *d, uint32_t split) {
    int64_t n = d->info.n_rows[split], T = d->info.input_length;
    s->x = realloc(s->x, (size_t)((s->n + n) * FEATURES) * sizeof *s->x);
    s->label = realloc(s->label, (size_t)(s->n + n) * sizeof *s->label);
    for (int64_t k = 0; k < n; k++) {
        int32_t *ids, *label;
        double *x = s->x + (s->n + k) * FEATURES;
        test_dataset_rows(d, split, 0, (uint64_t)k, 1, &ids, &label);
        memset(x, 0, FEATURES * sizeof *x);
        for (int64_t t = 0; t < T; t++) {
            if (ids[t] > 0) x[ids[t] - 1]++;
        }
        for (int f = 0; f < FEATURES; f++) x[f] = log1p(x[f]);
        s->label[s->n + k] = label[0];
        free(ids);
        free(label);
    }
    s->n += n;
}

/* Mean 0 and deviation 1 on the training texts; a byte that never varies there is left out. */
static void standardise(sample *parts, int n_parts) {
    const sample *train = &parts[0];
    for (int f = 0; f < FEATURES - 1; f++) {
        double sum = 0, square = 0;
        for (int64_t k = 0; k < train->n; k++) sum += train->x[k * FEATURES + f];
        double mean = sum / (double)train->n;
        for (int64_t k = 0; k < train->n; k++) square += pow(train->x[k * FEATURES + f] - mean, 2);
        double factor = square > 0 ? 1 / sqrt(square / (double)train->n) : 0;
        for (int p = 0; p < n_parts; p++)
            for (int64_t k = 0; k < parts[p].n; k++) {
                double *x = &parts[p].x[k * FEATURES + f];
                *x = (*x - mean) * factor;
            }
    }
    for (int p = 0; p < n_parts; p++)
        for (int64_t k = 0; k < parts[p].n; k++) parts[p].x[k * FEATURES + FEATURES - 1] = 1;
}

/* Class probabilities; returns the likeliest class. */
static int predict(const model *m, const double *x, double *p) {
    int best = 0;
    double sum = 0, top;
    for (int c = 0; c < m->classes; c++) {
        p[c] = 0;
        for (int f = 0; f < FEATURES; f++) p[c] += m->w[c][f] * x[f];
        if (p[c] > p[best]) best = c;
    }
    top = p[best];
    for (int c = 0; c < m->classes; c++) sum += p[c] = exp(p[c] - top);
    for (int c = 0; c < m->classes; c++) p[c] /= sum;
    return best;
}

static void fit(model *m, const sample *s, double l2) {
    static double g[CLASSES][FEATURES];
    memset(m->w, 0, sizeof m->w);
    for (int step = 0; step < STEPS; step++) {
        memset(g, 0, sizeof g);
        for (int64_t k = 0; k < s->n; k++) {
            double p[CLASSES];
            const double *x = s->x + k * FEATURES;
            predict(m, x, p);
            p[s->label[k]] -= 1;
            for (int c = 0; c < m->classes; c++)
                for (int f = 0; f < FEATURES; f++) g[c][f] += p[c] * x[f];
        }
        for (int c = 0; c < m->classes; c++)
            for (int f = 0; f < FEATURES; f++)
                m->w[c][f] -= 0.1 * (g[c][f] / (double)s->n + (f < FEATURES - 1 ? l2 * m->w[c][f] : 0));
    }
}

static double accuracy(const model *m, const sample *s) {
    int64_t right = 0;
    double p[CLASSES];
    for (int64_t k = 0; k < s->n; k++) right += predict(m, s->x + k * FEATURES, p) == s->label[k];
    return (double)right / (double)s->n;
}

static double one_fold(const char *const *keys, double *l2) {
    static const double strengths[] = {1, 0.3, 0.1, 0.03, 0.01, 0.003};
    test_dataset d;
    test_dataset_open(&d, "labelled_text", keys);
    if (d.status || d.info.classes > CLASSES) {
        fprintf(stderr, "%s\n", d.status ? d.failure : "too many classes");
        exit(1);
    }
    sample parts[3] = {{NULL, NULL, 0}};
    append(&parts[0], &d, AIRA_SPLIT_TRAIN);
    append(&parts[1], &d, AIRA_SPLIT_SEARCH);
    append(&parts[1], &d, AIRA_SPLIT_SELECTION);
    append(&parts[2], &d, AIRA_SPLIT_TEST);
    standardise(parts, 3);
    static model m;
    double best = -1, test = 0;
    m.classes = (int)d.info.classes;
    for (size_t k = 0; k < sizeof strengths / sizeof *strengths; k++) {
        fit(&m, &parts[0], strengths[k]);
        double held = accuracy(&m, &parts[1]);
        if (held <= best) continue;
        best = held;
        test = accuracy(&m, &parts[2]);
        *l2 = strengths[k];
    }
    for (int p = 0; p < 3; p++) {
        free(parts[p].x);
        free(parts[p].label);
    }
    test_dataset_close(&d);
    return test;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: bench_bag_of_bytes FOLDER [FOLDS [key=value...]]\n");
        return 2;
    }
    int folds = argc > 2 ? atoi(argv[2]) : 10, used = 0;
    const char *keys[32] = {NULL};
    char path[4096], number[32], fold[32];
    snprintf(path, sizeof path, "path=%s", argv[1]);
    snprintf(number, sizeof number, "folds=%d", folds > 1 ? folds : 10);
    keys[used++] = path;
    keys[used++] = number;
    keys[used++] = fold;
    for (int k = 3; k < argc && used < 30; k++) keys[used++] = argv[k];
    double sum = 0, square = 0;
    for (int k = 0; k < folds; k++) {
        double l2 = 0;
        snprintf(fold, sizeof fold, "fold=%d", k);
        double test = one_fold(keys, &l2);
        printf("fold %2d          %.4f (L2 %g)\n", k, test, l2);
        sum += test;
        square += test * test;
    }
    double mean = sum / folds, spread = folds > 1 ? sqrt(fmax(0, square / folds - mean * mean) / (folds - 1)) : NAN;
    printf("bag of bytes     %.4f +- %.4f\n", mean, spread);
    return 0;
}
