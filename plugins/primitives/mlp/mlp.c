/* mlp.c - the position-wise network: up, activation, down.
 *
 * The defaults are mad-lab's mlp: four times the width, GELU by its tanh approximation, no biases.
 */
#include "aira/primitive.h"

enum { GELU, GELU_EXACT, RELU, SILU };
static const char *const activations[] = {"gelu", "gelu_exact", "relu", "silu", NULL};

typedef struct mlp {
    int64_t hidden;
    double expansion;
    int32_t activation, bias;
} mlp;

static aira_tensor *activate(const aira_ops *o, aira_graph *g, aira_tensor *x, int32_t activation) {
    switch (activation) {
    case RELU:
        return o->relu(g, x);
    case SILU:
        return o->silu(g, x);
    default:
        return o->gelu(g, x, activation == GELU_EXACT);
    }
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const mlp *c = self;
    int64_t C = o->dim(g, x, 2), F = c->hidden ? c->hidden : (int64_t)(c->expansion * (double)C);
    if (F < 1) return o->error(g, "mlp: expansion times the width is less than 1; set hidden or a larger expansion");
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info zero = {.size = sizeof zero, .init = "zeros", .role = "linear.bias"};
    aira_tensor *up = o->param(g, "up.weight", &(aira_shape){{F, C}, 2, 0}, &weight);
    aira_tensor *down = o->param(g, "down.weight", &(aira_shape){{C, F}, 2, 0}, &weight);
    aira_tensor *up_bias = NULL, *down_bias = NULL;
    if (c->bias) {
        up_bias = o->param(g, "up.bias", &(aira_shape){{F}, 1, 0}, &zero);
        down_bias = o->param(g, "down.bias", &(aira_shape){{C}, 1, 0}, &zero);
    }
    return o->linear(g, activate(o, g, o->linear(g, x, up, up_bias), c->activation), down, down_bias);
}

static const aira_field fields[] = {
    AIRA_F_INT(mlp, hidden, 0, 0, 1 << 24, "inner width; 0: expansion times the width"),
    AIRA_F_REAL(mlp, expansion, 4, 0, 1024, "inner width as a multiple of the width, where hidden is 0"),
    AIRA_F_CHOICE(mlp, activation, activations, GELU, "between the two projections; gelu is the tanh approximation"),
    AIRA_F_BOOL(mlp, bias, 0, "biases on both projections"),
};
static const aira_schema schema = AIRA_SCHEMA(mlp, fields);
static const aira_primitive table = {sizeof table, 0, "M", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "mlp", "1.0.0",
                                                          "position-wise two-layer network", &schema)};
AIRA_MANIFEST("primitive", "mlp", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
