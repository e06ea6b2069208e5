/* core/engine/session.c - plans, compiles and runs graphs on one device; see session.h.
 *
 * One PERSISTENT buffer for the variables of all graphs, one arena as large as the largest graph needs, one IO buffer
 * per graph. Variables keep the order in which the graphs declare them.
 */
#include "core/engine/session.h"

#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/engine/plan.h"
#include "core/plugin/registry.h"

typedef struct program {
    aira__plan *plan;
    void *compiled, *io;
} program;

struct aira__session {
    const aira_device *device;
    void *self;
    const aira_host *host;
    const aira_device_queue *queue; /* NULL: the device has none */
    bool queued;                    /* between aira__session_queue and aira__session_finish */
    bool touched;                   /* variables may be other than zero */
    uint32_t copies, n;
    uint64_t seed;
    program *programs;
    aira__variable_table variables;
    void *persistent, *arena;
};

/* --- variables --- */

static const aira__variable_place *find_place(const aira__variable_table *table, const char *name) {
    uint64_t hash = aira_key(0, name);
    for (uint32_t k = 0; k < table->n; k++) {
        const aira__variable_place *place = &table->places[k];
        if (place->variable->hash == hash && strcmp(place->name, name) == 0) return place;
    }
    return NULL;
}

static aira_status add_variable(aira__variable_table *table, const aira_graph *graph, const aira__variable *variable,
                                uint32_t copies, aira_error *error) {
    const aira__variable_place *known = find_place(table, variable->name);
    if (known != NULL) {
        if (known->dtype == variable->dtype && aira__same_shape(&known->shape, &variable->shape)) return AIRA_OK;
        char a[128], b[128];
        aira__shape_text(&known->shape, a, sizeof a);
        aira__shape_text(&variable->shape, b, sizeof b);
        return aira__fail(error, AIRA_E_FAILED, "variable %s is %s %s in one graph and %s %s in another",
                          variable->name, aira__dtype_name(known->dtype), a, aira__dtype_name(variable->dtype), b);
    }
    uint64_t bytes = (uint64_t)aira__shape_elements(&variable->shape) * aira__dtype_bytes(variable->dtype);
    table->places[table->n++] = (aira__variable_place){variable->name, variable->dtype, variable->shape, table->bytes,
                                                       bytes,          graph,           variable};
    table->bytes += (bytes * copies + 63) & ~(uint64_t)63;
    return AIRA_OK;
}

/* The variables of all graphs; table->places is malloc'ed. */
static aira_status collect_variables(aira_graph *const *graphs, uint32_t n, uint32_t copies,
                                     aira__variable_table *table, aira_error *error) {
    size_t room = 1;
    for (uint32_t g = 0; g < n; g++) room += graphs[g]->n_variables;
    *table = (aira__variable_table){calloc(room, sizeof *table->places), 0, 0};
    if (table->places == NULL) return aira__plan_memory(error);
    for (uint32_t g = 0; g < n; g++) {
        for (uint32_t k = 0; k < graphs[g]->n_variables; k++) {
            aira_status status = add_variable(table, graphs[g], graphs[g]->variables[k], copies, error);
            if (status != AIRA_OK) return status;
        }
    }
    return AIRA_OK;
}

/* --- planning --- */

typedef struct native_context {
    const aira_device *device;
    void *self;
} native_context;

static bool is_native(void *context, const aira__op *op) {
    const native_context *c = context;
    aira_plan_tensor tensors[32];
    if (op->n_in + op->n_out > 32) return false;
    for (uint32_t k = 0; k < op->n_in + op->n_out; k++) {
        const aira_tensor *t = k < op->n_in ? op->in[k] : op->out[k - op->n_in];
        tensors[k] = (aira_plan_tensor){.size = sizeof *tensors, .dtype = t->dtype, .copies = 1, .shape = t->shape};
    }
    return c->device->supports(c->self, op->code, tensors, op->n_in, op->n_out, op->i, op->n_i) != 0;
}

static aira_status plan_graph(const aira_device *device, void *self, const aira_graph *graph,
                              const aira__session_options *options, const aira__variable_table *variables,
                              aira__plan **plan, aira_error *error) {
    native_context context = {device, self};
    aira_status status = aira__graph_check(graph, error);
    if (status != AIRA_OK) return status;
    aira_graph *rewritten = NULL;
    if (!options->expand_all) status = aira__graph_fuse_head(graph, is_native, &context, &rewritten, error);
    if (status != AIRA_OK) return status;
    aira_graph *expanded = aira__graph_expand(rewritten != NULL ? rewritten : graph,
                                              options->expand_all ? NULL : is_native, &context, error);
    aira__graph_destroy(rewritten);
    if (expanded == NULL) return error != NULL && error->status != AIRA_OK ? error->status : AIRA_E_FAILED;
    aira__plan_options plan_options = {options->copies > 1 ? options->copies : 1, options->no_fusion,
                                       options->shared_inputs};
    return aira__plan_create(expanded, variables, &plan_options, plan, error);
}

/* --- life --- */

/* The sentence of a device call that failed. */
static aira_status device_failed(const aira__session *s, aira_status status, const char *what, aira_error *error) {
    const char *why = s->host != NULL ? aira__host_last_failure(s->host) : "";
    if (why[0] == 0) {
        why = status == AIRA_E_MEMORY ? "out of memory; use a smaller model, batch or fewer candidates at once"
                                      : "the device gave no reason";
    }
    return aira__fail(error, status, "%s: %s", what, why);
}

static void clear_failure(const aira__session *s) {
    if (s->host != NULL) aira__host_clear_failure(s->host);
}

static aira_status create_buffer(aira__session *s, uint64_t bytes, const char *what, void **buffer, aira_error *error) {
    clear_failure(s);
    aira_status status = s->device->buffer_create(s->self, bytes > 0 ? bytes : 64, buffer);
    if (status == AIRA_OK) return AIRA_OK;
    char sentence[128];
    snprintf(sentence, sizeof sentence, "allocating %.1f MiB for %s", (double)bytes / 1048576.0, what);
    return device_failed(s, status, sentence, error);
}

aira_status aira__session_plan(const aira_device *device, void *self, const aira_host *host, aira_graph *const *graphs,
                               uint32_t n, const aira__session_options *options, aira__session **out,
                               aira_error *error) {
    static const aira__session_options defaults = {0};
    if (options == NULL) options = &defaults;
    *out = NULL;
    aira__session *s = calloc(1, sizeof *s);
    if (s == NULL) return aira__plan_memory(error);
    s->device = device;
    s->self = self;
    s->host = host;
    s->copies = options->copies > 1 ? options->copies : 1;
    s->seed = options->seed;
    s->queue = options->queue;
    s->programs = calloc(n + 1, sizeof *s->programs);
    aira_status status = s->programs == NULL ? aira__plan_memory(error) : AIRA_OK;
    if (status == AIRA_OK) status = collect_variables(graphs, n, s->copies, &s->variables, error);
    for (; s->n < n && status == AIRA_OK; s->n++) {
        status = plan_graph(device, self, graphs[s->n], options, &s->variables, &s->programs[s->n].plan, error);
    }
    if (status != AIRA_OK) {
        aira__session_destroy(s);
        return status;
    }
    *out = s;
    return AIRA_OK;
}

void aira__session_footprint(const aira__session *s, aira__footprint *footprint) {
    *footprint = (aira__footprint){s->variables.bytes, 0, 0};
    for (uint32_t g = 0; g < s->n; g++) {
        const aira_plan *table = &s->programs[g].plan->table;
        if (table->bytes[AIRA_STORE_ARENA] > footprint->activations)
            footprint->activations = table->bytes[AIRA_STORE_ARENA];
        footprint->io += table->bytes[AIRA_STORE_IO];
    }
}

aira_status aira__session_start(aira__session *s, aira_error *error) {
    aira__footprint need;
    aira__session_footprint(s, &need);
    aira_status status = create_buffer(s, need.variables, "parameters and optimizer state", &s->persistent, error);
    if (status == AIRA_OK) status = create_buffer(s, need.activations, "activations", &s->arena, error);
    for (uint32_t g = 0; g < s->n && status == AIRA_OK; g++) {
        program *p = &s->programs[g];
        status = create_buffer(s, p->plan->table.bytes[AIRA_STORE_IO], "inputs and outputs", &p->io, error);
        if (status != AIRA_OK) break;
        clear_failure(s);
        status = s->device->compile(s->self, &p->plan->table, &p->compiled);
        if (status != AIRA_OK) return device_failed(s, status, "compiling a graph", error);
    }
    return status;
}

aira_status aira__session_create(const aira_device *device, void *self, const aira_host *host,
                                 aira_graph *const *graphs, uint32_t n, const aira__session_options *options,
                                 aira__session **out, aira_error *error) {
    aira_status status = aira__session_plan(device, self, host, graphs, n, options, out, error);
    if (status == AIRA_OK) status = aira__session_start(*out, error);
    if (status == AIRA_OK) return AIRA_OK;
    aira__session_destroy(*out);
    *out = NULL;
    return status;
}

void aira__session_destroy(aira__session *s) {
    if (s == NULL) return;
    for (uint32_t g = 0; s->programs != NULL && g < s->n; g++) {
        if (s->programs[g].compiled != NULL) s->device->program_destroy(s->self, s->programs[g].compiled);
        if (s->programs[g].io != NULL) s->device->buffer_destroy(s->self, s->programs[g].io);
        aira__plan_destroy(s->programs[g].plan);
    }
    if (s->persistent != NULL) s->device->buffer_destroy(s->self, s->persistent);
    if (s->arena != NULL) s->device->buffer_destroy(s->self, s->arena);
    free(s->variables.places);
    free(s->programs);
    free(s);
}

/* --- values --- */

static aira_status move(aira__session *s, void *buffer, uint64_t offset, const void *from, void *to, uint64_t bytes,
                        const char *name, aira_error *error) {
    clear_failure(s);
    if (bytes == 0) return AIRA_OK;
    aira_status status;
    if (from != NULL) {
        status = (s->queued ? s->queue->upload : s->device->upload)(s->self, buffer, offset, from, bytes);
    } else {
        status = (s->queued ? s->queue->download : s->device->download)(s->self, buffer, offset, to, bytes);
    }
    return status == AIRA_OK ? AIRA_OK : device_failed(s, status, name, error);
}

static aira_status check_size(const char *what, const char *name, uint64_t have, uint64_t given, aira_error *error) {
    if (have == given) return AIRA_OK;
    return aira__fail(error, AIRA_E_FAILED, "%s %s has %llu bytes, %llu were given", what, name,
                      (unsigned long long)have, (unsigned long long)given);
}

/* Uploads to (from != NULL) or downloads from an input or output. */
static aira_status move_named(aira__session *s, uint32_t graph, bool input, const char *name, uint32_t copy,
                              const void *from, void *to, uint64_t bytes, aira_error *error) {
    const char *what = input ? "input" : "output";
    if (graph >= s->n || copy >= s->copies) {
        return aira__fail(error, AIRA_E_FAILED, "%s %s: the session has no graph %u or no copy %u", what, name, graph,
                          copy);
    }
    const aira__plan *plan = s->programs[graph].plan;
    const aira__named_value *list = input ? plan->inputs : plan->outputs;
    uint32_t n = input ? plan->n_inputs : plan->n_outputs;
    for (uint32_t k = 0; k < n; k++) {
        if (strcmp(list[k].name, name) != 0) continue;
        const aira__value *value = &plan->values[list[k].value];
        aira_status status = check_size(what, name, aira__value_bytes(value), bytes, error);
        if (status != AIRA_OK) return status;
        uint64_t offset;
        aira__value_root(plan, list[k].value, &offset);
        if (value->copies > 1) offset += copy * bytes;
        return move(s, s->programs[graph].io, offset, from, to, bytes, name, error);
    }
    return aira__fail(error, AIRA_E_FAILED, "graph %u has no %s named %s", graph, what, name);
}

aira_status aira__session_set_input(aira__session *s, uint32_t graph, const char *name, uint32_t copy, const void *data,
                                    uint64_t bytes, aira_error *error) {
    return move_named(s, graph, true, name, copy, data, NULL, bytes, error);
}

aira_status aira__session_get_output(aira__session *s, uint32_t graph, const char *name, uint32_t copy, void *data,
                                     uint64_t bytes, aira_error *error) {
    return move_named(s, graph, false, name, copy, NULL, data, bytes, error);
}

static aira_status write_place(aira__session *s, const aira__variable_place *place, uint32_t copy, const void *from,
                               aira_error *error) {
    s->touched = true;
    return move(s, s->persistent, place->offset + copy * place->bytes, from, NULL, place->bytes, place->name, error);
}

static aira_status move_variable(aira__session *s, const char *name, uint32_t copy, const void *from, void *to,
                                 uint64_t bytes, aira_error *error) {
    const aira__variable_place *place = find_place(&s->variables, name);
    if (place == NULL || copy >= s->copies) {
        return aira__fail(error, AIRA_E_FAILED, "the session has no variable %s, or no copy %u", name, copy);
    }
    aira_status status = check_size("variable", name, place->bytes, bytes, error);
    if (status != AIRA_OK) return status;
    if (from != NULL) return write_place(s, place, copy, from, error);
    return move(s, s->persistent, place->offset + copy * place->bytes, NULL, to, bytes, name, error);
}

aira_status aira__session_get_variable(aira__session *s, const char *name, uint32_t copy, void *data, uint64_t bytes,
                                       aira_error *error) {
    return move_variable(s, name, copy, NULL, data, bytes, error);
}

aira_status aira__session_set_variable(aira__session *s, const char *name, uint32_t copy, const void *data,
                                       uint64_t bytes, aira_error *error) {
    return move_variable(s, name, copy, data, NULL, bytes, error);
}

/* To fp32 in place: the values of a group are read before it is written, and groups behind it lie further on. */
static void narrow(double *values, int64_t n) {
    enum { GROUP = 8 };
    float group[GROUP], *to = (float *)values;
    int64_t k = 0;
    for (; k + GROUP <= n; k += GROUP) {
        for (int j = 0; j < GROUP; j++) group[j] = (float)values[k + j];
        memcpy(to + k, group, sizeof group);
    }
    for (; k < n; k++) {
        float x = (float)values[k];
        memcpy(to + k, &x, sizeof x);
    }
}

static aira_status initialise_one(aira__session *s, const aira__variable_place *place, uint32_t copy, uint64_t seed,
                                  bool zeroed, double *values, aira_error *error) {
    int64_t n = aira__shape_elements(&place->shape);
    if (place->variable->kind == AIRA_VARIABLE_STATE && place->variable->value == NULL) {
        if (zeroed) return AIRA_OK;
        memset(values, 0, place->bytes);
        return write_place(s, place, copy, values, error);
    }
    aira_status status = aira__variable_initial(place->graph, place->variable, seed, values, error);
    if (status != AIRA_OK) return status;
    if (place->dtype == AIRA_F32) narrow(values, n);
    return write_place(s, place, copy, values, error);
}

aira_status aira__session_initialise(aira__session *s, const uint64_t *seeds, aira_error *error) {
    int64_t largest = 1;
    for (uint32_t k = 0; k < s->variables.n; k++) {
        int64_t n = aira__shape_elements(&s->variables.places[k].shape);
        if (n > largest) largest = n;
    }
    double *values = malloc((size_t)largest * sizeof *values);
    if (values == NULL) {
        return aira__fail(error, AIRA_E_MEMORY, "out of memory for initial values (%.1f MiB); use a smaller model",
                          (double)largest * 8 / 1048576.0);
    }
    aira_status status = AIRA_OK;
    bool zeroed = !s->touched; /* as the device gave them */
    aira__session_queue(s);
    for (uint32_t k = 0; k < s->variables.n && status == AIRA_OK; k++) {
        for (uint32_t c = 0; c < s->copies && status == AIRA_OK; c++) {
            status = initialise_one(s, &s->variables.places[k], c, seeds[c], zeroed, values, error);
        }
    }
    aira_status finished = aira__session_finish(s, status == AIRA_OK ? error : NULL);
    free(values);
    return status == AIRA_OK ? finished : status;
}

aira_status aira__session_run(aira__session *s, uint32_t graph, aira_error *error) {
    if (graph >= s->n) return aira__fail(error, AIRA_E_FAILED, "the session has no graph %u", graph);
    program *p = &s->programs[graph];
    void *buffers[AIRA_N_BUFFERS] = {NULL};
    buffers[AIRA_STORE_ARENA] = s->arena;
    buffers[AIRA_STORE_PERSISTENT] = s->persistent;
    buffers[AIRA_STORE_IO] = p->io;
    clear_failure(s);
    s->touched = true;
    aira_status status = (s->queued ? s->queue->run : s->device->run)(s->self, p->compiled, buffers, s->seed);
    return status == AIRA_OK ? AIRA_OK : device_failed(s, status, "running a graph", error);
}

void aira__session_queue(aira__session *s) { s->queued = s->queue != NULL; }

aira_status aira__session_finish(aira__session *s, aira_error *error) {
    if (!s->queued) return AIRA_OK;
    s->queued = false;
    clear_failure(s);
    aira_status status = s->queue->finish(s->self);
    return status == AIRA_OK ? AIRA_OK : device_failed(s, status, "running a graph", error);
}

char *aira__session_describe(const aira__session *s, uint32_t graph) {
    return graph < s->n ? aira__plan_describe(s->programs[graph].plan) : NULL;
}
