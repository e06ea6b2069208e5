/* core/report/facts.c - what a report says, as numbers: report.json. The page shows the same figures.
 *
 * Unknown numbers are null. Scores are in the metric's own direction.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/report/internal.h"

report_seeds report_seeds_of(const report_data *d, const char *hash) {
    report_seeds s = {.mean = NAN, .deviation = NAN};
    int n;
    const report_evaluation *e = report_find_evaluations(d, hash, &n);
    double sum = 0, square = 0;
    for (int i = 0; i < n; i++) {
        double score = isnan(e[i].selection_score) ? e[i].search_score : e[i].selection_score;
        bool repeated = i > 0 && e[i].seed == e[i - 1].seed; /* the same training for another purpose */
        if (isnan(score) || repeated) continue;
        s.n++;
        sum += score;
        square += score * score;
    }
    if (s.n) s.mean = sum / s.n;
    if (s.n > 1) s.deviation = sqrt(fmax(0, square - sum * sum / s.n) / (s.n - 1));
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

double report_median_score(const report_data *d) {
    if (d->n_ranked == 0) return NAN;
    return (d->ranked_scores[(d->n_ranked - 1) / 2] + d->ranked_scores[d->n_ranked / 2]) / 2;
}

static double test_score(const report_data *d, const char *hash) {
    int n;
    const report_evaluation *e = report_find_evaluations(d, hash, &n);
    double score = NAN;
    for (int i = 0; i < n; i++)
        if (!isnan(e[i].test_score)) score = e[i].test_score;
    return score;
}

static json_t *text_or_null(const char *text) { return *text ? json_string(text) : json_null(); }

static json_t *node_fact(const report_data *d, int node) {
    if (node < 0) return json_null();
    const report_node *n = &d->nodes[node];
    report_seeds s = report_seeds_of(d, n->hash);
    return json_pack("{s:I, s:I, s:o, s:s, s:o, s:o, s:o, s:i, s:o, s:o}", "search",
                     (json_int_t)d->searches[n->search].id, "node", (json_int_t)n->idx, "architecture",
                     text_or_null(n->architecture), "hash", n->hash, "search_score", aira__json_number(n->search_score),
                     "selection_score", aira__json_number(n->selection_score), "test_score",
                     aira__json_number(test_score(d, n->hash)), "seeds", s.n, "mean", aira__json_number(s.mean),
                     "deviation", aira__json_number(s.deviation));
}

static json_t *search_fact(const report_data *d, int index) {
    const report_search *s = &d->searches[index];
    int good = 0, buggy = 0, duplicates = 0, best = -1, submitted = -1;
    json_t *causes = json_object(), *curve = json_array();
    int evaluations = 0;
    for (int i = s->first; i < s->first + s->n; i++) {
        const report_node *n = &d->nodes[i];
        bool fine = strcmp(n->status, "good") == 0;
        good += fine;
        duplicates += n->duplicate_of >= 0;
        evaluations += n->duplicate_of < 0 && *n->hash && strcmp(n->status, "pending") != 0;
        if (strcmp(n->status, "buggy") == 0) {
            buggy++;
            const char *cause = *n->cause ? n->cause : "no cause recorded";
            json_object_set_new(causes, cause, json_integer(json_integer_value(json_object_get(causes, cause)) + 1));
        }
        if (fine && report_better(d, n->selection_score, submitted < 0 ? NAN : d->nodes[submitted].selection_score))
            submitted = i;
        if (fine && report_better(d, n->search_score, best < 0 ? NAN : d->nodes[best].search_score)) {
            best = i;
            json_array_append_new(curve, json_pack("[i, f]", evaluations, n->search_score));
        }
    }
    return json_pack("{s:I, s:s, s:s, s:I, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o}", "search",
                     (json_int_t)s->id, "agent", s->agent, "scaffold", s->scaffold, "seed", (json_int_t)s->seed,
                     "state", s->state, "reason", s->reason, "nodes", s->n, "good", good, "buggy", buggy, "duplicates",
                     duplicates, "evaluations", evaluations, "failures", causes, "best", node_fact(d, best),
                     "submitted", node_fact(d, submitted), "best_so_far", curve);
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

static json_t *known(int64_t value) { return value < 0 ? json_null() : json_integer(value); }

json_t *report_facts(const report_data *d) {
    json_t *searches = json_array(), *tokens = json_array();
    int evaluations = 0, repeated;
    double deviation = report_seed_deviation(d, &repeated);
    for (int i = 0; i < d->n_searches; i++) json_array_append_new(searches, search_fact(d, i));
    for (int i = 0; i < d->n_tokens; i++) json_array_append_new(tokens, json_string(d->tokens[i]));
    for (int i = 0; i < d->n_evaluations; i++) evaluations += strcmp(d->evaluations[i].status, "ok") == 0;
    json_t *cost = json_pack("{s:i, s:i, s:i, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "nodes", d->n_nodes,
                             "evaluations", d->n_evaluations, "evaluations_ok", evaluations, "wall_seconds",
                             aira__json_number(d->wall_seconds), "device_seconds", aira__json_number(d->device_seconds),
                             "flops", aira__json_number(d->flops), "requests", (json_int_t)d->requests,
                             "failed_requests", (json_int_t)d->failed_requests, "input_tokens", known(d->input_tokens),
                             "output_tokens", known(d->output_tokens), "money_usd", aira__json_number(d->money_usd));
    return json_pack("{s:i, s:O, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:i, s:i, s:i, s:o, s:o, s:O, s:O, s:o}", "version",
                     1, "study", d->study, "metric", d->metric, "higher_is_better", d->higher_is_better, "tokens",
                     tokens, "best", node_fact(d, d->best), "submitted", node_fact(d, d->submitted), "median_score",
                     aira__json_number(report_median_score(d)), "seed_deviation", aira__json_number(deviation),
                     "candidates_with_several_seeds", repeated, "distinct_candidates", d->n_ranked, "cluster_size",
                     d->n_cluster, "cluster_frequencies", frequencies(d), "cost", cost, "aggregated", d->aggregated,
                     "extrapolated", d->extrapolated, "searches", searches);
}
