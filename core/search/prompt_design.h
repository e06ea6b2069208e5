/* core/search/prompt_design.h - prompt.c's part for candidates that are sources. */
#ifndef AIRA_SEARCH_PROMPT_DESIGN_H
#define AIRA_SEARCH_PROMPT_DESIGN_H

#include "core/search/question.h"

/* kind, pattern, fixed, options, limits, header, operations, example_source, source_max. Of a compose search the names
   exist and are empty. false: out of memory. */
bool aira__prompt_add_design(const aira__asking *, json_t *values);
/* <prefix>_source and _options of a candidate; null where it has none. */
aira_status aira__prompt_set_source(const aira__asking *, json_t *values, const char *prefix, const char *hash,
                                    aira_error *);
/* A line per check of an evaluation's metrics (JSON or NULL); malloc'ed, NULL when out of memory. */
char *aira__prompt_checks(const char *metrics);
/* memory_sources; a new reference, NULL with an error. */
json_t *aira__prompt_sources(const aira__asking *, aira__memory_kind, const json_t *memory, aira_error *);
/* literature, for a question about this node; a new reference, NULL when out of memory. */
json_t *aira__prompt_literature(const aira__asking *, const aira__tree_node *, uint32_t view);

#endif
