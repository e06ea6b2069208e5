/* core/search/trust.h - the study's keys about scores that can be believed (docs/trust.md), and budgets that cannot be
 * kept.
 *
 *     confirm: {seeds: 3, alpha: 0.05}       # contenders; seeds: 1 turns it off
 *     baselines: {llama: "2mA 2M"}           # architectures of the task's tokens, trained beside the winner
 *     final: {seeds: 3, of: winner}          # or submissions; baselines: [llama]; first: true; seeds: 0 turns it off
 */
#ifndef AIRA_SEARCH_TRUST_H
#define AIRA_SEARCH_TRUST_H

#include <jansson.h>

#include "core/config/config.h"

/* Puts the members confirm {seeds, alpha, searches}, baselines {name: run-length}, final {seeds, of, first,
   baselines [names]} into the canonical study, which must know its tokens and layers. All baselines where `final` names
   none; `first`, a search's first good node, where there are none. */
void aira__trust_read(aira__node *root, json_t *study, aira__diagnostics *);

/* What baselines of a canonical study are made of: its tokens; where candidates are sources, the task's, which stand in
   the mechanism's place. malloc'ed, its strings are the study's; NULL when out of memory. */
const char **aira__baseline_tokens(const json_t *study, int *n);

/* Says which budgets of a canonical study can be seen to be impossible before anything is spent. */
void aira__trust_check_budgets(aira__node *place, const json_t *study, aira__diagnostics *);

#endif
