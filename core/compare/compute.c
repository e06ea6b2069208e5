/* core/compare/compute.c - which score counts, ratings, normalised means, intervals; see compare.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/compare/compare.h"
#include "core/compare/statistics.h"

static bool is_reference(const compare_data *d, const compare_run *run) { return d->players[run->player].reference; }

/* Test scores count on a task only where all valid runs have one: two kinds of score cannot be compared. */
static void choose_scores(compare_data *d) {
    for (int t = 0; t < d->n_tasks; t++) {
        compare_task *task = &d->tasks[t];
        int tested = 0;
        for (int i = 0; i < d->n_runs; i++) {
            const compare_run *run = &d->runs[i];
            if (run->task != t || is_reference(d, run)) continue;
            task->runs++;
            task->valid += run->architecture != NULL;
            tested += run->architecture != NULL && !isnan(run->test);
        }
        task->final = tested > 0 && tested == task->valid;
        if (tested > 0 && !task->final) {
            char text[300];
            snprintf(text, sizeof text,
                     "task %.150s: %d of %d submissions have a final test score; selection scores are used for all",
                     task->name, tested, task->valid);
            (void)json_array_append_new(d->notes, json_string(text));
        }
    }
    for (int i = 0; i < d->n_runs; i++) {
        compare_run *run = &d->runs[i];
        run->score = d->tasks[run->task].final ? run->test : run->selection;
    }
}

static void add_cost(double *sum, double value) {
    if (!isnan(value)) *sum = isnan(*sum) ? value : *sum + value;
}

static void sum_up(compare_data *d) {
    for (int p = 0; p < d->n_players; p++)
        d->players[p].costs = (compare_costs){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    for (int i = 0; i < d->n_runs; i++) {
        const compare_run *run = &d->runs[i];
        compare_player *p = &d->players[run->player];
        p->runs++;
        p->valid += !isnan(run->score);
        if (p->reference) continue;
        double *sums = (double *)&p->costs;
        const double *values = (const double *)&run->costs;
        for (size_t k = 0; k < sizeof p->costs / sizeof *sums; k++) add_cost(&sums[k], values[k]);
    }
}

/* ---- one round: weight[i] says how often run i was drawn ---- */

typedef struct round_result {
    double *rating, *normalised, *linear; /* one per player */
} round_result;

static aira_status rate(const compare_data *d, const int *weight, double *wins, double *ratings, aira_error *error) {
    int n = d->n_players;
    memset(wins, 0, (size_t)n * (size_t)n * sizeof *wins);
    for (int a = 0; a < d->n_runs; a++)
        for (int b = 0; b < d->n_runs; b++) { /* both directions: a pairing counts once as a's and once as b's */
            const compare_run *x = &d->runs[a], *y = &d->runs[b];
            if (x->player == y->player || x->task != y->task || !weight[a] || !weight[b]) continue;
            double won = aira__pairing(x->score, y->score, d->tasks[x->task].higher_is_better);
            double times = (double)weight[a] * weight[b];
            wins[x->player * n + y->player] += won * times;
            wins[y->player * n + x->player] += (1 - won) * times;
        }
    return aira__bradley_terry(wins, n, ratings, error);
}

/* Mean over tasks of means over runs. */
static void normalise(const compare_data *d, const int *weight, int player, double *log_mean, double *linear_mean) {
    double sums[2] = {0, 0};
    int tasks = 0;
    for (int t = 0; t < d->n_tasks; t++) {
        double s[2] = {0, 0}, n = 0;
        for (int i = 0; i < d->n_runs; i++) {
            const compare_run *run = &d->runs[i];
            if (run->player != player || run->task != t || !weight[i]) continue;
            s[0] += weight[i] * aira__normalised_log(&d->tasks[t].scale, d->tasks[t].higher_is_better, run->score);
            s[1] += weight[i] * aira__normalised_linear(&d->tasks[t].scale, run->score);
            n += weight[i];
        }
        if (n == 0) continue;
        sums[0] += s[0] / n;
        sums[1] += s[1] / n;
        tasks++;
    }
    *log_mean = tasks ? sums[0] / tasks : NAN;
    *linear_mean = tasks ? sums[1] / tasks : NAN;
}

static aira_status one_round(const compare_data *d, const int *weight, double *wins, round_result *r,
                             aira_error *error) {
    for (int p = 0; p < d->n_players; p++) normalise(d, weight, p, &r->normalised[p], &r->linear[p]);
    return rate(d, weight, wins, r->rating, error);
}

/* Draws each player's runs on each task again, as many as there are. A reference is no draw. */
static void draw(const compare_data *d, int round, int *weight, int *members) {
    memset(weight, 0, (size_t)d->n_runs * sizeof *weight);
    for (int p = 0; p < d->n_players; p++)
        for (int t = 0; t < d->n_tasks; t++) {
            int n = 0;
            for (int i = 0; i < d->n_runs; i++)
                if (d->runs[i].player == p && d->runs[i].task == t) members[n++] = i;
            aira_rng rng = aira_rng_make(
                aira_key(d->seed, "bootstrap of a comparison"),
                ((uint64_t)round * (uint64_t)d->n_players + (uint64_t)p) * (uint64_t)d->n_tasks + (uint64_t)t);
            for (int k = 0; k < n; k++)
                weight[members[d->players[p].reference ? (uint32_t)k : aira_rng_below(&rng, (uint32_t)n)]]++;
            for (int k = 0; k < n && d->players[p].reference; k++) weight[members[k]] *= AIRA__REFERENCE_COPIES;
        }
}

static void interval(compare_interval *out, double value, double *rounds) {
    int n = 0;
    for (int i = 0; i < AIRA__BOOTSTRAP_ROUNDS; i++)
        if (!isnan(rounds[i])) rounds[n++] = rounds[i];
    *out = (compare_interval){value, NAN, NAN, NAN};
    if (n < AIRA__BOOTSTRAP_ROUNDS) return;
    aira__sort_reals(rounds, n);
    out->low = aira__percentile(rounds, n, 2.5);
    out->median = aira__percentile(rounds, n, 50);
    out->high = aira__percentile(rounds, n, 97.5);
}

static aira_status intervals(compare_data *d, aira_error *error) {
    size_t n = (size_t)d->n_players, all = AIRA__BOOTSTRAP_ROUNDS + 1;
    double *results = calloc(3 * all * n + n * n + 1, sizeof *results), column[AIRA__BOOTSTRAP_ROUNDS];
    int *weight = calloc(2 * (size_t)d->n_runs + 1, sizeof *weight), *members = weight ? weight + d->n_runs : NULL;
    aira_status status = results && weight ? AIRA_OK
                                           : aira__fail(error, AIRA_E_MEMORY, "out of memory while comparing");
    double *wins = results ? results + 3 * all * n : NULL;
    for (size_t r = 0; status == AIRA_OK && r < all; r++) { /* the last one: the runs as they are */
        round_result one = {results + r * n, results + (all + r) * n, results + (2 * all + r) * n};
        draw(d, (int)r, weight, members);
        for (int i = 0; i < d->n_runs && r == all - 1; i++)
            weight[i] = is_reference(d, &d->runs[i]) ? AIRA__REFERENCE_COPIES : 1;
        status = one_round(d, weight, wins, &one, error);
    }
    for (size_t p = 0; status == AIRA_OK && p < n; p++) {
        compare_interval *const outs[] = {&d->players[p].rating, &d->players[p].normalised, &d->players[p].linear};
        for (size_t k = 0; k < 3; k++) {
            const double *kind = results + k * all * n;
            for (size_t r = 0; r < AIRA__BOOTSTRAP_ROUNDS; r++) column[r] = kind[r * n + p];
            interval(outs[k], kind[AIRA__BOOTSTRAP_ROUNDS * n + p], column);
        }
    }
    free(results);
    free(weight);
    return status;
}

/* ---- order ---- */

static int by_rating(const void *a, const void *b) {
    const compare_player *x = a, *y = b;
    if (x->rating.value != y->rating.value) return x->rating.value > y->rating.value ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Best first; runs keep their player. */
static aira_status order(compare_data *d, aira_error *error) {
    char **names = calloc((size_t)d->n_players + 1, sizeof *names);
    if (names == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while comparing");
    for (int p = 0; p < d->n_players; p++) names[p] = d->players[p].name; /* pointers identify players */
    if (d->n_players) qsort(d->players, (size_t)d->n_players, sizeof *d->players, by_rating);
    for (int i = 0; i < d->n_runs; i++)
        for (int p = 0, found = 0; p < d->n_players && !found; p++)
            if (d->players[p].name == names[d->runs[i].player]) {
                d->runs[i].player = p;
                found = 1;
            }
    free(names);
    return AIRA_OK;
}

aira_status aira__compare_compute(compare_data *d, aira_error *error) {
    if (d->n_runs == 0) return aira__fail(error, AIRA_E_CONFIG, "these run directories hold no searches");
    choose_scores(d);
    sum_up(d);
    for (int t = 0; t < d->n_tasks; t++)
        if (isnan(d->tasks[t].scale.worst)) {
            char text[300];
            snprintf(text, sizeof text,
                     "task %.150s: the study keeps no scale, so there are no normalised scores over it",
                     d->tasks[t].name);
            (void)json_array_append_new(d->notes, json_string(text));
        }
    aira_status status = intervals(d, error);
    return status == AIRA_OK ? order(d, error) : status;
}

/* ---- tables and curves ---- */

compare_cell aira__compare_cell(const compare_data *d, int player, int task) {
    compare_cell c = {0, 0, NAN, NAN, NAN, NAN, NAN};
    double sum = 0, squares = 0, log_sum = 0, linear_sum = 0;
    bool higher = d->tasks[task].higher_is_better;
    for (int i = 0; i < d->n_runs; i++) {
        const compare_run *run = &d->runs[i];
        if (run->player != player || run->task != task) continue;
        c.runs++;
        log_sum += aira__normalised_log(&d->tasks[task].scale, higher, run->score);
        linear_sum += aira__normalised_linear(&d->tasks[task].scale, run->score);
        if (isnan(run->score)) continue;
        c.valid++;
        sum += run->score;
        if (isnan(c.best) || (higher ? run->score > c.best : run->score < c.best)) c.best = run->score;
    }
    if (c.valid) c.mean = sum / c.valid;
    for (int i = 0; i < d->n_runs; i++) {
        const compare_run *run = &d->runs[i];
        if (run->player == player && run->task == task && !isnan(run->score))
            squares += (run->score - c.mean) * (run->score - c.mean);
    }
    if (c.valid > 1) c.deviation = sqrt(squares / (c.valid - 1));
    if (c.runs) c.normalised = log_sum / c.runs;
    if (c.runs) c.linear = linear_sum / c.runs;
    return c;
}

int aira__compare_anytime(const compare_data *d, int player, int task, double at, double quartiles[3]) {
    double *values = calloc((size_t)d->n_runs + 1, sizeof *values);
    int n = 0;
    quartiles[0] = quartiles[1] = quartiles[2] = NAN;
    if (values == NULL) return 0;
    for (int i = 0; i < d->n_runs; i++) {
        const compare_run *run = &d->runs[i];
        double best = NAN;
        if (run->player != player || run->task != task) continue;
        for (int k = 0; k < run->n_points && run->points[k].evaluations <= at; k++) best = run->points[k].best;
        if (!isnan(best)) values[n++] = best;
    }
    aira__sort_reals(values, n);
    for (int k = 0; k < 3 && n > 0; k++) quartiles[k] = aira__percentile(values, n, 25 * (k + 1));
    free(values);
    return n;
}

double aira__compare_most_evaluations(const compare_data *d, int player, int task) {
    double most = 0;
    for (int i = 0; i < d->n_runs; i++) {
        const compare_run *run = &d->runs[i];
        if ((player < 0 || run->player == player) && run->task == task && run->n_points > 0)
            most = fmax(most, run->points[run->n_points - 1].evaluations);
    }
    return most;
}
