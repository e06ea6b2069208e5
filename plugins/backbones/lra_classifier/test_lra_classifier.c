/* test_lra_classifier.c - names, padding that changes nothing, positions that see both ways, one answer per row. */
#include "tests/support/plugin_model.h"

static const char attention[] = "{use: attention, heads: 4, rope: false}";

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(lra_classifier, .init = open_it, .fini = close_it);

Test(lra_classifier, names) {
    static const char *const plain[] = {"embedding.weight",
                                        "layers.0.norm.weight",
                                        "layers.0.norm.bias",
                                        "layers.0.M.up.weight",
                                        "layers.0.M.down.weight",
                                        "layers.1.norm.weight",
                                        "layers.1.norm.bias",
                                        "layers.1.M.up.weight",
                                        "layers.1.M.down.weight",
                                        "norm.weight",
                                        "norm.bias",
                                        "head.weight",
                                        "head.bias",
                                        NULL};
    static const char *const more[] = {"cls",
                                       "positions.weight",
                                       "layers.0.mlp.norm.weight",
                                       "layers.0.mlp.norm.bias",
                                       "layers.0.mlp.up.weight",
                                       "layers.0.mlp.up.bias",
                                       "layers.1.mlp.down.weight",
                                       "layers.1.mlp.down.bias",
                                       "head_hidden.weight",
                                       "head_hidden.bias",
                                       NULL};
    model_shape shape = {.vocab = 9, .classes = 3, .T = 5, .T_out = 1};
    aira_graph *graph = lab_model(&l, "{use: lra_classifier, width: 16}", "{use: mlp}", &shape, AIRA_F32);
    lab_names(graph, plain, true);
    cr_expect_eq(aira__graph_find_variable(graph, "head.weight")->shape.dims[0], 3);
    aira__graph_destroy(graph);
    graph = lab_model(&l, "{use: lra_classifier, width: 16, pool: cls, positions: learned, mlp: 24, head: 12}",
                      "{use: mlp}", &shape, AIRA_F32);
    lab_names(graph, plain, false);
    lab_names(graph, more, false);
    cr_expect_eq(graph->n_variables, 13 + 2 + 12 + 2);
    cr_expect_eq(aira__graph_find_variable(graph, "positions.weight")->shape.dims[1], 6);
    aira__graph_destroy(graph);
}

/* What stands behind the text must not matter, however much of it there is. */
Test(lra_classifier, padding_changes_nothing) {
    static const char *const backbones[] = {"{use: lra_classifier, width: 16, mlp: 24}",
                                            "{use: lra_classifier, width: 16, pool: cls}",
                                            "{use: lra_classifier, width: 16, positions: none, norm: rms, head: 8}"};
    static const char *const layers[] = {attention, "{use: s4d, state: 4}", "{use: gla, heads: 4}",
                                         "{use: linear_attention, heads: 4}", "{use: mamba}"};
    const double text[4] = {3, 8, 1, 5}, padded[9] = {3, 8, 1, 5, 0, 0, 0, 0, 0};
    for (int b = 0; b < 3; b++) {
        for (int p = 0; p < 5; p++) {
            double a[3], z[3];
            model_shape shape = {.vocab = 9, .classes = 3, .T = 4, .T_out = 1};
            lab_logits(&l, backbones[b], layers[p], &shape, text, a);
            shape.T = 9;
            lab_logits(&l, backbones[b], layers[p], &shape, padded, z);
            for (int k = 0; k < 3; k++)
                cr_expect_float_eq(a[k], z[k], 1e-9, "%s %s: %g, padded %g", backbones[b], layers[p], a[k], z[k]);
        }
    }
}

/* The vector in front has nothing before it: what it knows it saw ahead. */
Test(lra_classifier, looks_both_ways) {
    static const char cls[] = "{use: lra_classifier, width: 16, pool: cls}";
    const double one[5] = {1, 2, 3, 4, 5}, other[5] = {1, 2, 3, 4, 6};
    double a[3], b[3];
    model_shape shape = {.vocab = 9, .classes = 3, .T = 5, .T_out = 1};
    lab_logits(&l, cls, attention, &shape, one, a);
    lab_logits(&l, cls, attention, &shape, other, b);
    cr_expect(fabs(a[0] - b[0]) > 1e-6, "%g %g", a[0], b[0]);
    lab_logits(&l, cls, "{use: mlp}", &shape, one, a);
    lab_logits(&l, cls, "{use: mlp}", &shape, other, b);
    cr_expect(memcmp(a, b, sizeof a) == 0, "a position that no layer mixes reached the class vector");
}

Test(lra_classifier, nothing_but_padding_is_finite) {
    const double none[3] = {0, 0, 0};
    double a[3];
    model_shape shape = {.vocab = 9, .classes = 3, .T = 3, .T_out = 1};
    lab_logits(&l, "{use: lra_classifier, width: 16}", attention, &shape, none, a);
    cr_expect(isfinite(a[0]) && isfinite(a[1]) && isfinite(a[2]));
}
