/* core/http/sse.h - server-sent events out of bytes as they come.
 *
 * The framing of the HTML standard: lines end with LF, CR or CRLF; "data" lines of one event are joined by LF; "event"
 * names it; comments, "id" and "retry" are passed over; a blank line ends the event. Bytes may be cut anywhere.
 */
#ifndef AIRA_HTTP_SSE_H
#define AIRA_HTTP_SSE_H

#include "core/base/buf.h"

typedef struct aira__sse { /* start from zeros */
    aira__buf line, data;
    char name[64]; /* longer names are cut */
    bool after_cr, begun, has_data;
} aira__sse;

/* name "" where the event has none; data is NUL-terminated and may be changed. Non-zero stops. */
typedef int (*aira__sse_fn)(void *context, const char *name, char *data, size_t n);

/* The callback's non-zero value, or 0 when all bytes are taken. After a stop nothing more may be fed. Memory is
   bounded by what is fed; line.failed or data.failed tells that it ran out. */
int aira__sse_feed(aira__sse *, const char *bytes, size_t n, aira__sse_fn, void *context);
/* The stream is over: an event whose lines are whole but whose blank line is missing is handed over. */
int aira__sse_end(aira__sse *, aira__sse_fn, void *context);
void aira__sse_release(aira__sse *);

#endif
