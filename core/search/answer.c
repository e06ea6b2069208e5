/* core/search/answer.c - see answer.h. */
#include "core/search/answer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/compose/notation.h"
#include "core/config/config.h"
#include "core/search/design.h"
#include "core/search/fence.h"

char *aira__answer_prose(const char *text) {
    char *clean = aira__strip_reasoning(text);
    if (!clean) return NULL;
    const char *from = clean + strspn(clean, " \t\r\n"), *end = aira__fence_find(clean);
    size_t n = end > from ? (size_t)(end - from) : 0;
    while (n && strchr(" \t\r\n", from[n - 1])) n--;
    memmove(clean, from, n);
    clean[n] = 0;
    return clean;
}

/* The next fenced yaml block at or after *p, malloc'ed, or NULL at the end. *p moves behind it. */
static char *next_block(const char **p, bool *unclosed) {
    aira__fence fence;
    while (aira__fence_next(p, &fence)) {
        if (strcmp(fence.tag, "yaml") && strcmp(fence.tag, "yml")) continue;
        *unclosed = *unclosed || !fence.closed;
        return strndup(fence.body, fence.size);
    }
    return NULL;
}

/* The text of `layers`, malloc'ed: a string, or a list of tokens joined with blanks. */
static char *layers_text(aira__node *node, aira__diagnostics *diagnostics) {
    aira__buf text = {0};
    if (node->kind == AIRA_NODE_LIST) {
        for (int i = 0; i < node->n_items; i++) {
            const char *item = aira__node_string(node->items[i], "", diagnostics);
            aira__buf_printf(&text, "%s%s", i ? " " : "", item);
        }
    } else {
        aira__buf_text(&text, aira__node_string(node, "", diagnostics));
    }
    return aira__buf_take(&text);
}

/* Reads a block: *layers gets its `layers` text, or NULL if it has no such key. */
static aira_status read_block(const char *block, char **layers, aira_error *error) {
    static const char *const accepted[] = {"layers", NULL};
    aira__diagnostics *diagnostics = aira__diagnostics_create();
    aira_status status = AIRA_OK;
    *layers = NULL;
    if (!diagnostics) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira__document *document = aira__document_parse(block, "answer", diagnostics);
    aira__node *root = document ? aira__document_root(document) : NULL;
    if (root && root->kind == AIRA_NODE_MAP) {
        aira__node *node = aira__map_get(root, "layers");
        if (node) {
            aira__map_finish(root, accepted, diagnostics);
            *layers = layers_text(node, diagnostics);
            if (!*layers) status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
        }
    }
    if (status == AIRA_OK && aira__diagnostics_count(diagnostics)) {
        (void)aira__diagnostics_status(diagnostics, error);
        if (error) error->status = AIRA_E_FAILED;
        status = AIRA_E_FAILED;
    }
    if (status != AIRA_OK) {
        free(*layers);
        *layers = NULL;
    }
    aira__document_destroy(document);
    aira__diagnostics_destroy(diagnostics);
    return status;
}

/* The one `layers` of all blocks. */
static aira_status find_layers(const char *text, char **layers, aira_error *error) {
    int blocks = 0, found = 0;
    bool unclosed = false;
    char *block;
    aira_status status = AIRA_OK;
    *layers = NULL;
    while (status == AIRA_OK && (block = next_block(&text, &unclosed))) {
        char *here = NULL;
        blocks++;
        status = read_block(block, &here, error);
        free(block);
        if (here && ++found == 1)
            *layers = here;
        else
            free(here);
    }
    if (status == AIRA_OK && unclosed)
        status = aira__fail(error, AIRA_E_FAILED,
                            "the fenced yaml block is not closed; the answer may have been cut off");
    else if (status == AIRA_OK && blocks == 0)
        status = aira__fail(error, AIRA_E_FAILED, "the answer holds no fenced block tagged yaml");
    else if (status == AIRA_OK && found == 0)
        status = aira__fail(error, AIRA_E_FAILED, "the fenced yaml block has no key `layers`");
    else if (status == AIRA_OK && found > 1)
        status = aira__fail(error, AIRA_E_FAILED, "%d fenced yaml blocks hold `layers`; give exactly one", found);
    if (status != AIRA_OK) {
        free(*layers);
        *layers = NULL;
    }
    return status;
}

aira_status aira__answer_parse(const char *text, const char *const *tokens, int n_tokens, int n_layers,
                               uint16_t *layers, aira_error *error) {
    char *clean = aira__strip_reasoning(text), *notation = NULL;
    uint16_t *read = malloc(AIRA__NOTATION_MAX * sizeof *read);
    aira_status status = AIRA_E_MEMORY;
    int n = 0;
    if (!clean || !read) {
        (void)aira__fail(error, AIRA_E_MEMORY, "out of memory");
        goto done;
    }
    status = find_layers(clean, &notation, error);
    if (status != AIRA_OK) goto done;
    status = aira__notation_parse(notation, tokens, n_tokens, read, AIRA__NOTATION_MAX, &n, error);
    if (status != AIRA_OK) {
        if (error) error->status = AIRA_E_FAILED;
        status = AIRA_E_FAILED;
    } else if (n != n_layers) {
        status = aira__fail(error, AIRA_E_FAILED, "`layers` has %d layers and the task asks for %d", n, n_layers);
    } else {
        memcpy(layers, read, (size_t)n * sizeof *layers);
    }
done:
    free(clean);
    free(read);
    free(notation);
    return status;
}

aira_status aira__candidate_make(const uint16_t *layers, int n_layers, const char *const *tokens, aira__candidate *out,
                                 aira_error *error) {
    *out = (aira__candidate){0};
    json_t *list = json_array();
    bool ok = list != NULL;
    for (int i = 0; i < n_layers; i++) ok = ok && !json_array_append_new(list, json_string(tokens[layers[i]]));
    out->canonical = ok ? json_pack("{s:s, s:O}", "kind", "compose", "layers", list) : NULL;
    json_decref(list);
    out->text = out->canonical ? aira__json_canonical(out->canonical) : NULL;
    out->architecture = aira__notation_format(layers, n_layers, tokens);
    if (!out->text || !out->architecture) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira__sha256_hex(out->text, strlen(out->text), out->hash);
    return AIRA_OK;
}

aira_status aira__candidate_design(const char *source, const json_t *options, aira__candidate *out, aira_error *error) {
    char name[49] = "";
    *out = (aira__candidate){0};
    json_t *text = json_string(source); /* NULL: no UTF-8, which answers always are */
    out->canonical = text ? json_pack("{s:s, s:O, s:o}", "kind", "design", "options", options, "source", text) : NULL;
    out->text = out->canonical ? aira__json_canonical(out->canonical) : NULL;
    if (!out->text) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira__sha256_hex(out->text, strlen(out->text), out->hash);
    aira__mechanism_name(source, name);
    aira__buf title = {0};
    aira__buf_printf(&title, "%s-%.8s", name, out->hash);
    out->architecture = aira__buf_take(&title);
    return out->architecture ? AIRA_OK : aira__fail(error, AIRA_E_MEMORY, "out of memory");
}

void aira__candidate_release(aira__candidate *candidate) {
    json_decref(candidate->canonical);
    free(candidate->text);
    free(candidate->architecture);
    *candidate = (aira__candidate){0};
}
