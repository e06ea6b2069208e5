/* core/check/places.c - leaks of a mechanism in the very graphs that a task trains and scores: at its batch, its
 * length, each of its layers, in training and out of it.
 *
 * leaks.c measures a small graph thoroughly. A build that asks for its place could behave there and look ahead at
 * another length, in another layer or only when it is scored. Here every distinct graph is measured, with two
 * replaced positions each, in two stages:
 *
 * 1. in fp32 on the fast kernels. They compute every row on its own and in a fixed order, so what does not depend on
 *    the replaced position keeps its bits. Most mechanisms are done here, in seconds at a length of 4,096.
 * 2. where a bit moves that should not (a long convolution by FFT shares roundings among positions), in fp64 on plain
 *    loops, where rounding stays a thousand times below LEAK.
 *
 * Two rows are measured where the graph for two is the one at hand but for its batch, all rows where it is not.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/check/check.h"
#include "core/check/mechanism.h"

#define LEAK 1e-10          /* of the output's size, as in leaks.c */
#define ROUNDING_F32 1e-3   /* of it: more is no rounding in fp32 either */
#define MEMORY (4ull << 30) /* bytes that a graph may take here: the training may run on another device */
#define MAX_GRAPHS 64

typedef struct look {
    const aira__subject *subject;
    const aira__layer *layer;
    const aira__primitive_place *place;
    double moved; /* the largest movement of what must stay, of the output's size; INFINITY: not finite in fp32 */
    int skipped;  /* graphs too large for MEMORY */
    aira__trial *trial;
    int64_t n;
    double *x, *base, *y;
    char text[400]; /* about `moved` */
} look;

aira_status aira__put_weights(const aira__subject *s, const aira__layer *layer, aira__trial *trial, aira_error *error) {
    const aira__mechanism_options *o = s->place;
    size_t scope = strlen(layer->token) + 1; /* "X.qkv.weight" */
    aira_status status = AIRA_OK;
    if (!o || !o->weights) return AIRA_OK;
    for (uint32_t k = 0; k < trial->graph->n_variables && !status; k++) {
        const aira__variable *v = trial->graph->variables[k];
        int64_t n = aira__shape_elements(&v->shape);
        double *values = aira__doubles(n, error);
        if (!values) return AIRA_E_MEMORY;
        if (strlen(v->name) > scope && o->weights(o->context, v->name + scope, values, n))
            status = aira__trial_set_variable(trial, v, values, error);
        free(values);
    }
    return status;
}

/* A mask that hides the end of every sequence, and positions that count. */
static aira_status set_place(look *l, aira_error *error) {
    const aira__primitive_place *p = l->place;
    int64_t n = p->batch * p->length;
    double *values = aira__doubles(n, error);
    if (!values) return AIRA_E_MEMORY;
    aira_status status = AIRA_OK;
    for (int64_t k = 0; k < n; k++) values[k] = k % p->length < p->length - p->length / 8;
    if (p->masked) status = aira__trial_set_input(l->trial, "mask", values, error);
    for (int64_t k = 0; k < n; k++) values[k] = (double)(k % p->length);
    if (!status && p->positioned) status = aira__trial_set_input(l->trial, "positions", values, error);
    free(values);
    return status;
}

static aira_status run(look *l, double *y, aira_error *error) {
    aira_status status = aira__trial_set_input(l->trial, "x", l->x, error);
    if (!status) status = aira__trial_run(l->trial, error);
    if (!status) status = aira__trial_output(l->trial, "y", y, error);
    return status;
}

/* Parameters all anew, or around their initial values where that gives no finite output. fp64 decides whether that is
   a failure. */
static aira_status start(look *l, aira_error *error) {
    aira_status status = aira__trial_draw_inputs(l->trial, 1, 8, error);
    if (!status) status = set_place(l, error);
    aira__draw_values(1, "x", AIRA_F64, 0, l->x, l->n);
    for (int around = 0; around < 2 && !status; around++) {
        bool finite = true;
        status = aira__trial_redraw(l->trial, 1, around, error);
        if (!status) status = aira__put_weights(l->subject, l->layer, l->trial, error);
        if (!status) status = run(l, l->base, error);
        for (int64_t k = 0; k < l->n && !status && finite; k++) finite = isfinite(l->base[k]);
        if (finite) return status;
    }
    l->moved = INFINITY;
    return status || l->place->compute_dtype != AIRA_F64
               ? status
               : aira__fail(error, AIRA_E_FAILED, "y is not finite for normal x");
}

/* Keeps the largest movement of what must not move. */
static void judge(look *l, int64_t t, double size) {
    const aira__primitive_place *p = l->place;
    const char *when = p->training ? "in training" : "when it is scored";
    int64_t row = p->length * p->width;
    for (int64_t k = 0; k < l->n; k++) {
        if (l->y[k] == l->base[k]) continue;
        double moved = fabs(l->y[k] - l->base[k]) / size;
        int64_t sequence = k / row, at = k / p->width % p->length;
        if (sequence == 0 && !(p->causal && at < t)) continue;
        if (!isfinite(moved)) moved = INFINITY;
        if (moved <= l->moved) continue;
        l->moved = moved;
        int n = snprintf(l->text, sizeof l->text, "at batch %lld, length %lld, layer %lld, %s, ", (long long)p->batch,
                         (long long)p->length, (long long)p->layer, when);
        if (sequence > 0)
            snprintf(l->text + n, sizeof l->text - (size_t)n, "sequence %lld moves when another one changes (by %.1e)",
                     (long long)sequence, moved);
        else
            snprintf(l->text + n, sizeof l->text - (size_t)n, "output %lld moves when position %lld changes (by %.1e)",
                     (long long)at, (long long)t, moved);
    }
}

static aira_status measure(look *l, aira_error *error) {
    const aira__primitive_place *p = l->place;
    const int64_t replaced[] = {p->length / 2, p->length - 1};
    aira_status status = start(l, error);
    double sum = 1e-300;
    for (int64_t k = 0; k < l->n; k++) sum += l->base[k] * l->base[k];
    for (int k = 0; k < (p->causal ? 2 : 1) && !status && l->moved < INFINITY;
         k++) { /* other sequences need only one */
        double *at = l->x + replaced[k] * p->width;
        for (int64_t c = 0; c < p->width; c++) at[c] = -1.5 * at[c] + 0.3;
        status = run(l, l->y, error);
        if (!status) judge(l, replaced[k], sqrt(sum / (double)l->n));
        aira__draw_values(1, "x", AIRA_F64, 0, l->x, l->n);
    }
    return status;
}

/* Has this graph been measured? Remembers it if not. */
static bool is_known(const aira_graph *g, char known[MAX_GRAPHS][65], int *n, aira_error *error, aira_status *status) {
    aira__bytes bytes = {0};
    char hash[65];
    *status = aira__graph_write(g, &bytes, error);
    if (*status) return false;
    aira__sha256_hex(bytes.data, bytes.size, hash);
    free(bytes.data);
    for (int k = 0; k < *n; k++) {
        if (strcmp(known[k], hash) == 0) return true;
    }
    if (*n < MAX_GRAPHS) memcpy(known[(*n)++], hash, sizeof hash);
    return false;
}

static aira_status fits(const look *l, aira_graph *g, bool *small, aira_error *error) {
    const aira__session_options options = {.copies = 1};
    aira__footprint need = {0};
    aira__session *planned = NULL;
    aira_status status = aira__session_plan(l->subject->lab.table, l->subject->lab.self, NULL, &g, 1, &options,
                                            &planned, error);
    if (!status) aira__session_footprint(planned, &need);
    aira__session_destroy(planned);
    *small = need.variables + need.activations + need.io <= MEMORY;
    return status;
}

/* One stage on one graph, which is taken over. *done false: it is too large. */
static aira_status look_at(look *l, const aira__primitive_place *place, aira_graph *g, bool *done, aira_error *error) {
    aira_status status = fits(l, g, done, error);
    if (status || !*done) {
        aira__graph_destroy(g);
        return status;
    }
    l->place = place;
    l->moved = 0;
    l->n = place->batch * place->length * place->width;
    l->x = aira__doubles(3 * l->n, error);
    if (!l->x) {
        aira__graph_destroy(g);
        return AIRA_E_MEMORY;
    }
    l->base = l->x + l->n;
    l->y = l->base + l->n;
    status = aira__trial_create(&l->subject->lab, g, 1, &l->trial, error);
    if (!status) status = measure(l, error);
    if (l->trial) aira__trial_destroy(l->trial);
    l->trial = NULL;
    free(l->x);
    return status;
}

/* Two sizes or attributes of graphs for a batch of `of` and of 2: equal, or as the batches. */
static bool same_numbers(const int64_t *a, const int64_t *b, uint32_t n, int64_t of) {
    for (uint32_t k = 0; k < n; k++) {
        if (a[k] != b[k] && a[k] * 2 != b[k] * of) return false;
    }
    return true;
}

static bool same_operation(const aira__op *a, const aira__op *b, int64_t of) {
    if (a->code != b->code || a->n_in != b->n_in || a->n_out != b->n_out || a->n_i != b->n_i || a->n_f != b->n_f ||
        !same_numbers(a->i, b->i, a->n_i, of) || (a->n_f && memcmp(a->f, b->f, a->n_f * sizeof *a->f) != 0))
        return false;
    for (uint32_t k = 0; k < a->n_in; k++) {
        if (a->in[k]->id != b->in[k]->id) return false;
    }
    for (uint32_t k = 0; k < a->n_out; k++) {
        const aira_shape *x = &a->out[k]->shape, *y = &b->out[k]->shape;
        if (x->rank != y->rank || !same_numbers(x->dims, y->dims, x->rank, of)) return false;
    }
    return true;
}

/* Is graph b, for a batch of two, what a is for a batch of `of`? */
static bool same_but_for_batch(const aira_graph *a, const aira_graph *b, int64_t of) {
    bool same = a->n_ops == b->n_ops && a->n_variables == b->n_variables;
    for (uint32_t k = 0; same && k < a->n_ops; k++) same = same_operation(a->ops[k], b->ops[k], of);
    for (uint32_t k = 0; same && k < a->n_variables; k++)
        same = strcmp(a->variables[k]->name, b->variables[k]->name) == 0;
    return same;
}

/* The graph of a place in this type, for two rows if it is the same for two: whatever moves among many moves there too.
 *place: with the rows that it has. */
static aira_graph *build(const look *l, const aira__primitive_place *asked, uint32_t dtype,
                         aira__primitive_place *place, aira_error *error) {
    aira_error unused = {0};
    *place = *asked;
    place->compute_dtype = dtype;
    aira_graph *whole = aira__primitive_build_at(l->layer, place, error);
    if (!whole || asked->batch <= 2) return whole;
    place->batch = 2;
    aira_graph *few = aira__primitive_build_at(l->layer, place, &unused);
    bool enough = few && same_but_for_batch(whole, few, asked->batch);
    if (!enough) place->batch = asked->batch;
    aira__graph_destroy(enough ? whole : few);
    return enough ? few : whole;
}

/* One stage. *done false: it is too large for this. */
static aira_status look_in(look *l, const aira__primitive_place *asked, uint32_t dtype, bool *done,
                           char known[MAX_GRAPHS][65], int *n, aira_error *error) {
    aira__primitive_place place;
    aira_status status = AIRA_OK;
    aira_graph *g = build(l, asked, dtype, &place, error);
    *done = true;
    if (!g) return AIRA_E_FAILED;
    if (known && (is_known(g, known, n, error, &status) || status)) {
        aira__graph_destroy(g);
        return status;
    }
    status = look_at(l, &place, g, done, error);
    if (!status && !*done && place.batch > 2) {
        l->moved = INFINITY;
        snprintf(
            l->text, sizeof l->text,
            "at batch %lld, length %lld, layer %lld it builds another graph than for two sequences, too large to be "
            "measured here: build must not depend on the batch",
            (long long)place.batch, (long long)place.length, (long long)place.layer);
        *done = true;
    }
    return status;
}

static aira_status look_twice(look *l, const aira__primitive_place *asked, char known[MAX_GRAPHS][65], int *n,
                              aira_error *error) {
    bool done = false, closely = false;
    aira_status status = look_in(l, asked, AIRA_F32, &done, known, n, error);
    if (!status && done && l->moved > 0) {
        double before = l->moved;
        status = look_in(l, asked, AIRA_F64, &closely, NULL, NULL, error);
        if (!status && (closely ? l->moved <= LEAK : before <= ROUNDING_F32 || before == INFINITY)) l->moved = 0;
        done = closely || l->moved > 0;
    }
    if (!done) l->skipped++;
    return status;
}

void aira__check_places(const aira__subject *s, const aira__layer *layer) {
    const aira__mechanism_options *o = s->place;
    if (!o || !o->places || o->n_places == 0) return;
    const char *name = aira__start(s, "in place");
    char(*known)[65] = calloc(MAX_GRAPHS, sizeof *known);
    look l = {.subject = s, .layer = layer};
    aira_error error = {0};
    int n = 0;
    aira_status status = known ? AIRA_OK : aira__fail(&error, AIRA_E_MEMORY, "out of memory");
    for (int k = 0; k < o->n_places && !status && l.moved == 0; k++) {
        status = look_twice(&l, &o->places[k], known, &n, &error);
    }
    free(known);
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (l.moved > 0)
        aira__say(s, name, AIRA_CHECK_FAIL, "%s", l.text);
    else if (l.skipped == n)
        aira__say(s, name, AIRA_CHECK_SKIP, "all %d places of the task take more than %d GiB here", o->n_places,
                  (int)(MEMORY >> 30));
    else if (l.skipped)
        aira__say(
            s, name, AIRA_CHECK_PASS,
            "%d places of the task, %d different graphs: nothing leaks; %d of them take more than %d GiB here and "
            "were not measured",
            o->n_places, n, l.skipped, (int)(MEMORY >> 30));
    else
        aira__say(s, name, AIRA_CHECK_PASS, "%d place%s of the task, %d different graph%s: nothing leaks", o->n_places,
                  o->n_places == 1 ? "" : "s", n, n == 1 ? "" : "s");
}
