/* core/base/clock.h - two clocks: one for durations, one for dates. Seconds as double. */
#ifndef AIRA_BASE_CLOCK_H
#define AIRA_BASE_CLOCK_H

double aira__now(void);  /* monotonic: differences only */
double aira__wall(void); /* since 1970, UTC */

#endif
