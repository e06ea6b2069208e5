/* core/search/run_internal.h - the state of a running study, shared by run.c, search.c, finish.c and progress.c. */
#ifndef AIRA_SEARCH_RUN_INTERNAL_H
#define AIRA_SEARCH_RUN_INTERNAL_H

#include "core/search/answer.h"
#include "core/search/budget.h"
#include "core/search/ledger.h"
#include "core/search/pool.h"
#include "core/search/progress.h"
#include "core/search/question.h"
#include "core/search/queue.h"
#include "core/search/run.h"
#include "core/search/standing.h"
#include "core/search/tree.h"

#define AIRA__MAX_ATTEMPTS 4 /* a question, and up to three times again */

struct aira__search;

typedef enum {
    AIRA__SLOT_FREE,
    AIRA__SLOT_ASKING,
    AIRA__SLOT_EVALUATING,
    AIRA__SLOT_ANALYSING, /* evaluated; an agent is asked what that teaches */
    AIRA__SLOT_HELD,      /* its question cannot be asked in this session */
} aira__slot_phase;

/* A node in flight. A search has `parallel` of them, each with an agent of its own. */
typedef struct aira__slot {
    struct aira__search *search;
    aira__instance *agent, *analyst; /* NULL: nobody is asked. The analyst may be the agent */
    aira__slot_phase phase;
    uint32_t idx, view;    /* of the node; what its decision saw */
    bool restored;         /* the node is one of an earlier session */
    bool analysed;         /* its analysis is there, has failed, or is not wanted */
    aira__request request; /* of the current attempt */
    aira__ask ask;
    const aira__instance *asked; /* whom the current question goes to: agent or analyst */
    double asked_at;
    aira__candidate candidate;
    struct aira__slot *next; /* of those whose question goes out after this round's transaction */
} aira__slot;

typedef struct aira__search {
    int64_t id;
    char *label;
    aira__tree tree;
    aira__memory memory;
    aira__asking asking;
    aira__instance *scaffold;
    aira__slot *slots;                           /* tree.parallel of them */
    int64_t own_candidates, own_evaluations;     /* the search's own limits, -1: none */
    int64_t quota_candidates, quota_evaluations; /* its share of the study's, -1: none */
    bool stopping; /* the scaffold or a quota said stop; pending nodes are still committed */
    bool quota;    /* it was a quota */
    bool done;
    char *held; /* why its agent cannot be asked any more in this session, or NULL */
    bool cut;   /* by a limit of its own, or of the study in an earlier session: pending nodes stay so */
    bool moved; /* something happened since it was last looked at */
    aira__budget own;
} aira__search;

typedef struct aira__run {
    const char *dir;
    char *absolute, *worker;
    const aira__run_options *options;
    aira__journal *journal;
    json_t *study;       /* canonical */
    json_t *quotas;      /* every sharing-out so far: [[candidates, evaluations] per search], last in force */
    aira__asking asking; /* what all searches have in common */
    const char **tokens;
    int n_tokens;
    aira__budget budget;
    aira__ledger ledger;
    aira__instance *executor;
    aira__queue *queue;
    aira__pool *pool;
    aira__search *searches;
    int n_searches, n_studied; /* opened so far; of the study */
    int asking_now;
    bool draining;    /* nothing new starts */
    bool cost_told;   /* what a training costs was compared with the limits */
    bool spent;       /* a limit of the study was reached before this session */
    bool was_stopped; /* an earlier session ended by a limit of the study */
    aira__slot *to_ask, **to_ask_end;
    double seconds_before, started; /* of earlier sessions; aira__now() */
    aira__progress progress;
} aira__run;

/* search.c */
/* Decides, asks and commits as far as the search can go without waiting. */
aira_status aira__search_advance(aira__run *, aira__search *, aira_error *);
/* The slot's question, in its row of the journal by the end of the round, goes out when the round is over. */
void aira__search_ask(aira__run *, aira__slot *, const aira__instance *agent);
void aira__search_send(aira__run *); /* everything that waits for that */
/* The row of a call that is about to be made. */
aira_status aira__search_journal_call(aira__run *, const aira__slot *, aira_error *);
/* An agent's answer is in slot->ask. */
aira_status aira__search_answered(aira__run *, aira__slot *, aira_error *);
/* Takes what the queue has learnt. */
aira_status aira__search_collect(aira__run *, aira__search *, aira_error *);
/* Puts the nodes of the journal back, pending ones into slots. */
aira_status aira__search_restore(aira__run *, aira__search *, aira_error *);
void aira__search_release(aira__search *);

/* call.c */
/* Writes the end of the slot's call. text: the answer, or what there is of a failed one; NULL: the call stays open. */
aira_status aira__call_end(aira__run *, aira__slot *, const char *text, aira_error *);
/* Text that SQLite and JSON can hold: what is not UTF-8, and zero bytes, become '?'. Empties raw; NULL: no memory. */
char *aira__clean_text(aira__buf *raw);

/* confirm.c */
/* Wants seed k of node idx's candidate from the queue; 0: the search's own. */
aira_status aira__search_want(aira__run *, aira__search *, uint32_t idx, uint32_t k, const aira__candidate *,
                              aira_error *);
/* The next node to commit has ended: if it is a contender its further seeds are wanted, and *ready is false until they
   are known. */
aira_status aira__search_confirm(aira__run *, aira__search *, bool *ready, aira_error *);
/* The event of the test that the last commit made. */
aira_status aira__search_tell_test(aira__run *, const aira__search *, uint32_t idx, aira_error *);
/* Puts a committed node of the journal back, with the seeds behind its scores. */
aira_status aira__search_recommit(const aira__run *, aira__search *, const aira__journal_node *, const aira__outcome *,
                                  aira_error *);

/* shares.c */
/* The shares that were in force when the run ended, or the first ones: equal. */
aira_status aira__shares_open(aira__run *, aira_error *);
/* What finished searches left over goes to those that a share stopped. Happens only when all have ended, so that it
   does not depend on which was faster. */
aira_status aira__shares_leftovers(aira__run *, bool *revived, aira_error *);
/* Looks at time, money, tokens and FLOPs: a search that has reached a limit of its own is stopped; *limit: the study's,
   with a sentence. */
aira_status aira__limits_look(aira__run *, aira__limit *, char *sentence, size_t size, aira_error *);

/* analysis.c: what an evaluated node teaches, where the search has an analyst; failures cost the node nothing. */
/* *asked: the node ends when the answer is there. */
aira_status aira__analysis_begin(aira__run *, aira__slot *, bool *asked, aira_error *);
aira_status aira__analysis_answered(aira__run *, aira__slot *, const char *text, aira_error *); /* text NULL: failed */

/* final.c: the test split is opened, once; *interrupted: resumable. */
aira_status aira__run_final(aira__run *, bool *interrupted, aira_error *);
/* gain.c: "final" of docs/contract.md 2 for what was opened; a new reference, or NULL. */
json_t *aira__final_summary(const aira__queue *, const json_t *plan, bool higher, aira_error *);

/* finish.c: selection, aggregation, extrapolation, report. *valid: some candidate was. */
aira_status aira__run_finish(aira__run *, bool *valid, aira_error *);

/* progress.c */
void aira__progress_begin(aira__run *);
void aira__progress_node(aira__run *, const aira__search *, uint32_t idx); /* node idx was committed */
void aira__progress_tick(aira__run *);
void aira__progress_end(aira__run *);

/* plugins.c: [{kind, id, version, sha256}] of every loaded plugin: which code decided and scored. */
json_t *aira__run_plugins(const aira__registry *);
/* Scores and decisions of one run should come from one code. A plugin that is another one now is no error, a user may
   have repaired it, but the journal says so. */
aira_status aira__run_compare_plugins(aira__run *, aira_error *);
/* Do the plugins that workers will be told to use still take the keys that the journal has for them? Otherwise every
   training would fail, and be written down as failed. */
aira_status aira__run_check_plugins(const aira__run *, aira_error *);

double aira__run_seconds(const aira__run *);
bool aira__run_interrupted(const aira__run *);

#endif
