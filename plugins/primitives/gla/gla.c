/* gla.c - gated linear attention with one gate per head and position, computed as a scan (Yang et al., 2024, arXiv
 * 2312.06635; one gate per head as in its simple form).
 *
 * S_t = a_t S_{t-1} + k_t^T v_t, y_t = q_t S_t, a_t = sigmoid(x w)^(1/temperature). It is SSD with A = -1: the step
 * dt = -log a decays the state by a, and what SSD multiplies by dt goes in divided by it. Where positions may look
 * ahead, the same scan runs over the reversed sequence too; the position itself, seen by both, is taken away once.
 * Each head's result is normalised and gated (SiLU) before the last Linear.
 */
#include "aira/primitive.h"

typedef struct gla {
    int64_t heads;
    double temperature, key_ratio;
} gla;

/* x W, cut into heads */
static aira_tensor *project(const aira_ops *o, aira_graph *g, aira_tensor *x, const char *name, int64_t heads,
                            int64_t dim) {
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_tensor *w = o->param(g, name, &(aira_shape){{heads * dim, o->dim(g, x, 2)}, 2, 0}, &weight);
    return o->reshape(g, o->linear(g, x, w, NULL), &(aira_shape){{o->dim(g, x, 0), o->dim(g, x, 1), heads, dim}, 4, 0});
}

/* x [B,T,..] with time reversed */
static aira_tensor *reversed(const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const int32_t order[4] = {1, 0, 2, 3};
    aira_shape shape, times = {{o->dim(g, x, 1)}, 1, 0};
    o->shape(g, x, &shape);
    aira_tensor *count = o->cast(g, o->constant(g, 1, &times), AIRA_I32);
    x = o->gather(g, o->transpose(g, x, order, shape.rank), o->cumsum(g, count, 0, 1, 1)); /* rows T-1 .. 0 */
    return o->transpose(g, x, order, shape.rank);
}

static aira_tensor *scan(const aira_ops *o, aira_graph *g, aira_tensor *q, aira_tensor *k, aira_tensor *v,
                         aira_tensor *dt) {
    aira_shape heads = {{o->dim(g, q, 2)}, 1, 0}, wide = {{o->dim(g, q, 0), o->dim(g, q, 1), heads.dims[0], 1}, 4, 0};
    aira_tensor *values = o->div(g, v, o->reshape(g, dt, &wide));
    return o->ssd(g, values, dt, o->constant(g, -1, &heads), k, q, o->constant(g, 0, &heads));
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const gla *c = self;
    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2), H = c->heads, D = C / H;
    int64_t K = (int64_t)((double)D * c->key_ratio + 0.5);
    if (C % H != 0) return o->error(g, "gla: heads must divide the width");
    if (K < 1) return o->error(g, "gla: keys would have no dimension; use a larger key_ratio or fewer heads");
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info zero = {.size = sizeof zero, .init = "zeros", .role = "linear.bias"};
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    aira_tensor *q = project(o, g, x, "q.weight", H, K), *k = project(o, g, x, "k.weight", H, K);
    aira_tensor *v = project(o, g, x, "v.weight", H, D), *mask = o->ctx_tensor(g, "mask");
    if (mask) k = o->mul(g, k, o->reshape(g, mask, &(aira_shape){{B, T, 1, 1}, 4, 0}));
    aira_tensor *gate = o->linear(g, x, o->param(g, "gate.weight", &(aira_shape){{H, C}, 2, 0}, &weight),
                                  o->param(g, "gate.bias", &(aira_shape){{H}, 1, 0}, &zero));
    aira_tensor *dt = o->scale(g, o->softplus(g, o->neg(g, gate)), 1 / c->temperature); /* -log a */
    dt = o->add(g, dt, o->constant(g, 1e-6, NULL));
    aira_tensor *y = scan(o, g, q, k, v, dt);
    if (!o->ctx_int(g, "causal", 1)) {
        const int32_t last = -1;
        aira_tensor *back = scan(o, g, reversed(o, g, q), reversed(o, g, k), reversed(o, g, v), reversed(o, g, dt));
        aira_tensor *self_seen = o->mul(g, o->sum(g, o->mul(g, q, k), &last, 1, 1), v);
        y = o->sub(g, o->add(g, y, reversed(o, g, back)), self_seen);
    }
    y = o->rms_norm(g, y, o->param(g, "norm.weight", &(aira_shape){{D}, 1, 0}, &ones), 1e-5);
    y = o->mul(g, o->reshape(g, y, &(aira_shape){{B, T, C}, 3, 0}),
               o->silu(g, o->reshape(g, project(o, g, x, "r.weight", H, D), &(aira_shape){{B, T, C}, 3, 0})));
    return o->linear(g, y, o->param(g, "out.weight", &(aira_shape){{C, C}, 2, 0}, &weight), NULL);
}

static const aira_field fields[] = {
    AIRA_F_INT(gla, heads, 4, 1, 4096, "heads; must divide the width"),
    AIRA_F_REAL(gla, temperature, 16, 1e-3, 1e6, "root that is taken of the gate's sigmoid: larger remembers longer"),
    AIRA_F_REAL(gla, key_ratio, 0.5, 1e-3, 16, "width of a key as a share of a value's"),
};
static const aira_schema schema = AIRA_SCHEMA(gla, fields);
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "Gl", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "gla", "1.0.0",
                                                          "gated linear attention, one gate per head", &schema)};
AIRA_MANIFEST("primitive", "gla", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
