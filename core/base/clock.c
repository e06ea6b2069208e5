/* core/base/clock.c - see clock.h */
#include "core/base/clock.h"

#include <time.h>

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t); /* cannot fail for these two clocks */
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double aira__now(void) { return seconds(CLOCK_MONOTONIC); }
double aira__wall(void) { return seconds(CLOCK_REALTIME); }
