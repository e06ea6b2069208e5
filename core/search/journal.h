/* core/search/journal.h - the truth about a run: one SQLite database, written by one process, the coordinator.
 *
 * The schema is docs/contract.md 6. Everything that a run must remember goes through here before anything depends on
 * it, so that a kill at any instant loses at most the work in flight. Writes happen in transactions: group those that
 * belong together with begin/commit; a single write outside of one is its own transaction.
 *
 * Durability: WAL with synchronous=FULL. A run writes a few rows per node, and some of them stand for money already
 * spent, so losing the last ones to a power cut would cost more than the sync. On a network file system WAL cannot
 * work (it needs memory shared by all processes), so there a rollback journal under an exclusive lock is used, which
 * shuts out readers while the run lasts.
 *
 * Threads: one. NULL strings become SQL NULL, and so do NAN scores and numbers below their stated minimum.
 */
#ifndef AIRA_SEARCH_JOURNAL_H
#define AIRA_SEARCH_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

#define AIRA__JOURNAL_VERSION 2
#define AIRA__JOURNAL_APPLICATION_ID 0x41495241

typedef struct aira__journal aira__journal;
struct sqlite3;

typedef struct aira__journal_options {
    bool read_only;      /* an existing journal; nothing is written, migrated or locked for long */
    bool check;          /* read_only: look for damage first, as is always done before a journal is written */
    bool create;         /* the file must not exist yet */
    bool network_forced; /* tests: behave as on a network file system */
} aira__journal_options;

/* Opens, checks (is it a journal, is it not newer than this program) and migrates upward. */
aira_status aira__journal_open(const char *path, const aira__journal_options *, aira__journal **, aira_error *);
void aira__journal_close(aira__journal *);         /* NULL is fine; an open transaction is rolled back */
struct sqlite3 *aira__journal_db(aira__journal *); /* for queries of one's own; do not write through it */
bool aira__journal_on_network(const char *folder);

aira_status aira__journal_begin(aira__journal *, aira_error *);
aira_status aira__journal_commit(aira__journal *, aira_error *);
void aira__journal_rollback(aira__journal *); /* of a group: all of it; the group has ended */
/* From group to flush all writes are one transaction, which the first one begins; begin and commit in between do
   nothing. A sync costs more than the rows of a node, so the loop of a run writes one group per round. */
void aira__journal_group(aira__journal *);
aira_status aira__journal_flush(aira__journal *, aira_error *);

/* study(key, value). get: malloc'ed, NULL where absent or on error (then error is set). */
aira_status aira__journal_set_study(aira__journal *, const char *key, const char *value, aira_error *);
char *aira__journal_get_study(aira__journal *, const char *key, aira_error *);
/* result(kind, name, value), as study. */
aira_status aira__journal_set_result(aira__journal *, const char *kind, const char *name, const char *value,
                                     aira_error *);
char *aira__journal_get_result(aira__journal *, const char *kind, const char *name, aira_error *);

typedef struct aira__journal_search {
    int64_t id;
    const char *agent, *scaffold; /* canonical JSON */
    uint64_t seed;
    const char *task_hash;
    int64_t parallel;
    const char *label, *state, *reason; /* state: "running", "done", "stopped"; reason may be NULL */
    const char *origin;                 /* where a forked search came from: "RUN_DIR search:idx"; NULL */
} aira__journal_search;
aira_status aira__journal_add_search(aira__journal *, const aira__journal_search *, aira_error *);
aira_status aira__journal_search_state(aira__journal *, int64_t id, const char *state, const char *reason,
                                       aira_error *);

/* Nothing happens where the hash is known. */
aira_status aira__journal_add_candidate(aira__journal *, const char *hash, const char *kind, const char *architecture,
                                        const char *canonical, aira_error *);

/* Its canonical text; malloc'ed, NULL where absent or on error (then error is set). */
char *aira__journal_get_candidate(aira__journal *, const char *hash, aira_error *);

typedef struct aira__journal_node {
    int64_t search, idx;
    const char *operator_name;
    int64_t parent, other_parent; /* -1: none */
    uint64_t seed;                /* of its evaluation */
    const char *hash;             /* of its candidate, NULL */
    const char *architecture;     /* reading only */
    int64_t duplicate_of;         /* -1 */
    const char *status;           /* "pending", "good", "buggy" */
    const char *note, *cause;
    double search_score, selection_score; /* NAN: none */
    double created, finished;             /* seconds since 1970; finished 0: not yet */
    int64_t view;                         /* committed nodes when it was decided; -1: unknown */
    int64_t seeds;                        /* trainings that the scores are means of; 0: none */
    double spread;                        /* standard deviation of the search score over them; NAN */
    const char *standing;                 /* "provisional", "confirmed"; NULL: not compared */
    const char *plan, *analysis;          /* hashes of texts, NULL */
} aira__journal_node;
/* Takes everything up to hash, which is known where the scaffold proposed the candidate, and status, created, view. */
aira_status aira__journal_add_node(aira__journal *, const aira__journal_node *, aira_error *);
/* Takes everything from hash on but architecture, created, view, plan and analysis. */
aira_status aira__journal_finish_node(aira__journal *, const aira__journal_node *, aira_error *);

/* A node's plan or analysis, as soon as it is known. */
aira_status aira__journal_set_plan(aira__journal *, int64_t search, int64_t idx, const char *body, aira_error *);
aira_status aira__journal_set_analysis(aira__journal *, int64_t search, int64_t idx, const char *body, aira_error *);

/* Stores body once; hash gets its SHA-256. get: malloc'ed, NULL where absent. */
aira_status aira__journal_put_text(aira__journal *, const char *body, char hash[65], aira_error *);
char *aira__journal_get_text(aira__journal *, const char *hash, aira_error *);

/* Prompts: what they have in common is stored once (docs/contract.md 6). messages: [{"role", "content"}], roles are
   plain words; hash gets what call.prompt holds. The readers work on any connection, without preparing anything that
   outlives them, and read prompts of version 1 as well; prompt: a call's. */
aira_status aira__journal_put_prompt(aira__journal *, const json_t *messages, char hash[65], aira_error *);
/* The very messages that were put: a new reference, or NULL. */
json_t *aira__journal_messages(struct sqlite3 *, const char *prompt, aira_error *);
/* All messages as one text for readers, each below its role in brackets; malloc'ed, NULL with an error. */
char *aira__journal_prompt(struct sqlite3 *, const char *prompt, aira_error *);
/* The whole request where version 1 stored one: {"messages", "operator", "seed", "state"}; else NULL without an error.
 */
json_t *aira__journal_request_v1(struct sqlite3 *, const char *prompt, aira_error *);

typedef struct aira__journal_call {
    int64_t search, idx, attempt;
    const char *operator_name;                  /* the node's, or "analyse" */
    const char *request_hash, *prompt, *answer; /* prompt, answer: hashes of texts; answer NULL */
    const char *state;                          /* "asked", "answered", "failed" */
    const char *error;
    int64_t input_tokens, cached_tokens, output_tokens, reasoning_tokens; /* -1: unknown */
    double money_usd;                                                     /* below 0: unknown */
    double started, seconds;                                              /* seconds below 0: unknown */
    int64_t cache_write_tokens;                                           /* -1: unknown */
    int64_t tries;                                                        /* requests sent; 0: unknown */
    const char *partial; /* hash of text that a cut stream had brought, NULL */
    const char *model;   /* that answered, NULL */
    const char *notes;   /* what was tried again or left out, NULL */
} aira__journal_call;
/* The call must be here before it is made; a call that is asked again after a crash keeps its row. */
aira_status aira__journal_begin_call(aira__journal *, const aira__journal_call *, aira_error *);
aira_status aira__journal_end_call(aira__journal *, const aira__journal_call *, aira_error *);

typedef struct aira__journal_evaluation {
    const char *hash, *task_hash;
    uint64_t seed;
    const char *purpose;       /* "search", "confirm", "final" */
    int64_t search;            /* that wanted it first; 0: none */
    const char *status;        /* "ok", "failed" */
    const char *cause, *error; /* docs/contract.md 4 */
    double search_score, selection_score, test_score;
    const char *metrics, *curve; /* JSON */
    int64_t parameters;          /* -1 */
    double flops, seconds;       /* NAN */
    const char *hashes;          /* JSON */
} aira__journal_evaluation;
/* A second ingestion of the same (hash, task, seed, purpose) changes nothing; *added (may be NULL) tells. */
aira_status aira__journal_add_evaluation(aira__journal *, const aira__journal_evaluation *, bool *added, aira_error *);

/* search, idx: -1 where the event belongs to none. */
aira_status aira__journal_event(aira__journal *, const char *kind, int64_t search, int64_t idx, const char *text,
                                aira_error *);

/* Readers. Strings are valid inside the callback only; a status other than AIRA_OK ends the reading and is returned. */
typedef aira_status (*aira__journal_search_fn)(void *context, const aira__journal_search *, aira_error *);
typedef aira_status (*aira__journal_node_fn)(void *context, const aira__journal_node *, aira_error *);
typedef aira_status (*aira__journal_call_fn)(void *context, const aira__journal_call *, aira_error *);
typedef aira_status (*aira__journal_evaluation_fn)(void *context, const aira__journal_evaluation *, aira_error *);
aira_status aira__journal_each_search(aira__journal *, aira__journal_search_fn, void *context, aira_error *);
aira_status aira__journal_each_node(aira__journal *, int64_t search, aira__journal_node_fn, void *context,
                                    aira_error *); /* in logical order; search -1: all */
aira_status aira__journal_each_call(aira__journal *, int64_t search, aira__journal_call_fn, void *context,
                                    aira_error *); /* by node and attempt; search -1: all */
/* Of one node, its analyse calls last. */
aira_status aira__journal_calls_of(aira__journal *, int64_t search, int64_t idx, aira__journal_call_fn, void *context,
                                   aira_error *);
aira_status aira__journal_each_evaluation(aira__journal *, aira__journal_evaluation_fn, void *context, aira_error *);
/* The evaluation that steers a search: purpose "search". fn is not called where there is none. */
aira_status aira__journal_find_evaluation(aira__journal *, const char *hash, const char *task_hash, uint64_t seed,
                                          aira__journal_evaluation_fn, void *context, aira_error *);
/* One number of a query that gives one; fallback where it is NULL or fails. For counts and sums. */
double aira__journal_number(aira__journal *, const char *sql, double fallback);

#endif
