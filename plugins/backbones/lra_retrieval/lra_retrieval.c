/* lra_retrieval.c - Long Range Arena's retrieval model: two texts through one encoder, then a head over both vectors.
 *
 * A row of the data set is two texts of equal length end to end; they become rows of one batch of 2B, so that the
 * towers share every weight and neither sees the other. The head takes [a, b] (the reference, ReLU) or
 * [a, b, a - b, a b] (S4, GELU).
 */
#include "../common/encoder.h"

enum { CONCAT, COMPARE };
static const char *const heads[] = {"concat", "compare", NULL};

typedef struct lra_retrieval {
    encoder e;
    int64_t head;
    int32_t features;
} lra_retrieval;

/* a, b [B,C], from [2B,C] */
static aira_tensor *joined(const lra_retrieval *c, const aira_ops *o, aira_graph *g, aira_tensor *x, int64_t B) {
    int64_t C = c->e.width;
    aira_shape flat = {{B, C}, 2, 0};
    aira_tensor *both = o->reshape(g, x, &(aira_shape){{B, 2, C}, 3, 0}), *parts[4];
    parts[0] = o->reshape(g, o->slice(g, both, 1, 0, 1), &flat);
    parts[1] = o->reshape(g, o->slice(g, both, 1, 1, 1), &flat);
    parts[2] = o->sub(g, parts[0], parts[1]);
    parts[3] = o->mul(g, parts[0], parts[1]);
    return o->concat(g, parts, c->features == CONCAT ? 2 : 4, 1);
}

static aira_status build(void *self, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                         const aira_model_in *in, aira_model_out *out) {
    const lra_retrieval *c = self;
    int64_t B = o->dim(g, in->tokens, 0), T = o->dim(g, in->tokens, 1);
    if (T % 2 != 0) {
        o->error(g, "lra_retrieval: a row must be two texts of equal length, but its length is odd");
        return AIRA_E_CONFIG;
    }
    aira_tensor *tokens = o->reshape(g, in->tokens, &(aira_shape){{2 * B, T / 2}, 2, 0});
    aira_tensor *x = encoder_build(&c->e, o, g, blocks, tokens, o->ctx_int(g, "vocab", in->vocab));
    x = joined(c, o, g, x, B);
    if (c->head > 0) {
        x = encoder_linear(o, g, x, "head_hidden", c->head);
        x = c->features == CONCAT ? o->relu(g, x) : o->gelu(g, x, 1);
    }
    return encoder_answer(o, g, x, in, out);
}

static int64_t width(void *self) { return ((const lra_retrieval *)self)->e.width; }

static const aira_field fields[] = {
    ENCODER_FIELDS(encoder), /* the encoder is the first member */
    AIRA_F_CHOICE(lra_retrieval, features, heads, COMPARE, "what the head sees of the vectors a and b"),
    AIRA_F_INT(lra_retrieval, head, 128, 0, 1 << 20, "width of a layer before the classes; 0: none"),
};
static const aira_schema schema = AIRA_SCHEMA(lra_retrieval, fields);
static const aira_backbone table = {sizeof table, AIRA_BACKBONE_BIDIRECTIONAL, build, width};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("backbone", aira_backbone, &table, "lra_retrieval", "1.0.0",
                                                          "Long Range Arena's two-tower retrieval model", &schema)};
AIRA_MANIFEST("backbone", "lra_retrieval", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
