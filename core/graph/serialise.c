/* core/graph/serialise.c - graphs as bytes, for other processes.
 *
 * Little-endian: "AIRAGRF1", counts, blocks, operations in order, variables, inputs, outputs. The reader trusts
 * nothing: it emits every operation anew through the shape rules and compares the result with what the bytes claim, so
 * a graph that reads is a graph that runs. Limits cap what a hostile writer can ask for.
 */
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/graph/internal.h"

static const char magic[8] = {'A', 'I', 'R', 'A', 'G', 'R', 'F', '1'};

/* --- writing
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct writer {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
} writer;

static void put(writer *w, const void *bytes, size_t n) {
    if (w->failed) return;
    if (w->capacity - w->size < n) {
        size_t wanted = (w->capacity + n) * 2 + 256;
        uint8_t *grown = realloc(w->data, wanted);
        if (grown == NULL) {
            w->failed = true;
            return;
        }
        w->data = grown;
        w->capacity = wanted;
    }
    memcpy(w->data + w->size, bytes, n);
    w->size += n;
}

static void put_u32(writer *w, uint32_t v) { put(w, &v, sizeof v); }
static void put_i64(writer *w, int64_t v) { put(w, &v, sizeof v); }
static void put_f64(writer *w, double v) { put(w, &v, sizeof v); }
static void put_text(writer *w, const char *text) {
    uint32_t n = text ? (uint32_t)strlen(text) : 0;
    put_u32(w, n);
    put(w, text ? text : "", n);
}
static void put_shape(writer *w, const aira_shape *s) {
    put_u32(w, s->rank);
    for (uint32_t k = 0; k < s->rank; k++) put_i64(w, s->dims[k]);
}

static void put_op(writer *w, const aira__op *op) {
    const uint32_t head[7] = {op->code, op->n_in, op->n_out, op->n_i, op->n_f, op->block, op->backward};
    for (int k = 0; k < 7; k++) put_u32(w, head[k]);
    for (uint32_t k = 0; k < op->n_in; k++) put_u32(w, op->in[k]->id);
    for (uint32_t k = 0; k < op->n_i; k++) put_i64(w, op->i[k]);
    for (uint32_t k = 0; k < op->n_f; k++) put_f64(w, op->f[k]);
    for (uint32_t k = 0; k < op->n_out; k++) {
        put_u32(w, op->out[k]->dtype);
        put_shape(w, &op->out[k]->shape);
    }
}

static void put_variable(writer *w, const aira__variable *v) {
    put_text(w, v->name);
    put_u32(w, v->kind);
    put_u32(w, v->dtype);
    put_u32(w, v->flags);
    put_shape(w, &v->shape);
    put_text(w, v->role);
    put_text(w, v->init);
    const double numbers[5] = {v->a, v->b, v->init_mult, v->lr_mult, v->decay_mult};
    for (int k = 0; k < 5; k++) put_f64(w, numbers[k]);
    put_u32(w, v->value ? v->value->id + 1 : 0);
    put_u32(w, v->leaf->id);
    put_u32(w, v->tensor->id);
}

aira_status aira__graph_write(const aira_graph *graph, aira__bytes *out, aira_error *error) {
    if (aira__graph_check(graph, error) != AIRA_OK) return graph->status;
    writer w = {NULL, 0, 0, false};
    put(&w, magic, sizeof magic);
    const uint32_t counts[7] = {graph->compute_dtype, graph->storage_dtype, graph->n_ops,   graph->n_variables,
                                graph->n_inputs,      graph->n_outputs,     graph->n_blocks};
    for (int k = 0; k < 7; k++) put_u32(&w, counts[k]);
    for (uint32_t k = 0; k < graph->n_blocks; k++) {
        put_u32(&w, graph->blocks[k].layer);
        put_u32(&w, graph->blocks[k].norm);
        put_text(&w, graph->blocks[k].token);
        put_text(&w, graph->blocks[k].primitive);
        put_text(&w, graph->blocks[k].config);
    }
    for (uint32_t k = 0; k < graph->n_ops; k++) put_op(&w, graph->ops[k]);
    for (uint32_t k = 0; k < graph->n_variables; k++) put_variable(&w, graph->variables[k]);
    for (uint32_t k = 0; k < graph->n_inputs; k++) {
        put_text(&w, graph->inputs[k].name);
        put_u32(&w, graph->inputs[k].tensor->id);
    }
    for (uint32_t k = 0; k < graph->n_outputs; k++) {
        put_text(&w, graph->outputs[k].name);
        put_u32(&w, graph->outputs[k].tensor->id);
    }
    if (w.failed) {
        free(w.data);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while writing a graph of %u operations", graph->n_ops);
    }
    *out = (aira__bytes){w.data, w.size};
    return AIRA_OK;
}

/* --- reading
 * ---------------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const uint8_t *data;
    size_t size, at;
    bool failed;
    aira_graph *graph;
} reader;

static void get(reader *r, void *out, size_t n) {
    if (r->failed || r->size - r->at < n) {
        r->failed = true;
        memset(out, 0, n);
        return;
    }
    memcpy(out, r->data + r->at, n);
    r->at += n;
}

static uint32_t get_u32(reader *r) {
    uint32_t v;
    get(r, &v, sizeof v);
    return v;
}
static int64_t get_i64(reader *r) {
    int64_t v;
    get(r, &v, sizeof v);
    return v;
}
static double get_f64(reader *r) {
    double v;
    get(r, &v, sizeof v);
    return v;
}
static const char *get_text(reader *r) {
    uint32_t n = get_u32(r);
    if (r->failed || n > 65536 || r->size - r->at < n || memchr(r->data + r->at, 0, n)) {
        r->failed = true;
        return "";
    }
    char *text = aira__graph_alloc(r->graph, (size_t)n + 1);
    if (text == NULL) {
        r->failed = true;
        return "";
    }
    memcpy(text, r->data + r->at, n);
    r->at += n;
    return text;
}
static aira_shape get_shape(reader *r) {
    aira_shape s = {.rank = get_u32(r)};
    if (s.rank > AIRA_MAX_RANK) {
        r->failed = true;
        s.rank = 0;
    }
    for (uint32_t k = 0; k < s.rank; k++) s.dims[k] = get_i64(r);
    return s;
}
static aira_tensor *get_tensor(reader *r) {
    uint32_t id = get_u32(r);
    if (r->failed || id >= r->graph->n_tensors) {
        r->failed = true;
        return NULL;
    }
    return r->graph->tensors[id];
}

/* n attributes or operands of `size` bytes each must still fit into what is left */
static void *get_array_memory(reader *r, uint32_t n, size_t size) {
    if (r->failed || n > (r->size - r->at) / size) {
        r->failed = true;
        return NULL;
    }
    void *memory = aira__graph_alloc(r->graph, ((size_t)n + 1) * sizeof(int64_t));
    if (memory == NULL) r->failed = true;
    return memory;
}

static void read_op(reader *r, uint32_t n_blocks) {
    uint32_t head[7];
    for (int k = 0; k < 7; k++) head[k] = get_u32(r);
    uint32_t code = head[0], n_in = head[1], n_out = head[2], n_i = head[3], n_f = head[4];
    if (head[5] > n_blocks || head[6] > AIRA__RECOMPUTED || n_out != aira__op_arity_out(code)) r->failed = true;
    aira_tensor **in = get_array_memory(r, n_in, sizeof(uint32_t));
    for (uint32_t k = 0; in && k < n_in; k++) in[k] = get_tensor(r);
    int64_t *i = get_array_memory(r, n_i, sizeof *i);
    for (uint32_t k = 0; i && k < n_i; k++) i[k] = get_i64(r);
    double *f = get_array_memory(r, n_f, sizeof *f);
    for (uint32_t k = 0; f && k < n_f; k++) f[k] = get_f64(r);
    aira_shape shapes[8] = {{{0}, 0, 0}};
    uint32_t types[8] = {0};
    for (uint32_t k = 0; k < n_out && k < 8; k++) {
        types[k] = get_u32(r);
        shapes[k] = get_shape(r);
    }
    if (r->failed) return;
    r->graph->context->block = head[5];
    r->graph->context->backward = head[6];
    uint32_t before = r->graph->n_ops;
    aira__graph_emit(r->graph, code, in, n_in, i, n_i, f, n_f, n_out ? &shapes[0] : NULL, types[0]);
    r->graph->context->block = r->graph->context->backward = 0;
    if (r->graph->status != AIRA_OK || r->graph->n_ops != before + 1) {
        r->failed = true;
        return;
    }
    const aira__op *made = r->graph->ops[before];
    for (uint32_t k = 0; k < n_out; k++)
        if (made->out[k]->dtype != types[k] || !aira__shape_equal(&made->out[k]->shape, &shapes[k])) {
            aira__graph_fail(r->graph, AIRA_E_CORRUPT, "operation %u (%s) claims a shape or type that it does not have",
                             before, aira__op_name(code));
            r->failed = true;
        }
}

static void read_variable(reader *r, uint32_t index) {
    aira_graph *g = r->graph;
    aira__variable *v = aira__graph_alloc(g, sizeof *v);
    if (v == NULL || !aira__graph_grow(g, (void **)&g->variables, &g->context->cap_variables, g->n_variables,
                                       sizeof *g->variables)) {
        r->failed = true;
        return;
    }
    v->name = get_text(r);
    v->hash = aira_key(0, v->name);
    v->kind = (aira__variable_kind)get_u32(r);
    v->dtype = get_u32(r);
    v->flags = get_u32(r);
    v->shape = get_shape(r);
    v->role = get_text(r);
    v->init = get_text(r);
    v->a = get_f64(r);
    v->b = get_f64(r);
    v->init_mult = get_f64(r);
    v->lr_mult = get_f64(r);
    v->decay_mult = get_f64(r);
    uint32_t value = get_u32(r);
    if (value > g->n_tensors) r->failed = true;
    v->value = !r->failed && value ? g->tensors[value - 1] : NULL;
    v->leaf = get_tensor(r);
    v->tensor = get_tensor(r);
    bool ok = !r->failed && v->kind <= AIRA_VARIABLE_STATE && v->name[0] && !aira__graph_find_variable(g, v->name);
    if (ok) {
        const aira__op *op = g->ops[v->leaf->op];
        ok = op->code == AIRA_OP_PARAM && op->i[0] == index && v->leaf->dtype == v->dtype &&
             aira__shape_equal(&v->leaf->shape, &v->shape) && aira__shape_equal(&v->tensor->shape, &v->shape) &&
             (v->value == NULL || aira__shape_equal(&v->value->shape, &v->shape));
    }
    if (!ok) {
        aira__graph_fail(g, AIRA_E_CORRUPT, "variable %u does not fit its operation", index);
        r->failed = true;
        return;
    }
    g->variables[g->n_variables++] = v;
}

static void read_ports(reader *r, uint32_t n_inputs, uint32_t n_outputs) {
    aira_graph *g = r->graph;
    for (uint32_t k = 0; k < n_inputs && !r->failed; k++) {
        const char *name = get_text(r);
        aira_tensor *t = get_tensor(r);
        if (t == NULL || g->ops[t->op]->code != AIRA_OP_INPUT || g->ops[t->op]->i[0] != k ||
            !aira__graph_grow(g, (void **)&g->inputs, &g->context->cap_inputs, g->n_inputs, sizeof *g->inputs)) {
            r->failed = true;
            return;
        }
        g->inputs[g->n_inputs++] = (aira__input){name, t};
    }
    for (uint32_t k = 0; k < n_outputs && !r->failed; k++) {
        const char *name = get_text(r);
        aira__graph_output(g, name, get_tensor(r));
    }
}

/* Leaves and assignments must name variables and inputs that exist. */
static void check_references(reader *r) {
    const aira_graph *g = r->graph;
    for (uint32_t o = 0; o < g->n_ops && !r->failed; o++) {
        const aira__op *op = g->ops[o];
        bool variable = op->code == AIRA_OP_PARAM || op->code == AIRA_OP_ASSIGN;
        if (variable && (op->i[0] < 0 || op->i[0] >= g->n_variables)) r->failed = true;
        if (op->code == AIRA_OP_INPUT && (op->i[0] < 0 || op->i[0] >= g->n_inputs)) r->failed = true;
        if (r->failed) return;
        if (op->code == AIRA_OP_PARAM && g->variables[op->i[0]]->leaf != op->out[0]) r->failed = true;
        if (op->code == AIRA_OP_INPUT && g->inputs[op->i[0]].tensor != op->out[0]) r->failed = true;
        if (op->code == AIRA_OP_ASSIGN) {
            const aira__variable *v = g->variables[op->i[0]];
            if (v->dtype != op->in[0]->dtype || !aira__shape_equal(&v->shape, &op->in[0]->shape)) r->failed = true;
        }
    }
}

aira_status aira__graph_read(const uint8_t *data, size_t size, const aira__graph_limits *limits, aira_graph **out,
                             aira_error *error) {
    *out = NULL;
    if (size < sizeof magic || memcmp(data, magic, sizeof magic) != 0)
        return aira__fail(error, AIRA_E_CORRUPT, "these bytes are no graph: they do not begin with AIRAGRF1");
    reader r = {data, size, sizeof magic, false, NULL};
    uint32_t counts[7];
    for (int k = 0; k < 7; k++) counts[k] = get_u32(&r);
    bool types_ok = counts[0] == AIRA_F32 || counts[0] == AIRA_BF16 || counts[0] == AIRA_F64;
    types_ok = types_ok && counts[1] == (counts[0] == AIRA_F64 ? AIRA_F64 : AIRA_F32);
    if (!types_ok) return aira__fail(error, AIRA_E_CORRUPT, "the graph's element types are not known");
    aira_graph *g = r.graph = aira__graph_create(counts[0], limits);
    if (g == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading a graph");
    for (uint32_t k = 0; k < counts[6] && !r.failed; k++) {
        aira__block block = {0};
        block.layer = get_u32(&r);
        block.norm = get_u32(&r);
        block.token = get_text(&r);
        block.primitive = get_text(&r);
        block.config = get_text(&r);
        if (!r.failed) aira__graph_add_block(g, &block);
    }
    for (uint32_t k = 0; k < counts[2] && !r.failed; k++) read_op(&r, counts[6]);
    for (uint32_t k = 0; k < counts[3] && !r.failed; k++) read_variable(&r, k);
    read_ports(&r, counts[4], counts[5]);
    if (!r.failed) check_references(&r);
    if (!r.failed && r.at != size) r.failed = true;
    if (r.failed || g->status != AIRA_OK) {
        if (g->status != AIRA_OK)
            aira__fail(error, AIRA_E_CORRUPT, "a graph from elsewhere was refused: %s", g->error);
        else
            aira__fail(error, AIRA_E_CORRUPT, "a graph from elsewhere was refused near byte %zu", r.at);
        aira__graph_destroy(g);
        return AIRA_E_CORRUPT;
    }
    *out = g;
    return AIRA_OK;
}

aira_status aira__graph_validate(const aira_graph *graph, aira_error *error) {
    aira__bytes bytes;
    aira_graph *copy = NULL;
    aira_status status = aira__graph_write(graph, &bytes, error);
    if (status != AIRA_OK) return status;
    status = aira__graph_read(bytes.data, bytes.size, NULL, &copy, error);
    free(bytes.data);
    aira__graph_destroy(copy);
    return status;
}
