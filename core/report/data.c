/* core/report/data.c - what the page's script needs to draw the trees and to show a node: one list per column, so that
 * ten thousand nodes stay small, and curves for as many nodes as there is room for. What does not fit stays in the
 * journal, and the page says so.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/report/internal.h"

#define POINT_BUDGET 120000 /* points of all curves in a page */
#define CURVE_POINTS 60     /* of one curve */
#define FAILURES_SHOWN 3    /* of each cause, early in the order of importance */
#define NOTE_BYTES 1500

static json_t *rounded(double value) {
    if (!isfinite(value)) return json_null();
    char text[32];
    snprintf(text, sizeof text, "%.5g", value);
    double short_value = strtod(text, NULL);
    return short_value == floor(short_value) && fabs(short_value) < 1e15 ? json_integer((json_int_t)short_value)
                                                                         : json_real(short_value);
}

/* -------------------------------------------------------------- importance */

typedef struct ordering {
    const report_data *d;
    int *order, n;
    bool *taken;
} ordering;

static void take(ordering *o, int node) {
    if (node < 0 || o->taken[node]) return;
    o->taken[node] = true;
    o->order[o->n++] = node;
}

static void take_lineage(ordering *o, int node) {
    for (int steps = 0; node >= 0 && steps < o->d->n_nodes; steps++, node = o->d->nodes[node].parent) take(o, node);
}

static void take_failures(ordering *o) {
    json_t *seen = json_object();
    for (int i = 0; i < o->d->n_nodes; i++) {
        const report_node *n = &o->d->nodes[i];
        if (strcmp(n->status, "buggy") != 0) continue;
        json_int_t before = json_integer_value(json_object_get(seen, n->cause));
        if (before < FAILURES_SHOWN) take(o, i);
        json_object_set_new(seen, n->cause, json_integer(before + 1));
    }
    json_decref(seen);
}

int *report_importance(const report_data *d) {
    ordering o = {.d = d,
                  .order = malloc(((size_t)d->n_nodes + 1) * sizeof *o.order),
                  .taken = calloc((size_t)d->n_nodes + 1, sizeof *o.taken)};
    if (o.order && o.taken) {
        take_lineage(&o, d->submitted);
        take_lineage(&o, d->best);
        for (int s = 0; s < d->n_searches; s++) {
            int best = -1;
            for (int i = d->searches[s].first; i < d->searches[s].first + d->searches[s].n; i++)
                if (report_better(d, d->nodes[i].search_score, best < 0 ? NAN : d->nodes[best].search_score)) best = i;
            take_lineage(&o, best);
            for (int k = 1; k <= 3 && k <= d->searches[s].n; k++) take(&o, d->searches[s].first + d->searches[s].n - k);
        }
        take_failures(&o);
        for (int i = 0; i < d->n_ranked; i++) take(&o, d->ranked[i]);
        for (int i = 0; i < d->n_nodes; i++) take(&o, i);
    }
    free(o.taken);
    return o.order;
}

/* ------------------------------------------------------------------ curves */

/* [name, [steps], [losses], [scores]] of every stride-th point and the last; NULL if it is not a curve. */
static json_t *thin(const char *name, const json_t *points, int *spent) {
    size_t n = json_array_size(points);
    if (n == 0 || json_array_size(json_array_get(points, 0)) < 2) return NULL;
    size_t stride = (n + CURVE_POINTS - 1) / CURVE_POINTS;
    json_t *columns[3] = {json_array(), json_array(), json_array()};
    for (size_t i = 0; i < n; i++) {
        const json_t *point = json_array_get(points, i);
        /* Scores are rare and cost seconds of evaluation each: all of them stay. */
        if (i % stride && i != n - 1 && !json_is_number(json_array_get(point, 2))) continue;
        for (size_t k = 0; k < 3; k++) {
            const json_t *value = json_array_get(point, k);
            json_array_append_new(columns[k], rounded(json_is_number(value) ? json_number_value(value) : NAN));
        }
        ++*spent;
    }
    return json_pack("[s, o, o, o]", name, columns[0], columns[1], columns[2]);
}

static void add_curve(json_t *list, const char *name, const json_t *points, int *spent) {
    json_t *curve = thin(name, points, spent);
    if (curve) json_array_append_new(list, curve);
}

/* A curve may be one list of points, or one per proxy: by name, or as objects with "dataset" and "curve". */
static json_t *curves(report_data *d, const char *text, int *spent) {
    const char *kept = report_keep(d, text), *name;
    json_t *value = kept ? json_loads(kept, 0, NULL) : NULL, *list = json_array(), *member;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach(value, name, member) add_curve(list, name, member, spent);
    } else if (json_is_object(json_array_get(value, 0))) {
        json_array_foreach(value, i, member)
            add_curve(list, aira__json_string(member, "dataset", "proxy"), json_object_get(member, "curve"), spent);
    } else {
        add_curve(list, "", value, spent);
    }
    json_decref(value);
    return list;
}

/* {"evaluation": [curves]} for the most important nodes. */
static json_t *all_curves(report_data *d, const int *order) {
    json_t *all = json_object();
    sqlite3_stmt *s = NULL;
    int spent = 0;
    if (!all || sqlite3_prepare_v2(d->db, "SELECT curve FROM evaluation WHERE id = ?", -1, &s, NULL) != SQLITE_OK)
        return all;
    for (int i = 0; i < d->n_nodes && spent < POINT_BUDGET; i++) {
        int at = d->nodes[order[i]].evaluation;
        char key[16];
        snprintf(key, sizeof key, "%d", at);
        if (at < 0 || !d->evaluations[at].curve || json_object_get(all, key)) continue;
        sqlite3_reset(s);
        sqlite3_bind_int64(s, 1, d->evaluations[at].id);
        if (sqlite3_step(s) == SQLITE_ROW)
            json_object_set_new(all, key, curves(d, (const char *)sqlite3_column_text(s, 0), &spent));
    }
    sqlite3_finalize(s);
    return all;
}

/* ----------------------------------------------------------------- columns */

/* Place of a word in a short list of different ones. */
static json_t *word(json_t *words, const char *text) {
    size_t n = json_array_size(words), i = 0;
    while (i < n && strcmp(json_string_value(json_array_get(words, i)), text) != 0) i++;
    if (i == n) json_array_append_new(words, json_string(text));
    return json_integer((json_int_t)i);
}

/* One character per layer: a letter, or beyond 26 tokens U+0100 and on. */
static json_t *layers_text(const report_data *d, const report_node *n) {
    aira__buf b = {0};
    for (int i = 0; i < n->n_layers; i++) {
        unsigned code = d->n_tokens <= 26 ? 97u + n->layers[i] : 0x100u + n->layers[i] % 0x600;
        char bytes[2] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f))};
        if (code < 0x80)
            aira__buf_printf(&b, "%c", (char)code);
        else
            aira__buf_add(&b, bytes, 2);
    }
    json_t *value = json_string(b.data ? b.data : "");
    aira__buf_free(&b);
    return value;
}

static void add(json_t *columns, const char *name, json_t *value) {
    json_t *column = json_object_get(columns, name);
    if (!column) {
        column = json_array();
        json_object_set_new(columns, name, column);
    }
    json_array_append_new(column, value);
}

static void set_at(json_t *map, int index, report_data *d, const char *text, size_t most) {
    char key[16], *cut = strndup(text, most);
    const char *kept = cut ? report_keep(d, cut) : NULL;
    free(cut);
    snprintf(key, sizeof key, "%d", index);
    if (kept) json_object_set_new(map, key, json_string(kept));
}

static void add_node(report_data *d, json_t *data, json_t *columns, int index) {
    const report_node *n = &d->nodes[index];
    const report_evaluation *e = n->evaluation < 0 ? NULL : &d->evaluations[n->evaluation];
    add(columns, "idx", json_integer(n->idx));
    add(columns, "parent", json_integer(n->parent));
    add(columns, "other", json_integer(n->other_parent));
    add(columns, "same", json_integer(n->duplicate_of));
    add(columns, "operator", word(json_object_get(data, "operators"), n->operator_name));
    add(columns, "status", word(json_object_get(data, "statuses"), n->status));
    add(columns, "cause", word(json_object_get(data, "causes"), n->cause));
    add(columns, "standing", word(json_object_get(data, "standings"), n->standing));
    add(columns, "decision", word(json_object_get(data, "decisions"), n->decision));
    add(columns, "layers", layers_text(d, n));
    add(columns, "score", rounded(n->search_score));
    add(columns, "selection", rounded(n->selection_score));
    add(columns, "seeds", json_integer(n->seeds));
    add(columns, "spread", rounded(n->spread));
    add(columns, "money", rounded(n->money_usd));
    add(columns, "evaluation", json_integer(n->evaluation));
    add(columns, "parameters", rounded(e && e->parameters >= 0 ? (double)e->parameters : NAN));
    add(columns, "flops", rounded(e ? e->flops : NAN));
    add(columns, "seconds", rounded(e ? e->seconds : NAN));
    if (*n->test) set_at(json_object_get(data, "tests"), index, d, n->test, NOTE_BYTES);
    if (*n->note) set_at(json_object_get(data, "notes"), index, d, n->note, NOTE_BYTES);
    if (!n->n_layers && *n->architecture)
        set_at(json_object_get(data, "architectures"), index, d, n->architecture, NOTE_BYTES);
}

/* A column that holds one value throughout is that value alone. */
static void fold_columns(json_t *columns) {
    const char *name;
    json_t *column;
    void *next;
    json_object_foreach_safe(columns, next, name, column) {
        const json_t *first = json_array_get(column, 0);
        size_t i = 1, n = json_array_size(column);
        while (i < n && json_equal(json_array_get(column, i), first)) i++;
        if (n > 1 && i == n && strcmp(name, "idx") != 0) json_object_set_new(columns, name, json_deep_copy(first));
    }
}

json_t *report_node_data(report_data *d) {
    int *order = report_importance(d);
    json_t *data = json_pack("{s:s, s:b, s:i, s:[], s:[], s:[], s:[], s:[], s:[], s:[], s:{}, s:{}, s:{}, s:{}}",
                             "metric", d->metric, "higher", d->higher_is_better, "won",
                             d->submitted >= 0 ? d->submitted : d->best, "tokens", "searches", "operators", "statuses",
                             "causes", "standings", "decisions", "notes", "tests", "architectures", "nodes");
    if (!order || !data) {
        free(order);
        json_decref(data);
        return NULL;
    }
    json_t *columns = json_object_get(data, "nodes");
    for (int i = 0; i < d->n_tokens; i++)
        json_array_append_new(json_object_get(data, "tokens"), json_string(d->tokens[i]));
    for (int i = 0; i < d->n_searches; i++) {
        const report_search *s = &d->searches[i];
        json_array_append_new(json_object_get(data, "searches"),
                              json_pack("[I, i, i, s]", (json_int_t)s->id, s->first, s->n, d->groups[s->group].name));
    }
    for (int i = 0; i < d->n_nodes; i++) add_node(d, data, columns, i);
    fold_columns(columns);
    json_object_set_new(data, "curves", all_curves(d, order));
    json_object_set_new(data, "texts", report_texts(d, order));
    free(order);
    return data;
}
