/* train_probe.c - rows that see each other when a model is scored are found, and roundings that a device shares among
 * rows are not taken for that.
 */
#include "core/train/training_internal.h"
#include "tests/support/training.h"

static const char recipe[] = "batch: 8, steps: 2, eval_every: 2, optimizer: {use: adamw, lr: 3e-3}";

/* Adds the mean over the batch, when it is scored. */
static aira_tensor *build(void *self, const aira_ops *ops, aira_graph *g, aira_tensor *x) {
    const int32_t batch[] = {0};
    (void)self;
    return ops->ctx_int(g, "training", 1) ? x : ops->add(g, x, ops->scale(g, ops->mean(g, x, batch, 1, 1), 1e-3));
}
static const aira_primitive across = {.size = sizeof across, .token = "X", .build = build};

static bool leaks(aira__training *t, const test_engine *reference) {
    aira_error error = {0};
    bool leak = false;
    int64_t row = -1;
    cr_assert_eq(aira__training_probe(t, reference ? reference->device : NULL, reference ? reference->self : NULL,
                                      &leak, &row, &error),
                 AIRA_OK, "%s", error.text);
    if (leak) cr_assert_gt(row, 0);
    return leak;
}

Test(train_probe, rows_that_see_each_other_are_found) {
    small s = open_small(recipe, 1, 3);
    const aira__layer layers[] = {s.layers[0], {"X", "test", "{}", &across, NULL}};
    aira__training_options options = s.training->options;
    aira__training *t = NULL;
    aira_error error = {0};
    options.layers = layers;
    cr_assert_eq(aira__training_create(&options, &t, &error), AIRA_OK, "%s", error.text);
    cr_assert(leaks(t, NULL));
    cr_assert(leaks(t, &s.engine), "a copy of the graph, with its weights, leaks as well");
    cr_assert_not(leaks(s.training, NULL));
    cr_assert_not(leaks(s.training, &s.engine));
    aira__training_destroy(t);
    close_small(&s);
}

/* A device of whose results, predictions and losses in turn, every fourth ends in another bit: the second losses. */
static const aira_device *honest;
static unsigned downloads;
static aira_status noisy_download(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes) {
    aira_status status = honest->download(self, buffer, offset, to, bytes);
    if (bytes >= 4 && ++downloads % 4 == 0) ((unsigned char *)to)[bytes - 4] ^= 1;
    return status;
}

Test(train_probe, shared_roundings_are_no_leak) {
    small s = open_small(recipe, 1, 3);
    aira_device noisy = *s.engine.device;
    aira__training_options options = s.training->options;
    aira__training *t = NULL;
    aira_error error = {0};
    honest = s.engine.device;
    noisy.download = noisy_download;
    options.device = &noisy;
    cr_assert_eq(aira__training_create(&options, &t, &error), AIRA_OK, "%s", error.text);
    downloads = 0;
    cr_assert(leaks(t, NULL));
    cr_assert_not(leaks(t, &s.engine), "where every row is computed on its own nothing moves");
    aira__training_destroy(t);
    close_small(&s);
}
