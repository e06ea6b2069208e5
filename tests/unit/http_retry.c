/* tests/unit/http_retry.c - what is tried again, and when: the table of docs/llm.md. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "aira/ext/http.h"
#include "core/http/retry.h"

#define NOW 784111777.0 /* Sun, 06 Nov 1994 08:49:37 GMT */

static int32_t verdict(long status, const char *headers) {
    return aira__retry_verdict(status, headers, strlen(headers));
}
static double after(const char *headers) { return aira__retry_after(headers, strlen(headers), NOW); }
static double rest(const char *headers, int64_t tokens) {
    return aira__retry_pause(headers, strlen(headers), tokens, NOW);
}

Test(retry, judges_statuses) {
    static const long again[] = {0, 408, 409, 500, 502, 503, 504, 599}, denied[] = {401, 402, 403, 404},
                      refused[] = {300, 307, 400, 405, 413, 422};
    for (size_t i = 0; i < sizeof again / sizeof *again; i++) cr_assert_eq(verdict(again[i], ""), AIRA_HTTP_RETRY);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) cr_assert_eq(verdict(denied[i], ""), AIRA_HTTP_DENIED);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        cr_assert_eq(verdict(refused[i], ""), AIRA_HTTP_REFUSED);
    cr_assert_eq(verdict(200, ""), AIRA_HTTP_ACCEPT);
    cr_assert_eq(verdict(429, ""), AIRA_HTTP_LIMITED);
    cr_assert_eq(verdict(529, ""), AIRA_HTTP_OVERLOADED);
    cr_assert_eq(verdict(400, "HTTP/1.1 400\r\nX-Should-Retry: true\r\n"), AIRA_HTTP_RETRY);
    cr_assert_eq(verdict(500, "x-should-retry: false\r\n"), AIRA_HTTP_REFUSED);
    cr_assert_eq(verdict(429, "x-should-retry: false\r\n"), AIRA_HTTP_DENIED);
    cr_assert_eq(verdict(429, "x-should-retry: true\r\n"), AIRA_HTTP_LIMITED);
    cr_assert_eq(verdict(500, "not-x-should-retry: false\r\n"), AIRA_HTTP_RETRY);
}

Test(retry, reads_what_servers_ask_for) {
    cr_assert_eq(after(""), -1);
    cr_assert_eq(after("Retry-After: 7\r\n"), 7);
    cr_assert_eq(after("retry-after:1.5\r\n"), 1.5);
    cr_assert_eq(after("retry-after: 7\r\nretry-after-ms: 250\r\n"), 0.25);
    cr_assert_eq(after("retry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n"), 30);
    cr_assert_eq(after("retry-after: Sunday, 06-Nov-1994 08:49:38 GMT\r\n"), 1);
    cr_assert_eq(after("retry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n"), 0); /* past */
    static const char *const bad[] = {
        "soon", "-5", "nan", "inf", "1e999", "7 s", "Sun, 06 Foo 1994 08:50:07 GMT", "Sun, 06 ov1 1994 08:50:07 GMT",
        ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[80];
        snprintf(line, sizeof line, "retry-after: %s\r\n", bad[i]);
        cr_assert_eq(after(line), -1, "%s gave %g", bad[i], after(line));
    }
}

Test(retry, pauses_longer_each_time) {
    static const double expected[] = {0.5, 1, 2, 4, 8, 16, 32, 60, 60};
    for (uint32_t n = 0; n < 9; n++) {
        cr_assert_eq(aira__retry_delay(n, 60, 0, 0), expected[n]);
        cr_assert_float_eq(aira__retry_delay(n, 60, 0.999999, 0), 0.75 * expected[n], 1e-4);
    }
    for (uint32_t n = 0; n < 6; n++) cr_assert_eq(aira__retry_delay(n, 8, 0, 0), fmin(8, expected[n]));
    cr_assert_eq(aira__retry_delay(0, 60, 0, 1), 4);
    cr_assert_eq(aira__retry_delay(4000000000u, 60, 0, 0), 60);
}

Test(retry, waits_where_nothing_is_left) {
    cr_assert_eq(rest("", 100), 0);
    cr_assert_eq(rest("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 6m0s\r\n", 1), 120);
    cr_assert_eq(rest("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1.5s\r\n", 1), 1.5);
    cr_assert_eq(rest("x-ratelimit-remaining-requests: 3\r\nx-ratelimit-reset-requests: 20s\r\n", 1), 0);
    cr_assert_float_eq(rest("x-ratelimit-remaining-tokens: 90\r\nx-ratelimit-reset-tokens: 1m20ms\r\n", 100), 60.02,
                       1e-9);
    cr_assert_eq(rest("x-ratelimit-remaining-tokens: 100\r\nx-ratelimit-reset-tokens: 1m\r\n", 100), 0);
    cr_assert_eq(rest("anthropic-ratelimit-requests-remaining: 0\r\n"
                      "anthropic-ratelimit-requests-reset: 1994-11-06T08:49:47Z\r\n",
                      1),
                 10);
    cr_assert_eq(rest("anthropic-ratelimit-requests-remaining: 0\r\n"
                      "anthropic-ratelimit-requests-reset: never\r\n",
                      1),
                 0);
}

Test(retry, finds_headers) {
    char value[8];
    const char *block = "HTTP/1.1 200 OK\r\nA: first\r\na:  second one \r\nAB: x\r\nempty:\r\n";
    cr_assert_eq(aira__header_find(block, strlen(block), "A", value, sizeof value), 1);
    cr_assert_str_eq(value, "second "); /* cut to fit */
    cr_assert_eq(aira__header_find(block, strlen(block), "empty", value, sizeof value), 1);
    cr_assert_str_eq(value, "");
    cr_assert_eq(aira__header_find(block, strlen(block), "B", value, sizeof value), 0);
}
