/* tests/unit/http_sse.c - server-sent events: framing by the standard, and the same events however the bytes are cut.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/http/sse.h"

static int collect(void *context, const char *name, char *data, size_t n) {
    aira__buf *out = context;
    cr_assert_eq(strlen(data) <= n, true);
    aira__buf_printf(out, "[%s|", name);
    aira__buf_add(out, data, n);
    aira__buf_text(out, "]");
    return 0;
}

/* Feeds in pieces of `step` bytes. */
static void gives(const char *text, size_t size, size_t step, const char *expected) {
    aira__sse s = {0};
    aira__buf out = {0};
    for (size_t i = 0; i < size; i += step)
        cr_assert_eq(aira__sse_feed(&s, text + i, size - i < step ? size - i : step, collect, &out), 0);
    cr_assert_eq(aira__sse_end(&s, collect, &out), 0);
    cr_assert_str_eq(out.data ? out.data : "", expected, "in steps of %zu: %s", step, out.data ? out.data : "");
    aira__sse_release(&s);
    aira__buf_free(&out);
}

Test(sse, frames_events) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"data: a\n\n", "[|a]"},
        {"data:a\n\ndata: b\n\n", "[|a][|b]"},
        {"data: a\r\n\r\n", "[|a]"},
        {"data: a\r\rdata: b\r\r", "[|a][|b]"},
        {"data:  a\n\n", "[| a]"},
        {"data: a\ndata: b\n\n", "[|a\nb]"},
        {"data\n\n", "[|]"},
        {"data:\ndata:\n\n", "[|\n]"},
        {"event: x\ndata: a\n\ndata: b\n\n", "[x|a][|b]"},
        {": comment\nid: 7\nretry: 10\nunknown: y\ndata: a\n\n", "[|a]"},
        {"event: x\n\ndata: a\n\n", "[|a]"}, /* an event without data is none, and its name is forgotten */
        {"\xEF\xBB\xBF"
         "data: a\n\n",
         "[|a]"},
        {"\n\n\ndata: a\n\n\n", "[|a]"},
        {"data: a\n", "[|a]"},      /* the blank line is missing, but the line is whole */
        {"data: a\ndata: cut", ""}, /* a line that is not whole voids its event */
        {"data: a", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t step = 1; step < 12; step++) gives(rows[i].text, strlen(rows[i].text), step, rows[i].expected);
}

Test(sse, takes_zero_bytes_and_long_names) {
    gives("data: a\0b\n\n", 11, 3, "[|a"); /* out is read as text: the rest is behind the zero */
    char text[300];
    snprintf(text, sizeof text, "event: %0200d\ndata: a\n\n", 7);
    char expected[80];
    snprintf(expected, sizeof expected, "[%063d|a]", 0);
    gives(text, strlen(text), 5, expected);
}

static int stop_at_b(void *context, const char *name, char *data, size_t n) {
    int *seen = context;
    (void)name;
    (void)n;
    ++*seen;
    return *data == 'b' ? 9 : 0;
}

Test(sse, stops_when_told) {
    aira__sse s = {0};
    int seen = 0;
    const char *text = "data: a\n\ndata: b\n\ndata: c\n\n";
    cr_assert_eq(aira__sse_feed(&s, text, strlen(text), stop_at_b, &seen), 9);
    cr_assert_eq(seen, 2);
    aira__sse_release(&s);
}
