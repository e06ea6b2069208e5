/* core/report/nodes.c - evaluations and nodes of a journal; see internal.h.
 *
 * Nothing is trusted: numbers may be missing, parents may be absent, an architecture that does not parse is shown as
 * text.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/compose/notation.h"
#include "core/report/internal.h"

/* ------------------------------------------------------------- evaluations */

static int purpose_order(const char *purpose) {
    return strcmp(purpose, "search") == 0    ? 0
           : strcmp(purpose, "confirm") == 0 ? 1
           : strcmp(purpose, "final") == 0   ? 2
                                             : 3;
}

static int by_hash(const void *a, const void *b) {
    const report_evaluation *x = a, *y = b;
    int order = strcmp(x->hash, y->hash);
    if (!order) order = purpose_order(x->purpose) - purpose_order(y->purpose);
    return order ? order : (x->seed > y->seed) - (x->seed < y->seed);
}

/* What a search wanted first, it pays for; where nobody knows who that was, nobody does. */
static void charge(report_data *d, const report_evaluation *e, int64_t search) {
    for (int i = 0; i < d->n_searches; i++) {
        report_search *s = &d->searches[i];
        if (s->id != search) continue;
        s->trainings++;
        if (!isnan(e->seconds)) s->device_seconds += e->seconds;
        if (!isnan(e->flops)) s->flops += e->flops;
    }
}

aira_status report_read_evaluations(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(d,
                                           "SELECT id, hash, purpose, status, cause, error, seed, parameters, "
                                           "search_score, selection_score, test_score, seconds, flops, search, "
                                           "curve IS NOT NULL FROM evaluation ORDER BY id",
                                           &q, error);
    if (status) return status;
    while (report_query_next(&q)) {
        if (!report_grow(&d->evaluations, d->n_evaluations, sizeof *d->evaluations)) {
            q.memory = true;
            break;
        }
        report_evaluation *e = &d->evaluations[d->n_evaluations++];
        *e = (report_evaluation){.id = report_query_int(&q, 0, 0),
                                 .hash = report_query_text(&q, 1),
                                 .purpose = report_query_text(&q, 2),
                                 .status = report_query_text(&q, 3),
                                 .cause = report_query_text(&q, 4),
                                 .error = report_query_text(&q, 5),
                                 .seed = report_query_int(&q, 6, 0),
                                 .parameters = report_query_int(&q, 7, -1),
                                 .search_score = report_query_real(&q, 8),
                                 .selection_score = report_query_real(&q, 9),
                                 .test_score = report_query_real(&q, 10),
                                 .seconds = report_query_real(&q, 11),
                                 .flops = report_query_real(&q, 12),
                                 .curve = report_query_int(&q, 14, 0) != 0};
        charge(d, e, report_query_int(&q, 13, 0));
    }
    if (d->n_evaluations) qsort(d->evaluations, (size_t)d->n_evaluations, sizeof *d->evaluations, by_hash);
    return report_query_close(&q, error);
}

const report_evaluation *report_find_evaluations(const report_data *d, const char *hash, int *n) {
    int low = 0, high = d->n_evaluations;
    *n = 0;
    if (!*hash) return NULL;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (strcmp(d->evaluations[middle].hash, hash) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + *n < d->n_evaluations && strcmp(d->evaluations[low + *n].hash, hash) == 0) ++*n;
    return *n ? d->evaluations + low : NULL;
}

/* The training behind a node's scores, where it has a curve; else any with one, else any. */
static int evaluation_of(const report_data *d, const report_node *node) {
    int n, chosen = -1;
    const report_evaluation *e = report_find_evaluations(d, node->hash, &n);
    for (int i = n - 1; i >= 0; i--)
        if (chosen < 0 || e[i].curve) chosen = i;
    for (int i = 0; i < n; i++)
        if (e[i].seed == node->seed && purpose_order(e[i].purpose) == 0) chosen = i;
    return chosen < 0 ? -1 : (int)(e + chosen - d->evaluations);
}

/* ------------------------------------------------------------------- nodes */

int report_token_index(report_data *d, const char *token) {
    for (int i = 0; i < d->n_tokens; i++)
        if (strcmp(d->tokens[i], token) == 0) return i;
    if (!report_grow(&d->tokens, d->n_tokens, sizeof *d->tokens)) return -1;
    char *kept = report_keep(d, token);
    if (kept) d->tokens[d->n_tokens] = kept;
    return kept ? d->n_tokens++ : -1;
}

/* Layers of a node from its canonical candidate; leaves it without where there are none. false: out of memory. */
static bool read_layers(report_data *d, report_node *node, const char *canonical) {
    json_t *candidate = canonical ? json_loads(canonical, 0, NULL) : NULL, *token;
    const json_t *layers = json_object_get(candidate, "layers");
    size_t n = json_array_size(layers), i;
    bool fine = true, whole = n > 0 && n <= AIRA__NOTATION_MAX;
    if (whole) {
        node->layers = malloc(n * sizeof *node->layers);
        fine = node->layers != NULL;
    }
    json_array_foreach(layers, i, token) {
        if (!fine || !whole) break;
        const char *name = json_string_value(token);
        int index = name && aira__token_valid(name) ? report_token_index(d, name) : -1;
        if (index < 0)
            whole = false;
        else
            node->layers[i] = (uint16_t)index;
    }
    node->n_layers = fine && whole ? (int)n : 0;
    json_decref(candidate);
    return fine;
}

/* Index of the node idx of the same search, which is read whole; -1 where there is none. */
static int same_search(const report_data *d, const report_node *node, int64_t idx) {
    const report_search *s = &d->searches[node->search];
    int low = s->first, high = s->first + s->n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (d->nodes[middle].idx < idx)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->first + s->n && d->nodes[low].idx == idx ? low : -1;
}

static bool read_node(report_data *d, report_query *q, int search) {
    report_node *node = &d->nodes[d->n_nodes];
    *node = (report_node){.search = search,
                          .idx = report_query_int(q, 1, 0),
                          .parent = (int)report_query_int(q, 2, -1), /* idx until link_nodes */
                          .other_parent = (int)report_query_int(q, 3, -1),
                          .duplicate_of = (int)report_query_int(q, 4, -1),
                          .operator_name = report_query_text(q, 5),
                          .status = report_query_text(q, 6),
                          .hash = report_query_text(q, 7),
                          .architecture = report_query_text(q, 8),
                          .note = report_query_text(q, 9),
                          .cause = report_query_text(q, 10),
                          .search_score = report_query_real(q, 11),
                          .selection_score = report_query_real(q, 12),
                          .seed = report_query_int(q, 14, 0),
                          .seeds = report_query_int(q, 15, 0),
                          .spread = report_query_real(q, 16),
                          .standing = report_query_text(q, 17),
                          .plan = report_query_text(q, 18),
                          .analysis = report_query_text(q, 19),
                          .decision = "",
                          .test = "",
                          .created = report_query_real(q, 20),
                          .finished = report_query_real(q, 21),
                          .money_usd = NAN};
    bool fine = read_layers(d, node, (const char *)sqlite3_column_text(q->statement, 13));
    node->evaluation = evaluation_of(d, node);
    if (d->searches[search].n++ == 0) d->searches[search].first = d->n_nodes;
    d->n_nodes++;
    return fine;
}

static void link_nodes(report_data *d) {
    for (int i = 0; i < d->n_nodes; i++) {
        report_node *n = &d->nodes[i];
        n->parent = same_search(d, n, n->parent);
        if (n->parent >= i) n->parent = -1; /* a damaged journal; ancestors end */
        n->other_parent = same_search(d, n, n->other_parent);
        n->duplicate_of = same_search(d, n, n->duplicate_of);
    }
}

/* First node from `at` on that is not before (search, idx), which come in this order; n_nodes: none. */
static int seek(const report_data *d, int at, int64_t search, int64_t idx) {
    while (at < d->n_nodes && (d->searches[d->nodes[at].search].id < search ||
                               (d->searches[d->nodes[at].search].id == search && d->nodes[at].idx < idx)))
        at++;
    return at;
}

static bool is_node(const report_data *d, int at, int64_t search, int64_t idx) {
    return at < d->n_nodes && d->searches[d->nodes[at].search].id == search && d->nodes[at].idx == idx;
}

static aira_status read_reasons(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(d,
                                           "SELECT search, idx, kind = 'standing', text FROM event WHERE kind IN "
                                           "('decision', 'standing') AND idx IS NOT NULL ORDER BY search, idx, id",
                                           &q, error);
    if (status) return status;
    for (int at = 0; report_query_next(&q);) {
        int64_t search = report_query_int(&q, 0, 0), idx = report_query_int(&q, 1, 0);
        at = seek(d, at, search, idx);
        if (!is_node(d, at, search, idx)) continue;
        const char *text = report_query_text(&q, 3);
        if (report_query_int(&q, 2, 0))
            d->nodes[at].test = text;
        else
            d->nodes[at].decision = text;
    }
    return report_query_close(&q, error);
}

static aira_status read_money(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(
        d, "SELECT search, idx, SUM(money_usd) FROM call GROUP BY search, idx ORDER BY search, idx", &q, error);
    if (status) return status;
    for (int at = 0; report_query_next(&q);) {
        int64_t search = report_query_int(&q, 0, 0), idx = report_query_int(&q, 1, 0);
        at = seek(d, at, search, idx);
        if (is_node(d, at, search, idx)) d->nodes[at].money_usd = report_query_real(&q, 2);
    }
    return report_query_close(&q, error);
}

aira_status report_read_nodes(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(
        d,
        "SELECT n.search, n.idx, n.parent, n.other_parent, n.duplicate_of, n.operator, n.status, n.hash, "
        "c.architecture, n.note, n.cause, n.search_score, n.selection_score, c.canonical, n.seed, n.seeds, n.spread, "
        "n.standing, n.plan, n.analysis, n.created, n.finished FROM node_row n LEFT JOIN candidate c ON c.hash = "
        "n.hash ORDER BY n.search, n.idx",
        &q, error);
    if (status) return status;
    int search = 0;
    while (report_query_next(&q)) {
        int64_t id = report_query_int(&q, 0, 0);
        while (search < d->n_searches && d->searches[search].id != id) search++;
        if (search == d->n_searches) {
            sqlite3_finalize(q.statement);
            return aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db: a node belongs to search %lld, which is not there",
                              d->run_dir, (long long)id);
        }
        if (!report_grow(&d->nodes, d->n_nodes, sizeof *d->nodes) || !read_node(d, &q, search)) {
            q.memory = true;
            break;
        }
    }
    link_nodes(d);
    status = report_query_close(&q, error);
    if (!status) status = read_reasons(d, error);
    return status ? status : read_money(d, error);
}
