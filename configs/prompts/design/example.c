/* A gated causal convolution: y = W (conv(x) * sigmoid(G x)). */
#include "aira/primitive.h"

#define KERNEL 8

/* x[B,T,C] through a matrix of its own, which starts as PyTorch's Linear does */
static aira_tensor *project(const aira_ops *o, aira_graph *g, const char *name, aira_tensor *x, int64_t out) {
    aira_param_info info = {.size = sizeof info, .init = "fan_in", .role = "linear.weight"};
    aira_tensor *weight = o->param(g, name, &(aira_shape){{out, o->dim(g, x, -1)}, 2, 0}, &info);
    return o->linear(g, x, weight, NULL);
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    (void)self;
    int64_t C = o->dim(g, x, 2);
    aira_param_info taps = {
        .size = sizeof taps, .init = "uniform", .a = -0.35, .b = 0.35, .flags = AIRA_PARAM_NO_DECAY};
    aira_param_info zero = {.size = sizeof zero, .init = "zeros", .role = "linear.bias"};
    aira_tensor *kernel = o->param(g, "conv.weight", &(aira_shape){{C, KERNEL}, 2, 0}, &taps);
    aira_tensor *bias = o->param(g, "conv.bias", &(aira_shape){{C}, 1, 0}, &zero);
    aira_tensor *mixed = o->conv1d_causal(g, x, kernel, bias); /* reads the last KERNEL positions only */
    aira_tensor *gate = o->sigmoid(g, project(o, g, "gate.weight", x, C));
    return project(o, g, "out.weight", o->mul(g, mixed, gate), C);
}

static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "Gc", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "gated_conv", "1.0.0",
                                                          "gated causal convolution", NULL)};
AIRA_MANIFEST("primitive", "gated_conv", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
