/* core/http/try.h - one request sent once. Used by http.c. */
#ifndef AIRA_HTTP_TRY_H
#define AIRA_HTTP_TRY_H

#include "aira/ext/http.h"
#include "core/http/key.h"
#include "core/http/transfer.h"

typedef struct aira__try {
    aira__io *io;
    const aira_http_request *request;
    const aira_http_handler *handler;
    const aira__key *key;
    /* what it came to */
    aira_http_try told; /* for end(); body points into memory below */
    aira__buf headers;  /* of the answer */
    char problem[400];
    char content_type[80];
    bool cancelled;   /* the handler said so */
    bool unreachable; /* no connection came about */
    bool hopeless;    /* and none ever will: a bad URL, a certificate */
    bool stalled;
    bool events;  /* the answer is an event stream */
    bool stopped; /* the handler wants no more events */
    aira__buf body;
} aira__try;

/* Sends and reads to the end, whatever end that is. Fails only for want of memory. */
aira_status aira__try_run(aira__try *, aira_error *);
void aira__try_release(aira__try *);

#endif
