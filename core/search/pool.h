/* core/search/pool.h - threads that wait for agents, so that nothing else has to.
 *
 * The coordinator hands in questions and collects answers; a stalled agent holds up one thread and nobody else. Threads
 * are started when a question finds none idle, up to as many as questions can be out at once, so no question ever waits
 * for another's answer; their stacks are small. All decisions and all writing stay with the coordinator: a thread
 * touches its own ask and nothing else.
 */
#ifndef AIRA_SEARCH_POOL_H
#define AIRA_SEARCH_POOL_H

#include "aira/agent.h"
#include "core/base/buf.h"
#include "core/base/error.h"

/* One question. Owned by the caller, lent to the pool from submit to collect. */
typedef struct aira__ask aira__ask;
struct aira__ask {
    const aira_agent *agent;
    void *self; /* one ask at a time per self */
    const aira_host *host;
    const aira_agent_request *request;
    void *owner; /* the caller's */
    /* the answer */
    aira_status status;
    char error[1024]; /* sentence, where status is not AIRA_OK */
    aira__buf text;
    aira__buf partial; /* texts that became void (aira_sink.restart), one after the other */
    aira__buf notes;   /* one line each */
    aira_usage usage;  /* model points to the next member, or is NULL */
    char model[128];
    double seconds;
    aira__ask *next;
    struct aira__pool *pool;
};

typedef struct aira__pool aira__pool;
/* Empties text, partial and notes. */
void aira__ask_release(aira__ask *);

/* most: questions that can be out at once. */
aira_status aira__pool_create(int most, aira__pool **, aira_error *);
/* Cancels what runs, waits for it and drops what was not collected. NULL is fine. */
void aira__pool_destroy(aira__pool *);
/* Agents may finish what is under way; who waits for a server is sent home with AIRA_E_CANCELLED. */
void aira__pool_end(aira__pool *);
void aira__pool_submit(aira__pool *, aira__ask *);
/* An answered ask, or NULL after that many seconds. */
aira__ask *aira__pool_collect(aira__pool *, double seconds);

#endif
