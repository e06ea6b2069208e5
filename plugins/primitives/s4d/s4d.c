/* s4d.c - a diagonal state-space layer, S4D-Lin, as one long convolution (Gu et al., 2022, arXiv 2206.11893).
 *
 * Channel c has `state` complex modes with poles A_n = -exp(log_decay) + i frequency, at first -1/2 + i pi n, and its
 * own time step dt. Its kernel is K[l] = 2 Re sum_n W_n exp(dt A_n l), W = C (exp(dt A) - 1) / A (zero-order hold).
 * Where positions may look ahead a second set C reads the later ones; both halves become one kernel over the lags
 * -T .. T-1, and one convolution of twice the length. Then GELU and a gated Linear, as in S4.
 * Lags are running sums in fp32, and the kernel and what makes it stay fp32: phases do not survive bf16.
 */
#include "aira/primitive.h"

#include <math.h>

typedef struct s4d {
    int64_t state;
    double dt_min, dt_max, rate;
} s4d;

typedef struct complex_pair {
    aira_tensor *re, *im;
} complex_pair;

/* [C,N] of the kernel's own parameters */
static aira_tensor *own(const s4d *c, const aira_ops *o, aira_graph *g, const char *name, int64_t C, const char *init,
                        double a, aira_tensor *value) {
    aira_param_info info = {.size = sizeof info, .init = init, .a = a, .value = value, .lr_mult = c->rate};
    info.flags = AIRA_PARAM_FP32 | AIRA_PARAM_NO_DECAY;
    return o->param(g, name, &(aira_shape){{C, c->state}, 2, 0}, &info);
}

static complex_pair times(const aira_ops *o, aira_graph *g, complex_pair a, complex_pair b) {
    return (complex_pair){o->sub(g, o->mul(g, a.re, b.re), o->mul(g, a.im, b.im)),
                          o->add(g, o->mul(g, a.re, b.im), o->mul(g, a.im, b.re))};
}

/* exp(x l) */
static complex_pair power(const aira_ops *o, aira_graph *g, complex_pair x, aira_tensor *l) {
    aira_tensor *size = o->exp(g, o->mul(g, x.re, l)), *angle = o->mul(g, x.im, l);
    return (complex_pair){o->mul(g, size, o->cos(g, angle)), o->mul(g, size, o->sin(g, angle))};
}

/* 2 Re sum_n V_n exp(x_n l), V = C hold: x [C,N,1], lags l [L] -> [C,L] */
static aira_tensor *kernel(const s4d *c, const aira_ops *o, aira_graph *g, const char *re, const char *im,
                           complex_pair hold, complex_pair x, aira_tensor *l) {
    int64_t C = o->dim(g, x.re, 0);
    complex_pair W = {own(c, o, g, re, C, "normal", sqrt(0.5), NULL), own(c, o, g, im, C, "normal", sqrt(0.5), NULL)};
    complex_pair E = power(o, g, x, l), V = times(o, g, W, hold);
    return o->scale(g, o->sub(g, o->einsum(g, "cn,cnl->cl", V.re, E.re), o->einsum(g, "cn,cnl->cl", V.im, E.im)), 2);
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const s4d *c = self;
    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2), N = c->state;
    if (c->dt_min > c->dt_max) return o->error(g, "s4d: dt_min must not be larger than dt_max");
    aira_shape modes = {{C, N}, 2, 0}, wide = {{C, N, 1}, 3, 0}, column = {{C, 1}, 2, 0}, whole = {{2 * T}, 1, 0};
    aira_param_info step = {.size = sizeof step, .flags = AIRA_PARAM_FP32 | AIRA_PARAM_NO_DECAY, .lr_mult = c->rate};
    aira_tensor *draw = o->scale(g, o->random(g, "log_dt.draw", &column, "uniform", 0), log(c->dt_max / c->dt_min));
    step.value = o->add(g, draw, o->constant(g, log(c->dt_min), NULL));
    aira_tensor *dt = o->exp(g, o->param(g, "log_dt", &column, &step));
    complex_pair A = {o->neg(g, o->exp(g, own(c, o, g, "log_decay", C, "constant", log(0.5), NULL))),
                      own(c, o, g, "frequency", C, NULL, 0, o->scale(g, o->iota(g, &modes, 1), acos(-1)))};
    complex_pair dtA = {o->mul(g, A.re, dt), o->mul(g, A.im, dt)};
    aira_tensor *one = o->compare(g, "==", dt, dt), *norm = o->add(g, o->mul(g, A.re, A.re), o->mul(g, A.im, A.im));
    complex_pair hold = power(o, g, dtA, one), inverse = {o->div(g, A.re, norm), o->neg(g, o->div(g, A.im, norm))};
    hold = times(o, g, (complex_pair){o->sub(g, hold.re, one), hold.im}, inverse);
    aira_tensor *lag = o->cumsum(g, o->cast(g, o->constant(g, 1, &whole), AIRA_F32), 0, 0, 1); /* 0 .. 2T-1 */
    lag = o->abs(g, o->sub(g, lag, o->cast(g, o->constant(g, (double)T, NULL), AIRA_F32)));    /* T .. 1, 0 .. T-1 */
    complex_pair slow = {o->reshape(g, dtA.re, &wide), o->reshape(g, dtA.im, &wide)};
    aira_tensor *k[2], *u = x, *mask = o->ctx_tensor(g, "mask");
    k[1] = kernel(c, o, g, "C.re", "C.im", hold, slow, o->slice(g, lag, 0, T, T));
    if (mask) u = o->mul(g, x, o->reshape(g, mask, &(aira_shape){{B, T, 1}, 3, 0}));
    if (!o->ctx_int(g, "causal", 1)) {
        k[0] = kernel(c, o, g, "C_back.re", "C_back.im", hold, slow, o->slice(g, lag, 0, 0, T));
        k[1] = o->concat(g, k, 2, 1);
        u = o->pad(g, u, 1, 0, T, 0);
    }
    aira_tensor *y = o->fft_conv(g, u, k[1]);
    y = o->slice(g, y, 1, o->dim(g, y, 1) - T, T);
    aira_param_info unit = {.size = sizeof unit, .init = "normal", .a = 1};
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info bias = {.size = sizeof bias, .init = "zeros", .role = "linear.bias"};
    y = o->gelu(g, o->add(g, y, o->mul(g, x, o->param(g, "D", &(aira_shape){{C}, 1, 0}, &unit))), 1);
    aira_tensor *w = o->param(g, "out.weight", &(aira_shape){{2 * C, C}, 2, 0}, &weight);
    aira_tensor *b = o->param(g, "out.bias", &(aira_shape){{2 * C}, 1, 0}, &bias);
    aira_tensor *value = o->linear(g, y, o->slice(g, w, 0, 0, C), o->slice(g, b, 0, 0, C));
    return o->mul(g, value, o->sigmoid(g, o->linear(g, y, o->slice(g, w, 0, C, C), o->slice(g, b, 0, C, C))));
}

static const aira_field fields[] = {
    AIRA_F_INT(s4d, state, 32, 1, 4096, "complex modes per channel"),
    AIRA_F_REAL(s4d, dt_min, 1e-3, 1e-12, 1e3, "smallest initial time step"),
    AIRA_F_REAL(s4d, dt_max, 0.1, 1e-12, 1e3, "largest initial time step"),
    AIRA_F_REAL(s4d, rate, 1, 1e-6, 1e3, "learning rate of the kernel's parameters, as a multiple"),
};
static const aira_schema schema = AIRA_SCHEMA(s4d, fields);
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "S4", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "s4d", "1.0.0",
                                                          "diagonal state-space layer as a long convolution", &schema)};
AIRA_MANIFEST("primitive", "s4d", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
