/* cpu_blocks.c - whole training steps, whose steps the device runs over blocks of sequences: they agree with the
 * reference kernels, which never do, and do not depend on threads or on copies.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "core/engine/session.h"
#include "core/train/step.h"
#include "core/train/task.h"
#include "tests/support/engine.h"

enum { BATCH = 35, LENGTH = 24, VOCAB = 11, STEPS = 3, MAX_COPIES = 5, MAX_LAYERS = 6 };

typedef struct figures {
    float loss[STEPS][MAX_COPIES], norm[STEPS][MAX_COPIES];
} figures;

static aira__instance *plugin(const test_engine *e, const char *kind, const char *keys) {
    aira__instance *made = NULL;
    aira_error error = {0};
    json_t *json = json_loads(keys, 0, NULL);
    cr_assert_eq(aira__instance_create_json(e->registry, kind, json, &made, &error), AIRA_OK, "%s", error.text);
    json_decref(json);
    return made;
}

/* Copy c has the tokens and the initial values of seed first + c. */
static void run_steps(const test_engine *e, aira_graph *graph, uint32_t copies, uint64_t first, figures *f) {
    static int32_t tokens[BATCH * LENGTH], targets[BATCH * LENGTH];
    aira__session_options options = {.copies = copies};
    aira__session *s = NULL;
    aira_error error = {0};
    uint64_t seeds[MAX_COPIES];
    float lr = 1e-3f;
    for (uint32_t c = 0; c < copies; c++) seeds[c] = first + c;
    cr_assert_eq(aira__session_create(e->device, e->self, e->host, &graph, 1, &options, &s, &error), AIRA_OK, "%s",
                 error.text);
    cr_assert_eq(aira__session_initialise(s, seeds, &error), AIRA_OK, "%s", error.text);
    for (uint32_t c = 0; c < copies; c++) {
        aira_rng r = aira_rng_make(first + c, 0);
        for (int k = 0; k < BATCH * LENGTH; k++) {
            tokens[k] = (int32_t)aira_rng_below(&r, VOCAB);
            targets[k] = k % 7 == 0 ? -1 : (int32_t)aira_rng_below(&r, VOCAB);
        }
        cr_assert_eq(aira__session_set_input(s, 0, "tokens", c, tokens, sizeof tokens, &error), AIRA_OK);
        cr_assert_eq(aira__session_set_input(s, 0, "targets", c, targets, sizeof targets, &error), AIRA_OK);
        cr_assert_eq(aira__session_set_input(s, 0, "lr", c, &lr, sizeof lr, &error), AIRA_OK);
    }
    for (int k = 0; k < STEPS; k++) {
        float step = (float)(k + 1);
        for (uint32_t c = 0; c < copies; c++) aira__session_set_input(s, 0, "step", c, &step, sizeof step, &error);
        cr_assert_eq(aira__session_run(s, 0, &error), AIRA_OK, "%s", error.text);
        for (uint32_t c = 0; c < copies; c++) {
            aira__session_get_output(s, 0, "loss", c, &f->loss[k][c], sizeof(float), &error);
            aira__session_get_output(s, 0, "grad_norm", c, &f->norm[k][c], sizeof(float), &error);
        }
    }
    aira__session_destroy(s);
}

/* Losses and gradient norms of a small net on a device that keys describe. */
static figures measure(const char *keys, const char *const *primitives, int n, uint32_t precision, uint32_t copies,
                       uint64_t first) {
    test_engine e = test_engine_open(keys);
    aira__instance *made[MAX_LAYERS], *backbone = plugin(&e, "backbone", "{\"use\": \"mad_lm\", \"width\": 64}");
    aira__layer layers[MAX_LAYERS];
    aira__recipe recipe;
    aira_error error = {0};
    figures f = {0};
    aira__diagnostics *d = aira__diagnostics_create();
    cr_assert(aira__recipe_read(e.registry, NULL, &recipe, d), "%s", aira__diagnostics_text(d));
    for (int k = 0; k < n; k++) {
        char text[64];
        snprintf(text, sizeof text, "{\"use\": \"%s\"}", primitives[k]);
        made[k] = plugin(&e, "primitive", text);
        layers[k] = (aira__layer){primitives[k], made[k]->plugin->id, "{}", made[k]->plugin->table, made[k]->self};
    }
    aira__model_spec spec = {.backbone = backbone->plugin->table,
                             .backbone_self = backbone->self,
                             .layers = layers,
                             .n_layers = (uint32_t)n,
                             .vocab = VOCAB,
                             .classes = VOCAB,
                             .batch = BATCH,
                             .input_length = LENGTH,
                             .target_length = LENGTH,
                             .compute_dtype = precision,
                             .causal = true};
    aira_graph *graph = aira__step_build(&spec, &recipe, &error);
    cr_assert_not_null(graph, "%s", error.text);
    run_steps(&e, graph, copies, first, &f);
    aira__graph_destroy(graph);
    for (int k = 0; k < n; k++) aira__instance_destroy(made[k]);
    aira__instance_destroy(backbone);
    aira__recipe_release(&recipe);
    aira__diagnostics_destroy(d);
    test_engine_close(&e);
    return f;
}

static bool close_to(float a, float b, double tolerance) { return fabs(a - b) <= tolerance * (1 + fabs(b)); }

static const char *const nets[][2] = {
    {"attention", "mlp"}, {"swiglu", "linear_attention"}, {"mamba", "mlp"}, {"mamba2", "attention"}};
enum { NETS = sizeof nets / sizeof *nets };

Test(cpu_blocks, agree_with_the_reference) {
    for (int k = 0; k < NETS; k++) {
        figures fast = measure("{\"use\": \"cpu\", \"threads\": 2}", nets[k], 2, AIRA_F32, 1, 5);
        figures slow = measure("{\"use\": \"cpu\", \"isa\": \"reference\"}", nets[k], 2, AIRA_F32, 1, 5);
        for (int s = 0; s < STEPS; s++) {
            cr_expect(close_to(fast.loss[s][0], slow.loss[s][0], 2e-5), "%s %s: loss %g, reference %g, step %d",
                      nets[k][0], nets[k][1], fast.loss[s][0], slow.loss[s][0], s);
            cr_expect(close_to(fast.norm[s][0], slow.norm[s][0], 2e-4), "%s %s: norm %g, reference %g, step %d",
                      nets[k][0], nets[k][1], fast.norm[s][0], slow.norm[s][0], s);
        }
    }
}

Test(cpu_blocks, do_not_depend_on_threads) {
    for (int k = 0; k < NETS; k++) {
        for (uint32_t precision = AIRA_F32; precision <= AIRA_BF16; precision++) {
            if (precision == AIRA_F64) continue;
            figures one = measure("{\"use\": \"cpu\", \"threads\": 1}", nets[k], 2, precision, 1, 9);
            for (int threads = 2; threads <= 3; threads++) {
                char keys[64];
                snprintf(keys, sizeof keys, "{\"use\": \"cpu\", \"threads\": %d}", threads);
                figures more = measure(keys, nets[k], 2, precision, 1, 9);
                cr_expect(memcmp(&one, &more, sizeof one) == 0, "%s %s: %d threads differ", nets[k][0], nets[k][1],
                          threads);
            }
        }
    }
}

Test(cpu_blocks, do_not_depend_on_copies) {
    for (int k = 0; k < NETS; k++) {
        figures stacked = measure("{\"use\": \"cpu\", \"threads\": 2}", nets[k], 2, AIRA_F32, MAX_COPIES, 20);
        for (uint32_t c = 0; c < MAX_COPIES; c += 2) {
            figures alone = measure("{\"use\": \"cpu\", \"threads\": 2}", nets[k], 2, AIRA_F32, 1, 20 + c);
            for (int s = 0; s < STEPS; s++) {
                cr_expect(memcmp(&alone.loss[s][0], &stacked.loss[s][c], sizeof(float)) == 0 &&
                              memcmp(&alone.norm[s][0], &stacked.norm[s][c], sizeof(float)) == 0,
                          "%s %s: copy %u differs", nets[k][0], nets[k][1], c);
            }
        }
    }
}
