/* core/search/candidate.h - candidates of either kind: read from an answer, and found again by their hash. */
#ifndef AIRA_SEARCH_CANDIDATE_H
#define AIRA_SEARCH_CANDIDATE_H

#include "core/search/answer.h"
#include "core/search/question.h"

/* The candidate of an answer to a question about node idx. AIRA_E_FAILED: *reason is a sentence for the agent; other
   errors are in *error. Release the candidate in any case. */
aira_status aira__candidate_read(const aira__asking *, uint32_t idx, const char *answer, aira__candidate *,
                                 aira_error *reason, aira_error *error);

/* A candidate that the journal holds; AIRA_E_CORRUPT where it does not. Release in any case. */
aira_status aira__candidate_load(aira__journal *, const char *hash, aira__candidate *, aira_error *);
/* "compose" or "design" */
const char *aira__candidate_kind(const aira__candidate *);

/* Source and options of a candidate, malloc'ed and a new reference; NULL and NULL, without an error, where there is
   none (compose, or a node whose answer could not be read: hash NULL or ""). */
aira_status aira__candidate_source(const aira__asking *, const char *hash, char **source, json_t **options,
                                   aira_error *);

#endif
