/* tests/unit/pack_moe.c - examples/plugin-pack/moe.c against the definition in its header, token by token in plain
 * loops: output, balancing loss, metric, parameters in total and active.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "aira/ext/active.h"
#include "core/engine/session.h"
#include "core/graph/model.h"
#include "core/plugin/registry.h"
#include "tests/support/compile.h"

enum { B = 2, T = 5, N = B * T, C = 6, MOST = 8 };

typedef struct moe_case {
    int64_t experts, top_k, hidden;
    bool swiglu;
} moe_case;

static char folder[64];
static aira_error error;

static aira__instance *make(aira__registry *r, const char *kind, json_t *canonical) {
    aira__instance *instance;
    aira_status status = aira__instance_create_json(r, kind, canonical, &instance, &error);
    cr_assert_eq(status, AIRA_OK, "%s", error.text);
    json_decref(canonical);
    return instance;
}

static void read_values(aira__session *s, bool output, const char *name, double *to, int64_t n) {
    uint64_t bytes = (uint64_t)n * sizeof *to;
    aira_status status = output ? aira__session_get_output(s, 0, name, 0, to, bytes, &error)
                                : aira__session_get_variable(s, name, 0, to, bytes, &error);
    cr_assert_eq(status, AIRA_OK, "%s: %s", name, error.text);
}

/* y += share * expert(x) */
static void add_expert(const moe_case *c, const double *x, const double *up, const double *gate, const double *down,
                       double share, double *y) {
    for (int64_t f = 0; f < c->hidden; f++) {
        double u = 0, v = 0;
        for (int i = 0; i < C; i++) u += x[i] * up[i * c->hidden + f], v += x[i] * gate[i * c->hidden + f];
        double inner = c->swiglu ? v / (1 + exp(-v)) * u : 0.5 * u * (1 + erf(u / sqrt(2)));
        for (int i = 0; i < C; i++) y[i] += share * inner * down[f * C + i];
    }
}

/* One token: which experts, with which share, in order of score; and the router's probabilities. */
static void route(const moe_case *c, const double *x, const double *router, int *chosen, double *share, double *p) {
    double score[MOST], sum = 0, of_chosen = 0;
    for (int64_t e = 0; e < c->experts; e++) {
        score[e] = 0;
        for (int i = 0; i < C; i++) score[e] += x[i] * router[e * C + i];
        sum += p[e] = exp(score[e]);
    }
    for (int64_t e = 0; e < c->experts; e++) p[e] /= sum;
    for (int64_t k = 0; k < c->top_k; k++) {
        chosen[k] = -1;
        for (int e = 0; e < c->experts; e++) {
            bool taken = false;
            for (int64_t j = 0; j < k; j++) taken |= chosen[j] == e;
            if (!taken && (chosen[k] < 0 || score[e] > score[chosen[k]])) chosen[k] = e;
        }
        of_chosen += p[chosen[k]];
    }
    for (int64_t k = 0; k < c->top_k; k++) share[k] = c->top_k > 1 ? p[chosen[k]] / of_chosen : p[chosen[k]];
}

static void compare(aira__session *s, const moe_case *c, const double *x) {
    static double router[MOST * C], up[MOST * C * 64], gate[MOST * C * 64], down[MOST * C * 64], y[N * C];
    double load[MOST] = {0}, mean[MOST] = {0}, aux = 0, square = 0, got;
    int64_t each = C * c->hidden;
    read_values(s, false, "MoE.router.weight", router, c->experts * C);
    read_values(s, false, "MoE.up.weight", up, c->experts * each);
    read_values(s, false, "MoE.down.weight", down, c->experts * each);
    if (c->swiglu) read_values(s, false, "MoE.gate.weight", gate, c->experts * each);
    read_values(s, true, "y", y, N * C);
    for (int n = 0; n < N; n++) {
        int chosen[MOST];
        double share[MOST], p[MOST], want[C] = {0};
        route(c, x + n * C, router, chosen, share, p);
        for (int64_t k = 0; k < c->top_k; k++) {
            int64_t at = chosen[k] * each;
            add_expert(c, x + n * C, up + at, gate + at, down + at, share[k], want);
            load[chosen[k]] += 1.0 / (double)(N * c->top_k);
        }
        for (int64_t e = 0; e < c->experts; e++) mean[e] += p[e] / N;
        for (int i = 0; i < C; i++) cr_assert_float_eq(y[n * C + i], want[i], 1e-12, "token %d, channel %d", n, i);
    }
    for (int64_t e = 0; e < c->experts; e++) aux += load[e] * mean[e], square += load[e] * load[e];
    read_values(s, true, "aux", &got, 1);
    cr_assert_float_eq(got, (double)c->experts * aux, 1e-6);
    read_values(s, true, "metric.MoE.balance", &got, 1);
    cr_assert_float_eq(got, 1 / ((double)c->experts * square), 1e-6);
}

static void run_case(aira__registry *r, const aira__instance *device, const moe_case *c) {
    aira__instance *moe = make(r, "primitive",
                               json_pack("{s:s, s:I, s:I, s:I, s:f, s:s}", "use", "moe", "experts",
                                         (json_int_t)c->experts, "top_k", (json_int_t)c->top_k, "hidden",
                                         (json_int_t)c->hidden, "aux", 0.5, "activation",
                                         c->swiglu ? "swiglu" : "gelu"));
    const aira_primitive *table = moe->plugin->table;
    aira__layer layer = {"MoE", "moe", "{}", table, moe->self};
    aira_graph *graph = aira__primitive_build(&layer, B, T, C, AIRA_F64, true, &error);
    cr_assert_not_null(graph, "%s", error.text);
    cr_assert_eq(graph->n_aux_losses, 1u);
    cr_assert_float_eq(graph->aux_losses[0].weight, 0.5, 0);
    aira__graph_output(graph, "aux", graph->aux_losses[0].scalar);

    aira__counts counts;
    aira__graph_count(graph, &counts);
    int64_t one = (c->swiglu ? 3 : 2) * C * c->hidden;
    cr_assert_eq(counts.parameters, c->experts * (C + one));
    const aira_active_parameters *active = moe->plugin->extension(AIRA_EXT_ACTIVE_PARAMETERS);
    cr_assert_not_null(active);
    cr_assert_null(moe->plugin->extension("aira.active_parameters/2"));
    cr_assert_null(moe->plugin->extension("aira.active"));
    cr_assert_eq(active->active(moe->self, C), c->experts * C + c->top_k * one);

    aira__session *s;
    aira__session_options options = {.copies = 1};
    aira_status status = aira__session_create(device->plugin->table, device->self, aira__registry_host(r), &graph, 1,
                                              &options, &s, &error);
    cr_assert_eq(status, AIRA_OK, "%s", error.text);
    uint64_t seed = 7;
    double x[N * C];
    for (int i = 0; i < N * C; i++) x[i] = sin(1.7 * i + 0.3 * i * i);
    cr_assert_eq(aira__session_initialise(s, &seed, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_set_input(s, 0, "x", 0, x, sizeof x, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__session_run(s, 0, &error), AIRA_OK, "%s", error.text);
    compare(s, c, x);
    aira__session_destroy(s);
    aira__graph_destroy(graph);
    aira__instance_destroy(moe);
}

Test(pack, moe_is_what_it_says, .timeout = 60) {
    static const moe_case cases[] = {
        {4, 2, 8, false}, {5, 3, 7, true}, {8, 1, 4, false}, {1, 1, 9, true}, {3, 3, 5, false}};
    char path[128];
    const char *paths[] = {folder};
    aira__registry *r;
    test_folder(folder);
    snprintf(path, sizeof path, "%s/moe.so", folder);
    test_compile("examples/plugin-pack/moe.c", NULL, "-O2", path);
    aira__registry_options options = {.paths = paths, .n_paths = 1};
    cr_assert_eq(aira__registry_create(&options, &r, &error), AIRA_OK, "%s", error.text);
    aira__instance *device = make(r, "device", json_pack("{s:s, s:i}", "use", "cpu", "threads", 1));
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) run_case(r, device, &cases[k]);
    aira__instance_destroy(device);
    aira__registry_destroy(r);
    test_folder_remove(folder);
}
