/* core/compose/candidates.c - candidates and their selection scores out of journals; see aggregate.h.
 *
 * SQL picks one row per candidate and run; this file puts runs together: same task, same depth, one alphabet, one row
 * per candidate. Order: best first, equal scores by hash, so that nothing depends on the order of runs on the command
 * line.
 */
#include <jansson.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/compose/aggregate.h"
#include "core/compose/notation.h"
#include "core/config/config.h"

/* An agent goes by its plugin's id, by its model, or by the label of its search. */
#define AGENT_NAMES                                                                                              \
    "SELECT id, label AS name FROM search "                                                                      \
    "UNION SELECT id, CASE WHEN json_valid(agent) THEN json_extract(agent, '$.use') ELSE agent END FROM search " \
    "UNION SELECT id, json_extract(agent, '$.model') FROM search WHERE json_valid(agent)"

typedef struct entry {
    char hash[65];
    uint16_t *layers;
    double score;
    int runs; /* of which score is the sum */
} entry;

typedef struct reader {
    aira__candidates *out;
    entry *entries;
    int n, capacity;
    char task_hash[65];
    const char *first_source;
    char *agents; /* JSON list, or NULL: all */
    bool direction_known;
    aira_error *error;
} reader;

static aira_status no_memory(aira_error *error) {
    (void)aira__fail(error, AIRA_E_MEMORY, "out of memory while reading candidates");
    return AIRA_E_MEMORY;
}

static aira_status sql_error(const aira__journal_source *s, aira_error *error) {
    return aira__fail(error, AIRA_E_CORRUPT, "%s: the journal cannot be read: %s", s->name, sqlite3_errmsg(s->db));
}

static const char *text_of(sqlite3_stmt *statement, int column) {
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

/* Index of a token, added if new; -1 when out of memory. */
static int token_index(aira__candidates *out, const char *token) {
    for (int i = 0; i < out->n_tokens; i++)
        if (strcmp(out->tokens[i], token) == 0) return i;
    char **grown = realloc(out->tokens, (size_t)(out->n_tokens + 1) * sizeof *grown);
    if (!grown) return -1;
    out->tokens = grown;
    if (!(out->tokens[out->n_tokens] = strdup(token))) return -1;
    return out->n_tokens++;
}

/* What the run says about itself: direction of the score, alphabet in the task's order. */
static aira_status read_study(reader *r, const aira__journal_source *s) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(s->db, "SELECT key, value FROM study WHERE key IN ('higher_is_better', 'tokens')", -1,
                           &statement, NULL))
        return sql_error(s, r->error);
    aira_status status = AIRA_OK;
    int step;
    while (!status && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *value = text_of(statement, 1);
        if (strcmp(text_of(statement, 0), "higher_is_better") == 0) {
            bool higher = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
            if (r->direction_known && higher != r->out->higher_is_better)
                status = aira__fail(r->error, AIRA_E_CONFIG,
                                    "%s and %s do not belong together: more is better in one and worse in the other",
                                    r->first_source, s->name);
            r->out->higher_is_better = higher;
            r->direction_known = true;
            continue;
        }
        json_t *tokens = json_loads(value, 0, NULL), *token;
        size_t i;
        json_array_foreach(tokens, i, token) {
            if (!status && json_is_string(token) && token_index(r->out, json_string_value(token)) < 0)
                status = no_memory(r->error);
        }
        json_decref(tokens);
    }
    if (!status && step != SQLITE_DONE) status = sql_error(s, r->error);
    sqlite3_finalize(statement);
    return status;
}

static aira_status add_candidate(reader *r, const char *source, const char *hash, const char *canonical, double score) {
    aira_status status = AIRA_OK;
    json_t *candidate = json_loads(canonical, 0, NULL), *layers = json_object_get(candidate, "layers"), *token;
    int n = (int)json_array_size(layers);
    if (n == 0 || n > AIRA__NOTATION_MAX)
        status = aira__fail(r->error, AIRA_E_CORRUPT, "%s: candidate %.12s has no list of layers", source, hash);
    else if (r->out->n_layers && n != r->out->n_layers)
        status = aira__fail(r->error, AIRA_E_CONFIG,
                            "%s: candidate %.12s has %d layers, others have %d; aggregate runs of one depth", source,
                            hash, n, r->out->n_layers);
    if (!status && r->n == r->capacity) {
        int capacity = r->capacity ? 2 * r->capacity : 64;
        entry *grown = realloc(r->entries, (size_t)capacity * sizeof *grown);
        if (grown) {
            r->entries = grown;
            r->capacity = capacity;
        } else {
            status = no_memory(r->error);
        }
    }
    uint16_t *indices = status ? NULL : calloc((size_t)n, sizeof *indices);
    if (!status && !indices) status = no_memory(r->error);
    size_t i;
    json_array_foreach(layers, i, token) {
        if (status || !indices) break;
        const char *name = json_string_value(token);
        int index = name ? token_index(r->out, name) : -1;
        if (!name)
            status = aira__fail(r->error, AIRA_E_CORRUPT, "%s: layer %zu of candidate %.12s is not a token", source,
                                i + 1, hash);
        else if (index < 0)
            status = no_memory(r->error);
        else
            indices[i] = (uint16_t)index;
    }
    if (status) {
        free(indices);
    } else {
        r->out->n_layers = n;
        entry *e = &r->entries[r->n++];
        *e = (entry){.layers = indices, .score = score, .runs = 1};
        strncpy(e->hash, hash, sizeof e->hash - 1);
    }
    json_decref(candidate);
    return status;
}

static aira_status read_source(reader *r, const aira__journal_source *s) {
    static const char sql[] =
        "SELECT c.hash, c.canonical, AVG(DISTINCT n.selection_score), MIN(s.task_hash), MAX(s.task_hash) "
        "FROM node_row n JOIN candidate c ON c.hash = n.hash JOIN search s ON s.id = n.search "
        "WHERE n.status = 'good' AND n.selection_score IS NOT NULL AND c.kind = 'compose' AND (?1 IS NULL OR n.search "
        "IN "
        "(SELECT id FROM (" AGENT_NAMES ") WHERE name IN (SELECT value FROM json_each(?1)))) GROUP BY c.hash";
    aira_status status = read_study(r, s);
    if (status) return status;
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL)) return sql_error(s, r->error);
    sqlite3_bind_text(statement, 1, r->agents, -1, SQLITE_STATIC);
    int step = SQLITE_DONE;
    while (!status && (step = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *least = text_of(statement, 3), *greatest = text_of(statement, 4);
        if (!r->task_hash[0]) strncpy(r->task_hash, least, sizeof r->task_hash - 1);
        if (strcmp(least, r->task_hash) != 0 || strcmp(greatest, r->task_hash) != 0)
            status = aira__fail(r->error, AIRA_E_CONFIG,
                                "%s was scored on another task than %s; scores of different tasks cannot be compared",
                                s->name, r->first_source);
        else
            status = add_candidate(r, s->name, text_of(statement, 0), text_of(statement, 1),
                                   sqlite3_column_double(statement, 2));
    }
    if (!status && step != SQLITE_DONE) status = sql_error(s, r->error);
    sqlite3_finalize(statement);
    return status;
}

/* Every name that was asked for must be somebody's; the sentence lists those there are. */
static aira_status check_agents(const aira__journal_source *sources, int n_sources, const char *const *agents,
                                int n_agents, aira_error *error) {
    aira_status status = AIRA_OK;
    json_t *known = json_object();
    aira__buf list = {0};
    for (int k = 0; !status && k < n_sources; k++) {
        sqlite3_stmt *statement;
        if (sqlite3_prepare_v2(sources[k].db,
                               "SELECT DISTINCT name FROM (" AGENT_NAMES ") WHERE name <> '' ORDER BY name", -1,
                               &statement, NULL)) {
            status = sql_error(&sources[k], error);
            break;
        }
        while (sqlite3_step(statement) == SQLITE_ROW) {
            const char *name = text_of(statement, 0);
            if (!json_object_get(known, name)) aira__buf_printf(&list, "%s%s", list.size ? ", " : "", name);
            if (json_object_set_new(known, name, json_true())) status = no_memory(error);
        }
        sqlite3_finalize(statement);
    }
    for (int i = 0; !status && i < n_agents; i++)
        if (!json_object_get(known, agents[i]))
            status = aira__fail(error, AIRA_E_CONFIG, "no agent `%s` in these runs; there are %s", agents[i],
                                list.data ? list.data : "none");
    aira__buf_free(&list);
    json_decref(known);
    return status;
}

static int by_hash(const void *a, const void *b) { /* then by score, so that sums do not depend on the order of runs */
    const entry *x = a, *y = b;
    int order = strcmp(x->hash, y->hash);
    return order ? order : (x->score > y->score) - (x->score < y->score);
}
static int best_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score ? 1 : strcmp(x->hash, y->hash);
}

/* One entry per hash with its mean score, flipped so that larger is better. */
static void merge_runs(reader *r) {
    int kept = 0;
    if (r->n) qsort(r->entries, (size_t)r->n, sizeof *r->entries, by_hash);
    for (int i = 0; i < r->n; i++) {
        if (kept && strcmp(r->entries[kept - 1].hash, r->entries[i].hash) == 0) {
            r->entries[kept - 1].score += r->entries[i].score;
            r->entries[kept - 1].runs++;
            free(r->entries[i].layers);
        } else {
            r->entries[kept++] = r->entries[i];
        }
    }
    r->n = kept;
    for (int i = 0; i < kept; i++) r->entries[i].score *= (r->out->higher_is_better ? 1.0 : -1.0) / r->entries[i].runs;
    if (kept) qsort(r->entries, (size_t)kept, sizeof *r->entries, best_first);
}

static aira_status hand_over(reader *r) {
    aira__candidates *out = r->out;
    size_t n = (size_t)r->n, depth = (size_t)out->n_layers;
    if (n == 0)
        return aira__fail(r->error, AIRA_E_FAILED,
                          "nothing to aggregate: no architecture of these runs has a selection score (did every one "
                          "fail, or are their "
                          "candidates sources?)");
    out->layers = malloc(n * depth * sizeof *out->layers);
    out->scores = malloc(n * sizeof *out->scores);
    out->hashes = malloc(n * sizeof *out->hashes);
    if (!out->layers || !out->scores || !out->hashes) return no_memory(r->error);
    for (size_t i = 0; i < n; i++) {
        memcpy(out->layers + i * depth, r->entries[i].layers, depth * sizeof *out->layers);
        memcpy(out->hashes[i], r->entries[i].hash, sizeof *out->hashes);
        out->scores[i] = r->entries[i].score;
    }
    out->n = r->n;
    return AIRA_OK;
}

aira_status aira__candidates_read(const aira__journal_source *sources, int n_sources, const char *const *agents,
                                  int n_agents, aira__candidates *out, aira_error *error) {
    *out = (aira__candidates){.higher_is_better = true};
    reader r = {.out = out, .error = error, .first_source = n_sources ? sources[0].name : ""};
    aira_status status = AIRA_OK;
    if (n_agents > 0) {
        status = check_agents(sources, n_sources, agents, n_agents, error);
        json_t *list = json_array();
        for (int i = 0; i < n_agents; i++) json_array_append_new(list, json_string(agents[i]));
        r.agents = json_dumps(list, 0);
        json_decref(list);
        if (!status && !r.agents) status = no_memory(error);
    }
    for (int i = 0; !status && i < n_sources; i++) status = read_source(&r, &sources[i]);
    if (!status) {
        merge_runs(&r);
        status = hand_over(&r);
    }
    for (int i = 0; i < r.n; i++) free(r.entries[i].layers);
    free(r.entries);
    free(r.agents);
    return status;
}

void aira__candidates_release(aira__candidates *c) {
    for (int i = 0; i < c->n_tokens; i++) free(c->tokens[i]);
    free(c->tokens);
    free(c->layers);
    free(c->scores);
    free(c->hashes);
    *c = (aira__candidates){0};
}
