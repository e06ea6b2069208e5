/* plugins/aggregators/common/kmeans.c - exact one-dimensional k-means, as far as the best cluster needs it.
 *
 * In one dimension optimal clusters are intervals of the sorted scores, so with D[q][i] the least sum of squared
 * distances of the i lowest distinct scores in q clusters,
 *     D[q][i] = min over j of D[q-1][j] + cost(j, i),
 * where cost(j, i) is one cluster of the scores j .. i-1. Only the start of the last cluster of D[k][n] is asked for,
 * so two rows are kept. cost grows as j falls: once it passes the best sum, no smaller j can win.
 */
#include <math.h>
#include <stdlib.h>

#include "ncluster.h"

typedef struct points { /* distinct scores, ascending, with prefix sums of multiplicity, value and square */
    uint32_t n;
    double *value;
    long double *count, *sum, *square; /* n + 1 entries; of values less the centre */
} points;

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static long double cost(const points *p, uint32_t from, uint32_t to) {
    long double n = p->count[to] - p->count[from], s = p->sum[to] - p->sum[from];
    long double c = p->square[to] - p->square[from] - s * s / n;
    return c > 0 ? c : 0;
}

/* value holds n sorted scores on entry and p->n distinct ones on return. */
static void summarise(points *p, uint32_t n) {
    double centre = p->value[n / 2];
    p->n = 0;
    p->count[0] = p->sum[0] = p->square[0] = 0;
    for (uint32_t i = 0; i < n;) {
        uint32_t same = i;
        while (same < n && p->value[same] == p->value[i]) same++;
        long double times = same - i, x = (long double)p->value[i] - centre;
        p->value[p->n++] = p->value[i];
        p->count[p->n] = p->count[p->n - 1] + times;
        p->sum[p->n] = p->sum[p->n - 1] + times * x;
        p->square[p->n] = p->square[p->n - 1] + times * x * x;
        i = same;
    }
}

/* Start of the last of k clusters. row and next: p->n + 1 entries. */
static uint32_t last_start(const points *p, uint32_t k, long double *row, long double *next) {
    uint32_t start = 0;
    long double slack = 1e-15L * cost(p, 0, p->n); /* sums this close are equal but for rounding */
    for (uint32_t i = 1; i <= p->n; i++) row[i] = cost(p, 0, i);
    for (uint32_t q = 2; q <= k; q++) {
        for (uint32_t i = q; i <= p->n; i++) {
            long double best = INFINITY;
            for (uint32_t j = i - 1; j >= q - 1; j--) {
                long double last = cost(p, j, i), all = row[j] + last;
                if (last > best + slack) break;
                if (all <= best + slack) {
                    start = j;
                    if (all < best) best = all;
                }
            }
            next[i] = best;
        }
        long double *swap = row;
        row = next;
        next = swap;
    }
    return start; /* written last for q = k, i = n */
}

aira_status ncluster_threshold(const double *scores, uint32_t n, uint32_t *clusters, double *threshold) {
    size_t row = (size_t)n + 1;
    points p = {.value = malloc(n * sizeof *p.value), .count = malloc(5 * row * sizeof *p.count)};
    aira_status status = p.value && p.count ? AIRA_OK : AIRA_E_MEMORY;
    if (!status) {
        p.sum = p.count + row;
        p.square = p.sum + row;
        for (uint32_t i = 0; i < n; i++) p.value[i] = scores[i];
        qsort(p.value, n, sizeof *p.value, ascending);
        summarise(&p, n);
        if (*clusters > p.n) *clusters = p.n;
        *threshold = p.value[last_start(&p, *clusters, p.square + row, p.square + 2 * row)];
    }
    free(p.value);
    free(p.count);
    return status;
}
