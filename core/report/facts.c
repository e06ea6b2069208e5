/* core/report/facts.c - what a report says, as numbers: report.json. The page shows the same figures.
 *
 * Unknown numbers are null. Scores are in the metric's own direction.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/report/internal.h"
#include "core/search/student.h"

#define MAX_SEEDS 64 /* of one candidate; more are left out of its mean */

report_seeds report_seeds_of(const report_data *d, const char *hash) {
    report_seeds s = {.mean = NAN, .deviation = NAN, .margin = NAN};
    double scores[MAX_SEEDS];
    int n;
    const report_evaluation *e = report_find_evaluations(d, hash, &n);
    for (int i = 0; i < n && s.n < MAX_SEEDS; i++) {
        if (strcmp(e[i].purpose, "search") != 0 && strcmp(e[i].purpose, "confirm") != 0) continue;
        double score = isnan(e[i].selection_score) ? e[i].search_score : e[i].selection_score;
        bool repeated = false; /* the same training for another purpose */
        for (int k = 0; k < i; k++) repeated |= e[k].seed == e[i].seed;
        if (!isnan(score) && !repeated) scores[s.n++] = score;
    }
    s.mean = aira__mean(scores, s.n);
    s.deviation = aira__spread(scores, s.n);
    s.margin = aira__mean_margin(scores, s.n, 0.95);
    return s;
}

double report_seed_deviation(const report_data *d, int *n) {
    double square = 0;
    int freedom = 0;
    *n = 0;
    for (int i = 0; i < d->n_evaluations; i++) {
        if (i > 0 && strcmp(d->evaluations[i].hash, d->evaluations[i - 1].hash) == 0) continue;
        report_seeds s = report_seeds_of(d, d->evaluations[i].hash);
        if (s.n < 2) continue;
        square += s.deviation * s.deviation * (s.n - 1);
        freedom += s.n - 1;
        ++*n;
    }
    return freedom ? sqrt(square / freedom) : NAN;
}

double report_test_score(const report_data *d, const char *hash) {
    int n, with = 0;
    const report_evaluation *e = report_find_evaluations(d, hash, &n);
    double sum = 0;
    for (int i = 0; i < n; i++) {
        if (isnan(e[i].test_score)) continue;
        sum += e[i].test_score;
        with++;
    }
    return with ? sum / with : NAN;
}

static json_t *text_or_null(const char *text) { return *text ? json_string(text) : json_null(); }

static json_t *known(double value) {
    return isnan(value)                                  ? json_null()
           : value == floor(value) && fabs(value) < 9e15 ? json_integer((json_int_t)value)
                                                         : json_real(value);
}

json_t *report_node_fact(const report_data *d, int node) {
    if (node < 0) return json_null();
    const report_node *n = &d->nodes[node];
    report_seeds s = report_seeds_of(d, n->hash);
    json_t *fact = json_pack(
        "{s:I, s:I, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o}", "search", (json_int_t)d->searches[n->search].id,
        "node", (json_int_t)n->idx, "architecture", text_or_null(n->architecture), "hash", n->hash, "standing",
        text_or_null(n->standing), "test_of_contender", text_or_null(n->test), "search_score",
        aira__json_number(n->search_score), "selection_score", aira__json_number(n->selection_score), "test_score",
        aira__json_number(report_test_score(d, n->hash)), "seeds", s.n, "mean", aira__json_number(s.mean), "deviation",
        aira__json_number(s.deviation));
    json_t *design = report_design(d, n);
    if (fact && design) {
        json_object_set(fact, "source", json_object_get(design, "source"));
        json_object_set(fact, "options", json_object_get(design, "options"));
    }
    json_decref(design);
    return fact;
}

json_t *report_calls_json(const report_calls *c) {
    bool told = !isnan(c->money_usd);
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "calls", (json_int_t)c->calls, "failed",
                     (json_int_t)c->failed, "retried", (json_int_t)c->retried, "input_tokens", known(c->input),
                     "cached_tokens", known(c->cached), "output_tokens", known(c->output), "reasoning_tokens",
                     known(c->reasoning), "money_usd", told ? json_real(c->money_usd) : json_null(), "unpriced_calls",
                     (json_int_t)c->unpriced, "seconds", aira__json_number(c->seconds));
}

static void count(json_t *counts, const char *key) {
    json_object_set_new(counts, key, json_integer(json_integer_value(json_object_get(counts, key)) + 1));
}

static json_t *search_fact(const report_data *d, int index) {
    const report_search *s = &d->searches[index];
    int good = 0, buggy = 0, duplicates = 0, best = -1, submitted = -1;
    json_t *causes = json_object(), *curve = json_array(), *operators = json_object();
    int evaluations = 0;
    for (int i = s->first; i < s->first + s->n; i++) {
        const report_node *n = &d->nodes[i];
        bool fine = strcmp(n->status, "good") == 0;
        good += fine;
        duplicates += n->duplicate_of >= 0;
        evaluations += n->duplicate_of < 0 && *n->hash && strcmp(n->status, "pending") != 0;
        count(operators, n->operator_name);
        if (strcmp(n->status, "buggy") == 0) {
            buggy++;
            count(causes, *n->cause ? n->cause : "no cause recorded");
        }
        if (fine && report_better(d, n->selection_score, submitted < 0 ? NAN : d->nodes[submitted].selection_score))
            submitted = i;
        if (fine && report_better(d, n->search_score, best < 0 ? NAN : d->nodes[best].search_score)) {
            best = i;
            json_array_append_new(curve, json_pack("[i, f]", evaluations, n->search_score));
        }
    }
    json_t *value = json_pack(
        "{s:I, s:s, s:s, s:s, s:I, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o}", "search",
        (json_int_t)s->id, "label", d->groups[s->group].name, "agent", s->agent, "scaffold", s->scaffold, "seed",
        (json_int_t)s->seed, "state", s->state, "reason", s->reason, "nodes", s->n, "good", good, "buggy", buggy,
        "duplicates", duplicates, "evaluations", evaluations, "operators", operators, "failures", causes, "best",
        report_node_fact(d, best), "submitted", report_node_fact(d, submitted), "best_so_far", curve);
    json_object_set_new(value, "trainings", json_integer(s->trainings));
    json_object_set_new(value, "device_seconds", json_real(s->device_seconds));
    json_object_set_new(value, "flops", json_real(s->flops));
    json_object_set_new(value, "calls", report_calls_json(&s->calls));
    json_object_set_new(value, "origin", text_or_null(s->origin));
    return value;
}

/* Mean and spread of what the searches of a group found, and their validity. */
static json_t *group_fact(const report_data *d, int group, const json_t *searches) {
    double best[MAX_SEEDS] = {0}, selection[MAX_SEEDS] = {0}, nodes = 0, good = 0, duplicates = 0;
    int n = 0, n_best = 0, n_selection = 0;
    for (int i = 0; i < d->n_searches; i++) {
        const json_t *s = json_array_get(searches, (size_t)i);
        if (d->searches[i].group != group) continue;
        n++;
        nodes += report_number_in(s, "nodes");
        good += report_number_in(s, "good");
        duplicates += report_number_in(s, "duplicates");
        double found = report_number_in(json_object_get(s, "best"), "search_score"),
               given = report_number_in(json_object_get(s, "submitted"), "selection_score");
        if (!isnan(found) && n_best < MAX_SEEDS) best[n_best++] = found;
        if (!isnan(given) && n_selection < MAX_SEEDS) selection[n_selection++] = given;
    }
    return json_pack("{s:s, s:b, s:i, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", d->groups[group].name,
                     "baseline", d->groups[group].baseline, "searches", n, "nodes", nodes, "valid",
                     aira__json_number(nodes > 0 ? good / nodes : NAN), "duplicates",
                     aira__json_number(nodes > 0 ? duplicates / nodes : NAN), "best_mean",
                     aira__json_number(aira__mean(best, n_best)), "best_spread",
                     aira__json_number(aira__spread(best, n_best)), "submitted_mean",
                     aira__json_number(aira__mean(selection, n_selection)), "submitted_spread",
                     aira__json_number(aira__spread(selection, n_selection)), "submitted_margin",
                     aira__json_number(aira__mean_margin(selection, n_selection, 0.95)));
}

/* Share of each token at each layer of the top cluster: [layer][token]. */
static json_t *frequencies(const report_data *d) {
    json_t *layers = json_array();
    int depth = d->n_cluster ? d->nodes[d->cluster[0]].n_layers : 0;
    for (int l = 0; l < depth; l++) {
        json_t *row = json_array();
        for (int t = 0; t < d->n_tokens; t++) {
            int with = 0;
            for (int m = 0; m < d->n_cluster; m++) {
                const report_node *n = &d->nodes[d->cluster[m]];
                with += l < n->n_layers && n->layers[l] == t;
            }
            json_array_append_new(row, json_real((double)with / d->n_cluster));
        }
        json_array_append_new(layers, row);
    }
    return layers;
}

static json_t *cost_fact(const report_data *d) {
    int fine = 0;
    for (int i = 0; i < d->n_evaluations; i++) fine += strcmp(d->evaluations[i].status, "ok") == 0;
    json_t *cost = report_calls_json(&d->calls);
    json_object_set_new(cost, "nodes", json_integer(d->n_nodes));
    json_object_set_new(cost, "evaluations", json_integer(d->n_evaluations));
    json_object_set_new(cost, "evaluations_ok", json_integer(fine));
    json_object_set_new(cost, "wall_seconds", aira__json_number(d->wall_seconds));
    json_object_set_new(cost, "device_seconds", aira__json_number(d->device_seconds));
    json_object_set_new(cost, "flops", aira__json_number(d->flops));
    return cost;
}

/* How much better the search split looks than the selection split, over the candidates of the top cluster. */
static json_t *optimism_fact(const report_data *d) {
    double sum = 0;
    int n = 0, pairs;
    for (int i = 0; i < d->n_cluster; i++) {
        const report_node *c = &d->nodes[d->cluster[i]];
        if (isnan(c->search_score) || isnan(c->selection_score)) continue;
        sum += (c->search_score - c->selection_score) * (d->higher_is_better ? 1 : -1);
        n++;
    }
    double correlation = report_rank_correlation(d, &pairs);
    return json_pack("{s:i, s:o, s:o, s:i}", "candidates", n, "mean_difference", aira__json_number(n ? sum / n : NAN),
                     "rank_correlation", aira__json_number(correlation), "pairs", pairs);
}

json_t *report_facts(const report_data *d) {
    json_t *searches = json_array(), *tokens = json_array(), *groups = json_array();
    int repeated;
    double deviation = report_seed_deviation(d, &repeated);
    for (int i = 0; i < d->n_searches; i++) json_array_append_new(searches, search_fact(d, i));
    for (int i = 0; i < d->n_groups; i++) json_array_append_new(groups, group_fact(d, i, searches));
    for (int i = 0; i < d->n_tokens; i++) json_array_append_new(tokens, json_string(d->tokens[i]));
    return json_pack("{s:i, s:o, s:O, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:o, s:o, s:o, s:O, s:O, s:O?, "
                     "s:O, s:O, s:o, s:o}",
                     "version", 2, "verdict", report_verdict(d), "study", d->study, "metric", d->metric,
                     "higher_is_better", d->higher_is_better, "tokens", tokens, "best", report_node_fact(d, d->best),
                     "submitted", report_node_fact(d, d->submitted), "median_score",
                     aira__json_number(report_median_score(d)), "seed_deviation", aira__json_number(deviation),
                     "candidates_with_several_seeds", repeated, "distinct_candidates", d->n_ranked, "cluster_size",
                     d->n_cluster, "cluster_frequencies", frequencies(d), "optimism", optimism_fact(d), "cost",
                     cost_fact(d), "aggregated", d->aggregated, "extrapolated", d->extrapolated, "final", d->final,
                     "test_openings", d->openings, "events", d->warnings, "groups", groups, "searches", searches);
}
