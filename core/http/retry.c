/* core/http/retry.c - see retry.h */
#include "core/http/retry.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "aira/ext/http.h"

#define FIRST_DELAY 0.5
#define FIRST_OVERLOADED 4.0
#define LONGEST_PAUSE 120.0

int aira__header_find(const char *headers, size_t n, const char *name, char *out, size_t size) {
    size_t length = strlen(name);
    const char *end = headers + n;
    int found = 0;
    for (const char *line = headers; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) stop = end;
        if ((size_t)(stop - line) > length && line[length] == ':' && !strncasecmp(line, name, length)) {
            const char *value = line + length + 1, *last = stop;
            while (value < last && (*value == ' ' || *value == '\t')) value++;
            while (last > value && (last[-1] == '\r' || last[-1] == ' ' || last[-1] == '\t')) last--;
            snprintf(out, size, "%.*s", (int)(last - value), value);
            found = 1;
        }
        line = stop + 1;
    }
    return found;
}

int32_t aira__retry_verdict(long http_status, const char *headers, size_t n) {
    char value[32];
    bool told = aira__header_find(headers, n, "x-should-retry", value, sizeof value);
    if (http_status >= 200 && http_status < 300) return AIRA_HTTP_ACCEPT;
    if (told && !strcasecmp(value, "true") && http_status != 429 && http_status != 529) return AIRA_HTTP_RETRY;
    bool never = told && !strcasecmp(value, "false");
    switch (http_status) {
    case 401:
    case 402:
    case 403:
    case 404:
        return AIRA_HTTP_DENIED;
    case 429:
        return never ? AIRA_HTTP_DENIED : AIRA_HTTP_LIMITED;
    case 529:
        return never ? AIRA_HTTP_REFUSED : AIRA_HTTP_OVERLOADED;
    case 0:
    case 408:
    case 409:
        return never ? AIRA_HTTP_REFUSED : AIRA_HTTP_RETRY;
    default:
        return http_status >= 500 && !never ? AIRA_HTTP_RETRY : AIRA_HTTP_REFUSED;
    }
}

/* A number alone; below 0 if it is none. */
static double number(const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    return end != text && *end == 0 && isfinite(value) && value >= 0 ? value : -1;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; below 0 if it is none. */
static double date_seconds(const char *text) {
    static const char *const months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm t = {0};
    char month[4] = "";
    const char *comma = strchr(text, ',');
    if (!comma || sscanf(comma + 1, " %2d%*1[ -]%3[A-Za-z]%*1[ -]%4d %2d:%2d:%2d", &t.tm_mday, month, &t.tm_year,
                         &t.tm_hour, &t.tm_min, &t.tm_sec) != 6)
        return -1;
    const char *at = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (!at || (at - months) % 3 != 0) return -1;
    t.tm_mon = (int)(at - months) / 3;
    t.tm_year -= 1900;
    return (double)timegm(&t);
}

double aira__retry_after(const char *headers, size_t n, double now) {
    char value[64];
    if (aira__header_find(headers, n, "retry-after-ms", value, sizeof value) && number(value) >= 0)
        return number(value) / 1000;
    if (!aira__header_find(headers, n, "retry-after", value, sizeof value)) return -1;
    if (number(value) >= 0) return number(value);
    double date = date_seconds(value);
    if (date < 0) return -1;
    return date > now ? date - now : 0;
}

double aira__retry_delay(uint32_t n, double cap, double u, int overloaded) {
    double delay = (overloaded ? FIRST_OVERLOADED : FIRST_DELAY) * ldexp(1, n < 30 ? (int)n : 30);
    return (delay < cap ? delay : cap) * (1 - 0.25 * u);
}

/* "1s", "6m0s", "20ms", "1h2m3.5s"; a date such as 2026-01-31T12:00:00Z; below 0 if it is neither. */
static double reset_seconds(const char *text, double now) {
    struct tm t = {0};
    double seconds = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) ==
        6) {
        t.tm_year -= 1900;
        t.tm_mon -= 1;
        double until = (double)timegm(&t) - now;
        return until > 0 ? until : 0;
    }
    while (*text) {
        char *end = NULL;
        double value = strtod(text, &end);
        if (end == text || !isfinite(value) || value < 0) return -1;
        if (!strncmp(end, "ms", 2)) {
            seconds += value / 1000;
            end += 2;
        } else if (*end == 's' || *end == 0) {
            seconds += value;
            end += *end == 's';
        } else if (*end == 'm') {
            seconds += 60 * value;
            end++;
        } else if (*end == 'h') {
            seconds += 3600 * value;
            end++;
        } else {
            return -1;
        }
        text = end;
    }
    return seconds;
}

double aira__retry_pause(const char *headers, size_t n, int64_t tokens, double now) {
    static const struct {
        const char *remaining, *reset;
        bool tokens;
    } rows[] = {
        {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", false},
        {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", true},
        {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset", false},
        {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", true},
        {"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset", true},
        {"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset", false},
    };
    double pause = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char left[64], reset[64];
        if (!aira__header_find(headers, n, rows[i].remaining, left, sizeof left) ||
            !aira__header_find(headers, n, rows[i].reset, reset, sizeof reset) || number(left) < 0)
            continue;
        double wanted = rows[i].tokens && tokens > 1 ? (double)tokens : 1, seconds = reset_seconds(reset, now);
        if (number(left) < wanted && seconds > pause) pause = seconds;
    }
    return pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE;
}
