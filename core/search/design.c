/* core/search/design.c - answers that are source; see design.h. */
#include "core/search/design.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/json.h"
#include "core/config/config.h"
#include "core/search/fence.h"
#include "core/train/task_design.h"

static aira_status no_memory(aira_error *error) { return aira__fail(error, AIRA_E_MEMORY, "out of memory"); }

char *aira__source_normalise(const char *text, size_t n) {
    char *out = malloc(n + 2);
    size_t to = 0;
    if (!out) return NULL;
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t line = end ? (size_t)(end - text) - at : n - at, kept = line;
        while (kept && strchr(" \t\r\f\v", text[at + kept - 1])) kept--;
        if (kept || to) { /* no blank line before the first one with text */
            memcpy(out + to, text + at, kept);
            to += kept;
            out[to++] = '\n';
        }
        at += line + 1;
    }
    while (to && out[to - 1] == '\n') to--;
    if (to) out[to++] = '\n';
    out[to] = 0;
    return out;
}

void aira__mechanism_name(const char *source, char name[49]) {
    static const char mark[] = "AIRA_MANIFEST(";
    const char *at = strstr(source, mark);
    strcpy(name, "mechanism");
    for (int word = 0; at && word < 2; word++) {
        const char *open = strchr(at + (word ? 1 : 0), '"'), *line = strchr(at, '\n');
        if (!open || (line && open > line)) return;
        size_t n = strcspn(open + 1, "\"\n");
        if (word == 1 && n > 0 && n < 48 && open[1] >= 'a' && open[1] <= 'z' &&
            strspn(open + 1, "abcdefghijklmnopqrstuvwxyz0123456789_") == n) {
            memcpy(name, open + 1, n);
            name[n] = 0;
        }
        at = open + 1 + n;
    }
}

/* ---- the blocks ---- */

typedef struct blocks {
    aira__fence c, diff, yaml;
    int n_c, n_diff, n_yaml, n_other;
    char other[24]; /* tag of the last block of another kind */
    bool unclosed;
} blocks;

static bool is_one_of(const char *tag, const char *const *names) {
    for (; *names; names++)
        if (!strcmp(tag, *names)) return true;
    return false;
}

static void collect(const char *text, blocks *out) {
    static const char *const c[] = {"c", "c11", "c17", "c99", NULL}, *const diff[] = {"diff", "patch", NULL};
    static const char *const yaml[] = {"yaml", "yml", NULL};
    aira__fence fence;
    *out = (blocks){0};
    while (aira__fence_next(&text, &fence)) {
        bool known = true;
        if (is_one_of(fence.tag, c)) {
            out->c = fence;
            out->n_c++;
        } else if (is_one_of(fence.tag, diff)) {
            out->diff = fence;
            out->n_diff++;
        } else if (is_one_of(fence.tag, yaml)) {
            out->yaml = fence;
            out->n_yaml++;
        } else {
            known = false;
            out->n_other++;
            memcpy(out->other, fence.tag, sizeof out->other);
        }
        out->unclosed = out->unclosed || (known && !fence.closed);
    }
}

static aira_status check_blocks(const blocks *b, bool parent, bool options, aira_error *error) {
    static const char whole[] = "give the whole file in one fenced block tagged c";
    if (b->unclosed)
        return aira__fail(error, AIRA_E_FAILED, "a fenced block is not closed; the answer may have been cut off");
    if (b->n_c + b->n_diff == 0 && b->n_other > 0 && b->other[0])
        return aira__fail(error, AIRA_E_FAILED, "the fenced block is tagged `%s`; the mechanism must be C: %s",
                          b->other, whole);
    if (b->n_c + b->n_diff == 0 && b->n_other > 0)
        return aira__fail(error, AIRA_E_FAILED, "the fenced block has no tag; %s", whole);
    if (b->n_c + b->n_diff == 0)
        return aira__fail(error, AIRA_E_FAILED, "the answer holds no fenced block tagged c; %s", whole);
    if (b->n_c > 1)
        return aira__fail(error, AIRA_E_FAILED,
                          "the answer holds %d fenced blocks tagged c; give exactly one, the whole "
                          "file",
                          b->n_c);
    if (b->n_c && b->n_diff)
        return aira__fail(error, AIRA_E_FAILED,
                          "the answer holds a block tagged c and one tagged diff; give one of them");
    if (b->n_diff > 1)
        return aira__fail(error, AIRA_E_FAILED, "the answer holds %d blocks tagged diff; give one, with all its hunks",
                          b->n_diff);
    if (b->n_diff && !parent)
        return aira__fail(error, AIRA_E_FAILED, "there is no earlier source that a diff could change; %s", whole);
    if (b->n_yaml > 1)
        return aira__fail(error, AIRA_E_FAILED, "the answer holds %d blocks tagged yaml; give one, with all options",
                          b->n_yaml);
    if (b->n_yaml && !options)
        return aira__fail(error, AIRA_E_FAILED, "this task has no options to set: leave the yaml block out");
    return AIRA_OK;
}

/* ---- the options ---- */

static aira_status set_option(aira__node *node, const json_t *declared, json_t *options, aira_error *error) {
    const json_t *one = json_object_get(declared, node->key);
    json_t *value = aira__node_to_json(node), *stored = NULL;
    aira_status status = AIRA_OK;
    if (!one) {
        aira__buf names = {0};
        const char *name;
        json_t *ignored;
        json_object_foreach((json_t *)(uintptr_t)declared, name, ignored)
            aira__buf_printf(&names, "%s%s", names.size ? ", " : "", name);
        status = aira__fail(error, AIRA_E_FAILED, "there is no option `%s`; there are %s", node->key,
                            names.data ? names.data : "none");
        aira__buf_free(&names);
    }
    if (status == AIRA_OK) status = aira__design_option_value(node->key, one, value, &stored, error);
    if (status == AIRA_OK && json_object_set(options, node->key, stored)) status = no_memory(error);
    json_decref(stored);
    json_decref(value);
    return status;
}

static aira_status read_options(const aira__fence *fence, const json_t *declared, json_t *options, aira_error *error) {
    char *text = strndup(fence->body, fence->size);
    aira__diagnostics *d = aira__diagnostics_create();
    aira_status status = text && d ? AIRA_OK : no_memory(error);
    aira__document *document = status == AIRA_OK ? aira__document_parse(text, "answer", d) : NULL;
    aira__node *root = document ? aira__document_root(document) : NULL;
    if (status == AIRA_OK && aira__diagnostics_count(d)) {
        (void)aira__diagnostics_status(d, error);
        if (error) error->status = AIRA_E_FAILED;
        status = AIRA_E_FAILED;
    } else if (status == AIRA_OK && (!root || root->kind != AIRA_NODE_MAP)) {
        status = aira__fail(error, AIRA_E_FAILED, "the yaml block must be a mapping of options, one per line");
    }
    for (int i = 0; status == AIRA_OK && i < root->n_items; i++)
        status = set_option(root->items[i], declared, options, error);
    aira__document_destroy(document);
    aira__diagnostics_destroy(d);
    free(text);
    return status;
}

/* All declared options: the parent's values where it has them, else the task's. */
static json_t *start_options(const json_t *parent, const json_t *declared) {
    json_t *out = aira__design_defaults(declared), *value;
    const char *name;
    json_object_foreach(out, name, value) {
        json_t *inherited = json_object_get(parent, name);
        if (inherited && json_object_set(out, name, inherited)) break;
    }
    return out;
}

/* ---- the whole ---- */

static aira_status make_source(const blocks *b, const char *parent, char **source, aira_error *error) {
    aira_status status = AIRA_OK;
    if (b->n_diff) {
        status = aira__diff_apply(parent, b->diff.body, b->diff.size, source, error);
        if (status != AIRA_OK) return status;
    } else {
        if (b->c.size > AIRA__SOURCE_MAX)
            return aira__fail(error, AIRA_E_FAILED, "the source has %zu bytes, more than the %d that are allowed",
                              b->c.size, AIRA__SOURCE_MAX);
        *source = aira__source_normalise(b->c.body, b->c.size);
        if (!*source) return no_memory(error);
    }
    if (!**source) return aira__fail(error, AIRA_E_FAILED, "the source is empty");
    if (strlen(*source) > AIRA__SOURCE_MAX)
        return aira__fail(error, AIRA_E_FAILED, "the source has %zu bytes, more than the %d that are allowed",
                          strlen(*source), AIRA__SOURCE_MAX);
    return AIRA_OK;
}

aira_status aira__design_parse(const char *text, const char *parent_source, const json_t *parent_options,
                               const json_t *declared, char **source, json_t **options, aira_error *error) {
    char *clean = aira__strip_reasoning(text);
    blocks b = {0};
    *source = NULL;
    *options = NULL;
    if (!clean) return no_memory(error);
    collect(clean, &b);
    aira_status status = check_blocks(&b, parent_source != NULL, json_object_size(declared) > 0, error);
    if (status == AIRA_OK) status = make_source(&b, parent_source, source, error);
    if (status == AIRA_OK && !(*options = start_options(parent_options, declared))) status = no_memory(error);
    if (status == AIRA_OK && b.n_yaml) status = read_options(&b.yaml, declared, *options, error);
    if (status != AIRA_OK) {
        free(*source);
        json_decref(*options);
        *source = NULL;
        *options = NULL;
    }
    free(clean);
    return status;
}
