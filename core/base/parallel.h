/* core/base/parallel.h - a large loop over several threads, for work whose result does not depend on how it is cut. */
#ifndef AIRA_BASE_PARALLEL_H
#define AIRA_BASE_PARALLEL_H

#include <stdint.h>

/* Calls work(context, from, to) for disjoint ranges that cover 0 .. n - 1, at least `grain` long but for the last, on
   as many threads as there are processors, 16 at most, the caller's among them. Where a thread cannot be had the caller
   does its share. Returns when all is done. */
void aira__parallel(int64_t n, int64_t grain, void (*work)(void *context, int64_t from, int64_t to), void *context);

#endif
