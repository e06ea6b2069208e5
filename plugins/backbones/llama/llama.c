/* llama.c - the Llama-like language model: embedding, RMS pre-norm residual blocks, RMS norm, head without bias.
 *
 * One primitive per residual branch; a Llama layer is two of ours (grouped-query attention, SwiGLU). All Linear weights
 * and the embedding start normal, biases at zero, except where a primitive protects its own initial values. The head
 * shares the embedding unless tied is false or the model predicts other classes than it reads.
 */
#include "aira/backbone.h"

typedef struct llama {
    int64_t width;
    double norm_eps, init_std;
    int32_t tied;
} llama;

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                         const aira_model_in *in, aira_model_out *out) {
    const llama *c = self;
    int64_t C = c->width, ids = o->ctx_int(g, "vocab", in->vocab);
    aira_block_style style = {.size = sizeof style, .norm = AIRA_NORM_RMS, .norm_eps = c->norm_eps};
    aira_param_info normal = {.size = sizeof normal, .init = "normal", .a = c->init_std, .role = "embedding"};
    aira_param_info weight = {.size = sizeof weight, .init = "normal", .a = c->init_std, .role = "linear.weight"};
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    blocks->reinit(blocks, g, "linear.weight", "normal", c->init_std, 0, 0);
    blocks->reinit(blocks, g, "linear.bias", "zeros", 0, 0, 0);
    aira_tensor *table = o->param(g, "embedding.weight", &(aira_shape){{ids, C}, 2, 0}, &normal);
    aira_tensor *x = o->gather(g, table, in->tokens);
    for (uint32_t layer = 0; layer < blocks->n_layers; layer++) x = blocks->block(blocks, g, layer, x, &style);
    x = o->rms_norm(g, x, o->param(g, "norm.weight", &(aira_shape){{C}, 1, 0}, &ones), c->norm_eps);
    aira_tensor *head = table;
    if (!c->tied || ids != in->vocab) head = o->param(g, "head.weight", &(aira_shape){{in->vocab, C}, 2, 0}, &weight);
    out->logits = o->linear(g, x, head, NULL);
    out->loss = in->targets ? o->cross_entropy(g, out->logits, in->targets) : NULL;
    return out->logits && (out->loss || !in->targets) ? AIRA_OK : AIRA_E_FAILED;
}

static int64_t width(void *self) { return ((const llama *)self)->width; }

static const aira_field fields[] = {
    AIRA_F_INT(llama, width, 2048, 1, 1 << 20, "width of the residual stream"),
    AIRA_F_REAL(llama, norm_eps, 1e-5, 0, 1, "added to the mean square in norms"),
    AIRA_F_REAL(llama, init_std, 0.02, 0, 100, "standard deviation of initial Linear weights and embedding"),
    AIRA_F_BOOL(llama, tied, 1, "the head is the embedding"),
};
static const aira_schema schema = AIRA_SCHEMA(llama, fields);
static const aira_backbone table = {sizeof table, 0, build, width};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("backbone", aira_backbone, &table, "llama", "1.0.0", "Llama-like language model", &schema)};
AIRA_MANIFEST("backbone", "llama", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
