/* gradients_models.c - every shipped primitive and backbone: gradients against finite differences in fp64, relative
 * error below 1e-6, with all parameters redrawn; with and without causality, mask and positions; natively and expanded.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/check/gradient.h"
#include "core/graph/model.h"

typedef struct primitive_case {
    const char *yaml;
    bool bidirectional, masked, placed;
} primitive_case;

static const primitive_case primitives[] = {
    {"{use: attention, heads: 4}", false, false, false},
    {"{use: attention, heads: 4}", true, true, true},
    {"{use: attention, heads: 4, kv_heads: 2, head_dim: 6, window: 3, qk_norm: true, bias: false}", false, true, false},
    {"{use: attention, heads: 4, kv_heads: 1, rope_dims: 2, rope_base: 100}", false, false, true},
    {"{use: attention, heads: 2, rope: false}", true, false, false},
    {"{use: mlp}", false, false, false},
    {"{use: mlp, hidden: 12, activation: gelu_exact, bias: true}", false, false, false},
    {"{use: mlp, expansion: 1.5, activation: relu}", false, false, false},
    {"{use: mlp, activation: silu}", false, false, false},
    {"{use: swiglu}", false, false, false},
    {"{use: swiglu, hidden: 10}", false, false, false},
    {"{use: mamba}", false, false, false},
    {"{use: mamba, state: 3, conv: 2, expand: 1, dt_rank: 2}", false, false, false},
    {"{use: mamba2, head_dim: 8, state: 6}", false, false, false},
    {"{use: mamba2, head_dim: 4, state: 3, groups: 2, conv: 3}", false, false, false},
    {"{use: linear_attention, heads: 4}", false, true, false},
    {"{use: linear_attention, heads: 2, feature: relu, eps: 0.5, bias: true}", false, false, false},
    {"{use: linear_attention, heads: 4}", true, true, false},
    {"{use: s4d, state: 3}", false, false, false},
    {"{use: s4d, state: 3}", true, true, false},
    {"{use: gla, heads: 2}", false, true, false},
    {"{use: gla, heads: 4, temperature: 2, key_ratio: 1}", true, true, false},
};

static const char *const backbones[] = {"{use: mad_lm, width: 16}",
                                        "{use: mad_lm, width: 16, norm: layer}",
                                        "{use: mad_autoencoder, width: 16}",
                                        "{use: mad_autoencoder, width: 16, norm: layer}",
                                        "{use: llama, width: 16}",
                                        "{use: llama, width: 16, tied: false}",
                                        "{use: lra_classifier, width: 16, mlp: 20, head: 8}",
                                        "{use: lra_classifier, width: 16, pool: cls, positions: learned}",
                                        "{use: lra_retrieval, width: 16}",
                                        "{use: lra_retrieval, width: 16, features: concat, pool: cls, norm: rms}"};

enum { B = 2, T = 6, C = 16, VOCAB = 7 };

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

static aira_graph *build(const aira__instance *instance, const primitive_case *c) {
    const aira_primitive *table = instance->plugin->table;
    const aira_ops *o = aira__graph_ops();
    const aira_shape places = {{B, T}, 2, 0}, shape = {{B, T, C}, 3, 0};
    aira_graph *g = aira__graph_create(AIRA_F64, NULL);
    cr_assert(g);
    aira__graph_set_int(g, "causal", !c->bidirectional);
    if (c->masked) {
        aira_tensor *shown = aira__graph_input(g, "mask", AIRA_I32, &places);
        const aira_shape scalar = {{0}, 0, 0};
        aira__graph_set_tensor(g, "mask", o->compare(g, "!=", o->cast(g, shown, 0), o->constant(g, 0, &scalar)));
    }
    if (c->placed) aira__graph_set_tensor(g, "positions", aira__graph_input(g, "positions", AIRA_I32, &places));
    aira__graph_push_scope(g, table->token);
    aira__graph_output(g, "y", table->build(instance->self, o, g, aira__graph_input(g, "x", AIRA_F64, &shape)));
    aira__graph_pop_scope(g);
    return g;
}

static double check(const aira__lab *lab, aira_graph *graph, const char *output, int64_t range, const char *what) {
    aira__gradient_result result;
    aira_error error = {0};
    const aira__gradient_options options = {.output = output, .seed = 11, .range = range};
    aira_status status = aira__gradient_check(lab, graph, &options, &result, &error);
    cr_assert(status == AIRA_OK, "%s: %s", what, error.text);
    cr_expect(result.error < 1e-6, "%s%s: relative error %.2e for %s", what, lab->expand_all ? ", expanded" : "",
              result.error, result.where);
    return result.error;
}

Test(gradients_models, primitives) {
    aira__registry *registry;
    aira__lab lab;
    aira_error error = {0};
    double worst = 0;
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__lab_open(registry, &lab, &error) == AIRA_OK, "%s", error.text);
    for (size_t k = 0; k < sizeof primitives / sizeof *primitives; k++) {
        aira__instance *instance = make(registry, "primitive", primitives[k].yaml);
        for (int expand = 0; expand < 2; expand++) {
            lab.expand_all = expand;
            worst = fmax(worst, check(&lab, build(instance, &primitives[k]), "y", 4, primitives[k].yaml));
        }
        aira__instance_destroy(instance);
    }
    printf("primitives: largest relative error %.1e\n", worst);
    aira__lab_close(&lab);
    aira__registry_destroy(registry);
}

Test(gradients_models, backbones) {
    aira__registry *registry;
    aira__lab lab;
    aira_error error = {0};
    double worst = 0;
    cr_assert(aira__registry_create(NULL, &registry, &error) == AIRA_OK, "%s", error.text);
    cr_assert(aira__lab_open(registry, &lab, &error) == AIRA_OK, "%s", error.text);
    aira__instance *attention = make(registry, "primitive", "{use: attention, heads: 4}");
    aira__instance *mlp = make(registry, "primitive", "{use: mlp, bias: true}");
    const aira__layer layers[2] = {{"mA", "attention", "{}", attention->plugin->table, attention->self},
                                   {"M", "mlp", "{}", mlp->plugin->table, mlp->self}};
    for (size_t k = 0; k < sizeof backbones / sizeof *backbones; k++) {
        aira__instance *backbone = make(registry, "backbone", backbones[k]);
        const aira__model_spec spec = {.backbone = backbone->plugin->table,
                                       .backbone_self = backbone->self,
                                       .layers = layers,
                                       .n_layers = 2,
                                       .vocab = VOCAB,
                                       .classes = VOCAB - 1,
                                       .batch = B,
                                       .input_length = T,
                                       .target_length = T,
                                       .compute_dtype = AIRA_F64,
                                       .training = true,
                                       .causal = true,
                                       .with_loss = true};
        aira_graph *graph = aira__model_build(&spec, &error);
        cr_assert(graph, "%s: %s", backbones[k], error.text);
        worst = fmax(worst, check(&lab, graph, "loss", VOCAB, backbones[k]));
        aira__instance_destroy(backbone);
    }
    printf("backbones: largest relative error %.1e\n", worst);
    aira__instance_destroy(attention);
    aira__instance_destroy(mlp);
    aira__lab_close(&lab);
    aira__registry_destroy(registry);
}
