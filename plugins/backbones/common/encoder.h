/* encoder.h - the part that Long Range Arena's two backbones share: ids to one vector per sequence.
 *
 * Embedding (and positions), then per layer the block of the candidate (norm, primitive, residual) and, where `mlp` is
 * not 0, one of the backbone's own: norm, Linear, GELU, Linear, residual. A last norm, then pooling. Id 0 is padding:
 * primitives get it as ctx_tensor "mask", pooling leaves it out. Every position may see every other.
 */
#ifndef AIRA_BACKBONES_ENCODER_H
#define AIRA_BACKBONES_ENCODER_H

#include <math.h>
#include <stdio.h>

#include "aira/backbone.h"

enum { ENCODER_NO_POSITIONS, ENCODER_SINUSOIDS, ENCODER_LEARNED };
enum { ENCODER_MEAN, ENCODER_CLS };
static const char *const encoder_positions[] = {"none", "sinusoid", "learned", NULL};
static const char *const encoder_pools[] = {"mean", "cls", NULL};
static const char *const encoder_norms[] = {"rms", "layer", NULL};

typedef struct encoder {
    int64_t width, mlp;
    double dropout, norm_eps, embedding_std;
    int32_t positions, pool, norm;
} encoder;

#define ENCODER_FIELDS(S)                                                                                          \
    AIRA_F_INT(S, width, 128, 2, 1 << 20, "width of the residual stream"),                                         \
        AIRA_F_INT(S, mlp, 0, 0, 1 << 20, "inner width of the MLP that follows every layer; 0: none"),             \
        AIRA_F_CHOICE(S, positions, encoder_positions, ENCODER_SINUSOIDS, "added to the embedding"),               \
        AIRA_F_CHOICE(S, pool, encoder_pools, ENCODER_MEAN,                                                        \
                      "a sequence's vector: the mean of its positions, or a learned one in front"),                \
        AIRA_F_CHOICE(S, norm, encoder_norms, 1, "before every branch and before pooling"),                        \
        AIRA_F_REAL(S, dropout, 0, 0, 0.95, "share of the embedding and of the MLP's inside dropped in training"), \
        AIRA_F_REAL(S, norm_eps, 1e-6, 0, 1, "added to the mean square or variance in norms"),                     \
        AIRA_F_REAL(S, embedding_std, 1, 0, 100, "standard deviation of the initial embedding")

static inline aira_tensor *encoder_norm(const encoder *c, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    aira_shape shape = {{o->dim(g, x, -1)}, 1, 0};
    aira_param_info ones = {.size = sizeof ones, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    aira_param_info zeros = {.size = sizeof zeros, .flags = AIRA_PARAM_FP32, .init = "zeros", .role = "norm"};
    aira_tensor *weight = o->param(g, "norm.weight", &shape, &ones);
    if (c->norm == 0) return o->rms_norm(g, x, weight, c->norm_eps);
    return o->layer_norm(g, x, weight, o->param(g, "norm.bias", &shape, &zeros), c->norm_eps);
}

/* PyTorch's Linear, parameters <name>.weight and <name>.bias */
static inline aira_tensor *encoder_linear(const aira_ops *o, aira_graph *g, aira_tensor *x, const char *name,
                                          int64_t n_out) {
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    aira_param_info w = {.size = sizeof w, .init = "fan_in", .role = "linear.weight"};
    aira_param_info b = {.size = sizeof b, .init = "zeros", .role = "linear.bias"};
    return o->linear(g, x, o->param(g, weight, &(aira_shape){{n_out, o->dim(g, x, -1)}, 2, 0}, &w),
                     o->param(g, bias, &(aira_shape){{n_out}, 1, 0}, &b));
}

static inline aira_tensor *encoder_drop(const encoder *c, const aira_ops *o, aira_graph *g, aira_tensor *x,
                                        const char *name) {
    if (c->dropout <= 0 || !o->ctx_int(g, "training", 0)) return x;
    aira_shape shape;
    o->shape(g, x, &shape);
    aira_tensor *kept = o->compare(g, ">=", o->random(g, name, &shape, "uniform", 1), o->constant(g, c->dropout, NULL));
    return o->mul(g, x, o->scale(g, kept, 1 / (1 - c->dropout)));
}

/* [1,T,C]: sin(t w_i) | cos(t w_i), w_i = 10000^(-i / (C/2)). Times are running sums in fp32: bf16 would not tell 257
   from 256. */
static inline aira_tensor *encoder_sinusoids(const aira_ops *o, aira_graph *g, int64_t T, int64_t C) {
    aira_shape times = {{T}, 1, 0}, column = {{1, T, 1}, 3, 0}, row = {{1, 1, C / 2}, 3, 0};
    aira_tensor *t = o->cumsum(g, o->cast(g, o->constant(g, 1, &times), AIRA_F32), 0, 0, 1);
    aira_tensor *i = o->cumsum(g, o->cast(g, o->constant(g, 1, &(aira_shape){{C / 2}, 1, 0}), AIRA_F32), 0, 0, 1);
    aira_tensor *rate = o->exp(g, o->scale(g, o->reshape(g, i, &row), -2 * log(10000) / (double)C));
    aira_tensor *angle = o->mul(g, o->reshape(g, t, &column), rate), *parts[2];
    parts[0] = o->sin(g, angle);
    parts[1] = o->cos(g, angle);
    return o->cast(g, o->concat(g, parts, 2, 2), 0);
}

static inline aira_tensor *encoder_embed(const encoder *c, const aira_ops *o, aira_graph *g, aira_tensor *tokens,
                                         int64_t ids) {
    int64_t B = o->dim(g, tokens, 0), T = o->dim(g, tokens, 1), C = c->width;
    aira_param_info normal = {.size = sizeof normal, .init = "normal", .a = c->embedding_std, .role = "embedding"};
    aira_param_info small = {.size = sizeof small, .init = "normal", .a = 0.02, .role = "embedding"};
    aira_param_info zeros = {.size = sizeof zeros, .init = "zeros", .role = "embedding"};
    aira_tensor *x = o->gather(g, o->param(g, "embedding.weight", &(aira_shape){{ids, C}, 2, 0}, &normal), tokens);
    if (c->pool == ENCODER_CLS) {
        aira_tensor *parts[2] = {o->param(g, "cls", &(aira_shape){{1, 1, C}, 3, 0}, &zeros), x};
        parts[0] = o->broadcast(g, parts[0], &(aira_shape){{B, 1, C}, 3, 0});
        x = o->concat(g, parts, 2, 1);
        T++;
    }
    if (c->positions == ENCODER_SINUSOIDS) x = o->add(g, x, encoder_sinusoids(o, g, T, C));
    if (c->positions == ENCODER_LEARNED)
        x = o->add(g, x, o->param(g, "positions.weight", &(aira_shape){{1, T, C}, 3, 0}, &small));
    return encoder_drop(c, o, g, x, "embedding.dropout");
}

/* [B,T] of the compute type: 0 where an id is padding */
static inline aira_tensor *encoder_mask(const encoder *c, const aira_ops *o, aira_graph *g, aira_tensor *tokens) {
    aira_shape one = {{o->dim(g, tokens, 0), 1}, 2, 0};
    aira_tensor *zero = o->cast(g, o->constant(g, 0, NULL), AIRA_I32);
    aira_tensor *parts[2] = {o->constant(g, 1, &one), o->cast(g, o->compare(g, "!=", tokens, zero), 0)};
    return c->pool == ENCODER_CLS ? o->concat(g, parts, 2, 1) : parts[1];
}

static inline aira_tensor *encoder_mlp(const encoder *c, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                                       uint32_t layer, aira_tensor *x) {
    char scope[48];
    snprintf(scope, sizeof scope, "layers.%u.mlp", layer);
    blocks->scope(blocks, g, scope);
    aira_tensor *y = encoder_linear(o, g, encoder_norm(c, o, g, x), "up", c->mlp);
    y = encoder_drop(c, o, g, o->gelu(g, y, 1), "dropout");
    x = o->add(g, x, encoder_linear(o, g, y, "down", c->width));
    blocks->scope(blocks, g, "");
    return x;
}

/* [B,T,C] to [B,C] */
static inline aira_tensor *encoder_pool(const encoder *c, const aira_ops *o, aira_graph *g, aira_tensor *x,
                                        aira_tensor *mask) {
    int64_t B = o->dim(g, x, 0), T = o->dim(g, x, 1);
    const int32_t time = 1;
    if (c->pool == ENCODER_CLS) return o->reshape(g, o->slice(g, x, 1, 0, 1), &(aira_shape){{B, c->width}, 2, 0});
    aira_tensor *weight = o->reshape(g, o->cast(g, mask, AIRA_F32), &(aira_shape){{B, T, 1}, 3, 0});
    aira_tensor *count = o->max(g, o->sum(g, weight, &time, 1, 0), o->cast(g, o->constant(g, 1, NULL), AIRA_F32));
    return o->cast(g, o->div(g, o->sum(g, o->mul(g, x, weight), &time, 1, 0), count), 0);
}

/* tokens I32 [B,T] to [B,C] */
static inline aira_tensor *encoder_build(const encoder *c, const aira_ops *o, aira_graph *g, const aira_blocks *blocks,
                                         aira_tensor *tokens, int64_t ids) {
    if (c->positions == ENCODER_SINUSOIDS && c->width % 2 != 0)
        return o->error(g, "width must be even for sinusoidal positions");
    aira_block_style style = {.size = sizeof style, .norm_eps = c->norm_eps};
    style.norm = c->norm == 0 ? AIRA_NORM_RMS : AIRA_NORM_LAYER;
    blocks->reinit(blocks, g, "linear.bias", "zeros", 0, 0, 0);
    aira_tensor *mask = encoder_mask(c, o, g, tokens), *x = encoder_embed(c, o, g, tokens, ids);
    blocks->place(blocks, g, "mask", mask);
    for (uint32_t layer = 0; layer < blocks->n_layers; layer++) {
        x = blocks->block(blocks, g, layer, x, &style);
        if (c->mlp > 0) x = encoder_mlp(c, o, g, blocks, layer, x);
    }
    return encoder_pool(c, o, g, encoder_norm(c, o, g, x), mask);
}

/* [B,F] to the logits of n answers about the whole, [B,n,classes], and their loss. */
static inline aira_status encoder_answer(const aira_ops *o, aira_graph *g, aira_tensor *features,
                                         const aira_model_in *in, aira_model_out *out) {
    int64_t B = o->dim(g, features, 0);
    int64_t n = in->targets ? o->dim(g, in->targets, 1) : o->ctx_int(g, "target_len", 1);
    aira_tensor *logits = encoder_linear(o, g, features, "head", n * in->vocab);
    out->logits = o->reshape(g, logits, &(aira_shape){{B, n, in->vocab}, 3, 0});
    out->loss = in->targets ? o->cross_entropy(g, out->logits, in->targets) : NULL;
    return out->logits && (out->loss || !in->targets) ? AIRA_OK : AIRA_E_FAILED;
}

#endif
