/* core/sandbox/foreign.h - from a C source that nobody has read to a primitive like any other.
 *
 *     tokens:
 *       X: {use: source, file: mechanism.c, config: {heads: 4}}
 *
 * The source is compiled in the sandbox; its build function runs in a confined child, which sends back a list of
 * operations. The host derives every shape anew, refuses what does not fit, and emits the operations into the graph at
 * hand. So training, `aira check`, extrapolation and workers see an ordinary aira_primitive, and foreign code never
 * shares a process with data, labels, clock or score.
 *
 * Compiled sources are kept in the user's cache under the hash of source, headers, compiler and flags; traces under
 * configuration, shape and the answers that the build asked its place for. A build is shown bf16 whatever is computed
 * in: it cannot tell a check in fp64 from a training.
 *
 * Canonical form of such an instance: {"use": "source", "text": the source, "sha256": of it, "config": every key of the
 * source's own schema, "file": its name (messages only), "unconfined": false}. A search makes one with
 * aira__instance_create_json(registry, "primitive", {"use": "source", "text": ...}).
 *
 * Messages are written for whoever wrote the source: compiler errors with lines of the source alone, the sentence of a
 * failed build, what limit was reached; at most 1,500 bytes.
 *
 * Threads: a foreign and its primitives may be used by any thread.
 */
#ifndef AIRA_SANDBOX_FOREIGN_H
#define AIRA_SANDBOX_FOREIGN_H

#include "aira/primitive.h"
#include "core/base/json.h"
#include "core/plugin/registry.h"
#include "core/sandbox/sandbox.h"

#define AIRA__FOREIGN_MAX_SOURCE ((size_t)256 * 1024)

typedef struct aira__foreign_options {
    const char *name;     /* of the source in messages; NULL: "mechanism.c" */
    const char *compiler; /* NULL: gcc, else clang */
    bool unconfined;      /* see sandbox.h */
    double seconds;       /* limit on loading and building; compiling has four times that. 0: 5 */
    /* Where compiling failed: what the sandbox ended it for, AIRA_SANDBOX_REFUSED also for a function that is not
       available; AIRA_SANDBOX_OK: it was not the sandbox. NULL: not asked. */
    aira__sandbox_cause *ended;
} aira__foreign_options;

typedef struct aira__foreign aira__foreign; /* a compiled source */

/* Compiles (or finds in the cache), reads the manifest, checks exports and imports. AIRA_E_CONFIG: the source is wrong,
   error says how. AIRA_E_UNSUPPORTED: no compiler or no sandbox on this machine. *out is released by its last user. */
aira_status aira__foreign_compile(const char *source, size_t n, const aira__foreign_options *, aira__foreign **out,
                                  aira_error *);
void aira__foreign_release(aira__foreign *);             /* NULL is fine */
const char *aira__foreign_id(const aira__foreign *);     /* of its manifest */
const char *aira__foreign_sha256(const aira__foreign *); /* of the source */
/* What the sandbox ended a child for that loaded or built it, the first time that it did: a limit, or a refused system
   call; AIRA_SANDBOX_OK: never (a crash, a failed build and a damaged reply are the source's own). */
aira__sandbox_cause aira__foreign_ended(const aira__foreign *);
/* Seconds that compiling took here, and how much of it was confinement; 0 where the cache knew. */
void aira__foreign_cost(const aira__foreign *, double *compile, double *confinement);

/* A configured one: what aira__layer wants. config: the source's own keys (NULL: defaults), checked in the child. The
   primitive holds a reference to the foreign. */
typedef struct aira__foreign_primitive aira__foreign_primitive;
aira_status aira__foreign_primitive_create(aira__foreign *, const json_t *config, aira__foreign_primitive **,
                                           aira_error *);
void aira__foreign_primitive_destroy(aira__foreign_primitive *);                      /* NULL is fine */
const aira_primitive *aira__foreign_primitive_table(const aira__foreign_primitive *); /* self: the primitive */
const json_t *aira__foreign_primitive_config(const aira__foreign_primitive *);        /* every key, defaults too */
const aira__foreign *aira__foreign_primitive_source(const aira__foreign_primitive *);
/* Builds twice more, each time in a new process, and compares: a build must depend on its arguments only. */
aira_status aira__foreign_primitive_repeats(aira__foreign_primitive *, aira_error *);
/* How often a child was started to trace, and its seconds; for figures. */
void aira__foreign_primitive_cost(const aira__foreign_primitive *, int *traces, double *seconds, double *confinement);

/* Teaches a registry `use: source` (kind primitive). Every program that reads tasks calls it once after
   aira__registry_create. */
aira_status aira__foreign_offer(aira__registry *, aira_error *);

#endif
