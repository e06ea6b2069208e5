/* test_mad_lm.c - the names of its parameters are a contract; logits take the data set's classes. */
#include "tests/support/plugin_model.h"

Test(mad_lm, names) {
    static const char *const rms[] = {"embedding.weight",
                                      "layers.0.norm.weight",
                                      "layers.0.M.up.weight",
                                      "layers.0.M.down.weight",
                                      "layers.1.norm.weight",
                                      "layers.1.M.up.weight",
                                      "layers.1.M.down.weight",
                                      "norm.weight",
                                      "head.weight",
                                      "head.bias",
                                      NULL};
    static const char *const layer[] = {"layers.0.norm.bias", "layers.1.norm.bias", "norm.bias", NULL};
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 9, .classes = 7, .T = 5, .T_out = 5};
    aira_graph *graph = lab_model(&l, "{use: mad_lm, width: 16}", "{use: mlp}", &shape, AIRA_F32);
    lab_names(graph, rms, true);
    cr_expect_eq(aira__graph_find_variable(graph, "embedding.weight")->shape.dims[0], 9);
    cr_expect_eq(aira__graph_find_variable(graph, "head.weight")->shape.dims[0], 7);
    aira__graph_destroy(graph);
    graph = lab_model(&l, "{use: mad_lm, width: 16, norm: layer}", "{use: mlp}", &shape, AIRA_F32);
    lab_names(graph, rms, false);
    lab_names(graph, layer, false);
    cr_expect_eq(graph->n_variables, 13);
    aira__graph_destroy(graph);
    lab_close(&l);
}

/* A Linear weight keeps its uniform initial values, a Linear bias starts at zero. */
Test(mad_lm, initial_values) {
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 9, .T = 5, .T_out = 5};
    aira_graph *graph = lab_model(&l, "{use: mad_lm, width: 64}", "{use: mlp, bias: true}", &shape, AIRA_F32);
    double low, high, std;
    lab_initial(graph, "layers.0.M.up.weight", &low, &high, &std);
    cr_expect(low > -0.125 && low < -0.12 && high < 0.125 && high > 0.12, "%g %g", low, high);
    lab_initial(graph, "head.bias", &low, &high, &std);
    cr_expect(low == 0 && high == 0);
    lab_initial(graph, "layers.0.M.up.bias", &low, &high, &std);
    cr_expect(low == 0 && high == 0);
    lab_initial(graph, "embedding.weight", &low, &high, &std);
    cr_expect_float_eq(std, 0.02, 0.002);
    lab_initial(graph, "norm.weight", &low, &high, &std);
    cr_expect(low == 1 && high == 1);
    aira__graph_destroy(graph);
    lab_close(&l);
}
