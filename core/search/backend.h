/* core/search/backend.h - what can be known about a study's model servers before anything starts: are the keys there,
 * can the answers be paid for. */
#ifndef AIRA_SEARCH_BACKEND_H
#define AIRA_SEARCH_BACKEND_H

#include <jansson.h>
#include <stdbool.h>

#include "core/config/config.h"

/* agent: canonical. A key that is not there is a mistake when the study is to run now (must), else a note in the log.
 */
void aira__backend_check_key(const json_t *agent, aira__node *place, bool must, aira__diagnostics *);
/* A limit on money cannot be kept for a model without a price: a mistake, unless the budget says allow_unpriced. */
void aira__backend_check_prices(const json_t *study, aira__node *place, aira__diagnostics *);

#endif
