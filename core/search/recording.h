/* core/search/recording.h - the host's side of aira/ext/recording.h: answers out of earlier journals and JSONL files.
 */
#ifndef AIRA_SEARCH_RECORDING_H
#define AIRA_SEARCH_RECORDING_H

#include "aira/ext/recording.h"
#include "core/plugin/registry.h"

typedef struct aira__recording aira__recording;

/* Offers the service to plugins. The registry must end first. */
aira_status aira__recording_offer(aira__registry *, aira__recording **, aira_error *);
void aira__recording_destroy(aira__recording *); /* NULL is fine */

#endif
