/* core/plugin/registry.h - finds, checks and loads plugins; makes instances of them.
 *
 * Folders, in order: options.paths, AIRA_PLUGIN_PATH, ~/.local/lib/aira, the program's own plugins (../lib/aira/plugins
 * beside bin/, or the build tree's), never the current directory. Each file goes through manifest, private cache,
 * out-of-process probe (verdict cached by SHA-256), dlopen, copy-in, registration in one transaction. One bad file is
 * listed with its reason and disturbs nothing.
 */
#ifndef AIRA_PLUGIN_REGISTRY_H
#define AIRA_PLUGIN_REGISTRY_H

#include <jansson.h>
#include <stdbool.h>

#include "aira/plugin.h"
#include "core/base/error.h"
#include "core/config/config.h"

typedef struct aira__registry aira__registry;

typedef struct aira__plugin_entry {
    char id[48], kind[16], version[16];
    char sha256[65];
    const char *path;
    const char *state;         /* "loaded", "available" (manifest good, not loaded yet), "refused", "shadowed" */
    const char *reason;        /* why refused or shadowed, else "" */
    const aira_plugin *plugin; /* host's copy of the descriptor, NULL until loaded */
} aira__plugin_entry;

typedef struct aira__registry_options {
    const char *const *paths; /* --plugin-path folders */
    int n_paths;
    bool no_builtin; /* tests */
} aira__registry_options;

/* Scans folders and reads manifests; loads nothing yet. */
aira_status aira__registry_create(const aira__registry_options *, aira__registry **, aira_error *);
void aira__registry_destroy(aira__registry *); /* libraries stay mapped */
int aira__registry_count(const aira__registry *);
const aira__plugin_entry *aira__registry_entry(const aira__registry *, int i);

/* What --plugin-path and AIRA_PLUGIN_PATH named, as absolute paths in order: what a worker process has to be given to
   find the same plugins. *n of them; valid until destroy. */
const char *const *aira__registry_named_paths(const aira__registry *, int *n);

/* The loaded plugin of kind and id; loads it on first use. Error: nearest names, or why the file was refused. */
const aira_plugin *aira__registry_find(aira__registry *, const char *kind, const char *id, aira_error *);
/* Loads one file by path (for `aira check P.so`), without registering. */
const aira_plugin *aira__registry_load_file(aira__registry *, const char *path, aira_error *);

/* The host table that plugins of this registry get. The last sentence given to host->fail on this thread: */
const aira_host *aira__registry_host(aira__registry *);
const char *aira__host_last_failure(const aira_host *); /* "" if none; cleared by aira__host_clear_failure */
void aira__host_clear_failure(const aira_host *);
/* Offers a service table under an id to plugins; table outlives the registry. */
void aira__registry_offer(aira__registry *, const char *service_id, const void *table);

/* A configured plugin: `{use: id, ...}`. */
typedef struct aira__instance {
    const aira_plugin *plugin;
    void *self;   /* what the table's functions take */
    void *config; /* filled struct */
    aira__filled *memory;
    json_t *canonical; /* {"use": id, "key": value, ...}, defaults included */
} aira__instance;

/* From YAML: node is a map with `use:` (or a scalar id, all defaults). skip: keys that belong to the caller.
   Every configuration error goes to diagnostics; NULL then. */
aira__instance *aira__instance_create(aira__registry *, const char *kind, aira__node *node, const char *const *skip,
                                      aira__diagnostics *);
/* From a canonical object, e.g. in a worker; the instance keeps a copy of it as its canonical form. */
aira_status aira__instance_create_json(aira__registry *, const char *kind, const json_t *canonical, aira__instance **,
                                       aira_error *);
/* Whether the plugin is there and would take these keys; nothing is created. */
aira_status aira__instance_check_json(aira__registry *, const char *kind, const json_t *canonical, aira_error *);
void aira__instance_destroy(aira__instance *);
/* The plugin's table by extension id; NULL where it has none. */
const void *aira__instance_extension(const aira__instance *, const char *id);

/* An id whose instances another part of the host makes, instead of a plugin file: `use: source`. from_node is given a
   node whose `use` is taken and reports to diagnostics; both make an instance that aira__instance_destroy releases by
   way of its plugin's destroy. */
typedef struct aira__maker {
    const char *kind, *id;
    aira__instance *(*from_node)(aira__node *, const char *const *skip, aira__diagnostics *);
    aira_status (*from_json)(const json_t *canonical, aira__instance **, aira_error *);
} aira__maker;
/* maker outlives the registry. A second one of the same kind and id is passed over. */
aira_status aira__registry_add_maker(aira__registry *, const aira__maker *maker, aira_error *);
const aira__maker *aira__registry_maker(const aira__registry *, const char *kind, const char *id); /* NULL if none */

#endif
