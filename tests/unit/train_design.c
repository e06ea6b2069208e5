/* train_design.c - tasks whose candidates are sources: reading, mistakes, options in their places, the canonical form.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "core/base/json.h"
#include "core/train/task.h"
#include "core/train/task_design.h"
#include "tests/support/engine.h"

static const char small[] =
    "task: small\n"
    "candidate:\n"
    "  kind: design\n"
    "  layers: 3\n"
    "  pattern: X M\n"
    "  backbone: {use: mad_lm, width: 16}\n"
    "  configurable:\n"
    "    lr: {sets: recipe.optimizer.lr, from: 1e-4, to: 1e-1}\n"
    "    width: {sets: backbone.width, choices: [16, 32]}\n"
    "    depth: {sets: layers, from: 2, to: 4}\n"
    "tokens:\n"
    "  M: {use: mlp}\n"
    "proxies:\n"
    "  - {dataset: {use: mad, task: memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 16},\n"
    "     recipe: {batch: 8, steps: 3, optimizer: {use: adamw, lr: 1e-3}}}\n"
    "limits: {parameters: 1M, flops_per_token: 2M, cost_exponent: 1.5}\n";

static aira__task *load(aira__registry *registry, const char *text, char *why, size_t size) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "task.yaml", d);
    aira__task *task = document != NULL ? aira__task_load(registry, aira__document_root(document), true, d) : NULL;
    if (why != NULL)
        snprintf(why, size, "%s", aira__diagnostics_text(d));
    else
        cr_assert_not_null(task, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return task;
}

Test(train_design, the_canonical_form_is_the_identity) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    aira_error error = {0};
    aira__task *task = load(e.registry, small, NULL, 0), *again = NULL;
    cr_assert(task->design);
    cr_assert_eq(task->limit_parameters, 1000000);
    cr_assert_eq(task->limit_flops, 2e6);
    cr_assert_eq(task->limit_exponent, 1.5);
    const json_t *lr = json_object_get(task->configurable, "lr"), *width = json_object_get(task->configurable, "width");
    cr_assert_float_eq(json_real_value(json_object_get(lr, "default")), 1e-3, 0);
    cr_assert_eq(json_integer_value(json_object_get(width, "default")), 16);
    cr_assert(json_is_integer(json_array_get(json_object_get(width, "choices"), 1)));
    cr_assert_eq(aira__task_load_json(e.registry, task->canonical, &again, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(again->hash, task->hash);
    aira__task_destroy(again);
    char *text = aira__task_text(task->canonical);
    again = load(e.registry, text, NULL, 0);
    cr_assert_str_eq(again->hash, task->hash, "%s", text);
    free(text);
    aira__task_destroy(again);

    aira__layer mechanism = {AIRA__MECHANISM, "source:1", "{}", NULL, NULL};
    aira__layer *layers = aira__task_design_layers(task, &mechanism);
    cr_assert_str_eq(layers[0].token, "X");
    cr_assert_str_eq(layers[1].token, "M");
    cr_assert_str_eq(layers[2].primitive, "source:1");
    free(layers);
    aira__task_destroy(task);
    test_engine_close(&e);
}

Test(train_design, options_go_where_they_are_said_to) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    aira_error error = {0};
    aira__task *task = load(e.registry, small, NULL, 0), *set = NULL;
    json_t *options = json_pack("{s:f, s:i, s:i}", "lr", 0.02, "width", 32, "depth", 4);
    json_t *json = aira__design_apply(task->canonical, options, &error);
    cr_assert_not_null(json, "%s", error.text);
    cr_assert_eq(aira__task_load_json(e.registry, json, &set, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(set->layers, 4);
    cr_assert_eq(((const aira_backbone *)set->backbone->plugin->table)->width(set->backbone->self), 32);
    const json_t *optimizer = set->proxies[0].recipe.optimizer->canonical;
    cr_assert_float_eq(aira__json_real(optimizer, "lr", 0), 0.02, 0);
    cr_assert_eq(aira__json_int(json_object_get(task->canonical, "candidate"), "layers", 0), 3,
                 "the task itself stays");
    json_decref(json);
    json_decref(options);
    options = json_pack("{s:i}", "heads", 4);
    cr_assert_null(aira__design_apply(task->canonical, options, &error));
    cr_assert(strstr(error.text, "no option `heads`"));
    json_decref(options);
    aira__task_destroy(set);
    aira__task_destroy(task);
    test_engine_close(&e);
}

Test(train_design, mistakes_are_named) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    const char *const cases[][3] = {
        {"pattern: X M", "pattern: M", "X, which stands for the mechanism, is not in it"},
        {"pattern: X M", "pattern: X A", "no token `A`"},
        {"pattern: X M", "pattern: 4X", "it has 4 layers, the candidate 3"},
        {"  M: {use", "  X: {use", "stands for the mechanism"},
        {"layers: 3", "layers: 0", "needs `layers`"},
        {"sets: layers", "sets: layer", "names no number of this task"},
        {"backbone.width", "backbone.use", "names no number of this task"},
        {"recipe.optimizer.lr", "recipe.optimizer.rate", "names no number of this task"},
        {"choices: [16, 32]", "choices: [32]", "the task's own value of backbone.width, 16"},
        {"from: 1e-4, to: 1e-1", "from: 1e-1, to: 1e-4", "must be below"},
        {"from: 1e-4, to: 1e-1", "from: 1e-4", "needs `from` and `to`, or `choices"},
        {"    lr: {", "    Lr: {", "lower-case name"},
        {"cost_exponent: 1.5", "cost_exponent: 0.5", "at least 1"},
        {"kind: design", "kind: compose", "unknown key 'pattern'"}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        char text[2048], why[4096];
        const char *at = strstr(small, cases[k][0]);
        cr_assert_not_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, cases[k][1], at + strlen(cases[k][0]));
        cr_assert_null(load(e.registry, text, why, sizeof why), "accepted: %s", cases[k][1]);
        cr_assert_not_null(strstr(why, cases[k][2]), "%s gives %s", cases[k][1], why);
        cr_assert_not_null(strstr(why, "task.yaml:"), "no place: %s", why);
    }
    test_engine_close(&e);
}
