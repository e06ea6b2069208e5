/* core/search/lease.c - the files between coordinator and worker (docs/contract.md 4). See queue.h. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/search/queue_internal.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

void aira__evaluation_id(const char *hash, uint64_t seed, char id[100]) {
    snprintf(id, 100, "%s-%" PRIu64, hash, seed);
}

static char *file_of(const char *folder, const char *id, const char *suffix) {
    char name[128];
    snprintf(name, sizeof name, "%s%s", id, suffix);
    return aira__path_join(folder, name);
}

static json_t *evaluations_json(const aira__queue *q, const aira__running *lease) {
    json_t *list = json_array();
    for (int i = 0; list && i < lease->n_items; i++) {
        const aira__item *item = &q->items[lease->items[i]];
        char id[100];
        aira__evaluation_id(item->hash, item->seed, id);
        json_t *one = json_pack("{s:s, s:O, s:[], s:O, s:I, s:[s, s]}", "id", id, "layers",
                                json_object_get(item->canonical, "layers"), "options", "task",
                                json_object_get(q->o.study, "task"), "seed", (json_int_t)item->seed, "splits", "search",
                                "selection");
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

aira_status aira__lease_write(const aira__queue *q, const aira__running *lease, aira_error *error) {
    json_t *paths = json_array(), *evaluations = evaluations_json(q, lease);
    for (int i = 0; paths && i < q->o.n_plugin_paths; i++)
        if (json_array_append_new(paths, json_string(q->o.plugin_paths[i])))
            return aira__fail(error, AIRA_E_CONFIG, "%s: the plugin path is not valid UTF-8", q->o.plugin_paths[i]);
    json_t *whole = evaluations && paths
                        ? json_pack("{s:i, s:s, s:O, s:O, s:O, s:{s:f, s:I}}", "version", 1, "lease", lease->id,
                                    "device", json_object_get(q->o.study, "device"), "plugin_paths", paths,
                                    "evaluations", evaluations, "limits", "seconds", q->limit_seconds, "memory_bytes",
                                    (json_int_t)q->limit_memory)
                        : NULL;
    char *path = aira__path_join(lease->folder, "lease.json");
    aira_status status = whole && path ? aira__make_dirs(lease->folder, error) : no_memory(error);
    if (status == AIRA_OK) status = aira__json_write_file(path, whole, error);
    free(path);
    json_decref(whole);
    json_decref(paths);
    json_decref(evaluations);
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
    double search = ok ? aira__json_real(scores, "search", NAN) : NAN;
    double selection = ok ? aira__json_real(scores, "selection", NAN) : NAN;
    if (ok && !isfinite(search)) {
        ok = false;
        cause = "nan";
        sentence = "the search score is not a finite number";
        search = selection = NAN;
    }
    aira__journal_evaluation row = {.hash = item->hash,
                                    .task_hash = q->task_hash,
                                    .seed = item->seed,
                                    .purpose = "search",
                                    .status = ok ? "ok" : "failed",
                                    .cause = ok ? NULL : cause,
                                    .error = ok ? NULL : sentence,
                                    .search_score = search,
                                    .selection_score = selection,
                                    .test_score = NAN,
                                    .metrics = result ? metrics : NULL,
                                    .curve = curve,
                                    .parameters = aira__json_int(result, "parameters", -1),
                                    .flops = aira__json_real(result, "flops", NAN),
                                    .seconds = aira__json_real(result, "seconds", NAN),
                                    .hashes = hashes};
    aira_status status = aira__journal_add_evaluation(q->o.journal, &row, NULL, error);
    if (status == AIRA_OK) {
        item->state = AIRA__ITEM_DONE;
        item->ok = ok;
        item->search_score = search;
        item->selection_score = selection;
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
    aira__evaluation_id(item->hash, item->seed, id);
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
    aira__evaluation_id(item->hash, item->seed, id);
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

/* "<hash>-<seed>.json" back into its parts. */
static bool parse_result_name(const char *name, char hash[65], uint64_t *seed) {
    size_t n = strlen(name);
    if (n < 64 + 1 + 1 + 5 || name[64] != '-' || strcmp(name + n - 5, ".json")) return false;
    for (int i = 0; i < 64; i++)
        if (!strchr("0123456789abcdef", name[i])) return false;
    memcpy(hash, name, 64);
    hash[64] = 0;
    char *end = NULL;
    *seed = strtoull(name + 65, &end, 10);
    return end == name + n - 5;
}

/* A folder's results count only if its lease was written for this task: names do not say which. */
static bool same_task(const aira__queue *q, const char *folder) {
    char *path = aira__path_join(folder, "lease.json"), hash[65] = "";
    json_t *lease = path && aira__file_exists(path) ? aira__json_load_file(path, NULL) : NULL;
    const json_t *task = json_object_get(json_array_get(json_object_get(lease, "evaluations"), 0), "task");
    bool same = task && aira__json_hash(task, hash, NULL) == AIRA_OK && !strcmp(hash, q->task_hash);
    json_decref(lease);
    free(path);
    return same;
}

static aira_status recover_folder(aira__queue *q, const char *folder, aira_error *error) {
    DIR *directory = same_task(q, folder) ? opendir(folder) : NULL;
    const struct dirent *entry;
    aira_status status = AIRA_OK;
    while (directory && status == AIRA_OK && (entry = readdir(directory))) {
        char hash[65];
        uint64_t seed = 0;
        bool found = false;
        if (!parse_result_name(entry->d_name, hash, &seed)) continue;
        aira__item *item = aira__queue_item(q, hash, seed);
        if (!item)
            status = no_memory(error);
        else if (item->state != AIRA__ITEM_DONE)
            status = aira__lease_take_result(q, folder, item, &found, error);
    }
    if (directory) closedir(directory);
    return status;
}

aira_status aira__lease_recover(aira__queue *q, aira_error *error) {
    DIR *directory = opendir(q->leases);
    const struct dirent *entry;
    aira_status status = AIRA_OK;
    while (directory && status == AIRA_OK && (entry = readdir(directory))) {
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
