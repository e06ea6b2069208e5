/* core/http/retry.h - is a failed request worth another try, and when. Pure.
 *
 * As the vendors' libraries: 408, 409, 429 and everything from 500 on are tried again, and so is a transfer that broke;
 * 401, 403, 404 and all other answers are final. `x-should-retry` overrules. The pause is min(cap, 0.5 s * 2^n), up to
 * a quarter less by chance so that many clients do not come back together, unless the server names one
 * (`retry-after-ms`, `retry-after` in seconds or as a date). Where they differ: their cap is 8 s and they give up after
 * two retries; a search that runs all night waits longer.
 */
#ifndef AIRA_HTTP_RETRY_H
#define AIRA_HTTP_RETRY_H

#include <stddef.h>
#include <stdint.h>

/* Value of a header in a block of "Name: value" lines, copied without surrounding blanks and cut to fit; 0: absent.
   Names in any case; the last one counts. */
int aira__header_find(const char *headers, size_t n, const char *name, char *out, size_t size);

/* AIRA_HTTP_x for a status (0: no answer came) and the answer's headers. */
int32_t aira__retry_verdict(long http_status, const char *headers, size_t n);

/* Seconds that the server asks to wait, from `now` (since 1970); below 0: it does not say. */
double aira__retry_after(const char *headers, size_t n, double now);

/* Seconds before retry n (0, 1, ...). u: chance in [0, 1). overloaded: begins at 4 s. */
double aira__retry_delay(uint32_t n, double cap, double u, int overloaded);

/* Seconds until requests or tokens are to be had again, where the headers of an answer say that none or fewer than
   `tokens` are left; 0: there is no need to wait. At most 120. */
double aira__retry_pause(const char *headers, size_t n, int64_t tokens, double now);

#endif
