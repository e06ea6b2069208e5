/* core/http/try.c - see try.h
 *
 * Silence is measured here, to the tenth of a second, and not by libcurl's LOW_SPEED options, whose averages take
 * seconds to notice it; a stream that merely drips is ended by the limit on the whole try.
 */
#include "core/http/try.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/http/retry.h"
#include "core/http/sse.h"

#define POLL_SECONDS 0.04
#define CONNECT_SECONDS 10
#define MAX_BYTES ((uint64_t)16 << 20)

static bool add_header(const aira__curl *curl, struct curl_slist **list, const char *line) {
    struct curl_slist *grown = curl->slist_append(*list, line);
    if (grown) *list = grown;
    return grown != NULL;
}

static void wipe_headers(const aira__curl *curl, struct curl_slist *list) {
    for (struct curl_slist *item = list; item; item = item->next) explicit_bzero(item->data, strlen(item->data));
    curl->slist_free_all(list);
}

static bool starts_with(const char *text, const char *prefix) {
    while (*prefix && tolower((unsigned char)*text) == tolower((unsigned char)*prefix)) text++, prefix++;
    return *prefix == 0;
}

static struct curl_slist *make_headers(const aira__curl *curl, const aira__try *t) {
    const aira_http_request *r = t->request;
    struct curl_slist *list = NULL;
    bool typed = false, fine = add_header(curl, &list, "Expect:"); /* no waiting for 100 Continue */
    for (uint32_t i = 0; fine && i < r->n_headers; i++) {
        typed = typed || starts_with(r->headers[i], "content-type:");
        fine = add_header(curl, &list, r->headers[i]);
    }
    if (fine && r->body && !typed) fine = add_header(curl, &list, "Content-Type: application/json");
    if (fine && t->key->text && r->key_header) {
        size_t size = strlen(r->key_header) + t->key->n + 1;
        char *line = malloc(size);
        if (line) snprintf(line, size, "%s%s", r->key_header, t->key->text);
        fine = line && add_header(curl, &list, line);
        if (line) explicit_bzero(line, size);
        free(line);
    }
    if (fine) return list;
    wipe_headers(curl, list);
    return NULL;
}

/* As the curl program does; libcurl alone knows only what it was built with. */
static void set_authorities(const aira__curl *curl, CURL *easy, const char *file) {
    const char *bundle = getenv("CURL_CA_BUNDLE"), *cert = getenv("SSL_CERT_FILE"), *folder = getenv("SSL_CERT_DIR");
    if (!file && bundle && *bundle) file = bundle;
    if (!file && folder && *folder) curl->easy_setopt(easy, CURLOPT_CAPATH, folder);
    if (!file && cert && *cert) file = cert;
    if (file) curl->easy_setopt(easy, CURLOPT_CAINFO, file);
}

static void set_options(const aira__curl *curl, const aira__try *t, CURL *easy, struct curl_slist *headers) {
    const aira_http_request *r = t->request;
    double connect = r->connect_seconds > 0 ? r->connect_seconds : CONNECT_SECONDS;
    curl->easy_setopt(easy, CURLOPT_URL, r->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl->easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* a key goes where it was meant for */
    curl->easy_setopt(easy, CURLOPT_USERAGENT, "aira/" AIRA_VERSION);
    curl->easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect * 1000) + 1);
    curl->easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    if (r->proxy) curl->easy_setopt(easy, CURLOPT_PROXY, r->proxy);
    set_authorities(curl, easy, r->ca_file);
    if (r->body) {
        curl->easy_setopt(easy, CURLOPT_POST, 1L);
        curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->n_body);
        curl->easy_setopt(easy, CURLOPT_POSTFIELDS, r->body);
    }
}

/* ---- the answer ---- */

static int on_event(void *context, const char *name, char *data, size_t n) {
    const aira__try *t = context;
    if (!t->handler->event) return 0;
    aira__key_redact(t->key, data, n);
    return t->handler->event(t->handler->context, name, data, n);
}

/* Is it an event stream? By its type, or, where a server names another one, by how it begins. */
static bool is_stream(const aira__try *t, const char *begin, size_t n) {
    static const char *const fields[] = {"data:", "event:", "id:", "retry:", ":"};
    if (t->told.http_status != 200) return false;
    if (!strcmp(t->content_type, "text/event-stream")) return true;
    if (!strcmp(t->content_type, "application/json")) return false;
    while (n > 0 && (*begin == '\n' || *begin == '\r')) begin++, n--;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (n >= strlen(fields[i]) && !memcmp(begin, fields[i], strlen(fields[i]))) return true;
    return false;
}

static void take_head(aira__try *t, aira__transfer *x) {
    pthread_mutex_lock(&x->lock);
    t->told.http_status = (int32_t)x->http_status;
    t->headers.size = 0;
    (void)aira__buf_add(&t->headers, x->headers.data ? x->headers.data : "", x->headers.size);
    pthread_mutex_unlock(&x->lock);
    if (!aira__header_find(t->headers.data ? t->headers.data : "", t->headers.size, "content-type", t->content_type,
                           sizeof t->content_type))
        t->content_type[0] = 0;
    t->content_type[strcspn(t->content_type, "; \t")] = 0;
    for (char *p = t->content_type; *p; p++) *p = (char)tolower((unsigned char)*p);
}

static bool cancelled(const aira__try *t) {
    return t->handler->cancelled && t->handler->cancelled(t->handler->context);
}

/* Reads until the end or until a limit is reached, which t then says. Returns with the transfer ended. */
static void read_answer(aira__try *t, aira__transfer *x, aira__sse *sse) {
    const aira_http_request *r = t->request;
    double begin = aira__now();
    bool ended = false, head = false;
    aira__buf bytes = {0};
    while (!ended && !t->stopped) {
        bytes.size = 0;
        ended = aira__transfer_take(x, POLL_SECONDS, &bytes);
        if (!head && bytes.size > 0) {
            take_head(t, x);
            t->events = is_stream(t, bytes.data, bytes.size);
            head = true;
        }
        if (t->events)
            t->stopped = aira__sse_feed(sse, bytes.data ? bytes.data : "", bytes.size, on_event, t) != 0;
        else
            (void)aira__buf_add(&t->body, bytes.data ? bytes.data : "", bytes.size);
        pthread_mutex_lock(&x->lock);
        double now = aira__now(), silent = now - x->last_byte;
        pthread_mutex_unlock(&x->lock);
        if (ended || t->stopped) break;
        if (cancelled(t)) {
            t->cancelled = true;
        } else if (r->stall_seconds > 0 && silent > r->stall_seconds) {
            t->stalled = true;
            snprintf(t->problem, sizeof t->problem, "stalled: no byte for %g s", r->stall_seconds);
        } else if (r->total_seconds > 0 && now - begin > r->total_seconds) {
            t->stalled = true;
            snprintf(t->problem, sizeof t->problem, "not done after %g s", r->total_seconds);
        }
        if (t->cancelled || t->stalled) break;
    }
    if (!ended) aira__transfer_cancel(t->io, x);
    if (ended && !t->stopped && t->events) t->stopped = aira__sse_end(sse, on_event, t) != 0;
    aira__buf_free(&bytes);
}

static void judge_transfer(aira__try *t, const aira__transfer *x) {
    switch (x->code) {
    case CURLE_OK:
    case CURLE_ABORTED_BY_CALLBACK:
        return; /* by us */
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PROXY:
        t->unreachable = true;
        break;
    case CURLE_OPERATION_TIMEDOUT:
        t->unreachable = t->told.http_status == 0;
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        t->unreachable = t->hopeless = true;
        break;
    default:
        break;
    }
    if (x->too_long)
        snprintf(t->problem, sizeof t->problem, "the answer is longer than %llu bytes",
                 (unsigned long long)x->max_bytes);
    else
        snprintf(t->problem, sizeof t->problem, "%s", x->detail[0] ? x->detail : x->curl->easy_strerror(x->code));
}

aira_status aira__try_run(aira__try *t, aira_error *error) {
    aira__transfer x;
    aira__sse sse = {0};
    const aira__curl *curl = aira__curl_get(error);
    if (!curl) return AIRA_E_DENIED;
    struct curl_slist *headers = make_headers(curl, t);
    if (!headers) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    aira_status status = aira__transfer_init(&x, error);
    if (status == AIRA_OK) {
        x.max_bytes = t->request->max_bytes ? t->request->max_bytes : MAX_BYTES;
        set_options(curl, t, x.easy, headers);
        if (t->handler->begin) t->handler->begin(t->handler->context, t->told.number);
        status = aira__transfer_submit(t->io, &x, error);
    }
    if (status == AIRA_OK) {
        read_answer(t, &x, &sse);
        take_head(t, &x);
        judge_transfer(t, &x);
        if (sse.line.failed || sse.data.failed || t->body.failed || t->headers.failed)
            status = aira__fail(error, AIRA_E_MEMORY, "out of memory");
    }
    if (status == AIRA_OK) {
        if (t->body.data) aira__key_redact(t->key, t->body.data, t->body.size);
        t->told.verdict = x.too_long || t->hopeless ? (t->hopeless ? AIRA_HTTP_DENIED : AIRA_HTTP_REFUSED)
                          : t->problem[0]
                              ? AIRA_HTTP_RETRY
                              : aira__retry_verdict(t->told.http_status, t->headers.data ? t->headers.data : "",
                                                    t->headers.size);
        t->told.content_type = t->content_type;
        t->told.problem = t->problem;
        t->told.body = t->body.data ? t->body.data : "";
        t->told.n_body = t->body.size;
        t->told.tokens = -1;
    }
    aira__transfer_release(&x);
    aira__sse_release(&sse);
    wipe_headers(curl, headers);
    return status;
}

void aira__try_release(aira__try *t) {
    aira__buf_free(&t->headers);
    aira__buf_free(&t->body);
}
