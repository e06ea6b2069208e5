/* worker_designs.c - sources that a worker evaluates beside each other come to the results that they have one after
 * another: checks, curves and failures alike; for ThreadSanitizer too.
 */
#include "core/sandbox/sandbox.h"
#include "tests/support/at_once.h"

static const char task_text[] =
    "task: t\ncandidate: {kind: design, layers: 2, pattern: X M, backbone: {use: mad_lm, width: 16}}\n"
    "tokens: {M: {use: mlp}}\n"
    "proxies: [{dataset: {use: mad, task: memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 40},\n"
    "  recipe: {batch: 8, eval_every: 7, steps: 15, optimizer: {use: adamw, lr: 1e-3}}}]\n";

static char source[1 << 16];

static void read_source(void) {
    char path[1024];
    snprintf(path, sizeof path, "%s/configs/prompts/design/example.c", getenv("AIRA_SOURCE_DIR"));
    FILE *file = fopen(path, "r");
    if (!file) at_once_fail(path);
    source[fread(source, 1, sizeof source - 1, file)] = 0;
    fclose(file);
}

#define BODY "int64_t C = o->dim(g, x, 2);"

/* Kernels of different lengths; one source does not compile, one looks ahead, one wants a file, one takes all memory
   where a sequence has 33 positions. */
enum { VARIANTS = 7 };
static const char *const changes[VARIANTS][3] =
    {/* what is changed, into what, cause of the failure */
     {"KERNEL 8", "KERNEL 2", NULL},
     {"KERNEL 8", "KERNEL 3", NULL},
     {"#define KERNEL 8", "#define KERNEL 8\nint broken(", "compile"},
     {"o->conv1d_causal(g, x, kernel, bias);",
      "o->mean(g, o->add(g, x, o->sum(g, kernel, (int32_t[]){1}, 1, 0)), (int32_t[]){1}, 1, 1);", "check:causality"},
     {"KERNEL 8", "KERNEL 6", NULL},
     {BODY, BODY "extern void *fopen(const char *, const char *); if (fopen(\"labels\", \"r\")) return NULL;",
      "refused"},
     {BODY, BODY "while (o->dim(g, x, 1) == 33) { char *p = malloc(1 << 24); if (p) memset(p, 1, 1 << 24); }",
      "stopped"}};

static char *variant(int k) {
    const char *from = changes[k][0], *at = strstr(source, from);
    char *made = malloc(strlen(source) + 300);
    if (!made || !at) at_once_fail("the example is not what it was");
    sprintf(made, "#include <stdlib.h>\n#include <string.h>\n%.*s%s%s", (int)(at - source), source, changes[k][1],
            at + strlen(from));
    return made;
}

static json_t *make_lease(aira__registry *registry, const char *plugins) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(task_text, "designs.yaml", d);
    aira__task *task = document ? aira__task_load(registry, aira__document_root(document), true, d) : NULL;
    if (!task) at_once_fail(aira__diagnostics_text(d));
    json_t *list = json_array();
    for (int k = 0; k < VARIANTS + 3; k++) {
        char id[16], *text = variant(k % VARIANTS);
        snprintf(id, sizeof id, "e%d", k);
        json_array_append_new(list, json_pack("{s:s, s:s, s:{}, s:O, s:i, s:s, s:[s, s]}", "id", id, "source", text,
                                              "options", "task", task->canonical, "seed", k / VARIANTS, "purpose",
                                              "search", "splits", "search", "selection"));
        free(text);
    }
    aira__task_destroy(task);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return json_pack("{s:i, s:s, s:{s:s, s:i}, s:[s], s:o}", "version", 1, "lease", "1", "device", "use", "cpu",
                     "threads", 1, "plugin_paths", plugins, "evaluations", list);
}

int main(void) {
    char folder[1024], reason[512];
    double seconds, steps;
    if (aira__sandbox_available(reason, sizeof reason) == AIRA_SANDBOX_NONE) {
        printf("skipped: %s\n", reason);
        return 77;
    }
    read_source();
    aira__registry *registry = at_once_registry(folder);
    json_t *lease = make_lease(registry, folder);
    aira__registry_destroy(registry);
    json_t *alone = at_once_run(lease, 1, &seconds, &steps), *beside = at_once_run(lease, 4, &seconds, &steps);
    int wrong = 0;
    for (size_t k = 0; k < json_array_size(alone); k++) {
        const json_t *a = json_array_get(alone, k), *b = json_array_get(beside, k);
        const char *cause = aira__json_string(a, "cause", NULL), *wanted = changes[k % VARIANTS][2];
        if (json_equal((json_t *)(uintptr_t)a, (json_t *)(uintptr_t)b) &&
            (cause ? wanted && !strcmp(cause, wanted) : !wanted))
            continue;
        char *x = json_dumps(a, JSON_SORT_KEYS | JSON_COMPACT), *y = json_dumps(b, JSON_SORT_KEYS | JSON_COMPACT);
        printf("evaluation %zu, alone and beside others:\n  %.1500s\n  %.1500s\n", k, x, y);
        free(x);
        free(y);
        wrong++;
    }
    printf("%zu designs, four at once: %d differ from what they come to alone\n", json_array_size(alone), wrong);
    json_decref(alone);
    json_decref(beside);
    json_decref(lease);
    return wrong ? 1 : 0;
}
