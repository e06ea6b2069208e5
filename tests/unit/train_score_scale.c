/* train_score_scale.c - the frozen scale of a task: defaults from the metric, the order of its three, its absence from
 * the hash. */
#include <criterion/criterion.h>
#include <math.h>

#include "core/train/task.h"
#include "tests/support/engine.h"

#define HEAD                                                                      \
    "task: small\n"                                                               \
    "candidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 16}}\n" \
    "tokens: {M: {use: mlp}}\n"

static const char two_tasks[] = HEAD
    "proxies:\n"
    "  - {dataset: {use: mad, task: memorization, vocab: 16, length: 8}, recipe: {steps: 3}}\n"
    "  - {dataset: {use: mad, task: compression, length: 8}, weight: 3, recipe: {steps: 2}}\n";

static aira__task *load(aira__registry *registry, const char *text, const char *more, char *why, size_t size) {
    char whole[2000];
    snprintf(whole, sizeof whole, "%s%s", text, more);
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(whole, "task.yaml", d);
    aira__task *task = document ? aira__task_load(registry, aira__document_root(document), true, d) : NULL;
    if (why)
        snprintf(why, size, "%s", aira__diagnostics_text(d));
    else
        cr_assert_not_null(task, "%s", aira__diagnostics_text(d));
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return task;
}

Test(score_scale, accuracies) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    aira__task *plain = load(e.registry, two_tasks, "", NULL, 0);
    double guesses = (plain->proxies[0].info.worst + 3 * plain->proxies[1].info.worst) / 4;
    cr_expect(guesses > 0.01 && guesses < 0.3);
    cr_expect_float_eq(plain->scale.worst, guesses, 1e-15);
    cr_expect(plain->scale.best == 0.999 && plain->scale.optimum == 1);
    aira__task *own = load(e.registry, two_tasks, "scale: {best: 0.8}\n", NULL, 0);
    cr_expect(own->scale.best == 0.8 && own->scale.worst == plain->scale.worst);
    cr_expect_str_eq(own->hash, plain->hash, "how scores are read is no part of the task");
    aira__task_destroy(plain);
    aira__task_destroy(own);
    test_engine_close(&e);
}

Test(score_scale, mistakes) {
    static const char *const wrong[][2] = {
        {"scale: {best: 0.01}\n", "best (0.01) must lie between worst"},
        {"scale: {best: 1}\n", "must lie between"},
        {"scale: {worst: 0.9, best: 0.3}\n", "must lie between"},
        {"scale: {wosrt: 0.1}\n", "did you mean 'worst'"},
        {"scale: 3\n", "scale is a mapping"},
    };
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char why[4000];
        cr_expect_null(load(e.registry, two_tasks, wrong[i][0], why, sizeof why));
        cr_expect(strstr(why, wrong[i][1]), "%s: %s", wrong[i][0], why);
    }
    test_engine_close(&e);
}

Test(score_scale, losses_by_hand) {
    aira__score_scale s = {NAN, NAN, NAN};
    aira__diagnostics *d = aira__diagnostics_create();
    aira__score_scale_complete(&s, false, log(50257), NULL, d);
    cr_expect_float_eq(s.worst, 10.8249, 1e-4);
    cr_expect_float_eq(s.best, 1.08249, 1e-5);
    cr_expect_eq(s.optimum, 0);
    aira__score_scale unknown = {NAN, NAN, NAN};
    aira__score_scale_complete(&unknown, false, NAN, NULL, d);
    cr_expect(isnan(unknown.worst) && isnan(unknown.best));
    cr_expect_eq(aira__diagnostics_count(d), 0);
    json_t *json = aira__score_scale_json(&unknown);
    cr_expect(json_is_null(json_object_get(json, "worst")));
    json_decref(json);
    aira__diagnostics_destroy(d);
}
