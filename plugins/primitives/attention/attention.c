/* attention.c - softmax attention: multi-head, grouped-query, sliding-window, with rotary positions.
 *
 * The defaults are mad-lab's mh-attention (16 heads, rotary over the whole head, biases); `kv_heads` makes it Llama's
 * grouped-query attention. q, k and v come from slices of one fused weight along its first axis, which cost nothing:
 * the three projections write their results where the attention reads them, without a copy of activations.
 *
 * The place says whether positions may look ahead ("causal"), which positions are padding ("mask") and where tokens
 * stand ("positions").
 */
#include "aira/primitive.h"

typedef struct attention {
    int64_t heads, kv_heads, head_dim, window, rope_dims;
    double rope_base;
    int32_t rope, qk_norm, bias;
} attention;

/* x W[from : from+rows]^T + b, cut into heads. */
static aira_tensor *project(const aira_ops *o, aira_graph *g, aira_tensor *x, aira_tensor *w, aira_tensor *b,
                            int64_t from, int64_t heads, int64_t dim) {
    int64_t rows = heads * dim;
    aira_tensor *y = o->linear(g, x, o->slice(g, w, 0, from, rows),
                               b ? o->slice(g, b, 0, from, rows) : (aira_tensor *)0);
    return o->reshape(g, y, &(aira_shape){{o->dim(g, x, 0), o->dim(g, x, 1), heads, dim}, 4, 0});
}

static aira_tensor *normalise(const aira_ops *o, aira_graph *g, aira_tensor *x, const char *name, int64_t dim) {
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    return o->rms_norm(g, x, o->param(g, name, &(aira_shape){{dim}, 1, 0}, &ones), 1e-5);
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const attention *c = self;
    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1), C = o->dim(g, x, 2), H = c->heads;
    int64_t G = c->kv_heads ? c->kv_heads : H, D = c->head_dim ? c->head_dim : C / H;
    if (H % G != 0) return o->error(g, "attention: heads must be a multiple of kv_heads");
    if (!c->head_dim && C % H != 0) return o->error(g, "attention: heads must divide the width; or set head_dim");
    int64_t rotated = c->rope_dims ? c->rope_dims : D;
    if (c->rope && (rotated % 2 != 0 || rotated > D))
        return o->error(g, "attention: rope_dims must be even and at most head_dim; or set rope: false");

    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info zero = {.size = sizeof zero, .init = "zeros", .role = "linear.bias"};
    int64_t rows = (H + 2 * G) * D;
    aira_tensor *w = o->param(g, "qkv.weight", &(aira_shape){{rows, C}, 2, 0}, &weight);
    aira_tensor *b = c->bias ? o->param(g, "qkv.bias", &(aira_shape){{rows}, 1, 0}, &zero) : (aira_tensor *)0;
    aira_tensor *q = project(o, g, x, w, b, 0, H, D);
    aira_tensor *k = project(o, g, x, w, b, H * D, G, D);
    aira_tensor *v = project(o, g, x, w, b, (H + G) * D, G, D);
    if (c->qk_norm) {
        q = normalise(o, g, q, "q_norm.weight", D);
        k = normalise(o, g, k, "k_norm.weight", D);
    }
    if (c->rope) {
        aira_tensor *positions = o->ctx_tensor(g, "positions");
        q = o->rope(g, q, positions, c->rope_base, rotated, 0);
        k = o->rope(g, k, positions, c->rope_base, rotated, 0);
    }
    int32_t causal = o->ctx_int(g, "causal", 1) != 0;
    aira_tensor *y = o->attention(g, q, k, v, o->ctx_tensor(g, "mask"), causal, c->window, 0);
    y = o->reshape(g, y, &(aira_shape){{B, T, H * D}, 3, 0});
    aira_tensor *out = o->param(g, "out.weight", &(aira_shape){{C, H * D}, 2, 0}, &weight);
    return o->linear(g, y, out, c->bias ? o->param(g, "out.bias", &(aira_shape){{C}, 1, 0}, &zero) : (aira_tensor *)0);
}

static int64_t kv_elements(void *self, int64_t width) {
    const attention *c = self;
    return 2 * (c->kv_heads ? c->kv_heads : c->heads) * (c->head_dim ? c->head_dim : width / c->heads);
}

static const aira_field fields[] = {
    AIRA_F_INT(attention, heads, 16, 1, 4096, "query heads"),
    AIRA_F_INT(attention, kv_heads, 0, 0, 4096, "key and value heads; must divide heads; 0: as many as heads"),
    AIRA_F_INT(attention, head_dim, 0, 0, 4096, "width of a head; 0: width / heads"),
    AIRA_F_INT(attention, window, 0, 0, 1 << 30, "keys that a query sees, itself included; 0: all"),
    AIRA_F_BOOL(attention, rope, 1, "rotate queries and keys by their position"),
    AIRA_F_REAL(attention, rope_base, 10000, 1, 1e12, "longest wavelength of the rotation, in tokens / 2 pi"),
    AIRA_F_INT(attention, rope_dims, 0, 0, 4096, "leading dimensions of a head that rotate, even; 0: all"),
    AIRA_F_BOOL(attention, qk_norm, 0, "RMS-normalise queries and keys within each head"),
    AIRA_F_BOOL(attention, bias, 1, "biases on both projections"),
};
static const aira_schema schema = AIRA_SCHEMA(attention, fields);
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "mA", build, kv_elements};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "attention", "1.0.0",
                           "softmax attention: heads, grouped queries, window, rotary positions", &schema)};
AIRA_MANIFEST("primitive", "attention", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
