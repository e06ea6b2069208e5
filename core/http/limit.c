/* core/http/limit.c - see limit.h. Few hosts and buckets ever exist: lists that only grow, under one lock. */
#include "core/http/limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"

#define POLL_SECONDS 0.04

typedef struct host {
    char *name;
    uint32_t active;
    bool reached;
} host;

typedef struct bucket {
    char *name;
    double requests, tokens; /* to be had now; below 0: owed */
    double at;               /* when that was true */
    double closed_until;
    int known; /* levels were set */
} bucket;

struct aira__limits {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    host *hosts;
    bucket *buckets;
    int n_hosts, n_buckets;
};

aira_status aira__limits_create(aira__limits **out, aira_error *error) {
    aira__limits *l = calloc(1, sizeof *l);
    *out = l;
    if (!l) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return AIRA_OK;
}

void aira__limits_destroy(aira__limits *l) {
    if (!l) return;
    for (int i = 0; i < l->n_hosts; i++) free(l->hosts[i].name);
    for (int i = 0; i < l->n_buckets; i++) free(l->buckets[i].name);
    free(l->hosts);
    free(l->buckets);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* Index of the host, added where new; -1: out of memory. */
static int find_host(aira__limits *l, const char *name) {
    for (int i = 0; i < l->n_hosts; i++)
        if (!strcmp(l->hosts[i].name, name)) return i;
    host *grown = realloc(l->hosts, (size_t)(l->n_hosts + 1) * sizeof *grown);
    if (!grown) return -1;
    l->hosts = grown;
    grown[l->n_hosts] = (host){.name = strdup(name)};
    return grown[l->n_hosts].name ? l->n_hosts++ : -1;
}

static int find_bucket(aira__limits *l, const char *name) {
    for (int i = 0; i < l->n_buckets; i++)
        if (!strcmp(l->buckets[i].name, name)) return i;
    bucket *grown = realloc(l->buckets, (size_t)(l->n_buckets + 1) * sizeof *grown);
    if (!grown) return -1;
    l->buckets = grown;
    grown[l->n_buckets] = (bucket){.name = strdup(name)};
    return grown[l->n_buckets].name ? l->n_buckets++ : -1;
}

static void refill(bucket *b, const aira__turn *t, double now) {
    double seconds = now - b->at;
    if (!b->known) {
        b->requests = t->requests_per_minute;
        b->tokens = t->tokens_per_minute;
        b->known = 1;
    } else {
        b->requests += seconds * t->requests_per_minute / 60;
        b->tokens += seconds * t->tokens_per_minute / 60;
    }
    if (b->requests > t->requests_per_minute) b->requests = t->requests_per_minute;
    if (b->tokens > t->tokens_per_minute) b->tokens = t->tokens_per_minute;
    b->at = now;
}

/* 0: the turn was taken; else the longest sensible wait in seconds. A request larger than a whole bucket goes when the
   bucket is full, and leaves it in debt. */
static double try_take(aira__limits *l, const aira__turn *t) {
    host *h = &l->hosts[t->host_index];
    bucket *b = &l->buckets[t->bucket_index];
    double now = aira__now(), wait = 0;
    refill(b, t, now);
    if (b->closed_until > now) wait = b->closed_until - now;
    if (t->concurrency > 0 && h->active >= t->concurrency && wait < 1) wait = 1;
    if (t->requests_per_minute > 0) {
        double wanted = t->requests_per_minute < 1 ? t->requests_per_minute : 1;
        double more = (wanted - b->requests) * 60 / t->requests_per_minute;
        if (more > wait) wait = more;
    }
    if (t->tokens_per_minute > 0) {
        double wanted = (double)t->tokens < t->tokens_per_minute ? (double)t->tokens : t->tokens_per_minute;
        double more = (wanted - b->tokens) * 60 / t->tokens_per_minute;
        if (more > wait) wait = more;
    }
    if (wait > 1e-9) return wait;
    h->active++;
    if (t->requests_per_minute > 0) b->requests -= 1;
    if (t->tokens_per_minute > 0) b->tokens -= (double)t->tokens;
    return 0;
}

aira_status aira__turn_take(aira__limits *l, aira__turn *t, int32_t (*cancelled)(void *), void *context,
                            aira_error *error) {
    double wait = 1;
    pthread_mutex_lock(&l->lock);
    t->host_index = find_host(l, t->host);
    t->bucket_index = find_bucket(l, t->bucket);
    bool found = t->host_index >= 0 && t->bucket_index >= 0, stop = false;
    while (found && !stop && (wait = try_take(l, t)) > 0) {
        struct timespec until;
        double seconds = wait < POLL_SECONDS ? wait : POLL_SECONDS;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)(seconds * 1e9);
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&l->changed, &l->lock, &until);
        pthread_mutex_unlock(&l->lock);
        stop = cancelled && cancelled(context);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    if (!found) return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    return stop ? aira__fail(error, AIRA_E_CANCELLED, "stopped while waiting for its turn") : AIRA_OK;
}

void aira__turn_give(aira__limits *l, const aira__turn *t, int64_t tokens) {
    pthread_mutex_lock(&l->lock);
    l->hosts[t->host_index].active--;
    if (t->tokens_per_minute > 0 && tokens >= 0)
        l->buckets[t->bucket_index].tokens -= (double)tokens - (double)t->tokens;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}

void aira__turn_pause(aira__limits *l, const aira__turn *t, double seconds) {
    double until = aira__now() + seconds;
    pthread_mutex_lock(&l->lock);
    bucket *b = &l->buckets[t->bucket_index];
    if (until > b->closed_until) b->closed_until = until;
    pthread_mutex_unlock(&l->lock);
}

bool aira__turn_reached(aira__limits *l, const aira__turn *t, bool set) {
    pthread_mutex_lock(&l->lock);
    host *h = &l->hosts[t->host_index];
    h->reached = h->reached || set;
    bool reached = h->reached;
    pthread_mutex_unlock(&l->lock);
    return reached;
}
