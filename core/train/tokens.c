/* core/train/tokens.c - the alphabet of a task or a model: tokens and the primitives that they stand for. */
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/compose/notation.h"
#include "core/train/task.h"

static const char *const of_token[] = {"at_scale", NULL};

/* {"use": ..., keys as written}; the keys are checked against the primitive's. NULL without error where absent. */
static json_t *read_at_scale(aira__registry *registry, aira__node *node, aira__diagnostics *d) {
    aira__instance *checked = aira__instance_create(registry, "primitive", node, NULL, d);
    if (checked == NULL) return NULL;
    if (json_object_get(checked->canonical, "text") != NULL) { /* a source: the text is meant, wherever its file goes */
        json_t *source = json_copy(checked->canonical);
        aira__node *config = aira__map_get(node, "config");
        json_object_set_new(source, "config", config != NULL ? aira__node_to_json(config) : json_object());
        aira__instance_destroy(checked);
        return source;
    }
    json_t *written = node->kind == AIRA_NODE_MAP ? aira__node_to_json(node) : json_pack("{s:s}", "use", node->text);
    aira__instance_destroy(checked);
    if (written == NULL) aira__diagnose(d, node, "out of memory while reading a token");
    return written;
}

/* Takes instance and at_scale over. */
static bool fill(aira__task_token *token, const char *name, aira__instance *primitive, json_t *at_scale) {
    token->token = strdup(name);
    token->primitive = primitive;
    token->at_scale = at_scale;
    json_t *config = primitive != NULL ? json_copy(primitive->canonical) : NULL;
    if (config != NULL) json_object_del(config, "use");
    if (config != NULL && json_object_get(config, "sha256") != NULL)
        json_object_del(config, "text"); /* named by hash */
    token->config = aira__json_canonical(config);
    json_decref(config);
    return token->token != NULL && token->config != NULL;
}

bool aira__tokens_read(aira__registry *registry, aira__node *map, aira__task_token **tokens, int *n,
                       aira__diagnostics *d) {
    int before = aira__diagnostics_count(d);
    *n = 0;
    *tokens = calloc(map != NULL && map->n_items > 0 ? (size_t)map->n_items : 1, sizeof **tokens);
    if (*tokens == NULL) {
        aira__diagnose(d, map, "out of memory while reading tokens");
        return false;
    }
    if (map == NULL || map->kind != AIRA_NODE_MAP || map->n_items == 0) {
        aira__diagnose(d, map, "'tokens' is a mapping such as {mA: {use: attention}, M: {use: mlp}}");
        return false;
    }
    for (int k = 0; k < map->n_items; k++) {
        aira__node *node = map->items[k];
        node->used = true;
        if (!aira__token_valid(node->key)) {
            aira__diagnose(d, node, "'%s' is not a token: a letter, then letters or digits", node->key);
        }
        aira__node *large = node->kind == AIRA_NODE_MAP ? aira__map_get(node, "at_scale") : NULL;
        json_t *at_scale = large != NULL ? read_at_scale(registry, large, d) : NULL;
        aira__instance *primitive = aira__instance_create(registry, "primitive", node, of_token, d);
        if (primitive == NULL) {
            json_decref(at_scale);
        } else if (!fill(&(*tokens)[(*n)++], node->key, primitive, at_scale)) {
            aira__diagnose(d, node, "out of memory while reading a token");
        }
    }
    return aira__diagnostics_count(d) == before;
}

aira_status aira__tokens_read_json(aira__registry *registry, const json_t *map, aira__task_token **tokens, int *n,
                                   aira_error *error) {
    *n = 0;
    *tokens = calloc(json_object_size(map) + 1, sizeof **tokens);
    if (*tokens == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading tokens");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value) {
        aira__instance *primitive = NULL;
        aira_status status = aira__instance_create_json(registry, "primitive", value, &primitive, error);
        if (status != AIRA_OK) return status;
        if (!fill(&(*tokens)[(*n)++], name, primitive, json_incref(json_object_get(value, "at_scale")))) {
            return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading tokens");
        }
    }
    return AIRA_OK;
}

json_t *aira__tokens_json(const aira__task_token *tokens, int n) {
    json_t *map = json_object();
    for (int k = 0; map != NULL && k < n; k++) {
        json_t *one = json_copy(tokens[k].primitive->canonical);
        if (one == NULL || (tokens[k].at_scale != NULL && json_object_set(one, "at_scale", tokens[k].at_scale) != 0) ||
            json_object_set_new(map, tokens[k].token, one) != 0) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

void aira__tokens_release(aira__task_token *tokens, int n) {
    for (int k = 0; k < n; k++) {
        free(tokens[k].token);
        free(tokens[k].config);
        aira__instance_destroy(tokens[k].primitive);
        json_decref(tokens[k].at_scale);
    }
    free(tokens);
}
