/* core/search/overview.c - see overview.h. The test split is counted and never described further. */
#include "core/search/overview.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "core/base/buf.h"
#include "core/search/question.h"

static void add_rows(aira__buf *out, const aira_dataset_info *info) {
    static const char *const names[AIRA_N_SPLITS] = {"for training", "to score a candidate (search)",
                                                     "to choose what is submitted (selection)",
                                                     "kept for the end (test)"};
    for (int i = 0; i < (int)AIRA_N_SPLITS; i++) {
        aira__buf_text(out, i ? ", " : " Rows: ");
        if (info->n_rows[i] > 0)
            aira__buf_printf(out, "%" PRId64 " %s", info->n_rows[i], names[i]);
        else
            aira__buf_printf(out, "any number %s", names[i]);
    }
    aira__buf_text(out, ".");
}

static void add_metric(aira__buf *out, const aira_dataset_info *info) {
    bool higher = !aira__metric_is_loss(info->metric);
    aira__buf_printf(out, " Metric: %s, %s is better", aira__metric_name(info->metric), higher ? "higher" : "lower");
    if (isfinite(info->worst)) aira__buf_printf(out, "; guessing gives %.4g", info->worst);
    if (isfinite(info->best)) aira__buf_printf(out, "; the best possible is %.4g", info->best);
    aira__buf_text(out, ".");
}

static void add_recipe(aira__buf *out, const aira__proxy *proxy) {
    const aira__recipe *r = &proxy->recipe;
    int64_t batch = r->batch ? r->batch : proxy->info.batch;
    aira__buf_text(out, " Each candidate is trained from scratch for ");
    if (r->seconds > 0)
        aira__buf_printf(out, "%g seconds", r->seconds);
    else if (r->epochs > 0)
        aira__buf_printf(out, "%" PRId64 " epochs", r->epochs);
    else if (r->tokens > 0)
        aira__buf_printf(out, "%" PRId64 " tokens", r->tokens);
    else
        aira__buf_printf(out, "%" PRId64 " steps", r->steps);
    aira__buf_printf(out, " in batches of %" PRId64 ".", batch);
}

static void add_proxy(aira__buf *out, const aira__task *task, const aira__proxy *proxy) {
    const aira_dataset_info *info = &proxy->info;
    const char *summary = proxy->dataset->plugin->summary;
    aira__buf_printf(out, "%s (%s): sequences of %" PRId64 " of %" PRId64 " different tokens", proxy->name,
                     summary ? summary : "no description", info->input_length, info->vocab);
    if (info->target_length != info->input_length || info->classes != info->vocab)
        aira__buf_printf(out, ", targets of %" PRId64 " of %" PRId64 " classes", info->target_length, info->classes);
    aira__buf_text(out, ".");
    add_rows(out, info);
    add_metric(out, info);
    add_recipe(out, proxy);
    if (task->n_proxies > 1) aira__buf_printf(out, " Weight in the score: %.4g.", proxy->weight);
}

char *aira__data_overview(const aira__task *task) {
    aira__buf out = {0};
    aira__buf_printf(&out, "%d data set%s; the score is %s.", task->n_proxies, task->n_proxies == 1 ? "" : "s",
                     task->n_proxies == 1 ? "its metric" : "the weighted mean of their metrics");
    for (int i = 0; i < task->n_proxies; i++) {
        aira__buf_text(&out, "\n\n");
        add_proxy(&out, task, &task->proxies[i]);
    }
    char *whole = aira__buf_take(&out);
    char *cut = whole ? aira__shorten(whole, AIRA__OVERVIEW_MAX * 2 / 3, AIRA__OVERVIEW_MAX / 3 - 60) : NULL;
    free(whole);
    return cut;
}
