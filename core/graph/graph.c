/* core/graph/graph.c - the container: memory, variables, inputs, outputs, places, scopes.
 *
 * All memory comes from one arena that dies with the graph, so nothing here is freed piece by piece. Errors are
 * sticky: the first sentence is kept, later ones are usually consequences of it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/graph/internal.h"

#define CHUNK_BYTES ((size_t)64 * 1024)

struct aira__chunk {
    aira__chunk *next;
    size_t used, size;
    max_align_t data[];
};

void *aira__graph_alloc(aira_graph *graph, size_t bytes) {
    aira__graph_context *context = graph->context;
    bytes = (bytes + 15) & ~(size_t)15;
    aira__chunk *chunk = context->chunks;
    if (chunk == NULL || chunk->size - chunk->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        chunk = calloc(1, sizeof *chunk + size);
        if (chunk == NULL) {
            aira__graph_fail(graph, AIRA_E_MEMORY, "out of memory while building a graph of %u operations",
                             graph->n_ops);
            return NULL;
        }
        chunk->size = size;
        chunk->next = context->chunks;
        context->chunks = chunk;
    }
    void *result = (char *)chunk->data + chunk->used;
    chunk->used += bytes;
    return result;
}

char *aira__graph_copy_text(aira_graph *graph, const char *text) {
    if (text == NULL) return NULL;
    size_t n = strlen(text) + 1;
    char *copy = aira__graph_alloc(graph, n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

aira_tensor *aira__graph_fail(aira_graph *graph, aira_status status, const char *format, ...) {
    if (graph == NULL || graph->status != AIRA_OK) return NULL;
    graph->status = status;
    char place[192] = "";
    size_t used = 0;
    aira__graph_context *context = graph->context;
    for (uint32_t s = 0; s < context->n_scopes && used < sizeof place; s++) {
        int n = snprintf(place + used, sizeof place - used, "%s%s", s ? "." : "", context->scopes[s]);
        if (n < 0) break;
        used += (size_t)n;
    }
    char text[768];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (place[0])
        snprintf(graph->error, sizeof graph->error, "%s: %s", place, text);
    else
        snprintf(graph->error, sizeof graph->error, "%s", text);
    return NULL;
}

bool aira__graph_grow(aira_graph *graph, void **array, uint32_t *capacity, uint32_t n, size_t size) {
    if (n < *capacity) return true;
    uint32_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown = aira__graph_alloc(graph, (size_t)wanted * size);
    if (grown == NULL) return false;
    if (n) memcpy(grown, *array, (size_t)n * size);
    *array = grown;
    *capacity = wanted;
    return true;
}

aira_graph *aira__graph_create(uint32_t compute, const aira__graph_limits *limits) {
    aira_graph *graph = calloc(1, sizeof *graph);
    aira__graph_context *context = calloc(1, sizeof *context);
    if (graph == NULL || context == NULL) {
        free(graph);
        free(context);
        return NULL;
    }
    graph->context = context;
    graph->compute_dtype = compute;
    graph->storage_dtype = compute == AIRA_F64 ? AIRA_F64 : AIRA_F32;
    if (limits) context->limits = *limits;
    if (context->limits.max_ops == 0) context->limits.max_ops = 1000000;
    if (context->limits.max_elements == 0) context->limits.max_elements = (int64_t)1 << 40;
    return graph;
}

void aira__graph_destroy(aira_graph *graph) {
    if (graph == NULL) return;
    for (aira__chunk *chunk = graph->context->chunks; chunk;) {
        aira__chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(graph->context);
    free(graph);
}

aira_status aira__graph_check(const aira_graph *graph, aira_error *error) {
    if (graph->status == AIRA_OK) return AIRA_OK;
    return aira__fail(error, graph->status, "%s", graph->error);
}

/* --- places and scopes ----------------------------------------------------------------------------------------------
 */

static aira__place *find_place(aira_graph *graph, const char *name) {
    aira__graph_context *context = graph->context;
    for (uint32_t p = 0; p < context->n_places; p++)
        if (strcmp(context->places[p].name, name) == 0) return &context->places[p];
    return NULL;
}

static aira__place *make_place(aira_graph *graph, const char *name) {
    aira__place *place = find_place(graph, name);
    aira__graph_context *context = graph->context;
    if (place) return place;
    if (context->n_places == AIRA_MAX_PLACES) {
        aira__graph_fail(graph, AIRA_E_FAILED, "more than %d context values in one graph", AIRA_MAX_PLACES);
        return NULL;
    }
    place = &context->places[context->n_places++];
    memset(place, 0, sizeof *place);
    place->name = aira__graph_copy_text(graph, name);
    if (place->name == NULL) place->name = "";
    return place;
}

void aira__graph_set_int(aira_graph *graph, const char *name, int64_t value) {
    aira__place *place = make_place(graph, name);
    if (place) *place = (aira__place){place->name, value, NULL};
}

void aira__graph_set_tensor(aira_graph *graph, const char *name, aira_tensor *tensor) {
    aira__place *place = make_place(graph, name);
    if (place) *place = (aira__place){place->name, 0, tensor};
}

void aira__graph_push_scope(aira_graph *graph, const char *prefix) {
    aira__graph_context *context = graph->context;
    if (context->n_scopes == AIRA_MAX_SCOPES) {
        aira__graph_fail(graph, AIRA_E_FAILED, "parameter scopes are nested deeper than %d", AIRA_MAX_SCOPES);
        return;
    }
    char *copy = aira__graph_copy_text(graph, prefix);
    context->scopes[context->n_scopes++] = copy ? copy : "";
}

void aira__graph_pop_scope(aira_graph *graph) {
    if (graph->context->n_scopes) graph->context->n_scopes--;
}

char *aira__graph_full_name(aira_graph *graph, const char *name) {
    char full[512];
    size_t used = 0;
    aira__graph_context *context = graph->context;
    full[0] = 0;
    for (uint32_t s = 0; s <= context->n_scopes; s++) {
        const char *part = s < context->n_scopes ? context->scopes[s] : name;
        if (part[0] == 0) continue;
        int n = snprintf(full + used, sizeof full - used, "%s%s", used ? "." : "", part);
        if (n < 0 || used + (size_t)n >= sizeof full) {
            aira__graph_fail(graph, AIRA_E_FAILED, "the parameter name '%.60s...' is too long", name);
            return NULL;
        }
        used += (size_t)n;
    }
    return aira__graph_copy_text(graph, full);
}

/* --- variables, inputs, outputs
 * --------------------------------------------------------------------------------------- */

static bool same_role(const char *a, const char *b) { return strcmp(a ? a : "other", b ? b : "other") == 0; }

static void apply_reinit(aira__variable *v, const aira__reinit *r) {
    if (v->kind != AIRA_VARIABLE_PARAM || !same_role(v->role, r->role)) return;
    if ((v->flags & AIRA_PARAM_NO_REINIT) && !r->force) return;
    v->init = r->init;
    v->a = r->a;
    v->b = r->b;
    v->value = NULL;
}

void aira__graph_add_reinit(aira_graph *graph, const char *role, const char *init, double a, double b, bool force) {
    aira__graph_context *context = graph->context;
    if (context->n_reinits == AIRA_MAX_REINITS) {
        aira__graph_fail(graph, AIRA_E_FAILED, "more than %d re-initialisations", AIRA_MAX_REINITS);
        return;
    }
    aira__reinit *r = &context->reinits[context->n_reinits++];
    *r = (aira__reinit){aira__graph_copy_text(graph, role), aira__graph_copy_text(graph, init), a, b, force};
    for (uint32_t v = 0; v < graph->n_variables; v++) apply_reinit(graph->variables[v], r);
}

static bool known_init(const char *init) {
    static const char *const names[] = {"zeros", "ones", "constant", "normal", "uniform", "fan_in"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (strcmp(init, names[k]) == 0) return true;
    return false;
}

aira__variable *aira__graph_add_variable(aira_graph *graph, const char *full_name, aira__variable_kind kind,
                                         const aira_shape *shape, const aira_param_info *info) {
    static const aira_param_info none = {0};
    if (info == NULL) info = &none;
    if (full_name == NULL || full_name[0] == 0) {
        aira__graph_fail(graph, AIRA_E_FAILED, "a parameter needs a name");
        return NULL;
    }
    if (aira__graph_find_variable(graph, full_name)) {
        aira__graph_fail(graph, AIRA_E_FAILED, "the parameter name '%s' is used twice", full_name);
        return NULL;
    }
    const char *init = info->init ? info->init : "zeros";
    if (!known_init(init)) {
        aira__graph_fail(graph, AIRA_E_FAILED,
                         "parameter '%s': unknown init '%s' (zeros, ones, constant, normal, uniform, fan_in)",
                         full_name, init);
        return NULL;
    }
    aira__variable *v = aira__graph_alloc(graph, sizeof *v);
    if (v == NULL || !aira__graph_grow(graph, (void **)&graph->variables, &graph->context->cap_variables,
                                       graph->n_variables, sizeof *graph->variables))
        return NULL;
    v->name = aira__graph_copy_text(graph, full_name);
    v->hash = aira_key(0, full_name);
    v->kind = kind;
    v->dtype = graph->storage_dtype;
    v->flags = info->flags;
    v->shape = *shape;
    v->role = aira__graph_copy_text(graph, info->role ? info->role : "other");
    v->init = aira__graph_copy_text(graph, init);
    v->a = info->a;
    v->b = info->b;
    v->init_mult = info->init_mult != 0 ? info->init_mult : 1;
    v->lr_mult = info->lr_mult != 0 ? info->lr_mult : 1;
    v->decay_mult = info->decay_mult != 0 ? info->decay_mult : 1;
    v->value = info->value;
    if (v->value && !aira__shape_equal(&v->value->shape, shape)) {
        aira__graph_fail(graph, AIRA_E_FAILED, "parameter '%s': the initial value has another shape", full_name);
        return NULL;
    }
    int64_t index = graph->n_variables;
    v->leaf = aira__graph_emit(graph, AIRA_OP_PARAM, NULL, 0, &index, 1, NULL, 0, shape, v->dtype);
    if (v->leaf == NULL || v->name == NULL || v->role == NULL || v->init == NULL) return NULL;
    v->tensor = v->leaf;
    graph->variables[graph->n_variables++] = v;
    for (uint32_t r = 0; r < graph->context->n_reinits; r++) apply_reinit(v, &graph->context->reinits[r]);
    return v;
}

aira__variable *aira__graph_find_variable(const aira_graph *graph, const char *name) {
    uint64_t hash = aira_key(0, name);
    for (uint32_t v = 0; v < graph->n_variables; v++) {
        aira__variable *variable = graph->variables[v];
        if (variable->hash == hash && strcmp(variable->name, name) == 0) return variable;
    }
    return NULL;
}

aira__variable *aira__graph_state(aira_graph *graph, const char *name, const aira_shape *shape) {
    return aira__graph_add_variable(graph, name, AIRA_VARIABLE_STATE, shape, NULL);
}

void aira__graph_assign(aira_graph *graph, aira__variable *variable, aira_tensor *value) {
    if (variable == NULL || value == NULL) return;
    if (!aira__shape_equal(&variable->shape, &value->shape)) {
        aira__graph_fail(graph, AIRA_E_FAILED, "'%s' is assigned a value of another shape", variable->name);
        return;
    }
    value = aira__to_type(graph, value, variable->dtype);
    int64_t index = 0;
    while (index < graph->n_variables && graph->variables[index] != variable) index++;
    aira__graph_emit(graph, AIRA_OP_ASSIGN, &value, 1, &index, 1, NULL, 0, NULL, 0);
}

aira_tensor *aira__graph_input(aira_graph *graph, const char *name, uint32_t dtype, const aira_shape *shape) {
    for (uint32_t k = 0; k < graph->n_inputs; k++)
        if (strcmp(graph->inputs[k].name, name) == 0)
            return aira__graph_fail(graph, AIRA_E_FAILED, "the input name '%s' is used twice", name);
    if (!aira__graph_grow(graph, (void **)&graph->inputs, &graph->context->cap_inputs, graph->n_inputs,
                          sizeof *graph->inputs))
        return NULL;
    int64_t index = graph->n_inputs;
    aira_tensor *tensor = aira__graph_emit(graph, AIRA_OP_INPUT, NULL, 0, &index, 1, NULL, 0, shape, dtype);
    char *copy = aira__graph_copy_text(graph, name);
    if (tensor == NULL || copy == NULL) return NULL;
    graph->inputs[graph->n_inputs++] = (aira__input){copy, tensor};
    return tensor;
}

void aira__graph_output(aira_graph *graph, const char *name, aira_tensor *tensor) {
    if (tensor == NULL) return;
    if (aira__graph_find_output(graph, name)) {
        aira__graph_fail(graph, AIRA_E_FAILED, "the output name '%s' is used twice", name);
        return;
    }
    if (!aira__graph_grow(graph, (void **)&graph->outputs, &graph->context->cap_outputs, graph->n_outputs,
                          sizeof *graph->outputs))
        return;
    char *copy = aira__graph_copy_text(graph, name);
    if (copy) graph->outputs[graph->n_outputs++] = (aira__output){copy, tensor};
}

aira_tensor *aira__graph_find_output(const aira_graph *graph, const char *name) {
    for (uint32_t k = 0; k < graph->n_outputs; k++)
        if (strcmp(graph->outputs[k].name, name) == 0) return graph->outputs[k].tensor;
    return NULL;
}

uint32_t aira__graph_add_block(aira_graph *graph, const aira__block *block) {
    if (!aira__graph_grow(graph, (void **)&graph->blocks, &graph->context->cap_blocks, graph->n_blocks,
                          sizeof *graph->blocks))
        return 0;
    aira__block *b = &graph->blocks[graph->n_blocks++];
    *b = *block;
    b->token = aira__graph_copy_text(graph, block->token);
    b->primitive = aira__graph_copy_text(graph, block->primitive);
    b->config = aira__graph_copy_text(graph, block->config);
    return graph->n_blocks;
}
