/* source_to_step.c - from the text of a mechanism to the end of the first training step, nothing known before.
 *
 *     bench_source_to_step SOURCE.c [--repeat 15]
 *
 * Every repetition compiles a text that was never seen (a comment differs), reads a task with it (4 layers, width 64,
 * MAD memorization, batch 32), builds the model, and makes one step. Prints medians and the best: the whole, the
 * compiler, and confinement, which is the wall time of every run in the sandbox less the time that the command itself
 * ran.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/sandbox/foreign.h"
#include "core/train/task.h"
#include "core/train/training.h"
#include "tests/support/engine.h"

enum { MAX_REPEAT = 200 };

static const char task_text[] = "task: bench\n"
                                "candidate: {kind: compose, layers: 4, backbone: {use: mad_lm, width: 64}}\n"
                                "tokens:\n"
                                "  X: {use: source, file: mechanism.c}\n"
                                "  M: {use: mlp}\n"
                                "proxies:\n"
                                "  - {dataset: {use: mad, task: memorization}, recipe: {optimizer: {use: adamw, lr: "
                                "5e-4}, steps: 20, batch: 32}}\n";

typedef struct figures {
    double whole, compile, confinement;
    int runs;
} figures;

static void need(aira_status status, const aira_error *error) {
    if (status == AIRA_OK) return;
    fprintf(stderr, "bench_source_to_step: %s\n", error->text);
    exit(1);
}

static void write_file(const char *folder, const char *name, const char *text) {
    char path[300];
    aira_error error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    need(aira__file_write_atomic(path, text, strlen(text), &error), &error);
}

static aira__task *load(test_engine *e, const char *folder) {
    char path[300];
    aira_error error = {0};
    aira__diagnostics *d = aira__diagnostics_create();
    snprintf(path, sizeof path, "%s/task.yaml", folder);
    aira__task *task = aira__task_load_file(e->registry, path, NULL, 0, true, d);
    need(aira__diagnostics_status(d, &error), &error);
    aira__diagnostics_destroy(d);
    return task;
}

static void step(test_engine *e, const aira__task *task) {
    static const uint16_t pattern[] = {0, 1, 0, 1};
    aira_error error = {0};
    aira__training *training = NULL;
    aira__step_result result;
    bool nan = false;
    aira__layer *layers = aira__task_layers(task, pattern, 4);
    const aira__training_options options = {.device = e->device,
                                            .device_self = e->self,
                                            .host = e->host,
                                            .backbone = task->backbone->plugin->table,
                                            .backbone_self = task->backbone->self,
                                            .layers = layers,
                                            .n_layers = 4,
                                            .dataset = task->proxies[0].dataset,
                                            .info = &task->proxies[0].info,
                                            .recipe = &task->proxies[0].recipe,
                                            .seed = 1,
                                            .causal = true};
    need(aira__training_create(&options, &training, &error), &error);
    need(aira__training_step(training, 0, &result, &nan, &error), &error);
    aira__training_destroy(training);
    free(layers);
}

static figures measure(test_engine *e, const char *folder, const char *source, int k) {
    figures f = {0};
    char *text = malloc(strlen(source) + 64);
    sprintf(text, "%s\n/* %d of %d */\n", source, k, (int)getpid());
    write_file(folder, "mechanism.c", text);
    double begin = aira__now(), seconds;
    aira__task *task = load(e, folder);
    step(e, task);
    f.whole = aira__now() - begin;
    const aira__foreign_primitive *p = task->tokens[0].primitive->self;
    double confinement = 0;
    aira__foreign_cost(aira__foreign_primitive_source(p), &f.compile, &f.confinement);
    aira__foreign_primitive_cost(p, &f.runs, &seconds, &confinement);
    f.compile -= f.confinement;
    f.confinement += confinement;
    f.runs++;
    aira__task_destroy(task);
    free(text);
    return f;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print(const char *name, const double *values, int n) {
    double sorted[MAX_REPEAT];
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    printf("%-14s median %7.1f ms   best %7.1f ms\n", name, 1e3 * sorted[n / 2], 1e3 * sorted[0]);
}

int main(int argc, char **argv) {
    char folder[] = "/tmp/aira-bench-XXXXXX", cache[64], *source = NULL;
    double whole[MAX_REPEAT], compile[MAX_REPEAT], confinement[MAX_REPEAT];
    int repeat = argc > 3 && strcmp(argv[2], "--repeat") == 0 ? atoi(argv[3]) : 15, runs = 0;
    aira_error error = {0};
    test_engine engine;
    if (argc < 2 || repeat < 1 || repeat > MAX_REPEAT || mkdtemp(folder) == NULL) {
        fprintf(stderr, "usage: bench_source_to_step SOURCE.c [--repeat 1..%d]\n", MAX_REPEAT);
        return 2;
    }
    snprintf(cache, sizeof cache, "%s/cache", folder);
    setenv("XDG_CACHE_HOME", cache, 1);
    need(aira__file_read(argv[1], AIRA__FOREIGN_MAX_SOURCE / 2, &source, NULL, &error), &error);
    engine = test_engine_open("{\"use\": \"cpu\", \"threads\": 2}");
    need(aira__foreign_offer(engine.registry, &error), &error);
    write_file(folder, "task.yaml", task_text);
    for (int k = -1; k < repeat; k++) { /* the first one loads plugins */
        figures f = measure(&engine, folder, source, k);
        if (k < 0) continue;
        whole[k] = f.whole;
        compile[k] = f.compile;
        confinement[k] = f.confinement;
        runs = f.runs;
    }
    printf("from source to the end of the first training step, %d repetitions, %d runs in the sandbox each\n", repeat,
           runs);
    print("whole", whole, repeat);
    print("compiler", compile, repeat);
    print("confinement", confinement, repeat);
    test_engine_close(&engine);
    free(source);
    return aira__remove_tree(folder, &error) == AIRA_OK ? 0 : 1;
}
