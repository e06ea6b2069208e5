/* mamba.c - Mamba-1: a selective state-space layer (Gu and Dao, 2023).
 *
 * Sizes and initial values are those of the reference implementation with mad-lab's defaults (state 4, convolution 4,
 * expansion 2). in_proj is used in two slices along its first axis (free); x_proj is small, so there the result is cut.
 * A and D stay in fp32: decay rates close to 1 do not survive bf16.
 */
#include "aira/primitive.h"

#include <math.h>

typedef struct mamba {
    int64_t state, conv, expand, dt_rank;
    double dt_min, dt_max, dt_floor;
} mamba;

/* The inverse of softplus of a time step drawn log-uniformly from [dt_min, dt_max], at least dt_floor. */
static aira_tensor *step_bias(const mamba *c, const aira_ops *o, aira_graph *g, const aira_shape *shape) {
    double low = log(c->dt_min), high = log(c->dt_max);
    aira_tensor *draw = o->random(g, "dt_proj.bias.draw", shape, "uniform", 0);
    aira_tensor *dt = o->exp(g, o->add(g, o->scale(g, draw, high - low), o->constant(g, low, NULL)));
    dt = o->max(g, dt, o->constant(g, c->dt_floor, NULL));
    return o->add(g, dt, o->log(g, o->sub(g, o->constant(g, 1, NULL), o->exp(g, o->neg(g, dt)))));
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const mamba *c = self;
    int64_t C = o->dim(g, x, 2), I = c->expand * C, N = c->state, K = c->conv;
    int64_t R = c->dt_rank ? c->dt_rank : (C + 15) / 16;
    if (c->dt_min > c->dt_max) return o->error(g, "mamba: dt_min must not be larger than dt_max");
    aira_shape inner = {{I}, 1, 0}, decay = {{I, N}, 2, 0};
    const uint32_t held = AIRA_PARAM_NO_REINIT, rate = AIRA_PARAM_FP32 | AIRA_PARAM_NO_DECAY;
    double bound = 1 / sqrt((double)K);
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info filter = {.size = sizeof filter, .init = "uniform", .a = -bound, .b = bound};
    aira_param_info dt_weight = {.size = sizeof weight, .flags = held, .init = "fan_in", .role = "linear.weight"};
    aira_param_info dt_bias = {.size = sizeof dt_bias, .flags = held, .role = "linear.bias"};
    aira_param_info log_rate = {.size = sizeof log_rate, .flags = rate};
    aira_param_info skip = {.size = sizeof skip, .flags = rate, .init = "ones"};
    dt_bias.value = step_bias(c, o, g, &inner);
    log_rate.value = o->log(g, o->add(g, o->iota(g, &decay, 1), o->constant(g, 1, NULL)));

    aira_tensor *in = o->param(g, "in_proj.weight", &(aira_shape){{2 * I, C}, 2, 0}, &weight);
    aira_tensor *u = o->linear(g, x, o->slice(g, in, 0, 0, I), NULL);
    aira_tensor *z = o->linear(g, x, o->slice(g, in, 0, I, I), NULL);
    u = o->conv1d_causal(g, u, o->param(g, "conv.weight", &(aira_shape){{I, K}, 2, 0}, &filter),
                         o->param(g, "conv.bias", &inner, &filter));
    u = o->silu(g, u);

    aira_tensor *p = o->param(g, "x_proj.weight", &(aira_shape){{R + 2 * N, I}, 2, 0}, &weight);
    p = o->linear(g, u, p, NULL);
    aira_tensor *dt = o->linear(g, o->slice(g, p, 2, 0, R),
                                o->param(g, "dt_proj.weight", &(aira_shape){{I, R}, 2, 0}, &dt_weight),
                                o->param(g, "dt_proj.bias", &inner, &dt_bias));
    aira_tensor *A = o->neg(g, o->exp(g, o->param(g, "A_log", &decay, &log_rate)));
    aira_tensor *y = o->selective_scan(g, u, o->softplus(g, dt), A, o->slice(g, p, 2, R, N),
                                       o->slice(g, p, 2, R + N, N), o->param(g, "D", &inner, &skip));
    y = o->mul(g, y, o->silu(g, z));
    return o->linear(g, y, o->param(g, "out_proj.weight", &(aira_shape){{C, I}, 2, 0}, &weight), NULL);
}

static const aira_field fields[] = {
    AIRA_F_INT(mamba, state, 4, 1, 4096, "numbers of state per channel"),
    AIRA_F_INT(mamba, conv, 4, 1, 64, "taps of the causal convolution"),
    AIRA_F_INT(mamba, expand, 2, 1, 64, "inner width as a multiple of the width"),
    AIRA_F_INT(mamba, dt_rank, 0, 0, 65536, "rank of the time-step projection; 0: width / 16, rounded up"),
    AIRA_F_REAL(mamba, dt_min, 1e-3, 1e-12, 1e3, "smallest initial time step"),
    AIRA_F_REAL(mamba, dt_max, 0.1, 1e-12, 1e3, "largest initial time step"),
    AIRA_F_REAL(mamba, dt_floor, 1e-4, 1e-12, 1e3, "initial time steps are at least this"),
};
static const aira_schema schema = AIRA_SCHEMA(mamba, fields);
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "Mb", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "mamba", "1.0.0",
                                                          "Mamba-1: selective state-space layer", &schema)};
AIRA_MANIFEST("primitive", "mamba", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
