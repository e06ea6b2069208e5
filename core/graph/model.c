/* core/graph/model.c - calls a backbone and its primitives, and wraps each primitive into a block. */
#include "core/graph/model.h"

#include <stdio.h>
#include <string.h>

#include "core/graph/internal.h"

typedef struct builder {
    aira_blocks table; /* first: the backbone gets &table */
    const aira__model_spec *spec;
} builder;

static aira_tensor *normalise(aira_graph *g, aira_tensor *x, const aira_block_style *style) {
    const aira_ops *ops = aira__graph_ops();
    if (style->norm == AIRA_NORM_NONE) return x;
    if (style->norm > AIRA_NORM_LAYER)
        return aira__graph_fail(g, AIRA_E_FAILED, "unknown norm %u in a block's style", style->norm);
    aira_shape width = {.rank = 1, .dims = {ops->dim(g, x, -1)}};
    aira_param_info weight = {.size = sizeof weight, .flags = AIRA_PARAM_FP32, .init = "ones", .role = "norm"};
    aira_param_info bias = {.size = sizeof bias, .flags = AIRA_PARAM_FP32, .init = "zeros", .role = "norm"};
    aira_tensor *w = ops->param(g, "norm.weight", &width, &weight);
    if (style->norm == AIRA_NORM_RMS) return ops->rms_norm(g, x, w, style->norm_eps);
    return ops->layer_norm(g, x, w, ops->param(g, "norm.bias", &width, &bias), style->norm_eps);
}

static aira_tensor *apply_primitive(aira_graph *g, const aira__layer *layer, aira_tensor *x) {
    if (x == NULL) return NULL;
    aira__graph_push_scope(g, layer->token);
    aira_tensor *y = layer->table->build(layer->self, aira__graph_ops(), g, x);
    if (y == NULL)
        aira__graph_fail(g, AIRA_E_FAILED, "primitive '%s' returned no tensor and no reason", layer->primitive);
    else if (y->graph != g)
        y = aira__graph_fail(g, AIRA_E_FAILED, "primitive '%s' returned a foreign tensor", layer->primitive);
    else if (!aira__shape_equal(&y->shape, &x->shape)) {
        char is[96], wanted[96];
        aira__shape_text(&y->shape, is, sizeof is);
        aira__shape_text(&x->shape, wanted, sizeof wanted);
        y = aira__graph_fail(g, AIRA_E_FAILED, "primitive '%s' returned shape %s, wanted that of its input, %s",
                             layer->primitive, is, wanted);
    }
    y = y ? aira__to_type(g, y, g->compute_dtype) : NULL;
    aira__graph_pop_scope(g);
    return y;
}

static aira_tensor *build_block(const aira_blocks *blocks, aira_graph *g, uint32_t layer, aira_tensor *x,
                                const aira_block_style *style) {
    const builder *b = (const builder *)blocks->core;
    if (x == NULL || g->status != AIRA_OK) return NULL;
    if (layer >= b->spec->n_layers)
        return aira__graph_fail(g, AIRA_E_FAILED, "the backbone asked for layer %u of %u", layer, b->spec->n_layers);
    if (g->context->block) return aira__graph_fail(g, AIRA_E_FAILED, "blocks cannot be nested");
    const aira__layer *l = &b->spec->layers[layer];
    aira__block block = {
        .layer = layer, .norm = style->norm, .token = l->token, .primitive = l->primitive, .config = l->config};
    char scope[32];
    snprintf(scope, sizeof scope, "layers.%u", layer);
    aira__graph_push_scope(g, scope);
    aira__graph_set_int(g, "layer", layer);
    g->context->block = aira__graph_add_block(g, &block);
    aira_tensor *y = apply_primitive(g, l, normalise(g, x, style));
    if (style->residual_scale != 0) y = aira__scaled(g, y, style->residual_scale);
    y = y ? aira__binary(g, AIRA_OP_ADD, x, y) : NULL;
    g->context->block = 0;
    aira__graph_pop_scope(g);
    return y;
}

static void reinit(const aira_blocks *blocks, aira_graph *g, const char *role, const char *init, double a, double b,
                   int32_t force) {
    (void)blocks;
    aira__graph_add_reinit(g, role, init, a, b, force != 0);
}

static void scope(const aira_blocks *blocks, aira_graph *g, const char *prefix) {
    (void)blocks;
    while (g->context->n_scopes) aira__graph_pop_scope(g);
    if (prefix[0]) aira__graph_push_scope(g, prefix);
}

static void place(const aira_blocks *blocks, aira_graph *g, const char *name, aira_tensor *tensor) {
    (void)blocks;
    aira__graph_set_tensor(g, name, tensor);
}

/* loss = task loss + weighted auxiliary losses */
static void add_losses(aira_graph *g, aira_tensor *task_loss) {
    if (task_loss == NULL) return;
    aira_tensor *loss = aira__to_type(g, task_loss, g->storage_dtype);
    aira__graph_output(g, "task_loss", loss);
    for (uint32_t k = 0; k < g->n_aux_losses; k++) {
        char name[560];
        snprintf(name, sizeof name, "aux.%s", g->aux_losses[k].name);
        aira__graph_output(g, name, g->aux_losses[k].scalar);
        loss = aira__binary(g, AIRA_OP_ADD, loss, aira__scaled(g, g->aux_losses[k].scalar, g->aux_losses[k].weight));
    }
    aira__graph_output(g, "loss", loss);
}

static bool layers_are_complete(const aira__model_spec *spec, aira_error *error) {
    for (uint32_t k = 0; k < spec->n_layers; k++)
        if (spec->layers[k].table == NULL || spec->layers[k].table->build == NULL) {
            aira__fail(error, AIRA_E_FAILED, "layer %u ('%s') has no primitive", k, spec->layers[k].token);
            return false;
        }
    return true;
}

static aira_graph *finished(aira_graph *g, aira_error *error) {
    if (aira__graph_check(g, error) == AIRA_OK) return g;
    aira__graph_destroy(g);
    return NULL;
}

aira_graph *aira__model_build(const aira__model_spec *spec, aira_error *error) {
    if (!layers_are_complete(spec, error)) return NULL;
    aira_graph *g = aira__graph_create(spec->compute_dtype, NULL);
    if (g == NULL) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory while building a model");
        return NULL;
    }
    int64_t classes = spec->classes ? spec->classes : spec->vocab;
    aira__graph_set_int(g, "causal", spec->causal && !(spec->backbone->flags & AIRA_BACKBONE_BIDIRECTIONAL));
    aira__graph_set_int(g, "training", spec->training);
    aira__graph_set_int(g, "depth", spec->n_layers);
    aira__graph_set_int(g, "width", spec->backbone->width(spec->backbone_self));
    aira__graph_set_int(g, "vocab", spec->vocab);
    aira__graph_set_int(g, "classes", classes);
    aira__graph_set_int(g, "seq_len", spec->input_length);
    aira__graph_set_int(g, "target_len", spec->target_length);
    aira_shape in_shape = aira__shape_of(2, spec->batch, spec->input_length);
    aira_shape target_shape = aira__shape_of(2, spec->batch, spec->target_length);
    aira_model_in in = {.size = sizeof in, .vocab = classes};
    in.tokens = aira__graph_input(g, "tokens", AIRA_I32, &in_shape);
    if (spec->with_loss) in.targets = aira__graph_input(g, "targets", AIRA_I32, &target_shape);
    builder b = {.spec = spec};
    b.table = (aira_blocks){sizeof(aira_blocks), spec->n_layers, &b, build_block, reinit, scope, place};
    aira_model_out out = {.size = sizeof out};
    aira_status status = spec->backbone->build(spec->backbone_self, aira__graph_ops(), g, &b.table, &in, &out);
    if (status != AIRA_OK)
        aira__graph_fail(g, status, "the backbone could not build the model");
    else if (out.logits == NULL || (spec->with_loss && out.loss == NULL))
        aira__graph_fail(g, AIRA_E_FAILED, "the backbone returned no %s", out.logits ? "loss" : "logits");
    if (g->status == AIRA_OK) {
        aira_shape wanted = aira__shape_of(3, spec->batch, spec->target_length, classes);
        if (!aira__shape_equal(&wanted, &out.logits->shape)) {
            char is[96], want[96];
            aira__shape_text(&out.logits->shape, is, sizeof is);
            aira__shape_text(&wanted, want, sizeof want);
            aira__graph_fail(g, AIRA_E_FAILED, "the backbone's logits have shape %s, the data set needs %s", is, want);
        }
        aira__graph_output(g, "logits", out.logits);
        if (spec->with_loss) add_losses(g, out.loss);
    }
    return finished(g, error);
}

static void offer(aira_graph *g, const aira__primitive_place *p) {
    const aira_shape flat = aira__shape_of(2, p->batch, p->length);
    aira__graph_set_int(g, "causal", p->causal);
    aira__graph_set_int(g, "training", p->training);
    aira__graph_set_int(g, "layer", p->layer);
    aira__graph_set_int(g, "depth", p->depth);
    aira__graph_set_int(g, "width", p->width);
    aira__graph_set_int(g, "seq_len", p->length);
    if (p->vocab) aira__graph_set_int(g, "vocab", p->vocab);
    if (p->classes) aira__graph_set_int(g, "classes", p->classes);
    if (p->target_length) aira__graph_set_int(g, "target_len", p->target_length);
    if (p->masked) aira__graph_set_tensor(g, "mask", aira__graph_input(g, "mask", p->compute_dtype, &flat));
    if (p->positioned) aira__graph_set_tensor(g, "positions", aira__graph_input(g, "positions", AIRA_I32, &flat));
}

aira_graph *aira__primitive_build_at(const aira__layer *layer, const aira__primitive_place *place, aira_error *error) {
    aira_graph *g = aira__graph_create(place->compute_dtype, NULL);
    if (g == NULL) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory while building a primitive");
        return NULL;
    }
    aira_shape shape = aira__shape_of(3, place->batch, place->length, place->width);
    aira_tensor *x = aira__graph_input(g, "x", place->compute_dtype, &shape);
    offer(g, place);
    aira__block block = {.layer = 0,
                         .norm = AIRA_NORM_NONE,
                         .token = layer->token,
                         .primitive = layer->primitive,
                         .config = layer->config};
    g->context->block = aira__graph_add_block(g, &block);
    aira__graph_output(g, "y", apply_primitive(g, layer, x));
    g->context->block = 0;
    return finished(g, error);
}

aira_graph *aira__primitive_build(const aira__layer *layer, int64_t B, int64_t T, int64_t C, uint32_t compute_dtype,
                                  bool causal, aira_error *error) {
    const aira__primitive_place place = {.batch = B,
                                         .length = T,
                                         .width = C,
                                         .compute_dtype = compute_dtype,
                                         .causal = causal,
                                         .training = true,
                                         .depth = 1};
    return aira__primitive_build_at(layer, &place, error);
}
