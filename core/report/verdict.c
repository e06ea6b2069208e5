/* core/report/verdict.c - what won, how sure that is, and the commands that show it again: the first thing of a report.
 *
 * Claims are made in three strengths. "better": the final scoring on fresh seeds puts the whole interval of the gain on
 * one side of zero. "not shown": it does not, or cannot tell. "provisional": there was no final scoring; what is known
 * are scores that also chose the winner, which flatters it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/report/internal.h"

/* One word of a POSIX shell. */
static void shell_word(aira__buf *b, const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,+@%";
    if (*text && strspn(text, plain) == strlen(text)) {
        aira__buf_text(b, text);
        return;
    }
    aira__buf_text(b, "'");
    for (; *text; text++) {
        if (*text == '\'')
            aira__buf_text(b, "'\\''");
        else
            aira__buf_add(b, text, 1);
    }
    aira__buf_text(b, "'");
}

static void device_option(aira__buf *b, const report_data *d) {
    json_t *config = json_loads(report_study_text(d, "config", "{}"), 0, NULL);
    const char *use = report_string_in(json_object_get(config, "device"), "use");
    if (*use && strcmp(use, "cpu") != 0) {
        aira__buf_text(b, " --device ");
        shell_word(b, use);
    }
    json_decref(config);
}

/* {"evaluate", "replay", "split", "seed", "score"}: the first training of the winner, which gives that score again. */
static json_t *reproduce(const report_data *d, const report_node *n) {
    const report_evaluation *e = n->evaluation < 0 ? NULL : &d->evaluations[n->evaluation];
    bool selection = e && !isnan(e->selection_score);
    int64_t seed = e ? e->seed : n->seed;
    aira__buf b = {0}, path = {0}, replay = {0};
    aira__buf_printf(&path, "%s/task.yaml", d->run_dir);
    json_t *design = report_design(d, n), *option;
    if (design) {
        aira__buf_text(&b, "aira export ");
        shell_word(&b, d->run_dir);
        aira__buf_printf(&b, " %lld:%lld --as source --out mechanism.c && ", (long long)d->searches[n->search].id,
                         (long long)n->idx);
    }
    aira__buf_text(&b, "aira evaluate --task ");
    shell_word(&b, path.data ? path.data : "task.yaml");
    aira__buf_text(&b, design ? " --source mechanism.c" : " --arch ");
    if (!design) shell_word(&b, n->architecture);
    const char *name;
    json_object_foreach(json_object_get(design, "options"), name, option)
        aira__buf_printf(&b, " --set %s=%.17g", name, json_number_value(option));
    json_decref(design);
    aira__buf_printf(&b, " --split %s --seed %lld", selection ? "selection" : "search", (long long)seed);
    device_option(&b, d);
    aira__buf_text(&replay, "aira replay ");
    shell_word(&replay, d->run_dir);
    char *evaluate = aira__buf_take(&b), *again = aira__buf_take(&replay);
    aira__buf_free(&path);
    json_t *value = json_pack("{s:s?, s:s?, s:s, s:I, s:o}", "evaluate", evaluate, "replay", again, "split",
                              selection ? "selection" : "search", "seed", (json_int_t)seed, "score",
                              aira__json_number(!e          ? NAN
                                                : selection ? e->selection_score
                                                            : e->search_score));
    free(evaluate);
    free(again);
    return value;
}

/* The entry of the final scoring that is called so. */
static const json_t *scored(const report_data *d, const char *name) {
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(d->final, "test"), i, entry) {
        if (strcmp(report_string_in(entry, "name"), name) == 0) return entry;
    }
    return NULL;
}

static const json_t *winner_scored(const report_data *d) {
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(d->final, "test"), i, entry) {
        if (strcmp(report_string_in(entry, "role"), "winner") == 0) return entry;
    }
    return NULL;
}

/* The gain that the verdict is about: the winner's over a baseline, else over anything. */
static const json_t *main_gain(const report_data *d) {
    const json_t *gain, *any = NULL;
    size_t i;
    json_array_foreach(json_object_get(d->final, "gain"), i, gain) {
        const char *of = report_string_in(scored(d, report_string_in(gain, "of")), "role");
        const char *over = report_string_in(scored(d, report_string_in(gain, "over")), "role");
        if (strcmp(of, "winner") != 0) continue;
        if (strcmp(over, "baseline") == 0) return gain;
        if (!any) any = gain;
    }
    return any;
}

static json_t *interval(double middle, double margin) {
    return isnan(margin) ? json_null() : json_pack("[f, f]", middle - margin, middle + margin);
}

/* Other candidates with the winner's very score. */
static int equals(const report_data *d, const report_node *won) {
    int n = 0;
    for (int i = 0; i < d->n_ranked; i++)
        n += d->ranked_scores[i] == report_rank_score(won) && strcmp(d->nodes[d->ranked[i]].hash, won->hash) != 0;
    return n;
}

json_t *report_verdict(const report_data *d) {
    int winner = d->submitted >= 0 ? d->submitted : d->best;
    if (winner < 0) return json_pack("{s:s, s:n}", "claim", "none", "winner");
    const report_node *n = &d->nodes[winner];
    const json_t *fresh = winner_scored(d), *gain = main_gain(d);
    const json_t *covers = json_object_get(gain, "covers_zero");
    const char *claim = !gain                                                         ? "provisional"
                        : json_is_false(covers) && report_number_in(gain, "gain") > 0 ? "better"
                                                                                      : "not shown";
    report_seeds s = report_seeds_of(d, n->hash);
    json_t *searched = json_pack("{s:o, s:o, s:i, s:o, s:o, s:o}", "search", aira__json_number(n->search_score),
                                 "selection", aira__json_number(n->selection_score), "seeds", s.n, "mean",
                                 aira__json_number(s.mean), "spread", aira__json_number(s.deviation), "interval",
                                 interval(s.mean, s.margin));
    const char *role = report_string_in(scored(d, report_string_in(gain, "over")), "role");
    return json_pack("{s:s, s:s?, s:o, s:s, s:s, s:o, s:O?, s:O?, s:i, s:o}", "claim", claim, "over_role",
                     *role ? role : NULL, "winner", report_node_fact(d, winner), "architecture", n->architecture,
                     "standing", n->standing, "as_searched", searched, "fresh", fresh, "gain", gain, "equals",
                     equals(d, n), "reproduce", reproduce(d, n));
}
