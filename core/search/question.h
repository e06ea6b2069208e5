/* core/search/question.h - what an agent is asked: rendered messages and the same facts as structured state.
 *
 * A question for node idx follows from the tree as it was known when the node was decided: the nodes before `view` with
 * their outcome, the others pending. Its messages go to the journal before it is asked, in parts (journal.h); its state
 * does not, because it follows from the tree. Whoever needs the question later (asking again after a kill, replaying,
 * answering from a recording) makes the same one, byte for byte. The request hash is the SHA-256 of the canonical text
 *   {"messages": [{"role", "content"}], "operator", "seed": "decimal", "state": {docs/contract.md 7}}
 *
 * Order of a prompt, so that servers can reuse what they have read: system, task, data, memory, and last what differs
 * from node to node. Templates and their variables: docs/prompts.md.
 */
#ifndef AIRA_SEARCH_QUESTION_H
#define AIRA_SEARCH_QUESTION_H

#include <jansson.h>

#include "aira/agent.h"
#include "core/search/journal.h"
#include "core/search/memory.h"
#include "core/search/tree.h"

#define AIRA__OPERATOR_ANALYSE "analyse" /* asked about a node that has been evaluated; no operator of scaffolds */
#define AIRA__OUTPUT_HEAD 2500           /* characters of an output that a prompt shows: so many of its beginning, */
#define AIRA__OUTPUT_TAIL 2500           /* and so many of its end */

/* What all questions of a search share. */
typedef struct aira__asking {
    const json_t *prompts;               /* {"system", "draft", ...: template text} */
    bool design;                         /* candidates are sources; then: */
    const json_t *declared, *literature; /* the task's configurable options; notes (literature.h); NULL: none */
    int64_t literature_tokens;
    const json_t *task;   /* canonical task */
    const json_t *tokens; /* list of tokens in the task's order */
    int n_layers;
    bool higher_is_better;
    const char *metric, *data, *task_hash; /* data: the overview of core/search/overview.h */
    /* of the search */
    const aira__tree *tree;
    aira__memory *memory;
    aira__journal *journal;     /* for curves and outputs of evaluations; NULL: none are shown */
    aira__memory_kind kinds[4]; /* by operator code */
    int64_t memory_tokens;
    bool complexity;                    /* cue in the prompt */
    bool uses_nodes;                    /* some template names `nodes`; else the list is left empty */
    json_t *common;                     /* variables that never change; owned */
    struct aira__template_cache *cache; /* of remembered nodes; owned, may be NULL */
} aira__asking;

/* From a canonical study and one of its searches. Points into all of its arguments. Release also after an error. */
aira_status aira__asking_open(const json_t *study, const json_t *search, const aira__tree *, aira__memory *,
                              aira__journal *, aira__asking *, aira_error *);
void aira__asking_release(aira__asking *);

/* Templates from a folder: system, draft, improve, debug, crossover, analyse, retry, each a .md file and required.
   For designs also example.c, a complete mechanism to show. Every template is rendered once with an example, so that an
   undefined variable is found before anything runs. New reference. */
aira_status aira__prompts_load(const char *folder, bool design, json_t **prompts, aira_error *);
/* Where the shipped templates are: share/aira/configs/prompts beside bin/, of designs its folder design. malloc'ed;
   NULL with an error. */
char *aira__prompts_folder(bool design, aira_error *);

/* A question as agents take it, from a zeroed struct on. It may be made again and again: then it keeps what the last
   one can lend to the next. request.nodes borrows its strings from the tree. Release also after an error. */
typedef struct aira__request {
    aira_agent_request request;
    json_t *messages;
    uint32_t idx, view;
    aira_message *list;
    aira_seen_node *nodes;
    uint32_t nodes_capacity, nodes_known; /* the first nodes_known are committed and filled in */
    const char **tokens;
    char *state, *parent_source, *other_source; /* the sources NULL: there is none */
    char hash[65];
    bool analyse;
} aira__request;

/* The first question about node idx. */
aira_status aira__request_first(const aira__asking *, uint32_t idx, uint32_t view, aira__request *, aira_error *);
/* Turns a request into the next attempt: what was answered and why it was not accepted are added to the messages.
   reason NULL: the agent itself failed, so nothing is added. */
aira_status aira__request_again(const aira__asking *, const char *answer, const char *reason, aira__request *,
                                aira_error *);
/* From messages that the journal held (the reference is taken over). */
aira_status aira__request_restore(const aira__asking *, uint32_t idx, uint32_t view, int64_t attempt, json_t *messages,
                                  aira__request *, aira_error *);
/* What node idx teaches: its candidate has been evaluated (its evaluation is in the journal) and not yet committed. */
aira_status aira__request_analyse(const aira__asking *, uint32_t idx, uint32_t view, const char *hash,
                                  const char *architecture, aira__request *, aira_error *);
void aira__request_release(aira__request *);

/* hash(search seed, node, attempt) */
uint64_t aira__request_seed(uint64_t search_seed, int64_t node, int64_t attempt);

/* Text with its middle left out where it is longer than head + tail characters; malloc'ed. */
char *aira__shorten(const char *text, size_t head, size_t tail);

/* Variables of the templates: every name that aira__prompt_values defines, NULL-terminated (docs/prompts.md). */
extern const char *const aira__prompt_variables[];
/* Everything that a template may name, for a node; New reference. result: the node's own outcome for analyse, or NULL.
 */
json_t *aira__prompt_values(const aira__asking *, uint32_t idx, uint32_t view, const json_t *result, aira_error *);

#endif
