/* core/sandbox/trace_child.c - see trace_child.h. */
#include "core/sandbox/trace_child.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aira/primitive.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/config/config.h"
#include "core/graph/splice.h"
#include "core/plugin/descriptor.h"
#include "core/plugin/host.h"
#include "core/plugin/manifest.h"
#include "core/plugin/registry.h"
#include "core/sandbox/filter.h"

typedef struct child {
    int reply;
    json_t *request, *answer;
    aira__buf graphs;
    aira__host host;
    aira__descriptor descriptor;
    const aira_primitive *table;
    void *config, *self;
    aira__filled *memory;
    json_t *canonical;
    aira_error error;
    const char *phase;
} child;

static bool read_request(child *c) {
    aira__buf text = {0};
    char bytes[65536];
    for (ssize_t n; (n = read(0, bytes, sizeof bytes)) != 0;)
        if (n > 0)
            aira__buf_add(&text, bytes, (size_t)n);
        else if (errno != EINTR)
            break;
    c->request = text.data != NULL ? aira__json_parse(text.data, text.size, "request", &c->error) : NULL;
    aira__buf_free(&text);
    return c->request != NULL;
}

/* --- loading and configuring
 * ------------------------------------------------------------------------------------------ */

static aira_status load(child *c, const char *file) {
    aira_manifest manifest;
    c->phase = "load";
    aira_status status = aira__manifest_read_file(file, &manifest, &c->error);
    if (status != AIRA_OK) return status;
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) return aira__fail(&c->error, AIRA_E_IO, "the system's loader refuses it: %s", dlerror());
    void *symbol = dlsym(library, "aira_plugin_v1");
    if (symbol == NULL) return aira__fail(&c->error, AIRA_E_CORRUPT, "it does not export aira_plugin_v1");
    const aira_plugin *(*entry)(void);
    memcpy(&entry, &symbol, sizeof entry);
    status = aira__descriptor_copy(entry(), &manifest, &c->descriptor, &c->error);
    c->table = c->descriptor.table;
    return status;
}

static aira_status configure(child *c) {
    static const aira_schema no_keys = {sizeof(aira_schema), 0, 0, sizeof(aira_field), NULL};
    const aira_plugin *plugin = &c->descriptor.plugin;
    const aira_schema *schema = plugin->config != NULL ? plugin->config : &no_keys;
    c->phase = "configure";
    c->config = calloc(1, (size_t)schema->config_size + 1);
    c->canonical = json_object();
    if (c->config == NULL || c->canonical == NULL) return aira__fail(&c->error, AIRA_E_MEMORY, "out of memory");
    aira_status status = aira__schema_fill_json(schema, json_object_get(c->request, "config"), c->config, &c->memory,
                                                c->canonical, &c->error);
    if (status != AIRA_OK) return status;
    c->self = c->config;
    if (plugin->create == NULL) return AIRA_OK;
    c->self = NULL;
    status = plugin->create(&c->host.table, c->config, &c->self);
    if (status == AIRA_OK) return AIRA_OK;
    const char *why = aira__host_last_failure(&c->host.table);
    return aira__fail(&c->error, status, "%s", why[0] != 0 ? why : "create() failed without a reason");
}

/* --- building
 * --------------------------------------------------------------------------------------------------------- */

static aira_shape shape_of(const json_t *list) {
    aira_shape shape = {.rank = (uint32_t)json_array_size(list)};
    if (shape.rank > AIRA_MAX_RANK) shape.rank = AIRA_MAX_RANK;
    for (uint32_t k = 0; k < shape.rank; k++) shape.dims[k] = json_integer_value(json_array_get(list, k));
    return shape;
}

static void offer_place(aira_graph *g, const json_t *trace) {
    const char *name;
    const json_t *value;
    size_t k;
    json_object_foreach(json_object_get(trace, "ints"), name, value)
        aira__graph_set_int(g, name, json_integer_value(value));
    json_array_foreach(json_object_get(trace, "tensors"), k, value) {
        char input[128];
        const char *called = json_string_value(json_array_get(value, 0));
        aira_shape shape = shape_of(json_array_get(value, 2));
        snprintf(input, sizeof input, "ctx.%s", called);
        aira__graph_set_tensor(
            g, called, aira__graph_input(g, input, (uint32_t)json_integer_value(json_array_get(value, 1)), &shape));
    }
}

static aira_graph *build(child *c, const json_t *trace) {
    const aira__graph_limits limits = {AIRA__TRACE_MAX_OPS, AIRA__TRACE_MAX_ELEMENTS};
    aira_shape shape = shape_of(json_object_get(trace, "shape"));
    aira_graph *g = aira__graph_create(AIRA_BF16, &limits);
    if (g == NULL) {
        aira__fail(&c->error, AIRA_E_MEMORY, "out of memory");
        return NULL;
    }
    aira_tensor *x = aira__graph_input(g, "x", AIRA_BF16, &shape);
    offer_place(g, trace);
    aira_tensor *y = c->table->build(c->self, aira__graph_ops(), g, x);
    if (y == NULL && g->status == AIRA_OK)
        aira__fail(&c->error, AIRA_E_FAILED, "build returned no tensor and no reason");
    else if (y != NULL && y->graph != g)
        aira__fail(&c->error, AIRA_E_FAILED, "build returned a tensor of another graph");
    else if (aira__graph_check(g, &c->error) == AIRA_OK)
        aira__graph_output(g, "y", y);
    for (uint32_t k = 0; k < g->n_aux_losses; k++) {
        char name[560];
        snprintf(name, sizeof name, "aux.%s", g->aux_losses[k].name);
        aira__graph_output(g, name, g->aux_losses[k].scalar);
    }
    if (c->error.status == AIRA_OK && aira__graph_check(g, &c->error) == AIRA_OK) return g;
    aira__graph_destroy(g);
    return NULL;
}

/* What the host must know beside the operations. */
static json_t *describe(child *c, const aira_graph *g, const json_t *trace, size_t bytes) {
    uint32_t n_asked, n_drawn;
    const aira__asked *asked = aira__graph_asked(g, &n_asked);
    const aira__drawn *drawn = aira__graph_drawn(g, &n_drawn);
    json_t *a = json_array(), *d = json_array(), *x = json_array();
    for (uint32_t k = 0; k < n_asked; k++)
        json_array_append_new(
            a, json_pack("[s, b, b, I]", asked[k].name, asked[k].tensor, asked[k].known, (json_int_t)asked[k].value));
    for (uint32_t k = 0; k < n_drawn; k++)
        json_array_append_new(d, json_pack("[I, s]", (json_int_t)drawn[k].op, drawn[k].name));
    for (uint32_t k = 0; k < g->n_aux_losses; k++)
        json_array_append_new(x, json_pack("[s, f]", g->aux_losses[k].name, g->aux_losses[k].weight));
    aira_shape shape = shape_of(json_object_get(trace, "shape"));
    int64_t width = shape.rank > 0 ? shape.dims[shape.rank - 1] : 0;
    int64_t kv = AIRA_HAS(aira_primitive, c->table, kv_elements_per_token)
                     ? c->table->kv_elements_per_token(c->self, width)
                     : 0;
    return json_pack("{s:I, s:o, s:o, s:o, s:I}", "bytes", (json_int_t)bytes, "asked", a, "drawn", d, "aux", x, "kv",
                     (json_int_t)kv);
}

/* Twice: a build that gives two graphs depends on more than its arguments. */
static aira_status trace_one(child *c, const json_t *trace, json_t *answers) {
    aira__bytes first = {0}, second = {0};
    aira_graph *g = build(c, trace), *again = g != NULL ? build(c, trace) : NULL;
    if (again != NULL && aira__graph_write(g, &first, &c->error) == AIRA_OK &&
        aira__graph_write(again, &second, &c->error) == AIRA_OK) {
        if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
            aira__fail(&c->error, AIRA_E_FAILED,
                       "built twice, two different graphs: build must depend on its arguments only");
        else if (json_array_append_new(answers, describe(c, g, trace, first.size)) != 0 ||
                 !aira__buf_add(&c->graphs, first.data, first.size))
            aira__fail(&c->error, AIRA_E_MEMORY, "out of memory");
    }
    free(first.data);
    free(second.data);
    aira__graph_destroy(g);
    aira__graph_destroy(again);
    return c->error.status;
}

static aira_status answer(child *c) {
    const aira_plugin *plugin = &c->descriptor.plugin;
    json_t *traces = json_array();
    const json_t *trace;
    size_t k;
    c->phase = "build";
    json_array_foreach(json_object_get(c->request, "traces"), k, trace) if (trace_one(c, trace, traces) != AIRA_OK) {
        json_decref(traces);
        return c->error.status;
    }
    c->answer = json_pack("{s:s, s:I, s:s, s:s, s:O, s:o}", "token", c->table->token != NULL ? c->table->token : "",
                          "flags", (json_int_t)c->table->flags, "version", plugin->version, "summary", plugin->summary,
                          "config", c->canonical, "traces", traces);
    return c->answer != NULL ? AIRA_OK : aira__fail(&c->error, AIRA_E_FAILED, "its texts are no UTF-8");
}

static int send_all(int file, const void *data, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t put = write(file, (const char *)data + done, n - done);
        if (put < 0 && errno != EINTR) return 1;
        if (put > 0) done += (size_t)put;
    }
    return 0;
}

static int reply(child *c) {
    if (c->error.status != AIRA_OK) {
        json_decref(c->answer);
        c->answer = json_pack("{s:s+, s:s}", "error", c->error.text, "", "phase", c->phase);
        aira__buf_free(&c->graphs);
    }
    char *text = c->answer != NULL ? aira__json_canonical(c->answer) : NULL;
    uint64_t length = text != NULL ? strlen(text) : 0;
    if (text == NULL) return 5;
    return send_all(c->reply, AIRA__TRACE_MAGIC, 8) | send_all(c->reply, &length, sizeof length) |
           send_all(c->reply, text, length) | send_all(c->reply, c->graphs.data, c->graphs.size);
}

int aira__trace_child(const char *file) {
    child c = {.reply = fcntl(1, F_DUPFD, 10), .phase = "load"};
    /* what foreign code prints is lost, and does not spoil the reply */
    if (c.reply < 0 || dup2(2, 1) < 0 || !read_request(&c) || aira__host_init(&c.host, &c.error) != AIRA_OK) return 4;
    if (aira__filter_install(true) != 0) return 4;
    aira_status status = load(&c, file);
    if (status == AIRA_OK && strcmp(c.descriptor.plugin.kind, "primitive") != 0)
        status = aira__fail(&c.error, AIRA_E_FAILED, "it is a plugin of kind %s, wanted a primitive",
                            c.descriptor.plugin.kind);
    if (status == AIRA_OK && c.table->build == NULL)
        status = aira__fail(&c.error, AIRA_E_FAILED, "build is NULL; a primitive is its build function");
    if (status == AIRA_OK) status = configure(&c);
    if (status == AIRA_OK) answer(&c);
    _exit(reply(&c)); /* destructors of foreign code have nothing to do */
}
