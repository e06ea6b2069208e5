/* test_lra_retrieval.c - names, towers that share their weights and know nothing of each other, refusals. */
#include "tests/support/plugin_model.h"

static const char attention[] = "{use: attention, heads: 4, rope: false}";

static plugin_lab l;
static void open_it(void) { lab_open(&l); }
static void close_it(void) { lab_close(&l); }
TestSuite(lra_retrieval, .init = open_it, .fini = close_it);

Test(lra_retrieval, names) {
    static const char *const names[] = {
        "embedding.weight",       "layers.0.norm.weight", "layers.0.norm.bias", "layers.0.M.up.weight",
        "layers.0.M.down.weight", "layers.1.norm.weight", "layers.1.norm.bias", "layers.1.M.up.weight",
        "layers.1.M.down.weight", "norm.weight",          "norm.bias",          "head_hidden.weight",
        "head_hidden.bias",       "head.weight",          "head.bias",          NULL};
    model_shape shape = {.vocab = 9, .classes = 2, .T = 6, .T_out = 1};
    aira_graph *graph = lab_model(&l, "{use: lra_retrieval, width: 16}", "{use: mlp}", &shape, AIRA_F32);
    lab_names(graph, names, true);
    cr_expect_eq(aira__graph_find_variable(graph, "head_hidden.weight")->shape.dims[1], 64);
    aira__graph_destroy(graph);
    graph = lab_model(&l, "{use: lra_retrieval, width: 16, features: concat, head: 0}", "{use: mlp}", &shape, AIRA_F32);
    cr_expect_eq(aira__graph_find_variable(graph, "head.weight")->shape.dims[1], 32);
    aira__graph_destroy(graph);
}

/* Without a hidden layer the logits are linear in (a, b): with each text's vector the same in every company,
   f(p,r) - f(q,r) = f(p,s) - f(q,s), and padding behind either text changes nothing. */
Test(lra_retrieval, towers_are_apart) {
    static const char concat[] = "{use: lra_retrieval, width: 16, features: concat, head: 0, mlp: 24}";
    static const double rows[4][6] = {{1, 2, 3, 7, 8, 6}, {4, 5, 6, 7, 8, 6}, {1, 2, 3, 2, 2, 5}, {4, 5, 6, 2, 2, 5}};
    double f[4][2], padded[2];
    model_shape shape = {.vocab = 9, .classes = 2, .T = 6, .T_out = 1};
    for (int k = 0; k < 4; k++) lab_logits(&l, concat, attention, &shape, rows[k], f[k]);
    for (int c = 0; c < 2; c++) {
        cr_expect_float_eq(f[0][c] - f[1][c], f[2][c] - f[3][c], 1e-9);
        cr_expect(fabs(f[0][c] - f[1][c]) > 1e-6 && fabs(f[0][c] - f[2][c]) > 1e-6);
    }
    const double longer[10] = {1, 2, 3, 0, 0, 7, 8, 6, 0, 0};
    shape.T = 10;
    lab_logits(&l, concat, attention, &shape, longer, padded);
    for (int c = 0; c < 2; c++) cr_expect_float_eq(padded[c], f[0][c], 1e-9);
}

Test(lra_retrieval, refuses_rows_of_odd_length) {
    aira_error error = {0};
    aira__instance *outer = lab_make(&l, "backbone", "{use: lra_retrieval}"),
                   *inner = lab_make(&l, "primitive", attention);
    const aira__layer layer = lab_layer(inner);
    const aira__model_spec spec = {.backbone = outer->plugin->table,
                                   .backbone_self = outer->self,
                                   .layers = &layer,
                                   .n_layers = 1,
                                   .vocab = 9,
                                   .classes = 2,
                                   .batch = 1,
                                   .input_length = 5,
                                   .target_length = 1,
                                   .compute_dtype = AIRA_F32};
    cr_expect(aira__model_build(&spec, &error) == NULL && strstr(error.text, "two texts of equal length"), "%s",
              error.text);
    aira__instance_destroy(outer);
    aira__instance_destroy(inner);
}
