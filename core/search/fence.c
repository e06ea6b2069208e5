/* core/search/fence.c - see fence.h; the rules are CommonMark's. */
#include "core/search/fence.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

char *aira__strip_reasoning(const char *text) {
    char *copy = malloc(strlen(text) + 1), *to = copy;
    if (!copy) return NULL;
    while (*text) {
        const char *open = strstr(text, "<think>"), *close = strstr(text, "</think>");
        if (close && (!open || close < open)) {
            to = copy;
            text = close + 8;
            continue;
        }
        size_t n = open ? (size_t)(open - text) : strlen(text);
        memcpy(to, text, n);
        to += n;
        if (!open || !close) break;
        text = close + 8;
    }
    *to = 0;
    return copy;
}

/* A fence at the beginning of a line: its character and length, or 0. */
static size_t fence_at(const char *line, char *mark) {
    size_t blanks = strspn(line, " ");
    char c = line[blanks];
    if (blanks > 3 || (c != '`' && c != '~')) return 0;
    size_t n = strspn(line + blanks, c == '`' ? "`" : "~");
    *mark = c;
    return n >= 3 ? n : 0;
}

static const char *next_line(const char *line) {
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

const char *aira__fence_find(const char *text) {
    char mark;
    while (*text && !fence_at(text, &mark)) text = next_line(text);
    return text;
}

static void read_tag(const char *fence, char mark, char tag[24]) {
    const char *word = fence + strspn(fence, " ");
    size_t n = 0;
    while (*word == mark) word++;
    word += strspn(word, " \t");
    for (; word[n] && !strchr(" \t\r\n{,", word[n]) && n < 23; n++) tag[n] = (char)tolower((unsigned char)word[n]);
    tag[n] = 0;
}

bool aira__fence_next(const char **p, aira__fence *out) {
    const char *line = aira__fence_find(*p);
    char mark = 0, other = 0;
    *p = line;
    if (!*line) return false;
    size_t length = fence_at(line, &mark);
    read_tag(line, mark, out->tag);
    const char *body = next_line(line), *end = body;
    while (*end) { /* a closing fence is at least as long, of the same character, and alone */
        size_t n = fence_at(end, &other), blanks = strspn(end, " ");
        if (n >= length && other == mark && strspn(end + blanks + n, " \t\r") == strcspn(end + blanks + n, "\n")) break;
        end = next_line(end);
    }
    out->body = body;
    out->size = (size_t)(end - body);
    out->closed = *end != 0;
    *p = *end ? next_line(end) : end;
    return true;
}
