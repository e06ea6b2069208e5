/* core/http/transfer.h - one thread that moves all bytes: libcurl's multi interface behind blocking calls.
 *
 * A caller sets a transfer up, submits it and waits for what comes; the thread sleeps in curl_multi_poll and is woken
 * by submissions and cancellations. A transfer is the caller's again once it has ended. The thread is started by the
 * first submission, so a program that asks nobody has none.
 */
#ifndef AIRA_HTTP_TRANSFER_H
#define AIRA_HTTP_TRANSFER_H

#include <pthread.h>
#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/http/curl.h"

typedef struct aira__io aira__io;

typedef struct aira__transfer aira__transfer;
struct aira__transfer {
    const aira__curl *curl;
    CURL *easy;
    size_t max_bytes; /* of the answer */
    /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t news;
    aira__buf headers; /* of the last answer; earlier ones (proxies, 1xx) are dropped */
    aira__buf body;    /* not yet taken */
    size_t received;
    double last_byte; /* aira__now() */
    bool too_long, ended;
    CURLcode code;
    long http_status; /* known once headers have ended; 0 before */
    /* the thread's */
    bool submitted, cancelled;
    aira__transfer *next;
    char detail[CURL_ERROR_SIZE];
};

aira_status aira__io_create(aira__io **, aira_error *);
void aira__io_destroy(aira__io *); /* no transfer is under way; NULL is fine */

/* A fresh easy handle with the callbacks set; the caller adds URL, body, limits. */
aira_status aira__transfer_init(aira__transfer *, aira_error *);
void aira__transfer_release(aira__transfer *); /* has ended, or was never submitted */
aira_status aira__transfer_submit(aira__io *, aira__transfer *, aira_error *);
/* Waits for news at most that long, then gives what has come: appended to out. True once it has ended and all is taken.
 */
bool aira__transfer_take(aira__transfer *, double seconds, aira__buf *out);
/* Ends it; returns when the thread has let go of it. */
void aira__transfer_cancel(aira__io *, aira__transfer *);

#endif
