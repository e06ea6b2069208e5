/* linear_attention.c - attention with a positive feature map in place of softmax; cost grows linearly with length.
 *
 * y_t = sum_s f(q_t).f(k_s) v_s / sum_s f(q_t).f(k_s), over s <= t when causal (Katharopoulos et al., 2020). The causal
 * sum is a state-space layer without decay: SSD with A = 0, B = f(k), C = f(q) and the mask as its time step.
 */
#include "aira/primitive.h"

enum { ELU, RELU };
static const char *const features[] = {"elu", "relu", NULL};

typedef struct linear_attention {
    int64_t heads;
    double eps;
    int32_t feature, bias;
} linear_attention;

/* elu(x) + 1 = relu(x) + exp(-relu(-x)): no branch overflows */
static aira_tensor *map(const aira_ops *o, aira_graph *g, aira_tensor *x, int32_t feature) {
    if (feature == RELU) return o->relu(g, x);
    return o->add(g, o->relu(g, x), o->exp(g, o->neg(g, o->relu(g, o->neg(g, x)))));
}

/* x W[part] + b[part], cut into heads */
static aira_tensor *project(const aira_ops *o, aira_graph *g, aira_tensor *x, aira_tensor *w, aira_tensor *b,
                            int64_t part, int64_t heads) {
    int64_t C = o->dim(g, x, 2);
    aira_tensor *rows = o->slice(g, w, 0, part * C, C), *bias = b ? o->slice(g, b, 0, part * C, C) : b;
    aira_shape shape = {{o->dim(g, x, 0), o->dim(g, x, 1), heads, C / heads}, 4, 0};
    return o->reshape(g, o->linear(g, x, rows, bias), &shape);
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const linear_attention *c = self;
    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2), H = c->heads;
    if (C % H != 0) return o->error(g, "linear_attention: heads must divide the width");
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info zero = {.size = sizeof zero, .init = "zeros", .role = "linear.bias"};
    aira_tensor *w = o->param(g, "qkv.weight", &(aira_shape){{3 * C, C}, 2, 0}, &weight), *b = NULL, *out_b = NULL;
    aira_tensor *out = o->param(g, "out.weight", &(aira_shape){{C, C}, 2, 0}, &weight);
    if (c->bias) {
        b = o->param(g, "qkv.bias", &(aira_shape){{3 * C}, 1, 0}, &zero);
        out_b = o->param(g, "out.bias", &(aira_shape){{C}, 1, 0}, &zero);
    }
    aira_tensor *q = map(o, g, project(o, g, x, w, b, 0, H), c->feature);
    aira_tensor *k = map(o, g, project(o, g, x, w, b, 1, H), c->feature);
    aira_tensor *v = project(o, g, x, w, b, 2, H), *mask = o->ctx_tensor(g, "mask"), *y, *seen;
    if (mask) mask = o->reshape(g, mask, &(aira_shape){{B, T, 1}, 3, 0});
    aira_tensor *kept = mask ? o->mul(g, k, o->reshape(g, mask, &(aira_shape){{B, T, 1, 1}, 4, 0})) : k;
    if (o->ctx_int(g, "causal", 1)) {
        aira_shape steps = {{B, T, H}, 3, 0}, heads = {{H}, 1, 0};
        aira_tensor *none = o->constant(g, 0, &heads);
        aira_tensor *dt = mask ? o->broadcast(g, mask, &steps) : o->constant(g, 1, &steps);
        y = o->ssd(g, v, dt, none, k, q, none);
        seen = o->cumsum(g, kept, 1, 0, 0);
    } else {
        const int32_t time = 1;
        y = o->einsum(g, "bthd,bhde->bthe", q, o->einsum(g, "bshd,bshe->bhde", kept, v));
        seen = o->sum(g, kept, &time, 1, 1);
    }
    const int32_t last = -1;
    aira_tensor *total = o->add(g, o->sum(g, o->mul(g, q, seen), &last, 1, 1), o->constant(g, c->eps, NULL));
    y = o->reshape(g, o->div(g, y, total), &(aira_shape){{B, T, C}, 3, 0});
    return o->linear(g, y, out, out_b);
}

static const aira_field fields[] = {
    AIRA_F_INT(linear_attention, heads, 16, 1, 4096, "heads; must divide the width"),
    AIRA_F_CHOICE(linear_attention, feature, features, ELU, "map of queries and keys; elu is elu(x) + 1"),
    AIRA_F_REAL(linear_attention, eps, 1e-6, 0, 1, "added to the sum of weights that divides"),
    AIRA_F_BOOL(linear_attention, bias, 0, "biases on both projections"),
};
static const aira_schema schema = AIRA_SCHEMA(linear_attention, fields);
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "Al", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "linear_attention",
                                                          "1.0.0", "attention with a positive feature map", &schema)};
AIRA_MANIFEST("primitive", "linear_attention", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
