/* core/sandbox/offer.c - `use: source`: instances of the primitive that a C file describes; see foreign.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/sandbox/foreign_internal.h"

static const char *const keys[] = {"use", "file", "text", "sha256", "config", "unconfined", NULL};

/* What an instance is made of; text and name are malloc'ed. */
typedef struct wanted {
    char *text, *name;
    json_t *config;
    bool unconfined;
} wanted;

static void release(wanted *w) {
    free(w->text);
    free(w->name);
    json_decref(w->config);
}

static json_t *canonical_form(const wanted *w, const aira__foreign *f, const aira__foreign_primitive *p) {
    return json_pack("{s:s, s:s, s:s, s:s, s:O, s:b}", "use", AIRA__FOREIGN_ID, "text", w->text, "sha256",
                     aira__foreign_sha256(f), "file", w->name, "config", aira__foreign_primitive_config(p),
                     "unconfined", w->unconfined);
}

static aira_status make(const wanted *w, aira__instance **out, aira_error *error) {
    const aira__foreign_options options = {.name = w->name, .unconfined = w->unconfined};
    aira__foreign *f = NULL;
    aira__foreign_primitive *p = NULL;
    aira__instance *i = calloc(1, sizeof *i);
    aira_status status = i != NULL ? aira__foreign_compile(w->text, strlen(w->text), &options, &f, error)
                                   : aira__fail(error, AIRA_E_MEMORY, "out of memory for a source");
    if (status == AIRA_OK) status = aira__foreign_primitive_create(f, w->config, &p, error);
    if (status == AIRA_OK) {
        i->plugin = aira__foreign_primitive_plugin(p);
        i->self = p;
        i->canonical = canonical_form(w, f, p);
        if (i->canonical == NULL) {
            aira__foreign_primitive_destroy(p);
            status = aira__fail(error, AIRA_E_CONFIG, "%s: it is no text in UTF-8", w->name);
        }
    }
    aira__foreign_release(f); /* the primitive has its own reference */
    if (status == AIRA_OK)
        *out = i;
    else
        free(i);
    return status;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* --- from YAML
 * ---------------------------------------------------------------------------------------------------------- */

/* With a text, the file is only its name: a canonical task written as YAML reads as it was. */
static bool read_text(aira__node *map, wanted *w, aira__diagnostics *d) {
    aira__node *file = aira__map_get(map, "file"), *text = aira__map_get(map, "text");
    aira__node *sha = aira__map_get(map, "sha256");
    aira_error error = {0};
    if (file == NULL && text == NULL) {
        aira__diagnose(d, map, "a source needs 'file' (a C file) or 'text' (its content)");
        return false;
    }
    if (text != NULL) {
        char hash[65];
        w->text = strdup(aira__node_string(text, "", d));
        w->name = strdup(last_part(aira__node_string(file, "mechanism.c", d)));
        aira__sha256_hex(w->text != NULL ? w->text : "", w->text != NULL ? strlen(w->text) : 0, hash);
        if (strcmp(aira__node_string(sha, hash, d), hash) != 0)
            aira__diagnose(d, sha, "the text is not the one whose hash stands here");
        return w->text != NULL && w->name != NULL;
    }
    if (sha != NULL) aira__diagnose(d, sha, "'sha256' belongs to a 'text'");
    char *path = aira__node_path(file, d);
    if (path == NULL) return false;
    w->name = strdup(last_part(path));
    if (aira__file_read(path, AIRA__FOREIGN_MAX_SOURCE, &w->text, NULL, &error) != AIRA_OK)
        aira__diagnose(d, file, "%s", error.text);
    free(path);
    return w->text != NULL && w->name != NULL;
}

static bool skipped(const char *const *skip, const char *key) {
    for (; skip != NULL && *skip != NULL; skip++)
        if (strcmp(*skip, key) == 0) return true;
    return false;
}

static aira__instance *from_node(aira__node *node, const char *const *skip, aira__diagnostics *d) {
    wanted w = {0};
    aira__instance *made = NULL;
    aira_error error = {0};
    int before = aira__diagnostics_count(d);
    if (node->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, node, "a source needs its file: {use: source, file: mechanism.c}");
        return NULL;
    }
    bool good = read_text(node, &w, d);
    aira__node *config = aira__map_get(node, "config");
    w.unconfined = aira__node_bool(aira__map_get(node, "unconfined"), false, d);
    if (config != NULL) {
        aira__node_mark_used(config);
        w.config = aira__node_to_json(config);
        if (config->kind != AIRA_NODE_MAP) aira__diagnose(d, config, "'config' is a mapping of the source's own keys");
    }
    for (int k = 0; k < node->n_items; k++)
        if (skipped(skip, node->items[k]->key)) node->items[k]->used = true;
    aira__map_finish(node, keys, d);
    if (good && aira__diagnostics_count(d) == before && make(&w, &made, &error) != AIRA_OK)
        aira__diagnose(d, node, "%s", error.text);
    release(&w);
    return made;
}

/* --- from its canonical form
 * ------------------------------------------------------------------------------------------------ */

static aira_status from_json(const json_t *canonical, aira__instance **out, aira_error *error) {
    const char *text = aira__json_string(canonical, "text", NULL), *sha = aira__json_string(canonical, "sha256", NULL);
    char hash[65];
    *out = NULL;
    if (text == NULL) return aira__fail(error, AIRA_E_CONFIG, "a source without \"text\" in its canonical form");
    aira__sha256_hex(text, strlen(text), hash);
    if (sha != NULL && strcmp(sha, hash) != 0)
        return aira__fail(error, AIRA_E_CORRUPT, "the source '%s' is not the one whose hash stands beside it",
                          aira__json_string(canonical, "file", "mechanism.c"));
    wanted w = {.text = strdup(text),
                .name = strdup(last_part(aira__json_string(canonical, "file", "mechanism.c"))),
                .config = json_incref(json_object_get(canonical, "config")),
                .unconfined = json_is_true(json_object_get(canonical, "unconfined"))};
    aira_status status = w.text != NULL && w.name != NULL ? make(&w, out, error)
                                                          : aira__fail(error, AIRA_E_MEMORY, "out of memory");
    release(&w);
    return status;
}

aira_status aira__foreign_offer(aira__registry *registry, aira_error *error) {
    static const aira__maker maker = {"primitive", AIRA__FOREIGN_ID, from_node, from_json};
    return aira__registry_add_maker(registry, &maker, error);
}
