/* compose_extrapolate.c - whole extrapolations with the shipped primitives: sizes, costs, options, refusals, the model
 * file. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/compose/extrapolate.h"
#include "core/train/model_file.h"

static aira__registry *registry(void) {
    aira__registry *made = NULL;
    aira_error error = {0};
    char *path = aira__path_join(getenv("AIRA_BUILD_DIR") ? getenv("AIRA_BUILD_DIR") : "build", "lib/aira/plugins");
    const char *paths[] = {path};
    aira__registry_options options = {.paths = paths, .n_paths = 1, .no_builtin = true};
    cr_assert_eq(aira__registry_create(&options, &made, &error), AIRA_OK, "%s", error.text);
    free(path);
    return made;
}

static aira__extrapolation at(aira__registry *r, const char *tokens, const char *architecture, const char *to,
                              const char *by) {
    aira__extrapolation e;
    aira_error error = {0};
    json_t *table = tokens ? json_loads(tokens, 0, NULL) : NULL;
    cr_assert(tokens == NULL || table != NULL);
    cr_assert_eq(aira__extrapolate(r, table, architecture, to, by, &e, &error), AIRA_OK, "%s", error.text);
    json_decref(table);
    return e;
}

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }
static void near(double value, double want, double tolerance, const char *what) {
    cr_expect(value > want - tolerance && value < want + tolerance, "%s: %.10g, want %.10g", what, value, want);
}

Test(extrapolate, published_models_at_1B) {
    static const struct {
        const char *base, *by;
        int layers, attention, mlp;
        double millions;
    } cases[] = {{"2mA 4M", "stack", 27, 9, 18, 1000.3},
                 {"2mA 4M", "stretch", 27, 9, 18, 1000.3},
                 {"2mA 5M 2mA 3M 1mA 3M", "stretch", 29, 10, 19, 1061.2},
                 {"2mA 5M 2mA 3M 1mA 3M", "stack", 29, 10, 19, 1061.2}};
    aira__registry *r = registry();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aira__extrapolation e = at(r, NULL, cases[i].base, "1B", cases[i].by);
        const json_t *counts = json_object_get(e.result, "tokens"), *llama = json_object_get(e.result, "llama");
        near(number(e.result, "layers"), cases[i].layers, 0.5, "layers");
        near(number(counts, "mA"), cases[i].attention, 0.5, "mA");
        near(number(counts, "M"), cases[i].mlp, 0.5, "M");
        near(number(e.result, "parameters_body") / 1e6, cases[i].millions, 0.05, "body");
        near(number(e.result, "kv_bytes_per_token"), 2048.0 * cases[i].attention, 0.5, "cache: 2 x 8 x 64 x 2 bytes");
        near(number(llama, "parameters_body") / 1e6, 973.1, 0.05, "Llama's body");
        near(number(llama, "parameters_total"), 1235814400, 0.5, "Llama 3.2 1B as released");
        near(number(llama, "flops_per_token") / 1e9, 7.449, 0.0005, "Llama's FLOPs at 8,192");
        aira__extrapolation_release(&e);
    }
    aira__registry_destroy(r);
}

Test(extrapolate, llama_at_every_size) {
    static const struct {
        const char *to;
        int layers;
        double millions;
    } cases[] = {{"350M", 28, 352.3}, {"1B", 32, 973.1}, {"3B", 56, 2818.6}, {"8B", 64, 6979.3}};
    aira__registry *r = registry();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aira__extrapolation e = at(r, NULL, "mA M", cases[i].to, "stack");
        near(number(e.result, "layers"), cases[i].layers, 0.5, "layers");
        near(number(e.result, "parameters_body") / 1e6, cases[i].millions, 0.05, cases[i].to);
        static const char *const keys[] = {"layers", "parameters_body", "parameters_total", "flops_per_token",
                                           "kv_bytes_per_token"};
        for (int k = 0; k < 5; k++) /* Llama stacked to its own size is Llama */
            near(number(e.result, keys[k]), number(json_object_get(e.result, "llama"), keys[k]), 1e-3, keys[k]);
        aira__extrapolation_release(&e);
    }
    aira__registry_destroy(r);
}

Test(extrapolate, attention_heavy_nets_cost_more) {
    /* At equal parameters (973.1 M) and 29 attention layers: 8.76e9 against 7.45e9 per token at 8,192. */
    aira__registry *r = registry();
    aira__extrapolation one = at(r, NULL, "mA M", "1B", "stack"), a = at(r, NULL, "mA", "1B", "stretch");
    double n = number(a.result, "layers"), attention = number(a.result, "flops_per_token") / n;
    double mlp = number(one.result, "flops_per_token") / 16 - attention;
    near((29 * (attention - 6 * 10485760.0) + 6 * 973078528.0) / 1e9, 8.76, 0.005, "29 attention layers");
    near(attention, 6 * 10485760.0 + 6 * 2048.0 * 8193, 1, "6 N + 6 d (T + 1)");
    near(mlp, 6 * 50331648.0, 1, "6 N");
    aira__extrapolation_release(&one);
    aira__extrapolation_release(&a);
    aira__registry_destroy(r);
}

Test(extrapolate, the_user_keys_win) {
    aira__registry *r = registry();
    aira__extrapolation e = at(
        r,
        "{\"mA\":{\"at_scale\":{\"use\":\"attention\",\"kv_heads\":4}},\"M\":{\"at_scale\":{\"use\":"
        "\"swiglu\",\"hidden\":4096}}}",
        "mA M", "1B", "stretch");
    near(number(e.result, "kv_bytes_per_token"), 2.0 * 2 * 4 * 64 * number(json_object_get(e.result, "tokens"), "mA"),
         0.5, "half the cache");
    cr_expect(strstr(e.model, "\"hidden\":4096") && strstr(e.model, "\"kv_heads\":4"), "%s", e.model);
    cr_expect(strstr(e.model, "\"heads\":32") && strstr(e.model, "\"bias\":false"), "%s", e.model);
    aira__extrapolation_release(&e);
    aira__registry_destroy(r);
}

Test(extrapolate, full_depth_keeps_its_layers) {
    aira__registry *r = registry();
    aira__extrapolation e = at(r, NULL, "10mA 22M", "1B", "stretch");
    cr_expect_str_eq(json_string_value(json_object_get(e.result, "architecture")), "10mA 22M");
    aira__extrapolation_release(&e);
    aira__registry_destroy(r);
}

Test(extrapolate, refusals) {
    static const struct {
        const char *tokens, *architecture, *to, *by, *says;
    } cases[] = {
        {"{\"mA\":{\"use\":\"attention\"}}", "2mA", "1B", "stack", "`mA` has no `at_scale`"},
        {"{\"mA\":{\"at_scale\":{\"use\":\"atention\"}}}", "2mA", "1B", "stack", "attention"},
        {"{\"mA\":{\"at_scale\":{\"use\":\"attention\",\"headz\":4}}}", "2mA", "1B", "stack", "headz"},
        {"{\"mA\":{\"at_scale\":{\"use\":\"attention\",\"heads\":7}}}", "2mA", "1B", "stack", "`mA`"},
        {"{\"mA\":{\"at_scale\":{\"kv_heads\":4}}}", "2mA", "1B", "stack", "names no primitive"},
        {NULL, "2mX", "1B", "stack", "mX"},
        {NULL, "2mA", "1T", "stack", "350M, 1B, 3B, 8B"},
        {NULL, "2mA", "1B", "fold", "stretch and stack"},
    };
    aira__registry *r = registry();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aira__extrapolation e;
        aira_error error = {0};
        json_t *table = cases[i].tokens ? json_loads(cases[i].tokens, 0, NULL) : NULL;
        cr_expect_neq(aira__extrapolate(r, table, cases[i].architecture, cases[i].to, cases[i].by, &e, &error),
                      AIRA_OK);
        cr_expect(strstr(error.text, cases[i].says), "case %zu: %s", i, error.text);
        json_decref(table);
    }
    aira__registry_destroy(r);
}

Test(extrapolate, the_model_file_is_one_that_training_takes) {
    char path[] = "/tmp/aira-model-XXXXXX.yaml";
    int file = mkstemps(path, 5);
    cr_assert_geq(file, 0);
    close(file);
    aira__registry *r = registry();
    aira__extrapolation e = at(r, NULL, "2mA 4M Mb", "350M", "stack");
    cr_assert_eq(aira__file_write_atomic(path, e.model, strlen(e.model), NULL), AIRA_OK);
    aira__diagnostics *d = aira__diagnostics_create();
    aira__model_file *model = aira__model_file_load(r, path, NULL, 0, false, d);
    cr_assert_not_null(model, "%s", aira__diagnostics_text(d));
    cr_expect_str_eq(model->architecture, json_string_value(json_object_get(e.result, "architecture")));
    cr_expect_eq(model->vocab, 128256);
    /* The model as training builds it has exactly the parameters that were promised. */
    aira_error error = {0};
    const aira__model_spec spec = {.backbone = model->backbone->plugin->table,
                                   .backbone_self = model->backbone->self,
                                   .layers = model->layers,
                                   .n_layers = (uint32_t)model->n_layers,
                                   .vocab = model->vocab,
                                   .batch = 1,
                                   .input_length = 8,
                                   .target_length = 8,
                                   .compute_dtype = AIRA_F32,
                                   .causal = true,
                                   .with_loss = true};
    aira_graph *graph = aira__model_build(&spec, &error);
    cr_assert_not_null(graph, "%s", error.text);
    aira__counts counts;
    aira__graph_count(graph, &counts);
    cr_expect_eq(counts.parameters, json_integer_value(json_object_get(e.result, "parameters_total")));
    aira__graph_destroy(graph);
    aira__model_file_destroy(model);
    aira__diagnostics_destroy(d);
    aira__extrapolation_release(&e);
    aira__registry_destroy(r);
    unlink(path);
}
