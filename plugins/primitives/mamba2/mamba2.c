/* mamba2.c - Mamba-2: state-space duality, one decay rate per head (Dao and Gu, 2024).
 *
 * in_proj holds z, x, B, C and dt in this order along its first axis, the convolution x, B and C. Both are used in
 * slices along that axis, which are free; activations are never cut. At 1B scale: head_dim 128, state 128.
 */
#include "aira/primitive.h"

#include <math.h>

typedef struct mamba2 {
    int64_t expand, head_dim, state, groups, conv;
    double dt_min, dt_max, dt_floor, a_min, a_max, norm_eps;
} mamba2;

/* What the slices of one build share. */
typedef struct parts {
    const aira_ops *o;
    aira_graph *g;
    aira_tensor *x, *in, *filter, *filter_bias;
    int64_t inner; /* I: where the convolution's channels begin in in_proj */
} parts;

/* silu(conv(project)) of channels from .. from+n of x|B|C, cut into [B,T,heads,n/heads]. */
static aira_tensor *filtered(const parts *p, int64_t from, int64_t n, int64_t heads) {
    const aira_ops *o = p->o;
    aira_graph *g = p->g;
    aira_tensor *y = o->linear(g, p->x, o->slice(g, p->in, 0, p->inner + from, n), NULL);
    y = o->conv1d_causal(g, y, o->slice(g, p->filter, 0, from, n), o->slice(g, p->filter_bias, 0, from, n));
    aira_shape shape = {{o->dim(g, p->x, 0), o->dim(g, p->x, 1), heads, n / heads}, 4, 0};
    return o->reshape(g, o->silu(g, y), &shape);
}

/* The inverse of softplus of a time step drawn log-uniformly from [dt_min, dt_max], at least dt_floor. */
static aira_tensor *step_bias(const mamba2 *c, const aira_ops *o, aira_graph *g, const aira_shape *shape) {
    double low = log(c->dt_min), high = log(c->dt_max);
    aira_tensor *draw = o->random(g, "dt_bias.draw", shape, "uniform", 0);
    aira_tensor *dt = o->exp(g, o->add(g, o->scale(g, draw, high - low), o->constant(g, low, NULL)));
    dt = o->max(g, dt, o->constant(g, c->dt_floor, NULL));
    return o->add(g, dt, o->log(g, o->sub(g, o->constant(g, 1, NULL), o->exp(g, o->neg(g, dt)))));
}

/* norm(y silu(z)) over each group's channels. */
static aira_tensor *gated_norm(const mamba2 *c, const aira_ops *o, aira_graph *g, aira_tensor *y, aira_tensor *z) {
    int64_t B = o->dim(g, z, 0), T = o->dim(g, z, 1), I = o->dim(g, z, 2), G = c->groups;
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    aira_tensor *weight = o->param(g, "norm.weight", &(aira_shape){{I}, 1, 0}, &ones);
    y = o->mul(g, o->reshape(g, y, &(aira_shape){{B, T, I}, 3, 0}), o->silu(g, z));
    if (G == 1) return o->rms_norm(g, y, weight, c->norm_eps);
    y = o->rms_norm(g, o->reshape(g, y, &(aira_shape){{B, T, G, I / G}, 4, 0}), NULL, c->norm_eps);
    return o->cast(g, o->mul(g, o->reshape(g, y, &(aira_shape){{B, T, I}, 3, 0}), weight), 0);
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const mamba2 *c = self;
    int64_t C = o->dim(g, x, 2), I = c->expand * C, G = c->groups, N = c->state, K = c->conv;
    int64_t H = I / c->head_dim, channels = I + 2 * G * N;
    if (I % c->head_dim != 0) return o->error(g, "mamba2: head_dim must divide expand times the width");
    if (H % G != 0) return o->error(g, "mamba2: the number of heads must be a multiple of groups");
    if (c->dt_min > c->dt_max) return o->error(g, "mamba2: dt_min must not be larger than dt_max");
    if (c->a_min > c->a_max) return o->error(g, "mamba2: a_min must not be larger than a_max");
    aira_shape heads = {{H}, 1, 0};
    const uint32_t rate = AIRA_PARAM_FP32 | AIRA_PARAM_NO_DECAY;
    double bound = 1 / sqrt((double)K);
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info filter = {.size = sizeof filter, .init = "uniform", .a = -bound, .b = bound};
    aira_param_info dt_bias = {.size = sizeof dt_bias, .flags = AIRA_PARAM_NO_DECAY};
    aira_param_info log_rate = {.size = sizeof log_rate, .flags = rate};
    aira_param_info skip = {.size = sizeof skip, .flags = rate, .init = "ones"};
    dt_bias.value = step_bias(c, o, g, &heads);
    log_rate.value = o->log(
        g, o->add(g, o->scale(g, o->random(g, "A_log.draw", &heads, "uniform", 0), c->a_max - c->a_min),
                  o->constant(g, c->a_min, NULL)));

    parts p = {o, g, x, NULL, NULL, NULL, I};
    p.in = o->param(g, "in_proj.weight", &(aira_shape){{I + channels + H, C}, 2, 0}, &weight);
    p.filter = o->param(g, "conv.weight", &(aira_shape){{channels, K}, 2, 0}, &filter);
    p.filter_bias = o->param(g, "conv.bias", &(aira_shape){{channels}, 1, 0}, &filter);
    aira_tensor *z = o->linear(g, x, o->slice(g, p.in, 0, 0, I), NULL);
    aira_tensor *dt = o->linear(g, x, o->slice(g, p.in, 0, I + channels, H), o->param(g, "dt_bias", &heads, &dt_bias));
    aira_tensor *A = o->neg(g, o->exp(g, o->param(g, "A_log", &heads, &log_rate)));
    aira_tensor *y = o->ssd(g, filtered(&p, 0, I, H), o->softplus(g, dt), A, filtered(&p, I, G * N, G),
                            filtered(&p, I + G * N, G * N, G), o->param(g, "D", &heads, &skip));
    aira_tensor *out = o->param(g, "out_proj.weight", &(aira_shape){{C, I}, 2, 0}, &weight);
    return o->linear(g, gated_norm(c, o, g, y, z), out, NULL);
}

static const aira_field fields[] = {
    AIRA_F_INT(mamba2, expand, 2, 1, 64, "inner width as a multiple of the width"),
    AIRA_F_INT(mamba2, head_dim, 64, 1, 65536, "channels per head; must divide the inner width"),
    AIRA_F_INT(mamba2, state, 128, 1, 65536, "numbers of state per channel"),
    AIRA_F_INT(mamba2, groups, 1, 1, 65536, "groups of heads that share B and C"),
    AIRA_F_INT(mamba2, conv, 4, 1, 64, "taps of the causal convolution"),
    AIRA_F_REAL(mamba2, dt_min, 1e-3, 1e-12, 1e3, "smallest initial time step"),
    AIRA_F_REAL(mamba2, dt_max, 0.1, 1e-12, 1e3, "largest initial time step"),
    AIRA_F_REAL(mamba2, dt_floor, 1e-4, 1e-12, 1e3, "initial time steps are at least this"),
    AIRA_F_REAL(mamba2, a_min, 1, 1e-12, 1e6, "smallest initial decay rate"),
    AIRA_F_REAL(mamba2, a_max, 16, 1e-12, 1e6, "largest initial decay rate"),
    AIRA_F_REAL(mamba2, norm_eps, 1e-5, 0, 1, "added to the mean square in the gated norm"),
};
static const aira_schema schema = AIRA_SCHEMA(mamba2, fields);
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "Mb2", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "mamba2", "1.0.0",
                                                          "Mamba-2: state-space duality layer", &schema)};
AIRA_MANIFEST("primitive", "mamba2", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
