/* plugins/executors/table/lookup.h - a CSV table of scores, read once and looked up by architecture and seed.
 *
 * The first line that is no comment (`#`) names the columns, in any order:
 *   architecture  run-length notation with blanks between runs: "2mA 4M"          (needed)
 *   search        score that steers                                               (needed)
 *   seed          of the evaluation; an empty cell answers every seed             (absent: every row does)
 *   selection, test, seconds                                                      (absent or empty: unknown)
 * Other columns are ignored.
 */
#ifndef AIRA_TABLE_LOOKUP_H
#define AIRA_TABLE_LOOKUP_H

#include "aira/plugin.h"

enum { ARCHITECTURE, SEED, SEARCH, SELECTION, TEST, SECONDS, N_COLUMNS };

typedef struct lookup_row {
    char *key; /* tokens with blanks between */
    uint64_t seed;
    int any_seed;
    uint32_t line, next;     /* next: 1 + the next row of the same bucket, or 0 */
    double value[N_COLUMNS]; /* from SEARCH on; NAN: unknown */
} lookup_row;

typedef struct lookup {
    const aira_host *host;
    const char *path; /* the caller's */
    lookup_row *rows;
    uint32_t n_rows, n_buckets;
    uint32_t *buckets;
    uint64_t hash; /* FNV-1a of the file */
} lookup;

/* Errors name file and line. Release also after one. */
aira_status lookup_load(const aira_host *host, const char *path, lookup *out);
void lookup_release(lookup *);
/* key: tokens with one blank between. The row of this seed, else the one for every seed, else (where drawn) one of the
   architecture's rows by hash of the seed, else NULL. */
const lookup_row *lookup_find(const lookup *, const char *key, uint64_t seed, int drawn);
/* A whole file, host->alloc'ed and NUL-terminated; NULL after host->fail. */
char *lookup_read_file(const aira_host *host, const char *path, size_t *size);

#endif
