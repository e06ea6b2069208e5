/* at_once.h - a lease done by one lane and by several: every result must be the same, to the last bit of its curve.
 *
 * The evaluations have different architectures and lengths, so lanes are refilled at different times; some stop early,
 * one turns NaN, one is refused for want of memory.
 */
#ifndef AIRA_TESTS_AT_ONCE_H
#define AIRA_TESTS_AT_ONCE_H

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/train/evaluate.h"
#include "tests/support/folder.h"

typedef struct at_once_case {
    const char *device;   /* JSON */
    const char *backbone; /* keys: "use: mad_lm, width: 16" */
    const char *tokens;   /* "mA: {...}, M: {...}" */
    const char *data;     /* keys of the data set mad */
    const char *recipe;   /* keys beside steps, lr and early_stop */
    const char *const *names;
    int n_names, layers, evaluations, steps; /* steps: of the shortest; the longest has 2.5 times as many */
} at_once_case;

static inline void at_once_fail(const char *what) {
    fprintf(stderr, "at once: %s\n", what);
    exit(1);
}

static inline aira__registry *at_once_registry(char folder[1024]) {
    aira_error error = {0};
    aira__registry *registry = NULL;
    snprintf(folder, 1024, "%s/lib/aira/plugins", getenv("AIRA_BUILD_DIR"));
    const char *paths[] = {folder};
    aira__registry_options options = {.paths = paths, .n_paths = 1};
    if (aira__registry_create(&options, &registry, &error) != AIRA_OK) at_once_fail(error.text);
    return registry;
}

/* The canonical task of evaluation k. */
static inline json_t *at_once_task(const at_once_case *c, aira__registry *registry, int k) {
    char text[2048];
    const char *more = k % 8 == 5 ? ", early_stop: 0.01" : "", *limits = k % 12 == 7 ? "limits: {memory: 64KiB}\n" : "";
    snprintf(text, sizeof text,
             "task: t%d\ncandidate: {kind: compose, layers: %d, backbone: {%s}}\ntokens: {%s}\n%s"
             "proxies: [{dataset: {use: mad, %s}, recipe: {%s, steps: %d%s, optimizer: {%s}}}]\n",
             k, c->layers, c->backbone, c->tokens, limits, c->data, c->recipe, c->steps + c->steps * (k * 7 % 16) / 10,
             more, k % 12 == 3 ? "use: sgd, lr: 1000" : "use: adamw, lr: 1e-3");
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(text, "at_once.yaml", d);
    aira__task *task = document ? aira__task_load(registry, aira__document_root(document), true, d) : NULL;
    if (!task) at_once_fail(aira__diagnostics_text(d));
    json_t *canonical = json_deep_copy(task->canonical);
    aira__task_destroy(task);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return canonical;
}

static inline json_t *at_once_lease(const at_once_case *c, aira__registry *registry, const char *plugins) {
    json_t *list = json_array();
    for (int k = 0; k < c->evaluations; k++) {
        char id[16];
        json_t *layers = json_array();
        for (int n = 0; n < c->layers; n++)
            json_array_append_new(layers, json_string(c->names[(n * (k % 3 + 1) + k) % c->n_names]));
        snprintf(id, sizeof id, "e%d", k);
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:i, s:s, s:[s, s]}", "id", id, "layers", layers, "task",
                                              at_once_task(c, registry, k), "seed", k / 2, "purpose", "search",
                                              "splits", "search", "selection"));
    }
    return json_pack("{s:i, s:s, s:o, s:[s], s:o}", "version", 1, "lease", "1", "device",
                     json_loads(c->device, 0, NULL), "plugin_paths", plugins, "evaluations", list);
}

/* Works at the lease in a folder of its own; its results without times, as an array in the order of the lease. */
static inline json_t *at_once_run(json_t *lease, int at_once, double *seconds, double *steps) {
    test_folder folder;
    aira_error error = {0};
    char path[1024];
    json_t *results = json_array(), *proxy;
    size_t i, n = json_array_size(json_object_get(lease, "evaluations"));
    test_folder_make(&folder);
    json_object_set_new(lease, "at_once", json_integer(at_once));
    snprintf(path, sizeof path, "%s/lease.json", folder.path);
    if (json_dump_file(lease, path, 0)) at_once_fail("no lease");
    double start = aira__now();
    if (aira__worker_run(folder.path, &error) != AIRA_OK) at_once_fail(error.text);
    *seconds = aira__now() - start;
    *steps = 0;
    for (size_t k = 0; k < n; k++) {
        snprintf(path, sizeof path, "%s/e%zu.json", folder.path, k);
        json_t *result = json_load_file(path, 0, NULL);
        if (!result) at_once_fail("an evaluation has no result");
        *steps += (double)json_integer_value(json_object_get(result, "steps"));
        json_object_del(result, "seconds");
        json_array_foreach(json_object_get(result, "proxies"), i, proxy) json_object_del(proxy, "seconds");
        json_array_append_new(results, result);
    }
    test_folder_remove(&folder);
    return results;
}

/* Differences between two lists of results, told on standard output. */
static inline int at_once_differ(const json_t *alone, const json_t *beside) {
    int differ = 0, ok = 0, nan = 0, memory = 0;
    for (size_t k = 0; k < json_array_size(alone); k++) {
        json_t *a = json_array_get(alone, k), *b = json_array_get(beside, k);
        const char *cause = json_string_value(json_object_get(a, "cause"));
        ok += !cause;
        nan += cause && !strcmp(cause, "nan");
        memory += cause && !strcmp(cause, "memory");
        if (json_equal(a, b)) continue; /* numbers are printed with 17 digits: equal text is equal bits */
        char *x = json_dumps(a, JSON_SORT_KEYS | JSON_COMPACT), *y = json_dumps(b, JSON_SORT_KEYS | JSON_COMPACT);
        printf("evaluation %zu differs:\n  %.2000s\n  %.2000s\n", k, x, y);
        free(x);
        free(y);
        differ++;
    }
    printf("%d evaluations ran to their end, %d turned NaN, %d had no memory; %d differ\n", ok, nan, memory, differ);
    if (!ok || !nan || !memory) at_once_fail("the cases are not what they are meant to be");
    return differ;
}

#endif
