/* swiglu.c - the gated position-wise network: down(silu(gate x) * up x), without biases.
 *
 * The default inner width is mad-lab's: two thirds of four times the width, rounded up to a multiple of 16 (352 at
 * width 128). Llama-like models set `hidden`.
 */
#include "aira/primitive.h"

typedef struct swiglu {
    int64_t hidden, multiple_of;
} swiglu;

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const swiglu *c = self;
    int64_t C = o->dim(g, x, 2), m = c->multiple_of;
    int64_t F = c->hidden ? c->hidden : (8 * C / 3 + m - 1) / m * m;
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_tensor *gate = o->param(g, "gate.weight", &(aira_shape){{F, C}, 2, 0}, &weight);
    aira_tensor *up = o->param(g, "up.weight", &(aira_shape){{F, C}, 2, 0}, &weight);
    aira_tensor *down = o->param(g, "down.weight", &(aira_shape){{C, F}, 2, 0}, &weight);
    aira_tensor *inner = o->mul(g, o->silu(g, o->linear(g, x, gate, NULL)), o->linear(g, x, up, NULL));
    return o->linear(g, inner, down, NULL);
}

static const aira_field fields[] = {
    AIRA_F_INT(swiglu, hidden, 0, 0, 1 << 24, "inner width; 0: 8/3 of the width, rounded up"),
    AIRA_F_INT(swiglu, multiple_of, 16, 1, 65536, "what the inner width is rounded up to, where hidden is 0"),
};
static const aira_schema schema = AIRA_SCHEMA(swiglu, fields);
static const aira_primitive table = {sizeof table, 0, "Sg", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "swiglu", "1.0.0",
                                                          "position-wise network with a SiLU gate", &schema)};
AIRA_MANIFEST("primitive", "swiglu", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
