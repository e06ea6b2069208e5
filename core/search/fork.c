/* core/search/fork.c - see fork.h.
 *
 * The journal is copied whole by SQLite, which gives one instant of a running one, and then cut; so columns and tables
 * that this file knows nothing of come along.
 */
#include "core/search/fork.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/budget.h"
#include "core/search/journal_internal.h"
#include "core/search/study.h"
#include "core/train/task.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

/* ---- the study of the fork ---- */

/* Members that are null say "not given", which the readers of YAML want left out. */
static void drop_nulls(json_t *value) {
    const char *key;
    json_t *member;
    void *next;
    size_t i;
    json_object_foreach_safe(value, next, key, member) {
        if (json_is_null(member))
            json_object_del(value, key);
        else
            drop_nulls(member);
    }
    json_array_foreach(value, i, member) drop_nulls(member);
}

/* A canonical search as a study file writes it. */
static json_t *written(const json_t *canonical) {
    json_t *search = json_deep_copy(canonical);
    char made_up[128];
    const char *agent = aira__json_string(json_object_get(search, "agent"), "use", NULL);
    snprintf(made_up, sizeof made_up, "%s%s%s", agent ? agent : "", agent ? "/" : "",
             aira__json_string(json_object_get(search, "scaffold"), "use", "?"));
    if (!strcmp(aira__json_string(search, "label", ""), made_up)) json_object_del(search, "label");
    json_t *seeds = json_pack("[O]", json_object_get(search, "seed"));
    if (!seeds || json_object_set_new(search, "seeds", seeds)) {
        json_decref(search);
        return NULL;
    }
    json_object_del(search, "seed");
    drop_nulls(search);
    return search;
}

static bool same_but_seed(const json_t *before, const json_t *after) {
    return json_equal(json_object_get(before, "seed"), json_object_get(after, "seed"));
}

/* Reads {searches, budget} with overrides into the canonical study. path: a scratch file. */
static aira_status apply(aira__registry *registry, const aira__fork_options *o, const char *path, json_t *study,
                         aira__diagnostics *d, aira_error *error) {
    static const char *const accepted[] = {"searches", "budget", NULL};
    json_t *searches = json_array(), *budget = json_deep_copy(json_object_get(study, "budget")), *search;
    size_t i;
    bool good = searches && budget;
    json_array_foreach(json_object_get(study, "searches"), i, search) {
        if (!good || json_array_append_new(searches, written(search))) good = false;
    }
    drop_nulls(budget);
    json_t *whole = good ? json_pack("{s:O, s:O}", "searches", searches, "budget", budget) : NULL;
    aira_status status = whole ? aira__json_write_file(path, whole, error) : no_memory(error);
    json_decref(searches);
    json_decref(budget);
    json_decref(whole);
    if (status != AIRA_OK) return status;
    int before = aira__diagnostics_count(d);
    aira__document *document = aira__document_load(path, o->overrides, o->n_overrides, d);
    aira__node *root = document ? aira__document_root(document) : NULL;
    if (root) {
        json_t *read = aira__study_searches(registry, study, aira__map_get(root, "searches"), d);
        aira__budget limits;
        aira__budget_read(aira__map_get(root, "budget"), &limits, d);
        aira__map_finish(root, accepted, d);
        bool same = json_array_size(read) == json_array_size(json_object_get(study, "searches"));
        for (i = 0; same && i < json_array_size(read); i++)
            same = same_but_seed(json_array_get(json_object_get(study, "searches"), i), json_array_get(read, i));
        if (!same && aira__diagnostics_count(d) == before)
            aira__diagnose(d, NULL, "a fork keeps its searches and their seeds: nodes were trained with them");
        if (json_object_set_new(study, "searches", read) ||
            json_object_set_new(study, "budget", aira__budget_json(&limits)))
            status = no_memory(error);
    }
    aira__document_destroy(document);
    return status == AIRA_OK && aira__diagnostics_count(d) > before ? AIRA_E_CONFIG : status;
}

/* ---- cutting the copied journal ---- */

/* Every statement may use ?1, the search, and ?2, its last node. */
static aira_status cut(aira__journal *j, const aira__fork_options *o, aira_error *error) {
    static const char *const search[] = {
        "DELETE FROM node_row WHERE search = ?1 AND idx > ?2",
        "DELETE FROM call WHERE search = ?1 AND idx > ?2",
        "DELETE FROM event WHERE (search = ?1 AND idx > ?2) OR search IS NULL OR idx IS NULL",
        "DELETE FROM result",
        "DELETE FROM study WHERE key IN ('quotas', 'usage')",
        "UPDATE search SET state = 'running', reason = NULL",
    };
    static const char *const others[] = {
        "DELETE FROM node_row WHERE search <> ?1",
        "DELETE FROM call WHERE search <> ?1",
        "DELETE FROM event WHERE search <> ?1",
        "DELETE FROM search WHERE id <> ?1",
        "UPDATE node_row SET search = 1",
        "UPDATE call SET search = 1",
        "UPDATE event SET search = 1",
        "UPDATE search SET id = 1",
    };
    static const char *const orphans[] = {
        "DELETE FROM evaluation WHERE purpose NOT IN ('search', 'confirm') OR hash NOT IN (SELECT hash FROM node_row "
        "WHERE hash IS NOT NULL) OR (purpose = 'search' AND (hash, seed) NOT IN (SELECT hash, seed FROM node_row WHERE "
        "hash IS NOT NULL))",
        "DELETE FROM candidate WHERE hash NOT IN (SELECT hash FROM node_row WHERE hash IS NOT NULL)",
    };
    aira_status status = AIRA_OK;
    for (size_t i = 0; status == AIRA_OK && i < sizeof search / sizeof *search; i++)
        status = aira__journal_do(j, error, search[i], strchr(search[i], '?') ? "ii" : "", o->search, o->idx);
    for (size_t i = 0; status == AIRA_OK && !o->all && i < sizeof others / sizeof *others; i++)
        status = aira__journal_do(j, error, others[i], strchr(others[i], '?') ? "i" : "", o->search);
    for (size_t i = 0; status == AIRA_OK && i < sizeof orphans / sizeof *orphans; i++)
        status = aira__journal_do(j, error, orphans[i], "");
    /* Who wanted an evaluation first may be gone; the search that is left had its use. */
    if (status == AIRA_OK && !o->all)
        status = aira__journal_do(j, error, "UPDATE evaluation SET search = 1 WHERE search IS NOT NULL", "");
    return status;
}

static aira_status set_json(aira__journal *j, const char *key, const json_t *value, aira_error *error) {
    char *text = value ? aira__json_canonical(value) : NULL;
    aira_status status = text ? aira__journal_set_study(j, key, text, error) : no_memory(error);
    free(text);
    return status;
}

static aira_status describe(aira__journal *j, const json_t *study, aira_error *error) {
    char hash[65] = "", created[32], *text = aira__journal_get_study(j, "hashes", error);
    json_t *hashes = text ? json_loads(text, 0, NULL) : NULL, *search;
    size_t i;
    free(text);
    aira_status status = aira__json_hash(study, hash, error);
    if (status == AIRA_OK && hashes && json_object_set_new(hashes, "study", json_string(hash)))
        status = no_memory(error);
    if (status == AIRA_OK && hashes) status = set_json(j, "hashes", hashes, error);
    json_decref(hashes);
    snprintf(created, sizeof created, "%.3f", aira__wall());
    if (status == AIRA_OK) status = set_json(j, "config", study, error);
    if (status == AIRA_OK) status = aira__journal_set_study(j, "created", created, error);
    if (status == AIRA_OK) status = aira__journal_set_study(j, "seconds", "0", error);
    if (status == AIRA_OK) status = aira__journal_set_study(j, "state", "running", error);
    json_array_foreach(json_object_get(study, "searches"), i, search) {
        char *agent = aira__json_canonical(json_object_get(search, "agent"));
        char *scaffold = aira__json_canonical(json_object_get(search, "scaffold"));
        if (status == AIRA_OK)
            status = agent && scaffold
                         ? aira__journal_do(j, error,
                                            "UPDATE search SET agent = ?, scaffold = ?, parallel = ?, label = ? WHERE "
                                            "id = ?",
                                            "ssisi", agent, scaffold, aira__json_int(search, "parallel", 1),
                                            aira__json_string(search, "label", ""), (int64_t)i + 1)
                         : no_memory(error);
        free(agent);
        free(scaffold);
    }
    return status;
}

static aira_status rewrite(aira__journal *j, const aira__fork_options *o, const json_t *study, aira_error *error) {
    char origin[4200], *from = realpath(o->from, NULL);
    snprintf(origin, sizeof origin, "%s %" PRId64 ":%" PRId64, from ? from : o->from, o->search, o->idx);
    free(from);
    aira_status status = aira__journal_begin(j, error);
    if (status != AIRA_OK) return status;
    status = cut(j, o, error);
    if (status == AIRA_OK) status = describe(j, study, error);
    if (status == AIRA_OK)
        status = aira__journal_do(j, error, "UPDATE search SET origin = ? WHERE id = ?", "si", origin,
                                  o->all ? o->search : (int64_t)1);
    if (status == AIRA_OK) return aira__journal_commit(j, error);
    aira__journal_rollback(j);
    return status;
}

/* ---- the old run ---- */

/* The node must be there and, with all before it, have ended. */
static aira_status check_node(aira__journal *j, const aira__fork_options *o, aira_error *error) {
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM search WHERE id = %" PRId64, o->search);
    if (aira__journal_number(j, sql, 0) < 1)
        return aira__fail(error, AIRA_E_CONFIG, "--node: %s has no search %" PRId64 "; it has %g of them", o->from,
                          o->search, aira__journal_number(j, "SELECT count(*) FROM search", 0));
    snprintf(sql, sizeof sql, "SELECT count(*) FROM node_row WHERE search = %" PRId64 " AND status <> 'pending'",
             o->search);
    double ended = aira__journal_number(j, sql, 0);
    if (o->idx >= 0 && (double)o->idx < ended) return AIRA_OK;
    if (ended < 1)
        return aira__fail(error, AIRA_E_CONFIG, "--node: no node of search %" PRId64 " has ended in %s", o->search,
                          o->from);
    return aira__fail(error, AIRA_E_CONFIG,
                      "--node: of search %" PRId64 " the nodes 0 to %.0f have ended in %s, not node %" PRId64,
                      o->search, ended - 1, o->from, o->idx);
}

static aira_status copy_journal(aira__journal *from, const char *path, aira_error *error) {
    char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
    if (!sql) return no_memory(error);
    int code = sqlite3_exec(aira__journal_db(from), sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code == SQLITE_OK ? AIRA_OK
                             : aira__fail(error, AIRA_E_IO, "%s: the journal cannot be copied (%s)", path,
                                          sqlite3_errmsg(aira__journal_db(from)));
}

static json_t *read_study(aira__journal *j, const aira__fork_options *o, aira_error *error) {
    char *config = aira__journal_get_study(j, "config", error);
    json_t *study = config ? aira__json_parse(config, strlen(config), "the journal's study", error) : NULL;
    free(config);
    if (!study) {
        (void)aira__fail(error, AIRA_E_CORRUPT, "%s: the journal holds no study", o->from);
        return NULL;
    }
    json_t *one = json_incref(json_array_get(json_object_get(study, "searches"), (size_t)o->search - 1));
    if (!o->all && json_object_set_new(study, "searches", json_pack("[o]", one))) {
        json_decref(study);
        (void)no_memory(error);
        return NULL;
    }
    if (o->all) json_decref(one);
    return study;
}

static aira_status write_files(const char *dir, const json_t *study, aira_error *error) {
    char *study_path = aira__path_join(dir, "study.json"), *task_path = aira__path_join(dir, "task.yaml");
    char *task = aira__task_text(json_object_get(study, "task"));
    aira_status status = study_path && task_path && task ? aira__json_write_file(study_path, study, error)
                                                         : no_memory(error);
    if (status == AIRA_OK) status = aira__file_write_atomic(task_path, task, strlen(task), error);
    free(study_path);
    free(task_path);
    free(task);
    return status;
}

static aira_status make(aira__registry *registry, const aira__fork_options *o, aira__journal *from, json_t *study,
                        aira__diagnostics *d, aira_error *error) {
    const aira__journal_options options = {0};
    char *journal_path = aira__path_join(o->dir, "journal.db"), *scratch = aira__path_join(o->dir, "fork.yaml");
    aira__journal *to = NULL;
    aira_status status = journal_path && scratch ? apply(registry, o, scratch, study, d, error) : no_memory(error);
    if (scratch) unlink(scratch);
    if (status == AIRA_OK) status = copy_journal(from, journal_path, error);
    if (status == AIRA_OK) status = aira__journal_open(journal_path, &options, &to, error);
    if (status == AIRA_OK) status = rewrite(to, o, study, error);
    if (status == AIRA_OK && sqlite3_exec(aira__journal_db(to), "VACUUM", NULL, NULL, NULL) != SQLITE_OK)
        status = aira__journal_fail(to, error); /* what was cut must not linger in the file */
    aira__journal_close(to);
    if (status == AIRA_OK) status = write_files(o->dir, study, error);
    free(journal_path);
    free(scratch);
    return status;
}

aira_status aira__fork(aira__registry *registry, const aira__fork_options *o, aira__diagnostics *d, aira_error *error) {
    const aira__journal_options read_only = {.read_only = true};
    char *path = aira__path_join(o->from, "journal.db"), *parent = aira__path_folder(o->dir);
    aira__journal *from = NULL;
    json_t *study = NULL;
    aira_status status = path && parent ? aira__journal_open(path, &read_only, &from, error) : no_memory(error);
    if (status == AIRA_OK) status = check_node(from, o, error);
    if (status == AIRA_OK && !(study = read_study(from, o, error))) status = AIRA_E_CORRUPT;
    if (status == AIRA_OK) status = aira__make_dirs(parent, error);
    if (status == AIRA_OK && mkdir(o->dir, 0777) != 0) {
        status = errno == EEXIST ? aira__fail(error, AIRA_E_CONFIG, "%s: exists already; choose another folder", o->dir)
                                 : aira__fail(error, AIRA_E_IO, "%s: cannot be created (%s)", o->dir, strerror(errno));
    } else if (status == AIRA_OK) {
        status = make(registry, o, from, study, d, error);
        if (status != AIRA_OK) (void)aira__remove_tree(o->dir, NULL); /* half a fork is of no use */
    }
    aira__journal_close(from);
    json_decref(study);
    free(path);
    free(parent);
    return status;
}
