/* training.h - small trainings on the cpu device, for tests. */
#ifndef AIRA_TESTS_TRAINING_H
#define AIRA_TESTS_TRAINING_H

#include <criterion/criterion.h>
#include <math.h>

#include "core/train/task.h"
#include "core/train/training.h"
#include "tests/support/engine.h"

/* mA, M and Mb; %d layers, recipe %s */
static const char small_task[] =
    "task: small\n"
    "candidate: {kind: compose, layers: %d, backbone: {use: mad_lm, width: 16}}\n"
    "tokens: {mA: {use: attention, heads: 2}, M: {use: mlp}, Mb: {use: mamba}}\n"
    "proxies: [{dataset: {use: mad, task: memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 40},\n"
    "  recipe: {%s}}]\n";

typedef struct small {
    test_engine engine;
    aira__diagnostics *d;
    aira__document *document;
    aira__task *task;
    aira__layer *layers;
    aira__training *training;
    char *identity;
} small;

/* layers: indices of tokens */
static inline small open_layers(const char *recipe, const uint16_t *tokens, int n_layers, int threads, uint64_t seed) {
    small s = {0};
    char keys[64], text[1024];
    snprintf(keys, sizeof keys, "{\"use\": \"cpu\", \"threads\": %d}", threads);
    snprintf(text, sizeof text, small_task, n_layers, recipe);
    s.engine = test_engine_open(keys);
    s.d = aira__diagnostics_create();
    s.document = aira__document_parse(text, "small.yaml", s.d);
    s.task = aira__task_load(s.engine.registry, aira__document_root(s.document), true, s.d);
    cr_assert_not_null(s.task, "%s", aira__diagnostics_text(s.d));
    s.layers = aira__task_layers(s.task, tokens, n_layers);
    s.identity = strdup(recipe);
    aira__proxy *proxy = &s.task->proxies[0];
    aira__training_options options = {.device = s.engine.device,
                                      .device_self = s.engine.self,
                                      .host = s.engine.host,
                                      .backbone = s.task->backbone->plugin->table,
                                      .backbone_self = s.task->backbone->self,
                                      .layers = s.layers,
                                      .n_layers = (uint32_t)n_layers,
                                      .dataset = proxy->dataset,
                                      .info = &proxy->info,
                                      .recipe = &proxy->recipe,
                                      .seed = seed,
                                      .causal = true,
                                      .identity = s.identity};
    aira_error error = {0};
    cr_assert_eq(aira__training_create(&options, &s.training, &error), AIRA_OK, "%s", error.text);
    return s;
}

static inline small open_small(const char *recipe, int threads, uint64_t seed) {
    const uint16_t tokens[] = {0, 2}; /* mA Mb */
    return open_layers(recipe, tokens, 2, threads, seed);
}

static inline void close_small(small *s) {
    aira__training_destroy(s->training);
    free(s->identity);
    free(s->layers);
    aira__task_destroy(s->task);
    aira__document_destroy(s->document);
    aira__diagnostics_destroy(s->d);
    test_engine_close(&s->engine);
}

static inline aira__curve run_small(small *s, int64_t steps) {
    aira__curve curve = {0};
    aira_error error = {0};
    bool nan;
    cr_assert_eq(aira__training_run(s->training, steps, NULL, &curve, &nan, &error), AIRA_OK, "%s", error.text);
    return curve;
}

static inline bool same_curve(const aira__curve *a, const aira__curve *b) {
    if (a->n != b->n) return false;
    for (int k = 0; k < a->n; k++) {
        const aira__point *x = &a->points[k], *y = &b->points[k];
        if (x->step != y->step || memcmp(&x->loss, &y->loss, sizeof x->loss) != 0) return false;
        if (isnan(x->score) != isnan(y->score) || (!isnan(x->score) && x->score != y->score)) return false;
    }
    return true;
}

#endif
