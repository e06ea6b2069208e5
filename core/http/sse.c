/* core/http/sse.c - see sse.h */
#include "core/http/sse.h"

#include <stdio.h>
#include <string.h>

static int dispatch(aira__sse *s, aira__sse_fn fn, void *context) {
    int stop = 0;
    if (s->has_data && !s->data.failed) stop = fn(context, s->name, s->data.data, s->data.size);
    s->data.size = 0;
    s->has_data = false;
    s->name[0] = 0;
    return stop;
}

/* One line without its end; empty: the event is over. */
static int take_line(aira__sse *s, aira__sse_fn fn, void *context) {
    char *line = s->line.data;
    size_t n = s->line.size;
    s->line.size = 0;
    if (!s->begun && n >= 3 && !memcmp(line, "\xEF\xBB\xBF", 3)) {
        line += 3;
        n -= 3;
    }
    s->begun = true;
    if (n == 0) return dispatch(s, fn, context);
    const char *colon = memchr(line, ':', n);
    size_t field = colon ? (size_t)(colon - line) : n;
    const char *value = colon ? colon + 1 : line + n;
    size_t length = (size_t)(line + n - value);
    if (length > 0 && *value == ' ') {
        value++;
        length--;
    }
    if (field == 4 && !memcmp(line, "data", 4)) {
        if (s->has_data) (void)aira__buf_add(&s->data, "\n", 1);
        (void)aira__buf_add(&s->data, value, length);
        s->has_data = true;
    } else if (field == 5 && !memcmp(line, "event", 5)) {
        snprintf(s->name, sizeof s->name, "%.*s", (int)(length < sizeof s->name ? length : sizeof s->name), value);
    }
    return 0;
}

int aira__sse_feed(aira__sse *s, const char *bytes, size_t n, aira__sse_fn fn, void *context) {
    const char *end = bytes + n;
    int stop = 0;
    while (bytes < end && stop == 0) {
        if (s->after_cr && *bytes == '\n') bytes++; /* second half of CRLF */
        s->after_cr = false;
        const char *p = bytes;
        while (p < end && *p != '\n' && *p != '\r') p++;
        if (p > bytes || !s->line.data) (void)aira__buf_add(&s->line, bytes, (size_t)(p - bytes));
        bytes = p;
        if (p == end) break;
        s->after_cr = *p == '\r';
        bytes++;
        if (s->line.failed) return 0;
        stop = take_line(s, fn, context);
    }
    return stop;
}

int aira__sse_end(aira__sse *s, aira__sse_fn fn, void *context) {
    return s->line.size == 0 && !s->line.failed ? dispatch(s, fn, context) : 0;
}

void aira__sse_release(aira__sse *s) {
    aira__buf_free(&s->line);
    aira__buf_free(&s->data);
    *s = (aira__sse){0};
}
