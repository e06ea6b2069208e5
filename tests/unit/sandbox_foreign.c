/* A C source that goes through the sandbox gives the graph that the plugin built of it gives, byte for byte. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/base/fs.h"
#include "core/graph/model.h"
#include "core/graph/splice.h"
#include "core/plugin/manifest.h"
#include "core/sandbox/compile.h"
#include "core/sandbox/foreign.h"
#include "core/sandbox/hygiene.h"

static char *source_of(const char *path) {
    char whole[4096], *text = NULL;
    aira_error error;
    snprintf(whole, sizeof whole, "%s/%s", getenv("AIRA_SOURCE_DIR"), path);
    cr_assert_eq(aira__file_read(whole, 1 << 20, &text, NULL, &error), AIRA_OK, "%s", error.text);
    return text;
}

static void need_sandbox(void) {
    char reason[512];
    if (aira__sandbox_available(reason, sizeof reason) == AIRA_SANDBOX_NONE) cr_skip_test("%s", reason);
}

static aira__registry *registry(void) {
    aira__registry *r = NULL;
    aira_error error;
    cr_assert_eq(aira__registry_create(NULL, &r, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__foreign_offer(r, &error), AIRA_OK, "%s", error.text);
    return r;
}

/* Two blocks with norms around them, so that places, scopes and layers differ. */
static aira__bytes built(const aira__instance *i, uint32_t dtype, int64_t batch, bool causal) {
    const aira__layer layer = {"X", "same", "{}", i->plugin->table, i->self};
    aira_error error = {0};
    aira__bytes bytes = {0};
    aira_graph *g = aira__primitive_build(&layer, batch, 33, 128, dtype, causal, &error);
    cr_assert_not_null(g, "%s", error.text);
    cr_assert_eq(aira__graph_write(g, &bytes, &error), AIRA_OK, "%s", error.text);
    aira__graph_destroy(g);
    return bytes;
}

static void compare(aira__registry *r, const char *path, const char *id, const char *config) {
    aira_error error = {0};
    aira__instance *plugin = NULL, *source = NULL;
    char *text = source_of(path);
    json_t *keys = json_loads(config, 0, NULL), *named = json_pack("{s:s}", "use", id);
    json_t *by_text = json_pack("{s:s, s:s, s:O}", "use", "source", "text", text, "config", keys);
    json_object_update(named, keys);
    cr_assert_eq(aira__instance_create_json(r, "primitive", named, &plugin, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__instance_create_json(r, "primitive", by_text, &source, &error), AIRA_OK, "%s", error.text);
    const aira_primitive *of_plugin = plugin->plugin->table, *of_source = source->plugin->table;
    cr_assert_str_eq(of_plugin->token, of_source->token);
    cr_assert_eq(of_plugin->flags, of_source->flags);
    int64_t kv = of_plugin->kv_elements_per_token ? of_plugin->kv_elements_per_token(plugin->self, 128) : 0;
    cr_assert_eq(kv, of_source->kv_elements_per_token(source->self, 128), "%s", id);
    static const uint32_t types[] = {AIRA_F32, AIRA_BF16, AIRA_F64, AIRA_F32};
    for (int k = 0; k < 4; k++) {
        aira__bytes a = built(plugin, types[k], 1 + k, k < 3), b = built(source, types[k], 1 + k, k < 3);
        cr_assert_eq(a.size, b.size, "%s", id);
        cr_assert_arr_eq(a.data, b.data, a.size, "%s", id);
        free(a.data);
        free(b.data);
    }
    /* its canonical form makes it anew */
    aira__instance *again = NULL;
    cr_assert_eq(aira__instance_create_json(r, "primitive", source->canonical, &again, &error), AIRA_OK, "%s",
                 error.text);
    cr_assert(json_equal(source->canonical, again->canonical));
    aira__instance_destroy(again);
    aira__instance_destroy(plugin);
    aira__instance_destroy(source);
    json_decref(keys);
    json_decref(named);
    json_decref(by_text);
    free(text);
}

Test(sandbox_foreign, sources_of_shipped_primitives_give_the_same_graphs) {
    need_sandbox();
    aira__registry *r = registry();
    compare(r, "plugins/primitives/attention/attention.c", "attention",
            "{\"heads\": 4, \"kv_heads\": 2, \"window\": 5}");
    compare(r, "plugins/primitives/mamba/mamba.c", "mamba", "{}");
    compare(r, "plugins/primitives/mamba2/mamba2.c", "mamba2", "{}");
    compare(r, "plugins/primitives/mlp/mlp.c", "mlp", "{\"expansion\": 2}");
    compare(r, "plugins/primitives/swiglu/swiglu.c", "swiglu", "{}");
    compare(r, "plugins/primitives/linear_attention/linear_attention.c", "linear_attention", "{}");
    aira__registry_destroy(r);
}

/* --- what a source may say -----------------------------------------------------------------------------------------
 */

static const char tail[] =
    "static const aira_primitive table = {.size = sizeof table, .token = \"X\", .build = build};\n"
    "static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR(\"primitive\", aira_primitive, "
    "&table, \"x\", \"1.0.0\", \"x\", 0)};\n"
    "AIRA_MANIFEST(\"primitive\", \"x\", \"1.0.0\")\n"
    "AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }\n";

static aira__foreign_primitive *primitive(const char *body) {
    char text[8192];
    aira_error error = {0};
    aira__foreign *f = NULL;
    aira__foreign_primitive *p = NULL;
    snprintf(
        text, sizeof text,
        "#include <aira/primitive.h>\n"
        "static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {\n(void)self;\n"
        "%s\n}\n%s",
        body, tail);
    cr_assert_eq(aira__foreign_compile(text, strlen(text), NULL, &f, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__foreign_primitive_create(f, NULL, &p, &error), AIRA_OK, "%s", error.text);
    aira__foreign_release(f);
    return p;
}

/* The same build in this process. */
static aira_tensor *auxiliary(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    (void)self;
    const aira_shape s = {{ops->dim(g, x, -1)}, 1, 0};
    aira_param_info info = {.size = sizeof info, .value = ops->random(g, "start", &s, "normal", 0), .lr_mult = 2};
    aira_tensor *drop = ops->random(g, "drop", &s, "uniform", 1);
    aira_tensor *w = ops->param(g, "w", &s, &info);
    ops->aux_loss(g, "small", ops->sum(g, ops->mul(g, w, w), 0, 0, 0), 0.25);
    ops->metric(g, "size", ops->sum(g, ops->abs(g, w), 0, 0, 0));
    return ops->mul(g, ops->mul(g, x, w), drop);
}

Test(sandbox_foreign, losses_metrics_and_draws_come_along) {
    need_sandbox();
    static const aira_primitive here = {.size = sizeof here, .token = "X", .build = auxiliary};
    aira__foreign_primitive *p = primitive(
        "const aira_shape s = {{ops->dim(g, x, -1)}, 1, 0};\n"
        "aira_param_info info = {.size = sizeof info, .value = ops->random(g, \"start\", &s, \"normal\", 0), .lr_mult "
        "= 2};\n"
        "aira_tensor *drop = ops->random(g, \"drop\", &s, \"uniform\", 1);\n"
        "aira_tensor *w = ops->param(g, \"w\", &s, &info);\n"
        "ops->aux_loss(g, \"small\", ops->sum(g, ops->mul(g, w, w), 0, 0, 0), 0.25);\n"
        "ops->metric(g, \"size\", ops->sum(g, ops->abs(g, w), 0, 0, 0));\n"
        "return ops->mul(g, ops->mul(g, x, w), drop);");
    for (int k = 0; k < 2; k++) {
        aira__layer layers[2] = {{"X", "same", "{}", &here, NULL},
                                 {"X", "same", "{}", aira__foreign_primitive_table(p), p}};
        if (k == 1) layers[0].token = layers[1].token = "Y"; /* another place, the same trace */
        aira__bytes bytes[2];
        for (int i = 0; i < 2; i++) {
            aira_error error = {0};
            aira_graph *g = aira__primitive_build(&layers[i], 2, 8, 16, AIRA_BF16, true, &error);
            cr_assert_not_null(g, "%s", error.text);
            cr_assert_eq(g->n_aux_losses, 1);
            cr_assert_float_eq(g->aux_losses[0].weight, 0.25, 0);
            cr_assert_str_eq(g->aux_losses[0].name, k == 0 ? "X.small" : "Y.small");
            cr_assert_not_null(aira__graph_find_output(g, k == 0 ? "metric.X.size" : "metric.Y.size"));
            cr_assert_eq(aira__graph_write(g, &bytes[i], &error), AIRA_OK, "%s", error.text);
            aira__graph_destroy(g);
        }
        cr_assert_eq(bytes[0].size, bytes[1].size);
        cr_assert_arr_eq(bytes[0].data, bytes[1].data, bytes[0].size);
        free(bytes[0].data);
        free(bytes[1].data);
    }
    int children;
    double seconds, confinement;
    aira__foreign_primitive_cost(p, &children, &seconds, &confinement);
    cr_assert_leq(children, 2, "a trace that fits is used again");
    aira__foreign_primitive_destroy(p);
}

Test(sandbox_foreign, a_trace_is_used_where_the_place_answers_the_same) {
    need_sandbox();
    aira__foreign_primitive *p = primitive(
        "return ops->scale(g, x, 2.0 + (double)ops->ctx_int(g, \"layer\", 0) + 100.0 * (double)ops->ctx_int(g, "
        "\"training\", 7));");
    const aira_shape shape = {{2, 8, 16}, 3, 0};
    for (int layer = 0; layer < 3; layer++) {
        aira_error error = {0};
        aira_graph *g = aira__graph_create(AIRA_F32, NULL);
        aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &shape);
        aira__graph_set_int(g, "layer", layer);
        if (layer > 0) aira__graph_set_int(g, "training", 0);
        aira_tensor *y = aira__foreign_primitive_table(p)->build(p, aira__graph_ops(), g, x);
        cr_assert_eq(aira__graph_check(g, &error), AIRA_OK, "%s", error.text);
        cr_assert_not_null(y);
        double factor = 0;
        for (uint32_t k = 0; k < g->n_ops; k++)
            if (g->ops[k]->code == AIRA_OP_CONSTANT) factor = g->ops[k]->f[0];
        cr_assert_float_eq(factor, 2.0 + layer + (layer > 0 ? 0 : 700), 0);
        aira__graph_destroy(g);
    }
    aira__foreign_primitive_destroy(p);
}

Test(sandbox_foreign, a_build_cannot_tell_the_compute_type) {
    need_sandbox();
    aira__foreign_primitive *p = primitive("return ops->cast(g, x, AIRA_F64) == x   ? ops->relu(g, x)\n"
                                           "       : ops->cast(g, x, AIRA_F32) == x ? ops->exp(g, x)\n"
                                           "                                        : ops->tanh(g, x);");
    static const uint32_t types[] = {AIRA_F32, AIRA_F64, AIRA_BF16};
    for (int k = 0; k < 3; k++) {
        const aira__layer layer = {"X", "same", "{}", aira__foreign_primitive_table(p), p};
        aira_error error = {0};
        aira_graph *g = aira__primitive_build(&layer, 2, 8, 16, types[k], true, &error);
        cr_assert_not_null(g, "%s", error.text);
        const aira_tensor *y = aira__graph_find_output(g, "y");
        cr_assert_eq(g->ops[y->op]->code, AIRA_OP_TANH);
        cr_assert_eq(y->dtype, types[k]);
        aira__graph_destroy(g);
    }
    aira__foreign_primitive_destroy(p);
}

Test(sandbox_foreign, a_mask_is_a_tensor_of_the_place) {
    need_sandbox();
    aira__foreign_primitive *p = primitive("aira_tensor *mask = ops->ctx_tensor(g, \"mask\");\n"
                                           "if (!mask) return ops->relu(g, x);\n"
                                           "const aira_shape s = {{ops->dim(g, x, 0), ops->dim(g, x, 1), 1}, 3, 0};\n"
                                           "return ops->mul(g, x, ops->reshape(g, mask, &s));");
    const aira_shape shape = {{2, 8, 16}, 3, 0}, flat = {{2, 8}, 2, 0};
    for (int masked = 0; masked < 2; masked++) {
        aira_error error = {0};
        aira_graph *g = aira__graph_create(AIRA_F32, NULL);
        aira_tensor *x = aira__graph_input(g, "x", AIRA_F32, &shape);
        if (masked) aira__graph_set_tensor(g, "mask", aira__graph_input(g, "mask", AIRA_F32, &flat));
        aira_tensor *y = aira__foreign_primitive_table(p)->build(p, aira__graph_ops(), g, x);
        cr_assert_eq(aira__graph_check(g, &error), AIRA_OK, "%s", error.text);
        cr_assert_eq(g->ops[y->op]->code, masked ? AIRA_OP_MUL : AIRA_OP_RELU);
        aira__graph_destroy(g);
    }
    aira__foreign_primitive_destroy(p);
}

Test(sandbox_foreign, damaged_objects_are_refused_or_read) {
    need_sandbox();
    char *text = source_of("plugins/primitives/mlp/mlp.c");
    const aira__foreign_options options = {0};
    aira__compiled compiled;
    aira_error error;
    aira__sandbox_cause ended = AIRA_SANDBOX_OK;
    cr_assert_eq(aira__compile_source(text, strlen(text), &options, &compiled, &ended, &error), AIRA_OK, "%s",
                 error.text);
    cr_assert_eq(aira__hygiene_check(compiled.object, compiled.n, &error), AIRA_OK, "%s", error.text);
    aira_rng rng = aira_rng_make(1, 1);
    int refused = 0;
    for (int k = 0; k < 4000; k++) {
        size_t n = k % 4 == 0 ? aira_rng_below(&rng, (uint32_t)compiled.n) : compiled.n;
        uint8_t *copy = malloc(n + 1); /* of its own size, so that a sanitizer sees every byte too far */
        aira_manifest manifest;
        memcpy(copy, compiled.object, n);
        for (int b = 0; b < 8 && n > 0; b++) {
            /* headers at both ends, tables anywhere */
            uint32_t from = b % 2 ? 0 : (uint32_t)n, at = aira_rng_below(&rng, 4096 < n ? 4096 : (uint32_t)n);
            copy[from ? n - 1 - at : at] = (uint8_t)aira_rng_below(&rng, 256);
        }
        refused += aira__hygiene_check(copy, n, &error) != AIRA_OK;
        aira__manifest_read(copy, n, &manifest, &error);
        free(copy);
    }
    cr_assert_gt(refused, 1000);
    free(compiled.object);
    free(text);
}

Test(sandbox_foreign, bad_input_is_told_in_a_sentence) {
    aira_error error = {0};
    aira__foreign *f = NULL;
    char *large = calloc(1, AIRA__FOREIGN_MAX_SOURCE + 2);
    memset(large, ' ', AIRA__FOREIGN_MAX_SOURCE + 1);
    cr_assert_eq(aira__foreign_compile(large, AIRA__FOREIGN_MAX_SOURCE + 1, NULL, &f, &error), AIRA_E_CONFIG);
    cr_assert(strstr(error.text, "1 to 262144 bytes") != NULL, "%s", error.text);
    cr_assert_eq(aira__foreign_compile("", 0, NULL, &f, &error), AIRA_E_CONFIG);
    const aira__foreign_options odd = {.compiler = "tcc"};
    cr_assert_eq(aira__foreign_compile("int x;", 6, &odd, &f, &error), AIRA_E_UNSUPPORTED);
    cr_assert(strstr(error.text, "no compiler 'tcc'") != NULL, "%s", error.text);
    free(large);
}
