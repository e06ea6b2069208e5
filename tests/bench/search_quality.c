/* tests/bench/search_quality.c - how fast each search policy finds what is known to be there.
 *
 *     build/bench/bench_search_quality [--table FILE] [--out FOLDER] [--replays N]
 *
 * All architectures of a small space are known under several seeds (configs/tables/space64.csv). Every policy searches
 * it N times (default 1,000), in memory, through the search's own tree and the real plugins; agents are called
 * directly. Replay r draws for every architecture one of its seeds' scores by hash(r, architecture), the same for all
 * policies.
 *
 * Regret after e evaluations: the highest mean score of the space, less the mean score of the architecture that looked
 * best so far ("chosen": what a search submits, luck included), or of the best one that was evaluated ("found": what
 * the policy is to blame for). "confirmed" is "chosen" in a search that trains every new best on two further seeds, as
 * studies do, and pays three evaluations for it. Policies are compared with random search replay by replay; intervals
 * are 95 % of 2,000 bootstrap samples of replays. Writes search-quality.html and .csv and prints tables in Markdown.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aira/agent.h"
#include "aira/rng.h"
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/compose/notation.h"
#include "core/plugin/registry.h"
#include "core/report/internal.h"
#include "core/report/plot.h"
#include "core/search/answer.h"
#include "core/search/question.h"
#include "core/search/tree.h"

enum {
    EVALUATIONS = 48,
    NODES = 500,
    LAYERS = 16,
    SPACE = 4096,
    SEEDS = 16,
    SAMPLES = 2000,
    MARKS = 3,
    THREADS = 2,
    CONFIRM_SEEDS = 3
};
static const int marks[MARKS] = {8, 16, 32};

typedef struct method {
    const char *name, *scaffold, *agent; /* YAML; agent NULL: the scaffold proposes */
} method;
static const method methods[] = {
    {"random", "random", NULL},
    {"greedy + mutate", "greedy", "mutate"},
    {"evolution + mutate", "evolution", "mutate"},
    {"evolution (regularised) + mutate", "{use: evolution, preset: regularised}", "mutate"},
    {"mcts + mutate", "mcts", "mutate"},
    {"mcts (textbook) + mutate", "{use: mcts, preset: textbook}", "mutate"},
    {"bayes", "bayes", NULL},
};
enum { METHODS = sizeof methods / sizeof methods[0] };

static void need(aira_status status, const aira_error *error) {
    if (status == AIRA_OK) return;
    fprintf(stderr, "%s\n", error->text);
    exit(1);
}

/* ---- the known space ---- */

typedef struct space {
    const char *tokens[2];
    uint32_t n_layers, n; /* 2 ^ n_layers architectures */
    double score[SPACE][SEEDS], mean[SPACE], best;
    uint32_t n_seeds[SPACE];
} space;

static uint32_t number_of(const space *s, const uint16_t *layers) {
    uint32_t number = 0;
    for (uint32_t i = 0; i < s->n_layers; i++) number = 2 * number + layers[i];
    return number;
}

static void read_space(const char *path, space *s) {
    char *text = NULL, *state = NULL;
    size_t size = 0;
    aira_error error = {0};
    *s = (space){.tokens = {"mA", "M"}, .best = -INFINITY};
    need(aira__file_read(path, 1 << 24, &text, &size, &error), &error);
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        char architecture[256];
        unsigned long seed;
        double score;
        uint16_t layers[LAYERS];
        int n = 0;
        if (*line == '#' || sscanf(line, "%255[^,],%lu,%lf", architecture, &seed, &score) != 3) continue;
        need(aira__notation_parse(architecture, s->tokens, 2, layers, 12, &n, &error), &error);
        s->n_layers = (uint32_t)n;
        uint32_t at = number_of(s, layers);
        if (s->n_seeds[at] < SEEDS) s->score[at][s->n_seeds[at]++] = score;
    }
    free(text);
    s->n = 1u << s->n_layers;
    for (uint32_t i = 0; i < s->n; i++) {
        for (uint32_t k = 0; k < s->n_seeds[i]; k++) s->mean[i] += s->score[i][k] / s->n_seeds[i];
        if (!s->n_seeds[i]) {
            fprintf(stderr, "%s does not hold the whole space\n", path);
            exit(1);
        }
        s->best = fmax(s->best, s->mean[i]);
    }
}

/* The mean over `seeds` trainings: the drawn one and those after it. */
static double draw_score(const space *s, uint64_t replay, uint32_t architecture, uint32_t seeds) {
    aira_rng rng = aira_rng_make(aira_key(replay, "search_quality"), architecture);
    uint32_t n = s->n_seeds[architecture], first = aira_rng_below(&rng, n);
    double sum = 0;
    for (uint32_t i = 0; i < seeds; i++) sum += s->score[architecture][(first + i) % n];
    return sum / seeds;
}

/* ---- one search ---- */

typedef struct player {
    const space *s;
    aira__instance *scaffold, *agent;
    aira_seen_node seen[NODES];
} player;

static aira_status hear(const aira_sink *sink, const char *bytes, uint64_t n) {
    return aira__buf_add(sink->core, bytes, n) ? AIRA_OK : AIRA_E_MEMORY;
}
static void hear_usage(const aira_sink *sink, const aira_usage *usage) {
    (void)sink;
    (void)usage;
}
static int32_t never(const aira_sink *sink) {
    (void)sink;
    return 0;
}

static void ask(player *p, const aira__tree *tree, uint32_t idx, uint16_t *layers) {
    const aira__tree_node *node = &tree->nodes[idx];
    const aira_agent *table = p->agent->plugin->table;
    aira__buf text = {0};
    aira_error error = {0};
    aira_sink sink = {.size = sizeof sink, .core = &text, .text = hear, .usage = hear_usage, .cancelled = never};
    aira_agent_request request = {.size = sizeof request,
                                  .operator_name = aira__operator_name(node->operator_code),
                                  .state_json = "{}",
                                  .seed = aira__request_seed(tree->seed, idx, 0),
                                  .n_layers = p->s->n_layers,
                                  .n_tokens = 2,
                                  .tokens = p->s->tokens,
                                  .parent = node->parent,
                                  .other_parent = node->other_parent,
                                  .n_nodes = idx,
                                  .higher_is_better = 1,
                                  .nodes = p->seen,
                                  .node = idx,
                                  .request_hash = ""};
    need(table->complete(p->agent->self, &request, &sink), &(aira_error){.text = "the agent failed"});
    need(aira__answer_parse(text.data, p->s->tokens, 2, (int)p->s->n_layers, layers, &error), &error);
    aira__buf_free(&text);
}

/* The node's candidate gets its score at once, that of its first node where it has one: nothing is pending. Number of
   trainings that it took. */
static uint32_t settle(player *p, aira__tree *tree, uint32_t idx, const uint16_t *layers, uint64_t replay,
                       bool confirm) {
    uint32_t at = number_of(p->s, layers), seeds = 1, first = 0;
    int64_t best = aira__tree_best(tree, false);
    double score = draw_score(p->s, replay, at, 1);
    while (first < idx && number_of(p->s, tree->nodes[first].layers) != at) first++;
    if (first < idx) {
        score = tree->nodes[first].search_score;
        seeds = tree->nodes[first].n_seeds;
    } else if (confirm && (best < 0 || score > tree->nodes[best].search_score)) {
        seeds = CONFIRM_SEEDS;
        score = draw_score(p->s, replay, at, seeds);
    }
    char hash[16], *architecture = aira__notation_format(layers, (int)p->s->n_layers, p->s->tokens);
    aira_error error = {0};
    snprintf(hash, sizeof hash, "%u", at);
    aira__outcome outcome = {AIRA_NODE_GOOD, hash, architecture, NULL, NULL, score, score};
    need(aira__tree_finish(tree, idx, &outcome, &error), &error);
    free(architecture);
    tree->nodes[idx].n_seeds = seeds;
    const aira__tree_node *node = aira__tree_commit(tree);
    p->seen[idx] = (aira_seen_node){.idx = idx,
                                    .parent = node->parent,
                                    .operator_name = aira__operator_name(node->operator_code),
                                    .architecture = node->architecture,
                                    .status = node->duplicate_of >= 0 ? "duplicate" : "good",
                                    .score = score};
    return node->duplicate_of >= 0 ? 0 : seeds;
}

enum { CHOSEN, FOUND, CONFIRMED, KINDS };
static const char *const kinds[KINDS] = {"chosen", "found", "confirmed"};
typedef float curve[KINDS][EVALUATIONS]; /* regret[kind][e - 1] after e evaluations */

/* Fills in chosen and found, or with confirm the last one. */
static void search(player *p, uint64_t replay, bool confirm, curve regret) {
    aira__tree tree;
    aira_error error = {0};
    uint32_t known = 0, spent = 0;
    double latest[KINDS] = {p->s->best, p->s->best, p->s->best};
    int first = confirm ? CONFIRMED : CHOSEN, last = confirm ? CONFIRMED : FOUND;
    aira__tree_init(&tree, replay, 1, true);
    need(aira__tree_shape(&tree, p->s->n_layers, p->s->tokens, 2, &error), &error);
    while (known < EVALUATIONS) {
        aira__step step = {.kind = AIRA__STEP_STOP};
        uint16_t layers[LAYERS];
        if (tree.n < NODES)
            need(aira__tree_step(&tree, p->scaffold->plugin->table, p->scaffold->self, NODES, EVALUATIONS, &step,
                                 &error),
                 &error);
        if (step.kind == AIRA__STEP_STOP) spent = EVALUATIONS; /* it finds nothing new any more */
        int64_t idx = -1;
        if (step.kind != AIRA__STEP_STOP)
            idx = aira__tree_add(&tree, step.action.operator_code, step.action.parent, step.action.other_parent);
        if (step.kind == AIRA__STEP_PROPOSE) {
            memcpy(layers, step.action.layers, p->s->n_layers * sizeof *layers);
            need(aira__tree_propose(&tree, (uint32_t)idx, layers, &error), &error);
        } else if (idx >= 0) {
            ask(p, &tree, (uint32_t)idx, layers);
        }
        if (idx >= 0) spent += settle(p, &tree, (uint32_t)idx, layers, replay, confirm);
        /* the state before lasts until the last training of this one */
        for (; known + (idx >= 0) < spent && known < EVALUATIONS; known++)
            for (int k = first; k <= last; k++) regret[k][known] = (float)latest[k];
        if (idx < 0) break;
        int64_t best = aira__tree_best(&tree, false);
        latest[CHOSEN] = latest[CONFIRMED] = p->s->best - p->s->mean[number_of(p->s, tree.nodes[best].layers)];
        latest[FOUND] = fmin(latest[FOUND], p->s->best - p->s->mean[number_of(p->s, layers)]);
        for (; known < spent && known < EVALUATIONS; known++)
            for (int k = first; k <= last; k++) regret[k][known] = (float)latest[k];
    }
    aira__tree_release(&tree);
}

/* ---- all replays ---- */

typedef struct part {
    const space *s;
    const method *m;
    aira__registry *registry;
    curve *curves;
    int first, n;
} part;

static aira__instance *make(aira__registry *registry, const char *kind, const char *yaml) {
    aira__diagnostics *d = aira__diagnostics_create();
    aira__document *document = aira__document_parse(yaml, kind, d);
    aira__instance *made = aira__instance_create(registry, kind, aira__document_root(document), NULL, d);
    if (!made) {
        fprintf(stderr, "%s", aira__diagnostics_text(d));
        exit(1);
    }
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    return made;
}

static void *play(void *context) {
    part *work = context;
    player *p = calloc(1, sizeof *p);
    if (!p) exit(1);
    p->s = work->s;
    p->scaffold = make(work->registry, "scaffold", work->m->scaffold);
    p->agent = work->m->agent ? make(work->registry, "agent", work->m->agent) : NULL;
    for (int r = 0; r < work->n; r++)
        for (int confirm = 0; confirm < 2; confirm++)
            search(p, (uint64_t)(work->first + r), confirm, work->curves[work->first + r]);
    aira__instance_destroy(p->scaffold);
    aira__instance_destroy(p->agent);
    free(p);
    return NULL;
}

static void play_all(const space *s, const method *m, aira__registry *registry, curve *curves, int replays) {
    pthread_t threads[THREADS];
    part parts[THREADS];
    aira__instance_destroy(make(registry, "scaffold", m->scaffold)); /* loads the plugins, before there are threads */
    if (m->agent) aira__instance_destroy(make(registry, "agent", m->agent));
    for (int t = 0; t < THREADS; t++) {
        int first = replays * t / THREADS;
        parts[t] = (part){s, m, registry, curves, first, replays * (t + 1) / THREADS - first};
        if (pthread_create(&threads[t], NULL, play, &parts[t]) != 0) exit(1);
    }
    for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
}

/* ---- figures ---- */

typedef struct figure {
    double mean, low, high; /* of the difference to random: negative is better */
} figure;

typedef struct figures {
    double mean[EVALUATIONS], error[EVALUATIONS]; /* regret, 1.96 standard errors */
    double at[MARKS];
    figure difference[MARKS];
} figures;

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static figure bootstrap(curve *a, curve *b, int kind, int replays, int at) {
    static double means[SAMPLES];
    aira_rng rng = aira_rng_make(aira_key(1, "bootstrap"), (uint64_t)at);
    figure f = {0, 0, 0};
    for (int r = 0; r < replays; r++) f.mean += (a[r][kind][at] - b[r][kind][at]) / replays;
    for (int k = 0; k < SAMPLES; k++) {
        means[k] = 0;
        for (int r = 0; r < replays; r++) {
            uint32_t i = aira_rng_below(&rng, (uint32_t)replays);
            means[k] += (a[i][kind][at] - b[i][kind][at]) / replays;
        }
    }
    qsort(means, SAMPLES, sizeof *means, by_value);
    f.low = means[(int)(0.025 * SAMPLES)];
    f.high = means[(int)(0.975 * SAMPLES) - 1];
    return f;
}

static void summarise(curve *curves, curve *random, int kind, int replays, figures *f) {
    for (int e = 0; e < EVALUATIONS; e++) {
        double sum = 0, squares = 0;
        for (int r = 0; r < replays; r++) sum += curves[r][kind][e];
        f->mean[e] = sum / replays;
        for (int r = 0; r < replays; r++) squares += pow(curves[r][kind][e] - f->mean[e], 2);
        f->error[e] = 1.96 * sqrt(squares / replays / replays);
    }
    for (int k = 0; k < MARKS; k++) {
        f->at[k] = f->mean[marks[k] - 1];
        f->difference[k] = bootstrap(curves, random, kind, replays, marks[k] - 1);
    }
}

static const char *verdict(const figure *f) {
    return f->high < 0 ? "beats random" : f->low > 0 ? "is worse than random" : "does not beat random";
}

/* ---- output ---- */

typedef figures results[METHODS][KINDS];

static void add_csv(aira__buf *b, figures (*all)[KINDS]) {
    aira__buf_text(b, "policy,kind,evaluations,regret,regret_error,difference,low,high,verdict\n");
    for (int m = 0; m < METHODS; m++)
        for (int i = 0; i < KINDS; i++)
            for (int e = 0; e < EVALUATIONS; e++) {
                const figures *x = &all[m][i];
                const figure *f = NULL;
                aira__buf_printf(b, "%s,%s,%d,%.6f,%.6f,", methods[m].name, kinds[i], e + 1, x->mean[e], x->error[e]);
                for (int k = 0; k < MARKS; k++)
                    if (marks[k] == e + 1 && m) f = &x->difference[k];
                if (f) aira__buf_printf(b, "%.6f,%.6f,%.6f,%s", f->mean, f->low, f->high, verdict(f));
                aira__buf_text(b, f ? "\n" : ",,,\n");
            }
}

static int hue(int m) { return m * 360 / METHODS; }

static void add_chart(aira__buf *b, figures (*all)[KINDS], int kind) {
    report_plot p = {1, EVALUATIONS, 0, NAN, 56, 30, 720, 330};
    for (int m = 0; m < METHODS; m++) report_widen(&p.y0, &p.y1, all[m][kind].mean[3] + all[m][kind].error[3]);
    report_plot_open(b, &p, "regret", "evaluations", "regret");
    for (int m = 0; m < METHODS; m++)
        for (int pass = 0; pass < 2; pass++) { /* the band, then the line */
            const figures *x = &all[m][kind];
            aira__buf_printf(b, "<path class=\"%s\" d=\"", pass ? "line" : "band");
            for (int k = 3; k < (pass ? EVALUATIONS : 2 * EVALUATIONS - 3); k++) {
                int e = k < EVALUATIONS ? k : 2 * EVALUATIONS - 1 - k;
                double shift = pass ? 0 : k < EVALUATIONS ? x->error[e] : -x->error[e];
                aira__buf_printf(b, "%s%.1f %.1f", k == 3 ? "M" : "L", report_plot_x(&p, e + 1),
                                 report_plot_y(&p, fmin(x->mean[e] + shift, p.y1)));
            }
            aira__buf_printf(b,
                             pass ? "\" style=\"fill:none;stroke:hsl(%d 65%% 45%%);stroke-width:1.8\"/>"
                                  : "Z\" style=\"fill:hsl(%d 65%% 45%%);stroke:none;opacity:.16\"/>",
                             hue(m));
        }
    report_plot_close(b);
}

static void add_table(aira__buf *b, figures (*all)[KINDS], int kind) {
    aira__buf_text(b, "<div class=\"scroll\"><table><tr><th class=\"l\">policy</th>");
    for (int k = 0; k < MARKS; k++) aira__buf_printf(b, "<th>regret at %d</th><th>difference to random</th>", marks[k]);
    aira__buf_text(b, "</tr>\n");
    for (int m = 0; m < METHODS; m++) {
        aira__buf_printf(b, "<tr><td class=\"l\"><b style=\"color:hsl(%d 65%% 45%%)\">&#9632;</b> %s</td>", hue(m),
                         methods[m].name);
        for (int k = 0; k < MARKS; k++) {
            const figure *f = &all[m][kind].difference[k];
            aira__buf_printf(b, "<td>%.4f</td>", all[m][kind].at[k]);
            if (m)
                aira__buf_printf(b, "<td>%+.4f [%+.4f, %+.4f]</td>", f->mean, f->low, f->high);
            else
                aira__buf_text(b, "<td></td>");
        }
        aira__buf_text(b, "</tr>\n");
    }
    aira__buf_text(b, "</table></div>\n<ul>\n");
    for (int m = 1; m < METHODS; m++) {
        aira__buf_printf(b, "<li>%s ", methods[m].name);
        for (int k = 0; k < MARKS; k++)
            aira__buf_printf(b, "%s%s at %d", k ? ", " : "", verdict(&all[m][kind].difference[k]), marks[k]);
        aira__buf_text(b, " evaluations.</li>\n");
    }
    aira__buf_text(b, "</ul>\n");
}

static void add_page(aira__buf *b, const space *s, figures (*all)[KINDS], int replays, const char *table) {
    aira__buf_text(
        b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>aira: search quality</title>"
           "<style>\n");
    aira__buf_text(b, report_page_css);
    aira__buf_text(b, "</style></head><body>\n<h1>Search quality</h1>\n");
    aira__buf_printf(
        b,
        "<p>%d replays of each policy on a space of %u architectures whose scores are known under %u seeds "
        "(<code>",
        replays, s->n, s->n_seeds[0]);
    report_escape(b, table);
    aira__buf_printf(b,
                     "</code>); the highest mean score is %.4f. Every replay draws one of the seeds for each "
                     "architecture, the same for all policies. Bands: 95 %% of the mean over replays. Differences are "
                     "paired, with 95 %% bootstrap intervals; below zero is better than random.</p>\n",
                     s->best);
    aira__buf_text(b,
                   "<h2>Chosen</h2><p>Regret: the highest mean score of the space, less the mean score of the "
                   "architecture that looked best so far. This is what a search submits, and luck chooses too.</p>\n");
    add_chart(b, all, CHOSEN);
    add_table(b, all, CHOSEN);
    aira__buf_text(b,
                   "<h2>Found</h2><p>The same for the best architecture that was evaluated so far, whether its score "
                   "showed it or not: what the policy alone is to blame for.</p>\n");
    add_chart(b, all, FOUND);
    add_table(b, all, FOUND);
    aira__buf_printf(b,
                     "<h2>Confirmed</h2><p>As chosen, in a search that trains every new best on %d seeds and pays so "
                     "many evaluations for it, as studies do.</p>\n",
                     CONFIRM_SEEDS);
    add_chart(b, all, CONFIRMED);
    add_table(b, all, CONFIRMED);
    aira__buf_text(b, "</body></html>\n");
}

static void write_file(const char *folder, const char *name, aira__buf *b) {
    aira_error error = {0};
    char *path = aira__path_join(folder, name);
    if (!path || b->failed) exit(1);
    need(aira__file_write_atomic(path, b->data, b->size, &error), &error);
    printf("%s\n", path);
    free(path);
    aira__buf_free(b);
}

static void print_table(figures (*all)[KINDS], int kind) {
    printf("| regret, %s | at 8 | difference to random | at 16 | difference | at 32 | difference |\n"
           "|---|---|---|---|---|---|---|\n",
           kinds[kind]);
    for (int m = 0; m < METHODS; m++) {
        printf("| %s |", methods[m].name);
        for (int k = 0; k < MARKS; k++) {
            const figure *f = &all[m][kind].difference[k];
            printf(" %.4f |", all[m][kind].at[k]);
            if (m)
                printf(" %+.4f [%+.4f, %+.4f]%s |", f->mean, f->low, f->high,
                       f->high < 0  ? ""
                       : f->low > 0 ? " worse"
                                    : " no better");
            else
                printf(" |");
        }
        printf("\n");
    }
}

int main(int argc, char **argv) {
    const char *table = "configs/tables/space64.csv", *out = ".";
    int replays = 1000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--table")) table = argv[i + 1];
        if (!strcmp(argv[i], "--out")) out = argv[i + 1];
        if (!strcmp(argv[i], "--replays")) replays = atoi(argv[i + 1]);
    }
    static space s;
    static results all;
    aira__registry *registry = NULL;
    aira_error error = {0};
    read_space(table, &s);
    need(aira__registry_create(NULL, &registry, &error), &error);
    curve *random = calloc((size_t)replays, sizeof *random), *curves = calloc((size_t)replays, sizeof *curves);
    if (!random || !curves || replays < 2) return fprintf(stderr, "no memory, or fewer than two replays\n"), 1;
    for (int m = 0; m < METHODS; m++) {
        double begin = aira__now();
        play_all(&s, &methods[m], registry, m ? curves : random, replays);
        printf("%s: %.1f ms per search\n", methods[m].name, 1000 * (aira__now() - begin) * THREADS / replays);
        for (int k = 0; k < KINDS; k++) summarise(m ? curves : random, random, k, replays, &all[m][k]);
    }
    aira__buf page = {0}, csv = {0};
    add_page(&page, &s, all, replays, table);
    add_csv(&csv, all);
    for (int k = 0; k < KINDS; k++) print_table(all, k);
    write_file(out, "search-quality.html", &page);
    write_file(out, "search-quality.csv", &csv);
    free(random);
    free(curves);
    aira__registry_destroy(registry);
    return 0;
}
