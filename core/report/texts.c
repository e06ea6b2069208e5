/* core/report/texts.c - prompts, answers, plans and analyses for the page: whole for the nodes that people look at
 * first, as far as there is room; the page says where the rest is.
 *
 * Prompts of one search share most of their text. They are cut at empty lines and list items, and every piece is kept
 * once, in a pool; a message is a list of places in it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/report/internal.h"
#include "core/search/design.h"
#include "core/search/journal.h"

#define POOL_BYTES (4 << 20)    /* of all pieces and calls in a page */
#define TEXT_BYTES (16 << 10)   /* of one answer, plan or analysis */
#define CALL_BYTES 150          /* what a call takes besides */
#define PLACE_BYTES 5           /* what naming a piece takes */
#define PROMPT_BYTES (48 << 10) /* of one message */

typedef struct pool {
    report_data *d;
    json_t *list, *places; /* text -> place */
    size_t bytes;
} pool;

/* Place of a text in the pool. -1: out of memory. */
static json_int_t place(pool *p, const char *text, size_t n) {
    char *copy = strndup(text, n);
    const json_t *known = copy ? json_object_get(p->places, copy) : NULL; /* nearly always: nothing to clean or keep */
    char *kept = copy && !known ? report_keep(p->d, copy) : NULL;
    free(copy);
    if (!known && kept) known = json_object_get(p->places, kept);
    p->bytes += PLACE_BYTES;
    if (known) return json_integer_value(known);
    if (!kept) return -1;
    json_int_t at = (json_int_t)json_array_size(p->list);
    if (json_array_append_new(p->list, json_string(kept)) || json_object_set_new(p->places, kept, json_integer(at)))
        return -1;
    p->bytes += strlen(kept) + 4;
    return at;
}

/* Where the piece that begins at `from` ends: after an empty line, before a list item. */
static const char *piece_end(const char *from, const char *end) {
    for (const char *at = from + 1; at < end; at++)
        if (at[-1] == '\n' && (*at == '\n' || (at[0] == '-' && at + 1 < end && at[1] == ' ')))
            return *at == '\n' ? at + 1 : at;
    return end;
}

static json_t *message_json(pool *p, const json_t *message) {
    const char *content = aira__json_string(message, "content", "");
    size_t n = strlen(content);
    json_t *pieces = json_array();
    const char *end = content + (n > PROMPT_BYTES ? PROMPT_BYTES : n);
    for (const char *at = content; at < end;) {
        const char *next = piece_end(at, end);
        json_array_append_new(pieces, json_integer(place(p, at, (size_t)(next - at))));
        at = next;
    }
    if (n > PROMPT_BYTES) {
        static const char cut[] = "\n… cut here; the whole text is in journal.db";
        json_array_append_new(pieces, json_integer(place(p, cut, strlen(cut))));
    }
    return json_pack("[s, o]", aira__json_string(message, "role", "user"), pieces);
}

/* Messages of a prompt; empty where they cannot be read, which a damaged journal may have. */
static json_t *prompt_json(pool *p, const char *prompt) {
    aira_error error = {0};
    json_t *messages = *prompt ? aira__journal_messages(p->d->db, prompt, &error) : NULL, *list = json_array(),
           *message;
    size_t i;
    json_array_foreach(messages, i, message) json_array_append_new(list, message_json(p, message));
    json_decref(messages);
    return list;
}

/* Place of a text of the journal; null where there is none. */
static json_t *stored_text(pool *p, const char *hash) {
    sqlite3_stmt *s = NULL;
    json_t *value = NULL;
    if (hash && *hash &&
        sqlite3_prepare_v2(p->d->db, "SELECT substr(body, 1, ?2) FROM text WHERE hash = ?1", -1, &s, NULL) ==
            SQLITE_OK) {
        sqlite3_bind_text(s, 1, hash, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int(s, 2, TEXT_BYTES);
        if (sqlite3_step(s) == SQLITE_ROW) {
            const char *text = (const char *)sqlite3_column_text(s, 0);
            size_t n = text ? strlen(text) : 0;
            value = json_integer(place(p, text ? text : "", n < TEXT_BYTES ? n : TEXT_BYTES));
        }
    }
    sqlite3_finalize(s);
    return value ? value : json_null();
}

static json_t *number_at(sqlite3_stmt *s, int column) {
    int type = sqlite3_column_type(s, column);
    if (type == SQLITE_INTEGER) return json_integer(sqlite3_column_int64(s, column));
    return type == SQLITE_FLOAT ? aira__json_number(sqlite3_column_double(s, column)) : json_null();
}

static json_t *words_at(pool *p, sqlite3_stmt *s, int column) {
    const char *kept = report_keep(p->d, (const char *)sqlite3_column_text(s, column));
    return json_string(kept ? kept : "");
}

/* One text of a row, malloc'ed; NULL where there is none. */
static char *one_value(sqlite3 *db, const char *sql, const char *key, int64_t id) {
    sqlite3_stmt *s = NULL;
    char *value = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK) {
        if (key)
            sqlite3_bind_text(s, 1, key, -1, SQLITE_TRANSIENT);
        else
            sqlite3_bind_int64(s, 1, id);
        if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_type(s, 0) == SQLITE_TEXT)
            value = strdup((const char *)sqlite3_column_text(s, 0));
    }
    sqlite3_finalize(s);
    return value;
}

json_t *report_design(const report_data *d, const report_node *n) {
    char *text = *n->hash ? one_value(d->db, "SELECT canonical FROM candidate WHERE kind = 'design' AND hash = ?",
                                      n->hash, 0)
                          : NULL;
    json_t *candidate = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return candidate;
}

/* [[name, verdict, text]...] of what was checked in the node's training. */
static json_t *checks_json(pool *p, const report_node *n) {
    json_t *list = json_array(), *check;
    char *text = n->evaluation < 0 ? NULL
                                   : one_value(p->d->db, "SELECT metrics FROM evaluation WHERE id = ?", NULL,
                                               p->d->evaluations[n->evaluation].id);
    json_t *metrics = text ? json_loads(text, 0, NULL) : NULL;
    size_t i;
    json_array_foreach(json_object_get(metrics, "checks"), i, check) {
        static const char *const members[] = {"name", "verdict", "text"};
        json_t *line = json_array();
        for (int k = 0; k < 3; k++) {
            const char *word = aira__json_string(check, members[k], "");
            json_array_append_new(line, json_integer(place(p, word, strlen(word))));
        }
        json_array_append_new(list, line);
    }
    json_decref(metrics);
    free(text);
    return list;
}

/* Of a design: its source, what changed against its parent's, its options, its checks. */
static void add_design(pool *p, const report_node *n, json_t *texts) {
    json_t *own = report_design(p->d, n), *parent = n->parent < 0 ? NULL : report_design(p->d, &p->d->nodes[n->parent]);
    const char *source = aira__json_string(own, "source", NULL), *before = aira__json_string(parent, "source", NULL);
    char *diff = source && before ? aira__diff_make(before, source) : NULL;
    char *options = json_object_size(json_object_get(own, "options"))
                        ? json_dumps(json_object_get(own, "options"), JSON_SORT_KEYS | JSON_REAL_PRECISION(6))
                        : NULL;
    if (source) {
        size_t length = strlen(source);
        json_object_set_new(texts, "source", json_integer(place(p, source, length < TEXT_BYTES ? length : TEXT_BYTES)));
        json_object_set_new(texts, "checks", checks_json(p, n));
    }
    if (diff && *diff && strlen(diff) < TEXT_BYTES)
        json_object_set_new(texts, "diff", json_integer(place(p, diff, strlen(diff))));
    if (options) json_object_set_new(texts, "options", json_integer(place(p, options, strlen(options))));
    free(diff);
    free(options);
    json_decref(own);
    json_decref(parent);
}

/* {"plan", "analysis", "calls": [[operator, state, model, error, notes, tries, in, cached, out, reasoning, money,
 * seconds, answer, partial, [[role, [pieces]]...]]...]}, of designs also "source", "diff", "options", "checks" */
static json_t *node_texts(pool *p, sqlite3_stmt *s, const report_node *n) {
    json_t *calls = json_array();
    sqlite3_reset(s);
    sqlite3_bind_int64(s, 1, p->d->searches[n->search].id);
    sqlite3_bind_int64(s, 2, n->idx);
    while (sqlite3_step(s) == SQLITE_ROW) {
        json_t *call = json_array();
        for (int i = 0; i < 5; i++) json_array_append_new(call, words_at(p, s, i));
        for (int i = 5; i < 12; i++) json_array_append_new(call, number_at(s, i));
        for (int i = 12; i < 14; i++)
            json_array_append_new(call, stored_text(p, (const char *)sqlite3_column_text(s, i)));
        const char *prompt = (const char *)sqlite3_column_text(s, 14);
        json_array_append_new(call, prompt_json(p, prompt ? prompt : ""));
        json_array_append_new(calls, call);
        p->bytes += CALL_BYTES;
    }
    json_t *texts = json_pack("{s:o, s:o, s:o}", "plan", stored_text(p, n->plan), "analysis",
                              stored_text(p, n->analysis), "calls", calls);
    add_design(p, n, texts);
    return texts;
}

json_t *report_texts(report_data *d, const int *order) {
    static const char sql[] =
        "SELECT operator, state, model, error, notes, tries, input_tokens, cached_tokens, output_tokens, "
        "reasoning_tokens, money_usd, seconds, answer, partial, prompt FROM call WHERE search = ?1 AND idx = ?2 ORDER "
        "BY id";
    pool p = {.d = d, .list = json_array(), .places = json_object()};
    json_t *nodes = json_object();
    sqlite3_stmt *s = NULL;
    if (p.list && p.places && nodes && sqlite3_prepare_v2(d->db, sql, -1, &s, NULL) == SQLITE_OK) {
        for (int i = 0; i < d->n_nodes && p.bytes < POOL_BYTES; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d", order[i]);
            json_object_set_new(nodes, key, node_texts(&p, s, &d->nodes[order[i]]));
        }
    }
    sqlite3_finalize(s);
    json_decref(p.places);
    return json_pack("{s:o, s:o}", "pool", p.list, "nodes", nodes);
}
