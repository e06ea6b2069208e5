/* train_task.c - tasks from YAML and canonical JSON, evaluations, and the worker's hand-over. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/train/evaluate.h"
#include "tests/support/engine.h"
#include "tests/support/folder.h"

static const char small[] =
    "task: small\n"
    "candidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 16}}\n"
    "tokens:\n"
    "  mA: {use: attention, heads: 2, at_scale: {use: attention, kv_heads: 8}}\n"
    "  M: {use: mlp, at_scale: swiglu}\n"
    "proxies:\n"
    "  - {dataset: {use: mad, task: memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 16},\n"
    "     recipe: {batch: 8, steps: 3}}\n"
    "  - {dataset: {use: mad, task: compression, length: 8, train_rows: 20, test_rows: 16}, weight: 3,\n"
    "     backbone: {use: mad_autoencoder, width: 16}, recipe: {batch: 8, steps: 2}}\n"
    "limits: {seconds: 5m, memory: 1GiB}\n";

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

Test(train_task, the_canonical_form_is_the_identity) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    aira__task *task = load(e.registry, small, NULL, 0), *again = NULL, *third = NULL;
    aira_error error = {0};
    cr_assert_eq(task->layers, 2);
    cr_assert_eq(task->n_tokens, 2);
    cr_assert_str_eq(task->token_names[0], "mA");
    cr_assert_eq(aira__task_token_find(task, "M"), 1);
    cr_assert_eq(aira__task_token_find(task, "Z"), -1);
    cr_assert_str_eq(aira__json_string(task->tokens[1].at_scale, "use", ""), "swiglu");
    cr_assert_eq(json_object_size(task->tokens[0].at_scale), 2, "at_scale keeps only what was written");
    cr_assert_str_eq(task->proxies[1].name, "mad compression");
    cr_assert(task->higher_is_better);
    cr_assert_float_eq(task->limit_seconds, 300, 0);
    cr_assert_eq(task->limit_memory, 1 << 30);
    char *text = aira__json_canonical(task->canonical);
    json_t *parsed = json_loads(text, 0, NULL);
    cr_assert_eq(aira__task_load_json(e.registry, parsed, &again, &error), AIRA_OK, "%s", error.text);
    cr_assert_str_eq(again->hash, task->hash);
    char *changed = strdup(small);
    strstr(changed, "steps: 3")[7] = '4';
    third = load(e.registry, changed, NULL, 0);
    cr_assert_str_neq(third->hash, task->hash);
    free(changed);
    free(text);
    json_decref(parsed);
    aira__task_destroy(task);
    aira__task_destroy(again);
    aira__task_destroy(third);
    test_engine_close(&e);
}

Test(train_task, a_canonical_task_can_be_a_file_again) {
    static const char *const recipes[] = {
        "recipe: {batch: 8, steps: 3}",
        "recipe: {batch: 8, tokens: 5K, clip: 0.1, optimizer: {use: adamw, lr: 3.3e-4}}",
        "recipe: {batch: 8, steps: 3, schedule: {kind: cosine, final: 0.1}}",
        "recipe: {preset: paper, schedule: {kind: trapezoid, decay: 0.3, warmup: 1}}"};
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    for (size_t k = 0; k < sizeof recipes / sizeof *recipes; k++) {
        char *text = malloc(sizeof small + 200);
        const char *at = strstr(small, "recipe: {batch: 8, steps: 3}");
        sprintf(text, "%.*s%s%s", (int)(at - small), small, recipes[k], at + strlen(recipes[0]));
        aira__task *task = load(e.registry, text, NULL, 0);
        char *file = aira__task_text(task->canonical);
        cr_assert_not_null(file);
        aira__task *again = load(e.registry, file, NULL, 0);
        cr_assert_str_eq(again->hash, task->hash, "%s", file);
        cr_assert_str_eq(again->token_names[0], "mA", "tokens keep their order");
        aira__task_destroy(task);
        aira__task_destroy(again);
        free(file);
        free(text);
    }
    test_engine_close(&e);
}

Test(train_task, mistakes_are_named) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    const char *const cases[][3] = {{"layers: 2", "layer: 2", "'layers'"},
                                    {"use: attention, heads", "use: atention, heads", "attention"},
                                    {"kind: compose", "kind: desing", "unknown kind"},
                                    {"  M: {", "  2M: {", "not a token"},
                                    {"weight: 3", "weight: 0", "above 0"},
                                    {"task: compression", "task: compressing", "compression"},
                                    {"kv_heads", "kv_head", "kv_heads"},
                                    {"proxies:", "proxy:", "proxies"},
                                    {"steps: 2}", "steps: 2, epochs: 3}", "exactly one"}};
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

Test(train_task, an_evaluation_is_the_weighted_mean_of_its_proxies) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    aira__task *task = load(e.registry, small, NULL, 0);
    const uint16_t layers[] = {0, 1}, three[] = {0, 1, 1};
    aira__evaluate_options options = {.task = task,
                                      .layers = layers,
                                      .n_layers = 2,
                                      .seed = 4,
                                      .device = e.device,
                                      .device_self = e.self,
                                      .host = e.host};
    options.splits[AIRA_SPLIT_SEARCH] = options.splits[AIRA_SPLIT_TEST] = true;
    aira__evaluation a, b;
    aira_error error = {0};
    cr_assert_eq(aira__evaluate(&options, &a, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__evaluate(&options, &b, &error), AIRA_OK, "%s", error.text);
    double test = (a.proxies[0].scores[AIRA_SPLIT_TEST].score + 3 * a.proxies[1].scores[AIRA_SPLIT_TEST].score) / 4;
    cr_assert_float_eq(a.score[AIRA_SPLIT_TEST], test, 1e-15);
    cr_assert(isnan(a.score[AIRA_SPLIT_SELECTION]));
    cr_assert_eq(a.score[AIRA_SPLIT_SEARCH], b.score[AIRA_SPLIT_SEARCH]);
    cr_assert_str_eq(a.data_hash, b.data_hash);
    cr_assert_eq(a.steps, 5);
    cr_assert_gt(a.parameters, 1000);
    cr_assert_gt(a.flops, 1e6);
    json_t *json = aira__evaluation_proxies(&a, task, AIRA_SPLIT_TEST);
    cr_assert_eq(json_array_size(json_object_get(json_array_get(json, 0), "curve")), 3);
    json_decref(json);
    aira__evaluation_release(&a);
    aira__evaluation_release(&b);
    options.layers = three;
    options.n_layers = 3;
    cr_assert_eq(aira__evaluate(&options, &a, &error), AIRA_E_CONFIG);
    cr_assert_str_eq(a.cause, "build");
    aira__evaluation_release(&a);
    options.layers = layers;
    options.n_layers = 2;
    options.seconds = 1e-9;
    cr_assert_eq(aira__evaluate(&options, &a, &error), AIRA_E_TIMEOUT);
    cr_assert_str_eq(a.cause, "timeout");
    cr_assert_gt(a.proxies[0].curve.n, 0, "the curve is kept");
    aira__evaluation_release(&a);
    aira__task_destroy(task);
    task = NULL;
    test_engine_close(&e);
}

static json_t *read_result(const char *folder, const char *name) {
    char *path = aira__path_join(folder, name);
    aira_error error = {0};
    json_t *json = aira__json_load_file(path, &error);
    cr_assert_not_null(json, "%s", error.text);
    free(path);
    return json;
}

Test(train_task, a_worker_writes_one_result_per_evaluation) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    aira__task *task = load(e.registry, small, NULL, 0);
    test_folder folder;
    aira_error error = {0};
    test_folder_make(&folder);
    char plugins[1024];
    snprintf(plugins, sizeof plugins, "%s/lib/aira/plugins", getenv("AIRA_BUILD_DIR"));
    json_t *lease = json_pack("{s:i, s:s, s:{s:s}, s:[s], s:[{s:s, s:[s, s], s:[], s:O, s:i, s:[s, s]}, {s:s, s:[s, "
                              "s], s:[], s:O, s:i, s:[s]}]}",
                              "version", 1, "lease", "l1", "device", "use", "cpu", "plugin_paths", plugins,
                              "evaluations", "id", "good", "layers", "mA", "M", "options", "task", task->canonical,
                              "seed", 4, "splits", "search", "selection", "id", "bad", "layers", "mA", "Z", "options",
                              "task", task->canonical, "seed", 4, "splits", "search");
    cr_assert_not_null(lease);
    char *path = aira__path_join(folder.path, "lease.json");
    cr_assert_eq(aira__json_write_file(path, lease, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__worker_run(folder.path, &error), AIRA_OK, "%s", error.text);
    json_t *good = read_result(folder.path, "good.json"), *bad = read_result(folder.path, "bad.json");
    cr_assert_str_eq(aira__json_string(good, "status", ""), "ok");
    cr_assert(json_is_null(json_object_get(good, "error")));
    cr_assert(json_is_real(json_object_get(json_object_get(good, "scores"), "search")));
    cr_assert(json_is_real(json_object_get(json_object_get(good, "scores"), "selection")));
    cr_assert_eq(json_object_size(json_object_get(good, "scores")), 2);
    cr_assert_eq(json_array_size(json_object_get(good, "proxies")), 2);
    const json_t *hashes = json_object_get(good, "hashes");
    cr_assert_str_eq(aira__json_string(hashes, "task", ""), task->hash);
    cr_assert_eq(strlen(aira__json_string(hashes, "program", "")), 64);
    cr_assert_not_null(json_object_get(json_object_get(hashes, "plugins"), "primitive:attention"));
    cr_assert_str_eq(aira__json_string(bad, "status", ""), "failed");
    cr_assert_str_eq(aira__json_string(bad, "cause", ""), "build");
    cr_assert_not_null(strstr(aira__json_string(bad, "error", ""), "'Z'"));
    /* what has a result is not repeated */
    char *mark = aira__path_join(folder.path, "good.json");
    cr_assert_eq(aira__file_write_atomic(mark, "{}", 2, &error), AIRA_OK);
    cr_assert_eq(aira__worker_run(folder.path, &error), AIRA_OK, "%s", error.text);
    json_t *kept = read_result(folder.path, "good.json");
    cr_assert_eq(json_object_size(kept), 0);
    cr_assert_neq(aira__worker_run("/nonexistent", &error), AIRA_OK);
    json_decref(kept);
    json_decref(good);
    json_decref(bad);
    json_decref(lease);
    free(mark);
    free(path);
    test_folder_remove(&folder);
    aira__task_destroy(task);
    test_engine_close(&e);
}
