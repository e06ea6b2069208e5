/* core/config/diagnostics.c - errors collected with their places, so that a user sees all of them at once.
 *
 * A sentence may hold further lines (the accepted keys); they are indented under the first. Only the first max_errors
 * are kept: behind that many, more do not help.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/config/internal.h"

enum { max_errors = 200 };

typedef struct {
    char *file, *sentence;
    int line, column;
} entry;

struct aira__diagnostics {
    entry *entries;
    int n, capacity;
    int count;      /* reported, kept or not */
    aira__buf text; /* all lines */
};

aira__diagnostics *aira__diagnostics_create(void) { return calloc(1, sizeof(aira__diagnostics)); }

void aira__diagnostics_destroy(aira__diagnostics *d) {
    if (d == NULL) return;
    for (int i = 0; i < d->n; i++) {
        free(d->entries[i].file);
        free(d->entries[i].sentence);
    }
    free(d->entries);
    aira__buf_free(&d->text);
    free(d);
}

int aira__diagnostics_count(const aira__diagnostics *d) { return d->count; }

static void keep(aira__diagnostics *d, const char *file, int line, int column, char *sentence) {
    d->count++;
    if (d->n == max_errors) {
        if (d->count == max_errors + 1)
            aira__buf_text(&d->text, "error: too many errors; further ones are not shown\n");
        free(sentence);
        return;
    }
    if (d->n == d->capacity) {
        int capacity = d->capacity == 0 ? 8 : 2 * d->capacity;
        entry *more = realloc(d->entries, (size_t)capacity * sizeof *more);
        if (more == NULL) { /* counted, so the caller still fails */
            free(sentence);
            return;
        }
        d->entries = more;
        d->capacity = capacity;
    }
    if (file[0] != 0) aira__buf_text(&d->text, file);
    if (line > 0) aira__buf_printf(&d->text, ":%d:%d", line, column);
    aira__buf_printf(&d->text, "%serror: %s\n", file[0] != 0 ? ": " : "",
                     sentence != NULL ? sentence : "out of memory");
    d->entries[d->n++] = (entry){strdup(file), sentence, line, column};
}

static char *format_text(const char *format, va_list arguments) {
    char *sentence = NULL;
    return vasprintf(&sentence, format, arguments) < 0 ? NULL : sentence;
}

void aira__diagnose_at(aira__diagnostics *d, const char *file, int line, int column, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    keep(d, file, line, column, format_text(format, arguments));
    va_end(arguments);
}

void aira__diagnose(aira__diagnostics *d, const aira__node *node, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *sentence = format_text(format, arguments);
    va_end(arguments);
    if (node == NULL)
        keep(d, "", 0, 0, sentence);
    else
        keep(d, node->file, node->line, node->column, sentence);
}

void aira__diagnose_memory(aira__diagnostics *d) { keep(d, "", 0, 0, NULL); }

void aira__diagnostics_get(const aira__diagnostics *d, int i, const char **file, int *line, int *column,
                           const char **sentence) {
    bool known = i >= 0 && i < d->n;
    const entry *e = known ? &d->entries[i] : NULL;
    if (file != NULL) *file = known && e->file != NULL ? e->file : "";
    if (line != NULL) *line = known ? e->line : 0;
    if (column != NULL) *column = known ? e->column : 0;
    if (sentence != NULL) *sentence = known && e->sentence != NULL ? e->sentence : "further errors are not shown";
}

const char *aira__diagnostics_text(const aira__diagnostics *d) { return d->text.data != NULL ? d->text.data : ""; }

void aira__diagnostics_print(const aira__diagnostics *d, FILE *file) { fputs(aira__diagnostics_text(d), file); }

aira_status aira__diagnostics_status(const aira__diagnostics *d, aira_error *error) {
    if (d->count == 0) return AIRA_OK;
    const char *text = aira__diagnostics_text(d);
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '\n') n--; /* callers print a sentence with a newline of their own */
    return aira__fail(error, AIRA_E_CONFIG, "%.*s", (int)n, text);
}

void aira__diagnose_unknown(aira__diagnostics *d, const aira__node *child, const char *const *names,
                            const bool *required, int n) {
    aira__buf list = {0};
    bool star = false;
    for (int i = 0; i < n; i++) {
        bool needed = required != NULL && required[i];
        star = star || needed;
        aira__buf_printf(&list, " %s%s", names[i], needed ? "*" : "");
    }
    if (n == 0) aira__buf_text(&list, " none");
    if (star) aira__buf_text(&list, "   (* required)");
    const char *nearest = aira__nearest(child->key, names, n);
    aira__diagnose_at(d, child->file, child->key_line, child->key_column,
                      "unknown key '%s'%s%s%s\n    accepted keys:%s", child->key,
                      nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
                      nearest != NULL ? "'?" : "", list.data != NULL ? list.data : "");
    aira__buf_free(&list);
}
