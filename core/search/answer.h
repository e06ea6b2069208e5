/* core/search/answer.h - from an agent's prose to an architecture.
 *
 * What counts: after everything between <think> and </think> is dropped, exactly one fenced block tagged yaml (or yml)
 * that holds `layers:`, in run-length notation or as a list of tokens, of the length and alphabet that the task asks
 * for. Anything else is refused with a sentence that the agent gets back. Nothing is guessed and nothing is executed.
 */
#ifndef AIRA_SEARCH_ANSWER_H
#define AIRA_SEARCH_ANSWER_H

#include <jansson.h>
#include <stdint.h>

#include "core/base/error.h"

/* layers: n_layers token indices. AIRA_E_FAILED with the reason; AIRA_E_MEMORY. */
aira_status aira__answer_parse(const char *text, const char *const *tokens, int n_tokens, int n_layers,
                               uint16_t *layers, aira_error *);

/* The prose of an answer: what stands before its first fenced block, without reasoning and blanks around it; "" if
   there is none. malloc'ed, NULL when out of memory. */
char *aira__answer_prose(const char *text);

/* The identity of a candidate. Released with aira__candidate_release, also after an error. */
typedef struct aira__candidate {
    json_t *canonical;  /* {"kind": "compose", "layers": [tokens]}, {"kind": "design", "options": {}, "source"} */
    char *text;         /* canonical as text */
    char *architecture; /* run-length notation; of a design its name: "gated_conv-1a2b3c4d" */
    char hash[65];      /* SHA-256 of text */
} aira__candidate;
aira_status aira__candidate_make(const uint16_t *layers, int n_layers, const char *const *tokens, aira__candidate *,
                                 aira_error *);
/* source: normalised (design.h). options: complete, an object. */
aira_status aira__candidate_design(const char *source, const json_t *options, aira__candidate *, aira_error *);
void aira__candidate_release(aira__candidate *);

#endif
