/* mad_lm.c - mad-lab's language model: embedding, pre-norm residual blocks, norm, untied head with a bias.
 *
 * There is no position embedding. Linear weights keep the uniform initial values that primitives give them; every
 * Linear bias starts at zero, except those that a primitive protects (Mamba's time steps).
 */
#include "aira/backbone.h"

static const char *const norms[] = {"rms", "layer", NULL};
typedef struct mad_lm {
    int64_t width;
    double norm_eps, embedding_std;
    int32_t norm;
} mad_lm;

static aira_tensor *final_norm(const mad_lm *c, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    aira_shape shape = {{c->width}, 1, 0};
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    aira_param_info zeros = {.size = sizeof zeros, .flags = AIRA_PARAM_FP32, .init = "zeros", .role = "norm"};
    aira_tensor *weight = o->param(g, "norm.weight", &shape, &ones);
    if (c->norm == 0) return o->rms_norm(g, x, weight, c->norm_eps);
    return o->layer_norm(g, x, weight, o->param(g, "norm.bias", &shape, &zeros), c->norm_eps);
}

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                         const aira_model_in *in, aira_model_out *out) {
    const mad_lm *c = self;
    int64_t C = c->width, ids = o->ctx_int(g, "vocab", in->vocab);
    aira_block_style style = {.size = sizeof style, .norm_eps = c->norm_eps};
    style.norm = c->norm == 0 ? AIRA_NORM_RMS : AIRA_NORM_LAYER;
    aira_param_info normal = {.size = sizeof normal, .init = "normal", .a = c->embedding_std, .role = "embedding"};
    aira_param_info weight = {.size = sizeof weight, .init = "fan_in", .role = "linear.weight"};
    aira_param_info bias = {.size = sizeof bias, .init = "zeros", .role = "linear.bias"};
    blocks->reinit(blocks, g, "linear.bias", "zeros", 0, 0, 0);
    aira_tensor *table = o->param(g, "embedding.weight", &(aira_shape){{ids, C}, 2, 0}, &normal);
    aira_tensor *x = o->gather(g, table, in->tokens);
    for (uint32_t layer = 0; layer < blocks->n_layers; layer++) x = blocks->block(blocks, g, layer, x, &style);
    x = final_norm(c, o, g, x);
    out->logits = o->linear(g, x, o->param(g, "head.weight", &(aira_shape){{in->vocab, C}, 2, 0}, &weight),
                            o->param(g, "head.bias", &(aira_shape){{in->vocab}, 1, 0}, &bias));
    out->loss = in->targets ? o->cross_entropy(g, out->logits, in->targets) : NULL;
    return out->logits && (out->loss || !in->targets) ? AIRA_OK : AIRA_E_FAILED;
}

static int64_t width(void *self) { return ((const mad_lm *)self)->width; }

static const aira_field fields[] = {
    AIRA_F_INT(mad_lm, width, 128, 1, 1 << 20, "width of the residual stream"),
    AIRA_F_CHOICE(mad_lm, norm, norms, 0, "before every primitive and before the head"),
    AIRA_F_REAL(mad_lm, norm_eps, 1e-5, 0, 1, "added to the mean square or variance in norms"),
    AIRA_F_REAL(mad_lm, embedding_std, 0.02, 0, 100, "standard deviation of the initial embedding"),
};
static const aira_schema schema = AIRA_SCHEMA(mad_lm, fields);
static const aira_backbone table = {sizeof table, 0, build, width};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("backbone", aira_backbone, &table, "mad_lm", "1.0.0", "mad-lab's language model", &schema)};
AIRA_MANIFEST("backbone", "mad_lm", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
