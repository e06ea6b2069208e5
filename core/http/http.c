/* core/http/http.c - one exchange: turn, key, tries and the pauses between them. See http.h. */
#include "core/http/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aira/rng.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/http/limit.h"
#include "core/http/retry.h"
#include "core/http/try.h"

#define DELAY_SECONDS 60.0
#define FIRST_CONTACT_SECONDS 20.0 /* patience with a host that has never answered: most likely a wrong address */
#define POLL_SECONDS 0.04
#define LOGGED_SECONDS 4.0 /* shorter pauses are only noted in the record */

struct aira__http {
    aira_http_service table; /* table.core is this struct */
    const aira_host *host;
    aira__io *io;
    aira__limits *limits;
};

typedef struct exchange {
    aira__http *http;
    aira_http_request request;
    aira_http_handler handler;
    aira_http_result result;
    aira__key key;
    aira__turn turn;
    aira_rng chance;
    char host[300], bucket[700];
    char reason[700]; /* of the last try */
    double failing;   /* since when; 0: not yet */
    int32_t verdict;
    bool unreachable, stalled, hopeless;
    double asked_to_wait; /* by the server; 0 or below: no */
} exchange;

static bool cancelled(const exchange *x) { return x->handler.cancelled && x->handler.cancelled(x->handler.context); }

/* While nothing is under way: shall there be no more? */
static int32_t no_more(void *context) {
    const exchange *x = context;
    return cancelled(x) || (x->handler.ending && x->handler.ending(x->handler.context));
}

/* False when cancelled. */
static bool pause_for(exchange *x, double seconds) {
    double until = aira__now() + seconds, begin = aira__now();
    while (!no_more(x)) {
        double left = until - aira__now();
        if (left <= 0) {
            x->result.waited += aira__now() - begin;
            return true;
        }
        struct timespec nap = {0, (long)((left < POLL_SECONDS ? left : POLL_SECONDS) * 1e9)};
        nanosleep(&nap, NULL);
    }
    return false;
}

/* "scheme://host:port"; what cannot be asked is refused. */
static aira_status read_url(exchange *x, aira_error *error) {
    const aira__curl *curl = aira__curl_get(error);
    if (!curl) return AIRA_E_DENIED;
    CURLU *url = curl->url();
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    aira_status status = AIRA_OK;
    if (!url) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    CURLUcode code = curl->url_set(url, CURLUPART_URL, x->request.url, 0);
    if (code == CURLUE_OK) code = curl->url_get(url, CURLUPART_SCHEME, &scheme, 0);
    if (code == CURLUE_OK) code = curl->url_get(url, CURLUPART_HOST, &host, 0);
    if (code == CURLUE_OK) code = curl->url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code == CURLUE_OK) (void)curl->url_get(url, CURLUPART_USER, &user, 0);
    if (user)
        status = aira__fail(error, AIRA_E_CONFIG,
                            "a URL with a user in it: keys come from api_key_env or api_key_file");
    else if (code != CURLUE_OK || (strcmp(scheme, "http") && strcmp(scheme, "https")))
        status = aira__fail(error, AIRA_E_CONFIG, "%.300s is no http or https address", x->request.url);
    else
        snprintf(x->host, sizeof x->host, "%s://%.200s:%s", scheme, host, port);
    curl->free(scheme);
    curl->free(host);
    curl->free(port);
    curl->free(user);
    curl->url_cleanup(url);
    return status;
}

/* What the try's end means; calls the handler's. */
static void judge(exchange *x, aira__try *t) {
    const char *headers = t->headers.data ? t->headers.data : "";
    x->reason[0] = 0;
    if (t->told.http_status > 0) (void)aira__turn_reached(x->http->limits, &x->turn, true);
    x->verdict = x->handler.end ? x->handler.end(x->handler.context, &t->told, x->reason, sizeof x->reason)
                                : t->told.verdict;
    x->reason[sizeof x->reason - 1] = 0;
    if (!x->reason[0] && t->problem[0])
        snprintf(x->reason, sizeof x->reason, "%s", t->problem);
    else if (!x->reason[0])
        snprintf(x->reason, sizeof x->reason, "HTTP status %d", (int)t->told.http_status);
    aira__key_redact(&x->key, x->reason, strlen(x->reason));
    x->unreachable = t->unreachable;
    x->hopeless = t->hopeless;
    x->stalled = t->stalled;
    x->result.http_status = t->told.http_status;
    x->asked_to_wait = aira__retry_after(headers, t->headers.size, aira__wall());
    double pause = aira__retry_pause(headers, t->headers.size, x->request.tokens, aira__wall());
    if (pause > 0) aira__turn_pause(x->http->limits, &x->turn, pause);
}

static aira_status send_once(exchange *x, aira_error *error) {
    aira__try t = {.io = x->http->io, .request = &x->request, .handler = &x->handler, .key = &x->key};
    double begin = aira__now();
    aira_status status = aira__turn_take(x->http->limits, &x->turn, no_more, x, error);
    x->result.waited += aira__now() - begin;
    if (status != AIRA_OK) return status;
    t.told.size = sizeof t.told;
    t.told.number = x->result.tries++;
    status = aira__try_run(&t, error);
    if (status == AIRA_OK && t.cancelled) status = aira__fail(error, AIRA_E_CANCELLED, "%s: stopped", x->host);
    if (status == AIRA_OK) judge(x, &t);
    aira__turn_give(x->http->limits, &x->turn, status == AIRA_OK ? t.told.tokens : -1);
    aira__try_release(&t);
    return status;
}

static aira_status give_up(const exchange *x, aira_error *error) {
    const char *many = x->result.tries == 1 ? "y" : "ies";
    double seconds = aira__now() - x->failing;
    if (x->verdict == AIRA_HTTP_DENIED && x->key.text && (x->result.http_status == 401 || x->result.http_status == 403))
        return aira__fail(error, AIRA_E_DENIED, "%s does not accept the key in %s: %s", x->request.url, x->key.source,
                          x->reason);
    if (x->verdict == AIRA_HTTP_DENIED && x->result.http_status == 401)
        return aira__fail(error, AIRA_E_DENIED, "%s wants a key; name its variable with api_key_env: %s",
                          x->request.url, x->reason);
    if (x->verdict == AIRA_HTTP_DENIED || x->verdict == AIRA_HTTP_REFUSED)
        return aira__fail(error, x->verdict == AIRA_HTTP_DENIED ? AIRA_E_DENIED : AIRA_E_FAILED, "%s: %s",
                          x->request.url, x->reason);
    if (x->unreachable)
        return aira__fail(error, AIRA_E_DENIED, "%s cannot be reached: %s (%u tr%s in %.1f s)", x->request.url,
                          x->reason, x->result.tries, many, seconds);
    aira_status status = x->verdict != AIRA_HTTP_RETRY ? AIRA_E_DENIED : x->stalled ? AIRA_E_TIMEOUT : AIRA_E_FAILED;
    return aira__fail(error, status, "%s: given up after %u tr%s in %.1f s: %s", x->request.url, x->result.tries, many,
                      seconds, x->reason);
}

/* The pause before the next try, or the end. */
static aira_status wait_again(exchange *x, uint32_t retry, aira_error *error) {
    double cap = x->request.delay_seconds > 0 ? x->request.delay_seconds : DELAY_SECONDS, now = aira__now();
    double patience = x->request.retry_seconds;
    char sentence[900];
    if (x->failing == 0) x->failing = now;
    if (x->unreachable && patience > FIRST_CONTACT_SECONDS && !aira__turn_reached(x->http->limits, &x->turn, false))
        patience = FIRST_CONTACT_SECONDS;
    double delay = x->asked_to_wait > 0 ? x->asked_to_wait
                                        : aira__retry_delay(retry, cap, aira_rng_uniform(&x->chance),
                                                            x->verdict == AIRA_HTTP_OVERLOADED);
    if (x->verdict >= AIRA_HTTP_REFUSED || retry >= x->request.retries || now + delay - x->failing > patience)
        return give_up(x, error);
    if (x->verdict == AIRA_HTTP_LIMITED) aira__turn_pause(x->http->limits, &x->turn, delay);
    snprintf(sentence, sizeof sentence, "%s; again in %.2f s", x->reason, delay);
    if (x->handler.waiting) x->handler.waiting(x->handler.context, sentence);
    if (delay >= LOGGED_SECONDS) aira__log(AIRA_LOG_WARN, "%s: %s", x->host, sentence);
    return pause_for(x, delay) ? AIRA_OK : aira__fail(error, AIRA_E_CANCELLED, "%s: stopped", x->host);
}

static aira_status run_exchange(exchange *x, aira_error *error) {
    aira_status status = read_url(x, error);
    if (status == AIRA_OK) status = aira__key_read(x->request.key_env, x->request.key_file, &x->key, error);
    if (status != AIRA_OK) return status;
    snprintf(x->bucket, sizeof x->bucket, "%s|%s|%.80s", x->host, x->key.source,
             x->request.bucket ? x->request.bucket : "");
    x->turn = (aira__turn){.host = x->host,
                           .bucket = x->bucket,
                           .concurrency = x->request.concurrency,
                           .requests_per_minute = x->request.requests_per_minute,
                           .tokens_per_minute = x->request.tokens_per_minute,
                           .tokens = x->request.tokens};
    x->chance = aira_rng_make(aira_key(x->request.seed, "http.retry"), 0);
    for (uint32_t retry = 0; status == AIRA_OK; retry++) {
        status = send_once(x, error);
        if (status != AIRA_OK || x->verdict == AIRA_HTTP_ACCEPT) break;
        status = wait_again(x, retry, error);
    }
    return status;
}

/* A caller's older, shorter struct reads as zeros at its end. */
static void copy_in(void *to, uint32_t size, const void *from, uint32_t given) {
    memcpy(to, from, given < size ? given : size);
}

static aira_status http_exchange(const aira_http_service *service, const aira_http_request *request,
                                 const aira_http_handler *handler, aira_http_result *result) {
    aira__http *h = service->core;
    aira_error error = {0};
    exchange *x = calloc(1, sizeof *x); /* callers' stacks are small */
    if (!x) return h->host->fail(h->host, AIRA_E_MEMORY, "out of memory");
    x->http = h;
    copy_in(&x->request, sizeof x->request, request, request->size);
    copy_in(&x->handler, sizeof x->handler, handler, handler->size);
    x->result.size = sizeof x->result;
    aira_status status = run_exchange(x, &error);
    aira__key_release(&x->key);
    if (result) {
        uint32_t size = result->size;
        copy_in(result, size, &x->result, sizeof x->result);
        result->size = size;
    }
    free(x);
    return status == AIRA_OK ? AIRA_OK : h->host->fail(h->host, status, error.text);
}

aira_status aira__http_create(const aira_host *host, aira__http **out, aira_error *error) {
    aira__http *h = calloc(1, sizeof *h);
    *out = h;
    if (!h) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    h->table = (aira_http_service){sizeof h->table, 0, h, http_exchange};
    h->host = host;
    aira_status status = aira__io_create(&h->io, error);
    if (status == AIRA_OK) status = aira__limits_create(&h->limits, error);
    if (status == AIRA_OK) return AIRA_OK;
    aira__http_destroy(h);
    *out = NULL;
    return status;
}

void aira__http_destroy(aira__http *h) {
    if (!h) return;
    aira__io_destroy(h->io);
    aira__limits_destroy(h->limits);
    free(h);
}

const aira_http_service *aira__http_table(const aira__http *h) { return &h->table; }
