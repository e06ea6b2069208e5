/* @NAME@.c - a primitive: a short causal convolution, gated by the input itself.
 *
 *   y = out( conv(x) * silu(gate x) )
 *
 * Build it: cc -O2 -fPIC -shared -fvisibility=hidden -I @INCLUDE@ @NAME@.c -lm -o @NAME@.so
 * Check it: aira check ./@NAME@.so
 */
#include "aira/primitive.h"

typedef struct config {
    int64_t kernel;
} config;

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const config *c = self;
    int64_t C = o->dim(g, x, -1);
    aira_param_info linear = {.size = sizeof linear, .init = "fan_in", .role = "linear.weight"};
    aira_param_info filter = {.size = sizeof filter, .init = "fan_in", .role = "other"};
    aira_shape square = {{C, C}, 2, 0}, taps = {{C, c->kernel}, 2, 0};
    aira_tensor *gate = o->linear(g, x, o->param(g, "gate.weight", &square, &linear), NULL);
    aira_tensor *mixed = o->conv1d_causal(g, x, o->param(g, "conv.weight", &taps, &filter), NULL);
    aira_tensor *inner = o->mul(g, mixed, o->silu(g, gate));
    return o->linear(g, inner, o->param(g, "out.weight", &square, &linear), NULL);
}

static const aira_field fields[] = {
    AIRA_F_INT(config, kernel, 4, 1, 64, "positions that the convolution sees, this one included"),
};
static const aira_schema schema = AIRA_SCHEMA(config, fields);
static const aira_primitive table = {
    .size = sizeof table, .flags = AIRA_PRIMITIVE_MIXES_TIME, .token = "@TOKEN@", .build = build};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "@NAME@", "0.1.0", "gated short convolution", &schema)};
AIRA_MANIFEST("primitive", "@NAME@", "0.1.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
