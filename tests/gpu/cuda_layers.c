/* cuda_layers.c - whole MLP layers on the cuda device, forward and backward: merged into one step each way and every
 * step by itself, both beside the cpu device in fp64.
 *
 *     gpu_cuda_layers
 *
 * Nets of three layers y = x + down gelu(up norm x), or two without x +, odd numbers of rows, several widths. Every
 * output is poisoned by a run on NaN first. Exit status 0: all relative L2 errors are below 1e-2, the merged results
 * are the same bits twice, and layers were merged where a kernel takes them; 1: not; 77: no GPU here.
 */
#include <math.h>
#include <unistd.h>

#include "../support/part.h"
#include "../unit/device_harness.h"
#include "core/engine/session.h"
#include "core/graph/graph.h"
#include "tests/support/engine.h"

enum { LAYERS = 3, MOST_OUTPUTS = 2 + 3 * LAYERS };
enum { MERGED_FORWARD = 64, MERGED_BACKWARD = 128 }; /* GPU_MLP and GPU_MLP_BACKWARD of kernels/cuda/gpu.h */
#define LIMIT 1e-2

typedef struct net {
    int64_t batch, length, width, hidden;
    bool merges; /* does mlp.c take it? */
    bool bare;   /* nothing is added */
} net;

/* Without x + errors add up sooner. */
static int layers_of(const net *n) { return n->bare ? LAYERS - 1 : LAYERS; }

typedef struct output {
    char name[32];
    uint32_t dtype;
    int64_t n;
    double *v;
} output;

static int failures, checks;

static void stop(const char *text) {
    fprintf(stderr, "gpu_cuda_layers: %s\n", text);
    exit(1);
}

static void require(aira_status status, const aira_error *error) {
    if (status != AIRA_OK) stop(error->text);
}

/* --- the graph --- */

/* Outputs y, dx and every parameter's gradient of sum(y c). */
static aira_graph *build(const net *n, uint32_t compute) {
    const aira_ops *o = aira__graph_ops();
    const aira_shape rows = {{n->batch, n->length, n->width}, 3, 0};
    aira_graph *g = aira__graph_create(compute, NULL);
    aira_error error = {0};
    if (!g) stop("out of memory");
    aira_param_info plain = {.size = sizeof plain, .init = "zeros"};
    aira_param_info full = {.size = sizeof full, .init = "ones", .flags = AIRA_PARAM_FP32};
    aira_tensor *x = aira__graph_input(g, "x", compute, &rows), *y = x;
    aira_tensor *c = aira__graph_input(g, "c", g->storage_dtype, &rows);
    for (int k = 0; k < layers_of(n); k++) {
        char scope[16];
        snprintf(scope, sizeof scope, "%d", k);
        aira__graph_push_scope(g, scope);
        aira_tensor *w = o->param(g, "norm", &(aira_shape){{n->width}, 1, 0}, &full);
        aira_tensor *up = o->param(g, "up", &(aira_shape){{n->hidden, n->width}, 2, 0}, &plain);
        aira_tensor *down = o->param(g, "down", &(aira_shape){{n->width, n->hidden}, 2, 0}, &plain);
        aira_tensor *hidden = o->gelu(g, o->linear(g, o->rms_norm(g, y, w, 1e-5), up, NULL), 0);
        aira_tensor *more = o->linear(g, hidden, down, NULL);
        y = n->bare ? more : o->add(g, y, more);
        aira__graph_pop_scope(g);
    }
    int32_t axes[3] = {0, 1, 2};
    aira_tensor *loss = o->sum(g, o->mul(g, o->cast(g, y, g->storage_dtype), c), axes, 3, 0);
    aira_tensor *wrt[1 + 3 * LAYERS] = {x}, *slopes[1 + 3 * LAYERS];
    for (uint32_t k = 0; k < g->n_variables; k++) wrt[1 + k] = g->variables[k]->leaf;
    require(aira__graph_check(g, &error), &error);
    require(aira__graph_gradients(g, loss, wrt, 1 + g->n_variables, slopes, &error), &error);
    aira__graph_output(g, "y", y);
    aira__graph_output(g, "dx", slopes[0]);
    for (uint32_t k = 0; k < g->n_variables; k++) {
        char name[48];
        snprintf(name, sizeof name, "d %s", g->variables[k]->name);
        aira__graph_output(g, name, slopes[1 + k]);
    }
    require(aira__graph_check(g, &error), &error);
    return g;
}

/* --- runs --- */

/* Values of a name, representable in bf16, so that every device starts from the same. */
static char *values(const char *name, int64_t n, uint32_t dtype, double center, double scale) {
    char *bytes = malloc((size_t)n * 8);
    aira_rng rng = aira_rng_make(aira_key(3, name), 0);
    if (!bytes) stop("out of memory");
    for (int64_t k = 0; k < n; k++) {
        double value = test_rounded(center + scale * aira_rng_normal(&rng), AIRA_BF16);
        test_store(bytes + (size_t)k * test_bytes(dtype), dtype, value);
    }
    return bytes;
}

static void set_variables(aira__session *s, const aira_graph *g) {
    aira_error error = {0};
    for (uint32_t k = 0; k < g->n_variables; k++) {
        const aira__variable *v = g->variables[k];
        int64_t n = aira__shape_elements(&v->shape);
        bool norm = v->shape.rank == 1;
        double scale = norm ? 0.3 : 1 / sqrt((double)v->shape.dims[1]);
        char *bytes = values(v->name, n, v->dtype, norm ? 1 : 0, scale);
        require(aira__session_set_variable(s, v->name, 0, bytes, (uint64_t)n * test_bytes(v->dtype), &error), &error);
        free(bytes);
    }
}

/* Runs once; poison: on NaN. */
static void run(aira__session *s, const aira_graph *g, const net *n, double poison) {
    aira_error error = {0};
    int64_t elements = n->batch * n->length * n->width;
    char *x = values("x", elements, g->compute_dtype, poison, 1.5);
    char *c = values("c", elements, g->storage_dtype, poison, 1);
    uint64_t bytes = (uint64_t)elements;
    require(aira__session_set_input(s, 0, "x", 0, x, bytes * test_bytes(g->compute_dtype), &error), &error);
    require(aira__session_set_input(s, 0, "c", 0, c, bytes * test_bytes(g->storage_dtype), &error), &error);
    require(aira__session_run(s, 0, &error), &error);
    free(x);
    free(c);
}

static uint32_t read_outputs(aira__session *s, const aira_graph *g, output *out) {
    aira_error error = {0};
    for (uint32_t k = 0; k < g->n_outputs; k++) {
        const aira_tensor *t = g->outputs[k].tensor;
        int64_t n = aira__shape_elements(&t->shape);
        char *bytes = malloc((size_t)n * 8);
        out[k] = (output){.dtype = t->dtype, .n = n, .v = malloc((size_t)n * sizeof(double))};
        snprintf(out[k].name, sizeof out[k].name, "%s", g->outputs[k].name);
        if (!bytes || !out[k].v) stop("out of memory");
        require(
            aira__session_get_output(s, 0, g->outputs[k].name, 0, bytes, (uint64_t)n * test_bytes(t->dtype), &error),
            &error);
        for (int64_t e = 0; e < n; e++) out[k].v[e] = test_load(bytes + (size_t)e * test_bytes(t->dtype), t->dtype);
        free(bytes);
    }
    return g->n_outputs;
}

static void release(output *out, uint32_t n) {
    for (uint32_t k = 0; k < n; k++) free(out[k].v);
}

/* All outputs of the net on a device; again: of a second run, or NULL. */
static uint32_t outputs_on(const aira__instance *device, const aira_host *host, const net *n, uint32_t compute,
                           output *out, output *again) {
    aira_error error = {0};
    aira_graph *g = build(n, compute);
    aira__session *s = NULL;
    require(aira__session_create(device->plugin->table, device->self, host, &g, 1, NULL, &s, &error), &error);
    set_variables(s, g);
    run(s, g, n, NAN);
    run(s, g, n, 0);
    uint32_t n_out = read_outputs(s, g, out);
    if (again) {
        run(s, g, n, NAN);
        run(s, g, n, 0);
        (void)read_outputs(s, g, again);
    }
    aira__session_destroy(s);
    aira__graph_destroy(g);
    return n_out;
}

/* --- devices --- */

static aira__instance *open_cuda(aira__registry *registry, bool merge, const char *trace) {
    char keys[256];
    aira__instance *made = NULL;
    aira_error error = {0};
    snprintf(keys, sizeof keys, "{\"use\": \"cuda\", \"merge\": %s, \"trace\": \"%s\"}", merge ? "true" : "false",
             trace);
    json_t *json = json_loads(keys, 0, NULL);
    require(aira__instance_create_json(registry, "device", json, &made, &error), &error);
    json_decref(json);
    return made;
}

/* How many steps with this flag the trace tells of. */
static int count_merged(const char *path, unsigned flag) {
    char line[4096];
    int n = 0;
    FILE *f = fopen(path, "r");
    if (!f) stop("no trace was written");
    while (fgets(line, sizeof line, f)) {
        const char *at = strstr(line, "merged ");
        n += at && (unsigned)atoi(at + 7) & flag;
    }
    fclose(f);
    return n;
}

static void check_net(const test_engine *e, const net *n) {
    output want[MOST_OUTPUTS], merged[MOST_OUTPUTS], again[MOST_OUTPUTS], single[MOST_OUTPUTS];
    char trace[] = "/tmp/aira-layers-XXXXXX";
    int fd = mkstemp(trace);
    if (fd < 0) stop("no temporary file");
    close(fd);
    bool counts = !test_is_part(); /* a trace tells what was merged */
    aira__instance *one = open_cuda(e->registry, true, counts ? trace : ""), *apart = open_cuda(e->registry, false, "");
    uint32_t n_out = outputs_on(e->instance, e->host, n, AIRA_F64, want, NULL);
    (void)outputs_on(one, e->host, n, AIRA_BF16, merged, again);
    (void)outputs_on(apart, e->host, n, AIRA_BF16, single, NULL);
    int forward = count_merged(trace, MERGED_FORWARD), backward = count_merged(trace, MERGED_BACKWARD);
    int layers = layers_of(n), expected = n->merges ? layers : 0;
    double worst = 0, worst_single = 0;
    checks++;
    for (uint32_t k = 0; k < n_out; k++) {
        double error = test_distance(merged[k].v, want[k].v, want[k].n);
        double other = test_distance(single[k].v, want[k].v, want[k].n);
        bool same = memcmp(merged[k].v, again[k].v, (size_t)merged[k].n * sizeof(double)) == 0;
        if (!(error <= worst)) worst = error;
        if (!(other <= worst_single)) worst_single = other;
        if (error < LIMIT && other < LIMIT && same) continue;
        failures++;
        printf("FAILED %-12s merged %.2e, each by itself %.2e%s\n", want[k].name, error, other,
               same ? "" : ", not the same bits twice");
    }
    bool wrong = counts && (forward != expected || backward != expected);
    failures += wrong;
    printf("%3lld x %3lld rows of %3lld, hidden %3lld%s: %d and %d of %d merged, worst error %.2e (each by itself "
           "%.2e)%s\n",
           (long long)n->batch, (long long)n->length, (long long)n->width, (long long)n->hidden,
           n->bare ? ", bare" : "", forward, backward, layers, worst, worst_single,
           wrong    ? " FAILED"
           : counts ? ""
                    : " (merging not looked at)");
    release(want, n_out);
    release(merged, n_out);
    release(again, n_out);
    release(single, n_out);
    aira__instance_destroy(one);
    aira__instance_destroy(apart);
    unlink(trace);
}

int main(void) {
    static const net nets[] = {
        {3, 17, 128, 512, true, false}, {1, 1, 128, 64, true, false},    {5, 61, 128, 192, true, false},
        {2, 64, 128, 512, true, false}, {8, 129, 128, 512, true, false}, {7, 37, 64, 256, true, false},
        {1, 15, 64, 64, true, false},   {9, 29, 64, 320, true, false},   {3, 67, 128, 128, true, true},
        {1, 127, 128, 448, true, true}, {11, 47, 64, 192, true, true},   {1, 63, 64, 512, true, true},
        {3, 17, 96, 384, false, false}, {3, 17, 128, 96, false, false}};
    test_engine e = test_engine_open("{\"use\": \"cpu\", \"threads\": 1}");
    aira_error error = {0};
    const aira_plugin *plugin = aira__registry_find(e.registry, "device", "cuda", &error);
    const aira_device *table = plugin ? plugin->table : NULL;
    const char *why = table ? table->unavailable() : error.text;
    if (why) {
        printf("skipped: %s\n", why);
        test_engine_close(&e);
        return 77;
    }
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++)
        if (test_in_part(k)) check_net(&e, &nets[k]);
    test_engine_close(&e);
    printf("%d nets, %d failures\n", checks, failures);
    return failures ? 1 : 0;
}
