/* core/search/replay.h - a recorded run decided again, offline, and compared node by node.
 *
 * Scaffolds, prompts, parser and tree are this program's; answers and results come from the journal. Where the tree
 * differs, or a question is not the one that was asked, something that decides has changed since.
 */
#ifndef AIRA_SEARCH_REPLAY_H
#define AIRA_SEARCH_REPLAY_H

#include <jansson.h>

#include "core/plugin/registry.h"

/* {"run_dir", "searches", "nodes", "same": bool, "differences": ["search 1 node 3: ..."]}: a new reference. */
aira_status aira__replay(aira__registry *, const char *dir, json_t **result, aira_error *);

#endif
