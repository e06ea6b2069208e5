/* core/config/load.c - files with what they extend, and overrides from the command line.
 *
 * The files of a chain are parsed into one document; merging relinks nodes, so every node keeps the file and mark that
 * it came from. Overrides come last and have the origin "command line".
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/fs.h"
#include "core/config/internal.h"

enum { max_chain = 16, max_file = 8 << 20 };
static const char command_line[] = "command line";

/* base with child's keys over it. Both are maps. */
static bool merge(aira__document *document, aira__node *base, aira__node *child) {
    for (int i = 0; i < child->n_items; i++) {
        aira__node *over = child->items[i], *under = aira__map_find(base, over->key);
        if (under == NULL) {
            if (!aira__node_append(document, base, over)) return false;
            continue;
        }
        aira__node *use = aira__map_find(over, "use"), *other = aira__map_find(under, "use");
        bool another_plugin = use != NULL && other != NULL && strcmp(use->text, other->text) != 0;
        if (over->kind == AIRA_NODE_MAP && under->kind == AIRA_NODE_MAP && !another_plugin) {
            if (!merge(document, under, over)) return false;
            continue;
        }
        for (int k = 0; k < base->n_items; k++)
            if (base->items[k] == under) base->items[k] = over;
    }
    return true;
}

static void remove_key(aira__node *map, const aira__node *child) {
    int kept = 0;
    for (int i = 0; i < map->n_items; i++)
        if (map->items[i] != child) map->items[kept++] = map->items[i];
    map->n_items = kept;
}

typedef struct chain {
    const struct chain *below; /* the file that extends this one */
    char *real;                /* resolved path: what makes a cycle */
    const char *file;
    int depth;
} chain;

static aira__node *load_file(aira__document *, const char *path, const aira__node *from, const chain *below,
                             aira__diagnostics *);

/* Replaces root by its base merged with it; root where nothing is extended. */
static aira__node *apply_extends(aira__document *document, aira__node *root, const chain *link,
                                 aira__diagnostics *diagnostics) {
    aira__node *extends = aira__map_get(root, "extends");
    if (extends == NULL) return root;
    remove_key(root, extends);
    char *path = aira__node_path(extends, diagnostics);
    if (path == NULL) return NULL;
    char *stored = aira__document_text(document, path, strlen(path));
    free(path);
    if (stored == NULL) {
        aira__diagnose_memory(diagnostics);
        return NULL;
    }
    aira__node *base = load_file(document, stored, extends, link, diagnostics);
    if (base == NULL) return NULL;
    if (merge(document, base, root)) {
        base->file = root->file; /* the whole is the outer file's */
        base->line = root->line;
        base->column = root->column;
        return base;
    }
    aira__diagnose_memory(diagnostics);
    return NULL;
}

static bool in_chain(const chain *link, const aira__node *from, aira__diagnostics *diagnostics) {
    for (const chain *other = link->below; other != NULL; other = other->below) {
        if (strcmp(other->real, link->real) != 0) continue;
        aira__diagnose(diagnostics, from, "extends: leads back to '%s', which is being read", link->file);
        return true;
    }
    if (link->depth <= max_chain) return false;
    aira__diagnose(diagnostics, from, "more than 16 files extend one another");
    return true;
}

static aira__node *load_file(aira__document *document, const char *path, const aira__node *from, const chain *below,
                             aira__diagnostics *diagnostics) {
    aira_error error = {0};
    char *text;
    size_t n;
    if (aira__file_read(path, max_file, &text, &n, &error) != AIRA_OK) {
        aira__diagnose(diagnostics, from, "%s", error.text);
        return NULL;
    }
    chain link = {below, realpath(path, NULL), path, below != NULL ? below->depth + 1 : 1};
    aira__node *root = NULL;
    if (link.real == NULL) {
        aira__diagnose(diagnostics, from, "cannot resolve the path '%s'", path);
    } else if (!in_chain(&link, from, diagnostics)) {
        root = aira__yaml_parse(document, text, n, path, diagnostics);
        if (root != NULL && root->kind != AIRA_NODE_MAP) {
            aira__diagnose(diagnostics, root, "the file must be a mapping (key: value), not a %s",
                           root->kind == AIRA_NODE_LIST ? "list" : "single value");
            root = NULL;
        }
        if (root != NULL) root = apply_extends(document, root, &link, diagnostics);
    }
    free(link.real);
    free(text);
    return root;
}

/* Nodes of an override have no line: the whole of them is on the command line. */
static void clear_marks(aira__node *node) {
    node->line = node->column = node->key_line = node->key_column = 0;
    for (int i = 0; i < node->n_items; i++) clear_marks(node->items[i]);
}

static bool list_index(const char *step, const aira__node *list, int *index) {
    int64_t value;
    if (step[0] < '0' || step[0] > '9' || !aira__text_int(step, &value) || value > list->n_items) return false;
    *index = (int)value;
    return true;
}

/* The slot of `step` below parent, made where absent; NULL: reported. */
static aira__node **find_slot(aira__document *document, aira__node *parent, const char *step, const char *override,
                              aira__diagnostics *diagnostics) {
    int index = -1;
    if (parent->kind == AIRA_NODE_SCALAR) {
        aira__diagnose_at(diagnostics, command_line, 0, 0,
                          "override '%s': '%s' has nothing below it, it is the single value '%s'; set it whole, as "
                          "key={use: ...}",
                          override, parent->key != NULL ? parent->key : "an item", parent->text);
        return NULL;
    }
    if (parent->kind == AIRA_NODE_LIST && !list_index(step, parent, &index)) {
        aira__diagnose_at(diagnostics, command_line, 0, 0, "override '%s': '%s' is no index of a list of %d (0 to %d)",
                          override, step, parent->n_items, parent->n_items);
        return NULL;
    }
    for (int i = 0; i < parent->n_items && parent->kind == AIRA_NODE_MAP; i++)
        if (strcmp(parent->items[i]->key, step) == 0) index = i;
    if (index < 0 || index == parent->n_items) {
        aira__node *child = aira__node_new(document, AIRA_NODE_MAP, command_line, 0, 0);
        if (child != NULL && parent->kind == AIRA_NODE_MAP)
            child->key = aira__document_text(document, step, strlen(step));
        if (child == NULL || (parent->kind == AIRA_NODE_MAP && child->key == NULL) ||
            !aira__node_append(document, parent, child)) {
            aira__diagnose_memory(diagnostics);
            return NULL;
        }
        index = parent->n_items - 1;
    }
    return &parent->items[index];
}

/* The value of an override: YAML whose mistakes are told with the override instead of a line. */
static aira__node *override_value(aira__document *document, const char *override, const char *text,
                                  aira__diagnostics *diagnostics) {
    if (*text == 0) return aira__node_new(document, AIRA_NODE_SCALAR, command_line, 0, 0);
    aira__diagnostics *local = aira__diagnostics_create();
    if (local == NULL) return NULL;
    aira__node *value = aira__yaml_parse(document, text, strlen(text), command_line, local);
    for (int i = 0; i < aira__diagnostics_count(local); i++) {
        const char *sentence;
        aira__diagnostics_get(local, i, NULL, NULL, NULL, &sentence);
        aira__diagnose_at(diagnostics, command_line, 0, 0, "override '%s': %s", override, sentence);
    }
    aira__diagnostics_destroy(local);
    if (value != NULL) clear_marks(value);
    return value;
}

static void apply_override(aira__document *document, const char *override, aira__diagnostics *diagnostics) {
    const char *equals = strchr(override, '=');
    if (equals == NULL || equals == override) {
        aira__diagnose_at(diagnostics, command_line, 0, 0, "'%s' is not an override; write key.key=value", override);
        return;
    }
    int before = aira__diagnostics_count(diagnostics);
    aira__node *value = override_value(document, override, equals + 1, diagnostics);
    char *path = aira__document_text(document, override, (size_t)(equals - override));
    if (value == NULL || path == NULL) {
        if (aira__diagnostics_count(diagnostics) == before) aira__diagnose_memory(diagnostics);
        return;
    }
    aira__node **slot = &document->root;
    for (char *step = path; step != NULL;) {
        char *dot = strchr(step, '.');
        if (dot != NULL) *dot = 0;
        if (*step == 0) {
            aira__diagnose_at(diagnostics, command_line, 0, 0, "override '%s': a key is empty", override);
            return;
        }
        slot = find_slot(document, *slot, step, override, diagnostics);
        if (slot == NULL) return;
        step = dot != NULL ? dot + 1 : NULL;
    }
    value->key = (*slot)->key;
    *slot = value;
}

aira__document *aira__document_load(const char *path, const char *const *overrides, int n_overrides,
                                    aira__diagnostics *diagnostics) {
    int before = aira__diagnostics_count(diagnostics);
    aira__document *document = aira__document_new();
    char *stored = document != NULL ? aira__document_text(document, path, strlen(path)) : NULL;
    if (stored == NULL) {
        aira__document_destroy(document);
        aira__diagnose_memory(diagnostics);
        return NULL;
    }
    document->root = load_file(document, stored, NULL, NULL, diagnostics);
    for (int i = 0; i < n_overrides && document->root != NULL; i++) apply_override(document, overrides[i], diagnostics);
    if (aira__diagnostics_count(diagnostics) == before && document->root != NULL) return document;
    aira__document_destroy(document);
    return NULL;
}

aira__document *aira__document_parse(const char *text, const char *name, aira__diagnostics *diagnostics) {
    aira__document *document = aira__document_new();
    char *stored = document != NULL ? aira__document_text(document, name, strlen(name)) : NULL;
    if (stored != NULL)
        document->root = aira__yaml_parse(document, text, strlen(text), stored, diagnostics);
    else
        aira__diagnose_memory(diagnostics);
    if (stored != NULL && document->root != NULL) return document;
    aira__document_destroy(document);
    return NULL;
}
