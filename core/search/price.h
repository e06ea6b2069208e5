/* core/search/price.h - what an answer costs, from the tokens that it took and the study's `prices`.
 *
 *     prices: prices.yaml                 # a file with the same list under the key `prices`, or in place:
 *     prices:
 *       - {model: "big-*", input: 2.5, cached_input: 0.25, cache_write: 3.125, output: 10, currency: USD,
 *          valid_from: 2026-01-31, source: "https://..."}
 *
 * Prices are per million tokens. `model` is a pattern (* and ?). Of the rows that match and are valid on the day of the
 * call the youngest counts, of equals the first. What is not known stays unknown (NULL, -1), never 0: a price of 0 is
 * written as 0. cached_input left out: charged as input, which nobody exceeds; cache_write left out: unknown as soon as
 * tokens were written to a cache.
 */
#ifndef AIRA_SEARCH_PRICE_H
#define AIRA_SEARCH_PRICE_H

#include <jansson.h>

#include "aira/agent.h"
#include "core/config/config.h"

/* The list of canonical rows, [] for node NULL; every mistake goes to diagnostics. A new reference. */
json_t *aira__prices_read(aira__node *, aira__diagnostics *);
/* Rows of a price file: {"prices": [...]}. */
json_t *aira__prices_load(const char *path, aira__diagnostics *);

/* The row of a canonical study that counts for the model at this time (since 1970), borrowed; NULL: none. */
const json_t *aira__price_find(const json_t *study, const char *model, double when);
/* USD, or -1 where row is NULL or the usage does not tell enough. */
double aira__price_money(const json_t *row, const aira_usage *);

#endif
