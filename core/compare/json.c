/* core/compare/json.c - a comparison as the JSON of docs/contract.md 2, and its runs as CSV. */
#include <math.h>
#include <string.h>

#include "core/base/json.h"
#include "core/compare/compare.h"
#include "core/compare/statistics.h"

#define CURVE_POINTS 60

static json_t *interval_json(const compare_interval *i) {
    return json_pack("{s:o, s:o, s:o, s:o}", "value", aira__json_number(i->value), "low", aira__json_number(i->low),
                     "median", aira__json_number(i->median), "high", aira__json_number(i->high));
}

static json_t *count_json(double value) { return isnan(value) ? json_null() : json_integer((json_int_t)value); }

static json_t *costs_json(const compare_costs *c) {
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "nodes", count_json(c->nodes), "evaluations",
                     count_json(c->evaluations), "device_seconds", aira__json_number(c->device_seconds), "flops",
                     aira__json_number(c->flops), "calls", count_json(c->calls), "failed_calls",
                     count_json(c->failed_calls), "call_seconds", aira__json_number(c->call_seconds), "input_tokens",
                     count_json(c->input_tokens), "output_tokens", count_json(c->output_tokens), "money_usd",
                     aira__json_number(c->money_usd));
}

static json_t *plugin_json(const char *text) {
    json_t *plugin = json_loads(text, JSON_DECODE_ANY, NULL);
    return plugin ? plugin : json_null();
}

static json_t *player_json(const compare_player *p) {
    return json_pack("{s:s, s:b, s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:o, s:o}", "player", p->name, "reference",
                     p->reference, "agent", plugin_json(p->agent), "scaffold", plugin_json(p->scaffold), "runs",
                     p->runs, "valid", p->valid, "valid_rate",
                     p->runs ? json_real((double)p->valid / p->runs) : json_null(), "elo", interval_json(&p->rating),
                     "normalised", interval_json(&p->normalised), "normalised_linear", interval_json(&p->linear),
                     "costs", p->reference ? json_null() : costs_json(&p->costs));
}

static json_t *task_json(const compare_task *t) {
    json_t *scale = isnan(t->scale.worst) ? json_null() : aira__score_scale_json(&t->scale);
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:s, s:i, s:i}", "task", t->name, "task_hash", t->hash, "metric",
                     t->metric, "higher_is_better", t->higher_is_better, "scale", scale, "scores",
                     t->final ? "test" : "selection", "runs", t->runs, "valid", t->valid);
}

static json_t *cell_json(const compare_data *d, int player, int task) {
    compare_cell c = aira__compare_cell(d, player, task);
    if (c.runs == 0) return NULL;
    return json_pack("{s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o, s:o}", "player", d->players[player].name, "task",
                     d->tasks[task].hash, "runs", c.runs, "valid", c.valid, "mean", aira__json_number(c.mean),
                     "deviation", aira__json_number(c.deviation), "best", aira__json_number(c.best), "normalised",
                     aira__json_number(c.normalised), "normalised_linear", aira__json_number(c.linear));
}

static json_t *run_json(const compare_data *d, const compare_run *r) {
    const compare_task *t = &d->tasks[r->task];
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s?, s:o, s:o, s:o, s:o, s:o, s:o}", "player",
                     d->players[r->player].name, "task", t->hash, "run_dir", r->dir, "search", (json_int_t)r->search,
                     "seed", (json_int_t)r->seed, "architecture", r->architecture, "score", aira__json_number(r->score),
                     "selection_score", aira__json_number(r->selection), "test_score", aira__json_number(r->test),
                     "normalised", aira__json_number(aira__normalised_log(&t->scale, t->higher_is_better, r->score)),
                     "normalised_linear", aira__json_number(aira__normalised_linear(&t->scale, r->score)), "costs",
                     d->players[r->player].reference ? json_null() : costs_json(&r->costs));
}

static json_t *curve_json(const compare_data *d, int player, int task) {
    double most = aira__compare_most_evaluations(d, player, task);
    if (most < 1) return NULL;
    json_t *at = json_array(), *rows[3] = {json_array(), json_array(), json_array()}, *n = json_array();
    double before = 0;
    for (int k = 1; k <= CURVE_POINTS; k++) {
        double evaluations = round(most * k / CURVE_POINTS), q[3];
        if (evaluations <= before) continue;
        before = evaluations;
        json_array_append_new(n, json_integer(aira__compare_anytime(d, player, task, evaluations, q)));
        json_array_append_new(at, json_integer((json_int_t)evaluations));
        for (int i = 0; i < 3; i++) json_array_append_new(rows[i], aira__json_number(q[i]));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "player", d->players[player].name, "task",
                     d->tasks[task].hash, "evaluations", at, "runs", n, "low", rows[0], "median", rows[1], "high",
                     rows[2]);
}

/* Appends unless NULL; false when out of memory. */
static bool append(json_t *list, json_t *value) { return value == NULL || json_array_append_new(list, value) == 0; }

json_t *aira__compare_json(const compare_data *d) {
    json_t *players = json_array(), *tasks = json_array(), *scores = json_array(), *runs = json_array(),
           *anytime = json_array();
    bool good = true;
    for (int p = 0; p < d->n_players; p++) good = append(players, player_json(&d->players[p])) && good;
    for (int t = 0; t < d->n_tasks; t++) good = append(tasks, task_json(&d->tasks[t])) && good;
    for (int t = 0; t < d->n_tasks; t++)
        for (int p = 0; p < d->n_players; p++) {
            good = append(scores, cell_json(d, p, t)) && good;
            good = append(anytime, curve_json(d, p, t)) && good;
        }
    for (int i = 0; i < d->n_runs; i++) good = append(runs, run_json(d, &d->runs[i])) && good;
    json_t *whole = json_pack("{s:o, s:o, s:o, s:o, s:o, s:{s:i, s:I}, s:O}", "players", players, "tasks", tasks,
                              "scores", scores, "anytime", anytime, "runs", runs, "bootstrap", "rounds",
                              AIRA__BOOTSTRAP_ROUNDS, "seed", (json_int_t)d->seed, "notes", d->notes);
    if (good) return whole;
    json_decref(whole);
    return NULL;
}

/* ---- CSV ---- */

/* A cell that a spreadsheet would take for a formula gets a blank before it. */
static void cell(aira__buf *b, const char *text) {
    bool formula = *text && strchr("=+-@\t", *text);
    aira__buf_text(b, formula ? "\" " : "\"");
    for (; *text; text++) {
        if (*text == '"') aira__buf_text(b, "\"");
        aira__buf_add(b, text, 1);
    }
    aira__buf_text(b, "\",");
}

static void number(aira__buf *b, double value, const char *end) {
    if (!isnan(value)) aira__buf_printf(b, "%.17g", value);
    aira__buf_text(b, end);
}

bool aira__compare_csv(const compare_data *d, aira__buf *b) {
    aira__buf_text(b,
                   "player,reference,task,metric,scores,run_dir,search,seed,architecture,valid,score,selection_score,"
                   "test_score,normalised,normalised_linear,nodes,evaluations,device_seconds,calls,input_tokens,"
                   "output_tokens,money_usd\n");
    for (int i = 0; i < d->n_runs; i++) {
        const compare_run *r = &d->runs[i];
        const compare_task *t = &d->tasks[r->task];
        bool reference = d->players[r->player].reference;
        cell(b, d->players[r->player].name);
        aira__buf_printf(b, "%d,", reference);
        cell(b, t->name);
        aira__buf_printf(b, "%s,%s,", t->metric, t->final ? "test" : "selection");
        cell(b, r->dir);
        if (reference)
            aira__buf_text(b, ",,");
        else
            aira__buf_printf(b, "%lld,%lld,", (long long)r->search, (long long)r->seed);
        cell(b, r->architecture ? r->architecture : "");
        aira__buf_printf(b, "%d,", !isnan(r->score));
        number(b, r->score, ",");
        number(b, r->selection, ",");
        number(b, r->test, ",");
        number(b, aira__normalised_log(&t->scale, t->higher_is_better, r->score), ",");
        number(b, aira__normalised_linear(&t->scale, r->score), ",");
        const compare_costs *c = &r->costs;
        const double costs[] = {c->nodes,        c->evaluations,   c->device_seconds, c->calls,
                                c->input_tokens, c->output_tokens, c->money_usd};
        for (int k = 0; k < 7; k++) number(b, reference ? NAN : costs[k], k < 6 ? "," : "\n");
    }
    return !b->failed;
}
