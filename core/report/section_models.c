/* core/report/section_models.c - extrapolated models, and how far the scores can be trusted. */
#include <math.h>
#include <string.h>

#include "core/report/internal.h"

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static void scaled_row(aira__buf *b, const json_t *e) {
    aira__buf_printf(b, "</td><td>%.0f</td><td>", report_number_in(e, "layers"));
    report_millions(b, report_number_in(e, "parameters_body"));
    text(b, "</td><td>");
    report_millions(b, report_number_in(e, "parameters_total"));
    text(b, "</td><td>");
    report_fixed(b, report_number_in(e, "flops_per_token") / 1e9, 3, false);
    text(b, "</td><td>");
    report_grouped(b, report_number_in(e, "kv_bytes_per_token"));
    text(b, "</td></tr>\n");
}

/* Is it the first of its size with this architecture? Several aggregates often agree. */
static bool first_of_kind(const report_data *d, size_t index, const json_t *e) {
    for (size_t k = 0; k < index; k++) {
        const json_t *other = json_array_get(d->extrapolated, k);
        if (strcmp(report_string_in(other, "to"), report_string_in(e, "to")) == 0 &&
            strcmp(report_string_in(other, "architecture"), report_string_in(e, "architecture")) == 0)
            return false;
    }
    return true;
}

static void models_of_size(aira__buf *b, const report_data *d, const char *to, const json_t *llama) {
    size_t i;
    const json_t *e;
    text(b, "<tr class=\"group\"><th class=\"l\" colspan=\"6\">");
    report_escape(b, to);
    text(b, "</th></tr>");
    if (llama) {
        bool released = strcmp(to, "1B") == 0 || strcmp(to, "3B") == 0;
        text(b, released ? "<tr class=\"dim\"><td class=\"l\">Llama 3.2" : "<tr class=\"dim\"><td class=\"l\">Llama");
        scaled_row(b, llama);
    }
    json_array_foreach(d->extrapolated, i, e) {
        if (strcmp(report_string_in(e, "to"), to) != 0) continue;
        text(b, "<tr><td class=\"l\">");
        report_escape(b, report_string_in(e, "from"));
        text(b, strcmp(report_string_in(e, "by"), "stack") == 0 ? " stacked" : " stretched");
        scaled_row(b, e);
        if (!first_of_kind(d, i, e)) continue;
        text(b, "<tr class=\"under\"><td class=\"l wrap\" colspan=\"6\">");
        report_strip_text(b, d, report_string_in(e, "architecture"), NULL);
        text(b, "<span class=\"arch\">");
        report_escape(b, report_string_in(e, "architecture"));
        text(b, "</span></td></tr>\n");
    }
}

static void scaled_models(aira__buf *b, const report_data *d) {
    if (json_array_size(d->extrapolated) == 0) return;
    report_section(b, "models", "Extrapolated models",
                   "Body: primitives alone. FLOPs of training at 8,192 tokens of context, without embedding and head; "
                   "key-value cache in bf16. Each architecture is drawn once. The files are in <code>models/</code>, "
                   "ready for <code>aira train</code>.");
    text(b, "<div class=\"scroll\"><table><thead><tr><th class=\"l\">model</th><th>layers</th><th>body</th>"
            "<th>total</th><th>GFLOP per token</th><th>KV bytes per token</th></tr></thead><tbody>\n");
    size_t i;
    const json_t *e;
    json_array_foreach(d->extrapolated, i, e) {
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= strcmp(report_string_in(json_array_get(d->extrapolated, k), "to"), report_string_in(e, "to")) == 0;
        if (!seen) models_of_size(b, d, report_string_in(e, "to"), json_object_get(e, "llama"));
    }
    text(b, "</tbody></table></div></section>\n");
}

/* ------------------------------------------------------------------- trust */

static void named_node(aira__buf *b, const report_data *d, const char *name, int node) {
    const report_node *n = &d->nodes[node];
    aira__buf_printf(b, "<tr data-node=\"%d\" tabindex=\"0\"><td class=\"l\">%s</td><td class=\"l arch wrap\">", node,
                     name);
    report_escape(b, n->architecture);
    text(b, "</td><td>");
    report_fixed(b, n->search_score, 4, false);
    text(b, "</td><td>");
    report_fixed(b, n->selection_score, 4, false);
    text(b, "</td><td>");
    report_fixed(b, report_test_score(d, n->hash), 4, false);
    text(b, "</td></tr>");
}

static void optimism(aira__buf *b, const report_data *d) {
    int pairs;
    double correlation = report_rank_correlation(d, &pairs), sum = 0;
    int n = 0;
    for (int i = 0; i < d->n_cluster; i++) {
        const report_node *c = &d->nodes[d->cluster[i]];
        if (isnan(c->search_score) || isnan(c->selection_score)) continue;
        sum += c->search_score - c->selection_score;
        n++;
    }
    if (n == 0) return;
    aira__buf_printf(b, "<p>For the %d best, the search split reads ", n);
    report_fixed(b, fabs(sum / n), 4, false);
    bool flatters = d->higher_is_better ? sum > 0 : sum < 0;
    text(b, flatters ? " better" : " worse");
    text(b, " than the selection split");
    if (!isnan(correlation)) {
        aira__buf_printf(b, "; over all %d candidates the two agree with a rank correlation of ", pairs);
        report_fixed(b, correlation, 2, false);
    }
    text(b, ".</p>");
}

static void openings(aira__buf *b, const report_data *d) {
    size_t i;
    const json_t *event;
    int scored = 0;
    for (int k = 0; k < d->n_evaluations; k++) scored += !isnan(d->evaluations[k].test_score);
    text(b, "<h3>Openings of the test split</h3>");
    if (json_array_size(d->openings) == 0) {
        aira__buf_printf(b,
                         scored ? "<p>%d trainings have a test score, but no opening was recorded.</p>"
                                : "<p>Never opened: no training has a test score.</p>",
                         scored);
        return;
    }
    text(b, "<ul>");
    json_array_foreach(d->openings, i, event) {
        text(b, "<li>");
        report_date(b, report_number_in(event, "time"));
        text(b, ": ");
        report_escape(b, report_string_in(event, "text"));
        text(b, "</li>");
    }
    aira__buf_printf(b, "</ul><p class=\"dim\">%d trainings have a test score.</p>", scored);
}

static void trust(aira__buf *b, const report_data *d) {
    report_section(b, "trust", "How far to trust the scores",
                   "A search steers by one split and submits by another; the third is opened once, at the end. Below "
                   "the dashed line (for losses: above it) lies what the horizontal score flattered.");
    text(b, "<div class=\"scroll\"><table><thead><tr><th></th><th class=\"l\">architecture</th><th>search</th><th>"
            "selection</th><th>test</th></tr></thead><tbody>");
    named_node(b, d, "best found", d->best);
    if (d->submitted >= 0) named_node(b, d, "submitted", d->submitted);
    text(b, "</tbody></table></div>");
    optimism(b, d);
    int tested = 0;
    for (int i = 0; i < d->n_ranked; i++) tested += !isnan(report_test_score(d, d->nodes[d->ranked[i]].hash));
    text(b, "<div class=\"pair\">");
    report_optimism_chart(b, d, false);
    if (tested > 2) report_optimism_chart(b, d, true);
    report_size_chart(b, d);
    text(b, "</div>");
    text(b, "<h3>Noise between seeds</h3>");
    report_seeds_chart(b, d);
    openings(b, d);
    text(b, "</section>\n");
}

void report_model_sections(aira__buf *b, const report_data *d) {
    scaled_models(b, d);
    if (d->best >= 0) trust(b, d);
}
