/* core/config/parse.c - YAML text into a tree with marks, over libyaml's events.
 *
 * libyaml neither finds duplicate keys nor types scalars nor bounds anything, and a deep nest costs it quadratic time:
 * the caps below stop the event loop instead. Mistakes that leave the structure clear (a tag, a duplicate key) are
 * reported and parsing goes on; a syntax error ends it. The stack is explicit: no recursion on what a user wrote.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/config/internal.h"

enum { max_depth = 64, max_nodes = 50000, max_keys = 4096, max_scalar = 1 << 20, max_key = 256 };

typedef struct {
    aira__node *node;
    const char *key; /* read, its value is next; NULL: a key is next */
    int key_line, key_column;
} frame;

typedef struct {
    aira__document *document;
    aira__diagnostics *diagnostics;
    const char *file, *text;
    frame stack[max_depth];
    int depth, n_nodes;
    aira__node *root;
    bool failed; /* stop */
} parser_state;

static void report(parser_state *state, yaml_mark_t mark, const char *sentence) {
    aira__diagnose_at(state->diagnostics, state->file, (int)mark.line + 1, (int)mark.column + 1, "%s", sentence);
}

static void stop(parser_state *state, yaml_mark_t mark, const char *sentence) {
    report(state, mark, sentence);
    state->failed = true;
}

static void stop_memory(parser_state *state) {
    aira__diagnose_memory(state->diagnostics);
    state->failed = true;
}

static void syntax_error(parser_state *state, const yaml_parser_t *yaml) {
    const char *problem = yaml->problem != NULL ? yaml->problem : "not valid YAML";
    int line = (int)yaml->problem_mark.line + 1, column = (int)yaml->problem_mark.column + 1;
    state->failed = true;
    if (yaml->error == YAML_MEMORY_ERROR) {
        aira__diagnose_memory(state->diagnostics);
    } else if (yaml->error == YAML_READER_ERROR) { /* has an offset instead of a mark */
        line = column = 1;
        for (size_t i = 0; i < yaml->problem_offset && state->text[i] != 0; i++) {
            column = state->text[i] == '\n' ? 1 : column + 1;
            line += state->text[i] == '\n';
        }
        aira__diagnose_at(state->diagnostics, state->file, line, column, "%s", problem);
    } else if (yaml->context != NULL) {
        aira__diagnose_at(state->diagnostics, state->file, line, column, "%s (%s that began at %d:%d)", problem,
                          yaml->context, (int)yaml->context_mark.line + 1, (int)yaml->context_mark.column + 1);
    } else {
        aira__diagnose_at(state->diagnostics, state->file, line, column, "%s", problem);
    }
}

/* A scalar in the place of a key. */
static void take_key(parser_state *state, frame *top, const aira__node *scalar, yaml_mark_t mark) {
    size_t n = strlen(scalar->text);
    if (n == 0 || n > max_key) {
        stop(state, mark, n == 0 ? "a key is missing before ':'" : "a key of more than 256 bytes");
        return;
    }
    if (!scalar->quoted && strcmp(scalar->text, "<<") == 0)
        report(state, mark, "'<<' is not accepted; use extends: at the top of the file, or write the keys out");
    top->key = scalar->text;
    top->key_line = scalar->line;
    top->key_column = scalar->column;
}

/* Hangs a finished or opening value below the top of the stack. */
static void place(parser_state *state, aira__node *node, yaml_mark_t mark) {
    if (state->depth == 0) {
        state->root = node;
        return;
    }
    frame *top = &state->stack[state->depth - 1];
    aira__node *parent = top->node;
    if (parent->kind == AIRA_NODE_MAP) {
        node->key = top->key;
        node->key_line = top->key_line;
        node->key_column = top->key_column;
        top->key = NULL;
        const aira__node *first = aira__map_find(parent, node->key);
        if (first != NULL) {
            aira__diagnose_at(state->diagnostics, state->file, node->key_line, node->key_column,
                              "key '%s' is given twice, first at %d:%d", node->key, first->key_line, first->key_column);
            return; /* the node stays in the arena, outside the tree */
        }
        if (parent->n_items == max_keys) {
            stop(state, mark, "a mapping of more than 4096 keys");
            return;
        }
    }
    if (!aira__node_append(state->document, parent, node)) stop_memory(state);
}

static void open_collection(parser_state *state, aira__node_kind kind, yaml_mark_t mark) {
    if (state->depth == max_depth) {
        stop(state, mark, "nested deeper than 64 levels");
        return;
    }
    bool key_wanted = state->depth > 0 && state->stack[state->depth - 1].node->kind == AIRA_NODE_MAP &&
                      state->stack[state->depth - 1].key == NULL;
    if (key_wanted) {
        stop(state, mark, "a key must be a single word, not a list or a mapping");
        return;
    }
    aira__node *node = aira__node_new(state->document, kind, state->file, (int)mark.line + 1, (int)mark.column + 1);
    if (node == NULL) {
        stop_memory(state);
        return;
    }
    place(state, node, mark);
    state->stack[state->depth++] = (frame){.node = node};
}

static void take_scalar(parser_state *state, const yaml_event_t *event) {
    yaml_mark_t mark = event->start_mark;
    const char *value = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;
    if (n > max_scalar) {
        stop(state, mark, "a text of more than 1 MiB");
        return;
    }
    if (memchr(value, 0, n) != NULL) {
        stop(state, mark, "a text with a zero byte");
        return;
    }
    aira__node *node = aira__node_new(state->document, AIRA_NODE_SCALAR, state->file, (int)mark.line + 1,
                                      (int)mark.column + 1);
    if (node != NULL) node->text = aira__document_text(state->document, value, n);
    if (node == NULL || node->text == NULL) {
        stop_memory(state);
        return;
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    frame *top = state->depth > 0 ? &state->stack[state->depth - 1] : NULL;
    if (top != NULL && top->node->kind == AIRA_NODE_MAP && top->key == NULL)
        take_key(state, top, node, mark);
    else
        place(state, node, mark);
}

static void refuse_properties(parser_state *state, const yaml_char_t *anchor, const yaml_char_t *tag,
                              yaml_mark_t mark) {
    if (anchor != NULL) report(state, mark, "anchors (&name) are not accepted; write the value out, or use extends:");
    if (tag != NULL) report(state, mark, "tags (!name) are not accepted; the key's meaning decides the type");
}

/* One event; false when the stream has ended. */
static bool take_event(parser_state *state, const yaml_event_t *event, int *documents) {
    yaml_mark_t mark = event->start_mark;
    if (event->type == YAML_SCALAR_EVENT || event->type == YAML_SEQUENCE_START_EVENT ||
        event->type == YAML_MAPPING_START_EVENT || event->type == YAML_ALIAS_EVENT) {
        if (++state->n_nodes > 2 * max_nodes)
            stop(state, mark, "more than 50,000 values"); /* a key counts as one too */
    }
    if (state->failed) return false;
    switch (event->type) {
    case YAML_STREAM_END_EVENT:
        return false;
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents > 1) stop(state, mark, "a second document begins here; only one per file is accepted");
        break;
    case YAML_ALIAS_EVENT:
        stop(state, mark, "aliases (*name) are not accepted; write the value out, or use extends:");
        break;
    case YAML_SCALAR_EVENT:
        refuse_properties(state, event->data.scalar.anchor, event->data.scalar.tag, mark);
        take_scalar(state, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_properties(state, event->data.sequence_start.anchor, event->data.sequence_start.tag, mark);
        open_collection(state, AIRA_NODE_LIST, mark);
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_properties(state, event->data.mapping_start.anchor, event->data.mapping_start.tag, mark);
        open_collection(state, AIRA_NODE_MAP, mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        state->depth--;
        break;
    default:
        break;
    }
    return !state->failed;
}

aira__node *aira__yaml_parse(aira__document *document, const char *text, size_t n, const char *file,
                             aira__diagnostics *diagnostics) {
    int before = aira__diagnostics_count(diagnostics);
    yaml_parser_t yaml;
    parser_state *state = calloc(1, sizeof *state);
    if (state == NULL || !yaml_parser_initialize(&yaml)) {
        free(state);
        aira__diagnose_memory(diagnostics);
        return NULL;
    }
    *state = (parser_state){.document = document, .diagnostics = diagnostics, .file = file, .text = text};
    yaml_parser_set_input_string(&yaml, (const unsigned char *)text, n);
    yaml_parser_set_encoding(&yaml, YAML_UTF8_ENCODING);
    int documents = 0;
    for (bool more = true; more;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&yaml, &event)) {
            syntax_error(state, &yaml);
            break;
        }
        more = take_event(state, &event, &documents);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&yaml);
    aira__node *root = state->root;
    if (!state->failed && root == NULL) aira__diagnose_at(diagnostics, file, 1, 1, "nothing is in here");
    free(state);
    return aira__diagnostics_count(diagnostics) == before ? root : NULL;
}
