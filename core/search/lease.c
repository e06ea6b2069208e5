/* core/search/lease.c - the files between coordinator and worker (docs/contract.md 4). See queue.h. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/queue_internal.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static const char *const searched[] = {"search", "selection"}, *const final[] = {"test", "selection"};

/* Name of an evaluation's files: <hash>-<seed>-<purpose>. */
static void name_of(const aira__item *item, char id[100]) {
    snprintf(id, 100, "%s-%" PRIu64 "-%s", item->hash, item->seed, aira__purpose_name(item->purpose));
}

static char *file_of(const char *folder, const char *id, const char *suffix) {
    char name[128];
    snprintf(name, sizeof name, "%s%s", id, suffix);
    return aira__path_join(folder, name);
}

static json_t *evaluations_json(const aira__queue *q, const int *items, int n) {
    json_t *list = json_array();
    for (int i = 0; list && i < n; i++) {
        const aira__item *item = &q->items[items[i]];
        const char *const *splits = item->purpose == AIRA__FOR_FINAL ? final : searched;
        char id[100];
        name_of(item, id);
        json_t *one = json_pack("{s:s, s:O, s:[], s:O, s:I, s:s, s:I, s:[s, s]}", "id", id, "layers",
                                json_object_get(item->canonical, "layers"), "options", "task",
                                json_object_get(q->o.study, "task"), "seed", (json_int_t)item->seed, "purpose",
                                aira__purpose_name(item->purpose), "search", (json_int_t)item->search, "splits",
                                splits[0], splits[1]);
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Not flushed to disk: a lease that a power cut takes is written again, and syncing would cost more than the lease. The
   worker is started after the file is closed. */
static aira_status write_plainly(const char *path, const json_t *value, aira_error *error) {
    FILE *file = fopen(path, "we");
    bool written = file && json_dumpf(value, file, JSON_COMPACT) == 0;
    if (file) written = fclose(file) == 0 && written;
    return written ? AIRA_OK : aira__fail(error, AIRA_E_IO, "%s: cannot be written (%s)", path, strerror(errno));
}

aira_status aira__lease_write(const aira__queue *q, const aira__running *lease, aira_error *error) {
    json_t *paths = json_array(), *evaluations = evaluations_json(q, lease->items, lease->n_items);
    for (int i = 0; paths && i < q->o.n_plugin_paths; i++)
        if (json_array_append_new(paths, json_string(q->o.plugin_paths[i])))
            return aira__fail(error, AIRA_E_CONFIG, "%s: the plugin path is not valid UTF-8", q->o.plugin_paths[i]);
    json_t *whole = evaluations && paths
                        ? json_pack("{s:i, s:s, s:i, s:O, s:O, s:O, s:{s:f, s:I}}", "version", 1, "lease", lease->id,
                                    "at_once", q->at_once, "device", json_object_get(q->o.study, "device"),
                                    "plugin_paths", paths, "evaluations", evaluations, "limits", "seconds",
                                    q->limit_seconds, "memory_bytes", (json_int_t)q->limit_memory)
                        : NULL;
    char *path = aira__path_join(lease->folder, "lease.json");
    aira_status status = whole && path ? aira__make_dirs(lease->folder, error) : no_memory(error);
    if (status == AIRA_OK) status = write_plainly(path, whole, error);
    free(path);
    json_decref(whole);
    json_decref(paths);
    json_decref(evaluations);
    return status;
}

/* A link is made whole or not at all and never over another file: whoever is first, coordinator or worker, has the
   name, and so they agree on whether the lease went on. */
aira_status aira__lease_add(const aira__queue *q, const aira__running *lease, const int *items, int n, bool *taken,
                            aira_error *error) {
    char name[32];
    snprintf(name, sizeof name, "more-%d.json", lease->more);
    char *path = aira__path_join(lease->folder, name), *own = aira__path_join(lease->folder, "more.tmp");
    json_t *evaluations = evaluations_json(q, items, n);
    json_t *whole = evaluations ? json_pack("{s:i, s:o}", "version", 1, "evaluations", evaluations) : NULL;
    aira_status status = whole && path && own ? write_plainly(own, whole, error) : no_memory(error);
    *taken = status == AIRA_OK && link(own, path) == 0;
    if (status == AIRA_OK && !*taken && errno != EEXIST)
        status = aira__fail(error, AIRA_E_IO, "%s: cannot be made (%s)", path, strerror(errno));
    if (own) (void)unlink(own); /* it goes with the folder at the latest */
    json_decref(whole);
    free(path);
    free(own);
    return status;
}

/* [{"dataset", "curve"}] of a result's proxies, as text; NULL when there is none. */
static char *curves_text(const json_t *result) {
    json_t *list = json_array(), *proxy;
    size_t i;
    json_array_foreach(json_object_get(result, "proxies"), i, proxy) {
        json_t *curve = json_object_get(proxy, "curve");
        if (curve)
            json_array_append_new(
                list, json_pack("{s:s, s:O}", "dataset", aira__json_string(proxy, "dataset", ""), "curve", curve));
    }
    char *text = json_array_size(list) ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

/* Everything but the curves: {"metrics": {...}, "proxies": [{"dataset", "score", "metrics", ...}]}. */
static char *metrics_text(const json_t *result) {
    json_t *proxies = json_deep_copy(json_object_get(result, "proxies")), *proxy;
    json_t *metrics = json_object_get(result, "metrics");
    size_t i;
    json_array_foreach(proxies, i, proxy) json_object_del(proxy, "curve");
    json_t *whole = json_pack("{s:O, s:O}", "metrics", metrics ? metrics : json_null(), "proxies",
                              proxies ? proxies : json_null());
    char *text = whole ? json_dumps(whole, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
    json_decref(whole);
    json_decref(proxies);
    return text;
}

/* Puts an outcome into the item and the journal. result: the worker's JSON, or NULL. */
static aira_status settle(aira__queue *q, aira__item *item, bool ok, const char *cause, const char *sentence,
                          const json_t *result, aira_error *error) {
    const json_t *scores = json_object_get(result, "scores");
    char *metrics = metrics_text(result), *curve = curves_text(result);
    char *hashes = json_dumps(json_object_get(result, "hashes"), JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
    const char *const *splits = item->purpose == AIRA__FOR_FINAL ? final : searched;
    char not_finite[80];
    for (int i = 0; ok && i < 2; i++) {
        if (isfinite(aira__json_real(scores, splits[i], NAN))) continue;
        ok = false;
        cause = "nan";
        snprintf(not_finite, sizeof not_finite, "the %s score is not a finite number", splits[i]);
        sentence = not_finite;
    }
    bool of_final = item->purpose == AIRA__FOR_FINAL; /* a score that was not asked for is not looked at */
    double search = ok && !of_final ? aira__json_real(scores, "search", NAN) : NAN;
    double selection = ok ? aira__json_real(scores, "selection", NAN) : NAN;
    double test = ok && of_final ? aira__json_real(scores, "test", NAN) : NAN;
    double flops = aira__json_real(result, "flops", NAN), seconds = aira__json_real(result, "seconds", NAN);
    bool added = false;
    aira__journal_evaluation row = {.hash = item->hash,
                                    .task_hash = q->task_hash,
                                    .seed = item->seed,
                                    .purpose = aira__purpose_name(item->purpose),
                                    .search = item->search,
                                    .status = ok ? "ok" : "failed",
                                    .cause = ok ? NULL : cause,
                                    .error = ok ? NULL : sentence,
                                    .search_score = search,
                                    .selection_score = selection,
                                    .test_score = test,
                                    .metrics = result ? metrics : NULL,
                                    .curve = curve,
                                    .parameters = aira__json_int(result, "parameters", -1),
                                    .flops = flops,
                                    .seconds = seconds,
                                    .hashes = hashes};
    aira_status status = aira__journal_add_evaluation(q->o.journal, &row, &added, error);
    bool counts = item->purpose == AIRA__FOR_SEARCH || item->purpose == AIRA__FOR_CONFIRM;
    if (added) aira__ledger_add_evaluation(q->o.ledger, item->search, counts, seconds, flops);
    if (status == AIRA_OK) {
        item->state = AIRA__ITEM_DONE;
        item->ok = ok;
        item->search_score = search;
        item->selection_score = selection;
        item->test_score = test;
        free(item->cause);
        free(item->error);
        item->cause = ok ? NULL : strdup(cause ? cause : "crash");
        item->error = ok ? NULL : strdup(sentence ? sentence : "the evaluation failed");
        if (!ok && (!item->cause || !item->error)) status = no_memory(error);
    }
    free(metrics);
    free(curve);
    free(hashes);
    return status;
}

aira_status aira__lease_take_result(aira__queue *q, const char *folder, aira__item *item, bool *found,
                                    aira_error *error) {
    char id[100];
    name_of(item, id);
    char *path = file_of(folder, id, ".json");
    *found = path && aira__file_exists(path);
    if (!*found) {
        free(path);
        return path ? AIRA_OK : no_memory(error);
    }
    aira_error unreadable = {0};
    aira_status status;
    json_t *result = aira__json_load_file(path, &unreadable);
    if (!result || strcmp(aira__json_string(result, "id", ""), id))
        status = settle(q, item, false, "crash",
                        result ? "the worker's result belongs to another evaluation" : unreadable.text, NULL, error);
    else if (!strcmp(aira__json_string(result, "status", ""), "ok"))
        status = settle(q, item, true, NULL, NULL, result, error);
    else
        status = settle(q, item, false, aira__json_string(result, "cause", "crash"),
                        aira__json_string(result, "error", "the evaluation failed"), result, error);
    json_decref(result);
    free(path);
    return status;
}

aira_status aira__lease_fail(aira__queue *q, const char *folder, aira__item *item, const char *cause,
                             const char *sentence, aira_error *error) {
    char id[100];
    name_of(item, id);
    char *path = file_of(folder, id, ".part.json");
    json_t *part = path && aira__file_exists(path) ? aira__json_load_file(path, NULL) : NULL;
    aira_status status = settle(q, item, false, cause, sentence, part, error);
    json_decref(part);
    free(path);
    return status;
}

void aira__lease_last_words(const char *folder, char *text, size_t size) {
    char *path = aira__path_join(folder, "worker.log"), *log = NULL;
    size_t n = 0;
    text[0] = 0;
    if (path && aira__file_exists(path)) (void)aira__file_read(path, (size_t)64 << 20, &log, &n, NULL);
    while (n && (log[n - 1] == '\n' || log[n - 1] == ' ')) log[--n] = 0;
    const char *line = log ? strrchr(log, '\n') : NULL; /* the last line says why */
    if (log) snprintf(text, size, "%s", line ? line + 1 : log);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e) *p = '?'; /* it goes into JSON and SQL */
    free(log);
    free(path);
}

/* Takes in what a worker of an earlier session has left of one evaluation. Results count only if they are of this
   task. */
static aira_status recover_evaluation(aira__queue *q, const char *folder, const json_t *one, aira_error *error) {
    const char *id = aira__json_string(one, "id", "");
    aira__purpose purpose;
    char hash[65] = "", task_hash[65] = "";
    bool found = false;
    if (strlen(id) < 65 || strspn(id, "0123456789abcdef") != 64 ||
        !aira__purpose_find(aira__json_string(one, "purpose", ""), &purpose) ||
        aira__json_hash(json_object_get(one, "task"), task_hash, NULL) != AIRA_OK || strcmp(task_hash, q->task_hash))
        return AIRA_OK; /* not one of ours: the folder goes, and what it was about is done again */
    memcpy(hash, id, 64);
    aira__item *item = aira__queue_item(q, hash, (uint64_t)aira__json_int(one, "seed", 0), purpose,
                                        aira__json_int(one, "search", 0));
    if (!item) return no_memory(error);
    return item->state == AIRA__ITEM_DONE ? AIRA_OK : aira__lease_take_result(q, folder, item, &found, error);
}

/* The evaluations of a lease's file; *found false: there is no such file. */
static aira_status recover_file(aira__queue *q, const char *folder, const char *name, bool *found, aira_error *error) {
    char *path = aira__path_join(folder, name);
    if (!path) return no_memory(error);
    *found = aira__file_exists(path);
    json_t *lease = *found ? aira__json_load_file(path, NULL) : NULL, *one;
    aira_status status = AIRA_OK;
    size_t i;
    json_array_foreach(json_object_get(lease, "evaluations"), i, one) if (status == AIRA_OK)
        status = recover_evaluation(q, folder, one, error);
    json_decref(lease);
    free(path);
    return status;
}

static aira_status recover_folder(aira__queue *q, const char *folder, aira_error *error) {
    char name[32] = "lease.json";
    bool found = true;
    aira_status status = AIRA_OK;
    for (int k = 0; found && status == AIRA_OK; k++) {
        status = recover_file(q, folder, name, &found, error);
        snprintf(name, sizeof name, "more-%d.json", k);
    }
    return status;
}

aira_status aira__lease_recover(aira__queue *q, aira_error *error) {
    DIR *directory = opendir(q->leases);
    const struct dirent *entry;
    aira_status status = AIRA_OK;
    /* An executor that answers by itself does so again at no cost, so its files need not survive a crash. */
    bool wanted = !(q->o.executor->flags & AIRA_EXECUTOR_ANSWERS);
    while (directory && wanted && status == AIRA_OK && (entry = readdir(directory))) {
        if (entry->d_name[0] == '.') continue;
        char *folder = aira__path_join(q->leases, entry->d_name);
        status = folder ? recover_folder(q, folder, error) : no_memory(error);
        free(folder);
    }
    if (directory) closedir(directory);
    /* A worker of the killed session may be writing its last file in this very moment; its end is under way. */
    for (int i = 0; status == AIRA_OK && i < 20; i++) {
        status = aira__remove_tree(q->leases, error);
        if (status == AIRA_OK || i == 19) break;
        status = AIRA_OK;
        usleep(50000);
    }
    if (status == AIRA_OK) status = aira__make_dirs(q->leases, error);
    return status;
}
