/* core/report/section_cost.c - the ledger of agents and devices, budgets, and what the study ran on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/report/internal.h"

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static void cell(aira__buf *b, double value) {
    text(b, "<td>");
    report_grouped(b, value);
    text(b, "</td>");
}

static void ledger_row(aira__buf *b, const report_calls *c, double trainings, double seconds, double flops) {
    cell(b, (double)c->calls);
    cell(b, (double)c->retried);
    cell(b, (double)c->failed);
    cell(b, c->input);
    cell(b, c->cached);
    cell(b, c->output);
    cell(b, c->reasoning);
    text(b, "<td>");
    report_money(b, c);
    text(b, "</td>");
    cell(b, trainings);
    text(b, "<td>");
    report_duration(b, seconds);
    text(b, "</td><td>");
    report_short(b, flops);
    text(b, "</td></tr>\n");
}

static void ledger(aira__buf *b, const report_data *d) {
    bool known = false; /* who wanted a training first: journals of old versions do not tell */
    for (int i = 0; i < d->n_searches; i++) known |= d->searches[i].trainings > 0;
    text(b, "<div class=\"scroll\"><table class=\"ledger\"><thead><tr><th "
            "class=\"l\">search</th><th>calls</th><th>retries</th><th>failed"
            "</th><th>tokens in</th><th>cached</th><th>tokens out</th><th>reasoning</th><th>money</th>"
            "<th>trainings</th><th>device time</th><th>FLOPs</th></tr></thead><tbody>\n");
    for (int i = 0; i < d->n_searches && i < 200; i++) {
        const report_search *s = &d->searches[i];
        aira__buf_printf(b, "<tr><td class=\"l\">%lld ", (long long)s->id);
        report_escape(b, d->groups[s->group].name);
        text(b, "</td>");
        ledger_row(b, &s->calls, known ? (double)s->trainings : NAN, known ? s->device_seconds : NAN,
                   known ? s->flops : NAN);
    }
    text(b, "</tbody><tfoot><tr><td class=\"l\">all</td>");
    ledger_row(b, &d->calls, d->n_evaluations, d->device_seconds, d->flops);
    text(b, "</tfoot></table></div>");
}

static void amount(aira__buf *b, double value, bool seconds) {
    if (isnan(value))
        text(b, "unknown");
    else if (seconds)
        report_duration(b, value);
    else if (value >= 1e9)
        report_short(b, value);
    else if (value != floor(value))
        aira__buf_printf(b, "%.2f", value);
    else
        report_grouped(b, value);
}

static void budget_row(aira__buf *b, const char *name, double used, const json_t *limits, const char *key,
                       bool seconds) {
    double limit = report_number_in(limits, key);
    aira__buf_printf(b, "<tr><td class=\"l\">%s</td><td>", name);
    amount(b, used, seconds);
    text(b, "</td><td>");
    if (isnan(limit))
        text(b, "none");
    else
        amount(b, limit, seconds);
    text(b, "</td><td>");
    if (limit > 0 && !isnan(used))
        aira__buf_printf(b,
                         "%.0f %%</td><td class=\"l\"><svg class=\"meter\" width=\"80\" height=\"8\"><rect "
                         "class=\"track\" width=\"80\" height=\"8\"/><rect class=\"t0\" width=\"%.1f\" "
                         "height=\"8\"/></svg>",
                         100 * used / limit, 80 * fmin(1, used / limit));
    else
        text(b, "</td><td>");
    text(b, "</td></tr>");
}

typedef struct used {
    double candidates, evaluations, wall, device_seconds, flops, tokens, money_usd;
} used;

/* only_limited: rows without a limit are left out. name: before each, or "". */
static void budget_rows(aira__buf *b, const char *name, const used *u, const json_t *limits, bool only_limited) {
    const struct {
        const char *name, *key;
        double used;
        bool seconds;
    } rows[] = {{"candidates (nodes)", "candidates", u->candidates, false},
                {"evaluations (trainings for searches)", "evaluations", u->evaluations, false},
                {"wall time", "wall", u->wall, true},
                {"device time", "device_seconds", u->device_seconds, true},
                {"training FLOPs", "flops", u->flops, false},
                {"agents' tokens, in and out", "tokens", u->tokens, false},
                {"money, USD", "money", u->money_usd, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char label[128];
        if (only_limited && isnan(report_number_in(limits, rows[i].key))) continue;
        snprintf(label, sizeof label, "%s%s", name, rows[i].name);
        budget_row(b, label, rows[i].used, limits, rows[i].key, rows[i].seconds);
    }
}

/* Limits of the study, and those that a search has of its own. */
static void budget(aira__buf *b, const report_data *d) {
    json_t *config = json_loads(report_study_text(d, "config", "{}"), 0, NULL);
    used all = {d->n_nodes,        0, d->wall_seconds, d->device_seconds, d->flops, d->calls.input + d->calls.output,
                d->calls.money_usd};
    for (int i = 0; i < d->n_evaluations; i++)
        all.evaluations += strcmp(d->evaluations[i].purpose, "search") == 0 ||
                           strcmp(d->evaluations[i].purpose, "confirm") == 0;
    text(b, "<h3>Budget</h3><div class=\"scroll\"><table class=\"narrow\"><thead><tr><th "
            "class=\"l\"></th><th>used</th><th>limit</th><th>share</th><th></th></tr></thead><tbody>");
    budget_rows(b, "", &all, json_object_get(config, "budget"), false);
    for (int i = 0; i < d->n_searches; i++) {
        const report_search *s = &d->searches[i];
        const json_t *own = json_array_get(json_object_get(config, "searches"), (size_t)(s->id - 1));
        used u = {s->n,
                  (double)s->trainings,
                  d->wall_seconds,
                  s->device_seconds,
                  s->flops,
                  s->calls.input + s->calls.output,
                  s->calls.money_usd};
        char name[48];
        snprintf(name, sizeof name, "search %lld: ", (long long)s->id);
        budget_rows(b, name, &u, json_object_get(own, "budget"), true);
    }
    text(b, "</tbody></table></div>\n");
    json_decref(config);
}

static void events(aira__buf *b, const report_data *d) {
    size_t i, n = json_array_size(d->warnings);
    const json_t *event;
    if (n == 0) return;
    aira__buf_printf(b, "<h3>What happened besides</h3><details%s><summary>%zu events</summary><ul>",
                     n <= 10 ? " open" : "", n);
    json_array_foreach(d->warnings, i, event) {
        text(b, "<li><span class=\"dim\">");
        report_date(b, report_number_in(event, "time"));
        text(b, "</span> ");
        report_escape(b, report_string_in(event, "kind"));
        text(b, ": ");
        report_escape(b, report_string_in(event, "text"));
        text(b, "</li>");
    }
    text(b, "</ul></details>");
}

static void plugins(aira__buf *b, const report_data *d) {
    json_t *list = json_loads(report_study_text(d, "plugins", "[]"), 0, NULL), *plugin;
    size_t i;
    if (json_array_size(list)) {
        aira__buf_printf(b,
                         "<tr><td class=\"l\">plugins</td><td class=\"l wrap\"><details><summary>%zu "
                         "plugins</summary><table><tbody>",
                         json_array_size(list));
        json_array_foreach(list, i, plugin) {
            text(b, "<tr><td class=\"l\">");
            report_escape(b, report_string_in(plugin, "kind"));
            text(b, "</td><td class=\"l\">");
            report_escape(b, report_string_in(plugin, "id"));
            text(b, "</td><td class=\"l\">");
            report_escape(b, report_string_in(plugin, "version"));
            text(b, "</td><td class=\"l\"><code class=\"hash\">");
            report_escape(b, report_string_in(plugin, "sha256"));
            text(b, "</code></td></tr>");
        }
        text(b, "</tbody></table></details></td></tr>\n");
    }
    json_decref(list);
}

static void study_row(aira__buf *b, const char *key, const char *said) {
    text(b, "<tr><td class=\"l\">");
    report_escape(b, key);
    text(b, "</td><td class=\"l wrap\">");
    if (strlen(said) > 300) {
        json_t *parsed = json_loads(said, 0, NULL);
        char *pretty = parsed ? json_dumps(parsed, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
        text(b, "<details><summary>show</summary><pre>");
        report_escape(b, pretty ? pretty : said);
        text(b, "</pre></details>");
        free(pretty);
        json_decref(parsed);
    } else {
        text(b, "<code>");
        report_escape(b, said);
        text(b, "</code>");
        char *end;
        double created = strtod(said, &end);
        if (strcmp(key, "created") == 0 && !*end) {
            text(b, " <span class=\"dim\">");
            report_date(b, created);
            text(b, "</span>");
        }
    }
    text(b, "</td></tr>\n");
}

static void environment(aira__buf *b, const report_data *d) {
    const char *key;
    const json_t *value;
    report_section(b, "environment", "Environment and identities",
                   "Hashes are SHA-256. The task is also a file of its own, <code>task.yaml</code>.");
    text(b, "<div class=\"scroll\"><table><tbody>");
    json_object_foreach(d->study, key, value) {
        if (strcmp(key, "plugins") == 0)
            plugins(b, d);
        else
            study_row(b, key, json_string_value(value));
    }
    text(b, "</tbody></table></div></section>\n");
}

void report_cost_sections(aira__buf *b, const report_data *d) {
    report_section(b, "cost", "Cost",
                   "“–” and “unknown” mean that nobody told; they are not zero. A training that several searches "
                   "wanted is paid by the first.");
    ledger(b, d);
    budget(b, d);
    events(b, d);
    text(b, "</section>\n");
    environment(b, d);
}
