/* core/plugin/registry.c - see registry.h. Folders are scanned in scan.c; one file is loaded by loader.c.
 *
 * A scan reads manifests only. The expensive steps (hash, copy, probe, dlopen) are taken when a plugin is first asked
 * for, so a program that uses three plugins pays for three. The first good file of a kind and id wins; when it turns
 * out to be refused at loading, the next one in order takes its place.
 * Threads: one call per registry at a time; what it returned may be used by any thread.
 */
#include "core/plugin/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/http.h"
#include "core/http/json_service.h"
#include "core/plugin/host.h"
#include "core/plugin/loader.h"
#include "core/plugin/manifest.h"
#include "core/plugin/process.h"
#include "core/plugin/scan.h"

typedef struct slot {
    aira__plugin_entry entry;
    char *path, *reason;
    aira__loaded loaded; /* descriptor valid when entry.plugin is set */
} slot;

struct aira__registry {
    aira__host host;
    aira__process *process;
    aira__http *http;
    aira_json_service json;
    aira__loader loader;
    slot **slots;
    int n_slots;
    slot **loose; /* loaded by path, not registered */
    int n_loose;
    char **named; /* paths */
    int n_named;
    const aira__maker *makers[4];
    int n_makers;
};

static void slot_destroy(slot *s) {
    if (s == NULL) return;
    if (s->entry.plugin != NULL) aira__descriptor_release(&s->loaded.descriptor);
    free(s->path);
    free(s->reason);
    free(s);
}

static slot *slot_create(const char *path) {
    slot *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->path = strdup(path);
    s->entry.path = s->path;
    s->entry.state = "available";
    s->entry.reason = "";
    if (s->path != NULL) return s;
    slot_destroy(s);
    return NULL;
}

static bool slot_push(slot ***list, int *n, slot *s) {
    slot **grown = s != NULL ? realloc(*list, (size_t)(*n + 1) * sizeof *grown) : NULL;
    if (grown == NULL) {
        slot_destroy(s);
        return false;
    }
    *list = grown;
    grown[(*n)++] = s;
    return true;
}

static void set_state(slot *s, const char *state, const char *reason) {
    char *copy = strdup(reason);
    if (copy == NULL) return;
    free(s->reason);
    s->reason = copy;
    s->entry.state = state;
    s->entry.reason = copy;
}

static bool same_plugin(const slot *s, const char *kind, const char *id) {
    return strcmp(s->entry.kind, kind) == 0 && strcmp(s->entry.id, id) == 0;
}

/* The live entry of kind and id, or NULL. */
static slot *live(const aira__registry *r, const char *kind, const char *id) {
    for (int i = 0; i < r->n_slots; i++)
        if (same_plugin(r->slots[i], kind, id) &&
            (strcmp(r->slots[i]->entry.state, "available") == 0 || strcmp(r->slots[i]->entry.state, "loaded") == 0))
            return r->slots[i];
    return NULL;
}

/* Called by the scan for every file (problem NULL) and for every folder that could not be used. */
static aira_status add_file(void *context, const char *path, const char *problem) {
    aira__registry *r = context;
    slot *s = slot_create(path);
    if (!slot_push(&r->slots, &r->n_slots, s)) return AIRA_E_MEMORY;
    aira_manifest m;
    aira_error error = {0};
    if (problem != NULL) {
        set_state(s, "refused", problem);
    } else if (aira__manifest_read_file(path, &m, &error) != AIRA_OK) {
        set_state(s, "refused", error.text);
    } else {
        const slot *winner = live(r, m.kind, m.id);
        snprintf(s->entry.kind, sizeof s->entry.kind, "%s", m.kind);
        snprintf(s->entry.id, sizeof s->entry.id, "%s", m.id);
        snprintf(s->entry.version, sizeof s->entry.version, "%s", m.version);
        if (winner != NULL) {
            char text[4200];
            snprintf(text, sizeof text, "%s comes first", winner->path);
            set_state(s, "shadowed", text);
        }
    }
    return AIRA_OK;
}

static aira_status add_named(void *context, const char *path) {
    aira__registry *r = context;
    char **grown = realloc(r->named, (size_t)(r->n_named + 1) * sizeof *grown);
    if (grown == NULL) return AIRA_E_MEMORY;
    r->named = grown;
    grown[r->n_named] = strdup(path);
    if (grown[r->n_named] == NULL) return AIRA_E_MEMORY;
    r->n_named++;
    return AIRA_OK;
}

static aira_status offer_services(aira__registry *r, aira_error *error) {
    aira_status status = aira__process_create(&r->host.table, &r->process, error);
    if (status == AIRA_OK) status = aira__http_create(&r->host.table, &r->http, error);
    if (status != AIRA_OK) return status;
    aira__json_service_init(&r->host.table, &r->json);
    if (aira__host_offer(&r->host, AIRA_SERVICE_PROCESS, aira__process_table(r->process)) &&
        aira__host_offer(&r->host, AIRA_SERVICE_HTTP, aira__http_table(r->http)) &&
        aira__host_offer(&r->host, AIRA_SERVICE_JSON, &r->json))
        return AIRA_OK;
    return aira__fail(error, AIRA_E_MEMORY, "out of memory for the plugin registry");
}

aira_status aira__registry_create(const aira__registry_options *options, aira__registry **out, aira_error *error) {
    *out = NULL;
    aira__registry *r = calloc(1, sizeof *r);
    if (r == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory for the plugin registry");
    aira_status status = aira__host_init(&r->host, error);
    if (status != AIRA_OK) {
        free(r);
        return status;
    }
    status = offer_services(r, error);
    if (status == AIRA_OK) status = aira__scan_plugins(options, add_file, add_named, r, error);
    if (status != AIRA_OK) {
        aira__registry_destroy(r);
        return status;
    }
    *out = r;
    return AIRA_OK;
}

void aira__registry_destroy(aira__registry *r) {
    if (r == NULL) return;
    for (int i = 0; i < r->n_slots; i++) slot_destroy(r->slots[i]);
    for (int i = 0; i < r->n_loose; i++) slot_destroy(r->loose[i]);
    for (int i = 0; i < r->n_named; i++) free(r->named[i]);
    free(r->slots);
    free(r->loose);
    free(r->named);
    aira__process_destroy(r->process);
    aira__http_destroy(r->http);
    aira__host_finish(&r->host);
    free(r);
}

const char *const *aira__registry_named_paths(const aira__registry *r, int *n) {
    *n = r->n_named;
    return (const char *const *)r->named;
}

aira_status aira__registry_add_maker(aira__registry *r, const aira__maker *maker, aira_error *error) {
    if (aira__registry_maker(r, maker->kind, maker->id) != NULL) return AIRA_OK;
    if (r->n_makers == (int)(sizeof r->makers / sizeof *r->makers))
        return aira__fail(error, AIRA_E_FAILED, "too many makers of instances, at most %d", r->n_makers);
    r->makers[r->n_makers++] = maker;
    return AIRA_OK;
}

const aira__maker *aira__registry_maker(const aira__registry *r, const char *kind, const char *id) {
    for (int i = 0; i < r->n_makers; i++)
        if (strcmp(r->makers[i]->kind, kind) == 0 && strcmp(r->makers[i]->id, id) == 0) return r->makers[i];
    return NULL;
}

int aira__registry_count(const aira__registry *r) { return r->n_slots; }

const aira__plugin_entry *aira__registry_entry(const aira__registry *r, int i) {
    return i >= 0 && i < r->n_slots ? &r->slots[i]->entry : NULL;
}

/* Loads a slot's file; its state tells the outcome. A file that changed its name since the scan is refused. */
static void load_slot(aira__registry *r, slot *s) {
    aira_error error = {0};
    aira_status status = aira__loader_load(&r->loader, s->path, &s->loaded, &error);
    const char *kind = s->loaded.manifest.kind, *id = s->loaded.manifest.id;
    memcpy(s->entry.sha256, s->loaded.sha256, sizeof s->entry.sha256);
    if (status == AIRA_OK && !same_plugin(s, kind, id)) {
        aira__descriptor_release(&s->loaded.descriptor);
        status = aira__fail(&error, AIRA_E_CORRUPT, "the file has changed since the program started: it is %s '%s' now",
                            kind, id);
    }
    if (status != AIRA_OK) {
        set_state(s, "refused", error.text);
        return;
    }
    snprintf(s->entry.version, sizeof s->entry.version, "%s", s->loaded.manifest.version);
    s->entry.plugin = &s->loaded.descriptor.plugin;
    set_state(s, "loaded", "");
}

/* The first shadowed file of this kind and id becomes available; NULL if there is none. */
static slot *promote(aira__registry *r, const char *kind, const char *id) {
    for (int i = 0; i < r->n_slots; i++) {
        slot *s = r->slots[i];
        if (!same_plugin(s, kind, id) || strcmp(s->entry.state, "shadowed") != 0) continue;
        set_state(s, "available", "");
        return s;
    }
    return NULL;
}

static aira_status fail_unknown(const aira__registry *r, const char *kind, const char *id, aira_error *error) {
    const char *names[64];
    char list[1200] = "";
    int n = 0;
    for (int i = 0; i < r->n_slots; i++) {
        const slot *s = r->slots[i];
        if (strcmp(s->entry.kind, kind) != 0) continue;
        if (strcmp(s->entry.id, id) == 0 && strcmp(s->entry.state, "refused") == 0)
            return aira__fail(error, AIRA_E_CONFIG, "%s '%s' is refused: %s: %s", kind, id, s->path, s->entry.reason);
        if (strcmp(s->entry.state, "available") != 0 && strcmp(s->entry.state, "loaded") != 0) continue;
        if (n < 64) names[n++] = s->entry.id;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", s->entry.id);
    }
    for (int i = 0; i < r->n_makers; i++) {
        size_t used = strlen(list);
        if (strcmp(r->makers[i]->kind, kind) != 0 || n == 64) continue;
        names[n++] = r->makers[i]->id;
        snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", r->makers[i]->id);
    }
    if (aira__kind_find(kind) == NULL)
        return aira__fail(error, AIRA_E_CONFIG, "there is no kind of plugin '%s'; the kinds are %s", kind,
                          aira__kind_names());
    if (n == 0)
        return aira__fail(error, AIRA_E_CONFIG, "unknown %s '%s': no %s plugin was found; see `aira plugins`", kind, id,
                          kind);
    const char *near = aira__nearest(id, names, n);
    return aira__fail(error, AIRA_E_CONFIG, "unknown %s '%s'%s%s%s; available: %s", kind, id,
                      near != NULL ? ", did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "", list);
}

const aira_plugin *aira__registry_find(aira__registry *r, const char *kind, const char *id, aira_error *error) {
    slot *s = live(r, kind, id);
    while (s != NULL && s->entry.plugin == NULL) {
        load_slot(r, s);
        if (s->entry.plugin == NULL) s = promote(r, kind, id);
    }
    if (s != NULL) return s->entry.plugin;
    fail_unknown(r, kind, id, error);
    return NULL;
}

const aira_plugin *aira__registry_load_file(aira__registry *r, const char *path, aira_error *error) {
    slot *s = slot_create(path);
    if (s == NULL || !slot_push(&r->loose, &r->n_loose, s)) {
        aira__fail(error, AIRA_E_MEMORY, "out of memory for the plugin registry");
        return NULL;
    }
    if (aira__loader_load(&r->loader, path, &s->loaded, error) != AIRA_OK) {
        aira__fail_in(error, "%s", path);
        return NULL;
    }
    s->entry.plugin = &s->loaded.descriptor.plugin;
    return s->entry.plugin;
}

const aira_host *aira__registry_host(aira__registry *r) { return &r->host.table; }

void aira__registry_offer(aira__registry *r, const char *service_id, const void *table) {
    aira_error error;
    if (!aira__host_offer(&r->host, service_id, table)) {
        aira__fail(&error, AIRA_E_MEMORY, "the service '%s' could not be offered", service_id);
        r->host.table.log(&r->host.table, AIRA_LOG_ERROR, error.text);
    }
}
