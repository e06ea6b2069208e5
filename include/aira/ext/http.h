/* aira/ext/http.h - service "aira.http/1": one request, with everything that talking to a model server for a night
 * takes.
 *
 * exchange() blocks its caller until an answer is whole or there is no hope: it waits for its turn (requests at once
 * per host, requests and tokens per minute per key and bucket), sends, hands the answer over as it comes, and tries
 * again as the vendors' own libraries do. All network work happens in one thread of the host; the handler's functions
 * are called by the thread that called exchange, so they may call sinks.
 *
 * The key is the host's business: the caller says where it is and which header carries it, and never sees it. What a
 * server sends back has every occurrence of it replaced by asterisks before the handler sees it.
 */
#ifndef AIRA_EXT_HTTP_H
#define AIRA_EXT_HTTP_H

#include "../abi.h"

#define AIRA_SERVICE_HTTP "aira.http/1"

/* What is made of a try. */
#define AIRA_HTTP_ACCEPT 0     /* the answer is whole */
#define AIRA_HTTP_RETRY 1      /* failed by chance: once more after a pause */
#define AIRA_HTTP_LIMITED 2    /* too many requests: all of this key and bucket pause, then once more */
#define AIRA_HTTP_OVERLOADED 3 /* the server has no room: once more after a longer pause */
#define AIRA_HTTP_REFUSED 4    /* this request cannot work: AIRA_E_FAILED, no further try */
#define AIRA_HTTP_DENIED 5     /* no request can work (key, quota, model): AIRA_E_DENIED, no further try */

/* What a try came to. */
typedef struct aira_http_try {
    uint32_t size, number;    /* 0, 1, ... */
    int32_t http_status;      /* 0: no answer came */
    int32_t verdict;          /* AIRA_HTTP_x by status and headers alone */
    const char *content_type; /* lower case, without parameters; "" where absent */
    const char *problem;      /* why the transfer itself failed, as a sentence; "" if it did not */
    const char *body;         /* what was not an event stream: an error, or a whole answer; NUL-terminated */
    uint64_t n_body;
    int64_t tokens; /* set by end(): tokens that the try used, for the token bucket; -1: unknown */
} aira_http_try;

/* Zero slots are left out. Called by the thread that is in exchange(). */
typedef struct aira_http_handler {
    uint32_t size, reserved;
    void *context;
    /* A try begins: what came before is void. */
    void (*begin)(void *context, uint32_t number);
    /* One server-sent event of an answer with status 200; name is "" where it has none; data is NUL-terminated.
       Non-zero: read no further, end() will judge. */
    int32_t (*event)(void *context, const char *name, const char *data, uint64_t n);
    /* Judges a try: AIRA_HTTP_x. reason: room for a sentence, which failures and waiting() then quote. Left out: the
       verdict of the try. */
    int32_t (*end)(void *context, aira_http_try *, char *reason, uint64_t reason_size);
    /* A pause before another try, as one sentence for the record. */
    void (*waiting)(void *context, const char *sentence);
    int32_t (*cancelled)(void *context); /* polled about every 40 ms; non-zero ends everything: AIRA_E_CANCELLED */
    int32_t (*ending)(void *context);    /* the same for pauses and for waiting for a turn; a request goes on */
} aira_http_handler;

typedef struct aira_http_request {
    uint32_t size, n_headers;
    const char *url;            /* http or https; without user and password */
    const char *const *headers; /* "Name: value"; Content-Type is application/json unless given */
    const void *body;           /* POST; NULL: GET */
    uint64_t n_body;
    const char *bucket;     /* what shares limits per minute, beside host and key: the model. NULL: "" */
    const char *key_env;    /* variable that holds the key, or NULL */
    const char *key_file;   /* file of mode 0600 that holds it, or NULL; both NULL: no key is sent */
    const char *key_header; /* "Authorization: Bearer ", "x-api-key: ": what stands before the key */
    const char *proxy;      /* NULL: http_proxy, https_proxy, all_proxy, no_proxy of the environment */
    const char *ca_file; /* NULL: CURL_CA_BUNDLE, SSL_CERT_FILE, SSL_CERT_DIR of the environment, else the system's */
    /* seconds; 0: no limit, but connect: 10 */
    double connect_seconds; /* until there is a connection */
    double stall_seconds;   /* without a byte: the try has failed */
    double total_seconds;   /* of one try */
    double retry_seconds;   /* how long a failing request is tried again, from its first failure */
    double delay_seconds;   /* longest pause of our own making; 0: 60 */
    uint32_t retries;       /* at most this many tries after the first */
    uint32_t concurrency;   /* requests at once to this host; 0: any number */
    double requests_per_minute, tokens_per_minute; /* 0: any number */
    int64_t tokens;                                /* estimate of what the request uses, for the token bucket */
    uint64_t max_bytes;                            /* of an answer; 0: 16 MiB */
    uint64_t seed;                                 /* of the pauses' jitter */
} aira_http_request;

typedef struct aira_http_result {
    uint32_t size, tries;
    int32_t http_status; /* of the last try */
    uint32_t reserved;
    double waited; /* seconds of pauses and of waiting for a turn */
} aira_http_result;

typedef struct aira_http_service {
    uint32_t size, minor;
    void *core;
    /* result may be NULL. Failures are one sentence through host->fail: AIRA_E_DENIED, AIRA_E_FAILED, AIRA_E_TIMEOUT,
       AIRA_E_CANCELLED, AIRA_E_CONFIG (a URL or key that cannot be used). [any thread] */
    aira_status (*exchange)(const struct aira_http_service *, const aira_http_request *, const aira_http_handler *,
                            aira_http_result *result);
} aira_http_service;

#endif
