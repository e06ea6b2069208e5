/* core/http/limit.h - whose turn it is: requests at once per host, requests and tokens per minute per key and bucket.
 *
 * A token bucket holds a minute's worth and refills steadily, as the vendors' do. What a server says about its own
 * limits only ever makes a bucket wait. Limits belong to the request, so two agents with different ones may share a
 * host: each waits until its own are kept. Threads: any.
 */
#ifndef AIRA_HTTP_LIMIT_H
#define AIRA_HTTP_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/error.h"

typedef struct aira__limits aira__limits;
typedef struct aira__turn { /* what a request wants, and while it holds a turn where */
    const char *host, *bucket;
    uint32_t concurrency; /* 0: any number */
    double requests_per_minute, tokens_per_minute;
    int64_t tokens; /* estimate */
    int host_index, bucket_index;
} aira__turn;

aira_status aira__limits_create(aira__limits **, aira_error *);
void aira__limits_destroy(aira__limits *); /* nobody holds or awaits a turn */
/* Waits until the request may go. cancelled is polled. AIRA_E_CANCELLED, AIRA_E_MEMORY. */
aira_status aira__turn_take(aira__limits *, aira__turn *, int32_t (*cancelled)(void *), void *context, aira_error *);
/* tokens: what the request used, below 0: unknown, the estimate stands. */
void aira__turn_give(aira__limits *, const aira__turn *, int64_t tokens);
/* All of this turn's bucket wait that long. */
void aira__turn_pause(aira__limits *, const aira__turn *, double seconds);
/* Has this host ever answered? set: it has now. */
bool aira__turn_reached(aira__limits *, const aira__turn *, bool set);

#endif
