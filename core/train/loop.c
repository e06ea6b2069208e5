/* core/train/loop.c - a training from its next step to its end; the curve. */
#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/train/task.h"
#include "core/train/training_internal.h"

#define CURVE_POINTS 200 /* about, where the recipe does not say */

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

aira_status aira__training_run(aira__training *t, int64_t steps_left, const aira__run_hooks *hooks, aira__curve *curve,
                               bool *nan, aira_error *error) {
    static const aira__run_hooks none = {NULL, NULL, 0};
    int64_t end = steps_left > 0 ? t->next + steps_left : INT64_MAX, every = t->options.recipe->log_every;
    if (hooks == NULL) hooks = &none;
    if (every == 0) every = t->total > CURVE_POINTS ? (t->total + CURVE_POINTS - 1) / CURVE_POINTS : 1;
    *nan = false;
    while (t->next < end && !is_over(t)) {
        aira__step_result r;
        double score = NAN;
        aira_status status = aira__training_step(t, progress_of(t), &r, nan, error);
        if (status != AIRA_OK) {
            if (*nan) keep(curve, &r, NAN, NULL);
            return status;
        }
        bool evaluated = t->eval_every > 0 && t->next % t->eval_every == 0;
        if (evaluated) {
            aira__scores scores;
            if ((status = aira__training_evaluate(t, AIRA_SPLIT_SEARCH, &scores, error)) != AIRA_OK) return status;
            score = scores.score;
        }
        if (evaluated || r.step % every == 0 || is_over(t)) status = keep(curve, &r, score, error);
        if (status != AIRA_OK) return status;
        if (hooks->step != NULL && hooks->step(hooks->context, &r, t->total) != 0) {
            return aira__fail(error, AIRA_E_CANCELLED, "stopped after step %lld", (long long)r.step);
        }
        if (good_enough(t, score)) break;
        if (hooks->deadline > 0 && aira__now() >= hooks->deadline && !is_over(t)) {
            return aira__fail(error, AIRA_E_TIMEOUT, "the time limit ran out after step %lld of %lld",
                              (long long)r.step, (long long)t->total);
        }
    }
    return AIRA_OK;
}
