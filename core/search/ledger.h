/* core/search/ledger.h - running totals of what a run has used up, as a whole and per search.
 *
 * Read from the journal once, then kept up with every row that costs something, so that looking at a budget costs
 * nothing. An evaluation is on the account of the search that wanted it first; final scoring is on the study's alone.
 */
#ifndef AIRA_SEARCH_LEDGER_H
#define AIRA_SEARCH_LEDGER_H

#include "core/search/budget.h"

typedef struct aira__ledger {
    aira__usage study;
    aira__usage *searches; /* n; search id - 1 */
    int n;
} aira__ledger;

aira_status aira__ledger_open(aira__journal *, int n_searches, aira__ledger *, aira_error *);
void aira__ledger_close(aira__ledger *);

void aira__ledger_add_node(aira__ledger *, int64_t search);
/* search 0: none. counts: it is a training of a search (search or confirm). seconds, flops: NAN where unknown. */
void aira__ledger_add_evaluation(aira__ledger *, int64_t search, bool counts, double seconds, double flops);
void aira__ledger_add_call(aira__ledger *, const aira__journal_call *); /* one that has ended */

#endif
