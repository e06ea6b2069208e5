/* core/train/metrics.c - see metrics.h */
#include "core/train/metrics.h"

#include <math.h>
#include <string.h>

double aira__macro_accuracy(const int32_t *prediction, const int32_t *target, int64_t n, int64_t classes,
                            int64_t *counts, int64_t *right, int64_t *answers) {
    int64_t *support = counts, *predicted = counts + classes, *hits = counts + 2 * classes;
    memset(counts, 0, (size_t)(3 * classes) * sizeof *counts);
    for (int64_t k = 0; k < n; k++) {
        int64_t t = target[k], p = prediction[k];
        if (t < 0 || t >= classes) continue;
        support[t]++;
        if (p >= 0 && p < classes) predicted[p]++;
        hits[t] += p == t;
        *right += p == t;
        ++*answers;
    }
    double sum = 0;
    int64_t present = 0;
    for (int64_t c = 0; c < classes; c++) {
        if (support[c] + predicted[c] == 0) continue;
        present++;
        if (support[c] > 0) sum += (double)hits[c] / (double)support[c];
    }
    return present > 0 ? sum / (double)present : NAN;
}
