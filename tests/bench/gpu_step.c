/* gpu_step.c - what a training step costs when several candidates train at once on one device.
 *
 *     bench_gpu_step MODEL.yaml [--device JSON] [--at-once 8] [--steps 60] [--warmup 10] [--repeats 3] [--first]
 *                    [--seconds 60] [--alone 0] [key=value...]
 *
 * Every candidate is a training of core/train (the same path as `aira evaluate`) with a thread and a queue of the
 * device of its own, as in a worker (a device of its own, where the device has no queues). All warm up, then all train
 * `steps` steps, `repeats` times; the figure is the median of wall time / (steps x candidates). --first: also the time
 * from an architecture to its first finished step, with an empty cache of kernels (cold), with the cache on disk
 * (disk), and within a process that trained another architecture before (memory); each with its parts, which
 * tests/support/watched_device.h explains. AIRA_LOG=debug: the device tells of parts of its own.
 * --seconds: no repeat starts after this much time. --alone N: the first N candidates are trained again, each alone and
 * as many steps, and every bit of their weights compared. Prints one JSON object.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/plugin/registry.h"
#include "core/train/model_file.h"
#include "core/train/training.h"
#include "tests/support/watched_device.h"

enum { MAX_LANES = 64, MAX_REPEATS = 99 };

typedef struct bench {
    const char *path, *keys; /* keys: of the device, JSON */
    const char *overrides[64];
    int n_overrides, at_once, steps, warmup, repeats, alone;
    bool first;
    double seconds;
    aira__registry *registry;
    aira__instance *device;
    aira__model_file *model;
    aira__diagnostics *diagnostics;
} bench;

typedef struct lane {
    const bench *b;
    aira__instance *own; /* NULL: a queue of the first lane's device */
    void *self;
    aira__training *training;
    uint64_t seed;
    int steps; /* of the phase in hand */
    double loss;
} lane;

static void stop(const char *text) {
    fprintf(stderr, "bench_gpu_step: %s\n", text);
    _exit(1); /* other lanes may be at work: nothing is taken from under them */
}

static aira__instance *open_device(const bench *b) {
    aira_error error = {0};
    aira__instance *device = NULL;
    json_t *keys = json_loads(b->keys, 0, NULL);
    if (keys == NULL) stop("--device wants a JSON object such as {\"use\": \"cuda\"}");
    if (aira__instance_create_json(b->registry, "device", keys, &device, &error) != AIRA_OK) stop(error.text);
    json_decref(keys);
    return device;
}

static const aira_device_queue *queue_of(const aira__instance *device) {
    return aira__instance_extension(device, AIRA_EXT_DEVICE_QUEUE);
}

static aira__training *open_training(const bench *b, const aira_device *device, const aira_device_queue *queue,
                                     void *self, uint64_t seed) {
    aira_error error = {0};
    const aira__model_file *model = b->model;
    aira__training *training = NULL;
    aira__training_options options = {.device = device,
                                      .device_self = self,
                                      .queue = queue,
                                      .host = aira__registry_host(b->registry),
                                      .backbone = model->backbone->plugin->table,
                                      .backbone_self = model->backbone->self,
                                      .layers = model->layers,
                                      .n_layers = (uint32_t)model->n_layers,
                                      .dataset = model->dataset,
                                      .info = &model->info,
                                      .recipe = &model->recipe,
                                      .seed = seed,
                                      .causal = true};
    if (aira__training_create(&options, &training, &error) != AIRA_OK) stop(error.text);
    return training;
}

/* --- steady state --- */

static int keep_loss(void *context, const aira__step_result *r, int64_t steps) {
    (void)steps;
    ((lane *)context)->loss = r->loss;
    return 0;
}

/* One phase of one candidate; creates the training first where there is none. */
static void *train(void *context) {
    lane *l = context;
    aira_error error = {0};
    bool nan = false;
    aira__run_hooks hooks = {.step = keep_loss, .context = l, .ahead = true};
    const aira__instance *device = l->b->device;
    if (l->training == NULL)
        l->training = open_training(l->b, device->plugin->table, queue_of(device), l->self, l->seed);
    if (aira__training_run(l->training, l->steps, &hooks, NULL, &nan, &error) != AIRA_OK) stop(error.text);
    return NULL;
}

/* All candidates train `steps` steps; seconds. */
static double phase(lane *lanes, int n, int steps) {
    pthread_t threads[MAX_LANES];
    double start = aira__now();
    for (int k = 0; k < n; k++) {
        lanes[k].steps = steps;
        if (pthread_create(&threads[k], NULL, train, &lanes[k]) != 0) stop("no thread");
    }
    for (int k = 0; k < n; k++) pthread_join(threads[k], NULL);
    return aira__now() - start;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first lane has the device itself. */
static void open_lane(const bench *b, int k, lane *l) {
    *l = (lane){.b = b, .self = b->device->self, .seed = (uint64_t)k + 1};
    if (k == 0) return;
    if (queue_of(b->device) != NULL) {
        if (queue_of(b->device)->open(b->device->self, &l->self) != AIRA_OK)
            stop(aira__host_last_failure(aira__registry_host(b->registry)));
        return;
    }
    l->own = open_device(b);
    l->self = l->own->self;
}

static char *weights_of(const lane *l, const char *folder, size_t *size) {
    aira_error error = {0};
    char path[64], *bytes = NULL;
    snprintf(path, sizeof path, "%s/weights", folder);
    if (aira__training_save_weights(l->training, path, NULL, NULL, 0, &error) != AIRA_OK ||
        aira__file_read(path, (size_t)1 << 40, &bytes, size, &error) != AIRA_OK)
        stop(error.text);
    return bytes;
}

/* Trains the candidates again, one after another on the device's own queue. Returns how many end with other weights. */
static int trained_alone(const bench *b, char *const *beside, const size_t *sizes, int steps, const char *folder) {
    int differ = 0;
    for (int k = 0; k < b->alone; k++) {
        lane l = {.b = b, .self = b->device->self, .seed = (uint64_t)k + 1};
        size_t size = 0;
        phase(&l, 1, steps);
        char *bytes = weights_of(&l, folder, &size);
        differ += size != sizes[k] || memcmp(bytes, beside[k], size) != 0;
        free(bytes);
        aira__training_destroy(l.training);
    }
    return differ;
}

static json_t *steady(bench *b) {
    lane lanes[MAX_LANES] = {{0}};
    double ms[MAX_REPEATS], start = aira__now();
    char folder[] = "/tmp/aira-weights-XXXXXX", *weights[MAX_LANES];
    size_t sizes[MAX_LANES];
    aira_error error = {0};
    int n = 0;
    b->device = open_device(b);
    for (int k = 0; k < b->at_once; k++) open_lane(b, k, &lanes[k]);
    double created = phase(lanes, b->at_once, b->warmup);
    for (; n < b->repeats && (n == 0 || b->seconds <= 0 || aira__now() - start < b->seconds); n++)
        ms[n] = 1000 * phase(lanes, b->at_once, b->steps) / ((double)b->steps * b->at_once);
    qsort(ms, (size_t)n, sizeof *ms, by_value);
    double median = ms[n / 2],
           tokens = (double)aira__training_batch(lanes[0].training) * (double)b->model->info.input_length;
    double flops = aira__training_flops_per_step(lanes[0].training);
    json_t *result = json_pack("{s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f}", "at_once",
                               b->at_once, "steps", b->steps, "repeats", n, "ms", median, "ms_min", ms[0], "ms_max",
                               ms[n - 1], "per_hour", 3.6e6 / (median * 2000), "tokens_per_second",
                               1000 * tokens / median, "flops_per_step", flops, "tflops", flops / median / 1e9,
                               "start_seconds", created, "parameters",
                               (json_int_t)aira__training_parameters(lanes[0].training), "loss", lanes[0].loss);
    if (b->alone > 0 && mkdtemp(folder) == NULL) stop("no folder for weights");
    for (int k = 0; k < b->alone; k++) weights[k] = weights_of(&lanes[k], folder, &sizes[k]);
    for (int k = 0; k < b->at_once; k++) {
        aira__training_destroy(lanes[k].training);
        if (k > 0 && lanes[k].own == NULL) queue_of(b->device)->close(lanes[k].self);
        aira__instance_destroy(lanes[k].own);
    }
    if (b->alone > 0) {
        int steps = b->warmup + n * b->steps, differ = trained_alone(b, weights, sizes, steps, folder);
        json_object_set_new(result, "alone",
                            json_pack("{s:i, s:i, s:i}", "compared", b->alone, "steps", steps, "differ", differ));
        if (aira__remove_tree(folder, &error) != AIRA_OK) fprintf(stderr, "bench_gpu_step: %s\n", error.text);
    }
    for (int k = 0; k < b->alone; k++) free(weights[k]);
    aira__instance_destroy(b->device);
    return result;
}

/* --- from an architecture to its first step --- */

/* From nothing to one finished step on a device that is there. */
static void first_step(const bench *b, const aira__instance *device, watched *w) {
    aira_error error = {0};
    aira__step_result r;
    bool nan = false;
    watch_begin(w, device->plugin->table, queue_of(device), device->self);
    aira__training *training = open_training(b, &w->table, w->queue ? &w->queues : NULL, w, 1);
    watch(w, WATCH_INITIAL);
    if (aira__training_step(training, 0, &r, &nan, &error) != AIRA_OK) stop(error.text);
    watch(w, WATCH_WAIT);
    aira__training_destroy(training);
}

static int by_total(const void *a, const void *b) {
    double x = watch_total(a), y = watch_total(b);
    return (x > y) - (x < y);
}

/* The same layers in another order: the first one comes last. */
static void rotate_layers(aira__model_file *model) {
    aira__layer first = model->layers[0];
    for (int k = 1; k < model->n_layers; k++) model->layers[k - 1] = model->layers[k];
    model->layers[model->n_layers - 1] = first;
}

static json_t *first_steps(bench *b) {
    char folder[] = "/tmp/aira-cache-XXXXXX";
    aira_error error = {0};
    if (mkdtemp(folder) == NULL || setenv("XDG_CACHE_HOME", folder, 1) != 0) stop("no folder for the cache");
    watched cold, disk, memory[3];
    aira__instance *device = open_device(b);
    first_step(b, device, &cold);
    aira__instance_destroy(device);
    device = open_device(b);
    first_step(b, device, &disk);
    for (int k = 0; k < 3; k++) {
        rotate_layers(b->model);
        first_step(b, device, &memory[k]);
    }
    qsort(memory, 3, sizeof *memory, by_total);
    aira__instance_destroy(device);
    if (aira__remove_tree(folder, &error) != AIRA_OK) fprintf(stderr, "bench_gpu_step: %s\n", error.text);
    return json_pack("{s:f, s:f, s:f, s:{s:o, s:o, s:o}}", "cold", watch_total(&cold), "disk", watch_total(&disk),
                     "memory", watch_total(&memory[1]), "parts", "cold", watch_json(&cold), "disk", watch_json(&disk),
                     "memory", watch_json(&memory[1]));
}

/* --- options --- */

static void read_arguments(bench *b, int argc, char **argv) {
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--at-once", &b->at_once},
                   {"--steps", &b->steps},
                   {"--warmup", &b->warmup},
                   {"--repeats", &b->repeats},
                   {"--alone", &b->alone}};
    for (int k = 1; k < argc; k++) {
        bool known = false;
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers && !known; n++)
            if (strcmp(argv[k], numbers[n].name) == 0 && k + 1 < argc && (known = true))
                *numbers[n].value = atoi(argv[++k]);
        if (known) continue;
        if (strcmp(argv[k], "--device") == 0 && k + 1 < argc)
            b->keys = argv[++k];
        else if (strcmp(argv[k], "--seconds") == 0 && k + 1 < argc)
            b->seconds = atof(argv[++k]);
        else if (strcmp(argv[k], "--first") == 0)
            b->first = true;
        else if (argv[k][0] != '-' && b->path == NULL)
            b->path = argv[k];
        else if (argv[k][0] != '-' && strchr(argv[k], '=') != NULL && b->n_overrides < 64)
            b->overrides[b->n_overrides++] = argv[k];
        else
            stop("usage: bench_gpu_step MODEL.yaml [--device JSON] [--at-once N] [--steps N] [--warmup N] "
                 "[--repeats N] [--seconds S] [--alone N] [--first] [key=value...]");
    }
    if (b->path == NULL) stop("name a model file");
    if (b->at_once < 1 || b->at_once > MAX_LANES || b->steps < 1 || b->warmup < 1 || b->repeats < 1 ||
        b->repeats > MAX_REPEATS || b->alone < 0 || b->alone > b->at_once)
        stop("--at-once is 1..64, --repeats 1..99, --steps and --warmup at least 1, --alone at most --at-once");
}

int main(int argc, char **argv) {
    bench b = {.keys = "{\"use\": \"cuda\"}", .at_once = 8, .steps = 60, .warmup = 10, .repeats = 3};
    read_arguments(&b, argc, argv);
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/lib/aira/plugins",
             getenv("AIRA_BUILD_DIR") ? getenv("AIRA_BUILD_DIR") : "build");
    const char *paths[] = {folder};
    aira__registry_options options = {.paths = paths, .n_paths = 1};
    aira_error error = {0};
    if (aira__registry_create(&options, &b.registry, &error) != AIRA_OK) stop(error.text);
    b.diagnostics = aira__diagnostics_create();
    b.model = aira__model_file_load(b.registry, b.path, b.overrides, b.n_overrides, true, b.diagnostics);
    if (b.model == NULL) stop(aira__diagnostics_text(b.diagnostics));
    json_t *result = steady(&b);
    if (b.first) json_object_set_new(result, "first_ms", first_steps(&b));
    json_dumpf(result, stdout, JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(result);
    aira__model_file_destroy(b.model);
    aira__diagnostics_destroy(b.diagnostics);
    aira__registry_destroy(b.registry);
    return 0;
}
