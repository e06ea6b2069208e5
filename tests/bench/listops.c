/* listops.c - what ListOps rows look like, and what a guess scores that looks at little: counts over N rows of a split.
 *
 *     bench_listops [N [key=value...]]       e.g. bench_listops 10000 min_length=10 max_length=100 max_depth=5
 *
 * Prints lengths and labels, the share of the most frequent label, and the root-operator baseline: the accuracy on half
 * of the rows of always answering, for the operator in front, its most frequent label in the other half. Every label is
 * computed again by an evaluator that shares no code with the generator (a recursive one over the text); the number of
 * those that differ is printed and must be 0.
 */
#include <time.h>

#include "tests/support/dataset.h"
#include "tests/support/listops.h"

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print(const listops_counts *c, const test_dataset *d, double seconds) {
    int64_t *lengths = c->lengths, n = c->n;
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += (double)lengths[k];
    qsort(lengths, (size_t)n, sizeof *lengths, by_value);
    printf("rows             %lld in %.1f s, rows of %lld tokens, %lld wrong labels\n", (long long)n, seconds,
           (long long)d->info.input_length, (long long)c->wrong);
    printf("length           mean %.0f, median %lld, p10 %lld, p90 %lld, p99 %lld\n", sum / (double)n,
           (long long)lengths[n / 2], (long long)lengths[n / 10], (long long)lengths[n * 9 / 10],
           (long long)lengths[n * 99 / 100]);
    printf("labels           ");
    for (int k = 0; k < 10; k++) printf("%d: %.1f %%%s", k, 100 * listops_share(c, k), k < 9 ? ", " : "\n");
    printf("root             MIN %.1f %%, MAX %.1f %%, MED %.1f %%, SM %.1f %%, a digit %.1f %%\n",
           100 * listops_root_share(c, 0), 100 * listops_root_share(c, 1), 100 * listops_root_share(c, 2),
           100 * listops_root_share(c, 3), 100 * listops_root_share(c, 4));
    printf("majority         %.2f %%\n", 100 * listops_majority(c));
    printf("root operator    %.2f %%\n", 100 * listops_root_baseline(c));
}

int main(int argc, char **argv) {
    const char *keys[32] = {NULL};
    char rows[64];
    long long n = argc > 1 ? atoll(argv[1]) : 100000;
    int used = 0;
    for (int k = 2; k < argc && used < 30; k++) keys[used++] = argv[k];
    snprintf(rows, sizeof rows, "train_rows=%lld", n);
    keys[used++] = rows;
    test_dataset d;
    test_dataset_open(&d, "listops", keys);
    if (n < 2 || d.status) {
        fprintf(stderr, "%s\n", n < 2 ? "the number of rows must be at least 2" : d.failure);
        return 1;
    }
    clock_t start = clock();
    listops_counts c;
    listops_count(&c, &d, AIRA_SPLIT_TRAIN, n);
    print(&c, &d, (double)(clock() - start) / CLOCKS_PER_SEC);
    int status = c.wrong != 0;
    free(c.lengths);
    test_dataset_close(&d);
    return status;
}
