/* core/search/plugins.c - the plugins of a run, and whether those of this build can go on with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/search/run_internal.h"

json_t *aira__run_plugins(const aira__registry *registry) {
    json_t *list = json_array();
    for (int i = 0; i < aira__registry_count(registry); i++) {
        const aira__plugin_entry *e = aira__registry_entry(registry, i);
        if (strcmp(e->state, "loaded")) continue;
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "kind", e->kind, "id", e->id, "version",
                                              e->version, "sha256", e->sha256));
    }
    return list;
}

static bool equal(const json_t *a, const json_t *b, const char *key) {
    return json_equal(json_object_get(a, key), json_object_get(b, key));
}

aira_status aira__run_compare_plugins(aira__run *run, aira_error *error) {
    char *text = aira__journal_get_study(run->journal, "plugins", error);
    json_t *before = text ? aira__json_parse(text, strlen(text), "the journal's plugins", error) : NULL;
    json_t *now = aira__run_plugins(run->options->registry), *was, *is;
    size_t i, k;
    aira_status status = AIRA_OK;
    json_array_foreach(before, i, was) json_array_foreach(now, k, is) {
        if (status != AIRA_OK || !equal(was, is, "kind") || !equal(was, is, "id") || equal(was, is, "sha256")) continue;
        char sentence[256];
        snprintf(sentence, sizeof sentence, "%s %s is another build than the run began with (%.12s, was %.12s)",
                 aira__json_string(is, "kind", "?"), aira__json_string(is, "id", "?"),
                 aira__json_string(is, "sha256", ""), aira__json_string(was, "sha256", ""));
        aira__log(AIRA_LOG_WARN, "%s", sentence);
        status = aira__journal_event(run->journal, "plugin", -1, -1, sentence, error);
    }
    free(text);
    json_decref(before);
    json_decref(now);
    return status;
}

/* ---- what workers will be given ---- */

static aira_status check(const aira__run *run, const char *kind, const json_t *canonical, aira_error *error) {
    if (!json_is_object(canonical)) return AIRA_OK;
    return aira__instance_check_json(run->options->registry, kind, canonical, error);
}

aira_status aira__run_check_plugins(const aira__run *run, aira_error *error) {
    const json_t *task = json_object_get(run->study, "task"), *value;
    const char *token;
    size_t i;
    const json_t *device = json_object_get(run->study, "device");
    aira_status status = AIRA_OK;
    if (aira__registry_find(run->options->registry, "device", aira__json_string(device, "use", ""), NULL))
        status = check(run, "device", device, error); /* else it may be where the workers are */
    if (status == AIRA_OK)
        status = check(run, "backbone", json_object_get(json_object_get(task, "candidate"), "backbone"), error);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(task, "tokens"), token, value) {
        if (status == AIRA_OK) status = check(run, "primitive", value, error);
    }
    json_array_foreach(json_object_get(task, "proxies"), i, value) {
        const json_t *recipe = json_object_get(value, "recipe");
        if (status == AIRA_OK) status = check(run, "dataset", json_object_get(value, "dataset"), error);
        if (status == AIRA_OK) status = check(run, "backbone", json_object_get(value, "backbone"), error);
        if (status == AIRA_OK) status = check(run, "optimizer", json_object_get(recipe, "optimizer"), error);
    }
    if (status == AIRA_OK) return AIRA_OK;
    return aira__fail_in(error,
                         "%s: the plugins of this build cannot go on with the run; resume it with those that "
                         "it began with",
                         run->dir);
}
