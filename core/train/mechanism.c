/* core/train/mechanism.c - see mechanism.h. */
#include "core/train/mechanism.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/sandbox/foreign.h"
#include "core/train/task_design.h"

struct aira__mechanism {
    aira__foreign *foreign;
    aira__foreign_primitive *primitive;
    char id[80]; /* so that no device takes it for a primitive of its own */
    char *config;
    aira__layer layer;
};

void aira__mechanism_close(aira__mechanism *m) {
    if (m == NULL) return;
    aira__foreign_primitive_destroy(m->primitive);
    aira__foreign_release(m->foreign);
    free(m->config);
    free(m);
}

static const char *cause_of(aira__sandbox_cause ended, const char *otherwise) {
    if (ended == AIRA_SANDBOX_OK) return otherwise;
    return ended == AIRA_SANDBOX_REFUSED ? "refused" : "stopped";
}

const char *aira__mechanism_cause(const aira__mechanism *m, const char *otherwise) {
    return cause_of(aira__foreign_ended(m->foreign), otherwise);
}

aira_status aira__mechanism_open(const char *source, aira__mechanism **out, const char **cause, aira_error *error) {
    aira__sandbox_cause ended = AIRA_SANDBOX_OK;
    aira__foreign_options options = {.name = "mechanism.c", .ended = &ended};
    aira__mechanism *m = calloc(1, sizeof *m);
    *out = NULL;
    *cause = "memory";
    if (m == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a mechanism");
    aira_status status = aira__foreign_compile(source, strlen(source), &options, &m->foreign, error);
    if (status == AIRA_OK) status = aira__foreign_primitive_create(m->foreign, NULL, &m->primitive, error);
    if (status != AIRA_OK) {
        if (m->foreign != NULL) ended = aira__foreign_ended(m->foreign);
        *cause = status == AIRA_E_UNSUPPORTED ? "sandbox"
                 : status == AIRA_E_MEMORY    ? "memory"
                                              : cause_of(ended, "compile");
        aira__mechanism_close(m);
        return status;
    }
    snprintf(m->id, sizeof m->id, "source:%s", aira__foreign_sha256(m->foreign));
    m->config = aira__json_canonical(aira__foreign_primitive_config(m->primitive));
    m->layer = (aira__layer){AIRA__MECHANISM, m->id, m->config, aira__foreign_primitive_table(m->primitive),
                             m->primitive};
    if (m->config == NULL) {
        aira__mechanism_close(m);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for a mechanism");
    }
    *out = m;
    return AIRA_OK;
}

const aira__layer *aira__mechanism_layer(const aira__mechanism *m) { return &m->layer; }

aira_status aira__mechanism_trace(const aira__mechanism *m, int64_t width, bool causal, const char **cause,
                                  aira_error *error) {
    aira_graph *graph = aira__primitive_build(&m->layer, 2, 16, width, AIRA_F32, causal, error);
    if (graph == NULL) /* what the cache knows needs no sandbox, what failed needed one */
        *cause = aira__mechanism_cause(m, aira__sandbox_available(NULL, 0) == AIRA_SANDBOX_NONE ? "sandbox" : "trace");
    aira__graph_destroy(graph);
    return graph != NULL ? AIRA_OK : AIRA_E_FAILED;
}
