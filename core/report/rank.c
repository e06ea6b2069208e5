/* core/report/rank.c - the order of candidates: best, submitted, the top cluster. See internal.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/report/internal.h"

double report_rank_score(const report_node *n) {
    return isnan(n->selection_score) ? n->search_score : n->selection_score;
}

bool report_better(const report_data *d, double a, double b) {
    if (isnan(a) || isnan(b)) return !isnan(a) && isnan(b);
    return d->higher_is_better ? a > b : a < b;
}

typedef struct ranked_node {
    double score; /* larger is better */
    int node;
    const char *hash;
} ranked_node;

static int by_hash_first(const void *a, const void *b) {
    const ranked_node *x = a, *y = b;
    int order = strcmp(x->hash, y->hash);
    return order ? order : x->node - y->node;
}
static int best_first(const void *a, const void *b) {
    const ranked_node *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score ? 1 : x->node - y->node;
}

/* Several searches may have trained a candidate with other seeds; a duplicate within a search repeats a score. */
static double mean_of_distinct(const ranked_node *all, int n) {
    double sum = 0;
    int distinct = 0;
    for (int i = 0; i < n; i++) {
        bool again = false;
        for (int k = 0; k < i && !again; k++) again = all[k].score == all[i].score;
        if (again) continue;
        sum += all[i].score;
        distinct++;
    }
    return sum / distinct;
}

static int node_of(const report_data *d, const json_t *value) {
    const json_t *search = json_object_get(value, "search"), *idx = json_object_get(value, "node");
    if (!json_is_integer(search) || !json_is_integer(idx)) return -1;
    for (int i = 0; i < d->n_nodes; i++)
        if (d->searches[d->nodes[i].search].id == json_integer_value(search) &&
            d->nodes[i].idx == json_integer_value(idx))
            return i;
    return -1;
}

/* What the study itself submitted, which knows how many seeds a node was trained with; else the best selection score
 * stands. */
static void take_submitted(report_data *d) {
    const json_t *entry;
    size_t i;
    double best = NAN;
    json_array_foreach(json_object_get(d->final, "test"), i, entry) {
        if (strcmp(report_string_in(entry, "role"), "winner") != 0) continue;
        int node = node_of(d, entry);
        if (node >= 0) d->submitted = node;
        if (node >= 0) return;
    }
    json_array_foreach(d->results, i, entry) {
        const json_t *value = json_object_get(entry, "value");
        if (strcmp(report_string_in(entry, "kind"), "submitted") != 0) continue;
        int node = node_of(d, value);
        if (node < 0 || !report_better(d, report_number_in(value, "score"), best)) continue;
        best = report_number_in(value, "score");
        d->submitted = node;
    }
}

bool report_rank(report_data *d) {
    ranked_node *all = malloc(((size_t)d->n_nodes + 1) * sizeof *all);
    d->ranked = malloc(((size_t)d->n_nodes + 1) * sizeof *d->ranked);
    d->ranked_scores = malloc(((size_t)d->n_nodes + 1) * sizeof *d->ranked_scores);
    bool fine = all && d->ranked && d->ranked_scores;
    int n = 0;
    d->best = d->submitted = -1;
    for (int i = 0; fine && i < d->n_nodes; i++) {
        const report_node *node = &d->nodes[i];
        double score = report_rank_score(node);
        if (strcmp(node->status, "good") != 0) continue;
        if (report_better(d, node->search_score, d->best < 0 ? NAN : d->nodes[d->best].search_score)) d->best = i;
        if (report_better(d, node->selection_score, d->submitted < 0 ? NAN : d->nodes[d->submitted].selection_score))
            d->submitted = i;
        if (!isnan(score) && *node->hash) all[n++] = (ranked_node){d->higher_is_better ? score : -score, i, node->hash};
    }
    if (n) qsort(all, (size_t)n, sizeof *all, by_hash_first);
    int kept = 0;
    for (int i = 0, same; i < n; i += same) {
        for (same = 1; i + same < n && strcmp(all[i + same].hash, all[i].hash) == 0;) same++;
        double mean = mean_of_distinct(all + i, same);
        all[kept] = all[i];
        all[kept++].score = mean;
    }
    if (kept) qsort(all, (size_t)kept, sizeof *all, best_first);
    for (int i = 0; i < kept; i++) {
        d->ranked[i] = all[i].node;
        d->ranked_scores[i] = d->higher_is_better ? all[i].score : -all[i].score;
    }
    d->n_ranked = kept;
    free(all);
    take_submitted(d);
    /* The aggregators' top cluster is everything above a score, so its size says who is in it. */
    int cluster = (int)json_integer_value(json_object_get(json_array_get(d->aggregated, 0), "cluster_size"));
    if (cluster <= 0) cluster = kept < 10 ? kept : kept / 10 < 10 ? 10 : kept / 10;
    d->cluster = d->ranked;
    d->n_cluster = cluster < kept ? cluster : kept;
    return fine;
}

double report_median_score(const report_data *d) {
    if (d->n_ranked == 0) return NAN;
    return (d->ranked_scores[(d->n_ranked - 1) / 2] + d->ranked_scores[d->n_ranked / 2]) / 2;
}

static int by_score(const void *a, const void *b) {
    const ranked_node *x = a, *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

/* Places of the scores in rising order, ties sharing theirs; scores become places, in the order of `node`. */
static void to_places(ranked_node *all, int n, double *places) {
    qsort(all, (size_t)n, sizeof *all, by_score);
    for (int i = 0, same; i < n; i += same) {
        for (same = 1; i + same < n && all[i + same].score == all[i].score;) same++;
        for (int k = i; k < i + same; k++) places[all[k].node] = i + (same - 1) / 2.0;
    }
}

double report_rank_correlation(const report_data *d, int *n) {
    ranked_node *all = malloc(((size_t)d->n_ranked + 1) * sizeof *all);
    double *x = calloc(2 * (size_t)d->n_ranked + 2, sizeof *x), *y = x ? x + d->n_ranked + 1 : NULL, cross = 0,
           square_x = 0, square_y = 0;
    *n = 0;
    for (int pass = 0; all && x && pass < 2; pass++) {
        *n = 0;
        for (int i = 0; i < d->n_ranked; i++) {
            const report_node *node = &d->nodes[d->ranked[i]];
            if (isnan(node->search_score) || isnan(node->selection_score)) continue;
            all[*n] = (ranked_node){pass ? node->selection_score : node->search_score, *n, NULL};
            ++*n;
        }
        to_places(all, *n, pass ? y : x);
    }
    for (int i = 0; i < *n; i++) {
        double a = x[i] - (*n - 1) / 2.0, b = y[i] - (*n - 1) / 2.0;
        cross += a * b;
        square_x += a * a;
        square_y += b * b;
    }
    free(all);
    free(x);
    return square_x > 0 && square_y > 0 ? cross / sqrt(square_x * square_y) : NAN;
}
