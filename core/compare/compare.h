/* core/compare/compare.h - agents and scaffolds side by side, from one or more run directories.
 *
 * A player is an agent with its settings under a scaffold with its settings; its searches, over seeds and run
 * directories, are its games. A reference is a player with one known score on one task. Tasks are told apart by their
 * hash, so runs of other tasks may be mixed: players meet on the tasks that both have played. References are what the
 * caller names (published scores) and the baselines of the runs' final scoring.
 *
 * Scores. A search counts by the final test score of what it submitted, where every valid search of its task has one,
 * else by the selection score for all of them; each task says which. A search that submitted nothing is invalid.
 * Normalised scores use the task's frozen scale (core/train/score_scale.h), never the range of the runs at hand.
 *
 * Uncertainty. The runs of every player on every task are drawn again with replacement (100 rounds, one seed) and
 * everything is computed anew; intervals are the 2.5th and 97.5th percentiles. Runs are drawn, not pairings, because
 * the pairings of one run depend on each other.
 *
 * Reading (read.c) is apart from computing (compute.c) and from showing (json.c, html.c). Threads: one.
 */
#ifndef AIRA_COMPARE_COMPARE_H
#define AIRA_COMPARE_COMPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/train/score_scale.h"

#define AIRA__REFERENCE_COPIES 10 /* a reference plays as often as ten seeds */
#define AIRA__BOOTSTRAP_ROUNDS 100

typedef struct compare_interval {
    double value, low, median, high; /* value: of the runs as they are; the others over the rounds; NAN: none */
} compare_interval;

typedef struct compare_costs { /* NAN: unknown */
    double nodes, evaluations, device_seconds, flops, calls, failed_calls, call_seconds, input_tokens, output_tokens,
        money_usd;
} compare_costs;

typedef struct compare_player {
    char *name, *agent, *scaffold; /* canonical JSON; "" for a reference */
    bool reference;
    int runs, valid;
    compare_interval rating, normalised, linear;
    compare_costs costs; /* sums */
} compare_player;

typedef struct compare_task {
    char *name, *hash, *metric;
    bool higher_is_better;
    aira__score_scale scale;
    bool final; /* scores are final test scores; else selection scores */
    int runs, valid;
} compare_task;

typedef struct compare_point {
    double evaluations, best;
} compare_point;

typedef struct compare_run { /* one search, or one reference on one task */
    int player, task;
    const char *dir; /* the caller's; "" for a reference */
    int64_t search, seed;
    char *architecture;     /* submitted; NULL: none */
    double selection, test; /* of the submission, NAN */
    double score;           /* the one that counts, NAN: invalid */
    bool ended;
    compare_point *points; /* best search score so far, at each improvement, and at the end */
    int n_points;
    compare_costs costs;
} compare_run;

typedef struct compare_data {
    compare_player *players; /* best rating first, once computed */
    compare_task *tasks;
    compare_run *runs;
    int n_players, n_tasks, n_runs;
    json_t *notes; /* sentences */
    uint64_t seed; /* of the bootstrap */
} compare_data;

/* dirs must live as long as the data. references: "NAME=SCORE", for data of one task. */
aira_status aira__compare_read(const char *const *dirs, int n_dirs, const char *const *references, int n_references,
                               compare_data *, aira_error *);
aira_status aira__compare_compute(compare_data *, aira_error *);
void aira__compare_release(compare_data *);

/* Best so far of a player's runs on a task at `at` evaluations: low quartile, median, high quartile over the runs that
   have a score by then. Returns how many have. */
int aira__compare_anytime(const compare_data *, int player, int task, double at, double quartiles[3]);
double aira__compare_most_evaluations(const compare_data *, int player, int task); /* player -1: any */

/* Shared with json.c and html.c: scores of a player on a task. NAN where there are none. */
typedef struct compare_cell {
    int runs, valid;
    double mean, deviation, best, normalised, linear; /* of valid ones; normalised over all, invalid 0 */
} compare_cell;
compare_cell aira__compare_cell(const compare_data *, int player, int task);

json_t *aira__compare_json(const compare_data *); /* docs/contract.md 2; NULL: out of memory */
bool aira__compare_csv(const compare_data *, aira__buf *);
bool aira__compare_html(const compare_data *, aira__buf *);

#endif
