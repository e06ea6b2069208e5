/* core/sandbox/trace.h - the host's side of a trace: asks the confined child and checks what comes back as if foreign
 * code had written every byte of it, because it may have. Used by foreign.c. */
#ifndef AIRA_SANDBOX_TRACE_H
#define AIRA_SANDBOX_TRACE_H

#include <stdatomic.h>

#include "core/base/json.h"
#include "core/graph/splice.h"
#include "core/sandbox/sandbox.h"

typedef struct aira__trace_source {
    const void *object; /* the shared object */
    size_t n;
    const char *key;  /* of it, for the cache of replies */
    const char *name; /* in messages */
    bool unconfined;
    double seconds;    /* limit */
    atomic_int *ended; /* gets the first cause for which the sandbox itself ended a child (aira__foreign_ended) */
} aira__trace_source;

typedef struct aira__trace_cost {
    int children;
    double seconds, confinement;
} aira__trace_cost;

typedef struct aira__trace_reply {
    char *bytes; /* owned */
    json_t *head;
    const uint8_t *graphs; /* into bytes */
    size_t n_graphs;
} aira__trace_reply;

/* request: see trace_child.h. AIRA_E_CONFIG with a message for the author where the code failed or was stopped. fresh:
   the cache is not asked. cost is added to. */
aira_status aira__trace_ask(const aira__trace_source *, const json_t *request, bool fresh, aira__trace_reply *,
                            aira__trace_cost *, aira_error *);
/* The parts of a reply; bytes are taken on success only. */
aira_status aira__trace_open(const char *name, char *bytes, size_t n, aira__trace_reply *, aira_error *);
void aira__trace_reply_release(aira__trace_reply *);

/* The only trace of a reply as a part that may be spliced; it stays valid until released. */
typedef struct aira__traced {
    aira_graph *graph;
    aira__asked *asked; /* what the part depends on */
    uint32_t n_asked;
    aira__part part;
    int64_t kv;
    json_t *head; /* the names above belong to it */
} aira__traced;
aira_status aira__trace_take(const aira__trace_reply *, const char *name, const aira_shape *x, aira__traced *,
                             aira_error *);
void aira__traced_release(aira__traced *);

#endif
