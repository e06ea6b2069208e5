/* core/search/budget.h - what a study may use up, and what it has used.
 *
 * Two kinds of limit. Candidates and evaluations are shared out among the searches before anything runs, so that which
 * search gets how much never depends on speed. The others (time, money, tokens, FLOPs) are spent as they come; reaching
 * one ends the study with an event in the journal, which a deterministic tree cannot contain.
 */
#ifndef AIRA_SEARCH_BUDGET_H
#define AIRA_SEARCH_BUDGET_H

#include <jansson.h>
#include <stdbool.h>

#include "core/config/config.h"
#include "core/search/journal.h"

typedef struct aira__budget { /* negative: no limit */
    int64_t candidates, evaluations;
    double wall, device_seconds, flops, money_usd;
    int64_t tokens;
    int64_t allow_unpriced; /* not 0: answers without a known price count as free */
} aira__budget;

/* Keys: candidates, evaluations, wall, device_seconds, flops, tokens, money ("20 USD"), allow_unpriced. node NULL: no
 * limits. */
void aira__budget_read(aira__node *node, aira__budget *, aira__diagnostics *);
bool aira__budget_limits(const aira__budget *);  /* is there any limit? */
json_t *aira__budget_json(const aira__budget *); /* null where there is no limit */
void aira__budget_from_json(const json_t *, aira__budget *);

typedef struct aira__usage {
    int64_t candidates, evaluations; /* evaluations: trainings of searches, further seeds included */
    int64_t trainings;               /* all of them */
    double seconds;                  /* wall, over all sessions of the run; the caller's to fill in */
    double device_seconds;
    double flops, tokens, money_usd; /* NAN: unknown */
    int64_t unpriced, uncounted;     /* answers whose price, or tokens, the agent did not tell */
} aira__usage;
/* "budget" of docs/contract.md 2 */
json_t *aira__usage_json(const aira__usage *, const aira__budget *);
typedef enum { AIRA__LIMIT_NONE, AIRA__LIMIT_WALL, AIRA__LIMIT_OTHER } aira__limit;
/* Which limit other than candidates and evaluations is reached, or cannot be kept because the agent does not tell what
   an answer cost; with a sentence. */
aira__limit aira__budget_reached(const aira__budget *, const aira__usage *, char *sentence, size_t size);

/* Shares a total out: out[i] gets total / n, the first ones one more. total negative: all -1. */
void aira__budget_share(int64_t total, int n, int64_t *out);

#endif
