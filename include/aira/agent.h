/* aira/agent.h - who proposes candidates: an LLM back end, a program, or an offline stand-in.
 *
 * complete() gets messages (the rendered prompt) and the same facts as structured state, and streams its answer text
 * into the sink. It may block; it polls sink->cancelled. A deterministic agent uses only request->seed for chance.
 */
#ifndef AIRA_AGENT_H
#define AIRA_AGENT_H

#include "plugin.h"

typedef struct aira_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content; /* UTF-8 */
} aira_message;

/* One earlier node of the same search, as an agent may see it. */
typedef struct aira_seen_node {
    int64_t idx;
    int64_t parent; /* -1: none */
    const char *operator_name;
    const char *architecture; /* run-length form, or NULL if the answer did not parse */
    const char *status;       /* "good", "buggy", "duplicate", "pending" */
    double score;             /* search score; NAN if none */
    const char *note;         /* what went wrong, or NULL */
} aira_seen_node;

typedef struct aira_agent_request {
    uint32_t size;
    uint32_t n_messages;
    const aira_message *messages;
    const char *operator_name; /* "draft", "improve", "debug", "crossover"; "analyse": prose about node, no proposal */
    const char *state_json;    /* the facts below as one JSON object; docs/contract.md */
    uint64_t seed;             /* hash(search seed, node index, attempt) */
    uint32_t n_layers;         /* layers an architecture must have */
    uint32_t n_tokens;
    const char *const *tokens; /* the alphabet, in the task's order */
    int64_t parent;            /* idx of the node to improve or debug, -1 */
    int64_t other_parent;      /* second parent of a crossover, -1 */
    uint32_t n_nodes;
    uint32_t higher_is_better;
    const aira_seen_node *nodes; /* in logical order */
    int64_t node;                /* idx of the node being asked for */
    int64_t attempt;             /* 0, then 1.. when an answer did not parse */
    const char *request_hash;    /* SHA-256 hex of the canonical request */
    const char *kind;            /* of what is asked for: "compose" (an architecture) or "design" (a C source) */
    const char *parent_source, *other_parent_source; /* design: sources of the parents, NULL where there is none */
} aira_agent_request;

/* What an answer took, void tries included. Numbers that the back end did not tell are -1 (unknown), never 0. */
typedef struct aira_usage {
    uint32_t size, reserved;
    int64_t input_tokens;        /* all of the question's, also those of the next line and cache_write_tokens */
    int64_t cached_input_tokens; /* read from the server's cache */
    int64_t output_tokens;       /* reasoning included */
    int64_t reasoning_tokens;
    double money_usd;           /* -1: the host computes it from the study's prices */
    int64_t cache_write_tokens; /* written to the server's cache */
    int64_t tries;              /* requests made for this answer */
    const char *model;          /* that answered, as the server names it; NULL: unknown. Copied */
} aira_usage;

typedef struct aira_sink aira_sink;
struct aira_sink {
    uint32_t size, reserved;
    void *core;
    aira_status (*text)(const aira_sink *, const char *bytes, uint64_t n); /* appends to the answer */
    void (*usage)(const aira_sink *, const aira_usage *);
    int32_t (*cancelled)(const aira_sink *);                /* non-zero: stop soon and return AIRA_E_CANCELLED */
    void (*note)(const aira_sink *, const char *sentence);  /* for the record: a retry, a dropped parameter */
    void (*restart)(const aira_sink *, const char *reason); /* the text so far is void, kept as partial text */
    /* non-zero: the host is ending. What is under way may be finished; a pause, or another try, may not be begun:
       return AIRA_E_CANCELLED instead, and the question is asked again another day */
    int32_t (*ending)(const aira_sink *);
};

typedef struct aira_agent {
    uint32_t size, flags;
    /* AIRA_E_DENIED (key, quota, model, no connection): the search is held, to be resumed when that is repaired; other
       failures cost the node an attempt. [one call per self] */
    aira_status (*complete)(void *self, const aira_agent_request *request, const aira_sink *sink);
} aira_agent;

#endif
