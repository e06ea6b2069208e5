/* train_recipe.c - schedules, presets, bounds, and the canonical form of recipes. */
#include <criterion/criterion.h>
#include <math.h>

#include "aira/optimizer.h"
#include "core/base/json.h"
#include "core/train/recipe.h"
#include "tests/support/engine.h"

typedef struct parsed {
    aira__document *document;
    aira__diagnostics *d;
    aira__recipe recipe;
    bool good;
} parsed;

static parsed parse(aira__registry *registry, const char *text) {
    parsed p = {.d = aira__diagnostics_create()};
    p.document = aira__document_parse(text, "recipe.yaml", p.d);
    cr_assert_not_null(p.document, "%s", aira__diagnostics_text(p.d));
    p.good = aira__recipe_read(registry, aira__document_root(p.document), &p.recipe, p.d);
    cr_assert_eq(p.good, aira__diagnostics_count(p.d) == 0);
    return p;
}

static void release(parsed *p) {
    aira__recipe_release(&p->recipe);
    aira__document_destroy(p->document);
    aira__diagnostics_destroy(p->d);
}

Test(train_recipe, schedules) {
    aira__schedule constant = {AIRA_SCHEDULE_CONSTANT, 4, 0, 0};
    cr_assert_float_eq(aira__schedule_rate(&constant, 8, 0, 10, 0), 2, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&constant, 8, 3, 10, 0), 8, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&constant, 8, 9, 10, 0), 8, 1e-12);
    aira__schedule cosine = {AIRA_SCHEDULE_COSINE, 0, 1, 0};
    cr_assert_float_eq(aira__schedule_rate(&cosine, 3, 0, 100, 0), 3, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&cosine, 3, 25, 100, 0), 2 + cos(M_PI / 4), 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&cosine, 3, 50, 100, 0), 2, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&cosine, 3, 100, 100, 0), 1, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&cosine, 3, 7, 0, 0.5), 2, 1e-12, "bounded in seconds: by progress");
    aira__schedule trapezoid = {AIRA_SCHEDULE_TRAPEZOID, 10, 0, 0.5};
    cr_assert_float_eq(aira__schedule_rate(&trapezoid, 4, 4, 110, 0), 2, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&trapezoid, 4, 60, 110, 0), 4, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&trapezoid, 4, 85, 110, 0), 2, 1e-12);
    cr_assert_float_eq(aira__schedule_rate(&trapezoid, 4, 110, 110, 0), 0, 1e-12);
}

Test(train_recipe, presets_fill_and_written_keys_win) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    parsed p = parse(e.registry, "preset: madlab\n");
    cr_assert(p.good, "%s", aira__diagnostics_text(p.d));
    cr_assert_eq(p.recipe.epochs, 200);
    cr_assert_eq(p.recipe.batch, 128);
    cr_assert_eq(p.recipe.precision, AIRA_F32);
    cr_assert_float_eq(p.recipe.early_stop, 0.999, 0);
    cr_assert_float_eq(p.recipe.clip, 0, 0);
    cr_assert_eq(p.recipe.schedule.kind, AIRA_SCHEDULE_CONSTANT);
    cr_assert_float_eq(aira__json_real(p.recipe.optimizer->canonical, "lr", 0), 5e-4, 0);
    cr_assert_float_eq(aira__json_real(p.recipe.optimizer->canonical, "beta2", 0), 0.999, 0);
    cr_assert_eq(aira__recipe_steps(&p.recipe, 128, 12800, 127), 20000);
    cr_assert_eq(aira__recipe_steps(&p.recipe, 128, 800, 127), 1400);
    release(&p);
    p = parse(e.registry, "preset: paper\nsteps: 50\noptimizer: {use: adamw, lr: 1e-3, weight_decay: 0.1}\n");
    cr_assert(p.good, "%s", aira__diagnostics_text(p.d));
    cr_assert_eq(p.recipe.epochs, 0);
    cr_assert_eq(aira__recipe_steps(&p.recipe, 128, 12800, 127), 50);
    cr_assert_eq(p.recipe.schedule.kind, AIRA_SCHEDULE_COSINE);
    cr_assert_float_eq(p.recipe.schedule.final, 1e-6, 0);
    cr_assert_float_eq(aira__json_real(p.recipe.optimizer->canonical, "lr", 0), 1e-3, 0);
    cr_assert_float_eq(aira__json_real(p.recipe.optimizer->canonical, "beta2", 0), 0.98, 0);
    const aira_optimizer *table = p.recipe.optimizer->plugin->table;
    cr_assert_float_eq(table->learning_rate(p.recipe.optimizer->self), 1e-3, 0);
    aira__recipe again;
    aira_error error = {0};
    char a[65], b[65];
    cr_assert_eq(aira__recipe_read_json(e.registry, p.recipe.canonical, &again, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__json_hash(p.recipe.canonical, a, &error), AIRA_OK);
    cr_assert_eq(aira__json_hash(again.canonical, b, &error), AIRA_OK);
    cr_assert_str_eq(a, b);
    cr_assert_eq(again.steps, 50);
    cr_assert_float_eq(again.schedule.final, 1e-6, 0);
    aira__recipe_release(&again);
    release(&p);
    p = parse(e.registry, "tokens: 1M\nbatch: 10\nprecision: bf16\n");
    cr_assert(p.good, "%s", aira__diagnostics_text(p.d));
    cr_assert_eq(aira__recipe_steps(&p.recipe, 10, 0, 1000), 100);
    cr_assert_eq(p.recipe.precision, AIRA_BF16);
    release(&p);
    test_engine_close(&e);
}

Test(train_recipe, mistakes_are_named) {
    test_engine e = test_engine_open("{\"use\": \"cpu\"}");
    const char *const cases[][2] = {{"batch: 8\n", "exactly one of steps"},
                                    {"steps: 5\nepochs: 2\n", "there are several"},
                                    {"steps: 5\npreset: madlib\n", "unknown preset 'madlib'"},
                                    {"steps: 5\nstep: 3\n", "step"},
                                    {"steps: 5\nschedule: {final: 0.1}\n", "has no effect"},
                                    {"steps: 5\nschedule: {kind: cosine, decay: 0.1}\n", "trapezoid only"},
                                    {"steps: 5\noptimizer: {use: adamv}\n", "adamw"},
                                    {"steps: -5\n", "steps"},
                                    {"- 1\n", "mapping"}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        parsed p = parse(e.registry, cases[k][0]);
        cr_assert_not(p.good, "accepted: %s", cases[k][0]);
        cr_assert_not_null(strstr(aira__diagnostics_text(p.d), cases[k][1]), "%s gives %s", cases[k][0],
                           aira__diagnostics_text(p.d));
        release(&p);
    }
    test_engine_close(&e);
}
