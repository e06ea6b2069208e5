/* moe.c - a mixture of experts: every token is sent to the top_k of `experts` position-wise networks.
 *
 *   p = router x                                  [N, E], N tokens
 *   chosen, weights = top k of p, softmax of the chosen (with k = 1: softmax of all)
 *   y = sum over the chosen e of weight_e * down_e(act(up_e x))
 *
 * No token is dropped and there is no capacity: the N*k (token, expert) pairs are sorted by expert, and one grouped
 * matrix product serves all experts, however unevenly they are loaded. Routing looks at one token at a time, so nothing
 * flows between positions or rows.
 *
 * Balance is asked for by an auxiliary loss (Switch Transformer, arXiv 2101.03961, equation 4): E * sum_e f_e P_e, with
 * f_e the share of the pairs that went to expert e (not differentiated) and P_e the mean router probability of e; it is
 * 1 when both are even. The metric "balance" is 1 / (E * sum_e f_e^2): 1 when even, 1/E when one expert gets
 * everything.
 *
 * Works with the installed SDK alone; see README.md for three ways to build it.
 */
#include <math.h>

#include "aira/ext/active.h"
#include "aira/primitive.h"

typedef struct moe {
    int64_t experts, top_k, hidden;
    double aux;
    int32_t activation;
} moe;

enum { GELU, SWIGLU };

/* Inner width of one expert. By default the chosen ones together are as wide as a 4x network. */
static int64_t inner_width(const moe *c, int64_t width) {
    return c->hidden > 0 ? c->hidden : (4 * width + c->top_k - 1) / c->top_k;
}

/* Weights of all experts, [E, in, out], drawn as one linear layer of `in` inputs would be. */
static aira_tensor *experts(const moe *c, const aira_ops *o, aira_graph *g, const char *name, int64_t in, int64_t out) {
    double bound = 1 / sqrt((double)in);
    aira_param_info info = {.size = sizeof info, .init = "uniform", .a = -bound, .b = bound, .role = "linear.weight"};
    return o->param(g, name, &(aira_shape){{c->experts, in, out}, 3, 0}, &info);
}

/* Loss and metric from the router's scores [N,E] and the number of pairs of each expert [E]. */
static void balance(const moe *c, const aira_ops *o, aira_graph *g, aira_tensor *scores, aira_tensor *pairs,
                    int64_t n) {
    const int32_t rows[] = {0};
    double E = (double)c->experts;
    aira_tensor *share = o->scale(g, o->stop_gradient(g, pairs), 1.0 / (double)(n * c->top_k));
    aira_tensor *probability = o->mean(g, o->softmax(g, scores), rows, 1, 0);
    o->aux_loss(g, "balance", o->scale(g, o->sum(g, o->mul(g, share, probability), rows, 1, 0), E), c->aux);
    aira_tensor *square = o->scale(g, o->sum(g, o->mul(g, share, share), rows, 1, 0), E);
    o->metric(g, "balance", o->div(g, o->constant(g, 1, NULL), o->cast(g, square, 0)));
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    const moe *c = self;
    if (c->top_k > c->experts) return o->error(g, "moe: top_k is larger than the number of experts");
    aira_shape shape;
    o->shape(g, x, &shape);
    int64_t C = o->dim(g, x, -1), N = o->dim(g, x, 0) * o->dim(g, x, 1), k = c->top_k, F = inner_width(c, C);
    aira_shape flat = {{N, C}, 2, 0}, list = {{N * k}, 1, 0}, column = {{N * k, 1}, 2, 0};

    /* The router's weights stay fp32, and so do the scores: bf16 would make ties. */
    aira_param_info info = {.size = sizeof info, .flags = AIRA_PARAM_FP32, .init = "fan_in", .role = "linear.weight"};
    aira_tensor *router = o->param(g, "router.weight", &(aira_shape){{c->experts, C}, 2, 0}, &info);
    aira_tensor *tokens = o->reshape(g, x, &flat);
    aira_tensor *scores = o->linear(g, tokens, router, NULL);
    aira_tensor *chosen, *best = o->top_k(g, scores, k, &chosen);
    /* One chosen alone would always weigh 1 and teach the router nothing: then it is its share among all (Switch). */
    aira_tensor *gates = k > 1 ? o->softmax(g, best) : o->gather_last(g, o->softmax(g, scores), chosen);
    aira_tensor *weights = o->reshape(g, gates, &column);

    /* Pairs sorted by expert: which token each is, and how many each expert has. */
    aira_tensor *expert = o->reshape(g, chosen, &list);
    aira_tensor *order = o->argsort(g, expert, 0);
    aira_tensor *token = o->div(g, order, o->cast(g, o->constant(g, (double)k, NULL), AIRA_I32));
    aira_tensor *ones = o->cast(g, o->constant(g, 1, &list), AIRA_F32);
    aira_tensor *pairs = o->scatter_add(g, expert, ones, c->experts);
    aira_tensor *counts = o->cast(g, pairs, AIRA_I32);
    balance(c, o, g, scores, pairs, N);

    aira_tensor *rows = o->gather(g, tokens, token);
    aira_tensor *inner = o->grouped_matmul(g, rows, experts(c, o, g, "up.weight", C, F), counts);
    if (c->activation == SWIGLU) {
        aira_tensor *gate = o->grouped_matmul(g, rows, experts(c, o, g, "gate.weight", C, F), counts);
        inner = o->mul(g, o->silu(g, gate), inner);
    } else {
        inner = o->gelu(g, inner, 1);
    }
    aira_tensor *out = o->grouped_matmul(g, inner, experts(c, o, g, "down.weight", F, C), counts);
    out = o->mul(g, out, o->cast(g, o->gather(g, weights, order), 0));
    return o->reshape(g, o->scatter_add(g, token, out, N), &shape);
}

static int64_t active(void *self, int64_t width) {
    const moe *c = self;
    int64_t matrices = c->activation == SWIGLU ? 3 : 2;
    return c->experts * width + c->top_k * matrices * width * inner_width(c, width);
}

static const aira_active_parameters active_parameters = {.size = sizeof active_parameters, .active = active};

static const void *extension(const char *id) {
    const char *known = AIRA_EXT_ACTIVE_PARAMETERS;
    while (*id != 0 && *id == *known) id++, known++;
    return *id == *known ? &active_parameters : NULL;
}

static const char *const activations[] = {"gelu", "swiglu", NULL};
static const aira_field fields[] = {
    AIRA_F_INT(moe, experts, 8, 1, 1024, "experts in the layer"),
    AIRA_F_INT(moe, top_k, 2, 1, 64, "experts that each token is sent to"),
    AIRA_F_INT(moe, hidden, 0, 0, 1 << 24, "inner width of one expert; 0: 4 widths shared by top_k experts"),
    AIRA_F_REAL(moe, aux, 0.01, 0, 100, "weight of the load-balancing loss"),
    AIRA_F_CHOICE(moe, activation, activations, GELU, "of the experts: gelu has two matrices, swiglu three"),
};
static const aira_schema schema = AIRA_SCHEMA(moe, fields);
static const aira_primitive table = {.size = sizeof table, .token = "MoE", .build = build};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "moe", "1.0.0",
                                                          "mixture of position-wise experts, top-k routing", &schema),
                                   .extension = extension};
AIRA_MANIFEST("primitive", "moe", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
