/* lra_classifier.c - Long Range Arena's classifier: an encoder that sees both ways, pooling, a head.
 *
 * The reference's Transformer is pool: cls, positions: sinusoid, norm: layer, mlp: 1024, head: 1024, dropout: 0.1 at
 * width 512; state-space models take pool: mean and positions: none (arXiv 2011.04006, 2111.00396).
 */
#include "../common/encoder.h"

typedef struct lra_classifier {
    encoder e;
    int64_t head;
} lra_classifier;

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                         const aira_model_in *in, aira_model_out *out) {
    const lra_classifier *c = self;
    aira_tensor *x = encoder_build(&c->e, o, g, blocks, in->tokens, o->ctx_int(g, "vocab", in->vocab));
    if (c->head > 0) x = o->relu(g, encoder_linear(o, g, x, "head_hidden", c->head));
    return encoder_answer(o, g, x, in, out);
}

static int64_t width(void *self) { return ((const lra_classifier *)self)->e.width; }

static const aira_field fields[] = {
    ENCODER_FIELDS(encoder), /* the encoder is the first member */
    AIRA_F_INT(lra_classifier, head, 0, 0, 1 << 20, "width of a ReLU layer before the classes; 0: none"),
};
static const aira_schema schema = AIRA_SCHEMA(lra_classifier, fields);
static const aira_backbone table = {sizeof table, AIRA_BACKBONE_BIDIRECTIONAL, build, width};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("backbone", aira_backbone, &table, "lra_classifier", "1.0.0",
                                                          "Long Range Arena's classifier of whole sequences", &schema)};
AIRA_MANIFEST("backbone", "lra_classifier", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
