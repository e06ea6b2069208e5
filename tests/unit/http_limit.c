/* tests/unit/http_limit.c - turns: requests at once, buckets that refill, pauses, and being cancelled while waiting. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/http/limit.h"

static aira__limits *limits;
static void begin(void) { cr_assert_eq(aira__limits_create(&limits, NULL), AIRA_OK); }
static void end(void) { aira__limits_destroy(limits); }
TestSuite(limit, .init = begin, .fini = end);

static int32_t after_polls(void *context) { return --*(int *)context < 0; }

/* Seconds until the turn came; below 0: cancelled after so many polls. */
static double take(aira__turn *t, int polls) {
    double begin_at = aira__now();
    aira_status status = aira__turn_take(limits, t, after_polls, &polls, NULL);
    return status == AIRA_OK ? aira__now() - begin_at : -1;
}

Test(limit, counts_requests_at_once_per_host) {
    aira__turn a = {.host = "h", .bucket = "1", .concurrency = 2}, b = a, c = a,
               other = {.host = "i", .bucket = "1", .concurrency = 2};
    b.bucket = "2"; /* another key, the same host */
    cr_assert_geq(take(&a, 1), 0);
    cr_assert_geq(take(&b, 1), 0);
    cr_assert_lt(take(&c, 2), 0);
    cr_assert_geq(take(&other, 1), 0);
    c.concurrency = 0;
    cr_assert_geq(take(&c, 1), 0);
    aira__turn_give(limits, &a, -1);
    aira__turn_give(limits, &b, -1);
    aira__turn d = {.host = "h", .bucket = "1", .concurrency = 2};
    cr_assert_geq(take(&d, 1), 0);
}

Test(limit, buckets_hold_a_minute_and_refill) {
    aira__turn t = {.host = "h", .bucket = "r", .requests_per_minute = 3};
    for (int i = 0; i < 3; i++) cr_assert_geq(take(&t, 1), 0);
    cr_assert_lt(take(&t, 2), 0);
    aira__turn fast = {.host = "h", .bucket = "f", .requests_per_minute = 600};
    for (int i = 0; i < 600; i++) cr_assert_lt(take(&fast, 1), 0.05);
    double waited = take(&fast, 100);
    cr_assert(waited > 0.02 && waited < 5, "%g s for a tenth of a second", waited);
}

Test(limit, tokens_are_corrected_afterwards) {
    aira__turn t = {.host = "h", .bucket = "t", .tokens_per_minute = 6000, .tokens = 3000};
    cr_assert_geq(take(&t, 1), 0);
    aira__turn_give(limits, &t, 0); /* it used none: all 6000 are there */
    cr_assert_geq(take(&t, 1), 0);
    cr_assert_geq(take(&t, 1), 0);
    cr_assert_lt(take(&t, 2), 0);
    aira__turn large = {.host = "h", .bucket = "l", .tokens_per_minute = 100, .tokens = 1000000};
    cr_assert_geq(take(&large, 1), 0); /* larger than a bucket: goes when it is full, and leaves a debt */
    aira__turn small = {.host = "h", .bucket = "l", .tokens_per_minute = 100, .tokens = 1};
    cr_assert_lt(take(&small, 2), 0);
}

Test(limit, pauses_hold_a_bucket) {
    aira__turn t = {.host = "h", .bucket = "p"}, other = {.host = "h", .bucket = "q"};
    cr_assert_geq(take(&t, 1), 0);
    aira__turn_pause(limits, &t, 0.2);
    aira__turn_pause(limits, &t, 0.1); /* does not shorten it */
    cr_assert_lt(take(&other, 1), 0.1);
    double waited = take(&t, 1000);
    cr_assert(waited > 0.15 && waited < 5, "%g", waited);
    cr_assert_eq(aira__turn_reached(limits, &t, false), false);
    cr_assert_eq(aira__turn_reached(limits, &t, true), true);
    cr_assert_eq(aira__turn_reached(limits, &other, false), true); /* the host's */
}
