/* core/compare/rescore.c - see rescore.h */
#include "core/compare/rescore.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/compare/statistics.h"
#include "core/compose/notation.h"
#include "core/search/journal.h"
#include "core/search/run.h"
#include "core/search/study.h"

#define MOST_PARALLEL 64

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static aira_status open_journal(const char *dir, bool write, aira__journal **j, aira_error *error) {
    const aira__journal_options options = {.read_only = !write};
    char *path = aira__path_join(dir, "journal.db");
    if (!aira__is_dir(dir)) {
        free(path);
        return aira__fail(error, AIRA_E_CONFIG, "%s: there is no such run directory", dir);
    }
    aira_status status = path ? aira__journal_open(path, &options, j, error) : no_memory(error);
    free(path);
    return status;
}

static json_t *study_of(aira__journal *j, const char *dir, aira_error *error) {
    char *config = aira__journal_get_study(j, "config", error);
    json_t *study = config ? aira__json_parse(config, strlen(config), "the journal's study", error) : NULL;
    free(config);
    if (!study) (void)aira__fail(error, AIRA_E_CORRUPT, "%s: the journal holds no study", dir);
    return study;
}

/* [{"hash", "architecture", "score"}] of the distinct good candidates, best first. */
static aira_status read_candidates(aira__journal *j, const json_t *study, json_t **list, aira_error *error) {
    bool higher = json_is_true(json_object_get(study, "higher_is_better"));
    const json_t *candidate = json_object_get(json_object_get(study, "task"), "candidate");
    if (strcmp(aira__json_string(candidate, "kind", "compose"), "design") == 0)
        return aira__fail(
            error, AIRA_E_CONFIG,
            "the candidates of this run are sources; `aira export` gives one, `aira evaluate --source` scores "
            "it on another task");
    const char *sql = higher ? "SELECT c.hash, c.architecture, avg(coalesce(e.selection_score, e.search_score)) AS s "
                               "FROM evaluation e JOIN candidate c ON c.hash = e.hash WHERE e.status = 'ok' AND "
                               "e.task_hash = ? AND e.purpose IN ('search', 'confirm') GROUP BY c.hash HAVING s IS NOT "
                               "NULL ORDER BY s DESC, min(e.id)"
                             : "SELECT c.hash, c.architecture, avg(coalesce(e.selection_score, e.search_score)) AS s "
                               "FROM evaluation e JOIN candidate c ON c.hash = e.hash WHERE e.status = 'ok' AND "
                               "e.task_hash = ? AND e.purpose IN ('search', 'confirm') GROUP BY c.hash HAVING s IS NOT "
                               "NULL ORDER BY s ASC, min(e.id)";
    sqlite3_stmt *s = NULL;
    int code = SQLITE_ERROR;
    bool good = (*list = json_array()) != NULL;
    if (sqlite3_prepare_v2(aira__journal_db(j), sql, -1, &s, NULL) == SQLITE_OK &&
        sqlite3_bind_text(s, 1, aira__json_string(study, "task_hash", ""), -1, SQLITE_STATIC) == SQLITE_OK)
        while ((code = sqlite3_step(s)) == SQLITE_ROW && good)
            good = json_array_append_new(*list,
                                         json_pack("{s:s, s:s, s:f}", "hash", (const char *)sqlite3_column_text(s, 0),
                                                   "architecture", (const char *)sqlite3_column_text(s, 1), "score",
                                                   sqlite3_column_double(s, 2))) == 0;
    aira_status status = !good                 ? no_memory(error)
                         : code == SQLITE_DONE ? AIRA_OK
                                               : aira__fail(error, AIRA_E_CORRUPT, "the journal cannot be read: %s",
                                                            sqlite3_errmsg(aira__journal_db(j)));
    sqlite3_finalize(s);
    return status;
}

/* ---- the new study ---- */

/* A canonical plugin object as a file writes it: members that are null are those not given. */
static json_t *written(const json_t *canonical) {
    json_t *copy = json_deep_copy(canonical), *member;
    const char *key;
    void *next;
    json_object_foreach_safe(copy, next, key, member) {
        if (json_is_null(member)) json_object_del(copy, key);
    }
    return copy;
}

static json_t *study_file(const aira__rescore_options *o, const json_t *study, const json_t *candidates,
                          const char *task) {
    json_t *architectures = json_array(), *one, *executor = written(json_object_get(study, "executor"));
    size_t i, n = json_array_size(candidates);
    char name[80], label[300];
    json_array_foreach(candidates, i, one) json_array_append(architectures, json_object_get(one, "architecture"));
    json_object_set(executor, "batch", json_object_get(study, "batch"));
    snprintf(name, sizeof name, "rescore-%.60s", aira__json_string(study, "study", "run"));
    snprintf(label, sizeof label, "rescore of %.250s", o->from);
    return json_pack("{s:s, s:{s:s}, s:[{s:{s:s, s:o}, s:{s:s, s:I}, s:[I], s:I, s:s}], s:o, s:o, s:{s:i}, s:{s:i}}",
                     "study", name, "task", "file", task, "searches", "agent", "use", "list", "architectures",
                     architectures, "scaffold", "use", "one_shot", "drafts", (json_int_t)n, "seeds",
                     (json_int_t)o->seed, "parallel", (json_int_t)(n < MOST_PARALLEL ? n : MOST_PARALLEL), "label",
                     label, "device", written(json_object_get(study, "device")), "executor", executor, "confirm",
                     "seeds", 1, "final", "seeds", 0);
}

/* Every candidate must be one of the other task's. */
static aira_status check_candidates(const json_t *candidates, const json_t *study, const char *task,
                                    aira_error *error) {
    const json_t *tokens = json_object_get(study, "tokens"), *item;
    int n_tokens = (int)json_array_size(tokens), n = 0, layers = (int)aira__json_int(study, "layers", 0);
    const char **names = calloc((size_t)n_tokens + 1, sizeof *names);
    uint16_t *parsed = calloc(AIRA__NOTATION_MAX, sizeof *parsed);
    aira_status status = names && parsed ? AIRA_OK : no_memory(error);
    size_t i;
    for (int k = 0; names && k < n_tokens; k++) names[k] = json_string_value(json_array_get(tokens, (size_t)k));
    json_array_foreach(candidates, i, item) {
        const char *architecture = aira__json_string(item, "architecture", "");
        if (status == AIRA_OK)
            status = aira__notation_parse(architecture, names, n_tokens, parsed, AIRA__NOTATION_MAX, &n, error);
        if (status == AIRA_OK && layers > 0 && n != layers)
            status = aira__fail(error, AIRA_E_CONFIG, "it has %d layers, the task wants %d", n, layers);
        if (status != AIRA_OK) {
            (void)aira__fail_in(error, "candidate \"%s\" is none of task %s", architecture, task);
            status = AIRA_E_CONFIG;
            if (error) error->status = status;
            break;
        }
    }
    free(names);
    free(parsed);
    return status;
}

static aira_status create(aira__registry *registry, const aira__rescore_options *o, const json_t *old,
                          const json_t *candidates, aira__diagnostics *d, aira_error *error) {
    char scratch[4200], *task = realpath(o->task, NULL), *parent = aira__path_folder(o->dir);
    json_t *file = NULL, *study = NULL;
    aira_status status = AIRA_OK;
    if (!task)
        status = aira__fail(error, AIRA_E_CONFIG, "--task: there is no file %s", o->task);
    else if (!parent || !(file = study_file(o, old, candidates, task)))
        status = no_memory(error);
    snprintf(scratch, sizeof scratch, "%s.study.yaml", o->dir);
    if (status == AIRA_OK) status = aira__make_dirs(parent, error);
    if (status == AIRA_OK) status = aira__json_write_file(scratch, file, error);
    if (status == AIRA_OK) {
        study = aira__study_load(registry, scratch, o->overrides, o->n_overrides, NULL, true, d);
        if (!study) status = AIRA_E_CONFIG;
        unlink(scratch);
    }
    if (status == AIRA_OK) status = check_candidates(candidates, study, o->task, error);
    if (status == AIRA_OK) status = aira__run_create(registry, study, o->dir, error);
    json_decref(file);
    json_decref(study);
    free(task);
    free(parent);
    return status;
}

static aira_status put_origin(const aira__rescore_options *o, const json_t *old, json_t *candidates,
                              aira_error *error) {
    char *absolute = realpath(o->from, NULL);
    json_t *from = json_pack("{s:s, s:s, s:s, s:b, s:O}", "run_dir", absolute ? absolute : o->from, "task_hash",
                             aira__json_string(old, "task_hash", ""), "metric",
                             aira__json_string(old, "metric", "score"), "higher_is_better",
                             json_is_true(json_object_get(old, "higher_is_better")), "candidates", candidates);
    char *text = from ? aira__json_canonical(from) : NULL;
    aira__journal *j = NULL;
    aira_status status = text ? open_journal(o->dir, true, &j, error) : no_memory(error);
    if (status == AIRA_OK) status = aira__journal_set_result(j, "rescore", "from", text, error);
    aira__journal_close(j);
    json_decref(from);
    free(text);
    free(absolute);
    return status;
}

/* Was this directory made by a rescoring of that run? */
static aira_status check_existing(const aira__rescore_options *o, aira_error *error) {
    aira__journal *j = NULL;
    char *absolute = realpath(o->from, NULL);
    aira_status status = open_journal(o->dir, false, &j, error);
    char *text = status == AIRA_OK ? aira__journal_get_result(j, "rescore", "from", error) : NULL;
    json_t *from = text ? json_loads(text, 0, NULL) : NULL;
    if (status == AIRA_OK && (!absolute || strcmp(aira__json_string(from, "run_dir", ""), absolute) != 0))
        status = aira__fail(error, AIRA_E_CONFIG,
                            "%s: exists already, and holds no rescoring of %s; choose another "
                            "folder with --run-dir",
                            o->dir, o->from);
    json_decref(from);
    aira__journal_close(j);
    free(text);
    free(absolute);
    return status;
}

aira_status aira__rescore_prepare(aira__registry *registry, const aira__rescore_options *o, aira__diagnostics *d,
                                  aira_error *error) {
    aira__journal *j = NULL;
    json_t *old = NULL, *candidates = NULL;
    if (aira__file_exists(o->dir)) return check_existing(o, error);
    aira_status status = open_journal(o->from, false, &j, error);
    if (status == AIRA_OK && !(old = study_of(j, o->from, error))) status = AIRA_E_CORRUPT;
    if (status == AIRA_OK) status = read_candidates(j, old, &candidates, error);
    while (status == AIRA_OK && o->top > 0 && json_array_size(candidates) > (size_t)o->top)
        json_array_remove(candidates, json_array_size(candidates) - 1);
    if (status == AIRA_OK && json_array_size(candidates) == 0)
        status = aira__fail(error, AIRA_E_FAILED, "%s: holds no good candidate to score again", o->from);
    if (status == AIRA_OK) status = create(registry, o, old, candidates, d, error);
    if (status == AIRA_OK) status = put_origin(o, old, candidates, error);
    json_decref(old);
    json_decref(candidates);
    aira__journal_close(j);
    return status;
}

/* ---- afterwards ---- */

typedef struct pairs {
    json_t *rows;           /* {"architecture", "hash", "old_score", "new_score"} */
    double *before, *after; /* of those with both; larger is better */
    int n, best;            /* best: row with the best new score, -1 */
    double best_score;
} pairs;

static double new_score(aira__journal *j, const char *hash, const char *task_hash) {
    sqlite3_stmt *s = NULL;
    double score = NAN;
    if (sqlite3_prepare_v2(aira__journal_db(j),
                           "SELECT avg(coalesce(selection_score, search_score)) FROM evaluation WHERE hash = ? AND "
                           "task_hash = ? AND status = 'ok' AND purpose IN ('search', 'confirm')",
                           -1, &s, NULL) == SQLITE_OK &&
        sqlite3_bind_text(s, 1, hash, -1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_bind_text(s, 2, task_hash, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW &&
        sqlite3_column_type(s, 0) != SQLITE_NULL)
        score = sqlite3_column_double(s, 0);
    sqlite3_finalize(s);
    return score;
}

static aira_status pair_up(aira__journal *j, const json_t *from, const json_t *study, pairs *p, aira_error *error) {
    const json_t *candidates = json_object_get(from, "candidates"), *c;
    double old_sign = json_is_true(json_object_get(from, "higher_is_better")) ? 1 : -1;
    double new_sign = json_is_true(json_object_get(study, "higher_is_better")) ? 1 : -1;
    size_t i, n = json_array_size(candidates);
    *p = (pairs){.rows = json_array(),
                 .before = calloc(n + 1, sizeof(double)),
                 .after = calloc(n + 1, sizeof(double)),
                 .best = -1,
                 .best_score = NAN};
    if (!p->rows || !p->before || !p->after) return no_memory(error);
    json_array_foreach(candidates, i, c) {
        const char *hash = aira__json_string(c, "hash", "");
        double old = aira__json_real(c, "score", NAN),
               now = new_score(j, hash, aira__json_string(study, "task_hash", ""));
        if (json_array_append_new(p->rows, json_pack("{s:O, s:s, s:o, s:o}", "architecture",
                                                     json_object_get(c, "architecture"), "hash", hash, "old_score",
                                                     aira__json_number(old), "new_score", aira__json_number(now))))
            return no_memory(error);
        if (isnan(now) || isnan(old)) continue;
        p->before[p->n] = old_sign * old;
        p->after[p->n++] = new_sign * now;
        if (p->best >= 0 && !(new_sign * now > new_sign * p->best_score)) continue;
        p->best = (int)i;
        p->best_score = now;
    }
    return AIRA_OK;
}

static aira_status write_csv(const char *dir, const json_t *rows, char **path, aira_error *error) {
    aira__buf b = {0};
    const json_t *row;
    size_t i;
    aira__buf_text(&b, "architecture,hash,old_score,new_score\n");
    json_array_foreach(rows, i, row) {
        const json_t *now = json_object_get(row, "new_score");
        aira__buf_printf(&b, "%s,%s,%.17g,", aira__json_string(row, "architecture", ""),
                         aira__json_string(row, "hash", ""), aira__json_real(row, "old_score", NAN));
        if (json_is_number(now)) aira__buf_printf(&b, "%.17g", json_number_value(now));
        aira__buf_text(&b, "\n");
    }
    *path = aira__path_join(dir, "rescore.csv");
    aira_status status = b.failed || !*path ? no_memory(error) : aira__file_write_atomic(*path, b.data, b.size, error);
    aira__buf_free(&b);
    return status;
}

static json_t *result_json(const char *dir, const json_t *from, const json_t *study, const pairs *p, const char *csv,
                           double correlation) {
    const json_t *best = p->best < 0 ? NULL : json_array_get(p->rows, (size_t)p->best);
    return json_pack("{s:s, s:O, s:s, s:O, s:s, s:s, s:i, s:i, s:o, s:o, s:O, s:s}", "run_dir", dir, "from",
                     json_object_get(from, "run_dir"), "task",
                     aira__json_string(json_object_get(study, "task"), "task", "task"), "old_metric",
                     json_object_get(from, "metric"), "new_metric", aira__json_string(study, "metric", "score"),
                     "task_hash", aira__json_string(study, "task_hash", ""), "candidates",
                     (int)json_array_size(p->rows), "valid", p->n, "rank_correlation", aira__json_number(correlation),
                     "best", best ? json_deep_copy(best) : json_null(), "scores", p->rows, "csv", csv);
}

aira_status aira__rescore_finish(const char *dir, json_t **result, aira_error *error) {
    aira__journal *j = NULL;
    json_t *study = NULL, *from = NULL;
    pairs p = {0};
    char *text = NULL, *csv = NULL;
    double correlation = NAN;
    *result = NULL;
    aira_status status = open_journal(dir, false, &j, error);
    if (status == AIRA_OK && !(study = study_of(j, dir, error))) status = AIRA_E_CORRUPT;
    if (status == AIRA_OK && (text = aira__journal_get_result(j, "rescore", "from", error)))
        from = json_loads(text, 0, NULL);
    if (status == AIRA_OK && !from)
        status = aira__fail(error, AIRA_E_CORRUPT, "%s: the journal does not say what was scored again", dir);
    if (status == AIRA_OK) status = pair_up(j, from, study, &p, error);
    if (status == AIRA_OK) status = aira__rank_correlation(p.before, p.after, p.n, &correlation, error);
    if (status == AIRA_OK) status = write_csv(dir, p.rows, &csv, error);
    if (status == AIRA_OK && !(*result = result_json(dir, from, study, &p, csv, correlation)))
        status = no_memory(error);
    aira__journal_close(j);
    json_decref(study);
    json_decref(from);
    json_decref(p.rows);
    free(p.before);
    free(p.after);
    free(text);
    free(csv);
    return status;
}
