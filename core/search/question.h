/* core/search/question.h - what an agent is asked: operator, state and rendered prompt as one JSON object.
 *
 * A question is built once, from the tree as it is logically known when the node is decided, and written to the journal
 * before it is asked. Whoever needs it later (asking again after a kill, replaying) takes it from there:
 *   {"messages": [{"role", "content"}], "operator", "seed": "decimal", "state": {docs/contract.md 7}}
 * The SHA-256 of its canonical text is the request hash.
 */
#ifndef AIRA_SEARCH_QUESTION_H
#define AIRA_SEARCH_QUESTION_H

#include <jansson.h>

#include "aira/agent.h"
#include "core/search/tree.h"

/* What all questions of a study share. */
typedef struct aira__asking {
    const json_t *prompts; /* {"system", "draft", "improve", "debug", "crossover", "retry": template text} */
    const json_t *task;    /* canonical task */
    const json_t *tokens;  /* list of tokens in the task's order */
    int n_layers;
    bool higher_is_better;
} aira__asking;

/* Templates from a folder: system.md, draft.md, improve.md, debug.md, crossover.md, retry.md, each required. Every one
   is rendered once with an example, so that an undefined variable is found before anything runs. New reference. */
aira_status aira__prompts_load(const char *folder, json_t **prompts, aira_error *);

/* Where the shipped templates are: share/aira/configs/prompts beside bin/. malloc'ed; NULL with an
   error.
 */
char *aira__prompts_folder(aira_error *);

/* The question for node idx of the tree; committed nodes are shown with their outcome, later ones as pending. */
aira_status aira__question_make(const aira__asking *, const aira__tree *, uint32_t idx, json_t **question,
                                aira_error *);
/* The same asked again: what was answered and why it was not accepted are added to the messages. reason NULL: the agent
   itself failed, so nothing is added. */
aira_status aira__question_retry(const aira__asking *, const json_t *question, uint64_t search_seed, const char *answer,
                                 const char *reason, json_t **again, aira_error *);

/* A question as agents take it. Points into the JSON, which it keeps. */
typedef struct aira__request {
    aira_agent_request request;
    json_t *question;
    aira_message *messages;
    aira_seen_node *nodes;
    const char **tokens;
    char *state_text;
    char hash[65];
} aira__request;
/* AIRA_E_CORRUPT where the JSON is not a question. Release also after an error. */
aira_status aira__request_make(json_t *question, aira__request *, aira_error *);
void aira__request_release(aira__request *);

/* hash(search seed, node, attempt) */
uint64_t aira__request_seed(uint64_t search_seed, int64_t node, int64_t attempt);

#endif
