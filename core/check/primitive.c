/* primitive.c - conformance of primitives, as far as the graph tells: shapes, purity of building, gradient, cost.
 *
 * What has to be measured by changing inputs is in leaks.c.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check/check.h"
#include "core/check/gradient.h"
#include "core/check/mechanism.h"

static bool good_token(const char *token) {
    if (!token || !isalpha((unsigned char)*token)) return false;
    for (const char *c = token; *c; c++) {
        if (!isalnum((unsigned char)*c)) return false;
    }
    return strlen(token) < 16;
}

static bool check_table(const aira__subject *s, const aira_primitive *table) {
    const char *name = aira__start(s, "table");
    if (!table->build) {
        aira__say(s, name, AIRA_CHECK_FAIL, "build is NULL; a primitive is its build function");
    } else if (!good_token(table->token)) {
        aira__say(s, name, AIRA_CHECK_FAIL, "token \"%s\" is not a letter followed by letters or digits (15 at most)",
                  table->token ? table->token : "");
    } else {
        aira__say(s, name, AIRA_CHECK_PASS, "token %s, %s", table->token,
                  table->flags & AIRA_PRIMITIVE_MIXES_TIME ? "mixes positions" : "position by position");
        return true;
    }
    return false;
}

/* --- shapes ---------------------------------------------------------------------------------------------------------
 */

/* Without a task the place is causal. */
static bool is_causal(const aira__subject *s) { return !s->place || s->place->causal; }

static bool builds(const aira__subject *s, const aira__layer *layer, int64_t B, int64_t T, int64_t C,
                   aira_error *error) {
    aira_graph *graph = aira__primitive_build(layer, B, T, C, AIRA_F32, is_causal(s), error);
    if (!graph) return false;
    const aira_tensor *y = aira__graph_find_output(graph, "y");
    const int64_t want[3] = {B, T, C};
    bool same = y && y->shape.rank == 3 && memcmp(y->shape.dims, want, sizeof want) == 0;
    if (!same) {
        char got[96] = "nothing";
        if (y) aira__shape_text(&y->shape, got, sizeof got);
        aira__fail(error, AIRA_E_FAILED, "y is %s for x [%lld,%lld,%lld]; both must have one shape", got, (long long)B,
                   (long long)T, (long long)C);
    }
    aira__graph_destroy(graph);
    return same;
}

/* The width that all further checks use, or 0. */
int64_t aira__check_shapes(const aira__subject *s, const aira__layer *layer) {
    static const int64_t widths[] = {64, 128, 256, 96, 512, 1024, 2048};
    static const int64_t places[][2] = {{1, 1}, {1, 128}, {2, 16}, {3, 33}};
    const char *name = aira__start(s, "shapes");
    aira_error error = {0}, first = {0};
    int64_t width = s->place ? s->place->width : s->options->width;
    for (size_t k = 0; !width && k < sizeof widths / sizeof *widths; k++) {
        if (builds(s, layer, 2, 16, widths[k], k == 0 ? &first : &error)) width = widths[k];
    }
    if (!width) {
        aira__say(s, name, AIRA_CHECK_FAIL, "builds at no width from 64 to 2048 (see --width): %.300s", first.text);
        return 0;
    }
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        if (builds(s, layer, places[k][0], places[k][1], width, &error)) continue;
        aira__say(s, name, AIRA_CHECK_FAIL, "[%lld,%lld,%lld]: %.400s", (long long)places[k][0],
                  (long long)places[k][1], (long long)width, error.text);
        return 0;
    }
    aira__say(s, name, AIRA_CHECK_PASS, "y has the shape of x, at width %lld and lengths 1, 16, 33, 128",
              (long long)width);
    return width;
}

/* --- purity ---------------------------------------------------------------------------------------------------------
 */

static aira_status written(const aira__subject *s, const aira__layer *layer, int64_t width, aira__bytes *bytes,
                           aira_error *error) {
    aira_graph *graph = aira__primitive_build(layer, 2, 16, width, AIRA_F32, is_causal(s), error);
    if (!graph) return AIRA_E_FAILED;
    aira_status status = aira__graph_write(graph, bytes, error);
    aira__graph_destroy(graph);
    return status;
}

void aira__check_purity(const aira__subject *s, const aira__layer *layer, int64_t width) {
    const char *name = aira__start(s, "pure");
    aira__bytes first = {0}, second = {0};
    aira_error error = {0};
    aira_status status = written(s, layer, width, &first, &error);
    if (!status) status = written(s, layer, width, &second, &error);
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
        aira__say(s, name, AIRA_CHECK_FAIL,
                  "built twice, two different graphs; build must depend on its arguments only");
    else if (aira__check_repeats(layer, &error))
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "built twice, the same graph of %zu bytes", first.size);
    free(first.data);
    free(second.data);
}

/* --- gradient -------------------------------------------------------------------------------------------------------
 */

/* Then the gradient is what the author says, not the derivative. */
static bool stops_gradients(const aira_graph *graph) {
    for (uint32_t k = 0; k < graph->n_ops; k++) {
        if (graph->ops[k]->code == AIRA_OP_CAST && graph->ops[k]->n_i == 1) return true;
    }
    return false;
}

void aira__check_gradient(const aira__subject *s, const aira__layer *layer, int64_t width) {
    const char *name = aira__start(s, "gradient");
    aira_error error = {0};
    aira__gradient_result result = {0};
    aira__gradient_options options = {.seed = 7, .range = 8};
    aira_graph *graph = aira__primitive_build(layer, 2, 7, width, AIRA_F64, is_causal(s), &error);
    bool stops = graph && stops_gradients(graph);
    aira_status status = graph ? aira__gradient_check(&s->lab, graph, &options, &result, &error) : AIRA_E_FAILED;
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (!(result.error < 1e-6) && stops)
        aira__say(s, name, AIRA_CHECK_SKIP, "differs for %s from finite differences, as stop_gradient may intend",
                  result.where);
    else if (!(result.error < 1e-6))
        aira__say(s, name, AIRA_CHECK_FAIL, "relative error %.1e for %s against finite differences in fp64",
                  result.error, result.where);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "relative error at most %.1e over %u tensors (fp64 finite differences)",
                  result.error, result.n);
}

/* --- cost -----------------------------------------------------------------------------------------------------------
 */

typedef struct cost {
    aira__counts counts;
    double elements;           /* of all results */
    char work[96], result[96]; /* what has the most FLOPs, and the most elements: "MATMUL [1,8,256,256]" */
} cost;

static void say_op(const aira__op *op, char *text, size_t size) {
    char shape[64];
    aira__shape_text(&op->out[0]->shape, shape, sizeof shape);
    snprintf(text, size, "%s %s", aira__op_name(op->code), shape);
}

static void find_heaviest(const aira_graph *graph, cost *out) {
    double most = 0, largest = 0;
    for (uint32_t k = 0; k < graph->n_ops; k++) {
        const aira__op *op = graph->ops[k];
        double flops = aira__op_flops(op), elements = (double)aira__shape_elements(&op->out[0]->shape);
        if (flops > most) say_op(op, out->work, sizeof out->work);
        if (elements > largest) say_op(op, out->result, sizeof out->result);
        most = fmax(most, flops);
        largest = fmax(largest, elements);
    }
}

static bool measure(const aira__subject *s, const aira__layer *layer, int64_t T, int64_t C, cost *out,
                    aira_error *error) {
    aira_graph *graph = aira__primitive_build(layer, 1, T, C, AIRA_F32, is_causal(s), error);
    if (!graph) return false;
    memset(out, 0, sizeof *out);
    aira__graph_count(graph, &out->counts);
    for (uint32_t k = 0; k < graph->n_tensors; k++)
        out->elements += (double)aira__shape_elements(&graph->tensors[k]->shape);
    find_heaviest(graph, out);
    aira__graph_destroy(graph);
    return true;
}

typedef struct growth {
    double flops, memory; /* exponents between the lengths */
    int64_t near, far;
} growth;

/* What the task bounds; at its length, or 128. The sentences are for whoever changes the mechanism next: what is
   exceeded, by how much, and where most of it is. */
static void check_limits(const aira__subject *s, const cost *at, const cost *far, int64_t length, growth grows) {
    const aira__mechanism_options *o = s->place;
    if (!o || (!o->max_parameters && !(o->max_flops > 0) && !(o->max_exponent > 0))) return;
    const char *name = aira__start(s, "limits");
    int64_t layers = o->layers > 0 ? o->layers : 1, parameters = layers * at->counts.parameters;
    double flops = 3 * (double)layers * at->counts.flops / (double)length;
    double exponent = fmax(grows.flops, grows.memory);
    if (o->max_parameters && parameters > o->max_parameters)
        aira__say(s, name, AIRA_CHECK_FAIL,
                  "%lld parameters in %lld layer%s of it, the task allows %lld in the whole model: at most %lld a "
                  "layer",
                  (long long)parameters, (long long)layers, layers == 1 ? "" : "s", (long long)o->max_parameters,
                  (long long)(o->max_parameters / layers));
    else if (o->max_flops > 0 && flops > o->max_flops)
        aira__say(s, name, AIRA_CHECK_FAIL,
                  "%.4g FLOPs per token (three times those of a forward pass) in %lld layer%s of it at length %lld, "
                  "the task allows %.4g in the whole model; most are in %s",
                  flops, (long long)layers, layers == 1 ? "" : "s", (long long)length, o->max_flops, at->work);
    else if (o->max_exponent > 0 && exponent > o->max_exponent + 0.05)
        aira__say(s, name, AIRA_CHECK_FAIL,
                  "from length %lld to %lld its %s grows as T^%.2f, the task allows T^%.4g; the most is in %s: bound "
                  "what a position reads (a window, chunks, a scan; a long convolution costs T log T)",
                  (long long)grows.near, (long long)grows.far,
                  grows.flops > grows.memory ? "number of FLOPs" : "memory", exponent, o->max_exponent,
                  grows.flops > grows.memory ? far->work : far->result);
    else
        aira__say(s, name, AIRA_CHECK_PASS,
                  "%lld parameters and %.4g FLOPs per token (three times those of a forward pass) in %lld layer%s of "
                  "it; cost grows as T^%.2f",
                  (long long)parameters, flops, (long long)layers, layers == 1 ? "" : "s", exponent);
}

/* A plugin is judged far out; a mechanism at the length that it will be trained at, and at half of it: one that writes
   out every position would not fit a graph of 65,536. */
void aira__check_cost(const aira__subject *s, const aira__layer *layer, int64_t width) {
    const char *name = aira__start(s, "cost");
    int64_t length = s->place && s->place->length > 0 ? s->place->length : 128;
    int64_t far = s->place ? (length > 256 ? length : 256) : 1 << 16, near = far / 2;
    cost at, from, to;
    aira_error error = {0};
    if (!measure(s, layer, length, width, &at, &error) || !measure(s, layer, near, width, &from, &error) ||
        !measure(s, layer, far, width, &to, &error)) {
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
        return;
    }
    const aira_primitive *table = layer->table;
    int64_t cache = AIRA_HAS(aira_primitive, table, kv_elements_per_token)
                        ? table->kv_elements_per_token(layer->self, width)
                        : 0;
    double ratio = log((double)far / (double)near);
    growth grows = {.memory = log(to.elements / from.elements) / ratio, .near = near, .far = far};
    if (from.counts.flops > 0) grows.flops = log(to.counts.flops / from.counts.flops) / ratio;
    aira__say(s, name, AIRA_CHECK_PASS,
              "%lld parameters and %.0f FLOPs per token at width %lld, length %lld; %lld cached elements per token; "
              "FLOPs grow as T^%.2f, memory as T^%.2f",
              (long long)at.counts.parameters, at.counts.flops / (double)length, (long long)width, (long long)length,
              (long long)cache, grows.flops, grows.memory);
    check_limits(s, &at, &to, length, grows);
}

void aira__check_primitive(aira__subject *s) {
    const aira_primitive *table = s->plugin->table;
    if (!check_table(s, table)) return;
    const aira__layer layer = {table->token, s->plugin->id, s->canonical_text, table, s->self};
    int64_t width = aira__check_shapes(s, &layer);
    if (!width) return;
    aira__check_purity(s, &layer, width);
    aira__check_gradient(s, &layer, width);
    aira__check_leaks(s, &layer, width);
    aira__check_cost(s, &layer, width);
}
