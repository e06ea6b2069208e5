/* core/compare/read.c - searches of run directories as games of players; see compare.h.
 *
 * Journals are only read. A search that has not ended counts as it stands, and a note says so.
 */
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/compare/compare.h"
#include "core/search/journal.h"

static aira_status no_memory(aira_error *error) {
    return aira__fail(error, AIRA_E_MEMORY, "out of memory while comparing");
}

static void note(compare_data *d, const char *format, const char *a, const char *b) {
    char text[1024];
    snprintf(text, sizeof text, format, a, b);
    json_t *one = json_string(text);
    for (size_t i = 0; i < json_array_size(d->notes); i++)
        if (json_equal(json_array_get(d->notes, i), one)) {
            json_decref(one);
            return;
        }
    (void)json_array_append_new(d->notes, one); /* out of memory: a note less */
}

/* Room for one more element; NULL: out of memory. */
static void *add(void *array, int *n, size_t element) {
    void **at = array, *bigger = realloc(*at, ((size_t)*n + 1) * element);
    if (bigger == NULL) return NULL;
    *at = bigger;
    memset((char *)bigger + (size_t)*n * element, 0, element);
    return (char *)bigger + (size_t)(*n)++ * element;
}

/* ---- players and tasks ---- */

/* Index of the player, made where new; -1: out of memory. Names of unlike players are told apart by a number. */
static int player_of(compare_data *d, const char *name, const char *agent, const char *scaffold, bool reference) {
    int same_name = 1;
    for (int i = 0; i < d->n_players; i++) {
        const compare_player *p = &d->players[i];
        bool same = reference ? p->reference && !strcmp(p->name, name)
                              : !p->reference && !strcmp(p->agent, agent) && !strcmp(p->scaffold, scaffold);
        if (same) return i;
        size_t n = strlen(name);
        same_name += !strncmp(p->name, name, n) && (p->name[n] == 0 || !strncmp(p->name + n, " (", 2));
    }
    compare_player *p = add(&d->players, &d->n_players, sizeof *p);
    if (p == NULL) return -1;
    char made_up[256];
    snprintf(made_up, sizeof made_up, same_name > 1 ? "%.200s (%d)" : "%.200s", name, same_name);
    *p = (compare_player){strdup(made_up), strdup(agent), strdup(scaffold), .reference = reference};
    return p->name && p->agent && p->scaffold ? d->n_players - 1 : -1;
}

static bool same_number(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

/* Index of the study's task, made where new; -1: out of memory. */
static int task_of(compare_data *d, const char *dir, const json_t *study) {
    const char *hash = aira__json_string(study, "task_hash", "");
    aira__score_scale scale;
    aira__score_scale_from_json(json_object_get(study, "scale"), &scale);
    for (int i = 0; i < d->n_tasks; i++) {
        compare_task *t = &d->tasks[i];
        if (strcmp(t->hash, hash)) continue;
        if (isnan(t->scale.worst)) t->scale = scale;
        if (!isnan(scale.worst) &&
            !(same_number(scale.worst, t->scale.worst) && same_number(scale.best, t->scale.best) &&
              same_number(scale.optimum, t->scale.optimum)))
            note(d, "%s: its task %s has another scale than an earlier run's, which is used for all", dir, t->name);
        return i;
    }
    compare_task *t = add(&d->tasks, &d->n_tasks, sizeof *t);
    if (t == NULL) return -1;
    t->name = strdup(aira__json_string(json_object_get(study, "task"), "task", "task"));
    t->hash = strdup(hash);
    t->metric = strdup(aira__json_string(study, "metric", "score"));
    t->higher_is_better = json_is_true(json_object_get(study, "higher_is_better"));
    t->scale = scale;
    return t->name && t->hash && t->metric ? d->n_tasks - 1 : -1;
}

/* ---- one search ---- */

/* One row of numbers; NAN where NULL. false: the query fails. */
static bool numbers(sqlite3 *db, const char *sql, int64_t search, const char *text, double *out, int n) {
    sqlite3_stmt *s = NULL;
    bool good = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK &&
                sqlite3_bind_int64(s, 1, search) == SQLITE_OK &&
                (text == NULL || sqlite3_bind_text(s, 2, text, -1, SQLITE_STATIC) == SQLITE_OK) &&
                sqlite3_step(s) == SQLITE_ROW;
    for (int i = 0; i < n; i++)
        out[i] = good && sqlite3_column_type(s, i) != SQLITE_NULL ? sqlite3_column_double(s, i) : NAN;
    sqlite3_finalize(s);
    return good;
}

/* What the search's nodes were trained for is its cost, whoever wanted it first: that it would have cost alone. */
static bool read_costs(sqlite3 *db, const char *task_hash, compare_run *run) {
    double e[3], c[7];
    bool good = numbers(db,
                        "SELECT count(*), sum(seconds), sum(flops) FROM evaluation WHERE task_hash = ?2 AND "
                        "CASE purpose WHEN 'search' THEN (hash, seed) IN (SELECT hash, seed FROM node_row WHERE search "
                        "= ?1) ELSE search = ?1 END",
                        run->search, task_hash, e, 3) &&
                numbers(db,
                        "SELECT count(*), sum(state = 'failed'), sum(seconds), sum(input_tokens), sum(output_tokens), "
                        "sum(money_usd), (SELECT count(*) FROM node_row WHERE search = ?1) FROM call WHERE search = ?1",
                        run->search, NULL, c, 7);
    run->costs = (compare_costs){c[6], e[0], e[1], e[2], c[0], c[0] > 0 ? c[1] : 0, c[2], c[3], c[4], c[5]};
    return good;
}

typedef struct walk {
    compare_run *run;
    bool higher, memory;
    double evaluations, best;
    int64_t submitted; /* node that the run chose, -1: it did not say */
    double selection;  /* best so far */
} walk;

static bool better(bool higher, double a, double b) {
    if (isnan(a) || isnan(b)) return !isnan(a) && isnan(b);
    return higher ? a > b : a < b;
}

static void add_point(walk *w) {
    compare_run *run = w->run;
    compare_point *p = add(&run->points, &run->n_points, sizeof *p);
    if (p == NULL)
        w->memory = true;
    else
        *p = (compare_point){w->evaluations, w->best};
}

static aira_status walk_node(void *context, const aira__journal_node *node, aira_error *error) {
    walk *w = context;
    if (!strcmp(node->status, "pending")) return AIRA_OK;
    w->evaluations += node->duplicate_of < 0 && node->hash;
    bool good = !strcmp(node->status, "good");
    if (good && better(w->higher, node->search_score, w->best)) {
        w->best = node->search_score;
        add_point(w);
    }
    bool chosen = w->submitted >= 0 ? node->idx == w->submitted
                                    : better(w->higher, node->selection_score, w->selection);
    if (good && chosen && node->hash) {
        free(w->run->architecture);
        w->selection = node->selection_score;
        w->run->architecture = strdup(node->architecture ? node->architecture : "");
        w->memory = w->memory || !w->run->architecture;
    }
    return w->memory ? no_memory(error) : AIRA_OK;
}

static aira_status read_run(aira__journal *j, const compare_task *task, compare_run *run, aira_error *error) {
    char name[32];
    snprintf(name, sizeof name, "%06lld", (long long)run->search);
    char *text = aira__journal_get_result(j, "submitted", name, error);
    json_t *submitted = text ? json_loads(text, 0, NULL) : NULL;
    walk w = {.run = run,
              .higher = task->higher_is_better,
              .best = NAN,
              .selection = NAN,
              .submitted = aira__json_int(submitted, "node", -1)};
    json_decref(submitted);
    free(text);
    aira_status status = aira__journal_each_node(j, run->search, walk_node, &w, error);
    if (status == AIRA_OK && !isnan(w.best)) add_point(&w);
    if (status == AIRA_OK && w.memory) status = no_memory(error);
    run->selection = w.selection;
    if (status == AIRA_OK && !read_costs(aira__journal_db(j), task->hash, run))
        status = aira__fail(error, AIRA_E_CORRUPT, "%s/journal.db cannot be read: %s", run->dir,
                            sqlite3_errmsg(aira__journal_db(j)));
    return status;
}

/* ---- one directory ---- */

typedef struct visit {
    compare_data *d;
    aira__journal *j;
    const char *dir;
    int task;
    int running;
} visit;

static aira_status visit_search(void *context, const aira__journal_search *row, aira_error *error) {
    visit *v = context;
    compare_data *d = v->d;
    int player = player_of(d, row->label, row->agent, row->scaffold, false);
    if (player < 0) return no_memory(error);
    compare_run *run = add(&d->runs, &d->n_runs, sizeof *run);
    if (run == NULL) return no_memory(error);
    *run = (compare_run){.player = player,
                         .task = v->task,
                         .dir = v->dir,
                         .search = row->id,
                         .seed = (int64_t)row->seed,
                         .selection = NAN,
                         .test = NAN,
                         .score = NAN,
                         .ended = strcmp(row->state, "running") != 0};
    v->running += !run->ended;
    return AIRA_OK;
}

/* selection, test: the same for a score that was published. */
static aira_status read_reference(compare_data *d, int task, const char *name, double selection, double test,
                                  aira_error *error) {
    int player = player_of(d, name, "", "", true);
    compare_run *run = player >= 0 ? add(&d->runs, &d->n_runs, sizeof *run) : NULL;
    if (run == NULL) return no_memory(error);
    *run = (compare_run){
        .player = player, .task = task, .dir = "", .selection = selection, .test = test, .score = NAN, .ended = true};
    return AIRA_OK;
}

static double mean_of(const json_t *scored, const char *split) {
    return aira__json_real(json_object_get(scored, split), "mean", NAN);
}

static bool has_reference(const compare_data *d, int task, const char *name) {
    for (int i = 0; i < d->n_runs; i++)
        if (d->runs[i].task == task && d->players[d->runs[i].player].reference &&
            !strcmp(d->players[d->runs[i].player].name, name))
            return true;
    return false;
}

/* What the run's final scoring says (docs/contract.md 2, F): test scores of submissions, and baselines as references.
 */
static aira_status read_final(compare_data *d, aira__journal *j, int task, int first, aira_error *error) {
    char *text = aira__journal_get_result(j, "final", "summary", error);
    json_t *summary = text ? json_loads(text, 0, NULL) : NULL, *scored;
    size_t i;
    aira_status status = AIRA_OK;
    free(text);
    json_array_foreach(json_object_get(summary, "test"), i, scored) {
        const char *role = aira__json_string(scored, "role", ""), *name = aira__json_string(scored, "name", role);
        bool ours = !strcmp(role, "winner") || !strcmp(role, "submission");
        for (int k = first; ours && k < d->n_runs; k++)
            if (d->runs[k].search == aira__json_int(scored, "search", 0)) d->runs[k].test = mean_of(scored, "test");
        if (strcmp(role, "baseline") != 0 || has_reference(d, task, name) || status != AIRA_OK) continue;
        status = read_reference(d, task, name, mean_of(scored, "selection"), mean_of(scored, "test"), error);
    }
    json_decref(summary);
    return status;
}

static aira_status read_dir(compare_data *d, const char *dir, aira_error *error) {
    const aira__journal_options options = {.read_only = true};
    if (!aira__is_dir(dir)) return aira__fail(error, AIRA_E_CONFIG, "%s: there is no such run directory", dir);
    char *path = aira__path_join(dir, "journal.db");
    visit v = {.d = d, .dir = dir};
    aira_status status = path ? aira__journal_open(path, &options, &v.j, error) : no_memory(error);
    free(path);
    if (status != AIRA_OK) return status;
    char *config = aira__journal_get_study(v.j, "config", error);
    json_t *study = config ? aira__json_parse(config, strlen(config), "the journal's study", error) : NULL;
    if (study == NULL) status = aira__fail(error, AIRA_E_CORRUPT, "%s: the journal holds no study", dir);
    if (status == AIRA_OK && (v.task = task_of(d, dir, study)) < 0) status = no_memory(error);
    int first = d->n_runs;
    if (status == AIRA_OK) status = aira__journal_each_search(v.j, visit_search, &v, error);
    for (int i = first; status == AIRA_OK && i < d->n_runs; i++)
        status = read_run(v.j, &d->tasks[v.task], &d->runs[i], error);
    if (status == AIRA_OK) status = read_final(d, v.j, v.task, first, error);
    char number[32];
    snprintf(number, sizeof number, "%d", v.running);
    if (v.running) note(d, "%s: %s searches had not ended; they count as they stood", dir, number);
    json_decref(study);
    free(config);
    aira__journal_close(v.j);
    return status;
}

/* "NAME=SCORE" of the command line. */
static aira_status read_option(compare_data *d, const char *text, aira_error *error) {
    const char *equals = strrchr(text, '=');
    char *end = NULL, name[200];
    double score = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || equals == text || end == equals + 1 || *end || !isfinite(score))
        return aira__fail(error, AIRA_E_CONFIG, "--reference is NAME=SCORE, not '%s'", text);
    if (d->n_tasks != 1)
        return aira__fail(error, AIRA_E_CONFIG,
                          "--reference %s: the runs are of %d tasks, and a score belongs to one; compare one task at a "
                          "time",
                          text, d->n_tasks);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text < 199 ? equals - text : 199), text);
    return read_reference(d, 0, name, score, score, error);
}

aira_status aira__compare_read(const char *const *dirs, int n_dirs, const char *const *references, int n_references,
                               compare_data *d, aira_error *error) {
    *d = (compare_data){.notes = json_array()};
    aira_status status = d->notes ? AIRA_OK : no_memory(error);
    for (int i = 0; i < n_dirs && status == AIRA_OK; i++) {
        for (int k = 0; k < i && status == AIRA_OK; k++)
            if (!strcmp(dirs[i], dirs[k]))
                status = aira__fail(error, AIRA_E_CONFIG, "%s is named twice; its runs would count twice", dirs[i]);
        if (status == AIRA_OK) status = read_dir(d, dirs[i], error);
    }
    for (int i = 0; i < n_references && status == AIRA_OK; i++) status = read_option(d, references[i], error);
    return status;
}

void aira__compare_release(compare_data *d) {
    for (int i = 0; i < d->n_players; i++) {
        free(d->players[i].name);
        free(d->players[i].agent);
        free(d->players[i].scaffold);
    }
    for (int i = 0; i < d->n_tasks; i++) {
        free(d->tasks[i].name);
        free(d->tasks[i].hash);
        free(d->tasks[i].metric);
    }
    for (int i = 0; i < d->n_runs; i++) {
        free(d->runs[i].architecture);
        free(d->runs[i].points);
    }
    free(d->players);
    free(d->tasks);
    free(d->runs);
    json_decref(d->notes);
    *d = (compare_data){0};
}
