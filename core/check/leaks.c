/* leaks.c - what a primitive does with its input, measured: causality, independence of sequences, reach, repeatability,
 * bf16.
 *
 * All in fp64 (where rounding cannot hide or fake a dependence), with all parameters redrawn non-zero in three draws
 * and once around their initial values: a primitive may hide a look ahead behind a gate that starts at zero, and
 * training opens it. One position of one sequence is replaced at a time; everything that moved is then known. Short
 * sequences show what happens between any two positions, a long one what happens between chunks of a chunked layer.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check/check.h"
#include "core/check/gradient.h"
#include "core/check/mechanism.h"

enum { SEQUENCES = 3, LENGTH = 10, LONG = 80, DRAWS = 4 };
#define LEAK 1e-10 /* of the output's size; fp64 rounding is a thousand times smaller */

typedef struct probe {
    const aira__subject *subject;
    const aira__layer *layer;
    int64_t length, width, n; /* T, C; elements of x and y */
    aira__trial *trial;
    double *x, *other, *base, *y; /* n each */
    double *kept;                 /* a position of x while it is replaced */
    uint8_t *moves;               /* y elements that ever moved */
    double ahead, across, beside; /* largest movement of earlier outputs, of other sequences, of later outputs */
    int64_t ahead_from, ahead_to, across_from;
    bool timid; /* parameters redrawn anew give no finite output: all draws are around the initial values */
} probe;

static bool all_finite(const double *values, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        if (!isfinite(values[k])) return false;
    }
    return true;
}

/* Without a task the place is causal. */
static bool is_causal(const probe *p) { return !p->subject->place || p->subject->place->causal; }
static bool is_trained(const probe *p) { return p->subject->place && p->subject->place->weights; }

static aira_status run(probe *p, const double *x, double *y, aira_error *error) {
    aira_status status = aira__trial_set_input(p->trial, "x", x, error);
    if (!status) status = aira__trial_run(p->trial, error);
    if (!status) status = aira__trial_output(p->trial, "y", y, error);
    return status;
}

/* Draws parameters and input until the output is finite: all anew, else around the initial values. */
static aira_status draw(probe *p, uint64_t seed, aira_error *error) {
    bool around = p->timid || seed == DRAWS - 1;
    aira__draw_values(seed, "x", AIRA_F64, 0, p->x, p->n);
    aira__draw_values(seed, "other", AIRA_F64, 0, p->other, p->n);
    for (int attempt = 0; attempt < 2; attempt++) {
        aira_status status = aira__trial_redraw(p->trial, seed, around, error);
        if (!status) status = aira__put_weights(p->subject, p->layer, p->trial, error);
        if (!status) status = run(p, p->x, p->base, error);
        if (status) return status;
        if (all_finite(p->base, p->n)) return AIRA_OK;
        p->timid = around = true;
    }
    return aira__fail(error, AIRA_E_FAILED,
                      "y is not finite for normal x, with parameters redrawn and drawn around their initial values");
}

static double size_of(const double *values, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += values[k] * values[k];
    return sqrt(sum / (double)n) + 1e-300;
}

/* Books what replacing position t of sequence 0 moved. */
static void book(probe *p, int64_t t, double size) {
    for (int64_t k = 0; k < p->n; k++) {
        if (p->y[k] == p->base[k]) continue;
        double moved = fabs(p->y[k] - p->base[k]) / size;
        int64_t sequence = k / (p->length * p->width), at = k / p->width % p->length;
        if (!isfinite(moved)) moved = INFINITY;
        p->moves[k] = 1;
        if (sequence > 0 && moved > p->across) {
            p->across = moved;
            p->across_from = t;
        }
        if (sequence == 0 && at < t && moved > p->ahead) {
            p->ahead = moved;
            p->ahead_from = t;
            p->ahead_to = at;
        }
        if (sequence == 0 && at > t && moved > p->beside) p->beside = moved;
    }
}

/* All positions of a short sequence; around multiples of 16 in a long one. */
static bool is_probed(const probe *p, int64_t t) {
    return p->length <= LENGTH || t % 16 == 0 || t % 16 == 1 || t % 16 == 15;
}

static aira_status measure(probe *p, uint64_t draws, aira_error *error) {
    aira_status status = AIRA_OK;
    for (uint64_t seed = 0; seed < draws && !status; seed++) {
        status = draw(p, seed, error);
        double size = size_of(p->base, p->n);
        for (int64_t t = 0; t < p->length && !status; t++) {
            if (!is_probed(p, t)) continue;
            double *at = p->x + t * p->width;
            const size_t row = (size_t)p->width * sizeof *at;
            memcpy(p->kept, at, row);
            memcpy(at, p->other + t * p->width, row);
            status = run(p, p->x, p->y, error);
            memcpy(at, p->kept, row);
            if (!status) book(p, t, size);
        }
        if (!status) status = run(p, p->other, p->y, error); /* all positions of all sequences: what never moves? */
        for (int64_t k = 0; k < p->n && !status; k++) p->moves[k] |= p->y[k] != p->base[k];
    }
    return status;
}

static void judge_causality(const probe *p) {
    const aira__subject *s = p->subject;
    const char *name = "causality";
    bool mixes = p->layer->table->flags & AIRA_PRIMITIVE_MIXES_TIME;
    if (!is_causal(p) && mixes)
        aira__say(s, name, AIRA_CHECK_SKIP, "the task is not causal: every output may depend on every position");
    else if (p->ahead > LEAK)
        aira__say(s, name, AIRA_CHECK_FAIL, "output %lld moves when position %lld changes (by %.1e of its size)",
                  (long long)p->ahead_to, (long long)p->ahead_from, p->ahead);
    else if (!mixes && p->beside > LEAK)
        aira__say(s, name, AIRA_CHECK_FAIL,
                  "reads earlier positions but does not declare AIRA_PRIMITIVE_MIXES_TIME (moved by %.1e)", p->beside);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "outputs before a changed position stay %s, lengths %d and %d, %s",
                  p->ahead > 0 ? "within rounding" : "identical", LENGTH, LONG,
                  is_trained(p) ? "with the trained weights" : "4 draws of all parameters");
}

static void judge_batch(const probe *p) {
    const aira__subject *s = p->subject;
    if (p->across > LEAK)
        aira__say(s, "batch", AIRA_CHECK_FAIL,
                  "other sequences of the batch move when position %lld of one changes (by %.1e of their size)",
                  (long long)p->across_from, p->across);
    else
        aira__say(s, "batch", AIRA_CHECK_PASS, "other sequences of the batch stay %s",
                  p->across > 0 ? "within rounding" : "identical");
}

static void judge_repeat(probe *p) {
    const char *name = aira__start(p->subject, "repeatable");
    aira_error error = {0};
    aira_status status = run(p, p->x, p->base, &error);
    if (!status) status = run(p, p->x, p->y, &error);
    if (status)
        aira__say(p->subject, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (memcmp(p->base, p->y, (size_t)p->n * sizeof *p->y) != 0)
        aira__say(p->subject, name, AIRA_CHECK_FAIL, "run twice on the same input, different results");
    else
        aira__say(p->subject, name, AIRA_CHECK_PASS, "run twice, the same bits");
}

/* --- reach ----------------------------------------------------------------------------------------------------------
 */

typedef struct reach {
    int64_t elements, reached; /* of parameters */
    char text[256];            /* the first thing that is not reached */
} reach;

/* Marks the non-zero elements of gradient `name` in three draws. hit: n bytes. */
static aira_status mark(aira__trial *trial, const char *name, uint8_t *hit, int64_t n, bool around, aira_error *error) {
    char output[192];
    snprintf(output, sizeof output, "check.grad.%s", name);
    memset(hit, 0, (size_t)n);
    if (!aira__graph_find_output(trial->graph, output)) return AIRA_OK;
    double *values = aira__doubles(n, error);
    if (!values) return AIRA_E_MEMORY;
    aira_status status = AIRA_OK;
    for (uint64_t seed = 0; seed < 3 && !status; seed++) {
        status = aira__trial_redraw(trial, seed, around, error);
        if (!status) status = aira__trial_draw_inputs(trial, seed, 8, error);
        if (!status) status = aira__trial_run(trial, error);
        if (!status) status = aira__trial_output(trial, output, values, error);
        for (int64_t k = 0; k < n && !status; k++) hit[k] |= values[k] != 0;
    }
    free(values);
    return status;
}

static aira_status reach_parameters(aira__trial *trial, reach *r, bool around, aira_error *error) {
    aira_status status = AIRA_OK;
    for (uint32_t k = 0; k < trial->graph->n_variables && !status; k++) {
        const aira__variable *v = trial->graph->variables[k];
        if (v->kind != AIRA_VARIABLE_PARAM || v->flags & AIRA_PARAM_FROZEN) continue;
        int64_t n = aira__shape_elements(&v->shape), hits = 0;
        uint8_t *hit = malloc((size_t)n + 1);
        if (!hit) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
        status = mark(trial, v->name, hit, n, around, error);
        for (int64_t e = 0; e < n && !status; e++) hits += hit[e];
        free(hit);
        r->elements += n;
        r->reached += hits;
        if (!status && hits == 0 && !r->text[0])
            snprintf(r->text, sizeof r->text, "parameter %s gets no gradient: it changes nothing", v->name);
    }
    return status;
}

/* Every channel of x, and every position but the last, must matter to something. */
static aira_status reach_input(const probe *p, aira__trial *trial, reach *r, bool around, aira_error *error) {
    uint8_t *hit = malloc((size_t)p->n + 1);
    if (!hit) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira_status status = mark(trial, "x", hit, p->n, around, error);
    for (int64_t c = 0; c < p->width && !status && !r->text[0]; c++) {
        int64_t hits = 0;
        for (int64_t k = c; k < p->n; k += p->width) hits += hit[k];
        if (hits == 0) snprintf(r->text, sizeof r->text, "channel %lld of x changes nothing", (long long)c);
    }
    for (int64_t t = 0; t + 1 < LENGTH && !status && !r->text[0]; t++) {
        int64_t hits = 0;
        for (int64_t c = 0; c < p->width; c++) hits += hit[t * p->width + c];
        if (hits == 0) snprintf(r->text, sizeof r->text, "position %lld of x changes nothing", (long long)t);
    }
    free(hit);
    return status;
}

/* Dropout and the like: a single output may have been dropped in all runs. */
static bool draws_each_step(const aira_graph *graph) {
    for (uint32_t k = 0; k < graph->n_inputs; k++) {
        if (strcmp(graph->inputs[k].name, "draw") == 0) return true;
    }
    return false;
}

static void judge_reach(const probe *p) {
    const aira__subject *s = p->subject;
    const char *name = aira__start(s, "reach");
    reach r = {0};
    aira_error error = {0};
    aira__trial *trial = NULL;
    aira_graph *graph = aira__primitive_build(p->layer, SEQUENCES, LENGTH, p->width, AIRA_F64, is_causal(p), &error);
    aira_status status = graph ? aira__gradient_append(graph, "y", &error) : AIRA_E_FAILED;
    if (graph && status) aira__graph_destroy(graph);
    if (!status) status = aira__trial_create(&s->lab, graph, 1, &trial, &error);
    if (!status) status = reach_input(p, trial, &r, p->timid, &error);
    if (!status) status = reach_parameters(trial, &r, p->timid, &error);
    aira__trial_destroy(trial);
    for (int64_t k = 0; k < p->n && !r.text[0] && !draws_each_step(p->trial->graph); k++) {
        if (p->moves[k]) continue;
        snprintf(r.text, sizeof r.text, "output position %lld, channel %lld depends on nothing",
                 (long long)(k / p->width % LENGTH), (long long)(k % p->width));
    }
    if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (r.text[0])
        aira__say(s, name, AIRA_CHECK_FAIL, "%s", r.text);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "every output, every channel of x and %.4g %% of the parameters take part",
                  r.elements ? 100.0 * (double)r.reached / (double)r.elements : 100.0);
}

/* --- bf16 -----------------------------------------------------------------------------------------------------------
 */

/* Output and gradients, finite or named in where; at initial values and redrawn. */
static aira_status finite_outputs(aira__trial *trial, char *where, size_t size, aira_error *error) {
    aira_status status = AIRA_OK;
    for (int redraw = 0; redraw < 2 && !status && !where[0]; redraw++) {
        status = aira__trial_draw_inputs(trial, 3, 8, error);
        if (!status && redraw) status = aira__trial_redraw(trial, 3, true, error);
        if (!status) status = aira__trial_run(trial, error);
        for (uint32_t k = 0; k < trial->graph->n_outputs && !status && !where[0]; k++) {
            const aira__output *output = &trial->graph->outputs[k];
            int64_t n = aira__shape_elements(&output->tensor->shape);
            double *values = aira__doubles(n, error);
            if (!values) return AIRA_E_MEMORY;
            status = aira__trial_output(trial, output->name, values, error);
            if (!status && !all_finite(values, n)) snprintf(where, size, "%s", output->name);
            free(values);
        }
    }
    return status;
}

static void judge_bf16(const probe *p) {
    const aira__subject *s = p->subject;
    const char *name = aira__start(s, "bf16");
    char where[192] = "";
    aira_error error = {0};
    aira__trial *trial = NULL;
    aira__lab lab = s->lab;
    lab.no_fusion = true; /* chains may keep more bits than other devices do */
    aira_graph *graph = aira__primitive_build(p->layer, SEQUENCES, LENGTH, p->width, AIRA_BF16, is_causal(p), &error);
    aira_status status = graph ? aira__gradient_append(graph, "y", &error) : AIRA_E_FAILED;
    if (graph && status) aira__graph_destroy(graph);
    if (!status) status = aira__trial_create(&lab, graph, 1, &trial, &error);
    if (!status) status = finite_outputs(trial, where, sizeof where, &error);
    aira__trial_destroy(trial);
    if (status == AIRA_E_UNSUPPORTED)
        aira__say(s, name, AIRA_CHECK_SKIP, "%.400s", error.text);
    else if (status)
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    else if (where[0])
        aira__say(s, name, AIRA_CHECK_FAIL, "%s is not finite in bf16 (8 bits of precision), though it is in fp64",
                  where);
    else
        aira__say(s, name, AIRA_CHECK_PASS, "output and gradients are finite");
}

static bool open_probe(probe *p, aira_error *error) {
    p->n = SEQUENCES * p->length * p->width;
    p->x = aira__doubles(4 * p->n + p->width, error);
    p->moves = calloc((size_t)p->n, 1);
    if (!p->x || !p->moves) return false;
    p->other = p->x + p->n;
    p->base = p->other + p->n;
    p->y = p->base + p->n;
    p->kept = p->y + p->n;
    aira_graph *graph = aira__primitive_build(p->layer, SEQUENCES, p->length, p->width, AIRA_F64, is_causal(p), error);
    if (!graph || aira__trial_create(&p->subject->lab, graph, 1, &p->trial, error)) return false;
    return !aira__trial_draw_inputs(p->trial, 1, 8, error); /* x comes anew; what else there is stays */
}

static void close_probe(probe *p) {
    aira__trial_destroy(p->trial);
    free(p->x);
    free(p->moves);
}

/* The long sequence, one draw; what it finds and the short ones did not is added to theirs. */
static bool measure_long(probe *p, aira_error *error) {
    probe q = {.subject = p->subject, .layer = p->layer, .length = LONG, .width = p->width, .timid = p->timid};
    bool done = open_probe(&q, error) && !measure(&q, 1, error);
    close_probe(&q);
    if (q.ahead > p->ahead) {
        p->ahead = q.ahead;
        p->ahead_from = q.ahead_from;
        p->ahead_to = q.ahead_to;
    }
    if (q.across > p->across) {
        p->across = q.across;
        p->across_from = q.across_from;
    }
    p->beside = fmax(p->beside, q.beside);
    return done;
}

void aira__check_leaks(const aira__subject *s, const aira__layer *layer, int64_t width) {
    probe p = {.subject = s, .layer = layer, .length = LENGTH, .width = width};
    const char *name = aira__start(s, "causality");
    aira_error error = {0};
    if (!open_probe(&p, &error) || measure(&p, DRAWS, &error) || !measure_long(&p, &error)) {
        aira__say(s, name, AIRA_CHECK_FAIL, "%.400s", error.text);
    } else {
        judge_causality(&p);
        judge_batch(&p);
        judge_repeat(&p);
        if (!is_trained(&p)) judge_reach(&p);
        if (!is_trained(&p)) judge_bf16(&p);
    }
    close_probe(&p);
}
