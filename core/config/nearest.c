/* core/config/nearest.c - "did you mean": the nearest name by edit distance.
 *
 * Insertions, deletions, substitutions and swaps of neighbours cost 1 each. A name is near when at most a third of the
 * word's letters (at least 1) would have to change. Ties go to the name that comes first.
 */
#include <string.h>

#include "core/config/config.h"

enum { longest = 64 };

static int min3(int a, int b, int c) {
    int m = a < b ? a : b;
    return m < c ? m : c;
}

static int distance(const char *a, size_t n, const char *b, size_t m) {
    int rows[3][longest + 1]; /* the last three rows of the table */
    for (size_t j = 0; j <= m; j++) rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = min3(before[j] + 1, now[j - 1] + 1, before[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && earlier[j - 2] + 1 < now[j])
                now[j] = earlier[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

const char *aira__nearest(const char *word, const char *const *names, int n_names) {
    size_t n = strlen(word);
    if (n == 0 || n > longest) return NULL;
    int limit = n < 6 ? 1 : (int)n / 3;
    const char *best = NULL;
    for (int i = 0; i < n_names; i++) {
        size_t m = strlen(names[i]);
        if (m == 0 || m > longest) continue;
        int d = distance(word, n, names[i], m);
        if (d > limit) continue;
        limit = d - 1; /* only nearer ones from here */
        best = names[i];
    }
    return best;
}
