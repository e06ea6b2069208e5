/* tests/plain/http_exchange.c - many threads in one HTTP service: streams, failures that are tried again, turns, and
 * being cancelled in every state. Made for ThreadSanitizer; the server is a thread of this program. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/http/http.h"
#include "core/plugin/host.h"
#include "core/plugin/registry.h"

#define N 24
#define KEY "sk-planted-in-a-plain-test"

static atomic_int failures, served, at_once, most_at_once;

static void check(bool fine, const char *what, const char *detail) {
    if (fine) return;
    fprintf(stderr, "FAILED: %s: %s\n", what, detail);
    atomic_fetch_add(&failures, 1);
}

/* ---- the server ---- */

static void send_text(int s, const char *text) { (void)!write(s, text, strlen(text)); }

static void *serve_one(void *argument) {
    int s = (int)(intptr_t)argument, now = atomic_fetch_add(&at_once, 1) + 1, most = atomic_load(&most_at_once);
    char request[4096];
    size_t n = 0;
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now)) {
    }
    while (n < sizeof request - 1) { /* the bodies of this test fit */
        ssize_t more = read(s, request + n, sizeof request - 1 - n);
        if (more <= 0) break;
        n += (size_t)more;
        request[n] = 0;
        const char *body = strstr(request, "\r\n\r\n");
        if (body && strchr(body, '}')) break;
    }
    bool right = strstr(request, "Authorization: Bearer " KEY "\r\n") != NULL;
    if (!right) {
        send_text(s, "HTTP/1.1 401 No\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
    } else if (strstr(request, "POST /stall")) {
        send_text(s, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: begin\n\n");
        char byte;
        (void)!read(s, &byte, 1); /* until the client goes */
    } else if (strstr(request, "POST /busy") && atomic_fetch_add(&served, 1) % 3 == 0) {
        send_text(s, "HTTP/1.1 429 Slow\r\nretry-after-ms: 30\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else {
        send_text(s, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
        for (int i = 0; i < 20; i++) send_text(s, "data: you said " KEY "\n\n");
        usleep(10000);
        send_text(s, "data: end\n\n");
    }
    atomic_fetch_sub(&at_once, 1);
    close(s);
    return NULL;
}

static void *serve(void *argument) {
    int listener = (int)(intptr_t)argument;
    for (;;) {
        pthread_t thread;
        int s = accept(listener, NULL, NULL);
        if (s < 0) return NULL;
        if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)s) == 0)
            pthread_detach(thread);
        else
            close(s);
    }
}

/* ---- the clients ---- */

static const aira_http_service *http;
static char base[64];
static atomic_int stop;

typedef struct client {
    const char *path;
    int events, ends;
    bool seen_key;
    aira_status status;
    double seconds;
    aira_http_result result;
} client;

static int32_t on_event(void *context, const char *name, const char *data, uint64_t n) {
    client *c = context;
    (void)name;
    (void)n;
    c->events++;
    c->ends += !strcmp(data, "end");
    c->seen_key = c->seen_key || strstr(data, KEY);
    return 0;
}

static int32_t on_end(void *context, aira_http_try *t, char *reason, uint64_t size) {
    const client *c = context;
    if (t->http_status != 200) return t->verdict;
    snprintf(reason, size, "%d events", c->events);
    return c->ends ? AIRA_HTTP_ACCEPT : AIRA_HTTP_RETRY;
}

static int32_t is_cancelled(void *context) {
    (void)context;
    return atomic_load(&stop);
}

static void *ask(void *argument) {
    client *c = argument;
    char url[128];
    snprintf(url, sizeof url, "%s%s", base, c->path);
    aira_http_handler handler = {
        .size = sizeof handler, .context = c, .event = on_event, .end = on_end, .cancelled = is_cancelled};
    aira_http_request r = {.size = sizeof r,
                           .url = url,
                           .body = "{}",
                           .n_body = 2,
                           .key_env = "AIRA_TEST_KEY",
                           .key_header = "Authorization: Bearer ",
                           .retry_seconds = 60,
                           .retries = 1000,
                           .concurrency = 8,
                           .requests_per_minute = 60000,
                           .seed = (uint64_t)(uintptr_t)argument};
    double begin = aira__now();
    c->result.size = sizeof c->result;
    c->status = http->exchange(http, &r, &handler, &c->result);
    c->seconds = aira__now() - begin;
    return NULL;
}

static void run(const char *path, double cancel_after, client clients[N]) {
    pthread_t threads[N];
    atomic_store(&stop, 0);
    for (int i = 0; i < N; i++) {
        clients[i] = (client){.path = path};
        if (pthread_create(&threads[i], NULL, ask, &clients[i]) != 0) exit(2);
    }
    if (cancel_after > 0) {
        usleep((useconds_t)(cancel_after * 1e6));
        atomic_store(&stop, 1);
    }
    double begin = aira__now();
    for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
    if (cancel_after > 0) check(aira__now() - begin < 5, path, "cancelling took long");
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t server;
    static client clients[N];
    aira_error error = {0};
    aira__http *service = NULL;
    aira__host hosted;
    signal(SIGPIPE, SIG_IGN);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
        aira__host_init(&hosted, &error) != AIRA_OK || aira__http_create(&hosted.table, &service, &error) != AIRA_OK ||
        pthread_create(&server, NULL, serve, (void *)(intptr_t)listener) != 0)
        return 2;
    http = aira__http_table(service);
    snprintf(base, sizeof base, "http://127.0.0.1:%d", ntohs(address.sin_port));

    setenv("AIRA_TEST_KEY", KEY, 1);
    run("/busy", 0, clients);
    for (int i = 0; i < N; i++) {
        check(clients[i].status == AIRA_OK && clients[i].ends == 1, "busy", "no whole answer");
        check(!clients[i].seen_key, "busy", "the key came through");
    }
    check(atomic_load(&most_at_once) <= 8, "busy", "more than 8 requests at once");
    run("/stall", 0.3, clients); /* 8 in streams, the others waiting for their turn */
    for (int i = 0; i < N; i++) check(clients[i].status == AIRA_E_CANCELLED, "stall", "not cancelled");
    setenv("AIRA_TEST_KEY", "another-key", 1);
    run("/ok", 0, clients);
    for (int i = 0; i < N; i++)
        check(clients[i].status == AIRA_E_DENIED && clients[i].result.tries == 1, "key", "a wrong key is final");
    snprintf(base, sizeof base, "http://127.0.0.1:1"); /* nobody there: pauses, until cancelled */
    run("/", 0.3, clients);
    for (int i = 0; i < N; i++) check(clients[i].status == AIRA_E_CANCELLED, "nobody", "not cancelled");
    aira__http_destroy(service);
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    usleep(200000); /* connections that are still ending */
    aira__host_finish(&hosted);
    return atomic_load(&failures) != 0;
}
