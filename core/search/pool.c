/* core/search/pool.c - two queues under one lock; see pool.h. */
#include "core/search/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/plugin/registry.h"

#define MAX_ANSWER ((size_t)16 << 20) /* bytes of one answer; more is refused */
#define MAX_PARTIAL ((size_t)1 << 20) /* bytes of void text that are kept */
#define MAX_NOTES ((size_t)16 << 10)
#define STACK_BYTES ((size_t)512 << 10)

struct aira__pool {
    pthread_mutex_t lock;
    pthread_cond_t asked, answered;
    aira__ask *questions, **questions_end, *answers, **answers_end;
    pthread_t *threads;
    int n_threads, most;
    int idle, waiting; /* threads without a question, questions without a thread */
    bool ending;
    atomic_int cancelled, no_more;
};

static aira_status sink_text(const aira_sink *sink, const char *bytes, uint64_t n) {
    aira__ask *ask = sink->core;
    if (n > MAX_ANSWER - ask->text.size) {
        aira_error error = {0};
        aira_status status = aira__fail(&error, AIRA_E_FAILED, "the answer is longer than 16 MiB");
        memcpy(ask->error, error.text, sizeof ask->error - 1);
        return status;
    }
    return aira__buf_add(&ask->text, bytes, n) ? AIRA_OK : AIRA_E_MEMORY;
}

static void sink_usage(const aira_sink *sink, const aira_usage *usage) {
    aira__ask *ask = sink->core;
    size_t n = usage->size < sizeof ask->usage ? usage->size : sizeof ask->usage;
    memcpy(&ask->usage, usage, n);
    ask->usage.size = sizeof ask->usage;
    ask->model[0] = 0;
    if (ask->usage.model) strncpy(ask->model, ask->usage.model, sizeof ask->model - 1);
    ask->usage.model = ask->model[0] ? ask->model : NULL;
}

static int32_t sink_ending(const aira_sink *sink) {
    const aira__ask *ask = sink->core;
    return atomic_load(&ask->pool->no_more);
}

static void sink_note(const aira_sink *sink, const char *sentence) {
    aira__ask *ask = sink->core;
    size_t n = strlen(sentence);
    if (n + 1 > MAX_NOTES - ask->notes.size) return;
    if (ask->notes.size) (void)aira__buf_add(&ask->notes, "\n", 1);
    (void)aira__buf_add(&ask->notes, sentence, n);
}

static void sink_restart(const aira_sink *sink, const char *reason) {
    aira__ask *ask = sink->core;
    size_t room = MAX_PARTIAL - ask->partial.size, n = ask->text.size < room ? ask->text.size : room;
    (void)reason; /* the agent's notes say it */
    (void)aira__buf_add(&ask->partial, ask->text.data ? ask->text.data : "", n);
    aira__buf_free(&ask->text);
}

static int32_t sink_cancelled(const aira_sink *sink) {
    const aira__ask *ask = sink->core;
    return atomic_load(&ask->pool->cancelled);
}

static void answer(aira__ask *ask) {
    aira_sink sink = {.size = sizeof sink,
                      .core = ask,
                      .text = sink_text,
                      .usage = sink_usage,
                      .cancelled = sink_cancelled,
                      .note = sink_note,
                      .restart = sink_restart,
                      .ending = sink_ending};
    double begin = aira__now();
    ask->usage = (aira_usage){.size = sizeof ask->usage,
                              .input_tokens = -1,
                              .cached_input_tokens = -1,
                              .output_tokens = -1,
                              .reasoning_tokens = -1,
                              .money_usd = -1,
                              .cache_write_tokens = -1,
                              .tries = -1};
    ask->error[0] = 0;
    if (ask->host) aira__host_clear_failure(ask->host);
    ask->status = ask->agent->complete(ask->self, ask->request, &sink);
    ask->seconds = aira__now() - begin;
    if (ask->status == AIRA_OK && ask->text.failed) ask->status = AIRA_E_MEMORY;
    if (ask->status == AIRA_OK || ask->error[0]) return;
    const char *sentence = ask->host ? aira__host_last_failure(ask->host) : "";
    if (!sentence[0]) sentence = "the agent failed and gave no reason";
    strncpy(ask->error, sentence, sizeof ask->error - 1);
    ask->error[sizeof ask->error - 1] = 0;
}

static void *run(void *argument) {
    aira__pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->questions && !pool->ending) {
            pool->idle++;
            pthread_cond_wait(&pool->asked, &pool->lock);
            pool->idle--;
        }
        if (pool->ending) break;
        pool->waiting--;
        aira__ask *ask = pool->questions;
        if (!(pool->questions = ask->next)) pool->questions_end = &pool->questions;
        pthread_mutex_unlock(&pool->lock);
        answer(ask);
        pthread_mutex_lock(&pool->lock);
        ask->next = NULL;
        *pool->answers_end = ask;
        pool->answers_end = &ask->next;
        pthread_cond_signal(&pool->answered);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void aira__ask_release(aira__ask *ask) {
    aira__buf_free(&ask->text);
    aira__buf_free(&ask->partial);
    aira__buf_free(&ask->notes);
}

/* One more thread; the lock is held or nobody else knows the pool yet. */
static bool start_thread(aira__pool *pool) {
    pthread_attr_t attributes;
    if (pool->n_threads >= pool->most || pthread_attr_init(&attributes) != 0) return false;
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool started = pthread_create(&pool->threads[pool->n_threads], &attributes, run, pool) == 0;
    pthread_attr_destroy(&attributes);
    pool->n_threads += started;
    return started;
}

aira_status aira__pool_create(int most, aira__pool **out, aira_error *error) {
    aira__pool *pool = calloc(1, sizeof *pool);
    pthread_t *threads = calloc((size_t)(most > 0 ? most : 1), sizeof *threads);
    *out = NULL;
    if (!pool || !threads) {
        free(pool);
        free(threads);
        return aira__fail(error, AIRA_E_MEMORY, "out of memory");
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->asked, NULL);
    pthread_cond_init(&pool->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pool->questions_end = &pool->questions;
    pool->answers_end = &pool->answers;
    pool->threads = threads;
    pool->most = most > 0 ? most : 1;
    pthread_mutex_lock(&pool->lock);
    bool started = start_thread(pool); /* the first one now, so that no question can be without any */
    pthread_mutex_unlock(&pool->lock);
    if (!started) {
        aira__pool_destroy(pool);
        return aira__fail(error, AIRA_E_FAILED,
                          "no thread could be started for the agents; raise the limit on processes");
    }
    *out = pool;
    return AIRA_OK;
}

void aira__pool_destroy(aira__pool *pool) {
    if (!pool) return;
    atomic_store(&pool->cancelled, 1);
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->asked);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->n_threads; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->asked);
    pthread_cond_destroy(&pool->answered);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

void aira__pool_end(aira__pool *pool) { atomic_store(&pool->no_more, 1); }

void aira__pool_submit(aira__pool *pool, aira__ask *ask) {
    ask->pool = pool;
    ask->next = NULL;
    pthread_mutex_lock(&pool->lock);
    *pool->questions_end = ask;
    pool->questions_end = &ask->next;
    pool->waiting++;
    if (pool->idle < pool->waiting) (void)start_thread(pool); /* where none can be had, it waits for one */
    pthread_cond_signal(&pool->asked);
    pthread_mutex_unlock(&pool->lock);
}

aira__ask *aira__pool_collect(aira__pool *pool, double seconds) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    long nanoseconds = until.tv_nsec + (long)((seconds - (double)(time_t)seconds) * 1e9);
    until.tv_sec += (time_t)seconds + nanoseconds / 1000000000L;
    until.tv_nsec = nanoseconds % 1000000000L;
    pthread_mutex_lock(&pool->lock);
    while (!pool->answers)
        if (pthread_cond_timedwait(&pool->answered, &pool->lock, &until) != 0) break;
    aira__ask *ask = pool->answers;
    if (ask && !(pool->answers = ask->next)) pool->answers_end = &pool->answers;
    pthread_mutex_unlock(&pool->lock);
    return ask;
}
