/* core/train/loop.c - a training from its next step to its end; the curve. */
#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/train/task.h"
#include "core/train/training_internal.h"

#define CURVE_POINTS 200   /* about, where the recipe does not say */
#define AHEAD_SECONDS 0.25 /* of steps that are under way at once */

bool aira__curve_add(aira__curve *curve, int64_t step, double loss, double score) {
    if (curve->n == curve->capacity) {
        int capacity = curve->capacity > 0 ? 2 * curve->capacity : 64;
        aira__point *points = realloc(curve->points, (size_t)capacity * sizeof *points);
        if (points == NULL) return false;
        curve->points = points;
        curve->capacity = capacity;
    }
    curve->points[curve->n++] = (aira__point){step, loss, score};
    return true;
}

json_t *aira__curve_json(const aira__curve *curve) {
    json_t *list = json_array();
    for (int k = 0; list != NULL && k < curve->n; k++) {
        const aira__point *p = &curve->points[k];
        json_t *point = json_pack("[I, o, o]", (json_int_t)p->step, aira__json_number(p->loss),
                                  aira__json_number(p->score));
        if (point == NULL || json_array_append_new(list, point) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static bool good_enough(const aira__training *t, double score) {
    double wanted = t->options.recipe->early_stop;
    if (wanted <= 0 || isnan(score)) return false;
    return aira__metric_is_loss(t->options.info->metric) ? score <= wanted : score >= wanted;
}

/* Share of the time of a recipe bounded in seconds. */
static double progress_of(const aira__training *t) {
    double seconds = t->options.recipe->seconds;
    return seconds > 0 ? t->elapsed / seconds : 0;
}

static bool is_over(const aira__training *t) { return t->total > 0 ? t->next >= t->total : progress_of(t) >= 1; }

static aira_status keep(aira__curve *curve, const aira__step_result *r, double score, aira_error *error) {
    if (curve == NULL || aira__curve_add(curve, r->step, r->loss, score)) return AIRA_OK;
    return aira__fail(error, AIRA_E_MEMORY, "out of memory for a learning curve");
}

/* Points of the curve are this far apart. */
static int64_t curve_gap(const aira__training *t) {
    int64_t every = t->options.recipe->log_every;
    if (every > 0) return every;
    return t->total > CURVE_POINTS ? (t->total + CURVE_POINTS - 1) / CURVE_POINTS : 1;
}

/* How many steps may be under way at once: to the next evaluation or the end, and not much longer than AHEAD_SECONDS,
   so that time limits and news come in time. */
static int steps_ahead(const aira__training *t, const aira__run_hooks *hooks, int64_t end, double seconds) {
    int64_t n = AIRA__STEPS_AHEAD;
    if (!hooks->ahead || t->options.queue == NULL || t->total == 0 || seconds <= 0) return 1;
    if ((double)n * seconds > AHEAD_SECONDS) n = (int64_t)(AHEAD_SECONDS / seconds);
    if (t->eval_every > 0 && t->eval_every - t->next % t->eval_every < n) n = t->eval_every - t->next % t->eval_every;
    if (t->total - t->next < n) n = t->total - t->next;
    if (end - t->next < n) n = end - t->next;
    return n > 1 ? (int)n : 1;
}

/* What follows the last of a run of steps: its evaluation, if one is due. */
static aira_status evaluate_due(aira__training *t, bool *evaluated, double *score, aira_error *error) {
    aira__scores scores;
    *score = NAN;
    *evaluated = t->eval_every > 0 && t->next % t->eval_every == 0;
    if (!*evaluated) return AIRA_OK;
    aira_status status = aira__training_evaluate(t, AIRA_SPLIT_SEARCH, &scores, error);
    if (status == AIRA_OK) *score = scores.score;
    return status;
}

/* A step that went well: its point of the curve, where one is due, and the hook. */
static aira_status tell(const aira__training *t, const aira__run_hooks *hooks, aira__curve *curve,
                        const aira__step_result *r, bool due, double score, aira_error *error) {
    aira_status status = due && r->measured ? keep(curve, r, score, error) : AIRA_OK;
    if (status != AIRA_OK || hooks->step == NULL || hooks->step(hooks->context, r, t->total) == 0) return status;
    return aira__fail(error, AIRA_E_CANCELLED, "stopped after step %lld", (long long)r->step);
}

/* n steps, what they have to tell, and the evaluation that follows the last one. *last is that one. */
static aira_status advance(aira__training *t, int n, const aira__run_hooks *hooks, aira__curve *curve,
                           aira__step_result *last, double *score, bool *nan, aira_error *error) {
    aira__step_result r[AIRA__STEPS_AHEAD];
    int done = 0;
    bool evaluated = false;
    int64_t every = curve_gap(t);
    aira_status status = aira__training_steps(t, n, progress_of(t), r, &done, nan, error), told = AIRA_OK;
    if (done == 0) return status;
    *last = r[done - 1];
    for (int k = 0; k < done - 1 && told == AIRA_OK; k++)
        told = tell(t, hooks, curve, &r[k], r[k].step % every == 0, NAN, error);
    if (told != AIRA_OK) {
        *nan = false; /* the steps before it were stopped */
        return told;
    }
    if (*nan) keep(curve, last, NAN, NULL);
    if (status == AIRA_OK) status = evaluate_due(t, &evaluated, score, error);
    if (status != AIRA_OK) return status;
    return tell(t, hooks, curve, last, evaluated || last->step % every == 0 || is_over(t), *score, error);
}

aira_status aira__training_run(aira__training *t, int64_t steps_left, const aira__run_hooks *hooks, aira__curve *curve,
                               bool *nan, aira_error *error) {
    static const aira__run_hooks none = {.step = NULL};
    int64_t end = steps_left > 0 ? t->next + steps_left : INT64_MAX;
    aira__step_result last = {.seconds = 0};
    double score = NAN;
    if (hooks == NULL) hooks = &none;
    *nan = false;
    while (t->next < end && !is_over(t)) {
        int n = steps_ahead(t, hooks, end, last.seconds);
        aira_status status = advance(t, n, hooks, curve, &last, &score, nan, error);
        if (status != AIRA_OK) return status;
        if (good_enough(t, score)) break;
        if (hooks->deadline > 0 && aira__now() >= hooks->deadline && !is_over(t)) {
            return aira__fail(error, AIRA_E_TIMEOUT, "the time limit ran out after step %lld of %lld",
                              (long long)last.step, (long long)t->total);
        }
    }
    return AIRA_OK;
}
