/* train_memory.c - what trades time for memory changes no result: batches in parts, recomputed blocks. */
#include "core/base/fs.h"
#include "tests/support/folder.h"
#include "tests/support/training.h"

static const uint16_t deep[] = {0, 1, 2, 1, 0, 1}; /* mA M Mb M mA M */

static small open_deep(const char *keys, int threads) {
    char text[512];
    snprintf(text, sizeof text, "steps: 12, clip: 1, optimizer: {use: adamw, lr: 3e-3}, %s", keys);
    return open_layers(text, deep, 6, threads, 3);
}

static aira__curve curve_of(const char *keys, double *loss) {
    aira_error error = {0};
    small s = open_deep(keys, 1);
    aira__curve curve = run_small(&s, 0);
    aira__scores scores;
    cr_assert_eq(aira__training_evaluate(s.training, AIRA_SPLIT_TEST, &scores, &error), AIRA_OK, "%s", error.text);
    *loss = scores.loss;
    close_small(&s);
    return curve;
}

static uint64_t activations_of(const char *keys) {
    aira__footprint need;
    small s = open_deep(keys, 1);
    aira__training_memory(s.training, &need);
    close_small(&s);
    return need.activations;
}

/* 20 training rows: a batch of 12 leaves 8, which in parts of 6 are one whole part and a smaller one. */
Test(train_memory, a_batch_in_parts_is_the_batch) {
    const char *const batches[] = {"batch: 8", "batch: 12", "batch: 12"};
    const int parts[] = {4, 2, 6};
    for (int k = 0; k < 3; k++) {
        char whole_keys[64], part_keys[128];
        double whole_loss, part_loss;
        snprintf(whole_keys, sizeof whole_keys, "%s, precision: fp64", batches[k]);
        snprintf(part_keys, sizeof part_keys, "%s, accumulate: %d", whole_keys, parts[k]);
        aira__curve whole = curve_of(whole_keys, &whole_loss), part = curve_of(part_keys, &part_loss);
        cr_assert_eq(whole.n, 12);
        cr_assert_eq(part.n, 12);
        for (int j = 0; j < 12; j++) {
            cr_expect_float_eq(whole.points[j].loss, part.points[j].loss, 1e-12, "%s in %d, step %d: %.15g, %.15g",
                               batches[k], parts[k], j, whole.points[j].loss, part.points[j].loss);
        }
        cr_expect_float_eq(whole_loss, part_loss, 1e-12);
        free(whole.points);
        free(part.points);
    }
}

Test(train_memory, parts_that_are_not_equal_are_refused) {
    small s = {0};
    aira_error error = {0};
    s = open_deep("batch: 8", 1);
    aira__recipe odd = s.task->proxies[0].recipe;
    odd.accumulate = 3;
    aira__training *training;
    aira__training_options options = {.device = s.engine.device,
                                      .device_self = s.engine.self,
                                      .backbone = s.task->backbone->plugin->table,
                                      .backbone_self = s.task->backbone->self,
                                      .layers = s.layers,
                                      .n_layers = 6,
                                      .dataset = s.task->proxies[0].dataset,
                                      .info = &s.task->proxies[0].info,
                                      .recipe = &odd,
                                      .seed = 3,
                                      .causal = true};
    cr_assert_eq(aira__training_create(&options, &training, &error), AIRA_E_CONFIG);
    cr_assert_not_null(strstr(error.text, "no 3 equal parts"), "%s", error.text);
    close_small(&s);
}

Test(train_memory, a_resumed_training_in_parts_continues_bit_for_bit) {
    test_folder folder;
    test_folder_make(&folder);
    char *path = aira__path_join(folder.path, "checkpoint.safetensors");
    const char keys[] = "batch: 12, accumulate: 2, recompute: block";
    aira_error error = {0};
    small whole = open_deep(keys, 1), first = open_deep(keys, 2), second = open_deep(keys, 2);
    aira__curve all = run_small(&whole, 0), start = run_small(&first, 5);
    cr_assert_eq(aira__training_save_checkpoint(first.training, path, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__training_load_checkpoint(second.training, path, &error), AIRA_OK, "%s", error.text);
    aira__curve rest = run_small(&second, 0);
    cr_assert_eq(start.n + rest.n, all.n);
    for (int k = 0; k < all.n; k++) {
        const aira__point *p = k < start.n ? &start.points[k] : &rest.points[k - start.n];
        cr_expect(memcmp(&all.points[k].loss, &p->loss, sizeof p->loss) == 0, "step %d", k);
    }
    free(all.points);
    free(start.points);
    free(rest.points);
    close_small(&whole);
    close_small(&first);
    close_small(&second);
    free(path);
    test_folder_remove(&folder);
}

/* Under bf16 a value that lives inside an elementwise chain is not rounded, and what is inside depends on who else
   reads it: there the results are alike, not equal. */
Test(train_memory, recomputed_blocks_change_no_bit) {
    const char *const precisions[] = {"fp32", "fp64", "bf16"};
    for (int p = 0; p < 3; p++) {
        char plain[64], again[128];
        double plain_loss, again_loss, worst = 0;
        snprintf(plain, sizeof plain, "batch: 8, precision: %s", precisions[p]);
        snprintf(again, sizeof again, "%s, recompute: block", plain);
        aira__curve a = curve_of(plain, &plain_loss), b = curve_of(again, &again_loss);
        cr_assert_eq(a.n, b.n);
        for (int k = 0; k < a.n; k++) {
            worst = fmax(worst, fabs(a.points[k].loss - b.points[k].loss) / a.points[k].loss);
        }
        printf("%s: losses differ by %.2g at most\n", precisions[p], worst);
        if (p < 2) {
            cr_expect(same_curve(&a, &b), "%s", precisions[p]);
            cr_expect_eq(plain_loss, again_loss, "%s: %.17g and %.17g", precisions[p], plain_loss, again_loss);
        } else {
            cr_expect_lt(worst, 0.02);
        }
        free(a.points);
        free(b.points);
    }
}

Test(train_memory, less_memory_is_predicted) {
    uint64_t plain = activations_of("batch: 20"), again = activations_of("batch: 20, recompute: block");
    uint64_t parts = activations_of("batch: 20, accumulate: 2");
    uint64_t both = activations_of("batch: 20, accumulate: 2, recompute: block");
    printf("activations: %llu bytes, recomputed %llu, in 2 parts %llu, both %llu\n", (unsigned long long)plain,
           (unsigned long long)again, (unsigned long long)parts, (unsigned long long)both);
    cr_expect_lt(2 * again, plain);
    cr_expect_lt(1.5 * (double)parts, (double)plain);
    cr_expect_lt(both, parts);
}
