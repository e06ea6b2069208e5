/* core/config/reader.c - single values for readers that know their keys: typed, with a sentence where they are not. */
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/config/internal.h"

/* "'heads' must be a whole number, not 'x'". */
static void wrong(aira__diagnostics *diagnostics, const aira__node *node, const char *wanted) {
    bool map = node->kind == AIRA_NODE_MAP, list = node->kind == AIRA_NODE_LIST;
    bool empty = !map && !list && !node->quoted && node->text[0] == 0;
    const char *quote = map || list || empty ? "" : "'";
    const char *found = map ? "a mapping" : list ? "a list" : empty ? "empty" : node->text;
    aira__diagnose(diagnostics, node, "%s%s%s must be %s, not %s%.100s%s", node->key != NULL ? "'" : "",
                   node->key != NULL ? node->key : "this item", node->key != NULL ? "'" : "", wanted, quote, found,
                   quote);
}

/* The text of a plain (not quoted) scalar, or NULL, reported. */
static const char *plain(aira__node *node, const char *wanted, aira__diagnostics *diagnostics) {
    node->used = true;
    if (node->kind == AIRA_NODE_SCALAR && !node->quoted) return node->text;
    wrong(diagnostics, node, wanted);
    return NULL;
}

const char *aira__node_string(aira__node *node, const char *fallback, aira__diagnostics *diagnostics) {
    if (node == NULL) return fallback;
    node->used = true;
    if (node->kind == AIRA_NODE_SCALAR && aira__scalar_type_of(node) != AIRA__NULL) return node->text;
    wrong(diagnostics, node, "a text");
    return fallback;
}

int64_t aira__node_int(aira__node *node, int64_t fallback, int64_t min, int64_t max, aira__diagnostics *diagnostics) {
    if (node == NULL) return fallback;
    const char *text = plain(node, "a whole number", diagnostics);
    int64_t value;
    if (text == NULL) return fallback;
    if (!aira__text_int(text, &value)) {
        wrong(diagnostics, node, "a whole number");
        return fallback;
    }
    if (value >= min && value <= max) return value;
    char wanted[96];
    if (max == INT64_MAX)
        snprintf(wanted, sizeof wanted, "at least %lld", (long long)min);
    else if (min == INT64_MIN)
        snprintf(wanted, sizeof wanted, "at most %lld", (long long)max);
    else
        snprintf(wanted, sizeof wanted, "within %lld to %lld", (long long)min, (long long)max);
    wrong(diagnostics, node, wanted);
    return fallback;
}

double aira__node_real(aira__node *node, double fallback, aira__diagnostics *diagnostics) {
    double value;
    const char *text = node != NULL ? plain(node, "a number", diagnostics) : NULL;
    if (text == NULL) return fallback;
    if (aira__text_real(text, &value)) return value;
    wrong(diagnostics, node, "a number");
    return fallback;
}

bool aira__node_bool(aira__node *node, bool fallback, aira__diagnostics *diagnostics) {
    bool value;
    const char *text = node != NULL ? plain(node, "true or false", diagnostics) : NULL;
    if (text == NULL) return fallback;
    if (aira__text_bool(text, &value)) return value;
    wrong(diagnostics, node, "true or false");
    return fallback;
}

int64_t aira__node_count(aira__node *node, int64_t fallback, aira__diagnostics *diagnostics) {
    int64_t value;
    const char *wanted = aira__type_words(AIRA_T_COUNT);
    const char *text = node != NULL ? plain(node, wanted, diagnostics) : NULL;
    if (text == NULL) return fallback;
    if (aira__text_count(text, &value) && value >= 0) return value;
    wrong(diagnostics, node, wanted);
    return fallback;
}

double aira__node_duration(aira__node *node, double fallback, aira__diagnostics *diagnostics) {
    double value;
    const char *wanted = aira__type_words(AIRA_T_DURATION);
    const char *text = node != NULL ? plain(node, wanted, diagnostics) : NULL;
    if (text == NULL) return fallback;
    if (aira__text_duration(text, &value)) return value;
    wrong(diagnostics, node, wanted);
    return fallback;
}

int64_t aira__node_bytes(aira__node *node, int64_t fallback, aira__diagnostics *diagnostics) {
    int64_t value;
    const char *wanted = aira__type_words(AIRA_T_BYTES);
    const char *text = node != NULL ? plain(node, wanted, diagnostics) : NULL;
    if (text == NULL) return fallback;
    if (aira__text_bytes(text, &value)) return value;
    wrong(diagnostics, node, wanted);
    return fallback;
}

/* "a/b/../c" to "a/c" and "./a" to "a", but never across a symbolic link, where ".." means something else. */
static char *tidy(const char *path) {
    aira__buf out = {0};
    if (path[0] == '/') aira__buf_text(&out, "/");
    for (const char *p = path; *p != 0;) {
        size_t n = strcspn(p, "/");
        bool here = n == 0 || (n == 1 && p[0] == '.'), up = n == 2 && p[0] == '.' && p[1] == '.';
        char *slash = out.size > 0 ? strrchr(out.data, '/') : NULL;
        const char *last = slash != NULL ? slash + 1 : out.size > 0 ? out.data : "";
        if (up && last[0] != 0 && strcmp(last, "..") != 0 && !aira__is_link(out.data)) {
            out.size = slash == NULL ? 0 : slash == out.data ? 1 : (size_t)(slash - out.data);
            out.data[out.size] = 0;
        } else if (!here) {
            if (out.size > 0 && out.data[out.size - 1] != '/') aira__buf_text(&out, "/");
            aira__buf_add(&out, p, n);
        }
        p += n;
        while (*p == '/') p++;
    }
    if (out.size == 0) aira__buf_text(&out, ".");
    return aira__buf_take(&out);
}

char *aira__node_path(aira__node *node, aira__diagnostics *diagnostics) {
    const char *text = aira__node_string(node, NULL, diagnostics);
    if (text == NULL) return NULL;
    if (text[0] == 0) {
        wrong(diagnostics, node, "a path");
        return NULL;
    }
    char *folder = node->line > 0 ? aira__path_folder(node->file) : strdup(".");
    char *joined = folder != NULL ? aira__path_join(folder, text) : NULL;
    char *path = joined != NULL ? tidy(joined) : NULL;
    free(folder);
    free(joined);
    if (path == NULL) aira__diagnose_memory(diagnostics);
    return path;
}
