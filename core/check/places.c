/* core/check/places.c - leaks of a mechanism in the very graphs that a task trains and scores: at its batch, its
 * length, each of its layers, in training and out of it.
 *
 * leaks.c measures a small graph thoroughly. A build that asks for its place could behave there and look ahead at
 * another length, in another layer or only when it is scored. Here every distinct graph is measured, with two
 * replaced positions each.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "core/check/check.h"
#include "core/check/mechanism.h"

#define LEAK 1e-10 /* of the output's size, as in leaks.c */
#define MAX_GRAPHS 64

typedef struct look {
    const aira__subject *subject;
    const aira__layer *layer;
    const aira__primitive_place *place;
    aira__trial *trial;
    int64_t n;
    double *x, *base, *y;
    char text[400]; /* what leaks; "" while nothing does */
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

/* Parameters all anew, or around their initial values where that gives no finite output. */
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
    return status ? status : aira__fail(error, AIRA_E_FAILED, "y is not finite for normal x");
}

static void judge(look *l, int64_t t, double size) {
    const aira__primitive_place *p = l->place;
    int64_t row = p->length * p->width;
    for (int64_t k = 0; k < l->n && !l->text[0]; k++) {
        double moved = fabs(l->y[k] - l->base[k]) / size;
        int64_t sequence = k / row, at = k / p->width % p->length;
        if (l->y[k] == l->base[k] || moved <= LEAK) continue;
        const char *when = p->training ? "in training" : "when it is scored";
        if (sequence > 0)
            snprintf(
                l->text, sizeof l->text,
                "at batch %lld, length %lld, layer %lld, %s, sequence %lld moves when another one changes (by %.1e)",
                (long long)p->batch, (long long)p->length, (long long)p->layer, when, (long long)sequence, moved);
        else if (p->causal && at < t)
            snprintf(
                l->text, sizeof l->text,
                "at batch %lld, length %lld, layer %lld, %s, output %lld moves when position %lld changes (by %.1e)",
                (long long)p->batch, (long long)p->length, (long long)p->layer, when, (long long)at, (long long)t,
                moved);
    }
}

static aira_status measure(look *l, aira_error *error) {
    const aira__primitive_place *p = l->place;
    const int64_t replaced[] = {p->length / 2, p->length - 1};
    aira_status status = start(l, error);
    double sum = 1e-300;
    for (int64_t k = 0; k < l->n; k++) sum += l->base[k] * l->base[k];
    for (int k = 0; k < (p->causal ? 2 : 1) && !status && !l->text[0]; k++) { /* other sequences need only one */
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

static aira_status look_at(look *l, char known[MAX_GRAPHS][65], int *n, aira_error *error) {
    aira__primitive_place place = *l->place;
    aira_status status = AIRA_OK;
    place.compute_dtype = AIRA_F64;
    aira_graph *g = aira__primitive_build_at(l->layer, &place, error);
    if (!g) return AIRA_E_FAILED;
    if (is_known(g, known, n, error, &status) || status) {
        aira__graph_destroy(g);
        return status;
    }
    l->n = place.batch * place.length * place.width;
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

void aira__check_places(const aira__subject *s, const aira__layer *layer) {
    const aira__mechanism_options *o = s->place;
    if (!o || !o->places || o->n_places == 0) return;
    const char *name = aira__start(s, "in place");
    char(*known)[65] = calloc(MAX_GRAPHS, sizeof *known);
    look l = {.subject = s, .layer = layer};
    aira_error error = {0};
    int n = 0;
    aira_status status = known ? AIRA_OK : aira__fail(&error, AIRA_E_MEMORY, "out of memory");
    for (int k = 0; k < o->n_places && !status && !l.text[0]; k++) {
        l.place = &o->places[k];
        status = look_at(&l, known, &n, &error);
    }
    free(known);
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (l.text[0])
        aira__say(s, name, AIRA_CHECK_FAIL, "%s", l.text);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "%d places of the task, %d different graphs: nothing leaks", o->n_places,
                  n);
}
