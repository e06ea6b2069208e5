/* core/sandbox/foreign.c - see foreign.h: the compiled source, and the primitive that its build makes by way of traces.
 */
#include "core/sandbox/foreign.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/plugin/manifest.h"
#include "core/sandbox/compile.h"
#include "core/sandbox/foreign_internal.h"
#include "core/sandbox/hygiene.h"
#include "core/sandbox/trace.h"

#define MAX_TRACES 64 /* per primitive: more shapes than any training uses */

struct aira__foreign {
    atomic_int users, ended;
    char name[128], sha256[65];
    aira_manifest manifest;
    aira__compiled compiled;
    bool unconfined;
    double seconds;
};

typedef struct entry {
    aira_shape x;
    aira__traced traced;
} entry;

struct aira__foreign_primitive {
    aira_plugin plugin; /* what an instance shows */
    aira_primitive table;
    aira__foreign *foreign;
    json_t *config;
    char token[32], summary[160];
    pthread_mutex_t lock;
    entry *traces[MAX_TRACES];
    int n_traces;
    aira__trace_cost cost;
};

/* --- the source
 * ------------------------------------------------------------------------------------------------------- */

aira_status aira__foreign_compile(const char *source, size_t n, const aira__foreign_options *options,
                                  aira__foreign **out, aira_error *error) {
    static const aira__foreign_options none = {0};
    aira__sandbox_cause ignored, *ended = options != NULL && options->ended != NULL ? options->ended : &ignored;
    *out = NULL;
    *ended = AIRA_SANDBOX_OK;
    if (options == NULL) options = &none;
    const char *name = options->name != NULL ? options->name : "mechanism.c";
    if (n == 0 || n > AIRA__FOREIGN_MAX_SOURCE || memchr(source, 0, n) != NULL)
        return aira__fail(error, AIRA_E_CONFIG, "%s: a source is a text of 1 to %zu bytes", name,
                          AIRA__FOREIGN_MAX_SOURCE);
    aira__foreign *f = calloc(1, sizeof *f);
    if (f == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for a source");
    atomic_init(&f->users, 1);
    atomic_init(&f->ended, AIRA_SANDBOX_OK);
    snprintf(f->name, sizeof f->name, "%s", name);
    f->unconfined = options->unconfined;
    f->seconds = options->seconds > 0 ? options->seconds : 5;
    aira__sha256_hex(source, n, f->sha256);
    aira_status status = aira__compile_source(source, n, options, &f->compiled, ended, error);
    if (status == AIRA_OK) {
        status = aira__hygiene_check(f->compiled.object, f->compiled.n, error);
        if (status == AIRA_E_DENIED) *ended = AIRA_SANDBOX_REFUSED;
        if (status == AIRA_OK) status = aira__manifest_read(f->compiled.object, f->compiled.n, &f->manifest, error);
        if (status == AIRA_OK && strcmp(f->manifest.kind, "primitive") != 0)
            status = aira__fail(error, AIRA_E_CONFIG,
                                "its manifest is that of a %s, wanted AIRA_MANIFEST(\"primitive\", ...)",
                                f->manifest.kind);
        if (status != AIRA_OK) {
            status = error != NULL ? (error->status = AIRA_E_CONFIG) : AIRA_E_CONFIG;
            aira__fail_in(error, "%s", name);
        }
    }
    if (status == AIRA_OK)
        *out = f;
    else
        aira__foreign_release(f);
    return status;
}

void aira__foreign_release(aira__foreign *f) {
    if (f == NULL || atomic_fetch_sub(&f->users, 1) > 1) return;
    free(f->compiled.object);
    free(f);
}

const char *aira__foreign_id(const aira__foreign *f) { return f->manifest.id; }
const char *aira__foreign_sha256(const aira__foreign *f) { return f->sha256; }

aira__sandbox_cause aira__foreign_ended(const aira__foreign *f) { return (aira__sandbox_cause)atomic_load(&f->ended); }

void aira__foreign_cost(const aira__foreign *f, double *compile, double *confinement) {
    *compile = f->compiled.seconds;
    *confinement = f->compiled.confinement;
}

static aira__trace_source source_of(aira__foreign *f) {
    return (aira__trace_source){f->compiled.object, f->compiled.n, f->compiled.key, f->name,
                                f->unconfined,      f->seconds,    &f->ended};
}

/* --- building
 * --------------------------------------------------------------------------------------------------------- */

/* Would the place at hand answer as the one did where this was traced? */
static bool fits(const entry *e, const aira_graph *g, const aira_tensor *x) {
    if (e->x.rank != x->shape.rank || memcmp(e->x.dims, x->shape.dims, sizeof e->x.dims) != 0) return false;
    for (uint32_t k = 0; k < e->traced.n_asked; k++) {
        const aira__asked *was = &e->traced.asked[k];
        aira__asked now = {was->name, was->tensor, false, 0};
        const aira_tensor *t = aira__graph_place(g, &now);
        if (now.known != was->known || (!was->tensor && now.known && now.value != was->value)) return false;
        if (t == NULL) continue;
        char input[160];
        snprintf(input, sizeof input, "ctx.%s", was->name);
        for (uint32_t i = 0; i < e->traced.graph->n_inputs; i++) {
            const aira__input *in = &e->traced.graph->inputs[i];
            if (strcmp(in->name, input) != 0) continue;
            if ((in->tensor->dtype == AIRA_I32) != (t->dtype == AIRA_I32) || in->tensor->shape.rank != t->shape.rank ||
                memcmp(in->tensor->shape.dims, t->shape.dims, sizeof t->shape.dims) != 0)
                return false;
        }
    }
    return true;
}

static json_t *shape_json(const aira_shape *shape) {
    json_t *list = json_array();
    for (uint32_t k = 0; k < shape->rank; k++) json_array_append_new(list, json_integer(shape->dims[k]));
    return list;
}

/* Whatever is computed in, a build is shown bf16: see core/graph/splice.h. */
static int shown_type(uint32_t type) { return type == AIRA_I32 ? (int)AIRA_I32 : (int)AIRA_BF16; }

static json_t *request_for(const aira__foreign_primitive *p, const aira_graph *g, const aira_tensor *x) {
    json_t *ints = json_object(), *tensors = json_array();
    const char *name;
    int64_t value;
    aira_tensor *tensor;
    for (uint32_t k = 0; aira__graph_offered(g, k, &name, &value, &tensor); k++) {
        if (tensor == NULL)
            json_object_set_new(ints, name, json_integer(value));
        else
            json_array_append_new(tensors,
                                  json_pack("[s, i, o]", name, shown_type(tensor->dtype), shape_json(&tensor->shape)));
    }
    return json_pack("{s:O, s:[{s:o, s:o, s:o}]}", "config", p->config, "traces", "shape", shape_json(&x->shape),
                     "ints", ints, "tensors", tensors);
}

static aira_status trace(aira__foreign_primitive *p, const aira_graph *g, const aira_tensor *x, bool fresh, entry **out,
                         aira_error *error) {
    aira__trace_source source = source_of(p->foreign);
    aira__trace_reply reply;
    json_t *request = request_for(p, g, x);
    entry *e = calloc(1, sizeof *e);
    aira_status status = request != NULL && e != NULL
                             ? aira__trace_ask(&source, request, fresh, &reply, &p->cost, error)
                             : aira__fail(error, AIRA_E_MEMORY, "out of memory while building %s", p->foreign->name);
    if (status == AIRA_OK) {
        e->x = x->shape;
        status = aira__trace_take(&reply, p->foreign->name, &x->shape, &e->traced, error);
        aira__trace_reply_release(&reply);
    }
    json_decref(request);
    if (status == AIRA_OK)
        *out = e;
    else
        free(e);
    return status;
}

static void forget(entry *e) {
    aira__traced_release(&e->traced);
    free(e);
}

/* The lock is held meanwhile: a trace takes milliseconds, and a second thread would want the same one. */
static entry *find_or_trace(aira__foreign_primitive *p, const aira_graph *g, const aira_tensor *x, aira_error *error) {
    for (int k = 0; k < p->n_traces; k++)
        if (fits(p->traces[k], g, x)) return p->traces[k];
    entry *made = NULL;
    if (trace(p, g, x, false, &made, error) != AIRA_OK) return NULL;
    if (p->n_traces == MAX_TRACES) forget(p->traces[--p->n_traces]); /* nobody else uses it: the lock is held */
    p->traces[p->n_traces++] = made;
    return made;
}

static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    aira__foreign_primitive *p = self;
    aira_error error = {0};
    if (x == NULL) return NULL;
    pthread_mutex_lock(&p->lock);
    entry *e = find_or_trace(p, g, x, &error);
    aira_tensor *y = e != NULL ? aira__graph_splice(g, &e->traced.part, x) : ops->error(g, error.text);
    pthread_mutex_unlock(&p->lock);
    return y;
}

/* Known from a trace of that width, else from one that is made for it. */
static int64_t kv_elements(void *self, int64_t width) {
    aira__foreign_primitive *p = self;
    aira_error unused = {0};
    int64_t kv = 0;
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_shape shape = {{1, 16, width}, 3, 0};
    aira_tensor *x = g != NULL ? aira__graph_input(g, "x", AIRA_F32, &shape) : NULL;
    pthread_mutex_lock(&p->lock);
    const entry *e = NULL;
    for (int k = 0; k < p->n_traces && e == NULL; k++)
        if (p->traces[k]->x.rank == 3 && p->traces[k]->x.dims[2] == width) e = p->traces[k];
    if (e == NULL && x != NULL) e = find_or_trace(p, g, x, &unused);
    if (e != NULL) kv = e->traced.kv;
    pthread_mutex_unlock(&p->lock);
    aira__graph_destroy(g);
    return kv;
}

aira_status aira__foreign_primitive_repeats(aira__foreign_primitive *p, aira_error *error) {
    pthread_mutex_lock(&p->lock);
    aira_status status = AIRA_OK;
    aira__bytes first = {0}, second = {0};
    aira_graph *g = aira__graph_create(AIRA_F32, NULL);
    const aira_shape shape = {{2, 16, 64}, 3, 0};
    aira_tensor *x = g != NULL ? aira__graph_input(g, "x", AIRA_F32, &shape) : NULL;
    entry *one = NULL, *two = NULL;
    if (p->n_traces > 0 && x != NULL) { /* a width that is known to be accepted */
        aira__graph_destroy(g);
        g = aira__graph_create(AIRA_F32, NULL);
        x = g != NULL ? aira__graph_input(g, "x", AIRA_F32, &p->traces[0]->x) : NULL;
    }
    if (x == NULL) status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
    if (status == AIRA_OK) status = trace(p, g, x, true, &one, error);
    if (status == AIRA_OK) status = trace(p, g, x, true, &two, error);
    if (status == AIRA_OK) status = aira__graph_write(one->traced.graph, &first, error);
    if (status == AIRA_OK) status = aira__graph_write(two->traced.graph, &second, error);
    if (status == AIRA_OK && (first.size != second.size || memcmp(first.data, second.data, first.size) != 0))
        status = aira__fail(error, AIRA_E_CONFIG,
                            "built in two processes, two different graphs; build must depend on its "
                            "arguments only");
    free(first.data);
    free(second.data);
    if (one != NULL) forget(one);
    if (two != NULL) forget(two);
    aira__graph_destroy(g);
    pthread_mutex_unlock(&p->lock);
    return status;
}

/* --- the primitive
 * ---------------------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const char *from) {
    size_t n = 0;
    for (; from[n] != 0 && n + 1 < size; n++) to[n] = from[n] >= 32 && from[n] < 127 ? from[n] : ' ';
    to[n] = 0;
}

static void destroy(void *self) { aira__foreign_primitive_destroy(self); }

static aira_status fill(aira__foreign_primitive *p, const json_t *head, aira_error *error) {
    json_t *config = json_object_get(head, "config");
    if (!json_is_object(config))
        return aira__fail(error, AIRA_E_CONFIG, "%s: its configuration came back damaged", p->foreign->name);
    p->config = json_incref(config);
    copy_text(p->token, sizeof p->token, aira__json_string(head, "token", ""));
    copy_text(p->summary, sizeof p->summary, aira__json_string(head, "summary", ""));
    p->table = (aira_primitive){.size = sizeof p->table,
                                .flags = (uint32_t)aira__json_int(head, "flags", 0) & AIRA_PRIMITIVE_MIXES_TIME,
                                .token = p->token,
                                .build = build,
                                .kv_elements_per_token = kv_elements};
    p->plugin = (aira_plugin){.size = sizeof p->plugin,
                              .kind_size = sizeof p->table,
                              .abi_major = AIRA_ABI_MAJOR,
                              .abi_minor = AIRA_ABI_MINOR,
                              .kind = "primitive",
                              .id = AIRA__FOREIGN_ID,
                              .version = p->foreign->manifest.version,
                              .license = "",
                              .summary = p->summary,
                              .table = &p->table,
                              .destroy = destroy};
    return AIRA_OK;
}

aira_status aira__foreign_primitive_create(aira__foreign *f, const json_t *config, aira__foreign_primitive **out,
                                           aira_error *error) {
    *out = NULL;
    aira__foreign_primitive *p = calloc(1, sizeof *p);
    if (p == NULL || pthread_mutex_init(&p->lock, NULL) != 0) {
        free(p);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for a primitive");
    }
    atomic_fetch_add(&f->users, 1);
    p->foreign = f;
    aira__trace_source source = source_of(f);
    aira__trace_reply reply;
    json_t *request = json_pack("{s:O?}", "config", config);
    if (request != NULL && config == NULL) json_object_set_new(request, "config", json_object());
    aira_status status = request != NULL ? aira__trace_ask(&source, request, false, &reply, &p->cost, error)
                                         : aira__fail(error, AIRA_E_MEMORY, "out of memory for a primitive");
    if (status == AIRA_OK) {
        status = fill(p, reply.head, error);
        aira__trace_reply_release(&reply);
    }
    json_decref(request);
    if (status == AIRA_OK)
        *out = p;
    else
        aira__foreign_primitive_destroy(p);
    return status;
}

void aira__foreign_primitive_destroy(aira__foreign_primitive *p) {
    if (p == NULL) return;
    for (int k = 0; k < p->n_traces; k++) forget(p->traces[k]);
    json_decref(p->config);
    aira__foreign_release(p->foreign);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const aira_primitive *aira__foreign_primitive_table(const aira__foreign_primitive *p) { return &p->table; }
const aira_plugin *aira__foreign_primitive_plugin(const aira__foreign_primitive *p) { return &p->plugin; }
const json_t *aira__foreign_primitive_config(const aira__foreign_primitive *p) { return p->config; }
const aira__foreign *aira__foreign_primitive_source(const aira__foreign_primitive *p) { return p->foreign; }

void aira__foreign_primitive_cost(const aira__foreign_primitive *p, int *traces, double *seconds, double *confinement) {
    *traces = p->cost.children;
    *seconds = p->cost.seconds;
    *confinement = p->cost.confinement;
}
