/* core/http/http.h - what stands behind the service "aira.http/1" (aira/ext/http.h).
 *
 *     http.c      one exchange: turn, key, tries, pauses, verdicts
 *     try.c       one try: options, bytes into events, limits in time and size
 *     transfer.c  the thread that moves the bytes        sse.c    events out of bytes
 *     limit.c     whose turn it is                       retry.c  what is tried again, and when
 *     key.c       where keys come from and do not go
 */
#ifndef AIRA_HTTP_HTTP_H
#define AIRA_HTTP_HTTP_H

#include "aira/ext/http.h"
#include "aira/plugin.h"
#include "core/base/error.h"

typedef struct aira__http aira__http;
/* host gets the sentences of failures; must outlive the service. Starts no thread yet. */
aira_status aira__http_create(const aira_host *host, aira__http **, aira_error *);
void aira__http_destroy(aira__http *); /* no exchange is under way; NULL is fine */
const aira_http_service *aira__http_table(const aira__http *);

#endif
