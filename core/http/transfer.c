/* core/http/transfer.c - see transfer.h
 *
 * Locks: io->lock guards the list of submissions and the flags that cross to the thread; a transfer's own lock guards
 * what crosses back. They are never held together.
 */
#include "core/http/transfer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "core/base/clock.h"

#define MAX_HEADERS ((size_t)64 << 10)
#define STACK_BYTES ((size_t)1 << 20)

struct aira__io {
    const aira__curl *curl; /* with multi */
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock;
    bool started, ending, cancellations;
    aira__transfer *incoming;
    aira__transfer *active; /* the thread's own */
};

/* ---- callbacks: called by the thread ---- */

static size_t on_header(char *bytes, size_t size, size_t n, void *context) {
    aira__transfer *t = context;
    size_t length = size * n;
    pthread_mutex_lock(&t->lock);
    if (length >= 5 && !memcmp(bytes, "HTTP/", 5)) t->headers.size = 0;
    if (length <= MAX_HEADERS && t->headers.size <= MAX_HEADERS - length)
        (void)aira__buf_add(&t->headers, bytes, length);
    t->last_byte = aira__now();
    if (length <= 2) t->curl->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->http_status);
    pthread_mutex_unlock(&t->lock);
    return length;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context) {
    aira__transfer *t = context;
    size_t length = size * n;
    pthread_mutex_lock(&t->lock);
    t->last_byte = aira__now();
    t->received += length;
    t->too_long = t->received > t->max_bytes;
    bool taken = !t->too_long && aira__buf_add(&t->body, bytes, length);
    pthread_cond_signal(&t->news);
    pthread_mutex_unlock(&t->lock);
    return taken ? length : 0;
}

/* No child process gets a connection. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *a) {
    (void)context;
    (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- the thread ---- */

static void finish(aira__io *io, aira__transfer *t, CURLcode code) {
    aira__transfer **at = &io->active;
    while (*at && *at != t) at = &(*at)->next;
    if (*at) *at = t->next;
    io->curl->multi_remove_handle(io->multi, t->easy);
    pthread_mutex_lock(&t->lock);
    t->code = code;
    t->ended = true;
    pthread_cond_signal(&t->news); /* under the lock: the owner may free t as soon as it is let go */
    pthread_mutex_unlock(&t->lock);
}

/* New ones in, cancelled ones out. True: the end has come. */
static bool take_orders(aira__io *io) {
    pthread_mutex_lock(&io->lock);
    aira__transfer *incoming = io->incoming, *cancelled = NULL;
    bool ending = io->ending;
    io->incoming = NULL;
    while (incoming) {
        aira__transfer *t = incoming;
        incoming = t->next;
        t->next = io->active;
        io->active = t;
    }
    for (aira__transfer **at = &io->active; io->cancellations && *at;) {
        aira__transfer *t = *at;
        if (!t->cancelled) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        t->next = cancelled;
        cancelled = t;
    }
    io->cancellations = false;
    aira__transfer *fresh = io->active;
    pthread_mutex_unlock(&io->lock);
    while (cancelled) {
        aira__transfer *t = cancelled;
        cancelled = t->next;
        finish(io, t, CURLE_ABORTED_BY_CALLBACK);
    }
    for (aira__transfer *t = fresh, *next; t; t = next) {
        next = t->next;
        if (t->submitted) continue;
        t->submitted = true;
        if (io->curl->multi_add_handle(io->multi, t->easy) != CURLM_OK) finish(io, t, CURLE_OUT_OF_MEMORY);
    }
    return ending;
}

static void *run(void *argument) {
    aira__io *io = argument;
    while (!take_orders(io)) {
        int running = 0, left = 0;
        CURLMsg *message;
        if (io->curl->multi_perform(io->multi, &running) != CURLM_OK) running = 0;
        while ((message = io->curl->multi_info_read(io->multi, &left))) {
            if (message->msg != CURLMSG_DONE) continue;
            CURLcode code = message->data.result; /* message is gone once the handle is removed */
            aira__transfer *t = NULL;
            io->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
            finish(io, t, code);
        }
        (void)io->curl->multi_poll(io->multi, NULL, 0, 10000, NULL);
    }
    return NULL;
}

/* ---- callers ---- */

aira_status aira__io_create(aira__io **out, aira_error *error) {
    aira__io *io = calloc(1, sizeof *io);
    *out = io;
    if (!io) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    pthread_mutex_init(&io->lock, NULL);
    return AIRA_OK;
}

/* The lock is held. */
static aira_status start(aira__io *io, const aira__curl *curl, aira_error *error) {
    pthread_attr_t attributes;
    io->curl = curl;
    if (!io->multi && !(io->multi = io->curl->multi_init()))
        return aira__fail(error, AIRA_E_FAILED, "libcurl could not be set up");
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int reason = pthread_create(&io->thread, &attributes, run, io);
    pthread_attr_destroy(&attributes);
    if (reason != 0)
        return aira__fail(error, AIRA_E_FAILED, "no thread for the network could be started: %s", strerror(reason));
    io->started = true;
    return AIRA_OK;
}

void aira__io_destroy(aira__io *io) {
    if (!io) return;
    pthread_mutex_lock(&io->lock);
    io->ending = true;
    bool started = io->started;
    pthread_mutex_unlock(&io->lock);
    if (started) {
        io->curl->multi_wakeup(io->multi);
        pthread_join(io->thread, NULL);
    }
    if (io->multi) io->curl->multi_cleanup(io->multi);
    pthread_mutex_destroy(&io->lock);
    free(io);
}

aira_status aira__transfer_init(aira__transfer *t, aira_error *error) {
    memset(t, 0, sizeof *t);
    t->curl = aira__curl_get(error);
    if (!t->curl) return AIRA_E_DENIED;
    if (!(t->easy = t->curl->easy_init())) return aira__fail(error, AIRA_E_MEMORY, "libcurl could not be set up");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
    t->curl->easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    t->curl->easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->detail);
    t->curl->easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    t->curl->easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    t->curl->easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
    t->curl->easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    t->curl->easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    t->curl->easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
#if LIBCURL_VERSION_NUM >= 0x075700
    t->curl->easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L); /* cancelling does not wait for a name server */
#endif
    return AIRA_OK;
}

void aira__transfer_release(aira__transfer *t) {
    if (!t->easy) return;
    t->curl->easy_cleanup(t->easy);
    t->easy = NULL;
    aira__buf_free(&t->headers);
    aira__buf_free(&t->body);
    pthread_cond_destroy(&t->news);
    pthread_mutex_destroy(&t->lock);
}

aira_status aira__transfer_submit(aira__io *io, aira__transfer *t, aira_error *error) {
    t->last_byte = aira__now();
    pthread_mutex_lock(&io->lock);
    aira_status status = io->started ? AIRA_OK : start(io, t->curl, error);
    if (status == AIRA_OK) {
        t->next = io->incoming;
        io->incoming = t;
    }
    pthread_mutex_unlock(&io->lock);
    if (status == AIRA_OK) io->curl->multi_wakeup(io->multi);
    return status;
}

bool aira__transfer_take(aira__transfer *t, double seconds, aira__buf *out) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(seconds * 1e9); /* below a second */
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&t->lock);
    while (!t->ended && t->body.size == 0)
        if (pthread_cond_timedwait(&t->news, &t->lock, &until) != 0) break;
    (void)aira__buf_add(out, t->body.data ? t->body.data : "", t->body.size);
    t->body.size = 0;
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    return ended;
}

void aira__transfer_cancel(aira__io *io, aira__transfer *t) {
    pthread_mutex_lock(&io->lock);
    t->cancelled = true;
    io->cancellations = true;
    pthread_mutex_unlock(&io->lock);
    io->curl->multi_wakeup(io->multi);
    pthread_mutex_lock(&t->lock);
    while (!t->ended) pthread_cond_wait(&t->news, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
