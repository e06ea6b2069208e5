/* mad_autoencoder.c - mad-lab's auto-encoder for the compression task.
 *
 * The blocks encode the sequence, causal ones stay causal; the last position's vector is the code. For each output
 * position a fixed sinusoidal vector is added to the code, and a small network decodes every position by itself:
 * twice norm, Linear, GELU, then norm and a Linear to the classes. All Linear weights, the primitives' included, start
 * normal, all Linear biases at zero: this overwrites even what primitives protect, as the original does.
 */
#include "aira/backbone.h"

#include <math.h>

static const char *const norms[] = {"rms", "layer", NULL};
typedef struct mad_autoencoder {
    int64_t width;
    double norm_eps, init_std;
    int32_t norm;
} mad_autoencoder;

static aira_tensor *normalise(const mad_autoencoder *c, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    aira_shape shape = {{c->width}, 1, 0};
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    aira_param_info zeros = {.size = sizeof zeros, .flags = AIRA_PARAM_FP32, .init = "zeros", .role = "norm"};
    aira_tensor *weight = o->param(g, "norm.weight", &shape, &ones);
    if (c->norm == 0) return o->rms_norm(g, x, weight, c->norm_eps);
    return o->layer_norm(g, x, weight, o->param(g, "norm.bias", &shape, &zeros), c->norm_eps);
}

static aira_tensor *linear(const aira_ops *o, aira_graph *g, aira_tensor *x, const char *weight, const char *bias,
                           int64_t n_out) {
    int64_t n_in = o->dim(g, x, -1);
    aira_param_info w = {.size = sizeof w, .init = "fan_in", .role = "linear.weight"};
    aira_param_info b = {.size = sizeof b, .init = "zeros", .role = "linear.bias"};
    return o->linear(g, x, o->param(g, weight, &(aira_shape){{n_out, n_in}, 2, 0}, &w),
                     o->param(g, bias, &(aira_shape){{n_out}, 1, 0}, &b));
}

/* [1,T,C]: sin(t w_i) | cos(t w_i), w_i = 10000^(-i / (C/2 - 1)), i = 0 .. C/2-1 */
static aira_tensor *positions(const aira_ops *o, aira_graph *g, int64_t T, int64_t C) {
    aira_shape half = {{1, T, C / 2}, 3, 0};
    aira_tensor *rate = o->exp(g, o->scale(g, o->iota(g, &half, 2), -log(10000) / (double)(C / 2 - 1)));
    aira_tensor *angle = o->mul(g, o->iota(g, &half, 1), rate);
    aira_tensor *parts[2];
    parts[0] = o->sin(g, angle);
    parts[1] = o->cos(g, angle);
    return o->concat(g, parts, 2, 2);
}

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                         const aira_model_in *in, aira_model_out *out) {
    const mad_autoencoder *c = self;
    int64_t C = c->width, T = o->dim(g, in->tokens, 1), ids = o->ctx_int(g, "vocab", in->vocab);
    int64_t T_out = in->targets ? o->dim(g, in->targets, 1) : o->ctx_int(g, "target_len", T);
    if (C % 2 != 0 || C < 4) {
        o->error(g, "mad_autoencoder: width must be even and at least 4");
        return AIRA_E_CONFIG;
    }
    blocks->reinit(blocks, g, "linear.weight", "normal", c->init_std, 0, 1);
    blocks->reinit(blocks, g, "linear.bias", "zeros", 0, 0, 1);
    aira_block_style style = {.size = sizeof style, .norm_eps = c->norm_eps};
    style.norm = c->norm == 0 ? AIRA_NORM_RMS : AIRA_NORM_LAYER;
    aira_param_info normal = {.size = sizeof normal, .init = "normal", .a = c->init_std, .role = "embedding"};
    aira_tensor *table = o->param(g, "embedding.weight", &(aira_shape){{ids, C}, 2, 0}, &normal);
    aira_tensor *x = o->gather(g, table, in->tokens);
    for (uint32_t layer = 0; layer < blocks->n_layers; layer++) x = blocks->block(blocks, g, layer, x, &style);
    aira_tensor *code = o->slice(g, x, 1, T - 1, 1);
    x = o->add(g, code, positions(o, g, T_out, C));
    static const char *const scopes[] = {"decoder.0", "decoder.1"};
    for (int i = 0; i < 2; i++) {
        blocks->scope(blocks, g, scopes[i]);
        x = o->gelu(g, linear(o, g, normalise(c, o, g, x), "linear.weight", "linear.bias", C), 1);
    }
    blocks->scope(blocks, g, "");
    out->logits = linear(o, g, normalise(c, o, g, x), "head.weight", "head.bias", in->vocab);
    out->loss = in->targets ? o->cross_entropy(g, out->logits, in->targets) : NULL;
    return out->logits && (out->loss || !in->targets) ? AIRA_OK : AIRA_E_FAILED;
}

static int64_t width(void *self) { return ((const mad_autoencoder *)self)->width; }

static const aira_field fields[] = {
    AIRA_F_INT(mad_autoencoder, width, 128, 4, 1 << 20, "width of the residual stream, even"),
    AIRA_F_CHOICE(mad_autoencoder, norm, norms, 0, "before every primitive and in the decoder"),
    AIRA_F_REAL(mad_autoencoder, norm_eps, 1e-5, 0, 1, "added to the mean square or variance in norms"),
    AIRA_F_REAL(mad_autoencoder, init_std, 0.02, 0, 100, "standard deviation of initial Linear weights and embedding"),
};
static const aira_schema schema = AIRA_SCHEMA(mad_autoencoder, fields);
static const aira_backbone table = {sizeof table, 0, build, width};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("backbone", aira_backbone, &table, "mad_autoencoder", "1.0.0",
                                                          "mad-lab's auto-encoder for compression", &schema)};
AIRA_MANIFEST("backbone", "mad_autoencoder", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
