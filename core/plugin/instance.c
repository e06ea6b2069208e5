/* core/plugin/instance.c - a configured plugin: its descriptor, its filled configuration and what create() made of
 * them.
 *
 * The canonical form {"use": id, "key": value, ...} holds every key, defaults included: it is the instance's identity
 * in hashes and what a worker process makes the same instance from.
 */
#include <stdlib.h>
#include <string.h>

#include "core/plugin/registry.h"

static const aira_schema no_keys = {sizeof(aira_schema), 0, 0, sizeof(aira_field), NULL};

/* Room for the configuration, and the descriptor's schema. */
static aira__instance *begin(const aira_plugin *plugin, const aira_schema **schema) {
    *schema = plugin->config != NULL ? plugin->config : &no_keys;
    aira__instance *i = calloc(1, sizeof *i);
    if (i == NULL) return NULL;
    i->plugin = plugin;
    i->config = calloc(1, (*schema)->config_size > 0 ? (*schema)->config_size : 1);
    if (i->config != NULL) return i;
    free(i);
    return NULL;
}

/* Runs create(). On failure self stays NULL, so that destroy is not called. */
static aira_status finish(aira__registry *r, aira__instance *i, aira_error *error) {
    if (i->plugin->create == NULL) {
        i->self = i->config;
        return AIRA_OK;
    }
    const aira_host *host = aira__registry_host(r);
    aira__host_clear_failure(host);
    aira_status status = i->plugin->create(host, i->config, &i->self);
    if (status == AIRA_OK) return AIRA_OK;
    i->self = NULL;
    const char *text = aira__host_last_failure(host);
    return aira__fail(error, status, "%s '%s': %s", i->plugin->kind, i->plugin->id,
                      text[0] != 0 ? text : "it failed without saying why");
}

/* {"use": id} followed by keys; takes keys over. */
static json_t *with_use(const char *id, json_t *keys) {
    json_t *whole = json_object();
    if (whole == NULL || keys == NULL || json_object_set_new(whole, "use", json_string(id)) != 0 ||
        json_object_update(whole, keys) != 0) {
        json_decref(whole);
        whole = NULL;
    }
    json_decref(keys);
    return whole;
}

/* skip and "use", NULL-terminated, malloc'ed. */
static const char **skip_use(const char *const *skip) {
    size_t n = 0;
    while (skip != NULL && skip[n] != NULL) n++;
    const char **all = malloc((n + 2) * sizeof *all);
    if (all == NULL) return NULL;
    for (size_t i = 0; i < n; i++) all[i] = skip[i];
    all[n] = "use";
    all[n + 1] = NULL;
    return all;
}

/* The node that names the plugin: the scalar itself or the value of `use:`. NULL after a diagnostic. */
static aira__node *find_use(aira__node *node, const char *kind, aira__diagnostics *d) {
    aira__node *use = node;
    if (node->kind == AIRA_NODE_MAP) {
        use = aira__map_get(node, "use");
        if (use == NULL) {
            aira__diagnose(d, node, "missing key 'use': it names the %s plugin", kind);
            return NULL;
        }
    }
    if (use->kind == AIRA_NODE_SCALAR) {
        use->used = true;
        return use;
    }
    aira__diagnose(d, use, "expected the name of a %s plugin", kind);
    return NULL;
}

aira__instance *aira__instance_create(aira__registry *r, const char *kind, aira__node *node, const char *const *skip,
                                      aira__diagnostics *d) {
    aira_error error = {0};
    if (node == NULL) {
        aira__diagnose(d, NULL, "no %s plugin is named: write {use: NAME}", kind);
        return NULL;
    }
    aira__node *use = find_use(node, kind, d);
    if (use == NULL) return NULL;
    const aira__maker *maker = aira__registry_maker(r, kind, use->text);
    if (maker != NULL) return maker->from_node(node, skip, d);
    const aira_plugin *plugin = aira__registry_find(r, kind, use->text, &error);
    if (plugin == NULL) {
        aira__diagnose(d, use, "%s", error.text);
        if (node->kind == AIRA_NODE_MAP) aira__node_mark_used(node); /* its keys cannot be judged */
        return NULL;
    }
    const aira_schema *schema;
    aira__instance *i = begin(plugin, &schema);
    const char **skipped = skip_use(skip);
    if (i == NULL || skipped == NULL) {
        free(skipped);
        aira__instance_destroy(i);
        aira__diagnose(d, use, "out of memory for %s '%s'", kind, use->text);
        return NULL;
    }
    aira__node empty = *use;
    empty.kind = AIRA_NODE_MAP;
    empty.items = NULL;
    empty.n_items = 0;
    json_t *keys = NULL;
    bool good = aira__schema_fill(schema, node->kind == AIRA_NODE_MAP ? node : &empty, skipped, i->config, &i->memory,
                                  &keys, d);
    free(skipped);
    if (good) {
        i->canonical = with_use(plugin->id, keys);
        if (i->canonical == NULL) aira__fail(&error, AIRA_E_MEMORY, "out of memory for %s '%s'", kind, plugin->id);
        if (i->canonical != NULL && finish(r, i, &error) == AIRA_OK) return i;
        aira__diagnose(d, use, "%s", error.text);
    } else {
        json_decref(keys);
    }
    aira__instance_destroy(i);
    return NULL;
}

/* An instance of the plugin with these keys, before create(). */
static aira_status fill_json(const aira_plugin *plugin, const json_t *canonical, aira__instance **out,
                             aira_error *error) {
    const aira_schema *schema;
    aira__instance *i = begin(plugin, &schema);
    json_t *keys = json_copy((json_t *)(uintptr_t)canonical), *whole = json_object();
    aira_status status = AIRA_OK;
    if (i == NULL || keys == NULL || whole == NULL) status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
    if (status == AIRA_OK) {
        /* a canonical task holds what belongs to the host beside the plugin's own keys */
        json_object_del(keys, "use");
        json_object_del(keys, "at_scale");
        status = aira__schema_fill_json(schema, keys, i->config, &i->memory, whole, error);
    }
    json_decref(keys);
    if (status == AIRA_OK) {
        i->canonical = with_use(plugin->id, whole);
        if (i->canonical == NULL) status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
    } else {
        json_decref(whole);
    }
    if (status == AIRA_OK) {
        *out = i;
        return AIRA_OK;
    }
    aira__instance_destroy(i);
    aira__fail_in(error, "%s '%s'", plugin->kind, plugin->id);
    return status;
}

/* Of a plugin file, or else of a maker: the other is NULL. */
static aira_status find(aira__registry *r, const char *kind, const json_t *canonical, const aira_plugin **plugin,
                        const aira__maker **maker, aira_error *error) {
    const char *id = json_string_value(json_object_get(canonical, "use"));
    *plugin = NULL;
    *maker = NULL;
    if (id == NULL) return aira__fail(error, AIRA_E_CONFIG, "a %s without \"use\" in its canonical form", kind);
    *maker = aira__registry_maker(r, kind, id);
    if (*maker == NULL) *plugin = aira__registry_find(r, kind, id, error);
    return *maker != NULL || *plugin != NULL ? AIRA_OK : AIRA_E_CONFIG;
}

aira_status aira__instance_create_json(aira__registry *r, const char *kind, const json_t *canonical,
                                       aira__instance **out, aira_error *error) {
    const aira_plugin *plugin;
    const aira__maker *maker;
    aira__instance *i = NULL;
    *out = NULL;
    aira_status status = find(r, kind, canonical, &plugin, &maker, error);
    if (status != AIRA_OK) return status;
    if (maker != NULL) return maker->from_json(canonical, out, error);
    status = fill_json(plugin, canonical, &i, error);
    if (status != AIRA_OK) return status;
    status = finish(r, i, error);
    if (status == AIRA_OK)
        *out = i;
    else
        aira__instance_destroy(i);
    return status;
}

aira_status aira__instance_check_json(aira__registry *r, const char *kind, const json_t *canonical, aira_error *error) {
    const aira_plugin *plugin;
    const aira__maker *maker;
    aira__instance *i = NULL;
    aira_status status = find(r, kind, canonical, &plugin, &maker, error);
    if (status != AIRA_OK || maker != NULL) return status; /* a maker's keys are source text, judged when it is made */
    status = fill_json(plugin, canonical, &i, error);
    if (status == AIRA_OK) aira__instance_destroy(i);
    return status;
}

void aira__instance_destroy(aira__instance *i) {
    if (i == NULL) return;
    if (i->plugin->destroy != NULL && i->self != NULL) i->plugin->destroy(i->self);
    aira__filled_release(i->memory);
    json_decref(i->canonical);
    free(i->config);
    free(i);
}

const void *aira__instance_extension(const aira__instance *i, const char *id) {
    return i->plugin->extension != NULL ? i->plugin->extension(id) : NULL;
}
