/* core/sandbox/message.c - what of a compiler's output helps whoever wrote the source; see compile.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/sandbox/compile.h"

#define SOURCE "mechanism.c" /* its name inside */
#define MAX_ERRORS 5

typedef struct message {
    char *text;
    size_t size, used;
    int errors;
} message;

static void add(message *m, const char *bytes, size_t n) {
    for (size_t k = 0; k < n && m->used + 1 < m->size; k++) {
        char c = bytes[k];
        m->text[m->used++] = c == '\n' || c == '\t' || (c >= 32 && c < 127) ? c : '?';
    }
    m->text[m->used] = 0;
}

static void add_text(message *m, const char *text) { add(m, text, strlen(text)); }

/* "   12 | the line" */
static void add_line(message *m, const char *source, long number) {
    char head[32];
    const char *line = source;
    for (long k = 1; k < number && line != NULL; k++) {
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    if (line == NULL || number < 1) return;
    size_t n = strcspn(line, "\n");
    add(m, head, (size_t)snprintf(head, sizeof head, "\n%5ld | ", number));
    add(m, line, n > 120 ? 120 : n);
}

/* "mechanism.c:12:5: error: ...": the rest after the name, and its line number; NULL if it is no such line. */
static const char *own_error(const char *line, size_t n, long *number) {
    size_t name = strlen(SOURCE);
    if (n <= name || strncmp(line, SOURCE, name) != 0 || line[name] != ':') return NULL;
    *number = strtol(line + name + 1, NULL, 10);
    const char *colon = memmem(line, n, "error: ", 7);
    return colon != NULL ? line + name : NULL;
}

static void add_own(message *m, const char *line, size_t n, const char *source, const char *name) {
    long number = 0;
    const char *rest = own_error(line, n, &number);
    if (rest == NULL || m->errors++ >= MAX_ERRORS) return;
    if (m->used > 0) add_text(m, "\n");
    add_text(m, name);
    add(m, rest, n - (size_t)(rest - line));
    add_line(m, source, number);
}

/* Errors of assembler and linker: without places, which are not the source's. */
static void add_other(message *m, const char *line, size_t n, const char *name) {
    static const char *const marks[] = {"Error: ", "undefined reference", "multiple definition",
                                        "fatal error: ", "error: "};
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) {
        const char *at = memmem(line, n, marks[k], strlen(marks[k]));
        if (at == NULL || m->errors++ >= MAX_ERRORS) continue;
        if (m->used > 0) add_text(m, "\n");
        add_text(m, name);
        add_text(m, ": ");
        add(m, at, n - (size_t)(at - line));
        return;
    }
}

void aira__compile_message(const char *output, const char *source, const char *name, char *text, size_t size) {
    message m = {text, size, 0, 0};
    text[0] = 0;
    for (int own = 1; own >= 0 && m.errors == 0; own--)
        for (const char *line = output; *line != 0;) {
            size_t n = strcspn(line, "\n");
            if (own)
                add_own(&m, line, n, source, name);
            else
                add_other(&m, line, n, name);
            line += n + (line[n] == '\n');
        }
    if (m.errors == 0) {
        add_text(&m, name);
        add_text(&m, ": the compiler failed without an error in the source");
    }
}
