/* core/report/read.c - a journal read into memory; see internal.h.
 *
 * One transaction, so a report of a running study is one instant of it. Nothing is trusted: text is cleaned, numbers
 * may be missing, an architecture that does not parse is shown as text.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/compose/notation.h"
#include "core/report/internal.h"

typedef struct report_chunk {
    struct report_chunk *next;
    char text[];
} report_chunk;

/* Bytes of the UTF-8 sequence at s, 0 if it is not one (overlong, surrogate, beyond U+10FFFF, cut). */
static size_t utf8_length(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : 0;
    if (n == 0 || s[0] > 0xf4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

char *report_keep(report_data *d, const char *text) {
    const unsigned char *s = (const unsigned char *)(text ? text : "");
    report_chunk *chunk = malloc(sizeof *chunk + 3 * strlen((const char *)s) + 1);
    if (!chunk) return NULL;
    chunk->next = d->memory;
    d->memory = chunk;
    char *to = chunk->text;
    while (*s) {
        size_t n = utf8_length(s);
        bool control = n == 1 && (*s < 0x20 || *s == 0x7f) && *s != '\n' && *s != '\t';
        if (n == 0 || control) {
            memcpy(to, "\xef\xbf\xbd", 3); /* U+FFFD */
            to += 3;
            s++;
            continue;
        }
        memcpy(to, s, n);
        to += n;
        s += n;
    }
    *to = 0;
    return chunk->text;
}

void report_plugin_name(const char *json, char *text, size_t size) {
    json_t *object = json_loads(json, 0, NULL);
    const char *use = json_string_value(json_object_get(object, "use"));
    const char *model = json_string_value(json_object_get(object, "model"));
    if (use && model)
        snprintf(text, size, "%s %s", use, model);
    else
        snprintf(text, size, "%s", use ? use : !strcmp(json, "null") ? "none" : json);
    json_decref(object);
}

/* --------------------------------------------------------------- statements */

typedef struct query {
    report_data *d;
    sqlite3_stmt *statement;
    int step;
    bool memory; /* ran out */
} query;

static aira_status open_query(report_data *d, const char *sql, query *q, aira_error *error) {
    *q = (query){.d = d, .step = SQLITE_DONE};
    if (sqlite3_prepare_v2(d->db, sql, -1, &q->statement, NULL) == SQLITE_OK) return AIRA_OK;
    return aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db cannot be read: %s", d->run_dir, sqlite3_errmsg(d->db));
}

static bool next_row(query *q) { return !q->memory && (q->step = sqlite3_step(q->statement)) == SQLITE_ROW; }

static aira_status close_query(query *q, aira_error *error) {
    aira_status status = AIRA_OK;
    if (q->memory)
        status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reading %s/journal.db", q->d->run_dir);
    else if (q->step != SQLITE_DONE)
        status = aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db cannot be read: %s", q->d->run_dir,
                            sqlite3_errmsg(q->d->db));
    sqlite3_finalize(q->statement);
    return status;
}

static const char *text_at(query *q, int column) {
    const char *kept = report_keep(q->d, (const char *)sqlite3_column_text(q->statement, column));
    if (!kept) q->memory = true;
    return kept ? kept : "";
}

static int64_t int_at(query *q, int column, int64_t otherwise) {
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL ? otherwise
                                                                    : sqlite3_column_int64(q->statement, column);
}

static double real_at(query *q, int column) { /* infinities are no numbers either */
    double value = sqlite3_column_double(q->statement, column);
    return sqlite3_column_type(q->statement, column) == SQLITE_NULL || !isfinite(value) ? NAN : value;
}

/* Room for one more element of an array of n; false: out of memory. Doubles at powers of two. */
static bool grow(void *array, int n, size_t element) {
    if (n & (n - 1)) return true;
    void **at = array, *bigger = realloc(*at, (n ? 2 * (size_t)n : 1) * element);
    if (bigger) *at = bigger;
    return bigger != NULL;
}

/* ------------------------------------------------------------------- tables */

static aira_status read_study(report_data *d, aira_error *error) {
    query q;
    aira_status status = open_query(d, "SELECT key, value FROM study ORDER BY key", &q, error);
    if (status) return status;
    while (next_row(&q)) {
        const char *key = text_at(&q, 0), *value = text_at(&q, 1);
        if (q.memory || json_object_set_new(d->study, key, json_string(value))) q.memory = true;
    }
    const char *higher = json_string_value(json_object_get(d->study, "higher_is_better"));
    const char *metric = json_string_value(json_object_get(d->study, "metric"));
    d->higher_is_better = !higher || strcmp(higher, "true") == 0 || strcmp(higher, "1") == 0;
    d->metric = metric ? metric : "score";
    return close_query(&q, error);
}

static aira_status read_results(report_data *d, aira_error *error) {
    query q;
    aira_status status = open_query(d, "SELECT kind, name, value FROM result ORDER BY rowid", &q, error);
    if (status) return status;
    while (next_row(&q)) {
        const char *kind = text_at(&q, 0), *name = text_at(&q, 1), *text = text_at(&q, 2);
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        if (!value) value = json_string(text);
        json_t *by = json_object_get(value, "by");
        if (json_is_string(by) && json_is_array(json_object_get(value, "support")))
            json_array_append(d->aggregated, value);
        if (json_is_string(by) && json_is_string(json_object_get(value, "to")))
            json_array_append(d->extrapolated, value);
        if (json_array_append_new(d->results, json_pack("{s:s, s:s, s:o}", "kind", kind, "name", name, "value", value)))
            q.memory = true;
    }
    return close_query(&q, error);
}

static aira_status read_searches(report_data *d, aira_error *error) {
    query q;
    aira_status status = open_query(d,
                                    "SELECT id, agent, scaffold, seed, parallel, label, state, reason FROM search "
                                    "ORDER BY id",
                                    &q, error);
    if (status) return status;
    while (next_row(&q)) {
        if (!grow(&d->searches, d->n_searches, sizeof *d->searches)) {
            q.memory = true;
            break;
        }
        d->searches[d->n_searches++] = (report_search){.id = int_at(&q, 0, 0),
                                                       .agent = text_at(&q, 1),
                                                       .scaffold = text_at(&q, 2),
                                                       .seed = int_at(&q, 3, 0),
                                                       .parallel = int_at(&q, 4, 1),
                                                       .label = text_at(&q, 5),
                                                       .state = text_at(&q, 6),
                                                       .reason = text_at(&q, 7)};
    }
    return close_query(&q, error);
}

static int by_hash(const void *a, const void *b) {
    const report_evaluation *x = a, *y = b;
    int order = strcmp(x->hash, y->hash);
    return order ? order : (x->seed > y->seed) - (x->seed < y->seed);
}

static aira_status read_evaluations(report_data *d, aira_error *error) {
    query q;
    aira_status status = open_query(d,
                                    "SELECT hash, purpose, status, cause, curve, seed, parameters, search_score, "
                                    "selection_score, test_score, seconds, flops FROM evaluation ORDER BY id",
                                    &q, error);
    if (status) return status;
    while (next_row(&q)) {
        if (!grow(&d->evaluations, d->n_evaluations, sizeof *d->evaluations)) {
            q.memory = true;
            break;
        }
        d->evaluations[d->n_evaluations++] = (report_evaluation){.hash = text_at(&q, 0),
                                                                 .purpose = text_at(&q, 1),
                                                                 .status = text_at(&q, 2),
                                                                 .cause = text_at(&q, 3),
                                                                 .curve = text_at(&q, 4),
                                                                 .seed = int_at(&q, 5, 0),
                                                                 .parameters = int_at(&q, 6, -1),
                                                                 .search_score = real_at(&q, 7),
                                                                 .selection_score = real_at(&q, 8),
                                                                 .test_score = real_at(&q, 9),
                                                                 .seconds = real_at(&q, 10),
                                                                 .flops = real_at(&q, 11)};
    }
    if (d->n_evaluations) qsort(d->evaluations, (size_t)d->n_evaluations, sizeof *d->evaluations, by_hash);
    return close_query(&q, error);
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

static int token_index(report_data *d, const char *token) {
    for (int i = 0; i < d->n_tokens; i++)
        if (strcmp(d->tokens[i], token) == 0) return i;
    if (!grow(&d->tokens, d->n_tokens, sizeof *d->tokens)) return -1;
    char *kept = report_keep(d, token);
    if (kept) d->tokens[d->n_tokens] = kept;
    return kept ? d->n_tokens++ : -1;
}

/* Layers of a node from its canonical candidate; leaves it without where there are none. false: out of memory. */
static bool read_layers(report_data *d, report_node *node, const char *canonical) {
    json_t *candidate = json_loads(canonical, 0, NULL), *layers = json_object_get(candidate, "layers"), *token;
    size_t n = json_array_size(layers), i;
    bool fine = true, whole = n > 0 && n <= AIRA__NOTATION_MAX;
    if (whole) {
        node->layers = malloc(n * sizeof *node->layers);
        fine = node->layers != NULL;
    }
    json_array_foreach(layers, i, token) {
        if (!fine || !whole) break;
        const char *name = json_string_value(token);
        int index = name && aira__token_valid(name) ? token_index(d, name) : -1;
        if (index < 0)
            whole = false;
        else
            node->layers[i] = (uint16_t)index;
    }
    node->n_layers = fine && whole ? (int)n : 0;
    json_decref(candidate);
    return fine;
}

static aira_status read_nodes(report_data *d, aira_error *error) {
    query q;
    aira_status status = open_query(
        d,
        "SELECT n.search, n.idx, n.parent, n.other_parent, n.duplicate_of, n.operator, "
        "n.status, n.hash, c.architecture, "
        "n.note, n.cause, n.search_score, n.selection_score, c.canonical, n.seed FROM node_row n "
        "LEFT JOIN candidate c ON c.hash = n.hash ORDER BY n.search, n.idx",
        &q, error);
    if (status) return status;
    int search = 0;
    while (next_row(&q)) {
        int64_t id = int_at(&q, 0, 0);
        while (search < d->n_searches && d->searches[search].id != id) search++;
        if (search == d->n_searches) {
            sqlite3_finalize(q.statement);
            return aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db: a node belongs to search %lld, which is not there",
                              d->run_dir, (long long)id);
        }
        if (!grow(&d->nodes, d->n_nodes, sizeof *d->nodes)) {
            q.memory = true;
            break;
        }
        report_node node = {.search = search,
                            .idx = int_at(&q, 1, 0),
                            .parent = int_at(&q, 2, -1),
                            .other_parent = int_at(&q, 3, -1),
                            .duplicate_of = int_at(&q, 4, -1),
                            .operator_name = text_at(&q, 5),
                            .status = text_at(&q, 6),
                            .hash = text_at(&q, 7),
                            .architecture = text_at(&q, 8),
                            .note = text_at(&q, 9),
                            .cause = text_at(&q, 10),
                            .search_score = real_at(&q, 11),
                            .selection_score = real_at(&q, 12),
                            .seed = int_at(&q, 14, 0),
                            .evaluation = -1};
        if (!read_layers(d, &node, text_at(&q, 13))) q.memory = true;
        int n;
        const report_evaluation *e = report_find_evaluations(d, node.hash, &n);
        for (int i = 0; i < n && node.evaluation < 0; i++)
            if (*e[i].curve) node.evaluation = (int)(e + i - d->evaluations);
        if (d->searches[search].n++ == 0) d->searches[search].first = d->n_nodes;
        d->nodes[d->n_nodes++] = node;
    }
    return close_query(&q, error);
}

static aira_status read_sums(report_data *d, aira_error *error) {
    query q;
    aira_status status = open_query(
        d,
        "SELECT COUNT(*), SUM(state = 'failed'), SUM(input_tokens), SUM(output_tokens), SUM(money_usd), "
        "(SELECT SUM(seconds) FROM evaluation), (SELECT SUM(flops) FROM evaluation), "
        "(SELECT MAX(COALESCE(finished, created)) - MIN(created) FROM node_row) FROM call",
        &q, error);
    if (status) return status;
    while (next_row(&q)) {
        d->requests = int_at(&q, 0, 0);
        d->failed_requests = int_at(&q, 1, 0);
        d->input_tokens = int_at(&q, 2, -1);
        d->output_tokens = int_at(&q, 3, -1);
        d->money_usd = real_at(&q, 4);
        d->device_seconds = real_at(&q, 5);
        d->flops = real_at(&q, 6);
        d->wall_seconds = real_at(&q, 7);
        const char *worked = json_string_value(json_object_get(d->study, "seconds")); /* over all resumptions */
        if (worked && strtod(worked, NULL) > 0) d->wall_seconds = strtod(worked, NULL);
    }
    return close_query(&q, error);
}

/* The alphabet in the task's order, where the study keeps it; else tokens come as they are met. */
static bool read_tokens(report_data *d) {
    const char *text = json_string_value(json_object_get(d->study, "tokens"));
    json_t *tokens = text ? json_loads(text, 0, NULL) : NULL, *token;
    size_t i;
    bool fine = true;
    json_array_foreach(tokens, i, token) {
        const char *name = json_string_value(token);
        if (fine && name && aira__token_valid(name)) fine = token_index(d, name) >= 0;
    }
    json_decref(tokens);
    return fine;
}

/* ------------------------------------------------------------------ ranking */

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

static bool rank(report_data *d) {
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
    /* The aggregators' top cluster is everything above a score, so its size says who is in it. */
    int cluster = (int)json_integer_value(json_object_get(json_array_get(d->aggregated, 0), "cluster_size"));
    if (cluster <= 0) cluster = kept < 10 ? kept : kept / 10 < 10 ? 10 : kept / 10;
    d->cluster = d->ranked;
    d->n_cluster = cluster < kept ? cluster : kept;
    return fine;
}

/* -------------------------------------------------------------------- whole */

aira_status report_read(sqlite3 *db, const char *run_dir, report_data *d, aira_error *error) {
    *d = (report_data){.db = db, .run_dir = run_dir, .best = -1, .submitted = -1};
    d->study = json_object();
    d->results = json_array();
    d->aggregated = json_array();
    d->extrapolated = json_array();
    if (!d->study || !d->results || !d->aggregated || !d->extrapolated)
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading %s/journal.db", run_dir);
    aira_status status = read_study(d, error);
    if (!status && !read_tokens(d)) status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reporting");
    if (!status) status = read_results(d, error);
    if (!status) status = read_searches(d, error);
    if (!status) status = read_evaluations(d, error);
    if (!status) status = read_nodes(d, error);
    if (!status) status = read_sums(d, error);
    if (!status && !rank(d)) status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reporting");
    return status;
}

void report_release(report_data *d) {
    for (int i = 0; i < d->n_nodes; i++) free(d->nodes[i].layers);
    free(d->searches);
    free(d->nodes);
    free(d->evaluations);
    free(d->tokens);
    free(d->ranked);
    free(d->ranked_scores);
    json_decref(d->study);
    json_decref(d->results);
    json_decref(d->aggregated);
    json_decref(d->extrapolated);
    while (d->memory) {
        report_chunk *next = d->memory->next;
        free(d->memory);
        d->memory = next;
    }
    *d = (report_data){0};
}
