/* core/engine/session.h - graphs made runnable: planned, compiled on one device, with shared variables.
 *
 * A session takes all graphs that belong together (training step, evaluation) at once; variables of the same name are
 * one variable. copies K > 1 stacks every graph: K independent sets of variables and inputs, same operations.
 */
#ifndef AIRA_ENGINE_SESSION_H
#define AIRA_ENGINE_SESSION_H

#include "aira/device.h"
#include "aira/ext/queue.h"
#include "core/graph/graph.h"

typedef struct aira__session aira__session;

typedef struct aira__session_options {
    uint32_t copies;                  /* 0, 1: not stacked */
    bool expand_all;                  /* tests: no composite kernels */
    bool no_fusion;                   /* tests: no elementwise chains */
    uint64_t seed;                    /* of RANDOM operations */
    const char *const *shared_inputs; /* inputs that all copies share; NULL-terminated, may be NULL */
    const aira_device_queue *queue;   /* of the device, whose self is a queue; NULL: it has none */
} aira__session_options;

typedef struct aira__footprint { /* predicted, bytes; known before anything is allocated */
    uint64_t variables, activations, io;
} aira__footprint;

/* Plans; nothing is allocated on the device or compiled. The session keeps pointers to the graphs (not owned) and to
   the device. host: for the device's error sentences. */
aira_status aira__session_plan(const aira_device *, void *device_self, const aira_host *host, aira_graph *const *graphs,
                               uint32_t n, const aira__session_options *, aira__session **, aira_error *);
void aira__session_footprint(const aira__session *, aira__footprint *);
/* Buffers and programs of a planned session, which can do everything from now on. After a failure: destroy it. */
aira_status aira__session_start(aira__session *, aira_error *);
/* Both at once. */
aira_status aira__session_create(const aira_device *, void *device_self, const aira_host *host,
                                 aira_graph *const *graphs, uint32_t n, const aira__session_options *, aira__session **,
                                 aira_error *);
void aira__session_destroy(aira__session *);

/* Every variable to its initial value; copy c uses seeds[c]. */
aira_status aira__session_initialise(aira__session *, const uint64_t *seeds, aira_error *);

/* data is dense, in the tensor's own element type; bytes must match. copy: 0 .. copies-1. */
aira_status aira__session_set_input(aira__session *, uint32_t graph, const char *name, uint32_t copy, const void *data,
                                    uint64_t bytes, aira_error *);
aira_status aira__session_get_output(aira__session *, uint32_t graph, const char *name, uint32_t copy, void *data,
                                     uint64_t bytes, aira_error *);
aira_status aira__session_get_variable(aira__session *, const char *name, uint32_t copy, void *data, uint64_t bytes,
                                       aira_error *);
aira_status aira__session_set_variable(aira__session *, const char *name, uint32_t copy, const void *data,
                                       uint64_t bytes, aira_error *);
/* Runs one graph once: inputs must have been set; assignments take effect. */
aira_status aira__session_run(aira__session *, uint32_t graph, aira_error *);

/* Between queue and finish, on a device with queues, the calls above hand work over without waiting for it: what
   get_output and get_variable ask for is there, and what failed is told, when finish returns; their `data` stays valid
   until then, also after a failure. Elsewhere nothing changes. finish ends it. */
void aira__session_queue(aira__session *);
aira_status aira__session_finish(aira__session *, aira_error *);

/* Human-readable plan of a graph, for `--explain` and tests. malloc'ed. */
char *aira__session_describe(const aira__session *, uint32_t graph);

#endif
