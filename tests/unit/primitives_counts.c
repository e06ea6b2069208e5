/* primitives_counts.c - parameters of the shipped primitives and models, traced: the published counts, exactly. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "core/graph/model.h"
#include "core/plugin/registry.h"

static aira__instance *make(aira__registry *registry, const char *kind, const char *yaml) {
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, yaml, diagnostics);
    cr_assert(document);
    aira__instance *made = aira__instance_create(registry, kind, aira__document_root(document), NULL, diagnostics);
    cr_assert(made, "%s", aira__diagnostics_text(diagnostics));
    aira__document_destroy(document);
    aira__diagnostics_destroy(diagnostics);
    return made;
}

static aira__layer layer_of(const aira__instance *instance) {
    const aira_primitive *table = instance->plugin->table;
    return (aira__layer){table->token, instance->plugin->id, "{}", table, instance->self};
}

Test(primitives, parameters) {
    static const struct {
        const char *yaml;
        int64_t width, parameters, cached;
    } cases[] = {
        {"{use: attention}", 128, 66048, 256},
        {"{use: mlp}", 128, 131072, 0},
        {"{use: mamba}", 128, 107264, 0},
        {"{use: swiglu}", 128, 135168, 0},
        {"{use: attention, heads: 32, kv_heads: 8, bias: false}", 2048, 10485760, 1024},
        {"{use: swiglu, hidden: 8192}", 2048, 50331648, 0},
        {"{use: mamba2, head_dim: 128, state: 128}", 2048, 25781600, 0},
        {"{use: linear_attention}", 128, 65536, 0},
        {"{use: linear_attention, bias: true}", 128, 66048, 0},
        {"{use: s4d}", 128, 128 + 4 * 128 * 32 + 128 + 256 * 128 + 256, 0},
        {"{use: gla}", 128, 4 * 128 * 128 + 4 * 128 + 4 + 32, 0},
    };
    aira__registry *registry;
    aira_error error = {0};
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        aira__instance *instance = make(registry, "primitive", cases[k].yaml);
        const aira__layer layer = layer_of(instance);
        aira_graph *graph = aira__primitive_build(&layer, 1, 8, cases[k].width, AIRA_F32, true, &error);
        cr_assert(graph, "%s: %s", cases[k].yaml, error.text);
        aira__counts counts;
        aira__graph_count(graph, &counts);
        cr_expect_eq(counts.parameters, cases[k].parameters, "%s: %lld parameters, not %lld", cases[k].yaml,
                     (long long)counts.parameters, (long long)cases[k].parameters);
        int64_t cached = layer.table->kv_elements_per_token
                             ? layer.table->kv_elements_per_token(layer.self, cases[k].width)
                             : 0;
        cr_expect_eq(cached, cases[k].cached, "%s: %lld cached", cases[k].yaml, (long long)cached);
        aira__graph_destroy(graph);
        aira__instance_destroy(instance);
    }
    aira__registry_destroy(registry);
}

/* The body (without embedding, final norm and head) of sixteen layers at width 128: norms of 128 weights included. */
Test(primitives, bodies_of_sixteen_layers) {
    static const struct {
        int attention;
        int64_t body;
    } cases[] = {{0, 2099200}, {7, 1644032}, {8, 1579008}, {11, 1383936}, {16, 1058816}};
    enum { VOCAB = 16, WIDTH = 128 };
    aira__registry *registry;
    aira_error error = {0};
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    aira__instance *backbone = make(registry, "backbone", "{use: mad_lm}");
    aira__instance *attention = make(registry, "primitive", "{use: attention}");
    aira__instance *mlp = make(registry, "primitive", "{use: mlp}");
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        aira__layer layers[16];
        for (int n = 0; n < 16; n++) layers[n] = layer_of(n < cases[k].attention ? attention : mlp);
        const aira__model_spec spec = {.backbone = backbone->plugin->table,
                                       .backbone_self = backbone->self,
                                       .layers = layers,
                                       .n_layers = 16,
                                       .vocab = VOCAB,
                                       .batch = 1,
                                       .input_length = 4,
                                       .target_length = 4,
                                       .compute_dtype = AIRA_F32,
                                       .causal = true};
        aira_graph *graph = aira__model_build(&spec, &error);
        cr_assert(graph, "%s", error.text);
        aira__counts counts;
        aira__graph_count(graph, &counts);
        int64_t around = VOCAB * WIDTH + WIDTH + VOCAB * WIDTH + VOCAB;
        cr_expect_eq(counts.parameters - around, cases[k].body, "%d attention layers: body of %lld", cases[k].attention,
                     (long long)(counts.parameters - around));
        aira__graph_destroy(graph);
    }
    aira__instance_destroy(backbone);
    aira__instance_destroy(attention);
    aira__instance_destroy(mlp);
    aira__registry_destroy(registry);
}

static double *initial(const aira_graph *graph, const char *name, int64_t n) {
    static double values[1 << 16];
    aira_error error = {0};
    const aira__variable *v = aira__graph_find_variable(graph, name);
    cr_assert(v && aira__shape_elements(&v->shape) == n && n <= 1 << 16, "%s", name);
    cr_assert(aira__variable_initial(graph, v, 5, values, &error) == AIRA_OK, "%s", error.text);
    return values;
}

static double deviation(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += x[k] * x[k];
    return sqrt(sum / (double)n);
}

/* Initial values of Mamba in mad-lab's two backbones: what reinit changes and what it leaves. */
Test(primitives, initial_values) {
    aira__registry *registry;
    aira_error error = {0};
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    aira__instance *mamba = make(registry, "primitive", "{use: mamba}");
    const aira__layer layer = layer_of(mamba);
    for (int k = 0; k < 2; k++) {
        aira__instance *backbone = make(registry, "backbone", k ? "{use: mad_autoencoder}" : "{use: mad_lm}");
        const aira__model_spec spec = {.backbone = backbone->plugin->table,
                                       .backbone_self = backbone->self,
                                       .layers = &layer,
                                       .n_layers = 1,
                                       .vocab = 16,
                                       .batch = 1,
                                       .input_length = 4,
                                       .target_length = 4,
                                       .compute_dtype = AIRA_F32,
                                       .causal = true};
        aira_graph *graph = aira__model_build(&spec, &error);
        cr_assert(graph, "%s", error.text);
        const double *x = initial(graph, "layers.0.Mb.A_log", 1024);
        for (int c = 0; c < 1024; c++) cr_assert_float_eq(x[c], log(c % 4 + 1), 1e-6);
        x = initial(graph, "layers.0.Mb.dt_proj.bias", 256);
        for (int c = 0; c < 256; c++) {
            double dt = log1p(exp(x[c]));
            if (k) cr_assert_float_eq(x[c], 0, 0);
            if (!k) cr_assert(dt > 0.999e-3 && dt < 0.1001, "time step %g", dt);
        }
        double dt_weight = deviation(initial(graph, "layers.0.Mb.dt_proj.weight", 2048), 2048);
        double in_weight = deviation(initial(graph, "layers.0.Mb.in_proj.weight", 65536), 65536);
        cr_expect_float_eq(dt_weight, k ? 0.02 : 1 / sqrt(8 * 3), k ? 1e-3 : 0.01);
        cr_expect_float_eq(in_weight, k ? 0.02 : 1 / sqrt(128 * 3), 1e-3);
        cr_expect_float_eq(deviation(initial(graph, "embedding.weight", 2048), 2048), 0.02, 1e-3);
        aira__graph_destroy(graph);
        aira__instance_destroy(backbone);
    }
    aira__instance_destroy(mamba);
    aira__registry_destroy(registry);
}
