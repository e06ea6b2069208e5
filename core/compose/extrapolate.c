/* core/compose/extrapolate.c - from a small architecture to a large model with its costs; see extrapolate.h.
 *
 * Each token becomes one configured primitive at the target's width, traced once: parameters, FLOPs and cache are read
 * off that graph, and everything else is sums over layers. Llama goes through the same code, so the two are comparable.
 */
#include "core/compose/extrapolate.h"

#include <stdlib.h>
#include <string.h>

#include "aira/ext/active.h"
#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/compose/notation.h"
#include "core/config/config.h"
#include "core/graph/model.h"

#define MAX_TOKENS 64
#define ROPE_BASE 500000.0 /* Llama 3 */

typedef struct scaled { /* one token at the target's width */
    const char *token;
    aira__instance *primitive;
    int64_t parameters, active; /* active: those that one token meets */
    int64_t kv_elements;        /* per token and layer */
    double flops;               /* training, per token and layer */
} scaled;

typedef struct totals {
    int64_t body, total, active, kv_bytes;
    double flops;
} totals;

static aira_status no_memory(aira_error *error) {
    (void)aira__fail(error, AIRA_E_MEMORY, "out of memory while extrapolating");
    return AIRA_E_MEMORY;
}

static bool has_key(const aira_schema *schema, const char *key) {
    for (uint32_t i = 0; schema && i < schema->n_fields; i++) {
        const char *at = (const char *)schema->fields + (size_t)i * schema->field_stride;
        if (strcmp(((const aira_field *)(const void *)at)->key, key) == 0) return true;
    }
    return false;
}

/* Gives key a value where the primitive knows the key and the user did not set it. Takes the value. */
static bool fill(json_t *config, const aira_schema *schema, const char *key, json_t *value) {
    bool wanted = has_key(schema, key) && !json_object_get(config, key);
    if (wanted) return json_object_set_new(config, key, value) == 0;
    json_decref(value);
    return true;
}

static bool fill_source(json_t *keys, const json_t *known, const char *key, json_t *value) {
    bool wanted = json_object_get(known, key) && !json_object_get(keys, key);
    if (wanted) return json_object_set_new(keys, key, value) == 0;
    json_decref(value);
    return true;
}

/* The same for a C source, whose keys stand under `config` and are known once it is made. */
static aira_status configure_source(aira__registry *registry, json_t *config, const aira__size *size, scaled *s,
                                    aira_error *error) {
    aira__instance *first = NULL;
    aira_status status = aira__instance_create_json(registry, "primitive", config, &first, error);
    if (status) return status;
    const json_t *known = json_object_get(first->canonical, "config");
    json_t *keys = json_object_get(config, "config");
    bool filled = !keys || (fill_source(keys, known, "heads", json_integer(size->heads)) &&
                            fill_source(keys, known, "kv_heads", json_integer(size->kv_heads)) &&
                            fill_source(keys, known, "hidden", json_integer(size->hidden)) &&
                            fill_source(keys, known, "bias", json_false()) &&
                            fill_source(keys, known, "rope_base", json_real(ROPE_BASE)));
    aira__instance_destroy(first);
    return filled ? aira__instance_create_json(registry, "primitive", config, &s->primitive, error) : no_memory(error);
}

static aira_status configure_plugin(aira__registry *registry, json_t *config, const char *id, const aira__size *size,
                                    scaled *s, aira_error *error) {
    const aira_plugin *plugin = aira__registry_find(registry, "primitive", id, error);
    if (!plugin) return AIRA_E_CONFIG;
    const aira_schema *schema = plugin->config;
    bool filled = fill(config, schema, "heads", json_integer(size->heads)) &&
                  fill(config, schema, "kv_heads", json_integer(size->kv_heads)) &&
                  fill(config, schema, "hidden", json_integer(size->hidden)) &&
                  fill(config, schema, "bias", json_false()) && fill(config, schema, "rope_base", json_real(ROPE_BASE));
    return filled ? aira__instance_create_json(registry, "primitive", config, &s->primitive, error) : no_memory(error);
}

/* The primitive that a token becomes, configured for the size. */
static aira_status configure(aira__registry *registry, const json_t *at_scale, const aira__size *size, scaled *s,
                             aira_error *error) {
    json_t *config = json_is_string(at_scale) ? json_pack("{s:O}", "use", at_scale) : json_deep_copy(at_scale);
    const char *id = json_string_value(json_object_get(config, "use"));
    aira_status status = AIRA_OK;
    if (!id) {
        status = aira__fail(error, AIRA_E_CONFIG,
                            "token `%s`: `at_scale` names no primitive; write `at_scale: {use: swiglu}` or the like",
                            s->token);
    } else {
        status = aira__registry_maker(registry, "primitive", id)
                     ? configure_source(registry, config, size, s, error)
                     : configure_plugin(registry, config, id, size, s, error);
        if (status && error) aira__fail_in(error, "token `%s` at scale", s->token);
    }
    json_decref(config);
    return status;
}

/* A primitive without the extension is dense. */
static int64_t count_active(const scaled *s, int64_t width) {
    const aira_plugin *plugin = s->primitive->plugin;
    const aira_active_parameters *extension = plugin->extension ? plugin->extension(AIRA_EXT_ACTIVE_PARAMETERS) : NULL;
    return extension && AIRA_HAS(aira_active_parameters, extension, active)
               ? extension->active(s->primitive->self, width)
               : s->parameters;
}

/* Counts one layer: traced at batch 1 and the training context. */
static aira_status measure(scaled *s, const aira__size *size, aira_error *error) {
    const aira_primitive *table = s->primitive->plugin->table;
    char *config = aira__json_canonical(s->primitive->canonical);
    if (!config) return no_memory(error);
    aira__layer layer = {s->token, s->primitive->plugin->id, config, table, s->primitive->self};
    aira_graph *graph = aira__primitive_build(&layer, 1, AIRA__SCALE_CONTEXT, size->width, AIRA_F32, true, error);
    if (graph) {
        aira__counts counts;
        aira__graph_count(graph, &counts);
        s->parameters = counts.parameters;
        s->active = count_active(s, size->width);
        s->flops = 3.0 * counts.flops_forward / AIRA__SCALE_CONTEXT;
        s->kv_elements = AIRA_HAS(aira_primitive, table, kv_elements_per_token)
                             ? table->kv_elements_per_token(s->primitive->self, size->width)
                             : 0;
        aira__graph_destroy(graph);
    }
    free(config);
    if (graph) return AIRA_OK;
    return error ? aira__fail_in(error, "token `%s` at width %lld", s->token, (long long)size->width) : AIRA_E_FAILED;
}

static totals sum(const uint16_t *layers, int n, const scaled *tokens, const aira__size *size) {
    totals t = {0};
    for (int i = 0; i < n; i++) {
        const scaled *s = &tokens[layers[i]];
        t.body += s->parameters;
        t.flops += s->flops;
        t.kv_bytes += 2 * s->kv_elements;
        t.active += s->active;
    }
    t.total = t.body + (n + 1) * size->width + size->vocab * size->width; /* norms; embedding, which is the head too */
    return t;
}

static json_t *count_tokens(const uint16_t *layers, int n, const scaled *tokens, int n_tokens) {
    json_t *counts = json_object();
    for (int t = 0; t < n_tokens; t++) {
        int many = 0;
        for (int i = 0; i < n; i++) many += layers[i] == t;
        if (many && json_object_set_new(counts, tokens[t].token, json_integer(many))) {
            json_decref(counts);
            return NULL;
        }
    }
    return counts;
}

/* The file that `aira train` takes. JSON is flow-style YAML, so canonical configurations go in as they are. */
static char *model_yaml(const aira__size *size, const char *by, const char *architecture, const scaled *tokens,
                        int n_tokens, const json_t *counts, const totals *t) {
    aira__buf b = {0};
    aira__buf_printf(&b, "# %s by %s: %.1f M parameters in the body, %.1f M with norms and the tied embedding.\n",
                     size->name, by, (double)t->body / 1e6, (double)t->total / 1e6);
    aira__buf_printf(
        &b, "# Put token files (.npy of uint32) of a tokenizer of %lld entries where `dataset` says, or change it.\n",
        (long long)size->vocab);
    aira__buf_printf(&b, "model: %s-%s\narchitecture: \"%s\"\ntokens:\n", size->name, by, architecture);
    for (int i = 0; i < n_tokens; i++) {
        if (!json_object_get(counts, tokens[i].token)) continue;
        char *config = aira__json_canonical(tokens[i].primitive->canonical);
        aira__buf_printf(&b, "  %s: %s\n", tokens[i].token, config ? config : "");
        if (!config) b.failed = true;
        free(config);
    }
    aira__buf_printf(&b, "backbone: {use: llama, width: %lld, tied: true}\n", (long long)size->width);
    aira__buf_printf(&b,
                     "dataset: {use: tokens, train: [data/train*.npy], validation: [data/val*.npy], vocab: %lld, "
                     "length: %d}\n",
                     (long long)size->vocab, AIRA__SCALE_CONTEXT);
    aira__buf_printf(&b,
                     "recipe:\n  optimizer: {use: adamw, lr: %g, beta2: 0.95, weight_decay: 0.1}\n"
                     "  schedule: {kind: trapezoid, warmup: 1K}\n  tokens: 37.5B\n  batch: 64\n  clip: 1\n"
                     "  precision: bf16\n",
                     size->learning_rate);
    return aira__buf_take(&b);
}

static aira_status describe(const aira__size *size, const char *by, const uint16_t *layers, int n, const scaled *tokens,
                            int n_tokens, const totals *llama, aira__extrapolation *out, aira_error *error) {
    const char *names[MAX_TOKENS];
    for (int i = 0; i < n_tokens; i++) names[i] = tokens[i].token;
    totals t = sum(layers, n, tokens, size);
    char *architecture = aira__notation_format(layers, n, names);
    json_t *counts = count_tokens(layers, n, tokens, n_tokens);
    if (architecture && counts) {
        out->model = model_yaml(size, by, architecture, tokens, n_tokens, counts, &t);
        json_t *beside = json_pack("{s:i, s:i, s:I, s:I, s:f, s:I}", "layers", (int)(2 * size->llama_layers), "blocks",
                                   (int)size->llama_layers, "parameters_body", (json_int_t)llama->body,
                                   "parameters_total", (json_int_t)llama->total, "flops_per_token", llama->flops,
                                   "kv_bytes_per_token", (json_int_t)llama->kv_bytes);
        out->result = json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:f, s:I, s:O, s:o, s:n}", "to", size->name, "by",
                                by, "architecture", architecture, "layers", n, "parameters_body", (json_int_t)t.body,
                                "parameters_total", (json_int_t)t.total, "parameters_active", (json_int_t)t.active,
                                "flops_per_token", t.flops, "kv_bytes_per_token", (json_int_t)t.kv_bytes, "tokens",
                                counts, "llama", beside, "model");
    }
    json_decref(counts);
    free(architecture);
    return out->result && out->model ? AIRA_OK : no_memory(error);
}

/* Llama of the size: attention and swiglu in turn. */
static aira_status measure_llama(aira__registry *registry, const aira__size *size, totals *out, aira_error *error) {
    static const char *const ids[] = {"attention", "swiglu"};
    scaled tokens[2] = {{.token = "mA"}, {.token = "M"}};
    aira_status status = AIRA_OK;
    for (int i = 0; !status && i < 2; i++) {
        json_t *id = json_string(ids[i]);
        status = id ? configure(registry, id, size, &tokens[i], error) : no_memory(error);
        if (!status) status = measure(&tokens[i], size, error);
        json_decref(id);
    }
    if (!status) {
        uint16_t layers[128];
        for (int i = 0; i < 2 * size->llama_layers; i++) layers[i] = (uint16_t)(i & 1);
        *out = sum(layers, (int)(2 * size->llama_layers), tokens, size);
    }
    for (int i = 0; i < 2; i++)
        if (tokens[i].primitive) aira__instance_destroy(tokens[i].primitive);
    return status;
}

/* Configures and counts the tokens that the architecture uses. */
static aira_status measure_tokens(aira__registry *registry, const json_t *table, const aira__size *size,
                                  const uint16_t *layers, int n, scaled *tokens, int n_tokens, aira_error *error) {
    for (int t = 0; t < n_tokens; t++) {
        bool used = false;
        for (int i = 0; i < n; i++) used |= layers[i] == t;
        if (!used) continue;
        const json_t *at_scale = json_object_get(json_object_get(table, tokens[t].token), "at_scale");
        if (!at_scale)
            return aira__fail(
                error, AIRA_E_CONFIG,
                "token `%s` has no `at_scale`, so nobody knows what it becomes at %s; write, for instance, "
                "`at_scale: {use: swiglu}` beside its `use:` in the task",
                tokens[t].token, size->name);
        aira_status status = configure(registry, at_scale, size, &tokens[t], error);
        if (!status) status = measure(&tokens[t], size, error);
        if (status) return status;
    }
    return AIRA_OK;
}

static aira_status scale(const aira__size *size, aira__scale_rule rule, const uint16_t *layers, int n,
                         const scaled *tokens, int n_tokens, int64_t target, uint16_t *large, int *n_large,
                         aira_error *error) {
    if (n == 2 * size->llama_layers) { /* full depth already */
        memcpy(large, layers, (size_t)n * sizeof *large);
        *n_large = n;
        return AIRA_OK;
    }
    int64_t cost[MAX_TOKENS];
    for (int t = 0; t < n_tokens; t++) cost[t] = tokens[t].parameters;
    return aira__scale_layers(layers, n, cost, target, rule, large, AIRA__NOTATION_MAX, n_large, error);
}

static aira_status extrapolate(aira__registry *registry, const json_t *table, const char *architecture,
                               const aira__size *size, const char *by, scaled *tokens, int *n_tokens,
                               aira__extrapolation *out, aira_error *error) {
    const char *names[MAX_TOKENS], *name;
    json_t *value;
    json_object_foreach((json_t *)table, name, value) {
        if (*n_tokens == MAX_TOKENS) return aira__fail(error, AIRA_E_CONFIG, "more than %d tokens", MAX_TOKENS);
        names[*n_tokens] = name;
        tokens[(*n_tokens)++] = (scaled){.token = name};
    }
    uint16_t small[AIRA__NOTATION_MAX], large[AIRA__NOTATION_MAX];
    int n = 0, n_large = 0;
    aira__scale_rule rule;
    totals llama;
    aira_status status = aira__scale_rule_find(by, &rule, error);
    if (!status) status = aira__notation_parse(architecture, names, *n_tokens, small, AIRA__NOTATION_MAX, &n, error);
    if (!status) status = measure_tokens(registry, table, size, small, n, tokens, *n_tokens, error);
    if (!status) status = measure_llama(registry, size, &llama, error);
    if (!status) status = scale(size, rule, small, n, tokens, *n_tokens, llama.body, large, &n_large, error);
    return status ? status : describe(size, by, large, n_large, tokens, *n_tokens, &llama, out, error);
}

aira_status aira__extrapolate(aira__registry *registry, const json_t *tokens, const char *architecture, const char *to,
                              const char *by, aira__extrapolation *out, aira_error *error) {
    *out = (aira__extrapolation){0};
    const aira__size *size;
    aira_status status = aira__size_find(to, &size, error);
    if (status) return status;
    json_t *table = tokens ? json_incref((json_t *)tokens)
                           : json_pack("{s:{s:s}, s:{s:s}, s:{s:s}}", "mA", "at_scale", "attention", "M", "at_scale",
                                       "swiglu", "Mb", "at_scale", "mamba2");
    scaled at_size[MAX_TOKENS];
    int n = 0;
    status = table ? extrapolate(registry, table, architecture, size, by, at_size, &n, out, error) : no_memory(error);
    for (int i = 0; i < n; i++)
        if (at_size[i].primitive) aira__instance_destroy(at_size[i].primitive);
    json_decref(table);
    if (status) aira__extrapolation_release(out);
    return status;
}

void aira__extrapolation_release(aira__extrapolation *e) {
    json_decref(e->result);
    free(e->model);
    *e = (aira__extrapolation){0};
}
