/* tests/bench/dataset_rows.c - cost of a batch of 128 rows of every MAD task, one thread.
 *
 * Prints microseconds per batch and rows per second, the median of 21 rounds. The figure to stay well under is 1 ms: a
 * training step of the small models takes several. AIRA_BUILD_DIR names the build folder; the current one otherwise.
 */
#include <time.h>

#include "tests/support/dataset.h"

enum { BATCH = 128, ROUNDS = 21, BATCHES = 50 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, const char *const *keys) {
    test_dataset d;
    test_dataset_open(&d, "mad", keys);
    int32_t *x = malloc(sizeof(int32_t) * BATCH * (size_t)d.info.input_length);
    int32_t *y = malloc(sizeof(int32_t) * BATCH * (size_t)d.info.target_length);
    double round[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        double start = seconds();
        for (uint64_t b = 0; b < BATCHES; b++) {
            uint64_t indices[BATCH], rows = (uint64_t)d.info.n_rows[AIRA_SPLIT_TRAIN];
            for (uint64_t i = 0; i < BATCH; i++) indices[i] = (b * BATCH + i) % rows;
            if (d.table->rows(d.self, AIRA_SPLIT_TRAIN, 1, indices, BATCH, x, y)) abort();
        }
        round[r] = (seconds() - start) / BATCHES;
    }
    qsort(round, ROUNDS, sizeof round[0], ascending);
    double median = round[ROUNDS / 2];
    printf("%-32s %8.1f us per batch of %d %12.0f rows per second\n", name, 1e6 * median, BATCH, BATCH / median);
    free(x);
    free(y);
    test_dataset_close(&d);
}

int main(void) {
    static const char *const tasks[] = {
        "task=in-context-recall", "task=noisy-in-context-recall", "task=fuzzy-in-context-recall", "task=memorization",
        "task=compression",       "task=selective-copying"};
    for (int i = 0; i < 6; i++) measure(tasks[i] + 5, (const char *const[]){tasks[i], NULL});
    measure("fuzzy-in-context-recall, 1024", (const char *const[]){tasks[2], "length=1024", NULL});
    measure("selective-copying, 1024", (const char *const[]){tasks[5], "length=1024", NULL});
    return 0;
}
