/* core/report/read.c - a journal read into memory; see internal.h.
 *
 * One transaction, so a report of a running study is one instant of it. Nothing is trusted: text is cleaned, numbers
 * may be missing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/compose/notation.h"
#include "core/report/internal.h"

#define MAX_WARNINGS 50

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

static bool is_control(unsigned char c) { return (c < 0x20 || c == 0x7f) && c != '\n' && c != '\t'; }

/* Bytes of the cleaned text; written where `to` is not NULL. What is no character becomes U+FFFD. */
static size_t clean(const unsigned char *s, char *to) {
    size_t size = 0;
    while (*s) {
        size_t n = utf8_length(s);
        bool bad = n == 0 || (n == 1 && is_control(*s));
        if (to) memcpy(to + size, bad ? "\xef\xbf\xbd" : (const char *)s, bad ? 3 : n);
        size += bad ? 3 : n;
        s += bad ? 1 : n;
    }
    return size;
}

char *report_keep(report_data *d, const char *text) {
    const unsigned char *s = (const unsigned char *)(text ? text : "");
    size_t size = clean(s, NULL);
    report_chunk *chunk = malloc(sizeof *chunk + size + 1);
    if (!chunk) return NULL;
    chunk->next = d->memory;
    d->memory = chunk;
    clean(s, chunk->text);
    chunk->text[size] = 0;
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

const char *report_study_text(const report_data *d, const char *key, const char *fallback) {
    const char *value = json_string_value(json_object_get(d->study, key));
    return value ? value : fallback;
}

double report_number_in(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *report_string_in(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* ------------------------------------------------------------------- tables */

static aira_status read_study(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(d, "SELECT key, value FROM study ORDER BY key", &q, error);
    if (status) return status;
    while (report_query_next(&q)) {
        const char *key = report_query_text(&q, 0), *value = report_query_text(&q, 1);
        if (q.memory || json_object_set_new(d->study, key, json_string(value))) q.memory = true;
    }
    const char *higher = report_study_text(d, "higher_is_better", "true");
    d->higher_is_better = strcmp(higher, "true") == 0 || strcmp(higher, "1") == 0;
    d->metric = report_study_text(d, "metric", "score");
    return report_query_close(&q, error);
}

static aira_status read_results(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(d, "SELECT kind, name, value FROM result ORDER BY rowid", &q, error);
    if (status) return status;
    while (report_query_next(&q)) {
        const char *kind = report_query_text(&q, 0), *name = report_query_text(&q, 1), *text = report_query_text(&q, 2);
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        if (!value) value = json_string(text);
        json_t *by = json_object_get(value, "by");
        if (json_is_string(by) && json_is_array(json_object_get(value, "support")))
            json_array_append(d->aggregated, value);
        if (json_is_string(by) && json_is_string(json_object_get(value, "to")))
            json_array_append(d->extrapolated, value);
        if (strcmp(kind, "final") == 0 && strcmp(name, "summary") == 0 && json_is_object(value) && !d->final)
            d->final = json_incref(value);
        json_array_append_new(d->results, json_pack("{s:s, s:s, s:o}", "kind", kind, "name", name, "value", value));
    }
    return report_query_close(&q, error);
}

static aira_status read_events(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(
        d, "SELECT time, kind, text FROM event WHERE kind NOT IN ('decision', 'standing') ORDER BY id", &q, error);
    if (status) return status;
    while (report_query_next(&q)) {
        const char *kind = report_query_text(&q, 1);
        bool opened = strcmp(kind, "test_opened") == 0;
        json_t *list = opened ? d->openings : d->warnings;
        if (!opened && json_array_size(list) >= MAX_WARNINGS) continue;
        json_array_append_new(list, json_pack("{s:f, s:s, s:s}", "time", report_query_real(&q, 0), "kind", kind, "text",
                                              report_query_text(&q, 2)));
    }
    return report_query_close(&q, error);
}

static int group_of(report_data *d, const report_search *s) {
    char name[sizeof d->groups->name], agent[72], scaffold[72];
    report_plugin_name(s->agent, agent, sizeof agent);
    report_plugin_name(s->scaffold, scaffold, sizeof scaffold);
    if (*s->label)
        snprintf(name, sizeof name, "%.150s", s->label);
    else
        snprintf(name, sizeof name, "%s/%s", agent, scaffold);
    for (int i = 0; i < d->n_groups; i++)
        if (strcmp(d->groups[i].name, name) == 0) return d->groups[i].n++, i;
    if (!report_grow(&d->groups, d->n_groups, sizeof *d->groups)) return -1;
    report_group *g = &d->groups[d->n_groups];
    *g = (report_group){.n = 1};
    snprintf(g->name, sizeof g->name, "%s", name);
    g->baseline = !strcmp(scaffold, "random") || !strcmp(scaffold, "one_shot") || !strcmp(scaffold, "exhaustive");
    return d->n_groups++;
}

static aira_status read_searches(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(
        d, "SELECT id, agent, scaffold, seed, parallel, label, state, reason, origin FROM search ORDER BY id", &q,
        error);
    if (status) return status;
    while (report_query_next(&q)) {
        if (!report_grow(&d->searches, d->n_searches, sizeof *d->searches)) {
            q.memory = true;
            break;
        }
        report_search *s = &d->searches[d->n_searches++];
        *s = (report_search){.id = report_query_int(&q, 0, 0),
                             .agent = report_query_text(&q, 1),
                             .scaffold = report_query_text(&q, 2),
                             .seed = report_query_int(&q, 3, 0),
                             .parallel = report_query_int(&q, 4, 1),
                             .label = report_query_text(&q, 5),
                             .state = report_query_text(&q, 6),
                             .reason = report_query_text(&q, 7),
                             .origin = report_query_text(&q, 8)};
        s->group = group_of(d, s);
        if (s->group < 0) q.memory = true;
    }
    return report_query_close(&q, error);
}

/* ---------------------------------------------------------------------- sums */

static void add_known(double *sum, double value) {
    if (!isnan(value)) *sum = isnan(*sum) ? value : *sum + value;
}

static void add_calls(report_calls *sum, const report_calls *c) {
    sum->calls += c->calls;
    sum->failed += c->failed;
    sum->retried += c->retried;
    sum->unpriced += c->unpriced;
    add_known(&sum->input, c->input);
    add_known(&sum->cached, c->cached);
    add_known(&sum->output, c->output);
    add_known(&sum->reasoning, c->reasoning);
    add_known(&sum->money_usd, c->money_usd);
    add_known(&sum->seconds, c->seconds);
}

static const report_calls no_calls = {
    .input = NAN, .cached = NAN, .output = NAN, .reasoning = NAN, .money_usd = NAN, .seconds = NAN};

static aira_status read_calls(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(
        d,
        "SELECT search, COUNT(*), SUM(state = 'failed'), SUM(MAX(COALESCE(tries, 1) - 1, 0)), SUM(state = 'answered' "
        "AND money_usd IS NULL), SUM(input_tokens), SUM(cached_tokens), SUM(output_tokens), SUM(reasoning_tokens), "
        "SUM(money_usd), SUM(seconds) FROM call GROUP BY search",
        &q, error);
    if (status) return status;
    for (int i = 0; i < d->n_searches; i++) d->searches[i].calls = no_calls;
    d->calls = no_calls;
    while (report_query_next(&q)) {
        const report_calls c = {report_query_int(&q, 1, 0), report_query_int(&q, 2, 0), report_query_int(&q, 3, 0),
                                report_query_int(&q, 4, 0), report_query_real(&q, 5),   report_query_real(&q, 6),
                                report_query_real(&q, 7),   report_query_real(&q, 8),   report_query_real(&q, 9),
                                report_query_real(&q, 10)};
        for (int i = 0; i < d->n_searches; i++)
            if (d->searches[i].id == report_query_int(&q, 0, 0)) d->searches[i].calls = c;
        add_calls(&d->calls, &c);
    }
    return report_query_close(&q, error);
}

static aira_status read_sums(report_data *d, aira_error *error) {
    report_query q;
    aira_status status = report_query_open(d,
                                           "SELECT (SELECT SUM(seconds) FROM evaluation), (SELECT SUM(flops) FROM "
                                           "evaluation), (SELECT MAX(COALESCE(finished, created)) - MIN(created) FROM "
                                           "node_row), (SELECT MIN(created) FROM node_row)",
                                           &q, error);
    if (status) return status;
    while (report_query_next(&q)) {
        d->device_seconds = report_query_real(&q, 0);
        d->flops = report_query_real(&q, 1);
        d->wall_seconds = report_query_real(&q, 2);
        d->began = report_query_real(&q, 3);
        double worked = strtod(report_study_text(d, "seconds", "0"), NULL); /* over all resumptions */
        if (worked > 0) d->wall_seconds = worked;
    }
    return report_query_close(&q, error);
}

/* The alphabet in the task's order, where the study keeps it; else tokens come as they are met. */
static bool read_tokens(report_data *d) {
    json_t *tokens = json_loads(report_study_text(d, "tokens", "[]"), 0, NULL), *token;
    size_t i;
    bool fine = true;
    json_array_foreach(tokens, i, token) {
        const char *name = json_string_value(token);
        if (fine && name && aira__token_valid(name)) fine = report_token_index(d, name) >= 0;
    }
    json_decref(tokens);
    return fine;
}

/* -------------------------------------------------------------------- whole */

aira_status report_read(sqlite3 *db, const char *run_dir, report_data *d, aira_error *error) {
    *d = (report_data){.db = db, .run_dir = run_dir, .best = -1, .submitted = -1};
    d->study = json_object();
    d->results = json_array();
    d->aggregated = json_array();
    d->extrapolated = json_array();
    d->openings = json_array();
    d->warnings = json_array();
    if (!d->study || !d->results || !d->aggregated || !d->extrapolated || !d->openings || !d->warnings)
        return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading %s/journal.db", run_dir);
    aira_status status = read_study(d, error);
    if (!status && !read_tokens(d)) status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reporting");
    if (!status) status = read_results(d, error);
    if (!status) status = read_events(d, error);
    if (!status) status = read_searches(d, error);
    if (!status) status = report_read_evaluations(d, error);
    if (!status) status = report_read_nodes(d, error);
    if (!status) status = read_calls(d, error);
    if (!status) status = read_sums(d, error);
    if (!status && !report_rank(d)) status = aira__fail(error, AIRA_E_MEMORY, "out of memory while reporting");
    return status;
}

void report_release(report_data *d) {
    for (int i = 0; i < d->n_nodes; i++) free(d->nodes[i].layers);
    free(d->searches);
    free(d->groups);
    free(d->nodes);
    free(d->evaluations);
    free(d->tokens);
    free(d->ranked);
    free(d->ranked_scores);
    json_decref(d->study);
    json_decref(d->results);
    json_decref(d->aggregated);
    json_decref(d->extrapolated);
    json_decref(d->final);
    json_decref(d->openings);
    json_decref(d->warnings);
    while (d->memory) {
        report_chunk *next = d->memory->next;
        free(d->memory);
        d->memory = next;
    }
    *d = (report_data){0};
}
