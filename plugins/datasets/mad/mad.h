/* mad.h - what the files of the MAD data set share: the settings after defaults, and one row function per task.
 *
 * A row function writes one example from the random stream it is given and nothing else: no state, no files, so any
 * thread may run any row. `masked` asks for the targets of an evaluation split (answers only) where the benchmark
 * trains on every position. scratch is the caller's, mad_task.scratch() bytes, contents undefined.
 */
#ifndef AIRA_MAD_H
#define AIRA_MAD_H

#include <stdbool.h>

#include "aira/dataset.h"
#include "aira/rng.h"

#define MAD_MOTIF_MAX 8 /* tokens in a motif of fuzzy recall */

enum { MAD_RECALL, MAD_NOISY_RECALL, MAD_FUZZY_RECALL, MAD_MEMORIZATION, MAD_COMPRESSION, MAD_COPYING, MAD_TASKS };

enum { MAD_LABELS_TASK, MAD_LABELS_RANDOM };

/* The keys of the YAML mapping. Zero: the task's baseline. */
typedef struct mad_config {
    int32_t task, labels;
    int64_t vocab, length, train_rows, test_rows;
    int64_t noise_vocab;
    double noise;
    int64_t copy_tokens;
    int64_t key_motif, value_motif;
    uint64_t map_seed;
} mad_config;

typedef struct mad {
    const aira_host *host;
    mad_config config;    /* defaults filled in */
    int32_t keys, values; /* recall and memorization: ids 0 .. keys-1, then keys .. keys+values-1 */
    int32_t *map;         /* memorization: value of key k, NULL elsewhere */
} mad;

/* settings.c: fills zeroes with the baseline; refuses what cannot be generated, in one sentence. */
aira_status mad_settle(const aira_host *host, const mad_config *given, mad *m);
const char *mad_task_name(int32_t task);
extern const char *const mad_task_names[MAD_TASKS + 1]; /* NULL-terminated */

/* Model length: recall is shifted by one inside its `length` tokens, the others fill `length`. */
int64_t mad_row_length(const mad *m);
double mad_guess(const mad *m); /* accuracy of a uniform guess among the possible answers */

typedef void mad_row(const mad *m, aira_rng *r, bool masked, void *scratch, int32_t *inputs, int32_t *targets);
mad_row mad_recall_row, mad_fuzzy_row, mad_memorization_row, mad_compression_row, mad_copying_row;
uint64_t mad_recall_scratch(const mad *m), mad_fuzzy_scratch(const mad *m), mad_copying_scratch(const mad *m);
aira_status mad_memorization_map(mad *m); /* fills m->map */

#endif
