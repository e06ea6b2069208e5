/* core/search/finish.c - what becomes of the searches' results: selection, aggregation, extrapolation, report.
 *
 * All of it follows from the journal's nodes, so it can be done again at any time; a resumed run does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/json.h"
#include "core/base/log.h"
#include "core/compose/aggregate.h"
#include "core/compose/extrapolate.h"
#include "core/report/report.h"
#include "core/search/run_internal.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

static aira_status put_result(aira__run *run, const char *kind, const char *name, const json_t *value,
                              aira_error *error) {
    char *text = aira__json_canonical(value);
    aira_status status = text ? aira__journal_set_result(run->journal, kind, name, text, error) : no_memory(error);
    free(text);
    return status;
}

/* Every search submits its best node by selection score. *valid: one of them had any. */
static aira_status select_nodes(aira__run *run, bool *valid, aira_error *error) {
    aira_status status = AIRA_OK;
    *valid = false;
    for (int i = 0; status == AIRA_OK && i < run->n_searches; i++) {
        const aira__search *s = &run->searches[i];
        int64_t idx = aira__tree_best(&s->tree, true);
        if (idx < 0) continue;
        const aira__tree_node *node = &s->tree.nodes[idx];
        char name[32];
        snprintf(name, sizeof name, "%06" PRId64, s->id);
        json_t *value = json_pack("{s:s?, s:f, s:I, s:I, s:s}", "architecture", node->architecture, "score",
                                  node->selection_score, "node", (json_int_t)idx, "search", (json_int_t)s->id, "label",
                                  s->label);
        status = value ? put_result(run, "submitted", name, value, error) : no_memory(error);
        json_decref(value);
        *valid = true;
    }
    return status;
}

/* "n0", or "n0 of mutation" where only some agents' candidates are taken. */
static void name_of(const char *by, const json_t *agents, char *name, size_t size) {
    int used = snprintf(name, size, "%s", by);
    for (size_t i = 0; i < json_array_size(agents) && used >= 0 && (size_t)used < size; i++)
        used += snprintf(name + used, size - (size_t)used, "%s%s", i ? ", " : " of ",
                         json_string_value(json_array_get(agents, i)));
}

static aira_status combine(aira__run *run, const json_t *entry, json_t **result, aira_error *error) {
    const json_t *agents = json_object_get(entry, "agents");
    size_t n = json_array_size(agents);
    const char **names = calloc(n + 1, sizeof *names);
    aira__journal_source source = {run->dir, aira__journal_db(run->journal)};
    aira__candidates candidates = {0};
    aira__instance *aggregator = NULL;
    if (!names) return no_memory(error);
    for (size_t i = 0; i < n; i++) names[i] = json_string_value(json_array_get(agents, i));
    aira_status status = aira__candidates_read(&source, 1, names, (int)n, &candidates, error);
    if (status == AIRA_OK)
        status = aira__instance_create_json(run->options->registry, "aggregator", json_object_get(entry, "aggregator"),
                                            &aggregator, error);
    if (status == AIRA_OK) status = aira__aggregate(run->options->registry, aggregator, &candidates, result, error);
    aira__instance_destroy(aggregator);
    aira__candidates_release(&candidates);
    free(names);
    return status;
}

/* models/<name>-<to>-<by>.yaml; characters that file names should not have become '_'. */
static aira_status write_model(aira__run *run, const char *from, const char *to, const char *by, const char *text,
                               char **relative, aira_error *error) {
    char name[300];
    snprintf(name, sizeof name, "models/%.150s-%.40s-%.40s.yaml", from, to, by);
    for (char *p = name + 7; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p)) *p = '_';
    char *folder = aira__path_join(run->dir, "models"), *path = aira__path_join(run->dir, name);
    aira_status status = folder && path ? aira__make_dirs(folder, error) : no_memory(error);
    if (status == AIRA_OK) status = aira__file_write_atomic(path, text, strlen(text), error);
    free(folder);
    *relative = status == AIRA_OK ? path : NULL;
    if (!*relative) free(path);
    return status;
}

static aira_status scale_one(aira__run *run, const char *from, const char *architecture, const char *to, const char *by,
                             aira_error *error) {
    aira__extrapolation e = {0};
    char name[300], *path = NULL;
    aira_status status = aira__extrapolate(run->options->registry, json_object_get(run->asking.task, "tokens"),
                                           architecture, to, by, &e, error);
    if (status == AIRA_OK) status = write_model(run, from, to, by, e.model, &path, error);
    if (status == AIRA_OK && (json_object_set_new(e.result, "model", json_string(path)) ||
                              json_object_set_new(e.result, "from", json_string(from))))
        status = no_memory(error);
    snprintf(name, sizeof name, "%.150s %.40s %.40s", from, to, by);
    if (status == AIRA_OK) status = put_result(run, "extrapolate", name, e.result, error);
    free(path);
    aira__extrapolation_release(&e);
    return status;
}

static aira_status scale_all(aira__run *run, const char *from, const char *architecture, aira_error *error) {
    const json_t *wanted = json_object_get(run->study, "extrapolate");
    const json_t *sizes = json_object_get(wanted, "to"), *rules = json_object_get(wanted, "by");
    aira_status status = AIRA_OK;
    for (size_t i = 0; status == AIRA_OK && i < json_array_size(sizes); i++)
        for (size_t k = 0; status == AIRA_OK && k < json_array_size(rules); k++)
            status = scale_one(run, from, architecture, json_string_value(json_array_get(sizes, i)),
                               json_string_value(json_array_get(rules, k)), error);
    return status;
}

static aira_status aggregate_all(aira__run *run, aira_error *error) {
    const json_t *entries = json_object_get(run->study, "aggregate");
    aira_status status = AIRA_OK;
    for (size_t i = 0; status == AIRA_OK && i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        json_t *result = NULL;
        char name[200];
        name_of(aira__json_string(json_object_get(entry, "aggregator"), "use", "?"), json_object_get(entry, "agents"),
                name, sizeof name);
        status = combine(run, entry, &result, error);
        if (status == AIRA_OK) status = put_result(run, "aggregate", name, result, error);
        if (status == AIRA_OK) status = scale_all(run, name, aira__json_string(result, "architecture", ""), error);
        json_decref(result);
        if (status != AIRA_OK) (void)aira__fail_in(error, "aggregate %s", name);
    }
    return status;
}

/* Why there is nothing: the most frequent reason among the failed nodes. */
static aira_status nothing_valid(aira__run *run, aira_error *error) {
    const char *why = NULL;
    int most = 0, nodes = 0;
    for (int i = 0; i < run->n_searches; i++) nodes += (int)run->searches[i].tree.committed;
    for (int i = 0; i < run->n_searches; i++)
        for (uint32_t k = 0; k < run->searches[i].tree.committed; k++) {
            const char *note = run->searches[i].tree.nodes[k].note;
            int n = 0;
            for (int a = 0; note && a < run->n_searches; a++)
                for (uint32_t b = 0; b < run->searches[a].tree.committed; b++)
                    n += run->searches[a].tree.nodes[b].note && !strcmp(run->searches[a].tree.nodes[b].note, note);
            if (n > most) {
                most = n;
                why = note;
            }
        }
    if (!nodes)
        return aira__fail(error, AIRA_E_FAILED,
                          "the study ended before any candidate was finished; give it more of "
                          "the budget that ran out");
    return aira__fail(
        error, AIRA_E_FAILED,
        "none of %d candidates was valid, so there is nothing to aggregate; most frequent reason (%d times): "
        "%s",
        nodes, most, why ? why : "unknown");
}

aira_status aira__run_finish(aira__run *run, bool *valid, aira_error *error) {
    aira_error reason = {0};
    aira_status status = select_nodes(run, valid, error);
    if (status == AIRA_OK && *valid) status = aggregate_all(run, error);
    if (status == AIRA_OK && !*valid) (void)nothing_valid(run, &reason);
    /* The report is worth having even where a later step failed. */
    aira_error unreported = {0};
    aira_status reported = aira__report_write_db(aira__journal_db(run->journal), run->dir, &unreported);
    if (status == AIRA_OK && reported != AIRA_OK) return aira__fail(error, reported, "%s", unreported.text);
    if (status != AIRA_OK && reported != AIRA_OK) aira__log(AIRA_LOG_WARN, "no report: %s", unreported.text);
    if (status == AIRA_OK && !*valid) (void)aira__fail(error, AIRA_E_FAILED, "%s", reason.text);
    return status;
}
