/* core/report/data.c - what the page's script shows when a node is clicked: every node's facts, its curve, and for as
 * many nodes as fit (the best ones first) its prompts and answers. The rest stays in the journal, and the page says so.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/report/internal.h"

#define TEXT_BUDGET (4 << 20) /* bytes of prompts and answers in a page */
#define TEXT_LIMIT 6000       /* of one prompt or answer */
#define POINT_BUDGET 150000   /* points of all curves */
#define POINTS_LEAST 12
#define POINTS_MOST 200

static json_t *rounded(double value) {
    if (!isfinite(value)) return json_null();
    char text[32];
    snprintf(text, sizeof text, "%.6g", value);
    return json_real(strtod(text, NULL));
}

/* Every stride-th point and the last. NULL if it is not a curve. */
static json_t *thin(const json_t *points, int most) {
    size_t n = json_array_size(points);
    if (n == 0 || json_array_size(json_array_get(points, 0)) < 2) return NULL;
    size_t stride = (n + (size_t)most - 1) / (size_t)most;
    json_t *out = json_array();
    for (size_t i = 0; i < n; i += stride) {
        if (i + stride >= n) i = n - 1;
        const json_t *point = json_array_get(points, i), *score = json_array_get(point, 2);
        json_t *step = rounded(json_number_value(json_array_get(point, 0)));
        json_t *loss = rounded(json_is_number(json_array_get(point, 1)) ? json_number_value(json_array_get(point, 1))
                                                                        : NAN);
        json_array_append_new(
            out, json_pack("[o, o, o]", step, loss, rounded(json_is_number(score) ? json_number_value(score) : NAN)));
    }
    return out;
}

static void add_curve(json_t *list, const char *name, const json_t *points, int most) {
    json_t *curve = thin(points, most);
    if (curve) json_array_append_new(list, json_pack("{s:s, s:o}", "name", name, "points", curve));
}

/* A curve may be one list of points, or one per proxy: by name, or as objects with "dataset" and "curve". */
static json_t *curves(const char *text, int most) {
    json_t *value = json_loads(text, 0, NULL), *list = json_array(), *member;
    const char *name;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach(value, name, member) { add_curve(list, name, member, most); }
    } else if (json_is_object(json_array_get(value, 0))) {
        json_array_foreach(value, i, member) {
            add_curve(list, aira__json_string(member, "dataset", "proxy"), json_object_get(member, "curve"), most);
        }
    } else {
        add_curve(list, "", value, most);
    }
    json_decref(value);
    return list;
}

static json_t *node_row(const report_data *d, int index, int most) {
    const report_node *n = &d->nodes[index];
    int many;
    const report_evaluation *e = report_find_evaluations(d, n->hash, &many);
    report_seeds seeds = report_seeds_of(d, n->hash);
    json_t *layers = json_array();
    for (int i = 0; i < n->n_layers; i++) json_array_append_new(layers, json_integer(n->layers[i]));
    json_t *shown = n->evaluation < 0 ? json_array() : curves(d->evaluations[n->evaluation].curve, most);
    return json_pack("[i, I, I, I, I, s, s, s, o, o, o, s, s, o, o, o, i]", n->search, (json_int_t)n->idx,
                     (json_int_t)n->parent, (json_int_t)n->other_parent, (json_int_t)n->duplicate_of, n->operator_name,
                     n->status, n->architecture, layers, rounded(n->search_score), rounded(n->selection_score), n->note,
                     n->cause, many && e->parameters >= 0 ? json_integer(e->parameters) : json_null(),
                     rounded(many ? e->seconds : NAN), shown, seeds.n);
}

/* ------------------------------------------------------------------- calls */

static json_t *cut(report_data *d, sqlite3_stmt *statement, int column, size_t *spent) {
    const char *text = report_keep(d, (const char *)sqlite3_column_text(statement, column));
    if (!text) return json_null();
    *spent += strlen(text);
    return json_string(text);
}

static json_t *optional(sqlite3_stmt *statement, int column) {
    if (sqlite3_column_type(statement, column) == SQLITE_NULL) return json_null();
    return rounded(sqlite3_column_double(statement, column));
}

static json_t *calls_of(report_data *d, sqlite3_stmt *statement, const report_node *n, size_t *spent) {
    json_t *list = json_array();
    sqlite3_bind_int64(statement, 1, d->searches[n->search].id);
    sqlite3_bind_int64(statement, 2, n->idx);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        json_t *prompt = cut(d, statement, 0, spent), *answer = cut(d, statement, 1, spent),
               *error = cut(d, statement, 2, spent);
        json_array_append_new(list, json_pack("[o, o, o, o, o, o, o]", prompt, answer, error, optional(statement, 3),
                                              optional(statement, 4), optional(statement, 5), optional(statement, 6)));
    }
    sqlite3_reset(statement);
    return list;
}

/* {"node index": [[prompt, answer, error, tokens in, tokens out, money, seconds], ...]} */
static json_t *all_calls(report_data *d) {
    static const char sql[] =
        "SELECT substr(p.body, 1, ?3), substr(a.body, 1, ?3), c.error, c.input_tokens, c.output_tokens, c.money_usd, "
        "c.seconds FROM call c LEFT JOIN text p ON p.hash = c.prompt LEFT JOIN text a ON a.hash = c.answer "
        "WHERE c.search = ?1 AND c.idx = ?2 ORDER BY c.attempt";
    json_t *all = json_object();
    sqlite3_stmt *statement;
    if (!all || sqlite3_prepare_v2(d->db, sql, -1, &statement, NULL) != SQLITE_OK) return all;
    sqlite3_bind_int(statement, 3, TEXT_LIMIT);
    size_t spent = 0;
    for (int k = 0; k < d->n_ranked + d->n_nodes && spent < TEXT_BUDGET; k++) {
        int index = k < d->n_ranked ? d->ranked[k] : k - d->n_ranked;
        char key[16];
        snprintf(key, sizeof key, "%d", index);
        if (json_object_get(all, key)) continue;
        json_object_set_new(all, key, calls_of(d, statement, &d->nodes[index], &spent));
    }
    sqlite3_finalize(statement);
    return all;
}

json_t *report_node_data(report_data *d) {
    json_t *tokens = json_array(), *searches = json_array(), *nodes = json_array();
    int most = d->n_nodes > 0 ? POINT_BUDGET / d->n_nodes : POINTS_MOST;
    most = most < POINTS_LEAST ? POINTS_LEAST : most > POINTS_MOST ? POINTS_MOST : most;
    for (int i = 0; i < d->n_tokens; i++) json_array_append_new(tokens, json_string(d->tokens[i]));
    for (int i = 0; i < d->n_searches; i++)
        json_array_append_new(
            searches, json_pack("[I, i, i]", (json_int_t)d->searches[i].id, d->searches[i].first, d->searches[i].n));
    for (int i = 0; i < d->n_nodes; i++) json_array_append_new(nodes, node_row(d, i, most));
    json_t *calls = all_calls(d);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:i}", "metric", d->metric, "tokens", tokens, "searches", searches,
                     "nodes", nodes, "calls", calls, "limit", TEXT_LIMIT);
}
