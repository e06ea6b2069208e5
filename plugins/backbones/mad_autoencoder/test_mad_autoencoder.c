/* test_mad_autoencoder.c - everything passes through the last position; positions are sin|cos; any output length. */
#include "tests/support/plugin_model.h"

static const char backbone[] = "{use: mad_autoencoder, width: 16}";

Test(mad_autoencoder, names_and_lengths) {
    static const char *const names[] = {"embedding.weight",
                                        "layers.0.norm.weight",
                                        "layers.0.M.up.weight",
                                        "layers.0.M.down.weight",
                                        "layers.1.norm.weight",
                                        "layers.1.M.up.weight",
                                        "layers.1.M.down.weight",
                                        "decoder.0.norm.weight",
                                        "decoder.0.linear.weight",
                                        "decoder.0.linear.bias",
                                        "decoder.1.norm.weight",
                                        "decoder.1.linear.weight",
                                        "decoder.1.linear.bias",
                                        "norm.weight",
                                        "head.weight",
                                        "head.bias",
                                        NULL};
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 9, .T = 5, .T_out = 8};
    aira_graph *graph = lab_model(&l, backbone, "{use: mlp}", &shape, AIRA_F32);
    lab_names(graph, names, true);
    cr_expect_eq(aira__graph_find_output(graph, "logits")->shape.dims[1], 8);
    aira__graph_destroy(graph);
    lab_close(&l);
}

Test(mad_autoencoder, only_the_last_position_is_the_code) {
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 9, .T = 4, .T_out = 4};
    const double plain[4] = {1, 2, 3, 4}, first[4] = {5, 2, 3, 4}, last[4] = {1, 2, 3, 5};
    double a[36], b[36], c[36];
    lab_logits(&l, backbone, "{use: mlp}", &shape, plain, a);
    lab_logits(&l, backbone, "{use: mlp}", &shape, first, b);
    lab_logits(&l, backbone, "{use: mlp}", &shape, last, c);
    cr_expect(memcmp(a, b, sizeof a) == 0, "a position that no layer mixes reached the decoder");
    cr_expect(fabs(a[0] - c[0]) > 1e-6);
    cr_expect(fabs(a[0] - a[9]) > 1e-6, "output positions must differ by their sinusoids");
    lab_close(&l);
}

Test(mad_autoencoder, every_linear_starts_normal) {
    static const char *const weights[] = {"layers.0.Mb.in_proj.weight", "layers.0.Mb.dt_proj.weight",
                                          "decoder.1.linear.weight", "head.weight"};
    plugin_lab l;
    lab_open(&l);
    model_shape shape = {.vocab = 16, .T = 4, .T_out = 4};
    double low, high, std;
    aira_graph *graph = lab_model(&l, "{use: mad_autoencoder, width: 128}", "{use: mamba}", &shape, AIRA_F32);
    for (int k = 0; k < 4; k++) {
        lab_initial(graph, weights[k], &low, &high, &std);
        cr_expect_float_eq(std, 0.02, 1.5e-3, "%s: %g", weights[k], std);
    }
    lab_initial(graph, "layers.0.Mb.dt_proj.bias", &low, &high, &std);
    cr_expect(low == 0 && high == 0, "even Mamba's time steps are overwritten");
    aira__graph_destroy(graph);
    lab_close(&l);
}
