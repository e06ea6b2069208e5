/* core/config/node.c - trees: storage, look-up, keys that nobody took, conversion to JSON. */
#include <stdlib.h>
#include <string.h>

#include "core/config/internal.h"

struct aira__arena_block {
    aira__arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

aira__document *aira__document_new(void) { return calloc(1, sizeof(aira__document)); }

void aira__document_destroy(aira__document *document) {
    if (document == NULL) return;
    for (aira__arena_block *block = document->blocks; block != NULL;) {
        aira__arena_block *next = block->next;
        free(block);
        block = next;
    }
    free(document);
}

aira__node *aira__document_root(aira__document *document) { return document->root; }

void *aira__document_alloc(aira__document *document, size_t size) {
    size = (size + 15) & ~(size_t)15;
    aira__arena_block *block = document->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > 8192 ? size : 8192;
        block = calloc(1, sizeof *block + room);
        if (block == NULL) return NULL;
        block->size = room;
        block->next = document->blocks;
        document->blocks = block;
    }
    void *p = block->bytes + block->used;
    block->used += size;
    return p;
}

char *aira__document_text(aira__document *document, const char *text, size_t n) {
    char *copy = aira__document_alloc(document, n + 1);
    if (copy != NULL && n > 0) memcpy(copy, text, n);
    return copy;
}

aira__node *aira__node_new(aira__document *document, aira__node_kind kind, const char *file, int line, int column) {
    aira__node *node = aira__document_alloc(document, sizeof *node);
    if (node != NULL) *node = (aira__node){.kind = kind, .file = file, .line = line, .column = column, .text = ""};
    return node;
}

bool aira__node_append(aira__document *document, aira__node *parent, aira__node *child) {
    int n = parent->n_items;
    if ((n & (n - 1)) == 0) { /* room doubles at every power of two */
        aira__node **items = aira__document_alloc(document, sizeof *items * (n == 0 ? 1 : 2 * (size_t)n));
        if (items == NULL) return false;
        if (n > 0) memcpy(items, parent->items, sizeof *items * (size_t)n);
        parent->items = items;
    }
    parent->items[parent->n_items++] = child;
    return true;
}

aira__node *aira__map_find(const aira__node *map, const char *key) {
    if (map == NULL || map->kind != AIRA_NODE_MAP) return NULL;
    for (int i = 0; i < map->n_items; i++)
        if (strcmp(map->items[i]->key, key) == 0) return map->items[i];
    return NULL;
}

aira__node *aira__map_get(aira__node *map, const char *key) {
    aira__node *node = aira__map_find(map, key);
    if (node != NULL) node->used = true;
    return node;
}

void aira__map_finish(aira__node *map, const char *const *accepted, aira__diagnostics *diagnostics) {
    if (map == NULL || map->kind != AIRA_NODE_MAP) return;
    int n = 0;
    while (accepted != NULL && accepted[n] != NULL) n++;
    for (int i = 0; i < map->n_items; i++) {
        aira__node *child = map->items[i];
        if (child->used) continue;
        bool known = false;
        for (int k = 0; k < n; k++) known = known || strcmp(accepted[k], child->key) == 0;
        if (known)
            aira__diagnose_at(diagnostics, child->file, child->key_line, child->key_column,
                              "key '%s' has no effect here; remove it", child->key);
        else
            aira__diagnose_unknown(diagnostics, child, accepted, NULL, n);
        child->used = true; /* said once */
    }
}

void aira__node_mark_used(aira__node *node) {
    if (node == NULL) return;
    node->used = true;
    for (int i = 0; i < node->n_items; i++) aira__node_mark_used(node->items[i]);
}

static json_t *scalar_to_json(const aira__node *node) {
    int64_t whole;
    uint64_t seed;
    double real;
    bool truth;
    switch (aira__scalar_type_of(node)) {
    case AIRA__NULL:
        return json_null();
    case AIRA__BOOL:
        return aira__text_bool(node->text, &truth) && truth ? json_true() : json_false();
    case AIRA__INT:
        if (aira__text_int(node->text, &whole)) return json_integer(whole);
        if (aira__text_seed(node->text, &seed)) return json_string(node->text); /* exact, where a real would not be */
        return json_real(strtod(node->text, NULL));
    case AIRA__REAL:
        if (aira__text_real(node->text, &real)) return json_real(real);
        break; /* .inf and .nan have no JSON number */
    case AIRA__STRING:
        break;
    }
    return json_string(node->text);
}

json_t *aira__node_to_json(const aira__node *node) {
    if (node == NULL) return json_null();
    if (node->kind == AIRA_NODE_SCALAR) return scalar_to_json(node);
    json_t *json = node->kind == AIRA_NODE_MAP ? json_object() : json_array();
    for (int i = 0; i < node->n_items; i++) {
        json_t *value = aira__node_to_json(node->items[i]);
        int bad = node->kind == AIRA_NODE_MAP ? json_object_set_new(json, node->items[i]->key, value)
                                              : json_array_append_new(json, value);
        if (bad != 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}
