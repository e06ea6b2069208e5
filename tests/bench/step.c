/* step.c - one training step of 8 x (mA M), d = 128, B = 128, T = 128, V = 16, beside PyTorch on the same machine.
 *
 *     bench_step [--threads 2] [--steps 5] [--pairs 8] [--isa auto] [--torch PYTHON]
 *
 * Prints the median milliseconds of a step in fp32 and bf16, PyTorch's best mode of the same precision, and the ratio
 * PyTorch / ours. --torch names a Python that has PyTorch; without it only our figures are printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/engine/session.h"
#include "core/train/step.h"
#include "core/train/task.h"
#include "tests/support/engine.h"

enum { BATCH = 128, LENGTH = 128, VOCAB = 16, MAX_PAIRS = 64 };

typedef struct bench {
    int threads, steps, pairs;
    const char *isa, *torch;
    test_engine engine;
    aira__instance *attention, *mlp, *backbone;
    aira__recipe recipe;
} bench;

static void stop(const char *text) {
    fprintf(stderr, "bench_step: %s\n", text);
    exit(1);
}

static aira__instance *plugin(const bench *b, const char *kind, const char *keys) {
    aira__instance *made = NULL;
    aira_error error = {0};
    json_t *json = json_loads(keys, 0, NULL);
    if (aira__instance_create_json(b->engine.registry, kind, json, &made, &error) != AIRA_OK) stop(error.text);
    json_decref(json);
    return made;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Runs the step graph of a session that is ready; the median in ms. */
static double time_steps(const bench *b, aira__session *s) {
    aira_error error = {0};
    double times[256];
    int n = b->steps < 256 ? b->steps : 256;
    for (int k = -2; k < n; k++) {
        float step = (float)(k + 3), loss;
        double start = aira__now();
        if (aira__session_set_input(s, 0, "step", 0, &step, sizeof step, &error) != AIRA_OK ||
            aira__session_run(s, 0, &error) != AIRA_OK ||
            aira__session_get_output(s, 0, "loss", 0, &loss, sizeof loss, &error) != AIRA_OK)
            stop(error.text);
        if (k >= 0) times[k] = 1000 * (aira__now() - start);
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    return times[n / 2];
}

static double measure(bench *b, uint32_t precision) {
    static int32_t tokens[BATCH * LENGTH], targets[BATCH * LENGTH];
    aira__layer layers[2 * MAX_PAIRS];
    aira_error error = {0};
    for (int k = 0; k < 2 * b->pairs; k++) {
        const aira__instance *i = k % 2 == 0 ? b->attention : b->mlp;
        layers[k] = (aira__layer){k % 2 == 0 ? "mA" : "M", i->plugin->id, "{}", i->plugin->table, i->self};
    }
    aira__model_spec spec = {.backbone = b->backbone->plugin->table,
                             .backbone_self = b->backbone->self,
                             .layers = layers,
                             .n_layers = (uint32_t)(2 * b->pairs),
                             .vocab = VOCAB,
                             .classes = VOCAB,
                             .batch = BATCH,
                             .input_length = LENGTH,
                             .target_length = LENGTH,
                             .compute_dtype = precision,
                             .causal = true};
    aira_graph *graph = aira__step_build(&spec, &b->recipe, &error);
    if (graph == NULL) stop(error.text);
    aira__session *s = NULL;
    uint64_t seed = 1;
    float lr = 5e-4f;
    aira_rng r = aira_rng_make(1, 0);
    for (int k = 0; k < BATCH * LENGTH; k++) {
        tokens[k] = (int32_t)aira_rng_below(&r, VOCAB);
        targets[k] = (int32_t)aira_rng_below(&r, VOCAB);
    }
    if (aira__session_create(b->engine.device, b->engine.self, b->engine.host, &graph, 1, NULL, &s, &error) !=
            AIRA_OK ||
        aira__session_initialise(s, &seed, &error) != AIRA_OK ||
        aira__session_set_input(s, 0, "tokens", 0, tokens, sizeof tokens, &error) != AIRA_OK ||
        aira__session_set_input(s, 0, "targets", 0, targets, sizeof targets, &error) != AIRA_OK ||
        aira__session_set_input(s, 0, "lr", 0, &lr, sizeof lr, &error) != AIRA_OK)
        stop(error.text);
    double ms = time_steps(b, s);
    aira__session_destroy(s);
    aira__graph_destroy(graph);
    return ms;
}

static json_t *ask_torch(const bench *b) {
    char command[2048], line[4096];
    json_t *result = NULL;
    snprintf(command, sizeof command, "'%s' '%s/tests/bench/step_torch.py' --threads %d --steps %d --layers %d",
             b->torch, getenv("AIRA_SOURCE_DIR") != NULL ? getenv("AIRA_SOURCE_DIR") : ".", b->threads, b->steps,
             b->pairs);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) stop("PyTorch could not be started");
    while (fgets(line, sizeof line, pipe) != NULL) {
        json_t *parsed = json_loads(line, 0, NULL);
        if (parsed != NULL) result = parsed;
    }
    if (pclose(pipe) != 0 || result == NULL) stop("PyTorch gave no figures");
    return result;
}

static void print_row(const char *precision, double ours, const json_t *torch) {
    char eager[32], compiled[32];
    snprintf(eager, sizeof eager, "eager_%s", precision);
    snprintf(compiled, sizeof compiled, "compile_%s", precision);
    double a = json_number_value(json_object_get(torch, eager)),
           c = json_number_value(json_object_get(torch, compiled));
    double best = c > 0 && c < a ? c : a;
    printf("%s  aira %.1f ms", precision, ours);
    if (torch != NULL) printf("  PyTorch eager %.1f, compile %.1f, best %.1f ms  ratio %.2f", a, c, best, best / ours);
    printf("\n");
}

int main(int argc, char **argv) {
    bench b = {.threads = 2, .steps = 5, .pairs = 8, .isa = "auto"};
    for (int k = 1; k + 1 < argc; k += 2) {
        if (strcmp(argv[k], "--threads") == 0)
            b.threads = atoi(argv[k + 1]);
        else if (strcmp(argv[k], "--steps") == 0)
            b.steps = atoi(argv[k + 1]);
        else if (strcmp(argv[k], "--pairs") == 0)
            b.pairs = atoi(argv[k + 1]);
        else if (strcmp(argv[k], "--isa") == 0)
            b.isa = argv[k + 1];
        else if (strcmp(argv[k], "--torch") == 0)
            b.torch = argv[k + 1];
        else
            stop("usage: bench_step [--threads N] [--steps N] [--pairs N] [--isa NAME] [--torch PYTHON]");
    }
    if (b.pairs < 1 || b.pairs > MAX_PAIRS || b.steps < 1) stop("--pairs is 1..64, --steps at least 1");
    char keys[128];
    snprintf(keys, sizeof keys, "{\"use\": \"cpu\", \"threads\": %d, \"isa\": \"%s\"}", b.threads, b.isa);
    if (getenv("AIRA_BUILD_DIR") == NULL) setenv("AIRA_BUILD_DIR", "build", 0);
    b.engine = test_engine_open(keys);
    b.attention = plugin(&b, "primitive", "{\"use\": \"attention\"}");
    b.mlp = plugin(&b, "primitive", "{\"use\": \"mlp\"}");
    b.backbone = plugin(&b, "backbone", "{\"use\": \"mad_lm\"}");
    aira__diagnostics *d = aira__diagnostics_create();
    if (!aira__recipe_read(b.engine.registry, NULL, &b.recipe, d)) stop(aira__diagnostics_text(d));
    double fp32 = measure(&b, AIRA_F32), bf16 = measure(&b, AIRA_BF16);
    json_t *torch = b.torch != NULL ? ask_torch(&b) : NULL;
    printf("one training step of %d x (mA M), d 128, batch %d, length %d, %d threads", b.pairs, BATCH, LENGTH,
           b.threads);
    if (torch != NULL) printf("; PyTorch %s", json_string_value(json_object_get(torch, "torch")));
    printf("\n");
    print_row("fp32", fp32, torch);
    print_row("bf16", bf16, torch);
    json_decref(torch);
    aira__diagnostics_destroy(d);
    aira__recipe_release(&b.recipe);
    aira__instance_destroy(b.attention);
    aira__instance_destroy(b.mlp);
    aira__instance_destroy(b.backbone);
    test_engine_close(&b.engine);
    return 0;
}
