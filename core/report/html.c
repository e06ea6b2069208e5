/* core/report/html.c - the page, section by section: verdict first, then how it was found, then what it cost.
 *
 * A section without data says so in a sentence or is left out; it never shows an empty table.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/report/internal.h"

#define TOP_ROWS 15

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static const char *study_text(const report_data *d, const char *key, const char *fallback) {
    const char *value = json_string_value(json_object_get(d->study, key));
    return value ? value : fallback;
}

static double number_in(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void figure(aira__buf *b, const char *name) { aira__buf_printf(b, "</b><span>%s</span></div>", name); }

/* --------------------------------------------------------------------- head */

static bool head(aira__buf *b, const report_data *d) {
    text(b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
            "content=\"width=device-width,"
            "initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
            "'unsafe-inline'; "
            "script-src 'unsafe-inline'\"><title>");
    report_escape(b, study_text(d, "name", "aira"));
    text(b, " – aira report</title><style>\n");
    for (int i = 0; report_style[i]; i++) aira__buf_printf(b, "%s\n", report_style[i]);
    text(b, "</style></head><body>\n<h1>");
    report_escape(b, study_text(d, "name", "aira study"));
    text(b, "</h1><p class=\"dim\">");
    int running = 0, pending = 0;
    for (int i = 0; i < d->n_searches; i++) running += strcmp(d->searches[i].state, "running") == 0;
    for (int i = 0; i < d->n_nodes; i++) pending += strcmp(d->nodes[i].status, "pending") == 0;
    report_escape(b, d->run_dir);
    aira__buf_printf(b, " · %d %s, %d nodes", d->n_searches, d->n_searches == 1 ? "search" : "searches", d->n_nodes);
    if (running)
        aira__buf_printf(b, " · <b>%d still running, %d nodes pending: the figures are of now</b>", running, pending);
    return text(b, "</p>\n"), !b->failed;
}

/* Other candidates with the winner's very score. */
static int equals(const report_data *d, const report_node *won) {
    int n = 0;
    for (int i = 0; i < d->n_ranked; i++)
        n += d->ranked_scores[i] == report_rank_score(won) && strcmp(d->nodes[d->ranked[i]].hash, won->hash) != 0;
    return n;
}

static void how_sure(aira__buf *b, const report_data *d, const report_node *won) {
    report_seeds s = report_seeds_of(d, won->hash);
    int repeated, same = equals(d, won);
    double noise = report_seed_deviation(d, &repeated);
    text(b, "<p>");
    if (s.n >= 2) {
        aira__buf_printf(b, "Trained with %d seeds: mean ", s.n);
        report_number(b, s.mean, 4);
        text(b, " ± ");
        report_number(b, s.deviation, 2);
        text(b, " (standard deviation). ");
    } else {
        text(b, "Trained with one seed, so this is <b>provisional</b>. ");
    }
    if (repeated > 0) {
        aira__buf_printf(b, "Over the %d candidates trained with several seeds, seeds alone move a score by ",
                         repeated);
        report_number(b, noise, 2);
        text(b, " (standard deviation): smaller differences mean little. ");
    } else if (s.n < 2) {
        text(b, "No candidate was trained twice, so the noise between seeds is not known. ");
    }
    if (d->n_ranked > 1) {
        double median = report_median_score(d), gap = fabs(report_rank_score(won) - median);
        aira__buf_printf(b, "Of %d distinct candidates the median scored ", d->n_ranked);
        report_number(b, median, 4);
        if (!d->higher_is_better) text(b, " (lower is better)");
        text(b, "; the winner is ");
        report_number(b, gap, 3);
        text(b, " better. ");
    }
    if (same > 0)
        aira__buf_printf(b, "<b>%d other candidate%s the same score</b>; the earliest was taken.", same,
                         same == 1 ? " has" : "s have");
    text(b, "</p>");
}

static void cost(aira__buf *b, const report_data *d) {
    text(b, "<div class=\"figures\"><div><b>");
    report_grouped(b, d->n_evaluations);
    figure(b, "evaluations");
    text(b, "<div><b>");
    report_duration(b, d->wall_seconds);
    figure(b, "wall time");
    text(b, "<div><b>");
    report_duration(b, d->device_seconds);
    figure(b, "device time");
    if (d->requests > 0) {
        text(b, "<div><b>");
        report_grouped(b, (double)d->requests);
        figure(b, "agent calls");
    }
    if (d->output_tokens >= 0) {
        text(b, "<div><b>");
        report_grouped(b, (double)d->input_tokens);
        text(b, " / ");
        report_grouped(b, (double)d->output_tokens);
        figure(b, "tokens in / out");
    }
    if (!isnan(d->money_usd)) {
        text(b, "<div><b>");
        aira__buf_printf(b, "%.2f USD", d->money_usd);
        figure(b, "agents' cost");
    }
    text(b, "</div>\n");
}

static void verdict(aira__buf *b, const report_data *d) {
    int winner = d->submitted >= 0 ? d->submitted : d->best;
    text(b, "<section class=\"card verdict\">");
    if (winner < 0) {
        text(b, "<p class=\"arch\">No candidate finished</p><p>Causes are listed under “What went wrong”.</p>");
        cost(b, d);
        text(b, "</section>\n");
        return;
    }
    const report_node *n = &d->nodes[winner];
    text(b, "<p class=\"dim\">Best architecture</p><p class=\"arch\">");
    report_escape(b, n->architecture);
    text(b, "</p>");
    if (n->n_layers) report_strip(b, d, n->layers, n->n_layers, NULL);
    text(b, "<div class=\"figures\"><div><b>");
    report_number(b, n->selection_score, 4);
    text(b, "</b><span>");
    report_escape(b, d->metric);
    text(b, ", selection split</span></div><div><b>");
    report_number(b, n->search_score, 4);
    text(b, "</b><span>search split</span></div>");
    int many;
    const report_evaluation *e = report_find_evaluations(d, n->hash, &many);
    for (int i = 0; i < many; i++)
        if (!isnan(e[i].test_score)) {
            text(b, "<div><b>");
            report_number(b, e[i].test_score, 4);
            figure(b, "test split");
            break;
        }
    aira__buf_printf(b, "<div><b>%lld / %lld</b><span>search / node</span></div></div>",
                     (long long)d->searches[n->search].id, (long long)n->idx);
    how_sure(b, d, n);
    cost(b, d);
    text(b, "<p class=\"dim\">Reproduce</p><pre>aira replay ");
    report_escape(b, d->run_dir);
    text(b, "\naira evaluate --task ");
    report_escape(b, d->run_dir);
    text(b, "/task.yaml --arch \"");
    report_escape(b, n->architecture);
    text(b, "\" --split selection");
    aira__buf_printf(b, " --seed %lld", (long long)n->seed);
    text(b, "</pre></section>\n");
}

/* ----------------------------------------------------------------- results */

static void top_candidates(aira__buf *b, const report_data *d) {
    if (d->n_ranked == 0) return;
    text(b, "<h2>Best candidates</h2><p class=\"dim\">By their mean over seeds on the selection split; click one for "
            "its training, prompt and answer.</p><div class=\"scroll\"><table><tr><th "
            "class=\"l\">architecture</th><th>selection</th>"
            "<th>search</th><th>seeds</th><th>parameters</th><th>node</th></tr>\n");
    for (int i = 0; i < d->n_ranked && i < TOP_ROWS; i++) {
        const report_node *n = &d->nodes[d->ranked[i]];
        int many;
        const report_evaluation *e = report_find_evaluations(d, n->hash, &many);
        aira__buf_printf(b, "<tr data-node=\"%d\"><td class=\"l\">", d->ranked[i]);
        if (n->n_layers) report_strip(b, d, n->layers, n->n_layers, NULL);
        report_escape(b, n->architecture);
        text(b, "</td><td>");
        report_number(b, d->ranked_scores[i], 4);
        text(b, "</td><td>");
        report_number(b, n->search_score, 4);
        aira__buf_printf(b, "</td><td>%d</td><td>", report_seeds_of(d, n->hash).n);
        report_grouped(b, many && e->parameters >= 0 ? (double)e->parameters : NAN);
        aira__buf_printf(b, "</td><td>%lld/%lld</td></tr>\n", (long long)d->searches[n->search].id, (long long)n->idx);
    }
    text(b, "</table></div>\n");
}

static void aggregates(aira__buf *b, const report_data *d) {
    size_t i, k;
    const json_t *a, *note;
    if (json_array_size(d->aggregated)) {
        text(b, "<h2>Aggregated architectures</h2><p class=\"dim\">The bar under a layer is the share of the top "
                "cluster's weight "
                "that chose its token.</p>");
    }
    json_array_foreach(d->aggregated, i, a) {
        const char *architecture = json_string_value(json_object_get(a, "architecture"));
        if (!architecture) continue;
        text(b, "<h3>");
        report_escape(b, json_string_value(json_object_get(a, "by")));
        text(b, ": ");
        report_escape(b, architecture);
        aira__buf_printf(b, "</h3><p class=\"dim\">from %lld candidates</p><div class=\"scroll\">",
                         (long long)json_integer_value(json_object_get(a, "cluster_size")));
        report_strip_text(b, d, architecture, json_object_get(a, "support"));
        text(b, "</div>");
        const json_t *notes = json_object_get(a, "notes");
        if (json_array_size(notes) == 0) continue;
        aira__buf_printf(b, "<details><summary>%zu note%s</summary><ul>", json_array_size(notes),
                         json_array_size(notes) == 1 ? "" : "s");
        json_array_foreach(notes, k, note) {
            text(b, "<li>");
            report_escape(b, json_is_string(note) ? json_string_value(note) : "");
            text(b, "</li>");
        }
        text(b, "</ul></details>");
    }
    if (d->n_cluster == 0) return;
    aira__buf_printf(b,
                     "<h2>Layers of the top cluster</h2><p class=\"dim\">How often each token stands at each layer, in "
                     "percent of the "
                     "%d best distinct candidates.</p>",
                     d->n_cluster);
    report_cluster_map(b, d);
}

static void scaled_row(aira__buf *b, const json_t *e) {
    aira__buf_printf(b, "</td><td>%.0f</td><td>", number_in(e, "layers"));
    report_millions(b, number_in(e, "parameters_body"));
    text(b, "</td><td>");
    report_millions(b, number_in(e, "parameters_total"));
    text(b, "</td><td>");
    report_number(b, number_in(e, "flops_per_token") / 1e9, 4);
    text(b, "</td><td>");
    report_grouped(b, number_in(e, "kv_bytes_per_token"));
    text(b, "</td></tr>\n");
}

static const char *string_in(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

/* Is it the first of its size with this architecture? Several aggregates often agree. */
static bool first_of_kind(const report_data *d, size_t index, const json_t *e) {
    for (size_t k = 0; k < index; k++) {
        const json_t *other = json_array_get(d->extrapolated, k);
        if (strcmp(string_in(other, "to"), string_in(e, "to")) == 0 &&
            strcmp(string_in(other, "architecture"), string_in(e, "architecture")) == 0)
            return false;
    }
    return true;
}

static void models_of_size(aira__buf *b, const report_data *d, const char *to, const json_t *llama) {
    size_t i;
    const json_t *e;
    if (llama) {
        text(b, "<tr><td class=\"l\">");
        report_escape(b, to);
        bool released = strcmp(to, "1B") == 0 || strcmp(to, "3B") == 0;
        text(b, released ? "</td><td class=\"l\">Llama 3.2" : "</td><td class=\"l\">Llama");
        scaled_row(b, llama);
    }
    json_array_foreach(d->extrapolated, i, e) {
        if (strcmp(string_in(e, "to"), to) != 0) continue;
        text(b, "<tr class=\"ours\"><td class=\"l\">");
        report_escape(b, to);
        text(b, "</td><td class=\"l\">");
        report_escape(b, string_in(e, "from"));
        text(b, strcmp(string_in(e, "by"), "stack") == 0 ? " stacked" : " stretched");
        scaled_row(b, e);
        if (!first_of_kind(d, i, e)) continue;
        text(b, "<tr><td></td><td class=\"l wrap\" colspan=\"6\">");
        report_strip_text(b, d, string_in(e, "architecture"), NULL);
        text(b, "<code>");
        report_escape(b, string_in(e, "architecture"));
        text(b, "</code></td></tr>\n");
    }
}

static void scaled_models(aira__buf *b, const report_data *d) {
    if (json_array_size(d->extrapolated) == 0) return;
    text(b,
         "<h2>Extrapolated models</h2><p class=\"dim\">Body: primitives alone. FLOPs of training at 8,192 tokens of "
         "context, without embedding and head; key-value cache in bf16. Each architecture is drawn once.</p><div "
         "class=\"scroll\"><table><tr><th class=\"l\">size</th><th class=\"l\">model</th><th>layers</th><th>body</th>"
         "<th>total</th><th>GFLOP/token</th><th>KV bytes/token</th></tr>\n");
    size_t i;
    const json_t *e;
    json_array_foreach(d->extrapolated, i, e) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= strcmp(string_in(json_array_get(d->extrapolated, k), "to"), string_in(e, "to")) == 0;
        if (!seen) models_of_size(b, d, string_in(e, "to"), json_object_get(e, "llama"));
    }
    text(b, "</table></div>\n");
}

/* ------------------------------------------------------------ found vs given */

static void named_node(aira__buf *b, const report_data *d, const char *name, int node) {
    const report_node *n = &d->nodes[node];
    aira__buf_printf(b, "<tr data-node=\"%d\"><td class=\"l\">%s</td><td class=\"l wrap\">", node, name);
    report_escape(b, n->architecture);
    text(b, "</td><td>");
    report_number(b, n->search_score, 4);
    text(b, "</td><td>");
    report_number(b, n->selection_score, 4);
    text(b, "</td></tr>");
}

static void found_and_submitted(aira__buf *b, const report_data *d) {
    if (d->best < 0) return;
    text(b, "<h2>Found and submitted</h2><p class=\"dim\">The search steers by one split and submits by another; what "
            "the first flatters "
            "lies below the dashed line (for losses: above it).</p><div class=\"scroll\"><table><tr><th "
            "class=\"l\"></th><th class=\"l\">"
            "architecture</th><th>search</th><th>selection</th></tr>");
    named_node(b, d, "best found (search split)", d->best);
    if (d->submitted >= 0) named_node(b, d, "submitted (selection split)", d->submitted);
    text(b, "</table></div>");
    report_optimism_chart(b, d);
}

/* -------------------------------------------------------------------- trees */

static void trees(aira__buf *b, const report_data *d) {
    static const char *const kinds[][2] = {
        {"good", "scored"}, {"again", "duplicate"}, {"buggy", "failed"}, {"pending", "pending"}, {"won", "submitted"}};
    if (d->n_nodes == 0) return;
    text(
        b,
        "<h2>Search trees</h2><p class=\"dim\">Each node by its order and its score on the search split, joined to its "
        "parent; nodes "
        "without a score lie at the bottom. Click a node to see its prompt, answer and curve.</p><p class=\"legend\">");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        aira__buf_printf(
            b, "<span><svg width=\"12\" height=\"12\"><circle class=\"%s\" cx=\"6\" cy=\"6\" r=\"5\"/></svg>%s</span>",
            kinds[i][0], kinds[i][1]);
    text(b, "</p>");
    for (int s = 0; s < d->n_searches; s++) {
        char agent[128], scaffold[128];
        if (d->searches[s].n == 0) continue;
        report_plugin_name(d->searches[s].agent, agent, sizeof agent);
        report_plugin_name(d->searches[s].scaffold, scaffold, sizeof scaffold);
        aira__buf_printf(b, "<details%s><summary>Search %lld: ", s < 2 ? " open" : "", (long long)d->searches[s].id);
        report_escape(b, agent);
        text(b, ", ");
        report_escape(b, scaffold);
        aira__buf_printf(b, ", seed %lld, %d nodes, ", (long long)d->searches[s].seed, d->searches[s].n);
        report_escape(b, d->searches[s].state);
        if (*d->searches[s].reason) {
            text(b, ": ");
            report_escape(b, d->searches[s].reason);
        }
        text(b, "</summary>");
        report_tree_chart(b, d, s);
        text(b, "</details>\n");
    }
    int shown = d->submitted >= 0 ? d->submitted : d->best >= 0 ? d->best : 0;
    aira__buf_printf(
        b,
        "<div class=\"card\" id=\"node\" data-node=\"%d\"><noscript>Details of a node need JavaScript; all of them "
        "are in journal.db.</noscript></div>\n",
        shown);
}

/* -------------------------------------------------------------------- ledger */

static void ledger(aira__buf *b, const json_t *facts) {
    json_t *searches = json_object_get(facts, "searches"), *s, *count;
    size_t i;
    const char *cause;
    text(b, "<h2>What went wrong, what was repeated</h2><div "
            "class=\"scroll\"><table><tr><th>search</th><th>nodes</th><th>scored</th>"
            "<th>failed</th><th>duplicates</th><th>evaluations</th><th>valid</th><th class=\"l\">causes</th></tr>\n");
    json_array_foreach(searches, i, s) {
        double nodes = number_in(s, "nodes"), good = number_in(s, "good");
        aira__buf_printf(b, "<tr><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>%.0f</td><td>",
                         number_in(s, "search"), nodes, good, number_in(s, "buggy"), number_in(s, "duplicates"),
                         number_in(s, "evaluations"));
        if (nodes > 0) aira__buf_printf(b, "%.0f %%", 100 * good / nodes);
        text(b, "</td><td class=\"l wrap\">");
        bool first = true;
        json_object_foreach(json_object_get(s, "failures"), cause, count) {
            if (!first) text(b, ", ");
            report_escape(b, cause);
            aira__buf_printf(b, " %lld", (long long)json_integer_value(count));
            first = false;
        }
        text(b, "</td></tr>\n");
    }
    text(b, "</table></div>\n");
}

static void budget_row(aira__buf *b, const char *name, double used, const json_t *limits, const char *key,
                       bool seconds) {
    const json_t *limit = json_object_get(limits, key);
    aira__buf_printf(b, "<tr><td class=\"l\">%s</td><td>", name);
    if (seconds)
        report_duration(b, used);
    else
        report_grouped(b, used);
    text(b, "</td><td>");
    if (json_is_number(limit)) {
        if (seconds)
            report_duration(b, json_number_value(limit));
        else
            report_grouped(b, json_number_value(limit));
        text(b, "</td><td>");
        if (json_number_value(limit) > 0 && !isnan(used))
            aira__buf_printf(b, "%.0f %%", 100 * used / json_number_value(limit));
    } else {
        report_escape(b, json_is_string(limit) ? json_string_value(limit) : "none");
        text(b, "</td><td>");
    }
    text(b, "</td></tr>");
}

static void budget(aira__buf *b, const report_data *d) {
    json_t *config = json_loads(study_text(d, "config", "{}"), 0, NULL);
    const json_t *limits = json_object_get(config, "budget");
    text(b, "<h2>Budget</h2><div class=\"scroll\"><table><tr><th "
            "class=\"l\"></th><th>used</th><th>limit</th><th>share</th></tr>");
    budget_row(b, "candidates (nodes)", d->n_nodes, limits, "candidates", false);
    budget_row(b, "evaluations", d->n_evaluations, limits, "evaluations", false);
    budget_row(b, "wall time", d->wall_seconds, limits, "wall", true);
    budget_row(b, "device time", d->device_seconds, limits, "device_seconds", true);
    budget_row(b, "training FLOPs", d->flops, limits, "flops", false);
    budget_row(b, "agents' tokens (in and out)",
               d->output_tokens < 0 ? NAN : (double)(d->output_tokens + (d->input_tokens > 0 ? d->input_tokens : 0)),
               limits, "tokens", false);
    budget_row(b, "money, USD", d->money_usd, limits, "money", false);
    text(b, "</table></div>\n");
    json_decref(config);
}

/* "created" is seconds since 1970. */
static void date_of(aira__buf *b, const char *seconds) {
    char *end, date[64];
    double value = strtod(seconds, &end);
    time_t at = (time_t)value;
    struct tm parts;
    if (*end || !(value > 0 && value < 1e11) || !gmtime_r(&at, &parts)) return;
    if (strftime(date, sizeof date, " (%Y-%m-%d %H:%M:%S UTC)", &parts)) text(b, date);
}

static void environment(aira__buf *b, const report_data *d) {
    const char *key;
    const json_t *value;
    text(b, "<h2>Environment and identities</h2><div class=\"scroll\"><table>");
    json_object_foreach(d->study, key, value) {
        const char *said = json_string_value(value);
        text(b, "<tr><td class=\"l\">");
        report_escape(b, key);
        text(b, "</td><td class=\"l wrap\">");
        if (strlen(said) > 300) {
            json_t *parsed = json_loads(said, 0, NULL);
            char *pretty = parsed ? json_dumps(parsed, JSON_INDENT(2)) : NULL;
            text(b, "<details><summary>show</summary><pre>");
            report_escape(b, pretty ? pretty : said);
            text(b, "</pre></details>");
            free(pretty);
            json_decref(parsed);
        } else {
            text(b, "<code>");
            report_escape(b, said);
            text(b, "</code>");
            if (strcmp(key, "created") == 0) date_of(b, said);
        }
        text(b, "</td></tr>\n");
    }
    text(b, "</table></div>\n");
}

bool report_html(report_data *d, const json_t *facts, aira__buf *b) {
    if (!head(b, d)) return false;
    verdict(b, d);
    if (d->best >= 0) {
        text(b, "<h2>Best so far</h2>");
        report_progress_chart(b, d);
    }
    top_candidates(b, d);
    aggregates(b, d);
    scaled_models(b, d);
    found_and_submitted(b, d);
    trees(b, d);
    ledger(b, facts);
    budget(b, d);
    environment(b, d);
    json_t *data = report_node_data(d);
    text(b, "<p class=\"dim\">The same figures: report.json. Every node: nodes.csv. Everything: journal.db (SQLite; "
            "docs/contract.md).</p>"
            "<script type=\"application/json\" id=\"data\">");
    bool fine = data && report_json_in_html(b, data);
    json_decref(data);
    text(b, "</script>\n");
    if (d->n_nodes > 0) {
        text(b, "<script>\n");
        for (int i = 0; report_script[i]; i++) aira__buf_printf(b, "%s\n", report_script[i]);
        text(b, "</script>");
    }
    text(b, "</body></html>\n");
    return fine && !b->failed;
}
