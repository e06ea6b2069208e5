/* test_llama.c - the head is the embedding where it can be; every Linear weight starts normal. */
#include "tests/support/plugin_model.h"

Test(llama, head) {
    static const char *const tied[] = {"embedding.weight",
                                       "layers.0.norm.weight",
                                       "layers.0.Sg.gate.weight",
                                       "layers.0.Sg.up.weight",
                                       "layers.0.Sg.down.weight",
                                       "layers.1.norm.weight",
                                       "layers.1.Sg.gate.weight",
                                       "layers.1.Sg.up.weight",
                                       "layers.1.Sg.down.weight",
                                       "norm.weight",
                                       NULL};
    static const char *const head[] = {"head.weight", NULL};
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 9, .T = 5, .T_out = 5};
    aira_graph *graph = lab_model(&l, "{use: llama, width: 16}", "{use: swiglu}", &shape, AIRA_F32);
    lab_names(graph, tied, true);
    aira__graph_destroy(graph);
    graph = lab_model(&l, "{use: llama, width: 16, tied: false}", "{use: swiglu}", &shape, AIRA_F32);
    lab_names(graph, head, false);
    aira__graph_destroy(graph);
    shape.classes = 4; /* other classes than ids: cannot be tied */
    graph = lab_model(&l, "{use: llama, width: 16}", "{use: swiglu}", &shape, AIRA_F32);
    lab_names(graph, head, false);
    aira__graph_destroy(graph);
    lab_close(&l);
}

Test(llama, initial_values) {
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 9, .T = 5, .T_out = 5};
    double low, high, std;
    aira_graph *graph = lab_model(&l, "{use: llama, width: 64}", "{use: mamba}", &shape, AIRA_F32);
    lab_initial(graph, "layers.0.Mb.in_proj.weight", &low, &high, &std);
    cr_expect_float_eq(std, 0.02, 1e-3);
    lab_initial(graph, "layers.0.Mb.dt_proj.weight", &low, &high, &std); /* protected: +-1/sqrt(rank 4) */
    cr_expect(low > -0.5 && low < -0.48 && high > 0.48 && high < 0.5, "%g %g", low, high);
    aira__graph_destroy(graph);
    lab_close(&l);
}
