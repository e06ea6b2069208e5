/* core/report/section_verdict.c - the box at the top: what won, how sure that is, what it cost, how to see it again. */
#include <math.h>
#include <string.h>

#include "core/report/internal.h"

static void text(aira__buf *b, const char *s) { aira__buf_text(b, s); }

static void open_figure(aira__buf *b) { text(b, "<div><b>"); }
static void close_figure(aira__buf *b, const char *name) { aira__buf_printf(b, "</b><span>%s</span></div>", name); }

static double bound(const json_t *of, size_t side) {
    const json_t *value = json_array_get(json_object_get(of, "interval"), side);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void interval(aira__buf *b, const json_t *of, bool sign) {
    if (isnan(bound(of, 0))) return;
    text(b, " <small>[");
    report_fixed(b, bound(of, 0), 4, sign);
    text(b, ", ");
    report_fixed(b, bound(of, 1), 4, sign);
    text(b, "]</small>");
}

static void badge(aira__buf *b, const report_node *n, const json_t *verdict) {
    const char *claim = report_string_in(verdict, "claim");
    const char *over = report_string_in(json_object_get(verdict, "gain"), "over");
    if (strcmp(claim, "better") == 0 || strcmp(claim, "not shown") == 0) {
        bool better = strcmp(claim, "better") == 0;
        text(b, better ? "<span class=\"badge yes\">✓ better than "
                       : "<span class=\"badge no\">○ not shown to be better "
                         "than ");
        report_escape(b, over);
        text(b, better ? ", on fresh seeds</span>" : "</span>");
    } else if (strcmp(n->standing, "confirmed") == 0)
        text(b, "<span class=\"badge part\">◐ confirmed by further seeds, not scored on fresh ones</span>");
    else
        text(b, "<span class=\"badge no\">○ provisional</span>");
}

/* Score figures: on fresh seeds where there are some, and as searched. */
static void scores(aira__buf *b, const report_data *d, const json_t *verdict) {
    const json_t *searched = json_object_get(verdict, "as_searched"), *fresh = json_object_get(verdict, "fresh"),
                 *gain = json_object_get(verdict, "gain"), *test = json_object_get(fresh, "test");
    char name[160];
    text(b, "<div class=\"figures\">");
    if (json_is_object(test)) {
        open_figure(b);
        report_fixed(b, report_number_in(test, "mean"), 4, false);
        interval(b, test, false);
        snprintf(name, sizeof name, "%.60s on the test split, %.0f fresh seeds", d->metric,
                 report_number_in(fresh, "seeds"));
        text(b, "</b><span>");
        report_escape(b, name);
        text(b, "</span></div>");
    }
    if (json_is_object(gain)) {
        open_figure(b);
        report_fixed(b, report_number_in(gain, "gain"), 4, true);
        interval(b, gain, true);
        text(b, "</b><span>gain over ");
        report_escape(b, report_string_in(gain, "over"));
        text(b, "</span></div>");
    }
    open_figure(b);
    report_fixed(b, report_number_in(searched, "selection"), 4, false);
    close_figure(b, "selection split, as searched");
    if (!json_is_object(test)) {
        open_figure(b);
        report_fixed(b, report_number_in(searched, "search"), 4, false);
        text(b, "</b><span>");
        report_escape(b, d->metric);
        text(b, ", search split</span></div>");
    }
    text(b, "</div>");
}

static void fresh_sentences(aira__buf *b, const report_data *d, const json_t *verdict) {
    const json_t *fresh = json_object_get(verdict, "fresh"), *gain = json_object_get(verdict, "gain");
    const json_t *covers = json_object_get(gain, "covers_zero");
    double searched = report_number_in(json_object_get(fresh, "searched"), "selection"),
           again = report_number_in(json_object_get(fresh, "selection"), "mean");
    if (json_is_object(gain)) {
        aira__buf_printf(b, "<li>On %.0f fresh seeds the gain over ", report_number_in(gain, "seeds"));
        report_escape(b, report_string_in(gain, "over"));
        text(b, " is ");
        report_fixed(b, report_number_in(gain, "gain"), 4, true);
        if (json_is_null(covers) || !covers)
            text(b, "; an interval cannot be told from so few differences.");
        else
            aira__buf_printf(b, "; its %.0f %% interval <b>%s zero</b>%s", 100 * report_number_in(gain, "level"),
                             json_is_true(covers) ? "covers" : "does not cover",
                             json_is_true(covers) ? ": this may be luck." : ".");
        if (strcmp(report_string_in(verdict, "over_role"), "reference") == 0)
            text(b, " The reference is the search's own first candidate; baselines in the study file would say more.");
        text(b, "</li>");
    }
    if (!isnan(searched) && !isnan(again)) {
        text(b, "<li>As searched it scored ");
        report_fixed(b, searched, 4, false);
        text(b, " on the selection split; the same split on fresh seeds gives ");
        report_fixed(b, again, 4, false);
        bool flattered = d->higher_is_better ? searched > again : searched < again;
        text(b, flattered ? ". The difference is what choosing by a score flatters.</li>"
                          : ", so this time choosing by it has not flattered it.</li>");
    }
    if (*report_string_in(fresh, "error")) {
        text(b, "<li>A final training failed: ");
        report_escape(b, report_string_in(fresh, "error"));
        text(b, "</li>");
    }
}

static void contender_sentence(aira__buf *b, const report_node *n) {
    if (!*n->test) return;
    text(b, "<li>When it was found, its search tested it: ");
    report_escape(b, n->test);
    text(b, ".</li>");
}

static void seeds_sentences(aira__buf *b, const report_data *d, const json_t *verdict) {
    const json_t *searched = json_object_get(verdict, "as_searched");
    int repeated, same = (int)json_integer_value(json_object_get(verdict, "equals"));
    double noise = report_seed_deviation(d, &repeated), seeds = report_number_in(searched, "seeds");
    text(b, "<li>");
    if (seeds >= 2) {
        aira__buf_printf(b, "As searched it was trained with %.0f seeds: mean ", seeds);
        report_fixed(b, report_number_in(searched, "mean"), 4, false);
        text(b, ", 95 % interval");
        interval(b, searched, false);
        text(b, ". ");
    } else {
        text(b, "As searched it was trained with one seed. ");
    }
    if (repeated > 0) {
        aira__buf_printf(b, "Over the %d %s with several seeds, the seed alone moves a score by ", repeated,
                         repeated == 1 ? "candidate" : "candidates");
        report_number(b, noise, 2);
        text(b, " (standard deviation); smaller differences mean little.");
    } else {
        text(b, "No candidate was trained twice, so the noise between seeds is <b>not known</b>.");
    }
    text(b, "</li>");
    if (d->n_ranked > 1) {
        double median = report_median_score(d), gap = d->ranked_scores[0] - median;
        text(b, "<li>Of ");
        report_grouped(b, d->n_ranked);
        text(b, " distinct candidates the median scored ");
        report_fixed(b, median, 4, false);
        text(b, ", the best ");
        report_fixed(b, fabs(gap), 4, false);
        text(b, d->higher_is_better ? " more." : " less (less is better).");
        if (same > 0)
            aira__buf_printf(b, " <b>%d other%s the winner's very score</b>; the earliest was taken.", same,
                             same == 1 ? " has" : "s have");
        text(b, "</li>");
    }
}

static void costs(aira__buf *b, const report_data *d) {
    text(b, "<div class=\"figures small\">");
    open_figure(b);
    report_duration(b, d->wall_seconds);
    close_figure(b, "wall time");
    open_figure(b);
    report_duration(b, d->device_seconds);
    close_figure(b, "device time");
    open_figure(b);
    report_short(b, d->flops);
    close_figure(b, "training FLOPs");
    open_figure(b);
    report_short(b, d->calls.input + d->calls.output);
    close_figure(b, "agents' tokens");
    open_figure(b);
    report_money(b, &d->calls);
    close_figure(b, "agents' cost");
    text(b, "</div>");
}

static void reproduce(aira__buf *b, const json_t *verdict) {
    const json_t *how = json_object_get(verdict, "reproduce");
    aira__buf_printf(b, "<h3>See it again</h3><p class=\"note\">One training of the winner, seed %lld; it scores ",
                     (long long)json_integer_value(json_object_get(how, "seed")));
    report_fixed(b, report_number_in(how, "score"), 6, false);
    text(b, " on the ");
    report_escape(b, report_string_in(how, "split"));
    text(b, " split. And the whole search, without an agent. From the folder where the study was started:</p><pre "
            "class=\"command\">");
    report_escape(b, report_string_in(how, "evaluate"));
    text(b, "</pre><pre class=\"command\">");
    report_escape(b, report_string_in(how, "replay"));
    text(b, "</pre>");
}

void report_verdict_section(aira__buf *b, const report_data *d, const json_t *facts) {
    const json_t *verdict = json_object_get(facts, "verdict");
    int winner = d->submitted >= 0 ? d->submitted : d->best;
    text(b, "<section class=\"verdict\" id=\"verdict\">");
    if (winner < 0) {
        text(b, "<p class=\"arch\">No candidate finished</p><p>Causes are listed under “Failures”.</p>");
        costs(b, d);
        text(b, "</section>\n");
        return;
    }
    const report_node *n = &d->nodes[winner];
    json_t *design = report_design(d, n);
    text(b, design ? "<p class=\"kicker\">Best mechanism</p><p class=\"arch\">"
                   : "<p class=\"kicker\">Best architecture</p><p class=\"arch\">");
    json_decref(design);
    report_escape(b, n->architecture);
    text(b, "</p>");
    if (n->n_layers) report_strip(b, d, n->layers, n->n_layers, NULL);
    text(b, "<p>");
    badge(b, n, verdict);
    text(b, " <span class=\"dim\">found by ");
    report_escape(b, d->groups[d->searches[n->search].group].name);
    aira__buf_printf(b, ", search %lld, node %lld, seed %lld</span></p>", (long long)d->searches[n->search].id,
                     (long long)n->idx, (long long)d->searches[n->search].seed);
    scores(b, d, verdict);
    text(b, "<h3>How sure</h3><ul>");
    fresh_sentences(b, d, verdict);
    if (!d->final)
        text(b, "<li><b>No final scoring on fresh seeds was made</b>, so the scores above also chose the winner and "
                "flatter it.</li>");
    seeds_sentences(b, d, verdict);
    contender_sentence(b, n);
    text(b, "</ul>");
    if (d->final) {
        report_final_chart(b, d);
        text(
            b,
            "<p class=\"legend\"><span><svg width=\"26\" height=\"12\"><path class=\"whisker\" d=\"M1 "
            "6h24\"/><circle class=\"fresh\" cx=\"13\" cy=\"6\" r=\"4.5\"/></svg>test split on fresh seeds: mean, 95 % "
            "interval</span><span><svg width=\"12\" height=\"12\"><circle class=\"searched\" cx=\"6\" cy=\"6\" "
            "r=\"4.5\"/></svg>selection split, as searched</span></p>");
    }
    text(b, "<h3>At what cost</h3>");
    costs(b, d);
    reproduce(b, verdict);
    text(b, "</section>\n");
}
