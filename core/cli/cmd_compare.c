/* core/cli/cmd_compare.c - `aira compare`: agents and scaffolds of one or more runs side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/cli/cli.h"
#include "core/compare/compare.h"

int aira__cmd_compare(aira__cli *cli, int argc, char **argv);

typedef struct compare_options {
    const char *html, *csv;
    aira__cli_list references;
    uint64_t seed;
} compare_options;

static void show(const compare_interval *i, const char *format, int width) {
    char value[32], low[32], high[32], whole[100];
    snprintf(value, sizeof value, format, i->value);
    snprintf(low, sizeof low, format, i->low);
    snprintf(high, sizeof high, format, i->high);
    if (isnan(i->value))
        snprintf(whole, sizeof whole, "-");
    else if (isnan(i->low))
        snprintf(whole, sizeof whole, "%s", value);
    else
        snprintf(whole, sizeof whole, "%s [%s, %s]", value, low, high);
    printf("  %*s", width, whole);
}

static void show_count(double value, int width) {
    if (isnan(value))
        printf("  %*s", width, "-");
    else
        printf("  %*.0f", width, value);
}

static void print_players(const compare_data *d) {
    printf("%-32s %5s %6s  %18s  %22s  %22s  %8s  %10s  %8s  %9s\n", "player", "runs", "valid", "Elo", "normalised",
           "linear", "evals", "device s", "calls", "USD");
    for (int p = 0; p < d->n_players; p++) {
        const compare_player *x = &d->players[p];
        printf("%-32.32s %5d %5.0f%%", x->name, x->runs, x->runs ? 100.0 * x->valid / x->runs : 0.0);
        show(&x->rating, "%.0f", 18);
        show(&x->normalised, "%.3f", 22);
        show(&x->linear, "%.3f", 22);
        show_count(x->costs.evaluations, 8);
        show_count(x->costs.device_seconds, 10);
        show_count(x->costs.calls, 8);
        if (isnan(x->costs.money_usd))
            printf("  %9s\n", "-");
        else
            printf("  %9.2f\n", x->costs.money_usd);
    }
}

static int print_text(aira__cli *cli, const compare_data *d) {
    print_players(d);
    for (int t = 0; t < d->n_tasks; t++) {
        const compare_task *task = &d->tasks[t];
        printf("\ntask %s: %s scores (%s, %s is better); ", task->name, task->final ? "final test" : "selection",
               task->metric, task->higher_is_better ? "higher" : "lower");
        if (isnan(task->scale.worst))
            printf("no scale\n");
        else
            printf("scale worst %.6g, best %.6g, optimum %.6g\n", task->scale.worst, task->scale.best,
                   task->scale.optimum);
        for (int p = 0; p < d->n_players; p++) {
            compare_cell c = aira__compare_cell(d, p, t);
            if (c.runs == 0) continue;
            printf("%-32.32s %5d of %d valid", d->players[p].name, c.valid, c.runs);
            if (c.valid) printf("   mean %.6g, best %.6g", c.mean, c.best);
            if (!isnan(c.deviation)) printf(", deviation %.2g", c.deviation);
            printf("\n");
        }
    }
    const json_t *note;
    size_t i;
    json_array_foreach(d->notes, i, note) printf("note: %s\n", json_string_value(note));
    return fflush(stdout) != 0 ? aira__cli_fail_text(cli, AIRA_E_IO, "standard output cannot be written") : 0;
}

static aira_status write_file(const char *path, const compare_data *d, bool (*make)(const compare_data *, aira__buf *),
                              aira_error *error) {
    aira__buf b = {0};
    if (path == NULL) return AIRA_OK;
    aira_status status = make(d, &b) ? aira__file_write_atomic(path, b.data ? b.data : "", b.size, error)
                                     : aira__fail(error, AIRA_E_MEMORY, "out of memory while writing %s", path);
    aira__buf_free(&b);
    return status;
}

int aira__cmd_compare(aira__cli *cli, int argc, char **argv) {
    compare_options o = {0};
    const aira__cli_option options[] = {
        {"out", "FILE.html", "also write a page: standings, scores, anytime curves, costs", AIRA__CLI_TEXT, &o.html,
         false},
        {"csv", "FILE.csv", "also write one row per search", AIRA__CLI_TEXT, &o.csv, false},
        {"reference", "NAME=SCORE", "a published score as a player (repeatable)", AIRA__CLI_LIST, &o.references, false},
        {"seed", "N", "of the intervals' rounds (default 0)", AIRA__CLI_SEED, &o.seed, false}};
    const aira__cli_spec spec = {.arguments = "DIR...",
                                 .summary = "compares agents and scaffolds over the searches of run directories: "
                                            "valid-submission rate, normalised scores,\nBradley-Terry Elo with "
                                            "intervals, anytime curves, costs.",
                                 .options = options,
                                 .n_options = 4,
                                 .min_names = 1,
                                 .max_names = -1};
    aira__cli_arguments arguments;
    int code = aira__cli_parse(cli, &spec, argc, argv, &arguments);
    if (code >= 0) return code;
    aira_error error = {AIRA_OK, ""};
    compare_data d;
    aira_status status = aira__compare_read(arguments.names, arguments.n_names, o.references.items, o.references.n, &d,
                                            &error);
    d.seed = o.seed;
    if (status == AIRA_OK) status = aira__compare_compute(&d, &error);
    if (status == AIRA_OK) status = write_file(o.html, &d, aira__compare_html, &error);
    if (status == AIRA_OK) status = write_file(o.csv, &d, aira__compare_csv, &error);
    if (status != AIRA_OK) {
        code = aira__cli_fail(cli, &error);
    } else if (cli->json) {
        json_t *result = aira__compare_json(&d);
        if (result != NULL && json_object_set_new(result, "report", o.html ? json_string(o.html) : json_null()) != 0) {
            json_decref(result);
            result = NULL;
        }
        code = aira__cli_print_json(cli, result);
    } else {
        code = print_text(cli, &d);
        if (code == 0 && o.html) printf("report: %s\n", o.html);
    }
    aira__compare_release(&d);
    return code;
}
