/* gpu_profile.c - where the time of a training step goes on the cuda device.
 *
 *     bench_gpu_profile --arch "8mA 8M" [--length 128] [--batch 128] [--steps 50] [--precision bf16] [--rows 30]
 *
 * Tokens mA, M, Mb (Mamba-1, state 4), S (Mamba-2, state 128), Sg (SwiGLU) at d = 128. Prints the milliseconds of a
 * step as one launch, the sum of its parts measured one by one, and the dearest kinds of step (same operation and
 * shapes) with their share. Exit status 77: no GPU here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/compose/notation.h"
#include "core/engine/session.h"
#include "core/graph/graph.h"
#include "core/train/step.h"
#include "core/train/task.h"
#include "tests/support/engine.h"

enum { VOCAB = 16, MAX_LAYERS = 64, MAX_KINDS = 1024 };

typedef struct token {
    const char *name, *keys;
    aira__instance *instance;
} token;

static token tokens[] = {{"mA", "{\"use\": \"attention\"}", NULL},
                         {"M", "{\"use\": \"mlp\"}", NULL},
                         {"Mb", "{\"use\": \"mamba\"}", NULL},
                         {"S", "{\"use\": \"mamba2\", \"state\": 128}", NULL},
                         {"Sg", "{\"use\": \"swiglu\"}", NULL}};
#define N_TOKENS (sizeof tokens / sizeof *tokens)

typedef struct kind {
    char what[400];
    unsigned op;
    int n;
    double us;
} kind;

static void stop(const char *text) {
    fprintf(stderr, "bench_gpu_profile: %s\n", text);
    exit(1);
}

static aira__instance *plugin(aira__registry *registry, const char *kind_name, const char *keys) {
    aira__instance *made = NULL;
    aira_error error = {0};
    json_t *json = json_loads(keys, 0, NULL);
    if (aira__instance_create_json(registry, kind_name, json, &made, &error) != AIRA_OK) stop(error.text);
    json_decref(json);
    return made;
}

static uint32_t read_layers(aira__registry *registry, const char *arch, aira__layer *layers) {
    const char *names[N_TOKENS];
    uint16_t indices[MAX_LAYERS];
    aira_error error = {0};
    int n = 0;
    for (size_t k = 0; k < N_TOKENS; k++) names[k] = tokens[k].name;
    if (aira__notation_parse(arch, names, (int)N_TOKENS, indices, MAX_LAYERS, &n, &error) != AIRA_OK) stop(error.text);
    for (int k = 0; k < n; k++) {
        token *t = &tokens[indices[k]];
        if (!t->instance) t->instance = plugin(registry, "primitive", t->keys);
        layers[k] = (aira__layer){t->name, t->instance->plugin->id, t->keys, t->instance->plugin->table,
                                  t->instance->self};
    }
    return (uint32_t)n;
}

static int dearer(const void *a, const void *b) {
    double x = ((const kind *)a)->us, y = ((const kind *)b)->us;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void print_trace(const char *path, int rows) {
    static kind kinds[MAX_KINDS];
    char line[4096];
    int n = 0, steps = 0;
    double all = 0;
    FILE *f = fopen(path, "r");
    if (!f) stop("no trace was written");
    while (fgets(line, sizeof line, f)) {
        unsigned step, op;
        double us;
        int at = 0, k = 0;
        if (sscanf(line, "%u\t%u\t%lf\t%n", &step, &op, &us, &at) < 3) continue;
        line[strcspn(line, "\n")] = 0;
        for (k = 0; k < n && (kinds[k].op != op || strncmp(kinds[k].what, line + at, sizeof kinds[k].what - 1)); k++)
            continue;
        if (k == MAX_KINDS) continue;
        if (k == n) {
            kinds[n++].op = op;
            snprintf(kinds[k].what, sizeof kinds[k].what, "%.399s", line + at);
        }
        kinds[k].n++;
        kinds[k].us += us;
        all += us;
        steps++;
    }
    fclose(f);
    qsort(kinds, (size_t)n, sizeof *kinds, dearer);
    printf("parts: %d steps of %d kinds, together %.3f ms\n", steps, n, all / 1000);
    for (int k = 0; k < n && k < rows; k++)
        printf("%5.1f %%  %3d x %7.2f us  %-22s %.170s\n", 100 * kinds[k].us / all, kinds[k].n,
               kinds[k].us / kinds[k].n, aira__op_name(kinds[k].op), kinds[k].what);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double run_steps(aira__session *s, int steps, double *first) {
    aira_error error = {0};
    double *times = calloc((size_t)steps, sizeof *times);
    for (int k = -3; k < steps; k++) {
        float step = (float)(k + 4), loss;
        double start = aira__now();
        if (aira__session_set_input(s, 0, "step", 0, &step, sizeof step, &error) != AIRA_OK ||
            aira__session_run(s, 0, &error) != AIRA_OK ||
            aira__session_get_output(s, 0, "loss", 0, &loss, sizeof loss, &error) != AIRA_OK)
            stop(error.text);
        if (k == -3) *first = aira__now() - start;
        if (k >= 0) times[k] = 1000 * (aira__now() - start);
    }
    qsort(times, (size_t)steps, sizeof *times, by_value);
    double median = times[steps / 2];
    free(times);
    return median;
}

typedef struct shape {
    uint32_t batch, length, precision;
} shape;

/* Builds, runs and prints one session; trace: "" or the file that the device writes. */
static void measure(aira__registry *registry, const char *arch, shape sizes, int steps, const char *trace) {
    char keys[512];
    aira_error error = {0};
    aira__layer layers[MAX_LAYERS];
    snprintf(keys, sizeof keys, "{\"use\": \"cuda\", \"trace\": \"%s\"}", trace);
    aira__instance *cuda = plugin(registry, "device", keys),
                   *backbone = plugin(registry, "backbone", "{\"use\": \"mad_lm\"}");
    aira__recipe recipe;
    aira__diagnostics *d = aira__diagnostics_create();
    if (!aira__recipe_read(registry, NULL, &recipe, d)) stop(aira__diagnostics_text(d));
    double start = aira__now(), first = 0;
    aira__model_spec spec = {.backbone = backbone->plugin->table,
                             .backbone_self = backbone->self,
                             .layers = layers,
                             .n_layers = read_layers(registry, arch, layers),
                             .vocab = VOCAB,
                             .classes = VOCAB,
                             .batch = sizes.batch,
                             .input_length = sizes.length,
                             .target_length = sizes.length,
                             .compute_dtype = sizes.precision,
                             .causal = true};
    aira_graph *graph = aira__step_build(&spec, &recipe, &error);
    if (graph == NULL) stop(error.text);
    size_t n = (size_t)sizes.batch * sizes.length;
    int32_t *ids = malloc(n * sizeof *ids), *targets = malloc(n * sizeof *targets);
    aira_rng r = aira_rng_make(1, 0);
    for (size_t k = 0; k < n; k++) {
        ids[k] = (int32_t)aira_rng_below(&r, VOCAB);
        targets[k] = (int32_t)aira_rng_below(&r, VOCAB);
    }
    aira__session *s = NULL;
    uint64_t seed = 1;
    float lr = 5e-4f;
    if (aira__session_create(cuda->plugin->table, cuda->self, NULL, &graph, 1, NULL, &s, &error) != AIRA_OK ||
        aira__session_initialise(s, &seed, &error) != AIRA_OK ||
        aira__session_set_input(s, 0, "tokens", 0, ids, n * sizeof *ids, &error) != AIRA_OK ||
        aira__session_set_input(s, 0, "targets", 0, targets, n * sizeof *targets, &error) != AIRA_OK ||
        aira__session_set_input(s, 0, "lr", 0, &lr, sizeof lr, &error) != AIRA_OK)
        stop(error.text);
    double built = aira__now() - start;
    if (trace[0]) {
        (void)run_steps(s, 1, &first);
    } else {
        double ms = run_steps(s, steps, &first);
        printf("%s  B=%u T=%u  %.3f ms a step (median of %d); built in %.1f ms, first step %.1f ms\n", arch,
               sizes.batch, sizes.length, ms, steps, 1000 * built, 1000 * first);
    }
    free(ids);
    free(targets);
    aira__session_destroy(s);
    aira__graph_destroy(graph);
    aira__recipe_release(&recipe);
    aira__diagnostics_destroy(d);
    aira__instance_destroy(backbone);
    aira__instance_destroy(cuda);
}

int main(int argc, char **argv) {
    const char *arch = "8mA 8M";
    shape sizes = {128, 128, AIRA_BF16};
    int steps = 50, rows = 30;
    for (int k = 1; k + 1 < argc; k += 2) {
        if (!strcmp(argv[k], "--arch"))
            arch = argv[k + 1];
        else if (!strcmp(argv[k], "--length"))
            sizes.length = (uint32_t)atoi(argv[k + 1]);
        else if (!strcmp(argv[k], "--batch"))
            sizes.batch = (uint32_t)atoi(argv[k + 1]);
        else if (!strcmp(argv[k], "--steps"))
            steps = atoi(argv[k + 1]);
        else if (!strcmp(argv[k], "--rows"))
            rows = atoi(argv[k + 1]);
        else if (!strcmp(argv[k], "--precision"))
            sizes.precision = strcmp(argv[k + 1], "fp32") ? AIRA_BF16 : AIRA_F32;
        else
            stop("usage: bench_gpu_profile [--arch A] [--length T] [--batch B] [--steps N] [--precision bf16|fp32]");
    }
    if (getenv("AIRA_BUILD_DIR") == NULL) setenv("AIRA_BUILD_DIR", "build", 0);
    test_engine engine = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    char trace[] = "/tmp/aira-trace-XXXXXX";
    int fd = mkstemp(trace);
    if (fd < 0) stop("no temporary file");
    close(fd);
    measure(engine.registry, arch, sizes, steps, "");
    if (rows > 0) {
        measure(engine.registry, arch, sizes, 1, trace);
        print_trace(trace, rows);
    }
    unlink(trace);
    for (size_t k = 0; k < N_TOKENS; k++) aira__instance_destroy(tokens[k].instance);
    test_engine_close(&engine);
    return 0;
}
