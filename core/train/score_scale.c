/* core/train/score_scale.c - see score_scale.h */
#include "core/train/score_scale.h"

#include <math.h>

#include "core/base/json.h"

void aira__score_scale_read(aira__node *map, aira__score_scale *out, aira__diagnostics *d) {
    static const char *const accepted[] = {"worst", "best", "optimum", NULL};
    *out = (aira__score_scale){NAN, NAN, NAN};
    if (map == NULL) return;
    if (map->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, map, "scale is a mapping: {worst: 0.125, best: 0.999, optimum: 1}");
        aira__node_mark_used(map);
        return;
    }
    out->worst = aira__node_real(aira__map_get(map, "worst"), NAN, d);
    out->best = aira__node_real(aira__map_get(map, "best"), NAN, d);
    out->optimum = aira__node_real(aira__map_get(map, "optimum"), NAN, d);
    aira__map_finish(map, accepted, d);
}

void aira__score_scale_complete(aira__score_scale *s, bool higher_is_better, double guess, const aira__node *place,
                                aira__diagnostics *d) {
    if (isnan(s->worst)) s->worst = guess;
    if (isnan(s->optimum)) s->optimum = higher_is_better ? 1 : 0;
    if (isnan(s->best)) s->best = higher_is_better ? 0.999 : s->worst / 10;
    if (isnan(s->worst)) return;
    double sign = higher_is_better ? 1 : -1;
    if (!(sign * s->worst < sign * s->best && sign * s->best < sign * s->optimum))
        aira__diagnose(d, place,
                       "scale: best (%g) must lie between worst (%g) and optimum (%g), since %s scores are better here",
                       s->best, s->worst, s->optimum, higher_is_better ? "higher" : "lower");
}

json_t *aira__score_scale_json(const aira__score_scale *s) {
    return json_pack("{s:o, s:o, s:o}", "worst", aira__json_number(s->worst), "best", aira__json_number(s->best),
                     "optimum", aira__json_number(s->optimum));
}

void aira__score_scale_from_json(const json_t *json, aira__score_scale *out) {
    out->worst = aira__json_real(json, "worst", NAN);
    out->best = aira__json_real(json, "best", NAN);
    out->optimum = aira__json_real(json, "optimum", NAN);
}
